"""tally through the proxy, under load: requests that come late, twice or never, connections that break
or stall. See guard.py for what would happen without the KIP-890 guard."""
import contextlib
import time

from faults import fault
from process import free_port
from proxy import Proxy
from verdict import Violation, must

# Short, so that clients give up soon: their sockets wait 6/10 of a transaction.
SETTINGS = {"engine.transaction.timeout": "4s", "engine.session.timeout": "19s", "engine.threads": 2}
REFUSED = ("INVALID_PRODUCER_EPOCH", "PRODUCER_FENCED", "INVALID_PRODUCER_ID_MAPPING", "INVALID_TXN_STATE")
ROUNDS, SECONDS = 2, 8  # of trouble, each followed by quiet and the oracle
SECONDS_MAX = 90  # on a machine so slow that too little comes late
LATE = ("EndTxn", "TxnOffsetCommit", "AddPartitionsToTxn", "Produce")
ROUNDS_LONG = 12  # in ./dev crash --long
LOG_LINES = 50  # a second of trouble at most; what spins writes more


@contextlib.contextmanager
def proxied(world, settings):
    """Instance 0, not started, and the proxy that it will go through."""
    tally = world.instance(0)
    proxy = Proxy(free_port(), world.broker.port, world.random.random()).start()
    tally.configure({**settings, "kafka.bootstrap.servers": proxy.address})
    try:
        yield tally, proxy
    finally:
        proxy.stop()


@fault("late", scenario=True, needs=(*(f"late {api}" for api in LATE), "late and refused", "producer replaced"))
def late(world):
    """requests of transactions late, twice or never; connections reset, stalled, slow; kills in between"""
    with proxied(world, SETTINGS) as (_, proxy):
        world.begin()
        for number in range(ROUNDS_LONG if world.options.record else ROUNDS):
            if number == 1:  # a rebalance, and from now on two that may take each other's partitions
                world.instance(1, {**SETTINGS, "kafka.bootstrap.servers": proxy.address}).start()
            trouble(world, proxy)
        count(world, proxy)
        world.finish()


def trouble(world, proxy):
    lines, begin, before = logged(world), time.monotonic(), came_late(proxy)

    def lasts():
        enough = all(count > before[api] for api, count in came_late(proxy).items())
        return time.monotonic() - begin < (SECONDS if enough else SECONDS_MAX)

    rules(proxy)
    with world.load(rate=600):
        while lasts():
            time.sleep(world.random.uniform(0.5, 3))
            revive(world)
            disturb(world, proxy)
    proxy.calm()
    lines, seconds = logged(world) - lines, time.monotonic() - begin
    must(lines < LOG_LINES * seconds, "a log has no more lines than a person can read", f"{lines} in {seconds:.0f} s")
    revive(world)
    world.settle()
    world.check()


def came_late(proxy):
    return {api: sum(count for (name, _), count in proxy.late.copy().items() if name == api) for api in LATE}


def logged(world):
    return sum(tally.logged("") for tally in world.instances.values())


def rules(proxy):
    """By request: what a network that loses packets, and machines on the way that restart, do. Most at the end of
    a transaction, which not all would reach otherwise."""
    for api, chance in (("EndTxn", 0.7), ("TxnOffsetCommit", 0.35), ("AddOffsetsToTxn", 0.05),
                        ("AddPartitionsToTxn", 0.1), ("Produce", 0.06), ("InitProducerId", 0.04)):
        proxy.rule("late", api, chance=chance, seconds=(0, 2), when=lambda request: request.transaction)
        few = 0.005 if api == "Produce" else 0.02  # many to a transaction
        proxy.rule("lost", api, chance=few / 2, seconds=(0, 1))
        proxy.rule("mute", api, chance=few)
        proxy.rule("reset", api, chance=few)
        proxy.rule("hold", api, chance=few, seconds=(0, 1))
        proxy.rule("twice", api, chance=0.05)
    proxy.rule("hole", "Produce", "Fetch", "Heartbeat", chance=0.002, seconds=(0.5, 4))
    proxy.rule("slow", "Fetch", "Produce", chance=0.002, seconds=(0.5, 2))
    proxy.rule("late", "Heartbeat", "SyncGroup", chance=0.05, seconds=(0, 2))
    proxy.rule("late", "JoinGroup", chance=0.02, seconds=(0, 2))
    proxy.rule("reset", "Fetch", "OffsetFetch", "ListOffsets", "FindCoordinator", chance=0.01)
    proxy.rule("hold", "Fetch", "OffsetFetch", "ListOffsets", "FindCoordinator", chance=0.02, seconds=(0, 1))


def disturb(world, proxy):
    dice = world.random.random()
    if dice < 0.12:
        tally = world.any_instance(world.random)
        world.count_paths()  # what its metrics tell ends with it
        tally.kill()
        tally.start()
    elif dice < 0.22:
        proxy.freeze(world.random.uniform(0.2, 4))
    elif dice < 0.3:
        proxy.cut_all()


def revive(world):
    """What a supervisor does: a late JoinGroup takes a member's place in the group, and its process ends.
    Nothing else may end one."""
    for tally in world.instances.values():
        if not tally.running():
            fenced = any('msg="tally failed" code=INSTANCE_FENCED' in line for line in tally.life())
            if tally.process.returncode != 1 or not fenced:
                tally.alive()
            world.happened["ended by a late JoinGroup"] += 1
            tally.start()


def count(world, proxy):
    for (api, error), times in proxy.late.items():
        world.happened[f"late {api}"] += times
        if error in REFUSED:
            world.happened["late and refused"] += times
    for (action, _), times in proxy.done.items():
        if action != "late":
            world.happened[action] += times
