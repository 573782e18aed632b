#!/usr/bin/env python3
"""The queries of docs/postgres.md, the searches of connectors/postgres_reader.c and the lists of
connectors/postgres_lists.c, use their indexes:
EXPLAIN on a database with TEST_PLANS_VARIANTS variants (default: 100000, in about 20 s; a million:
`./dev plans`). Nothing is switched off for it, and no time is looked at.
TEST_POSTGRES: connection string; TEST_TALLY: the program."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVER = os.environ["TEST_POSTGRES"]
VARIANTS = int(os.environ.get("TEST_PLANS_VARIANTS", "100000"))
PRODUCTS = VARIANTS // 4
DATABASE = f"plans_{os.getpid()}"
results = []

# Rows as a sink leaves them; references are not checked while they are loaded.
CONTENT = f"""
SET session_replication_role = replica;
SET search_path = tally;
SET synchronous_commit = off;
SET maintenance_work_mem = '256MB';
DROP INDEX product_search, product_name;
INSERT INTO warehouse SELECT 'W' || n, 'Warehouse ' || n, 'OPEN', n FROM generate_series(1, 4) AS n;
INSERT INTO product (product_id, slug, name, description, status, attributes, media, version, created_at, updated_at, document)
SELECT 'P-' || lpad(n::text, 8, '0'), 'slug-' || n, CASE WHEN n % 5000 = 0 THEN 'ebony stool' ELSE (ARRAY['oak', 'pine', 'beech', 'walnut'])[1 + n % 4] || n / 100 || ' chair' END,
       'a chair of wood', CASE WHEN n % 1000 = 0 THEN 'DRAFT' ELSE 'ACTIVE' END, '{{}}', '{{}}', 1, now(), now(), '{{}}'
FROM generate_series(1, {PRODUCTS}) AS n;
CREATE INDEX product_search ON product USING gin (search) WHERE version > 0;
CREATE INDEX product_name ON product USING gin (name tally_sink.gin_trgm_ops) WHERE version > 0;
INSERT INTO slug SELECT 'slug-' || n, 'P-' || lpad(n::text, 8, '0'), 'c', n FROM generate_series(1, {PRODUCTS}) AS n;
INSERT INTO slug SELECT 'old-' || n, 'P-' || lpad(n::text, 8, '0'), 'c', n FROM generate_series(1, {PRODUCTS} / 10) AS n;
INSERT INTO product_category SELECT 'P-' || lpad(n::text, 8, '0'), 'c-' || n % 200, 0, 1 FROM generate_series(1, {PRODUCTS}) AS n;
INSERT INTO sku SELECT 'S-' || lpad(n::text, 7, '0') || '-' || v, 'P-' || lpad(n::text, 8, '0'), 'ACTIVE', 'c', 1
FROM generate_series(1, {PRODUCTS}) AS n, generate_series(1, 4) AS v;
INSERT INTO variant SELECT sku, product_id, right(sku, 1)::integer, NULL, '{{}}', 'pcs', 0, 'ACTIVE', 1 FROM sku;
INSERT INTO price SELECT sku, 'c-' || sku, product_id, 'BASE', 'default', 'EUR', 100, NULL, NULL, NULL, 1 FROM sku;
INSERT INTO stock_level (sku, warehouse, on_hand, damaged, quality_control, held, reserved, committed, safety_stock, incoming, version, updated_at)
SELECT sku, 'W' || right(sku, 1), 10, 0, 0, 0, 0, 0, 0, 0, 1, now() FROM sku;
SELECT tally_sink.ledger_partition('tally', '2026-01-01'), tally_sink.ledger_partition('tally', '2026-02-01');
INSERT INTO ledger_entry SELECT sku, 'W' || right(sku, 1), m, 'StockReceived', 'RECEIVE', 1, 0,0,0,0,0,0,0, 1, 0,0,0,0,0,0,0,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'c-' || sku || m, 0, m,
    '2026-01-10T00:00:00Z'::timestamptz + make_interval(months => m - 1, secs => right(left(sku, 9), 7)::integer * (1500000.0 / {PRODUCTS}))
FROM sku, generate_series(1, 2) AS m;
INSERT INTO reservation SELECT 'R-' || lpad(n::text, 8, '0'), CASE WHEN n % 50 = 0 THEN 'COMMITTED' ELSE 'FULFILLED' END,
    'cart', NULL, 900, 1, 0, now(), 2, now() FROM generate_series(1, {PRODUCTS}) AS n;
INSERT INTO reservation_line SELECT reservation_id, 1, 'S-' || lpad(right(reservation_id, 7), 7, '0') || '-1', 1, 0, 'HELD', '{{}}', 'W1',
    NULL, NULL, NULL, 2 FROM reservation;
VACUUM ANALYZE;
"""


def check(holds, name, *facts):
    results.append(bool(holds))
    if not holds:
        print(f"test_postgres_plans: {name}: {' '.join(map(str, facts))}", flush=True)


def psql(database, statements):
    done = subprocess.run(["psql", f"{SERVER} dbname={database}", "-qXAt", "-v", "ON_ERROR_STOP=1"], input=statements,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"test_postgres_plans: {done.stderr[:2000]}")
    return done.stdout


def nodes(plan):
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def explain(query):
    plan = json.loads(psql(DATABASE, f"SET search_path = tally; EXPLAIN (FORMAT json) {query}"))
    return list(nodes(plan[0]["Plan"]))


def check_plan(name, query, indexes):
    plan = explain(query)
    used = {node["Index Name"] for node in plan if "Index Name" in node}
    scans = [node["Relation Name"] for node in plan
             if node["Node Type"] == "Seq Scan" and not node["Relation Name"].startswith("warehouse")]
    for index in indexes:
        check(any(re.fullmatch(index, one) for one in used), name, f"{index} is not used but {sorted(used)}")
    check(not scans, name, f"reads all of {scans}")


def documented():
    text = (ROOT / "docs/postgres.md").read_text()
    queries = re.findall(r"```sql\n-- ([^\n]*): ([^\n]*)\n(SELECT.*?);\n```", text, re.S)
    check(len(queries) >= 14, "documented queries", len(queries))
    for name, indexes, query in queries:
        check_plan(name, query, indexes.split(", "))


def searches():
    """The statements of the reader itself, with values in the place of parameters."""
    text = (ROOT / "connectors/postgres_reader.c").read_text()

    def joined(part):
        return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', part))
    chosen = joined(re.search(r"#define CHOSEN(.*?[^\\])\n", text, re.S)[1])
    plain = re.search(r"SEARCH\[\] =(.*?);\n", text, re.S)[1].replace("CHOSEN", f'"{chosen}"')
    category = re.search(r"SEARCH_CATEGORY\[\] =(.*?);\n", text, re.S)[1].replace("CHOSEN", f'"{chosen}"')
    last = f"'P-{PRODUCTS // 2:08}'"
    for name, part, values, indexes in [
            ("a rare word", plain, ["'ebony'", "'%ebony%'", "NULL", "''", "51"], ["product_search", "product_name"]),
            ("a common word", plain, ["'chair'", "'%chair%'", "NULL", last, "51"], ["product_pkey"]),
            ("a short word", plain, ["'zz'", "NULL", "NULL", "''", "51"], ["product_search"]),
            ("all of a status", plain, ["NULL", "NULL", "'DRAFT'", "''", "51"], ["product_status"]),
            ("all", plain, ["NULL", "NULL", "NULL", last, "51"], ["product_pkey"]),
            ("all of a category", category, ["NULL", "NULL", "NULL", last, "51", "'c-17'"], ["product_category_category"])]:
        statement = joined(part)
        for number, value in enumerate(values, 1):
            statement = statement.replace(f"${number}", value)
        check("$" not in statement, name, statement)
        check_plan(f"search: {name}", statement, indexes)


def lists():
    """The statements of connectors/postgres_lists.c, as the compiler joins them."""
    source = (ROOT / "connectors/postgres_lists.c").read_text()
    names = re.findall(r"static const char (\w+)\[\] =", source)
    program = "#include <stdio.h>\n" + re.sub(r"#include [^\n]*", "", source).split("const struct postgres_list *")[0]
    program += "int main(void) {" + "".join(f'printf("{name}\\t%s\\n", {name});' for name in names) + "}"
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["cc", "-x", "c", "-o", f"{folder}/statements", "-"], input=program, text=True, check=True)
        told = subprocess.run([f"{folder}/statements"], stdout=subprocess.PIPE, text=True, check=True).stdout
    statements = dict(line.split("\t") for line in told.splitlines())
    middle = PRODUCTS // 2
    sku, level, null = f"'S-{middle:07}-1'", f"'S-{middle:07}-1 W1'", "NULL"
    january = ["'2026-01-12T00:00:00.000Z'", "'2026-01-13T00:00:00.000Z'"]
    seen = set()
    for name, values, indexes in [
            ("STOCK", [sku, "51", "'W2'", null, null], ["stock_level_warehouse"]),
            ("STOCK", ["''", "51", "'W2'", f"'S-{middle // 10:06}'", "11"], ["stock_level_warehouse"]),
            ("RESERVATIONS", [f"'R-{middle:08}'", "51", null], ["reservation_pkey", "reservation_line_pkey"]),
            ("RESERVATIONS", ["''", "51", "'COMMITTED'"], ["reservation_state", "reservation_line_pkey"]),
            ("RESERVATIONS_OF_SKU", ["''", "51", null, sku], ["reservation_line_sku", "reservation_pkey"]),
            ("MOVEMENTS", ["''", "51", null, null, *january], ["ledger_entry_202601_recorded_at_idx"]),
            ("MOVEMENTS", ["'2026-01-12 W1 RECEIVE'", "51", "'W2'", "'SHIP,RECEIVE'", *january], ["ledger_entry_202601_recorded_at_idx"]),
            ("MOVEMENTS_OF_SKU", ["'2026-02-01 W1 SHIP'", "51", null, null, null, null, sku], ["ledger_entry_.*_pkey"]),
            ("VALUATION", [f"'W2 S-{middle:07}-2 EUR'", "51", null, null, null], ["stock_level_warehouse", "price_pkey", "variant_pkey"]),
            ("VALUATION", ["''", "51", "'W3'", "'EUR'", null], ["stock_level_warehouse"]),
            ("TURNOVER", [level, "51", null, null, null], ["stock_level_pkey", "ledger_entry_.*_pkey"]),
            ("TURNOVER", ["''", "51", "'W2'", *january], ["stock_level_.*", "ledger_entry_.*_pkey"]),
            ("TURNOVER_OF_SKU", ["'W1 2026-02-01'", "51", null, null, null, sku], ["ledger_entry_.*_pkey"])]:
        statement = statements[name]
        for number, value in enumerate(values, 1):
            statement = statement.replace(f"${number}", value)
        check("$" not in statement, name, statement)
        check_plan(f"list: {name}", statement, indexes)
        seen.add(name)
    check(seen == set(names) - {"VALUATION_TOTALS"}, "each list", set(names) - seen)  # totals read all there is


def main():
    psql("postgres", f"CREATE DATABASE {DATABASE}")
    try:
        subprocess.run([os.environ["TEST_TALLY"], "sink", "migrate", "--postgres.url", f"{SERVER} dbname={DATABASE}"],
                       check=True, stdout=subprocess.DEVNULL)
        psql(DATABASE, CONTENT)
        check(psql(DATABASE, "SELECT count(*) FROM tally.variant").strip() == str(VARIANTS), "variants")
        documented()
        searches()
        lists()
    finally:
        psql("postgres", f"DROP DATABASE {DATABASE} WITH (FORCE)")
    failed = results.count(False)
    print(f"{100 * (len(results) - failed) // len(results)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


sys.exit(main())
