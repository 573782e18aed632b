/* http/websocket/websocket_inner.h - requests of the program to itself: what subscribers are shown
 * at the beginning is what GET answers, from whichever instance has it. @thread owner */
#pragma once
#include "http/exchange.h"

struct websocket_inner;
struct websocket_inner *websocket_inner_create(const struct exchange *prototype);
void websocket_inner_destroy(struct websocket_inner *inner);

/* GET of a path with a query ("" or "warehouse=A"). positions: waits until they are applied, "":
 * does not. Returns the status; *body lives until the next call. */
int websocket_inner_get(struct websocket_inner *inner, const char *path, const char *query,
        const char *positions, struct tally_slice *body);
/* The code of the problem that was answered, and its detail. */
const char *websocket_inner_problem(const struct websocket_inner *inner);
/* The body as a document, in the request's arena; NULL: it is none. */
const struct tally_token *websocket_inner_document(struct websocket_inner *inner);
