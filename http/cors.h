/* http/cors.h - which pages of browsers may read answers: those of the origins in
 * http.cors.origins, exactly; never all, never with credentials. Others are answered without a word
 * about it, and their browser keeps the answer from them. @thread http */
#pragma once
#include "http/exchange.h"

/* Adds the fields that a listed origin needs; to any answer. */
void cors_headers(struct exchange *exchange);
/* Whether the request asks, for a listed origin, what it may send to a path that exists: then 204
 * is answered. */
bool cors_is_listed(const struct exchange *exchange, struct tally_slice origin);
bool cors_preflight(struct exchange *exchange);
