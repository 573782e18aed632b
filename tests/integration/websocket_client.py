"""A WebSocket client on a bare socket, which can also do what no library lets it: half frames, frames without a mask,
lengths that never come."""
import base64
import json
import os
import socket
import struct
import time

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
PATIENCE_S = 60


class Refused(Exception):
    def __init__(self, status, headers, body):
        super().__init__(status, headers, body)
        self.status, self.headers, self.body = status, headers, body


def frame(opcode, payload=b"", final=True, mask=b"abcd", head=None):
    """head: the length bytes to send instead of the true ones."""
    size = len(payload)
    if head is None:
        head = bytes([size | 128]) if size < 126 else b"\xfe" + struct.pack("!H", size) if size < 65536 \
            else b"\xff" + struct.pack("!Q", size)
    if not mask:
        head = bytes([head[0] & 127]) + head[1:]
    body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if mask else payload
    return bytes([opcode | (128 if final else 0)]) + head + (mask or b"") + body


class Client:
    """answers_pings: whether a ping gets its pong while messages are read."""
    def __init__(self, port, path="/v1/stream", subprotocol=None, answers_pings=True, receive_bytes=None, **headers):
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(("127.0.0.1", port))
        self.buffer = b""
        self.answers_pings = answers_pings
        self.pings = 0
        self.closed = None
        fields = {"Host": f"127.0.0.1:{port}", "Upgrade": "websocket", "Connection": "Upgrade",
                  "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode()}
        if subprotocol:
            fields["Sec-WebSocket-Protocol"] = subprotocol
        fields.update({name.replace("_", "-"): value for name, value in headers.items()})
        text = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
        self.socket.sendall(f"GET {path} HTTP/1.1\r\n{text}\r\n".encode())
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        text, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        first, *lines = text.decode().split("\r\n")
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        status = int(first.split()[1])
        if status != 101:
            while len(self.buffer) < int(self.headers.get("content-length", 0)):
                self.fill()
            self.socket.close()
            raise Refused(status, self.headers, self.buffer)

    def fill(self):
        more = self.socket.recv(65536)
        if not more:
            raise EOFError
        self.buffer += more

    def take(self, count):
        while len(self.buffer) < count:
            self.fill()
        part, self.buffer = self.buffer[:count], self.buffer[count:]
        return part

    def read_frame(self):
        first, size = self.take(2)
        assert first & 0x70 == 0 and first & 0x80 and not size & 0x80, (first, size)
        if size == 126:
            size, = struct.unpack("!H", self.take(2))
        elif size == 127:
            size, = struct.unpack("!Q", self.take(8))
        return first & 15, self.take(size)

    def raw(self, data):
        self.socket.sendall(data)

    def send(self, document):
        self.raw(frame(TEXT, document.encode() if isinstance(document, str) else json.dumps(document).encode()))

    def receive(self, timeout=PATIENCE_S):
        """The next message; None: the socket was closed, with the status in `closed`. TimeoutError: nothing came."""
        end = time.monotonic() + timeout
        while self.closed is None:
            self.socket.settimeout(max(end - time.monotonic(), 0.001))
            try:
                opcode, payload = self.read_frame()
            except (EOFError, ConnectionError):
                self.closed = 1006
                break
            if opcode == TEXT:
                return json.loads(payload)
            if opcode == PING:
                self.pings += 1
                if self.answers_pings:
                    self.raw(frame(PONG, payload))
            elif opcode == CLOSE:
                self.closed = struct.unpack("!H", payload[:2])[0] if payload else 1005
                self.reason = payload[2:].decode()
                try:
                    self.raw(frame(CLOSE, payload[:2]))
                except OSError:
                    pass
        return None

    def until_closed(self, timeout=PATIENCE_S):
        """The status that it was closed with."""
        while self.receive(timeout) is not None:
            pass
        return self.closed

    def close(self):
        self.socket.close()
