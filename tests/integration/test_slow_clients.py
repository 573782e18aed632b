#!/usr/bin/env python3
"""Slow clients: 200 slow headers and 200 slow bodies on tally itself, 2000 on nginx with k8s/nginx.conf in front,
while everybody else is answered; and what that nginx passes on, refuses and adds. Nothing grows and no thread is
lost. TEST_KAFKA: host:port; TEST_TALLY: the program."""
import http.client
import json
import os
import pathlib
import re
import resource
import selectors
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PATIENCE_S = 60
HEALTHY_S = 20  # nobody who is healthy waits so long, on whatever machine: a lost worker would make them
DIRECT, PROXIED = 200, 1000  # slow headers, and as many slow bodies
THREADS = 2 * DIRECT + 48
GROWTH_MAX_KIB = 8 * 1024  # workers that had no such request yet; 20 KiB lost with each of 450 would be more
results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_slow_clients: {name}: {' '.join(map(str, facts))}", flush=True)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Tally:
    def __init__(self, folder):
        self.folder, self.address = folder, f"127.0.0.1:{free_port()}"
        name = "proxy-" + uuid.uuid4().hex[:8]
        config = folder / "tally.yaml"
        config.write_text(f"""kafka: {{ bootstrap.servers: "{os.environ['TEST_KAFKA']}" }}
app.id: {name}
topics.prefix: {name}.
topics.partitions: 1
state: {{ dir: "{folder}/state" }}
topologies: [catalogue, stock]
http: {{ listen: "{self.address}", threads: {THREADS}, trusted_proxies: ["127.0.0.1"], audit: true }}
""")
        self.config, self.topic = config, f"{name}.tally.audit"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
        self.run("topics", "create", "-c", config)
        with open(folder / "log", "w") as log:
            self.process = subprocess.Popen([os.environ["TEST_TALLY"], "run", "-c", config], env=self.environment, stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < end:
            try:
                if ask(http.client.HTTPConnection, self.address, "GET", "/startupz")[0] == 200:
                    break
            except OSError:
                pass
            time.sleep(0.1)

    def run(self, *arguments):
        return subprocess.run([os.environ["TEST_TALLY"], *map(str, arguments)], env=self.environment, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, timeout=PATIENCE_S, check=True).stdout

    def facts(self):
        """Resident KiB, threads, open files."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return (int(re.search(r"VmRSS:\s+(\d+)", status)[1]), int(re.search(r"Threads:\s+(\d+)", status)[1]),
                len(os.listdir(f"/proc/{self.process.pid}/fd")))


class Nginx:
    def __init__(self, folder, upstream):
        self.folder = folder
        self.plain, self.secure = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.certificate = folder / "tls.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-keyout", folder / "tls.key", "-out", self.certificate, "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=IP:127.0.0.1"], check=True, stderr=subprocess.DEVNULL)
        text = (ROOT / "k8s/nginx.conf").read_text()
        for old, new in (("/tmp/", f"{folder}/"), ("/etc/nginx/tls/", f"{folder}/"), ("127.0.0.1:8080;", f"{upstream};"),
                         ("listen 80;", f"listen {self.plain};"), ("listen 443 ", f"listen {self.secure} "),
                         ("/dev/stdout", f"{folder}/access")):
            check(old in text, "k8s/nginx.conf has", old)
            text = text.replace(old, new)
        config = folder / "nginx.conf"
        config.write_text(text)
        program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        with open(folder / "nginx.log", "w") as log:
            self.process = subprocess.Popen([program, "-p", folder, "-c", config, "-e", "stderr", "-g", "daemon off;"], stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < end:
            try:
                socket.create_connection(self.secure.split(":"), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_S)


def ask(kind, address, method, path, body=None, source=None, headers=None, **options):
    """Status, headers and body."""
    connection = kind(address, timeout=PATIENCE_S, source_address=(source, 0) if source else None, **options)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


# --- slow clients -----------------------------------------------------------------------------------------

HEADERS = b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Slow: "
BODY = b"POST /v1/commands/ReceiveStock HTTP/1.1\r\nHost: a\r\nIdempotency-Key: slow\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"


class Slow:
    """Many clients that send a byte now and then; whoever is thrown out comes again, until the end."""

    def __init__(self, address, count, context=None):
        self.address, self.count, self.context = tuple(address.split(":")), count, context
        self.stop, self.ready = threading.Event(), threading.Event()
        self.begun = self.ended = 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        self.ready.wait(PATIENCE_S)

    def connect(self, index):
        """From one of 40 addresses, so that no client has more than its share."""
        sock = socket.create_connection(self.address, timeout=PATIENCE_S, source_address=(f"127.0.1.{1 + index % 40}", 0))
        if self.context:
            sock = self.context.wrap_socket(sock, server_hostname="127.0.0.1")
        sock.sendall(HEADERS if index % 2 == 0 else BODY)
        sock.setblocking(False)
        self.begun += 1
        return sock

    def trickle(self, selector, index):
        sock = self.socks[index]
        try:
            sock.send(b"a")
            alive = sock.recv(4096) != b""
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            alive = True
        except OSError:
            alive = False
        if not alive:
            sock.close()
            self.ended += 1
            self.socks[index] = self.connect(index)

    def run(self):
        self.socks = [self.connect(index) for index in range(2 * self.count)]
        self.ready.set()
        with selectors.DefaultSelector() as selector:
            while not self.stop.wait(1.0):
                for index in range(len(self.socks)):
                    self.trickle(selector, index)
        for sock in self.socks:
            sock.close()

    def end(self):
        self.stop.set()
        self.thread.join()


def healthy(ask_once, seconds):
    """Requests one after the other from 8 clients for so long; their times, sorted, and what was no 200."""
    times, bad = [], []

    def client():
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            start = time.monotonic()
            try:
                status = ask_once()
            except OSError as error:
                status = error
            times.append(time.monotonic() - start)
            if status != 200:
                bad.append(status)
    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(times), bad


def report(name, slow, times, bad):
    p99 = times[len(times) * 99 // 100]
    print(f"{name}: {2 * slow.count} slow clients ({slow.begun} connections, {slow.ended} thrown out): {len(times)} healthy requests, "
          f"p50 {times[len(times) // 2] * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, longest {times[-1] * 1000:.1f} ms", flush=True)
    check(len(times) > 8 and not bad, f"{name}: everybody healthy is answered", len(times), bad[:5])
    check(times[-1] < HEALTHY_S, f"{name}: and soon", times[-1])


def slow_on_tally(tally):
    before = tally.facts()
    slow = Slow(tally.address, DIRECT)
    times, bad = healthy(lambda: ask(http.client.HTTPConnection, tally.address, "GET", "/v1/warehouses")[0], 9)
    slow.end()
    report("tally itself", slow, times, bad)
    check(slow.ended >= DIRECT, "slow headers are thrown out after 5 s", slow.ended)
    after = settle(tally, before)
    check(after[1] == before[1], "no thread is lost", before, after)
    check(after[2] <= before[2] + 8, "no file stays open", before, after)


def settle(tally, before):
    """Once the slow ones are gone."""
    end = time.monotonic() + PATIENCE_S
    while (after := tally.facts())[2] > before[2] + 8 and time.monotonic() < end:
        time.sleep(0.1)
    return after


def slow_on_nginx(tally, nginx, context):
    before = tally.facts()
    slow = Slow(nginx.secure, PROXIED, context)
    times, bad = healthy(lambda: ask(http.client.HTTPSConnection, nginx.secure, "GET", "/v1/warehouses", context=context)[0], 5)
    inside = tally.facts()
    slow.end()
    report("nginx in front", slow, times, bad)
    check(slow.begun >= 2 * PROXIED, "all slow ones are there", slow.begun)
    check(inside[2] < before[2] + 100, "none of them reaches tally", before, inside)
    lines = (nginx.folder / "nginx.log").read_text()
    check("worker_connections are not enough" not in lines and "[emerg]" not in lines, "nginx has room for all", lines[-500:])


def hostile(tally):
    """The pack twice: what it makes tally keep, it keeps once."""
    def pack():
        done = subprocess.run([sys.executable, HERE / "http_hostile.py", "--quick"], env={**os.environ, "TALLY_TEST_HTTP": tally.address},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE_S, check=False)
        check(done.returncode == 0, "the hostile pack", done.stdout)
        return settle(tally, before)
    before = tally.facts()
    first = pack()
    second = pack()
    print(f"hostile pack, twice: resident {before[0]}, {first[0]}, {second[0]} KiB", flush=True)
    check(second[1] == before[1], "hostile: no thread is lost", before, first, second)
    check(second[0] - first[0] < GROWTH_MAX_KIB, "hostile: memory", before, first, second)


# --- what goes through --------------------------------------------------------------------------------------

def through(tally, nginx, context):
    def get(method, path, body=None, source=None, **headers):
        return ask(http.client.HTTPSConnection, nginx.secure, method, path, body, source, context=context,
                   headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = get("GET", "/v1/warehouses")
    check(answer[0] == 200 and answer[1]["Strict-Transport-Security"] and "Server" in answer[1] and "/" not in answer[1]["Server"],
          "through: an answer", *answer)
    plain = ask(http.client.HTTPConnection, nginx.plain, "GET", "/v1/warehouses?a=b")
    check(plain[0] == 308 and plain[1]["Location"].startswith("https://127.0.0.1/v1/warehouses?a=b"), "through: to TLS", *plain)
    body = json.dumps({"warehouse": "W1", "name": "n"})
    sent = {"Content_Type": "application/json", "Idempotency_Key": "p-1", "Prefer": "wait=30"}
    answer = get("POST", "/v1/commands/RegisterWarehouse", body, "127.0.2.7", X_Forwarded_For="6.6.6.6", **sent)
    check(answer[0] == 200 and json.loads(answer[2])["status"] == "ACCEPTED", "through: a command", *answer)
    chunks = (piece.encode() for piece in (body[:10], body[10:]))
    answer = get("POST", "/v1/commands/RegisterWarehouse", chunks, **sent)
    check(answer[0] == 200 and answer[1]["Idempotent-Replayed"] == "true", "through: in chunks, again", *answer)
    end = time.monotonic() + PATIENCE_S
    found = []
    while not found and time.monotonic() < end:
        lines = tally.run("tail", "--config", tally.config, "-t", tally.topic, "-o", "beginning", "-e", "-f", "%s\\n").splitlines()
        found = [record for record in map(json.loads, lines) if record["command_id"] == "p-1"]
    check(found and found[0]["client"] == "127.0.2.7", "through: who asked, whatever he says", found)
    for method, path, fields, status in (
            ("GET", "/metrics", {}, 404), ("GET", "/v1/ops/tasks", {}, 404), ("GET", "/%2e%2e/v1/ops/tasks", {}, 400),
            ("GET", "/v1//ops/tasks", {}, 404), ("GET", "/v1/none", {}, 404), ("GET", "/.problem/400", {}, 404), ("TRACE", "/livez", {}, 405), ("PUT", "/livez", {}, 405),
            ("GET", "/" + "a" * 3000, {}, 414), ("GET", "/" + "a" * 20000, {}, 414), ("GET", "/livez", {"X": "y" * 60000}, 400),
            ("GET", "/v1/stock/A", {"Accept": "text/html"}, 406), ("POST", "/v1/commands/ReceiveStock", {"Content_Length": "2000000"}, 413),
            ("POST", "/v1/commands/ReceiveStock", {"Transfer_Encoding": "gzip"}, 501)):
        answer = get(method, path, **fields)
        problem = json.loads(answer[2]) if answer[1]["Content-Type"] == "application/problem+json" else {}
        check(answer[0] == status and (problem.get("status") == status or status == 501), f"through: {method} {path[:30]}", *answer)
    answer = get("GET", "/v1/ops/tasks/../../v1/ops/tasks")
    check(answer[0] in (403, 404), "through: dots do not lead to operations", *answer)
    log = (nginx.folder / "access").read_text()
    check("/v1/warehouses 200" in log and "a=b" not in log, "the access log has no queries", log[-300:])


def upgrade(tally, nginx, context):
    """What a client of WebSocket gets is what tally gives it: the handshake goes through, or its refusal."""
    request = (b"GET /v1/stream HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: %s\r\n"
               b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")

    def handshake(sock, version):
        with sock:
            sock.sendall(request % version)
            answer = b""
            while b"\r\n\r\n" not in answer and (piece := sock.recv(65536)):
                answer += piece
            status = int(answer.split(b" ", 2)[1])
            if status == 101:
                sock.sendall(b"\x89\x80\x00\x00\x00\x00")  # a ping, which is answered
                check(sock.recv(65536)[:1] == b"\x8a", "upgrade: a pong")
            return status
    for version in (b"13", b"12"):
        direct = handshake(socket.create_connection(tally.address.split(":"), timeout=PATIENCE_S), version)
        sock = socket.create_connection(nginx.secure.split(":"), timeout=PATIENCE_S)
        check(handshake(context.wrap_socket(sock, server_hostname="127.0.0.1"), version) == direct, "upgrade: goes through", version, direct)


def share(nginx, context):
    """One client has at most 100 requests under way; others do not feel it."""
    socks = []
    for _ in range(100):
        sock = socket.create_connection(nginx.secure.split(":"), timeout=PATIENCE_S, source_address=("127.0.3.1", 0))
        sock = context.wrap_socket(sock, server_hostname="127.0.0.1")
        sock.sendall(BODY)
        socks.append(sock)
    end = time.monotonic() + PATIENCE_S
    while (answer := ask(http.client.HTTPSConnection, nginx.secure, "GET", "/livez", source="127.0.3.1", context=context))[0] == 200 \
            and time.monotonic() < end:
        time.sleep(0.05)
    check(answer[0] == 429 and json.loads(answer[2])["code"] == "RATE_LIMITED" and answer[1]["Retry-After"] == "1", "share: too many", *answer)
    answer = ask(http.client.HTTPSConnection, nginx.secure, "GET", "/livez", source="127.0.3.2", context=context)
    check(answer[0] == 200, "share: another client", *answer)
    for sock in socks:
        sock.close()


def away(nginx, context):
    answer = ask(http.client.HTTPSConnection, nginx.secure, "GET", "/livez", context=context)
    check(answer[0] == 503 and json.loads(answer[2])["code"] == "OVERLOADED" and answer[1]["Retry-After"] == "1", "away: no tally", *answer)


def main():
    if "TEST_KAFKA" not in os.environ or "TEST_TALLY" not in os.environ:
        print("100%: Checks: 0, Failures: 0, Errors: 0")
        return 0
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16384) if hard > 0 else 16384, hard))
    with tempfile.TemporaryDirectory() as text:
        folder = pathlib.Path(text)
        folder.chmod(0o755)  # for nginx's workers, which are nobody's if it was root who began
        tally = Tally(folder)
        check(tally.process.poll() is None, "it starts")
        nginx = Nginx(folder, tally.address)
        check(nginx.process.poll() is None, "nginx starts")
        context = ssl.create_default_context(cafile=nginx.certificate)
        through(tally, nginx, context)
        upgrade(tally, nginx, context)
        share(nginx, context)
        slow_on_nginx(tally, nginx, context)
        slow_on_tally(tally)
        hostile(tally)
        tally.process.send_signal(signal.SIGTERM)
        check(tally.process.wait(PATIENCE_S) == 0, "it ends", tally.process.returncode)
        away(nginx, context)
        nginx.stop()
        if not all(results):
            print((folder / "log").read_text()[-2000:], (folder / "nginx.log").read_text()[-2000:])
    failed = results.count(False)
    print(f"{100 * (len(results) - failed) // max(len(results), 1)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


sys.exit(main())
