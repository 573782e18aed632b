"""Compares what a run wrote with the model, and the state with both. Raises Violation."""
import json
from collections import Counter, namedtuple

from model import DEAD, EVENT, FORWARD_HEADER, FORWARDED, TOPOLOGIES
from model.aggregate import RETENTION_MS, ms_of, text_of
from model.compare import Messages, check_event
from model.invariants import Invariants
from verdict import must
from wire import msgpack_decode


Record = namedtuple("Record", "topic partition offset timestamp key value headers")


class Judge:
    def __init__(self, partitions, required, prefix=""):
        self.models = {
            topology: [kind(number, partitions, require_registration=required, prefix=prefix)
                       for number in range(partitions)] for topology, kind in TOPOLOGIES.items()}
        self.messages = Messages(partitions)
        self.invariants = Invariants(self.models)
        self.mine = Counter()  # records that were put and not seen yet
        self.counts = Counter()

    def put(self, topic, key, value):
        self.mine[topic, key, value] += 1

    def absorb(self, records):
        """All that is new after a run; everything has come to rest."""
        by_topic = {}
        for record in records:
            by_topic.setdefault(record.topic, []).append(record)
        expected = {name: {} for name in ("events", "commands-dlt")}
        forwards = Counter()
        for topology, models in self.models.items():
            for record in by_topic.get(topology + ".commands", ()):
                self.arrive(record, forwards)
                self.decide(topology, models[record.partition], record, expected, forwards)
        must(not +self.mine, "I1: every command that was put is in the log", list(+self.mine)[:3])
        must(not [one for one, count in forwards.items() if count], "I1: every misrouted command is forwarded once",
             [one for one, count in forwards.items() if count][:3])
        self.compare(by_topic, expected)
        self.messages.settle()
        self.invariants.at_rest()

    def arrive(self, record, forwards):
        place = record.topic, record.key, record.value
        if any(name == FORWARD_HEADER for name, _ in record.headers):
            forwards[place] -= 1
        elif self.mine[place]:
            self.mine[place] -= 1
        else:
            document = document_of(record.value)
            self.messages.arrive(record.topic, record.partition, record.key.decode(), document, record.timestamp)

    def decide(self, topology, model, record, expected, forwards):
        taken = model.take(record.offset, record.timestamp, record.key, record.value, record.headers)
        place = topology, record.partition
        if taken.what == EVENT:
            expected["events"].setdefault(place, []).append(taken)
            self.counts[taken.event["type"]] += 1
            if taken.rejection:
                self.counts[taken.rejection[0]] += 1
            for message in taken.messages:
                self.messages.expect(message)
            for (due, _), message in getattr(model, "timers", {}).items():
                self.messages.timer(due, message)
            self.invariants.take(topology, taken.event)
        elif taken.what == DEAD:
            expected["commands-dlt"].setdefault(place, []).append(record)
        elif taken.what == FORWARDED:
            forwards[record.topic, record.key, record.value] += 1
        self.counts[taken.what] += 1

    def compare(self, by_topic, expected):
        for topology, models in self.models.items():
            for partition in range(len(models)):
                place = topology, partition
                records = [one for one in by_topic.get(topology + ".events", ()) if one.partition == partition]
                wanted = expected["events"].get(place, [])
                for taken, record in zip(wanted, records):
                    event = document_of(record.value)
                    check_event(taken, record.key, event, f"{topology}.events/{partition}@{record.offset}")
                must(len(records) == len(wanted), "I1: one event per command", place, len(records), len(wanted),
                     [one.event for one in wanted[len(records):]][:1],
                     [document_of(one.value) for one in records[len(wanted):]][:1])
                letters = [one for one in by_topic.get(topology + ".commands-dlt", ()) if one.partition == partition]
                compare_dead(expected["commands-dlt"].get(place, []), letters, place)

    def check_state(self, lines):
        """I2: the rows of the state are the model's."""
        rows = {}
        for line in lines:
            row = json.loads(line)
            place = row["topology"], row["partition"], row["store"], row["key"]
            must(place not in rows, "I2: a row is in the state once", place)
            rows[place] = row["value"]
        for topology, models in self.models.items():
            for model in models:
                self.check_known(topology, model, rows)
        self.check_stock(rows)
        return rows

    @staticmethod
    def is_fresh(model, time):
        """Whether an outcome of that time must be in the state; what is older may have left it."""
        return model.time - ms_of(time) < RETENTION_MS

    def check_known(self, topology, model, rows):
        for (key, command_id), known in model.known.items():
            if not self.is_fresh(model, text_of(known.time)):
                continue
            row = rows.get((topology, model.number, "dedup", dumped(command_id, key)))
            must(row, "I2: every outcome is in the state", topology, command_id, key)
            have = row["fingerprint"], row["status"], row.get("code")
            must(have == (known.fingerprint, known.status, known.code), "I2: outcomes are those of the events",
                 topology, command_id, key, have, (known.fingerprint, known.status, known.code))

    def check_stock(self, rows):
        levels = {}
        for model in self.models["stock"]:
            for place, level in model.levels.items():
                levels["stock", model.number, "level", dumped(*place)] = level
        seen = {place for place in rows if place[0] == "stock" and place[2] == "level"}
        must(seen == levels.keys(), "I2: the levels of the state are those of the events", seen ^ levels.keys())
        for place, level in levels.items():
            row = rows[place]
            must(row["version"] == level.version and row["available"] == level.available
                 and row["backordered"] == level.backordered
                 and all(row[name] == number for name, number in level.items()), "I2: a level is that of its events",
                 place, row, dict(level), level.version)


def document_of(value):
    return json.loads(value) if value[:1] == b"{" else msgpack_decode(value)


def dumped(*parts):
    """A key as a dump writes it."""
    return ".".join("".join(f"%{ord(c):02X}" if c in "%.\x7f" or c < " " else c for c in part) for part in parts)


def shown(data):
    return "null" if data is None else data.hex()


def compare_dead(poison, letters, place):
    for record, letter in zip(poison, letters):
        headers = dict(letter.headers)
        must((letter.key, letter.value) == (record.key, record.value), "I9: dead letters are unchanged", place,
             shown(record.value), shown(letter.value))
        must(headers.get("__streams.errors.offset") == str(record.offset).encode(),
             "I9: dead letters name their origin", place, headers)
        must(headers.get("__streams.errors.exception"), "I9: dead letters have a reason", place, headers)
    must(len(poison) == len(letters), "I9: one dead letter per poison record", place,
         [shown(one.value) for one in poison[len(letters):]][:2],
         [shown(one.value) for one in letters[len(poison):]][:2])
