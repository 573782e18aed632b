"""Kills under sagas: reservations, transfers and products whose messages cross four topologies."""
import time

from domain import Domain
from faults import fault

COMMANDS = 3000
RECORDS = 60  # between two looks at the clock


@fault("sagas", scenario=True, needs=("confirmed", "dispatched", "created", "retried"))
def sagas(world):
    """kill -9 one of two instances that run all topologies, while sagas and transfers are on their way"""
    domain = Domain(world)
    try:
        for instance in domain.instances:
            instance.start()
        domain.wait_running()
        domain.send(domain.stream.begin())
        domain.flush()
        domain.check()
        kills = world.options.kills
        for number in range(kills):
            load(domain, COMMANDS // kills, world.random.uniform(0.5, 2))
            instance = domain.instances[number % len(domain.instances)]
            instance.kill()
            load(domain, RECORDS, 0)
            instance.start()
            if number % 3 == 2:
                domain.wait_running()
                domain.check()
        domain.wait_running()
        domain.finish()
        seen = domain.judge.counts
        for what, event in (("confirmed", "ReservationConfirmed"), ("dispatched", "TransferDispatched"),
                            ("created", "ProductCreated"), ("retried", "ReservationRetried"),
                            ("expired", "ReservationExpired")):
            world.happened[what] += seen[event]
    finally:
        domain.close()


def load(domain, count, seconds):
    """Evenly over the time, so that a kill meets sagas at every step."""
    parts = max(1, count // RECORDS)
    for _ in range(parts):
        domain.send(domain.stream.some(RECORDS))
        time.sleep(seconds / parts)
    domain.flush()
