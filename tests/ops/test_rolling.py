#!/usr/bin/env python3
"""A rolling upgrade: three instances are replaced one after the other, as a StatefulSet does it, by a program of another
version, while commands come over Kafka and HTTP and everything is read through all of them. No read fails, no command is
lost or done twice. And a state directory that an older release wrote is opened, built again or refused by name, as `tally
plan` has said. TEST_KAFKA, TEST_REDIS: host:port; TEST_TALLY: the program; TEST_PREVIOUS: a commit of an older release, or
`none`; DEV_CACHE: where its program is kept."""
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests" / "crash"), str(ROOT / "tests" / "packages")]

import packages  # noqa: E402

packages.use()

from confluent_kafka import Consumer, Producer, TopicPartition  # noqa: E402
from install_tree import Checks, run  # noqa: E402
from instance import Instance  # noqa: E402

KAFKA = os.environ["TEST_KAFKA"]
REDIS = os.environ["TEST_REDIS"]
PROGRAM = pathlib.Path(os.environ["TEST_TALLY"])
PREVIOUS = os.environ.get("TEST_PREVIOUS") or "9b152ea"
CACHE = pathlib.Path(os.environ.get("DEV_CACHE") or pathlib.Path.home() / ".cache" / "tally")
NAMES, PARTITIONS, SKUS = ("a", "b", "c"), 6, 60
PER_SECOND = 300  # commands over Kafka; over HTTP two writers, as fast as they are answered
READERS, WRITERS = 4, 2
LOOK_S = 0.5  # between probes of readiness
NOTICE_S = 1  # until the Service has no more connections for an instance that ends
LIMIT_S = 60  # of a write, with all that is tried again
check = Checks("test_rolling")


def version_of(program):
    return run(program, "version").stdout.split()[1]


def other_version(folder):
    """The same program with another version, as the next release would be."""
    old = version_of(PROGRAM)
    new = old[:-1] + ("1" if old[-1] != "1" else "2")
    made = pathlib.Path(folder) / "tally-next"
    made.write_bytes(PROGRAM.read_bytes().replace(f"\0{old}\0".encode(), f"\0{new}\0".encode()))
    made.chmod(0o755)
    check(version_of(made) == new, "the program of the next version", old, new, version_of(made))
    return made, new


class Service:
    """What stands before the instances: those that are ready, in turns. A client tries the next one when nobody listens, or
    the answer is 503 with Retry-After; nothing else."""

    def __init__(self, instances):
        self.instances = {instance.id: instance for instance in instances}
        self.open = set()
        self.turn = 0
        self.lock = threading.Lock()
        self.tried_again = 0

    def look(self, ended):
        while not ended.wait(LOOK_S):
            for name, instance in self.instances.items():
                answer = instance.get("/readyz", limit=3)
                with self.lock:
                    if answer and answer[0] == 200 and instance.running() and not getattr(instance, "ending", False):
                        self.open.add(name)
                    elif not getattr(instance, "ending", False):
                        self.open.discard(name)

    def close(self, instance):
        """As a pod that is being ended: it gets no new connections, a moment later."""
        time.sleep(NOTICE_S)
        with self.lock:
            self.open.discard(instance.id)

    def order(self):
        with self.lock:
            names = sorted(self.open)
            self.turn += 1
            return [self.instances[names[(self.turn + i) % len(names)]] for i in range(len(names))] if names else []

    def call(self, method, path, body=None, headers=None, timeout=15):
        """(status, headers, body) of the first that answers; else what went wrong."""
        last = "no instance is ready"
        for instance in self.order():
            host, port = instance.address.split(":")
            connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
            try:
                connection.request(method, path, body, headers or {})
                answer = connection.getresponse()
                data = answer.read()
            except (ConnectionRefusedError, ConnectionResetError) as error:
                # Reset: it still waited to be accepted when the listener closed. Reads, and writes
                # with their Idempotency-Key, may be asked again.
                last = f"{instance.id}: {type(error).__name__}"
                self.tried_again += 1
                continue
            except (OSError, http.client.HTTPException) as error:
                return None, {}, f"{instance.id}: {type(error).__name__} {error}"
            finally:
                connection.close()
            if answer.status == 503 and answer.headers.get("Retry-After"):
                last = f"{instance.id}: 503 {data.decode(errors='replace')}"
                self.tried_again += 1
                continue
            return answer.status, answer.headers, data
        return None, {}, last


class Gap:
    """The longest time between two successes, by key."""

    def __init__(self):
        self.last, self.longest, self.lock = {}, {}, threading.Lock()

    def note(self, key):
        now = time.monotonic()
        with self.lock:
            self.longest[key] = max(self.longest.get(key, 0), now - self.last.get(key, now))
            self.last[key] = now


class Load:
    """All that happens meanwhile."""

    def __init__(self, name, service):
        self.name, self.service = name, service
        self.ended = threading.Event()
        self.failed_reads, self.failed_writes = [], []
        self.reads, self.slowest, self.read_gap = 0, 0, Gap()
        self.by_http, self.by_kafka, self.undelivered = set(), set(), []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=service.look, args=(self.ended,))]
        self.threads += [threading.Thread(target=self.read, args=(i,)) for i in range(READERS)]
        self.threads += [threading.Thread(target=self.write, args=(i,)) for i in range(WRITERS)]
        self.threads.append(threading.Thread(target=self.produce))

    def start(self):
        for thread in self.threads:
            thread.start()

    def end(self):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def read(self, reader):
        count = 0
        while not self.ended.is_set():
            sku = f"SKU-{(reader * 17 + count) % SKUS}"
            count += 1
            began = time.monotonic()
            status, _, body = self.service.call("GET", f"/v1/stock/{sku}/W1")
            with self.lock:
                self.reads += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
                if status != 200:
                    self.failed_reads.append((sku, status, body))
            if status == 200:
                self.read_gap.note("all")
                self.read_gap.note(sku)

    def write(self, writer):
        """One command after the other, each with its Idempotency-Key until it is answered with an outcome."""
        count = 0
        while not self.ended.is_set():
            command, sku = f"h-{writer}-{count}", f"SKU-{(writer * 29 + count) % SKUS}"
            count += 1
            body = json.dumps({"sku": sku, "warehouse": "W1", "quantity": 1})
            until = time.monotonic() + LIMIT_S
            while True:
                status, _, told = self.service.call("POST", "/v1/commands/ReceiveStock", body, {
                    "Idempotency-Key": command, "Content-Type": "application/json", "Prefer": "wait=5"}, timeout=30)
                if status in (200, 201, 202):
                    self.by_http.add((command, sku))
                    break
                if time.monotonic() > until or status not in (None, 503, 429):
                    self.failed_writes.append((command, status, told))
                    break
                time.sleep(0.1)

    def produce(self):
        producer = Producer({"bootstrap.servers": KAFKA, "partitioner": "murmur2_random", "acks": "all", "log_level": 0,
                             "enable.idempotence": True})
        count = 0
        while not self.ended.is_set():
            for _ in range(PER_SECOND // 20):
                command, sku = f"k-{count}", f"SKU-{count % SKUS}"
                count += 1
                producer.produce(f"{self.name}.stock.commands", key=sku, value=json.dumps({
                    "type": "ReceiveStock", "command_id": command, "sku": sku, "warehouse": "W1", "quantity": 1}),
                    on_delivery=lambda error, _: error and self.undelivered.append(error))
                self.by_kafka.add((command, sku))
            producer.poll(0)
            time.sleep(0.05)
        producer.flush(30)


def events_of(name):
    """(partition, ms, command id, SKU) of all events: read once more, by another reader than tally."""
    reader = Consumer({"bootstrap.servers": KAFKA, "group.id": f"{name}-oracle", "isolation.level": "read_committed",
                       "enable.partition.eof": True, "log_level": 0})
    reader.assign([TopicPartition(f"{name}.stock.events", p, 0) for p in range(PARTITIONS)])
    found, left = [], set(range(PARTITIONS))
    while left:
        for message in reader.consume(10000, 1):
            if message.error():
                left.discard(message.partition())
                continue
            event = json.loads(message.value())
            found.append((message.partition(), message.timestamp()[1], event["causation_id"], message.key().decode()))
    reader.close()
    return found


def instance_of(folder, name, group, program=PROGRAM):
    return Instance(str(program), os.path.join(folder, name), KAFKA, group, {
        "engine.threads": 1, "events.format": "json", "redis.url": f"redis://{REDIS}"}, instance_id=name)


def wait_ready(instance, limit=90):
    began = time.monotonic()
    while time.monotonic() - began < limit:
        instance.alive()
        answer = instance.get("/readyz", limit=3)
        if answer and answer[0] == 200:
            return time.monotonic() - began
        time.sleep(0.05)
    check(False, f"{instance.name} is ready within {limit} s", instance.log_tail())
    return limit


def replace(service, instance, program, took):
    """One pod: SIGTERM while it still gets connections, the new program on the same volume, ready, a moment of calm."""
    instance.ending = True
    notice = threading.Thread(target=service.close, args=(instance,))
    began = time.monotonic()
    notice.start()
    instance.stop()
    notice.join()
    instance.program = instance.command[0] = str(program)
    instance.start()
    instance.ending = False
    wait_ready(instance)
    took.append(time.monotonic() - began)
    time.sleep(3)


def rolling(folder):
    group = "rolling-" + uuid.uuid4().hex[:8]
    program, version = other_version(folder)
    instances = [instance_of(folder, name, group) for name in NAMES]
    instances[0].tool("topics", "create", "--topics.partitions", str(PARTITIONS))
    for instance in instances:
        instance.start()
    for instance in instances:
        wait_ready(instance)
    service = Service(instances)
    load = Load(group, service)
    seed = "".join(json.dumps({"type": "ReceiveStock", "command_id": f"seed-{i}", "sku": f"SKU-{i}", "warehouse": "W1",
                               "quantity": 1}) + "\n" for i in range(SKUS))
    subprocess.run([instances[0].program, "send", "--config", instances[0].config], input=seed, text=True,
                   env=instances[0].environment, capture_output=True, timeout=60, check=True)
    service.open = {instance.id for instance in instances}
    wait_all_read(service)
    load.start()
    took = []
    try:
        time.sleep(5)
        for instance in instances:
            replace(service, instance, program, took)
        time.sleep(3)
    finally:
        load.end()
    for instance in instances:
        answer = instance.get("/metrics")
        check(f'version="{version}"'.encode() in answer[1], f"{instance.name} is of the new version")
    judge(group, load, service, took)
    for instance in instances:
        instance.stop()


def wait_all_read(service):
    until = time.monotonic() + 60
    for sku in range(SKUS):
        while service.call("GET", f"/v1/stock/SKU-{sku}/W1")[0] != 200 and time.monotonic() < until:
            time.sleep(0.1)
    check(time.monotonic() < until, "all SKUs are there")


def judge(group, load, service, took):
    sent = load.by_http | load.by_kafka | {(f"seed-{i}", f"SKU-{i}") for i in range(SKUS)}
    until = time.monotonic() + 60
    levels = {}
    wanted = {}
    for _, sku in sent:
        wanted[sku] = wanted.get(sku, 0) + 1
    while time.monotonic() < until:
        levels = {f"SKU-{i}": json.loads(service.call("GET", f"/v1/stock/SKU-{i}/W1")[2])["on_hand"] for i in range(SKUS)}
        if levels == wanted:
            break
        time.sleep(0.5)
    check(levels == wanted, "the levels are the sums of the commands",
          {sku: (levels.get(sku), wanted[sku]) for sku in wanted if levels.get(sku) != wanted[sku]})
    events = events_of(group)
    counts = {}
    for _, _, command, _ in events:
        counts[command] = counts.get(command, 0) + 1
    check(set(counts) == {command for command, _ in sent}, "no command is lost, none is from nowhere",
          sorted(set(counts) ^ {command for command, _ in sent})[:10])
    check(max(counts.values()) == 1, "none is done twice", [c for c, n in counts.items() if n > 1][:10])
    check(not load.failed_reads, "no read failed", len(load.failed_reads), load.failed_reads[:5])
    check(not load.failed_writes and not load.undelivered, "every write got its answer", load.failed_writes[:5],
          load.undelivered[:5])
    check(load.reads > 500 and len(load.by_http) > 50 and len(load.by_kafka) > 2000, "there was load", load.reads,
          len(load.by_http), len(load.by_kafka))
    commits = {}
    for partition in range(PARTITIONS):
        times = sorted(ms for p, ms, _, _ in events if p == partition)
        commits[partition] = max((b - a for a, b in zip(times, times[1:])), default=0) / 1000
    of_skus = [gap for key, gap in load.read_gap.longest.items() if key != "all"]
    print(f"rolling: 3 instances replaced in {', '.join(f'{s:.1f} s' for s in took)}; {load.reads} reads, "
          f"{len(load.failed_reads)} failed, the slowest took {load.slowest:.2f} s; {service.tried_again} tried at the next instance; {len(load.by_http)} writes "
          f"over HTTP, {len(load.by_kafka)} over Kafka, {len(events)} events", flush=True)
    print(f"rolling: longest time without a read {load.read_gap.longest.get('all', 0):.2f} s, of one SKU "
          f"{max(of_skus, default=0):.2f} s; longest time without an event, by partition: "
          f"{', '.join(f'{p}: {s:.2f} s' for p, s in commits.items())}", flush=True)


# --- state of a release before ----------------------------------------------------------------------------------------


def previous_program():
    """Built once, from its own sources."""
    commit = run("git", "-C", ROOT, "rev-parse", "--short=12", f"{PREVIOUS}^{{commit}}").stdout.strip()
    if not check(commit, f"the commit {PREVIOUS} of the older release is there (fetch the history, or set TEST_PREVIOUS)"):
        return None, None
    kept = CACHE / f"release-{commit}" / "tally"
    if not kept.exists():
        print(f"rolling: building {commit}, once", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            tree = pathlib.Path(folder) / "tree"
            with open(pathlib.Path(folder) / "tree.tar", "wb") as archive:
                subprocess.run(["git", "-C", ROOT, "archive", commit], stdout=archive, check=True)
            tree.mkdir()
            run("tar", "-C", tree, "-xf", pathlib.Path(folder) / "tree.tar")
            run("cmake", "-S", tree, "-B", tree / "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", limit=300)
            done = run("ninja", "-C", tree / "build", "tally", limit=1800)
            if not check(done.returncode == 0, f"the older release {commit} builds", done.stdout[-1500:]):
                return None, None
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tree / "build" / "tally", kept.with_suffix(".part"))
            os.replace(kept.with_suffix(".part"), kept)
    return kept, commit


def older_state(folder):
    program, commit = previous_program()
    if not program:
        return
    group = "older-" + uuid.uuid4().hex[:8]
    instance = Instance(str(program), os.path.join(folder, "older"), KAFKA, group, {"engine.threads": 1})
    instance.tool("topics", "create", "--topics.partitions", "2")
    commands = "".join(json.dumps({"type": "ReceiveStock", "command_id": f"c-{i}", "sku": f"SKU-{i % 50}", "warehouse": "W1",
                                   "quantity": 1}) + "\n" for i in range(5000))
    subprocess.run([instance.program, "send", "--config", instance.config], input=commands, text=True,
                   env=instance.environment, capture_output=True, timeout=60, check=True)
    instance.start()
    instance.wait("done", lambda tasks: len(tasks) == 2 and all(
        row["state"] == "RUNNING" and row["lag"] == 0 for row in tasks.values()))
    instance.stop()
    instance.program = instance.command[0] = str(PROGRAM)
    instance.tool("topics", "create", "--topics.partitions", "2")
    status, told = instance.tool("plan", "-o", "json", fails=True)
    plan = json.loads(told[:told.rindex("}") + 1])
    verdicts = {row["verdict"] for row in plan["tasks"]}
    codes = {row["code"] for row in plan["tasks"] if row["code"]}
    print(f"rolling: state of {commit}: tally plan says {', '.join(sorted(verdicts))}"
          f"{' ' + ', '.join(sorted(codes)) if codes else ''}", flush=True)
    check(verdicts <= {"KEEP", "REBUILD", "REFUSE"} and len(plan["tasks"]) == 2, "older state has a verdict", plan)
    check(status == (1 if "REFUSE" in verdicts else 3 if "REBUILD" in verdicts else 0), "and a status", status)
    check("REFUSE" not in verdicts or all(row["reason"] and row["way_out"] for row in plan["tasks"]
                                          if row["verdict"] == "REFUSE"), "a refusal has a reason and a way out", plan)
    instance.start()
    if "REFUSE" in verdicts:
        instance.process.wait(30)
        check(any(code in instance.log_tail() for code in codes), "it is refused by name", instance.log_tail())
        return
    began = time.monotonic()
    instance.wait("done", lambda tasks: len(tasks) == 2 and all(
        row["state"] == "RUNNING" and row["lag"] == 0 for row in tasks.values()))
    log = pathlib.Path(instance.log_path).read_bytes()[instance.born_at:].decode(errors="replace")
    check(("state set aside" in log) == ("REBUILD" in verdicts), "the start does what the plan said", verdicts)
    sums = {json.loads(instance.get(f"/v1/stock/SKU-{i}/W1")[1])["on_hand"] for i in range(50)}
    check(sums == {100}, "its numbers are there", sums)
    print(f"rolling: it ran {time.monotonic() - began:.1f} s after its start, with its numbers", flush=True)
    instance.stop()


def main():
    with tempfile.TemporaryDirectory() as folder:
        rolling(folder)
        if PREVIOUS != "none":
            older_state(folder)
    check.end()


signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
main()
