#!/usr/bin/env python3
"""The diagram and the tables of docs/postgres.md, from connectors/postgres/*.sql: `postgres_schema.py
FILE` prints FILE with what stands between its marks written anew."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- schema: written by ./dev docs -->\n", "<!-- end -->\n"
TYPES = {"timestamptz": "time", "tsvector": "words"}


class Table:
    def __init__(self, name, kind):
        self.name, self.kind, self.comment = name, kind, ""
        self.columns, self.keys, self.references = {}, [], []


def parts(body):
    """What commas outside of brackets separate."""
    depth, part = 0, ""
    for char in body:
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            yield " ".join(part.split())
            part = ""
        else:
            part += char
    yield " ".join(part.split())


def body_of(text, start):
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return text[start + 1:at]
    raise ValueError("a bracket that is not closed")


def names(text):
    return [name.strip() for name in text.split(",")]


def read_part(table, part):
    if part.startswith("PRIMARY KEY"):
        table.keys = names(body_of(part, part.index("(")))
    elif part.startswith("FOREIGN KEY"):
        table.references.append((names(body_of(part, part.index("("))), re.search(r"REFERENCES (\w+)", part)[1]))
    elif not re.match(r"(UNIQUE|CHECK|CONSTRAINT)\b", part):
        column = re.match(r"(\w+) ([a-z]+(\[\])?)", part)
        table.columns[column[1]] = [column[2], "NOT NULL" not in part and "PRIMARY KEY" not in part, ""]
        if "PRIMARY KEY" in part:
            table.keys = [column[1]]
        target = re.search(r"REFERENCES (\w+)", part)
        if target:
            table.references.append(([column[1]], target[1]))


def read_tables():
    tables = {}
    for path in sorted(ROOT.glob("connectors/postgres/*.sql")):
        text = path.read_text()
        if not text.startswith("-- for: content\n"):
            continue
        for made in re.finditer(r"^CREATE (TABLE|VIEW) (\w+)", text, re.M):
            table = tables[made[2]] = Table(made[2], made[1])
            if made[1] == "TABLE":
                for part in parts(body_of(text, text.index("(", made.end()))):
                    read_part(table, part)
        for told in re.finditer(r"^COMMENT ON (TABLE|VIEW|COLUMN) (\w+)(?:\.(\w+))? IS '((?:[^']|'')*)';", text, re.M):
            comment = told[4].replace("''", "'")
            if told[3]:
                tables[told[2]].columns[told[3]][2] = comment
            else:
                tables[told[2]].comment = comment
    return tables


def diagram(tables):
    yield "```mermaid"
    yield "erDiagram"
    for table in tables.values():
        for columns, target in table.references:
            optional = any(table.columns[name][1] for name in columns)
            yield f'    {target} {"|o" if optional else "||"}--o{{ {table.name} : "{", ".join(columns)}"'
    for table in tables.values():
        if table.kind == "TABLE":
            yield f"    {table.name} {{"
            foreign = {name for columns, _ in table.references for name in columns}
            for name, (kind, _, _) in table.columns.items():
                marks = ", ".join(mark for mark, there in (("PK", name in table.keys), ("FK", name in foreign)) if there)
                yield f'        {TYPES.get(kind, kind).replace("[]", "s")} {name} {marks}'.rstrip()
            yield "    }"
    yield "```"


def reference(tables):
    for table in tables.values():
        if table.kind == "TABLE":
            yield f"\n### `{table.name}`\n\n{table.comment[0].upper()}{table.comment[1:]}. Key: {', '.join(f'`{key}`' for key in table.keys)}.\n"
            yield "| column | type | null | is |"
            yield "|---|---|---|---|"
            for name, (kind, null, comment) in table.columns.items():
                yield f"| `{name}` | {kind} | {'yes' if null else ''} | {comment} |"
    yield "\n### Views\n\n| view | is |\n|---|---|"
    for table in tables.values():
        if table.kind == "VIEW":
            yield f"| `{table.name}` | {table.comment} |"


def main():
    text = pathlib.Path(sys.argv[1]).read_text()
    tables = read_tables()
    before, rest = text.split(BEGIN)
    after = rest.split(END, 1)[1]
    print(before + BEGIN + "\n" + "\n".join([*diagram(tables), *reference(tables)]) + "\n" + END + after, end="")


main()
