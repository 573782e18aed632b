/* test_cursor.c - a cursor is good for its key and filter only, whatever is done to its text. */
#include "http/cursor.h"

#include <check.h>
#include <stdlib.h>

static struct cursor_key key;
static struct tally_buf text, place;

static void begin(void)
{
    ck_assert_int_eq(cursor_key_make("secret", &key, NULL), TALLY_OK);
    tally_buf_init(&text, 4096);
    tally_buf_init(&place, CURSOR_PLACE_BYTES_MAX);
}

static void end(void)
{
    tally_buf_deinit(&text);
    tally_buf_deinit(&place);
}

static bool unseal(const struct cursor_key *with, const char *filter)
{
    tally_buf_clear(&place);
    return cursor_unseal(with, tally_slice_string(filter), tally_buf_bytes(&text), &place);
}

START_TEST(gives_back_what_was_sealed)
{
    uint8_t bytes[CURSOR_PLACE_BYTES_MAX];

    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 7);
    }
    for (size_t len = 0; len <= sizeof bytes; len++) {
        tally_buf_clear(&text);
        cursor_seal(&key, TALLY_SLICE("filter"), tally_slice_of(bytes, len), &text);
        ck_assert(unseal(&key, "filter"));
        ck_assert(tally_slice_equal(tally_buf_bytes(&place), tally_slice_of(bytes, len)));
    }
}
END_TEST

START_TEST(is_bound_to_filter_and_key)
{
    struct cursor_key other;

    cursor_seal(&key, TALLY_SLICE("ab"), TALLY_SLICE("c"), &text);
    ck_assert(unseal(&key, "ab"));
    ck_assert(!unseal(&key, "a"));
    ck_assert(!unseal(&key, "abc"));
    ck_assert_int_eq(cursor_key_make("Secret", &other, NULL), TALLY_OK);
    ck_assert(!unseal(&other, "ab"));
    ck_assert_int_eq(cursor_key_make("secret", &other, NULL), TALLY_OK);
    ck_assert(unseal(&other, "ab"));
}
END_TEST

START_TEST(random_keys_differ)
{
    struct cursor_key one, two;

    ck_assert_int_eq(cursor_key_make("", &one, NULL), TALLY_OK);
    ck_assert_int_eq(cursor_key_make("", &two, NULL), TALLY_OK);
    ck_assert_mem_ne(one.bytes, two.bytes, sizeof one.bytes);
}
END_TEST

START_TEST(any_change_is_seen)
{
    size_t len;

    cursor_seal(&key, TALLY_SLICE("f"), TALLY_SLICE("place"), &text);
    len = text.len;
    for (size_t i = 0; i < len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            bool last_digit = i == len - 1; /* its lowest bits carry nothing */

            text.data[i] ^= (uint8_t)(1 << bit);
            ck_assert(!unseal(&key, "f") || last_digit);
            text.data[i] ^= (uint8_t)(1 << bit);
        }
    }
    for (text.len = 0; text.len < len; text.len++) {
        ck_assert(!unseal(&key, "f"));
    }
    ck_assert(unseal(&key, "f"));
}
END_TEST

START_TEST(refuses_what_is_no_cursor)
{
    static const char *const bad[] = {"", "a", "=", "....", "AAAAAAAAAAAAAAAAAAAAAAAA", "%20"};

    tally_buf_clear(&text);
    tally_buf_string(&text, bad[_i]);
    ck_assert(!unseal(&key, "f"));
}
END_TEST

START_TEST(refuses_a_long_text)
{
    for (int i = 0; i < 4000; i++) {
        tally_buf_byte(&text, 'A');
    }
    ck_assert(!unseal(&key, "f"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cursor");
    TCase *tests = tcase_create("cursor");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, gives_back_what_was_sealed);
    tcase_add_test(tests, is_bound_to_filter_and_key);
    tcase_add_test(tests, random_keys_differ);
    tcase_add_test(tests, any_change_is_seen);
    tcase_add_loop_test(tests, refuses_what_is_no_cursor, 0, 6);
    tcase_add_test(tests, refuses_a_long_text);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
