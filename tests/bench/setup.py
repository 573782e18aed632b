"""What the suites share: options, topics, the load, settings, and the documents that they write."""
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time

import confluent_kafka.admin as kafka
from confluent_kafka import KafkaException

import build
from figures import Turns, Unusable, cpu_seconds, listener, measured, ratio, say
from sides import PARTITIONS, Peer, Tally, check_count

SIMPLE = {"dedup.retention": 0, "stock.ledger": False}  # the work of the peer's variant=simple


class Setup:
    def __init__(self, options):
        self.options = options
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("TALLY_")}
        self.program = os.path.abspath(options.tally)
        self.commit = build.check(self.program, self.environment)
        self.name = f"bench-{int(time.time())}"
        self.folder = os.path.join(os.path.abspath(options.dir), self.name)
        self.state = os.path.join(self.folder, "state")
        self.commands = f"{self.name}.stock.commands"
        self.events = f"{self.name}.stock.events"
        self.broker = listener(int(options.kafka.rsplit(":", 1)[1]))
        self.loaded, self.helpers = False, {}
        self.record_bytes = 0  # of a command; 0 until the raw consumer has read them
        self.began = time.time()
        self.load_average = os.getloadavg()[0]
        if self.load_average > 1:
            say(f"the machine is busy (load average {self.load_average:.1f}): figures follow what else it does")
        os.makedirs(self.folder)
        self.peer = Peer(self) if not options.no_peer else None
        self.raw_program, self.generator = self.helper("raw_consumer"), self.helper("generator")
        self.admin = kafka.AdminClient({"bootstrap.servers": options.kafka})

    def helper(self, name):
        """A program that is built beside tally, once."""
        if name in self.helpers:
            return self.helpers[name]
        path = os.path.join(os.path.dirname(self.program), f"bench_{name}")
        if os.path.exists(os.path.join(os.path.dirname(path), "build.ninja")):
            subprocess.run(["ninja", "-C", os.path.dirname(path), f"bench_{name}"], check=True, stdout=sys.stderr)
        if not os.access(path, os.X_OK):
            raise Unusable(f"{path} is missing: ./dev build release")
        self.helpers[name] = path
        return path

    # --- topics and load ------------------------------------------------------------------------

    def write_config(self, app, state, address, settings):
        path = os.path.join(self.folder, f"{app}.yaml")
        rows = {"kafka.bootstrap.servers": self.options.kafka, "app.id": app, "topics.prefix": f"{self.name}.",
                "topics.partitions": PARTITIONS, "topologies": ["stock"], "stock.require_registration": False,
                "state.dir": state, "engine.threads": self.options.threads, "http.listen": address, **settings}
        with open(path, "w") as file:
            file.writelines(f"{name}: {json.dumps(value)}\n" for name, value in rows.items())
        return path

    def create_topics(self, settings=None):
        config = self.write_config("topics", os.path.join(self.folder, "none"), "127.0.0.1:1", settings or {})
        subprocess.run([self.program, "topics", "create", "--config", config], check=True, stdout=subprocess.DEVNULL,
                       env=self.environment)

    def create_topic(self, name):
        self.admin.create_topics([kafka.NewTopic(name, PARTITIONS, 1)])[name].result(30)

    def delete_topics(self, wanted):
        """Deletes the topics whose names satisfy wanted(), and waits until they are gone."""
        names = [name for name in self.admin.list_topics(timeout=30).topics if wanted(name)]
        if not names:
            return
        for future in self.admin.delete_topics(names).values():
            future.result(60)
        while any(name in self.admin.list_topics(timeout=30).topics for name in names):
            time.sleep(0.1)

    def limit_topic(self, name, size):
        """Lets the broker drop what is older than the last `size` bytes of each partition."""
        entry = kafka.ConfigEntry("retention.bytes", str(size), incremental_operation=kafka.AlterConfigOpType.SET)
        resource = kafka.ConfigResource(kafka.ResourceType.TOPIC, name, incremental_configs=[entry])
        self.admin.incremental_alter_configs([resource])[resource].result(30)

    def generate(self, records, first, topic=None):
        subprocess.run(self.generate_command(records, first, 0, topic), check=True, env=self.environment)

    def generate_command(self, records, first, rate, topic=None):
        """rate: commands a second; 0: as fast as it goes."""
        options = self.options
        return [self.generator, options.kafka, topic or self.commands, str(records), str(options.skus), options.keys,
                str(first), str(rate)]

    def load(self):
        """The commands topic, once for all suites that read the same commands."""
        if self.loaded:
            return
        self.empty_topics()
        say(f"generating {self.options.records} commands")
        self.generate(self.options.records, 0)
        self.loaded = True

    def empty_topics(self):
        """Without the load."""
        self.delete_topics(lambda name: name.startswith(self.name))
        self.create_topics()
        self.loaded = False

    def fresh_events(self):
        self.delete_topics(lambda name: name in (self.events, self.commands + "-dlt"))
        self.create_topics()

    def remove(self):
        self.delete_topics(lambda name: name.startswith(self.name))
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- sides ----------------------------------------------------------------------------------

    def broker_cpu(self):
        return cpu_seconds(self.broker) if self.broker else 0

    def tally(self, app, settings=None, state=None):
        return Tally(self, f"{self.name}-{app}", state or self.state, settings or {})

    def raw(self, topic, expected):
        """Reads all of a topic and does nothing with it; Dirty unless it holds just what is expected."""
        done = subprocess.run([self.raw_program, self.options.kafka, topic, str(PARTITIONS)], check=True,
                              stdout=subprocess.PIPE, text=True, env=self.environment)
        result = json.loads(done.stdout)
        check_count(topic, result["records"], expected)
        size = round(result["bytes"] / expected)
        if topic == self.commands:
            self.record_bytes = size
        return measured(expected, result["seconds"], result["cpu_us_per_record"], result["max_rss_mb"], bytes=size)

    # --- documents ------------------------------------------------------------------------------

    def conditions(self):
        options = self.options
        with open(f"/proc/{self.broker}/cmdline" if self.broker else "/dev/null") as file:
            found = re.search(r"kafka[-_a-z.0-9]*-(\d+\.\d+\.\d+)", file.read())
        with open("/proc/cpuinfo") as file:
            cpu = re.search(r"model name\s*:\s*(.*)", file.read())
        return {"commit": self.commit, "date": datetime.datetime.now(datetime.timezone.utc).strftime("%F %H:%MZ"),
                "cores": os.cpu_count(), "cpu": cpu[1] if cpu else platform.machine(), "kernel": platform.release(),
                "load_average": round(self.load_average, 1), "quick": options.quick,
                "broker": {"version": found[1] if found else "unknown", "placement": "same cores, own process"},
                "load": {"records": options.records, "bytes": self.record_bytes or None, "skus": options.skus,
                         "partitions": PARTITIONS, "format": "json", "threads": options.threads,
                         "keys": "zipf0.99" if options.keys == "zipf" else "uniform"}}

    def attempt(self, suite, case, run):
        """run(), or a document that says why there are no figures; that is false."""
        try:
            return run()
        except (Unusable, subprocess.CalledProcessError, KafkaException) as error:
            turns = Turns()
            turns.void["suite"] = str(error)
            return self.publish(suite, case, turns, {})

    def publish(self, suite, case, turns, compared, **more):
        """One document to stdout and to the folder that `report` reads. `compared`: side -> the figures by
        which tally is compared with it; there is no ratio to a side that failed or is missing. Returns
        whether all of it counts."""
        sides = turns.summary()
        missing = [] if self.peer or "peer" not in compared else ["peer"]
        ratios = {side: {name: ratio(sides["tally"], sides[side], name) for name in names}
                  for side, names in compared.items() if "tally" in sides and side in sides}
        document = {"suite": suite, "case": case, **self.conditions(), **more, **sides, "ratio": ratios,
                    "missing": missing, "void": turns.void}
        text = json.dumps(document)
        print(text, flush=True)
        os.makedirs(self.options.results, exist_ok=True)
        path = os.path.join(self.options.results, f"{suite}-{case}.json" if case else f"{suite}.json")
        with open(path + ".part", "w") as file:
            file.write(text + "\n")
        os.replace(path + ".part", path)
        for name in missing:
            say(f"{suite}: no {name}, so no ratio to it")
        for name, why in turns.void.items():
            say(f"{suite}: VOID: {name}: {why}")
        return not turns.void
