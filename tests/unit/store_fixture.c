/* tests/unit/store_fixture.c - a state with one store, on RocksDB or in memory. */
#include "tests/unit/store_fixture.h"

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEXT_MAX = 512 * 1024 };

static const int64_t start_ms = 1768000000000;

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
    (void)stat;
    (void)type;
    (void)walk;
    return remove(path);
}

void fixture_init(struct fixture *fixture, int kind)
{
    memset(fixture, 0, sizeof *fixture);
    fixture->kind = (enum fixture_kind)kind;
    snprintf(fixture->dir, sizeof fixture->dir, "/tmp/tally-state-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(fixture->dir));
    tally_fake_clock_init(&fixture->clock, start_ms);
    fixture->options =
            (struct tally_state_options){.dir = kind == FIXTURE_ROCKSDB ? fixture->dir : NULL,
                    .memory_bytes = 64 * 1024 * 1024,
                    .flush_interval_ms = 1000,
                    .flush_bytes = 16 * 1024 * 1024,
                    .dedup_retention_ms = 24 * 3600 * 1000,
                    .clock = &fixture->clock.clock,
                    .flush_inline = true};
    fixture->identity = (struct tally_store_identity){.topology = "stock",
            .partition = 2,
            .partitions = 4,
            .cluster_id = "abc",
            .group = "tally",
            .commands_topic = "stock.commands",
            .events_topic = "stock.events",
            .evolve_version = 3,
            .settings = "stock.require_registration=true",
            .omitted = ""};
}

void fixture_start(struct fixture *fixture)
{
    ck_assert_int_eq(tally_state_open(&fixture->options, &fixture->state, &fixture->err), TALLY_OK);
}

void fixture_open(struct fixture *fixture)
{
    enum tally_code code;

    if (!fixture->state)
        fixture_start(fixture);
    code = tally_store_open(fixture->state, &fixture->identity, &fixture->store, &fixture->err);
    ck_assert_msg(code == TALLY_OK, "%s", fixture->err.message);
}

void fixture_begin(struct fixture *fixture, int kind)
{
    fixture_init(fixture, kind);
    fixture_open(fixture);
}

void fixture_end(struct fixture *fixture)
{
    tally_store_close(fixture->store, false);
    tally_state_close(fixture->state);
    nftw(fixture->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

void fixture_reopen(struct fixture *fixture, bool flush)
{
    tally_store_close(fixture->store, flush);
    fixture->store = NULL;
    fixture_open(fixture);
}

char *fixture_path(const struct fixture *fixture, const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/stock/2/%s", fixture->dir, name);
    return path;
}

void fixture_put(struct fixture *fixture, const char *key, const char *value)
{
    if (value) {
        tally_store_put(fixture->store, tally_slice_string(key), tally_slice_string(value));
    } else {
        tally_store_delete(fixture->store, tally_slice_string(key));
    }
}

void fixture_append(struct fixture *fixture, const char *key, const char *value)
{
    if (value) {
        tally_store_append(fixture->store, tally_slice_string(key), tally_slice_string(value));
    } else {
        tally_store_append_deletion(fixture->store, tally_slice_string(key));
    }
}

struct tally_positions fixture_positions(int64_t offset)
{
    return (struct tally_positions){.in_next = offset,
            .in_last = offset - 1,
            .in_crc = (uint32_t)offset * 3,
            .out_last = offset - 1,
            .out_crc = (uint32_t)offset * 7,
            .decision_time = offset * 1000,
            .commit_time = offset * 1000 + 5};
}

void fixture_commit(struct fixture *fixture, int64_t offset)
{
    struct tally_positions positions = fixture_positions(offset);

    tally_store_commit(fixture->store, &positions);
}

void fixture_flush(struct fixture *fixture)
{
    enum tally_code code = tally_store_flush(fixture->store, true, 10000, &fixture->err);

    ck_assert_msg(code == TALLY_OK, "%s", fixture->err.message);
}

const char *fixture_get(struct fixture *fixture, const char *key)
{
    static char text[TEXT_MAX];
    struct tally_slice value;
    enum tally_code code =
            tally_store_get(fixture->store, tally_slice_string(key), &value, &fixture->err);

    if (code == TALLY_NOT_FOUND)
        return "(none)";
    if (code)
        return tally_code_name(code);
    snprintf(text, sizeof text, "%.*s", (int)value.len, (const char *)value.data);
    return text;
}

const char *fixture_view_get(struct fixture *fixture, struct tally_view *view, const char *key)
{
    static char text[TEXT_MAX];
    struct tally_view *held = view ? tally_view_ref(view) : tally_store_view(fixture->store);
    struct tally_buf value;
    enum tally_code code;

    tally_buf_init(&value, TEXT_MAX);
    code = tally_view_get(held, tally_slice_string(key), &value, &fixture->err);
    if (code == TALLY_OK) {
        snprintf(text, sizeof text, "%.*s", (int)value.len, (const char *)value.data);
    } else {
        snprintf(text, sizeof text, "%s",
                code == TALLY_NOT_FOUND ? "(none)" : tally_code_name(code));
    }
    tally_buf_deinit(&value);
    tally_view_unref(held);
    return text;
}

const char *fixture_scan(struct fixture *fixture, struct tally_view *view, const char *lower,
        const char *upper, bool backwards)
{
    static char text[TEXT_MAX];
    struct tally_slice low = tally_slice_string(lower), high = tally_slice_string(upper), key,
                       value;
    struct tally_iterator *iterator =
            view ? tally_view_iterate(view, low, high, backwards)
                 : tally_store_iterate(fixture->store, low, high, backwards);
    enum tally_code code = TALLY_OK;
    size_t len = 0;

    text[0] = '\0';
    while (tally_iterator_next(iterator, &key, &value, &code, &fixture->err)) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s=%.*s", len > 0 ? " " : "",
                (int)key.len, (const char *)key.data, (int)value.len, (const char *)value.data);
        ck_assert_uint_lt(len, sizeof text);
    }
    if (code)
        snprintf(text + len, sizeof text - len, " %s", tally_code_name(code));
    tally_iterator_destroy(iterator);
    return text;
}
