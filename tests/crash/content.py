"""What Postgres and Redis must hold, by table and key, of the events alone; and the same of a dump of RocksDB. A row is
a dictionary of columns, absent is None, times are milliseconds. Where a store does not keep a column, it is left out of
the comparison by columns_of()."""
import json
import re

from model.aggregate import ms_of
from verdict import Violation
from wire import msgpack_decode

BUCKETS = ("on_hand", "damaged", "quality_control", "held", "reserved", "committed", "safety_stock", "incoming")
NUMBERS = (*BUCKETS, "available", "backordered")
TABLES = ("product", "product_category", "variant", "price", "slug", "warehouse", "sku", "stock_level", "ledger_entry",
          "reservation", "reservation_line", "transfer")
NO_SETTING = {"policy": "DENY", "backorder_limit": None, "low_stock_threshold": None}
PRODUCT = ("slug", "name", "description", "status", "attributes", "media", "version")
VARIANT = ("options", "uom", "scale", "barcode", "status")
PRICE = ("kind", "list", "currency", "amount_minor", "compare_at_minor")
CAUSE = ("reservation_id", "line", "order_id", "shipment_id", "return_id", "transfer_id")
RESERVATION = ("version", "state", "owner", "ttl_s", "attempt", "pending", "order_id")
LINE = ("sku", "quantity", "warehouses", "state", "shipped", "warehouse", "position", "code", "available")
TRANSFER = ("version", "state", "sku", "quantity", "from", "to", "received", "returned", "lost")
SHOWN = 8  # differences


def document_of(value):
    return json.loads(value) if value[:1] == b"{" else msgpack_decode(value)


def ms_or_none(text):
    return None if text is None else ms_of(text)


def picked(source, names):
    return {name: source.get(name) for name in names}


class Content:
    """Folds events; `tables` is table -> key, a tuple -> row."""

    def __init__(self):
        self.tables = {name: {} for name in TABLES}
        self.documents = {}  # product_id -> its document
        self.positions = {}  # (topology, partition) -> offset behind its last event

    def absorb(self, records):
        """Records of all topics, in offset order of each partition."""
        for record in records:
            topology, _, kind = record.topic.partition(".")
            if kind == "events":
                self.positions[topology, record.partition] = record.offset + 1
                self.take(topology, record.partition, document_of(record.value))

    def take(self, topology, partition, event):
        getattr(self, "take_" + topology)(event, event["payload"], partition)

    # --- catalogue --------------------------------------------------------------------------------

    def take_catalogue(self, event, payload, _):
        if event["type"] == "WarehouseRegistered":
            self.tables["warehouse"][payload["warehouse"],] = picked(payload, ("name", "state"))
        elif event["type"] == "SlugClaimed":
            self.tables["slug"][payload["slug"],] = picked(payload, ("product_id",))
        elif event["type"] == "SlugReleased":
            del self.tables["slug"][payload["slug"],]
        if "product" in payload:
            self.documents[payload["product_id"]] = payload["product"]
            self.put_product(payload["product"])

    def put_product(self, product):
        """Its rows as they are from now on, and no others."""
        name = product["product_id"]
        for table in ("product_category", "variant", "price"):
            rows = self.tables[table]
            for key in [key for key, row in rows.items() if row["product_id"] == name]:
                del rows[key]
        self.tables["product"][name,] = {**picked(product, PRODUCT), "created_at": ms_of(product["created_at"]),
                                         "updated_at": ms_of(product["updated_at"])}
        for category in product["category_ids"]:
            self.tables["product_category"][name, category] = {"product_id": name}
        for variant in product["variants"]:
            sku = variant["sku"]
            self.tables["variant"][sku,] = {"product_id": name, **picked(variant, VARIANT)}
            for price in variant["prices"]:
                self.tables["price"][sku, price["price_id"]] = {
                    "product_id": name, **picked(price, PRICE), "valid_from": ms_or_none(price.get("valid_from")),
                    "valid_until": ms_or_none(price.get("valid_until"))}

    # --- stock ------------------------------------------------------------------------------------

    def take_stock(self, event, payload, partition):
        if "seq" in payload:
            self.put_level(event, payload, partition)
        elif event["type"].startswith("Sku"):
            self.tables["sku"][payload["sku"],] = picked(payload, ("product_id", "state", "version"))

    def put_level(self, event, payload, partition):
        place = payload["sku"], payload["warehouse"]
        before = self.tables["stock_level"].get(place, NO_SETTING)
        after = {name: payload["after"].get(name, 0) for name in NUMBERS}
        self.tables["stock_level"][place] = {
            **after, **picked(payload.get("setting", before), NO_SETTING), "version": payload["version"],
            "updated_at": ms_of(event["time"])}
        offset = int(event["id"].rsplit("@", 1)[1])
        self.tables["ledger_entry"][(*place, payload["seq"])] = {
            "type": event["type"], "kind": payload["kind"],
            "deltas": {name: payload["deltas"].get(name, 0) for name in BUCKETS}, "after": after,
            **picked(payload, ("reason", "note", "reference")), **picked(payload.get("cause", {}), CAUSE),
            "signals": payload.get("signals", []), "actor": event.get("actor"), "command_id": event["causation_id"],
            "recorded_at": ms_of(event["time"]), "partition": partition, "offset": offset}

    # --- reservations and transfers ---------------------------------------------------------------

    def take_reservation(self, event, payload, _):
        if "reservation_id" not in payload:
            return
        name, lines = payload["reservation_id"], self.tables["reservation_line"]
        self.tables["reservation"][name,] = {**picked(payload, RESERVATION), "updated_at": ms_of(event["time"]),
                                             "expires_at": ms_or_none(payload.get("expires_at"))}
        if event["type"] == "ReservationRequested" or not payload["attempt"]:
            for key in [key for key in lines if key[0] == name]:
                del lines[key]
        for line in payload.get("lines", ()):
            lines[name, line["line"]] = picked(line, LINE)

    def take_transfer(self, event, payload, _):
        if "transfer_id" in payload:
            self.tables["transfer"][payload["transfer_id"],] = {**picked(payload, TRANSFER),
                                                                "updated_at": ms_of(event["time"])}

    # --- what readers get -------------------------------------------------------------------------

    def redis(self):
        """key, without what all begin with -> text, or a document, or a hash of them."""
        keys = {f"product:{name}": document for name, document in self.documents.items()}
        keys.update((f"slug:{slug}", row["product_id"]) for (slug,), row in self.tables["slug"].items())
        keys.update((f"sku:{sku}", {"sku": sku, **row}) for (sku,), row in self.tables["sku"].items())
        for (sku, warehouse), row in self.tables["stock_level"].items():
            keys.setdefault(f"level:{sku}", {})[warehouse] = {"sku": sku, "warehouse": warehouse, **row}
        return keys


# --- RocksDB ------------------------------------------------------------------------------------------


def unescaped(key):
    return tuple(re.sub("%(..)", lambda found: chr(int(found[1], 16)), part) for part in key.split("."))


def rocksdb_content(lines):
    """The tables that `tally fsck --dump`, or /v1/ops/dump, shows, as Content has them."""
    content = Content()
    tables, settings = content.tables, {}
    for line in lines:
        row = json.loads(line)
        key, value, place = unescaped(row["key"]), row["value"], (row["topology"], row["store"])
        if place == ("catalogue", "product"):
            content.documents[value["product_id"]] = value
            content.put_product(value)
        elif place == ("catalogue", "slug"):
            tables["slug"][key] = picked(value, ("product_id",))
        elif place == ("catalogue", "warehouse"):
            tables["warehouse"][key] = picked(value, ("name", "state"))
        elif place == ("stock", "sku"):
            tables["sku"][key] = picked(value, ("product_id", "state", "version"))
        elif place == ("stock", "setting"):
            settings[key] = picked(value, NO_SETTING)
        elif place == ("stock", "level"):
            tables["stock_level"][key] = {**picked(value, NUMBERS), **NO_SETTING, "version": value["version"],
                                          "updated_at": ms_of(value["updated_at"])}
        elif place == ("stock", "ledger"):
            tables["ledger_entry"][key[0], key[1], int(key[2])] = ledger_row(value, row["partition"])
        elif place == ("reservation", "reservation"):
            tables["reservation"][key] = {**picked(value, RESERVATION),
                                          "expires_at": ms_or_none(value.get("expires_at"))}
        elif place == ("reservation", "line"):
            tables["reservation_line"][key[0], int(key[1])] = picked(value, LINE)
        elif place == ("transfer", "transfer"):
            tables["transfer"][key] = picked(value, TRANSFER)
    for place, setting in settings.items():
        tables["stock_level"][place].update(setting)
    return content


def ledger_row(value, partition):
    after = {**dict.fromkeys(NUMBERS, 0), **value["after"]}
    claimed = after["held"] + after["reserved"] + after["committed"]
    sellable = after["on_hand"] - after["damaged"] - after["quality_control"]
    after.update(available=sellable - claimed - after["safety_stock"], backordered=max(0, claimed - sellable))
    return {**picked(value, ("type", "kind", "reason", "note", "reference", *CAUSE, "signals", "actor", "command_id",
                             "offset")), "deltas": {name: value["deltas"].get(name, 0) for name in BUCKETS},
            "after": after, "recorded_at": ms_of(value["recorded_at"]), "partition": partition}


# --- comparison ---------------------------------------------------------------------------------------


def differences(want, have, name):
    """Lines about the first keys of a table that are missing, too many or other than expected. Columns that `have`
    does not keep at all are not compared."""
    found = []
    for key in sorted(want.keys() | have.keys(), key=str):
        if len(found) == SHOWN:
            break
        if key not in have:
            found.append(f"{name} {key} is missing: {want[key]}")
        elif key not in want:
            found.append(f"{name} {key} has no event: {have[key]}")
        else:
            found += [f"{name} {key}: {column} is {have[key][column]!r}, expected {expected!r}"
                      for column, expected in want[key].items() if column in have[key] and not
                      same(have[key][column], expected)]
    return found


def same(one, other):
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def table_differences(want, have):
    """Of two Contents, or of the tables that `have` has."""
    return [line for name, rows in have.items() for line in differences(want.tables[name], rows, name)][:SHOWN]


def document_differences(want, have):
    """Of Content.redis() and what Redis answers."""
    found = []
    for key in sorted(want.keys() | have.keys()):
        if len(found) >= SHOWN:
            break
        if key not in have:
            found.append(f"{key} is missing: {want[key]}")
        elif key not in want:
            found.append(f"{key} has no event: {have[key]}")
        elif key.startswith("level:") and isinstance(have[key], dict):
            found += differences(want[key], have[key], key)
        elif have[key] != want[key]:
            found.append(f"{key} is {have[key]}, expected {want[key]}")
    return found[:SHOWN]


def must_equal(invariant, found):
    if found:
        raise Violation("\n    ".join([invariant + ":", *found]))
