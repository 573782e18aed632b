"""Every failpoint of a test build: killed there, failed there, stopped and delayed there. A table says
what brings the engine to a site; a site that is not reached fails the sweep."""
import os
import shutil
import signal
import subprocess
import time

from confluent_kafka import Producer

from faults import fault
from members import forget
from timers import Timers
from verdict import Broken, must
from warehouses import Warehouses

KILLS = 3  # at each site
CHECK_EVERY = 6  # kills between two questions to the oracle; each is followed by quiet
ERRORS, DEATHS = 8, 3  # in a plan of mixed ones
MIXES = 6
LIMIT = 90  # seconds in which a site must be reached
THREADS = 2
QUIET = {"engine.threads": THREADS, "state.flush.interval": "1s"}
FLUSHES = {**QUIET, "state.flush.interval": "10ms"}
# Where a stop or a delay may do harm: something is on its way, or half done.
STOPS = ("loop.produce.after", "commit.offsets.after", "commit.before", "commit.sent", "commit.after",
         "flush.ingest.before", "flush.ingest.after", "recover.init.after", "rebalance.assign.offsets",
         "restore.batch.each")
SHORT, LONG = 1, 12  # seconds; the second is longer than a transaction may be open


class Situation:
    """How to bring instance 0 to a site. prepare: before the start, while instance 0 runs; ends with
    it dead. during: once, under load, when all tasks run."""

    def __init__(self, about, prepare=None, during=None, settings=None):
        self.about = about
        self.prepare = prepare or (lambda sweep: sweep.world.instance(0).kill())
        self.during = during
        self.settings = settings or QUIET


def restart(sweep):
    """Killed with a backlog, and commits that no flush has."""
    sweep.world.send(400)
    sweep.tally.kill()
    sweep.world.send(200)


def fresh(sweep):
    restart(sweep)
    shutil.rmtree(sweep.tally.state)


def repeats(sweep):
    """The last commands consumed have no event, and nothing but the group's offset tells so."""
    generator = sweep.world.generator
    sweep.world.send(200)
    with generator.lock:
        again = [generator.repeat() for _ in range(60)]
    sweep.world.writer.send(again)
    sweep.world.settle()
    sweep.tally.kill()
    shutil.rmtree(sweep.tally.state)


def damage(sweep):
    """Some task's store has a CURRENT that names nothing."""
    sweep.world.settle()
    sweep.tally.kill()
    path = os.path.join(sweep.tally.state, "stock", str(sweep.random.randrange(sweep.world.partitions)), "CURRENT")
    with open(path, "w") as file:
        file.write("nothing\n")


def terminate(sweep):
    sweep.tally.process.send_signal(signal.SIGTERM)


def join(sweep):
    other = sweep.world.instance(1)
    other.configure(QUIET)
    other.start()


def kick(sweep):
    """The group forgets its members, as after a session that timed out."""
    forget(sweep.world.kafka, sweep.world.group, members(sweep.world, sweep.tally))


def poison(sweep):
    generator = sweep.world.generator
    with generator.lock:
        records = [generator.poison() for _ in range(30)]
    sweep.world.writer.send(records)


def misroute(sweep):
    partitions = sweep.world.partitions
    sweep.world.writer.send([((partition + 1) % partitions, key, value, command_id)
                             for partition, key, value, command_id in sweep.world.generator(40) if key])


def replies(sweep):
    """Commands whose clients want to hear of the outcome."""
    producer = Producer({"bootstrap.servers": sweep.world.kafka, "log_level": 0})
    headers = {"reply-topic": sweep.world.prefix + "tally.replies", "correlation-id": "1"}
    for partition, key, value, _ in sweep.world.generator(40):
        producer.produce(sweep.world.prefix + "stock.commands", value=value, key=key, partition=partition,
                         headers=headers)
    producer.flush(60)


def members(world, instance):
    return [f"{world.group}-{instance.id}-{thread}" for thread in range(THREADS)]


LOAD = Situation("load")
FLUSH = Situation("load, and a flush every 100 ms", settings=FLUSHES)
RESTART = Situation("restart on its state, with a backlog", restart)
FRESH = Situation("restart without state", fresh)
REPEATS = Situation("restart without state behind commands that had no event", repeats)
DAMAGE = Situation("restart on a damaged store", damage)
SIGTERM = Situation("SIGTERM under load", during=terminate)
JOIN = Situation("a second instance joins", during=join)
KICK = Situation("the group forgets the members", during=kick)
POISON = Situation("poison under load", during=poison)
MISROUTE = Situation("commands in wrong partitions", during=misroute)
REPLIES = Situation("commands that ask for a reply", during=replies)
WAREHOUSES = Situation("a topology that sends to another")
TIMERS = Situation("sagas whose timers come due")


def failing(site, times=1):
    """As many hits of `site` fail as the n-th hit of another one needs."""
    return lambda n: [f"{site}:{i}:error" for i in range(1, n * times + 1)]


def sent(n):
    return ["commit.sent:1:delay=1"]


def nothing(n):
    return []


ABORTS = failing("loop.serve.after")
# Two threads, three failures in a row of one of them: five in all are enough for the first time.
HALVES = failing("loop.begin.after", 6)
# site: how to get there, the highest hit to die at, what has to happen before
TABLE = {
    "loop.poll.after": (LOAD, 15, nothing),
    "loop.begin.after": (LOAD, 15, nothing),
    "loop.decide.after": (LOAD, 300, nothing),
    "loop.evolve.after": (LOAD, 300, nothing),
    "loop.produce.before": (LOAD, 20, nothing),
    "loop.produce.after": (LOAD, 20, nothing),
    "loop.serve.after": (LOAD, 20, nothing),
    "commit.meta.after": (LOAD, 15, nothing),
    "commit.offsets.before": (LOAD, 15, nothing),
    "commit.offsets.after": (LOAD, 15, nothing),
    "commit.before": (LOAD, 15, nothing),
    "commit.sent": (LOAD, 4, nothing),
    "commit.after": (LOAD, 15, nothing),
    "commit.freeze.after": (LOAD, 30, nothing),
    "commit.publish.after": (LOAD, 30, nothing),
    "commit.taint.after": (LOAD, 3, sent),
    "flush.merge.before": (FLUSH, 6, nothing),
    "flush.file.after": (FLUSH, 6, nothing),
    "flush.ingest.before": (FLUSH, 6, nothing),
    "flush.ingest.after": (FLUSH, 6, nothing),
    "flush.view.after": (FLUSH, 6, nothing),
    "recover.abort.before": (LOAD, 3, ABORTS),
    "recover.abort.after": (LOAD, 3, ABORTS),
    "recover.destroy.after": (LOAD, 3, ABORTS),
    "recover.init.before": (LOAD, 4, ABORTS),
    "recover.init.after": (LOAD, 4, ABORTS),
    "recover.seek.after": (LOAD, 3, ABORTS),
    "recover.halve.each": (LOAD, 3, HALVES),
    "rebalance.revoke.enter": (JOIN, THREADS, nothing),
    "rebalance.revoke.committed": (JOIN, THREADS, nothing),
    "rebalance.revoke.closed": (JOIN, THREADS, nothing),
    "rebalance.lost.enter": (KICK, THREADS, nothing),
    "rebalance.assign.enter": (RESTART, THREADS, nothing),
    "rebalance.assign.offsets": (RESTART, THREADS, nothing),
    "rebalance.assign.paused": (RESTART, THREADS, nothing),
    "restore.open.before": (RESTART, 4, nothing),
    "restore.open.after": (RESTART, 4, nothing),
    "restore.ingest.before": (FRESH, 4, nothing),
    "restore.ingest.after": (FRESH, 4, nothing),
    "restore.watermarks.after": (RESTART, 4, nothing),
    "restore.check.after": (RESTART, 4, nothing),
    "restore.first.after": (RESTART, 4, nothing),
    "restore.batch.each": (FRESH, 400, nothing),
    "restore.verify.each": (REPEATS, 6, nothing),
    "restore.end.before": (RESTART, 4, nothing),
    "restore.flush.after": (FRESH, 4, nothing),
    "restore.running.before": (RESTART, 4, nothing),
    "store.aside.before": (DAMAGE, 1, nothing),
    "store.aside.after": (DAMAGE, 1, nothing),
    "store.close.before": (SIGTERM, 4, nothing),
    "store.close.after": (SIGTERM, 4, nothing),
    "store.reopen.before": (FLUSH, 2, failing("flush.ingest.before")),
    "store.reopen.after": (FLUSH, 2, failing("flush.ingest.before")),
    "output.dlt.before": (POISON, 15, nothing),
    "output.dlt.after": (POISON, 15, nothing),
    "output.forward.after": (MISROUTE, 15, nothing),
    "output.send.after": (WAREHOUSES, 8, nothing),
    "output.reply.before": (REPLIES, 15, nothing),
    "output.reply.after": (REPLIES, 15, nothing),
    "timer.read.before": (TIMERS, 6, nothing),
    "timer.fire.after": (TIMERS, 3, nothing),
    "edges.http.before": (LOAD, 10, nothing),
    "edges.http.after": (LOAD, 10, nothing),
    "edges.http.reply": (LOAD, 20, nothing),
    "edges.drain.enter": (SIGTERM, 1, nothing),
    "edges.drain.committed": (SIGTERM, THREADS, nothing),
    "edges.drain.closed": (SIGTERM, THREADS, nothing),
    "edges.drain.end": (SIGTERM, 1, nothing),
}


# The load has no sinks; the faults about sinks kill and stop at these, tests/integration/test_redis_sink.c fails there.
OF_SINKS = ("sink.put.before", "sink.put.after", "sink.written", "sink.rebuild.begun", "pg.begin", "pg.rows",
            "pg.commit.before", "pg.commit.after", "pg.swap.before", "pg.swap.after", "redis.before", "redis.after",
            "redis.rebuild")

# Calls that fail for a while, so that they also do while partitions move or the process ends.
LASTING = [(site, situation) for situation in (JOIN, KICK, SIGTERM)
           for site in ("commit.offsets.after", "commit.before", "commit.after", "flush.ingest.before")]
FIRST, TIMES = 5, 20


class Sweep:
    def __init__(self, world):
        self.world = world
        self.random = world.random
        self.tally = world.instance(0)
        self.acted = 0  # since the oracle was asked
        self.total = 0
        self.warehouses = self.timers = None
        self.can_fail = self.known()

    def known(self):
        """name -> whether a call can fail there."""
        lines = subprocess.run([self.tally.program, "failpoints"], stdout=subprocess.PIPE, text=True, check=True)
        rows = [line.split() for line in lines.stdout.splitlines() if line.count(",") > 1]
        sites = {row[0]: "error" in row[1].split(",") for row in rows if not row[0].startswith("reset.")}
        must(sites, "I12: the run is invalid: this build has no failpoints")
        for site in OF_SINKS:
            sites.pop(site, None)
        must(sites.keys() == TABLE.keys(), "I12: the run is invalid: there is a way to every failpoint",
             sorted(sites.keys() ^ TABLE.keys()))
        return sites

    def asked(self):
        """Those that the command line asks for."""
        asked = self.world.options.sites or list(self.can_fail)
        unknown = [site for site in asked if site not in self.can_fail]
        must(not unknown, "I12: the run is invalid: no such failpoint", unknown)
        return asked

    def begin(self):
        self.tally.configure(QUIET)
        self.world.begin()

    def hits(self, most, count):
        """Different ones, the first among them, as far as there are so many."""
        later = list(range(2, most + 1))
        return ([1, *sorted(self.random.sample(later, min(count - 1, len(later))))] * count)[:count]

    # --- one site ----------------------------------------------------------------------------------

    def act(self, site, n, action):
        """Instance 0 is brought to the site's n-th hit, where `action` happens."""
        situation, _, before = TABLE[site]
        plan = ",".join([*before(n), f"{site}:{n}:{action}"])
        line = f"site={site} hit={n} action={action.split('=')[0]}"
        acted = self.tally.logged(line)
        situation.prepare(self)
        self.tally.configure(situation.settings)
        self.tally.environment["TALLY_FAIL"] = plan
        try:
            self.tally.start()
        finally:
            del self.tally.environment["TALLY_FAIL"]
        self.reach(plan, situation, lambda: self.tally.logged(line) > acted)
        self.acted += 1
        self.total += 1

    def reach(self, plan, situation, reached):
        end = time.monotonic() + LIMIT
        during = situation.during
        if during:
            self.wait_up(reached)
        while not reached():
            if time.monotonic() > end or not self.tally.running():
                raise Broken(f"TALLY_FAIL={plan} was not reached by: {situation.about}\n{self.tally.log_tail()}")
            with self.world.load(count=500, seconds=1):
                self.watch(reached, 0.3 if during else 1)
                if during and not reached():
                    during(self)
                    during = None
                    self.watch(reached, 5)

    def wait_up(self, reached):
        """Until all tasks run: what shall happen to them needs them."""
        end = time.monotonic() + LIMIT
        while not reached() and self.tally.running() and time.monotonic() < end:
            tasks = self.tally.tasks()
            if len(tasks) == self.world.partitions and all(row["state"] == "RUNNING" for row in tasks.values()):
                return
            time.sleep(0.05)

    def watch(self, reached, seconds):
        end = time.monotonic() + seconds
        while not reached() and time.monotonic() < end and self.tally.running():
            time.sleep(0.02)

    def kill(self, site, n):
        if TABLE[site][0] is WAREHOUSES:
            self.kill_warehouses(site, n)
            return
        if TABLE[site][0] is TIMERS:
            self.of_timers().kill(site, n)
            return
        self.act(site, n, "kill")
        status = self.tally.process.wait(10)
        if status != -signal.SIGKILL:
            raise Broken(f"{site}: ended with {status}\n{self.tally.log_tail()}")
        self.tally.kills += 1
        self.world.restart(self.tally)
        self.quiet()

    def kill_warehouses(self, site, n):
        """That topology has an app of its own, and with it a check of its own."""
        self.warehouses = self.warehouses or Warehouses(self.world)
        self.warehouses.kill(f"{site}:{n}:kill")
        self.world.happened["killed"] += 1
        self.total += 1

    def of_timers(self):
        """The app of their own, as of warehouses; once more something is done to it."""
        self.timers = self.timers or Timers(self.world)
        self.total += 1
        return self.timers

    def fail_for_a_while(self, site, situation):
        situation.prepare(self)
        self.tally.configure(FLUSHES)
        plan = ",".join(f"{site}:{FIRST + i}:error" for i in range(TIMES))
        failed = self.failed([site])
        self.tally.environment["TALLY_FAIL"] = plan
        self.tally.start()
        del self.tally.environment["TALLY_FAIL"]
        self.wait_up(lambda: False)
        with self.world.load(seconds=2, rate=500):
            self.watch(lambda: self.failed([site]) > failed, LIMIT)
            time.sleep(self.random.uniform(0, 0.5))
            situation.during(self)
            if situation is SIGTERM:
                self.ended()
                self.tally.start()
        times = self.failed([site]) - failed
        must(times > 0, "I12: the run is invalid: a call that was to fail was not made", plan)
        self.world.happened[f"failed at {site}"] += times
        self.acted += 1
        self.total += 1
        self.quiet()

    def failed(self, sites):
        """How often calls have failed there so far."""
        with open(self.tally.log_path, errors="replace") as log:
            return sum(" action=error" in line and any(f"site={site} " in line for site in sites) for line in log)

    def ended(self):
        """After SIGTERM, by itself and well."""
        status = self.tally.process.wait(60)
        if status:
            raise Broken(f"{self.tally.name} ended with {status} after SIGTERM\n{self.tally.log_tail()}")

    def mix(self):
        """Several calls fail, then it dies at one place or the other, as it comes."""
        usual = [site for site, (situation, _, _) in TABLE.items() if situation in (LOAD, FLUSH, RESTART, FRESH)]
        errors = self.random.sample([site for site in usual if self.can_fail[site]], ERRORS)
        plan = [f"{site}:{self.random.randint(1, TABLE[site][1])}:error" for site in errors]
        plan += [f"{site}:{self.random.randint(1, 4) * TABLE[site][1]}:kill" for site in self.random.sample(usual, DEATHS)]
        failed = self.failed(errors)
        (fresh if self.random.random() < 0.3 else restart)(self)
        self.tally.environment["TALLY_FAIL"] = ",".join(plan)
        self.tally.start()
        del self.tally.environment["TALLY_FAIL"]
        with self.world.load(count=1000, seconds=2):
            self.watch(lambda: False, 3)
            if self.tally.running():
                self.tally.kill()
            else:
                self.tally.kills += 1
        self.world.happened["failed at a failpoint"] += self.failed(errors) - failed
        self.world.restart(self.tally)
        self.world.settle()

    def fail(self, site, n):
        """The call fails; the engine has to come round by itself."""
        if TABLE[site][0] is TIMERS:
            self.of_timers().fail(site, n)
            return
        self.act(site, n, "error")
        self.quiet()

    def stop(self, site, n, seconds):
        self.act(site, n, "stop")
        time.sleep(seconds)
        self.tally.resume()
        self.quiet()

    def delay(self, site, n):
        self.act(site, n, "delay=1500")
        self.quiet()

    def quiet(self):
        self.world.settle()
        if self.acted >= CHECK_EVERY:
            self.check()
        other = self.world.instances.get(1)
        if other and other.running():
            other.kill()
            forget(self.world.kafka, self.world.group, members(self.world, other))
            self.world.wait_running()

    def check(self):
        self.acted = 0
        self.world.settle()
        self.world.check()

    def finish(self):
        # Of a few sites alone no client might have been told anything worth a comparison.
        with self.world.load() as load:
            load.served()
        self.check()
        if self.warehouses:
            self.warehouses.close()
        if self.timers:
            self.timers.close()
        self.world.finish()


@fault("failpoints", scenario=True, needs=("killed",), wipes=True)
def failpoints(world):
    """kill at every failpoint, three times each (--sites a,b: at those)"""
    sweep = Sweep(world)
    sites = sweep.asked()
    sweep.begin()
    for site in sites:
        begin = time.monotonic()
        hits = sweep.hits(TABLE[site][1], KILLS)
        for n in hits:
            sweep.kill(site, n)
        world.say(f"  {site}: killed at hits {', '.join(map(str, hits))}: {time.monotonic() - begin:.1f} s")
    sweep.finish()
    world.say(f"  {sweep.total} kills at {len(sites)} failpoints")


@fault("failpoint-errors", scenario=True, wipes=True)
def failpoint_errors(world):
    """a call fails at every failpoint where one can"""
    sweep = Sweep(world)
    sites = [site for site in sweep.asked() if sweep.can_fail[site]]
    sweep.begin()
    for site in sites:
        n = sweep.random.randint(1, TABLE[site][1])
        sweep.fail(site, n)
        world.say(f"  {site}: failed at hit {n}")
    sweep.finish()
    world.say(f"  {sweep.total} errors at {len(sites)} failpoints")


@fault("failpoint-lasting", scenario=True, wipes=True)
def failpoint_lasting(world):
    """commits and flushes fail for a while, as partitions move or the process ends"""
    sweep = Sweep(world)
    sweep.begin()
    for site, situation in LASTING:
        sweep.fail_for_a_while(site, situation)
        world.say(f"  {site}: failed again and again: {situation.about}")
    sweep.finish()


@fault("failpoint-stops", scenario=True, wipes=True)
def failpoint_stops(world):
    """stopped for 1 s and 12 s, and delayed, at failpoints where something is on its way"""
    sweep = Sweep(world)
    asked = sweep.asked()
    chosen = [site for site in STOPS if site in asked]
    sweep.begin()
    for number, site in enumerate(chosen):
        n = sweep.random.randint(1, TABLE[site][1])
        seconds = LONG if number % 3 == 1 else SHORT
        sweep.stop(site, n, seconds)
        sweep.delay(site, n)
        world.say(f"  {site}: stopped for {seconds} s and delayed at hit {n}")
    sweep.finish()
    world.say(f"  {sweep.total} stops and delays at {len(chosen)} failpoints")


@fault("failpoint-mix", needs=("killed", "failed at a failpoint"), wipes=True)
def failpoint_mix(world):
    """calls fail at several failpoints, then a kill at another"""
    sweep = Sweep(world)
    for _ in range(MIXES):
        sweep.mix()
