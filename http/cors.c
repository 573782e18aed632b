/* http/cors.c - see cors.h. What is written is the setting's text, never the client's. */
#include "http/cors.h"

#include "http/auth.h"

static const char *find_origin(const struct exchange *exchange, struct tally_slice origin)
{
    const struct tally_config_list *origins =
            &tally_runtime_config(exchange->runtime)->http_cors_origins;

    for (size_t i = 0; i < origins->count; i++) {
        if (tally_slice_equal(origin, tally_slice_string(origins->items[i]))) {
            return origins->items[i];
        }
    }
    return NULL;
}

bool cors_is_listed(const struct exchange *exchange, struct tally_slice origin)
{
    return find_origin(exchange, origin) != NULL;
}

/* NULL: no origin, or one that is not listed. */
static const char *listed_origin(const struct exchange *exchange)
{
    if (request_header_count(&exchange->request, "Origin") != 1) {
        return NULL;
    }
    return find_origin(exchange, request_header(&exchange->request, "Origin"));
}

void cors_headers(struct exchange *exchange)
{
    const char *origin = listed_origin(exchange);

    if (origin) {
        response_header(&exchange->response, "Access-Control-Allow-Origin", "%s", origin);
        response_header(&exchange->response, "Vary", "Origin");
        response_header(&exchange->response, "Access-Control-Expose-Headers",
                "ETag, Location, Retry-After, RateLimit, RateLimit-Policy, Tally-Position, "
                "Tally-As-Of, Tally-Lag-Ms");
    }
}

bool cors_preflight(struct exchange *exchange)
{
    if (!exchange->request.method_name || strcmp(exchange->request.method_name, "OPTIONS") != 0 ||
            !request_header(&exchange->request, "Access-Control-Request-Method").data ||
            !listed_origin(exchange)) {
        return false;
    }
    response_header(&exchange->response, "Access-Control-Allow-Methods", "GET, HEAD, POST");
    response_header(&exchange->response, "Access-Control-Allow-Headers",
            "%sContent-Type, Idempotency-Key, If-Match, If-None-Match, Prefer, Tally-Min-Position",
            auth_asks(exchange->auth) ? "Authorization, " : "");
    response_header(&exchange->response, "Access-Control-Max-Age", "600");
    response_empty(&exchange->response, 204);
    return true;
}
