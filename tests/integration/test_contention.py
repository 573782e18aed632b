#!/usr/bin/env python3
"""test_contention.py [--full] [--seed N] [--clients N --rounds N] [--pairs N] [--races N]

Reservations on a real broker, two instances of one group, either of them killed at random: of many clients for one
unit one wins; {x, y} against {y, x} neither waits for ever nor leaves anything behind; a commit and an expiry of the
same moment: one of them counts. At the end no hold is left that no reservation owns, and `tally fsck` finds nothing.
The sizes of a run are small unless --full is given (./dev sagas). TEST_KAFKA: host:port; TEST_TALLY: the program."""
import argparse
import contextlib
import datetime
import heapq
import os
import pathlib
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "crash"))

import packages  # noqa: E402

packages.use()

from contention_world import ENDED, World  # noqa: E402
from verdict import Broken, Violation, must  # noqa: E402

SMALL = {"clients": 200, "rounds": 4, "pairs": 40, "races": 300}
FULL = {"clients": 1000, "rounds": 200, "pairs": 2000, "races": 10000}
BATCH = 500  # races and pairs at the same time
AROUND = -0.05, 0.25  # seconds after the expiry: its own record comes a little later
SETTLED = ENDED | {"CONFIRMED", "COMMITTED"}


def say(text):
    print(f"test_contention: {text}", flush=True)


def settle(world, keys):
    world.wait("every reservation is settled", lambda: all(world.events.states.get(key) in SETTLED for key in keys))


def one_unit(world, options):
    """Everybody wants the same unit at the same time."""
    world.kill_at_random()
    for number in range(options.rounds):
        sku = f"ONE-{number}"
        keys = [f"one-{number}-{client}" for client in range(options.clients)]
        world.send("stock", sku, "ReceiveStock", warehouse="W1", quantity=1)
        world.flush()
        for key in keys:
            world.send("reservation", key, "ReserveStock", lines=[{"sku": sku, "quantity": 1}], ttl_s=86400)
        world.flush()
        settle(world, keys)
        winners = [key for key in keys if world.events.states[key] == "CONFIRMED"]
        must(len(winners) == 1, "of all clients for one unit one wins", sku, winners)
        if number % 20 == 19:
            say(f"{number + 1} rounds, {world.killer.kills} kills, {world.events.retried} retries")
    kills = world.killer.kills
    world.stop_killing()
    return f"{options.rounds} rounds of {options.clients} clients, one winner each, {kills} kills"


def crossed(world, options):
    """{x, y} against {y, x}, one unit of each."""
    world.kill_at_random()
    won = 0
    for begin in range(0, options.pairs, BATCH):
        numbers = range(begin, min(begin + BATCH, options.pairs))
        keys = [f"{side}-{number}" for number in numbers for side in ("xy", "yx")]
        for number in numbers:
            for name in "XY":
                world.send("stock", f"{name}-{number}", "ReceiveStock", warehouse="W1", quantity=1)
        world.flush()
        for number in numbers:
            for side in ("xy", "yx"):
                world.send("reservation", f"{side}-{number}", "ReserveStock", ttl_s=86400,
                           lines=[{"sku": f"{name.upper()}-{number}", "quantity": 1} for name in side])
        world.flush()
        settle(world, keys)
        for number in numbers:
            winners = [side for side in ("xy", "yx") if world.events.states[f"{side}-{number}"] == "CONFIRMED"]
            must(len(winners) <= 1, "two cannot have the same", number, winners)
            won += len(winners)
        for key in keys:
            world.send("reservation", key, "ReleaseReservation")
        world.flush()
        world.wait("all are given back", lambda: all(world.events.states[key] in ENDED for key in keys))
    must(won > 0, "somebody wins")
    kills = world.killer.kills
    world.stop_killing()
    return f"{options.pairs} pairs, {won} with a winner, {world.events.retried} retries, {kills} kills"


def seconds_of(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def raced(world, options):
    """A commit at the moment of the expiry: never both, never neither."""
    world.kill_at_random()
    world.send("stock", "RACE", "ReceiveStock", warehouse="W1", quantity=options.races)
    counts = {"COMMITTED": 0, "EXPIRED": 0}
    for begin in range(0, options.races, BATCH):
        keys = [f"race-{number}" for number in range(begin, min(begin + BATCH, options.races))]
        for key in keys:
            world.send("reservation", key, "ReserveStock", lines=[{"sku": "RACE", "quantity": 1}],
                       ttl_s=world.random.randint(1, 3))
        world.flush()
        commit_at_expiry(world, keys)
        world.wait("all are committed or expired",
                   lambda: all(world.events.states.get(key) in ("COMMITTED", "EXPIRED") for key in keys))
        for key in keys:
            must(world.events.reached[key][-2:] in (["CONFIRMED", "COMMITTED"], ["CONFIRMED", "EXPIRED"]),
                 "a reservation was committed or has expired, never both", key, world.events.reached[key])
            counts[world.events.states[key]] += 1
    must(all(counts.values()), "both have won", counts)
    kills = world.killer.kills
    world.stop_killing()
    return f"{options.races} races, {counts['COMMITTED']} committed, {counts['EXPIRED']} expired, {kills} kills"


def commit_at_expiry(world, keys):
    waiting, due, end = set(keys), [], time.monotonic() + 120
    while waiting or due:
        for key in [key for key in waiting if world.events.states.get(key, "HOLDING") != "HOLDING"]:
            waiting.discard(key)
            if world.events.states[key] == "CONFIRMED":
                at = seconds_of(world.events.expires[key]) + world.random.uniform(*AROUND)
                heapq.heappush(due, (at, key))
        while due and due[0][0] <= time.time():
            world.send("reservation", heapq.heappop(due)[1], "CommitReservation", order_id="O-1")
        world.producer.poll(0)
        must(time.monotonic() < end, "reservations are confirmed", sorted(waiting)[:3])
        time.sleep(0.001)
    world.flush()


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", choices=("one_unit", "crossed", "raced"), help="one part")
    for name in SMALL:
        parser.add_argument(f"--{name}", type=int)
    options = parser.parse_args()
    for name, size in (FULL if options.full else SMALL).items():
        if getattr(options, name) is None:
            setattr(options, name, size)
    return options


def main():
    options, done, failed = parse(), 0, 0
    say(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(
            World(folder, os.environ["TEST_KAFKA"], os.environ["TEST_TALLY"], options.seed)) as world:
        for part in (one_unit, crossed, raced):
            if options.only not in (None, part.__name__):
                continue
            begin = time.monotonic()
            try:
                say(f"{part(world, options)}, in {time.monotonic() - begin:.0f} s")
                world.check_holds()
                done += 1
            except (Violation, Broken) as error:
                say(f"{part.__name__}: {error}")
                failed += 1
                break
        if not failed:
            try:
                world.fsck()
                done += 1
            except (Violation, Broken) as error:
                say(f"fsck: {error}")
                failed += 1
    print(f"{100 * done // (done + failed)}%: Checks: {done + failed}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
