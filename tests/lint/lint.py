#!/usr/bin/env python3
"""Checks what compilers and clang-format do not: which folder may include what, names and where
they are visible, sizes, banned calls, dead files. `lint.py [LIBTALLY.a]`; without the library the
visibility of symbols is not checked. Prints file:line: what is wrong [rule], then a line like that
of a check program."""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.chdir(ROOT)
PRODUCT = ["engine", "state", "schemas", "topologies", "connectors", "http", "apps"]

# Which of our headers a file may include, as patterns of their path; the longest key that the file's
# path starts with counts.
BASE = "engine/base/"
INCLUDES = {
    "engine/base": [BASE],
    "schemas": [BASE, "schemas/"],
    "state": [BASE, "state/"],
    "engine": [BASE, r"engine/[^/]*$", "state/store.h", "state/key_schema.h", "schemas/serde.h",
               "schemas/envelope.h", "schemas/operation.h"],
    "topologies": ["engine/tally.h", "schemas/", "topologies/"],
    "topologies/registry": ["engine/tally.h", "engine/topology.h", "topologies/"],
    "connectors": [BASE, r"engine/(client|sink|sink_control|read_model|limiter|forward)\.h", "schemas/", "connectors/"],
    "http": [BASE, r"engine/(client|query|read_model|runtime|limiter|forward)\.h", "schemas/", "http/"],
    "apps": [""],
    "tests": [""],
}
# Headers of libraries, by the folder that may know them; apps may know none, tests all.
FOREIGN = {
    r"pthread\.h|yaml\.h": "engine/base",
    r"yajl/|xxhash\.h": "schemas",
    r"rocksdb/": "state",
    r"librdkafka/|libpq-fe\.h|hiredis/|curl/": "connectors",
    r"civetweb\.h|openssl/|jwt\.h|jansson\.h": "http",
}
LIBC = (r"(sys|arpa|net|netinet|linux|sanitizer)/|(assert|ctype|dirent|errno|fcntl|ftw|getopt|inttypes|"
        r"limits|link|math|netdb|nmmintrin|poll|regex|sched|signal|stdarg|stdatomic|stdbool|stddef|"
        r"stdint|stdio|stdlib|string|strings|termios|time|unistd)\.h$")
BANNED = "strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|atoll|strtok|time|setjmp|longjmp"
ALLOCATORS = "malloc|calloc|realloc|strdup|strndup|asprintf|vasprintf"
# Whoever calls one of these gets memory of malloc, and may free it.
GIVERS = r"\b(getline|getdelim|realpath|open_memstream|jwt_get_(grants|headers)_json)\s*\("
FAILPOINTS = pathlib.Path("engine/base/failpoint.def")
FAILPOINT_READERS = ["engine/base/config_env.c", "apps/cli.c", "apps/cmd_failpoints.c", "apps/reference.c"]
COLUMNS, FUNCTION_LINES, FILE_LINES = 100, 70, 800

findings = []


def report(rule, path, line, text):
    findings.append(rule)
    print(f"{path}:{line}: {text} [{rule}]")


def blank(text):
    """The text with comments, strings and characters blanked out; lines stay where they are."""
    token = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)

    def spaces(match):
        start = match.group()
        if start[0] == '"' and match.string[:match.start()].endswith("#include "):
            return start
        return re.sub(r"[^\n]", " ", start)
    return token.sub(spaces, text)


def files_below(folders, *suffixes):
    for folder in folders:
        for path in sorted(pathlib.Path(folder).rglob("*")):
            if path.suffix in suffixes and path.is_file():
                yield path


def check_includes(path, code):
    name = path.as_posix()
    key = max((key for key in INCLUDES if name.startswith(key)), key=len)
    for number, line in enumerate(code.splitlines(), 1):
        ours = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if ours:
            if not any(re.match(allowed, ours[1]) for allowed in INCLUDES[key]):
                report("includes", path, number, f'{key} may not include "{ours[1]}"')
            elif not pathlib.Path(ours[1]).is_file():
                report("includes", path, number, f'"{ours[1]}" is no path from the root')
            continue
        theirs = re.match(r"\s*#\s*include\s+<([^>]+)>", line)
        if theirs and key != "tests" and not re.match(LIBC, theirs[1]):
            knows = [folder for pattern, folder in FOREIGN.items() if re.match(pattern, theirs[1])]
            if not any(name.startswith(folder) for folder in knows):
                report("includes", path, number, f"<{theirs[1]}> may be known in "
                       f"{', '.join(knows) or 'no folder: see the table of libraries'}")


def check_sizes(path, text, code):
    lines = text.splitlines()
    if len(lines) > FILE_LINES:
        report("sizes", path, FILE_LINES + 1, f"{len(lines)} lines, at most {FILE_LINES}: two jobs?")
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS:
            report("sizes", path, number, f"{len(line)} columns, at most {COLUMNS}")
        if "\t" in line:
            report("sizes", path, number, "a tab")
    start = None
    for number, line in enumerate(code.splitlines(), 1):
        if line == "{":
            start = number
        elif line.startswith("}") and start:
            if number - start + 1 > FUNCTION_LINES:
                report("sizes", path, start,
                       f"a function of {number - start + 1} lines, at most {FUNCTION_LINES}")
            start = None


def check_calls(path, code):
    banned = BANNED
    if path.parts[0] in PRODUCT and path.as_posix() != "engine/base/mem.c":
        banned += "|" + ALLOCATORS + ("" if re.search(GIVERS, code) else "|free")
    for number, line in enumerate(code.splitlines(), 1):
        for call in re.finditer(rf"(?<![\w.>])({banned})\s*\(", line):
            report("calls", path, number, f"{call[1]} is banned")
        jump = re.search(r"\bgoto\s+(\w+)", line)
        if jump and jump[1] != "out":
            report("calls", path, number, f'goto "{jump[1]}": the only label is "out"')


def check_head(path, text):
    names = rf"({re.escape(path.as_posix())}|{re.escape(path.name)})"
    if not re.match(rf"/\* {names} - \w", text):
        report("heads", path, 1, f'starts with no "/* {path} - what it is for"')
    if path.suffix == ".h" and "#pragma once" not in text:
        report("heads", path, 1, 'no "#pragma once"')


def check_unfinished(path, text):
    for number, line in enumerate(text.splitlines(), 1):
        word = re.search(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b", line)
        if word:
            report("unfinished", path, number, word[1])


FAILPOINT_ROW = r'^X\((\w+),\s*"([^"]+)",\s*(FAILS|NEVER),\s*"([^"]+)",\s*"([^"]+)"\)$'
FAILPOINT_USE = r"\bTALLY_FAILPOINT(|_FAILS|_CODE|_PLANNED)\((\w+)"


def check_failpoints(table, sources):
    """The table against the sources. Returns the names, and the files that have one."""
    rows = {}
    for number, line in enumerate(table.read_text().splitlines(), 1):
        if not line.startswith("X("):
            continue
        row = re.match(FAILPOINT_ROW, line)
        if not row:
            report("failpoints", table, number, "not a row of five columns")
        elif row[1] != row[2].upper().replace(".", "_"):
            report("failpoints", table, number, f'"{row[2]}" is not the name of {row[1]}')
        elif " | " not in row[5]:
            report("failpoints", table, number, "what it is between has no \" | \"")
        else:
            rows[row[1]] = (number, row[3] == "FAILS", row[4])
    used = {}
    for path in sources:
        if path.parent == table.parent or path.suffix == ".def":
            continue
        for number, line in enumerate(blank(path.read_text()).splitlines(), 1):
            for form, site in re.findall(FAILPOINT_USE, line):
                if site not in rows:
                    report("failpoints", path, number, f"{site} is not in {table}")
                elif form != "_PLANNED":
                    used.setdefault(site, []).append(path)
                    if (form != "") != rows[site][1]:
                        report("failpoints", path, number, f"{site}: the table says otherwise about "
                               "whether a call can fail there")
    for site, (number, _, file) in rows.items():
        places = [path.as_posix() for path in used.get(site, [])]
        if places != [file]:
            report("failpoints", table, number, f"{site} is to stand once, in {file}: it stands in "
                   f"{', '.join(places) or 'no file'}")
    return sorted({path for places in used.values() for path in places} | {table.with_suffix(".c")})


def check_release(table, users):
    """Compiled without TALLY_CHECKS, the files with failpoints have nothing of them."""
    names = [name for _, name in re.findall(r'^X\((\w+),\s*"([^"]+)"', table.read_text(), re.M)]
    with tempfile.TemporaryDirectory() as folder:
        def compile_one(path):
            made = pathlib.Path(folder, path.stem + ".o")
            done = subprocess.run(["gcc", "-std=c11", "-D_GNU_SOURCE", "-I.", "-isystem", "/usr/include/yajl",
                                   "-isystem", "/usr/include/postgresql",
                                   "-O1", "-c", path, "-o", made],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                return path, done.stderr.splitlines()[:1]
            symbols = subprocess.run(["nm", made], check=True, text=True, capture_output=True).stdout
            text = made.read_bytes()
            return path, (re.findall(r"\w*failpoint\w*", symbols.replace("cmd_failpoints", "")
                                     .replace("print_failpoints", "").replace("reference_failpoints", ""))
                          + [name for name in names if name.encode() + b"\0" in text])
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for path, found in pool.map(compile_one, users):
                for what in found:
                    report("failpoints", path, 1, f'a build without checks has "{what}"')


def check_tree(sources, included):
    seen = {}
    for path in sources:
        if path.suffix == ".c":
            if path.name in seen:
                report("tree", path, 1, f"another file of this name: {seen[path.name]}")
            seen[path.name] = path
        if path.suffix in (".h", ".def") and path.as_posix() not in included:
            report("tree", path, 1, "nobody includes it")
    for folder in sorted({path.parent for path in sources}):
        if not (folder / "README.md").is_file():
            report("tree", folder, 1, "the folder has no README.md")


def symbols_of(library):
    """(object, symbol) of everything that the library shows to other files."""
    member = ""
    for line in subprocess.run(["nm", "-g", "--defined-only", library], check=True, text=True,
                               capture_output=True).stdout.splitlines():
        if line.endswith(".o:"):
            member = line[:-len(".c.o:")]
        elif line:
            yield member, line.split()[-1]


def check_visibility(library, sources):
    by_stem = {path.stem: path for path in sources if path.suffix == ".c"}
    words = {path: set(re.findall(r"\w+", blank(path.read_text())))
             for path in sources if path.suffix == ".h"}
    for stem, symbol in symbols_of(library):
        path = by_stem.get(stem)
        if not path:
            continue
        declared = [header for header, known in words.items() if symbol in known]
        near = [header for header in declared if header.parent == path.parent]
        if not declared:
            report("visibility", path, 1, f'"{symbol}" is in no header: static, or declared')
        elif symbol.startswith("tally_"):
            if all(header.stem.endswith("_internal") for header in declared):
                report("visibility", path, 1, f'"{symbol}" is named as public but internal')
        elif not near:
            report("visibility", path, 1, f'"{symbol}" is declared in another folder: {declared[0]}')
        else:
            # stream_task_reply.c is a part of stream_task.c; of a topology or a record family, any.
            families = {other for other in by_stem
                        if (stem + "_").startswith(other + "_") and by_stem[other].parent == path.parent}
            if path.parts[0] in ("topologies", "schemas"):
                families |= {stem.split("_")[0], path.parent.name}
                families |= {header.stem.split("_")[0] for header in near}
            if not any(symbol == name or symbol.startswith(name + "_") for name in families):
                report("visibility", path, 1, f'"{symbol}" does not start with the name of its file')


def main():
    library = sys.argv[1] if len(sys.argv) > 1 else None
    rules = ["includes", "sizes", "calls", "heads", "unfinished", "tree", "failpoints"]
    sources = list(files_below(PRODUCT, ".c", ".h", ".def"))
    included = set()
    for path in [*sources, *files_below(["tests"], ".c", ".h")]:
        text = path.read_text()
        code = blank(text)
        included |= set(re.findall(r'#\s*include\s+"([^"]+)"', text))
        check_head(path, text)
        check_unfinished(path, text)
        if path.suffix != ".def":  # a table has one row per entry, however long
            check_includes(path, code)
            check_sizes(path, text, code)
            check_calls(path, code)
    check_tree(sources, included)
    users = check_failpoints(FAILPOINTS, sources)
    check_release(FAILPOINTS, users + [pathlib.Path(path) for path in FAILPOINT_READERS])
    for path in [pathlib.Path("dev"), *files_below(["tools", "cmake", "tests"], ".sh", ".py", ".cmake")]:
        check_unfinished(path, path.read_text())
    if library:
        rules.append("visibility")
        check_visibility(library, sources)
    failed = sum(rule in findings for rule in rules)
    print(f"{100 * (len(rules) - failed) // len(rules)}%: Checks: {len(rules)}, "
          f"Failures: {failed}, Errors: 0")
    return 1 if findings else 0


sys.exit(main())
