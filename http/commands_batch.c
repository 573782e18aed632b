/* http/commands_batch.c - see commands_batch.h.
 *   body -> items -> each made, or refused -> written one after the other -> outcomes -> one answer
 * Invariants
 *  (1) Items are independent: one that is refused keeps no other from being written. Those that are
 *      written are so in their order, so two of one key are decided in it.
 *  (2) An item that was acknowledged is answered with where it is, or its outcome, whatever becomes
 *      of the others.
 *  (3) After the first that Kafka does not acknowledge none is written any more: each would wait as
 *      long. */
#include "http/commands_batch.h"

#include <stdio.h>

#include "http/commands.h"
#include "http/document.h"
#include "http/header_field.h"
#include "http/problem.h"
#include "http/reading.h"

enum { ITEMS_MAX = 1000 };

struct item {
    struct submission submission;
    bool written;
    struct commands_position at;
    const char *code; /* of what was refused */
    int http_status;
    struct commands_outcome outcome;
    bool known;
};

struct batch {
    const struct tally_token *commands;
    enum tally_format format;
    struct item *items;
    size_t count;
    int64_t wait_s; /* 0: nobody waits */
};

/* A member of the body that is not the commands, as a pointer. */
static void violate_others(const struct tally_token *root, struct tally_violations *violations)
{
    const struct tally_token *name = root + 1;

    for (uint32_t i = 0; i < root->count; i++, name = tally_token_next(tally_token_next(name))) {
        char pointer[sizeof violations->items[0].pointer];

        if (!tally_slice_equal(name->string, TALLY_SLICE("commands"))) {
            snprintf(pointer, sizeof pointer, "/%.*s", (int)name->string.len,
                    (const char *)name->string.data);
            tally_violate(violations, pointer, "UNKNOWN_FIELD", "expected commands alone");
        }
    }
}

static bool read_commands(struct exchange *exchange, struct batch *batch)
{
    const struct tally_token *root = NULL, *commands;
    struct tally_violations violations = {.count = 0};
    struct tally_slice bytes;

    if (request_header(&exchange->request, "If-Match").data) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
                "If-Match is for one command: give expected_version in each");
        return false;
    }
    if (!document_media_type(exchange, &batch->format) ||
            !document_parse(exchange, batch->format, &root, &bytes)) {
        return false;
    }
    commands = tally_token_member(root, "commands");
    if (!commands) {
        tally_violate(&violations, "/commands", "REQUIRED", "the commands, in the flat form");
    } else if (commands->type != TALLY_ARRAY) {
        tally_violate(&violations, "/commands", "WRONG_TYPE", "expected an array");
    } else if (commands->count < 1 || commands->count > ITEMS_MAX) {
        tally_violate(&violations, "/commands", "OUT_OF_RANGE", "expected 1 to %d", ITEMS_MAX);
    }
    violate_others(root, &violations);
    if (violations.count > 0) {
        problem_reject(exchange, TALLY_REJECT_VALIDATION_FAILED, &violations, "%s: %s",
                violations.items[0].pointer, violations.items[0].detail);
        return false;
    }
    batch->commands = commands;
    return true;
}

/* A problem was answered for one item: keeps what it was, and takes it back. */
static void refuse(struct exchange *exchange, size_t headers_len, struct item *item)
{
    item->code = exchange->problem;
    item->http_status = exchange->response.status;
    exchange->problem = NULL;
    exchange->response.status = 0;
    exchange->response.headers.len = headers_len;
    exchange->response.cache_control = "no-cache";
}

static void make_items(struct exchange *exchange, struct batch *batch)
{
    size_t headers_len = exchange->response.headers.len;
    const struct tally_token *token = batch->commands + 1;

    batch->count = batch->commands->count;
    batch->items = tally_arena_alloc(&exchange->arena, batch->count * sizeof *batch->items);
    for (size_t i = 0; i < batch->count; i++, token = tally_token_next(token)) {
        struct item *item = &batch->items[i];

        *item = (struct item){.written = false};
        commands_outcome_init(&item->outcome);
        if (!submission_make_item(exchange, token, batch->format, &item->submission)) {
            refuse(exchange, headers_len, item);
        }
    }
}

/* false: none was written, and the problem is answered. */
static bool write_items(struct exchange *exchange, struct batch *batch)
{
    size_t headers_len = exchange->response.headers.len, written = 0;
    bool failed = false;

    for (size_t i = 0; i < batch->count; i++) {
        struct item *item = &batch->items[i];

        if (item->code) {
            continue;
        }
        if (!failed) {
            item->written = commands_publish(exchange, &item->submission, &item->at);
            failed = !item->written && exchange->response.status == 503;
            written += item->written;
        } else {
            problem_answer(exchange, PROBLEM_KAFKA_UNAVAILABLE, NULL);
        }
        if (failed && written == 0) {
            return false;
        }
        if (!item->written) {
            refuse(exchange, headers_len, item);
        }
    }
    return true;
}

static void await_items(struct exchange *exchange, struct batch *batch)
{
    int64_t end_ms = tally_mono_ms(tally_clock_real()) + batch->wait_s * 1000;

    struct commands_waiting *waiting =
            tally_arena_alloc(&exchange->arena, batch->count * sizeof *waiting);
    size_t count = 0;

    for (size_t i = 0; i < batch->count; i++) {
        struct item *item = &batch->items[i];

        if (item->written) {
            waiting[count++] =
                    (struct commands_waiting){&item->submission, &item->at, &item->outcome, false};
        }
    }
    commands_await(exchange, waiting, count, end_ms);
    count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct item *item = &batch->items[i];

        item->known = item->written && waiting[count++].known &&
                      item->outcome.info.status != TALLY_PENDING;
    }
}

static void write_refused(struct tally_writer *writer, const struct item *item)
{
    tally_write_map(writer, 4);
    tally_write_name(writer, "command_id");
    if (item->submission.id.data) {
        tally_write_string(writer, item->submission.id);
    } else {
        tally_write_null(writer);
    }
    tally_write_name(writer, "status");
    tally_write_string(writer, tally_slice_string(tally_status_name(TALLY_REJECTED)));
    tally_write_name(writer, "code");
    tally_write_string(writer, tally_slice_string(item->code));
    tally_write_name(writer, "http_status");
    tally_write_int(writer, item->http_status);
}

static void answer(struct exchange *exchange, const struct batch *batch)
{
    bool located = commands_outcomes_kept(exchange), all_known = true;
    struct tally_writer writer;

    for (size_t i = 0; i < batch->count; i++) {
        all_known = all_known && (batch->items[i].known || batch->items[i].code);
    }
    response_json(&exchange->response, all_known ? 200 : 202, &writer);
    tally_write_map(&writer, 1);
    tally_write_name(&writer, "items");
    tally_write_array(&writer, (uint32_t)batch->count);
    for (size_t i = 0; i < batch->count; i++) {
        const struct item *item = &batch->items[i];
        const struct submission *made = &item->submission;

        if (item->code) {
            write_refused(&writer, item);
        } else if (item->known) {
            tally_write_raw(&writer, tally_buf_bytes(&item->outcome.record));
        } else {
            commands_pending_write(&writer, made->id, made->type, made->key, &item->at, located);
        }
    }
}

static void send_batch(struct exchange *exchange, struct batch *batch)
{
    make_items(exchange, batch);
    if (write_items(exchange, batch)) {
        if (batch->wait_s > 0) {
            response_header(&exchange->response, "Preference-Applied", "wait=%lld",
                    (long long)batch->wait_s);
            await_items(exchange, batch);
        }
        answer(exchange, batch);
    }
    for (size_t i = 0; i < batch->count; i++) {
        commands_outcome_deinit(&batch->items[i].outcome);
    }
}

void commands_batch_send(struct exchange *exchange)
{
    struct batch batch = {.wait_s = 0};
    bool waits;

    if (tally_runtime_is_shutting_down(exchange->runtime)) {
        problem_answer(exchange, PROBLEM_SHUTTING_DOWN, "this instance takes no more commands");
        return;
    }
    if (!read_commands(exchange, &batch)) {
        return;
    }
    waits = commands_outcomes_kept(exchange) &&
            header_field_prefer_wait(&exchange->request, &batch.wait_s);
    if (waits && !reading_wait_begin(exchange->waiting)) {
        problem_answer(exchange, PROBLEM_OVERLOADED, "too many requests wait; nothing was written");
        return;
    }
    send_batch(exchange, &batch);
    if (waits) {
        reading_wait_end(exchange->waiting);
    }
}
