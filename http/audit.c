/* http/audit.c - see audit.h. */
#include "http/audit.h"

#include <stdio.h>

#include "engine/base/clock.h"
#include "engine/base/metrics.h"
#include "http/header_field.h"
#include "http/limits.h"
#include "http/router.h"

enum { RECORD_BYTES_MAX = 16 * 1024, TOPIC_LEN_MAX = 249 };

struct audit_note {
    struct audit_note *next;
    struct tally_slice id, type;
    const char *topic, *outcome, *code;
    int32_t partition;
    int64_t offset;
};

static bool is_on(const struct exchange *exchange)
{
    return tally_runtime_config(exchange->runtime)->http_audit;
}

void audit_command(struct exchange *exchange, struct tally_slice id, struct tally_slice type,
        const char *topic, int32_t partition, int64_t offset)
{
    struct audit *audit = &exchange->audit;
    struct audit_note *note;

    if (!is_on(exchange)) {
        return;
    }
    note = tally_arena_alloc(&exchange->arena, sizeof *note);
    *note = (struct audit_note){.id = tally_arena_copy(&exchange->arena, id),
            .type = tally_arena_copy(&exchange->arena, type),
            .topic = topic,
            .code = offset < 0 ? exchange->problem : NULL,
            .partition = partition,
            .offset = offset};
    if (audit->last) {
        audit->last->next = note;
    } else {
        audit->first = note;
    }
    audit->last = note;
}

/* Outcomes become known in the order in which the commands were written, so the search goes on
 * where it ended. */
void audit_outcome(struct exchange *exchange, const char *topic, int32_t partition, int64_t offset,
        const char *outcome, const char *code)
{
    struct audit *audit = &exchange->audit;
    struct audit_note *note = audit->cursor ? audit->cursor : audit->first;

    while (note && (note->offset != offset || note->partition != partition ||
                           strcmp(note->topic, topic) != 0)) {
        note = note->next;
    }
    if (note) {
        audit->cursor = note;
        note->outcome = outcome;
        note->code = code;
    }
}

/* --- records ---------------------------------------------------------------------------------- */

static void write_slice(struct tally_writer *writer, const char *name, struct tally_slice value)
{
    tally_write_name(writer, name);
    if (value.len > 0 && tally_utf8_valid(value)) {
        tally_write_string(writer, value);
    } else {
        tally_write_null(writer);
    }
}

static void write_text(struct tally_writer *writer, const char *name, const char *text)
{
    write_slice(writer, name, tally_slice_string(text));
}

static void write_note(struct tally_writer *writer, const struct audit_note *note)
{
    char position[TOPIC_LEN_MAX + 40] = "";

    if (note->offset >= 0) {
        snprintf(position, sizeof position, "%s/%d@%lld", note->topic, (int)note->partition,
                (long long)note->offset);
    }
    write_slice(writer, "command_id", note->id);
    write_slice(writer, "type", note->type);
    write_text(writer, "outcome", note->outcome);
    write_text(writer, "code", note->code);
    write_text(writer, "position", position);
}

/* What a request that wrote nothing was about: a refused command, or an operation. */
static struct audit_note note_of(const struct exchange *exchange)
{
    struct audit_note note = {.offset = -1, .code = exchange->problem};
    struct tally_slice id = request_header(&exchange->request, "Idempotency-Key");

    if (!header_field_command_id(id, &note.id)) {
        note.id = TALLY_NONE;
    }
    if (exchange->route->id == ROUTE_COMMAND_SEND) {
        note.type = exchange->request.params[0];
    }
    return note;
}

static void send(struct exchange *exchange, const struct audit_note *note)
{
    const struct tally_config *config = tally_runtime_config(exchange->runtime);
    const struct principal *principal = &exchange->principal;
    struct tally_slice client = limits_client(exchange->limits, &exchange->request);
    char time[TALLY_TIME_LEN + 1], topic[TOPIC_LEN_MAX + 1];
    struct tally_writer writer;
    struct tally_buf record;
    bool sent;

    tally_format_time(tally_wall_ms(tally_clock_real()), time);
    snprintf(topic, sizeof topic, "%s" AUDIT_TOPIC, config->topics_prefix);
    tally_buf_init(&record, RECORD_BYTES_MAX);
    tally_write_begin(&writer, &record, TALLY_FORMAT_JSON);
    tally_write_map(&writer, 15);
    write_text(&writer, "time", time);
    write_text(&writer, "instance", config->instance_id);
    write_text(&writer, "principal", principal->name);
    write_text(&writer, "by", principal->by);
    write_text(&writer, "role", role_name(principal->role));
    write_slice(&writer, "client", client);
    write_text(&writer, "method", exchange->request.method_name);
    write_text(&writer, "route", exchange->route->pattern);
    write_slice(&writer, "path", exchange->request.path);
    write_note(&writer, note);
    tally_write_name(&writer, "status");
    tally_write_int(&writer, exchange->response.status);
    sent = !record.failed &&
           tally_runtime_tell(exchange->runtime, topic,
                   principal->name[0] ? tally_slice_string(principal->name) : client,
                   tally_buf_bytes(&record));
    tally_series_add(tally_series_of(TALLY_METRIC_HTTP_AUDIT, sent ? "queued" : "dropped"), 1);
    tally_buf_deinit(&record);
}

/* Commands, operations, and whatever was refused for its credentials and is no plain read. */
static bool is_of_interest(const struct exchange *exchange)
{
    int status = exchange->response.status;

    return exchange->route && exchange->request.method == REQUEST_POST &&
           (exchange->route->permission >= PERMISSION_WRITER || status == 401 || status == 403);
}

void audit_end(struct exchange *exchange)
{
    struct audit_note alone;

    if (!is_on(exchange)) {
        return;
    }
    for (const struct audit_note *note = exchange->audit.first; note; note = note->next) {
        send(exchange, note);
    }
    if (!exchange->audit.first && is_of_interest(exchange)) {
        alone = note_of(exchange);
        send(exchange, &alone);
    }
}
