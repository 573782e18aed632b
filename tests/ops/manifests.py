"""tests/ops/manifests, built with the Go that is here."""
import pathlib
import sys

from clean_tree import CACHE, ROOT, run

SOURCE = ROOT / "tests" / "ops" / "manifests"


def build():
    """The program; modules come from GOPROXY, as GOSUM says."""
    program = pathlib.Path(CACHE) / "manifests"
    done = run("go", "build", "-trimpath", "-o", program, ".", cwd=SOURCE, env={"GOFLAGS": "-mod=readonly"}, limit=900)
    if done.returncode:
        sys.exit(f"tests/ops/manifests does not build (Go 1.21 or newer is needed, which fetches the one that go.mod names): {done.stderr[-2000:]}")
    return program
