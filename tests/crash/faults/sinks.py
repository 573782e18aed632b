"""Sinks whose targets die, whose owner sleeps, whose content is built anew, under sagas over all topologies."""
import threading
import time

from content import must_equal
from domain import Domain
from faults import fault
from faults.group import BROKER, QUICK, is_stopped, stop_by
from faults.sagas import COMMANDS, RECORDS, load
from sink_audit import Audit, Monitor, ports_of
from sink_readers import PostgresReader, RedisReader
from sinks import Sinks, dump_differences

AWAKE_SECONDS = 4  # that a zombie has for its mischief

FAILPOINT_SECONDS = 10  # until a failpoint has been hit
SITES = ("sink.put.before", "sink.put.after", "sink.written", "pg.begin", "pg.rows", "pg.commit.before",
         "pg.commit.after", "redis.before", "redis.after")
# Of a rebuild, in turn. The last one is met by the instance alone that lets the contents change places.
REBUILD_SITES = (("postgres", "pg.swap.before"), ("redis", "redis.rebuild"), ("redis", "sink.rebuild.begun"),
                 ("postgres", "sink.rebuild.begun"), ("postgres", "pg.swap.after"))

# What dies, in this share.
DEATHS = ("tally", "postgres", "redis", "tally", "postgres stopped", "redis", "tally", "postgres", "redis",
          "redis emptied", "tally in a rebuild")


class Scene:
    """A domain whose instances feed sinks, from begin() until the end of the `with`."""

    def __init__(self, world, instances=2, settings=None):
        self.world = world
        self.sinks = Sinks(world.folder)
        self.sinks.start()
        self.domain = Domain(world, instances, {**self.sinks.settings(), **(settings or {})})
        self.domain.instances[0].tool("sink", "migrate")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.domain.close()
        self.sinks.end()

    def begin(self, *instances):
        for instance in instances:
            instance.start()
        self.domain.wait_running()
        self.domain.send(self.domain.stream.begin())
        self.domain.flush()
        self.check()

    def check(self):
        self.domain.check()
        self.sinks.check(self.domain)
        for what, size in self.sinks.sizes.items():
            self.world.happened[what] = size


@fault("sinks", scenario=True, needs=("tally killed", "postgres killed", "postgres stopped", "redis killed",
                                      "redis emptied", "killed in a rebuild", "rows of Postgres", "keys of Redis"))
def sinks(world):
    """kill -9 tally (in a rebuild too), Postgres, Redis; stop Postgres immediately, empty Redis; all hold the same"""
    with Scene(world) as scene:
        scene.begin(*scene.domain.instances)
        deaths = (DEATHS * (world.options.kills // len(DEATHS) + 1))[:world.options.kills]
        deaths = world.random.sample(deaths, len(deaths)) if len(deaths) >= len(DEATHS) else few(world, len(deaths))
        for number, what in enumerate(deaths):
            load(scene.domain, world.random.randrange(1, 6) * RECORDS, world.random.uniform(0.2, 1.5))
            time.sleep(world.random.choice((0, 0, world.random.uniform(0, 0.3))))
            die(scene, what, number)
            if number % 3 == 2 or number == len(deaths) - 1:
                scene.domain.wait_running()
                scene.check()


def few(world, count):
    """One of each kind, and more of them."""
    kinds = list(dict.fromkeys(DEATHS))
    return world.random.sample(kinds, len(kinds)) + world.random.choices(DEATHS, k=max(0, count - len(kinds)))


def die(scene, what, number):
    """For a while it stays away, and the load goes on."""
    domain, postgres, redis = scene.domain, scene.sinks.postgres, scene.sinks.redis
    away = scene.world.random.choice((0, 0, 0.3, 1.5))
    if what == "tally":
        kill_tally(scene, domain.instances[number % len(domain.instances)], away)
    elif what == "tally in a rebuild":
        kill_in_rebuild(scene, domain.instances[number % len(domain.instances)])
    elif what == "redis emptied":
        with redis.client() as client:
            client("FLUSHALL")
        scene.world.happened[what] += 1
    else:
        target = postgres if what.startswith("postgres") else redis
        if what == "postgres stopped":
            target.stop_immediately()
        else:
            target.kill()
        load(domain, RECORDS, away)
        target.start()
        scene.world.happened[what if what == "postgres stopped" else what + " killed"] += 1
        scene.world.happened["targets killed"] += 1


def kill_tally(scene, instance, away):
    """Anywhere, or once more in the middle of a batch."""
    happened, dice = scene.world.happened, scene.world.random
    instance.kill()
    load(scene.domain, RECORDS, away)
    happened["tally killed"] += 1
    if dice.random() < 0.6:
        happened["killed in a batch"] += killed_at(scene, instance, f"{dice.choice(SITES)}:{dice.randrange(1, 6)}:kill")
    instance.start()


def killed_at(scene, instance, plan, ask=lambda: None):
    """Starts it with a plan, under load; whether it died of that. It is dead in any case."""
    instance.environment["TALLY_FAIL"] = plan
    instance.start()
    del instance.environment["TALLY_FAIL"]  # of the next start
    end = time.monotonic() + FAILPOINT_SECONDS
    while instance.running() and time.monotonic() < end:
        ask()
        load(scene.domain, RECORDS, 0.3)
    died = not instance.running()
    if not died:
        instance.kill()
    return died


def kill_in_rebuild(scene, instance):
    """What was asked for goes on with whoever starts next."""
    happened = scene.world.happened
    name, site = REBUILD_SITES[happened["rebuilds"] % len(REBUILD_SITES)]
    asked = []

    def ask():
        if not asked and instance.tool("sink", "rebuild", name, fails=True)[0] == 0:
            asked.append(name)

    instance.kill()
    happened["tally killed"] += 1
    happened["rebuilds"] += 1
    happened["killed in a rebuild"] += killed_at(scene, instance, f"{site}:1:kill", ask)
    instance.start()


@fault("sink-zombie", scenario=True, broker=BROKER, needs=("zombies", "zombies of Postgres", "zombies of Redis"))
def sink_zombie(world):
    """the owner of the sinks sleeps until another has taken over, and writes nothing when it wakes up"""
    with Scene(world, 2, {**QUICK, "engine.batch.records": 1000, "sink.batch.interval": "5ms"}) as scene:
        domain, (first, second) = scene.domain, scene.domain.instances
        scene.begin(first)
        audit = Audit(scene.sinks.postgres)
        with Monitor(scene.sinks.redis) as monitor:
            for number in range(2 if world.options.ci else 6):
                fall_asleep(world, domain, first, STOPS[number % len(STOPS)])
                ports = ports_of(first)
                second.start()
                load(domain, 3 * RECORDS, 1)
                scene.check()  # what the second has written alone
                for target, watch in (("Postgres", audit), ("Redis", monitor)):
                    world.happened["zombies of " + target] += watch.writes(ports) > 0
                taken = audit.mark(ports), monitor.mark()
                load(domain, 3 * RECORDS, 0.5)
                first.resume()
                load(domain, 5 * RECORDS, AWAKE_SECONDS)
                domain.wait_running()
                scene.check()
                audit.check_sleeper(ports, taken[0])
                monitor.check_sleeper(ports, taken[1])
                audit.check()
                world.happened["zombies"] += 1
                # The one that took over is the next to sleep, once it is alone.
                first.stop()
                first, second = second, first
                domain.wait_running()


# Where the owner falls asleep: anywhere, or in the middle of a batch.
STOPS = ("pg.commit.before", "redis.before", None, "pg.rows", "redis.after", "pg.begin")


def fall_asleep(world, domain, instance, site):
    if site:
        stopping = threading.Thread(target=stop_by, args=(instance, f"{site}:{world.random.randrange(3, 12)}:stop"))
        stopping.start()
        while stopping.is_alive():
            load(domain, RECORDS, 0.3)
        stopping.join()
    else:
        load(domain, world.random.randrange(2, 8) * RECORDS, world.random.uniform(0.1, 1))
        time.sleep(world.random.uniform(0, 0.2))
        instance.pause()
    while not is_stopped(instance):
        time.sleep(0.01)


@fault("sink-rebuild", scenario=True, needs=("read during a rebuild of Postgres", "read during a rebuild of Redis",
                                             "compared letter by letter"))
def sink_rebuild(world):
    """each sink is built anew, at rest and under load, while readers of it see no error, gap or older version"""
    with Scene(world) as scene:
        domain, sinks = scene.domain, scene.sinks
        scene.begin(*domain.instances)
        load(domain, COMMANDS, 3)
        scene.check()
        audit = Audit(sinks.postgres)
        for busy in (False, True):
            for name, reader in (("postgres", PostgresReader), ("redis", RedisReader)):
                before, positions = sinks.dump(domain), dict(domain.content.positions)
                rebuilds = sinks.rebuilds(domain, name)
                with reader(sinks, domain) as reading:
                    domain.instances[0].tool("sink", "rebuild", name)
                    if busy:
                        load(domain, 10 * RECORDS, 2)
                    sinks.wait_rebuilt(domain, name, rebuilds)
                world.happened[f"read during a rebuild of {name.capitalize()}"] += reading.count
                scene.check()
                if domain.content.positions == positions:  # no timer came due
                    world.happened["compared letter by letter"] += 1
                    must_equal("a rebuild gives the same content", dump_differences(before, sinks.dump(domain)))
        audit.check()
