/* http/websocket/websocket_frame.c - see websocket_frame.h.
 * Invariants
 *  (1) A length is judged when the head is complete: nothing of a frame that is too long is kept.
 *  (2) A length has one spelling, the shortest (RFC 6455 5.2).
 *  (3) Text is valid UTF-8 without NUL, which JSON cannot hold anyway. */
#include "http/websocket/websocket_frame.h"

#include <stdio.h>

enum {
    FIN = 0x80,
    RESERVED = 0x70,
    OPCODE = 0x0f,
    MASKED = 0x80,
    LENGTH = 0x7f,
    LENGTH_16 = 126,
    LENGTH_64 = 127,
    MASK_BYTES = 4
};

void websocket_reader_init(struct websocket_reader *reader)
{
    *reader = (struct websocket_reader){.head_need = 2};
    tally_buf_init(&reader->message, WEBSOCKET_MESSAGE_BYTES_MAX);
    tally_buf_init(&reader->control, WEBSOCKET_CONTROL_BYTES_MAX);
}

void websocket_reader_deinit(struct websocket_reader *reader)
{
    tally_buf_deinit(&reader->message);
    tally_buf_deinit(&reader->control);
}

static enum websocket_opcode opcode_of(const struct websocket_reader *reader)
{
    return (enum websocket_opcode)(reader->head[0] & OPCODE);
}

static bool is_control(const struct websocket_reader *reader)
{
    return reader->head[0] & 0x08;
}

/* What the first two bytes say already. */
static enum websocket_status check_start(const struct websocket_reader *reader)
{
    bool final = reader->head[0] & FIN;

    if ((reader->head[0] & RESERVED) || !(reader->head[1] & MASKED)) {
        return WEBSOCKET_PROTOCOL_ERROR;
    }
    switch ((int)opcode_of(reader)) {
    case WEBSOCKET_CONTINUATION:
        return reader->open ? WEBSOCKET_OPEN : WEBSOCKET_PROTOCOL_ERROR;
    case WEBSOCKET_TEXT:
        return reader->open ? WEBSOCKET_PROTOCOL_ERROR : WEBSOCKET_OPEN;
    case WEBSOCKET_BINARY:
        return WEBSOCKET_UNSUPPORTED;
    case WEBSOCKET_CLOSE:
    case WEBSOCKET_PING:
    case WEBSOCKET_PONG:
        return final && (reader->head[1] & LENGTH) <= WEBSOCKET_CONTROL_BYTES_MAX
                       ? WEBSOCKET_OPEN
                       : WEBSOCKET_PROTOCOL_ERROR;
    default:
        return WEBSOCKET_PROTOCOL_ERROR;
    }
}

static size_t head_need(const struct websocket_reader *reader)
{
    uint8_t length = reader->head[1] & LENGTH;

    return 2 + MASK_BYTES + (length == LENGTH_16 ? 2u : length == LENGTH_64 ? 8u : 0u);
}

static enum websocket_status check_length(struct websocket_reader *reader)
{
    uint8_t length = reader->head[1] & LENGTH;

    reader->left = length;
    if (length == LENGTH_16) {
        reader->left = tally_read_u16(reader->head + 2);
        if (reader->left < LENGTH_16) {
            return WEBSOCKET_PROTOCOL_ERROR;
        }
    } else if (length == LENGTH_64) {
        reader->left = tally_read_u64(reader->head + 2);
        if (reader->left <= UINT16_MAX || reader->left >> 63) {
            return WEBSOCKET_PROTOCOL_ERROR;
        }
    }
    if (reader->left > WEBSOCKET_FRAME_BYTES_MAX ||
            (!is_control(reader) &&
                    reader->message.len + reader->left > WEBSOCKET_MESSAGE_BYTES_MAX)) {
        return WEBSOCKET_TOO_BIG;
    }
    return WEBSOCKET_OPEN;
}

static void take(struct tally_slice *bytes, size_t count)
{
    *bytes = tally_slice_of(bytes->data + count, bytes->len - count);
}

/* false: the head is not complete, or wrong. */
static bool read_head(struct websocket_reader *reader, struct tally_slice *bytes,
        enum websocket_status *status)
{
    while (reader->head_len < reader->head_need) {
        size_t room = sizeof reader->head - reader->head_len;
        size_t want = reader->head_need - reader->head_len;

        want = want < bytes->len ? want : bytes->len;
        if (want == 0) {
            return false;
        }
        tally_assert(reader->head_len < sizeof reader->head && want <= room);
        tally_copy_short(reader->head + reader->head_len, bytes->data, want);
        reader->head_len += want;
        take(bytes, want);
        if (reader->head_len == 2) {
            *status = check_start(reader);
            reader->head_need = head_need(reader);
        } else if (reader->head_len == reader->head_need) {
            *status = check_length(reader);
            reader->masked = 0;
            tally_buf_clear(&reader->control);
        }
        if (*status) {
            return false;
        }
    }
    return true;
}

static void read_payload(struct websocket_reader *reader, struct tally_slice *bytes)
{
    struct tally_buf *to = is_control(reader) ? &reader->control : &reader->message;
    const uint8_t *mask = reader->head + reader->head_need - MASK_BYTES;
    size_t count = reader->left < bytes->len ? (size_t)reader->left : bytes->len;
    uint8_t *room = count > 0 ? tally_buf_reserve(to, count) : NULL;

    tally_assert(room || count == 0);
    for (size_t i = 0; i < count; i++) {
        room[i] = bytes->data[i] ^ mask[(reader->masked + i) % MASK_BYTES];
    }
    to->len += count;
    reader->masked += count;
    reader->left -= count;
    take(bytes, count);
}

/* RFC 6455 7.4: what a peer may say. */
static bool may_be_sent(unsigned status)
{
    return (status >= 1000 && status <= 1014 && status != 1004 && status != 1005 &&
                   status != 1006) ||
           (status >= 3000 && status <= 4999);
}

static enum websocket_status check_close(struct websocket_message *message)
{
    unsigned status;

    message->status = WEBSOCKET_NO_STATUS;
    if (message->payload.len == 0) {
        return WEBSOCKET_OPEN;
    }
    if (message->payload.len == 1) {
        return WEBSOCKET_PROTOCOL_ERROR;
    }
    status = tally_read_u16(message->payload.data);
    if (!may_be_sent(status)) {
        return WEBSOCKET_PROTOCOL_ERROR;
    }
    message->status = (enum websocket_status)status;
    return tally_utf8_valid(tally_slice_of(message->payload.data + 2, message->payload.len - 2))
                   ? WEBSOCKET_OPEN
                   : WEBSOCKET_INVALID_DATA;
}

/* A frame is complete. true: so is a message. */
static bool finish(struct websocket_reader *reader, struct websocket_message *message,
        enum websocket_status *status)
{
    bool final = reader->head[0] & FIN;

    reader->head_len = 0;
    reader->head_need = 2;
    if (is_control(reader)) {
        *message = (struct websocket_message){
                .opcode = opcode_of(reader), .payload = tally_buf_bytes(&reader->control)};
        if (message->opcode == WEBSOCKET_CLOSE) {
            *status = check_close(message);
        }
        return *status == WEBSOCKET_OPEN;
    }
    reader->open = !final;
    if (!final) {
        return false;
    }
    *message = (struct websocket_message){
            .opcode = WEBSOCKET_TEXT, .payload = tally_buf_bytes(&reader->message)};
    if (!tally_utf8_valid(message->payload)) {
        *status = WEBSOCKET_INVALID_DATA;
        return false;
    }
    return true;
}

static bool next_message(struct websocket_reader *reader, struct tally_slice *bytes,
        struct websocket_message *message, enum websocket_status *status)
{
    while (read_head(reader, bytes, status)) {
        if (!reader->open && !is_control(reader) && reader->masked == 0) {
            tally_buf_clear(&reader->message);
        }
        read_payload(reader, bytes);
        if (reader->left > 0) {
            return false;
        }
        if (finish(reader, message, status)) {
            return true;
        }
        if (*status) {
            return false;
        }
    }
    return false;
}

bool websocket_reader_next(struct websocket_reader *reader, struct tally_slice *bytes,
        struct websocket_message *message, enum websocket_status *status)
{
    bool whole = !reader->broken && next_message(reader, bytes, message, status);

    reader->broken = reader->broken || *status != WEBSOCKET_OPEN;
    if (reader->broken) {
        take(bytes, bytes->len);
    }
    return whole;
}

/* --- writing ---------------------------------------------------------------------------------- */

size_t websocket_frame_head(enum websocket_opcode opcode, size_t len,
        uint8_t head[static WEBSOCKET_HEAD_BYTES_MAX])
{
    head[0] = (uint8_t)(FIN | opcode);
    if (len < LENGTH_16) {
        head[1] = (uint8_t)len;
        return 2;
    }
    if (len <= UINT16_MAX) {
        head[1] = LENGTH_16;
        tally_put_u16(head + 2, (uint16_t)len);
        return 4;
    }
    head[1] = LENGTH_64;
    tally_put_u64(head + 2, len);
    return 10;
}

void websocket_frame_write(enum websocket_opcode opcode, struct tally_slice payload,
        struct tally_buf *out)
{
    uint8_t head[WEBSOCKET_HEAD_BYTES_MAX];

    tally_buf_append(out, head, websocket_frame_head(opcode, payload.len, head));
    tally_buf_slice(out, payload);
}

void websocket_frame_close(enum websocket_status status, const char *reason, struct tally_buf *out)
{
    uint8_t payload[WEBSOCKET_CONTROL_BYTES_MAX];
    int len = 0;

    if (status == WEBSOCKET_NO_STATUS) {
        websocket_frame_write(WEBSOCKET_CLOSE, TALLY_NONE, out);
        return;
    }
    tally_put_u16(payload, (uint16_t)status);
    len = snprintf((char *)payload + 2, sizeof payload - 2, "%s", reason);
    len = len < (int)sizeof payload - 3 ? len : (int)sizeof payload - 3;
    websocket_frame_write(WEBSOCKET_CLOSE, tally_slice_of(payload, 2 + (size_t)len), out);
}
