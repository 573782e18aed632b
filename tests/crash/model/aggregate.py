"""What is common to all topologies: checks 1 to 5 of domain.md 5, ids that are known, time, outcomes.

A partition is given the committed records of its commands topic in offset order. `take` answers with what
must have come of one: a `Taken`. Each topology adds `decide_<type>` methods, which look at state and return an
`Outcome`, and `fold`, which puts what an event says into the state; live decisions fold their own events, so an
event that does not carry enough goes wrong here too.
"""
import re
from datetime import datetime, timezone

from corpus import strict
from corpus.rules import TOPICS, rules_broken
from model.fingerprint import fingerprint
from wire import partition_of

EVENT, REPEAT, FORWARDED, DEAD = "event", "repeat", "forwarded", "dead letter"
FORWARD_HEADER = "tally-forwarded"
# A batch of one record that a commands topic takes, and what is around its key and value.
TOPIC_BYTES, FRAME_BYTES, MARK_BYTES = 1048588, 73, 21
RETENTION_MS = 7 * 24 * 3600 * 1000  # of outcomes, ended holds, tombstones
SAGA_MS = 30000
RETRYABLE = {"UNKNOWN_SKU", "UNKNOWN_WAREHOUSE", "CONTENDED", "OPERATION_IN_PROGRESS", "OPERATION_TIMED_OUT",
             "DEADLINE_EXCEEDED"}


def ms_of(text):
    match = re.fullmatch(r"(.{19})(?:\.(\d{1,9}))?Z", text)
    whole = datetime.strptime(match[1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return int(whole.timestamp()) * 1000 + int((match[2] or "").ljust(3, "0")[:3])


def text_of(ms):
    whole = datetime.fromtimestamp(ms // 1000, timezone.utc)
    return whole.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


class Refusal(Exception):
    """Ends a decision with a code and what errors[0].meta must say at least."""

    def __init__(self, code, **meta):
        super().__init__(code)
        self.code, self.meta = code, meta


class Message:
    def __init__(self, topic, key, kind, parts, payload, partition=None):
        self.topic, self.key, self.kind, self.partition = topic, key, kind, partition
        self.id = "~" + ":".join((kind, *map(str, parts)))
        self.payload = {name: item for name, item in payload.items() if item is not None}
        self.cause = None  # the command that sent it; None: a timer
        self.not_before = None

    def __repr__(self):
        return f"{self.topic}[{self.key}] {self.id} {self.payload}"


class Outcome:
    """A fact, or the acceptance without one when kind is None."""

    def __init__(self, kind=None, payload=None, sends=(), pending=False, completes=None, refusal=None):
        self.kind, self.payload, self.sends, self.pending = kind, payload, list(sends), pending
        self.completes = completes  # the operation that ends
        self.refusal = refusal  # its Refusal, None: accepted


class Taken:
    """One record's end. event: the expected envelope. rejection: (code, meta, broken names) of its payload, whose
    texts are tally's own."""

    def __init__(self, what, command_id=None, key=None):
        self.what, self.command_id, self.key = what, command_id, key
        self.event, self.messages, self.rejection = None, [], None


class Known:
    __slots__ = ("time", "fingerprint", "status", "code")

    def __init__(self, time, stamp, code):
        self.time, self.fingerprint, self.status, self.code = time, stamp["fingerprint"], stamp["status"], code


class Partition:
    topology = None
    broadcast = ()

    def __init__(self, number, partitions, prefix="", **settings):
        self.number, self.partitions, self.prefix, self.settings = number, partitions, prefix, settings
        self.known = {}  # (key, command id) -> Known
        self.time = 0  # of the last event
        self.counts = dict.fromkeys((EVENT, REPEAT, FORWARDED, DEAD), 0)
        # of the record being decided
        self.now = self.offset = self.key = None

    def take(self, offset, timestamp, key, value, headers=()):
        try:
            command = strict.decode(value)
            strict.key_fits(command, key, self.topology)
        except strict.Poison:
            return self.count(Taken(DEAD))
        if partition_of(key, self.partitions) != self.number and command.type not in self.broadcast:
            return self.count(Taken(DEAD if stays(key, value, headers) else FORWARDED, command.id))
        self.now, self.offset, self.key = max(timestamp, self.time), offset, key.decode()
        known = self.known.get((self.key, command.id))
        if known and self.now - known.time < RETENTION_MS:
            return self.count(Taken(REPEAT, command.id))
        command.format = "JSON" if value[:1] == b"{" else "MSGPACK"
        command.reply = reply_of(command, headers)
        return self.count(self.decided(command))

    def count(self, taken):
        self.counts[taken.what] += 1
        return taken

    def decided(self, command):
        taken = Taken(EVENT, command.id, self.key)
        command.fingerprint = fingerprint(command.type, command.fields)
        try:
            outcome = self.outcome_of(command)
            kind, payload = outcome.kind or "CommandAccepted", outcome.payload or {"key": self.key}
            status = "PENDING" if outcome.pending else "ACCEPTED"
            taken.messages = outcome.sends
            if outcome.completes:
                payload = {**payload, "completes": completion(outcome)}
                if outcome.refusal:
                    taken.rejection = (outcome.refusal.code, outcome.refusal.meta, None)
        except Refusal as refusal:
            kind, payload, status = "CommandRejected", {"key": self.key}, "REJECTED"
            taken.rejection = (refusal.code, refusal.meta, getattr(refusal, "broken", None))
            taken.messages = self.refused(command, refusal)
        payload = {**payload, "outcome": {"command": command.type, "fingerprint": command.fingerprint,
                                          "status": status}}
        taken.event = {"id": f"{self.topology}/{self.number}@{self.offset}", "type": kind, "version": "1.0",
                       "source": f"tally/{self.topology}", "time": text_of(self.now),
                       "correlation_id": command.correlation_id, "causation_id": command.id, "payload": payload}
        if command.actor is not None:
            taken.event["actor"] = command.actor
        for message in taken.messages:
            message.cause = command
        self.time = self.now
        code = taken.rejection[0] if taken.rejection else None
        self.known[self.key, command.id] = Known(self.now, payload["outcome"], None if "completes" in payload else code)
        if "completes" in payload:
            self.known[self.key, payload["completes"]["command_id"]] = Known(self.now, payload["completes"], code)
        self.fold(kind, payload)
        return taken

    def outcome_of(self, command):
        if command.type not in TOPICS[self.topology]:
            raise Refusal("UNKNOWN_COMMAND")
        broken = rules_broken(command, self.topology)
        if broken:
            refusal = Refusal("VALIDATION_FAILED")
            refusal.broken = broken
            raise refusal
        if "deadline" in command.fields and self.now > ms_of(command.fields["deadline"]):
            raise Refusal("DEADLINE_EXCEEDED")
        return getattr(self, "decide_" + snake(command.type))(command, command.fields)

    def refused(self, command, refusal):
        """Messages that a refusal of this command owes."""
        return []

    def fold(self, kind, payload):
        raise NotImplementedError

    def expect_version(self, fields, actual):
        if fields.get("expected_version", actual) != actual:
            raise Refusal("VERSION_CONFLICT", expected=fields["expected_version"], actual=actual)

    def over(self, time):
        """Whether what ended at that time counts as absent."""
        return self.now - time >= RETENTION_MS

    def at(self, ms=0):
        return text_of(self.now + ms)


def completion(outcome):
    op = outcome.completes
    return {"command_id": op["op_id"], "command": op["command"], "fingerprint": op["fingerprint"],
            "status": "REJECTED" if outcome.refusal else "ACCEPTED"}


def operation(command, **more):
    """What an event says of the command that begins a saga."""
    op = {"op_id": command.id, "command": command.type, "fingerprint": command.fingerprint, "reply": command.reply}
    return {name: item for name, item in {**op, **more}.items() if item is not None}


def reply_of(command, headers):
    """Where the reply goes, if one is asked for."""
    asked = {name: item for name, item in headers or ()}
    if not re.fullmatch(rb"(.*\.)?replies", asked.get("reply-topic") or b""):
        return None
    reply = {"topic": asked["reply-topic"].decode(), "format": command.format}
    if "correlation-id" in asked:
        reply["correlation_id"] = asked["correlation-id"].decode()
    return reply


def snake(name):
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def stays(key, value, headers):
    """A misrouted command that was forwarded before, or has no room for the mark of a forward."""
    size = FRAME_BYTES + len(key) + len(value) + sum(len(n) + len(v or b"") + 2 for n, v in headers or ())
    return any(name == FORWARD_HEADER for name, _ in headers or ()) or size + MARK_BYTES > TOPIC_BYTES
