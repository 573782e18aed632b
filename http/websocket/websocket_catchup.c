/* http/websocket/websocket_catchup.c - see websocket_catchup.h.
 * Invariants
 *  (1) It ends when no place is behind the feed's, checked under the feed's lock: what the feed
 *      reads from then on is told after CAUGHT, and what it has read before lies below the places.
 *  (2) A client that takes nothing is read for no further than FLOW_BYTES; the others go on. */
#include "http/websocket/websocket_catchup.h"

#include <stdio.h>

#include "engine/base/hash.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

enum {
    POLL_MS = 100,
    RANGES_MS = 5000,
    FLOW_BYTES = 256 * 1024,
    SLICE_RECORDS = 5000, /* then it is the next one's turn */
    JOIN_RECORDS = 64,    /* between looks at the feed */
    WAIT_MS = 50,         /* for clients to take something, when all have enough */
    READER = 1001         /* number in the client's name */
};

struct order {
    struct order *next;
    struct websocket_spec *spec;
    struct websocket_place *places;
    bool begun;
};
struct websocket_catchups {
    struct websocket_catchups_options options;
    struct websocket_maker *maker;
    struct tally_consumer *consumer;
    int32_t partitions;
    struct tally_thread thread;
    struct tally_mutex mutex; /* guards orders and stop */
    struct tally_cond changed;
    struct order *first, *last;
    bool stop;
};

enum outcome { GOES_ON, ENDED };

static bool is_stopping(struct websocket_catchups *catchups)
{
    bool stop;

    tally_mutex_lock(&catchups->mutex);
    stop = catchups->stop;
    tally_mutex_unlock(&catchups->mutex);
    return stop;
}

static const struct websocket_source *source_of(const struct websocket_catchups *catchups,
        const struct order *order)
{
    return websocket_feed_source_at(catchups->options.feed,
            (size_t)websocket_feed_source(catchups->options.feed, order->spec->topic));
}

static void fail(struct websocket_catchups *catchups, struct order *order, const char *code,
        const char *detail)
{
    struct websocket_note *note = websocket_note_create(WEBSOCKET_NOTE_FAILED, order->spec);

    websocket_refuse(&note->refusal, code, "%s", detail);
    websocket_inbox_push(catchups->options.inbox, note, true);
}

/* --- beginning -------------------------------------------------------------------------------- */

/* Names alone the partitions that may have something for it. */
static void leave_out(struct websocket_catchups *catchups, struct order *order)
{
    const struct websocket_names *ids = &order->spec->ids;

    for (int32_t i = 0; i < catchups->partitions && ids->given; i++) {
        bool mine = false;

        for (size_t j = 0; j < ids->count && order->places[i].named && !mine; j++) {
            mine = tally_partition_of(ids->items[j], catchups->partitions) == i;
        }
        order->places[i].named = mine;
    }
}

static enum outcome check_ranges(struct websocket_catchups *catchups, struct order *order)
{
    struct tally_range *ranges = tally_alloc_zero((size_t)catchups->partitions, sizeof *ranges);
    const char *refusal = NULL;
    size_t count = 0;

    for (int32_t i = 0; i < catchups->partitions; i++) {
        if (order->places[i].named) {
            ranges[count++] = (struct tally_range){
                    .topic = source_of(catchups, order)->topic, .partition = i};
        }
    }
    if (count > 0) {
        catchups->consumer->ops->ranges(catchups->consumer, ranges, count, RANGES_MS);
    }
    for (size_t i = 0; i < count && !refusal; i++) {
        int64_t next = order->places[ranges[i].partition].next;

        if (ranges[i].code) {
            refusal = "KAFKA_UNAVAILABLE";
        } else if (next < ranges[i].low || next > ranges[i].high) {
            refusal = "RESYNC_REQUIRED";
        }
    }
    tally_free(ranges);
    if (refusal) {
        fail(catchups, order, refusal,
                strcmp(refusal, "RESYNC_REQUIRED") == 0
                        ? "a position is not in the log any more, or not yet: subscribe again with "
                          "snapshot"
                        : "events cannot be read now: try again later");
    }
    return refusal ? ENDED : GOES_ON;
}

static enum outcome begin(struct websocket_catchups *catchups, struct order *order)
{
    struct tally_error err = {.code = TALLY_OK};

    if (!catchups->consumer) {
        catchups->consumer =
                catchups->options.client->ops->restore_consumer(catchups->options.client, READER,
                        &err);
    }
    if (!catchups->consumer) {
        tally_log_error(TALLY_LOG_WARN, "a stream cannot be resumed", &err);
        fail(catchups, order, "KAFKA_UNAVAILABLE", "events cannot be read now: try again later");
        return ENDED;
    }
    if (order->begun) {
        return GOES_ON;
    }
    order->begun = true;
    leave_out(catchups, order);
    if (check_ranges(catchups, order) == ENDED) {
        return ENDED;
    }
    websocket_inbox_push(catchups->options.inbox,
            websocket_note_create(WEBSOCKET_NOTE_BEGUN, order->spec), true);
    return GOES_ON;
}

/* --- reading ---------------------------------------------------------------------------------- */

static enum tally_code assign(struct websocket_catchups *catchups, const struct order *order,
        struct tally_error *err)
{
    struct tally_topic_partition *list =
            tally_alloc_zero((size_t)catchups->partitions, sizeof *list);
    size_t count = 0;
    enum tally_code code;

    for (int32_t i = 0; i < catchups->partitions; i++) {
        if (order->places[i].named) {
            list[count++] =
                    (struct tally_topic_partition){.topic = source_of(catchups, order)->topic,
                            .partition = i,
                            .offset = order->places[i].next};
        }
    }
    code = catchups->consumer->ops->assign(catchups->consumer, list, count, err);
    tally_free(list);
    return code;
}

static enum tally_code tell(struct websocket_catchups *catchups, struct order *order,
        const struct tally_record *record, struct tally_error *err)
{
    const struct websocket_source *source = source_of(catchups, order);
    struct websocket_event *events[WEBSOCKET_TOPICS];
    size_t count = 0;
    enum tally_code code = TALLY_OK;

    if (!websocket_names_have(&order->spec->ids, record->key)) {
        return TALLY_OK;
    }
    (void)websocket_maker_decode(catchups->maker, source, record);
    code = websocket_maker_make(catchups->maker, source, record, 1u << order->spec->topic, events,
            &count, err);
    for (size_t i = 0; i < count; i++) {
        struct websocket_note *note = websocket_note_create(WEBSOCKET_NOTE_EVENT, order->spec);

        note->event = events[i];
        atomic_fetch_add(&order->spec->flying, websocket_event_bytes(events[i]));
        websocket_inbox_push(catchups->options.inbox, note, false);
    }
    return code;
}

/* Past what nobody is shown. */
static void take_positions(struct websocket_catchups *catchups, struct order *order)
{
    for (int32_t i = 0; i < catchups->partitions; i++) {
        int64_t position = catchups->consumer->ops->position(catchups->consumer,
                source_of(catchups, order)->topic, i);

        if (order->places[i].named && position > order->places[i].next) {
            order->places[i].next = position;
        }
    }
}

static enum tally_code take_one(struct websocket_catchups *catchups, struct order *order,
        struct tally_error *err)
{
    struct tally_record record;
    enum tally_code code = catchups->consumer->ops->poll(catchups->consumer, POLL_MS, &record, err);

    if (code == TALLY_OK) {
        struct websocket_place *place = &order->places[record.partition];

        if (place->named && record.offset >= place->next &&
                strcmp(record.topic, source_of(catchups, order)->topic) == 0) {
            code = tell(catchups, order, &record, err);
            place->next = code ? place->next : record.offset + 1;
        }
        catchups->consumer->ops->release(catchups->consumer, &record);
        return code;
    }
    if (code == TALLY_AGAIN) {
        take_positions(catchups, order);
    }
    return code;
}

static bool has_enough(const struct order *order)
{
    return atomic_load(&order->spec->queued) + atomic_load(&order->spec->flying) > FLOW_BYTES;
}

/* A slice of the way. */
static enum outcome read_on(struct websocket_catchups *catchups, struct order *order)
{
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code = TALLY_OK;

    if (websocket_feed_join(catchups->options.feed, order->spec, order->places)) {
        return ENDED;
    }
    code = assign(catchups, order, &err);
    for (int i = 0; i < SLICE_RECORDS && !code && !has_enough(order); i++) {
        code = take_one(catchups, order, &err);
        if (!code && i % JOIN_RECORDS == JOIN_RECORDS - 1) {
            take_positions(catchups, order);
        }
        if ((code == TALLY_AGAIN || i % JOIN_RECORDS == JOIN_RECORDS - 1) &&
                websocket_feed_join(catchups->options.feed, order->spec, order->places)) {
            return ENDED;
        }
        if (code == TALLY_AGAIN || tally_code_reaction(code) == TALLY_REACT_RETRY) {
            code = TALLY_OK;
        }
        if (atomic_load(&order->spec->cancelled) || is_stopping(catchups)) {
            return ENDED;
        }
    }
    if (code) {
        tally_log_error(TALLY_LOG_WARN, "a stream cannot be resumed", &err);
        fail(catchups, order, "RESYNC_REQUIRED",
                "events could not be read: subscribe again with snapshot");
    }
    return code ? ENDED : GOES_ON;
}

/* --- the thread ------------------------------------------------------------------------------- */

static void append(struct websocket_catchups *catchups, struct order *order)
{
    order->next = NULL;
    *(catchups->last ? &catchups->last->next : &catchups->first) = order;
    catchups->last = order;
}

static void let_go(struct websocket_catchups *catchups)
{
    if (catchups->consumer) {
        catchups->consumer->ops->destroy(catchups->consumer);
        catchups->consumer = NULL;
    }
}

/* NULL: the end. */
static struct order *take(struct websocket_catchups *catchups)
{
    struct order *order;

    tally_mutex_lock(&catchups->mutex);
    if (!catchups->first && catchups->consumer) {
        tally_mutex_unlock(&catchups->mutex);
        let_go(catchups);
        tally_mutex_lock(&catchups->mutex);
    }
    while (!catchups->stop && !catchups->first) {
        (void)tally_cond_wait(&catchups->changed, &catchups->mutex, -1);
    }
    order = catchups->first;
    if (order) {
        catchups->first = order->next;
        catchups->last = catchups->first ? catchups->last : NULL;
    }
    tally_mutex_unlock(&catchups->mutex);
    return order;
}

static void put_back(struct websocket_catchups *catchups, struct order *order)
{
    tally_mutex_lock(&catchups->mutex);
    append(catchups, order);
    if (!catchups->stop && has_enough(order)) {
        (void)tally_cond_wait(&catchups->changed, &catchups->mutex, WAIT_MS);
    }
    tally_mutex_unlock(&catchups->mutex);
}

static enum outcome serve(struct websocket_catchups *catchups, struct order *order)
{
    if (atomic_load(&order->spec->cancelled) || is_stopping(catchups)) {
        return ENDED;
    }
    if (order->begun && has_enough(order)) {
        return GOES_ON;
    }
    return begin(catchups, order) == ENDED ? ENDED : read_on(catchups, order);
}

static void run(void *argument)
{
    struct websocket_catchups *catchups = argument;
    struct order *order;

    while ((order = take(catchups))) {
        if (serve(catchups, order) == GOES_ON) {
            put_back(catchups, order);
            continue;
        }
        websocket_spec_release(order->spec);
        tally_free(order->places);
        tally_free(order);
    }
    let_go(catchups);
}

/* --- life ------------------------------------------------------------------------------------- */

struct websocket_catchups *
websocket_catchups_create(const struct websocket_catchups_options *options)
{
    struct websocket_catchups *catchups = tally_alloc_zero(1, sizeof *catchups);

    catchups->options = *options;
    catchups->partitions = websocket_feed_partitions(options->feed);
    catchups->maker = websocket_maker_create(options->prototype);
    tally_mutex_init(&catchups->mutex, TALLY_LOCK_HTTP);
    tally_cond_init(&catchups->changed);
    return catchups;
}

void websocket_catchups_start(struct websocket_catchups *catchups)
{
    tally_thread_start(&catchups->thread, "websocket-old", run, catchups);
}

void websocket_catchups_stop(struct websocket_catchups *catchups)
{
    tally_mutex_lock(&catchups->mutex);
    catchups->stop = true;
    tally_cond_broadcast(&catchups->changed);
    tally_mutex_unlock(&catchups->mutex);
    tally_thread_join(&catchups->thread);
}

void websocket_catchups_destroy(struct websocket_catchups *catchups)
{
    websocket_maker_destroy(catchups->maker);
    tally_cond_deinit(&catchups->changed);
    tally_mutex_deinit(&catchups->mutex);
    tally_free(catchups);
}

void websocket_catchups_ask(struct websocket_catchups *catchups, struct websocket_spec *spec)
{
    size_t bytes = (size_t)catchups->partitions * sizeof *spec->places;
    struct order *order = tally_alloc_zero(1, sizeof *order);

    order->spec = websocket_spec_share(spec);
    order->places = tally_alloc(bytes);
    memcpy(order->places, spec->places, bytes);
    tally_mutex_lock(&catchups->mutex);
    append(catchups, order);
    tally_cond_signal(&catchups->changed);
    tally_mutex_unlock(&catchups->mutex);
}
