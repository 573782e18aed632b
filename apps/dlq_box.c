/* apps/dlq_box.c - see the header. */
#include "apps/dlq_box.h"

#include <stdlib.h>

#include "apps/cli.h"
#include "connectors/kafka_reader.h"
#include "engine/base/clock.h"

enum { WAIT_MS = 100, ARENA_BLOCK = 64 * 1024, ARENA_KEEP = 4 * 1024 * 1024 };

static int compare_places(const void *a, const void *b)
{
    const struct dlq_place *left = &((const struct dlq_letter *)a)->place;
    const struct dlq_place *right = &((const struct dlq_letter *)b)->place;

    if (left->partition != right->partition) {
        return left->partition < right->partition ? -1 : 1;
    }
    return (left->offset > right->offset) - (left->offset < right->offset);
}

static void add(struct dlq_letter **items, size_t *count, size_t *capacity,
        const struct dlq_letter *item)
{
    if (*count == *capacity) {
        *capacity = *capacity ? 2 * *capacity : 256;
        *items = tally_realloc(*items, *capacity * sizeof **items);
    }
    (*items)[(*count)++] = *item;
}

/* Headers of a record, however many, in the arena. */
static struct tally_header *headers_of(struct tally_reader *reader,
        const struct tally_record *record, struct tally_arena *arena, size_t *count)
{
    struct tally_header *headers;

    *count = tally_reader_headers(reader, record, NULL, 0);
    headers = tally_arena_alloc(arena, *count * sizeof *headers + 1);
    (void)tally_reader_headers(reader, record, headers, *count);
    return headers;
}

/* What stays when the record is gone. */
static void keep(struct dlq_box *box, struct dlq_letter *letter)
{
    struct tally_slice *const texts[] = {&letter->reason, &letter->detail, &letter->stage,
            &letter->cut, &letter->key, &letter->type, &letter->id, &letter->origin_topic};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i]->data) {
            *texts[i] = tally_arena_copy(&box->arena, *texts[i]);
        }
    }
    add(&box->letters, &box->count, &box->capacity, letter);
}

static void take(struct dlq_box *box, struct tally_reader *reader,
        const struct tally_record *record, struct tally_arena *scratch)
{
    struct dlq_letter letter;
    size_t count;
    struct tally_header *headers;

    tally_arena_reset(scratch, ARENA_KEEP);
    headers = headers_of(reader, record, scratch, &count);
    switch (dlq_letter_read(record, headers, count, scratch, &letter)) {
    case DLQ_LETTER:
        keep(box, &letter);
        break;
    case DLQ_MARK:
        if (letter.place.partition == record->partition) {
            add(&box->marks, &box->mark_count, &box->mark_capacity, &letter);
        }
        break;
    case DLQ_FOREIGN:
        break;
    }
}

/* Calls `each` for every record until it or the reader ends. UNAVAILABLE: the broker is silent. */
static enum tally_code read_all(struct tally_reader *reader,
        enum tally_code (*each)(void *context, struct tally_reader *reader,
                const struct tally_record *record, struct tally_error *err),
        void *context, struct tally_error *err)
{
    int64_t heard_ms = tally_mono_ms(tally_clock_real());

    while (!cli_interrupted()) {
        struct tally_record record;
        enum tally_code code = tally_reader_next(reader, WAIT_MS, &record, err);

        if (code == TALLY_NOT_FOUND) {
            return TALLY_OK;
        }
        if (code == TALLY_AGAIN || tally_code_reaction(code) == TALLY_REACT_RETRY) {
            if (tally_mono_ms(tally_clock_real()) - heard_ms > TALLY_READER_SILENT_MS) {
                return tally_error_set(err, TALLY_UNAVAILABLE, "the broker gives no records");
            }
            continue; /* librdkafka connects again by itself */
        }
        if (code) {
            return code;
        }
        code = each(context, reader, &record, err);
        tally_reader_release(reader, &record);
        heard_ms = tally_mono_ms(tally_clock_real());
        if (code) {
            return code == TALLY_NOT_FOUND ? TALLY_OK : code;
        }
    }
    return TALLY_AGAIN;
}

struct scan {
    struct dlq_box *box;
    struct tally_arena scratch;
};

static enum tally_code on_scanned(void *context, struct tally_reader *reader,
        const struct tally_record *record, struct tally_error *err)
{
    struct scan *scan = context;

    (void)err;
    take(scan->box, reader, record, &scan->scratch);
    return TALLY_OK;
}

/* Only an open letter takes a mark, so the first one of a letter counts. */
static void apply_marks(struct dlq_box *box)
{
    for (size_t i = 0; i < box->mark_count; i++) {
        struct dlq_letter *letter = dlq_box_find(box, &box->marks[i].place);

        if (letter && letter->state == DLQ_OPEN) {
            letter->state = box->marks[i].state;
        }
    }
}

enum tally_code dlq_box_read(struct dlq_box *box, const struct tally_config *config,
        const struct dlq_source *source, const struct dlq_range *range, struct tally_error *err)
{
    struct tally_reader_options options = {.config = config, .stop_at_end = true};
    struct tally_reader *reader = NULL;
    struct scan scan = {.box = box};
    enum tally_code code;

    *box = (struct dlq_box){.source = source};
    tally_arena_init(&box->arena, ARENA_BLOCK);
    tally_arena_init(&scan.scratch, ARENA_BLOCK);
    options.topic = source->topic;
    if (range->from) {
        options.partitions = &range->from->partition;
        options.partition_count = 1;
        options.range.start = TALLY_READER_ABSOLUTE;
        options.range.value = range->from->offset;
    } else if (range->since_ms > 0) {
        options.range.start = TALLY_READER_SINCE;
        options.range.value = range->since_ms;
    }
    code = tally_reader_create(&options, &reader, err);
    if (!code) {
        code = read_all(reader, on_scanned, &scan, err);
    }
    tally_reader_destroy(reader);
    tally_arena_deinit(&scan.scratch);
    if (box->count > 0) {
        qsort(box->letters, box->count, sizeof box->letters[0], compare_places);
    }
    apply_marks(box);
    return code;
}

void dlq_box_deinit(struct dlq_box *box)
{
    tally_arena_deinit(&box->arena);
    tally_free(box->letters);
    tally_free(box->marks);
    *box = (struct dlq_box){.count = 0};
}

struct dlq_letter *dlq_box_find(struct dlq_box *box, const struct dlq_place *place)
{
    struct dlq_letter wanted = {.place = *place};

    return box->count ? bsearch(&wanted, box->letters, box->count, sizeof box->letters[0],
                                compare_places)
                      : NULL;
}

/* --- chosen ones ------------------------------------------------------------------------------ */

struct walk {
    struct dlq_box *box;
    size_t next, end; /* letters of one partition; those before next are done */
    struct tally_arena scratch;
    dlq_record_fn record;
    void *context;
};

/* NOT_FOUND: no more are wanted. */
static enum tally_code on_walked(void *context, struct tally_reader *reader,
        const struct tally_record *record, struct tally_error *err)
{
    struct walk *walk = context;
    struct dlq_letter *letters = walk->box->letters;
    enum tally_code code = TALLY_OK;

    while (walk->next < walk->end &&
            (!letters[walk->next].chosen || letters[walk->next].place.offset < record->offset)) {
        walk->next++;
    }
    if (walk->next < walk->end && letters[walk->next].place.offset == record->offset) {
        size_t count;

        tally_arena_reset(&walk->scratch, ARENA_KEEP);
        code = walk->record(walk->context, &letters[walk->next++], record,
                headers_of(reader, record, &walk->scratch, &count), err);
    }
    while (walk->next < walk->end && !letters[walk->next].chosen) {
        walk->next++;
    }
    return code || walk->next < walk->end ? code : TALLY_NOT_FOUND;
}

enum tally_code dlq_box_each(struct dlq_box *box, const struct tally_config *config,
        dlq_record_fn record, void *context, struct tally_error *err)
{
    struct walk walk = {.box = box, .record = record, .context = context};
    enum tally_code code = TALLY_OK;

    tally_arena_init(&walk.scratch, ARENA_BLOCK);
    while (walk.end < box->count && !code) {
        int32_t partition = box->letters[walk.end].place.partition;
        struct tally_reader_options options = {.config = config,
                .topic = box->source->topic,
                .partitions = &partition,
                .partition_count = 1,
                .stop_at_end = true};
        struct tally_reader *reader = NULL;

        walk.next = walk.end;
        while (walk.end < box->count && box->letters[walk.end].place.partition == partition) {
            walk.end++;
        }
        while (walk.next < walk.end && !box->letters[walk.next].chosen) {
            walk.next++;
        }
        if (walk.next == walk.end) {
            continue;
        }
        options.range.start = TALLY_READER_ABSOLUTE;
        options.range.value = box->letters[walk.next].place.offset;
        code = tally_reader_create(&options, &reader, err);
        code = code ? code : read_all(reader, on_walked, &walk, err);
        tally_reader_destroy(reader);
    }
    tally_arena_deinit(&walk.scratch);
    return code;
}
