"""What an operator, or an accident, does to topics and to a group behind tally's back."""
import glob
import json
import os
import socket
import struct
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient,
                                   AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                   ResourcePatternType, ResourceType)

from topics import patiently

SECONDS = 15
KINDS = {"commands": "stock.commands", "events": "stock.events", "dead": "stock.commands-dlt"}
# As `tally topics create` makes them.
CONFIGS = {"commands": {"cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime"},
           "events": {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1",
                      "max.message.bytes": "4194304"},
           "dead": {"cleanup.policy": "delete", "max.message.bytes": "1114124"}}


class TopicAdmin:
    def __init__(self, world):
        self.world = world
        self.kafka = world.kafka
        self.admin = AdminClient({"bootstrap.servers": self.kafka, "log_level": 0})
        self.watermarks = Consumer({"bootstrap.servers": self.kafka, "group.id": "crash-admin", "log_level": 0})

    def close(self):
        self.watermarks.close()

    def name(self, kind):
        return self.world.prefix + KINDS[kind]

    def wait_for(self, what, condition):
        end = time.monotonic() + SECONDS
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"{what} within {SECONDS} s")
            time.sleep(0.02)

    def exists(self, kind):
        return self.name(kind) in self.admin.list_topics(timeout=SECONDS).topics

    # --- topics ------------------------------------------------------------------------------------

    def delete(self, kind):
        self.admin.delete_topics([self.name(kind)])[self.name(kind)].result(SECONDS)
        self.wait_for("topic deleted", lambda: not self.exists(kind))

    def create(self, kind, partitions=None, **config):
        topic = NewTopic(self.name(kind), partitions or self.world.partitions, 1, config={**CONFIGS[kind], **config})
        self.admin.create_topics([topic])[self.name(kind)].result(SECONDS)
        self.wait_for("topic made", lambda: self.exists(kind))

    def recreate(self, kind, records=(), partitions=None, **config):
        """Deleted and made anew with these (partition, key, value)."""
        self.delete(kind)
        self.create(kind, partitions, **config)
        self.write(kind, records)

    def write(self, kind, records):
        producer = Producer({"bootstrap.servers": self.kafka, "log_level": 0, "linger.ms": 5})
        for partition, key, value in records:
            producer.produce(self.name(kind), value=value, key=key, partition=partition)
        if producer.flush(SECONDS):
            raise TimeoutError(f"records not written within {SECONDS} s")

    def read(self, kind):
        """(partition, key, value) of all records, by partition and offset."""
        reader = Consumer({"bootstrap.servers": self.kafka, "group.id": "crash-copy", "log_level": 0,
                           "isolation.level": "read_committed", "enable.partition.eof": True})
        partitions = range(self.world.partitions)
        reader.assign([TopicPartition(self.name(kind), p, 0) for p in partitions])
        found, left = {p: [] for p in partitions}, set(partitions)
        while left:
            for message in reader.consume(10000, 0.2):
                if message.error():
                    left.discard(message.partition())
                else:
                    found[message.partition()].append((message.partition(), message.key(), message.value()))
        reader.close()
        return found

    def add_partitions(self, kind, count=2):
        name = self.name(kind)
        total = self.world.partitions + count
        self.admin.create_partitions([NewPartitions(name, total)])[name].result(SECONDS)
        self.wait_for("partitions added",
                      lambda: len(self.admin.list_topics(name, timeout=SECONDS).topics[name].partitions) == total)

    def configure(self, kind, name, value):
        resource = ConfigResource(ResourceType.TOPIC, self.name(kind), incremental_configs=[
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)])
        self.admin.incremental_alter_configs([resource])[resource].result(SECONDS)
        # The controller has it; the broker, which is asked at a start, has it a moment later.
        self.wait_for(f"{name}={value}", lambda: self.config(kind)[name].value == value)

    def config(self, kind):
        resource = ConfigResource(ResourceType.TOPIC, self.name(kind))
        return self.admin.describe_configs([resource])[resource].result(SECONDS)

    def range(self, kind, partition):
        return patiently("range", lambda: self.watermarks.get_watermark_offsets(
            TopicPartition(self.name(kind), partition), SECONDS))

    def delete_records(self, kind, before):
        """before: partition, low, high -> the new low."""
        wanted = [TopicPartition(self.name(kind), p, before(p, *self.range(kind, p)))
                  for p in range(self.world.partitions)]
        for done in self.admin.delete_records(wanted).values():
            done.result(SECONDS)

    # --- access: everybody is ANONYMOUS, and may do what no rule is about ---

    def rule(self, kind, principal):
        return AclBinding(ResourceType.TOPIC, self.name(kind), ResourcePatternType.LITERAL, principal, "*",
                          AclOperation.READ, AclPermissionType.ALLOW)

    def allow_another(self, kind):
        rule = self.rule(kind, "User:another")
        self.admin.create_acls([rule])[rule].result(SECONDS)

    def allow_all(self):
        rules = AclBindingFilter(ResourceType.TOPIC, None, ResourcePatternType.ANY, None, None, AclOperation.ANY,
                                 AclPermissionType.ANY)
        self.admin.delete_acls([rules])[rules].result(SECONDS)

    # --- the group ---------------------------------------------------------------------------------

    def offsets(self):
        answer = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(self.world.group)])
        return {p.partition: p.offset for p in answer[self.world.group].result(SECONDS).topic_partitions
                if p.topic == self.name("commands")}

    def set_offsets(self, offset, offsets=None):
        """offset: partition, offset now -> the new one."""
        wanted = [TopicPartition(self.name("commands"), p, offset(p, now))
                  for p, now in (offsets or self.offsets()).items()]
        request = [ConsumerGroupTopicPartitions(self.world.group, wanted)]
        self.admin.alter_consumer_group_offsets(request)[self.world.group].result(SECONDS)

    def delete_group(self):
        self.admin.delete_consumer_groups([self.world.group])[self.world.group].result(SECONDS)

    def leave(self, instance, threads=1):
        """A static member stays in its group until its session ends; this takes it out at once."""
        ids = [f"{self.world.group}-{instance.id}-{i}" for i in range(threads)]
        body = text(self.world.group) + struct.pack(">i", len(ids)) + b"".join(text("") + text(i) for i in ids)
        request = struct.pack(">hhi", 13, 3, 1) + text("crash") + body  # LeaveGroup
        host, port = self.kafka.split(":")
        with socket.create_connection((host, int(port)), SECONDS) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            connection.recv(4096)

    # --- files of a broker that is down -----------------------------------------------------------

    def segments(self, kind):
        """Paths of the last segments that hold something."""
        found = []
        for partition in range(self.world.partitions):
            logs = sorted(glob.glob(os.path.join(self.world.broker.data, f"{self.name(kind)}-{partition}", "*.log")))
            found += [path for path in logs[-1:] if os.path.getsize(path) > 0]
        return found

    def unclean(self):
        """Makes the broker look through its logs at its next start."""
        for name in glob.glob(os.path.join(self.world.broker.data, ".kafka_cleanshutdown")):
            os.remove(name)

    def start_broker(self):
        """And until its coordinators know again what they have to: that is the broker's time, not tally's."""
        self.world.broker.start()
        instance = self.world.instance(0)
        producer = Producer({"bootstrap.servers": self.kafka, "log_level": 0,
                             "transactional.id": f"{self.world.group}-{instance.id}-0"})
        patiently("transaction coordinator", lambda: producer.init_transactions(SECONDS))
        patiently("group coordinator", self.offsets)

    def cut_segments(self, kind, keep=0.5):
        for path in self.segments(kind):
            os.truncate(path, int(os.path.getsize(path) * keep))
        self.unclean()


def text(value):
    data = value.encode()
    return struct.pack(">h", len(data)) + data


def foreign(partitions, count):
    """Records of some other application."""
    return [(p, f"order-{i}".encode(), json.dumps({"order": i, "amount": i * 3}).encode())
            for p in range(partitions) for i in range(count)]


__all__ = ["TopicAdmin", "foreign", "KafkaException"]
