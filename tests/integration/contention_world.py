"""What the sagas' tests on a real broker share: two instances of one group, clients that send many commands at
once, a reader of reservation.events, the process that is killed at random, and the end's account of who holds what."""
import json
import os
import random
import subprocess
import threading
import time
import uuid

from confluent_kafka import Consumer, Producer, TopicPartition
from instance import Instance
from verdict import Broken, Violation, must

PARTITIONS = 4
TOPOLOGIES = ("stock", "reservation", "transfer")
SETTINGS = {"topologies": list(TOPOLOGIES), "engine.transaction.timeout": "1s", "engine.session.timeout": "16s",
            "engine.threads": 1, "events.format": "json", "state.memory": "64M", "http.threads": 8, "http.wait.max": 4}
ENDED = {"FULFILLED", "FAILED", "RELEASED", "EXPIRED"}
OPEN_HOLDS = {"HELD": "HOLDING", "RESERVED": "CONFIRMED", "COMMITTED": "COMMITTED"}
LIMIT = 180  # seconds that anything may take


class World:
    def __init__(self, folder, kafka, program, seed):
        self.kafka, self.name = kafka, "sagas-" + uuid.uuid4().hex[:8]
        self.random = random.Random(seed)
        self.instances = [Instance(program, os.path.join(folder, name), kafka, self.name, SETTINGS, instance_id=name)
                          for name in "ab"]
        self.instances[0].tool("topics", "create", "--topics.partitions", str(PARTITIONS))
        self.producer = Producer({"bootstrap.servers": kafka, "partitioner": "murmur2_random", "linger.ms": 1,
                                  "queue.buffering.max.messages": 1000000})
        self.events = Events(kafka, f"{self.name}.reservation.events")
        self.sent = 0
        self.killer = None
        for instance in self.instances:
            instance.start()
        self.wait("both run", lambda: len(self.owners()) == PARTITIONS * len(TOPOLOGIES))

    # --- clients ----------------------------------------------------------------------------------

    def send(self, topology, key, kind, **fields):
        name = {"stock": "sku", "reservation": "reservation_id"}[topology]
        self.sent += 1
        command = {"type": kind, "command_id": f"c-{self.sent}", name: key, **fields}
        while True:
            try:
                self.producer.produce(f"{self.name}.{topology}.commands", json.dumps(command), key)
                return
            except BufferError:
                self.producer.poll(0.1)

    def flush(self):
        must(self.producer.flush(LIMIT) == 0, "the broker takes what clients send")

    def wait(self, what, condition, limit=LIMIT):
        end = time.monotonic() + limit
        while not condition():
            if self.events.error:
                raise self.events.error
            if time.monotonic() > end:
                raise Broken(f"not in {limit} s: {what}\n" + "\n".join(i.log_tail() for i in self.instances))
            time.sleep(0.02)

    # --- instances --------------------------------------------------------------------------------

    def owners(self):
        """(topology, partition) -> the instance that runs it."""
        found = {}
        for instance in self.instances:
            answer = instance.get("/v1/ops/tasks")
            for row in json.loads(answer[1])["items"] if answer and answer[0] == 200 else ():
                if row["state"] == "RUNNING":
                    found[row["topology"], row["partition"]] = instance
        return found

    def kill_at_random(self):
        self.killer = Killer(self)
        self.killer.start()

    def stop_killing(self):
        if self.killer:
            self.killer.stop()
            self.killer = None
        for instance in self.instances:
            if not instance.running():
                instance.start()
        self.wait("all tasks run", lambda: len(self.owners()) == PARTITIONS * len(TOPOLOGIES))

    def settle(self):
        """Messages of what the last event told may still be on their way: waits until every task has read all there
        is, and stands where it stood a while before."""
        def look():
            rows = {}
            for instance in self.instances:
                answer = instance.get("/v1/ops/tasks")
                for row in json.loads(answer[1])["items"] if answer and answer[0] == 200 else ():
                    if row["state"] == "RUNNING":
                        rows[row["topology"], row["partition"]] = row["position"], row["lag"]
            return rows

        def stands():
            before = look()
            time.sleep(0.5)
            after = look()
            return (len(after) == PARTITIONS * len(TOPOLOGIES) and before == after
                    and all(lag == 0 for _, lag in after.values()))
        self.wait("nothing is on its way", stands)

    def dump(self, topology):
        rows = []
        for (name, partition), instance in self.owners().items():
            if name == topology:
                answer = instance.get(f"/v1/ops/dump?topology={topology}&partition={partition}", 120)
                must(answer and answer[0] == 200, "a task is dumped", topology, partition, answer and answer[0])
                rows += map(json.loads, answer[1].splitlines())
        return rows

    def close(self):
        if self.killer:
            self.killer.stop()
        for instance in self.instances:
            instance.end()
        self.events.close()

    # --- the account ------------------------------------------------------------------------------

    def check_holds(self):
        """No hold is left that no reservation owns, none of a reservation is missing, and numbers are their sums."""
        self.settle()
        reservations = {row["key"]: row["value"] for row in self.dump("reservation") if row["store"] == "reservation"}
        lines = {row["key"]: row["value"] for row in self.dump("reservation") if row["store"] == "line"}
        stock = self.dump("stock")
        holds = {row["key"]: row["value"] for row in stock if row["store"] == "hold"}
        held = {}
        for key, hold in holds.items():
            wanted = OPEN_HOLDS.get(hold["state"])
            if wanted is None:
                continue
            owner = reservations.get(key.rsplit(".", 1)[0])
            must(owner and owner["state"] == wanted, "a hold has a reservation that owns it", key, hold, owner)
            place = f"{hold['sku']}.{hold['warehouse']}", hold["state"].lower()
            held[place] = held.get(place, 0) + hold["quantity"] - hold["shipped"]
        for key, line in lines.items():
            owner = reservations[key.rsplit(".", 1)[0]]
            if owner["state"] in ("CONFIRMED", "COMMITTED") and line["shipped"] < line["quantity"]:
                must(OPEN_HOLDS.get(holds[key]["state"]) == owner["state"], "a reservation has its holds", key, owner,
                     holds.get(key))
        for row in stock:
            if row["store"] == "level":
                for bucket in ("held", "reserved", "committed"):
                    have, want = row["value"][bucket], held.get((row["key"], bucket), 0)
                    must(have == want, "a level has what its holds say", row["key"], bucket, have, want)
                must(row["value"]["available"] >= 0, "nothing is oversold", row["key"], row["value"])

    def fsck(self):
        """One instance takes over everything, and its checker finds nothing."""
        first, second = self.instances
        second.stop()
        self.wait("one has all", lambda: len(self.owners()) == PARTITIONS * len(TOPOLOGIES))
        done = subprocess.run([first.program, "fsck", "--config", first.config], env=first.environment,
                              capture_output=True, text=True, timeout=LIMIT, check=False)
        must(done.returncode == 0, "tally fsck finds nothing", done.stdout, done.stderr)
        first.stop()


class Killer(threading.Thread):
    """kill -9 of one of the two every now and then; it starts again at once."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world, self.ending, self.kills = world, threading.Event(), 0

    def run(self):
        while not self.ending.wait(self.world.random.uniform(0.5, 4)):
            victim = self.world.random.choice(self.world.instances)
            victim.kill()
            self.kills += 1
            victim.start()

    def stop(self):
        self.ending.set()
        self.join()


class Events(threading.Thread):
    """Facts about reservations, as they are committed: their last state, and how often each was reached."""

    def __init__(self, kafka, topic):
        super().__init__(daemon=True)
        self.consumer = Consumer({"bootstrap.servers": kafka, "group.id": "sagas-reader", "enable.auto.commit": False,
                                  "isolation.level": "read_committed", "log_level": 0})
        self.consumer.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
        self.states, self.reached, self.expires, self.ending = {}, {}, {}, threading.Event()
        self.retried, self.error = 0, None
        self.start()

    def run(self):
        try:
            while not self.ending.is_set():
                for message in self.consumer.consume(1000, 0.05):
                    if message.error() is None:
                        self.take(json.loads(message.value()))
        except Violation as error:
            self.error = error

    def take(self, event):
        payload = event["payload"]
        if "reservation_id" not in payload:
            return
        key, state = payload["reservation_id"], payload["state"]
        before = self.states.get(key)
        must(before not in ENDED, "what has ended stays so", key, before, event)
        self.retried += event["type"] == "ReservationRetried"
        if state != before:
            self.reached.setdefault(key, []).append(state)
            self.expires[key] = payload.get("expires_at")
            self.states[key] = state  # last: it is what others look at

    def close(self):
        self.ending.set()
        self.join()
        self.consumer.close()
