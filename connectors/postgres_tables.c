/* connectors/postgres_tables.c - what is written, and what a row that is there already does about
 * it. The order of columns is the one in which postgres_facts.c fills them in; names are those of
 * connectors/postgres/0002_tables.sql.
 * Invariants
 *  (1) A version that is there is never replaced by one that is not higher.
 *  (2) What a product consists of is written for the version that its row has, and for no other. */
#include "connectors/postgres_internal.h"

#define T(name)              \
    {                        \
#name, POSTGRES_TEXT \
    }
#define I(name)             \
    {                       \
#name, POSTGRES_INT \
    }
#define S(name)              \
    {                        \
#name, POSTGRES_TIME \
    }

static const struct postgres_column position[] = {
        T(topic), I(partition), I(next_offset), I(epoch), S(as_of)};
static const struct postgres_column warehouse[] = {
        T(warehouse), I(event_offset), T(name), T(state)};
static const struct postgres_column product[] = {T(product_id), I(version), T(slug), T(name),
        T(description), T(status), S(created_at), S(updated_at), {"attributes", POSTGRES_JSONB},
        {"media", POSTGRES_TEXTS}, {"document", POSTGRES_JSON}};
static const struct postgres_column sku[] = {T(sku), I(version), T(product_id), T(state), T(op_id)};
static const struct postgres_column slug[] = {T(slug), I(event_offset), T(product_id), T(op_id)};
static const struct postgres_column variant[] = {T(sku), I(product_version), T(product_id),
        I(place), T(barcode), T(uom), I(scale), T(status), {"options", POSTGRES_JSONB}};
static const struct postgres_column category[] = {
        T(product_id), T(category_id), I(product_version), I(place)};
static const struct postgres_column price[] = {T(sku), T(price_id), I(product_version),
        T(product_id), T(kind), T(list), T(currency), I(amount_minor), I(compare_at_minor),
        S(valid_from), S(valid_until)};
static const struct postgres_column level[] = {T(sku), T(warehouse), I(version), S(updated_at),
        I(on_hand), I(damaged), I(quality_control), I(held), I(reserved), I(committed),
        I(safety_stock), I(incoming)};
static const struct postgres_column setting[] = {T(sku), T(warehouse), I(setting_version),
        T(policy), I(backorder_limit), I(low_stock_threshold)};
static const struct postgres_column ledger[] = {T(sku), T(warehouse), I(seq), T(type), T(kind),
        I(on_hand_delta), I(damaged_delta), I(quality_control_delta), I(held_delta),
        I(reserved_delta), I(committed_delta), I(safety_stock_delta), I(incoming_delta), I(on_hand),
        I(damaged), I(quality_control), I(held), I(reserved), I(committed), I(safety_stock),
        I(incoming), T(reason), T(note), T(reference), T(reservation_id), I(line), T(order_id),
        T(shipment_id), T(return_id), T(transfer_id), T(actor), T(command_id), I(partition),
        I(command_offset), S(recorded_at), {"signals", POSTGRES_TEXTS}};
static const struct postgres_column reservation[] = {T(reservation_id), I(version), T(state),
        T(owner), T(order_id), I(ttl_s), I(attempt), I(pending), S(expires_at), S(updated_at)};
static const struct postgres_column line[] = {T(reservation_id), I(line), I(reservation_version),
        T(sku), I(quantity), I(shipped), T(state), T(warehouse), T(position), T(code), I(available),
        {"warehouses", POSTGRES_TEXTS}};
static const struct postgres_column transfer[] = {T(transfer_id), I(version), T(state), T(sku),
        I(quantity), T(from_warehouse), T(to_warehouse), I(received), I(returned), I(lost),
        S(updated_at)};
#undef T
#undef I
#undef S

#define COLUMNS(name) .columns = (name), .column_count = sizeof(name) / sizeof((name)[0])
#define NAMED(name, columns_, key)                                                     \
    {                                                                                  \
        .set = "named_" name, .table = name, .columns = (columns_), .column_count = 2, \
        .key_count = 1, .version = -1, .tail = "ON CONFLICT (" key ") DO NOTHING"      \
    }
#define CURRENT \
    "JOIN product AS p ON p.product_id = u.product_id AND p.version = u.product_version "

const struct postgres_table postgres_tables[POSTGRES_SETS] = {
        [POSTGRES_POSITION] = {.set = "sink_position",
                .head = "UPDATE sink_position AS t SET"
                        " next_offset = coalesce(u.next_offset, t.next_offset),"
                        " as_of = greatest(t.as_of, u.as_of) FROM",
                .tail = "WHERE t.topic = u.topic AND t.partition = u.partition"
                        " AND t.epoch = u.epoch AND (t.next_offset <= u.next_offset"
                        " OR t.next_offset IS NULL OR u.next_offset IS NULL)",
                COLUMNS(position),
                .key_count = 2,
                .version = -1},
        [POSTGRES_NAMED_WAREHOUSE] = NAMED("warehouse", warehouse, "warehouse"),
        [POSTGRES_WAREHOUSE] = {.set = "warehouse",
                .table = "warehouse",
                .tail = "ON CONFLICT (warehouse) DO UPDATE SET name = excluded.name,"
                        " state = excluded.state, event_offset = excluded.event_offset"
                        " WHERE excluded.event_offset > t.event_offset",
                COLUMNS(warehouse),
                .key_count = 1,
                .version = 1},
        [POSTGRES_NAMED_PRODUCT] = NAMED("product", product, "product_id"),
        [POSTGRES_PRODUCT] = {.set = "product",
                .table = "product",
                .tail = "ON CONFLICT (product_id) DO UPDATE SET version = excluded.version,"
                        " slug = excluded.slug, name = excluded.name,"
                        " description = excluded.description, status = excluded.status,"
                        " created_at = excluded.created_at, updated_at = excluded.updated_at,"
                        " attributes = excluded.attributes, media = excluded.media,"
                        " document = excluded.document WHERE excluded.version > t.version",
                COLUMNS(product),
                .key_count = 1,
                .version = 1},
        [POSTGRES_NAMED_SKU] = NAMED("sku", sku, "sku"),
        [POSTGRES_SKU] = {.set = "sku",
                .table = "sku",
                .tail = "ON CONFLICT (sku) DO UPDATE SET version = excluded.version,"
                        " product_id = excluded.product_id, state = excluded.state,"
                        " op_id = excluded.op_id WHERE excluded.version > t.version",
                COLUMNS(sku),
                .key_count = 1,
                .version = 1},
        [POSTGRES_SLUG] = {.set = "slug",
                .table = "slug",
                .tail = "ON CONFLICT (slug) DO UPDATE SET event_offset = excluded.event_offset,"
                        " product_id = excluded.product_id, op_id = excluded.op_id"
                        " WHERE excluded.event_offset > t.event_offset",
                COLUMNS(slug),
                .key_count = 1,
                .version = 1},
        [POSTGRES_VARIANT] = {.set = "variant",
                .table = "variant",
                .tail = CURRENT
                "ON CONFLICT (sku) DO UPDATE SET"
                " product_version = excluded.product_version,"
                " product_id = excluded.product_id, place = excluded.place,"
                " barcode = excluded.barcode, uom = excluded.uom, scale = excluded.scale,"
                " status = excluded.status, options = excluded.options"
                " WHERE excluded.product_version > t.product_version",
                COLUMNS(variant),
                .key_count = 1,
                .version = 1},
        [POSTGRES_CATEGORY] = {.set = "product_category",
                .table = "product_category",
                .tail = CURRENT
                "ON CONFLICT (product_id, category_id) DO UPDATE SET"
                " product_version = excluded.product_version, place = excluded.place"
                " WHERE excluded.product_version > t.product_version",
                COLUMNS(category),
                .key_count = 2,
                .version = 2},
        [POSTGRES_CATEGORY_GONE] = {.set = "product_category_gone",
                .head = "DELETE FROM product_category AS t USING",
                .tail = "WHERE t.product_id = u.product_id AND t.product_version < u.version",
                .columns = product,
                .column_count = 2,
                .key_count = 1,
                .version = 1},
        [POSTGRES_PRICE] = {.set = "price",
                .table = "price",
                .tail = CURRENT
                "ON CONFLICT (sku, price_id) DO UPDATE SET"
                " product_version = excluded.product_version,"
                " product_id = excluded.product_id, kind = excluded.kind,"
                " list = excluded.list, currency = excluded.currency,"
                " amount_minor = excluded.amount_minor,"
                " compare_at_minor = excluded.compare_at_minor,"
                " valid_from = excluded.valid_from, valid_until = excluded.valid_until"
                " WHERE excluded.product_version > t.product_version",
                COLUMNS(price),
                .key_count = 2,
                .version = 2},
        [POSTGRES_PRICE_GONE] = {.set = "price_gone",
                .head = "DELETE FROM price AS t USING",
                .tail = "WHERE t.product_id = u.product_id AND t.product_version < u.version",
                .columns = product,
                .column_count = 2,
                .key_count = 1,
                .version = 1},
        [POSTGRES_LEVEL] = {.set = "stock_level",
                .table = "stock_level",
                .tail = "ON CONFLICT (sku, warehouse) DO UPDATE SET version = excluded.version,"
                        " updated_at = excluded.updated_at, on_hand = excluded.on_hand,"
                        " damaged = excluded.damaged, quality_control = excluded.quality_control,"
                        " held = excluded.held, reserved = excluded.reserved,"
                        " committed = excluded.committed, safety_stock = excluded.safety_stock,"
                        " incoming = excluded.incoming WHERE excluded.version > t.version",
                COLUMNS(level),
                .key_count = 2,
                .version = 2},
        [POSTGRES_SETTING] = {.set = "stock_setting",
                .head = "UPDATE stock_level AS t SET setting_version = u.setting_version,"
                        " policy = u.policy, backorder_limit = u.backorder_limit,"
                        " low_stock_threshold = u.low_stock_threshold FROM",
                .tail = "WHERE t.sku = u.sku AND t.warehouse = u.warehouse"
                        " AND u.setting_version > t.setting_version",
                COLUMNS(setting),
                .key_count = 2,
                .version = 2},
        [POSTGRES_LEDGER] = {.set = "ledger_entry",
                .table = "ledger_entry",
                .tail = "ON CONFLICT (sku, warehouse, seq, recorded_at) DO NOTHING",
                COLUMNS(ledger),
                .key_count = 3,
                .version = -1},
        [POSTGRES_RESERVATION] = {.set = "reservation",
                .table = "reservation",
                .tail = "ON CONFLICT (reservation_id) DO UPDATE SET version = excluded.version,"
                        " state = excluded.state, owner = excluded.owner,"
                        " order_id = excluded.order_id, ttl_s = excluded.ttl_s,"
                        " attempt = excluded.attempt, pending = excluded.pending,"
                        " expires_at = excluded.expires_at, updated_at = excluded.updated_at"
                        " WHERE excluded.version > t.version",
                COLUMNS(reservation),
                .key_count = 1,
                .version = 1},
        [POSTGRES_LINE] = {.set = "reservation_line",
                .table = "reservation_line",
                .tail = "ON CONFLICT (reservation_id, line) DO UPDATE SET"
                        " reservation_version = excluded.reservation_version, sku = excluded.sku,"
                        " quantity = excluded.quantity, shipped = excluded.shipped,"
                        " state = excluded.state, warehouse = excluded.warehouse,"
                        " position = excluded.position, code = excluded.code,"
                        " available = excluded.available, warehouses = excluded.warehouses"
                        " WHERE excluded.reservation_version > t.reservation_version",
                COLUMNS(line),
                .key_count = 2,
                .version = 2},
        [POSTGRES_TRANSFER] = {.set = "transfer",
                .table = "transfer",
                .tail = "ON CONFLICT (transfer_id) DO UPDATE SET version = excluded.version,"
                        " state = excluded.state, sku = excluded.sku, quantity = excluded.quantity,"
                        " from_warehouse = excluded.from_warehouse,"
                        " to_warehouse = excluded.to_warehouse, received = excluded.received,"
                        " returned = excluded.returned, lost = excluded.lost,"
                        " updated_at = excluded.updated_at WHERE excluded.version > t.version",
                COLUMNS(transfer),
                .key_count = 1,
                .version = 1},
};
