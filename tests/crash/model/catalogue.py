"""The catalogue as domain.md says it: 6 (catalogue.commands), 8, 9.2."""
import copy

from corpus.rules import COMMON
from model.aggregate import SAGA_MS, Message, Outcome, Partition, Refusal, ms_of, operation

DEFAULTS = {"description": "", "category_ids": [], "attributes": {}, "media": []}
PATCHED = ("slug", "name", *DEFAULTS)
SENT = {"slug": ("catalogue.commands", "ClaimSlug", "ReleaseSlug"), "sku": ("stock.commands", "ClaimSku", "ReleaseSku")}


class Catalogue(Partition):
    topology = "catalogue"

    def __init__(self, number, partitions, **settings):
        super().__init__(number, partitions, **settings)
        self.products, self.slugs, self.warehouses, self.operations, self.timers = {}, {}, {}, {}, {}

    # --- state ------------------------------------------------------------------------------------

    def fold(self, kind, payload):
        if kind == "WarehouseRegistered":
            self.warehouses[payload["warehouse"]] = {"name": payload["name"], "state": payload["state"]}
        elif kind == "SlugClaimed":
            self.slugs[payload["slug"]] = {name: payload[name] for name in ("product_id", "op_id")}
        elif kind == "SlugReleased":
            del self.slugs[payload["slug"]]
        if "product" in payload:
            self.products[self.key] = payload["product"]
        if "op" in payload:
            self.operations[self.key] = payload["op"]
        if "completes" in payload:
            del self.operations[self.key]
        timer = payload.get("timer", {})
        if "clear" in timer:
            del self.timers[ms_of(timer["clear"]), self.key]
        if "set" in timer:
            due, op_id = ms_of(timer["set"]), payload["op"]["op_id"]
            self.timers[due, self.key] = Message("catalogue.commands", self.key, "TimeOut", (self.key, op_id, due),
                                                 {"product_id": self.key, "op_id": op_id, "due_at": timer["set"]})

    def clear(self):
        return {"clear": self.at(next(due for due, key in self.timers if key == self.key) - self.now)}

    def found(self, fields, archived_too=False):
        """Checks 6 to 8 of a command about a product."""
        product = self.products.get(self.key)
        if not product and self.key in self.operations:
            raise Refusal("OPERATION_IN_PROGRESS")
        if not product:
            raise Refusal("UNKNOWN_PRODUCT")
        if self.key in self.operations:
            raise Refusal("OPERATION_IN_PROGRESS")
        self.expect_version(fields, product["version"])
        if product["status"] == "ARCHIVED" and not archived_too:
            raise Refusal("PRODUCT_ARCHIVED")
        return copy.deepcopy(product)

    def fact(self, kind, product, changed, sends=(), **ends):
        product["version"] += 1
        product["updated_at"] = self.at()
        timer = {"timer": self.clear()} if ends.get("completes") else {}
        return Outcome(kind, {"product_id": self.key, "version": product["version"], "changed": changed,
                              "product": product, **timer}, sends, **ends)

    # --- products ---------------------------------------------------------------------------------

    def begin(self, command, kind, claims):
        request = {name: item for name, item in command.fields.items() if name not in (*COMMON, "product_id")}
        op = {"kind": kind, **operation(command), "request": request, "waiting": claims, "granted": []}
        return Outcome("ProductOperationStarted",
                       {"product_id": self.key, "op": op, "timer": {"set": self.at(SAGA_MS)}},
                       [self.claim(op, claim) for claim in claims], pending=True)

    def claim(self, op, claim, undo=False):
        form, value = claim.split(":", 1)
        topic, ask, give_up = SENT[form]
        return Message(topic, claim if form == "slug" else value, give_up if undo else ask, (op["op_id"], claim),
                       {form: value, "product_id": self.key, "op_id": op["op_id"]})

    def decide_create_product(self, command, fields):
        if self.key in self.operations:
            raise Refusal("OPERATION_IN_PROGRESS")
        product = self.products.get(self.key)
        self.expect_version(fields, product["version"] if product else 0)
        if product:
            raise Refusal("PRODUCT_EXISTS")
        return self.begin(command, "CREATE", ["slug:" + fields["slug"]] + [
            "sku:" + variant["sku"] for variant in fields.get("variants", [])])

    def decide_update_product(self, command, fields):
        product = self.found(fields)
        changed = patch(product, fields["patch"])
        if not changed:
            return Outcome()
        if "slug" in changed:
            return self.begin(command, "UPDATE", ["slug:" + product["slug"]])
        return self.fact("ProductUpdated", product, changed)

    def decide_add_variant(self, command, fields):
        product = self.found(fields)
        sku = fields["variant"]["sku"]
        if any(variant["sku"] == sku for variant in product["variants"]):
            raise Refusal("SKU_TAKEN")
        return self.begin(command, "ADD_VARIANT", ["sku:" + sku])

    def decide_publish_product(self, command, fields):
        product = self.found(fields)
        if product["status"] == "ACTIVE":
            return Outcome()
        product["status"] = "ACTIVE"
        return self.fact("ProductPublished", product, ["status"])

    def decide_archive_product(self, command, fields):
        product = self.found(fields, archived_too=True)
        if product["status"] == "ARCHIVED":
            return Outcome()
        product["status"] = "ARCHIVED"
        return self.fact("ProductArchived", product, ["status"], [
            Message("stock.commands", variant["sku"], "FreezeSku", (command.id, variant["sku"]),
                    {"sku": variant["sku"], "product_id": self.key}) for variant in product["variants"]])

    def decide_change_price(self, command, fields):
        product = self.found(fields)
        variant = next((one for one in product["variants"] if one["sku"] == fields["sku"]), None)
        if not variant:
            raise Refusal("UNKNOWN_SKU")
        price = {"price_id": command.id, "kind": "BASE", "list": fields.get("list", "default"),
                 **{name: fields[name] for name in ("currency", "amount_minor", "compare_at_minor", "valid_from",
                                                    "valid_until") if name in fields}}
        same = [one for one in variant["prices"]
                if (one["currency"], one["list"]) == (price["currency"], price["list"])]
        if "valid_from" not in fields and "valid_until" not in fields:
            old = next((one for one in same if one["kind"] == "BASE"), None)
            if old:
                variant["prices"][variant["prices"].index(old)] = price
            else:
                variant["prices"].append(price)
            return self.fact("PriceChanged", product, ["prices"])
        price["kind"] = "SALE"
        if "valid_until" in fields and ms_of(fields["valid_until"]) <= self.now:
            raise Refusal("PRICE_IN_PAST")
        if any(one["kind"] == "SALE" and overlap(one, price) for one in same):
            raise Refusal("PRICE_WINDOW_OVERLAP")
        variant["prices"].append(price)
        return self.fact("PriceScheduled", product, ["prices"])

    # --- claims -----------------------------------------------------------------------------------

    def decide_claim_reply(self, command, fields):
        op = self.operations.get(self.key)
        claim = fields["claim"]
        if not op or op["op_id"] != fields["op_id"] or claim not in op["waiting"]:
            return Outcome()
        if not fields["granted"]:
            return self.fail(op, Refusal(fields["code"]), [claim])
        op = {**op, "waiting": [one for one in op["waiting"] if one != claim], "granted": [*op["granted"], claim]}
        if op["waiting"]:
            return Outcome("ProductOperationProgressed", {"product_id": self.key, "op": op,
                                                          "timer": {"set": self.clear()["clear"]}})
        return getattr(self, "finish_" + op["kind"].lower())(op, copy.deepcopy(op["request"]))

    def fail(self, op, refusal, refused=()):
        """Gives up every claim that is, or may yet be, granted."""
        claims = [one for one in [*op["granted"], *op["waiting"]] if one not in refused]
        return Outcome("ProductOperationFailed", {"product_id": self.key, "timer": self.clear()},
                       [self.claim(op, claim, undo=True) for claim in claims], completes=op, refusal=refusal)

    def finish_create(self, op, request):
        product = {"product_id": self.key, "slug": request["slug"], "name": request["name"],
                   **{name: request.get(name, default) for name, default in DEFAULTS.items()}, "status": "DRAFT",
                   "variants": [made(variant) for variant in request.get("variants", [])], "version": 0,
                   "created_at": self.at()}
        return self.fact("ProductCreated", product, ["product"], completes=op)

    def finish_update(self, op, request):
        product = copy.deepcopy(self.products[self.key])
        return self.fact("ProductUpdated", product, patch(product, request["patch"]), completes=op)

    def finish_add_variant(self, op, request):
        product = copy.deepcopy(self.products[self.key])
        product["variants"].append(made(request["variant"]))
        return self.fact("VariantAdded", product, ["variants"], completes=op)

    def decide_time_out(self, command, fields):
        op = self.operations.get(self.key)
        if not op or op["op_id"] != fields["op_id"] or self.clear()["clear"] != fields["due_at"]:
            return Outcome()
        return self.fail(op, Refusal("OPERATION_TIMED_OUT"))

    # --- slugs and warehouses ---------------------------------------------------------------------

    def decide_claim_slug(self, command, fields):
        slug = self.slugs.get(fields["slug"])
        if not slug:
            outcome = Outcome("SlugClaimed", {name: fields[name] for name in ("slug", "product_id", "op_id")})
        elif slug["product_id"] == fields["product_id"]:
            outcome = Outcome()
        else:
            raise Refusal("SLUG_TAKEN")
        outcome.sends.append(claim_reply(fields, self.key, None))
        return outcome

    def decide_release_slug(self, command, fields):
        slug = self.slugs.get(fields["slug"])
        if not slug or slug != {name: fields[name] for name in ("product_id", "op_id")}:
            return Outcome()
        return Outcome("SlugReleased", {name: fields[name] for name in ("slug", "product_id", "op_id")})

    def refused(self, command, refusal):
        if command.type == "ClaimSlug" and refusal.code not in ("UNKNOWN_COMMAND", "VALIDATION_FAILED"):
            return [claim_reply(command.fields, self.key, refusal.code)]
        return []

    def decide_register_warehouse(self, command, fields):
        warehouse = fields["warehouse"]
        known = warehouse in self.warehouses
        self.expect_version(fields, int(known))
        if known:
            raise Refusal("WAREHOUSE_EXISTS")
        row = {"warehouse": warehouse, "name": fields["name"], "state": "OPEN"}
        return Outcome("WarehouseRegistered", row, [
            Message("stock.commands", "warehouse:" + warehouse, "ApplyWarehouse", (warehouse, "OPEN", number), row,
                    number) for number in range(self.partitions)])


def claim_reply(fields, claim, code):
    product = fields["product_id"]
    return Message("catalogue.commands", product, "ClaimReply", (fields["op_id"], claim),
                   {"product_id": product, "op_id": fields["op_id"], "claim": claim, "granted": code is None,
                    "code": code})


def patch(product, fields):
    """Changes the product; the names of what is another than before."""
    changed = []
    for name in PATCHED:
        if name in fields:
            value = DEFAULTS[name] if fields[name] is None else fields[name]
            if value != product[name]:
                product[name] = copy.deepcopy(value)
                changed.append(name)
    return changed


def made(variant):
    shown = {"sku": variant["sku"], "options": variant.get("options", {}), "uom": variant.get("uom", "pcs"),
             "scale": variant.get("scale", 0), "status": "ACTIVE", "prices": []}
    if "barcode" in variant:
        shown["barcode"] = variant["barcode"]
    return shown


def overlap(one, other):
    def begins(price):
        return ms_of(price["valid_from"]) if "valid_from" in price else -1

    def ends(price):
        return ms_of(price["valid_until"]) if "valid_until" in price else 1 << 62
    return begins(one) < ends(other) and begins(other) < ends(one)
