#!/usr/bin/env python3
"""Products over HTTP from Redis, and the search over them in PostgreSQL, of an instance with both sinks. TEST_KAFKA,
TEST_POSTGRES, TEST_REDIS: servers; TEST_TALLY: the program."""
import http.client
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

PATIENCE_S = 60
results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_http_readers: {name}: {' '.join(map(str, facts))}", flush=True)


class Client:
    def __init__(self, address):
        self.address = address

    def ask(self, method, path, body=None, **headers):
        """Status, headers and body."""
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, answer.headers, json.loads(body) if body else None
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.ask("GET", path, **headers)

    def send(self, kind, **fields):
        answer = self.ask("POST", f"/v1/commands/{kind}", json.dumps(fields), Content_Type="application/json",
                          Idempotency_Key=str(uuid.uuid4()), Prefer="wait=30")
        check(answer[0] == 200, kind, answer[0], answer[2])
        return answer

    def until(self, path, good):
        """The first answer that is good, or the last."""
        end = time.monotonic() + PATIENCE_S
        answer = self.get(path)
        while not good(answer) and time.monotonic() < end:
            time.sleep(0.1)
            answer = self.get(path)
        return answer


def products(client):
    """The same document, tag and price from Redis as from the owner, which Tally-Min-Position asks."""
    at = client.send("CreateProduct", product_id="P-1", slug="red-shirt", name="Red shirt", category_ids=["shirts"],
                     variants=[{"sku": "S-1"}])[1]["Tally-Position"]
    client.send("ChangePrice", product_id="P-1", sku="S-1", currency="EUR", amount_minor=1999)
    for path in ("/v1/products/red-shirt", "/v1/products/by-id/P-1"):
        cached = client.until(path, lambda a: a[0] == 200 and a[1]["Tally-Source"] == "redis" and a[2]["version"] == 2)
        owned = client.get(path, Tally_Min_Position=at, Prefer="wait=30")
        check(cached[1]["Tally-Source"] == "redis" and owned[1]["Tally-Source"] == "rocksdb", f"{path}: who answers",
              cached[1]["Tally-Source"], owned[1]["Tally-Source"])
        check(cached[2] == owned[2] and cached[1]["ETag"] == owned[1]["ETag"], f"{path}: both say the same", cached, owned)
        check(cached[1]["Tally-As-Of"].endswith("Z") and cached[1]["Tally-Lag-Ms"].isdigit(), f"{path}: headers", cached[1])
        same = client.get(path, If_None_Match=cached[1]["ETag"])
        check(same[0] == 304 and same[2] is None, f"{path}: not modified", same)
        priced = client.get(path + "?currency=EUR")
        check(priced[2]["variants"][0]["price"]["amount_minor"] == 1999 and "ETag" not in priced[1], f"{path}: price", priced)
    client.send("UpdateProduct", product_id="P-1", patch={"slug": "crimson-shirt"})
    moved = client.until("/v1/products/red-shirt", lambda a: a[0] == 301)
    check(moved[0] == 301 and moved[1]["Location"] == "/v1/products/crimson-shirt", "an old slug", moved)
    check(client.get("/v1/products/by-id/P-9")[0] == 404, "no such product")


def search(client):
    for number in range(2, 6):
        client.send("CreateProduct", product_id=f"P-{number}", slug=f"shirt-{number}", name=f"Shirt {number}")
    found = client.until("/v1/products?q=shirt", lambda a: a[0] == 200 and len(a[2]["items"]) == 5)
    check(found[0] == 200 and found[1]["Tally-Source"] == "postgres" and found[2]["next_cursor"] is None
          and {item["product_id"] for item in found[2]["items"]} == {f"P-{n}" for n in range(1, 6)}, "search", found)
    paged, cursor = [], ""
    while cursor is not None:
        page = client.get(f"/v1/products?q=shirt&limit=2{cursor and '&cursor=' + cursor}")[2]
        paged += page["items"]
        cursor = page["next_cursor"]
    check(paged == found[2]["items"], "search: pages", len(paged))
    cursor = client.get("/v1/products?q=shirt&limit=2")[2]["next_cursor"]
    check(client.get(f"/v1/products?q=other&limit=2&cursor={cursor}")[2]["code"] == "INVALID_CURSOR", "search: another filter")
    chosen = client.get("/v1/products?category=shirts&status=DRAFT")[2]["items"]
    check([item["product_id"] for item in chosen] == ["P-1"], "search: category", chosen)
    check(client.get("/v1/products?status=ARCHIVED")[2]["items"] == [], "search: nothing")


def unready(client):
    """The tables are not made yet: the search says what to do, all else goes on."""
    status, headers, problem = client.get("/v1/products?q=shirt")
    check(status == 503 and problem["code"] == "POSTGRES_UNAVAILABLE" and "tally sink migrate" in problem["detail"]
          and headers["Retry-After"] == "1", "no tables", status, problem)


def main():
    if any(name not in os.environ for name in ("TEST_KAFKA", "TEST_TALLY", "TEST_POSTGRES", "TEST_REDIS")):
        print("100%: Checks: 0, Failures: 0, Errors: 0")
        return 0
    name = "readers_" + uuid.uuid4().hex[:8]
    server = dict(part.split("=", 1) for part in os.environ["TEST_POSTGRES"].split())

    def psql(statement):
        subprocess.run(["psql", os.environ["TEST_POSTGRES"], "-qXc", statement], check=True)
    psql(f"CREATE DATABASE {name}")
    with tempfile.TemporaryDirectory() as folder:
        instance = Instance(os.environ["TEST_TALLY"], folder, os.environ["TEST_KAFKA"], name, {
            "topologies": ["catalogue", "stock"], "topics.partitions": 2, "redis.url": f"redis://{os.environ['TEST_REDIS']}",
            "postgres.url": f"postgresql://{server['user']}@{server['host']}:{server['port']}/{name}"})
        instance.tool("topics", "create")
        instance.start()
        try:
            client = Client(instance.address)
            end = time.monotonic() + PATIENCE_S
            while (instance.get("/startupz") or (0,))[0] != 200 and time.monotonic() < end:
                time.sleep(0.05)
            unready(client)
            instance.tool("sink", "migrate")
            products(client)
            search(client)
        finally:
            instance.end()
            psql(f"DROP DATABASE {name} WITH (FORCE)")
    failed = results.count(False)
    print(f"{100 * (len(results) - failed) // max(len(results), 1)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
