/* apps/cmd_describe.c - the topologies that the settings name, without a broker. */
#include "apps/cmd.h"

#include "apps/instance.h"

#define TEXT_MAX (1024 * 1024)

static int describe(struct cli *cli, enum tally_describe form)
{
    struct instance instance = {.topology_count = 0};
    struct tally_error err;
    struct tally_buf out;
    int status = CLI_OK;

    tally_buf_init(&out, TEXT_MAX);
    if (instance_build(&instance, &cli->config, &err)) {
        status = cli_error(cli, &err);
    } else {
        tally_topology_describe(instance.topologies, instance.topology_count, form, &out);
        status = cli_write(cli, tally_buf_bytes(&out)) ? CLI_OK : CLI_FAILED;
    }
    tally_buf_deinit(&out);
    instance_deinit(&instance);
    return cli_finish(cli, status);
}

int cmd_describe(int argc, char **argv)
{
    static const char *const forms[] = {[TALLY_DESCRIBE_TEXT] = "text",
            [TALLY_DESCRIBE_DOT] = "dot",
            [TALLY_DESCRIBE_MERMAID] = "mermaid",
            [TALLY_DESCRIBE_JSON] = "json",
            NULL};
    int form = TALLY_DESCRIBE_TEXT;
    const struct cli_option options[] = {
            CLI_OPT_CHOICE(0, "format", &form, forms, "FORM", "text, dot, mermaid or json"),
            CLI_OPT_END};
    struct cli cli = {.verb = "describe",
            .usage = "describe [--format text|dot|mermaid|json]",
            .options = options,
            .about = "Shows topics, aggregates and stores of the topologies. The text form is that "
                     "of Kafka\n"
                     "Streams' Topology#describe, which existing viewers read.",
            .examples = "  tally describe\n"
                        "  tally describe --format dot | dot -Tsvg > topology.svg\n"};
    int status = cli_begin(&cli, argc, argv);

    if (status == CLI_CONTINUE) {
        status = describe(&cli, (enum tally_describe)form);
    }
    cli_end(&cli);
    return status;
}
