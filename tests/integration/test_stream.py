#!/usr/bin/env python3
"""GET /v1/stream of a real instance on a real broker: handshakes, snapshots, deltas, resuming, slow clients, hostile
ones. TEST_KAFKA: host:port; TEST_TALLY: the program."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import websocket_client as ws  # noqa: E402

PATIENCE_S = 60
PARTITIONS = 3
results = []
port = 0
prefix = ""
process = None


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_stream: {name}: {' '.join(map(str, facts))[:2000]}", flush=True)


def ask(method, path, body=None, **headers):
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, method=method, headers={
        name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def send(kind, **fields):
    status, _, answer = ask("POST", f"/v1/commands/{kind}", json.dumps(fields).encode(), Content_Type="application/json",
                            Idempotency_Key=str(uuid.uuid4()), Prefer="wait=30")
    check(status == 200, kind, status, answer)
    return json.loads(answer)


def receive(sku, quantity=1, warehouse="AMS1"):
    return send("ReceiveStock", sku=sku, warehouse=warehouse, quantity=quantity)


def level(sku, warehouse="AMS1"):
    return json.loads(ask("GET", f"/v1/stock/{sku}/{warehouse}")[2])


def metric(name):
    text = ask("GET", "/metrics")[2].decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name) and
               line[len(name)] in " {")


def subscribe(client, topic="stock", id="s1", **members):
    """Subscribes and returns what `subscribed` says."""
    client.send({"op": "subscribe", "id": id, "topic": topic, **members})
    answer = client.receive()
    check(answer and answer["op"] == "subscribed" and answer["id"] == id, "subscribed", answer)
    return answer or {}


def deltas(client, count):
    return [client.receive() for _ in range(count)]


# --- the handshake ---------------------------------------------------------------------------------------------------

def refusal(**headers):
    try:
        ws.Client(port, **headers).close()
    except ws.Refused as refused:
        return refused.status, json.loads(refused.body)["code"], refused.headers
    return 101, None, {}


def handshake():
    client = ws.Client(port, subprotocol="chat, tally.v1")
    check(client.headers.get("sec-websocket-protocol") == "tally.v1", "the subprotocol", client.headers)
    client.close()
    client = ws.Client(port)
    check("sec-websocket-protocol" not in client.headers, "none was offered", client.headers)
    client.send({"op": "ping"})
    check(client.receive() == {"op": "pong"}, "a ping")
    client.raw(ws.frame(ws.PING, b"hello"))
    check(client.read_frame() == (ws.PONG, b"hello"), "a ping frame")
    client.raw(ws.frame(ws.CLOSE, b"\x03\xe8bye"))
    check(client.until_closed() == 1000, "closed by the client", client.closed)
    for wanted, headers in (((400, "MALFORMED_REQUEST"), {"subprotocol": "chat"}),
                            ((400, "MALFORMED_REQUEST"), {"Sec_WebSocket_Key": None}),
                            ((400, "MALFORMED_REQUEST"), {"Sec_WebSocket_Key": "short"}),
                            ((426, "UPGRADE_REQUIRED"), {"Sec_WebSocket_Version": "8"}),
                            ((426, "UPGRADE_REQUIRED"), {"Sec_WebSocket_Version": None}),
                            ((426, "UPGRADE_REQUIRED"), {"Upgrade": None}),
                            ((403, "ORIGIN_REFUSED"), {"Origin": "http://evil.example"}),
                            ((403, "ORIGIN_REFUSED"), {"Origin": "null"}),
                            ((101, None), {"Origin": f"http://127.0.0.1:{port}"}),
                            ((101, None), {"Origin": "https://shop.example"})):
        status, code, fields = refusal(**headers)
        check((status, code) == wanted, f"handshake {headers}", status, code)
        if status == 426:
            check(fields.get("sec-websocket-version") == "13" and fields.get("upgrade") == "websocket", "what is spoken",
                  fields)
    status, headers, _ = ask("GET", "/v1/stream")
    check(status == 426 and headers["Sec-WebSocket-Version"] == "13", "no WebSocket", status)
    check(ask("POST", "/v1/stream", b"{}")[0] == 405, "another method")


def places():
    """http.websocket.max is 40 here, and HTTP has 24 workers: sockets take none of them."""
    clients = [ws.Client(port) for _ in range(40)]
    status, code, headers = refusal()
    check((status, code) == (503, "OVERLOADED") and "retry-after" in headers, "too many sockets", status, code)
    check(ask("GET", "/livez")[0] == 200, "HTTP goes on")
    for client in clients:
        client.send({"op": "ping"})
    check(all(client.receive() == {"op": "pong"} for client in clients), "all are served")
    for client in clients:
        client.close()
    end = time.monotonic() + PATIENCE_S
    while metric("tally_websocket_sockets") > 0 and time.monotonic() < end:
        time.sleep(0.05)
    check(metric("tally_websocket_sockets") == 0, "their places are free again")


# --- following -------------------------------------------------------------------------------------------------------

def snapshots():
    receive("SNAP-1", 5)
    receive("SNAP-1", 7, "BER1")
    send("ConfigureStock", sku="SNAP-1", warehouse="BER1", low_stock_threshold=3, policy="BACKORDER", backorder_limit=9)
    client = ws.Client(port)
    asked = subscribe(client, filter={"sku": ["SNAP-1", "SNAP-NONE"]}, **{"from": "snapshot"})
    check(all(part.startswith(f"{prefix}stock.events/") for part in asked["position"].split(",")), "positions", asked)
    answer = client.receive()
    check(answer == {"op": "snapshot", "id": "s1", "items": [level("SNAP-1"), level("SNAP-1", "BER1")], "last": True},
          "a snapshot", answer)
    outcome = receive("SNAP-1", 2, "BER1")
    answer = client.receive()
    check(answer["op"] == "delta" and answer["id"] == "s1" and answer["conflated"] is False
          and answer["data"] == level("SNAP-1", "BER1") and answer["data"]["on_hand"] == 9, "a delta", answer, outcome)
    check(answer["data"]["policy"] == "BACKORDER" and answer["data"]["low_stock_threshold"] == 3, "its setting", answer)
    send("ConfigureStock", sku="SNAP-1", warehouse="BER1", low_stock_threshold=None)
    answer = client.receive()
    check(answer["data"]["low_stock_threshold"] is None and answer["data"] == level("SNAP-1", "BER1"), "a new setting", answer)
    receive("SNAP-2")
    send("ShipStock", sku="SNAP-1", warehouse="AMS1", quantity=1, shipment_id="S-1")
    answer = client.receive()
    check(answer["data"] == level("SNAP-1"), "only what the filter names", answer)
    client.send({"op": "unsubscribe", "id": "s1"})
    check(client.receive() == {"op": "unsubscribed", "id": "s1"}, "unsubscribed")
    receive("SNAP-1")
    client.send({"op": "ping"})
    check(client.receive() == {"op": "pong"}, "nothing after that")
    client.close()


PARTS = (handshake, places, snapshots)


# --- the instance ------------------------------------------------------------------------------------------------------

def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def start(folder):
    global port, prefix
    name = "stream-" + uuid.uuid4().hex[:8]
    port, prefix = free_port(), name + "."
    config = folder / "tally.yaml"
    config.write_text(f"""kafka: {{ bootstrap.servers: "{os.environ['TEST_KAFKA']}" }}
app.id: {name}
topics.prefix: {prefix}
topics.partitions: {PARTITIONS}
topologies: [catalogue, stock, reservation, transfer, low_stock]
stock.require_registration: false
state: {{ dir: "{folder}/state" }}
http: {{ listen: "127.0.0.1:{port}", threads: 24, wait.max: 16, websocket.max: 40, cors.origins: ["https://shop.example"] }}
""")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
    program = os.environ["TEST_TALLY"]
    subprocess.run([program, "topics", "create", "-c", config], env=environment, check=True, stdout=subprocess.DEVNULL)
    with open(folder / "log", "w") as log:
        started = subprocess.Popen([program, "run", "-c", config], env=environment, stdout=log, stderr=log)
    end = time.monotonic() + PATIENCE_S
    while started.poll() is None and time.monotonic() < end:
        try:
            if ask("GET", "/startupz")[0] == 200:
                break
        except OSError:
            time.sleep(0.1)
    return started


def main():
    global process
    if "TEST_KAFKA" not in os.environ or "TEST_TALLY" not in os.environ:
        print("100%: Checks: 0, Failures: 0, Errors: 0")
        return 0
    with tempfile.TemporaryDirectory() as text:
        folder = pathlib.Path(text)
        process = start(folder)
        try:
            for warehouse in ("AMS1", "BER1"):
                send("RegisterWarehouse", warehouse=warehouse, name=warehouse)
            for part in PARTS:
                if len(sys.argv) < 2 or part.__name__ in sys.argv[1:]:
                    began = time.monotonic()
                    part()
                    if len(sys.argv) > 1:
                        print(f"{part.__name__}: {time.monotonic() - began:.1f} s")
            status = process.poll()
            check(status is None, "tally lives", status)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            status = process.wait(PATIENCE_S)
        check(status == 0, "tally ended well", status)
        if not all(results):
            print((folder / "log").read_text()[-4000:], flush=True)
    failed = results.count(False)
    print(f"{100 * (len(results) - failed) // max(len(results), 1)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


sys.exit(main())
