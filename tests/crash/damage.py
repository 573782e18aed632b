"""Damages files of a state directory, and tells what `tally fsck` says of the result.

A damaged copy of one task's directory may be answered in two ways: with exactly the dump that the
undamaged one gives (the byte was not used, or the damage is only a later part of the history that is
gone and will be replayed, see `earlier`), or with an error that names the directory or the file.
"""
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


def manifest_is_whole(path):
    """Whether a RocksDB manifest ends where a record does: then it is a copy from before."""
    with open(path, "rb") as file:
        data = file.read()
    at = 0
    while at < len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length = 7 + int.from_bytes(data[at + 4:at + 6], "little") if at + 7 <= len(data) else 0
        if length < 7 or length > left or data[at + 6] not in (1, 2, 3, 4):
            return False
        at += length
    return at == len(data)
