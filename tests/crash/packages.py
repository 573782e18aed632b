"""What the Python tests need from PyPI, in a virtual environment that is made when first needed.

`use()` returns when the packages can be imported, after starting the program again inside the
environment if it has to. The environment lives in ${TALLY_CACHE:-~/.cache/tally}/NAME and is made
again when its list below changes.
"""
import fcntl
import os
import subprocess
import sys

PACKAGES = ["confluent-kafka==2.6.1"]
# Of those who read the documents about the API.
API_PACKAGES = ["jsonschema==4.26.0", "openapi-spec-validator==0.9.0", "PyYAML==6.0.3"]
# Of the one who makes requests of the OpenAPI document.
SCHEMATHESIS_PACKAGES = ["schemathesis==4.32.5"]


def use(packages=None, name="venv"):
    packages = packages or PACKAGES
    cache = os.environ.get("TALLY_CACHE") or os.path.expanduser("~/.cache/tally")
    home = os.path.join(cache, name)
    python = os.path.join(home, "bin", "python")
    if os.path.realpath(sys.prefix) == os.path.realpath(home):
        return
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(cache, f"{name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_current(home, packages):
            make(home, python, packages)
    os.execv(python, [python, *sys.argv])


def stamp(packages):
    return "\n".join([*packages, sys.version]) + "\n"


def is_current(home, packages):
    try:
        with open(os.path.join(home, "stamp")) as file:
            return file.read() == stamp(packages)
    except FileNotFoundError:
        return False


def make(home, python, packages):
    print("fetching", " ".join(packages), file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                    "--only-binary", ":all:", *packages], check=True)
    with open(os.path.join(home, "stamp"), "w") as file:
        file.write(stamp(packages))
