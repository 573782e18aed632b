#!/usr/bin/env python3
"""k8s/Dockerfile without docker: its stages build and runtime, step by step as the file has them, each in a clean Debian; then the
program as the image starts it: as its user, with nothing else to write to, stopped by SIGTERM. And the sizes."""
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

from clean_tree import ROOT, Checks, CleanTree, run
from dockerfile import Build, Context, stages, tree_bytes

check = Checks("test_image")
IMAGE_BYTES_MAX = 120 * 1000 * 1000
BINARY_BYTES_MAX = 5 * 1024 * 1024
# What debian:12-slim has not of a Debian 12; the runtime stage starts from that one.
SLIM = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/groff", "usr/share/linda",
        "usr/share/lintian", "var/cache/apt", "var/lib/apt/lists")


def context_is_tight(context):
    files = set(context.files())
    known = set(run("git", "ls-files", cwd=ROOT).stdout.split())
    foreign = [name for name in files if name.split("/")[0] in ("build", ".run", ".git", ".github") or "__pycache__" in name]
    check(not foreign, "no build, data or history is sent", foreign[:5])
    needed = {name for name in known if re.match(r"(apps|engine|http|state|schemas|topologies|connectors|cmake|tools)/", name)}
    check(needed <= files, "all that the build needs is sent", sorted(needed - files)[:5])


def slim(tree):
    for place in SLIM:
        shutil.rmtree(tree.path / place, ignore_errors=True)


def built(tree, context, steps):
    build = Build(tree, context, arguments={"COMMIT": "0123456789ab"})
    failed = build.run(steps)
    return check(not failed, "the stage build", failed)


def sizes(tree):
    binary = (tree.path / "usr/bin/tally").stat().st_size
    check(binary <= BINARY_BYTES_MAX, "the program is small", binary)
    slim(tree)
    whole = tree_bytes(tree)
    check(whole <= IMAGE_BYTES_MAX, "so is the image", whole)
    print(f"test_image: the program has {binary / 1e6:.2f} MB, the runtime tree {whole / 1e6:.1f} MB", flush=True)


def program(tree, config):
    """The process that the image is: its entrypoint as its user, where only the volume can be written."""
    user = config["user"]
    words = [*config["entrypoint"], "version"]
    done = tree.call(*words, user=user)
    check(done.returncode == 0 and "0123456789ab" in done.stdout, "tally version, with its commit", done.stdout, done.stderr)
    done = tree.call(*config["entrypoint"], "config", "check", *config["cmd"][1:], user=user)
    check(done.stdout == "settings ok\n", "tally config check", done.stdout, done.stderr)
    done = tree.call(*config["health"], user=user)
    check(done.returncode == 1 and "could not connect" in done.stderr, "the health check fails where nothing runs", done.stderr)
    found = tree.call("find", "/", "-xdev", "-writable", "-not", "-type", "l", "-not", "-path", "/proc/*", "-not", "-path",
                      "/dev/*", user=user).stdout.split()
    check(set(found) <= {"/tmp", "/var/tmp", "/run/lock", "/var/lib/tally"} and "/var/lib/tally" in found,
          "its user can write to the volume, and to what is anybody's", found)
    setuid = tree.call("find", "/usr/local", "/usr/bin/tally", "-perm", "/6000").stdout
    check(not setuid, "nothing of ours is set-uid", setuid)


def stopped(tree, config):
    """SIGTERM ends what the image starts, also while it waits for a broker."""
    uid, gid = config["user"].split(":")
    command = ["chroot", f"--userspec={uid}:{gid}", str(tree.path), *config["entrypoint"], *config["cmd"],
               "--kafka.bootstrap.servers", "127.0.0.1:1", "--state.dir", "/var/lib/tally/state"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={"PATH": "/usr/sbin:/usr/bin"})
    try:
        for line in process.stdout:
            if "waiting for kafka" in line:
                break
        began = time.monotonic()
        process.send_signal(getattr(signal, config["stop"]))
        process.stdout.read()
        status = process.wait(60)
        check(status == 0 and time.monotonic() - began < 30, "the stop signal ends it", status)
    finally:
        process.kill()
        process.wait()


def main():
    found = stages((ROOT / "k8s" / "Dockerfile").read_text())
    check(list(found) == ["build", "test", "runtime"], "the stages, what is shipped being the last", list(found))
    context = Context(ROOT)
    context_is_tight(context)
    check(found["build"][0] == found["runtime"][0] == "debian:12-slim", "Debian 12 slim below both")
    with tempfile.TemporaryDirectory(prefix="tally-image-") as folder:
        first, second = pathlib.Path(folder, "build"), pathlib.Path(folder, "runtime")
        first.mkdir()
        second.mkdir()
        with CleanTree(first) as build, CleanTree(second) as tree:
            if built(build, context, found["build"][1]):
                runtime = Build(tree, context, {"build": build}, {"COMMIT": "0123456789ab"})
                failed = runtime.run(found["runtime"][1])
                if check(not failed, "the stage runtime", failed):
                    config = runtime.config
                    check(config["volumes"] == ["/var/lib/tally"] and config["user"] == "10001:10001", "one volume, no rights", config)
                    check(all(f"org.opencontainers.image.{name}" in config["labels"] for name in ("title", "version", "revision")),
                          "labels of OCI", config["labels"])
                    program(tree, config)
                    stopped(tree, config)
                    sizes(tree)
    check.end()


main()
