#!/usr/bin/env python3
"""Projections on a real broker: what they keep is what the events add up to, through kills, through
a compaction of their changelogs and a restore from nothing; and the ways out of their halts.
TEST_KAFKA: host:port; TEST_TALLY: the program."""
import collections
import json
import os
import pathlib
import random
import shutil
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

import members  # noqa: E402
import topic_admin  # noqa: E402
from instance import Instance  # noqa: E402

KAFKA = os.environ["TEST_KAFKA"]
PARTITIONS = 2
TOPOLOGIES = ["stock", "low_stock", "movements"]
SETTINGS = {"topologies": TOPOLOGIES, "engine.threads": 1, "events.format": "json", "state.flush.interval": "50ms"}
HOUR, DAY = 3600000, 86400000
LIMIT = 90
topic_admin.KINDS.update({"low": "tally-low_stock-low_stock-changelog",
                          "moved": "tally-movements-movement-changelog"})
topic_admin.CONFIGS["low"] = {"cleanup.policy": "compact", "delete.retention.ms": "86400000"}
results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_changelogs: {name}: {' '.join(map(str, facts))}", flush=True)


def send(tally, commands):
    subprocess.run([tally.program, "send", "--config", tally.config, "-"], env=tally.environment, text=True,
                   input="".join(json.dumps(command) + "\n" for command in commands), capture_output=True,
                   timeout=60, check=True)


def commands_of(seed, first, count):
    """A level of each SKU and warehouse goes up and down through zero and its threshold."""
    draw = random.Random(seed)
    for i in range(first, first + count):
        at = {"command_id": f"c-{i}", "sku": f"SKU-{draw.randrange(8)}", "warehouse": f"W{draw.randrange(2)}"}
        kind = draw.randrange(10)
        if kind < 1:
            yield {"type": "ConfigureStock", "low_stock_threshold": draw.choice([None, 0, 3, 8]), **at}
        elif kind < 5:
            yield {"type": "ReceiveStock", "quantity": draw.randrange(1, 9), **at}
        else:
            yield {"type": "ShipStock", "quantity": draw.randrange(1, 9), "shipment_id": f"s-{i}", "force": True, **at}


def read_events(tally):
    done = subprocess.run(["kcat", "-C", "-b", KAFKA, "-t", f"{tally.settings['topics.prefix']}stock.events", "-e",
                           "-q", "-o", "beginning", "-X", "isolation.level=read_committed", "-f", "%s\\n"],
                          capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def milliseconds(text):
    whole, part = text.rstrip("Z").split(".")
    return int(time.mktime(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) - time.timezone) * 1000 + int(part)


def model(events):
    """store -> key -> what its row says, from the events alone."""
    levels, thresholds, moved = {}, {}, collections.defaultdict(lambda: [0, 0])
    for event in events:
        body = event["payload"]
        if "seq" not in body:
            continue
        level = body["sku"], body["warehouse"]
        levels[level] = body["after"]["available"]
        if "setting" in body:
            thresholds[level] = body["setting"].get("low_stock_threshold")
        units = max([abs(n) for name, n in body["deltas"].items() if name != "safety_stock"], default=0)
        for number, size in enumerate([HOUR, DAY]):
            start = milliseconds(event["time"]) // size * size
            row = moved[f"{number}.{start}.{level[1]}.{body['kind']}"]
            row[0] += 1
            row[1] += units
    low = {}
    for (sku, warehouse), available in levels.items():
        threshold = thresholds.get((sku, warehouse))
        severity = (0 if available < 0 else 1 if available == 0 else None if threshold is None else
                    2 if available <= threshold else 3)
        if severity is not None:
            low[f"{severity}.{sku}.{warehouse}"] = [available, threshold]
    return {"low_stock": low, "movement": dict(moved)}


def rows_of(lines):
    """The same from a dump; a row of each partition may have a key of movements."""
    low, moved = {}, collections.defaultdict(lambda: [0, 0])
    for row in map(json.loads, lines):
        value = row["value"]
        if row["store"] == "low_stock":
            low[row["key"]] = [value["available"], value["threshold"]]
        elif row["store"] == "movement":
            moved[row["key"]][0] += value["count"]
            moved[row["key"]][1] += value["quantity"]
    return {"low_stock": low, "movement": dict(moved)}


def all_tasks(tally):
    answer = tally.get("/v1/ops/tasks")
    return json.loads(answer[1])["items"] if answer and answer[0] == 200 else []


def wait(tally, what, holds):
    end = time.monotonic() + LIMIT
    while not holds():
        tally.alive()
        if time.monotonic() > end:
            raise TimeoutError(f"not {what}: {all_tasks(tally)}\n{tally.log_tail()}")
        time.sleep(0.05)


def settled(tally, admin):
    """All tasks run and have consumed what there is."""
    def holds():
        tasks = all_tasks(tally)
        return len(tasks) == PARTITIONS * len(TOPOLOGIES) and all(
            task["state"] == "RUNNING" and task["lag"] == 0 and task["as_of"] for task in tasks) and [
                task["position"] for task in tasks if task["topology"] == "low_stock"] == [
                    task["position"] for task in tasks if task["topology"] == "movements"]

    end = time.monotonic() + LIMIT
    while True: # the events of the last commit may have come after their reader was asked
        wait(tally, "settled", holds)
        before = [admin.range("commands", p)[1] + admin.range("events", p)[1] for p in range(PARTITIONS)]
        time.sleep(0.5)
        if holds() and before == [admin.range("commands", p)[1] + admin.range("events", p)[1]
                                  for p in range(PARTITIONS)]:
            return
        if time.monotonic() > end:
            raise TimeoutError(tally.log_tail())


def dump(tally):
    return rows_of(line for topology in ("low_stock", "movements") for line in
                   tally.tool("fsck", "--dump", "--topology", topology).splitlines())


def leave(tally, group):
    for name, ids in ((group, 1), (f"{group}-low_stock", 1), (f"{group}-movements", 1)):
        members.forget(KAFKA, name, [f"{name}-a-{i}" for i in range(ids)])


def through_kills(tally, admin):
    for i in range(4):
        send(tally, commands_of(i, 1000 * i, 300))
        time.sleep(0.2 * i)
        tally.kill()
        tally.start()
    settled(tally, admin)
    expected = model(read_events(tally))
    check(expected["low_stock"] and expected["movement"], "there is something to project", expected)
    check(dump(tally) == expected, "rows are what the events add up to", dump(tally), expected)
    check(tally.tool("get", "movement", sorted(expected["movement"])[0]).split()[0] == "count", "a row can be read")
    return expected


def keys_of(admin, kind):
    records = [record for partition in admin.read(kind).values() for record in partition]
    return len(records), len({(partition, key) for partition, key, _ in records})


def through_compaction(tally, admin, expected):
    """Segments roll and are compacted; a restore from nothing reads what is left."""
    before, keys = keys_of(admin, "low")
    for name, value in (("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.01"),
                        ("max.compaction.lag.ms", "100")):
        admin.configure("low", name, value)
    end = time.monotonic() + LIMIT
    i = 9000
    while keys_of(admin, "low")[0] >= before and time.monotonic() < end:
        send(tally, commands_of(i, i, 20))  # a segment rolls when something is written
        i += 20
        time.sleep(1)
    settled(tally, admin)
    after, keys = keys_of(admin, "low")
    check(after < before, "the changelog is compacted", before, after, keys)
    expected = model(read_events(tally))
    check(dump(tally) == expected, "rows after it", dump(tally), expected)
    tally.kill()
    shutil.rmtree(tally.state)
    tally.start()
    settled(tally, admin)
    check(dump(tally) == expected, "rows restored from what is left", dump(tally), expected)
    return expected


def plan(tally, *arguments):
    return tally.tool("reset", "--topology", "low_stock", *arguments)


def out_of_halts(tally, admin, group, expected):
    tally.stop()
    leave(tally, group)
    check(plan(tally).count("nothing to do") == PARTITIONS, "what would run is left alone", plan(tally))
    admin.delete("low")
    admin.create("low")
    tally.start()
    wait(tally, "halted", lambda: [task["state"] for task in all_tasks(tally)].count("HALTED") == PARTITIONS)
    check([task["topology"] for task in all_tasks(tally) if task["state"] == "HALTED"] == ["low_stock"] * PARTITIONS,
          "the others run", all_tasks(tally))
    tally.stop()
    leave(tally, group)
    said = plan(tally, "--execute")
    check(said.count("CHANGELOG_EMPTY") == PARTITIONS and said.count("remove the group's offset") == PARTITIONS,
          "the plan of an empty changelog", said)
    tally.start()
    settled(tally, admin)
    check(dump(tally) == expected, "it is built anew from the events", dump(tally), expected)


def main():
    group = "proj-" + uuid.uuid4().hex[:8]
    with tempfile.TemporaryDirectory() as folder:
        tally = Instance(os.environ["TEST_TALLY"], folder, KAFKA, group, SETTINGS)
        admin = topic_admin.TopicAdmin(types.SimpleNamespace(kafka=KAFKA, prefix=f"{group}.", partitions=PARTITIONS,
                                                             group=group))
        tally.tool("topics", "create", "--topics.partitions", str(PARTITIONS))
        try:
            tally.start()
            expected = through_kills(tally, admin)
            expected = through_compaction(tally, admin, expected)
            out_of_halts(tally, admin, group, expected)
            tally.stop()
        finally:
            tally.end()
            admin.close()
    print(f"test_changelogs: {sum(results)} of {len(results)} hold")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
