"""Makes the measured part of docs/performance.md, and its plots, of the documents of the last runs."""
import json
import math
import os

import plot
from figures import Unusable, say
from goals import TABLE, pick, span

BEGIN = "<!-- What follows, to the mark at its end, is written by `./dev bench report`. -->"
END = "<!-- The end of what `./dev bench report` writes. -->"
FILLED_ROWS = 100000000  # the goal is about so many
SIDES = {"tally": "tally", "peer": "peer", "raw": "raw", "peer_default": "peer, default member",
         "peer_10ms": "peer, 10 ms commits", "empty": "tally, empty state", "epoll": "bare epoll responder", "civetweb": "bare handler of the library",
         "alone": "without reads", "whole": "tally, whole", "replay": "`tally replay`", "copy": "COPY and merge",
         "unnest": "UNNEST", "best": "the better of both", "pipe": "the same scripts, piped"}
# document, its heading, its sides, and the columns: heading, name in the document, unit
DETAILS = [
    ("stream-full", "Load, `full`", ("tally", "peer", "raw"), (
        ("commands/s", "per_s", ""), ("CPU per command", "cpu_us", " µs"), ("broker's CPU", "broker_cpu_us", " µs"),
        ("peak memory", "rss_mb", " MiB"))),
    ("stream-simple", "Load, `simple`", ("tally", "peer", "raw"), (
        ("commands/s", "per_s", ""), ("CPU per command", "cpu_us", " µs"), ("broker's CPU", "broker_cpu_us", " µs"),
        ("peak memory", "rss_mb", " MiB"))),
    ("restore", "Restore", ("tally", "replay", "raw"), (
        ("events/s", "per_s", ""), ("all on disk after", "flushed_after_s", " s more"),
        ("CPU per event", "cpu_us", " µs"), ("peak memory", "rss_mb", " MiB"))),
    ("restart", "kill -9 under load", ("tally", "peer", "peer_default"), (
        ("HTTP reads", "answering_s", " s"), ("running", "running_s", " s"), ("processing", "processing_s", " s"))),
    ("latency", "Command to committed event, 2 000/s", ("tally", "peer", "peer_10ms"), (
        ("median", "p50_ms", " ms"), ("99 %", "p99_ms", " ms"), ("99.9 %", "p999_ms", " ms"),
        ("share of a core", "cpu_percent", " %"))),
    ("idle", "Idle", ("tally", "peer"), (
        ("memory", "rss_mb", " MiB"), ("of it no file's", "own_mb", " MiB"), ("share of a core", "cpu_percent", " %"))),
    ("filled", "Rows in state", ("tally", "empty"), (
        ("commands/s, second half", "warm_per_s", ""), ("from the start", "per_s", ""), ("CPU per command", "cpu_us", " µs"), ("peak memory", "rss_mb", " MiB"))),
    ("saga-one", "Reservation of one line, idle", ("tally",), (("median", "p50_ms", " ms"), ("99 %", "p99_ms", " ms"))),
    ("saga-wide", "Reservation of 200 lines, idle", ("tally",), (("median", "p50_ms", " ms"), ("99 %", "p99_ms", " ms"))),
    ("saga-sustained", "Reservations of three lines", ("tally",), (
        ("confirmed/s", "per_s", ""), ("CPU each", "cpu_us", " µs"), ("broker's CPU", "broker_cpu_us", " µs"), ("peak memory", "rss_mb", " MiB"))),
    ("sinks-postgres", "Postgres sink", ("tally", "copy", "unnest"), (
        ("events/s", "per_s", ""), ("CPU per event", "cpu_us", " µs"), ("peak memory", "rss_mb", " MiB"))),
    ("sinks-redis", "Redis sink", ("tally", "pipe"), (
        ("keys/s", "rows_per_s", ""), ("events/s", "per_s", ""), ("CPU per event", "cpu_us", " µs"))),
    *((f"http-{case}", heading, ("tally", "epoll", "civetweb"), (
        ("reads/s", "per_s", ""), ("CPU each", "cpu_us", " µs"), ("median", "p50_ms", " ms"), ("99 %", "p99_ms", " ms"),
        ("99.9 %", "p999_ms", " ms"))) for case, heading in (
            ("read", "Reads of one level, 64 connections"), ("spread", "Reads of a thousand levels, 64 connections"))),
    ("http-beside", "Reads at a fixed rate beside commands, 128 connections", ("tally", "alone"), (
        ("commands/s", "ingest_per_s", ""), ("reads/s", "per_s", ""), ("median", "p50_ms", " ms"),
        ("99 %", "p99_ms", " ms"), ("99.9 %", "p999_ms", " ms"), ("share of a core", "cpu_percent", " %"))),
    ("http-conditional", "A large product: unchanged (304), and whole", ("tally", "whole"), (
        ("CPU each", "cpu_us", " µs"), ("median", "p50_ms", " ms"), ("99 %", "p99_ms", " ms"))),
    ("http-follow", "Reads at a fixed rate beside 256 WebSockets, 2 000 commands/s", ("tally", "alone"), (
        ("reads/s", "per_s", ""), ("99 %", "p99_ms", " ms"), ("told/s", "deltas_per_s", ""),
        ("command → told, median", "delivery_p50_ms", " ms"), ("99 %", "delivery_p99_ms", " ms"),
        ("growth of memory", "rss_growth_mb", " MiB"))),
    ("load", "Three instances, one killed and started again, Locust", ("tally",), (
        ("requests/s", "per_s", ""), ("errors", "error_percent", " %"), ("median", "p50_ms", " ms"), ("95 %", "p95_ms", " ms"),
        ("99 %", "p99_ms", " ms"), ("all running again", "back_s", " s"), ("instances asked each", "attempts_each", ""))),
    *((f"sinks-{name.lower()}-outage", f"{name} away for a minute", ("tally",), (
        ("events waiting", "backlog", ""), ("tried again after", "retried_after_s", " s"),
        ("caught up after", "catch_up_s", " s"), ("events/s", "catch_up_per_s", ""),
        ("growth of memory", "rss_growth_mb", " MiB"))) for name in ("Postgres", "Redis")),
]


def write(results, docs):
    documents = read(results)
    path = os.path.join(docs, "performance.md")
    with open(path) as file:
        before, rest = file.read().split(BEGIN)
    after = rest.split(END)[1]
    plots = draw(documents)
    folder = os.path.join(docs, "performance")
    os.makedirs(folder, exist_ok=True)
    for name, svg in plots.items():
        with open(os.path.join(folder, name), "w") as file:
            file.write(svg)
    text = f"{before}{BEGIN}\n\n{measured_part(documents, plots)}\n{END}{after}"
    with open(path, "w") as file:
        file.write(text)
    say(f"{path}: {len(documents)} documents, {len(plots)} plots")
    return 0


def read(results):
    """Name without .json -> document."""
    documents = {}
    for name in sorted(os.listdir(results)) if os.path.isdir(results) else []:
        if name.endswith(".json"):
            with open(os.path.join(results, name)) as file:
                documents[name[:-5]] = json.load(file)
    if not documents:
        raise Unusable(f"nothing was measured yet: {results} holds no documents, see ./dev bench")
    return documents


def row(*cells):
    return "| " + " | ".join(cells) + " |"


def table(head, rows):
    return "\n".join([row(*head), "|" + "---|" * len(head), *(row(*cells) for cells in rows)]) + "\n"


def limit(goal, which):
    mark = "≤" if which.at_most else "≥"
    return f"{mark} {plot.number(which.value)}{goal.unit}"


def verdict(goal, documents):
    def holds(one, which):
        value = one.value(documents)
        return value is not None and which.holds(value)

    if goal.value(documents) is None:
        return "not measured"
    if documents[goal.document]["quick"]:
        return "a smoke run"
    if goal.document == "filled" and documents["filled"]["filled_rows"] < FILLED_ROWS:
        return "measured with too few rows"
    if holds(goal, goal.aim):
        return "yes, and the aim"
    if holds(goal, goal.limit):
        return "yes"
    other = next((one for one in TABLE if one.what == goal.instead), None)
    return "no, but the other is enough" if other and holds(other, other.limit) else "**no**"


def cell(documents, name, path, unit):
    value, reach = pick(documents, name, path), span(documents, name, path)
    if value is None:
        return ""
    shown = plot.number(value) + unit
    return shown if not reach or reach[0] == reach[1] else f"{shown} ({plot.number(reach[0])}–{plot.number(reach[1])})"


def conditions(documents):
    head = ("document", "commit", "when", "load", "runs", "load average before")
    rows = []
    for name, one in documents.items():
        load = one["load"]
        runs = len((one.get("tally") or {}).get("runs", []))
        rows.append((name + (", a smoke run" if one["quick"] else ""), one["commit"], one["date"],
                     f"{plot.number(load['records'])} of {plot.number(load['skus'])} SKUs, {load['keys']}",
                     str(runs), f"{one['load_average']:.1f}"))
    one = next(iter(documents.values()))
    return (f"{one['cores']} cores ({one['cpu']}), shared with the broker, Kafka {one['broker']['version']} in a "
            f"process of its own; {one['load']['partitions']} partitions, {one['load']['threads']} threads, JSON "
            f"commands of {max(d['load']['bytes'] or 0 for d in documents.values())} bytes. Medians of the runs, ranges in "
            "brackets; a difference inside the ranges is none.\n\n" + table(head, rows))


def details(documents):
    parts = []
    for name, heading, sides, columns in DETAILS:
        one = documents.get(name)
        if not one or "suite" in one["void"]:
            continue
        if name == "filled":
            heading = f"{plot.number(one['filled_rows'])} outcomes and as many ledger rows in state"
        rows = [(SIDES[side], *(cell(documents, name, f"{side}.{column}", unit) for _, column, unit in columns))
                for side in sides if one.get(side)]
        rows += [(f"tally ÷ {SIDES[side]}", *("" if ratios.get(column) is None else plot.number(ratios[column])
                                              for _, column, _ in columns)) for side, ratios in one["ratio"].items()]
        parts.append(f"### {heading}\n\n" + table(("", *(head for head, _, _ in columns)), rows))
    return "\n".join(parts)


def instructions(documents):
    """By part; nothing when they were not counted."""
    one = documents.get("instructions")
    if not one:
        return ""
    total = one["parts"]["total"]
    rows = [(part, plot.number(number), f"{number * 100 / total:.0f} %") for part, number in one["parts"].items()]
    return ("### Instructions per command\n\nCounted by callgrind on a fixed load, without Kafka and its client.\n\n"
            + table(("part", "instructions", "share"), rows))


def troubles(documents):
    lines = [f"- {name}: {side} is void: {why.splitlines()[0]}" for name, one in documents.items()
             for side, why in one["void"].items()]
    lines += [f"- {name}: measured without the {side}, so without a ratio to it" for name, one in documents.items()
              for side in one["missing"]]
    for what, holds in (("smoke runs, which say nothing", lambda one: one["quick"]),
                        ("the machine had other work", lambda one: one["load_average"] > 1)):
        names = [name for name, one in documents.items() if holds(one)]
        lines += [f"- {what}: {', '.join(names)}"] if names else []
    if len({one["commit"] for one in documents.values()}) > 1:
        lines.append("- these documents are of different commits")
    return "\n".join(lines) + "\n" if lines else ""


def figure(goal, documents):
    value = goal.value(documents)
    if value is None:
        return ""
    return plot.number(value) + goal.unit + (
        f" at {plot.number(documents['filled']['filled_rows'])} rows" if goal.document == "filled" else "")


def measured_part(documents, plots):
    goals = [(goal.what, figure(goal, documents), limit(goal, goal.limit), limit(goal, goal.aim),
              verdict(goal, documents)) for goal in TABLE]
    timed = {name: one for name, one in documents.items() if name != "instructions"}
    parts = ["## Figures\n", table(("what", "measured", "at least", "aim", "holds"), goals), troubles(timed)]
    if timed:
        parts += ["## Conditions\n", conditions(timed), "## In full\n", details(timed)]
    parts += [instructions(documents), *(f"![{name[:-4]}](performance/{name})\n" for name in plots)]
    return "\n".join(part for part in parts if part)


# --- plots --------------------------------------------------------------------------------------


def draw(documents):
    """File name -> SVG."""
    stream = {f"{side} {case}": (f"stream-{case}", side) for case in ("full", "simple") for side in ("tally", "peer")}
    memory = {side: curve(documents.get("stream-full", {}).get(side)) for side in ("tally", "peer")}
    latency = {SIDES[side]: spread(documents.get("latency", {}).get(side)) for side in ("tally", "peer", "peer_10ms")}
    plots = {"throughput.svg": bars(documents, "commands per second", stream, "per_s"),
             "cpu.svg": bars(documents, "CPU per command, µs", stream, "cpu_us"),
             "memory.svg": lines("memory under the load `full`", memory, "seconds", "MiB"),
             "latency.svg": lines("from command to committed event at 2 000/s", latency, "% of the commands", "ms",
                                  [(place(q), f"{q:g}") for q in (1, 25, 50, 75, 90, 99, 99.9)], log=True)}
    if documents.get("load", {}).get("tally"):
        plots["load.svg"] = load_over_time(documents["load"])
    return {name: svg for name, svg in plots.items() if svg}


def load_over_time(document):
    """Of its last run: what was answered in each second, slow ones and failed ones."""
    run = document["tally"]["runs"][-1]
    points = {label: [(one["second"], one[name]) for one in run["over_time"] if one[name] is not None] for label, name in (
        ("median, ms", "p50_ms"), ("95 %, ms", "p95_ms"), ("requests/s", "requests"), ("failed/s", "failed"))}
    return plot.lines(f"three instances; one is killed at {run['killed_at_s']:.0f} s", points, "seconds",
                      "ms, and requests a second", log=True)


def bars(documents, title, sides, name):
    rows = [(label, pick(documents, document, f"{side}.{name}"), *span(documents, document, f"{side}.{name}"))
            for label, (document, side) in sides.items() if span(documents, document, f"{side}.{name}")]
    return plot.bars(title, rows) if rows else None


def lines(title, sides, *axes, **more):
    sides = {label: points for label, points in sides.items() if points}
    return plot.lines(title, sides, *axes, **more) if sides else None


def curve(side):
    """Resident memory of its last run over time."""
    kept = side["runs"][-1]["rss_over_time"] if side else {"mb": []}
    return [(i * kept["every_s"], mb) for i, mb in enumerate(kept["mb"])]


def place(quantile):
    """Where a quantile is drawn: nines apart."""
    return -math.log10(1 - quantile / 100)


def spread(side):
    """Quantiles of the run with the median p99."""
    if not side:
        return []
    runs = sorted(side["runs"], key=lambda run: run["p99_ms"])
    return [(place(q), ms) for q, ms in runs[(len(runs) - 1) // 2]["quantiles_ms"]]
