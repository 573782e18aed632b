"""Which fields a command has and what they may hold: domain.md 6 and 9, decided apart from tally's tables.

`TYPES[type]` says what a command of that type is; `rules_broken(command)` names the members that break a rule.
"""
import re

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
COMMAND_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
WAREHOUSE = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,31}")
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d{1,9})?Z")
CURRENCY = re.compile(r"[A-Z]{3}")
MOST = 10 ** 12
INT64_MAX = 2 ** 63 - 1


def whole(low, high, zero=True):
    return lambda item: isinstance(item, int) and not isinstance(item, bool) and low <= item <= high and (zero or item)


def text(low, high):
    return lambda item: isinstance(item, str) and low <= len(item.encode()) <= high


def shape(pattern, most=INT64_MAX):
    return lambda item: isinstance(item, str) and len(item) <= most and bool(pattern.fullmatch(item))


def one_of(*names):
    return lambda item: isinstance(item, str) and item in names


def time(item):
    match = TIME.fullmatch(item) if isinstance(item, str) else None
    if not match:
        return False
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    return (year >= 1970 and 1 <= month <= 12 and 1 <= day <= days[month - 1] and hour < 24 and minute < 60
            and second < 60)


def boolean(item):
    return isinstance(item, bool)


def mapping(item):
    return isinstance(item, dict)


def array(rule, low, high):
    return lambda item: isinstance(item, list) and low <= len(item) <= high and all(rule(one) for one in item)


def record(fields, required, nullable=()):
    def fits(item):
        return (isinstance(item, dict) and required <= item.keys() <= fields.keys() and
                all(fields[name](value) or (value is None and name in nullable) for name, value in item.items()))
    return fits


def either(*rules):
    return lambda item: any(rule(item) for rule in rules)


ANY_INT = whole(-2 ** 63, INT64_MAX)
QUANTITY = whole(1, MOST)
NAME = text(1, 200)
BUCKET = one_of("SELLABLE", "DAMAGED", "QUALITY_CONTROL")
REASONS = one_of("CORRECTION", "CYCLE_COUNT", "DAMAGED", "SHRINKAGE", "LOST", "FOUND", "PROMO", "OTHER")
LINE = whole(1, 65535)
COMMON = {"expected_version": whole(0, INT64_MAX), "deadline": time, "reference": text(0, 256), "note": text(0, 500)}
LINES_MOST = 65536  # TOO_MANY_LINES is a decision, made after equal lines were merged


class Type:
    """`own`: only tally sends it. `key`: the field that the record key is, after `prefix`."""

    def __init__(self, key, fields, required=(), nullable=(), own=False, prefix="", check=None):
        self.key, self.prefix, self.own, self.check = key, prefix, own, check
        self.fields = {key: KEYS[key], **fields, **({} if own else COMMON)}
        self.required = {key, *required}
        self.nullable = set(nullable)


KEYS = {"sku": shape(ID), "product_id": shape(ID), "reservation_id": shape(ID), "transfer_id": shape(ID),
        "warehouse": shape(WAREHOUSE), "slug": shape(SLUG, 96)}


def level(fields, required, nullable=(), check=None):
    return Type("sku", {"warehouse": shape(WAREHOUSE), **fields}, ("warehouse", *required), nullable, check=check)


def set_needs(fields):
    return set() if ("change_from" in fields) != ("as_of_version" in fields) else {"change_from"}


def ship_needs(fields):
    return set() if ("reservation_id" in fields) == ("line" in fields) else {"line"}


STOCK = {
    "RegisterSku": Type("sku", {"product_id": shape(ID)}),
    "ConfigureStock": level({"policy": one_of("DENY", "BACKORDER"), "backorder_limit": whole(0, MOST),
                             "safety_stock": whole(0, MOST), "low_stock_threshold": whole(0, MOST)}, (),
                            ("policy", "backorder_limit", "safety_stock", "low_stock_threshold")),
    "ReceiveStock": level({"quantity": QUANTITY, "bucket": BUCKET}, ("quantity",)),
    "AdjustStock": level({"delta": whole(-MOST, MOST, zero=False), "bucket": BUCKET, "reason": REASONS,
                          "change_from": ANY_INT}, ("delta",)),
    "SetStock": level({"quantity": whole(0, MOST), "name": one_of("ON_HAND", "AVAILABLE"), "change_from": ANY_INT,
                       "as_of_version": whole(0, INT64_MAX)}, ("quantity",), ("change_from",), set_needs),
    "ShipStock": level({"quantity": QUANTITY, "shipment_id": shape(ID), "force": boolean,
                        "reservation_id": shape(ID), "line": LINE}, ("quantity", "shipment_id"), (), ship_needs),
    "ReturnStock": level({"quantity": QUANTITY, "return_id": shape(ID),
                          "condition": one_of("RESELLABLE", "DAMAGED", "INSPECT")},
                         ("quantity", "return_id", "condition")),
    "ApplyWarehouse": Type("warehouse", {"name": NAME, "state": one_of("OPEN", "CLOSED")}, ("name", "state"),
                           own=True, prefix="warehouse:"),
    "ClaimSku": Type("sku", {"product_id": shape(ID), "op_id": shape(COMMAND_ID)}, ("product_id", "op_id"), own=True),
    "ReleaseSku": Type("sku", {"product_id": shape(ID), "op_id": shape(COMMAND_ID)}, ("product_id", "op_id"),
                       own=True),
    "FreezeSku": Type("sku", {"product_id": shape(ID)}, ("product_id",), own=True),
}
HOLD = {"reservation_id": shape(ID), "line": LINE, "attempt": LINE}
for _name, _fields, _needed in (
        ("HoldStock", {"quantity": QUANTITY, "warehouses": array(shape(WAREHOUSE), 0, 64), "deadline": time},
         ("quantity", "warehouses")),
        ("ConfirmHold", {}, ()),
        ("CommitHold", {"order_id": shape(ID)}, ("order_id",)),
        ("ReleaseHold", {"reason": one_of("RETRIED", "FAILED", "RELEASED", "EXPIRED")}, ("reason",))):
    STOCK[_name] = Type("sku", {**HOLD, **_fields}, (*HOLD, *_needed), own=True)
MOVE = {"transfer_id": shape(ID), "warehouse": shape(WAREHOUSE), "quantity": QUANTITY}
for _name, _fields, _needed in (("TransferOut", {"to": shape(WAREHOUSE)}, ("to",)), ("TransferBack", {}, ()),
                                ("TransferExpect", {}, ()), ("TransferIn", {"bucket": BUCKET}, ()),
                                ("TransferLoss", {}, ())):
    STOCK[_name] = Type("sku", {**MOVE, **_fields}, (*MOVE, *_needed), own=True)

VARIANT = record({"sku": shape(ID), "barcode": text(1, 64), "options": mapping, "uom": text(1, 16),
                  "scale": whole(0, 5)}, {"sku"})
PRODUCT = {"slug": shape(SLUG, 96), "name": NAME, "description": text(0, INT64_MAX),
           "category_ids": array(shape(ID), 0, 65536), "attributes": mapping,
           "media": array(text(0, INT64_MAX), 0, 65536)}


def skus_differ(fields):
    skus = [variant["sku"] for variant in fields.get("variants", [])]
    return set() if len(set(skus)) == len(skus) else {"variants"}


def window_is_one(fields):
    if "valid_from" not in fields or "valid_until" not in fields:
        return set()
    # to the millisecond, as text: 19 characters and a fraction
    begin, end = ((one[:19], one[20:-1].ljust(3, "0")[:3]) for one in (fields["valid_from"], fields["valid_until"]))
    return set() if begin < end else {"valid_until"}


CLAIM = {"product_id": shape(ID), "op_id": shape(COMMAND_ID)}
CATALOGUE = {
    "RegisterWarehouse": Type("warehouse", {"name": NAME}, ("name",), prefix="warehouse:"),
    "CreateProduct": Type("product_id", {**PRODUCT, "variants": array(VARIANT, 0, 65536)}, ("slug", "name"),
                          check=skus_differ),
    "UpdateProduct": Type("product_id", {"patch": record(PRODUCT, set(), PRODUCT.keys() - {"slug", "name"})},
                          ("patch",)),
    "AddVariant": Type("product_id", {"variant": VARIANT}, ("variant",)),
    "PublishProduct": Type("product_id", {}),
    "ArchiveProduct": Type("product_id", {}),
    "ChangePrice": Type("product_id", {"sku": shape(ID), "currency": shape(CURRENCY), "list": text(1, 64),
                                       "amount_minor": whole(0, INT64_MAX), "compare_at_minor": whole(0, INT64_MAX),
                                       "valid_from": time, "valid_until": time},
                        ("sku", "currency", "amount_minor"), check=window_is_one),
    "ClaimReply": Type("product_id", {"op_id": shape(COMMAND_ID), "claim": text(1, 128), "granted": boolean,
                                      "code": text(1, 64)}, ("op_id", "claim", "granted"), own=True),
    "ClaimSlug": Type("slug", CLAIM, CLAIM, own=True, prefix="slug:"),
    "ReleaseSlug": Type("slug", CLAIM, CLAIM, own=True, prefix="slug:"),
    "TimeOut": Type("product_id", {"op_id": shape(COMMAND_ID), "due_at": time}, ("op_id", "due_at"), own=True),
}


def line_needs(fields):
    both = any("warehouse" in line and "warehouses" in line for line in fields["lines"])
    return {"lines"} if both else set()


RESERVED = record({"sku": shape(ID), "quantity": QUANTITY, "warehouse": shape(WAREHOUSE),
                   "warehouses": array(shape(WAREHOUSE), 0, 64)}, {"sku", "quantity"})
TTL = whole(1, 86400)
RESERVATION = {
    "ReserveStock": Type("reservation_id", {"lines": array(RESERVED, 1, LINES_MOST), "owner": text(1, 128),
                                            "ttl_s": TTL}, ("lines",), check=line_needs),
    "ExtendReservation": Type("reservation_id", {"ttl_s": TTL}, ("ttl_s",)),
    "CommitReservation": Type("reservation_id", {"order_id": shape(ID)}, ("order_id",)),
    "ReleaseReservation": Type("reservation_id", {}),
    "HoldReply": Type("reservation_id", {"line": LINE, "attempt": LINE, "granted": boolean, "position": text(1, 300),
                                         "warehouse": shape(WAREHOUSE), "code": text(1, 64), "available": ANY_INT},
                      ("line", "attempt", "granted", "position"), own=True),
    "HoldShipped": Type("reservation_id", {"line": LINE, "quantity": QUANTITY, "shipment_id": shape(ID)},
                        ("line", "quantity", "shipment_id"), own=True),
    "ExpireReservation": Type("reservation_id", {"due_at": time}, ("due_at",), own=True),
    "TimeOut": Type("reservation_id", {"attempt": LINE, "due_at": time}, ("attempt", "due_at"), own=True),
}
TRANSFER = {
    "DispatchTransfer": Type("transfer_id", {"sku": shape(ID), "quantity": QUANTITY, "from": shape(WAREHOUSE),
                                             "to": shape(WAREHOUSE)}, ("sku", "quantity", "from", "to")),
    "ReceiveTransfer": Type("transfer_id", {"quantity": QUANTITY, "bucket": BUCKET, "close": boolean}, ("quantity",)),
    "CancelTransfer": Type("transfer_id", {"disposition": one_of("RESTOCK", "WRITE_OFF")}, ("disposition",)),
    "TransferReply": Type("transfer_id", {"granted": boolean, "code": text(1, 64), "available": ANY_INT},
                          ("granted",), own=True),
    "TimeOut": Type("transfer_id", {"op_id": shape(COMMAND_ID), "due_at": time}, ("op_id", "due_at"), own=True),
}
TOPICS = {"stock": STOCK, "catalogue": CATALOGUE, "reservation": RESERVATION, "transfer": TRANSFER}


def rules_broken(command, topology):
    """Names of members that break a rule of the command's type."""
    kind = TOPICS[topology][command.type]
    broken = set(command.broken) | (kind.required - command.fields.keys())
    if (command.id[0] == "~") != kind.own:
        broken.add("command_id")
    for name, item in command.fields.items():
        rule = kind.fields.get(name)
        if not rule or not (rule(item) or (item is None and name in kind.nullable)):
            broken.add(name)
    if not broken and kind.check:
        broken = kind.check(command.fields)
    return broken
