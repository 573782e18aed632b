/* apps/cmd_docs.c - prints a generated reference, or a page of the manual. */
#include "apps/cmd.h"

#include "apps/manual.h"
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

/* NULL: tally(1) itself. */
static int print_manual(struct cli *cli, const char *page, struct tally_buf *out)
{
    const struct verb *verb = page ? verbs_find(page) : NULL;

    if (!page) {
        manual_overview(out);
    } else if (strcmp(page, "settings") == 0) {
        manual_settings(out);
    } else if (verb && verb->run != cmd_help) {
        manual_verb(verb, out);
    } else {
        return cli_usage(cli, "no page of \"%s\"", page);
    }
    return CLI_OK;
}

static int print(struct cli *cli, const char *what, const char *page)
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
    } else if (strcmp(what, "man") == 0) {
        status = print_manual(cli, page, &out);
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
            .usage = "docs records|domain|metrics|errors|settings|failpoints|man [VERB|settings]",
            .args_min = 1,
            .args_max = 2,
            .about =
                    "Prints a reference as Markdown, or a page of the manual, from the tables that "
                    "the program\n"
                    "itself uses.",
            .examples = "  tally docs records\n"
                        "  tally docs man run | man -l -\n"};
    int status = cli_begin(&cli, argc, argv);

    if (status == CLI_CONTINUE) {
        const char *page = cli.arg_count > 1 ? cli.args[1] : NULL;

        if (page && strcmp(cli.args[0], "man") != 0) {
            status = cli_usage(&cli, "unexpected argument \"%s\"", page);
        } else {
            status = print(&cli, cli.args[0], page);
        }
    }
    cli_end(&cli);
    return status;
}
