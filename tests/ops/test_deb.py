#!/usr/bin/env python3
"""The .deb files in a clean Debian: installed, used, upgraded, removed, purged. Built by `./dev package`; DEBS: their folder."""
import os
import pathlib
import re
import tempfile

from clean_tree import ROOT, Checks, CleanTree, run

check = Checks("test_deb")
DEBS = pathlib.Path(os.environ.get("DEBS", ROOT / "build" / "package"))
BINARY_BYTES_MAX = 5 * 1024 * 1024


def deb(name):
    found = sorted(DEBS.glob(f"{name}_*.deb"))
    if not check(len(found) == 1, f"one {name}_*.deb in {DEBS}", found):
        check.end()
    return found[0]


def depends(package):
    field = run("dpkg-deb", "-f", package, "Depends").stdout
    return {re.split(r"[ (]", part.strip())[0] for part in field.split(",")}


def contents(tally, library):
    wanted = set(run(ROOT / "tools" / "packages", "runtime").stdout.split())
    recommended = set(run("dpkg-deb", "-f", tally, "Recommends").stdout.split())
    check(depends(tally) - {"adduser", "libc6"} == wanted - recommended, "depends on what tools/packages.txt says",
          depends(tally) ^ wanted)
    wanted = set(run(ROOT / "tools" / "packages", "libraries").stdout.split())
    check(depends(library) - {"pkg-config"} == wanted, "so does the library", depends(library) ^ wanted)
    sizes = re.findall(r"^\S+ \S+ +(\d+) .* \./usr/bin/tally$", run("dpkg-deb", "-c", tally).stdout, re.M)
    check(sizes and int(sizes[0]) <= BINARY_BYTES_MAX, "the program is small", sizes)
    print(f"test_deb: the program has {int(sizes[0]) / 1e6:.2f} MB, {tally.name} {tally.stat().st_size / 1e6:.2f} MB",
          flush=True)


def apt(tree, *arguments):
    done = tree.call("apt-get", "-qq", "-y", "-o", "Acquire::Retries=3", *arguments)
    check(done.returncode == 0, f"apt-get {' '.join(arguments)}", done.stdout[-1500:], done.stderr[-1500:])
    return done


def used(tree):
    version = tree.call("tally", "version", user="tally")
    check(version.returncode == 0 and version.stdout.startswith("tally "), "tally version", version.stderr)
    good = tree.call("tally", "config", "check", "--config", "/etc/tally/tally.yaml", user="tally")
    check(good.returncode == 0 and good.stdout == "settings ok\n", "tally config check", good.stdout, good.stderr)
    other = tree.call("tally", "config", "check", "--config", "/etc/tally/tally.yaml", user="nobody")
    check(other.returncode == 1, "the settings are closed to others", other.stdout)
    state = (tree.path / "var" / "lib" / "tally").stat()
    check(state.st_mode & 0o7777 == 0o750 and state.st_uid != 0, "the state directory is the account's", oct(state.st_mode))
    unit = (tree.path / "usr" / "lib" / "systemd" / "system" / "tally.service").read_text()
    check("ExecStart=/usr/bin/tally run --config /etc/tally/tally.yaml\n" in unit, "the unit names what is installed")


def outside(tree):
    """A program on the library, with what libtally-dev has pulled in."""
    (tree.path / "root" / "outside.c").write_text((ROOT / "tests" / "packages" / "outside.c").read_text())
    done = tree.call("sh", "-c", "cc -std=c11 /root/outside.c -o /root/outside $(pkg-config --cflags --libs tally) && /root/outside")
    check(done.returncode == 0 and "visits of home: 3" in done.stdout, "an outside program", done.stdout, done.stderr[-1500:])


def main():
    tally, library = deb("tally"), deb("libtally-dev")
    contents(tally, library)
    with tempfile.TemporaryDirectory(prefix="tally-deb-") as folder, CleanTree(folder) as tree:
        before = tree.files()
        for package in (tally, library):
            (tree.path / "tmp" / package.name).write_bytes(package.read_bytes())
        apt(tree, "update")
        apt(tree, "install", "--no-install-recommends", f"/tmp/{tally.name}")
        used(tree)
        settings = tree.path / "etc" / "tally" / "tally.yaml"
        settings.write_text(settings.read_text() + "# mine\n")
        apt(tree, "install", "--reinstall", f"/tmp/{tally.name}")
        check(settings.read_text().endswith("# mine\n"), "an upgrade keeps what was changed")
        apt(tree, "install", "--no-install-recommends", f"/tmp/{library.name}", "gcc", "libc6-dev")
        outside(tree)
        (tree.path / "root" / "outside.c").unlink()
        (tree.path / "root" / "outside").unlink()
        apt(tree, "remove", "tally")
        check(settings.exists() and not (tree.path / "usr" / "bin" / "tally").exists(), "removed, but for the settings")
        apt(tree, "purge", "--auto-remove", "tally", "libtally-dev", "gcc", "libc6-dev")
        left = sorted(path for path in tree.files() - before if "tally" in path)
        check(not left, "a purge leaves nothing", left)
    check.end()


main()
