"""Readers of sinks that never stop: none of their questions fails, nothing that they have seen is gone or older when
they look again. With a `with`; Violation at its end."""
import threading
from abc import ABC, abstractmethod

from redis_server import RedisError
from sinks import FAMILIES, base_of, document, family
from verdict import Broken, Violation

VERSIONS = " union all ".join(
    f"select '{table}', {key}, version from tally.{table} where version > 0" for table, key in (
        ("product", "product_id"), ("sku", "sku"), ("stock_level", "sku || '/' || warehouse"),
        ("reservation", "reservation_id"), ("transfer", "transfer_id")))


class Reader(ABC):
    def __init__(self, sinks, domain):
        self.sinks, self.domain = sinks, domain
        self.seen = {}  # what -> its version
        self.count = 0
        self.failed = None
        self.leaving = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.leaving.set()
        self.thread.join()
        if self.failed and not any(error):
            raise self.failed

    def work(self):
        try:
            while not self.leaving.is_set():
                self.compare(self.look())
                self.count += 1
        except (Broken, Violation) as error:
            self.failed = error
        except (OSError, RedisError) as error:
            self.failed = Violation(f"a reader gets no answer: {error!r}")

    def compare(self, found):
        for what, version in self.seen.items():
            if found.get(what, -1) < version:
                raise Violation(f"a reader sees nothing older than before: {what} had version {version}, "
                                f"now {found.get(what)}")
        self.seen = found

    @abstractmethod
    def look(self):
        """what -> version, of all that is there."""


class PostgresReader(Reader):
    def look(self):
        found = {}
        for line in self.sinks.postgres.query(VERSIONS):
            what, _, version = line.rpartition("|")
            found[what] = int(version)
        return found


class RedisReader(Reader):
    """Asks for keys by name, as a scan may miss one that is renamed. Slugs have no version, and may be released."""

    def __init__(self, sinks, domain):
        super().__init__(sinks, domain)
        self.base = base_of(domain)
        self.client = sinks.redis.client()
        keys = [key[len(self.base):] for key in sinks.redis.keys(self.client, self.base)]
        self.keys = [key for key in keys if family(key) in FAMILIES and family(key) != "slug"]

    def __exit__(self, *error):
        super().__exit__(*error)
        self.client.close()

    def look(self):
        answers = self.client.pipeline([(FAMILIES[family(key)][0], self.base + key) for key in self.keys])
        found = {}
        for key, answer in zip(self.keys, answers):
            if not answer:
                continue
            shown = document(key, answer)
            if family(key) == "level":
                found.update(((key, warehouse), level["version"]) for warehouse, level in shown.items())
            else:
                found[key] = shown["version"]
        return found
