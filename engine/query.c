/* engine/query.c - see query.h. */
#include "engine/query.h"

#include "engine/base/hash.h"
#include "engine/outcome_answer.h"
#include "engine/runtime_internal.h"

struct tally_read {
    struct tally_runtime *runtime;
    struct tally_task_slot *slot;
    struct tally_view *view;
    struct tally_read_info info;
    bool ready;
    struct tally_read **place; /* where it stays when it is closed, or NULL */
};

bool tally_positions_parse(struct tally_slice text, struct tally_min_position *positions,
        size_t *count)
{
    *count = 0;
    while (text.len > 0) {
        const uint8_t *comma = memchr(text.data, ',', text.len);
        size_t len = comma ? (size_t)(comma - text.data) : text.len;
        struct tally_slice item = tally_slice_of(text.data, len);
        const uint8_t *at = memrchr(item.data, '@', item.len);
        const uint8_t *slash = at ? memrchr(item.data, '/', (size_t)(at - item.data)) : NULL;
        int64_t partition, offset;

        if (*count == TALLY_MIN_POSITIONS_MAX || !slash || slash == item.data ||
                !tally_parse_int(tally_slice_of(slash + 1, (size_t)(at - slash - 1)), &partition) ||
                !tally_parse_int(tally_slice_of(at + 1, (size_t)(item.data + item.len - at - 1)),
                        &offset) ||
                partition < 0 || partition > INT32_MAX || offset < 0) {
            return false;
        }
        positions[(*count)++] = (struct tally_min_position){
                .topic = tally_slice_of(item.data, (size_t)(slash - item.data)),
                .partition = (int32_t)partition,
                .offset = offset,
        };
        if (!comma) {
            break;
        }
        text = tally_slice_of(comma + 1, text.len - len - 1);
        if (text.len == 0) {
            return false; /* ends with a comma */
        }
    }
    return *count > 0;
}

/* Waits for the positions that are this task's own. */
static enum tally_code wait_positions(struct tally_task_slot *slot,
        const struct tally_read_options *options, struct tally_error *err)
{
    struct tally_slice topic = tally_slice_string(tally_topology_input(slot->topology));

    for (size_t i = 0; options && i < options->position_count; i++) {
        const struct tally_min_position *position = &options->positions[i];
        enum tally_code code;

        if (position->partition != slot->partition || !tally_slice_equal(position->topic, topic)) {
            continue;
        }
        code = tally_task_slot_wait(slot, position->offset, options->wait_ms);
        if (code == TALLY_QUEUE_FULL) {
            return tally_error_set(err, code,
                    "too many requests wait for a position: try again, or raise http.wait.max");
        }
        if (code || atomic_load(&slot->state) != TALLY_TASK_RUNNING) {
            return tally_error_set(err, TALLY_TIMEOUT, "position %.*s/%d@%lld is not applied yet",
                    (int)position->topic.len, (const char *)position->topic.data,
                    position->partition, (long long)position->offset);
        }
    }
    return TALLY_OK;
}

/* as_of_ms: up to when the task had read before the view was taken. The view is complete up to its
 * last event too: records of a partition come in the order of their times. */
static void fill_info(struct tally_read *read, int64_t as_of_ms)
{
    const struct tally_positions *positions = tally_view_positions(read->view);
    struct tally_task_slot *slot = read->slot;
    int64_t in_next = positions->in_next;

    read->info = (struct tally_read_info){
            .topology = tally_topology_name(slot->topology),
            .partition = slot->partition,
            .state = (enum tally_task_state)atomic_load(&slot->state),
            .topic = tally_topology_input(slot->topology),
            .position = in_next > 0 ? in_next - 1 : -1,
            .log = tally_topology_output(slot->topology),
            .log_last = positions->out_last,
            .as_of_ms = as_of_ms > positions->decision_time ? as_of_ms : positions->decision_time,
    };
    if (read->info.as_of_ms == 0) {
        read->info.as_of_ms = positions->commit_time;
    }
}

static bool is_readable(const struct tally_task_slot *slot, enum tally_read_of of)
{
    int state = atomic_load(&slot->state);

    switch (of) {
    case TALLY_READ_RUNNING:
        return state == TALLY_TASK_RUNNING;
    case TALLY_READ_OURS:
        return state != TALLY_TASK_CLOSED && state != TALLY_TASK_PARKED;
    case TALLY_READ_OPEN:
        break;
    }
    return state != TALLY_TASK_CLOSED;
}

bool tally_read_is_here(struct tally_runtime *runtime, const char *topology, int32_t partition)
{
    const struct tally_task_slot *slot =
            tally_task_registry_find(runtime->registry, topology, partition);

    return slot && is_readable(slot, TALLY_READ_RUNNING);
}

static void destroy(struct tally_read *read)
{
    if (read) {
        tally_view_unref(read->view);
        tally_free(read);
    }
}

static struct tally_read **place_of(const struct tally_read_options *options, int32_t partition)
{
    return options && options->kept ? &options->kept->reads[partition % TALLY_READS_KEPT] : NULL;
}

/* The read that is kept there, if it is of this task's newest state. */
static struct tally_read *take_kept(struct tally_read **place, const struct tally_task_slot *slot)
{
    struct tally_read *read = *place;

    *place = NULL;
    if (read && (read->slot != slot || !tally_view_is_newest(read->view))) {
        destroy(read);
        read = NULL;
    }
    return read;
}

enum tally_code tally_read_open(struct tally_runtime *runtime, const char *topology,
        struct tally_slice key, int32_t partition, const struct tally_read_options *options,
        struct tally_read **read, struct tally_error *err)
{
    struct tally_task_slot *slot;
    struct tally_view *view;
    struct tally_read **place;
    int64_t as_of_ms;
    enum tally_code code;

    *read = NULL;
    if (partition < 0) {
        partition = tally_partition_of(key, runtime->options.partitions);
    }
    slot = tally_task_registry_find(runtime->registry, topology, partition);
    if (!slot || !is_readable(slot, options ? options->of : TALLY_READ_OPEN)) {
        return tally_error_set(err, TALLY_FENCED, "%s/%d is not on this instance", topology,
                partition);
    }
    code = wait_positions(slot, options, err);
    if (code) {
        return code;
    }
    if (atomic_load(&slot->cold)) {
        return tally_error_set(err, TALLY_UNAVAILABLE, "%s/%d is being restored", topology,
                partition);
    }
    as_of_ms = atomic_load(&slot->as_of_ms);
    place = place_of(options, partition);
    *read = place ? take_kept(place, slot) : NULL;
    if (!*read) {
        view = tally_task_slot_view(slot);
        if (!view) {
            return tally_error_set(err, TALLY_UNAVAILABLE, "%s/%d has no open store", topology,
                    partition);
        }
        *read = tally_alloc_zero(1, sizeof **read);
        (*read)->runtime = runtime;
        (*read)->slot = slot;
        (*read)->view = view;
        (*read)->place = place;
    }
    (*read)->ready = options && options->ready;
    fill_info(*read, as_of_ms);
    return TALLY_OK;
}

void tally_read_close(struct tally_read *read)
{
    if (read && read->place && !*read->place) {
        *read->place = read;
    } else {
        destroy(read);
    }
}

void tally_reads_drop(struct tally_reads_kept *kept)
{
    for (size_t i = 0; i < TALLY_READS_KEPT; i++) {
        destroy(kept->reads[i]);
        kept->reads[i] = NULL;
    }
}

const struct tally_read_info *tally_read_info(const struct tally_read *read)
{
    return &read->info;
}

enum tally_code tally_read_get(struct tally_read *read, struct tally_slice key,
        struct tally_buf *value, struct tally_error *err)
{
    return read->ready ? tally_view_get_ready(read->view, key, value, err)
                       : tally_view_get(read->view, key, value, err);
}

enum tally_code tally_read_get_many(struct tally_read *read, const struct tally_slice *keys,
        size_t count, tally_found_fn found, void *context, struct tally_error *err)
{
    return tally_view_get_many(read->view, keys, count, found, context, err);
}

enum tally_code tally_read_scan(struct tally_read *read, struct tally_slice lower,
        struct tally_slice upper, bool backwards, tally_row_fn row, void *context,
        struct tally_error *err)
{
    struct tally_iterator *iterator = tally_view_iterate(read->view, lower, upper, backwards);
    struct tally_slice key, value;
    enum tally_code code = TALLY_OK;

    while (tally_iterator_next(iterator, &key, &value, &code, err)) {
        if (!row(context, key, value)) {
            break;
        }
    }
    tally_iterator_destroy(iterator);
    return code;
}

enum tally_code tally_read_outcome(struct tally_read *read, struct tally_slice command_id,
        struct tally_slice key, uint64_t fingerprint_or_0, bool duplicate, enum tally_format format,
        struct tally_buf *out, struct tally_outcome_info *info, struct tally_error *err)
{
    struct outcome_question question = {
            .topology = read->slot->topology,
            .partition = read->slot->partition,
            .partitions = read->runtime->options.partitions,
            .view = read->view,
            .command_id = command_id,
            .key = key,
            .fingerprint = fingerprint_or_0,
            .duplicate = duplicate,
            .format = format,
    };

    return outcome_answer(&question, out, info, err);
}
