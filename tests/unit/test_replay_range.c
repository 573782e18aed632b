/* tests/unit/test_replay_range.c - which part of a log is replayed (apps/replay_range.c): (1) every
 * value that is refused is named, with a right one; (2) a directory is gone on with where it ends,
 * and nothing goes back; (3) nothing of a log that begins too late is taken for a state. */
#include "apps/replay_range.h"

#include <check.h>
#include <string.h>

static struct replay_point from, to;
static struct replay_log events;
static struct replay_have have;
static struct replay_range range;
static struct tally_error err;

#define NOW_MS INT64_C(1768471200000) /* 2026-01-15T10:00:00.000Z */

static void setup(void)
{
    events = (struct replay_log){
            .topic = "stock.events", .partition = 2, .end = 100, .from_at = -1, .to_at = -1};
    have = (struct replay_have){.dir = "shadow", .from = -1, .last = -1, .next = -1};
}

static enum tally_code find(const char *from_text, const char *to_text)
{
    err.message[0] = '\0';
    ck_assert_int_eq(replay_range_parse_from(from_text, &from, &err), TALLY_OK);
    ck_assert_int_eq(replay_range_parse_to(to_text, &to, &err), TALLY_OK);
    return replay_range_find(&from, &to, &events, &have, &range, &err);
}

static void expect(const char *from_text, const char *to_text, int64_t first, int64_t last,
        int64_t offsets)
{
    ck_assert_msg(find(from_text, to_text) == TALLY_OK, "%s", err.message);
    ck_assert_int_eq(range.part.from, first);
    ck_assert_int_eq(range.part.last, last);
    ck_assert_int_eq(replay_range_offsets(&range, &events, &have), offsets);
}

static void refuse(const char *from_text, const char *to_text, enum tally_code code,
        const char *says)
{
    ck_assert_int_eq(find(from_text, to_text), code);
    ck_assert_msg(strstr(err.message, says) != NULL, "\"%s\" lacks \"%s\"", err.message, says);
}

START_TEST(test_words)
{
    static const char *const wrong[] = {
            "yesterday", "-1", "", "12x", "2026-01-15", "2026-13-01T00:00:00Z", "end "};

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert_int_eq(replay_range_parse_from(wrong[i], &from, &err), TALLY_CONFIG);
        ck_assert_ptr_nonnull(strstr(err.message, "for example --from 1200"));
        ck_assert_int_eq(replay_range_parse_to(wrong[i], &to, &err), TALLY_CONFIG);
        ck_assert_ptr_nonnull(strstr(err.message, "--to 2026-01-15T10:00:00Z"));
    }
    ck_assert_int_eq(replay_range_parse_from("end", &from, &err), TALLY_CONFIG);
    ck_assert_int_eq(replay_range_parse_to("start", &to, &err), TALLY_CONFIG);
    ck_assert_int_eq(replay_range_parse_from("2026-01-15T10:00:00Z", &from, &err), TALLY_OK);
    ck_assert_int_eq(from.kind, REPLAY_TIME);
    ck_assert_int_eq(from.value, NOW_MS);
}
END_TEST

static enum tally_code check(const char *from_text, const char *to_text)
{
    ck_assert_int_eq(replay_range_parse_from(from_text, &from, &err), TALLY_OK);
    ck_assert_int_eq(replay_range_parse_to(to_text, &to, &err), TALLY_OK);
    return replay_range_check(&from, &to, NOW_MS, &err);
}

START_TEST(test_without_a_log)
{
    ck_assert_int_eq(check(NULL, "2026-01-15T10:00:00.001Z"), TALLY_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "as in --to 2026-01-15T10:00:00.000Z"));
    ck_assert_int_eq(check("2026-01-16T00:00:00Z", NULL), TALLY_CONFIG);
    ck_assert_int_eq(check("2026-01-14T10:00:00Z", "2026-01-14T10:00:00Z"), TALLY_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "the earlier time to --from"));
    ck_assert_int_eq(check("20", "10"), TALLY_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "--from 20 is behind --to 10"));
    ck_assert_int_eq(check("10", "10"), TALLY_OK);
    ck_assert_int_eq(check(NULL, NULL), TALLY_OK);
}
END_TEST

START_TEST(test_parts)
{
    expect(NULL, NULL, -1, 99, 100);
    expect("start", "end", -1, 99, 100);
    expect("0", "0", -1, 0, 1);
    expect("10", "20", 10, 20, 11);
    expect("99", "99", 99, 99, 1);
    expect("100", NULL, 100, 99, 0);
    refuse("101", NULL, TALLY_CONFIG, "--from 101: stock.events/2 has the offsets 0 to 99");
    refuse(NULL, "100", TALLY_CONFIG, "for example --to 99");
    refuse("50", "40", TALLY_CONFIG, "--from 50 is behind --to 40 in stock.events/2");
    events.end = 0;
    expect(NULL, NULL, -1, -1, 0);
    refuse(NULL, "0", TALLY_CONFIG, "stock.events/2 has no records");
}
END_TEST

START_TEST(test_times)
{
    events.from_at = 30;
    events.to_at = 60;
    expect("2026-01-15T10:00:00Z", "2026-01-15T11:00:00Z", 30, 59, 30);
    events.from_at = 0;
    expect("2026-01-15T10:00:00Z", NULL, -1, 99, 100);
    events.from_at = -1;
    expect("2026-01-15T10:00:00Z", NULL, 100, 99, 0);
    events.to_at = 0;
    expect("2026-01-15T10:00:00Z", "2026-01-15T11:00:00Z", 100, 99, 0);
    expect(NULL, "2026-01-15T11:00:00Z", -1, -1, 0);
    events.to_at = -1;
    expect(NULL, "2026-01-15T11:00:00Z", -1, 99, 100);
}
END_TEST

START_TEST(test_truncated)
{
    events.low = 40;
    refuse(NULL, NULL, TALLY_EVENTS_INCOMPLETE, "stock.events/2 begins at 40");
    refuse(NULL, "50", TALLY_EVENTS_INCOMPLETE, "--from 40 folds what is left");
    refuse("39", NULL, TALLY_CONFIG, "for example --from 40");
    refuse(NULL, "39", TALLY_CONFIG, "has the offsets 40 to 99");
    expect("40", "50", 40, 50, 11);
}
END_TEST

START_TEST(test_projections)
{
    events.compacted = true;
    events.low = 5;
    expect(NULL, "end", -1, 99, 95);
    refuse("10", NULL, TALLY_CONFIG, "leave --from out");
    refuse(NULL, "2026-01-15T10:00:00Z", TALLY_CONFIG, "leave --to out");
}
END_TEST

START_TEST(test_going_on)
{
    have.present = true;
    have.last = 49;
    expect(NULL, NULL, -1, 99, 50);
    expect("start", "60", -1, 60, 11);
    expect("50", "60", -1, 60, 11);
    refuse("51", "60", TALLY_CONFIG, "as in --from 50");
    refuse("40", "60", TALLY_CONFIG, "\"shadow\" ends at stock.events/2@49");
    refuse(NULL, "48", TALLY_CONFIG, "nothing goes back");
    expect(NULL, "49", -1, 49, 0);
    ck_assert(range.complete);
    have.next = 52; /* 50 and 51 are marks of transactions */
    expect("51", "60", -1, 60, 11);
    expect(NULL, "51", -1, 51, 0);
    ck_assert(range.complete);
    refuse("53", "60", TALLY_CONFIG, "it goes on from 52");
}
END_TEST

START_TEST(test_going_on_with_a_part)
{
    have.present = true;
    have.from = 20;
    expect(NULL, NULL, 20, 99, 80);
    refuse("30", NULL, TALLY_CONFIG, "as in --from 20"); /* killed before anything was there */
    have.last = 49;
    expect(NULL, NULL, 20, 99, 50);
    expect("20", "60", 20, 60, 11);
    expect("50", NULL, 20, 99, 50);
    refuse("start", NULL, TALLY_CONFIG, "for anything else give --into another directory");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("replay_range");
    TCase *cases = tcase_create("replay_range");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(cases, setup, NULL);
    tcase_add_test(cases, test_words);
    tcase_add_test(cases, test_without_a_log);
    tcase_add_test(cases, test_parts);
    tcase_add_test(cases, test_times);
    tcase_add_test(cases, test_truncated);
    tcase_add_test(cases, test_projections);
    tcase_add_test(cases, test_going_on);
    tcase_add_test(cases, test_going_on_with_a_part);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
