"""What the tests of this folder share: a build that is installed below a prefix, and their checks."""
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("TEST_TALLY", ROOT / "build" / "dev" / "tally"))


class Checks:
    """Counts like a check program; end() prints its line and ends the process."""

    def __init__(self, name):
        self.name, self.results = name, []

    def __call__(self, holds, what, *facts):
        self.results.append(bool(holds))
        if not holds:
            print(f"{self.name}: {what}: {' '.join(map(str, facts))}", flush=True)
        return bool(holds)

    def end(self):
        failed = self.results.count(False)
        print(f"{100 * (len(self.results) - failed) // max(1, len(self.results))}%: Checks: {len(self.results)}, "
              f"Failures: {failed}, Errors: 0")
        sys.exit(1 if failed or not self.results else 0)


def run(*arguments, env=None, text=None, cwd=None, limit=120):
    """The finished process; its output is text, standard error apart."""
    return subprocess.run([str(argument) for argument in arguments], env={**os.environ, **(env or {})}, input=text,
                          cwd=cwd, capture_output=True, text=True, timeout=limit, check=False)


def install(prefix):
    """Installs the build of TEST_TALLY below a prefix; the files, relative to it."""
    done = run("cmake", "--install", PROGRAM.parent, "--prefix", prefix)
    if done.returncode:
        sys.exit(f"cmake --install: {done.stdout}{done.stderr}")
    return sorted(path.relative_to(prefix).as_posix() for path in pathlib.Path(prefix).rglob("*") if path.is_file())
