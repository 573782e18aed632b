"""The oracle: what every record of the commands topic must lead to, decided independently.

`Partition.take` is called with the committed records of one partition of the commands topic in offset
order. It knows the state of that partition and answers with what must be on the events topic.
"""
from corpus import strict
from wire import partition_of

EVENT, REPEAT, FORWARDED, DEAD = "event", "repeat", "forwarded", "dead letter"
FORWARD_HEADER = "tally-forwarded"
TOPOLOGY = "stock"
# A batch of one record that a commands topic takes, and what is around its key and value.
TOPIC_BYTES, FRAME_BYTES, MARK_BYTES = 1048588, 73, 21
PAST, FUTURE = "2020", "2100"  # years of deadlines that are over, or far away


class Level:
    __slots__ = ("on_hand", "damaged", "quality_control", "version")

    def __init__(self):
        self.on_hand = self.damaged = self.quality_control = self.version = 0

    def sellable(self):
        return self.on_hand - self.damaged - self.quality_control

    def bucket(self, name):
        return self.sellable() if name == "SELLABLE" else getattr(self, name.lower())

    def add(self, name, quantity):
        self.on_hand += quantity
        if name != "SELLABLE":
            setattr(self, name.lower(), self.bucket(name) + quantity)

    def after(self):
        """As events show it: on_hand and available always, the others when they are not zero."""
        numbers = {"on_hand": self.on_hand, "available": self.sellable()}
        numbers.update({n: getattr(self, n) for n in ("damaged", "quality_control") if getattr(self, n)})
        if self.sellable() < 0:
            numbers["backordered"] = -self.sellable()
        return numbers


class Partition:
    def __init__(self, number, partitions):
        self.number = number
        self.partitions = partitions
        self.levels = {}
        self.known = set()  # (key, command id)
        self.command_id = None  # of the record taken last
        self.counts = dict.fromkeys((EVENT, REPEAT, FORWARDED, DEAD), 0)

    def take(self, offset, key, value, headers=()):
        """(EVENT, expected event) or one of the other words with None."""
        self.command_id = None
        try:
            command = strict.decode(value)
            strict.key_fits(command, key, TOPOLOGY)
        except strict.Poison:
            return self.count(DEAD), None
        self.command_id = command.id
        if partition_of(key, self.partitions) != self.number and command.type != "ApplyWarehouse":
            return self.count(DEAD if stays(key, value, headers) else FORWARDED), None
        identity = (key, self.command_id)
        if identity in self.known:
            return self.count(REPEAT), None
        self.known.add(identity)
        expected = {"id": f"stock/{self.number}@{offset}", "causation_id": command.id, "key": key}
        expected.update(self.decide(command))
        return self.count(EVENT), expected

    def count(self, what):
        self.counts[what] += 1
        return what

    def decide(self, command):
        kind = command.type
        if kind not in strict.TOPICS[TOPOLOGY]:
            return refused("UNKNOWN_COMMAND")
        if strict.rules_broken(command):
            return refused("VALIDATION_FAILED")
        command = command.fields
        if "deadline" in command and not command["deadline"] > FUTURE:
            assert command["deadline"] < PAST
            return refused("DEADLINE_EXCEEDED")
        place = (command["sku"], command["warehouse"])
        level = self.levels.get(place) or Level()
        expected = command.get("expected_version")
        if expected is not None and expected != level.version:
            return refused("VERSION_CONFLICT")
        outcome = DECIDE[kind](level, command)
        if "fact" in outcome:
            level.version += 1
            self.levels[place] = level
            outcome.update(sku=place[0], warehouse=place[1], seq=level.version, after=level.after())
        return outcome


def stays(key, value, headers):
    """A misrouted command that was forwarded before, or has no room for the mark of a forward."""
    size = FRAME_BYTES + len(key) + len(value) + sum(len(n) + len(v or b"") + 2 for n, v in headers or ())
    return any(name == FORWARD_HEADER for name, _ in headers or ()) or size + MARK_BYTES > TOPIC_BYTES


def refused(code):
    return {"type": "CommandRejected", "status": "REJECTED", "code": code}


def fact(kind):
    return {"type": kind, "status": "ACCEPTED", "fact": True}


def receive(level, command):
    level.add(command.get("bucket", "SELLABLE"), command["quantity"])
    return fact("StockReceived")


def adjust(level, command):
    bucket = command.get("bucket", "SELLABLE")
    if "reason" not in command:
        return refused("REASON_REQUIRED")
    if "change_from" in command and command["change_from"] != level.bucket(bucket):
        return refused("CHANGE_FROM_STALE")
    if level.bucket(bucket) + command["delta"] < 0:
        return refused("NEGATIVE_ON_HAND")
    level.add(bucket, command["delta"])
    return fact("StockAdjusted")


def set_stock(level, command):
    now = level.on_hand if command.get("name", "ON_HAND") == "ON_HAND" else level.sellable()
    if command["change_from"] is not None and command["change_from"] != now:
        return refused("CHANGE_FROM_STALE")
    delta = command["quantity"] - now
    if delta == 0:
        return {"type": "CommandAccepted", "status": "ACCEPTED"}
    if level.sellable() + delta < 0:
        return refused("NEGATIVE_ON_HAND")
    level.add("SELLABLE", delta)
    return fact("StockAdjusted")


def ship(level, command):
    if not command.get("force") and command["quantity"] > level.sellable():
        return refused("INSUFFICIENT_STOCK")
    level.add("SELLABLE", -command["quantity"])
    return fact("StockShipped")


DECIDE = {"ReceiveStock": receive, "AdjustStock": adjust, "SetStock": set_stock, "ShipStock": ship}
