/* http/forwarding.h - requests that another instance answers, because it owns the task.
 * Invariants
 *  (1) A request that another instance has forwarded is never forwarded again: it is answered here,
 *      or with 421, and who sent it asks at most one other instance.
 *  (2) An answer is passed on as it came: status, body, and the header fields that speak of it.
 *      Those about the client's own connection and quota are this instance's. @thread http */
#pragma once
#include "http/exchange.h"

bool forwarding_is_forwarded(const struct exchange *exchange); /* by another instance */
/* Lets the owner of the task answer. false: there is none that can be asked, and nothing is
 * answered. */
bool forwarding_answer(struct exchange *exchange, const char *topology, int32_t partition);
/* Sends bytes of this instance's own to another, for this request. false: no answer. */
bool forwarding_post(struct exchange *exchange, const char *address, const char *path,
        struct tally_slice body, int64_t wait_ms, struct tally_forward_answer *answer);
