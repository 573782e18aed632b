/* state/store_meta.c - the meta rows of a store.
 *   \0format      "tally", format version u32, evolve_version u32
 *   \0identity    lines of name=value; omitted= only where rows of a store are left out
 *   \0positions   fixed width, see encode_positions
 *   \0retention   dedup retention in ms as text, so that tools apply the same age rule
 *   \0settings    "a=true,b=false"
 * Invariant: a mismatch of identity is told before an older format or evolve_version, because the
 * or other omitted rows, because the answer to the latter is to set the directory aside. */
#include "state/store_meta_internal.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "state/state_directory_internal.h"

enum {
    FORMAT_VERSION = 1,
    FORMAT_LEN = 5 + 4 + 4,
    POSITIONS_LEN = 5 * 8 + 2 * 4,
    META_BYTES_MAX = 16 * 1024, /* of one row */
    META_ROWS = 5
};
enum meta { META_FORMAT, META_IDENTITY, META_POSITIONS, META_RETENTION, META_SETTINGS };

static const char *const meta_names[META_ROWS] = {/* sorted, as they are written */
        "format", "identity", "positions", "retention", "settings"};
static const char magic[5] = {'t', 'a', 'l', 'l', 'y'};

static void append_u32(struct tally_buf *out, uint32_t value)
{
    uint8_t bytes[4];

    tally_put_u32(bytes, value);
    tally_buf_append(out, bytes, sizeof bytes);
}

static void append_i64(struct tally_buf *out, int64_t value)
{
    uint8_t bytes[8];

    tally_put_u64(bytes, (uint64_t)value);
    tally_buf_append(out, bytes, sizeof bytes);
}

static void encode_identity(const struct tally_store_identity *identity, struct tally_buf *out)
{
    tally_buf_format(out, "cluster=%s\ngroup=%s\ntopology=%s\npartition=%d\npartitions=%d\n",
            identity->cluster_id, identity->group, identity->topology, (int)identity->partition,
            (int)identity->partitions);
    tally_buf_format(out, "commands=%s\nevents=%s\n", identity->commands_topic,
            identity->events_topic);
    if (identity->omitted[0])
        tally_buf_format(out, "omitted=%s\n", identity->omitted);
}

static void encode_positions(const struct tally_positions *positions, struct tally_buf *out)
{
    append_i64(out, positions->in_next);
    append_i64(out, positions->in_last);
    append_u32(out, positions->in_crc);
    append_i64(out, positions->out_last);
    append_u32(out, positions->out_crc);
    append_i64(out, positions->decision_time);
    append_i64(out, positions->commit_time);
}

static bool decode_positions(struct tally_slice bytes, struct tally_positions *positions)
{
    const uint8_t *at = bytes.data;

    if (bytes.len != POSITIONS_LEN)
        return false;
    positions->in_next = (int64_t)tally_read_u64(at);
    positions->in_last = (int64_t)tally_read_u64(at + 8);
    positions->in_crc = tally_read_u32(at + 16);
    positions->out_last = (int64_t)tally_read_u64(at + 20);
    positions->out_crc = tally_read_u32(at + 28);
    positions->decision_time = (int64_t)tally_read_u64(at + 32);
    positions->commit_time = (int64_t)tally_read_u64(at + 40);
    return true;
}

static void encode_row(enum meta meta, const struct tally_store_identity *identity,
        const struct tally_positions *positions, int64_t retention_ms, struct tally_buf *out)
{
    switch (meta) {
    case META_FORMAT:
        tally_buf_append(out, magic, sizeof magic);
        append_u32(out, FORMAT_VERSION);
        append_u32(out, identity->evolve_version);
        break;
    case META_IDENTITY:
        encode_identity(identity, out);
        break;
    case META_POSITIONS:
        encode_positions(positions, out);
        break;
    case META_RETENTION:
        tally_buf_format(out, "%lld", (long long)retention_ms);
        break;
    case META_SETTINGS:
        tally_buf_string(out, identity->settings);
        break;
    }
}

static struct tally_slice meta_key(enum meta meta, uint8_t space[static 16])
{
    size_t len = strlen(meta_names[meta]);

    space[0] = 0;
    memcpy(space + 1, meta_names[meta], len);
    return tally_slice_of(space, len + 1);
}

struct run *store_meta_run(const struct tally_store_identity *identity,
        const struct tally_positions *positions, int64_t retention_ms)
{
    struct tally_buf bytes;
    struct row rows[META_ROWS];
    size_t starts[META_ROWS];
    struct run *run;

    tally_buf_init(&bytes, META_ROWS * META_BYTES_MAX);
    for (enum meta meta = META_FORMAT; meta <= META_SETTINGS; meta++) {
        uint8_t space[16];
        struct tally_slice key = meta_key(meta, space);

        starts[meta] = bytes.len;
        tally_buf_slice(&bytes, key);
        encode_row(meta, identity, positions, retention_ms, &bytes);
        rows[meta] = (struct row){.key_len = (uint16_t)key.len,
                .value_len = (uint32_t)(bytes.len - starts[meta] - key.len)};
    }
    tally_assert(!bytes.failed);
    for (size_t i = 0; i < META_ROWS; i++) {
        rows[i].key = bytes.data + starts[i];
    }
    run = run_freeze(rows, META_ROWS, 0, NULL);
    tally_buf_deinit(&bytes);
    return run;
}

/* --- checks --------------------------------------------------------------------------------------
 */

/* The value of name in "a=1<separator>b=2". */
static bool find_field(struct tally_slice text, char separator, struct tally_slice name,
        struct tally_slice *value)
{
    while (text.len > 0) {
        const uint8_t *end = memchr(text.data, separator, text.len);
        size_t len = end ? (size_t)(end - text.data) : text.len;

        if (len > name.len && text.data[name.len] == '=' &&
                memcmp(text.data, name.data, name.len) == 0) {
            *value = tally_slice_of(text.data + name.len + 1, len - name.len - 1);
            return true;
        }
        text.data += len;
        text.len -= len;
        if (text.len > 0) {
            text.data++;
            text.len--;
        }
    }
    return false;
}

static enum tally_code check_identity(const char *path, struct tally_slice stored,
        const struct tally_store_identity *identity, struct tally_error *err)
{
    static const struct {
        const char *name, *what;
        bool asked; /* of the broker */
    } fields[] = {{"cluster", "cluster", true}, {"group", "group", false},
            {"topology", "topology", false}, {"partition", "partition", false},
            {"partitions", "partition count", true}, {"commands", "commands topic", false},
            {"events", "events topic", false}};
    struct tally_buf expected;
    enum tally_code code = TALLY_OK;

    tally_buf_init(&expected, META_BYTES_MAX);
    encode_identity(identity, &expected);
    for (size_t i = 0; i < sizeof fields / sizeof *fields && code == TALLY_OK; i++) {
        struct tally_slice name = tally_slice_string(fields[i].name);
        struct tally_slice theirs = TALLY_NONE, ours = TALLY_NONE;

        if (identity->offline && fields[i].asked)
            continue;
        (void)find_field(tally_buf_bytes(&expected), '\n', name, &ours);
        if (find_field(stored, '\n', name, &theirs) && tally_slice_equal(theirs, ours))
            continue;
        code = tally_error_set(err, TALLY_FOREIGN_STATE,
                "state directory \"%s\" belongs to %s \"%.*s\", but this is %s \"%.*s\": use "
                "another state.dir or reset it",
                state_directory_tail(path), fields[i].what, (int)theirs.len,
                (const char *)theirs.data, fields[i].what, (int)ours.len, (const char *)ours.data);
    }
    tally_buf_deinit(&expected);
    return code;
}

/* Names the first setting of `names` that stored and current lists do not agree on. */
static bool settings_differ(struct tally_slice names, struct tally_slice stored,
        struct tally_slice current, const char *path, struct tally_error *err)
{
    while (names.len > 0) {
        const uint8_t *comma = memchr(names.data, ',', names.len);
        size_t len = comma ? (size_t)(comma - names.data) : names.len;
        const uint8_t *equals = memchr(names.data, '=', len);
        struct tally_slice name =
                tally_slice_of(names.data, equals ? (size_t)(equals - names.data) : len);
        struct tally_slice was = TALLY_SLICE("unset"), is = TALLY_SLICE("unset");
        bool had = find_field(stored, ',', name, &was), has = find_field(current, ',', name, &is);

        if (had != has || !tally_slice_equal(was, is)) {
            (void)tally_error_set(err, TALLY_FOREIGN_STATE,
                    "state directory \"%s\" was made with %.*s=%.*s, but it is %.*s now: set it "
                    "back or reset the directory",
                    state_directory_tail(path), (int)name.len, (const char *)name.data,
                    (int)was.len, (const char *)was.data, (int)is.len, (const char *)is.data);
            return true;
        }
        names.data += len + (comma != NULL);
        names.len -= len + (comma != NULL);
    }
    return false;
}

static enum tally_code check_format(const char *path, struct tally_slice stored,
        struct tally_error *err)
{
    uint32_t version;

    if (stored.len != FORMAT_LEN || memcmp(stored.data, magic, sizeof magic) != 0) {
        return tally_error_set(err, TALLY_FOREIGN_STATE,
                "\"%s\" is not a store of tally: use another state.dir", path);
    }
    version = tally_read_u32(stored.data + sizeof magic);
    if (version > FORMAT_VERSION) {
        return tally_error_set(err, TALLY_FOREIGN_STATE,
                "state directory \"%s\" has format %u, and this release knows %u: run the newer "
                "release or reset it",
                path, version, (unsigned)FORMAT_VERSION);
    }
    return TALLY_OK;
}

/* What an older release wrote is rebuilt; what a newer one wrote is left alone. */
static enum tally_code check_versions(const char *path, struct tally_slice format,
        uint32_t evolve_version, struct tally_error *err)
{
    uint32_t version = tally_read_u32(format.data + sizeof magic);
    uint32_t evolve = tally_read_u32(format.data + sizeof magic + 4);

    if (evolve > evolve_version) {
        return tally_error_set(err, TALLY_FOREIGN_STATE,
                "state directory \"%s\" has evolve version %u, and this release has %u: run the "
                "newer release or reset it",
                path, evolve, evolve_version);
    }
    if (version < FORMAT_VERSION || evolve < evolve_version) {
        return tally_error_set(err, TALLY_STORE_OUTDATED,
                "state directory \"%s\" has format %u and evolve version %u, now %u and %u", path,
                version, evolve, (unsigned)FORMAT_VERSION, evolve_version);
    }
    return TALLY_OK;
}

/* Rows that are no longer kept are of no use, and those that are kept now are missing. */
static enum tally_code check_omitted(const char *path, struct tally_slice stored,
        const struct tally_store_identity *identity, struct tally_error *err)
{
    struct tally_slice theirs = TALLY_NONE, ours = tally_slice_string(identity->omitted);

    if (find_field(stored, '\n', TALLY_SLICE("omitted"), &theirs) ? tally_slice_equal(theirs, ours)
                                                                  : ours.len == 0)
        return TALLY_OK;
    return tally_error_set(err, TALLY_STORE_OUTDATED,
            "state directory \"%s\" was made without rows of \"%.*s\", now it is \"%s\"",
            state_directory_tail(path), (int)theirs.len, (const char *)theirs.data,
            identity->omitted);
}

static enum tally_code check_all(const char *path, struct tally_buf rows[META_ROWS],
        const struct tally_store_identity *identity, struct tally_error *err)
{
    struct tally_slice stored = tally_buf_bytes(&rows[META_SETTINGS]);
    struct tally_slice current;
    enum tally_code code = check_format(path, tally_buf_bytes(&rows[META_FORMAT]), err);

    if (code || !identity)
        return code;
    code = check_identity(path, tally_buf_bytes(&rows[META_IDENTITY]), identity, err);
    if (code)
        return code;
    code = check_versions(path, tally_buf_bytes(&rows[META_FORMAT]), identity->evolve_version, err);
    if (code)
        return code;
    current = tally_slice_string(identity->settings);
    if (settings_differ(stored, stored, current, path, err) ||
            settings_differ(current, stored, current, path, err)) {
        return TALLY_FOREIGN_STATE;
    }
    return check_omitted(path, tally_buf_bytes(&rows[META_IDENTITY]), identity, err);
}

/* Reads all rows; *found: how many there are. */
static enum tally_code read_rows(struct base_snapshot *snapshot, struct tally_buf rows[META_ROWS],
        size_t *found, struct tally_error *err)
{
    *found = 0;
    for (enum meta meta = META_FORMAT; meta <= META_SETTINGS; meta++) {
        uint8_t space[16];
        enum tally_code code =
                snapshot->base->ops->get(snapshot, meta_key(meta, space), &rows[meta], err);

        if (code && code != TALLY_NOT_FOUND)
            return code;
        *found += code == TALLY_OK && !rows[meta].failed;
    }
    return TALLY_OK;
}

enum tally_code store_meta_check(struct base_snapshot *snapshot,
        const struct tally_store_identity *identity, struct tally_positions *positions,
        int64_t *retention_ms, bool *is_new, struct tally_error *err)
{
    const char *path = snapshot->base->path;
    struct tally_buf rows[META_ROWS];
    int64_t sst_bytes = 0, level0_files = 0;
    size_t found = 0;
    enum tally_code code;

    for (size_t i = 0; i < META_ROWS; i++) {
        tally_buf_init(&rows[i], META_BYTES_MAX);
    }
    snapshot->base->ops->sizes(snapshot, &sst_bytes, &level0_files);
    *is_new = sst_bytes == 0 && level0_files == 0;
    *positions = (struct tally_positions){.in_next = -1, .in_last = -1, .out_last = -1};
    code = read_rows(snapshot, rows, &found, err);
    if (code || *is_new)
        goto out;
    if (rows[META_FORMAT].len > 0)
        code = check_all(path, rows, identity, err);
    if (code)
        goto out;
    if (found < META_ROWS || !decode_positions(tally_buf_bytes(&rows[META_POSITIONS]), positions) ||
            !tally_parse_int(tally_buf_bytes(&rows[META_RETENTION]), retention_ms)) {
        code = tally_error_set(err, TALLY_STORE_CORRUPT,
                "state directory \"%s\" holds rows, but not whose they are", path);
    }
out:
    for (size_t i = 0; i < META_ROWS; i++) {
        tally_buf_deinit(&rows[i]);
    }
    return code;
}
