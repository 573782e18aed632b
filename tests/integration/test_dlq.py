#!/usr/bin/env python3
"""`tally dlq` beside a running instance on a real broker: what it lists and shows, retries that count
once whatever happens to the tool, repaired values, drops. TEST_KAFKA: host:port; TEST_TALLY: the
program."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "crash"))

import packages  # noqa: E402

packages.use()

from confluent_kafka import Producer  # noqa: E402
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource,  # noqa: E402
                                   NewTopic)
from instance import Instance, all_running, position  # noqa: E402
from topics import Reader  # noqa: E402
from wire import msgpack_decode, msgpack_encode, partition_of  # noqa: E402

PARTITIONS = 3
KAFKA = os.environ["TEST_KAFKA"]
results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_dlq: {name}: {' '.join(map(str, facts))}", flush=True)


class Case:
    def __init__(self, folder):
        self.name = "dlq-" + uuid.uuid4().hex[:8]
        self.instance = Instance(os.environ["TEST_TALLY"], folder, KAFKA, self.name)
        self.folder = folder
        self.instance.tool("topics", "create", "--topics.partitions", str(PARTITIONS))
        self.producer = Producer({"bootstrap.servers": KAFKA, "enable.idempotence": True})
        self.events = Reader(KAFKA, self.name + ".stock.events", PARTITIONS)
        self.commands = Reader(KAFKA, self.name + ".stock.commands", PARTITIONS)
        self.seen = {}  # command id -> events of it
        self.records = []
        self.ends = {}

    def put(self, key, value, headers=None, partition=None):
        partition = partition_of(key or b"", PARTITIONS) if partition is None else partition

        def delivered(error, message):
            check(not error, "a record is written", error)
            self.ends[message.partition()] = max(self.ends.get(message.partition(), -1), message.offset())

        self.producer.produce(self.name + ".stock.commands", key=key, value=value, headers=headers,
                              partition=partition, on_delivery=delivered)

    def settle(self):
        """Until everything that is on the commands topic has been decided."""
        self.producer.flush(60)
        for partition, records in self.commands.read().items():
            self.records += records
            for record in records:
                self.ends[partition] = max(self.ends.get(partition, -1), record.offset())
        self.instance.wait("settled", lambda tasks: all_running(tasks, PARTITIONS) and all(
            position(tasks[p]) >= end for p, end in self.ends.items()))
        for records in self.events.read().values():
            for record in records:
                event = msgpack_decode(record.value())
                self.seen.setdefault(event["causation_id"], []).append(event)

    def dlq(self, *arguments, status=0):
        done = subprocess.run([self.instance.program, "dlq", *arguments, "--config", self.instance.config],
                              env=self.instance.environment, capture_output=True, timeout=60, check=False)
        check(done.returncode == status, f"status of dlq {' '.join(arguments)}", done.returncode, done.stderr)
        done.text, done.said = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        return done

    def letters(self, *arguments):
        return [json.loads(line) for line in self.dlq("list", "--json", *arguments).text.splitlines()]

    def address(self, letter):
        return f"{letter['topic']}/{letter['partition']}@{letter['offset']}"


def receive(number, **more):
    return {"type": "ReceiveStock", "command_id": f"c-{number}", "sku": f"SKU-{number}", "warehouse": "W1",
            "quantity": number + 1, **more}


def text(command):
    return json.dumps(command).encode()


def poison(case):
    """Eight letters, and good commands between them."""
    for number in range(20, 30):
        case.put(f"SKU-{number}".encode(), text(receive(number)))
    case.put(b"SKU-0", text(receive(0))[:-1], [("trace", b"1"), ("nothing", None), ("tally-dlq", b"dropped 0@0")])
    case.put(b"SKU-1", text(receive(1)).replace(b": 2}", b": 2.5}"))
    case.put(b"SKU-2", None)
    case.put(b"wrong", text(receive(3)))
    case.put(None, text(receive(4)), partition=1)
    case.put(b"SKU-5", msgpack_encode(receive(5))[:-1] + b"\xca\0\0\0\0")
    case.put(b"SKU-6", b"\x00\xff hello")
    case.put(b"SKU-7", text(receive(7, version="9.0")))
    case.settle()


def lists(case):
    letters = case.letters()
    check(sorted(letter["reason"] for letter in letters) == sorted([
        "MALFORMED_JSON", "BAD_NUMBER", "EMPTY_VALUE", "KEY_MISMATCH", "KEY_MISMATCH", "BAD_NUMBER",
        "UNSUPPORTED_FORMAT", "UNSUPPORTED_VERSION"]), "every letter is listed with its reason", letters)
    version = next(letter for letter in letters if letter["reason"] == "UNSUPPORTED_VERSION")
    check((version["command_id"], version["type"], version["key"]) == ("c-7", "ReceiveStock", "SKU-7"),
          "what can be read is told", version)
    check(version["origin"]["topic"] == case.name + ".stock.commands" and version["origin"]["offset"] >= 0,
          "the origin is told", version)
    check(len(case.letters("--reason", "KEY_MISMATCH")) == 2, "filter by reason")
    check([x["key"] for x in case.letters("--key", "SKU-2")] == ["SKU-2"], "filter by key")
    check(len(case.letters("--limit", "3")) == 3, "a limit")
    check(len(case.letters("--since", "1h")) == 8, "filter by age")
    check(not case.letters("--since", "2999-01-01T00:00:00Z"), "nothing is younger than the future")
    check(len(case.letters("--topic", "stock")) == 8 and len(case.letters("-t", "stock.commands-dlt")) == 8,
          "filter by topic")
    plain = case.dlq("list")
    check(len(plain.text.splitlines()) == 8 and "8 open" in plain.said, "a line a letter", plain.text, plain.said)
    for arguments in (["--topic", "nothing"], ["--since", "soon"], ["--limit", "0"]):
        case.dlq("list", *arguments, status=2)
    case.dlq("empty", status=2)
    case.dlq("retry", status=2)
    return {letter["key"]: letter for letter in letters}


def shows(case, letters):
    told = case.dlq("show", case.address(letters["SKU-0"])).text
    check("MALFORMED_JSON" in told and "header trace: 1" in told and '"command_id": "c-0"' in told
          and "__streams" not in told, "show tells all", told)
    raw = case.dlq("show", case.address(letters["SKU-6"]), "--raw").stdout
    check(raw == b"\x00\xff hello", "the bytes alone", raw)
    check("00 ff 20 68" in case.dlq("show", case.address(letters["SKU-6"])).text, "bytes as hex")
    check("value: null" in case.dlq("show", case.address(letters["SKU-2"])).text, "a tombstone")
    case.dlq("show", f"{case.name}.stock.commands-dlt/0@999999", status=1)
    case.dlq("show", "stock/0", status=2)


def retries(case, letters):
    """What is still poison is not sent; what was repaired counts once, however often it is sent."""
    still = case.dlq("retry", case.address(letters["SKU-0"]), status=1)
    check("not sent" in still.said and "malformed" in still.said, "poison is not sent again", still.said)
    repaired = os.path.join(case.folder, "value")
    with open(repaired, "wb") as file:
        file.write(text(receive(0)))
    wrong = case.dlq("retry", case.address(letters["SKU-7"]), "--value-file", repaired, status=1)
    check("another id" in wrong.said, "a retry keeps the id", wrong.said)
    one = case.dlq("retry", case.address(letters["SKU-0"]), "--value-file", repaired)
    check("1 retried" in one.said, "a repaired one is sent", one.said)
    again = case.dlq("retry", case.address(letters["SKU-0"]), "--value-file", repaired)
    check("already retried" in again.said and "0 retried" in again.said, "and only once", again.said)
    case.dlq("retry", case.address(letters["SKU-0"]), "--value-file", repaired, "--again")
    case.settle()
    copies = [record for record in case.records if record.key() == b"SKU-0"]
    check(len(copies) == 3 and all(copy.headers() == copies[0].headers() for copy in copies)
          and {copy.partition() for copy in copies} == {partition_of(b"SKU-0", PARTITIONS)},
          "key, headers and partition are those of the record", [c.headers() for c in copies])
    check([event["type"] for event in case.seen["c-0"]] == ["StockReceived"], "it counts once", case.seen.get("c-0"))
    refused = case.dlq("retry", case.address(letters["wrong"]), status=1)
    check("--rekey" in refused.said, "a wrong key is named", refused.said)
    case.dlq("retry", case.address(letters["wrong"]), case.address(letters[None]), "--rekey")
    case.settle()
    for number in (3, 4):
        check([event["type"] for event in case.seen.get(f"c-{number}", [])] == ["StockReceived"],
              "the right key makes it a command", number, case.seen.get(f"c-{number}"))
    forced = case.dlq("retry", case.address(letters["SKU-6"]), "--force")
    check("1 retried" in forced.said, "force sends it", forced.said)
    case.settle()
    check(len(case.letters("--key", "SKU-6")) == 1, "and it comes back as a new letter")


def forced(case, letters):
    """Not even force sends a command of another id; without a key, the partition is the record's."""
    other = os.path.join(case.folder, "other")
    with open(other, "wb") as file:
        file.write(text(receive(999, sku="SKU-7")))
    wrong = case.dlq("retry", case.address(letters["SKU-7"]), "--value-file", other, "--force", status=1)
    check("another id" in wrong.said, "force keeps the id too", wrong.said)
    case.put(None, b"\x00\xff no key", partition=2)
    case.settle()
    letter = case.letters("--reason", "UNSUPPORTED_FORMAT")[-1]
    check(letter["key"] is None and letter["partition"] == 2, "a letter without key", letter)
    for _ in range(6):
        case.dlq("retry", case.address(letter), "--force", "--again")
    case.settle()
    places = [record.partition() for record in case.records if record.value() == b"\x00\xff no key"]
    check(places == [2] * 7, "it goes where it came from", places)
    old = case.dlq("retry", case.address(letter), "--force", "--again", "--dedup.retention", "1s")
    check("1 of them are older than dedup.retention" in old.said, "a letter that is too old is told", old.said)
    case.settle()


def failed_delivery(case):
    """One that the broker refuses does not keep the others from being noted."""
    keys = {partition_of(f"fail-{i}".encode(), PARTITIONS): f"fail-{i}".encode() for i in range(50)}
    values = {p: b"\x00\xff" + (os.urandom(4000) if p == 0 else b"%d" % p) for p in keys}
    for partition, key in keys.items():
        case.put(key, values[partition])
    case.settle()
    letters = {letter["key"]: letter for letter in case.letters("--reason", "UNSUPPORTED_FORMAT")}
    addresses = [case.address(letters[keys[p].decode()]) for p in sorted(keys)]
    admin = AdminClient({"bootstrap.servers": KAFKA})

    def limit(size):
        entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.TOPIC, case.name + ".stock.commands",
                                  incremental_configs=[entry])
        admin.incremental_alter_configs([resource])[resource].result(30)

    limit(2000)
    part = case.dlq("retry", *addresses, "--force", status=3)
    limit(1048576)
    check("2 retried, 0 not sent, 1 failed" in part.said, "the others are done", part.said)
    state = {letter["key"]: letter["state"] for letter in case.letters("--handled")
             if case.address(letter) in addresses}
    check(state == {keys[p].decode(): "open" if p == 0 else "retried" for p in keys}, "and noted", state)
    case.settle()


def killed(case):
    """SIGKILL at moments over the whole of a retry of many: in the end each has counted once."""
    numbers = range(100, 400)
    for number in numbers:
        case.put(f"other-{number}".encode(), text(receive(number)))
    case.settle()
    command = [case.instance.program, "dlq", "retry", "--all", "--reason", "KEY_MISMATCH", "--rekey", "--yes",
               "--config", case.instance.config]
    for delay in (0.02, 0.05, 0.08, 0.12, 0.2):
        process = subprocess.Popen(command, env=case.instance.environment, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    plan = case.dlq("retry", "--all", "--reason", "KEY_MISMATCH", "--rekey")
    check("nothing was done" in plan.said, "many at once need a yes", plan.said)
    subprocess.run(command, env=case.instance.environment, capture_output=True, timeout=60, check=False)
    case.settle()
    check(not case.letters("--reason", "KEY_MISMATCH"), "all are dealt with")
    wrong = {n: case.seen.get(f"c-{n}") for n in numbers if len(case.seen.get(f"c-{n}", [])) != 1}
    check(not wrong, "each has counted once", dict(list(wrong.items())[:3]))


def drops(case):
    left = case.letters()
    case.dlq("drop", case.address(left[0]))
    check(len(case.letters()) == len(left) - 1, "a dropped one is gone")
    again = case.dlq("drop", case.address(left[0]))
    check("already dropped" in again.said, "and stays so", again.said)
    case.dlq("drop", "--all", "--yes")
    check(not case.letters(), "all can be dropped")
    handled = case.letters("--handled")
    check({letter["state"] for letter in handled} == {"retried", "dropped"}, "but are not forgotten", handled[:2])


def limits(folder):
    """A topic that takes more than usual: its dead-letter topic is made to take 64 KiB more, run
    refuses one that does not, and the largest poison record gets there whole."""
    name, large = "dlq-" + uuid.uuid4().hex[:8], 2097152
    admin = AdminClient({"bootstrap.servers": KAFKA})
    topic, dead = name + ".stock.commands", name + ".stock.commands-dlt"
    settings = {"max.message.bytes": str(large), "message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete"}
    for done in admin.create_topics([NewTopic(topic, 1, 1, config=settings)]).values():
        done.result(30)
    instance = Instance(os.environ["TEST_TALLY"], os.path.join(folder, "limits"), KAFKA, name)
    instance.tool("topics", "create", "--topics.partitions", "1")

    def limit(new=None):
        resource = ConfigResource(ConfigResource.Type.TOPIC, dead)
        if new:
            entry = ConfigEntry("max.message.bytes", str(new), incremental_operation=AlterConfigOpType.SET)
            resource = ConfigResource(ConfigResource.Type.TOPIC, dead, incremental_configs=[entry])
            admin.incremental_alter_configs([resource])[resource].result(30)
        return int(admin.describe_configs([resource])[resource].result(30)["max.message.bytes"].value)

    check(limit() == large + 65536, "create follows the input's limit", limit())
    limit(large)
    for verb in (["topics", "check"], ["run"]):
        status, said = instance.tool(*verb, fails=True)
        check(status == 1 and f"expected at least {large + 65536}" in said, "a dead-letter topic that is too small",
              verb, said[-300:])
    limit(large + 65536)
    producer = Producer({"bootstrap.servers": KAFKA, "message.max.bytes": 2 * large})
    value = b"{" + b" " * (large - 200)
    producer.produce(topic, value, b"key", headers=[("trace", b"1")])
    producer.flush(60)
    instance.start()
    try:
        instance.wait("settled", lambda tasks: all_running(tasks, 1) and position(tasks[0]) >= 0)
    finally:
        instance.stop()
    letters = [record for records in Reader(KAFKA, dead, 1).read().values() for record in records]
    check(len(letters) == 1 and letters[0].value() == value and letters[0].headers()[0] == ("trace", b"1")
          and "tally.cut" not in dict(letters[0].headers()), "the largest record is whole", len(letters))


def main():
    with tempfile.TemporaryDirectory() as folder:
        case = Case(folder)
        case.instance.start()
        try:
            case.instance.wait("running", lambda tasks: all_running(tasks, PARTITIONS))
            poison(case)
            letters = lists(case)
            shows(case, letters)
            retries(case, letters)
            forced(case, letters)
            failed_delivery(case)
            killed(case)
            drops(case)
        finally:
            case.instance.stop()
        limits(folder)
    failed = results.count(False)
    print(f"{100 * results.count(True) // len(results)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
