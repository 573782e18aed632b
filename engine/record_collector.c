/* engine/record_collector.c - see record_collector.h. */
#include "engine/record_collector.h"

#include "engine/base/failpoint.h"

enum {
    TARGETS_MAX = 4096,
    ARENA_BLOCK_BYTES = 2 * 1024 * 1024,
    ARENA_KEEP_BYTES = 16 * 1024 * 1024,
    FRAMING_SHARE = 8 /* of a batch, and more, is not keys and values */
};

struct target {
    const char *topic; /* compared by address: topics are the topologies' own strings */
    int32_t partition;
    struct tally_produce *records;
    size_t count, capacity;
    size_t bytes, bytes_max; /* since the last reset; most of what a batch may have */
};

struct tally_collector {
    struct tally_client *client;
    struct tally_arena arena;
    struct target *targets;
    size_t target_count;
    size_t last; /* index of the target used last */
};

struct tally_collector *tally_collector_create(struct tally_client *client)
{
    struct tally_collector *collector = tally_alloc_zero(1, sizeof *collector);

    collector->client = client;
    tally_arena_init(&collector->arena, ARENA_BLOCK_BYTES);
    return collector;
}

void tally_collector_destroy(struct tally_collector *collector)
{
    if (!collector) {
        return;
    }
    for (size_t i = 0; i < collector->target_count; i++) {
        tally_free(collector->targets[i].records);
    }
    tally_free(collector->targets);
    tally_arena_deinit(&collector->arena);
    tally_free(collector);
}

struct tally_arena *tally_collector_arena(struct tally_collector *collector)
{
    return &collector->arena;
}

static bool is_target(const struct target *target, const char *topic, int32_t partition)
{
    return target->topic == topic && target->partition == partition;
}

static struct target *find_target(struct tally_collector *collector, const char *topic,
        int32_t partition)
{
    struct target *target;
    size_t batch_max;

    if (collector->last < collector->target_count &&
            is_target(&collector->targets[collector->last], topic, partition)) {
        return &collector->targets[collector->last];
    }
    for (size_t i = 0; i < collector->target_count; i++) {
        if (is_target(&collector->targets[i], topic, partition)) {
            collector->last = i;
            return &collector->targets[i];
        }
    }
    tally_assert(collector->target_count < TARGETS_MAX);
    collector->targets = tally_realloc(collector->targets,
            (collector->target_count + 1) * sizeof collector->targets[0]);
    collector->last = collector->target_count++;
    target = &collector->targets[collector->last];
    batch_max = collector->client->ops->record_max(collector->client, topic);
    *target = (struct target){.topic = topic,
            .partition = partition,
            .bytes_max = batch_max - batch_max / FRAMING_SHARE};
    return target;
}

void tally_collector_add(struct tally_collector *collector, const char *topic, int32_t partition,
        const struct tally_produce *record)
{
    struct target *target = find_target(collector, topic, partition);

    if (target->count == target->capacity) {
        target->capacity = target->capacity ? target->capacity * 2 : 256;
        target->records =
                tally_realloc(target->records, target->capacity * sizeof target->records[0]);
    }
    target->bytes += record->key.len + record->value.len;
    target->records[target->count++] = *record;
}

enum tally_code tally_collector_flush(struct tally_collector *collector,
        struct tally_producer *producer, struct tally_error *err)
{
    for (size_t i = 0; i < collector->target_count; i++) {
        struct target *target = &collector->targets[i];
        enum tally_code code;
        size_t done = 0;

        if (target->count == 0) {
            continue;
        }
        code = TALLY_FAILPOINT_CODE(LOOP_PRODUCE_BEFORE, TALLY_TXN_ABORTED, err);
        code = code ? code
                    : producer->ops->produce(producer, target->topic, target->partition,
                              target->records, target->count, &done, err);
        code = code ? code : TALLY_FAILPOINT_CODE(LOOP_PRODUCE_AFTER, TALLY_TXN_ABORTED, err);
        if (code) {
            tally_error_context(err, "produce to %s/%d", target->topic, target->partition);
            return code;
        }
        target->count = 0;
    }
    return TALLY_OK;
}

void tally_collector_reset(struct tally_collector *collector)
{
    for (size_t i = 0; i < collector->target_count; i++) {
        collector->targets[i].count = 0;
        collector->targets[i].bytes = 0;
    }
    tally_arena_reset(&collector->arena, ARENA_KEEP_BYTES);
}

size_t tally_collector_bytes(const struct tally_collector *collector)
{
    return collector->arena.used;
}

bool tally_collector_full(const struct tally_collector *collector)
{
    for (size_t i = 0; i < collector->target_count; i++) {
        if (collector->targets[i].bytes > collector->targets[i].bytes_max) {
            return true;
        }
    }
    return false;
}
