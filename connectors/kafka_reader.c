/* connectors/kafka_reader.c - reads partitions of one topic for the command line.
 * Invariants
 *  (1) Every start is resolved to an offset before the first fetch, so an offset that does not
 * exist is an error that names it and never a jump. (2) A partition that has finished gives no more
 * records; the reader has finished when all have, or when count records were given. Leaves out:
 * groups and commits; STORED only reads what a group has committed. */
#include "connectors/kafka_reader.h"

#include <stdio.h>

#include "connectors/kafka_internal.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

enum { LOOKUP_MS = 10000 }; /* for each question to the broker at the start */

struct reader_partition {
    int32_t id;
    int64_t start;
    bool finished;
};

struct tally_reader {
    rd_kafka_t *rk;
    char *topic;
    struct reader_partition *partitions;
    size_t count, finished;
    struct tally_reader_range range;
    bool stop_at_end;
    int64_t records_left; /* -1: no limit */
    void (*ended)(void *context, int32_t partition, int64_t offset);
    void *context;
};

static const char DECIMAL[] = "0123456789";

enum tally_code tally_reader_range_parse(const char *text, struct tally_reader_range *range,
        struct tally_error *err)
{
    static const struct {
        const char *name;
        enum tally_reader_start start;
    } words[] = {{"beginning", TALLY_READER_BEGINNING}, {"end", TALLY_READER_END},
            {"stored", TALLY_READER_STORED}};
    bool since = strncmp(text, "s@", 2) == 0, until = strncmp(text, "e@", 2) == 0;
    const char *digits = text + (since || until ? 2 : *text == '-' ? 1 : 0);
    int64_t value = 0;

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i].name) == 0) {
            range->start = words[i].start;
            return TALLY_OK;
        }
    }
    if (!*digits || digits[strspn(digits, DECIMAL)] ||
            !tally_parse_int(tally_slice_string(digits), &value) || (until && value == 0)) {
        return tally_error_set(err, TALLY_CONFIG,
                "offset \"%.40s\": expected beginning, end, stored, N, -N, s@MS or e@MS", text);
    }
    if (until) {
        range->until_ms = value;
        return TALLY_OK;
    }
    range->start = since          ? TALLY_READER_SINCE
                   : *text == '-' ? TALLY_READER_TAIL
                                  : TALLY_READER_ABSOLUTE;
    range->value = value;
    return TALLY_OK;
}

/* --- start --- */

static enum tally_code find_partitions(struct tally_reader *reader,
        const struct tally_reader_options *options, struct tally_error *err)
{
    struct kafka_topics *topics = kafka_topics_create(reader->rk);
    int32_t partitions = 0;
    enum tally_code code = kafka_topics_find(topics, reader->topic, LOOKUP_MS, &partitions, err);

    kafka_topics_destroy(topics);
    if (code) {
        return code;
    }
    reader->count = options->partition_count ? options->partition_count : (size_t)partitions;
    reader->partitions = tally_alloc_zero(reader->count, sizeof *reader->partitions);
    for (size_t i = 0; i < reader->count; i++) {
        reader->partitions[i].id = options->partition_count ? options->partitions[i] : (int32_t)i;
        if (reader->partitions[i].id < 0 || reader->partitions[i].id >= partitions) {
            return tally_error_set(err, TALLY_NOT_FOUND,
                    "topic \"%.80s\" has no partition %d, it has %d", reader->topic,
                    (int)reader->partitions[i].id, (int)partitions);
        }
    }
    return TALLY_OK;
}

static rd_kafka_topic_partition_list_t *list_of(const struct tally_reader *reader)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)reader->count);

    for (size_t i = 0; i < reader->count; i++) {
        rd_kafka_topic_partition_list_add(list, reader->topic, reader->partitions[i].id)->offset =
                reader->partitions[i].start;
    }
    return list;
}

static struct reader_partition *partition_of(struct tally_reader *reader, int32_t id)
{
    for (size_t i = 0; i < reader->count; i++) {
        if (reader->partitions[i].id == id) {
            return &reader->partitions[i];
        }
    }
    return NULL;
}

/* Starts that a list call answers: the group's offsets, or offsets by time. A negative answer:
 * none. */
static enum tally_code ask_starts(struct tally_reader *reader, struct tally_error *err)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;

    for (size_t i = 0; i < reader->count; i++) {
        reader->partitions[i].start = reader->range.value;
    }
    list = list_of(reader);
    error = reader->range.start == TALLY_READER_STORED
                    ? rd_kafka_committed(reader->rk, list, LOOKUP_MS)
                    : rd_kafka_offsets_for_times(reader->rk, list, LOOKUP_MS);
    for (int i = 0; i < list->cnt && !error; i++) {
        partition_of(reader, list->elems[i].partition)->start = list->elems[i].offset;
        error = list->elems[i].err;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return error ? kafka_error_set(KAFKA_ROLE_QUERY, reader->rk, error, err,
                           "could not find where to start in \"%.60s\"", reader->topic)
                 : TALLY_OK;
}

static enum tally_code find_start(struct tally_reader *reader, struct reader_partition *partition,
        struct tally_error *err)
{
    int64_t low = 0, high = 0;
    rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(reader->rk, reader->topic,
            partition->id, &low, &high, LOOKUP_MS);

    if (error) {
        return kafka_error_set(KAFKA_ROLE_QUERY, reader->rk, error, err,
                "could not read the offset range of %.60s/%d", reader->topic, (int)partition->id);
    }
    switch (reader->range.start) {
    case TALLY_READER_BEGINNING:
        partition->start = low;
        break;
    case TALLY_READER_END:
        partition->start = high;
        break;
    case TALLY_READER_ABSOLUTE:
        partition->start = reader->range.value;
        break;
    case TALLY_READER_TAIL:
        partition->start = high - reader->range.value > low ? high - reader->range.value : low;
        break;
    case TALLY_READER_STORED:
    case TALLY_READER_SINCE:
    default:
        partition->start = partition->start < 0 ? high : partition->start;
        break;
    }
    return TALLY_OK;
}

static enum tally_code start(struct tally_reader *reader,
        const struct tally_reader_options *options, struct tally_error *err)
{
    bool ask =
            reader->range.start == TALLY_READER_STORED || reader->range.start == TALLY_READER_SINCE;
    rd_kafka_topic_partition_list_t *list = NULL;
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
    enum tally_code code = find_partitions(reader, options, err);

    code = code || !ask ? code : ask_starts(reader, err);
    for (size_t i = 0; i < reader->count && !code; i++) {
        code = find_start(reader, &reader->partitions[i], err);
    }
    if (code) {
        return code;
    }
    list = list_of(reader);
    error = rd_kafka_assign(reader->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return error ? kafka_error_set(KAFKA_ROLE_QUERY, reader->rk, error, err,
                           "could not read \"%.60s\"", reader->topic)
                 : TALLY_OK;
}

enum tally_code tally_reader_create(const struct tally_reader_options *options,
        struct tally_reader **result, struct tally_error *err)
{
    struct kafka_options handle = {.config = options->config};
    rd_kafka_conf_t *conf = kafka_config_create(KAFKA_KIND_READER, &handle, err);
    struct tally_reader *reader = NULL;
    enum tally_code code = TALLY_OK;
    char reason[128];

    if (!conf) {
        return TALLY_CONFIG;
    }
    if (options->read_uncommitted) {
        (void)rd_kafka_conf_set(conf, "isolation.level", "read_uncommitted", reason, sizeof reason);
    }
    if (options->range.start == TALLY_READER_STORED) {
        (void)rd_kafka_conf_set(conf, "group.id",
                options->group ? options->group : options->config->app_id, reason, sizeof reason);
    }
    reader = tally_alloc_zero(1, sizeof *reader);
    reader->topic = tally_copy_string(options->topic);
    reader->range = options->range;
    reader->stop_at_end = options->stop_at_end;
    reader->records_left = options->count > 0 ? options->count : -1;
    reader->ended = options->ended;
    reader->context = options->context;
    reader->rk = kafka_config_open(KAFKA_KIND_READER, conf, err);
    code = reader->rk ? TALLY_OK : TALLY_CONFIG;
    if (!code) {
        (void)rd_kafka_poll_set_consumer(reader->rk);
        code = start(reader, options, err);
    }
    if (code) {
        tally_reader_destroy(reader);
        return code;
    }
    *result = reader;
    return TALLY_OK;
}

void tally_reader_destroy(struct tally_reader *reader)
{
    if (!reader) {
        return;
    }
    (void)kafka_reaper_destroy(reader->rk, KAFKA_REAP_MS);
    tally_free(reader->partitions);
    tally_free(reader->topic);
    tally_free(reader);
}

/* --- records --- */

static void finish(struct tally_reader *reader, struct reader_partition *partition)
{
    if (!partition->finished) {
        partition->finished = true;
        reader->finished++;
    }
}

/* What is no record: the end of a partition, or an error. OK: go on. */
static enum tally_code take_other(struct tally_reader *reader, const rd_kafka_message_t *message,
        struct tally_error *err)
{
    struct reader_partition *partition =
            message->rkt ? partition_of(reader, message->partition) : NULL;

    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && partition) {
        if (reader->ended && !partition->finished) {
            reader->ended(reader->context, partition->id, message->offset);
        }
        if (reader->stop_at_end) {
            finish(reader, partition);
        }
        return TALLY_OK;
    }
    if (partition) {
        return kafka_error_set(KAFKA_ROLE_QUERY, reader->rk, message->err, err,
                "%.60s/%d@%lld cannot be read", reader->topic, (int)message->partition,
                (long long)message->offset);
    }
    return kafka_error_set(KAFKA_ROLE_QUERY, reader->rk, message->err, err, "reader: %.90s",
            rd_kafka_message_errstr(message));
}

/* false: not wanted (any more), destroyed. */
static bool take(struct tally_reader *reader, rd_kafka_message_t *message,
        struct tally_record *record)
{
    struct reader_partition *partition = partition_of(reader, message->partition);

    kafka_record_fill(record, message, reader->topic);
    record->message = message;
    if (reader->range.until_ms && record->timestamp_ms >= reader->range.until_ms) {
        finish(reader, partition);
    }
    if (partition->finished) {
        tally_reader_release(reader, record);
        return false;
    }
    reader->records_left -= reader->records_left > 0;
    return true;
}

enum tally_code tally_reader_next(struct tally_reader *reader, int timeout_ms,
        struct tally_record *record, struct tally_error *err)
{
    int64_t deadline_ms = tally_mono_ms(tally_clock_real()) + timeout_ms;

    for (;;) {
        int64_t left_ms = deadline_ms - tally_mono_ms(tally_clock_real());
        rd_kafka_message_t *message = NULL;

        *record = (struct tally_record){.partition = -1, .offset = TALLY_OFFSET_NONE};
        if (reader->finished == reader->count || reader->records_left == 0) {
            return TALLY_NOT_FOUND;
        }
        message = rd_kafka_consumer_poll(reader->rk, left_ms > 0 ? (int)left_ms : 0);
        if (!message) {
            return TALLY_AGAIN;
        }
        if (message->err) {
            enum tally_code code = take_other(reader, message, err);

            rd_kafka_message_destroy(message);
            if (code) {
                return code;
            }
        } else if (take(reader, message, record)) {
            return TALLY_OK;
        }
    }
}

void tally_reader_release(struct tally_reader *reader, struct tally_record *record)
{
    (void)reader;
    if (record->message) {
        rd_kafka_message_destroy(record->message);
        record->message = NULL;
    }
}

size_t tally_reader_headers(struct tally_reader *reader, const struct tally_record *record,
        struct tally_header *headers, size_t max)
{
    (void)reader;
    return kafka_record_headers(record->message, headers, max);
}

const char *tally_reader_timestamp_type(const struct tally_record *record)
{
    rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;

    (void)rd_kafka_message_timestamp(record->message, &type);
    switch (type) {
    case RD_KAFKA_TIMESTAMP_CREATE_TIME:
        return "create";
    case RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME:
        return "logappend";
    case RD_KAFKA_TIMESTAMP_NOT_AVAILABLE:
    default:
        return "unknown";
    }
}

int32_t tally_reader_broker(const struct tally_record *record)
{
    return rd_kafka_message_broker_id(record->message);
}
