"""A second app beside that of a World: its topology `catalogue` sends what it decides to every
partition of `stock`. What the two topics must hold is simple enough for a check of its own."""
import json
import os
import time

from confluent_kafka import Producer

from instance import Instance
from topics import Reader
from verdict import Broken, must
from wire import msgpack_decode, partition_of

LIMIT = 60


class Warehouses:
    def __init__(self, world):
        self.partitions = world.partitions
        self.name = world.name + "-warehouses"
        self.prefix = world.prefix + "warehouses."  # of the world's, so that its topics go with it
        self.tally = Instance(world.options.tally, os.path.join(world.folder, "warehouses"), world.kafka, self.name,
                              {"topologies": ["catalogue", "stock"], "topics.prefix": self.prefix})
        self.tally.tool("topics", "create", "--topics.partitions", str(self.partitions))
        self.producer = Producer({"bootstrap.servers": world.kafka, "log_level": 0})
        self.events = Reader(world.kafka, self.prefix + "catalogue.events", self.partitions)
        self.messages = Reader(world.kafka, self.prefix + "stock.commands", self.partitions)
        self.outcomes = Reader(world.kafka, self.prefix + "stock.events", self.partitions)
        self.asked = []
        self.registered, self.sent, self.applied = [], [], []

    def register(self, count):
        for _ in range(count):
            code = f"W{len(self.asked) + 1}"
            key = f"warehouse:{code}"
            command = {"type": "RegisterWarehouse", "command_id": f"r-{code}", "warehouse": code, "name": code}
            self.producer.produce(self.prefix + "catalogue.commands", json.dumps(command).encode(), key.encode(),
                                  partition_of(key.encode(), self.partitions))
            self.asked.append(key)
        if self.producer.flush(60):
            raise Broken("commands for warehouses have no answer after 60 s")

    def kill(self, plan):
        self.register(5)
        self.tally.environment["TALLY_FAIL"] = plan
        self.tally.start()
        del self.tally.environment["TALLY_FAIL"]
        self.tally.process.wait(LIMIT)
        if self.tally.process.returncode != -9:
            raise Broken(f"TALLY_FAIL={plan}: ended with {self.tally.process.returncode}\n{self.tally.log_tail()}")
        self.tally.start()
        self.settle()
        self.check()
        self.tally.stop()

    def settle(self):
        """Until every command and every message has its outcome."""
        end = time.monotonic() + LIMIT
        while True:
            self.read()
            if len(self.registered) >= len(self.asked) and len(self.applied) >= len(self.asked) * self.partitions:
                return
            self.tally.alive()
            if time.monotonic() > end:
                raise Broken(f"{len(self.asked)} warehouses asked for, {len(self.registered)} registered,"
                             f" {len(self.applied)} applied\n{self.tally.log_tail()}")
            time.sleep(0.1)

    def read(self):
        self.registered += [record.key().decode() for record in records(self.events)]
        self.sent += [(record.partition(), msgpack_decode(record.value())["id"]) for record in records(self.messages)]
        self.applied += [(record.partition(), msgpack_decode(record.value())["causation_id"])
                         for record in records(self.outcomes)]

    def check(self):
        self.read()
        must(sorted(self.registered) == sorted(self.asked), "I1: one event per warehouse", self.registered)
        must(len(set(self.sent)) == len(self.sent), "I3: a message is sent once", self.sent)
        must(len(self.sent) == len(self.asked) * self.partitions, "I1: every partition has a message for every warehouse",
             self.sent)
        must(sorted(self.applied) == sorted(self.sent), "I1: one outcome per message", self.applied)

    def close(self):
        for reader in (self.events, self.messages, self.outcomes):
            reader.close()
        self.tally.end()


def records(reader):
    return [record for found in reader.read().values() for record in found]
