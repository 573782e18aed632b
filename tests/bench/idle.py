"""Suite `idle`: memory and CPU of an instance that has nothing to do."""
import shutil
import time

from figures import Turns, cpu_seconds, rss_mb

SETTLE_SECONDS = 30  # a JVM is not idle before; nor is tally, which flushes what its start has written


def run(setup):
    return setup.attempt("idle", None, lambda: run_suite(setup))


def run_suite(setup):
    turns = Turns()
    setup.empty_topics()
    for i in range(1, 1 + (1 if setup.options.quick else 2)):
        turns.take("tally", i, lambda: run_tally(setup, i))
        if setup.peer:
            turns.take("peer", i, lambda: run_peer(setup, i))
    return setup.publish("idle", None, turns, {"peer": ("rss_mb", "cpu_percent")})


def watch(setup, pid):
    time.sleep(SETTLE_SECONDS)
    cpu = cpu_seconds(pid)
    time.sleep(setup.options.seconds)
    return {"rss_mb": rss_mb(pid, "VmRSS"), "own_mb": rss_mb(pid, "RssAnon"),  # the rest are pages of files
            "cpu_percent": round((cpu_seconds(pid) - cpu) * 100 / setup.options.seconds, 2)}


def run_tally(setup, number):
    tally = setup.tally(f"idle-{number}")
    try:
        tally.wait_started()
        return watch(setup, tally.pid)
    finally:
        tally.stop()
        shutil.rmtree(setup.state, ignore_errors=True)


def run_peer(setup, number):
    process = setup.peer.stay(f"idle-{number}")
    try:
        return watch(setup, process.pid)
    finally:
        setup.peer.end(process)
        setup.peer.discard()
