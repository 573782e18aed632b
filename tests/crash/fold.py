"""The state that the events add up to, folded without a look at the commands."""
from verdict import must

NUMBERS = ("on_hand", "damaged", "quality_control", "held", "reserved", "committed", "safety_stock", "incoming")
NOT_AVAILABLE = NUMBERS[1:-1]


def dumped(*parts):
    """A key as a dump writes it: what would be mistaken for the dot between parts is escaped."""
    return ".".join("".join(f"%{ord(c):02X}" if c in "%.\x7f" or c < " " else c for c in part) for part in parts)


def shown_numbers(level):
    """What a level, of an event or of an answer, tells readers."""
    return tuple(level.get(name, 0) for name in (*NUMBERS, "available"))


class Fold:
    def __init__(self):
        self.levels = {}  # (sku, warehouse) -> NUMBERS after the last event
        self.history = {}  # (sku, warehouse) -> shown_numbers() after each version
        self.outcomes = {}  # (command id, key) -> (status, code)
        self.expected = {}  # (store, key) -> columns of its row, not yet seen in the state

    def take(self, partition, key, event):
        payload, outcome = event["payload"], event["payload"]["outcome"]
        command_id = event["causation_id"]
        must((command_id, key) not in self.outcomes, "I3: one outcome for a command id", command_id, event["id"])
        self.outcomes[command_id, key] = (outcome["status"], payload.get("code"))
        offset = int(event["id"].rsplit("@", 1)[1])
        row = {"command": outcome["command"], "fingerprint": outcome["fingerprint"], "status": outcome["status"],
               "offset": offset, "time": event["time"]}
        if "code" in payload:
            row["code"] = payload["code"]
        self.expected["dedup", dumped(command_id, key)] = row
        if "seq" in payload:
            self.move(event, payload, offset)

    def move(self, event, payload, offset):
        place = (payload["sku"], payload["warehouse"])
        name = dumped(*place)
        history = self.history.setdefault(place, [])
        must(payload["seq"] == len(history) + 1, "I5: versions step by 1", name, event["id"],
             f"{payload['seq']} after {len(history)}")
        after = {number: payload["after"].get(number, 0) for number in NUMBERS}
        before = self.levels.get(place) or dict.fromkeys(NUMBERS, 0)
        for number in NUMBERS:
            must(before[number] + payload["deltas"].get(number, 0) == after[number],
                 "I2: a ledger entry is the difference of two levels", name, event["id"], number,
                 f"{before[number]} + {payload['deltas'].get(number, 0)} is not {after[number]}")
        available = after["on_hand"] - sum(after[number] for number in NOT_AVAILABLE)
        must(payload["after"]["available"] == available, "I2: available is what nothing else claims", name,
             event["id"], payload["after"])
        self.levels[place] = after
        history.append(shown_numbers(payload["after"]))
        self.expected["ledger", f"{name}.{payload['seq']}"] = {
            "type": event["type"], "kind": payload["kind"], "deltas": payload["deltas"], "after": after,
            "command_id": event["causation_id"], "recorded_at": event["time"], "offset": offset}
        self.expected["level", name] = {**after, "available": available, "version": payload["seq"],
                                        "updated_at": event["time"]}

    def compare(self, row):
        """A line of the dump that is new since the last comparison."""
        want = self.expected.pop((row["store"], row["key"]), None)
        must(want is not None, "I2: no row without an event", row)
        for column, value in want.items():
            must(row["value"].get(column) == value, "I2: a row is what its event says", row["store"], row["key"],
                 f"{column} is {row['value'].get(column)!r}, not {value!r}")

    def all_compared(self):
        must(not self.expected, "I2: every event is in the state", list(self.expected)[:5])

    def compare_level(self, place, level):
        mine = self.levels.get(place)
        must(mine is not None, "I4: every level has events", place)
        must(all(mine[name] == level[name] for name in NUMBERS) and
             len(self.history[place]) == level.version, "I4: levels are the sum of their commands", place, mine)
