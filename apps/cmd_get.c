/* apps/cmd_get.c - one row of a store, from a running instance or a directory. */
#include "apps/cmd.h"

#include <stdio.h>

#include "apps/ops_client.h"
#include "apps/state_reader.h"
#include "engine/base/mem.h"
#include "http/row_line.h"
#include "schemas/serde.h"
#include "topologies/registry.h"

#define ROW_MAX    (16 * 1024 * 1024)
#define TIMEOUT_MS 10000

enum { FORM_TEXT, FORM_JSON };

struct get {
    struct cli *cli;
    const char *topology; /* NULL: any that has the store */
    const char *store, *key;
    const char *dir; /* NULL: a running instance */
    int form;
    struct tally_arena arena;
    struct tally_buf line; /* the row as tally_row_line_write has it; empty: not found */
};

/* --- a directory ------------------------------------------------------------------------------ */

static bool take_row(void *context, const struct state_task *task, struct tally_slice key,
        struct tally_slice value)
{
    struct get *get = context;

    (void)tally_row_line_write(task->topology, task->partition, key, value, &get->line);
    return false;
}

static enum tally_code find_in_directory(struct get *get, const char *topology,
        enum tally_store_id store, struct tally_error *err)
{
    struct state_task *tasks = NULL;
    struct tally_key key, above;
    size_t count = 0;
    enum tally_code code = tally_key_parse(store, tally_slice_string(get->key), &key, err);

    if (code == TALLY_OK) {
        code = state_reader_tasks(get->dir, &tasks, &count, err);
    }
    above = key;
    tally_key_u8(&above, 0); /* the smallest key above this one */
    for (size_t i = 0; i < count && code == TALLY_OK && get->line.len == 0; i++) {
        if (strcmp(tasks[i].topology, topology) == 0) {
            code = state_reader_scan(get->dir, &tasks[i], tally_key_bytes(&key),
                    tally_key_bytes(&above), take_row, get, err);
        }
    }
    tally_free(tasks);
    return code;
}

/* --- a running instance ----------------------------------------------------------------------- */

/* Writes the item as the same line that a directory gives. */
static void take_item(struct get *get, const char *topology, const struct tally_token *item)
{
    const struct tally_token *value = tally_token_member(item, "value");
    struct tally_writer writer;

    tally_write_begin(&writer, &get->line, TALLY_FORMAT_JSON);
    tally_write_map(&writer, 5);
    tally_write_name(&writer, "topology");
    tally_write_string(&writer, tally_slice_string(topology));
    tally_write_name(&writer, "partition");
    tally_write_token(&writer, tally_token_member(item, "partition"));
    tally_write_name(&writer, "store");
    tally_write_string(&writer, tally_slice_string(get->store));
    tally_write_name(&writer, "key");
    tally_write_string(&writer, tally_slice_string(get->key));
    tally_write_name(&writer, "value");
    tally_write_token(&writer, value);
    tally_buf_byte(&get->line, '\n');
}

/* Looks through one page; *cursor: of the next, empty after the last. */
static void search_page(struct get *get, const char *topology, const struct tally_token *root,
        struct tally_slice *cursor)
{
    const struct tally_token *items = tally_token_member(root, "items");
    const struct tally_token *next = tally_token_member(root, "next_cursor");
    const struct tally_token *item = items ? items + 1 : NULL;

    for (uint32_t i = 0; items && i < items->count; i++) {
        const struct tally_token *key = tally_token_member(item, "key");

        if (key && key->type == TALLY_STRING &&
                tally_slice_equal(key->string, tally_slice_string(get->key)) &&
                tally_token_member(item, "partition") && tally_token_member(item, "value")) {
            take_item(get, topology, item);
            break;
        }
        item = tally_token_next(item);
    }
    *cursor = next && next->type == TALLY_STRING ? tally_arena_copy(&get->arena, next->string)
                                                 : TALLY_NONE;
}

static enum tally_code ask_page(struct get *get, const char *topology, struct tally_slice *cursor,
        struct tally_error *err)
{
    const struct tally_token *root;
    enum tally_refusal refusal;
    struct ops_answer answer;
    struct tally_buf path;
    enum tally_code code;

    tally_buf_init(&path, 16 * 1024);
    tally_buf_format(&path, "/v1/ops/stores/%s/%s?limit=200&prefix=", topology, get->store);
    ops_encode(&path, tally_slice_string(get->key));
    if (cursor->len > 0) {
        tally_buf_string(&path, "&cursor=");
        ops_encode(&path, *cursor);
    }
    tally_buf_byte(&path, '\0');
    code = ops_get(OPS_TARGET(&get->cli->config), (const char *)path.data, TIMEOUT_MS, &answer,
            err);
    *cursor = TALLY_NONE;
    if (code == TALLY_OK && answer.status == 200) {
        code = tally_document_parse(tally_buf_bytes(&answer.body), &get->arena, &root, &refusal,
                err);
        if (code == TALLY_OK) {
            search_page(get, topology, root, cursor);
        }
    } else if (code == TALLY_OK && answer.status != 404) {
        struct tally_slice reason = ops_problem(&answer);

        code = tally_error_set(err, TALLY_UNAVAILABLE, "status %d: %.*s", answer.status,
                (int)reason.len, (const char *)reason.data);
    }
    ops_answer_deinit(&answer);
    tally_buf_deinit(&path);
    return code;
}

static enum tally_code find_in_instance(struct get *get, const char *topology,
        struct tally_error *err)
{
    struct tally_slice cursor = TALLY_NONE;
    enum tally_code code;

    do {
        code = ask_page(get, topology, &cursor, err);
    } while (code == TALLY_OK && cursor.len > 0 && get->line.len == 0);
    return code;
}

/* --- output ----------------------------------------------------------------------------------- */

static void print_text(struct get *get, const struct tally_token *row)
{
    const struct tally_token *value = tally_token_member(row, "value");
    const struct tally_token *member = value ? value + 1 : NULL;
    struct tally_buf out;

    tally_buf_init(&out, ROW_MAX);
    for (uint32_t i = 0; value && value->type == TALLY_MAP && i < value->count; i++) {
        tally_buf_format(&out, "%-20.*s ", (int)member->string.len,
                (const char *)member->string.data);
        member++;
        if (member->type == TALLY_STRING) {
            tally_buf_slice(&out, member->string);
        } else {
            tally_token_write(member, TALLY_FORMAT_JSON, &out);
        }
        tally_buf_byte(&out, '\n');
        member = tally_token_next(member);
    }
    cli_write(get->cli, tally_buf_bytes(&out));
    tally_buf_deinit(&out);
}

static int print(struct get *get)
{
    const struct tally_token *row;
    enum tally_refusal refusal;
    struct tally_error err;

    if (get->form == FORM_JSON) {
        cli_write(get->cli, tally_buf_bytes(&get->line));
        return CLI_OK;
    }
    if (tally_document_parse(tally_buf_bytes(&get->line), &get->arena, &row, &refusal, &err)) {
        return cli_error(get->cli, &err);
    }
    print_text(get, row);
    return CLI_OK;
}

static int find(struct get *get)
{
    bool known = false;
    struct tally_error err;

    for (const char *const *name = tally_registry_names(); *name && get->line.len == 0; name++) {
        enum tally_store_id store;
        enum tally_code code;

        if ((get->topology && strcmp(get->topology, *name) != 0) ||
                !tally_store_find(*name, get->store, &store)) {
            continue;
        }
        known = true;
        code = get->dir ? find_in_directory(get, *name, store, &err)
                        : find_in_instance(get, *name, &err);
        if (code) {
            return cli_error(get->cli, &err);
        }
    }
    if (!known) {
        return cli_usage(get->cli, "there is no store \"%s\": \"tally describe\" lists them",
                get->cli->args[0]);
    }
    if (get->line.len == 0) {
        return cli_failed(get->cli, "%s has no row \"%s\"", get->cli->args[0], get->key);
    }
    return print(get);
}

int cmd_get(int argc, char **argv)
{
    static const char *const forms[] = {[FORM_TEXT] = "text", [FORM_JSON] = "json", NULL};
    struct get get = {.form = FORM_TEXT};
    const struct cli_option options[] = {
            CLI_OPT_CHOICE('o', "output", &get.form, forms, "FORM", "text (default) or json"),
            CLI_OPT_TEXT(0, "state", &get.dir, "DIR", "read the state of a stopped instance"),
            CLI_OPT_TOKEN, CLI_OPT_END};
    struct cli cli = {.verb = "get",
            .usage = "get [TOPOLOGY/]STORE KEY [options]",
            .options = options,
            .args_min = 2,
            .args_max = 2,
            .about = "Prints one row of a store; the parts of a key are joined by dots. Asks the\n"
                     "instance on http.listen, or reads the directory of a stopped one.",
            .examples = "  tally get level TS-RED-M.AMS1\n"
                        "  tally get ledger TS-RED-M.AMS1.3 -o json | jq .value.deltas\n"
                        "  tally get stock/dedup c-1.TS-RED-M --state ./state\n"};
    char topology[64];
    int status = cli_begin(&cli, argc, argv);

    get.cli = &cli;
    tally_arena_init(&get.arena, 64 * 1024);
    tally_buf_init(&get.line, ROW_MAX);
    if (status == CLI_CONTINUE) {
        const char *slash = strchr(cli.args[0], '/');

        get.store = slash ? slash + 1 : cli.args[0];
        get.key = cli.args[1];
        if (slash) {
            snprintf(topology, sizeof topology, "%.*s", (int)(slash - cli.args[0]), cli.args[0]);
            get.topology = topology;
        }
        status = cli_finish(&cli, find(&get));
    }
    tally_arena_deinit(&get.arena);
    tally_buf_deinit(&get.line);
    cli_end(&cli);
    return status;
}
