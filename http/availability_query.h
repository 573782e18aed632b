/* http/availability_query.h - what of many SKUs can be sold now. @thread http */
#pragma once
#include "http/exchange.h"

void availability_query(struct exchange *exchange); /* POST /v1/availability:batch */

struct tally_schema;
extern const struct tally_schema availability_query_schema; /* of its body */
