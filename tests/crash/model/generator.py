"""Random sequences of steps from a seed: few keys, so that commands meet; ids used twice, bytes that are no
command, wrong partitions, deadlines, limits; time that passes; restarts. A step is a list of words that can be
written as JSON and done again:
    ["put", topic, partition, key, value, headers]   bytes in hex, null: none; partition -1: the key's
    ["advance", ms]  ["run"]  ["restart"]  ["crash"]  ["rebuild"]
"""
import json
import random

from model.aggregate import text_of
from wire import msgpack_encode, partition_of

BEGIN = 1768471200000  # where the program's clock stands at first
MOST = 10 ** 12
BUCKETS = ("SELLABLE", "DAMAGED", "QUALITY_CONTROL")
WORDS = ("red", "blue", "green", "old", "new")
SECOND, DAY = 1000, 24 * 3600 * 1000


class Generator:
    def __init__(self, seed, types, chosen=True):
        self.random = random.Random(seed)
        self.types = types  # topic -> types that the program knows, None: all
        self.partitions = self.random.choice((1, 2, 3))
        self.required = self.random.random() < 0.6
        self.on_disk = self.random.random() < 0.15
        self.now, self.serial, self.sent = BEGIN, 0, []
        self.skus = [f"SKU-{n}" for n in range(self.random.choice((1, 2, 3, 5)))]
        self.warehouses = ["AMS1", "RTM2", "X3"][:self.random.choice((1, 2, 3))]
        self.products = ["P-1", "P-2", "P-3"]
        self.recent = {"R": 1, "T": 1, "O": 1}
        # Each seed likes some commands more than others.
        self.weights = {name: weight * (self.random.choice((0, 0.3, 1, 1, 3)) if chosen else 1)
                        for name, weight in MAKERS.items()}
        for topic, kinds in types.items():
            self.weights.update((name, 0) for name in MAKERS
                                if kinds is not None and name[0] == topic and name[1] not in kinds)
        self.weights = {name: weight for name, weight in self.weights.items() if name[0] in types} or dict(MAKERS)
        if not any(self.weights.values()):
            self.weights = dict.fromkeys(self.weights, 1)

    # --- steps ------------------------------------------------------------------------------------

    def steps(self, count):
        steps = self.prelude()
        for _ in range(count):
            steps += self.step()
        return steps + [["run"], ["rebuild"], ["rebuild"]]

    def prelude(self):
        steps = []
        if "catalogue.commands" in self.types and self.random.random() < 0.95:
            for name in self.warehouses:
                steps.append(self.put("catalogue.commands", "warehouse:" + name,
                                      {"type": "RegisterWarehouse", "warehouse": name, "name": name.title()}))
        for sku in self.skus:
            if self.random.random() < 0.9:
                steps.append(self.put("stock.commands", sku, {"type": "RegisterSku", "sku": sku}))
        steps.append(["run"])
        for sku in self.skus:
            for name in self.warehouses:
                if self.random.random() < 0.7:
                    steps.append(self.put("stock.commands", sku, {"type": "ReceiveStock", "sku": sku, "warehouse": name,
                                                                  "quantity": self.random.randint(1, 30)}))
        return steps + [["run"]]

    def step(self):
        dice = self.random.random()
        if dice < 0.30:
            return [["run"]]
        if dice < 0.36:
            return self.advance()
        if dice < 0.375:
            return [["run"], [self.random.choice(("restart", "crash", "rebuild"))]]
        if dice < 0.41 and self.sent:
            return [self.again()]
        if dice < 0.43:
            return [self.poison()]
        if dice < 0.44 and self.partitions > 1:
            return [self.misplaced()]
        if dice < 0.46:
            return [self.inner()]
        if dice < 0.48 and "reservation.commands" in self.types:
            return self.journey()
        if dice < 0.50 and "reservation.commands" in self.types:
            return self.contest()
        if dice < 0.51 and "transfer.commands" in self.types:
            return self.shuttle()
        return [self.command()]

    def journey(self):
        """A reservation from its request to its last shipment, with something else in between, or not."""
        rnd, steps = self.random, []
        self.recent["R"] += 1
        key, sku, quantity = f"R-{self.recent['R']}", rnd.choice(self.skus), rnd.choice((1, 2, 3))
        asked = {"sku": sku, "quantity": quantity, "warehouse": rnd.choice(self.warehouses)}
        ship = {"type": "ShipStock", "sku": sku, "warehouse": asked["warehouse"], "reservation_id": key, "line": 1}
        steps.append(("reservation.commands", key, {"type": "ReserveStock", "reservation_id": key, "lines": [asked] + [
            self.line() for _ in range(rnd.choice((0, 0, 1)))]}))
        steps.append(("reservation.commands", key, {"type": "CommitReservation", "reservation_id": key,
                                                    "order_id": "O-1"}))
        for part in {1, quantity} - {quantity + 1}:
            steps.append(("stock.commands", sku, {**ship, "shipment_id": f"S-{self.serial}", "quantity": part}))
        if rnd.random() < 0.3:
            steps.append(("reservation.commands", key, {"type": "ReleaseReservation", "reservation_id": key}))
        made = []
        for step in steps:
            made += [self.put(*step)] + ([["run"]] if rnd.random() < 0.8 else [])
            if rnd.random() < 0.2:
                made.append(self.command())
        return made

    def shuttle(self):
        """A transfer from its dispatch to its last unit, or to the end that it is brought to."""
        rnd = self.random
        self.recent["T"] += 1
        key, left = f"T-{self.recent['T']}", rnd.choice((1, 2, 5))
        begin = {"type": "DispatchTransfer", "transfer_id": key, "sku": rnd.choice(self.skus), "quantity": left,
                 "from": self.warehouses[0], "to": self.warehouses[-1]}
        commands = [begin]
        while left and rnd.random() < 0.8:
            part = rnd.randint(1, left)
            left -= part
            commands.append({"type": "ReceiveTransfer", "transfer_id": key, "quantity": part})
            if rnd.random() < 0.1:
                commands[-1]["close"] = True
        if rnd.random() < 0.4:
            commands.append({"type": "CancelTransfer", "transfer_id": key,
                             "disposition": rnd.choice(("RESTOCK", "WRITE_OFF"))})
        return [step for command in commands
                for step in [self.put("transfer.commands", key, command), *[["run"]] * (rnd.random() < 0.8)]]

    def contest(self):
        """Several ask for the same at once, in different orders, for more than there is together."""
        made = []
        for _ in range(self.random.randint(2, 4)):
            self.recent["R"] += 1
            key = f"R-{self.recent['R']}"
            lines = [{"sku": sku, "quantity": self.random.choice((3, 8, 12, 16))}
                     for sku in self.random.sample(self.skus, min(len(self.skus), self.random.choice((1, 2, 2))))]
            made.append(self.put("reservation.commands", key, {"type": "ReserveStock", "reservation_id": key,
                                                               "lines": lines}))
        return made + [["run"]]

    def advance(self):
        ms = self.random.choice((1, 40, SECOND, 10 * SECOND, 31 * SECOND, 200 * SECOND, 1000 * SECOND))
        if self.random.random() < 0.06:
            ms = self.random.choice((2, 7, 8)) * DAY + 977
        self.now += ms
        return [["advance", ms]]

    # --- records ----------------------------------------------------------------------------------

    def put(self, topic, key, command, partition=-1):
        """Most ids are new; the form is any of four."""
        self.serial += 1
        command = {"type": command["type"], "command_id": f"c-{self.serial}", **command}
        if self.random.random() < 0.1:
            command["correlation_id"] = f"flow-{self.random.randrange(3)}"
        if self.random.random() < 0.1:
            command["actor"] = f"user-{self.random.randrange(3)}"
        self.sent.append((topic, key, command))
        return self.record(topic, key, command, partition)

    def record(self, topic, key, command, partition=-1):
        shape = command
        if self.random.random() < 0.3:
            outside = ("type", "command_id", "correlation_id", "actor")
            shape = {"id" if name == "command_id" else name: command[name] for name in outside if name in command}
            shape["payload"] = {name: item for name, item in command.items() if name not in outside}
        packed = self.random.random() < 0.3 and plain(shape)
        value = msgpack_encode(shape) if packed else json.dumps(shape).encode()
        headers = [["reply-topic", b"tally.replies".hex()]] if self.random.random() < 0.5 else []
        return ["put", topic, partition, key.encode().hex(), value.hex(), headers]

    def again(self):
        topic, key, command = self.random.choice(self.sent[-12:])
        if self.random.random() < 0.3:
            command = {**command, "note": self.random.choice(WORDS)}
        return self.record(topic, key, command)

    def misplaced(self):
        topic, key, command = self.fresh()
        home = partition_of(key.encode(), self.partitions)
        return self.put(topic, key, command, (home + 1 + self.random.randrange(self.partitions - 1)) % self.partitions)

    def poison(self):
        topic, key, command = self.fresh()
        good = json.dumps({**command, "command_id": "p-1"}).encode()
        key, value = self.random.choice((
            (key, b""), (key, None), (key, b"[]"), (key, good[:-2]), (key + "x", good), ("", good),
            (key, good.replace(b'"type"', b'"tipe"')), (key, good[:-1] + b',"n":1.5}'),
            (key, good[:-1] + b',"n":9223372036854775808}'),
            (key, good.replace(b'"command_id"', b'"version":"2","id"')),
            (key, msgpack_encode({"type": command["type"], "id": "p-2", "payload": {}})[:-1])))
        partition = partition_of(key.encode(), self.partitions)
        return ["put", topic, partition, key.encode().hex(), None if value is None else value.hex(), []]

    def inner(self):
        """What only tally sends, but that is harmless whenever it comes."""
        self.serial += 1
        kinds = [(topic, kind) for topic, kind in (("stock.commands", "ApplyWarehouse"),
                                                   ("reservation.commands", "TimeOut"),
                                                   ("reservation.commands", "ExpireReservation"),
                                                   ("catalogue.commands", "TimeOut"))
                 if topic in self.types and (self.types[topic] is None or kind in self.types[topic])]
        if not kinds:
            return ["run"]
        topic, kind = self.random.choice(kinds)
        command = {"type": kind, "command_id": f"~{kind}:outside:{self.serial}"}
        if kind == "ApplyWarehouse":
            name = self.random.choice(self.warehouses)
            command.update(warehouse=name, name=name.title(), state=self.random.choice(("OPEN", "OPEN", "CLOSED")))
            return self.record(topic, "warehouse:" + name, command, self.random.randrange(self.partitions))
        if topic == "catalogue.commands":
            key = self.random.choice(self.products)
            command.update(product_id=key, op_id=f"c-{self.serial - 1 - self.random.randrange(6)}",
                           due_at=text_of(self.now + 30 * SECOND))
            return self.record(topic, key, command)
        key = self.reservation()
        command.update(reservation_id=key, due_at=text_of(self.now))
        if kind == "TimeOut":
            command.update(attempt=self.random.choice((1, 1, 2, 3)), due_at=text_of(self.now + 30 * SECOND))
        return self.record(topic, key, command)

    # --- commands ---------------------------------------------------------------------------------

    def fresh(self):
        names = [name for name in self.weights if self.weights[name]]
        topic, kind = self.random.choices(names, [self.weights[name] for name in names])[0]
        field, key, command = getattr(self, "make_" + topic.split(".")[0])(kind)
        command = {"type": kind, field: key, **command}
        if self.random.random() < 0.06:
            command["expected_version"] = self.random.randrange(6)
        if self.random.random() < 0.04:
            command["deadline"] = text_of(self.now + self.random.choice((-1000, 30, 5000, 100000)))
        if self.random.random() < 0.06:
            command["note"] = self.random.choice(WORDS)
        if self.random.random() < 0.04:
            command["reference"] = f"ref-{self.serial}"
        if self.random.random() < 0.04:
            self.spoil(command, field)
        return topic, ("warehouse:" + key if field == "warehouse" else key), command

    def spoil(self, command, field):
        """Breaks a rule of a field, or asks for the limit of one."""
        names = [name for name in command if name not in ("type", field)]
        name = self.random.choice(names or ["colour"])
        if self.random.random() < 0.3:
            command["colour"] = "red"
        elif self.random.random() < 0.4:
            command.pop(name, None)
        else:
            command[name] = self.random.choice((0, -1, MOST, MOST + 1, "", "x" * 70, None, True, [], {}))

    def command(self):
        return self.put(*self.fresh())

    def quantity(self):
        return self.random.choice((1, 1, 2, 3, 5, 8, 20)) if self.random.random() < 0.97 else MOST

    def any_id(self, letter):
        """Of the few that are in use; at times the next one."""
        if self.random.random() < 0.25:
            self.recent[letter] += 1
        return f"{letter}-{max(0, self.recent[letter] - self.random.choice((0, 0, 0, 1, 1, 2)))}"

    def reservation(self):
        return self.any_id("R")

    def make_stock(self, kind):
        rnd = self.random
        sku = rnd.choice(self.skus) if rnd.random() < 0.97 else "SKU-none"
        if kind == "RegisterSku":
            return "sku", sku, {"product_id": rnd.choice(self.products)} if rnd.random() < 0.5 else {}
        command = {"warehouse": rnd.choice(self.warehouses) if rnd.random() < 0.97 else "NONE"}
        if kind == "ConfigureStock":
            options = {"policy": ("DENY", "BACKORDER", None), "backorder_limit": (0, 2, 10, None),
                       "safety_stock": (0, 1, 4, None), "low_stock_threshold": (0, 2, 5, None)}
            for name in rnd.sample(sorted(options), rnd.randint(0, 3)):
                command[name] = rnd.choice(options[name])
        elif kind == "AdjustStock":
            command["delta"] = rnd.choice((-20, -3, -1, 1, 2, 9))
            if rnd.random() < 0.9:
                command["reason"] = rnd.choice(("CORRECTION", "CYCLE_COUNT", "LOST", "FOUND", "OTHER"))
            if rnd.random() < 0.2:
                command["change_from"] = rnd.randint(0, 20)
        elif kind == "SetStock":
            command["quantity"] = rnd.randint(0, 40)
            command.update(rnd.choice(({"change_from": None}, {"change_from": None},
                                       {"change_from": rnd.randint(0, 30)}, {"as_of_version": rnd.randint(0, 12)})))
            if rnd.random() < 0.3:
                command["name"] = rnd.choice(("ON_HAND", "AVAILABLE"))
        else:
            command["quantity"] = self.quantity()
            if kind == "ShipStock":
                command["shipment_id"] = f"S-{self.serial}"
                if rnd.random() < 0.6 and "reservation.commands" in self.types:
                    command.update(reservation_id=self.reservation(), line=rnd.choice((1, 1, 2)),
                                   quantity=rnd.choice((1, 1, 2, 5)))
                if rnd.random() < 0.08:
                    command["force"] = True
            elif kind == "ReturnStock":
                command.update(return_id=f"B-{self.serial}",
                               condition=rnd.choice(("RESELLABLE", "DAMAGED", "INSPECT")))
        if kind in ("ReceiveStock", "AdjustStock") and rnd.random() < 0.3:
            command["bucket"] = rnd.choice(BUCKETS)
        return "sku", sku, command

    def make_catalogue(self, kind):
        rnd = self.random
        if kind == "RegisterWarehouse":
            name = rnd.choice(self.warehouses + ["NEW1"])
            return "warehouse", name, {"name": rnd.choice(WORDS).title()}
        key, command = rnd.choice(self.products), {}
        if kind == "CreateProduct":
            command = {"slug": rnd.choice(WORDS), "name": "A product", **self.details()}
            if rnd.random() < 0.8:
                command["variants"] = [{"sku": sku, **self.variant()}
                                       for sku in rnd.sample(self.skus, rnd.randint(0, min(2, len(self.skus))))]
        elif kind == "UpdateProduct":
            command = {"patch": self.details()}
            if rnd.random() < 0.4:
                command["patch"]["slug"] = rnd.choice(WORDS)
        elif kind == "AddVariant":
            command = {"variant": {"sku": rnd.choice(self.skus), **self.variant()}}
        elif kind == "ChangePrice":
            command = {"sku": rnd.choice(self.skus), "currency": rnd.choice(("EUR", "EUR", "USD")),
                       "amount_minor": rnd.randint(0, 5000)}
            if rnd.random() < 0.2:
                command["list"] = "vip"
            if rnd.random() < 0.2:
                command["compare_at_minor"] = 6000
            for name in ("valid_from", "valid_until"):
                if rnd.random() < 0.35:
                    command[name] = text_of(self.now + rnd.choice((-1000, 1000, 5000, 60000)) * SECOND)
            if command.get("valid_from", "") >= command.get("valid_until", "z"):
                del command["valid_from"]
        return "product_id", key, command

    def details(self):
        rnd = self.random
        options = {"description": ("", "soft"), "category_ids": ([], ["shirts"], ["shirts", "sale"]),
                   "attributes": ({}, {"fit": "wide"}), "media": ([], ["a.jpg"])}
        return {name: rnd.choice(options[name]) for name in rnd.sample(sorted(options), rnd.randint(0, 2))}

    def variant(self):
        rnd = self.random
        options = {"barcode": ("871",), "options": ({"size": "M"}, {}), "uom": ("pcs", "kg"), "scale": (0, 3)}
        return {name: rnd.choice(options[name]) for name in rnd.sample(sorted(options), rnd.randint(0, 2))}

    def make_reservation(self, kind):
        rnd, key, command = self.random, self.reservation(), {}
        if kind == "ReserveStock":
            command["lines"] = [self.line() for _ in range(rnd.choice((1, 1, 1, 2, 2, 3, 4)))]
            if rnd.random() < 0.7:
                command["ttl_s"] = rnd.choice((1, 30, 60, 900))
            if rnd.random() < 0.3:
                command["owner"] = "cart:9"
            if rnd.random() < 0.01:
                command["lines"] = [{"sku": f"MANY-{n}", "quantity": 1} for n in range(rnd.choice((200, 201)))]
        elif kind == "ExtendReservation":
            command["ttl_s"] = rnd.choice((1, 60, 1000, 86400))
        elif kind == "CommitReservation":
            command["order_id"] = rnd.choice(("O-1", "O-1", "O-1", "O-2"))
        return "reservation_id", key, command

    def line(self):
        rnd = self.random
        line = {"sku": rnd.choice(self.skus), "quantity": rnd.choice((1, 1, 2, 3, 5, 30))}
        dice = rnd.random()
        if dice < 0.3:
            line["warehouse"] = rnd.choice(self.warehouses)
        elif dice < 0.5:
            line["warehouses"] = rnd.sample(self.warehouses, rnd.randint(0, len(self.warehouses)))
        return line

    def make_transfer(self, kind):
        rnd, key, command = self.random, self.any_id("T"), {}
        if kind == "DispatchTransfer":
            command = {"sku": rnd.choice(self.skus), "quantity": rnd.choice((1, 2, 3, 6)),
                       "from": rnd.choice(self.warehouses), "to": rnd.choice(self.warehouses)}
        elif kind == "ReceiveTransfer":
            command["quantity"] = rnd.choice((1, 1, 2, 3, 6))
            if rnd.random() < 0.3:
                command["bucket"] = rnd.choice(BUCKETS)
            if rnd.random() < 0.3:
                command["close"] = rnd.random() < 0.7
        else:
            command["disposition"] = rnd.choice(("RESTOCK", "WRITE_OFF"))
        return "transfer_id", key, command


def plain(value):
    """Whether msgpack_encode of a producer knows all of it."""
    if isinstance(value, dict):
        return all(plain(item) for item in value.values())
    return not isinstance(value, list)


MAKERS = {("stock.commands", "RegisterSku"): 1, ("stock.commands", "ConfigureStock"): 2,
          ("stock.commands", "ReceiveStock"): 4, ("stock.commands", "AdjustStock"): 3,
          ("stock.commands", "SetStock"): 2, ("stock.commands", "ShipStock"): 6, ("stock.commands", "ReturnStock"): 1,
          ("catalogue.commands", "RegisterWarehouse"): 0.5, ("catalogue.commands", "CreateProduct"): 3,
          ("catalogue.commands", "UpdateProduct"): 2, ("catalogue.commands", "AddVariant"): 2,
          ("catalogue.commands", "PublishProduct"): 1, ("catalogue.commands", "ArchiveProduct"): 0.5,
          ("catalogue.commands", "ChangePrice"): 3,
          ("reservation.commands", "ReserveStock"): 9, ("reservation.commands", "ExtendReservation"): 2,
          ("reservation.commands", "CommitReservation"): 4, ("reservation.commands", "ReleaseReservation"): 3,
          ("transfer.commands", "DispatchTransfer"): 5, ("transfer.commands", "ReceiveTransfer"): 4,
          ("transfer.commands", "CancelTransfer"): 2}
