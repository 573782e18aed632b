#!/usr/bin/env python3
"""run.py [--program FILE] [--steps N] [--seeds N [--from S] | SEED ... | --again FILE]

Random sequences of commands against the model: each seed is one, and prints nothing when it holds. The first that
does not is made as short as it can be, shown, and kept in a file for --again. The last line is like that of a check
program."""
import argparse
import json
import pathlib
import shutil
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "crash")]
from corpus.rules import TOPICS  # noqa: E402
from model.generator import Generator  # noqa: E402
from model.judge import Judge  # noqa: E402
from program import Died, Program, bytes_of  # noqa: E402
from verdict import Violation, must  # noqa: E402

STEPS = 120
MEMORY = pathlib.Path("/dev/shm")  # where syncing a file costs nothing
SHRINKS = 400  # runs that looking for a shorter sequence may take


class Sequence:
    """on_disk: state in a directory, where a stop and a crash leave it; else every start restores it from nothing."""

    def __init__(self, partitions, required, on_disk, steps):
        self.partitions, self.required, self.on_disk, self.steps = partitions, required, on_disk, steps

    def with_steps(self, steps):
        return Sequence(self.partitions, self.required, self.on_disk, steps)

    def as_json(self):
        return json.dumps(self.__dict__)


class Runner:
    def __init__(self, path):
        self.path, self.program = path, None
        self.state = pathlib.Path(tempfile.mkdtemp(prefix="property-", dir=MEMORY if MEMORY.is_dir() else None))
        self.counts = {}

    def close(self):
        if self.program:
            self.program.close()
        shutil.rmtree(self.state, ignore_errors=True)

    def types(self):
        self.program = self.program or Program(self.path)
        return self.program.world(1, True, "-")

    def empty(self):
        shutil.rmtree(self.state, ignore_errors=True)
        self.state.mkdir()

    def run(self, sequence):
        """Raises Violation or Died."""
        self.program = self.program or Program(self.path)
        self.empty()
        try:
            self.program.world(sequence.partitions, sequence.required, self.state if sequence.on_disk else "-")
            judge = Judge(sequence.partitions, sequence.required)
            for step in sequence.steps:
                self.step(judge, *step)
        except Died:
            self.program = None
            raise
        for name, count in judge.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count

    def step(self, judge, what, *words):
        program = self.program
        if what == "put":
            topic, partition, key, value, headers = words
            key, value = bytes.fromhex(key), None if value is None else bytes.fromhex(value)
            judge.put(topic, key, value)
            program.put(topic, partition, key, value, [(name, bytes_of(item)) for name, item in headers])
        elif what == "advance":
            program.tell("advance", *words)
        elif what == "run":
            judge.absorb(program.run())
        else:
            self.begin_again(judge, what)

    def begin_again(self, judge, what):
        """I9: what is restored is what was there."""
        judge.absorb(self.program.run())
        before = self.program.dump()
        judge.check_state(before)
        self.program.tell("crash" if what == "crash" else "stop")
        if what == "rebuild":
            self.empty()
        self.program.tell("start")
        judge.absorb(self.program.run())
        after = self.program.dump()
        same = without_old(judge, before) == without_old(judge, after)
        must(same, f"I9: {what} leads to the same state", *difference(before, after))


def without_old(judge, lines):
    """Outcomes that count as absent may be gone from one of two states."""
    kept = []
    for line in lines:
        row = json.loads(line)
        if row["store"] == "dedup":
            model = judge.models[row["topology"]][row["partition"]]
            if not judge.is_fresh(model, row["value"]["time"]):
                continue
        kept.append(line)
    return kept


def difference(before, after):
    return [f"gone: {line}" for line in set(before) - set(after)][:2] + [
        f"come: {line}" for line in set(after) - set(before)][:2]


def fails(runner, sequence):
    try:
        runner.run(sequence)
        return None
    except (Violation, Died) as error:
        return error


def kind_of(error):
    """What a shorter sequence must fail with, too."""
    return str(error).split(",")[0][:60] if isinstance(error, Violation) else "died"


def shrink(runner, sequence, error):
    """Leaves out ever smaller parts as long as what is left fails in the same way."""
    tries, size = 0, len(sequence.steps) // 2
    while size >= 1 and tries < SHRINKS:
        at = 0
        while at < len(sequence.steps) and tries < SHRINKS:
            shorter = sequence.with_steps(sequence.steps[:at] + sequence.steps[at + size:])
            found, tries = fails(runner, shorter), tries + 1
            if found and kind_of(found) == kind_of(error):
                sequence, error = shorter, found
            else:
                at += size
        size //= 2
    return sequence, error


def readable(step):
    if step[0] != "put":
        return " ".join(map(str, step))
    _, topic, partition, key, value, _ = step
    value = None if value is None else bytes.fromhex(value)
    return f"put {topic} {partition} {bytes.fromhex(key)} {value}"


def tell(runner, name, sequence, error, shorten):
    print(f"seed {name}: {error}")
    if shorten:
        sequence, error = shrink(runner, sequence, error)
    for step in sequence.steps:
        print("  " + readable(step))
    print(f"  {error}")
    file = pathlib.Path(tempfile.gettempdir()) / f"property-{name}.json"
    file.write_text(sequence.as_json())
    print(f"again: tests/property/run.py --again {file}")


def sequences(runner, options):
    types = runner.types()
    if not options.partial:
        ours = {topology + ".commands": set(kinds) for topology, kinds in TOPICS.items()}
        must(types == ours, "the model knows the types of the program", *(
            f"{topic}: {sorted(types.get(topic, set()) ^ ours.get(topic, set()))}" for topic in {**types, **ours}))
    if options.again:
        kept = json.loads(pathlib.Path(options.again).read_text())
        yield "again", Sequence(**kept)
    types = {topic: kinds - set(options.without) for topic, kinds in types.items()}
    for seed in options.seed or range(options.start, options.start + (0 if options.again else options.seeds)):
        generator = Generator(seed, types)
        yield seed, Sequence(generator.partitions, generator.required, generator.on_disk, generator.steps(options.steps))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", nargs="*", type=int)
    parser.add_argument("--program", default="build/dev/tests/property")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--from", dest="start", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--again", metavar="FILE")
    parser.add_argument("--partial", action="store_true", help="ask only for types that the program knows")
    parser.add_argument("--without", action="append", default=[], metavar="TYPE", help="leave these commands out")
    parser.add_argument("--go-on", action="store_true", help="do not stop at the first that does not hold")
    parser.add_argument("--counts", action="store_true", help="show how often each outcome was seen")
    options = parser.parse_args()
    runner, done, failed = Runner(options.program), 0, 0
    try:
        for name, sequence in sequences(runner, options):
            error = fails(runner, sequence)
            done += 1
            if error:
                failed += 1
                tell(runner, name, sequence, error, not options.go_on and not options.again)
                if not options.go_on:
                    break
    finally:
        runner.close()
    if options.counts:
        print("\n".join(f"{count:8} {name}" for name, count in sorted(runner.counts.items())))
    print(f"{100 * (done - failed) // max(1, done)}%: Checks: {done}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
