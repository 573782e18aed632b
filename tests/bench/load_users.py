"""What Locust runs for the suite `load`: users that read stock and send commands, each at a steady rate over connections
that stay open. A user keeps to one instance; when that cannot be reached, or says that another owns the key or that it
is not ready, the next is asked at once, each once at most, as a balancer would; time counts from the first. Settings
come in LOAD_SETTINGS, figures go to LOAD_RESULT."""
import http.client
import json
import os
import random
import time
import uuid
from collections import Counter, defaultdict

from locust import User, constant_throughput, events, task

SETTINGS = json.loads(os.environ["LOAD_SETTINGS"])
ELSEWHERE = (421, 502, 503)
QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)
TIMEOUT = 5
seconds = defaultdict(list)  # since the begin -> milliseconds of what was answered in that second
failures = Counter()  # the same -> how many
reasons, attempts = Counter(), Counter()
began = time.monotonic()


class Client(User):
    wait_time = constant_throughput(SETTINGS["rate_of_user"])
    made = 0

    def on_start(self):
        self.home = Client.made % len(SETTINGS["addresses"])
        Client.made += 1
        self.links = {}

    def ask(self, address, method, path, body, headers):
        """The status; what goes wrong with the connection is an OSError or HTTPException."""
        link = self.links.get(address)
        if link is None:
            link = self.links[address] = http.client.HTTPConnection(address, timeout=TIMEOUT)
        try:
            link.request(method, path, body, headers)
            answer = link.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            link.close()
            self.links.pop(address)
            raise

    def measure(self, name, method, path, body=None, headers=None):
        begin, error, addresses = time.perf_counter(), None, SETTINGS["addresses"]
        for i in range(len(addresses)):
            attempts[name] += 1
            try:
                status = self.ask(addresses[(self.home + i) % len(addresses)], method, path, body, headers or {})
            except (OSError, http.client.HTTPException) as problem:
                error = type(problem).__name__
                continue
            error = None if status < 400 else f"status {status}"
            if status not in ELSEWHERE:
                break
        millis = (time.perf_counter() - begin) * 1000
        second = int(time.monotonic() - began)
        seconds[second].append(millis)
        if error:
            failures[second] += 1
            reasons[f"{name}: {error}"] += 1
        self.environment.events.request.fire(request_type=method, name=name, response_time=millis, response_length=0,
                                             exception=RuntimeError(error) if error else None, context={})

    def sku(self):
        return f"SKU-{random.randrange(SETTINGS['skus']):08d}"

    @task(SETTINGS["reads"])
    def read(self):
        self.measure("read", "GET", f"/v1/stock/{self.sku()}")

    @task(SETTINGS["writes"])
    def write(self):
        body = json.dumps({"sku": self.sku(), "warehouse": "W1", "quantity": 1})
        self.measure("write", "POST", "/v1/commands/ReceiveStock", body,
                     {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex})


def of(millis, share):
    millis = sorted(millis)
    return round(millis[min(int(len(millis) * share), len(millis) - 1)], 2) if millis else None


@events.quitting.add_listener
def report(environment, **_):
    total = environment.stats.total
    every = [value for values in seconds.values() for value in values]
    result = {"requests": total.num_requests, "failed": total.num_failures, "reasons": dict(reasons),
              "attempts": sum(attempts.values()), "began": began,
              "quantiles_ms": {f"{share:g}": of(every, share) for share in QUANTILES},
              "over_time": [{"second": second, "requests": len(seconds[second]), "failed": failures[second],
                             "p50_ms": of(seconds[second], 0.5), "p95_ms": of(seconds[second], 0.95)}
                            for second in range(max(seconds, default=0) + 1)]}
    with open(os.environ["LOAD_RESULT"], "w") as file:
        json.dump(result, file)
