"""Which suites there are, in their order, and about how long each takes. The rates are those of a slow
machine with two cores; a faster one is done earlier."""
RAW, TALLY, PEER_FULL, PEER_SIMPLE, GENERATOR = 2.5e6, 1.8e5, 7.5e4, 1.9e5, 3e5  # records a second
START, JVM = 3, 8  # seconds around a run: topics, start, end


def stream(o):
    full = o.records * (2 / RAW + 1 / TALLY) + START + peer(o, o.records * (1 / PEER_FULL + 1 / RAW) + JVM)
    simple = o.records * (2 / RAW + 0.6 / TALLY) + START + peer(o, o.records * (1 / PEER_SIMPLE + 1 / RAW) + JVM)
    runs = o.runs if o.quick else o.runs + 1  # the first warms the broker up
    return o.records / GENERATOR + runs * ((full if o.case != "simple" else 0) + (simple if o.case != "full" else 0))


def restore(o):
    return o.records / TALLY + o.runs * (o.records * (1 / RAW + 1 / TALLY) + 3 * START)


def restart(o):
    life = 2 * JVM + o.records * (0.5 / PEER_FULL + 1.5 / 1e6)
    return o.records / TALLY + o.runs * START + peer(o, o.runs * life + (0 if o.quick else life + 45))


def latency(o):
    return o.runs * (o.seconds * 4 / 3 + START + peer(o, 2 * (o.seconds * 4 / 3 + 10 + START)))


def idle(o):
    return (1 if o.quick else 2) * (o.seconds + 10 + START + peer(o, o.seconds + 10 + START))


def filled(o):
    """Filling slows down as state grows."""
    command = 1 / TALLY + 1 / GENERATOR
    return o.filled_rows * command + o.runs * 2 * (o.records * command + START)


def saga(o):
    """Reservations one after the other, and 60 000 of three lines."""
    return o.runs * (10 if o.quick else 120)


def sinks(o):
    """Half a million events at most, at what Postgres and Redis take; then two outages."""
    records = min(o.records, 500000)
    outage = 20 if o.quick else 190
    if o.case.endswith("-outage"):
        return outage
    turns = {"postgres": 3 / 2e4, "redis": 2 / 1e5}
    measured = sum(seconds for name, seconds in turns.items() if o.case in (name, "all"))
    return records / TALLY + o.runs * (records * measured + 6 * START) + (2 * outage if o.case == "all" else 0)


def http(o):
    """Reads: four sides of two cases; beside commands: the load once, then twice the time; a product twice; followed or
    not, from a new start each."""
    seconds = max(2, o.seconds // 3)
    reads = o.runs * 4 * (seconds + 1) + 2 * START
    beside = o.records * (1 / GENERATOR + 1 / TALLY) + o.runs * 2 * (2 * seconds + 4)
    follow = 2 * (2 * seconds + 6) + 2 * START
    return 2 * (reads + min(o.records, 500000) * (1 / GENERATOR + 1 / TALLY)) + beside + o.runs * (2 * (seconds + 1) + follow)


def load(o):
    return 40 if o.quick else o.runs * 90


def instructions(_):
    return 60


def peer(options, seconds):
    return 0 if options.no_peer else seconds


MODULES = {"http": "http_suite", "load": "load_suite"}  # of suites that cannot have their own name, which is a library's
SECONDS = {"stream": stream, "restore": restore, "restart": restart, "latency": latency, "idle": idle, "filled": filled,
           "saga": saga, "sinks": sinks, "http": http, "load": load, "instructions": instructions}


def text(suites, options):
    parts = {suite: SECONDS[suite](options) / 60 for suite in suites}
    return (f"about {sum(parts.values()):.0f} minutes on a quiet machine with two cores: "
            + ", ".join(f"{suite} {minutes:.1f}" for suite, minutes in parts.items()))
