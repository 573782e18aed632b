/* http/websocket/websocket_graphql.h - the protocol graphql-transport-ws of GET /graphql:
 * subscriptions, and queries and mutations beside them.
 *
 *   OPENED --[connection_init]--> READY
 *   OPENED --[nothing for 3 s]--> closed 4408    any --[what the protocol forbids]--> closed 44xx
 */
#pragma once
#include "http/websocket/websocket_gateway.h"

struct websocket;
extern const struct websocket_protocol_ops websocket_graphql_ops; /* context: struct websocket */
/* Sends what operations have come to. @thread owner: the gateway's */
void websocket_graphql_work(struct websocket *websocket);
