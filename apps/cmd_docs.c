/* apps/cmd_docs.c - prints a generated reference. */
#include "apps/cmd.h"

#include "apps/instance.h"
#include "apps/reference.h"

#define TEXT_MAX (4 * 1024 * 1024)

static int print_records(struct cli *cli, struct tally_buf *out)
{
    struct instance instance = {.topology_count = 0};
    struct tally_error err;
    int status = CLI_OK;

    if (instance_build(&instance, &cli->config, &err)) {
        status = cli_error(cli, &err);
    } else {
        reference_records(instance.topologies, instance.topology_count, out);
    }
    instance_deinit(&instance);
    return status;
}

static int print(struct cli *cli, const char *what)
{
    struct tally_buf out;
    int status = CLI_OK;

    tally_buf_init(&out, TEXT_MAX);
    if (strcmp(what, "records") == 0) {
        status = print_records(cli, &out);
    } else if (strcmp(what, "metrics") == 0) {
        reference_metrics(&out);
    } else if (strcmp(what, "errors") == 0) {
        reference_errors(&out);
    } else if (strcmp(what, "failpoints") == 0) {
        reference_failpoints(&out);
    } else if (strcmp(what, "settings") == 0) {
        tally_config_docs(&out);
    } else {
        status = cli_usage(cli, "no reference \"%s\"", what);
    }
    if (status == CLI_OK && !cli_write(cli, tally_buf_bytes(&out))) {
        status = CLI_FAILED;
    }
    tally_buf_deinit(&out);
    return cli_finish(cli, status);
}

int cmd_docs(int argc, char **argv)
{
    struct cli cli = {.verb = "docs",
            .usage = "docs records|metrics|errors|settings|failpoints",
            .args_min = 1,
            .args_max = 1,
            .about =
                    "Prints a reference as Markdown, from the tables that the program itself uses.",
            .examples = "  tally docs records\n"};
    int status = cli_begin(&cli, argc, argv);

    if (status == CLI_CONTINUE) {
        status = print(&cli, cli.args[0]);
    }
    cli_end(&cli);
    return status;
}
