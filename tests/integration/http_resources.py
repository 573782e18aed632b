#!/usr/bin/env python3
"""Replays the HTTP contract of products, reservations, transfers and the list of low stock against a running
tally, as http_contract.py does for stock. TALLY_TEST_HTTP=host:port http_resources.py"""
import json
import sys
import time

from http_contract import PATIENCE_S, RUN, ask, check, current, expect, finish, get, msgpack, set_up, wait


def conditional(name, path):
    """What every single resource has: headers, an entity tag, 304, HEAD, one media type."""
    answer = get(path)
    current(answer, name)
    tag = answer.headers["ETag"] or ""
    check(tag.startswith('"p') and tag.endswith(f'-v{answer.json().get("version")}"'), f"{name}: tag", answer)
    check(answer.headers["Cache-Control"] == "no-cache", f"{name}: cached", answer)
    for value in (tag, "W/" + tag, f'"x", {tag}', "*"):
        same = get(path, If_None_Match=value)
        check(same.status == 304 and same.body == b"" and same.headers["ETag"] == tag, f"{name}: not modified", value, same)
    check(get(path, If_None_Match='"p0-v0"').status == 200, f"{name}: modified")
    head = ask("HEAD", path)
    check(head.status == 200 and head.body == b"" and head.headers["Content-Length"] == str(len(answer.body))
          and head.headers["ETag"] == tag, f"{name}: HEAD", head)
    common(name, path)
    return answer


def common(name, path):
    """What every read refuses."""
    expect(f"{name}: other Accept", get(path, Accept="text/html"), 406, code="NOT_ACCEPTABLE")
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        refused = ask(method, path, b"")
        expect(f"{name}: {method}", refused, 405, code="METHOD_NOT_ALLOWED")
        check(refused.headers["Allow"] == "GET, HEAD", f"{name}: Allow", refused)
    mark = "&" if "?" in path else "?"
    expect(f"{name}: an unknown parameter", get(f"{path}{mark}colour=red"), 400, code="INVALID_PARAMETER")
    expect(f"{name}: a position that is none", get(path, Tally_Min_Position="x"), 400, code="INVALID_PARAMETER")


def far(answer):
    """A position that the task which answered has not reached."""
    topic, _, offset = answer.headers["Tally-Position"].partition("@")
    return f"{topic}@{int(offset) + 1000000}"


def create_product(number, **fields):
    product = {"product_id": f"P-{RUN}-{number}", "slug": f"shirt-{RUN.lower()}-{number}", "name": "Shirt", **fields}
    expect("create a product", wait("CreateProduct", product), 200, status="ACCEPTED")
    return product["product_id"], product["slug"]


def products():
    sku = f"PS-{RUN}"
    product_id, slug = create_product(1, attributes={"fit": "slim"}, media=["a.jpg"], category_ids=["shirts"],
                                      variants=[{"sku": sku, "options": {"size": "M"}}, {"sku": sku + "-L"}])
    path, by_id = f"/v1/products/{slug}", f"/v1/products/by-id/{product_id}"
    document = conditional("a product", path).json()
    check(document == conditional("a product by its id", by_id).json(), "both ways", document)
    check(list(document) == ["product_id", "slug", "name", "description", "status", "category_ids", "attributes", "media",
                             "variants", "version", "created_at", "updated_at"], "a product: members", document)
    check(document["variants"][0] == {"sku": sku, "options": {"size": "M"}, "uom": "pcs", "scale": 0, "status": "ACTIVE",
                                      "prices": []}, "a product: variants", document)
    check(document["attributes"] == {"fit": "slim"} and document["status"] == "DRAFT", "a product: values", document)
    expect("a position out of reach", get(by_id, Tally_Min_Position=far(get(by_id))), 503, code="POSITION_NOT_REACHED")
    for name, unknown in (("slug", f"/v1/products/none-{RUN.lower()}"), ("slug in capitals", f"/v1/products/NONE-{RUN}"),
                          ("id", f"/v1/products/by-id/NONE-{RUN}"), ("id that is none", "/v1/products/by-id/-")):
        expect(f"no such {name}", get(unknown), 404, code="UNKNOWN_PRODUCT")
        expect(f"no such {name} for a price", get(unknown + "?currency=EUR"), 404, code="UNKNOWN_PRODUCT")
    prices(product_id, sku, path, by_id)
    renames(product_id, slug, by_id)


def prices(product_id, sku, path, by_id):
    def change(amount, **more):
        fields = {"product_id": product_id, "sku": sku, "currency": "EUR", "amount_minor": amount, **more}
        expect("change a price", wait("ChangePrice", fields), 200, status="ACCEPTED")

    def price(**query):
        answer = get(by_id + "?" + "&".join(f"{name}={value}" for name, value in query.items()))
        check(answer.status == 200 and "ETag" not in answer.headers, "a price: no tag", answer)
        variants = answer.json()["variants"]
        check([list(variant)[-1] for variant in variants] == ["price", "price"] and variants[1]["price"] is None,
              "a price: in each variant", variants)
        return variants[0]["price"]

    def plain(amount, **more):
        return {"amount_minor": amount, "currency": "EUR", "compare_at_minor": None, "valid_until": None, **more}
    check(price(currency="EUR") is None, "no price yet")
    change(1999, compare_at_minor=2499)
    change(1599, list="club")
    change(999, valid_from="2999-01-01T00:00:00.000Z", valid_until="2999-02-01T00:00:00.000Z")
    change(899, valid_from="2999-03-01T00:00:00.000Z")
    check(price(currency="EUR") == plain(1999, compare_at_minor=2499), "the base price", price(currency="EUR"))
    check(price(currency="EUR", list="club") == plain(1599), "another list")
    check(price(currency="EUR", list="none") is None, "no such list")
    check(price(currency="USD") is None, "no such currency here")
    for at, wanted in (("2998-12-31T23:59:59.999Z", plain(1999, compare_at_minor=2499)),
                       ("2999-01-01T00:00:00.000Z", plain(999, valid_until="2999-02-01T00:00:00.000Z")),
                       ("2999-01-31T23:59:59.999Z", plain(999, valid_until="2999-02-01T00:00:00.000Z")),
                       ("2999-02-01T00:00:00.000Z", plain(1999, compare_at_minor=2499)),
                       ("2999-03-01T00:00:00.000Z", plain(899)), ("3999-01-01T00:00:00.000Z", plain(899))):
        check(price(currency="EUR", at=at) == wanted, "a price by time", at, price(currency="EUR", at=at))
    check(get(path + "?currency=EUR").json() == get(by_id + "?currency=EUR").json(), "prices both ways")
    common("a product with prices", by_id + "?currency=EUR")
    for query in ("currency=EURO", "currency=eur", "currency=", "currency=EUR&at=today", "currency=EUR&list=a%20b",
                  "list=club", "at=2999-01-01T00:00:00.000Z", "currency=EUR&currency=USD"):
        for route in (path, by_id):
            expect(f"prices: {query}", get(f"{route}?{query}"), 400, code="INVALID_PARAMETER")


def renames(product_id, slug, by_id):
    other = slug + "-new"
    at = wait("UpdateProduct", {"product_id": product_id, "patch": {"slug": other}})
    expect("another slug", at, 200, status="ACCEPTED")
    moved = get(f"/v1/products/{slug}")
    check(moved.status == 301 and moved.headers["Location"] == f"/v1/products/{other}" and moved.body == b"" and moved.headers["Content-Length"] == "0"
          and "@" in moved.headers["Tally-Position"], "an old slug", moved)
    check(ask("HEAD", f"/v1/products/{slug}").status == 301, "HEAD of an old slug")
    query = "?currency=EUR&list=default&at=2999-01-01T00:00:00.000Z"
    check(get(f"/v1/products/{slug}{query}").headers["Location"] == f"/v1/products/{other}{query}", "an old slug's price")
    expect("the new slug", get(f"/v1/products/{other}"), 200, slug=other)
    expect("by its id", get(by_id, Tally_Min_Position=at.headers["Tally-Position"], Prefer="wait=30"), 200, slug=other)
    second, taken = create_product(2)
    expect("a slug that is taken", wait("UpdateProduct", {"product_id": second, "patch": {"slug": other}}), 409,
           code="SLUG_TAKEN")
    expect("both stay", get(f"/v1/products/{taken}"), 200, product_id=second)


def search():
    """No PostgreSQL is configured here."""
    for query in ("", "?q=shirt", "?category=shirts&status=ACTIVE&limit=200"):
        answer = get("/v1/products" + query)
        expect("search", answer, 503, code="POSTGRES_UNAVAILABLE", retryable=True)
        check(answer.headers["Retry-After"] == "1", "search: header", answer)
    expect("search at a position", get("/v1/products", Tally_Min_Position="stock.commands/0@1"), 400,
           code="MIN_POSITION_UNSUPPORTED")
    for query in ("q=", "q=%ff", "q=" + "a" * 300, "status=active", "category=%20", "limit=0", "limit=201", "limit=x", "page=2"):
        expect(f"search: {query}", get(f"/v1/products?{query}"), 400, code="INVALID_PARAMETER")
    expect("search: a cursor of nobody", get("/v1/products?cursor=AAAA"), 400, code="INVALID_CURSOR")
    expect("search: a method", ask("DELETE", "/v1/products"), 405, code="METHOD_NOT_ALLOWED")


def reservations(warehouse, skus):
    for sku in skus:
        wait("ReceiveStock", {"sku": sku, "warehouse": warehouse, "quantity": 5})
    name = f"R-{RUN}"
    wanted = {"reservation_id": name, "owner": "cart:9", "lines": [{"sku": sku, "quantity": 2} for sku in skus]}
    expires = expect("reserve", wait("ReserveStock", wanted), 200, status="ACCEPTED")["result"]["expires_at"]
    path = f"/v1/reservations/{name}"
    document = conditional("a reservation", path).json()
    check(list(document) == ["reservation_id", "version", "state", "owner", "ttl_s", "attempt", "pending", "expires_at",
                             "lines"], "a reservation: members", document)
    check({**document, "version": 0, "lines": []}
          == {"reservation_id": name, "version": 0, "state": "CONFIRMED", "owner": "cart:9", "ttl_s": 900, "attempt": 1,
              "pending": 0, "expires_at": expires, "lines": []}, "a reservation: values", document)
    check([(line["line"], line["sku"], line["quantity"], line["state"], line["shipped"], line["warehouse"])
           for line in document["lines"]] == [(i, sku, 2, "HELD", 0, warehouse) for i, sku in enumerate(skus, 1)]
          and all(".stock.commands/" in line["position"] for line in document["lines"]), "a reservation: lines", document)
    wait("CommitReservation", {"reservation_id": name, "order_id": f"O-{RUN}"})
    expect("a committed one", get(path), 200, state="COMMITTED", order_id=f"O-{RUN}")
    expect("a position out of reach", get(path, Tally_Min_Position=far(get(path))), 503, code="POSITION_NOT_REACHED")
    for quantity in (9, 1):
        wait("ReserveStock", {"reservation_id": f"{name}-{quantity}", "lines": [{"sku": skus[0], "quantity": quantity}]})
    failed = expect("one that failed", get(f"{path}-9"), 200, state="FAILED")
    check(failed["lines"][0]["code"] == "INSUFFICIENT_STOCK" and failed["lines"][0]["available"] == 3, "why", failed)
    wait("ReleaseReservation", {"reservation_id": f"{name}-1"})
    expect("a released one", get(f"{path}-1"), 200, state="RELEASED")
    wait("ReleaseReservation", {"reservation_id": f"{name}-T"})
    expect("released before it was requested", get(f"{path}-T"), 200, state="RELEASED", attempt=0, lines=[])
    for unknown in (f"{path}-none", "/v1/reservations/-x"):
        expect("no such reservation", get(unknown), 404, code="RESERVATION_NOT_FOUND")


def transfers(warehouse, sku):
    other = f"X{RUN}"
    expect("another warehouse", wait("RegisterWarehouse", {"warehouse": other, "name": "Other"}), 200)
    end = time.monotonic() + PATIENCE_S
    while get(f"/v1/stock/{sku}/{other}").status != 200 and time.monotonic() < end:
        pass
    name = f"T-{RUN}"
    sent = {"transfer_id": name, "sku": sku, "quantity": 2, "from": warehouse, "to": other}
    expect("dispatch", wait("DispatchTransfer", sent), 200, status="ACCEPTED")
    path = f"/v1/transfers/{name}"
    document = conditional("a transfer", path).json()
    check(list(document) == ["transfer_id", "version", "state", "sku", "quantity", "from", "to", "received", "returned",
                             "lost"], "a transfer: members", document)
    check({**document, "version": 0} == {**sent, "version": 0, "state": "IN_TRANSIT", "received": 0, "returned": 0, "lost": 0},
          "a transfer: values", document)
    expect("receive", wait("ReceiveTransfer", {"transfer_id": name, "quantity": 1, "close": True}), 200, status="ACCEPTED")
    expect("a received one", get(path), 200, state="RECEIVED", received=1, lost=1)
    expect("a position out of reach", get(path, Tally_Min_Position=far(get(path))), 503, code="POSITION_NOT_REACHED")
    for unknown in (f"{path}-none", "/v1/transfers/-x"):
        expect("no such transfer", get(unknown), 404, code="TRANSFER_NOT_FOUND")


def availability(warehouse, skus):
    def asked(body, **headers):
        headers = {"Content_Type": "application/json", **headers}
        return ask("POST", "/v1/availability:batch", body if isinstance(body, bytes) else json.dumps(body), **headers)
    first, second = skus[:2]
    for sku, quantity in ((first, 3), (second, 4)):
        level = {"sku": sku, "warehouse": warehouse}
        wait("ReceiveStock", {**level, "quantity": quantity})
    wait("ConfigureStock", {"sku": second, "warehouse": warehouse, "policy": "BACKORDER", "backorder_limit": 1})
    available = {sku: get(f"/v1/stock/{sku}/{warehouse}").json()["available"] for sku in skus}

    def item(sku, backorderable=False):
        return {"sku": sku, "available": available[sku],
                "levels": [{"warehouse": warehouse, "available": available[sku], "backorderable": backorderable}]}
    wanted = [item(first), {"sku": "NOPE-" + RUN, "code": "UNKNOWN_SKU"}, item(second, True), item(first),
              {"sku": "no sku", "code": "UNKNOWN_SKU"}]
    body = {"skus": [entry["sku"] for entry in wanted]}
    answer = asked(body)
    current(answer, "availability")
    check(answer.headers["Tally-Position"].count("@") >= 1 and "ETag" not in answer.headers, "availability: headers", answer)
    expect("availability", answer, 200, items=wanted)
    expect("availability in warehouses", asked({**body, "warehouses": [warehouse, "NONE"]}), 200, items=wanted)
    expect("availability elsewhere", asked({"skus": [first], "warehouses": ["NONE"]}), 200,
           items=[{"sku": first, "available": 0, "levels": []}])
    expect("availability in MessagePack", asked(b"\x81\xa4skus\x91" + msgpack(first), Content_Type="application/msgpack"),
           200, items=[item(first)])
    many = [f"N-{RUN}-{i}" for i in range(498)] + [first, second]
    found = expect("500 SKUs", asked({"skus": many}), 200)["items"]
    check(found[-2:] == [item(first), item(second, True)] and len(found) == 500, "500 SKUs: order", found[-3:])
    at = wait("ReceiveStock", {"sku": first, "warehouse": warehouse, "quantity": 1}).headers["Tally-Position"]
    available[first] += 1
    expect("availability at a position", asked({"skus": [first]}, Tally_Min_Position=at, Prefer="wait=30"), 200,
           items=[item(first)])
    expect("availability out of reach", asked({"skus": [first]}, Tally_Min_Position=at + "000000"), 503,
           code="POSITION_NOT_REACHED")
    for wrong, pointer in (({"skus": []}, "/skus"), ({"skus": many + ["A"]}, "/skus"), ({"skus": "A"}, "/skus"),
                           ({"skus": [1]}, "/skus/0"), ({}, "/skus"), ({"skus": ["A"], "colour": 1}, "/colour"),
                           ({"skus": ["A"], "warehouses": ["a"]}, "/warehouses/0")):
        problem = expect("availability: a broken rule", asked(wrong), 422, code="VALIDATION_FAILED")
        check([error["pointer"] for error in problem["errors"]] == [pointer], "availability: the pointer", pointer, problem)
    for wrong in (b"", b"[]", b'{"skus":["A"],}', b'{"skus":["A"],"skus":["A"]}', b'{"skus":"' + b"[" * 50):
        expect("availability: no document", asked(wrong), 400, code="MALFORMED_BODY")
    expect("availability: no int64", asked(b'{"skus":1.5}'), 422, code="VALIDATION_FAILED")
    expect("availability: media type", asked(b"{}", Content_Type="text/plain"), 415, code="UNSUPPORTED_MEDIA_TYPE")
    expect("availability: too large", asked(b" " * 1048577), 413, code="BODY_TOO_LARGE")
    refused = get("/v1/availability:batch")
    expect("availability: GET", refused, 405, code="METHOD_NOT_ALLOWED")
    check(refused.headers["Allow"] == "POST", "availability: Allow", refused)
    expect("availability: a parameter", ask("POST", "/v1/availability:batch?a=1", "{}", Content_Type="application/json"),
           400, code="INVALID_PARAMETER")


def low_stock(warehouse, skus):
    """The list is a projection's: a moment behind, over all partitions, the worst first."""
    path = f"/v1/stock:low?warehouse={warehouse}"
    begin = {item["sku"] for item in get(path + "&limit=200").json().get("items", [])}
    wanted = []
    for i, sku in enumerate(skus):
        level = {"sku": sku, "warehouse": warehouse}
        available = i % 4 - 1  # -1 oversold, 0 out, 1 and 2: low
        wait("ReceiveStock", {**level, "quantity": 5})
        wait("ConfigureStock", {**level, "low_stock_threshold": 3, "safety_stock": 5 - available})
        wanted.append((min(max(available, -1), 1) + 1, sku, available))
    wanted.sort()
    end = time.monotonic() + PATIENCE_S
    while len(get(path + "&limit=200").json().get("items", [])) < len(begin) + len(wanted) and time.monotonic() < end:
        time.sleep(0.05)
    answer = get(path + "&limit=200")
    headers = answer.headers
    check(headers["Tally-Source"] == "rocksdb" and headers["Tally-Lag-Ms"].isdigit() and headers["Tally-As-Of"].endswith("Z")
          and headers["Tally-Position"].count("@") > 1 and "stock.events/" in headers["Tally-Position"], "low: headers", answer)
    items = [item for item in answer.json()["items"] if item["sku"] not in begin]
    names = ("OVERSOLD", "OUT", "LOW")
    check([(names.index(item["severity"]), item["sku"], item["available"]) for item in items] == wanted, "low: order", items)
    check(all(list(item) == ["sku", "warehouse", "severity", "available", "low_stock_threshold", "version", "updated_at"]
              and item["low_stock_threshold"] == 3 and item["version"] == 2 for item in items), "low: members", items)
    level = get(f"/v1/stock/{items[0]['sku']}/{warehouse}").json()
    check(items[0]["updated_at"] == level["updated_at"], "low: its time is the level's", items[0], level)
    whole = answer.json()["items"]
    for limit in (1, 2, 3, 7):
        paged, cursor = [], ""
        while cursor is not None:
            page = get(f"{path}&limit={limit}" + (f"&cursor={cursor}" if cursor else "")).json()
            check(len(page["items"]) <= limit, "low: a page", page)
            paged += page["items"]
            cursor = page["next_cursor"]
        check(paged == whole, "low: pages", limit, len(paged), len(whole))
    for chosen in ("OUT", "OVERSOLD,LOW"):
        found = get(f"{path}&limit=200&severity={chosen}").json()["items"]
        check(found == [item for item in whole if item["severity"] in chosen.split(",")], "low: severity", chosen, found)
    cursor = get(path + "&limit=1").json()["next_cursor"]
    expect("low: a cursor of another filter", get(f"{path}&severity=LOW&cursor={cursor}"), 400, code="INVALID_CURSOR")
    expect("low: nothing of others", get("/v1/stock:low?warehouse=NONE"), 200, items=[], next_cursor=None)
    common("low", path)
    for query in ("severity=low", "severity=FINE", "warehouse=a", "limit=0", "limit=201"):
        expect(f"low: {query}", get(f"/v1/stock:low?{query}"), 400, code="INVALID_PARAMETER")
    head = ask("HEAD", path)
    check(head.status == 200 and head.body == b"", "low: HEAD", head)


def replay():
    warehouse, skus = set_up("R")
    products()
    search()
    reservations(warehouse, skus[:2])
    availability(warehouse, skus[:2])
    transfers(warehouse, skus[0])
    low_stock(warehouse, skus[2:])


if __name__ == "__main__":
    replay()
    sys.exit(finish())
