"""What a record's bytes are, decided strictly from the records' contract: a command, or the reasons
for which it may be a dead letter. Written apart from tally's decoders, on purpose in another way.

`decode(value)` gives a `Command`, or raises `Poison` with the set of reasons that fit: bytes that are
wrong in several ways may be refused for any of them.
"""
import json
import re

from wire import murmur2

from corpus.rules import TOPICS, rules_broken

BYTES, DEPTH, ELEMENTS = 1024 * 1024, 16, 65536
INT64 = range(-2 ** 63, 2 ** 63)
ENVELOPE = ("id", "command_id", "type", "version", "source", "actor", "correlation_id", "causation_id",
            "time", "headers", "payload")
ORIGINS = ("source", "actor", "correlation_id", "causation_id")
PUBLIC_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
OWN_ID = re.compile(r"~[A-Za-z0-9._:-]{1,191}")


class Poison(Exception):
    """args: the reasons that fit."""

    @property
    def reasons(self):
        return set(self.args)


class Command:
    def __init__(self, kind, identity, fields, broken, envelope):
        self.type = kind
        self.id = identity
        self.fields = fields
        self.broken = broken  # field rules that the command breaks, by name
        origins = {name: envelope[name] for name in ORIGINS if envelope.get(name) and name not in broken}
        self.actor = origins.get("actor")  # what is too long is refused, and not passed on
        self.correlation_id = origins.get("correlation_id", identity)


# --- documents ------------------------------------------------------------------------------------

def document(value):
    """Nested dicts, lists, texts, ints, booleans, None."""
    if not value:
        raise Poison("EMPTY_VALUE")
    if len(value) > BYTES:
        raise Poison("OVER_LIMIT")
    if value[:1] == b"{":
        return from_json(value)
    if 0x80 <= value[0] <= 0x8F or value[0] in (0xDE, 0xDF):
        return Packed(value).whole()
    raise Poison("UNSUPPORTED_FORMAT")


def text_of(raw):
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Poison("INVALID_UTF8") from None
    if "\0" in text:
        raise Poison("INVALID_UTF8")
    return text


def from_json(value):
    """A reader of its own: what it meets first is the reason, as the bytes are read once. Python's is
    asked before, and believed where it can have no other opinion."""
    if len(value) < 4096 and value.isascii() and b"\\" not in value and value.count(b"{") + value.count(b"[") < DEPTH:
        try:
            return json.loads(value.decode("ascii"), object_pairs_hook=members, parse_int=integer, parse_float=refuse,
                              parse_constant=refuse)
        except ValueError:
            pass
    return Text(value).whole()


def members(pairs):
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a member twice")
    return dict(pairs)


def integer(text):
    if len(text) > 20 or int(text) not in INT64:
        raise ValueError("no int64")
    return int(text)


def refuse(text):
    raise ValueError(text)


class Text:
    SPACE = b" \t\n\r"

    def __init__(self, data):
        self.data, self.at, self.depth, self.elements = data, 0, 0, 0

    def whole(self):
        found = self.value()
        self.space()
        if self.at != len(self.data):
            raise Poison("MALFORMED_JSON")
        return found

    def peek(self):
        return self.data[self.at:self.at + 1]

    def space(self):
        while self.peek() and self.peek() in self.SPACE:
            self.at += 1

    def value(self):
        self.space()
        first = self.peek()
        if first == b"{" or first == b"[":
            return self.container(first == b"{")
        if first == b'"':
            return self.string()
        for word, meaning in ((b"true", True), (b"false", False), (b"null", None)):
            if self.data.startswith(word, self.at):
                self.at += len(word)
                return meaning
        return self.number()

    def number(self):
        match = re.compile(rb"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?").match(self.data, self.at)
        if not match:
            raise Poison("MALFORMED_JSON")
        self.at = match.end()
        if match[2] or match[3] or len(match[0]) > 20 or int(match[0]) not in INT64:
            # What follows the number may be worse, but is read later.
            raise Poison("BAD_NUMBER")
        return int(match[0])

    def string(self):
        begin = self.at = self.at + 1
        while True:
            byte = self.peek()
            if not byte:
                raise Poison("MALFORMED_JSON", "INVALID_UTF8")
            if byte == b'"':
                break
            if byte[0] < 0x20:
                raise Poison("MALFORMED_JSON", "INVALID_UTF8")
            self.at += 2 if byte == b"\\" else 1
        raw = self.data[begin:self.at]
        self.at += 1
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise Poison("INVALID_UTF8", "MALFORMED_JSON") from None
        if "\\" in text:
            try:
                text = json.loads('"' + text + '"')
            except ValueError:
                raise Poison("MALFORMED_JSON") from None
        if "\0" in text or any(0xD800 <= ord(c) <= 0xDFFF for c in text):
            raise Poison("INVALID_UTF8")
        return text

    def count(self):
        self.elements += 1
        if self.elements > ELEMENTS:
            raise Poison("OVER_LIMIT")

    def container(self, is_map):
        if self.depth == DEPTH:
            raise Poison("OVER_LIMIT")
        self.depth += 1
        self.at += 1
        members, twice, close = ({} if is_map else []), False, b"}" if is_map else b"]"
        self.space()
        while self.peek() != close:
            if members:
                if self.peek() != b",":
                    raise Poison("MALFORMED_JSON")
                self.at += 1
                self.space()
            self.count()
            if is_map:
                if self.peek() != b'"':
                    raise Poison("MALFORMED_JSON")
                name = self.string()
                self.space()
                if self.peek() != b":":
                    raise Poison("MALFORMED_JSON")
                self.at += 1
                twice = twice or name in members
                members[name] = self.value()
            else:
                members.append(self.value())
            self.space()
        self.at += 1
        self.depth -= 1
        if twice:
            raise Poison("DUPLICATE_FIELD")
        return members


class Packed:
    def __init__(self, data):
        self.data, self.at, self.depth, self.elements = data, 0, 0, 0

    def whole(self):
        found = self.value()
        if self.at != len(self.data):
            raise Poison("MALFORMED_MSGPACK")
        return found

    def take(self, size):
        if size > len(self.data) - self.at:
            raise Poison("MALFORMED_MSGPACK")
        self.at += size
        return self.data[self.at - size:self.at]

    def unsigned(self, size):
        return int.from_bytes(self.take(size), "big")

    def value(self):
        first = self.take(1)[0]
        if first <= 0x7F:
            return first
        if first >= 0xE0:
            return first - 256
        if first <= 0x8F:
            return self.container(first & 15, True)
        if first <= 0x9F:
            return self.container(first & 15, False)
        if first <= 0xBF:
            return text_of(self.take(first & 31))
        return self.typed(first)

    def typed(self, first):
        if first == 0xC0:
            return None
        if first in (0xC2, 0xC3):
            return first == 0xC3
        if first in (0xCA, 0xCB):
            raise Poison("BAD_NUMBER")
        if 0xCC <= first <= 0xCF:
            number = self.unsigned(1 << (first - 0xCC))
            if number not in INT64:
                raise Poison("BAD_NUMBER")
            return number
        if 0xD0 <= first <= 0xD3:
            return int.from_bytes(self.take(1 << (first - 0xD0)), "big", signed=True)
        if 0xD9 <= first <= 0xDB:
            return text_of(self.take(self.unsigned(1 << (first - 0xD9))))
        if 0xDC <= first <= 0xDF:
            return self.container(self.unsigned(4 if first & 1 else 2), first >= 0xDE)
        raise Poison("MALFORMED_MSGPACK")

    def container(self, count, is_map):
        if self.depth == DEPTH:
            raise Poison("OVER_LIMIT")
        if count * (2 if is_map else 1) > len(self.data) - self.at:
            raise Poison("MALFORMED_MSGPACK", "OVER_LIMIT")
        self.elements += count
        if self.elements > ELEMENTS:
            raise Poison("OVER_LIMIT")
        self.depth += 1
        items, members, twice = [], {}, False
        for _ in range(count):
            if not is_map:
                items.append(self.value())
                continue
            name = self.value()
            if not isinstance(name, str):
                raise Poison("MALFORMED_MSGPACK")
            twice = twice or name in members
            members[name] = self.value()
        self.depth -= 1
        if twice:
            raise Poison("DUPLICATE_FIELD")
        return members if is_map else items


# --- commands -------------------------------------------------------------------------------------

def decode(value):
    root = document(value)
    flat = "payload" not in root
    payload = root if flat else root["payload"]
    if not isinstance(payload, dict):
        raise Poison("MISSING_FIELD")
    version = root.get("version", "1")
    if not isinstance(version, str):
        raise Poison("MISSING_FIELD")
    if version != "1" and not version.startswith("1."):
        raise Poison("UNSUPPORTED_VERSION")
    kind = root.get("type")
    if not isinstance(kind, str) or not 1 <= len(kind.encode()) <= 128:
        raise Poison("MISSING_FIELD")
    identity = identity_of(root, flat)
    broken = set()
    for name in ORIGINS:
        if name in root:
            if not isinstance(root[name], str):
                raise Poison("MISSING_FIELD")
            sent = name in ("correlation_id", "causation_id") and root[name].startswith("~")
            if len(root[name].encode()) > (192 if sent else 128):
                broken.add(name)
    if not flat:
        broken |= {name for name in root if name not in ENVELOPE or name == "command_id"}
    fields = {name: item for name, item in payload.items() if not flat or name not in ENVELOPE}
    return Command(kind, identity, fields, broken, root)


def identity_of(root, flat):
    names = ("id", "command_id") if flat else ("id",)
    ids = [root[name] for name in names if name in root]
    if not ids or any(item != ids[0] for item in ids) or not isinstance(ids[0], str):
        raise Poison("MISSING_FIELD")
    if not PUBLIC_ID.fullmatch(ids[0]) and not OWN_ID.fullmatch(ids[0]):
        raise Poison("MISSING_FIELD")
    return ids[0]


# --- keys -----------------------------------------------------------------------------------------

def key_fits(command, key, topology):
    """Raises Poison unless the record may have this key."""
    if not key or len(key) > 128 or b"\0" in key:
        raise Poison("KEY_MISMATCH")
    try:
        key.decode("utf-8")
    except UnicodeDecodeError:
        raise Poison("KEY_MISMATCH") from None
    kind = TOPICS[topology].get(command.type)
    if kind:
        field = command.fields.get(kind.key)
        if not isinstance(field, str) or (kind.prefix + field).encode() != key:
            raise Poison("KEY_MISMATCH")


def home(key, partitions):
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def verdict(topology, key, value, partition, partitions, forwarded=False):
    """("dead", reasons), ("forwarded", its partition), ("rejected", code or None when state decides),
    ("decided", command): checks 1, 3 and 4 of every command."""
    try:
        command = decode(value)
        key_fits(command, key, topology)
    except Poison as poison:
        return "dead", poison.reasons
    if not (command.type == "ApplyWarehouse" and topology == "stock") and home(key, partitions) != partition:
        return ("dead", {"WRONG_PARTITION"}) if forwarded else ("forwarded", home(key, partitions))
    if command.type not in TOPICS[topology]:
        return "rejected", "UNKNOWN_COMMAND"
    if rules_broken(command, topology):
        return "rejected", "VALIDATION_FAILED"
    return "decided", command
