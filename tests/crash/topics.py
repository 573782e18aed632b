"""Reading and writing topics with confluent-kafka, apart from tally's own client code."""
import time
from concurrent.futures import TimeoutError as NoAnswer

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from verdict import Broken, Violation

# How long a transaction may hide the end of a topic: engine.transaction.timeout, the broker's sweep,
# and as much again.
HIDDEN_SECONDS = 60
CLIENT = {"log_level": 0, "reconnect.backoff.max.ms": 500, "retry.backoff.max.ms": 300}
PASSING = (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._RESOLVE)


def patiently(what, call, limit=90):
    """The broker may just have come back."""
    end = time.monotonic() + limit
    while True:
        try:
            return call()
        except (KafkaException, NoAnswer) as error:
            if time.monotonic() > end:
                raise Broken(f"{what}: {error!r}") from error
            time.sleep(0.1)


class Reader:
    """Committed records of one topic, in offset order per partition, each exactly once."""

    def __init__(self, kafka, topic, partitions):
        self.topic = topic
        self.next = dict.fromkeys(range(partitions), 0)
        common = {"bootstrap.servers": kafka, "group.id": "crash-oracle", "enable.auto.commit": False, **CLIENT}
        self.consumer = Consumer({**common, "isolation.level": "read_committed", "enable.partition.eof": True,
                                  "auto.offset.reset": "error"})
        # A read_committed handle answers the last stable offset, which may lag behind a commit.
        self.watermarks = Consumer({**common, "isolation.level": "read_uncommitted"})

    def end(self, partition):
        """The high watermark."""
        return patiently(f"end of {self.topic}/{partition}", lambda: self.watermarks.get_watermark_offsets(
            TopicPartition(self.topic, partition), 5))[1]

    def read(self):
        """What has come since the last call, up to the end that each partition has now. That the end
        is reached is I6: no transaction hangs."""
        ends = {partition: self.end(partition) for partition in self.next}
        self.consumer.assign([TopicPartition(self.topic, p, at) for p, at in self.next.items() if at < ends[p]])
        left = {partition for partition, at in self.next.items() if at < ends[partition]}
        found = {partition: [] for partition in self.next}
        deadline = time.monotonic() + HIDDEN_SECONDS
        while left:
            for message in self.consumer.consume(10000, 0.2):
                error = message.error()
                if error is None:
                    found[message.partition()].append(message)
                    self.next[message.partition()] = message.offset() + 1  # also of one behind the end
                elif error.code() == KafkaError._PARTITION_EOF:
                    if message.offset() >= ends[message.partition()]:
                        left.discard(message.partition())
                        self.next[message.partition()] = message.offset()
                elif error.code() not in PASSING:
                    raise Broken(f"{self.topic}: {error}")
            if time.monotonic() > deadline:
                raise Violation(f"I6: no transaction hangs: {self.topic}, partitions {sorted(left)}: an open one"
                                f" hides what is before {ends} for {HIDDEN_SECONDS} s")
        return found

    def close(self):
        self.consumer.close()
        self.watermarks.close()


class Group:
    """The committed offsets of a consumer group."""

    def __init__(self, kafka, group):
        self.group = group
        self.admin = AdminClient({"bootstrap.servers": kafka, **CLIENT})

    def offsets(self, topic):
        """partition -> offset; without those that have none."""
        request = [ConsumerGroupTopicPartitions(self.group)]
        answer = patiently(f"offsets of {self.group}", lambda: self.admin.list_consumer_group_offsets(
            request, require_stable=True)[self.group].result(10))
        return {p.partition: p.offset for p in answer.topic_partitions if p.topic == topic and p.offset >= 0}


class Writer:
    """Sends records to given partitions at an even pace; the history learns what became of them.
    A record is (partition, key, value) and may have a command's id as its fourth item."""

    def __init__(self, kafka, topic, history):
        self.topic = topic
        self.history = history
        self.settings = {"bootstrap.servers": kafka, "enable.idempotence": True, "linger.ms": 5, **CLIENT,
                         "queue.buffering.max.messages": 1000000, "message.timeout.ms": 120000}
        self.producer = Producer(self.settings)

    def send(self, records, seconds=0):
        """seconds: how long it should take; 0: as fast as it goes. Returns when each has its answer."""
        records = list(records)
        begin = time.monotonic()
        for i, record in enumerate(records):
            if i % 100 == 0:
                self.pause(begin + seconds * i / len(records) - time.monotonic())
            self.produce(*record)
        self.flush()

    def pause(self, seconds):
        self.producer.poll(0)
        self.history.sync(now=False)
        if seconds > 0:
            time.sleep(seconds)

    def flush(self):
        if self.producer.flush(150):
            raise Broken(f"{self.topic}: records have no answer after 150 s")
        self.history.sync()

    def produce(self, partition, key, value, command_id=None):
        def delivered(error, message):
            if error:
                self.history.told(command_id, key, unknown=str(error))
            else:
                self.history.told(command_id, key, partition=message.partition(), offset=message.offset())

        self.history.sent(command_id, key, partition=partition)
        while True:
            try:
                self.producer.produce(self.topic, value=value, key=key, partition=partition, on_delivery=delivered)
                return
            except BufferError:
                self.producer.poll(0.1)
