/* apps/stream_client.c - see stream_client.h. */
#include "apps/stream_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"

enum {
    IN_MAX = 32 * 1024 * 1024, /* of one message: what a frame of a snapshot may have, and more */
    OUT_MAX = 64 * 1024,
    PIECE = 64 * 1024,
    HEAD_MAX = 16 * 1024,
    KEY_BYTES = 16,
    MASK_BYTES = 4,
    CONTROL_MAX = 125,
    BODY_MS = 300,     /* between pieces of a refusal */
    SILENT_MS = 45000, /* then it is asked whether it is there; the server's own pings are sooner */
    DEAD_MS = 60000
};
enum { TEXT = 1, CLOSE = 8, PING = 9, PONG = 10, FINAL = 0x80, MASKED = 0x80 };

struct stream_client {
    int fd;
    char address[300];
    struct tally_buf in, out;
    size_t used;      /* of in: told, or taken */
    int64_t heard_ms; /* when anything came last */
    bool asked;       /* a ping is on its way */
};

static int64_t now_ms(void)
{
    return tally_mono_ms(tally_clock_real());
}

static enum tally_code broken(const struct stream_client *client, const char *what,
        struct tally_error *err)
{
    return tally_error_set(err, TALLY_UNAVAILABLE, "the connection to %s %s", client->address,
            what);
}

/* --- writing ---------------------------------------------------------------------------------- */

static enum tally_code write_all(struct stream_client *client, struct tally_slice bytes,
        struct tally_error *err)
{
    while (bytes.len > 0) {
        ssize_t sent = send(client->fd, bytes.data, bytes.len, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0) {
            return broken(client, "was lost", err);
        }
        bytes = tally_slice_of(bytes.data + sent, bytes.len - (size_t)sent);
    }
    return TALLY_OK;
}

static void random_bytes(uint8_t *bytes, size_t size)
{
    tally_assert(getrandom(bytes, size, 0) == (ssize_t)size);
}

static enum tally_code send_frame(struct stream_client *client, unsigned opcode,
        struct tally_slice payload, struct tally_error *err)
{
    uint8_t mask[MASK_BYTES], size[2];

    tally_assert(payload.len < OUT_MAX / 2);
    random_bytes(mask, sizeof mask);
    tally_buf_clear(&client->out);
    tally_buf_byte(&client->out, (uint8_t)(FINAL | opcode));
    if (payload.len <= CONTROL_MAX) {
        tally_buf_byte(&client->out, (uint8_t)(MASKED | payload.len));
    } else {
        tally_buf_byte(&client->out, MASKED | 126);
        tally_put_u16(size, (uint16_t)payload.len);
        tally_buf_append(&client->out, size, sizeof size);
    }
    tally_buf_append(&client->out, mask, sizeof mask);
    for (size_t i = 0; i < payload.len; i++) {
        tally_buf_byte(&client->out, payload.data[i] ^ mask[i % MASK_BYTES]);
    }
    return write_all(client, tally_buf_bytes(&client->out), err);
}

enum tally_code stream_client_send(struct stream_client *client, struct tally_slice text,
        struct tally_error *err)
{
    return send_frame(client, TEXT, text, err);
}

/* --- the handshake ---------------------------------------------------------------------------- */

static void put_base64(struct tally_buf *out, const uint8_t *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        unsigned bits = (unsigned)bytes[i] << 16 | (left > 1 ? (unsigned)bytes[i + 1] << 8 : 0) |
                        (left > 2 ? bytes[i + 2] : 0);

        tally_buf_byte(out, (uint8_t)digits[bits >> 18]);
        tally_buf_byte(out, (uint8_t)digits[bits >> 12 & 63]);
        tally_buf_byte(out, (uint8_t)(left > 1 ? digits[bits >> 6 & 63] : '='));
        tally_buf_byte(out, (uint8_t)(left > 2 ? digits[bits & 63] : '='));
    }
}

static enum tally_code ask(struct stream_client *client, struct ops_target target, const char *path,
        struct tally_error *err)
{
    uint8_t key[KEY_BYTES];

    random_bytes(key, sizeof key);
    tally_buf_format(&client->out,
            "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: tally.v1\r\nSec-WebSocket-Key: ",
            path, target.address);
    put_base64(&client->out, key, sizeof key);
    tally_buf_string(&client->out, "\r\n");
    if (target.token[0]) {
        tally_buf_format(&client->out, "Authorization: Bearer %s\r\n", target.token);
    }
    tally_buf_string(&client->out, "\r\n");
    return write_all(client, tally_buf_bytes(&client->out), err);
}

/* Reads what there is. AGAIN: nothing in time, or a signal came. */
static enum tally_code read_some(struct stream_client *client, int timeout_ms,
        struct tally_error *err)
{
    struct pollfd waits = {.fd = client->fd, .events = POLLIN};
    int ready = poll(&waits, 1, timeout_ms);
    uint8_t *room;
    ssize_t got;

    if (ready == 0 || (ready < 0 && errno == EINTR)) {
        return TALLY_AGAIN;
    }
    room = tally_buf_reserve(&client->in, PIECE);
    if (!room) {
        return tally_error_set(err, TALLY_TOO_LARGE, "a message of %s is too large",
                client->address);
    }
    got = recv(client->fd, room, PIECE, 0);
    if (got < 0 && errno == EINTR) {
        return TALLY_AGAIN;
    }
    if (got <= 0) {
        return broken(client, got == 0 ? "was closed" : "was lost", err);
    }
    client->in.len += (size_t)got;
    client->heard_ms = now_ms();
    client->asked = false;
    return TALLY_OK;
}

/* Whatever the body of a refusal is, its detail is what matters. */
static enum tally_code refused(struct stream_client *client, int status, int64_t end_ms,
        struct tally_error *err)
{
    struct ops_answer answer = {.status = status};
    struct tally_slice reason;
    struct tally_error ignored;

    while (now_ms() < end_ms && read_some(client, BODY_MS, &ignored) == TALLY_OK) {
    }
    answer.body = client->in;
    reason = ops_problem(&answer);
    if (reason.len == client->in.len) { /* no problem document */
        reason = TALLY_SLICE("the WebSocket was refused");
    }
    return tally_error_set(err, TALLY_UNAVAILABLE, "%s: status %d: %.*s", client->address, status,
            (int)reason.len, (const char *)reason.data);
}

static enum tally_code read_answer(struct stream_client *client, int timeout_ms, int *status,
        struct tally_error *err)
{
    int64_t end_ms = now_ms() + timeout_ms, number;
    const uint8_t *end;
    enum tally_code code = TALLY_OK;

    do {
        end = client->in.len ? memmem(client->in.data, client->in.len, "\r\n\r\n", 4) : NULL;
        if (!end) {
            code = now_ms() < end_ms && client->in.len < HEAD_MAX
                           ? read_some(client, (int)(end_ms - now_ms()), err)
                           : tally_error_set(err, TALLY_TIMEOUT, "%s gave no answer in time",
                                     client->address);
        }
    } while (!end && (code == TALLY_OK || code == TALLY_AGAIN));
    if (!end) {
        return code;
    }
    if (client->in.len < 12 || memcmp(client->in.data, "HTTP/1.", 7) != 0 ||
            !tally_parse_int(tally_slice_of(client->in.data + 9, 3), &number)) {
        return tally_error_set(err, TALLY_BAD_RECORD, "%s does not speak HTTP", client->address);
    }
    *status = (int)number;
    client->used = (size_t)(end - client->in.data) + 4;
    return number == 101 ? TALLY_OK : refused(client, *status, end_ms, err);
}

enum tally_code stream_client_open(struct ops_target target, const char *path, int timeout_ms,
        struct stream_client **out, int *status, struct tally_error *err)
{
    struct stream_client *client = tally_alloc_zero(1, sizeof *client);
    enum tally_code code;

    *status = 0;
    client->fd = -1;
    client->heard_ms = now_ms();
    snprintf(client->address, sizeof client->address, "%s", target.address);
    tally_buf_init(&client->in, IN_MAX);
    tally_buf_init(&client->out, OUT_MAX);
    code = ops_connect(target.address, timeout_ms, &client->fd, err);
    if (!code) {
        code = ask(client, target, path, err);
    }
    if (!code) {
        code = read_answer(client, timeout_ms, status, err);
    }
    if (code) {
        stream_client_close(client);
        client = NULL;
    }
    *out = client;
    return code;
}

void stream_client_close(struct stream_client *client)
{
    if (!client) {
        return;
    }
    if (client->fd >= 0) {
        static const uint8_t normal[] = {0x03, 0xe8}; /* 1000 */
        struct tally_error ignored;

        (void)!send_frame(client, CLOSE, tally_slice_of(normal, sizeof normal), &ignored);
        close(client->fd);
    }
    tally_buf_deinit(&client->in);
    tally_buf_deinit(&client->out);
    tally_free(client);
}

/* --- reading ---------------------------------------------------------------------------------- */

struct frame {
    unsigned opcode;
    bool final;
    struct tally_slice payload;
    size_t size; /* with its head */
};

/* AGAIN: it is not whole yet. */
static enum tally_code find_frame(const struct stream_client *client, struct frame *frame,
        struct tally_error *err)
{
    const uint8_t *at = client->in.data + client->used;
    size_t left = client->in.len - client->used, head = 2;
    uint64_t size;

    if (left < head) {
        return TALLY_AGAIN;
    }
    size = at[1] & 0x7f;
    head = size == 126 ? 4 : size == 127 ? 10 : 2;
    if (left < head) {
        return TALLY_AGAIN;
    }
    size = size == 126 ? tally_read_u16(at + 2) : size == 127 ? tally_read_u64(at + 2) : size;
    if (at[0] & 0x70 || at[1] & MASKED || size > IN_MAX / 2) {
        return tally_error_set(err, TALLY_BAD_RECORD, "%s sent what is no frame of a server",
                client->address);
    }
    if (left - head < size) {
        return TALLY_AGAIN;
    }
    *frame = (struct frame){.opcode = at[0] & 15,
            .final = at[0] & FINAL,
            .payload = tally_slice_of(at + head, (size_t)size),
            .size = head + (size_t)size};
    return TALLY_OK;
}

static enum tally_code closed(struct stream_client *client, const struct frame *frame,
        struct tally_error *err)
{
    struct tally_slice reason = frame->payload;
    unsigned status = 1005;

    if (reason.len >= 2) {
        status = tally_read_u16(reason.data);
        reason = tally_slice_of(reason.data + 2, reason.len - 2);
    }
    return tally_error_set(err, TALLY_UNAVAILABLE, "%s closed the connection: %u%s%.*s",
            client->address, status, reason.len ? ", " : "", (int)reason.len,
            (const char *)reason.data);
}

/* TALLY_OK: *message, or empty for what was for the connection alone. */
static enum tally_code take_frame(struct stream_client *client, const struct frame *frame,
        struct tally_slice *message, struct tally_error *err)
{
    *message = TALLY_NONE;
    client->used += frame->size;
    if (frame->opcode == CLOSE) {
        return closed(client, frame, err);
    }
    if (frame->opcode == PING && frame->payload.len <= CONTROL_MAX) {
        return send_frame(client, PONG, frame->payload, err);
    }
    if (frame->opcode == TEXT && frame->final) {
        *message = frame->payload;
        return TALLY_OK;
    }
    return frame->opcode == PONG
                   ? TALLY_OK
                   : tally_error_set(err, TALLY_BAD_RECORD, "%s sent a frame of kind %u",
                             client->address, frame->opcode);
}

/* Moves what is left to the front, once much has been told. */
static void compact(struct stream_client *client)
{
    if (client->used == client->in.len || client->used > PIECE) {
        client->in.len -= client->used;
        memmove(client->in.data, client->in.data + client->used, client->in.len);
        client->used = 0;
    }
}

static enum tally_code look_alive(struct stream_client *client, struct tally_error *err)
{
    int64_t silent_ms = now_ms() - client->heard_ms;

    if (silent_ms > DEAD_MS) {
        return broken(client, "is silent", err);
    }
    if (silent_ms > SILENT_MS && !client->asked) {
        client->asked = true;
        return send_frame(client, PING, TALLY_NONE, err);
    }
    return TALLY_OK;
}

enum tally_code stream_client_next(struct stream_client *client, int timeout_ms,
        struct tally_slice *message, struct tally_error *err)
{
    struct frame frame = {.opcode = 0};
    enum tally_code code;

    compact(client);
    for (;;) {
        code = find_frame(client, &frame, err);
        if (code == TALLY_OK) {
            code = take_frame(client, &frame, message, err);
            if (code || message->data) {
                return code;
            }
        } else if (code == TALLY_AGAIN) {
            code = look_alive(client, err);
            code = code ? code : read_some(client, timeout_ms, err);
            if (code) {
                return code;
            }
        } else {
            return code;
        }
    }
}
