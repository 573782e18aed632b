"""The program under test: tests/property/property.c, driven by lines."""
import subprocess
import tempfile

from model.judge import Record


class Died(Exception):
    """The program ended: what it said, and the line that it was told."""


def hexed(data):
    return "-" if data is None else data.hex() or "."


def bytes_of(word):
    return None if word == "-" else b"" if word == "." else bytes.fromhex(word)


class Program:
    def __init__(self, path):
        self.said = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said,
                                        text=True)

    def tell(self, *words):
        line = " ".join(map(str, words))
        try:
            self.process.stdin.write(line + "\n")
        except BrokenPipeError:
            self.died(line)

    def ask(self, *words):
        """The lines of the answer."""
        self.tell(*words)
        try:
            self.process.stdin.flush()
        except BrokenPipeError:
            self.died(" ".join(map(str, words)))
        lines = []
        for line in self.process.stdout:
            line = line.rstrip("\n")
            if line == "done":
                return lines
            lines.append(line)
        self.died(" ".join(map(str, words)))
        return None

    def died(self, line):
        status = self.process.wait()
        self.said.seek(0)
        raise Died(f"{self.said.read()[-2000:].strip()}, status {status}, after: {line[:300]}")

    def world(self, partitions, required, state):
        """topic -> types that it takes"""
        types = {}
        for line in self.ask("world", partitions, "required" if required else "optional", state):
            topic, kind = line.split(" ")
            types.setdefault(topic, set()).add(kind)
        return types

    def put(self, topic, partition, key, value, headers=()):
        self.tell("put", topic, partition, hexed(key), hexed(value),
                  *(word for name, item in headers for word in (hexed(name.encode()), hexed(item))))

    def run(self):
        records = []
        for line in self.ask("run"):
            topic, partition, offset, timestamp, key, value, *rest = line.split(" ")
            headers = [(bytes_of(name).decode(), bytes_of(item)) for name, item in zip(rest[::2], rest[1::2])]
            records.append(Record(topic, int(partition), int(offset), int(timestamp), bytes_of(key), bytes_of(value),
                                  headers))
        return records

    def dump(self):
        return self.ask("dump")

    def close(self):
        self.process.stdin.close()
        self.process.wait()
