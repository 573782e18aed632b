"""Topics, offsets and state directories that are not what tally left.

Each case changes something while an instance is stopped, or under a running one, and says what must
come of it: a named halt or end within seconds, whose error names topic, partition, offsets and the
way out, or correct work. Then the way out is taken, and the instance has to run again: the oracle
holds, or, where a loss was accepted, the state is the fold of the events that are there and every
command sent since has its one outcome.
"""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import Producer

from faults import fault
from fold import Fold
from instance import all_running, position
from oracle import Oracle, is_mark
from topic_admin import KafkaException, TopicAdmin, foreign
from topics import Group, Reader
from verdict import Broken, Violation, must
from wire import msgpack_decode, partition_of
from world import World

SETTINGS = {"engine.threads": 1, "engine.transaction.timeout": "1s", "engine.session.timeout": "16s",
            "http.threads": 8, "http.wait.max": 4}
NOTICED_SECONDS = 10  # and as long as a start takes on this machine
BROKER_SECONDS = 30  # more, where the broker has come back just before and looks through its logs
END_SECONDS = 30
COMMANDS = 300
TOGETHER = 3  # cases that run at once
# What an error has to name besides its topic: directory, partition and offset, where it is about some.
NAMES = {"TOPIC_CONFIG": r"stock\.\w+", "NOT_AUTHORIZED": r"stock\.\w+", "FOREIGN_STATE": r"/stock/\d|partition[= ]\d",
         "PARTITIONS_CHANGED": r"offset \d+.* partition \d"}
PARTITION_AND_OFFSET = r"stock\.[a-z-]+/\d+(@\d|\D.*\d)"

CASES = []

# Where a reset is killed, in the order of its actions: whether the plan of a task has the action.
RESET_SITES = {
    "reset.unset.after": lambda row: row["group_offset"] is not None and any(
        row["plan"][what] is not None for what in ("fill_to", "copy_from", "note_jump_to")),
    "reset.fill.each": lambda row: row["plan"]["fill_to"] is not None,
    "reset.fill.after": lambda row: row["plan"]["fill_to"] is not None,
    "reset.copy.each": lambda row: row["plan"]["copy_from"] is not None,
    "reset.copy.after": lambda row: row["plan"]["copy_from"] is not None,
    "reset.note.after": lambda row: row["plan"]["note_jump_to"] is not None,
    "reset.aside.after": lambda row: row["plan"]["set_aside"],
    "reset.offset.after": lambda row: row["plan"]["set_offset"] is not None,
}


def is_foreign(record):
    """One of foreign()."""
    return (record.key() or b"").startswith(b"order-") and b'"amount"' in (record.value() or b"")


class Case:
    def __init__(self, change, name, expect, running, cold, options, before, check, alone, interrupted, noticed, ends):
        self.change, self.name, self.expect = change, name, expect
        self.running = running  # under a running instance
        self.cold = cold  # its state directory is lost too
        self.options = options  # of tally reset; None: there is no reset
        self.before = before  # what has to be done before the reset
        self.check = check  # "oracle", "fresh" (an oracle that reads all again) or "left"
        self.alone = alone  # has the broker for itself
        self.interrupted = interrupted  # the reset is killed several times
        self.noticed = noticed
        self.ends = ends  # with the halt: there is no way back


def case(name, *expect, running=False, cold=False, options=(), before=None, check="left", alone=False,
         interrupted=False, noticed=NOTICED_SECONDS, ends=False):
    def register(change):
        CASES.append(Case(change, name, expect, running, cold, options, before, check, alone, interrupted, noticed,
                          ends))
        return change
    return register


class Play:
    """One case in a world of its own."""

    def __init__(self, case, world):
        self.case, self.world = case, world
        self.admin = TopicAdmin(world)
        self.instance = world.instance(0)
        self.instance.configure(SETTINGS)
        self.start_seconds = 0  # what a start takes here
        self.ended = False  # with its error
        self.needed = []  # (command id, key) that must have an outcome in the end
        self.killed = Counter()  # resets, by site
        self.dice = random.Random(f"topics {case.name}")

    # --- pieces ------------------------------------------------------------------------------------

    def start(self):
        return self.instance.start()

    def stop(self):
        if self.instance.running():
            try:
                self.instance.stop()
            except Broken:  # it was about to end with its error
                if not self.has_failed():
                    raise
        self.admin.leave(self.instance)

    def has_failed(self):
        """Whether it has ended as it does when it cannot go on, in this life."""
        return self.instance.process.poll() == 1 and any(
            'msg="tally failed"' in line or 'msg="tally could not start"' in line for line in self.instance.life())

    def commands(self, count, mark="t"):
        """(partition, key, value, command id): good ones and refusals, where they belong."""
        for _ in range(count):
            command = self.world.generator.command()
            command["command_id"] = f"{mark}-{command['command_id']}"
            key = command["sku"].encode()
            yield partition_of(key, self.world.partitions), key, json.dumps(command).encode(), command["command_id"]

    def send(self, count=COMMANDS):
        records = list(self.commands(count))
        self.world.writer.send(records)
        self.needed += [(command_id, key.decode()) for _, key, _, command_id in records]

    def others(self, count, mark="other"):
        """Commands of another origin, as records; they must be decided."""
        records = list(self.commands(count, mark))
        self.needed = [(command_id, key.decode()) for _, key, _, command_id in records]
        return [record[:3] for record in records]

    def wait_running(self, limit=120):
        self.instance.wait("running", lambda tasks: all_running(tasks, self.world.partitions), limit)

    def settle(self):
        ends = {p: self.admin.range("commands", p)[1] for p in range(self.world.partitions)}
        self.instance.wait("settled", lambda tasks: all_running(tasks, self.world.partitions) and all(
            position(row) >= ends[p] - 1 and row["lag"] == 0 for p, row in tasks.items()))

    # --- what must come of it -----------------------------------------------------------------------

    def outcome(self, begin):
        """(code, text, seconds): of the first halt, or of the end of the process."""
        while True:
            seconds = time.monotonic() - begin
            lines = [line for line in self.instance.life() if "level=error" in line]
            if not self.instance.running() or any('msg="tally failed"' in line for line in lines):
                codes = [match.group(1) for line in lines for match in re.finditer(r" code=([A-Z_]+)", line)]
                if not codes:
                    raise Broken(f"{self.instance.name} ended without a named error:\n{self.instance.log_tail()}")
                self.ended = True
                return codes[-1], "\n".join(lines), seconds
            tasks = self.instance.tasks()
            halted = [row for row in tasks.values() if row["state"] == "HALTED"]
            if halted and self.case.running:  # the others are in the same topic
                self.wait_all_halted()
            if halted:
                return halted[0]["code"], halted[0]["detail"], seconds
            if seconds > 3 * self.case.noticed + 30:
                raise Violation(f"{self.case.name}: not noticed after {seconds:.0f} s: {tasks}\n"
                                f"{self.instance.log_tail()}")
            time.sleep(0.05)

    def wait_all_halted(self):
        """An instance that ends before it has noticed forgets that it went on in another topic."""
        end = time.monotonic() + self.case.noticed
        while time.monotonic() < end and self.instance.running() and any(
                row["state"] == "RUNNING" for row in self.instance.tasks().values()):
            time.sleep(0.1)

    def judge(self, code, text, seconds):
        name = self.case.name
        must(code in self.case.expect, f"{name} is named", f"{code}, not {' or '.join(self.case.expect)}", text)
        limit = self.case.noticed + self.start_seconds + (BROKER_SECONDS if self.case.alone else 0)
        must(seconds < limit, f"{name} is noticed in {limit:.1f} s", f"{seconds:.1f} s")
        # Of a long path the error has the end, with what stands behind the state directory.
        must(self.world.prefix + "stock." in text or self.instance.state[-60:] + "/" in text,
             f"the error of {name} names its topic", text)
        must(re.search(NAMES.get(code, PARTITION_AND_OFFSET), text),
             f"the error of {name} names partition and offsets", text)
        must(re.search(r"way out|run: |tally reset|kafka-", text), f"the error of {name} names the way out", text)
        ready = None if self.ended else self.instance.get("/health/ready?verbose")
        if ready is None:  # it is about to end, or has
            self.wait_end()
            must(self.has_failed(), f"{name} ends with status 1 and its error", self.instance.process.returncode,
                 self.instance.log_tail())
        else:
            must(ready[0] == 503, f"{name} is not ready", ready)

    def wait_end(self):
        try:
            self.instance.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            raise Violation(f"{self.case.name}: neither answers nor ends in {END_SECONDS} s\n"
                            f"{self.instance.log_tail()}") from None

    def tally_reset(self, *arguments):
        """Status and output. A broker that was slow with its heartbeats leads nothing for a moment: UNAVAILABLE,
        which says that the same call may be made again."""
        end = time.monotonic() + END_SECONDS
        while True:
            status, output = self.instance.tool("reset", *arguments, fails=True)
            if status == 0 or "tally reset: UNAVAILABLE" not in output or time.monotonic() > end:
                return status, output
            time.sleep(0.5)

    def plan(self):
        status, output = self.tally_reset("--json")
        tasks = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        return status, tasks, output

    def interrupt(self):
        """A reset that is killed leaves nothing worse: a start halts or is right."""
        for site, planned in RESET_SITES.items():
            rows = [row for row in self.plan()[1] if planned(row)]
            if not rows:
                continue
            hit = 1
            if site == "reset.fill.each":
                hit = self.dice.randint(1, sum(row["plan"]["fill_to"] - row["input_high"] for row in rows))
            done = subprocess.run([self.instance.program, "reset", "--execute", *self.case.options, "--config",
                                   self.instance.config], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  env={**self.instance.environment, "TALLY_FAIL": f"{site}:{hit}:kill"}, timeout=180,
                                  check=False)
            killed = done.returncode == -signal.SIGKILL
            # What is to be copied may be nothing but what a reset has filled up with.
            must(killed or (site == "reset.copy.each" and done.returncode == 0),
                 f"a reset that plans it is killed at {site}", done.returncode, done.stdout)
            self.killed[site] += killed
            begin = self.start()
            while self.instance.running():
                tasks = self.instance.tasks()
                if len(tasks) == self.world.partitions and not {row["state"] for row in tasks.values()} & {
                        "CREATED", "RESTORING", "PARKED"}:
                    break
                must(time.monotonic() - begin < 60, "a start after a reset that was killed settles", tasks)
                time.sleep(0.05)
            self.stop()

    def reset(self, code):
        if code not in ("TOPIC_CONFIG", "NOT_AUTHORIZED"):  # of which there can be no plan
            self.judge_plan(code)
        if self.case.before:
            self.case.before(self)
        if self.case.options is None:
            return
        _, tasks, output = self.plan()
        must(tasks, "there is a plan", output)
        lossless = not self.case.options and all(not row["plan"]["loses"] for row in tasks)
        must(lossless or "--accept-loss" in self.case.options, "a loss is accepted in words", output)
        if self.case.interrupted:
            self.interrupt()
        status, output = self.tally_reset("--execute", *self.case.options)
        must(status == 0, "a reset succeeds", output)
        status, tasks, output = self.plan()
        must(status == 0 and all(not row["halt"] and row["plan"]["set_offset"] is None for row in tasks),
             "after a reset there is nothing to do", output)

    def judge_plan(self, code):
        """It says what a start says. A running instance may have met another side of the same change; and where
        a start ends at the directory, a plan has also read the events: it may have a worse halt, and then tells
        what is with the directory beside it."""
        _, tasks, output = self.plan()
        halts = {row[what] for row in tasks for what in ("halt", "state")} - {None}
        also = {name for other in CASES if self.case.running and other.change is self.case.change
                for name in other.expect}
        must(code in halts or halts & also, "the plan of a reset says what a start says", code, output)

    # --- afterwards ---------------------------------------------------------------------------------

    def check(self):
        self.settle()
        tasks = self.instance.tasks()
        dump = [line for p in tasks for line in self.instance.dump(p)]
        if self.case.check == "left":
            self.check_left(dump)
            return
        world = self.world
        oracle = world.oracle
        if self.case.check == "fresh":
            oracle = Oracle(world.kafka, world.prefix, world.group, world.partitions)
        oracle.check_log()
        oracle.check_positions({p: position(row) + 1 for p, row in tasks.items()})
        oracle.check_state(dump)
        oracle.check_levels()
        if oracle is not world.oracle:
            oracle.close()

    def check_left(self, dump):
        """The state is what the events that are there add up to; what was sent since is decided once."""
        reader = Reader(self.world.kafka, self.admin.name("events"), self.world.partitions)
        fold = Fold()
        for partition, records in reader.read().items():
            for record in records:
                if is_foreign(record):
                    continue
                event = msgpack_decode(record.value())
                must(event["id"].startswith(f"stock/{partition}@"), "I4: an event names its partition", event["id"])
                fold.take(partition, record.key().decode(), event)
        reader.close()
        for line in dump:
            fold.compare(json.loads(line))
        fold.all_compared()
        lost = [name for name in self.needed if name not in fold.outcomes]
        must(not lost, "I1: every command sent since has its outcome", lost[:5], f"{len(lost)} of {len(self.needed)}")
        self.check_offsets()
        self.check_dead()

    def check_offsets(self):
        committed = Group(self.world.kafka, self.world.group).offsets(self.admin.name("commands"))
        for partition, row in self.instance.tasks().items():
            mine, theirs = position(row) + 1, committed.get(partition)
            must(theirs == mine or (theirs is None and mine == 0), "I6: the group's offset is the state's position",
                 f"partition {partition}", f"group {theirs}, state {mine}")

    def check_dead(self):
        """Only records of others, each at most once and as it was."""
        reader = Reader(self.world.kafka, self.admin.name("dead"), self.world.partitions)
        for partition, letters in reader.read().items():
            letters = [letter for letter in letters if not is_mark(letter)]
            strange = [letter for letter in letters if not is_foreign(letter)]
            must(not strange, "I9: no good command is a dead letter",
                 [(one.key(), one.headers()) for one in strange[:3]])
            must(len({letter.key() for letter in letters}) == len(letters), "I9: one dead letter per record",
                 f"partition {partition}", len(letters))
        reader.close()

    def run(self):
        begin = self.start()
        self.wait_running()
        self.start_seconds = time.monotonic() - begin
        self.send()
        self.settle()
        if self.case.running:
            self.case.change(self)
            begin = time.monotonic()
        else:
            self.stop()
            if self.case.cold:
                shutil.move(self.instance.state, self.instance.state + ".lost")
            self.case.change(self)
            begin = self.start()
        if self.case.expect == ("RUN",):
            self.wait_running()
            time.sleep(5 if self.case.running else 0)  # two looks of the watch
            self.send()
            self.check()
            self.world.say(f"  {self.case.name}: runs on")
            return None
        code, text, seconds = self.outcome(begin)
        self.judge(code, text, seconds)
        self.stop()
        if self.case.ends:
            status, _, output = self.plan()
            must(status != 0, "what no reset can heal is not promised", output)
            self.world.say(f"  {self.case.name}: {code} after {seconds:.1f} s, no way back, as it says")
            return seconds
        self.reset(code)
        begin = self.start()
        self.wait_running()
        again = time.monotonic() - begin
        self.send()
        self.check()
        self.world.say(f"  {self.case.name}: {code} after {seconds:.1f} s, running {again:.1f} s after the way out")
        return seconds

    def close(self):
        self.admin.close()


# --- the group's offsets --------------------------------------------------------------------------

def waiting(play):
    """Commands that come while nobody runs."""
    play.send(100)


@case("offsets-deleted", "OFFSETS_LOST", check="oracle")
@case("offsets-deleted-state-lost", "OFFSETS_LOST", cold=True, check="oracle")
@case("offsets-deleted-interrupted", "OFFSETS_LOST", check="oracle", interrupted=True)
def offsets_deleted(play):
    play.admin.delete_group()
    waiting(play)


@case("offsets-rewound", "OFFSETS_BEHIND", check="oracle")
@case("offsets-rewound-state-lost", "OFFSETS_BEHIND", cold=True, check="oracle")
def offsets_rewound(play):
    play.admin.set_offsets(lambda partition, now: now // 2)
    waiting(play)


@case("offsets-to-zero", "OFFSETS_BEHIND", check="oracle")
def offsets_zero(play):
    play.admin.set_offsets(lambda partition, now: 0)


@case("offsets-ahead", "EVENTS_LOST", check="oracle")
@case("offsets-ahead-state-lost", "EVENTS_LOST", cold=True, check="oracle")
def offsets_ahead(play):
    waiting(play)
    play.admin.set_offsets(lambda partition, now: play.admin.range("commands", partition)[1])


@case("offsets-beyond-end", "INPUT_LOST", check="oracle")
@case("offsets-beyond-end-state-lost", "INPUT_LOST", cold=True, check="oracle")
def offsets_beyond(play):
    waiting(play)
    play.admin.set_offsets(lambda partition, now: now + 10000)


# --- the commands topic ---------------------------------------------------------------------------

def create_topics(play):
    """The way out of a missing topic."""
    play.instance.tool("topics", "create", "--topics.partitions", str(play.world.partitions))
    play.needed = []


LOSS = ("--accept-loss",)


@case("commands-deleted", "TOPIC_CONFIG", options=LOSS, before=create_topics)
@case("commands-deleted-running", "TOPIC_CONFIG", running=True, options=LOSS, before=create_topics)
def commands_deleted(play):
    play.admin.delete("commands")


@case("commands-recreated-empty", "INPUT_LOST", options=LOSS)
@case("commands-recreated-empty-interrupted", "INPUT_LOST", options=LOSS, interrupted=True)
@case("commands-recreated-empty-state-lost", "INPUT_LOST", cold=True, options=LOSS)
@case("commands-recreated-empty-running", "INPUT_LOST", "TOPIC_RECREATED", running=True, options=LOSS)
def commands_empty(play):
    play.needed = []
    play.admin.recreate("commands")


@case("commands-recreated-fewer", "INPUT_LOST", options=LOSS)
@case("commands-recreated-fewer-interrupted", "INPUT_LOST", options=LOSS, interrupted=True)
@case("commands-recreated-fewer-state-lost", "INPUT_LOST", cold=True, options=LOSS)
@case("commands-recreated-fewer-running", "INPUT_LOST", "TOPIC_RECREATED", running=True, options=LOSS)
def commands_fewer(play):
    play.admin.recreate("commands", play.others(80))


@case("commands-recreated-more", "OFFSETS_LOST", "TOPIC_RECREATED", options=LOSS)
@case("commands-recreated-more-interrupted", "OFFSETS_LOST", "TOPIC_RECREATED", options=LOSS, interrupted=True)
@case("commands-recreated-more-state-lost", "OFFSETS_LOST", "TOPIC_RECREATED", cold=True, options=LOSS)
@case("commands-recreated-more-running", "TOPIC_RECREATED", "INPUT_LOST", running=True, options=LOSS)
def commands_more(play):
    play.admin.recreate("commands", play.others(900))


@case("commands-replaced", "TOPIC_RECREATED", options=LOSS)
@case("commands-replaced-interrupted", "TOPIC_RECREATED", options=LOSS, interrupted=True)
@case("commands-replaced-state-lost", "TOPIC_RECREATED", cold=True, options=LOSS)
def commands_replaced(play):
    """More of other commands, and the group still has its offsets."""
    kept = play.admin.offsets()
    play.admin.recreate("commands", play.others(900))
    play.admin.set_offsets(lambda partition, now: kept[partition], kept)


@case("commands-foreign-fewer", "INPUT_LOST", options=LOSS)
@case("commands-foreign-fewer-running", "INPUT_LOST", "TOPIC_RECREATED", running=True, options=LOSS)
def commands_foreign_fewer(play):
    play.needed = []
    play.admin.recreate("commands", foreign(play.world.partitions, 20))


@case("commands-foreign-more", "OFFSETS_LOST", "TOPIC_RECREATED", options=LOSS)
@case("commands-foreign-more-state-lost", "OFFSETS_LOST", "TOPIC_RECREATED", cold=True, options=LOSS)
@case("commands-foreign-more-running", "TOPIC_RECREATED", "INPUT_LOST", running=True, options=LOSS)
def commands_foreign_more(play):
    play.needed = []
    play.admin.recreate("commands", foreign(play.world.partitions, 500))


@case("commands-deleted-ahead", "INPUT_TRUNCATED", options=LOSS)
@case("commands-deleted-ahead-state-lost", "INPUT_TRUNCATED", cold=True, options=LOSS)
def commands_deleted_ahead(play):
    needed = list(play.needed)
    waiting(play)
    play.needed = needed
    play.admin.delete_records("commands", lambda partition, low, high: high)


@case("commands-deleted-ahead-running", "INPUT_TRUNCATED", running=True, options=LOSS)
def commands_deleted_ahead_running(play):
    play.instance.pause()
    commands_deleted_ahead(play)
    play.instance.resume()


@case("commands-deleted-behind", "RUN", check="oracle")
@case("commands-deleted-behind-state-lost", "RUN", cold=True, check="oracle")
@case("commands-deleted-behind-running", "RUN", running=True, check="oracle")
def commands_deleted_behind(play):
    play.world.oracle.check_log()
    play.admin.delete_records("commands", lambda partition, low, high: high // 2)


@case("commands-deleted-to-position", "RUN", check="oracle")
@case("commands-deleted-to-position-running", "RUN", running=True, check="oracle")
def commands_deleted_to_position(play):
    play.world.oracle.check_log()
    play.admin.delete_records("commands", lambda partition, low, high: high)


@case("commands-retention", "INPUT_TRUNCATED", options=LOSS)
def commands_retention(play):
    """Retention passes the group's offset."""
    needed = list(play.needed)
    waiting(play)
    play.needed = needed
    play.admin.configure("commands", "retention.ms", "1")
    play.admin.wait_for("retention", lambda: all(
        len(set(play.admin.range("commands", p))) == 1 for p in range(play.world.partitions)))
    play.admin.configure("commands", "retention.ms", "2592000000")


def new_commands(play):
    play.admin.recreate("commands")
    play.needed = []


@case("commands-partitions-added", "TOPIC_CONFIG", options=LOSS, before=new_commands)
@case("commands-partitions-added-running", "TOPIC_CONFIG", running=True, options=LOSS, before=new_commands)
def commands_partitions(play):
    play.admin.add_partitions("commands")


@case("commands-create-time", "TOPIC_CONFIG", options=None, check="oracle",
      before=lambda play: play.admin.configure("commands", "message.timestamp.type", "LogAppendTime"))
def commands_create_time(play):
    play.admin.configure("commands", "message.timestamp.type", "CreateTime")


# --- the events topic -----------------------------------------------------------------------------

def new_events(play):
    play.admin.recreate("events")


@case("events-deleted", "TOPIC_CONFIG", options=LOSS, before=create_topics, check="fresh")
@case("events-deleted-running", "TOPIC_CONFIG", running=True, options=LOSS, before=create_topics, check="fresh")
def events_deleted(play):
    play.admin.delete("events")


@case("events-recreated-empty", "EVENTS_TRUNCATED", options=LOSS, check="fresh")
@case("events-recreated-empty-interrupted", "EVENTS_TRUNCATED", options=LOSS, check="fresh", interrupted=True)
@case("events-recreated-empty-state-lost", "EVENTS_LOST", cold=True, options=LOSS, check="fresh")
@case("events-recreated-empty-running", "EVENTS_TRUNCATED", "TOPIC_RECREATED", running=True, options=LOSS,
      check="fresh")
def events_empty(play):
    play.admin.recreate("events")


def events_in_the_middle(play):
    """What the task wrote into the new topic does not make it a whole one."""
    status, _, output = play.plan()
    must(status != 0 and "neither complete nor empty" in output, "a partial events topic is refused", output)
    new_events(play)


@case("events-recreated-empty-under-load", "EVENTS_TRUNCATED", "TOPIC_RECREATED", running=True, options=LOSS,
      before=events_in_the_middle, check="fresh")
def events_empty_load(play):
    play.admin.recreate("events")
    play.send(200)


@case("events-recreated-fewer", "EVENTS_TRUNCATED", options=LOSS, check="fresh")
@case("events-recreated-fewer-interrupted", "EVENTS_TRUNCATED", options=LOSS, check="fresh", interrupted=True)
@case("events-recreated-fewer-state-lost", "EVENTS_LOST", cold=True, options=LOSS, check="fresh")
@case("events-recreated-fewer-running", "EVENTS_TRUNCATED", "TOPIC_RECREATED", running=True, options=LOSS,
      check="fresh")
def events_fewer(play):
    """The first half of what there was."""
    records = play.admin.read("events")
    play.admin.recreate("events", [record for own in records.values() for record in own[:len(own) // 2]])


@case("events-foreign-more", "TOPIC_RECREATED", options=LOSS)
@case("events-foreign-more-state-lost", "EVENTS_LOST", cold=True, options=LOSS)
@case("events-foreign-more-running", "TOPIC_RECREATED", "EVENTS_TRUNCATED", running=True, options=LOSS)
def events_foreign(play):
    play.admin.recreate("events", foreign(play.world.partitions, 500))


@case("events-foreign-added", "RUN")
@case("events-foreign-added-running", "RUN", running=True)
def events_spam(play):
    play.admin.write("events", foreign(play.world.partitions, 20))


@case("events-deleted-behind", "RUN", check="oracle")
@case("events-deleted-behind-running", "RUN", running=True, check="oracle")
def events_deleted_behind(play):
    play.world.oracle.check_log()
    play.admin.delete_records("events", lambda partition, low, high: high // 2)


@case("events-deleted-behind-state-lost", "EVENTS_INCOMPLETE", cold=True, options=LOSS, before=new_events,
      check="fresh")
def events_deleted_cold(play):
    play.admin.delete_records("events", lambda partition, low, high: high // 2)


@case("events-deleted-all", "EVENTS_INCOMPLETE", options=LOSS, before=new_events, check="fresh")
def events_deleted_all(play):
    play.admin.delete_records("events", lambda partition, low, high: high)


@case("events-partitions-added", "TOPIC_CONFIG", options=LOSS, before=new_events, check="fresh")
@case("events-partitions-added-running", "TOPIC_CONFIG", running=True, options=LOSS, before=new_events, check="fresh")
def events_partitions(play):
    play.admin.add_partitions("events")


@case("events-compacted", "TOPIC_CONFIG", options=None, check="oracle",
      before=lambda play: play.admin.configure("events", "cleanup.policy", "delete"))
def events_compacted(play):
    play.admin.configure("events", "cleanup.policy", "compact")


@case("events-retention", "TOPIC_CONFIG", options=None, check="oracle",
      before=lambda play: play.admin.configure("events", "retention.ms", "-1"))
def events_retention(play):
    play.admin.configure("events", "retention.ms", "604800000")


@case("event-of-a-newer-release", "EVENT_UNKNOWN", options=None, ends=True)
def event_unknown(play):
    for partition in range(play.world.partitions):
        event = {"id": f"stock/{partition}@900000", "type": "StockTeleported", "version": "1.0",
                 "source": "tally/stock", "time": "2026-01-15T10:00:00.000Z", "correlation_id": "c",
                 "causation_id": "c", "payload": {"outcome": {"command": "TeleportStock", "status": "ACCEPTED",
                                                              "fingerprint": "0000000000000000"}}}
        key = next(k for k in (f"SKU-{i:05d}".encode() for i in range(1000))
                   if partition_of(k, play.world.partitions) == partition)
        play.admin.write("events", [(partition, key, json.dumps(event).encode())])


@case("events-transaction-hangs", "HANGING_TRANSACTION", options=None, check="left", noticed=30,
      before=lambda play: play.hanging.abort_transaction())
def events_hanging(play):
    """A transaction that nobody ends; known only when the longest of tally's own would have ended."""
    play.hanging = Producer({"bootstrap.servers": play.world.kafka, "transactional.id": play.world.name + "-foreign",
                             "transaction.timeout.ms": 600000, "log_level": 0})
    play.hanging.init_transactions()
    play.hanging.begin_transaction()
    for partition, key, value in foreign(play.world.partitions, 1):
        play.hanging.produce(play.admin.name("events"), value, key, partition)
    play.hanging.flush()


# --- all topics, dead letters, directories ---------------------------------------------------------

def new_topics(play):
    for kind in ("commands", "events", "dead"):
        play.admin.delete(kind)
    create_topics(play)


@case("all-partitions-added", "FOREIGN_STATE", options=LOSS, before=new_topics)
@case("all-partitions-added-state-lost", "PARTITIONS_CHANGED", cold=True, options=LOSS, before=new_topics)
@case("all-partitions-added-running", "TOPIC_CONFIG", running=True, options=LOSS, before=new_topics)
def all_partitions(play):
    for kind in ("dead", "events", "commands"):
        play.admin.add_partitions(kind)


@case("dead-letters-deleted", "TOPIC_CONFIG", options=None, check="oracle",
      before=lambda play: play.admin.create("dead"))
@case("dead-letters-deleted-running", "TOPIC_CONFIG", running=True, options=None, check="oracle",
      before=lambda play: play.admin.create("dead"))
def dead_deleted(play):
    play.admin.delete("dead")


@case("all-recreated", "EVENTS_TRUNCATED", options=LOSS)
@case("all-recreated-running", "EVENTS_TRUNCATED", "INPUT_LOST", "TOPIC_RECREATED", "TOPIC_CONFIG", running=True,
      options=LOSS)
def all_recreated(play):
    play.needed = []
    for kind in ("commands", "events", "dead"):
        play.admin.recreate(kind)


@case("state-of-another-group", "FOREIGN_STATE", check="oracle")
def other_group(play):
    """The directory is given to an instance of another group; the topics are the same."""
    play.instance.configure({"app.id": play.world.group + "-2"})
    play.world.group = play.world.group + "-2"
    play.world.oracle.group.group = play.world.group


@case("state-of-other-topics", "FOREIGN_STATE")
def other_topics(play):
    play.instance.configure({"topics.prefix": play.world.prefix + "x."})
    play.world.prefix += "x."
    play.world.writer.topic = play.admin.name("commands")
    create_topics(play)


@case("setting-changed", "FOREIGN_STATE", options=None, check="oracle",
      before=lambda play: play.instance.configure({"stock.require_registration": False}))
def setting_changed(play):
    play.instance.configure({"stock.require_registration": True})


# --- what needs the broker for itself --------------------------------------------------------------

@case("commands-segment-cut", "INPUT_LOST", options=LOSS, alone=True)
def commands_cut(play):
    play.world.broker.stop()
    play.admin.cut_segments("commands")
    play.admin.start_broker()
    play.needed = []


@case("events-segment-cut", "EVENTS_TRUNCATED", options=LOSS, check="fresh", alone=True)
@case("events-segment-cut-interrupted", "EVENTS_TRUNCATED", options=LOSS, check="fresh", alone=True, interrupted=True)
@case("events-segment-cut-state-lost", "EVENTS_LOST", cold=True, options=LOSS, check="fresh", alone=True)
def events_cut(play):
    play.world.broker.stop()
    play.admin.cut_segments("events")
    play.admin.start_broker()


@case("commands-damaged", "INPUT_CORRUPT", options=LOSS, alone=True)
def commands_damaged(play):
    """One flipped byte in a batch that nobody has read yet, and good ones behind it."""
    sizes = {path: os.path.getsize(path) for path in play.admin.segments("commands")}
    needed = list(play.needed)
    waiting(play)
    time.sleep(0.2)
    play.needed = needed
    play.send(100)
    play.world.broker.stop()
    for path, size in sizes.items():
        with open(path, "r+b") as log:
            log.seek(size + 80)  # in the records of the first batch that came after
            byte = log.read(1)
            log.seek(size + 80)
            log.write(bytes([byte[0] ^ 0x20]))
    play.admin.start_broker()


@case("another-cluster", "FOREIGN_STATE", alone=True)
def another_cluster(play):
    """The same names on a cluster that is new."""
    play.world.broker.stop()
    shutil.move(play.world.broker.data, play.world.broker.data + ".other")
    play.world.broker.cluster = "dGFsbHktb3RoZXItY2x1cw"
    play.admin.start_broker()
    create_topics(play)


# --- running them ----------------------------------------------------------------------------------

def play_case(world, chosen, number):
    """(seconds, None) or (None, what is wrong)."""
    own = World(world.options, world.broker, f"{world.name}-{number}", os.path.join(world.folder, f"case-{number}"),
                f"{world.name} {chosen.name}")
    own.say = world.say
    play = Play(chosen, own)
    try:
        seconds = play.run()
    except (Violation, Broken, KafkaException, TimeoutError) as error:
        own.say(f"  {chosen.name}: FAILED: {error}")
        for instance in own.instances.values():
            instance.end()
        return None, f"{chosen.name}: {error}\nlogs: {own.folder}"
    finally:
        play.close()
        world.happened.update(play.killed)
    own.close()
    shutil.rmtree(own.folder)
    return seconds, None


def play_all(world, cases):
    """Those that share the broker first, a few at a time."""
    shared = [chosen for chosen in cases if not chosen.alone]
    alone = [chosen for chosen in cases if chosen.alone]
    with ThreadPoolExecutor(TOGETHER) as pool:
        results = list(pool.map(lambda item: play_case(world, item[1], item[0]), enumerate(shared)))
    results += [play_case(world, chosen, len(shared) + i) for i, chosen in enumerate(alone)]
    failed = [text for _, text in results if text]
    noticed = sorted(seconds for seconds, text in results if not text and seconds is not None)
    if noticed:
        world.say(f"topics: {len(cases)} cases, {len(noticed)} of them halts and ends, noticed after"
                  f" {noticed[len(noticed) // 2]:.1f} s (median), {noticed[-1]:.1f} s (longest)")
    if failed:
        raise Violation(f"{len(failed)} of {len(cases)} cases:\n" + "\n".join(failed))


BROKER = {"log.retention.check.interval.ms": "1000", "log.initial.task.delay.ms": "500"}


# --- what the broker allows ------------------------------------------------------------------------

ACL_CASES = []


def acl_case(name, *expect, running=False):
    def register(change):
        ACL_CASES.append(Case(change, name, expect, running, False, None, lambda play: play.admin.allow_all(),
                              "oracle", True, False, NOTICED_SECONDS, False))
        return change
    return register


@acl_case("commands-not-allowed", "TOPIC_CONFIG")
@acl_case("commands-not-allowed-running", "NOT_AUTHORIZED", running=True)
def commands_refused(play):
    play.admin.allow_another("commands")


@acl_case("events-not-allowed", "TOPIC_CONFIG")
@acl_case("events-not-allowed-running", "NOT_AUTHORIZED", running=True)
def events_refused(play):
    play.admin.allow_another("events")
    if play.case.running:
        play.send(40)


@fault("topics-refused", scenario=True, broker={
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true", "super.users": "User:nobody"})
def topics_refused(world):
    """topics that the broker does not let tally use any more"""
    play_all(world, ACL_CASES)


@fault("topics", scenario=True, broker=BROKER)
def topics(world):
    """topics, offsets and directories that are not what tally left: every case of the table"""
    only = os.environ.get("CRASH_TOPICS")  # a regular expression, to repeat some
    cases = [chosen for chosen in CASES if not only or re.search(only, chosen.name)]
    play_all(world, cases)
    missed = [site for site in RESET_SITES if not world.happened[site]]
    must(only or not missed, "the run is invalid: a reset is killed at each kind of action", missed)

