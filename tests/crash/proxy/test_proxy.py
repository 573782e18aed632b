#!/usr/bin/env python3
"""Framing against bytes written by hand, and every action against a broker of a few lines.
"""
import asyncio
import os
import socket
import struct
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from proxy.frames import Request, error_of, readdressed  # noqa: E402
from proxy.relay import Proxy  # noqa: E402


def text(value):
    return struct.pack(">h", len(value)) + value


def compact(value):
    return bytes([len(value) + 1]) + value


def head(key, version, correlation, client=b"c"):
    return struct.pack(">hhi", key, version, correlation) + text(client)


def end_txn(correlation, commit, transaction=b"t"):
    return head(26, 1, correlation) + text(transaction) + struct.pack(">qhb", 7, 3, commit)


class Frames(unittest.TestCase):
    def test_end_txn(self):
        request = Request(end_txn(9, True, b"app-a-0"))
        self.assertEqual((request.api, request.version, request.correlation, request.client),
                         ("EndTxn", 1, 9, "c"))
        self.assertEqual((request.transaction, request.epoch, request.commit), ("app-a-0", 3, True))
        self.assertIn("EndTxn(commit)", str(request))
        self.assertIs(Request(end_txn(9, False)).commit, False)

    def test_flexible_header_with_tags(self):
        tags = bytes([1, 5, 2]) + b"xy"  # one tag, number 5, two bytes
        frame = head(26, 3, 1) + tags + compact(b"app") + struct.pack(">qhb", 1, 2, 0) + b"\0"
        request = Request(frame)
        self.assertEqual((request.transaction, request.epoch, request.commit), ("app", 2, False))
        self.assertEqual(error_of(request, struct.pack(">i", 1) + b"\0" + struct.pack(">ih", 0, 47) + b"\0"), 47)

    def test_produce_with_and_without_transaction(self):
        self.assertEqual(Request(head(0, 7, 1) + text(b"t") + b"\0\1").transaction, "t")
        self.assertIsNone(Request(head(0, 7, 1) + struct.pack(">h", -1)).transaction)
        self.assertIsNone(Request(head(0, 2, 1) + struct.pack(">h", 1) + b"zzzz").transaction)

    def test_group_and_offset_commit(self):
        self.assertEqual(Request(head(12, 3, 1) + text(b"group")).group, "group")
        request = Request(head(28, 1, 1) + text(b"t") + text(b"g") + struct.pack(">qh", 4, 6))
        self.assertEqual((request.transaction, request.group, request.epoch), ("t", "g", 6))
        self.assertTrue(request.is_of("g") and request.is_of("t") and not request.is_of("x"))

    def test_errors_of_answers(self):
        topics = struct.pack(">ii", 5, 0) + struct.pack(">i", 1) + text(b"topic") + struct.pack(">i", 2) + \
            struct.pack(">ih", 0, 0) + struct.pack(">ih", 1, 51)
        self.assertEqual(error_of(Request(head(24, 1, 5) + text(b"t")), topics), 51)
        produced = struct.pack(">ii", 5, 1) + text(b"topic") + struct.pack(">i", 2) + \
            struct.pack(">ihqqq", 0, 0, 1, 1, 1) + struct.pack(">ihqqq", 1, 47, 1, 1, 1)
        self.assertEqual(error_of(Request(head(0, 7, 5) + text(b"t")), produced), 47)
        self.assertIsNone(error_of(Request(head(3, 1, 5)), b"\0\0\0\5"))
        self.assertIsNone(error_of(Request(end_txn(5, True)), b"\0\0\0\5\0"))

    def test_ports_of_brokers(self):
        def metadata(port):
            return struct.pack(">iiii", 5, 0, 1, 1) + text(b"127.0.0.1") + struct.pack(">ih", port, -1) + b"rest"

        def coordinator(port):
            return struct.pack(">iihhi", 5, 0, 0, -1, 1) + text(b"127.0.0.1") + struct.pack(">i", port)

        for request, answer in ((head(3, 4, 5), metadata), (head(10, 2, 5), coordinator)):
            request = Request(request)
            self.assertEqual(readdressed(request, answer(9092), 9092, 31000), answer(31000))
            self.assertEqual(readdressed(request, answer(9093), 9092, 31000), answer(9093))
        flexible = Request(head(10, 3, 5) + b"\0")
        answer = struct.pack(">ibihbi", 5, 0, 0, 0, 0, 1) + compact(b"127.0.0.1") + struct.pack(">i", 9092)
        self.assertEqual(readdressed(flexible, answer, 9092, 31000)[-4:], struct.pack(">i", 31000))
        self.assertEqual(readdressed(Request(end_txn(5, True)), b"any", 9092, 31000), b"any")

    def test_cut_short_and_unknown(self):
        frame = end_txn(1, True, b"long-transactional-id")
        for size in range(8, len(frame)):
            self.assertEqual(Request(frame[:size]).api, "EndTxn")
        self.assertEqual(Request(head(999, 0, 1)).api, "Api999")

    def test_copy_keeps_all_but_its_number(self):
        copy = Request(Request(end_txn(1, True)).renumbered(77))
        self.assertEqual((copy.correlation, copy.transaction, copy.commit), (77, "t", True))


class Broker:
    """Remembers requests in the order of their arrival and answers EndTxn with success."""

    def __init__(self):
        self.requests = []
        self.arrived = threading.Semaphore(0)
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()
        self.thread = threading.Thread(target=self.serve, args=(ready,), daemon=True)
        self.thread.start()
        ready.wait(10)

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    def serve(self, ready):
        server = self.loop.run_until_complete(asyncio.start_server(self.accept, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self.loop.run_forever()
        server.close()
        self.loop.run_until_complete(asyncio.sleep(0.01))
        self.loop.close()

    async def accept(self, reader, writer):
        try:
            while True:
                size, = struct.unpack(">i", await reader.readexactly(4))
                request = Request(await reader.readexactly(size))
                self.requests.append(request)
                self.arrived.release()
                writer.write(struct.pack(">iiih", 10, request.correlation, 0, 0))
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    def wait(self, count):
        for _ in range(count):
            if not self.arrived.acquire(timeout=10):
                raise TimeoutError(f"the broker has seen {len(self.requests)} requests")


class Relay(unittest.TestCase):
    def setUp(self):
        self.broker = Broker()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.proxy = Proxy(port, self.broker.port).start()
        self.clients = []

    def tearDown(self):
        for client in self.clients:
            client.close()
        self.proxy.stop()
        self.broker.stop()

    def client(self):
        self.clients.append(socket.create_connection(("127.0.0.1", self.proxy.port), 10))
        return self.clients[-1]

    @staticmethod
    def send(client, correlation, commit=True):
        frame = end_txn(correlation, commit)
        client.sendall(struct.pack(">i", len(frame)) + frame)

    @staticmethod
    def receive(client):
        """The correlation id of the next answer; None when the connection ended."""
        data = b""
        while len(data) < 14:
            more = client.recv(14 - len(data))
            if not more:
                return None
            data += more
        return struct.unpack_from(">i", data, 4)[0]

    def numbers(self):
        return [request.correlation for request in self.broker.requests]

    def test_passes_in_order(self):
        client = self.client()
        for number in range(50):
            self.send(client, number)
        self.assertEqual([self.receive(client) for _ in range(50)], list(range(50)))

    def test_hold_keeps_order(self):
        self.proxy.rule("hold", "EndTxn", times=1, seconds=(0.2, 0.2))
        client = self.client()
        self.send(client, 1)
        self.send(client, 2)
        self.assertEqual([self.receive(client), self.receive(client)], [1, 2])

    def test_late_arrives_after_the_hang_up(self):
        self.proxy.rule("late", "EndTxn", times=1, seconds=(0.3, 0.3))
        client = self.client()
        self.send(client, 1)
        self.assertIsNone(self.receive(client))
        again = self.client()
        self.send(again, 2)
        self.assertEqual(self.receive(again), 2)
        self.broker.wait(2)
        self.assertEqual(self.numbers(), [2, 1])
        self.assertEqual(self.proxy.done["late", "EndTxn"], 1)

    def test_lost_arrives_after_the_client_gave_up(self):
        self.proxy.rule("lost", "EndTxn", times=1)
        client = self.client()
        self.send(client, 1)
        self.send(client, 2)
        client.settimeout(0.3)
        self.assertRaises(TimeoutError, client.recv, 1)
        self.assertEqual(self.numbers(), [])
        client.close()
        self.broker.wait(2)
        self.assertEqual(self.numbers(), [1, 2])

    def test_twice_answers_once(self):
        self.proxy.rule("twice", "EndTxn", times=1)
        client = self.client()
        self.send(client, 1)
        self.send(client, 2)
        self.assertEqual([self.receive(client), self.receive(client)], [1, 2])
        self.assertEqual(len(self.broker.requests), 3)

    def test_mute_is_done_but_not_told(self):
        self.proxy.rule("mute", "EndTxn", times=1)
        client = self.client()
        self.send(client, 1)
        self.assertIsNone(self.receive(client))
        self.assertEqual(self.numbers(), [1])

    def test_reset_is_not_done(self):
        self.proxy.rule("reset", "EndTxn", times=1)
        client = self.client()
        self.send(client, 1)
        self.assertRaises(ConnectionResetError, client.recv, 1)
        self.assertEqual(self.numbers(), [])

    def test_hole_and_slow_pass_in_the_end(self):
        self.proxy.rule("hole", "EndTxn", times=1, seconds=(0.2, 0.2))
        self.proxy.rule("slow", "EndTxn", times=1, seconds=(0.5, 0.5))
        client = self.client()
        self.send(client, 1)
        self.send(client, 2)
        self.assertEqual([self.receive(client), self.receive(client)], [1, 2])

    def test_parked_waits_for_the_test(self):
        rule = self.proxy.rule("park", "EndTxn", times=2, when=lambda request: request.commit)
        client = self.client()
        self.send(client, 1, commit=False)
        self.assertEqual(self.receive(client), 1)
        self.send(client, 2)
        self.assertEqual(rule.wait(10).go(), "taken")
        self.assertEqual(self.receive(client), 2)
        self.send(client, 3)
        parked = rule.wait(10)
        parked.hang_up()
        self.assertIsNone(self.receive(client))
        self.assertEqual(self.numbers(), [1, 2])
        self.assertEqual(parked.deliver(), "taken")
        self.assertEqual(self.numbers(), [1, 2, 3])
        self.assertEqual(self.proxy.late["EndTxn", "taken"], 1)

    def test_rules_choose(self):
        self.proxy.rule("reset", "EndTxn", who="somebody else")
        self.proxy.rule("reset", "Produce")
        self.proxy.rule("reset", "EndTxn", chance=0)
        self.proxy.rule("mute", "EndTxn", skip=1, times=1)
        client = self.client()
        self.send(client, 1)
        self.assertEqual(self.receive(client), 1)
        self.send(client, 2)
        self.assertIsNone(self.receive(client))
        self.proxy.calm()
        self.assertRaises(ValueError, self.proxy.rule, "no such action", "EndTxn")


if __name__ == "__main__":
    unittest.main()
