/* apps/reference.c - see the header. Left out: settings, which config.h documents. */
#include "apps/reference.h"

#include <ctype.h>
#include <inttypes.h>

#include "engine/base/failpoint.h"
#include "engine/base/metrics.h"
#include "http/problem.h"
#include "schemas/envelope.h"

/* Text of a table's cell: '|' would end it. */
static void put_cell(struct tally_buf *out, const char *text)
{
    for (; *text; text++) {
        tally_buf_string(out, *text == '|' ? "\\|" : (char[]){*text, '\0'});
    }
}

static void put_range(const struct tally_field *field, const char *unit, struct tally_buf *out)
{
    if (field->low == INT64_MIN && field->high == INT64_MAX) {
        return;
    }
    if (field->high == INT64_MAX) {
        tally_buf_format(out, ", at least %" PRId64 "%s", field->low, unit);
    } else {
        tally_buf_format(out, ", %" PRId64 " to %" PRId64 "%s", field->low, field->high, unit);
    }
}

static void put_text_type(const struct tally_field *field, struct tally_buf *out)
{
    static const char *const names[] = {[TALLY_TEXT_ANY] = "text",
            [TALLY_TEXT_ID] = "id",
            [TALLY_TEXT_WAREHOUSE] = "warehouse",
            [TALLY_TEXT_SLUG] = "slug",
            [TALLY_TEXT_COMMAND_ID] = "command id"};

    tally_buf_string(out, names[field->text]);
    put_range(field, " bytes", out);
}

static void put_type(const struct tally_field *field, struct tally_buf *out)
{
    switch ((enum tally_field_kind)field->kind) {
    case TALLY_KIND_STRING:
        put_text_type(field, out);
        break;
    case TALLY_KIND_INT:
        tally_buf_string(out, field->flags & TALLY_NONZERO ? "integer, not 0" : "integer");
        put_range(field, "", out);
        break;
    case TALLY_KIND_BOOL:
        tally_buf_string(out, "true or false");
        break;
    case TALLY_KIND_TIME:
        tally_buf_string(out, "time");
        break;
    case TALLY_KIND_ENUM:
        for (size_t i = 0; field->names[i]; i++) {
            tally_buf_format(out, "%s%s", i ? ", " : "", field->names[i]);
        }
        break;
    case TALLY_KIND_OBJECT:
        tally_buf_string(out, "object");
        break;
    case TALLY_KIND_ARRAY:
        tally_buf_string(out, field->schema ? "array of objects" : "array of text");
        break;
    case TALLY_KIND_ANY:
        tally_buf_string(out, "any value");
        break;
    case TALLY_KIND_MAP:
        tally_buf_string(out, "object of any values");
        break;
    }
}

static void put_presence(const struct tally_field *field, struct tally_buf *out)
{
    if (field->flags & TALLY_REQUIRED) {
        tally_buf_string(out, "required");
    } else if (field->flags & TALLY_DEFAULTED && field->kind == TALLY_KIND_ENUM) {
        tally_buf_string(out, field->names[field->default_value]);
    } else if (field->flags & TALLY_DEFAULTED && field->kind == TALLY_KIND_BOOL) {
        tally_buf_string(out, field->default_value ? "true" : "false");
    } else if (field->flags & TALLY_DEFAULTED) {
        tally_buf_format(out, "%" PRId64, field->default_value);
    } else {
        tally_buf_string(out, field->flags & TALLY_NULLABLE ? "optional, may be null" : "optional");
    }
}

/* Members of an object are listed below it as "after.on_hand", of an array's items as
 * "lines[].sku". */
static void put_fields(const struct tally_schema *schema, const char *prefix, struct tally_buf *out)
{
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct tally_field *field = &schema->fields[i];

        tally_buf_format(out, "| `%s%s` | ", prefix, field->name);
        put_type(field, out);
        tally_buf_string(out, " | ");
        put_presence(field, out);
        tally_buf_string(out, " | ");
        put_cell(out, field->help ? field->help : "");
        tally_buf_string(out, " |\n");
        if (field->schema) {
            struct tally_buf path;

            tally_buf_init(&path, 256);
            tally_buf_format(&path, "%s%s%s.", prefix, field->name,
                    field->kind == TALLY_KIND_ARRAY ? "[]" : "");
            tally_buf_byte(&path, '\0');
            put_fields(field->schema, (const char *)path.data, out);
            tally_buf_deinit(&path);
        }
    }
}

static void put_record(const struct tally_schema *schema, struct tally_buf *out)
{
    tally_buf_format(out, "\n### %s\n\n", schema->name);
    if (schema->help) {
        tally_buf_format(out, "%c%s.", toupper((unsigned char)schema->help[0]), schema->help + 1);
    }
    if (schema->key_field) {
        bool prefixed = schema->key_prefix[0] != '\0';

        tally_buf_format(out, " Record key: `%s%s%s%s`.", schema->key_prefix, prefixed ? "<" : "",
                schema->key_field, prefixed ? ">" : "");
    }
    if (schema->internal) {
        tally_buf_string(out, " Sent by tally itself only.");
    }
    tally_buf_string(out, "\n\n| field | type | default | meaning |\n|---|---|---|---|\n");
    put_fields(schema, "", out);
}

void reference_records(struct tally_topology *const *topologies, size_t count,
        struct tally_buf *out)
{
    tally_buf_string(out,
            "# Records\n\nWritten by `tally docs records` from the tables in `schemas/`.\n\n"
            "A record is a JSON object or a MessagePack map. Commands have, besides the fields "
            "below, "
            "`type` and `command_id`; those of an event stand in its `payload`.\n");
    for (size_t i = 0; i < count; i++) {
        const struct tally_aggregate *aggregate = tally_topology_aggregate(topologies[i]);

        if (!aggregate) { /* a projection has no records of its own */
            continue;
        }
        tally_buf_format(out, "\n## Commands on %s\n", aggregate->commands);
        for (size_t j = 0; aggregate->command_types[j]; j++) {
            put_record(aggregate->command_types[j], out);
        }
        tally_buf_format(out, "\n## Events on %s\n", aggregate->events);
        for (size_t j = 0; aggregate->event_types[j]; j++) {
            put_record(aggregate->event_types[j], out);
        }
    }
}

void reference_metrics(struct tally_buf *out)
{
    static const struct {
        const char *name, *kind, *labels, *help;
    } rows[] = {
#define X(id, kind, name, labels, help) {name, #kind, labels, help},
#include "engine/base/metrics.def"
#undef X
    };

    tally_buf_string(out, "# Metrics\n\nWritten by `tally docs metrics` from "
                          "`engine/base/metrics.def`; served at `/metrics`.\n\n"
                          "| name | kind | labels | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tally_buf_format(out, "| `%s` | %s | %s | ", rows[i].name,
                strcmp(rows[i].kind, "GAUGE") == 0       ? "gauge"
                : strcmp(rows[i].kind, "HISTOGRAM") == 0 ? "histogram"
                                                         : "counter",
                rows[i].labels);
        put_cell(out, rows[i].help);
        tally_buf_string(out, " |\n");
    }
}

static void put_remedies(struct tally_buf *out)
{
    tally_buf_string(out, "\n## Ways out of a halt\n\nA task that halts says in the log, in "
                          "`/health/ready` and in `/v1/ops/tasks` which topic, partition and "
                          "offsets do not fit, and the command below for that task. All instances "
                          "of the group are stopped first; without `--execute` a reset prints its "
                          "plan and changes nothing, and it never deletes a state directory or a "
                          "record.\n\n| code | command | what it does |\n|---|---|---|\n");
    for (int code = TALLY_OK + 1; code < TALLY_CODES; code++) {
        const char *options, *text = tally_code_remedy((enum tally_code)code, &options);

        if (text) {
            tally_buf_format(out, "| %s | %s%s%s | %s |\n", tally_code_name((enum tally_code)code),
                    options ? "`tally reset" : "", options ? options : "",
                    options ? " --execute`" : "", text);
        }
    }
}

static void put_problems(struct tally_buf *out)
{
    tally_buf_string(out,
            "\n## Codes of HTTP itself\n\nAnswers that need no command to be decided. "
            "`GET /problems/{code}` has these and those above, in small letters and "
            "with `-`.\n\n"
            "| code | title | retryable | HTTP | what to do |\n|---|---|---|---|---|\n");
    for (int code = PROBLEM_NONE + 1; code < PROBLEM_CODES; code++) {
        struct problem_account account = problem_account((enum problem_code)code);

        tally_buf_format(out, "| %s | %s | %s | %d | %s |\n", account.name, account.title,
                account.retryable ? "yes" : "", account.status, account.help);
    }
}

void reference_errors(struct tally_buf *out)
{
    tally_buf_string(out, "# Errors\n\nWritten by `tally docs errors` from "
                          "`engine/base/error.def`, `engine/base/remedy.def`, "
                          "`schemas/reject.def`, `http/problem.def` and "
                          "`schemas/refusal.def`.\n\n## Failures\n\n"
                          "| code | means | what happens | HTTP |\n|---|---|---|---|\n");
    for (int code = TALLY_OK + 1; code < TALLY_CODES; code++) {
        tally_buf_format(out, "| %s | %s | %s | %d |\n", tally_code_name((enum tally_code)code),
                tally_code_text((enum tally_code)code),
                tally_reaction_text(tally_code_reaction((enum tally_code)code)),
                tally_code_http((enum tally_code)code));
    }
    put_remedies(out);
    tally_buf_string(out,
            "\n## Rejections of commands\n\nOutcomes, not failures: they are events "
            "and are remembered by their command id. Retryable: the same command may "
            "succeed later, under a new id.\n\n"
            "| code | title | retryable | HTTP | what to do |\n|---|---|---|---|---|\n");
    for (int reject = TALLY_REJECT_NONE + 1; reject < TALLY_REJECTS; reject++) {
        tally_buf_format(out, "| %s | %s | %s | %d | %s |\n",
                tally_reject_name((enum tally_reject)reject),
                tally_reject_title((enum tally_reject)reject),
                tally_reject_retryable((enum tally_reject)reject) ? "yes" : "",
                tally_reject_http((enum tally_reject)reject),
                tally_reject_help((enum tally_reject)reject));
    }
    put_problems(out);
    tally_buf_string(out, "\n## Reasons of dead letters\n\n");
    for (int refusal = TALLY_REFUSAL_NONE + 1; refusal < TALLY_REFUSALS; refusal++) {
        tally_buf_format(out, "- %s\n", tally_refusal_name((enum tally_refusal)refusal));
    }
}

void reference_failpoints(struct tally_buf *out)
{
    tally_buf_string(out, "# Failpoints\n\nWritten by `tally docs failpoints` from "
                          "`engine/base/failpoint.def`. Builds with checks have them, a release "
                          "has none.\n");
#if TALLY_HAS_FAILPOINTS
    tally_buf_string(out,
            "\n`TALLY_FAIL=site:n:action[,...] tally run`: at the n-th hit of the site the process "
            "kills itself (`kill`), stops itself until SIGCONT (`stop`), the call there fails "
            "(`error`, where one can) or the thread sleeps (`delay=ms`). Each is logged "
            "first. `tally reset --execute` meets those named `reset.*`, and `tally run` the "
            "others.\n\n"
            "| site | error | file | between | and |\n|---|---|---|---|---|\n");
    for (int site = 0; site < TALLY_FAILPOINTS; site++) {
        const struct tally_failpoint_row *row = &tally_failpoint_rows[site];

        tally_buf_format(out, "| `%s` | %s | %s | %.*s | %s |\n", row->name,
                row->can_fail ? "yes" : "", row->file, (int)strcspn(row->about, "|") - 1,
                row->about, strchr(row->about, '|') + 2);
    }
#endif
}
