"""A Postgres of the run's own, and what is asked of it through psql."""
import json
import os
import pwd
import signal
import subprocess
import time

from process import Process, free_port
from verdict import Broken

BIN = "/usr/lib/postgresql/15/bin"
READY_SECONDS = 60
# Postgres refuses root, so root runs it as its own user, with the one capability that lets that user into the folder.
OTHER_USER = ["--reuid=postgres", "--regid=postgres", "--init-groups", "--inh-caps=+dac_override",
              "--ambient-caps=+dac_override", "--"] if os.geteuid() == 0 else []


class Postgres(Process):
    def __init__(self, folder, settings=None):
        self.folder = os.path.abspath(folder)
        self.data = os.path.join(self.folder, "data")
        self.port = free_port()
        self.url = f"postgresql://tally@127.0.0.1:{self.port}/tally"
        # Processes are killed, never the machine: what was written is there.
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off",
                    "max_connections": 40, **(settings or {})}
        # Process runs it with setpriv, whose options come first.
        super().__init__("Postgres", [*OTHER_USER, f"{BIN}/postgres", "-D", self.data, *(
            word for name, value in settings.items() for word in ("-c", f"{name}={value}"))],
            os.path.join(self.folder, "postgres.log"))

    def start(self, wait=True):
        """On the data that is there; the first time on none."""
        if not os.path.exists(os.path.join(self.data, "PG_VERSION")):
            self.make()
            self.spawn()
            self.wait_ready("postgres")
            self.query("create database tally", database="postgres")
        else:
            self.spawn()
        if wait:
            self.wait_ready()

    def make(self):
        os.makedirs(self.data, mode=0o700)
        if OTHER_USER:
            user = pwd.getpwnam("postgres")
            os.chown(self.data, user.pw_uid, user.pw_gid)
        done = subprocess.run(["setpriv", *OTHER_USER, f"{BIN}/initdb", "-D", self.data, "-U", "tally", "--auth=trust",
                               "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise Broken(f"initdb ended with {done.returncode}: {done.stdout}")

    def wait_ready(self, database="tally"):
        """After a kill -9 its other processes may still hold its memory: then it ends at once, and is started again."""
        end = time.monotonic() + READY_SECONDS
        while self.ask("select 1", database).returncode:
            if time.monotonic() > end:
                raise Broken(f"Postgres not ready after {READY_SECONDS} s:\n{self.log_tail()}")
            if not self.running():
                self.spawn()
            time.sleep(0.05)

    def stop(self, limit=READY_SECONDS):
        """Clients are not waited for."""
        self.alive()
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(limit)

    def stop_immediately(self):
        """As pg_ctl stop -m immediate: it does not write a checkpoint, and recovers when it starts."""
        self.alive()
        subprocess.run(["kill", "-QUIT", str(self.process.pid)], check=True)
        self.process.wait(READY_SECONDS)
        self.kills += 1

    # --- questions --------------------------------------------------------------------------------

    def ask(self, sql, database="tally"):
        return subprocess.run(["psql", "-qtAX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port), "-U",
                               "tally", "-d", database], input=sql, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, check=False, env={**os.environ, "PGTZ": "UTC", "PGAPPNAME": "oracle"})

    def query(self, sql, database="tally"):
        """Lines of what it answers."""
        done = self.ask(sql, database)
        if done.returncode:
            raise Broken(f"Postgres: {done.stderr.strip()}, of {sql[:500]}")
        return done.stdout.splitlines()

    def rows(self, sql):
        """What a query answers, each row a dictionary."""
        return [json.loads(line) for line in self.query(f"select row_to_json(r) from ({sql}) r")]
