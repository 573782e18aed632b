#!/usr/bin/env python3
"""What schemathesis makes of the OpenAPI document, asked of an instance with products, stock and a reservation: every
answer is one that the document tells, also along its links. TEST_KAFKA, TEST_POSTGRES: servers; TEST_TALLY: the program;
TEST_SCHEMATHESIS_S: seconds (30).

Two of its checks are left out. That what is valid is also accepted: no schema tells which cursors are signed, or which
SKUs there are. That every method that is not told is 405: TRACE is 400 by the contract (http_walk.py has the methods)."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "crash"))

import packages  # noqa: E402

PATIENCE_S = 60
SERVERS = ("TEST_KAFKA", "TEST_TALLY", "TEST_POSTGRES")
if all(name in os.environ for name in SERVERS):
    packages.use(packages.SCHEMATHESIS_PACKAGES, "venv-schemathesis")

from instance import Instance  # noqa: E402


def psql(statement):
    subprocess.run(["psql", os.environ["TEST_POSTGRES"], "-qXc", statement], check=True)


def until(instance, path, good):
    end = time.monotonic() + PATIENCE_S
    while not good(instance.get(path) or (0, b"")) and time.monotonic() < end:
        time.sleep(0.05)


def fill(address):
    """Something of everything, so that links lead somewhere."""
    commands = [("RegisterWarehouse", {"warehouse": "AMS1", "name": "Amsterdam"}),
                ("CreateProduct", {"product_id": "P-1", "slug": "red-shirt", "name": "Red shirt", "category_ids": ["c-1"],
                                   "variants": [{"sku": "S-1"}]}),
                ("ChangePrice", {"product_id": "P-1", "sku": "S-1", "currency": "EUR", "amount_minor": 100}),
                ("ReceiveStock", {"sku": "S-1", "warehouse": "AMS1", "quantity": 5}),
                ("ReserveStock", {"reservation_id": "R-1", "lines": [{"sku": "S-1", "quantity": 1}]})]
    for kind, fields in commands:
        urllib.request.urlopen(urllib.request.Request(
            f"http://{address}/v1/commands/{kind}", json.dumps(fields).encode(), method="POST",
            headers={"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4()), "Prefer": "wait=30"})).read()


def explore(address, folder):
    arguments = ["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "3", "--generation-deterministic",
                 "--max-time", os.environ.get("TEST_SCHEMATHESIS_S", "30"), "--workers", "1", "--no-shrink", "--no-color",
                 "--continue-on-failure", "--exclude-checks", "positive_data_acceptance,unsupported_method",
                 # What ends sinks, what is no answer of HTTP, and what answers 200 with errors in it.
                 "--exclude-path-regex", "/v1/ops/sinks/|/v1/stream|/graphql", "--request-timeout", "60"]
    done = subprocess.run([pathlib.Path(sys.executable).parent / "st", "run", f"http://{address}/openapi.json", *arguments],
                          cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode or "Test cases:" not in done.stdout:
        print(done.stdout[-20000:])
        return False
    return True


def main():
    if any(name not in os.environ for name in SERVERS):
        print("100%: Checks: 0, Failures: 0, Errors: 0")
        return 0
    name = "schemathesis_" + uuid.uuid4().hex[:8]
    server = dict(part.split("=", 1) for part in os.environ["TEST_POSTGRES"].split())
    psql(f"CREATE DATABASE {name}")
    with tempfile.TemporaryDirectory() as folder:
        instance = Instance(os.environ["TEST_TALLY"], folder, os.environ["TEST_KAFKA"], name, {
            "topologies": ["catalogue", "stock", "reservation", "transfer", "low_stock"], "topics.partitions": 2,
            "postgres.url": f"postgresql://{server['user']}@{server['host']}:{server['port']}/{name}"})
        instance.tool("topics", "create")
        instance.tool("sink", "migrate")
        instance.start()
        try:
            until(instance, "/startupz", lambda answer: answer[0] == 200)
            fill(instance.address)
            until(instance, "/v1/reservations", lambda answer: answer[0] == 200 and b"R-1" in answer[1])
            good = explore(instance.address, folder)
            alive = (instance.get("/livez") or (0,))[0] == 200
        finally:
            instance.end()
            psql(f"DROP DATABASE {name} WITH (FORCE)")
    failed = [good, alive].count(False)
    print(f"{100 * (2 - failed) // 2}%: Checks: 2, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
