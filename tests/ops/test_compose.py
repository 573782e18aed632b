#!/usr/bin/env python3
"""k8s/compose.yaml and k8s/Dockerfile, read with the code of docker compose and BuildKit; every setting of a tally in it is taken by
tally. TEST_TALLY: the program."""
import json
import os
import pathlib
import re
import tempfile

from clean_tree import ROOT, Checks, run
from manifests import build

check = Checks("test_compose")
TALLY = pathlib.Path(os.environ["TEST_TALLY"])
COMPOSE = ROOT / "k8s" / "compose.yaml"
ONE_SHOT = {"topics", "migrate", "demo"}
WRONG = [  # what is planted, what is said
    (("    restart: unless-stopped", "    restrat: unless-stopped"), "restrat"),
    (("condition: service_completed_successfully", "condition: service_done"), "condition"),
    (("      kafka: {condition: service_healthy}", "      kafak: {condition: service_healthy}"), "kafak"),
    (('ports: ["127.0.0.1:8080:8080"]', 'ports: ["127.0.0.1:80800:8080"]'), "80800"),
    (("volumes: [state:/var/lib/tally]", "volumes: [stat:/var/lib/tally]"), "stat"),
    (("stop_grace_period: 30s", "stop_grace_period: soon"), "soon"),
]
WRONG_DOCKERFILE = [(("FROM debian:12-slim AS runtime", "FROM debian:12-slim as runtime"), "FromAsCasing"),
                    (("USER 10001:10001", "USERR 10001:10001"), "USERR"),
                    (("--interval=10s", "--interval=often"), "often")]


def planted(program, kind, path, rows):
    text = path.read_text()
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".planted-") as folder:
        for (right, wrong), named in rows:
            broken = pathlib.Path(folder) / path.name
            check(right in text, f"{right!r} is in {path.name}")
            broken.write_text(text.replace(right, wrong, 1))
            done = run(program, kind, broken)
            check(done.returncode == 1 and named in done.stderr, f"{wrong!r} is refused by name", done.stderr)


def settings_of(name, service):
    """tally is asked about its settings, and about a wrong one."""
    ours = {key: value for key, value in service["environment"].items() if key.startswith("TALLY_")}
    plain = {"PATH": os.environ["PATH"], **ours}
    done = run("env", "-i", *(f"{key}={value}" for key, value in plain.items()), TALLY, "config", "check", cwd="/")
    check(done.stdout == "settings ok\n", f"settings of {name}", done.stderr)
    done = run("env", "-i", *(f"{key}={value}" for key, value in plain.items()), "TALLY_HTTP_LISTNE=0.0.0.0:1", TALLY, "config",
               "check", cwd="/")
    check(done.returncode == 1 and "TALLY_HTTP_LISTNE" in done.stderr and "TALLY_HTTP_LISTEN" in done.stderr,
          f"a wrong one of {name} is refused by name", done.stderr)


def is_closed(name, service):
    check(service.get("read_only") and service.get("cap_drop") == ["ALL"] and service.get("pids_limit")
          and service.get("mem_limit") and service.get("security_opt") == ["no-new-privileges:true"],
          f"{name} has no rights and limits", service)


def services(project):
    found = project["services"]
    check({"kafka", "postgres", "redis", "tally", "topics", "migrate"} == {n for n, s in found.items() if not s.get("profiles")},
          "what is up without a profile")
    for name, service in found.items():
        published = [port.get("host_ip") for port in service.get("ports", [])]
        check(all(ip == "127.0.0.1" for ip in published), f"{name} is on loopback", published)
        if name not in ONE_SHOT:
            inherits = name == "tally"  # of the image
            check(inherits or service.get("healthcheck", {}).get("test"), f"{name} has a health check")
        if "build" not in service:
            check(re.search(r":v?\d+", service["image"]), f"the image of {name} has a version", service["image"])
        else:
            is_closed(name, service)
            settings_of(name, service)
        for mount in service.get("volumes", []):
            check(mount["type"] == "volume" or pathlib.Path(mount["source"]).exists(), f"{name}: {mount['source']} is there")
    depends = {name: part["condition"] for name, part in found["tally"]["depends_on"].items()}
    check(depends == {"topics": "service_completed_successfully", "migrate": "service_completed_successfully",
                      "redis": "service_healthy"}, "tally waits for what it needs", depends)
    grace = re.fullmatch(r"(\d+)s", found["tally"]["stop_grace_period"])
    limit = re.search(r"`shutdown\.timeout` .*?\| `(\d+)s` ", run(TALLY, "config", "docs").stdout)
    check(grace and limit and int(grace[1]) > int(limit[1]), "it has the time that a clean end takes")
    targets = re.findall(r'targets: \["([a-z]+):(\d+)"\]', (ROOT / "k8s" / "prometheus" / "prometheus.yml").read_text())
    check(targets == [("tally", "8080")], "Prometheus asks tally", targets)


def main():
    program = build()
    done = run(program, "dockerfile", ROOT / "k8s" / "Dockerfile")
    check(done.returncode == 0, "BuildKit and its linter take the Dockerfile", done.stderr)
    done = run(program, "compose", COMPOSE)
    if check(done.returncode == 0, "docker compose takes the compose file", done.stderr):
        services(json.loads(done.stdout))
    planted(program, "compose", COMPOSE, WRONG)
    planted(program, "dockerfile", ROOT / "k8s" / "Dockerfile", WRONG_DOCKERFILE)
    check.end()


main()
