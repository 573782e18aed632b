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

const struct route *router_route(enum route_id id)
{
    return &routes[id];
}

static bool is_plain(struct tally_slice path)
{
    for (size_t i = 0; i < path.len; i++) {
        uint8_t c = path.data[i], letter = c | 0x20;

        if (!(letter >= 'a' && letter <= 'z') && !(c >= '0' && c <= '9') &&
                !(c && strchr("._~:-/", c))) {
            return false;
        }
    }
    return true;
}

/* Up to the next '/', or all that is left. */
static struct tally_slice segment_at(struct tally_slice path, size_t at)
{
    size_t end = at;

    while (end < path.len && path.data[end] != '/') {
        end++;
    }
    return tally_slice_of(path.data + at, end - at);
}

static bool matches(const char *pattern, struct tally_slice path,
        struct tally_slice params[REQUEST_PARAMS_MAX])
{
    struct tally_slice text = tally_slice_string(pattern);
    size_t at = 0, in = 0, count = 0;

    while (at < text.len && in < path.len) {
        struct tally_slice wanted, segment;

        if (text.data[at] != '/' || path.data[in] != '/') {
            return false;
        }
        wanted = segment_at(text, at + 1);
        segment = segment_at(path, in + 1);
        if (wanted.data[0] == '{') {
            if (segment.len == 0) {
                return false;
            }
            tally_assert(count < REQUEST_PARAMS_MAX);
            params[count++] = segment;
        } else if (!tally_slice_equal(wanted, segment)) {
            return false;
        }
        at += 1 + wanted.len;
        in += 1 + segment.len;
    }
    return at == text.len && in == path.len;
}

/* Up to the first name in the pattern: tells nearly all routes apart without taking them apart. */
static bool begins_alike(const char *pattern, struct tally_slice path)
{
    size_t at = 0;

    while (pattern[at] && pattern[at] != '{') {
        if (at == path.len || (uint8_t)pattern[at] != path.data[at]) {
            return false;
        }
        at++;
    }
    return true;
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
        if (!begins_alike(routes[i].pattern, request->path) ||
                !matches(routes[i].pattern, request->path, request->params)) {
            continue;
        }
        if (routes[i].method == wanted) {
            return &routes[i];
        }
        allow(allowed, routes[i].method == REQUEST_GET ? "GET, HEAD" : "POST");
    }
    return NULL;
}
