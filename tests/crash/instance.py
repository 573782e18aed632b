"""One `tally run` with its own folder, settings and state directory."""
import http.client
import json
import os
import subprocess
import time
import urllib.error
import urllib.request

from process import Process, free_port
from verdict import Broken, NotDumped


class Instance(Process):
    """`settings` are rows of its file, by dotted name; `env` is added to its environment."""

    def __init__(self, program, folder, kafka, name, settings=None, env=None, instance_id="a"):
        self.program = os.path.abspath(program)
        self.id = instance_id
        self.folder = folder
        self.state = os.path.join(folder, "state")
        self.config = os.path.join(folder, "tally.yaml")
        self.address = f"127.0.0.1:{free_port()}"
        self.settings = {
            "kafka.bootstrap.servers": kafka, "app.id": name, "instance.id": instance_id, "topics.prefix": f"{name}.",
            "topologies": ["stock"], "stock.require_registration": False, "state.dir": self.state,
            "http.listen": self.address, **(settings or {}),
        }
        # Another tally's settings must not reach this one.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TALLY_")}
        super().__init__(f"tally {instance_id}", [self.program, "run", "--config", self.config],
                         os.path.join(folder, "tally.log"), {**environment, **(env or {})})
        os.makedirs(folder, exist_ok=True)
        self.configure({})

    def configure(self, settings):
        """Changes settings for the next start."""
        self.settings.update(settings)
        with open(self.config, "w") as file:
            file.writelines(f"{name}: {json.dumps(value)}\n" for name, value in self.settings.items())

    def tool(self, *arguments, fails=False):
        """What `tally ARGUMENTS` prints; with fails=True its exit status and all that it prints."""
        done = subprocess.run([self.program, *arguments, "--config", self.config], env=self.environment,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if fails:
            return done.returncode, done.stdout + done.stderr
        if done.returncode:
            raise Broken(f"tally {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def start(self):
        return self.spawn()

    def stop(self, limit=60):
        status = super().stop(limit)
        if status:
            raise Broken(f"{self.name} ended with {status} after SIGTERM:\n{self.log_tail()}")
        return status

    def request(self, path, data=None, headers=None, limit=10):
        """Status and body; None when nobody answers, or not to the end."""
        try:
            request = urllib.request.Request(f"http://{self.address}{path}", data, headers or {})
            with urllib.request.urlopen(request, timeout=limit) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except (OSError, http.client.HTTPException):
            return None

    def get(self, path, limit=10):
        return self.request(path, limit=limit)

    def tasks(self, limit=10):
        """partition -> its row of /v1/ops/tasks; empty while nobody answers."""
        answer = self.get("/v1/ops/tasks", limit)
        if not answer or answer[0] != 200:
            return {}
        return {row["partition"]: row for row in json.loads(answer[1])["items"]}

    def dump(self, partition):
        """Lines of the state of a task that runs here."""
        answer = self.get(f"/v1/ops/dump?topology=stock&partition={partition}", 60)
        if not answer or answer[0] != 200:
            raise NotDumped(f"{self.name} does not dump partition {partition}: {answer}")
        return answer[1].splitlines()

    def dump_directory(self):
        """Lines of its state directory; it must not run."""
        return self.tool("fsck", "--dump", "--state", self.state).encode().splitlines()

    def metric(self, name):
        """Sum of the samples of /metrics whose name and labels begin so; None while nobody answers."""
        answer = self.get("/metrics")
        if not answer or answer[0] != 200:
            return None
        return sum(float(line.rsplit(" ", 1)[1]) for line in answer[1].decode().splitlines() if line.startswith(name))

    def wait(self, what, condition, limit=120):
        """Asks until the condition on the tasks holds; returns when it did."""
        end = time.monotonic() + limit
        while True:
            self.alive()
            tasks = self.tasks()
            if condition(tasks):
                return time.monotonic()
            self.must_not_halt(tasks)
            if time.monotonic() > end:
                raise Broken(f"{self.name} not {what} after {limit} s: {sorted(tasks.items())}\n{self.log_tail()}")
            time.sleep(0.01)

    def must_not_halt(self, tasks):
        halted = [row for row in tasks.values() if row["state"] == "HALTED"]
        if halted:
            raise Broken(f"a task of {self.name} halted: {halted[0]}\n{self.log_tail()}")


def position(row):
    """Offset of the last applied command of a row of /v1/ops/tasks."""
    text = row.get("position") or "@-1"
    return int(text.rsplit("@", 1)[1])


def all_running(tasks, partitions):
    return len(tasks) == partitions and all(row["state"] == "RUNNING" for row in tasks.values())
