"""The negative control of the KIP-890 guard: the same late request, without the guard and with it.

librdkafka has one producer epoch for all transactions of a producer, so the broker cannot tell to which
of them a request belongs. Two requests do harm when they come late, after the client has repeated them
over a new connection and begun another transaction:
  EndTxn(commit)   commits what the next transaction has written so far: events without offsets, or offsets
                   without events
  TxnOffsetCommit  puts the offsets of the transaction before into the one that is open
The others do none: a late Produce repeats sequence numbers, a late AddPartitionsToTxn or
AddOffsetsToTxn adds what is added anyway, and after an abort tally makes a new producer in any case.
"""
import os
import time

from faults import fault
from faults.late import REFUSED, proxied
from model.stock import Stock
from topics import Group, Reader
from verdict import Broken, Violation, must
from wire import msgpack_decode
from world import World

# Long, so that a slow machine ends nothing by itself. One thread: one transaction at a time.
SETTINGS = {"engine.transaction.timeout": "30s", "engine.session.timeout": "45s", "engine.threads": 1}
TRIES = 5  # to bring an anomaly about, without the guard
REPEATS = 2  # of a schedule, with the guard
WAIT = 60


@fault("guard", scenario=True, needs=("torn without the guard", "refused with the guard"))
def guard(world):
    """a late EndTxn and a late TxnOffsetCommit tear a transaction without the KIP-890 guard, not with it"""
    for schedule in (late_commit, late_offsets):
        without(world, schedule)
    with proxied(world, SETTINGS) as (tally, proxy):
        world.begin()
        for schedule in (late_commit, late_offsets) * REPEATS:
            answer = schedule(world, tally, proxy)
            must(answer in REFUSED, "with the guard, the broker refuses a late request", schedule.__name__, answer)
            world.happened["refused with the guard"] += 1
            tally.start()
            world.wait_running()
            must(not torn(world), "I6: events and offsets are committed together", schedule.__name__)
            world.settle()
            world.check()
        world.finish()


def without(world, schedule):
    for number in range(TRIES):
        case = f"off-{schedule.__name__.replace('_', '-')}-{number}"
        other = World(world.options, world.broker, f"{world.name}-{case}", os.path.join(world.folder, case), case)
        try:
            with proxied(other, {**SETTINGS, "kafka.guard": False}) as (tally, proxy):
                other.begin()
                answer = schedule(other, tally, proxy)
                tally.start()
                halted = halts(tally)
                anomalies = torn(other)
        finally:
            other.close()
        world.say(f"guard off, {schedule.__name__}: the broker says {answer}; torn:"
                  f" {', '.join(anomalies) or 'nothing'}; halted: {', '.join(halted) or 'nothing'}")
        if anomalies:
            must(halted, "a torn transaction halts the task that finds it", anomalies)
            world.happened["torn without the guard"] += 1
            return
    raise Violation(f"I12: the run is invalid: without the guard {schedule.__name__} did no harm in {TRIES} tries")


# --- schedules: kill tally when the late request has had its effect, return the broker's answer ----------

def late_commit(world, tally, proxy):
    """The commit of one transaction comes when the next has written its offsets but not its events, or
    events but not the offsets."""
    late = hang_up_on(world, proxy, "EndTxn")
    halves = {"Produce": "TxnOffsetCommit", "TxnOffsetCommit": "Produce"}
    asked, answered = proxy.asked.copy(), proxy.answered.copy()

    def other_half(request):
        return halves[request.api], request.transaction

    held = proxy.rule("park", *halves, times=1, who=late.request.transaction,
                      when=lambda request: proxy.asked[other_half(request)] > asked[other_half(request)])
    world.send(200)
    first = other_half(held.wait(WAIT).request)
    until(lambda: proxy.answered[first] - answered[first] == proxy.asked[first] - asked[first], f"{first[0]} answered")
    answer = late.deliver()
    tally.kill()
    return answer


def late_offsets(world, tally, proxy):
    """The offsets of one transaction come when the next has sent its own."""
    late = hang_up_on(world, proxy, "TxnOffsetCommit")
    ends = proxy.rule("park", "EndTxn", who=world.group)  # also what would put it right again
    world.send(200)
    end = ends.wait(WAIT)
    answer = late.deliver()
    end.go()
    tally.kill()
    ends.cancel()
    return answer


def hang_up_on(world, proxy, api):
    """A transaction whose request got no answer, and that was committed when the client repeated it."""
    held = proxy.rule("park", api, times=1, who=world.group)
    world.send(200)
    late = held.wait(WAIT)
    late.hang_up()
    world.settle()
    return late


# --- what became of it -----------------------------------------------------------------------------------

def torn(world):
    """What is committed of events without their offsets, and of offsets without their events."""
    commands = Reader(world.kafka, world.prefix + "stock.commands", world.partitions)
    events = Reader(world.kafka, world.prefix + "stock.events", world.partitions)
    try:
        sent, found = commands.read(), events.read()
    finally:
        commands.close()
        events.close()
    offsets = Group(world.kafka, world.group).offsets(commands.topic)
    texts = []
    for partition, records in sorted(found.items()):
        end, model = offsets.get(partition, 0), Stock(partition, world.partitions, require_registration=False)
        have = {msgpack_decode(record.value())["id"] for record in records}
        taken = [model.take(r.offset(), r.timestamp()[1], r.key(), r.value()).event
                 for r in sent[partition] if r.offset() < end]
        lost = sum(event is not None and event["id"] not in have for event in taken)
        early = sum(int(name.rsplit("@", 1)[1]) >= end for name in have)
        texts += [f"{count} {what} of partition {partition}" for count, what in
                  ((lost, "offsets without events"), (early, "events without offsets")) if count]
    return texts


def halts(tally):
    """Runs until a task halts or all run; the codes of those that halted."""
    def state():
        tally.alive()
        tasks = tally.tasks().values()
        halted = sorted({row["code"] for row in tasks if row["state"] == "HALTED"})
        return halted or (tasks and all(row["state"] == "RUNNING" for row in tasks) and ["none"])

    return [code for code in until(state, "run or halted") if code != "none"]


def until(condition, what):
    end = time.monotonic() + WAIT
    while not (result := condition()):
        if time.monotonic() > end:
            raise Broken(f"not {what} after {WAIT} s")
        time.sleep(0.02)
    return result
