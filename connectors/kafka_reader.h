/* connectors/kafka_reader.h - reads partitions of one topic for the command line (`tally tail`).
 * Manual assignment: joins no group, commits nothing. Offsets have kcat's forms.
 * @thread owner of the reader  @locks none */
#pragma once
#include "engine/base/config.h"
#include "engine/client.h"

enum tally_reader_start {
    TALLY_READER_BEGINNING,
    TALLY_READER_END,
    TALLY_READER_STORED,   /* the group's committed offset; none: END */
    TALLY_READER_ABSOLUTE, /* value: offset */
    TALLY_READER_TAIL,     /* value: so many before the end */
    TALLY_READER_SINCE     /* value: first record with at least this time, ms */
};

struct tally_reader_range {
    enum tally_reader_start start; /* zero: from the beginning */
    int64_t value;
    int64_t until_ms; /* stop before records of this time or later; 0: do not */
};

/* Applies one -o argument: beginning, end, stored, N, -N, s@ms, e@ms. May be called repeatedly, as
 * kcat takes `-o s@A -o e@B`. CONFIG: not one of these forms. */
TALLY_MUST_CHECK enum tally_code tally_reader_range_parse(const char *text,
        struct tally_reader_range *range, struct tally_error *err);

struct tally_reader_options {
    const struct tally_config *config; /* borrowed during create */
    const char *topic;                 /* full name, prefix included; copied */
    const int32_t *partitions;         /* copied */
    size_t partition_count;            /* 0: all */
    struct tally_reader_range range;
    bool stop_at_end; /* -e: finish when every partition has reached its end */
    int64_t count;    /* -c: finish after so many records; 0: no limit */
    bool read_uncommitted;
    const char *group; /* for STORED; NULL: app.id */
    /* A partition's end was reached; called inside next. May be NULL. */
    void (*ended)(void *context, int32_t partition, int64_t offset);
    void *context;
};

/* No record and no end for so long, and the caller gives up: there is no broker. */
#define TALLY_READER_SILENT_MS 30000

struct tally_reader;
/* NOT_FOUND with a message: the topic or a partition does not exist. UNAVAILABLE: no broker. */
TALLY_MUST_CHECK enum tally_code tally_reader_create(const struct tally_reader_options *options,
        struct tally_reader **reader, struct tally_error *err);
void tally_reader_destroy(struct tally_reader *reader);

/* The next record; release it before the next call. AGAIN: none came within timeout_ms.
 * NOT_FOUND without a message: finished (end, count or until). */
TALLY_MUST_CHECK enum tally_code tally_reader_next(struct tally_reader *reader, int timeout_ms,
        struct tally_record *record, struct tally_error *err);
void tally_reader_release(struct tally_reader *reader, struct tally_record *record);

/* Headers in order, borrowed from the record; returns how many there are, writes at most max. */
size_t tally_reader_headers(struct tally_reader *reader, const struct tally_record *record,
        struct tally_header *headers, size_t max);
/* What kcat's -J envelope has besides: "create", "logappend" or "unknown"; -1: not known. */
const char *tally_reader_timestamp_type(const struct tally_record *record);
int32_t tally_reader_broker(const struct tally_record *record);
