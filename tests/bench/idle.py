"""Suite `idle`: memory and CPU of an instance that has nothing to do."""
import json
import os
import shutil
import time

from setup import say

SECONDS = 15


def run(setup):
    setup.empty_topics()
    state = os.path.join(setup.folder, "idle-state")
    tally = setup.start_tally(f"{setup.name}-idle", state)
    try:
        tally.wait_ready()
        time.sleep(3)
        cpu = tally.cpu()
        time.sleep(SECONDS)
        result = {"rss_mb": tally.rss_now(), "cpu_percent": round((tally.cpu() - cpu) * 100 / SECONDS, 2)}
    finally:
        tally.stop()
        shutil.rmtree(state, ignore_errors=True)
    say(f"idle: {result}")
    print(json.dumps({"suite": "idle", **setup.environment_of_run(), "tally": result}))
