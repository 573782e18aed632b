/* http/stream.h - an answer of any length, written while it is made: chunked, or up to the end of
 * the connection for HTTP/1.0. One that cannot be finished is cut off, so that it cannot be taken
 * for whole. @thread http */
#pragma once
#include "http/exchange.h"

struct stream {
    struct exchange *exchange;
    struct tally_buf pending;
    bool chunked, failed; /* failed: the client is gone or too slow */
};
/* Status 200 with the headers added so far. A HEAD request gets no more than that. */
void stream_begin(struct stream *stream, struct exchange *exchange, const char *content_type);
/* Room for more lines, written when there are enough. false: failed, stop. */
bool stream_flush_if_full(struct stream *stream);
void stream_end(struct stream *stream, bool whole);
