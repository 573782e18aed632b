/* http/websocket/websocket_snapshot.c - see websocket_snapshot.h.
 * Invariant: every item is at least as new as the event before the place at which deltas begin,
 * because the read waits for the command of that event. Deltas that it has already are told from
 * the others by their versions. */
#include "http/websocket/websocket_snapshot.h"

#include <stdio.h>

#include "engine/base/hash.h"
#include "engine/base/thread.h"

enum {
    TEXT_BYTES = 512,
    DATA_BYTES_MAX = 16 * 1024 * 1024,
    OK_STATUS = 200,
    NOT_FOUND_STATUS = 404
};

struct order {
    struct order *next;
    struct websocket_spec *spec;
};
struct websocket_snapshots {
    const struct websocket_feed *feed;
    struct websocket_inbox *inbox;
    struct websocket_inner *inner;
    struct tally_thread thread;
    struct tally_mutex mutex; /* guards orders and stop */
    struct tally_cond changed;
    struct order *first, *last;
    bool stop;
    struct tally_buf data;
};

/* --- reading ---------------------------------------------------------------------------------- */

static void add_item(struct websocket_snapshots *snapshots, struct websocket_note *note,
        const struct websocket_event *like, const struct tally_token *item)
{
    const struct tally_token *version = tally_token_member(item, "version");
    struct websocket_event event = *like;

    if (!version || version->type != TALLY_INT) {
        return;
    }
    event.version = version->integer;
    tally_buf_clear(&snapshots->data);
    tally_token_write(item, TALLY_FORMAT_JSON, &snapshots->data);
    if ((note->count & (note->count - 1)) == 0) {
        note->items = tally_realloc(note->items,
                (note->count ? 2 * note->count : 1) * sizeof(struct websocket_event *));
    }
    note->items[note->count++] = websocket_event_create(&event, tally_buf_bytes(&snapshots->data));
}

static void add_levels(struct websocket_snapshots *snapshots, struct websocket_note *note,
        const struct websocket_event *like, const struct tally_token *stock)
{
    const struct tally_token *levels = stock ? tally_token_member(stock, "levels") : NULL;
    const struct tally_token *level = levels ? levels + 1 : NULL;
    struct websocket_event event = *like;

    for (uint32_t i = 0; levels && i < levels->count; i++, level = tally_token_next(level)) {
        const struct tally_token *warehouse = tally_token_member(level, "warehouse");

        if (warehouse && warehouse->type == TALLY_STRING &&
                websocket_names_have(&note->spec->warehouses, warehouse->string)) {
            event.warehouse = warehouse->string;
            add_item(snapshots, note, &event, level);
        }
    }
}

static void add(struct websocket_snapshots *snapshots, struct websocket_note *note,
        const struct websocket_event *like, const struct tally_token *document)
{
    if (like->topic == WEBSOCKET_STOCK) {
        add_levels(snapshots, note, like, document);
    } else if (document) {
        add_item(snapshots, note, like, document);
    }
}

/* Of one id; one that is not known has no items. */
static bool read_one(struct websocket_snapshots *snapshots, struct websocket_note *note,
        struct tally_slice id)
{
    const struct websocket_source *source = websocket_feed_source_at(snapshots->feed,
            (size_t)websocket_feed_source(snapshots->feed, note->spec->topic));
    int32_t partition = tally_partition_of(id, websocket_feed_partitions(snapshots->feed));
    int64_t input = note->spec->places[partition].input;
    const struct websocket_event like = {.topic = note->spec->topic,
            .source = source->topic,
            .partition = partition,
            .offset = note->spec->places[partition].next - 1,
            .id = id};
    char path[TEXT_BYTES], positions[TEXT_BYTES] = "";
    struct tally_slice body;
    int status;

    if (!tally_text_is(id, TALLY_TEXT_ID)) {
        return true;
    }
    snprintf(path, sizeof path, "%s%.*s", websocket_topics[note->spec->topic].path, (int)id.len,
            (const char *)id.data);
    if (input >= 0) {
        snprintf(positions, sizeof positions, "%s/%d@%lld", source->commands, (int)partition,
                (long long)input);
    }
    status = websocket_inner_get(snapshots->inner, path, "", positions, &body);
    if (status == OK_STATUS) {
        add(snapshots, note, &like, websocket_inner_document(snapshots->inner));
    } else if (status != NOT_FOUND_STATUS) {
        websocket_refuse(&note->refusal, websocket_inner_problem(snapshots->inner),
                "%s cannot be read now: %d", path, status);
    }
    return status == OK_STATUS || status == NOT_FOUND_STATUS;
}

static void read_all(struct websocket_snapshots *snapshots, struct websocket_spec *spec)
{
    struct websocket_note *note = websocket_note_create(WEBSOCKET_NOTE_SNAPSHOT, spec);

    for (size_t i = 0; i < spec->ids.count && !atomic_load(&spec->cancelled); i++) {
        if (!read_one(snapshots, note, spec->ids.items[i])) {
            note->kind = WEBSOCKET_NOTE_FAILED;
            break;
        }
    }
    websocket_inbox_push(snapshots->inbox, note, true);
}

static struct order *take(struct websocket_snapshots *snapshots)
{
    struct order *order;

    tally_mutex_lock(&snapshots->mutex);
    while (!snapshots->stop && !snapshots->first) {
        (void)tally_cond_wait(&snapshots->changed, &snapshots->mutex, -1);
    }
    order = snapshots->first;
    if (order) {
        snapshots->first = order->next;
        snapshots->last = snapshots->first ? snapshots->last : NULL;
    }
    tally_mutex_unlock(&snapshots->mutex);
    return order;
}

static void run(void *argument)
{
    struct websocket_snapshots *snapshots = argument;
    struct order *order;

    while ((order = take(snapshots))) {
        if (!atomic_load(&order->spec->cancelled)) {
            read_all(snapshots, order->spec);
        }
        websocket_spec_release(order->spec);
        tally_free(order);
    }
}

/* --- life ------------------------------------------------------------------------------------- */

struct websocket_snapshots *websocket_snapshots_create(const struct exchange *prototype,
        const struct websocket_feed *feed, struct websocket_inbox *inbox)
{
    struct websocket_snapshots *snapshots = tally_alloc_zero(1, sizeof *snapshots);

    snapshots->feed = feed;
    snapshots->inbox = inbox;
    snapshots->inner = websocket_inner_create(prototype);
    tally_mutex_init(&snapshots->mutex, TALLY_LOCK_HTTP);
    tally_cond_init(&snapshots->changed);
    tally_buf_init(&snapshots->data, DATA_BYTES_MAX);
    return snapshots;
}

void websocket_snapshots_start(struct websocket_snapshots *snapshots)
{
    tally_thread_start(&snapshots->thread, "websocket-read", run, snapshots);
}

void websocket_snapshots_stop(struct websocket_snapshots *snapshots)
{
    tally_mutex_lock(&snapshots->mutex);
    snapshots->stop = true;
    tally_cond_broadcast(&snapshots->changed);
    tally_mutex_unlock(&snapshots->mutex);
    tally_thread_join(&snapshots->thread);
}

void websocket_snapshots_destroy(struct websocket_snapshots *snapshots)
{
    websocket_inner_destroy(snapshots->inner);
    tally_buf_deinit(&snapshots->data);
    tally_cond_deinit(&snapshots->changed);
    tally_mutex_deinit(&snapshots->mutex);
    tally_free(snapshots);
}

void websocket_snapshots_ask(struct websocket_snapshots *snapshots, struct websocket_spec *spec)
{
    struct order *order = tally_alloc_zero(1, sizeof *order);

    order->spec = websocket_spec_share(spec);
    tally_mutex_lock(&snapshots->mutex);
    *(snapshots->last ? &snapshots->last->next : &snapshots->first) = order;
    snapshots->last = order;
    tally_cond_signal(&snapshots->changed);
    tally_mutex_unlock(&snapshots->mutex);
}
