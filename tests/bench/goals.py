"""The figures that tally is held to: where each is found in the documents of the suites, what it must
reach and what it aims at. A row whose document is missing, or void, is "not measured"."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """Kept when the value is at least, or at most, this."""

    value: float
    at_most: bool = False

    def holds(self, value):
        return value <= self.value if self.at_most else value >= self.value


@dataclass(frozen=True)
class Goal:
    what: str
    document: str
    path: str  # in the document; numbers of several runs are {"median", "range"}
    unit: str  # printed behind the value
    limit: Limit
    aim: Limit
    instead: str = ""  # the `what` of another goal: one of the two is enough

    def value(self, documents):
        """None: not measured."""
        return pick(documents, self.document, self.path)


def pick(documents, document, path):
    node = documents.get(document, {})
    if "suite" in node.get("void", {}):
        return None
    for name in path.split("."):
        node = node.get(name) if isinstance(node, dict) else None
    return node["median"] if isinstance(node, dict) else node


def span(documents, document, path):
    """[low, high] over the runs, or None."""
    return pick(documents, document, path + ".range")


def at_least(value):
    return Limit(value)


def at_most(value):
    return Limit(value, True)


TABLE = [
    Goal("commands/s, level, ledger, outcome, event ÷ Kafka Streams `full`", "stream-full", "ratio.peer.per_s", " ×",
         at_least(4), at_least(6)),
    Goal("commands/s, level and event alone ÷ Kafka Streams `simple`", "stream-simple", "ratio.peer.per_s", " ×",
         at_least(3.5), at_least(5)),
    Goal("CPU per command ÷ Kafka Streams `full`", "stream-full", "ratio.peer.cpu_us", "", at_most(0.25),
         at_most(0.167)),
    Goal("CPU per command ÷ Kafka Streams `simple`", "stream-simple", "ratio.peer.cpu_us", "", at_most(0.25),
         at_most(0.167)),
    Goal("commands/s `full` ÷ bare consumer of the commands", "stream-full", "ratio.raw.per_s", "", at_least(0.12),
         at_least(0.2)),
    Goal("peak memory under that load", "stream-full", "tally.rss_mb", " MiB", at_most(256), at_most(160)),
    Goal("kill -9 under load → processing again", "restart", "tally.processing_s", " s", at_most(1.0),
         at_most(0.6)),
    Goal("kill -9 under load → HTTP reads", "restart", "tally.answering_s", " s", at_most(0.3), at_most(0.1)),
    Goal("restore into an empty directory", "restore", "tally.per_s", " events/s", at_least(1e6), at_least(1.5e6),
         "the same ÷ bare consumer of the events"),
    Goal("the same ÷ bare consumer of the events", "restore", "ratio.raw.per_s", "", at_least(0.4),
         at_least(0.6), "restore into an empty directory"),
    Goal("the same ÷ `tally replay` into another directory", "restore", "ratio.replay.per_s", "", at_most(1.25),
         at_most(1)),
    Goal("2 000/s: command → committed event, median", "latency", "tally.p50_ms", " ms", at_most(12), at_most(7)),
    Goal("2 000/s: command → committed event, 99 %", "latency", "tally.p99_ms", " ms", at_most(35), at_most(18)),
    Goal("idle: memory", "idle", "tally.rss_mb", " MiB", at_most(32), at_most(20)),
    Goal("idle: share of a core", "idle", "tally.cpu_percent", " %", at_most(0.5), at_most(0.5)),
    Goal("commands/s with 100 M outcomes and ledger rows in state ÷ with none", "filled", "ratio.empty.warm_per_s", "",
         at_least(0.6), at_least(0.8)),
    Goal("one-line reservation, idle: command → confirmed, median", "saga-one", "tally.p50_ms", " ms", at_most(60),
         at_most(30)),
    Goal("one-line reservation, idle: command → confirmed, 99 %", "saga-one", "tally.p99_ms", " ms", at_most(150),
         at_most(80)),
    Goal("200 lines over 4 partitions, idle: command → confirmed, 99 %", "saga-wide", "tally.p99_ms", " ms",
         at_most(400), at_most(200)),
    Goal("three-line reservations confirmed, two cores with the broker", "saga-sustained", "tally.per_s", "/s",
         at_least(5000), at_least(7500)),
    Goal("reads/s of one level over 64 connections ÷ bare epoll responder", "http-read", "ratio.epoll.per_s", "",
         at_least(0.9), at_least(1)),
    Goal("reads/s of one level ÷ bare handler of the HTTP library", "http-read", "ratio.civetweb.per_s", "", at_least(0.9),
         at_least(1)),
    Goal("reads of one level: 99 % answered within", "http-read", "tally.p99_ms", " ms", at_most(2), at_most(2)),
    Goal("reads/s beside commands at half of the best rate", "http-beside", "tally.per_s", "/s", at_least(10000),
         at_least(20000)),
    Goal("beside commands: 99 % answered within", "http-beside", "tally.p99_ms", " ms", at_most(5), at_most(5)),
    Goal("beside commands: connections starved, of 128", "http-beside", "tally.starved", "", at_most(0), at_most(0)),
    Goal("beside reads: commands/s ÷ without reads", "http-beside", "ratio.alone.ingest_per_s", "", at_least(0.7),
         at_least(0.95)),
    Goal("CPU of a 304 ÷ of the large product whole", "http-conditional", "ratio.whole.cpu_us", "", at_most(0.333),
         at_most(0.2)),
    Goal("256 WebSockets that follow 10 SKUs each: growth of memory", "http-follow", "tally.rss_growth_mb", " MiB",
         at_most(32), at_most(16)),
    Goal("the same, 2 000/s: command → told, 99 %", "http-follow", "tally.delivery_p99_ms", " ms", at_most(100),
         at_most(50)),
    Goal("reads/s beside them ÷ without them", "http-follow", "ratio.alone.per_s", "", at_least(0.95), at_least(0.99)),
    Goal("reads beside them: 99 % answered within", "http-follow", "tally.p99_ms", " ms", at_most(5), at_most(2)),
    Goal("three instances, one killed, reads and writes from Locust", "load", "tally.per_s", "/s", at_least(2100),
         at_least(2100)),
    Goal("the whole of that run: 95 % answered within", "load", "tally.p95_ms", " ms", at_most(200), at_most(50)),
    Goal("the whole of that run: errors", "load", "tally.error_percent", " %", at_most(1), at_most(0.1)),
    Goal("Postgres sink: events/s ÷ the better of COPY and merge, and UNNEST", "sinks-postgres", "ratio.best.per_s", "",
         at_least(0.8), at_least(0.95)),
    Goal("Redis sink: keys/s ÷ the same scripts by redis-cli --pipe", "sinks-redis", "ratio.pipe.rows_per_s", "",
         at_least(0.8), at_least(0.95)),
    *(Goal(f"{name} away for a minute at 4 000/s: {what}", f"sinks-{name.lower()}-outage", path, unit, limit, aim)
      for name in ("Postgres", "Redis") for what, path, unit, limit, aim in (
          ("growth of memory", "tally.rss_growth_mb", " MiB", at_most(64), at_most(32)),
          ("catching up ÷ ingest", "tally.catch_up_ratio", " ×", at_least(3), at_least(5)))),
]
