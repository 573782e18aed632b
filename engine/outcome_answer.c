/* engine/outcome_answer.c - see outcome_answer.h. */
#include "engine/outcome_answer.h"

enum { VALUE_BYTES_MAX = 4 * 1024 * 1024, SCRATCH_BLOCK_BYTES = 4096 };

/* Finds the row of the id, and the record key under which it was used. */
static enum tally_code find_row(const struct outcome_question *question, struct tally_arena *arena,
        struct tally_slice *row, struct tally_slice *key, struct tally_error *err)
{
    struct tally_key prefix;
    uint8_t space[TALLY_KEY_MAX];
    struct tally_slice found;
    struct tally_iterator *iterator;
    enum tally_code code = TALLY_OK;

    tally_key_begin(&prefix, TALLY_STORE_DEDUP);
    tally_key_string(&prefix, question->command_id);
    iterator = tally_view_iterate(question->view, tally_key_bytes(&prefix),
            tally_prefix_end(tally_key_bytes(&prefix), space), false);
    if (tally_iterator_next(iterator, &found, row, &code, err)) {
        *row = tally_arena_copy(arena, *row);
        *key = tally_arena_copy(arena,
                tally_slice_of(found.data + prefix.len, found.len - prefix.len));
    } else if (!code) {
        code = TALLY_NOT_FOUND;
    }
    tally_iterator_destroy(iterator);
    return code;
}

static enum tally_code read_row(const struct outcome_question *question, struct tally_arena *arena,
        struct tally_slice *row, struct tally_slice *key, struct tally_error *err)
{
    struct tally_key dedup;
    struct tally_buf value;
    enum tally_code code;

    if (question->key.len == 0) {
        return find_row(question, arena, row, key, err);
    }
    *key = question->key;
    context_dedup_key(question->command_id, question->key, &dedup);
    tally_buf_init(&value, VALUE_BYTES_MAX);
    code = tally_view_get(question->view, tally_key_bytes(&dedup), &value, err);
    if (!code) {
        *row = tally_arena_copy(arena, tally_buf_bytes(&value));
    }
    tally_buf_deinit(&value);
    return code;
}

/* The aggregate's own account of an accepted fact. */
static enum tally_code read_result(const struct outcome_question *question,
        const struct tally_outcome *outcome, struct tally_arena *arena,
        struct tally_outcome_record *record, struct tally_error *err)
{
    const struct tally_aggregate *aggregate = tally_topology_aggregate(question->topology);
    struct tally_buf value, result;
    struct tally_writer writer;
    struct tally_context ctx = {
            .phase = CONTEXT_READ,
            .topology = question->topology,
            .aggregate = aggregate,
            .partition = question->partition,
            .partitions = question->partitions,
            .time_ms = outcome->time_ms,
            .scratch = arena,
            .view = question->view,
            .value = &value,
    };

    tally_buf_init(&value, VALUE_BYTES_MAX);
    tally_buf_init(&result, VALUE_BYTES_MAX);
    tally_write_begin(&writer, &result, question->format);
    aggregate->result(&ctx, record->key, outcome, &writer, &record->version);
    record->has_version = true;
    if (aggregate->positions) {
        record->positions = aggregate->positions(outcome);
    }
    record->result = tally_arena_copy(arena, tally_buf_bytes(&result));
    if (ctx.code && err) {
        *err = ctx.err;
    }
    tally_buf_deinit(&value);
    tally_buf_deinit(&result);
    return ctx.code;
}

/* The same id under the same key, but other fields: refused whatever became of the first. */
static void refuse_reuse(struct tally_outcome *outcome)
{
    outcome->stamp.status = TALLY_REJECTED;
    outcome->memo = TALLY_NONE;
    outcome->rejection = (struct tally_rejection){
            .code = TALLY_REJECT_IDEMPOTENCY_KEY_REUSED,
            .detail = TALLY_SLICE("the command id was used for other fields"),
    };
}

enum tally_code outcome_answer(const struct outcome_question *question, struct tally_buf *out,
        struct tally_outcome_info *info, struct tally_error *err)
{
    struct tally_arena arena;
    struct tally_slice row, key;
    struct tally_outcome outcome;
    struct tally_outcome_record record = {
            .command_id = question->command_id,
            .topic = tally_slice_string(tally_topology_commands(question->topology)),
            .partition = question->partition,
            .outcome = &outcome,
            .duplicate = question->duplicate,
    };
    enum tally_code code;

    tally_arena_init(&arena, SCRATCH_BLOCK_BYTES);
    code = read_row(question, &arena, &row, &key, err);
    if (code) {
        goto out;
    }
    code = tally_outcome_unpack(row, &outcome, err);
    if (code) {
        goto out;
    }
    record.key = key;
    if (question->fingerprint != 0 && question->fingerprint != outcome.stamp.fingerprint) {
        refuse_reuse(&outcome);
    }
    if (outcome.memo.len > 0) {
        code = read_result(question, &outcome, &arena, &record, err);
        if (code) {
            goto out;
        }
    }
    record.has_version = record.has_version && outcome.stamp.status == TALLY_ACCEPTED;
    tally_outcome_write(&record, question->format, out);
    *info = (struct tally_outcome_info){
            .status = outcome.stamp.status,
            .code = outcome.rejection.code,
            .offset = outcome.offset,
    };
out:
    tally_arena_deinit(&arena);
    return code;
}
