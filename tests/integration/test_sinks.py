#!/usr/bin/env python3
"""The sinks of running instances on real servers: PostgreSQL and Redis get what the state has, over outages, a
poison event, pauses, rebuilds, a second instance and a process that slept. TEST_KAFKA: host:port; TEST_POSTGRES: a
connection string; TEST_REDIS: host:port; TEST_TALLY: the program."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "crash"))

from forwarder import Forwarder  # noqa: E402
from instance import Instance  # noqa: E402

KAFKA = os.environ["TEST_KAFKA"]
POSTGRES = dict(word.split("=", 1) for word in os.environ["TEST_POSTGRES"].split())
REDIS = os.environ["TEST_REDIS"].split(":")
PARTITIONS = 2
SESSION = 16  # seconds, the shortest that the settings allow
LIMIT = 60
SETTINGS = {"engine.threads": 1, "engine.transaction.timeout": "1s", "engine.session.timeout": f"{SESSION}s",
            "engine.max.poll.interval": "20s", "sink.retry.max.interval": "1s", "postgres.statement.timeout": "3s"}
results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_sinks: {name}: {' '.join(map(str, facts))}", flush=True)


def wait(name, condition, instance, limit=LIMIT):
    end = time.monotonic() + limit
    while not (held := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    check(held, name, instance.tool("sink", "list", fails=True)[1], instance.log_tail())
    return held


class World:
    """One database, one name of everything, any number of instances."""

    def __init__(self, folder):
        self.name = "sinks-" + uuid.uuid4().hex[:8]
        self.database = self.name.replace("-", "_")
        self.folder = folder
        self.instances, self.forwarders = [], []
        self.sent = 0
        self.sql(f"create database {self.database}", POSTGRES["dbname"])

    def instance(self, name):
        postgres = Forwarder(POSTGRES["host"], int(POSTGRES["port"]))
        redis = Forwarder(REDIS[0], int(REDIS[1]))
        made = Instance(os.environ["TEST_TALLY"], os.path.join(self.folder, name), KAFKA, self.name, {
            **SETTINGS, "postgres.url": f"postgresql://{POSTGRES['user']}@127.0.0.1:{postgres.port}/{self.database}",
            "redis.url": f"redis://127.0.0.1:{redis.port}"}, instance_id=name)
        made.targets = {"postgres": postgres, "redis": redis}
        self.forwarders += [postgres, redis]
        self.instances.append(made)
        return made

    def sql(self, statement, database=None):
        done = subprocess.run(["psql", "-qtAX", "-h", POSTGRES["host"], "-p", POSTGRES["port"], "-U", POSTGRES["user"],
                               "-d", database or self.database, "-c", statement], capture_output=True, text=True,
                              timeout=60, check=True)
        return [line.split("|") for line in done.stdout.splitlines()]

    def redis(self, *words):
        return subprocess.run(["redis-cli", "-h", REDIS[0], "-p", REDIS[1], *words], capture_output=True, text=True,
                              timeout=60, check=True).stdout.splitlines()

    def send(self, instance, count, sku=None):
        ids = range(self.sent, self.sent + count)
        self.sent += count
        text = "".join(json.dumps({"type": "ReceiveStock", "command_id": f"c-{i}", "sku": sku or f"SKU-{i % 40}",
                                   "warehouse": "W1", "quantity": 1}) + "\n" for i in ids)
        subprocess.run([instance.program, "send", "--config", instance.config, "-"], env=instance.environment,
                       input=text, text=True, capture_output=True, timeout=60, check=True)

    def state(self, instances):
        """sku -> (on_hand, version), from those who run the partitions."""
        levels = {}
        for instance in instances:
            for partition, row in instance.tasks().items():
                if row["state"] == "RUNNING":
                    rows = (json.loads(line) for line in instance.dump(partition))
                    levels.update({row["key"].split(".")[0]: (row["value"]["on_hand"], row["value"]["version"])
                                   for row in rows if row["store"] == "level"})
        return levels

    def in_postgres(self):
        return {sku: (int(on_hand), int(version)) for sku, on_hand, version
                in self.sql("select sku, on_hand, version from tally.stock_level")}

    def in_redis(self):
        levels = {}
        for key in self.redis("--scan", "--pattern", f"tally:@{self.name}.{self.name}:level:*"):
            row = json.loads(self.redis("hget", key, "W1")[0])
            levels[row["sku"]] = (row["on_hand"], row["version"])
        return levels

    def caught_up(self, name, instance, *others, sinks=("postgres", "redis")):
        """Both targets have what the state has, and the state has all that was sent."""
        def same():
            state = self.state((instance, *others))
            return sum(row[0] for row in state.values()) == self.sent and all(
                {"postgres": self.in_postgres, "redis": self.in_redis}[sink]() == state for sink in sinks)
        return wait(name, same, instance)

    def letters(self):
        done = subprocess.run(["kcat", "-C", "-b", KAFKA, "-t", f"{self.name}.tally.sink-postgres-dlt", "-e", "-q", "-o",
                               "beginning", "-f", "%k %h\\n"], capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.splitlines()

    def close(self):
        for instance in self.instances:
            instance.end()
        for forwarder in self.forwarders:
            forwarder.end()
        self.sql(f"drop database {self.database} with (force)", POSTGRES["dbname"])
        for key in self.redis("--scan", "--pattern", f"tally:@{self.name}*"):
            self.redis("del", key)


def sinks(instance):
    answer = instance.get("/v1/ops/sinks")
    return {row["name"]: row for row in json.loads(answer[1])["items"]} if answer and answer[0] == 200 else {}


def state_of(instance, name):
    return sinks(instance).get(name, {}).get("state")


def begin(world):
    """Tables are asked for by name; then everything arrives."""
    first = world.instance("a")
    first.tool("topics", "create", "--topics.partitions", str(PARTITIONS))
    first.start()
    wait("without tables the sink has failed", lambda: state_of(first, "postgres") == "FAILED", first)
    detail = sinks(first)["postgres"]["error"]
    check(detail["code"] == "SINK_SCHEMA" and "tally sink migrate" in detail["detail"], "it says what to do", detail)
    verbose = first.get("/readyz?verbose")
    check(verbose[0] == 200 and b"[-]postgres failed: FAILED SINK_SCHEMA" in verbose[1] and
          b"[+]redis ok" in verbose[1], "readiness tells, and passes", verbose)
    first.tool("sink", "migrate")
    world.send(first, 500)
    world.caught_up("everything arrives once there are tables", first)
    wait("it runs", lambda: state_of(first, "postgres") == "RUNNING" and sinks(first)["postgres"]["lag"] == 0, first)
    check(first.metric('tally_sink_records_total{sink="postgres",result="written"}') >= 500, "records are counted")
    done = subprocess.run(["kcat", "-L", "-b", KAFKA, "-t", f"{world.name}.tally.sink-redis-dlt"], capture_output=True,
                          text=True, timeout=60, check=True)
    check(f"with {PARTITIONS} partitions" in done.stdout, "dead letters have a topic", done.stdout)
    return first


def outages(world, first):
    """Each target away in two ways; the other sink goes on, and nothing is lost."""
    for name, other in (("postgres", "redis"), ("redis", "postgres")):
        for way in ("cut", "hold"):
            getattr(first.targets[name], way)()
            world.send(first, 300)
            wait(f"{name} {way}: backs off", lambda: state_of(first, name) == "BACKING_OFF", first)
            world.caught_up(f"{name} {way}: {other} goes on", first, sinks=(other,))
            check(sinks(first)[name]["error"]["code"] in ("UNAVAILABLE", "TIMEOUT"), f"{name} {way}: why",
                  sinks(first)[name]["error"])
            wait(f"{name} {way}: lag is told", lambda: sinks(first)[name]["lag"] > 0, first)
            first.targets[name].heal()
            world.caught_up(f"{name} {way}: catches up", first)


def rebuilds_that_wait(world, first):
    """Asked for while the targets are away, and not forgotten by a restart."""
    for name, forwarder in first.targets.items():
        forwarder.cut()
        world.send(first, 50)
        wait(f"{name} is away", lambda: state_of(first, name) == "BACKING_OFF", first)
        first.tool("sink", "rebuild", name)
    first.stop()
    first.start()
    wait("both wait", lambda: {row["state"] for row in sinks(first).values()} == {"BACKING_OFF"}, first)
    for name, forwarder in first.targets.items():
        forwarder.heal()
        wait(f"{name} is built anew", lambda: first.logged(f'msg="sink is built" sink={name}'), first)
        wait(f"{name} runs", lambda: state_of(first, name) == "RUNNING", first)
    world.caught_up("both have everything", first)


def poison(world, first):
    """What a constraint refuses goes to the dead letters, and a rebuild brings it once the constraint is gone."""
    world.sql("alter table tally.stock_level add constraint unlucky check (sku <> 'SKU-BAD')")
    world.send(first, 100)
    world.send(first, 1, "SKU-BAD")
    world.send(first, 100)
    wait("one letter", lambda: len(world.letters()) == 1, first)
    letter = world.letters()[0]
    check(letter.startswith("SKU-BAD ") and "__streams.errors.exception=SINK_REFUSED" in letter and
          "unlucky" in letter and f"__streams.errors.topic={world.name}.stock.events" in letter,
          "with its reason", letter)
    world.caught_up("the other sink has it", first, sinks=("redis",))
    state = {sku: row for sku, row in world.state((first,)).items() if sku != "SKU-BAD"}
    wait("all others are written", lambda: world.in_postgres() == state, first)
    letter_by_tool(world, first)
    check(sinks(first)["postgres"]["dead_letters"] == 1 and state_of(first, "postgres") == "RUNNING", "it goes on",
          sinks(first)["postgres"])
    world.sql("alter table tally.stock_level drop constraint unlucky")
    first.tool("sink", "rebuild", "postgres")
    world.caught_up("a rebuild brings it", first)
    first.tool("sink", "rebuild", "redis")
    wait("redis is rebuilt", lambda: state_of(first, "redis") == "RUNNING", first)
    world.caught_up("redis has the same as before", first)
    check(len(world.letters()) == 1, "no second letter", world.letters())
    status, said = first.tool("dlq", "drop", letter_by_tool(world, first), fails=True)
    check(status == 0 and "1 dropped" in said, "and the letter can be dropped", said)
    check(not first.tool("dlq", "list", "--json"), "then none is open")


def letter_by_tool(world, first):
    """The one letter as `tally dlq` shows it; nothing sends its event again."""
    found = [json.loads(line) for line in first.tool("dlq", "list", "--json", "-t", "postgres").splitlines()]
    check(len(found) == 1 and found[0]["topic"] == f"{world.name}.tally.sink-postgres-dlt" and
          found[0]["reason"] == "SINK_REFUSED" and found[0]["key"] == "SKU-BAD" and found[0]["type"] == "StockReceived" and
          found[0]["event_id"].startswith("stock/") and found[0]["origin"]["topic"] == f"{world.name}.stock.events",
          "the letter is listed", found)
    address = f"{found[0]['topic']}/{found[0]['partition']}@{found[0]['offset']}"
    check(f"from {world.name}.stock.events/" in first.tool("dlq", "list"), "and by all that are open")
    shown = first.tool("dlq", "show", address)
    check("unlucky" in shown and '"SKU-BAD"' in shown, "and shown", shown)
    for arguments in (("retry", address), ("retry", "--all", "-t", "postgres", "--yes")):
        status, said = first.tool("dlq", *arguments, fails=True)
        check(status == 1 and "tally sink rebuild postgres" in said, "it says what to do instead", arguments, said)
    status, said = first.tool("dlq", "retry", "--all", "--yes", fails=True)
    check(status == 0 and "0 retried, 0 not sent" in said, "a retry of all is of commands", said)
    return address


def pauses(world, first):
    for name in ("postgres", "redis"):
        first.tool("sink", "pause", name)
    wait("both pause", lambda: {row["state"] for row in sinks(first).values()} == {"PAUSED"}, first)
    before = world.in_postgres(), world.in_redis()
    world.send(first, 200)
    first.stop()
    first.start()
    wait("still paused after a restart", lambda: {row["state"] for row in sinks(first).values()} == {"PAUSED"} and
         sinks(first)["redis"]["partitions"] == PARTITIONS, first)
    check((world.in_postgres(), world.in_redis()) == before, "nothing was written")
    for name in ("postgres", "redis"):
        first.tool("sink", "resume", name)
    world.caught_up("both go on", first)


def stops(world, first):
    """What was decided is in the targets soon after a restart in the middle of a load."""
    for _ in range(3):
        world.send(first, 1000)
        first.stop()
        first.start()
    world.caught_up("stops lose nothing", first)


def zombie(world, first):
    """A process that sleeps with a batch on its way to the target, beyond its session."""
    second = world.instance("b")
    second.start()
    wait("two share", lambda: all(row["partitions"] == PARTITIONS // 2 for instance in (first, second)
                                  for row in sinks(instance).values()) and len(sinks(second)) == 2, second)
    world.send(first, 200)
    world.caught_up("both write", first, second)
    for name in ("postgres", "redis"):  # asked of one instance, done by both
        second.tool("sink", "rebuild", name)
        wait(f"{name} is rebuilt", lambda: second.logged(f'msg="sink is built" sink={name}'), second)
        wait(f"{name} is rebuilt by two", lambda: all(state_of(instance, name) == "RUNNING" and sinks(
            instance)[name]["lag"] == 0 for instance in (first, second)), second)
    world.send(first, 200)
    world.caught_up("the same content, built by two", first, second)
    for forwarder in first.targets.values():
        forwarder.hold()
    world.send(second, 400)  # the first has its part of them on the way
    time.sleep(0.5)
    os.kill(first.process.pid, signal.SIGSTOP)
    for forwarder in first.targets.values():
        forwarder.heal()
    wait("the second takes over", lambda: all(row["partitions"] == PARTITIONS for row in sinks(second).values()), second)
    world.caught_up("and writes what the first had on its way", second)
    before = world.in_postgres(), world.in_redis()
    os.kill(first.process.pid, signal.SIGCONT)
    wait("the first has its share again", lambda: all(row["partitions"] == PARTITIONS // 2 for row
                                                      in sinks(first).values()) and len(sinks(first)) == 2, first)
    check((world.in_postgres(), world.in_redis()) == before, "the zombie has written nothing")
    world.send(first, 200)
    world.caught_up("both go on", first, second)
    first.stop()
    second.stop()


def main():
    with tempfile.TemporaryDirectory() as folder:
        world = World(folder)
        try:
            first = begin(world)
            for part in (outages, rebuilds_that_wait, poison, pauses, stops, zombie):
                part(world, first)
        finally:
            world.close()
    failed = results.count(False)
    print(f"{100 * results.count(True) // len(results)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
