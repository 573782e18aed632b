"""Suite `restore`: tally starts with an empty state directory and a full events topic, and has to read
it all. The controls: a consumer that reads the same topic and does nothing with it, and `tally replay`, which
reads it into a directory of its own."""
import os
import re
import shutil
import subprocess
import time

from figures import Dirty, Turns, Unusable, measured


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
        turns.take("replay", i, lambda: run_replay(setup, records))
    shutil.rmtree(setup.state, ignore_errors=True)
    return setup.publish("restore", None, turns, {"raw": ("per_s",), "replay": ("per_s", "cpu_us")})


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


def run_replay(setup, records):
    """Its own clock: from the start of its consumers until all is evolved; and on, until it is on the disk."""
    shadow, log = (os.path.join(setup.folder, name) for name in ("shadow", "replay.log"))
    config = os.path.join(setup.folder, f"{setup.name}-restore.yaml")
    try:
        with open(log, "w") as file:
            process = subprocess.Popen([setup.program, "replay", "--config", config, "--into", shadow, "--execute",
                                        "--no-hash"], stdout=file, stderr=file, env=setup.environment)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        shutil.rmtree(shadow, ignore_errors=True)
    with open(log) as file:
        said = file.read()
    told = re.search(r"replayed (\d+) records of \d+ tasks in ([\d.]+) s.*after ([\d.]+) s", said)
    if process.returncode or not told:
        raise Unusable(f"tally replay ended with {process.returncode}: {said[-800:]}")
    if int(told[1]) != records:
        raise Dirty(f"tally replay read {told[1]} records, not {records}")
    return measured(records, float(told[2]), (used.ru_utime + used.ru_stime) * 1e6 / records, used.ru_maxrss // 1024,
                    flushed_after_s=round(float(told[3]) - float(told[2]), 2))
