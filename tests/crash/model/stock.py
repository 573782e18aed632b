"""Stock as domain.md says it: 2 (buckets), 6 (stock.commands), 8, 9."""
from model.aggregate import Message, Outcome, Partition, Refusal

NUMBERS = ("on_hand", "damaged", "quality_control", "held", "reserved", "committed", "safety_stock", "incoming")
BUCKETS = {"SELLABLE": None, "DAMAGED": "damaged", "QUALITY_CONTROL": "quality_control"}
CONDITIONS = {"RESELLABLE": None, "DAMAGED": "damaged", "INSPECT": "quality_control"}
LIMIT = 9 * 10 ** 15
ENDED = ("SHIPPED", "RELEASED")
IN_BUCKET = {"HELD": "held", "RESERVED": "reserved", "COMMITTED": "committed"}


class Level(dict):
    """The eight numbers, absent ones are 0."""

    version = 0

    def __missing__(self, name):
        return 0

    def plus(self, deltas):
        moved = Level({name: self[name] + deltas.get(name, 0) for name in NUMBERS})
        moved.version = self.version + 1
        return moved

    @property
    def sellable(self):
        return self["on_hand"] - self["damaged"] - self["quality_control"]

    @property
    def claimed(self):
        return self["held"] + self["reserved"] + self["committed"]

    @property
    def available(self):
        return self.sellable - self.claimed - self["safety_stock"]

    @property
    def backordered(self):
        return max(0, self.claimed - self.sellable)

    def bucket(self, name):
        return self.sellable if name == "SELLABLE" else self[BUCKETS[name]]

    def after(self):
        shown = {name: self[name] for name in NUMBERS if self[name]}
        shown["on_hand"], shown["available"] = self["on_hand"], self.available
        if self.backordered:
            shown["backordered"] = self.backordered
        return shown


DEFAULT = {"policy": "DENY", "backorder_limit": None, "safety_stock": 0, "low_stock_threshold": None}


def signals(before, after, threshold):
    """The marks that available passes between two levels."""
    a, b = before.available, after.available
    marks = [("OUT_OF_STOCK", a > 0 >= b), ("BACK_IN_STOCK", a <= 0 < b), ("OVERSOLD", a >= 0 > b)]
    if threshold is not None:
        marks += [("LOW_STOCK_REACHED", a > threshold >= b), ("LOW_STOCK_CLEARED", a <= threshold < b)]
    return [name for name, passed in marks if passed]


class Stock(Partition):
    topology = "stock"
    broadcast = ("ApplyWarehouse",)

    def __init__(self, number, partitions, require_registration=True, **settings):
        super().__init__(number, partitions, **settings)
        self.required = require_registration
        self.levels, self.ledger, self.rules = {}, {}, {}
        self.skus, self.warehouses, self.holds = {}, {}, {}

    # --- state ------------------------------------------------------------------------------------

    def fold(self, kind, payload):
        if "seq" in payload:
            self.fold_level(payload)
        elif kind == "WarehouseApplied":
            self.warehouses[payload["warehouse"]] = {"name": payload["name"], "state": payload["state"]}
        elif kind.startswith("Sku"):
            self.skus[payload["sku"]] = {name: payload.get(name) for name in ("product_id", "state", "op_id", "version")}
        if "hold" in payload:
            cause = payload["cause"]
            self.holds[cause["reservation_id"], cause["line"]] = {
                **payload["hold"], "sku": self.key, "warehouse": payload.get("warehouse"), "time": self.now}

    def fold_level(self, payload):
        place = payload["sku"], payload["warehouse"]
        level = Level({name: payload["after"].get(name, 0) for name in NUMBERS})
        level.version = payload["seq"]
        self.levels[place] = level
        self.ledger.setdefault(place, []).append(level)
        if "setting" in payload:
            self.rules[place] = payload["setting"]

    def level(self, place):
        return self.levels.get(place) or Level()

    def hold(self, fields):
        """The hold of this SKU, unless it ended long ago."""
        hold = self.holds.get((fields["reservation_id"], fields["line"]))
        if hold and hold["sku"] == self.key and not (hold["state"] in ENDED and self.over(hold["time"])):
            return hold
        return None

    def know_sku(self):
        if self.required and self.key not in self.skus:
            raise Refusal("UNKNOWN_SKU")

    def state_of(self, warehouse):
        known = self.warehouses.get(warehouse)
        if not known and self.required:
            raise Refusal("UNKNOWN_WAREHOUSE")
        return known["state"] if known else "OPEN"

    def placed(self, fields):
        """Checks 6 and 8 of a command about one level."""
        self.know_sku()
        state = self.state_of(fields["warehouse"])
        place = fields["sku"], fields["warehouse"]
        self.expect_version(fields, self.level(place).version)
        return place, self.level(place), state

    def change(self, kind, name, place, deltas, fields=(), setting=None, sends=(), **extras):
        """The fact that moves a level."""
        before = self.level(place)
        after = before.plus(deltas)
        if any(abs(after[number]) > LIMIT for number in NUMBERS):
            raise Refusal("QUANTITY_OVERFLOW")
        payload = {"sku": place[0], "warehouse": place[1], "seq": after.version, "version": after.version, "kind": name,
                   "deltas": {number: delta for number, delta in deltas.items() if delta}, "after": after.after()}
        for member in ("note", "reference"):
            if member in fields:
                payload[member] = fields[member]
        passed = signals(before, after, (setting or self.rules.get(place, DEFAULT))["low_stock_threshold"])
        if passed:
            payload["signals"] = passed
        if setting:
            payload["setting"] = setting
        payload.update((member, item) for member, item in extras.items() if item)
        return Outcome(kind, payload, sends)

    # --- SKUs and warehouses ----------------------------------------------------------------------

    def register(self, kind, product_id, state, op_id):
        before = self.skus.get(self.key)
        payload = {"sku": self.key, "product_id": product_id, "state": state, "op_id": op_id,
                   "version": (before["version"] if before else 0) + 1}
        return Outcome(kind, {name: item for name, item in payload.items() if item is not None})

    def decide_register_sku(self, command, fields):
        sku = self.skus.get(self.key)
        self.expect_version(fields, sku["version"] if sku else 0)
        product = fields.get("product_id")
        if not sku:
            return self.register("SkuRegistered", product, "ACTIVE", None)
        if product is None or product == sku["product_id"]:
            return Outcome()
        if sku["product_id"] is not None:
            raise Refusal("SKU_TAKEN")
        return self.register("SkuRegistered", product, sku["state"], None)

    def decide_claim_sku(self, command, fields):
        sku = self.skus.get(self.key)
        if not sku or sku["product_id"] is None:
            outcome = self.register("SkuRegistered", fields["product_id"], sku["state"] if sku else "ACTIVE",
                                    fields["op_id"])
        elif sku["product_id"] == fields["product_id"]:
            outcome = Outcome()
        else:
            raise Refusal("SKU_TAKEN")
        outcome.sends.append(claim_reply(fields, "sku:" + self.key, None))
        return outcome

    def decide_release_sku(self, command, fields):
        sku = self.skus.get(self.key)
        if not sku or sku["op_id"] != fields["op_id"] or sku["product_id"] != fields["product_id"]:
            return Outcome()
        return self.register("SkuReleased", None, sku["state"], None)

    def decide_freeze_sku(self, command, fields):
        sku = self.skus.get(self.key)
        if not sku:
            raise Refusal("UNKNOWN_SKU")
        if sku["state"] == "ARCHIVED" or sku["product_id"] != fields["product_id"]:
            return Outcome()
        return self.register("SkuFrozen", sku["product_id"], "ARCHIVED", sku["op_id"])

    def decide_apply_warehouse(self, command, fields):
        return Outcome("WarehouseApplied", {name: fields[name] for name in ("warehouse", "name", "state")})

    # --- levels -----------------------------------------------------------------------------------

    def decide_configure_stock(self, command, fields):
        place, level, _ = self.placed(fields)
        setting = dict(self.rules.get(place, DEFAULT))
        for name in DEFAULT.keys() & fields.keys():
            setting[name] = DEFAULT[name] if fields[name] is None else fields[name]
        return self.change("StockConfigured", "CONFIGURE", place,
                           {"safety_stock": setting["safety_stock"] - level["safety_stock"]}, fields, setting)

    def decide_receive_stock(self, command, fields):
        place, _, state = self.placed(fields)
        if state == "CLOSED":
            raise Refusal("WAREHOUSE_CLOSED")
        return self.change("StockReceived", "RECEIVE", place,
                           into(BUCKETS[fields.get("bucket", "SELLABLE")], fields["quantity"]), fields)

    def decide_return_stock(self, command, fields):
        place, *_ = self.placed(fields)
        return self.change("StockReturned", "RETURN", place, into(CONDITIONS[fields["condition"]], fields["quantity"]),
                           fields, cause={"return_id": fields["return_id"]})

    def decide_adjust_stock(self, command, fields):
        place, level, _ = self.placed(fields)
        bucket = fields.get("bucket", "SELLABLE")
        if "reason" not in fields or (fields["reason"] == "OTHER" and not fields.get("note")):
            raise Refusal("REASON_REQUIRED")
        if fields.get("change_from", level.bucket(bucket)) != level.bucket(bucket):
            raise Refusal("CHANGE_FROM_STALE", actual=level.bucket(bucket), version=level.version)
        if level.bucket(bucket) + fields["delta"] < 0:
            raise Refusal("NEGATIVE_ON_HAND")
        return self.change("StockAdjusted", "ADJUST", place, into(BUCKETS[bucket], fields["delta"]), fields,
                           reason=fields["reason"])

    def decide_set_stock(self, command, fields):
        place, level, _ = self.placed(fields)
        base = level
        if "as_of_version" in fields:
            version = fields["as_of_version"]
            if version > level.version:
                raise Refusal("AS_OF_TOO_OLD")
            base = self.ledger[place][version - 1] if version else Level()
        value = base["on_hand"] if fields.get("name", "ON_HAND") == "ON_HAND" else base.available
        if fields.get("change_from") is not None and fields["change_from"] != value:
            raise Refusal("CHANGE_FROM_STALE", actual=value, version=level.version)
        delta = fields["quantity"] - value
        if delta == 0:
            return Outcome()
        if level.sellable + delta < 0:
            raise Refusal("NEGATIVE_ON_HAND")
        return self.change("StockAdjusted", "SET", place, {"on_hand": delta}, fields)

    def decide_ship_stock(self, command, fields):
        place, level, _ = self.placed(fields)
        quantity, force = fields["quantity"], fields.get("force", False)
        if "reservation_id" in fields:
            return self.ship_hold(place, level, quantity, force, fields)
        if not force and quantity > level.available:
            raise Refusal("INSUFFICIENT_STOCK")
        return self.change("StockShipped", "SHIP", place, {"on_hand": -quantity}, fields,
                           cause={"shipment_id": fields["shipment_id"]})

    def ship_hold(self, place, level, quantity, force, fields):
        hold = self.hold(fields)
        if not hold or hold["warehouse"] != place[1]:
            raise Refusal("RESERVATION_NOT_FOUND")
        if hold["state"] in ("HELD", "RESERVED"):
            raise Refusal("OPERATION_IN_PROGRESS")
        if hold["state"] in ENDED:
            raise Refusal("RESERVATION_CLOSED")
        if quantity > hold["quantity"] - hold["shipped"]:
            raise Refusal("QTY_EXCEEDS_COMMITTED")
        if not force and quantity > level.sellable:
            raise Refusal("NEGATIVE_ON_HAND")
        shipped = hold["shipped"] + quantity
        cause = {name: fields[name] for name in ("reservation_id", "line", "shipment_id")}
        told = Message("reservation.commands", fields["reservation_id"], "HoldShipped",
                       (fields["reservation_id"], fields["line"], level.version + 1),
                       {**cause, "quantity": quantity})
        return self.change("StockShipped", "SHIP", place, {"on_hand": -quantity, "committed": -quantity}, fields,
                           cause=cause, sends=[told],
                           hold=row(hold, shipped=shipped,
                                    state="SHIPPED" if shipped == hold["quantity"] else "COMMITTED"))

    # --- holds ------------------------------------------------------------------------------------

    def refused(self, command, refusal):
        """No saga hangs: a message that has a reply is answered, whatever refuses it."""
        fields = command.fields
        available = refusal.meta.get("available")
        if refusal.code in ("UNKNOWN_COMMAND", "VALIDATION_FAILED"):
            return []  # not of tally's making
        if command.type == "HoldStock":
            return [self.hold_reply(fields, code=refusal.code, available=available)]
        if command.type == "ClaimSku":
            return [claim_reply(fields, "sku:" + self.key, refusal.code)]
        if command.type == "TransferOut":
            return [transfer_reply(fields, refusal.code, available)]
        return []

    def hold_reply(self, fields, warehouse=None, code=None, available=None):
        parts = fields["reservation_id"], fields["line"], fields["attempt"]
        return Message("reservation.commands", fields["reservation_id"], "HoldReply", parts,
                       {"reservation_id": parts[0], "line": parts[1], "attempt": parts[2], "granted": code is None,
                        "position": f"{self.prefix}stock.commands/{self.number}@{self.offset}", "warehouse": warehouse,
                        "code": code, "available": available})

    def decide_hold_stock(self, command, fields):
        self.know_sku()
        sku = self.skus.get(self.key)
        named = [(name, self.state_of(name)) for name in fields["warehouses"]]
        if sku and sku["state"] == "ARCHIVED":
            raise Refusal("SKU_ARCHIVED")
        candidates = [name for name, state in named if state == "OPEN"] if named else self.stocked()
        if named and not candidates:
            raise Refusal("WAREHOUSE_CLOSED")
        hold = self.hold(fields)
        if hold and hold["state"] == "RELEASED" and fields["attempt"] <= hold["attempt"]:
            raise Refusal("CANCELLED")
        place = self.key, self.choose(candidates, fields["quantity"])
        return self.change("StockHeld", "HOLD", place, {"held": fields["quantity"]}, cause=about(fields),
                           hold={"attempt": fields["attempt"], "quantity": fields["quantity"], "shipped": 0,
                                 "state": "HELD"},
                           sends=[self.hold_reply(fields, warehouse=place[1])])

    def stocked(self):
        """All warehouses that are open and have a level, most available first."""
        names = [name for sku, name in self.levels if sku == self.key
                 and self.warehouses.get(name, {}).get("state", "OPEN") == "OPEN"]
        return sorted(names, key=lambda name: (-self.level((self.key, name)).available, name.encode()))

    def choose(self, candidates, quantity):
        levels = [(name, self.level((self.key, name)), self.rules.get((self.key, name), DEFAULT))
                  for name in candidates]
        for name, level, _ in levels:
            if level.available >= quantity:
                return name
        for name, level, rule in levels:
            if rule["policy"] == "BACKORDER":
                limit = rule["backorder_limit"]
                if limit is None or level.plus({"held": quantity}).backordered <= limit:
                    return name
        most = max((level.available for _, level, _ in levels), default=0)
        if any(level.available + level["held"] >= quantity for _, level, _ in levels):
            raise Refusal("CONTENDED", available=most)
        if any(rule["policy"] == "BACKORDER" for _, _, rule in levels):
            raise Refusal("BACKORDER_LIMIT", available=most)
        raise Refusal("INSUFFICIENT_STOCK", available=most)

    def move_hold(self, fields, kind, name, was, now, **cause):
        hold = self.hold(fields)
        if not hold or hold["state"] != was or hold["attempt"] != fields["attempt"]:
            return Outcome()
        place = self.key, hold["warehouse"]
        return self.change(kind, name, place, {IN_BUCKET[was]: -hold["quantity"], IN_BUCKET[now]: hold["quantity"]},
                           cause={**about(fields), **cause}, hold=row(hold, state=now))

    def decide_confirm_hold(self, command, fields):
        return self.move_hold(fields, "StockReserved", "RESERVE", "HELD", "RESERVED")

    def decide_commit_hold(self, command, fields):
        return self.move_hold(fields, "StockCommitted", "COMMIT", "RESERVED", "COMMITTED", order_id=fields["order_id"])

    def decide_release_hold(self, command, fields):
        hold = self.hold(fields)
        if not hold or hold["attempt"] < fields["attempt"]:
            return Outcome("HoldTombstoned", {"cause": about(fields), "hold": {
                "attempt": fields["attempt"], "quantity": 0, "shipped": 0, "state": "RELEASED"}})
        if hold["state"] in ENDED or hold["attempt"] > fields["attempt"]:
            return Outcome()
        left = hold["quantity"] - hold["shipped"]
        return self.change("StockReleased", "RELEASE", (self.key, hold["warehouse"]),
                           {IN_BUCKET[hold["state"]]: -left}, reason=fields["reason"], cause=about(fields),
                           hold=row(hold, state="RELEASED"))

    # --- transfers --------------------------------------------------------------------------------

    def moved(self, fields, kind, name, deltas, sends=()):
        return self.change(kind, name, (self.key, fields["warehouse"]), deltas, sends=sends,
                           cause={"transfer_id": fields["transfer_id"]})

    def decide_transfer_out(self, command, fields):
        _, level, _ = self.placed(fields)
        if self.state_of(fields["to"]) != "OPEN":
            raise Refusal("WAREHOUSE_CLOSED")
        if fields["quantity"] > level.available:
            raise Refusal("INSUFFICIENT_STOCK", available=level.available)
        return self.moved(fields, "TransferOut", "TRANSFER_OUT", {"on_hand": -fields["quantity"]},
                          [transfer_reply(fields)])

    def decide_transfer_back(self, command, fields):
        return self.moved(fields, "TransferBack", "TRANSFER_BACK", {"on_hand": fields["quantity"]})

    def decide_transfer_expect(self, command, fields):
        return self.moved(fields, "TransferExpect", "TRANSFER_EXPECT", {"incoming": fields["quantity"]})

    def decide_transfer_in(self, command, fields):
        return self.moved(fields, "TransferIn", "TRANSFER_IN",
                          {**into(BUCKETS[fields.get("bucket", "SELLABLE")], fields["quantity"]),
                           "incoming": -fields["quantity"]})

    def decide_transfer_loss(self, command, fields):
        return self.moved(fields, "TransferLoss", "TRANSFER_LOSS", {"incoming": -fields["quantity"]})


def into(bucket, quantity):
    return {"on_hand": quantity, bucket: quantity} if bucket else {"on_hand": quantity}


def about(fields):
    return {"reservation_id": fields["reservation_id"], "line": fields["line"]}


def row(hold, **changed):
    return {**{name: hold[name] for name in ("attempt", "quantity", "shipped", "state")}, **changed}


def claim_reply(fields, claim, code):
    return Message("catalogue.commands", fields["product_id"], "ClaimReply", (fields["op_id"], claim),
                   {"product_id": fields["product_id"], "op_id": fields["op_id"], "claim": claim,
                    "granted": code is None, "code": code})


def transfer_reply(fields, code=None, available=None):
    return Message("transfer.commands", fields["transfer_id"], "TransferReply", (fields["transfer_id"],),
                   {"transfer_id": fields["transfer_id"], "granted": code is None, "code": code,
                    "available": available})
