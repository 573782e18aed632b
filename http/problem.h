/* http/problem.h - answers that say no, as application/problem+json (RFC 9457). Every 4xx and 5xx
 * but those of health is made here. @thread http */
#pragma once
#include "engine/base/error.h"
#include "http/exchange.h"

enum problem_code {
    PROBLEM_NONE,
#define X(code, status, retryable, title, help) PROBLEM_##code,
#include "http/problem.def"
#undef X
    PROBLEM_CODES
};
int problem_status(enum problem_code code);
const char *problem_name(enum problem_code code); /* "NOT_FOUND" */

/* What a code says of itself, whether it is one of HTTP, of the business or of a failure. */
struct problem_account {
    const char *name, *title;
    const char *help; /* what it means and what to do */
    int status;
    bool retryable;
};
struct problem_account problem_account(enum problem_code code);

/* One of HTTP's own codes; the detail is formatted, NULL: none. */
void problem_answer(struct exchange *exchange, enum problem_code code, const char *detail, ...)
        TALLY_PRINTF(3, 4);
/* RATE_LIMITED, until wait_s have passed. */
void problem_limited(struct exchange *exchange, const char *policy, int64_t wait_s);
/* A code of the business that HTTP finds by itself. errors: rules that a field breaks, or NULL. */
void problem_reject(struct exchange *exchange, enum tally_reject code,
        const struct tally_violations *errors, const char *detail, ...) TALLY_PRINTF(4, 5);
/* The stored refusal of a command: its outcome record, parsed. */
void problem_outcome(struct exchange *exchange, enum tally_reject code,
        const struct tally_token *outcome);
enum problem_code problem_of_error(enum tally_code code); /* what it means to a client */
/* An error of the engine, answered by what it means to a client. */
void problem_error(struct exchange *exchange, enum tally_code code, const struct tally_error *err);
