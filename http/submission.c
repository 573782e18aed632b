/* http/submission.c - see submission.h.
 * Invariants
 *  (1) What is made here is never a dead letter: the finished record is decoded by the engine's own
 *      decoder, and its key is the key field's.
 *  (2) The payload holds the members as the client sent them, so the fingerprint is the client's:
 *      the same fields give the same one over HTTP and over Kafka. */
#include "http/submission.h"

#include "http/auth.h"
#include "http/document.h"
#include "http/header_field.h"
#include "http/problem.h"

enum { ACTOR_BYTES_MAX = 128, KEY_BYTES_MAX = 128 };

static bool find_type(struct exchange *exchange, struct submission *submission)
{
    size_t count;
    struct tally_topology *const *topologies = tally_runtime_topologies(exchange->runtime, &count);

    for (size_t i = 0; i < count; i++) {
        const struct tally_aggregate *aggregate = tally_topology_aggregate(topologies[i]);
        const struct tally_schema *const *types = aggregate ? aggregate->command_types : NULL;

        for (; types && *types; types++) {
            if (!(*types)->internal &&
                    tally_slice_equal(submission->type, tally_slice_string((*types)->name))) {
                submission->topology = topologies[i];
                submission->schema = *types;
                return true;
            }
        }
    }
    problem_reject(exchange, TALLY_REJECT_UNKNOWN_COMMAND, NULL,
            "no command \"%.*s\" is known here", (int)submission->type.len,
            (const char *)submission->type.data);
    return false;
}

static bool read_id(struct exchange *exchange, struct submission *submission)
{
    size_t count = request_header_count(&exchange->request, "Idempotency-Key");

    if (count == 0) {
        problem_answer(exchange, PROBLEM_IDEMPOTENCY_KEY_MISSING,
                "Idempotency-Key is the command's id; repeat it to ask again");
        return false;
    }
    if (count > 1 || !header_field_command_id(request_header(&exchange->request, "Idempotency-Key"),
                             &submission->id)) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
                "Idempotency-Key: expected 1 to 64 of A-Z a-z 0-9 . _ : -, bare or in double "
                "quotes");
        return false;
    }
    return true;
}

static bool read_actor(struct exchange *exchange, struct submission *submission)
{
    struct tally_slice actor = request_header(&exchange->request, "X-Actor");

    if (actor.len > ACTOR_BYTES_MAX || !tally_utf8_valid(actor)) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
                "X-Actor: expected at most %d bytes of UTF-8", ACTOR_BYTES_MAX);
        return false;
    }
    if (actor.len > 0 && auth_asks(exchange->auth) &&
            !tally_slice_equal(actor, tally_slice_string(exchange->principal.name)) &&
            !auth_require(exchange, PERMISSION_OPERATOR, "another X-Actor than oneself")) {
        return false;
    }
    if (actor.len == 0) {
        actor = tally_slice_string(exchange->principal.name);
    }
    submission->actor = actor.len > 0 ? actor : TALLY_NONE;
    return true;
}

static bool read_if_match(struct exchange *exchange, struct submission *submission)
{
    struct tally_slice if_match = request_header(&exchange->request, "If-Match");
    bool any = false;

    if (!if_match.data) {
        return true;
    }
    if (!header_field_match_version(if_match, &any, &submission->expected_version)) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
                "If-Match: expected one strong entity tag as it was answered, or *");
        return false;
    }
    submission->expects_version = !any;
    return true;
}

static bool read_fields(struct exchange *exchange, struct submission *submission)
{
    return document_parse(exchange, submission->format, &submission->members, &submission->fields);
}

/* Members that HTTP has said elsewhere: allowed with the same value, and left out of the payload.
 */
static bool check_repeated(struct exchange *exchange, const struct submission *submission)
{
    const struct tally_token *type = tally_token_member(submission->members, "type");
    const struct tally_token *id = tally_token_member(submission->members, "command_id");
    const struct tally_token *version = tally_token_member(submission->members, "expected_version");

    if (type &&
            (type->type != TALLY_STRING || !tally_slice_equal(type->string, submission->type))) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER, "type: differs from the path");
        return false;
    }
    if (id && (id->type != TALLY_STRING || !tally_slice_equal(id->string, submission->id))) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
                "command_id: differs from Idempotency-Key");
        return false;
    }
    if (submission->expects_version && version &&
            (version->type != TALLY_INT || version->integer != submission->expected_version)) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
                "expected_version: differs from If-Match");
        return false;
    }
    return true;
}

static bool is_said_elsewhere(const struct tally_token *name)
{
    return tally_slice_equal(name->string, TALLY_SLICE("type")) ||
           tally_slice_equal(name->string, TALLY_SLICE("command_id"));
}

static void write_copied_name(struct exchange *exchange, struct tally_writer *writer,
        struct tally_slice name)
{
    char *text = tally_arena_alloc(&exchange->arena, name.len + 1);

    memcpy(text, name.data, name.len);
    text[name.len] = '\0'; /* names hold no NUL, or the body would have been refused */
    tally_write_name(writer, text);
}

/* The payload as a document of its own: the body itself, or its members without those said
 * elsewhere and with the version of If-Match. */
static void write_payload(struct exchange *exchange, const struct submission *submission,
        struct tally_buf *out)
{
    const struct tally_token *members = submission->members, *name;
    bool adds_version =
            submission->expects_version && !tally_token_member(members, "expected_version");
    uint32_t left_out = 0;
    struct tally_writer writer;

    name = members + 1;
    for (uint32_t i = 0; i < members->count; i++, name = tally_token_next(tally_token_next(name))) {
        left_out += is_said_elsewhere(name);
    }
    if (left_out == 0 && !adds_version) {
        tally_buf_slice(out, submission->fields);
        return;
    }
    tally_write_begin(&writer, out, submission->format);
    tally_write_map(&writer, members->count - left_out + adds_version);
    name = members + 1;
    for (uint32_t i = 0; i < members->count; i++, name = tally_token_next(tally_token_next(name))) {
        if (!is_said_elsewhere(name)) {
            write_copied_name(exchange, &writer, name->string);
            tally_write_token(&writer, tally_token_next(name));
        }
    }
    if (adds_version) {
        tally_write_name(&writer, "expected_version");
        tally_write_int(&writer, submission->expected_version);
    }
}

static void write_member(struct tally_writer *writer, const char *name, struct tally_slice value)
{
    tally_write_name(writer, name);
    tally_write_string(writer, value);
}

static bool write_record(struct exchange *exchange, struct submission *submission)
{
    struct tally_writer writer;
    struct tally_buf out, payload;

    tally_buf_init(&out, TALLY_DOCUMENT_BYTES_MAX);
    tally_buf_init(&payload, TALLY_DOCUMENT_BYTES_MAX);
    write_payload(exchange, submission, &payload);
    tally_write_begin(&writer, &out, submission->format);
    tally_write_map(&writer, submission->actor.data ? 5 : 4);
    write_member(&writer, "id", submission->id);
    write_member(&writer, "type", submission->type);
    write_member(&writer, "version", TALLY_SLICE("1.0"));
    if (submission->actor.data) {
        write_member(&writer, "actor", submission->actor);
    }
    tally_write_name(&writer, "payload");
    tally_write_raw(&writer, tally_buf_bytes(&payload));
    if (out.failed || payload.failed) {
        problem_answer(exchange, PROBLEM_BODY_TOO_LARGE,
                "the command is over 1 MiB with its envelope");
    } else {
        submission->record = tally_arena_copy(&exchange->arena, tally_buf_bytes(&out));
    }
    tally_buf_deinit(&payload);
    tally_buf_deinit(&out);
    return submission->record.data != NULL;
}

/* The rules that the key field breaks: without a good key there is no owner to ask. */
static bool check_key(struct exchange *exchange, struct submission *submission,
        const struct tally_command *command)
{
    const char *field = submission->schema->key_field;
    struct tally_violations broken = {0};
    bool found = tally_command_key(command, &exchange->arena, &submission->key);

    for (size_t i = 0; command->violations && i < command->violations->count; i++) {
        const struct tally_violation *violation = &command->violations->items[i];

        if (violation->pointer[0] == '/' && strcmp(violation->pointer + 1, field) == 0) {
            broken.items[broken.count++] = *violation;
        }
    }
    if (broken.count == 0 && found && submission->key.len <= KEY_BYTES_MAX) {
        return true;
    }
    if (broken.count == 0) {
        char pointer[sizeof broken.items[0].pointer];

        pointer[0] = '/';
        strncpy(pointer + 1, field, sizeof pointer - 2);
        pointer[sizeof pointer - 1] = '\0';
        tally_violate(&broken, pointer, found ? "BAD_LENGTH" : "REQUIRED",
                "it is the key of the command");
    }
    problem_reject(exchange, TALLY_REJECT_VALIDATION_FAILED, &broken, "%s: %s", field,
            broken.items[0].detail);
    return false;
}

static bool check_record(struct exchange *exchange, struct submission *submission)
{
    const struct tally_aggregate *aggregate = tally_topology_aggregate(submission->topology);
    enum tally_refusal refusal = TALLY_REFUSAL_NONE;
    struct tally_command command = {0};
    struct tally_error err = {0};
    enum tally_code code = tally_command_decode(submission->record, aggregate->command_types,
            &exchange->arena, &command, &refusal, &err);

    if (code) {
        document_refuse(exchange, refusal, &err);
        return false;
    }
    submission->fingerprint = command.fingerprint;
    return check_key(exchange, submission, &command);
}

bool submission_make(struct exchange *exchange, struct submission *submission)
{
    *submission = (struct submission){.type = exchange->request.params[0]};
    return find_type(exchange, submission) && document_media_type(exchange, &submission->format) &&
           read_id(exchange, submission) && read_actor(exchange, submission) &&
           read_if_match(exchange, submission) && read_fields(exchange, submission) &&
           check_repeated(exchange, submission) && write_record(exchange, submission) &&
           check_record(exchange, submission);
}

static bool read_member(const struct tally_token *item, const char *name, struct tally_slice *text)
{
    const struct tally_token *member = tally_token_member(item, name);

    *text = member && member->type == TALLY_STRING ? member->string : TALLY_NONE;
    return text->data != NULL;
}

bool submission_make_item(struct exchange *exchange, const struct tally_token *item,
        enum tally_format format, struct submission *submission)
{
    *submission = (struct submission){.format = format, .members = item};
    if (item->type != TALLY_MAP) {
        problem_answer(exchange, PROBLEM_MALFORMED_BODY,
                "expected an object of a command's fields");
    } else if (!read_member(item, "command_id", &submission->id)) {
        problem_answer(exchange, PROBLEM_IDEMPOTENCY_KEY_MISSING,
                "command_id: expected the command's id");
    } else if (!header_field_is_command_id(submission->id)) {
        submission->id = TALLY_NONE;
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
                "command_id: expected 1 to 64 of A-Z a-z 0-9 . _ : -");
    } else if (!read_member(item, "type", &submission->type)) {
        problem_answer(exchange, PROBLEM_MALFORMED_BODY, "type: expected the command's type");
    } else {
        return find_type(exchange, submission) && read_actor(exchange, submission) &&
               write_record(exchange, submission) && check_record(exchange, submission);
    }
    return false;
}
