/* connectors/redis_rows.c - see redis_rows.h. */
#include "connectors/redis_rows.h"

#include "engine/base/hash.h"
#include "schemas/catalogue_records.h"

#define ARENA_BLOCK_BYTES (64 * 1024)
#define ARENA_KEEP_BYTES  (1024 * 1024)
#define TABLE_LEAST       1024

const char *const redis_rows_kinds[REDIS_ROW_KINDS] = {
        "product", "sku", "level", "setting", "claim", "release"};
const char *const redis_rows_families[REDIS_ROW_KINDS] = {
        "product", "sku", "level", "level", "slug", "slug"};

void redis_rows_init(struct redis_rows *rows)
{
    *rows = (struct redis_rows){.capacity = TABLE_LEAST};
    tally_arena_init(&rows->arena, ARENA_BLOCK_BYTES);
    rows->table = tally_alloc_zero(rows->capacity, sizeof *rows->table);
}

void redis_rows_deinit(struct redis_rows *rows)
{
    tally_arena_deinit(&rows->arena);
    tally_free(rows->partitions);
    tally_free(rows->table);
}

void redis_rows_clear(struct redis_rows *rows)
{
    rows->partition_count = 0;
    rows->record_count = 0;
    if (rows->row_count > 0) {
        memset(rows->table, 0, rows->capacity * sizeof *rows->table);
        rows->row_count = 0;
    }
    tally_arena_reset(&rows->arena, ARENA_KEEP_BYTES);
}

static struct redis_rows_partition *find(const struct redis_rows *rows, const char *topic,
        int32_t partition)
{
    for (size_t i = 0; i < rows->partition_count; i++) {
        struct redis_rows_partition *found = &rows->partitions[i];

        if (found->partition == partition &&
                (found->topic == topic || strcmp(found->topic, topic) == 0)) {
            return found;
        }
    }
    return NULL;
}

const struct redis_rows_partition *redis_rows_of(const struct redis_rows *rows, const char *topic,
        int32_t partition)
{
    return find(rows, topic, partition);
}

static struct redis_rows_partition *find_or_make(struct redis_rows *rows,
        const struct tally_sink_record *record)
{
    struct redis_rows_partition *found = find(rows, record->topic, record->partition);

    if (found) {
        return found;
    }
    if (rows->partition_count == rows->partition_capacity) {
        rows->partition_capacity = rows->partition_capacity ? 2 * rows->partition_capacity : 16;
        rows->partitions = tally_realloc(rows->partitions,
                rows->partition_capacity * sizeof *rows->partitions);
    }
    found = &rows->partitions[rows->partition_count++];
    *found = (struct redis_rows_partition){
            .topic = record->topic, .partition = record->partition, .command = -1};
    return found;
}

/* --- which row an event leaves ---------------------------------------------------------------- */

static bool stock_row(const struct tally_event *event, struct redis_row *row)
{
    const struct stock_event *stock = event->body;

    row->id = stock->sku;
    if (stock_event_has_level(stock)) {
        bool configured = event->schema->id == STOCK_CONFIGURED;

        row->kind = configured ? REDIS_ROW_SETTING : REDIS_ROW_LEVEL;
        row->setting = configured ? &stock->setting : NULL;
        row->warehouse = stock->warehouse;
        return true;
    }
    switch ((enum stock_event_type)event->schema->id) {
    case STOCK_SKU_REGISTERED:
    case STOCK_SKU_RELEASED:
    case STOCK_SKU_FROZEN:
        row->kind = REDIS_ROW_SKU;
        return true;
    default: /* no read model */
        return false;
    }
}

static bool catalogue_row(const struct tally_event *event, struct redis_row *row)
{
    const struct catalogue_event *catalogue = event->body;

    switch ((enum catalogue_event_type)event->schema->id) {
    case CATALOGUE_PRODUCT_CREATED:
    case CATALOGUE_PRODUCT_UPDATED:
    case CATALOGUE_VARIANT_ADDED:
    case CATALOGUE_PRODUCT_PUBLISHED:
    case CATALOGUE_PRODUCT_ARCHIVED:
    case CATALOGUE_PRICE_CHANGED:
    case CATALOGUE_PRICE_SCHEDULED:
        row->kind = REDIS_ROW_PRODUCT;
        row->id = catalogue->product_id;
        return true;
    case CATALOGUE_SLUG_CLAIMED:
        row->kind = REDIS_ROW_CLAIM;
        row->id = catalogue->slug;
        return true;
    case CATALOGUE_SLUG_RELEASED:
        row->kind = REDIS_ROW_RELEASE;
        row->id = catalogue->slug;
        return true;
    case CATALOGUE_WAREHOUSE_REGISTERED:
    case CATALOGUE_OPERATION_FAILED:
    case CATALOGUE_OPERATION_STARTED:
    case CATALOGUE_OPERATION_PROGRESSED:
    case CATALOGUE_EVENT_TYPES:
        break;
    }
    return false;
}

static bool row_of(const struct tally_sink_record *record, struct redis_row *row)
{
    const struct tally_event *event = record->event;

    *row = (struct redis_row){.event = event, .offset = record->offset};
    if (!event->schema) {
        return false;
    }
    if (strcmp(record->topology, "stock") == 0) {
        return stock_row(event, row);
    }
    return strcmp(record->topology, "catalogue") == 0 && catalogue_row(event, row);
}

/* --- the last row of a key -------------------------------------------------------------------- */

static bool same_key(const struct redis_row *a, const struct redis_row *b)
{
    return a->hash == b->hash && tally_slice_equal(a->id, b->id) &&
           redis_rows_families[a->kind] == redis_rows_families[b->kind] &&
           tally_slice_equal(a->warehouse, b->warehouse);
}

static void grow(struct redis_rows *rows)
{
    size_t capacity = 2 * rows->capacity;
    struct redis_row **table = tally_alloc_zero(capacity, sizeof *table);

    for (size_t i = 0; i < rows->capacity; i++) {
        struct redis_row *row = rows->table[i];
        size_t at;

        if (!row) {
            continue;
        }
        for (at = row->hash & (capacity - 1); table[at];) {
            at = (at + 1) & (capacity - 1);
        }
        table[at] = row;
    }
    tally_free(rows->table);
    rows->table = table;
    rows->capacity = capacity;
}

static void put(struct redis_rows *rows, struct redis_rows_partition *partition,
        struct redis_row *row)
{
    struct redis_row *made;
    size_t at;

    row->hash = tally_crc32c(tally_crc32c((uint32_t)(uint8_t)redis_rows_families[row->kind][1],
                                     row->id),
            row->warehouse);
    if (2 * rows->row_count >= rows->capacity) {
        grow(rows);
    }
    for (at = row->hash & (rows->capacity - 1); rows->table[at];
            at = (at + 1) & (rows->capacity - 1)) {
        struct redis_row *known = rows->table[at];

        if (same_key(known, row)) {
            if (row->kind == REDIS_ROW_LEVEL && known->kind == REDIS_ROW_SETTING) {
                row->kind = REDIS_ROW_SETTING;
                row->setting = known->setting;
            }
            row->next = known->next;
            *known = *row;
            return;
        }
    }
    made = tally_arena_alloc(&rows->arena, sizeof *made);
    *made = *row;
    rows->table[at] = made;
    rows->row_count++;
    *(partition->last ? &partition->last->next : &partition->first) = made;
    partition->last = made;
    partition->count++;
}

void redis_rows_add(struct redis_rows *rows, const struct tally_sink_record *record)
{
    struct redis_rows_partition *partition = find_or_make(rows, record);
    struct redis_row row;

    rows->record_count++;
    partition->command = record->event->command_offset;
    partition->time_ms = record->timestamp_ms;
    if (row_of(record, &row)) {
        put(rows, partition, &row);
    }
}

/* --- values ----------------------------------------------------------------------------------- */

int64_t redis_rows_version(const struct redis_row *row)
{
    switch (row->kind) {
    case REDIS_ROW_PRODUCT:
        return ((const struct catalogue_event *)row->event->body)->version;
    case REDIS_ROW_SKU:
    case REDIS_ROW_LEVEL:
    case REDIS_ROW_SETTING:
        return ((const struct stock_event *)row->event->body)->version;
    case REDIS_ROW_CLAIM:
    case REDIS_ROW_RELEASE:
    case REDIS_ROW_KINDS:
        break;
    }
    return -1;
}

static void level_value(const struct redis_row *row, struct tally_buf *out)
{
    const struct stock_event *event = row->event->body;
    struct stock_level_row level = {.version = event->version, .updated_at = row->event->time_ms};
    struct stock_setting_row setting = {.policy = STOCK_DENY};
    struct tally_writer writer;

    memcpy(level.n, event->after.n, sizeof level.n);
    if (row->setting) {
        uint64_t there = row->setting->presence.present & ~row->setting->presence.nulls;

        setting.policy = row->setting->policy;
        setting.has_backorder_limit = there & TALLY_BIT(STOCK_SETTING_BACKORDER_LIMIT);
        setting.backorder_limit = row->setting->backorder_limit;
        setting.has_low_stock_threshold = there & TALLY_BIT(STOCK_SETTING_LOW_STOCK_THRESHOLD);
        setting.low_stock_threshold = row->setting->low_stock_threshold;
    }
    tally_write_begin(&writer, out, TALLY_FORMAT_JSON);
    stock_level_json(&writer, event->sku, event->warehouse, &level, &setting);
}

static void sku_value(const struct redis_row *row, struct tally_buf *out)
{
    const struct stock_event *event = row->event->body;
    bool owned =
            event->presence.present & ~event->presence.nulls & TALLY_BIT(STOCK_EVENT_PRODUCT_ID);
    struct tally_writer writer;

    tally_write_begin(&writer, out, TALLY_FORMAT_JSON);
    tally_write_map(&writer, 4);
    tally_write_name(&writer, "sku");
    tally_write_string(&writer, event->sku);
    tally_write_name(&writer, "product_id");
    if (owned) {
        tally_write_string(&writer, event->product_id);
    } else {
        tally_write_null(&writer);
    }
    tally_write_name(&writer, "state");
    tally_write_string(&writer, tally_slice_string(stock_sku_states[event->state]));
    tally_write_name(&writer, "version");
    tally_write_int(&writer, event->version);
}

void redis_rows_value(const struct redis_row *row, struct tally_buf *out)
{
    const struct catalogue_event *catalogue = row->event->body;

    switch (row->kind) {
    case REDIS_ROW_PRODUCT:
        catalogue_product_json(&catalogue->product, out);
        break;
    case REDIS_ROW_SKU:
        sku_value(row, out);
        break;
    case REDIS_ROW_LEVEL:
    case REDIS_ROW_SETTING:
        level_value(row, out);
        break;
    case REDIS_ROW_CLAIM:
        tally_buf_slice(out, catalogue->product_id);
        break;
    case REDIS_ROW_RELEASE:
    case REDIS_ROW_KINDS:
        break;
    }
}
