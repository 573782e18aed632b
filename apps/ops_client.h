/* apps/ops_client.h - one HTTP request to a running instance, for tools beside it.
 * Plain sockets, HTTP/1.1 without TLS, one connection a request. @thread owner */
#pragma once
#include "engine/base/bytes.h"

struct ops_answer {
    int status;         /* 200 ... */
    char position[300]; /* Tally-Log-Position; "": there is none */
    struct tally_buf body;
};

/* address: host:port as in http.listen ("0.0.0.0:8080" is asked on loopback); token: credentials
 * for it, "" for none. */
struct ops_target {
    const char *address, *token;
};
#define OPS_TARGET(config) ((struct ops_target){(config)->http_listen, (config)->http_token})

/* path: with query,
 * already encoded. The body goes to answer->body, which is made here: ops_answer_deinit in every
 * case. UNAVAILABLE: nobody listens, or it broke off; TIMEOUT; TOO_LARGE; BAD_RECORD: no HTTP. */
TALLY_MUST_CHECK enum tally_code ops_get(struct ops_target target, const char *path, int timeout_ms,
        struct ops_answer *answer, struct tally_error *err);
/* The same with POST and no body. */
TALLY_MUST_CHECK enum tally_code ops_post(struct ops_target target, const char *path,
        int timeout_ms, struct ops_answer *answer, struct tally_error *err);
/* A socket to the address, which gives up reading and writing after timeout_ms; *fd is to be closed
 * in every case, if it is not -1. */
TALLY_MUST_CHECK enum tally_code ops_connect(const char *address, int timeout_ms, int *fd,
        struct tally_error *err);
void ops_answer_deinit(struct ops_answer *answer);
/* As ops_get, but every piece of a 200 body goes to take() as it comes, so that it may be of any
 * size; another status leaves the body in answer. take() false: stop, TALLY_OK. */
typedef bool (*ops_take_fn)(void *context, struct tally_slice bytes);
TALLY_MUST_CHECK enum tally_code ops_stream(struct ops_target target, const char *path,
        int timeout_ms, ops_take_fn take, void *context, struct ops_answer *answer,
        struct tally_error *err);
/* Appends text as one query value or path segment: everything but A-Za-z0-9._~:- as %XX. */
void ops_encode(struct tally_buf *path, struct tally_slice text);
/* What a problem+json body says ("detail" or "title"), for a message; borrows from it, and takes
 * escapes out of it: once an answer. */
struct tally_slice ops_problem(struct ops_answer *answer);
