"""Suite `load`: three instances of one application under mixed reads and writes from Locust, at a steady rate; in the
middle of it one is killed with SIGKILL and started again at once. What counts is the whole run, the kill included."""
import json
import os
import shutil
import subprocess
import time

import packages
from figures import Turns, Unusable, rss_mb, say
from sides import PARTITIONS

LOCUST = [*packages.PACKAGES, "locust==2.43.4"]
NAMES = ("a", "b", "c")
VICTIM = 1
USERS, RATE = 105, 2200  # requests a second; users keep a little below what they are told
READS, WRITES = 4, 1
SKUS, RECORDS = 2000, 40000
SECONDS, QUICK_SECONDS = 60, 12
WORKERS = 256  # http.threads: every user may come to every instance


def run(setup):
    return setup.attempt("load", None, lambda: run_suite(setup))


def run_suite(setup):
    turns = Turns()
    for number in range(1, 2 if setup.options.quick else setup.options.runs + 1):
        turns.take("tally", number, lambda: run_group(setup, number))
    return setup.publish("load", None, turns, {}, instances=len(NAMES), users=USERS, rate=RATE,
                         mix=f"{READS} reads to {WRITES} write", killed=NAMES[VICTIM])


def run_group(setup, number):
    setup.empty_topics()
    skus, setup.options.skus = setup.options.skus, SKUS
    keys, setup.options.keys = setup.options.keys, "uniform"
    setup.generate(RECORDS, 0)
    setup.options.skus, setup.options.keys = skus, keys
    group = []
    try:
        for name in NAMES:
            group.append(setup.tally(f"load-{number}-{name}", {
                "app.id": f"{setup.name}-load-{number}", "instance.id": name, "http.threads": WORKERS,
                "engine.threads": 1}, state=f"{setup.state}-{name}"))
        group[0].until("sharing the partitions", lambda: shared(group) and caught_up(group), 120)
        return under_load(setup, group)
    finally:
        for tally in group:
            tally.kill()
        for name in NAMES:
            shutil.rmtree(f"{setup.state}-{name}", ignore_errors=True)


def running(tally):
    return [task for task in tally.tasks() if task["state"] == "RUNNING"]


def shared(group):
    """Each has some, and together they have all."""
    counts = [len(running(tally)) for tally in group]
    return all(counts) and sum(counts) == PARTITIONS


def caught_up(group):
    return all(task["lag"] == 0 for tally in group for task in running(tally))


def locust():
    """Python of an environment of its own."""
    home = os.path.join(os.environ.get("TALLY_CACHE") or os.path.expanduser("~/.cache/tally"), "venv-load")
    python = os.path.join(home, "bin", "python")
    if not packages.is_current(home, LOCUST):
        packages.make(home, python, LOCUST)
    return python


def under_load(setup, group):
    seconds = QUICK_SECONDS if setup.options.quick else SECONDS
    result = os.path.join(setup.folder, "locust.json")
    settings = {"addresses": [tally.address for tally in group], "rate_of_user": RATE / USERS, "skus": SKUS,
                "reads": READS, "writes": WRITES}
    command = [locust(), "-m", "locust", "-f", os.path.join(os.path.dirname(os.path.abspath(__file__)), "load_users.py"),
               "--headless", "--only-summary", "-u", str(USERS), "-r", str(USERS), "-t", f"{seconds}s",
               "--exit-code-on-error", "0"]
    with open(os.path.join(setup.folder, "locust.log"), "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log,
                                   env={**setup.environment, "LOAD_SETTINGS": json.dumps(settings), "LOAD_RESULT": result})
        try:
            time.sleep(seconds / 2)
            killed = time.monotonic()
            group[VICTIM].kill()
            group[VICTIM].start()
            group[VICTIM].until("running again", lambda: shared(group), 60, every=0.02)
            back = time.monotonic()
            process.wait(seconds + 60)
        finally:
            process.kill()
    if process.returncode:
        raise Unusable(f"locust ended with {process.returncode}, see {log.name}")
    return figures(result, killed, back, group)


def figures(path, killed, back, group):
    with open(path) as file:
        result = json.load(file)
    over_time = result["over_time"][:-1]  # the last second was not whole
    for reason, count in result["reasons"].items():
        say(f"  {count} times {reason}")
    return {"requests": result["requests"], "per_s": round(sum(one["requests"] for one in over_time) / len(over_time)),
            "error_percent": round(result["failed"] * 100 / result["requests"], 4),
            "p50_ms": result["quantiles_ms"]["0.5"], "p95_ms": result["quantiles_ms"]["0.95"],
            "p99_ms": result["quantiles_ms"]["0.99"], "attempts_each": round(result["attempts"] / result["requests"], 3),
            "back_s": round(back - killed, 3), "killed_at_s": round(killed - result["began"], 2),
            "rss_mb": max(rss_mb(tally.pid) for tally in group), "reasons": result["reasons"], "over_time": over_time}
