"""Suite `http`: reads over HTTP, all sides asked by the same client on the same cores. `read`: one level, again and
again over 64 keep-alive connections, from tally, from a bare epoll responder that sends the very bytes of tally's
answer, and from a bare handler of the library that tally is built on; `spread`: a thousand levels. `beside`: reads at
a fixed rate over 128 connections while commands come at half of the rate that tally alone reaches. `conditional`: CPU of
a large product, whole and as a 304. `follow`: the same reads beside WebSockets that follow SKUs, and without them."""
import json
import os
import shutil
import socket
import subprocess
import sys
import time

from confluent_kafka import Producer

from figures import Sampler, Turns, Unusable, cpu_seconds, median, say
from process import free_port

WORKERS = 160  # http.threads: one for each connection that stays open, and some for others
CONNECTIONS = {"read": 64, "spread": 64, "beside": 128, "conditional": 16, "follow": 64}
RECORDS = 500000  # of the reads, at most
SPREAD = 1000
RATE = 11000  # reads a second beside the commands
VARIANTS = 100
LEAST_SECONDS = 2
COMMANDS = "tally_commands_total"
FOLLOWERS, FOLLOWED = 256, 10  # WebSockets, and SKUs of each
CHANGES = 2000  # commands a second, all of followed SKUs


def run(setup):
    cases = {"read": lambda: Reads(setup).run("read"), "spread": lambda: Reads(setup).run("spread"),
             "beside": lambda: Beside(setup).run(), "conditional": lambda: conditional(setup),
             "follow": lambda: Follow(setup).run()}
    wanted = [case for case in cases if setup.options.case in (case, "all")]
    return all([setup.attempt("http", case, cases[case]) for case in wanted])


class Client:
    """bench_http_client."""

    def __init__(self, setup, name):
        self.program, self.setup = setup.helper("http_client"), setup
        self.path = os.path.join(setup.folder, f"requests-{name}")

    def requests(self, paths, *headers):
        with open(self.path, "w") as file:
            file.writelines(f"GET {path} HTTP/1.1\nHost: bench\n{''.join(line + chr(10) for line in headers)}\n"
                            for path in paths)

    def command(self, address, connections, seconds, rate=0, status=200):
        return [self.program, address, self.path, str(connections), str(seconds), str(rate), str(status)]

    def ask(self, pid, *arguments, **more):
        """What the client saw, and CPU of the process that answered, in µs a request."""
        cpu = cpu_seconds(pid)
        done = subprocess.run(self.command(*arguments, **more), check=True, stdout=subprocess.PIPE, text=True)
        cpu = cpu_seconds(pid) - cpu
        result = json.loads(done.stdout)
        if result["errors"]:
            raise Unusable(f"{result['errors']} of {result['answers']} answers were errors")
        return {**result, "cpu_us": round(cpu * 1e6 / max(result["with_warm_up"], 1), 3)}


class Responder:
    """bench_http_responder, in a `with`."""

    def __init__(self, setup, kind, answer, threads):
        self.address = f"127.0.0.1:{free_port()}"
        path = os.path.join(setup.folder, "answer")
        with open(path, "wb") as file:
            file.write(answer)
        self.command = [setup.helper("http_responder"), kind, path, self.address.rsplit(":", 1)[1], str(threads)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE)
        if self.process.stdout.readline() != b"ready\n":
            raise Unusable(f"the responder {self.command[1]} does not start")
        self.pid = self.process.pid
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def raw_answer(address, path):
    """Head and body, byte for byte."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), 5) as link:
        link.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        text = b""
        while True:
            head, found, body = text.partition(b"\r\n\r\n")
            if found:
                length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n")
                              if line.lower().startswith(b"content-length:"))
                if len(body) >= length:
                    return text
            piece = link.recv(65536)
            if not piece:
                raise Unusable(f"{path} was not answered: {text[:200]}")
            text += piece


def seconds_of(setup):
    return max(LEAST_SECONDS, setup.options.seconds // 3)


class Reads:
    def __init__(self, setup):
        self.setup = setup
        self.client = Client(setup, "reads")

    def run(self, case):
        setup, turns = self.setup, Turns()
        setup.empty_topics()
        records = min(RECORDS, setup.options.records)
        setup.generate(records, 0)
        tally = setup.tally(f"http-{case}", {"http.threads": WORKERS})
        try:
            tally.until("at the end", lambda: tally.position() >= records, 600)
            paths = levels(setup, tally, 1 if case == "read" else SPREAD)
            answer = raw_answer(tally.address, paths[0])
            self.client.requests(paths)
            for i in range(1, setup.options.runs * seconds_of(setup) + 1):
                self.turn(turns, case, i, tally, answer)
        finally:
            tally.stop()
            shutil.rmtree(setup.state, ignore_errors=True)
        responders = [turns.runs[side] for side in ("epoll_1", "epoll_2") if side in turns.runs]
        if responders:
            turns.runs["epoll"] = max(responders, key=lambda runs: median([run["per_s"] for run in runs]))
        return setup.publish("http", case, turns, {side: ("per_s", "cpu_us") for side in ("epoll", "civetweb")},
                             connections=CONNECTIONS[case], answer_bytes=len(answer), http_threads=WORKERS,
                             levels=len(paths))

    def turn(self, turns, case, i, tally, answer):
        """An epoll responder of one thread leaves a core to the client; of two it has both. The better one counts.
        A second each: how fast the machine is changes from one to the next, and all sides are to meet the same."""
        arguments = CONNECTIONS[case], 1
        for kind, threads in (("epoll", 1), ("epoll", 2), ("civetweb", WORKERS)):
            side = f"{kind}_{threads}" if kind == "epoll" else kind

            def measure():
                with Responder(self.setup, kind, answer, threads) as responder:
                    return self.client.ask(responder.pid, responder.address, *arguments)

            turns.take(side, i, measure)
        turns.take("tally", i, lambda: self.client.ask(tally.pid, tally.address, *arguments))


def levels(setup, tally, count):
    """Paths of levels that the load has left."""
    paths = []
    for i in range(setup.options.skus):
        path = f"/v1/stock/SKU-{i:08d}/W{1 + i % 3}"
        if (tally.get(path) or [0])[0] == 200:
            paths.append(path)
            if len(paths) == count:
                return paths
    raise Unusable(f"the load left {len(paths)} levels, not {count}")


class Ungrouped:
    """While it lasts, threads compete for the cores one by one, as on a server, and not by the terminal that their
    processes were started from (sched(7), autogroup); where this process may say so."""

    path = "/proc/sys/kernel/sched_autogroup_enabled"

    def write(self, value):
        try:
            with open(self.path, "r+") as file:
                before = file.read().strip()
                file.seek(0)
                file.write(value)
            return before
        except OSError as error:
            say(f"processes are grouped by their terminals: {error}")
            return None

    def __enter__(self):
        known = os.path.exists(self.path)
        self.before = self.write("0") if known else None
        return self.before is not None or not known

    def __exit__(self, *_):
        if self.before is not None:
            self.write(self.before)


class Beside:
    """Commands at half of what tally reaches alone, without reads and with them."""

    def __init__(self, setup):
        self.setup, self.sent = setup, 0
        self.client = Client(setup, "beside")
        self.seconds = 2 * seconds_of(setup)

    def run(self):
        setup, turns = self.setup, Turns()
        setup.empty_topics()
        records = setup.options.records
        setup.generate(records, 0)
        self.sent = records
        tally = setup.tally("http-beside", {"http.threads": WORKERS})
        try:
            best = records / tally.wait_series(COMMANDS, records)
            say(f"alone, as fast as it can: {best:.0f} commands/s")
            self.client.requests(levels(setup, tally, SPREAD))
            with Ungrouped() as ungrouped:
                for i in range(1, setup.options.runs + 1):
                    turns.take("alone", i, lambda: self.ingest(tally, best / 2))
                    turns.take("tally", i, lambda: self.ingest(tally, best / 2, True))
        finally:
            tally.stop()
            shutil.rmtree(setup.state, ignore_errors=True)
        return setup.publish("http", "beside", turns, {"alone": ("ingest_per_s",)}, best_per_s=round(best),
                             ingest_rate=round(best / 2), read_rate=RATE, connections=CONNECTIONS["beside"],
                             http_threads=WORKERS, autogroup=not ungrouped)

    def ingest(self, tally, rate, reads=False):
        """The commands last longer than what is measured: two seconds before it, one behind."""
        setup, count = self.setup, int(rate * (self.seconds + 3))
        generator = subprocess.Popen(setup.generate_command(count, self.sent, rate), env=setup.environment)
        self.sent += count
        try:
            time.sleep(2)
            begin, before, cpu = time.monotonic(), tally.series(COMMANDS), tally.cpu()
            if reads:
                result = self.client.ask(tally.pid, tally.address, CONNECTIONS["beside"], self.seconds, RATE)
            else:
                time.sleep(self.seconds)
                result = {}
            seconds, done = time.monotonic() - begin, tally.series(COMMANDS) - before
            cpu = tally.cpu() - cpu
            generator.wait(120)
        finally:
            generator.kill()
        if generator.returncode:
            raise Unusable(f"the generator ended with {generator.returncode}")
        tally.until("at the end", lambda: tally.series(COMMANDS) >= self.sent, 120)
        return {**result, "ingest_per_s": round(done / seconds), "cpu_percent": round(cpu * 100 / seconds, 1)}


class Follow:
    """Reads while all levels change that WebSockets follow, and while they change and nobody follows. Each run has a new
    process, so that its memory has not grown yet."""

    def __init__(self, setup):
        self.setup, self.sent = setup, FOLLOWERS * FOLLOWED
        self.client = Client(setup, "follow")
        self.seconds = 2 * seconds_of(setup)

    def run(self):
        setup, turns = self.setup, Turns()
        setup.empty_topics()
        self.generate(self.sent, 0, 0)
        try:
            for i in range(1, setup.options.runs + 1):
                tally = setup.tally("http-follow", {"http.threads": WORKERS, "http.websocket.max": FOLLOWERS + 1})
                try:
                    tally.until("at the end", lambda: tally.all_running() and tally.position() >= self.sent, 120)
                    self.client.requests(levels(setup, tally, 1))
                    turns.take("alone", i, lambda: self.turn(tally))
                    turns.take("tally", i, lambda: self.followed(tally))
                finally:
                    tally.stop()
        finally:
            shutil.rmtree(setup.state, ignore_errors=True)
        return setup.publish("http", "follow", turns, {"alone": ("per_s", "p99_ms")}, sockets=FOLLOWERS,
                             skus_each=FOLLOWED, changes_per_s=CHANGES, connections=CONNECTIONS["follow"],
                             read_rate=RATE, http_threads=WORKERS)

    def generate(self, count, first, rate):
        """A process that sends commands of the SKUs that are followed, each as often as the others."""
        setup = self.setup
        command = [setup.generator, setup.options.kafka, setup.commands, str(count), str(FOLLOWERS * FOLLOWED), "uniform",
                   str(first), str(rate)]
        process = subprocess.Popen(command, env=setup.environment)
        if rate == 0 and process.wait(120):
            raise Unusable(f"the generator ended with {process.returncode}")
        return process

    def turn(self, tally):
        """The commands come before what is measured, and end behind it."""
        count = CHANGES * (self.seconds + 3)
        generator = self.generate(count, self.sent, CHANGES)
        self.sent += count
        try:
            time.sleep(1)
            result = self.client.ask(tally.pid, tally.address, CONNECTIONS["follow"], self.seconds, RATE)
            if generator.wait(120):
                raise Unusable(f"the generator ended with {generator.returncode}")
        finally:
            generator.kill()
        tally.until("at the end", lambda: tally.position() >= self.sent, 120)
        return result

    def followed(self, tally):
        before = tally.rss("VmRSS")
        seconds = self.seconds + 6  # until after the last command
        command = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "follow_client.py"),
                   tally.address, str(FOLLOWERS), str(FOLLOWED), str(seconds)]
        with Sampler(tally.pid) as memory, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as followers:
            try:
                if followers.stdout.readline() != "ready\n":
                    raise Unusable("the WebSockets were not opened")
                result = self.turn(tally)
                told = json.loads(followers.communicate(timeout=60)[0])
            finally:
                followers.kill()
        expected = CHANGES * (self.seconds + 3)
        if told["follow_errors"] or told["deltas"] != expected or told["clients_reached"] != FOLLOWERS:
            raise Unusable(f"of {expected} changes the sockets were told {told}")
        return {**result, **told, "rss_growth_mb": max(memory.mb) - before}


# --- conditional requests ----------------------------------------------------------------------------


def conditional(setup):
    turns = Turns()
    settings = {"topologies": ["catalogue", "stock"], "http.threads": WORKERS}
    setup.delete_topics(lambda name: name.startswith(setup.name))
    setup.create_topics(settings)
    setup.loaded = False
    tally = setup.tally("http-conditional", settings)
    try:
        tally.wait_started()
        create_product(setup)
        tally.until("the product's owner", lambda: (tally.get("/v1/products/large") or [0])[0] == 200)
        answer = raw_answer(tally.address, "/v1/products/large")
        tag = next(line for line in answer.decode().split("\r\n") if line.startswith("ETag: "))
        whole, unchanged = Client(setup, "whole"), Client(setup, "unchanged")
        whole.requests(["/v1/products/large"])
        unchanged.requests(["/v1/products/large"], "If-None-Match: " + tag.split(" ", 1)[1])
        arguments = tally.pid, tally.address, CONNECTIONS["conditional"], seconds_of(setup)
        for i in range(1, setup.options.runs + 1):
            turns.take("whole", i, lambda: whole.ask(*arguments))
            turns.take("tally", i, lambda: unchanged.ask(*arguments, status=304))
    finally:
        tally.stop()
        shutil.rmtree(setup.state, ignore_errors=True)
    return setup.publish("http", "conditional", turns, {"whole": ("cpu_us",)}, variants=VARIANTS,
                         answer_bytes=len(answer), connections=CONNECTIONS["conditional"])


def create_product(setup):
    producer = Producer({"bootstrap.servers": setup.options.kafka, "partitioner": "murmur2_random"})
    variants = [{"sku": f"SKU-{i:04d}", "options": {"colour": f"colour {i // 10}", "size": f"size {i % 10}"}}
                for i in range(VARIANTS)]
    command = {"type": "CreateProduct", "command_id": "p-1", "product_id": "P-1", "slug": "large", "name": "Large",
               "description": "A product with many variants. " * 40, "category_ids": ["C-1"], "variants": variants}
    producer.produce(f"{setup.name}.catalogue.commands", key="P-1", value=json.dumps(command))
    producer.flush()
