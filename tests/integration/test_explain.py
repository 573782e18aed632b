#!/usr/bin/env python3
"""What made a number: GET /v1/stock/{sku}/{warehouse}/explain and `tally explain`, with the ledger and without, against the
records that are in Kafka. TEST_KAFKA: host:port; TEST_TALLY: the program."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "crash"))

from instance import Instance  # noqa: E402

KAFKA = os.environ["TEST_KAFKA"]
PARTITIONS = 2
BUCKETS = ["on_hand", "damaged", "quality_control", "held", "reserved", "committed", "safety_stock", "incoming"]
KINDS = {"RECEIVE", "RETURN", "ADJUST", "SET", "CONFIGURE", "SHIP", "HOLD", "RESERVE", "COMMIT", "RELEASE", "TRANSFER_OUT",
         "TRANSFER_BACK", "TRANSFER_EXPECT", "TRANSFER_IN", "TRANSFER_LOSS"}
results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_explain: {name}: {' '.join(map(str, facts))[:2000]}", flush=True)


class Tally:
    """An instance, its verbs and its API."""

    def __init__(self, folder, name, topologies, **settings):
        self.name = name
        self.instance = Instance(os.environ["TEST_TALLY"], os.path.join(folder, name), KAFKA, name, {
            "topologies": topologies, "topics.partitions": PARTITIONS, **settings})
        self.instance.tool("topics", "create", "--topologies", "catalogue,stock,reservation,transfer")
        self.start()

    def start(self):
        self.instance.start()
        end = time.monotonic() + 60
        while (self.instance.get("/startupz") or (0,))[0] != 200 and time.monotonic() < end:
            time.sleep(0.05)

    def send(self, kind, actor=None, status=200, **fields):
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4()), "Prefer": "wait=30",
                   **({"X-Actor": actor} if actor else {})}
        got, body = self.instance.request(f"/v1/commands/{kind}", json.dumps(fields).encode(), headers, 60)
        check(got == status, f"{kind} {fields}", got, body)
        return json.loads(body)

    def get(self, path, status=200, **query):
        text = "?" + urllib.parse.urlencode(query) if query else ""
        got, body = self.instance.request(path + text, headers={"Prefer": "wait=30"}, limit=60)
        check(got == status, f"GET {path}{text}", got, body)
        return json.loads(body)

    def explain(self, sku, warehouse, status=200, **query):
        return self.get(f"/v1/stock/{sku}/{warehouse}/explain", status, **query)

    def run(self, *arguments, status=0):
        done = subprocess.run([self.instance.program, *arguments, "--config", self.instance.config],
                              env=self.instance.environment, capture_output=True, text=True, timeout=60, check=False)
        check(done.returncode == status, f"status of tally {' '.join(arguments)}", done.returncode, done.stdout, done.stderr)
        return done

    def records(self, topic):
        """position -> record, of a topic without its prefix."""
        lines = self.run("tail", "-t", f"{self.name}.{topic}", "-o", "beginning", "-e", "-q", "-J").stdout.splitlines()
        rows = [json.loads(line) for line in lines]
        return {f"{row['topic']}/{row['partition']}@{row['offset']}": json.loads(row["payload"]) for row in rows}


def until(what, condition, limit=60):
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            check(False, what)
            return
        time.sleep(0.05)


def move(tally):
    """Every kind of movement, of one SKU between two warehouses, with other SKUs in between."""
    sku = "TS-RED-M"
    tally.send("ReceiveStock", "anna", sku=sku, warehouse="AMS1", quantity=100, reference="PO-1", note="first delivery")
    tally.send("ConfigureStock", sku=sku, warehouse="AMS1", safety_stock=3, low_stock_threshold=50)
    tally.send("AdjustStock", "bert", sku=sku, warehouse="AMS1", delta=-2, reason="LOST")
    tally.send("ReceiveStock", sku=sku, warehouse="AMS1", quantity=5, bucket="DAMAGED")
    tally.send("SetStock", sku=sku, warehouse="AMS1", name="ON_HAND", quantity=110, change_from=None)
    for number in range(30):
        tally.send("ReceiveStock", sku=f"OTHER-{number}", warehouse="AMS1", quantity=1)
    tally.send("ShipStock", sku=sku, warehouse="AMS1", quantity=4, shipment_id="S-1")
    tally.send("ReturnStock", sku=sku, warehouse="AMS1", quantity=1, return_id="B-1", condition="INSPECT")
    tally.send("ShipStock", sku=sku, warehouse="AMS1", quantity=5000, shipment_id="S-2", status=409)
    tally.send("ReserveStock", "carol", reservation_id="R-1", lines=[{"sku": sku, "quantity": 6, "warehouse": "AMS1"}])
    tally.send("ReserveStock", reservation_id="R-2", lines=[{"sku": sku, "quantity": 2, "warehouse": "AMS1"}])
    until("both are reserved", lambda: tally.get(f"/v1/stock/{sku}/AMS1")["reserved"] == 8)
    tally.send("CommitReservation", reservation_id="R-1", order_id="O-1")
    tally.send("ReleaseReservation", reservation_id="R-2")
    until("one is committed", lambda: tally.get(f"/v1/stock/{sku}/AMS1")["committed"] == 6)
    tally.send("ShipStock", sku=sku, warehouse="AMS1", quantity=6, shipment_id="S-3", reservation_id="R-1", line=1)
    tally.send("DispatchTransfer", transfer_id="T-1", sku=sku, quantity=10, **{"from": "AMS1", "to": "RTM2"})
    tally.send("ReceiveTransfer", transfer_id="T-1", quantity=4)
    tally.send("CancelTransfer", transfer_id="T-1", disposition="RESTOCK")
    tally.send("DispatchTransfer", transfer_id="T-2", sku=sku, quantity=3, **{"from": "AMS1", "to": "RTM2"})
    tally.send("ReceiveTransfer", transfer_id="T-2", quantity=2, close=True)
    until("all has arrived", lambda: [tally.get(f"/v1/stock/{sku}/{w}")[n] for w in ("AMS1", "RTM2") for n in
                                      ("reserved", "committed", "incoming")] == [0] * 6
          and tally.get(f"/v1/stock/{sku}/AMS1")["version"] >= 17)
    return sku


def adds_up(answer, name):
    """The deltas of all entries, summed here, are the level; each `after` is the sum so far."""
    items, level = answer["items"], answer["level"]
    sums = dict.fromkeys(BUCKETS, 0)
    for item in reversed(items):
        for bucket, delta in item["deltas"].items():
            sums[bucket] += delta
        check(all(item["after"][bucket] == sums[bucket] for bucket in BUCKETS), f"{name}: running sum at {item['seq']}",
              item, sums)
    check(sums == {bucket: level[bucket] for bucket in BUCKETS}, f"{name}: the sum is the level", sums, level)
    check([item["seq"] for item in items] == list(range(level["version"], 0, -1)), f"{name}: every entry once",
          [item["seq"] for item in items])
    verdict = answer["check"]
    check(verdict["result"] == "consistent" and verdict["whole"] and verdict["break"] is None, f"{name}: consistent", verdict)
    check(verdict["sum"] == sums and verdict["before"] == dict.fromkeys(BUCKETS, 0)
          and (verdict["newest"], verdict["oldest"]) == (level["version"], 1), f"{name}: what was checked", verdict)


def positions_lead(tally, answer, name):
    """Each entry's positions are those of its event and of the command that it was decided from."""
    events, commands = tally.records("stock.events"), tally.records("stock.commands")
    for item in answer["items"]:
        event, command = events.get(item["event_position"], {}), commands.get(item["position"], {})
        check(event.get("id") == item["event_id"] and event["payload"].get("seq") == item["seq"]
              and event["payload"]["warehouse"] == item["warehouse"] and event["type"] == item["type"]
              and event["causation_id"] == item["command_id"] and event["time"] == item["recorded_at"],
              f"{name}: event of {item['seq']}", item, event)
        check(command.get("command_id", command.get("id")) == item["command_id"] and command["type"] == item["command"],
              f"{name}: command of {item['seq']}", item, command)
        check(item["event_id"].split("/")[1] == item["position"].rsplit("/", 1)[1], f"{name}: the id has the command", item)


def whole(tally, sku, source):
    kinds = set()
    for warehouse in ("AMS1", "RTM2"):
        answer = tally.explain(sku, warehouse, limit=200)
        name = f"{source} {warehouse}"
        check(answer["source"] == source and answer["next_cursor"] is None, f"{name}: source", answer)
        check(answer["level"] == tally.get(f"/v1/stock/{sku}/{warehouse}"), f"{name}: level", answer["level"])
        adds_up(answer, name)
        positions_lead(tally, answer, name)
        kinds |= {item["kind"] for item in answer["items"]}
        pages(tally, sku, warehouse, answer, name)
        times(tally, sku, warehouse, answer, name)
        buckets(tally, sku, warehouse, answer, name)
    check(kinds == KINDS, f"{source}: every kind of movement", KINDS - kinds)
    first = tally.explain(sku, "AMS1", limit=200)["items"][-1]
    check((first["actor"], first["reference"], first["note"]) == ("anna", "PO-1", "first delivery"), f"{source}: who and why",
          first)
    hold = [item for item in tally.explain(sku, "AMS1", limit=200)["items"] if item["kind"] == "HOLD"][-1]
    check(hold["cause"] == {"reservation_id": "R-1", "line": 1} and hold["command"] == "HoldStock" and
          hold["actor"] == "carol" and hold["command_id"].startswith("~") and not hold["correlation_id"].startswith("~"),
          f"{source}: a hold leads to its reservation", hold)


def pages(tally, sku, warehouse, answer, name):
    items, cursor, seen = [], {}, []
    while True:
        page = tally.explain(sku, warehouse, limit=3, **cursor)
        items += page["items"]
        seen.append(page["check"])
        check(page["check"]["result"] == "consistent", f"{name}: check of a page", page["check"])
        check(("level" in page) == (not cursor), f"{name}: the level is on the first page", page.keys())
        if not page["next_cursor"]:
            break
        cursor = {"cursor": page["next_cursor"]}
    check(items == answer["items"], f"{name}: pages", len(items), len(answer["items"]))
    check(seen[-1]["whole"] or len(seen) == 1, f"{name}: the last page has the first entry", seen[-1])
    if len(seen) > 1:
        tally.explain(sku, warehouse, 400, bucket="held", **cursor)


def times(tally, sku, warehouse, answer, name):
    for at, item in enumerate(answer["items"]):
        when = item["recorded_at"]
        newer = [other for other in answer["items"][:at] if other["recorded_at"] == when]
        if newer:
            continue
        then = tally.explain(sku, warehouse, limit=200, as_of=when)
        check(then["items"] == answer["items"][at:], f"{name}: as of {when}", [other["seq"] for other in then["items"]])
        check(then["level"] == tally.get(f"/v1/stock/{sku}/{warehouse}", as_of=when) if "ledger" in name else
              then["level"]["version"] == item["seq"], f"{name}: level as of {when}", then["level"])
        check(then["check"]["result"] == "consistent" and then["check"]["whole"], f"{name}: check as of {when}", then["check"])
    nothing = tally.explain(sku, warehouse, 404, as_of="2001-01-01T00:00:00Z")
    check(nothing["code"] == "NOT_FOUND", f"{name}: as of long ago", nothing)


def buckets(tally, sku, warehouse, answer, name):
    before = dict.fromkeys([*BUCKETS, "available", "backordered"], 0)
    changes = {bucket: [] for bucket in before}
    for item in reversed(answer["items"]):
        for bucket in before:
            if item["after"][bucket] != before[bucket]:
                changes[bucket].insert(0, item["seq"])
        before = item["after"]
    for bucket, wanted in changes.items():
        page = tally.explain(sku, warehouse, limit=200, bucket=bucket)
        check([item["seq"] for item in page["items"]] == wanted and page["check"]["whole"], f"{name}: bucket {bucket}",
              [item["seq"] for item in page["items"]], wanted)


def refusals(tally, sku):
    for query, wanted in (({"limit": 0}, "limit"), ({"limit": 201}, "limit"), ({"bucket": "onhand"}, "bucket"),
                          ({"bucket": ""}, "bucket"), ({"as_of": "yesterday"}, "as_of"), ({"colour": "red"}, "colour")):
        refused = tally.explain(sku, "AMS1", 400, **query)
        check(refused["code"] == "INVALID_PARAMETER" and wanted in refused["detail"], f"refused: {query}", refused)
    check(tally.explain(sku, "AMS1", 400, cursor="AAAA")["code"] == "INVALID_CURSOR", "a cursor of nobody")
    check(tally.explain("NONE", "AMS1", 404)["code"] == "UNKNOWN_SKU", "an unknown SKU")
    check(tally.explain(sku, "NONE", 404)["code"] == "UNKNOWN_WAREHOUSE", "an unknown warehouse")
    check(tally.explain(sku, "none", 404)["code"] == "UNKNOWN_WAREHOUSE", "a name that is none")


def verb(tally, sku):
    """`tally explain` tells what the API does."""
    answer = tally.explain(sku, "AMS1", limit=200)
    lines = tally.run("explain", sku, "AMS1", "--all", "-o", "json").stdout.splitlines()
    check([json.loads(line) for line in lines] == [answer], "explain -o json", lines)
    lines = tally.run("explain", sku, "AMS1", "--limit", "101", "--bucket", "held", "-o", "json").stdout.splitlines()
    check([item["seq"] for line in lines for item in json.loads(line)["items"]] ==
          [item["seq"] for item in tally.explain(sku, "AMS1", limit=200, bucket="held")["items"]], "explain --bucket", lines)
    text = tally.run("explain", sku, "--all").stdout
    for item in answer["items"]:
        check(f"{item['command']} {item['command_id']} at {item['position']}, event {item['event_position']}" in text,
              f"explain: origin of {item['seq']}", text)
    check(text.count("consistent: the deltas of entries 1 to ") == 2 and f"{sku} in AMS1: version " in text
          and f"{sku} in RTM2: version " in text, "explain: both levels", text)
    check('        reference PO-1, note "first delivery"\n' in text and ", by anna\n" in text and
          "        reservation R-1 line 1, order O-1\n" in text and " held +6 = 6; available " in text, "explain: why", text)
    short = tally.run("explain", sku, "AMS1", "--limit", "2").stdout
    check("older entries: --all or --limit" in short and "consistent: the deltas of entries 1 to " in short and
          short.count(" at ") == 2, "explain --limit", short)
    then = answer["items"][3]
    text = tally.run("explain", sku, "AMS1", "--as-of", then["recorded_at"]).stdout
    check(f"version {then['seq']} of {then['recorded_at']}\n" in text, "explain --as-of", text)
    code = tally.run("explain", "INSUFFICIENT_STOCK").stdout
    check(code.startswith("Insufficient stock\nINSUFFICIENT_STOCK, HTTP status 409."), "explain of a code", code)
    tally.send("ReceiveStock", sku="NOT_OWNER", warehouse="AMS1", quantity=1)
    check(tally.run("explain", "--sku", "NOT_OWNER").stdout.startswith("NOT_OWNER in AMS1: version 1 "), "explain --sku")
    for arguments, status, wanted in ((("NONE",), 1, 'no SKU "NONE" is registered'), ((sku, "NONE"), 1, 'no warehouse "NONE"'),
                                      (("NOT_OWNR",), 1, 'did you mean "NOT_OWNER"?'), ((), 2, "expected a code or a SKU"),
                                      ((sku, "ams1"), 2, '"ams1" is no warehouse'), (("A B",), 2, '"A B" is no SKU'),
                                      ((sku, "A", "B"), 2, "argument"), ((sku, "--limit", "0"), 2, "--limit"),
                                      ((sku, "--bucket", "onhand"), 2, "on_hand"), ((sku, "--as-of", "now"), 2, "--as-of")):
        refused = tally.run("explain", *arguments, status=status)
        check(wanted in refused.stderr and not refused.stdout, f"explain {arguments}", refused.stderr)


def long_topic(tally, source):
    """Entries that lie far apart, among many thousand events."""
    lines = (json.dumps({"type": "ReceiveStock", "command_id": f"n-{n}", "sku": f"N-{n % 300}", "warehouse": "W1", "quantity": 1})
             for n in range(30000))
    subprocess.run([tally.instance.program, "send", "-", "--config", tally.instance.config], env=tally.instance.environment,
                   input="\n".join(lines), text=True, capture_output=True, check=True)
    until("all are decided", lambda: all(json.loads(tally.instance.get(f"/v1/stock/N-{n}/W1")[1]).get("version") == 100
                                         for n in (7, 299)))
    answer = tally.explain("N-7", "W1", limit=200)
    check(answer["source"] == source and len(answer["items"]) == 100, f"{source}: a long topic", answer["notes"])
    adds_up(answer, f"{source}: a long topic")
    for item in answer["items"][::45]:
        topic, _, place = item["event_position"].partition("/")
        partition, offset = place.split("@")
        event = json.loads(tally.run("tail", "-t", topic, "-p", partition, "-o", offset, "-c", "1", "-q").stdout)
        check((event["id"], event["payload"]["sku"], event["payload"]["seq"]) == (item["event_id"], "N-7", item["seq"]),
              f"{source}: the event of {item['seq']}", item, event)


def without_ledger(folder, topologies):
    """The events topic alone."""
    tally = Tally(folder, "explain-" + uuid.uuid4().hex[:8], topologies, **{"stock.ledger": False})
    try:
        sku = move(tally)
        whole(tally, sku, "events")
        answer = tally.explain(sku, "AMS1")
        check(answer["notes"] == [f"stock.ledger is false: entries are read from {tally.name}.stock.events"], "it is said",
              answer["notes"])
        told = tally.run("explain", sku, "AMS1")
        long_topic(tally, "events")
        check(answer["notes"][0] in told.stderr and "consistent: " in told.stdout, "explain says so too", told.stderr)
        tally.instance.stop()
        check("127.0.0.1" in tally.run("explain", sku, status=1).stderr, "no instance to ask")
        tally.run("explain", "NOT_OWNER")
    finally:
        tally.instance.end()


def main():
    name = "explain-" + uuid.uuid4().hex[:8]
    everything = ["catalogue", "stock", "reservation", "transfer"]
    with tempfile.TemporaryDirectory() as folder:
        tally = Tally(folder, name, everything)
        try:
            sku = move(tally)
            whole(tally, sku, "ledger")
            refusals(tally, sku)
            verb(tally, sku)
            long_topic(tally, "ledger")
        finally:
            tally.instance.end()
        without_ledger(folder, everything)
    failed = results.count(False)
    print(f"{100 * results.count(True) // len(results)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
