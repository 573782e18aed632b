/* apps/reference_domain.c - the tables of docs/domain.md: commands, events, messages and codes,
 * each between two marks by which `./dev docs` finds its place there. */
#include <ctype.h>

#include "apps/reference.h"
#include "schemas/envelope.h"

static void begin(struct tally_buf *out, const char *name)
{
    tally_buf_format(out, "<!-- tally docs domain: %s -->\n", name);
}

static void end(struct tally_buf *out)
{
    tally_buf_string(out, "<!-- end -->\n");
}

static void put_sentence(struct tally_buf *out, const char *help)
{
    if (help && help[0]) {
        tally_buf_format(out, "%c%s", toupper((unsigned char)help[0]), help + 1);
    }
}

static void put_key(struct tally_buf *out, const struct tally_schema *schema)
{
    bool prefixed = schema->key_prefix[0] != '\0';

    tally_buf_format(out, "`%s%s%s%s`", schema->key_prefix, prefixed ? "<" : "", schema->key_field,
            prefixed ? ">" : "");
}

/* Common to all public commands: told once, above the table. */
static bool is_common(const struct tally_field *field)
{
    static const char *const names[] = {"expected_version", "deadline", "reference", "note"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(field->name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void put_fields(struct tally_buf *out, const struct tally_schema *schema, bool common)
{
    bool first = true;

    for (size_t i = 0; i < schema->field_count; i++) {
        const struct tally_field *field = &schema->fields[i];

        if (is_common(field) && !common) {
            continue;
        }
        tally_buf_format(out, "%s`%s`%s", first ? "" : ", ", field->name,
                field->flags & TALLY_REQUIRED ? "" : "?");
        first = false;
    }
}

/* internal: what tally sends itself, else what anybody may send. */
static void put_commands(struct tally_topology *const *topologies, size_t count, bool internal,
        struct tally_buf *out)
{
    begin(out, internal ? "messages" : "commands");
    for (size_t i = 0; i < count; i++) {
        const struct tally_aggregate *aggregate = tally_topology_aggregate(topologies[i]);

        if (!aggregate) {
            continue;
        }
        tally_buf_format(out, "| %s | record key | fields | |\n|---|---|---|---|\n",
                aggregate->commands);
        for (size_t j = 0; aggregate->command_types[j]; j++) {
            const struct tally_schema *schema = aggregate->command_types[j];

            if (schema->internal == internal) {
                tally_buf_format(out, "| %s | ", schema->name);
                put_key(out, schema);
                tally_buf_string(out, " | ");
                put_fields(out, schema, internal);
                tally_buf_string(out, " | ");
                put_sentence(out, schema->help);
                tally_buf_string(out, " |\n");
            }
        }
        tally_buf_string(out, "\n");
    }
    end(out);
}

static void put_events(struct tally_topology *const *topologies, size_t count,
        struct tally_buf *out)
{
    begin(out, "events");
    for (size_t i = 0; i < count; i++) {
        const struct tally_aggregate *aggregate = tally_topology_aggregate(topologies[i]);

        if (!aggregate) {
            continue;
        }
        tally_buf_format(out, "| %s | says |\n|---|---|\n", aggregate->events);
        for (size_t j = 0; aggregate->event_types[j]; j++) {
            tally_buf_format(out, "| %s | ", aggregate->event_types[j]->name);
            put_sentence(out, aggregate->event_types[j]->help);
            tally_buf_string(out, " |\n");
        }
        tally_buf_string(out, "\n");
    }
    end(out);
}

static void put_codes(struct tally_buf *out)
{
    begin(out, "codes");
    tally_buf_string(out, "| code | means | retryable | HTTP |\n|---|---|---|---|\n");
    for (int reject = TALLY_REJECT_NONE + 1; reject < TALLY_REJECTS; reject++) {
        tally_buf_format(out, "| %s | %s | %s | %d |\n",
                tally_reject_name((enum tally_reject)reject),
                tally_reject_title((enum tally_reject)reject),
                tally_reject_retryable((enum tally_reject)reject) ? "yes" : "",
                tally_reject_http((enum tally_reject)reject));
    }
    tally_buf_string(out, "\n");
    end(out);
}

void reference_domain(struct tally_topology *const *topologies, size_t count, struct tally_buf *out)
{
    put_commands(topologies, count, false, out);
    put_events(topologies, count, out);
    put_commands(topologies, count, true, out);
    put_codes(out);
}
