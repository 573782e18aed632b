#!/usr/bin/env python3
"""Where the time of the live path goes: a flame graph, .run/bench/profile-stream.svg, and the top functions.

  profile_stream.py perf        samples the tally process of the stream suite on a broker
  profile_stream.py callgrind   counts instructions of the fixed load of instructions.c; needs no broker
"""
import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "crash")]

import callgrind  # noqa: E402
import flame  # noqa: E402
import instructions  # noqa: E402
from figures import Unusable, say  # noqa: E402

FREQUENCY = 299  # Hz, of no round number, so that nothing periodic is met again and again
STACK_BYTES = 16384  # copied with each sample, to find the callers in
ROWS = 40


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=["perf", "callgrind"])
    parser.add_argument("--kafka", default=os.environ.get("TEST_KAFKA", "127.0.0.1:29192"))
    parser.add_argument("--release", default=os.path.join(ROOT, "build", "release"), help="folder of the programs")
    parser.add_argument("--records", type=int, default=1000000, help="commands, with perf")
    parser.add_argument("--skus", type=int, default=1000000)
    parser.add_argument("--keys", choices=["zipf", "uniform"], default="zipf")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dir", default=os.path.join(ROOT, ".run", "test", "bench"), help="for state and logs")
    parser.add_argument("--out", default=os.path.join(ROOT, ".run", "bench", "profile-stream.svg"))
    return parser.parse_args()


# --- perf ---------------------------------------------------------------------------------------


def symbols(program):
    """name -> address, of names that stand for one function only."""
    done = subprocess.run(["nm", "--defined-only", program], text=True, check=True, stdout=subprocess.PIPE)
    found = defaultdict(set)
    for line in done.stdout.splitlines():
        address, kind, name = line.split(" ", 2)
        if kind in "tTwW":
            found[name].add(int(address, 16))
    return {name: min(addresses) for name, addresses in found.items() if len(addresses) == 1}


FRAME = re.compile(r"\s+[0-9a-f]+ (?P<name>.*?)(?:\+0x(?P<offset>[0-9a-f]+))? \((?P<object>.*)\)$")


def samples(lines):
    """(thread, [(function, offset in it, object), ...] outermost first) of what perf script prints."""
    thread, frames = None, []
    for line in lines:
        if not line.strip():
            if thread is not None and frames:
                yield thread, frames
            thread, frames = None, []
        elif thread is None:
            thread = line.strip().rsplit(None, 1)[0]
        else:
            match = FRAME.match(line)
            if match:
                frames.insert(0, (match["name"], int(match["offset"] or "0", 16), match["object"]))
    if thread is not None and frames:
        yield thread, frames


def library_of(path):
    if path in ("[vdso]", "[unknown]"):
        return path[1:-1]
    return "kernel" if path.startswith("[") else os.path.basename(path).split(".so")[0]


def fold(sampled, program, known, inlined):
    """{stack of names: samples}; functions of the program with those that were inlined into them. known:
    symbols() of the program; inlined: addresses -> chains, callgrind.inlined."""
    sampled = [(re.sub(r"[-:/]?\d+$", "", thread), frames) for thread, frames in sampled]
    wanted = {known[name] + offset for _, frames in sampled for name, offset, where in frames
              if where == program and name in known}
    chains = inlined(program, sorted(wanted))
    folded = defaultdict(int)
    for thread, frames in sampled:
        stack = [f"thread: {thread}"]
        for name, offset, where in frames:
            if where == program:
                chain = chains.get(known[name] + offset if name in known else None)
                stack += [inner for inner, _ in chain] if chain else [callgrind.clean(name)]
            else:
                outside = f"{library_of(where)}: {callgrind.clean(name)}"
                if outside != stack[-1]:  # of a library without symbols all frames have one name
                    stack.append(outside)
        folded[tuple(stack)] += 1
    return dict(folded)


def run_under_perf(setup, data):
    """One run of the stream suite; perf starts tally, so that it sees all threads from their start."""
    from sides import Tally

    class Watched(Tally):
        def start(self):
            self.command = ["perf", "record", "-q", "-F", str(FREQUENCY), "--call-graph", f"dwarf,{STACK_BYTES}",
                            "-o", data, "--", *self.command]
            super().start()
            self.pid = self.until("started", self.child, every=0.01)

        def child(self):
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
                return int((file.read().split() or [0])[0])

        def stop(self):
            os.kill(self.pid, signal.SIGTERM)  # perf ends when tally has, and with its status
            try:
                status = self.process.wait(60)
            except subprocess.TimeoutExpired:
                os.kill(self.pid, signal.SIGKILL)
                status = self.process.wait()
            if status:
                raise Unusable(f"tally run under perf ended with {status}, see {self.log}")

    setup.load()
    setup.fresh_events()
    tally = Watched(setup, f"{setup.name}-profile", setup.state, {})
    try:
        tally.wait_series("tally_commands_total", setup.options.records)
        tally.check_work(setup.options.records)
    finally:
        tally.stop()


def by_perf(options):
    import packages
    packages.use()
    from setup import Setup

    options.tally, options.no_peer, options.quick = os.path.join(options.release, "tally"), True, False
    options.peer = options.results = None
    setup = Setup(options)
    data = os.path.join(setup.folder, "perf.data")
    try:
        run_under_perf(setup, data)
        done = subprocess.run(["perf", "script", "--no-inline", "-i", data, "-F", "comm,tid,ip,sym,symoff,dso"],
                              text=True, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    finally:
        setup.remove()
    program = os.path.realpath(options.tally)
    return fold(samples(done.stdout.splitlines()), program, symbols(program), callgrind.inlined), "samples"


# --- callgrind ----------------------------------------------------------------------------------


def by_callgrind(options):
    program = os.path.join(os.path.realpath(options.release), "bench_instructions")
    with tempfile.TemporaryDirectory() as folder:
        _, output = instructions.count(program, folder)
        stacks = instructions.stacks_of(program, output)
    folded = defaultdict(float)
    for stack, number in stacks.items():
        folded[tuple(name for name, _ in stack)] += number
    return dict(folded), "instructions"


def main():
    options = parse()
    try:
        stacks, unit = (by_perf if options.way == "perf" else by_callgrind)(options)
        if not stacks:
            raise Unusable(f"{options.way} saw nothing")
    except Unusable as error:
        say(f"profile: {error}")
        return 1
    os.makedirs(os.path.dirname(os.path.abspath(options.out)), exist_ok=True)
    with open(options.out, "w") as file:
        file.write(flame.draw(f"tally, load stream, {options.way}: {sum(stacks.values()):,.0f} {unit}", unit, stacks))
    print(*flame.table(stacks, ROWS), sep="\n")
    print(f"flame graph: {os.path.relpath(options.out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
