#!/usr/bin/env python3
"""Clients of GET /v1/stream, each of which follows SKUs of its own, in one process that waits in epoll.
  follow_client.py ADDRESS:PORT CLIENTS SKUS_EACH SECONDS
Says "ready" once all have subscribed, then follows for so long, and prints what came and how long after its command was
appended, which is the `updated_at` of a level. Whatever is no delta is an error, and so is a client that ends."""
import datetime
import json
import os
import selectors
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from websocket_client import Client  # noqa: E402

CREDIT = 1000000
UPDATED = b'"updated_at":"'
EPOCH = datetime.datetime(1970, 1, 1)


def connect(address, first, count):
    client = Client(int(address.rsplit(":", 1)[1]))
    client.send({"op": "subscribe", "id": "f", "topic": "stock", "credit": CREDIT,
                 "filter": {"sku": [f"SKU-{i:08d}" for i in range(first, first + count)]}})
    said = client.receive()
    if not said or said["op"] != "subscribed":
        sys.exit(f"follow_client: a subscription was answered with {said}")
    client.socket.setblocking(False)
    return client


def appended_at(payload):
    """Wall time in ms of the command, or None: this is no delta."""
    at = payload.find(UPDATED)
    if at < 0 or not payload.startswith(b'{"op":"delta"'):
        return None
    text = payload[at + len(UPDATED):at + len(UPDATED) + 23].decode()
    return (datetime.datetime.fromisoformat(text) - EPOCH).total_seconds() * 1000


def payloads(client):
    """Of all frames that have come wholly."""
    buffer, at = client.buffer, 0
    while len(buffer) - at >= 4:
        size, head = buffer[at + 1], 2
        if size == 126:
            size, head = struct.unpack_from("!H", buffer, at + 2)[0], 4
        if len(buffer) - at < head + size:
            break
        yield buffer[at] & 15, buffer[at + head:at + head + size]
        at += head + size
    client.buffer = buffer[at:]


def quantile(values, share):
    return round(values[min(int(len(values) * share), len(values) - 1)], 1) if values else None


def follow(clients, seconds):
    selector, waits_ms, errors, reached = selectors.DefaultSelector(), [], 0, set()
    first_ms = last_ms = 0
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for key, _ in selector.select(end - time.monotonic()):
            client = key.data
            try:
                client.fill()
            except BlockingIOError:
                continue
            except (EOFError, OSError):
                errors += 1
                selector.unregister(client.socket)
                continue
            now_ms = time.time() * 1000
            for opcode, payload in payloads(client):
                sent_ms = appended_at(payload) if opcode == 1 else None
                if sent_ms is not None:
                    waits_ms.append(now_ms - sent_ms)
                    first_ms, last_ms = first_ms or now_ms, now_ms
                    reached.add(client)
                elif opcode != 9:
                    errors += 1
    waits_ms.sort()
    return {"deltas": len(waits_ms), "deltas_per_s": round(len(waits_ms) * 1000 / max(last_ms - first_ms, 1)), "follow_errors": errors,
            "clients_reached": len(reached), **{name: quantile(waits_ms, share) for name, share in (
                ("delivery_p50_ms", 0.5), ("delivery_p99_ms", 0.99), ("delivery_max_ms", 1))}}


def main():
    address, count, each, seconds = sys.argv[1], *map(int, sys.argv[2:5])
    clients = [connect(address, i * each, each) for i in range(count)]
    print("ready", flush=True)
    print(json.dumps(follow(clients, seconds)), flush=True)


if __name__ == "__main__":
    main()
