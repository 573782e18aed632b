#!/usr/bin/env python3
"""What is read from callgrind's output, and how it is spread over stacks; the last test counts for real."""
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import callgrind  # noqa: E402

PROGRAM = "/bin/program"
# main calls step at 0x10 and 0x14; step calls read (in a library) and shared; read calls shared too.
OUTPUT = f"""# callgrind format
version: 1
positions: instr line
events: Ir

ob=(1) {PROGRAM}
fl=(1) main.c
fn=(1) main
0x10 1 5
cfn=(2) step
calls=1 0x20 10
* * 60
+4 +1 7
cfn=(2)
calls=1 0x20 10
* * 60

fn=(2)
0x20 10 20
cob=(2) /lib/libread.so.1.2
cfi=(2) ???
cfn=(3) read
calls=2 0x5 0
+2 +1 70
cfn=(4) shared.isra.0
calls=3 0x40 0
-1 * 30

ob=(2)
fl=(2)
fn=(3)
0x5 0 60
cob=(1)
cfi=(1)
cfn=(4)
calls=1 0x40 0
+1 0 10

ob=(1)
fl=(1)
fn=(4)
0x40 0 32
fe=(1)
+4 0 8
"""
MAIN, STEP, SHARED, INNER = ("main", "main.c"), ("step", "main.c"), ("shared", "main.c"), ("inner", "inner.h")
READ = ("libread: read", "/lib/libread.so.1.2")
CHAINS = {0x10: (MAIN,), 0x14: (MAIN,), 0x20: (STEP,), 0x22: (STEP, INNER), 0x21: (STEP,), 0x40: (SHARED,),
          0x44: (SHARED, INNER)}


class Parsing(unittest.TestCase):
    def setUp(self):
        self.functions = callgrind.parse(OUTPUT.splitlines(keepends=True))

    def test_names_are_written_once(self):
        self.assertEqual({n: f.name for n, f in self.functions.items()},
                         {"(1)": "main", "(2)": "step", "(3)": "read", "(4)": "shared.isra.0"})

    def test_objects_of_callees(self):
        self.assertEqual([self.functions[n].object for n in ("(2)", "(3)", "(4)")],
                         [PROGRAM, "/lib/libread.so.1.2", PROGRAM])

    def test_addresses_are_relative(self):
        self.assertEqual(dict(self.functions["(4)"].own), {0x40: 32, 0x44: 8})
        self.assertEqual(dict(self.functions["(2)"].calls), {(0x22, "(3)"): 70, (0x21, "(4)"): 30})

    def test_calls_are_not_own(self):
        self.assertEqual(dict(self.functions["(1)"].own), {0x10: 5, 0x14: 7})
        self.assertEqual(self.functions["(1)"].total(), 132)

    def test_addresses_of_the_program_alone(self):
        self.assertEqual(callgrind.addresses_in(self.functions, PROGRAM), sorted(CHAINS))


class Folding(unittest.TestCase):
    def fold(self, root, chains=None):
        functions = callgrind.parse(OUTPUT.splitlines())
        return callgrind.Stacks(functions, PROGRAM, CHAINS if chains is None else chains, root).fold()

    def test_every_count_is_in_one_stack(self):
        self.assertAlmostEqual(sum(self.fold("main").values()), 132)

    def test_what_has_two_callers_is_shared_out(self):
        folded = self.fold("step")
        self.assertAlmostEqual(sum(folded.values()), 120)
        self.assertAlmostEqual(folded[STEP, SHARED], 30 * 0.8)
        self.assertAlmostEqual(folded[STEP, SHARED, INNER], 30 * 0.2)
        self.assertAlmostEqual(folded[STEP, INNER, READ, SHARED], 10 * 0.8)
        self.assertAlmostEqual(folded[STEP, INNER, READ], 60)

    def test_a_root_may_be_inlined(self):
        folded = self.fold("inner")
        self.assertAlmostEqual(folded[INNER, READ], 60)
        self.assertAlmostEqual(folded[INNER,], 8)

    def test_without_debug_information_names_are_the_symbols(self):
        self.assertAlmostEqual(self.fold("step", {})[(("step", PROGRAM), ("shared", PROGRAM))], 30)

    def test_recursion_ends(self):
        lines = f"ob=(1) {PROGRAM}\nfn=(1) again\n0x1 0 10\ncfn=(1)\ncalls=1 0x1 0\n0x2 0 90\n"
        folded = callgrind.Stacks(callgrind.parse(lines.splitlines()), PROGRAM, {}, "again").fold()
        self.assertAlmostEqual(sum(folded.values()), 100)


class Names(unittest.TestCase):
    def test_suffixes(self):
        for name in ("sort", "sort.lto_priv.0", "sort.isra.0.cold", "sort.part.0.constprop.1", "sort'2"):
            self.assertEqual(callgrind.clean(name), "sort")
        self.assertEqual(callgrind.clean("std::sort<int>(int*)"), "std::sort<int>(int*)")

    def test_copies_made_at_link_time(self):
        chain = (("decode", "<artificial>"), ("decode", "a.c"), ("get", "<artificial>"))
        self.assertEqual(list(callgrind.real(chain)), [("decode", "a.c"), ("get", "<artificial>")])


SOURCE = """
static volatile unsigned sum;
static inline __attribute__((always_inline)) void many(void)
{
    for (unsigned i = 0; i < 100000; i++) sum += i;
}
__attribute__((noinline)) static void few(void)
{
    for (unsigned i = 0; i < 1000; i++) sum += i;
}
__attribute__((noinline)) static void work(void)
{
    many();
    few();
}
int main(void)
{
    work();
    return 0;
}
"""


class Counting(unittest.TestCase):
    def test_an_inlined_function_has_its_count(self):
        with tempfile.TemporaryDirectory() as folder:
            program, output = os.path.join(folder, "program"), os.path.join(folder, "out")
            subprocess.run(["gcc", "-O2", "-g1", "-x", "c", "-o", program, "-"], input=SOURCE, text=True, check=True)
            subprocess.run(["valgrind", "-q", "--tool=callgrind", "--dump-instr=yes",
                            f"--callgrind-out-file={output}", program], check=True)
            stacks = callgrind.stacks(output, program, "work")
        below = {}
        for stack, number in stacks.items():
            for name, _ in set(stack):
                below[name] = below.get(name, 0) + number
        self.assertEqual(set(below), {"work", "many", "few"})
        self.assertAlmostEqual(below["many"] / below["few"], 100, delta=2)
        self.assertLess(below["work"] - below["many"] - below["few"], 50)


if __name__ == "__main__":
    unittest.main()
