"""The report of `./dev crash --long`: one JSON line for each finished round."""
import hashlib
import json
import os
import subprocess
import time
from collections import Counter

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TESTED = ("apps", "connectors", "engine", "http", "schemas", "state", "topologies")


def git(*arguments):
    return subprocess.run(["git", "-C", ROOT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=False).stdout


def tree():
    """The commit, whether it was changed since, and what tells this program's sources from others."""
    changes = git("diff", "HEAD", "--", *TESTED)
    sources = git("rev-parse", *(f"HEAD:{folder}" for folder in TESTED)) + changes
    return {"commit": git("rev-parse", "--short", "HEAD").decode().strip(),
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no").strip()),
            "sources": hashlib.sha256(sources).hexdigest()[:12]}


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:12]


class Report:
    """`facts`: of what is tested, as tree() tells them and told by who started this process: the tree
    may have changed since its program was copied."""

    def __init__(self, path, facts=None):
        self.path = path
        self.tree = facts or tree()

    def add(self, **facts):
        whole = not os.path.exists(self.path) or ends_a_line(self.path)
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **self.tree, **facts}
        with open(self.path, "a") as file:
            file.write("\n" * (not whole) + json.dumps(line) + "\n")

    def lines(self):
        """Of rounds of these sources; what was found in others says nothing about them."""
        if not os.path.exists(self.path):
            return []
        with open(self.path, errors="replace") as file:
            lines = [parsed(line) for line in file]
        return [line for line in lines if line and line["sources"] == self.tree["sources"]]


def parsed(text):
    """None: it was cut off when the process, or the machine, came to its end."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and "sources" in line else None


def ends_a_line(path):
    with open(path, "rb") as file:
        if not file.seek(0, os.SEEK_END):
            return True
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def bad(line):
    return line["verdict"] != "ok" and not line["verdict"].startswith("skipped")


class Sums:
    """What the lines of a report add up to."""

    def __init__(self, lines):
        self.rounds, self.violations, self.seconds, self.kills = Counter(), Counter(), Counter(), Counter()
        self.skipped = Counter()
        self.happened = Counter()
        self.restarts = []
        self.commits = []
        for line in lines:
            name = line["fault"]
            self.rounds[name] += 1
            self.skipped[name] += line["verdict"].startswith("skipped")
            self.violations[name] += bad(line)
            self.seconds[name] += line["seconds"]
            self.kills[name, "engine"] += line["engine_kills"]
            self.kills[name, "broker"] += line["broker_kills"]
            self.happened.update(line["happened"])
            self.restarts += line["restarts"]
            if line["commit"] + "+" * line["dirty"] not in self.commits:
                self.commits.append(line["commit"] + "+" * line["dirty"])

    def total(self, whose):
        return sum(n for (_, killed), n in self.kills.items() if killed == whose)

    def table(self):
        form = "{:<18}{:>8}{:>14}{:>14}{:>10}{:>12}"
        rows = [form.format("fault", "rounds", "engine kills", "broker kills", "minutes", "violations")]
        for name in sorted(self.rounds):
            rows.append(form.format(name, self.rounds[name], self.kills[name, "engine"], self.kills[name, "broker"],
                                    f"{self.seconds[name] / 60:.1f}", self.violations[name]))
        rows.append(form.format("all", sum(self.rounds.values()), self.total("engine"), self.total("broker"),
                                f"{sum(self.seconds.values()) / 60:.1f}", sum(self.violations.values())))
        rows.append("happened: " + ", ".join(f"{n} {path}" for path, n in sorted(self.happened.items()) if n))
        if self.restarts:
            rows.append("seconds from a start after kill -9 until all tasks ran: " + ", ".join(
                f"{name} {percentile(self.restarts, share):.2f}"
                for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("longest", 1))))
        rows.append(f"commits {', '.join(self.commits)}")
        return "\n".join(rows)


def percentile(numbers, share):
    ordered = sorted(numbers)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
