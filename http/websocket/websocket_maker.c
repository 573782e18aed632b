/* http/websocket/websocket_maker.c - a committed record as what subscribers are told.
 * A level's event says its numbers, and its setting only when that changes: the setting of a level
 * that somebody follows is read once, and from then on comes with the events. */
#include "http/websocket/websocket_event.h"

#include <stdio.h>

#include "engine/base/hash.h"
#include "engine/base/log.h"
#include "http/ledger_query.h"
#include "http/websocket/websocket_reservations.h"
#include "schemas/catalogue_records.h"
#include "schemas/transfer_records.h"

enum {
    ARENA_BLOCK_BYTES = 16 * 1024,
    ARENA_KEEP_BYTES = 256 * 1024,
    DATA_BYTES_MAX = 8 * 1024 * 1024,
    SETTINGS = 16384, /* at most half of them are used */
    PATH_BYTES = 400,
    OK_STATUS = 200,
    LOG_MS = 10000
};

const struct websocket_topic_info websocket_topics[WEBSOCKET_TOPICS] = {
        [WEBSOCKET_STOCK] = {"stock", "stock", "sku", "/v1/stock/", true, false, true},
        [WEBSOCKET_LEDGER] = {"ledger", "stock", "sku", NULL, true, true, false},
        [WEBSOCKET_LOW_STOCK] = {"low_stock", "stock", "sku", NULL, true, false, true},
        [WEBSOCKET_CATALOGUE] = {"catalogue", "catalogue", "product_id", "/v1/products/by-id/",
                false, false, true},
        [WEBSOCKET_RESERVATIONS] = {"reservations", "reservation", "reservation_id",
                "/v1/reservations/", false, false, true},
        [WEBSOCKET_TRANSFERS] = {"transfers", "transfer", "transfer_id", "/v1/transfers/", false,
                false, true},
        [WEBSOCKET_METRICS] = {"metrics", "", "name", NULL, false, false, true},
};

struct setting {
    struct tally_slice key; /* sku, NUL, warehouse; data NULL: free */
    struct stock_setting_row row;
};

struct websocket_maker {
    struct websocket_inner *inner;
    struct websocket_reservations *reservations;
    struct tally_event event; /* as decoded */
    bool known;
    struct tally_arena arena; /* of one record */
    struct tally_buf data, key;
    struct setting *settings; /* open addressing; emptied when half full */
    size_t setting_count;
    struct tally_arena names; /* keys of settings */
};

struct websocket_maker *websocket_maker_create(const struct exchange *prototype)
{
    struct websocket_maker *maker = tally_alloc_zero(1, sizeof *maker);

    maker->inner = websocket_inner_create(prototype);
    maker->reservations = websocket_reservations_create();
    tally_arena_init(&maker->arena, ARENA_BLOCK_BYTES);
    tally_arena_init(&maker->names, ARENA_BLOCK_BYTES);
    tally_buf_init(&maker->data, DATA_BYTES_MAX);
    tally_buf_init(&maker->key, PATH_BYTES);
    return maker;
}

void websocket_maker_destroy(struct websocket_maker *maker)
{
    if (!maker) {
        return;
    }
    websocket_inner_destroy(maker->inner);
    websocket_reservations_destroy(maker->reservations);
    tally_arena_deinit(&maker->arena);
    tally_arena_deinit(&maker->names);
    tally_buf_deinit(&maker->data);
    tally_buf_deinit(&maker->key);
    tally_free(maker->settings);
    tally_free(maker);
}

/* --- events ----------------------------------------------------------------------------------- */

void websocket_event_release(struct websocket_event *event)
{
    if (atomic_fetch_sub_explicit(&event->references, 1, memory_order_acq_rel) == 1) {
        tally_free(event);
    }
}

bool websocket_event_same(const struct websocket_event *a, const struct websocket_event *b)
{
    return tally_slice_equal(a->id, b->id) && tally_slice_equal(a->warehouse, b->warehouse);
}

void websocket_event_position(const struct websocket_event *event, struct tally_buf *out)
{
    tally_buf_format(out, "%s/%d@%lld", event->source, (int)event->partition,
            (long long)event->offset);
}

static struct tally_slice put(uint8_t **at, struct tally_slice bytes)
{
    struct tally_slice copy = tally_slice_of(*at, bytes.len);

    tally_copy_short(*at, bytes.data, bytes.len);
    *at += bytes.len;
    return copy;
}

/* All of it in one piece of memory. */
struct websocket_event *websocket_event_create(const struct websocket_event *like,
        struct tally_slice data)
{
    struct websocket_event *event =
            tally_alloc(sizeof *event + like->id.len + like->warehouse.len + data.len);
    uint8_t *at = (uint8_t *)(event + 1);

    *event = (struct websocket_event){.references = 1, /* others count those of `like` meanwhile */
            .topic = like->topic,
            .source = like->source,
            .partition = like->partition,
            .offset = like->offset,
            .version = like->version,
            .newer = like->newer,
            .kind = like->kind};
    event->id = put(&at, like->id);
    event->warehouse = put(&at, like->warehouse);
    event->data = put(&at, data);
    return event;
}

/* --- settings --------------------------------------------------------------------------------- */

static struct setting *find(struct websocket_maker *maker, struct tally_slice sku,
        struct tally_slice warehouse)
{
    size_t at;

    tally_buf_clear(&maker->key);
    tally_buf_slice(&maker->key, sku);
    tally_buf_byte(&maker->key, 0);
    tally_buf_slice(&maker->key, warehouse);
    if (!maker->settings) {
        maker->settings = tally_alloc_zero(SETTINGS, sizeof *maker->settings);
    }
    at = tally_crc32c(0, tally_buf_bytes(&maker->key)) % SETTINGS;
    while (maker->settings[at].key.data &&
            !tally_slice_equal(maker->settings[at].key, tally_buf_bytes(&maker->key))) {
        at = (at + 1) % SETTINGS;
    }
    return &maker->settings[at];
}

static void keep(struct websocket_maker *maker, const struct stock_event *event,
        const struct stock_setting_row *row)
{
    struct setting *setting = find(maker, event->sku, event->warehouse);

    if (!setting->key.data && maker->setting_count >= SETTINGS / 2) {
        memset(maker->settings, 0, SETTINGS * sizeof *maker->settings);
        maker->setting_count = 0;
        tally_arena_reset(&maker->names, ARENA_KEEP_BYTES);
        setting = find(maker, event->sku, event->warehouse);
    }
    if (!setting->key.data) {
        setting->key = tally_arena_copy(&maker->names, tally_buf_bytes(&maker->key));
        maker->setting_count++;
    }
    setting->row = *row;
}

static void take_int(const struct tally_token *level, const char *name, bool *has, int64_t *value)
{
    const struct tally_token *token = tally_token_member(level, name);

    *has = token && token->type == TALLY_INT;
    *value = *has ? token->integer : 0;
}

/* As the level's owner has it, no earlier than with this event. */
static enum tally_code read_setting(struct websocket_maker *maker,
        const struct websocket_source *source, const struct tally_event *event,
        struct stock_setting_row *row, struct tally_error *err)
{
    const struct stock_event *stock = event->body;
    const struct tally_token *level = NULL, *policy;
    char path[PATH_BYTES], positions[PATH_BYTES];
    struct tally_slice body;
    int status;

    snprintf(path, sizeof path, "/v1/stock/%.*s/%.*s", (int)stock->sku.len,
            (const char *)stock->sku.data, (int)stock->warehouse.len,
            (const char *)stock->warehouse.data);
    snprintf(positions, sizeof positions, "%s/%d@%lld", source->commands, (int)event->partition,
            (long long)event->command_offset);
    status = websocket_inner_get(maker->inner, path, "", positions, &body);
    level = status == OK_STATUS ? websocket_inner_document(maker->inner) : NULL;
    if (!level) {
        return tally_error_set(err, TALLY_UNAVAILABLE, "%s: %d %s", path, status,
                websocket_inner_problem(maker->inner));
    }
    policy = tally_token_member(level, "policy");
    *row = (struct stock_setting_row){.policy = STOCK_DENY};
    if (policy && policy->type == TALLY_STRING &&
            tally_slice_equal(policy->string,
                    tally_slice_string(stock_policy_names[STOCK_BACKORDER]))) {
        row->policy = STOCK_BACKORDER;
    }
    take_int(level, "backorder_limit", &row->has_backorder_limit, &row->backorder_limit);
    take_int(level, "low_stock_threshold", &row->has_low_stock_threshold,
            &row->low_stock_threshold);
    return TALLY_OK;
}

static struct stock_setting_row setting_of(const struct stock_setting *setting)
{
    uint64_t there = setting->presence.present & ~setting->presence.nulls;

    return (struct stock_setting_row){.policy = setting->policy,
            .has_backorder_limit = there & TALLY_BIT(STOCK_SETTING_BACKORDER_LIMIT),
            .backorder_limit = setting->backorder_limit,
            .has_low_stock_threshold = there & TALLY_BIT(STOCK_SETTING_LOW_STOCK_THRESHOLD),
            .low_stock_threshold = setting->low_stock_threshold};
}

static enum tally_code find_setting(struct websocket_maker *maker,
        const struct websocket_source *source, const struct tally_event *event,
        struct stock_setting_row *row, struct tally_error *err)
{
    const struct stock_event *stock = event->body;
    const struct setting *known;
    enum tally_code code = TALLY_OK;

    if (event->schema->id == STOCK_CONFIGURED) {
        *row = setting_of(&stock->setting);
    } else {
        known = find(maker, stock->sku, stock->warehouse);
        if (known->key.data) {
            *row = known->row;
            return TALLY_OK;
        }
        code = read_setting(maker, source, event, row, err);
    }
    if (!code) {
        keep(maker, stock, row);
    }
    return code;
}

/* --- documents -------------------------------------------------------------------------------- */

static enum tally_code write_level(struct websocket_maker *maker,
        const struct websocket_source *source, const struct tally_event *event,
        struct tally_error *err)
{
    const struct stock_event *stock = event->body;
    struct stock_level_row level = {.version = stock->version, .updated_at = event->time_ms};
    struct stock_setting_row setting = {.policy = STOCK_DENY};
    struct tally_writer writer;
    enum tally_code code = find_setting(maker, source, event, &setting, err);

    if (!code) {
        memcpy(level.n, stock->after.n, sizeof level.n);
        tally_buf_clear(&maker->data);
        tally_write_begin(&writer, &maker->data, TALLY_FORMAT_JSON);
        stock_level_json(&writer, stock->sku, stock->warehouse, &level, &setting);
    }
    return code;
}

static void write_or_null(struct tally_writer *writer, const char *text)
{
    if (text) {
        tally_write_string(writer, tally_slice_string(text));
    } else {
        tally_write_null(writer);
    }
}

/* What GET /v1/stock:low has of a level; with severity null of one that needs no attention any
 * more. *tells: it needs attention, or has just ceased to. */
static enum tally_code write_low(struct websocket_maker *maker,
        const struct websocket_source *source, bool *tells, struct tally_error *err)
{
    const struct stock_event *stock = maker->event.body;
    struct stock_level_row level = {.version = stock->version};
    struct stock_setting_row setting = {.policy = STOCK_DENY};
    const char *severity = NULL;
    struct tally_writer writer;
    int64_t available;
    enum tally_code code = find_setting(maker, source, &maker->event, &setting, err);

    memcpy(level.n, stock->after.n, sizeof level.n);
    available = stock_level_available(&level);
    if (available <= 0) {
        severity = available < 0 ? "OVERSOLD" : "OUT";
    } else if (setting.has_low_stock_threshold && available <= setting.low_stock_threshold) {
        severity = "LOW";
    }
    *tells = severity || stock->signals.count > 0;
    if (code || !*tells) {
        return code;
    }
    tally_buf_clear(&maker->data);
    tally_write_begin(&writer, &maker->data, TALLY_FORMAT_JSON);
    tally_write_map(&writer, 7);
    tally_write_name(&writer, "sku");
    tally_write_string(&writer, stock->sku);
    tally_write_name(&writer, "warehouse");
    tally_write_string(&writer, stock->warehouse);
    tally_write_name(&writer, "severity");
    write_or_null(&writer, severity);
    tally_write_name(&writer, "available");
    tally_write_int(&writer, available);
    tally_write_name(&writer, "low_stock_threshold");
    if (setting.has_low_stock_threshold) {
        tally_write_int(&writer, setting.low_stock_threshold);
    } else {
        tally_write_null(&writer);
    }
    tally_write_name(&writer, "version");
    tally_write_int(&writer, stock->version);
    tally_write_name(&writer, "updated_at");
    tally_write_time(&writer, maker->event.time_ms);
    return TALLY_OK;
}

static void write_ledger(struct websocket_maker *maker, const struct websocket_source *source)
{
    const struct tally_event *event = &maker->event;
    const struct stock_event *stock = event->body;
    struct stock_ledger_row row;
    struct tally_writer writer;

    ledger_query_of_event(event, &row);
    tally_buf_clear(&maker->data);
    tally_write_begin(&writer, &maker->data, TALLY_FORMAT_JSON);
    ledger_query_entry_json(&writer, stock->sku, stock->warehouse, stock->seq, &row,
            source->commands, event->partition);
}

/* What one call makes. */
struct making {
    const struct websocket_source *source;
    struct websocket_event like;
    struct websocket_event **events;
    size_t *count;
};

static void add(struct websocket_maker *maker, struct making *making, enum websocket_topic topic)
{
    making->like.topic = topic;
    making->events[(*making->count)++] =
            websocket_event_create(&making->like, tally_buf_bytes(&maker->data));
}

static enum tally_code make_stock(struct websocket_maker *maker, struct making *making,
        unsigned wanted, struct tally_error *err)
{
    const struct stock_event *stock = maker->event.body;
    enum tally_code code = TALLY_OK;

    if (!stock_event_has_level(stock)) {
        return TALLY_OK;
    }
    making->like.version = stock->version;
    making->like.kind = stock->kind;
    making->like.id = stock->sku;
    making->like.warehouse = stock->warehouse;
    if (wanted & 1u << WEBSOCKET_STOCK) {
        code = write_level(maker, making->source, &maker->event, err);
        if (code) {
            return code; /* nor is its setting known for what follows */
        }
        add(maker, making, WEBSOCKET_STOCK);
    }
    if (wanted & 1u << WEBSOCKET_LOW_STOCK) {
        bool tells = false;

        code = write_low(maker, making->source, &tells, err);
        if (!code && tells) {
            add(maker, making, WEBSOCKET_LOW_STOCK);
        }
    }
    if (!code && wanted & 1u << WEBSOCKET_LEDGER) {
        write_ledger(maker, making->source);
        add(maker, making, WEBSOCKET_LEDGER);
    }
    return code;
}

static void make_product(struct websocket_maker *maker, struct making *making)
{
    const struct catalogue_event *catalogue = maker->event.body;

    switch ((enum catalogue_event_type)maker->event.schema->id) {
    case CATALOGUE_PRODUCT_CREATED:
    case CATALOGUE_PRODUCT_UPDATED:
    case CATALOGUE_VARIANT_ADDED:
    case CATALOGUE_PRODUCT_PUBLISHED:
    case CATALOGUE_PRODUCT_ARCHIVED:
    case CATALOGUE_PRICE_CHANGED:
    case CATALOGUE_PRICE_SCHEDULED:
        making->like.version = catalogue->version;
        making->like.id = catalogue->product_id;
        tally_buf_clear(&maker->data);
        catalogue_product_json(&catalogue->product, &maker->data);
        add(maker, making, WEBSOCKET_CATALOGUE);
        break;
    case CATALOGUE_SLUG_CLAIMED:
    case CATALOGUE_SLUG_RELEASED:
    case CATALOGUE_WAREHOUSE_REGISTERED:
    case CATALOGUE_OPERATION_FAILED:
    case CATALOGUE_OPERATION_STARTED:
    case CATALOGUE_OPERATION_PROGRESSED:
    case CATALOGUE_EVENT_TYPES:
        break;
    }
}

static enum tally_code make_reservation(struct websocket_maker *maker, struct making *making,
        struct tally_error *err)
{
    const struct reservation_event *event = maker->event.body;
    char positions[PATH_BYTES];
    struct websocket_fold fold = {.inner = maker->inner,
            .positions = positions,
            .arena = &maker->arena,
            .type = maker->event.schema->id};
    enum tally_code code;

    snprintf(positions, sizeof positions, "%s/%d@%lld", making->source->commands,
            (int)maker->event.partition, (long long)maker->event.command_offset);
    tally_buf_clear(&maker->data);
    code = websocket_reservations_fold(maker->reservations, event, &fold, &maker->data, err);
    if (!code && !fold.old) {
        making->like.version = fold.version;
        making->like.newer = fold.newer;
        making->like.id = event->reservation_id;
        add(maker, making, WEBSOCKET_RESERVATIONS);
    }
    return code;
}

static void make_transfer(struct websocket_maker *maker, struct making *making)
{
    struct transfer_event event = *(const struct transfer_event *)maker->event.body;

    event.presence.present &= ~(TALLY_BIT(TRANSFER_EVENT_TIMER) | TALLY_BIT(TRANSFER_EVENT_OP));
    making->like.version = event.version;
    making->like.id = event.transfer_id;
    tally_buf_clear(&maker->data);
    tally_encode(transfer_event_schemas[TRANSFER_WAS_DISPATCHED], &event, TALLY_FORMAT_JSON,
            &maker->data);
    add(maker, making, WEBSOCKET_TRANSFERS);
}

int64_t websocket_maker_decode(struct websocket_maker *maker, const struct websocket_source *source,
        const struct tally_record *record)
{
    static struct tally_log_limit limit;
    struct tally_error err;
    enum tally_code code;

    tally_arena_reset(&maker->arena, ARENA_KEEP_BYTES);
    code = tally_event_decode(record->value, record->key, source->topology, record->partition,
            source->types, &maker->arena, &maker->event, &err);
    maker->known = code == TALLY_OK;
    if (code && code != TALLY_NOT_FOUND && tally_log_allowed(&limit, LOG_MS)) {
        tally_log_error(TALLY_LOG_WARN, "followers are not told of a record", &err);
    }
    maker->event.key = record->key;
    return maker->known ? maker->event.command_offset : TALLY_OFFSET_NONE;
}

enum tally_code websocket_maker_make(struct websocket_maker *maker,
        const struct websocket_source *source, const struct tally_record *record, unsigned wanted,
        struct websocket_event *events[static WEBSOCKET_TOPICS], size_t *count,
        struct tally_error *err)
{
    struct making making = {.source = source,
            .like = {.source = source->topic,
                    .partition = record->partition,
                    .offset = record->offset},
            .events = events,
            .count = count};

    *count = 0;
    if (!maker->known || !maker->event.schema) {
        return TALLY_OK;
    }
    if (wanted & 1u << WEBSOCKET_RESERVATIONS) {
        return make_reservation(maker, &making, err);
    }
    if (wanted & 1u << WEBSOCKET_CATALOGUE) {
        make_product(maker, &making);
    } else if (wanted & 1u << WEBSOCKET_TRANSFERS) {
        make_transfer(maker, &making);
    } else {
        return make_stock(maker, &making, wanted, err);
    }
    return TALLY_OK;
}

size_t websocket_sources(struct tally_runtime *runtime,
        struct websocket_source sources[static WEBSOCKET_SOURCES_MAX])
{
    size_t topologies = 0, count = 0;
    struct tally_topology *const *topology = tally_runtime_topologies(runtime, &topologies);

    for (size_t i = 0; i < topologies && count < WEBSOCKET_SOURCES_MAX; i++) {
        const struct tally_aggregate *aggregate = tally_topology_aggregate(topology[i]);
        const char *name = tally_topology_name(topology[i]);
        unsigned topics = 0;

        for (unsigned j = 0; j < WEBSOCKET_TOPICS; j++) {
            topics |= strcmp(websocket_topics[j].topology, name) == 0 ? 1u << j : 0;
        }
        if (aggregate && topics) {
            sources[count++] = (struct websocket_source){.topology = name,
                    .topic = tally_topology_events(topology[i]),
                    .commands = tally_topology_commands(topology[i]),
                    .types = aggregate->event_types,
                    .topics = topics};
        }
    }
    return count;
}
