/* http/forwarding_mark.h - what shows that a request comes from an instance of the group, and not
 * from a client that says so: a cursor of what is asked and for whom, which only a holder of
 * http.cursor.key can make. It gives no right but one: the instance that the client asked has
 * counted the request, so its owner does not. @thread http */
#pragma once
#include "http/exchange.h"

#define FORWARDING_MARK "Tally-Forwarded-Mark"

/* hops: the value of X-Forwarded-For. In the exchange's arena. */
struct tally_slice forwarding_mark_make(struct exchange *exchange, const char *method,
        struct tally_slice target, struct tally_slice hops);
/* Whether the request has one that is good for it. */
bool forwarding_mark_is_good(const struct exchange *exchange);
