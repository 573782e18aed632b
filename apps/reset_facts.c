/* apps/reset_facts.c - see reset_facts.h.
 *  (1) Reading is read_committed and never joins the group.
 *  (2) Events are read from the end backwards; all of them only when a consumed command has no
 *      outcome in what is known. */
#include "apps/reset_facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "apps/cli.h"
#include "engine/base/clock.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "engine/stream_task.h"
#include "state/store.h"

enum {
    WAIT_MS = 1000,
    TAIL_RECORDS = 256, /* first look from the end; then 16 times as many */
    ARENA_BYTES = 64 * 1024,
    ARENA_KEEP = 1024 * 1024,
    OPEN_AGAIN_MS = 500
};

enum tally_code reset_interrupted(struct tally_error *err)
{
    return cli_interrupted() ? tally_error_set(err, TALLY_AGAIN, "interrupted") : TALLY_OK;
}

void reset_tell(const struct reset_scope *scope, const char *what, const char *topic,
        int32_t partition, int64_t offset)
{
    if (progress_due(scope->progress)) {
        progress_print(scope->progress, "%s %s/%d@%lld, %.0f s", what, topic, (int)partition,
                (long long)offset, progress_seconds(scope->progress));
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

static void note_end(void *context, int32_t partition, int64_t offset)
{
    (void)partition;
    *(int64_t *)context = offset;
}

static enum tally_code read_next(const struct reset_scope *scope, const char *topic,
        struct tally_reader *reader, reset_visit_fn visit, void *context, bool *damaged,
        int64_t *silent_ms, struct tally_error *err)
{
    struct tally_record record;
    int64_t begin_ms = tally_mono_ms(tally_clock_real());
    enum tally_code code = reset_interrupted(err);

    if (code) {
        return code;
    }
    code = tally_reader_next(reader, WAIT_MS, &record, err);
    if (code == TALLY_OK) {
        bool more = visit(context, reader, &record);

        reset_tell(scope, "reading", topic, record.partition, record.offset);
        tally_reader_release(reader, &record);
        *silent_ms = 0;
        return more ? TALLY_OK : TALLY_NOT_FOUND;
    }
    if (code == TALLY_INPUT_CORRUPT && damaged) {
        *damaged = true;
        return TALLY_NOT_FOUND;
    }
    if (code == TALLY_AGAIN || tally_code_reaction(code) == TALLY_REACT_RETRY) {
        *silent_ms += tally_mono_ms(tally_clock_real()) - begin_ms;
        if (*silent_ms > TALLY_READER_SILENT_MS) {
            return tally_error_set(err, TALLY_UNAVAILABLE, "the broker gives no records");
        }
        return TALLY_OK;
    }
    return code;
}

enum tally_code reset_read(const struct reset_scope *scope, const char *topic, int32_t partition,
        int64_t from, reset_visit_fn visit, void *context, bool *damaged, int64_t *end,
        struct tally_error *err)
{
    struct tally_reader *reader;
    struct tally_reader_options options = {.config = scope->config,
            .topic = topic,
            .partitions = &partition,
            .partition_count = 1,
            .range = {.start = TALLY_READER_ABSOLUTE, .value = from},
            .stop_at_end = true,
            .ended = end ? note_end : NULL,
            .context = end};
    int64_t silent_ms = 0;
    enum tally_code code = tally_reader_create(&options, &reader, err);

    if (code) {
        return code;
    }
    while (code == TALLY_OK) {
        code = read_next(scope, topic, reader, visit, context, damaged, &silent_ms, err);
    }
    tally_reader_destroy(reader);
    if (code == TALLY_NOT_FOUND) {
        return TALLY_OK;
    }
    tally_error_context(err, "%.80s/%d", topic, (int)partition);
    return code;
}

/* --- one record ------------------------------------------------------------------------------- */

struct probe {
    int64_t offset;
    bool found, empty; /* empty: neither key nor value */
    uint32_t crc;
    uint64_t id; /* of the command in it, with its key; 0: none that the partition decides */
    const struct tally_topology *topology;
    int32_t partitions;
};

/* FNV-1a over key and command id; never 0. */
static uint64_t outcome_id(struct tally_slice key, struct tally_slice id)
{
    const struct tally_slice parts[] = {key, TALLY_SLICE("/"), id};
    uint64_t hash = 14695981039346656037U;

    for (size_t part = 0; part < 3; part++) {
        for (size_t i = 0; i < parts[part].len; i++) {
            hash = (hash ^ parts[part].data[i]) * 1099511628211U;
        }
    }
    return hash ? hash : 1;
}

static bool visit_probe(void *context, struct tally_reader *reader,
        const struct tally_record *record)
{
    struct probe *probe = context;
    struct tally_command command;
    struct tally_arena arena;

    (void)reader;
    if (record->offset != probe->offset) {
        return false; /* it is not there */
    }
    tally_arena_init(&arena, ARENA_BYTES);
    probe->found = true;
    probe->empty = !record->key.data && !record->value.data;
    probe->crc = tally_stream_task_crc(record);
    if (tally_stream_task_decides(probe->topology, record, probe->partitions, &arena, &command)) {
        probe->id = outcome_id(command.key, command.id);
    }
    tally_arena_deinit(&arena);
    return false;
}

static enum tally_code probe_record(const struct reset_scope *scope,
        const struct tally_topology *topology, const char *topic, int32_t partition, int64_t offset,
        struct probe *probe, struct tally_error *err)
{
    bool damaged = false;

    *probe =
            (struct probe){.offset = offset, .topology = topology, .partitions = scope->partitions};
    return reset_read(scope, topic, partition, offset, visit_probe, probe, &damaged, NULL, err);
}

/* --- events ----------------------------------------------------------------------------------- */

struct events {
    struct reset_facts *facts;
    const struct tally_topology *topology;
    struct tally_arena arena;
    uint64_t last_id; /* of the command of the last event */
    /* an event whose command's offset the commands topic still has */
    int64_t comparable;
    uint64_t comparable_id;
    struct wanted { /* commands whose outcome is looked for, by id */
        uint64_t id;
        int64_t offset;
        bool found;
    } * wanted;
    size_t wanted_count, wanted_capacity;
    bool marked; /* the last event notes that input goes on in other records */
};

static bool is_broadcast(const struct tally_aggregate *aggregate, struct tally_slice type)
{
    for (size_t i = 0; aggregate->command_types[i]; i++) {
        if (tally_slice_equal(tally_slice_string(aggregate->command_types[i]->name), type)) {
            return aggregate->command_types[i]->broadcast;
        }
    }
    return false;
}

static int compare_wanted(const void *left, const void *right)
{
    uint64_t a = ((const struct wanted *)left)->id, b = ((const struct wanted *)right)->id;

    return (a > b) - (a < b);
}

static void sort_wanted(struct events *events)
{
    qsort(events->wanted, events->wanted_count, sizeof events->wanted[0], compare_wanted);
}

static void find_wanted(struct events *events, uint64_t id)
{
    size_t low = 0, high = events->wanted_count;

    while (low < high) { /* the first of those with the id */
        size_t middle = low + (high - low) / 2;

        if (events->wanted[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < events->wanted_count && events->wanted[low].id == id; low++) {
        events->wanted[low].found = true;
    }
}

static bool is_mark(const struct tally_event *event)
{
    struct tally_slice mark = TALLY_SLICE(TALLY_RESET_ID);

    return event->command_id.len >= mark.len &&
           memcmp(event->command_id.data, mark.data, mark.len) == 0;
}

static void take_event(struct events *events, const struct tally_event *event)
{
    struct reset_facts *facts = events->facts;
    const struct tally_aggregate *aggregate = tally_topology_aggregate(events->topology);
    uint64_t id = outcome_id(event->key, event->command_id);

    if (event->command_offset + 1 >= facts->events_next) {
        events->marked = is_mark(event);
    }
    if (event->command_offset >= facts->events_next) {
        facts->events_next = event->command_offset + 1;
        facts->events_time = event->time_ms;
        events->last_id = id;
    }
    if (event->command_offset >= facts->input_low && event->command_offset < facts->input_high &&
            event->command_id.len > 0 && event->command_id.data[0] != '~') {
        events->comparable = event->command_offset;
        events->comparable_id = id;
    }
    if (!facts->event && event->key.data && !is_broadcast(aggregate, event->outcome.command) &&
            event->command_id.len > 0 && event->command_id.data[0] != '~' &&
            tally_partition_of(event->key, facts->partitions) != facts->partition) {
        facts->event = TALLY_PARTITIONS_CHANGED;
        (void)snprintf(facts->reason, sizeof facts->reason,
                "%s/%d has an event of command offset %lld whose key belongs to partition %d of "
                "%d: the topic got more partitions",
                facts->events, (int)facts->partition, (long long)event->command_offset,
                (int)tally_partition_of(event->key, facts->partitions), (int)facts->partitions);
    }
    find_wanted(events, id);
    if (event->has_completes) {
        find_wanted(events, outcome_id(event->key, event->completes.command_id));
    }
}

static bool visit_event(void *context, struct tally_reader *reader,
        const struct tally_record *record)
{
    struct events *events = context;
    struct reset_facts *facts = events->facts;
    const struct tally_aggregate *aggregate = tally_topology_aggregate(events->topology);
    struct tally_event event;
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code;

    (void)reader;
    tally_arena_reset(&events->arena, ARENA_KEEP);
    code = tally_event_decode(record->value, record->key, aggregate->name, facts->partition,
            aggregate->event_types, &events->arena, &event, &err);
    if (code == TALLY_OK) {
        event.key = record->key;
        take_event(events, &event);
    } else if (code == TALLY_EVENT_UNKNOWN && !facts->event) {
        facts->event = code;
        (void)snprintf(facts->reason, sizeof facts->reason, "%.100s/%d@%lld: %.120s", facts->events,
                (int)facts->partition, (long long)record->offset, err.message);
    }
    return true;
}

static enum tally_code read_events(const struct reset_scope *scope, struct events *events,
        int64_t from, int64_t *end, struct tally_error *err)
{
    return reset_read(scope, events->facts->events, events->facts->partition, from, visit_event,
            events, NULL, end, err);
}

/* The last event, from as near to the end as it takes. */
static enum tally_code read_tail(const struct reset_scope *scope, void *context, int64_t *end,
        struct tally_error *err)
{
    struct events *events = context;
    struct reset_facts *facts = events->facts;
    enum tally_code code = TALLY_OK;

    events->marked = false;
    for (int64_t records = TAIL_RECORDS; !code && facts->events_next < 0; records *= 16) {
        int64_t from = facts->events_high - records;

        from = from > facts->events_low ? from : facts->events_low;
        if (from >= facts->events_high) {
            *end = facts->events_high;
            break;
        }
        code = read_events(scope, events, from, end, err);
        if (from == facts->events_low) {
            break;
        }
    }
    return code;
}

enum tally_code reset_read_closed(const struct reset_scope *scope, struct reset_facts *facts,
        reset_output_fn read, void *context, struct tally_error *err)
{
    struct timespec pause = {.tv_nsec = OPEN_AGAIN_MS * 1000000L};
    enum tally_code code;

    do {
        int64_t end = 0;

        facts->events_next = -1;
        facts->event = TALLY_OK;
        code = tally_group_range(scope->group, facts->events, facts->partition, &facts->events_low,
                &facts->events_high, err);
        code = code ? code : read(scope, context, &end, err);
        facts->open = !code && end < facts->events_high;
        if (facts->open) {
            reset_tell(scope, "waiting for the end of the transaction at", facts->events,
                    facts->partition, end);
            (void)nanosleep(&pause, NULL);
        }
        code = code ? code : reset_interrupted(err);
    } while (!code && facts->open && tally_mono_ms(tally_clock_real()) < scope->open_until_ms);
    return code;
}

/* --- state ------------------------------------------------------------------------------------ */

struct tally_store_identity reset_identity(const struct reset_scope *scope,
        const struct tally_topology *topology, int32_t partition)
{
    const char *cluster = tally_group_cluster(scope->group);

    return (struct tally_store_identity){
            .topology = tally_topology_name(topology),
            .partition = partition,
            .partitions = scope->partitions,
            .cluster_id = cluster ? cluster : "",
            .group = scope->config->app_id,
            .commands_topic = tally_topology_input(topology),
            .events_topic = tally_topology_output(topology),
            .evolve_version = tally_topology_version(topology),
            .settings = tally_topology_settings(topology),
            .omitted = tally_topology_omitted(topology),
    };
}

enum tally_code reset_facts_state(const struct reset_scope *scope,
        const struct tally_topology *topology, struct reset_facts *facts, struct tally_error *err)
{
    struct tally_store_identity identity = reset_identity(scope, topology, facts->partition);

    if (!identity.cluster_id[0]) {
        return tally_error_set(err, TALLY_UNAVAILABLE, "the cluster's id is not known");
    }
    facts->state = tally_store_check(scope->config->state_dir, scope->held, &identity,
            &facts->positions, err);
    switch (facts->state) {
    case TALLY_FOREIGN_STATE:
    case TALLY_STORE_CORRUPT:
    case TALLY_STORE_OUTDATED:
        if (!facts->event) {
            (void)snprintf(facts->reason, sizeof facts->reason, "%s", err->message);
        }
        return TALLY_OK;
    case TALLY_OK:
    case TALLY_NOT_FOUND:
        return TALLY_OK;
    default:
        return facts->state;
    }
}

/* Whether the last applied event and the last consumed command are still what they were. */
static enum tally_code prove_state(const struct reset_scope *scope,
        const struct tally_topology *topology, struct reset_facts *facts, struct tally_error *err)
{
    const struct tally_positions *at = &facts->positions;
    struct probe probe;
    enum tally_code code = TALLY_OK;

    if (at->out_last >= facts->events_low && at->out_last >= 0 &&
            at->out_last < facts->events_high) {
        code = probe_record(scope, topology, facts->events, facts->partition, at->out_last, &probe,
                err);
        facts->event_proof = probe.found && probe.crc == at->out_crc ? RESET_SAME : RESET_OTHER;
    }
    if (!code && at->in_last >= facts->input_low && at->in_last >= 0 &&
            at->in_last < facts->input_high) {
        code = probe_record(scope, topology, facts->input, facts->partition, at->in_last, &probe,
                err);
        facts->input_proof = probe.found && probe.crc == at->in_crc ? RESET_SAME : RESET_OTHER;
    }
    return code;
}

/* --- input ------------------------------------------------------------------------------------ */

/* Without a state, or where its last command is gone: an event names the command that stood at its
 * offset. */
static enum tally_code prove_input(const struct reset_scope *scope, struct events *events,
        struct tally_error *err)
{
    struct reset_facts *facts = events->facts;
    struct probe probe;
    int64_t end = 0;
    enum tally_code code = TALLY_OK;

    if (facts->events_next > 0 && facts->events_next <= facts->input_high &&
            facts->events_next > facts->input_low) {
        code = probe_record(scope, events->topology, facts->input, facts->partition,
                facts->events_next - 1, &probe, err);
        facts->filled = probe.found && probe.empty;
    }
    if (code || facts->input_proof != RESET_UNKNOWN || facts->filled || events->marked) {
        return code;
    }
    if (events->comparable < 0 && facts->events_next > facts->input_high &&
            facts->input_high > facts->input_low && facts->events_low < facts->events_high) {
        code = read_events(scope, events, facts->events_low, &end, err);
    }
    if (!code && events->comparable >= 0) {
        code = probe_record(scope, events->topology, facts->input, facts->partition,
                events->comparable, &probe, err);
        facts->input_proof = probe.id == events->comparable_id ? RESET_SAME
                             : probe.empty                     ? RESET_UNKNOWN
                                                               : RESET_OTHER;
    }
    return code;
}

struct consumed {
    struct events *events;
    int64_t stop;
    struct tally_arena arena;
};

static bool visit_consumed(void *context, struct tally_reader *reader,
        const struct tally_record *record)
{
    struct consumed *consumed = context;
    struct events *events = consumed->events;
    struct tally_command command;

    (void)reader;
    if (record->offset >= consumed->stop) {
        return false;
    }
    tally_arena_reset(&consumed->arena, ARENA_KEEP);
    if (tally_stream_task_decides(events->topology, record, events->facts->partitions,
                &consumed->arena, &command)) {
        if (events->wanted_count == events->wanted_capacity) {
            events->wanted_capacity = events->wanted_capacity ? 2 * events->wanted_capacity : 256;
            events->wanted = tally_realloc(events->wanted,
                    events->wanted_capacity * sizeof events->wanted[0]);
        }
        events->wanted[events->wanted_count++] = (struct wanted){
                .id = outcome_id(command.key, command.id), .offset = record->offset};
    }
    return true;
}

static void judge_wanted(struct events *events, int64_t resume)
{
    struct reset_facts *facts = events->facts;

    for (size_t i = 0; i < events->wanted_count; i++) {
        const struct wanted *wanted = &events->wanted[i];
        int64_t *at = wanted->offset < resume ? &facts->hole_at : &facts->lost_at;

        if (!wanted->found && (*at < 0 || wanted->offset < *at)) {
            *at = wanted->offset;
        }
    }
}

/* Consumed commands that have no outcome: behind what the events prove and, where the events topic
 * may have been begun anew in the middle, before that. */
static enum tally_code find_lost(const struct reset_scope *scope, struct events *events,
        struct tally_error *err)
{
    struct reset_facts *facts = events->facts;
    int64_t resume = reset_plan_resume(facts, reset_plan_aside(facts));
    bool doubtful = reset_plan_doubts_events(facts);
    int64_t from = doubtful || resume < facts->input_low ? facts->input_low : resume;
    bool ahead = facts->group > resume && facts->group <= facts->input_high;
    struct consumed consumed = {.events = events, .stop = ahead ? facts->group : resume};
    int64_t end = 0;
    bool damaged = false;
    enum tally_code code = TALLY_OK;

    consumed.stop = consumed.stop < facts->input_high ? consumed.stop : facts->input_high;
    if (consumed.stop <= from) {
        return TALLY_OK;
    }
    tally_arena_init(&consumed.arena, ARENA_BYTES);
    code = reset_read(scope, facts->input, facts->partition, from, visit_consumed, &consumed,
            &damaged, NULL, err);
    tally_arena_deinit(&consumed.arena);
    if (!code && events->wanted_count > 0 && facts->events_low < facts->events_high) {
        sort_wanted(events);
        code = read_events(scope, events, facts->events_low, &end, err);
    }
    judge_wanted(events, resume);
    return code;
}

static bool visit_first(void *context, struct tally_reader *reader,
        const struct tally_record *record)
{
    (void)reader;
    *(int64_t *)context = record->offset;
    return false;
}

static enum tally_code try_to_read(const struct reset_scope *scope, const struct reset_facts *facts,
        int64_t from, bool *damaged, struct tally_error *err)
{
    int64_t first = -1;

    *damaged = false;
    return reset_read(scope, facts->input, facts->partition, from, visit_first, &first, damaged,
            NULL, err);
}

/* Damaged records at the offset where input would go on: a batch, of which every part is damaged.
 * librdkafka 2.0.2 loses its way behind one, so each look has a reader of its own. */
static enum tally_code find_readable(const struct reset_scope *scope, struct reset_facts *facts,
        struct tally_error *err)
{
    int64_t resume = reset_plan_resume(facts, reset_plan_aside(facts));
    bool ahead = facts->group > resume && facts->group <= facts->input_high && facts->lost_at < 0;
    int64_t from = ahead ? facts->group : resume;
    int64_t bad, good;
    bool damaged = false;
    enum tally_code code = TALLY_OK;

    from = from > facts->input_low ? from : facts->input_low;
    facts->readable = from;
    if (from < facts->input_high) {
        code = try_to_read(scope, facts, from, &damaged, err);
    }
    if (code || !damaged) {
        return code;
    }
    bad = from;
    good = bad + 1;
    for (int64_t step = 2; !code && damaged && good < facts->input_high; step *= 2) {
        code = try_to_read(scope, facts, good, &damaged, err);
        bad = damaged ? good : bad;
        good = damaged ? bad + step : good;
    }
    good = good < facts->input_high ? good : facts->input_high;
    while (!code && good - bad > 1) {
        int64_t middle = bad + (good - bad) / 2;

        code = try_to_read(scope, facts, middle, &damaged, err);
        bad = damaged ? middle : bad;
        good = damaged ? good : middle;
    }
    facts->readable = good;
    return code;
}

/* --- all of it -------------------------------------------------------------------------------- */

struct reset_facts reset_facts_none(const struct reset_scope *scope,
        const struct tally_topology *topology, int32_t partition, int64_t group_offset)
{
    return (struct reset_facts){
            .topology = tally_topology_name(topology),
            .partition = partition,
            .partitions = scope->partitions,
            .group = group_offset,
            .events_next = -1,
            .hole_at = -1,
            .lost_at = -1,
            .readable = -1,
            .positions = {.in_next = -1, .in_last = -1, .out_last = -1},
    };
}

enum tally_code reset_facts_gather(const struct reset_scope *scope,
        const struct tally_topology *topology, int32_t partition, int64_t group_offset,
        struct reset_facts *facts, struct tally_error *err)
{
    struct events events = {.facts = facts, .topology = topology, .comparable = -1};
    enum tally_code code;

    *facts = reset_facts_none(scope, topology, partition, group_offset);
    facts->input = tally_topology_commands(topology);
    facts->events = tally_topology_events(topology);
    tally_arena_init(&events.arena, ARENA_BYTES);
    code = reset_facts_state(scope, topology, facts, err); /* first: it is never ahead of topics */
    code = code ? code
                : tally_group_range(scope->group, facts->input, partition, &facts->input_low,
                          &facts->input_high, err);
    code = code ? code : reset_read_closed(scope, facts, read_tail, &events, err);
    if (!code && facts->state == TALLY_OK) {
        code = prove_state(scope, topology, facts, err);
    }
    code = code ? code : prove_input(scope, &events, err);
    facts->noted = events.marked;
    code = code ? code : find_lost(scope, &events, err);
    code = code ? code : find_readable(scope, facts, err);
    tally_free(events.wanted);
    tally_arena_deinit(&events.arena);
    return code;
}
