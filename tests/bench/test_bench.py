#!/usr/bin/env python3
"""What the benchmarks refuse, and what the page says of it; needs no servers and measures nothing.
`test_bench.py [PROGRAM]`: a build with checks, which must be refused."""
import contextlib
import http.server
import io
import json
import os
import stat
import subprocess
import sys
import tempfile
import threading
import types
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "crash")]
import build  # noqa: E402
import follow_client  # noqa: E402
import goals  # noqa: E402
import page  # noqa: E402
import plan  # noqa: E402
import plot  # noqa: E402
from figures import Dirty, Turns, Unusable, ratio, summary  # noqa: E402
from sides import Peer, Tally, check_count  # noqa: E402

PROGRAM = sys.argv.pop(1) if len(sys.argv) > 1 else None


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def script(self, name, *lines):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write("\n".join(["#!/bin/sh", *lines, ""]))
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
        return path

    def bench(self, *arguments):
        return subprocess.run([sys.executable, os.path.join(HERE, "bench"), *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False, timeout=60)


class Builds(Folder):
    def test_release_build_is_measured(self):
        self.assertEqual(build.check(self.script("tally", "echo 'tally 0.1.0 (abc123-dirty)'")), "abc123-dirty")

    def test_debug_build_is_refused_and_prints_nothing(self):
        program = PROGRAM or self.script("tally", "echo 'tally 0.1.0 (abc123), built with checks, failpoints'")
        done = self.bench("stream", "--tally", program)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, "is a debug build .it has checks, failpoints.*build release")

    def test_build_without_a_profile_is_refused(self):
        program = self.script("tally", "echo 'tally 0.1.0 (abc123), built with no profile'")
        with self.assertRaisesRegex(Unusable, "not what is shipped .it has no profile.*build release"):
            build.check(program)

    def test_program_that_does_not_say_what_it_is(self):
        with self.assertRaisesRegex(Unusable, "does not say what it is"):
            build.check(self.script("tally", "echo 'tally 0.1.0'"))

    def test_missing_program(self):
        done = self.bench("idle", "--tally", os.path.join(self.folder, "none"))
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("none is missing", done.stderr)


class Metrics(http.server.BaseHTTPRequestHandler):
    text = ""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.text.encode())

    def log_message(self, *_):
        pass


class DirtyTopics(unittest.TestCase):
    def outcomes(self, **counts):
        """A tally whose metrics count these outcomes."""
        Metrics.text = "".join(f'tally_commands_total{{topology="stock",outcome="{name}"}} {value}\n'
                               for name, value in counts.items())
        server = http.server.HTTPServer(("127.0.0.1", 0), Metrics)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        tally = Tally.__new__(Tally)
        tally.address = f"127.0.0.1:{server.server_port}"
        return tally

    def test_one_event_for_each_command(self):
        self.outcomes(accepted=10, rejected=0, duplicate=0).check_work(10)

    def test_repeats_and_refusals_are_not_the_same_work(self):
        for counts in ({"accepted": 9, "duplicate": 1}, {"accepted": 9, "rejected": 1}, {"accepted": 9},
                       {"accepted": 11}, {"accepted": 10, "reused": 1}, {}):
            with self.assertRaisesRegex(Dirty, "dirty topic"):
                self.outcomes(**counts).check_work(10)

    def test_records_too_many_or_too_few(self):
        check_count("t", 10, 10)
        for found in (0, 9, 11):
            with self.assertRaisesRegex(Dirty, f"dirty topic: t holds {found} records, not 10"):
                check_count("t", found, 10)


class References(Folder):
    def peer(self, *lines):
        peer = Peer.__new__(Peer)
        peer.log, peer.program = os.path.join(self.folder, "log"), self.script("run", *lines)
        with open(peer.log, "w") as log:
            process = subprocess.Popen([peer.program], stdout=subprocess.PIPE, stderr=log, text=True)
        return peer, process

    def test_missing_peer_is_refused_before_anything_is_measured(self):
        class Setup:
            folder = self.folder
            options = type("Options", (), {"peer": os.path.join(self.folder, "nowhere")})

        with self.assertRaisesRegex(Unusable, "nowhere/run is missing; --no-peer"):
            Peer(Setup)

    def test_peer_that_fails_says_why(self):
        peer, process = self.peer("echo out of heap >&2", "exit 3")
        with self.assertRaisesRegex(Unusable, "the peer ended with 3:\nout of heap"):
            peer.result(process)

    def test_peer_that_prints_nothing_has_failed(self):
        peer, process = self.peer("exit 0")
        with self.assertRaises(Unusable):
            peer.result(process)

    def test_failed_reference_is_void_and_the_others_go_on(self):
        turns = Turns()

        def fail():
            raise Unusable("it broke")

        with contextlib.redirect_stderr(io.StringIO()):
            turns.take("peer", 1, lambda: {"per_s": 1})
            turns.take("tally", 1, lambda: {"per_s": 4})
            turns.take("peer", 2, fail)
            turns.take("peer", 3, lambda: {"per_s": 1})
        self.assertEqual(turns.void, {"peer": "it broke"})
        self.assertEqual(list(turns.summary()), ["tally"])

    def test_tally_failing_or_a_dirty_topic_ends_the_suite(self):
        for side, error in (("tally", Unusable("x")), ("peer", Dirty("x")), ("raw", Dirty("x"))):
            def fail():
                raise error

            with self.assertRaises(Unusable):
                Turns().take(side, 1, fail)


class Figures(unittest.TestCase):
    def test_medians_and_ranges(self):
        sides = [summary([{"per_s": value, "rss_over_time": {}} for value in values])
                 for values in ((300, 100, 200), (50, 60, 40))]
        self.assertEqual(sides[0]["per_s"], {"median": 200, "range": [100, 300]})
        self.assertEqual(ratio(*sides, "per_s"), 4)

    def test_the_plan_is_shorter_without_the_peer(self):
        class Options:
            records, runs, seconds, filled_rows, case, quick, no_peer = 1000000, 3, 10, 1000000, "all", False, False

        with_peer = [seconds(Options) for seconds in plan.SECONDS.values()]
        Options.no_peer = True
        self.assertTrue(all(1 < less <= more for less, more in
                            zip((seconds(Options) for seconds in plan.SECONDS.values()), with_peer)))


class Pages(Folder):
    def document(self, name, **more):
        side = {"per_s": {"median": 400, "range": [300, 500]}, "cpu_us": {"median": 2, "range": [2, 2]},
                "rss_mb": {"median": 300, "range": [290, 310]},
                "runs": [{"rss_over_time": {"every_s": 0.5, "mb": [10, 300]}}] * 3}
        document = {"suite": name.split("-")[0], "commit": "abc", "date": "2026-01-01 00:00Z", "cores": 2, "cpu": "x",
                    "kernel": "6", "load_average": 0.1, "quick": False, "broker": {"version": "4.1.0"},
                    "load": {"records": 10, "bytes": 126, "skus": 5, "partitions": 4, "threads": 2, "keys": "zipf0.99"},
                    "tally": side, "ratio": {}, "missing": [], "void": {}, **more}
        with open(os.path.join(self.folder, f"{name}.json"), "w") as file:
            json.dump(document, file)
        return side

    def write(self):
        docs = os.path.join(self.folder, "docs")
        os.makedirs(docs, exist_ok=True)
        path = os.path.join(docs, "performance.md")
        if not os.path.exists(path):
            with open(path, "w") as file:
                file.write(f"# by hand\n{page.BEGIN}\nFORMER\n{page.END}\nend by hand\n")
        with contextlib.redirect_stderr(io.StringIO()):
            page.write(self.folder, docs)
        with open(path) as file:
            return file.read()

    def test_what_is_met_lost_and_not_measured(self):
        self.document("stream-full", ratio={"peer": {"per_s": 4.5, "cpu_us": 0.3}, "raw": {"per_s": 0.05}})
        text = self.write()
        self.assertIn("÷ Kafka Streams `full` | 4.5 × | ≥ 4 × | ≥ 6 × | yes |", text)
        self.assertIn("CPU per command ÷ Kafka Streams `full` | 0.3 | ≤ 0.25 | ≤ 0.167 | **no** |", text)
        self.assertIn("peak memory under that load | 300 MiB | ≤ 256 MiB | ≤ 160 MiB | **no** |", text)
        self.assertIn("idle: memory |  | ≤ 32 MiB | ≤ 20 MiB | not measured |", text)
        self.assertTrue(text.startswith("# by hand\n") and text.endswith("\nend by hand\n") and "FORMER" not in text)
        self.assertEqual(self.write(), text)
        with open(os.path.join(self.folder, "docs", "performance", "throughput.svg")) as file:
            self.assertIn("400", file.read())

    def test_every_side_of_the_page_has_a_name(self):
        for name, _, sides, _ in page.DETAILS:
            for side in sides:
                self.assertIn(side, page.SIDES, name)

    def test_one_of_two_goals_is_enough(self):
        self.document("restore", ratio={"raw": {"per_s": 0.5}})
        text = self.write()
        self.assertIn("no, but the other is enough", text)

    def test_void_suite_has_no_figures(self):
        self.document("idle", void={"suite": "tally run ended:\nlog"})
        text = self.write()
        self.assertIn("- idle: suite is void: tally run ended:\n", text)
        self.assertNotIn("300 MiB", text)

    def test_what_says_nothing_is_told(self):
        self.document("idle", quick=True, load_average=7.5)
        self.document("filled", filled_rows=10000000, ratio={"empty": {"warm_per_s": 0.9}})
        text = self.write()
        self.assertIn("- smoke runs, which say nothing: idle\n- the machine had other work: idle\n", text)
        self.assertIn("0.9 at 10 M rows | ≥ 0.6 | ≥ 0.8 | measured with too few rows |", text)
        self.assertIn("idle: memory | 300 MiB | ≤ 32 MiB | ≤ 20 MiB | a smoke run |", text)

    def test_instructions_beside_what_was_timed_and_alone(self):
        for timed in (True, False):
            if timed:
                self.document("idle")
            else:
                os.remove(os.path.join(self.folder, "idle.json"))
            with open(os.path.join(self.folder, "instructions.json"), "w") as file:
                json.dump({"suite": "instructions", "commit": "abc", "parts": {"decode": 25.0, "total": 100.0}}, file)
            text = self.write()
            self.assertIn("| decode | 25 | 25 % |", text)
            self.assertEqual("## Conditions" in text, timed)

    def test_missing_peer_is_told(self):
        self.document("stream-full", missing=["peer"])
        self.assertIn("measured without the peer, so without a ratio to it", self.write())

    def test_nothing_measured(self):
        done = self.bench("report", "--results", os.path.join(self.folder, "none"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("nothing was measured yet", done.stderr)

    def test_goals_name_documents_and_each_other(self):
        whats = [goal.what for goal in goals.TABLE]
        self.assertEqual(len(set(whats)), len(whats))
        known = {name for name, *_ in page.DETAILS}
        for goal in goals.TABLE:
            self.assertIn(goal.document, known)
            self.assertTrue(not goal.instead or goal.instead in whats)
            self.assertTrue(goal.limit.holds(goal.aim.value), goal.what)


class Followers(unittest.TestCase):
    """Frames as they come: in pieces, several at once, short and long."""

    def test_frames_are_taken_whole(self):
        texts = [b"{}", b"x" * 125, b"y" * 126, b"z" * 60000, b""]
        data = b"".join(bytes([0x81, len(text)]) + text if len(text) < 126 else b"\x81\x7e" + len(text).to_bytes(2, "big") + text
                        for text in texts) + b"\x89\x02hi\x81\x00"
        for step in (1, 7, 100000):
            client, found = types.SimpleNamespace(buffer=b""), []
            for at in range(0, len(data) if step > 1 else 400, step):
                client.buffer += data[at:at + step]
                found += follow_client.payloads(client)
            if step > 1:
                self.assertEqual(found[:len(texts)], [(1, text) for text in texts])
            else:
                self.assertEqual(found, [(1, text) for text in texts[:3]])

    def test_only_deltas_have_a_time(self):
        body = b'"id":"f","position":"p","conflated":false,"data":{"sku":"A","updated_at":"1970-01-01T00:00:01.500Z"}}'
        self.assertEqual(follow_client.appended_at(b'{"op":"delta",' + body), 1500)
        self.assertIsNone(follow_client.appended_at(b'{"op":"error",' + body))
        self.assertIsNone(follow_client.appended_at(b'{"op":"delta"}'))

    def test_quantiles_of_few(self):
        self.assertIsNone(follow_client.quantile([], 0.5))
        self.assertEqual([follow_client.quantile([1, 2, 3, 4], share) for share in (0, 0.5, 0.99, 1)], [1, 3, 4, 4])


class Plots(unittest.TestCase):
    def test_numbers_have_three_digits(self):
        self.assertEqual([plot.number(value) for value in (179432, 2.6789e6, 0.16666, 12, 0)],
                         ["179 k", "2.68 M", "0.167", "12", "0"])

    def test_lines_of_one_point_and_of_zeros(self):
        for points in ([(0, 0)], [(0, 0), (1, 0)], [(0, 5), (1, 50)]):
            for log in (False, True):
                self.assertIn("</svg>", plot.lines("t", {"tally": points}, "x", "y", log=log))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
