/* http/websocket/websocket_hub.c - see websocket_hub.h.
 * Invariants
 *  (1) Of one partition deltas leave in the order of their offsets, also those that were conflated:
 *      a newer one goes behind all that wait. So whoever resumes behind the last one misses none.
 *  (2) An event is told once: the feed's from the subscription's place on, what comes from
 *      elsewhere below it, and of what a snapshot had already only what is newer.
 *  (3) What waits for a client is bounded in bytes, whatever it is: then the socket ends. */
#include "http/websocket/websocket_hub.h"

#include <stdlib.h>

#include "engine/base/hash.h"
#include "engine/base/metrics.h"

enum {
    FLOW_BYTES = 64 * 1024,    /* of a socket's queue, below which deltas are sent */
    QUEUE_BYTES = 1024 * 1024, /* that may wait for credit, or for room */
    BUCKETS = 256,
    ITEMS_A_FRAME = 100,
    PATIENCE_MS = 10000, /* for the feed */
    POSITIONS_BYTES_MAX = 256 * 1024
};

enum state { WAITING, READING, CATCHING, LIVE };

struct entry {
    struct entry *next, *prev; /* in order */
    struct entry *chain;       /* of the same bucket */
    uint32_t hash;
    bool conflated;
    struct websocket_event *event;
};
struct websocket_subscription {
    struct websocket_hub *hub;
    struct websocket_subscription *next, *prev;
    struct websocket_socket *socket;
    struct websocket_spec *spec;
    const struct websocket_listener *listener;
    void *context;
    enum state state;
    int64_t credit, since_ms;
    struct entry *first, *last; /* what waits */
    struct entry **buckets;     /* by key; NULL: none waits yet */
    size_t bytes;
    struct websocket_event **seen; /* of the snapshot, by key, without data */
    size_t seen_count;
};
struct websocket_hub {
    struct websocket_hub_options options;
    struct websocket_subscription *first;
    struct tally_buf text;
    struct tally_series *count, *told, *conflated;
    int64_t open;
    size_t waiting; /* for the feed */
};

static const bool successors[][4] = {
        [WAITING] = {[READING] = true, [CATCHING] = true, [LIVE] = true},
        [READING] = {[LIVE] = true},
        [CATCHING] = {[LIVE] = true},
        [LIVE] = {false},
};

static void set_state(struct websocket_subscription *subscription, enum state next)
{
    tally_assert(successors[subscription->state][next]);
    subscription->hub->waiting -= subscription->state == WAITING;
    subscription->state = next;
}

struct websocket_hub *websocket_hub_create(const struct websocket_hub_options *options)
{
    struct websocket_hub *hub = tally_alloc_zero(1, sizeof *hub);

    hub->options = *options;
    tally_buf_init(&hub->text, POSITIONS_BYTES_MAX);
    hub->count = tally_series_of(TALLY_METRIC_WEBSOCKET_SUBSCRIPTIONS);
    hub->told = tally_series_of(TALLY_METRIC_WEBSOCKET_DELTAS);
    hub->conflated = tally_series_of(TALLY_METRIC_WEBSOCKET_CONFLATED);
    return hub;
}

void websocket_hub_destroy(struct websocket_hub *hub)
{
    tally_assert(!hub->first);
    tally_buf_deinit(&hub->text);
    tally_free(hub);
}

/* --- what waits ------------------------------------------------------------------------------- */

static void count_bytes(struct websocket_subscription *subscription, size_t more, size_t less)
{
    subscription->bytes += more - less;
    atomic_store_explicit(&subscription->spec->queued, subscription->bytes, memory_order_relaxed);
}

static void unlink_entry(struct websocket_subscription *subscription, struct entry *entry)
{
    *(entry->prev ? &entry->prev->next : &subscription->first) = entry->next;
    *(entry->next ? &entry->next->prev : &subscription->last) = entry->prev;
}

static void append(struct websocket_subscription *subscription, struct entry *entry)
{
    entry->next = NULL;
    entry->prev = subscription->last;
    *(entry->prev ? &entry->prev->next : &subscription->first) = entry;
    subscription->last = entry;
}

static struct entry **bucket_of(struct websocket_subscription *subscription, uint32_t hash)
{
    if (!subscription->buckets) {
        subscription->buckets = tally_alloc_zero(BUCKETS, sizeof(struct entry *));
    }
    return &subscription->buckets[hash % BUCKETS];
}

static struct entry *find(struct websocket_subscription *subscription,
        const struct websocket_event *event, uint32_t hash)
{
    struct entry *entry = *bucket_of(subscription, hash);

    while (entry && !(entry->hash == hash && websocket_event_same(entry->event, event))) {
        entry = entry->chain;
    }
    return entry;
}

static void drop(struct websocket_subscription *subscription, struct entry *entry)
{
    struct entry **at = bucket_of(subscription, entry->hash);

    while (*at != entry) {
        at = &(*at)->chain;
    }
    *at = entry->chain;
    unlink_entry(subscription, entry);
    count_bytes(subscription, 0, websocket_event_bytes(entry->event));
    websocket_event_release(entry->event);
    tally_free(entry);
}

static void forget(struct websocket_subscription *subscription)
{
    while (subscription->first) {
        drop(subscription, subscription->first);
    }
    tally_free(subscription->buckets);
    subscription->buckets = NULL;
}

static void queue(struct websocket_subscription *subscription, struct websocket_event *event)
{
    uint32_t hash = tally_crc32c(tally_crc32c(1, event->id), event->warehouse);
    bool conflates = websocket_topics[event->topic].conflates;
    struct entry *entry = conflates ? find(subscription, event, hash) : NULL;

    if (entry) {
        count_bytes(subscription, websocket_event_bytes(event),
                websocket_event_bytes(entry->event));
        websocket_event_release(entry->event);
        entry->conflated = true;
        unlink_entry(subscription, entry);
        tally_series_add(subscription->hub->conflated, 1);
    } else {
        struct entry **at = bucket_of(subscription, hash);

        entry = tally_alloc_zero(1, sizeof *entry);
        entry->hash = hash;
        entry->chain = *at;
        *at = entry;
        count_bytes(subscription, websocket_event_bytes(event), 0);
    }
    entry->event = websocket_event_share(event);
    append(subscription, entry);
    if (subscription->bytes > QUEUE_BYTES) {
        websocket_socket_close(subscription->socket, WEBSOCKET_SLOW,
                "more than 1 MiB waits for this client");
        forget(subscription);
    }
}

/* --- telling ---------------------------------------------------------------------------------- */

static bool flows(const struct websocket_subscription *subscription)
{
    return (subscription->state == LIVE || subscription->state == CATCHING) &&
           subscription->credit > 0 && websocket_socket_queued(subscription->socket) < FLOW_BYTES &&
           websocket_socket_is_open(subscription->socket);
}

static void emit(struct websocket_subscription *subscription, struct websocket_event *event,
        bool conflated)
{
    if (subscription->credit != WEBSOCKET_CREDIT_ENDLESS) {
        subscription->credit--;
    }
    tally_series_add(subscription->hub->told, 1);
    subscription->listener->delta(subscription->context, event, conflated || event->newer);
}

void websocket_hub_pump(struct websocket_subscription *subscription)
{
    while (subscription->first && flows(subscription)) {
        struct entry *entry = subscription->first;

        emit(subscription, entry->event, entry->conflated);
        drop(subscription, entry);
    }
    if (!subscription->first && subscription->buckets) {
        forget(subscription);
    }
}

static int by_key(const void *left, const void *right)
{
    const struct websocket_event *a = *(struct websocket_event *const *)left;
    const struct websocket_event *b = *(struct websocket_event *const *)right;
    int order = tally_slice_compare(a->id, b->id);

    return order ? order : tally_slice_compare(a->warehouse, b->warehouse);
}

static bool was_seen(const struct websocket_subscription *subscription,
        const struct websocket_event *event)
{
    struct websocket_event *const *seen = NULL;

    if (subscription->seen_count > 0) {
        seen = bsearch(&event, subscription->seen, subscription->seen_count,
                sizeof(struct websocket_event *), by_key);
    }
    return seen && event->version <= (*seen)->version;
}

static void take(struct websocket_subscription *subscription, struct websocket_event *event)
{
    if (!websocket_spec_takes(subscription->spec, event) || was_seen(subscription, event)) {
        return;
    }
    if (!subscription->first && flows(subscription)) {
        emit(subscription, event, false);
    } else {
        queue(subscription, event);
    }
}

/* --- beginning -------------------------------------------------------------------------------- */

/* Those that may have something for it. The caller frees them. */
static bool *partitions_of(const struct websocket_subscription *subscription)
{
    const struct websocket_spec *spec = subscription->spec;
    int32_t partitions = websocket_feed_partitions(subscription->hub->options.feed);
    bool *mine = tally_alloc_zero((size_t)partitions, sizeof *mine);

    for (size_t i = 0; i < spec->ids.count; i++) {
        mine[tally_partition_of(spec->ids.items[i], partitions)] = true;
    }
    for (int32_t i = 0; i < partitions && !spec->ids.given; i++) {
        mine[i] = true;
    }
    return mine;
}

static void write_places(struct websocket_subscription *subscription)
{
    struct websocket_hub *hub = subscription->hub;
    const struct websocket_spec *spec = subscription->spec;
    const char *topic = websocket_feed_source_at(hub->options.feed,
            (size_t)websocket_feed_source(hub->options.feed, spec->topic))
                                ->topic;
    int32_t partitions = websocket_feed_partitions(hub->options.feed);
    bool *mine = partitions_of(subscription);

    tally_buf_clear(&hub->text);
    for (int32_t i = 0; i < partitions; i++) {
        if (mine[i]) {
            tally_buf_format(&hub->text, "%s%s/%d@%lld", hub->text.len > 0 ? "," : "", topic,
                    (int)i, (long long)spec->places[i].next - 1);
        }
    }
    tally_free(mine);
}

static void begin(struct websocket_subscription *subscription)
{
    write_places(subscription);
    subscription->listener->begun(subscription->context, tally_buf_bytes(&subscription->hub->text));
}

/* Goes on once the feed is ready. */
static void try_begin(struct websocket_subscription *subscription)
{
    struct websocket_hub *hub = subscription->hub;
    struct websocket_spec *spec = subscription->spec;

    if (subscription->state != WAITING ||
            !websocket_feed_places(hub->options.feed, spec->topic, spec->places)) {
        return;
    }
    if (spec->from == WEBSOCKET_FROM_SNAPSHOT) {
        set_state(subscription, READING);
        begin(subscription);
        websocket_snapshots_ask(hub->options.snapshots, spec);
    } else if (spec->from == WEBSOCKET_FROM_POSITIONS) {
        set_state(subscription, CATCHING);
        websocket_catchups_ask(hub->options.catchups, spec);
    } else {
        set_state(subscription, LIVE);
        begin(subscription);
    }
}

static void remember(struct websocket_subscription *subscription, struct websocket_note *note)
{
    subscription->seen = tally_alloc_zero(note->count + 1, sizeof(struct websocket_event *));
    for (size_t i = 0; i < note->count; i++) {
        subscription->seen[i] = websocket_event_create(note->items[i], TALLY_NONE);
    }
    subscription->seen_count = note->count;
    qsort(subscription->seen, note->count, sizeof(struct websocket_event *), by_key);
}

static void take_snapshot(struct websocket_subscription *subscription, struct websocket_note *note)
{
    size_t told = 0;

    remember(subscription, note); /* before others have references: it copies */
    do {
        size_t count = note->count - told < ITEMS_A_FRAME ? note->count - told : ITEMS_A_FRAME;

        subscription->listener->snapshot(subscription->context, note->items + told, count,
                told + count == note->count);
        told += count;
    } while (told < note->count);
    for (struct entry *entry = subscription->first, *next; entry; entry = next) {
        next = entry->next;
        if (was_seen(subscription, entry->event)) {
            drop(subscription, entry);
        }
    }
    set_state(subscription, LIVE);
    websocket_hub_pump(subscription);
}

/* --- life ------------------------------------------------------------------------------------- */

struct websocket_subscription *websocket_hub_subscribe(struct websocket_hub *hub,
        struct websocket_socket *socket, struct websocket_spec *spec, int64_t credit,
        const struct websocket_listener *listener, void *context, struct websocket_refusal *refusal)
{
    struct websocket_subscription *subscription;
    size_t partitions = (size_t)websocket_feed_partitions(hub->options.feed);

    if (websocket_feed_source(hub->options.feed, spec->topic) < 0) {
        websocket_refuse(refusal, "UNKNOWN_TOPIC", "this instance does not have topology %s",
                websocket_topics[spec->topic].topology);
        websocket_spec_release(spec);
        return NULL;
    }
    spec->places = tally_alloc_zero(partitions, sizeof *spec->places);
    if (!websocket_spec_places(spec,
                websocket_feed_source_at(hub->options.feed,
                        (size_t)websocket_feed_source(hub->options.feed, spec->topic))
                        ->topic,
                spec->places, (int32_t)partitions, refusal)) {
        websocket_spec_release(spec);
        return NULL;
    }
    subscription = tally_alloc_zero(1, sizeof *subscription);
    *subscription = (struct websocket_subscription){.hub = hub,
            .next = hub->first,
            .socket = socket,
            .spec = spec,
            .listener = listener,
            .context = context,
            .credit = credit,
            .since_ms = tally_mono_ms(tally_clock_real())};
    spec->subscription = subscription;
    if (hub->first) {
        hub->first->prev = subscription;
    }
    hub->first = subscription;
    tally_series_set(hub->count, ++hub->open);
    hub->waiting++;
    websocket_feed_follow(hub->options.feed, spec, subscription);
    return subscription;
}

void websocket_hub_unsubscribe(struct websocket_subscription *subscription)
{
    struct websocket_hub *hub = subscription->hub;

    hub->waiting -= subscription->state == WAITING;
    websocket_feed_leave(hub->options.feed, subscription->spec, subscription);
    forget(subscription);
    for (size_t i = 0; i < subscription->seen_count; i++) {
        websocket_event_release(subscription->seen[i]);
    }
    tally_free(subscription->seen);
    *(subscription->prev ? &subscription->prev->next : &hub->first) = subscription->next;
    if (subscription->next) {
        subscription->next->prev = subscription->prev;
    }
    subscription->spec->subscription = NULL;
    atomic_store(&subscription->spec->cancelled, true);
    websocket_spec_release(subscription->spec);
    tally_free(subscription);
    tally_series_set(hub->count, --hub->open);
}

static void fail(struct websocket_subscription *subscription, const char *code, const char *detail)
{
    subscription->listener->failed(subscription->context, code, detail);
}

void websocket_hub_credit(struct websocket_subscription *subscription, int64_t credit)
{
    if (subscription->credit < WEBSOCKET_CREDIT_ENDLESS - credit) {
        subscription->credit += credit;
    }
    websocket_hub_pump(subscription);
}

/* --- notes ------------------------------------------------------------------------------------ */

typedef void (*follower_fn)(struct websocket_subscription *subscription,
        struct websocket_event *event);

/* A follower may leave inside. */
static void tell_followers(const struct websocket_followers *followers,
        struct websocket_event *event, follower_fn tell)
{
    for (size_t i = followers ? followers->count : 0; i > 0; i--) {
        if (i <= followers->count) {
            tell(followers->items[i - 1], event);
        }
    }
}

static void take_live(struct websocket_subscription *subscription, struct websocket_event *event)
{
    const struct websocket_place *place = &subscription->spec->places[event->partition];
    bool mine = subscription->state == READING || subscription->state == LIVE ||
                (subscription->state == CATCHING && !place->named);

    if (mine && event->offset >= place->next) {
        take(subscription, event);
    }
}

static void lose(struct websocket_subscription *subscription, struct websocket_event *event)
{
    if (subscription->state != WAITING &&
            event->offset >= subscription->spec->places[event->partition].next) {
        fail(subscription, "RESYNC_REQUIRED",
                "the owner of a key cannot be asked: subscribe again with snapshot");
    }
}

static void tell_all(struct websocket_hub *hub, struct websocket_event *event, follower_fn tell)
{
    const struct websocket_index *index = websocket_feed_index(hub->options.feed);

    tell_followers(websocket_index_all(index, event->topic), event, tell);
    tell_followers(websocket_index_named(index, event->topic, event->id), event, tell);
}

static void take_broken(struct websocket_hub *hub, size_t source)
{
    for (struct websocket_subscription *subscription = hub->first, *next; subscription;
            subscription = next) {
        next = subscription->next;
        if (subscription->state != WAITING && websocket_feed_source(hub->options.feed,
                                                      subscription->spec->topic) == (int)source) {
            fail(subscription, "RESYNC_REQUIRED",
                    "events could not be followed: subscribe again with snapshot");
        }
    }
}

static void take_event(struct websocket_hub *hub, struct websocket_note *note,
        struct websocket_subscription *mine)
{
    if (note->spec) {
        atomic_fetch_sub(&note->spec->flying, websocket_event_bytes(note->event));
    }
    if (mine) {
        take(mine, note->event);
    } else if (!note->spec) {
        tell_all(hub, note->event, take_live);
    }
}

static void take_note(struct websocket_hub *hub, struct websocket_note *note)
{
    struct websocket_subscription *mine = note->spec ? note->spec->subscription : NULL;

    switch (note->kind) {
    case WEBSOCKET_NOTE_EVENT:
        take_event(hub, note, mine);
        break;
    case WEBSOCKET_NOTE_LOST:
        tell_all(hub, note->event, lose);
        break;
    case WEBSOCKET_NOTE_BROKEN:
        take_broken(hub, note->source);
        break;
    case WEBSOCKET_NOTE_SNAPSHOT:
        if (mine) {
            take_snapshot(mine, note);
        }
        break;
    case WEBSOCKET_NOTE_BEGUN:
        if (mine) {
            begin(mine);
        }
        break;
    case WEBSOCKET_NOTE_CAUGHT:
        if (mine) {
            set_state(mine, LIVE);
            memcpy(mine->spec->places, note->places,
                    (size_t)websocket_feed_partitions(hub->options.feed) * sizeof *note->places);
        }
        break;
    case WEBSOCKET_NOTE_FAILED:
        if (mine) {
            fail(mine, note->refusal.code, note->refusal.detail);
        }
        break;
    case WEBSOCKET_NOTE_READY: /* all that wait are looked at after each turn */
    default:
        break;
    }
}

static void look_at_waiting(struct websocket_hub *hub)
{
    int64_t now_ms = tally_mono_ms(tally_clock_real());

    for (struct websocket_subscription *subscription = hub->first, *next; subscription;
            subscription = next) {
        next = subscription->next;
        try_begin(subscription);
        if (subscription->state == WAITING && now_ms - subscription->since_ms > PATIENCE_MS) {
            fail(subscription, "KAFKA_UNAVAILABLE", "events cannot be read now: try again later");
        }
    }
}

void websocket_hub_work(struct websocket_hub *hub)
{
    struct websocket_note *note = websocket_inbox_take(hub->options.inbox);

    while (note) {
        struct websocket_note *next = note->next;

        take_note(hub, note);
        websocket_note_destroy(note);
        note = next;
    }
    if (hub->waiting > 0) {
        look_at_waiting(hub);
    }
}
