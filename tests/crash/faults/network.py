"""tally through the proxy: each kind of request loses its answer, its connection or its time, one after the
other; then nothing passes for longer than a transaction may last, and then only a trickle."""
import time

from faults import fault
from faults.late import LOG_LINES, SETTINGS, proxied, revive
from instance import position
from resources import Resources
from verdict import must

# In the order in which a thread makes them.
REQUESTS = ("Metadata", "FindCoordinator", "InitProducerId", "JoinGroup", "SyncGroup", "OffsetFetch", "ListOffsets",
            "Fetch", "AddPartitionsToTxn", "Produce", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn", "Heartbeat")
ACTIONS = ("mute", "reset", "lost")
MEET_SECONDS = 15  # a request that is not made in that time is provoked by a restart
HOLE_SECONDS = 10  # over twice the transaction timeout, and below the session's
SLOW_SECONDS = 10


@fault("network", scenario=True, needs=("mute", "reset", "lost", "black hole", "trickle"))
def network(world):
    """one answer, connection or request lost, in each phase; a black hole over the transaction timeout; 1 KB/s"""
    with proxied(world, SETTINGS) as (tally, proxy):
        world.begin()
        resources = Resources()
        resources.check(tally)
        for action in ACTIONS:
            for api in REQUESTS:
                lose(world, tally, proxy, action, api)
            quiet(world, tally, proxy, action)
        hole(world, tally, proxy)
        trickle(world, tally, proxy)
        resources.check(tally)
        world.finish()


def lose(world, tally, proxy, action, api):
    """The next request of the kind, under load; a restart makes those of the start."""
    rule = proxy.rule(action, api, times=1, seconds=(0, 0.5))
    end = time.monotonic() + MEET_SECONDS
    with world.load(rate=300):
        while rule.times and time.monotonic() < end:
            revive(world)
            if api in ("Metadata", "FindCoordinator", "InitProducerId", "JoinGroup", "SyncGroup", "OffsetFetch",
                       "ListOffsets"):
                tally.kill()
                tally.start()
            time.sleep(1)
    must(not rule.times, f"I12: the run is invalid: no {api} to lose in {MEET_SECONDS} s")
    rule.cancel()
    world.happened[action] += 1


def quiet(world, tally, proxy, what):
    lines, begin = tally.logged(""), time.monotonic()
    proxy.calm()
    revive(world)
    world.settle()
    lines, seconds = tally.logged("") - lines, time.monotonic() - begin
    must(lines < LOG_LINES * (seconds + 1), "a log has no more lines than a person can read",
         f"{lines} in {seconds:.0f} s after {what}")
    world.check()


def hole(world, tally, proxy):
    lines = tally.logged("")
    with world.load(rate=300):
        time.sleep(1)
        proxy.freeze(HOLE_SECONDS)
        time.sleep(1)
        before = positions(tally)
        time.sleep(HOLE_SECONDS - 2)
        after = positions(tally)
        ends = [world.oracle.commands.end(partition) for partition in range(world.partitions)]
        time.sleep(1)
    lines = tally.logged("") - lines
    must(lines < LOG_LINES * HOLE_SECONDS, "a log has no more lines than a person can read",
         f"{lines} in a black hole of {HOLE_SECONDS} s")
    must(before and sum(ends) > sum(before.values()) + world.partitions and all(
        at <= before[partition] for partition, at in after.items()),
        "I12: the run is invalid: nothing passes a black hole", before, after, ends)
    world.happened["black hole"] += 1
    quiet(world, tally, proxy, "a black hole")


def positions(tally):
    return {partition: position(row) for partition, row in tally.tasks().items()}


def trickle(world, tally, proxy):
    def slow():
        return sum(count for (action, _), count in proxy.done.copy().items() if action == "slow")

    before = slow()
    everything = set(REQUESTS) | {"LeaveGroup", "ApiVersions"}
    proxy.rule("slow", *everything, seconds=(SLOW_SECONDS, SLOW_SECONDS))
    with world.load(rate=300):
        time.sleep(SLOW_SECONDS)
    world.happened["trickle"] += slow() - before
    quiet(world, tally, proxy, "a link of 1 KB/s")
