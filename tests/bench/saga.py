"""Suite `saga`: reservations, from the moment when a client sends its command to that when a read_committed consumer
has ReservationConfirmed. `one`: one line, nothing else going on. `wide`: 200 lines over all partitions of stock.
`sustained`: many of three lines, all sent before tally starts: how many a second, the confirmations of stock included."""
import json
import random
import shutil
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from figures import Turns, Unusable, measured
from latency import distribution
from sides import PARTITIONS

TOPOLOGIES = ["stock", "reservation", "transfer"]
WIDE_LINES, LINES = 200, 3
SIZES = {"one": 400, "wide": 100, "sustained": 60000}
QUICK = {"one": 30, "wide": 3, "sustained": 2000}
SKUS = 20000  # of `sustained`; enough stock of each
PLENTY = 10 ** 9
WARM_UP = 5  # reservations that do not count
PAUSE = 0.02, 0.06  # seconds between reservations on an idle system: not in step with anything


def run(setup):
    sizes = QUICK if setup.options.quick else SIZES
    return all([setup.attempt("saga", case, lambda: run_case(setup, case, sizes[case])) for case in sizes])


def run_case(setup, case, size):
    turns = Turns()
    for number in range(1, setup.options.runs + 1):
        turns.take("tally", number, lambda: run_tally(setup, case, size, number))
    return setup.publish("saga", case, turns, {}, reservations=size)


def run_tally(setup, case, size, number):
    setup.delete_topics(lambda name: name.startswith(setup.name))
    setup.create_topics({"topologies": TOPOLOGIES})
    setup.loaded = False
    clients = Clients(setup)
    try:
        if case == "sustained":
            return sustained(setup, clients, size, number)
        tally = start(setup, f"saga-{case}-{number}")
        try:
            clients.stock(tally, WIDE_LINES)
            lines = 1 if case == "one" else WIDE_LINES
            for i in range(WARM_UP):
                clients.reserve(f"warm-{i}", lines)
            return distribution([clients.reserve(f"{case}-{i}", lines) for i in range(size)])
        finally:
            tally.stop()
    finally:
        clients.close()
        shutil.rmtree(setup.state, ignore_errors=True)


def start(setup, name):
    tally = setup.tally(name, {"topologies": TOPOLOGIES, "events.format": "json"})
    tally.wait_started()
    return tally


class Clients:
    def __init__(self, setup):
        self.setup, self.random = setup, random.Random(7)
        common = {"bootstrap.servers": setup.options.kafka}
        self.producer = Producer({**common, "linger.ms": 0, "partitioner": "murmur2_random",
                                  "queue.buffering.max.messages": 1000000})
        self.consumer = Consumer({**common, "group.id": "bench-saga", "isolation.level": "read_committed",
                                  "fetch.wait.max.ms": 5, "enable.auto.commit": False})
        self.consumer.assign([TopicPartition(f"{setup.name}.reservation.events", p, 0) for p in range(PARTITIONS)])

    def send(self, topology, key, **command):
        topic = f"{self.setup.name}.{topology}.commands"
        while True:
            try:
                self.producer.produce(topic, json.dumps(command), key)
                return
            except BufferError:
                self.producer.poll(0.1)

    def stock(self, tally, skus):
        for i in range(skus):
            self.send("stock", f"SKU-{i}", type="ReceiveStock", command_id=f"s-{i}", sku=f"SKU-{i}", warehouse="W1",
                      quantity=PLENTY)
        self.producer.flush()
        tally.until("stocked", lambda: outcomes(tally, "stock") >= skus)

    def reserve(self, key, lines):
        """Milliseconds."""
        time.sleep(self.random.uniform(*PAUSE))
        begin = time.monotonic()
        self.send("reservation", key, type="ReserveStock", command_id=key, reservation_id=key,
                  lines=[{"sku": f"SKU-{i}", "quantity": 1} for i in range(lines)])
        self.producer.poll(0)
        while time.monotonic() - begin < 30:
            message = self.consumer.poll(0.05)
            value = b"" if message is None or message.error() else message.value()
            if b'"type":"ReservationConfirmed"' in value and message.key() == key.encode():
                return (time.monotonic() - begin) * 1000
            if b'"type":"ReservationFailed"' in value:
                raise Unusable(f"a reservation failed: {value}")
        raise Unusable(f"reservation {key} is not confirmed after 30 s")

    def close(self):
        self.producer.flush()
        self.consumer.close()


def outcomes(tally, topology, outcome="accepted"):
    return int(tally.series(f'tally_commands_total{{topology="{topology}",outcome="{outcome}"}}') or 0)


def sustained(setup, clients, size, number):
    """All commands are there before tally is."""
    tally = start(setup, f"saga-sustained-{number}")
    clients.stock(tally, SKUS)
    tally.stop()
    for i in range(size):
        lines = [{"sku": f"SKU-{sku}", "quantity": 1} for sku in clients.random.sample(range(SKUS), LINES)]
        clients.send("reservation", f"R-{i}", type="ReserveStock", command_id=f"r-{i}", reservation_id=f"R-{i}",
                     lines=lines)
    clients.producer.flush()
    broker = setup.broker_cpu()
    tally = setup.tally(f"saga-sustained-{number}", {"topologies": TOPOLOGIES})
    try:
        return drain(setup, tally, size, broker)
    finally:
        tally.stop()


def drain(setup, tally, size, broker):
    """From the first ReserveStock to the last line that stock has reserved. A granted line is one accepted reply;
    of each line stock accepts a hold and its confirmation."""
    begin = time.monotonic()
    while not outcomes(tally, "reservation", "pending"):
        tally.alive()
        begin = time.monotonic()
    tally.until("done", lambda: outcomes(tally, "stock") >= 2 * LINES * size, limit=600, every=0.05)
    seconds = time.monotonic() - begin
    if outcomes(tally, "reservation") != LINES * size or outcomes(tally, "stock", "rejected"):
        raise Unusable(f"{outcomes(tally, 'reservation')} lines of {LINES * size} were granted")
    return measured(size, seconds, tally.cpu() * 1e6 / size, tally.rss(),
                    broker_cpu_us=round((setup.broker_cpu() - broker) * 1e6 / size, 1))
