/* schemas/event_scan.c - events in the form in which this release writes them, read in one pass.
 * A restore reads every event that there ever was, and nearly all of them have this form.
 * Invariants
 *  (1) What is read here, event_read_tree reads too, into the same struct. So whatever is not
 *      exactly as written by event.c, or breaks a rule of a field, is left to it.
 *  (2) Members come in one order, so none comes twice; unknown members are left to event_read_tree.
 *  (3) Every length is checked against the bytes that are left. */
#include "schemas/event_internal.h"

/* Every element takes a byte at least, so no limit of serde.h but the number of bytes is near. */
#define SCAN_BYTES_MAX (32 * 1024)
#define DIGITS_MAX     18 /* more are left to event_read_tree, which knows about overflow */
/* A call for each name and text would cost more than what it does. */
#define ALWAYS_INLINE  static inline __attribute__((always_inline))
#define SCAN_DEPTH_MAX 8

struct scan {
    const uint8_t *at, *end;
    struct tally_arena *arena;
    bool json;
};

/* The members of a map, or the items of an array, that are still to come. */
struct members {
    uint32_t left; /* MessagePack */
    bool first;    /* JSON: no comma is due */
};

static bool scan_members(struct scan *scan, struct members *members,
        const struct tally_schema *schema, int depth, void *record);

/* --- pieces -------------------------------------------------------------------------------------
 */

static inline bool take_byte(struct scan *scan, uint8_t byte)
{
    if (scan->at == scan->end || *scan->at != byte) {
        return false;
    }
    scan->at++;
    return true;
}

static inline bool take_head(struct scan *scan, uint8_t fix, uint8_t wide, uint32_t *count)
{
    size_t left = (size_t)(scan->end - scan->at);

    if (left > 0 && (scan->at[0] & 0xf0) == fix) {
        *count = scan->at[0] & 0x0f;
        scan->at += 1;
        return true;
    }
    if (left > 2 && scan->at[0] == wide) {
        *count = tally_read_u16(scan->at + 1);
        scan->at += 3;
        return true;
    }
    return false;
}

static inline bool open_map(struct scan *scan, struct members *members)
{
    members->first = true;
    members->left = 0;
    return scan->json ? take_byte(scan, '{') : take_head(scan, 0x80, 0xde, &members->left);
}

static inline bool close_map(struct scan *scan, const struct members *members)
{
    return scan->json ? take_byte(scan, '}') : members->left == 0;
}

/* Takes the next member's name, if it is this one, in the form that its format has. */
ALWAYS_INLINE bool take_coded(struct scan *scan, struct members *members, const char *msgpack,
        size_t msgpack_len, const char *json, size_t json_len)
{
    size_t left = (size_t)(scan->end - scan->at);

    if (!scan->json) {
        if (members->left == 0 || left < msgpack_len ||
                memcmp(scan->at, msgpack, msgpack_len) != 0) {
            return false;
        }
        members->left--;
        scan->at += msgpack_len;
        return true;
    }
    json += members->first; /* no comma */
    json_len -= members->first;
    if (left < json_len || memcmp(scan->at, json, json_len) != 0) {
        return false;
    }
    members->first = false;
    scan->at += json_len;
    return true;
}

/* head: that of a MessagePack string as long as the name. */
#define TAKE_NAME(scan, members, head, name) \
    take_coded((scan), (members), head name, sizeof(name), ",\"" name "\":", sizeof(name) + 3)

static inline bool text_fine(struct tally_slice text)
{
    return serde_text_plain(text) || tally_utf8_valid(text);
}

/* Text without an escape, up to the quote. */
static bool take_quoted(struct scan *scan, struct tally_slice *text)
{
    const uint64_t high = UINT64_C(0x8080808080808080), one = UINT64_C(0x0101010101010101);
    const uint8_t *at;

    if (!take_byte(scan, '"')) {
        return false;
    }
    at = scan->at;
    while (scan->end - at >= 8) { /* eight bytes that are no quote, no escape, no control */
        uint64_t word, quote, escape;

        memcpy(&word, at, sizeof word);
        quote = word ^ (one * '"');
        escape = word ^ (one * '\\');
        if (((quote - one) | (escape - one) | (word - one * 0x20) | word) & high) {
            break;
        }
        at += 8;
    }
    while (at < scan->end && *at != '"' && *at != '\\' && *at >= 0x20) {
        at++;
    }
    if (at == scan->end || *at != '"') {
        return false;
    }
    *text = tally_slice_of(scan->at, (size_t)(at - scan->at));
    scan->at = at + 1;
    return true;
}

/* Text that may still hold anything. */
ALWAYS_INLINE bool take_bytes(struct scan *scan, struct tally_slice *text)
{
    size_t left = (size_t)(scan->end - scan->at), head, len;

    if (scan->json) {
        return take_quoted(scan, text);
    }
    if (left > 0 && (scan->at[0] & 0xe0) == 0xa0) {
        len = scan->at[0] & 0x1f;
        head = 1;
    } else if (left > 1 && scan->at[0] == 0xd9) {
        len = scan->at[1];
        head = 2;
    } else if (left > 2 && scan->at[0] == 0xda) {
        len = tally_read_u16(scan->at + 1);
        head = 3;
    } else {
        return false;
    }
    if (len > left - head) {
        return false;
    }
    *text = tally_slice_of(scan->at + head, len);
    scan->at += head + len;
    return true;
}

ALWAYS_INLINE bool take_text(struct scan *scan, struct tally_slice *text)
{
    return take_bytes(scan, text) && text_fine(*text);
}

/* Decimal digits without a sign and without leading zeros. */
static bool read_digits(const uint8_t *at, const uint8_t *end, int64_t *value,
        const uint8_t **after)
{
    const uint8_t *begin = at;
    int64_t number = 0;

    while (at < end && *at >= '0' && *at <= '9') {
        number = 10 * number + (*at++ - '0');
        if (at - begin > DIGITS_MAX) {
            return false;
        }
    }
    *value = number;
    *after = at;
    return at > begin && (*begin != '0' || at == begin + 1);
}

static bool take_number(struct scan *scan, int64_t *value)
{
    bool negative = scan->at < scan->end && *scan->at == '-';

    if (!read_digits(scan->at + negative, scan->end, value, &scan->at)) {
        return false;
    }
    if (negative && *value == 0) {
        return false;
    }
    *value = negative ? -*value : *value;
    return true;
}

static bool take_wide(struct scan *scan, size_t width, bool is_signed, int64_t *value)
{
    uint64_t number = 0;

    if ((size_t)(scan->end - scan->at) <= width) {
        return false;
    }
    for (size_t i = 1; i <= width; i++) {
        number = number << 8 | scan->at[i];
    }
    if (is_signed && width < 8 && (number >> (8 * width - 1)) & 1) {
        number |= UINT64_MAX << (8 * width);
    }
    *value = (int64_t)number;
    scan->at += 1 + width;
    return is_signed || number <= INT64_MAX;
}

static inline bool take_int(struct scan *scan, int64_t *value)
{
    uint8_t type;

    if (scan->json) {
        return take_number(scan, value);
    }
    if (scan->at == scan->end) {
        return false;
    }
    type = *scan->at;
    if (type <= 0x7f || type >= 0xe0) {
        *value = (int8_t)type;
        scan->at++;
        return true;
    }
    if (type < 0xcc || type > 0xd3) {
        return false;
    }
    return take_wide(scan, (size_t)1 << (type & 3), type >= 0xd0, value);
}

static bool take_word(struct scan *scan, const char *json, uint8_t msgpack)
{
    size_t len = strlen(json);

    if (!scan->json) {
        return take_byte(scan, msgpack);
    }
    if ((size_t)(scan->end - scan->at) < len || memcmp(scan->at, json, len) != 0) {
        return false;
    }
    scan->at += len;
    return true;
}

static bool take_bool(struct scan *scan, bool *value)
{
    *value = take_word(scan, "true", 0xc3);
    return *value || take_word(scan, "false", 0xc2);
}

/* --- by the table of fields ---------------------------------------------------------------------
 */

static bool scan_text(struct scan *scan, const struct tally_field *field, struct tally_slice *to)
{
    if (!take_bytes(scan, to) || to->len < (uint64_t)field->low ||
            to->len > (uint64_t)field->high) {
        return false;
    }
    return field->text == TALLY_TEXT_ANY /* all other forms are ASCII */
                   ? text_fine(*to)
                   : !serde_text_check(*to, (enum tally_text)field->text);
}

static bool scan_int(struct scan *scan, const struct tally_field *field, int64_t *to)
{
    return take_int(scan, to) && *to >= field->low && *to <= field->high &&
           !(*to == 0 && field->flags & TALLY_NONZERO);
}

static bool scan_enum(struct scan *scan, const struct tally_field *field, uint8_t *to)
{
    struct tally_slice text;

    if (!take_text(scan, &text)) {
        return false;
    }
    for (uint8_t i = 0; field->names[i]; i++) {
        if (serde_name_is(text, field->names[i])) {
            *to = i;
            return true;
        }
    }
    return false;
}

static bool scan_map(struct scan *scan, const struct tally_schema *schema, int depth, void *record)
{
    struct members members;

    return depth < SCAN_DEPTH_MAX && !schema->check && open_map(scan, &members) &&
           scan_members(scan, &members, schema, depth, record) && close_map(scan, &members);
}

static bool scan_item(struct scan *scan, const struct tally_field *field, int depth, void *to)
{
    if (field->schema) {
        return scan_map(scan, field->schema, depth, to);
    }
    return take_text(scan, to) && ((struct tally_slice *)to)->len <= serde_text_max(field->text) &&
           !serde_text_check(*(struct tally_slice *)to, (enum tally_text)field->text);
}

/* JSON does not say how many items come, so they are counted while they are read. */
static bool scan_array(struct scan *scan, const struct tally_field *field, int depth,
        struct tally_array *to)
{
    size_t size = field->schema ? field->schema->size : sizeof(struct tally_slice);
    uint32_t announced = 0;
    size_t room = (size_t)(scan->end - scan->at);

    if (!(scan->json ? take_byte(scan, '[') : take_head(scan, 0x90, 0xdc, &announced))) {
        return false;
    }
    room = scan->json ? (room < (uint64_t)field->high ? room : (size_t)field->high) : announced;
    if (room > SCAN_BYTES_MAX || room > (uint64_t)field->high) {
        return false;
    }
    *to = (struct tally_array){.items = tally_arena_alloc(scan->arena, size * room + 1)};
    for (; scan->json ? !take_byte(scan, ']') : to->count < announced; to->count++) {
        if (to->count == room || (scan->json && to->count > 0 && !take_byte(scan, ',')) ||
                !scan_item(scan, field, depth, (uint8_t *)to->items + size * to->count)) {
            return false;
        }
    }
    return to->count >= (uint64_t)field->low;
}

static bool scan_value(struct scan *scan, const struct tally_field *field, int depth, void *to)
{
    struct tally_slice text;

    switch ((enum tally_field_kind)field->kind) {
    case TALLY_KIND_STRING:
        return scan_text(scan, field, to);
    case TALLY_KIND_INT:
        return scan_int(scan, field, to);
    case TALLY_KIND_BOOL:
        return take_bool(scan, to);
    case TALLY_KIND_TIME:
        return take_text(scan, &text) && tally_parse_time(text, to);
    case TALLY_KIND_ENUM:
        return scan_enum(scan, field, to);
    case TALLY_KIND_OBJECT:
        return scan_map(scan, field->schema, depth + 1, to);
    case TALLY_KIND_ARRAY:
        return scan_array(scan, field, depth + 1, to);
    case TALLY_KIND_ANY:
    case TALLY_KIND_MAP:
        break; /* tokens are wanted */
    }
    return false;
}

/* What stands behind the name of the field, if it begins at `at`; NULL: another name does. */
static inline const uint8_t *behind_name(const struct scan *scan, const struct tally_field *field,
        const uint8_t *at)
{
    size_t len = field->name_len;

    if ((size_t)(scan->end - at) < len + 3 ||
            (len > 7 && memcmp(at + 8, field->name + 7, len - 7) != 0)) {
        return NULL;
    }
    if (!scan->json) {
        return at + len + 1;
    }
    return at[len + 1] == '"' && at[len + 2] == ':' ? at + len + 3 : NULL;
}

/* The first of the fields whose name is that of the next member, which is taken; NULL: none is, or
 * one that must not be left out comes before it. Behind a payload there is always more. */
static inline const struct tally_field *take_field(struct scan *scan, struct members *members,
        const struct tally_field *field, const struct tally_field *end)
{
    uint64_t of_name = scan->json ? UINT64_MAX >> 8 : UINT64_MAX; /* a quote says no length */
    const uint8_t *at = scan->at;
    uint64_t word;

    if (scan->json) {
        if (scan->end - at < 10 || (!members->first && *at++ != ',') || *at != '"') {
            return NULL;
        }
    } else if (members->left == 0 || scan->end - at < 8) {
        return NULL;
    }
    word = tally_read_u64(at);
    for (; field < end; field++) {
        const uint8_t *after = NULL;

        if (((word ^ field->name_word) & of_name) >> field->name_rest == 0) {
            after = behind_name(scan, field, at);
        }
        if (after) {
            members->left--;
            members->first = false;
            scan->at = after;
            return field;
        }
        if (field->flags & (TALLY_REQUIRED | TALLY_DEFAULTED)) {
            break;
        }
    }
    return NULL;
}

/* The fields of a record in table order, as far as they are there. */
static bool scan_members(struct scan *scan, struct members *members,
        const struct tally_schema *schema, int depth, void *record)
{
    const struct tally_field *next = schema->fields, *end = next + schema->field_count, *field;
    struct tally_presence *presence = record;

    memset(record, 0, schema->size);
    while ((field = take_field(scan, members, next, end)) != NULL) {
        if (field->flags & TALLY_NULLABLE && take_word(scan, "null", 0xc0)) {
            presence->nulls |= TALLY_BIT(field->bit);
        } else if (!scan_value(scan, field, depth, (uint8_t *)record + field->offset)) {
            return false;
        }
        presence->present |= TALLY_BIT(field->bit);
        next = field + 1;
    }
    for (; next < end; next++) {
        if (next->flags & (TALLY_REQUIRED | TALLY_DEFAULTED)) {
            return false;
        }
    }
    return true;
}

/* --- the event ----------------------------------------------------------------------------------
 */

/* "<topology>/<partition>@<command offset>" */
static bool scan_id(struct scan *scan, struct tally_event *event)
{
    size_t len = event->topology.len;
    struct tally_slice id;
    const uint8_t *at, *end;
    int64_t partition;

    if (!take_text(scan, &id) || id.len <= len || id.data[len] != '/' ||
            memcmp(id.data, event->topology.data, len) != 0) {
        return false;
    }
    at = id.data + len + 1;
    end = id.data + id.len;
    return read_digits(at, end, &partition, &at) && partition == event->partition && at < end &&
           *at == '@' && read_digits(at + 1, end, &event->command_offset, &at) && at == end;
}

static bool scan_stamp(struct scan *scan, struct members *members,
        struct tally_outcome_stamp *stamp)
{
    struct tally_slice text;

    return TAKE_NAME(scan, members, "\xa7", "command") && take_text(scan, &stamp->command) &&
           TAKE_NAME(scan, members, "\xab", "fingerprint") && take_text(scan, &text) &&
           event_read_fingerprint(text, &stamp->fingerprint) &&
           TAKE_NAME(scan, members, "\xa6", "status") && take_text(scan, &text) &&
           event_read_status(text, &stamp->status);
}

/* What comes behind the fields: the outcome, and the command that the event ends. */
static bool scan_outcome(struct scan *scan, struct members *payload, struct tally_event *event)
{
    struct members members;

    if (!TAKE_NAME(scan, payload, "\xa7", "outcome") || !open_map(scan, &members) ||
            !scan_stamp(scan, &members, &event->outcome) || !close_map(scan, &members)) {
        return false;
    }
    if (!TAKE_NAME(scan, payload, "\xa9", "completes")) {
        return true;
    }
    event->has_completes = true;
    return open_map(scan, &members) && TAKE_NAME(scan, &members, "\xaa", "command_id") &&
           take_text(scan, &event->completes.command_id) &&
           scan_stamp(scan, &members, &event->completes.stamp) && close_map(scan, &members);
}

static bool scan_payload(struct scan *scan, const struct tally_schema *const *types,
        struct tally_event *event)
{
    struct members payload;
    struct tally_slice key;

    if (!open_map(scan, &payload)) {
        return false;
    }
    for (; *types && !serde_name_is(event->type, (*types)->name); types++) {
    }
    if (*types) {
        event->schema = *types;
        event->body = tally_arena_alloc(scan->arena, event->schema->size);
        if (event->schema->check || !scan_members(scan, &payload, event->schema, 0, event->body)) {
            return false;
        }
    } else if (!serde_name_is(event->type, TALLY_EVENT_ACCEPTED) ||
               !TAKE_NAME(scan, &payload, "\xa3", "key") || !take_text(scan, &key)) {
        return false;
    }
    return scan_outcome(scan, &payload, event) && close_map(scan, &payload);
}

static bool scan_event(struct scan *scan, const struct tally_schema *const *types,
        struct tally_event *event)
{
    struct members members;
    struct tally_slice text;

    if (!open_map(scan, &members) || !TAKE_NAME(scan, &members, "\xa2", "id") ||
            !scan_id(scan, event) || !TAKE_NAME(scan, &members, "\xa4", "type") ||
            !take_text(scan, &event->type) || !TAKE_NAME(scan, &members, "\xa7", "version") ||
            !take_text(scan, &text) || !tally_slice_equal(text, TALLY_SLICE(EVENT_VERSION)) ||
            !TAKE_NAME(scan, &members, "\xa6", "source") || !take_text(scan, &text) ||
            !TAKE_NAME(scan, &members, "\xa4", "time") || !take_text(scan, &text) ||
            !tally_parse_time(text, &event->time_ms)) {
        return false;
    }
    if (TAKE_NAME(scan, &members, "\xa5", "actor") && !take_text(scan, &event->actor)) {
        return false;
    }
    if (TAKE_NAME(scan, &members, "\xae", "correlation_id") &&
            !take_text(scan, &event->correlation_id)) {
        return false;
    }
    return TAKE_NAME(scan, &members, "\xac", "causation_id") &&
           take_text(scan, &event->command_id) && event->command_id.len > 0 &&
           TAKE_NAME(scan, &members, "\xa7", "payload") && scan_payload(scan, types, event) &&
           close_map(scan, &members) && scan->at == scan->end;
}

bool event_scan(struct tally_slice value, const struct tally_schema *const *types,
        struct tally_arena *arena, struct tally_event *event)
{
    struct scan scan = {.at = value.data, .end = value.data + value.len, .arena = arena};

    if (value.len == 0 || value.len > SCAN_BYTES_MAX) {
        return false;
    }
    scan.json = value.data[0] == '{';
    return scan_event(&scan, types, event);
}
