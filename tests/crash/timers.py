"""An app of all topologies beside that of a World: their sagas set timers, which no topology of the load
does. The oracle is the domain's."""
import time

from domain import Domain
from verdict import Broken, must

LIMIT = 60
RECORDS = 20  # between two looks
SHORT_S = 1  # until a reservation expires that nobody confirms


class Timers:
    def __init__(self, world):
        self.domain = Domain(world, instances=1)
        self.tally = self.domain.instances[0]
        self.tally.start()
        self.domain.wait_running()
        self.domain.send(self.domain.stream.begin())
        self.domain.flush()
        self.domain.check()

    def act(self, site, n, action):
        """Started with that plan, under sagas, until it has happened."""
        plan = f"{site}:{n}:{action}"
        line = f"site={site} hit={n} action={action}"
        acted = self.tally.logged(line)
        self.tally.stop()
        self.tally.environment["TALLY_FAIL"] = plan
        try:
            self.tally.start()
        finally:
            del self.tally.environment["TALLY_FAIL"]
        end = time.monotonic() + LIMIT
        while self.tally.logged(line) == acted:
            if time.monotonic() > end or not self.tally.running():
                raise Broken(f"TALLY_FAIL={plan} was not reached by sagas\n{self.tally.log_tail()}")
            self.domain.send([*self.domain.stream.some(RECORDS), *self.short()])
            self.domain.flush()
            time.sleep(SHORT_S / 4)

    def short(self):
        """A reservation that expires soon, of what there is."""
        stream = self.domain.stream
        stream.recent["R"] += 1
        key, sku, warehouse = f"R-{stream.recent['R']}", stream.random.choice(stream.skus), stream.warehouses[0]
        return list(stream.records([
            stream.put("stock.commands", sku, {"type": "ReceiveStock", "sku": sku, "warehouse": warehouse, "quantity": 9}),
            stream.put("reservation.commands", key, {"type": "ReserveStock", "reservation_id": key, "ttl_s": SHORT_S,
                                                     "lines": [{"sku": sku, "warehouse": warehouse, "quantity": 1}]})]))

    def kill(self, site, n):
        self.act(site, n, "kill")
        status = self.tally.process.wait(LIMIT)
        if status != -9:
            raise Broken(f"{site}: ended with {status}\n{self.tally.log_tail()}")
        self.tally.kills += 1
        self.tally.start()
        self.check()

    def fail(self, site, n):
        """The call fails; the engine has to come round by itself."""
        self.act(site, n, "error")
        self.check()

    def check(self):
        self.domain.wait_running()
        self.domain.check()

    def close(self):
        counts = self.domain.judge.counts
        must(counts["ReservationExpired"] > 0, "I12: the run is invalid: timers came due", dict(counts))
        self.domain.close()
