/* state/key_schema.c - keys of every store, and how they read.
 * Printed form: parts joined by '.'. In a string, '%' and control bytes are written %25, %07, and
 * in a key of several parts '.' too, as %2E, so that every key survives the way to text and back.
 * People need not type %2E: surplus dots belong to the first part, because only ids of commands and
 * SKUs have dots and those come first. */
#include "state/key_schema.h"

#include <stdio.h>

enum { PARTS_MAX = 8 };
enum rows { CHANGING, ONCE };

struct store_schema {
    const char *topology, *name, *parts;
    uint8_t byte;
    enum rows rows;
};

static const struct store_schema schemas[TALLY_STORES] = {
#define X(id, topology_, name_, byte_, rows_, parts_) \
    [TALLY_STORE_##id] = {topology_, name_, parts_, byte_, rows_},
#include "state/key_schema.def"
#undef X
};

/* --- building ------------------------------------------------------------------------------------
 */

static uint8_t *extend(struct tally_key *key, size_t len)
{
    uint8_t *at = key->bytes + key->len;

    tally_assert(len <= (size_t)TALLY_KEY_MAX - key->len);
    key->len = (uint16_t)(key->len + len);
    return at;
}

void tally_key_begin(struct tally_key *key, enum tally_store_id store)
{
    key->len = 0;
    *extend(key, 1) = schemas[store].byte;
}

void tally_key_string(struct tally_key *key, struct tally_slice text)
{
    tally_key_tail(key, text);
    *extend(key, 1) = 0;
}

void tally_key_tail(struct tally_key *key, struct tally_slice text)
{
#ifdef TALLY_CHECKS
    tally_assert(text.len == 0 || memchr(text.data, 0, text.len) == NULL);
#endif
    if (text.len > 0)
        tally_copy_short(extend(key, text.len), text.data, text.len);
}

void tally_key_u8(struct tally_key *key, uint8_t value)
{
    *extend(key, 1) = value;
}

void tally_key_u16(struct tally_key *key, uint16_t value)
{
    tally_put_u16(extend(key, 2), value);
}

void tally_key_u64(struct tally_key *key, uint64_t value)
{
    tally_put_u64(extend(key, 8), value);
}

void tally_key_move(struct tally_key *key, enum tally_store_id store)
{
    key->bytes[0] = schemas[store].byte;
}

int64_t tally_window_start(int64_t time_ms, int64_t size_ms)
{
    int64_t behind = time_ms % size_ms;

    return time_ms - behind - (behind < 0 ? size_ms : 0);
}

/* Starts before 1970 would not sort; there is no event of such a time. */
void tally_key_window(struct tally_key *key, enum tally_store_id store, uint8_t number,
        int64_t start_ms)
{
    tally_key_begin(key, store);
    tally_key_u8(key, number);
    tally_key_u64(key, start_ms > 0 ? (uint64_t)start_ms : 0);
}

/* --- stores --------------------------------------------------------------------------------------
 */

static bool is_of(const struct store_schema *schema, const char *topology)
{
    return strcmp(schema->topology, "all") == 0 || strcmp(schema->topology, topology) == 0;
}

bool tally_store_find(const char *topology, const char *name, enum tally_store_id *id)
{
    for (enum tally_store_id store = 0; store < TALLY_STORES; store++) {
        if (is_of(&schemas[store], topology) && strcmp(schemas[store].name, name) == 0) {
            *id = store;
            return true;
        }
    }
    return false;
}

bool tally_store_of_key(const char *topology, struct tally_slice key, enum tally_store_id *id)
{
    for (enum tally_store_id store = 0; store < TALLY_STORES && key.len > 0; store++) {
        if (is_of(&schemas[store], topology) && schemas[store].byte == key.data[0]) {
            *id = store;
            return true;
        }
    }
    return false;
}

const char *tally_store_name(enum tally_store_id store)
{
    return schemas[store].name;
}

const char *tally_store_parts(enum tally_store_id store)
{
    return schemas[store].parts;
}

uint8_t tally_store_byte(enum tally_store_id store)
{
    return schemas[store].byte;
}

bool tally_store_rows_once(enum tally_store_id store)
{
    return schemas[store].rows == ONCE;
}

/* --- text ----------------------------------------------------------------------------------------
 */

static void print_string(struct tally_slice text, bool escape_dots, struct tally_buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.data[i];

        if (byte == '%' || byte < 0x20 || byte == 0x7f || (byte == '.' && escape_dots)) {
            tally_buf_format(out, "%%%02X", byte);
        } else {
            tally_buf_byte(out, byte);
        }
    }
}

static void print_bytes(struct tally_slice bytes, struct tally_buf *out)
{
    for (size_t i = 0; i < bytes.len; i++) {
        tally_buf_format(out, "%%%02X", bytes.data[i]);
    }
}

static size_t part_width(char part)
{
    return part == 'q' ? 8 : part == 'h' ? 2 : 1;
}

static uint64_t read_number(const uint8_t *from, size_t width)
{
    return width == 8 ? tally_read_u64(from) : width == 2 ? tally_read_u16(from) : *from;
}

/* Prints one part and moves `rest` past it; false: the key does not hold it whole. */
static bool print_part(char part, bool escape_dots, struct tally_slice *rest, struct tally_buf *out)
{
    size_t len = rest->len, next = rest->len;

    if (part == 'S') {
        const uint8_t *end = len > 0 ? memchr(rest->data, 0, len) : NULL;

        if (!end)
            return false;
        len = (size_t)(end - rest->data);
        next = len + 1;
    } else if (part != 'T') {
        next = part_width(part);
        if (next > rest->len)
            return false;
        tally_buf_format(out, "%llu", (unsigned long long)read_number(rest->data, next));
    }
    if (part == 'S' || part == 'T')
        print_string((struct tally_slice){rest->data, len}, escape_dots, out);
    *rest = (struct tally_slice){rest->data + next, rest->len - next};
    return true;
}

void tally_key_print(const char *topology, struct tally_slice key, struct tally_buf *out)
{
    enum tally_store_id store;
    struct tally_slice rest;
    const char *parts;

    if (!tally_store_of_key(topology, key, &store)) {
        print_bytes(key, out);
        return;
    }
    parts = schemas[store].parts;
    rest = tally_slice_of(key.data + 1, key.len - 1);
    for (size_t i = 0; parts[i] != '\0'; i++) {
        if (i > 0)
            tally_buf_byte(out, '.');
        if (!print_part(parts[i], parts[1] != '\0', &rest, out))
            break;
    }
    print_bytes(rest, out); /* nothing, but for a damaged key */
}

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if (byte >= 'a' && byte <= 'f')
        return byte - 'a' + 10;
    return byte >= 'A' && byte <= 'F' ? byte - 'A' + 10 : -1;
}

/* Undoes %XX; a '%' that no two digits follow stands for itself. false: too long, or a NUL. */
static bool parse_string(struct tally_slice text, uint8_t space[static TALLY_KEY_MAX],
        struct tally_slice *string)
{
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.data[i];

        if (byte == '%' && i + 2 < text.len && hex_digit(text.data[i + 1]) >= 0 &&
                hex_digit(text.data[i + 2]) >= 0) {
            byte = (uint8_t)(hex_digit(text.data[i + 1]) * 16 + hex_digit(text.data[i + 2]));
            i += 2;
        }
        if (byte == 0 || len == TALLY_KEY_MAX)
            return false;
        space[len++] = byte;
    }
    *string = tally_slice_of(space, len);
    return true;
}

static bool parse_number(struct tally_slice text, size_t width, uint64_t *number)
{
    int64_t value = 0;

    if (!tally_parse_int(text, &value) || value < 0)
        return false;
    *number = (uint64_t)value;
    return width == 8 || *number < UINT64_C(1) << (8 * width);
}

/* Appends one part; false: the text does not fit it. */
static bool parse_part(char part, struct tally_slice text, struct tally_key *key)
{
    uint8_t space[TALLY_KEY_MAX];
    struct tally_slice string = TALLY_NONE;
    size_t left = (size_t)TALLY_KEY_MAX - key->len;
    uint64_t number = 0;

    if (part == 'S' || part == 'T') {
        if (!parse_string(text, space, &string) || string.len + 1 > left)
            return false;
        if (part == 'S') {
            tally_key_string(key, string);
        } else {
            tally_key_tail(key, string);
        }
        return true;
    }
    if (part_width(part) > left || !parse_number(text, part_width(part), &number))
        return false;
    switch (part) {
    case 'b':
        tally_key_u8(key, (uint8_t)number);
        break;
    case 'h':
        tally_key_u16(key, (uint16_t)number);
        break;
    default:
        tally_key_u64(key, number);
        break;
    }
    return true;
}

/* Cuts text at its dots, from the right; what is left is the first part. false: too few. */
static bool split(struct tally_slice text, size_t count, struct tally_slice pieces[PARTS_MAX])
{
    for (size_t i = count - 1; i > 0; i--) {
        const uint8_t *dot = text.len > 0 ? memrchr(text.data, '.', text.len) : NULL;

        if (!dot)
            return false;
        pieces[i] = tally_slice_of(dot + 1, text.len - (size_t)(dot + 1 - text.data));
        text.len = (size_t)(dot - text.data);
    }
    pieces[0] = text;
    return true;
}

enum tally_code tally_key_parse(enum tally_store_id store, struct tally_slice text,
        struct tally_key *key, struct tally_error *err)
{
    const char *parts = schemas[store].parts;
    struct tally_slice pieces[PARTS_MAX];
    size_t count = strlen(parts);

    tally_assert(count > 0 && count <= PARTS_MAX);
    if (!split(text, count, pieces)) {
        return tally_error_set(err, TALLY_BAD_RECORD,
                "a key of store \"%s\" has %zu parts joined by '.', got \"%.*s\"",
                schemas[store].name, count, (int)(text.len < 64 ? text.len : 64),
                (const char *)text.data);
    }
    tally_key_begin(key, store);
    for (size_t i = 0; i < count; i++) {
        if (!parse_part(parts[i], pieces[i], key)) {
            return tally_error_set(err, TALLY_BAD_RECORD,
                    "part %zu of a key of store \"%s\" must be %s", i + 1, schemas[store].name,
                    parts[i] == 'S' || parts[i] == 'T' ? "a short string" : "a number in range");
        }
    }
    return TALLY_OK;
}
