"""Suite `latency`: commands at a fixed rate, from the append time of a command, which is its event's
`time`, to the moment when a read_committed consumer has the event."""
import datetime
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from setup import PARTITIONS, Unusable, say
from wire import msgpack_decode

RATE = 2000
SECONDS = 20


def run(setup):
    setup.empty_topics()
    state = os.path.join(setup.folder, "latency-state")
    tally = setup.start_tally(f"{setup.name}-latency", state)
    try:
        tally.wait_ready()
        ours = measure(setup)
        say(f"tally: {ours}")
    finally:
        tally.stop()
        shutil.rmtree(state, ignore_errors=True)
    peers = {name: run_peer(setup, name, more) for name, more in (
        ("default", []), ("commit_10ms", ["commit.interval.ms=10"]))} if setup.has_peer() else None
    print(json.dumps({"suite": "latency", **setup.environment_of_run(), "rate": RATE, "tally": ours, "peer": peers}))


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


def measure(setup):
    """The first quarter is warm-up."""
    count = RATE * SECONDS
    consumer = Consumer({"bootstrap.servers": setup.options.kafka, "group.id": "bench-latency",
                         "isolation.level": "read_committed", "fetch.wait.max.ms": 5, "enable.auto.commit": False})
    ends = [consumer.get_watermark_offsets(TopicPartition(setup.events, p), 30)[1] for p in range(PARTITIONS)]
    consumer.assign([TopicPartition(setup.events, p, end) for p, end in enumerate(ends)])
    sender = multiprocessing.Process(target=send, args=(setup.options.kafka, setup.commands, count,
                                                         f"{int(time.time()):08x}-0000-7000-8000"))
    sender.start()
    millis, quiet_since = [], time.monotonic()
    while len(millis) < count and time.monotonic() - quiet_since < 20:
        for message in consumer.consume(100, 0.05):
            now, quiet_since = time.time(), time.monotonic()
            if message.error() is None:
                event = datetime.datetime.fromisoformat(msgpack_decode(message.value())["time"].replace("Z", "+00:00"))
                millis.append((now - event.timestamp()) * 1000)
    sender.join()
    consumer.close()
    millis = sorted(millis[count // 4:])
    pick = {f"p{str(q).replace('.', '')}_ms": round(millis[min(int(len(millis) * q / 100), len(millis) - 1)], 1)
            for q in (50, 90, 99, 99.9)}
    return {"events": len(millis), **pick}


def run_peer(setup, name, more):
    options = setup.options
    output, app = f"{setup.name}.peer-{name}", f"{setup.name}-peer-{name}"
    state = os.path.join(setup.folder, "peer-state")
    setup.empty_topics()
    setup.create_topic(output)
    peer = subprocess.Popen([setup.peer_program, "stream", options.kafka, setup.commands, output, app, state, "1",
                             str(options.threads), "variant=full", "end=stay", *more], stdout=subprocess.PIPE,
                            stderr=setup.peer_log(), env=setup.peer_environment, text=True)
    try:
        time.sleep(10)  # it says nothing until it has had a record
        done = subprocess.run([setup.peer_program, "latency", options.kafka, setup.commands, output, str(RATE),
                               str(SECONDS)], text=True, stdout=subprocess.PIPE, stderr=setup.peer_log(), check=True,
                              env=setup.peer_environment)
    finally:
        peer.send_signal(signal.SIGKILL)
        peer.wait()
    shutil.rmtree(state, ignore_errors=True)
    setup.delete_topics(lambda topic: topic.startswith((output, app)))
    result = json.loads(done.stdout.strip().splitlines()[-1])
    if not result["events"]:
        raise Unusable(f"the peer gave no events:\n{setup.peer_log_tail()}")
    say(f"peer {name}: {result}")
    return result
