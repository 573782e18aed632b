"""What a loss of power does to files, from the journal that disk_shim.c writes: changes that were not
synced are undone, all or from some moment on, file by file and directory by directory."""
import os


class Unsynced:
    def __init__(self):
        self.writes = {}  # inode -> [(size before, offset, length, old bytes)]
        self.names = {}  # directory -> [(what, arguments)]

    def read(self, journal):
        with open(journal, errors="replace") as file:
            for line in file:
                if line.endswith("\n"):
                    self.take(line.split())

    def take(self, words):
        what, arguments = words[0], words[1:]
        if what == "W":
            size, at, length = map(int, arguments[1:4])
            self.writes.setdefault(arguments[0], []).append((size, at, length, bytes.fromhex(arguments[4][1:])))
        elif what == "S":
            self.writes.pop(arguments[0], None)
        elif what == "D":
            self.names.pop(arguments[0], None)
        else:
            path = arguments[1] if what == "R" else arguments[0]
            self.names.setdefault(os.path.dirname(path), []).append((what, arguments))


def lose(folder, journal, grave, dice):
    """Undoes a part of what was not synced below the folder; returns how many changes."""
    unsynced = Unsynced()
    unsynced.read(journal)
    lost = undo_writes(unsynced.writes, folder, grave, dice)
    for changes in unsynced.names.values():
        keep = dice.choice((0, len(changes), dice.randrange(len(changes) + 1)))
        for what, arguments in reversed(changes[keep:]):
            undo_name(what, arguments, grave)
            lost += 1
    return lost


def undo_writes(writes, folder, grave, dice):
    paths = {str(os.stat(path).st_ino): path for root, _, names in list(os.walk(folder)) + list(os.walk(grave))
             for name in names for path in [os.path.join(root, name)]}
    lost = 0
    for inode, changes in writes.items():
        if inode not in paths:
            continue
        keep = dice.choice((0, len(changes), dice.randrange(len(changes) + 1)))
        for size, at, _, old in reversed(changes[keep:]):
            os.truncate(paths[inode], size)
            with open(paths[inode], "r+b") as file:
                file.seek(at)
                file.write(old)
            lost += 1
        if keep and dice.random() < 0.5:  # the last write that was kept is torn
            size, at, length, old = changes[keep - 1]
            if not old and os.path.getsize(paths[inode]) == at + length:
                os.truncate(paths[inode], at + dice.randrange(length))
                lost += 1
    return lost


def undo_name(what, arguments, grave):
    if what == "R":
        source, target, buried = arguments
        if os.path.exists(target):
            os.replace(target, source)
        restore(target, grave, buried)
    elif what == "U":
        restore(arguments[0], grave, arguments[1])
    elif os.path.exists(arguments[0]):  # N, L
        os.remove(arguments[0])


def restore(path, grave, buried):
    body = os.path.join(grave, buried)
    if os.path.exists(body) and not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.link(body, path)
