/* http/router.h - from method and path to a route. The table is routes.def. @thread any */
#pragma once
#include "http/exchange.h"

enum route_id {
#define X(id, method, pattern, handler, permission, by, answers, queries, help) ROUTE_##id,
#include "http/routes.def"
#undef X
    ROUTES
};

/* Who may use a route; checked by router_authorize. */
enum permission { PERMISSION_PUBLIC, PERMISSION_READER, PERMISSION_WRITER, PERMISSION_OPERATOR };

struct route {
    enum route_id id;
    enum request_method method;
    const char *pattern; /* "/v1/stock/{sku}" */
    void (*handler)(struct exchange *exchange);
    enum permission permission;
    const char *by;      /* "K", "S", "R", "P", "process" */
    const char *answers; /* media type of success */
    const char *queries; /* names of its parameters, joined by commas */
    const char *help;
};

const struct route *router_route(enum route_id id);
/* Matches the request and fills its params. NULL: no such path, or, with *allowed not empty, not
 * this method; *allowed is then the value of Allow. */
#define ROUTER_ALLOW_LEN 48
const struct route *router_find(struct request *request, char allowed[static ROUTER_ALLOW_LEN]);
/* Without credentials every client has every role, but operations are for loopback only. */
bool router_authorize(const struct request *request, enum permission permission);
