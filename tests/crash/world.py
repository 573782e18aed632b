"""Everything of one app: its topics, instances, clients, history and oracle."""
import os
import random
import re
import shutil
import time
from collections import Counter

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from commands import Generator
from history import History
from instance import Instance, position
from load import WORTH, Load
from oracle import Oracle
from resources import Resources, check_aside, check_ingest
from topics import Writer
from verdict import Broken, Violation, must

__all__ = ["World", "Broken", "Violation", "must"]

# What an instance writes to its log when a rare path was taken.
PATHS = {
    "aborted": "transaction aborted; its records are decided again",
    "unknown": "outcome left to the log; tasks are restored",
    "fenced": "code=FENCED",
    "instance fenced": "code=INSTANCE_FENCED",
    "lost": "partitions lost",
    "joined anew": "joining the group anew",
    "set aside": "state set aside; it will be restored from the events topic",
    "rebuilt": "store is rebuilt from the events topic",
    "flush failed": "flush failed",
}


# And what its metrics count, from zero in each life.
FROM_NOTHING = r'msg="task is restored from its events" task=\S+ from=0 '
METRICS = {"restored": "tally_restored_records_total", "producer replaced": "tally_producers_recreated_total"}


class World:
    partitions = 4

    def __init__(self, options, broker, name, folder, seed):
        self.options = options
        self.broker = broker
        self.kafka = broker.address
        self.name = self.group = name
        self.prefix = name + "."
        self.folder = os.path.abspath(folder)
        os.makedirs(self.folder)
        self.random = random.Random(f"faults {seed}")
        self.instances = {}
        self.elsewhere = []  # instances of other apps
        self.happened = Counter()
        self.counted = Counter()  # of happened, what logs and processes have told already
        self.restarts = []  # seconds from a start after kill -9 until all tasks ran
        self.shown = set()  # (sku, warehouse, version, numbers) that readers got
        self.loads = 0
        # Size of instance 0's log from which on it has state of every task, and when that was taken away.
        self.filled = self.emptied = None
        self.answers = Counter()  # "read 200" and so on
        self.views = []  # copies of the state elsewhere: check(world) compares one with the fold
        self.history = History(os.path.join(self.folder, "history.ndjson"))
        self.generator = Generator(f"commands {seed}", self.partitions, options.skus)
        self.posted = Generator(f"posted {seed}", self.partitions, options.skus, "h")
        self.resources = Resources()
        self.instance(0).tool("topics", "create", "--topics.partitions", str(self.partitions))
        self.writer = Writer(self.kafka, self.prefix + "stock.commands", self.history)
        self.oracle = Oracle(self.kafka, self.prefix, self.group, self.partitions)

    def say(self, *words):
        print(*words, flush=True)

    # --- instances ---------------------------------------------------------------------------------

    def instance(self, number, settings=None, env=None):
        """Made when first asked for."""
        if number not in self.instances:
            self.instances[number] = Instance(self.options.tally, os.path.join(self.folder, f"instance-{number}"),
                                              self.kafka, self.name, settings, env, chr(ord("a") + number))
        return self.instances[number]

    def running(self):
        """Instances that run and are not paused."""
        return [i for i in self.instances.values() if i.running() and not i.paused]

    def any_instance(self, dice):
        running = self.running()
        return dice.choice(running) if running else None

    def owners(self, limit=10):
        """partition -> [(instance, row of its task)] of those that do not merely keep its files."""
        owners = {}
        for instance in self.running():
            instance.alive()
            tasks = instance.tasks(limit)
            instance.must_not_halt(tasks)
            for partition, row in tasks.items():
                if row["state"] not in ("PARKED", "CLOSED"):
                    owners.setdefault(partition, []).append((instance, row))
        return owners

    def wait(self, what, condition, limit=120):
        """Asks until the condition on owners() holds; returns when it did."""
        end = time.monotonic() + limit
        while True:
            owners = self.owners()
            if condition(owners):
                return time.monotonic()
            if time.monotonic() > end or not any(i.running() for i in self.instances.values()):
                rows = sorted((p, i.id, row) for p, pairs in owners.items() for i, row in pairs)
                tails = "\n".join(f"{i.log_path}:\n{i.log_tail()}" for i in self.instances.values() if i.process)
                raise Broken(f"not {what}, at most {limit} s were waited: {rows}\n{tails}")
            time.sleep(0.02)

    def all_run(self, owners):
        return len(owners) == self.partitions and all(
            len(pairs) == 1 and pairs[0][1]["state"] == "RUNNING" for pairs in owners.values())

    def wait_running(self):
        return self.wait("running", self.all_run)

    def restart(self, instance):
        """After a kill -9; measures how long it is until all tasks run."""
        begin = instance.start()
        self.restarts.append(self.wait_running() - begin)

    # --- load --------------------------------------------------------------------------------------

    def send(self, count, seconds=0):
        self.writer.send(self.generator(count), seconds)

    def load(self, count=None, seconds=3, rate=2000):
        return Load(self, count, seconds, rate)

    # --- quiet, and the oracle ---------------------------------------------------------------------

    def settle(self, limit=120):
        """Until every task has read its input; forwarded commands make it longer on the way."""
        ends = self.oracle.ends()
        while True:
            self.wait("settled", lambda owners: self.all_run(owners) and all(
                position(pairs[0][1]) >= ends[p] and pairs[0][1]["lag"] == 0 for p, pairs in owners.items()), limit)
            now = self.oracle.ends()
            if now == ends:
                return
            ends = now

    def check(self):
        """Settled, every invariant holds; Violation names the one that does not."""
        owners = self.owners()
        self.history.sync()
        self.oracle.check_log()
        self.oracle.check_positions({p: position(pairs[0][1]) + 1 for p, pairs in owners.items()})
        self.oracle.check_state([line for p, pairs in owners.items() for line in pairs[0][0].dump(p)])
        self.oracle.check_levels()
        self.oracle.check_told(self.history.news())
        self.oracle.check_seen(self.shown)
        self.shown.clear()
        for view in self.views:
            view.check(self)
        self.count_paths()
        for instance in self.running():
            self.resources.check(instance)
            check_ingest(instance.state)
        for instance in self.instances.values():
            check_aside(instance.state, self.happened)

    def count_paths(self):
        """Adds to `happened` what the logs tell."""
        for path, text in PATHS.items():
            count = sum(instance.logged(text) for instance in self.instances.values())
            self.happened[path] += count - self.counted[path]
            self.counted[path] = count
        for instance in self.running():
            for path, metric in METRICS.items():
                life = path, instance.process.pid
                count = int(instance.metric(metric) or 0)
                self.happened[path] += count - self.counted[life]
                self.counted[life] = count
        self.happened["in doubt"] = self.happened["aborted"] + self.happened["unknown"]
        self.happened["dead-lettered"] = self.oracle.counts()["dead letter"]
        self.happened["forwarded"] = self.oracle.counts()["forwarded"]
        self.happened["killed"] = self.kills()

    def kills(self):
        return sum(instance.kills for instance in (*self.instances.values(), *self.elsewhere))

    # --- beginning and end -------------------------------------------------------------------------

    def begin(self):
        """Instance 0 runs, and has what it takes to have a position."""
        first = self.instance(0)
        first.start()
        self.wait_running()
        # An instance that ends before the first command has a state but no offset in the group.
        first.stop()
        first.start()
        self.send(2000)
        self.settle()
        self.check()
        # From now on every task has a store with rows in it.
        first.stop()
        self.filled = first.log_size()
        first.start()
        self.wait_running()

    def check_kept(self):
        """I11: a fault that damages no state has not made any of it anew."""
        if self.filled is None:
            return
        for line in self.instance(0).log_between(self.filled, self.emptied):
            must(not re.search(FROM_NOTHING, line), "I11: a state directory is caught up, not built anew", line)

    def check_clients(self):
        """I12: what clients were told was worth a comparison."""
        for what in WORTH:
            must(self.answers[what] or not self.loads, f"I12: the run is invalid: no answer was \"{what}\"",
                 dict(self.answers))

    def finish(self):
        """I11: every state directory, and none at all, lead to the same state."""
        self.check_clients()
        live = sorted(line for p, pairs in self.owners().items() for line in pairs[0][0].dump(p))
        for instance in self.running():
            instance.stop()
        for instance in list(self.instances.values()):
            self.check_start(instance, live, "as it was left")
        first = self.instance(0)
        self.emptied = first.log_size()
        shutil.move(first.state, first.state + ".before")
        self.check_start(first, live, "made from nothing")

    def check_start(self, instance, live, how):
        instance.start()
        self.wait_running()
        dump = sorted(line for p, pairs in self.owners().items() for line in pairs[0][0].dump(p))
        must(dump == live, f"I11: a state directory {how} leads to the same state", instance.folder,
             first_difference(live, dump))
        instance.stop()
        stopped = sorted(instance.dump_directory())
        must(stopped == live, f"I11: the state of an instance that ended, {how}, is what it served", instance.folder,
             first_difference(live, stopped))

    def close(self):
        for instance in self.instances.values():
            instance.end()
        self.oracle.close()
        self.history.close()

    def drop_topics(self):
        """A broker with few topics starts quickly."""
        if not self.broker.running():
            return
        admin = AdminClient({"bootstrap.servers": self.kafka, "log_level": 0})
        try:
            mine = [topic for topic in admin.list_topics(timeout=10).topics if topic.startswith(self.prefix)]
            for done in admin.delete_topics(mine).values() if mine else ():
                done.result(10)
        except KafkaException as error:
            self.say(f"topics of {self.name} stay: {error}")


def first_difference(one, other):
    for left, right in zip(one, other):
        if left != right:
            return f"{left} became {right}"
    return f"{len(one)} rows became {len(other)}"
