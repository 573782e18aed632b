/* apps/cmd_fsck.c - the state of all tasks, one row a line, the same bytes for the same state.
 *  (1) Each task is dumped at one position; tasks in the order of topology and partition, rows in
 *      that of their keys.
 *  (2) A row that cannot be read is dumped as damaged, counted, and makes the status 1. */
#include "apps/cmd.h"

#include <stdio.h>

#include "apps/ops_client.h"
#include "apps/state_reader.h"
#include "engine/base/mem.h"
#include "http/row_line.h"
#include "schemas/serde.h"

#define LINE_MAX_BYTES (16 * 1024 * 1024)
#define TIMEOUT_MS     60000

struct fsck {
    struct cli *cli;
    const char *topology; /* NULL: all */
    struct tally_buf line;
    uint64_t damaged;
    bool gone; /* standard output */
};

static bool wanted(const struct fsck *fsck, const char *topology)
{
    return !fsck->topology || strcmp(fsck->topology, topology) == 0;
}

/* --- a directory ------------------------------------------------------------------------------ */

static bool dump_row(void *context, const struct state_task *task, struct tally_slice key,
        struct tally_slice value)
{
    struct fsck *fsck = context;

    tally_buf_clear(&fsck->line);
    fsck->damaged +=
            !tally_row_line_write(task->topology, task->partition, key, value, &fsck->line);
    fsck->gone = !cli_write(fsck->cli, tally_buf_bytes(&fsck->line));
    return !fsck->gone;
}

static enum tally_code dump_directory(struct fsck *fsck, const char *dir, struct tally_error *err)
{
    static const uint8_t first_store[] = {1}; /* byte 0 is the store's own */
    struct state_task *tasks;
    size_t count;
    enum tally_code code = state_reader_tasks(dir, &tasks, &count, err);

    for (size_t i = 0; i < count && code == TALLY_OK && !fsck->gone; i++) {
        if (wanted(fsck, tasks[i].topology)) {
            code = state_reader_scan(dir, &tasks[i], tally_slice_of(first_store, 1), TALLY_NONE,
                    dump_row, fsck, err);
        }
    }
    tally_free(tasks);
    return code;
}

/* --- a running instance ----------------------------------------------------------------------- */

/* Lines are passed on as they come; "damaged" in one is what the instance could not read. */
static bool pass_on(void *context, struct tally_slice bytes)
{
    struct fsck *fsck = context;

    while (bytes.len > 0) {
        const uint8_t *end = memchr(bytes.data, '\n', bytes.len);
        size_t len = end ? (size_t)(end - bytes.data) + 1 : bytes.len;

        tally_buf_append(&fsck->line, bytes.data, len);
        bytes = tally_slice_of(bytes.data + len, bytes.len - len);
        if (!end) {
            break;
        }
        fsck->damaged += memmem(fsck->line.data, fsck->line.len, "\"damaged\":\"", 11) != NULL;
        fsck->gone = !cli_write(fsck->cli, tally_buf_bytes(&fsck->line));
        tally_buf_clear(&fsck->line);
        if (fsck->gone) {
            return false;
        }
    }
    return true;
}

static enum tally_code dump_task(struct fsck *fsck, const char *topology, int64_t partition,
        struct tally_error *err)
{
    struct ops_answer answer;
    char path[256];
    enum tally_code code;

    snprintf(path, sizeof path, "/v1/ops/dump?topology=%s&partition=%lld", topology,
            (long long)partition);
    tally_buf_clear(&fsck->line);
    code = ops_stream(fsck->cli->config.http_listen, path, TIMEOUT_MS, pass_on, fsck, &answer, err);
    if (code == TALLY_OK && answer.status != 200) {
        struct tally_slice reason = ops_problem(&answer);

        code = tally_error_set(err, TALLY_UNAVAILABLE, "%s/%lld: status %d, %.*s", topology,
                (long long)partition, answer.status, (int)reason.len, (const char *)reason.data);
    } else if (code == TALLY_OK && fsck->line.len > 0 && !fsck->gone) {
        code = tally_error_set(err, TALLY_UNAVAILABLE, "%s/%lld: the dump was cut short", topology,
                (long long)partition);
    }
    ops_answer_deinit(&answer);
    return code;
}

static enum tally_code dump_tasks(struct fsck *fsck, const struct tally_token *root,
        struct tally_error *err)
{
    const struct tally_token *items = tally_token_member(root, "items");
    const struct tally_token *item = items ? items + 1 : NULL;
    enum tally_code code = TALLY_OK;

    for (uint32_t i = 0; items && i < items->count && code == TALLY_OK && !fsck->gone; i++) {
        const struct tally_token *topology = tally_token_member(item, "topology");
        const struct tally_token *partition = tally_token_member(item, "partition");
        char name[64] = "";

        if (topology && partition && topology->type == TALLY_STRING) {
            snprintf(name, sizeof name, "%.*s", (int)topology->string.len,
                    (const char *)topology->string.data);
            code = wanted(fsck, name) ? dump_task(fsck, name, partition->integer, err) : TALLY_OK;
        }
        item = tally_token_next(item);
    }
    return code;
}

static enum tally_code dump_instance(struct fsck *fsck, struct tally_error *err)
{
    const struct tally_token *root;
    enum tally_refusal refusal;
    struct tally_arena arena;
    struct ops_answer answer;
    enum tally_code code =
            ops_get(fsck->cli->config.http_listen, "/v1/ops/tasks", TIMEOUT_MS, &answer, err);

    tally_arena_init(&arena, 64 * 1024);
    if (code == TALLY_OK) {
        code = tally_document_parse(tally_buf_bytes(&answer.body), &arena, &root, &refusal, err);
    }
    if (code == TALLY_OK) {
        code = dump_tasks(fsck, root, err);
    }
    ops_answer_deinit(&answer);
    tally_arena_deinit(&arena);
    return code;
}

static int dump(struct fsck *fsck, const char *dir)
{
    struct tally_error err;
    enum tally_code code;
    int status = CLI_OK;

    tally_buf_init(&fsck->line, LINE_MAX_BYTES);
    code = dir ? dump_directory(fsck, dir, &err) : dump_instance(fsck, &err);
    if (code) {
        status = cli_error(fsck->cli, &err);
    } else if (fsck->damaged > 0) {
        status = cli_failed(fsck->cli, "%llu rows are damaged", (unsigned long long)fsck->damaged);
    } else if (fsck->gone) {
        status = CLI_FAILED;
    }
    tally_buf_deinit(&fsck->line);
    return cli_finish(fsck->cli, status);
}

int cmd_fsck(int argc, char **argv)
{
    struct fsck fsck = {.topology = NULL};
    bool dumping = false;
    const char *dir = NULL;
    const struct cli_option options[] = {
            CLI_OPT_FLAG(0, "dump", &dumping, "print every row (the only check there is)"),
            CLI_OPT_TEXT(0, "state", &dir, "DIR", "read the state of a stopped instance"),
            CLI_OPT_TEXT('t', "topology", &fsck.topology, "NAME", "only this topology"),
            CLI_OPT_END};
    struct cli cli = {.verb = "fsck",
            .usage = "fsck --dump [--state DIR] [options]",
            .options = options,
            .about = "Dumps the state of every task as NDJSON, sorted: two dumps of the same state "
                     "are\n"
                     "the same bytes. Asks the instance on http.listen, or reads the directory of "
                     "a\n"
                     "stopped one. Exit status 1: a row is damaged, or a task could not be read.",
            .examples =
                    "  tally fsck --dump | sha256sum\n"
                    "  tally fsck --dump --state ./state | jq -c 'select(.store == \"level\")'\n"};
    int status = cli_begin(&cli, argc, argv);

    fsck.cli = &cli;
    if (status == CLI_CONTINUE && !dumping) {
        status = cli_usage(&cli, "--dump is missing");
    }
    if (status == CLI_CONTINUE) {
        status = dump(&fsck, dir);
    }
    cli_end(&cli);
    return status;
}
