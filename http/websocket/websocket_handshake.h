/* http/websocket/websocket_handshake.h - from a request to a socket that the gateway owns.
 * civetweb has a thread for each WebSocket, reads fragmented frames wrongly and checks no UTF-8. So
 * the request is answered like any other, and then its connection is taken away from the library:
 * the descriptor is duplicated for the gateway, and a socket without an other end is put in its
 * place, which the library closes in its own way. The worker is free as soon as that is done.
 * @thread http */
#pragma once
#include "http/exchange.h"

struct websocket_gateway;
enum websocket_protocol { WEBSOCKET_TALLY, WEBSOCKET_GRAPHQL, WEBSOCKET_PROTOCOLS };

/* Answers 101 and hands the socket to the gateway, or answers why not. */
void websocket_handshake(struct exchange *exchange, enum websocket_protocol protocol);
/* Whether a request wants to be a WebSocket. */
bool websocket_handshake_wanted(const struct request *request);
/* Sec-WebSocket-Accept of a key. */
#define WEBSOCKET_ACCEPT_LEN 28
void websocket_handshake_accept(struct tally_slice key,
        char accept[static WEBSOCKET_ACCEPT_LEN + 1]);
