/* http/exposition.h - GET /metrics, and the metrics of HTTP itself. @thread http */
#pragma once
#include "http/exchange.h"

void exposition_metrics(struct exchange *exchange);
/* Counts one answered request; route NULL: none matched. */
void exposition_count(const struct route *route, int status, int64_t us);
