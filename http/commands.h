/* http/commands.h - POST /v1/commands/{type} and GET /v1/commands/{command_id}. @thread http */
#pragma once
#include "http/exchange.h"

void commands_send(struct exchange *exchange);
void commands_read(struct exchange *exchange);
