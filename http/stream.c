/* http/stream.c - see stream.h. */
#include "http/stream.h"

#include <civetweb.h>
#include <limits.h>

enum { CHUNK_BYTES = 64 * 1024, PENDING_BYTES_MAX = 32 * 1024 * 1024, CHUNK_HEAD_LEN = 32 };

static void write_all(struct stream *stream, struct tally_slice bytes)
{
    while (!stream->failed && bytes.len > 0) {
        int written = mg_write(stream->exchange->connection, bytes.data, bytes.len);

        if (written <= 0) {
            stream->failed = true;
            break;
        }
        bytes = tally_slice_of(bytes.data + written, bytes.len - (size_t)written);
    }
}

void stream_begin(struct stream *stream, struct exchange *exchange, const char *content_type)
{
    struct response *response = &exchange->response;

    *stream = (struct stream){.exchange = exchange};
    stream->chunked = strcmp(exchange->request.version, "1.1") == 0;
    stream->failed = exchange->request.method == REQUEST_HEAD;
    tally_buf_init(&stream->pending, PENDING_BYTES_MAX);
    response_begin(response, 200, content_type);
    response->streamed = true;
    exchange->keep_alive = exchange->keep_alive && stream->chunked;
    response->close = !exchange->keep_alive;
    response_head(response, exchange->date, exchange->keep_alive, stream->chunked,
            &stream->pending);
    if (stream->failed) {
        stream->failed = false;
        write_all(stream, tally_buf_bytes(&stream->pending));
        stream->failed = true; /* nothing may follow the head */
    } else {
        write_all(stream, tally_buf_bytes(&stream->pending));
    }
    tally_buf_clear(&stream->pending);
}

/* One chunk, with its length in front, in one write. */
static void flush(struct stream *stream)
{
    struct tally_buf framed;

    if (stream->pending.len == 0 || stream->failed) {
        return;
    }
    if (!stream->chunked) {
        write_all(stream, tally_buf_bytes(&stream->pending));
    } else {
        tally_buf_init(&framed, PENDING_BYTES_MAX + CHUNK_HEAD_LEN);
        tally_buf_format(&framed, "%zx\r\n", stream->pending.len);
        tally_buf_slice(&framed, tally_buf_bytes(&stream->pending));
        tally_buf_string(&framed, "\r\n");
        write_all(stream, tally_buf_bytes(&framed));
        tally_buf_deinit(&framed);
    }
    tally_buf_clear(&stream->pending);
}

bool stream_flush_if_full(struct stream *stream)
{
    if (stream->pending.failed) {
        stream->failed = true; /* one row over the limit: cut off */
    }
    if (stream->pending.len >= CHUNK_BYTES) {
        flush(stream);
    }
    return !stream->failed;
}

void stream_end(struct stream *stream, bool whole)
{
    bool head_only = stream->exchange->request.method == REQUEST_HEAD;

    if (whole && !head_only && !stream->pending.failed) {
        flush(stream);
        if (stream->chunked) {
            write_all(stream, TALLY_SLICE("0\r\n\r\n"));
        }
    }
    if (!head_only && (!whole || stream->failed || stream->pending.failed)) {
        stream->exchange->response.close = true;
    }
    tally_buf_deinit(&stream->pending);
}
