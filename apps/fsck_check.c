/* apps/fsck_check.c - see fsck_check.h. Takes lines apart, counts what was looked at, tells what
 * differs.
 *  (1) Each thing is checked under one invariant; a difference names it, the task and the key.
 *  (2) Memory is bounded by levels, promises and claims; ledgers and outcomes pass by. */
#include "apps/fsck_check_internal.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/base/mem.h"

enum { TEXT_MAX = 512, ROW_BLOCK_BYTES = 64 * 1024, ROW_KEEP_BYTES = 1024 * 1024 };

static const struct {
    const char *name, *says;
} invariants[FSCK_INVARIANTS] = {
        [FSCK_I1] = {"I1", "levels are the running sums of their ledgers"},
        [FSCK_I2] = {"I2", "held, reserved and committed are the open holds"},
        [FSCK_I3] = {"I3", "nothing is negative but by force"},
        [FSCK_I4] = {"I4", "holds left enough, or were backordered"},
        [FSCK_I5] = {"I5", "stock changes by goods alone, transfers lose nothing"},
        [FSCK_I6] = {"I6", "one state at a time, with its timer and its operation"},
        [FSCK_I7] = {"I7", "versions count ledger entries without a gap"},
        [FSCK_I8] = {"I8", "reservations, transfers and stock agree"},
        [FSCK_I9] = {"I9", "the same log gives the same rows"},
        [FSCK_CATALOGUE] = {"claims", "slugs and SKUs belong to their products"},
        [FSCK_ROWS] = {"rows", "every row can be read"},
};

struct fsck_check *fsck_check_create(const struct fsck_check_options *options)
{
    struct fsck_check *check = tally_alloc_zero(1, sizeof *check);

    check->options = *options;
    tally_arena_init(&check->row, ROW_BLOCK_BYTES);
    tally_arena_init(&check->kept, ROW_BLOCK_BYTES);
    fsck_table_init(&check->levels, sizeof(struct fsck_level));
    fsck_table_init(&check->holds, sizeof(struct fsck_hold));
    fsck_table_init(&check->reservations, sizeof(struct fsck_reservation));
    fsck_table_init(&check->lines, sizeof(struct fsck_line));
    fsck_table_init(&check->transfers, sizeof(struct fsck_transfer));
    fsck_table_init(&check->claims, sizeof(struct fsck_claim));
    return check;
}

void fsck_check_destroy(struct fsck_check *check)
{
    if (!check) {
        return;
    }
    fsck_table_deinit(&check->levels);
    fsck_table_deinit(&check->holds);
    fsck_table_deinit(&check->reservations);
    fsck_table_deinit(&check->lines);
    fsck_table_deinit(&check->transfers);
    fsck_table_deinit(&check->claims);
    tally_arena_deinit(&check->row);
    tally_arena_deinit(&check->kept);
    tally_free(check);
}

/* --- a row's members -------------------------------------------------------------------------- */

int64_t fsck_number(const struct tally_token *value, const char *name)
{
    const struct tally_token *member = tally_token_member(value, name);

    return member && member->type == TALLY_INT ? member->integer : 0;
}

struct tally_slice fsck_text(const struct tally_token *value, const char *name)
{
    const struct tally_token *member = tally_token_member(value, name);

    return member && member->type == TALLY_STRING ? member->string : TALLY_NONE;
}

int fsck_name(const char *const *names, struct tally_slice name)
{
    for (int i = 0; names[i]; i++) {
        if (tally_slice_equal(name, tally_slice_string(names[i]))) {
            return i;
        }
    }
    return -1;
}

bool fsck_split(struct tally_slice key, struct tally_slice *head, int64_t *number)
{
    size_t at = key.len;

    while (at > 0 && key.data[at - 1] != '.') {
        at--;
    }
    if (at == 0) {
        return false;
    }
    *head = tally_slice_of(key.data, at - 1);
    return tally_parse_int(tally_slice_of(key.data + at, key.len - at), number);
}

/* --- differences ------------------------------------------------------------------------------ */

static void tell(struct fsck_check *check, enum fsck_invariant invariant, struct tally_slice key,
        const char *format, va_list arguments)
{
    char text[TEXT_MAX];
    int len = snprintf(text, sizeof text, "%s %s %.*s: ", invariants[invariant].name, check->place,
            (int)(key.len < 200 ? key.len : 200), (const char *)key.data);

    (void)vsnprintf(text + len, sizeof text - (size_t)len, format, arguments);
    check->differences[invariant]++;
    check->options.differs(check->options.context, text);
}

bool fsck_expect(struct fsck_check *check, enum fsck_invariant invariant, bool fine,
        struct tally_slice key, const char *format, ...)
{
    va_list arguments;

    check->checked[invariant]++;
    if (!fine) {
        va_start(arguments, format);
        tell(check, invariant, key, format, arguments);
        va_end(arguments);
    }
    return fine;
}

bool fsck_expect_settled(struct fsck_check *check, enum fsck_invariant invariant, bool fine,
        struct tally_slice key, const char *format, ...)
{
    va_list arguments;

    check->checked[invariant]++;
    if (!fine && !check->settled) {
        check->unsettled++;
    } else if (!fine) {
        va_start(arguments, format);
        tell(check, invariant, key, format, arguments);
        va_end(arguments);
    }
    return fine;
}

/* --- rows ------------------------------------------------------------------------------------- */

static enum tally_code read_line(struct fsck_check *check, const struct tally_token *root,
        struct tally_error *err)
{
    struct tally_slice topology = fsck_text(root, "topology"), store = fsck_text(root, "store");
    struct tally_slice key = fsck_text(root, "key");
    const struct tally_token *value = tally_token_member(root, "value");

    if (topology.len == 0 || key.len == 0) {
        return tally_error_set(err, TALLY_BAD_RECORD, "a line is no row of a dump");
    }
    (void)snprintf(check->place, sizeof check->place, "%.*s/%lld",
            (int)(topology.len < 64 ? topology.len : 64), (const char *)topology.data,
            (long long)fsck_number(root, "partition"));
    check->rows++;
    if (!fsck_expect(check, FSCK_ROWS, value && value->type == TALLY_MAP, key,
                "the row of store \"%.*s\" is damaged", (int)store.len, (const char *)store.data)) {
        return TALLY_OK;
    }
    if (tally_slice_equal(topology, TALLY_SLICE("stock"))) {
        fsck_stock_row(check, store, key, value);
    } else {
        fsck_promise_row(check, topology, store, key, value);
    }
    return TALLY_OK;
}

enum tally_code fsck_check_row(struct fsck_check *check, struct tally_slice line,
        struct tally_error *err)
{
    const struct tally_token *root;
    enum tally_refusal refusal;
    enum tally_code code;

    while (line.len > 0 && line.data[line.len - 1] == '\n') {
        line.len--;
    }
    code = tally_document_parse(line, &check->row, &root, &refusal, err);
    code = code ? code : read_line(check, root, err);
    tally_arena_reset(&check->row, ROW_KEEP_BYTES);
    return code;
}

void fsck_place(struct fsck_check *check, const char *topology)
{
    (void)snprintf(check->place, sizeof check->place, "%s", topology);
}

void fsck_check_finish(struct fsck_check *check, bool settled)
{
    check->settled = settled;
    fsck_place(check, "stock");
    fsck_stock_finish(check);
    fsck_promise_finish(check);
}

uint64_t fsck_check_differences(const struct fsck_check *check)
{
    uint64_t sum = 0;

    for (int i = 0; i < FSCK_INVARIANTS; i++) {
        sum += check->differences[i];
    }
    return sum;
}

void fsck_check_report(const struct fsck_check *check, struct tally_buf *out)
{
    tally_buf_format(out,
            "%llu rows: %zu levels, %zu holds, %zu reservations, %zu transfers, %llu products\n",
            (unsigned long long)check->rows, check->levels.count, check->holds.count,
            check->reservations.count, check->transfers.count, (unsigned long long)check->products);
    for (int i = 0; i < FSCK_INVARIANTS; i++) {
        if (i == FSCK_I9 && check->checked[i] == 0) { /* the log was not read */
            tally_buf_format(out, "%-6s %-58s %18s\n", invariants[i].name, invariants[i].says,
                    "not checked");
            continue;
        }
        tally_buf_format(out, "%-6s %-58s %10llu checked, %llu differ\n", invariants[i].name,
                invariants[i].says, (unsigned long long)check->checked[i],
                (unsigned long long)check->differences[i]);
    }
    if (!check->has_ledger && check->levels.count > 0) {
        tally_buf_string(out, "no ledger is kept (stock.ledger: false): I1, I3, I4 and I7 rest on "
                              "levels alone\n");
    }
    if (check->unsettled > 0) {
        tally_buf_format(out,
                "no differences, as a message between topologies may be on its way: %llu\n",
                (unsigned long long)check->unsettled);
    }
}
