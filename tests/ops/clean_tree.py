"""What the tests of this folder share: a clean Debian 12 below a folder, in which programs are run with chroot. The tree is made
once by debootstrap and kept as an archive in the cache, for a month. DEBIAN_MIRROR: where packages come from."""
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "packages"))

from install_tree import Checks, run  # noqa: E402

__all__ = ["ROOT", "Checks", "CleanTree", "run"]
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
SECURITY = os.environ.get("DEBIAN_SECURITY_MIRROR", "http://deb.debian.org/debian-security")
CACHE = pathlib.Path(os.environ.get("DEV_CACHE") or pathlib.Path.home() / ".cache" / "tally")
AGE_MAX_S = 30 * 24 * 3600
SOURCES = f"""deb {MIRROR} bookworm main
deb {MIRROR} bookworm-updates main
deb {SECURITY} bookworm-security main
"""


def archive():
    """The archived tree, made if there is none that is new enough; complete under its name only."""
    made = CACHE / "debian-12.tar"
    if made.exists() and time.time() - made.stat().st_mtime < AGE_MAX_S:
        return made
    CACHE.mkdir(parents=True, exist_ok=True)
    tree = CACHE / "debian-12.part"
    shutil.rmtree(tree, ignore_errors=True)
    print(f"clean tree: debootstrap of Debian 12 from {MIRROR}", flush=True)
    done = run("debootstrap", "--variant=minbase", "bookworm", tree, MIRROR, limit=900)
    if done.returncode:
        sys.exit(f"debootstrap failed: {(done.stdout + done.stderr)[-2000:]}")
    (tree / "etc" / "apt" / "sources.list").write_text(SOURCES)
    done = run("tar", "-C", tree, "-cf", f"{made}.part", ".", limit=300)
    if done.returncode:
        sys.exit(f"could not archive the tree: {done.stderr}")
    os.replace(f"{made}.part", made)
    shutil.rmtree(tree)
    return made


class CleanTree:
    """`with CleanTree(folder) as tree:`; gone afterwards."""

    def __init__(self, folder):
        self.path = pathlib.Path(folder) / "debian"

    def __enter__(self):
        self.path.mkdir()
        subprocess.run(["tar", "-C", self.path, "-xf", archive()], check=True)
        shutil.copy("/etc/resolv.conf", self.path / "etc" / "resolv.conf")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path)

    def call(self, *command, user=None, text=None, limit=600, env=None):
        """The finished process; its environment is that of a fresh login."""
        as_user = [f"--userspec={user}"] if user else []
        plain = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
                 "DEBIAN_FRONTEND": "noninteractive", **(env or {})}
        return subprocess.run(["env", "-i", *(f"{name}={value}" for name, value in plain.items()), "chroot", *as_user,
                               str(self.path), *map(str, command)], input=text, capture_output=True, text=True,
                              timeout=limit, check=False)

    def packages(self):
        """Names of what is installed."""
        listed = self.call("dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n").stdout.splitlines()
        return {line.split()[1] for line in listed if line.startswith("installed ")}

    def files(self):
        """Paths of everything but what apt and dpkg keep for themselves."""
        own = ("var/lib/dpkg", "var/lib/apt", "var/cache", "var/log", "tmp")
        paths = (path.relative_to(self.path).as_posix() for path in self.path.rglob("*"))
        return {path for path in paths if not path.startswith(own)}
