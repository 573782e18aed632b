/* apps/cmd_topics.c - makes the topics of the configured topologies, or checks them.
 *  (1) Creating never changes a topic that is there, so it may be repeated; it then checks all. */
#include "apps/cmd.h"

#include <stdio.h>

#include "apps/instance.h"
#include "connectors/kafka_admin.h"
#include "engine/base/mem.h"

#define MISTAKES_MAX (64 * 1024)

struct topics {
    struct cli *cli;
    struct tally_topic_spec *specs;
    size_t count;
    int timeout_ms;
    struct tally_buf mistakes;
};

static int report(struct topics *topics, enum tally_code code, const struct tally_error *err)
{
    if (topics->mistakes.len > 0) {
        fflush(stdout);
        fwrite(topics->mistakes.data, topics->mistakes.len, 1, stderr);
        return CLI_FAILED;
    }
    return code ? cli_error(topics->cli, err) : CLI_OK;
}

static int check(struct topics *topics)
{
    struct tally_error err;
    int32_t partitions = 0;
    enum tally_code code = tally_topics_check(&topics->cli->config, topics->specs, topics->count,
            topics->timeout_ms, &partitions, &topics->mistakes, &err);

    if (code == TALLY_OK) {
        printf("%zu topics ok, %d partitions\n", topics->count, (int)partitions);
    }
    return report(topics, code, &err);
}

static int create(struct topics *topics)
{
    static const char *const words[] = {[TALLY_TOPIC_FAILED] = "failed",
            [TALLY_TOPIC_EXISTS] = "exists",
            [TALLY_TOPIC_CREATED] = "created"};
    enum tally_topic_state *states = tally_alloc_zero(topics->count, sizeof *states);
    struct tally_error err;
    enum tally_code code = tally_topics_create(&topics->cli->config, topics->specs, topics->count,
            topics->timeout_ms, states, &topics->mistakes, &err);
    int status;

    for (size_t i = 0; i < topics->count && code != TALLY_UNAVAILABLE; i++) {
        printf("%-8s %s\n", words[states[i]], topics->specs[i].name);
    }
    status = report(topics, code, &err);
    tally_free(states);
    return status == CLI_OK ? check(topics) : status;
}

static int act(struct topics *topics, bool creating)
{
    struct instance instance = {.topology_count = 0};
    struct tally_error err;
    int status;

    tally_buf_init(&topics->mistakes, MISTAKES_MAX);
    if (instance_build(&instance, &topics->cli->config, &err) ||
            tally_topics_of(&topics->cli->config, instance.owners, instance.topology_count,
                    &topics->specs, &topics->count, &err)) {
        status = cli_error(topics->cli, &err);
    } else {
        status = creating ? create(topics) : check(topics);
    }
    tally_free(topics->specs);
    instance_deinit(&instance);
    tally_buf_deinit(&topics->mistakes);
    return cli_finish(topics->cli, status);
}

int cmd_topics(int argc, char **argv)
{
    int64_t timeout_ms = 15000;
    const struct cli_option options[] = {CLI_OPT_BROKERS,
            CLI_OPT_INT(0, "timeout", &timeout_ms, 100, 600000, "MS",
                    "give up after MS milliseconds (15000)"),
            CLI_OPT_END};
    struct cli cli = {.verb = "topics",
            .usage = "topics create|check [options]",
            .options = options,
            .args_min = 1,
            .args_max = 1,
            .about = "create  makes the topics that are missing; one that exists is never changed\n"
                     "check   reports every topic whose settings are not those that tally needs",
            .examples = "  tally topics create --topics.partitions 12 --topics.replication 3\n"
                        "  tally topics check -b broker:9092\n"};
    struct topics topics = {.cli = &cli};
    int status = cli_begin(&cli, argc, argv);

    topics.timeout_ms = (int)timeout_ms;
    if (status == CLI_CONTINUE) {
        bool creating = strcmp(cli.args[0], "create") == 0;

        status = creating || strcmp(cli.args[0], "check") == 0
                         ? act(&topics, creating)
                         : cli_usage(&cli, "unknown action \"%s\"", cli.args[0]);
    }
    cli_end(&cli);
    return status;
}
