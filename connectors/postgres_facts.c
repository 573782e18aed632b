/* connectors/postgres_facts.c - events as rows: the fold of domain: events, one table at a time.
 * Invariants
 *  (1) A row names nothing that is not written before it, be it as a name alone.
 *  (2) What an event leaves behind does not depend on which others are in the batch.
 * Leaves out: operations, timers, outcomes and holds, which are of tally's own. */
#include <stdio.h>

#include "connectors/postgres_internal.h"
#include "schemas/catalogue_records.h"
#include "schemas/reservation_records.h"
#include "schemas/stock_records.h"
#include "schemas/transfer_records.h"

#define ARENA_BLOCK (64 * 1024)
#define ARENA_KEEP  (1024 * 1024)
#define MADE_MAX    (4 * TALLY_DOCUMENT_BYTES_MAX) /* a text that is made of a document */
#define NAMED_ONLY  0
#define NO_EVENT    (-2) /* event_offset of a warehouse that is only named */
#define OF_STOCK    (-1) /* of one that the stock side told of */

static bool has(uint64_t present, unsigned bit)
{
    return present & TALLY_BIT(bit);
}

void postgres_facts_init(struct postgres_batch *batch)
{
    for (int set = 0; set < POSTGRES_SETS; set++) {
        postgres_rows_init(&batch->sets[set], &postgres_tables[set]);
    }
    tally_arena_init(&batch->arena, ARENA_BLOCK);
}

void postgres_facts_deinit(struct postgres_batch *batch)
{
    for (int set = 0; set < POSTGRES_SETS; set++) {
        postgres_rows_deinit(&batch->sets[set]);
    }
    tally_arena_deinit(&batch->arena);
}

void postgres_facts_clear(struct postgres_batch *batch)
{
    for (int set = 0; set < POSTGRES_SETS; set++) {
        postgres_rows_clear(&batch->sets[set]);
    }
    tally_arena_reset(&batch->arena, ARENA_KEEP);
}

/* --- parts ------------------------------------------------------------------------------------ */

static struct postgres_cell name_of(const char *name)
{
    return postgres_text(tally_slice_string(name));
}

/* The cells that follow the key, where they are filled in by place. */
static void fill(struct postgres_cell *row, const struct postgres_cell *cells, size_t count)
{
    memcpy(row, cells, count * sizeof *cells);
}
#define FILL(row, from, ...)                                          \
    fill((row) + (from), (const struct postgres_cell[]){__VA_ARGS__}, \
            sizeof((const struct postgres_cell[]){__VA_ARGS__}) / sizeof(struct postgres_cell))

static void name(struct postgres_batch *batch, enum postgres_set set, struct tally_slice key,
        int64_t version)
{
    struct postgres_cell cell = postgres_text(key);
    struct postgres_cell *row;

    if (key.len && (row = postgres_rows_take(&batch->sets[set], &cell, 0))) {
        row[1] = postgres_int(version);
    }
}

static void name_sku(struct postgres_batch *batch, struct tally_slice sku)
{
    name(batch, POSTGRES_NAMED_SKU, sku, NAMED_ONLY);
}

static void name_warehouse(struct postgres_batch *batch, struct tally_slice warehouse)
{
    name(batch, POSTGRES_NAMED_WAREHOUSE, warehouse, NO_EVENT);
}

static void name_product(struct postgres_batch *batch, struct tally_slice product_id)
{
    name(batch, POSTGRES_NAMED_PRODUCT, product_id, NAMED_ONLY);
}

/* Takes what was written into the arena. */
static struct postgres_cell made(struct postgres_batch *batch, struct tally_buf *text)
{
    struct postgres_cell cell;

    tally_assert(!text->failed);
    cell = postgres_any_text(tally_arena_copy(&batch->arena, tally_buf_bytes(text)));
    tally_buf_deinit(text);
    return cell;
}

static struct postgres_cell json_of(struct postgres_batch *batch, const struct tally_token *token)
{
    struct tally_buf text;

    tally_buf_init(&text, MADE_MAX);
    if (token) {
        tally_token_write(token, TALLY_FORMAT_JSON, &text);
    } else {
        tally_buf_string(&text, "{}");
    }
    return made(batch, &text);
}

/* {"a","b"}: quotes and backslashes have a backslash in front. */
static struct postgres_cell texts_of(struct postgres_batch *batch, const struct tally_array *array)
{
    const struct tally_slice *items = array->items;
    struct tally_buf text;

    tally_buf_init(&text, MADE_MAX);
    tally_buf_byte(&text, '{');
    for (size_t i = 0; i < array->count; i++) {
        tally_buf_string(&text, i ? ",\"" : "\"");
        for (size_t at = 0; at < items[i].len; at++) {
            if (items[i].data[at] == '"' || items[i].data[at] == '\\') {
                tally_buf_byte(&text, '\\');
            }
            tally_buf_byte(&text, items[i].data[at]);
        }
        tally_buf_byte(&text, '"');
    }
    tally_buf_byte(&text, '}');
    return made(batch, &text);
}

/* --- catalogue -------------------------------------------------------------------------------- */

static void add_warehouse(struct postgres_batch *batch, struct tally_slice warehouse,
        struct tally_slice title, uint8_t state, int64_t event_offset)
{
    struct postgres_cell key = postgres_text(warehouse);
    struct postgres_cell *row =
            postgres_rows_take(&batch->sets[POSTGRES_WAREHOUSE], &key, event_offset);

    if (row) {
        FILL(row, 2, postgres_text(title), name_of(stock_warehouse_states[state]));
    }
}

static void add_slug(struct postgres_batch *batch, const struct tally_sink_record *record,
        const struct catalogue_event *event, bool claimed)
{
    struct postgres_cell key = postgres_text(event->slug);
    struct postgres_cell *row;

    if (claimed) {
        name_product(batch, event->product_id);
    }
    row = postgres_rows_take(&batch->sets[POSTGRES_SLUG], &key, record->offset);
    if (row) {
        FILL(row, 2, claimed ? postgres_text(event->product_id) : postgres_text(TALLY_NONE),
                postgres_text(event->op_id));
    }
}

/* What it consists of comes with the last version of the batch, in finish. */
static void add_product(struct postgres_batch *batch, const struct catalogue_product *product)
{
    struct postgres_rows *rows = &batch->sets[POSTGRES_PRODUCT];
    struct postgres_cell key = postgres_text(product->product_id);
    struct postgres_cell *row = postgres_rows_take(rows, &key, product->version);

    if (row) {
        row[rows->table->column_count].bytes = (const uint8_t *)product;
    }
}

static void add_prices(struct postgres_batch *batch, const struct catalogue_product *product,
        const struct catalogue_variant *variant)
{
    const struct catalogue_price *prices = variant->prices.items;

    for (size_t i = 0; i < variant->prices.count; i++) {
        uint64_t there = prices[i].presence.present & ~prices[i].presence.nulls;
        struct postgres_cell key[] = {
                postgres_text(variant->sku), postgres_text(prices[i].price_id)};
        struct postgres_cell *row =
                postgres_rows_take(&batch->sets[POSTGRES_PRICE], key, product->version);

        if (row) {
            FILL(row, 3, postgres_text(product->product_id),
                    name_of(catalogue_price_kinds[prices[i].kind]),
                    postgres_any_text(prices[i].list), postgres_text(prices[i].currency),
                    postgres_int(prices[i].amount_minor),
                    postgres_null_unless(has(there, CATALOGUE_PRICE_COMPARE_AT_MINOR),
                            prices[i].compare_at_minor),
                    postgres_null_unless(has(there, CATALOGUE_PRICE_VALID_FROM),
                            prices[i].valid_from),
                    postgres_null_unless(has(there, CATALOGUE_PRICE_VALID_UNTIL),
                            prices[i].valid_until));
        }
    }
}

static void add_variants(struct postgres_batch *batch, const struct catalogue_product *product)
{
    const struct catalogue_variant *variants = product->variants.items;

    for (size_t i = 0; i < product->variants.count; i++) {
        struct postgres_cell key = postgres_text(variants[i].sku);
        struct postgres_cell *row =
                postgres_rows_take(&batch->sets[POSTGRES_VARIANT], &key, product->version);

        name_sku(batch, variants[i].sku);
        if (row) {
            FILL(row, 2, postgres_text(product->product_id), postgres_int((int64_t)i),
                    has(variants[i].presence.present, CATALOGUE_VARIANT_BARCODE)
                            ? postgres_any_text(variants[i].barcode)
                            : postgres_text(TALLY_NONE),
                    postgres_any_text(variants[i].uom), postgres_int(variants[i].scale),
                    name_of(catalogue_variant_status_names[variants[i].status]),
                    json_of(batch, variants[i].options));
        }
        add_prices(batch, product, &variants[i]);
    }
}

static void add_categories(struct postgres_batch *batch, const struct catalogue_product *product)
{
    const struct tally_slice *ids = product->category_ids.items;

    for (size_t i = 0; i < product->category_ids.count; i++) {
        struct postgres_cell key[] = {postgres_text(product->product_id), postgres_text(ids[i])};
        struct postgres_cell *row =
                postgres_rows_take(&batch->sets[POSTGRES_CATEGORY], key, product->version);

        if (row) { /* the first one, if a category is named twice */
            row[3] = postgres_int((int64_t)i);
        }
    }
}

static void finish_product(struct postgres_batch *batch, size_t at)
{
    const struct postgres_rows *rows = &batch->sets[POSTGRES_PRODUCT];
    struct postgres_cell *row = postgres_rows_at(rows, at);
    const struct catalogue_product *product =
            (const struct catalogue_product *)(const void *)row[rows->table->column_count].bytes;
    struct postgres_cell key = row[0];
    struct tally_buf document;

    tally_buf_init(&document, MADE_MAX);
    catalogue_product_json(product, &document);
    FILL(row, 2, postgres_text(product->slug), postgres_any_text(product->name),
            postgres_any_text(product->description),
            name_of(catalogue_status_names[product->status]), postgres_int(product->created_at),
            postgres_int(product->updated_at), json_of(batch, product->attributes),
            texts_of(batch, &product->media), made(batch, &document));
    add_variants(batch, product);
    add_categories(batch, product);
    (void)postgres_rows_take(&batch->sets[POSTGRES_CATEGORY_GONE], &key, product->version);
    (void)postgres_rows_take(&batch->sets[POSTGRES_PRICE_GONE], &key, product->version);
}

void postgres_facts_finish(struct postgres_batch *batch)
{
    for (size_t i = 0; i < batch->sets[POSTGRES_PRODUCT].count; i++) {
        finish_product(batch, i);
    }
}

static void add_catalogue(struct postgres_batch *batch, const struct tally_sink_record *record)
{
    const struct catalogue_event *event = record->event->body;

    switch ((enum catalogue_event_type)record->event->schema->id) {
    case CATALOGUE_WAREHOUSE_REGISTERED:
        add_warehouse(batch, event->warehouse, event->name, event->state, record->offset);
        break;
    case CATALOGUE_PRODUCT_CREATED:
    case CATALOGUE_PRODUCT_UPDATED:
    case CATALOGUE_VARIANT_ADDED:
    case CATALOGUE_PRODUCT_PUBLISHED:
    case CATALOGUE_PRODUCT_ARCHIVED:
    case CATALOGUE_PRICE_CHANGED:
    case CATALOGUE_PRICE_SCHEDULED:
        add_product(batch, &event->product);
        break;
    case CATALOGUE_SLUG_CLAIMED:
    case CATALOGUE_SLUG_RELEASED:
        add_slug(batch, record, event, record->event->schema->id == CATALOGUE_SLUG_CLAIMED);
        break;
    case CATALOGUE_OPERATION_FAILED:
    case CATALOGUE_OPERATION_STARTED:
    case CATALOGUE_OPERATION_PROGRESSED:
    case CATALOGUE_EVENT_TYPES:
        break;
    }
}

/* --- stock ------------------------------------------------------------------------------------ */

static void add_sku(struct postgres_batch *batch, const struct stock_event *event)
{
    struct postgres_cell key = postgres_text(event->sku);
    struct postgres_cell *row =
            postgres_rows_take(&batch->sets[POSTGRES_SKU], &key, event->version);

    name_product(batch, event->product_id);
    if (row) {
        FILL(row, 2, postgres_text(event->product_id), name_of(stock_sku_states[event->state]),
                postgres_text(event->op_id));
    }
}

static void put_numbers(struct postgres_cell *row, const struct stock_numbers *numbers)
{
    for (int i = 0; i < STOCK_BUCKETS; i++) {
        row[i] = postgres_int(numbers->n[i]);
    }
}

static void add_level(struct postgres_batch *batch, const struct tally_event *envelope,
        const struct stock_event *event)
{
    struct postgres_cell key[] = {postgres_text(event->sku), postgres_text(event->warehouse)};
    struct postgres_cell *row =
            postgres_rows_take(&batch->sets[POSTGRES_LEVEL], key, event->version);

    name_sku(batch, event->sku);
    name_warehouse(batch, event->warehouse);
    if (row) {
        row[3] = postgres_int(envelope->time_ms);
        put_numbers(row + 4, &event->after);
    }
}

static void add_setting(struct postgres_batch *batch, const struct stock_event *event)
{
    const struct stock_setting *setting = &event->setting;
    uint64_t there = setting->presence.present & ~setting->presence.nulls;
    struct postgres_cell key[] = {postgres_text(event->sku), postgres_text(event->warehouse)};
    struct postgres_cell *row =
            postgres_rows_take(&batch->sets[POSTGRES_SETTING], key, event->version);

    if (row) {
        FILL(row, 3, name_of(stock_policy_names[setting->policy]),
                postgres_null_unless(has(there, STOCK_SETTING_BACKORDER_LIMIT),
                        setting->backorder_limit),
                postgres_null_unless(has(there, STOCK_SETTING_LOW_STOCK_THRESHOLD),
                        setting->low_stock_threshold));
    }
}

static const char *reason_of(const struct tally_event *envelope, const struct stock_event *event)
{
    if (!has(event->presence.present, STOCK_EVENT_REASON)) {
        return NULL;
    }
    return envelope->schema->id == STOCK_UNITS_RELEASED ? stock_release_reason_names[event->reason]
                                                        : stock_reason_names[event->reason];
}

static struct postgres_cell optional(bool there, struct tally_slice text)
{
    return there ? postgres_any_text(text) : postgres_text(TALLY_NONE);
}

static void add_entry(struct postgres_batch *batch, const struct tally_event *envelope,
        const struct stock_event *event)
{
    uint64_t there = event->presence.present;
    const struct stock_cause *cause = &event->cause;
    struct postgres_cell key[] = {
            postgres_text(event->sku), postgres_text(event->warehouse), postgres_int(event->seq)};
    struct postgres_cell *row = postgres_rows_take(&batch->sets[POSTGRES_LEDGER], key, 0);

    if (!row) {
        return;
    }
    row[3] = name_of(envelope->schema->name);
    row[4] = name_of(stock_kind_names[event->kind]);
    put_numbers(row + 5, &event->deltas);
    put_numbers(row + 5 + STOCK_BUCKETS, &event->after);
    FILL(row, 5 + 2 * STOCK_BUCKETS, name_of(reason_of(envelope, event)),
            optional(has(there, STOCK_EVENT_NOTE), event->note),
            optional(has(there, STOCK_EVENT_REFERENCE), event->reference),
            postgres_text(cause->reservation_id),
            postgres_null_unless(cause->presence.present & TALLY_BIT(STOCK_CAUSE_LINE),
                    cause->line),
            postgres_text(cause->order_id), postgres_text(cause->shipment_id),
            postgres_text(cause->return_id), postgres_text(cause->transfer_id),
            postgres_text(envelope->actor), postgres_text(envelope->command_id),
            postgres_int(envelope->partition), postgres_int(envelope->command_offset),
            postgres_int(envelope->time_ms),
            event->signals.count ? texts_of(batch, &event->signals) : postgres_text(TALLY_NONE));
}

static void add_stock(struct postgres_batch *batch, const struct tally_sink_record *record)
{
    const struct stock_event *event = record->event->body;

    switch ((enum stock_event_type)record->event->schema->id) {
    case STOCK_SKU_REGISTERED:
    case STOCK_SKU_RELEASED:
    case STOCK_SKU_FROZEN:
        add_sku(batch, event);
        break;
    case STOCK_WAREHOUSE_APPLIED:
        add_warehouse(batch, event->warehouse, event->name, event->state, OF_STOCK);
        break;
    case STOCK_CONFIGURED:
        add_setting(batch, event);
        break;
    default: /* a level alone, or nothing of these tables */
        break;
    }
    if (stock_event_has_level(event)) {
        add_level(batch, record->event, event);
        add_entry(batch, record->event, event);
    }
}

/* --- reservations and transfers --------------------------------------------------------------- */

static void add_lines(struct postgres_batch *batch, const struct reservation_event *event)
{
    const struct reservation_line *lines = event->lines.items;

    for (size_t i = 0; i < event->lines.count; i++) {
        uint64_t there = lines[i].presence.present;
        struct postgres_cell key[] = {
                postgres_text(event->reservation_id), postgres_int(lines[i].line)};
        struct postgres_cell *row =
                postgres_rows_take(&batch->sets[POSTGRES_LINE], key, event->version);

        name_sku(batch, lines[i].sku);
        name_warehouse(batch, lines[i].warehouse);
        if (row) {
            FILL(row, 3, postgres_text(lines[i].sku), postgres_int(lines[i].quantity),
                    postgres_int(lines[i].shipped),
                    name_of(reservation_line_state_names[lines[i].state]),
                    postgres_text(lines[i].warehouse), postgres_text(lines[i].position),
                    postgres_text(lines[i].code),
                    postgres_null_unless(has(there, RESERVATION_LINE_AVAILABLE),
                            lines[i].available),
                    texts_of(batch, &lines[i].warehouses));
        }
    }
}

static void add_reservation(struct postgres_batch *batch, const struct tally_sink_record *record)
{
    const struct reservation_event *event = record->event->body;
    struct postgres_cell key = postgres_text(event->reservation_id);
    struct postgres_cell *row =
            postgres_rows_take(&batch->sets[POSTGRES_RESERVATION], &key, event->version);

    if (row) {
        FILL(row, 2, name_of(reservation_state_names[event->state]), postgres_text(event->owner),
                postgres_text(event->order_id), postgres_int(event->ttl_s),
                postgres_int(event->attempt), postgres_int(event->pending),
                postgres_null_unless(has(event->presence.present, RESERVATION_EVENT_EXPIRES_AT),
                        event->expires_at),
                postgres_int(record->event->time_ms));
    }
    add_lines(batch, event);
}

static void add_transfer(struct postgres_batch *batch, const struct tally_sink_record *record)
{
    const struct transfer_event *event = record->event->body;
    struct postgres_cell key = postgres_text(event->transfer_id);
    struct postgres_cell *row =
            postgres_rows_take(&batch->sets[POSTGRES_TRANSFER], &key, event->version);

    name_sku(batch, event->sku);
    name_warehouse(batch, event->from);
    name_warehouse(batch, event->to);
    if (row) {
        FILL(row, 2, name_of(transfer_state_names[event->state]), postgres_text(event->sku),
                postgres_int(event->quantity), postgres_text(event->from), postgres_text(event->to),
                postgres_int(event->received), postgres_int(event->returned),
                postgres_int(event->lost), postgres_int(record->event->time_ms));
    }
}

static const struct {
    const char *topology;
    void (*add)(struct postgres_batch *batch, const struct tally_sink_record *record);
} families[] = {{"stock", add_stock}, {"catalogue", add_catalogue},
        {"reservation", add_reservation}, {"transfer", add_transfer}};

void postgres_facts_add(struct postgres_batch *batch, const struct tally_sink_record *record)
{
    for (size_t i = 0; record->event->schema && i < sizeof families / sizeof families[0]; i++) {
        if (strcmp(record->topology, families[i].topology) == 0) {
            families[i].add(batch, record);
        }
    }
}
