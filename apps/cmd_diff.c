/* apps/cmd_diff.c - two states, row by row, or hash by hash where that is all that is known of one.
 *  (1) Exit status as of diff: 0 equal, 1 different; what cannot be compared is 2, or named.
 *  (2) Rows are compared as a dump prints them: what a user can see is what counts.
 *  (3) A task that only one of them has is one difference, not one of each row; an empty one is
 *      none, since a dump cannot tell it from an absent one. */
#include "apps/cmd.h"

#include <stdio.h>

#include "apps/diff_side.h"
#include "apps/fsck_table.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"

#define LINE_MAX_BYTES (32 * 1024 * 1024)
#define SHOWN_BYTES    600 /* of a value, in text */
#define ARENA_BYTES    (64 * 1024)

enum { FORM_TEXT, FORM_JSON, A = 0, B = 1, SIDES = 2 };

struct store_count {
    uint64_t differ, only[SIDES];
};

struct diff {
    struct cli *cli;
    struct diff_filter filter;
    int64_t show, shown;
    int form;
    struct diff_side sides[SIDES];
    struct fsck_table stores; /* "stock level" -> struct store_count */
    struct store_count all;
    uint64_t equal, tasks;    /* rows; compared */
    uint64_t tasks_differ;    /* of hashes, and those that one side lacks */
    struct tally_arena arena; /* of the two rows that are shown */
    struct tally_buf line;
    bool gone; /* standard output */
};

/* --- what is printed -------------------------------------------------------------------------- */

static bool print(struct diff *diff)
{
    diff->gone = diff->gone || !cli_write(diff->cli, tally_buf_bytes(&diff->line));
    tally_buf_clear(&diff->line);
    return !diff->gone;
}

static const struct tally_token *parsed(struct diff *diff, const struct diff_row *row)
{
    const struct tally_token *root;
    enum tally_refusal refusal;
    struct tally_error err;

    return row && tally_document_parse(row->line, &diff->arena, &root, &refusal, &err) == TALLY_OK
                   ? root
                   : NULL;
}

static const struct tally_token *value_of(const struct tally_token *root)
{
    const struct tally_token *value = root ? tally_token_member(root, "value") : NULL;

    return value || !root ? value : tally_token_member(root, "damaged");
}

static void put_member(struct tally_writer *writer, const char *name,
        const struct tally_token *token)
{
    tally_write_name(writer, name);
    if (token) {
        tally_write_token(writer, token);
    } else {
        tally_write_null(writer);
    }
}

static void put_text(struct diff *diff, const char *mark, const struct tally_token *value)
{
    size_t begin = diff->line.len + strlen(mark);

    if (!value) {
        return;
    }
    tally_buf_string(&diff->line, mark);
    tally_token_write(value, TALLY_FORMAT_JSON, &diff->line);
    if (diff->line.len - begin > SHOWN_BYTES) {
        diff->line.len = begin + SHOWN_BYTES;
        tally_buf_string(&diff->line, "...");
    }
    tally_buf_byte(&diff->line, '\n');
}

/* rows[i] NULL: that side has none. */
static void show_rows(struct diff *diff, const struct diff_row *const rows[SIDES])
{
    const struct tally_token *roots[SIDES] = {parsed(diff, rows[A]), parsed(diff, rows[B])};
    const struct tally_token *root = roots[A] ? roots[A] : roots[B];
    struct tally_writer writer;

    if (!root) {
        return;
    }
    if (diff->form == FORM_JSON) {
        tally_write_begin(&writer, &diff->line, TALLY_FORMAT_JSON);
        tally_write_map(&writer, 6);
        put_member(&writer, "topology", tally_token_member(root, "topology"));
        put_member(&writer, "partition", tally_token_member(root, "partition"));
        put_member(&writer, "store", tally_token_member(root, "store"));
        put_member(&writer, "key", tally_token_member(root, "key"));
        put_member(&writer, "a", value_of(roots[A]));
        put_member(&writer, "b", value_of(roots[B]));
        tally_buf_byte(&diff->line, '\n');
    } else {
        tally_buf_slice(&diff->line, tally_token_member(root, "topology")->string);
        tally_buf_format(&diff->line, "/%lld ",
                (long long)tally_token_member(root, "partition")->integer);
        tally_buf_slice(&diff->line, tally_token_member(root, "store")->string);
        tally_buf_byte(&diff->line, ' ');
        tally_buf_slice(&diff->line, tally_token_member(root, "key")->string);
        tally_buf_byte(&diff->line, '\n');
        put_text(diff, "< ", value_of(roots[A]));
        put_text(diff, "> ", value_of(roots[B]));
    }
    (void)print(diff);
    tally_arena_reset(&diff->arena, ARENA_BYTES);
}

/* Counts a difference under its store, and shows it if it is one of the first. */
static void differs(struct diff *diff, const struct state_task *task,
        const struct diff_row *const rows[SIDES])
{
    const struct diff_row *row = rows[A] ? rows[A] : rows[B];
    struct store_count *count;
    enum tally_store_id store;
    char name[140];

    (void)snprintf(name, sizeof name, "%.60s %s", task->topology,
            tally_store_of_key(task->topology, row->key, &store) ? tally_store_name(store) : "?");
    count = fsck_table_at(&diff->stores, tally_slice_string(name));
    if (rows[A] && rows[B]) {
        count->differ++;
        diff->all.differ++;
    } else {
        count->only[rows[A] ? A : B]++;
        diff->all.only[rows[A] ? A : B]++;
    }
    if (diff->shown++ < diff->show) {
        show_rows(diff, rows);
    }
}

/* --- rows ------------------------------------------------------------------------------------- */

static enum tally_code take(struct diff_side *side, struct diff_row *row, bool *has,
        struct tally_error *err)
{
    enum tally_code code = diff_side_next(side, row, err);

    *has = code == TALLY_OK;
    return code == TALLY_NOT_FOUND ? TALLY_OK : code;
}

static enum tally_code find_keys(struct diff *diff, struct diff_row rows[SIDES],
        const bool has[SIDES], struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    for (int s = 0; s < SIDES && !code; s++) {
        if (has[s] && !rows[s].key.data) {
            code = diff_side_key(&diff->sides[s], &rows[s], err);
        }
    }
    return code;
}

static enum tally_code compare_rows(struct diff *diff, const struct state_task *task,
        struct tally_error *err)
{
    struct diff_row rows[SIDES];
    bool has[SIDES];
    enum tally_code code = take(&diff->sides[A], &rows[A], &has[A], err);

    code = code ? code : take(&diff->sides[B], &rows[B], &has[B], err);
    while (!code && (has[A] || has[B]) && !diff->gone && !cli_interrupted()) {
        const struct diff_row *shown[SIDES] = {&rows[A], &rows[B]};
        int order = 0;

        if (has[A] && has[B] && tally_slice_equal(rows[A].line, rows[B].line)) {
            diff->equal++;
        } else {
            code = find_keys(diff, rows, has, err);
            if (code) {
                break;
            }
            order = !has[A] ? 1 : !has[B] ? -1 : tally_slice_compare(rows[A].key, rows[B].key);
            shown[A] = order <= 0 ? shown[A] : NULL;
            shown[B] = order >= 0 ? shown[B] : NULL;
            differs(diff, task, shown);
        }
        if (order <= 0) {
            code = take(&diff->sides[A], &rows[A], &has[A], err);
        }
        if (!code && order >= 0) {
            code = take(&diff->sides[B], &rows[B], &has[B], err);
        }
    }
    return code;
}

static const char *offset_of(const struct diff_task *task)
{
    const char *at = strrchr(task->position, '@');

    return at ? at + 1 : "none";
}

static void note_positions(const struct diff_task *a, const struct diff_task *b)
{
    if (a->position[0] && b->position[0] && strcmp(offset_of(a), offset_of(b)) != 0) {
        fprintf(stderr, "%s/%d: A is at event %s, B at %s\n", a->task.topology,
                (int)a->task.partition, offset_of(a), offset_of(b));
    }
}

static enum tally_code compare_task(struct diff *diff, const struct diff_task *a,
        const struct diff_task *b, struct tally_error *err)
{
    enum tally_code code = diff_side_begin(&diff->sides[A], a, err);

    note_positions(a, b);
    code = code ? code : diff_side_begin(&diff->sides[B], b, err);
    code = code ? code : compare_rows(diff, &a->task, err);
    diff_side_end(&diff->sides[A]);
    diff_side_end(&diff->sides[B]);
    diff->tasks++;
    return code;
}

/* --- tasks ------------------------------------------------------------------------------------ */

static void show_hashes(struct diff *diff, const struct diff_task *const tasks[SIDES])
{
    const struct diff_task *task = tasks[A] ? tasks[A] : tasks[B];
    struct tally_writer writer;

    diff->tasks_differ++;
    if (diff->shown++ >= diff->show) {
        return;
    }
    if (diff->form == FORM_JSON) {
        tally_write_begin(&writer, &diff->line, TALLY_FORMAT_JSON);
        tally_write_map(&writer, 4);
        tally_write_name(&writer, "topology");
        tally_write_string(&writer, tally_slice_string(task->task.topology));
        tally_write_name(&writer, "partition");
        tally_write_int(&writer, task->task.partition);
        for (int s = 0; s < SIDES; s++) {
            tally_write_name(&writer, s == A ? "a" : "b");
            if (tasks[s]) {
                tally_write_map(&writer, 2);
                tally_write_name(&writer, "rows");
                tally_write_int(&writer, (int64_t)tasks[s]->rows);
                tally_write_name(&writer, "hash");
                tally_write_string(&writer, tally_slice_string(tasks[s]->hash));
            } else {
                tally_write_null(&writer);
            }
        }
        tally_buf_byte(&diff->line, '\n');
    } else {
        tally_buf_format(&diff->line, "%s/%d\n", task->task.topology, (int)task->task.partition);
        for (int s = 0; s < SIDES; s++) {
            if (tasks[s]) {
                tally_buf_format(&diff->line, "%c %llu rows, %s\n", s == A ? '<' : '>',
                        (unsigned long long)tasks[s]->rows, tasks[s]->hash);
            }
        }
    }
    (void)print(diff);
}

/* Rows of a task that the other side does not have. */
static enum tally_code count_rows(struct diff *diff, int s, struct diff_task *task,
        struct tally_error *err)
{
    struct diff_side *side = &diff->sides[s];
    struct diff_row row;
    enum tally_code code = side->kind == DIFF_HASHES ? TALLY_OK : diff_side_begin(side, task, err);

    if (side->kind != DIFF_HASHES) {
        task->rows = 0;
        while (!code && (code = diff_side_next(side, &row, err)) == TALLY_OK) {
            task->rows++;
        }
        diff_side_end(side);
    }
    code = code == TALLY_NOT_FOUND ? TALLY_OK : code;
    if (!code && task->rows > 0) {
        fprintf(stderr, "%s/%d is in %c only, %llu rows\n", task->task.topology,
                (int)task->task.partition, s == A ? 'A' : 'B', (unsigned long long)task->rows);
        diff->tasks_differ++;
    }
    return code;
}

static enum tally_code compare_hashes(struct diff *diff, const struct diff_task *a,
        const struct diff_task *b)
{
    const struct diff_task *const tasks[SIDES] = {a, b};

    note_positions(a, b);
    diff->tasks++;
    if (strcmp(a->hash, b->hash) == 0) {
        diff->equal += a->rows;
    } else {
        show_hashes(diff, tasks);
    }
    return TALLY_OK;
}

static enum tally_code compare(struct diff *diff, struct tally_error *err)
{
    struct diff_side *a = &diff->sides[A], *b = &diff->sides[B];
    bool by_hash = a->kind == DIFF_HASHES || b->kind == DIFF_HASHES;
    enum tally_code code = TALLY_OK;

    if (by_hash) {
        code = diff_side_hash(a, err);
        code = code ? code : diff_side_hash(b, err);
    }
    for (size_t i = 0; i < a->count && !code && !cli_interrupted(); i++) {
        const struct diff_task *other = diff_side_find(b, &a->tasks[i].task);

        code = !other    ? count_rows(diff, A, &a->tasks[i], err)
               : by_hash ? compare_hashes(diff, &a->tasks[i], other)
                         : compare_task(diff, &a->tasks[i], other, err);
    }
    for (size_t i = 0; i < b->count && !code && !cli_interrupted(); i++) {
        if (!diff_side_find(a, &b->tasks[i].task)) {
            code = count_rows(diff, B, &b->tasks[i], err);
        }
    }
    return code;
}

/* --- the end ---------------------------------------------------------------------------------- */

static bool is_equal(const struct diff *diff)
{
    return diff->all.differ + diff->all.only[A] + diff->all.only[B] + diff->tasks_differ == 0;
}

static void write_count(struct tally_writer *writer, const struct store_count *count)
{
    tally_write_name(writer, "differ");
    tally_write_int(writer, (int64_t)count->differ);
    tally_write_name(writer, "only_a");
    tally_write_int(writer, (int64_t)count->only[A]);
    tally_write_name(writer, "only_b");
    tally_write_int(writer, (int64_t)count->only[B]);
}

static void put_summary_json(struct diff *diff)
{
    struct tally_writer writer;
    struct tally_slice name;

    tally_write_begin(&writer, &diff->line, TALLY_FORMAT_JSON);
    tally_write_map(&writer, 8);
    tally_write_name(&writer, "equal");
    tally_write_bool(&writer, is_equal(diff));
    tally_write_name(&writer, "tasks");
    tally_write_int(&writer, (int64_t)diff->tasks);
    tally_write_name(&writer, "tasks_differ");
    tally_write_int(&writer, (int64_t)diff->tasks_differ);
    tally_write_name(&writer, "rows_equal");
    tally_write_int(&writer, (int64_t)diff->equal);
    write_count(&writer, &diff->all);
    tally_write_name(&writer, "stores");
    tally_write_map(&writer, (uint32_t)diff->stores.count);
    for (struct store_count *count = NULL;
            (count = fsck_table_next(&diff->stores, count, &name)) != NULL;) {
        char text[140];

        (void)snprintf(text, sizeof text, "%.*s", (int)name.len, (const char *)name.data);
        text[strcspn(text, " ")] = '/';
        tally_write_name(&writer, text);
        tally_write_map(&writer, 3);
        write_count(&writer, count);
    }
    tally_buf_byte(&diff->line, '\n');
    (void)print(diff);
}

static void put_summary(struct diff *diff)
{
    struct tally_slice name;

    for (struct store_count *count = NULL;
            (count = fsck_table_next(&diff->stores, count, &name)) != NULL;) {
        tally_buf_slice(&diff->line, name);
        tally_buf_format(&diff->line, ": %llu differ, %llu only in A, %llu only in B\n",
                (unsigned long long)count->differ, (unsigned long long)count->only[A],
                (unsigned long long)count->only[B]);
    }
    (void)print(diff);
}

static int finish(struct diff *diff)
{
    (diff->form == FORM_JSON ? put_summary_json : put_summary)(diff);
    fprintf(stderr, "%llu rows of %llu tasks are equal%s%s\n", (unsigned long long)diff->equal,
            (unsigned long long)diff->tasks, is_equal(diff) ? "" : ", others differ",
            diff->shown > diff->show ? ", of which the first are shown (--show)" : "");
    return is_equal(diff) ? CLI_OK : CLI_FAILED;
}

static int act(struct diff *diff)
{
    struct tally_error err;

    for (int s = 0; s < SIDES; s++) {
        enum tally_code code = diff_side_open(&diff->sides[s], diff->cli->args[s],
                diff->cli->config.http_token, &diff->filter, &err);

        if (code) {
            (void)cli_failed(diff->cli, "%c: %s: %s", s == A ? 'A' : 'B', tally_code_name(code),
                    err.message);
            return CLI_USAGE;
        }
    }
    if (compare(diff, &err)) {
        (void)cli_error(diff->cli, &err);
        return CLI_USAGE;
    }
    if (cli_interrupted()) {
        return CLI_INTERRUPTED;
    }
    if (diff->tasks == 0 && diff->tasks_differ == 0) {
        fprintf(stderr, "neither has rows of what was asked for\n");
    }
    return finish(diff);
}

static int run(struct diff *diff)
{
    int status;

    fsck_table_init(&diff->stores, sizeof(struct store_count));
    tally_arena_init(&diff->arena, ARENA_BYTES);
    tally_buf_init(&diff->line, LINE_MAX_BYTES);
    cli_catch_interrupts();
    tally_log_init(TALLY_LOG_ERROR, TALLY_LOG_LOGFMT);
    status = cli_finish(diff->cli, act(diff));
    diff_side_close(&diff->sides[A]);
    diff_side_close(&diff->sides[B]);
    fsck_table_deinit(&diff->stores);
    tally_arena_deinit(&diff->arena);
    tally_buf_deinit(&diff->line);
    return status;
}

int cmd_diff(int argc, char **argv)
{
    static const char *const forms[] = {[FORM_TEXT] = "text", [FORM_JSON] = "json", NULL};
    struct diff diff = {.filter.partition = -1, .show = 20, .form = FORM_TEXT};
    const struct cli_option options[] = {
            CLI_OPT_TEXT('t', "topology", &diff.filter.topology, "NAME", "only this topology"),
            CLI_OPT_INT('p', "partition", &diff.filter.partition, 0, INT32_MAX, "N",
                    "only this partition"),
            CLI_OPT_INT('n', "show", &diff.show, 0, 1000000000, "N", "differences to print (20)"),
            CLI_OPT_CHOICE('o', "output", &diff.form, forms, "FORM", "text (default) or json"),
            CLI_OPT_TOKEN, CLI_OPT_END};
    struct cli cli = {.verb = "diff",
            .usage = "diff A B [options]",
            .options = options,
            .args_min = 2,
            .args_max = 2,
            .about = "Compares two states: each a dump (tally fsck --dump, tally replay --dump), "
                     "the "
                     "directory of\n"
                     "a replay or of a stopped instance, a running instance, or the hashes that "
                     "tally replay -o\n"
                     "json printed; \"-\" is standard input. Prints the first rows that differ, "
                     "\"<\" as A has them\n"
                     "and \">\" as B does, and how many there are of each store. Of hashes only "
                     "tasks can be\n"
                     "told apart. Rows count, positions are only mentioned. Exit status 0: equal; "
                     "1: different;\n"
                     "2: they cannot be compared.",
            .examples = "  tally diff ./shadow http://127.0.0.1:8080\n"
                        "  tally diff before.ndjson after.ndjson -n 100\n"
                        "  tally replay --into ./shadow --hash -o json | tally diff - ./state\n"
                        "  tally diff ./old ./new -t stock -o json | jq -c 'select(.store == "
                        "\"level\")'\n"};
    int status = cli_begin(&cli, argc, argv);

    diff.cli = &cli;
    if (status == CLI_CONTINUE) {
        status = run(&diff);
    }
    cli_end(&cli);
    return status;
}
