/* http/saga_query.h - what several owners have agreed on: reservations, transfers. @thread http */
#pragma once
#include "http/exchange.h"

void saga_query_reservation(struct exchange *exchange); /* GET /v1/reservations/{id} */
void saga_query_transfer(struct exchange *exchange);    /* GET /v1/transfers/{id} */
