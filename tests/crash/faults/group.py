"""Instances of one group against each other: one that wakes up when its partitions have moved, members
that come and go, one that dies in an open transaction, two with one name, a directory of long ago."""
import os
import re
import threading
import time

from confluent_kafka import Consumer, TopicPartition

from faults import fault
from instance import position
from verdict import Broken, Violation, must

# As short as the settings allow: an owner's transaction has to be over before it is given up.
TRANSACTION, SESSION, POLL = 2, 17, 20
QUICK = {"engine.transaction.timeout": f"{TRANSACTION}s", "engine.session.timeout": f"{SESSION}s",
         "engine.max.poll.interval": f"{POLL}s", "shutdown.timeout": "10s", "engine.threads": 1,
         # Small batches, so that a poll, and so a rebalance, often meets an open transaction.
         "engine.batch.records": 5, "kafka.properties": ["heartbeat.interval.ms=500"]}
SWEEP = 1
BROKER = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": str(SWEEP * 1000)}
SLACK = 20  # seconds on a machine that does a lot else
GAP_SLACK = 5  # of a bound that is promised

# Where a process is stopped inside a transaction, or while it takes or gives partitions. The number
# of hits before is drawn.
STOPS = ("loop.poll.after", "loop.begin.after", "loop.decide.after", "loop.produce.before", "loop.produce.after",
         "loop.serve.after", "commit.offsets.before", "commit.meta.after", "commit.offsets.after", "commit.before",
         "commit.sent", "commit.after", "commit.freeze.after", "commit.publish.after")
# Of these, where there is one that the broker ends meanwhile.
OPEN_STOPS = ("loop.decide.after", "loop.produce.after", "commit.offsets.before", "commit.meta.after",
              "commit.offsets.after", "commit.before")
BEFORE_ALL = "loop.poll.after"
OPEN = "transaction="  # of a line about a rebalance, with what became of the open one


def owned(instance):
    return {p for p, row in instance.tasks().items() if row["state"] == "RUNNING"}


def owns(world, instance, partitions, what, limit=SESSION + POLL + SLACK):
    """Waits until it runs at least so many."""
    end = time.monotonic() + limit
    while len(owned(instance)) < partitions:
        instance.alive()
        if time.monotonic() > end:
            raise Broken(f"{what}: {instance.name} runs {owned(instance)} after {limit} s\n{instance.log_tail()}")
        time.sleep(0.05)
    return time.monotonic()


def shared(world, count, limit=SESSION + POLL + SLACK):
    """Until so many instances have partitions, and all partitions run."""
    def holds(owners):
        return world.all_run(owners) and len({id(i) for pairs in owners.values() for i, _ in pairs}) == count
    return world.wait(f"shared by {count} instances", holds, limit)


def exits(instance, code, limit=SESSION + SLACK):
    """It has to end by itself, with a status that is no success and this code in its log."""
    end = time.monotonic() + limit
    while instance.process.poll() is None:
        if time.monotonic() > end:
            raise Broken(f"{instance.name} goes on, though it had to end with {code}\n{instance.log_tail()}")
        time.sleep(0.02)
    status = instance.process.returncode
    if status != 1 or not instance.logged(f"code={code}"):
        raise Broken(f"{instance.name} ended with {status}, not with 1 and {code}\n{instance.log_tail()}")


def count_rebalances(world):
    """Into happened: rebalances that met an open transaction."""
    met = sum(instance.logged(OPEN) - instance.logged(OPEN + "none") for instance in world.instances.values())
    world.happened["rebalanced in a transaction"] = met


def quick(world, number, **settings):
    instance = world.instance(number)
    if not instance.running():
        instance.configure({**QUICK, **settings})
    return instance


def begin(world):
    """Instance 0 with short times, settled and checked."""
    first = quick(world, 0)
    world.begin()
    return first


def verdict(world, last=True):
    world.settle()
    world.check()
    count_rebalances(world)
    if last:
        world.finish()


def stop_inside(world, instance, site):
    """Starts it again so that it stops itself at a site, under load; returns when it has."""
    if site == BEFORE_ALL:
        # With its first records it has no transaction open yet, that the broker could have ended when it
        # wakes up; and it commits what it then decides before it polls, and learns that it is no member.
        instance.configure({"engine.commit.interval": "1ms"})
        stop_by(instance, f"{site}:1:stop,loop.decide.after:1:delay=50")
    else:
        stop_by(instance, f"{site}:{world.random.randrange(5, 40)}:stop")


def stop_by(instance, plan):
    instance.stop()
    instance.environment["TALLY_FAIL"] = plan
    instance.start()
    del instance.environment["TALLY_FAIL"]  # of the next start
    end = time.monotonic() + 120
    while not is_stopped(instance):
        instance.alive()
        if time.monotonic() > end:
            raise Broken(f"{instance.name} was not stopped by {plan}\n{instance.log_tail()}")
        time.sleep(0.01)
    instance.paused = True


def is_stopped(instance):
    with open(f"/proc/{instance.process.pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "T"


# --- zombies -------------------------------------------------------------------------------------------


@fault("zombie", scenario=True, broker=BROKER, needs=("zombies",))
def zombie(world):
    """an instance wakes up in its transaction when another has had its partitions for a while"""
    first = begin(world)
    site = world.random.choice(world.options.sites or (OPEN_STOPS if world.options.ci else STOPS))
    with world.load(rate=1500):
        stop_inside(world, first, site)
        stopped = time.monotonic()
        second = quick(world, 1)
        second.start()
        taken = owns(world, second, world.partitions, "takeover from a paused instance")
        time.sleep(world.random.uniform(0.5, 2))
        noticed = notices(first)
        first.resume()
        wait_noticed(first, noticed)
        shared(world, 2)
    world.say(f"zombie stopped at {site}: taken over after {taken - stopped:.1f} s, useful again")
    world.happened["zombies"] += 1
    verdict(world)


NOTICES = ("code=FENCED", "partitions lost", "code=INSTANCE_FENCED", "code=ASSIGNMENT_LOST")


def notices(instance):
    return sum(instance.logged(text) for text in NOTICES)


def wait_noticed(instance, before, limit=SLACK):
    """A zombie has to be told, and to say so."""
    end = time.monotonic() + limit
    while notices(instance) == before:
        if time.monotonic() > end:
            raise Broken(f"{instance.name} was replaced and does not say so\n{instance.log_tail()}")
        time.sleep(0.05)


@fault("zombies", scenario=True, broker=BROKER, needs=("zombies",))
def zombies(world):
    """three of four instances are stopped at different points and wake up when the fourth has it all"""
    begin(world)
    sites = world.random.sample(STOPS, 3)
    with world.load(rate=1000):
        for number in range(1, 4):
            quick(world, number).start()
        shared(world, 4)
        for number, site in enumerate(sites):
            stop_inside(world, world.instance(number), site)
        last = world.instance(3)
        owns(world, last, world.partitions, "takeover from three paused instances")
        time.sleep(world.random.uniform(0.5, 2))
        before = [notices(world.instance(number)) for number in range(3)]
        for number in world.random.sample(range(3), 3):
            world.instance(number).resume()
            time.sleep(world.random.choice((0, 0, 0.3)))
        for number in range(3):
            wait_noticed(world.instance(number), before[number])
        shared(world, 4)
    world.happened["zombies"] += 3
    world.say(f"zombies stopped at {', '.join(sites)}")
    verdict(world)


@fault("pauses", scenario=True, broker=BROKER)
def pauses(world):
    """short pauses inside transactions: shorter and longer than the transaction timeout"""
    first = begin(world)
    with world.load(rate=1500):
        for _ in range(8):
            time.sleep(world.random.uniform(0.1, 0.8))
            first.pause()
            time.sleep(world.random.choice((0.1, 1, TRANSACTION + SWEEP + 0.5)))
            first.resume()
            world.wait_running()
        site = world.random.choice(STOPS)
        stop_inside(world, first, site)
        time.sleep(TRANSACTION + SWEEP + 1)
        first.resume()
        world.wait_running()
    verdict(world)


@fault("replaced", scenario=True, broker=BROKER, needs=("instance fenced",))
def replaced(world):
    """a paused instance is replaced under its own name: it must end when it wakes up"""
    old = begin(world)
    number = 0
    with world.load(rate=1000):
        for site in (None, *world.random.sample(STOPS, 3)):
            if site:
                stop_inside(world, old, site)
            else:
                old.pause()
            number += 1
            new = quick(world, number, **{"instance.id": "a"})
            new.start()
            owns(world, new, world.partitions, f"takeover under the same name from one stopped at {site}")
            # One that slept beyond its session thinks that it may join anew.
            time.sleep(world.random.uniform(0, 1) if site else SESSION + 2)
            old.resume()
            exits(old, "INSTANCE_FENCED")
            world.happened["zombies"] += 1
            old = new
        world.wait_running()
    verdict(world)


# --- one name twice ------------------------------------------------------------------------------------


@fault("duplicate", scenario=True, broker=BROKER, needs=("instance fenced",))
def duplicate(world):
    """two processes with one instance.id: one directory is refused, of two the older one ends"""
    first = begin(world)
    with world.load(rate=1000):
        same = quick(world, 1, **{"instance.id": "a", "state.dir": first.state})
        same.start()
        exits(same, "STATE_LOCKED")
        first.alive()
        del world.instances[1]
        other = quick(world, 2, **{"instance.id": "a"})
        other.start()
        exits(first, "INSTANCE_FENCED")
        owns(world, other, world.partitions, "takeover by the younger of one name")
    verdict(world)


@fault("poll-breach", scenario=True, broker=BROKER)
def poll_breach(world):
    """a thread that does not poll for max.poll.interval loses its partitions and comes back"""
    first = begin(world)
    quick(world, 1).start()
    shared(world, 2)
    with world.load(rate=1000):
        first.stop()
        before = notices(first)
        first.environment["TALLY_FAIL"] = f"loop.decide.after:200:delay={(POLL + 4) * 1000}"
        first.start()
        del first.environment["TALLY_FAIL"]
        wait_noticed(first, before, 2 * POLL + SLACK)
        shared(world, 2)
    verdict(world)


# --- coming and going ----------------------------------------------------------------------------------


@fault("storm", scenario=True, broker=BROKER, needs=("rebalanced in a transaction",))
def storm(world):
    """six or more instances join, start, stop, die and pause every 0.5-3 s under load"""
    begin(world)
    log = Log(world, range(world.partitions))
    with world.load(rate=2000):
        calm = log.speed(5)
        first, begun = log.end(), time.monotonic()
        for number in range(1, 12):  # all that are members answer: a rebalance each
            if number > 5 and world.happened["rebalanced in a transaction"]:
                break
            join_on_backlog(world, number)
            time.sleep(world.random.uniform(0.5, 3))
            count_rebalances(world)
        end = time.monotonic() + world.random.uniform(20, 30)
        while time.monotonic() < end:
            weather(world)
            time.sleep(world.random.uniform(0.5, 3))
        seconds = time.monotonic() - begun
        stormy = (log.end() - first) / seconds
        calm_down(world)
    log.close()
    world.say(f"storm of {seconds:.0f} s: {stormy:.0f} events/s; in the calm, with less to do, {calm:.0f}/s")
    world.settle(4 * SESSION + 120)
    verdict(world)


def join_on_backlog(world, number):
    """Those that run are held back while one joins, so that they learn of it with their hands full,
    and lose their partitions inside a transaction."""
    others = world.running()
    for instance in others:
        instance.pause()
    member(world, number).start()
    world.send(6000)
    time.sleep(0.5)
    for instance in others:
        instance.resume()


def member(world, number):
    """Some have two threads, between which tasks move too."""
    return quick(world, number, **{"engine.threads": 1 + number % 2})


def weather(world):
    """One member changes. Who stays away holds up the next rebalance until its session is over."""
    instance = member(world, world.random.randrange(6))
    if not instance.running():
        instance.start()
        return
    what = world.random.choice(("kill", "kill", "stop", "pause"))
    if what == "pause":
        instance.pause()
        time.sleep(world.random.uniform(0.2, 3))
        instance.resume()
    elif what == "kill":
        instance.kill()
    else:
        instance.process.terminate()
        wait_end(instance)
    if what != "pause" and world.random.random() < 0.7:
        instance.start()


def wait_end(instance, limit=60):
    """Of one that was told to end, whatever it then says."""
    end = time.monotonic() + limit
    while instance.running():
        if time.monotonic() > end:
            raise Broken(f"{instance.name} does not end\n{instance.log_tail()}")
        time.sleep(0.02)


def calm_down(world):
    """Instance 0 runs at the end, with those that do."""
    first = world.instance(0)
    if not first.running():
        first.start()


@fault("standby", scenario=True, broker=BROKER)
def standby(world):
    """one instance more than there are partitions: it has none, and takes those of one that dies"""
    begin(world)
    spare = world.partitions
    with world.load(rate=1000):
        for number in range(1, spare):
            quick(world, number).start()
        shared(world, world.partitions)
        quick(world, spare).start()
        time.sleep(5)  # it has joined, and the others have been told
        shared(world, world.partitions)
        idle = [i for i in world.running() if not owned(i)]
        must(len(idle) == 1, "one instance has no partition", [i.name for i in idle])
        dead = world.any_instance(world.random)
        while dead is idle[0]:
            dead = world.any_instance(world.random)
        dead.kill()
        killed = time.monotonic()
        taken = owns(world, idle[0], 1, "takeover by the one without partitions", SESSION + SLACK)
        world.wait_running()
    world.say(f"the one without partitions had one {taken - killed:.1f} s after a death (session {SESSION} s)")
    verdict(world)


@fault("scale", scenario=True, broker=BROKER)
def scale(world):
    """from two to three instances to one, and a directory that is behind comes back without a wipe"""
    first = begin(world)
    second, third = quick(world, 1), quick(world, 2)
    with world.load(rate=1000):
        second.start()
        shared(world, 2)
        third.start()
        shared(world, 3)
    verdict(world, last=False)
    with world.load(rate=1000):
        third.stop()
        second.kill()
        owns(world, first, world.partitions, "takeover from one stopped and one killed")
    verdict(world, last=False)
    had = {instance: tasks_of(instance) for instance in (second, third)}
    with world.load(rate=1000):
        second.start()
        shared(world, 2)
        third.start()
        shared(world, 3)
        first.stop()
        world.wait("shared by the two that came back", lambda owners: world.all_run(owners),
                   SESSION + POLL + SLACK)
    verdict(world, last=False)
    for instance, tasks in had.items():
        must(tasks, "an instance that shares has state", instance.folder)
        for task, sizes in restores(instance).items():
            must(task not in tasks or sizes[-1] > 0, "a directory that is behind is caught up, not built anew",
                 instance.folder, task)
        must(not instance.logged("state set aside"), "no directory is set aside", instance.folder)
    world.finish()


def tasks_of(instance):
    """Tasks that have a directory."""
    return {f"stock/{name}" for name in os.listdir(os.path.join(instance.state, "stock")) if name.isdigit()}


def restores(instance):
    """task -> where each of its restores began."""
    found = {}
    with open(instance.log_path, errors="replace") as log:
        for line in log:
            match = re.search(r'msg="task is restored from its events" task=(\S+) from=(\d+)', line)
            if match:
                found.setdefault(match.group(1), []).append(int(match.group(2)))
    return found


# --- one of two dies in a transaction ------------------------------------------------------------------


@fault("stall", scenario=True, broker=BROKER)
def stall(world):
    """one of two dies in an open transaction: how long readers and the other instance wait for it"""
    first = begin(world)
    second = quick(world, 1)
    second.start()
    shared(world, 2)
    with world.load(rate=1000):
        time.sleep(2)
        dead = owned(second)
        readers = Log(world, dead)
        gap = Gaps(first)
        die_open(world, second)
        killed = time.monotonic()
        free = readers.wait_free(TRANSACTION + SWEEP + SLACK)
        taken = owns(world, first, world.partitions, "takeover from a dead instance")
        world.wait_running()
        time.sleep(1)
        longest = gap.end()
    world.say(f"died in a transaction (timeout {TRANSACTION} s, sweep {SWEEP} s, session {SESSION} s): its topics could"
              f" be read after {free - killed:.1f} s, its partitions ran elsewhere after {taken - killed:.1f} s;"
              f" the other one's own partitions stood still for {longest:.1f} s at most")
    must(longest < TRANSACTION + SWEEP + GAP_SLACK,
         "a dead instance holds up the others no longer than its transaction", f"{longest:.1f} s")
    verdict(world, last=False)
    with world.load(rate=1000):
        second.start()
        shared(world, 2)
        time.sleep(1)
        dead = owned(second)
        readers = Log(world, dead)
        die_open(world, second)
        killed = time.monotonic()
        second.start()
        free = readers.wait_free(SLACK)
        shared(world, 2)
    world.say(f"started again at once: its topics could be read after {free - killed:.1f} s")
    readers.close()
    verdict(world)


def die_open(world, instance):
    """Dies when its events are written and its offsets sent, and the end is not."""
    hit = world.random.randrange(5, 40)
    stop_by(instance, f"commit.offsets.after:{hit}:delay=300,commit.before:{hit}:stop")
    instance.kill()


class Log:
    """Ends of the events of some partitions: of all records, and of those that readers may have."""

    def __init__(self, world, partitions):
        self.partitions = [TopicPartition(world.prefix + "stock.events", p) for p in partitions]
        common = {"bootstrap.servers": world.kafka, "group.id": "crash-log", "log_level": 0}
        self.committed = Consumer({**common, "isolation.level": "read_committed"})
        self.all = Consumer({**common, "isolation.level": "read_uncommitted"})

    def end(self):
        return sum(self.committed.get_watermark_offsets(p, 10)[1] for p in self.partitions)

    def speed(self, seconds):
        begin = self.end()
        time.sleep(seconds)
        return (self.end() - begin) / seconds

    def wait_free(self, limit):
        """Until what is there now can be read."""
        ends = [self.all.get_watermark_offsets(p, 10)[1] for p in self.partitions]
        end = time.monotonic() + limit
        while any(self.committed.get_watermark_offsets(p, 10)[1] < at for p, at in zip(self.partitions, ends)):
            if time.monotonic() > end:
                raise Violation(f"an open transaction of a dead instance hides records for more than {limit} s")
            time.sleep(0.02)
        return time.monotonic()

    def close(self):
        self.committed.close()
        self.all.close()


class Gaps(threading.Thread):
    """The longest time that a partition of an instance did not move, from now until end()."""

    def __init__(self, instance):
        super().__init__()
        self.instance = instance
        self.mine = owned(instance)
        self.over = threading.Event()
        self.longest = 0
        self.moves = dict.fromkeys(self.mine, 0)
        self.start()

    def run(self):
        moved = {p: (time.monotonic(), None) for p in self.mine}
        while not self.over.wait(0.02):
            for partition, row in self.instance.tasks(2).items():
                if partition in moved and position(row) != moved[partition][1]:
                    now = time.monotonic()
                    if moved[partition][1] is not None:
                        self.longest = max(self.longest, now - moved[partition][0])
                        self.moves[partition] += 1
                    moved[partition] = (now, position(row))
        for since, _ in moved.values():  # what has not ended yet
            self.longest = max(self.longest, time.monotonic() - since)

    def end(self):
        """Of partitions that moved before and after, or there was nothing to measure."""
        self.over.set()
        self.join()
        must(self.moves and min(self.moves.values()) > 1, "I12: the run is invalid: nothing moved", self.moves)
        return self.longest
