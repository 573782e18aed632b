/* apps/cmd_fsck.c - the state of all tasks: proved to be sound and to be what its log gives, or
 * dumped, one row a line, the same bytes for the same state.
 *  (1) Each task is read at one position; tasks in the order of topology and partition, rows in
 *      that of their keys.
 *  (2) A row that cannot be read is dumped as damaged, counted, and makes the status 1.
 *  (3) Tasks of an instance are read one after another. What rows of different tasks say about each
 *      other counts only where nothing has moved from before the first to after the last.
 *  (4) What a task's log gives is compared at the position of the rows that were checked: those of
 *      an instance are kept in a file until that is replayed. What cannot be replayed is named, and
 *      makes the status 3. */
#include "apps/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "apps/fsck_replay.h"
#include "apps/instance.h"
#include "apps/ops_client.h"
#include "apps/state_reader.h"
#include "connectors/kafka_client.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "http/row_line.h"
#include "schemas/serde.h"

#define LINE_MAX_BYTES (16 * 1024 * 1024)
#define TIMEOUT_MS     60000
#define BROKERS_MS     10000

static const uint8_t first_store[] = {1}; /* byte 0 is the store's own */

struct fsck {
    struct cli *cli;
    const char *topology; /* NULL: all */
    const char *dir;      /* NULL: of the running instance */
    struct tally_buf line;
    struct fsck_check *check; /* NULL: rows are printed */
    uint64_t damaged;
    int64_t show, shown;  /* differences */
    bool gone;            /* standard output */
    enum tally_code code; /* of the check; err has the message */
    struct tally_error err;
    struct instance instance;
    struct tally_client *client;
    struct progress progress;
    struct fsck_replay *replay; /* NULL: the log is left alone */
    FILE *spool;                /* of the rows of an instance's task; NULL: not kept */
    uint64_t replayed, undone;  /* tasks */
};

static bool wanted(const struct fsck *fsck, const char *topology)
{
    return !fsck->topology || strcmp(fsck->topology, topology) == 0;
}

/* A line goes to the checker or to standard output. false: stop. */
static bool take_line(struct fsck *fsck)
{
    if (fsck->check) {
        if (fsck->spool) {
            (void)fwrite(fsck->line.data, 1, fsck->line.len, fsck->spool);
        }
        fsck->code = fsck_check_row(fsck->check, tally_buf_bytes(&fsck->line), &fsck->err);
        return fsck->code == TALLY_OK;
    }
    fsck->gone = !cli_write(fsck->cli, tally_buf_bytes(&fsck->line));
    return !fsck->gone;
}

/* --- the log ---------------------------------------------------------------------------------- */

static void not_replayed(struct fsck *fsck, const char *topology, int32_t partition,
        const struct tally_error *err)
{
    fsck->undone++;
    (void)cli_failed(fsck->cli, "I9 of %s/%d is not checked: %s: %s", topology, (int)partition,
            tally_code_name(err->code), err->message);
}

static enum tally_code open_replay(struct fsck *fsck, struct tally_error *err)
{
    const struct tally_config *config = &fsck->cli->config;
    struct fsck_replay_options options = {.state_dir = fsck->dir ? fsck->dir : config->state_dir,
            .check = fsck->check,
            .progress = &fsck->progress};
    int32_t partitions = 0;
    enum tally_code code = instance_build(&fsck->instance, config, err);

    code = code ? code : tally_kafka_client_create(config, NULL, &fsck->client, err);
    code = code ? code
                : fsck->client->ops->partitions(fsck->client,
                          tally_topology_input(fsck->instance.topologies[0]), BROKERS_MS,
                          &partitions, err);
    if (code) {
        return code;
    }
    progress_begin(&fsck->progress, tally_clock_real(), true);
    options.replay = (struct tally_replay_options){.topologies = fsck->instance.topologies,
            .topology_count = fsck->instance.topology_count,
            .config = config,
            .client = fsck->client,
            .clock = tally_clock_real(),
            .partitions = partitions};
    return fsck_replay_create(&options, &fsck->replay, err);
}

static void close_replay(struct fsck *fsck)
{
    fsck_replay_destroy(fsck->replay);
    if (fsck->client) {
        fsck->client->ops->destroy(fsck->client);
    }
    instance_deinit(&fsck->instance);
}

/* After the last row that was compared. */
static enum tally_code end_replay(struct fsck *fsck, const char *topology, int32_t partition,
        enum tally_code code, struct tally_error *err)
{
    struct tally_error late;
    enum tally_code finished = fsck_replay_finish(fsck->replay, code != TALLY_OK, &late);

    if (!code && finished) {
        *err = late;
        code = finished;
    }
    if (code) {
        not_replayed(fsck, topology, partition, err);
    } else {
        fsck->replayed++;
    }
    return TALLY_OK;
}

/* It could not begin; an interruption ends all. */
static enum tally_code no_replay(struct fsck *fsck, const char *topology, int32_t partition,
        enum tally_code code, const struct tally_error *err)
{
    if (code == TALLY_AGAIN && cli_interrupted()) {
        return code;
    }
    not_replayed(fsck, topology, partition, err);
    return TALLY_OK;
}

/* --- a directory ------------------------------------------------------------------------------ */

static bool compare_row(void *context, const struct state_task *task, struct tally_slice key,
        struct tally_slice value)
{
    struct fsck *fsck = context;

    tally_buf_clear(&fsck->line);
    (void)tally_row_line_write(task->topology, task->partition, key, value, &fsck->line);
    fsck->code = fsck_replay_row(fsck->replay, key, tally_buf_bytes(&fsck->line), &fsck->err);
    return fsck->code == TALLY_OK;
}

static bool dump_row(void *context, const struct state_task *task, struct tally_slice key,
        struct tally_slice value)
{
    struct fsck *fsck = context;

    tally_buf_clear(&fsck->line);
    fsck->damaged +=
            !tally_row_line_write(task->topology, task->partition, key, value, &fsck->line);
    return take_line(fsck);
}

static bool going_on(const struct fsck *fsck)
{
    return !fsck->gone && fsck->code == TALLY_OK;
}

static enum tally_code replay_directory(struct fsck *fsck, const struct state_task *task,
        struct tally_error *err)
{
    enum tally_code code =
            fsck_replay_begin_directory(fsck->replay, task->topology, task->partition, err);

    if (code) {
        return no_replay(fsck, task->topology, task->partition, code, err);
    }
    code = state_reader_scan(fsck->dir, task, tally_slice_of(first_store, 1), TALLY_NONE,
            compare_row, fsck, err);
    if (!code && fsck->code) {
        code = fsck->code;
        *err = fsck->err;
        fsck->code = TALLY_OK;
    }
    return end_replay(fsck, task->topology, task->partition, code, err);
}

static enum tally_code read_directory(struct fsck *fsck, struct tally_error *err)
{
    struct state_task *tasks;
    size_t count;
    enum tally_code code = state_reader_tasks(fsck->dir, &tasks, &count, err);

    for (size_t i = 0; i < count && code == TALLY_OK && going_on(fsck); i++) {
        if (wanted(fsck, tasks[i].topology)) {
            code = state_reader_scan(fsck->dir, &tasks[i], tally_slice_of(first_store, 1),
                    TALLY_NONE, dump_row, fsck, err);
            if (code == TALLY_OK && fsck->replay && going_on(fsck)) {
                code = replay_directory(fsck, &tasks[i], err);
            }
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
        if (!take_line(fsck)) {
            return false;
        }
        tally_buf_clear(&fsck->line);
    }
    return true;
}

static enum tally_code compare_spooled(struct fsck *fsck, struct tally_error *err)
{
    FILE *file = fopen(fsck_replay_spool(fsck->replay), "r");
    enum tally_code code = TALLY_OK;
    char *line = NULL;
    size_t size = 0;
    ssize_t len;

    if (!file) {
        return tally_error_set(err, TALLY_STORE_ERROR, "\"%s\": %s",
                fsck_replay_spool(fsck->replay), strerror(errno));
    }
    while (!code && (len = getline(&line, &size, file)) > 0) {
        code = fsck_replay_line(fsck->replay, tally_slice_of(line, (size_t)len), err);
    }
    if (!code && ferror(file)) {
        code = tally_error_set(err, TALLY_STORE_ERROR, "\"%s\" cannot be read",
                fsck_replay_spool(fsck->replay));
    }
    fclose(file);
    free(line); /* getline's */
    return code;
}

/* position: "tally.stock.events/2@991", as the dump's head has it. */
static enum tally_code replay_spooled(struct fsck *fsck, const char *topology, int32_t partition,
        const char *position, struct tally_error *err)
{
    const char *at = strrchr(position, '@');
    int64_t last;
    enum tally_code code =
            at && tally_parse_int(tally_slice_string(at + 1), &last)
                    ? TALLY_OK
                    : tally_error_set(err, TALLY_BAD_RECORD,
                              "the instance does not say which records its rows are made of");

    code = code ? code : fsck_replay_begin(fsck->replay, topology, partition, last, err);
    if (code) {
        return no_replay(fsck, topology, partition, code, err);
    }
    return end_replay(fsck, topology, partition, compare_spooled(fsck, err), err);
}

static enum tally_code open_spool(struct fsck *fsck, struct tally_error *err)
{
    fsck->spool = fsck->replay ? fopen(fsck_replay_spool(fsck->replay), "w") : NULL;
    return fsck->spool || !fsck->replay ? TALLY_OK
                                        : tally_error_set(err, TALLY_STORE_ERROR, "\"%s\": %s",
                                                  fsck_replay_spool(fsck->replay), strerror(errno));
}

static enum tally_code close_spool(struct fsck *fsck, struct tally_error *err)
{
    bool bad = fsck->spool && ferror(fsck->spool);

    bad = (fsck->spool && fclose(fsck->spool)) || bad;
    fsck->spool = NULL;
    return bad ? tally_error_set(err, TALLY_STORE_ERROR, "\"%s\" cannot be written",
                         fsck_replay_spool(fsck->replay))
               : TALLY_OK;
}

static enum tally_code read_task(struct fsck *fsck, const char *topology, int64_t partition,
        struct tally_error *err)
{
    struct ops_answer answer = {.status = 0};
    char path[256];
    enum tally_code code;

    snprintf(path, sizeof path, "/v1/ops/dump?topology=%s&partition=%lld", topology,
            (long long)partition);
    tally_buf_clear(&fsck->line);
    code = open_spool(fsck, err);
    if (code) {
        return code;
    }
    code = ops_stream(OPS_TARGET(&fsck->cli->config), path, TIMEOUT_MS, pass_on, fsck, &answer,
            err);
    if (code == TALLY_OK && answer.status != 200) {
        struct tally_slice reason = ops_problem(&answer);

        code = tally_error_set(err, TALLY_UNAVAILABLE, "%s/%lld: status %d, %.*s", topology,
                (long long)partition, answer.status, (int)reason.len, (const char *)reason.data);
    } else if (code == TALLY_OK && fsck->line.len > 0 && going_on(fsck)) {
        code = tally_error_set(err, TALLY_UNAVAILABLE, "%s/%lld: the dump was cut short", topology,
                (long long)partition);
    }
    if (close_spool(fsck, code ? NULL : err) && !code) {
        code = err->code;
    }
    if (code == TALLY_OK && fsck->replay && going_on(fsck)) {
        code = replay_spooled(fsck, topology, (int32_t)partition, answer.position, err);
    }
    ops_answer_deinit(&answer);
    return code;
}

static enum tally_code read_tasks(struct fsck *fsck, const struct tally_token *root,
        struct tally_error *err)
{
    const struct tally_token *items = tally_token_member(root, "items");
    const struct tally_token *item = items ? items + 1 : NULL;
    enum tally_code code = TALLY_OK;

    for (uint32_t i = 0; items && i < items->count && code == TALLY_OK && going_on(fsck); i++) {
        const struct tally_token *topology = tally_token_member(item, "topology");
        const struct tally_token *partition = tally_token_member(item, "partition");
        char name[64] = "";

        if (topology && partition && topology->type == TALLY_STRING) {
            snprintf(name, sizeof name, "%.*s", (int)topology->string.len,
                    (const char *)topology->string.data);
            code = wanted(fsck, name) ? read_task(fsck, name, partition->integer, err) : TALLY_OK;
        }
        item = tally_token_next(item);
    }
    return code;
}

static enum tally_code ask_tasks(struct fsck *fsck, struct ops_answer *answer,
        struct tally_error *err)
{
    return ops_get(OPS_TARGET(&fsck->cli->config), "/v1/ops/tasks", TIMEOUT_MS, answer, err);
}

static enum tally_code read_instance(struct fsck *fsck, const struct ops_answer *answer,
        struct tally_error *err)
{
    const struct tally_token *root;
    enum tally_refusal refusal;
    struct tally_arena arena;
    enum tally_code code;

    tally_arena_init(&arena, 64 * 1024);
    code = tally_document_parse(tally_buf_bytes(&answer->body), &arena, &root, &refusal, err);
    code = code ? code : read_tasks(fsck, root, err);
    tally_arena_deinit(&arena);
    return code;
}

/* Every task runs, has nothing left to read, and stands where it stood. */
static bool nothing_moved(const struct ops_answer *before, const struct ops_answer *after)
{
    const struct tally_token *a, *b, *item_a, *item_b;
    enum tally_refusal refusal;
    struct tally_arena arena;
    bool still;

    tally_arena_init(&arena, 64 * 1024);
    still = tally_document_parse(tally_buf_bytes(&before->body), &arena, &a, &refusal, NULL) ==
                    TALLY_OK &&
            tally_document_parse(tally_buf_bytes(&after->body), &arena, &b, &refusal, NULL) ==
                    TALLY_OK;
    a = still ? tally_token_member(a, "items") : NULL;
    b = still ? tally_token_member(b, "items") : NULL;
    still = a && b && a->count == b->count;
    item_a = still ? a + 1 : NULL;
    item_b = still ? b + 1 : NULL;
    for (uint32_t i = 0; still && i < a->count; i++) {
        const struct tally_token *state = tally_token_member(item_b, "state");
        const struct tally_token *lag = tally_token_member(item_b, "lag");
        const struct tally_token *from = tally_token_member(item_a, "position");
        const struct tally_token *to = tally_token_member(item_b, "position");

        still = state && state->type == TALLY_STRING &&
                tally_slice_equal(state->string, TALLY_SLICE("RUNNING")) && lag &&
                lag->type == TALLY_INT && lag->integer == 0 && from && to &&
                from->type == to->type &&
                (from->type != TALLY_STRING || tally_slice_equal(from->string, to->string));
        item_a = tally_token_next(item_a);
        item_b = tally_token_next(item_b);
    }
    tally_arena_deinit(&arena);
    return still;
}

/* All rows, to the checker or to standard output. *settled: nothing moved meanwhile. */
static enum tally_code read_state(struct fsck *fsck, bool *settled, struct tally_error *err)
{
    struct ops_answer before, after;
    enum tally_code code;

    if (fsck->dir) {
        return read_directory(fsck, err);
    }
    code = ask_tasks(fsck, &before, err);
    code = code ? code : read_instance(fsck, &before, err);
    if (code == TALLY_OK && fsck->check && going_on(fsck)) {
        code = ask_tasks(fsck, &after, err);
        *settled = code == TALLY_OK && !fsck->topology && nothing_moved(&before, &after);
        ops_answer_deinit(&after);
    }
    ops_answer_deinit(&before);
    return code;
}

static int dump(struct fsck *fsck)
{
    struct tally_error err;
    bool settled = false;
    int status = CLI_OK;
    enum tally_code code = read_state(fsck, &settled, &err);

    if (code) {
        status = cli_error(fsck->cli, &err);
    } else if (fsck->damaged > 0) {
        status = cli_failed(fsck->cli, "%llu rows are damaged", (unsigned long long)fsck->damaged);
    } else if (fsck->gone) {
        status = CLI_FAILED;
    }
    return cli_finish(fsck->cli, status);
}

static void show_difference(void *context, const char *text)
{
    struct fsck *fsck = context;
    char line[640];
    int len = snprintf(line, sizeof line, "%s\n", text);

    if (fsck->shown++ < fsck->show) {
        (void)cli_write(fsck->cli, tally_slice_of(line, (size_t)len));
    }
}

static int report(struct fsck *fsck)
{
    uint64_t differences = fsck_check_differences(fsck->check);
    struct tally_buf text;

    tally_buf_init(&text, 64 * 1024);
    fsck_check_report(fsck->check, &text);
    (void)cli_write(fsck->cli, tally_buf_bytes(&text));
    tally_buf_deinit(&text);
    if (fsck->replay) {
        double seconds = progress_seconds(&fsck->progress);
        int64_t records = fsck_replay_records(fsck->replay);

        fprintf(stderr, "replayed %lld records of %llu tasks in %.1f s, %lld records/s\n",
                (long long)records, (unsigned long long)fsck->replayed, seconds,
                (long long)((double)records / seconds));
    }
    if (differences > 0) {
        return cli_failed(fsck->cli, "%llu differences%s", (unsigned long long)differences,
                fsck->shown > fsck->show ? ", of which the first are shown (--show)" : "");
    }
    return fsck->undone > 0 ? CLI_PARTIAL : CLI_OK;
}

static int check(struct fsck *fsck, bool settled, bool replays)
{
    struct fsck_check_options options = {.differs = show_difference, .context = fsck};
    struct tally_error err;
    enum tally_code code;
    int status;

    fsck->check = fsck_check_create(&options);
    if (!replays) {
        fprintf(stderr, "I9 is not checked (--no-replay)\n");
    } else if (open_replay(fsck, &err)) {
        fsck->undone++;
        (void)cli_failed(fsck->cli, "I9 is not checked: %s: %s", tally_code_name(err.code),
                err.message);
    }
    code = read_state(fsck, &settled, &err);
    if (code == TALLY_OK && fsck->code) {
        code = fsck->code;
        err = fsck->err;
    }
    if (code == TALLY_AGAIN && cli_interrupted()) {
        status = CLI_INTERRUPTED;
    } else if (code) {
        status = cli_error(fsck->cli, &err);
    } else {
        fsck_check_finish(fsck->check, settled);
        status = report(fsck);
    }
    close_replay(fsck);
    fsck_check_destroy(fsck->check);
    return cli_finish(fsck->cli, status);
}

int cmd_fsck(int argc, char **argv)
{
    struct fsck fsck = {.show = 20};
    bool dumping = false, settled = false, no_replay_wanted = false;
    const struct cli_option options[] = {
            CLI_OPT_FLAG(0, "dump", &dumping, "print every row, check nothing"),
            CLI_OPT_TEXT(0, "state", &fsck.dir, "DIR", "read the state of a stopped instance"),
            CLI_OPT_TEXT('t', "topology", &fsck.topology, "NAME", "only this topology"),
            CLI_OPT_FLAG(0, "settled", &settled,
                    "with --state: no command was waiting, so nothing is on its way"),
            CLI_OPT_FLAG(0, "no-replay", &no_replay_wanted,
                    "leave I9 out: do not read the logs again"),
            CLI_OPT_BROKERS, CLI_OPT_TOKEN,
            CLI_OPT_INT('n', "show", &fsck.show, 0, 1000000, "N", "differences to print (20)"),
            CLI_OPT_END};
    struct cli cli = {.verb = "fsck",
            .usage = "fsck [--dump] [--state DIR] [options]",
            .options = options,
            .about = "Proves that the state is sound: I1-I8 of docs/domain.md from the rows of all "
                     "stores, I9\n"
                     "by building the rows once more from events and changelogs, in a folder of "
                     "the state\n"
                     "directory, and comparing. Asks the instance on http.listen, or reads the "
                     "directory of a\n"
                     "stopped one. What waits for a message between topologies is a difference "
                     "only where none\n"
                     "is on its way: an instance that stands still, or --settled. With --dump: all "
                     "rows as\n"
                     "NDJSON, sorted; two dumps of the same state are the same bytes. Exit status "
                     "1: something\n"
                     "differs, a row is damaged, or a task could not be read; 3: nothing differs, "
                     "but not all\n"
                     "of I9 could be checked (no broker, a log that begins too late).",
            .examples =
                    "  tally fsck\n"
                    "  tally fsck --state ./state --settled\n"
                    "  tally fsck --no-replay\n"
                    "  tally fsck --dump | sha256sum\n"
                    "  tally fsck --dump --state ./state | jq -c 'select(.store == \"level\")'\n"};
    int status = cli_begin(&cli, argc, argv);

    fsck.cli = &cli;
    if (status == CLI_CONTINUE && settled && !fsck.dir) {
        status = cli_usage(&cli, "--settled needs --state: an instance is asked whether it stands "
                                 "still");
    }
    if (status == CLI_CONTINUE) {
        tally_buf_init(&fsck.line, LINE_MAX_BYTES);
        if (!dumping) {
            cli_catch_interrupts();
            tally_log_init(TALLY_LOG_ERROR, TALLY_LOG_LOGFMT);
        }
        status = dumping ? dump(&fsck) : check(&fsck, settled, !no_replay_wanted);
        tally_buf_deinit(&fsck.line);
    }
    cli_end(&cli);
    return status;
}
