/* apps/cmd_explain.c - what made a number, from a running instance; or the page of a code. */
#include "apps/cmd.h"

#include <stdio.h>

#include "apps/explain_text.h"
#include "apps/ops_client.h"
#include "engine/base/mem.h"
#include "http/problem_page.h"
#include "schemas/stock_records.h"

#define PAGE_MAX      (64 * 1024)
#define CODES_MAX     512
#define OUT_MAX       (64 * 1024 * 1024)
#define PATH_MAX_SIZE (16 * 1024)
#define ITEMS_MAX     100 /* of a page: what a document may have, many times over */
#define TIMEOUT_MS    30000

enum { FORM_TEXT, FORM_JSON };

struct explain {
    struct cli *cli;
    const char *sku, *warehouse, *as_of;
    int64_t limit;
    int bucket; /* -1: all */
    bool all;
    int form;
    struct tally_arena arena;
    struct tally_buf out;
    struct ops_answer answer;
};

/* --- codes ------------------------------------------------------------------------------------ */

static const char *nearest_code(const char *code)
{
    const char *codes[CODES_MAX];
    size_t count = 0;

    for (const char *at; (at = tally_problem_page_code(count)); count++) {
        tally_assert(count < CODES_MAX);
        codes[count] = at;
    }
    return tally_config_nearest(code, codes, count);
}

/* false: it is no code. */
static bool print_code(const struct cli *cli, const char *code, int form)
{
    struct tally_buf page;
    bool found;

    tally_buf_init(&page, PAGE_MAX);
    found = tally_problem_page_write(code, form == FORM_JSON, &page);
    if (found) {
        cli_write(cli, tally_buf_bytes(&page));
    }
    tally_buf_deinit(&page);
    return found;
}

/* --- the instance ----------------------------------------------------------------------------- */

static int refused(struct explain *explain)
{
    struct tally_slice reason = ops_problem(&explain->answer);
    bool like_code = !explain->warehouse &&
                     strspn(explain->sku, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == strlen(explain->sku);
    const char *nearest = like_code ? nearest_code(explain->sku) : NULL;

    if (explain->answer.status == 404 && nearest) {
        return cli_failed(explain->cli, "%.*s, and no code: did you mean \"%s\"?", (int)reason.len,
                (const char *)reason.data, nearest);
    }
    return cli_failed(explain->cli, "status %d: %.*s", explain->answer.status, (int)reason.len,
            (const char *)reason.data);
}

/* Asks for the path, which is not ended by NUL yet. CLI_OK: *root is in the arena. */
static int ask(struct explain *explain, struct tally_buf *path, const struct tally_token **root)
{
    struct tally_error err;
    enum tally_refusal refusal;
    enum tally_code code;

    tally_buf_byte(path, '\0');
    ops_answer_deinit(&explain->answer);
    code = ops_get(OPS_TARGET(&explain->cli->config), (const char *)path->data, TIMEOUT_MS,
            &explain->answer, &err);
    if (!code && explain->answer.status != 200) {
        return refused(explain);
    }
    tally_arena_reset(&explain->arena, 0);
    if (!code) {
        code = tally_document_parse(tally_buf_bytes(&explain->answer.body), &explain->arena, root,
                &refusal, &err);
    }
    return code ? cli_error(explain->cli, &err) : CLI_OK;
}

static void put_path(const struct explain *explain, const char *warehouse, int64_t limit,
        struct tally_slice cursor, struct tally_buf *path)
{
    tally_buf_string(path, "/v1/stock/");
    ops_encode(path, tally_slice_string(explain->sku));
    if (!warehouse) {
        return;
    }
    tally_buf_byte(path, '/');
    ops_encode(path, tally_slice_string(warehouse));
    tally_buf_format(path, "/explain?limit=%lld", (long long)limit);
    if (explain->bucket >= 0) {
        tally_buf_format(path, "&bucket=%s", stock_number_names[explain->bucket]);
    }
    if (explain->as_of) {
        tally_buf_string(path, "&as_of=");
        ops_encode(path, tally_slice_string(explain->as_of));
    }
    if (cursor.len > 0) {
        tally_buf_string(path, "&cursor=");
        ops_encode(path, cursor);
    }
}

static void print_notes(const struct tally_token *page)
{
    const struct tally_token *notes = tally_token_member(page, "notes");

    for (uint32_t i = 0; notes && i < notes->count; i++) {
        fflush(stdout);
        fprintf(stderr, "tally explain: %.*s\n", (int)notes[1 + i].string.len,
                (const char *)notes[1 + i].string.data);
    }
}

static uint32_t count_items(const struct tally_token *page)
{
    const struct tally_token *items = tally_token_member(page, "items");

    return items ? items->count : 0;
}

static bool print_page(struct explain *explain, const struct tally_token *page, bool first)
{
    print_notes(page);
    if (explain->form == FORM_JSON) {
        return cli_write(explain->cli, tally_buf_bytes(&explain->answer.body)) &&
               cli_write(explain->cli, TALLY_SLICE("\n"));
    }
    tally_buf_clear(&explain->out);
    if (first) {
        explain_text_level(page, &explain->out);
        tally_buf_string(&explain->out, count_items(page) > 0 ? "\n" : "");
    }
    explain_text_items(page, &explain->out);
    return cli_write(explain->cli, tally_buf_bytes(&explain->out));
}

static int end_level(struct explain *explain, const struct explain_text_check *check, bool more)
{
    tally_buf_clear(&explain->out);
    if (explain->form == FORM_TEXT) {
        tally_buf_string(&explain->out,
                more ? "        older entries: --all or --limit\n\n" : "\n");
        explain_text_verdict(check, &explain->out);
        cli_write(explain->cli, tally_buf_bytes(&explain->out));
    }
    return check->broken ? CLI_FAILED : CLI_OK;
}

/* All pages of a level that are wanted. */
static int explain_level(struct explain *explain, const char *warehouse)
{
    struct explain_text_check check = {.broken = false};
    int64_t left = explain->all ? INT64_MAX : explain->limit;
    char cursor[1024] = "";
    bool first = true, more = true;
    int status = CLI_OK;

    while (status == CLI_OK && more && left > 0) {
        const struct tally_token *page = NULL, *next;
        struct tally_buf path;

        if (cli_interrupted()) {
            return CLI_INTERRUPTED;
        }
        tally_buf_init(&path, PATH_MAX_SIZE);
        put_path(explain, warehouse, left < ITEMS_MAX ? left : ITEMS_MAX,
                tally_slice_string(cursor), &path);
        status = ask(explain, &path, &page);
        tally_buf_deinit(&path);
        if (status != CLI_OK) {
            return status;
        }
        explain_text_merge(&check, page);
        status = print_page(explain, page, first) ? CLI_OK : CLI_FAILED;
        left -= count_items(page);
        next = tally_token_member(page, "next_cursor");
        more = next && next->type == TALLY_STRING && next->string.len < sizeof cursor;
        if (more) {
            snprintf(cursor, sizeof cursor, "%.*s", (int)next->string.len,
                    (const char *)next->string.data);
        }
        first = false;
    }
    return status == CLI_OK ? end_level(explain, &check, more) : status;
}

/* Names of the warehouses with a level, each ended by NUL. */
static int find_warehouses(struct explain *explain, struct tally_buf *names)
{
    const struct tally_token *root = NULL, *levels, *level;
    struct tally_buf path;
    int status;

    tally_buf_init(&path, PATH_MAX_SIZE);
    put_path(explain, NULL, 0, TALLY_NONE, &path);
    status = ask(explain, &path, &root);
    tally_buf_deinit(&path);
    if (status != CLI_OK) {
        return status;
    }
    levels = tally_token_member(root, "levels");
    level = levels ? levels + 1 : NULL;
    for (uint32_t i = 0; levels && i < levels->count; i++, level = tally_token_next(level)) {
        const struct tally_token *name = tally_token_member(level, "warehouse");

        if (name && name->type == TALLY_STRING) {
            tally_buf_slice(names, name->string);
            tally_buf_byte(names, '\0');
        }
    }
    if (names->len == 0) {
        fprintf(stderr, "tally explain: nothing has moved \"%s\" in any warehouse yet\n",
                explain->sku);
    }
    return CLI_OK;
}

/* The worst of what its levels gave. */
static int explain_levels(struct explain *explain)
{
    struct tally_buf names;
    int worst;

    tally_buf_init(&names, OUT_MAX);
    worst = find_warehouses(explain, &names);
    for (size_t at = 0; at < names.len && (worst == CLI_OK || worst == CLI_FAILED);
            at += strlen((const char *)names.data + at) + 1) {
        int status;

        if (at > 0 && explain->form == FORM_TEXT) {
            cli_write(explain->cli, TALLY_SLICE("\n"));
        }
        status = explain_level(explain, (const char *)names.data + at);
        worst = status == CLI_OK ? worst : status;
    }
    tally_buf_deinit(&names);
    return worst;
}

/* --- the command line ------------------------------------------------------------------------- */

static int check_values(const struct explain *explain)
{
    int64_t time_ms;

    if (explain->as_of && !tally_parse_time(tally_slice_string(explain->as_of), &time_ms)) {
        return cli_usage(explain->cli,
                "--as-of: expected a time like 2026-01-15T10:00:00Z, got \"%s\"", explain->as_of);
    }
    if (!tally_text_is(tally_slice_string(explain->sku), TALLY_TEXT_ID)) {
        return cli_usage(explain->cli,
                "\"%s\" is no SKU: expected up to 64 letters, digits, '.', '_', '-'", explain->sku);
    }
    if (explain->warehouse &&
            !tally_text_is(tally_slice_string(explain->warehouse), TALLY_TEXT_WAREHOUSE)) {
        return cli_usage(explain->cli,
                "\"%s\" is no warehouse: expected up to 32 capitals, digits, '_', '-'",
                explain->warehouse);
    }
    return CLI_CONTINUE;
}

static int explain_sku(struct explain *explain)
{
    int status = check_values(explain);

    if (status != CLI_CONTINUE) {
        return status;
    }
    if (explain->cli->mistakes.len > 0) {
        fwrite(explain->cli->mistakes.data, explain->cli->mistakes.len, 1, stderr);
        return cli_failed(explain->cli, "the settings are wrong");
    }
    cli_catch_interrupts();
    tally_arena_init(&explain->arena, PAGE_MAX);
    tally_buf_init(&explain->out, OUT_MAX);
    status = explain->warehouse ? explain_level(explain, explain->warehouse)
                                : explain_levels(explain);
    ops_answer_deinit(&explain->answer);
    tally_buf_deinit(&explain->out);
    tally_arena_deinit(&explain->arena);
    return status;
}

static int act(struct explain *explain)
{
    struct cli *cli = explain->cli;
    int at = explain->sku ? 0 : 1; /* where the warehouse stands */

    if (cli->arg_count == 0 && !explain->sku) {
        return cli_usage(cli, "expected a code or a SKU");
    }
    if (cli->arg_count > at + 1) {
        return cli_usage(cli, "unexpected argument \"%s\"", cli->args[at + 1]);
    }
    explain->warehouse = cli->arg_count > at ? cli->args[at] : NULL;
    if (!explain->sku && !explain->warehouse && print_code(cli, cli->args[0], explain->form)) {
        return CLI_OK;
    }
    explain->sku = explain->sku ? explain->sku : cli->args[0];
    return explain_sku(explain);
}

int cmd_explain(int argc, char **argv)
{
    static const char *const forms[] = {[FORM_TEXT] = "text", [FORM_JSON] = "json", NULL};
    const char *buckets[STOCK_NUMBERS + 1] = {NULL};
    struct explain explain = {.limit = 20, .bucket = -1};
    const struct cli_option options[] = {
            CLI_OPT_CHOICE('o', "output", &explain.form, forms, "FORM", "text (default) or json"),
            CLI_OPT_INT(0, "limit", &explain.limit, 1, INT64_MAX, "N",
                    "entries of each level (default 20)"),
            CLI_OPT_FLAG(0, "all", &explain.all, "all entries"),
            CLI_OPT_CHOICE(0, "bucket", &explain.bucket, buckets, "NAME",
                    "only entries that changed this number: on_hand, available, ..."),
            CLI_OPT_TEXT(0, "as-of", &explain.as_of, "TIME",
                    "the level as it was then, like 2026-01-15T10:00:00Z"),
            CLI_OPT_TEXT(0, "sku", &explain.sku, "SKU", "a SKU that is the name of a code too"),
            CLI_OPT_TOKEN, CLI_OPT_END};
    struct cli cli = {.verb = "explain",
            .usage = "explain CODE, or explain SKU [WAREHOUSE] [options]",
            .options = options,
            .args_max = 2,
            .keep_mistakes = true, /* CONFIG has a page too */
            .about =
                    "Of a code of an error, a rejection or a halt: what it means, and what to do.\n"
                    "Of a SKU: the numbers of each level, and the entries that made them, newest\n"
                    "first, each with its event and the command that it was decided from; then\n"
                    "whether they add up to the level (else the exit status is 1). Asks the\n"
                    "instance on http.listen. JSON has the pages of\n"
                    "GET /v1/stock/{sku}/{warehouse}/explain, one a line.",
            .examples =
                    "  tally explain INSUFFICIENT_STOCK\n"
                    "  tally explain TS-RED-M AMS1 --bucket reserved\n"
                    "  tally explain TS-RED-M --as-of 2026-01-15T10:00:00Z\n"
                    "  tally explain TS-RED-M AMS1 --all -o json | jq -r .items[].command_id\n"};
    int status;

    memcpy(buckets, stock_number_names, sizeof stock_number_names);
    status = cli_begin(&cli, argc, argv);
    explain.cli = &cli;
    if (status == CLI_CONTINUE) {
        status = cli_finish(&cli, act(&explain));
    }
    cli_end(&cli);
    return status;
}
