#!/usr/bin/env python3
"""Walks the table of routes of a running tally, from its OpenAPI document, with what is wrong for each: methods, types,
sizes, encodings, headers, parameters, cursors, positions, bodies. A new route is walked as well.
TALLY_TEST_HTTP=host:port http_walk.py"""
import http.client
import json
import os
import re
import sys

import http_contract
from http_contract import ask, check, expect, get

HOST, PORT = os.environ.get("TALLY_TEST_HTTP", "127.0.0.1:8080").rsplit(":", 1)
PROBES = ("/livez", "/readyz", "/startupz", "/health/live", "/health/ready", "/health/startup")
NAMES = {"command": "ReceiveStock", "sku": "S-1", "warehouse": "AMS1", "product_id": "P-1", "slug": "a-slug", "code": "not-found",
         "reservation_id": "R-1", "transfer_id": "T-1", "topology": "stock", "store": "level", "sink": "none"}


def operations(document):
    for path, item in document["paths"].items():
        yield path, {method.upper(): operation for method, operation in item.items()}


def path_of(pattern):
    return re.sub(r"{(\w+)}", lambda name: NAMES[name[1]], pattern)


def required(operation):
    values = {"warehouse": "AMS1", "topology": "stock", "partition": "0", "query": "%7B__typename%7D"}
    return "&".join(f"{p['name']}={values[p['name']]}" for p in operation["parameters"] if p.get("in") == "query" and p["required"])


def send(path, body, **headers):
    return ask("POST", path, body, **{"Content_Type": "application/json", "Idempotency_Key": "walk-1", **headers})


def refused(name, answer, status, code):
    problem = expect(name, answer, status, code=code)
    members = ["type", "title", "status", "detail", "instance", "code", "retryable", "errors"]
    check(list(problem)[:8] == members, f"{name}: members", problem)
    check(answer.headers["X-Content-Type-Options"] == "nosniff", f"{name}: nosniff", answer)
    check(problem.get("retryable") == ("Retry-After" in answer.headers), f"{name}: Retry-After", answer)
    return problem


def methods(pattern, there):
    path = path_of(pattern)
    allowed = ", ".join(m for m in ("GET, HEAD" if method == "GET" else method for method in there))
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"):
        if method in there or (method == "HEAD" and "GET" in there):
            continue
        answer = ask(method, path, b"" if method in ("POST", "PUT", "PATCH") else None)
        if method != "HEAD":
            problem = refused(f"{method} {pattern}", answer, 405, "METHOD_NOT_ALLOWED")
            check(problem.get("instance") == path, f"{method} {pattern}: instance", problem)
        check(answer.status == 405 and set(answer.headers["Allow"].split(", ")) == set(allowed.split(", ")),
              f"{method} {pattern}: Allow", allowed, answer)
    expect(f"TRACE {pattern}", ask("TRACE", path), 400, code="MALFORMED_REQUEST")


def raw(head, body=b""):
    """The status of one request that no library would send."""
    connection = http.client.HTTPConnection(HOST, int(PORT), timeout=60)
    connection.connect()
    connection.sock.sendall(head.encode("latin-1") + body)
    response = http.client.HTTPResponse(connection.sock)
    response.begin()
    answer = http_contract.Answer(response)
    connection.close()
    return answer


def framing(pattern, method):
    """Duplicate and conflicting headers."""
    path = path_of(pattern)
    line = f"{method} {path} HTTP/1.1\r\nHost: a\r\n"
    for name, lines, status, code in (
            ("two lengths", "Content-Length: 0\r\nContent-Length: 0\r\n", 400, "MALFORMED_REQUEST"),
            ("length and chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400, "MALFORMED_REQUEST"),
            ("two hosts", "Host: b\r\nContent-Length: 0\r\n", 400, "MALFORMED_REQUEST"),
            ("a length with a sign", "Content-Length: +3\r\n", 400, "MALFORMED_REQUEST"),
            ("another coding", "Transfer-Encoding: gzip\r\n", 400, "MALFORMED_REQUEST"),
            ("a large body", "Content-Length: 1048577\r\n", 413, "BODY_TOO_LARGE"),
            ("many headers", "".join(f"X-{i}: y\r\n" for i in range(70)), 431, "TOO_MANY_HEADERS")):
        answer = raw(line + lines + "\r\n")
        refused(f"{method} {pattern}: {name}", answer, status, code)
        check(answer.headers["Connection"] == "close", f"{method} {pattern}: {name}: closes", answer)
    refused(f"{method} {pattern}: long", raw(line.replace(path, path + "?" + "a" * 2048) + "\r\n"), 414, "URI_TOO_LONG")
    if method == "POST":
        refused(f"{method} {pattern}: no length", raw(line + "\r\n"), 411, "LENGTH_REQUIRED")
    refused(f"{method} {pattern}: version", raw(line.replace("/1.1", "/2.0") + "\r\n"), 505, "VERSION_UNSUPPORTED")


def parameters(pattern, method, operation):
    path, name = path_of(pattern), f"{method} {pattern}"

    def query(text):
        return ask(method, f"{path}?{'&'.join(part for part in (required(operation), text) if part)}",
                   b"{}" if method == "POST" else None, **({"Content_Type": "application/json", "Idempotency_Key": "walk-1"}
                                                           if method == "POST" else {}))
    names = {p["name"] for p in operation["parameters"] if p.get("in") == "query"}
    for text in ("colour=red", "=", "a=%", "a=%zz") + tuple(f"{n}=1&{n}=1" for n in sorted(names - {"query"})):
        problem = refused(f"{name}?{text}", query(text), 400, "INVALID_PARAMETER")
        check(problem.get("detail"), f"{name}?{text}: detail", problem)
    if "limit" in names:
        for text in ("0", "201", "-1", "x", "", "1e2", "9223372036854775808"):
            refused(f"{name}?limit={text}", query(f"limit={text}"), 400, "INVALID_PARAMETER")
    if "cursor" in names:
        for text in ("", "x", "AAAA", "A" * 700):
            refused(f"{name}?cursor={text[:9]}", query(f"cursor={text}"), 400, "INVALID_CURSOR")
    for time in names & {"from", "to", "at", "as_of"} if pattern != "/v1/commands/{command}" else ():
        for text in ("", "now", "2026-01-15", "2026-13-01T00:00:00.000Z", "10000-01-01T00:00:00.000Z"):
            refused(f"{name}?{time}={text}", query(f"{time}={text}"), 400, "INVALID_PARAMETER")
    headers = {p["$ref"].rpartition("/")[2] for p in operation["parameters"] if "$ref" in p}
    if "MinPosition" in headers and method == "GET":
        for text in ("x", "stock.commands", "stock.commands/1", "stock.commands/-1@2", "a/1@9223372036854775808", "a/1@1,", ",".join(["a/1@1"] * 17)):
            answer = get(f"{path}?{required(operation)}", Tally_Min_Position=text)
            if not pattern.startswith("/graphql"):
                refused(f"{name}: position {text[:20]}", answer, 400, "INVALID_PARAMETER")


def accepts(pattern, operation):
    """A type that the route does not answer with; */* and a part of it are fine."""
    path = f"{path_of(pattern)}?{required(operation)}"
    refused(f"GET {pattern}: Accept", get(path, Accept="image/png, text/*;q=0, application/*;q=0"), 406, "NOT_ACCEPTABLE")
    for accept in ("*/*", "image/png, */*;q=0.1"):
        check(get(path, Accept=accept).status != 406, f"GET {pattern}: {accept}")
    answer, head = get(path), ask("HEAD", path)
    changes = pattern in ("/metrics", "/v1/ops/tasks", "/v1/ops/dump", "/v1/ops/sinks") or answer.status == 503
    check(head.status == answer.status and head.body == b"" and
          (changes or head.headers["Content-Length"] == str(len(answer.body))), f"HEAD {pattern}", head, answer)
    check(changes or [n for n in head.headers if n != "Date"] == [n for n in answer.headers if n != "Date"],
          f"HEAD {pattern}: headers", head.headers, answer.headers)
    if answer.status == 200:
        check(answer.headers["Cache-Control"] == "no-cache", f"GET {pattern}: Cache-Control", answer)
    if "304" in operation["responses"] and answer.status == 200:
        same = get(path, If_None_Match=f'"x", W/{answer.headers["ETag"]}')
        check(same.status == 304 and same.body == b"" and same.headers["ETag"] == answer.headers["ETag"]
              and same.headers["Cache-Control"] == "no-cache" and "Content-Type" not in same.headers, f"GET {pattern}: 304", same)


def bodies(pattern):
    """Of routes that take one; GraphQL answers in a form of its own."""
    path, deep = path_of(pattern), b'{"sku":' + b"[" * 5000 + b"]" * 5000 + b"}"
    for name, body in (("nothing", b""), ("an array", b"[]"), ("text", b'"a"'), ("half", b'{"sku":"A"'), ("deep", deep),
                       ("twice", b'{"sku":"A","sku":"A"}'), ("bytes", b'{"sku":"\xff"}'), ("two", b"{}{}"), ("NaN", b'{"a":NaN}')):
        refused(f"POST {pattern}: {name}", send(path, body), 400, "MALFORMED_BODY")
    for media in ("text/plain", "application/xml", "application/json; charset=latin1", ""):
        refused(f"POST {pattern}: {media}", send(path, b"{}", Content_Type=media), 415, "UNSUPPORTED_MEDIA_TYPE")
    refused(f"POST {pattern}: gzip", send(path, b"{}", Content_Encoding="gzip"), 415, "UNSUPPORTED_MEDIA_TYPE")
    good = {"/v1/commands/{command}": {"sku": "S-1", "warehouse": "AMS1", "quantity": 1},
            "/v1/commands:batch": {"commands": [{"type": "ReceiveStock", "command_id": "walk-2", "sku": "S-1"}]},
            "/v1/availability:batch": {"skus": ["S-1"]}}[pattern]
    for fields, pointer in (({"colour": 1}, "/colour"), ({next(iter(good)): 7}, "/" + next(iter(good)))):
        answer = send(path, json.dumps({**good, **fields}), Prefer="wait=30")
        problem = refused_outcome(f"POST {pattern}: {pointer}", answer)
        check(pointer in [error["pointer"] for error in problem["errors"]], f"POST {pattern}: {pointer}", problem)
    for number in ("9223372036854775808", "-9223372036854775809", "1.5", "1e400"):
        body = json.dumps(good).replace("{", '{"number":' + number + ",", 1)
        problem = refused_outcome(f"POST {pattern}: {number}", send(path, body, Prefer="wait=30"))
        check([error["pointer"] for error in problem["errors"]] == ["/number"], f"POST {pattern}: {number}: pointer", problem)


def refused_outcome(name, answer):
    """422 of HTTP or of the engine."""
    problem = expect(name, answer, 422, code="VALIDATION_FAILED")
    check(problem.get("errors") and all(error.get("code") for error in problem["errors"]), f"{name}: errors", problem)
    return {"errors": [], **problem}


def walk(document):
    for pattern, there in operations(document):
        methods(pattern, there)
        for method, operation in there.items():
            framing(pattern, method)
            if pattern != "/v1/stream":
                parameters(pattern, method, operation)
            if method == "GET" and pattern not in PROBES and not pattern.startswith("/graphql") and pattern != "/v1/stream":
                accepts(pattern, operation)
            if "requestBody" in operation and not pattern.startswith("/graphql"):
                bodies(pattern)
        for name in re.findall(r"{(\w+)}", pattern):
            for text in ("%41", "a%2fb", "a;b", "a$", "%00", "\u00e4".encode().decode("latin-1")):
                where = path_of(pattern.replace("{" + name + "}", "\0")).replace("\0", text)
                method = next(iter(there))
                answer = raw(f"{method} {where} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
                check(answer.status == (400 if not text.isascii() else 404), f"{method} {pattern}: {name}={text!r}", answer)


def main():
    document = get("/openapi.json").json()
    check(len(document["paths"]) > 35, "the document has the routes", len(document["paths"]))
    walk(document)
    return http_contract.finish()


if __name__ == "__main__":
    sys.exit(main())
