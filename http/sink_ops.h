/* http/sink_ops.h - what operators see of sinks, and ask of them. @thread http */
#pragma once
#include "http/exchange.h"

void sink_ops_list(struct exchange *exchange);    /* GET /v1/ops/sinks */
void sink_ops_pause(struct exchange *exchange);   /* POST /v1/ops/sinks/{sink}/pause */
void sink_ops_resume(struct exchange *exchange);  /* POST /v1/ops/sinks/{sink}/resume */
void sink_ops_rebuild(struct exchange *exchange); /* POST /v1/ops/sinks/{sink}/rebuild */
