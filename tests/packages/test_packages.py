#!/usr/bin/env python3
"""tools/packages.txt against what is linked, and against everything that installs packages: none has a list of its own.
TEST_TALLY: the program."""
import os
import pathlib
import re
import tempfile

from install_tree import PROGRAM, ROOT, Checks, run

check = Checks("test_packages")
LIBC = {"libc6", "libgcc-s1"}


def listed(*sections):
    done = run(ROOT / "tools" / "packages", *sections)
    check(done.returncode == 0, f"tools/packages {sections}", done.stderr)
    return done.stdout.split()


def linked():
    """Packages of the libraries that the program asks for."""
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", run("readelf", "-d", PROGRAM).stdout)
    paths = dict(re.findall(r"(\S+) => (/\S+)", run("ldd", PROGRAM).stdout))
    found = set()
    for name in needed:
        if name.startswith("ld-linux"):
            continue
        path = pathlib.Path(paths[name])
        known = [run("dpkg", "-S", place).stdout for place in (path, path.resolve(), f"/usr{path}")]
        found |= set(re.findall(r"^([a-z0-9.+-]+)(?::\w+)?: ", "".join(known), re.M))
    return found - LIBC


def installs_quietly():
    """What is installed by ./dev deps starts no server, now or with the machine; with apt-get, dpkg-query and systemctl
    that note what they are asked for."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        policy, notes, done_mark = folder / "policy-rc.d", folder / "notes", folder / "done"
        for name, body in {
                "apt-get": f'{policy}; echo "$? apt-get $*" >>{notes}; touch {done_mark}; exit ${{APT_STATUS:-0}}',
                "dpkg-query": 'case $1 in -L) [ $2 != nginx-common ] || echo /lib/systemd/system/nginx.service;;'
                              f' *) echo installed curl; [ ! -e {done_mark} ] || echo installed nginx-common;; esac',
                "systemctl": f'echo "systemctl $*" >>{notes}'}.items():
            (folder / name).write_text(f"#!/bin/sh\n{body}\n")
            (folder / name).chmod(0o755)

        def install(**environment):
            notes.write_text("")
            done_mark.unlink(missing_ok=True)
            done = run(ROOT / "tools" / "dev" / "install_quietly.sh", "nginx-light", env={
                **os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "POLICY_RC_D": str(policy), **environment})
            return done.returncode, notes.read_text().splitlines()

        status, said = install()
        check(status == 0 and len(said) == 2 and said[0].startswith("101 apt-get ") and said[0].endswith(" nginx-light"),
              "while packages are installed no server may start", status, said)
        check(said[1:] == ["systemctl disable --quiet nginx.service"], "nor with the machine", said)
        check(not policy.exists(), "servers of other packages may start again")
        status, said = install(APT_STATUS="100")
        check(status == 100 and not policy.exists(), "also after an install that failed", status, said)
        policy.write_text("#!/bin/sh\nexit 104\n")
        policy.chmod(0o755)
        status, said = install()
        check(status == 0 and said[0].startswith("104 ") and policy.exists(), "a policy that is there stays", status, said)


def main():
    text = (ROOT / "tools" / "packages.txt").read_text()
    runtime = set(listed("runtime"))
    libraries = listed("libraries")
    rows = dict(re.findall(r"^(\S+) > (\S+)$", text, re.M))
    check(set(rows) == set(libraries), "every library has the package that a run needs", set(rows) ^ set(libraries))
    extra = re.search(r"^\[runtime\]\n((?:[a-z].*\n)*)", text, re.M)[1].split()
    check(linked() == runtime - set(extra), "what is linked is what the list says", linked() ^ (runtime - set(extra)))
    names = [name for section in ("build", "libraries", "tests", "servers") for name in listed(section)]
    check(len(names) == len(set(names)), "nothing is listed twice", [name for name in names if names.count(name) > 1])
    done = run(ROOT / "tools" / "packages", "librarys")
    check(done.returncode == 2 and 'no section "librarys"' in done.stderr, "an unknown section is refused", done.stderr)
    version = re.search(r"^project\(tally VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text(), re.M)[1]
    check(f"\nARG VERSION={version}\n" in (ROOT / "k8s" / "Dockerfile").read_text(), "the image has the version", version)
    for path in (ROOT / "k8s" / "Dockerfile", *sorted((ROOT / ".github" / "workflows").glob("*.yml"))):
        installs = re.findall(r"apt-get(?: -\S+)* install\s+(.*?)(?:&&|;|$)", path.read_text().replace("\\\n", " "), re.M)
        named = [word for text in installs for word in re.sub(r'\$\([^)]*\)', "", text).split() if not word.startswith("-")]
        check(not named or path.suffix == ".yml" and set(named) <= {"git", "ca-certificates"},
              f"{path.name} installs only what the list says", named)
    installs_quietly()
    check.end()


main()
