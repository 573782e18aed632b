"""GraphQL requests that must be refused before anything is read: (name, document, variables)."""


def nested(depth):
    return '{ product(id: "P-100") ' + "{ variants { product " * depth + "{ id }" + " } }" * depth + " }"


def numbered(text, count):
    return "".join(text.replace("#", str(i)) for i in range(count))


LEDGER = '{ stock(sku: "TS-RED-M") { levels { ledger(first: %s) { nodes { seq } } } } }'
BOMB = ("query { ...f0 } " + "".join(f"fragment f{i} on Query {{ a{i}: __typename ...f{i + 1} ...f{i + 1} }} " for i in range(40))
        + "fragment f40 on Query { __typename }")
OF_SKU = "query Q($a: ID!) { stock(sku: $a) { id } }"

LIMITS = (
    ("16 KiB", "{ __typename #" + "x" * 16384 + "\n}", None),
    ("2001 tokens", "{ " + "id " * 2001 + "}", None),
    ("tokens of strings", "{ a(b: [" + '"" ' * 2001 + "]) }", None),
    ("depth", nested(6), None),
    ("more depth", nested(300), None),
    ("depth of lists", "{ a(b: " + "[" * 900 + "]" * 900 + ") }", None),
    ("depth of objects", "{ a(b: " + "{a:" * 300 + "1" + "}" * 300 + ") }", None),
    ("depth of types", "query Q($v: " + "[" * 900 + "ID" + "]" * 900 + ") { __typename }", None),
    ("16 aliases", '{ stock(sku: "A") { ' + numbered("a#: version ", 16) + "} }", None),
    ("11 roots", "{ " + numbered('a#: stock(sku: "S#") { levels { version } } ', 11) + "}", None),
    ("11 directives", "{ __typename " + "@include(if: true) " * 11 + "}", None),
    ("directives far and wide", '{ stock(sku: "A") { ' + numbered("a#: id @skip(if: false) ", 11) + "} }", None),
    ("cost", "{ products(first: 200) { nodes { variants { stock { levels { ledger(first: 200) { nodes { seq } } } } } } } }", None),
    ("first 201", LEDGER % 201, None), ("first 0", LEDGER % 0, None), ("first -1", LEDGER % -1, None),
    ("first by a variable", "query Q($n: Int!) { products(first: $n) { nodes { id } } }", {"n": 201}),
    ("first of 2^31", "query Q($n: Int!) { products(first: $n) { nodes { id } } }", {"n": 2147483648}),
    ("a bomb of fragments", BOMB, None),
)
FRAGMENTS = (
    ("a cycle", "{ ...a } fragment a on Query { ...a }", None),
    ("a cycle of two", "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }", None),
    ("a cycle under a field", '{ product(id: "P") { ...a } } fragment a on Product { variants { product { ...a } } }', None),
    ("unused", "{ __typename } fragment a on Query { __typename }", None),
    ("none", "{ ...a }", None),
    ("twice", "{ ...a } fragment a on Query { __typename } fragment a on Query { __typename }", None),
    ("of a scalar", "{ ...a } fragment a on ID { __typename }", None),
    ("of nothing", "{ ... on Nothing { id } }", None),
    ("that cannot be", '{ stock(sku: "A") { ... on Product { id } } }', None),
)
FIELDS = (
    ("no field", "{ secrets }", None),
    ("no subfields", '{ stock(sku: "A") }', None),
    ("subfields of a scalar", '{ stock(sku: "A") { id { id } } }', None),
    ("no argument", "{ stock { id } }", None),
    ("an unknown argument", '{ stock(sku: "A", admin: true) { id } }', None),
    ("an argument twice", '{ stock(sku: "A", sku: "B") { id } }', None),
    ("a wrong argument", "{ stock(sku: [1.5]) { id } }", None),
    ("conflicting fields", '{ a: stock(sku: "A") { id } a: stock(sku: "B") { id } }', None),
    ("an unknown directive", "{ __typename @exec }", None),
    ("a directive without its argument", "{ __typename @skip }", None),
    ("a directive twice", "{ __typename @skip(if: true) @skip(if: true) }", None),
)
VARIABLES = (
    ("of an unknown type", "query Q($a: Admin) { __typename }", None),
    ("unused", "query Q($a: ID) { __typename }", None),
    ("none", "{ stock(sku: $a) { id } }", None),
    ("twice", "query Q($a: ID!, $a: ID!) { stock(sku: $a) { id } }", None),
    ("of another type", "query Q($a: Int!) { stock(sku: $a) { id } }", {"a": 1}),
    ("without a value", OF_SKU, None), ("null", OF_SKU, {"a": None}), ("an object", OF_SKU, {"a": {"$gt": ""}}),
)
SYNTAX = (
    ("two operations", "{ __typename } { __typename }", None),
    ("two of a name", "query A { __typename } query A { __typename }", None),
    ("which of two", "query A { __typename } query B { __typename }", None),
    ("nothing", "", None), ("a comment", "# nothing", None),
    ("a schema", "type Query { id: ID }", None), ("an extension", "extend type Query { id: ID }", None),
    ("open", "{ __typename", None), ("closed", "{ __typename } }", None),
    ("an open string", '{ stock(sku: "A) { id } }', None), ("an open block", '{ stock(sku: """A) { id } }', None),
    ("an escape", '{ stock(sku: "\\x41") { id } }', None), ("a surrogate", '{ stock(sku: "\\uD800") { id } }', None),
    ("a NUL", "{ __typename \0 }", None), ("a control", "{ __typename \x01 }", None),
    ("a bad number", "{ products(first: 01) { nodes { id } } }", None),
    ("a number with letters", "{ products(first: 1a) { nodes { id } } }", None),
    ("two dots", "{ ..a }", None), ("JSON", '{"query":"{ __typename }"}', None),
    ("SQL", "'; DROP TABLE product; --", None),
    ("a subscription by POST", 'subscription { reservationChanged(id: "R") { id } }', None),
)
DOCUMENTS = [(f"{kind}: {name}", document, variables)
             for kind, rows in (("limit", LIMITS), ("fragment", FRAGMENTS), ("field", FIELDS), ("variable", VARIABLES), ("syntax", SYNTAX))
             for name, document, variables in rows]
