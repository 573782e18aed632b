"""Reads what callgrind counted with --dump-instr=yes, and spreads it over call stacks.

A release build inlines across files, so the functions that callgrind sees are not those of the sources.
Counts by instruction address together with addr2line give them back: every address has the chain of
functions that were inlined there, and both its own count and its calls belong to all of that chain.

callgrind knows callers and callees, not whole stacks. Where a function has several callers, what is below
it is shared out in proportion to what each call cost: exact for the calls themselves, an estimate below.
"""
import os
import re
import subprocess
from collections import defaultdict

SMALLEST = 2e-6  # of the total: what is less is not followed further down
DEPTH_MAX = 120


class Function:
    """As callgrind sees it: what stands in the program, whatever was inlined into it."""

    def __init__(self, name):
        self.name = name
        self.object = ""
        self.own = defaultdict(int)  # address -> count
        self.calls = defaultdict(int)  # (address, callee's id) -> count, with all that is below

    def total(self):
        return sum(self.own.values()) + sum(self.calls.values())


class Names:
    """callgrind writes a name once, "(3) name", and then only "(3)"."""

    def __init__(self):
        self.names = {}

    def read(self, text):
        number, _, name = text.partition(" ")
        if name:
            self.names[number] = name
        return number, self.names[number]


def stacks(path, program, root):
    """{stack: count} of what callgrind wrote to path; a stack is a tuple of (function, file), root first."""
    with open(path) as file:
        functions = parse(file)
    chains = inlined(program, addresses_in(functions, program))
    return Stacks(functions, program, chains, root).fold()


def parse(lines):
    """Functions by callgrind's number for them."""
    functions, objects, names = {}, Names(), Names()
    function = callee = None
    current_object = called_object = ""
    address = 0

    def find(text, of_object):
        number, name = names.read(text)
        found = functions.setdefault(number, Function(name))
        found.object = found.object or of_object
        return number

    for line in lines:
        line = line.rstrip("\n")
        first = line[:1]
        if first and (first in "+-*" or first.isdigit()):
            position, _, count = line.split(" ")
            if first == "+":
                address += int(position[1:], 0)
            elif first == "-":
                address -= int(position[1:], 0)
            elif first != "*":
                address = int(position, 0)
            if callee is None:
                functions[function].own[address] += int(count)
            else:
                functions[function].calls[address, callee] += int(count)
                callee = None
            continue
        key, equals, value = line.partition("=")
        if not equals:
            continue
        if key == "ob":
            current_object = objects.read(value)[1]
        elif key == "fn":
            function = find(value, current_object)
            called_object = ""
        elif key == "cob":
            called_object = objects.read(value)[1]
        elif key == "cfn":
            called = find(value, called_object or current_object)
            called_object = ""
        elif key == "calls":
            callee = called
    return functions


def clean(name):
    """Without what the compiler and callgrind put behind a name: decide.lto_priv.0, parse.part.1, sort'2."""
    return re.sub(r"\.(lto_priv|constprop|isra|part|cold|localalias)\b.*|'\d+$", "", name)


def inlined(program, addresses):
    """address -> (outermost function, ..., innermost), each as (name, its file)."""
    chains, chain = {}, None
    done = subprocess.run(["addr2line", "-a", "-i", "-f", "-e", program], text=True, check=True,
                          input="".join(f"{address:#x}\n" for address in addresses), stdout=subprocess.PIPE)
    lines = iter(done.stdout.splitlines())
    for line in lines:
        if re.match(r"0x[0-9a-f]{16}$", line):
            chain = chains[int(line, 16)] = []
        else:
            chain.insert(0, (clean(line), next(lines).rsplit(":", 1)[0]))
    return {address: tuple(real(chain)) for address, chain in chains.items()}


def real(chain):
    """Without the frames that link time optimisation makes for a function and its copy."""
    for i, (name, file) in enumerate(chain):
        if not (file.endswith("<artificial>") and i + 1 < len(chain) and chain[i + 1][0] == name):
            yield name, file


def addresses_in(functions, program):
    """Every address of the program where something was counted."""
    found = set()
    for function in functions.values():
        if function.object == program:
            found.update(function.own)
            found.update(address for address, _ in function.calls)
    return sorted(found)


class Stacks:
    """Counts by stack, from every call of `root` down; fold() gives them. chains: those of inlined()."""

    def __init__(self, functions, program, chains, root):
        self.functions = functions
        self.program = program
        self.chains = chains
        self.root = root
        self.bodies = {}

    def body(self, number):
        """What happens in a function: {chain: [own, {callee: count}]}, and the sum."""
        if number in self.bodies:
            return self.bodies[number]
        function = self.functions[number]
        ours = function.object == self.program
        library = "" if ours else os.path.basename(function.object).split(".so")[0] + ": "
        outside = ((library + clean(function.name), function.object),)
        parts = defaultdict(lambda: [0, defaultdict(int)])

        def chain_of(address):
            chain = self.chains.get(address, ()) if ours else ()
            return chain if chain and chain[0][0] != "??" else outside

        for address, count in function.own.items():
            parts[chain_of(address)][0] += count
        for (address, callee), count in function.calls.items():
            parts[chain_of(address)][1][callee] += count
        self.bodies[number] = parts, function.total()
        return self.bodies[number]

    def fold(self):
        folded = defaultdict(float)
        starts = []
        for number in self.functions:
            for chain, (own, calls) in self.body(number)[0].items():
                at = next((i for i, frame in enumerate(chain) if frame[0] == self.root), None)
                if at is not None:
                    starts.append((chain[at:], own, calls))
        smallest = SMALLEST * sum(own + sum(calls.values()) for _, own, calls in starts)
        for chain, own, calls in starts:
            folded[chain] += own
            for callee, count in calls.items():
                self.walk(callee, count, chain, smallest, folded)
        return dict(folded)

    def walk(self, number, amount, stack, smallest, folded):
        parts, total = self.body(number)
        if not total or len(stack) > DEPTH_MAX:
            folded[stack] += amount
            return
        share = amount / total
        for chain, (own, calls) in parts.items():
            here = stack + chain
            if own:
                folded[here] += own * share
            for callee, count in calls.items():
                if count * share < smallest:
                    folded[here] += count * share
                else:
                    self.walk(callee, count * share, here, smallest, folded)
