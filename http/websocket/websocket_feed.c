/* http/websocket/websocket_feed.c - see websocket_feed.h.
 * Invariants
 *  (1) Under one lock an event is looked up in the index and counted as read. So whoever follows
 *      and then asks for the place, under the same lock, is told of every event from there on.
 *  (2) A source is ready when everything below the end that it had at the start is decided: reading
 *      begins before that end, so that the position passes it only once the last stable offset has.
 *      What a task publishes after its commit may be missing in its views, but not in
 *      the position that reads are asked to wait for: the last command that has an event below.
 *  (3) The offsets are the feed's own: it joins no group and commits nothing. */
#include "http/websocket/websocket_feed.h"

#include <stdio.h>

#include "engine/base/log.h"
#include "engine/base/metrics.h"
#include "engine/base/thread.h"

enum {
    POLL_MS = 100,
    RANGES_MS = 5000,
    LINGER_MS = 10000,  /* after the last subscription */
    LOOK_BACK = 256,    /* records before the end, to find the last command and what is undecided */
    BACK_OFF_MS = 1000, /* after an error */
    TRIES_MAX = 3,      /* to read what an event does not say */
    READER = 1000,      /* number in the client's name, besides those of stream threads */
    LOG_MS = 10000
};

struct source {
    struct websocket_source info;
    struct websocket_place *places; /* by partition; next and input are guarded by the mutex */
    int64_t *goals;
    size_t wanted; /* subscriptions; guarded */
    bool assigned, ready;
};
struct websocket_feed {
    struct websocket_feed_options options;
    struct tally_thread thread;
    struct tally_mutex mutex; /* guards index, stop and what says so */
    struct tally_cond changed;
    struct websocket_index *index;
    struct source sources[WEBSOCKET_SOURCES_MAX];
    size_t source_count;
    int32_t partitions;
    bool stop;
    struct tally_consumer *consumer;
    struct websocket_maker *maker;
    int64_t idle_ms; /* since when nobody follows; 0: somebody does */
    bool awaits;     /* an assigned source is not ready */
    int64_t looked_ms;
    struct tally_series *records;
};

/* --- starting points -------------------------------------------------------------------------- */

static void set_range(struct source *source, int32_t partition, const struct tally_range *range)
{
    int64_t from = range->high - LOOK_BACK;

    source->goals[partition] = range->high;
    source->places[partition].next = from > range->low ? from : range->low;
    source->places[partition].input = TALLY_OFFSET_NONE;
}

static enum tally_code find_ends(struct websocket_feed *feed, struct source *source,
        struct tally_error *err)
{
    size_t count = (size_t)feed->partitions;
    struct tally_range *ranges = tally_alloc_zero(count, sizeof *ranges);
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; i < count; i++) {
        ranges[i] = (struct tally_range){.topic = source->info.topic, .partition = (int32_t)i};
    }
    feed->consumer->ops->ranges(feed->consumer, ranges, count, RANGES_MS);
    tally_mutex_lock(&feed->mutex);
    for (size_t i = 0; i < count && !code; i++) {
        code = ranges[i].code;
        if (!code) {
            set_range(source, (int32_t)i, &ranges[i]);
        }
    }
    source->ready = false;
    tally_mutex_unlock(&feed->mutex);
    tally_free(ranges);
    return code ? tally_error_set(err, code, "the ends of \"%.80s\" are not known",
                          source->info.topic)
                : TALLY_OK;
}

/* Everything that is assigned, from where it stands. */
static enum tally_code assign(struct websocket_feed *feed, struct tally_error *err)
{
    size_t max = feed->source_count * (size_t)feed->partitions, count = 0;
    struct tally_topic_partition *list = tally_alloc_zero(max, sizeof *list);
    enum tally_code code;

    for (size_t i = 0; i < feed->source_count; i++) {
        for (int32_t j = 0; feed->sources[i].assigned && j < feed->partitions; j++) {
            list[count++] = (struct tally_topic_partition){.topic = feed->sources[i].info.topic,
                    .partition = j,
                    .offset = feed->sources[i].places[j].next};
        }
    }
    code = feed->consumer->ops->assign(feed->consumer, list, count, err);
    tally_free(list);
    return code;
}

/* Reads the sources that somebody has begun to want. */
static enum tally_code take_wanted(struct websocket_feed *feed, struct tally_error *err)
{
    bool grown = false;
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; i < feed->source_count && !code; i++) {
        struct source *source = &feed->sources[i];
        bool wanted;

        tally_mutex_lock(&feed->mutex);
        wanted = source->wanted > 0;
        tally_mutex_unlock(&feed->mutex);
        if (!wanted || source->assigned) {
            continue;
        }
        if (!feed->consumer) {
            feed->consumer =
                    feed->options.client->ops->restore_consumer(feed->options.client, READER, err);
            code = feed->consumer ? TALLY_OK : err->code;
        }
        code = code ? code : find_ends(feed, source, err);
        source->assigned = !code;
        grown = grown || !code;
    }
    feed->awaits = feed->awaits || grown;
    return code || !grown ? code : assign(feed, err);
}

static void let_go(struct websocket_feed *feed)
{
    if (feed->consumer) {
        feed->consumer->ops->destroy(feed->consumer);
        feed->consumer = NULL;
    }
    tally_mutex_lock(&feed->mutex);
    for (size_t i = 0; i < feed->source_count; i++) {
        feed->sources[i].assigned = feed->sources[i].ready = false;
    }
    tally_mutex_unlock(&feed->mutex);
}

/* --- records ---------------------------------------------------------------------------------- */

static void tell(struct websocket_feed *feed, enum websocket_note_kind kind, size_t source)
{
    struct websocket_note *note = websocket_note_create(kind, NULL);

    note->source = source;
    websocket_inbox_push(feed->options.inbox, note, true);
}

static void tell_lost(struct websocket_feed *feed, const struct source *source,
        const struct tally_record *record, unsigned wanted, const struct tally_error *err)
{
    static struct tally_log_limit limit;

    if (tally_log_allowed(&limit, LOG_MS)) {
        tally_log_error(TALLY_LOG_WARN, "followers are not told of an event", err);
    }
    for (unsigned topic = 0; topic < WEBSOCKET_TOPICS; topic++) {
        if (wanted & 1u << topic) {
            struct websocket_note *note = websocket_note_create(WEBSOCKET_NOTE_LOST, NULL);

            note->event =
                    websocket_event_create(&(struct websocket_event){.topic = (enum websocket_topic)
                                                                             topic,
                                                   .source = source->info.topic,
                                                   .partition = record->partition,
                                                   .offset = record->offset,
                                                   .id = record->key},
                            TALLY_NONE);
            websocket_inbox_push(feed->options.inbox, note, false);
        }
    }
}

static bool is_stopping(struct websocket_feed *feed)
{
    bool stop;

    tally_mutex_lock(&feed->mutex);
    stop = feed->stop;
    tally_mutex_unlock(&feed->mutex);
    return stop;
}

static void pass_on(struct websocket_feed *feed, struct source *source,
        const struct tally_record *record, unsigned wanted)
{
    struct websocket_event *events[WEBSOCKET_TOPICS];
    struct tally_error err = {.code = TALLY_OK};
    size_t count = 0;
    enum tally_code code = TALLY_UNAVAILABLE;

    for (int i = 0;
            i < TRIES_MAX && tally_code_reaction(code) == TALLY_REACT_RETRY && !is_stopping(feed);
            i++) {
        code = websocket_maker_make(feed->maker, &source->info, record, wanted, events, &count,
                &err);
        if (!code) {
            break;
        }
    }
    if (code) {
        tell_lost(feed, source, record, wanted, &err);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct websocket_note *note = websocket_note_create(WEBSOCKET_NOTE_EVENT, NULL);

        note->event = events[i];
        websocket_inbox_push(feed->options.inbox, note, false);
    }
}

static struct source *source_of(struct websocket_feed *feed, const char *topic)
{
    for (size_t i = 0; i < feed->source_count; i++) {
        if (strcmp(feed->sources[i].info.topic, topic) == 0) {
            return &feed->sources[i];
        }
    }
    return NULL;
}

static void take_record(struct websocket_feed *feed, const struct tally_record *record)
{
    struct source *source = source_of(feed, record->topic);
    struct websocket_place *place = source ? &source->places[record->partition] : NULL;
    unsigned wanted = 0;
    int64_t input;

    if (!place || record->offset < place->next) {
        return;
    }
    input = websocket_maker_decode(feed->maker, &source->info, record);
    tally_mutex_lock(&feed->mutex);
    wanted = websocket_index_wanted(feed->index, source->info.topics, record->key);
    place->next = record->offset + 1;
    place->input = input >= 0 ? input : place->input;
    tally_mutex_unlock(&feed->mutex);
    tally_series_add(feed->records, 1);
    if (wanted) {
        pass_on(feed, source, record, wanted);
    }
}

/* Positions go past control records and aborted data, which nobody is shown. */
static void take_positions(struct websocket_feed *feed)
{
    feed->awaits = false;
    feed->looked_ms = tally_mono_ms(tally_clock_real());
    for (size_t i = 0; i < feed->source_count; i++) {
        struct source *source = &feed->sources[i];
        bool ready = source->assigned;

        for (int32_t j = 0; source->assigned && j < feed->partitions; j++) {
            int64_t position = feed->consumer->ops->position(feed->consumer, source->info.topic, j);

            tally_mutex_lock(&feed->mutex);
            if (position > source->places[j].next) {
                source->places[j].next = position;
            }
            ready = ready && source->places[j].next >= source->goals[j];
            tally_mutex_unlock(&feed->mutex);
        }
        if (ready && !source->ready) {
            tally_mutex_lock(&feed->mutex);
            source->ready = true;
            tally_mutex_unlock(&feed->mutex);
            tell(feed, WEBSOCKET_NOTE_READY, i);
        }
        feed->awaits = feed->awaits || (source->assigned && !ready);
    }
}

static enum tally_code poll(struct websocket_feed *feed, struct tally_error *err)
{
    struct tally_record record;
    enum tally_code code = feed->consumer->ops->poll(feed->consumer, POLL_MS, &record, err);

    if (code == TALLY_OK) {
        take_record(feed, &record);
        feed->consumer->ops->release(feed->consumer, &record);
        if (feed->awaits && tally_mono_ms(tally_clock_real()) - feed->looked_ms >= POLL_MS) {
            take_positions(feed); /* where records never end, nothing is ever AGAIN */
        }
        return TALLY_OK;
    }
    if (code == TALLY_AGAIN) {
        take_positions(feed);
        return TALLY_OK;
    }
    return tally_code_reaction(code) == TALLY_REACT_RETRY ? TALLY_OK : code;
}

/* --- the thread ------------------------------------------------------------------------------- */

static void break_off(struct websocket_feed *feed, const struct tally_error *err)
{
    static struct tally_log_limit limit;
    bool broken[WEBSOCKET_SOURCES_MAX] = {false};

    if (tally_log_allowed(&limit, LOG_MS)) {
        tally_log_error(TALLY_LOG_WARN, "events cannot be followed; trying again", err);
    }
    for (size_t i = 0; i < feed->source_count; i++) {
        broken[i] = feed->sources[i].ready;
    }
    let_go(feed); /* whoever joins from now on waits until it is ready again */
    for (size_t i = 0; i < feed->source_count; i++) {
        if (broken[i]) {
            tell(feed, WEBSOCKET_NOTE_BROKEN, i);
        }
    }
    tally_mutex_lock(&feed->mutex);
    if (!feed->stop) {
        (void)tally_cond_wait(&feed->changed, &feed->mutex, BACK_OFF_MS);
    }
    tally_mutex_unlock(&feed->mutex);
}

static bool anybody(const struct websocket_feed *feed)
{
    size_t wanted = 0;

    for (size_t i = 0; i < feed->source_count; i++) {
        wanted += feed->sources[i].wanted;
    }
    return wanted > 0;
}

/* Waits for a subscription. false: the end. */
static bool await(struct websocket_feed *feed)
{
    bool follows, stop;
    int64_t now_ms = tally_mono_ms(tally_clock_real());

    tally_mutex_lock(&feed->mutex);
    while (!feed->stop && !anybody(feed) && !feed->consumer) {
        (void)tally_cond_wait(&feed->changed, &feed->mutex, -1);
    }
    follows = anybody(feed);
    stop = feed->stop;
    tally_mutex_unlock(&feed->mutex);
    feed->idle_ms = follows ? 0 : feed->idle_ms ? feed->idle_ms : now_ms;
    if (feed->idle_ms && now_ms - feed->idle_ms >= LINGER_MS) {
        let_go(feed);
    }
    return !stop;
}

static void run(void *argument)
{
    struct websocket_feed *feed = argument;

    while (await(feed)) {
        struct tally_error err = {.code = TALLY_OK};
        enum tally_code code = take_wanted(feed, &err);

        if (!code && feed->consumer) {
            code = poll(feed, &err);
        }
        if (code) {
            break_off(feed, &err);
        }
    }
    let_go(feed);
}

/* --- life ------------------------------------------------------------------------------------- */

struct websocket_feed *websocket_feed_create(const struct websocket_feed_options *options)
{
    struct websocket_feed *feed = tally_alloc_zero(1, sizeof *feed);
    struct websocket_source sources[WEBSOCKET_SOURCES_MAX];

    feed->options = *options;
    feed->partitions = tally_runtime_partitions(options->prototype->runtime);
    feed->source_count = websocket_sources(options->prototype->runtime, sources);
    for (size_t i = 0; i < feed->source_count; i++) {
        feed->sources[i].info = sources[i];
        feed->sources[i].places =
                tally_alloc_zero((size_t)feed->partitions, sizeof(struct websocket_place));
        feed->sources[i].goals = tally_alloc_zero((size_t)feed->partitions, sizeof(int64_t));
    }
    feed->index = websocket_index_create();
    feed->maker = websocket_maker_create(options->prototype);
    feed->records = tally_series_of(TALLY_METRIC_WEBSOCKET_RECORDS);
    tally_mutex_init(&feed->mutex, TALLY_LOCK_HTTP);
    tally_cond_init(&feed->changed);
    return feed;
}

void websocket_feed_start(struct websocket_feed *feed)
{
    tally_thread_start(&feed->thread, "websocket-feed", run, feed);
}

void websocket_feed_stop(struct websocket_feed *feed)
{
    tally_mutex_lock(&feed->mutex);
    feed->stop = true;
    tally_cond_broadcast(&feed->changed);
    tally_mutex_unlock(&feed->mutex);
    tally_thread_join(&feed->thread);
}

void websocket_feed_destroy(struct websocket_feed *feed)
{
    for (size_t i = 0; i < feed->source_count; i++) {
        tally_free(feed->sources[i].places);
        tally_free(feed->sources[i].goals);
    }
    websocket_index_destroy(feed->index);
    websocket_maker_destroy(feed->maker);
    tally_cond_deinit(&feed->changed);
    tally_mutex_deinit(&feed->mutex);
    tally_free(feed);
}

/* --- the gateway's ---------------------------------------------------------------------------- */

int websocket_feed_source(const struct websocket_feed *feed, enum websocket_topic topic)
{
    for (size_t i = 0; i < feed->source_count; i++) {
        if (feed->sources[i].info.topics & 1u << topic) {
            return (int)i;
        }
    }
    return -1;
}

const struct websocket_source *websocket_feed_source_at(const struct websocket_feed *feed,
        size_t source)
{
    return &feed->sources[source].info;
}

int32_t websocket_feed_partitions(const struct websocket_feed *feed)
{
    return feed->partitions;
}

const struct websocket_index *websocket_feed_index(const struct websocket_feed *feed)
{
    return feed->index;
}

void websocket_feed_follow(struct websocket_feed *feed, const struct websocket_spec *spec,
        struct websocket_subscription *subscription)
{
    tally_mutex_lock(&feed->mutex);
    websocket_index_add(feed->index, spec, subscription);
    feed->sources[websocket_feed_source(feed, spec->topic)].wanted++;
    tally_cond_broadcast(&feed->changed);
    tally_mutex_unlock(&feed->mutex);
}

void websocket_feed_leave(struct websocket_feed *feed, const struct websocket_spec *spec,
        struct websocket_subscription *subscription)
{
    tally_mutex_lock(&feed->mutex);
    websocket_index_remove(feed->index, spec, subscription);
    feed->sources[websocket_feed_source(feed, spec->topic)].wanted--;
    tally_mutex_unlock(&feed->mutex);
}

bool websocket_feed_places(struct websocket_feed *feed, enum websocket_topic topic,
        struct websocket_place *places)
{
    const struct source *source = &feed->sources[websocket_feed_source(feed, topic)];
    bool ready;

    tally_mutex_lock(&feed->mutex);
    ready = source->ready;
    for (int32_t i = 0; ready && i < feed->partitions; i++) {
        if (!places[i].named) {
            places[i].next = source->places[i].next;
        }
        places[i].input = source->places[i].input;
    }
    tally_mutex_unlock(&feed->mutex);
    return ready;
}

bool websocket_feed_join(struct websocket_feed *feed, struct websocket_spec *spec,
        const struct websocket_place *places)
{
    const struct source *source = &feed->sources[websocket_feed_source(feed, spec->topic)];
    bool there;

    tally_mutex_lock(&feed->mutex);
    there = source->ready;
    for (int32_t i = 0; there && i < feed->partitions; i++) {
        there = !places[i].named || places[i].next >= source->places[i].next;
    }
    if (there) {
        struct websocket_note *note = websocket_note_create(WEBSOCKET_NOTE_CAUGHT, spec);
        size_t bytes = (size_t)feed->partitions * sizeof *places;

        note->places = tally_alloc(bytes);
        memcpy(note->places, places, bytes);
        websocket_inbox_push(feed->options.inbox, note, true);
    }
    tally_mutex_unlock(&feed->mutex);
    return there;
}
