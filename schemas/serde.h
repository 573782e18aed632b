/* schemas/serde.h - records described once: a table of fields drives decoder, encoder, checks and
 * documents. Adding a field is one line of a .def file.
 * A document (JSON object or MessagePack map, told apart by the first byte) is first parsed into a
 * flat array of tokens under hard limits (tally_document_parse), then bound to a C struct by the
 * schema of its type (tally_bind). Encoding goes from the struct through the same table.
 * Every described struct begins with struct tally_presence: a field's bit is set when it was there
 * (or, for encoding, is to be written). Fields with a default are filled with it and not marked. */
#pragma once
#include "engine/base/bytes.h"
#include "engine/base/mem.h"

#define TALLY_DOCUMENT_BYTES_MAX    (1024 * 1024)
#define TALLY_DOCUMENT_DEPTH_MAX    16
#define TALLY_DOCUMENT_ELEMENTS_MAX 65536
#define TALLY_VIOLATIONS_MAX        20

enum tally_token_type { TALLY_NULL, TALLY_BOOL, TALLY_INT, TALLY_STRING, TALLY_ARRAY, TALLY_MAP };

/* A tree in preorder. A map's members are pairs: a STRING token, then the value's subtree. */
struct tally_token {
    uint8_t type;   /* enum tally_token_type */
    uint32_t count; /* members of a map (pairs), items of an array */
    uint32_t skip;  /* tokens of this subtree, itself included */
    union {
        int64_t integer; /* BOOL: 0, 1 */
        struct tally_slice string;
    };
};

/* Why bytes are no record: the reason of the dead letter, domain.md 10. */
enum tally_refusal {
    TALLY_REFUSAL_NONE,
#define X(name) TALLY_REFUSAL_##name,
#include "schemas/refusal.def"
#undef X
    TALLY_REFUSALS
};
const char *tally_refusal_name(enum tally_refusal refusal); /* "MALFORMED_JSON" */

enum tally_format { TALLY_FORMAT_JSON, TALLY_FORMAT_MSGPACK };

/* Parses one document that fills `bytes`. Tokens live in the arena, strings borrow from bytes or
 * the arena. Nothing is allocated before counts are checked against the bytes that are left.
 * BAD_RECORD with *refusal and a message that names the byte offset. @thread any */
TALLY_MUST_CHECK enum tally_code tally_document_parse(struct tally_slice bytes,
        struct tally_arena *arena, const struct tally_token **root, enum tally_refusal *refusal,
        struct tally_error *err);
/* A member of a map token by name; NULL: absent. */
const struct tally_token *tally_token_member(const struct tally_token *map, const char *name);
/* The token after this one's subtree. */
static inline const struct tally_token *tally_token_next(const struct tally_token *token)
{
    return token + token->skip;
}
void tally_token_write(const struct tally_token *token, enum tally_format format,
        struct tally_buf *out);

enum tally_field_kind {
    TALLY_KIND_STRING, /* struct tally_slice; low..high: bytes; check: see enum tally_text */
    TALLY_KIND_INT,    /* int64_t; low..high */
    TALLY_KIND_BOOL,   /* bool */
    TALLY_KIND_TIME,   /* int64_t ms; RFC 3339 text on the wire */
    TALLY_KIND_ENUM,   /* uint8_t: index in names */
    TALLY_KIND_OBJECT, /* embedded struct with its own schema */
    TALLY_KIND_ARRAY, /* struct tally_array of structs of schema, or of strings (schema NULL) in the
                        * form and with the length of their text */
    TALLY_KIND_ANY,   /* const struct tally_token *: any value */
    TALLY_KIND_MAP    /* const struct tally_token *: a map of any values */
};
enum tally_text {
    TALLY_TEXT_ANY,
    TALLY_TEXT_ID,
    TALLY_TEXT_WAREHOUSE,
    TALLY_TEXT_SLUG,
    TALLY_TEXT_COMMAND_ID
};
/* Whether it has this form and is no longer than such a text may be; an empty one never is. */
bool tally_text_is(struct tally_slice text, enum tally_text form);

enum tally_field_flag {
    TALLY_REQUIRED = 1,
    TALLY_NULLABLE = 2, /* null is a value: present, with `null` in the nulls mask */
    TALLY_DEFAULTED = 4,
    TALLY_NONZERO = 8,   /* INT: 0 is refused */
    TALLY_OMIT_ZERO = 16 /* encoding: not written when 0 or empty */
};

struct tally_array {
    void *items; /* structs of the schema's size, or struct tally_slice */
    size_t count;
};

/* First member of every described struct. */
struct tally_presence {
    uint64_t present; /* BIT of each field that is there */
    uint64_t nulls;   /* of those, the ones whose value is null (TALLY_NULLABLE) */
};
#define TALLY_BIT(n) (UINT64_C(1) << (n))

/* The first eight bytes of a name in MessagePack as a big-endian number, filled up with zeros: its
 * head, which holds the length, and seven bytes of it. In JSON a quote stands in the head's place.
 * Of a name that is too long for such a head the head is 0, which is none of a string. */
#define TALLY_NAME_BYTE(name, at) \
    ((uint64_t)(uint8_t)(name)[sizeof(name) > (at) ? (at) : sizeof(name) - 1] << (48 - 8 * (at)))
#define TALLY_NAME_WORD(name)                                                                \
    ((uint64_t)(sizeof(name) <= 32 ? 0xa0 | (sizeof(name) - 1) : 0) << 56 |                  \
            TALLY_NAME_BYTE(name, 0) | TALLY_NAME_BYTE(name, 1) | TALLY_NAME_BYTE(name, 2) | \
            TALLY_NAME_BYTE(name, 3) | TALLY_NAME_BYTE(name, 4) | TALLY_NAME_BYTE(name, 5) | \
            TALLY_NAME_BYTE(name, 6))
/* How many of its lowest bits are not of the name. */
#define TALLY_NAME_REST(name) ((uint8_t)(sizeof(name) < 8 ? 64 - 8 * sizeof(name) : 0))

/* The members that a field's name is kept in. */
#define TALLY_FIELD_NAME(literal)                                                              \
    .name = (literal), .name_word = TALLY_NAME_WORD(literal), .name_len = sizeof(literal) - 1, \
    .name_rest = TALLY_NAME_REST(literal)

struct tally_schema;
struct tally_violations;
struct tally_field {
    const char *name;   /* on the wire */
    uint64_t name_word; /* TALLY_NAME_WORD of it */
    uint8_t name_len;
    uint8_t name_rest; /* TALLY_NAME_REST of it */
    uint8_t bit;       /* in struct tally_presence; one struct may serve several schemas */
    uint8_t kind;      /* enum tally_field_kind */
    uint8_t flags;
    uint8_t text;    /* enum tally_text */
    uint16_t offset; /* in the struct */
    int64_t low, high;
    int64_t default_value;             /* INT, BOOL, ENUM */
    const char *const *names;          /* ENUM; ends with NULL */
    const struct tally_schema *schema; /* OBJECT, ARRAY */
    const char *help;
};
struct tally_schema {
    const char *name; /* record type: "ReceiveStock" */
    uint32_t id;      /* enum of its family */
    const struct tally_field *fields;
    size_t field_count;     /* <= 64 */
    size_t size;            /* of the struct, which begins with struct tally_presence */
    const char *key_field;  /* commands: the member that the record key is made of */
    const char *key_prefix; /* commands: put before it, "" or "warehouse:" */
    bool internal;          /* sent by tally itself only: ids start with '~' */
    bool broadcast; /* commands: written to an explicit partition; the key's partition is not
                       checked */
    const char *help;
    /* Rules between fields; called once the fields are bound, adds with tally_violate. May be NULL.
     */
    void (*check)(const void *record, struct tally_violations *violations);
};

/* One field rule that a document breaks. pointer is a JSON pointer into the payload. */
struct tally_violation {
    char pointer[96];
    const char *code; /* REQUIRED, UNKNOWN_FIELD, WRONG_TYPE, OUT_OF_RANGE, BAD_LENGTH, BAD_FORMAT,
                         NOT_ALLOWED, READ_ONLY */
    char detail[96];
};
struct tally_violations {
    size_t count; /* <= TALLY_VIOLATIONS_MAX; more are dropped */
    struct tally_violation items[TALLY_VIOLATIONS_MAX];
};
/* Adds one; detail is formatted and cut to its size. */
void tally_violate(struct tally_violations *violations, const char *pointer, const char *code,
        const char *detail, ...) TALLY_PRINTF(4, 5);

/* Binds a map to *record (schema->size bytes, zeroed here). skip(name) members are ignored (the
 * envelope's in the flat form); other unknown members are violations when `strict`, else ignored
 * (events written by a newer release). Strings borrow as the tokens do. */
void tally_bind(const struct tally_token *map, const struct tally_schema *schema, bool strict,
        bool (*skip)(struct tally_slice name), struct tally_arena *arena, void *record,
        struct tally_violations *violations);
/* The present fields of *record as a map, in table order. */
void tally_encode(const struct tally_schema *schema, const void *record, enum tally_format format,
        struct tally_buf *out);

/* XXH3-64, seed 0, of the canonical payload (domain.md 3): a MessagePack map of `type` and the
 * payload's members but the skipped ones, keys sorted at every level. */
uint64_t tally_fingerprint(struct tally_slice type, const struct tally_token *payload,
        bool (*skip)(struct tally_slice name), struct tally_arena *arena);

/* The same value, members of maps in whatever order. */
bool tally_token_same(const struct tally_token *a, const struct tally_token *b,
        struct tally_arena *arena);

/* Writers for documents without a schema. `count` is written up front; JSON needs the separators,
 * so a writer keeps its place. */
struct tally_writer {
    struct tally_buf *out;
    enum tally_format format;
    uint32_t depth;
    struct {
        uint32_t left; /* members or items still to come */
        bool map, first, value_next;
    } level[TALLY_DOCUMENT_DEPTH_MAX];
};
void tally_write_begin(struct tally_writer *writer, struct tally_buf *out,
        enum tally_format format);
void tally_write_map(struct tally_writer *writer, uint32_t members);
void tally_write_array(struct tally_writer *writer, uint32_t items);
void tally_write_name(struct tally_writer *writer, const char *name);
void tally_write_string(struct tally_writer *writer, struct tally_slice text);
void tally_write_int(struct tally_writer *writer, int64_t value);
void tally_write_bool(struct tally_writer *writer, bool value);
void tally_write_null(struct tally_writer *writer);
void tally_write_time(struct tally_writer *writer, int64_t time_ms);
void tally_write_token(struct tally_writer *writer, const struct tally_token *token);
/* Already encoded bytes of the same format as one value. */
void tally_write_raw(struct tally_writer *writer, struct tally_slice encoded);
