"""I1 to I8 of domain.md 2, asked of the events one by one and of the state that they add up to when everything
has come to rest. It looks at events alone; the model's partitions are only asked for what they folded of them."""
from collections import Counter, defaultdict

from model.aggregate import RETENTION_MS, ms_of
from model.stock import DEFAULT, IN_BUCKET, NUMBERS
from verdict import must

TERMINAL = {"FAILED", "RELEASED", "EXPIRED", "FULFILLED", "RECEIVED", "CANCELLED"}
OUTSIDE = ("RECEIVE", "SHIP", "ADJUST", "SET", "RETURN")
SHOULD_HOLD = {"CONFIRMED": "RESERVED", "COMMITTED": "COMMITTED"}


class Invariants:
    def __init__(self, models):
        self.models = models
        self.sums = defaultdict(Counter)  # place -> numbers, summed over the ledger
        self.seqs = Counter()
        self.forced = set()  # levels that a forced shipment may have left below 0
        self.outside = Counter()  # sku -> units that came and went
        self.ended = {}  # what has reached its end

    def take(self, topology, event):
        payload = event["payload"]
        if "seq" in payload:
            self.entry(event, payload)
        if topology in ("reservation", "transfer") and "state" in payload:
            self.end((topology, payload[topology + "_id"]), payload, event)
        elif "hold" in payload:
            cause, hold = payload["cause"], payload["hold"]
            self.end(("hold", cause["reservation_id"], cause["line"], hold["attempt"]), hold, event)

    def end(self, who, payload, event):
        state, since = self.ended.get(who, (payload["state"], event["time"]))
        # A tombstone or an ended hold of long ago counts as absent; another reservation or transfer stays.
        over = (state == "RELEASED" or who[0] == "hold") and ms_of(event["time"]) - ms_of(since) >= RETENTION_MS
        must(payload["state"] == state or over, "I6: what has ended stays so", who, state, since, event)
        if payload["state"] in TERMINAL | {"SHIPPED"}:
            self.ended[who] = payload["state"], event["time"]
        else:
            self.ended.pop(who, None)

    def entry(self, event, payload):
        place = payload["sku"], payload["warehouse"]
        self.seqs[place] += 1
        must(payload["seq"] == payload["version"] == self.seqs[place], "I7: seq counts, version is seq", place, event)
        numbers = self.sums[place]
        for name, delta in payload["deltas"].items():
            must(delta, "I1: deltas are not 0", event)
            numbers[name] += delta
        after = payload["after"]
        must(all(after.get(name, 0) == numbers[name] for name in NUMBERS), "I1: after is the sum of the deltas", place,
             event, dict(numbers))
        sellable = numbers["on_hand"] - numbers["damaged"] - numbers["quality_control"]
        claimed = numbers["held"] + numbers["reserved"] + numbers["committed"]
        must(after["available"] == sellable - claimed - numbers["safety_stock"] and
             after.get("backordered", 0) == max(0, claimed - sellable), "I2: available is what nothing else claims",
             event)
        if payload["kind"] == "SHIP" and sellable < 0:
            self.forced.add(place)
        must(numbers["damaged"] >= 0 and numbers["quality_control"] >= 0 and numbers["held"] >= 0 and
             numbers["reserved"] >= 0 and numbers["committed"] >= 0 and numbers["incoming"] >= 0 and
             (sellable >= 0 or place in self.forced), "I3: buckets are never below 0", event)
        if payload["kind"] in OUTSIDE:
            self.outside[place[0]] += payload["deltas"].get("on_hand", 0)

    def at_rest(self):
        holds = self.holds_match()
        self.reservations_match(holds)
        self.units_are_kept()

    def holds_match(self):
        claimed, holds = defaultdict(Counter), {}
        for model in self.models["stock"]:
            for (reservation, line), hold in model.holds.items():
                if hold["state"] in IN_BUCKET:
                    place = hold["sku"], hold["warehouse"]
                    claimed[place][IN_BUCKET[hold["state"]]] += hold["quantity"] - hold["shipped"]
                    holds[reservation, line] = hold
            for place, level in model.levels.items():
                must(all(level[name] == claimed[place][name] for name in IN_BUCKET.values()),
                     "I2: held, reserved, committed are the sums of open holds", place, dict(level),
                     dict(claimed[place]))
                rule = model.rules.get(place, DEFAULT)
                must(level["safety_stock"] == rule["safety_stock"], "I2: safety_stock is the setting's", place)
        return holds

    def reservations_match(self, holds):
        for model in self.models["reservation"]:
            for key, header in model.reservations.items():
                must(header["state"] != "HOLDING" or key in model.operations, "I8: what holds has its operation", key)
                for number, line in model.lines.get(key, {}).items():
                    hold = holds.pop((key, number), None)
                    want = SHOULD_HOLD.get(header["state"])
                    if line["shipped"] == line["quantity"]:
                        want = None
                    have = hold["state"] if hold else None
                    must(have == want, "I8: confirmed lines are held, ended ones are not", key, number, header, hold)
                    if hold:
                        must((hold["sku"], hold["quantity"], hold["shipped"], hold["warehouse"]) ==
                             (line["sku"], line["quantity"], line["shipped"], line["warehouse"]),
                             "I8: a hold is its line's", line, hold)
            must(not model.operations, "I6: nothing is pending at rest", list(model.operations)[:3])
        must(not holds, "I8: no hold without its reservation", list(holds.items())[:3])

    def units_are_kept(self):
        on_hand, transit, incoming = Counter(), Counter(), Counter()
        lost = Counter()
        for model in self.models["transfer"]:
            must(not model.operations, "I6: nothing is pending at rest", list(model.operations)[:3])
            for transfer in model.transfers.values():
                open_ = transfer["state"] in ("IN_TRANSIT", "PARTIALLY_RECEIVED")
                left = transfer["quantity"] - transfer["received"] - transfer["returned"] - transfer["lost"]
                must(open_ == (left > 0) or transfer["state"] == "FAILED", "I6: a transfer ends when all is told",
                     transfer)
                if open_:
                    transit[transfer["sku"]] += left
                    incoming[transfer["sku"], transfer["to"]] += left
                lost[transfer["sku"]] += transfer["lost"]
        for model in self.models["stock"]:
            for place, level in model.levels.items():
                on_hand[place[0]] += level["on_hand"]
                must(level["incoming"] == incoming[place], "I5: incoming is what is in transit", place, dict(level),
                     incoming[place])
        for sku in on_hand:
            must(on_hand[sku] + transit[sku] == self.outside[sku] - lost[sku],
                 "I5: units only come and go by receive, ship, adjust, return, loss", sku, on_hand[sku], transit[sku],
                 self.outside[sku], lost[sku])
        for model in self.models["catalogue"]:
            must(not model.operations, "I6: nothing is pending at rest", list(model.operations)[:3])
