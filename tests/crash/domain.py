"""An app of all topologies, with instances, a stream of commands that begin sagas, and the oracle over all of its
topics. The model judges whole logs, each partition in offset order, once everything has come to rest."""
import json
import os
import shutil
import time

from confluent_kafka import Producer

from content import Content, must_equal, rocksdb_content, table_differences
from instance import Instance, position
from model import EVENT, TOPOLOGIES
from model.generator import Generator
from model.judge import Judge, Record
from topics import Group, Reader
from verdict import Broken, Violation, must
from wire import partition_of

LIMIT = 120
STILL_SECONDS = 1.5  # nothing new for so long: it has come to rest, but for timers
LATE_MS = 20000  # timers are looked at, sent and decided within that much
SUFFIXES = ("commands", "events", "commands-dlt")


class Stream(Generator):
    """More keys than a property test has, and the time of the day; steps that are no records are left out."""

    def __init__(self, seed, partitions):
        super().__init__(seed, {topology + ".commands": None for topology in TOPOLOGIES}, chosen=False)
        self.partitions = partitions
        self.skus = [f"SKU-{n}" for n in range(40)]
        self.products = [f"P-{n}" for n in range(12)]
        self.warehouses = ["AMS1", "RTM2", "X3"]

    def records(self, steps):
        for step in steps:
            if step[0] == "put":
                _, topic, partition, key, value, _ = step
                key = bytes.fromhex(key)
                yield (topic, partition_of(key, self.partitions) if partition < 0 else partition, key,
                       None if value is None else bytes.fromhex(value))

    def step(self):
        """Commands of a saga follow each other more often: what they find depends on who is faster."""
        dice = self.random.random()
        if dice < 0.4:
            return self.journey() if dice < 0.2 else self.contest() if dice < 0.3 else self.shuttle()
        return super().step()

    def begin(self):
        self.now = int(time.time() * 1000)
        return self.records(self.prelude())

    def some(self, count):
        self.now = int(time.time() * 1000)
        return self.records([step for _ in range(count) for step in self.step()])


class Domain:
    partitions = 4

    def __init__(self, world, instances=2, settings=None):
        self.world = world
        self.name = world.name + "-domain"
        self.prefix = world.prefix + "domain."  # of the world's, so that its topics go with it
        self.instances = [Instance(world.options.tally, os.path.join(world.folder, f"domain-{number}"), world.kafka,
                                   self.name, {"topologies": sorted(TOPOLOGIES), "topics.prefix": self.prefix,
                                               "stock.require_registration": True, **(settings or {})}, None,
                                   chr(ord("a") + number))
                          for number in range(instances)]
        world.elsewhere += self.instances
        self.instances[0].tool("topics", "create", "--topics.partitions", str(self.partitions))
        self.producer = Producer({"bootstrap.servers": world.kafka, "enable.idempotence": True, "linger.ms": 5,
                                  "log_level": 0, "message.timeout.ms": 120000})
        self.stream = Stream(f"domain {world.random.random()}", self.partitions)
        self.judge = Judge(self.partitions, True, self.prefix)
        self.content = Content()
        self.readers = {f"{topology}.{suffix}": Reader(world.kafka, f"{self.prefix}{topology}.{suffix}", self.partitions)
                        for topology in TOPOLOGIES for suffix in SUFFIXES}
        self.group = Group(world.kafka, self.name)
        self.ends = {}  # (topology, partition) -> offset of its last command
        self.unread = []

    # --- load -------------------------------------------------------------------------------------

    def send(self, records):
        for topic, partition, key, value in records:
            self.judge.put(topic, key, value)
            self.producer.produce(self.prefix + topic, value=value, key=key, partition=partition,
                                  on_delivery=self.delivered)
            self.producer.poll(0)

    def delivered(self, error, message):
        if error:
            raise Broken(f"{message.topic()}: a record has no place in the log: {error}")

    def flush(self):
        if self.producer.flush(LIMIT):
            raise Broken(f"records have no answer after {LIMIT} s")

    # --- instances --------------------------------------------------------------------------------

    def rows(self):
        """(topology, partition) -> rows of /v1/ops/tasks with their instance, of tasks that run."""
        found = {}
        for instance in self.instances:
            answer = instance.get("/v1/ops/tasks") if instance.running() and not instance.paused else None
            for row in json.loads(answer[1])["items"] if answer and answer[0] == 200 else ():
                if row["state"] == "HALTED":
                    raise Broken(f"a task of {instance.name} halted: {row}\n{instance.log_tail()}")
                if row["topology"] in TOPOLOGIES and row["state"] == "RUNNING":
                    found.setdefault((row["topology"], row["partition"]), []).append((instance, row))
        return found

    def wait(self, what, condition):
        end = time.monotonic() + LIMIT
        while True:
            rows = self.rows()
            if len(rows) == len(TOPOLOGIES) * self.partitions and all(len(pairs) == 1 for pairs in rows.values()) \
                    and condition({place: pairs[0] for place, pairs in rows.items()}):
                return {place: pairs[0] for place, pairs in rows.items()}
            if time.monotonic() > end:
                raise Broken(f"not {what} after {LIMIT} s: " + str({place: [row for _, row in pairs] for place, pairs
                                                                     in rows.items()}) +
                             "".join(f"\n{one.name}:\n{one.log_tail()}" for one in self.instances))
            time.sleep(0.05)

    def wait_running(self):
        return self.wait("running", lambda _: True)

    # --- the oracle -------------------------------------------------------------------------------

    def read(self):
        """Whether anything has come."""
        more = False
        for topic, reader in self.readers.items():
            topology, _, suffix = topic.partition(".")
            for partition, records in reader.read().items():
                more = more or bool(records)
                found = [Record(topic, partition, one.offset(), one.timestamp()[1], one.key(), one.value(),
                                one.headers() or []) for one in records]
                self.unread += found
                self.content.absorb(found)
                if records and suffix == "commands":
                    self.ends[topology, partition] = records[-1].offset()
        return more

    def settle(self):
        """Until every command of every topic, messages included, is decided, and nothing new comes of it."""
        end = time.monotonic() + LIMIT
        while True:
            self.read()
            rows = self.wait("settled", lambda rows: all(
                position(rows[place][1]) >= last for place, last in self.ends.items()))
            time.sleep(STILL_SECONDS)
            if not self.read():
                return rows
            if time.monotonic() > end:
                raise Broken(f"it does not come to rest within {LIMIT} s")

    def check(self):
        """Every event, message and dead letter is the model's; I1 to I8 of the domain; nothing pending, no timer
        overdue; offsets, positions and rows."""
        while True:
            rows = self.settle()
            records, self.unread = self.unread, []
            self.judge.absorb(records)
            try:
                return self.check_rest(rows)
            except Violation:
                if not self.read():  # a timer that came due may have ended the rest
                    raise

    def check_rest(self, rows):
        now = int(time.time() * 1000)
        for models in self.judge.models.values():
            for model in models:
                overdue = [due for due, _ in getattr(model, "timers", {}) if due < now - LATE_MS]
                must(not overdue, "I6: what is due is sent", model.topology, model.number, overdue)
        for topology in TOPOLOGIES:
            offsets = self.group.offsets(f"{self.prefix}{topology}.commands")
            for partition in range(self.partitions):
                last, row = self.ends.get((topology, partition), -1), rows[topology, partition][1]
                # In time a task that stands still also passes the marks of transactions at the end, and may do so
                # between the two questions.
                end = self.readers[f"{topology}.commands"].next[partition]
                offset = offsets.get(partition, 0)
                must(last + 1 <= position(row) + 1 <= offset <= end,
                     "I6: the group's offset is the state's position", topology, partition, offset, last, end, row)
        lines = self.dump(rows)
        self.judge.check_state(lines)
        must_equal("I2: the state is that of the events",
                   table_differences(self.content, rocksdb_content(lines).tables))
        return sorted(lines)

    def dump(self, rows):
        lines = []
        for (topology, partition), (instance, _) in sorted(rows.items()):
            answer = instance.get(f"/v1/ops/dump?topology={topology}&partition={partition}", 60)
            if not answer or answer[0] != 200:
                raise Broken(f"{instance.name} does not dump {topology}/{partition}: {answer}")
            lines += answer[1].splitlines()
        return lines

    # --- end --------------------------------------------------------------------------------------

    def finish(self):
        """I11: the directories, and none at all, lead to the same state."""
        self.check()
        for instance in self.instances:
            instance.stop()
        first = self.instances[0]
        first.start()
        before, decided = self.check(), self.decided()
        first.stop()
        shutil.move(first.state, first.state + ".before")
        first.start()
        after = self.check()
        # What was due in between changed the state; then the model alone has judged it.
        must(before == after or decided != self.decided(), "I11: made from nothing, the state is the same",
             [one for one in zip(before, after) if one[0] != one[1]][:1])
        first.stop()

    def decided(self):
        return sum(model.counts[EVENT] for models in self.judge.models.values() for model in models)

    def close(self):
        for instance in self.instances:
            instance.end()
        for reader in self.readers.values():
            reader.close()
