"""A Redis of the run's own, and a client for it, written from the protocol's specification (RESP2)."""
import os
import socket
import time

from process import Process, free_port
from verdict import Broken

READY_SECONDS = 30


class RedisError(Exception):
    """What Redis answers with a minus."""


class Client:
    """One connection. A command is a list of texts or bytes; answers are bytes, numbers, lists or None."""

    def __init__(self, port, limit=10):
        self.socket = socket.create_connection(("127.0.0.1", port), limit)
        self.file = self.socket.makefile("rb")

    def __call__(self, *command):
        return self.pipeline([command])[0]

    def pipeline(self, commands):
        self.socket.sendall(b"".join(encoded(command) for command in commands))
        answers = [self.answer() for _ in commands]
        for answer in answers:
            if isinstance(answer, RedisError):
                raise answer
        return answers

    def answer(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis hung up")
        kind, text = line[:1], line[1:-2]
        if kind == b"+":
            return text
        if kind == b"-":
            return RedisError(text.decode())
        if kind == b":":
            return int(text)
        if kind == b"$":
            return None if text == b"-1" else self.file.read(int(text) + 2)[:-2]
        if kind == b"*":
            return None if text == b"-1" else [self.answer() for _ in range(int(text))]
        raise ConnectionError(f"Redis does not speak RESP2: {line!r}")

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def encoded(command):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Redis(Process):
    def __init__(self, folder, *arguments):
        self.folder = os.path.abspath(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        super().__init__("Redis", ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir",
                                   self.folder, "--save", "", "--appendonly", "yes", "--appendfsync", "everysec",
                                   "--daemonize", "no", *arguments], os.path.join(self.folder, "redis.log"))

    def start(self):
        """On the file of commands that is there."""
        self.spawn()
        end = time.monotonic() + READY_SECONDS
        while True:
            self.alive()
            try:
                with self.client() as client:
                    client("PING")
                return
            except (OSError, RedisError) as error:
                if time.monotonic() > end:
                    raise Broken(f"Redis not ready after {READY_SECONDS} s: {error}\n{self.log_tail()}") from error
            time.sleep(0.02)

    def client(self):
        return Client(self.port)

    def keys(self, client, start):
        """All that begin with it."""
        found, cursor = set(), b"0"
        while True:
            cursor, some = client("SCAN", cursor, "MATCH", start + "*", "COUNT", 1000)
            found.update(key.decode() for key in some)
            if cursor == b"0":
                return sorted(found)
