/* apps/fsck_replay.c - see fsck_replay.h. */
#include "apps/fsck_replay.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "apps/cli.h"
#include "apps/fsck_check_internal.h"
#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "http/row_line.h"
#include "state/key_schema.h"

enum {
    STEP_MS = 200,
    LINE_MAX_BYTES = 16 * 1024 * 1024,
    NAME_MAX_BYTES = 1024,
    ARENA_BYTES = 64 * 1024,
    ARENA_KEEP_BYTES = 1024 * 1024,
    SHOWN_BEFORE = 24, /* bytes of both lines around the first one that differs */
    SHOWN_BYTES = 96,
    OPEN_FILES_MAX = 16,
};

struct fsck_replay {
    struct fsck_replay_options options;
    char *dir, *spool;
    struct tally_replay_place *place;
    struct tally_replay *replay;
    /* of the task */
    char topology[64];
    int32_t partition;
    struct tally_view *view;
    struct tally_iterator *rows; /* that the log gives */
    bool has_row;
    struct tally_slice key, value; /* of the next of them */
    struct fsck_table later;       /* keys that were written again behind the position */
    struct tally_buf line, name;
    struct tally_arena arena;
};

/* --- its folder ------------------------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
    (void)stat;
    (void)type;
    (void)walk;
    return remove(path);
}

static void remove_folder(const char *path)
{
    (void)nftw(path, remove_entry, OPEN_FILES_MAX, FTW_DEPTH | FTW_PHYS);
}

/* What a task left there: this one, or one of a checker that was killed. */
static void remove_task(const struct fsck_replay *replay, const char *topology)
{
    char *path = tally_copy_format("%s/%s", replay->dir, topology);

    remove_folder(path);
    tally_free(path);
}

enum tally_code fsck_replay_create(const struct fsck_replay_options *options,
        struct fsck_replay **created, struct tally_error *err)
{
    struct fsck_replay *replay = tally_alloc_zero(1, sizeof *replay);
    struct tally_replay_options replayed = options->replay;
    struct stat stat_buf;
    enum tally_code code;

    *created = NULL;
    if (stat(options->state_dir, &stat_buf)) {
        tally_free(replay);
        return tally_error_set(err, TALLY_NOT_FOUND, "state directory \"%s\": %s",
                options->state_dir, strerror(errno));
    }
    replay->options = *options;
    replay->dir = tally_copy_format("%s/%s", options->state_dir, FSCK_REPLAY_FOLDER);
    replay->spool = tally_copy_format("%s/dump", replay->dir);
    replayed.dir = replay->dir;
    replay->place = tally_replay_place_create(&replayed);
    code = tally_replay_place_open(replay->place, err);
    code = code ? code : tally_replay_create(replay->place, 0, &replay->replay, err);
    if (code) {
        tally_replay_place_destroy(replay->place);
        tally_free(replay->dir);
        tally_free(replay->spool);
        tally_free(replay);
        return code;
    }
    for (size_t i = 0; i < replayed.topology_count; i++) {
        remove_task(replay, tally_topology_name(replayed.topologies[i]));
    }
    tally_buf_init(&replay->line, LINE_MAX_BYTES);
    tally_buf_init(&replay->name, NAME_MAX_BYTES);
    tally_arena_init(&replay->arena, ARENA_BYTES);
    *created = replay;
    return TALLY_OK;
}

static void end_task(struct fsck_replay *replay)
{
    if (replay->rows) {
        tally_iterator_destroy(replay->rows);
        tally_view_unref(replay->view);
        fsck_table_deinit(&replay->later);
        replay->rows = NULL;
    }
    tally_replay_end(replay->replay);
    remove_task(replay, replay->topology);
}

void fsck_replay_destroy(struct fsck_replay *replay)
{
    if (!replay) {
        return;
    }
    tally_replay_destroy(replay->replay);
    tally_replay_place_destroy(replay->place);
    remove_folder(replay->dir);
    tally_buf_deinit(&replay->line);
    tally_buf_deinit(&replay->name);
    tally_arena_deinit(&replay->arena);
    tally_free(replay->dir);
    tally_free(replay->spool);
    tally_free(replay);
}

const char *fsck_replay_spool(const struct fsck_replay *replay)
{
    return replay->spool;
}

int64_t fsck_replay_records(const struct fsck_replay *replay)
{
    const struct tally_replay_options *options = &replay->options.replay;
    int64_t sum = 0;

    for (size_t i = 0; i < options->topology_count; i++) {
        sum += tally_series_read(tally_series_of(TALLY_METRIC_RESTORED,
                tally_topology_name(options->topologies[i])));
    }
    return sum;
}

/* --- the rows that the log gives -------------------------------------------------------------- */

static enum tally_code next_row(struct fsck_replay *replay, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    replay->has_row = tally_iterator_next(replay->rows, &replay->key, &replay->value, &code, err);
    return code;
}

static void note_later(void *context, struct tally_slice key)
{
    struct fsck_replay *replay = context;

    (void)fsck_table_at(&replay->later, key);
}

static enum tally_code read_log(struct fsck_replay *replay, struct tally_error *err)
{
    enum tally_code code;

    while ((code = tally_replay_step(replay->replay, STEP_MS, err)) == TALLY_AGAIN) {
        if (cli_interrupted()) {
            return tally_error_set(err, TALLY_AGAIN, "interrupted");
        }
        if (progress_due(replay->options.progress)) {
            int64_t done, total, records = fsck_replay_records(replay);

            tally_replay_progress(replay->replay, &done, &total);
            progress_print(replay->options.progress,
                    "replaying %s/%d: %lld of %lld; %lld records/s", replay->topology,
                    (int)replay->partition, (long long)done, (long long)total,
                    (long long)((double)records / progress_seconds(replay->options.progress)));
        }
    }
    return code;
}

enum tally_code fsck_replay_begin(struct fsck_replay *replay, const char *topology,
        int32_t partition, int64_t last, struct tally_error *err)
{
    static const uint8_t first_store[] = {1}; /* byte 0 is the store's own */
    enum tally_code code;

    (void)snprintf(replay->topology, sizeof replay->topology, "%s", topology);
    replay->partition = partition;
    code = tally_replay_begin(replay->replay, topology, partition,
            &(struct tally_log_part){.from = -1, .last = last}, err);
    code = code ? code : read_log(replay, err);
    if (code) {
        end_task(replay);
        return code;
    }
    fsck_table_init(&replay->later, 1);
    replay->view = tally_replay_view(replay->replay);
    replay->rows =
            tally_view_iterate(replay->view, tally_slice_of(first_store, 1), TALLY_NONE, false);
    code = tally_replay_later(replay->replay, note_later, replay, err);
    code = code ? code : next_row(replay, err);
    if (code) {
        end_task(replay);
    }
    return code;
}

/* --- comparing -------------------------------------------------------------------------------- */

/* "level TS-RED-M.AMS1"; no key: what goes with all rows. */
static struct tally_slice name_of(struct fsck_replay *replay, struct tally_slice key)
{
    enum tally_store_id store;

    if (key.len == 0) {
        return TALLY_SLICE("positions");
    }
    tally_buf_clear(&replay->name);
    if (tally_store_of_key(replay->topology, key, &store)) {
        tally_buf_format(&replay->name, "%s ", tally_store_name(store));
    }
    tally_key_print(replay->topology, key, &replay->name);
    return tally_buf_bytes(&replay->name);
}

static bool is_later(const struct fsck_replay *replay, struct tally_slice key)
{
    return replay->later.count > 0 && fsck_table_find(&replay->later, key) != NULL;
}

static void expect(struct fsck_replay *replay, bool fine, struct tally_slice key, const char *text)
{
    char place[96];

    if (is_later(replay, key)) {
        return;
    }
    (void)snprintf(place, sizeof place, "%s/%d", replay->topology, (int)replay->partition);
    fsck_place(replay->options.check, place);
    (void)fsck_expect(replay->options.check, FSCK_I9, fine,
            fine ? TALLY_NONE : name_of(replay, key), "%s", text);
}

/* What stands around the first byte that differs. */
static void expect_same(struct fsck_replay *replay, struct tally_slice key, struct tally_slice have,
        struct tally_slice want)
{
    size_t at = 0, from;
    char text[512];

    if (tally_slice_equal(have, want)) {
        expect(replay, true, key, "");
        return;
    }
    while (at < have.len && at < want.len && have.data[at] == want.data[at]) {
        at++;
    }
    from = at > SHOWN_BEFORE ? at - SHOWN_BEFORE : 0;
    have = tally_slice_of(have.data + from, have.len - from);
    want = tally_slice_of(want.data + from, want.len - from);
    (void)snprintf(text, sizeof text, "the state has ...%.*s, its log gives ...%.*s",
            (int)(have.len < SHOWN_BYTES ? have.len : SHOWN_BYTES), (const char *)have.data,
            (int)(want.len < SHOWN_BYTES ? want.len : SHOWN_BYTES), (const char *)want.data);
    expect(replay, false, key, text);
}

static struct tally_slice without_newline(struct tally_slice line)
{
    while (line.len > 0 && line.data[line.len - 1] == '\n') {
        line.len--;
    }
    return line;
}

static enum tally_code skip_rows(struct fsck_replay *replay, struct tally_slice upto, bool all,
        struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    while (!code && replay->has_row && (all || tally_slice_compare(replay->key, upto) < 0)) {
        expect(replay, false, replay->key, "its log gives this row, the state has none");
        code = next_row(replay, err);
    }
    return code;
}

enum tally_code fsck_replay_row(struct fsck_replay *replay, struct tally_slice key,
        struct tally_slice line, struct tally_error *err)
{
    enum tally_code code = skip_rows(replay, key, false, err);

    if (code) {
        return code;
    }
    if (!replay->has_row || !tally_slice_equal(replay->key, key)) {
        expect(replay, false, key, "the state has this row, its log gives none");
        return TALLY_OK;
    }
    tally_buf_clear(&replay->line);
    (void)tally_row_line_write(replay->topology, replay->partition, replay->key, replay->value,
            &replay->line);
    expect_same(replay, key, without_newline(line),
            without_newline(tally_buf_bytes(&replay->line)));
    return next_row(replay, err);
}

enum tally_code fsck_replay_line(struct fsck_replay *replay, struct tally_slice line,
        struct tally_error *err)
{
    const struct tally_token *root;
    enum tally_refusal refusal;
    enum tally_store_id store;
    struct tally_key key;
    char name[64];
    enum tally_code code =
            tally_document_parse(without_newline(line), &replay->arena, &root, &refusal, err);

    if (!code) {
        struct tally_slice text = fsck_text(root, "store");

        (void)snprintf(name, sizeof name, "%.*s", (int)text.len, (const char *)text.data);
        code = tally_store_find(replay->topology, name, &store)
                       ? tally_key_parse(store, fsck_text(root, "key"), &key, err)
                       : tally_error_set(err, TALLY_BAD_RECORD, "a row is of no store");
    }
    tally_arena_reset(&replay->arena, ARENA_KEEP_BYTES);
    return code ? code : fsck_replay_row(replay, tally_key_bytes(&key), line, err);
}

enum tally_code fsck_replay_finish(struct fsck_replay *replay, bool abandoned,
        struct tally_error *err)
{
    enum tally_code code = abandoned ? TALLY_OK : skip_rows(replay, TALLY_NONE, true, err);

    end_task(replay);
    return code;
}

/* --- a directory ------------------------------------------------------------------------------ */

enum tally_code fsck_replay_begin_directory(struct fsck_replay *replay, const char *topology,
        int32_t partition, struct tally_error *err)
{
    struct tally_positions positions;
    const struct tally_positions *replayed;
    char text[160];
    enum tally_code code = tally_replay_positions(replay->place, replay->options.state_dir,
            topology, partition, -1, &positions, err);

    code = code ? code : fsck_replay_begin(replay, topology, partition, positions.out_last, err);
    if (code) {
        return code;
    }
    replayed = tally_view_positions(replay->view);
    (void)snprintf(text, sizeof text,
            "decided up to %lld and event %lld with CRC %08x; its log gives %lld, %lld, %08x",
            (long long)positions.decision_time, (long long)positions.out_last, positions.out_crc,
            (long long)replayed->decision_time, (long long)replayed->out_last, replayed->out_crc);
    expect(replay,
            positions.out_last < 0 || (positions.decision_time == replayed->decision_time &&
                                              positions.out_last == replayed->out_last &&
                                              positions.out_crc == replayed->out_crc),
            TALLY_NONE, text);
    return TALLY_OK;
}
