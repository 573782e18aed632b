/* connectors/kafka_record.c - librdkafka's messages and headers as ours, and back. Borrows, but for
 * headers to be sent. */
#include "connectors/kafka_internal.h"

void kafka_record_fill(struct tally_record *record, const rd_kafka_message_t *message,
        const char *topic)
{
    rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;

    record->topic = topic;
    record->partition = message->partition;
    record->offset = message->offset;
    record->timestamp_ms = rd_kafka_message_timestamp(message, &type);
    record->key = tally_slice_of(message->key, message->key_len);
    record->value = tally_slice_of(message->payload, message->len);
}

size_t kafka_record_headers(const rd_kafka_message_t *message, struct tally_header *headers,
        size_t max)
{
    rd_kafka_headers_t *list = NULL;
    size_t count = 0;

    if (rd_kafka_message_headers(message, &list) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return 0;
    }
    for (;; count++) {
        const char *name = NULL;
        const void *value = NULL;
        size_t size = 0;

        if (rd_kafka_header_get_all(list, count, &name, &value, &size) != 0) {
            return count;
        }
        if (count < max) {
            headers[count] = (struct tally_header){
                    .name = tally_slice_string(name), .value = tally_slice_of(value, size)};
        }
    }
}

rd_kafka_headers_t *kafka_record_headers_create(const struct tally_header *headers, size_t count)
{
    rd_kafka_headers_t *list = count ? rd_kafka_headers_new(count) : NULL;

    for (size_t i = 0; i < count; i++) {
        (void)rd_kafka_header_add(list, (const char *)headers[i].name.data,
                (ssize_t)headers[i].name.len, headers[i].value.data, (ssize_t)headers[i].value.len);
    }
    return list;
}
