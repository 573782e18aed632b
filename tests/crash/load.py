"""Clients in the background: one that writes to Kafka, one that posts commands to instances, one that
reads levels. What they were told goes to the history; what the reader saw is kept for I8."""
import json
import random
import threading
import time

from fold import shown_numbers
from verdict import Broken
from wire import partition_of

BATCH = 200
COUNT_MAX = 50000  # of a load without a count: what more would only keep the oracle busy
HTTP_PAUSE = 0.02  # seconds between requests of one client
# What a client is told that is worth a comparison.
WORTH = ("read 200", "post 200", "post 202")


class Load:
    """count commands over so many seconds; without a count, `rate` a second until it is left."""

    def __init__(self, world, count=None, seconds=3, rate=2000):
        self.world = world
        self.count, self.seconds, self.rate = count, seconds, rate
        self.leaving = threading.Event()
        self.failed = None
        clients = random.Random(world.random.random())
        self.poster = Poster(world, clients)
        self.clients = [threading.Thread(target=self.guard, args=(work,))
                        for work in (self.post, self.watch(clients))]
        self.writer = threading.Thread(target=self.guard, args=(self.write,))

    def __enter__(self):
        for thread in (self.writer, *self.clients):
            thread.start()
        return self

    def __exit__(self, *error):
        """All records have an answer when the block is left."""
        if self.count is None:
            self.leaving.set()
        self.writer.join()
        self.leaving.set()
        for thread in self.clients:
            thread.join()
        if self.failed and not any(error):
            raise self.failed

    def served(self, limit=120):
        """I12: goes on until the clients have been told, from now on, all that is worth a comparison."""
        before = {what: self.world.answers[what] for what in WORTH}
        end = time.monotonic() + limit
        while not self.failed:
            missing = [what for what in WORTH if self.world.answers[what] == before[what]]
            if not missing:
                return
            if time.monotonic() > end:
                raise Broken(f"clients are not served again: no {', '.join(missing)} within {limit} s:"
                             f" {dict(self.world.answers)}")
            time.sleep(0.05)

    def guard(self, work):
        try:
            work()
        except Exception as error:  # handed to the thread that waits
            self.failed = self.failed or error

    def write(self):
        self.world.loads += 1
        if self.count is not None:
            self.world.writer.send(self.world.generator(self.count), self.seconds)
            return
        begin, sent = time.monotonic(), 0
        while not self.leaving.is_set():
            if sent >= COUNT_MAX:
                self.leaving.wait()
                break
            for record in self.world.generator(BATCH):
                self.world.writer.produce(*record)
            sent += BATCH
            self.world.writer.pause(begin + sent / self.rate - time.monotonic())
        self.world.writer.flush()

    def post(self):
        while not self.leaving.wait(HTTP_PAUSE):
            self.poster.post()
        self.world.history.sync()

    def watch(self, clients):
        def work():
            while not self.leaving.wait(HTTP_PAUSE):
                instance = self.world.any_instance(clients)
                if instance:
                    look(self.world, instance, f"SKU-{int(clients.random() ** 2 * self.world.options.skus):05d}")
        return work


def look(world, instance, sku):
    """Everything that was ever shown is kept: what is right later does not make up for it."""
    answer = instance.get(f"/v1/stock/{sku}", 5)
    if not answer:
        return
    status, body = answer
    world.answers[f"read {status}"] += 1
    if status == 500:
        raise Broken(f"{instance.name} answers a read of {sku} with {status}: {body[:300]}")
    if status == 200:
        for level in json.loads(body)["levels"]:
            if level["version"]:
                world.shown.add((sku, level["warehouse"], level["version"], shown_numbers(level)))


class Poster:
    """Posts commands; every third waits for its outcome."""

    def __init__(self, world, clients):
        self.world = world
        self.random = clients

    def post(self):
        instance = self.world.any_instance(self.random)
        if not instance:
            return
        command = self.world.posted.command()
        key = command["sku"].encode()
        command_id, kind = command.pop("command_id"), command.pop("type")
        headers = {"Content-Type": "application/json", "Idempotency-Key": command_id}
        if self.random.random() < 0.3:
            headers["Prefer"] = "wait=2"
        self.world.history.sent(command_id, key, to=instance.id)
        answer = instance.request(f"/v1/commands/{kind}", json.dumps(command).encode(), headers, 10)
        self.tell(command_id, key, answer)
        self.world.history.sync(now=False)

    def tell(self, command_id, key, answer):
        status, body = answer or (0, b"{}")
        self.world.answers[f"post {status}"] += 1
        try:
            body = json.loads(body)
        except ValueError:
            body = {}
        if "position" not in body:
            if 200 <= status < 300:
                raise Broken(f"status {status} for command {command_id} without its position: {answer}")
            self.world.history.told(command_id, key, unknown=f"status {status} {body.get('code')}")
            return
        facts = {"partition": partition_of(key, self.world.partitions),
                 "offset": int(body["position"].rsplit("@", 1)[1])}
        if status == 200:
            facts.update(status=body["status"], code=body["code"])
        elif status != 202:
            facts.update(status="REJECTED", code=body["code"])
        self.world.history.told(command_id, key, **facts)
