#!/usr/bin/env python3
"""Products over HTTP from Redis, the search over them and the lists in PostgreSQL, of an instance with both sinks. TEST_KAFKA,
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


def every(client, path):
    """All items of a list, asked for two at a time, each page once more to be the same."""
    items, cursor = [], ""
    while cursor is not None:
        where = f"{path}{'&' if '?' in path else '?'}limit=2{cursor and '&cursor=' + cursor}"
        status, headers, page = client.get(where)
        check(status == 200 and headers["Tally-Source"] == "postgres" and headers["Cache-Control"] == "no-cache"
              and list(page) == ["items", "next_cursor"] and len(page["items"]) <= 2, f"{where}: a page", status, page)
        if status != 200:
            return items
        items += page["items"]
        cursor = page["next_cursor"]
    return items


def matches(client, path, *expected):
    """The list gets there; its items as these functions of an item say."""
    def good(answer):
        return answer[0] == 200 and len(answer[2]["items"]) == len(expected)
    answer = client.until(path, good)
    items = every(client, path)
    check(good(answer) and items == answer[2]["items"] and all(
        {name: item.get(name, "absent") for name in wanted} == wanted for item, wanted in zip(items, expected)),
        path, answer[0], answer[2], items, expected)
    return items


def lists(client):
    """Each list of a dashboard: its items and order, its filters, its pages."""
    today = client.get("/v1/warehouses")[1]["Tally-As-Of"][:10]
    for name in ("AMS1", "RTM2"):
        client.send("RegisterWarehouse", warehouse=name, name=name)
    client.send("CreateProduct", product_id="P-9", slug="table", name="Table", category_ids=["wood"],
                variants=[{"sku": "T-1"}, {"sku": "T-2"}, {"sku": "U-1"}])
    for sku, amount in (("T-1", 100), ("T-2", 250)):
        client.send("ChangePrice", product_id="P-9", sku=sku, currency="EUR", amount_minor=amount)
    client.send("ChangePrice", product_id="P-9", sku="T-2", currency="USD", amount_minor=300)
    for sku, warehouse, quantity in (("T-1", "AMS1", 10), ("T-2", "AMS1", 4), ("U-1", "AMS1", 1), ("T-1", "RTM2", 7)):
        client.until(f"/v1/stock/{sku}/{warehouse}", lambda a: a[0] == 200)
        client.send("ReceiveStock", sku=sku, warehouse=warehouse, quantity=quantity)
    for quantity in (2, 3):
        client.send("ShipStock", sku="T-1", warehouse="AMS1", quantity=quantity, shipment_id="s")
    client.send("ReserveStock", reservation_id="R-2", lines=[{"sku": "T-1", "quantity": 1, "warehouse": "RTM2"},
                                                             {"sku": "T-2", "quantity": 1}])
    client.send("ReserveStock", reservation_id="R-1", owner="cart:9", lines=[{"sku": "U-1", "quantity": 1}])
    client.send("CommitReservation", reservation_id="R-1", order_id="O-1")

    stock = "/v1/warehouses/AMS1/stock"
    client.until(stock, lambda a: a[0] == 200 and [i["version"] for i in a[2]["items"]][-1:] == [4])
    for item in matches(client, stock, {"sku": "T-1", "on_hand": 5}, {"sku": "T-2", "reserved": 1}, {"sku": "U-1", "committed": 1}):
        one = client.get(f"/v1/stock/{item['sku']}/AMS1")[2]
        check(item == one and list(item) == list(one), "stock of a warehouse: the level itself", item, one)
    matches(client, stock + "?prefix=T-", {"sku": "T-1"}, {"sku": "T-2"})
    matches(client, stock + "?below=4", {"sku": "T-2"}, {"sku": "U-1"})
    matches(client, "/v1/warehouses/NONE/stock")
    for item in matches(client, "/v1/reservations", {"reservation_id": "R-1"}, {"reservation_id": "R-2"}):
        one = client.get(f"/v1/reservations/{item['reservation_id']}")[2]
        check(item == one and list(item) == list(one), "reservations: the reservation itself", item, one)
    matches(client, "/v1/reservations?state=COMMITTED", {"reservation_id": "R-1", "order_id": "O-1"})
    matches(client, "/v1/reservations?sku=T-2", {"reservation_id": "R-2", "owner": "absent"})
    matches(client, "/v1/reservations?sku=T-2&state=FAILED")
    matches(client, "/v1/categories/wood/products", {"product_id": "P-9"})
    matches(client, "/v1/categories/wood/products?status=ACTIVE")
    matches(client, "/v1/categories/~/products")
    matches(client, "/v1/metrics/movements?kind=SHIP,RECEIVE",
            {"day": today, "sku": None, "warehouse": "AMS1", "kind": "RECEIVE", "entries": 3, "on_hand_delta": 15, "on_hand_running": None},
            {"warehouse": "AMS1", "kind": "SHIP", "entries": 2, "on_hand_delta": -5}, {"warehouse": "RTM2", "on_hand_delta": 7})
    matches(client, "/v1/metrics/movements?kind=SHIP,RECEIVE&sku=T-1&warehouse=AMS1",
            {"sku": "T-1", "kind": "RECEIVE", "on_hand_delta": 10}, {"kind": "SHIP", "on_hand_delta": -5, "on_hand_running": 5})
    matches(client, "/v1/metrics/movements?kind=SHIP&from=2020-01-01T00:00:00.000Z")
    matches(client, "/v1/metrics/movements?sku=T-1&to=2020-01-01T00:00:00.000Z")
    matches(client, "/v1/reports/valuation",
            {"warehouse": "AMS1", "sku": "T-1", "product_id": "P-9", "currency": "EUR", "on_hand": 5, "amount_minor": 100, "value_minor": 500},
            {"sku": "T-2", "currency": "EUR", "value_minor": 1000}, {"sku": "T-2", "currency": "USD", "value_minor": 1200},
            {"warehouse": "RTM2", "sku": "T-1", "value_minor": 700})
    matches(client, "/v1/reports/valuation?warehouse=AMS1&currency=EUR&prefix=T-2", {"sku": "T-2", "value_minor": 1000})
    matches(client, "/v1/reports/valuation?by=warehouse",
            {"warehouse": "AMS1", "currency": "EUR", "skus": 2, "units": 9, "value_minor": 1500},
            {"currency": "USD", "value_minor": 1200}, {"warehouse": "RTM2", "value_minor": 700})
    matches(client, "/v1/reports/turnover?warehouse=AMS1",
            {"sku": "T-1", "warehouse": "AMS1", "day": today, "shipped": 5, "on_hand": 5, "shipped_30_days": 5,
             "on_hand_30_days": 5.0, "turnover_30_days": 1.0}, {"sku": "T-2", "shipped": 0}, {"sku": "U-1", "on_hand": 1})
    matches(client, "/v1/reports/turnover?sku=T-1", {"warehouse": "AMS1", "shipped": 5}, {"warehouse": "RTM2", "shipped": 0})
    matches(client, "/v1/reports/turnover?sku=T-1&to=2020-01-01T00:00:00.000Z")
    refused(client)


LISTS = ("/v1/products", "/v1/categories/c/products", "/v1/warehouses/AMS1/stock", "/v1/reservations", "/v1/metrics/movements",
         "/v1/reports/valuation", "/v1/reports/turnover")


def refused(client):
    for path in LISTS:
        status, _, problem = client.get(path, Tally_Min_Position="stock.commands/0@1")
        check(status == 400 and problem["code"] == "MIN_POSITION_UNSUPPORTED", f"{path}: positions", status, problem)
        for query, code in (("limit=0", "INVALID_PARAMETER"), ("limit=201", "INVALID_PARAMETER"), ("cursor=AAAA", "INVALID_CURSOR"),
                            ("colour=red", "INVALID_PARAMETER"), ("limit=1&limit=1", "INVALID_PARAMETER")):
            status, _, problem = client.get(f"{path}?{query}")
            check(status == 400 and problem["code"] == code, f"{path}?{query}", status, problem)
        head = client.ask("HEAD", path)
        check(head[0] == 200 and head[1]["Content-Length"] == client.get(path)[1]["Content-Length"], f"{path}: HEAD", head)
        check(client.ask("POST", path, b"")[1]["Allow"] == "GET, HEAD", f"{path}: Allow")
    for query in ("warehouses/AMS1/stock?below=x", "warehouses/AMS1/stock?prefix=-", "reservations?state=OPEN", "reservations?sku=",
                  "metrics/movements?kind=MOVE", "metrics/movements?from=2026-01-15", "metrics/movements?warehouse=a,b",
                  "metrics/movements?from=2026-01-01T00:00:00.000Z&to=2026-05-01T00:00:00.000Z", "reports/valuation?by=day",
                  "reports/valuation?currency=XYZ", "reports/turnover?to=now"):
        status, _, problem = client.get("/v1/" + query)
        check(status == 400 and problem["code"] == "INVALID_PARAMETER", query, status, problem)
    cursor = client.get("/v1/warehouses/AMS1/stock?limit=1")[2]["next_cursor"]
    for path in ("warehouses/RTM2/stock?", "warehouses/AMS1/stock?below=9&", "reservations?"):
        status, _, problem = client.get(f"/v1/{path}cursor={cursor}")
        check(status == 400 and problem["code"] == "INVALID_CURSOR", f"a cursor of another list: {path}", status, problem)


def unready(client):
    """The tables are not made yet: the search says what to do, all else goes on."""
    for path in LISTS:
        status, headers, problem = client.get(path)
        check(status == 503 and problem["code"] == "POSTGRES_UNAVAILABLE" and "tally sink migrate" in problem["detail"]
              and headers["Retry-After"] == "1", f"{path}: no tables", status, problem)


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
            "topologies": ["catalogue", "stock", "reservation"], "topics.partitions": 2, "redis.url": f"redis://{os.environ['TEST_REDIS']}",
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
            lists(client)
        finally:
            instance.end()
            psql(f"DROP DATABASE {name} WITH (FORCE)")
    failed = results.count(False)
    print(f"{100 * (len(results) - failed) // max(len(results), 1)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
