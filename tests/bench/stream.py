"""Suite `stream`: tally, peer and raw consumer in turns over the same commands, each run with a new
group, empty state and new output topics. The clock runs from the first to the last record; CPU is that
of the whole process, from its start. Case `full`: level, ledger, outcome and one event per command;
`simple`: level and event alone. Both exactly once. Before the first that counts, each side has one run that
does not: a broker just started spends two to three times as much on each request as a warm one."""
import shutil

from figures import Sampler, Turns, measured, say
from setup import SIMPLE

CASES = {"full": {}, "simple": SIMPLE}


def run(setup):
    setup.load()
    return all([setup.attempt("stream", case, lambda: run_case(setup, case, CASES[case]))
                for case in CASES if setup.options.case in (case, "all")])


def run_case(setup, case, settings):
    say(f"stream {case}")
    if not setup.options.quick:
        turn(setup, Turns(), case, "warm-up", settings)
    turns = Turns()
    for i in range(1, setup.options.runs + 1):
        turn(setup, turns, case, i, settings)
    return setup.publish("stream", case, turns, {"peer": ("per_s", "cpu_us", "rss_mb"), "raw": ("per_s",)},
                         warm_up="none" if setup.options.quick else "one run of each side")


def turn(setup, turns, case, i, settings):
    turns.take("raw", i, lambda: setup.raw(setup.commands, setup.options.records))
    turns.take("tally", i, lambda: run_tally(setup, f"{case}-{i}", settings))
    if setup.peer:
        turns.take("peer", i, lambda: setup.peer.stream(f"{case}-{i}", case))


def run_tally(setup, app, settings):
    records = setup.options.records
    setup.fresh_events()
    broker = setup.broker_cpu()
    tally = setup.tally(app, settings)
    try:
        with Sampler(tally.pid) as rss:
            seconds = tally.wait_series("tally_commands_total", records)
            result = measured(records, seconds, tally.cpu() * 1e6 / records, tally.rss(),
                              broker_cpu_us=round((setup.broker_cpu() - broker) * 1e6 / records, 3))
        tally.check_work(records)
    finally:
        tally.stop()
        shutil.rmtree(setup.state, ignore_errors=True)
    setup.raw(setup.events, records)
    return {**result, "rss_over_time": rss.result()}
