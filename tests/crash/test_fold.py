#!/usr/bin/env python3
"""The oracle's own parts that need no broker: each must see what it is there for."""
import copy
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fold import NUMBERS, Fold  # noqa: E402
from history import History  # noqa: E402
from model import DEAD, EVENT, FORWARDED, REPEAT  # noqa: E402
from model.stock import Stock  # noqa: E402
from verdict import Violation  # noqa: E402
from wire import partition_of  # noqa: E402


def received(command_id, offset, seq, quantity, before=0):
    after = before + quantity
    return {"id": f"stock/0@{offset}", "type": "StockReceived", "time": "t", "causation_id": command_id, "payload": {
        "sku": "S", "warehouse": "W", "seq": seq, "version": seq, "kind": "RECEIVE", "deltas": {"on_hand": quantity},
        "after": {"on_hand": after, "available": after},
        "outcome": {"command": "ReceiveStock", "fingerprint": "f", "status": "ACCEPTED"}}}


def level_row(on_hand, version):
    numbers = dict.fromkeys(NUMBERS, 0)
    return {"store": "level", "key": "S.W",
            "value": {**numbers, "on_hand": on_hand, "available": on_hand, "version": version, "updated_at": "t"}}


class Folding(unittest.TestCase):
    def setUp(self):
        self.fold = Fold()
        self.fold.take(0, "S", received("c-1", 0, 1, 5))

    def refused(self, invariant, call, *arguments):
        with self.assertRaises(Violation) as caught:
            call(*arguments)
        self.assertTrue(str(caught.exception).startswith(invariant), caught.exception)

    def test_next_event(self):
        self.fold.take(0, "S", received("c-2", 1, 2, 3, before=5))
        self.assertEqual([shown[0] for shown in self.fold.history["S", "W"]], [5, 8])

    def test_second_outcome(self):
        self.refused("I3", self.fold.take, 0, "S", received("c-1", 7, 2, 3, before=5))

    def test_version_left_out(self):
        self.refused("I5", self.fold.take, 0, "S", received("c-2", 1, 3, 3, before=5))

    def test_version_twice(self):
        self.refused("I5", self.fold.take, 0, "S", received("c-2", 1, 1, 3, before=5))

    def test_broken_chain(self):
        self.refused("I2", self.fold.take, 0, "S", received("c-2", 1, 2, 3, before=6))

    def test_available_is_wrong(self):
        event = received("c-2", 1, 2, 3, before=5)
        event["payload"]["after"]["available"] = 7
        self.refused("I2", self.fold.take, 0, "S", event)

    def test_rows(self):
        self.refused("I2", self.fold.compare, level_row(6, 1))
        self.refused("I2", self.fold.all_compared)
        self.refused("I2", self.fold.compare, {**level_row(5, 1), "key": "S.X"})

    def test_all_rows(self):
        for (store, key), value in copy.deepcopy(self.fold.expected).items():
            self.fold.compare({"store": store, "key": key, "value": value})
        self.fold.all_compared()
        self.refused("I2", self.fold.compare, level_row(5, 1))


class Modelling(unittest.TestCase):
    def test_what_becomes_of_records(self):
        home = partition_of(b"S", 4)
        good = b'{"type":"ReceiveStock","command_id":"c","sku":"S","warehouse":"W","quantity":1}'
        posted = b'{"type":"ReceiveStock","id":"h","version":"1.0","payload":{"sku":"S","warehouse":"W","quantity":2}}'
        partition = Stock(home, 4, require_registration=False)
        self.assertEqual(partition.take(0, 7, b"S", good).what, EVENT)
        self.assertEqual(partition.take(1, 7, b"S", good).what, REPEAT)
        self.assertEqual(partition.take(2, 7, b"S", good[:-1]).what, DEAD)
        self.assertEqual(partition.take(3, 7, b"S", posted).event["payload"]["after"], {"on_hand": 3, "available": 3})
        self.assertEqual(Stock((home + 1) % 4, 4).take(0, 7, b"S", good).what, FORWARDED)


class Remembering(unittest.TestCase):
    def test_told_only_when_on_disk(self):
        with tempfile.TemporaryDirectory() as folder:
            history = History(os.path.join(folder, "history"))
            history.told("c-1", b"S", partition=0, offset=3)
            self.assertEqual(history.news(), [])
            history.sync()
            self.assertEqual(history.news(), [{"told": "c-1", "key": "S", "partition": 0, "offset": 3}])
            self.assertEqual(history.news(), [])
            history.close()


if __name__ == "__main__":
    unittest.main()
