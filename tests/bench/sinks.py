"""Suite `sinks`: the events of one load, written to Postgres and to Redis by tally, and by controls that have nothing
else to do: for Postgres the same rows by COPY and merge, and by UNNEST, whichever is better; for Redis the very scripts
and arguments that tally sent, through redis-cli --pipe. `outage`: the target away under load, what that costs in
memory, and how fast its sink catches up. Servers of its own, without fsync, on the same cores as everything else."""
import json
import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import threading
import time

from confluent_kafka import Producer

from figures import Dirty, Sampler, Turns, Unusable, measured, rss_mb
from postgres_server import Postgres
from redis_server import Redis, encoded

RECORDS, SKUS = 500000, 100000  # at most
BATCH = 10000  # of the controls; sink.batch.records of tally
WRITTEN = "tally_sink_records_total"
RATE = 4000  # commands a second in `outage`
BEFORE, AWAY, AFTER = 10, 60, 90  # seconds of load around it; quick: a tenth


def run(setup):
    bench = Bench(setup)
    try:
        bench.prepare()
        cases = {"postgres": bench.postgres_case, "redis": bench.redis_case,
                 "postgres-outage": lambda: bench.outage("postgres"), "redis-outage": lambda: bench.outage("redis")}
        return all([setup.attempt("sinks", name, case) for name, case in cases.items()
                    if setup.options.case in (name, "all")])
    except Unusable as error:
        return setup.attempt("sinks", "postgres", lambda: raised(error))
    finally:
        bench.close()


def raised(error):
    raise error


class Bench:
    def __init__(self, setup):
        self.setup = setup
        self.records = min(setup.options.records, RECORDS)
        self.reference = setup.helper("postgres_reference")
        self.postgres, self.redis = Postgres(setup.folder + "/postgres"), Redis(setup.folder + "/redis")
        self.settings = {"postgres": {"postgres.url": self.postgres.url}, "redis": {"redis.url": self.redis.url}}

    def prepare(self):
        """The events, once for all sides; state and offsets of the app stay."""
        setup, options = self.setup, self.setup.options
        options.skus = min(options.skus, SKUS)
        self.postgres.start()
        self.redis.start()
        self.empty_topics()
        if options.case.endswith("-outage"):  # which has events of its own
            self.migrate()
            return
        setup.generate(self.records, 0)
        tally = self.tally({})
        try:
            tally.until("at the end", lambda: tally.position() >= self.records, 600)
        finally:
            tally.stop()
        self.migrate()

    def empty_topics(self):
        self.setup.empty_topics()
        every = {name: value for settings in self.settings.values() for name, value in settings.items()}
        self.setup.create_topics(every)

    def migrate(self):
        config = self.setup.write_config("migrate", self.setup.state, "127.0.0.1:1", self.settings["postgres"])
        done = subprocess.run([self.setup.program, "sink", "migrate", "--config", config], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, env=self.setup.environment)
        if done.returncode:
            raise Unusable(f"tally sink migrate ended with {done.returncode}: {done.stdout}")

    def tally(self, settings):
        return self.setup.tally("sinks", settings)

    def close(self):
        self.postgres.end()
        self.redis.end()
        self.setup.loaded = False
        shutil.rmtree(self.setup.state, ignore_errors=True)

    def measure(self, name, settings=None):
        """A run of tally that reads all events and writes them to one sink."""
        tally = self.tally(settings or self.settings[name])
        try:
            seconds = tally.wait_series(WRITTEN, self.records)
            return seconds, tally.cpu() * 1e6 / self.records, tally.rss()
        finally:
            tally.stop()

    # --- Postgres -----------------------------------------------------------------------------------

    def empty_postgres(self):
        self.postgres.query("truncate tally.sku, tally.warehouse, tally.sink_position, tally.stock_level, "
                            "tally.ledger_entry cascade")

    def check_postgres(self, records):
        entries, versions = self.postgres.query("select count(*) from tally.ledger_entry; "
                                                "select coalesce(sum(version), 0) from tally.stock_level")
        if (int(entries), int(versions)) != (records, records):
            raise Dirty(f"Postgres has {entries} entries, and levels of {versions} changes, not {records}")

    def postgres_case(self):
        turns, rows = Turns(), os.path.join(self.setup.folder, "rows")
        for i in range(1, self.setup.options.runs + 1):
            turns.take("tally", i, self.postgres_tally)
            if i == 1:
                self.export(rows)
            for method in ("copy", "unnest"):
                turns.take(method, i, lambda: self.postgres_control(method, rows))
        best = max((side for side in ("copy", "unnest") if side in turns.runs), default=None,
                   key=lambda side: sorted(run["per_s"] for run in turns.runs[side])[len(turns.runs[side]) // 2])
        if best:
            turns.runs["best"] = turns.runs[best]
        return self.setup.publish("sinks", "postgres", turns, {side: ["per_s"] for side in ("copy", "unnest", "best")},
                                  events=self.records, best=best)

    def postgres_tally(self):
        self.empty_postgres()
        seconds, cpu, rss = self.measure("postgres")
        self.check_postgres(self.records)
        return measured(self.records, seconds, cpu, rss)

    def export(self, path):
        """The rows that tally wrote, in the order of events."""
        names = self.postgres.query("select string_agg(attname, ', ' order by attnum) from pg_attribute "
                                    "where attrelid = 'tally.ledger_entry'::regclass and attnum > 0")[0]
        lines = self.postgres.query(
            f"copy (select dense_rank() over (order by sku, warehouse), (extract(epoch from recorded_at) * 1000000)::"
            f"bigint - 946684800000000, {names} from tally.ledger_entry "
            f"order by recorded_at, partition, command_offset) to stdout")
        with open(path, "w") as file:
            file.writelines(line + "\n" for line in lines)

    def postgres_control(self, method, rows):
        self.empty_postgres()
        with open(rows) as file:
            done = subprocess.run([self.reference, self.postgres.url, method, str(BATCH)], stdin=file,
                                  stdout=subprocess.PIPE, text=True, check=True)
        self.check_postgres(self.records)
        result = json.loads(done.stdout)
        return {"per_s": round(result["entries"] / result["seconds"]), "levels": result["levels"],
                "rows_per_s": round((result["entries"] + result["levels"]) / result["seconds"])}

    # --- Redis --------------------------------------------------------------------------------------

    def redis_case(self):
        turns = Turns()
        recorded, state = self.record()
        for i in range(1, self.setup.options.runs + 1):
            turns.take("tally", i, self.redis_tally)
            turns.take("pipe", i, lambda: self.redis_control(recorded, state))
        return self.setup.publish("sinks", "redis", turns, {"pipe": ["per_s", "rows_per_s"]}, events=self.records)

    def empty_redis(self):
        with self.redis.client() as client:
            client("FLUSHALL")
            client("CONFIG", "RESETSTAT")

    def check_redis(self, records):
        """Rows that were written; each is looked up once before. Versions add up to the changes of all levels."""
        with self.redis.client() as client:
            rows = int(re.search(r"cmdstat_hget:calls=(\d+)", client("INFO", "commandstats").decode())[1])
            keys = [key for key in self.redis.keys(client, "tally:@") if ":level:" in key]
            answers = [answer for i in range(0, len(keys), 1000)
                       for answer in client.pipeline([("HVALS", key) for key in keys[i:i + 1000]])]
            versions = sum(json.loads(text)["version"] for answer in answers for text in answer)
        if versions != records:
            raise Dirty(f"Redis has levels of {versions} changes, not {records}")
        return rows

    def redis_tally(self):
        self.empty_redis()
        seconds, cpu, rss = self.measure("redis")
        rows = self.check_redis(self.records)
        return measured(self.records, seconds, cpu, rss, rows_per_s=round(rows / seconds))

    def record(self):
        """What a run sent to Redis to write, and where its partitions stood at its end."""
        self.empty_redis()
        path = os.path.join(self.setup.folder, "recorded")
        with Recorder(self.redis.port, path) as recorder:
            self.measure("redis", {"redis.url": f"redis://127.0.0.1:{recorder.port}"})
        self.check_redis(self.records)
        with open(recorder.largest(), "rb") as source, open(path + ".writes", "wb") as target:
            for command in commands(source):
                if command[0] == b"EVAL" and b"TALLYSTEP" in command[1]:
                    target.truncate(target.seek(0))  # Redis did not know the script: what was sent is sent again
                if is_write(command):
                    target.write(encoded(command))
        with self.redis.client() as client:
            state = {}
            for key in self.redis.keys(client, "tally:@"):
                if re.search(r":sink(:|$)", key):
                    kind = client("TYPE", key)
                    state[key] = (kind, client("SMEMBERS" if kind == b"set" else "HGETALL", key))
        return path + ".writes", state

    def redis_control(self, recorded, state):
        """From the state in which the sink had just taken its partitions over."""
        self.empty_redis()
        with self.redis.client() as client:
            for key, (kind, members) in state.items():
                if kind == b"set":
                    client("SADD", key, *members)
                    continue
                fields = dict(zip(members[::2], members[1::2]))
                if b"epoch" in fields:
                    fields = {**{name: fields[name] for name in (b"epoch", b"generation", b"opened")}, b"step": b"0",
                              b"run": b"", b"goal": fields.get(b"complete", b"0")}
                client("HSET", key, *(word for pair in fields.items() for word in pair))
        with open(recorded, "rb") as file:
            begin = time.monotonic()
            done = subprocess.run(["redis-cli", "-p", str(self.redis.port), "--pipe"], stdin=file,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            seconds = time.monotonic() - begin
        if "errors: 0," not in done.stdout:
            raise Unusable(f"redis-cli --pipe: {done.stdout[-300:]}")
        rows = self.check_redis(self.records)
        return {"per_s": round(self.records / seconds), "rows_per_s": round(rows / seconds)}

    # --- outage -------------------------------------------------------------------------------------

    def outage(self, name):
        turns = Turns()
        turns.take("tally", 1, lambda: self.outage_run(name))
        return self.setup.publish("sinks", name + "-outage", turns, {}, rate_per_s=RATE)

    def outage_run(self, name):
        setup, scale = self.setup, 0.1 if self.setup.options.quick else 1
        before, away, after = BEFORE * scale, AWAY * scale, AFTER * scale
        self.empty_topics()
        shutil.rmtree(setup.state, ignore_errors=True)
        target, empty, check = ((self.postgres, self.empty_postgres, self.check_postgres) if name == "postgres" else
                                (self.redis, self.empty_redis, self.check_redis))
        empty()
        tally = self.setup.tally(f"outage-{name}", self.settings[name])
        count = int(RATE * (before + away + after))
        sender = multiprocessing.Process(target=send, args=(setup.options.kafka, setup.commands, count))
        try:
            tally.until("running", tally.all_running)
            sender.start()
            time.sleep(before)
            rss = rss_mb(tally.pid, "VmRSS")
            with Sampler(tally.pid) as sampler:
                target.stop()
                time.sleep(away)
                written, decided = tally.series(WRITTEN), tally.position()
                target.start()
                begin = time.monotonic()
                tally.until("at work again", lambda: tally.series(WRITTEN) > written, 120)
                waited, begin = time.monotonic() - begin, time.monotonic()
                tally.until("caught up", lambda: tally.series(WRITTEN) >= tally.position() - RATE, 10 * AFTER)
                seconds, caught = time.monotonic() - begin, tally.series(WRITTEN) - written
            sender.join()
            tally.until("at the end", lambda: tally.series(WRITTEN) >= count, 120)
        finally:
            sender.terminate()
            tally.stop()
        check(count)
        return {"backlog": decided - written, "retried_after_s": round(waited, 2), "catch_up_s": round(seconds, 2),
                "catch_up_per_s": round(caught / seconds), "catch_up_ratio": round(caught / seconds / RATE, 2),
                "rss_before_mb": rss, "rss_growth_mb": max(sampler.mb) - rss, "lost": 0}


def send(kafka, topic, count):
    """At an even rate, in a process of its own."""
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 5, "partitioner": "murmur2_random"})
    begin = time.monotonic()
    for i in range(count):
        if i % 40 == 0:
            producer.poll(0)
            time.sleep(max(0, begin + i / RATE - time.monotonic()))
        sku = f"SKU-{(i * 7919) % 20000:08d}"
        producer.produce(topic, key=sku, value=f'{{"type":"ReceiveStock","command_id":"o-{i}","sku":"{sku}",'
                                               f'"warehouse":"W1","quantity":1}}')
    producer.flush()


class Recorder:
    """Stands between tally and Redis and keeps what each connection sends there."""

    def __init__(self, port, path):
        self.target, self.path = port, path
        self.files = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()
        for file in self.files:
            file.close()

    def largest(self):
        """The connection that rows went through."""
        return max((file.name for file in self.files), key=os.path.getsize)

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            self.files.append(open(f"{self.path}-{len(self.files)}", "wb"))
            for source, target, file in ((client, server, self.files[-1]), (server, client, None)):
                threading.Thread(target=forward, args=(source, target, file), daemon=True).start()


def forward(source, target, file):
    try:
        while data := source.recv(1 << 20):
            if file:
                file.write(data)
            target.sendall(data)
    except (OSError, ValueError):
        pass  # one side is gone
    finally:
        target.close()


def commands(file):
    """The words of each."""
    while line := file.readline():
        yield [file.read(int(file.readline()[1:]) + 2)[:-2] for _ in range(int(line[1:]))]


def is_write(command):
    """Of rows: KEYS control, members, partition, rows; nine arguments, and five for each row."""
    if command[0] != b"EVALSHA" or len(command) < 3:
        return False
    keys = int(command[2])
    return keys >= 3 and len(command) == 3 + keys + 9 + 5 * (keys - 3)
