#!/usr/bin/env python3
"""How samples become stacks, and stacks a flame graph and a table. Samples nothing."""
import os
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import flame  # noqa: E402
import profile_stream  # noqa: E402

PROGRAM = "/bin/tally"
SAMPLED = f"""stream-1  2184
\t            e2bc memcpy+0x9c (/usr/lib/libc.so.6)
\t            1130 decide.lto_priv.0+0x30 ({PROGRAM})
\t            1010 main+0x10 ({PROGRAM})

stream-0  2183
\tffffffff815e4fc2 do_wp_page+0x72 ([kernel.kallsyms])
\t           20eb0 [unknown] (/usr/lib/libjemalloc.so.2)
\t           22754 [unknown] (/usr/lib/libjemalloc.so.2)
\t            3008 put+0x8 ({PROGRAM})

flush  2190
\t            5ab4 rocksdb::DB::Put(rocksdb::Slice const&)+0x4 (/usr/lib/librocksdb.so.7.8.3)
"""
KNOWN = {"main": 0x1000, "decide.lto_priv.0": 0x1100}  # there are several functions put


def inlined(program, addresses):
    assert (program, addresses) == (PROGRAM, [0x1010, 0x1130])
    return {0x1010: (("main", "a.c"),), 0x1130: (("decide", "b.c"), ("copy", "c.h"))}


class Folding(unittest.TestCase):
    def test_stacks_of_samples(self):
        folded = profile_stream.fold(profile_stream.samples(SAMPLED.splitlines()), PROGRAM, KNOWN, inlined)
        self.assertEqual(folded, {
            ("thread: stream", "main", "decide", "copy", "libc: memcpy"): 1,
            ("thread: stream", "put", "libjemalloc: [unknown]", "kernel: do_wp_page"): 1,
            ("thread: flush", "librocksdb: rocksdb::DB::Put(rocksdb::Slice const&)"): 1})


class Drawing(unittest.TestCase):
    STACKS = {("a", "b"): 60.0, ("a", "librocksdb: Get<int>(&)"): 30.0, ("a",): 10.0, ("a", "b", "tiny"): 0.001}

    def test_widths_are_shares(self):
        svg = xml.fromstring(flame.draw("title", "samples", self.STACKS))
        boxes = {}
        for group in svg.iter("{http://www.w3.org/2000/svg}g"):
            rect = group.find("{http://www.w3.org/2000/svg}rect")
            boxes[group.find("{http://www.w3.org/2000/svg}title").text.split(":")[0]] = rect.attrib
        whole = flame.WIDTH - 2 * flame.MARGIN
        self.assertEqual(set(boxes), {"a", "b", "librocksdb"})
        self.assertAlmostEqual(float(boxes["a"]["width"]), whole, delta=0.1)
        self.assertAlmostEqual(float(boxes["b"]["width"]), whole * 0.6, delta=0.1)
        self.assertAlmostEqual(float(boxes["librocksdb"]["x"]), flame.MARGIN + whole * 0.6, delta=0.1)
        self.assertLess(int(boxes["b"]["y"]), int(boxes["a"]["y"]))
        self.assertEqual(boxes["librocksdb"]["fill"], flame.COLOURS["librocksdb"])

    def test_table_is_by_own_share(self):
        self.assertEqual(list(flame.table(self.STACKS, 3))[1:],
                         ["  60.0%   60.0%  b", "  30.0%   30.0%  librocksdb: Get<int>(&)", "  10.0%  100.0%  a"])

    def test_recursion_counts_once(self):
        self.assertEqual(list(flame.table({("a", "b", "a"): 4.0}, 1))[1:], [" 100.0%  100.0%  a"])


if __name__ == "__main__":
    unittest.main()
