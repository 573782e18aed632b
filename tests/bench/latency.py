"""Suite `latency`: commands at a fixed rate, from the append time of a command (the event's `time`; the
peer hands its record's timestamp on) to the moment when a read_committed consumer has the event. One
instrument for all sides, which take turns; the first quarter of a run is warm-up."""
import datetime
import math
import multiprocessing
import random
import shutil
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from figures import Turns, Unusable, cpu_seconds
from sides import PARTITIONS
from wire import msgpack_decode

RATE = 2000
QUANTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9)
JVM_SECONDS = 10  # until the peer has its partitions; it says nothing before it has had a record


def run(setup):
    return setup.attempt("latency", None, lambda: run_suite(setup))


def run_suite(setup):
    turns = Turns()
    for i in range(1, setup.options.runs + 1):
        turns.take("tally", i, lambda: run_tally(setup, i))
        for side, more in (("peer", []), ("peer_10ms", ["commit.interval.ms=10"])) if setup.peer else ():
            turns.take(side, i, lambda: run_peer(setup, f"{side}-{i}", more))
    return setup.publish("latency", None, turns, {side: ("p50_ms", "p99_ms") for side in ("peer", "peer_10ms")},
                         rate=RATE)


def send(kafka, topic, count, salt):
    """In a process of its own, so that reading does not delay it."""
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 0, "partitioner": "murmur2_random"})
    rnd = random.Random(salt)
    begin = time.monotonic()
    for i in range(count):
        ahead = begin + i / RATE - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        sku = f"SKU-{rnd.randrange(1000000):08d}"
        producer.produce(topic, key=sku, value=f'{{"type":"ReceiveStock","command_id":"{salt}-{i:012x}","sku":"{sku}",'
                                               f'"warehouse":"W{rnd.randint(1, 3)}","quantity":1}}')
        producer.poll(0)
    producer.flush()


def event_time(message):
    event = datetime.datetime.fromisoformat(msgpack_decode(message.value())["time"].replace("Z", "+00:00"))
    return event.timestamp()


def measure(setup, topic, time_of):
    count = RATE * setup.options.seconds * 4 // 3
    consumer = Consumer({"bootstrap.servers": setup.options.kafka, "group.id": "bench-latency",
                         "isolation.level": "read_committed", "fetch.wait.max.ms": 5, "enable.auto.commit": False})
    ends = [consumer.get_watermark_offsets(TopicPartition(topic, p), 30)[1] for p in range(PARTITIONS)]
    consumer.assign([TopicPartition(topic, p, end) for p, end in enumerate(ends)])
    sender = multiprocessing.Process(target=send, args=(setup.options.kafka, setup.commands, count,
                                                        f"{int(time.time()):08x}-0000-7000-8000"))
    sender.start()
    millis, quiet_since = [], time.monotonic()
    while len(millis) < count and time.monotonic() - quiet_since < 20:
        for message in filter(None, [consumer.poll(0.05)]):
            if message.error() is None:
                millis.append((time.time() - time_of(message)) * 1000)
                quiet_since = time.monotonic()
    sender.join()
    consumer.close()
    if len(millis) != count:
        raise Unusable(f"{len(millis)} events came of {count} commands")
    return distribution(millis[count // 4:])


def distribution(millis):
    millis = sorted(millis)
    pick = {q: round(millis[math.ceil(len(millis) * q / 100) - 1], 1) for q in QUANTILES}
    return {"events": len(millis), "p50_ms": pick[50], "p99_ms": pick[99], "p999_ms": pick[99.9],
            "max_ms": round(millis[-1], 1), "quantiles_ms": [[q, value] for q, value in pick.items()]}


def run_tally(setup, number):
    setup.empty_topics()
    tally = setup.tally(f"latency-{number}")
    try:
        tally.wait_started()
        cpu = tally.cpu()
        result = measure(setup, setup.events, event_time)
        return {**result, "cpu_percent": cpu_percent(setup, tally.cpu() - cpu)}
    finally:
        tally.stop()
        shutil.rmtree(setup.state, ignore_errors=True)


def cpu_percent(setup, seconds):
    return round(seconds * 100 / (setup.options.seconds * 4 / 3), 1)


def run_peer(setup, name, more):
    setup.empty_topics()
    process = setup.peer.stay(f"latency-{name}", *more)
    try:
        time.sleep(JVM_SECONDS)
        cpu = cpu_seconds(process.pid)
        result = measure(setup, setup.peer.output, lambda message: message.timestamp()[1] / 1000)
        return {**result, "cpu_percent": cpu_percent(setup, cpu_seconds(process.pid) - cpu)}
    finally:
        setup.peer.end(process)
        setup.peer.discard()
