"""Reading and writing topics with confluent-kafka, apart from tally's own client code."""
import time

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition


class Reader:
    """Committed records of one topic, in offset order per partition, each exactly once."""

    def __init__(self, kafka, topic, partitions):
        self.topic = topic
        self.next = dict.fromkeys(range(partitions), 0)
        common = {"bootstrap.servers": kafka, "group.id": "crash-oracle", "enable.auto.commit": False}
        self.consumer = Consumer({**common, "isolation.level": "read_committed", "enable.partition.eof": True,
                                  "auto.offset.reset": "error"})
        # A read_committed handle answers the last stable offset, which may lag behind a commit.
        self.watermarks = Consumer({**common, "isolation.level": "read_uncommitted"})

    def read(self):
        """What has come since the last call, up to the end that each partition has now."""
        ends = {p: self.watermarks.get_watermark_offsets(TopicPartition(self.topic, p), 30)[1] for p in self.next}
        self.consumer.assign([TopicPartition(self.topic, p, at) for p, at in self.next.items()])
        left = set(self.next)
        found = {partition: [] for partition in self.next}
        deadline = time.monotonic() + 120
        while left:
            for message in self.consumer.consume(10000, 0.2):
                error = message.error()
                if error is None:
                    found[message.partition()].append(message)
                elif error.code() != KafkaError._PARTITION_EOF:
                    raise RuntimeError(f"{self.topic}: {error}")
                elif message.offset() >= ends[message.partition()]:
                    left.discard(message.partition())
                    self.next[message.partition()] = message.offset()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.topic}: an open transaction hides the end of {left} for 120 s")
        return found

    def close(self):
        self.consumer.close()
        self.watermarks.close()


class Ends:
    """Offset of the last committed record of each partition."""

    def __init__(self, reader):
        self.reader = reader
        self.last = dict.fromkeys(reader.next, -1)

    def now(self):
        for partition, records in self.reader.read().items():
            if records:
                self.last[partition] = records[-1].offset()
        return dict(self.last)


class Writer:
    """Sends records to given partitions at an even pace, and knows that all are in."""

    def __init__(self, kafka, topic):
        self.topic = topic
        self.failed = None
        self.producer = Producer({"bootstrap.servers": kafka, "enable.idempotence": True, "linger.ms": 5,
                                  "queue.buffering.max.messages": 1000000})

    def send(self, records, seconds=0):
        """seconds: how long it should take; 0: as fast as it goes."""
        records = list(records)
        begin = time.monotonic()
        for i, (partition, key, value) in enumerate(records):
            if i % 100 == 0:
                self.producer.poll(0)
                ahead = begin + seconds * i / len(records) - time.monotonic()
                if ahead > 0:
                    time.sleep(ahead)
            self.produce(partition, key, value)
        if self.producer.flush(60) or self.failed:
            raise RuntimeError(f"{self.topic}: could not send: {self.failed}")

    def produce(self, partition, key, value):
        while True:
            try:
                self.producer.produce(self.topic, value=value, key=key, partition=partition,
                                      on_delivery=self.delivered)
                return
            except BufferError:
                self.producer.poll(0.1)

    def delivered(self, error, message):
        if error:
            self.failed = error
