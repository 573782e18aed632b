/* test_explain_text.c - what people read of an explanation, and what pages say together. */
#include "apps/explain_text.h"

#include <check.h>
#include <stdlib.h>

static struct tally_arena arena;
static struct tally_buf out;

static void begin(void)
{
    tally_arena_init(&arena, 64 * 1024);
    tally_buf_init(&out, 64 * 1024);
}

static void end(void)
{
    tally_arena_deinit(&arena);
    tally_buf_deinit(&out);
}

static const struct tally_token *parse(const char *text)
{
    const struct tally_token *root = NULL;
    enum tally_refusal refusal;
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_msg(tally_document_parse(tally_slice_string(text), &arena, &root, &refusal, &err) ==
                          TALLY_OK,
            "%s", err.message);
    return root;
}

static void out_is(const char *text)
{
    ck_assert_msg(tally_slice_equal(tally_buf_bytes(&out), tally_slice_string(text)), "is\n%.*s",
            (int)out.len, (const char *)out.data);
}

START_TEST(an_entry)
{
    explain_text_items(
            parse("{\"items\":[{\"seq\":7,\"kind\":\"SHIP\",\"deltas\":{\"on_hand\":-2,"
                  "\"committed\":-2},\"after\":{\"on_hand\":38,\"committed\":8,\"available\":24},"
                  "\"reason\":\"LOST\",\"note\":\"a \\\"b\\\" \\u001b[2J\",\"actor\":\"ann\","
                  "\"cause\":{\"reservation_id\":\"R-7\",\"line\":2,\"shipment_id\":\"S-9\"},"
                  "\"command_id\":\"c-9\",\"recorded_at\":\"2026-01-15T10:02:00.012Z\","
                  "\"position\":\"stock.commands/2@1007\",\"command\":\"ShipStock\","
                  "\"correlation_id\":\"c-1\",\"event_id\":\"stock/2@1007\","
                  "\"event_position\":\"stock.events/2@1044\"}]}"),
            &out);
    out_is("     7  2026-01-15T10:02:00.012Z  SHIP            on_hand -2 = 38, committed -2 = 8; "
           "available 24\n"
           "        ShipStock c-9 at stock.commands/2@1007, event stock.events/2@1044, by ann, "
           "begun by c-1\n"
           "        reason LOST, note \"a \"b\" ?[2J\", reservation R-7 line 2, shipment S-9\n");
}
END_TEST

START_TEST(an_entry_of_which_little_is_known)
{
    explain_text_items(parse("{\"items\":[{\"seq\":1,\"kind\":\"CONFIGURE\",\"deltas\":{},"
                             "\"after\":{\"available\":0},\"command_id\":\"c\","
                             "\"recorded_at\":\"2026-01-15T10:02:00.012Z\",\"position\":\"t/0@1\","
                             "\"event_id\":\"stock/0@1\",\"event_position\":null}]}"),
            &out);
    out_is("     1  2026-01-15T10:02:00.012Z  CONFIGURE       available 0\n"
           "        c at t/0@1, event id stock/0@1 (its position is not known)\n");
}
END_TEST

START_TEST(a_level)
{
    explain_text_level(parse("{\"sku\":\"A\",\"warehouse\":\"W\",\"level\":{\"version\":3,"
                             "\"on_hand\":5,\"available\":-4,\"policy\":\"DENY\","
                             "\"updated_at\":\"2026-01-15T10:02:00.012Z\"}}"),
            &out);
    out_is("A in W: version 3 of 2026-01-15T10:02:00.012Z, policy DENY\n"
           "  on_hand                    5    damaged                    0\n"
           "  quality_control            0    held                       0\n"
           "  reserved                   0    committed                  0\n"
           "  safety_stock               0    incoming                   0\n"
           "  available                 -4    backordered                0\n");
}
END_TEST

static const char *const verdicts[][3] = {
        {"{\"check\":{\"whole\":true,\"newest\":9,\"oldest\":1,\"break\":null}}", "{}",
                "consistent: the deltas of entries 1 to 9 add up to it\n"},
        {"{\"check\":{\"whole\":false,\"newest\":9,\"oldest\":5,\"break\":null}}",
                "{\"check\":{\"whole\":false,\"newest\":4,\"oldest\":2,\"break\":null}}",
                "consistent so far: entries 2 to 9, those before not checked\n"},
        {"{\"check\":{\"whole\":false,\"newest\":9,\"oldest\":5,\"break\":null}}",
                "{\"check\":{\"whole\":true,\"newest\":4,\"oldest\":1,\"break\":null}}",
                "consistent: the deltas of entries 1 to 9 add up to it\n"},
        {"{\"check\":{\"whole\":true,\"newest\":0,\"oldest\":0,\"break\":null}}", "{}",
                "consistent: nothing has moved it\n"},
        {"{\"check\":{\"whole\":false,\"newest\":0,\"oldest\":0,\"break\":null}}", "{}",
                "not checked: no entry was found\n"},
        {"{\"check\":{\"whole\":false,\"newest\":9,\"oldest\":5,\"break\":{\"seq\":7,"
         "\"bucket\":\"held\",\"expected\":4,\"found\":3}}}",
                "{\"check\":{\"whole\":true,\"newest\":4,\"oldest\":1,\"break\":{\"seq\":2,"
                "\"bucket\":null,\"expected\":2,\"found\":1}}}",
                "broken at entry 7: held is 3 behind it, where what follows begins with 4\n"},
        {"{\"check\":{\"whole\":false,\"newest\":9,\"oldest\":9,\"break\":{\"seq\":8,"
         "\"bucket\":null,\"expected\":8,\"found\":0}}}",
                "{}", "broken: entry 8 is missing, and so are all before it\n"},
        {"{\"check\":{\"whole\":true,\"newest\":9,\"oldest\":1,\"break\":{\"seq\":8,"
         "\"bucket\":null,\"expected\":8,\"found\":7}}}",
                "{}", "broken: entry 8 is missing\n"},
};

START_TEST(what_pages_say_together)
{
    struct explain_text_check check = {.broken = false};

    explain_text_merge(&check, parse(verdicts[_i][0]));
    explain_text_merge(&check, parse(verdicts[_i][1]));
    explain_text_verdict(&check, &out);
    out_is(verdicts[_i][2]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("explain_text");
    TCase *tests = tcase_create("explain_text");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, an_entry);
    tcase_add_test(tests, an_entry_of_which_little_is_known);
    tcase_add_test(tests, a_level);
    tcase_add_loop_test(tests, what_pages_say_together, 0,
            (int)(sizeof verdicts / sizeof *verdicts));
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
