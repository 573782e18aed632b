"""I10: what an instance uses goes back to where it was, and nothing is left lying about."""
import glob
import os
import time

from verdict import must

FILES_MORE, THREADS_MORE = 64, 16
BYTES_MORE = (112 + 28 + 64) << 20  # what state.memory and engine.fetch.memory allow, and a little
# What AddressSanitizer keeps of freed memory, and as much again for what it puts around each block.
SANITIZER_MORE = 512 << 20
SANITIZED = 1 << 40  # of addresses: no other program has reserved so many
FLUSH_SECONDS = 30


def usage(pid):
    """Open files, threads, resident bytes and reserved addresses of a process."""
    with open(f"/proc/{pid}/status") as file:
        status = dict(line.split(":", 1) for line in file)
    sizes = [int(status[name].split()[0]) << 10 for name in ("VmRSS", "VmSize")]
    return len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"]), *sizes


class Resources:
    """The first quiet moment of an instance is the measure of all later ones of any instance."""

    def __init__(self):
        self.first = None

    def check(self, instance):
        now = usage(instance.process.pid)
        self.first = self.first or now
        bytes_more = BYTES_MORE + (SANITIZER_MORE if now[3] > SANITIZED else 0)
        for what, first, last, more in zip(("open files", "threads", "bytes"), self.first, now,
                                           (FILES_MORE, THREADS_MORE, bytes_more)):
            must(last <= first + more, "I10: an instance uses what it used at first", instance.id,
                 f"{last} {what}, at first {first}")


def written(state):
    """Files of flushes, by inode: a flush may be at work now, but not at the same file for long."""
    found = set()
    for path in glob.glob(os.path.join(state, "*", "[0-9]*", "ingest", "*")):
        try:
            found.add((path, os.stat(path).st_ino))
        except FileNotFoundError:
            pass
    return found


def check_ingest(state):
    """Of a running instance, which removes what one that died has left."""
    left, end = written(state), time.monotonic() + FLUSH_SECONDS
    while left and time.monotonic() < end:
        time.sleep(0.05)
        left &= written(state)
    must(not left, "I10: no file is left behind", left)


def check_aside(state, happened):
    aside = glob.glob(os.path.join(state, "**", "*aside*"), recursive=True)
    must(not aside or happened["set aside"], "I11: no state directory is set aside without a word", aside)
