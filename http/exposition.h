/* http/exposition.h - GET /metrics, and the metrics of HTTP itself. @thread http */
#pragma once
#include "http/exchange.h"

void exposition_metrics(struct exchange *exchange);
/* Counts one answered request; route NULL: none matched. */
void exposition_count(const struct route *route, int status, int64_t us);

/* Requests of one route with one status that are answered together, and counted at once: those of
 * another are counted before it begins. */
struct exposition_round {
    int64_t begun_us; /* mono */
    const struct route *route;
    int status;
    int64_t count;
};
void exposition_round_add(struct exposition_round *round, const struct route *route, int status);
void exposition_round_end(struct exposition_round *round);
