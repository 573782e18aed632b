/* tests/unit/test_row.c - keys sort as bytes at every size of input, and hash by all their bytes.
 */
#include <check.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "state/key_schema.h"
#include "state/row_internal.h"

static uint64_t seed;

static uint64_t next_random(void)
{
    seed += 0x9e3779b97f4a7c15u;
    return (seed ^ (seed >> 31)) * 0xbf58476d1ce4e5b9u >> 17;
}

static int compare(const void *a, const void *b)
{
    return tally_slice_compare(row_key(a), row_key(b));
}

/* Distinct keys: a long common start, zero bytes, and keys that are prefixes of others. */
static size_t make_rows(struct row *rows, uint8_t (*bytes)[TALLY_KEY_MAX], size_t count)
{
    size_t distinct = 0;

    for (size_t i = 0; i < count; i++) {
        size_t len = 1 + next_random() % 40;

        memset(bytes[i], 'k', 24);
        for (size_t at = next_random() % 24; at < len; at++) {
            bytes[i][at] = (uint8_t)(next_random() % 3 == 0 ? 0 : next_random());
        }
        rows[i] = (struct row){.key = bytes[i], .key_len = (uint16_t)len};
    }
    qsort(rows, count, sizeof *rows, compare);
    for (size_t i = 0; i < count; i++) {
        if (distinct == 0 || compare(&rows[i], &rows[distinct - 1]) != 0)
            rows[distinct++] = rows[i];
    }
    return distinct;
}

static void shuffle(struct row *rows, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t other = next_random() % i;
        struct row row = rows[i - 1];

        rows[i - 1] = rows[other];
        rows[other] = row;
    }
}

START_TEST(test_sorts_as_bytes)
{
    static const size_t counts[] = {0, 1, 2, 10, 24, 25, 100, 256, 257, 1000, 20000};
    size_t count = counts[_i];
    uint8_t(*bytes)[TALLY_KEY_MAX] = tally_alloc(20000 * sizeof *bytes);
    struct row *rows = tally_alloc(20000 * sizeof *rows);

    seed = (uint64_t)_i;
    count = make_rows(rows, bytes, count);
    shuffle(rows, count);
    row_sort(rows, count);
    for (size_t i = 1; i < count; i++) {
        ck_assert_int_lt(compare(&rows[i - 1], &rows[i]), 0);
    }
    tally_free(rows);
    tally_free(bytes);
}
END_TEST

START_TEST(test_sorts_equal_starts_of_full_length)
{
    static uint8_t bytes[600][TALLY_KEY_MAX];
    static struct row rows[600];

    for (size_t i = 0; i < 600; i++) { /* differ in the last two bytes only */
        memset(bytes[i], 'x', TALLY_KEY_MAX);
        tally_put_u16(bytes[i] + TALLY_KEY_MAX - 2, (uint16_t)(i * 7919));
        rows[i] = (struct row){.key = bytes[i], .key_len = TALLY_KEY_MAX};
    }
    row_sort(rows, 600);
    for (size_t i = 1; i < 600; i++) {
        ck_assert_int_lt(compare(&rows[i - 1], &rows[i]), 0);
    }
}
END_TEST

START_TEST(test_prefix_orders_as_bytes)
{
    ck_assert_uint_lt(row_prefix(TALLY_SLICE("a")), row_prefix(TALLY_SLICE("b")));
    ck_assert_uint_lt(row_prefix(TALLY_SLICE("a")), row_prefix(TALLY_SLICE("aa")));
    ck_assert_uint_eq(row_prefix(TALLY_SLICE("12345678")), row_prefix(TALLY_SLICE("123456789")));
    ck_assert_uint_eq(row_prefix(TALLY_NONE), 0);
}
END_TEST

START_TEST(test_hash_depends_on_every_byte)
{
    uint8_t key[64] = {0};

    for (size_t len = 1; len <= sizeof key; len++) {
        uint64_t hash = row_hash(tally_slice_of(key, len));

        ck_assert_uint_ne(hash, row_hash(tally_slice_of(key, len - 1)));
        for (size_t at = 0; at < len; at++) {
            key[at] ^= 1;
            ck_assert_uint_ne(hash, row_hash(tally_slice_of(key, len)));
            key[at] ^= 1;
        }
        ck_assert_uint_eq(hash, row_hash(tally_slice_of(key, len)));
    }
}
END_TEST

START_TEST(test_only_old_dedup_rows_expire)
{
    uint8_t value[9];
    struct tally_slice row = {value, sizeof value};

    tally_put_u64(value, 5000);
    ck_assert(row_expired(TALLY_SLICE("Did"), row, 5001));
    ck_assert(!row_expired(TALLY_SLICE("Did"), row, 5000));
    ck_assert(!row_expired(TALLY_SLICE("Lid"), row, 9999));
    ck_assert(!row_expired(TALLY_SLICE("Did"), tally_slice_of(value, 7), 9999));
    ck_assert_int_eq(row_cutoff(0, 1000), INT64_MIN);
    ck_assert_int_eq(row_cutoff(5000, 1000), 4000);
    ck_assert(!row_expired(TALLY_SLICE("Did"), row, row_cutoff(0, 1000)));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("row");
    TCase *tests = tcase_create("row");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tests, test_sorts_as_bytes, 0, 11);
    tcase_add_test(tests, test_sorts_equal_starts_of_full_length);
    tcase_add_test(tests, test_prefix_orders_as_bytes);
    tcase_add_test(tests, test_hash_depends_on_every_byte);
    tcase_add_test(tests, test_only_old_dedup_rows_expire);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
