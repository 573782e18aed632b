/* apps/cmd_explain.c - the page of a code that an answer, a log or a halt has. */
#include "apps/cmd.h"

#include "http/problem_page.h"

#define PAGE_MAX  (64 * 1024)
#define CODES_MAX 512

enum { FORM_TEXT, FORM_JSON };

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

static int explain_code(const struct cli *cli, const char *code, int form)
{
    const char *nearest;
    struct tally_buf page;
    bool found;

    tally_buf_init(&page, PAGE_MAX);
    found = tally_problem_page_write(code, form == FORM_JSON, &page);
    if (found) {
        cli_write(cli, tally_buf_bytes(&page));
    }
    tally_buf_deinit(&page);
    if (found) {
        return CLI_OK;
    }
    nearest = nearest_code(code);
    return nearest ? cli_failed(cli, "no code \"%s\", did you mean \"%s\"?", code, nearest)
                   : cli_failed(cli, "no code \"%s\": docs/errors.md has them all", code);
}

int cmd_explain(int argc, char **argv)
{
    static const char *const forms[] = {[FORM_TEXT] = "text", [FORM_JSON] = "json", NULL};
    int form = FORM_TEXT;
    const struct cli_option options[] = {
            CLI_OPT_CHOICE('o', "output", &form, forms, "FORM", "text (default) or json"),
            CLI_OPT_END};
    struct cli cli = {.verb = "explain",
            .usage = "explain CODE [options]",
            .options = options,
            .args_min = 1,
            .args_max = 1,
            .keep_mistakes = true, /* CONFIG has a page too */
            .about = "Prints what a code of an error, a rejection or a halt means, and what to do.",
            .examples = "  tally explain INSUFFICIENT_STOCK\n"
                        "  tally explain EVENTS_TRUNCATED -o json | jq -r .help\n"};
    int status = cli_begin(&cli, argc, argv);

    if (status == CLI_CONTINUE) {
        status = cli_finish(&cli, explain_code(&cli, cli.args[0], form));
    }
    cli_end(&cli);
    return status;
}
