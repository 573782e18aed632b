"""Suite `restore`: tally starts with an empty state directory and a full events topic, and has to read
it all. The control reads the same topic and does nothing with it."""
import shutil

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
    """The clock ends when all tasks run: all of it can be queried, and what was flushed is on disk."""
    shutil.rmtree(setup.state)
    tally = setup.tally("restore")
    try:
        seconds = tally.wait_series("tally_restored_records_total", records)
        return measured(records, seconds, tally.cpu() * 1e6 / records, tally.rss())
    finally:
        tally.stop()
