"""`./dev crash --long`: everything, many times, by a few workers at once. It may be stopped at any time:
the report says what is done, and the next run does what is missing."""
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

from faults import FAULTS
from report import ROOT, Report, Sums, bad, digest, tree
from rounds import ROUNDS_A_WORLD

HERE = os.path.dirname(os.path.abspath(__file__))
KILLS = {"kill": ("engine", 500), "broker-kill": ("broker", 100)}
A_ROUND = {"kill": 10, "broker-kill": 5}
# Until something has happened so often; and how often it does in a round, about.
HAPPENED = {"late": ("late EndTxn", 1000, 150)}
HAPPENED_ALL = {"sinks": {"tally killed": (30, 3), "postgres killed": (30, 2), "postgres stopped": (10, 1),
                          "redis killed": (30, 3), "redis emptied": (10, 1)}}
# A sweep each.
ROUNDS = dict.fromkeys(("failpoints", "failpoint-errors", "topics", "topics-refused", "big-state"), 1)
ROUNDS_OF_OTHERS = 2
ALONE = ("big-state",)  # at the end, by one worker: it measures
FAILURES_MAX = 10  # after so many there is enough to mend
# I12: paths that must have been taken by the end.
RARE = ("aborted", "in doubt", "fenced", "instance fenced", "restored", "dead-lettered", "forwarded",
        "rebalanced in a transaction", "producer replaced", "set aside", "enospc", "zombies")
BUGS = os.path.join(ROOT, "tests/bugs/run")


class Long:
    def __init__(self, options):
        self.options = options
        # A build in the meantime must not change what is tested, nor a commit what it is called.
        facts = tree()
        os.makedirs(options.dir, exist_ok=True)
        self.program = shutil.copy(options.tally, os.path.join(options.dir, f"tally-{int(time.time())}"))
        self.report = Report(options.report, {**facts, "program": digest(self.program)})
        self.lock = threading.Lock()
        self.running = {}  # seed of a process -> the names that it runs
        self.processes = set()
        self.serial = int(time.time())
        self.stopping = False
        self.alone = False

    def missing(self):
        """Names of what has to run yet, each as often; what runs now is counted as done. Long ones first."""
        lines = self.report.lines()
        sums = Sums(lines)
        done = Counter(line["seed"] for line in lines)
        now = [name for seed, names in self.running.items() for name in names[done[seed]:]]
        names = ["bugs"] if os.path.exists(BUGS) and not sums.rounds["bugs"] and "bugs" not in now else []
        for name in sorted(FAULTS, key=lambda name: (ROUNDS.get(name, ROUNDS_OF_OTHERS), name)):
            if name in KILLS:
                killed, target = KILLS[name]
                left = target - sums.kills[name, killed] - now.count(name) * A_ROUND[name]
                names += [name] * -(-max(left, 0) // A_ROUND[name])
            elif name in HAPPENED:
                path, target, a_round = HAPPENED[name]
                left = target - sums.happened[path] - now.count(name) * a_round
                names += [name] * -(-max(left, 0) // a_round)
            elif name in HAPPENED_ALL:
                names += [name] * max(-(-max(target - sums.happened[path], 0) // a_round) - now.count(name)
                                      for path, (target, a_round) in HAPPENED_ALL[name].items())
            else:
                names += [name] * max(ROUNDS.get(name, ROUNDS_OF_OTHERS) - sums.rounds[name] - now.count(name), 0)
        return names

    def next(self):
        """The next group of rounds: a sweep, or of the fault that has most left."""
        missing = [name for name in self.missing() if (name in ALONE) == self.alone]
        if not missing:
            return None
        first = missing[0]
        name = first if first not in FAULTS or first in ROUNDS else max(missing, key=missing.count)
        alone = name not in FAULTS or FAULTS[name].scenario
        return [name] * (1 if alone else min(missing.count(name), ROUNDS_A_WORLD))

    def work(self):
        while True:
            with self.lock:
                names = None if self.enough() else self.next()
                if not names:
                    return
                self.serial += 1
                seed, begin = str(self.serial), time.monotonic()
                process = subprocess.Popen(self.command(names, seed), cwd=ROOT)
                self.running[seed] = names
                self.processes.add(process)
            status = process.wait()
            with self.lock:
                del self.running[seed]
                self.processes.remove(process)
                if not self.stopping:
                    self.note(names[0], seed, status, time.monotonic() - begin)

    def enough(self):
        return self.stopping or sum(Sums(self.report.lines()).violations.values()) >= FAILURES_MAX

    def command(self, names, seed):
        if names == ["bugs"]:
            return [BUGS, "--crash"]
        return [sys.executable, os.path.join(HERE, "crash.py"), "--in-order", "--faults", ",".join(names),
                "--seed", seed, "--kills", str(A_ROUND["kill"]), "--broker-kills", str(A_ROUND["broker-kill"]),
                "--record", self.options.report, "--tree", json.dumps(self.report.tree), "--tally", self.program,
                "--dir", self.options.dir]

    def note(self, name, seed, status, seconds):
        """A line for what wrote none: the planted bugs, which have to be found, and what ended in mid-air,
        after some good rounds or before the first."""
        told = any(line["seed"] == seed and bad(line) for line in self.report.lines())
        if name == "bugs" or (status and not told):
            self.report.add(fault=name, seed=seed, engine_kills=0, broker_kills=0, happened={}, restarts=[],
                            seconds=round(seconds, 1), verdict="ok" if status == 0 else f"exit status {status}")

    def stop(self, *_):
        self.stopping = True
        for process in list(self.processes):
            process.terminate()

    def run(self):
        with open(self.options.report + ".lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                sys.exit(f"another run writes {self.options.report}")
            if self.options.fresh and os.path.exists(self.options.report):
                os.remove(self.options.report)
            signal.signal(signal.SIGTERM, self.stop)
            signal.signal(signal.SIGINT, self.stop)
            self.employ(self.options.workers)
            self.alone = True
            self.employ(1)
        return self.summary()

    def employ(self, count):
        workers = [threading.Thread(target=self.work) for _ in range(count)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def summary(self):
        sums = Sums(self.report.lines())
        failed = sum(sums.violations.values())
        missing = self.missing()
        print(sums.table())
        for line in self.report.lines():
            if line["verdict"] != "ok":
                print(f"{line['time']} {line['fault']}, seed {line['seed']}: {line['verdict']}")
        unseen = [path for path in RARE if not sums.happened[path]]
        if unseen and not missing:
            print(f"I12: the run is invalid: {', '.join(unseen)} did not happen")
        if missing:
            print("to do: " + ", ".join(f"{missing.count(name)} {name}" for name in sorted(set(missing))))
        skipped = sum(sums.skipped.values())
        print(f"{sum(sums.rounds.values()) - failed - skipped} passed, {failed} failed" +
              (f", {skipped} skipped" if skipped else ""), flush=True)
        os.remove(self.program)
        if failed or (unseen and not missing):
            return 1
        return 130 if missing else 0
