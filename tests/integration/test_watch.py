#!/usr/bin/env python3
"""`tally watch` on a real instance: every change once, over lost connections and a restart of the instance; where to begin;
what is refused. TEST_KAFKA: host:port; TEST_TALLY: the program."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from forwarder import Forwarder  # noqa: E402
from test_explain import Tally, check, results, until  # noqa: E402


class Watch:
    """A running `tally watch`; its lines as they come."""

    def __init__(self, tally, *arguments, port=None):
        listen = ("--http.listen", f"127.0.0.1:{port}") if port else ()
        self.process = subprocess.Popen([tally.instance.program, "watch", *arguments, *listen, "--config",
                                         tally.instance.config], env=tally.instance.environment, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines, self.said = [], []
        self.threads = [threading.Thread(target=self.read, args=pair, daemon=True)
                        for pair in ((self.process.stdout, self.lines), (self.process.stderr, self.said))]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def read(stream, lines):
        for line in stream:
            lines.append(line.rstrip("\n"))

    def rows(self):
        return [json.loads(line) for line in list(self.lines)]

    def wait(self, count, what):
        until(f"{what}: {count} lines", lambda: len(self.lines) >= count)

    def end(self, how=signal.SIGINT):
        self.process.send_signal(how)
        status = self.process.wait(30)
        for thread in self.threads:
            thread.join(30)
        return status


def seqs(rows):
    return [(row["data"]["warehouse"], row["data"]["seq"]) for row in rows]


def settled(tally, watch, sku):
    """It follows once a change of its own has come; what is sent before may be before it began."""
    end = time.monotonic() + 60
    while not watch.lines and time.monotonic() < end:
        tally.send("ReceiveStock", sku=sku, warehouse="W1", quantity=1)
        time.sleep(0.05)
    check(watch.lines, "it follows", watch.said)


def receive(tally, sku, count, warehouse="W1"):
    for _ in range(count):
        tally.send("ReceiveStock", sku=sku, warehouse=warehouse, quantity=1)


def version(tally, sku):
    return tally.get(f"/v1/stock/{sku}/W1")["version"]


def once_each(tally, watch, sku, name):
    """Every entry since the first that it told, none twice, in order."""
    until(f"{name}: up to the last", lambda: watch.lines and seqs(watch.rows())[-1][1] == version(tally, sku))
    told = [seq for _, seq in seqs(watch.rows())]
    check(told == list(range(told[0], told[0] + len(told))) and told[-1] == version(tally, sku), f"{name}: each once", told)


def reconnects(tally):
    """The connection is cut again and again, the instance is stopped and started."""
    host, port = tally.instance.address.split(":")
    between = Forwarder(host, int(port))
    watch = Watch(tally, "ledger", "--sku", "A", port=between.port)
    settled(tally, watch, "A")
    for _ in range(5):
        receive(tally, "A", 2)
        between.cut()
        receive(tally, "A", 3)
        between.heal()
        receive(tally, "A", 2)
    once_each(tally, watch, "A", "cut off")
    check(sum("connected again, from " in line for line in watch.said) >= 1 and
          sum("trying again in " in line for line in watch.said) >= 1, "it is said", watch.said)
    tally.instance.stop()
    time.sleep(0.5)
    tally.start()
    receive(tally, "A", 3)
    once_each(tally, watch, "A", "a restart")
    check(watch.end() == 130, "SIGINT", watch.said)
    row = watch.rows()[-1]
    check(row["topic"] == "ledger" and row["change"] == "delta" and row["position"] in row["resume"].split(",")
          and row["conflated"] is False, "a line", row)
    records = tally.records("stock.events")
    check(all(records[row["position"]]["payload"]["seq"] == row["data"]["seq"] for row in watch.rows()), "positions lead")
    resumed(tally, watch)
    between.end()


def resumed(tally, watch):
    """Another one goes on from the resume of any line."""
    rows = watch.rows()
    middle = len(rows) // 2
    again = Watch(tally, "ledger", "A", "--from", rows[middle]["resume"], "-c", str(len(rows) - middle - 1))
    check(again.process.wait(60) == 0, "-c ends it", again.said)
    for thread in again.threads:
        thread.join(30)
    check([row["data"] for row in again.rows()] == [row["data"] for row in rows[middle + 1:]], "resumed", again.lines)


def snapshots(tally):
    receive(tally, "B", 3)
    watch = Watch(tally, "stock", "B.W1", "--from", "snapshot")
    watch.wait(1, "a snapshot")
    receive(tally, "B", 1)
    receive(tally, "B", 1, "W2")
    receive(tally, "B", 1)
    until("the level", lambda: watch.rows()[-1]["data"]["version"] == 5)
    rows = watch.rows()
    check(rows[0]["change"] == "snapshot" and rows[0]["position"] is None and rows[0]["data"]["version"] == 3, "snapshot", rows[0])
    check(rows[-1]["data"] == tally.get("/v1/stock/B/W1") and {row["data"]["warehouse"] for row in rows} == {"W1"}, "deltas", rows)
    check(watch.end(signal.SIGTERM) == 130, "SIGTERM", watch.said)
    watch = Watch(tally, "--reservation", "R-9", "--from", "snapshot")
    tally.send("ReserveStock", reservation_id="R-9", lines=[{"sku": "B", "quantity": 1}])
    until("a reservation", lambda: watch.lines and watch.rows()[-1]["data"]["state"] == "CONFIRMED")
    check(watch.rows()[-1]["topic"] == "reservations", "the topic is guessed", watch.lines)
    watch.end()
    watch = Watch(tally, "catalogue", "P-1", "--from", "snapshot")
    tally.send("CreateProduct", product_id="P-1", slug="p-1", name="a \"b\" ,\"data\":{} ]}")
    watch.wait(1, "a product")
    check(watch.rows()[0]["data"] == tally.get("/v1/products/by-id/P-1"), "a product is told as it is", watch.lines)
    watch.end()


def metrics(tally):
    """No events: they have no positions."""
    watch = Watch(tally, "metrics", "tally_commands_total", "--from", "snapshot")
    watch.wait(1, "metrics")
    receive(tally, "B", 1)
    until("a change", lambda: watch.rows()[-1]["change"] == "delta")
    rows = watch.rows()
    check(rows[0]["change"] == "snapshot" and rows[0]["data"]["name"] == "tally_commands_total" and
          {item["name"] for item in rows[-1]["data"]["metrics"]} == {"tally_commands_total"} and
          {(row["position"], row["resume"]) for row in rows} == {(None, "")}, "metrics", rows[0], rows[-1])
    check(watch.end() == 130, "the end of metrics", watch.said)


def refusals(tally):
    for arguments, status, wanted in (
            (("stocks",), 2, 'did you mean "stock"?'), (("stock", "A", "b"), 2, "argument"),
            (("--from", "yesterday"), 2, '"yesterday"'), (("--from", "stock.events/x@1"), 2, '"stock.events/x@1"'),
            (("--from", ""), 2, "--from"), (("--from", "snapshot"), 2, "--sku"),
            (("ledger", "A", "--from", "snapshot"), 2, "topic ledger has no snapshot"),
            (("stock", "--product", "P-1"), 2, "--product: topic stock has no product_id, but --sku and --warehouse"),
            (("transfers", "--warehouse", "W1"), 2, "--warehouse: topic transfers"), (("-c", "0"), 2, "--count"),
            (("metrics", "--from", "a/0@1"), 2, "topic metrics has no positions"),
            (("ledger", "--kind", "SELL"), 1, "BAD_REQUEST: kind: expected kinds of ledger entries"),
            (("stock", "--from", f"{tally.name}.stock.events/0@1000000000"), 1, "RESYNC_REQUIRED"),
            (("stock", "--from", "other.events/0@1"), 1, "BAD_REQUEST: from: expected latest, snapshot, or positions like"),
            (("stock", "--http.listen", "127.0.0.1:1"), 1, "connect to 127.0.0.1:1"),
            (("stock", "--http.listen", os.environ["TEST_KAFKA"]), 1, os.environ["TEST_KAFKA"])):
        refused = tally.run("watch", *arguments, status=status)
        check(wanted in refused.stderr and not refused.stdout, f"watch {arguments}", refused.stderr)


def main():
    name = "watch-" + uuid.uuid4().hex[:8]
    with tempfile.TemporaryDirectory() as folder:
        tally = Tally(folder, name, ["catalogue", "stock", "reservation", "transfer"])
        try:
            refusals(tally)
            snapshots(tally)
            metrics(tally)
            reconnects(tally)
        finally:
            tally.instance.end()
    failed = results.count(False)
    print(f"{100 * results.count(True) // len(results)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
