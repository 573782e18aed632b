"""Compares everything that tally wrote with what the model expects. Raises Violation at the first
difference, with the key and the record."""
import glob
import json
import os

from model import DEAD, EVENT, FORWARDED, FORWARD_HEADER, Partition
from topics import Reader
from wire import msgpack_decode


class Violation(Exception):
    pass


def must(condition, invariant, *facts):
    if not condition:
        raise Violation(invariant + ": " + ", ".join(str(fact) for fact in facts))


class Oracle:
    def __init__(self, kafka, prefix, partitions):
        self.partitions = [Partition(p, partitions) for p in range(partitions)]
        self.commands = Reader(kafka, prefix + "stock.commands", partitions)
        self.events = Reader(kafka, prefix + "stock.events", partitions)
        self.dead = Reader(kafka, prefix + "stock.commands-dlt", partitions)
        self.waiting = {}  # what is on its way to another partition: "p@o" -> (key, value)
        self.forwarded = set()

    def counts(self):
        return {what: sum(p.counts[what] for p in self.partitions) for what in self.partitions[0].counts}

    def check_log(self):
        """Commands since the last call against events and dead letters since the last call."""
        commands, events, dead = self.commands.read(), self.events.read(), self.dead.read()
        for partition in self.partitions:
            expected, poison = self.decide(partition, commands[partition.number])
            compare_events(partition.number, expected, events[partition.number])
            compare_dead(partition.number, poison, dead[partition.number])
        must(not self.waiting, "every misrouted command is forwarded once", list(self.waiting)[:5])

    def decide(self, partition, records):
        expected, poison = [], []
        for record in records:
            where = f"{partition.number}@{record.offset()}"
            self.arrive(dict(record.headers() or ()).get(FORWARD_HEADER), record, where)
            what, event = partition.take(record.offset(), record.key(), record.value())
            if what == EVENT:
                expected.append(event)
            elif what == DEAD:
                poison.append(record)
            elif what == FORWARDED:
                self.depart(where, record)
        return expected, poison

    # The copy may stand in a partition that is read before the one it came from.
    def depart(self, where, record):
        must(where not in self.forwarded, "a misrouted command is forwarded once", where)
        self.meet(where, ("from", record.key(), record.value()))

    def arrive(self, header, record, where):
        if header is not None:
            self.meet(header.decode(), ("to", record.key(), record.value()))

    def meet(self, source, half):
        other = self.waiting.pop(source, None)
        if other is None:
            must(source not in self.forwarded, "a misrouted command is forwarded once", source)
            self.waiting[source] = half
            return
        must(other[0] != half[0] and other[1:] == half[1:], "a forwarded command keeps key and value", source)
        self.forwarded.add(source)

    def check_state(self, dump):
        """dump: lines of `tally fsck --dump`."""
        levels, ledgers, known = read_dump(dump)
        for partition in self.partitions:
            for (sku, warehouse), level in partition.levels.items():
                key = f"{sku}.{warehouse}"
                row = levels.pop(key, None)
                must(row is not None, "every level is in the state", key)
                compare_level(key, level, row)
                must(ledgers.pop(key, 0) == level.version, "one ledger entry per version", key)
            known -= {f"{command_id}.{key.decode()}" for key, command_id in partition.known}
        must(not levels, "no level without a command", list(levels)[:5])
        must(not ledgers, "no ledger entry without a level", list(ledgers)[:5])
        must(not known, "no outcome without a command", list(known)[:5])

    def close(self):
        for reader in (self.commands, self.events, self.dead):
            reader.close()


def compare_events(number, expected, records):
    for want, record in zip(expected, records):
        event = msgpack_decode(record.value())
        have = flatten(event, record)
        for name, value in want.items():
            if name != "fact":
                must(have.get(name) == value, "events are those of the model", f"partition {number}",
                     f"event offset {record.offset()}", f"{name} is {have.get(name)!r}, not {value!r}", want)
    must(len(expected) == len(records), "one event per command", f"partition {number}",
         f"{len(expected)} commands, {len(records)} events",
         expected[len(records):][:1] or [(r.key(), r.offset()) for r in records[len(expected):][:1]])


def flatten(event, record):
    payload = event["payload"]
    must(payload["outcome"]["status"] in ("ACCEPTED", "REJECTED"), "an outcome in every event", event)
    must(payload.get("version", 1) == payload.get("seq", 1), "version is seq", event)
    return {**payload, "id": event["id"], "type": event["type"], "key": record.key(),
            "causation_id": event["causation_id"], "status": payload["outcome"]["status"]}


def compare_dead(number, poison, records):
    for want, record in zip(poison, records):
        headers = dict(record.headers() or ())
        place = f"partition {number} offset {want.offset()}"
        must((record.key(), record.value()) == (want.key(), want.value()), "dead letters are unchanged", place)
        must(headers.get("__streams.errors.offset") == str(want.offset()).encode(),
             "dead letters name their origin", place, headers)
        must(headers.get("__streams.errors.exception"), "dead letters have a reason", place, headers)
    must(len(poison) == len(records), "one dead letter per poison record", f"partition {number}",
         f"{len(poison)} poison records, {len(records)} dead letters")


def read_dump(lines):
    """Levels by "sku.warehouse", counts of ledger entries by the same, "id.key" of all outcomes."""
    levels, ledgers, known = {}, {}, set()
    for line in lines:
        row = json.loads(line)
        store, key = row.get("store"), row.get("key")
        if store == "level":
            must(key not in levels, "a key is in one partition", key)
            levels[key] = row["value"]
        elif store == "ledger":
            level = key.rsplit(".", 1)[0]
            ledgers[level] = ledgers.get(level, 0) + 1
        elif store == "dedup":
            known.add(key)
    return levels, ledgers, known


def compare_level(key, level, row):
    for name in ("on_hand", "damaged", "quality_control", "version"):
        must(row.get(name, 0) == getattr(level, name), "levels are the sum of their commands", key,
             f"{name} is {row.get(name)}, not {getattr(level, name)}")


def check_directories(state):
    aside = glob.glob(os.path.join(state, "**", "*aside*"), recursive=True)
    must(not aside, "no state directory is set aside", aside)
