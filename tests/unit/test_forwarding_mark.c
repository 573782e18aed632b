/* test_forwarding_mark.c - a mark is good for one request, of one holder of the key. */
#include "http/forwarding_mark.h"

#include <check.h>
#include <stdlib.h>

static struct cursor_key key, other;
static struct exchange sender = {.cursor_key = &key}, receiver = {.cursor_key = &key};

static void setup(void)
{
    struct tally_error err = {0};

    ck_assert_int_eq(cursor_key_make("of all", &key, &err), TALLY_OK);
    ck_assert_int_eq(cursor_key_make("of another", &other, &err), TALLY_OK);
    tally_arena_init(&sender.arena, 4096);
}

static void teardown(void)
{
    tally_arena_deinit(&sender.arena);
}

/* Whether a mark of this is good for GET /v1/stock/A?warehouse=B of 10.0.0.1. */
static bool is_good(const char *method, const char *target, const char *hops)
{
    static char text[512];
    struct tally_slice mark = forwarding_mark_make(&sender, method, tally_slice_string(target),
            tally_slice_string(hops));

    ck_assert_uint_lt(mark.len, sizeof text);
    memcpy(text, mark.data, mark.len);
    text[mark.len] = '\0';
    receiver.request = (struct request){.method_name = "GET",
            .path = TALLY_SLICE("/v1/stock/A"),
            .query = TALLY_SLICE("warehouse=B"),
            .headers = {{"X-Forwarded-For", "10.0.0.1"}, {FORWARDING_MARK, text}},
            .header_count = 2};
    return forwarding_mark_is_good(&receiver);
}

START_TEST(is_good_for_one_request)
{
    ck_assert(is_good("GET", "/v1/stock/A?warehouse=B", "10.0.0.1"));
    ck_assert(!is_good("POST", "/v1/stock/A?warehouse=B", "10.0.0.1"));
    ck_assert(!is_good("GET", "/v1/stock/A", "10.0.0.1"));
    ck_assert(!is_good("GET", "/v1/stock/B?warehouse=B", "10.0.0.1"));
    ck_assert(!is_good("GET", "/v1/stock/A?warehouse=B", "10.0.0.2"));
    ck_assert(!is_good("GET", "/v1/stock/A?warehouse=B", ""));
}
END_TEST

START_TEST(is_of_a_holder_of_the_key)
{
    static const char *const marks[] = {"", "1", "MQ", "????", "MTExMTExMTExMTExMTExMTE"};

    receiver.cursor_key = &other;
    ck_assert(!is_good("GET", "/v1/stock/A?warehouse=B", "10.0.0.1"));
    receiver.cursor_key = &key;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        receiver.request.headers[1].value = marks[i];
        ck_assert(!forwarding_mark_is_good(&receiver));
    }
    receiver.request.header_count = 1;
    ck_assert(!forwarding_mark_is_good(&receiver));
}
END_TEST

START_TEST(no_cursor_is_one)
{
    static char text[512];
    struct tally_buf cursor;

    tally_buf_init(&cursor, sizeof text - 1);
    cursor_seal(&key, TALLY_SLICE("GET\0/v1/stock/A?warehouse=B"), TALLY_SLICE("1"), &cursor);
    memcpy(text, cursor.data, cursor.len);
    ck_assert(is_good("GET", "/v1/stock/A?warehouse=B", "10.0.0.1"));
    receiver.request.headers[1].value = text;
    ck_assert(!forwarding_mark_is_good(&receiver));
    tally_buf_deinit(&cursor);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("forwarding_mark");
    TCase *tests = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, is_good_for_one_request);
    tcase_add_test(tests, is_of_a_holder_of_the_key);
    tcase_add_test(tests, no_cursor_is_one);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
