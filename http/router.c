/* http/router.c - see router.h.
 * Invariants
 *  (1) A path with any character but A-Z a-z 0-9 . _ ~ : - / matches nothing: nothing is ever
 *      decoded or normalised, so no path has a second spelling.
 *  (2) A {name} takes one whole segment that is not empty. */
#include "http/router.h"

#include <stdio.h>

#include "http/api_documents.h"
#include "http/availability_query.h"
#include "http/commands.h"
#include "http/commands_batch.h"
#include "http/elsewhere.h"
#include "http/exposition.h"
#include "http/graphql/graphql_route.h"
#include "http/health.h"
#include "http/explain_query.h"
#include "http/ledger_query.h"
#include "http/list_query.h"
#include "http/low_stock_query.h"
#include "http/ops.h"
#include "http/problem_page.h"
#include "http/sink_ops.h"
#include "http/product_query.h"
#include "http/saga_query.h"
#include "http/stock_query.h"
#include "http/websocket/websocket_stream.h"

static const struct route routes[ROUTES] = {
#define X(id, method, pattern, handler, permission, by, answers, queries, help)                  \
    [ROUTE_##id] = {ROUTE_##id, REQUEST_##method, pattern, handler, PERMISSION_##permission, by, \
            answers, queries, help},
#include "http/routes.def"
#undef X
};

static const uint8_t pattern_lens[ROUTES] = {
#define X(id, method, pattern, handler, permission, by, answers, queries, help) \
    [ROUTE_##id] = sizeof(pattern) - 1,
#include "http/routes.def"
#undef X
};

const struct route *router_route(enum route_id id)
{
    return &routes[id];
}

static bool is_plain(struct tally_slice path)
{
    static const bool plain[256] = {['A' ... 'Z'] = true,
            ['a' ... 'z'] = true,
            ['0' ... '9'] = true,
            ['.'] = true,
            ['_'] = true,
            ['~'] = true,
            [':'] = true,
            ['-'] = true,
            ['/'] = true};

    for (size_t i = 0; i < path.len; i++) {
        if (!plain[path.data[i]]) {
            return false;
        }
    }
    return true;
}

/* Nearly all routes are told apart by two letters: the last one, and the one behind "/v1/" or,
 * where there is no such, behind the slash. */
static bool is_alike(const char *pattern, size_t len, struct tally_slice path)
{
    char last = pattern[len - 1];

    return path.len < 5 || ((last == '}' || (uint8_t)last == path.data[path.len - 1]) &&
                                   pattern[1] == path.data[1] &&
                                   (pattern[1] != 'v' || (uint8_t)pattern[4] == path.data[4]));
}

static bool matches(const char *pattern, struct tally_slice path,
        struct tally_slice params[REQUEST_PARAMS_MAX])
{
    size_t in = 0, count = 0;

    while (*pattern) {
        size_t from = in;

        if (*pattern != '{') {
            if (in == path.len || (uint8_t)*pattern++ != path.data[in++]) {
                return false;
            }
            continue;
        }
        while (in < path.len && path.data[in] != '/') {
            in++;
        }
        if (in == from) {
            return false;
        }
        tally_assert(count < REQUEST_PARAMS_MAX);
        params[count++] = tally_slice_of(path.data + from, in - from);
        pattern = strchr(pattern, '}') + 1;
    }
    return in == path.len;
}

static void allow(char allowed[static ROUTER_ALLOW_LEN], const char *methods)
{
    size_t len = strlen(allowed);

    if (!strstr(allowed, methods)) {
        snprintf(allowed + len, ROUTER_ALLOW_LEN - len, "%s%s", len > 0 ? ", " : "", methods);
    }
}

const struct route *router_find(struct request *request, char allowed[static ROUTER_ALLOW_LEN])
{
    enum request_method wanted = request->method == REQUEST_HEAD ? REQUEST_GET : request->method;

    allowed[0] = '\0';
    if (!is_plain(request->path)) {
        return NULL;
    }
    for (size_t i = 0; i < ROUTES; i++) {
        if (routes[i].method == wanted &&
                is_alike(routes[i].pattern, pattern_lens[i], request->path) &&
                matches(routes[i].pattern, request->path, request->params)) {
            return &routes[i];
        }
    }
    for (size_t i = 0; i < ROUTES; i++) {
        if (matches(routes[i].pattern, request->path, request->params)) {
            allow(allowed, routes[i].method == REQUEST_GET ? "GET, HEAD" : "POST");
        }
    }
    return NULL;
}
