"""Suite `stream`: tally, peer and raw consumer in turns over the same commands, each run with a new
group, empty state and new output topics. The clock runs from the first to the last record; CPU is that
of the whole process, from its start."""
import json
import os
import shutil
import subprocess

from setup import Unusable, measured, ratio, say, summary


def run(setup):
    setup.load()
    raw, tally, peer = [], [], []
    for i in range(1, setup.options.runs + 1):
        raw.append(setup.raw(setup.commands, setup.options.records))
        size = setup.record_bytes
        say(f"raw {i}: {raw[-1]['per_s']}/s")
        tally.append(run_tally(setup, i))
        say(f"tally {i}: {tally[-1]['per_s']}/s, {tally[-1]['cpu_us']} us, {tally[-1]['rss_mb']} MB")
        if setup.has_peer():
            peer.append(run_peer(setup, i))
            say(f"peer {i}: {peer[-1]['per_s']}/s, {peer[-1]['cpu_us']} us, {peer[-1]['rss_mb']} MB")
    if not peer:
        say(f"no peer: {setup.options.peer} is missing, see --peer")
    print(json.dumps(document(setup, size, summary(raw), summary(tally), summary(peer) if peer else None)))


def run_tally(setup, number):
    records = setup.options.records
    app = f"{setup.name}-tally-{number}"
    state = os.path.join(setup.folder, "state")
    setup.fresh_events()
    broker = setup.broker_cpu()
    tally = setup.start_tally(app, state)
    try:
        seconds = tally.wait("tally_commands_total", records)
        result = measured(records, seconds, tally.cpu() * 1e6 / records, tally.rss(),
                          broker_cpu_us=round((setup.broker_cpu() - broker) * 1e6 / records, 3))
        accepted = tally.series('tally_commands_total{topology="stock",outcome="accepted"}')
    finally:
        tally.stop()
        shutil.rmtree(state, ignore_errors=True)
    check(setup, tally)
    if accepted is not None and accepted not in (0, records):
        raise Unusable(f"tally accepted {accepted} of {records} commands: not the same work")
    return result


def check(setup, tally):
    if tally.process.returncode:
        raise Unusable(f"tally run ended with {tally.process.returncode}, see {tally.log}")
    events = setup.raw(setup.events, setup.options.records)
    say(f"  {setup.options.records} events committed, read at {events['per_s']}/s")


def run_peer(setup, number):
    options = setup.options
    output, app = f"{setup.name}.peer-{number}", f"{setup.name}-peer-{number}"
    state = os.path.join(setup.folder, "peer-state")
    setup.create_topic(output)
    broker = setup.broker_cpu()
    done = subprocess.run([setup.peer_program, "stream", options.kafka, setup.commands, output, app, state,
                           str(options.records), str(options.threads), "variant=full"], text=True,
                          stdout=subprocess.PIPE, stderr=setup.peer_log(), env=setup.peer_environment, check=True)
    broker = setup.broker_cpu() - broker
    result = json.loads(done.stdout.strip().splitlines()[-1])
    shutil.rmtree(state, ignore_errors=True)
    setup.delete_topics(lambda name: name.startswith((output, app)))
    return measured(options.records, result["seconds"], result["cpu_us_per_record"], result["max_rss_mb"],
                    warm_per_s=result["warm_records_per_s"], warm_cpu_us=result["warm_cpu_us_per_record"],
                    broker_cpu_us=round(broker * 1e6 / options.records, 3))


def document(setup, size, raw, tally, peer):
    return {"suite": "stream", "case": "full", **setup.environment_of_run(), "load": setup.load_of_run(size),
            "tally": {"threads": setup.options.threads, "events_per_command": 1, **tally},
            "peer": {"threads": setup.options.threads, "heap": "512m", **peer} if peer else None, "raw": raw,
            "ratio": {"peer": ratio(tally, peer), "raw": ratio(tally, raw), "cpu_peer": ratio(tally, peer, "cpu_us"),
                      "rss_peer": ratio(tally, peer, "rss_mb")}}
