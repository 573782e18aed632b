#!/usr/bin/env python3
"""Durable timers on a real broker: reservations expire by themselves, each once, also those whose time
comes while nobody runs or that were made by a process that is gone. TEST_KAFKA: host:port;
TEST_TALLY: the program."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "crash"))

from instance import Instance  # noqa: E402

KAFKA = os.environ["TEST_KAFKA"]
PARTITIONS = 2
SETTINGS = {"topologies": ["stock", "reservation"], "engine.threads": 1, "events.format": "json"}
LIMIT = 60
results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_durable_timers: {name}: {' '.join(map(str, facts))}", flush=True)


def send(tally, *commands):
    subprocess.run([tally.program, "send", "--config", tally.config, "-"], env=tally.environment, text=True,
                   input="".join(json.dumps(command) + "\n" for command in commands), capture_output=True,
                   timeout=60, check=True)


def reserve(tally, name, count, seconds):
    send(tally, *({"type": "ReserveStock", "command_id": f"c-{name}{i}", "reservation_id": f"{name}{i}",
                   "ttl_s": seconds, "lines": [{"sku": "SKU-1", "quantity": 1}]} for i in range(count)))


def read(tally, topic):
    done = subprocess.run(["kcat", "-C", "-b", KAFKA, "-t", f"{tally.settings['topics.prefix']}{topic}", "-e",
                           "-q", "-o", "beginning", "-X", "isolation.level=read_committed", "-f", "%s\\n"],
                          capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def of_type(tally, name):
    return [event["payload"]["reservation_id"] for event in read(tally, "reservation.events")
            if event["type"] == name]


def wait(tally, name, event, ids):
    """Each of the ids has one such event, and no other has."""
    end = time.monotonic() + LIMIT
    while len(found := of_type(tally, event)) < len(ids) and time.monotonic() < end:
        time.sleep(0.2)
    check(sorted(found) == sorted(ids), name, len(found), "of", len(ids), tally.log_tail())


def running(tally):
    # partitions of both topologies have the same numbers
    tally.wait("running", lambda tasks: len(tasks) == PARTITIONS and all(
        row["state"] == "RUNNING" for row in tasks.values()), LIMIT)


def main():
    with tempfile.TemporaryDirectory() as folder:
        tally = Instance(os.environ["TEST_TALLY"], folder, KAFKA, "timers-" + uuid.uuid4().hex[:8], SETTINGS)
        tally.tool("topics", "create", "--topics.partitions", str(PARTITIONS))
        try:
            tally.start()
            running(tally)
            send(tally, {"type": "ReceiveStock", "command_id": "r-1", "sku": "SKU-1", "warehouse": "W1",
                         "quantity": 1000})
            reserve(tally, "A", 20, 1)
            ids = [f"A{i}" for i in range(20)]
            wait(tally, "reservations expire", "ReservationExpired", ids)
            reserve(tally, "B", 20, 5)
            ids += [f"B{i}" for i in range(20)]
            wait(tally, "all are confirmed", "ReservationConfirmed", ids)
            tally.kill()
            time.sleep(6)
            tally.start()
            wait(tally, "those whose time came meanwhile expire too", "ReservationExpired", ids)
            check(tally.metric("tally_timers_fired_total") >= 20, "they are counted",
                  tally.metric("tally_timers_fired_total"))
            check(tally.metric("tally_timer_lateness_seconds_count") >= 20, "with their lateness")
            # of a command that is due twice only the first has an event
            causes = [event["causation_id"] for event in read(tally, "reservation.events")]
            check(len(causes) == len(set(causes)), "one event for each command", len(causes), len(set(causes)))
            tally.stop()
        finally:
            tally.end()
    print(f"test_durable_timers: {sum(results)} of {len(results)} hold")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
