"""A program that is started, watched, paused and ended. It ends with the run, however the run ends."""
import os
import random
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from verdict import Broken

# The kernel kills a child when the thread that started it ends, so one thread starts them all.
starter = ThreadPoolExecutor(1, "starter")


def free_port():
    """Below the ports that clients get, so that nobody takes it while its server is down."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Process:
    def __init__(self, name, command, log_path, environment=None):
        self.name = name
        self.command = command
        self.log_path = log_path
        self.environment = environment
        self.process = None
        self.paused = False
        self.kills = 0
        self.born_at = 0  # byte of its log

    def spawn(self):
        """Returns when it was."""
        with open(self.log_path, "a") as log:
            self.born_at = os.path.getsize(self.log_path)
            command = ["setpriv", "--pdeathsig", "KILL", *self.command]
            self.process = starter.submit(subprocess.Popen, command, stdout=log, stderr=log,
                                          stdin=subprocess.DEVNULL, env=self.environment).result()
        self.paused = False
        return time.monotonic()

    def running(self):
        return self.process is not None and self.process.poll() is None

    def alive(self):
        if self.process.poll() is not None:
            raise Broken(f"{self.name} ended by itself with {self.process.returncode}:\n{self.log_tail()}")

    def kill(self):
        self.alive()
        self.end()
        self.kills += 1

    def end(self):
        """kill -9, if it runs."""
        if self.running():
            self.process.kill()
            self.process.wait()

    def stop(self, limit=60):
        """A clean end: SIGTERM, status 0."""
        self.alive()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.end()
            raise Broken(f"{self.name} did not end within {limit} s of SIGTERM:\n{self.log_tail()}") from None
        return status

    def pause(self):
        self.alive()
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        self.process.send_signal(signal.SIGCONT)
        self.paused = False

    def log_tail(self, lines=15):
        with open(self.log_path, errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    def log_size(self):
        return os.path.getsize(self.log_path)

    def log_between(self, begin, end=None):
        """Its lines from one size to another, or to its end."""
        with open(self.log_path, "rb") as log:
            log.seek(begin)
            return log.read(-1 if end is None else end - begin).decode(errors="replace").splitlines()

    def life(self):
        """Lines of its log since it was started."""
        return self.log_between(self.born_at)

    def logged(self, text):
        """Lines of its log, over all its lives, that contain the text."""
        if not os.path.exists(self.log_path):
            return 0
        with open(self.log_path, errors="replace") as log:
            return sum(text in line for line in log)
