"""Suite `filled`: commands per second with many outcomes and ledger rows in state, and with none. State
is filled with commands, as it fills in use; then both sides take turns with commands that neither has
seen. The filled side keeps its state, events and group, so it grows by what is measured. A side starts
with nothing in memory, so what is compared is the second half of a run; the whole is told too."""
import os
import shutil
import time

from figures import Turns, Unusable, measured, say

CHUNK = 1000000  # commands that at most wait in the topic while state is filled
KEPT_BYTES = 1 << 30  # of commands, in each partition: what is decided is not read again
ROW_BYTES = 600  # of a command: its event, its rows, and what compactions need meanwhile


def run(setup):
    return setup.attempt("filled", None, lambda: run_suite(setup))


def size_mb(folder):
    return sum(os.path.getsize(os.path.join(path, name)) for path, _, names in os.walk(folder) for name in names) >> 20


def run_suite(setup):
    options, turns = setup.options, Turns()
    records = options.records
    need, free = options.filled_rows * ROW_BYTES, shutil.disk_usage(setup.folder).free
    if need > free:
        raise Unusable(f"{options.filled_rows} rows need {need >> 30} GiB of disk, {free >> 30} GiB are free")
    filled = Side(setup, "filled")
    try:
        history = filled.fill(options.filled_rows)
        size = size_mb(filled.state)
        for i in range(1, options.runs + 1):
            first = options.filled_rows + (i - 1) * records
            turns.take("tally", i, lambda: filled.measure(first, records))
            turns.take("empty", i, lambda: Side(setup, f"empty-{i}").measure(first, records, discard=True))
    finally:
        filled.discard()
    return setup.publish("filled", None, turns, {"empty": ("per_s", "warm_per_s", "cpu_us")},
                         filled_rows=options.filled_rows, fill_per_s=history, state_mb=size)


class Side:
    """A group with topics and a state directory of its own."""

    def __init__(self, setup, name):
        self.setup, self.name = setup, name
        self.prefix = f"{setup.name}-{name}."
        self.settings = {"topics.prefix": self.prefix}
        self.state = os.path.join(setup.folder, f"state-{name}")
        setup.create_topics(self.settings)
        setup.limit_topic(f"{self.prefix}stock.commands", KEPT_BYTES)

    def generate(self, first, records):
        self.setup.generate(records, first, f"{self.prefix}stock.commands")

    def start(self):
        return self.setup.tally(self.name, self.settings, self.state)

    def fill(self, rows):
        """Commands per second of each chunk."""
        rates, sent, begin = [], 0, time.monotonic()
        tally = self.start()
        try:
            while sent < rows:
                self.generate(sent, min(CHUNK, rows - sent))
                sent = min(sent + CHUNK, rows)
                tally.until("keeping up", lambda: tally.position() >= sent - CHUNK, 600)
                rates.append(round(min(CHUNK, rows) / (time.monotonic() - begin)))
                begin = time.monotonic()
                say(f"filled {sent} of {rows}, {rates[-1]}/s")
            tally.until("at the end", lambda: tally.position() >= rows, 600)
            tally.check_work(rows)
        finally:
            tally.stop()
        return rates

    def measure(self, first, records, discard=False):
        self.generate(first, records)
        tally = self.start()
        try:
            cold = tally.wait_series("tally_commands_total", records // 2)
            half, begin = tally.series("tally_commands_total"), time.monotonic()
            tally.until("at the end", lambda: tally.series("tally_commands_total") >= records, 600)
            warm = time.monotonic() - begin
            result = measured(records, cold + warm, tally.cpu() * 1e6 / records, tally.rss(),
                              warm_per_s=round((records - half) / warm))
            tally.check_work(records)
        finally:
            tally.stop()
            if discard:
                self.discard()
        return result

    def discard(self):
        self.setup.delete_topics(lambda name: name.startswith(self.prefix))
        shutil.rmtree(self.state, ignore_errors=True)
