"""A Kafka of the run's own: one node, from the jars and the configuration that ./dev uses."""
import os
import subprocess
import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from process import Process, free_port
from verdict import Broken

HERE = os.path.dirname(os.path.abspath(__file__))
LIBS = os.environ.get("TEST_KAFKA_LIBS") or os.path.expanduser("~/.cache/tally/kafka-4.1.0/libs")
TEMPLATE = os.environ.get("TEST_KAFKA_CONFIG") or os.path.join(HERE, "../../.run/crash/kafka/server.properties")
# A short life: quick to start matters more than quick code.
JAVA = ["java", "-Xmx384m", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]


def read_properties(path):
    with open(path) as file:
        return dict(line.strip().split("=", 1) for line in file if "=" in line and not line.startswith("#"))


class Broker(Process):
    """`properties` replaces or adds to the template; it may be changed until start()."""

    cluster = "dGFsbHktY3Jhc2gtdGVzdA"

    def __init__(self, folder, properties=None):
        self.folder = os.path.abspath(folder)
        self.data = os.path.join(self.folder, "data")
        self.port, self.controller_port = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.config = os.path.join(self.folder, "server.properties")
        self.properties = {
            **read_properties(TEMPLATE),
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "log.dirs": self.data,
            # A broker that was killed may come back when the controller thinks that it is dead.
            "broker.session.timeout.ms": "4000",
            "broker.heartbeat.interval.ms": "500",
            # How long the transaction of a client that is gone lasts over its timeout.
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
            **(properties or {}),
        }
        logging = os.path.join(os.path.dirname(os.path.abspath(TEMPLATE)), "log4j2.properties")
        self.java = [*JAVA, f"-Dlog4j2.configurationFile=file:{logging}", "-cp", f"{LIBS}/*"]
        super().__init__("Kafka", [*self.java, "kafka.Kafka", self.config], os.path.join(self.folder, "kafka.log"))

    def start(self, wait=True):
        """On the data that is there; the first time on none."""
        os.makedirs(self.folder, exist_ok=True)
        with open(self.config, "w") as file:
            file.writelines(f"{name}={value}\n" for name, value in self.properties.items())
        if not os.path.exists(os.path.join(self.data, "meta.properties")):
            self.format()
        begin = self.spawn()
        if wait:
            self.wait_ready()
        return begin

    def format(self):
        done = subprocess.run([*self.java, "kafka.tools.StorageTool", "format", "-t", self.cluster, "-c",
                               self.config], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        if done.returncode:
            raise Broken(f"could not format the data folder of Kafka: {done.stdout}")

    def wait_ready(self, limit=120):
        end = time.monotonic() + limit
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        while True:
            self.alive()
            try:
                if admin.list_topics(timeout=1).brokers:
                    return
            except KafkaException:
                if time.monotonic() > end:
                    raise Broken(f"Kafka not ready after {limit} s:\n{self.log_tail()}") from None
            time.sleep(0.05)
