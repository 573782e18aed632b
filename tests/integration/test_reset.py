#!/usr/bin/env python3
"""`tally reset` on a real broker: it refuses a live group and a locked directory, a plan changes
nothing, --execute does what the plan says, a loss is accepted in words, and the instance runs again.
TEST_KAFKA: host:port; TEST_TALLY: the program. What can go wrong with topics: ./dev crash --faults
topics."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import types
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "crash"))

import packages  # noqa: E402

packages.use()

from instance import Instance, all_running  # noqa: E402
from topic_admin import TopicAdmin  # noqa: E402

PARTITIONS = 2
KAFKA = os.environ["TEST_KAFKA"]
results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_reset: {name}: {' '.join(map(str, facts))}", flush=True)


class Reset:
    def __init__(self, instance, admin):
        self.instance, self.admin = instance, admin

    def __call__(self, *arguments, status=0):
        done = subprocess.run([self.instance.program, "reset", *arguments, "--config", self.instance.config],
                              env=self.instance.environment, capture_output=True, text=True, timeout=120, check=False)
        check(done.returncode == status, f"status of tally reset {' '.join(arguments)}", done.returncode, done.stdout,
              done.stderr)
        return done

    def plans(self, *arguments):
        return {row["partition"]: row for row in map(json.loads, self("--json", *arguments).stdout.splitlines())}


def send(instance, first, count=60):
    lines = [json.dumps({"type": "ReceiveStock", "command_id": f"c-{i}", "sku": f"SKU-{i % 9}", "warehouse": "W1",
                         "quantity": 1}) for i in range(first, first + count)]
    done = subprocess.run([instance.program, "send", "--config", instance.config], input="\n".join(lines) + "\n",
                          env=instance.environment, capture_output=True, text=True, timeout=60, check=False)
    check(done.returncode == 0, "commands are sent", done.stderr)


def run_until_read(instance, admin):
    instance.start()
    instance.wait("settled", lambda tasks: all_running(tasks, PARTITIONS) and all(
        row["lag"] == 0 and (row["position"] or "@-1").endswith(f"@{admin.range('commands', p)[1] - 1}")
        for p, row in tasks.items()))


def live(reset, admin):
    refused = reset(status=1)
    check(f"process {reset.instance.process.pid}" in refused.stderr, "the holder of the directory is named",
          refused.stderr)
    reset.instance.stop()
    refused = reset("--execute", "--wait", "0", status=1)
    check("member " in refused.stderr and f"{admin.world.group}-a-0" in refused.stderr, "members are named",
          refused.stderr)
    admin.leave(reset.instance)
    quiet = reset("--execute")
    check(quiet.stdout.count("would run") == PARTITIONS and quiet.stdout.count("nothing to do") == PARTITIONS,
          "what would run is left alone", quiet.stdout)


def rewound(reset, admin):
    proved = admin.offsets()
    admin.set_offsets(lambda partition, now: 1)
    plan = reset()
    check(plan.stdout.count("OFFSETS_BEHIND") == PARTITIONS, "the halt of a start is named", plan.stdout)
    check(f"set the group's offset from 1 to {proved[0]}" in plan.stdout, "the plan is told", plan.stdout)
    check("--execute" in plan.stderr and admin.offsets() == {0: 1, 1: 1}, "a plan changes nothing", plan.stderr)
    rows = reset.plans("--partition", "1")
    check(list(rows) == [1] and rows[1]["plan"]["set_offset"] == proved[1] and rows[1]["plan"]["loses"] is None,
          "the plan as JSON", rows)
    reset("--partition", "1", "--execute")
    check(admin.offsets() == {0: 1, 1: proved[1]}, "one task alone", admin.offsets())
    reset("--topology", "stock", "--execute")
    check(admin.offsets() == proved, "the other one", admin.offsets())
    missing = reset("--topology", "sock", status=1)
    check("there is no task sock" in missing.stderr, "a task that is none", missing.stderr)


def recreated(reset, admin):
    kept = admin.offsets()
    admin.recreate("commands")
    send(reset.instance, 1000, 10)
    begin = {p: admin.range("commands", p) for p in range(PARTITIONS)}
    refused = reset("--execute", status=1)
    check("LOST: " in refused.stdout and "--accept-loss" in refused.stderr, "a loss is not taken silently",
          refused.stdout, refused.stderr)
    check({p: admin.range("commands", p) for p in range(PARTITIONS)} == begin, "nothing was written", begin)
    reset("--execute", "--accept-loss")
    check(admin.offsets() == kept, "input goes on where the events end", admin.offsets(), kept)
    run_until_read(reset.instance, admin)
    rows = [json.loads(line) for line in reset.instance.tool("fsck", "--dump").splitlines()]
    known = {row["key"].split(".")[0] for row in rows if row["store"] == "dedup"}
    check({f"c-{i}" for i in range(1000, 1010)} <= known, "commands of the new topic are decided", sorted(known)[:5])
    check(len([name for name in known if name.startswith("c-")]) == 70, "those of the old one are kept", len(known))


def main():
    name = "reset-" + uuid.uuid4().hex[:8]
    with tempfile.TemporaryDirectory() as folder:
        instance = Instance(os.environ["TEST_TALLY"], folder, KAFKA, name, {"engine.threads": 1})
        admin = TopicAdmin(types.SimpleNamespace(kafka=KAFKA, prefix=name + ".", group=name, partitions=PARTITIONS))
        reset = Reset(instance, admin)
        instance.tool("topics", "create", "--topics.partitions", str(PARTITIONS))
        send(instance, 0)
        run_until_read(instance, admin)
        try:
            live(reset, admin)
            rewound(reset, admin)
            recreated(reset, admin)
        finally:
            instance.end()
            admin.close()
    failed = results.count(False)
    print(f"{100 * results.count(True) // len(results)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
