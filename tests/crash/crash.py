#!/usr/bin/env python3
"""Makes trouble for `tally run` under load, again and again, and checks after each trouble that
nothing is lost, doubled or out of order. Shares no code with tally.

Exit status: 0 all invariants held, 1 one did not (it is named) or a rare path was not taken, 2 usage,
130 stopped.
"""
import argparse
import json
import os
import random
import signal
import sys

import packages

packages.use()

from faults import FAULTS, load_all  # noqa: E402
from long import Long  # noqa: E402
from rounds import ROUNDS_A_WORLD, Run, say  # noqa: E402

# Quick ones, for a run that names none.
USUAL = ("kill", "kill", "kill", "terminate", "broker-kill", "broker-stop", "broker-pause")
# What ./dev test runs: 16 engine and 2 broker kills, 8 kills under sagas, as many of them, Postgres and Redis under
# sinks, the poison corpus with its kills, a zombie, a commit in doubt.
CI = ("kill", "kill", "broker-kill", "sagas", "sinks", "poison", "zombie", "failpoint-errors")
CI_SITES = ["commit.before"]  # of the last one: a commit whose outcome is in doubt
# I12: paths that it must have taken by the end.
CI_RARE = ("in doubt", "zombies", "restored", "dead-lettered", "forwarded")


def pick(options):
    """Groups of names: rounds that share a world, or one scenario."""
    names = options.faults or list(USUAL)
    if options.ci:
        chosen = [name for name in CI if name in FAULTS]
    elif options.in_order:
        chosen = names
    else:
        dice = random.Random(f"choice {options.seed}")
        chosen = []
        while len(chosen) < options.rounds:
            chosen += dice.sample(names, len(names))
        del chosen[options.rounds:]
    groups = []
    for name in chosen:
        fault = FAULTS[name]
        if (fault.scenario or not groups or len(groups[-1]) == ROUNDS_A_WORLD or FAULTS[groups[-1][0]].scenario
                or FAULTS[groups[-1][0]].broker != fault.broker):
            groups.append([])
        groups[-1].append(name)
    return groups


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=0, help="how many faults (default: 20, or each named one once)")
    parser.add_argument("--faults", type=lambda text: text.split(","), help="names from --list, joined by commas")
    parser.add_argument("--seed", default=str(random.randrange(100000)))
    parser.add_argument("--in-order", action="store_true", help="the named faults as they stand, in one world")
    parser.add_argument("--ci", action="store_true", help="what ./dev test runs")
    parser.add_argument("--list", action="store_true", help="print the faults")
    parser.add_argument("--long", action="store_true", help="all faults many times; goes on where it was stopped")
    parser.add_argument("--fresh", action="store_true", help="with --long: from the beginning")
    parser.add_argument("--workers", type=int, default=2, help="with --long: how many rounds run at once")
    parser.add_argument("--report", default=".run/crash-report.txt", help="of --long: a line for each round")
    parser.add_argument("--record", help="append a line for each round to this report")
    parser.add_argument("--tree", type=json.loads, help=argparse.SUPPRESS)  # what --long says is tested
    parser.add_argument("--skus", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=10, help="of the engine in a round of kill")
    parser.add_argument("--sites", type=lambda text: text.split(","), help="only these, in the faults about failpoints")
    parser.add_argument("--broker-kills", type=int, default=1, help="of the broker in a round of broker-kill")
    parser.add_argument("--tally", default=os.environ.get("TEST_TALLY", "build/dev/tally"), help="the program")
    parser.add_argument("--dir", default=".run/crash", help="for data, settings, state and logs")
    options = parser.parse_args()
    unknown = [name for name in options.faults or () if name not in FAULTS]
    if unknown:
        parser.error(f"no fault \"{unknown[0]}\": one of {', '.join(sorted(FAULTS))}")
    options.rounds = options.rounds or len(options.faults or ()) or 20
    if options.ci:
        options.sites = options.sites or CI_SITES
        options.kills, options.broker_kills = 8, 2
    options.dir, options.report = os.path.abspath(options.dir), os.path.abspath(options.report)
    return options


def main():
    load_all()
    options = parse()
    if options.list:
        for name, fault in sorted(FAULTS.items()):
            say(f"{name:18}{fault.about}")
        return 0
    if options.long:
        return Long(options).run()
    run = Run(options)
    groups = pick(options)
    say(f"seed {options.seed}, {sum(map(len, groups))} rounds, all under {run.folder}")
    try:
        for number, names in enumerate(groups):
            seed = options.seed if options.in_order else f"{options.seed}.{number}"
            if not run.group(names, seed):
                break
    finally:
        run.close()
    unseen = [path for path in CI_RARE if options.ci and not run.failed and not run.happened[path]]
    if unseen:
        say(f"VIOLATED I12: the run is invalid: {', '.join(unseen)} did not happen")
        run.failed += 1
    restarts = sorted(run.restarts)
    if restarts:
        say(f"{run.kills['engine']} engine and {run.kills['broker']} broker kills; running again after"
            f" {restarts[len(restarts) // 2]:.2f} s (median), {restarts[-1]:.2f} s (longest)")
    say(f"{run.passed} passed, {run.failed} failed" + (f", {run.skipped} skipped" if run.skipped else ""))
    return 1 if run.failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
