/* apps/reset_execute.c - see reset_execute.h. */
#include "apps/reset_execute.h"

#include <stdio.h>

#include "connectors/kafka_writer.h"
#include "engine/base/failpoint.h"
#include "engine/base/mem.h"
#include "engine/stream_task.h"
#include "state/store.h"

enum {
    FLUSH_MS = 120000,
    FLUSH_SLICE_MS = 500,
    EVENT_BYTES_MAX = 64 * 1024,
    SERVE_EVERY = 1000, /* records between looks at deliveries */
};

#define RESET_COMMAND "tally reset" /* type of the command that the note stands for */

struct copy {
    const struct reset_facts *facts;
    struct tally_writer *writer;
    int64_t stop;
    enum tally_code code;
    struct tally_error *err;
};

static enum tally_code flush(const struct reset_scope *scope, const struct reset_facts *facts,
        struct tally_writer *writer, enum tally_code code, struct tally_error *err)
{
    struct tally_writer_counts counts;
    int waited_ms = 0;

    if (code) {
        return code;
    }
    do {
        code = tally_writer_flush(writer, FLUSH_SLICE_MS, &counts, err);
        waited_ms += FLUSH_SLICE_MS;
        if (code == TALLY_TIMEOUT) {
            reset_tell(scope, "writing behind", facts->input, facts->partition, facts->input_high);
        }
        if (code == TALLY_TIMEOUT && reset_interrupted(err)) {
            code = TALLY_AGAIN;
        }
    } while (code == TALLY_TIMEOUT && waited_ms < FLUSH_MS);
    return code;
}

static enum tally_code fill(const struct reset_scope *scope, const struct reset_facts *facts,
        int64_t to, struct tally_writer *writer, struct tally_error *err)
{
    struct tally_header header = {
            .name = TALLY_SLICE(TALLY_RESET_HEADER), .value = TALLY_SLICE("fill")};
    enum tally_code code = TALLY_OK;

    for (int64_t offset = facts->input_high; offset < to && !code; offset++) {
        code = reset_interrupted(err);
        code = code ? code
                    : tally_writer_produce(writer, facts->input, facts->partition, TALLY_NONE,
                              TALLY_NONE, &header, 1, NULL, err);
        if (offset % SERVE_EVERY == 0) {
            tally_writer_poll(writer, 0);
            reset_tell(scope, "filling", facts->input, facts->partition, offset);
        }
        TALLY_FAILPOINT(RESET_FILL_EACH);
    }
    return flush(scope, facts, writer, code, err);
}

static bool visit_copy(void *context, struct tally_reader *reader,
        const struct tally_record *record)
{
    struct copy *copy = context;
    size_t count = tally_reader_headers(reader, record, NULL, 0);
    struct tally_header *headers;
    char from[48];

    if (record->offset >= copy->stop) {
        return false;
    }
    if (!record->key.data && !record->value.data) {
        return true; /* nothing, or what an earlier reset filled up with */
    }
    headers = tally_alloc_zero(count + 1, sizeof headers[0]);
    (void)tally_reader_headers(reader, record, headers, count);
    (void)snprintf(from, sizeof from, "%d@%lld", (int)record->partition, (long long)record->offset);
    headers[count++] = (struct tally_header){
            .name = TALLY_SLICE(TALLY_RESET_HEADER), .value = tally_slice_string(from)};
    copy->code = tally_writer_produce(copy->writer, copy->facts->input, copy->facts->partition,
            record->key, record->value, headers, count, NULL, copy->err);
    tally_free(headers);
    TALLY_FAILPOINT(RESET_COPY_EACH);
    return copy->code == TALLY_OK;
}

static enum tally_code copy_commands(const struct reset_scope *scope,
        const struct reset_facts *facts, const struct reset_plan *plan, struct tally_writer *writer,
        struct tally_error *err)
{
    struct tally_error failed = {.code = TALLY_OK};
    struct copy copy = {.facts = facts, .writer = writer, .stop = plan->copy_to, .err = &failed};
    enum tally_code code = reset_read(scope, facts->input, facts->partition, plan->copy_from,
            visit_copy, &copy, NULL, NULL, err);

    if (copy.code) {
        *err = failed;
        return copy.code;
    }
    return flush(scope, facts, writer, code, err);
}

/* An event that changes nothing but proves that input was passed over: as the outcome of a command
 * of tally's own, so that every restore knows it. */
static enum tally_code note_jump(const struct reset_scope *scope, const struct reset_facts *facts,
        int64_t next, struct tally_writer *writer, struct tally_error *err)
{
    struct tally_buf id, encoded;
    struct tally_event event = {
            .type = TALLY_SLICE(TALLY_EVENT_ACCEPTED),
            .topology = tally_slice_string(facts->topology),
            .partition = facts->partition,
            .command_offset = next - 1,
            .time_ms = facts->events_time,
            .outcome = {.command = TALLY_SLICE(RESET_COMMAND), .status = TALLY_ACCEPTED},
    };
    bool json = strcmp(scope->config->events_format, "json") == 0;
    enum tally_code code;

    tally_buf_init(&id, 256);
    tally_buf_init(&encoded, EVENT_BYTES_MAX);
    tally_buf_format(&id, TALLY_RESET_ID "%s/%d@%lld", facts->topology, (int)facts->partition,
            (long long)next);
    event.command_id = event.correlation_id = event.key = tally_buf_bytes(&id);
    tally_event_encode(&event, json ? TALLY_FORMAT_JSON : TALLY_FORMAT_MSGPACK, &encoded);
    code = tally_writer_produce(writer, facts->events, facts->partition, event.key,
            tally_buf_bytes(&encoded), NULL, 0, NULL, err);
    code = flush(scope, facts, writer, code, err);
    tally_buf_deinit(&encoded);
    tally_buf_deinit(&id);
    return code;
}

static enum tally_code write_records(const struct reset_scope *scope,
        const struct reset_facts *facts, const struct reset_plan *plan, struct tally_error *err)
{
    struct tally_writer *writer;
    enum tally_code code = tally_writer_create(scope->config, NULL, NULL, &writer, err);

    if (code) {
        return code;
    }
    if (plan->fill_to >= 0) {
        code = fill(scope, facts, plan->fill_to, writer, err);
        TALLY_FAILPOINT(RESET_FILL_AFTER);
    }
    if (!code && plan->copy_from >= 0) {
        code = copy_commands(scope, facts, plan, writer, err);
        TALLY_FAILPOINT(RESET_COPY_AFTER);
    }
    if (!code && plan->mark >= 0) {
        code = note_jump(scope, facts, plan->mark, writer, err);
        TALLY_FAILPOINT(RESET_NOTE_AFTER);
    }
    tally_writer_destroy(writer);
    return code;
}

enum tally_code reset_execute(const struct reset_scope *scope, struct tally_state *state,
        const struct tally_topology *topology, const struct reset_facts *facts,
        const struct reset_plan *plan, struct tally_error *err)
{
    struct tally_topic_partition offset = {.topic = tally_topology_input(topology),
            .partition = facts->partition,
            .offset = TALLY_OFFSET_NONE};
    bool writes = reset_plan_writes(plan);
    enum tally_code code = reset_interrupted(err);

    if (!code && (writes || plan->forget) && facts->group >= 0) {
        code = tally_group_set_offset(scope->group, &offset, err);
        TALLY_FAILPOINT(RESET_UNSET_AFTER);
    }
    if (!code && writes) {
        code = write_records(scope, facts, plan, err);
    }
    if (!code && plan->aside) {
        code = tally_store_set_aside(state, facts->topology, facts->partition, err);
        TALLY_FAILPOINT(RESET_ASIDE_AFTER);
    }
    if (!code && plan->offset >= 0) {
        offset.offset = plan->offset;
        code = tally_group_set_offset(scope->group, &offset, err);
        TALLY_FAILPOINT(RESET_OFFSET_AFTER);
    }
    return code;
}
