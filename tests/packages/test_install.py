#!/usr/bin/env python3
"""`cmake --install`: what is there, and that manual, completions, settings and unit say what the program
says. TEST_TALLY: the program in its build folder."""
import os
import pathlib
import re
import shutil
import tempfile

from install_tree import ROOT, Checks, install, run

check = Checks("test_install")
SCORE_MAX = 2.5  # of systemd-analyze security; 0 is safe
EXPECTED = ["bin/tally", "etc/tally/tally.yaml", "lib/systemd/system/tally.service", "lib/sysusers.d/tally.conf",
            "lib/tmpfiles.d/tally.conf", "share/man/man1/tally.1", "share/man/man5/tally.yaml.5",
            "share/bash-completion/completions/tally", "share/zsh/vendor-completions/_tally",
            "share/fish/vendor_completions.d/tally.fish"]


def verbs_of(tally):
    return re.findall(r"^  ([a-z]+) +\S", run(tally, "help").stdout, re.M)


def options_of(text):
    """Long options of a help text, its own table alone."""
    table = re.search(r"\noptions\n((?:  .*\n)+)", text)
    return re.findall(r"^  (?:-\w,|   ) --([a-z0-9-]+)", table[1], re.M) if table else []


def plain(page):
    """A page of the manual as text, without the breaks and the widths of a screen."""
    shown = run("groff", "-man", "-Tascii", "-P-cbou", "-ww", "-rLL=2000n", "-rHY=0", page)
    check(shown.returncode == 0 and not shown.stderr, f"{page.name} is a page without warnings", shown.stderr)
    return shown.stdout


def manual(tally, prefix, verbs):
    folder = prefix / "share" / "man"
    pages = {path.name for path in folder.rglob("*.*") if path.is_file()}
    wanted = {"tally.1", "tally.yaml.5"} | {f"tally-{verb}.1" for verb in verbs if verb != "help"}
    check(pages == wanted, "a page for every verb", pages ^ wanted)
    overview = plain(folder / "man1" / "tally.1")
    check(all(re.search(rf"^ +{verb}\s", overview, re.M) for verb in verbs), "tally(1) names every verb")
    for verb in verbs:
        if verb == "help":
            continue
        text, page = run(tally, verb, "--help").stdout, plain(folder / "man1" / f"tally-{verb}.1")
        missing = [option for option in options_of(text) if not re.search(rf"--{option}\b", page)]
        check(not missing, f"tally-{verb}(1) has every option", missing)
        usage = text.splitlines()[0].removeprefix("usage: ")
        check(usage in page, f"tally-{verb}(1) has the usage", usage)
        examples = [line.strip() for line in text.split("\nexamples\n")[1].splitlines()]
        missing = [line for line in examples if re.sub(r" +", " ", line) not in re.sub(r" +", " ", page)]
        check(not missing, f"tally-{verb}(1) has every example", missing)
    settings = re.findall(r"^\| `([a-z_.]+)` \| `TALLY_", run(tally, "config", "docs").stdout, re.M)
    page = plain(folder / "man5" / "tally.yaml.5")
    missing = [name for name in settings if not re.search(rf"^ +{re.escape(name)}, ", page, re.M)]
    check(settings and not missing, "tally.yaml(5) has every setting", missing)
    return settings


COMPLETE = """source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tally; printf '%s\\n' "${COMPREPLY[@]}" """


def bash_completes(prefix, *words):
    script = prefix / "share" / "bash-completion" / "completions" / "tally"
    done = run("bash", "-c", COMPLETE, "bash", script, "tally", *words)
    check(done.returncode == 0 and not done.stderr, f"bash completes {words}", done.stderr)
    return [word for word in done.stdout.splitlines() if word]


def fish_completes(prefix, line):
    script = prefix / "share" / "fish" / "vendor_completions.d" / "tally.fish"
    done = run("fish", "--no-config", "-c", f"source {script}; complete -C '{line}'", cwd="/proc/self/fd")
    return [row.split("\t")[0] for row in done.stdout.splitlines()]


def completions(tally, prefix, verbs, settings):
    check(bash_completes(prefix, "") == [*verbs, "--help", "--version"], "bash: all verbs")
    for verb in verbs:
        if verb == "help":
            continue
        text = run(tally, verb, "--help").stdout
        found = bash_completes(prefix, verb, "--")
        wanted = {f"--{option}" for option in [*options_of(text), "help"]}
        if "Every setting is an option too" in text:
            wanted |= {f"--{name}" for name in [*settings, "config"]}
        check(set(found) == wanted, f"bash: options of {verb}", set(found) ^ wanted)
    check(bash_completes(prefix, "dlq", "") == ["list", "show", "retry", "drop"], "bash: actions")
    check(bash_completes(prefix, "describe", "--format", "m") == ["mermaid"], "bash: choices")
    stores = bash_completes(prefix, "get", "l")
    check(stores == ["level", "ledger", "line", "low_stock"], "bash: stores", stores)
    check(bash_completes(prefix, "help", "vers") == ["version"], "bash: help of a verb")
    if shutil.which("zsh"):
        script = prefix / "share" / "zsh" / "vendor-completions" / "_tally"
        done = run("zsh", "-f", "-c", f"autoload -U compinit; compinit -u -d /dev/null; source {script} && "
                                      "print ${_comps[tally]}")
        check(done.stdout.strip() == "_tally" and not done.stderr, "zsh takes the script", done.stdout, done.stderr)
    if shutil.which("fish"):
        check(set(fish_completes(prefix, "tally ")) >= set(verbs), "fish: all verbs")
        check(set(fish_completes(prefix, "tally dlq ")) == {"list", "show", "retry", "drop"}, "fish: actions")
        check(fish_completes(prefix, "tally describe --format me") == ["mermaid"], "fish: choices")
        check("--state.dir" in fish_completes(prefix, "tally run --state."), "fish: settings")


def unit(prefix):
    path = prefix / "lib" / "systemd" / "system" / "tally.service"
    text = path.read_text()
    check("@" not in re.sub(r"^#.*|^SystemCallFilter=.*", "", text, flags=re.M), "every name of a path is filled in")
    done = run("systemd-analyze", "verify", "--man=yes", path, env={"MANPATH": prefix / "share" / "man"})
    check(done.returncode == 0 and not done.stderr, "systemd-analyze verify is clean", done.stdout, done.stderr)
    done = run("systemd-analyze", "security", "--offline=true", path)
    score = re.search(r"Overall exposure level for tally\.service: ([0-9.]+)", done.stdout)
    check(score and float(score[1]) <= SCORE_MAX, "systemd-analyze security", score and score[1])
    broken = prefix / "broken" / "tally.service"
    broken.parent.mkdir()
    broken.write_text(text.replace("WatchdogSec=30s", "WatchdogSec=soon"))
    done = run("systemd-analyze", "verify", "--man=no", broken)
    check(re.search(r"tally\.service:\d+: .*: soon", done.stderr), "a wrong value is named with its line", done.stderr)


def settings_file(tally, prefix):
    path = prefix / "etc" / "tally" / "tally.yaml"
    done = run(tally, "config", "check", "--config", path)
    check(done.returncode == 0, "the settings are right", done.stderr)
    text = path.read_text()
    opened = re.sub(r"^( *)# ((?:[a-z]+\.)?[a-z]+: .*)$", r"\1\2", text, flags=re.M)
    check(opened.count("#") < text.count("#"), "there are settings in comments")
    path.write_text(opened)
    done = run(tally, "config", "check", "--config", path)
    check(done.returncode == 0, "and those in comments too", done.stderr)
    path.write_text(text + "\nhttp.treads: 3\n")
    done = run(tally, "config", "check", "--config", path)
    check(done.returncode == 1 and re.search(r"tally\.yaml:\d+:\d+: .*http\.treads.*http\.threads", done.stderr),
          "a wrong name is refused with file, line and the right one", done.stderr)
    install(prefix)
    check("http.treads" in path.read_text(), "an install leaves a changed file alone")


def headers(prefix):
    """Each header of the library on its own, with both compilers."""
    include = prefix / "include" / "tally"
    names = sorted(path.relative_to(include).as_posix() for path in include.rglob("*.h"))
    check("engine/tally.h" in names and "engine/topology_driver.h" in names, "the library's headers", names)
    text = "".join(f'#include "{name}"\n' for name in names)
    for compiler in ("gcc", "clang-14"):
        for source in [text, *(f'#include "{name}"\n' for name in names if compiler == "gcc")]:
            done = run(compiler, "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{include}",
                       "-x", "c", "-", text=source, cwd=prefix)
            check(done.returncode == 0, f"{compiler}: {source.strip()}", done.stderr[:300])


def outside(prefix):
    """A program of somebody else, with a topology of its own."""
    pkgconfig = next(prefix.rglob("tally.pc")).parent
    source = ROOT / "tests" / "packages" / "outside.c"
    for compiler in ("gcc", "clang-14"):
        flags = run("pkg-config", "--cflags", "--libs", "tally", env={"PKG_CONFIG_PATH": pkgconfig})
        check(flags.returncode == 0, "pkg-config knows tally", flags.stderr)
        made = run(compiler, "-std=c11", "-Wall", "-Wextra", source, "-o", prefix / "outside", *flags.stdout.split(),
                   cwd=prefix)
        if check(made.returncode == 0, f"{compiler} builds an outside program", made.stderr[:2000]):
            done = run(prefix / "outside", cwd=prefix)
            check(done.returncode == 0 and "visits of home: 3" in done.stdout, "and it runs", done.stdout, done.stderr)
    folder = prefix / "find"
    folder.mkdir()
    (folder / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(outside LANGUAGES C)\nfind_package(Tally 0.1 REQUIRED)\n"
        f"add_executable(outside {source})\ntarget_link_libraries(outside PRIVATE tally::tally)\n")
    done = run("cmake", "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    done = run("cmake", "--build", folder / "build") if done.returncode == 0 else done
    if check(done.returncode == 0, "find_package(Tally)", done.stdout[-2000:], done.stderr[-2000:]):
        check(run(folder / "build" / "outside", cwd=prefix).returncode == 0, "its program runs")


def main():
    with tempfile.TemporaryDirectory(prefix="tally-install-") as folder:
        prefix = pathlib.Path(folder).resolve()
        files = install(prefix)
        missing = [name for name in EXPECTED if name not in files]
        check(not missing, "all is installed", missing)
        tally = prefix / "bin" / "tally"
        check(run(tally, "version").returncode == 0, "the program runs")
        verbs = verbs_of(tally)
        settings = manual(tally, prefix, verbs)
        completions(tally, prefix, verbs, settings)
        unit(prefix)
        settings_file(tally, prefix)
        headers(prefix)
        if (ROOT / "tests" / "packages" / "outside.c").exists():
            outside(prefix)
    check.end()


os.environ.pop("TALLY_CACHE", None)
main()
