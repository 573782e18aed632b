#!/usr/bin/env python3
"""Suite `instructions`: how many instructions a command costs, by part, counted by callgrind on the fixed
load of instructions.c, with the release build's flags. Needs no broker and no quiet machine: what is counted
depends on the code, the compiler and the libraries alone.

  instructions.py               count twice, print one JSON document, compare with the stored figure
  instructions.py --part PART   the same, with the functions of one part only
  instructions.py --store       the same, and make it the stored figure
  instructions.py --check       count once; fail where a part is off the stored figure by more than ROOM
"""
import argparse
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict

import callgrind
from figures import Unusable, say

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
STORED = os.path.join(HERE, "instructions.json")
WHOLE = "tally_stream_thread_step"
# An instruction belongs to the innermost of these functions on its stack, else to "rest".
PARTS = {
    "poll": ["poll_batch"],
    "route": ["route_batch"],
    "decode": ["tally_command_decode_by"],
    "prefetch": ["tally_store_prefetch"],
    "decide": ["decide_item"],
    "encode": ["tally_event_encode"],
    "produce": ["take_decision", "tally_collector_flush"],
    "evolve": ["stream_task_apply"],
    "commit": ["stream_thread_commit"],
    "freeze": ["tally_store_commit"],
    "flush": ["flush_after_commit"],
}
BROKER = "/engine/memory_"  # stands in for Kafka: not counted
ROOM = 0.02  # of a part, and of the total
LEAST = 0.002  # of the total: by so much a part may differ in any case, as inlining moves code about
FUNCTIONS = 25


# --- counting -----------------------------------------------------------------------------------


def count(program, folder):
    """One run: what the program says, its commit and load; and the file that callgrind wrote."""
    state, output = os.path.join(folder, "state"), os.path.join(folder, "callgrind.out")
    shutil.rmtree(state, ignore_errors=True)
    os.mkdir(state)
    done = subprocess.run(
        ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", "--dump-instr=yes",
         f"--callgrind-out-file={output}", program, state],
        cwd=folder, env={"PATH": os.environ["PATH"], "LC_ALL": "C"}, text=True, capture_output=True)
    if done.returncode != 0:
        raise Unusable(f"{program} ended with {done.returncode} under valgrind:\n{done.stderr}")
    shutil.rmtree(state)
    return json.loads(done.stdout), output


def stacks_of(program, output):
    """{stack: instructions}, without the broker's."""
    folded = callgrind.stacks(output, program, WHOLE)
    if not folded:
        raise Unusable(f"nothing was counted below {WHOLE}")
    return {stack: number for stack, number in folded.items() if not any(BROKER in file for _, file in stack)}


def part_of(stack, owner):
    return next((owner[name] for name, _ in reversed(stack) if name in owner), "rest")


def parts_of(stacks, commands):
    """Instructions per command by part, and their sum."""
    owner = {name: part for part, names in PARTS.items() for name in names}
    parts = dict.fromkeys([*PARTS, "rest"], 0.0)
    seen = set()
    for stack, number in stacks.items():
        parts[part_of(stack, owner)] += number / commands
        seen.update(name for name, _ in stack)
    missing = [name for name in owner if name not in seen]
    if missing:
        raise Unusable(f"no call of {', '.join(missing)}: if it has another name now, PARTS in {__file__} must too")
    parts["total"] = sum(parts.values())
    return {part: round(number, 1) for part, number in parts.items()}


def functions_of(stacks, commands, only):
    """[name, own, with all below, the part with most of its own], by own count; of one part, or of all."""
    owner = {name: part for part, names in PARTS.items() for name in names}
    own, below, where = defaultdict(float), defaultdict(float), defaultdict(lambda: defaultdict(float))
    for stack, number in stacks.items():
        if only and part_of(stack, owner) != only:
            continue
        own[stack[-1][0]] += number / commands
        where[stack[-1][0]][part_of(stack, owner)] += number
        for name in {name for name, _ in stack}:
            below[name] += number / commands
    return [[name, round(own[name], 1), round(below[name], 1), max(where[name], key=where[name].get)]
            for name in sorted(own, key=own.get, reverse=True)]


# --- what it was counted with -------------------------------------------------------------------


def first_line(*command):
    return subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True).stdout.splitlines()[0]


def counted_with():
    """What the figure depends on besides tally's sources."""
    packages = ["librocksdb7.8", "libyajl2", "libxxhash0", "libjemalloc2", "libc6"]
    versions = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *packages], text=True,
                              stdout=subprocess.PIPE).stdout
    with open("/proc/cpuinfo") as file:
        flags = set(re.search(r"flags\s*:\s*(.*)", file.read())[1].split())
    return {"compiler": first_line("gcc", "--version"), "valgrind": first_line("valgrind", "--version"),
            "libraries": dict(line.split(" ") for line in versions.splitlines()),
            "cpu": "avx2" if "avx2" in flags else "no avx2"}


# --- comparing ----------------------------------------------------------------------------------


def stored_figure():
    try:
        with open(STORED) as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def change(new, old):
    return round((new - old) * 100 / old, 2) if old else None


def show(parts, stored, spread):
    old = stored["parts"] if stored else {}
    lines = [f"{'instructions per command':26}{'stored':>10}{'now':>10}{'change':>10}{'spread':>10}"]
    for part, number in parts.items():
        before = old.get(part)
        difference = f"{change(number, before):+.2f} %" if before else ""
        lines.append(f"  {part:24}{before or '':>10}{number:>10}{difference:>10}{f'{spread[part]:.3f} %':>10}")
    return "\n".join(lines)


def verdicts(parts, stored):
    """What is wrong, a line each."""
    old = stored["parts"]
    store = "store the new figure with `./dev bench instructions --store`"
    for part in [*parts, *(part for part in old if part not in parts)]:
        if part not in old or part not in parts:
            yield f"{part}: {'no stored figure' if part in parts else 'stored, but no part any more'}: {store}"
            continue
        number, difference = parts[part], parts[part] - old[part]
        if abs(difference) <= max(ROOM * old[part], LEAST * old["total"]):
            continue
        text = f"{part}: {number} instructions per command, {abs(difference):.1f} "
        if difference < 0:
            yield f"{text}less than stored ({old[part]}): {store}"
        elif part == "total":
            yield f"{text}more than stored ({old[part]})"
        else:
            yield (f"{text}more than stored ({old[part]}): `./dev bench instructions --part {part}` shows its "
                   "functions")


def check(program):
    """For CI: prints a line like that of a check program."""
    stored = stored_figure()
    if not stored:
        raise Unusable(f"{STORED} is missing: `./dev bench instructions --store`")
    with tempfile.TemporaryDirectory() as folder:
        said, output = count(program, folder)
        parts = parts_of(stacks_of(program, output), said["load"]["records"])
    wrong = list(verdicts(parts, stored))
    if said["load"] != stored["load"]:
        wrong.append(f"the load is {said['load']}, stored is {stored['load']}: `./dev bench instructions --store`")
    if wrong:
        print(*wrong, sep="\n")
        print(show(parts, stored, dict.fromkeys(parts, 0.0)))
        if counted_with() != stored["counted_with"]:
            print(f"the stored figure was counted with {stored['counted_with']}, this one with {counted_with()}")
    checks = len(parts) + 1
    print(f"{100 - 100 * len(wrong) // checks}%: Checks: {checks}, Failures: {len(wrong)}, Errors: 0")
    return not wrong


def document(said, counted, functions, stored):
    """As the other suites print them; the runs differ where anything but the code had a say."""
    parts = counted[0]
    with open("/proc/cpuinfo") as file:
        cpu = re.search(r"model name\s*:\s*(.*)", file.read())
    return {"suite": "instructions", "case": None, "commit": said["commit"],
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%F %H:%MZ"), "cores": os.cpu_count(),
            "cpu": cpu[1] if cpu else platform.machine(), "kernel": platform.release(),
            "load_average": os.getloadavg()[0], "quick": False,
            "broker": {"version": "none", "placement": "in memory, not counted"}, "load": said["load"],
            "counted_with": counted_with(), "tally": {"runs": counted}, "parts": parts,
            "spread_percent": round(max(spread_of(counted).values()), 3),
            "stored": stored["parts"] if stored else None,
            "change_percent": {part: change(number, stored["parts"].get(part)) for part, number in parts.items()}
            if stored else None,
            "functions": functions[:FUNCTIONS], "ratio": {}, "missing": [], "void": {}}


def spread_of(counted):
    return {part: abs(counted[1][part] - number) * 100 / number if number else 0.0
            for part, number in counted[0].items()}


def measure(program, results, store=False, only=None):
    """Two runs; prints the document and leaves it in the folder of results."""
    counted = []
    with tempfile.TemporaryDirectory() as folder:
        for run in (1, 2):
            say(f"counting, run {run} of 2")
            said, output = count(program, folder)
            stacks = stacks_of(program, output)
            counted.append(parts_of(stacks, said["load"]["records"]))
    stored = stored_figure()
    functions = functions_of(stacks, said["load"]["records"], only)
    say(show(counted[0], stored, spread_of(counted)))
    say(f"\n{'function':58}{'own':>10}{'below':>10}  mostly in")
    for name, own, below, part in functions[:FUNCTIONS]:
        say(f"  {name[:55]:56}{own:>10}{below:>10}  {part}")
    text = json.dumps(document(said, counted, functions, stored))
    print(text, flush=True)
    os.makedirs(results, exist_ok=True)
    with open(os.path.join(results, "instructions.json"), "w") as file:
        file.write(text + "\n")
    if store:
        with open(STORED, "w") as file:
            json.dump({"counted_with": counted_with(), "load": said["load"], "parts": counted[0]}, file, indent=1)
            file.write("\n")
        say(f"stored in {os.path.relpath(STORED, ROOT)}")


def run(setup):
    """As a suite of `bench all`."""
    measure(setup.helper("instructions"), setup.options.results)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "release", "bench_instructions"))
    parser.add_argument("--results", default=os.path.join(ROOT, ".run", "bench"), help="folder of the document")
    parser.add_argument("--store", action="store_true", help="make this the stored figure")
    parser.add_argument("--part", choices=[*PARTS, "rest"], help="show the functions of this part alone")
    parser.add_argument("--check", action="store_true", help="compare with the stored figure, for CI")
    options = parser.parse_args()
    program = os.path.abspath(options.program)
    try:
        if not os.access(program, os.X_OK):
            raise Unusable(f"{program} is missing: `./dev bench instructions` builds it")
        if options.check:
            return 0 if check(program) else 1
        measure(program, options.results, options.store, options.part)
    except Unusable as error:
        say(f"instructions: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
