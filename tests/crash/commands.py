"""A seeded stream of commands: mostly good ones, and a few of everything that may go wrong."""
import json
import random
import threading

from wire import msgpack_encode, partition_of

WAREHOUSES = ("W1", "W2", "W3")


class Generator:
    """Yields (partition, key, value, command id or None); the same seed gives the same records."""

    def __init__(self, seed, partitions, skus, mark="c"):
        self.random = random.Random(seed)
        self.partitions = partitions
        self.skus = skus
        self.mark = mark
        self.serial = 0
        self.lock = threading.Lock()
        self.sent = []  # (key, command) of a sample of commands, to repeat and to misuse

    def __call__(self, count):
        for _ in range(count):
            with self.lock:
                record = self.one()
            yield record

    def one(self):
        dice = self.random.random()
        if dice < 0.010 and self.sent:
            return self.repeat()
        if dice < 0.014 and self.sent:
            return self.reuse()
        if dice < 0.020:
            return self.poison()
        command = self.command()
        key = command["sku"].encode()
        if self.random.random() < 0.02:
            self.sent.append((key, command))
        partition = partition_of(key, self.partitions)
        if dice < 0.025:
            partition = (partition + 1 + self.random.randrange(self.partitions - 1)) % self.partitions
        return partition, key, self.encode(command), command["command_id"]

    def encode(self, command):
        if self.random.random() < 0.3:
            return msgpack_encode(command)
        return json.dumps(command, separators=(",", ":")).encode()

    def identity(self):
        self.serial += 1
        return f"{self.mark}-{self.serial}"

    def sku(self):
        # The square makes some SKUs hot, so that levels have long histories.
        return f"SKU-{int(self.random.random() ** 2 * self.skus):05d}"

    def command(self):
        make = self.random.choices((receive, adjust, ship, set_stock, mistaken), (60, 14, 14, 8, 4))[0]
        command = {"type": "", "command_id": self.identity(), "sku": self.sku(),
                   "warehouse": self.random.choice(WAREHOUSES)}
        make(self.random, command)
        if self.random.random() < 0.01:
            command["expected_version"] = self.random.randrange(5)
        return command

    def right_place(self, key, value, command_id=None):
        return partition_of(key, self.partitions), key, value, command_id

    def repeat(self):
        key, command = self.random.choice(self.sent)
        return self.right_place(key, self.encode(command), command["command_id"])

    def reuse(self):
        key, command = self.random.choice(self.sent)
        changed = {**command, "note": f"again {self.random.random()}"}
        return self.right_place(key, self.encode(changed), command["command_id"])

    def poison(self):
        sku = self.sku()
        key = sku.encode()
        good = {"type": "ReceiveStock", "command_id": self.identity(), "sku": sku, "warehouse": "W1", "quantity": 1}
        text = json.dumps(good)
        kind = self.random.randrange(10)
        if kind == 0:
            return self.right_place(key, None)
        if kind == 1:
            return self.right_place(key, b"hello")
        if kind == 2:
            return self.right_place(key, text[:-5].encode())
        if kind == 3:
            return self.right_place(key, text.replace("W1", "W\udc80").encode("utf-8", "surrogateescape"))
        if kind == 4:
            return self.right_place(key, text.replace(": 1}", ": 9223372036854775808}").encode())
        if kind == 5:
            return self.right_place(key, (text[:-1] + ', "quantity": 2}').encode())
        if kind == 6:
            return self.right_place(key, text.replace('"type"', '"kind"').encode())
        if kind == 7:
            return self.right_place(key, msgpack_encode(good)[:-1])
        if kind == 8:
            return self.random.randrange(self.partitions), None, text.encode(), None
        return self.right_place(b"another key", text.encode())


def receive(rnd, command):
    command.update(type="ReceiveStock", quantity=rnd.randint(1, 50))
    if rnd.random() < 0.1:
        command["bucket"] = rnd.choice(("SELLABLE", "DAMAGED", "QUALITY_CONTROL"))


def adjust(rnd, command):
    command.update(type="AdjustStock", delta=rnd.choice((-30, -7, -3, -1, 1, 2, 9)),
                   reason=rnd.choice(("CORRECTION", "CYCLE_COUNT", "SHRINKAGE", "FOUND")))
    if rnd.random() < 0.1:
        command["bucket"] = rnd.choice(("DAMAGED", "QUALITY_CONTROL"))
    if rnd.random() < 0.1:
        command["change_from"] = rnd.randint(0, 40)


def ship(rnd, command):
    command.update(type="ShipStock", quantity=rnd.randint(1, 60), shipment_id=f"s-{command['command_id']}")
    if rnd.random() < 0.05:
        command["force"] = True


def set_stock(rnd, command):
    command.update(type="SetStock", quantity=rnd.randint(0, 200),
                   change_from=None if rnd.random() < 0.8 else rnd.randint(0, 50))
    if rnd.random() < 0.2:
        command["name"] = "AVAILABLE"


def mistaken(rnd, command):
    """Decodable, but refused: a broken field rule, an unknown type, no reason."""
    kind = rnd.randrange(4)
    command.update(type="ReceiveStock", quantity=1)
    if kind == 0:
        command["quantity"] = 0
    elif kind == 1:
        command["colour"] = "red"
    elif kind == 2:
        command["type"] = "ReceiveStocks"
    else:
        command.update(type="AdjustStock", delta=1)
        del command["quantity"]
