#!/usr/bin/env python3
"""Three instances of one group: every read through every one of them gives the owner's answer; a request goes on
once; one that dies. TEST_KAFKA, TEST_REDIS: servers; TEST_TALLY: the program."""
import contextlib
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

PARTITIONS = 6
TOPOLOGIES = ["catalogue", "stock", "reservation", "transfer", "low_stock"]
PATIENCE_S = 60
DATABASE = 9  # of Redis
SESSION_S = 16  # the shortest that the settings allow
QUOTA = 1000000
SKUS = [f"SKU-{number}" for number in range(24)]
results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_forward: {name}: {' '.join(map(str, facts))}", flush=True)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self):
        return json.loads(self.body) if self.body else None

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:400]!r}"


def ask(instance, method, path, body=None, **headers):
    connection = http.client.HTTPConnection(instance.address, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def get(instance, path, **headers):
    return ask(instance, "GET", path, **headers)


def send(instance, kind, key=None, **fields):
    return ask(instance, "POST", f"/v1/commands/{kind}", json.dumps(fields), Content_Type="application/json",
               Idempotency_Key=key or str(uuid.uuid4()), Prefer="wait=30")


def accepted(instance, kind, key=None, **fields):
    answer = send(instance, kind, key, **fields)
    check(answer.status == 200 and answer.json()["status"] == "ACCEPTED", kind, answer)
    return answer


def until(name, condition, instance=None, limit=PATIENCE_S):
    """What the condition gave last."""
    end = time.monotonic() + limit
    while not (held := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    check(held, name, instance.log_tail() if instance else "")
    return held


def running(instance):
    """(topology, partition) of its running tasks."""
    answer = instance.get("/v1/ops/tasks")
    rows = json.loads(answer[1])["items"] if answer and answer[0] == 200 else []
    return {(row["topology"], row["partition"]) for row in rows if row["state"] == "RUNNING"}


def redis(*command):
    host, port = os.environ["TEST_REDIS"].split(":")
    return subprocess.run(["redis-cli", "-h", host, "-p", port, "-n", str(DATABASE), *command], capture_output=True, text=True,
                          check=True).stdout.strip()


def start(folder):
    redis("FLUSHDB")  # of this test alone
    name = "forward-" + uuid.uuid4().hex[:8]
    instances = [Instance(os.environ["TEST_TALLY"], os.path.join(folder, one), os.environ["TEST_KAFKA"], name, {
        "topologies": TOPOLOGIES, "topics.partitions": PARTITIONS, "stock.require_registration": True, "engine.threads": 1,
        "engine.session.timeout": f"{SESSION_S}s", "engine.transaction.timeout": "1s", "http.cursor.key": "of all three",
        "http.limit.read": QUOTA, "http.limit.window": "1h",
        "redis.url": f"redis://{os.environ['TEST_REDIS']}/{DATABASE}"}, instance_id=one) for one in "abc"]
    instances[0].tool("topics", "create")
    for instance in instances:
        instance.start()
    wanted = {(topology, partition) for topology in TOPOLOGIES for partition in range(PARTITIONS)}
    until("each has its part", lambda: all(len(running(i)) >= len(TOPOLOGIES) for i in instances)
          and set.union(*map(running, instances)) == wanted, instances[0])
    return instances


def fill(instances):
    """A world, of commands through all of them."""
    def turn(number):
        return instances[number % len(instances)]
    for warehouse in ("AMS1", "BER1"):
        accepted(instances[0], "RegisterWarehouse", warehouse=warehouse, name=warehouse)
    for number, sku in enumerate(SKUS):
        accepted(turn(number), "RegisterSku", sku=sku)
    for number, sku in enumerate(SKUS):
        until("the warehouse is known everywhere", lambda: get(instances[0], f"/v1/stock/{sku}/BER1").status == 200)
        accepted(turn(number + 1), "ReceiveStock", f"c-{sku}", sku=sku, warehouse="AMS1", quantity=number + 1)
    for number in range(6):
        accepted(turn(number), "CreateProduct", product_id=f"P-{number}", slug=f"shirt-{number}", name="Shirt",
                 variants=[{"sku": f"PS-{number}"}])
        accepted(turn(number), "ReserveStock", f"r-{number}", reservation_id=f"R-{number}", owner="cart",
                 lines=[{"sku": SKUS[-1 - number], "quantity": 2}])


def same(instances, path, status, **headers):
    """One status, body and entity tag, whoever is asked."""
    answers = [get(instance, path, **headers) for instance in instances]
    first = answers[0]
    check(all((a.status, a.body, a.headers["ETag"]) == (status, first.body, first.headers["ETag"]) for a in answers),
          f"the same through every instance: {path}", *answers)
    for answer in answers:
        if status == 200:
            check(answer.headers["Tally-Source"] and answer.headers["Tally-As-Of"] and answer.headers["Tally-Lag-Ms"],
                  f"how old it is: {path}", answer)
    return answers


def single(instances):
    """What one task answers."""
    for sku in SKUS:
        answers = same(instances, f"/v1/stock/{sku}", 200)
        for instance in instances:
            check(get(instance, f"/v1/stock/{sku}", If_None_Match=answers[0].headers["ETag"]).status == 304, "not modified")
        same(instances, f"/v1/stock/{sku}/AMS1", 200)
        same(instances, f"/v1/stock/{sku}/ledger?warehouse=AMS1&kind=RECEIVE", 200)
        same(instances, f"/v1/stock/{sku}/AMS1/explain?bucket=on_hand", 200, Prefer="wait=30")
    for number in range(6):
        same(instances, f"/v1/reservations/R-{number}", 200)
        same(instances, f"/v1/products/by-id/P-{number}", 200)
        same(instances, f"/v1/products/by-id/P-{number}?currency=EUR", 200)
        same(instances, f"/v1/reservations/NONE-{number}", 404)
        same(instances, f"/v1/stock/NONE-{number}", 404)
        same(instances, f"/v1/stock/{SKUS[number]}/ledger", 400)
    for instance in instances:
        head = ask(instance, "HEAD", f"/v1/stock/{SKUS[0]}")
        check(head.status == 200 and head.body == b"" and int(head.headers["Content-Length"]) > 100, "HEAD", head)


def many(instances):
    """What is put together from several tasks."""
    for number in range(6):
        same(instances, f"/v1/products/shirt-{number}", 200)
        same(instances, f"/v1/products/none-{number}", 404)
    same(instances, "/v1/warehouses", 200)
    for sku in SKUS[:6]:
        outcomes = same(instances, f"/v1/commands/c-{sku}", 200)
        check(outcomes[0].json()["status"] == "ACCEPTED", "an outcome without at", outcomes[0])
    same(instances, "/v1/commands/c-none", 404)
    question = json.dumps({"skus": [*SKUS, "NONE", "-"], "warehouses": ["AMS1"]})
    answers = [ask(instance, "POST", "/v1/availability:batch", question, Content_Type="application/json")
               for instance in instances]
    items = answers[0].json()["items"]
    check(all(a.status == 200 and a.body == answers[0].body for a in answers) and len(items) == len(SKUS) + 2
          and items[0]["levels"] == [{"warehouse": "AMS1", "available": 1, "backorderable": False}]
          and items[-2]["code"] == "UNKNOWN_SKU", "availability", *answers)
    check(len(answers[0].headers["Tally-Position"].split(",")) == PARTITIONS, "of all partitions", answers[0])


def low_stock(instances):
    """One list of all tasks, by pages that any instance continues."""
    for number, sku in enumerate(SKUS):
        accepted(instances[number % 3], "ConfigureStock", sku=sku, warehouse="AMS1", low_stock_threshold=100)
    until("the projection has them", lambda: len(get(instances[0], "/v1/stock:low?limit=200").json()["items"]) == len(SKUS))
    whole = same(instances, "/v1/stock:low?limit=200&warehouse=AMS1", 200)[0].json()["items"]
    for query in ("", "&warehouse=AMS1", "&severity=LOW,OUT"):
        paged, cursor, turn = [], "", 0
        while cursor is not None and turn < 20:
            page = get(instances[turn % 3], f"/v1/stock:low?limit=5{query}{cursor and '&cursor=' + cursor}").json()
            paged += page["items"]
            cursor, turn = page["next_cursor"], turn + 1
        check(paged == whole, f"pages from instance to instance{query}", len(paged), len(whole))


GRAPHQL = """{ stocks(skus: %s) { sku available version levels { warehouse ledger(first: 2) { nodes { seq kind } } } }
  a: product(slug: "shirt-1") { id variants { sku stock { available } } } b: product(id: "P-2") { slug }
  reservation(id: "R-3") { state lines { sku } } lowStock(first: 7) { nodes { sku available } pageInfo { endCursor } }
  command(id: "c-SKU-4") { ... on Accepted { version } } }"""


def graphql(instances):
    question = json.dumps({"query": GRAPHQL % json.dumps(SKUS[:12])})
    answers = [ask(instance, "POST", "/graphql", question, Content_Type="application/json", Accept="application/json").json()
               for instance in instances]
    check(all("errors" not in a and a["data"] == answers[0]["data"] for a in answers)
          and answers[0]["data"]["a"]["id"] == "Product:P-1" and answers[0]["data"]["reservation"]["state"] == "CONFIRMED",
          "GraphQL", *answers)
    check(len({a["extensions"]["reads"] for a in answers}) == 1, "GraphQL: no read more than at the owner's", *answers)
    before = [i.metric('tally_http_forwards_total{result="answered"}') for i in instances]
    ask(instances[0], "POST", "/graphql", question, Content_Type="application/json", Accept="application/json")
    forwards = instances[0].metric('tally_http_forwards_total{result="answered"}') - before[0]
    check(forwards <= 2 * 6, "GraphQL: one request for each instance and level", forwards)


def outcomes(instances):
    """Who waits for what was written through another instance than the owner's."""
    for instance in instances:
        for number in range(4):
            fields = {"sku": SKUS[number], "warehouse": "AMS1", "quantity": 1}
            key = str(uuid.uuid4())
            accepted(instance, "ReceiveStock", key, **fields)
            again = send(instance, "ReceiveStock", key, **fields)
            check(again.status == 200 and again.json()["duplicate"] and again.headers["Idempotent-Replayed"] == "true",
                  "a repeat", again)
            other = send(instance, "ReceiveStock", key, **{**fields, "quantity": 2})
            check(other.status == 422 and other.json()["code"] == "IDEMPOTENCY_KEY_REUSED", "a key used twice", other)
            refused = send(instance, "ShipStock", sku=SKUS[number], warehouse="AMS1", quantity=9999, shipment_id="S")
            check(refused.status == 409 and refused.json()["code"] == "INSUFFICIENT_STOCK", "a refusal", refused)
        items = [{"type": "ReceiveStock", "command_id": str(uuid.uuid4()), "sku": sku, "warehouse": "AMS1", "quantity": 1}
                 for sku in SKUS]
        answer = ask(instance, "POST", "/v1/commands:batch", json.dumps({"commands": items}), Prefer="wait=20",
                     Content_Type="application/json")
        check(answer.status == 200 and [item["status"] for item in answer.json()["items"]] == ["ACCEPTED"] * len(SKUS)
              and [item["key"] for item in answer.json()["items"]] == SKUS, "a batch of all owners", answer)


def loop_guard(instances):
    """An instance that is believed to be the owner says that it is not."""
    owners = 0
    for instance in instances:
        answer = get(instance, f"/v1/stock/{SKUS[0]}", Tally_Forwarded="1")
        owners += answer.status == 200
        check(answer.status == 200 or (answer.status == 421 and answer.json()["code"] == "NOT_OWNER"
                                       and answer.headers["Retry-After"] == "1"), "a request that was forwarded", answer)
    check(owners == 1, "one owns it", owners)


def positions(instances):
    """Tally-Min-Position is waited for at the owner."""
    for number, sku in enumerate(SKUS[:6]):
        at = accepted(instances[number % 3], "ReceiveStock", sku=sku, warehouse="BER1", quantity=1).headers["Tally-Position"]
        topic, _, offset = at.partition("@")
        for instance in instances:
            answer = get(instance, f"/v1/stock/{sku}/BER1", Tally_Min_Position=at, Prefer="wait=20")
            check(answer.status == 200 and answer.json()["on_hand"] == 1 and answer.headers["Tally-Source"] == "rocksdb"
                  and answer.headers["Preference-Applied"] == "wait=20", "a position at the owner", answer)
        answer = get(instances[number % 3], f"/v1/stock/{sku}", Tally_Min_Position=f"{topic}@{int(offset) + 1000000}")
        check(answer.status == 503 and answer.json()["code"] == "POSITION_NOT_REACHED", "one that is not reached", answer)


def left_of(answer):
    return int(answer.headers["RateLimit"].partition(";r=")[2].partition(";")[0])


def limits(instances):
    """A request counts once, wherever it is answered; who only says that it was forwarded counts too."""
    left = left_of(get(instances[0], "/v1/warehouses"))
    for instance in instances:
        for sku in SKUS:
            answer = get(instance, f"/v1/stock/{sku}")
            left -= 1
            check(left_of(answer) == left and answer.headers["RateLimit-Policy"] == f'"read";q={QUOTA};w=3600', "a read counts once", answer)
        answer = ask(instance, "POST", "/v1/availability:batch", json.dumps({"skus": SKUS}), Content_Type="application/json")
        left -= 1
        check(answer.status == 200 and left_of(answer) == left, "reads of many tasks count once", answer)
    mark = get(instances[0], "/v1/stock:low?limit=1").json()["next_cursor"]
    left -= 1
    for fields in ({"Tally_Forwarded": "1"}, {"Tally_Forwarded": "1", "X_Forwarded_For": "127.0.0.1", "Tally_Forwarded_Mark": mark},
                   {"Tally_Forwarded_Mark": "MQ"}, {"Tally_Forwarded_Mark": "A" * 2000}):
        answer = get(instances[0], f"/v1/stock/{SKUS[0]}", **fields)
        left -= 1
        check(left_of(answer) == left and answer.status in (200, 421), "who says that it was forwarded counts", fields, answer)


def redis_version(sku):
    text = redis("HGET", redis("KEYS", f"*:level:{sku}") or "none", "AMS1")
    return json.loads(text)["version"] if text else None


STALE = """{ stocks(skus: %s) { sku version available product { id } levels { warehouse version lowStockThreshold updatedAt
    quantities { name quantity } } }
  one: stock(sku: %s, warehouses: ["AMS1", "NONE"]) { levels { warehouse quantities(names: [AVAILABLE]) { quantity } } } %s }"""
PRODUCT = """ p%d: product(id: "P-%d") { id slug name version variants { sku stock { available } } }
  s%d: product(slug: "shirt-%d") { id }"""


def stale_questions(skus):
    """What is asked of several tasks: a path and a body each."""
    products = " ".join(PRODUCT % ((number,) * 4) for number in range(3))
    return [("/v1/availability:batch", {"skus": skus}), ("/v1/availability:batch", {"skus": skus, "warehouses": ["BER1", "AMS1"]}),
            ("/graphql", {"query": STALE % (json.dumps(skus), json.dumps(skus[0]), products)})]


def together(instance, path, body, **headers):
    return ask(instance, "POST", path, json.dumps(body), Content_Type="application/json", Accept="application/json", **headers)


def told(answer):
    """Without what a request has cost."""
    document = answer.json()
    return {name: document[name] for name in ("items", "data", "errors") if name in document}


def stale(left, before):
    """Together, from Redis, which says so."""
    for instance in left:
        for (path, body), wanted in before:
            answer = together(instance, path, body)
            check(answer.status == 200 and told(answer) == told(wanted) and "errors" not in answer.json()
                  and answer.headers["Tally-Source"] == "redis" and answer.headers["Tally-As-Of"]
                  and answer.headers["Tally-Lag-Ms"].isdigit() and "stock.commands/" in answer.headers["Tally-Position"],
                  f"{path} while an owner is dead", wanted, answer)
            answer = together(instance, path, body, Tally_Min_Position="none/0@1")
            check(answer.status == 503 and answer.json()["code"] == "NOT_OWNER" if path != "/graphql"
                  else {error["extensions"]["code"] for error in answer.json()["errors"]} == {"NOT_OWNER"},
                  f"{path} at a position while an owner is dead", answer)
    skus = before[0][0][1]["skus"]
    known = before[0][1].json()["items"]
    for instance in left:  # what Redis does not know, only an older state may, or nobody
        answer = together(instance, "/v1/availability:batch", {"skus": [*skus, *(f"NONE-{number}" for number in range(9))]})
        check(answer.status == 200 and answer.json()["items"][:len(skus)] == known and answer.headers["Tally-Source"] == "redis"
              or answer.status == 503 and answer.json()["code"] == "NOT_OWNER", "with some that nobody has heard of", answer)


def death(instances):
    """One is killed: until its session is over stock comes from Redis, then from who took over."""
    dead, *left = instances
    partitions = {p for topology, p in running(dead) if topology == "stock"}
    skus = [sku for sku in SKUS if int(get(dead, f"/v1/stock/{sku}").headers["Tally-Position"].partition("/")[2].partition("@")[0])
            in partitions]
    before = {sku: get(dead, f"/v1/stock/{sku}") for sku in skus}
    for sku in skus:
        until("Redis is not behind", lambda: redis_version(sku) == before[sku].json()["levels"][0]["version"])
    before_all = [(question, together(left[0], *question)) for question in stale_questions(skus)]
    dead.kill()
    stale(left, before_all)
    for sku in skus:
        for instance in left:
            answer = get(instance, f"/v1/stock/{sku}")
            check(answer.status == 200 and answer.body == before[sku].body and answer.headers["ETag"] == before[sku].headers["ETag"]
                  and answer.headers["Tally-Source"] in ("redis", "rocksdb") and answer.headers["Tally-As-Of"],
                  "stock while its owner is dead", before[sku], answer)
            level = get(instance, f"/v1/stock/{sku}/AMS1")
            check(level.status == 200 and level.json()["sku"] == sku, "a level while its owner is dead", level)
            at = before[sku].headers["Tally-Position"]
            answer = get(instance, f"/v1/stock/{sku}", Tally_Min_Position=at)
            check(answer.status == 503 and answer.headers["Retry-After"] == "1", "a position while its owner is dead", answer)
    until("others take over", lambda: all(get(i, f"/v1/stock/{sku}", Tally_Min_Position=before[sku].headers["Tally-Position"])
                                          .status == 200 for i in left for sku in skus), left[0])
    for sku in skus:
        answer = same(left, f"/v1/stock/{sku}", 200)[0]
        check(answer.body == before[sku].body and answer.headers["Tally-Source"] == "rocksdb", "who took over has it", answer)
    same(left, "/v1/stock:low?limit=200", 200)


def metrics(instances):
    for instance in instances:
        answered = instance.metric('tally_http_forwards_total{result="answered"}')
        seconds = instance.metric("tally_http_forward_seconds_count")
        check(answered and answered > 10 and seconds >= answered, "metrics", answered, seconds)


def main():
    if any(name not in os.environ for name in ("TEST_KAFKA", "TEST_TALLY", "TEST_REDIS")):
        print("100%: Checks: 0, Failures: 0, Errors: 0")
        return 0
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        instances = start(folder)
        for instance in instances:
            stack.callback(instance.end)
        fill(instances)
        single(instances)
        many(instances)
        outcomes(instances)
        low_stock(instances)
        graphql(instances)
        loop_guard(instances)
        positions(instances)
        limits(instances)
        metrics(instances)
        death(instances)
        for instance in instances[1:]:
            check(instance.process.poll() is None, "it goes on", instance.log_tail())
    failed = results.count(False)
    print(f"{100 * (len(results) - failed) // max(len(results), 1)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
