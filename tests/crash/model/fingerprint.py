"""The hash that tells a repeated command from a reused id: domain.md 3. XXH3-64 is libxxhash's, the canonical
bytes are made here."""
import ctypes
import ctypes.util
import struct

_library = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0")
_hash = _library.XXH3_64bits
_hash.restype = ctypes.c_uint64
_hash.argtypes = (ctypes.c_char_p, ctypes.c_size_t)


def fingerprint(kind, payload):
    data = canonical({**payload, "type": kind})
    return f"{_hash(data, len(data)):016x}"


def canonical(value):
    """MessagePack with keys sorted by their bytes and every encoding the shortest."""
    out = []
    _write(value, out)
    return b"".join(out)


def _write(value, out):
    if value is None:
        out.append(b"\xc0")
    elif value is True or value is False:
        out.append(b"\xc3" if value else b"\xc2")
    elif isinstance(value, int):
        out.append(_integer(value))
    elif isinstance(value, str):
        text = value.encode()
        out.append(_head(len(text), ((0x20, 0xA0, None), (0x100, 0xD9, ">B"), (0x10000, 0xDA, ">H"),
                                     (1 << 32, 0xDB, ">I"))) + text)
    elif isinstance(value, list):
        out.append(_head(len(value), ((0x10, 0x90, None), (0x10000, 0xDC, ">H"), (1 << 32, 0xDD, ">I"))))
        for item in value:
            _write(item, out)
    else:
        out.append(_head(len(value), ((0x10, 0x80, None), (0x10000, 0xDE, ">H"), (1 << 32, 0xDF, ">I"))))
        for name in sorted(value, key=str.encode):
            _write(name, out)
            _write(value[name], out)


def _head(size, forms):
    for limit, first, form in forms:
        if size < limit:
            return bytes([first]) + struct.pack(form, size) if form else bytes([first | size])
    raise ValueError(size)


def _integer(value):
    if value >= 0:
        forms = ((0x100, 0xCC, ">B"), (0x10000, 0xCD, ">H"), (1 << 32, 0xCE, ">I"), (1 << 64, 0xCF, ">Q"))
        return bytes([value]) if value < 0x80 else next(
            bytes([first]) + struct.pack(form, value) for limit, first, form in forms if value < limit)
    forms = ((0x80, 0xD0, ">b"), (0x8000, 0xD1, ">h"), (1 << 31, 0xD2, ">i"), (1 << 63, 0xD3, ">q"))
    return bytes([value & 0xFF]) if value >= -32 else next(
        bytes([first]) + struct.pack(form, value) for limit, first, form in forms if -value <= limit)
