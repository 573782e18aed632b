/* http/limits.h - how many requests a client may make: policies of the settings, counted by
 * engine/limiter.h, told in the RateLimit fields (draft-ietf-httpapi-ratelimit-headers-11).
 * A client is the address at the other end of the connection; behind a proxy that is trusted, the
 * last one in X-Forwarded-For. @thread http, but for what says init */
#pragma once
#include "engine/limiter.h"
#include "http/exchange.h"

#define LIMITS_CLIENT_LEN_MAX 64 /* of what X-Forwarded-For calls a client */

enum limits_policy { LIMITS_NONE, LIMITS_SEARCH, LIMITS_READ, LIMITS_WRITE, LIMITS_POLICIES };

struct limits {
    struct tally_limiter *limiter; /* NULL: nothing is limited */
    const struct tally_config *config;
    struct tally_limit policies[LIMITS_POLICIES]; /* quota 0: off */
    bool off;                                     /* all of them, or there is no limiter */
};
/* limiter may be NULL; it and config outlive the limits. @thread init */
void limits_init(struct limits *limits, const struct tally_config *config,
        struct tally_limiter *limiter);
/* Which policy a route is under. Probes, metrics, documents and operations are under none. */
enum limits_policy limits_policy_of(const struct route *route);
/* The client that is counted: borrows from the request. */
struct tally_slice limits_client(const struct limits *limits, const struct request *request);
/* Whether the request is one that is counted. */
bool limits_count(const struct exchange *exchange);
/* Counts the request and adds the fields. false: 429 is answered. */
bool limits_take(struct exchange *exchange);
