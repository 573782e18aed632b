/* connectors/redis_rows.h - what a batch of events leaves in Redis: of each key the last row, in
 * the order in which the keys of a partition first came.
 * Invariants
 *  (1) A level's last row has the settings of the last StockConfigured of the batch, or says that
 *      those in Redis stay.
 *  (2) Every record moves its partition's command and time, whether it leaves a row or not.
 * Ownership: records are borrowed until clear. @thread owner */
#pragma once
#include "engine/base/mem.h"
#include "engine/sink.h"
#include "schemas/stock_records.h"

enum redis_row_kind { /* names of the write script: redis_rows_kinds */
    REDIS_ROW_PRODUCT,
    REDIS_ROW_SKU,
    REDIS_ROW_LEVEL, /* LEVEL and SETTING have the same keys */
    REDIS_ROW_SETTING,
    REDIS_ROW_CLAIM, /* CLAIM and RELEASE too */
    REDIS_ROW_RELEASE,
    REDIS_ROW_KINDS
};
extern const char *const redis_rows_kinds[REDIS_ROW_KINDS];
extern const char *const redis_rows_families[REDIS_ROW_KINDS]; /* "level": part of the key */

struct redis_row {
    enum redis_row_kind kind;
    struct tally_slice id, warehouse; /* warehouse: of levels */
    const struct tally_event *event;
    const struct stock_setting *setting; /* of a SETTING */
    int64_t offset;
    uint32_t hash;
    struct redis_row *next; /* of the partition */
};
struct redis_rows_partition {
    const char *topic;
    int32_t partition;
    int64_t command, time_ms; /* of the last record */
    struct redis_row *first, *last;
    size_t count;
};
struct redis_rows {
    struct tally_arena arena;
    struct redis_rows_partition *partitions;
    size_t partition_count, partition_capacity;
    struct redis_row **table; /* open addressing */
    size_t row_count, capacity, record_count;
};

void redis_rows_init(struct redis_rows *rows);
void redis_rows_deinit(struct redis_rows *rows);
void redis_rows_clear(struct redis_rows *rows);
void redis_rows_add(struct redis_rows *rows, const struct tally_sink_record *record);
/* NULL: no record of it came. */
const struct redis_rows_partition *redis_rows_of(const struct redis_rows *rows, const char *topic,
        int32_t partition);
/* Version after the row; a slug has none: -1. */
int64_t redis_rows_version(const struct redis_row *row);
/* Appends the value: a document, or of a slug the product's id; nothing of a RELEASE. */
void redis_rows_value(const struct redis_row *row, struct tally_buf *out);
