#!/usr/bin/env python3
"""The Helm chart: lint, what it renders into for five files of values against golden files, wrong values refused by name, every
manifest decoded strictly by the types of Kubernetes, and the settings in it asked of tally. `test_chart.py --write` writes the golden
files again. TEST_TALLY: the program."""
import os
import pathlib
import re
import sys
import tempfile

from clean_tree import CACHE, ROOT, Checks, run
from manifests import build

check = Checks("test_chart")
CHART = ROOT / "k8s" / "chart"
GOLDEN = ROOT / "tests" / "ops" / "chart"
HELM = "v3.19.0"
VALUES = sorted((CHART / "ci").glob("*.yaml"))
FOREIGN = {"ServiceMonitor", "ScaledObject"}  # kinds of other APIs than Kubernetes' own
WRONG = [  # --set, what is named
    ("replicas=two", "replicas"),
    ("replica=2", "replica"),
    ("kafka.bootstrapServers=kafka", "bootstrapServers"),
    ("stateMemory=256MB", "stateMemory"),
    ("persistence.size=big", "size"),
    ("shutdownTimeout=20", "shutdownTimeout"),
    ("image.pullPolicy=Sometimes", "pullPolicy"),
    ("service.port=0", "port"),
    ("postgres.url=postgresql://tally:secret@postgres/tally", "postgres"),
    ("auth.enabled=true", "auth.apiKeysSecret"),
    ("terminationGracePeriodSeconds=20", "terminationGracePeriodSeconds"),
    ("settings.state\\.dir=/tmp", "settings.state.dir"),
    ("settings.Log=debug", "Log"),
    ("autoscaling.enabled=true,autoscaling.maxReplicas=9", "autoscaling.maxReplicas"),
    ("podDisruptionBudget.maxUnavailable=some", "maxUnavailable"),
]


def helm():
    """The program, made once from its module: `go install` takes some minutes."""
    folder = CACHE / f"helm-{HELM}"
    if not (folder / "helm").exists():
        print(f"helm {HELM}: building it from its Go module, once", flush=True)
        done = run("go", "install", f"helm.sh/helm/v3/cmd/helm@{HELM}", env={"GOBIN": str(folder), "GOFLAGS": ""}, limit=1500)
        if done.returncode:
            sys.exit(f"helm does not build: {done.stderr[-2000:]}")
    return folder / "helm"


def render(program, *arguments):
    # The version of the API server is what a module build does not know.
    return run(program, "template", "shop", CHART, "--namespace", "shop", "--kube-version", "1.30.0", *arguments)


def refuses_wrong_values(program):
    for value, named in WRONG:
        done = render(program, "--set", value)
        check(done.returncode != 0 and named in done.stderr, f"{value} is refused by name", done.stderr)


def make_keys(folder):
    """What the secrets of the values would hold."""
    for name in ("api-keys", "jwt"):
        (folder / name).mkdir()
    done = run(os.environ["TEST_TALLY"], "keys", "new", "--role", "reader", "--name", "chart")
    keys = folder / "api-keys" / "api-keys"
    keys.write_text(done.stdout.splitlines()[-1] + "\n")
    keys.chmod(0o440)
    for name in ("issuer.pem", "old.pem"):
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / "private.pem")
        run("openssl", "ec", "-in", folder / "private.pem", "-pubout", "-out", folder / "jwt" / name)


def settings_are_tallys(name, text):
    """Every tally.yaml in the manifests is one that tally takes; a name that is none it refuses."""
    secret = re.search(r'name: TALLY_KAFKA_PROPERTIES\n +value: "(.*)"', text)
    environment = [f"TALLY_KAFKA_PROPERTIES={secret[1]}"] if secret else []
    files = re.findall(r"^  tally\.yaml: \|\n((?:    .*\n|\n)+)", text, re.M)
    check(files, f"{name} has settings")
    for settings in files:
        with tempfile.TemporaryDirectory() as folder:
            make_keys(pathlib.Path(folder))
            path = pathlib.Path(folder) / "tally.yaml"
            path.write_text(re.sub(r"^    ", "", settings, flags=re.M).replace("/etc/tally/", f"{folder}/"))
            done = run("env", "-i", f"PATH={os.environ['PATH']}", *environment, os.environ["TEST_TALLY"], "config", "check", "--config", path)
            check(done.stdout == "settings ok\n", f"settings of {name}", done.stderr)


def decodes(program, name, text):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        done = run(program, "kubernetes", file.name)
        check(done.returncode == 0, f"{name} is decoded strictly", done.stderr)
        kinds = re.findall(r"^(checked|not checked) (\w+)", done.stdout, re.M)
        check({kind for how, kind in kinds if how == "not checked"} <= FOREIGN, f"{name}: every kind of Kubernetes is known", kinds)
        check(("checked", "StatefulSet") in kinds, f"{name} has its StatefulSet")
        return {kind for _, kind in kinds}


def decoder_refuses(program, text):
    for right, wrong in (("terminationGracePeriodSeconds: 40", "terminationGracePeriod: 40"), ("replicas: 2", "replicas: two"),
                         ("readOnlyRootFilesystem: true", "readOnlyFilesystem: true")):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            check(right in text, f"{right!r} is in the manifests")
            file.write(text.replace(right, wrong, 1))
            file.flush()
            check(run(program, "kubernetes", file.name).returncode == 1, f"{wrong!r} is refused")


def main():
    program, decoder, seen = helm(), build(), set()
    for values in VALUES:
        name = values.name
        done = run(program, "lint", "--strict", CHART, "-f", values)
        check(done.returncode == 0, f"helm lint {name}", done.stdout + done.stderr)
        done = render(program, "-f", values)
        if not check(done.returncode == 0, f"helm template {name}", done.stderr):
            continue
        golden = GOLDEN / name
        if "--write" in sys.argv:
            GOLDEN.mkdir(exist_ok=True)
            golden.write_text(done.stdout)
        check(golden.exists() and golden.read_text() == done.stdout, f"{name} renders as tests/ops/chart/{name} (--write after a change)")
        seen |= decodes(decoder, name, done.stdout)
        settings_are_tallys(name, done.stdout)
    check(len(VALUES) >= 5 and {"Ingress", "NetworkPolicy", "PodDisruptionBudget", "Job", "Service"} | FOREIGN <= seen, "every kind is rendered", seen)
    decoder_refuses(decoder, (GOLDEN / "public.yaml").read_text())
    refuses_wrong_values(program)
    version = re.search(r"^project\(tally VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text(), re.M)
    chart = (CHART / "Chart.yaml").read_text()
    check(not version or f"appVersion: {version[1]}\n" in chart, "appVersion is the program's version")
    check.end()


main()
