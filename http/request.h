/* http/request.h - one request as the server library read it, and the few questions about it.
 * Invariants
 *  (1) Path, headers and body borrow from the connection; they live until the answer is written.
 *  (2) The path is never decoded; query values are, once, by request_query_parse.
 * @thread http */
#pragma once
#include "engine/base/bytes.h"
#include "engine/base/mem.h"

#define REQUEST_HEADERS_MAX 64
#define REQUEST_PARAMS_MAX  3
#define REQUEST_QUERIES_MAX 8

enum request_method { REQUEST_GET, REQUEST_HEAD, REQUEST_POST, REQUEST_OTHER };

/* As in the library's buffer, each with a NUL behind it: guard.c looks at what lies between. */
struct request_header {
    const char *name, *value;
};

struct request_parameter {
    struct tally_slice name, value;
};

struct request {
    enum request_method method;
    const char *method_name;        /* "GET"; NULL: the request could not be read */
    const char *version;            /* "1.1" */
    size_t skipped;                 /* bytes of white space that came before the method */
    struct tally_slice path, query; /* query: behind '?', data NULL without one */
    struct request_header headers[REQUEST_HEADERS_MAX];
    size_t header_count;
    uint32_t letters; /* headers begin with: bit 1 A to bit 26 Z; bit 0: known, or all is 0 */
    const char *peer; /* address of the other end; "": not known */
    bool from_loopback;
    struct tally_slice params[REQUEST_PARAMS_MAX]; /* of the route's pattern, in order */
    struct request_parameter queries[REQUEST_QUERIES_MAX];
    size_t query_count;
    struct tally_slice body;
};

enum request_method request_method_of(const char *name);
/* The first header of this name, without surrounding spaces; data NULL: there is none. */
struct tally_slice request_header(const struct request *request, const char *name);
size_t request_header_count(const struct request *request, const char *name);
/* Splits and decodes the query. Names must be in `allowed` ("a,b,c") and come once. false: *wrong
 * says what is not right. Decoded values live in the arena. */
bool request_query_parse(struct request *request, const char *allowed, struct tally_arena *arena,
        struct tally_slice *name, const char **wrong);
/* A query value; data NULL: absent, len 0: empty. */
struct tally_slice request_query(const struct request *request, const char *name);
/* Whether the client wants to go on with this connection; the library decides in the same way. */
bool request_keep_alive(const struct request *request);
/* Walks a list whose items are divided by `divider`, trimmed; quoted strings hold no dividers.
 * *rest moves; false: no more. */
bool request_list_next(struct tally_slice *rest, char divider, struct tally_slice *item);
struct tally_slice request_trim(struct tally_slice text);
bool request_equals(struct tally_slice text, const char *other); /* ASCII, without case */
