/* tests/integration/sink_fixture.c - see sink_fixture.h. */
#include "tests/integration/sink_fixture.h"

#include <inttypes.h>
#include <stdio.h>

#include "schemas/catalogue_records.h"
#include "schemas/reservation_records.h"
#include "schemas/stock_records.h"
#include "schemas/transfer_records.h"

#define FIRST_MS INT64_C(1768471200000) /* 2026-01-15T10:00:00Z */

static const struct {
    const char *topology, *topic;
    const struct tally_schema *const *types;
} families[] = {{"stock", "stock.events", stock_event_schemas},
        {"catalogue", "catalogue.events", catalogue_event_schemas},
        {"reservation", "reservation.events", reservation_event_schemas},
        {"transfer", "transfer.events", transfer_event_schemas}};

static size_t family_of(const char *topology)
{
    size_t family = 0;

    while (strcmp(families[family].topology, topology) != 0) {
        ck_assert_uint_lt(++family, sizeof families / sizeof families[0]);
    }
    return family;
}

void sink_fixture_init(struct sink_fixture *fixture)
{
    tally_arena_init(&fixture->arena, 1 << 20);
    fixture->records = tally_alloc_zero(SINK_FIXTURE_RECORDS, sizeof *fixture->records);
    fixture->count = 0;
}

void sink_fixture_deinit(struct sink_fixture *fixture)
{
    tally_free(fixture->records);
    tally_arena_deinit(&fixture->arena);
}

void sink_fixture_event(struct sink_fixture *fixture, const char *topology, int32_t partition,
        int64_t offset, const char *type, const char *key, const char *payload)
{
    size_t family = family_of(topology);
    struct tally_event *event = tally_arena_alloc(&fixture->arena, sizeof *event);
    struct tally_error err = {.code = TALLY_OK};
    char time[TALLY_TIME_LEN + 1];
    struct tally_buf text;
    enum tally_code code;

    ck_assert_uint_lt(fixture->count, SINK_FIXTURE_RECORDS);
    tally_format_time(FIRST_MS + offset * 1000, time);
    tally_buf_init(&text, TALLY_DOCUMENT_BYTES_MAX);
    tally_buf_format(&text,
            "{'id':'%s/%" PRId32 "@%" PRId64 "','type':'%s','version':'1.0','source':'tally/%s',"
            "'time':'%s','actor':'ann','correlation_id':'c-%" PRId64 "','causation_id':'c-%" PRId64
            "','payload':{%s%s'outcome':{'command':'X','fingerprint':'0123456789abcdef',"
            "'status':'ACCEPTED'}}}",
            topology, partition, offset, type, topology, time, offset, offset, payload,
            *payload ? "," : "");
    for (size_t i = 0; i < text.len; i++) {
        text.data[i] = text.data[i] == '\'' ? '"' : text.data[i];
    }
    *event = (struct tally_event){.key = tally_slice_string(key)};
    code = tally_event_decode(tally_arena_copy(&fixture->arena, tally_buf_bytes(&text)),
            tally_arena_copy(&fixture->arena, tally_slice_string(key)), topology, partition,
            families[family].types, &fixture->arena, event, &err);
    ck_assert_msg(code == TALLY_OK, "%s: %s", err.message, text.data);
    tally_buf_deinit(&text);
    event->key = tally_arena_copy(&fixture->arena, tally_slice_string(key));
    fixture->records[fixture->count++] = (struct tally_sink_record){.topology = topology,
            .topic = families[family].topic,
            .partition = partition,
            .offset = offset,
            .timestamp_ms = event->time_ms,
            .event = event};
}

static const struct {
    const char *topology;
    int64_t offset;
    const char *type, *key, *payload;
} all[] = {
#define X(topology, offset, type, key, payload) {topology, offset, type, key, payload},
#include "tests/integration/sink_events.def"
#undef X
};

void sink_fixture_topic(struct sink_fixture *fixture, const char *topology)
{
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strcmp(all[i].topology, topology) == 0) {
            sink_fixture_event(fixture, topology, 0, all[i].offset, all[i].type, all[i].key,
                    all[i].payload);
        }
    }
}

void sink_fixture_all(struct sink_fixture *fixture)
{
    sink_fixture_topic(fixture, "catalogue");
    sink_fixture_topic(fixture, "stock");
    sink_fixture_topic(fixture, "reservation");
    sink_fixture_topic(fixture, "transfer");
}

enum tally_code sink_fixture_open(struct tally_sink *sink, const char *topology, int32_t partition,
        int64_t *offset, struct tally_error *err)
{
    struct tally_topic_partition taken = {.topic = families[family_of(topology)].topic,
            .partition = partition,
            .offset = TALLY_OFFSET_NONE};
    enum tally_code code = sink->ops->open(sink, &taken, 1, err);

    if (offset) {
        *offset = taken.offset;
    }
    return code;
}

enum tally_code sink_fixture_flush(struct sink_fixture *fixture, struct tally_sink *sink,
        struct tally_error *err)
{
    struct tally_topic_partition positions[SINK_FIXTURE_PARTITIONS];
    size_t count = 0, records = fixture->count;
    enum tally_code code;

    for (size_t i = 0; i < records; i++) {
        const struct tally_sink_record *record = &fixture->records[i];
        size_t at = 0;

        while (at < count && (positions[at].partition != record->partition ||
                                     strcmp(positions[at].topic, record->topic) != 0)) {
            at++;
        }
        ck_assert_uint_lt(at, SINK_FIXTURE_PARTITIONS);
        if (at == count) {
            positions[count++] = (struct tally_topic_partition){
                    .topic = record->topic, .partition = record->partition};
        }
        positions[at].offset = record->offset + 1;
    }
    fixture->count = 0;
    code = sink->ops->put(sink, fixture->records, records, err);
    code = code ? code : sink->ops->flush(sink, positions, count, err);
    return code || !sink->ops->settle ? code : sink->ops->settle(sink, err);
}
