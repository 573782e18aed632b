/* engine/forward.h - the other instances of the group: which of them owns a task, and what it
 * answers to a request. Implementation: connectors/http_forward.c; the program gives it to http/,
 * NULL where nobody can be asked.
 * Invariants
 *  (1) A call takes a bounded time: who owns a task at most TALLY_OWNER_WAIT_MS, a request its
 *      timeout.
 *  (2) What is told here is only where to ask: the instance that is asked says by 421 that it does
 *      not own the task, so nothing that is out of date makes an answer wrong.
 *  (3) A request goes to addresses that members of the group have published, and to no other.
 * @thread any  @locks none held by the caller */
#pragma once
#include "engine/base/bytes.h"

#define TALLY_ADDRESS_BYTES_MAX 128 /* host:port and NUL */
#define TALLY_OWNER_WAIT_MS     300

struct tally_forward_header {
    const char *name;
    struct tally_slice value; /* without CR, LF, NUL */
};
struct tally_forward_request {
    const char *address;
    const char *method;        /* "GET", "POST" */
    struct tally_slice target; /* path and query */
    const struct tally_forward_header *headers;
    size_t header_count;
    struct tally_slice body; /* of POST */
    int64_t timeout_ms;      /* of all of it */
};
/* Buffers are the caller's; a larger answer is TOO_LARGE. */
struct tally_forward_answer {
    int status;
    struct tally_buf headers; /* lines, each "Name: value" and LF */
    struct tally_buf body;
};

struct tally_forward;
struct tally_forward_ops {
    /* The address of the instance that the group has given the task to. UNAVAILABLE: nobody has it
     * as far as is known, or this instance, or one that cannot be asked now; *err says which. */
    enum tally_code (*owner)(struct tally_forward *forward, const char *topology, int32_t partition,
            char address[static TALLY_ADDRESS_BYTES_MAX], struct tally_error *err);
    /* The instance there has said that it does not own what it was believed to: owner() will not
     * answer with what was known until now. */
    void (*doubt)(struct tally_forward *forward);
    /* Any answer is TALLY_OK. UNAVAILABLE, TIMEOUT: none; it may have been carried out. QUEUE_FULL:
     * not sent, too many are on their way. */
    enum tally_code (*send)(struct tally_forward *forward,
            const struct tally_forward_request *request, struct tally_forward_answer *answer,
            struct tally_error *err);
    void (*destroy)(struct tally_forward *forward);
};
struct tally_forward {
    const struct tally_forward_ops *ops;
};
