/* http/websocket/websocket_frame.h - frames of RFC 6455: what a client sends, byte by byte into
 * messages, and what a server sends. No sockets here. @thread owner */
#pragma once
#include "engine/base/bytes.h"

#define WEBSOCKET_FRAME_BYTES_MAX   (64 * 1024)
#define WEBSOCKET_MESSAGE_BYTES_MAX (256 * 1024)
#define WEBSOCKET_CONTROL_BYTES_MAX 125
#define WEBSOCKET_HEAD_BYTES_MAX    14

enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0,
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10
};

/* Why a socket ends. */
enum websocket_status {
    WEBSOCKET_OPEN = 0, /* it does not */
    WEBSOCKET_NORMAL = 1000,
    WEBSOCKET_GOING_AWAY = 1001,
    WEBSOCKET_PROTOCOL_ERROR = 1002,
    WEBSOCKET_UNSUPPORTED = 1003,
    WEBSOCKET_NO_STATUS = 1005, /* never sent */
    WEBSOCKET_INVALID_DATA = 1007,
    WEBSOCKET_POLICY = 1008,
    WEBSOCKET_TOO_BIG = 1009,
    WEBSOCKET_INTERNAL = 1011,
    WEBSOCKET_SLOW = 1013,
    /* of graphql-transport-ws */
    WEBSOCKET_BAD_REQUEST = 4400,
    WEBSOCKET_UNAUTHORIZED = 4401,
    WEBSOCKET_FORBIDDEN = 4403,
    WEBSOCKET_NOT_ACCEPTABLE = 4406,
    WEBSOCKET_TIMEOUT = 4408,
    WEBSOCKET_DUPLICATE = 4409,
    WEBSOCKET_TOO_MANY = 4429,
    WEBSOCKET_ERROR = 4500
};

/* Where the reader is in what has come. Keeps the bytes of an unfinished frame and of an unfinished
 * message, no more than both may have. */
struct websocket_reader {
    struct tally_buf message; /* of a text message: the frames so far */
    struct tally_buf control; /* of a control frame */
    uint8_t head[WEBSOCKET_HEAD_BYTES_MAX];
    size_t head_len, head_need;
    uint64_t left; /* of the frame's payload */
    size_t masked; /* bytes of it so far */
    bool open;     /* a message is unfinished */
    bool broken;   /* nobody knows where the next frame begins */
};
void websocket_reader_init(struct websocket_reader *reader);
void websocket_reader_deinit(struct websocket_reader *reader);

/* A whole message, or a control frame. */
struct websocket_message {
    enum websocket_opcode opcode; /* TEXT, CLOSE, PING, PONG */
    struct tally_slice payload;   /* until the next call */
    enum websocket_status status; /* of CLOSE: the client's, NO_STATUS: none */
};
/* Takes bytes off the front of *bytes up to the end of one message. true: *message. false: all is
 * taken, more has to come, or *status (OPEN before) says why the socket ends; after that whatever
 * comes is taken, and nothing is in it. */
bool websocket_reader_next(struct websocket_reader *reader, struct tally_slice *bytes,
        struct websocket_message *message, enum websocket_status *status);

/* Head of an unmasked frame, whole in itself. Returns its length. */
size_t websocket_frame_head(enum websocket_opcode opcode, size_t len,
        uint8_t head[static WEBSOCKET_HEAD_BYTES_MAX]);
void websocket_frame_write(enum websocket_opcode opcode, struct tally_slice payload,
        struct tally_buf *out);
/* A close frame with a reason, which is cut to what fits. */
void websocket_frame_close(enum websocket_status status, const char *reason, struct tally_buf *out);
