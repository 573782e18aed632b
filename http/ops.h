/* http/ops.h - what operators see: tasks, stores, dumps. @thread http */
#pragma once
#include "http/exchange.h"

void ops_tasks(struct exchange *exchange); /* GET /v1/ops/tasks */
void ops_store(struct exchange *exchange); /* GET /v1/ops/stores/{topology}/{store} */
void ops_dump(struct exchange *exchange);  /* GET /v1/ops/dump */
