"""The parts of a Dockerfile that ours has, and its steps carried out in clean trees: what a build by docker would do, where there
is no docker. Anything else in the file is refused."""
import fnmatch
import json
import os
import pathlib
import re
import shlex
import shutil

from clean_tree import run


def instructions(text):
    """(word, rest) of every instruction, in order; comments and continuations are gone."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [tuple(line.strip().split(None, 1)) for line in joined.splitlines() if line.strip()]


def stages(text):
    """name -> (base, its instructions)."""
    found, name = {}, None
    for word, rest in instructions(text):
        if word == "FROM":
            base, _, name = rest.split()
            found[name] = (base, [])
        else:
            found[name][1].append((word, rest))
    return found


class Context:
    """The files that the client would send: those of the tree but what .dockerignore leaves out."""

    def __init__(self, root):
        self.root = root
        self.rules = [(line[1:], True) if line[0] == "!" else (line, False)
                      for line in (root / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]

    def sent(self, path):
        """The last rule that names the path, or a folder above it, decides."""
        parts = path.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        taken = True
        for pattern, takes in self.rules:
            plain = pattern.removeprefix("**/")
            if any(fnmatch.fnmatchcase(place, pattern) or plain != pattern and fnmatch.fnmatchcase(place.split("/")[-1], plain)
                   for place in above):
                taken = takes
        return taken

    def files(self):
        found = []
        for folder, folders, names in os.walk(self.root):
            here = pathlib.Path(folder).relative_to(self.root).as_posix()
            place = "" if here == "." else here + "/"
            folders[:] = [name for name in folders if name != ".git" and self.sent(place + name)]
            found += [place + name for name in names if self.sent(place + name)]
        return found


class Build:
    """Carries out a stage in a tree. `others`: trees of stages that COPY --from names; `arguments`: of ARG."""

    def __init__(self, tree, context, others=None, arguments=None):
        self.tree, self.context, self.others, self.arguments = tree, context, others or {}, arguments or {}
        self.environment, self.directory, self.config, self.user = {}, "/", {}, None
        self.said = []

    def inside(self, path):
        return self.tree.path / str(pathlib.PurePosixPath(self.directory) / path).lstrip("/")

    def run(self, steps):
        """None, or the step that failed and what it said."""
        for word, rest in steps:
            failed = getattr(self, f"step_{word.lower()}")(rest)
            if failed:
                return f"{word} {rest}: {failed}"
        return None

    def step_workdir(self, rest):
        self.directory = rest
        self.inside("").mkdir(parents=True, exist_ok=True)

    def step_arg(self, rest):
        name, _, value = rest.partition("=")
        self.environment[name] = self.arguments.get(name, value)

    def step_run(self, rest):
        done = self.tree.call("sh", "-c", f"cd {shlex.quote(self.directory)} && {rest}", env=self.environment, limit=1800)
        self.said.append(done.stdout)
        return f"{done.stdout[-1500:]}{done.stderr[-1500:]}" if done.returncode else None

    def step_copy(self, rest):
        words = rest.split()
        source = None
        if words[0].startswith("--from="):
            source = self.others[words.pop(0).removeprefix("--from=")].path
        *paths, target = words
        for path in paths:
            into = self.inside(target)
            if source:
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / path.lstrip("/"), into)
                continue
            names = [name for name in self.context.files() if path == "." or name == path or name.startswith(path + "/")]
            if not names:
                return f"{path} is not in the context"
            for name in names:
                is_folder = (self.context.root / path).is_dir()
                relative = name if path == "." else name[len(path) + 1:] if is_folder else pathlib.PurePosixPath(name).name
                place = into / relative if is_folder or target.endswith("/") else into
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.context.root / name, place)
        return None

    def step_label(self, rest):
        self.config["labels"] = dict(part.partition("=")[::2] for part in shlex.split(rest))

    def step_user(self, rest):
        self.config["user"] = rest

    def step_volume(self, rest):
        self.config.setdefault("volumes", []).append(rest)

    def step_expose(self, rest):
        self.config["expose"] = rest

    def step_stopsignal(self, rest):
        self.config["stop"] = rest

    def step_healthcheck(self, rest):
        self.config["health"] = json.loads(rest[rest.index("["):])

    def step_entrypoint(self, rest):
        self.config["entrypoint"] = json.loads(rest)

    def step_cmd(self, rest):
        self.config["cmd"] = json.loads(rest)


def tree_bytes(tree):
    """What the files of a tree take, as an image would have them."""
    listed = run("du", "--summarize", "--bytes", "--one-file-system", tree.path).stdout
    return int(listed.split()[0])
