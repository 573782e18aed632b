/* http/quick_read.h - which requests a lane may answer. */
#pragma once
#include "http/exchange.h"

/* A read that asks nobody outside of this process and is done in moments, as far as its route and
 * headers tell; its route has been looked for. @thread http */
bool quick_read_is(const struct exchange *exchange);
