"""Transfers as domain.md says them: 6 (transfer.commands), 9.3."""
from model.aggregate import SAGA_MS, Message, Outcome, Partition, Refusal, ms_of, operation

OPEN = ("IN_TRANSIT", "PARTIALLY_RECEIVED")
FIELDS = ("transfer_id", "version", "state", "sku", "quantity", "from", "to", "received", "returned", "lost")


class Transfer(Partition):
    topology = "transfer"

    def __init__(self, number, partitions, **settings):
        super().__init__(number, partitions, **settings)
        self.transfers, self.operations, self.timers = {}, {}, {}

    def fold(self, kind, payload):
        if "transfer_id" not in payload:
            return
        self.transfers[self.key] = {name: payload[name] for name in FIELDS}
        if "op" in payload:
            self.operations[self.key] = payload["op"]
        if "completes" in payload:
            del self.operations[self.key]
        timer = payload.get("timer", {})
        if "clear" in timer:
            del self.timers[ms_of(timer["clear"]), self.key]
        if "set" in timer:
            due = ms_of(timer["set"])
            op_id = payload["op"]["op_id"]
            self.timers[due, self.key] = Message("transfer.commands", self.key, "TimeOut", (self.key, op_id, due),
                                                 {"transfer_id": self.key, "op_id": op_id, "due_at": timer["set"]})

    def fact(self, kind, transfer, sends=(), **extras):
        transfer["version"] += 1
        outcome = Outcome(kind, {name: transfer[name] for name in FIELDS}, sends)
        outcome.payload.update((name, item) for name, item in extras.items() if item)
        return outcome

    def found(self, fields):
        """Checks 6 to 8 of a command about a transfer that exists."""
        transfer = self.transfers.get(self.key)
        if not transfer:
            raise Refusal("TRANSFER_NOT_FOUND")
        if transfer["state"] == "DISPATCHING":
            raise Refusal("OPERATION_IN_PROGRESS")
        self.expect_version(fields, transfer["version"])
        if transfer["state"] not in OPEN:
            raise Refusal("TRANSFER_STATE")
        return dict(transfer)

    def decide_dispatch_transfer(self, command, fields):
        known = self.transfers.get(self.key)
        if known and known["state"] == "DISPATCHING":
            raise Refusal("OPERATION_IN_PROGRESS")
        self.expect_version(fields, known["version"] if known else 0)
        if fields["from"] == fields["to"]:
            raise Refusal("SAME_WAREHOUSE")
        if known:
            raise Refusal("TRANSFER_EXISTS")
        transfer = {"transfer_id": self.key, "version": 0, "state": "DISPATCHING", "received": 0, "returned": 0,
                    "lost": 0, **{name: fields[name] for name in ("sku", "quantity", "from", "to")}}
        outcome = self.fact("TransferRequested", transfer,
                            [to_stock("TransferOut", transfer, "from", transfer["quantity"], False,
                                      to=transfer["to"])],
                            op=operation(command, due_at=self.at(SAGA_MS)), timer={"set": self.at(SAGA_MS)})
        outcome.pending = True
        return outcome

    def pending(self, op_id=None):
        """The transfer that waits, unless it waits no more, or for another one."""
        transfer = self.transfers.get(self.key)
        if not transfer or transfer["state"] != "DISPATCHING":
            return None
        if op_id is not None and self.operations[self.key]["op_id"] != op_id:
            return None
        return dict(transfer)

    def timer(self):
        due = next(due for due, key in self.timers if key == self.key)
        return {"clear": self.at(due - self.now)}

    def decide_transfer_reply(self, command, fields):
        transfer = self.pending()
        if not transfer:
            return self.late(fields)
        if not fields["granted"]:
            return self.fail(transfer, Refusal(fields["code"]))
        transfer["state"] = "IN_TRANSIT"
        outcome = self.fact("TransferDispatched", transfer,
                            [to_stock("TransferExpect", transfer, "to", transfer["quantity"], False)],
                            timer=self.timer())
        outcome.completes = self.operations[self.key]
        return outcome

    def late(self, fields):
        """What left after the transfer had timed out goes back; in any other state all is told."""
        transfer = self.transfers.get(self.key)
        if not transfer or transfer["state"] != "FAILED" or not fields["granted"]:
            return Outcome()
        return Outcome(sends=[to_stock("TransferBack", transfer, "from", transfer["quantity"])])

    def fail(self, transfer, refusal):
        transfer["state"] = "FAILED"
        outcome = self.fact("TransferFailed", transfer, timer=self.timer())
        outcome.completes, outcome.refusal = self.operations[self.key], refusal
        return outcome

    def decide_time_out(self, command, fields):
        transfer = self.pending(fields["op_id"])
        return self.fail(transfer, Refusal("OPERATION_TIMED_OUT")) if transfer else Outcome()

    def decide_receive_transfer(self, command, fields):
        transfer = self.found(fields)
        quantity = fields["quantity"]
        left = transfer["quantity"] - transfer["received"] - quantity
        if left < 0:
            raise Refusal("OVER_RECEIPT")
        transfer["received"] += quantity
        lost = left if fields.get("close") else 0
        transfer["lost"] += lost
        transfer["state"] = "PARTIALLY_RECEIVED" if left > lost else "RECEIVED"
        outcome = self.fact("TransferReceived", transfer)
        outcome.sends.append(to_stock("TransferIn", transfer, "to", quantity,
                                      bucket=fields.get("bucket", "SELLABLE")))
        if lost:
            outcome.sends.append(to_stock("TransferLoss", transfer, "to", lost))
        return outcome

    def decide_cancel_transfer(self, command, fields):
        transfer = self.found(fields)
        left = transfer["quantity"] - transfer["received"]
        back = fields["disposition"] == "RESTOCK"
        transfer["returned" if back else "lost"] += left
        transfer["state"] = "CANCELLED"
        outcome = self.fact("TransferCancelled", transfer)
        outcome.sends.append(to_stock("TransferLoss", transfer, "to", left))
        if back:
            outcome.sends.append(to_stock("TransferBack", transfer, "from", left))
        return outcome


def to_stock(kind, transfer, where, quantity, versioned=True, **more):
    parts = (transfer["transfer_id"], transfer["version"]) if versioned else (transfer["transfer_id"],)
    return Message("stock.commands", transfer["sku"], kind, parts,
                   {"transfer_id": transfer["transfer_id"], "sku": transfer["sku"], "warehouse": transfer[where],
                    "quantity": quantity, **more})
