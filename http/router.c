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

/* What nearly all routes are told apart by: the method, the letter behind the slash, the one behind
 * "/v1/", and the last one, '}' for any. Side by side: most requests look at all of them. */
struct trait {
    uint8_t method, first, second, last;
};
#define LETTER_AT(pattern, at) (sizeof(pattern) > (at) ? (pattern)[at] : '\0')
static const struct trait traits[ROUTES] = {
#define X(id, method, pattern, handler, permission, by, answers, queries, help) \
    [ROUTE_##id] = {REQUEST_##method, LETTER_AT(pattern, 1),                    \
            LETTER_AT(pattern, 1) == 'v' ? LETTER_AT(pattern, 4) : '\0',        \
            (pattern)[sizeof(pattern) - 2]},
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

static bool is_alike(const struct trait *route, const struct trait *path)
{
    return route->method == path->method && route->first == path->first &&
           route->second == path->second && (route->last == path->last || route->last == '}');
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

static struct trait trait_of(const struct request *request)
{
    struct tally_slice path = request->path;
    struct trait trait = {
            .method = (uint8_t)(request->method == REQUEST_HEAD ? REQUEST_GET : request->method)};

    trait.first = path.len > 1 ? path.data[1] : '\0';
    trait.second = trait.first == 'v' && path.len > 4 ? path.data[4] : '\0';
    trait.last = path.len > 0 ? path.data[path.len - 1] : '\0';
    return trait;
}

const struct route *router_find(struct request *request, char allowed[static ROUTER_ALLOW_LEN])
{
    struct trait trait = trait_of(request);

    allowed[0] = '\0';
    if (!is_plain(request->path)) {
        return NULL;
    }
    for (size_t i = 0; i < ROUTES; i++) {
        if (is_alike(&traits[i], &trait) &&
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
