/* schemas/envelope.c - commands: what surrounds their fields, in the long and the flat form.
 * Invariants
 *  (1) A record without a usable type or id is a dead letter; one with both is always a command,
 * and whatever else is wrong with it is a violation of the command. (2) Both forms of a command, in
 * both formats, give the same fields and the same fingerprint. (3) Ids that start with '~' belong
 * to tally's own commands and to them alone. */
#include "schemas/envelope.h"

#include "schemas/envelope_internal.h"
#include "schemas/serde_internal.h"

#define ID_MAX          64  /* bytes of a public command id */
#define ORIGIN_MAX      128 /* source, actor, and where it is no id of tally's own, the others */
/* Of an id that starts with '~': a type, an id, a slug and their colons, with room. A store key
 * holds a byte, such an id, a byte and a record key: with more bytes than TALLY_KEY_MAX has room
 * for, outsiders could send a record that no store key has room for. */
#define INTERNAL_ID_MAX 192

/* --- names
 * ------------------------------------------------------------------------------------------- */

struct reject_row {
    const char *name, *title, *help;
    int http;
    bool retryable;
};
static const struct reject_row rejects[TALLY_REJECTS] = {
        [TALLY_REJECT_NONE] = {"NONE", "", "", 200, false},
#define X(code, http, retryable, title, help) \
    [TALLY_REJECT_##code] = {#code, title, help, http, retryable},
#include "schemas/reject.def"
#undef X
};

const char *tally_status_name(enum tally_status status)
{
    static const char *const names[] = {"ACCEPTED", "REJECTED", "PENDING"};

    tally_assert(status <= TALLY_PENDING);
    return names[status];
}

const char *tally_reject_name(enum tally_reject reject)
{
    tally_assert(reject < TALLY_REJECTS);
    return rejects[reject].name;
}

const char *tally_reject_title(enum tally_reject reject)
{
    tally_assert(reject < TALLY_REJECTS);
    return rejects[reject].title;
}

const char *tally_reject_help(enum tally_reject reject)
{
    tally_assert(reject < TALLY_REJECTS);
    return rejects[reject].help;
}

bool tally_reject_retryable(enum tally_reject reject)
{
    tally_assert(reject < TALLY_REJECTS);
    return rejects[reject].retryable;
}

int tally_reject_http(enum tally_reject reject)
{
    tally_assert(reject < TALLY_REJECTS);
    return rejects[reject].http;
}

enum tally_reject tally_reject_find(struct tally_slice code)
{
    for (unsigned i = TALLY_REJECT_NONE + 1; i < TALLY_REJECTS; i++) {
        if (serde_name_is(code, rejects[i].name)) {
            return (enum tally_reject)i;
        }
    }
    return TALLY_REJECT_NONE;
}

/* --- members of the envelope
 * ------------------------------------------------------------------------- */

enum member {
    MEMBER_ID,
    MEMBER_COMMAND_ID,
    MEMBER_TYPE,
    MEMBER_VERSION,
    MEMBER_SOURCE,
    MEMBER_ACTOR,
    MEMBER_CORRELATION_ID,
    MEMBER_CAUSATION_ID,
    MEMBER_TIME,
    MEMBER_HEADERS,
    MEMBER_PAYLOAD,
    MEMBERS
};
static const char *const member_names[MEMBERS] = {"id", "command_id", "type", "version", "source",
        "actor", "correlation_id", "causation_id", "time", "headers", "payload"};

#define IS_MEMBER(name, literal) (memcmp((name).data, (literal), sizeof(literal) - 1) == 0)

/* MEMBERS: not of the envelope. Asked for every member of a flat command, so by length first. */
static inline enum member member_of(struct tally_slice name)
{
    switch (name.len) {
    case 2:
        return IS_MEMBER(name, "id") ? MEMBER_ID : MEMBERS;
    case 4:
        return IS_MEMBER(name, "type")   ? MEMBER_TYPE
               : IS_MEMBER(name, "time") ? MEMBER_TIME
                                         : MEMBERS;
    case 5:
        return IS_MEMBER(name, "actor") ? MEMBER_ACTOR : MEMBERS;
    case 6:
        return IS_MEMBER(name, "source") ? MEMBER_SOURCE : MEMBERS;
    case 7:
        return IS_MEMBER(name, "version")   ? MEMBER_VERSION
               : IS_MEMBER(name, "headers") ? MEMBER_HEADERS
               : IS_MEMBER(name, "payload") ? MEMBER_PAYLOAD
                                            : MEMBERS;
    case 10:
        return IS_MEMBER(name, "command_id") ? MEMBER_COMMAND_ID : MEMBERS;
    case 12:
        return IS_MEMBER(name, "causation_id") ? MEMBER_CAUSATION_ID : MEMBERS;
    case 14:
        return IS_MEMBER(name, "correlation_id") ? MEMBER_CORRELATION_ID : MEMBERS;
    default:
        return MEMBERS;
    }
}

static bool is_member(struct tally_slice name)
{
    return member_of(name) != MEMBERS;
}

bool envelope_is_member(struct tally_slice name)
{
    return is_member(name);
}

struct decoder {
    const struct tally_token *members[MEMBERS]; /* values; NULL: absent */
    struct tally_command *command;
    struct tally_violations violations;
    enum tally_refusal *refusal;
    struct tally_error *err;
};

static enum tally_code missing(struct decoder *decoder, const char *name, const char *what)
{
    return serde_refuse(decoder->refusal, TALLY_REFUSAL_MISSING_FIELD, decoder->err,
            "member \"%s\" %s", name, what);
}

/* An optional text of the envelope. Over its limit it is a violation, and not carried on. */
static enum tally_code take_origin(struct decoder *decoder, enum member member,
        struct tally_slice *to)
{
    const struct tally_token *value = decoder->members[member];
    char pointer[32] = "";
    size_t max = ORIGIN_MAX;

    if (!value) {
        return TALLY_OK;
    }
    if (value->type != TALLY_STRING) {
        return missing(decoder, member_names[member], "is no text");
    }
    if ((member == MEMBER_CORRELATION_ID || member == MEMBER_CAUSATION_ID) &&
            tally_slice_starts(value->string, TALLY_SLICE("~"))) {
        max = INTERNAL_ID_MAX; /* of a message: the id of the command that led to it */
    }
    if (value->string.len > max) {
        serde_pointer_append(pointer, sizeof pointer, tally_slice_string(member_names[member]));
        tally_violate(&decoder->violations, pointer, "BAD_LENGTH",
                "expected at most %zu bytes, got %zu", max, value->string.len);
        return TALLY_OK;
    }
    *to = value->string;
    return TALLY_OK;
}

static enum tally_code check_version(struct decoder *decoder)
{
    const struct tally_token *value = decoder->members[MEMBER_VERSION];

    if (!value) {
        return TALLY_OK;
    }
    if (value->type != TALLY_STRING) {
        return missing(decoder, "version", "is no text");
    }
    if (!tally_slice_equal(value->string, TALLY_SLICE("1")) &&
            !tally_slice_starts(value->string, TALLY_SLICE("1."))) {
        return serde_refuse(decoder->refusal, TALLY_REFUSAL_UNSUPPORTED_VERSION, decoder->err,
                "version \"%.*s\" is not supported, only 1.x is",
                value->string.len < 32 ? (int)value->string.len : 32,
                (const char *)value->string.data);
    }
    return TALLY_OK;
}

static bool id_usable(struct tally_slice id)
{
    if (id.len > 0 && id.data[0] == '~') {
        return id.len <= INTERNAL_ID_MAX &&
               !serde_text_check(tally_slice_of(id.data + 1, id.len - 1), TALLY_TEXT_COMMAND_ID);
    }
    return id.len <= ID_MAX && !serde_text_check(id, TALLY_TEXT_COMMAND_ID);
}

static enum tally_code take_id(struct decoder *decoder)
{
    const struct tally_token *id = decoder->members[MEMBER_ID];
    const struct tally_token *flat_id =
            decoder->command->flat ? decoder->members[MEMBER_COMMAND_ID] : NULL;
    const char *name = id ? "id" : decoder->command->flat ? "command_id" : "id";

    if (id && flat_id &&
            (id->type != flat_id->type || id->type != TALLY_STRING ||
                    !tally_slice_equal(id->string, flat_id->string))) {
        return missing(decoder, "command_id", "differs from id");
    }
    id = id ? id : flat_id;
    if (!id) {
        return missing(decoder, name, "is missing");
    }
    if (id->type != TALLY_STRING || !id_usable(id->string)) {
        return missing(decoder, name,
                "is no command id: 1 to 64 letters, digits, '.', '_', ':', '-'");
    }
    decoder->command->id = id->string;
    return TALLY_OK;
}

static enum tally_code take_type(struct decoder *decoder)
{
    const struct tally_token *type = decoder->members[MEMBER_TYPE];

    if (!type) {
        return missing(decoder, "type", "is missing");
    }
    if (type->type != TALLY_STRING || type->string.len == 0 || type->string.len > ORIGIN_MAX) {
        return missing(decoder, "type", "is no name of a command");
    }
    decoder->command->type = type->string;
    return TALLY_OK;
}

/* Finds the envelope's members and, in the long form, names those that are neither. */
static enum tally_code find_members(struct decoder *decoder, const struct tally_token *root)
{
    const struct tally_token *payload, *name = root + 1;
    char pointer[96];

    for (uint32_t i = 0; i < root->count; i++) {
        enum member member = member_of(name->string);

        if (member != MEMBERS) {
            decoder->members[member] = name + 1;
        }
        name = tally_token_next(name + 1);
    }
    payload = decoder->members[MEMBER_PAYLOAD];
    decoder->command->flat = payload == NULL;
    decoder->command->payload = payload ? payload : root;
    if (!payload) {
        return TALLY_OK;
    }
    if (payload->type != TALLY_MAP) {
        return missing(decoder, "payload", "is no object");
    }
    name = root + 1;
    for (uint32_t i = 0; i < root->count; i++) {
        if (!is_member(name->string) || member_of(name->string) == MEMBER_COMMAND_ID) {
            pointer[0] = 0;
            serde_pointer_append(pointer, sizeof pointer, name->string);
            tally_violate(&decoder->violations, pointer, "UNKNOWN_FIELD",
                    "not a member of the envelope");
        }
        name = tally_token_next(name + 1);
    }
    return TALLY_OK;
}

static enum tally_code take_envelope(struct decoder *decoder, const struct tally_token *root)
{
    struct tally_command *command = decoder->command;
    enum tally_code code = find_members(decoder, root);

    code = code ? code : check_version(decoder);
    code = code ? code : take_type(decoder);
    code = code ? code : take_id(decoder);
    code = code ? code : take_origin(decoder, MEMBER_SOURCE, &command->source);
    code = code ? code : take_origin(decoder, MEMBER_ACTOR, &command->actor);
    code = code ? code : take_origin(decoder, MEMBER_CORRELATION_ID, &command->correlation_id);
    return code ? code : take_origin(decoder, MEMBER_CAUSATION_ID, &command->causation_id);
}

static const struct tally_schema *find_schema(const struct tally_schema *const *types,
        struct tally_slice type)
{
    for (; *types; types++) {
        if (serde_name_is(type, (*types)->name)) {
            return *types;
        }
    }
    return NULL;
}

/* Fields of the schema into the arena; violations after the envelope's own. */
static void bind_fields(struct decoder *decoder, struct tally_arena *arena)
{
    struct tally_command *command = decoder->command;
    TALLY_UNINITIALIZED struct tally_violations of_fields;
    bool internal_id = command->id.data[0] == '~';

    command->fields = tally_arena_alloc(arena, command->schema->size);
    tally_bind(command->payload, command->schema, true, command->flat ? is_member : NULL, arena,
            command->fields, &of_fields);
    if (internal_id != command->schema->internal) {
        tally_violate(&decoder->violations, "/command_id", "NOT_ALLOWED",
                internal_id ? "ids that start with '~' are tally's own"
                            : "this command is sent by tally itself only");
    }
    for (size_t i = 0; i < of_fields.count; i++) {
        tally_violate(&decoder->violations, of_fields.items[i].pointer, of_fields.items[i].code,
                "%s", of_fields.items[i].detail);
    }
}

enum tally_code tally_command_decode(struct tally_slice value,
        const struct tally_schema *const *types, struct tally_arena *arena,
        struct tally_command *command, enum tally_refusal *refusal, struct tally_error *err)
{
    TALLY_UNINITIALIZED struct decoder decoder;
    const struct tally_token *root;
    enum tally_code code;

    *command = (struct tally_command){.offset = -1};
    code = tally_document_parse(value, arena, &root, refusal, err);
    if (code) {
        return code;
    }
    memset(decoder.members, 0, sizeof decoder.members);
    decoder.command = command;
    decoder.violations.count = 0;
    decoder.refusal = refusal;
    decoder.err = err;
    command->format = value.data[0] == '{' ? TALLY_FORMAT_JSON : TALLY_FORMAT_MSGPACK;
    code = take_envelope(&decoder, root);
    if (code) {
        return code;
    }
    command->fingerprint = tally_fingerprint(command->type, command->payload,
            command->flat ? is_member : NULL, arena);
    command->schema = find_schema(types, command->type);
    if (command->schema) {
        bind_fields(&decoder, arena);
    }
    if (decoder.violations.count) {
        command->violations = tally_arena_alloc(arena, sizeof *command->violations);
        memcpy(command->violations, &decoder.violations, sizeof *command->violations);
    }
    return TALLY_OK;
}

bool tally_command_key(const struct tally_command *command, struct tally_arena *arena,
        struct tally_slice *key)
{
    const struct tally_token *field;
    size_t prefix_len;
    uint8_t *bytes;

    if (!command->schema || !command->schema->key_field) {
        return false;
    }
    field = tally_token_member(command->payload, command->schema->key_field);
    prefix_len = strlen(command->schema->key_prefix);
    if (!field || field->type != TALLY_STRING || field->string.len == 0 ||
            prefix_len + field->string.len > TALLY_RECORD_KEY_MAX) {
        return false;
    }
    if (prefix_len == 0) {
        *key = field->string;
        return true;
    }
    bytes = tally_arena_alloc(arena, prefix_len + field->string.len);
    memcpy(bytes, command->schema->key_prefix, prefix_len);
    memcpy(bytes + prefix_len, field->string.data, field->string.len);
    *key = tally_slice_of(bytes, prefix_len + field->string.len);
    return true;
}

static void write_text_member(struct tally_writer *writer, enum member member,
        struct tally_slice text)
{
    if (text.len) {
        tally_write_name(writer, member_names[member]);
        tally_write_string(writer, text);
    }
}

void tally_command_encode(const struct tally_command_head *head, const struct tally_schema *schema,
        const void *fields, enum tally_format format, struct tally_buf *out)
{
    struct tally_writer writer;
    uint64_t written = serde_encode_fields(schema, fields);
    uint32_t members = 3u + (head->source.len > 0) + (head->actor.len > 0) +
                       (head->correlation_id.len > 0) + (head->causation_id.len > 0);

    tally_write_begin(&writer, out, format);
    tally_write_map(&writer, members);
    write_text_member(&writer, MEMBER_ID, head->id);
    write_text_member(&writer, MEMBER_TYPE, head->type);
    write_text_member(&writer, MEMBER_SOURCE, head->source);
    write_text_member(&writer, MEMBER_ACTOR, head->actor);
    write_text_member(&writer, MEMBER_CORRELATION_ID, head->correlation_id);
    write_text_member(&writer, MEMBER_CAUSATION_ID, head->causation_id);
    tally_write_name(&writer, member_names[MEMBER_PAYLOAD]);
    tally_write_map(&writer, (uint32_t)__builtin_popcountll(written));
    serde_encode_members(&writer, schema, fields, written);
}
