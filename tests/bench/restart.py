"""Suite `restart`: kill -9 in the middle of the load, start again, until all tasks run and until HTTP
answers. The peer is a static member, which spares it its session timeout."""
import json
import os
import shutil
import signal
import statistics
import subprocess
import time
import urllib.request

from setup import PARTITIONS, Unusable, say


def run(setup):
    setup.load()
    setup.fresh_events()
    app, state = f"{setup.name}-restart", os.path.join(setup.folder, "restart-state")
    tally = setup.start_tally(app, state)
    running, answering = [], []
    try:
        for i in range(1, setup.options.runs + 1):
            wait_position(tally, setup.options.records * i // (setup.options.runs + 1))
            tally.process.send_signal(signal.SIGKILL)
            tally.process.wait()
            begin = time.monotonic()
            tally = setup.start_tally(app, state)
            answering.append(wait(tally, begin, lambda tasks: True))
            running.append(wait(tally, begin, all_running))
            say(f"restart {i}: answers after {answering[-1]} s, running after {running[-1]} s")
    finally:
        tally.stop()
        shutil.rmtree(state, ignore_errors=True)
    document = {"suite": "restart", "case": "full", **setup.environment_of_run(), "load": setup.load_of_run(None),
                "tally": {"threads": setup.options.threads, "running_s": running, "answering_s": answering,
                          "median_running_s": statistics.median(running)},
                "peer": run_peer(setup) if setup.has_peer() else None}
    print(json.dumps(document))


def tasks_of(tally):
    try:
        with urllib.request.urlopen(f"http://{tally.address}/v1/ops/tasks", timeout=5) as answer:
            return json.load(answer)["items"]
    except OSError:
        return None


def all_running(tasks):
    return len(tasks) == PARTITIONS and all(task["state"] == "RUNNING" for task in tasks)


def wait(tally, begin, condition):
    """Seconds since begin."""
    while True:
        tasks = tasks_of(tally)
        if tasks is not None and condition(tasks):
            return round(time.monotonic() - begin, 3)
        if time.monotonic() - begin > 120 or tally.process.poll() is not None:
            raise Unusable(f"tally did not come back, see {tally.log}")
        time.sleep(0.005)


def wait_position(tally, target):
    wait(tally, time.monotonic(), lambda tasks: sum(
        int((task["position"] or "@-1").rsplit("@", 1)[1]) + 1 for task in tasks) >= target)


def run_peer(setup):
    options = setup.options
    output, app = f"{setup.name}.peer-restart", f"{setup.name}-peer-restart"
    state = os.path.join(setup.folder, "peer-state")
    setup.create_topic(output)
    common = [setup.peer_program]
    subprocess.run([*common, "stream", options.kafka, setup.commands, output, app, state, str(options.records // 2),
                    str(options.threads), "variant=full", "end=kill", "group.instance.id=one"],
                   stdout=subprocess.DEVNULL, stderr=setup.peer_log(), env=setup.peer_environment, check=False)
    done = subprocess.run([*common, "restart", options.kafka, setup.commands, output, app, state,
                           str(options.threads), "variant=full", "group.instance.id=one"], text=True, check=True,
                          stdout=subprocess.PIPE, stderr=setup.peer_log(), env=setup.peer_environment)
    shutil.rmtree(state, ignore_errors=True)
    setup.delete_topics(lambda name: name.startswith((output, app)))
    return {"threads": options.threads, "member": "static", **json.loads(done.stdout.strip().splitlines()[-1])}
