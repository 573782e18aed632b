#!/usr/bin/env python3
"""What docs/operations.md and the READMEs of k8s/ and packaging/ say: verbs, options and settings that there are, files that are in
the tree, a drop-in that systemd takes. TEST_TALLY: the program."""
import pathlib
import re
import tempfile

from install_tree import PROGRAM, ROOT, Checks, install, run

check = Checks("test_operations")
DOCUMENTS = ("docs/operations.md", "k8s/README.md", "packaging/README.md")
COMMAND = re.compile(r"\btally (?!tally\b)([a-z]+)((?: +(?:-{1,2}[a-z][\w.-]*|[a-z|]+|/[\w./]+))*)")


def code_of(text):
    """Indented and fenced blocks, and what stands between backticks."""
    return "\n".join(re.findall(r"^    .*$", text, re.M) + re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
                     + re.findall(r"`([^`\n]+)`", text))


def commands(name, code, verbs):
    helps = {}
    for verb, rest in COMMAND.findall(code):
        if not check(verb in verbs, f"{name}: tally {verb} is a verb"):
            continue
        if verb not in helps:
            helps[verb] = run(PROGRAM, verb, "--help").stdout
        for option in re.findall(r"(?<= )--([a-z][\w.-]*)", rest):
            known = f"--{option} " in helps[verb] or option == "config" and "--config" in helps[verb]
            check(known, f"{name}: tally {verb} has --{option}")


def settings(name, text, code):
    docs = run(PROGRAM, "config", "docs").stdout
    known = dict(re.findall(r"^\| `([a-z_.]+)` \| `(TALLY_[A-Z_]+)` ", docs, re.M))
    for variable in set(re.findall(r"\bTALLY_[A-Z_]+\b", text)):
        check(variable.removesuffix("_FILE") in known.values() or variable == "TALLY_", f"{name}: {variable} is of a setting")
    families = {setting.split(".")[0] for setting in known}
    for word in set(re.findall(r"(?<![\w./-])[a-z]+(?:\.[a-z_]+)+(?![\w/.-]|\()", code)):
        if word.split(".")[0] in families and not re.search(r"\.(yaml|service|md|sh|c|h|a)$", word):
            check(word in known, f"{name}: {word} is a setting")


def files(name, text, verbs):
    for path in set(re.findall(r"`((?:k8s|docs|packaging|tests|cmake|engine|connectors|http|state|samples)/[\w./-]*)`", text)):
        check((ROOT / path).exists(), f"{name}: {path} is there")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        check("://" in target or (ROOT / name).parent.joinpath(target).exists(), f"{name}: the link to {target}")
    for verb in set(re.findall(r"\./dev ([a-z-]+)", text)):
        check(verb in verbs, f"{name}: ./dev {verb} is a verb")


def drop_in(text):
    """The example, beside the unit."""
    example = re.search(r"^```ini\n(.*?)^```", text, re.M | re.S)[1]
    with tempfile.TemporaryDirectory(prefix="tally-drop-in-") as folder:
        prefix = pathlib.Path(folder).resolve()
        install(prefix)
        unit = prefix / "lib" / "systemd" / "system" / "tally.service"
        for wrong in (False, True):
            (prefix / "try").mkdir(exist_ok=True)
            placed = prefix / "try" / "tally.service"
            body = example.replace("[Service]\n", "").replace("MemoryMax=1G", "MemoryMax=lots" if wrong else "MemoryMax=1G")
            placed.write_text(unit.read_text().replace("[Service]\n", "[Service]\n" + body))
            done = run("systemd-analyze", "verify", "--man=no", placed)
            said = done.stdout + done.stderr
            check("lots" in said if wrong else not said and done.returncode == 0,
                  "a wrong value of a drop-in is named" if wrong else "systemd takes the drop-in", said)


def main():
    verbs = re.findall(r"^  ([a-z]+) +\S", run(PROGRAM, "help").stdout, re.M)
    ours = re.findall(r"^  ([a-z-]+) +\S", run(ROOT / "dev", "help").stdout, re.M)
    for name in DOCUMENTS:
        text = (ROOT / name).read_text()
        code = code_of(text)
        check(code, f"{name} has code")
        commands(name, code, verbs)
        settings(name, text, code)
        files(name, text, ours)
    drop_in((ROOT / "docs" / "operations.md").read_text())
    check.end()


main()
