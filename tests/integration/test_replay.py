#!/usr/bin/env python3
"""`tally replay` and `tally diff` on a real broker: to the end it is the live state, to an offset or a time the
fold up to there, as a model apart has it from the events; nothing is written to topics and groups; what was
interrupted or killed goes on; wrong values, foreign records and truncated topics are refused by name.
TEST_KAFKA: host:port; TEST_TALLY: the program."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import types
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "crash"))

import packages  # noqa: E402

packages.use()

from confluent_kafka import Consumer, TopicPartition  # noqa: E402
from instance import Instance  # noqa: E402
from topic_admin import TopicAdmin  # noqa: E402

KAFKA = os.environ["TEST_KAFKA"]
PARTITIONS = 2
TOPOLOGIES = ["stock", "low_stock"]
LIMIT = 90
results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_replay: {name}: {' '.join(map(str, facts))}", flush=True)


class Tool:
    """tally VERB with the instance's settings; its state directory is the instance's too."""

    def __init__(self, tally, folder):
        self.tally, self.folder = tally, folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def command(self, *arguments):
        return [self.tally.program, *arguments, "--config", self.tally.config]

    def __call__(self, *arguments, status=0, says=(), fail=None, stdin=None):
        environment = {**self.tally.environment, **({"TALLY_FAIL": fail} if fail else {})}
        done = subprocess.run(self.command(*arguments), env=environment, capture_output=True, text=True, timeout=LIMIT,
                              input=stdin, check=False)
        check(done.returncode == status, f"status of tally {' '.join(arguments)}", done.returncode, done.stdout[-400:],
              done.stderr[-800:])
        for text in says:
            check(text in done.stderr, f"tally {' '.join(arguments)} says {text!r}", done.stderr)
        return done

    def replay(self, into, *arguments, **more):
        """partition -> what is printed of stock, a plan or what became of it."""
        done = self("replay", "--into", self.path(into), "-o", "json", *arguments, **more)
        return {row["partition"]: row for row in map(json.loads, done.stdout.splitlines())
                if row["topology"] == "stock"}


class Broker:
    def __init__(self, admin, tally):
        self.admin, self.prefix = admin, tally.settings["topics.prefix"]
        self.reader = Consumer({"bootstrap.servers": KAFKA, "group.id": "test-replay", "log_level": 0,
                                "isolation.level": "read_committed", "enable.partition.eof": True})

    def written(self):
        """All that a tool could have written: ends of topics, groups and what they have committed."""
        topics = {name: topic for name, topic in self.admin.admin.list_topics(timeout=10).topics.items()
                  if name.startswith(self.prefix) or name == "__consumer_offsets"}
        ends = {name: [self.reader.get_watermark_offsets(TopicPartition(name, p), 10)[1] for p in topic.partitions]
                for name, topic in topics.items() if name.startswith(self.prefix)}
        groups = {group.group_id for group in self.admin.admin.list_consumer_groups().result(10).valid}
        return ends, {group for group in groups if group.startswith(self.prefix.rstrip("."))}, self.admin.offsets()

    def events(self, partition):
        """[(offset, time of the record, event)], as they are committed."""
        self.reader.assign([TopicPartition(self.prefix + "stock.events", partition, 0)])
        found = []
        while True:
            for message in self.reader.consume(1000, 0.2):
                if message.error():
                    return found
                found.append((message.offset(), message.timestamp()[1], json.loads(message.value())))


def model(events):
    """key -> level, version from the events alone."""
    levels = {}
    for _, _, event in events:
        body = event["payload"]
        if "after" in body:
            levels[f"{body['sku']}.{body['warehouse']}"] = body["after"]["on_hand"]
    return levels


def levels_of(path, partition):
    with open(path) as file:
        rows = [json.loads(line) for line in file]
    return {row["key"]: row["value"]["on_hand"] for row in rows
            if row["topology"] == "stock" and row["store"] == "level" and row["partition"] == partition}


def commands(first, count):
    for i in range(first, first + count):
        at = {"command_id": f"c-{i}", "sku": f"SKU-{i * 7 % 11}", "warehouse": f"W{i % 2}"}
        if i % 3:
            yield {"type": "ReceiveStock", "quantity": i % 5 + 1, **at}
        else:
            yield {"type": "ShipStock", "quantity": i % 4 + 1, "shipment_id": f"s-{i}", "force": True, **at}


def send(tally, first, count):
    subprocess.run([tally.program, "send", "--config", tally.config, "-"], env=tally.environment, text=True,
                   input="".join(json.dumps(command) + "\n" for command in commands(first, count)), check=True,
                   capture_output=True, timeout=60)


def tasks_of(tally):
    answer = tally.get("/v1/ops/tasks")
    return json.loads(answer[1])["items"] if answer and answer[0] == 200 else []


def settle(tally, admin):
    """Everything is consumed, by the projection too, and stands still."""
    end, before = time.monotonic() + LIMIT, None
    while time.monotonic() < end:
        tally.alive()
        tasks = tasks_of(tally)
        now = [(task["topology"], task["position"]) for task in tasks], [
            admin.range("events", p) for p in range(PARTITIONS)]
        if len(tasks) == PARTITIONS * len(TOPOLOGIES) and now == before and all(
                task["state"] == "RUNNING" and task["lag"] == 0 and task["as_of"] for task in tasks):
            return
        before = now
        time.sleep(0.5)
    raise TimeoutError(tally.log_tail())


def to_the_end(tool, broker, live):
    """The live state, with nothing written anywhere."""
    before = broker.written()
    plan = tool.replay("whole")
    check(not os.path.exists(tool.path("whole")), "a plan makes nothing")
    check(all(plan[p]["into"] == "new" and plan[p]["to"] == plan[p]["log_end"] - 1 for p in plan), "the plan", plan)
    whole = tool.replay("whole", "--execute", "--dump", tool.path("whole.ndjson"), says=["records/s"])
    check(len(whole) == PARTITIONS and all(row["rows"] > 0 for row in whole.values()), "every task is told", whole)
    check(broker.written() == before, "topics and groups are as they were", before, broker.written())
    tool("diff", tool.path("whole"), live)
    tool("diff", tool.path("whole.ndjson"), live)
    hashes = tool("replay", "--into", tool.path("whole"), "--hash", "-o", "json").stdout
    check({row["hash"] for row in map(json.loads, hashes.splitlines())} >= {row["hash"] for row in whole.values()},
          "the hashes are those of the directory", hashes, whole)
    tool("diff", "-", live, stdin=hashes)
    again = tool.replay("whole", "--execute")
    check(again == whole, "once more there is nothing to do", again, whole)


def to_an_offset(tool, broker, live):
    """The fold of the events up to there, and the number that a read as of then gives."""
    events = broker.events(0)
    middle = next(i for i in range(len(events) // 2, len(events)) if events[i + 1][2]["time"] > events[i][2]["time"])
    offset, _, event = events[middle]
    some = tool.replay("half", "-t", "stock", "-p", "0", "--to", str(offset), "--execute", "--dump",
                       tool.path("half.ndjson"))
    check(list(some) == [0] and some[0]["position"].endswith(f"/0@{offset}"), "it ends there", some, offset)
    check(levels_of(tool.path("half.ndjson"), 0) == model(events[:middle + 1]), "it is the fold up to there")
    differs = tool("diff", tool.path("half"), live, "-t", "stock", "-p", "0", "-o", "json", "-n", "100000",
                   status=1)
    lines = [json.loads(line) for line in differs.stdout.splitlines()]
    check(lines[-1]["only_b"] > 0 and lines[-1]["stores"].get("stock/level"), "the rest is missing", lines[-1])
    first = next(line for line in lines if line.get("store") == "level")
    check(first["a"] != first["b"] and "is at event" in differs.stderr, "a difference is shown", first, differs.stderr)
    for key, on_hand in sorted(model(events[:middle + 1]).items())[:5]:
        answer = tool.tally.get(f"/v1/stock/{key.replace('.', '/')}?as_of={event['time']}")
        check(answer[0] == 200 and json.loads(answer[1])["on_hand"] == on_hand, "as of then", key, on_hand, answer)
    when = events[-1][1]
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when // 1000)) + f".{when % 1000:03}Z"
    plan = tool.replay("by-time", "-p", "0", "--to", at, says=["projections are left out"])
    earlier, later = [o for o, t, _ in events if t < when], [o for o, t, _ in events if t >= when]
    check(earlier and plan[0]["to"] in range(earlier[-1], later[0]), "a time is an offset", plan, earlier[-1:], later[:1])
    goes_on = tool.replay("half", "-t", "stock", "-p", "0", "--from", str(offset + 1), "--execute")
    check(goes_on[0]["from"] is None, "it goes on", goes_on)
    tool("diff", tool.path("half"), live, "-t", "stock", "-p", "0")
    tool.replay("half", "-t", "stock", "-p", "0", "--to", str(offset), status=2, says=["nothing goes back"])


def a_part(tool, broker):
    """Of some events alone; no instance takes it for its state."""
    events = broker.events(1)
    first, last = events[len(events) // 3][0], events[2 * len(events) // 3][0]
    part = [event for event in events if first <= event[0] <= last]
    tool.replay("part", "-t", "stock", "-p", "1", "--from", str(first), "--to", str(last), "--execute", "--dump",
                tool.path("part.ndjson"))
    check(levels_of(tool.path("part.ndjson"), 1) == model(part), "the fold of these alone")
    tool.replay("part", "-t", "stock", "-p", "1", "--from", "start", status=2, says=["another directory"])
    as_state = tool("fsck", "--state", tool.path("part"), "--settled", status=1)
    check("FOREIGN_STATE" in as_state.stderr and "replayed from" in as_state.stderr, "it is nobody's state",
          as_state.stderr)


def through_ends(tool, live):
    """Killed, and interrupted: the same command goes on."""
    arguments = ["--engine.threads", "1", "-t", "stock", "--execute"]
    tool.replay("killed", *arguments, fail="restore.batch.each:150:kill", status=-signal.SIGKILL)
    done = tool.replay("killed", *arguments)
    check(len(done) == PARTITIONS, "after a kill", done)
    tool("diff", tool.path("killed"), live, "-t", "stock")
    process = subprocess.Popen(tool.command("replay", "--into", tool.path("stopped"), *arguments), text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**tool.tally.environment, "TALLY_FAIL": "restore.batch.each:40:stop"})
    end = time.monotonic() + LIMIT
    while pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "TZ":
        if time.monotonic() > end:
            raise TimeoutError("it does not stop at the failpoint")
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=LIMIT)
    check(process.returncode == 130 and "goes on where it is" in said, "interrupted", process.returncode, said)
    tool.replay("stopped", *arguments)
    tool("diff", tool.path("stopped"), live, "-t", "stock")


def wrong_values(tool, live, end):
    one = ["-t", "stock", "-p", "0"]
    for arguments, status, says in (
            (["--from", "yesterday"], 2, "for example --from 1200"),
            (["--to", "2026-13-01T00:00:00Z"], 2, "--to 2026-01-15T10:00:00Z"),
            (["--to", "2199-01-01T00:00:00Z"], 2, "is in the future"),
            (["--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z"], 2, "the earlier time to --from"),
            (["--to", "2001-01-01T00:00:00Z"], 2, "no log has a record from before that time"),
            (["--to", "5"], 2, "--topology stock --partition 2"),
            ([*one, "--from", "9", "--to", "4"], 2, "--from 9 is behind --to 4"),
            ([*one, "--to", str(end)], 2, f"for example --to {end - 1}"),
            ([*one, "--from", str(end + 1)], 2, "stock.events/0 has the offsets 0 to"),
            (["-p", "7"], 2, "for example -p 1"),
            (["-p", "x"], 2, "-p 0,3"),
            (["-t", "stick"], 2, "--topology stock"),
            (["-t", "low_stock", "-p", "0", "--to", "1"], 2, "leave --to out"),
            (["--dump", "x"], 2, "--dump needs --execute"),
            (["--hash", "--execute"], 2, "leave --execute out")):
        tool("replay", "--into", tool.path("none"), *arguments, status=status, says=[says])
    check(not os.path.exists(tool.path("none")), "nothing is made of what is refused")
    state = tool.tally.state
    tool("replay", "--into", state, "--execute", status=2, says=["belongs to the instance"])
    tool("replay", "--into", os.path.join(state, "below"), "--execute", status=2, says=["as in --into"])
    os.makedirs(tool.path("mine"))
    pathlib.Path(tool.path("mine"), "notes").write_text("mine")
    tool("replay", "--into", tool.path("mine"), "--execute", status=2, says=["is not empty"])
    tool("replay", "--execute", status=2, says=["--into ./shadow"])
    tool("diff", tool.path("whole.ndjson"), tool.path("nothing"), status=2, says=["B: NOT_FOUND"])
    tool("diff", tool.path("mine/notes"), live, status=2, says=["tally fsck --dump"])
    tool("diff", "ftp://x", live, status=2, says=["http://127.0.0.1:8080"])
    tool("diff", state, live, status=2, says=["STATE_LOCKED"])
    lines = pathlib.Path(tool.path("whole.ndjson")).read_text().splitlines(True)
    at = next(i for i in range(1, len(lines)) if '"level"' in lines[i] and '"level"' in lines[i - 1] and
              lines[i][:40] == lines[i - 1][:40])
    lines[at - 1], lines[at] = lines[at], lines[at - 1]
    pathlib.Path(tool.path("mixed.ndjson")).write_text("".join(lines))
    tool("diff", tool.path("mixed.ndjson"), tool.path("whole.ndjson"), status=2, says=["in the order of their keys"])


def strange_topics(tool, admin):
    """A foreign record stops the one task at it; what a topic has lost is named."""
    _, end = admin.range("events", 1)
    admin.write("events", [(1, b"k", b"\x00not an event")])
    foreign = tool("replay", "--into", tool.path("foreign"), "-t", "stock", "--execute", "-o", "json", status=3,
                   says=["stock/1: EVENT_UNKNOWN", f"stock.events/1@{end} is no record of stock/1"])
    check([json.loads(line)["partition"] for line in foreign.stdout.splitlines()] == [0], "the other is through",
          foreign.stdout)
    tool("replay", "--into", tool.path("foreign"), "-t", "stock", "-p", "1", "--to", str(end - 1), "--execute")
    admin.delete_records("events", lambda partition, low, high: 30 if partition == 0 else low)
    tool("replay", "--into", tool.path("cut"), "-t", "stock", "--execute", status=1,
         says=["stock.events/0 begins at 30", "--from 30 folds what is left"])
    tool("replay", "--into", tool.path("cut"), "-t", "stock", "-p", "0", "--from", "3", status=2,
         says=["for example --from 30"])
    rest = tool.replay("cut", "-t", "stock", "-p", "0", "--from", "30", "--execute")
    check(rest[0]["from"] == 30, "what is left is folded", rest)


def main():
    group = "replay-" + uuid.uuid4().hex[:8]
    with tempfile.TemporaryDirectory() as folder:
        tally = Instance(os.environ["TEST_TALLY"], os.path.join(folder, "tally"), KAFKA, group,
                         {"topologies": TOPOLOGIES, "engine.threads": 1, "events.format": "json"})
        admin = TopicAdmin(types.SimpleNamespace(kafka=KAFKA, prefix=f"{group}.", partitions=PARTITIONS, group=group))
        tool, broker, live = Tool(tally, folder), Broker(admin, tally), f"http://{tally.address}"
        tally.tool("topics", "create", "--topics.partitions", str(PARTITIONS))
        try:
            tally.start()
            for first in (0, 200, 400):
                send(tally, first, 200)
                time.sleep(0.3)  # some transactions, with their marks between the events
            settle(tally, admin)
            to_the_end(tool, broker, live)
            to_an_offset(tool, broker, live)
            a_part(tool, broker)
            through_ends(tool, live)
            wrong_values(tool, live, admin.range("events", 0)[1])
            strange_topics(tool, admin)
        finally:
            tally.end()
            admin.close()
            broker.reader.close()
    print(f"test_replay: {sum(results)} of {len(results)} hold")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
