/* tests/unit/test_dlq_letter.c - letters and marks of a dead-letter topic (apps/dlq_letter.c). */
#include "apps/dlq_letter.h"

#include <check.h>
#include <stdlib.h>

#include "engine/base/mem.h"

#define OWN_MAX 4
#define ADDED   9

static struct tally_arena arena;
static struct tally_header headers[OWN_MAX + ADDED + 1];
static size_t count;

static void setup(void)
{
    tally_arena_init(&arena, 4096);
    count = 0;
}

static void teardown(void)
{
    tally_arena_deinit(&arena);
}

static void add(const char *name, const char *value)
{
    headers[count++] = (struct tally_header){
            .name = tally_slice_string(name), .value = tally_slice_string(value)};
}

static void add_reasons(const char *partition, const char *offset)
{
    add("__streams.errors.exception", "BAD_NUMBER");
    add("__streams.errors.message", "float at byte 3");
    add("__streams.errors.stacktrace", "decode");
    add("__streams.errors.topic", "stock.commands");
    add("__streams.errors.partition", partition);
    add("__streams.errors.offset", offset);
    add("tally.attempt", "1");
    add("tally.first-failed-at", "2026-01-15T10:00:00.000Z");
    add("tally.task", "stock/2");
}

static enum dlq_kind read_record(struct tally_slice value, struct dlq_letter *letter)
{
    struct tally_record record = {.topic = "stock.commands-dlt",
            .partition = 2,
            .offset = 17,
            .key = TALLY_SLICE("SKU-1"),
            .value = value};

    return dlq_letter_read(&record, headers, count, &arena, letter);
}

START_TEST(a_letter_tells_reason_and_origin)
{
    struct dlq_letter letter;

    add("trace", "1");
    add_reasons("2", "4711");
    ck_assert_int_eq(read_record(TALLY_SLICE("{\"type\":\"ShipStock\",\"command_id\":\"c-1\"}"),
                             &letter),
            DLQ_LETTER);
    ck_assert_int_eq(letter.state, DLQ_OPEN);
    ck_assert_int_eq(letter.place.offset, 17);
    ck_assert_int_eq(letter.origin.partition, 2);
    ck_assert_int_eq(letter.origin.offset, 4711);
    ck_assert_uint_eq(letter.own_headers, 1);
    ck_assert(tally_slice_equal(letter.reason, TALLY_SLICE("BAD_NUMBER")));
    ck_assert(tally_slice_equal(letter.type, TALLY_SLICE("ShipStock")));
    ck_assert(tally_slice_equal(letter.id, TALLY_SLICE("c-1")));
    ck_assert_uint_eq(letter.cut.len, 0);
    add("tally.cut", "key 5 of 5");
    ck_assert_int_eq(read_record(TALLY_SLICE("{"), &letter), DLQ_LETTER);
    ck_assert(tally_slice_equal(letter.cut, TALLY_SLICE("key 5 of 5")));
    ck_assert_uint_eq(letter.own_headers, 1);
}
END_TEST

/* What a sender puts on a record stands in front of what the engine adds. */
START_TEST(nobody_marks_a_letter_by_sending_a_record)
{
    struct dlq_letter letter;

    add(DLQ_MARK_HEADER, "dropped 2@5");
    add("__streams.errors.offset", "5");
    add_reasons("0", "1");
    ck_assert_int_eq(read_record(TALLY_NONE, &letter), DLQ_LETTER);
    ck_assert_int_eq(letter.origin.offset, 1);
    ck_assert_uint_eq(letter.own_headers, 2);
}
END_TEST

START_TEST(a_mark_names_its_letter)
{
    struct dlq_letter letter, marked;
    char text[64];

    add_reasons("2", "4711");
    ck_assert_int_eq(read_record(TALLY_SLICE("{"), &letter), DLQ_LETTER);
    dlq_mark_format(&letter, DLQ_RETRIED, text, sizeof text);
    ck_assert_str_eq(text, "retried 2@17");
    count = 0;
    add(DLQ_MARK_HEADER, text);
    ck_assert_int_eq(read_record(TALLY_NONE, &marked), DLQ_MARK);
    ck_assert_int_eq(marked.state, DLQ_RETRIED);
    ck_assert_int_eq(marked.place.partition, 2);
    ck_assert_int_eq(marked.place.offset, 17);
    ck_assert_int_eq(read_record(TALLY_SLICE("x"), &marked), DLQ_FOREIGN);
}
END_TEST

START_TEST(what_is_neither_is_foreign)
{
    static const char *const marks[] = {"", "retried", "retried ", "retried 2", "retried 2@",
            "retried @5", "retried -1@5", "retried 2@-5", "lost 2@5", "retried 2@5 "};
    struct dlq_letter letter;

    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        count = 0;
        add(DLQ_MARK_HEADER, marks[i]);
        ck_assert_int_eq(read_record(TALLY_NONE, &letter), DLQ_FOREIGN);
    }
    count = 0;
    ck_assert_int_eq(read_record(TALLY_NONE, &letter), DLQ_FOREIGN);
    add_reasons("x", "4711");
    ck_assert_int_eq(read_record(TALLY_NONE, &letter), DLQ_FOREIGN);
    count = 0;
    add_reasons("0", "");
    ck_assert_int_eq(read_record(TALLY_NONE, &letter), DLQ_FOREIGN);
    count -= 1; /* cut short */
    ck_assert_int_eq(read_record(TALLY_NONE, &letter), DLQ_FOREIGN);
}
END_TEST

START_TEST(lines_hold_no_control_characters)
{
    struct dlq_letter letter;
    struct tally_buf line;

    tally_buf_init(&line, 4096);
    add_reasons("2", "4711");
    ck_assert_int_eq(read_record(TALLY_SLICE("{"), &letter), DLQ_LETTER);
    letter.key = TALLY_SLICE("a\n\x1b[31m\xff\\");
    dlq_letter_line(&letter, "stock.commands-dlt", false, 61000, &line);
    tally_buf_byte(&line, 0);
    ck_assert_str_eq((const char *)line.data,
            "stock.commands-dlt/2@17\tBAD_NUMBER\t1m\t-\t-\tkey a\\x0a\\x1b[31m\\xff\\x5c\tfrom "
            "2@4711\n");
    tally_buf_clear(&line); /* a sink's are of several topics */
    dlq_letter_line(&letter, "tally.sink-x-dlt", true, 61000, &line);
    tally_buf_byte(&line, 0);
    ck_assert_str_eq((const char *)line.data,
            "tally.sink-x-dlt/2@17\tBAD_NUMBER\t1m\t-\t-\tkey a\\x0a\\x1b[31m\\xff\\x5c\tfrom "
            "stock.commands/2@4711\n");
    tally_buf_deinit(&line);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dlq_letter");
    TCase *tcase = tcase_create("letters");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_letter_tells_reason_and_origin);
    tcase_add_test(tcase, nobody_marks_a_letter_by_sending_a_record);
    tcase_add_test(tcase, a_mark_names_its_letter);
    tcase_add_test(tcase, what_is_neither_is_foreign);
    tcase_add_test(tcase, lines_hold_no_control_characters);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
