#!/usr/bin/env python3
"""Makes trouble for `tally run` under load, again and again, and checks after each trouble that
nothing is lost, doubled or out of order. Shares no code with tally.

Exit status: 0 all invariants held, 1 one did not (it is named) or a rare path was not taken, 2 usage.
"""
import argparse
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter

import packages

packages.use()

from broker import Broker  # noqa: E402
from faults import FAULTS, load_all  # noqa: E402
from verdict import Broken, Violation  # noqa: E402
from world import World  # noqa: E402

# Quick ones, for a run that names none.
USUAL = ("kill", "kill", "kill", "terminate", "broker-kill", "broker-stop", "broker-pause")
# What ./dev test runs: 16 engine and 2 broker kills.
CI = ("kill", "kill", "broker-kill", "poison", "zombie")
ROUNDS_A_WORLD = 5


def say(*words):
    print(*words, flush=True)


class Run:
    """One command: its broker, its worlds, what became of the rounds."""

    def __init__(self, options):
        self.options = options
        self.name = f"crash-{options.seed}-{int(time.time())}"
        self.brokers = 0
        self.broker = None
        self.passed, self.failed = 0, 0
        self.kills = Counter()
        self.restarts = []

    def start_broker(self, properties):
        """The one that runs, if it has these properties."""
        if self.broker and self.broker.running() and self.broker.asked == properties:
            return
        self.stop_broker()
        self.brokers += 1
        self.broker = Broker(os.path.join(self.options.dir, self.name, f"kafka-{self.brokers}"), properties)
        self.broker.asked = properties
        self.broker.start()

    def stop_broker(self):
        if self.broker:
            self.kills["broker"] += self.broker.kills
            self.broker.end()
            self.broker = None

    def group(self, names, seed):
        """Rounds that share a world. Returns whether all is well."""
        faults = [FAULTS[name] for name in names]
        self.start_broker(faults[0].broker)
        name = f"{self.name}-{seed}".replace("/", "-")
        world, keep = None, True
        done = 0
        try:
            world = World(self.options, self.broker, name, seed)
            if faults[0].scenario:
                self.play(world, faults[0], faults[0].run)
                done += 1
            else:
                world.begin()
                for fault in faults:
                    self.play(world, fault, self.round)
                    done += 1
                world.finish()
            keep = False
        except (Violation, Broken) as error:
            self.report(names[min(done, len(names) - 1)], names, seed, error, world)
        finally:
            if world:
                self.kills["engine"] += world.kills()
                self.restarts += world.restarts
                world.close(keep)
        if keep:
            self.stop_broker()
        else:
            shutil.rmtree(world.folder)
        return not keep

    def play(self, world, fault, run):
        begin, before, kills = time.monotonic(), Counter(world.happened), world.kills() + self.broker.kills
        world.fault = fault
        run(world)
        missed = [path for path in fault.needs if world.happened[path] <= before[path]]
        if missed:
            raise Violation(f"I12: the run is invalid: {', '.join(missed)} did not happen")
        rare = {path: n - before[path] for path, n in world.happened.items() if n > before[path]}
        self.passed += 1
        say(f"{fault.name}: ok, {world.kills() + self.broker.kills - kills} kills, {time.monotonic() - begin:.1f} s, "
            + ", ".join(f"{n} {path}" for path, n in sorted(rare.items())))

    def round(self, world):
        world.fault.run(world)
        world.settle()
        world.check()

    def report(self, name, names, seed, error, world):
        self.failed += 1
        say(f"VIOLATED in {name}, seed {seed}: {error}")
        say(f"repeat with: ./dev crash --seed {seed} --faults {','.join(names)} --in-order")
        say(f"logs, state and history: {world.folder if world else self.options.dir}")

    def close(self):
        self.stop_broker()
        if not self.failed:
            shutil.rmtree(os.path.join(self.options.dir, self.name), ignore_errors=True)


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
    parser.add_argument("--skus", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=10, help="of the engine in a round of kill")
    parser.add_argument("--broker-kills", type=int, default=1, help="of the broker in a round of broker-kill")
    parser.add_argument("--tally", default=os.environ.get("TEST_TALLY", "build/dev/tally"), help="the program")
    parser.add_argument("--dir", default=".run/crash", help="for data, settings, state and logs")
    options = parser.parse_args()
    unknown = [name for name in options.faults or () if name not in FAULTS]
    if unknown:
        parser.error(f"no fault \"{unknown[0]}\": one of {', '.join(sorted(FAULTS))}")
    options.rounds = options.rounds or len(options.faults or ()) or 20
    if options.ci:
        options.kills, options.broker_kills = 8, 2
    options.dir = os.path.abspath(options.dir)
    return options


def main():
    load_all()
    options = parse()
    if options.list:
        for name, fault in sorted(FAULTS.items()):
            say(f"{name:16}{fault.about}")
        return 0
    run = Run(options)
    groups = pick(options)
    say(f"seed {options.seed}, {sum(map(len, groups))} rounds, all under {os.path.join(options.dir, run.name)}")
    try:
        for number, names in enumerate(groups):
            seed = options.seed if options.in_order else f"{options.seed}.{number}"
            if not run.group(names, seed):
                break
    finally:
        run.close()
    restarts = sorted(run.restarts)
    if restarts:
        say(f"{run.kills['engine']} engine and {run.kills['broker']} broker kills; running again after"
            f" {restarts[len(restarts) // 2]:.2f} s (median), {restarts[-1]:.2f} s (longest)")
    say(f"{run.passed} passed, {run.failed} failed")
    return 1 if run.failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
