/* schemas/event.c - events: envelope, fields, outcome; written once, read by every restore.
 * Invariants
 *  (1) The same struct gives the same bytes; decoding them gives the same struct.
 *  (2) An event's id names the topology, the partition and the command's offset. A record without
 *      such an id is foreign; one with it is ours and has to be understood completely, but for
 *      members that a newer release added. */
#include <inttypes.h>

#include "schemas/event_internal.h"

#define TOPOLOGY_MAX 64  /* bytes of a topology's name */
#define EVENT_ID_MAX 128 /* that, two numbers and two signs */

/* --- writing
 * --------------------------------------------------------------------------------------- */

/* Inlined, so that names are constants; they have at most 31 bytes. */
static inline __attribute__((always_inline)) void write_text(struct tally_writer *writer,
        struct tally_slice name, struct tally_slice text)
{
    uint8_t *to;

    if (writer->format == TALLY_FORMAT_JSON) {
        serde_write_name(writer, name);
        tally_write_string(writer, text);
        return;
    }
    to = serde_room(writer->out, 2 * SERDE_HEAD_MAX + name.len + text.len);
    if (to) { /* name and text at once, with one look at the room there is */
        *to++ = (uint8_t)(0xa0 | name.len);
        memcpy(to, name.data, name.len);
        to += name.len;
        to += serde_put_string(to, text.data, text.len);
        writer->out->len = (size_t)(to - writer->out->data);
    }
}

static void write_fingerprint(struct tally_writer *writer, uint64_t fingerprint)
{
    static const char digits[] = "0123456789abcdef";
    char text[16];

    for (size_t i = 0; i < sizeof text; i++) { /* from the last, so that no shift depends on i */
        text[sizeof text - 1 - i] = digits[fingerprint & 15];
        fingerprint >>= 4;
    }
    write_text(writer, TALLY_SLICE("fingerprint"), tally_slice_of(text, sizeof text));
}

static void write_stamp(struct tally_writer *writer, const struct tally_outcome_stamp *stamp)
{
    write_text(writer, TALLY_SLICE("command"), stamp->command);
    write_fingerprint(writer, stamp->fingerprint);
    write_text(writer, TALLY_SLICE("status"), tally_slice_string(tally_status_name(stamp->status)));
}

void envelope_write_errors(struct tally_writer *writer, struct tally_slice errors)
{
    struct tally_arena arena;
    const struct tally_token *root;
    enum tally_refusal refusal;

    if (errors.len == 0) {
        tally_write_array(writer, 0);
        return;
    }
    if (writer->format == TALLY_FORMAT_MSGPACK) {
        tally_write_raw(writer, errors);
        return;
    }
    tally_arena_init(&arena, 4096);
    if (serde_msgpack_parse(errors, &arena, &root, &refusal, NULL) == TALLY_OK) {
        tally_write_token(writer, root);
    } else {
        tally_write_array(writer, 0);
    }
    tally_arena_deinit(&arena);
}

static bool is_rejected(const struct tally_event *event)
{
    return tally_slice_equal(event->type, TALLY_SLICE(TALLY_EVENT_REJECTED));
}

/* CommandRejected always says everything; a fact that ends a saga leaves out what is empty. */
static uint32_t rejection_count(const struct tally_event *event)
{
    if (is_rejected(event)) {
        return 4;
    }
    if (event->rejection.code == TALLY_REJECT_NONE) {
        return 0;
    }
    return 2u + (event->rejection.detail.len > 0) + (event->rejection.errors.len > 0);
}

static void write_rejection(struct tally_writer *writer, const struct tally_event *event)
{
    const struct tally_rejection *rejection = &event->rejection;
    bool whole = is_rejected(event);

    if (!whole && rejection->code == TALLY_REJECT_NONE) {
        return;
    }
    write_text(writer, TALLY_SLICE("code"), tally_slice_string(tally_reject_name(rejection->code)));
    serde_write_name(writer, TALLY_SLICE("retryable"));
    tally_write_bool(writer, tally_reject_retryable(rejection->code));
    if (whole || rejection->detail.len) {
        write_text(writer, TALLY_SLICE("detail"), rejection->detail);
    }
    if (whole || rejection->errors.len) {
        serde_write_name(writer, TALLY_SLICE("errors"));
        envelope_write_errors(writer, rejection->errors);
    }
}

static void write_payload(struct tally_writer *writer, const struct tally_event *event)
{
    uint64_t fields = event->schema ? serde_encode_fields(event->schema, event->body) : 1;

    tally_write_map(writer, (uint32_t)__builtin_popcountll(fields) + rejection_count(event) + 1 +
                                    event->has_completes);
    if (event->schema) {
        serde_encode_members(writer, event->schema, event->body, fields);
    } else {
        write_text(writer, TALLY_SLICE("key"), event->key);
    }
    write_rejection(writer, event);
    serde_write_name(writer, TALLY_SLICE("outcome"));
    tally_write_map(writer, 3);
    write_stamp(writer, &event->outcome);
    if (event->has_completes) {
        serde_write_name(writer, TALLY_SLICE("completes"));
        tally_write_map(writer, 4);
        write_text(writer, TALLY_SLICE("command_id"), event->completes.command_id);
        write_stamp(writer, &event->completes.stamp);
    }
}

/* "<topology>/<partition>@<command offset>" */
static struct tally_slice print_id(const struct tally_event *event, uint8_t id[static EVENT_ID_MAX])
{
    uint8_t *at = id;

    memcpy(at, event->topology.data, event->topology.len);
    at += event->topology.len;
    *at++ = '/';
    at += tally_put_decimal(at, event->partition);
    *at++ = '@';
    at += tally_put_decimal(at, event->command_offset);
    return tally_slice_of(id, (size_t)(at - id));
}

static struct tally_slice print_source(const struct tally_event *event,
        uint8_t source[static EVENT_ID_MAX])
{
    memcpy(source, "tally/", 6);
    memcpy(source + 6, event->topology.data, event->topology.len);
    return tally_slice_of(source, 6 + event->topology.len);
}

void tally_event_encode(const struct tally_event *event, enum tally_format format,
        struct tally_buf *out)
{
    TALLY_UNINITIALIZED struct tally_writer writer;
    TALLY_UNINITIALIZED uint8_t id[EVENT_ID_MAX], source[EVENT_ID_MAX];

    tally_assert(event->topology.len > 0 && event->topology.len <= TOPOLOGY_MAX);
    tally_write_begin(&writer, out, format);
    tally_write_map(&writer, 7u + (event->actor.len > 0) + (event->correlation_id.len > 0));
    write_text(&writer, TALLY_SLICE("id"), print_id(event, id));
    write_text(&writer, TALLY_SLICE("type"), event->type);
    write_text(&writer, TALLY_SLICE("version"), TALLY_SLICE(EVENT_VERSION));
    write_text(&writer, TALLY_SLICE("source"), print_source(event, source));
    serde_write_name(&writer, TALLY_SLICE("time"));
    tally_write_time(&writer, event->time_ms);
    if (event->actor.len) {
        write_text(&writer, TALLY_SLICE("actor"), event->actor);
    }
    if (event->correlation_id.len) {
        write_text(&writer, TALLY_SLICE("correlation_id"), event->correlation_id);
    }
    write_text(&writer, TALLY_SLICE("causation_id"), event->command_id);
    serde_write_name(&writer, TALLY_SLICE("payload"));
    write_payload(&writer, event);
}

/* --- reading
 * --------------------------------------------------------------------------------------- */

struct event_decoder {
    struct tally_arena *arena;
    struct tally_event *event;
    struct tally_error *err;
    struct tally_slice version;
    const struct tally_token *payload;
};

static enum tally_code broken(struct event_decoder *decoder, const char *what)
{
    return tally_error_set(decoder->err, TALLY_BAD_RECORD,
            "event \"%.*s/%" PRId32 "@%" PRId64 "\": %s", (int)decoder->event->topology.len,
            (const char *)decoder->event->topology.data, decoder->event->partition,
            decoder->event->command_offset, what);
}

/* <topology>/<partition>@<offset>; false: another form, topology or partition. */
static bool read_id(struct tally_slice id, struct tally_slice topology, int32_t partition,
        int64_t *offset)
{
    size_t len = topology.len;
    int64_t number;
    const uint8_t *at;

    if (id.len <= len || id.data[len] != '/' || memcmp(id.data, topology.data, len) != 0) {
        return false;
    }
    id = tally_slice_of(id.data + len + 1, id.len - len - 1);
    at = memchr(id.data, '@', id.len);
    if (!at || !tally_parse_int(tally_slice_of(id.data, (size_t)(at - id.data)), &number) ||
            number != partition) {
        return false;
    }
    return tally_parse_int(tally_slice_of(at + 1, id.len - (size_t)(at + 1 - id.data)), offset) &&
           *offset >= 0;
}

static struct tally_slice text_of(const struct tally_token *value)
{
    return value->type == TALLY_STRING ? value->string : TALLY_NONE;
}

static bool read_stamp(const struct tally_token *map, struct tally_outcome_stamp *stamp)
{
    const struct tally_token *command = tally_token_member(map, "command");
    const struct tally_token *fingerprint = tally_token_member(map, "fingerprint");
    const struct tally_token *status = tally_token_member(map, "status");

    if (!command || command->type != TALLY_STRING || !fingerprint || !status) {
        return false;
    }
    stamp->command = command->string;
    return event_read_fingerprint(text_of(fingerprint), &stamp->fingerprint) &&
           event_read_status(text_of(status), &stamp->status);
}

static struct tally_slice copy_encoded(const struct tally_token *token, struct tally_arena *arena)
{
    uint8_t *bytes = tally_arena_alloc(arena, serde_msgpack_bound(token));

    return tally_slice_of(bytes, (size_t)(serde_msgpack_put(bytes, token) - bytes));
}

static enum tally_code read_completes(struct event_decoder *decoder,
        const struct tally_token *value)
{
    struct tally_completes *completes = &decoder->event->completes;
    const struct tally_token *command_id = tally_token_member(value, "command_id");

    if (!command_id || command_id->type != TALLY_STRING || !read_stamp(value, &completes->stamp)) {
        return broken(decoder, "completes is damaged");
    }
    completes->command_id = command_id->string;
    decoder->event->has_completes = true;
    return TALLY_OK;
}

/* Members of the payload that are the same in every event. */
static enum tally_code read_common(struct event_decoder *decoder)
{
    struct tally_rejection *rejection = &decoder->event->rejection;
    const struct tally_token *name = decoder->payload + 1;
    enum tally_code code = TALLY_OK;
    bool outcome = false;

    for (uint32_t i = 0; i < decoder->payload->count && !code;
            i++, name = tally_token_next(name + 1)) {
        const struct tally_token *value = name + 1;

        if (serde_name_is(name->string, "outcome")) {
            outcome = read_stamp(value, &decoder->event->outcome);
        } else if (serde_name_is(name->string, "completes")) {
            code = read_completes(decoder, value);
        } else if (serde_name_is(name->string, "code")) {
            rejection->code = tally_reject_find(text_of(value));
            if (rejection->code == TALLY_REJECT_NONE) {
                return tally_error_set(decoder->err, TALLY_EVENT_UNKNOWN,
                        "rejection code of the event at offset %" PRId64
                        " is unknown to this release",
                        decoder->event->command_offset);
            }
        } else if (serde_name_is(name->string, "detail") && text_of(value).len) {
            rejection->detail = value->string;
        } else if (serde_name_is(name->string, "errors") && value->type == TALLY_ARRAY &&
                   value->count) {
            rejection->errors = copy_encoded(value, decoder->arena);
        }
    }
    if (!code && is_rejected(decoder->event) && rejection->code == TALLY_REJECT_NONE) {
        return broken(decoder, "code of the rejection is missing");
    }
    return code || outcome ? code : broken(decoder, "outcome is missing or damaged");
}

static enum tally_code read_body(struct event_decoder *decoder,
        const struct tally_schema *const *types)
{
    struct tally_event *event = decoder->event;
    struct tally_violations violations;

    if (serde_name_is(event->type, TALLY_EVENT_ACCEPTED) ||
            serde_name_is(event->type, TALLY_EVENT_REJECTED)) {
        return TALLY_OK;
    }
    for (; *types; types++) {
        if (serde_name_is(event->type, (*types)->name)) {
            event->schema = *types;
            event->body = tally_arena_alloc(decoder->arena, event->schema->size);
            tally_bind(decoder->payload, event->schema, false, NULL, decoder->arena, event->body,
                    &violations);
            if (violations.count) {
                return tally_error_set(decoder->err, TALLY_BAD_RECORD,
                        "event at command offset %" PRId64 ": %s %s: %s", event->command_offset,
                        violations.items[0].pointer, violations.items[0].code,
                        violations.items[0].detail);
            }
            return TALLY_OK;
        }
    }
    return tally_error_set(decoder->err, TALLY_EVENT_UNKNOWN,
            "event type \"%.*s\" at command offset %" PRId64 " is unknown to this release",
            event->type.len < 64 ? (int)event->type.len : 64, (const char *)event->type.data,
            event->command_offset);
}

static bool read_envelope(struct event_decoder *decoder, const struct tally_token *root)
{
    struct tally_event *event = decoder->event;
    const struct tally_token *name = root + 1;
    bool time = false;

    for (uint32_t i = 0; i < root->count; i++, name = tally_token_next(name + 1)) {
        const struct tally_token *value = name + 1;

        if (serde_name_is(name->string, "type")) {
            event->type = text_of(value);
        } else if (serde_name_is(name->string, "version")) {
            decoder->version = text_of(value);
        } else if (serde_name_is(name->string, "time")) {
            time = tally_parse_time(text_of(value), &event->time_ms);
        } else if (serde_name_is(name->string, "actor")) {
            event->actor = text_of(value);
        } else if (serde_name_is(name->string, "correlation_id")) {
            event->correlation_id = text_of(value);
        } else if (serde_name_is(name->string, "causation_id")) {
            event->command_id = text_of(value);
        } else if (serde_name_is(name->string, "payload")) {
            decoder->payload = value;
        }
    }
    return time && event->type.len && event->command_id.len && decoder->payload &&
           decoder->payload->type == TALLY_MAP;
}

enum tally_code event_read_tree(struct tally_slice value, const struct tally_schema *const *types,
        struct tally_arena *arena, struct tally_event *event, struct tally_error *err)
{
    struct event_decoder decoder = {.arena = arena, .event = event, .err = err};
    const struct tally_token *root, *id;
    enum tally_refusal refusal;
    enum tally_code code;
    bool whole;

    code = tally_document_parse(value, arena, &root, &refusal, err);
    if (code) {
        return code;
    }
    id = tally_token_member(root, "id");
    if (!id || id->type != TALLY_STRING ||
            !read_id(id->string, event->topology, event->partition, &event->command_offset)) {
        return TALLY_NOT_FOUND;
    }
    whole = read_envelope(&decoder, root);
    if (!tally_slice_equal(decoder.version, TALLY_SLICE("1")) &&
            !tally_slice_starts(decoder.version, TALLY_SLICE("1."))) {
        return tally_error_set(err, TALLY_EVENT_UNKNOWN,
                "version of the event at command offset %" PRId64 " is not 1.x",
                event->command_offset);
    }
    if (!whole) {
        return broken(&decoder, "time, type, causation_id or payload is missing or damaged");
    }
    code = read_body(&decoder, types);
    return code ? code : read_common(&decoder);
}

enum tally_code tally_event_decode(struct tally_slice value, struct tally_slice key,
        const char *topology, int32_t partition, const struct tally_schema *const *types,
        struct tally_arena *arena, struct tally_event *event, struct tally_error *err)
{
    const struct tally_event empty = {
            .topology = tally_slice_string(topology), .partition = partition, .key = key};

    *event = empty;
    if (event_scan(value, types, arena, event)) {
        return TALLY_OK;
    }
    *event = empty;
    return event_read_tree(value, types, arena, event, err);
}
