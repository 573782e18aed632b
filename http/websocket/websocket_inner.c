/* http/websocket/websocket_inner.c - see websocket_inner.h. The request goes through the same
 * router and handler as one that came from outside; what it may read was decided when the socket
 * was opened. */
#include "http/websocket/websocket_inner.h"

#include <stdio.h>

#include "http/router.h"

enum { ARENA_BLOCK_BYTES = 16 * 1024, ARENA_KEEP_BYTES = 256 * 1024 };

struct websocket_inner {
    struct exchange exchange;
};

struct websocket_inner *websocket_inner_create(const struct exchange *prototype)
{
    struct websocket_inner *inner = tally_alloc_zero(1, sizeof *inner);

    inner->exchange = *prototype;
    response_init(&inner->exchange.response);
    tally_arena_init(&inner->exchange.arena, ARENA_BLOCK_BYTES);
    return inner;
}

void websocket_inner_destroy(struct websocket_inner *inner)
{
    if (!inner) {
        return;
    }
    response_deinit(&inner->exchange.response);
    tally_arena_deinit(&inner->exchange.arena);
    tally_free(inner);
}

static void begin(struct exchange *exchange, const char *path, const char *query,
        const char *positions)
{
    struct request *request = &exchange->request;

    tally_arena_reset(&exchange->arena, ARENA_KEEP_BYTES);
    response_reset(&exchange->response);
    exchange->route = NULL;
    exchange->problem = NULL;
    *request = (struct request){.method = REQUEST_GET,
            .method_name = "GET",
            .version = "1.1",
            .path = tally_slice_string(path),
            .query = *query ? tally_slice_string(query) : TALLY_NONE,
            .peer = "127.0.0.1",
            .from_loopback = true};
    if (*positions) {
        request->headers[request->header_count++] =
                (struct request_header){"Tally-Min-Position", positions};
        request->headers[request->header_count++] = (struct request_header){"Prefer", "wait=5"};
    }
}

int websocket_inner_get(struct websocket_inner *inner, const char *path, const char *query,
        const char *positions, struct tally_slice *body)
{
    struct exchange *exchange = &inner->exchange;
    char allowed[ROUTER_ALLOW_LEN];
    struct tally_slice name;
    const char *wrong;

    begin(exchange, path, query, positions);
    exchange->route = router_find(&exchange->request, allowed);
    tally_assert(exchange->route);
    tally_assert(request_query_parse(&exchange->request, exchange->route->queries, &exchange->arena,
            &name, &wrong));
    exchange->route->handler(exchange);
    *body = tally_buf_bytes(&exchange->response.body);
    return exchange->response.status;
}

const char *websocket_inner_problem(const struct websocket_inner *inner)
{
    return inner->exchange.problem ? inner->exchange.problem : "INTERNAL";
}

const struct tally_token *websocket_inner_document(struct websocket_inner *inner)
{
    const struct tally_token *root = NULL;
    enum tally_refusal refusal;
    struct tally_error err;

    if (tally_document_parse(tally_buf_bytes(&inner->exchange.response.body),
                &inner->exchange.arena, &root, &refusal, &err)) {
        return NULL;
    }
    return root;
}
