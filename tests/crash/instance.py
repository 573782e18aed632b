"""One `tally run` that is started, asked, killed and stopped."""
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request


class Broken(Exception):
    """tally did not do what it must; the text says what."""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Instance:
    def __init__(self, program, folder, kafka, name):
        self.program = os.path.abspath(program)
        self.folder = folder
        self.state = os.path.join(folder, "state")
        self.log_path = os.path.join(folder, "tally.log")
        self.config = os.path.join(folder, "tally.yaml")
        self.address = f"127.0.0.1:{free_port()}"
        self.process = None
        # Another tally's settings must not reach this one.
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("TALLY_")}
        os.makedirs(folder, exist_ok=True)
        with open(self.config, "w") as file:
            file.write(f"""kafka: {{ bootstrap.servers: "{kafka}" }}
app.id: {name}
topics.prefix: {name}.
topologies: [stock]
stock.require_registration: false
state: {{ dir: "{self.state}" }}
http: {{ listen: "{self.address}" }}
""")

    def tool(self, *arguments):
        done = subprocess.run([self.program, *arguments, "--config", self.config], env=self.environment,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise Broken(f"tally {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def start(self):
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen([self.program, "run", "--config", self.config], stderr=log,
                                            stdout=log, stdin=subprocess.DEVNULL, env=self.environment)
        return time.monotonic()

    def alive(self):
        if self.process.poll() is not None:
            raise Broken(f"tally run ended by itself with {self.process.returncode}:\n{self.log_tail()}")

    def kill(self):
        self.alive()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """A clean end."""
        self.alive()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Broken(f"tally run did not end within 60 s of SIGTERM:\n{self.log_tail()}") from None
        if status:
            raise Broken(f"tally run ended with {status} after SIGTERM:\n{self.log_tail()}")

    def log_tail(self):
        with open(self.log_path) as log:
            return "".join(log.readlines()[-15:])

    def get(self, path):
        """Status and body; None when nobody answers yet."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return None

    def tasks(self):
        """partition -> its row of /v1/ops/tasks; empty while nobody answers."""
        answer = self.get("/v1/ops/tasks")
        if not answer or answer[0] != 200:
            return {}
        return {row["partition"]: row for row in json.loads(answer[1])["items"]}

    def wait(self, what, condition, limit=120):
        """Asks until the condition on the tasks holds; returns when it did."""
        end = time.monotonic() + limit
        while True:
            self.alive()
            tasks = self.tasks()
            if condition(tasks):
                return time.monotonic()
            halted = [row for row in tasks.values() if row["state"] == "HALTED"]
            if halted:
                raise Broken(f"a task halted: {halted[0]}\n{self.log_tail()}")
            if time.monotonic() > end:
                raise Broken(f"not {what} after {limit} s: {sorted(tasks.items())}\n{self.log_tail()}")
            time.sleep(0.01)


def position(row):
    """Offset of the last applied command of a row of /v1/ops/tasks."""
    text = row.get("position") or "@-1"
    return int(text.rsplit("@", 1)[1])


def all_running(tasks, partitions):
    return len(tasks) == partitions and all(row["state"] == "RUNNING" for row in tasks.values())
