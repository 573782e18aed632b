#!/usr/bin/env python3
"""`tally reset` on a real broker: it refuses a live group and a locked directory, a plan changes
nothing, --execute does what the plan says, a loss is accepted in words, and the instance runs again.
TEST_KAFKA: host:port; TEST_TALLY: the program. What can go wrong with topics: ./dev crash --faults
topics."""
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

from confluent_kafka import Consumer  # noqa: E402
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

    def halted_at(self, site, *arguments):
        """A reset that has stopped itself at the failpoint."""
        process = subprocess.Popen([self.instance.program, "reset", "--execute", *arguments, "--config",
                                    self.instance.config], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env={**self.instance.environment, "TALLY_FAIL": f"reset.{site}:1:stop"})
        wait_for(lambda: pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "TZ")
        return process

    def plans(self, *arguments):
        return {row["partition"]: row for row in map(json.loads, self("--json", *arguments).stdout.splitlines())}


def wait_for(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.02)


def finish(process, *signals):
    for number in (*signals, signal.SIGCONT):
        process.send_signal(number)
    output, said = process.communicate(timeout=90)
    return process.returncode, output, said


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
    refused = reset("--execute", "--wait", "0", status=1)
    check(f"process {reset.instance.process.pid}" in refused.stderr, "the directory is asked for before anything else",
          refused.stderr)
    reset.instance.stop()
    waiting = subprocess.Popen([reset.instance.program, "reset", "--execute", "--wait", "100", "--config",
                                reset.instance.config], env=reset.instance.environment, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    check("waiting for" in waiting.stderr.readline(), "it waits for members")
    waiting.send_signal(signal.SIGINT)
    waiting.communicate(timeout=60)
    check(waiting.returncode == 130, "an interrupted wait", waiting.returncode)
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


def member_comes(reset, admin):
    """Between the plan and the act: nothing is changed."""
    admin.delete_group()
    process = reset.halted_at("plan.after")
    refused = reset("--execute", status=1)
    check(f"process {process.pid}" in refused.stderr, "the directory is held from before the plan", refused.stderr)
    consumer = Consumer({"bootstrap.servers": KAFKA, "group.id": admin.world.group, "client.id": "late-one"})
    consumer.subscribe([admin.name("events")])
    wait_for(lambda: consumer.poll(0.1) is None and consumer.assignment())
    status, _, said = finish(process)
    check(status == 1 and "member late-one" in said, "a member that came meanwhile", status, said)
    consumer.close()
    check(set(admin.offsets().values()) <= {-1001, None}, "nothing was changed", admin.offsets())
    reset("--execute")


SITES = ("fill.each", "fill.after", "copy.each", "copy.after", "note.after", "aside.after", "offset.after")


def killed(reset, admin):
    """At each kind of action; the rest is done by the next run. Returns where it was."""
    done = []
    for site in SITES:
        before = {p: admin.range("commands", p)[1] for p in range(PARTITIONS)}
        process = reset.halted_at(site, "--accept-loss")
        if process.poll() is not None:
            continue
        done.append(site)
        if site == "fill.each":
            status, _, said = finish(process, signal.SIGINT)
            check(status == 130 and "interrupted" in said, "an interrupted fill", status, said)
        else:
            process.kill()
            process.communicate(timeout=60)
        check(all(admin.range("commands", p)[1] >= before[p] for p in before), "nothing is taken away", site, before)
    return done


def recreated(reset, admin):
    kept = admin.offsets()
    admin.recreate("commands")
    send(reset.instance, 1000, 10)
    begin = {p: admin.range("commands", p) for p in range(PARTITIONS)}
    refused = reset("--execute", status=1)
    check("LOST: " in refused.stdout and "--accept-loss" in refused.stderr, "a loss is not taken silently",
          refused.stdout, refused.stderr)
    check({p: admin.range("commands", p) for p in range(PARTITIONS)} == begin, "nothing was written", begin)
    done = killed(reset, admin)
    check(done == list(SITES), "each kind of action was cut short", done)
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
            member_comes(reset, admin)
            recreated(reset, admin)
        finally:
            instance.end()
            admin.close()
    failed = results.count(False)
    print(f"{100 * results.count(True) // len(results)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
