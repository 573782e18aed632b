/* connectors/kafka_log_ends.c - see the header. A handle that reads committed records alone answers
 * with the last stable offset where others answer with the high watermark. */
#include "connectors/kafka_log_ends.h"

#include "connectors/kafka_internal.h"
#include "engine/base/mem.h"

enum { LOOKUP_MS = 10000 }; /* for each question to the broker */

struct tally_log_ends {
    rd_kafka_t *rk;
};

enum tally_code tally_log_ends_open(const struct tally_config *config,
        struct tally_log_ends **opened, struct tally_error *err)
{
    struct kafka_options options = {.config = config};
    rd_kafka_conf_t *conf = kafka_config_create(KAFKA_KIND_READER, &options, err);
    rd_kafka_t *rk = conf ? kafka_config_open(KAFKA_KIND_READER, conf, err) : NULL;

    *opened = NULL;
    if (!rk) {
        return TALLY_CONFIG;
    }
    *opened = tally_alloc_zero(1, sizeof **opened);
    (*opened)->rk = rk;
    return TALLY_OK;
}

void tally_log_ends_close(struct tally_log_ends *ends)
{
    if (ends) {
        (void)kafka_reaper_destroy(ends->rk, KAFKA_REAP_MS);
        tally_free(ends);
    }
}

enum tally_code tally_log_ends_read(struct tally_log_ends *ends, const char *topic,
        int32_t partition, int64_t *low, int64_t *end, struct tally_error *err)
{
    rd_kafka_resp_err_t error =
            rd_kafka_query_watermark_offsets(ends->rk, topic, partition, low, end, LOOKUP_MS);

    return error ? kafka_error_set(KAFKA_ROLE_QUERY, ends->rk, error, err,
                           "could not read the offset range of %.60s/%d", topic, (int)partition)
                 : TALLY_OK;
}

enum tally_code tally_log_ends_at(struct tally_log_ends *ends, const char *topic, int32_t partition,
        int64_t time_ms, int64_t *offset, struct tally_error *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *item = rd_kafka_topic_partition_list_add(list, topic, partition);
    rd_kafka_resp_err_t error;

    item->offset = time_ms;
    error = rd_kafka_offsets_for_times(ends->rk, list, LOOKUP_MS);
    error = error ? error : item->err;
    *offset = item->offset >= 0 ? item->offset : TALLY_OFFSET_NONE;
    rd_kafka_topic_partition_list_destroy(list);
    return error ? kafka_error_set(KAFKA_ROLE_QUERY, ends->rk, error, err,
                           "could not find a time in %.60s/%d", topic, (int)partition)
                 : TALLY_OK;
}
