"""The two applications that are measured."""
import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request

from figures import Dirty, Sampler, Unusable, cpu_seconds, measured, rss_mb
from process import free_port

PARTITIONS = 4
POLL_SECONDS = 0.1
OUTCOMES = ("accepted", "unchanged", "rejected", "duplicate", "reused")


def check_count(topic, found, expected):
    if found != expected:
        raise Dirty(f"dirty topic: {topic} holds {found} records, not {expected}")


class Tally:
    """A `tally run`, from start to stop()."""

    def __init__(self, setup, app, state, settings):
        self.setup, self.state = setup, state
        self.address = f"127.0.0.1:{free_port()}"
        self.command = [setup.program, "run", "--config", setup.write_config(app, state, self.address, settings)]
        self.log = os.path.join(setup.folder, f"{app}.log")
        self.start()

    def start(self):
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env=self.setup.environment)
        self.pid = self.process.pid

    def alive(self):
        if self.process.poll() is not None:
            with open(self.log) as file:
                raise Unusable("tally run ended:\n" + "".join(file.readlines()[-10:]))

    def get(self, path):
        """Status and body; None while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return None

    def series(self, name):
        """Sum of a metric's series; None while nobody answers, or there is none."""
        answer = self.get("/metrics")
        if not answer:
            return None
        found = [float(line.rsplit(" ", 1)[1]) for line in answer[1].decode().splitlines()
                 if line.startswith((name + "{", name + " "))]
        return sum(found) if found else None

    def tasks(self):
        """Rows of /v1/ops/tasks; none while nobody answers."""
        answer = self.get("/v1/ops/tasks")
        return json.loads(answer[1])["items"] if answer and answer[0] == 200 else []

    def all_running(self):
        tasks = self.tasks()
        return len(tasks) == PARTITIONS and all(task["state"] == "RUNNING" for task in tasks)

    def position(self):
        """Commands that are committed, over all partitions."""
        return sum(int((task["position"] or "@-1").rsplit("@", 1)[1]) + 1 for task in self.tasks())

    def until(self, what, condition, limit=120, every=POLL_SECONDS):
        """Asks until the condition holds, and returns what it gave."""
        end = time.monotonic() + limit
        while True:
            self.alive()
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise Unusable(f"tally is not {what} after {limit} s, see {self.log}")
            time.sleep(every)

    def wait_series(self, name, target, limit=1200):
        """Seconds from the last poll that saw 0 to the first that saw the target."""
        begin, end = time.monotonic(), time.monotonic() + limit
        while True:
            self.alive()
            asked = time.monotonic()
            value = self.series(name)
            if not value:
                begin = asked
            elif value >= target:
                return time.monotonic() - begin
            if asked > end:
                raise Unusable(f"{name} reached {value}, not {target}, in {limit} s")
            time.sleep(POLL_SECONDS)

    def wait_started(self):
        self.until("started", lambda: (self.get("/health/startup") or [0])[0] == 200)

    def check_work(self, records):
        """Dirty unless each of the commands led to an event of its own."""
        counts = {outcome: int(self.series(f'tally_commands_total{{topology="stock",outcome="{outcome}"}}') or 0)
                  for outcome in OUTCOMES}
        if counts["accepted"] != records or sum(counts.values()) != records:
            raise Dirty(f"dirty topic: of {records} commands tally's outcomes are {counts}: not one event each")

    def cpu(self):
        return cpu_seconds(self.pid)

    def rss(self, name="VmHWM"):
        return rss_mb(self.pid, name)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        try:
            status = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            status = "SIGKILL, a minute after SIGTERM"
        if status:
            raise Unusable(f"tally run ended with {status}, see {self.log}")


class Peer:
    """The Kafka Streams application; each run has a new group, empty state and new output topics."""

    def __init__(self, setup):
        self.setup = setup
        self.program = os.path.join(setup.options.peer, "run")
        self.state = os.path.join(setup.folder, "peer-state")
        self.log = os.path.join(setup.folder, "peer.log")
        if not os.access(self.program, os.X_OK):
            raise Unusable(f"the peer {self.program} is missing; --no-peer measures without it, and without its ratios")
        with open(self.log, "a") as log:
            if subprocess.run([self.program, "build"], stdout=log, stderr=log, check=False).returncode:
                raise Unusable(f"the peer does not build:\n{self.log_tail()}")

    def log_tail(self):
        with open(self.log) as file:
            return "".join(file.readlines()[-5:])

    def prepare(self, name):
        """Its output topic and application id."""
        self.output, self.app = f"{self.setup.name}.peer-{name}", f"{self.setup.name}-peer-{name}"
        self.setup.create_topic(self.output)

    def discard(self):
        shutil.rmtree(self.state, ignore_errors=True)
        self.setup.delete_topics(lambda name: name.startswith((self.output, self.app)))

    def start(self, verb, *arguments):
        """`run` is a script that becomes the Java process, so the pid is that one's."""
        setup = self.setup
        with open(self.log, "a") as log:
            return subprocess.Popen([self.program, verb, setup.options.kafka, setup.commands, self.output, self.app,
                                     self.state, *map(str, arguments)], stdout=subprocess.PIPE, stderr=log, text=True)

    def result(self, process, killed=False):
        """What it printed; it may end only as it was told to."""
        try:
            output = process.communicate()[0].strip()
        finally:
            process.kill()  # nothing to kill, unless the wait was broken off
        if process.returncode != (-signal.SIGKILL if killed else 0) or not output:
            raise Unusable(f"the peer ended with {process.returncode}:\n{self.log_tail()}")
        return json.loads(output.splitlines()[-1])

    def stream(self, name, variant):
        """All commands of the load."""
        setup, options = self.setup, self.setup.options
        self.prepare(name)
        broker = setup.broker_cpu()
        try:
            process = self.start("stream", options.records, options.threads, f"variant={variant}")
            with Sampler(process.pid) as rss:
                result = self.result(process)
            broker = setup.broker_cpu() - broker
            setup.raw(self.output, options.records)
        finally:
            self.discard()
        return measured(options.records, result["seconds"], result["cpu_us_per_record"], result["max_rss_mb"],
                        warm_per_s=result["warm_records_per_s"], warm_cpu_us=result["warm_cpu_us_per_record"],
                        broker_cpu_us=round(broker * 1e6 / options.records, 3), rss_over_time=rss.result())

    def stay(self, name, *more):
        """Runs until discard() and end() of what it returns."""
        self.prepare(name)
        return self.start("stream", 1, self.setup.options.threads, "variant=full", "end=stay", *more)

    @staticmethod
    def end(process):
        process.kill()
        process.communicate()

    def restart(self, name, *more):
        """Killed after half of the load, and started again at once: seconds until its state is restored."""
        options = self.setup.options
        self.prepare(name)
        try:
            self.result(self.start("stream", options.records // 2, options.threads, "variant=full", "end=kill", *more),
                        killed=True)
            return self.result(self.start("restart", options.threads, "variant=full", *more))
        finally:
            self.discard()
