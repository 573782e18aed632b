/* test_watch_line.c - messages of a stream, whole and damaged; positions that are kept. */
#include "apps/watch_line.h"

#include <check.h>
#include <stdlib.h>

static struct tally_arena arena;
static struct tally_buf out;
static struct watch_places places;

static void begin(void)
{
    tally_arena_init(&arena, 16 * 1024);
    tally_buf_init(&out, 64 * 1024);
    places.count = 0;
}

static void end(void)
{
    tally_arena_deinit(&arena);
    tally_buf_deinit(&out);
}

static void is(struct tally_slice bytes, const char *text)
{
    ck_assert_msg(tally_slice_equal(bytes, tally_slice_string(text)), "is %.*s, not %s",
            (int)bytes.len, (const char *)bytes.data, text);
}

static bool take(const char *text)
{
    return watch_places_take(&places, tally_slice_string(text));
}

START_TEST(the_last_of_each_partition)
{
    ck_assert(take("a.b/c/0@12,a.b/c/3@-1"));
    ck_assert(take("a.b/c/3@7"));
    ck_assert(take("a.b/c/1@0"));
    watch_places_write(&places, &out);
    is(tally_buf_bytes(&out), "a.b/c/0@12,a.b/c/3@7,a.b/c/1@0");
    ck_assert(take(""));
}
END_TEST

START_TEST(what_is_no_position)
{
    static const char *const wrong[] = {"a", "a/0", "a/0@", "a/@1", "/0@1", "a/x@1", "a/0@x",
            "a/-1@1", "a/0@-2", "a/0@1,", ",a/0@1", "a/0@1,,a/1@1", "a@0/1", "a/0@1,b/1@1"};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        places.count = 0;
        ck_assert_msg(!take(wrong[i]), "%s", wrong[i]);
    }
    places.count = 0;
    for (int i = 0; i < WATCH_PARTITIONS_MAX; i++) {
        tally_buf_clear(&out);
        tally_buf_format(&out, "a/%d@1", i);
        ck_assert(watch_places_take(&places, tally_buf_bytes(&out)));
    }
    ck_assert(!take("a/100000@1"));
    ck_assert(take("a/1@5"));
}
END_TEST

static struct watch_message parse(const char *text)
{
    return watch_line_parse(tally_slice_string(text), &arena);
}

START_TEST(messages)
{
    struct watch_message message =
            parse("{\"op\":\"delta\",\"id\":\"s\",\"position\":\"a/0@1\","
                  "\"conflated\":true,\"data\":{\"x\":\",\\\"data\\\":}\"}}");

    ck_assert_int_eq(message.op, WATCH_DELTA);
    is(message.position, "a/0@1");
    is(message.data, "{\"x\":\",\\\"data\\\":}\"}");
    ck_assert(message.conflated);
    message = parse("{\"op\":\"subscribed\",\"id\":\"s\",\"position\":\"a/0@1,a/1@-1\"}");
    ck_assert_int_eq(message.op, WATCH_SUBSCRIBED);
    is(message.position, "a/0@1,a/1@-1");
    message = parse("{\"op\":\"error\",\"id\":\"s\",\"code\":\"X\",\"detail\":\"a \\\"b\\\"\"}");
    ck_assert_int_eq(message.op, WATCH_ERROR);
    is(message.code, "X");
    is(message.detail, "a \"b\"");
    ck_assert_int_eq(parse("{\"op\":\"pong\"}").op, WATCH_NOTHING);
}
END_TEST

START_TEST(items_of_a_snapshot)
{
    struct watch_message message =
            parse("{\"op\":\"snapshot\",\"id\":\"s\",\"items\":[{\"a\":[1,{\"b\":\"]},{\\\"\"}]},"
                  "{\"c\":2},{}],\"last\":true}");
    struct tally_slice item;

    ck_assert_int_eq(message.op, WATCH_SNAPSHOT);
    ck_assert(message.last);
    ck_assert(watch_line_item(&message.data, &item));
    is(item, "{\"a\":[1,{\"b\":\"]},{\\\"\"}]}");
    ck_assert(watch_line_item(&message.data, &item));
    is(item, "{\"c\":2}");
    ck_assert(watch_line_item(&message.data, &item));
    is(item, "{}");
    ck_assert(!watch_line_item(&message.data, &item));
    message = parse("{\"op\":\"snapshot\",\"id\":\"s\",\"items\":[],\"last\":false}");
    ck_assert_int_eq(message.op, WATCH_SNAPSHOT);
    ck_assert(!message.last);
    ck_assert(!watch_line_item(&message.data, &item));
}
END_TEST

/* Every beginning of a message is refused, or is nothing. */
START_TEST(cut_messages)
{
    static const char *const whole[] = {
            "{\"op\":\"delta\",\"id\":\"s\",\"position\":\"a/0@1\",\"conflated\":true,\"data\":{}}",
            "{\"op\":\"snapshot\",\"id\":\"s\",\"items\":[{\"a\":\"\\\\\"}],\"last\":true}",
            "{\"op\":\"error\",\"id\":\"s\",\"code\":\"X\",\"detail\":\"d\"}"};

    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        for (size_t len = 0; len < strlen(whole[i]); len++) {
            uint8_t *text = tally_alloc(len + 1); /* so that a sanitizer sees its end */
            struct tally_slice item;
            struct watch_message message;

            memcpy(text, whole[i], len);
            message = watch_line_parse(tally_slice_of(text, len), &arena);
            ck_assert_msg(message.op == WATCH_STRANGE || (message.op == WATCH_DELTA && i == 0),
                    "%.*s", (int)len, whole[i]);
            while (message.op == WATCH_SNAPSHOT && watch_line_item(&message.data, &item)) {
            }
            tally_free(text);
        }
    }
}
END_TEST

START_TEST(lines)
{
    ck_assert(take("e/0@7,e/2@9"));
    watch_line_write(&(struct watch_line){"stock", "delta", TALLY_SLICE("e/2@9"), false,
                             TALLY_SLICE("{\"a\":1}")},
            &places, &out);
    watch_line_write(&(struct watch_line){"stock", "snapshot", TALLY_NONE, false,
                             TALLY_SLICE("{}")},
            &places, &out);
    is(tally_buf_bytes(&out),
            "{\"topic\":\"stock\",\"change\":\"delta\",\"position\":\"e/2@9\",\"conflated\":false,"
            "\"data\":{\"a\":1},\"resume\":\"e/0@7,e/2@9\"}\n"
            "{\"topic\":\"stock\",\"change\":\"snapshot\",\"position\":null,\"conflated\":false,"
            "\"data\":{},\"resume\":\"e/0@7,e/2@9\"}\n");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("watch_line");
    TCase *tests = tcase_create("watch_line");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, the_last_of_each_partition);
    tcase_add_test(tests, what_is_no_position);
    tcase_add_test(tests, messages);
    tcase_add_test(tests, items_of_a_snapshot);
    tcase_add_test(tests, cut_messages);
    tcase_add_test(tests, lines);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
