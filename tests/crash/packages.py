"""What the Python tests need from PyPI, in a virtual environment that is made when first needed.

`use()` returns when the packages can be imported, after starting the program again inside the
environment if it has to. The environment lives in ${TALLY_CACHE:-~/.cache/tally}/venv and is made
again when the list below changes.
"""
import fcntl
import os
import subprocess
import sys

PACKAGES = ["confluent-kafka==2.6.1"]


def use():
    cache = os.environ.get("TALLY_CACHE") or os.path.expanduser("~/.cache/tally")
    home = os.path.join(cache, "venv")
    python = os.path.join(home, "bin", "python")
    if os.path.realpath(sys.prefix) == os.path.realpath(home):
        return
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(cache, "venv.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_current(home):
            make(home, python)
    os.execv(python, [python, *sys.argv])


def stamp():
    return "\n".join([*PACKAGES, sys.version]) + "\n"


def is_current(home):
    try:
        with open(os.path.join(home, "stamp")) as file:
            return file.read() == stamp()
    except FileNotFoundError:
        return False


def make(home, python):
    print("fetching", " ".join(PACKAGES), file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                    "--only-binary", ":all:", *PACKAGES], check=True)
    with open(os.path.join(home, "stamp"), "w") as file:
        file.write(stamp())
