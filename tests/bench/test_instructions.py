#!/usr/bin/env python3
"""What the check of instructions per command says, and how stacks become parts. Counts nothing."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import instructions  # noqa: E402
from figures import Unusable  # noqa: E402

STORED = {"parts": {"decode": 1000.0, "poll": 10.0, "total": 2000.0}}


def verdicts(**parts):
    return list(instructions.verdicts({**STORED["parts"], **parts}, STORED))


def stack(*names):
    return tuple((name, "a.c") for name in names)


def one_of_each():
    """A stack of 100 instructions for every function that begins a part."""
    return {stack(instructions.WHOLE, name): 100.0 for names in instructions.PARTS.values() for name in names}


class Verdicts(unittest.TestCase):
    def test_within_the_room(self):
        self.assertEqual(verdicts(decode=1019.9), [])
        self.assertEqual(verdicts(decode=980.1), [])

    def test_more_names_the_part(self):
        (line,) = verdicts(decode=1021.0)
        self.assertRegex(line, "^decode: 1021.0 .* 21.0 more than stored .1000.0.: .*--part decode")

    def test_less_asks_to_store(self):
        (line,) = verdicts(decode=979.0)
        self.assertRegex(line, "^decode: 979.0 .* 21.0 less than stored .*instructions --store")

    def test_total_has_no_part_to_show(self):
        (line,) = verdicts(total=2041.0)
        self.assertRegex(line, "^total: .* 41.0 more than stored .2000.0.$")

    def test_a_small_part_may_differ_by_a_little(self):
        self.assertEqual(verdicts(poll=14.0), [])
        self.assertEqual(len(verdicts(poll=14.1)), 1)

    def test_a_part_that_is_not_stored(self):
        (line,) = verdicts(replies=1.0)
        self.assertRegex(line, "^replies: .*no stored figure.*instructions --store")


class Parts(unittest.TestCase):
    def test_the_innermost_part_has_it(self):
        stacks = one_of_each()
        before = instructions.parts_of(stacks, 10)
        stacks[stack(instructions.WHOLE, "decide_item", "put", "stream_task_apply", "get")] = 500.0
        stacks[stack(instructions.WHOLE, "turn")] = 20.0
        after = instructions.parts_of(stacks, 10)
        self.assertEqual(after["evolve"] - before["evolve"], 50)
        self.assertEqual(after["decide"], before["decide"])
        self.assertEqual(after["rest"], 2)
        self.assertEqual(after["total"], before["total"] + 52)

    def test_a_new_name_is_noticed(self):
        stacks = one_of_each()
        del stacks[stack(instructions.WHOLE, "stream_task_apply")]
        with self.assertRaisesRegex(Unusable, "no call of stream_task_apply"):
            instructions.parts_of(stacks, 1)

    def test_functions_of_one_part(self):
        stacks = {stack(instructions.WHOLE, "decide_item", "copy"): 30.0,
                  stack(instructions.WHOLE, "stream_task_apply", "copy"): 50.0}
        self.assertEqual(instructions.functions_of(stacks, 10, None), [["copy", 8.0, 8.0, "evolve"]])
        self.assertEqual(instructions.functions_of(stacks, 10, "decide"), [["copy", 3.0, 3.0, "decide"]])


if __name__ == "__main__":
    unittest.main()
