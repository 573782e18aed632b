/* apps/diff_side.c - see the header. */
#include "apps/diff_side.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/mem.h"
#include "http/row_line.h"

#define LINE_MAX_BYTES   (16 * 1024 * 1024)
#define ARENA_BYTES      (64 * 1024)
#define ARENA_KEEP_BYTES (1024 * 1024)
#define TIMEOUT_MS       60000
#define HTTP             "http://"

static const uint8_t first_store[] = {1}; /* byte 0 is the store's own */

static struct tally_slice text_of(const struct tally_token *map, const char *name)
{
    const struct tally_token *value = tally_token_member(map, name);

    return value && value->type == TALLY_STRING ? value->string : TALLY_NONE;
}

static bool wanted(const struct diff_filter *filter, const struct state_task *task)
{
    return (!filter->topology || strcmp(filter->topology, task->topology) == 0) &&
           (filter->partition < 0 || filter->partition == task->partition);
}

static struct diff_task *add_task(struct diff_side *side, const struct state_task *task)
{
    struct diff_task *added;

    side->tasks = tally_realloc(side->tasks, (side->count + 1) * sizeof *side->tasks);
    added = &side->tasks[side->count++];
    *added = (struct diff_task){.task = *task};
    return added;
}

struct diff_task *diff_side_find(const struct diff_side *side, const struct state_task *task)
{
    for (size_t i = 0; i < side->count; i++) {
        if (side->tasks[i].task.partition == task->partition &&
                strcmp(side->tasks[i].task.topology, task->topology) == 0) {
            return &side->tasks[i];
        }
    }
    return NULL;
}

static int by_name(const void *left, const void *right)
{
    const struct diff_task *a = left, *b = right;
    int order = strcmp(a->task.topology, b->task.topology);

    return order ? order
                 : (a->task.partition > b->task.partition) -
                           (a->task.partition < b->task.partition);
}

/* --- lines ------------------------------------------------------------------------------------ */

/* root: until the next line. *task: of whom the line is. */
static enum tally_code parse(struct diff_side *side, struct tally_slice line,
        const struct tally_token **root, struct state_task *task, struct tally_error *err)
{
    const struct tally_token *partition;
    enum tally_refusal refusal;
    struct tally_slice topology;

    tally_arena_reset(&side->arena, ARENA_KEEP_BYTES);
    if (tally_document_parse(line, &side->arena, root, &refusal, err)) {
        return tally_error_set(err, TALLY_CONFIG,
                "\"%.80s\":%ld is no line of JSON: expected rows of a dump (tally fsck --dump, "
                "tally replay --dump FILE) or hashes (tally replay -o json)",
                side->name, side->line);
    }
    partition = tally_token_member(*root, "partition");
    topology = text_of(*root, "topology");
    if (topology.len == 0 || topology.len >= sizeof task->topology || !partition ||
            partition->type != TALLY_INT || partition->integer < 0 ||
            partition->integer > INT32_MAX) {
        return tally_error_set(err, TALLY_CONFIG,
                "\"%.80s\":%ld is of no task: expected a row of a dump, as in "
                "{\"topology\":\"stock\",\"partition\":2,\"store\":\"level\",...}, or a hash",
                side->name, side->line);
    }
    (void)snprintf(task->topology, sizeof task->topology, "%.*s", (int)topology.len,
            (const char *)topology.data);
    task->partition = (int32_t)partition->integer;
    return TALLY_OK;
}

static enum tally_code take_hash(struct diff_side *side, const struct tally_token *root,
        const struct state_task *task, const struct diff_filter *filter, struct tally_error *err)
{
    struct tally_slice hash = text_of(root, "hash"), position = text_of(root, "position");
    const struct tally_token *rows = tally_token_member(root, "rows");
    struct diff_task *added;

    if (hash.len != TALLY_DIGEST_LEN || position.len >= sizeof added->position ||
            diff_side_find(side, task)) {
        return tally_error_set(err, TALLY_CONFIG,
                "\"%.80s\":%ld is no hash of a task of its own: expected lines of tally replay -o "
                "json",
                side->name, side->line);
    }
    if (!wanted(filter, task)) {
        return TALLY_OK;
    }
    added = add_task(side, task);
    (void)snprintf(added->hash, sizeof added->hash, "%.*s", (int)hash.len, (const char *)hash.data);
    (void)snprintf(added->position, sizeof added->position, "%.*s", (int)position.len,
            (const char *)position.data);
    added->rows =
            rows && rows->type == TALLY_INT && rows->integer >= 0 ? (uint64_t)rows->integer : 0;
    return TALLY_OK;
}

/* A row of a dump from `begin` to `end`: its task begins with it, or goes on. *last: whose the row
 * before it was, wanted or not. */
static enum tally_code take_row(struct diff_side *side, const struct state_task *task,
        const struct diff_filter *filter, struct state_task *last, long begin, long end,
        struct tally_error *err)
{
    struct diff_task *at = diff_side_find(side, task);
    bool goes_on =
            last->partition == task->partition && strcmp(last->topology, task->topology) == 0;

    *last = *task;
    if (!wanted(filter, task)) {
        return TALLY_OK;
    }
    if (at && !goes_on) {
        return tally_error_set(err, TALLY_CONFIG,
                "\"%.80s\":%ld is of %s/%d again, whose rows have ended before: a dump has the "
                "rows of a task together",
                side->name, side->line, task->topology, (int)task->partition);
    }
    if (!at) {
        at = add_task(side, task);
        at->begin = begin;
        at->line = side->line;
    }
    at->end = end;
    return TALLY_OK;
}

static enum tally_code scan_file(struct diff_side *side, const struct diff_filter *filter,
        struct tally_error *err)
{
    struct state_task last = {.partition = -1};
    enum tally_code code = TALLY_OK;
    long begin = 0;
    ssize_t len;

    side->kind = DIFF_DUMP;
    while (!code && (len = getline(&side->text, &side->text_size, side->file)) > 0) {
        const struct tally_token *root;
        struct state_task task;
        bool is_hash;

        side->line++;
        code = parse(side, tally_slice_of(side->text, (size_t)len), &root, &task, err);
        if (code) {
            return code;
        }
        is_hash = tally_token_member(root, "hash") != NULL;
        if (side->line == 1 && is_hash) {
            side->kind = DIFF_HASHES;
        }
        if (is_hash != (side->kind == DIFF_HASHES) || (!is_hash && !text_of(root, "store").data)) {
            return tally_error_set(err, TALLY_CONFIG,
                    "\"%.80s\":%ld is neither a row of a dump nor, like the lines before it, a "
                    "hash",
                    side->name, side->line);
        }
        code = is_hash ? take_hash(side, root, &task, filter, err)
                       : take_row(side, &task, filter, &last, begin, begin + len, err);
        begin += len;
    }
    if (!code && ferror(side->file)) {
        code = tally_error_set(err, TALLY_SYSTEM, "\"%.80s\" cannot be read: %s", side->name,
                strerror(errno));
    }
    return code;
}

/* --- what it is ------------------------------------------------------------------------------- */

static enum tally_code open_file(struct diff_side *side, const struct diff_filter *filter,
        struct tally_error *err)
{
    side->file = strcmp(side->name, "-") == 0 ? tmpfile() : fopen(side->name, "r");
    if (!side->file) {
        return tally_error_set(err, TALLY_NOT_FOUND, "\"%.120s\": %s", side->name, strerror(errno));
    }
    if (strcmp(side->name, "-") == 0) {
        ssize_t len;

        while ((len = getline(&side->text, &side->text_size, stdin)) > 0) {
            if (fwrite(side->text, (size_t)len, 1, side->file) != 1) {
                return tally_error_set(err, TALLY_SYSTEM, "a temporary file: %s", strerror(errno));
            }
        }
        rewind(side->file);
    }
    return scan_file(side, filter, err);
}

/* --- a running instance ----------------------------------------------------------------------- */

static bool spool(void *context, struct tally_slice bytes)
{
    struct diff_side *side = context;

    return bytes.len == 0 || fwrite(bytes.data, bytes.len, 1, side->file) == 1;
}

/* An instance knows the others' tasks too; what it cannot answer itself is refused here. */
static enum tally_code spool_task(struct diff_side *side, struct ops_target target,
        const struct state_task *task, struct tally_error *err)
{
    struct diff_task *added = add_task(side, task);
    struct ops_answer answer = {.status = 0};
    char path[400];
    enum tally_code code;

    (void)snprintf(path, sizeof path, "/v1/ops/dump?topology=%s&partition=%d", task->topology,
            (int)task->partition);
    added->begin = ftell(side->file);
    code = ops_stream(target, path, TIMEOUT_MS, spool, side, &answer, err);
    if (!code && answer.status != 200) {
        struct tally_slice reason = ops_problem(&answer);

        code = tally_error_set(err, TALLY_UNAVAILABLE, "%s/%d of %.60s: status %d, %.*s",
                task->topology, (int)task->partition, side->name, answer.status, (int)reason.len,
                (const char *)reason.data);
    }
    if (!code && (fflush(side->file) || ferror(side->file))) {
        code = tally_error_set(err, TALLY_SYSTEM, "a temporary file: %s", strerror(errno));
    }
    added->end = ftell(side->file);
    (void)snprintf(added->position, sizeof added->position, "%s", answer.position);
    if (strlen(added->position) > 3 &&
            strcmp(added->position + strlen(added->position) - 3, "@-1") == 0) {
        added->position[0] = '\0';
    }
    ops_answer_deinit(&answer);
    return code;
}

static enum tally_code spool_tasks(struct diff_side *side, struct ops_target target,
        const struct tally_token *root, const struct diff_filter *filter, struct tally_error *err)
{
    const struct tally_token *items = tally_token_member(root, "items");
    const struct tally_token *item = items ? items + 1 : NULL;
    enum tally_code code = TALLY_OK;

    for (uint32_t i = 0; items && i < items->count && !code; i++) {
        const struct tally_token *partition = tally_token_member(item, "partition");
        struct tally_slice topology = text_of(item, "topology");
        struct state_task task;

        if (topology.len > 0 && topology.len < sizeof task.topology && partition &&
                partition->type == TALLY_INT) {
            (void)snprintf(task.topology, sizeof task.topology, "%.*s", (int)topology.len,
                    (const char *)topology.data);
            task.partition = (int32_t)partition->integer;
            code = wanted(filter, &task) ? spool_task(side, target, &task, err) : TALLY_OK;
        }
        item = tally_token_next(item);
    }
    return code;
}

static enum tally_code open_instance(struct diff_side *side, const char *token,
        const struct diff_filter *filter, struct tally_error *err)
{
    char *address = tally_copy_string(side->name + strlen(HTTP));
    struct ops_target target = {.address = address, .token = token};
    const struct tally_token *root;
    enum tally_refusal refusal;
    struct ops_answer answer;
    enum tally_code code;

    address[strcspn(address, "/")] = '\0';
    side->kind = DIFF_INSTANCE;
    side->file = tmpfile();
    if (!side->file) {
        tally_free(address);
        return tally_error_set(err, TALLY_SYSTEM, "a temporary file: %s", strerror(errno));
    }
    code = ops_get(target, "/v1/ops/tasks", TIMEOUT_MS, &answer, err);
    if (!code && answer.status != 200) {
        struct tally_slice reason = ops_problem(&answer);

        code = tally_error_set(err, TALLY_UNAVAILABLE, "%.80s: status %d, %.*s", side->name,
                answer.status, (int)reason.len, (const char *)reason.data);
    }
    code = code ? code
                : tally_document_parse(tally_buf_bytes(&answer.body), &side->arena, &root, &refusal,
                          err);
    code = code ? code : spool_tasks(side, target, root, filter, err);
    ops_answer_deinit(&answer);
    tally_free(address);
    return code;
}

/* --- a directory ------------------------------------------------------------------------------ */

static enum tally_code open_directory(struct diff_side *side, const struct diff_filter *filter,
        struct tally_error *err)
{
    struct state_task *tasks = NULL;
    size_t count = 0;
    enum tally_code code = state_reader_tasks(side->name, &tasks, &count, err);

    side->kind = DIFF_DIRECTORY;
    for (size_t i = 0; i < count && !code; i++) {
        struct tally_positions positions;

        if (!wanted(filter, &tasks[i])) {
            continue;
        }
        code = state_reader_positions(side->name, &tasks[i], &positions, err);
        if (!code) {
            struct diff_task *added = add_task(side, &tasks[i]);

            if (positions.out_last >= 0) {
                (void)snprintf(added->position, sizeof added->position, "@%lld",
                        (long long)positions.out_last);
            }
        }
    }
    tally_free(tasks);
    return code;
}

enum tally_code diff_side_open(struct diff_side *side, const char *name, const char *token,
        const struct diff_filter *filter, struct tally_error *err)
{
    struct stat stat_buf;
    enum tally_code code;

    *side = (struct diff_side){.name = name};
    tally_arena_init(&side->arena, ARENA_BYTES);
    tally_buf_init(&side->buf, LINE_MAX_BYTES);
    tally_buf_init(&side->last_key, TALLY_KEY_MAX);
    if (strncmp(name, HTTP, strlen(HTTP)) == 0) {
        code = open_instance(side, token, filter, err);
    } else if (strstr(name, "://")) {
        code = tally_error_set(err, TALLY_CONFIG,
                "\"%.120s\": expected a file, a directory or an instance, as in "
                "http://127.0.0.1:8080 (of TLS a proxy takes care)",
                name);
    } else if (stat(name, &stat_buf) == 0 && S_ISDIR(stat_buf.st_mode)) {
        code = open_directory(side, filter, err);
    } else {
        code = open_file(side, filter, err);
    }
    if (!code && side->count > 0) {
        qsort(side->tasks, side->count, sizeof *side->tasks, by_name);
    }
    return code;
}

void diff_side_close(struct diff_side *side)
{
    diff_side_end(side);
    if (side->file) {
        fclose(side->file);
    }
    free(side->text); /* getline's */
    tally_free(side->tasks);
    tally_buf_deinit(&side->buf);
    tally_buf_deinit(&side->last_key);
    tally_arena_deinit(&side->arena);
}

/* --- rows ------------------------------------------------------------------------------------- */

enum tally_code diff_side_begin(struct diff_side *side, const struct diff_task *task,
        struct tally_error *err)
{
    enum tally_code code;

    side->reading = task;
    tally_buf_clear(&side->last_key);
    if (side->kind != DIFF_DIRECTORY) {
        side->at = task->begin;
        side->line = task->line - 1;
        return fseek(side->file, task->begin, SEEK_SET) == 0
                       ? TALLY_OK
                       : tally_error_set(err, TALLY_SYSTEM, "\"%.120s\": %s", side->name,
                                 strerror(errno));
    }
    code = tally_store_open_read_only(side->name, task->task.topology, task->task.partition,
            &side->store, err);
    if (!code) {
        side->view = tally_store_view(side->store);
        side->rows =
                tally_view_iterate(side->view, tally_slice_of(first_store, 1), TALLY_NONE, false);
    }
    return code;
}

static enum tally_code next_of_directory(struct diff_side *side, struct diff_row *row,
        struct tally_error *err)
{
    struct tally_slice value;
    enum tally_code code = TALLY_OK;

    if (!tally_iterator_next(side->rows, &side->key_bytes, &value, &code, err)) {
        return code ? code : TALLY_NOT_FOUND;
    }
    tally_buf_clear(&side->buf);
    (void)tally_row_line_write(side->reading->task.topology, side->reading->task.partition,
            side->key_bytes, value, &side->buf);
    row->line = tally_slice_of(side->buf.data, side->buf.len - 1);
    return TALLY_OK;
}

enum tally_code diff_side_next(struct diff_side *side, struct diff_row *row,
        struct tally_error *err)
{
    ssize_t len;

    *row = (struct diff_row){.line = TALLY_NONE};
    if (side->kind == DIFF_DIRECTORY) {
        return next_of_directory(side, row, err);
    }
    if (side->at >= side->reading->end) {
        return TALLY_NOT_FOUND;
    }
    len = getline(&side->text, &side->text_size, side->file);
    if (len <= 0) {
        return tally_error_set(err, TALLY_SYSTEM, "\"%.120s\" cannot be read", side->name);
    }
    side->at += len;
    side->line++;
    row->line = tally_slice_of(side->text, (size_t)len - (side->text[len - 1] == '\n' ? 1 : 0));
    return TALLY_OK;
}

enum tally_code diff_side_key(struct diff_side *side, struct diff_row *row, struct tally_error *err)
{
    const struct tally_token *root;
    enum tally_store_id store;
    struct state_task task;
    char name[64];
    enum tally_code code;

    if (side->kind == DIFF_DIRECTORY) {
        row->key = side->key_bytes;
        return TALLY_OK;
    }
    code = parse(side, row->line, &root, &task, err);
    if (code) {
        return code;
    }
    (void)snprintf(name, sizeof name, "%.*s", (int)text_of(root, "store").len,
            (const char *)text_of(root, "store").data);
    if (!tally_store_find(task.topology, name, &store) ||
            tally_key_parse(store, text_of(root, "key"), &side->key, err)) {
        return tally_error_set(err, TALLY_BAD_RECORD,
                "\"%.80s\":%ld has a store or a key that this release does not know", side->name,
                side->line);
    }
    row->key = tally_key_bytes(&side->key);
    if (side->last_key.len > 0 &&
            tally_slice_compare(row->key, tally_buf_bytes(&side->last_key)) <= 0) {
        return tally_error_set(err, TALLY_BAD_RECORD,
                "\"%.80s\":%ld comes before the row above it: the rows of a dump are in the order "
                "of their keys",
                side->name, side->line);
    }
    tally_buf_clear(&side->last_key);
    tally_buf_slice(&side->last_key, row->key);
    return TALLY_OK;
}

void diff_side_end(struct diff_side *side)
{
    if (side->rows) {
        tally_iterator_destroy(side->rows);
        tally_view_unref(side->view);
    }
    if (side->store) {
        tally_store_close(side->store, false);
    }
    side->rows = NULL;
    side->store = NULL;
}

static enum tally_code hash_task(struct diff_side *side, struct diff_task *task,
        struct tally_error *err)
{
    struct tally_digest *digest = tally_digest_create();
    struct diff_row row;
    enum tally_code code = diff_side_begin(side, task, err);

    while (!code && (code = diff_side_next(side, &row, err)) == TALLY_OK) {
        tally_digest_add(digest, row.line);
        tally_digest_add(digest, TALLY_SLICE("\n"));
        task->rows++;
    }
    tally_digest_read(digest, task->hash);
    tally_digest_destroy(digest);
    diff_side_end(side);
    return code == TALLY_NOT_FOUND ? TALLY_OK : code;
}

enum tally_code diff_side_hash(struct diff_side *side, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; i < side->count && side->kind != DIFF_HASHES && !code; i++) {
        code = hash_task(side, &side->tasks[i], err);
    }
    return code;
}
