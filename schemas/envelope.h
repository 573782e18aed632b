/* schemas/envelope.h - what surrounds every command and event, and the outcome of a command
 * (domain.md 3, 5). The engine knows records only through this header and serde.h.
 * Ownership: decoded structs borrow from the record's bytes and the arena. @thread any */
#pragma once
#include "schemas/serde.h"

#define TALLY_RECORD_KEY_MAX 128 /* bytes */

enum tally_status { TALLY_ACCEPTED, TALLY_REJECTED, TALLY_PENDING };
const char *tally_status_name(enum tally_status status);

enum tally_reject {
    TALLY_REJECT_NONE,
#define X(code, http, retryable, title, help) TALLY_REJECT_##code,
#include "schemas/reject.def"
#undef X
    TALLY_REJECTS
};
const char *tally_reject_name(enum tally_reject reject);
const char *tally_reject_title(enum tally_reject reject);
const char *tally_reject_help(enum tally_reject reject); /* what it means and what to do */
bool tally_reject_retryable(enum tally_reject reject);
int tally_reject_http(enum tally_reject reject);
enum tally_reject tally_reject_find(struct tally_slice code); /* NONE: unknown */

/* --- commands --------------------------------------------------------------------------------- */

/* First member of every family's command struct (struct stock_command ...). The bits 0-3 of
 * `presence` are these fields in every command schema; the family's own start at 4. */
struct tally_command_fields {
    struct tally_presence presence;
    int64_t expected_version;
    int64_t deadline; /* ms */
    struct tally_slice reference, note;
};
enum {
    TALLY_HAS_EXPECTED_VERSION,
    TALLY_HAS_DEADLINE,
    TALLY_HAS_REFERENCE,
    TALLY_HAS_NOTE,
    TALLY_HAS_FAMILY
};

struct tally_command {
    struct tally_slice id, type;
    struct tally_slice source, actor, correlation_id, causation_id; /* empty: absent */
    const struct tally_token *payload; /* the map whose members are the fields */
    bool flat;                         /* payload is the whole document */
    enum tally_format format;
    uint64_t fingerprint;
    const struct tally_schema *schema;   /* NULL: unknown type */
    struct tally_command_fields *fields; /* the bound struct; NULL without schema */
    struct tally_violations *violations; /* NULL or count > 0: field rules broken */
    /* filled by the engine */
    struct tally_slice key;
    int32_t partition;
    int64_t offset, timestamp_ms;
};

/* Decodes, finds the schema by type in `types` (ends with NULL), binds and fingerprints.
 * BAD_RECORD with the dead letter's reason; an unknown type or a broken field rule is TALLY_OK.
 * A null value is EMPTY_VALUE. */
TALLY_MUST_CHECK enum tally_code tally_command_decode(struct tally_slice value,
        const struct tally_schema *const *types, struct tally_arena *arena,
        struct tally_command *command, enum tally_refusal *refusal, struct tally_error *err);
/* The same, sooner where commands look like earlier ones: what they had in common is kept in
 * *shapes, which one thread uses at a time; NULL: nothing is. */
struct tally_command_shapes;
struct tally_command_shapes *tally_command_shapes_create(void);
void tally_command_shapes_destroy(struct tally_command_shapes *shapes);
uint64_t tally_command_shapes_hits(const struct tally_command_shapes *shapes);
TALLY_MUST_CHECK enum tally_code tally_command_decode_by(struct tally_command_shapes *shapes,
        struct tally_slice value, const struct tally_schema *const *types,
        struct tally_arena *arena, struct tally_command *command, enum tally_refusal *refusal,
        struct tally_error *err);
/* The record key that the command's fields ask for (prefix + key field), into *key (arena). false:
 * the schema is unknown, or the key field is absent or no string. */
bool tally_command_key(const struct tally_command *command, struct tally_arena *arena,
        struct tally_slice *key);
/* Flat or long form of a command that tally sends itself (id starts with '~'). */
struct tally_command_head {
    struct tally_slice id, type, source, actor, correlation_id, causation_id;
};
void tally_command_encode(const struct tally_command_head *head, const struct tally_schema *schema,
        const void *fields, enum tally_format format, struct tally_buf *out);

/* --- events ----------------------------------------------------------------------------------- */

struct tally_outcome_stamp {
    struct tally_slice command; /* type */
    uint64_t fingerprint;
    enum tally_status status;
};
struct tally_completes {
    struct tally_slice command_id;
    struct tally_outcome_stamp stamp;
};
/* What a rejection says; also carried by the event that ends a saga. */
struct tally_rejection {
    enum tally_reject code; /* NONE: no rejection */
    struct tally_slice detail;
    struct tally_slice errors; /* MessagePack array of {pointer?, code, meta?}; empty: none */
};

#define TALLY_EVENT_ACCEPTED "CommandAccepted" /* nothing changed */
#define TALLY_EVENT_REJECTED "CommandRejected"

struct tally_event {
    struct tally_slice type;
    struct tally_slice topology; /* id = <topology>/<partition>@<command offset> */
    int32_t partition;
    int64_t command_offset;
    int64_t time_ms;
    struct tally_slice actor, correlation_id;
    struct tally_slice command_id; /* causation_id */
    struct tally_slice key;        /* record key; set by the caller */
    struct tally_outcome_stamp outcome;
    bool has_completes;
    struct tally_completes completes;
    struct tally_rejection rejection;
    const struct tally_schema *schema; /* NULL for CommandAccepted, CommandRejected */
    void *body;                        /* struct of the schema */
};

/* Whole event, envelope included, as it goes to Kafka. Deterministic: the same struct gives the
 * same bytes. */
void tally_event_encode(const struct tally_event *event, enum tally_format format,
        struct tally_buf *out);
/* NOT_FOUND: no event id of `topology` and `partition` (a foreign record, to be ignored).
 * EVENT_UNKNOWN: ours, but of an unknown type or major version. BAD_RECORD: not decodable. */
TALLY_MUST_CHECK enum tally_code tally_event_decode(struct tally_slice value,
        struct tally_slice key, const char *topology, int32_t partition,
        const struct tally_schema *const *types, struct tally_arena *arena,
        struct tally_event *event, struct tally_error *err);

/* Builds the errors array of a rejection. */
struct tally_meta {
    const char *name;
    enum { TALLY_META_INT, TALLY_META_TEXT } kind;
    int64_t integer;
    struct tally_slice text;
};
#define TALLY_META_I(n, v) \
    ((struct tally_meta){.name = (n), .kind = TALLY_META_INT, .integer = (v)})
#define TALLY_META_S(n, v) ((struct tally_meta){.name = (n), .kind = TALLY_META_TEXT, .text = (v)})
void tally_rejection_error(struct tally_buf *errors, const char *pointer /* NULL: none */,
        const char *code, const struct tally_meta *meta,
        size_t meta_count); /* one error: an array of one */
void tally_rejection_violations(struct tally_buf *errors,
        const struct tally_violations *violations);

/* --- outcomes --------------------------------------------------------------------------------- */

/* A row of the dedup store: what is kept of a command's outcome. memo is the aggregate's own
 * (tally_aggregate.remember), from which result and version are read back. */
struct tally_outcome {
    struct tally_outcome_stamp stamp;
    int64_t offset;  /* of the deciding command in its partition */
    int64_t time_ms; /* decision time */
    struct tally_rejection rejection;
    struct tally_slice memo; /* empty: CommandAccepted, rejected */
};
void tally_outcome_pack(const struct tally_outcome *outcome, struct tally_buf *row);
TALLY_MUST_CHECK enum tally_code tally_outcome_unpack(struct tally_slice row,
        struct tally_outcome *outcome, struct tally_error *err);

/* The outcome record of domain.md 5, for replies and HTTP. result: encoded in `format`, empty:
 * null. */
struct tally_outcome_record {
    struct tally_slice command_id, key, topic; /* topic with prefix */
    int32_t partition;
    struct tally_slice positions; /* further ones, ",stock.commands/2@991"; empty: none */
    const struct tally_outcome *outcome;
    bool has_version;
    int64_t version;
    struct tally_slice result;
    bool duplicate;
};
void tally_outcome_write(const struct tally_outcome_record *record, enum tally_format format,
        struct tally_buf *out);
