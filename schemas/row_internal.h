/* schemas/row_internal.h - compact rows: bytes, varints and counted text, written into room that
 * was reserved once, read with a latch that answers zeros after the first thing that does not fit.
 */
#pragma once
#include "schemas/serde_internal.h"

#define ROW_VARINT_MAX 10

struct row_writer {
    struct tally_buf *row;
    uint8_t *at; /* NULL: over the buffer's maximum */
    uint8_t *end;
};

static inline void row_begin(struct row_writer *writer, struct tally_buf *row, size_t bound)
{
    writer->row = row;
    writer->at = serde_room(row, bound);
    writer->end = writer->at ? writer->at + bound : NULL;
}
static inline void row_put_u8(struct row_writer *writer, uint8_t value)
{
    if (writer->at) {
        *writer->at++ = value;
    }
}
static inline void row_put_u64(struct row_writer *writer, uint64_t value)
{
    if (writer->at) {
        tally_put_u64(writer->at, value);
        writer->at += 8;
    }
}
static inline void row_put_unsigned(struct row_writer *writer, uint64_t value)
{
    if (writer->at && value < 0x80) { /* most of them */
        *writer->at++ = (uint8_t)value;
    } else if (writer->at) {
        writer->at += tally_put_varint(writer->at, value);
    }
}
static inline void row_put_int(struct row_writer *writer, int64_t value)
{
    row_put_unsigned(writer, tally_zigzag(value));
}
static inline void row_put_text(struct row_writer *writer, struct tally_slice text)
{
    row_put_unsigned(writer, text.len);
    if (writer->at && text.len) {
        tally_copy_short(writer->at, text.data, text.len);
        writer->at += text.len;
    }
}
static inline void row_end(struct row_writer *writer)
{
    if (writer->at) {
        tally_assert(writer->at <= writer->end);
        writer->row->len = (size_t)(writer->at - writer->row->data);
    }
}

struct row_reader {
    struct tally_slice left;
    bool fine; /* false: something did not fit */
};

static inline const uint8_t *row_bytes(struct row_reader *reader, uint64_t len)
{
    const uint8_t *bytes = reader->left.data;

    if (!reader->fine || len > reader->left.len) {
        reader->fine = false;
        return NULL;
    }
    reader->left.data += len;
    reader->left.len -= (size_t)len;
    return bytes;
}
static inline uint8_t row_u8(struct row_reader *reader)
{
    const uint8_t *bytes = row_bytes(reader, 1);

    return bytes ? *bytes : 0;
}
static inline uint64_t row_u64(struct row_reader *reader)
{
    const uint8_t *bytes = row_bytes(reader, 8);

    return bytes ? tally_read_u64(bytes) : 0;
}
static inline uint64_t row_unsigned(struct row_reader *reader)
{
    uint64_t value = 0;

    reader->fine = reader->fine && tally_read_varint(&reader->left, &value);
    return reader->fine ? value : 0;
}
static inline int64_t row_int(struct row_reader *reader)
{
    return tally_unzigzag(row_unsigned(reader));
}
/* Empty text is absent text. */
static inline struct tally_slice row_text(struct row_reader *reader)
{
    uint64_t len = row_unsigned(reader);
    const uint8_t *bytes = row_bytes(reader, len);

    return bytes && len ? tally_slice_of(bytes, (size_t)len) : TALLY_NONE;
}
/* Everything fitted and nothing is left. */
static inline bool row_done(const struct row_reader *reader)
{
    return reader->fine && reader->left.len == 0;
}

/* A row that is a whole document, as tally_encode wrote it: read into its struct; false: damaged.
 * Strings borrow from row and the arena. */
static inline bool row_document(struct tally_slice row, const struct tally_schema *schema,
        struct tally_arena *arena, void *record)
{
    const struct tally_token *root;
    struct tally_violations violations;
    enum tally_refusal refusal;

    if (tally_document_parse(row, arena, &root, &refusal, NULL)) {
        return false;
    }
    tally_bind(root, schema, true, NULL, arena, record, &violations);
    return violations.count == 0;
}
