"""The engine dies, or is asked to end, under load."""
import time

from faults import fault


@fault("kill", needs=("killed", "restored", "dead-lettered", "forwarded"))
def kill(world):
    """kill -9 again and again: commands flow, or wait for it and it catches up; some in its restart"""
    flows = world.random.random() < 0.5
    with world.load(rate=1500 if flows else 500):
        left = world.options.kills
        while left > 0:
            left -= die(world, flows, left)


def die(world, flows, left):
    """One or two kills; returns how many."""
    tally = world.instance(0)
    time.sleep(world.random.uniform(0.2, 3 if flows else 0.6))
    tally.kill()
    if not flows:
        world.send(world.random.randrange(2000, 6000))
    if left < 2 or world.random.random() > 0.3:
        world.restart(tally)
        return 1
    tally.start()
    time.sleep(world.random.uniform(0.02, 1.5))
    tally.kill()
    world.restart(tally)
    return 2


@fault("terminate")
def terminate(world):
    """SIGTERM under load, three times"""
    tally = world.instance(0)
    with world.load(rate=2000):
        for _ in range(3):
            time.sleep(world.random.uniform(0.2, 2))
            tally.stop()
            tally.start()
            world.wait_running()
