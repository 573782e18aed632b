/* apps/cmd_docs.c - prints a generated reference. */
#include "apps/cmd.h"

#include "apps/reference.h"
#include "topologies/registry.h"

#define TEXT_MAX       (4 * 1024 * 1024)
#define TOPOLOGIES_MAX 16 /* as many as an instance may run (config.def) */

typedef void (*reference_fn)(struct tally_topology *const *topologies, size_t count,
        struct tally_buf *out);

/* A reference of what all topologies say, whichever of them an instance runs. */
static int print_topologies(struct cli *cli, reference_fn reference, struct tally_buf *out)
{
    const char *const *names = tally_registry_names();
    struct tally_topology *topologies[TOPOLOGIES_MAX] = {NULL};
    struct tally_error err;
    int status = CLI_OK;
    size_t count = 0;

    for (; names[count] && count < TOPOLOGIES_MAX && status == CLI_OK; count++) {
        if (tally_registry_create(names[count], &cli->config, &topologies[count], &err)) {
            status = cli_error(cli, &err);
        }
    }
    if (status == CLI_OK) {
        reference(topologies, count, out);
    }
    for (size_t i = 0; i < count; i++) {
        tally_topology_destroy(topologies[i]);
    }
    return status;
}

static int print(struct cli *cli, const char *what)
{
    struct tally_buf out;
    int status = CLI_OK;

    tally_buf_init(&out, TEXT_MAX);
    if (strcmp(what, "records") == 0) {
        status = print_topologies(cli, reference_records, &out);
    } else if (strcmp(what, "domain") == 0) {
        status = print_topologies(cli, reference_domain, &out);
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
            .usage = "docs records|domain|metrics|errors|settings|failpoints",
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
