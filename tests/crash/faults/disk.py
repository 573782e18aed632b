"""The disk is full, fails, rots, loses power, or holds what belongs elsewhere."""
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

from confluent_kafka import Consumer, Producer, TopicPartition

import damage
import power
from faults import fault
from instance import position
from verdict import Broken, NotDumped, Skipped, must
from wire import partition_of

HERE = os.path.dirname(os.path.abspath(__file__))
# Files come and go quickly, and memory is soon used up.
OFTEN = {"state.flush.interval": "50ms", "state.flush.bytes": 65536, "state.memory": 64 << 20}
READY_SECONDS = 60  # after there is space again
NAMED_SECONDS = 10  # until what is wrong with a directory has a name


def begin(world, **settings):
    first = world.instance(0)
    first.configure({**OFTEN, **settings})
    first.state = first.settings["state.dir"]
    world.begin()
    return first


def ready(instance):
    """Whether /health/ready says so, and what it says."""
    status, body = instance.get("/health/ready?verbose", 5) or (0, b"")
    return status == 200, body.decode(errors="replace").strip()


def wait_for(what, condition, limit):
    """Seconds until the condition holds."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() > start + limit:
            raise Broken(f"not {what} after {limit} s")
        time.sleep(0.05)
    return time.monotonic() - start


def settled(world):
    world.wait_running()
    world.settle()
    world.check()


# --- no space -----------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(world, megabytes):
    folder = os.path.join(world.folder, "disk")
    os.makedirs(folder)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise Skipped(f"not possible here: a tmpfs cannot be mounted: {done.stdout.strip()}")
    try:
        yield folder
    finally:
        for instance in world.instances.values():
            instance.end()
        subprocess.run(["umount", "-l", folder], check=False)


def fill(disk, leave):
    """A file that takes all space but `leave` bytes."""
    path = os.path.join(disk, "ballast")
    free = os.statvfs(disk)
    size = free.f_bavail * free.f_bsize - leave
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(size, 4096))
    return path


@fault("disk-full", scenario=True, needs=("enospc", "memory used up"), wipes=True)
def disk_full(world):
    """no space: under load until memory is used up, with kill -9, with a start; then space again"""
    with small_disk(world, 192) as disk:
        first = begin(world, **{"state.dir": os.path.join(disk, "state")})
        for turn in ("load", "kill", "starts"):
            take_space(world, first, disk, turn)
            settled(world)
        world.finish()


def take_space(world, first, disk, turn):
    failed = first.logged("No space left on device")
    ballast = fill(disk, world.random.randrange(0, 1 << 20))
    try:
        with world.load(rate=1000):
            wait_for("full", lambda: first.logged("No space left on device") > failed, 60)
            world.happened["enospc"] += 1
            must_not_be_ready(first)
            if turn == "load":
                use_up_memory(world, first)
            else:
                for _ in range(1 if turn == "kill" else 3):
                    first.kill()
                    starts_on_a_full_disk(world, first)
            time.sleep(1)
            first.alive()
            os.remove(ballast)
            freed = time.monotonic()
            wait_for("ready again", lambda: ready(first)[0], READY_SECONDS)
            world.say(f"disk-full, {turn}: ready {time.monotonic() - freed:.1f} s after there was space again")
    finally:
        if os.path.exists(ballast):
            os.remove(ballast)


def must_not_be_ready(first):
    answers = []

    def told():
        is_ready, text = ready(first)
        answers.append(text)
        return not is_ready and ("No space" in text or "state.memory" in text)

    try:
        wait_for("unready", told, 30)
    except Broken as error:
        raise Broken(f"a full disk is not told by /health/ready: {answers[-1:]}") from error


def use_up_memory(world, first):
    """Until deciding stops; reads go on."""
    stops = first.logged("deciding stops until state is flushed")
    for _ in range(30):
        if first.logged("deciding stops until state is flushed") > stops:
            break
        world.send(10000)
        first.alive()
    wait_for("out of memory", lambda: first.logged("deciding stops until state is flushed") > stops, 60)
    world.happened["memory used up"] += 1
    time.sleep(1)  # what was begun before is committed
    before = {partition: row["position"] for partition, row in first.tasks().items()}
    time.sleep(1.5)
    after = {partition: row["position"] for partition, row in first.tasks().items()}
    must(len(before) == world.partitions and after == before, "nothing is decided while memory is used up", before,
         after)
    is_ready, text = ready(first)
    must(not is_ready and "state" in text, "an instance that cannot decide is not ready", text)


def starts_on_a_full_disk(world, first):
    first.start()
    time.sleep(world.random.uniform(1, 3))
    first.alive()
    is_ready, text = ready(first)
    must(not is_ready or not text, "an instance without disk is not ready", text)


# --- calls that fail ----------------------------------------------------------------------------


FAILURES = ("open:eio:1", "open:eio:10", "open:enospc:20", "read:eio:1", "read:eio:50", "read:flip:1", "write:eio:1",
            "write:eio:20", "write:enospc:100", "write:short:1", "write:short:1000", "write:flip:1", "sync:eio:1",
            "sync:eio:10", "name:eio:1", "name:enospc:10")


def build_shim(world):
    """The library that makes calls to the disk fail; built where it is used."""
    source, library = os.path.join(HERE, "..", "disk_shim.c"), os.path.join(world.folder, "disk_shim.so")
    subprocess.run(["cc", "-std=c11", "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


@contextlib.contextmanager
def shimmed(first, library, **environment):
    plain = first.environment
    first.environment = {**plain, "LD_PRELOAD": library, "DISK_SHIM_DIR": first.state, **environment}
    try:
        yield
    finally:
        first.environment = plain


@fault("io-error", scenario=True, needs=("io errors", "flush failed"), wipes=True)
def io_error(world):
    """calls to the disk fail, are cut short, or give and take wrong bytes, at any moment"""
    first = begin(world)
    library = build_shim(world)
    first.kill()
    for failure in world.random.sample(FAILURES, len(FAILURES)):
        call, effect, count = failure.split(":")
        nth = int(10 ** world.random.uniform(0, 3))
        while not fails_at(world, first, library, call, effect, nth, count):
            must(nth > 1, "I12: the run is invalid: a call that was to fail was not made", failure)
            nth = max(1, nth // 10)
            if first.running():
                first.kill()
        first.kill()
        first.start()
        try:
            settled_whole(world, first)  # wrong bytes may have been written
        except Exception as error:
            raise type(error)(f"after {failure}: {error}") from error
        first.kill()
    first.start()
    world.wait_running()
    world.finish()


def fails_at(world, first, library, call, effect, nth, count):
    """Starts with calls that fail from the nth on, works, and comes back. Whether one has failed."""
    fired = os.path.join(world.folder, "fired")
    with contextlib.suppress(FileNotFoundError):
        os.remove(fired)
    with shimmed(first, library, DISK_SHIM_FAULT=f"{call}:{effect}:{nth}:{count}", DISK_SHIM_FIRED=fired):
        first.start()
        with world.load(rate=2000):
            time.sleep(world.random.uniform(1, 2.5))
        comes_back(world, first, f"{call}:{effect}:{nth}:{count}")
    if not os.path.exists(fired):
        return False
    world.happened["io errors"] += 1
    world.happened[f"io error: {call} {effect}"] += 1
    return True


# RocksDB of Debian is built with them, and says where in its own sources.
ASSERTION = re.compile(r"(^|: |/)(cache|db|env|file|logging|memory|memtable|monitoring|options|table|util|utilities)/"
                       r"\S*\.(cc|h):\d+: .*Assertion `")


def must_have_given_up(first, failure):
    """With an error that has a name, or by an assertion of RocksDB's."""
    status, said = first.process.returncode, first.life()
    named = any(" level=error " in f" {line}" and re.search(r" code=[A-Z_]+", line) for line in said)
    asserted = any(ASSERTION.search(line) for line in said)
    must((status == 1 and named) or (status == -signal.SIGABRT and asserted),
         "a process that an io error ends says why", failure, f"status {status}", "\n".join(said[-8:]))
    return asserted


def comes_back(world, first, failure):
    """By itself: every fault ends. A process that gave up is started again, on a disk that is well."""
    try:
        for _ in range(50):
            if not first.running():
                asserted = must_have_given_up(first, failure)
                world.happened["ended by an assertion of RocksDB" if asserted else "ended by an io error"] += 1
                world.say(f"io-error {failure}: ended with {first.process.returncode}: {first.log_tail(1).strip()}")
                first.environment = {k: v for k, v in first.environment.items() if k != "LD_PRELOAD"}
                first.start()
            time.sleep(0.2)
            if world.all_run(world.owners()):
                return
        world.wait_running()
    except Broken as error:
        raise Broken(f"after {failure}: {error}") from error


@fault("power-loss", scenario=True, needs=("killed", "writes lost"), wipes=True)
def power_loss(world):
    """kill -9, and what was not synced is lost, cut short, or kept, file by file"""
    first = begin(world)
    library = build_shim(world)
    first.kill()
    for number in range(12):
        journal = os.path.join(world.folder, f"journal-{number}")
        grave = os.path.join(world.folder, f"grave-{number}")
        os.makedirs(grave)
        with shimmed(first, library, DISK_SHIM_JOURNAL=journal, DISK_SHIM_GRAVE=grave):
            first.start()
            with world.load(rate=3000):
                time.sleep(world.random.uniform(0.2, 3))
                first.kill()
        lost = power.lose(first.state, journal, grave, world.random)
        world.happened["writes lost"] += lost
        shutil.rmtree(grave)
        first.start()
        settled(world)
        first.kill()
    first.start()
    world.wait_running()
    world.finish()


# --- rot ----------------------------------------------------------------------------------------


OFFLINE_FLIPS = 300
MANIFEST_CUTS = 8  # of each task
FATAL = ("SST", "MANIFEST", "CURRENT")  # whose damage is found


@fault("bit-flip", scenario=True, needs=("damaged", "set aside"), wipes=True)
def bit_flip(world):
    """files of the state directory are damaged, cut, emptied or gone, at rest and in use"""
    first = begin(world)
    world.send(5000)
    world.settle()
    first.stop()
    damaged_copies(world, first)
    for number in range(14):
        if number % 2 == 0:
            how = damage_some(world, first.state)
            first.start()
        else:
            first.start()
            world.wait_running()
            how = damage_some(world, first.state)
            with world.load(rate=2000):
                time.sleep(world.random.uniform(0.5, 1.5))
            read_everything(world, first)
            if world.random.random() < 0.5:
                first.kill()
                first.start()
        try:
            settled_whole(world, first)
        except Exception as error:
            raise type(error)(f"after {how}: {error}") from error
        world.happened["damaged"] += 1
        first.kill()
        for folder in os.listdir(os.path.join(first.state, "stock")):
            aside = [name for name in os.listdir(os.path.join(first.state, "stock"))
                     if name.startswith(folder + ".aside-")]
            must(len(aside) <= 2, "two directories that were set aside are kept", aside)
    first.start()
    read_everything(world, first)  # what was damaged in use may have been served from memory
    world.finish()


def damage_some(world, state):
    """One file of one task; says which and how."""
    folder = os.path.join(state, "stock", str(world.random.randrange(world.partitions)))
    files = damage.files_of(folder)
    kind = world.random.choice(sorted(files) + [name for name in FATAL if name in files])
    path = world.random.choice(files[kind])
    with contextlib.suppress(FileNotFoundError):  # compacted away in this moment
        return f"{os.path.relpath(path, state)}: {damage.damage(path, world.random.choice(damage.KINDS), world.random)}"
    return f"{path}: gone by itself"


def read_everything(world, first):
    """Whatever is damaged is met: an answer that comes to it is cut off, and the task made anew. Goes on
    until every task can be read to its end; what is answered is right, says check() later."""
    def whole(partition):
        first.alive()
        answer = first.get(f"/v1/ops/dump?topology=stock&partition={partition}", 60)
        return answer and answer[0] == 200

    for partition in range(world.partitions):
        wait_for(f"partition {partition} read to its end", lambda: whole(partition), 120)
    world.wait_running()


def settled_whole(world, first):
    """A flush, or the check itself, may be the first to meet damage. Then there is no dump, because a
    directory is set aside; nothing else excuses it, and all is checked when the task is made anew."""
    for left in reversed(range(world.partitions + 1)):  # each may have to be made anew
        aside = set_asides(first)
        read_everything(world, first)
        try:
            settled(world)
            return
        except NotDumped:
            with contextlib.suppress(Broken):
                wait_for("set aside", lambda: set_asides(first) > aside, NAMED_SECONDS)
            if set_asides(first) == aside or not left:
                raise


def damaged_copies(world, first):
    """Hundreds of damaged copies of a task directory, told by `tally fsck`: the right dump or an error."""
    target = os.path.join(world.folder, "copy")
    right = {}
    told = older = 0
    for number in range(OFFLINE_FLIPS):
        partition = str(world.random.randrange(world.partitions))
        folder = damage.copy_task(first.state, "stock", partition, target)
        if partition not in right:
            status, right[partition], text = damage.fsck(first.program, first.config, target)
            must(status == 0, "a whole directory is dumped", text)
        how, at_boundary = damage_one(folder, world.random)
        status, dump, text = damage.fsck(first.program, first.config, target)
        if status == 0:
            must(dump == right[partition] or (at_boundary and damage.is_earlier(dump, right[partition])),
                 "fsck gives the right dump or an error", partition, how)
            older += dump != right[partition]
            continue
        told += 1
        must(status == 1, "fsck ends with 1 when a directory is damaged", how, status, text)
        must(right[partition].startswith(dump), "fsck prints no row that is not there", how)
        must(folder in text or os.path.basename(how.split(":")[0]) in text, "fsck names the directory", how, text)
    must(told > OFFLINE_FLIPS / 5, "damage is told", told)
    older += older_manifests(world, first, target, right)
    world.happened["damaged"] += OFFLINE_FLIPS
    world.say(f"bit-flip: {OFFLINE_FLIPS} damaged copies, {told} errors, {older} older dumps, the others"
              f" as before")
    shutil.rmtree(target)


def older_manifests(world, first, target, right):
    """Manifests that were cut where a record ends: an error, or the state as it was at some moment."""
    older = 0
    for partition, whole in right.items():
        path = damage.files_of(damage.copy_task(first.state, "stock", partition, target))["MANIFEST"][0]
        ends, size = damage.manifest_ends(path)
        must(ends[-1:] == [size], "a manifest is whole", path, ends[-1:], size)
        for end in world.random.sample(ends[:-1], min(MANIFEST_CUTS, len(ends) - 1)):
            folder = damage.copy_task(first.state, "stock", partition, target)
            os.truncate(path, end)
            status, dump, text = damage.fsck(first.program, first.config, target)
            must((status == 0 and damage.is_earlier(dump, whole)) or (status == 1 and folder in text),
                 "a manifest that was cut gives an older state or an error", f"{path} cut to {end} of {size}", status,
                 text)
            older += status == 0 and dump != whole
    return older


def damage_one(folder, dice):
    """What was done, and whether it is an older copy: a manifest that was cut behind a whole record."""
    files = damage.files_of(folder)
    path = dice.choice(files[dice.choice(sorted(files) + [kind for kind in FATAL if kind in files])])
    kind = dice.choice(damage.KINDS + ("flip", "flip", "flip"))
    how = damage.damage(path, kind, dice)
    cut = os.path.basename(path).startswith("MANIFEST-") and kind in ("cut", "empty")
    return f"{path}: {how}", cut and damage.manifest_is_whole(path)


# --- what belongs elsewhere ---------------------------------------------------------------------


@fault("old-copy", scenario=True, needs=("older copy", "mixed copy", "foreign directory"), wipes=True)
def old_copy(world):
    """older, mixed, half and foreign copies of a state directory put in its place"""
    first = begin(world)
    older = os.path.join(world.folder, "older")
    for turn in (older_copy, mixed_copy, half_copy, empty_directory, swapped, other_group):
        world.send(2000)
        world.settle()
        first.stop()
        shutil.rmtree(older, ignore_errors=True)
        shutil.copytree(first.state, older)
        first.start()
        world.wait_running()
        with world.load(rate=3000):
            time.sleep(1.5)
        world.settle()
        (first.kill if world.random.random() < 0.5 else first.stop)()
        try:
            turn(world, first, older)
            settled(world)
        except Exception as error:
            raise type(error)(f"{turn.__name__}: {error}") from error
    world.finish()


def set_asides(first):
    return first.logged("state set aside")


def older_copy(world, first, older):
    aside = set_asides(first)
    shutil.rmtree(first.state)
    shutil.copytree(older, first.state)
    first.start()
    world.wait_running()
    must(set_asides(first) == aside, "an older copy catches up by replay")
    world.happened["older copy"] += 1


def mixed_copy(world, first, older):
    """Some files of the older copy over the newer ones, as by a copy that was broken off."""
    for root, _, names in os.walk(older):
        for name in names:
            if world.random.random() < 0.5:
                shutil.copy(os.path.join(root, name), root.replace(older, first.state, 1))
    first.start()
    read_everything(world, first)
    world.happened["mixed copy"] += 1


def half_copy(world, first, _):
    for root, _, names in os.walk(os.path.join(first.state, "stock")):
        for name in names:
            path = os.path.join(root, name)
            if world.random.random() < 0.3:
                os.remove(path)
            elif world.random.random() < 0.3:
                os.truncate(path, os.path.getsize(path) // 2)
    first.start()
    read_everything(world, first)


def empty_directory(world, first, _):
    for partition in range(world.partitions):
        folder = os.path.join(first.state, "stock", str(partition))
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if name != "IDENTITY" and os.path.isfile(path):
                os.remove(path)
    first.start()
    world.wait_running()


def named(world, first, code, *words):
    """Within seconds, by /health/ready or, when the start was refused, in the log."""
    said = []

    def told():
        text = ready(first)[1] if first.running() else first.log_tail(5)
        said.append(text)
        return code in text and all(re.search(word, text) for word in words)

    try:
        seconds = wait_for("named", told, NAMED_SECONDS)
    except Broken as error:
        raise Broken(f"{code} is not told with {words}: {said[-1:]}") from error
    world.say(f"old-copy: {code} named after {seconds:.1f} s")
    world.happened["foreign directory"] += 1
    if first.running():
        first.kill()


def swapped(world, first, _):
    """Two partitions have each other's directory."""
    def swap():
        one, two, third = (os.path.join(first.state, "stock", name) for name in ("0", "1", "third"))
        os.rename(one, third)
        os.rename(two, one)
        os.rename(third, two)

    swap()
    first.start()
    named(world, first, "FOREIGN_STATE", "/stock/[01]", r'partition \\?"[01]', "tally reset")
    swap()
    first.start()


def other_group(world, first, _):
    """The directory of another app."""
    name = first.settings["app.id"]
    first.configure({"app.id": name + "-other"})
    first.start()
    named(world, first, "FOREIGN_STATE", "/stock/[0-3]", "group", name, "tally reset")
    first.configure({"app.id": name})
    first.start()


# --- memory and size ----------------------------------------------------------------------------


@fault("no-memory", scenario=True, needs=("out of memory",), wipes=True)
def no_memory(world):
    """the process cannot have more memory: it ends, is started again, and nothing is lost"""
    first = begin(world)
    for _ in range(3):
        usual = first.command
        with open(f"/proc/{first.process.pid}/status") as file:
            held = int(re.search(r"VmSize:\s+(\d+)", file.read())[1]) << 10
        first.kill()
        first.command = ["prlimit", f"--as={held + (world.random.randrange(-4, 24) << 20)}", "--core=0", *usual]
        first.start()
        with world.load(rate=4000):
            time.sleep(2)
            with contextlib.suppress(Broken):
                wait_for("out of memory", lambda: not first.running(), 4)
        if first.running():
            first.kill()
        else:
            world.happened["out of memory"] += 1
        first.command = usual
        first.start()
        settled(world)
    world.finish()


BIG_BYTES = 1 << 30
BIG_STARTS = 20
FIRST_COMMIT_SECONDS = 5


@fault("big-state", scenario=True, needs=("killed", "compared"))
def big_state(world):
    """kill -9 with 1 GiB of state, 20 times: no wipe, nothing lost, first commit within 5 s (p95)"""
    first = world.instance(0)
    first.configure({"state.memory": 256 << 20})
    world.begin()
    big = BigOracle(world)
    while (first.metric("tally_rocksdb_sst_bytes") or 0) < BIG_BYTES:
        big.load(200000)
        big.settle()
        time.sleep(1)
    seconds = sorted(first_commit(world, first, big) for _ in range(BIG_STARTS))
    p95 = seconds[int(BIG_STARTS * 0.95) - 1]
    world.say(f"big-state: {(first.metric('tally_rocksdb_sst_bytes') or 0) / (1 << 30):.2f} GiB, first commit after"
              f" {seconds[len(seconds) // 2]:.2f} s (median), {p95:.2f} s (p95), {seconds[-1]:.2f} s (longest)")
    must(set_asides(first) == 0, "no state directory is set aside", set_asides(first))
    must(p95 <= FIRST_COMMIT_SECONDS, "the first commit comes within 5 s", seconds)
    big.settle()
    world.count_paths()
    first.stop()
    big.check()


def first_commit(world, first, big):
    """From a start after kill -9 under load to the first command that is committed."""
    big.load(2000)
    first.kill()
    start = first.start()
    command = big.command()
    big.posted[command["sku"].encode()] = command["command_id"]
    body = {name: value for name, value in command.items() if name not in ("command_id", "type")}
    while True:
        answer = first.request("/v1/commands/ReceiveStock", json.dumps(body).encode(),
                               {"Content-Type": "application/json", "Idempotency-Key": command["command_id"],
                                "Prefer": "wait=5"}, 10)
        if answer and answer[0] not in (202, 429, 503, 504):
            seconds = time.monotonic() - start
            told = json.loads(answer[1])
            must(answer[0] == 200 and told.get("status") == "ACCEPTED" and "position" in told,
                 "the first command is accepted", answer)
            partition = partition_of(command["sku"].encode(), world.partitions)
            big.told.setdefault(partition, []).append(
                (command["command_id"], int(told["position"].rsplit("@", 1)[1])))
            return seconds
        first.alive()
        if time.monotonic() > start + 120:
            raise Broken(f"no commit 120 s after a start with a large state: {answer}\n{first.log_tail()}")
        time.sleep(0.02)


class BigOracle:
    """The oracle keeps all rows in memory, which would be too much here. Each command is new, good and about
    a level of its own, so that sums of hashes do: of the rows that the commands must lead to, and of those
    that are there."""

    def __init__(self, world):
        self.world = world
        self.dice = random.Random(world.random.random())
        self.posted = {}  # key -> command id
        self.told = {}  # partition -> [(command id, offset)] that clients were told are committed
        # What was before has been checked by the oracle.
        self.from_commands = {p: last + 1 for p, last in world.oracle.ends().items()}
        self.from_events = dict(world.oracle.events.next)
        self.before = set(world.oracle.verified)

    def command(self):
        return {"type": "ReceiveStock", "command_id": f"{self.dice.getrandbits(96):024x}", "warehouse": "AMS1",
                "sku": f"BIG-{self.dice.getrandbits(64):016x}", "quantity": 1, "note": self.dice.randbytes(120).hex()}

    def load(self, count):
        producer = Producer({"bootstrap.servers": self.world.kafka, "partitioner": "murmur2_random", "linger.ms": 20,
                             "enable.idempotence": True, "queue.buffering.max.messages": 1000000, "log_level": 0})
        for _ in range(count):
            command = self.command()
            producer.produce(self.world.prefix + "stock.commands", json.dumps(command), command["sku"])
            producer.poll(0)
        must(producer.flush(120) == 0, "the broker takes all commands")

    def settle(self):
        oracle = self.world.oracle
        ends = {p: oracle.commands.end(p) for p in range(self.world.partitions)}
        self.world.wait("settled", lambda owners: self.world.all_run(owners) and all(
            position(pairs[0][1]) >= ends[p] - 1 and pairs[0][1]["lag"] == 0 for p, pairs in owners.items()), 600)

    def check(self):
        """The instance has stopped."""
        world, oracle = self.world, self.world.oracle
        expected, count = 0, 0
        for partition in range(world.partitions):
            commands = records(world, oracle.commands, partition, self.from_commands[partition])
            events = records(world, oracle.events, partition, self.from_events[partition])
            answered, last = {}, -1  # command id -> its offsets, of those that were posted
            for command in commands:
                last = command.offset()
                command_id = self.identity(command, answered)
                if command_id is None:
                    continue
                event = next(events, None)
                must(event and event.key() == command.key() and command_id.encode() in event.value() and
                     b"StockReceived" in event.value(), "I1: one event per command, in its order",
                     f"{partition}@{last}", command_id, event and (event.offset(), event.key()))
                sku = command.key().decode()
                for row in (("level", f"{sku}.AMS1", 1), ("ledger", f"{sku}.AMS1.1", last),
                            ("dedup", f"{command_id}.{sku}", last)):
                    expected += hash(row)
                    count += 1
            more = next(events, None)
            must(more is None, "I1: one event per command", f"partition {partition}", more and more.offset())
            offset = oracle.group.offsets(oracle.commands.topic).get(partition)
            must(offset == last + 1, "I6: the group's offset is behind the last command", partition, offset, last)
            for command_id, offset in self.told.get(partition, ()):
                must(offset in answered.get(command_id, ()), "I7: a command is where a client was told",
                     command_id, f"{partition}@{offset}", answered.get(command_id))
        self.compare(expected, count)

    def identity(self, command, answered):
        """Its id; None of one that was posted again, after it had its event."""
        command_id = self.posted.get(command.key())
        if command_id is None:
            return json.loads(command.value())["command_id"]
        again = command_id in answered
        answered.setdefault(command_id, []).append(command.offset())
        return None if again else command_id

    def compare(self, expected, count):
        """Rows of the directory: those from before as they were, and one of each kind for each command."""
        first = self.world.instance(0)
        found, rows, before = 0, 0, set()
        with subprocess.Popen([first.program, "fsck", "--dump", "--state", first.state, "--config", first.config],
                              stdout=subprocess.PIPE) as dump:
            for line in dump.stdout:
                line = line.rstrip(b"\n")
                if b"BIG-" not in line:
                    before.add(line)
                    continue
                row = json.loads(line)
                value = row["value"]
                if row["store"] == "level":
                    must((value["on_hand"], value["available"]) == (1, 1), "I2: a level is what its event says", row)
                found += hash((row["store"], row["key"], value["version" if row["store"] == "level" else "offset"]))
                rows += 1
        must(dump.returncode == 0, "fsck reads the state", dump.returncode)
        must(before == self.before, "I2: rows that no command was about stay", len(before), len(self.before))
        must((found, rows) == (expected, count), "I2: the state is the fold of the events", f"{rows} rows",
             f"{count} expected")
        self.world.happened["compared"] += rows
        self.world.say(f"big-state: {rows} rows are those of {count // 3} commands")


def records(world, reader, partition, begin):
    """Committed records up to the end, one by one: there are too many to keep."""
    end = reader.end(partition)
    consumer = Consumer({"bootstrap.servers": world.kafka, "group.id": "crash-big", "enable.auto.commit": False,
                         "isolation.level": "read_committed", "enable.partition.eof": True, "log_level": 0})
    consumer.assign([TopicPartition(reader.topic, partition, begin)])
    deadline = time.monotonic() + 600
    try:
        at = begin
        while at < end:
            must(time.monotonic() < deadline, "I6: no transaction hangs", reader.topic, partition, at, end)
            for message in consumer.consume(10000, 0.5):
                at = message.offset() + (message.error() is None)
                if message.error() is None:
                    yield message
    finally:
        consumer.close()
