/* engine/position_watch.c - see position_watch.h. Positions are those of a task's view, which only
 * grow; ranges are asked afterwards, so that what is committed lies within them. The records that
 * are read again are those that were the last ones in the look before: a task may have gone on in a
 * new topic since, and its last command is then one of that. */
#include "engine/position_watch.h"

#include "engine/base/mem.h"
#include "engine/restore_check.h"
#include "engine/stream_task.h"

enum {
    ASK_TIMEOUT_MS = 1000,
    READ_TIMEOUT_MS = 1000,
    READ_AGAIN_MS = 3000, /* with a new handle, which has to connect first */
    READ_SLICE_MS = 50,
    REST_MS = 60000, /* as long has a task stood still before its tail is looked at */
    KINDS = 3,       /* topics of a topology: input, output, dead letters */
};

/* A record that must still be where it was. */
struct record_probe {
    size_t slot;
    const char *topic;
    int32_t partition;
    int64_t offset;
    uint32_t crc;
    bool asked; /* in this pass: of a partition that several tasks read there is one assignment */
    bool seen;
};

/* Of a slot: how long its task has stood still, and the end of its input in this look. */
struct rest {
    int64_t next, since_ms, high;
    bool wanted; /* its tail is to be proved in this look */
};

struct tally_position_watch {
    struct tally_position_watch_options options;
    struct tally_consumer *consumer; /* NULL: not needed yet */
    size_t slot_count;
    struct tally_error *doubts;        /* of each slot, found in this look; code OK: none */
    enum tally_code *suspicions;       /* found in the look before */
    bool *certain;                     /* another record stands there: no second look is needed */
    bool *verified;                    /* all its records were seen in this look */
    struct tally_positions *positions; /* in this look */
    struct tally_positions *anchors;   /* of an earlier look; -1: none */
    bool *running;
    struct rest *rests;
    struct tally_range *ranges; /* of running tasks in this look: input, output */
    size_t range_count;
    struct record_probe *probes; /* two a slot */
    size_t probe_count;
    enum tally_code *topic_suspicions; /* KINDS a topology */
};

struct tally_position_watch *
tally_position_watch_create(const struct tally_position_watch_options *options)
{
    struct tally_position_watch *watch = tally_alloc_zero(1, sizeof *watch);
    size_t slots = tally_task_registry_count(options->registry);

    watch->options = *options;
    watch->slot_count = slots;
    watch->doubts = tally_alloc_zero(slots + 1, sizeof watch->doubts[0]);
    watch->suspicions = tally_alloc_zero(slots + 1, sizeof watch->suspicions[0]);
    watch->certain = tally_alloc_zero(slots + 1, sizeof watch->certain[0]);
    watch->verified = tally_alloc_zero(slots + 1, sizeof watch->verified[0]);
    watch->positions = tally_alloc_zero(slots + 1, sizeof watch->positions[0]);
    watch->anchors = tally_alloc_zero(slots + 1, sizeof watch->anchors[0]);
    watch->running = tally_alloc_zero(slots + 1, sizeof watch->running[0]);
    watch->rests = tally_alloc_zero(slots + 1, sizeof watch->rests[0]);
    watch->ranges = tally_alloc_zero(2 * slots + 1, sizeof watch->ranges[0]);
    watch->probes = tally_alloc_zero(2 * slots + 1, sizeof watch->probes[0]);
    watch->topic_suspicions = tally_alloc_zero(KINDS * options->topology_count + 1,
            sizeof watch->topic_suspicions[0]);
    return watch;
}

void tally_position_watch_destroy(struct tally_position_watch *watch)
{
    if (!watch) {
        return;
    }
    if (watch->consumer) {
        watch->consumer->ops->destroy(watch->consumer);
    }
    tally_free(watch->doubts);
    tally_free(watch->suspicions);
    tally_free(watch->certain);
    tally_free(watch->verified);
    tally_free(watch->positions);
    tally_free(watch->anchors);
    tally_free(watch->running);
    tally_free(watch->rests);
    tally_free(watch->ranges);
    tally_free(watch->probes);
    tally_free(watch->topic_suspicions);
    tally_free(watch);
}

/* --- topics ----------------------------------------------------------------------------------- */

static enum tally_code check_topic(struct tally_position_watch *watch, const char *topic,
        struct tally_error *err)
{
    struct tally_client *client = watch->options.client;
    int32_t expected = watch->options.partitions, partitions = 0;
    enum tally_code code = client->ops->partitions(client, topic, ASK_TIMEOUT_MS, &partitions, err);

    if (code == TALLY_NOT_FOUND) {
        return tally_error_set(err, TALLY_TOPIC_CONFIG,
                "topic \"%s\" (partitions 0 to %d) was deleted under the running tasks: restore "
                "it, or run: tally topics create, then: tally reset",
                topic, (int)expected - 1);
    }
    if (!code && partitions != expected) {
        return tally_error_set(err, TALLY_TOPIC_CONFIG,
                "topic \"%s\" has %d partitions, but tasks were made for %d: partitions cannot be "
                "added to a running system; make new topics, then run: tally reset",
                topic, (int)partitions, (int)expected);
    }
    return code;
}

/* Of a projection: then it is asked for with the topology that writes it. */
static bool is_output(const struct tally_position_watch *watch, const char *topic)
{
    for (size_t i = 0; i < watch->options.topology_count; i++) {
        if (strcmp(topic, tally_topology_output(watch->options.topologies[i])) == 0) {
            return true;
        }
    }
    return false;
}

static enum tally_code check_topics(struct tally_position_watch *watch, struct tally_error *err)
{
    for (size_t i = 0; i < watch->options.topology_count; i++) {
        const struct tally_topology *topology = watch->options.topologies[i];
        const char *input = tally_topology_input(topology);
        const char *const names[KINDS] = {is_output(watch, input) ? NULL : input,
                tally_topology_output(topology), tally_topology_dead_letters(topology)};

        for (size_t kind = 0; kind < KINDS; kind++) {
            enum tally_code *suspicion = &watch->topic_suspicions[KINDS * i + kind];
            enum tally_code code = names[kind] ? check_topic(watch, names[kind], err) : TALLY_OK;

            if (code && code != TALLY_TOPIC_CONFIG) {
                return code;
            }
            if (code && *suspicion == code) {
                return code;
            }
            *suspicion = code;
        }
    }
    return TALLY_OK;
}

/* --- ranges ----------------------------------------------------------------------------------- */

static void add_probe(struct tally_position_watch *watch, size_t slot, const char *topic,
        int32_t partition, int64_t offset, uint32_t crc)
{
    watch->probes[watch->probe_count++] = (struct record_probe){
            .slot = slot, .topic = topic, .partition = partition, .offset = offset, .crc = crc};
}

/* A handle to read with; it also answers watermarks. */
static enum tally_code need_consumer(struct tally_position_watch *watch, struct tally_error *err)
{
    struct tally_client *client = watch->options.client;

    if (!watch->consumer) {
        watch->consumer = client->ops->probe_consumer(client, err);
    }
    return watch->consumer ? TALLY_OK : TALLY_UNAVAILABLE;
}

/* A projection's position stands in its changelog too: it stays. */
static void note_rest(struct tally_position_watch *watch, size_t index, int64_t next, int64_t high)
{
    const struct tally_task_slot *slot = tally_task_registry_at(watch->options.registry, index);
    struct rest *rest = &watch->rests[index];
    int64_t now_ms = tally_mono_ms(watch->options.clock);

    if (next != rest->next || next >= high || tally_topology_projection(slot->topology)) {
        *rest = (struct rest){.next = next, .since_ms = now_ms};
        return;
    }
    rest->high = high;
    rest->wanted = now_ms - rest->since_ms >= REST_MS;
}

/* Of the inputs and outputs of all running tasks, together. */
static void ask_ranges(struct tally_position_watch *watch)
{
    watch->range_count = 0;
    for (size_t i = 0; i < watch->slot_count; i++) {
        const struct tally_task_slot *slot = tally_task_registry_at(watch->options.registry, i);
        struct tally_range *ranges = &watch->ranges[watch->range_count];

        if (watch->running[i]) {
            ranges[0].topic = tally_topology_input(slot->topology);
            ranges[1].topic = tally_topology_output(slot->topology);
            ranges[0].partition = ranges[1].partition = slot->partition;
            watch->range_count += 2;
        }
    }
    watch->consumer->ops->ranges(watch->consumer, watch->ranges, watch->range_count,
            ASK_TIMEOUT_MS);
}

/* Whether the task's positions lie within its topics; the records to read are noted. */
static void check_ranges(struct tally_position_watch *watch, size_t index,
        const struct tally_range *input, const struct tally_range *events)
{
    struct tally_task_slot *slot = tally_task_registry_at(watch->options.registry, index);
    const struct tally_positions *at = &watch->positions[index];
    const struct tally_positions *anchor = &watch->anchors[index];
    bool compacted = tally_topology_projection(slot->topology) != NULL; /* its records go */
    struct tally_error *doubt = &watch->doubts[index];
    int64_t next;

    if (input->code || events->code) { /* no answer for this one: the next look tells */
        watch->verified[index] = false;
        return;
    }
    next = atomic_load(&slot->in_next); /* it may have gone on while commands were deleted */
    /* Deleted events are no harm to a state that has them. */
    if (tally_check_events(events->topic, slot->partition, at->out_last, 0, events->high, doubt) ||
            (at->in_next > input->high &&
                    tally_check_input(input->topic, slot->partition, at->in_next, at->in_next, 0,
                            input->high, doubt)) ||
            (next >= 0 && next < input->low &&
                    tally_check_input(input->topic, slot->partition, next, next, input->low,
                            input->high, doubt))) {
        return;
    }
    note_rest(watch, index, next, input->high);
    if (anchor->in_last >= input->low && anchor->in_last >= 0) {
        add_probe(watch, index, input->topic, slot->partition, anchor->in_last, anchor->in_crc);
    }
    if (anchor->out_last >= events->low && anchor->out_last >= 0 && !compacted) {
        add_probe(watch, index, events->topic, slot->partition, anchor->out_last, anchor->out_crc);
    }
}

static void check_all_ranges(struct tally_position_watch *watch)
{
    const struct tally_range *ranges = watch->ranges;

    ask_ranges(watch);
    for (size_t i = 0; i < watch->slot_count; i++) {
        if (watch->running[i]) {
            check_ranges(watch, i, &ranges[0], &ranges[1]);
            ranges += 2;
        }
    }
}

/* --- records ---------------------------------------------------------------------------------- */

static void judge_record(struct tally_position_watch *watch, struct record_probe *probe,
        const struct tally_record *record)
{
    bool there = record->offset == probe->offset;

    probe->seen = true;
    if (there && tally_stream_task_crc(record) == probe->crc) {
        return;
    }
    watch->certain[probe->slot] = watch->certain[probe->slot] || there;
    if (!watch->doubts[probe->slot].code) {
        (void)tally_error_set(&watch->doubts[probe->slot], TALLY_TOPIC_RECREATED,
                "%s/%d@%lld is not the record that was processed: the topic was recreated or "
                "truncated while the task ran",
                probe->topic, (int)probe->partition, (long long)probe->offset);
    }
}

static size_t unseen(const struct tally_position_watch *watch)
{
    size_t count = 0;

    for (size_t i = 0; i < watch->probe_count; i++) {
        count += !watch->probes[i].seen;
    }
    return count;
}

static size_t unanswered(const struct tally_position_watch *watch)
{
    size_t count = 0;

    for (size_t i = 0; i < watch->probe_count; i++) {
        count += watch->probes[i].asked && !watch->probes[i].seen;
    }
    return count;
}

/* The first probe of this pass in the same partition; NULL: none. */
static const struct record_probe *find_asked(const struct tally_position_watch *watch,
        const struct record_probe *probe)
{
    for (size_t i = 0; i < watch->probe_count; i++) {
        const struct record_probe *other = &watch->probes[i];

        if (other->asked && other->partition == probe->partition &&
                strcmp(other->topic, probe->topic) == 0) {
            return other;
        }
    }
    return NULL;
}

/* Of each partition the first probe that has not been seen, and those of the same record. */
static enum tally_code assign_probes(struct tally_position_watch *watch, struct tally_error *err)
{
    struct tally_topic_partition *partitions =
            tally_alloc_zero(watch->probe_count + 1, sizeof partitions[0]);
    size_t count = 0;
    enum tally_code code;

    for (size_t i = 0; i < watch->probe_count; i++) {
        watch->probes[i].asked = false;
    }
    for (size_t i = 0; i < watch->probe_count; i++) {
        struct record_probe *probe = &watch->probes[i];
        const struct record_probe *asked = probe->seen ? NULL : find_asked(watch, probe);

        if (!probe->seen && !asked) {
            partitions[count++] = (struct tally_topic_partition){
                    .topic = probe->topic, .partition = probe->partition, .offset = probe->offset};
        }
        probe->asked = !probe->seen && (!asked || asked->offset == probe->offset);
    }
    code = watch->consumer->ops->assign(watch->consumer, partitions, count, err);
    tally_free(partitions);
    return code;
}

/* The first record of each partition decides; one that does not come in time decides nothing. */
static enum tally_code read_once(struct tally_position_watch *watch, int64_t timeout_ms,
        struct tally_error *err)
{
    struct tally_consumer *consumer = watch->consumer;
    int64_t until_ms = tally_mono_ms(watch->options.clock) + timeout_ms;
    enum tally_code code = assign_probes(watch, err);
    int idle = 0;

    while (!code && unanswered(watch) > 0 && idle < timeout_ms / READ_SLICE_MS &&
            tally_mono_ms(watch->options.clock) < until_ms) {
        struct tally_record record = {.topic = NULL};

        if (consumer->ops->poll(consumer, READ_SLICE_MS, &record, err)) {
            idle++; /* an error is told by the ranges or by the task's own consumer */
            continue;
        }
        for (size_t i = 0; i < watch->probe_count; i++) {
            struct record_probe *probe = &watch->probes[i];

            if (probe->asked && !probe->seen && probe->partition == record.partition &&
                    strcmp(probe->topic, record.topic) == 0) {
                judge_record(watch, probe, &record);
            }
        }
        consumer->ops->release(consumer, &record);
    }
    return code ? code : consumer->ops->assign(consumer, NULL, 0, err);
}

/* librdkafka waits long for a topic that it has seen vanish; a new handle does not. */
static enum tally_code read_records(struct tally_position_watch *watch, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    for (int attempt = 0; attempt < 2 && !code && unseen(watch) > 0; attempt++) {
        size_t before = watch->probe_count + 1;

        code = need_consumer(watch, err);
        while (!code && unseen(watch) > 0 && unseen(watch) < before) {
            before = unseen(watch);
            code = read_once(watch, attempt ? READ_AGAIN_MS : READ_TIMEOUT_MS, err);
        }
        if (unseen(watch) > 0 && watch->consumer) {
            watch->consumer->ops->destroy(watch->consumer);
            watch->consumer = NULL;
        }
    }
    return code;
}

/* --- tails ------------------------------------------------------------------------------------ */

static enum tally_code assign_tails(struct tally_position_watch *watch,
        struct tally_consumer *consumer, size_t *count, struct tally_error *err)
{
    struct tally_topic_partition *partitions =
            tally_alloc_zero(watch->slot_count + 1, sizeof partitions[0]);
    enum tally_code code = TALLY_OK;

    *count = 0;
    for (size_t i = 0; i < watch->slot_count; i++) {
        const struct tally_task_slot *slot = tally_task_registry_at(watch->options.registry, i);

        if (watch->rests[i].wanted) {
            partitions[(*count)++] =
                    (struct tally_topic_partition){.topic = tally_topology_input(slot->topology),
                            .partition = slot->partition,
                            .offset = watch->rests[i].next};
        }
    }
    if (*count > 0) {
        code = consumer->ops->assign(consumer, partitions, *count, err);
    }
    tally_free(partitions);
    return code;
}

/* A record: the task has not stood still because nothing is there. */
static void give_up(struct tally_position_watch *watch, const struct tally_record *record)
{
    for (size_t i = 0; i < watch->slot_count; i++) {
        const struct tally_task_slot *slot = tally_task_registry_at(watch->options.registry, i);

        if (watch->rests[i].wanted && slot->partition == record->partition &&
                strcmp(tally_topology_input(slot->topology), record->topic) == 0) {
            watch->rests[i].wanted = false;
        }
    }
}

/* How many are not passed up to their end yet. Those that are go to their tasks. */
static size_t take_passed(struct tally_position_watch *watch, struct tally_consumer *consumer)
{
    size_t left = 0;

    for (size_t i = 0; i < watch->slot_count; i++) {
        struct tally_task_slot *slot = tally_task_registry_at(watch->options.registry, i);
        struct rest *rest = &watch->rests[i];
        int64_t position;

        if (!rest->wanted) {
            continue;
        }
        position = consumer->ops->position(consumer, tally_topology_input(slot->topology),
                slot->partition);
        if (position >= rest->high) {
            tally_task_slot_pass(slot, rest->next, position);
            rest->wanted = false;
        }
        left += rest->wanted;
    }
    return left;
}

static void prove_tails(struct tally_position_watch *watch, struct tally_consumer *consumer,
        struct tally_error *err)
{
    int64_t until_ms = tally_mono_ms(watch->options.clock) + READ_AGAIN_MS;
    int idle = 0;

    while (take_passed(watch, consumer) > 0 && idle < READ_AGAIN_MS / READ_SLICE_MS &&
            tally_mono_ms(watch->options.clock) < until_ms) {
        struct tally_record record = {.topic = NULL};

        if (consumer->ops->poll(consumer, READ_SLICE_MS, &record, err)) {
            idle++;
            continue;
        }
        give_up(watch, &record);
        consumer->ops->release(consumer, &record);
    }
}

static void look_at_tails(struct tally_position_watch *watch, struct tally_error *err)
{
    struct tally_client *client = watch->options.client;
    int64_t now_ms = tally_mono_ms(watch->options.clock);
    struct tally_consumer *consumer;
    size_t count = 0;

    for (size_t i = 0; i < watch->slot_count; i++) {
        watch->rests[i].wanted = watch->rests[i].wanted && watch->running[i] &&
                                 watch->verified[i] && !watch->doubts[i].code;
        count += watch->rests[i].wanted;
        if (watch->rests[i].wanted) {
            watch->rests[i].since_ms = now_ms; /* however it ends: not at every look */
        }
    }
    consumer = count > 0 ? client->ops->probe_consumer(client, err) : NULL;
    if (!consumer) {
        return;
    }
    if (!assign_tails(watch, consumer, &count, err)) {
        prove_tails(watch, consumer, err);
    }
    consumer->ops->destroy(consumer);
    for (size_t i = 0; i < watch->slot_count; i++) {
        watch->rests[i].wanted = false;
    }
}

/* --- one look --------------------------------------------------------------------------------- */

static size_t take_positions(struct tally_position_watch *watch)
{
    size_t running = 0;

    watch->probe_count = 0;
    for (size_t i = 0; i < watch->slot_count; i++) {
        struct tally_task_slot *slot = tally_task_registry_at(watch->options.registry, i);
        struct tally_view *view = NULL;

        watch->doubts[i].code = TALLY_OK;
        watch->certain[i] = false;
        watch->verified[i] = true;
        if (atomic_load(&slot->state) == TALLY_TASK_RUNNING) {
            view = tally_task_slot_view(slot);
        }
        if (!watch->running[i]) { /* it was restored since, which has looked at its records */
            watch->anchors[i] = (struct tally_positions){.in_last = -1, .out_last = -1};
        }
        if (watch->anchors[i].in_last < 0) {
            (void)tally_task_slot_get_anchor(slot, &watch->anchors[i]);
        }
        watch->running[i] = view != NULL;
        if (view) {
            watch->positions[i] = *tally_view_positions(view);
            tally_view_unref(view);
            running++;
        }
    }
    return running;
}

static void forget(struct tally_position_watch *watch)
{
    for (size_t i = 0; i < watch->slot_count; i++) {
        watch->suspicions[i] = TALLY_OK;
    }
}

/* What does not fit twice goes to the task. */
static void raise_doubts(struct tally_position_watch *watch)
{
    for (size_t i = 0; i < watch->probe_count; i++) {
        watch->verified[watch->probes[i].slot] =
                watch->verified[watch->probes[i].slot] && watch->probes[i].seen;
    }
    for (size_t i = 0; i < watch->slot_count; i++) {
        enum tally_code code = watch->doubts[i].code;

        if (code && (watch->suspicions[i] || watch->certain[i])) {
            tally_task_slot_doubt(tally_task_registry_at(watch->options.registry, i),
                    &watch->doubts[i], &watch->anchors[i]);
        }
        watch->suspicions[i] = code;
        if (!code && watch->verified[i]) {
            watch->anchors[i] = watch->positions[i];
        }
    }
}

enum tally_code tally_position_watch_look(struct tally_position_watch *watch,
        struct tally_error *err)
{
    struct tally_client *client = watch->options.client;
    enum tally_code code;

    if (!client->ops->reachable(client, NULL)) {
        forget(watch);
        return TALLY_OK;
    }
    code = check_topics(watch, err);
    if (!code && take_positions(watch) > 0) {
        code = need_consumer(watch, err);
        if (!code) {
            check_all_ranges(watch);
            code = read_records(watch, err);
        }
        if (!code) {
            raise_doubts(watch);
            look_at_tails(watch, err);
        }
    }
    return code == TALLY_TOPIC_CONFIG ? code : TALLY_OK; /* not answered: the next look tells */
}
