"""What clients sent and what they were told, one JSON line each, on disk before it counts as told.

    {"sent": "c-7", "key": "SKU-00001", "partition": 3}
    {"told": "c-7", "key": "SKU-00001", "partition": 3, "offset": 1290}       acknowledged
    {"told": "c-8", ..., "offset": null}      sent again after a broken connection; the broker had it already
    {"told": "h-2", ..., "status": "REJECTED", "code": "CONTENDED"}           and its outcome
    {"told": "c-9", "key": "SKU-00004", "unknown": "timed out"}               may or may not have happened
"""
import json
import os
import threading
import time

SYNC_SECONDS = 0.05


class History:
    def __init__(self, path):
        self.path = path
        self.file = open(path, "a")
        self.lock = threading.Lock()
        self.waiting = []
        self.synced = 0.0
        self.read_to = 0

    def sent(self, command_id, key, **facts):
        self.add({"sent": command_id, "key": text(key), **facts})

    def told(self, command_id, key, **facts):
        self.add({"told": command_id, "key": text(key), **facts})

    def add(self, line):
        with self.lock:
            self.waiting.append(json.dumps(line, separators=(",", ":")))

    def sync(self, now=True):
        """now=False: when it is due."""
        if not now and time.monotonic() - self.synced < SYNC_SECONDS:
            return
        with self.lock:
            if self.waiting:
                self.file.write("\n".join(self.waiting) + "\n")
                self.waiting.clear()
                self.file.flush()
                os.fsync(self.file.fileno())
            self.synced = time.monotonic()

    def news(self):
        """Lines on disk that the last call has not given."""
        with open(self.path) as file:
            file.seek(self.read_to)
            lines = file.read()
        self.read_to += len(lines)
        return [json.loads(line) for line in lines.splitlines()]

    def close(self):
        self.sync()
        self.file.close()


def text(key):
    return None if key is None else key.decode("utf-8", "replace")
