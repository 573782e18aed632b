#!/usr/bin/env python3
"""The examples of docs/http.md, sent to a new tally one after the other. TEST_KAFKA,
TEST_POSTGRES: servers; TEST_TALLY: the program. With --write the answers in the document are written anew.

An example is a block of ```http: `> METHOD /path`, `> Name: value`, `> {body}`, then the status, the headers that
are shown, and the body if there is one. Times, offsets and what is signed differ in every run, and count as equal."""
import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "crash"))

from instance import Instance  # noqa: E402

DOCUMENT = ROOT / "docs" / "http.md"
PATIENCE_S = 60
VARIES = (r'(?<="day":")[^"]+', r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", r"(?<=@)\d+", r'(?<="next_cursor":")[^"]+')


class Exchange:
    def __init__(self, lines):
        self.sent = [line for line in lines if line.startswith("> ")]
        self.told = [line for line in lines if not line.startswith("> ")]
        self.method, self.path = self.sent[0][2:].split(" ", 1)
        self.body = next((line[2:] for line in self.sent[1:] if line.startswith("> {")), None)
        self.headers = dict(line[2:].split(": ", 1) for line in self.sent[1:] if not line.startswith("> {"))

    def ask(self, address, prefix):
        """The answer in the form of the document."""
        connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
        try:
            headers = {name: value.replace("stock.commands", prefix + "stock.commands") for name, value in self.headers.items()}
            connection.request(self.method, self.path.replace("?at=", "?at=" + prefix), self.body, headers)
            answer = connection.getresponse()
            body = answer.read().decode()
        finally:
            connection.close()
        shown = [line.split(": ")[0] for line in self.told[1:] if not line.startswith("{")]
        lines = [str(answer.status), *(f"{name}: {answer.headers.get(name)}" for name in shown), *([body] if body else [])]
        return [line.replace(prefix, "") for line in lines]

    def settled(self, address, prefix):
        """A list that follows the events may be a moment behind."""
        end = time.monotonic() + PATIENCE_S
        answer = self.ask(address, prefix)
        while self.method == "GET" and not same(answer, self.told) and time.monotonic() < end:
            time.sleep(0.1)
            answer = self.ask(address, prefix)
        return answer


def plain(lines):
    text = "\n".join(lines)
    for varies in VARIES:
        text = re.sub(varies, "…", text)
    return text


def same(answer, told):
    return plain(answer) == plain(told)


def exchanges(block):
    lines, one = [line for line in block.splitlines() if line], []
    for line in lines:
        if line.startswith("> ") and one and not one[-1].startswith("> "):
            yield Exchange(one)
            one = []
        one.append(line)
    if one:
        yield Exchange(one)


def replay(instance, prefix, write):
    results, text = [], DOCUMENT.read_text()

    def run(match):
        out = []
        for exchange in exchanges(match[1]):
            answer = exchange.ask(instance.address, prefix) if write else exchange.settled(instance.address, prefix)
            results.append(same(answer, exchange.told))
            if not results[-1] and not write:
                print(f"test_http_guide: {exchange.method} {exchange.path}:\n  told {plain(exchange.told)}\n  got  {plain(answer)}")
            if write:
                time.sleep(2)  # what follows the events may catch up
                answer = exchange.ask(instance.address, prefix) if exchange.method == "GET" else answer
            out += [*exchange.sent, *answer]
        return "```http\n" + "\n".join(out) + "\n```"
    written = re.sub(r"```http\n(.*?)\n```", run, text, flags=re.S)
    if write:
        DOCUMENT.write_text(written)
    return results


def psql(statement):
    subprocess.run(["psql", os.environ["TEST_POSTGRES"], "-qXc", statement], check=True)


def main():
    if any(name not in os.environ for name in ("TEST_KAFKA", "TEST_TALLY", "TEST_POSTGRES")):
        print("100%: Checks: 0, Failures: 0, Errors: 0")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        name = "guide_" + uuid.uuid4().hex[:8]
        server = dict(part.split("=", 1) for part in os.environ["TEST_POSTGRES"].split())
        psql(f"CREATE DATABASE {name}")
        instance = Instance(os.environ["TEST_TALLY"], folder, os.environ["TEST_KAFKA"], name,
                            {"topologies": ["catalogue", "stock", "reservation", "transfer", "low_stock"],
                             "topics.partitions": 1, "stock.require_registration": True,
                             "postgres.url": f"postgresql://{server['user']}@{server['host']}:{server['port']}/{name}"})
        instance.tool("topics", "create")
        instance.tool("sink", "migrate")
        instance.start()
        try:
            end = time.monotonic() + PATIENCE_S
            while (instance.get("/startupz") or (0,))[0] != 200 and time.monotonic() < end:
                time.sleep(0.05)
            results = replay(instance, f"{name}.", "--write" in sys.argv)
        finally:
            instance.end()
            psql(f"DROP DATABASE {name} WITH (FORCE)")
    failed = results.count(False) if "--write" not in sys.argv else 0
    print(f"{100 * (len(results) - failed) // max(len(results), 1)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
