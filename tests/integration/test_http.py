#!/usr/bin/env python3
"""HTTP of a real instance on a real broker: the contract, the hostile pack, too many who wait, the
end; of one that keeps neither outcomes nor a ledger; of one with limits and origins. TEST_KAFKA:
host:port; TEST_TALLY: the program."""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid

import websocket_client as ws

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE_S = 60
WAIT_MAX = 2
results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_http: {name}: {' '.join(map(str, facts))}", flush=True)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def get(address, path, **headers):
    """Status and body; None: nobody answers."""
    asked = urllib.request.Request(f"http://{address}{path}",
                                   headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return None


def start(folder, address, more="", http_more="", **variables):
    name = "http-" + uuid.uuid4().hex[:8]
    config = folder / "tally.yaml"
    config.write_text(f"""kafka: {{ bootstrap.servers: "{os.environ['TEST_KAFKA']}" }}
app.id: {name}
topics.prefix: {name}.
topics.partitions: 3
topologies: [catalogue, stock, reservation, transfer, low_stock]
state: {{ dir: "{folder}/state" }}
http: {{ listen: "{address}", threads: 48, wait.max: {WAIT_MAX}{", " if http_more else ""}{http_more} }}
{more}""")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
    program = os.environ["TEST_TALLY"]
    subprocess.run([program, "topics", "create", "-c", config], env=environment, check=True, stdout=subprocess.DEVNULL)
    with open(folder / "log", "w") as log:
        process = subprocess.Popen([program, "run", "-c", config], env={**environment, **variables}, stdout=log, stderr=log)
    end = time.monotonic() + PATIENCE_S
    while get(address, "/startupz") != (200, b"ok") and process.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
    return process


def overload(address):
    """More requests wait than may: each is answered, those over the limit at once."""
    answers = []

    def ask():
        answers.append(get(address, "/v1/stock/A", Prefer="wait=2", Tally_Min_Position=far))
    tasks = json.loads(get(address, "/v1/ops/tasks")[1])["items"]
    topic = next(task["position"] for task in tasks if task["topology"] == "stock").partition("/")[0]
    far = ",".join(f"{topic}/{partition}@1000000000" for partition in range(3))
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = sorted(json.loads(body)["code"] for _, body in answers)
    check(set(codes) == {"OVERLOADED", "POSITION_NOT_REACHED"} and {status for status, _ in answers} == {503},
          "too many who wait", codes)
    check(get(address, "/livez") == (200, b"ok"), "too many who wait: others are answered")


def post(address, command_id, quantity):
    """Status, headers and body of a receipt whose sender would wait."""
    asked = urllib.request.Request(
        f"http://{address}/v1/commands/ReceiveStock", json.dumps({"sku": "S", "warehouse": "W", "quantity": quantity}).encode(),
        {"Content-Type": "application/json", "Idempotency-Key": command_id, "Prefer": "wait=5"})
    with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
        return answer.status, answer.headers, json.load(answer)


def nothing_kept(address):
    """A write is taken, its outcome is nobody's to ask for, a repeat counts, the ledger is elsewhere."""
    for _ in range(2):
        status, headers, body = post(address, "c-1", 4)
        check(status == 202 and body["status"] == "PENDING", "no outcomes: a write is taken", status, body)
        check("Location" not in headers and "Preference-Applied" not in headers, "no outcomes: nobody waits", headers)
    level = get(address, "/v1/stock/S/W", Tally_Min_Position=body["position"], Prefer="wait=30")
    check(level[0] == 200 and json.loads(level[1])["on_hand"] == 8, "no outcomes: a repeat counts", level)
    for path, word in (("/v1/commands/c-1", "dedup.retention"), (f"/v1/commands/c-1?at={body['position']}", "dedup.retention"),
                       ("/v1/stock/S/ledger?warehouse=W", "stock.ledger"),
                       ("/v1/stock/S/W?as_of=9999-12-31T23:59:59.999Z", "stock.ledger")):
        status, text = get(address, path)
        problem = json.loads(text)
        check(status == 404 and problem["code"] == "NOT_KEPT" and word in problem["detail"], f"not kept: {path}", text)


def ask(address, method, path, body=None, **headers):
    """Status, headers and body."""
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def limited(address):
    """So many requests of a client, by policy; the rest wait."""
    for left in (2, 1, 0):
        status, headers, _ = ask(address, "GET", "/v1/stock/A")
        told = re.fullmatch(r'"read";r=(\d+);t=(\d+)', headers["RateLimit"] or "")
        check(status == 404 and told and int(told[1]) == left and int(told[2]) <= 600, "limit: what is left", left, headers)
        check(headers["RateLimit-Policy"] == '"read";q=3;w=600', "limit: policy", headers)
    for method, path in (("GET", "/v1/stock/A"), ("HEAD", "/v1/warehouses"), ("GET", "/v1/stock/A?wrong=1")):
        status, headers, body = ask(address, method, path)
        check(status == 429 and int(headers["Retry-After"]) >= 1 and headers["RateLimit"].startswith('"read";r=0;'),
              "limit: too many", method, path, status, headers)
        if method == "GET":
            problem = json.loads(body)
            check(problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
                  and problem["code"] == "RATE_LIMITED" and problem["violated-policies"] == ["read"]
                  and problem["retryable"] and problem["status"] == 429, "limit: problem", problem)
    check(ask(address, "GET", "/v1/products")[1]["RateLimit"].startswith('"search";r=1;'), "limit: search is another policy")
    check("RateLimit" not in ask(address, "POST", "/v1/commands/X", "{}")[1], "limit: a policy that is off")
    for path in ("/livez", "/readyz", "/metrics", "/openapi.json", "/v1/ops/tasks"):
        status, headers, _ = ask(address, "GET", path)
        check(status == 200 and "RateLimit" not in headers, "limit: never of", path, status)
    for client, left in (("10.0.0.1", 2), ("10.0.0.2", 2), ("10.0.0.9, 10.0.0.1", 1)):
        headers = ask(address, "GET", "/v1/stock/A", X_Forwarded_For=client)[1]
        check(headers["RateLimit"].startswith(f'"read";r={left};'), "limit: behind a proxy", client, headers["RateLimit"])


def origins(address):
    """Pages of listed origins may read answers, others get none of the fields."""
    for path, status in (("/livez", 200), ("/v1/none", 404)):
        answer = ask(address, "GET", path, Origin="https://shop.example")
        check(answer[0] == status and answer[1]["Access-Control-Allow-Origin"] == "https://shop.example"
              and answer[1]["Vary"] == "Origin" and "Tally-Position" in answer[1]["Access-Control-Expose-Headers"]
              and "Access-Control-Allow-Credentials" not in answer[1], "CORS: an answer", path, answer)
    preflight = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type"}
    status, headers, body = ask(address, "OPTIONS", "/v1/commands/X", Origin="https://shop.example", **preflight)
    check(status == 204 and body == b"" and headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST"
          and headers["Access-Control-Max-Age"] == "600" and "Idempotency-Key" in headers["Access-Control-Allow-Headers"],
          "CORS: preflight", status, headers)
    for origin in ("https://shop.example.evil", "http://shop.example", "https://SHOP.example", "null", "https://shop.example/"):
        for method, path, status in (("GET", "/livez", 200), ("OPTIONS", "/livez", 405)):
            answer = ask(address, method, path, Origin=origin, **preflight)
            check(answer[0] == status and not [name for name in answer[1] if name.startswith("Access-Control")]
                  and "Vary" not in answer[1], "CORS: another origin", origin, method, answer)
    for method, path, status in (("OPTIONS", "/v1/none", 404), ("PUT", "/livez", 405)):
        check(ask(address, method, path, Origin="https://shop.example", **preflight)[0] == status, "CORS: no preflight", method)
    check(ask(address, "OPTIONS", "/livez", Origin="https://shop.example")[0] == 405, "CORS: OPTIONS without a question")


def stops(folder, address):
    """From the signal on, while it drains: sockets are closed, open requests finish, new ones are refused."""
    process = start(folder, address, TALLY_FAIL="edges.drain.enter:1:delay=4000")
    clients = [ws.Client(int(address.partition(":")[2])) for _ in range(2)]
    clients[0].send({"op": "subscribe", "id": "s1", "topic": "stock"})
    check(clients[0].receive()["op"] == "subscribed", "it stops: a subscription")
    text = b'{"skus":["A"]}'
    opened = socket.create_connection(address.split(":"), PATIENCE_S)
    opened.sendall(b"POST /v1/availability:batch HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
                   b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(text))
    check(opened.recv(64).startswith(b"HTTP/1.1 100"), "it stops: an open request begins")
    process.send_signal(signal.SIGTERM)
    for client in clients:
        check(client.until_closed() == 1001, "it stops: a socket", client.closed)
    status, headers, body = ask(address, "GET", "/readyz?verbose")
    check(status == 503 and b"[-]shutdown failed: draining\n" in body and body.endswith(b"readyz check failed\n")
          and headers["Content-Type"].startswith("text/plain") and headers["Connection"] == "close", "it stops: readyz", status, body)
    check(get(address, "/livez") == (200, b"ok") and get(address, "/metrics")[0] == 200, "it stops: livez, metrics")
    for method, path, sent in (("GET", "/v1/warehouses", None), ("POST", "/v1/commands/ReceiveStock", "{}"),
                               ("POST", "/graphql", '{"query":"{__typename}"}'), ("GET", "/openapi.json", None)):
        status, headers, body = ask(address, method, path, sent, Content_Type="application/json", Idempotency_Key="k-1")
        check(status == 503 and json.loads(body)["code"] == "SHUTTING_DOWN" and headers["Retry-After"]
              and headers["Connection"] == "close", "it stops: a new request", path, status, body)
    check(ask(address, "GET", "/v1/none")[0] == 404, "it stops: another path")
    opened.sendall(text)
    answer = b"".join(iter(lambda: opened.recv(4096), b""))
    opened.close()
    check(answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b'{"items":[{"sku":"A","code":"UNKNOWN_SKU"}]}'),
          "it stops: an open request finishes", answer)
    check(process.wait(PATIENCE_S) == 0, "it has stopped", process.returncode)


def run_pack(script, address):
    done = subprocess.run([sys.executable, HERE / script], env={**os.environ, "TALLY_TEST_HTTP": address}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        print(done.stdout, flush=True)
    words = done.stdout.split()
    passed = done.returncode == 0
    try:
        total, bad = int(words[-5].strip(",")), int(words[-3].strip(","))
    except (IndexError, ValueError):
        total, bad = 1, 1
    results.extend([True] * (total - bad) + [False] * max(bad, 0 if passed else 1))


def main():
    if "TEST_KAFKA" not in os.environ or "TEST_TALLY" not in os.environ:
        print("100%: Checks: 0, Failures: 0, Errors: 0")
        return 0
    with tempfile.TemporaryDirectory() as text:
        folder, address = pathlib.Path(text), f"127.0.0.1:{free_port()}"
        process = start(folder, address)
        check(process.poll() is None, "it starts")
        for script in ("http_contract.py", "http_resources.py", "http_hostile.py", "http_walk.py", "http_documents.py"):
            run_pack(script, address)
        overload(address)
        process.send_signal(signal.SIGTERM)
        check(process.wait(PATIENCE_S) == 0, "it ends", process.returncode)
        (folder / "simple").mkdir()
        process = start(folder / "simple", address,
                        "dedup.retention: 0\nstock.ledger: false\nstock.require_registration: false\n")
        nothing_kept(address)
        process.send_signal(signal.SIGTERM)
        check(process.wait(PATIENCE_S) == 0, "it ends without outcomes too", process.returncode)
        (folder / "limits").mkdir()
        process = start(folder / "limits", address, "", "limit.read: 3, limit.search: 2, limit.window: 600s, trusted_proxies: "
                        '["127.0.0.1"], cors.origins: ["https://shop.example", "http://localhost:3000"]')
        limited(address)
        origins(address)
        process.send_signal(signal.SIGTERM)
        check(process.wait(PATIENCE_S) == 0, "it ends with limits too", process.returncode)
        (folder / "stops").mkdir()
        stops(folder / "stops", address)
        if not all(results):
            print((folder / "log").read_text()[-4000:])
    failed = results.count(False)
    print(f"{100 * (len(results) - failed) // max(len(results), 1)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


sys.exit(main())
