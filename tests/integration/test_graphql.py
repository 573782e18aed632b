#!/usr/bin/env python3
"""GraphQL of a real instance on a real broker: answers, pages, mutations, statuses, how many reads a query
takes; then the audit of GraphQL over HTTP and the comparison with npm `graphql` (tests/contract), and every
example of docs/graphql.md. TEST_KAFKA: host:port; TEST_TALLY: the program."""
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

import graphql_hostile
import graphql_socket

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTRACT = ROOT / "tests/contract"
PATIENCE_S = 60
PARTITIONS = 3
GRAPHQL = "application/graphql-response+json"
results = []
base = ""


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_graphql: {name}: {' '.join(map(str, facts))}", flush=True)


def ask(method, path, body=None, **headers):
    """Status, headers and document of an answer."""
    asked = urllib.request.Request(base + path, body, method=method, headers={
        name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
            status, fields, text = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        status, fields, text = error.code, error.headers, error.read()
    return status, fields, json.loads(text or b"null")


def graphql(query, variables=None, **headers):
    body = json.dumps({"query": query, "variables": variables}).encode()
    return ask("POST", "/graphql", body, **{"Content_Type": "application/json", "Accept": GRAPHQL, **headers})


def data(query, variables=None):
    status, _, answer = graphql(query, variables)
    check(status == 200 and "errors" not in answer, query, status, answer)
    return answer.get("data") or {}


def send(kind, key=None, **fields):
    status, _, answer = ask("POST", f"/v1/commands/{kind}", json.dumps(fields).encode(), Content_Type="application/json",
                            Idempotency_Key=key or str(uuid.uuid4()), Prefer="wait=30")
    return status, answer


def accepted(kind, key=None, **fields):
    status, answer = send(kind, key, **fields)
    check(status == 200 and answer["status"] == "ACCEPTED", kind, status, answer)
    return answer


# --- the world ----------------------------------------------------------------------------------------------------

def fill():
    """Two warehouses, a product of two variants, forty SKUs more, a reservation, a refusal."""
    for warehouse in ("AMS1", "BER1"):
        accepted("RegisterWarehouse", warehouse=warehouse, name=warehouse)
    accepted("CreateProduct", product_id="P-100", slug="red-shirt", name="Shirt \"é\" 🏃", description="Red", media=["a.jpg"],
             category_ids=["shirts"], attributes={"fit": "slim", "deep": {"list": [1, None, True]}},
             variants=[{"sku": "TS-RED-M", "options": {"size": "M"}}, {"sku": "TS-RED-L", "options": {"size": "L"}}])
    accepted("ChangePrice", product_id="P-100", sku="TS-RED-M", currency="EUR", amount_minor=1999)
    for sku in ["TS-RED-L"] + [f"SKU-{number}" for number in range(40)]:
        if sku.startswith("SKU"):
            accepted("RegisterSku", sku=sku)
        accepted("ReceiveStock", sku=sku, warehouse="AMS1", quantity=5)
    for quantity in (3, 4, 30):
        accepted("ReceiveStock", sku="TS-RED-M", warehouse="AMS1", quantity=quantity, reference=f"PO-{quantity}", note="n")
    accepted("ReceiveStock", sku="TS-RED-M", warehouse="BER1", quantity=2)
    accepted("ConfigureStock", sku="TS-RED-M", warehouse="BER1", low_stock_threshold=10, safety_stock=1)
    accepted("ShipStock", sku="TS-RED-M", warehouse="AMS1", quantity=2, shipment_id="S-1")
    accepted("ReserveStock", "c-reserve", reservation_id="R-77", owner="cart-1", lines=[{"sku": "TS-RED-M", "quantity": 6}])
    status, answer = send("ShipStock", "c-refused", sku="TS-RED-M", warehouse="BER1", quantity=99, shipment_id="S-2")
    check(status == 409 and answer["code"] == "INSUFFICIENT_STOCK", "a refusal", status, answer)
    end = time.monotonic() + PATIENCE_S  # low_stock follows by itself
    while not data("{ lowStock(first: 9) { nodes { sku } } }")["lowStock"]["nodes"] and time.monotonic() < end:
        time.sleep(0.1)


def answers():
    stock = data('{ stock(sku: "TS-RED-M") { id available version position lagMs product { slug } levels { warehouse '
                 'quantities(names: [AVAILABLE, ON_HAND]) { name quantity } lowStockThreshold } } }')["stock"]
    check(stock["id"] == "Stock:TS-RED-M" and stock["product"] == {"slug": "red-shirt"}, "a SKU", stock)
    check(stock["available"] == 35 - 6 + 1 and [level["warehouse"] for level in stock["levels"]] == ["AMS1", "BER1"],
          "its levels", stock)
    check(stock["levels"][1]["quantities"] == [{"name": "ON_HAND", "quantity": 2}, {"name": "AVAILABLE", "quantity": 1}]
          and stock["levels"][1]["lowStockThreshold"] == 10, "quantities", stock)
    check(re.fullmatch(r".*stock\.commands/\d@\d+", stock["position"]) and stock["lagMs"] >= 0, "its position", stock)
    low = data('{ lowStock(first: 1) { nodes { sku warehouse severity available } } }')["lowStock"]["nodes"]
    check(low == [{"sku": "TS-RED-M", "warehouse": "BER1", "severity": "LOW", "available": 1}], "low stock", low)
    _, headers, _ = graphql('{ stock(sku: "TS-RED-M") { id } }')
    check(headers["Tally-Source"] == "rocksdb" and "/" in headers["Tally-Position"], "what an answer is of", headers)
    status, _, answer = graphql('{ products(first: 1) { nodes { id } } stock(sku: "TS-RED-M") { sku } }')
    check(status == 200 and answer["data"] is None and answer["errors"][0]["path"] == ["products"]
          and answer["errors"][0]["extensions"]["code"] == "POSTGRES_UNAVAILABLE", "no search", answer)


def pages():
    query = """query ($after: String, $kinds: [String!]) { stock(sku: "TS-RED-M", warehouses: ["AMS1"]) { levels {
        ledger(first: 2, after: $after, kinds: $kinds) { nodes { seq kind } pageInfo { hasNextPage endCursor } } } } }"""
    for kinds in (None, ["RECEIVE"]):
        seen, after = [], None
        for _ in range(9):
            page = data(query, {"after": after, "kinds": kinds})["stock"]["levels"][0]["ledger"]
            seen += page["nodes"]
            after = page["pageInfo"]["endCursor"]
            check(page["pageInfo"]["hasNextPage"] == (after is not None), "a page says whether there are more", page)
            if after is None:
                break
        wanted = [entry["seq"] for entry in seen]
        check(wanted == sorted(wanted, reverse=True) and len(set(wanted)) == (3 if kinds else len(seen)), "pages", seen)
    first = data(query, {})["stock"]["levels"][0]["ledger"]["pageInfo"]["endCursor"]
    for after, kinds in (("x", None), (first, ["SHIP"])):
        _, _, answer = graphql(query, {"after": after, "kinds": kinds})
        check(answer["errors"][0]["extensions"]["code"] == "INVALID_CURSOR", "a cursor of another list", answer)


def submit(kind, key, fields, **more):
    return data("mutation ($t: String!, $c: ID!, $f: JSON!, $w: Int) { submit(type: $t, commandId: $c, fields: $f, waitMs: "
                "$w) { __typename ... on Accepted { commandId version position duplicate result } ... on Rejected { "
                "commandId code retryable detail errors duplicate } ... on Pending { commandId position } } }",
                {"t": kind, "c": key, "f": fields, "w": more.get("wait", 30000)}).get("submit", {})


def mutations():
    receive = {"sku": "SKU-1", "warehouse": "AMS1", "quantity": 2}
    done = submit("ReceiveStock", "g-1", receive)
    check(done["__typename"] == "Accepted" and done["result"]["after"]["on_hand"] == 7 and not done["duplicate"], "accepted", done)
    again = submit("ReceiveStock", "g-1", receive)
    check(again == {**done, "duplicate": True}, "a repeat changes nothing", again)
    other = submit("ReceiveStock", "g-1", {**receive, "quantity": 3})
    check(other["__typename"] == "Rejected" and other["code"] == "IDEMPOTENCY_KEY_REUSED", "the id of another", other)
    refused = submit("ShipStock", "g-2", {**receive, "quantity": 99, "shipment_id": "S-9"})
    check(refused["__typename"] == "Rejected" and refused["code"] == "INSUFFICIENT_STOCK" and refused["commandId"] == "g-2"
          and refused["errors"][0]["pointer"] == "/quantity", "refused", refused)
    bad = submit("ReceiveStock", "g-3", {"warehouse": "AMS1", "quantity": 1})
    check(bad["__typename"] == "Rejected" and bad["code"] == "VALIDATION_FAILED", "without its key", bad)
    later = submit("ReceiveStock", "g-4", receive, wait=0)
    check(later["__typename"] == "Pending" and "@" in later["position"], "nobody waits", later)
    both = data('mutation { a: submit(type: "ReceiveStock", commandId: "g-5", fields: {sku: "SKU-2", warehouse: "AMS1", '
                'quantity: 1}) { ... on Accepted { version } } b: submit(type: "ReceiveStock", commandId: "g-6", fields: '
                '{sku: "SKU-2", warehouse: "AMS1", quantity: 1}) { ... on Accepted { version } } }')
    check(both["b"]["version"] == both["a"]["version"] + 1, "one after the other", both)
    for kind, key, fields, code in (("Nothing", "g-7", {}, None), ("ReceiveStock", "not an id", {}, "INVALID_PARAMETER"),
                                    ("ReceiveStock", "g-8", [1], "INVALID_PARAMETER")):
        status, _, answer = graphql("mutation ($t: String!, $c: ID!, $f: JSON!) { submit(type: $t, commandId: $c, fields: $f) "
                                    "{ __typename ... on Rejected { code } } }", {"t": kind, "c": key, "f": fields})
        if code:
            check(status == 200 and answer["errors"][0]["extensions"]["code"] == code, f"submit {kind} {key}", answer)
        else:
            check(answer["data"]["submit"] == {"__typename": "Rejected", "code": "UNKNOWN_COMMAND"}, "no such command", answer)


def reads():
    """What one level of a query reads is read at once: the number of reads is that of tasks, not of SKUs."""
    def count(skus):
        _, _, answer = graphql("query ($skus: [ID!]!) { stocks(skus: $skus) { available levels { warehouse quantities { "
                               "quantity } } product { id } } }", {"skus": skus})
        check(len(answer["data"]["stocks"]) == len(skus) and all(answer["data"]["stocks"]), "all are there", answer)
        return answer["extensions"]["reads"]
    few, many = count(["SKU-0", "SKU-1", "SKU-2", "SKU-3"]), count([f"SKU-{number}" for number in range(40)])
    check(many <= 3 * PARTITIONS and few <= many, "reads do not grow with what is asked for", few, many)
    _, _, answer = graphql('{ product(id: "P-100") { variants { stock { levels { version } product { variants { stock { '
                           'levels { version } } } } } } } }')
    check(answer["extensions"]["reads"] <= 1 + 3 * 2 and answer["extensions"]["cost"] == 8, "nor is anything read twice",
          answer["extensions"])


def statuses():
    def status_of(method, path, body=None, **headers):
        return ask(method, path, body, **headers)[0]
    json_type = {"Content_Type": "application/json"}
    good = json.dumps({"query": "{ __typename }"}).encode()
    check(status_of("POST", "/graphql", good, **json_type) == 200, "a POST")
    status, headers, _ = ask("POST", "/graphql", good, **json_type)
    check(headers["Content-Type"] == GRAPHQL + "; charset=utf-8", "the type where none is asked for", headers)
    status, headers, _ = ask("POST", "/graphql", b'{"query":"{"}', Accept="application/json", **json_type)
    check(status == 200 and headers["Content-Type"] == "application/json; charset=utf-8", "refused, in JSON", status, headers)
    check(status_of("POST", "/graphql", b'{"query":"{"}', Accept=GRAPHQL, **json_type) == 400, "refused")
    for body in (b"", b"[]", b'[{"query":"{ __typename }"}]', b"{", b'{"query":1}', b'{"query":"{ __typename }","variables":[]}',
                 b'{"query":"{ __typename }","query":"{ __typename }"}', b'{"query":"\xff"}', b'{"a":' * 40):
        status, headers, answer = ask("POST", "/graphql", body, **json_type)
        check(status == 400 and headers["Content-Type"] == "application/problem+json", f"{body!r}", status, answer)
    check(status_of("POST", "/graphql", good, Content_Type="text/plain") == 415, "another type")
    check(status_of("POST", "/graphql", good, Accept="text/html", **json_type) == 406, "another type of answer")
    check(status_of("PUT", "/graphql", good, **json_type) == 405, "another method")
    def query(text, **more):
        return "/graphql?" + urllib.parse.urlencode({"query": text, **more})
    check(status_of("GET", "/graphql") == 400, "a GET without a query")
    status, _, answer = ask("GET", query("query Q($n: String!) { __type(name: $n) { name } }", operationName="Q",
                                         variables='{"n":"Stock"}'))
    check(status == 200 and answer["data"] == {"__type": {"name": "Stock"}}, "a GET", status, answer)
    status, headers, answer = ask("GET", query('mutation { submit(type: "T", commandId: "c", fields: {}) { __typename } }'))
    check(status == 405 and headers["Allow"] == "POST", "a mutation by GET", status, answer)
    check(status_of("GET", query("{ __typename }", colour="red")) == 400, "an unknown parameter")
    status, _, answer = graphql('{ stock(sku: "TS-RED-M") { id } }', Tally_Min_Position="x")
    check(status == 400 and answer["code"] == "INVALID_PARAMETER", "a position that is none", status, answer)
    tasks = ask("GET", "/v1/ops/tasks")[2]["items"]
    topic = next(task["position"] for task in tasks if task["topology"] == "stock").partition("/")[0]
    far = ",".join(f"{topic}/{partition}@1000000000" for partition in range(PARTITIONS))
    status, _, answer = graphql('{ stock(sku: "TS-RED-M") { id } }', Tally_Min_Position=far)
    check(status == 200 and answer["data"] == {"stock": None}
          and answer["errors"][0]["extensions"]["code"] == "POSITION_NOT_REACHED", "a position out of reach", answer)


def hostile():
    """Each is refused with a code, and nothing of it is executed."""
    for name, document, variables in graphql_hostile.DOCUMENTS:
        status, _, answer = graphql(document, variables)
        errors = answer.get("errors") or [answer]
        check(status in (400, 405) and "data" not in answer
              and all(error.get("code") or error["extensions"]["code"] for error in errors), name, status, str(answer)[:300])
    check(len(graphql_hostile.DOCUMENTS) >= 60, "enough is hostile", len(graphql_hostile.DOCUMENTS))
    check(data("{ __typename }") == {"__typename": "Query"}, "it still answers")


def examples():
    """Every query of docs/graphql.md, and its answer where one stands below it."""
    text = (ROOT / "docs/graphql.md").read_text()
    blocks = re.findall(r"```(graphql|json)\n(.*?)```", text, re.S)
    count = 0
    for at, (kind, block) in enumerate(blocks):
        if kind != "graphql" or block.lstrip().startswith(("type ", "scalar ", "#")):
            continue
        answer = data(block)
        count += 1
        if at + 1 < len(blocks) and blocks[at + 1][0] == "json":
            wanted = json.loads(blocks[at + 1][1])["data"]
            check(answer == wanted, f"docs/graphql.md: {block}", answer)
    check(count >= 6, "the examples of docs/graphql.md", count)


def sockets():
    graphql_socket.run(int(base.rpartition(":")[2]), check)


def subscriptions():
    """The rest of docs/graphql.md, right behind what its examples have left."""
    position = ask("GET", "/v1/ops/tasks")[2]["items"][0]["position"]
    graphql_socket.examples(int(base.rpartition(":")[2]), check, position.split(".")[0] + ".", accepted)


# --- npm ------------------------------------------------------------------------------------------------------------

def packages():
    """The folder of the contract with its packages, in the cache."""
    lock = (CONTRACT / "package-lock.json").read_bytes()
    cache = pathlib.Path(os.environ.get("TALLY_CACHE") or pathlib.Path.home() / ".cache/tally")
    folder = cache / ("contract-" + hashlib.sha256(lock).hexdigest()[:16])
    if not (folder / "node_modules/.package-lock.json").exists():
        fresh = pathlib.Path(tempfile.mkdtemp(dir=cache.mkdir(parents=True, exist_ok=True) or cache))
        for name in ("package.json", "package-lock.json"):
            shutil.copy(CONTRACT / name, fresh)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=fresh, check=True,
                       stdout=subprocess.DEVNULL)
        try:
            fresh.rename(folder)
        except OSError:
            shutil.rmtree(fresh)  # somebody else was faster
    return folder


def contract():
    if not shutil.which("npm"):
        check(False, "npm is not there")
        return
    names = {"sku": "TS-RED-M", "other": "SKU-3", "warehouse": "AMS1", "product": "P-100", "slug": "red-shirt",
             "reservation": "R-77", "command": "c-reserve", "refused": "c-refused"}
    with tempfile.TemporaryDirectory() as text:
        folder = pathlib.Path(text)
        (folder / "node_modules").symlink_to(packages() / "node_modules")
        for script in CONTRACT.glob("*.mjs"):
            shutil.copy(script, folder)
        for script, *more in (("audit.mjs",), ("differential.mjs", ROOT / "tests/fuzz/corpus/graphql", json.dumps(names)),
                              ("subscriptions.mjs",)):
            done = subprocess.run(["node", folder / script, base, *more], text=True, check=False, timeout=300,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            counts = re.search(r"Checks: (\d+), Failures: (\d+), Errors: 0\n$", done.stdout)
            total, failed = map(int, counts.groups()) if counts else (1, 1)
            failed = max(failed, int(done.returncode != 0))
            results.extend([True] * (total - failed) + [False] * failed)
            if failed:
                print(done.stdout, flush=True)


# --- the instance -----------------------------------------------------------------------------------------------------

def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def start(folder, port):
    global base
    name = "graphql-" + uuid.uuid4().hex[:8]
    config = folder / "tally.yaml"
    config.write_text(f"""kafka: {{ bootstrap.servers: "{os.environ['TEST_KAFKA']}" }}
app.id: {name}
topics.prefix: {name}.
topics.partitions: {PARTITIONS}
topologies: [catalogue, stock, reservation, transfer, low_stock]
state: {{ dir: "{folder}/state" }}
http: {{ listen: "127.0.0.1:{port}", threads: 48 }}
""")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
    program = os.environ["TEST_TALLY"]
    base = f"http://127.0.0.1:{port}"
    subprocess.run([program, "topics", "create", "-c", config], env=environment, check=True, stdout=subprocess.DEVNULL)
    with open(folder / "log", "w") as log:
        process = subprocess.Popen([program, "run", "-c", config], env=environment, stdout=log, stderr=log)
    end = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < end:
        try:
            if urllib.request.urlopen(base + "/startupz", timeout=PATIENCE_S).status == 200:
                break
        except OSError:
            time.sleep(0.1)
    return process


def main():
    if "TEST_KAFKA" not in os.environ or "TEST_TALLY" not in os.environ:
        print("100%: Checks: 0, Failures: 0, Errors: 0")
        return 0
    with tempfile.TemporaryDirectory() as text:
        folder = pathlib.Path(text)
        process = start(folder, free_port())
        try:
            for part in (fill, answers, pages, reads, contract, examples, subscriptions, mutations, statuses, hostile, sockets):
                part()
        finally:
            process.send_signal(signal.SIGTERM)
            check(process.wait(PATIENCE_S) == 0, "it ends", process.returncode)
            if not all(results):
                print((folder / "log").read_text()[-4000:], flush=True)
    failed = results.count(False)
    print(f"{100 * results.count(True) // len(results)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
