#!/usr/bin/env python3
"""Sends a running tally what no honest client sends, over plain sockets, and checks each answer:
one problem document with the right status, then, where two programs could read the request in two
ways, the end of the connection. Afterwards the server still answers everybody.
TALLY_TEST_HTTP=host:port http_hostile.py [--quick]; --quick leaves out what waits for time limits."""
import json
import os
import re
import socket
import struct
import sys
import threading
import urllib.request

HOST, PORT = os.environ.get("TALLY_TEST_HTTP", "127.0.0.1:8080").rsplit(":", 1)
LIMIT_S = 60  # nobody waits longer; every limit of the server is far below
CLOSED = 0  # closed without an answer
SEND = "/v1/commands/ReceiveStock"
HOST_LINE = "Host: tally\r\n"
failures = []
checks = 0
lock = threading.Lock()


def check(holds, name, *facts):
    global checks
    with lock:
        checks += 1
        if not holds:
            failures.append(name)
            print(f"http_hostile: {name}: {' '.join(map(str, facts))}", flush=True)


def connect():
    connection = socket.create_connection((HOST, int(PORT)), timeout=LIMIT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_all(connection):
    """Everything up to the end of the connection; an end by reset is one too. None: no end."""
    received = b""
    while True:
        try:
            piece = connection.recv(65536)
        except TimeoutError:
            return received, False
        except OSError:
            return received, True
        if not piece:
            return received, True
        received += piece


def answers_of(received):
    """(status, header lines, body) of each answer."""
    answers = []
    while received:
        head, separator, rest = received.partition(b"\r\n\r\n")
        line = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
        if not separator or not line:
            return [*answers, (-1, [], received)]
        headers = head.split(b"\r\n")[1:]
        length = next((int(h.split(b":")[1]) for h in headers if h.lower().startswith(b"content-length:")), 0)
        answers.append((int(line[1]), headers, rest[:length]))
        received = rest[length:]
    return answers


def is_problem(answer, status):
    headers, body = answer[1], answer[2]
    if b"Content-Type: application/problem+json" not in headers:
        return False
    try:
        problem = json.loads(body)
    except ValueError:
        return False
    return problem["status"] == status and {"type", "title", "detail", "code", "retryable"} <= problem.keys()


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


def expect_closed(name, raw, *statuses):
    """The request is answered once with one of the statuses (or not at all), and the connection ends."""
    with connect() as connection:
        try:
            connection.sendall(as_bytes(raw))
        except OSError:
            pass  # the server had seen enough
        received, ended = read_all(connection)
    judge(name, received, ended, statuses)


def judge(name, received, ended, statuses):
    answers = answers_of(received)
    check(ended, name, "the connection stays open")
    if not answers:
        check(CLOSED in statuses, name, "closed without an answer, expected", statuses)
        return
    check(len(answers) == 1, name, len(answers), "answers:", received[:500])
    check(answers[0][0] in statuses, name, "answered", answers[0][0], "expected", statuses, received[:500])
    check(is_problem(answers[0], answers[0][0]), name, "is no problem document:", received[:500])
    check(b"Connection: close" in answers[0][1], name, "does not say that it closes")


def expect_answer(name, raw, status, header=None):
    """The request is answered with the status; whatever becomes of the connection, nothing follows."""
    with connect() as connection:
        connection.sendall(as_bytes(raw))
        connection.shutdown(socket.SHUT_WR)
        received, _ = read_all(connection)
    answers = answers_of(received)
    check(len(answers) == 1, name, len(answers), "answers:", received[:500])
    if answers:
        check(answers[0][0] == status, name, "answered", answers[0][0], "expected", status, received[:500])
        check(is_problem(answers[0], status), name, "is no problem document:", received[:500])
        check(not any(h.lower().startswith(b"access-control") for h in answers[0][1]), name, "has CORS headers")
        check(header is None or as_bytes(header) in answers[0][1], name, "lacks", header, answers[0][1])


def post(body, media="application/json", extra=""):
    body = as_bytes(body)
    head = (f"POST {SEND} HTTP/1.1\r\n{HOST_LINE}Content-Type: {media}\r\nIdempotency-Key: hostile-1\r\n"
            f"{extra}Content-Length: {len(body)}\r\n\r\n")
    return as_bytes(head) + body


def request_lines():
    for name, line in {
        "no URI": "GET", "no version": "GET /livez", "no protocol": "GET /livez FOO/1.1",
        "small letters": "get /livez HTTP/1.1", "unknown method": "FOO /livez HTTP/1.1",
        "TRACE": "TRACE /livez HTTP/1.1", "CONNECT of a host": "CONNECT tally:80 HTTP/1.1",
        "CONNECT of a path": "CONNECT /livez HTTP/1.1", "relative URI": "GET livez HTTP/1.1",
        "four words": "GET /livez /livez HTTP/1.1", "space at the end": "GET /livez HTTP/1.1 ",
        "a NUL": "GET /livez\0 HTTP/1.1", "a bell": "GET /\a HTTP/1.1",
        "DEL": "GET /\x7f HTTP/1.1", "no ASCII": "GET /\xe4 HTTP/1.1",
    }.items():
        expect_closed("request line: " + name, f"{line}\r\n{HOST_LINE}\r\n", 400)
    for version in ("0.9", "1.2", "2.0", "1", "11", "1.1.1"):
        expect_closed("version " + version, f"GET /livez HTTP/{version}\r\n{HOST_LINE}\r\n", 505)
    for target in ("http://tally/livez", f"http://{HOST}:{PORT}/livez"):
        expect_closed("absolute form", f"GET {target} HTTP/1.1\r\n{HOST_LINE}\r\n", CLOSED)
    expect_closed("OPTIONS *", f"OPTIONS * HTTP/1.1\r\n{HOST_LINE}\r\n", CLOSED)
    for spaces in ("\r\n\r\n", "\n\n", "\r\n\r\n" + " " * 300):
        expect_closed("white space only", spaces, 400, CLOSED)
    expect_closed("long URI", f"GET /{'a' * 2048} HTTP/1.1\r\n{HOST_LINE}\r\n", 414)
    expect_closed("long query", f"GET /livez?{'a' * 2042} HTTP/1.1\r\n{HOST_LINE}\r\n", 414)


def headers():
    def get(block):
        return f"GET /livez HTTP/1.1\r\n{block}\r\n"
    hidden = "GET /livez HTTP/1.1\r\nHost: hidden\r\n\r\n"
    lines = "".join(f"X-{i}: y\r\n" for i in range(80))
    expect_closed("64 headers", get(HOST_LINE + "".join(lines.splitlines(True)[:63])), 431)
    expect_closed("length as 65th header", get(HOST_LINE + "".join(lines.splitlines(True)[:63])
                                               + f"Content-Length: {len(hidden)}\r\n") + hidden, 431)
    expect_closed("20 KiB of headers", get(HOST_LINE + f"X: {'y' * 20480}\r\n"), 400)
    expect_closed("20 KiB of request line", f"GET /{'a' * 20480} HTTP/1.1\r\n{HOST_LINE}\r\n", 400)
    for name, block in {
        "no Host": "X: y\r\n", "no headers": "", "two Hosts": HOST_LINE + HOST_LINE,
        "two Hosts in two cases": HOST_LINE + "hOST: b\r\n", "folded line": HOST_LINE + "X: y\r\n z\r\n",
        "folded line that hides a length": HOST_LINE + f"X: y\r\n z\r\nContent-Length: {len(hidden)}\r\n",
        "first line folded": " Host: tally\r\n", "space before the colon": HOST_LINE + "Content-Length : 5\r\n",
        "bare newline": HOST_LINE.replace("\r", "") + "X: y\r\n", "no name": HOST_LINE + ": y\r\n",
        "no colon": HOST_LINE + "X\r\n", "a NUL": HOST_LINE + "X: \0\r\n", "bare CR": HOST_LINE + "X: y\rZ: a\r\n",
        "tab before the colon": HOST_LINE + "X\t: y\r\n",
    }.items():
        expect_closed("header: " + name, get(block) + (hidden if "length" in name else ""), 400)
    expect_closed("block of bare newlines", "GET /livez HTTP/1.1\nHost: tally\n\n", 400)
    expect_closed("request ended by bare newlines", "GET /livez HTTP/1.1\r\nHost: tally\n\n" + hidden, 400)


def framing():
    hidden = f"GET /livez HTTP/1.1\r\n{HOST_LINE}\r\n"

    def send(lines, body, version="1.1"):
        return f"POST {SEND} HTTP/{version}\r\n{HOST_LINE}{lines}\r\n{body}"
    chunks = f"{len(hidden):x}\r\n{hidden}\r\n0\r\n\r\n"
    for name, lines, body in (
            ("length and chunks", f"Content-Length: {len(hidden)}\r\nTransfer-Encoding: chunked\r\n", hidden),
            ("chunks and length", f"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", chunks),
            ("two lengths", f"Content-Length: 0\r\nContent-Length: {len(hidden)}\r\n", hidden),
            ("twice the same length", f"Content-Length: {len(hidden)}\r\n" * 2, hidden),
            ("two codings", "Transfer-Encoding: chunked\r\n" * 2, chunks),
            ("gzip", "Transfer-Encoding: gzip\r\n", hidden), ("xchunked", "Transfer-Encoding: xchunked\r\n", chunks),
            ("gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n", chunks),
            ("identity", f"Transfer-Encoding: identity\r\nContent-Length: 0\r\n", hidden),
            ("identity alone", "Transfer-Encoding: identity\r\n", hidden),
            ("empty coding", "Transfer-Encoding: \r\nContent-Length: 3\r\n", "abc"),
            *((f"length {text}", f"Content-Length: {text}\r\n", "abc" + hidden)
              for text in ("+3", "-1", "3x", "abc", "0x3", "3,3", "3 3", "", "1e1"))):
        expect_closed("framing: " + name, send(lines, body), 400)
    expect_closed("framing: chunks in 1.0", send("Transfer-Encoding: chunked\r\n", chunks, "1.0"), 400)
    expect_closed("framing: no length", send("", ""), 411)
    expect_closed("framing: no length, with a body", send("", hidden), 411)
    for chunk in ("zz\r\nabc\r\n", "-3\r\nabc\r\n", "3;a=b\r\nabc\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n", "3\nabc\n0\n\n",
                  "0x3\r\nabc\r\n0\r\n\r\n"):
        expect_closed("chunk: " + repr(chunk), send("Transfer-Encoding: chunked\r\n", chunk), 400)
    expect_closed("long chunk size", send("Transfer-Encoding: chunked\r\n", "f" * 70 + "\r\n"), 400)
    expect_closed("length over 1 MiB", send("Content-Length: 1048577\r\n", "a" * 65536), 413)
    expect_closed("length over 2^64", send("Content-Length: 18446744073709551617\r\n", "a"), 413)
    expect_closed("chunks over 1 MiB", send("Transfer-Encoding: chunked\r\n", ("10000\r\n" + "a" * 65536 + "\r\n") * 17), 413)
    with connect() as connection:
        connection.sendall(as_bytes(send("Content-Length: 100\r\n", "half")))
        connection.shutdown(socket.SHUT_WR)
        judge("framing: half a body", *read_all(connection), (400,))


def routes():
    def ask(method, path, lines=""):
        return f"{method} {path} HTTP/1.1\r\n{HOST_LINE}{lines}Connection: close\r\n\r\n"
    for path in ("/..%2f..%2fetc/passwd", "/%2e%2e/", "/../livez", "/./livez", "//livez", "/livez/", "/.git", "/v1",
                 "/v1/", "/v1/stock/", "/v1/stock/a%00", "/v1/stock/A/B/C", "/%6civez", "/livez%20", "/index.html",
                 "/v1/commands/a/b", "/livez;a", "/livez$", "/console/..\\"):
        expect_answer("path " + repr(path), ask("GET", path), 404)
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "POST", "PROPFIND", "LOCK", "MKCOL"):
        expect_answer(method, ask(method, "/livez", "Content-Length: 0\r\n"), 405, "Allow: GET, HEAD")
    expect_answer("preflight", ask("OPTIONS", "/v1/warehouses", "Origin: http://evil\r\nAccess-Control-Request-Method: GET\r\n"),
                  405, "Allow: GET, HEAD")
    expect_answer("unknown parameter", ask("GET", "/v1/stock/A?wharehouse=B"), 400)
    expect_answer("parameter twice", ask("GET", "/v1/stock/A?warehouse=B&warehouse=C"), 400)
    expect_answer("bad escape", ask("GET", "/v1/stock/A?warehouse=%"), 400)
    expect_answer("other Accept", ask("GET", "/v1/stock/A", "Accept: text/html\r\n"), 406)
    expect_answer("long SKU", ask("GET", "/v1/stock/" + "A" * 1900), 404)
    expect_answer("long command id", ask("GET", "/v1/commands/" + "A" * 1900), 404)
    expect_answer("long warehouse", ask("GET", "/v1/stock/A/ledger?warehouse=" + "A" * 1900), 400)
    expect_answer("cursor of nobody", ask("GET", "/v1/stock/A/ledger?warehouse=AMS1&cursor=AAAA"), 400)
    expect_answer("limit 0", ask("GET", "/v1/stock/A/ledger?warehouse=AMS1&limit=0"), 400)
    expect_answer("bad position", ask("GET", "/v1/stock/A", "Tally-Min-Position: x\r\n"), 400)


def bodies():
    deep = "[" * 100000
    for name, body in {
        "empty": "", "array": "[]", "half": '{"sku":"A"', "depth": '{"sku":' + deep, "bad UTF-8": b'{"sku":"\xff"}',
        "overlong": b'{"sku":"\xc0\xaf"}', "NUL": '{"sku":"A\0"}', "NaN": '{"quantity":NaN}',
        "duplicates": '{"sku":"A","sku":"B"}', "two documents": '{"sku":"A"}{}', "comment": '{/**/"sku":"A"}',
        "other type": '{"sku":"A","type":"ShipStock"}', "other id": '{"sku":"A","command_id":"other"}',
        "escaped NUL": '{"sku":"\\u0000"}', "lone surrogate": '{"sku":"\\ud800"}',
    }.items():
        expect_answer("JSON: " + name, post(body), 400)
    for name, body in {"no key": "{}", "key of another type": '{"sku":5}', "bad key": '{"sku":"/"}',
                       "long key": json.dumps({"sku": "A" * 5000}), "float": '{"sku":"A","quantity":1.5}',
                       "big number": '{"sku":"A","quantity":9223372036854775808}'}.items():
        expect_answer("fields: " + name, post(body), 422)
    for name, body in {"map bomb": b"\xdf\xff\xff\xff\xff", "array bomb": b"\x81\xa1a\xdd\xff\xff\xff\xff",
                       "string bomb": b"\x81\xa1a\xdb\xff\xff\xff\xff", "depth": b"\x81\xa1a" * 1000, "JSON": b"{}",
                       "rest": b"\x80\x80", "no map": b"\x90"}.items():
        expect_answer("MessagePack: " + name, post(body, "application/msgpack"), 400)
    for media in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "text/json", "", "application/json;charset=utf-16"):
        expect_answer("media type " + repr(media), post("a=%\0", media), 415)
    expect_answer("gzip", post("{}", extra="Content-Encoding: gzip\r\n"), 415)
    nested = ("--a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n\0%\r\n"
              "--b--\r\n--a--\r\n")
    for path in (SEND, "/v1/commands:batch", "/v1/availability:batch", "/graphql"):
        for media in ("multipart/form-data; boundary=a", "application/x-www-form-urlencoded", "multipart/form-data"):
            expect_answer(f"form to {path} as {media}", post(nested, media).replace(SEND.encode(), path.encode()), 415)
        expect_answer(f"depth to {path}", post('{"commands":' + deep).replace(SEND.encode(), path.encode()), 400)
        expect_answer(f"bad UTF-8 to {path}", post(b'{"query":"\xff"}').replace(SEND.encode(), path.encode()), 400)
    expect_answer("form to an operation", post(nested, "multipart/form-data; boundary=a").replace(SEND.encode(), b"/v1/ops/sinks/none/pause"), 404)
    expect_answer("no such command", post("{}").replace(b"ReceiveStock", b"DropTables"), 404)
    expect_answer("internal command", post("{}").replace(b"ReceiveStock", b"ApplyWarehouse"), 404)
    expect_answer("no key", post("{}").replace(b"Idempotency-Key", b"X"), 400)
    for key in ("~HoldStock:1", "a b", "", "a" * 65, "\xe4"):
        expect_answer("key " + repr(key), post("{}").replace(b"hostile-1", as_bytes(key)), 400)
    expect_answer("long actor", post("{}", extra=f"X-Actor: {'a' * 129}\r\n"), 400)
    expect_answer("weak If-Match", post("{}", extra='If-Match: W/"p0-v1"\r\n'), 400)


def strangers():
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(200)
    expect_closed("TLS hello", hello, 400, CLOSED)
    expect_closed("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 505, CLOSED)
    expect_closed("noise", os.urandom(4096), 400, CLOSED)
    expect_closed("a Kafka request", struct.pack(">ihhih", 20, 18, 3, 1, -1) + b"\r\n\r\n", 400, CLOSED)
    for _ in range(20):
        with connect() as connection:  # gone before the answer, by reset
            connection.sendall(post("{}", extra="Prefer: wait=1\r\n"))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def slow():
    def trickle(name, head, piece, statuses):
        stop = threading.Event()
        with connect() as connection:
            connection.sendall(as_bytes(head))

            def feed():
                while not stop.wait(0.5):
                    try:
                        connection.sendall(piece)
                    except OSError:
                        return
            feeder = threading.Thread(target=feed)
            feeder.start()
            received, ended = read_all(connection)
            stop.set()
            feeder.join()
        judge(name, received, ended, statuses)
    begun = f"GET /livez HTTP/1.1\r\n{HOST_LINE}X: "
    sized = f"POST {SEND} HTTP/1.1\r\n{HOST_LINE}Content-Length: 1000\r\n\r\n"
    chunked = f"POST {SEND} HTTP/1.1\r\n{HOST_LINE}Transfer-Encoding: chunked\r\n\r\n3e8\r\n"
    threads = [threading.Thread(target=expect_closed, args=arguments) for arguments in (
        ("half a header block", begun, 400), ("half a body", sized + "{", 408), ("no body", sized, 408),
        ("half a chunk", chunked + "{", 408, 400), ("nothing at all", "", CLOSED),
        ("no body after 100-continue", sized.replace("\r\n\r\n", "\r\nExpect: nothing\r\n\r\n"), 408))]
    threads += [threading.Thread(target=trickle, args=arguments) for arguments in (
        ("trickling headers", begun, b"y", (400, CLOSED)), ("trickling body", sized, b"{", (408,)),
        ("trickling chunk", chunked, b"{", (408,)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def still_answers():
    def ask():
        with urllib.request.urlopen(f"http://{HOST}:{PORT}/livez", timeout=LIMIT_S) as answer:
            check(answer.status == 200 and answer.read() == b"ok", "it still answers", answer.status)
    threads = [threading.Thread(target=ask) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with connect() as connection:  # an ordinary connection goes on, whatever was asked on it
        for path, status in (("/livez", 200), ("/nothing", 404), ("/livez", 200)):
            connection.sendall(as_bytes(f"GET {path} HTTP/1.1\r\n{HOST_LINE}\r\n"))
            answer = b""
            while not answer or not answers_of(answer) or len(answers_of(answer)[0][2]) == 0:
                answer += connection.recv(65536)
            check(answers_of(answer)[0][0] == status, "keep-alive", path, answer[:200])


def main():
    for part in (request_lines, headers, framing, routes, bodies, strangers):
        part()
    if "--quick" not in sys.argv:
        slow()
    still_answers()
    print(f"{100 * (checks - len(failures)) // max(checks, 1)}%: Checks: {checks}, "
          f"Failures: {len(failures)}, Errors: 0")
    return 1 if failures else 0


sys.exit(main())
