"""What the model expects against what is on the topics, letter by letter. Texts for people are tally's own."""
from collections import Counter, defaultdict

from model.aggregate import RETRYABLE
from verdict import must
from wire import partition_of

ERRORS_MOST = 20
POINTER_BYTES = 95


def differences(want, have, path=""):
    """The first few places in which two documents differ."""
    if isinstance(want, dict) and isinstance(have, dict):
        found = []
        for name in [*want, *(name for name in have if name not in want)]:
            if name not in have:
                found.append(f"{path}/{name} is missing, expected {want[name]!r}")
            elif name not in want:
                found.append(f"{path}/{name} is {have[name]!r}, expected none")
            else:
                found += differences(want[name], have[name], f"{path}/{name}")
        return found
    if isinstance(want, list) and isinstance(have, list) and len(want) == len(have):
        return [one for at, (a, b) in enumerate(zip(want, have)) for one in differences(a, b, f"{path}/{at}")]
    same = want == have and isinstance(want, bool) == isinstance(have, bool)
    return [] if same else [f"{path} is {have!r}, expected {want!r}"]


def check_event(taken, key, event, where):
    """I4: an event is the model's."""
    must(key == taken.key.encode(), "I4: an event has its command's key", where, key, taken.event)
    have = dict(event)
    payload = have["payload"] = dict(event["payload"])
    if taken.rejection:
        check_rejection(payload, *taken.rejection, where)
    found = differences(without_request(taken.event), without_request(have))
    must(not found, "I4: events are those of the model", where, *found[:6], event)


def without_request(event):
    """How an operation remembers what it was asked for is its own; what comes of it is not."""
    op = event["payload"].get("op", {})
    if "request" not in op:
        return event
    return {**event, "payload": {**event["payload"], "op": {**op, "request": None}}}


def check_rejection(payload, code, meta, broken, where):
    """Takes the members of a rejection out of the payload."""
    have = payload.pop("code", None)
    must(have == code, "I4: refusals are those of the model", where, f"{have} instead of {code} {meta}", payload)
    must(payload.pop("retryable", None) == (code in RETRYABLE), "I4: retryable is what its code says", where, payload)
    must(payload.pop("detail", ""), "I4: a refusal says why", where, code, payload)
    errors = payload.pop("errors", [])
    if code == "UNKNOWN_COMMAND":
        return
    must(0 < len(errors) <= ERRORS_MOST, "I4: a refusal has its errors", where, code, errors)
    if broken is None:
        must(errors[0]["code"] == code, "I4: the first error is the refusal's", where, code, errors)
        found = [one for name, item in meta.items()
                 for one in differences(item, errors[0].get("meta", {}).get(name), "meta/" + name)]
        must(not found, "I4: a refusal says what it is about", where, code, *found, errors)
    elif len(errors) < ERRORS_MOST:
        named = {error["pointer"].split("/")[1] for error in errors}
        told = {pointer(name) for name in broken}
        must(named == told, "I4: every broken rule is named", where, f"{named} instead of {told}")


def pointer(name):
    """The first part of a pointer to a field: escaped (RFC 6901), cut before a character that has no room."""
    text, left = "", POINTER_BYTES - len("/")
    for character in name:
        character = {"~": "~0", "/": "~1"}.get(character, character)
        left -= len(character.encode())
        if left < 0:
            break
        text += character
    return text


class Messages:
    """Commands that tally sends itself: every one of a committed event is on its topic exactly once, and no
    other. Timers may come twice, and not before they are due."""

    def __init__(self, partitions):
        self.partitions = partitions
        self.expected, self.arrived = defaultdict(list), defaultdict(list)
        self.timers, self.counts = {}, Counter()

    def expect(self, message):
        partition = message.partition
        if partition is None:
            partition = partition_of(message.key.encode(), self.partitions)
        self.expected[message.topic, partition, message.key, message.id].append(message)

    def timer(self, due, message):
        self.timers[message.topic, message.key, message.id] = (due, message)

    def arrive(self, topic, partition, key, document, timestamp):
        self.arrived[topic, partition, key, document.get("id")].append((document, timestamp))

    def settle(self):
        """All records that there are were seen. I10 is not asked: nothing is kept that was matched."""
        for place in [*self.arrived]:
            for document, timestamp in self.arrived.pop(place):
                self.match(place, document, timestamp)
        left = [message for messages in self.expected.values() for message in messages]
        self.expected.clear()
        must(not left, "I4: every message of a committed event is on its topic", *left[:4])

    def match(self, place, document, timestamp):
        topic, _, key, identity = place
        waiting = self.expected.get(place)
        if waiting:
            self.counts[document["type"]] += 1
            check_message(waiting.pop(0), document, place)
            return
        due, message = self.timers.get((topic, key, identity), (None, None))
        must(message, "I4: no message without its event, and none twice", place, document)
        must(timestamp >= due, "I4: no timer before it is due", place, timestamp, due)
        check_message(message, document, place)


def check_message(message, document, place):
    want = {"id": message.id, "type": message.kind, "payload": message.payload}
    if message.cause:
        want["correlation_id"], want["causation_id"] = message.cause.correlation_id, message.cause.id
        if message.cause.actor is not None:
            want["actor"] = message.cause.actor
    have = {name: item for name, item in document.items() if name not in ("version", "source", "time")}
    found = differences(want, have)
    must(not found, "I4: messages are those of the model", place, *found[:6], document)
