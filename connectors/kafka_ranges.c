/* connectors/kafka_ranges.c - where many partitions begin and end, with one request to each broker
 * for their beginnings and one for their ends: each by itself costs two, and a wait.
 * Of a topic that is gone librdkafka answers nothing about the others: then each is asked alone. */
#include "connectors/kafka_internal.h"

#include <stdlib.h>

#include "engine/base/mem.h"

static int by_partition(const void *left, const void *right)
{
    const struct tally_range *a = *(struct tally_range *const *)left;
    const struct tally_range *b = *(struct tally_range *const *)right;
    int order = strcmp(a->topic, b->topic);

    return order ? order : (a->partition > b->partition) - (a->partition < b->partition);
}

/* Each partition once, in the order of `sorted`; the broker refuses to be asked twice. */
static rd_kafka_topic_partition_list_t *list_of(struct tally_range *const *sorted, size_t count,
        int64_t end)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);

    for (size_t i = 0; i < count; i++) {
        if (i == 0 || by_partition(&sorted[i - 1], &sorted[i]) != 0) {
            rd_kafka_topic_partition_list_add(list, sorted[i]->topic, sorted[i]->partition)
                    ->offset = end;
        }
    }
    return list;
}

/* end: of both that is asked for. The answer keeps the order of the question. */
static rd_kafka_resp_err_t ask(rd_kafka_t *rk, struct tally_range *const *sorted, size_t count,
        int64_t end, int timeout_ms, struct tally_error *err)
{
    rd_kafka_topic_partition_list_t *list = list_of(sorted, count, end);
    rd_kafka_resp_err_t error = rd_kafka_offsets_for_times(rk, list, timeout_ms);
    int at = -1;

    for (size_t i = 0; !error && i < count; i++) {
        const rd_kafka_topic_partition_t *item;

        at += i == 0 || by_partition(&sorted[i - 1], &sorted[i]) != 0;
        item = &list->elems[at];
        *(end == RD_KAFKA_OFFSET_END ? &sorted[i]->high : &sorted[i]->low) = item->offset;
        if (item->err && !sorted[i]->code) {
            sorted[i]->code = kafka_error_set(KAFKA_ROLE_CONSUMER, rk, item->err, err,
                    "could not read the offset range of %s/%d", item->topic, (int)item->partition);
        }
    }
    rd_kafka_topic_partition_list_destroy(list);
    return error;
}

void kafka_ranges_ask(rd_kafka_t *rk, struct tally_range *ranges, size_t count, int timeout_ms)
{
    struct tally_range **sorted = tally_alloc((count + 1) * sizeof *sorted);
    struct tally_error err = {.code = TALLY_OK};
    rd_kafka_resp_err_t error;

    for (size_t i = 0; i < count; i++) {
        ranges[i].code = TALLY_OK;
        sorted[i] = &ranges[i];
    }
    qsort(sorted, count, sizeof *sorted, by_partition);
    error = ask(rk, sorted, count, RD_KAFKA_OFFSET_BEGINNING, timeout_ms, &err);
    if (!error) {
        error = ask(rk, sorted, count, RD_KAFKA_OFFSET_END, timeout_ms, &err);
    }
    for (size_t i = 0; error && i < count; i++) {
        struct tally_range *range = &ranges[i];
        rd_kafka_resp_err_t why = rd_kafka_query_watermark_offsets(rk, range->topic,
                range->partition, &range->low, &range->high, timeout_ms);

        range->code = why ? kafka_error_set(KAFKA_ROLE_CONSUMER, rk, why, &err,
                                    "could not read the offset range of %s/%d", range->topic,
                                    (int)range->partition)
                          : TALLY_OK;
    }
    tally_free(sorted);
}
