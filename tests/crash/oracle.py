"""Compares everything that tally wrote with what the model expects. Raises Violation at the first
difference, with the number of the invariant, the key and the record. Each check reads only what has
come since the last one."""
import json

from fold import Fold
from model import DEAD, EVENT, FORWARD_HEADER, FORWARDED
from model.compare import check_event
from model.stock import Stock
from topics import Group, Reader
from verdict import must
from wire import msgpack_decode


# Bytes of a value that a compressed batch may smuggle past a topic's limit, but not back into it.
CUT_ABOVE = 1048576


class Oracle:
    def __init__(self, kafka, prefix, group, partitions):
        self.partitions = [Stock(p, partitions, require_registration=False) for p in range(partitions)]
        self.commands = Reader(kafka, prefix + "stock.commands", partitions)
        self.events = Reader(kafka, prefix + "stock.events", partitions)
        self.dead = Reader(kafka, prefix + "stock.commands-dlt", partitions)
        self.group = Group(kafka, group)
        self.unread = {p: [] for p in range(partitions)}
        self.last = dict.fromkeys(range(partitions), -1)  # offset of the last committed command
        self.seen = {p: {} for p in range(partitions)}  # offset -> command id, of commands that were read
        self.waiting = {}  # what is on its way to another partition: "p@o" -> (key, value)
        self.copies = {}  # what says that it came from there, before the record there was read
        self.forwarded = set()
        self.fold = Fold()
        self.verified = set()  # lines of the dump that were compared

    def counts(self):
        return {what: sum(p.counts[what] for p in self.partitions) for what in self.partitions[0].counts}

    def ends(self):
        """partition -> offset of its last committed command, as of now."""
        for partition, records in self.commands.read().items():
            if records:
                self.unread[partition] += records
                self.last[partition] = records[-1].offset()
        return dict(self.last)

    def check_log(self):
        """I1, I3, I4, I5, I9: commands since the last call against events and dead letters since then."""
        self.ends()
        events, dead = self.events.read(), self.dead.read()
        for partition in self.partitions:
            number = partition.number
            expected, poison = self.decide(partition, self.unread[number])
            self.unread[number] = []
            self.compare_events(number, expected, events[number])
            compare_dead(number, poison, [letter for letter in dead[number] if not is_mark(letter)])
        must(not self.waiting, "I1: every misrouted command is forwarded once", list(self.waiting)[:5])

    def decide(self, partition, records):
        expected, poison = [], []
        for record in records:
            where = f"{partition.number}@{record.offset()}"
            self.arrive(dict(record.headers() or ()).get(FORWARD_HEADER), record, where)
            taken = partition.take(record.offset(), record.timestamp()[1], record.key(), record.value(),
                                   record.headers())
            self.seen[partition.number][record.offset()] = taken.command_id
            if taken.what == EVENT:
                expected.append(taken)
            elif taken.what == DEAD:
                poison.append(record)
            elif taken.what == FORWARDED:
                self.depart(where, record)
        return expected, poison

    # The copy may stand in a partition that is read before the one it came from. What claims to be a
    # copy of a record that was never misrouted is a sender's invention, and a command like any other.
    def depart(self, where, record):
        copy = self.copies.pop(where, None)
        if copy is None:
            self.waiting[where] = (record.key(), record.value())
        else:
            self.meet(where, (record.key(), record.value()), copy)

    def arrive(self, header, record, where):
        if header is None:
            return
        source, copy = header.decode("latin-1"), (record.key(), record.value())
        must(source not in self.forwarded, "I1: a misrouted command is forwarded once", source, where)
        original = self.waiting.pop(source, None)
        if original is None:
            self.copies[source] = copy
        else:
            self.meet(source, original, copy)

    def meet(self, source, original, copy):
        must(original == copy, "I1: a forwarded command keeps key and value", source)
        self.forwarded.add(source)

    def compare_events(self, number, expected, records):
        for want, record in zip(expected, records):
            event = msgpack_decode(record.value())
            check_event(want, record.key(), event, f"stock.events/{number}@{record.offset()}")
            self.fold.take(number, record.key().decode(), event)
        must(len(expected) == len(records), "I1: one event per command", f"partition {number}",
             f"{len(expected)} commands, {len(records)} events",
             [want.event for want in expected[len(records):]][:1] or [(r.key(), r.offset()) for r in records[len(expected):][:1]])

    def check_state(self, dump):
        """I2, I4: lines of the state of all tasks against the fold of all events, which the model has
        confirmed. A line that was compared before needs no second look."""
        lines = set(dump)
        must(len(lines) == len(dump), "I2: a row is in the state once", len(dump) - len(lines))
        rows = [json.loads(line) for line in lines - self.verified]
        gone = [json.loads(line) for line in self.verified - lines]
        for row in rows:
            self.fold.compare(row)
        self.fold.all_compared()
        new = {(row["store"], row["key"]) for row in rows}
        for row in gone:
            must((row["store"], row["key"]) in new, "I2: no row leaves the state", row)
        self.verified = lines

    def check_levels(self):
        """I4: what the events add up to is what the model holds."""
        for partition in self.partitions:
            for place, level in partition.levels.items():
                self.fold.compare_level(place, level)
        must(len(self.fold.levels) == sum(len(p.levels) for p in self.partitions), "I4: no level without a command")

    def check_positions(self, next_offsets):
        """I6: the offset of the group is the position of the state; no transaction hides an end."""
        committed = self.group.offsets(self.commands.topic)
        for partition, last in self.last.items():
            mine = next_offsets[partition]
            theirs = committed.get(partition)
            must(mine == last + 1, "I6: the state has all commands", f"partition {partition}",
                 f"next is {mine}, the last command is {last}")
            must(theirs == mine or (theirs is None and mine == 0), "I6: the group's offset is the state's position",
                 f"partition {partition}", f"group {theirs}, state {mine}")

    def check_told(self, lines):
        """I7: lines of the history. What was acknowledged is in the log and has its outcome; what a
        client was told of an outcome is that outcome."""
        for line in lines:
            if "offset" not in line:
                continue
            command_id, partition, offset = line["told"], line["partition"], line["offset"]
            log = self.seen[partition]
            if offset is None:
                there = command_id is None or command_id in log.values()
            else:
                there = offset in log and (command_id is None or log[offset] == command_id)
            must(there, "I7: an acknowledged command is in the log", line, f"there is {log.get(offset)!r}")
            if command_id is not None:
                outcome = self.fold.outcomes.get((command_id, line["key"]))
                must(outcome, "I7: an acknowledged command has its outcome", line)
                must("status" not in line or outcome == (line["status"], line["code"]),
                     "I7: a client is told the outcome that is committed", line, outcome)

    def check_seen(self, levels):
        """I8: (sku, warehouse, version, numbers) that readers were shown."""
        for sku, warehouse, version, numbers in levels:
            history = self.fold.history.get((sku, warehouse), ())
            must(0 < version <= len(history) and history[version - 1] == numbers,
                 "I8: no reader saw what was not committed", f"{sku}.{warehouse} version {version}",
                 f"shown {numbers}", f"committed {history[version - 1:version]} of {len(history)} versions")

    def close(self):
        for reader in (self.commands, self.events, self.dead):
            reader.close()


def is_mark(record):
    """What `tally dlq` notes about a letter."""
    names = [name for name, _ in record.headers() or ()]
    return record.value() is None and "tally-dlq" in names and "__streams.errors.offset" not in names


def compare_dead(number, poison, records):
    for want, record in zip(poison, records):
        headers = dict(record.headers() or ())
        place = f"partition {number} offset {want.offset()}"
        if "tally.cut" in headers:
            must(len(want.value() or b"") > CUT_ABOVE, "I9: only what its topic does not take is cut", place)
            must(want.value().startswith(record.value()), "I9: a cut dead letter is the begin of its record", place)
        else:
            must((record.key(), record.value()) == (want.key(), want.value()), "I9: dead letters are unchanged", place)
            own = want.headers() or []
            must((record.headers() or [])[:len(own)] == own, "I9: dead letters keep the sender's headers", place,
                 own, record.headers())
        must(headers.get("__streams.errors.offset") == str(want.offset()).encode(),
             "I9: dead letters name their origin", place, headers)
        must(headers.get("__streams.errors.exception"), "I9: dead letters have a reason", place, headers)
    must(len(poison) == len(records), "I9: one dead letter per poison record", f"partition {number}",
         f"{len(poison)} poison records, {len(records)} dead letters")
