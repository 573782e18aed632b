/* apps/cmd_sink.c - sinks of a running instance: shown, paused, resumed, rebuilt, over its HTTP;
 * and the tables of the Postgres sink, made without one. */
#include "apps/cmd.h"

#include <stdio.h>

#include "apps/ops_client.h"
#include "connectors/postgres_schema.h"
#include "engine/base/mem.h"
#include "schemas/serde.h"

#define TIMEOUT_MS 10000

enum { FORM_TEXT, FORM_JSON };

struct sink_verb {
    struct cli *cli;
    int form;
    struct tally_arena arena;
};

/* --- list ------------------------------------------------------------------------------------- */

static struct tally_slice text_of(const struct tally_token *sink, const char *name)
{
    const struct tally_token *token = tally_token_member(sink, name);

    return token && token->type == TALLY_STRING ? token->string : TALLY_SLICE("-");
}

static long long number_of(const struct tally_token *sink, const char *name)
{
    const struct tally_token *token = tally_token_member(sink, name);

    return token && token->type == TALLY_INT ? (long long)token->integer : -1;
}

/* "postgres  RUNNING  16 partitions  lag 0 (12 ms)  1042 records  0 dead letters", and what is
 * wrong below it. */
static void add_line(const struct tally_token *sink, struct tally_buf *out)
{
    struct tally_slice name = text_of(sink, "name"), state = text_of(sink, "state");
    const struct tally_token *error = tally_token_member(sink, "error");

    tally_buf_format(out,
            "%.*s  %.*s  %lld partitions  lag %lld (%lld ms)  %lld records  %lld dead letters\n",
            (int)name.len, (const char *)name.data, (int)state.len, (const char *)state.data,
            number_of(sink, "partitions"), number_of(sink, "lag"), number_of(sink, "lag_ms"),
            number_of(sink, "records"), number_of(sink, "dead_letters"));
    if (error && error->type == TALLY_MAP) {
        struct tally_slice code = text_of(error, "code"), detail = text_of(error, "detail"),
                           at = text_of(error, "at");

        tally_buf_format(out, "  last error %.*s at %.*s: ", (int)code.len, (const char *)code.data,
                (int)at.len, (const char *)at.data);
        tally_buf_slice(out, detail);
        tally_buf_byte(out, '\n');
    }
}

/* One sink, or a list of them. */
static int print(struct sink_verb *verb, const struct ops_answer *answer)
{
    const struct tally_token *root = NULL, *items;
    enum tally_refusal refusal = TALLY_REFUSAL_NONE;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_buf out;

    if (verb->form == FORM_JSON) {
        return cli_write(verb->cli, tally_buf_bytes(&answer->body)) &&
                               cli_write(verb->cli, TALLY_SLICE("\n"))
                       ? CLI_OK
                       : CLI_FAILED;
    }
    if (tally_document_parse(tally_buf_bytes(&answer->body), &verb->arena, &root, &refusal, &err)) {
        return cli_error(verb->cli, &err);
    }
    tally_buf_init(&out, 1024 * 1024);
    items = tally_token_member(root, "items");
    if (items && items->type == TALLY_ARRAY) {
        const struct tally_token *sink = items + 1;

        for (uint32_t i = 0; i < items->count; i++, sink = tally_token_next(sink)) {
            add_line(sink, &out);
        }
        if (items->count == 0) {
            fputs("no sinks: set postgres.url or redis.url\n", stderr);
        }
    } else {
        add_line(root, &out);
    }
    (void)cli_write(verb->cli, tally_buf_bytes(&out));
    tally_buf_deinit(&out);
    return CLI_OK;
}

static int ask(struct sink_verb *verb, const char *name, const char *action)
{
    struct ops_target target = OPS_TARGET(&verb->cli->config);
    struct ops_answer answer;
    struct tally_buf path;
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code;
    int status;

    tally_buf_init(&path, 4096);
    tally_buf_string(&path, "/v1/ops/sinks");
    if (name) {
        tally_buf_byte(&path, '/');
        ops_encode(&path, tally_slice_string(name));
        tally_buf_format(&path, "/%s", action);
    }
    tally_buf_byte(&path, 0);
    code = name ? ops_post(target, (const char *)path.data, TIMEOUT_MS, &answer, &err)
                : ops_get(target, (const char *)path.data, TIMEOUT_MS, &answer, &err);
    if (code) {
        status = cli_error(verb->cli, &err);
    } else if (answer.status != 200) {
        struct tally_slice detail = ops_problem(&answer);

        status = cli_failed(verb->cli, "%.*s", (int)detail.len, (const char *)detail.data);
    } else {
        status = print(verb, &answer);
    }
    ops_answer_deinit(&answer);
    tally_buf_deinit(&path);
    return status;
}

/* --- migrate ---------------------------------------------------------------------------------- */

static void tell(void *context, const char *file, bool now)
{
    (void)context;
    printf("%-8s %s\n", now ? "applied" : "exists", file);
}

static int migrate(struct sink_verb *verb)
{
    struct tally_error err = {.code = TALLY_OK};

    if (verb->cli->config.postgres_url[0] == '\0') {
        return cli_failed(verb->cli, "postgres.url is empty: there is no database to migrate");
    }
    return tally_postgres_migrate(&verb->cli->config, tell, NULL, &err) ? cli_error(verb->cli, &err)
                                                                        : CLI_OK;
}

static int act(struct sink_verb *verb)
{
    static const char *const actions[] = {"pause", "resume", "rebuild"};
    struct cli *cli = verb->cli;
    const char *action = cli->args[0];
    bool known = strcmp(action, "list") == 0 || strcmp(action, "migrate") == 0, named = false;

    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        named = named || strcmp(action, actions[i]) == 0;
    }
    if (!known && !named) {
        return cli_usage(cli, "unknown action \"%s\"", action);
    }
    if (named != (cli->arg_count == 2)) {
        return cli_usage(cli, named ? "%s which sink?" : "%s takes no name", action);
    }
    if (strcmp(action, "migrate") == 0) {
        return migrate(verb);
    }
    if (cli->config.http_listen[0] == '\0') {
        return cli_failed(cli, "http.listen is empty: the instance answers no HTTP");
    }
    return ask(verb, named ? cli->args[1] : NULL, action);
}

int cmd_sink(int argc, char **argv)
{
    static const char *const forms[] = {[FORM_TEXT] = "text", [FORM_JSON] = "json", NULL};
    struct sink_verb verb = {.form = FORM_TEXT};
    const struct cli_option options[] = {
            CLI_OPT_CHOICE('o', "output", &verb.form, forms, "FORM", "text (default) or json"),
            CLI_OPT_TOKEN, CLI_OPT_END};
    struct cli cli = {.verb = "sink",
            .usage = "sink list|pause NAME|resume NAME|rebuild NAME|migrate [options]",
            .options = options,
            .args_min = 1,
            .args_max = 2,
            .about = "list     sinks of the instance on http.listen: state, lag, last error\n"
                     "pause    writes no more until it is resumed, also over a restart\n"
                     "resume   goes on; one that waits after an error tries at once\n"
                     "rebuild  builds the content anew from the first event, beside what is read\n"
                     "migrate  makes or updates the tables in the database of postgres.url\n"
                     "Pause and resume are of one instance; a rebuild is of the whole target.",
            .examples = "  tally sink migrate\n"
                        "  tally sink list -o json | jq '.items[].lag'\n"
                        "  tally sink rebuild postgres\n"};
    int status = cli_begin(&cli, argc, argv);

    verb.cli = &cli;
    tally_arena_init(&verb.arena, 64 * 1024);
    if (status == CLI_CONTINUE) {
        status = cli_finish(&cli, act(&verb));
    }
    tally_arena_deinit(&verb.arena);
    cli_end(&cli);
    return status;
}
