"""tally through the proxy: requests that come late, twice or never, connections that break or stall."""
import contextlib
import time

from faults import fault
from process import free_port
from proxy import Proxy
from resources import Resources
from verdict import must

TRANSACTION = ("EndTxn", "TxnOffsetCommit", "AddOffsetsToTxn", "AddPartitionsToTxn")
# Short, so that a client gives up soon: its sockets wait 6/10 of a transaction.
SETTINGS = {"engine.transaction.timeout": "3s", "engine.session.timeout": "18s", "engine.threads": 4}
FENCED = ("INVALID_PRODUCER_EPOCH", "PRODUCER_FENCED", "INVALID_PRODUCER_ID_MAPPING", "INVALID_TXN_STATE")
SECONDS = 15  # of trouble in a round
LOG_LINES = 200  # a second of trouble at most: a client that spins writes more


@contextlib.contextmanager
def proxied(world, settings=None):
    """Instance 0 behind a proxy; given back without it."""
    tally = world.instance(0)
    before = dict(tally.settings)
    proxy = Proxy(free_port(), world.broker.port, world.random.random()).start()
    if tally.running():
        tally.stop()
    tally.configure({**SETTINGS, **(settings or {}), "kafka.bootstrap.servers": proxy.address})
    tally.start()
    try:
        world.wait_running()
        yield tally, proxy
        proxy.calm()
        world.settle()
        tally.stop()
    finally:
        proxy.stop()
        tally.settings = before
        tally.configure({})
    tally.start()
    world.wait_running()


@fault("late", needs=("late EndTxn", "late Produce", "late TxnOffsetCommit", "late AddPartitionsToTxn",
                      "late and fenced", "recreated"))
def late(world):
    """requests of transactions late, twice or never; connections reset, stalled, slow; kills in between"""
    with proxied(world) as (tally, proxy):
        resources = Resources()
        resources.check(tally)
        lines, begin, made = tally.logged(""), time.monotonic(), proxy.seen["InitProducerId"]
        rules(proxy)
        with world.load(rate=600):
            while time.monotonic() < begin + SECONDS:
                disturb(world, tally, proxy)
        proxy.calm()
        world.settle()
        lines, seconds = tally.logged("") - lines, time.monotonic() - begin
        must(lines < LOG_LINES * seconds, "a log has no more lines than a person can read", f"{lines} in {seconds} s")
        resources.check(tally)
        count(world, proxy, made)


def rules(proxy):
    """By request: what a network that loses packets, and routers that restart, do."""
    for api, chance in (("EndTxn", 0.25), ("TxnOffsetCommit", 0.12), ("AddOffsetsToTxn", 0.04),
                        ("AddPartitionsToTxn", 0.06), ("Produce", 0.06), ("InitProducerId", 0.05)):
        proxy.rule("late", api, chance=chance, seconds=(0, 2), who="-producer")
    for api in TRANSACTION:
        proxy.rule("lost", api, chance=0.01, seconds=(0, 1))
        proxy.rule("mute", api, chance=0.03)
        proxy.rule("reset", api, chance=0.02)
        proxy.rule("hold", api, chance=0.05, seconds=(0, 1))
        proxy.rule("twice", api, chance=0.05)
    proxy.rule("twice", "Produce", "InitProducerId", chance=0.05)
    proxy.rule("mute", "Produce", "InitProducerId", "FindCoordinator", chance=0.02)
    proxy.rule("lost", "Produce", chance=0.01, seconds=(0, 1))
    proxy.rule("hole", "Produce", "Fetch", "Heartbeat", chance=0.002, seconds=(0.5, 4))
    proxy.rule("slow", "Fetch", "Produce", chance=0.002, seconds=(0.5, 2))
    proxy.rule("late", "Heartbeat", "SyncGroup", chance=0.05, seconds=(0, 2))
    proxy.rule("reset", "Fetch", "OffsetFetch", "ListOffsets", "JoinGroup", chance=0.01)
    proxy.rule("hold", "Fetch", "OffsetFetch", "ListOffsets", "JoinGroup", chance=0.02, seconds=(0, 1))


def disturb(world, tally, proxy):
    time.sleep(world.random.uniform(0.5, 2))
    revive(world, tally)
    dice = world.random.random()
    if dice < 0.25:
        tally.kill()
        tally.start()
    elif dice < 0.4:
        proxy.freeze(world.random.uniform(0.2, 4))
    elif dice < 0.5:
        proxy.cut_all()


def revive(world, tally):
    """As a supervisor does: a late JoinGroup takes the place of a member, which then must end."""
    if not tally.running():
        if "INSTANCE_FENCED" not in tally.log_tail(50):
            tally.alive()
        world.happened["ended by a late JoinGroup"] += 1
        tally.start()


def count(world, proxy, made):
    for (api, error), times in proxy.late.items():
        world.happened[f"late {api}"] += times
        if error in FENCED:
            world.happened["late and fenced"] += times
    for (action, _), times in proxy.done.items():
        if action != "late":
            world.happened[action] += times
    world.happened["recreated"] += proxy.seen["InitProducerId"] - made
