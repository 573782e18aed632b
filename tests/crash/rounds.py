"""Runs faults: worlds and brokers for them, and the verdict of each round."""
import os
import shutil
import time
import traceback
from collections import Counter

from broker import Broker
from faults import FAULTS
from report import Report
from verdict import Broken, Skipped, Violation, must
from world import World

ROUNDS_A_WORLD = 5


def say(*words):
    print(*words, flush=True)


class Round:
    """What happens from now on, to one fault."""

    def __init__(self, name, world, broker):
        self.name = name
        self.world, self.broker = world, broker
        self.begin = time.monotonic()
        self.before = Counter(world.happened)
        self.kills = world.kills(), broker.kills
        self.restarts = len(world.restarts)

    def missed(self):
        return [path for path in FAULTS[self.name].needs if self.world.happened[path] <= self.before[path]]

    def check_kept(self):
        """I11: only what damages a state directory may cost one."""
        self.world.count_paths()
        if FAULTS[self.name].wipes:
            return
        for path in ("set aside", "rebuilt"):
            must(self.world.happened[path] == self.before[path], "I11: no state directory is given up",
                 f"{self.world.happened[path] - self.before[path]} {path}")
        self.world.check_kept()

    def facts(self):
        happened = {path: n - self.before[path] for path, n in self.world.happened.items() if n > self.before[path]}
        return {"fault": self.name, "engine_kills": self.world.kills() - self.kills[0],
                "broker_kills": self.broker.kills - self.kills[1], "happened": happened,
                "restarts": [round(seconds, 3) for seconds in self.world.restarts[self.restarts:]],
                "seconds": round(time.monotonic() - self.begin, 1)}


class Run:
    """One command: its broker, its worlds, what became of the rounds."""

    def __init__(self, options):
        self.options = options
        self.name = f"crash-{options.seed}-{int(time.time())}"
        self.folder = os.path.join(options.dir, self.name)
        os.makedirs(self.folder)
        # A build in the meantime must not change what is tested.
        options.tally = shutil.copy(options.tally, self.folder)
        self.brokers = self.worlds = 0
        self.broker = None
        self.report = Report(options.record, options.tree) if options.record else None
        self.passed = self.failed = self.skipped = 0
        self.kills, self.happened = Counter(), Counter()
        self.restarts = []

    def start_broker(self, properties):
        """The one that runs, if it has these properties."""
        if self.broker and self.broker.running() and self.broker.asked == properties:
            return
        self.stop_broker()
        self.brokers += 1
        self.broker = Broker(os.path.join(self.folder, f"kafka-{self.brokers}"), properties)
        self.broker.asked = properties
        self.broker.start()

    def stop_broker(self):
        if self.broker:
            self.broker.end()
            self.broker = None

    def group(self, names, seed):
        """Rounds that share a world. Returns whether all is well."""
        self.start_broker(FAULTS[names[0]].broker)
        self.worlds += 1
        folder = os.path.join(self.folder, f"world-{self.worlds}")
        world = World(self.options, self.broker, f"{self.name}-{self.worlds}", folder, seed)
        doing = None
        try:
            if not FAULTS[names[0]].scenario:
                world.begin()
            for name in names:
                doing = Round(name, world, self.broker)
                self.play(FAULTS[name], world)
                doing.check_kept()
                self.happened.update(doing.facts()["happened"])
                self.note(doing, seed, "ok")
            if not FAULTS[names[0]].scenario:
                world.finish()
                doing.check_kept()
        except Skipped as reason:
            self.skipped += 1
            say(f"{names[0]}: SKIPPED, {reason}")
            self.note(doing or Round(names[0], world, self.broker), seed, f"skipped: {reason}")
        except Exception as error:
            self.blame(error, doing or Round(names[0], world, self.broker), names, seed)
            return False
        finally:
            self.restarts += world.restarts
            world.close()
        world.drop_topics()
        shutil.rmtree(folder)
        return True

    def play(self, fault, world):
        fault.run(world)
        if not fault.scenario:
            world.settle()
            world.check()

    def note(self, doing, seed, verdict):
        missed = doing.missed()
        if missed and verdict == "ok":
            raise Violation(f"I12: the run is invalid: {', '.join(missed)} did not happen")
        facts = doing.facts()
        self.kills.update(engine=facts["engine_kills"], broker=facts["broker_kills"])
        if self.report:
            self.report.add(**facts, seed=seed, verdict=verdict)
        if verdict == "ok":
            self.passed += 1
            rare = [f"{n} {path}" for path, n in sorted(facts["happened"].items())]
            say(f"{doing.name}: ok, {facts['engine_kills']} engine and {facts['broker_kills']} broker kills,"
                f" {facts['seconds']} s; " + ", ".join(rare))

    def blame(self, error, doing, names, seed):
        self.failed += 1
        kind = "VIOLATED" if isinstance(error, Violation) else "BROKEN"
        if not isinstance(error, (Violation, Broken)):
            error = traceback.format_exc()
        say(f"{kind} in {doing.name}, seed {seed}: {error}")
        say(f"repeat with: ./dev crash --seed {seed} --in-order --faults {','.join(names)}"
            f" --kills {self.options.kills} --broker-kills {self.options.broker_kills}" +
            (f" --sites {','.join(self.options.sites)}" if self.options.sites else ""))
        say(f"logs, state and history: {doing.world.folder}")
        self.note(doing, seed, f"{kind} {error}")

    def close(self):
        self.stop_broker()
        if not self.failed:
            shutil.rmtree(self.folder, ignore_errors=True)
