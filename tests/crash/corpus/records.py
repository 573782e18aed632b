"""The poison corpus: a table of hostile records, each with what must become of it.

What is expected is written here by hand, from the contract of commands and dead letters; only the
long rows of truncations and flipped bits are judged by strict.py, which shares no code with tally.
`corpus(run, partitions)` gives records that differ in SKU and command id from those of another run.
"""
import json
import struct
from dataclasses import dataclass, field

from wire import msgpack_encode

from corpus.strict import Poison, decode, home

DEAD, REJECTED, ACCEPTED, FORWARDED = "dead letter", "rejected", "accepted", "forwarded"
STOCK, CATALOGUE = "stock.commands", "catalogue.commands"
MIB = 1024 * 1024


@dataclass
class Item:
    name: str
    value: bytes | None
    expect: str
    detail: object = None  # DEAD: reasons that fit; REJECTED: the code; ACCEPTED: type of the event
    key: bytes | None = None
    topic: str = STOCK
    headers: list = field(default_factory=list)
    wrong: bool = False  # sent to a partition that the key does not belong to
    codec: str = "none"
    timestamp: int | None = None
    repaired: bytes | None = None  # DEAD: a value under the same key that is a command

    def partition(self, partitions):
        right = home(self.key or b"", partitions)
        return (right + 1) % partitions if self.wrong else right

    def size(self):
        return sum(len(x or b"") for x in (self.key, self.value)) + sum(
            len(n.encode() if isinstance(n, str) else n) + len(v or b"") for n, v in self.headers)


class Maker:
    def __init__(self, run):
        self.run = run
        self.items = []

    def good(self, **fields):
        """A command that is fine, about a SKU that no other record names."""
        number = len(self.items)
        command = {"type": "ReceiveStock", "command_id": f"p{self.run}-{number}", "sku": f"P{self.run}-{number}",
                   "warehouse": "W1", "quantity": 1}
        command.update(fields)
        return {name: item for name, item in command.items() if item is not DEAD}

    def add(self, name, value, expect, detail=None, key=DEAD, **more):
        number = len(self.items)
        if key is DEAD:
            key = f"P{self.run}-{number}".encode()
        item = Item(name, value, expect, detail, key, **more)
        if expect == DEAD:
            item.detail = {detail} if isinstance(detail, str) else set(detail)
            if key and item.repaired is None and item.topic == STOCK and usable_key(key):
                item.repaired = compact(self.good(sku=key.decode()))
        self.items.append(item)
        return item

    def dead(self, name, value, *reasons, **more):
        return self.add(name, value, DEAD, reasons, **more)

    def refused(self, what, code, value=None, /, **fields):
        return self.add(what, compact(self.good(**fields)) if value is None else value, REJECTED, code)

    def fine(self, what, event="StockReceived", /, value=None, **fields):
        return self.add(what, compact(self.good(**fields)) if value is None else value, ACCEPTED, event)

    def text(self, **fields):
        return compact(self.good(**fields))

    def packed(self, **fields):
        return msgpack_encode(self.good(**fields))

    def swap(self, name, old, new, *reasons, **more):
        """A good command in JSON with some of its bytes replaced."""
        good = self.text(note="x")
        assert old in good, old
        return self.dead(name, good.replace(old, new, 1), *reasons, **more)

    def note(self, raw):
        return self.text(note="@").replace(b'"@"', b'"' + raw + b'"')

    def packed_note(self, raw):
        good = self.packed(note="@")
        head = bytes([0xA0 | len(raw)]) if len(raw) < 32 else b"\xda" + struct.pack(">H", len(raw))
        return good.replace(b"\xa1@", head + raw)

    def judged(self, name, value, key):
        """A cut or flipped command, judged by strict.py."""
        try:
            command = decode(value)
        except Poison as poison:
            return self.add(name, value, DEAD, poison.reasons, key=key)
        return self.add(name, value, "judged", command, key=key)


def compact(command):
    return json.dumps(command, separators=(",", ":"), ensure_ascii=False).encode()


def usable_key(key):
    try:
        return 0 < len(key) <= 64 and key.decode().replace("-", "").isalnum()
    except UnicodeDecodeError:
        return False


# Every way in which UTF-8 can be wrong.
BAD_UTF8 = {
    "lone continuation": b"\x80", "continuations": b"\xbf\xbf\xbf", "first byte alone": b"\xc3",
    "three bytes cut to two": b"\xe2\x82", "four bytes cut to three": b"\xf0\x9f\x98", "overlong slash": b"\xc0\xaf",
    "overlong in three": b"\xe0\x80\xaf", "overlong in four": b"\xf0\x80\x80\xaf", "overlong NUL": b"\xc0\x80",
    "high surrogate": b"\xed\xa0\x80", "low surrogate": b"\xed\xbf\xbf", "surrogate pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "past U+10FFFF": b"\xf4\x90\x80\x80", "five bytes": b"\xf8\x88\x80\x80\x80", "six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "fe": b"\xfe", "ff": b"\xff", "latin 1": b"caf\xe9", "utf-16": "é€".encode("utf-16-le") + b"\xd8",
}


def values(make):
    make.dead("tombstone", None, "EMPTY_VALUE")
    make.dead("empty value", b"", "EMPTY_VALUE")
    for first in (b"\0", b" ", b"\n", b"[", b"]", b'"', b"1", b"n", b"<", b"\x7f", b"\x90", b"\xa1", b"\xc0", b"\xc1",
                  b"\xc4", b"\xc7", b"\xca", b"\xcf", b"\xd4", b"\xd9", b"\xdc", b"\xe0", b"\xff"):
        make.dead(f"begins with {first.hex()}", first + make.text(), "UNSUPPORTED_FORMAT")
        make.dead(f"only {first.hex()}", first, "UNSUPPORTED_FORMAT")
    for name, mark in (("utf-8", b"\xef\xbb\xbf"), ("utf-16 le", b"\xff\xfe"), ("utf-16 be", b"\xfe\xff"),
                       ("utf-32 be", b"\0\0\xfe\xff")):
        make.dead(f"byte order mark, {name}", mark + make.text(), "UNSUPPORTED_FORMAT")
    make.dead("utf-16 without a mark", make.text().decode().encode("utf-16-be"), "UNSUPPORTED_FORMAT")
    make.dead("utf-16 le without a mark", make.text().decode().encode("utf-16-le"), "MALFORMED_JSON")
    make.dead("gzip of a command", b"\x1f\x8b\x08\0" + make.text(), "UNSUPPORTED_FORMAT")
    make.dead("Confluent's magic byte", b"\0\0\0\0\x01" + make.text(), "UNSUPPORTED_FORMAT")
    make.dead("64 KiB of NUL", b"\0" * 65536, "UNSUPPORTED_FORMAT")
    make.dead("brace and 64 KiB of NUL", b"{" + b"\0" * 65536, "MALFORMED_JSON")


def json_documents(make):
    good = make.text
    for name, tail in (("a brace", b"}"), ("a comma", b","), ("NUL", b"\0"), ("a digit", b"1"), ("digits", b"1234567890"),
                       ("a minus", b"-"), ("the begin of true", b"tru"), ("true", b"true"), ("the begin of null", b"nu"),
                       ("a quote", b'"'), ("an open text", b'"abc'), ("a text", b'"abc"'), ("a bracket", b"["),
                       ("an object", b"{}"), ("space and a digit", b" \n 1"), ("a slash", b"/"), ("a comment", b"//x"),
                       ("ff", b"\xff"), ("a float", b"1.5"), ("half a float", b"1."), ("a backslash", b"\\")):
        make.dead(f"followed by {name}", good() + tail, "MALFORMED_JSON", "INVALID_UTF8", "BAD_NUMBER")
    make.dead("two documents", good() + good(), "MALFORMED_JSON")
    make.dead("two documents, one a line", good() + b"\n" + good(), "MALFORMED_JSON")
    make.dead("JSON, then MessagePack", good() + make.packed(), "MALFORMED_JSON", "INVALID_UTF8")
    make.fine("followed by space", value=good() + b" \t\r\n")
    make.fine("spaces everywhere", value=good().replace(b":", b" : ").replace(b",", b" ,\n\t"))
    make.fine("escaped names", value=good().replace(b'"sku"', b'"\\u0073ku"'))
    make.swap("comment inside", b'"note"', b'/* x */"note"', "MALFORMED_JSON")
    make.swap("comma at the end", b'"x"}', b'"x",}', "MALFORMED_JSON")
    make.swap("two commas", b',"note"', b',,"note"', "MALFORMED_JSON")
    make.swap("no comma", b',"note"', b'"note"', "MALFORMED_JSON")
    make.swap("no colon", b'"note":', b'"note"', "MALFORMED_JSON")
    make.swap("equals sign", b'"note":', b'"note"=', "MALFORMED_JSON")
    make.swap("single quotes", b'"x"', b"'x'", "MALFORMED_JSON")
    make.swap("no quotes", b'"x"', b"x", "MALFORMED_JSON")
    make.swap("no quotes at a name", b'"note"', b"note", "MALFORMED_JSON")
    make.swap("number as a name", b'"note"', b"1", "MALFORMED_JSON")
    make.swap("closed by a bracket", b'"x"}', b'"x"]', "MALFORMED_JSON")
    make.swap("True", b'"x"', b"True", "MALFORMED_JSON")
    make.swap("undefined", b'"x"', b"undefined", "MALFORMED_JSON")
    make.swap("NUL between", b',"note"', b',\0"note"', "MALFORMED_JSON")
    make.swap("NUL in a text", b'"x"', b'"\0"', "INVALID_UTF8", "MALFORMED_JSON")
    make.swap("line break in a text", b'"x"', b'"a\nb"', "INVALID_UTF8", "MALFORMED_JSON")
    make.swap("tab in a text", b'"x"', b'"a\tb"', "INVALID_UTF8", "MALFORMED_JSON")
    make.swap("unknown escape", b'"x"', b'"\\x41"', "MALFORMED_JSON")
    make.swap("escape without digits", b'"x"', b'"\\u12"', "MALFORMED_JSON")
    make.swap("escape of letters", b'"x"', b'"\\uzzzz"', "MALFORMED_JSON")
    make.swap("escaped NUL", b'"x"', b'"\\u0000"', "INVALID_UTF8")
    make.swap("escaped NUL in a name", b'"note"', b'"no\\u0000te"', "INVALID_UTF8")
    make.swap("lone high surrogate", b'"x"', b'"\\ud800"', "INVALID_UTF8")
    make.swap("lone low surrogate", b'"x"', b'"\\udc00"', "INVALID_UTF8")
    make.swap("surrogates turned round", b'"x"', b'"\\udc00\\ud800"', "INVALID_UTF8")
    make.swap("high surrogate, then text", b'"x"', b'"\\ud800abcdef"', "INVALID_UTF8")
    make.fine("surrogates in order", value=make.note(b"\\ud83d\\ude00"))
    make.fine("not a character", value=make.note("￿".encode()))
    for name, raw in BAD_UTF8.items():
        make.dead(f"JSON: {name}", make.note(raw), "INVALID_UTF8", "MALFORMED_JSON")
        make.dead(f"JSON name: {name}", make.text(note="x").replace(b'"note"', b'"' + raw + b'"'), "INVALID_UTF8",
                  "MALFORMED_JSON")


def numbers(make):
    for text in ("1.0", "1.5", "1e0", "1E3", "1e400", "1e-5", "0.1", "-0.0", "9223372036854775808",
                 "-9223372036854775809", "18446744073709551615", "18446744073709551616", "1" + "0" * 4000):
        make.swap(f"number {text[:24]}", b'"quantity":1', b'"quantity":' + text.encode(), "BAD_NUMBER")
    for text in ("NaN", "nan", "Infinity", "-Infinity", "inf", "+1", "01", "0x10", "1_000", "1.", ".5", "1e", "--1", "-",
                 "١"):
        make.swap(f"number {text}", b'"quantity":1', b'"quantity":' + text.encode(), "MALFORMED_JSON", "BAD_NUMBER")
    make.swap("overflow in a field that does not exist", b'"note"', b'"x":99999999999999999999,"note"', "BAD_NUMBER")
    for text, code in (("0", 1), ("-1", 1), ("-0", 1), ("1000000000001", 1), ("9223372036854775807", 1),
                       ("-9223372036854775808", 1)):
        make.refused(f"quantity {text}", "VALIDATION_FAILED", make.text().replace(b":1}", b":" + text.encode() + b"}"))
    make.fine("largest quantity", quantity=10 ** 12)
    good = make.packed(quantity=7)
    for name, raw in (("float 32", b"\xca\x3f\x80\0\0"), ("float 64", b"\xcb\x3f\xf0\0\0\0\0\0\0"),
                      ("NaN", b"\xcb\x7f\xf8\0\0\0\0\0\0"), ("infinity", b"\xcb\x7f\xf0\0\0\0\0\0\0"),
                      ("uint64 past int64", b"\xcf\x80\0\0\0\0\0\0\0"), ("largest uint64", b"\xcf" + b"\xff" * 8)):
        good = make.packed(quantity=7)
        make.dead(f"MessagePack {name}", good[:-1] + raw, "BAD_NUMBER")
    make.fine("int64 for a small number", value=make.packed()[:-1] + b"\xd3" + struct.pack(">q", 5))


def names_and_envelope(make):
    for name in ("type", "command_id", "sku", "quantity", "warehouse"):
        good = make.good()
        twice = make.text()[:-1] + b"," + compact({name: good[name]})[1:]
        make.dead(f"{name} twice", twice, "DUPLICATE_FIELD")
    make.swap("twice, once escaped", b'"note"', b'"\\u006eote":"y","note"', "DUPLICATE_FIELD")
    make.swap("twice in an inner object", b'"x"', b'{"a":1,"a":2}', "DUPLICATE_FIELD")
    for name in ("type", "command_id"):
        make.dead(f"no {name}", make.text(**{name: DEAD}), "MISSING_FIELD")
        for what, wrong in (("null", None), ("a number", 1), ("true", True), ("a list", ["x"]), ("an object", {}),
                            ("empty", "")):
            make.dead(f"{name} is {what}", make.text(**{name: wrong}), "MISSING_FIELD")
    for wrong in ("x" * 65, "a b", "ä", "a/b", "~", "a\u0001", "\u202ea", "~" + "a" * 192, "a~b"):
        make.dead(f"id {wrong[:8]!r} of {len(wrong)}", make.text(command_id=wrong), "MISSING_FIELD")
    make.dead("type of 129 bytes", make.text(type="T" * 129), "MISSING_FIELD")
    make.dead("two ids that differ", make.text(id="other"), "MISSING_FIELD")
    good = make.good()
    make.fine("two ids that agree", id=good["command_id"])
    for version in ("2", "2.0", "0", "0.9", "", "1x", "11.0", "v1", " 1", "१", "9" * 100000):
        make.dead(f"version {version[:6]!r}", make.text(version=version), "UNSUPPORTED_VERSION")
    for wrong in (1, None, ["1.0"], {"major": 1}):
        make.dead(f"version is {type(wrong).__name__}", make.text(version=wrong), "MISSING_FIELD")
    for version in ("1", "1.0", "1.99", "1.0.0-x"):
        make.fine(f"version {version}", version=version)
    for wrong in (None, 1, "text", [], True):
        make.dead(f"payload is {type(wrong).__name__}", make.text(payload=wrong), "MISSING_FIELD")
    for name in ("source", "actor", "correlation_id", "causation_id"):
        make.dead(f"{name} is a number", make.text(**{name: 5}), "MISSING_FIELD")
        make.refused(f"{name} of 129 bytes", "VALIDATION_FAILED", **{name: "x" * 129})
        make.fine(f"{name} of 128 bytes", **{name: "é" * 64})
    make.refused("own id on a public command", "VALIDATION_FAILED", command_id="~ReceiveStock:forged")
    make.refused("own id of 192 bytes", "VALIDATION_FAILED", command_id="~" + "a" * 191)
    for kind in ("receivestock", "ReceiveStock ", "CreateProduct", "StockReceived", "CommandRejected", "T" * 128,
                 "é" * 64, "../../etc/passwd", "%s%n%x", "'; drop table stock; --"):
        make.refused(f"type {kind[:20]}", "UNKNOWN_COMMAND", type=kind)
    long = make.good()
    make.fine("long form", value=compact({"id": long.pop("command_id"), "type": long.pop("type"), "payload": long}))
    long = make.good()
    make.refused("long form with a stranger", "VALIDATION_FAILED", compact(
        {"id": long.pop("command_id"), "type": long.pop("type"), "payload": long, "colour": 1}))
    long = make.good()
    make.dead("long form with command_id alone", compact(
        {"command_id": long.pop("command_id"), "type": long.pop("type"), "payload": long}), "MISSING_FIELD")
    make.refused("empty payload", "UNKNOWN_COMMAND", compact(
        {"id": make.good()["command_id"], "type": "Nothing", "payload": {}}))
    make.dead("empty payload of a known type", compact(
        {"id": make.good()["command_id"], "type": "ReceiveStock", "payload": {}}), "KEY_MISMATCH")


def wrong_types(make):
    wrong = {"null": None, "a text": "seven", "a number": 7, "true": True, "a list": [1], "an object": {"a": 1}}
    kinds = {
        "ReceiveStock": {"warehouse": str, "quantity": int, "bucket": str, "expected_version": int, "deadline": str,
                         "reference": str, "note": str},
        "AdjustStock": {"delta": int, "reason": None, "change_from": int},
        "SetStock": {"quantity": int, "name": None, "as_of_version": int},
        "ShipStock": {"shipment_id": str, "force": bool, "reservation_id": str, "line": int},
        "ConfigureStock": {"policy": None, "safety_stock": int, "backorder_limit": int, "low_stock_threshold": int},
        "RegisterSku": {"product_id": str},
    }
    base = {"ReceiveStock": {}, "AdjustStock": {"quantity": DEAD, "delta": 1, "reason": "FOUND"},
            "SetStock": {"change_from": None}, "ShipStock": {"shipment_id": "S-1"},
            "ConfigureStock": {"quantity": DEAD}, "RegisterSku": {"quantity": DEAD, "warehouse": DEAD}}
    nullable = {"policy", "safety_stock", "backorder_limit", "low_stock_threshold"}
    for kind, members in kinds.items():
        for name, right in members.items():
            for what, item in wrong.items():
                if isinstance(item, right or ()) and not (right is int and item is True):
                    continue
                if (item is None and name in nullable) or (right is str and what == "a text"):
                    continue
                make.refused(f"{kind}.{name} is {what}", "VALIDATION_FAILED", **{**base[kind], "type": kind, name: item})
    for what, item in wrong.items():
        make.dead(f"sku is {what}", make.text(sku=item), "KEY_MISMATCH")
    make.dead("no sku", make.text(sku=DEAD), "KEY_MISMATCH")
    for name in ("warehouse", "quantity"):
        make.refused(f"no {name}", "VALIDATION_FAILED", **{name: DEAD})
    for item in ("", "w1", "W 1", "W" * 33, "É", "-W", "W\x7f"):
        make.refused(f"warehouse {item[:6]!r}", "VALIDATION_FAILED", warehouse=item)
    for item in ("", "tomorrow", "2026-01-15", "2026-01-15T10:00:00", "2026-01-15T10:00:00+01:00", "2026-02-30T10:00:00Z",
                 "1969-12-31T23:59:59Z", "2026-01-15T24:00:00Z", "2026-01-15T10:00:60Z", "2026-01-15T10:00:00.Z",
                 "99999-01-15T10:00:00Z", "2026-1-15T10:00:00Z ", "+002026-01-15T10:00:00Z", "२०२६-01-15T10:00Z"):
        make.refused(f"deadline {item!r}", "VALIDATION_FAILED", deadline=item)
    make.refused("deadline passed", "DEADLINE_EXCEEDED", deadline="2001-01-01T00:00:00.000Z")
    make.fine("deadline far away", deadline="9999-12-31T23:59:59.999999999Z")
    make.refused("note of 501 bytes", "VALIDATION_FAILED", note="n" * 501)
    make.fine("note of 500 bytes", note="é" * 250)
    make.refused("reference of 257 bytes", "VALIDATION_FAILED", reference="r" * 257)
    make.refused("a field too many", "VALIDATION_FAILED", **{"Sku": "x"})
    make.refused("field with an odd name", "VALIDATION_FAILED", **{"~/\u202e\"é" * 30: 1})
    make.refused("100 fields too many", "VALIDATION_FAILED", **{f"f{i}": i for i in range(100)})
    make.refused("both counts", "VALIDATION_FAILED", type="SetStock", change_from=1, as_of_version=0)
    make.refused("a line without its reservation", "VALIDATION_FAILED", type="ShipStock", shipment_id="S", line=1)
    make.refused("delta 0", "VALIDATION_FAILED", type="AdjustStock", quantity=DEAD, delta=0, reason="FOUND")
    make.refused("no reason", "REASON_REQUIRED", type="AdjustStock", quantity=DEAD, delta=1)
    make.refused("below nothing", "NEGATIVE_ON_HAND", type="AdjustStock", quantity=DEAD, delta=-1, reason="LOST")
    make.refused("stale version", "VERSION_CONFLICT", expected_version=2 ** 63 - 1)


def limits(make):
    def nested(depth, opening=b"[", closing=b"]"):
        return make.text(note="@").replace(b'"@"', opening * depth + b"1" + closing * depth)

    for depth in (16, 17, 64, 1000, 100000):
        make.dead(f"{depth} lists in a member", nested(depth), "OVER_LIMIT")
    for depth in (16, 100000):
        make.dead(f"{depth} objects in a member", nested(depth, b'{"a":', b"}"), "OVER_LIMIT")
    make.refused("15 lists in a member", "VALIDATION_FAILED", nested(15))
    make.dead("100000 braces", b'{"a":' * 100000, "OVER_LIMIT")
    make.dead("nearly 1 MiB of braces", b"{" * (MIB - 200), "MALFORMED_JSON")
    make.dead("100000 lists in MessagePack", b"\x81\xa1a" + b"\x91" * 100000 + b"\xc0", "OVER_LIMIT")
    make.dead("100000 maps in MessagePack", b"\x81\xa1a" * 100000 + b"\xc0", "OVER_LIMIT")
    make.dead("70000 members", compact({**make.good(), **{f"m{i}": 0 for i in range(70000)}}), "OVER_LIMIT")
    make.dead("70000 items", compact({**make.good(), "x": [0] * 70000}), "OVER_LIMIT")
    make.dead("70000 empty lists", compact({**make.good(), "x": [[]] * 70000}), "OVER_LIMIT")
    make.refused("65530 items", "VALIDATION_FAILED", compact({**make.good(), "x": [0] * 65530}))
    make.refused("30000 members", "VALIDATION_FAILED", compact({**make.good(), **{f"m{i}": 0 for i in range(30000)}}))
    make.dead("the last of 30000 members twice", compact({**make.good(), **{f"m{i}": 0 for i in range(30000)}})[:-1]
              + b',"m29999":1}', "DUPLICATE_FIELD")
    for size in (MIB - 100000, MIB - 1000):
        good = make.text(note="@")
        make.refused(f"note that fills {size} bytes", "VALIDATION_FAILED",
                     good.replace(b"@", b"n" * (size - len(good) + 1)))
    make.refused("name of 1 MB", "VALIDATION_FAILED", make.text(note="x").replace(b"note", b"n" * 1000000))
    make.dead("number of 1 MB", make.text().replace(b":1}", b":" + b"9" * 1000000 + b"}"), "BAD_NUMBER")
    # The broker looks at the size of the compressed batch alone.
    for codec, size in (("gzip", 2 * MIB), ("zstd", 2 * MIB), ("lz4", 3 * MIB), ("snappy", 3 * MIB), ("gzip", 12 * MIB),
                        ("zstd", 24 * MIB)):
        make.dead(f"{size // MIB} MiB in a {codec} batch", b"{" + b" " * size + b"}", "OVER_LIMIT", codec=codec)
    make.dead("1 MiB and a byte, compressed", make.text() + b" " * MIB, "OVER_LIMIT", codec="gzip")
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        make.add(f"good one, {codec}", make.text(), ACCEPTED, "StockReceived", codec=codec)
        make.dead(f"poison, {codec}", make.text()[:-1], "MALFORMED_JSON", codec=codec)


def msgpack(make):
    for name, raw in (("map of 2^32-1", b"\xdf\xff\xff\xff\xff"), ("map of 2^31", b"\xdf\x80\0\0\0"),
                      ("map of 65535", b"\xde\xff\xff"), ("map of 15 without members", b"\x8f")):
        make.dead(f"MessagePack {name}", raw, "MALFORMED_MSGPACK", "OVER_LIMIT")
        make.dead(f"MessagePack {name}, then a command", raw + make.packed(), "MALFORMED_MSGPACK", "OVER_LIMIT")
    for name, raw in (("list of 2^32-1", b"\xdd\xff\xff\xff\xff"), ("list of 65535", b"\xdc\xff\xff"),
                      ("text of 2^32-1", b"\xdb\xff\xff\xff\xff"), ("text of 65535", b"\xda\xff\xff"),
                      ("text of 255", b"\xd9\xff"), ("bin of 2^32-1", b"\xc6\xff\xff\xff\xff"), ("bin 16", b"\xc5\xff\xff"),
                      ("bin 8", b"\xc4\x01x"), ("ext of 2^32-1", b"\xc9\xff\xff\xff\xff\x01"), ("ext 16", b"\xc8\xff\xff\x01"),
                      ("ext 8", b"\xc7\x01\x01x"), ("fixext 1", b"\xd4\x01x"), ("fixext 2", b"\xd5\x01xx"),
                      ("fixext 4", b"\xd6\xff\0\0\0\0"), ("fixext 8", b"\xd7\xff" + b"\0" * 8),
                      ("fixext 16", b"\xd8\x01" + b"x" * 16), ("never used", b"\xc1")):
        make.dead(f"MessagePack member is {name}", make.packed(note="@").replace(b"\xa1@", raw), "MALFORMED_MSGPACK",
                  "OVER_LIMIT")
        make.dead(f"MessagePack name is {name}", b"\x81" + raw + b"\xc0", "MALFORMED_MSGPACK", "OVER_LIMIT")
    bomb = b"\x81\xa1a" + b"\xdd\x00\xff\xff\xff" * 30
    make.dead("150 bytes that ask for 15 GB", bomb, "MALFORMED_MSGPACK", "OVER_LIMIT")
    make.dead("nested maps that ask for 2^32 each", b"\xdf\xff\xff\xff\xff\xa1a" * 20, "MALFORMED_MSGPACK", "OVER_LIMIT")
    for name, raw in (("a number", b"\x01"), ("nil", b"\xc0"), ("a list", b"\x90"), ("a map", b"\x80"), ("true", b"\xc3")):
        make.dead(f"MessagePack name is {name} ", b"\x81" + raw + b"\xc0", "MALFORMED_MSGPACK")
    make.dead("MessagePack member twice", make.packed()[:1].replace(b"\x85", b"\x86") + make.packed()[1:]
              + b"\xa4type\xa1x", "DUPLICATE_FIELD")
    for name, tail in (("nil", b"\xc0"), ("NUL", b"\0"), ("itself", None), ("JSON", b"{}")):
        make.dead(f"MessagePack followed by {name}", make.packed() + (make.packed() if tail is None else tail),
                  "MALFORMED_MSGPACK")
    make.dead("MessagePack, empty map", b"\x80", "MISSING_FIELD")
    make.dead("JSON, empty object", b"{}", "MISSING_FIELD")
    make.fine("MessagePack", value=make.packed())
    make.fine("map 32 for 5 members", value=b"\xdf\0\0\0\x05" + make.packed()[1:])
    for name, raw in BAD_UTF8.items():
        make.dead(f"MessagePack: {name}", make.packed_note(raw), "INVALID_UTF8")
    make.dead("MessagePack: NUL", make.packed_note(b"a\0b"), "INVALID_UTF8")


def keys(make):
    other = make.good()["sku"] + "x"
    make.dead("null key", make.text(), "KEY_MISMATCH", key=None)
    make.dead("empty key", make.text(), "KEY_MISMATCH", key=b"")
    make.dead("key of another SKU", make.text(), "KEY_MISMATCH", key=other.encode())
    make.dead("key in other letters", make.text(), "KEY_MISMATCH", key=make.good()["sku"].lower().encode())
    make.dead("key with a space", make.text(), "KEY_MISMATCH", key=make.good()["sku"].encode() + b" ")
    make.dead("key with NUL", make.text(), "KEY_MISMATCH", key=make.good()["sku"].encode() + b"\0")
    make.dead("key is the SKU in quotes", make.text(), "KEY_MISMATCH", key=json.dumps(make.good()["sku"]).encode())
    make.dead("key of 64 KiB", make.text(), "KEY_MISMATCH", key=b"k" * 65536)
    make.dead("key of 900 KB", make.text(), "KEY_MISMATCH", key=b"k" * 900000)
    for length in (129, 200, 1000):
        make.dead(f"SKU and key of {length}", make.text(sku="S" * length), "KEY_MISMATCH", key=b"S" * length)
        make.dead(f"unknown type, key of {length}", make.text(type="Nothing"), "KEY_MISMATCH", key=b"K" * length)
    for length in (65, 128):
        sku = f"p{make.run}-" + "S" * length
        make.add(f"SKU and key of {length}", make.text(sku=sku[:length]), REJECTED, "VALIDATION_FAILED",
                 key=sku[:length].encode())
        make.add(f"unknown type, key of {length}", make.text(type="Nothing"), REJECTED, "UNKNOWN_COMMAND",
                 key=sku[:length].encode())
    for sku in ("", "-a", ".", "a b", "ä", "a/b", "a" * 65):
        make.add(f"SKU {sku[:5]!r}", make.text(sku=sku), DEAD if not sku else REJECTED,
                 "KEY_MISMATCH" if not sku else "VALIDATION_FAILED", key=sku.encode() or b"x")
    for name, raw in (("ff", b"\xff"), ("a surrogate", b"\xed\xa0\x80"), ("latin 1", b"caf\xe9"), ("cut", b"a\xe2\x82")):
        make.dead(f"unknown type, key with {name}", make.text(type="Nothing"), "KEY_MISMATCH",
                  key=f"k{make.run}".encode() + raw)
        make.dead(f"known type, key with {name}", make.text(), "KEY_MISMATCH", key=f"k{make.run}".encode() + raw)
    make.dead("unknown type, null key", make.text(type="Nothing"), "KEY_MISMATCH", key=None)
    make.dead("poison without a key", b"hello", "UNSUPPORTED_FORMAT", key=None)
    make.dead("nothing at all", None, "EMPTY_VALUE", key=None)
    make.dead("empty key and value", b"", "EMPTY_VALUE", key=b"")
    make.add("broadcast from outside", compact({"type": "ApplyWarehouse", "command_id": make.good()["command_id"],
                                                "warehouse": f"X{make.run}", "name": "x", "state": "CLOSED"}), REJECTED,
             "VALIDATION_FAILED", key=f"warehouse:X{make.run}".encode(), wrong=True)


def headers(make):
    def fine(name, *pairs, **more):
        make.add(name, make.text(), ACCEPTED, "StockReceived", headers=list(pairs), **more)

    def poison(name, *pairs, **more):
        make.dead(name, make.text()[:-1], "MALFORMED_JSON", headers=list(pairs), **more)

    for kind in (fine, poison):
        kind(f"one header, {kind.__name__}", ("trace", b"1"))
        kind(f"null header, {kind.__name__}", ("trace", None))
        kind(f"empty header, {kind.__name__}", ("trace", b""))
        kind(f"header without a name, {kind.__name__}", ("", b"x"))
        kind(f"the same header 100 times, {kind.__name__}", *[("same", str(i).encode()) for i in range(100)])
        kind(f"5000 headers, {kind.__name__}", *[(f"h{i}", b"v") for i in range(5000)])
        kind(f"header of 500 KB, {kind.__name__}", ("big", b"x" * 500000))
        kind(f"name of 100 KB, {kind.__name__}", ("n" * 100000, b"x"))
        kind(f"bytes in a header, {kind.__name__}", ("bytes", bytes(range(256))))
        kind(f"forged origin, {kind.__name__}", ("__streams.errors.offset", b"1"), ("__streams.errors.topic", b"x"),
             ("__streams.errors.partition", b"-1"), ("tally.attempt", b"x"))
        kind(f"forged tally-forwarded, {kind.__name__}", ("tally-forwarded", b"7@7"))
        kind(f"tally-forwarded is null, {kind.__name__}", ("tally-forwarded", None))
        for topic in ("", "no.such.replies", "../../x.replies", "stock.events", "stock.commands", "x" * 300, "a\0b.replies",
                      "replies\n", "(.*)", "%s.replies"):
            kind(f"reply-topic {topic[:12]!r}, {kind.__name__}", ("reply-topic", topic.encode()))
        kind(f"reply-topic is null, {kind.__name__}", ("reply-topic", None))
        for partition in (b"", b"-1", b"99999999999999999999", b"1.5", b"x", None, b"2147483647"):
            kind(f"reply-partition {partition!r}, {kind.__name__}", ("reply-topic", b"tally.replies"),
                 ("reply-partition", partition))
        kind(f"correlation-id of 800 KB, {kind.__name__}", ("reply-topic", b"tally.replies"),
             ("correlation-id", b"c" * 800000))
        kind(f"150000 headers, {kind.__name__}", *[("", None)] * 150000)
        kind(f"500000 headers, {kind.__name__}", *[("", None)] * 500000)
        kind(f"reply-topic behind 200 headers, {kind.__name__}", *[("h", b"")] * 200, ("reply-topic", b"tally.replies"))


def places(make):
    """A partition that the key does not belong to."""
    make.add("wrong partition", make.text(), FORWARDED, wrong=True)
    make.add("wrong partition with headers", make.text(), FORWARDED, wrong=True,
             headers=[("trace", b"1"), ("nothing", None), ("trace", b"2")])
    make.add("wrong partition with 5000 headers", make.text(), FORWARDED, wrong=True,
             headers=[(f"h{i}", b"") for i in range(5000)])
    make.add("wrong partition, MessagePack", make.packed(), FORWARDED, wrong=True)
    make.add("wrong partition, unknown type", make.text(type="Nothing"), FORWARDED, wrong=True)
    make.add("wrong partition, a rule broken", make.text(quantity=0), FORWARDED, wrong=True)
    make.dead("wrong partition, poison", make.text()[:-1], "MALFORMED_JSON", wrong=True)
    make.dead("wrong partition again", make.text(), "WRONG_PARTITION", wrong=True, headers=[("tally-forwarded", b"7@7")])
    make.dead("wrong partition again, null header", make.text(), "WRONG_PARTITION", wrong=True,
              headers=[("tally-forwarded", None)])
    make.dead("wrong partition again, behind 100 headers", make.text(), "WRONG_PARTITION", wrong=True,
              headers=[("h", b"")] * 100 + [("tally-forwarded", b"7@7")])
    # There is no room for one more header where it should go.
    good = make.text(note="@")
    note = b"n" * (1048588 - 73 - len(make.good()["sku"]) - 5 - len(good) + 1)
    make.dead("wrong partition, and full", good.replace(b"@", note), "OVER_LIMIT", wrong=True)


def sizes(make):
    # max.message.bytes of the topic is 1048588, a batch of one record has 61 + about 20 bytes around it.
    full = 1048588 - 61 - 24
    good = make.text(note="@")
    key = make.good()["sku"].encode()
    room = full - len(key) - len(good)
    make.refused("a batch as large as the topic takes", "VALIDATION_FAILED", good.replace(b"@", b"n" * (room + 1)))
    good = make.text()[:-1]
    make.dead("poison as large as the topic takes", good + b" " * (full - len(key) - len(good)), "MALFORMED_JSON")


def times(make):
    """The broker writes the time: a client's is not believed."""
    for name, when in (("0", 0), ("before 1970", -62135596800000), ("the year 9999", 253402300799999),
                       ("the end of int64", 2 ** 63 - 1), ("a week ago", 1)):
        make.add(f"time {name}", make.text(), ACCEPTED, "StockReceived", timestamp=when)
        make.dead(f"poison of time {name}", make.text()[:-1], "MALFORMED_JSON", timestamp=when)


def catalogue(make):
    def one(**fields):
        number = len(make.items)
        command = {"type": "RegisterWarehouse", "command_id": f"p{make.run}-{number}", "warehouse":
                   f"P{make.run}-{number}", "name": "x"}
        command.update(fields)
        return compact({name: item for name, item in command.items() if item is not DEAD})

    def key():
        return f"warehouse:P{make.run}-{len(make.items)}".encode()

    for name, value, reason in (
            ("tombstone", None, "EMPTY_VALUE"), ("cut", one()[:-1], "MALFORMED_JSON"), ("a list", b"[]", "UNSUPPORTED_FORMAT"),
            ("float", one(x=1.5), "BAD_NUMBER"), ("version 3", one(version="3"), "UNSUPPORTED_VERSION"),
            ("no type", one(type=DEAD), "MISSING_FIELD"), ("map bomb", b"\xdf\xff\xff\xff\xff\xa1a", "MALFORMED_MSGPACK"),
            ("bad UTF-8", one(name="@").replace(b"@", b"\xc0\xaf"), "INVALID_UTF8"),
            ("deep", one(name="@").replace(b'"@"', b"[" * 100000), "OVER_LIMIT")):
        make.dead(f"catalogue: {name}", value, reason, "OVER_LIMIT" if reason == "MALFORMED_MSGPACK" else reason,
                  topic=CATALOGUE, key=key())
    make.dead("catalogue: key without its prefix", one(), "KEY_MISMATCH", topic=CATALOGUE,
              key=f"P{make.run}-{len(make.items)}".encode())
    make.dead("catalogue: null key", one(), "KEY_MISMATCH", topic=CATALOGUE, key=None)
    make.add("catalogue: a command of stock", one(type="ReceiveStock"), REJECTED, "UNKNOWN_COMMAND", topic=CATALOGUE,
             key=key())
    make.add("catalogue: no name", one(name=DEAD), REJECTED, "VALIDATION_FAILED", topic=CATALOGUE, key=key())
    make.add("catalogue: name of 201", one(name="n" * 201), REJECTED, "VALIDATION_FAILED", topic=CATALOGUE, key=key())


def damaged(make):
    """A good command cut at every byte, and with one bit of every byte turned."""
    for pack, what in ((make.text, "JSON"), (make.packed, "MessagePack")):
        good = pack()
        for at in range(1, len(good)):
            make.judged(f"{what} cut at {at}", good[:at], key=json_sku(make))
        good = pack()
        for at in range(len(good)):
            good = pack()  # a SKU and an id of its own
            turned = bytearray(good)
            turned[at] ^= 1 << (at * 5 % 8)
            make.judged(f"{what} turned at {at}", bytes(turned), key=json_sku(make))


def json_sku(make):
    return make.good()["sku"].encode()


def corpus(run, partitions, wanted=None):
    """All items, judged ones resolved. wanted: names of the groups below."""
    make = Maker(run)
    for group in (values, json_documents, numbers, names_and_envelope, wrong_types, limits, msgpack, keys, headers, places,
                  sizes, times, catalogue, damaged):
        if wanted is None or group.__name__ in wanted:
            group(make)
    for item in make.items:
        if item.expect == "judged":
            resolve(item, partitions)
    return make.items


def resolve(item, partitions):
    from corpus.strict import verdict
    what, detail = verdict(item.topic.split(".")[0], item.key, item.value, item.partition(partitions), partitions,
                           any(name == "tally-forwarded" for name, _ in item.headers))
    item.expect, item.detail = {"dead": (DEAD, detail), "rejected": (REJECTED, detail),
                                "decided": (ACCEPTED, None)}[what]
