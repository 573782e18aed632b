#!/usr/bin/env python3
"""The sandbox of packaging/tally.service against what tally does: every system call of a life on Kafka, traced, is one that
SystemCallFilter= lets through, every socket is of RestrictAddressFamilies=, nothing is written but below StateDirectory=, and no
memory is both written and executed. TEST_KAFKA: host:port; TEST_TALLY: the program."""
import os
import pathlib
import re
import sys
import tempfile
import uuid

from clean_tree import ROOT, Checks, run

sys.path.insert(0, str(ROOT / "tests" / "crash"))

from instance import Instance, all_running  # noqa: E402

check = Checks("test_unit")
UNIT = (ROOT / "packaging" / "tally.service.in").read_text()
PARTITIONS = 2
# Refused without harm: what they ask for is a wish.
WISHES = {"setpriority", "ioprio_set"}


def settings(name):
    return re.findall(rf"^{name}=(.*)$", UNIT, re.M)


def expand(name):
    """System calls of a set of systemd's."""
    found = set()
    for line in run("systemd-analyze", "syscall-filter", name).stdout.splitlines()[1:]:
        word = line.strip().split("#")[0].strip()
        if word.startswith("@"):
            found |= expand(word)
        elif word:
            found.add(word)
    return found


def allowed():
    calls = set()
    for line in settings("SystemCallFilter"):
        names = set().union(*(expand(name) if name[0] == "@" else {name} for name in line.lstrip("~").split()))
        calls = calls - names if line[0] == "~" else calls | names
    return calls


def traced(folder):
    """Lines of strace of one life: started, ready, a command decided, ended by SIGTERM."""
    tally = Instance(os.environ["TEST_TALLY"], folder, os.environ["TEST_KAFKA"], f"unit-{uuid.uuid4().hex[:8]}",
                     {"state.flush.interval": "100ms"})
    tally.tool("topics", "create", "--topics.partitions", str(PARTITIONS))
    trace = pathlib.Path(folder) / "trace"
    tally.command = ["strace", "-f", "-qq", "-I", "2", "-o", str(trace), *tally.command]
    tally.start()
    try:
        tally.wait("running", lambda tasks: all_running(tasks, PARTITIONS))
        command = '{"type":"ReceiveStock","command_id":"c","sku":"S","warehouse":"W","quantity":1}'
        sent = run(os.environ["TEST_TALLY"], "send", "--config", tally.config, text=command)
        check(sent.returncode == 0, "a command is sent", sent.stderr)
        tally.wait("flushed", lambda _: any(pathlib.Path(tally.state).rglob("*.sst")))
        children = run("pgrep", "-P", tally.process.pid).stdout.split()
        run("kill", "-TERM", *children)
        check(tally.process.wait(60) == 0, "it ends with 0")
    finally:
        run("kill", "-KILL", *run("pgrep", "-P", tally.process.pid).stdout.split())
        tally.end()
    return trace.read_text().splitlines(), tally


def main():
    with tempfile.TemporaryDirectory() as folder:
        lines, tally = traced(folder)
    calls = {match[1] for line in lines if (match := re.match(r"\d+ +(?:<\.\.\. )?([a-z0-9_]+)", line))} - {"exited"}
    check(len(calls) > 40, "the trace has calls", len(calls))
    refused = calls - allowed() - WISHES
    check(not refused, "SystemCallFilter= lets everything through", refused)
    families = {match[1] for line in lines if (match := re.search(r" socket\((AF_\w+)", line))}
    granted = set(settings("RestrictAddressFamilies")[0].split())
    check(families <= granted | {"AF_NETLINK"}, "RestrictAddressFamilies=", families - granted)
    written = {match[1] for line in lines
               if (match := re.search(r' (?:openat\([^,]+, |open\(|mkdir\(|rename\(|unlink\()"([^"]+)"', line))
               and ("O_WRONLY" in line or "O_RDWR" in line or "O_CREAT" in line or "open" not in line)}
    above = {str(path) for path in pathlib.Path(tally.state).parents}  # of mkdir, which are there
    outside = {path for path in written - above
               if not path.startswith((tally.state, "/dev/null")) and not re.fullmatch(r"/proc/self/task/\d+/comm", path)}
    check(written and not outside, "only the state directory is written", outside)
    both = [line for line in lines if re.search(r" (mmap|mprotect)\(.*PROT_WRITE\|PROT_EXEC", line)]
    check(not both, "MemoryDenyWriteExecute=", both[:2])
    print(f"test_unit: {len(calls)} system calls of {len(allowed())} that the unit allows", flush=True)
    check.end()


main()
