/* http/limits.c - see limits.h. */
#include "http/limits.h"

#include "http/forwarding_mark.h"
#include "http/problem.h"
#include "http/router.h"

enum { MS = 1000 };

void limits_init(struct limits *limits, const struct tally_config *config,
        struct tally_limiter *limiter)
{
    *limits = (struct limits){
            .limiter = limiter,
            .config = config,
            .policies =
                    {
                            [LIMITS_SEARCH] = {"search", config->http_limit_search,
                                    config->http_limit_window},
                            [LIMITS_READ] = {"read", config->http_limit_read,
                                    config->http_limit_window},
                            [LIMITS_WRITE] = {"write", config->http_limit_write,
                                    config->http_limit_window},
                    },
    };
    limits->off =
            !limiter ||
            config->http_limit_search + config->http_limit_read + config->http_limit_write == 0;
}

enum limits_policy limits_policy_of(const struct route *route)
{
    bool graphql = strcmp(route->pattern, "/graphql") == 0;
    bool business = graphql || strncmp(route->pattern, "/v1/", 4) == 0;

    if (!business || route->permission == PERMISSION_OPERATOR) {
        return LIMITS_NONE;
    }
    if (graphql || strcmp(route->pattern, "/v1/products") == 0) {
        return LIMITS_SEARCH;
    }
    return route->permission == PERMISSION_WRITER ? LIMITS_WRITE : LIMITS_READ;
}

static bool is_trusted(const struct limits *limits, const char *peer)
{
    const struct tally_config_list *proxies = &limits->config->http_trusted_proxies;

    for (size_t i = 0; i < proxies->count; i++) {
        if (strcmp(proxies->items[i], peer) == 0) {
            return true;
        }
    }
    return false;
}

struct tally_slice limits_client(const struct limits *limits, const struct request *request)
{
    struct tally_slice rest = TALLY_NONE, hop, last = TALLY_NONE;

    if (is_trusted(limits, request->peer)) {
        /* Of several fields the last is the proxy's own. */
        for (size_t i = 0; i < request->header_count; i++) {
            if (request_equals(tally_slice_string(request->headers[i].name), "X-Forwarded-For")) {
                rest = tally_slice_string(request->headers[i].value);
            }
        }
        while (request_list_next(&rest, ',', &hop)) {
            last = hop;
        }
    }
    return last.len > 0 && last.len <= LIMITS_CLIENT_LEN_MAX ? last
                                                             : tally_slice_string(request->peer);
}

bool limits_count(const struct exchange *exchange)
{
    const struct limits *limits = exchange->limits;

    return !limits->off && limits->policies[limits_policy_of(exchange->route)].quota > 0;
}

bool limits_take(struct exchange *exchange)
{
    const struct limits *limits = exchange->limits;
    const struct tally_limit *limit;
    struct tally_limit_answer answer = {.allowed = true};
    int64_t wait_s;

    if (limits->off) {
        return true;
    }
    limit = &limits->policies[limits_policy_of(exchange->route)];
    if (limit->quota == 0 || forwarding_mark_is_good(exchange)) {
        return true;
    }
    tally_limiter_take(limits->limiter, limit, limits_client(limits, &exchange->request), &answer);
    wait_s = (answer.reset_ms + MS - 1) / MS;
    response_header(&exchange->response, "RateLimit-Policy", "\"%s\";q=%lld;w=%lld", limit->policy,
            (long long)limit->quota, (long long)(limit->window_ms / MS));
    response_header(&exchange->response, "RateLimit", "\"%s\";r=%lld;t=%lld", limit->policy,
            (long long)answer.remaining, (long long)wait_s);
    if (!answer.allowed) {
        problem_limited(exchange, limit->policy, wait_s > 0 ? wait_s : 1);
    }
    return answer.allowed;
}
