"""Damages files of a state directory, and tells what `tally fsck` says of the result.

A damaged copy of one task's directory may be answered in two ways: with exactly the dump that the
undamaged one gives (the byte was not used), or with an error that names the directory or the file.
Only a manifest that was cut where a record ends is an older copy, and gives what was there then.
"""
import json
import os
import random
import shutil
import subprocess

KINDS = ("flip", "flips", "zero", "cut", "empty", "gone", "garbage", "longer")


def files_of(folder):
    """Every file below, by its kind: SST, MANIFEST, CURRENT, OPTIONS, IDENTITY, LOCK, LOG, WAL, INGEST."""
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            found.setdefault(kind_of(os.path.join(root, name)), []).append(os.path.join(root, name))
    return {kind: sorted(paths) for kind, paths in found.items()}


def kind_of(path):
    name = os.path.basename(path)
    if os.path.basename(os.path.dirname(path)) == "ingest":
        return "INGEST"
    if name.endswith(".sst"):
        return "SST"
    if name.endswith(".log"):
        return "WAL"
    return name.split("-")[0].split(".")[0]


def damage(path, kind, rng, at=None):
    """Damages one file in place; says how. Positions lean to the ends, where headers and footers are."""
    size = os.path.getsize(path)
    if kind == "gone":
        os.remove(path)
        return "removed"
    if size == 0:
        kind = "longer"
    if kind == "empty":
        os.truncate(path, 0)
        return "emptied"
    if kind == "cut":
        length = rng.choice((size - 1, rng.randrange(size), size // 2, max(0, size - rng.randrange(1, 64))))
        os.truncate(path, length)
        return f"cut from {size} to {length} bytes"
    if at is None and size:
        at = rng.choice((rng.randrange(size), rng.randrange(size), rng.randrange(min(size, 64)),
                         size - 1 - rng.randrange(min(size, 128))))
    with open(path, "r+b") as file:
        if kind == "longer":
            file.seek(0, os.SEEK_END)
            file.write(rng.randbytes(rng.randrange(1, 5000)))
            return "made longer"
        if kind == "flip":
            bit = rng.randrange(8)
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << bit]))
            return f"bit {bit} of byte {at} of {size} flipped"
        length = min(size - at, rng.choice((4, 16, 512, 4096)))
        file.seek(at)
        old = file.read(length)
        file.seek(at)
        if kind == "flips":
            file.write(bytes(byte ^ (rng.randrange(256) if rng.random() < 0.2 else 0) for byte in old))
        elif kind == "zero":
            file.write(bytes(length))
        else:
            file.write(rng.randbytes(length))
    return f"{length} bytes from {at} of {size}: {kind}"


def copy_task(state, topology, partition, target):
    """A state directory with a copy of one task in it."""
    shutil.rmtree(target, ignore_errors=True)
    os.makedirs(os.path.join(target, topology))
    shutil.copytree(os.path.join(state, topology, str(partition)), os.path.join(target, topology, str(partition)))
    open(os.path.join(target, "LOCK"), "w").close()
    return os.path.join(target, topology, str(partition))


def fsck(program, config, state, limit=60):
    """Exit status, lines, and what was said on standard error."""
    done = subprocess.run([program, "fsck", "--dump", "--state", state, "--config", config], timeout=limit,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace").strip()


def crc32c_table():
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
        yield value


CRC32C = tuple(crc32c_table())


def masked_crc32c(data):
    """As RocksDB writes it."""
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ CRC32C[(crc ^ byte) & 0xff]
    crc ^= 0xffffffff
    return ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff


def is_earlier(dump, whole):
    """Whether the lines of a dump are the state as it was at some moment before: all that was decided up
    to some command, and nothing else."""
    whole = [json.loads(line) for line in whole.splitlines()]
    rows = {(row["store"], row["key"]): row["value"] for row in map(json.loads, dump.splitlines())}
    last = max((value["offset"] for value in rows.values() if "offset" in value), default=-1)
    ledger = {row["key"]: row["value"] for row in whole if row["store"] == "ledger"}
    expected = {(row["store"], row["key"]): row["value"] for row in whole
                if row["value"].get("offset", last + 1) <= last}
    levels = {}
    for key, entry in ledger.items():
        place, version = key.rsplit(".", 1)
        if entry["offset"] <= last:
            levels[place] = max(levels.get(place, 0), int(version))
    known = all(row["store"] in ("dedup", "ledger", "level") for row in whole)
    return known and {k: v for k, v in rows.items() if k[0] != "level"} == expected and levels == {
        key: value["version"] for (store, key), value in rows.items() if store == "level"} and all(
        value["on_hand"] == ledger[f"{key}.{value['version']}"]["after"].get("on_hand", 0)
        for (store, key), value in rows.items() if store == "level")


def manifest_ends(path):
    """Where the good records of a RocksDB manifest end, one after the other, and the size of the file."""
    with open(path, "rb") as file:
        data = file.read()
    ends, at = [], 0
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length = 7 + int.from_bytes(data[at + 4:at + 6], "little")
        if length > left or at + length > len(data) or data[at + 6] not in (1, 2, 3, 4):
            break
        if masked_crc32c(data[at + 6:at + length]) != int.from_bytes(data[at:at + 4], "little"):
            break
        at += length
        ends.append(at)
    return ends, len(data)


def manifest_is_whole(path):
    """Whether all that is in it is good and it ends where a record does: then it may be one from before."""
    ends, size = manifest_ends(path)
    return ends[-1:] == [size]
