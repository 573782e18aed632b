#!/usr/bin/env python3
"""What HTTP answers to commands that are sagas: their outcome, as soon as there is one. TEST_KAFKA: host:port;
TEST_TALLY: the program."""
import contextlib
import json
import os
import pathlib
import sys
import tempfile
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "crash"))

from instance import Instance  # noqa: E402

results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_http_sagas: {name}: {' '.join(map(str, facts))}", flush=True)


class Client:
    """An instance with some topologies of its own."""

    def __init__(self, folder, *topologies):
        name = "http-sagas-" + uuid.uuid4().hex[:8]
        self.instance = Instance(os.environ["TEST_TALLY"], os.path.join(folder, name), os.environ["TEST_KAFKA"], name,
                                 {"topologies": list(topologies), "topics.partitions": 2})
        # Of topologies that do not run here there are the topics all the same.
        self.instance.tool("topics", "create", "--topologies", "stock,reservation,transfer")
        self.instance.start()
        end = time.monotonic() + 60
        while (self.instance.get("/startupz") or (0,))[0] != 200 and time.monotonic() < end:
            time.sleep(0.05)

    def post(self, kind, key, wait, **fields):
        """Status and body."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        if wait:
            headers["Prefer"] = f"wait={wait}"
        status, body = self.instance.request(f"/v1/commands/{kind}", json.dumps(fields).encode(), headers, 60)
        return status, json.loads(body)

    def get(self, path, wait):
        status, body = self.instance.request(path, headers={"Prefer": f"wait={wait}"}, limit=60)
        return status, json.loads(body)

    def close(self):
        self.instance.end()


def answered(client):
    """Nobody waits longer than the saga does."""
    check(client.post("ReceiveStock", "s-1", 20, sku="A", warehouse="W1", quantity=5)[0] == 200, "stock is there")
    wanted = {"reservation_id": "R-1", "lines": [{"sku": "A", "quantity": 2}]}
    begin = time.monotonic()
    status, body = client.post("ReserveStock", "c-1", 20, **wanted)
    check(status == 200 and body["status"] == "ACCEPTED" and not body["duplicate"], "a reservation is told", status, body)
    check(body["result"]["state"] == "CONFIRMED" and body["result"]["expires_at"], "its result", body)
    own, hold = body["position"].split(",")
    check(".reservation.commands/" in own and ".stock.commands/" in hold, "its position has the hold", body["position"])
    check(time.monotonic() - begin < 15, "it is told at once", time.monotonic() - begin)
    status, again = client.post("ReserveStock", "c-1", 20, **wanted)
    check(status == 200 and again == {**body, "duplicate": True}, "a repeat", status, again)
    status, other = client.post("ReserveStock", "c-1", 20, **{**wanted, "ttl_s": 5})
    check(status == 422 and other["code"] == "IDEMPOTENCY_KEY_REUSED", "other fields", status, other)
    status, refused = client.post("ReserveStock", "c-2", 20, reservation_id="R-2", lines=[{"sku": "A", "quantity": 9}])
    check(status == 409 and refused["code"] == "INSUFFICIENT_STOCK", "a refusal is a problem", status, refused)
    check(refused["errors"][0]["meta"] == {"line": 1, "sku": "A", "requested": 9, "available": 3}, "what is missing",
          refused)
    status, later = client.post("ReserveStock", "c-3", 0, reservation_id="R-3", lines=[{"sku": "A", "quantity": 1}])
    check(status == 202 and later["status"] == "PENDING", "nobody waits", status, later)
    status, found = client.get(f"/v1/commands/c-3?at={later['position']}", 20)
    check(status == 200 and found["status"] == "ACCEPTED", "it is asked for", status, found)
    client.post("ReserveStock", "c-5", 0, reservation_id="R-5", lines=[{"sku": "A", "quantity": 1}])
    while (status := client.get("/v1/commands/c-5", 20)) and status[0] == 404:  # not decided yet
        pass
    check(status[0] == 200 and status[1]["status"] == "ACCEPTED", "it is waited for without its position", *status)
    status, sent = client.post("DispatchTransfer", "c-4", 20, transfer_id="T-1", sku="A", quantity=1,
                               **{"from": "W1", "to": "W2"})
    check(status == 200 and sent["result"]["state"] == "IN_TRANSIT", "a transfer is told", status, sent)


def unanswered(client):
    """Stock does not run: the saga goes on when the time of who waits for it is over."""
    wanted = {"reservation_id": "R-1", "lines": [{"sku": "A", "quantity": 2}]}
    status, body = client.post("ReserveStock", "c-1", 1, **wanted)
    check(status == 202 and body["status"] == "PENDING", "no outcome in time", status, body)
    status, again = client.post("ReserveStock", "c-1", 1, **wanted)
    check(status == 409 and again["code"] == "REQUEST_IN_PROGRESS", "a repeat meanwhile", status, again)
    begin = time.monotonic()
    status, found = client.get(f"/v1/commands/c-1?at={body['position']}", 2)
    check(status == 200 and found["status"] == "PENDING", "it is asked for", status, found)
    check(time.monotonic() - begin > 1.5, "and waited for", time.monotonic() - begin)
    begin = time.monotonic()
    status, same = client.get("/v1/commands/c-1", 2)
    check(status == 200 and same == found, "without its position", status, same)
    check(time.monotonic() - begin > 1.5, "and waited for too", time.monotonic() - begin)
    status, refused = client.post("CommitReservation", "c-2", 20, reservation_id="R-1", order_id="O-1")
    check(status == 409 and refused["code"] == "OPERATION_IN_PROGRESS", "another command meanwhile", status, refused)


def main():
    with tempfile.TemporaryDirectory() as folder:
        for part, topologies in ((answered, ("stock", "reservation", "transfer")), (unanswered, ("reservation",))):
            with contextlib.closing(Client(folder, *topologies)) as client:
                part(client)
                check(client.instance.stop() == 0, "it ends")
    failed = results.count(False)
    print(f"{100 * results.count(True) // len(results)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
