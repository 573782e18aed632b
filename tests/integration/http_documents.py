#!/usr/bin/env python3
"""The documents about the API of a running tally: valid, with every route, topic and record and no other, and
true: each answer of the contract tests, which run again here, is as the OpenAPI document says.
TALLY_TEST_HTTP=host:port http_documents.py"""
import json
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "crash"))

import packages  # noqa: E402

packages.use(packages.API_PACKAGES, "venv-api")

import jsonschema  # noqa: E402
import openapi_spec_validator  # noqa: E402
import referencing  # noqa: E402
import yaml  # noqa: E402

import http_contract  # noqa: E402
import http_resources  # noqa: E402
import websocket_client  # noqa: E402
from http_contract import ask, check, get  # noqa: E402

DOCUMENT = "urn:openapi"


def conditional(path, kind):
    answer = get(path)
    check(answer.status == 200 and answer.headers["Content-Type"] == kind, path, answer.status, answer.headers)
    tag = answer.headers["ETag"]
    same = get(path, If_None_Match=tag)
    check(same.status == 304 and same.body == b"" and same.headers["ETag"] == tag, f"{path}: not modified", same)
    head = ask("HEAD", path)
    check(head.status == 200 and head.headers["Content-Length"] == str(len(answer.body)), f"{path}: HEAD", head)
    check(ask("POST", path, b"").headers["Allow"] == "GET, HEAD", f"{path}: Allow")
    check(get(path, Accept="text/html").status == 406, f"{path}: Accept")
    return answer.body


def rows(path, name):
    """The arguments of each row of a table, as far as they have no comma in them."""
    text = re.sub(r"/\*.*?\*/", "", (ROOT / path).read_text(), flags=re.S)
    return [re.findall(r'"[^"]*"|[^,()\s]+', row) for row in re.findall(rf"^\s*{name}\((.*?)\)\s*$", text, re.S | re.M)]


def routes(document):
    """Both ways: each row is an operation with its parameters, and there is no other."""
    table = {}
    for row in rows("http/routes.def", "X"):
        name, method, pattern, queries = row[0], row[1], row[2].strip('"'), row[-2].strip('"')
        table[(pattern, method.lower())] = (name, {q for q in queries.split(",") if q})
    operations = {(path, method): operation for path, item in document["paths"].items() for method, operation in item.items()}
    check(set(operations) == set(table), "each route is an operation", set(operations) ^ set(table))
    for key in set(operations) & set(table):
        name, queries = table[key]
        operation = operations[key]
        there = {p.get("name"): p for p in operation["parameters"]}
        check(operation["operationId"] == name, f"{key}: its name", operation["operationId"])
        check({n for n, p in there.items() if p.get("in") == "query"} == queries, f"{key}: its query", there)
        check({n for n, p in there.items() if p.get("in") == "path"} == set(re.findall(r"{(\w+)}", key[0])), f"{key}: its path")
        check(all(p.get("description") for p in there.values() if p.get("in")), f"{key}: parameters are described", there)
        errors = [r for s, r in operation["responses"].items() if s >= "400"]
        check(errors and all(list(r["content"]) == ["application/problem+json"] for r in errors), f"{key}: its errors")


class Truth:
    """Answers against the document."""

    def __init__(self, document):
        self.document = document
        resource = referencing.Resource.from_contents(document, default_specification=referencing.jsonschema.DRAFT202012)
        self.registry = referencing.Registry().with_resource(DOCUMENT, resource)
        self.paths = sorted(document["paths"], key=lambda path: path.count("{"))
        self.checked, self.statuses = set(), set()

    def operation(self, method, path):
        bare = path.partition("?")[0]
        for pattern in self.paths:
            if re.fullmatch(re.sub(r"{\w+}", "[^/]+", pattern), bare):
                operation = self.document["paths"][pattern].get(method.lower())
                if operation:
                    return pattern, operation
        return None, None

    def look(self, method, path, answer):
        pattern, operation = self.operation(method, path)
        if not operation or answer.status == 405 or path.startswith("/graphql"):
            return
        name = f"{method} {pattern} {answer.status}"
        told = operation["responses"].get(str(answer.status))
        self.statuses.add(name)
        check(told is not None, f"{name}: is told", path, answer.body[:300])
        if not told or "content" not in told:
            check(not told or answer.body == b"", f"{name}: has no body", answer.body[:300])
            return
        kind = answer.headers["Content-Type"]
        check(kind in told["content"], f"{name}: its media type", kind)
        if kind not in ("application/json", "application/problem+json"):
            return
        pointer = "/".join(part.replace("~", "~0").replace("/", "~1") for part in
                           ("paths", pattern, method.lower(), "responses", str(answer.status), "content", kind, "schema"))
        validator = jsonschema.Draft202012Validator({"$ref": f"{DOCUMENT}#/{pointer}"}, registry=self.registry)
        errors = [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(answer.json())]
        check(not errors, f"{name}: is as told", path, errors[:3])
        self.checked.add(name)


def records():
    """Names of all records by the topic that they are on."""
    found = {}
    for family in ("catalogue", "reservation", "stock", "transfer"):
        for kind in ("command", "event"):
            text = (ROOT / f"schemas/{family}_{kind}.def").read_text()
            names = re.findall(r'^\s*[A-Z]+(?:_EVENT|_FACT|_OPERATION)?\(\w+, "(\w+)"', text, re.M)
            if kind == "event":
                names += ["CommandAccepted", "CommandRejected"]
            found[f"{family}.{kind}s"] = set(names)
    return found


def references(node):
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def resolves(document, reference):
    node = document
    for part in reference.removeprefix("#/").split("/"):
        part = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return True


def topics(document):
    check(document["asyncapi"] == "3.0.0" and document["info"]["title"] == "tally", "AsyncAPI: its head", document["info"])
    for channel, names in records().items():
        there = document["channels"].get(channel, {}).get("messages", {})
        check(set(there) == names, f"{channel}: each record is a message", set(there) ^ names)
        check(f"{channel}.dead-letters" in document["channels"] or channel.endswith(".events"), f"{channel}: dead letters")
    for name, channel in document["channels"].items():
        kind = {"dead-letters": f"{name[:-13]}-dlt", "changelog": "-changelog"}.get(name.rpartition(".")[2], name)
        check(channel["address"].endswith(kind), f"{name}: its topic", channel["address"])
        uses = [operation for operation in document["operations"].values()
                if operation["channel"]["$ref"] == f"#/channels/{name}"]
        check(uses or name == "replies", f"{name}: is used", uses)
    for reference in set(references(document)):
        check(resolves(document, reference), "AsyncAPI: a reference", reference)
    for name, message in document["components"]["messages"].items():
        jsonschema.Draft202012Validator.check_schema(message["payload"])
        check(message["name"] in name, f"{name}: its name", message["name"])


def sockets(document):
    """Every message that the WebSockets read or write has its place and schema, and those that come are as told."""
    folder = ROOT / "http/websocket"
    stream, graphql = (folder / "websocket_stream.c").read_text(), (folder / "websocket_graphql.c").read_text()
    kinds = re.search(r"kinds\[WEBSOCKET_GRAPHQL_KINDS\] = \{(.*?)\}", (folder / "websocket_graphql_message.c").read_text(),
                      re.S).group(1)
    wanted = {
        "receive.stream": set(re.findall(r'\((?:name|op), TALLY_SLICE\("(\w+)"\)', stream)),
        "send.stream": set(re.findall(r'begin\([\w>-]+, "(\w+)"', stream)),
        "receive.graphql": set(re.findall(r'"(\w+)"', kinds)),
        "send.graphql": set(re.findall(r'\\"type\\":\\"(\w+)\\"', graphql)
                            + re.findall(r'send_payload\([^;]*?"(\w+)",', graphql)),
    }
    schemas = {}
    for name, names in wanted.items():
        operation = document["operations"].get(name, {"messages": []})
        channel = name.partition(".")[2]
        there = {reference["$ref"].rpartition("/")[2] for reference in operation["messages"]}
        check(there == names and len(names) > 3, f"AsyncAPI: messages of {name}", there ^ names)
        for message in there:
            payload = document["components"]["messages"][f"{channel}.{message}"]["payload"]
            schemas[name, message] = jsonschema.Draft202012Validator({**payload, "components": document["components"]})
    topics_there = set(document["components"]["schemas"]["StreamTopic"]["enum"])
    table = (ROOT / "http/websocket/websocket_maker.c").read_text()
    check(topics_there == set(re.findall(r"\[WEBSOCKET_\w+\] = \{\"(\w+)\"", table)), "AsyncAPI: topics", topics_there)
    port = int(os.environ["TALLY_TEST_HTTP"].rpartition(":")[2])
    query = 'subscription { stockChanged(skus: ["A"]) { nothing } }'
    for channel, path, subprotocol, talk in (
            ("stream", "/v1/stream", None, (
                ({"op": "ping"}, 1), ({"op": "subscribe", "id": "s", "topic": "stock", "from": "snapshot", "filter": {
                    "sku": ["A"]}, "credit": 1}, 2), ({"op": "credit", "id": "s", "n": 2}, 0),
                ({"op": "unsubscribe", "id": "s"}, 1), ({"op": "unsubscribe", "id": "s"}, 1))),
            ("graphql", "/graphql", "graphql-transport-ws", (
                ({"type": "ping"}, 1), ({"type": "connection_init"}, 1), ({"type": "pong"}, 0), ({
                    "id": "q", "type": "subscribe", "payload": {"query": "{ __typename }"}}, 2), ({
                        "id": "r", "type": "subscribe", "payload": {"query": query}}, 1), ({"id": "q", "type": "complete"}, 0)))):
        client = websocket_client.Client(port, path, subprotocol)
        for said, answers in talk:
            wrong = [error.message for error in schemas[f"receive.{channel}", said.get("op") or said["type"]].iter_errors(said)]
            check(not wrong, f"AsyncAPI: {said}", wrong)
            client.send(said)
            for _ in range(answers):
                told = client.receive()
                schema = schemas.get((f"send.{channel}", told.get("op") or told["type"]))
                wrong = [error.message for error in schema.iter_errors(told)] if schema else ["no schema"]
                check(not wrong, f"AsyncAPI: {told}", wrong)
        client.close()


def main():
    document = json.loads(conditional("/openapi.json", "application/json"))
    openapi_spec_validator.validate(document)
    routes(document)
    messages = yaml.safe_load(conditional("/asyncapi.yaml", "application/yaml"))
    topics(messages)
    sockets(messages)
    http_contract.replay()
    http_resources.replay()
    truth = Truth(document)
    for method, path, answer in http_contract.seen:
        truth.look(method, path, answer)
    check(len(truth.checked) > 60, "enough was looked at", len(truth.checked))
    return http_contract.finish()


if __name__ == "__main__":
    sys.exit(main())
