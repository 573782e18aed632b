"""Which builds may be measured: what `tally version` tells of itself."""
import os
import re
import subprocess

from figures import Unusable


def check(program, environment=None):
    """Commit of a program that may be measured; Unusable says why another may not."""
    if not os.access(program, os.X_OK):
        raise Unusable(f"{program} is missing: ./dev build release")
    done = subprocess.run([program, "version"], stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found = re.fullmatch(r"tally \S+ \(([^)]*)\)(?:, built with (.*))?\n", done.stdout)
    if not found:
        raise Unusable(f"{program} does not say what it is: {done.stdout.strip()}")
    if found[2] == "no profile":
        raise Unusable(f"{program} is not what is shipped (it has no profile): ./dev build release")
    if found[2]:
        raise Unusable(f"{program} is a debug build (it has {found[2]}), which measures nothing: ./dev build release")
    return found[1]
