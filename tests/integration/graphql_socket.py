"""graphql-transport-ws of GET /graphql, by a bare client: what the protocol asks of a server, and what it must do to
clients that break it. test_graphql.py runs it."""
import json
import pathlib
import re
import sys
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import websocket_client as ws  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
SUBPROTOCOL = "graphql-transport-ws"
FOLLOW = 'subscription { stockChanged(skus: ["SKU-3"], from: "snapshot") { sku version } }'


def subscribe(id, query, **payload):
    return {"id": id, "type": "subscribe", "payload": {"query": query, **payload}}


def opened(port, **more):
    """A client that was acknowledged."""
    client = ws.Client(port, "/graphql", SUBPROTOCOL, **more)
    client.send({"type": "connection_init"})
    assert client.receive() == {"type": "connection_ack"}
    return client


def handshakes(port, check):
    client = ws.Client(port, "/graphql", f"chat, {SUBPROTOCOL}")
    check(client.headers.get("sec-websocket-protocol") == SUBPROTOCOL, "the subprotocol", client.headers)
    client.send({"type": "ping"})
    check(client.receive() == {"type": "pong"}, "a ping needs no connection")
    client.send({"type": "connection_init", "payload": {"a": [1, {"b": None}]}})
    check(client.receive() == {"type": "connection_ack"}, "a connection")
    client.send({"type": "ping", "payload": {"a": [1, {"b": None}]}})
    check(client.receive() == {"type": "pong", "payload": {"a": [1, {"b": None}]}}, "a ping with a payload")
    client.send({"type": "pong"})
    client.send({"type": "complete", "id": "nobody"})
    client.send({"type": "ping"})
    check(client.receive() == {"type": "pong"}, "a pong and the end of nothing say nothing")
    client.close()
    for offered in (None, "chat", "graphql-ws"):
        client = ws.Client(port, "/graphql", offered)
        check("sec-websocket-protocol" not in client.headers and client.until_closed() == 4406, f"subprotocol {offered}",
              client.closed)
    for headers, status in (({"Origin": "http://evil.example"}, 403), ({"Sec_WebSocket_Version": "8"}, 426),
                            ({"Sec_WebSocket_Key": "x"}, 400)):
        try:
            ws.Client(port, "/graphql", SUBPROTOCOL, **headers).close()
            refused = 101
        except ws.Refused as refusal:
            refused = refusal.status
        check(refused == status, f"a handshake {headers}", refused)


def operations(port, check):
    client = opened(port)
    client.send(subscribe("q\"é", "{ __typename }"))
    check(client.receive() == {"id": "q\"é", "type": "next", "payload": {
        "data": {"__typename": "Query"}, "extensions": {"cost": 0, "reads": 0}}}, "a query")
    check(client.receive() == {"id": "q\"é", "type": "complete"}, "it is complete")
    client.send(subscribe("a", "query A { a: __typename } query B { b: __typename }", operationName="B", extensions={},
                          variables=None))
    check(client.receive()["payload"]["data"] == {"b": "Query"}, "of two operations one")
    client.receive()
    client.send(subscribe("s", FOLLOW))
    check(client.receive()["payload"]["data"]["stockChanged"]["sku"] == "SKU-3", "a subscription")
    client.send({"id": "s", "type": "complete"})
    client.send(subscribe("s", FOLLOW))
    check(client.receive()["id"] == "s", "an id that is free again")
    for at in range(19):
        client.send(subscribe(f"n{at}", FOLLOW))
    told = {client.receive()["id"] for _ in range(19)}
    check(told == {f"n{at}" for at in range(19)}, "twenty at once", told)
    client.send(subscribe("more", FOLLOW))
    more = client.receive()
    check(more["type"] == "error" and more["id"] == "more"
          and more["payload"][0]["extensions"]["code"] == "TOO_MANY_SUBSCRIPTIONS", "one too many", more)
    client.send({"type": "ping"})
    check(client.receive() == {"type": "pong"}, "and all goes on")
    client.close()


def burst(port, check):
    """Of a level that changes faster than it is told a client may miss states, and is told so; never the last, never an old
    one."""
    client = opened(port, receive_bytes=4096)
    client.send(subscribe("b", 'subscription { stockChanged(skus: ["SKU-9"], from: "snapshot") { version } }'))
    first = version = client.receive()["payload"]["data"]["stockChanged"]["version"]
    count = 1000
    body = json.dumps({"commands": [{"type": "ReceiveStock", "command_id": f"burst-{at}", "sku": "SKU-9", "warehouse": "AMS1",
                                     "quantity": 1} for at in range(count)]}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/v1/commands:batch", body, {
            "Content-Type": "application/json"}), timeout=ws.PATIENCE_S) as answer:
        check(answer.status == 202, "a batch", answer.status)
    told = 0
    while version < first + count:
        payload = client.receive()["payload"]
        now, told = payload["data"]["stockChanged"]["version"], told + 1
        check(now > version and (now == version + 1 or payload["extensions"]["conflated"]), "a burst, in order", version, payload)
        version = now
    check(version == first + count and told <= count, "the last state", version, told)
    client.close()


def closed_with(port, check, name, wanted, *messages, init=True):
    client = opened(port) if init else ws.Client(port, "/graphql", SUBPROTOCOL)
    for message in messages:
        client.raw(message) if isinstance(message, bytes) else client.send(message)
    check(client.until_closed() == wanted, name, client.closed)
    client.close()


def hostile(port, check):
    query = subscribe("q", "{ __typename }")
    for text in ("", "x", "[]", "null", "1", '"a"', "{", '{"type":1}', "{}", '{"type":"hello"}', '{"type":"next","id":"a"}',
                 '{"type":"connection_ack"}', '{"type":"ping","type":"ping"}', '{"type":"ping","payload":1.5}',
                 '{"type":"ping","payload":[]}', '{"type":"subscribe"}', '{"type":"subscribe","id":1,"payload":{}}',
                 '{"type":"subscribe","id":"","payload":{"query":"{a}"}}', '{"type":"subscribe","id":"a"}',
                 '{"type":"subscribe","id":"a","payload":{}}', '{"type":"subscribe","id":"a","payload":{"query":1}}',
                 '{"type":"subscribe","id":"a","payload":{"query":"{a}","variables":[]}}',
                 '{"type":"subscribe","id":"a","payload":{"query":"{a}","operationName":1}}', '{"type":"complete"}',
                 '{"type":"ping","payload":' + '{"a":' * 40 + "1" + "}" * 41,
                 json.dumps(subscribe("x" * 129, "{ __typename }"))):
        closed_with(port, check, f"no message: {text[:60]}", 4400, text)
    closed_with(port, check, "two inits", 4429, {"type": "connection_init"})
    closed_with(port, check, "subscribe before the ack", 4401, query, init=False)
    closed_with(port, check, "an id that is taken", 4409, subscribe("s", FOLLOW), subscribe("s", FOLLOW))
    closed_with(port, check, "no init", 4408, init=False)
    closed_with(port, check, "binary", 1003, ws.frame(ws.BINARY, b"{}"))
    closed_with(port, check, "no UTF-8", 1007, ws.frame(ws.TEXT, b"\xff"))
    closed_with(port, check, "no mask", 1002, ws.frame(ws.TEXT, b"{}", mask=b""))
    closed_with(port, check, "oversize", 1009, ws.frame(ws.TEXT, b" " * 65537))
    closed_with(port, check, "2 GiB", 1009, ws.frame(ws.TEXT, b"", head=b"\xff\0\0\0\0\x80\0\0\0"))
    closed_with(port, check, "a flood", 1008, *[{"type": "ping"}] * 120)
    client = opened(port)
    client.send(subscribe("big", "{ __typename }" + " " * 17000))
    big = client.receive()
    check(big["type"] == "error" and "bytes" in big["payload"][0]["message"], "a document over 16 KiB", big)
    for at in range(60):  # come and go at once
        client.send(subscribe("s", FOLLOW)) if at % 2 == 0 else client.send({"id": "s", "type": "complete"})
    client.send(subscribe("end", "{ __typename }"))
    while (told := client.receive()) and told["id"] != "end":
        check(told["id"] == "s", "only of what was asked", told)
    check(told and told["payload"]["data"] == {"__typename": "Query"}, "it still answers", told)
    client.close()


def plain(document, prefix):
    """What is the same in every run: no offsets."""
    return re.sub(r"/\d+@\d+", "/0@0", json.dumps(document).replace(prefix, ""))


def examples(port, check, prefix, command):
    """The lines of docs/graphql.md; the position that was told last stands in place of those of the page."""
    blocks = re.findall(r"```stream\n(.*?)```", (ROOT / "docs/graphql.md").read_text(), re.S)
    client, told, count = ws.Client(port, "/graphql", SUBPROTOCOL), "", 0
    for line in [line for block in blocks for line in block.splitlines()]:
        count += 1
        if line.startswith("$ "):
            _, path, body = line[2:].split(" ", 2)
            command(path.rsplit("/", 1)[1], **json.loads(body))
        elif line == "~":
            client.close()
            client = ws.Client(port, "/graphql", SUBPROTOCOL)
        elif line.startswith("> "):
            text = line[2:].replace("stock.events/0@1000000000", told.partition("@")[0] + "@1000000000")
            client.send(re.sub(r"(?<!\.)stock\.events/0@14", told, text))
        else:
            answer = client.receive()
            told = answer.get("payload", {}).get("extensions", {}).get("position", told) \
                if answer["type"] == "next" else told
            check(plain(answer, prefix) == plain(json.loads(line[2:]), prefix), f"docs/graphql.md: {line}", answer)
    check(count > 12, "the lines of docs/graphql.md", count)
    client.close()


def run(port, check):
    for part in (handshakes, operations, burst, hostile):
        part(port, check)
