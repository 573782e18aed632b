"""What no service would ask for: the poison corpus between good commands, commands repeated a thousand
times, and what `tally dlq` makes of dead letters."""
import json
import os
import threading
import time

from corpus.records import ACCEPTED, CATALOGUE, DEAD, FORWARDED, REJECTED, STOCK, corpus
from corpus.sending import Ledger, Sender, wrong_with
from corpus.strict import home
from faults import fault
from instance import position
from verdict import Broken, must
from wire import msgpack_encode

BYTES_MORE = 1 << 30  # resident; a record of 24 MiB is in memory three times
RETRIED = 12
REPAIRABLE = {"MALFORMED_JSON", "MALFORMED_MSGPACK", "BAD_NUMBER", "INVALID_UTF8", "EMPTY_VALUE", "UNSUPPORTED_FORMAT"}


class Watch:
    """How long a partition with work to do stands still, and how much memory is used at most. The
    time in which nobody answers belongs to a kill, not to a record. The time is told and not judged: it
    is the machine's too, and a partition that stands still for good does not settle."""

    def __init__(self, world):
        self.world = world
        self.leaving = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.held, self.bytes = (0.0, None), 0

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.leaving.set()
        self.thread.join()

    def run(self):
        since = {}  # (topology, partition) -> (position, when it was first seen)
        while not self.leaving.wait(0.02):
            rows, now = self.rows(), time.monotonic()
            for key in set(since) - set(rows):
                del since[key]
            for key, row in rows.items():
                at = position(row)
                if row["state"] != "RUNNING" or not row["lag"] or since.get(key, (None,))[0] != at:
                    since[key] = (at, now)
                self.held = max(self.held, (now - since[key][1], f"{key} after {at}"), key=lambda pair: pair[0])

    def rows(self):
        answer = self.world.instance(0).get("/v1/ops/tasks", 1)
        self.bytes = max(self.bytes, resident(self.world.instance(0)))
        if not answer or answer[0] != 200:
            return {}
        return {(row["topology"], row["partition"]): row for row in json.loads(answer[1])["items"]}

    def verdict(self, base):
        must(self.bytes < base + BYTES_MORE, "I10: hostile records are bounded in memory", self.bytes, base)
        return f"longest stop {self.held[0]:.2f} s, at most {self.bytes >> 20} MiB"


def resident(instance):
    try:
        with open(f"/proc/{instance.process.pid}/status") as file:
            status = dict(line.split(":", 1) for line in file)
        return int(status.get("VmHWM", "0").split()[0]) << 10
    except (OSError, IndexError):
        return 0


def expect(items, places, ledger):
    """I9 of every item, by its own row of the corpus."""
    bad = [(item.name, item.expect, places[item.name], wrong)
           for item in items for wrong in wrong_with(item, places[item.name], ledger)]
    must(not bad, "I9: each record of the corpus becomes what its row says", len(bad), *bad[:3])


def tally(items):
    counts = {what: sum(item.expect == what for item in items) for what in (DEAD, REJECTED, ACCEPTED, FORWARDED)}
    return ", ".join(f"{count} {what}" for what, count in counts.items())


@fault("poison", needs=("killed", "dead-lettered", "forwarded", "retried"))
def poison(world):
    """a thousand hostile records between good commands, three kills, then retries of repaired ones"""
    items = [item for item in corpus(f"{world.random.randrange(10 ** 6)}", world.partitions) if item.topic == STOCK]
    world.random.shuffle(items)
    ledger = ledger_from_here(world)
    sender = Sender(world.kafka, world.prefix, world.partitions)
    base = resident(world.instance(0))
    with Watch(world) as watch:
        with world.load(rate=1000):
            send_and_kill(world, sender, items)
        world.settle()
    must(not sender.refused, "the broker takes the corpus", list(sender.refused.items())[:3])
    ledger.read()
    expect(items, sender.places, ledger)
    world.say(f"poison: {len(items)} records: {tally(items)}; {watch.verdict(base)}")
    retry(world, items, sender.places, ledger)
    ledger.close()


def ledger_from_here(world):
    """What comes from now on; the oracle has read all that was before."""
    ledger = Ledger(world.kafka, world.prefix, "stock", world.partitions)
    for reader, known in ((ledger.readers["commands"], world.oracle.commands), (ledger.readers["events"],
                          world.oracle.events), (ledger.readers["dead"], world.oracle.dead)):
        reader.next = dict(known.next)
    return ledger


def send_and_kill(world, sender, items):
    kills = sorted(world.random.sample(range(len(items)), 3))
    for number, item in enumerate(items):
        sender.send(item)
        if number % 20 == 0:
            time.sleep(0.04)
        if number in kills:
            world.instance(0).kill()
            if world.random.random() < 0.5:
                sender.flush()  # it meets them at its start
            world.restart(world.instance(0))
    sender.flush()


def retry(world, items, places, ledger):
    """I9: what was repaired works once, however often it is sent."""
    first = world.instance(0)
    repairable = [item for item in items if item.expect == DEAD and item.repaired and item.detail <= REPAIRABLE
                  and not item.wrong and item.size() < 100000 and not same_id_is_told(item)]
    chosen = world.random.sample(repairable, RETRIED if not world.options.ci else RETRIED // 3)
    file_name = os.path.join(world.folder, "repaired")
    for item in chosen:
        letter = ledger.letters[places[item.name]][0]
        address = f"stock.commands-dlt/{letter.partition()}@{letter.offset()}"
        with open(file_name, "wb") as file:
            file.write(item.repaired)
        first.tool("dlq", "retry", address, "--value-file", file_name)
        status, said = first.tool("dlq", "retry", address, "--value-file", file_name, fails=True)
        must(status == 0 and "already retried" in said, "I9: a letter is retried once", address, said)
        if world.random.random() < 0.5:
            first.tool("dlq", "retry", address, "--value-file", file_name, "--again")
    world.settle()
    ledger.read()
    for item in chosen:
        command_id, key = json.loads(item.repaired)["command_id"], item.key
        outcomes = [event for events in ledger.events.values() for record, event in events
                    if event["causation_id"] == command_id and record.key() == key]
        must(len(outcomes) == 1 and outcomes[0]["type"] == "StockReceived", "I9: a repaired command works once",
             item.name, command_id, [event["type"] for event in outcomes])
    world.happened["retried"] += len(chosen)


def same_id_is_told(item):
    """The letter tells an id that is not the repaired command's."""
    try:
        told = json.loads(item.value.decode())
        return told.get("command_id", told.get("id")) != json.loads(item.repaired)["command_id"]
    except (ValueError, AttributeError, UnicodeDecodeError, RecursionError):
        return False


@fault("poison-catalogue", scenario=True, needs=("dead-lettered of the catalogue",))
def poison_catalogue(world):
    """the corpus on catalogue.commands, with both topologies"""
    first = world.instance(0)
    first.configure({"topologies": ["catalogue", "stock"]})
    first.tool("topics", "create", "--topics.partitions", str(world.partitions))
    first.start()
    items = [item for item in corpus("0", world.partitions, ("catalogue",)) if item.topic == CATALOGUE]
    sender = Sender(world.kafka, world.prefix, world.partitions)
    ledger = Ledger(world.kafka, world.prefix, "catalogue", world.partitions)
    for number, item in enumerate(items):
        sender.send(item)
        if number == len(items) // 2:
            sender.flush()
            time.sleep(world.random.uniform(0, 1))
            first.kill()
            first.start()
    sender.flush()
    wait_for_all(items, sender.places, ledger)
    expect(items, sender.places, ledger)
    # "dead-lettered" is what the oracle counts, which reads the topics of stock.
    world.happened["dead-lettered of the catalogue"] += sum(item.expect == DEAD for item in items)
    first.stop()
    ledger.close()


def wait_for_all(items, places, ledger, limit=60):
    """Until something has come of every item; what it is, is checked later."""
    end = time.monotonic() + limit
    while True:
        ledger.read()
        missing = [item.name for item in items if not ledger.letters.get(places[item.name])
                   and not ledger.events.get(places[item.name])]
        if not missing:
            return
        if time.monotonic() > end:
            raise Broken(f"nothing has come of {missing[:5]} after {limit} s")
        time.sleep(0.2)


# --- the same command again and again ---------------------------------------------------------------

@fault("repeats", needs=("killed", "restored"), wipes=True)
def repeats(world):
    """the same ids up to a thousand times: in a batch, over transactions, kills, restarts, a restore"""
    run = world.random.randrange(10 ** 6)
    ids = [Same(run, number, world.partitions) for number in range(40)]
    first = world.instance(0)

    def burst(times, which):
        world.writer.send([same.record(world.random, other=world.random.random() < 0.2)
                           for same in which for _ in range(times)])

    world.writer.send([same.record(world.random) for same in ids])
    burst(1000, ids[:2])  # in few batches
    with world.load(rate=1000):
        for _ in range(10):  # over transactions
            burst(3, ids)
            time.sleep(0.15)
        for _ in range(3):  # over kills
            burst(5, ids)
            time.sleep(world.random.uniform(0, 0.3))
            first.kill()
            burst(5, ids)
            world.restart(first)
    first.stop()
    burst(5, ids)
    first.start()
    world.wait_running()
    world.settle()
    first.stop()  # after a restore from nothing
    os.rename(first.state, f"{first.state}.{run}.before")
    first.start()
    world.wait_running()
    burst(20, ids)
    burst(1000, ids[2:3])
    world.settle()
    world.check()
    for same in ids:  # the first one that came, whatever came after it
        outcome = world.oracle.fold.outcomes.get((same.id, same.key.decode()))
        level = world.oracle.fold.levels.get((same.key.decode(), "W1"))
        must(outcome == ("ACCEPTED", None) and level and level["on_hand"] == same.fields["quantity"],
             "I3: an id has one outcome, that of its first command", same.id, outcome, level)


class Same:
    """One command, in all its forms; `other` is another command under the same id."""

    def __init__(self, run, number, partitions):
        self.id = f"same{run}-{number}"
        self.key = f"SAME{run}-{number}".encode()
        self.partition = home(self.key, partitions)
        self.fields = {"sku": self.key.decode(), "warehouse": "W1", "quantity": 1 + number}

    def record(self, dice, other=False):
        fields = {**self.fields, "quantity": 500} if other and self.sent else self.fields
        self.sent = True
        flat = {"type": "ReceiveStock", "command_id": self.id, **fields}
        turned = dict(reversed(flat.items()))
        long = {"id": self.id, "type": "ReceiveStock", "version": "1.0", "payload": fields}
        value = dice.choice((lambda: json.dumps(flat).encode(), lambda: json.dumps(turned).encode(),
                             lambda: json.dumps(long).encode(), lambda: msgpack_encode(flat),
                             lambda: msgpack_encode(long)))()
        return self.partition, self.key, value, self.id

    sent = False


RETENTION = 4  # seconds, of the scenario below


@fault("repeats-edge", scenario=True, needs=("killed", "decided again"), wipes=True)
def repeats_edge(world):
    """repeats before and after dedup.retention, old times, a kill and a restore between: the log decides"""
    first = world.instance(0)
    first.configure({"dedup.retention": f"{RETENTION}s"})
    first.start()
    world.wait_running()
    ledger = ledger_from_here(world)
    ids = [Same(0, number, world.partitions) for number in range(6)]
    sender = Sender(world.kafka, world.prefix, world.partitions)
    end, restored, killed = time.monotonic() + 6 * RETENTION, False, False
    while time.monotonic() < end:
        for same in ids:
            if world.random.random() < 0.3:
                partition, key, value, _ = same.record(world.random)
                # A client's time is not believed: the topic's is the broker's.
                sender.producer("none").produce(world.prefix + STOCK, value, key, partition,
                                                timestamp=world.random.choice((1, 2 ** 62, int(time.time() * 1000))))
        sender.flush()
        time.sleep(world.random.uniform(0.05, 0.4))
        if not killed and time.monotonic() > end - 4 * RETENTION:
            first.kill()
            world.restart(first)
            killed = True
        if not restored and time.monotonic() > end - 2 * RETENTION:
            first.stop()
            os.rename(first.state, first.state + ".before")
            first.start()
            world.wait_running()
            restored = True
    world.settle()
    ledger.read()
    again = check_retention(ledger)
    world.say(f"repeats-edge: {len(ledger.commands)} commands of {len(ids)} ids, {again} decided again after"
              f" {RETENTION} s")
    world.happened["decided again"] += again
    world.happened["killed"] = world.kills()
    first.stop()
    ledger.close()


def check_retention(ledger):
    """Each partition again, by the times in its log: a repeat within the retention has no event, one
    behind it has its own. Returns how many of the latter there were."""
    outcomes, clocks, again = {}, {}, 0
    for (partition, offset), record in sorted(ledger.commands.items()):
        key = record.key()
        now = max(record.timestamp()[1], clocks.get(partition, 0))
        known = outcomes.get(key)
        decided = known is None or known + RETENTION * 1000 <= now
        events = ledger.events.get((partition, offset), [])
        must(len(events) == decided, "I3: an id is known for as long as dedup.retention says", key, f"{partition}@{offset}",
             f"{now - (known or now)} ms after its outcome", f"{len(events)} events")
        if decided:
            again += known is not None
            outcomes[key] = clocks[partition] = now
    return again
