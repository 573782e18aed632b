/* tests/unit/test_store.c - the contract of store.h; every case runs in memory and on RocksDB.
 * Numbers in parentheses are the invariants of store.h. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "tests/unit/store_fixture.h"

static struct fixture f;

static void setup(void)
{
    memset(&f, 0, sizeof f);
}

static void teardown(void)
{
    fixture_end(&f);
}

START_TEST(test_owner_reads_its_writes)
{
    fixture_begin(&f, _i);
    ck_assert_str_eq(fixture_get(&f, "La"), "(none)");
    fixture_put(&f, "La", "1");
    ck_assert_str_eq(fixture_get(&f, "La"), "1");
    ck_assert_uint_gt(tally_store_uncommitted(f.store), 0);
    ck_assert_str_eq(fixture_view_get(&f, NULL, "La"), "(none)");
    fixture_commit(&f, 1);
    ck_assert_uint_eq(tally_store_uncommitted(f.store), 0);
    ck_assert_str_eq(fixture_get(&f, "La"), "1");
    ck_assert_str_eq(fixture_view_get(&f, NULL, "La"), "1");
    fixture_put(&f, "La", NULL);
    ck_assert_str_eq(fixture_get(&f, "La"), "(none)");
    ck_assert_str_eq(fixture_view_get(&f, NULL, "La"), "1");
    fixture_put(&f, "La", "");
    ck_assert_str_eq(fixture_get(&f, "La"), "");
    fixture_commit(&f, 2);
    fixture_flush(&f);
    ck_assert_str_eq(fixture_get(&f, "La"), "");
    ck_assert_str_eq(fixture_view_get(&f, NULL, "La"), "");
}
END_TEST

/* (3) Nothing uncommitted is in a view or on disk, whatever lies below. */
START_TEST(test_rollback_leaves_nothing)
{
    static const char *const places[] = {"overlay", "run", "base"};

    fixture_begin(&f, _i);
    for (int place = 0; place < 3; place++) {
        char key[32];

        snprintf(key, sizeof key, "L%s", places[place]);
        fixture_put(&f, key, "committed");
        fixture_commit(&f, 10 + place);
        if (place == 2)
            fixture_flush(&f);
        fixture_put(&f, key, "uncommitted");
        fixture_put(&f, "Lnew", "uncommitted");
        fixture_put(&f, "Lcommitted and deleted", NULL);
        ck_assert_str_eq(fixture_get(&f, key), "uncommitted");
        tally_store_rollback(f.store);
        ck_assert_uint_eq(tally_store_uncommitted(f.store), 0);
        ck_assert_str_eq(fixture_get(&f, key), "committed");
        ck_assert_str_eq(fixture_get(&f, "Lnew"), "(none)");
        ck_assert_str_eq(fixture_view_get(&f, NULL, key), "committed");
    }
    fixture_put(&f, "Lnew", "uncommitted");
    fixture_reopen(&f, true);
    ck_assert_str_eq(fixture_scan(&f, NULL, "L", "M", false),
            "Lbase=committed Loverlay=committed Lrun=committed");
}
END_TEST

/* (4) */
START_TEST(test_views_never_change)
{
    struct tally_view *first, *second;

    fixture_begin(&f, _i);
    fixture_put(&f, "La", "1");
    fixture_put(&f, "Lb", "1");
    fixture_commit(&f, 1);
    first = tally_store_view(f.store);
    fixture_put(&f, "La", "2");
    fixture_put(&f, "Lb", NULL);
    fixture_commit(&f, 2);
    second = tally_store_view(f.store);
    fixture_flush(&f);
    fixture_put(&f, "La", "3");
    fixture_commit(&f, 3);
    fixture_flush(&f);
    ck_assert_str_eq(fixture_scan(&f, first, "L", "", false), "La=1 Lb=1");
    ck_assert_str_eq(fixture_view_get(&f, first, "Lb"), "1");
    ck_assert_int_eq(tally_view_positions(first)->in_next, 1);
    ck_assert_str_eq(fixture_scan(&f, second, "L", "", false), "La=2");
    ck_assert_int_eq(tally_view_positions(second)->in_next, 2);
    ck_assert_str_eq(fixture_view_get(&f, NULL, "La"), "3");
    tally_view_unref(first);
    tally_view_unref(second);
}
END_TEST

static void check_positions(int64_t offset)
{
    struct tally_view *view = tally_store_view(f.store);
    struct tally_positions expected = fixture_positions(offset);
    const struct tally_positions *positions = tally_view_positions(view);

    ck_assert_int_eq(positions->in_next, expected.in_next);
    ck_assert_int_eq(positions->in_last, expected.in_last);
    ck_assert_uint_eq(positions->in_crc, expected.in_crc);
    ck_assert_int_eq(positions->out_last, expected.out_last);
    ck_assert_uint_eq(positions->out_crc, expected.out_crc);
    ck_assert_int_eq(positions->decision_time, expected.decision_time);
    ck_assert_int_eq(positions->commit_time, expected.commit_time);
    tally_view_unref(view);
}

START_TEST(test_a_new_store_has_no_positions)
{
    struct tally_view *view;

    fixture_begin(&f, _i);
    view = tally_store_view(f.store);
    ck_assert_int_eq(tally_view_positions(view)->in_next, -1);
    ck_assert_int_eq(tally_view_positions(view)->in_last, -1);
    ck_assert_int_eq(tally_view_positions(view)->out_last, -1);
    ck_assert_int_eq(tally_view_positions(view)->decision_time, 0);
    ck_assert_str_eq(fixture_scan(&f, view, "", "", false), "");
    tally_view_unref(view);
}
END_TEST

/* (2) After a crash the store is what some flush left, with that flush's positions. */
START_TEST(test_a_crash_leaves_an_older_prefix)
{
    fixture_begin(&f, _i);
    fixture_put(&f, "La", "1");
    fixture_commit(&f, 1);
    fixture_put(&f, "La", "2");
    fixture_put(&f, "Lb", "2");
    fixture_commit(&f, 2);
    fixture_flush(&f);
    fixture_put(&f, "La", "3");
    fixture_put(&f, "Lb", NULL);
    fixture_commit(&f, 3);
    check_positions(3);
    fixture_reopen(&f, false);
    check_positions(2);
    ck_assert_str_eq(fixture_scan(&f, NULL, "L", "", false), "La=2 Lb=2");
    fixture_put(&f, "La", "3");
    fixture_put(&f, "Lb", NULL);
    fixture_commit(&f, 3);
    fixture_reopen(&f, true);
    check_positions(3);
    ck_assert_str_eq(fixture_scan(&f, NULL, "L", "", false), "La=3");
}
END_TEST

START_TEST(test_positions_move_without_writes)
{
    fixture_begin(&f, _i);
    fixture_put(&f, "La", "1");
    fixture_commit(&f, 1);
    fixture_commit(&f, 7);
    check_positions(7);
    ck_assert_str_eq(fixture_view_get(&f, NULL, "La"), "1");
    fixture_flush(&f);
    fixture_commit(&f, 9);
    check_positions(9);
    fixture_reopen(&f, true);
    check_positions(9);
    ck_assert_str_eq(fixture_view_get(&f, NULL, "La"), "1");
}
END_TEST

/* The same rows spread over base, runs and overlay, in every way that two keys can be hidden. */
static void spread_rows(void)
{
    fixture_put(&f, "La", "base");
    fixture_put(&f, "Lb", "base");
    fixture_put(&f, "Lc", "base");
    fixture_put(&f, "Ld", "base");
    fixture_put(&f, "Le", "base");
    fixture_put(&f, "Kz", "base");
    fixture_commit(&f, 1);
    fixture_flush(&f);
    fixture_put(&f, "Lb", "run");
    fixture_put(&f, "Lc", NULL);
    fixture_put(&f, "Lx", "run");
    fixture_commit(&f, 2);
    fixture_put(&f, "Lc", "run 2");
    fixture_put(&f, "Lb", NULL);
    fixture_put(&f, "Lw", "run 2");
    fixture_commit(&f, 3);
    fixture_put(&f, "La", NULL);
    fixture_put(&f, "Lb", "overlay");
    fixture_put(&f, "Lx", NULL);
    fixture_put(&f, "Ly", "overlay");
}

START_TEST(test_scans_merge_all_levels)
{
    struct tally_view *view;

    fixture_begin(&f, _i);
    spread_rows();
    ck_assert_str_eq(fixture_scan(&f, NULL, "L", "M", false),
            "Lb=overlay Lc=run 2 Ld=base Le=base Lw=run 2 Ly=overlay");
    ck_assert_str_eq(fixture_scan(&f, NULL, "L", "M", true),
            "Ly=overlay Lw=run 2 Le=base Ld=base Lc=run 2 Lb=overlay");
    ck_assert_str_eq(fixture_scan(&f, NULL, "Lc", "Lw", false), "Lc=run 2 Ld=base Le=base");
    ck_assert_str_eq(fixture_scan(&f, NULL, "Lc", "Lw", true), "Le=base Ld=base Lc=run 2");
    ck_assert_str_eq(fixture_scan(&f, NULL, "Lb0", "Lc0", true), "Lc=run 2");
    ck_assert_str_eq(fixture_scan(&f, NULL, "Lz", "M", false), "");
    ck_assert_str_eq(fixture_scan(&f, NULL, "Lw", "Lb", false), "");
    view = tally_store_view(f.store);
    ck_assert_str_eq(fixture_scan(&f, view, "L", "M", false),
            "La=base Lc=run 2 Ld=base Le=base Lw=run 2 Lx=run");
    ck_assert_str_eq(fixture_scan(&f, view, "L", "M", true),
            "Lx=run Lw=run 2 Le=base Ld=base Lc=run 2 La=base");
    tally_view_unref(view);
}
END_TEST

START_TEST(test_meta_is_never_seen)
{
    static const uint8_t format[] = {0, 'f', 'o', 'r', 'm', 'a', 't'};
    struct tally_slice key = tally_slice_of(format, sizeof format), value;
    struct tally_view *view;
    struct tally_buf buf;

    fixture_begin(&f, _i);
    spread_rows();
    ck_assert_str_eq(fixture_scan(&f, NULL, "", "", false),
            "Kz=base Lb=overlay Lc=run 2 Ld=base Le=base Lw=run 2 Ly=overlay");
    tally_store_rollback(f.store);
    fixture_flush(&f);
    view = tally_store_view(f.store);
    ck_assert_str_eq(fixture_scan(&f, view, "", "", true),
            "Lx=run Lw=run 2 Le=base Ld=base Lc=run 2 La=base Kz=base");
    tally_buf_init(&buf, 100);
    ck_assert_int_eq(tally_view_get(view, key, &buf, &f.err), TALLY_NOT_FOUND);
    ck_assert_int_eq(tally_view_get(view, TALLY_NONE, &buf, &f.err), TALLY_NOT_FOUND);
    ck_assert_int_eq(tally_store_get(f.store, key, &value, &f.err), TALLY_NOT_FOUND);
    ck_assert_int_eq(tally_store_prefetch(f.store, &key, 1, NULL, &f.err), TALLY_OK);
    ck_assert_int_eq(tally_store_get(f.store, key, &value, &f.err), TALLY_NOT_FOUND);
    tally_buf_deinit(&buf);
    tally_view_unref(view);
}
END_TEST

START_TEST(test_prefetch_finds_every_level)
{
    static const char *const names[] = {
            "Ly", "La", "Lc", "Lb", "Lnone", "Ld", "Lc", "Lnone", "Lx", "Ld"};
    struct tally_slice keys[10];

    fixture_begin(&f, _i);
    spread_rows();
    fixture_put(&f, "Lb", "overlay");
    for (size_t i = 0; i < 10; i++) {
        keys[i] = tally_slice_string(names[i]);
    }
    fixture_commit(&f, 4);
    fixture_reopen(&f, true); /* an empty overlay, all in the base */
    fixture_put(&f, "Lc", "run");
    fixture_commit(&f, 5);
    tally_store_rollback(f.store);
    ck_assert_int_eq(tally_store_prefetch(f.store, keys, 10, NULL, &f.err), TALLY_OK);
    ck_assert_int_eq(tally_store_prefetch(f.store, keys, 10, NULL, &f.err), TALLY_OK);
    ck_assert_int_eq(tally_store_prefetch(f.store, keys, 0, NULL, &f.err), TALLY_OK);
    ck_assert_str_eq(fixture_get(&f, "Ly"), "overlay");
    ck_assert_str_eq(fixture_get(&f, "La"), "(none)");
    ck_assert_str_eq(fixture_get(&f, "Lb"), "overlay");
    ck_assert_str_eq(fixture_get(&f, "Lc"), "run");
    ck_assert_str_eq(fixture_get(&f, "Ld"), "base");
    ck_assert_str_eq(fixture_get(&f, "Lx"), "(none)");
    ck_assert_str_eq(fixture_get(&f, "Lnone"), "(none)");
}
END_TEST

/* Values of gets live until the next put, delete, prefetch or commit, through other gets. */
START_TEST(test_values_outlive_other_gets)
{
    struct tally_slice first, value;
    char key[16];

    fixture_begin(&f, _i);
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof key, "L%d", i);
        fixture_put(&f, key, key);
    }
    fixture_commit(&f, 1);
    fixture_reopen(&f, true);
    ck_assert_int_eq(tally_store_get(f.store, TALLY_SLICE("L0"), &first, &f.err), TALLY_OK);
    for (int i = 1; i < 5000; i++) {
        snprintf(key, sizeof key, "L%d", i);
        ck_assert_int_eq(tally_store_get(f.store, tally_slice_string(key), &value, &f.err),
                TALLY_OK);
        ck_assert(tally_slice_equal(value, tally_slice_string(key)));
    }
    ck_assert(tally_slice_equal(first, TALLY_SLICE("L0")));
}
END_TEST

static void put_dedup(const char *key, int64_t time_ms)
{
    uint8_t value[9];

    tally_put_u64(value, (uint64_t)time_ms);
    value[8] = 'x';
    tally_store_put(f.store, tally_slice_string(key), tally_slice_of(value, sizeof value));
}

static int count_rows(struct tally_view *view)
{
    struct tally_iterator *iterator =
            view ? tally_view_iterate(view, TALLY_SLICE("D"), TALLY_SLICE("E"), false)
                 : tally_store_iterate(f.store, TALLY_SLICE("D"), TALLY_SLICE("E"), false);
    struct tally_slice key, value;
    enum tally_code code;
    int count = 0;

    while (tally_iterator_next(iterator, &key, &value, &code, &f.err)) {
        count++;
    }
    ck_assert_int_eq(code, TALLY_OK);
    tally_iterator_destroy(iterator);
    return count;
}

static bool has_dedup(struct tally_view *view, const char *key)
{
    struct tally_slice value;
    struct tally_buf buf;
    enum tally_code code;

    tally_buf_init(&buf, 100);
    code = view ? tally_view_get(view, tally_slice_string(key), &buf, &f.err)
                : tally_store_get(f.store, tally_slice_string(key), &value, &f.err);
    tally_buf_deinit(&buf);
    ck_assert(code == TALLY_OK || code == TALLY_NOT_FOUND);
    return code == TALLY_OK;
}

START_TEST(test_old_dedup_rows_are_absent)
{
    struct tally_view *before, *after;

    fixture_init(&f, _i);
    f.options.dedup_retention_ms = 5000;
    fixture_open(&f);
    put_dedup("Dold", 1000);
    put_dedup("Dnew", 3000);
    fixture_put(&f, "Lold", "other stores do not age");
    fixture_commit(&f, 6); /* decision time 6000: rows from 1000 on */
    before = tally_store_view(f.store);
    ck_assert(has_dedup(NULL, "Dold"));
    ck_assert(has_dedup(before, "Dold"));
    ck_assert_int_eq(count_rows(before), 2);
    fixture_commit(&f, 7);
    after = tally_store_view(f.store);
    for (int i = 0; i < 2; i++) { /* in a run, then in the base */
        ck_assert(!has_dedup(NULL, "Dold"));
        ck_assert(has_dedup(NULL, "Dnew"));
        ck_assert(!has_dedup(after, "Dold"));
        ck_assert(has_dedup(after, "Dnew"));
        ck_assert_int_eq(count_rows(after), 1);
        ck_assert_int_eq(count_rows(NULL), 1);
        ck_assert(has_dedup(before, "Dold"));
        fixture_flush(&f);
        tally_view_unref(after);
        after = tally_store_view(f.store);
    }
    ck_assert_str_eq(fixture_view_get(&f, after, "Lold"), "other stores do not age");
    tally_view_unref(before);
    tally_view_unref(after);
    fixture_reopen(&f, false);
    ck_assert(!has_dedup(NULL, "Dold"));
    ck_assert(has_dedup(NULL, "Dnew"));
}
END_TEST

static void refused(enum tally_code expected, const char *part)
{
    struct tally_store *store = NULL;

    ck_assert_int_eq(tally_store_open(f.state, &f.identity, &store, &f.err), expected);
    ck_assert_ptr_null(store);
    ck_assert_msg(strstr(f.err.message, part) != NULL, "\"%s\" is not in \"%s\"", part,
            f.err.message);
}

START_TEST(test_identity_is_checked)
{
    struct tally_store_identity mine;

    fixture_begin(&f, _i);
    fixture_put(&f, "La", "1");
    fixture_commit(&f, 1);
    mine = f.identity;
    tally_store_close(f.store, true);
    f.store = NULL;
    f.identity.cluster_id = "def";
    refused(TALLY_FOREIGN_STATE,
            "/stock/2\" belongs to cluster \"abc\", but this is cluster \"def\": "
            "use another state.dir or reset it");
    f.identity = mine;
    f.identity.group = "other";
    refused(TALLY_FOREIGN_STATE, "belongs to group \"tally\", but this is group \"other\"");
    f.identity = mine;
    f.identity.partitions = 8;
    refused(TALLY_FOREIGN_STATE,
            "belongs to partition count \"4\", but this is partition count \"8\"");
    f.identity = mine;
    f.identity.commands_topic = "x.stock.commands";
    refused(TALLY_FOREIGN_STATE, "commands topic \"stock.commands\"");
    f.identity = mine;
    f.identity.events_topic = "x.stock.events";
    refused(TALLY_FOREIGN_STATE, "events topic \"stock.events\"");
    f.identity = mine;
    f.identity.evolve_version = 2;
    refused(TALLY_FOREIGN_STATE, "evolve version 3");
    f.identity.evolve_version = 4;
    refused(TALLY_STORE_OUTDATED, "evolve version 3");
    f.identity.group = "other"; /* told first: an outdated store is set aside */
    refused(TALLY_FOREIGN_STATE, "group");
    f.identity = mine;
    fixture_open(&f);
    ck_assert_str_eq(fixture_get(&f, "La"), "1");
}
END_TEST

START_TEST(test_settings_are_fixed)
{
    fixture_init(&f, _i);
    f.identity.settings = "a=true,stock.require_registration=true";
    fixture_open(&f);
    tally_store_close(f.store, false);
    f.store = NULL;
    f.identity.settings = "a=true,stock.require_registration=false";
    refused(TALLY_FOREIGN_STATE,
            "was made with stock.require_registration=true, but it is false now");
    f.identity.settings = "a=true,b=true,stock.require_registration=true";
    refused(TALLY_FOREIGN_STATE, "was made with b=unset, but it is true now");
    f.identity.settings = "stock.require_registration=true";
    refused(TALLY_FOREIGN_STATE, "was made with a=true, but it is unset now");
    f.identity.settings = "a=true,stock.require_registration=true";
    fixture_open(&f);
}
END_TEST

/* Rows can be had again from the events: no answer but the caller's, to set it aside. */
START_TEST(test_omitted_rows_are_fixed)
{
    fixture_begin(&f, _i);
    fixture_put(&f, "La", "1");
    fixture_commit(&f, 1);
    tally_store_close(f.store, true);
    f.store = NULL;
    f.identity.omitted = "ledger";
    refused(TALLY_STORE_OUTDATED, "was made without rows of \"\", now it is \"ledger\"");
    f.identity.group = "other"; /* told first */
    refused(TALLY_FOREIGN_STATE, "group");
    f.identity.group = "tally";
    ck_assert_int_eq(tally_store_set_aside(f.state, "stock", 2, &f.err), TALLY_OK);
    fixture_open(&f);
    tally_store_close(f.store, true);
    f.store = NULL;
    f.identity.omitted = "dedup,ledger";
    refused(TALLY_STORE_OUTDATED, "without rows of \"ledger\", now it is \"dedup,ledger\"");
    f.identity.omitted = "";
    refused(TALLY_STORE_OUTDATED, "without rows of \"ledger\", now it is \"\"");
    f.identity.omitted = "ledger";
    fixture_open(&f);
    ck_assert_str_eq(fixture_get(&f, "La"), "(none)");
}
END_TEST

START_TEST(test_set_aside_starts_anew)
{
    fixture_begin(&f, _i);
    fixture_put(&f, "La", "1");
    fixture_commit(&f, 1);
    tally_store_close(f.store, true);
    f.store = NULL;
    ck_assert_int_eq(tally_store_set_aside(f.state, "stock", 2, &f.err), TALLY_OK);
    fixture_open(&f);
    ck_assert_str_eq(fixture_get(&f, "La"), "(none)");
    ck_assert_int_eq(tally_store_set_aside(f.state, "stock", 3, &f.err), TALLY_OK); /* absent */
}
END_TEST

START_TEST(test_stores_of_a_state_are_apart)
{
    struct tally_store_identity other;
    struct tally_store *second = NULL;
    struct tally_slice value;

    fixture_begin(&f, _i);
    other = f.identity;
    other.partition = 3;
    ck_assert_int_eq(tally_store_open(f.state, &other, &second, &f.err), TALLY_OK);
    fixture_put(&f, "La", "1");
    fixture_commit(&f, 1);
    ck_assert_int_eq(tally_store_get(second, TALLY_SLICE("La"), &value, &f.err), TALLY_NOT_FOUND);
    tally_store_close(second, true);
}
END_TEST

START_TEST(test_a_view_outlives_its_store)
{
    struct tally_view *view;
    struct tally_iterator *iterator;
    struct tally_slice key, value;
    enum tally_code code;

    fixture_begin(&f, _i);
    fixture_put(&f, "La", "base");
    fixture_commit(&f, 1);
    fixture_flush(&f);
    fixture_put(&f, "Lb", "run");
    fixture_commit(&f, 2);
    view = tally_store_view(f.store);
    iterator = tally_view_iterate(view, TALLY_NONE, TALLY_NONE, false);
    tally_store_close(f.store, false);
    f.store = NULL;
    ck_assert_str_eq(fixture_view_get(&f, view, "La"), "base");
    ck_assert_str_eq(fixture_view_get(&f, view, "Lb"), "run");
    tally_view_unref(view);
    ck_assert(tally_iterator_next(iterator, &key, &value, &code, &f.err));
    ck_assert(tally_slice_equal(value, TALLY_SLICE("base")));
    tally_iterator_destroy(iterator);
    fixture_open(&f);
    ck_assert_str_eq(fixture_get(&f, "La"), "base");
    ck_assert_str_eq(fixture_get(&f, "Lb"), "(none)");
}
END_TEST

START_TEST(test_reader_limits_its_buffer)
{
    struct tally_view *view;
    struct tally_buf buf;

    fixture_begin(&f, _i);
    fixture_put(&f, "La", "a value of some length");
    fixture_commit(&f, 1);
    view = tally_store_view(f.store);
    tally_buf_init(&buf, 8);
    ck_assert_int_eq(tally_view_get(view, TALLY_SLICE("La"), &buf, &f.err), TALLY_TOO_LARGE);
    tally_buf_deinit(&buf);
    tally_view_unref(view);
}
END_TEST

START_TEST(test_sizes_and_health)
{
    int64_t bytes = 0, files = 0, overlays = 0, runs = 0, cache = -1, total;

    fixture_begin(&f, _i);
    fixture_put(&f, "La", "1");
    fixture_commit(&f, 1);
    total = tally_state_memory(f.state, &overlays, &runs, &cache);
    ck_assert_int_gt(runs, 0);
    ck_assert_int_gt(overlays, 0);
    ck_assert_int_eq(total, overlays + runs + cache);
    fixture_flush(&f);
    tally_state_memory(f.state, &overlays, &runs, &cache);
    ck_assert_int_eq(runs, 0);
    tally_store_sizes(f.store, &bytes, &files);
    ck_assert_int_gt(bytes, 0);
    ck_assert_int_gt(files, 0);
    ck_assert_int_eq(tally_store_health(f.store, &f.err), TALLY_OK);
    ck_assert(!tally_state_full(f.state));
}
END_TEST

START_TEST(test_prefix_end)
{
    uint8_t space[4];

    ck_assert(tally_slice_equal(tally_prefix_end(TALLY_SLICE("Lab"), space), TALLY_SLICE("Lac")));
    ck_assert(tally_slice_equal(tally_prefix_end(TALLY_SLICE("La\xff"), space), TALLY_SLICE("Lb")));
    ck_assert_uint_eq(tally_prefix_end(TALLY_SLICE("\xff\xff"), space).len, 0);
    ck_assert_uint_eq(tally_prefix_end(TALLY_NONE, space).len, 0);
    fixture_init(&f, _i);
}
END_TEST

/* --- against a model
 * ------------------------------------------------------------------------------ */

enum { KEYS = 300, STEPS = 12000 };

struct model {
    int64_t offset;
    char values[KEYS][24]; /* "": absent */
};

static struct model now, committed, flushed;
static uint64_t seed;
static bool appending; /* the transaction's writes are appended: its owner reads nothing */

static unsigned next_random(unsigned below)
{
    seed += 0x9e3779b97f4a7c15u;
    return (unsigned)(((seed ^ (seed >> 31)) * 0xbf58476d1ce4e5b9u >> 33) % below);
}

static const char *key_text(unsigned number)
{
    static char text[16];

    snprintf(text, sizeof text, "%c%03u", number % 2 ? 'L' : 'G', number);
    return text;
}

static void check_gets(void)
{
    for (unsigned i = 0; i < 20; i++) {
        unsigned key = next_random(KEYS);
        const char *expected = now.values[key][0] ? now.values[key] : "(none)";

        ck_assert_str_eq(fixture_get(&f, key_text(key)), expected);
        expected = committed.values[key][0] ? committed.values[key] : "(none)";
        ck_assert_str_eq(fixture_view_get(&f, NULL, key_text(key)), expected);
    }
}

static const char *expected_scan(const struct model *model, const char *lower, const char *upper,
        bool backwards)
{
    static char text[32 * KEYS];
    size_t len = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < KEYS; i++) { /* all of G, then all of L */
        unsigned at = backwards ? KEYS - 1 - i : i;
        unsigned key = at < KEYS / 2 ? 2 * at : 2 * (at - KEYS / 2) + 1;
        const char *name = key_text(key);

        if (!model->values[key][0] || strcmp(name, lower) < 0 || strcmp(name, upper) >= 0)
            continue;
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s=%s", len > 0 ? " " : "", name,
                model->values[key]);
    }
    return text;
}

static void check_scans(void)
{
    struct tally_view *view = tally_store_view(f.store);
    char lower[16], upper[16];
    bool backwards = next_random(2);

    snprintf(lower, sizeof lower, "%s", key_text(next_random(KEYS)));
    snprintf(upper, sizeof upper, "%s", next_random(4) ? key_text(next_random(KEYS)) : "Z");
    if (!appending)
        ck_assert_str_eq(fixture_scan(&f, NULL, lower, upper, backwards),
                expected_scan(&now, lower, upper, backwards));
    ck_assert_str_eq(fixture_scan(&f, view, lower, upper, backwards),
            expected_scan(&committed, lower, upper, backwards));
    ck_assert_int_eq(tally_view_positions(view)->in_next, committed.offset ? committed.offset : -1);
    tally_view_unref(view);
}

static void prefetch_some(void)
{
    char names[30][16];
    struct tally_slice keys[30];

    for (unsigned i = 0; i < 30; i++) {
        snprintf(names[i], sizeof names[i], "%s", key_text(next_random(KEYS)));
        keys[i] = tally_slice_string(names[i]);
    }
    ck_assert_int_eq(tally_store_prefetch(f.store, keys, 30, NULL, &f.err), TALLY_OK);
}

static void write_one(unsigned step)
{
    void (*write)(struct fixture *, const char *, const char *) =
            appending ? fixture_append : fixture_put;
    unsigned key = next_random(KEYS);

    if (next_random(4) == 0) {
        now.values[key][0] = '\0';
        write(&f, key_text(key), NULL);
    } else {
        snprintf(now.values[key], sizeof now.values[key], "%.*u", 1 + (int)next_random(20), step);
        write(&f, key_text(key), now.values[key]);
    }
}

static void random_step(unsigned step)
{
    unsigned what = next_random(1000);

    if (what < 900) {
        write_one(step);
    } else if (what < 920) {
        if (!appending)
            prefetch_some();
    } else if (what < 970) {
        now.offset = step + 1;
        committed = now;
        fixture_commit(&f, now.offset);
    } else if (what < 980) {
        now = committed;
        tally_store_rollback(f.store);
    } else if (what < 990) {
        fixture_flush(&f);
        flushed = committed;
    } else if (what < 993) {
        flushed = committed;
        now = committed;
        fixture_reopen(&f, true);
    } else if (what < 996) { /* a crash */
        committed = flushed;
        now = committed;
        fixture_reopen(&f, false);
    } else {
        check_scans();
    }
    if (what >= 920 && what < 996 && tally_store_uncommitted(f.store) == 0)
        appending = next_random(2);
    if (what % 50 == 0 && !appending)
        check_gets();
}

START_TEST(test_random_operations)
{
    memset(&now, 0, sizeof now);
    committed = flushed = now;
    seed = (uint64_t)(_i / FIXTURE_KINDS) + 1;
    fixture_init(&f, _i % FIXTURE_KINDS);
    f.options.flush_bytes = INT64_MAX; /* only when the model is told */
    f.options.flush_interval_ms = INT32_MAX;
    fixture_open(&f);
    appending = false;
    for (unsigned step = 0; step < STEPS; step++) {
        random_step(step);
    }
    tally_store_rollback(f.store);
    now = committed;
    appending = false;
    check_scans();
    check_gets();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store");
    TCase *tests = tcase_create("store");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, test_owner_reads_its_writes, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_rollback_leaves_nothing, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_views_never_change, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_a_new_store_has_no_positions, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_a_crash_leaves_an_older_prefix, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_positions_move_without_writes, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_scans_merge_all_levels, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_meta_is_never_seen, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_prefetch_finds_every_level, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_values_outlive_other_gets, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_old_dedup_rows_are_absent, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_identity_is_checked, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_settings_are_fixed, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_omitted_rows_are_fixed, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_set_aside_starts_anew, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_stores_of_a_state_are_apart, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_a_view_outlives_its_store, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_reader_limits_its_buffer, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_sizes_and_health, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_prefix_end, 0, 1);
    tcase_add_loop_test(tests, test_random_operations, 0, 3 * FIXTURE_KINDS);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
