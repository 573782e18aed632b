#!/usr/bin/env python3
"""The verbs of tally on a real broker, as a user calls them: output, exit statuses, and the records
of a topic as kcat prints them. TEST_KAFKA: host:port; TEST_TALLY: the program."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "crash"))

from instance import Instance, all_running  # noqa: E402

PARTITIONS = 3
KAFKA = os.environ["TEST_KAFKA"]
results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_command_line: {name}: {' '.join(map(str, facts))}", flush=True)


class Tool:
    """Calls tally with the settings of one instance."""

    def __init__(self, instance):
        self.instance = instance

    def __call__(self, *arguments, text=None, status=0):
        done = subprocess.run([self.instance.program, *arguments, "--config", self.instance.config],
                              env=self.instance.environment, input=text, capture_output=True, text=True,
                              timeout=60, check=False)
        check(done.returncode == status, f"status of tally {' '.join(arguments)}", done.returncode, done.stderr)
        return done


def topics(tally, name):
    missing = tally("topics", "check", status=1)
    check(missing.stderr.count("does not exist") == 4, "every missing topic is named", missing.stderr)
    made = tally("topics", "create", "--topics.partitions", str(PARTITIONS))
    check(made.stdout.count("created ") == 4 and f"{PARTITIONS} partitions" in made.stdout, "topics are made",
          made.stdout)
    again = tally("topics", "create")
    check(again.stdout.count("exists ") == 4, "creating is idempotent", again.stdout)
    check(name + ".stock.commands" in again.stdout, "the prefix is used", again.stdout)


def send(tally):
    lines = [{"type": "ReceiveStock", "command_id": f"c-{i}", "sku": f"SKU-{i % 7}", "warehouse": "W1", "quantity": 1}
             for i in range(100)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    sent = tally("send", "-", text=text)
    check("100 commands sent, 0 bad lines" in sent.stderr, "a summary", sent.stderr)
    wrong = '{"type":"ReceiveStock"}\nhello\n\n{"type":"ShipStock","sku":"SKU-1","warehouse":"W1","quantity":1,' \
            '"shipment_id":"s"}\n'
    partly = tally("send", text=wrong, status=3)
    check("stdin:1:" in partly.stderr and "stdin:2:" in partly.stderr, "bad lines are named", partly.stderr)
    check("1 commands sent, 2 bad lines" in partly.stderr, "the others are sent", partly.stderr)
    refused = tally("send", "--require-id", text=wrong, status=1)
    check("0 commands sent" in refused.stderr, "an id can be required", refused.stderr)
    dry = tally("send", "--dry-run", text=text)
    check(len(dry.stdout.splitlines()) == 100, "a dry run prints", len(dry.stdout.splitlines()))
    tally("send", "no such file", status=1)


def same_as_kcat(tally, topic, *arguments):
    """Order over partitions is not defined, so lines are sorted."""
    here = tally("tail", "-t", topic, "-q", "--raw", *arguments).stdout
    there = subprocess.run(["kcat", "-C", "-b", KAFKA, "-t", topic, "-q", *arguments], capture_output=True,
                           text=True, timeout=60, check=True).stdout
    if "-J" in arguments:
        here, there = ([json.dumps(json.loads(line), sort_keys=True) for line in text.splitlines()]
                       for text in (here, there))
    else:
        here, there = here.splitlines(), there.splitlines()
    check(sorted(here) == sorted(there) and there, f"tail {' '.join(arguments)} is kcat's",
          sorted(set(here) ^ set(there))[:2])


def tail(tally, name):
    topic = name + ".stock.commands"
    same_as_kcat(tally, topic, "-o", "beginning", "-e", "-J")
    same_as_kcat(tally, topic, "-o", "-2", "-e", "-J")
    same_as_kcat(tally, topic, "-p", "0", "-o", "3", "-c", "2", "-J")
    same_as_kcat(tally, topic, "-o", "beginning", "-e", "-f", "%t %p %o %k %K %s %S %T %h %%\\x41\\t\\n")
    same_as_kcat(tally, topic, "-o", "beginning", "-e", "-K", "\\t", "-D", "\\n--\\n")
    same_as_kcat(tally, topic, "-o", "s@1000000000000", "-e", "-f", "%o %k\\n")
    last = tally("tail", "-t", topic, "-p", "0", "-o", "-1", "-e", "-q", "-f", "%T").stdout
    same_as_kcat(tally, topic, "-p", "0", "-o", "s@1000000000000", "-o", f"e@{int(last) + 1}", "-e", "-f", "%o\\n")
    end = tally("tail", "-t", topic, "-o", "end", "-e")
    check(end.stdout == "" and end.stderr.count("% Reached end of topic") == PARTITIONS, "ends are told", end.stderr)
    tally("tail", "-t", "no.such.topic", "-e", status=1)
    tally("tail", "-t", topic, "-o", "soon", status=2)
    tally("tail", "-t", topic, "-f", "%q", status=2)
    events = tally("tail", "-t", name + ".stock.events", "-o", "beginning", "-e", "-q", "-J").stdout.splitlines()
    types = {json.loads(json.loads(line)["payload"])["type"] for line in events}
    check("StockReceived" in types, "MessagePack is shown as JSON", types)


def interrupt(tally, name):
    process = subprocess.Popen([tally.instance.program, "tail", "-b", KAFKA, "-t", name + ".stock.events", "-o",
                                "beginning", "-u", "-c", "1000000"], stdout=subprocess.PIPE, cwd="/",
                               stderr=subprocess.DEVNULL, env=tally.instance.environment)
    process.stdout.readline()  # it reads now
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    check(process.returncode == 130, "an interrupted tail ends with 130", process.returncode)


def replayed(report):
    """Rows of I9 were compared, and agree."""
    return re.search(r"\nI9 .* [1-9][0-9]* checked, 0 differ\n", report) is not None


def read(tally):
    level = json.loads(tally("get", "level", "SKU-1.W1", "-o", "json").stdout)
    check(level["value"]["on_hand"] == 14 and level["value"]["version"] == 16, "get prints a row", level)
    check("on_hand              14\n" in tally("get", "stock/level", "SKU-1.W1").stdout, "get prints text")
    tally("get", "level", "SKU-1.W9", status=1)
    tally("get", "levels", "SKU-1.W1", status=2)
    tally("health")
    verbose = tally("health", "-v").stdout
    check("readyz check passed" in verbose, "health tells its parts", verbose)
    dump = tally("fsck", "--dump").stdout
    check(dump == tally("fsck", "--dump").stdout, "dumps are the same bytes")
    sound = tally("fsck").stdout
    check(" 0 differ" in sound and "I1 " in sound, "the state is sound", sound)
    check(replayed(sound), "the log gives the same rows", sound)
    sound = tally("fsck", "--no-replay").stdout
    check("not checked" in sound and not replayed(sound), "the log may be left alone", sound)
    locked = tally("fsck", "--dump", "--state", tally.instance.state, status=1)
    check("STATE_LOCKED" in locked.stderr, "a running instance keeps its directory", locked.stderr)
    return level, dump


def stopped(tally, level, dump):
    check(tally("fsck", "--dump", "--state", tally.instance.state).stdout == dump, "the directory is what was served")
    sound = tally("fsck", "--settled", "--state", tally.instance.state).stdout
    check("0 differ" in sound and replayed(sound), "a directory is checked too", sound)
    alone = tally("fsck", "--settled", "--state", tally.instance.state, "--brokers", "127.0.0.1:1", status=3)
    check("I9 is not checked: UNAVAILABLE" in alone.stderr and "0 differ" in alone.stdout, "without a broker all else is",
          alone.stdout, alone.stderr)
    check(not os.path.exists(os.path.join(tally.instance.state, ".fsck")), "nothing is left in the state directory")
    tally("fsck", "--settled", status=2)
    row = json.loads(tally("get", "level", "SKU-1.W1", "-o", "json", "--state", tally.instance.state).stdout)
    check(row == level, "get reads a directory", row)
    tally("health", status=1)
    tally("fsck", "--dump", status=1)
    tally("fsck", "--dump", "--state", "/no/such/folder", status=1)


def mismatch(tally):
    """run refuses topics that do not fit, and names them."""
    refused = tally("run", "--topics.prefix", "not.there.", status=1)
    check(refused.stderr.count("does not exist") >= 4, "run names every mismatch", refused.stderr[-500:])
    tally("run", "--state.memory", "12", status=1)


def main():
    name = "cli-" + uuid.uuid4().hex[:8]
    with tempfile.TemporaryDirectory() as folder:
        instance = Instance(os.environ["TEST_TALLY"], folder, KAFKA, name)
        tally = Tool(instance)
        topics(tally, name)
        mismatch(tally)
        instance.start()
        try:
            instance.wait("running", lambda tasks: all_running(tasks, PARTITIONS))
            send(tally)
            end = time.monotonic() + 60
            while "version              16" not in tally_quiet(tally) and time.monotonic() < end:
                time.sleep(0.05)
            tail(tally, name)
            interrupt(tally, name)
            level, dump = read(tally)
        finally:
            instance.stop()
        stopped(tally, level, dump)
    failed = results.count(False)
    print(f"{100 * results.count(True) // len(results)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


def tally_quiet(tally):
    return subprocess.run([tally.instance.program, "get", "level", "SKU-1.W1", "--config", tally.instance.config],
                          env=tally.instance.environment, capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    sys.exit(main())
