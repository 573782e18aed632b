/* tests/unit/test_event_scan.c - what event_scan reads, event_read_tree reads too, into the same
 * event. Invariants: event_scan.c (1)-(3). */
#include "schemas/event_internal.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "schemas/catalogue_records.h"
#include "schemas/reservation_records.h"
#include "schemas/transfer_records.h"
#include "schemas/stock_records.h"

#define ROUNDS   400
#define TEXT_MAX 40

static struct tally_arena arena;
static struct tally_buf buf, again;
static struct tally_error err;
static uint64_t seed;

static void setup(void)
{
    tally_arena_init(&arena, 4096);
    tally_buf_init(&buf, 1u << 20);
    tally_buf_init(&again, 1u << 20);
    seed = 7;
}

static void teardown(void)
{
    tally_arena_deinit(&arena);
    tally_buf_deinit(&buf);
    tally_buf_deinit(&again);
}

static uint64_t below(uint64_t limit)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % limit;
}

/* --- events of every shape ----------------------------------------------------------------------
 */

static struct tally_slice some_text(const struct tally_field *field)
{
    static const char plain[] = "0AZ9QX"; /* fits every kind of text but slugs */
    static const char *const others[] = {"\xc3\xa9", "\"", "\\", "\n", " ", "\x7f", "~"};
    size_t low = field ? (size_t)field->low : 0, high = field ? (size_t)field->high : TEXT_MAX;
    uint8_t *bytes = tally_arena_alloc(&arena, TEXT_MAX + 8);
    size_t len = low + below((high < TEXT_MAX ? high : TEXT_MAX) - low + 1), at = 0;

    while (at < len) {
        const char *other = others[below(sizeof others / sizeof others[0])];

        if (field && field->text == TALLY_TEXT_ANY && below(8) == 0 && at + strlen(other) <= len) {
            memcpy(bytes + at, other, strlen(other));
            at += strlen(other);
        } else {
            bytes[at++] = (uint8_t)plain[below(sizeof plain - 1)];
        }
    }
    return tally_slice_of(bytes, len);
}

static int64_t some_int(const struct tally_field *field)
{
    static const int64_t values[] = {0, 1, -1, 31, -32, -33, 127, 128, -128, -129, 255, 256, 65535,
            65536, -32768, -32769, INT32_MAX, INT32_MIN, (int64_t)INT32_MIN - 1, UINT32_MAX,
            (int64_t)UINT32_MAX + 1, 999999999999999999, 1000000000000000000, INT64_MAX, INT64_MIN};
    int64_t value = values[below(sizeof values / sizeof values[0])];

    return value < field->low ? field->low : value > field->high ? field->high : value;
}

static void fill(const struct tally_schema *schema, void *record);

static void fill_array(const struct tally_field *field, struct tally_array *array)
{
    size_t size = field->schema ? field->schema->size : sizeof(struct tally_slice);

    struct tally_field name = {.text = field->text, .low = 1, .high = 32};

    array->count = (size_t)field->low + below(4);
    array->items = tally_arena_alloc(&arena, size * array->count + 1);
    for (size_t i = 0; i < array->count; i++) {
        uint8_t *item = (uint8_t *)array->items + i * size;

        if (field->schema) {
            fill(field->schema, item);
        } else {
            *(struct tally_slice *)(void *)item =
                    some_text(field->text == TALLY_TEXT_ANY ? NULL : &name);
        }
    }
}

static void fill_field(const struct tally_field *field, void *to)
{
    size_t names = 0;

    switch ((enum tally_field_kind)field->kind) {
    case TALLY_KIND_STRING:
        *(struct tally_slice *)to = some_text(field);
        break;
    case TALLY_KIND_INT:
        *(int64_t *)to = some_int(field);
        break;
    case TALLY_KIND_BOOL:
        *(bool *)to = below(2);
        break;
    case TALLY_KIND_TIME:
        *(int64_t *)to = (int64_t)below(INT64_C(4102444800000));
        break;
    case TALLY_KIND_ENUM:
        while (field->names[names]) {
            names++;
        }
        *(uint8_t *)to = (uint8_t)below(names);
        break;
    case TALLY_KIND_OBJECT:
        fill(field->schema, to);
        break;
    case TALLY_KIND_ARRAY:
        fill_array(field, to);
        break;
    case TALLY_KIND_ANY:
    case TALLY_KIND_MAP:
        ck_abort_msg("event_scan reads no such field");
    }
}

static void fill(const struct tally_schema *schema, void *record)
{
    struct tally_presence *presence = record;

    memset(record, 0, schema->size);
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct tally_field *field = &schema->fields[i];

        if (!(field->flags & TALLY_REQUIRED) && below(2)) {
            continue;
        }
        presence->present |= TALLY_BIT(field->bit);
        if (field->flags & TALLY_NULLABLE && below(2)) {
            presence->nulls |= TALLY_BIT(field->bit);
        } else {
            fill_field(field, (uint8_t *)record + field->offset);
        }
    }
}

static struct tally_outcome_stamp some_stamp(void)
{
    return (struct tally_outcome_stamp){.command = some_text(NULL),
            .fingerprint = below(UINT64_MAX),
            .status = (enum tally_status)below(TALLY_PENDING + 1)};
}

/* schema NULL: CommandAccepted */
static struct tally_event some_event(const struct tally_schema *schema)
{
    struct tally_event event = {
            .type = schema ? tally_slice_string(schema->name) : TALLY_SLICE(TALLY_EVENT_ACCEPTED),
            .topology = TALLY_SLICE("stock"),
            .partition = (int32_t)below(3000),
            .command_offset = (int64_t)below(INT64_C(100000000000)),
            .time_ms = (int64_t)below(INT64_C(4102444800000)),
            .actor = below(2) ? some_text(NULL) : TALLY_NONE,
            .correlation_id = below(2) ? some_text(NULL) : TALLY_NONE,
            .command_id = TALLY_SLICE("00000000-0000-7000-8000-00000000002a"),
            .key = TALLY_SLICE("key"),
            .outcome = some_stamp(),
            .has_completes = below(4) == 0,
            .schema = schema,
    };

    if (event.has_completes) {
        event.completes = (struct tally_completes){some_text(NULL), some_stamp()};
    }
    if (schema) {
        event.body = tally_arena_alloc(&arena, schema->size);
        fill(schema, event.body);
    }
    return event;
}

/* --- two readers --------------------------------------------------------------------------------
 */

static struct tally_event empty_like(const struct tally_event *event)
{
    return (struct tally_event){
            .topology = event->topology, .partition = event->partition, .key = event->key};
}

static struct tally_slice written(const struct tally_event *event, enum tally_format format,
        struct tally_buf *out)
{
    tally_buf_clear(out);
    tally_event_encode(event, format, out);
    ck_assert(!out->failed);
    return tally_arena_copy(&arena, tally_buf_bytes(out));
}

static bool same_slice(struct tally_slice a, struct tally_slice b)
{
    return tally_slice_equal(a, b);
}

/* What is written in no document, or could differ though the documents are the same. */
static void same_event(const struct tally_event *a, const struct tally_event *b)
{
    ck_assert_int_eq(a->command_offset, b->command_offset);
    ck_assert_int_eq(a->time_ms, b->time_ms);
    ck_assert_ptr_eq(a->schema, b->schema);
    ck_assert(same_slice(a->type, b->type) && same_slice(a->key, b->key));
    ck_assert(same_slice(a->actor, b->actor) && same_slice(a->correlation_id, b->correlation_id));
    ck_assert_int_eq(a->has_completes, b->has_completes);
    ck_assert_int_eq(a->rejection.code, b->rejection.code);
    if (a->schema) {
        ck_assert_mem_eq(a->body, b->body, sizeof(struct tally_presence));
    }
    ck_assert(same_slice(written(a, TALLY_FORMAT_MSGPACK, &buf),
            written(b, TALLY_FORMAT_MSGPACK, &again)));
}

static bool both_read(struct tally_slice bytes, const struct tally_schema *const *types,
        const struct tally_event *like)
{
    struct tally_event scanned = empty_like(like), read = empty_like(like);

    if (!event_scan(bytes, types, &arena, &scanned)) {
        return false;
    }
    ck_assert_msg(event_read_tree(bytes, types, &arena, &read, &err) == TALLY_OK, "%s: %.*s",
            err.message, (int)bytes.len, (const char *)bytes.data);
    same_event(&scanned, &read);
    return true;
}

/* JSON with an escape is left to the other reader. */
static bool has_escape(struct tally_slice bytes)
{
    return memchr(bytes.data, '\\', bytes.len) != NULL;
}

/* So is a number of more than 18 digits. */
static bool has_long_number(struct tally_slice bytes)
{
    size_t digits = 0, most = 0;

    for (size_t i = 0; i < bytes.len; i++) {
        digits = bytes.data[i] >= '0' && bytes.data[i] <= '9' ? digits + 1 : 0;
        most = digits > most ? digits : most;
    }
    return most > 18;
}

static void every_shape(const struct tally_schema *const *types, size_t count)
{
    size_t read = 0;

    for (size_t round = 0; round < ROUNDS; round++) {
        struct tally_event event =
                some_event(round % (count + 1) < count ? types[round % (count + 1)] : NULL);

        for (int format = TALLY_FORMAT_JSON; format <= TALLY_FORMAT_MSGPACK; format++) {
            struct tally_slice bytes = written(&event, (enum tally_format)format, &buf);
            bool scanned = both_read(bytes, types, &event);

            if (format == TALLY_FORMAT_MSGPACK || !(has_escape(bytes) || has_long_number(bytes))) {
                ck_assert_msg(scanned, "%.*s", (int)bytes.len, (const char *)bytes.data);
            }
            read += scanned;
        }
        tally_arena_reset(&arena, 1u << 20);
    }
    ck_assert_uint_gt(read, ROUNDS);
}

START_TEST(every_event_that_is_written_is_scanned)
{
    every_shape(stock_event_schemas, STOCK_EVENT_TYPES);
    every_shape(catalogue_event_schemas, 1);
    every_shape(reservation_event_schemas, RESERVATION_EVENT_TYPES);
    every_shape(transfer_event_schemas, TRANSFER_EVENT_TYPES);
}
END_TEST

START_TEST(what_is_not_as_written_is_read_alike_or_left_alone)
{
    size_t accepted = 0;

    for (size_t round = 0; round < ROUNDS / 8; round++) {
        struct tally_event event = some_event(stock_event_schemas[round % (STOCK_EVENT_TYPES + 1)]);

        for (int format = TALLY_FORMAT_JSON; format <= TALLY_FORMAT_MSGPACK; format++) {
            struct tally_slice bytes = written(&event, (enum tally_format)format, &buf);

            for (size_t at = 0; at < bytes.len; at++) {
                uint8_t *changed = malloc(bytes.len), byte = (uint8_t)below(256);

                ck_assert_ptr_nonnull(changed);
                memcpy(changed, bytes.data, bytes.len);
                changed[at] = below(2) ? byte : changed[below(bytes.len)];
                accepted +=
                        both_read(tally_slice_of(changed, bytes.len), stock_event_schemas, &event);
                ck_assert(!both_read(tally_slice_of(changed, at), stock_event_schemas, &event));
                free(changed);
            }
        }
        tally_arena_reset(&arena, 1u << 20);
    }
    ck_assert_uint_gt(accepted, 1000); /* changes inside text and numbers */
}
END_TEST

START_TEST(a_member_too_many_or_twice_is_left_alone)
{
    static const char *const json[] = {
            "{\"id\":\"stock/"
            "1@7\",\"type\":\"CommandAccepted\",\"version\":\"1.0\",\"source\":\"s\","
            "\"time\":\"2026-01-15T10:02:00.012Z\",\"causation_id\":\"c\",\"payload\":{\"key\":"
            "\"k\","
            "\"outcome\":{\"command\":\"A\",\"fingerprint\":\"b2f82488424d7f5c\","
            "\"status\":\"ACCEPTED\"}}%s}",
            ",\"more\":1", ",\"id\":\"stock/1@7\"", " ", "}"};
    struct tally_event like = {.topology = TALLY_SLICE("stock"), .partition = 1};
    char text[512];

    for (size_t i = 0; i < sizeof json / sizeof json[0]; i++) {
        (void)snprintf(text, sizeof text, json[0], i ? json[i] : "");
        ck_assert_int_eq(both_read(tally_slice_string(text), stock_event_schemas, &like), i == 0);
    }
}
END_TEST

START_TEST(fingerprints_are_sixteen_lower_case_digits)
{
    static const char *const wrong[] = {"b2f82488424d7f5C", "g2f82488424d7f5c", "b2f82488424d7f5",
            "b2f82488424d7f5cc", "b2f82488424d7f5\xc3", "b2f82488424d7f5`",
            "b2f82488424d7f5:", "b2f82488424d7f5/", "                ", "ABCDEF0123456789",
            "pqrstuvw12345678", "!\"#$%&'()*+,-./0"};
    uint64_t value = 0;

    ck_assert(event_read_fingerprint(TALLY_SLICE("b2f82488424d7f5c"), &value));
    ck_assert_uint_eq(value, UINT64_C(0xb2f82488424d7f5c));
    ck_assert(event_read_fingerprint(TALLY_SLICE("0123456789abcdef"), &value));
    ck_assert_uint_eq(value, UINT64_C(0x0123456789abcdef));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert_msg(!event_read_fingerprint(tally_slice_string(wrong[i]), &value), "%s",
                wrong[i]);
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t text[16];

        memset(text, '0', sizeof text);
        text[below(16)] = (uint8_t)byte;
        ck_assert_int_eq(event_read_fingerprint(tally_slice_of(text, 16), &value),
                (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f'));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("event_scan");
    TCase *tests = tcase_create("event_scan");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, every_event_that_is_written_is_scanned);
    tcase_add_test(tests, what_is_not_as_written_is_read_alike_or_left_alone);
    tcase_add_test(tests, a_member_too_many_or_twice_is_left_alone);
    tcase_add_test(tests, fingerprints_are_sixteen_lower_case_digits);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
