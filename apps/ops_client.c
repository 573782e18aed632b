/* apps/ops_client.c - a request and its answer, by Content-Length, chunks, or the end of the
 * connection. Left out: redirects, keep-alive, TLS. */
#include "apps/ops_client.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "engine/base/mem.h"

#define BODY_MAX (64 * 1024 * 1024)
#define HEAD_MAX (64 * 1024)
#define PIECE    (64 * 1024)

struct answer_stream {
    int fd;
    struct tally_buf in; /* read and not yet used: from `used` on */
    size_t used;
    bool ended;
    ops_take_fn take;
    void *context;
    struct ops_answer *answer;
};

static enum tally_code system_error(struct tally_error *err, const char *address, const char *what)
{
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINPROGRESS) {
        return tally_error_set(err, TALLY_TIMEOUT, "%s gave no answer in time", address);
    }
    return tally_error_set(err, TALLY_UNAVAILABLE,
            "could not %s %s: %m: is \"tally run\" running there?", what, address);
}

/* Splits "host:port"; an address that means "all" becomes loopback. */
static bool split_address(const char *address, char *host, size_t size, const char **port)
{
    const char *colon = strrchr(address, ':');

    if (!colon || colon == address || !colon[1] || (size_t)(colon - address) >= size) {
        return false;
    }
    snprintf(host, size, "%.*s", (int)(colon - address), address);
    if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "*") == 0) {
        snprintf(host, size, "127.0.0.1");
    }
    *port = colon + 1;
    return true;
}

enum tally_code ops_connect(const char *address, int timeout_ms, int *fd, struct tally_error *err)
{
    struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = (timeout_ms % 1000) * 1000};
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = NULL;
    char host[256];
    const char *port;
    enum tally_code code = TALLY_OK;

    if (!split_address(address, host, sizeof host, &port)) {
        return tally_error_set(err, TALLY_CONFIG, "\"%s\" is no host:port", address);
    }
    if (getaddrinfo(host, port, &hints, &found) != 0) {
        return tally_error_set(err, TALLY_UNAVAILABLE, "could not resolve \"%s\"", host);
    }
    *fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, 0);
    if (*fd < 0 || setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0 ||
            setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0 ||
            connect(*fd, found->ai_addr, found->ai_addrlen) < 0) {
        code = system_error(err, address, "connect to");
    }
    freeaddrinfo(found);
    return code;
}

static enum tally_code send_all(int fd, const char *address, struct tally_slice bytes,
        struct tally_error *err)
{
    while (bytes.len > 0) {
        ssize_t sent = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0) {
            return system_error(err, address, "write to");
        }
        bytes = tally_slice_of(bytes.data + sent, bytes.len - (size_t)sent);
    }
    return TALLY_OK;
}

static struct tally_slice unread(const struct answer_stream *stream)
{
    return tally_slice_of(stream->in.data + stream->used, stream->in.len - stream->used);
}

/* Reads some more; at the end of the connection only `ended` changes. */
static enum tally_code read_more(struct answer_stream *stream, const char *address,
        struct tally_error *err)
{
    uint8_t *room;
    ssize_t got;

    if (stream->used > 0) {
        stream->in.len -= stream->used;
        memmove(stream->in.data, stream->in.data + stream->used, stream->in.len);
        stream->used = 0;
    }
    room = tally_buf_reserve(&stream->in, PIECE);
    if (!room) {
        return tally_error_set(err, TALLY_TOO_LARGE, "the answer of %s has too long a head",
                address);
    }
    do {
        got = recv(stream->fd, room, PIECE, 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return system_error(err, address, "read from");
    }
    stream->ended = got == 0;
    stream->in.len += (size_t)got;
    return TALLY_OK;
}

/* The next line without its end; the slice lives until the next read. */
static enum tally_code read_line(struct answer_stream *stream, const char *address,
        struct tally_slice *line, struct tally_error *err)
{
    for (;;) {
        struct tally_slice rest = unread(stream);
        const uint8_t *end = rest.len ? memchr(rest.data, '\n', rest.len) : NULL;
        enum tally_code code;

        if (end) {
            size_t len = (size_t)(end - rest.data);

            stream->used += len + 1;
            *line = tally_slice_of(rest.data,
                    len > 0 && rest.data[len - 1] == '\r' ? len - 1 : len);
            return TALLY_OK;
        }
        if (stream->ended) {
            return tally_error_set(err, TALLY_UNAVAILABLE, "%s broke off its answer", address);
        }
        code = read_more(stream, address, err);
        if (code) {
            return code;
        }
    }
}

/* Hands over up to `left` bytes of the body (SIZE_MAX: all until the end). AGAIN: take() said stop.
 */
static enum tally_code read_body(struct answer_stream *stream, const char *address, size_t left,
        struct tally_error *err)
{
    while (left > 0) {
        struct tally_slice bytes = unread(stream);
        enum tally_code code;

        bytes.len = bytes.len < left ? bytes.len : left;
        if (bytes.len > 0) {
            if (stream->take && stream->answer->status == 200) {
                if (!stream->take(stream->context, bytes)) {
                    return TALLY_AGAIN;
                }
            } else {
                tally_buf_slice(&stream->answer->body, bytes);
            }
            stream->used += bytes.len;
            left -= left == SIZE_MAX ? 0 : bytes.len;
            continue;
        }
        if (stream->ended) {
            return left == SIZE_MAX ? TALLY_OK
                                    : tally_error_set(err, TALLY_UNAVAILABLE,
                                              "%s broke off its answer", address);
        }
        code = read_more(stream, address, err);
        if (code) {
            return code;
        }
    }
    return TALLY_OK;
}

static enum tally_code read_chunks(struct answer_stream *stream, const char *address,
        struct tally_error *err)
{
    for (;;) {
        struct tally_slice line;
        char text[32];
        size_t size;
        enum tally_code code = read_line(stream, address, &line, err);

        if (code) {
            return code;
        }
        snprintf(text, sizeof text, "%.*s", (int)line.len, (const char *)line.data);
        size = strtoul(text, NULL, 16);
        if (size == 0) {
            return TALLY_OK;
        }
        code = read_body(stream, address, size, err);
        if (code == TALLY_OK) {
            code = read_line(stream, address, &line, err);
        }
        if (code) {
            return code;
        }
    }
}

struct answer_head {
    bool chunked, has_length;
    size_t length;
};

static bool header_is(struct tally_slice line, const char *name, struct tally_slice *value)
{
    size_t len = strlen(name);

    if (line.len <= len || line.data[len] != ':' ||
            strncasecmp((const char *)line.data, name, len) != 0) {
        return false;
    }
    *value = tally_slice_of(line.data + len + 1, line.len - len - 1);
    while (value->len > 0 && value->data[0] == ' ') {
        *value = tally_slice_of(value->data + 1, value->len - 1);
    }
    return true;
}

static enum tally_code read_head(struct answer_stream *stream, const char *address,
        struct answer_head *head, struct tally_error *err)
{
    struct tally_slice line, value;
    int64_t number;
    enum tally_code code = read_line(stream, address, &line, err);

    if (code) {
        return code;
    }
    if (line.len < 12 || !tally_slice_starts(line, TALLY_SLICE("HTTP/1.")) ||
            !tally_parse_int(tally_slice_of(line.data + 9, 3), &number)) {
        return tally_error_set(err, TALLY_BAD_RECORD, "%s does not speak HTTP", address);
    }
    stream->answer->status = (int)number;
    for (;;) {
        code = read_line(stream, address, &line, err);
        if (code || line.len == 0) {
            return code;
        }
        if (header_is(line, "Content-Length", &value) && tally_parse_int(value, &number) &&
                number >= 0) {
            head->has_length = true;
            head->length = (size_t)number;
        } else if (header_is(line, "Transfer-Encoding", &value)) {
            head->chunked = tally_slice_equal(value, TALLY_SLICE("chunked"));
        } else if (header_is(line, "Tally-Log-Position", &value)) {
            (void)snprintf(stream->answer->position, sizeof stream->answer->position, "%.*s",
                    (int)value.len, (const char *)value.data);
        }
    }
}

static enum tally_code ask(const char *method, struct ops_target target, const char *path,
        int timeout_ms, ops_take_fn take, void *context, struct ops_answer *answer,
        struct tally_error *err)
{
    struct answer_stream stream = {.fd = -1, .take = take, .context = context, .answer = answer};
    struct answer_head head = {.chunked = false};
    const char *address = target.address;
    struct tally_buf request;
    enum tally_code code;

    answer->status = 0;
    answer->position[0] = '\0';
    tally_buf_init(&answer->body, BODY_MAX);
    tally_buf_init(&stream.in, HEAD_MAX + PIECE);
    tally_buf_init(&request, HEAD_MAX);
    tally_buf_format(&request,
            "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nAccept: */*\r\n%s", method, path,
            address, strcmp(method, "POST") == 0 ? "Content-Length: 0\r\n" : "");
    if (target.token[0]) {
        tally_buf_format(&request, "Authorization: Bearer %s\r\n", target.token);
    }
    tally_buf_string(&request, "\r\n");
    code = ops_connect(address, timeout_ms, &stream.fd, err);
    if (code)
        goto out;
    code = send_all(stream.fd, address, tally_buf_bytes(&request), err);
    if (code)
        goto out;
    code = read_head(&stream, address, &head, err);
    if (code)
        goto out;
    code = head.chunked
                   ? read_chunks(&stream, address, err)
                   : read_body(&stream, address, head.has_length ? head.length : SIZE_MAX, err);
    if (code == TALLY_AGAIN) {
        code = TALLY_OK;
    }
    if (code == TALLY_OK && answer->body.failed) {
        code = tally_error_set(err, TALLY_TOO_LARGE, "the answer of %s is too large", address);
    }
out:
    if (stream.fd >= 0) {
        close(stream.fd);
    }
    tally_buf_deinit(&stream.in);
    tally_buf_deinit(&request);
    return code;
}

enum tally_code ops_stream(struct ops_target target, const char *path, int timeout_ms,
        ops_take_fn take, void *context, struct ops_answer *answer, struct tally_error *err)
{
    return ask("GET", target, path, timeout_ms, take, context, answer, err);
}

enum tally_code ops_get(struct ops_target target, const char *path, int timeout_ms,
        struct ops_answer *answer, struct tally_error *err)
{
    return ops_stream(target, path, timeout_ms, NULL, NULL, answer, err);
}

enum tally_code ops_post(struct ops_target target, const char *path, int timeout_ms,
        struct ops_answer *answer, struct tally_error *err)
{
    return ask("POST", target, path, timeout_ms, NULL, NULL, answer, err);
}

void ops_answer_deinit(struct ops_answer *answer)
{
    tally_buf_deinit(&answer->body);
}

void ops_encode(struct tally_buf *path, struct tally_slice text)
{
    static const char plain[] =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~:-";

    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] && strchr(plain, text.data[i])) {
            tally_buf_byte(path, text.data[i]);
        } else {
            tally_buf_format(path, "%%%02X", text.data[i]);
        }
    }
}

/* Length of the string that begins there and is not ended by `end`; quotes and strokes lose their
 * escapes. */
static size_t unescape(uint8_t *text, const uint8_t *end)
{
    size_t len = 0;

    for (const uint8_t *at = text; at < end && *at != '"'; at++) {
        at += *at == '\\' && at + 1 < end && (at[1] == '"' || at[1] == '\\');
        text[len++] = *at;
    }
    return len;
}

struct tally_slice ops_problem(struct ops_answer *answer)
{
    static const char *const names[] = {"\"detail\":\"", "\"title\":\""};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t len = strlen(names[i]);
        uint8_t *at = answer->body.len ? memmem(answer->body.data, answer->body.len, names[i], len)
                                       : NULL;

        if (at) {
            return tally_slice_of(at + len,
                    unescape(at + len, answer->body.data + answer->body.len));
        }
    }
    return tally_buf_bytes(&answer->body);
}
