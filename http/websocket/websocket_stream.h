/* http/websocket/websocket_stream.h - the protocol of GET /v1/stream, tally.v1: JSON messages of a
 * client, subscriptions with credit. */
#pragma once
#include "http/websocket/websocket_gateway.h"

void websocket_stream_route(struct exchange *exchange);          /* GET /v1/stream. @thread http */
extern const struct websocket_protocol_ops websocket_stream_ops; /* context: struct websocket */
