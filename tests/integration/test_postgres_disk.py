#!/usr/bin/env python3
"""A PostgreSQL of its own that cannot write: a replica until it is promoted, then a primary whose disk is full for a
while. The sink says why and what to do, waits, skips nothing, and goes on. TEST_KAFKA: host:port; TEST_TALLY: the
program."""
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
from postgres_server import BIN, OTHER_USER, Postgres  # noqa: E402

PARTITIONS = 2
LIMIT = 90
results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_postgres_disk: {name}: {' '.join(map(str, facts))}", flush=True)


def sink(tally):
    answer = tally.get("/v1/ops/sinks")
    rows = json.loads(answer[1])["items"] if answer and answer[0] == 200 else []
    return next((row for row in rows if row["name"] == "postgres"), {})


def wait(name, condition, tally):
    end = time.monotonic() + LIMIT
    while not (held := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    check(held, name, sink(tally), tally.log_tail())


def build_shim(folder):
    library = os.path.join(folder, "disk_shim.so")
    subprocess.run(["cc", "-std=c11", "-O1", "-shared", "-fPIC", "-o", library,
                    ROOT / "tests" / "crash" / "disk_shim.c"], check=True)
    return library


def replica_of(primary, folder):
    """A hot standby that streams from it."""
    replica = Postgres(folder)
    os.makedirs(replica.folder)
    os.chmod(replica.folder, 0o777)
    subprocess.run(["setpriv", *OTHER_USER, f"{BIN}/pg_basebackup", "-R", "-X", "stream", "-c", "fast", "-N", "-h",
                    "127.0.0.1", "-p", str(primary.port), "-U", "tally", "-D", replica.data], check=True)
    return replica


def send(tally, first, count):
    text = "".join(json.dumps({"type": "ReceiveStock", "command_id": f"c-{i}", "sku": f"SKU-{i}", "warehouse": "W1",
                               "quantity": 1}) + "\n" for i in range(first, first + count))
    subprocess.run([tally.program, "send", "--config", tally.config, "-"], env=tally.environment, input=text, text=True,
                   capture_output=True, timeout=60, check=True)


def rows(postgres):
    return int(postgres.query("select count(*) from tally.stock_level")[0])


def is_waiting(tally, words):
    """It names what is wrong and what to do; the process is ready without its sink."""
    def told():
        row = sink(tally)
        return row.get("error") and row["error"]["code"] == "SINK_FULL" and words in row["error"]["detail"]
    wait(f"it says \"{words}\"", told, tally)
    verbose = tally.get("/readyz?verbose")
    check(verbose[0] == 200 and b"[-]postgres failed" in verbose[1], "readiness tells, and passes", verbose)


def is_calm(tally):
    """A sink that waits tries again a few times a second at most."""
    def tries():
        return tally.metric('tally_sink_batches_total{sink="postgres",result="failed"}') or 0
    before = tries()
    time.sleep(2)
    check(tries() - before <= 20, "no busy loop", before, tries())


def replica(tally, primary, standby):
    """All that was sent is there once the replica is promoted."""
    tally.start()
    is_waiting(tally, "the primary")
    send(tally, 0, 300)
    is_calm(tally)
    check(rows(primary) == 0, "nothing is written")
    standby.query("select pg_promote()")
    wait("a promoted replica gets everything", lambda: rows(standby) == 300, tally)
    wait("it runs", lambda: sink(tally)["state"] == "RUNNING" and sink(tally)["lag"] == 0, tally)


def full_disk(tally, standby, flag):
    """New pages of tables cannot be written; what is there stays, what comes later follows."""
    pathlib.Path(flag).touch()
    send(tally, 300, 20000)
    is_waiting(tally, "make room on the server's disk")
    is_calm(tally)
    check(rows(standby) < 20300, "not all fits")
    check(sink(tally)["dead_letters"] == 0, "no record is given up", sink(tally))
    os.unlink(flag)
    wait("with room again everything is written", lambda: rows(standby) == 20300, tally)
    wait("and runs", lambda: sink(tally)["state"] == "RUNNING" and sink(tally)["lag"] == 0, tally)
    check(standby.query("select count(*), sum(on_hand), max(version) from tally.stock_level") == ["20300|20300|1"],
          "each level as it is in the state")
    check(sink(tally)["dead_letters"] == 0, "still none is given up", sink(tally))


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        name, flag = "disk-" + uuid.uuid4().hex[:8], os.path.join(folder, "disk-is-full")
        primary = Postgres(os.path.join(folder, "primary"))
        standby = None
        tally = Instance(os.environ["TEST_TALLY"], os.path.join(folder, "a"), os.environ["TEST_KAFKA"], name, {
            "sink.retry.max.interval": "1s", "postgres.url": primary.url, "engine.threads": 1})
        try:
            primary.start()
            tally.tool("topics", "create", "--topics.partitions", str(PARTITIONS))
            tally.tool("sink", "migrate")
            standby = replica_of(primary, os.path.join(folder, "standby"))
            standby.environment = {**os.environ, "LD_PRELOAD": build_shim(folder), "DISK_SHIM_WHILE": flag,
                                   "DISK_SHIM_DIR": os.path.join(standby.data, "base"),
                                   "DISK_SHIM_FAULT": "write:enospc:1:1000000000"}
            standby.start()
            tally.configure({"postgres.url": standby.url})
            replica(tally, primary, standby)
            full_disk(tally, standby, flag)
            tally.stop()
        finally:
            for server in (tally, standby, primary):
                if server:
                    server.end()
    failed = results.count(False)
    print(f"{100 * results.count(True) // len(results)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
