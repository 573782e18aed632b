#!/usr/bin/env python3
"""What systemd is told by `tally run`, on a socket as systemd has one, and what signals do. TEST_KAFKA: host:port;
TEST_TALLY: the program."""
import contextlib
import os
import pathlib
import resource
import signal
import socket
import sys
import tempfile
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "crash"))

from instance import Instance  # noqa: E402

PARTITIONS = 2
KAFKA = os.environ["TEST_KAFKA"]
WATCHDOG_USEC = 400_000
LIMIT = 90
results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_supervisor: {name}: {' '.join(map(str, facts))}", flush=True)


class Supervisor:
    """The other end of NOTIFY_SOCKET; path "@..." is in the abstract namespace."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + path[1:] if path[0] == "@" else path)
        self.socket.settimeout(1)
        self.told = []

    def take(self):
        try:
            self.told += self.socket.recv(4096).decode().split("\n")
        except TimeoutError:
            pass

    def hears(self, beginning, times=1):
        """Takes messages until that many begin so."""
        end = time.monotonic() + LIMIT
        while sum(line.startswith(beginning) for line in self.told) < times:
            if time.monotonic() > end:
                return False
            self.take()
        return True


def instance_of(folder, kafka, name, supervisor, **environment):
    return Instance(os.environ["TEST_TALLY"], folder, kafka, name,
                    env={"NOTIFY_SOCKET": supervisor.path, **environment})


@contextlib.contextmanager
def started(tally):
    tally.start()
    try:
        yield
    finally:
        tally.end()


def a_life(folder, name):
    """Ready once restored, signs of life, SIGHUP survived, told of the end."""
    supervisor = Supervisor(os.path.join(folder, "notify"))
    tally = instance_of(folder, KAFKA, name, supervisor, WATCHDOG_USEC=str(WATCHDOG_USEC))
    tally.tool("topics", "create", "--topics.partitions", str(PARTITIONS))
    with started(tally):
        check(supervisor.hears("READY=1"), "it says that it is ready", supervisor.told)
        check(tally.get("/health/startup")[0] == 200, "and it is")
        before = supervisor.told[:supervisor.told.index("READY=1")]
        check(any(line.startswith("STATUS=restoring ") for line in before), "what it does until then", before)
        check(any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in before), "and asks for more time", before)
        check(supervisor.hears("WATCHDOG=1", 5), "it gives signs of life", supervisor.told)
        check(supervisor.hears("STATUS=running"), "and says that it runs", supervisor.told)
        tally.process.send_signal(signal.SIGHUP)
        check(supervisor.hears("WATCHDOG=1", 12), "SIGHUP changes nothing", supervisor.told)
        check(tally.stop() == 0, "SIGTERM ends it with 0")
        check(supervisor.hears("STOPPING=1"), "it says that it ends", supervisor.told)
        check(supervisor.told.count("READY=1") == 1, "it is ready once")
    check("SIGHUP changes nothing" in pathlib.Path(folder, "tally.log").read_text(), "and SIGHUP is answered in the log")


def no_kafka(folder, name):
    """A broker that is not there: said, waited for, given up on SIGTERM."""
    supervisor = Supervisor(f"@{name}")
    tally = instance_of(folder, "127.0.0.1:1", name, supervisor)
    with started(tally):
        check(supervisor.hears("STATUS=waiting for Kafka"), "what is waited for is said", supervisor.told)
        check("READY=1" not in supervisor.told, "it is not ready")
        tally.process.send_signal(signal.SIGTERM)
        check(tally.process.wait(LIMIT) == 0, "and it can be ended")


def dumps_core(folder, name, **environment):
    """Whether a signal that kills leaves its memory behind, where nothing but tally forbids it."""
    supervisor = Supervisor(f"@{name}")
    tally = instance_of(folder, "127.0.0.1:1", name, supervisor, **environment)
    tally.start()
    check(supervisor.hears("STATUS=waiting for Kafka"), "it runs", supervisor.told)
    tally.process.send_signal(signal.SIGQUIT)
    _, status = os.waitpid(tally.process.pid, 0)
    tally.process.returncode = -os.WTERMSIG(status)
    check(os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGQUIT, "it is killed", status)
    return os.WCOREDUMP(status)


def memory(folder, name):
    """Nobody finds passwords in a core dump, unless core.dumps asks for it. Where the system writes none at all,
    that says nothing."""
    before, limits = os.getcwd(), resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))
    os.chdir(folder)
    try:
        check(not dumps_core(os.path.join(folder, "1"), name + "-1"), "no core")
        dumps_core(os.path.join(folder, "2"), name + "-2", TALLY_CORE_DUMPS="true")
    finally:
        os.chdir(before)
        resource.setrlimit(resource.RLIMIT_CORE, limits)


def foreign(folder, name):
    """The watchdog of another process is none of ours; a socket that nobody has is no mistake."""
    supervisor = Supervisor(f"@{name}")
    tally = instance_of(folder, KAFKA, name, supervisor, WATCHDOG_USEC=str(WATCHDOG_USEC), WATCHDOG_PID="1")
    tally.tool("topics", "create", "--topics.partitions", "1")
    with started(tally):
        check(supervisor.hears("STATUS=running"), "it runs", supervisor.told)
        for _ in range(2):
            supervisor.take()
        check("WATCHDOG=1" not in supervisor.told, "no sign of life for another's watchdog", supervisor.told)
        check(tally.stop() == 0, "it ends")
    supervisor.socket.close()
    with started(tally):
        tally.wait("running", lambda tasks: len(tasks) == 1)
        check(tally.stop() == 0, "nobody has to listen")


def main():
    with tempfile.TemporaryDirectory() as folder:
        for number, scenario in enumerate((a_life, no_kafka, memory, foreign)):
            place = os.path.join(folder, str(number))
            os.mkdir(place)
            scenario(place, f"supervisor-{uuid.uuid4().hex[:8]}")
    failed = results.count(False)
    print(f"{100 * (len(results) - failed) // len(results)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    sys.exit(1 if failed else 0)


main()
