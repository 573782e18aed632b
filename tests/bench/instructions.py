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
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict

import callgrind

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
STORED = os.path.join(HERE, "instructions.json")
WHOLE = "tally_stream_thread_step"
# An instruction belongs to the innermost of these functions on its stack, else to "rest".
PARTS = {
    "poll": ["poll_batch"],
    "route": ["route_batch"],
    "decode": ["tally_command_decode"],
    "prefetch": ["tally_store_prefetch"],
    "decide": ["decide_item"],
    "encode": ["tally_event_encode"],
    "produce": ["take_decision", "tally_collector_flush"],
    "evolve": ["apply_event"],
    "commit": ["stream_thread_commit"],
    "freeze": ["tally_store_commit"],
    "flush": ["flush_after_commit"],
}
BROKER = "/engine/memory_"  # stands in for Kafka: not counted
ROOM = 0.02  # of a part, and of the total
LEAST = 0.002  # of the total: by so much a part may differ in any case, as inlining moves code about
FUNCTIONS = 25


class Unusable(Exception):
    """The measurement means nothing; the text says why."""


def say(*words):
    print(*words, file=sys.stderr, flush=True)


# --- counting -----------------------------------------------------------------------------------


def count(program, folder):
    """One run: (load, what callgrind wrote)."""
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


def conditions():
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
    say(f"{'instructions per command':26}{'stored':>10}{'now':>10}{'change':>10}{'spread':>10}")
    for part, number in parts.items():
        before = old.get(part)
        difference = "" if not before else f"{change(number, before):+.2f} %"
        say(f"  {part:24}{before or '':>10}{number:>10}{difference:>10}{f'{spread[part]:.3f} %':>10}")


def verdicts(parts, stored):
    """What is wrong, a line each."""
    old = stored["parts"]
    allowed = {part: max(ROOM * number, LEAST * old["total"]) for part, number in old.items()}
    for part, number in parts.items():
        difference = number - old.get(part, 0)
        if part not in old or abs(difference) <= allowed[part]:
            continue
        if difference > 0:
            yield (f"{part}: {number} instructions per command, {difference:.1f} more than stored ({old[part]}): "
                   f"`./dev bench instructions --part {part}` shows its functions" if part != "total" else
                   f"total: {number} instructions per command, {difference:.1f} more than stored ({old[part]})")
        else:
            yield (f"{part}: {number} instructions per command, {-difference:.1f} less than stored ({old[part]}): "
                   "store the new figure with `./dev bench instructions --store`")


def check(program, folder):
    """For CI: prints a line like that of a check program."""
    stored = stored_figure()
    if not stored:
        raise Unusable(f"{STORED} is missing: `./dev bench instructions --store`")
    load, output = count(program, folder)
    parts = parts_of(stacks_of(program, output), load["commands"])
    wrong = list(verdicts(parts, stored))
    if load != stored["load"]:
        wrong.append(f"the load is {load}, stored is {stored['load']}")
    for line in wrong:
        print(line)
    here = conditions()
    if wrong and here != stored["conditions"]:
        print(f"the stored figure was counted with {stored['conditions']}, this one with {here}")
    if wrong:
        show(parts, stored, dict.fromkeys(parts, 0.0))
    checked = len(parts)
    print(f"100%: Checks: {checked}, Failures: 0, Errors: 0" if not wrong else
          f"{100 - 100 * len(wrong) // checked}%: Checks: {checked}, Failures: {len(wrong)}, Errors: 0")
    return not wrong


def measure(program, folder, store, only):
    counted = []
    for run in (1, 2):
        say(f"counting, run {run} of 2")
        load, output = count(program, folder)
        stacks = stacks_of(program, output)
        counted.append(parts_of(stacks, load["commands"]))
    parts, again = counted
    spread = {part: abs(again[part] - number) * 100 / number if number else 0.0 for part, number in parts.items()}
    stored = stored_figure()
    functions = functions_of(stacks, load["commands"], only)
    show(parts, stored, spread)
    say(f"\n{'function':58}{'own':>10}{'below':>10}  mostly in")
    for name, own, below, part in functions[:FUNCTIONS]:
        say(f"  {name[:55]:56}{own:>10}{below:>10}  {part}")
    figure = {"conditions": conditions(), "load": load, "parts": parts}
    print(json.dumps({"suite": "instructions", "commit": first_line("git", "-C", ROOT, "rev-parse", "--short", "HEAD"),
                      **figure, "spread_percent": round(max(spread.values()), 3),
                      "stored": stored["parts"] if stored else None,
                      "change_percent": {part: change(number, stored["parts"].get(part))
                                         for part, number in parts.items()} if stored else None,
                      "functions": functions[:FUNCTIONS]}))
    if store:
        with open(STORED, "w") as file:
            json.dump(figure, file, indent=1)
            file.write("\n")
        say(f"stored in {os.path.relpath(STORED, ROOT)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "release", "bench_instructions"))
    parser.add_argument("--store", action="store_true", help="make this the stored figure")
    parser.add_argument("--part", choices=[*PARTS, "rest"], help="show the functions of this part alone")
    parser.add_argument("--check", action="store_true", help="compare with the stored figure, for CI")
    options = parser.parse_args()
    program = os.path.abspath(options.program)
    if not os.access(program, os.X_OK):
        say(f"instructions: {program} is missing: `./dev bench instructions` builds it")
        return 1
    try:
        with tempfile.TemporaryDirectory() as folder:
            if options.check:
                return 0 if check(program, folder) else 1
            measure(program, folder, options.store, options.part)
    except Unusable as error:
        say(f"instructions: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
