/* apps/dlq_act.c - see the header. */
#include "apps/dlq_act.h"

#include <stdio.h>

#include "connectors/kafka_writer.h"
#include "schemas/envelope.h"

enum {
    CHUNK = 256, /* letters between two marks at most: what a death makes repeat */
    FLUSH_SLICE_MS = 200,
    FLUSH_LIMIT_MS = 2 * 60 * 1000,
    ARENA_BLOCK = 64 * 1024,
    ARENA_KEEP = 4 * 1024 * 1024
};

struct work {
    struct dlq_act *act;
    struct tally_writer *writer;
    struct tally_arena arena;
    struct {
        struct dlq_letter *letter;
        struct tally_slice key; /* of the mark; in keys */
        bool acknowledged, marked;
    } chunk[CHUNK];
    size_t count;
    struct tally_arena keys;
    bool marking;
};

static void report(const struct work *work, const struct dlq_letter *letter, const char *what,
        const char *why)
{
    fprintf(stderr, "%s/%d@%lld: %s%s%s\n", work->act->box->source->topic,
            (int)letter->place.partition, (long long)letter->place.offset, what, *why ? ": " : "",
            why);
}

/* tag: index in the chunk and one more. */
static void on_delivered(void *context, void *tag, enum tally_code code, int32_t partition,
        int64_t offset)
{
    struct work *work = context;
    size_t index = (size_t)(uintptr_t)tag - 1;

    (void)partition;
    (void)offset;
    if (code) {
        work->act->failed++;
        report(work, work->chunk[index].letter,
                work->marking ? "done, but not noted: do it again, the command's id makes it safe"
                              : "not acknowledged",
                tally_code_text(code));
    } else if (work->marking) {
        work->chunk[index].marked = true;
    } else {
        work->chunk[index].acknowledged = true;
    }
}

static enum tally_code flush(struct work *work, struct tally_error *err)
{
    enum tally_code code = TALLY_TIMEOUT;

    for (int waited_ms = 0; code == TALLY_TIMEOUT && waited_ms < FLUSH_LIMIT_MS;
            waited_ms += FLUSH_SLICE_MS) {
        code = tally_writer_flush(work->writer, FLUSH_SLICE_MS, NULL, err);
    }
    return code;
}

static enum tally_code mark(struct work *work, size_t index, struct tally_error *err)
{
    const struct dlq_letter *letter = work->chunk[index].letter;
    char text[64];
    struct tally_header header = {.name = TALLY_SLICE(DLQ_MARK_HEADER)};

    dlq_mark_format(letter, work->act->drop ? DLQ_DROPPED : DLQ_RETRIED, text, sizeof text);
    header.value = tally_slice_string(text);
    return tally_writer_produce(work->writer, work->act->box->source->topic,
            letter->place.partition, work->chunk[index].key, TALLY_NONE, &header, 1,
            (void *)(uintptr_t)(index + 1), err);
}

/* Waits for all of the chunk's records, then notes what became of their letters. The first code. */
static enum tally_code end_chunk(struct work *work, struct tally_error *err)
{
    struct tally_error late;
    enum tally_code code = flush(work, err);

    work->marking = true;
    for (size_t i = 0; i < work->count; i++) {
        late = (struct tally_error){.code = TALLY_OK};
        if (!work->act->drop && !work->chunk[i].acknowledged) {
            continue;
        }
        if (mark(work, i, &late) && !code) {
            code = late.code;
            *err = late;
        }
    }
    late = (struct tally_error){.code = TALLY_OK};
    if (flush(work, &late) && !code) {
        code = late.code;
        *err = late;
    }
    for (size_t i = 0; i < work->count; i++) {
        work->act->done += work->chunk[i].marked;
    }
    work->marking = false;
    work->count = 0;
    tally_arena_reset(&work->keys, ARENA_KEEP);
    return code;
}

/* --- what is sent ----------------------------------------------------------------------------- */

struct sending {
    struct tally_slice key, value;
    int32_t partition; /* -1: of the key */
    bool never;        /* not even by force */
};

static const char *check_key(const struct work *work, const struct tally_command *command,
        struct tally_slice expected, struct sending *sending)
{
    if (work->act->rekey && command->schema && expected.data) {
        sending->key = expected;
    }
    if (sending->key.len == 0) {
        return "it has no key: --rekey takes the one that its fields ask for";
    }
    if (command->schema && (!expected.data || !tally_slice_equal(expected, sending->key))) {
        return "its key is not the one that its fields ask for: --rekey takes that one";
    }
    return NULL;
}

/* NULL: the engine will take it as a command. Else why not. */
static const char *check(struct work *work, const struct dlq_letter *letter,
        struct sending *sending, struct tally_error *err)
{
    const struct tally_aggregate *aggregate =
            tally_topology_aggregate(work->act->box->source->topology);
    struct tally_command command;
    struct tally_slice expected = TALLY_NONE;
    enum tally_refusal refusal;

    if (tally_command_decode(sending->value, aggregate->command_types, &work->arena, &command,
                &refusal, err)) {
        return err->message;
    }
    if (letter->id.len && !tally_slice_equal(letter->id, command.id)) {
        sending->never = true;
        return "the command has another id than the letter: a retry keeps the id, so that it "
               "counts once";
    }
    if (!tally_command_key(&command, &work->arena, &expected)) {
        expected = TALLY_NONE;
    }
    if (command.schema && command.schema->broadcast) {
        sending->partition = letter->origin.partition;
    }
    return check_key(work, &command, expected, sending);
}

/* false: reported, and nothing is to be sent. */
static bool prepare(struct work *work, const struct dlq_letter *letter,
        const struct tally_record *record, struct sending *sending)
{
    struct tally_error err = {.code = TALLY_OK};
    const char *why;

    *sending = (struct sending){.key = record->key,
            .value = work->act->value.data ? work->act->value : record->value,
            .partition = -1};
    tally_arena_reset(&work->arena, ARENA_KEEP);
    if (letter->cut.len && !work->act->value.data) {
        sending->never = true;
        why = "it is only the begin of a record that was too large: --value-file gives another "
              "value";
    } else {
        why = check(work, letter, sending, &err);
    }
    if (!why || (work->act->force && !sending->never)) {
        if (!sending->key.data) { /* there is none to tell another partition */
            sending->partition = letter->origin.partition;
        }
        return true;
    }
    report(work, letter, "not sent", why);
    work->act->refused++;
    return false;
}

static enum tally_code on_letter(void *context, struct dlq_letter *letter,
        const struct tally_record *record, const struct tally_header *headers,
        struct tally_error *err)
{
    struct work *work = context;
    struct sending sending = {.partition = -1};
    enum tally_code code = TALLY_OK;

    if (!work->act->drop && !prepare(work, letter, record, &sending)) {
        return TALLY_OK;
    }
    work->chunk[work->count].letter = letter;
    work->chunk[work->count].acknowledged = work->chunk[work->count].marked = false;
    work->chunk[work->count].key =
            record->key.data ? tally_arena_copy(&work->keys, record->key) : TALLY_NONE;
    work->count++;
    if (!work->act->drop) {
        code = tally_writer_produce(work->writer,
                tally_topology_commands(work->act->box->source->topology), sending.partition,
                sending.key, sending.value, headers, letter->own_headers,
                (void *)(uintptr_t)work->count, err);
    }
    if (code == TALLY_TOO_LARGE) {
        report(work, letter, "not sent", err->message);
        work->act->refused++;
        work->count--;
        return TALLY_OK;
    }
    work->act->old += !work->act->drop &&
                      work->act->now_ms - letter->time_ms > work->act->cli->config.dedup_retention;
    return code || work->count < CHUNK ? code : end_chunk(work, err);
}

enum tally_code dlq_act_run(struct dlq_act *act, struct tally_error *err)
{
    struct work *work = tally_alloc_zero(1, sizeof *work);
    enum tally_code code;

    work->act = act;
    tally_arena_init(&work->arena, ARENA_BLOCK);
    tally_arena_init(&work->keys, ARENA_BLOCK);
    code = tally_writer_create(&act->cli->config, on_delivered, work, &work->writer, err);
    if (!code) {
        struct tally_error late = {.code = TALLY_OK};
        enum tally_code ended;

        code = dlq_box_each(act->box, &act->cli->config, on_letter, work, err);
        ended = end_chunk(work, &late); /* also what was begun before an error or an interrupt */
        if (ended && !code) {
            code = ended;
            *err = late;
        }
    }
    tally_writer_destroy(work->writer);
    tally_arena_deinit(&work->arena);
    tally_arena_deinit(&work->keys);
    tally_free(work);
    return code;
}
