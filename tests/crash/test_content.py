#!/usr/bin/env python3
"""That the comparison of Postgres, Redis and RocksDB with the events finds what is missing, too many or another."""
import copy
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from content import Content, document_differences, must_equal, rocksdb_content, table_differences  # noqa: E402
from verdict import Violation  # noqa: E402

TIME = "2026-01-15T10:00:00.120Z"
LEVEL = dict.fromkeys(("damaged", "quality_control", "held", "reserved", "committed", "safety_stock", "incoming",
                       "backordered"), 0)


def received(seq, quantity, after, **more):
    return {"id": f"stock/1@{seq + 6}", "type": "StockReceived", "time": TIME, "causation_id": f"c-{seq}", "payload": {
        "sku": "S.1", "warehouse": "W", "seq": seq, "version": seq, "kind": "RECEIVE", "deltas": {"on_hand": quantity},
        "after": {"on_hand": after, "available": after}, **more}}


def product(version, *skus):
    return {"id": "catalogue/0@1", "type": "ProductUpdated", "time": TIME, "causation_id": "c", "payload": {
        "product_id": "P", "version": version, "product": {
            "product_id": "P", "slug": "s", "name": "N", "description": "", "status": "DRAFT", "category_ids": ["a"],
            "attributes": {}, "media": [], "version": version, "created_at": TIME, "updated_at": TIME,
            "variants": [{"sku": sku, "options": {}, "uom": "pcs", "scale": 0, "status": "ACTIVE", "prices": [
                {"price_id": "c", "kind": "BASE", "list": "default", "currency": "EUR", "amount_minor": 5}]}
                for sku in skus]}}}


def reservation(kind, attempt, *lines):
    return {"id": "reservation/0@1", "type": kind, "time": TIME, "causation_id": "c", "payload": {
        "reservation_id": "R", "version": 1, "state": "HOLDING", "ttl_s": 9, "attempt": attempt, "pending": len(lines),
        "lines": [{"line": number, "sku": "S.1", "quantity": 1, "warehouses": [], "state": "PENDING", "shipped": 0}
                  for number in lines]}}


class Contents(unittest.TestCase):
    def setUp(self):
        self.content = Content()
        self.content.take("stock", 1, received(1, 5, 5))
        self.content.take("stock", 1, received(2, 3, 8, setting={"policy": "BACKORDER", "backorder_limit": 4,
                                                                 "low_stock_threshold": None, "safety_stock": 0}))

    def test_last_level_and_all_entries(self):
        level = self.content.tables["stock_level"]["S.1", "W"]
        self.assertEqual((level["on_hand"], level["version"], level["policy"]), (8, 2, "BACKORDER"))
        self.assertEqual([key[2] for key in self.content.tables["ledger_entry"]], [1, 2])

    def test_variants_and_prices_that_a_product_no_longer_has(self):
        self.content.take("catalogue", 0, product(1, "A", "B"))
        self.content.take("catalogue", 0, product(2, "B"))
        self.assertEqual(list(self.content.tables["variant"]), [("B",)])
        self.assertEqual(list(self.content.tables["price"]), [("B", "c")])

    def test_lines_of_an_earlier_life(self):
        self.content.take("reservation", 0, reservation("ReservationRequested", 1, 1, 2))
        self.content.take("reservation", 0, reservation("ReservationRequested", 1, 1))
        self.assertEqual(list(self.content.tables["reservation_line"]), [("R", 1)])

    def test_rocksdb(self):
        after = {**LEVEL, "on_hand": 8}
        lines = [json.dumps({"topology": "stock", "partition": 1, "store": store, "key": key, "value": value})
                 for store, key, value in (
                     ("level", "S%2E1.W", {**after, "available": 8, "version": 2, "updated_at": TIME}),
                     ("setting", "S%2E1.W", {"policy": "BACKORDER", "backorder_limit": 4, "safety_stock": 0,
                                             "low_stock_threshold": None}),
                     *(("ledger", f"S%2E1.W.{seq}", {
                         "type": "StockReceived", "kind": "RECEIVE", "deltas": {"on_hand": moved}, "signals": [],
                         "after": {**LEVEL, "on_hand": left}, "command_id": f"c-{seq}", "recorded_at": TIME,
                         "offset": seq + 6}) for seq, moved, left in ((1, 5, 5), (2, 3, 8))))]
        self.assertEqual(table_differences(self.content, rocksdb_content(lines).tables), [])
        found = table_differences(self.content, rocksdb_content(lines[:-1]).tables)
        self.assertEqual(len(found), 1)
        self.assertIn("ledger_entry ('S.1', 'W', 2) is missing", found[0])
        self.assertIn("on_hand is 8, expected 8", " ".join(table_differences(self.content, rocksdb_content(
            [lines[0].replace('"on_hand": 8', '"on_hand": "8"'), *lines[1:]]).tables)).replace("'", ""))

    def test_rows_of_other_tables(self):
        tables = copy.deepcopy(self.content.tables)
        tables["slug"]["s",] = {"product_id": "P"}
        tables["stock_level"]["S.1", "W"]["version"] = 1
        found = table_differences(self.content, tables)
        self.assertEqual(len(found), 2)
        with self.assertRaisesRegex(Violation, "I4.*\n.*has no event.*\n.*version is 1, expected 2"):
            must_equal("I4", found)

    def test_documents(self):
        self.content.take("catalogue", 0, product(1, "A"))
        want = self.content.redis()
        self.assertEqual(sorted(want), ["level:S.1", "product:P"])
        have = copy.deepcopy(want)
        self.assertEqual(document_differences(want, have), [])
        have["level:S.1"]["W"]["available"] = 7
        del have["product:P"]
        have["slug:old"] = "P"
        self.assertEqual(len(document_differences(want, have)), 3)


if __name__ == "__main__":
    unittest.main()
