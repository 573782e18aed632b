"""Makes a group forget static members at once; confluent-kafka's admin client has no call for it."""
import socket
import struct

from verdict import Broken

LEAVE_GROUP, VERSION = 13, 3  # the first version that names members by their group.instance.id
ILLEGAL_GENERATION, UNKNOWN_MEMBER = 22, 25


def string(text):
    return struct.pack(">h", len(text)) + text.encode()


def take(sock, size):
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise Broken("the broker hung up on LeaveGroup")
        data += more
    return data


def forget(kafka, group, instance_ids):
    """The members whose group.instance.id is among these leave, whatever they think."""
    host, port = kafka.rsplit(":", 1)
    members = b"".join(string("") + string(name) for name in instance_ids)
    body = (struct.pack(">hhi", LEAVE_GROUP, VERSION, 1) + string("crash") + string(group)
            + struct.pack(">i", len(instance_ids)) + members)
    with socket.create_connection((host, int(port)), 10) as sock:
        sock.sendall(struct.pack(">i", len(body)) + body)
        answer = take(sock, struct.unpack(">i", take(sock, 4))[0])
    error, = struct.unpack(">h", answer[8:10])
    if error:
        raise Broken(f"LeaveGroup of {instance_ids}: error {error}")
