/* apps/cmd_config.c - the settings as they are in force, a check of them, and their reference. */
#include "apps/cmd.h"

#include <stdio.h>

#include "apps/instance.h"
#include "http/server.h"

#define TEXT_MAX (1024 * 1024)

static int check(struct cli *cli)
{
    struct instance instance = {.topology_count = 0};
    struct tally_error err;
    int status = CLI_OK;

    if (cli->mistakes.len > 0) {
        fflush(stdout);
        fwrite(cli->mistakes.data, cli->mistakes.len, 1, stderr);
        return cli_failed(cli, "the settings are wrong");
    }
    if (instance_build(&instance, &cli->config, &err) || tally_http_check(&cli->config, &err)) {
        status = cli_error(cli, &err);
    } else {
        printf("settings ok\n");
    }
    instance_deinit(&instance);
    return status;
}

static int print(struct cli *cli, bool docs)
{
    struct tally_buf out;
    bool written;

    if (!docs && cli->mistakes.len > 0) {
        return check(cli);
    }
    tally_buf_init(&out, TEXT_MAX);
    if (docs) {
        tally_config_docs(&out);
    } else {
        tally_config_show(&cli->config, &out);
    }
    written = cli_write(cli, tally_buf_bytes(&out));
    tally_buf_deinit(&out);
    return written ? CLI_OK : CLI_FAILED;
}

int cmd_config(int argc, char **argv)
{
    struct cli cli = {.verb = "config",
            .usage = "config show|check|docs [options]",
            .args_min = 1,
            .args_max = 1,
            .keep_mistakes = true,
            .about = "show   the settings in force, each with where it came from; secrets are "
                     "hidden\n"
                     "check  reports every mistake of the file, the environment and the options at "
                     "once\n"
                     "docs   the reference of all settings, as Markdown",
            .examples =
                    "  tally config show\n"
                    "  tally config check --config tally.yaml && tally run --config tally.yaml\n"};
    int status = cli_begin(&cli, argc, argv);

    if (status == CLI_CONTINUE) {
        if (strcmp(cli.args[0], "check") == 0) {
            status = check(&cli);
        } else if (strcmp(cli.args[0], "show") == 0 || strcmp(cli.args[0], "docs") == 0) {
            status = print(&cli, cli.args[0][0] == 'd');
        } else {
            status = cli_usage(&cli, "unknown action \"%s\"", cli.args[0]);
        }
        status = cli_finish(&cli, status);
    }
    cli_end(&cli);
    return status;
}
