#!/usr/bin/env python3
"""Kills `tally run` with SIGKILL in the middle of its work, again and again, and checks after every
restart that nothing is lost, doubled or out of order. Shares no code with tally.

Rounds alternate: in `flow` commands arrive while tally runs and is killed; in `backlog` they wait for
it, so that it is killed while it catches up. Some rounds kill it a second time during its restart.
Exit status: 0 all invariants held, 1 one did not (it is named), 2 usage.
"""
import argparse
import os
import random
import shutil
import sys
import threading
import time

import packages

packages.use()

from commands import Generator  # noqa: E402
from model import DEAD, EVENT, FORWARDED, REPEAT  # noqa: E402
from instance import Broken, Instance, all_running, position  # noqa: E402
from oracle import Oracle, Violation, check_directories  # noqa: E402
from topics import Ends, Reader, Writer  # noqa: E402

PARTITIONS = 4
PLURALS = {EVENT: "events", REPEAT: "repeats", FORWARDED: "forwards", DEAD: "dead letters"}


def say(*words):
    print(*words, flush=True)


class Crash:
    def __init__(self, options):
        self.options = options
        self.random = random.Random(f"kills {options.seed}")
        self.name = f"crash-{options.seed}-{int(time.time())}"
        self.folder = os.path.join(os.path.abspath(options.dir), self.name)
        self.tally = Instance(options.tally, self.folder, options.kafka, self.name)
        self.generator = Generator(options.seed, PARTITIONS, options.skus)
        self.kills = 0
        self.restarts = []  # seconds from start to all tasks running

    def prepare(self):
        self.tally.tool("topics", "create", "--topics.partitions", str(PARTITIONS))
        prefix = self.name + "."
        self.writer = Writer(self.options.kafka, prefix + "stock.commands")
        self.oracle = Oracle(self.options.kafka, prefix, PARTITIONS)
        self.ends = Ends(Reader(self.options.kafka, prefix + "stock.commands", PARTITIONS))
        self.tally.start()
        self.wait_running()
        # An instance that ends before the first command has a state but no offset in the group.
        self.tally.stop()
        self.tally.start()
        self.wait_running()

    def wait_running(self):
        return self.tally.wait("running", lambda tasks: all_running(tasks, PARTITIONS))

    def kill(self):
        self.tally.kill()
        self.kills += 1

    def restart(self):
        begin = self.tally.start()
        if self.random.random() < 0.3:
            time.sleep(self.random.uniform(0.02, 1.5))
            self.kill()
            begin = self.tally.start()
        self.restarts.append(self.wait_running() - begin)

    def flow(self, records):
        """Killed while commands arrive."""
        seconds = self.options.seconds
        sender = threading.Thread(target=self.writer.send, args=(records, seconds))
        sender.start()
        time.sleep(self.random.uniform(0.1, 0.9) * seconds)
        self.kill()
        self.restart()
        sender.join()

    def backlog(self, records):
        """Killed while it catches up with what came when it was down."""
        self.kill()
        self.writer.send(records)
        self.tally.start()
        begin = self.positions(self.tally.tasks())
        self.tally.wait("moving", lambda tasks: self.positions(tasks) > begin)
        time.sleep(self.random.uniform(0, 0.25))
        self.kill()
        self.restart()

    def positions(self, tasks):
        return sum(position(row) for row in tasks.values())

    def settle(self):
        """Until every task has read its input; forwarded commands make it longer on the way."""
        ends = self.ends.now()
        while True:
            self.tally.wait("settled", lambda tasks: all_running(tasks, PARTITIONS) and all(
                position(row) >= ends[p] and row["lag"] == 0 for p, row in tasks.items()))
            now = self.ends.now()
            if now == ends:
                return
            ends = now

    def round(self, number):
        kind = "flow" if number % 2 else "backlog"
        records = list(self.generator(self.options.commands))
        kills = self.kills
        (self.flow if kind == "flow" else self.backlog)(records)
        self.settle()
        before = self.oracle.counts()
        self.oracle.check_log()
        self.oracle.check_state(self.dump())
        check_directories(self.tally.state)
        counts = {what: n - before[what] for what, n in self.oracle.counts().items()}
        say(f"round {number}/{self.options.rounds} {kind}: {self.kills - kills} kills, running again after"
            f" {self.restarts[-1]:.2f} s, " + ", ".join(f"{n} {PLURALS[what]}" for what, n in counts.items()) + ": ok")

    def dump(self, *arguments):
        return self.tally.tool("fsck", "--dump", *arguments).splitlines()

    def finish(self):
        """A clean stop and a restore from nothing leave the same state."""
        live = self.dump()
        self.tally.stop()
        stopped = self.dump("--state", self.tally.state)
        if stopped != live:
            raise Violation("the state on disk is the state that was served: " + first_difference(live, stopped))
        shutil.move(self.tally.state, self.tally.state + ".before")
        begin = self.tally.start()
        seconds = self.wait_running() - begin
        restored = self.dump()
        if restored != live:
            raise Violation("a restore gives the same state: " + first_difference(live, restored))
        self.tally.stop()
        say(f"clean stop and restore of {len(live)} rows in {seconds:.2f} s: ok")


def first_difference(one, other):
    for left, right in zip(one, other):
        if left != right:
            return f"{left} became {right}"
    return f"{len(one)} rows became {len(other)}"


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--commands", type=int, default=100000, help="per round")
    parser.add_argument("--skus", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=3, help="how long commands of a flow round arrive")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kafka", default="127.0.0.1:29192")
    parser.add_argument("--tally", default="build/release/tally", help="the program")
    parser.add_argument("--dir", default=".run/test/crash", help="for settings, state and logs")
    return parser.parse_args()


def main():
    options = parse()
    crash = Crash(options)
    say(f"seed {options.seed}, {options.rounds} rounds of {options.commands} commands, all under {crash.folder}")
    try:
        crash.prepare()
        for number in range(1, options.rounds + 1):
            crash.round(number)
        crash.finish()
    except (Violation, Broken) as error:
        say(f"VIOLATED after {crash.kills} kills, seed {options.seed}: {error}")
        return 1
    finally:
        if crash.tally.process and crash.tally.process.poll() is None:
            crash.tally.process.kill()
    restarts = sorted(crash.restarts)
    say(f"all invariants held over {crash.kills} kills; running again after"
        f" {restarts[len(restarts) // 2]:.2f} s (median), {restarts[-1]:.2f} s (longest)")
    shutil.rmtree(crash.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
