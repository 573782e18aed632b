"""What the suites share: topics, load, the processes that are measured, medians."""
import bisect
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from instance import free_port

PARTITIONS = 4
POLL_SECONDS = 0.1
TICKS = os.sysconf("SC_CLK_TCK")


class Unusable(Exception):
    """The measurement means nothing; the text says why."""


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def cpu_seconds(pid):
    """Of the whole process, from its start."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(pid, name="VmHWM"):
    """VmHWM: the highest so far."""
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(name + r":\s+(\d+)", file.read())[1]) // 1024


def listener(port):
    """The process that listens on a local port, or None."""
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    with open("/proc/net/tcp6") as file:
        rows += [line.split() for line in file.readlines()[1:]]
    inodes = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].rsplit(":", 1)[1], 16) == port}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{descriptor}") in inodes:
                    return int(pid)
        except OSError:
            continue
    return None


class Setup:
    def __init__(self, options):
        self.options = options
        self.name = f"bench-{int(time.time())}"
        self.folder = os.path.join(os.path.abspath(options.dir), self.name)
        self.program = os.path.abspath(options.tally)
        self.raw_program = options.raw or os.path.join(os.path.dirname(self.program), "bench_raw_consumer")
        self.peer_program = os.path.join(options.peer, "run")
        self.commands = f"{self.name}.stock.commands"
        self.events = f"{self.name}.stock.events"
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("TALLY_")}
        self.peer_environment = dict(os.environ)
        self.admin = AdminClient({"bootstrap.servers": options.kafka})
        self.broker = listener(int(options.kafka.rsplit(":", 1)[1]))
        self.loaded = False
        self.record_bytes = 0  # of the values that the raw consumer read last
        os.makedirs(self.folder)
        for program in (self.program,):
            if not os.access(program, os.X_OK):
                raise SystemExit(f"bench: {program} is missing: ./dev build release")
        if not os.access(self.raw_program, os.X_OK):
            subprocess.run(["ninja", "-C", os.path.dirname(self.program), "bench_raw_consumer"], check=True,
                           stdout=sys.stderr)

    def peer_log(self):
        """What the peer says besides its result; kept out of sight unless it fails."""
        return open(os.path.join(self.folder, "peer.log"), "a")

    def peer_log_tail(self):
        with open(os.path.join(self.folder, "peer.log")) as file:
            return "".join(file.readlines()[-5:])

    def has_peer(self):
        return os.access(self.peer_program, os.X_OK)

    # --- topics and load ------------------------------------------------------------------------

    def write_config(self, app, state, address):
        path = os.path.join(self.folder, f"{app}.yaml")
        with open(path, "w") as file:
            file.write(f"""kafka: {{ bootstrap.servers: "{self.options.kafka}" }}
app.id: {app}
topics.prefix: {self.name}.
topics.partitions: {PARTITIONS}
topologies: [stock]
stock.require_registration: false
state: {{ dir: "{state}" }}
engine: {{ threads: {self.options.threads} }}
http: {{ listen: "{address}" }}
""")
        return path

    def create_topics(self):
        config = self.write_config("topics", os.path.join(self.folder, "none"), "127.0.0.1:1")
        subprocess.run([self.program, "topics", "create", "--config", config], check=True, stdout=subprocess.DEVNULL,
                       env=self.environment)

    def create_topic(self, name):
        self.admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(30)

    def delete_topics(self, wanted):
        """Deletes the topics whose names satisfy wanted(), and waits until they are gone."""
        names = [name for name in self.admin.list_topics(timeout=30).topics if wanted(name)]
        if not names:
            return
        for future in self.admin.delete_topics(names).values():
            future.result(60)
        while any(name in self.admin.list_topics(timeout=30).topics for name in names):
            time.sleep(0.1)

    def load(self):
        """The commands topic, once for all runs."""
        if self.loaded:
            return
        self.create_topics()
        options = self.options
        say(f"generating {options.records} commands")
        if self.has_peer():
            subprocess.run([self.peer_program, "generate", options.kafka, self.commands, str(options.records),
                            str(options.skus), options.keys], check=True, env=self.peer_environment,
                           stdout=sys.stderr)
        else:
            generate(options.kafka, self.commands, options.records, options.skus, options.keys == "zipf")
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

    def raw(self, topic, expected):
        """Everything in the topic, with nothing done to it."""
        done = subprocess.run([self.raw_program, self.options.kafka, topic, str(PARTITIONS)], check=True,
                              stdout=subprocess.PIPE, text=True, env=self.environment)
        result = json.loads(done.stdout)
        if result["records"] != expected:
            raise Unusable(f"the raw consumer read {result['records']} records, not {expected}")
        self.record_bytes = round(result["bytes"] / expected)
        return measured(expected, result["seconds"], result["cpu_us_per_record"], result["max_rss_mb"])

    def start_tally(self, app, state):
        address = f"127.0.0.1:{free_port()}"
        config = self.write_config(app, state, address)
        log = open(os.path.join(self.folder, f"{app}.log"), "w")
        process = subprocess.Popen([self.program, "run", "--config", config], stdout=log, stderr=log,
                                   stdin=subprocess.DEVNULL, env=self.environment)
        return Watched(process, address, log.name)

    def environment_of_run(self):
        version = subprocess.run([self.program, "version"], stdout=subprocess.PIPE, text=True, check=True).stdout
        with open(f"/proc/{self.broker}/cmdline" if self.broker else "/dev/null") as file:
            found = re.search(r"kafka[-_a-z.0-9]*-(\d+\.\d+\.\d+)", file.read())
        return {"commit": version.split("(")[-1].strip(")\n"), "cores": os.cpu_count(),
                "broker": {"version": found[1] if found else "unknown", "placement": "same cores, own process"}}

    def load_of_run(self, size):
        options = self.options
        return {"records": options.records, "bytes": size, "skus": options.skus, "partitions": PARTITIONS,
                "keys": "zipf0.99" if options.keys == "zipf" else "uniform", "format": "json"}


class Watched:
    """A `tally run` whose metrics are read while it works."""

    def __init__(self, process, address, log):
        self.process, self.address, self.log = process, address, log

    def series(self, name):
        """Sum of a metric's series; None while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return None
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((name + "{", name + " ")))

    def wait(self, name, target, limit=600):
        """Seconds from the last poll that saw 0 to the first that saw the target."""
        begin, end = time.monotonic(), time.monotonic() + limit
        while True:
            if self.process.poll() is not None:
                with open(self.log) as file:
                    raise Unusable("tally run ended:\n" + "".join(file.readlines()[-10:]))
            asked = time.monotonic()
            value = self.series(name)
            if not value:
                begin = asked
            elif value >= target:
                return time.monotonic() - begin
            if asked > end:
                raise Unusable(f"{name} reached {value}, not {target}, in {limit} s")
            time.sleep(POLL_SECONDS)

    def cpu(self):
        return cpu_seconds(self.process.pid)

    def rss(self):
        return rss_mb(self.process.pid)

    def rss_now(self):
        return rss_mb(self.process.pid, "VmRSS")

    def wait_ready(self, limit=60):
        end = time.monotonic() + limit
        while not self.is_ready():
            if time.monotonic() > end or self.process.poll() is not None:
                raise Unusable(f"tally is not ready, see {self.log}")
            time.sleep(POLL_SECONDS)

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://{self.address}/health/startup", timeout=5):
                return True
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


# --- figures ------------------------------------------------------------------------------------


def measured(records, seconds, cpu_us, rss_mb, **more):
    return {"per_s": round(records / seconds), "cpu_us": round(cpu_us, 3), "rss_mb": rss_mb, **more}


def summary(runs):
    """Medians, and the spread that a difference must exceed to be one."""
    rates = [run["per_s"] for run in runs]
    return {"runs": runs, "median_per_s": round(statistics.median(rates)), "range_per_s": [min(rates), max(rates)],
            "cpu_us": round(statistics.median(run["cpu_us"] for run in runs), 3),
            "rss_mb": max(run["rss_mb"] for run in runs)}


def ratio(one, other, name="median_per_s"):
    return round(one[name] / other[name], 3) if other and other[name] else None


# --- load without the peer ------------------------------------------------------------------------


def generate(kafka, topic, records, skus, zipf):
    """Commands of the same shape, size and key distribution as the peer's."""
    rnd = random.Random(42)
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 20, "partitioner": "murmur2_random",
                         "queue.buffering.max.messages": 1000000})
    cumulative, total = [], 0.0
    for i in range(skus if zipf else 0):
        total += (i + 1) ** -0.99
        cumulative.append(total)
    for i in range(records):
        rank = bisect.bisect_left(cumulative, rnd.random() * total) if zipf else rnd.randrange(skus)
        sku = f"SKU-{min(rank, skus - 1) * 2654435761 % skus:08d}"
        value = (f'{{"type":"ReceiveStock","command_id":"{i >> 32:08x}-0000-7000-8000-{i:012x}","sku":"{sku}",'
                 f'"warehouse":"W{rnd.randint(1, 3)}","quantity":{rnd.randint(1, 9)}}}')
        while True:
            try:
                producer.produce(topic, value=value, key=sku)
                break
            except BufferError:
                producer.poll(0.1)
        if i % 1000 == 0:
            producer.poll(0)
    producer.flush()
