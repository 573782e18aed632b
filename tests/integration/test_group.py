#!/usr/bin/env python3
"""Several instances of one group on a real broker: join, share, leave, take over, nothing lost or
done twice; two processes of one name; a broker that is silent. TEST_KAFKA: host:port;
TEST_KAFKA_PID: of that broker; TEST_TALLY: the program."""
import contextlib
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

from instance import Instance  # noqa: E402

PARTITIONS = 2
KAFKA = os.environ["TEST_KAFKA"]
SESSION = 16  # seconds, the shortest that the settings allow
SETTINGS = {"engine.transaction.timeout": "1s", "engine.session.timeout": f"{SESSION}s", "engine.threads": 1,
            "engine.max.poll.interval": "20s", "shutdown.timeout": "5s", "events.format": "json"}
LIMIT = 90
results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_group: {name}: {' '.join(map(str, facts))}", flush=True)


class Group:
    def __init__(self, folder):
        self.name = "group-" + uuid.uuid4().hex[:8]
        self.folder = folder
        self.instances = []
        self.sent = 0

    def instance(self, folder, name, **settings):
        made = Instance(os.environ["TEST_TALLY"], os.path.join(self.folder, folder), KAFKA, self.name,
                        {**SETTINGS, **settings}, instance_id=name)
        self.instances.append(made)
        return made

    def send(self, instance, count):
        ids = range(self.sent, self.sent + count)
        self.sent += count
        text = "".join(json.dumps({"type": "ReceiveStock", "command_id": f"c-{i}", "sku": f"SKU-{i % 50}",
                                   "warehouse": "W1", "quantity": 1}) + "\n" for i in ids)
        subprocess.run([instance.program, "send", "--config", instance.config, "-"], env=instance.environment,
                       input=text, text=True, capture_output=True, timeout=60, check=True)

    def causes(self):
        """Ids of the commands that the events name, in no order."""
        done = subprocess.run(["kcat", "-C", "-b", KAFKA, "-t", f"{self.name}.stock.events", "-e", "-q", "-o",
                               "beginning", "-X", "isolation.level=read_committed", "-f", "%s\\n"],
                              capture_output=True, text=True, timeout=60, check=True)
        return [json.loads(line)["causation_id"] for line in done.stdout.splitlines()]

    def all_done(self, name):
        """One event for each command, none twice."""
        end = time.monotonic() + LIMIT
        while len(causes := self.causes()) < self.sent and time.monotonic() < end:
            time.sleep(0.2)
        check(sorted(causes) == sorted(f"c-{i}" for i in range(self.sent)), name,
              f"{len(causes)} events for {self.sent} commands")

    def close(self):
        for instance in self.instances:
            instance.end()


def running(instance):
    return {p for p, row in instance.tasks().items() if row["state"] == "RUNNING"}


def wait(name, condition, instance):
    end = time.monotonic() + LIMIT
    while not (held := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    check(held, name, instance.log_tail())


def ended(instance):
    return instance.process.poll() is not None


def exits(instance, code, name):
    wait(name, lambda: ended(instance), instance)
    check(instance.process.poll() == 1 and instance.logged(f"code={code}"), f"{name}: status 1 and {code}",
          instance.process.poll(), instance.log_tail())


def levels(instances):
    """Sum of what is on hand, asked from whoever runs the partition."""
    total = 0
    for instance in instances:
        for partition in running(instance):
            rows = (json.loads(line) for line in instance.dump(partition))
            total += sum(row["value"]["on_hand"] for row in rows if row["store"] == "level")
    return total


def share(group):
    """Join, share, go on together."""
    first, second, third = group.instance("1", "a"), group.instance("2", "b"), group.instance("3", "c")
    first.tool("topics", "create", "--topics.partitions", str(PARTITIONS))
    first.start()
    wait("one instance has all", lambda: len(running(first)) == PARTITIONS, first)
    group.send(first, 400)
    check(first.logged("http.cursor.key is not set") == 0, "one alone needs no key", first.log_tail())
    second.start()
    group.send(first, 400)
    wait("two share", lambda: len(running(first)) == 1 and len(running(second)) == 1, second)
    check(running(first) | running(second) == {0, 1}, "no partition is forgotten", running(first), running(second))
    group.send(second, 400)
    group.all_done("nothing is lost or doubled when partitions move")
    check(levels((first, second)) == group.sent, "state moved with its partition", levels((first, second)))
    parked = [row for row in first.tasks().values() if row["state"] == "PARKED"]
    check(len(parked) == 1 and parked[0].get("lag") is None, "no lag is told of another's partition", parked)
    check(first.logged("names=" + group.name + ".stock.commands/0,1") == 2, "the log names what is revoked")
    third.start()
    wait("an instance without partitions has started", lambda: (third.get("/startupz") or (0,))[0] == 200, third)
    check(not running(third), "it has none", running(third))
    check(third.get("/v1/stock/NONE")[0] == 404, "others answer for it")
    check(third.logged("http.cursor.key is not set") == 1, "it warns that they have no common key", third.log_tail())
    group.send(third, 200)
    group.all_done("nothing is lost when a third joins")
    return first, second, third


def take_over(group, first, second, third):
    """One leaves; the others have its partitions when its session is over, with its state."""
    status = second.stop()
    check(status == 0, "a stop", status)
    left = (first, third)
    group.send(first, 400)
    wait("one that had no partition gets one", lambda: len(running(first)) == 1 and len(running(third)) == 1, third)
    group.all_done("nothing is lost when one leaves")
    check(levels(left) == group.sent, "its state was taken over", levels(left))
    third.stop()
    return first


def same_name(group, first):
    """Two processes of one name: one directory is refused; the older one ends, even if it slept."""
    wait("the first has all", lambda: len(running(first)) == PARTITIONS, first)
    same = group.instance("4", "a", **{"state.dir": first.state})
    same.start()
    exits(same, "STATE_LOCKED", "a directory in use")
    check(not ended(first), "who has the directory goes on", first.log_tail())
    second = group.instance("5", "a")
    second.start()
    exits(first, "INSTANCE_FENCED", "the older of one name")
    wait("the younger has all", lambda: len(running(second)) == PARTITIONS, second)
    second.pause()
    third = group.instance("6", "a")
    third.start()
    wait("the next has all", lambda: len(running(third)) == PARTITIONS, third)
    time.sleep(SESSION + 2)  # longer than its session: it has to think that it may join anew
    second.resume()
    exits(second, "INSTANCE_FENCED", "one that slept beyond its session")
    check(not ended(third), "who took its place goes on", third.log_tail())
    group.send(third, 200)
    group.all_done("nothing is lost between two of one name")
    return third


def silent_broker(group, instance):
    """A stop that cannot reach the broker ends in time, and as a failure that is said."""
    broker = int(os.environ["TEST_KAFKA_PID"])
    instance.stop()
    instance.environment["TALLY_FAIL"] = "commit.offsets.after:1:delay=3000"
    instance.start()
    del instance.environment["TALLY_FAIL"]  # of the next start
    wait("it runs", lambda: len(running(instance)) == PARTITIONS, instance)
    group.send(instance, 200)
    wait("it is about to commit", lambda: instance.logged("msg=failpoint"), instance)
    os.kill(broker, signal.SIGSTOP)
    try:
        instance.process.send_signal(signal.SIGTERM)
        exits(instance, "STUCK", "a stop without a broker")
    finally:
        os.kill(broker, signal.SIGCONT)
    instance.start()
    wait("it starts again", lambda: len(running(instance)) == PARTITIONS, instance)
    group.all_done("nothing is lost by a stop that failed")
    return instance


def broker_away(group, instance):
    """A broker that is silent for longer than the session. librdkafka ended the process when it came back:
    the question who has the member's name had timed out, and was answered."""
    broker = int(os.environ["TEST_KAFKA_PID"])
    lost = instance.logged("partitions lost")
    os.kill(broker, signal.SIGSTOP)
    try:
        wait("a session is over", lambda: instance.logged("partitions lost") > lost or ended(instance), instance)
        time.sleep(4)  # the question times out
    finally:
        os.kill(broker, signal.SIGCONT)
    wait("it has its partitions again", lambda: len(running(instance)) == PARTITIONS or ended(instance), instance)
    check(not ended(instance), "it goes on when the broker is back", instance.log_tail())
    group.send(instance, 200)
    group.all_done("nothing is lost when the broker was away")
    instance.stop()


def main():
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Group(folder)) as group:
        first = take_over(group, *share(group))
        broker_away(group, silent_broker(group, same_name(group, first)))
    failed = results.count(False)
    print(f"{100 * results.count(True) // len(results)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
