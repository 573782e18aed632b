"""Postgres and Redis of the run's own as sinks of an app, and what they hold. Nothing that tally says of its sinks is
trusted: what they hold is compared with the events until it is equal, or for too long."""
import json
import time

from content import BUCKETS, CAUSE, LINE, NO_SETTING, NUMBERS, PRICE, PRODUCT, RESERVATION, TRANSFER, VARIANT
from content import document_differences, ms_or_none, table_differences
from postgres_server import Postgres
from redis_server import Redis
from verdict import Broken, Violation, must

LIMIT = 90  # seconds until what sinks hold must be what the events say
STILL_SECONDS = 1  # and then it must stay so
PAUSE = 0.2


class Sinks:
    def __init__(self, folder):
        self.postgres, self.redis = Postgres(folder + "/postgres"), Redis(folder + "/redis")
        self.sizes = {}  # of what was compared last

    def start(self):
        self.postgres.start()
        self.redis.start()

    def settings(self):
        return {"postgres.url": self.postgres.url, "redis.url": self.redis.url, "sink.retry.max.interval": "1s"}

    def end(self):
        self.postgres.end()
        self.redis.end()

    def differences(self, domain):
        """The first ones of each sink."""
        tables, documents = postgres_tables(self.postgres), redis_documents(self.redis, base_of(domain))
        self.sizes = {"rows of Postgres": sum(map(len, tables.values())), "keys of Redis": len(documents)}
        return (table_differences(domain.content, tables) + position_differences(domain, self.postgres) +
                document_differences(domain.content.redis(), documents))

    def check(self, domain):
        """I4: once events come to rest, all that sinks hold is what the events say, and stays so. Timers may wake
        them up: then they are waited for again."""
        end, right = time.monotonic() + LIMIT, False
        while True:
            more = domain.read()
            found = self.differences(domain)
            must(not found or not right or more or domain.read(),
                 "I4: what sinks hold is right, and does not stay so", *found)
            if right and not found:
                return
            right = not found
            if time.monotonic() > end:
                raise Violation("\n    ".join([f"I4: sinks hold what the events say within {LIMIT} s:", *found]) +
                                "".join(f"\n{one.name}:\n{one.log_tail()}" for one in domain.instances))
            time.sleep(STILL_SECONDS if right else PAUSE)

    # --- rebuilds ---------------------------------------------------------------------------------

    def dump(self, domain):
        """All that is kept, letter by letter, but for how far it is and whose."""
        rows = {f"{name} {line}": "" for name in POSTGRES for line in self.postgres.query(
            f"select to_jsonb(r) from tally.{name} r")}
        with self.redis.client() as client:
            keys = [key for key in self.redis.keys(client, base_of(domain))
                    if family(key[len(base_of(domain)):]) in FAMILIES]
            for key in keys:
                answer = client(FAMILIES[family(key[len(base_of(domain)):])][0], key)
                if isinstance(answer, list):
                    answer = sorted(zip(answer[::2], answer[1::2]))
                rows[key] = answer
        return rows

    def rebuilds(self, domain, name):
        """Another value means that one more has begun; and whether it is over."""
        if name == "postgres":
            row = self.postgres.rows("select building, began_at, swapped_at from tally_sink.rebuild")[0]
            return row["began_at"], not row["building"]
        with self.redis.client() as client:
            generation, phase = client("HMGET", base_of(domain) + "sink", "generation", "phase")
            return generation, phase == b""

    def wait_rebuilt(self, domain, name, before):
        end = time.monotonic() + LIMIT
        while True:
            began, over = self.rebuilds(domain, name)
            if began != before[0] and over:
                return
            if time.monotonic() > end:
                raise Broken(f"{name} is not built anew after {LIMIT} s" +
                             "".join(f"\n{one.name}:\n{one.log_tail()}" for one in domain.instances))
            time.sleep(0.01)


def dump_differences(before, after):
    """The first rows that were lost, came or changed."""
    return [f"{name}: {before.get(name, 'nothing')} became {after.get(name, 'nothing')}"
            for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)][:8]


# --- Postgres -----------------------------------------------------------------------------------------


class Table:
    """How a table of Postgres becomes one of Content: the columns of its key; those that have the same name; those that
    are times; those that are made of others. Rows that other rows only name are left out."""

    def __init__(self, keys, same=(), times=(), others=None, where="true"):
        self.keys, self.same, self.times, self.others, self.where = keys, same, times, others or {}, where

    def row(self, found):
        row = {name: found[name] for name in self.same}
        row.update((name, ms_of_column(found[name])) for name in self.times)
        row.update((name, pick(found)) for name, pick in self.others.items())
        return tuple(found[name] for name in self.keys), row


def ms_of_column(text):
    """Of a timestamptz as JSON shows it, in UTC."""
    if text is None:
        return None
    must(text.endswith("+00:00"), "times of Postgres are in UTC", text)
    return ms_or_none(text[:-len("+00:00")] + "Z")


def numbers_after(found):
    claimed = found["held"] + found["reserved"] + found["committed"]
    sellable = found["on_hand"] - found["damaged"] - found["quality_control"]
    return {**{name: found[name] for name in BUCKETS}, "available": sellable - claimed - found["safety_stock"],
            "backordered": max(0, claimed - sellable)}


NAMED = "version > 0"
POSTGRES = {
    "product": Table(["product_id"], PRODUCT, ("created_at", "updated_at"), where=NAMED),
    "product_category": Table(["product_id", "category_id"], ["product_id"]),
    "variant": Table(["sku"], ("product_id", *VARIANT)),
    "price": Table(["sku", "price_id"], ("product_id", *PRICE), ("valid_from", "valid_until")),
    "slug": Table(["slug"], ["product_id"], where="product_id is not null"),
    "warehouse": Table(["warehouse"], ("name", "state"), where="name is not null"),
    "sku": Table(["sku"], ("product_id", "state", "version"), where=NAMED),
    "stock_level": Table(["sku", "warehouse"], (*NUMBERS, *NO_SETTING, "version"), ["updated_at"]),
    "ledger_entry": Table(["sku", "warehouse", "seq"],
                          ("type", "kind", "reason", "note", "reference", *CAUSE, "actor", "command_id", "partition"),
                          ["recorded_at"],
                          {"deltas": lambda row: {name: row[name + "_delta"] for name in BUCKETS},
                           "after": numbers_after, "signals": lambda row: row["signals"] or [],
                           "offset": lambda row: row["command_offset"]}),
    "reservation": Table(["reservation_id"], RESERVATION, ("expires_at", "updated_at")),
    "reservation_line": Table(["reservation_id", "line"], LINE),
    "transfer": Table(["transfer_id"], [name for name in TRANSFER if name not in ("transfer_id", "from", "to")],
                      ["updated_at"], {"transfer_id": lambda row: row["transfer_id"],
                                       "from": lambda row: row["from_warehouse"],
                                       "to": lambda row: row["to_warehouse"]}),
}


def postgres_tables(postgres):
    """All tables at one moment, as Content has them."""
    lines = postgres.query("begin transaction isolation level repeatable read read only;" + "".join(
        f"select '{name}', row_to_json(r) from tally.{name} r where {table.where};"
        for name, table in POSTGRES.items()))
    tables = {name: {} for name in POSTGRES}
    for line in lines:
        name, _, text = line.partition("|")
        key, row = POSTGRES[name].row(json.loads(text))
        tables[name][key] = row
    return tables


def position_differences(domain, postgres):
    """Positions belong to the rows: they are behind the last event."""
    have = {(row["topic"], row["partition"]): row["next_offset"] or 0
            for row in postgres.rows("select topic, partition, next_offset from tally.sink_position")}
    return [f"sink_position {topology}/{partition} is {have.get((f'{domain.prefix}{topology}.events', partition))}, "
            f"expected {offset} at least" for (topology, partition), offset in domain.content.positions.items()
            if have.get((f"{domain.prefix}{topology}.events", partition), 0) < offset]


# --- Redis --------------------------------------------------------------------------------------------

FAMILIES = {"product": ("GET", json.loads), "slug": ("GET", bytes.decode), "sku": ("GET", json.loads),
            "level": ("HGETALL", None)}


def base_of(domain):
    """What its keys begin with, as it is not called tally."""
    return f"tally:@{domain.prefix}{domain.name}:"


def redis_documents(redis, base):
    """What its readers get, as Content.redis() has it."""
    with redis.client() as client:
        keys = [key[len(base):] for key in redis.keys(client, base) if family(key[len(base):]) in FAMILIES]
        answers = client.pipeline([(FAMILIES[family(key)][0], base + key) for key in keys])
    return {key: document(key, answer) for key, answer in zip(keys, answers) if answer}


def family(key):
    return key.partition(":")[0]


def document(key, answer):
    read = FAMILIES[family(key)][1]
    if read:
        return read(answer)
    return {warehouse.decode(): level(json.loads(text)) for warehouse, text in zip(answer[::2], answer[1::2])}


def level(shown):
    return {**shown, "updated_at": ms_or_none(shown["updated_at"])}
