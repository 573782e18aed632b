/* tests/unit/test_json_plain.c - what the short way of reading JSON accepts, yajl's way reads too,
 * with the same tokens; and ordinary commands do go the short way. */
#include <check.h>

#include "schemas/serde_internal.h"

static struct tally_arena arena;

static void setup(void)
{
    tally_arena_init(&arena, 4096);
}

static void teardown(void)
{
    tally_arena_deinit(&arena);
}

static bool same_tokens(const struct tally_token *a, const struct tally_token *b)
{
    if (a->skip != b->skip) {
        return false;
    }
    for (uint32_t i = 0; i < a->skip; i++) {
        if (a[i].type != b[i].type || a[i].count != b[i].count || a[i].skip != b[i].skip) {
            return false;
        }
        if (a[i].type == TALLY_STRING ? !tally_slice_equal(a[i].string, b[i].string)
                                      : (a[i].type == TALLY_INT || a[i].type == TALLY_BOOL) &&
                                                a[i].integer != b[i].integer) {
            return false;
        }
    }
    return true;
}

/* Whether the short way took it; then the long one must have read the same. */
static bool is_plain(struct tally_slice bytes)
{
    const struct tally_token *plain = NULL, *other = NULL;
    enum tally_refusal refusal = TALLY_REFUSAL_NONE;
    struct tally_error err = {.code = TALLY_OK};

    if (!serde_json_plain(bytes, &arena, &plain)) {
        return false;
    }
    ck_assert_msg(serde_json_parse(bytes, &arena, &other, &refusal, &err) == TALLY_OK, "%.*s: %s",
            (int)bytes.len, (const char *)bytes.data, err.message);
    ck_assert_msg(same_tokens(plain, other), "%.*s", (int)bytes.len, (const char *)bytes.data);
    return true;
}

static const char command[] =
        "{\"type\":\"ReceiveStock\",\"command_id\":\"00000000-0000-7000-8000-000000000001\","
        "\"sku\":\"SKU-00000001\",\"warehouse\":\"W1\",\"quantity\":9}";
static const char *const plain_texts[] = {
        command,
        "{}",
        "{\t\"a\" :\n[ 1 , -2,0, true,false , null,\"\" ,{ } ,[ ] ] } \r\n",
        "{\"a\":{\"b\":{\"c\":{\"d\":\"a longer text with <>&' and 0123456789\"}}}}",
        "{\"n\":999999999999999999,\"m\":-999999999999999999}",
        "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"j\":10}",
};
static const char *const other_texts[] = {
        "",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{,}",
        "{\"a\" 1}",
        "{\"a\":01}",
        "{\"a\":-}",
        "{\"a\":1.5}",
        "{\"a\":1e3}",
        "{\"a\":1E3}",
        "{\"a\":+1}",
        "{\"a\":9999999999999999999}",
        "{\"a\":tru}",
        "{\"a\":nul}",
        "{\"a\":[1,]}",
        "{\"a\":[1 2]}",
        "{\"a\":[}",
        "{\"a\":\"\\n\"}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\xc3\xa4\"}",
        "{\"a\":1,\"a\":2}",
        "{} x",
        "{}{}",
        "{\"a\":1x}",
        "{a:1}",
        "{\"a\":'b'}",
        "{\"a\":\"b}",
        "{1:2}",
        "\"a\"",
        "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}}",
};

START_TEST(test_takes_ordinary_documents)
{
    ck_assert(is_plain(tally_slice_string(plain_texts[_i])));
}
END_TEST

START_TEST(test_leaves_the_others)
{
    ck_assert(!is_plain(tally_slice_string(other_texts[_i])));
}
END_TEST

/* Every byte of a document changed into every other, and every document cut short. */
START_TEST(test_accepts_nothing_that_is_wrong)
{
    char text[256];
    size_t len = strlen(plain_texts[_i]), accepted = 0;

    for (size_t at = 0; at < len; at++) {
        for (int byte = 1; byte < 256; byte++) {
            memcpy(text, plain_texts[_i], len);
            text[at] = (char)byte;
            accepted += is_plain(tally_slice_of(text, len));
            tally_arena_reset(&arena, 4096);
        }
        ck_assert(!is_plain(tally_slice_of(plain_texts[_i], at)) || at + 3 >= len);
    }
    ck_assert_uint_gt(accepted, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("json_plain");
    TCase *tests = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, test_takes_ordinary_documents, 0,
            (int)(sizeof plain_texts / sizeof *plain_texts));
    tcase_add_loop_test(tests, test_leaves_the_others, 0,
            (int)(sizeof other_texts / sizeof *other_texts));
    tcase_add_loop_test(tests, test_accepts_nothing_that_is_wrong, 0,
            (int)(sizeof plain_texts / sizeof *plain_texts));
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
