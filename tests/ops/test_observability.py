#!/usr/bin/env python3
"""Metrics, alerts and dashboards: promtool reads them, alerts fire when they should, every query of every dashboard is answered by a
Prometheus that scrapes a working tally, and what they name exists. TEST_KAFKA: host:port; TEST_TALLY: the program."""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import uuid

from clean_tree import CACHE, ROOT, Checks, run

sys.path[:0] = [str(ROOT / "tests" / "crash"), str(ROOT / "k8s" / "dashboards")]

import dashboards  # noqa: E402
from instance import Instance  # noqa: E402

check = Checks("test_observability")
ALERTS = ROOT / "k8s" / "prometheus" / "alerts.yaml"
PARTITIONS = 4
TOPOLOGIES = ["catalogue", "stock", "reservation", "transfer", "expiring", "low_stock", "movements"]
SERIES_MAX = 500
# Of these a short healthy life has no data: nothing failed, no sink, no socket, no credentials.
SILENT = ("dead_letters", "sink_", "websocket_closes", "http_refused", "audit", "restore_remaining", "_reused", "replies", "timer_")


def prometheus():
    """The folder of Debian's prometheus and promtool: unpacked, not installed, as that would start a server."""
    folder = CACHE / "prometheus"
    if not (folder / "usr/bin/promtool").exists():
        with tempfile.TemporaryDirectory() as packages:
            os.chmod(packages, 0o777)
            done = run("apt-get", "download", "-q", "prometheus", cwd=packages)
            found = list(pathlib.Path(packages).glob("prometheus_*.deb"))
            if not found:
                sys.exit(f"apt-get could not fetch prometheus: {done.stderr}")
            run("dpkg-deb", "-x", found[0], folder)
    return folder / "usr/bin"


def names_exist():
    known = set(re.findall(r'"((?:tally|process|kafka)_\w+)"', (ROOT / "engine/base/metrics.def").read_text()))
    texts = {ALERTS.name: ALERTS.read_text(), **dashboards.texts()}
    for name, text in texts.items():
        used = {re.sub(r"_(bucket|sum|count)$", "", word) for word in re.findall(r"\b(?:tally|process|kafka)_[a-z0-9_]+", text)}
        used -= {"tally_consumer"}
        check(used <= known, f"every metric of {name} exists", sorted(used - known))
    for page in set(re.findall(r"runbook: (\S+)", ALERTS.read_text())):
        text = (ROOT / page).read_text() if (ROOT / page).exists() else ""
        for alert in re.findall(rf"alert: (\w+)(?:(?!alert:).)*?runbook: {page}", ALERTS.read_text(), re.S):
            check(alert in text.splitlines()[0], f"{alert} has its page {page}")
    for name, text in dashboards.texts().items():
        path = ROOT / "k8s" / "dashboards" / name
        check(path.exists() and path.read_text() == text, f"{name} is what dashboards.py writes")


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def ask(port, query):
    url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def rules(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/rules", timeout=20) as answer:
        return json.load(answer)["data"]["groups"][0]["rules"]


def scraped(port):
    try:
        return ask(port, 'count_over_time(up{job="tally"}[1m]) > 3')["data"]["result"]
    except (OSError, KeyError):
        return False


def wait(what, limit=90):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.5)
    return False


def metrics(tally):
    try:
        with urllib.request.urlopen(f"http://{tally.address}/metrics", timeout=10) as answer:
            return answer.read().decode()
    except OSError:
        return ""


def send(tally, number):
    commands = [{"type": "ReceiveStock", "command_id": f"c-{number}-{i}", "sku": f"S{i}", "warehouse": "W", "quantity": 1}
                for i in range(20)] + [{"type": "ShipStock", "command_id": f"d-{number}", "sku": "S1", "warehouse": "W", "quantity": 999}]
    run(os.environ["TEST_TALLY"], "send", "--config", tally.config, text="\n".join(map(json.dumps, commands)))


def queries_work(port):
    for name, text in dashboards.texts().items():
        for panel in json.loads(text)["panels"]:
            for target in panel.get("targets", ()):
                query = target["expr"].replace("$__rate_interval", "30s").replace("$job", "tally").replace("$instance", ".*")
                answer = ask(port, query)
                good = answer["status"] == "success"
                check(good, f"{name}: {panel['title']}: {target['legendFormat']}", answer)
                if good and not any(word in query for word in SILENT) and not re.search(r"== [134]|status=|outcome=|by \(level\)", query):
                    check(answer["data"]["result"], f"{name}: {panel['title']} has data", query)


def life(tools, folder):
    tally = Instance(os.environ["TEST_TALLY"], folder, os.environ["TEST_KAFKA"], f"obs-{uuid.uuid4().hex[:8]}",
                     {"metrics.compat": "kafka_exporter", "topologies": TOPOLOGIES})
    tally.tool("topics", "create", "--topics.partitions", str(PARTITIONS))
    tally.start()
    port = free_port()
    settings = pathlib.Path(folder) / "prometheus.yml"
    settings.write_text(f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{ALERTS}]\nscrape_configs:\n"
                        f"  - {{job_name: tally, static_configs: [{{targets: ['{tally.address}']}}]}}\n")
    server = None
    try:
        check(wait(lambda: metrics(tally).count("kafka_consumergroup_lag{") == PARTITIONS * len(TOPOLOGIES)),
              "with metrics.compat the lag of every partition is shown by kafka_exporter's name")
        text = metrics(tally)
        done = run(tools / "promtool", "check", "metrics", text=text)
        check(done.returncode == 0 and not done.stderr, "promtool has nothing to say about /metrics", done.stderr)
        for metric in ("kafka_consumergroup_current_offset", "kafka_topic_partition_current_offset", "kafka_topic_partitions"):
            check(f"{metric}{{" in text, f"{metric} is shown with metrics.compat")
        own = [line for line in text.splitlines() if line[:1] != "#" and not line.startswith("kafka_")]
        check(len(own) <= SERIES_MAX, f"at most {SERIES_MAX} series", len(own))
        print(f"series: {len(own)}", flush=True)
        server = subprocess.Popen([tools / "prometheus", f"--config.file={settings}", f"--storage.tsdb.path={folder}/data",
                                   f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        check(wait(lambda: scraped(port)), "Prometheus scrapes tally")
        for number in range(8):
            send(tally, number)
            urllib.request.urlopen(f"http://{tally.address}/livez").read()
            time.sleep(1)
        counted = 'sum(tally_commands_total{topology="stock"}) >= 160'
        check(wait(lambda: ask(port, counted)["data"]["result"]), "Prometheus has what tally counted")
        scrape = ask(port, 'quantile_over_time(0.5, scrape_duration_seconds{job="tally"}[1m])')["data"]["result"]
        print(f"scrape, median: {float(scrape[0]['value'][1]) * 1000:.1f} ms", flush=True)
        queries_work(port)
        check(wait(lambda: all(rule["health"] != "unknown" for rule in rules(port))), "the rules are evaluated")
        for rule in rules(port):
            check(rule["health"] == "ok" and rule["state"] != "firing", f"{rule['name']} is healthy, and silent", rule)
    finally:
        if server:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
        tally.stop()


def main():
    tools = prometheus()
    names_exist()
    for words in (("check", "rules", ALERTS), ("test", "rules", ALERTS.parent / "alerts_test.yaml")):
        done = run(tools / "promtool", *words, cwd=ALERTS.parent)
        check(done.returncode == 0, f"promtool {words[0]} rules", done.stdout + done.stderr)
    with tempfile.TemporaryDirectory() as folder:
        broken = pathlib.Path(folder) / "alerts.yaml"
        broken.write_text(ALERTS.read_text().replace("tally_task_state == 4", "tally_task_state == = 4"))
        check(run(tools / "promtool", "check", "rules", broken).returncode != 0, "a wrong rule is refused")
    with tempfile.TemporaryDirectory() as folder:
        life(tools, folder)
    check.end()


if __name__ == "__main__":
    main()
