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


def main():
    document = json.loads(conditional("/openapi.json", "application/json"))
    openapi_spec_validator.validate(document)
    routes(document)
    topics(yaml.safe_load(conditional("/asyncapi.yaml", "application/yaml")))
    http_contract.replay()
    http_resources.replay()
    truth = Truth(document)
    for method, path, answer in http_contract.seen:
        truth.look(method, path, answer)
    check(len(truth.checked) > 60, "enough was looked at", len(truth.checked))
    return http_contract.finish()


if __name__ == "__main__":
    sys.exit(main())
