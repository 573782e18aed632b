/* state/key_schema.h - the only builder of store keys: id byte, then the parts of key_schema.def.
 */
#pragma once
#include "engine/base/bytes.h"

/* Of the longest, that of a dedup row: a byte, an id of tally's own (<= 192), its end, a record key
 * (<= 128); with room. */
#define TALLY_KEY_MAX 352

enum tally_store_id { /* index in the table; the byte on disk is tally_store_byte(id) */
#define X(id, topology, name, byte, rows, parts) TALLY_STORE_##id,
#include "state/key_schema.def"
#undef X
    TALLY_STORES
};

struct tally_key {
    uint8_t bytes[TALLY_KEY_MAX];
    uint16_t len;
};

static inline struct tally_slice tally_key_bytes(const struct tally_key *key)
{
    return (struct tally_slice){key->bytes, key->len};
}

/* The bound behind all keys that begin with this prefix: a store's byte, or parts whose last one is
 * a string with its 0x00. */
static inline struct tally_key tally_key_behind(struct tally_key prefix)
{
    prefix.bytes[prefix.len - 1]++;
    return prefix;
}

/* Starts a key with its store's byte; then one call for each part, in order. A string part that
 * is not the last one ends with 0x00; a key that stops early is a prefix for scans.
 * Strings hold no NUL (checked at ingest); a key over TALLY_KEY_MAX asserts. */
void tally_key_begin(struct tally_key *key, enum tally_store_id store);
void tally_key_string(struct tally_key *key, struct tally_slice text); /* with 0x00 */
void tally_key_tail(struct tally_key *key, struct tally_slice text);   /* without */
void tally_key_u8(struct tally_key *key, uint8_t value);
void tally_key_u16(struct tally_key *key, uint16_t value);
void tally_key_u64(struct tally_key *key, uint64_t value);

/* Makes it the key of the same parts in another store, whose parts are alike. */
void tally_key_move(struct tally_key *key, enum tally_store_id store);
/* Starts the key of a tumbling window: its number, then its start. Windows hold [start, start +
 * size); start is a multiple of size, of times before 1970 too. */
void tally_key_window(struct tally_key *key, enum tally_store_id store, uint8_t number,
        int64_t start_ms);
int64_t tally_window_start(int64_t time_ms, int64_t size_ms);

/* Prints a full key for people and back: "TS-RED-M.AMS1.911" ('.' between parts). */
void tally_key_print(const char *topology, struct tally_slice key, struct tally_buf *out);
TALLY_MUST_CHECK enum tally_code tally_key_parse(enum tally_store_id store, struct tally_slice text,
        struct tally_key *key, struct tally_error *err);
/* Finds a store by name, "level" of "stock", or by the first byte of a key; false: none (meta keys
 * have byte 0 and are in no store). */
bool tally_store_find(const char *topology, const char *name, enum tally_store_id *id);
bool tally_store_of_key(const char *topology, struct tally_slice key, enum tally_store_id *id);
const char *tally_store_name(enum tally_store_id store);
uint8_t tally_store_byte(enum tally_store_id store);
const char *tally_store_parts(enum tally_store_id store); /* as in key_schema.def: "SSq" */
bool tally_store_rows_once(enum tally_store_id store);    /* rows are ONCE */
