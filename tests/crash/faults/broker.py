"""The broker dies, stops or pauses under load. tally has to come back by itself."""
import time

from faults import fault

SESSION_SECONDS = 25  # engine.session.timeout
PAUSES_MAX = 10
SESSIONS_MAX = 3


@fault("broker-kill")
def broker_kill(world):
    """kill -9 of the broker under load, started again after a moment"""
    with world.load(rate=1000) as load:
        for _ in range(world.options.broker_kills):
            time.sleep(world.random.uniform(0.2, 2))
            world.broker.kill()
            time.sleep(world.random.uniform(0, 2))
            world.broker.start()
            world.wait_running()
        load.served()


@fault("broker-stop")
def broker_stop(world):
    """a clean stop of the broker under load, started again"""
    with world.load(rate=1000) as load:
        time.sleep(world.random.uniform(0.2, 2))
        world.broker.stop()
        time.sleep(world.random.uniform(0, 3))
        world.broker.start()
        world.wait_running()
        load.served()


@fault("broker-bounce")
def broker_bounce(world):
    """five bounces of the broker, one after the other"""
    with world.load(rate=1000) as load:
        for _ in range(5):
            world.broker.stop()
            world.broker.start()
            time.sleep(world.random.uniform(0, 1))
        world.wait_running()
        load.served()


@fault("broker-pause", needs=("producer replaced",))
def broker_pause(world):
    """the broker pauses beyond socket.timeout.ms in a commit; again when it was between two"""
    world.count_paths()
    before = world.happened["producer replaced"]
    for _ in range(PAUSES_MAX):
        with world.load(rate=2000) as load:
            time.sleep(world.random.uniform(0.2, 1))
            world.broker.pause()
            time.sleep(7)
            world.broker.resume()
            world.wait_running()
            load.served()
        world.count_paths()
        if world.happened["producer replaced"] > before:
            break


@fault("broker-away", needs=("lost",))
def broker_away(world):
    """the broker is away for longer than the session: each thread has lost its partitions when it is back"""
    with world.load(rate=200) as load:
        time.sleep(world.random.uniform(0.2, 1))
        world.broker.kill()
        time.sleep(SESSION_SECONDS + 8)
        world.broker.start()
        world.wait_running()
        load.served()


JOINED_ANEW = "joining the group anew"
LOST = "partitions lost"
ASLEEP_SECONDS = 60  # the session, the start of a broker, and a heartbeat


@fault("session-over", scenario=True, needs=("joined anew",))
def session_over(world):
    """a session ends while its thread is busy, and the broker, killed, still knows the member: no other has its name"""
    first = world.instance(0)
    first.configure({"engine.threads": 1, "engine.session.timeout": "17s", "engine.transaction.timeout": "2s",
                     "engine.max.poll.interval": "180s"})
    world.begin()
    for _ in range(SESSIONS_MAX):
        end_session(world, first)
        if first.logged(JOINED_ANEW):
            break
    world.settle()
    world.check()


def end_session(world, first):
    """The broker has to be back before the thread wakes up: only then has it had a heartbeat of the old member."""
    over, lost = first.logged("SESSTMOUT"), first.logged(LOST)
    first.stop()
    asleep = first.logged("site=loop.poll.after")
    first.environment["TALLY_FAIL"] = f"loop.poll.after:20:delay={ASLEEP_SECONDS * 1000}"
    first.start()
    del first.environment["TALLY_FAIL"]
    with world.load(rate=200) as load:
        world.wait("asleep", lambda _: first.logged("site=loop.poll.after") > asleep)
        world.broker.kill()
        world.wait("without a session", lambda _: first.logged("SESSTMOUT") > over)
        world.broker.start()
        world.wait("told that its session is over", lambda _: first.logged(LOST) > lost)
        world.wait_running()
        load.served()
