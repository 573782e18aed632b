"""Figures: what /proc tells of a process, medians and ranges, and what makes a measurement void."""
import os
import re
import statistics
import subprocess
import sys
import threading

TICKS = os.sysconf("SC_CLK_TCK")
SAMPLE_SECONDS = 0.5


class Unusable(Exception):
    """The measurement means nothing; the text says why."""


class Dirty(Unusable):
    """A topic does not hold what it should, so nothing that was measured on it counts."""


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def cpu_seconds(pid):
    """Of the whole process, from its start."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(pid, name="VmHWM"):
    """VmHWM: the highest so far; VmRSS: now."""
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(name + r":\s+(\d+)", file.read())[1]) // 1024


class Sampler:
    """VmRSS of a process, twice a second, from a thread of its own until the end of the `with`."""

    def __init__(self, pid):
        self.pid, self.mb = pid, []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.sample)

    def sample(self):
        while not self.ended.wait(SAMPLE_SECONDS if self.mb else 0):
            try:
                self.mb.append(rss_mb(self.pid, "VmRSS"))
            except (OSError, TypeError):  # the process is gone
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def result(self):
        return {"every_s": SAMPLE_SECONDS, "mb": self.mb}


def listener(port):
    """The process that listens on a local port, or None."""
    rows = []
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(name) as file:
            rows += [line.split() for line in file.readlines()[1:]]
    inodes = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].rsplit(":", 1)[1], 16) == port}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{descriptor}") in inodes:
                    return int(pid)
        except OSError:
            continue
    return None


# --- several runs -------------------------------------------------------------------------------


def measured(records, seconds, cpu_us, rss, **more):
    return {"per_s": round(records / seconds), "cpu_us": round(cpu_us, 3), "rss_mb": rss, **more}


def median(values):
    return round(statistics.median(values), 3)


def summary(runs):
    """Medians, and the ranges that a difference must exceed to be one."""
    result = {"runs": runs}
    for name in (name for name, value in runs[0].items() if isinstance(value, (int, float))):
        values = [run[name] for run in runs]
        result[name] = {"median": median(values), "range": [min(values), max(values)]}
    return result


def ratio(one, other, name):
    return round(one[name]["median"] / other[name]["median"], 4) if other[name]["median"] else None


class Turns:
    """Runs of several sides, in turns. A reference that fails is left out from then on and void; tally
    failing, or a dirty topic, ends the suite."""

    def __init__(self):
        self.runs, self.void = {}, {}

    def take(self, side, number, measure):
        if side in self.void:
            return
        try:
            result = measure()
        except (Unusable, subprocess.CalledProcessError) as error:
            if side == "tally" or isinstance(error, Dirty):
                raise
            say(f"{side} {number} FAILED, no ratio to it: {error}")
            self.void[side] = str(error)
            self.runs.pop(side, None)
            return
        self.runs.setdefault(side, []).append(result)
        shown = {name: value for name, value in result.items() if isinstance(value, (int, float))}
        say(f"{side} {number}: {' '.join(f'{name}={value}' for name, value in shown.items())}")

    def summary(self):
        return {side: summary(runs) for side, runs in self.runs.items()}
