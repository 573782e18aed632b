"""Suite `restart`: kill -9 in the middle of the load and a start at once. Seconds until HTTP answers a
read of a level, until all tasks run, until a command of this life is committed. The peer's are until its
state is restored: as a static member, and once as it is by default, which waits for its session to end."""
import shutil
import time

from figures import Turns, say

EVERY = 0.005
READ = "/v1/stock/SKU-00000000/W1"  # the hottest key of the load


def run(setup):
    return setup.attempt("restart", None, lambda: run_suite(setup))


def run_suite(setup):
    setup.load()
    setup.fresh_events()
    turns, options = Turns(), setup.options
    tally = setup.tally("restart")
    try:
        for i in range(1, options.runs + 1):
            place = options.records * i // (options.runs + 1)
            tally.until("at its place", lambda: tally.position() >= place, 600, 0.02)
            turns.take("tally", i, lambda: kill_and_start(tally))
        tally.until("at the end", lambda: tally.position() >= options.records, 600)
    finally:
        tally.stop()
        shutil.rmtree(setup.state, ignore_errors=True)
    setup.raw(setup.events, options.records)
    for i in range(1, options.runs + 1 if setup.peer else 1):
        turns.take("peer", i, lambda: setup.peer.restart(f"restart-static-{i}", "group.instance.id=one"))
    if setup.peer and not options.quick:
        say("the peer's default, which takes a minute")
        turns.take("peer_default", 1, lambda: setup.peer.restart("restart-default"))
    return setup.publish("restart", None, turns, {"peer": ("running_s",), "peer_default": ("running_s",)})


def kill_and_start(tally):
    tally.kill()
    begin = time.monotonic()
    tally.start()
    seconds = {}

    def wait(name, what, condition):
        tally.until(what, condition, 120, EVERY)
        seconds[name] = round(time.monotonic() - begin, 3)

    wait("answering_s", "answering", lambda: (tally.get(READ) or [0])[0] == 200)
    wait("running_s", "running", tally.all_running)
    wait("processing_s", "processing", lambda: tally.series('tally_transactions_total{result="committed"}'))
    return seconds
