#!/usr/bin/env python3
"""Credentials and roles of a real instance: every route with every role, before its body is read; attacks on
tokens; keys, changed while it runs; GraphQL; the verbs that ask an instance; files that are refused.
TEST_KAFKA: host:port; TEST_TALLY: the program."""
import hashlib
import hmac
import http.client
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
import uuid

import auth_tokens
import websocket_client
from auth_tokens import claims, encode, token

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE_S = 60
ROLES = ["none", "reader", "writer", "operator", "admin"]
PERMISSION = {"PUBLIC": "none", "READER": "reader", "WRITER": "writer", "OPERATOR": "operator"}
results = []


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_auth: {name}: {' '.join(map(str, facts))}", flush=True)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def program(*arguments, environment=None, **options):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
    return subprocess.run([os.environ["TEST_TALLY"], *map(str, arguments)], env={**clean, **(environment or {})}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE_S, check=False, **options)


class Server:
    def __init__(self, folder, http):
        """http: the section of the settings, with ADDRESS for its address."""
        self.folder, self.address = folder, f"127.0.0.1:{free_port()}"
        self.name = name = "auth-" + uuid.uuid4().hex[:8]
        self.config = folder / "tally.yaml"
        self.config.write_text(f"""kafka: {{ bootstrap.servers: "{os.environ['TEST_KAFKA']}" }}
app.id: {name}
topics.prefix: {name}.
topics.partitions: 1
state: {{ dir: "{folder}/state" }}
{http.replace("ADDRESS", self.address)}
""")
        made = program("topics", "create", "-c", self.config)
        check(made.returncode == 0, "topics are made", made.stderr)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
        with open(folder / "log", "w") as log:
            self.process = subprocess.Popen([os.environ["TEST_TALLY"], "run", "-c", self.config], env=clean, cwd=folder, stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < end:
            try:
                if self.ask("GET", "/startupz")[0] == 200:
                    break
            except OSError:
                pass
            time.sleep(0.1)

    def ask(self, method, path, credentials=None, body=None, **headers):
        """Status, headers and body."""
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE_S)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if credentials is not None:
            fields["Authorization"] = f"Bearer {credentials}"
        try:
            connection.request(method, path, body, fields)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def log(self):
        return (self.folder / "log").read_text()

    def reload(self, word):
        """Sends SIGHUP and waits for a new line of the log with the word."""
        before = self.log().count(word)
        self.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + PATIENCE_S
        while self.log().count(word) == before and time.monotonic() < end:
            time.sleep(0.02)
        check(self.log().count(word) > before, f"SIGHUP: {word}")


def new_key(name, role):
    """A key and its line, as the verb prints them."""
    made = program("keys", "new", "--name", name, "--role", role)
    key = made.stderr.splitlines()[0]
    check(made.returncode == 0 and re.fullmatch(r"tally_[A-Za-z0-9_-]{43}", key), "a new key", made.stderr)
    check(made.stdout == f"{name} {role} sha256:{hashlib.sha256(key.encode()).hexdigest()}\n", "its line", made.stdout)
    return key, made.stdout


def routes():
    table = re.sub(r"/\*.*?\*/", "", (ROOT / "http/routes.def").read_text(), flags=re.S)
    for method, pattern, permission in re.findall(r'X\(\w+,\s*(\w+),\s*"([^"]+)",\s*\w+,\s*(\w+),', table):
        yield method, re.sub(r"\{\w+\}", "A", pattern), PERMISSION[permission]


def is_problem(answer, status, code):
    problem = json.loads(answer[2] or b"{}")
    return (answer[0] == status and answer[1]["Content-Type"] == "application/problem+json" and problem["code"] == code
            and problem["status"] == status and answer[1]["Cache-Control"] == "no-store")


def is_refused(answer):
    return is_problem(answer, 401, "UNAUTHENTICATED") and answer[1]["WWW-Authenticate"].startswith('Bearer realm="tally"')


def walk(server, credentials):
    """Each route with each role: what its row says, and nothing else."""
    count = 0
    for method, path, needed in routes():
        body = b"{}" if method == "POST" else None
        fields = {"Content_Type": "application/json", "Idempotency_Key": "walk-1"} if body else {}
        for role, shown in credentials:
            answer = server.ask(method, path, shown, body, **fields)
            allowed = ROLES.index(role or "none") >= ROLES.index(needed)
            if needed == "none" or (role is not None and allowed):
                check(answer[0] not in (401, 403), f"{method} {path} as {role}", *answer)
            elif role is None:
                check(is_refused(answer) and "error=" not in answer[1]["WWW-Authenticate"], f"{method} {path} as nobody", *answer)
            else:
                check(is_problem(answer, 403, "FORBIDDEN") and 'error="insufficient_scope"' in answer[1]["WWW-Authenticate"]
                      and needed in json.loads(answer[2])["detail"], f"{method} {path} as {role}", *answer)
            count += 1
    check(count >= 30 * len(credentials), "every route is walked", count)


def before_the_body(server, reader):
    """A refusal comes while the body is still on its way, and ends the connection."""
    for line, status in (("", b"401"), (f"Authorization: Bearer {reader}\r\n", b"403")):
        with socket.create_connection(server.address.split(":"), timeout=PATIENCE_S) as connection:
            connection.sendall(f"POST /v1/commands/ReceiveStock HTTP/1.1\r\nHost: a\r\n{line}Content-Length: 1000000\r\n\r\n".encode())
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        check(answer.startswith(b"HTTP/1.1 " + status) and b"Connection: close" in answer, "before the body", answer)
    with socket.create_connection(server.address.split(":"), timeout=PATIENCE_S) as connection:  # a GET may be repeated
        for _ in range(2):
            connection.sendall(b"GET /v1/warehouses HTTP/1.1\r\nHost: a\r\n\r\n")
            check(connection.recv(65536).startswith(b"HTTP/1.1 401"), "a connection goes on after a refused GET")


def attacks(server, rsa, ec, listed, stranger):
    """Tokens: those that are good, and everything else that somebody may try."""
    now = int(time.time())
    listed_head = {"kid": "listed"}
    for name, text in {
        "RS256": token(rsa, claims()), "ES256": token(ec, claims()), "listed": token(listed, claims(), listed_head),
        "no kid": token(listed, claims()), "no typ": token(rsa, claims(), {"typ": None}),
        "audience in a list": token(rsa, claims(aud=["other", "tally"])), "no nbf": token(rsa, claims(nbf=None)),
        "just expired": token(rsa, claims(exp=now - 30)), "not yet, by a little": token(rsa, claims(nbf=now + 30)),
        "fractions": token(rsa, claims(exp=now + 600.5)), "roles in a list": token(rsa, claims(role=["x", "reader"])),
        "roles in a text": token(rsa, claims(role="x reader")), "more claims": token(rsa, claims(more={"a": [1.5, None]})),
    }.items():
        answer = server.ask("GET", "/v1/warehouses", text)
        check(answer[0] == 200, f"good token: {name}", *answer)
    good = token(rsa, claims())
    head, body, signature = good.split(".")
    hidden = head + "." + encode(json.dumps(claims("admin")).encode()) + "."
    hs = {"alg": "HS256", "typ": "JWT"}
    forged = encode(json.dumps(hs).encode()) + "." + encode(json.dumps(claims("admin")).encode())
    mac = {name: encode(hmac.new(secret, forged.encode(), hashlib.sha256).digest())
           for name, secret in (("PEM", rsa.public.read_bytes()), ("empty", b""), ("JWKS", json.dumps(listed.jwk()).encode()))}
    none = {alg: encode(json.dumps({"alg": alg, "typ": "JWT"}).encode()) + "." + body for alg in ("none", "None", "NONE", "nOnE")}
    for name, text in {
        **{f"alg {alg}": text + "." for alg, text in none.items()},
        **{f"alg {alg} with a signature": f"{text}.{signature}" for alg, text in none.items()},
        **{f"HS256 with the public key, {name}": f"{forged}.{text}" for name, text in mac.items()},
        "HS256 with an RSA signature": token(rsa, claims("admin"), {"alg": "HS256"}), "RS512": token(rsa, claims(), {"alg": "RS512"}),
        "ES256 with an RSA key": token(rsa, claims(), {"alg": "ES256"}), "RS256 with an EC key": token(ec, claims(), {"alg": "RS256"}),
        "no alg": token(rsa, claims(), {"alg": None}), "alg is a number": token(rsa, claims(), {"alg": 5}),
        "stranger": token(stranger, claims("admin")), "stranger under a known kid": token(stranger, claims("admin"), listed_head),
        "wrong kid": token(listed, claims(), {"kid": "unlisted"}), "kid is a path": token(stranger, claims(), {"kid": "/dev/null"}),
        "key in the token": token(stranger, claims("admin"), {"jwk": stranger.jwk()}),
        "key by address": token(stranger, claims("admin"), {"jku": "https://evil.example/"}),
        "unknown extension": token(rsa, claims(), {"crit": ["b64"], "b64": False}),
        "expired": token(rsa, claims(exp=now - 90)), "long expired": token(rsa, claims(exp=1)),
        "no expiry": token(rsa, claims(exp=None)), "expiry is a text": token(rsa, claims(exp=str(now + 600))),
        "expiry below zero": token(rsa, claims(exp=-1)), "not yet": token(rsa, claims(nbf=now + 90)),
        "nbf is a text": token(rsa, claims(nbf="x")), "expiry without end": token(rsa, claims(exp=1e300)),
        "other issuer": token(rsa, claims(iss="https://evil.example")), "no issuer": token(rsa, claims(iss=None)),
        "issuer in a list": token(rsa, claims(iss=[auth_tokens.ISSUER])),
        "other audience": token(rsa, claims(aud="other")), "no audience": token(rsa, claims(aud=None)),
        "audience by a prefix": token(rsa, claims(aud="tally2")), "audience in an object": token(rsa, claims(aud={"tally": 1})),
        "no subject": token(rsa, claims(sub=None)), "empty subject": token(rsa, claims(sub="")),
        "long subject": token(rsa, claims(sub="a" * 129)), "subject of two lines": token(rsa, claims(sub="a\nb")),
        "claims are a list": token(rsa, [1]), "claims are a text": token(rsa, "x"),
        "other claims": hidden + signature, "other claims, no signature": hidden, "no signature": f"{head}.{body}.",
        "cut": good[:-10], "one bit of the signature": f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
        "longer signature": good + "AAAA", "empty parts": "..", "one part": good.replace(".", ""), "two parts": f"{head}.{body}",
        "four parts": good + "." + signature, "five parts": good + ".a.b", "padded": f"{head}=.{body}.{signature}",
        "other alphabet": f"{head}.{body}.{signature[:-2]}+/", "no JSON": f"{encode(b'x')}.{body}.{signature}",
        "a NUL inside": f"{encode(b'{0}')}.{encode(b'{}')}.{signature}",
        "ES256 of zeros": token(ec, claims("admin"), signature=bytes(64)), "ES256 in ASN.1": token(ec, claims(), signature=bytes(70)),
        "deep": token(rsa, claims(more=json.loads("[" * 500 + "]" * 500))) + "x", "9 KiB": token(rsa, claims(more="a" * 9000)),
    }.items():
        answer = server.ask("GET", "/v1/warehouses", text)
        check(is_refused(answer) and 'error="invalid_token"' in answer[1]["WWW-Authenticate"], f"bad token: {name}", *answer)
    check(server.ask("GET", "/v1/warehouses", "a." * 32768)[0] == 400, "64 KiB are over the limit of headers")
    for role in (None, "nobody", ["root"], {"reader": True}, "readers", ""):
        answer = server.ask("GET", "/v1/warehouses", token(rsa, claims(role=role, sub="u")))
        check(is_problem(answer, 403, "FORBIDDEN"), f"token with the role {role!r}", *answer)


def headers(server, reader):
    for value in ("", "Bearer", "Bearer ", f"Basic {reader}", f"Token {reader}", reader, f"Bearer{reader}", f"Bearer {reader} x",
                  "Bearer \xe4", f"Bearer {reader[:-1]}", f"Bearer {reader}A", "Bearer tally_", f"Bearer {reader.upper()}"):
        check(is_refused(server.ask("GET", "/v1/warehouses", Authorization=value)), f"Authorization: {value[:20]!r}")
    check(server.ask("GET", "/v1/warehouses", Authorization=f"bearer   {reader} ")[0] == 200, "the scheme has no case")
    raw = f"GET /v1/warehouses HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {reader}\r\nAuthorization: Bearer x\r\n\r\n"
    with socket.create_connection(server.address.split(":"), timeout=PATIENCE_S) as connection:
        connection.sendall(raw.encode())
        check(connection.recv(65536).startswith(b"HTTP/1.1 400"), "two Authorization headers")
    check(is_refused(server.ask("GET", f"/v1/warehouses?access_token={reader}")), "not in the query")


def graphql(server, reader, writer, operator):
    def run(query, credentials):
        return server.ask("POST", "/graphql", credentials, json.dumps({"query": query}), Content_Type="application/json")
    ask = "{stocks(skus:[\"A\"]){sku}}"
    write = 'mutation{submit(type:"RegisterWarehouse",commandId:"%s",fields:{warehouse:"W1",name:"n"}){__typename}}'
    check(run(ask, reader)[0] == 200, "GraphQL: a reader asks", run(ask, reader))
    check(is_refused(run(ask, None)), "GraphQL: nobody asks")
    answer = run(write % "g-1", reader)
    check(is_problem(answer, 403, "FORBIDDEN"), "GraphQL: a reader does not write", *answer)
    answer = run(write % "g-2", writer)
    check(answer[0] == 200 and b"Accepted" in answer[2], "GraphQL: a writer does", *answer)
    for credentials, sees in ((reader, False), (writer, False), (operator, True)):
        answer = run("{__schema{queryType{name}}}", credentials)
        check((b'"Query"' in answer[2]) == sees, "GraphQL: the schema is for operators", sees, answer[2])


def sockets(server, rsa, keys):
    """GraphQL over a WebSocket: by the role of the handshake, and for no longer than its credentials are good."""
    port = int(server.address.split(":")[1])

    def opened(credentials):
        client = websocket_client.Client(port, "/graphql", "graphql-transport-ws", Authorization=credentials and f"Bearer {credentials}")
        client.send({"type": "connection_init"})
        client.receive()
        return client

    def run(client, query):
        client.send({"id": "q", "type": "subscribe", "payload": {"query": query}})
        answer = client.receive()
        if answer["type"] == "next":
            client.receive()
        return json.dumps(answer["payload"])
    try:
        opened(None)
        status = 101
    except websocket_client.Refused as refused:
        status = refused.status
    check(status == 401, "socket: nobody asks", status)
    write = 'mutation{submit(type:"RegisterWarehouse",commandId:"%s",fields:{warehouse:"%s",name:"n"},waitMs:30000){__typename}}'
    for role, sees, says in (("reader", False, "FORBIDDEN"), ("writer", False, "Accepted"), ("operator", True, "Accepted")):
        client = opened(keys[role])
        answer = run(client, write % (f"ws-{role}", f"WS{role[0].upper()}"))
        check(says in answer, f"socket: a {role} writes", answer)
        check(('"Query"' in run(client, "{__schema{queryType{name}}}")) == sees, f"socket: the schema for a {role}")
        client.close()
    record = next((r for r in audited(server) if r["command_id"] == "ws-writer"), None)
    check(record and record["principal"] == "writer" and record["outcome"] == "ACCEPTED" and record["route"] == "/graphql"
          and record["client"] == "127.0.0.1", "socket: audited", record)
    skew = int(re.search(r"JWT_TOKEN_SKEW_S +(\d+)", (ROOT / "http/jwt_token.h").read_text()).group(1))
    for left in (2, 5, 20):  # until the machine is fast enough to see it good
        try:
            client = opened(token(rsa, claims("writer", exp=int(time.time()) - skew + left)))
            break
        except websocket_client.Refused:
            pass
    check(client.until_closed() == 4403, "socket: its token expires", client.closed)
    client = opened(keys["reader"])
    server.reload("http keys read")
    check(client.until_closed() == 4403, "socket: keys are read again", client.closed)


def actors(server, writer, operator):
    """The principal is the actor; to name another takes an operator."""
    def receive(command_id, credentials, **fields):
        body = json.dumps({"warehouse": "W-" + command_id.upper(), "name": "n"})
        return server.ask("POST", "/v1/commands/RegisterWarehouse", credentials, body, Content_Type="application/json",
                          Idempotency_Key=command_id, Prefer="wait=30", **fields)
    for command_id, credentials, fields, status in (
            ("a-1", writer, {}, 200), ("a-2", writer, {"X_Actor": "writer"}, 200), ("a-3", writer, {"X_Actor": "boss"}, 403),
            ("a-4", operator, {"X_Actor": "boss"}, 200), ("a-5", operator, {}, 200)):
        answer = receive(command_id, credentials, **fields)
        check(answer[0] == status, f"actor: {command_id}", *answer)
    tail = program("tail", "--config", server.config, "-t", f"{server.name}.catalogue.commands", "-o", "beginning", "-e", "-f", "%s\\n")
    found = {record.get("id"): record.get("actor") for record in map(json.loads, tail.stdout.splitlines())}
    check(found.get("a-1") == "writer" and found.get("a-2") == "writer" and "a-3" not in found and found.get("a-4") == "boss"
          and found.get("a-5") == "operator", "actor: in the records", found, tail.stderr)


def audit(server, writer):
    """A record for each command, operation and refused attempt, and none for reads."""
    def send(path, credentials, body, **fields):
        return server.ask("POST", path, credentials, json.dumps(body), Content_Type="application/json", **fields)
    warehouse = {"name": "n", "warehouse": "AUD1"}
    before = json.loads(json.dumps(audited(server)))
    answers = [
        send("/v1/commands/RegisterWarehouse", writer, warehouse, Idempotency_Key="au-1", Prefer="wait=30"),
        send("/v1/commands/RegisterWarehouse", writer, warehouse, Idempotency_Key="au-2", Prefer="wait=30"),
        send("/v1/commands/RegisterWarehouse", writer, {}, Idempotency_Key="au-3"),
        send("/v1/commands/RegisterWarehouse", None, {}, Idempotency_Key="au-4"),
        send("/v1/commands:batch", writer, {"commands": [
            {"type": "RegisterWarehouse", "command_id": f"au-{i}", **warehouse, "warehouse": f"AUD{i}"} for i in (5, 6)]}),
        send("/v1/ops/sinks/none/pause", writer, {}),
        send("/graphql", writer, {"query": 'mutation{submit(type:"RegisterWarehouse",commandId:"au-8",fields:{warehouse:"AUD8",name:"n"}){__typename}}'}),
    ]
    server.ask("GET", "/v1/warehouses", writer)
    server.ask("GET", "/v1/warehouses")
    end = time.monotonic() + PATIENCE_S
    while len(records := audited(server)[len(before):]) < 8 and time.monotonic() < end:
        time.sleep(0.1)
    found = {(r["command_id"], r["principal"], r["by"], r["role"], r["route"], r["outcome"], r["code"], r["status"], bool(r["position"]))
             for r in records}
    one, many = "/v1/commands/{command}", "/v1/commands:batch"
    who = ("writer", "key", "writer")
    expected = {("au-1", *who, one, "ACCEPTED", None, 200, True), ("au-2", *who, one, "REJECTED", "WAREHOUSE_EXISTS", 409, True),
                ("au-3", *who, one, None, "VALIDATION_FAILED", 422, False), ("au-4", None, None, "none", one, None, "UNAUTHENTICATED", 401, False),
                ("au-5", *who, many, None, None, 202, True), ("au-6", *who, many, None, None, 202, True),
                (None, *who, "/v1/ops/sinks/{sink}/pause", None, "FORBIDDEN", 403, False),
                ("au-8", *who, "/graphql", "ACCEPTED", None, 200, True)}
    check(found == expected and len(records) == 8, "audit: records", found ^ expected, [answer[0] for answer in answers])
    check(all(r["client"] == "127.0.0.1" and r["method"] == "POST" and r["path"].startswith("/") and r["instance"] == "a" for r in records),
          "audit: where from", records)
    document = server.ask("GET", "/asyncapi.yaml", writer)[2].decode()
    check(f"{server.name}.tally.audit" in document, "audit: the topic is documented")
    metrics = server.ask("GET", "/metrics", writer)[2].decode()
    queued = re.search(r'tally_http_audit_records_total\{result="queued"\} (\d+)', metrics)
    check(queued and int(queued[1]) == len(before) + 8, "audit: counted", queued, len(before))


def audited(server):
    tail = program("tail", "--config", server.config, "-t", f"{server.name}.tally.audit", "-o", "beginning", "-e", "-f", "%s\\n")
    return [json.loads(line) for line in tail.stdout.splitlines()]


def several(server, folder, reader):
    """With a second instance: what one passes on to the other goes with the client's credentials, and what a
    WebSocket follows with their own."""
    other, port = folder / "other.yaml", free_port()
    text = server.config.read_text().replace(server.address, f"127.0.0.1:{port}").replace(f"{folder}/state", f"{folder}/state2")
    other.write_text(text + "instance.id: b\n")
    with open(folder / "other.log", "w") as log:
        process = subprocess.Popen([os.environ["TEST_TALLY"], "run", "-c", other], stdout=log, stderr=log)
    second = http_at(f"127.0.0.1:{port}")
    end = time.monotonic() + PATIENCE_S
    path = "/v1/stock/NONE"

    def both():
        try:
            return [get(path, reader)[0] for get in (http_at(server.address), second)]
        except OSError:
            return None
    while both() != [404, 404] and time.monotonic() < end:
        time.sleep(0.1)
    check(both() == [404, 404], "several: each answers for all", both(), (folder / "other.log").read_text()[-500:])
    check([get(path)[0] for get in (http_at(server.address), second)] == [401, 401], "several: nobody is passed on")
    for at in (int(server.address.split(":")[1]), port):
        client = websocket_client.Client(at, Authorization=f"Bearer {reader}")
        client.send({"op": "subscribe", "id": "s", "topic": "stock", "filter": {"sku": ["NONE"]}, "from": "snapshot"})
        told = [client.receive(), client.receive()]
        check([message["op"] for message in told] == ["subscribed", "snapshot"], "several: a snapshot", told)
        client.close()
    process.send_signal(signal.SIGTERM)
    check(process.wait(PATIENCE_S) == 0, "several: the second ends")
    while server.ask("GET", "/readyz")[0] != 200 and time.monotonic() < end:
        time.sleep(0.1)


def http_at(address):
    def get(path, credentials=None):
        connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {credentials}"} if credentials else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()
    return get


def origin(server):
    """A page may send credentials if its origin is listed, and asks for that without any."""
    status, fields, _ = server.ask("OPTIONS", "/v1/warehouses", Origin="https://shop.example", Access_Control_Request_Method="GET",
                                   Access_Control_Request_Headers="authorization")
    check(status == 204 and "Authorization" in fields["Access-Control-Allow-Headers"], "CORS: a preflight", status, fields)
    status, fields, _ = server.ask("GET", "/v1/warehouses", Origin="https://shop.example")
    check(status == 401 and fields["Access-Control-Allow-Origin"] == "https://shop.example", "CORS: a refusal can be read", status, fields)


def rotate(server, keys_file, lines, old):
    """A second key of the same name, then the first one gone; a broken file changes nothing."""
    new, line = new_key("reader", "reader")
    check(is_refused(server.ask("GET", "/v1/warehouses", new)), "rotation: not known yet")
    keys_file.write_text(lines + line)
    server.reload("http keys read")
    check(server.ask("GET", "/v1/warehouses", new)[0] == 200 and server.ask("GET", "/v1/warehouses", old)[0] == 200, "rotation: both are good")
    keys_file.write_text(line + "reader nothing sha256:00\n")
    server.reload("http keys not read")
    check("keys.txt:2: expected reader, writer, operator or admin" in server.log(), "a broken file: file and line", server.log()[-500:])
    check(server.ask("GET", "/v1/warehouses", old)[0] == 200, "a broken file: the old keys are good")
    keys_file.chmod(0o644)
    server.reload("http keys not read")
    check("is open to others (mode 0644)" in server.log(), "a file that others may read")
    keys_file.chmod(0o600)
    keys_file.write_text(line)
    server.reload("http keys read")
    check(is_refused(server.ask("GET", "/v1/warehouses", old)) and server.ask("GET", "/v1/warehouses", new)[0] == 200, "rotation: the old one is gone")
    keys_file.write_text(lines)
    server.reload("http keys read")


def verbs(server, folder, operator, reader):
    for name, environment, options in (("option", {}, ["--token", operator]), ("variable", {"TALLY_HTTP_TOKEN": operator}, [])):
        for verb in (["sink", "list"], ["fsck", "--no-replay"], ["get", "warehouse", "warehouse:W1"]):
            done = program(*verb, "-c", server.config, *options, environment=environment)
            check("UNAUTHENTICATED" not in done.stderr and "role" not in done.stderr and done.returncode in (0, 1, 3)
                  and "Bearer" not in done.stderr, f"{verb} with a key as {name}", done.returncode, done.stderr)
    secret = folder / "token"
    secret.write_text(operator + "\n")
    secret.chmod(0o600)
    done = program("sink", "list", "-c", server.config, environment={"TALLY_HTTP_TOKEN_FILE": str(secret)})
    check(done.returncode == 0, "a key from a file", done.stderr)
    for options, word in ((["--token", ""], "Authorization: Bearer is required"), ([], "needs the role operator"),
                          (["--token", reader], "needs the role operator")):
        done = program("sink", "list", "-c", server.config, *options)
        check(done.returncode == 1 and word in done.stderr, "a verb without the role", done.returncode, done.stderr)
    check(program("health", "-c", server.config).returncode == 0, "health needs none")
    shown = program("config", "show", "-c", server.config, "--http.token", operator)
    check(operator not in shown.stdout + shown.stderr, "the key is not shown among the settings")


def refused_starts(folder, rsa):
    """Files of keys that are not good end the start, with their name."""
    bad = folder / "bad"
    bad.mkdir()
    short = auth_tokens.Key(bad, "short", option="rsa_keygen_bits:1024")
    curve = auth_tokens.Key(bad, "curve", "EC", "ec_paramgen_curve:P-384")
    edwards = auth_tokens.Key(bad, "edwards", "ED25519", None)
    jwt = ', jwt: {{ issuer: i, audience: a, keys: ["{0}"] }}'
    files = {
        "keys.txt": ("shop writer sha256:12\n", "keys.txt:1: expected sha256: and 64 hex digits", 'api_keys: "{0}"'),
        "name.txt": ("# a\n\nsh/op writer sha256:12\n", "name.txt:3: expected a name", 'api_keys: "{0}"'),
        "twice.txt": (f"a reader sha256:{'0' * 64}\nb reader sha256:{'0' * 64}\n", "twice.txt:2: the same key", 'api_keys: "{0}"'),
        "empty.txt": ("", "is empty", 'api_keys: "{0}"'),
        "noise.pem": ("noise", "neither a public key in PEM nor a JWKS", jwt[2:]),
        "noise.json": ('{"keys":', "noise.json:1: no JSON", jwt[2:]),
        "none.json": ('{"keys":[{"kty":"oct","use":"enc"}]}', "has no key for RS256 or ES256", jwt[2:]),
        "secret.json": (json.dumps({"keys": [{**rsa.jwk(), "d": "AQAB"}]}), "keys[0] is a private key", jwt[2:]),
        "octets.json": ('{"keys":[{"kty":"oct","k":"AAAA"}]}', "keys[0] is a private key", jwt[2:]),
        "private.pem": (rsa.private.read_text(), "holds a private key", jwt[2:]),
        "short.pem": (short.public.read_text(), "an RSA key under 2048 bits", jwt[2:]),
        "p384.pem": (curve.public.read_text(), "an EC key that is not on P-256", jwt[2:]),
        "ed25519.pem": (edwards.public.read_text(), "a key that is neither RSA nor EC", jwt[2:]),
    }
    for name, (text, word, settings) in files.items():
        file = bad / name
        file.write_text(text)
        file.chmod(0o600)
        settings = settings.format(file) if settings.startswith("api") else settings.replace("{{", "{").replace("}}", "}").replace("{0}", str(file))
        config = bad / "tally.yaml"
        config.write_text(f"""kafka: {{ bootstrap.servers: "{os.environ['TEST_KAFKA']}" }}
state: {{ dir: "{bad}/state" }}
http: {{ listen: "127.0.0.1:0", auth: bearer, {settings} }}
""")
        done = program("run", "-c", config)
        check(done.returncode == 1 and word in done.stderr and name in done.stderr, f"refused at start: {name}", done.returncode, done.stderr[-600:])
        if settings.startswith("api"):
            done = program("keys", "check", file)
            check(done.returncode == 1 and word in done.stderr, f"tally keys check: {name}", done.stderr)


def plain(lines):
    return re.sub(r"(?<=@)\d+|(?<=\"time\":\")[^\"]+", "N", "\n".join(lines))


def documented(folder, rsa):
    """The examples of docs/security.md: its shell, its settings, its requests, one after the other."""
    text = (ROOT / "docs/security.md").read_text()
    guide = folder / "guide"
    guide.mkdir()
    (guide / "issuer.json").write_text(json.dumps({"keys": [rsa.jwk(kid="1")]}))
    (guide / "issuer.json").chmod(0o644)
    (guide / "tally").symlink_to(pathlib.Path(os.environ["TEST_TALLY"]).resolve())
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
    shell = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.S))
    done = subprocess.run(["bash", "-ec", shell], cwd=guide, env={**clean, "PATH": f"{guide}:{os.environ['PATH']}"}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE_S, check=False)
    check(done.returncode == 0 and "shop" in done.stdout and "board" in done.stdout, "guide: shell", done.stderr)
    names = re.findall(r"--name (\w+)", shell)
    known = dict(zip((f"${name.upper()}" for name in names), re.findall(r"^tally_\S+$", done.stderr, re.M)))
    roles = {"sub": "u", "realm_access": {"roles": ["offline", "reader"]}}
    known.update({"$TOKEN": token(rsa, claims(None, **roles)), "$EXPIRED": token(rsa, claims(None, exp=1, **roles))})
    settings = re.search(r"```yaml\n(.*?)```", text, re.S)[1].replace("0.0.0.0:8080", "ADDRESS")
    server = Server(guide, settings)
    count = 0
    for block in re.findall(r"```http\n(.*?)```", text, re.S):
        for sent, told in re.findall(r"((?:> .*\n)+)((?:[^>\n].*\n)+)", block):
            sent, told = [line[2:] for line in sent.splitlines()], told.splitlines()
            for name, value in known.items():
                sent = [line.replace(name, value) for line in sent]
            method, path = sent[0].split(" ", 1)
            body = next((line for line in sent[1:] if line.startswith("{")), None)
            fields = {name.replace("-", "_"): value for name, value in (line.split(": ", 1) for line in sent[1:] if line != body)}
            answer = server.ask(method, path.replace("at=", f"at={server.name}."), None, body, **fields)
            shown = [line.split(": ")[0] for line in told[1:] if not line.startswith("{")]
            got = [str(answer[0]), *(f"{name}: {answer[1][name]}" for name in shown), answer[2].decode().replace(server.name + ".", "")]
            check(plain(got) == plain(told), f"guide: {sent[:2]}", *got)
            count += 1
    check(count >= 6, "guide: examples", count)
    server.process.send_signal(signal.SIGTERM)
    check(server.process.wait(PATIENCE_S) == 0, "guide: it ends", server.log()[-500:])


def main():
    if "TEST_KAFKA" not in os.environ or "TEST_TALLY" not in os.environ:
        print("100%: Checks: 0, Failures: 0, Errors: 0")
        return 0
    with tempfile.TemporaryDirectory() as text:
        folder = pathlib.Path(text)
        rsa, listed, stranger = (auth_tokens.Key(folder, name) for name in ("rsa", "listed", "stranger"))
        ec = auth_tokens.Key(folder, "ec", "EC", "ec_paramgen_curve:P-256")
        (folder / "jwks.json").write_text(json.dumps({"keys": [
            listed.jwk(kid="listed", use="sig", alg="RS256"), ec.jwk(kid="ec"), {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
            stranger.jwk(kid="stranger", use="enc")]}))
        (folder / "jwks.json").chmod(0o644)
        made = {role: new_key(role, role) for role in ROLES[1:]}
        lines = "# keys of the test\n\n" + "".join(line for _, line in made.values())
        keys_file = folder / "keys.txt"
        keys_file.write_text(lines)
        keys_file.chmod(0o600)
        keys = {role: key for role, (key, _) in made.items()}
        server = Server(folder, f'http: {{ listen: "ADDRESS", auth: bearer, audit: true, token: "{keys["reader"]}", '
                                f'cors.origins: ["https://shop.example"], api_keys: "{keys_file}", '
                                f'jwt: {{ keys: ["{rsa.public}", "{folder}/jwks.json"], issuer: "{auth_tokens.ISSUER}", audience: tally }} }}')
        check(server.process.poll() is None, "it starts")
        walk(server, [(None, None), ("none", token(rsa, claims("none", sub="u"))), *keys.items()])
        walk(server, [(None, None), *((role, token(ec, claims(role))) for role in ROLES[1:])])
        before_the_body(server, keys["reader"])
        attacks(server, rsa, ec, listed, stranger)
        headers(server, keys["reader"])
        origin(server)
        graphql(server, keys["reader"], keys["writer"], keys["operator"])
        sockets(server, rsa, keys)
        actors(server, keys["writer"], keys["operator"])
        audit(server, keys["writer"])
        several(server, folder, keys["reader"])
        verbs(server, folder, keys["operator"], keys["reader"])
        rotate(server, keys_file, lines, keys["reader"])
        metrics = server.ask("GET", "/metrics", keys["reader"])[2].decode()
        check(all(f'tally_http_refused_total{{reason="{reason}"}}' in metrics for reason in ("missing", "invalid", "forbidden")),
              "refusals are counted")
        refused_starts(folder, rsa)
        documented(folder, rsa)
        server.process.send_signal(signal.SIGTERM)
        check(server.process.wait(PATIENCE_S) == 0, "it ends", server.process.returncode)
        told = [key for key in keys.values() if key in server.log()]
        check(not told and "eyJ" not in server.log(), "no credentials in the log", told)
        if not all(results):
            print(server.log()[-3000:])
    failed = results.count(False)
    print(f"{100 * (len(results) - failed) // max(len(results), 1)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


sys.exit(main())
