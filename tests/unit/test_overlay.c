/* tests/unit/test_overlay.c - dirty and clean entries against a plain table; eviction by the limit.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "state/overlay_internal.h"

static struct overlay overlay;
static atomic_llong account;
static uint64_t seed;

static uint64_t next_random(void)
{
    seed += 0x9e3779b97f4a7c15u;
    return (seed ^ (seed >> 31)) * 0xbf58476d1ce4e5b9u >> 17;
}

static void setup(void)
{
    atomic_store(&account, 0);
    overlay_init(&overlay, &account);
}

static void teardown(void)
{
    overlay_deinit(&overlay);
    ck_assert_int_eq(atomic_load(&account), 0);
}

static struct tally_slice key_of(unsigned number)
{
    static char text[32];

    snprintf(text, sizeof text, "Lkey-%u", number);
    return tally_slice_string(text);
}

static struct overlay_entry *find(struct tally_slice key)
{
    return overlay_find(&overlay, key, row_hash(key));
}

static struct overlay_entry *load(struct tally_slice key, struct tally_slice value, bool absent)
{
    ck_assert_ptr_null(find(key)); /* as every caller has found out */
    return overlay_load(&overlay, key, row_hash(key), value, absent);
}

static bool is(struct tally_slice key, const char *value)
{
    struct overlay_entry *entry = find(key);

    return entry && !entry->absent &&
           tally_slice_equal(overlay_value(entry), tally_slice_string(value));
}

START_TEST(test_put_overwrites_and_deletes)
{
    struct tally_slice key = TALLY_SLICE("Lkey");

    ck_assert_ptr_null(find(key));
    overlay_put(&overlay, key, TALLY_SLICE("one"), false);
    ck_assert(is(key, "one"));
    overlay_put(&overlay, key, TALLY_SLICE("two"), false);
    overlay_put(&overlay, key, TALLY_SLICE("a longer value than before"), false);
    ck_assert(is(key, "a longer value than before"));
    ck_assert_uint_eq(overlay.dirty_count, 1);
    overlay_put(&overlay, key, TALLY_NONE, true);
    ck_assert(find(key)->absent);
    ck_assert_uint_eq(overlay_value(find(key)).len, 0);
    overlay_put(&overlay, key, TALLY_SLICE(""), false);
    ck_assert(is(key, ""));
}
END_TEST

START_TEST(test_uncommitted_bytes_follow_values)
{
    size_t small, large;

    ck_assert_ptr_null(find(TALLY_SLICE("Lkey")));
    overlay_put(&overlay, TALLY_SLICE("Lkey"), TALLY_SLICE("1"), false);
    small = overlay.dirty_bytes;
    overlay_put(&overlay, TALLY_SLICE("Lkey"), TALLY_SLICE("1234567890"), false);
    large = overlay.dirty_bytes;
    ck_assert_uint_eq(large - small, 9);
    overlay_put(&overlay, TALLY_SLICE("Lkey"), TALLY_NONE, true);
    ck_assert_uint_eq(overlay.dirty_bytes, small - 1);
    overlay_rollback(&overlay);
    ck_assert_uint_eq(overlay.dirty_bytes, 0);
}
END_TEST

START_TEST(test_rollback_removes_what_was_touched)
{
    load(TALLY_SLICE("Lclean"), TALLY_SLICE("kept"), false);
    load(TALLY_SLICE("Ltouched"), TALLY_SLICE("old"), false);
    overlay_put(&overlay, TALLY_SLICE("Ltouched"), TALLY_SLICE("new"), false);
    overlay_put(&overlay, TALLY_SLICE("Lmade"), TALLY_SLICE("new"), false);
    overlay_rollback(&overlay);
    ck_assert(is(TALLY_SLICE("Lclean"), "kept"));
    ck_assert_ptr_null(find(TALLY_SLICE("Ltouched")));
    ck_assert_ptr_null(find(TALLY_SLICE("Lmade")));
    ck_assert_uint_eq(overlay.dirty_count, 0);
}
END_TEST

START_TEST(test_commit_keeps_what_was_read)
{
    struct row rows[4];

    load(TALLY_SLICE("Lkey"), TALLY_NONE, true);
    load(TALLY_SLICE("Lgone"), TALLY_SLICE("old"), false);
    overlay_put(&overlay, TALLY_SLICE("Lkey"), TALLY_SLICE("v"), false);
    overlay_put(&overlay, TALLY_SLICE("Lgone"), TALLY_NONE, true);
    overlay_put(&overlay, TALLY_SLICE("Lblind"), TALLY_SLICE("never asked for"), false);
    overlay_commit(&overlay);
    ck_assert_ptr_null(find(TALLY_SLICE("Lblind")));
    ck_assert(is(TALLY_SLICE("Lkey"), "v"));
    ck_assert(find(TALLY_SLICE("Lgone"))->absent);
    ck_assert_uint_eq(overlay_rows(&overlay, TALLY_NONE, TALLY_NONE, rows), 0);
    overlay_rollback(&overlay); /* nothing is dirty any more */
    ck_assert(is(TALLY_SLICE("Lkey"), "v"));
}
END_TEST

START_TEST(test_rows_are_bounded)
{
    struct row rows[4];
    size_t count;

    overlay_put(&overlay, TALLY_SLICE("Lc"), TALLY_SLICE("3"), false);
    overlay_put(&overlay, TALLY_SLICE("La"), TALLY_SLICE("1"), false);
    overlay_put(&overlay, TALLY_SLICE("Lb"), TALLY_NONE, true);
    load(TALLY_SLICE("Laa"), TALLY_SLICE("clean"), false);
    count = overlay_rows(&overlay, TALLY_SLICE("La"), TALLY_SLICE("Lc"), rows);
    row_sort(rows, count);
    ck_assert_uint_eq(count, 2);
    ck_assert(tally_slice_equal(row_key(&rows[0]), TALLY_SLICE("La")));
    ck_assert(tally_slice_equal(row_value(&rows[0]), TALLY_SLICE("1")));
    ck_assert(rows[1].deleted);
}
END_TEST

/* Nobody reads: every write is there, in order, and the last one counts. */
START_TEST(test_writes_that_nobody_reads)
{
    struct row rows[4];
    size_t count;

    overlay_put(&overlay, TALLY_SLICE("Gb"), TALLY_SLICE("1"), false);
    overlay_put(&overlay, TALLY_SLICE("Ga"), TALLY_SLICE("2"), false);
    overlay_put(&overlay, TALLY_SLICE("Gb"), TALLY_SLICE("3"), false);
    count = overlay_rows(&overlay, TALLY_NONE, TALLY_NONE, rows);
    ck_assert_uint_eq(count, 3);
    row_sort(rows, count);
    ck_assert_uint_eq(row_unique(rows, count), 2);
    ck_assert(tally_slice_equal(row_value(&rows[0]), TALLY_SLICE("2")));
    ck_assert(tally_slice_equal(row_value(&rows[1]), TALLY_SLICE("3")));
    overlay_commit(&overlay);
    ck_assert_ptr_null(find(TALLY_SLICE("Gb")));
    ck_assert_uint_eq(overlay.dirty_count, 0);
}
END_TEST

/* The first look-up of a store ends that, with the newest version of each key. */
START_TEST(test_a_look_up_tables_what_was_logged)
{
    struct row rows[4];

    overlay_put(&overlay, TALLY_SLICE("Gb"), TALLY_SLICE("1"), false);
    overlay_put(&overlay, TALLY_SLICE("Gb"), TALLY_SLICE("22"), false);
    overlay_put(&overlay, TALLY_SLICE("La"), TALLY_SLICE("other store"), false);
    ck_assert(is(TALLY_SLICE("Gb"), "22"));
    overlay_put(&overlay, TALLY_SLICE("Gb"), TALLY_SLICE("333"), false);
    ck_assert(is(TALLY_SLICE("Gb"), "333"));
    ck_assert_uint_eq(overlay_rows(&overlay, TALLY_SLICE("G"), TALLY_SLICE("H"), rows), 1);
    ck_assert(tally_slice_equal(row_value(&rows[0]), TALLY_SLICE("333")));
    overlay_rollback(&overlay);
    ck_assert_ptr_null(find(TALLY_SLICE("Gb")));
    ck_assert_ptr_null(find(TALLY_SLICE("La")));
}
END_TEST

/* A cached entry must not outlive a write that was not looked up. */
START_TEST(test_a_cached_key_is_written_in_its_place)
{
    load(TALLY_SLICE("Lkey"), TALLY_SLICE("old"), false);
    overlay_commit(&overlay);
    overlay_put(&overlay, TALLY_SLICE("Lkey"), TALLY_SLICE("new"), false);
    overlay_commit(&overlay);
    ck_assert(is(TALLY_SLICE("Lkey"), "new"));
}
END_TEST

START_TEST(test_clear_leaves_nothing)
{
    struct row rows[4];
    size_t size;

    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 5000; i++) {
            ck_assert_ptr_null(find(key_of(i)));
            overlay_put(&overlay, key_of(i), TALLY_SLICE("some value"), false);
        }
        overlay_clear(&overlay);
        ck_assert_ptr_null(find(key_of(4999)));
        ck_assert_uint_eq(overlay_rows(&overlay, TALLY_NONE, TALLY_NONE, rows), 0);
        ck_assert_uint_eq(overlay.dirty_bytes, 0);
        if (round == 1)
            size = overlay.size;
    }
    ck_assert_uint_eq(overlay.size, size); /* its memory is used again */
}
END_TEST

START_TEST(test_absent_keys_get_room_for_their_value)
{
    struct overlay_entry *entry;

    overlay_put(&overlay, TALLY_SLICE("Lsome"), TALLY_SLICE("0123456789"), false);
    entry = load(TALLY_SLICE("Lother"), TALLY_NONE, true);
    overlay_put(&overlay, TALLY_SLICE("Lother"), TALLY_SLICE("9876543210"), false);
    ck_assert_ptr_eq(find(TALLY_SLICE("Lother")), entry);
    ck_assert(is(TALLY_SLICE("Lother"), "9876543210"));
}
END_TEST

START_TEST(test_eviction_keeps_dirty_and_recent)
{
    static const size_t limit = 2 * 1024 * 1024;
    char value[200];

    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    overlay_put(&overlay, TALLY_SLICE("Ldirty"), TALLY_SLICE("uncommitted"), false);
    load(TALLY_SLICE("Lhot"), TALLY_SLICE("hot"), false);
    load(TALLY_SLICE("Lcold"), TALLY_SLICE("cold"), false);
    for (unsigned i = 0; i < 50000; i++) {
        load(key_of(i), tally_slice_string(value), false);
        if (i % 500 == 0) {
            find(TALLY_SLICE("Lhot"))->referenced = true;
            overlay_evict(&overlay, limit);
            ck_assert_uint_le(overlay.size, limit + overlay.dirty_bytes);
        }
    }
    ck_assert(is(TALLY_SLICE("Ldirty"), "uncommitted"));
    ck_assert(is(TALLY_SLICE("Lhot"), "hot"));
    ck_assert_ptr_null(find(TALLY_SLICE("Lcold")));
    ck_assert(is(key_of(49999), value));
    ck_assert_uint_eq(overlay.dirty_count, 1);
    ck_assert_ptr_eq(overlay.dirty[0], find(TALLY_SLICE("Ldirty")));
}
END_TEST

START_TEST(test_a_burst_leaves_no_large_table)
{
    size_t before = overlay.size;

    for (unsigned i = 0; i < 100000; i++) {
        load(key_of(i), TALLY_NONE, true);
        overlay_put(&overlay, key_of(i), TALLY_SLICE("value"), false);
    }
    overlay_commit(&overlay);
    overlay_evict(&overlay, 1024 * 1024);
    ck_assert_uint_le(overlay.size, 1024 * 1024);
    ck_assert_uint_gt(overlay.entries, 0); /* and the cache is still one */
    ck_assert_uint_gt(overlay.size, before);
}
END_TEST

START_TEST(test_values_larger_than_a_chunk)
{
    size_t len = 3 * 1024 * 1024;
    uint8_t *large = tally_alloc(len);

    memset(large, 'x', len);
    overlay_put(&overlay, TALLY_SLICE("Lbig"), tally_slice_of(large, len), false);
    overlay_put(&overlay, TALLY_SLICE("Lsmall"), TALLY_SLICE("s"), false);
    ck_assert(tally_slice_equal(overlay_value(find(TALLY_SLICE("Lbig"))),
            tally_slice_of(large, len)));
    overlay_evict(&overlay, 0);
    ck_assert(tally_slice_equal(overlay_value(find(TALLY_SLICE("Lbig"))),
            tally_slice_of(large, len)));
    ck_assert(is(TALLY_SLICE("Lsmall"), "s"));
    tally_free(large);
}
END_TEST

enum { MODEL_KEYS = 400 };
struct model {
    bool known, dirty, absent;
    char value[40];
};

static void check_model(const struct model *model)
{
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        struct overlay_entry *entry = find(key_of(i));

        if (model[i].dirty)
            ck_assert_ptr_nonnull(entry);
        if (!entry)
            continue;
        ck_assert(model[i].known);
        ck_assert_int_eq(entry->absent, model[i].absent);
        if (!entry->absent)
            ck_assert(is(key_of(i), model[i].value));
    }
}

/* Whatever the overlay still knows is what was last said; dirty entries it always knows. */
START_TEST(test_random_operations)
{
    static struct model model[MODEL_KEYS];

    memset(model, 0, sizeof model);
    seed = (uint64_t)_i + 1;
    for (unsigned step = 0; step < 40000; step++) {
        unsigned number = (unsigned)(next_random() % MODEL_KEYS),
                 what = (unsigned)(next_random() % 1000);
        struct model *at = &model[number];

        if (what < 700) {
            at->known = at->dirty = true;
            at->absent = what < 100;
            snprintf(at->value, sizeof at->value, "%.*u", 1 + (int)(next_random() % 30), step);
            overlay_put(&overlay, key_of(number), tally_slice_string(at->value), at->absent);
        } else if (what < 990) {
            if (find(key_of(number)))
                continue;
            at->known = true;
            at->absent = what < 800;
            snprintf(at->value, sizeof at->value, "loaded %u", step);
            load(key_of(number), tally_slice_string(at->value), at->absent);
        } else if (what < 994) {
            overlay_evict(&overlay, next_random() % 2 ? 0 : 40000);
        } else if (what < 997) {
            overlay_commit(&overlay);
            for (unsigned i = 0; i < MODEL_KEYS; i++) {
                model[i].dirty = false;
            }
        } else {
            overlay_rollback(&overlay);
            for (unsigned i = 0; i < MODEL_KEYS; i++) {
                model[i].known = model[i].known && !model[i].dirty;
                model[i].dirty = false;
            }
        }
        if (step % 97 == 0)
            check_model(model);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("overlay");
    TCase *tests = tcase_create("overlay");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_put_overwrites_and_deletes);
    tcase_add_test(tests, test_uncommitted_bytes_follow_values);
    tcase_add_test(tests, test_rollback_removes_what_was_touched);
    tcase_add_test(tests, test_commit_keeps_what_was_read);
    tcase_add_test(tests, test_rows_are_bounded);
    tcase_add_test(tests, test_writes_that_nobody_reads);
    tcase_add_test(tests, test_a_look_up_tables_what_was_logged);
    tcase_add_test(tests, test_a_cached_key_is_written_in_its_place);
    tcase_add_test(tests, test_clear_leaves_nothing);
    tcase_add_test(tests, test_absent_keys_get_room_for_their_value);
    tcase_add_test(tests, test_eviction_keeps_dirty_and_recent);
    tcase_add_test(tests, test_a_burst_leaves_no_large_table);
    tcase_add_test(tests, test_values_larger_than_a_chunk);
    tcase_add_loop_test(tests, test_random_operations, 0, 4);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
