/* http/commands_batch.h - many commands in one request. @thread http */
#pragma once
#include "http/exchange.h"

void commands_batch_send(struct exchange *exchange); /* POST /v1/commands:batch */
