/* http/router.h - from method and path to a route. The table is routes.def. @thread any */
#pragma once
#include "http/auth.h"
#include "http/exchange.h"

enum route_id {
#define X(id, method, pattern, handler, permission, by, answers, queries, help) ROUTE_##id,
#include "http/routes.def"
#undef X
    ROUTES
};

struct route {
    enum route_id id;
    enum request_method method;
    const char *pattern; /* "/v1/stock/{sku}" */
    void (*handler)(struct exchange *exchange);
    enum permission permission; /* checked by auth_admit */
    const char *by;             /* "K", "S", "R", "P", "process" */
    const char *answers;        /* media type of success */
    const char *queries;        /* names of its parameters, joined by commas */
    const char *help;
};

const struct route *router_route(enum route_id id);
/* Matches the request and fills its params. NULL: no such path, or, with *allowed not empty, not
 * this method; *allowed is then the value of Allow. */
#define ROUTER_ALLOW_LEN 48
const struct route *router_find(struct request *request, char allowed[static ROUTER_ALLOW_LEN]);
