/* apps/cmd_health.c - GET /readyz of the instance beside it; for HEALTHCHECK and scripts. */
#include "apps/cmd.h"

#include <stdio.h>

#include "apps/ops_client.h"

static int ask(struct cli *cli, const char *path, int timeout_ms, bool verbose)
{
    struct ops_answer answer;
    struct tally_error err;
    enum tally_code code = ops_get(OPS_TARGET(&cli->config), path, timeout_ms, &answer, &err);
    int status = CLI_OK;

    if (code) {
        status = cli_error(cli, &err);
    } else {
        if (verbose || answer.status != 200) {
            cli_write(cli, tally_buf_bytes(&answer.body));
        }
        if (answer.status != 200) {
            status = cli_failed(cli, "not ready: status %d", answer.status);
        }
    }
    ops_answer_deinit(&answer);
    return cli_finish(cli, status);
}

int cmd_health(int argc, char **argv)
{
    static const char *const checks[] = {"ready", "live", "startup", NULL};
    int check = 0;
    int64_t timeout_ms = 3000;
    bool verbose = false;
    const struct cli_option options[] = {
            CLI_OPT_CHOICE(0, "check", &check, checks, "CHECK", "ready (default), live or startup"),
            CLI_OPT_FLAG('v', "verbose", &verbose, "print every part of the check"),
            CLI_OPT_INT(0, "timeout", &timeout_ms, 1, 600000, "MS",
                    "give up after MS milliseconds (3000)"),
            CLI_OPT_END};
    struct cli cli = {.verb = "health",
            .usage = "health [options]",
            .options = options,
            .about = "Asks the instance that listens on http.listen. Exit status 0: the check "
                     "passes; 1: it\n"
                     "does not, or nobody answers.",
            .examples = "  tally health -v\n"
                        "  HEALTHCHECK CMD [\"tally\", \"health\"]\n"};
    int status = cli_begin(&cli, argc, argv);
    char path[64];

    if (status == CLI_CONTINUE && cli.config.http_listen[0] == '\0') {
        status = cli_failed(&cli, "http.listen is empty: the instance answers no HTTP");
    }
    if (status == CLI_CONTINUE) {
        snprintf(path, sizeof path, "/health/%s%s", checks[check], verbose ? "?verbose" : "");
        status = ask(&cli, path, (int)timeout_ms, verbose);
    }
    cli_end(&cli);
    return status;
}
