/* engine/base/config_docs.c - the settings in force, and the reference of all options.
 * A secret is never written by either. */
#include <stdio.h>

#include "engine/base/config_internal.h"

#define VALUE_MAX 4096u
#define WIDTH_MAX 40 /* a longer value does not push all origins to the right */

static void put_item(struct tally_buf *out, enum config_index index, const char *text)
{
    if (!config_secret(index, text)) {
        tally_buf_string(out, text);
    } else if (index == CONFIG_kafka_properties) {
        tally_buf_format(out, "%.*s=***", (int)strcspn(text, "="), text);
    } else {
        tally_buf_string(out, text[0] ? "***" : "");
    }
}

static void put_value(struct tally_buf *out, const struct tally_config *config,
        enum config_index index)
{
    const struct config_option *option = &config_options[index];
    const char *field = (const char *)config + option->at;
    const struct tally_config_list *list = (const struct tally_config_list *)field;
    size_t start = out->len;
    char number[32];

    switch (option->kind) {
    case CONFIG_KIND_STRING:
        put_item(out, index, *(char *const *)field);
        break;
    case CONFIG_KIND_BOOL:
        tally_buf_string(out, *(const bool *)field ? "true" : "false");
        break;
    case CONFIG_KIND_INT:
    case CONFIG_KIND_DURATION:
    case CONFIG_KIND_SIZE:
        config_format_number(option->kind, *(const int64_t *)field, number);
        tally_buf_string(out, number);
        break;
    case CONFIG_KIND_LIST:
        for (size_t i = 0; i < list->count; i++) {
            tally_buf_string(out, i ? "," : "");
            put_item(out, index, list->items[i]);
        }
        break;
    }
    if (out->len == start) {
        tally_buf_string(out, "\"\"");
    }
}

void tally_config_show(const struct tally_config *config, struct tally_buf *out)
{
    int name_width = 0, value_width = 0;

    for (int index = 0; index < CONFIG_OPTIONS; index++) {
        struct tally_buf value;
        int len = (int)strlen(config_options[index].name);

        tally_buf_init(&value, VALUE_MAX);
        put_value(&value, config, (enum config_index)index);
        name_width = len > name_width ? len : name_width;
        if ((int)value.len > value_width && value.len <= WIDTH_MAX) {
            value_width = (int)value.len;
        }
        tally_buf_deinit(&value);
    }
    for (int index = 0; index < CONFIG_OPTIONS; index++) {
        const struct tally_config_origin *origin = &config->origins[index];
        size_t start;

        tally_buf_format(out, "%-*s = ", name_width, config_options[index].name);
        start = out->len;
        put_value(out, config, (enum config_index)index);
        tally_buf_format(out, "%*s  # %s",
                value_width > (int)(out->len - start) ? value_width - (int)(out->len - start) : 0,
                "", origin->source);
        if (origin->line) {
            tally_buf_format(out, ":%zu", origin->line);
        }
        tally_buf_byte(out, '\n');
    }
}

/* A bar would end the cell of a Markdown table, even in code. */
static void put_cell(struct tally_buf *out, const char *text)
{
    for (; *text; text++) {
        tally_buf_string(out, *text == '|' ? "\\|" : (char[]){*text, 0});
    }
}

static void put_range(struct tally_buf *out, enum config_index index)
{
    const struct config_option *option = &config_options[index];
    char low[32], high[32];

    if (option->kind == CONFIG_KIND_BOOL) {
        tally_buf_string(out, "true, false");
        return;
    }
    if (config_choices(index)) {
        put_cell(out, config_choices(index));
        return;
    }
    config_format_number(option->kind, option->low, low);
    config_format_number(option->kind, option->high, high);
    tally_buf_format(out, "%s to %s%s", low, high,
            option->kind == CONFIG_KIND_STRING ? " bytes"
            : option->kind == CONFIG_KIND_LIST ? " items"
                                               : "");
}

static void put_row(struct tally_buf *out, enum config_index index)
{
    static const char *const kinds[] = {
            [CONFIG_KIND_STRING] = "text",
            [CONFIG_KIND_INT] = "integer",
            [CONFIG_KIND_BOOL] = "switch",
            [CONFIG_KIND_DURATION] = "duration",
            [CONFIG_KIND_SIZE] = "size",
            [CONFIG_KIND_LIST] = "list",
    };
    const struct config_option *option = &config_options[index];
    char name[CONFIG_NAME_MAX];

    config_env_name(index, name);
    tally_buf_format(out, "| `%s` | `%s` | %s | ", option->name, name, kinds[option->kind]);
    if (option->initial[0]) {
        tally_buf_string(out, "`");
        put_cell(out, option->initial);
        tally_buf_string(out, "`");
    } else {
        tally_buf_string(out, "empty");
    }
    tally_buf_string(out, " | ");
    put_range(out, index);
    tally_buf_string(out, " | ");
    put_cell(out, option->help);
    tally_buf_string(out, " |\n");
}

static const char intro[] =
        "# Configuration\n"
        "\n"
        "Written by `tally config docs` from `engine/base/config.def`.\n"
        "\n"
        "A setting comes from, the later winning: its default, the file (`-c FILE`, else\n"
        "`tally.yaml` if it exists), the environment, the command line (`--name value`).\n"
        "`tally config check` reports every mistake with its line and column; `tally config show`\n"
        "prints what is in force and where each value comes from.\n"
        "\n"
        "- In the file a name may be nested or dotted: `state: {dir: ./state}` is\n"
        "  `state.dir: ./state`. `${NAME}` and `${NAME:default}` are replaced from the\n"
        "  environment; `$${` is a plain `${`.\n"
        "- Durations carry a unit: `100ms`, `5s`, `10m`, `2h`, `7d`, but for `0`. Sizes are bytes "
        "or\n"
        "  `64K`, `512M`, `2G`, `1T`.\n"
        "- Lists are YAML lists in the file, and joined by commas elsewhere. `-X name=value` adds\n"
        "  to `kafka.properties` or replaces the value that is there.\n"
        "- With `_FILE` behind a variable's name, its value is read from the file it names, which\n"
        "  must be closed to group and others (mode 0600 or 0400).\n"
        "\n"
        "| Option | Environment | Kind | Default | Range | Meaning |\n"
        "|---|---|---|---|---|---|\n";

static const char limits[] =
        "\n"
        "Some options bind each other: `http.wait.max` is below `http.threads`;\n"
        "`engine.session.timeout` is at least 15 s above `engine.transaction.timeout` and at most\n"
        "`engine.max.poll.interval`; `engine.commit.interval` is below\n"
        "`engine.transaction.timeout`. Listening on another address than loopback takes\n"
        "`http.insecure`; a broker elsewhere takes `security.protocol=ssl` or `sasl_ssl` in\n"
        "`kafka.properties`, or `kafka.insecure`.\n"
        "\n"
        "`kafka.properties` passes every option of librdkafka through, except these:\n"
        "\n"
        "| Property | Why not |\n"
        "|---|---|\n";

void tally_config_docs(struct tally_buf *out)
{
    const char *name, *why;

    tally_buf_string(out, intro);
    for (int index = 0; index < CONFIG_OPTIONS; index++) {
        put_row(out, (enum config_index)index);
    }
    tally_buf_string(out, limits);
    for (size_t n = 0; config_refused_property(n, &name, &why); n++) {
        tally_buf_format(out, "| `%s` | %s |\n", name, why);
    }
}
