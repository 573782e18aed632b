/* http/row_line.c - see row_line.h. */
#include "http/row_line.h"

#include "engine/base/mem.h"
#include "engine/query.h"
#include "schemas/envelope.h"
#include "schemas/row_json.h"

enum { ARENA_BLOCK_BYTES = 4096, KEY_TEXT_BYTES_MAX = 1024, TEXT_BYTES_MAX = 4 * 1024 * 1024 };

static void write_hex(struct tally_writer *writer, struct tally_slice bytes)
{
    struct tally_buf text;

    tally_buf_init(&text, TEXT_BYTES_MAX);
    for (size_t i = 0; i < bytes.len; i++) {
        tally_buf_format(&text, "%02x", bytes.data[i]);
    }
    tally_write_string(writer, text.failed ? TALLY_SLICE("") : tally_buf_bytes(&text));
    tally_buf_deinit(&text);
}

static void write_text(struct tally_writer *writer, const char *name, struct tally_slice text)
{
    tally_write_name(writer, name);
    tally_write_string(writer, text);
}

/* The errors of a rejection are a MessagePack array; a document is a map, so one is put around. */
static bool write_errors(struct tally_writer *writer, struct tally_slice errors)
{
    static const uint8_t map_of_one[] = {0x81, 0xa1, 'e'};
    const struct tally_token *root = NULL;
    enum tally_refusal refusal;
    struct tally_arena arena;
    struct tally_buf map;
    bool good;

    tally_buf_init(&map, TEXT_BYTES_MAX);
    tally_arena_init(&arena, ARENA_BLOCK_BYTES);
    tally_buf_append(&map, map_of_one, sizeof map_of_one);
    tally_buf_slice(&map, errors);
    good = !map.failed &&
           tally_document_parse(tally_buf_bytes(&map), &arena, &root, &refusal, NULL) == TALLY_OK;
    if (good) {
        tally_write_token(writer, tally_token_member(root, "e"));
    }
    tally_arena_deinit(&arena);
    tally_buf_deinit(&map);
    return good;
}

static bool write_outcome(struct tally_slice row, struct tally_buf *out)
{
    const struct tally_rejection *rejection;
    struct tally_outcome outcome;
    struct tally_writer writer;
    struct tally_buf fingerprint;
    bool rejected;

    if (tally_outcome_unpack(row, &outcome, NULL)) {
        return false;
    }
    rejection = &outcome.rejection;
    rejected = rejection->code != TALLY_REJECT_NONE;
    tally_buf_init(&fingerprint, 32);
    tally_buf_format(&fingerprint, "%016llx", (unsigned long long)outcome.stamp.fingerprint);
    tally_write_begin(&writer, out, TALLY_FORMAT_JSON);
    tally_write_map(&writer, rejected ? rejection->errors.len > 0 ? 9 : 8 : 6);
    write_text(&writer, "command", outcome.stamp.command);
    write_text(&writer, "fingerprint", tally_buf_bytes(&fingerprint));
    write_text(&writer, "status", tally_slice_string(tally_status_name(outcome.stamp.status)));
    tally_write_name(&writer, "offset");
    tally_write_int(&writer, outcome.offset);
    tally_write_name(&writer, "time");
    tally_write_time(&writer, outcome.time_ms);
    tally_write_name(&writer, "memo");
    write_hex(&writer, outcome.memo);
    tally_buf_deinit(&fingerprint);
    if (!rejected) {
        return true;
    }
    write_text(&writer, "code", tally_slice_string(tally_reject_name(rejection->code)));
    write_text(&writer, "detail", rejection->detail);
    if (rejection->errors.len > 0) {
        tally_write_name(&writer, "errors");
        return write_errors(&writer, rejection->errors);
    }
    return true;
}

bool tally_row_line_value(const char *topology, struct tally_slice key, struct tally_slice row,
        struct tally_buf *out)
{
    size_t before = out->len;
    enum tally_store_id store;
    bool good = tally_store_of_key(topology, key, &store) &&
                (store == TALLY_STORE_DEDUP
                                ? write_outcome(row, out)
                                : tally_row_json(topology, tally_store_name(store), row, out));

    if (!good) {
        out->len = before;
    }
    return good;
}

bool tally_row_line_write(const char *topology, int32_t partition, struct tally_slice key,
        struct tally_slice row, struct tally_buf *out)
{
    enum tally_store_id store;
    bool known = tally_store_of_key(topology, key, &store), good;
    struct tally_writer writer;
    struct tally_buf text, value;

    tally_buf_init(&text, KEY_TEXT_BYTES_MAX);
    tally_buf_init(&value, TEXT_BYTES_MAX);
    good = known && tally_row_line_value(topology, key, row, &value) && !value.failed;
    tally_write_begin(&writer, out, TALLY_FORMAT_JSON);
    tally_write_map(&writer, 5);
    write_text(&writer, "topology", tally_slice_string(topology));
    tally_write_name(&writer, "partition");
    tally_write_int(&writer, partition);
    write_text(&writer, "store", tally_slice_string(known ? tally_store_name(store) : ""));
    tally_write_name(&writer, "key");
    if (known) {
        tally_key_print(topology, key, &text);
        tally_write_string(&writer, tally_buf_bytes(&text));
    } else {
        write_hex(&writer, key);
    }
    tally_write_name(&writer, good ? "value" : "damaged");
    if (good) {
        tally_write_raw(&writer, tally_buf_bytes(&value));
    } else {
        write_hex(&writer, row);
    }
    tally_buf_byte(out, '\n');
    tally_buf_deinit(&text);
    tally_buf_deinit(&value);
    return good;
}
