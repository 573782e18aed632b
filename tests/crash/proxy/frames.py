"""Requests and responses of Kafka's protocol as far as faults need them: headers, the names by which
a fault chooses a request (transactional id, client id, group), the error of an answer, and the ports
of brokers in it.

A frame is int32 size, then that many bytes. Field layouts: https://kafka.apache.org/protocol
"""
import struct

#        key  name                  first flexible version
APIS = ((0, "Produce", 9), (1, "Fetch", 12), (2, "ListOffsets", 6), (3, "Metadata", 9), (8, "OffsetCommit", 8),
        (9, "OffsetFetch", 6), (10, "FindCoordinator", 3), (11, "JoinGroup", 6), (12, "Heartbeat", 4),
        (13, "LeaveGroup", 4), (14, "SyncGroup", 4), (18, "ApiVersions", 3), (22, "InitProducerId", 2),
        (24, "AddPartitionsToTxn", 3), (25, "AddOffsetsToTxn", 3), (26, "EndTxn", 3), (28, "TxnOffsetCommit", 3))
NAMES = {key: name for key, name, _ in APIS}
FLEXIBLE = {name: version for _, name, version in APIS}
TRANSACTIONAL = ("Produce", "InitProducerId", "AddPartitionsToTxn", "AddOffsetsToTxn", "EndTxn", "TxnOffsetCommit")
GROUP = ("Heartbeat", "JoinGroup", "SyncGroup", "LeaveGroup")


class Cursor:
    """Reads fields one after the other; struct.error or IndexError where the bytes end."""

    def __init__(self, data, at, flexible):
        self.data, self.at, self.flexible = data, at, flexible

    def fixed(self, form):
        value, = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def int16(self):
        return self.fixed(">h")

    def int32(self):
        return self.fixed(">i")

    def int64(self):
        return self.fixed(">q")

    def varint(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def length(self, form):
        """Of a string or an array; -1: null."""
        return self.varint() - 1 if self.flexible else self.fixed(form)

    def string(self):
        size = self.length(">h")
        if size < 0:
            return None
        if self.at + size > len(self.data):
            raise IndexError("string longer than its frame")
        text = bytes(self.data[self.at:self.at + size]).decode("utf-8", "replace")
        self.at += size
        return text

    def count(self):
        return max(0, self.length(">i"))

    def tags(self):
        if self.flexible:
            for _ in range(self.varint()):
                self.varint()
                size = self.varint()
                self.at += size


class Request:
    """What is known of one request. Fields that the API does not have are None."""

    def __init__(self, frame):
        """frame: without its size."""
        self.frame = frame
        key, self.version, self.correlation = struct.unpack_from(">hhi", frame)
        self.api = NAMES.get(key, f"Api{key}")
        self.transaction = self.group = self.commit = self.epoch = self.client = None
        try:
            self.decode(Cursor(frame, 8, False))
        except (struct.error, IndexError):
            pass  # a newer version with other fields: passes through unseen

    def decode(self, cursor):
        self.client = cursor.string()  # never compact, even in flexible headers
        cursor.flexible = self.version >= FLEXIBLE.get(self.api, 1 << 15)
        cursor.tags()
        if self.api in TRANSACTIONAL and (self.api != "Produce" or self.version >= 3):
            self.transaction = cursor.string()
        if self.api == "EndTxn":
            cursor.int64()
            self.epoch = cursor.int16()
            self.commit = bool(cursor.fixed("b"))
        elif self.api in ("AddPartitionsToTxn", "AddOffsetsToTxn"):
            cursor.int64()
            self.epoch = cursor.int16()
        elif self.api == "TxnOffsetCommit":
            self.group = cursor.string()
            cursor.int64()
            self.epoch = cursor.int16()
        elif self.api in GROUP:
            self.group = cursor.string()

    def is_of(self, who):
        return any(who in name for name in (self.client, self.transaction, self.group) if name)

    def renumbered(self, correlation):
        """The same request with another correlation id."""
        return self.frame[:4] + struct.pack(">i", correlation) + self.frame[8:]

    def __str__(self):
        facts = [f"v{self.version}", self.client, self.transaction, self.epoch is not None and f"epoch {self.epoch}"]
        what = {None: self.api, True: "EndTxn(commit)", False: "EndTxn(abort)"}[self.commit]
        return f"{what} {' '.join(fact for fact in facts if fact)}"


REQUEST_AT, ANSWER_AT = 4, 0  # where the correlation id stands


def correlation_of(frame, at):
    return struct.unpack_from(">i", frame, at)[0]


def error_of(request, response):
    """The first error code in the answer to a request; 0: none; None: not looked for in this API."""
    cursor = Cursor(response, 4, request.version >= FLEXIBLE.get(request.api, 1 << 15))
    try:
        cursor.tags()
        return _error(request, cursor)
    except (struct.error, IndexError):
        return None


def _error(request, cursor):
    if request.api in ("EndTxn", "AddOffsetsToTxn", "InitProducerId"):
        cursor.int32()  # throttle
        return cursor.int16()
    if request.api in ("Heartbeat", "JoinGroup", "SyncGroup"):
        if request.version >= (2 if request.api == "JoinGroup" else 1):
            cursor.int32()
        return cursor.int16()
    if request.api in ("TxnOffsetCommit", "AddPartitionsToTxn"):
        cursor.int32()
        return _first_error(cursor, 0)
    if request.api == "Produce" and request.version < 8:
        return _first_error(cursor, {0: 8, 1: 8}.get(request.version, 24 if request.version >= 5 else 16))
    return None


def _first_error(cursor, rest):
    """Topics of partitions of an index, an error and `rest` bytes more."""
    for _ in range(cursor.count()):
        cursor.string()
        for _ in range(cursor.count()):
            cursor.int32()
            error = cursor.int16()
            if error:
                return error
            cursor.at += rest
            cursor.tags()
        cursor.tags()
    return 0


def readdressed(request, response, port, other):
    """An answer that names brokers, with `other` in the place of their port."""
    places = []
    if request.api in ("Metadata", "FindCoordinator"):
        cursor = Cursor(response, 4, request.version >= FLEXIBLE[request.api])
        try:
            cursor.tags()
            _find_ports(request, cursor, places)
        except (struct.error, IndexError):
            pass
    changed = bytearray(response) if places else response
    for at in places:
        if struct.unpack_from(">i", response, at)[0] == port:
            struct.pack_into(">i", changed, at, other)
    return changed


def _find_ports(request, cursor, places):
    def broker():
        cursor.int32()  # node
        cursor.string()
        places.append(cursor.at)
        cursor.int32()

    if request.api == "Metadata":
        if request.version >= 3:
            cursor.int32()  # throttle
        for _ in range(cursor.count()):
            broker()
            if request.version >= 1:
                cursor.string()  # rack
            cursor.tags()
    elif request.version < 4:
        if request.version >= 1:
            cursor.int32()
        cursor.int16()
        if request.version >= 1:
            cursor.string()
        broker()


ERRORS = {0: "taken", 15: "COORDINATOR_NOT_AVAILABLE", 16: "NOT_COORDINATOR", 22: "ILLEGAL_GENERATION",
          25: "UNKNOWN_MEMBER_ID", 27: "REBALANCE_IN_PROGRESS", 45: "OUT_OF_ORDER_SEQUENCE_NUMBER",
          46: "DUPLICATE_SEQUENCE_NUMBER", 47: "INVALID_PRODUCER_EPOCH", 48: "INVALID_TXN_STATE",
          49: "INVALID_PRODUCER_ID_MAPPING", 51: "CONCURRENT_TRANSACTIONS", 59: "UNKNOWN_PRODUCER_ID",
          82: "FENCED_INSTANCE_ID", 90: "PRODUCER_FENCED", 120: "TRANSACTION_ABORTABLE"}


def error_name(code):
    return "unread" if code is None else ERRORS.get(code, f"error {code}")
