"""A TCP port in front of a server, which can be cut off or held: nothing passes then, and connections stay open."""
import contextlib
import select
import socket
import threading


class Forwarder(threading.Thread):
    def __init__(self, host, port):
        super().__init__(daemon=True)
        self.to = (host, port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.pairs = {}  # socket -> its other side
        self.cut_off = self.held = self.ended = False
        self.start()

    def run(self):
        while not self.ended:
            with self.lock:
                sockets = [self.listener, *([] if self.held else self.pairs)]
            ready, _, _ = select.select(sockets, [], [], 0.02)
            with self.lock:
                for one in ready:
                    if one is self.listener:
                        self.accept()
                    elif one in self.pairs and not self.held:
                        self.move(one)

    def accept(self):
        client, _ = self.listener.accept()
        if self.cut_off:
            client.close()
            return
        try:
            server = socket.create_connection(self.to, 5)
        except OSError:
            client.close()
            return
        self.pairs.update({client: server, server: client})

    def move(self, one):
        other = self.pairs[one]
        try:
            data = one.recv(65536)
            if data:
                other.sendall(data)
                return
        except OSError:
            pass
        self.close(one, other)

    def close(self, *sockets):
        for one in sockets:
            self.pairs.pop(one, None)
            with contextlib.suppress(OSError):
                one.close()

    def cut(self):
        """Connections end, and new ones are refused."""
        with self.lock:
            self.cut_off = True
            self.close(*list(self.pairs))

    def hold(self):
        with self.lock:
            self.held = True

    def heal(self):
        with self.lock:
            self.cut_off = self.held = False

    def end(self):
        self.ended = True
        self.join()
        self.close(self.listener, *list(self.pairs))
