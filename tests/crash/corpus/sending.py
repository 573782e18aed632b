"""Puts the corpus on its topics, and finds out what became of each record.

A producer for each codec, so that every record reaches the broker in the form that its row asks for.
What became of a record is read from the topics, never asked of tally.
"""
from confluent_kafka import Producer

from corpus.records import ACCEPTED, DEAD, FORWARDED, REJECTED
from corpus.strict import home
from topics import Reader
from wire import msgpack_decode

ERRORS = "__streams.errors."
ADDED = {ERRORS + name for name in ("exception", "message", "stacktrace", "topic", "partition", "offset")} | {
    "tally.attempt", "tally.first-failed-at", "tally.task"}
CUT = "tally.cut"  # of a letter whose record is larger than its topic takes
DEAD_LETTER_ROOM = 65536  # a dead-letter topic takes so much more than its input


class Sender:
    """Sends items at once, each to its partition; the broker's answers are in `places` and `refused`."""

    def __init__(self, kafka, prefix, partitions):
        self.kafka, self.prefix, self.partitions = kafka, prefix, partitions
        self.producers = {}
        self.places = {}  # name of the item -> (partition, offset)
        self.refused = {}  # name -> the broker's error

    def producer(self, codec):
        if codec not in self.producers:
            self.producers[codec] = Producer({
                "bootstrap.servers": self.kafka, "enable.idempotence": True, "compression.type": codec,
                "message.max.bytes": 128 * 1024 * 1024, "batch.size": 1000000, "linger.ms": 2,
                "queue.buffering.max.kbytes": 1048576})
        return self.producers[codec]

    def send(self, item):
        def delivered(error, message):
            if error:
                self.refused[item.name] = str(error)
            else:
                self.places[item.name] = (message.partition(), message.offset())

        producer = self.producer(item.codec)
        more = {} if item.timestamp is None else {"timestamp": item.timestamp}
        producer.produce(self.prefix + item.topic, value=item.value, key=item.key, headers=item.headers or None,
                         partition=item.partition(self.partitions), on_delivery=delivered, **more)
        producer.poll(0)

    def flush(self):
        for producer in self.producers.values():
            if producer.flush(60):
                raise RuntimeError("the broker did not answer for every record of the corpus within 60 s")


class Ledger:
    """Committed records of a topology's three topics since the ledger was made, and what they say
    about single commands."""

    def __init__(self, kafka, prefix, topology, partitions):
        self.topology, self.partitions = topology, partitions
        names = {"commands": ".commands", "events": ".events", "dead": ".commands-dlt"}
        self.readers = {part: Reader(kafka, prefix + topology + tail, partitions) for part, tail in names.items()}
        self.letters = {}  # (partition, offset) of the record -> dead letters
        self.events = {}  # (partition, offset) of the command -> events
        self.copies = {}  # "partition@offset" of the record -> forwarded copies
        self.commands = {}  # (partition, offset) -> record
        self.failed_at = {}

    def read(self):
        for partition, records in self.readers["commands"].read().items():
            for record in records:
                self.commands[partition, record.offset()] = record
                for name, value in record.headers() or ():
                    if name == "tally-forwarded" and value:
                        self.copies.setdefault(value, []).append(record)
        for partition, records in self.readers["dead"].read().items():
            for record in records:
                if origin(record) is not None:
                    self.letters.setdefault(origin(record), []).append(record)
        for partition, records in self.readers["events"].read().items():
            for record in records:
                event = msgpack_decode(record.value())
                place = (partition, int(event["id"].rsplit("@", 1)[1]))
                self.events.setdefault(place, []).append((record, event))

    def close(self):
        for reader in self.readers.values():
            reader.close()


def last(record, name):
    """The last header of a name: what tally adds stands behind what was there."""
    values = [value for header, value in record.headers() or () if header == name]
    return values[-1] if values else None


def origin(letter):
    try:
        return int(last(letter, ERRORS + "partition")), int(last(letter, ERRORS + "offset"))
    except (TypeError, ValueError):
        return None


def wrong_with(item, place, ledger):
    """What does not hold about one item; empty: all is well."""
    letters, events = ledger.letters.get(place, []), ledger.events.get(place, [])
    copies = ledger.copies.get(f"{place[0]}@{place[1]}".encode(), [])
    expected = {DEAD: (1, 0, 0), FORWARDED: (0, 0, 1), ACCEPTED: (0, 1, 0), REJECTED: (0, 1, 0)}[item.expect]
    found = (len(letters), len(events), len(copies))
    if found != expected:
        return [f"has {found[0]} dead letters, {found[1]} events, {found[2]} forwarded copies, not {expected}"]
    if letters:
        return wrong_with_letter(item, place, letters[0], ledger)
    if copies:
        return wrong_with_copy(item, copies[0], ledger)
    return wrong_with_event(item, events[0][1])


def wrong_with_letter(item, place, letter, ledger):
    wrong = []
    reason = (last(letter, ERRORS + "exception") or b"").decode()
    if reason not in item.detail:
        wrong.append(f"reason is {reason}, not {' or '.join(sorted(item.detail))}")
    if letter.partition() != place[0]:
        wrong.append(f"is in partition {letter.partition()}, the record was in {place[0]}")
    if last(letter, ERRORS + "topic").decode() != ledger.readers["commands"].topic:
        wrong.append("names another topic")
    original, headers = ledger.commands[place], letter.headers() or []
    own = original.headers() or []
    if CUT in dict(headers):
        if item.size() < 1024 * 1024:
            wrong.append("was cut although it is not large")
        return wrong
    if (letter.key(), letter.value()) != (original.key(), original.value()):
        wrong.append("key or value differs")
    if headers[:len(own)] != own or {name for name, _ in headers[len(own):]} != ADDED or \
            len(headers) != len(own) + len(ADDED):
        wrong.append(f"headers are {headers[:3]} ... {headers[-10:]}, were {own[:3]} ...")
    return wrong


def wrong_with_copy(item, copy, ledger):
    wrong = []
    if (copy.key(), copy.value()) != (item.key, item.value):
        wrong.append("key or value of the copy differs")
    if (copy.headers() or [])[:-1] != [(n, v) for n, v in item.headers]:
        wrong.append("headers of the copy differ")
    if copy.partition() != home(item.key, ledger.partitions):
        wrong.append(f"was forwarded to {copy.partition()}")
    if len(ledger.events.get((copy.partition(), copy.offset()), [])) != 1:
        wrong.append("the copy has no event")
    return wrong


def wrong_with_event(item, event):
    payload = event["payload"]
    code = payload.get("code") if event["type"] == "CommandRejected" else None
    if item.expect == REJECTED and code != item.detail:
        return [f"gave {event['type']} {code}, not {item.detail}"]
    if item.expect == ACCEPTED and (payload["outcome"]["status"] != "ACCEPTED" or
                                    (item.detail and event["type"] != item.detail)):
        return [f"gave {event['type']} {code}, not {item.detail}"]
    return []
