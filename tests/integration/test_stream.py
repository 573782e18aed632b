#!/usr/bin/env python3
"""GET /v1/stream of a real instance on a real broker: handshakes, snapshots, deltas, resuming, slow clients, hostile
ones. TEST_KAFKA: host:port; TEST_TALLY: the program."""
import json
import os
import pathlib
import re
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

ROOT = pathlib.Path(__file__).resolve().parents[2]
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


class Witness:
    """Another socket: once it has been told of a level as it is now, so could have been every other."""
    def __init__(self):
        self.client = ws.Client(port)
        subscribe(self.client, credit=1000000)

    def settle(self, sku):
        wanted = level(sku)["version"]
        while True:
            told = self.client.receive()["data"]
            if told["sku"] == sku and told["version"] >= wanted:
                return


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


def topics():
    """The other topics: each tells what GET answers."""
    client = ws.Client(port)
    subscribe(client, "ledger", "ledger", filter={"sku": ["TOP-1"], "kind": ["RECEIVE"]})
    subscribe(client, "catalogue", "product", filter={"product_id": ["P-1"]}, **{"from": "snapshot"})
    check(client.receive() == {"op": "snapshot", "id": "product", "items": [], "last": True}, "of what is not there")
    subscribe(client, "reservations", "reservation", filter={"reservation_id": ["R-1"]})
    subscribe(client, "transfers", "transfer")
    receive("TOP-1", 9)
    send("AdjustStock", sku="TOP-1", warehouse="AMS1", delta=-1, reason="SHRINKAGE")
    entry = json.loads(ask("GET", "/v1/stock/TOP-1/ledger?warehouse=AMS1&kind=RECEIVE")[2])["items"][0]
    answer = client.receive()
    check(answer["id"] == "ledger" and answer["data"] == entry, "a ledger entry", answer, entry)
    send("CreateProduct", product_id="P-1", slug="p-1", name="P", variants=[{"sku": "V-1", "options": {}}])
    answer = client.receive()
    check(answer["id"] == "product" and answer["data"] == json.loads(ask("GET", "/v1/products/by-id/P-1")[2]), "a product", answer)
    send("ReserveStock", reservation_id="R-1", lines=[{"sku": "TOP-1", "quantity": 2}, {"sku": "TOP-2X", "quantity": 1}][:1])
    versions, answer = [], {"data": {"state": ""}}
    while answer and answer["data"]["state"] != "CONFIRMED":
        answer = client.receive()
        check(answer and answer["id"] == "reservation", "a reservation", answer)
        versions.append(answer["data"]["version"])
    check(versions == sorted(set(versions)), "each version once", versions)
    check(answer["data"] == json.loads(ask("GET", "/v1/reservations/R-1")[2]), "the reservation", answer)
    send("DispatchTransfer", transfer_id="T-1", sku="TOP-1", quantity=1, **{"from": "AMS1", "to": "BER1"})
    answer = {"data": {"state": ""}}
    while answer and answer["data"].get("state") != "IN_TRANSIT":
        answer = client.receive()
        check(answer and answer["id"] in ("transfer", "reservation"), "a transfer", answer)
    check(answer["data"] == json.loads(ask("GET", "/v1/transfers/T-1")[2]), "the transfer", answer)
    other = ws.Client(port)
    for id, topic, name, path in (("r", "reservations", {"reservation_id": ["R-1"]}, "/v1/reservations/R-1"),
                                  ("t", "transfers", {"transfer_id": ["T-1"]}, "/v1/transfers/T-1"),
                                  ("c", "catalogue", {"product_id": ["P-1"]}, "/v1/products/by-id/P-1")):
        subscribe(other, topic, id, filter=name, **{"from": "snapshot"})
        check(other.receive() == {"op": "snapshot", "id": id, "items": [json.loads(ask("GET", path)[2])], "last": True},
              f"a snapshot of {topic}")
    other.close()
    client.close()


def low_stock():
    witness = Witness()
    send("ConfigureStock", sku="LOW-1", warehouse="AMS1", low_stock_threshold=3)
    witness.settle("LOW-1")  # what is followed from now on begins behind that
    witness.client.close()
    client = ws.Client(port)
    subscribe(client, "low_stock", filter={"sku": ["LOW-1"]})
    told = []
    for quantity in (2, 5, -7):
        if quantity > 0:
            receive("LOW-1", quantity)
        else:
            send("ShipStock", sku="LOW-1", warehouse="AMS1", quantity=-quantity, shipment_id="S-L")
        told.append(client.receive()["data"])
    check([(item["severity"], item["available"]) for item in told] == [("LOW", 2), (None, 7), ("OUT", 0)], "severities", told)
    end = time.monotonic() + PATIENCE_S
    item = None
    while item != told[-1] and time.monotonic() < end:
        item = next((one for one in json.loads(ask("GET", "/v1/stock:low?limit=200")[2])["items"] if one["sku"] == "LOW-1"), None)
    check(item == told[-1], "as GET has it", item, told[-1])
    client.send({"op": "subscribe", "id": "x", "topic": "low_stock", "from": "snapshot"})
    check(client.receive()["code"] == "BAD_REQUEST", "no snapshot")
    client.close()


def refusals():
    client = ws.Client(port)
    far = f"{prefix}stock.events/0@1000000000"
    for code, message in (("UNKNOWN_TOPIC", {"op": "subscribe", "id": "a", "topic": "nothing"}),
                          ("BAD_REQUEST", {"op": "subscribe", "id": "a"}),
                          ("BAD_REQUEST", {"op": "subscribe", "topic": "stock"}),
                          ("BAD_REQUEST", {"op": "fly", "id": "a"}), ("BAD_REQUEST", {"id": "a"}), ("BAD_REQUEST", {}),
                          ("BAD_REQUEST", {"op": "subscribe", "id": 7, "topic": "stock"}),
                          ("BAD_REQUEST", {"op": "subscribe", "id": "a", "topic": "stock", "filter": {"colour": ["red"]}}),
                          ("BAD_REQUEST", {"op": "subscribe", "id": "a", "topic": "stock", "filter": {"sku": "S"}}),
                          ("BAD_REQUEST", {"op": "subscribe", "id": "a", "topic": "stock", "filter": {"sku": []}}),
                          ("BAD_REQUEST", {"op": "subscribe", "id": "a", "topic": "ledger", "filter": {"kind": ["EAT"]}}),
                          ("BAD_REQUEST", {"op": "subscribe", "id": "a", "topic": "stock", "credit": -1}),
                          ("BAD_REQUEST", {"op": "subscribe", "id": "a", "topic": "stock", "credit": "1"}),
                          ("BAD_REQUEST", {"op": "subscribe", "id": "a", "topic": "stock", "from": "x/0@1"}),
                          ("BAD_REQUEST", {"op": "subscribe", "id": "a", "topic": "stock", "from": far + "," + far}),
                          ("BAD_REQUEST", {"op": "subscribe", "id": "a", "topic": "stock", "from": far + ","}),
                          ("RESYNC_REQUIRED", {"op": "subscribe", "id": "a", "topic": "stock", "from": far}),
                          ("SNAPSHOT_TOO_LARGE", {"op": "subscribe", "id": "a", "topic": "stock", "from": "snapshot"}),
                          ("SNAPSHOT_TOO_LARGE", {"op": "subscribe", "id": "a", "topic": "stock", "from": "snapshot",
                                                  "filter": {"sku": [f"S-{number}" for number in range(501)]}}),
                          ("BAD_REQUEST", {"op": "credit", "id": "a", "n": 1}), ("BAD_REQUEST", {"op": "unsubscribe", "id": "a"}),
                          ("BAD_REQUEST", '{"op":"ping","n":1.5}'), ("BAD_REQUEST", '{"op":"ping","op":"ping"}')):
        client.send(message)
        answer = client.receive()
        check(answer and answer["op"] == "error" and answer["code"] == code and answer["detail"], f"{message}"[:200], answer)
    for number in range(20):
        subscribe(client, id=f"n{number}", filter={"sku": ["NOBODY"]})
    for code, id in (("DUPLICATE_ID", "n0"), ("TOO_MANY_SUBSCRIPTIONS", "n20")):
        client.send({"op": "subscribe", "id": id, "topic": "stock"})
        answer = client.receive()
        check(answer["code"] == code and answer["id"] == id, code, answer)
    client.close()


def resuming():
    """A client that comes back with its last positions misses nothing and sees nothing twice, be it that events go on."""
    skus = [f"RES-{number}" for number in range(6)]
    client = ws.Client(port)
    asked = subscribe(client, "ledger")
    places = dict(part.rsplit("@", 1) for part in asked["position"].split(","))
    seen = []

    def follow(count):
        for _ in range(count):
            answer = client.receive()
            check(answer and answer["op"] == "delta", "a delta", answer)
            partition, offset = answer["position"].rsplit("@", 1)
            check(int(offset) > int(places[partition]), "in order", answer, places)
            places[partition] = offset
            seen.append((answer["data"]["sku"], answer["data"]["seq"]))
    for sku in skus:
        receive(sku)
    follow(4)
    for turn in range(3):
        client.close()
        for sku in skus:
            receive(sku)
        client = ws.Client(port)
        asked = subscribe(client, "ledger", **{"from": ",".join(f"{name}@{offset}" for name, offset in places.items())})
        check(dict(part.rsplit("@", 1) for part in asked["position"].split(",")) == places, "where it goes on", asked)
        for sku in skus:
            receive(sku)
        follow(10)
    follow(6 + 3 * 12 - len(seen))
    check(len(seen) == len(set(seen)) and all([seq for name, seq in seen if name == sku] == list(range(1, 8)) for sku in skus),
          "every entry once, in order", seen)
    client.close()
    # from the very beginning, with a filter
    client = ws.Client(port)
    start = ",".join(f"{prefix}stock.events/{partition}@-1" for partition in range(PARTITIONS))
    subscribe(client, "stock", filter={"sku": ["RES-0"]}, **{"from": start})
    check([client.receive()["data"]["version"] for _ in range(7)] == list(range(1, 8)), "every version from the beginning")
    receive("RES-0")
    check(client.receive()["data"]["version"] == 8, "and on")
    client.close()


def credit():
    client, witness = ws.Client(port), Witness()
    subscribe(client, "stock", "s", filter={"sku": ["CR-1", "CR-2"]}, credit=1)
    subscribe(client, "ledger", "l", filter={"sku": ["CR-1"]}, credit=0)
    for _ in range(4):
        receive("CR-1")
    receive("CR-2")
    witness.settle("CR-2")
    answer = client.receive()
    check(answer["id"] == "s" and answer["data"]["version"] == 1 and not answer["conflated"], "one credit", answer)
    client.send({"op": "credit", "id": "s", "n": 5})
    told = deltas(client, 2)
    check([(answer["data"]["sku"], answer["data"]["version"], answer["conflated"]) for answer in told]
          == [("CR-1", 4, True), ("CR-2", 1, False)], "the latest of each key", told)
    client.send({"op": "credit", "id": "l", "n": 10})
    told = deltas(client, 4)
    witness.client.close()
    check([answer["data"]["seq"] for answer in told] == [1, 2, 3, 4] and not any(answer["conflated"] for answer in told),
          "no ledger entry is left out", told)
    client.close()


def memory():
    text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines() if line.startswith(("VmRSS", "Threads"))}


def hostile():
    def closed_by(data, wanted, name, **headers):
        client = ws.Client(port, **headers)
        try:
            client.raw(data)
        except OSError:
            pass
        check(client.until_closed(20) == wanted, name, client.closed)
        client.close()
    before = memory()
    for _ in range(3):
        closed_by(ws.frame(ws.TEXT, b'{"op":"\xff"}'), 1007, "text that is no UTF-8")
        closed_by(ws.frame(ws.TEXT, b"[1]"), 1007, "no object")
        closed_by(ws.frame(ws.TEXT, b"{"), 1007, "no JSON")
        closed_by(ws.frame(ws.TEXT, b'{"op":"ping\x00"}'), 1007, "a NUL")
        closed_by(ws.frame(ws.BINARY, b"{}"), 1003, "binary")
        closed_by(ws.frame(ws.TEXT, b"{}", mask=None), 1002, "no mask")
        closed_by(ws.frame(3, b""), 1002, "an unknown opcode")
        closed_by(b"\xc1" + ws.frame(ws.TEXT, b"{}")[1:], 1002, "a reserved bit")
        closed_by(ws.frame(ws.PING, b"x" * 126), 1002, "a long ping")
        closed_by(ws.frame(ws.PING, b"x", final=False), 1002, "half a ping")
        closed_by(ws.frame(0, b"x"), 1002, "a continuation of nothing")
        closed_by(ws.frame(ws.TEXT, b"{", final=False) + ws.frame(ws.TEXT, b"}"), 1002, "a message within another")
        closed_by(ws.frame(ws.TEXT, b"{}", head=b"\xfe\x00\x02"), 1002, "a length that is longer than it need be")
        closed_by(ws.frame(ws.CLOSE, b"\x03"), 1002, "half a status")
        closed_by(ws.frame(ws.CLOSE, b"\x03\xed"), 1002, "a status that is never sent")
        closed_by(ws.frame(ws.TEXT, b" " * 65537), 1009, "a frame over 64 KiB")
        closed_by(ws.frame(ws.TEXT, b"x", head=b"\xff" + (2 << 30).to_bytes(8, "big")), 1009, "2 GiB")
        closed_by(ws.frame(ws.TEXT, b"x", head=b"\xff\xff" + b"\xff" * 7), 1002, "a negative length")
        closed_by(ws.frame(ws.TEXT, b" " * 60000, final=False) + 4 * ws.frame(0, b" " * 60000, final=False), 1009,
                  "a message over 256 KiB")
        closed_by(101 * ws.frame(ws.TEXT, b'{"op":"ping"}'), 1008, "a flood of messages")
        closed_by(101 * ws.frame(ws.PING), 1008, "a flood of pings")
        closed_by(101 * ws.frame(ws.PONG), 1008, "a flood of pongs")
    client = ws.Client(port)
    client.raw(ws.frame(ws.TEXT, b'{"op":', final=False) + ws.frame(ws.PING, b"!") + ws.frame(0, b'"ping"}'))
    check(client.read_frame() == (ws.PONG, b"!") and client.receive() == {"op": "pong"}, "a ping between fragments")
    whole = ws.frame(ws.TEXT, b'{"op":"ping"}')
    for byte in whole:
        client.raw(bytes([byte]))
    check(client.receive() == {"op": "pong"}, "byte by byte")
    halves = [ws.Client(port) for _ in range(20)]
    for half in halves:
        half.raw(ws.frame(ws.TEXT, b"x" * 60000)[:30000])
    client.send({"op": "ping"})
    check(client.receive() == {"op": "pong"} and ask("GET", "/livez")[0] == 200, "beside half frames")
    for half in halves + [client]:
        half.close()
    after = memory()
    check(after["Threads"] <= before["Threads"] and after["VmRSS"] - before["VmRSS"] < 16 * 1024, "nothing is left", before, after)


def slow():
    """Who does not read is conflated, or closed with 1013; nobody else waits for it."""
    reader, sleeper = ws.Client(port), ws.Client(port, receive_bytes=4096)
    subscribe(reader, "ledger", filter={"sku": ["SLOW-1"]}, credit=100000)
    subscribe(sleeper, "ledger", "l", filter={"sku": ["SLOW-1"]}, credit=0)
    note = "n" * 450
    count = 1500
    for at in range(0, count, 500):
        commands = [{"type": "ReceiveStock", "command_id": str(uuid.uuid4()), "sku": "SLOW-1", "warehouse": "AMS1",
                     "quantity": 1, "note": note} for _ in range(500)]
        status, _, answer = ask("POST", "/v1/commands:batch", json.dumps({"commands": commands}).encode(),
                                Content_Type="application/json", Prefer="wait=30")
        check(status == 200, "a batch", status, answer[:300])
    check([reader.receive()["data"]["seq"] for _ in range(count)] == list(range(1, count + 1)), "the reader has all")
    check(sleeper.until_closed() == 1013, "the sleeper is closed", sleeper.closed)
    sleeper.close()
    reader.close()


def plain(document):
    """What is the same in every run: neither offsets nor times nor ids that were made."""
    text = json.dumps(document).replace(prefix, "")
    text = re.sub(r"/\d+@-?\d+", "/0@0", text)
    return re.sub(r'"(updated_at|recorded_at|command_id)": "[^"]*"', r'"\1": ""', text)


def examples():
    """docs/stream.md, line by line; positions that were told stand in place of those of the page."""
    blocks = re.findall(r"```stream\n(.*?)```", (ROOT / "docs/stream.md").read_text(), re.S)
    client, witness, told, count = ws.Client(port), Witness(), "", 0
    for line in [line for block in blocks for line in block.splitlines()]:
        count += 1
        if line.startswith("$ "):
            _, path, body = line[2:].split(" ", 2)
            send(path.rsplit("/", 1)[1], **json.loads(body))
        elif line == "~":
            client.close()
            client = ws.Client(port)
        elif line.startswith("> "):
            message = json.loads(line[2:])
            if message["op"] == "credit":
                witness.settle("TS-RED-M")
            if "@1000000000" in message.get("from", ""):
                client.close()  # the id is used again
                client = ws.Client(port)
                message["from"] = f"{prefix}stock.events/0@1000000000"
            elif "@" in message.get("from", ""):
                message["from"] = told
            client.send(message)
        else:
            answer = client.receive()
            told = answer["position"] if answer and answer["op"] == "subscribed" else told
            check(plain(answer) == plain(json.loads(line[2:])), f"docs/stream.md: {line}", answer)
    check(count > 20, "the examples", count)
    witness.client.close()
    client.close()


def gauges():
    """Topic metrics: all of them at first, then what has changed; of histograms count and sum; nothing is ever waited for."""
    name = "tally_websocket_messages_total"
    client = ws.Client(port)
    client.send({"op": "subscribe", "id": "m", "topic": "metrics", "from": "snapshot"})
    check(client.receive() == {"op": "subscribed", "id": "m"}, "metrics have no position")
    items = []
    while True:
        answer = client.receive()
        check(answer["op"] == "snapshot" and len(answer["items"]) <= 100, "a snapshot", str(answer)[:300])
        items += answer["items"]
        if answer["last"]:
            break
    told = {(item["name"], tuple(sorted(item["labels"].items()))) for item in items}
    text = ask("GET", "/metrics")[2].decode()
    shown = {re.split("[ {]", line)[0] for line in text.splitlines() if line[0] != "#" and "_bucket{" not in line}
    check(len(told) == len(items) > 50 and {item[0] for item in told} <= shown and ("tally_commit_seconds_count", ()) in told,
          "each once, under its name", {item[0] for item in told} - shown)
    check(any(labels == (("outcome", "accepted"), ("topology", "stock")) for _, labels in told), "labels", list(told)[:9])
    client.send({"op": "unsubscribe", "id": "m"})
    while client.receive()["op"] != "unsubscribed":
        pass
    client.send({"op": "subscribe", "id": "n", "topic": "metrics", "filter": {"name": [name, "tally_commit_seconds"]},
                 "from": "snapshot", "credit": 1})
    client.receive()
    first = {item["name"]: item["value"] for item in client.receive()["items"]}
    check(set(first) == {name, "tally_commit_seconds_count", "tally_commit_seconds_sum"}, "a filter", first)
    client.send({"op": "ping"})
    check(client.receive() == {"op": "pong"}, "a message that is counted")
    answer = client.receive()
    changed = {item["name"]: item["value"] for item in answer["data"]["metrics"]}
    check(answer["op"] == "delta" and "position" not in answer and changed.get(name, 0) > first[name], "what has changed", answer)
    other = ws.Client(port)
    other.send({"op": "subscribe", "id": "o", "topic": "metrics", "filter": {"name": [name]}})
    check(other.receive() == {"op": "subscribed", "id": "o"}, "from latest nothing is told at first")
    for _ in range(3):  # samples go by, and the first client has no credit
        other.send({"op": "ping"})
        while other.receive()["op"] != "delta":
            pass
    client.send({"op": "credit", "id": "n", "n": 1})
    answer = client.receive()
    check(answer["op"] == "delta" and answer["conflated"] is True, "all of it at once, later", answer)
    for message in ({"from": f"{prefix}stock.events/0@1"}, {"filter": {"sku": ["S"]}}):
        client.send({"op": "subscribe", "id": "x", "topic": "metrics", **message})
        check(client.receive()["code"] == "BAD_REQUEST", f"{message}")
    client.close()
    other.close()


PARTS = (handshake, places, snapshots, topics, low_stock, gauges, refusals, resuming, credit, examples, hostile, slow)


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
        stopping = False
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
            last = ws.Client(port)
            process.send_signal(signal.SIGTERM)
            check(last.until_closed() == 1001, "closed at the end", last.closed)
            stopping = True
        finally:
            if process.poll() is None and not stopping:
                process.send_signal(signal.SIGTERM)
            status = process.wait(PATIENCE_S)
            if status or not all(results):
                print(f"tally ended with {status}:", (folder / "log").read_text()[-4000:], flush=True)
        check(status == 0, "tally ended well", status)
    failed = results.count(False)
    print(f"{100 * (len(results) - failed) // max(len(results), 1)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


sys.exit(main())
