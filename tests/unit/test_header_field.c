/* test_header_field.c - Prefer, Accept, Content-Type, entity tags, Idempotency-Key. */
#include "http/header_field.h"

#include <check.h>
#include <stdlib.h>

START_TEST(prefers_to_wait)
{
    static const struct {
        const char *value;
        int64_t seconds; /* 0: not understood */
    } cases[] = {
            {"wait=5", 5},
            {"Wait=30", 30},
            {"respond-async, wait=1", 1},
            {"wait=\"7\"", 7},
            {"wait=2; foo=bar", 2},
            {"wait = 3", 3},
            {"wait=2, wait=9", 2},
            {"wait=0", 0},
            {"wait=31", 0},
            {"wait=-1", 0},
            {"wait=1.5", 0},
            {"wait", 0},
            {"wait=", 0},
            {"waits=5", 0},
            {"", 0},
    };
    struct request request = {.header_count = 1, .headers = {{"prefer", cases[_i].value}}};
    int64_t seconds = 0;
    bool understood = header_field_prefer_wait(&request, &seconds);

    ck_assert_int_eq(understood, cases[_i].seconds > 0);
    if (understood) {
        ck_assert_int_eq(seconds, cases[_i].seconds);
    }
}
END_TEST

START_TEST(prefer_may_be_in_several_headers)
{
    struct request request = {
            .header_count = 2, .headers = {{"Prefer", "return=minimal"}, {"Prefer", "wait=4"}}};
    int64_t seconds = 0;

    ck_assert(header_field_prefer_wait(&request, &seconds));
    ck_assert_int_eq(seconds, 4);
}
END_TEST

START_TEST(accepts_by_the_most_specific_range)
{
    static const struct {
        const char *accept, *type;
        bool accepted;
    } cases[] = {
            {NULL, "application/json", true},
            {"*/*", "application/json", true},
            {"application/json", "application/json", true},
            {"Application/JSON;q=0.5", "application/json", true},
            {"text/html, application/*;q=0.1", "application/json", true},
            {"text/plain;version=0.0.4;q=0.5", "text/plain; charset=utf-8", true},
            {"text/html", "application/json", false},
            {"application/json;q=0, */*", "application/json", false},
            {"*/*;q=0", "application/json", false},
            {"*/*;q=0.000, application/json", "application/json", true},
            {"application/jso", "application/json", false},
            {"text/*", "application/json", false},
            {"", "application/json", false},
    };

    ck_assert_int_eq(header_field_accepts(tally_slice_string(cases[_i].accept), cases[_i].type),
            cases[_i].accepted);
}
END_TEST

START_TEST(compares_media_types)
{
    ck_assert(header_field_is_type(TALLY_SLICE("application/json"), "application/json"));
    ck_assert(header_field_is_type(TALLY_SLICE("Application/Json ; charset=\"UTF-8\""),
            "application/json"));
    ck_assert(!header_field_is_type(TALLY_SLICE("application/json; charset=latin1"),
            "application/json"));
    ck_assert(!header_field_is_type(TALLY_SLICE("application/json2"), "application/json"));
    ck_assert(!header_field_is_type(TALLY_SLICE("application/x-www-form-urlencoded"),
            "application/json"));
    ck_assert(!header_field_is_type(TALLY_NONE, "application/json"));
}
END_TEST

START_TEST(matches_none_weakly)
{
    struct tally_slice etag = TALLY_SLICE("\"p2-v911\"");

    ck_assert(header_field_none_match(TALLY_SLICE("\"p2-v911\""), etag));
    ck_assert(header_field_none_match(TALLY_SLICE("W/\"p2-v911\""), etag));
    ck_assert(header_field_none_match(TALLY_SLICE("\"a\", W/\"p2-v911\" ,\"b\""), etag));
    ck_assert(header_field_none_match(TALLY_SLICE("*"), etag));
    ck_assert(!header_field_none_match(TALLY_SLICE("\"p2-v912\""), etag));
    ck_assert(!header_field_none_match(TALLY_SLICE("p2-v911"), etag));
    ck_assert(!header_field_none_match(TALLY_SLICE(""), etag));
    ck_assert(!header_field_none_match(TALLY_SLICE("\"x,\"p2-v911\""), etag));
}
END_TEST

START_TEST(reads_the_version_of_a_tag)
{
    static const char *const bad[] = {"\"p2-v\"", "\"p-v1\"", "\"2-v1\"", "p2-v1", "W/\"p2-v1\"",
            "\"p2-v1\", \"p2-v2\"", "\"p2-v1x\"", "\"p2-v99999999999999999999\"", "\"\"",
            "\"p2v1\"", "", "**"};
    bool any;
    int64_t version = 0;

    ck_assert(header_field_match_version(TALLY_SLICE("\"p2-v911\""), &any, &version));
    ck_assert(!any);
    ck_assert_int_eq(version, 911);
    ck_assert(header_field_match_version(TALLY_SLICE("\"p13-v0\""), &any, &version));
    ck_assert_int_eq(version, 0);
    ck_assert(header_field_match_version(TALLY_SLICE("*"), &any, &version));
    ck_assert(any);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(!header_field_match_version(tally_slice_string(bad[i]), &any, &version),
                "accepted %s", bad[i]);
    }
}
END_TEST

START_TEST(reads_idempotency_keys)
{
    static const char *const bad[] = {"", "\"\"", "a b", "~HoldStock:1", "\"a", "a\"", "a/b",
            "12345678901234567890123456789012345678901234567890123456789012345"};
    struct tally_slice id;

    ck_assert(header_field_command_id(TALLY_SLICE("c-1"), &id));
    ck_assert(tally_slice_equal(id, TALLY_SLICE("c-1")));
    ck_assert(header_field_command_id(TALLY_SLICE("\"01908f0e-7b1c.A_b:c\""), &id));
    ck_assert(tally_slice_equal(id, TALLY_SLICE("01908f0e-7b1c.A_b:c")));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(!header_field_command_id(tally_slice_string(bad[i]), &id), "accepted %s",
                bad[i]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("header_field");
    TCase *tests = tcase_create("header_field");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tests, prefers_to_wait, 0, 15);
    tcase_add_test(tests, prefer_may_be_in_several_headers);
    tcase_add_loop_test(tests, accepts_by_the_most_specific_range, 0, 13);
    tcase_add_test(tests, compares_media_types);
    tcase_add_test(tests, matches_none_weakly);
    tcase_add_test(tests, reads_the_version_of_a_tag);
    tcase_add_test(tests, reads_idempotency_keys);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
