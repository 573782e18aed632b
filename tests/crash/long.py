"""`./dev crash --long`: everything, many times, by two workers at once. It may be stopped at any time:
the report says what is done, and the next run does what is missing."""
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

from faults import FAULTS
from report import ROOT, Report, Sums
from rounds import ROUNDS_A_WORLD

HERE = os.path.dirname(os.path.abspath(__file__))
WORKERS = 2
KILLS = {"kill": ("engine", 500), "broker-kill": ("broker", 100)}
A_ROUND = {"kill": 10, "broker-kill": 5}
ROUNDS = {"failpoints": 1, "failpoint-errors": 1}  # a sweep each
ROUNDS_OF_OTHERS = 3
FAILURES_MAX = 10  # after so many there is enough to mend
# I12: paths that must have been taken by the end.
RARE = ("in doubt", "fenced", "restored", "dead-lettered", "forwarded", "rebalanced in a transaction")
BUGS = os.path.join(ROOT, "tests/bugs/run")


class Long:
    def __init__(self, options):
        self.options = options
        if options.fresh and os.path.exists(options.report):
            os.remove(options.report)
        self.report = Report(options.report)
        self.lock = threading.Lock()
        self.running = {}  # process -> the names that it runs
        self.serial = int(time.time())
        self.stopping = False

    def missing(self):
        """Names of faults, each as often as it has to run yet; those that run now are counted as done."""
        sums = Sums(self.report.lines())
        now = [name for names in self.running.values() for name in names]
        names = []
        for name in sorted(FAULTS):
            if name in KILLS:
                killed, target = KILLS[name]
                left = target - sums.kills[name, killed] - now.count(name) * A_ROUND[name]
                names += [name] * -(-max(left, 0) // A_ROUND[name])
            else:
                names += [name] * max(ROUNDS.get(name, ROUNDS_OF_OTHERS) - sums.rounds[name] - now.count(name), 0)
        return names

    def next(self):
        """The next group of rounds: the fault that has most left."""
        missing = self.missing()
        if not missing:
            return None
        name = max(sorted(set(missing)), key=missing.count)
        return [name] * (1 if FAULTS[name].scenario else min(missing.count(name), ROUNDS_A_WORLD))

    def work(self):
        while True:
            with self.lock:
                names = None if self.enough() else self.next()
                if not names:
                    return
                process = self.start(names)
            process.wait()
            with self.lock:
                del self.running[process]

    def enough(self):
        return self.stopping or sum(Sums(self.report.lines()).violations.values()) >= FAILURES_MAX

    def start(self, names):
        self.serial += 1
        process = subprocess.Popen([
            sys.executable, os.path.join(HERE, "crash.py"), "--in-order", "--faults", ",".join(names),
            "--seed", str(self.serial), "--kills", str(A_ROUND["kill"]), "--broker-kills", str(A_ROUND["broker-kill"]),
            "--record", self.options.report, "--tally", self.options.tally, "--dir", self.options.dir])
        self.running[process] = names
        return process

    def plant_bugs(self):
        """The planted bugs, which have to be found; once."""
        if self.stopping or not os.path.exists(BUGS) or any(line["fault"] == "bugs" for line in self.report.lines()):
            return
        begin = time.monotonic()
        done = subprocess.run([BUGS, "--crash"], stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT)
        last = done.stdout.strip().rsplit("\n", 1)[-1]
        print(done.stdout, flush=True)
        self.report.add(fault="bugs", seed="", engine_kills=0, broker_kills=0, happened={}, restarts=[],
                        seconds=round(time.monotonic() - begin, 1),
                        verdict="ok" if done.returncode == 0 else f"not all were found: {last}")

    def stop(self, *_):
        self.stopping = True
        for process in list(self.running):
            process.terminate()

    def run(self):
        with open(self.options.report + ".lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                sys.exit(f"another run writes {self.options.report}")
            signal.signal(signal.SIGTERM, self.stop)
            signal.signal(signal.SIGINT, self.stop)
            workers = [threading.Thread(target=self.work) for _ in range(WORKERS)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            self.plant_bugs()
        return self.summary()

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
        print(f"{sum(sums.rounds.values()) - failed} passed, {failed} failed", flush=True)
        if failed or (unseen and not missing):
            return 1
        return 130 if missing else 0
