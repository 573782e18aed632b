#!/usr/bin/env python3
"""`tally plan` on real servers: whatever it says of a directory, topics and sinks, `tally run` then does; it changes
nothing, and an instance works meanwhile. TEST_KAFKA, TEST_REDIS: host:port; TEST_POSTGRES: a connection string;
TEST_TALLY: the program."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import types
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "crash"))

import packages  # noqa: E402

packages.use()

import state_format  # noqa: E402
from instance import Instance  # noqa: E402
from topic_admin import TopicAdmin  # noqa: E402

KAFKA = os.environ["TEST_KAFKA"]
POSTGRES = dict(word.split("=", 1) for word in os.environ["TEST_POSTGRES"].split())
PARTITIONS = 2
TOPOLOGIES = ["stock", "low_stock"]
MARK = '"state set aside'
results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_plan: {name}: {' '.join(map(str, facts))}", flush=True)


def wait(name, condition, limit=60):
    end = time.monotonic() + limit
    while not (held := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    check(held, name)


class World:
    def __init__(self, folder):
        self.name = "plan-" + uuid.uuid4().hex[:8]
        self.folder = pathlib.Path(folder)
        self.sent = 0
        self.instance = Instance(os.environ["TEST_TALLY"], folder, KAFKA, self.name, {
            "engine.threads": 1, "topologies": TOPOLOGIES, "engine.transaction.timeout": "1s",
            "engine.session.timeout": "16s", "engine.max.poll.interval": "20s"})

    def call(self, *arguments):
        done = subprocess.run([self.instance.program, "plan", *arguments, "--config", self.instance.config],
                              env=self.instance.environment, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout, done.stderr

    def plan(self, *arguments):
        """Exit status, and what is told as JSON."""
        status, told, said = self.call("-o", "json", *arguments)
        check(told.endswith("}\n"), f"tally plan {' '.join(arguments)} tells something", status, told, said)
        return status, json.loads(told)

    def send(self, count=60):
        text = "".join(json.dumps({"type": "ReceiveStock", "command_id": f"c-{i}", "sku": f"SKU-{i % 9}",
                                   "warehouse": "W1", "quantity": 1}) + "\n"
                       for i in range(self.sent, self.sent + count))
        self.sent += count
        subprocess.run([self.instance.program, "send", "--config", self.instance.config], input=text, text=True,
                       env=self.instance.environment, capture_output=True, timeout=60, check=True)

    def rows(self):
        answer = self.instance.get("/v1/ops/tasks")
        return json.loads(answer[1])["items"] if answer and answer[0] == 200 else []

    def settled(self):
        rows = self.rows()
        return len(rows) == PARTITIONS * len(TOPOLOGIES) and all(
            row["state"] == "HALTED" or row["state"] == "RUNNING" and row["lag"] == 0 for row in rows)


def verdicts(told):
    return {(row["topology"], row["partition"]): row["verdict"] for row in told["tasks"]}


def files_of(folder):
    return {path: path.stat().st_mtime_ns for path in pathlib.Path(folder).rglob("*") if path.is_file()}


def beginning(world):
    status, told = world.plan()
    check(status == 1 and told["topics"]["verdict"] == "REFUSE" and told["topics"]["code"] == "TOPIC_CONFIG",
          "topics that are not there", status, told["topics"])
    text = world.call()
    check(text[0] == 1 and "topics create" in text[1], "what to do about them", text)
    world.instance.tool("topics", "create", "--topics.partitions", str(PARTITIONS))
    status, told = world.plan()
    check(status == 0 and set(verdicts(told).values()) == {"KEEP"} and len(told["tasks"]) == 4, "a first start", told)
    check(not os.path.exists(world.instance.state), "no directory is made")


def live(world):
    """Under load: what moves meanwhile is no mistake."""
    world.instance.start()
    wait("it runs", world.settled)
    ended = threading.Event()

    def load():
        while not ended.is_set():
            world.send(200)

    sender = threading.Thread(target=load)
    sender.start()
    time.sleep(1)
    for i in range(4):
        status, told = world.plan()
        check(status == 0 and set(verdicts(told).values()) == {"KEEP"}, f"while it works, {i}", status, told)
    ended.set()
    sender.join()
    wait("all is processed", world.settled)
    world.instance.stop()


def stopped(world):
    before = files_of(world.instance.state)
    status, told = world.plan()
    check(status == 0 and all(row["bytes"] > 0 and row["records"] < 5 for row in told["tasks"]),
          "after a clean end nothing is left to read", status, told)
    status, told = world.plan("--offline")
    check(status == 0 and len(told["tasks"]) == 4 and not told["brokers_asked"], "the directories alone", status, told)
    status, told = world.plan("-b", "127.0.0.1:9", "--timeout", "500")
    check(status == 1 and told["topics"]["verdict"] == "UNKNOWN" and len(told["tasks"]) == 4,
          "no broker", status, told["topics"])
    changed = {path.name for path, at in files_of(world.instance.state).items() if before.get(path) != at}
    check(not {name for name in changed if not name.startswith("LOG")}, "nothing is changed", changed)
    status, told = world.plan("--topologies", "stock")
    check([(row["topology"], row["partition"]) for row in told["unused"]] == [("low_stock", 0), ("low_stock", 1)],
          "directories of no task are told", told["unused"])


def ends(name, instance, log, refused):
    """A directory that is refused ends a start, with the words of the plan."""
    line = next((line for line in log.splitlines() if 'msg="task cannot start"' in line), "").replace('\\"', '"')
    check(instance.process.returncode == 1 and any(
        f"topology={row['topology']} partition={row['partition']} code={row['code']} " in line and
        f"{row['reason']}; way out: {row['way_out']}" in line for row in refused), f"{name}: the end", line, refused)


def compare(world, name, settings, mutate, expected, starts=True):
    """expected: topology -> (verdict, code). A start then does just that."""
    instance, kept = world.instance, world.folder / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(instance.state, kept)
    before = dict(instance.settings)
    instance.configure(settings)
    mutate(pathlib.Path(instance.state))
    status, told = world.plan()
    found = {topology: {(row["verdict"], row["code"]) for row in told["tasks"] if row["topology"] == topology}
             for topology in TOPOLOGIES}
    check(found == {topology: {at} for topology, at in expected.items()}, f"{name}: the plan", found)
    worst = {verdict for verdict, _ in expected.values()}
    check(status == (1 if "REFUSE" in worst else 3 if "REBUILD" in worst else 0), f"{name}: its status", status)
    if starts:
        start_and_compare(world, name, told, expected)
    shutil.rmtree(instance.state)
    shutil.copytree(kept, instance.state)
    instance.settings = before
    instance.configure({})


def start_and_compare(world, name, told, expected):
    instance = world.instance
    instance.start()
    wait(f"{name}: it has started, or ended", lambda: not instance.running() or world.settled())
    log = pathlib.Path(instance.log_path).read_bytes()[instance.born_at:].decode()
    if not instance.running():
        ends(name, instance, log, [row for row in told["tasks"] if row["verdict"] == "REFUSE"])
    for row in world.rows():
        verdict, code = expected[row["topology"]]
        plan = next(at for at in told["tasks"] if at["topology"] == row["topology"] and
                    at["partition"] == row["partition"])
        task = f"{name}: {row['topology']}/{row['partition']}"
        aside = [line for line in log.splitlines() if MARK in line and
                 f"topology={row['topology']} partition={row['partition']} " in line]
        if verdict == "REFUSE":
            check(row["state"] == "HALTED" and code in json.dumps(row), f"{task} halts", row)
            text = f"{plan['reason']}; way out: {plan['way_out']}"
            check(text in json.dumps(row).replace('\\"', '"'), f"{task} says the same", row, text)
        else:
            check(row["state"] == "RUNNING", f"{task} runs", row)
        check(bool(aside) == (verdict == "REBUILD" and code is not None), f"{task} is set aside or not", verdict, aside)
        check(not aside or f"code={code} " in aside[0], f"{task} is set aside for that", code, aside)
    if instance.running():
        instance.stop()


def of_stock(change):
    def mutate(state):
        for partition in range(PARTITIONS):
            check(state_format.rewrite(state / "stock" / str(partition), change)[0] == b"tally", "the row of the format")
    return mutate


def nothing(_):
    pass


def scenarios(world):
    keep = {"stock": ("KEEP", None), "low_stock": ("KEEP", None)}
    outdated, foreign = ("REBUILD", "STORE_OUTDATED"), ("REFUSE", "FOREIGN_STATE")
    compare(world, "the same", {}, nothing, keep)
    compare(world, "no outcomes are kept", {"dedup.retention": "0s"}, nothing, {**keep, "stock": outdated})
    compare(world, "another setting that decides", {"stock.require_registration": True}, nothing,
            {**keep, "stock": foreign})
    compare(world, "an older format", {}, of_stock(lambda magic, form, evolve: (magic, form - 1, evolve)),
            {**keep, "stock": outdated})
    compare(world, "a newer format", {}, of_stock(lambda magic, form, evolve: (magic, form + 1, evolve)),
            {**keep, "stock": foreign})
    compare(world, "an older evolve", {}, of_stock(lambda magic, form, evolve: (magic, form, evolve - 1)),
            {**keep, "stock": outdated}, starts=False)
    compare(world, "a newer evolve", {}, of_stock(lambda magic, form, evolve: (magic, form, evolve + 1)),
            {**keep, "stock": foreign})
    compare(world, "another program's", {}, of_stock(lambda _, form, evolve: (b"taler", form, evolve)),
            {**keep, "stock": foreign})
    compare(world, "no directory", {}, shutil.rmtree, {topology: ("REBUILD", None) for topology in TOPOLOGIES})


def offsets(world, admin):
    proved = admin.offsets()
    admin.leave(world.instance)
    admin.set_offsets(lambda partition, now: 1)
    compare(world, "a group that was rewound", {}, nothing,
            {"stock": ("REFUSE", "OFFSETS_BEHIND"), "low_stock": ("KEEP", None)})
    admin.leave(world.instance)
    admin.set_offsets(lambda partition, now: proved[partition])


def elsewhere(world):
    shutil.rmtree(pathlib.Path(world.instance.state) / "stock" / "1")
    status, told = world.plan()
    check(status == 0 and verdicts(told)["stock", 1] == "ELSEWHERE", "a partition of another instance", status, told)
    status, told = world.plan("--alone", "--rate", "1")
    row = next(row for row in told["tasks"] if (row["topology"], row["partition"]) == ("stock", 1))
    check(status == 3 and row["verdict"] == "REBUILD" and row["records"] > 0 and row["seconds"] == row["records"]
          and told["seconds"] == told["records"], "or of none", status, row)


def sql(database, statement):
    return subprocess.run(["psql", "-qtAX", "-h", POSTGRES["host"], "-p", POSTGRES["port"], "-U", POSTGRES["user"], "-d",
                           database, "-c", statement], capture_output=True, text=True, timeout=60,
                          check=True).stdout.split()


def sinks(world):
    database = world.name.replace("-", "_")
    sql(POSTGRES["dbname"], f"create database {database}")
    world.instance.configure({"postgres.url": f"postgresql://{POSTGRES['user']}@{POSTGRES['host']}:{POSTGRES['port']}/"
                              f"{database}", "redis.url": f"redis://{os.environ['TEST_REDIS']}"})

    def rows(expected):
        status, told = world.plan()
        found = {row["name"]: row for row in told["sinks"]}
        check(status == expected, "status with sinks", status, found)
        return found["postgres"], found["redis"]

    status, told = world.plan()
    check(status == 1 and told["topics"]["code"] == "TOPIC_CONFIG", "topics that sinks need", status, told["topics"])
    world.instance.tool("topics", "create", "--topics.partitions", str(PARTITIONS))
    files = sorted(path.name for path in (ROOT / "connectors" / "postgres").glob("*.sql"))
    postgres, redis = rows(3)
    check(postgres["verdict"] == "MIGRATE" and postgres["migrations"] == ",".join(files) and
          "tally sink migrate" in postgres["way_out"], "a database without tables", postgres)
    check(redis["verdict"] == "REBUILD" and redis["records"] > 0, "a Redis without content", redis)
    check(sql(database, "select count(*) from pg_namespace where nspname like 'tally%'") == ["0"],
          "no schema is made by a plan")
    world.instance.tool("sink", "migrate")
    postgres, redis = rows(3)
    check(postgres["verdict"] == "REBUILD" and postgres["schema"] == files[-1] and
          postgres["records"] == redis["records"] > 0, "tables without rows", postgres, redis)
    world.instance.start()
    wait("it runs with sinks", world.settled)
    wait("sinks have it all", lambda: len(seen := json.loads(world.instance.tool("sink", "list", "-o", "json"))["items"])
         == 2 and all(row["lag"] == 0 and row["state"] == "RUNNING" for row in seen))
    postgres, redis = rows(0)
    check(postgres["verdict"] == redis["verdict"] == "KEEP", "sinks are kept", postgres, redis)
    world.instance.stop()
    sql(database, "update tally_sink.schema_migration set checksum = 'other' where name = '" + files[0] + "'")
    postgres, _ = rows(1)
    check(postgres["verdict"] == "REFUSE" and postgres["code"] == "SINK_SCHEMA" and files[0] in postgres["reason"],
          "a migration of another release", postgres)


def main():
    with tempfile.TemporaryDirectory() as folder:
        world = World(folder)
        admin = TopicAdmin(types.SimpleNamespace(kafka=KAFKA, prefix=world.name + ".", group=world.name,
                                                 partitions=PARTITIONS))
        try:
            beginning(world)
            live(world)
            stopped(world)
            scenarios(world)
            offsets(world, admin)
            elsewhere(world)
            sinks(world)
        finally:
            world.instance.end()
            admin.close()
    failed = results.count(False)
    print(f"{100 * results.count(True) // len(results)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
