/* http/response.h - an answer while it is made: status, header lines and body in buffers that the
 * worker keeps, put together for one write. @thread http */
#pragma once
#include "engine/base/bytes.h"
#include "http/request.h"
#include "schemas/serde.h"

#define RESPONSE_BODY_BYTES_MAX (16 * 1024 * 1024)

#define RESPONSE_JSON    "application/json"
#define RESPONSE_GRAPHQL "application/graphql-response+json"
#define RESPONSE_TEXT    "text/plain; charset=utf-8"
#define RESPONSE_YAML    "application/yaml"
#define RESPONSE_NDJSON  "application/x-ndjson"
#define RESPONSE_BYTES   "application/octet-stream"
#define RESPONSE_METRICS "text/plain; version=0.0.4; charset=utf-8"
#define RESPONSE_HTML    "text/html; charset=utf-8"
#define RESPONSE_PAGES   RESPONSE_JSON "," RESPONSE_TEXT "," RESPONSE_HTML
#define RESPONSE_PROBLEM "application/problem+json"

struct response {
    int status; /* 0: no answer yet */
    const char *content_type;
    const char *cache_control;
    struct tally_buf headers; /* whole lines */
    struct tally_buf body;
    struct tally_buf scratch; /* of who makes the answer, for one call */
    bool close;               /* end the connection after it */
    bool streamed;            /* the handler has written it itself */
};

void response_init(struct response *response);
void response_deinit(struct response *response);
void response_reset(struct response *response); /* gives back what was unusually large */

/* Adds a header line; values hold no CR or LF. */
void response_header(struct response *response, const char *name, const char *format, ...)
        TALLY_PRINTF(3, 4);
/* Starts an answer with a body; what was in the body is dropped. */
void response_begin(struct response *response, int status, const char *content_type);
/* response_begin with JSON, and a writer on the body. */
void response_json(struct response *response, int status, struct tally_writer *writer);
/* An answer without a body: 304. */
void response_empty(struct response *response, int status);

/* Status line and headers up to the empty line; chunked: without a length. */
void response_head(const struct response *response, const char *date, bool keep_alive, bool chunked,
        struct tally_buf *out);
/* All of the answer; a HEAD request gets no body. */
void response_compose(const struct response *response, enum request_method method, const char *date,
        bool keep_alive, struct tally_buf *out);
#define RESPONSE_DATE_LEN 29
void response_date(int64_t wall_ms, char text[static RESPONSE_DATE_LEN + 1]); /* IMF-fixdate */
