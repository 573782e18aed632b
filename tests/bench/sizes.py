#!/usr/bin/env python3
"""What commands leave behind, in bytes: state, topics, PostgreSQL, Redis. For docs/capacity.md, on the servers of
`./dev up`: tests/bench/sizes.py [commands]. Each SKU is received three times, with random command ids of 36 characters.
DEV_KAFKA_PORT, DEV_POSTGRES_PORT, DEV_REDIS_PORT as for ./dev; TEST_TALLY: the program, else the release build."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "crash"))

from instance import Instance  # noqa: E402

KAFKA, POSTGRES, REDIS = (os.environ.get(f"DEV_{name}_PORT", port) for name, port in
                          (("KAFKA", "19092"), ("POSTGRES", "15432"), ("REDIS", "16379")))
COMMANDS = int(sys.argv[1]) if len(sys.argv) > 1 else 300000
SKUS = COMMANDS // 3
PARTITIONS = 4


def text(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


def sql(database, statement):
    return text("psql", "-qtAX", "-h", "127.0.0.1", "-p", POSTGRES, "-U", "tally", "-d", database, "-c", statement)


def redis_bytes():
    return int(next(line.split(":")[1] for line in text("redis-cli", "-p", REDIS, "info", "memory").splitlines()
                    if line.startswith("used_memory:")))


def bytes_below(folder):
    return sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*") if path.is_file())


def topic_bytes(topic):
    """Of its segments; the broker's folder of partition P is TOPIC-P."""
    return sum(path.stat().st_size for partition in (ROOT / ".run" / "kafka").rglob(f"{topic}-[0-9]*")
               for path in partition.glob("*.log"))


def wait(condition):
    until = time.monotonic() + 300
    while not condition():
        if time.monotonic() > until:
            sys.exit("sizes: nothing moves any more")
        time.sleep(0.2)


def done(instance):
    tasks = instance.tasks()
    return len(tasks) == PARTITIONS and all(row["state"] == "RUNNING" and row["lag"] == 0 for row in tasks.values())


def sinks_done(instance):
    sinks = json.loads(instance.tool("sink", "list", "-o", "json"))["items"]
    return len(sinks) == 2 and all(row["state"] == "RUNNING" and row["lag"] == 0 for row in sinks)


def run(folder, label, settings, with_sinks):
    name = "sizes-" + uuid.uuid4().hex[:8]
    instance = Instance(os.environ.get("TEST_TALLY", ROOT / "build" / "release" / "tally"), os.path.join(folder, name),
                        f"127.0.0.1:{KAFKA}", name, settings)
    if with_sinks:
        sql("tally", f'create database "{name}"')
        instance.configure({"postgres.url": f"postgresql://tally@127.0.0.1:{POSTGRES}/{name}",
                            "redis.url": f"redis://127.0.0.1:{REDIS}"})
        instance.tool("sink", "migrate")
    before = redis_bytes()
    instance.tool("topics", "create", "--topics.partitions", str(PARTITIONS))
    commands = "".join(json.dumps({"type": "ReceiveStock", "command_id": str(uuid.uuid4()), "sku": f"SKU-{i % SKUS:07d}",
                                   "warehouse": "AMS1", "quantity": 1 + i % 7}, separators=(",", ":")) + "\n"
                       for i in range(COMMANDS))
    subprocess.run([instance.program, "send", "--config", instance.config], input=commands, text=True, capture_output=True,
                   env=instance.environment, timeout=300, check=True)
    instance.start()
    wait(lambda: done(instance))
    if with_sinks:
        wait(lambda: sinks_done(instance))
        print(f"{label}: Redis {(redis_bytes() - before) / SKUS:.0f} bytes a level")
        for row in sql(name, "select relname, pg_total_relation_size(oid) from pg_class where relkind = 'r' and"
                       " relnamespace = 'tally'::regnamespace and pg_total_relation_size(oid) > 1000000").splitlines():
            table, size = row.split("|")
            of, count = ("command", COMMANDS) if table.startswith("ledger") else ("level", SKUS)
            print(f"{label}: PostgreSQL {table} {int(size) / count:.0f} bytes a {of}")
    instance.stop()
    print(f"{label}: state {bytes_below(instance.state) / COMMANDS:.0f} bytes a command; in Kafka, a command: commands "
          f"{topic_bytes(name + '.stock.commands') / COMMANDS:.0f}, events {topic_bytes(name + '.stock.events') / COMMANDS:.0f}",
          flush=True)


def main():
    with tempfile.TemporaryDirectory() as folder:
        run(folder, "levels, ledger, outcomes", {}, True)
        run(folder, "levels, ledger", {"dedup.retention": "0s"}, False)
        run(folder, "levels", {"dedup.retention": "0s", "stock.ledger": False}, False)


main()
