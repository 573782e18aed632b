#!/usr/bin/env python3
"""k8s/demo.sh, the samples of the compose file's profile, against a tally on loopback. TEST_KAFKA: host:port; TEST_TALLY: the
program."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "crash"))

from instance import Instance, all_running  # noqa: E402

PARTITIONS = 2
TOPOLOGIES = ["catalogue", "stock"]
results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_demo: {name}: {' '.join(map(str, facts))}", flush=True)


def demo(tally, **environment):
    program = pathlib.Path(tally.program)
    plain = {**tally.environment, "PATH": f"{program.parent}:{os.environ['PATH']}", "SAMPLES": str(ROOT / "samples"),
             "TALLY_KAFKA_BOOTSTRAP_SERVERS": os.environ["TEST_KAFKA"], "PORT": tally.address.split(":")[1],
             "TALLY_TOPICS_PREFIX": tally.settings["topics.prefix"], **environment}
    return subprocess.run(["bash", str(ROOT / "k8s" / "demo.sh")], env=plain, capture_output=True, text=True, timeout=120, check=False)


def main():
    with tempfile.TemporaryDirectory() as folder:
        tally = Instance(os.environ["TEST_TALLY"], folder, os.environ["TEST_KAFKA"], f"demo-{uuid.uuid4().hex[:8]}",
                         {"topologies": TOPOLOGIES, "stock.require_registration": True})
        tally.tool("topics", "create", "--topics.partitions", str(PARTITIONS))
        try:
            tally.start()
            tally.wait("running", lambda tasks: all_running(tasks, PARTITIONS))
            for time in ("first", "second"):
                done = demo(tally)
                check(done.returncode == 0, f"the demo loads, the {time} time", done.stdout, done.stderr)
            tally.wait("loaded", lambda _: json.loads(tally.get("/v1/stock/TS-RED-M")[1]).get("totals", {}).get("on_hand", 0) > 0)
            tally.stop()
            late = demo(tally, LIMIT="1")
            check(late.returncode == 1 and "does not appear within 1 s" in late.stderr, "without tally it says so", late.stderr)
        finally:
            tally.end()
    failed = results.count(False)
    print(f"{100 * (len(results) - failed) // len(results)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    sys.exit(1 if failed else 0)


main()
