/* tests/unit/test_store_scan.c - the owner's scans: whatever was written, committed, dropped or
 * flushed, they find what an iterator finds; and what they remember is bounded. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "state/key_schema.h"
#include "state/memory_disk.h"
#include "state/store_internal.h"
#include "tests/unit/store_fixture.h"

#define STEPS  6000
#define SKUS   7
#define PLACES 9

static struct fixture f;

static void setup(void)
{
    fixture_begin(&f, FIXTURE_MEMORY);
}

static void teardown(void)
{
    fixture_end(&f);
}

static uint64_t next_random(uint64_t below)
{
    static uint64_t x = 88172645463325252;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (x >> 11) % below;
}

static struct tally_key prefix_of(unsigned sku)
{
    struct tally_key key;
    char text[16];

    snprintf(text, sizeof text, "sku-%u", sku);
    tally_key_begin(&key, TALLY_STORE_LEVEL);
    tally_key_string(&key, tally_slice_string(text));
    return key;
}

static struct tally_key key_of(unsigned sku, unsigned place)
{
    struct tally_key key = prefix_of(sku);
    char text[16];

    /* lengths differ, and one is the begin of another */
    snprintf(text, sizeof text, "W%.*s", (int)place % 4, "AAAA");
    tally_key_tail(&key, tally_slice_string(text));
    if (place >= 4) {
        snprintf(text, sizeof text, "%u", place);
        tally_key_tail(&key, tally_slice_string(text));
    }
    return key;
}

struct found {
    struct tally_buf text;
    size_t rows, most;
};

static bool note(void *context, struct tally_slice key, struct tally_slice value)
{
    struct found *found = context;

    tally_key_print("stock", key, &found->text);
    tally_buf_format(&found->text, "=%.*s ", (int)value.len, (const char *)value.data);
    return ++found->rows < found->most;
}

static size_t scan(struct tally_slice prefix, size_t most, char text[static 4096])
{
    struct found found = {.most = most};

    tally_buf_init(&found.text, 4096);
    ck_assert_int_eq(tally_store_scan(f.store, prefix, note, &found, NULL), TALLY_OK);
    ck_assert_uint_lt(found.text.len, 4096);
    memcpy(text, found.text.data ? found.text.data : (const uint8_t *)"", found.text.len);
    text[found.text.len] = 0;
    tally_buf_deinit(&found.text);
    return found.rows;
}

static size_t iterate(struct tally_slice prefix, char text[static 4096])
{
    struct found found = {.most = SIZE_MAX};
    uint8_t space[TALLY_KEY_MAX];
    struct tally_slice key, value;
    enum tally_code code;
    struct tally_iterator *iterator =
            tally_store_iterate(f.store, prefix, tally_prefix_end(prefix, space), false);

    tally_buf_init(&found.text, 4096);
    while (tally_iterator_next(iterator, &key, &value, &code, NULL)) {
        (void)note(&found, key, value);
    }
    ck_assert_int_eq(code, TALLY_OK);
    tally_iterator_destroy(iterator);
    memcpy(text, found.text.data ? found.text.data : (const uint8_t *)"", found.text.len);
    text[found.text.len] = 0;
    tally_buf_deinit(&found.text);
    return found.rows;
}

static void same(unsigned sku)
{
    struct tally_key prefix = prefix_of(sku);
    char scanned[4096], iterated[4096];
    size_t rows = scan(tally_key_bytes(&prefix), SIZE_MAX, scanned);

    ck_assert_uint_eq(iterate(tally_key_bytes(&prefix), iterated), rows);
    ck_assert_str_eq(scanned, iterated);
}

static void put(unsigned sku, unsigned place, const char *value)
{
    struct tally_key key = key_of(sku, place);

    if (value) {
        tally_store_put(f.store, tally_key_bytes(&key), tally_slice_string(value));
    } else {
        tally_store_delete(f.store, tally_key_bytes(&key));
    }
}

static void read_one(unsigned sku, unsigned place)
{
    struct tally_key key = key_of(sku, place);
    struct tally_slice value;
    enum tally_code code = tally_store_get(f.store, tally_key_bytes(&key), &value, NULL);

    ck_assert(code == TALLY_OK || code == TALLY_NOT_FOUND);
}

START_TEST(scans_find_what_iterators_find)
{
    int64_t offset = 1;
    char value[24];

    for (int step = 0; step < STEPS; step++) {
        unsigned sku = (unsigned)next_random(SKUS), place = (unsigned)next_random(PLACES);

        switch (next_random(_i ? 40 : 16)) {
        case 0:
            fixture_commit(&f, offset++);
            break;
        case 1:
            tally_store_rollback(f.store);
            break;
        case 2:
            fixture_commit(&f, offset++);
            fixture_flush(&f);
            break;
        case 3:
            if (next_random(20) == 0) {
                fixture_commit(&f, offset++);
                fixture_reopen(&f, true);
            }
            break;
        case 4:
        case 5:
        case 6:
            put(sku, place, NULL);
            break;
        case 7:
            read_one(sku, place);
            break;
        case 8:
        case 9:
        case 10:
            same(sku);
            break;
        default:
            snprintf(value, sizeof value, "v%d", step);
            put(sku, place, value);
            break;
        }
    }
    for (unsigned sku = 0; sku < SKUS; sku++) {
        same(sku);
    }
}
END_TEST

START_TEST(what_is_appended_is_found)
{
    struct tally_key key = key_of(1, 5);

    put(1, 4, "a");
    fixture_commit(&f, 1);
    same(1);
    tally_store_append(f.store, tally_key_bytes(&key), TALLY_SLICE("b"));
    fixture_commit(&f, 2);
    same(1);
    put(1, 6, "c");
    same(1);
}
END_TEST

START_TEST(a_scan_ends_where_it_is_told)
{
    struct tally_key prefix = prefix_of(1);
    char text[4096];

    for (unsigned place = 0; place < PLACES; place++) {
        put(1, place, "x");
        put(2, place, "y");
    }
    ck_assert_uint_eq(scan(tally_key_bytes(&prefix), 3, text), 3);
    fixture_commit(&f, 1);
    ck_assert_uint_eq(scan(tally_key_bytes(&prefix), 3, text), 3);
    ck_assert_uint_eq(scan(tally_key_bytes(&prefix), 100, text), PLACES);
    prefix.len--; /* no whole string: sku-1 and what begins so */
    ck_assert_uint_eq(scan(tally_key_bytes(&prefix), 100, text), PLACES);
    prefix.len--;
    ck_assert_uint_eq(scan(tally_key_bytes(&prefix), 100, text), 2 * PLACES);
    prefix.len = 1;
    ck_assert_uint_eq(scan(tally_key_bytes(&prefix), 100, text), 2 * PLACES);
}
END_TEST

static void count_key(void *context, struct tally_slice key)
{
    struct tally_slice value;

    ck_assert_int_eq(tally_store_get(f.store, key, &value, NULL), TALLY_OK);
    (*(int *)context)++;
}

START_TEST(keys_are_known_once_they_were_scanned)
{
    struct tally_key prefix = prefix_of(1);
    char text[4096];
    int count = 0;

    put(1, 1, "x");
    put(1, 2, "x");
    put(2, 2, "x");
    fixture_commit(&f, 1);
    tally_store_scan_keys(f.store, tally_key_bytes(&prefix), count_key, &count);
    ck_assert_int_eq(count, 0);
    (void)scan(tally_key_bytes(&prefix), 100, text);
    tally_store_scan_keys(f.store, tally_key_bytes(&prefix), count_key, &count);
    ck_assert_int_eq(count, 2);
    put(1, 3, "x");
    fixture_commit(&f, 2);
    tally_store_scan_keys(f.store, tally_key_bytes(&prefix), count_key, &count);
    ck_assert_int_eq(count, 5);
}
END_TEST

START_TEST(memory_is_bounded)
{
    size_t most = 0, before = 0;
    bool shrank = false;
    char text[4096];

    for (unsigned sku = 0; sku < 200000 && !shrank; sku++) {
        struct tally_key prefix = prefix_of(sku);

        put(sku, 1, "x");
        ck_assert_uint_eq(scan(tally_key_bytes(&prefix), 100, text), 1);
        if (sku % 1000 == 999) {
            fixture_commit(&f, sku + 1);
            shrank = f.store->groups.size < before;
            before = f.store->groups.size;
            most = before > most ? before : most;
        }
    }
    ck_assert(shrank);
    ck_assert_uint_le(most, (size_t)f.options.memory_bytes / 32);
    same(1);
    same(199);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_scan");
    TCase *tcase = tcase_create("scans");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, scans_find_what_iterators_find, 0, 2);
    tcase_add_test(tcase, what_is_appended_is_found);
    tcase_add_test(tcase, a_scan_ends_where_it_is_told);
    tcase_add_test(tcase, keys_are_known_once_they_were_scanned);
    tcase_add_test(tcase, memory_is_bounded);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
