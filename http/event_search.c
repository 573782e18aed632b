/* http/event_search.c - see event_search.h.
 * Invariants
 *  (1) Of one partition the offset of the command and the time never fall from one event to the
 *      next, as a task decides in the order of its input.
 *  (2) Nothing behind the given last event is asked for: it and all before it are committed, so no
 *      read waits for a transaction to end.
 *  (3) A fetch brings thousands of events: what is near is read through, what is far is guessed at,
 *      in proportion or half way in turns, so that a search ends after twice log2 of them.
 * It reads as a restore does, ahead: a probe, which does not, waits 80 ms at each place. */
#include "http/event_search.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"

enum {
    ARENA_BLOCK_BYTES = 16 * 1024,
    ARENA_KEEP_BYTES = 64 * 1024,
    READER = 1002, /* number in the client's name, besides those of stream threads */
    POLL_MS = 50,
    RANGES_MS = 3000,
    NEAR = 512,       /* events that are read through rather than guessed at */
    MARGIN = 64,      /* a guess had better be too low */
    CHUNK_MIN = 1024, /* offsets that are read at a time on the way back */
    CHUNK_MAX = 16384
};

struct event_search {
    struct event_search_options options;
    struct tally_consumer *consumer;
    int64_t begin; /* of the partition */
    int64_t next;  /* what the consumer would give next is no earlier; NONE: it is not assigned */
    struct tally_record record;
    bool held;                    /* the record is not released yet */
    struct tally_event event;     /* the record, decoded */
    struct tally_arena arena;     /* of the event */
    struct event_search_found at; /* where the last search for a command ended */
    int64_t at_command;
};

static int64_t now_ms(void)
{
    return tally_mono_ms(tally_clock_real());
}

static void let_go(struct event_search *search)
{
    if (search->held) {
        search->consumer->ops->release(search->consumer, &search->record);
        search->held = false;
    }
    tally_arena_reset(&search->arena, ARENA_KEEP_BYTES);
}

enum tally_code event_search_open(const struct event_search_options *options,
        struct event_search **out, struct tally_error *err)
{
    struct event_search *search;
    struct tally_range range = {.topic = options->topic, .partition = options->partition};

    /* librdkafka asks a broker that has gone away for far longer than it is told to. */
    if (!options->client->ops->reachable(options->client, err)) {
        return tally_error_set(err, TALLY_UNAVAILABLE, "%s/%d cannot be read now", options->topic,
                (int)options->partition);
    }
    search = tally_alloc_zero(1, sizeof *search);
    search->options = *options;
    search->next = TALLY_OFFSET_NONE;
    tally_arena_init(&search->arena, ARENA_BLOCK_BYTES);
    search->consumer = options->client->ops->restore_consumer(options->client, READER, err);
    if (search->consumer) {
        int64_t left_ms = options->end_ms - now_ms();

        left_ms = left_ms < RANGES_MS ? left_ms : RANGES_MS;
        search->consumer->ops->ranges(search->consumer, &range, 1, left_ms > 0 ? (int)left_ms : 1);
    }
    if (!search->consumer || range.code) {
        event_search_close(search);
        return tally_error_set(err, TALLY_UNAVAILABLE, "%s/%d cannot be read now", options->topic,
                (int)options->partition);
    }
    search->begin = range.low;
    search->at = (struct event_search_found){.offset = range.low - 1};
    search->at_command = -1;
    *out = search;
    return TALLY_OK;
}

void event_search_close(struct event_search *search)
{
    if (!search) {
        return;
    }
    if (search->consumer) {
        let_go(search);
        search->consumer->ops->destroy(search->consumer);
    }
    tally_arena_deinit(&search->arena);
    tally_free(search);
}

int64_t event_search_begin(const struct event_search *search)
{
    return search->begin;
}

/* --- reading ---------------------------------------------------------------------------------- */

static enum tally_code seek(struct event_search *search, int64_t from, struct tally_error *err)
{
    struct tally_topic_partition place = {
            .topic = search->options.topic, .partition = search->options.partition, .offset = from};
    enum tally_code code = search->consumer->ops->assign(search->consumer, &place, 1, err);

    search->next = code ? TALLY_OFFSET_NONE : from;
    return code;
}

static enum tally_code too_late(const struct event_search *search, struct tally_error *err)
{
    return tally_error_set(err, TALLY_TIMEOUT, "reading %s/%d took too long", search->options.topic,
            (int)search->options.partition);
}

/* The first record at or behind `from`, of whomever. */
static enum tally_code poll(struct event_search *search, int64_t from, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    let_go(search);
    if (search->next < 0 || from < search->next || from - search->next > NEAR) {
        code = seek(search, from, err);
    }
    while (!code) {
        code = search->consumer->ops->poll(search->consumer, POLL_MS, &search->record, err);
        if (code == TALLY_OK) {
            search->held = true;
            search->next = search->record.offset + 1;
            if (search->record.offset >= from) {
                return TALLY_OK;
            }
            let_go(search);
        }
        if (code && code != TALLY_AGAIN && tally_code_reaction(code) != TALLY_REACT_RETRY) {
            return code;
        }
        code = now_ms() < search->options.end_ms ? TALLY_OK : too_late(search, err);
    }
    return code;
}

/* The first event at or behind `from`, which is at most the last one. */
static enum tally_code read_event(struct event_search *search, int64_t from,
        struct tally_error *err)
{
    enum tally_code code;

    do {
        code = poll(search, from, err);
        if (!code) {
            code = tally_event_decode(search->record.value, search->record.key,
                    search->options.topology, search->options.partition, search->options.types,
                    &search->arena, &search->event, err);
            from = search->record.offset + 1;
        }
    } while (code == TALLY_NOT_FOUND && from <= search->options.last); /* a foreign one */
    return code;
}

/* --- searching -------------------------------------------------------------------------------- */

typedef int64_t (*measure_fn)(const struct tally_event *event);

static int64_t by_command(const struct tally_event *event)
{
    return event->command_offset;
}

static int64_t by_time(const struct tally_event *event)
{
    return event->time_ms;
}

/* The first event that measures `target` or more lies behind `low`, and before `high` if `answer`
 * does; `answer`: of those that are known to. */
struct interval {
    int64_t low, high, answer;
    bool has_measures;
    int64_t low_measure, high_measure;
};

static int64_t guess(const struct interval *in, int64_t target, unsigned step)
{
    int64_t at = in->low + (in->high - in->low) / 2;

    if (in->has_measures && step % 2 == 0 && in->high_measure > in->low_measure) {
        double part =
                (double)(target - in->low_measure) / (double)(in->high_measure - in->low_measure);

        at = in->low + (int64_t)((double)(in->high - in->low) * part) - MARGIN;
    }
    if (at <= in->low) {
        at = in->low + 1;
    }
    return at < in->high ? at : in->high - 1;
}

static bool is_near(const struct interval *in, int64_t target)
{
    return in->high - in->low <= NEAR ||
           (in->has_measures && target - in->low_measure <= NEAR); /* invariant (1) */
}

/* in->answer: the offset, one behind the last event if there is none. */
static enum tally_code find(struct event_search *search, measure_fn measure, int64_t target,
        struct interval *in, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    for (unsigned step = 0; !code && in->high - in->low > 1; step++) {
        int64_t from = is_near(in, target) ? in->low + 1 : guess(in, target, step), value;

        code = read_event(search, from, err);
        if (code) {
            break;
        }
        value = measure(&search->event);
        if (search->record.offset >= in->high) {
            in->high = from; /* nothing lies between */
        } else if (value < target) {
            in->low = search->record.offset;
            in->low_measure = value;
        } else {
            in->answer = search->record.offset;
            in->high = from;
            in->high_measure = value;
        }
    }
    return code;
}

enum tally_code event_search_command(struct event_search *search, int64_t offset,
        struct event_search_found *found, struct tally_error *err)
{
    bool later = search->at_command < offset;
    struct interval in = {.low = later ? search->at.offset : search->begin - 1,
            .high = search->options.last + 1,
            .answer = search->options.last + 1,
            .has_measures = true,
            .low_measure = later ? search->at_command : -1,
            .high_measure = search->options.last_command + 1};
    enum tally_code code = find(search, by_command, offset, &in, err);

    if (!code && in.answer > search->options.last) {
        return TALLY_NOT_FOUND;
    }
    if (!code && (!search->held || search->record.offset != in.answer)) {
        code = read_event(search, in.answer, err);
    }
    if (!code) {
        search->at.offset = search->record.offset;
        search->at_command = search->event.command_offset;
        *found = (struct event_search_found){search->record.offset, &search->event};
        code = search->event.command_offset == offset ? TALLY_OK : TALLY_NOT_FOUND;
    }
    return code;
}

enum tally_code event_search_time(struct event_search *search, int64_t time_ms, int64_t *offset,
        struct tally_error *err)
{
    struct interval in = {.low = search->begin - 1,
            .high = search->options.last + 1,
            .answer = search->options.last + 1};
    enum tally_code code = find(search, by_time, time_ms, &in, err);

    *offset = in.answer;
    return code;
}

/* --- backwards -------------------------------------------------------------------------------- */

struct kept {
    int64_t offset;
    struct tally_slice value;
    struct kept *older;
};

/* Keeps the events of the key with from <= offset < below; *newest: a list of them. */
static enum tally_code keep_chunk(struct event_search *search, struct tally_slice key, int64_t from,
        int64_t below, struct tally_arena *arena, struct kept **newest, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    *newest = NULL;
    while (from < below && from <= search->options.last) {
        code = poll(search, from, err);
        if (code) {
            return code;
        }
        from = search->record.offset + 1;
        if (from <= below && tally_slice_equal(search->record.key, key)) {
            struct kept *kept = tally_arena_alloc(arena, sizeof *kept);

            *kept = (struct kept){
                    search->record.offset, tally_arena_copy(arena, search->record.value), *newest};
            *newest = kept;
        }
    }
    let_go(search);
    return code;
}

/* *stopped: take() said so. */
static enum tally_code tell_chunk(struct event_search *search, struct tally_slice key,
        const struct kept *kept, int64_t *below, event_search_fn take, void *context, bool *stopped,
        struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    for (; kept && !code && !*stopped; kept = kept->older) {
        struct event_search_found found = {kept->offset, &search->event};

        tally_arena_reset(&search->arena, ARENA_KEEP_BYTES);
        code = tally_event_decode(kept->value, key, search->options.topology,
                search->options.partition, search->options.types, &search->arena, &search->event,
                err);
        if (code == TALLY_NOT_FOUND) {
            code = TALLY_OK; /* a foreign one */
        } else if (!code) {
            *stopped = !take(context, &found);
        }
        if (!code && !*stopped) {
            *below = kept->offset;
        }
    }
    return code;
}

enum tally_code event_search_back(struct event_search *search, struct tally_slice key,
        int64_t *below, event_search_fn take, void *context, struct tally_error *err)
{
    int64_t size = CHUNK_MIN, start = *below;
    struct tally_arena arena;
    bool stopped = false;
    enum tally_code code = TALLY_OK;

    tally_arena_init(&arena, ARENA_BLOCK_BYTES);
    while (!code && !stopped && *below > search->begin) {
        int64_t from = *below - size > search->begin ? *below - size : search->begin;
        struct kept *newest;

        code = keep_chunk(search, key, from, *below, &arena, &newest, err);
        if (!code) {
            code = tell_chunk(search, key, newest, below, take, context, &stopped, err);
        }
        if (!code && !stopped) {
            *below = from;
        }
        tally_arena_reset(&arena, ARENA_KEEP_BYTES);
        size = size < CHUNK_MAX ? size * 2 : size;
    }
    tally_arena_deinit(&arena);
    return code == TALLY_TIMEOUT && *below < start ? TALLY_AGAIN : code;
}
