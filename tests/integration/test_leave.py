#!/usr/bin/env python3
"""Scale-in: an instance that leaves hands its partitions over at once, one that just ends has them waiting for it; neither loses
or doubles a command. TEST_KAFKA: host:port; TEST_TALLY: the program."""
import contextlib
import json
import os
import pathlib
import signal
import sys
import tempfile
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "crash"))

from instance import Instance  # noqa: E402

KAFKA = os.environ["TEST_KAFKA"]
PARTITIONS = 4
TOPOLOGIES = ["stock", "low_stock"]  # the second is a group of its own
SESSION = "120s"  # who has to wait for a session runs into LIMIT
LIMIT = 60
results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_leave: {name}: {' '.join(map(str, facts))}", flush=True)


def instance(folder, name, identity):
    return Instance(os.environ["TEST_TALLY"], os.path.join(folder, identity), KAFKA, name,
                    {"engine.session.timeout": SESSION, "engine.max.poll.interval": "180s", "engine.threads": 1,
                     "topologies": TOPOLOGIES}, instance_id=identity)


def running(tally, topology):
    answer = tally.get("/v1/ops/tasks")
    items = json.loads(answer[1])["items"] if answer and answer[0] == 200 else []
    return {row["partition"] for row in items if row["topology"] == topology and row["state"] == "RUNNING"}


def has(tally, count):
    return all(len(running(tally, topology)) == count for topology in TOPOLOGIES)


def receive(tally, number):
    command = json.dumps({"sku": f"S-{number % 7}", "warehouse": "W", "quantity": 1}).encode()
    answer = tally.request("/v1/commands/ReceiveStock", command,
                           {"Idempotency-Key": f"c-{number}", "Prefer": "wait=10", "Content-Type": "application/json"})
    check(answer and answer[0] == 200, f"command {number}", answer)


def on_hand(tally):
    total = 0
    for number in range(7):
        answer = tally.get(f"/v1/stock/S-{number}")
        total += json.loads(answer[1])["totals"]["on_hand"] if answer and answer[0] == 200 else 0
    return total


def together(first, second):
    second.wait("sharing", lambda _: has(first, PARTITIONS // 2) and has(second, PARTITIONS // 2), LIMIT)


def leaves(tally, number, stays):
    """Ended by that signal; the other one has everything long before a session ends."""
    tally.process.send_signal(number)
    check(tally.process.wait(LIMIT) == 0, f"{number.name} ends it with 0", tally.log_tail())
    check(tally.logged("stopping, leaving the groups") > 0, "it says that it leaves", tally.log_tail())
    stays.wait("owner of all", lambda _: has(stays, PARTITIONS), LIMIT)


def main():
    name = f"leave-{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        first, second = instance(folder, name, "a"), instance(folder, name, "b")
        for tally in (first, second):
            stack.callback(tally.end)
        first.tool("topics", "create", "--topics.partitions", str(PARTITIONS))
        first.start()
        first.wait("running", lambda _: has(first, PARTITIONS), LIMIT)
        for number in range(10):
            receive(first, number)
        second.start()
        together(first, second)
        leaves(second, signal.SIGUSR1, first)
        for number in range(20):
            receive(first, number)
        second.command += ["--leave"]
        second.start()
        together(first, second)
        leaves(second, signal.SIGTERM, first)
        for number in range(30):
            receive(first, number)
        check(on_hand(first) == 30, "every command has counted once", on_hand(first))
        first.stop()
        check(first.logged("leaving the groups") == 0, "who just ends does not leave")
        first.start()  # at once: nobody else is waited for
        first.wait("running again", lambda _: has(first, PARTITIONS), LIMIT)
        first.stop()
    failed = results.count(False)
    print(f"{100 * (len(results) - failed) // len(results)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    sys.exit(1 if failed else 0)


main()
