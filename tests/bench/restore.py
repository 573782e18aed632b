"""Suite `restore`: tally starts with an empty state directory and a full events topic, and has to read
it all. The control reads the same topic and does nothing with it."""
import shutil
import time

from figures import Turns, measured


def run(setup):
    return setup.attempt("restore", None, lambda: run_suite(setup))


def run_suite(setup):
    setup.load()
    setup.fresh_events()
    records, turns = setup.options.records, Turns()
    tally = setup.tally("restore")
    try:
        tally.wait_series("tally_commands_total", records)
        tally.check_work(records)
    finally:
        tally.stop()
    for i in range(1, setup.options.runs + 1):
        turns.take("raw", i, lambda: setup.raw(setup.events, records))
        turns.take("tally", i, lambda: run_restore(setup, records))
    shutil.rmtree(setup.state, ignore_errors=True)
    return setup.publish("restore", None, turns, {"raw": ("per_s",)})


def run_restore(setup, records):
    """The clock runs from the first event until all tasks run, so that all of it can be queried; and on,
    until nothing is in memory alone."""
    shutil.rmtree(setup.state)
    tally = setup.tally("restore")
    try:
        seconds = tally.wait_series("tally_restored_records_total", records)
        restored = time.monotonic()
        tally.until("running", tally.all_running, every=0.02)
        seconds += time.monotonic() - restored
        cpu, rss = tally.cpu(), tally.rss()
        tally.until("flushed", lambda: tally.series('tally_state_memory_bytes{kind="runs"}') == 0)
        return measured(records, seconds, cpu * 1e6 / records, rss,
                        flushed_after_s=round(time.monotonic() - restored, 2))
    finally:
        tally.stop()
