"""Bytes as they are in Kafka: MessagePack maps and murmur2, written from their specifications."""
import struct


def msgpack_decode(data):
    """One document that fills the bytes; ValueError otherwise."""
    value, end = _decode(data, 0)
    if end != len(data):
        raise ValueError("bytes behind the document")
    return value


def _decode(data, at):
    if at >= len(data):
        raise ValueError("cut short")
    first = data[at]
    at += 1
    if first < 0x80:
        return first, at
    if first < 0x90:
        return _map(data, at, first & 0x0F)
    if first < 0xA0:
        return _array(data, at, first & 0x0F)
    if first < 0xC0:
        return _text(data, at, first & 0x1F)
    if first >= 0xE0:
        return first - 256, at
    if first in _CONSTANTS:
        return _CONSTANTS[first], at
    if first in _NUMBERS:
        form = _NUMBERS[first]
        end = at + struct.calcsize(form)
        return struct.unpack(form, _take(data, at, end))[0], end
    if first in _LENGTHS:
        form, read = _LENGTHS[first]
        end = at + struct.calcsize(form)
        return read(data, end, struct.unpack(form, _take(data, at, end))[0])
    raise ValueError(f"byte {first:#x} is not allowed")


def _take(data, at, end):
    if end > len(data):
        raise ValueError("cut short")
    return data[at:end]


def _text(data, at, size):
    return _take(data, at, at + size).decode("utf-8"), at + size


def _array(data, at, count):
    items = []
    for _ in range(count):
        item, at = _decode(data, at)
        items.append(item)
    return items, at


def _map(data, at, count):
    members = {}
    for _ in range(count):
        name, at = _decode(data, at)
        if name in members:
            raise ValueError(f"member {name!r} twice")
        members[name], at = _decode(data, at)
    return members, at


_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
_LENGTHS = {0xD9: (">B", _text), 0xDA: (">H", _text), 0xDB: (">I", _text), 0xDC: (">H", _array),
            0xDD: (">I", _array), 0xDE: (">H", _map), 0xDF: (">I", _map)}


def msgpack_encode(value):
    """Maps of texts, integers, booleans and None, as a producer in another language writes them."""
    if value is None:
        return b"\xc0"
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        if 0 <= value < 128:
            return bytes([value])
        return (b"\xcf" + struct.pack(">Q", value)) if value >= 0 else (b"\xd3" + struct.pack(">q", value))
    if isinstance(value, str):
        text = value.encode()
        return (bytes([0xA0 | len(text)]) if len(text) < 32 else b"\xda" + struct.pack(">H", len(text))) + text
    if isinstance(value, dict):
        head = bytes([0x80 | len(value)]) if len(value) < 16 else b"\xde" + struct.pack(">H", len(value))
        return head + b"".join(msgpack_encode(k) + msgpack_encode(v) for k, v in value.items())
    raise TypeError(type(value))


def murmur2(data):
    """The hash of Kafka's default partitioner."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for (k,) in struct.iter_unpack("<I", data[:whole]):
        k = (k * m) & mask
        k ^= k >> 24
        h = ((h * m) ^ (k * m)) & mask
    rest = data[whole:]
    if rest:
        h = ((h ^ int.from_bytes(rest, "little")) * m) & mask
    h = ((h ^ (h >> 13)) * m) & mask
    return h ^ (h >> 15)


def partition_of(key, partitions):
    return (murmur2(key) & 0x7FFFFFFF) % partitions
