#!/usr/bin/env python3
"""The workflows of GitHub: actionlint takes them, refuses mistakes that are planted, and they check nothing but through ./dev."""
import re
import tempfile
import pathlib

from clean_tree import ROOT, Checks, run
from manifests import build

check = Checks("test_workflows")
WORKFLOWS = ROOT / ".github" / "workflows"
# Besides ./dev: what brings git into a container, and what publishes.
ALLOWED = re.compile(r"\./dev |apt-get update && apt-get install -y git ca-certificates$|git config --global --add safe\.directory |"
                     r"docker (run|push|compose|buildx imagetools) |sha256sum |gh release create ")
WRONG = [("runs-on: ubuntu-24.04", "runs-on: ubuntu-24.4", "ubuntu-24.4"),
         ("timeout-minutes: 60", "timeout-minuets: 60", "timeout-minuets"),
         ("uses: actions/checkout@v4", "uses: actions/checkout", "actions/checkout"),
         ("${{ matrix.", "${{ matrx.", "matrx"),
         ("permissions:\n  contents: read", "permissions:\n  contents: raed", "raed")]


def commands(text):
    """Every command of a `run:`, continuations joined."""
    for block in re.findall(r"^( *)- run: (?:\|\n((?:\1 {4}.*\n)+)|(.*)$)", text, re.M):
        for line in re.sub(r"\\\n\s*", " ", block[1] or block[2]).splitlines():
            yield line.strip()


def planted(program, path):
    text = path.read_text()
    for right, wrong, named in WRONG:
        if not check(right in text, f"{right!r} is in {path.name}"):
            continue
        with tempfile.TemporaryDirectory() as folder:
            broken = pathlib.Path(folder) / path.name
            broken.write_text(text.replace(right, wrong, 1))
            done = run(program, "workflows", broken)
            check(done.returncode == 1 and named in done.stderr, f"{path.name}: {wrong!r} is refused by name", done.stderr)


def main():
    program = build()
    paths = sorted(WORKFLOWS.glob("*.yml"))
    check({path.name for path in paths} == {"ci.yml", "release.yml"}, "the workflows", paths)
    done = run(program, "workflows", *paths, cwd=ROOT)
    check(done.returncode == 0, "actionlint takes them", done.stderr)
    kinds = re.search(r"all='([a-z ]+)'", (ROOT / "tools" / "dev" / "test.sh").read_text())[1].split()
    listed = re.search(r"kind: \[([a-z, ]+)\]", (WORKFLOWS / "ci.yml").read_text())[1].split(", ")
    check(set(listed) == set(kinds) - {"lint", "unit", "topology"}, "CI runs every kind of tests, those of ./dev check there",
          set(listed) ^ set(kinds))
    verbs = re.findall(r"^  ([a-z-]+) +\S", run(ROOT / "dev", "help").stdout, re.M)
    for path in paths:
        for command in commands(path.read_text()):
            check(ALLOWED.match(command), f"{path.name}: it is ./dev that checks", command)
            verb = re.match(r"\./dev ([a-z-]+)", command)
            check(not verb or verb[1] in verbs, f"{path.name}: ./dev has the verb", command)
    for path in paths:
        planted(program, path)
    check.end()


main()
