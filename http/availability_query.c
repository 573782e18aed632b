/* http/availability_query.c - see availability_query.h.
 *   body -> SKUs by partition -> one read for each partition -> items in the order of the body
 * Invariants
 *  (1) SKUs of one partition are read at one commit, or while nobody who owns it can be asked, in
 *      Redis.
 *  (2) What is not known is an item that says so; what else goes wrong is the whole answer's. */
#include "http/availability_query.h"

#include "engine/base/hash.h"
#include "http/document.h"
#include "http/elsewhere_cached.h"
#include "http/problem.h"
#include "http/reading.h"
#include "http/stock_query.h"
#include "schemas/serde_table.h"

enum { SKUS_MAX = 500 };

enum { ASKED_SKUS, ASKED_WAREHOUSES };
struct asked {
    struct tally_presence presence;
    struct tally_array skus, warehouses; /* of struct tally_slice */
};

#define ASKED(bit, member, name, type, presence, help) \
    FIELD_ROW(struct asked, ASKED_##bit, member, name, type, presence, help)
static const struct tally_field asked_fields[] = {
        ASKED(SKUS, skus, "skus", STRINGS(1, SKUS_MAX), REQUIRED, "what is asked for") //
        ASKED(WAREHOUSES, warehouses, "warehouses", NAMES(WAREHOUSE, 0, STOCK_QUERY_WAREHOUSES_MAX),
                OPTIONAL,
                "where; empty, as without it: everywhere") //
};
const struct tally_schema availability_query_schema = {
        .name = "AvailabilityQuery",
        .fields = asked_fields,
        .field_count = sizeof asked_fields / sizeof asked_fields[0],
        .size = sizeof(struct asked),
        .help = "what of many SKUs can be sold now",
};

struct answers {
    struct stock_query_sku *items; /* in the order of the body */
    bool *taken;                   /* those that another instance or Redis has answered */
    size_t count;
    struct tally_buf positions;
    int64_t as_of_ms; /* of the task that is furthest behind */
    bool cached;      /* some are from Redis */
};

static bool read_asked(struct exchange *exchange, struct asked *asked)
{
    const struct tally_token *root = NULL;
    struct tally_violations violations = {.count = 0};
    struct tally_slice bytes;
    enum tally_format format;

    if (!document_media_type(exchange, &format) ||
            !document_parse(exchange, format, &root, &bytes)) {
        return false;
    }
    tally_bind(root, &availability_query_schema, true, NULL, &exchange->arena, asked, &violations);
    if (violations.count > 0) {
        problem_reject(exchange, TALLY_REJECT_VALIDATION_FAILED, &violations, "%s: %s",
                violations.items[0].pointer, violations.items[0].detail);
    }
    return violations.count == 0;
}

static void prepare(struct exchange *exchange, const struct asked *asked, struct answers *answers)
{
    const struct tally_slice *skus = asked->skus.items, *warehouses = asked->warehouses.items;

    answers->count = asked->skus.count;
    answers->items = tally_arena_alloc(&exchange->arena, answers->count * sizeof *answers->items);
    answers->taken = tally_arena_alloc(&exchange->arena, answers->count * sizeof *answers->taken);
    for (size_t i = 0; i < answers->count; i++) {
        struct stock_query_sku *item = &answers->items[i];

        answers->taken[i] = false;
        *item = (struct stock_query_sku){
                .arena = &exchange->arena, .sku = skus[i], .filter_count = asked->warehouses.count};
        for (size_t j = 0; j < item->filter_count; j++) {
            item->filter[j] = warehouses[j];
        }
    }
}

static void add_info(struct answers *answers, const struct tally_read_info *info)
{
    reading_positions_add(&answers->positions, info);
    if (answers->as_of_ms == 0 || info->as_of_ms < answers->as_of_ms) {
        answers->as_of_ms = info->as_of_ms;
    }
}

/* Whose SKU it is; -1: no SKU can be called so, it is nobody's. */
static int32_t partition_of(const struct exchange *exchange, const struct stock_query_sku *item)
{
    return stock_query_is_sku(item->sku)
                   ? tally_partition_of(item->sku, tally_runtime_partitions(exchange->runtime))
                   : -1;
}

/* Those SKUs that the partition owns and that nobody has answered, of a task that is here. */
static enum tally_code read_partition(struct exchange *exchange,
        const struct reading_positions *positions, int32_t partition, struct answers *answers,
        struct tally_error *err)
{
    struct tally_read *read = NULL;
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; i < answers->count && !code; i++) {
        struct stock_query_sku *item = &answers->items[i];

        if (partition_of(exchange, item) != partition || answers->taken[i]) {
            continue;
        }
        if (!read) {
            code = tally_read_open(exchange->runtime, "stock", TALLY_NONE, partition,
                    &positions->options, &read, err);
            if (code) {
                break;
            }
            add_info(answers, tally_read_info(read));
        }
        code = stock_query_read(read, item, err);
    }
    tally_read_close(read);
    return code;
}

static bool is_answered(const struct elsewhere_item items[static STOCK_QUERY_ITEMS])
{
    for (size_t i = 0; i < STOCK_QUERY_ITEMS; i++) {
        if (items[i].code == TALLY_FENCED || items[i].code == TALLY_UNAVAILABLE) {
            return false;
        }
    }
    return true;
}

/* What the owner of a partition, or Redis, has said of its SKUs. FENCED: not of all. */
static enum tally_code take_partition(const struct exchange *exchange, int32_t partition,
        const struct elsewhere_item *asked, struct answers *answers, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;
    bool told = false, missed = false;

    for (size_t i = 0; i < answers->count && !code; i++) {
        const struct elsewhere_item *items = &asked[i * STOCK_QUERY_ITEMS];

        if (partition_of(exchange, &answers->items[i]) != partition) {
            continue;
        }
        if (!is_answered(items)) {
            missed = true;
            continue;
        }
        code = stock_query_take(&answers->items[i], items, err);
        answers->taken[i] = true;
        answers->cached = answers->cached || items[0].cached;
        if (!code && !told && items[0].info.topic) {
            add_info(answers, &items[0].info);
            told = true;
        }
    }
    return code ? code : missed ? TALLY_FENCED : TALLY_OK;
}

/* Asks for all SKUs whose tasks run elsewhere (away), by partition. The answers stand where their
 * SKUs do. */
static struct elsewhere_item *ask_others(struct exchange *exchange, const struct answers *answers,
        const bool *away)
{
    struct tally_arena *arena = &exchange->arena;
    int32_t partitions = tally_runtime_partitions(exchange->runtime);
    size_t max = answers->count * STOCK_QUERY_ITEMS, count = 0;
    struct elsewhere_item *asked = tally_arena_alloc(arena, max * sizeof *asked);
    struct elsewhere_item *packed = tally_arena_alloc(arena, max * sizeof *packed);
    size_t *places = tally_arena_alloc(arena, answers->count * sizeof *places);

    for (int32_t partition = 0; partition < partitions; partition++) {
        for (size_t i = 0; i < answers->count && away[partition]; i++) {
            if (partition_of(exchange, &answers->items[i]) == partition) {
                places[count] = i;
                stock_query_ask(&answers->items[i], partition, &packed[count * STOCK_QUERY_ITEMS]);
                count++;
            }
        }
    }
    elsewhere_ask(exchange, packed, count * STOCK_QUERY_ITEMS, 0);
    elsewhere_cached(exchange, packed, count * STOCK_QUERY_ITEMS);
    for (size_t i = 0; i < count; i++) {
        memcpy(&asked[places[i] * STOCK_QUERY_ITEMS], &packed[i * STOCK_QUERY_ITEMS],
                STOCK_QUERY_ITEMS * sizeof *asked);
    }
    return asked;
}

static enum tally_code read_all(struct exchange *exchange, struct reading_positions *positions,
        struct answers *answers, struct tally_error *err)
{
    int32_t partitions = tally_runtime_partitions(exchange->runtime);
    bool *away = tally_arena_alloc(&exchange->arena, (size_t)partitions * sizeof *away);
    const struct elsewhere_item *asked;
    enum tally_code code = TALLY_OK;

    for (int32_t partition = 0; partition < partitions; partition++) {
        away[partition] = !tally_read_is_here(exchange->runtime, "stock", partition);
    }
    asked = ask_others(exchange, answers, away);
    positions->options.of = reading_of(exchange);
    for (int32_t partition = 0; partition < partitions && !code; partition++) {
        code = away[partition] ? take_partition(exchange, partition, asked, answers, err)
                               : TALLY_FENCED;
        if (code == TALLY_FENCED || code == TALLY_UNAVAILABLE) { /* here, or last of all */
            code = read_partition(exchange, positions, partition, answers, err);
        }
    }
    return code;
}

/* --- the answer ------------------------------------------------------------------------------- */

static void write_text(struct tally_writer *writer, const char *name, struct tally_slice text)
{
    tally_write_name(writer, name);
    tally_write_string(writer, text);
}

static void write_int(struct tally_writer *writer, const char *name, int64_t value)
{
    tally_write_name(writer, name);
    tally_write_int(writer, value);
}

static bool is_backorderable(const struct stock_query_level *level)
{
    const struct stock_setting_row *setting = &level->setting;

    return setting->policy == STOCK_BACKORDER &&
           (!setting->has_backorder_limit ||
                   stock_level_backordered(&level->row) < setting->backorder_limit);
}

static void write_item(struct tally_writer *writer, const struct stock_query_sku *item)
{
    bool known = item->has_row || item->has_level;
    int64_t available = 0;

    tally_write_map(writer, known ? 3 : 2);
    write_text(writer, "sku", item->sku);
    if (!known) {
        write_text(writer, "code", tally_slice_string(tally_reject_name(TALLY_REJECT_UNKNOWN_SKU)));
        return;
    }
    for (const struct stock_query_level *level = item->first; level; level = level->next) {
        available += stock_level_available(&level->row);
    }
    write_int(writer, "available", available);
    tally_write_name(writer, "levels");
    tally_write_array(writer, item->count);
    for (const struct stock_query_level *level = item->first; level; level = level->next) {
        tally_write_map(writer, 3);
        write_text(writer, "warehouse", level->warehouse);
        write_int(writer, "available", stock_level_available(&level->row));
        tally_write_name(writer, "backorderable");
        tally_write_bool(writer, is_backorderable(level));
    }
}

static void answer(struct exchange *exchange, const struct answers *answers)
{
    struct tally_writer writer;

    reading_positions_header(exchange, &answers->positions);
    reading_source_headers(exchange, answers->as_of_ms, answers->cached ? "redis" : "rocksdb");
    response_json(&exchange->response, 200, &writer);
    tally_write_map(&writer, 1);
    tally_write_name(&writer, "items");
    tally_write_array(&writer, (uint32_t)answers->count);
    for (size_t i = 0; i < answers->count; i++) {
        write_item(&writer, &answers->items[i]);
    }
}

void availability_query(struct exchange *exchange)
{
    struct reading_positions positions;
    struct answers answers = {.count = 0};
    struct asked asked;
    struct tally_error err = {0};
    enum tally_code code;

    if (!read_asked(exchange, &asked) || !reading_positions_read(exchange, &positions)) {
        return;
    }
    tally_buf_init(&answers.positions, READING_POSITIONS_BYTES_MAX);
    prepare(exchange, &asked, &answers);
    code = read_all(exchange, &positions, &answers, &err);
    if (code) {
        problem_error(exchange, code, &err);
    } else {
        answer(exchange, &answers);
    }
    tally_buf_deinit(&answers.positions);
}
