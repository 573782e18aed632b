/* http/health.h - probes: /livez, /readyz, /startupz and their other names. @thread http */
#pragma once
#include "http/exchange.h"

void health_live(struct exchange *exchange);
void health_ready(struct exchange *exchange);
void health_startup(struct exchange *exchange);
