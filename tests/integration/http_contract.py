#!/usr/bin/env python3
"""Replays the HTTP contract against a running tally: commands and their outcomes, reads, pages,
conditions, positions, probes. Names are new in every run, so it may run again on the same instance.
TALLY_TEST_HTTP=host:port http_contract.py"""
import http.client
import json
import os
import pathlib
import re
import socket
import struct
import sys
import threading
import time
import uuid

HOST, PORT = os.environ.get("TALLY_TEST_HTTP", "127.0.0.1:8080").rsplit(":", 1)
PATIENCE_S = 60  # for what is bound to come
ROOT = pathlib.Path(__file__).resolve().parents[2]
RUN = uuid.uuid4().hex[:8].upper()
NUMBERS = ("on_hand", "damaged", "quality_control", "held", "reserved", "committed", "safety_stock", "incoming",
           "available", "backordered")
failures = []
seen = []  # every request with its answer
checks = 0
lock = threading.Lock()


def check(holds, name, *facts):
    global checks
    with lock:
        checks += 1
        if not holds:
            failures.append(name)
            print(f"http_contract: {name}: {' '.join(map(str, facts))}", flush=True)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            return {}

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:600]!r}"


def ask(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(HOST, int(PORT), timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = Answer(connection.getresponse())
        seen.append((method, path, answer))
        return answer
    finally:
        connection.close()


def get(path, **headers):
    return ask("GET", path, **headers)


def send(kind, fields, key=None, **headers):
    headers = {"Content_Type": "application/json", "Idempotency_Key": key or str(uuid.uuid4()), **headers}
    return ask("POST", f"/v1/commands/{kind}", fields if isinstance(fields, bytes) else json.dumps(fields), **headers)


def wait(kind, fields, key=None, **headers):
    return send(kind, fields, key, Prefer="wait=30", **headers)


def expect(name, answer, status, /, **members):
    check(answer.status == status, name, "expected", status, answer)
    document = answer.json()
    for member, value in members.items():
        check(document.get(member, "absent") == value, f"{name}: {member}", "expected", value, answer)
    if status >= 400:
        check(answer.headers["Content-Type"] == "application/problem+json", name, "is no problem", answer)
        check(answer.headers["Cache-Control"] == "no-store", name, "may be stored", answer)
        kind = "/problems/" + document.get("code", "").lower().replace("_", "-")
        check(document.get("type") == kind and document.get("status") == status, f"{name}: problem", answer)
    return document


def msgpack(value):
    if value is None:
        return b"\xc0"
    if isinstance(value, int):
        return b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, str):
        return b"\xd9" + bytes([len(value.encode())]) + value.encode()
    return b"\xde" + struct.pack(">H", len(value)) + b"".join(msgpack(k) + msgpack(v) for k, v in value.items())


def zeros(**values):
    return {**dict.fromkeys(NUMBERS, 0), **values}


def set_up(mark=""):
    """A warehouse that every stock task knows, and SKUs."""
    warehouse = f"W{mark}{RUN}"
    expect("register a warehouse", wait("RegisterWarehouse", {"warehouse": warehouse, "name": "Test"}), 200, status="ACCEPTED")
    skus = [f"S-{RUN}-{mark}{i}" for i in range(8)]
    for sku in skus:
        expect("register a SKU", wait("RegisterSku", {"sku": sku}), 200, status="ACCEPTED")
    end = time.monotonic() + PATIENCE_S  # the warehouse goes to each partition by a command of its own
    while any(get(f"/v1/stock/{sku}/{warehouse}").status != 200 for sku in skus) and time.monotonic() < end:
        pass
    return warehouse, skus


def commands(warehouse, sku):
    fields = {"sku": sku, "warehouse": warehouse, "quantity": 40}
    first = send("ReceiveStock", fields, "c-1-" + RUN, X_Actor="anna")
    pending = expect("202", first, 202, command_id="c-1-" + RUN, type="ReceiveStock", key=sku, status="PENDING")
    check(list(pending) == ["command_id", "type", "key", "status", "position"], "202: members", pending)
    check(first.headers["Location"] == f"/v1/commands/c-1-{RUN}?at={pending['position']}", "202: Location", first)
    check(first.headers["Tally-Position"] == pending["position"], "202: Tally-Position", first)
    check("Preference-Applied" not in first.headers, "202: no preference", first)
    outcome = expect("the outcome at its position", get(first.headers["Location"], Prefer="wait=30"), 200,
                     command_id="c-1-" + RUN, status="ACCEPTED", code=None, version=1, position=pending["position"],
                     duplicate=False, result={"sku": sku, "warehouse": warehouse, "seq": 1, "version": 1,
                                              "after": zeros(on_hand=40, available=40)})
    check(list(outcome) == ["command_id", "type", "key", "status", "code", "retryable", "detail", "errors", "version",
                            "position", "time", "result", "duplicate"], "outcome: members", outcome)
    again = wait("ReceiveStock", dict(reversed(fields.items())), "c-1-" + RUN)
    expect("a repeat", again, 200, duplicate=True, position=pending["position"], result=outcome["result"])
    check(again.headers["Idempotent-Replayed"] == "true", "a repeat: header", again)
    check(again.headers["Preference-Applied"] == "wait=30", "a repeat: preference", again)
    check(again.headers["Tally-Position"] == pending["position"], "a repeat: position", again)
    expect("a repeat in flat form", wait("ReceiveStock", {**fields, "type": "ReceiveStock", "command_id": "c-1-" + RUN},
                                         f'"c-1-{RUN}"'), 200, duplicate=True)
    expect("a repeat in MessagePack", wait("ReceiveStock", msgpack(fields), "c-1-" + RUN,
                                           Content_Type="application/msgpack"), 200, duplicate=True)
    reused = wait("ReceiveStock", {**fields, "quantity": 41}, "c-1-" + RUN)
    expect("a repeat with other fields", reused, 422, code="IDEMPOTENCY_KEY_REUSED", command_id="c-1-" + RUN)
    expect("a repeat without wait", send("ReceiveStock", fields, "c-1-" + RUN), 202, status="PENDING")
    for path in (f"/v1/commands/c-1-{RUN}", first.headers["Location"]):
        answer = get(path)
        expect("the outcome", answer, 200, result=outcome["result"])
        current(answer, "the outcome")
        check("Preference-Applied" not in answer.headers, "the outcome: no preference", answer)
        answer = get(path, Prefer="wait=30")
        expect("the outcome, waited for", answer, 200, result=outcome["result"])
        check(answer.headers.get_all("Preference-Applied") == ["wait=30"], "the outcome: preference", answer)
    return pending["position"]


def refusals(warehouse, sku):
    ship = {"sku": sku, "warehouse": warehouse, "quantity": 41, "shipment_id": "s"}
    meta = {"sku": sku, "warehouse": warehouse, "requested": 41, "available": 40}
    refused = wait("ShipStock", ship, "c-2-" + RUN)
    expect("too little stock", refused, 409, code="INSUFFICIENT_STOCK", retryable=False, command_id="c-2-" + RUN,
           duplicate=False, instance="/v1/commands/c-2-" + RUN, detail="available 40, requested 41",
           errors=[{"pointer": "/quantity", "code": "INSUFFICIENT_STOCK", "meta": meta}])
    again = wait("ShipStock", ship, "c-2-" + RUN)
    expect("refused again", again, 409, code="INSUFFICIENT_STOCK", duplicate=True)
    check(again.headers["Idempotent-Replayed"] == "true", "refused again: header", again)
    expect("a refusal as a resource", get(f"/v1/commands/c-2-{RUN}"), 200, status="REJECTED", code="INSUFFICIENT_STOCK",
           version=None, result=None)
    receive = {"sku": sku, "warehouse": warehouse, "quantity": 1}
    expect("a broken rule", wait("ReceiveStock", {**receive, "quantity": 0}), 422, code="VALIDATION_FAILED")
    expect("an unknown field", wait("ReceiveStock", {**receive, "colour": 1}), 422, code="VALIDATION_FAILED")
    expect("an unknown SKU", wait("ReceiveStock", {**receive, "sku": "NO-" + RUN}), 404, code="UNKNOWN_SKU", retryable=True)
    expect("an unknown warehouse", wait("ReceiveStock", {**receive, "warehouse": "NO"}), 404, code="UNKNOWN_WAREHOUSE")
    tag = get(f"/v1/stock/{sku}/{warehouse}").headers["ETag"]
    stale = tag.replace("-v1", "-v7")
    expect("another version", wait("ReceiveStock", receive, If_Match=stale), 412, code="VERSION_CONFLICT",
           errors=[{"pointer": "/expected_version", "code": "VERSION_CONFLICT", "meta": {"expected": 7, "actual": 1}}])
    expect("If-Match differs from the body", send("ReceiveStock", {**receive, "expected_version": 2}, If_Match=tag), 400,
           code="INVALID_PARAMETER")
    expect("this version", wait("ReceiveStock", {**receive, "expected_version": 1}, If_Match=tag), 200, version=2)
    expect("any version", wait("ReceiveStock", receive, If_Match="*"), 200, version=3)
    expect("no key", ask("POST", "/v1/commands/ReceiveStock", "{}", Content_Type="application/json"), 400,
           code="IDEMPOTENCY_KEY_MISSING")
    expect("no such command", send("NoSuchThing", receive), 404, code="UNKNOWN_COMMAND")
    expect("no media type", ask("POST", "/v1/commands/ReceiveStock", b"{}", Idempotency_Key="x"), 415,
           code="UNSUPPORTED_MEDIA_TYPE")
    broken = expect("broken JSON", send("ReceiveStock", b'{"sku":"A",}'), 400, code="MALFORMED_BODY")
    check("byte 1" in broken["detail"], "broken JSON: names the byte", broken)
    expect("no outcome", get(f"/v1/commands/none-{RUN}"), 404, code="COMMAND_NOT_FOUND")
    expect("no outcome at a passed position", get(f"/v1/commands/none-{RUN}?at={refused.json()['position']}"), 404,
           code="COMMAND_NOT_FOUND")
    topic, _, _ = refused.json()["position"].partition("@")
    expect("a position to come", get(f"/v1/commands/none-{RUN}?at={topic}@9000000000"), 200, status="PENDING",
           position=f"{topic}@9000000000")
    expect("a position of another topic", get("/v1/commands/a?at=other/0@1"), 400, code="INVALID_PARAMETER")


def batches(warehouse, sku):
    def post(body, **headers):
        headers = {"Content_Type": "application/json", **headers}
        return ask("POST", "/v1/commands:batch", body if isinstance(body, bytes) else json.dumps(body), **headers)

    def receive(number, **more):
        return {"type": "ReceiveStock", "command_id": f"b-{number}-{RUN}", "sku": sku, "warehouse": warehouse,
                "quantity": 1, **more}
    good = [receive(i) for i in range(3)]
    before = get(f"/v1/stock/{sku}/{warehouse}").json()
    items = expect("a batch", post({"commands": good}, X_Actor="anna"), 202)["items"]
    check([list(item) for item in items] == [["command_id", "type", "key", "status", "position", "location"]] * 3
          and [item["command_id"] for item in items] == [command["command_id"] for command in good]
          and all(item["status"] == "PENDING" and item["key"] == sku for item in items), "a batch: items", items)
    check(all(item["location"] == f"/v1/commands/{item['command_id']}?at={item['position']}" for item in items),
          "a batch: where", items)
    outcomes = [get(item["location"], Prefer="wait=30").json() for item in items]
    check([outcome["version"] for outcome in outcomes] == [before["version"] + i for i in (1, 2, 3)], "a batch: order", outcomes)
    again = post({"commands": good}, Prefer="wait=30")
    check(again.headers["Preference-Applied"] == "wait=30", "a batch again: preference", again)
    expect("a batch again", again, 200, items=[{**outcome, "duplicate": True} for outcome in outcomes])
    entry = get(f"/v1/stock/{sku}/ledger?warehouse={warehouse}&limit=1").json()["items"][0]
    check(entry["actor"] == "anna", "a batch: actor", entry)
    mixed = [receive(4), {"type": "NoSuchThing", "command_id": "b-5-" + RUN}, receive(6, command_id="no id"), 7,
             {"type": "ReceiveStock"}, {"command_id": "b-8-" + RUN}, receive(9, sku="-"), receive(10, quantity=0),
             {"type": "ClaimSku", "command_id": "b-11-" + RUN}, receive(12)]
    answer = post({"commands": mixed}, Prefer="wait=30")
    items = expect("a mixed batch", answer, 200)["items"]
    check(answer.headers["Cache-Control"] == "no-cache", "a mixed batch: its refusals are not its own", answer)
    refused = [(i, item["command_id"], item["code"], item["http_status"]) for i, item in enumerate(items)
               if list(item) == ["command_id", "status", "code", "http_status"] and item["status"] == "REJECTED"]
    check(refused == [(1, "b-5-" + RUN, "UNKNOWN_COMMAND", 404), (2, None, "INVALID_PARAMETER", 400),
                      (3, None, "MALFORMED_BODY", 400), (4, None, "IDEMPOTENCY_KEY_MISSING", 400),
                      (5, "b-8-" + RUN, "MALFORMED_BODY", 400), (6, "b-9-" + RUN, "VALIDATION_FAILED", 422),
                      (8, "b-11-" + RUN, "UNKNOWN_COMMAND", 404)], "a mixed batch: refused by HTTP", refused)
    check(items[0]["status"] == items[9]["status"] == "ACCEPTED" and items[9]["version"] == items[0]["version"] + 1,
          "a mixed batch: written", items)
    check(items[7]["status"] == "REJECTED" and items[7]["code"] == "VALIDATION_FAILED" and "position" in items[7],
          "a mixed batch: refused by the engine", items[7])
    check("Retry-After" not in answer.headers, "a mixed batch: headers", answer)
    kinds = [{"type": "RegisterSku", "command_id": f"b-{i}-{RUN}", "sku": f"B-{RUN}-{i}"} for i in range(100, 300)]
    items = expect("many keys", post({"commands": kinds}, Prefer="wait=30"), 200)["items"]
    check(all(item["status"] == "ACCEPTED" for item in items) and len(items) == 200, "many keys: outcomes", items[:3])
    for wrong, pointer in (({}, "/commands"), ({"commands": {}}, "/commands"), ({"commands": []}, "/commands"),
                           ({"commands": [receive(1)] * 1001}, "/commands"), ({"commands": good, "colour": 1}, "/colour")):
        problem = expect("no batch", post(wrong), 422, code="VALIDATION_FAILED")
        check([error["pointer"] for error in problem["errors"]] == [pointer], "no batch: the pointer", pointer, problem)
    for wrong in (b"", b"[]", b'{"commands":[}', b'{"commands":[],"commands":[]}'):
        expect("no document", post(wrong), 400, code="MALFORMED_BODY")
    expect("a batch with If-Match", post({"commands": good}, If_Match="*"), 400, code="INVALID_PARAMETER")
    expect("a batch of another type", post(b"{}", Content_Type="text/plain"), 415, code="UNSUPPORTED_MEDIA_TYPE")
    expect("a batch that is too large", post(b" " * 1048577), 413, code="BODY_TOO_LARGE")
    expect("a batch with a parameter", ask("POST", "/v1/commands:batch?a=1", "{}", Content_Type="application/json"), 400,
           code="INVALID_PARAMETER")
    refused = get("/v1/commands:batch")
    expect("GET of a batch", refused, 405, code="METHOD_NOT_ALLOWED")
    check(refused.headers["Allow"] == "POST", "GET of a batch: Allow", refused)


def current(answer, name):
    """The headers of every answer from state."""
    headers = answer.headers
    check(headers["Tally-Source"] == "rocksdb" and headers["Tally-Lag-Ms"].isdigit()
          and headers["Tally-As-Of"].endswith("Z") and "@" in headers["Tally-Position"], name + ": headers", answer)
    times = re.findall(rb'"(?:updated_at|recorded_at|time)":"([^"]*)"', answer.body)
    check(all(time.decode() <= headers["Tally-As-Of"] for time in times), name + ": it is complete up to what it shows", answer)


def stock(warehouse, sku, fresh):
    answer = get(f"/v1/stock/{sku}")
    current(answer, "a SKU")
    level = {"sku": sku, "warehouse": warehouse, "version": 3, **zeros(on_hand=42, available=42), "policy": "DENY",
             "backorder_limit": None, "low_stock_threshold": None}
    document = expect("a SKU", answer, 200, sku=sku, product_id=None, state="ACTIVE", version=4,
                      totals=zeros(on_hand=42, available=42))
    check({**document["levels"][0], "updated_at": None} == {**level, "updated_at": None}, "a SKU: its level", answer)
    check(list(document["levels"][0]) == [*level, "updated_at"], "a level: members", answer)
    tag = answer.headers["ETag"]
    check(tag.endswith('-v4"') and answer.headers["Cache-Control"] == "no-cache", "a SKU: its tag", answer)
    one = get(f"/v1/stock/{sku}/{warehouse}")
    check(one.json() == document["levels"][0], "one level", one)
    check(one.headers["ETag"] == tag.replace("-v4", "-v3"), "one level: its tag", one)
    for value in (tag, "W/" + tag, f'"x", {tag}', "*"):
        same = get(f"/v1/stock/{sku}", If_None_Match=value)
        check(same.status == 304 and same.body == b"" and same.headers["ETag"] == tag
              and "Content-Type" not in same.headers, "not modified", value, same)
    check(get(f"/v1/stock/{sku}", If_None_Match='"p0-v0"').status == 200, "modified")
    head = ask("HEAD", f"/v1/stock/{sku}")
    check(head.status == 200 and head.body == b"" and head.headers["Content-Length"] == answer.headers["Content-Length"]
          and head.headers["ETag"] == tag, "HEAD", head)
    expect("a filter", get(f"/v1/stock/{sku}?warehouse={warehouse},OTHER"), 200, version=4)
    expect("a filter of others", get(f"/v1/stock/{sku}?warehouse=OTHER"), 200, version=1, levels=[], totals=zeros())
    expect("a SKU without levels", get(f"/v1/stock/{fresh}"), 200, levels=[], version=1, totals=zeros())
    expect("a level of zeros", get(f"/v1/stock/{fresh}/{warehouse}"), 200, version=0, updated_at=None, policy="DENY", **zeros())
    unknown = get(f"/v1/stock/NO-{RUN}")
    expect("no such SKU", unknown, 404, code="UNKNOWN_SKU")
    current(unknown, "no such SKU")
    expect("no such SKU's level", get(f"/v1/stock/NO-{RUN}/{warehouse}"), 404, code="UNKNOWN_SKU")
    expect("no such warehouse", get(f"/v1/stock/{sku}/NO"), 404, code="UNKNOWN_WAREHOUSE")
    found = [item for item in get("/v1/warehouses").json()["items"] if item["warehouse"] == warehouse]
    check(found == [{"warehouse": warehouse, "name": "Test", "state": "OPEN"}], "warehouses", found)
    expect("other Accept", get(f"/v1/stock/{sku}", Accept="text/html"), 406, code="NOT_ACCEPTABLE")


def settings(warehouse, sku):
    configure = {"sku": sku, "warehouse": warehouse, "policy": "BACKORDER", "backorder_limit": 5, "safety_stock": 3,
                 "low_stock_threshold": 10}
    expect("configure", wait("ConfigureStock", configure), 200, status="ACCEPTED")
    expect("settings", get(f"/v1/stock/{sku}/{warehouse}"), 200, policy="BACKORDER", backorder_limit=5, safety_stock=3,
           low_stock_threshold=10, available=-3, backordered=0)
    expect("settings of the past", get(f"/v1/stock/{sku}/{warehouse}?as_of=9999-12-31T23:59:59.999Z"), 200, safety_stock=3,
           available=-3)


def as_of(warehouse, sku, fresh):
    """The level at the time of each entry, just before it, and at the edges; after `ledger`."""
    path = f"/v1/stock/{sku}/{warehouse}?as_of="
    items = get(f"/v1/stock/{sku}/ledger?warehouse={warehouse}").json()["items"]
    for item in items:
        last = next(other for other in items if other["recorded_at"] <= item["recorded_at"])  # of one millisecond
        answer = get(path + item["recorded_at"])
        current(answer, "as of")
        document = expect("as of", answer, 200, sku=sku, warehouse=warehouse, version=last["seq"],
                          updated_at=last["recorded_at"], **last["after"])
        check(list(document) == ["sku", "warehouse", "version", *NUMBERS, "updated_at"], "as of: members", answer)
        check(answer.headers["ETag"].endswith(f'-v{last["seq"]}"'), "as of: tag", answer)
    now = get(f"/v1/stock/{sku}/{warehouse}").json()
    expect("as of what is to come", get(path + "9999-12-31T23:59:59.999Z"), 200, **{name: now[name] for name in NUMBERS})
    check(get(path + items[0]["recorded_at"], If_None_Match="*").status == 304, "as of: not modified")
    expect("as of before the first", get(path + "2020-01-01T00:00:00.000Z"), 404, code="NOT_FOUND")
    expect("as of: nothing has moved", get(f"/v1/stock/{fresh}/{warehouse}?as_of={items[0]['recorded_at']}"), 404,
           code="NOT_FOUND")
    expect("as of: no such SKU", get(f"/v1/stock/NO-{RUN}/{warehouse}?as_of={items[0]['recorded_at']}"), 404,
           code="UNKNOWN_SKU")
    for time_text in ("", "yesterday", "2026-01-15", "2026-02-30T10:00:00.000Z", "-1"):
        expect("as of no time", get(path + time_text), 400, code="INVALID_PARAMETER")


def ledger(warehouse, sku):
    for quantity in range(1, 8):
        wait("ReceiveStock", {"sku": sku, "warehouse": warehouse, "quantity": quantity, "note": f"n{quantity}",
                              "reference": "po"}, X_Actor="anna")
    wait("AdjustStock", {"sku": sku, "warehouse": warehouse, "delta": -1, "reason": "LOST"})
    wait("ShipStock", {"sku": sku, "warehouse": warehouse, "quantity": 2, "shipment_id": "s-9"})
    path = f"/v1/stock/{sku}/ledger?warehouse={warehouse}"
    answer = get(path)
    current(answer, "ledger")
    items = expect("ledger", answer, 200, next_cursor=None)["items"]
    check([item["seq"] for item in items] == list(range(9, 0, -1)), "ledger: newest first", items)
    newest, oldest = items[0], items[-1]
    check(newest["kind"] == "SHIP" and newest["deltas"] == {"on_hand": -2} and newest["cause"] == {"shipment_id": "s-9"}
          and newest["after"] == zeros(on_hand=25, available=25), "ledger: newest", newest)
    check(items[1]["reason"] == "LOST" and items[1]["kind"] == "ADJUST", "ledger: reason", items[1])
    check(list(oldest) == ["sku", "warehouse", "seq", "type", "kind", "deltas", "after", "note", "reference", "actor",
                           "signals", "command_id", "recorded_at", "position"] and oldest["actor"] == "anna"
          and oldest["signals"] == ["BACK_IN_STOCK"], "ledger: oldest", oldest)
    paged, cursor = [], ""
    while cursor is not None:
        page = get(path + "&limit=2" + (f"&cursor={cursor}" if cursor else "")).json()
        paged += page["items"]
        cursor = page["next_cursor"]
    check(paged == items, "ledger: pages", len(paged))
    cursor = get(path + "&limit=2").json()["next_cursor"]
    expect("a cursor of another filter", get(path + f"&kind=SHIP&cursor={cursor}"), 400, code="INVALID_CURSOR")
    expect("a cursor that was changed", get(path + f"&cursor={cursor[:-2]}AA"), 400, code="INVALID_CURSOR")
    kinds = get(path + "&kind=SHIP,ADJUST").json()
    check([item["seq"] for item in kinds["items"]] == [9, 8], "ledger: kinds", kinds)
    for low in range(1, 10):
        for high in range(low, 10):
            times = {item["seq"]: item["recorded_at"] for item in items}
            asked = get(path + f"&from={times[low]}&to={times[high]}").json()["items"]
            wanted = [item for item in items if times[low] <= item["recorded_at"] < times[high]]
            check(asked == wanted, "ledger: from, to", low, high, [item["seq"] for item in asked])
    expect("ledger without a warehouse", get(f"/v1/stock/{sku}/ledger"), 400, code="INVALID_PARAMETER")
    expect("ledger of an unknown SKU", get(f"/v1/stock/NO-{RUN}/ledger?warehouse={warehouse}"), 404, code="UNKNOWN_SKU")
    expect("ledger of another warehouse", get(f"/v1/stock/{sku}/ledger?warehouse=OTHER"), 200, items=[], next_cursor=None)
    expect("no such kind", get(path + "&kind=NONE"), 400, code="INVALID_PARAMETER")
    expect("no time", get(path + "&from=yesterday"), 400, code="INVALID_PARAMETER")
    expect("limit over 200", get(path + "&limit=201"), 400, code="INVALID_PARAMETER")


def positions(warehouse, sku):
    for quantity in range(1, 11):  # what was written can be read, without waiting for the outcome
        at = send("ReceiveStock", {"sku": sku, "warehouse": warehouse, "quantity": 1}).headers["Tally-Position"]
        answer = get(f"/v1/stock/{sku}/{warehouse}", Tally_Min_Position=at, Prefer="wait=30")
        expect("read what was written", answer, 200, on_hand=quantity)
        check(answer.headers["Preference-Applied"] == "wait=30", "read what was written: preference", answer)
    topic, _, offset = at.partition("@")
    late = get(f"/v1/stock/{sku}", Tally_Min_Position=f"{topic}@{int(offset) + 1000000}")
    expect("a position out of reach", late, 503, code="POSITION_NOT_REACHED", retryable=True)
    check(late.headers["Retry-After"] == "1", "a position out of reach: header", late)
    check(get(f"/v1/stock/{sku}", Tally_Min_Position="other/0@5,stock.commands/99@7").status == 200, "positions of others")
    expect("no position", get(f"/v1/stock/{sku}", Tally_Min_Position="stock"), 400, code="INVALID_PARAMETER")


def operations(sku):
    tasks = get("/v1/ops/tasks").json()["items"]
    check(all(list(task) == ["topology", "partition", "state", "position", "lag", "as_of"] and task["state"] == "RUNNING"
              for task in tasks), "tasks", tasks)
    partitions = sorted(task["partition"] for task in tasks if task["topology"] == "stock")
    dumped = []
    for partition in partitions:
        answer = get(f"/v1/ops/dump?topology=stock&partition={partition}")
        check(answer.headers["Content-Type"] == "application/x-ndjson", "dump: type", answer)
        lines = [json.loads(line) for line in answer.body.splitlines()]
        check(all(list(line) == ["topology", "partition", "store", "key", "value"] for line in lines), "dump: members", lines[:3])
        check(answer.body == get(f"/v1/ops/dump?topology=stock&partition={partition}").body, "dump: the same bytes")
        dumped += [line for line in lines if line["store"] == "dedup"]
    listed, cursor = [], ""
    while cursor is not None:
        page = get("/v1/ops/stores/stock/dedup?limit=7" + (f"&cursor={cursor}" if cursor else "")).json()
        listed += page["items"]
        cursor = page["next_cursor"]
    check([(row["partition"], row["key"], row["value"]) for row in listed]
          == [(row["partition"], row["key"], row["value"]) for row in dumped], "stores: all pages", len(listed), len(dumped))
    rows = get(f"/v1/ops/stores/stock/level?prefix={sku}.").json()["items"]
    check(len(rows) == 1 and rows[0]["key"].startswith(sku + "."), "stores: prefix", rows)
    expect("no such store", get("/v1/ops/stores/stock/none"), 404, code="NOT_FOUND")
    for query in ("topology=none&partition=0", "topology=stock&partition=1000", "topology=stock&partition=-1"):
        expect("no such task", get("/v1/ops/dump?" + query), 404, code="NOT_FOUND")
    for query in ("", "topology=stock", "partition=0", "topology=stock&partition=x"):
        expect("no task is named", get("/v1/ops/dump?" + query), 400, code="INVALID_PARAMETER")
    with socket.create_connection((HOST, int(PORT)), timeout=PATIENCE_S) as connection:  # without chunks: up to its end
        connection.sendall(f"GET /v1/ops/dump?topology=stock&partition={partitions[-1]} HTTP/1.0\r\nHost: a\r\n\r\n".encode())
        old, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    check(b"Content-Length" not in old and b"Transfer-Encoding" not in old and body == answer.body, "dump: HTTP/1.0", old, len(body))
    head = ask("HEAD", "/v1/ops/dump?topology=stock&partition=0")
    check(head.status == 200 and head.body == b"", "HEAD of a dump", head)


def probes():
    for path, other in (("/livez", "/health/live"), ("/readyz", "/health/ready"), ("/startupz", "/health/startup")):
        for name in (path, other):
            answer = get(name)
            check(answer.status == 200 and answer.body == b"ok" and answer.headers["Content-Type"].startswith("text/plain"),
                  name, answer)
            check(get(name + "?verbose").body.endswith(f"{path[1:]} check passed\n".encode()), name + " verbose")
    lines = get("/readyz?verbose").body.splitlines()
    check(b"[+]kafka ok" in lines and b"[+]state ok" in lines, "readyz: checks", lines)
    metrics = get("/metrics").body.decode()
    check('tally_http_requests_total{route="/v1/stock/{sku}",status="2xx"}' in metrics, "metrics: requests")
    check('tally_http_request_seconds_count{route="/v1/stock/{sku}"}' in metrics, "metrics: times")


def codes(path):
    return re.findall(r"^X\((\w+),", (ROOT / path).read_text(), re.M)


def problem_pages():
    """Each code of a table has a page, in three forms."""
    for path in ("http/problem.def", "schemas/reject.def", "engine/base/error.def"):
        for code in codes(path):
            where = "/problems/" + code.lower().replace("_", "-")
            answer = get(where)
            page = expect(where, answer, 200, code=code)
            check(list(page) == ["code", "title", "status", "retryable", "help"] and page["title"] and len(page["help"]) > 20
                  and 400 <= page["status"] < 600, f"{where}: members", page)
            check(answer.headers["Vary"] == "Accept", f"{where}: Vary", answer)
            check(ask("HEAD", where).headers["Content-Length"] == str(len(answer.body)), f"{where}: HEAD")
    page = get("/problems/insufficient-stock").json()
    browser = get("/problems/insufficient-stock", Accept="text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
    check(browser.headers["Content-Type"] == "text/html; charset=utf-8" and page["help"].encode() in browser.body
          and browser.body.startswith(b"<!DOCTYPE html>"), "a page for browsers", browser)
    text = get("/problems/insufficient-stock", Accept="text/plain")
    check(text.headers["Content-Type"] == "text/plain; charset=utf-8" and page["help"].encode() in text.body, "a page as text", text)
    expect("a page of another type", get("/problems/insufficient-stock", Accept="image/png"), 406, code="NOT_ACCEPTABLE")
    for path in ("INSUFFICIENT_STOCK", "none", "insufficient_stock", "a" * 65):
        expect("no such page", get("/problems/" + path), 404, code="NOT_FOUND")


def connections():
    """Many requests on one connection, chunks, 100-continue."""
    with socket.create_connection((HOST, int(PORT)), timeout=PATIENCE_S) as connection:
        stream = connection.makefile("rwb")

        def answer():
            status = int(stream.readline().split()[1])
            headers = {}
            while (line := stream.readline().strip()):
                name, _, value = line.partition(b": ")
                headers[name] = value
            return status, headers, stream.read(int(headers.get(b"Content-Length", 0)))

        def write(text):
            stream.write(text.encode())
            stream.flush()
        write("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        for _ in range(3):
            check(answer()[0] == 200, "pipelined requests")
        send_line = "POST /v1/commands/RegisterSku HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        body = json.dumps({"sku": "S-" + RUN + "-0"})
        write(send_line + f"Idempotency-Key: k-{RUN}\r\nTransfer-Encoding: chunked\r\n\r\n"
              + f"{len(body[:5]):x}\r\n{body[:5]}\r\n{len(body[5:]):X}\r\n{body[5:]}\r\n0\r\n\r\n")
        check(answer()[0] == 202, "chunks")
        write(send_line + f"Idempotency-Key: k-{RUN}\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n")
        check(answer()[0] == 100, "100-continue")
        write(body)
        check(answer()[0] == 202, "after 100-continue")
        write("PUT /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        check(answer()[0] == 405, "a body that nobody wants")
        write("GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        status, headers, _ = answer()
        check(status == 200 and headers[b"Connection"] == b"close" and stream.read() == b"", "the last one")


class Line:
    """One connection, on which requests are written as they are."""

    def __init__(self):
        self.socket = socket.create_connection((HOST, int(PORT)), timeout=PATIENCE_S)
        self.stream = self.socket.makefile("rwb")

    def write(self, text):
        self.stream.write(text.encode())
        self.stream.flush()

    def answer(self, method="GET"):
        """Status, the headers that do not tell the time, and the body."""
        status, headers = int(self.stream.readline().split()[1]), {}
        while (line := self.stream.readline().strip()):
            name, _, value = line.decode().partition(": ")
            headers[name] = value
        bare = method == "HEAD" or status in (204, 304)
        body = b"" if bare else self.stream.read(int(headers.get("Content-Length", 0)))
        return status, {name: value for name, value in headers.items() if name not in (
            "Date", "Tally-As-Of", "Tally-Lag-Ms", "Tally-Position")}, body

    def ask(self, method, path, *lines, body=""):
        self.write("\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", *lines, "", body]))
        return self.answer(method)

    def close(self):
        self.stream.close()
        self.socket.close()


def lanes(warehouse, sku):
    """Reads of one connection after the other are answered by another thread; nobody can tell, whatever comes between."""
    level = f"/v1/stock/{sku}/{warehouse}"
    tag = get(level).headers["ETag"]
    asked = [("GET", level), ("HEAD", level), ("GET", level, "If-None-Match: " + tag), ("GET", level, 'If-None-Match: "p0-v0"'),
             ("GET", f"/v1/stock/{sku}"), ("GET", f"/v1/stock/{sku}?warehouse={warehouse}"), ("GET", f"/v1/stock/{sku}?wrong=1"),
             ("GET", f"/v1/stock/NONE-{RUN}/{warehouse}"), ("GET", f"/v1/stock/{sku}/NONE"), ("GET", level, "Accept: text/html"),
             ("GET", level + "?as_of=2026-01-15T10:00:00.000Z"), ("GET", level + "/"), ("GET", level, "Prefer: wait=1"),
             ("GET", level, "Tally-Min-Position: x"), ("GET", level, "Content-Length: 0"), ("GET", level, "Content-Length: 3"),
             ("GET", "/v1/reservations/none-" + RUN), ("GET", "/livez"), ("PUT", level, "Content-Length: 0"), ("OPTIONS", level),
             ("GET", level, "Cookie: " + "x" * 6000), ("GET", level, "X-Latin: \u00e9"), ("GET", level, *["X: y"] * 40),
             ("GET", level, "connection: Keep-Alive"), ("GET", "/" + "x" * 2100)]
    line = Line()
    for method, path, *lines in asked:
        body = "abc" if "Content-Length: 3" in lines else ""
        fresh = Line()
        wanted = fresh.ask(method, path, *lines, body=body)
        fresh.close()
        for _ in range(3):
            check(line.ask("GET", level)[0] == 200, "in a lane")
        found = line.ask(method, path, *lines, body=body)
        check(found == wanted, "in a lane as elsewhere", method, path, lines, found, wanted)
        if found[1]["Connection"] == "close":
            check(line.stream.read() == b"", "in a lane: the end", path)
            line.close()
            line = Line()
    read = f"GET {level} HTTP/1.1\r\nHost: a\r\n\r\n"
    for count in (2, 40):  # more than a lane answers in a row
        line.write(read * count + "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" + read * count)
        told = [line.answer() for _ in range(2 * count + 1)]
        check([status for status, _, _ in told] == [200] * (2 * count + 1) and told[count][2] == b"ok"
              and told[0] == told[-1], "in a lane: many at once", count)
    for cut in (1, 4, 20, len(read) - 1):  # a request that comes in pieces
        line.write(read + read[:cut])
        check(line.answer()[0] == 200, "in a lane: before a part")
        time.sleep(0.05)
        line.write(read[cut:])
        check(line.answer()[0] == 200, "in a lane: a part and its rest", cut)
    key = f"lane-{RUN}"
    sent = json.dumps({"sku": sku, "warehouse": warehouse, "quantity": 3})
    headers = [f"Idempotency-Key: {key}", "Content-Type: application/json", "Prefer: wait=30", f"Content-Length: {len(sent)}"]
    before = json.loads(line.ask("GET", level)[2])
    line.write(read * 3 + "\r\n".join(["POST /v1/commands/ReceiveStock HTTP/1.1", "Host: a", *headers, "", sent]) + read * 3)
    told = [line.answer() for _ in range(7)]
    check([json.loads(told[i][2])["on_hand"] - before["on_hand"] for i in (0, 2, 4, 6)] == [0, 0, 3, 3] and told[3][0] == 200,
          "in a lane: a command between reads", told)
    check(line.ask("GET", level, "Connection: close")[1]["Connection"] == "close" and line.stream.read() == b"", "in a lane: close")
    line.close()


def replay():
    warehouse, skus = set_up()
    commands(warehouse, skus[0])
    refusals(warehouse, skus[0])
    stock(warehouse, skus[0], skus[1])
    settings(warehouse, skus[2])
    batches(warehouse, skus[5])
    ledger(warehouse, skus[3])
    as_of(warehouse, skus[3], skus[1])
    positions(warehouse, skus[4])
    operations(skus[0])
    probes()
    problem_pages()
    connections()
    lanes(warehouse, skus[0])


def finish():
    print(f"{100 * (checks - len(failures)) // max(checks, 1)}%: Checks: {checks}, "
          f"Failures: {len(failures)}, Errors: 0")
    return 1 if failures else 0


if __name__ == "__main__":
    replay()
    sys.exit(finish())
