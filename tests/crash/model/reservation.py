"""Reservations as domain.md says them: 6 (reservation.commands), 9.1."""
from model.aggregate import SAGA_MS, Message, Outcome, Partition, Refusal, ms_of, operation

ATTEMPTS, LINES = 3, 200
HEADER = ("reservation_id", "version", "state", "owner", "ttl_s", "attempt", "pending", "expires_at", "order_id")
LINE = ("line", "sku", "quantity", "warehouses", "state", "shipped", "warehouse", "position", "code", "available")
ENDED = ("FAILED", "RELEASED", "EXPIRED", "FULFILLED")
REASONS = {"ReservationRetried": "RETRIED", "ReservationFailed": "FAILED", "ReservationReleased": "RELEASED",
           "ReservationExpired": "EXPIRED"}


class Reservation(Partition):
    topology = "reservation"

    def __init__(self, number, partitions, **settings):
        super().__init__(number, partitions, **settings)
        self.reservations, self.lines, self.operations, self.timers = {}, {}, {}, {}

    # --- state ------------------------------------------------------------------------------------

    def fold(self, kind, payload):
        if "reservation_id" not in payload:
            return
        header = {name: payload[name] for name in HEADER if name in payload}
        header["time"] = self.now
        self.reservations[self.key] = header
        lines = self.lines.setdefault(self.key, {})
        if kind == "ReservationRequested" or not header["attempt"]:
            lines.clear()  # of an earlier life
        lines.update((line["line"], line) for line in payload.get("lines", ()))
        if "op" in payload:
            self.operations[self.key] = payload["op"]
        if "completes" in payload:
            del self.operations[self.key]
        self.fold_timer(payload.get("timer", {}), header)

    def fold_timer(self, timer, header):
        if "clear" in timer:
            del self.timers[ms_of(timer["clear"]), self.key]
        if "set" in timer:
            due = ms_of(timer["set"])
            if header["state"] == "HOLDING":
                message = Message("reservation.commands", self.key, "TimeOut", (self.key, header["attempt"], due),
                                  {"reservation_id": self.key, "attempt": header["attempt"], "due_at": timer["set"]})
            else:
                message = Message("reservation.commands", self.key, "ExpireReservation", (self.key, due),
                                  {"reservation_id": self.key, "due_at": timer["set"]})
            self.timers[due, self.key] = message

    def current(self):
        """Copies of the header, or None, and its lines. An old tombstone is none."""
        header = self.reservations.get(self.key)
        lines = {number: dict(line) for number, line in self.lines.get(self.key, {}).items()}
        self.lived = 0
        if header and header["attempt"] == 0 and self.over(header["time"]):
            self.lived, header, lines = header["version"], None, {}  # versions go on
        return (dict(header) if header else None), lines

    def fact(self, kind, header, lines=(), sends=(), timer=None, op=None, **ends):
        header["version"] += 1
        payload = {name: header[name] for name in HEADER if name in header}
        if lines:
            payload["lines"] = [{name: line[name] for name in LINE if name in line} for line in lines]
        if timer:
            payload["timer"] = timer
        if op:
            payload["op"] = op
        return Outcome(kind, payload, sends, **ends)

    def clear(self):
        return {"clear": self.at(next(due for due, key in self.timers if key == self.key) - self.now)}

    # --- messages ---------------------------------------------------------------------------------

    def to_stock(self, kind, line, attempt, **more):
        return Message("stock.commands", line["sku"], kind, (self.key, line["line"], attempt),
                       {"sku": line["sku"], "reservation_id": self.key, "line": line["line"], "attempt": attempt,
                        **more})

    def hold(self, line, attempt, op):
        return self.to_stock("HoldStock", line, attempt, quantity=line["quantity"], warehouses=line["warehouses"],
                             deadline=op.get("deadline"))

    def release(self, kind, lines, attempt):
        return [self.to_stock("ReleaseHold", line, attempt, reason=REASONS[kind])
                for line in lines.values()
                if line["state"] in ("HELD", "PENDING") and line["shipped"] < line["quantity"]]

    # --- reserve ----------------------------------------------------------------------------------

    def decide_reserve_stock(self, command, fields):
        header, lines = self.current()
        if header and header["state"] == "HOLDING":
            raise Refusal("OPERATION_IN_PROGRESS")
        self.expect_version(fields, header["version"] if header else 0)
        if header:
            tombstone = header["state"] == "RELEASED" and not lines
            raise Refusal("RESERVATION_CLOSED" if tombstone else "RESERVATION_EXISTS", state=header["state"])
        lines = merged(fields["lines"])
        if len(lines) > LINES:
            raise Refusal("TOO_MANY_LINES")
        header = {"reservation_id": self.key, "version": self.lived, "state": "HOLDING",
                  "ttl_s": fields.get("ttl_s", 900), "attempt": 1, "pending": len(lines)}
        if "owner" in fields:
            header["owner"] = fields["owner"]
        op = operation(command, deadline=fields.get("deadline"), due_at=self.at(SAGA_MS))
        return self.fact("ReservationRequested", header, lines, [self.hold(line, 1, op) for line in lines],
                         {"set": op["due_at"]}, op, pending=True)

    def decide_hold_reply(self, command, fields):
        header, lines = self.current()
        if not header or header["state"] != "HOLDING" or header["attempt"] != fields["attempt"]:
            return Outcome()
        line = lines[fields["line"]]
        if line["state"] != "PENDING":
            return Outcome()
        if fields["granted"]:
            return self.granted(header, lines, line, fields)
        line.update(state="REFUSED", code=fields["code"])
        if "available" in fields:
            line["available"] = fields["available"]
        if fields["code"] == "CONTENDED" and header["attempt"] < ATTEMPTS:
            return self.retry(header, lines)
        meta = {"line": line["line"], "sku": line["sku"], "requested": line["quantity"]}
        if "available" in fields:
            meta["available"] = fields["available"]
        return self.fail(header, lines, Refusal(fields["code"], **meta))

    def granted(self, header, lines, line, fields):
        line.update(state="HELD", warehouse=fields["warehouse"], position=fields["position"])
        header["pending"] -= 1
        if header["pending"]:
            changed, sends = [line], []
            if header["attempt"] > 1:
                following = canonical(lines, "WAITING")[0]
                following["state"] = "PENDING"
                changed.append(following)
                sends.append(self.hold(following, header["attempt"], self.operations[self.key]))
            return self.fact("ReservationLineHeld", header, sorted(changed, key=lambda one: one["line"]), sends)
        header["state"], header["expires_at"] = "CONFIRMED", self.at(header["ttl_s"] * 1000)
        return self.fact("ReservationConfirmed", header, in_order(lines),
                         [self.to_stock("ConfirmHold", one, header["attempt"]) for one in in_order(lines)],
                         {**self.clear(), "set": header["expires_at"]}, completes=self.operations[self.key])

    def retry(self, header, lines):
        sends = self.release("ReservationRetried", lines, header["attempt"])
        header["attempt"] += 1
        header["pending"] = len(lines)
        for number, line in lines.items():
            lines[number] = {name: line[name] for name in ("line", "sku", "quantity", "warehouses", "shipped")}
            lines[number]["state"] = "WAITING"
        first = canonical(lines, "WAITING")[0]
        first["state"] = "PENDING"
        op = {**self.operations[self.key], "due_at": self.at(SAGA_MS)}
        sends.append(self.hold(first, header["attempt"], op))
        return self.fact("ReservationRetried", header, in_order(lines), sends, {**self.clear(), "set": op["due_at"]}, op)

    def fail(self, header, lines, refusal):
        sends = self.release("ReservationFailed", lines, header["attempt"])
        header["state"] = "FAILED"
        return self.fact("ReservationFailed", header, in_order(lines), sends, self.clear(),
                         completes=self.operations[self.key], refusal=refusal)

    def decide_time_out(self, command, fields):
        header, lines = self.current()
        if not header or header["state"] != "HOLDING" or header["attempt"] != fields["attempt"]:
            return Outcome()
        return self.fail(header, lines, Refusal("OPERATION_TIMED_OUT"))

    # --- after it ---------------------------------------------------------------------------------

    def found(self, fields):
        header, lines = self.current()
        if not header:
            raise Refusal("RESERVATION_NOT_FOUND")
        if header["state"] == "HOLDING":
            raise Refusal("OPERATION_IN_PROGRESS")
        self.expect_version(fields, header["version"])
        return header, lines

    def closed(self, header):
        expired = header["state"] == "EXPIRED"
        return Refusal("RESERVATION_EXPIRED" if expired else "RESERVATION_CLOSED", state=header["state"])

    def decide_extend_reservation(self, command, fields):
        header, _ = self.found(fields)
        if header["state"] != "CONFIRMED":
            raise self.closed(header)
        until = self.at(fields["ttl_s"] * 1000)
        if ms_of(until) <= ms_of(header["expires_at"]):
            return Outcome()
        header["expires_at"] = until
        return self.fact("ReservationExtended", header, timer={**self.clear(), "set": until})

    def decide_commit_reservation(self, command, fields):
        header, lines = self.found(fields)
        if header.get("order_id") == fields["order_id"] and header["state"] not in ENDED:
            return Outcome()
        if header["state"] != "CONFIRMED":
            raise self.closed(header)
        header.update(state="COMMITTED", order_id=fields["order_id"])
        return self.fact("ReservationCommitted", header, (),
                         [self.to_stock("CommitHold", line, header["attempt"], order_id=fields["order_id"])
                          for line in in_order(lines)], self.clear())

    def decide_release_reservation(self, command, fields):
        header, lines = self.current()
        self.expect_version(fields, header["version"] if header else 0)
        if not header:
            header = {"reservation_id": self.key, "version": self.lived, "state": "RELEASED", "ttl_s": 0, "attempt": 0,
                      "pending": 0}
            return self.fact("ReservationReleased", header)
        if header["state"] == "RELEASED":
            return Outcome()
        if header["state"] in ENDED:
            raise self.closed(header)
        sends = self.release("ReservationReleased", lines, header["attempt"])
        before, header["state"] = header["state"], "RELEASED"
        if before == "HOLDING":
            return self.fact("ReservationReleased", header, (), sends, self.clear(),
                             completes=self.operations[self.key], refusal=Refusal("RESERVATION_CLOSED"))
        return self.fact("ReservationReleased", header, (), sends, self.clear() if before == "CONFIRMED" else None)

    def decide_expire_reservation(self, command, fields):
        header, lines = self.current()
        if not header or header["state"] != "CONFIRMED" or ms_of(header["expires_at"]) > ms_of(fields["due_at"]):
            return Outcome()
        sends = self.release("ReservationExpired", lines, header["attempt"])
        header["state"] = "EXPIRED"
        return self.fact("ReservationExpired", header, (), sends, self.clear())

    def decide_hold_shipped(self, command, fields):
        header, lines = self.current()
        if not header or header["state"] != "COMMITTED":
            return Outcome()
        line = lines[fields["line"]]
        line["shipped"] += fields["quantity"]
        if all(one["shipped"] == one["quantity"] for one in lines.values()):
            header["state"] = "FULFILLED"
            return self.fact("ReservationFulfilled", header, [line])
        return self.fact("ReservationShipped", header, [line])


def merged(asked):
    lines = {}
    for one in asked:
        places = [one["warehouse"]] if "warehouse" in one else one.get("warehouses", [])
        line = lines.setdefault((one["sku"], *places), {"line": len(lines) + 1, "sku": one["sku"], "quantity": 0,
                                                        "warehouses": places, "state": "PENDING", "shipped": 0})
        line["quantity"] += one["quantity"]
    return list(lines.values())


def in_order(lines):
    return [lines[number] for number in sorted(lines)]


def canonical(lines, state):
    return sorted((line for line in lines.values() if line["state"] == state),
                  key=lambda line: (line["sku"].encode(), line["line"]))
