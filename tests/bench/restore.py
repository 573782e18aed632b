"""Suite `restore`: tally starts with an empty state directory and a full events topic, and has to read
it all. The control reads the same topic and does nothing with it."""
import json
import os
import shutil

from setup import measured, ratio, say, summary


def run(setup):
    setup.load()
    records = setup.options.records
    app = f"{setup.name}-restore"
    state = os.path.join(setup.folder, "restore-state")
    setup.fresh_events()
    tally = setup.start_tally(app, state)
    try:
        tally.wait("tally_commands_total", records)
    finally:
        tally.stop()
    raw, restored = [], []
    for i in range(1, setup.options.runs + 1):
        raw.append(setup.raw(setup.events, records))
        restored.append(run_restore(setup, app, state, records))
        say(f"restore {i}: {restored[-1]['per_s']}/s, raw {raw[-1]['per_s']}/s")
    shutil.rmtree(state, ignore_errors=True)
    raw, restored = summary(raw), summary(restored)
    print(json.dumps({"suite": "restore", "case": "full", **setup.environment_of_run(), "load": setup.load_of_run(setup.record_bytes),
                      "tally": {"threads": setup.options.threads, **restored}, "raw": raw,
                      "ratio": {"raw": ratio(restored, raw)}}))


def run_restore(setup, app, state, records):
    shutil.rmtree(state)
    tally = setup.start_tally(app, state)
    try:
        seconds = tally.wait("tally_restored_records_total", records)
        return measured(records, seconds, tally.cpu() * 1e6 / records, tally.rss())
    finally:
        tally.stop()
