/* http/auth.c - see auth.h. */
#include "http/auth.h"

#include <stdatomic.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "engine/base/thread.h"
#include "http/api_keys.h"
#include "http/jwt_token.h"
#include "http/limits.h"
#include "http/problem.h"
#include "http/router.h"

enum { MS = 1000, LOG_EVERY_MS = 1000 };
#define REALM "Bearer realm=\"tally\""

struct auth {
    const struct tally_config *config;
    bool asks;
    struct tally_rwlock lock; /* guards keys and tokens */
    _Atomic unsigned reading; /* of the key files; changed under the lock */
    struct api_keys keys;
    struct jwt_keys tokens;
    struct tally_series *missing, *invalid, *forbidden;
};

/* --- keys ------------------------------------------------------------------------------------- */

static enum tally_code load(const struct tally_config *config, struct api_keys *keys,
        struct jwt_keys *tokens, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    *keys = (struct api_keys){0};
    *tokens = (struct jwt_keys){0};
    if (config->http_api_keys[0]) {
        code = api_keys_load(keys, config->http_api_keys, err);
    }
    if (code) {
        tally_error_context(err, "http.api_keys");
        return code;
    }
    if (config->http_jwt_keys.count > 0) {
        code = jwt_keys_load(tokens, &config->http_jwt_keys, err);
    }
    if (code) {
        tally_error_context(err, "http.jwt.keys");
        api_keys_deinit(keys);
    }
    return code;
}

enum tally_code auth_create(const struct tally_config *config, struct auth **out,
        struct tally_error *err)
{
    struct auth *auth = tally_alloc_zero(1, sizeof *auth);

    *out = auth;
    auth->config = config;
    auth->asks = strcmp(config->http_auth, "bearer") == 0;
    tally_rwlock_init(&auth->lock, TALLY_LOCK_AUTH);
    auth->missing = tally_series_of(TALLY_METRIC_HTTP_REFUSED, "missing");
    auth->invalid = tally_series_of(TALLY_METRIC_HTTP_REFUSED, "invalid");
    auth->forbidden = tally_series_of(TALLY_METRIC_HTTP_REFUSED, "forbidden");
    return auth->asks ? load(config, &auth->keys, &auth->tokens, err) : TALLY_OK;
}

void auth_destroy(struct auth *auth)
{
    if (!auth) {
        return;
    }
    api_keys_deinit(&auth->keys);
    jwt_keys_deinit(&auth->tokens);
    tally_rwlock_deinit(&auth->lock);
    tally_free(auth);
}

enum tally_code auth_reload(struct auth *auth, struct tally_error *err)
{
    struct api_keys keys, old_keys;
    struct jwt_keys tokens, old_tokens;
    enum tally_code code = TALLY_OK;

    if (!auth->asks) {
        return TALLY_OK;
    }
    code = load(auth->config, &keys, &tokens, err);
    if (code) {
        return code;
    }
    tally_rwlock_write(&auth->lock);
    old_keys = auth->keys;
    old_tokens = auth->tokens;
    auth->keys = keys;
    auth->tokens = tokens;
    atomic_fetch_add(&auth->reading, 1);
    tally_rwlock_unlock(&auth->lock);
    api_keys_deinit(&old_keys);
    jwt_keys_deinit(&old_tokens);
    tally_log(TALLY_LOG_INFO, "http keys read", TALLY_LOG_INT("api_keys", keys.count),
            TALLY_LOG_INT("jwt_keys", tokens.count));
    return TALLY_OK;
}

bool auth_asks(const struct auth *auth)
{
    return auth->asks;
}

/* --- who asks --------------------------------------------------------------------------------- */

/* A proxy on this machine speaks for others. */
static bool is_local(const struct request *request)
{
    return request->from_loopback && request_header_count(request, "X-Forwarded-For") == 0 &&
           request_header_count(request, "Forwarded") == 0;
}

static void log_refused(const struct exchange *exchange, const char *reason)
{
    static struct tally_log_limit limit;

    if (tally_log_allowed(&limit, LOG_EVERY_MS)) {
        tally_log(TALLY_LOG_WARN, "request refused", TALLY_LOG_STR("reason", reason),
                TALLY_LOG_STR("principal", exchange->principal.name),
                TALLY_LOG_STR("role", role_name(exchange->principal.role)),
                TALLY_LOG_BYTES("client", limits_client(exchange->limits, &exchange->request)),
                TALLY_LOG_STR("route", exchange->route ? exchange->route->pattern : "none"));
    }
}

/* 401 (RFC 6750 3). reason: NULL: there are no credentials. */
static void ask_for_credentials(struct exchange *exchange, const char *reason)
{
    const struct auth *auth = exchange->auth;

    tally_series_add(reason ? auth->invalid : auth->missing, 1);
    if (reason) {
        log_refused(exchange, reason);
        response_header(&exchange->response, "WWW-Authenticate",
                REALM ", error=\"invalid_token\", error_description=\"%s\"", reason);
    } else {
        response_header(&exchange->response, "WWW-Authenticate", REALM);
    }
    problem_answer(exchange, PROBLEM_UNAUTHENTICATED, "%s",
            reason ? reason : "Authorization: Bearer is required, with a token or a key");
}

/* What stands behind "Bearer"; data NULL: another scheme, or nothing. */
static struct tally_slice bearer_of(const struct request *request)
{
    struct tally_slice value = request_header(request, "Authorization");

    if (value.len < 7 || !request_equals(tally_slice_of(value.data, 7), "Bearer ")) {
        return TALLY_NONE;
    }
    return request_trim(tally_slice_of(value.data + 7, value.len - 7));
}

/* NULL: the credentials are good. */
static const char *check_credentials(struct auth *auth, struct tally_slice credentials,
        struct principal *principal)
{
    const struct jwt_rules rules = {auth->config->http_jwt_issuer, auth->config->http_jwt_audience,
            auth->config->http_jwt_role_claim};
    const char *wrong = "the key is not known";
    int64_t expires_s = 0;

    tally_rwlock_read(&auth->lock);
    if (memchr(credentials.data, '.', credentials.len)) {
        wrong = auth->tokens.count == 0
                        ? "tokens are not taken here"
                        : jwt_token_check(&auth->tokens, &rules, credentials,
                                  tally_wall_ms(tally_clock_real()) / MS, principal, &expires_s);
    } else if (api_keys_find(&auth->keys, credentials, principal)) {
        wrong = NULL;
    }
    principal->expires_s = expires_s;
    principal->reading = atomic_load(&auth->reading);
    tally_rwlock_unlock(&auth->lock);
    return wrong;
}

/* false: 400 or 401 is answered. */
static bool identify(struct exchange *exchange)
{
    size_t count = request_header_count(&exchange->request, "Authorization");
    struct tally_slice credentials = bearer_of(&exchange->request);
    struct principal principal = {.by = ""};
    const char *wrong = NULL;

    if (count > 1) {
        problem_answer(exchange, PROBLEM_MALFORMED_REQUEST, "Authorization is there twice");
        return false;
    }
    if (!credentials.data || credentials.len == 0) {
        ask_for_credentials(exchange, count == 0 ? NULL : "the scheme is not Bearer, or is empty");
        return false;
    }
    wrong = check_credentials(exchange->auth, credentials, &principal);
    if (wrong) {
        ask_for_credentials(exchange, wrong);
        return false;
    }
    exchange->principal = principal;
    return true;
}

bool auth_allows(const struct exchange *exchange, enum permission permission)
{
    return (unsigned)exchange->principal.role >= (unsigned)permission;
}

bool auth_is_current(const struct auth *auth, const struct principal *principal)
{
    int64_t now_s = tally_wall_ms(tally_clock_real()) / MS;

    return !auth->asks ||
           (principal->reading == atomic_load(&auth->reading) &&
                   (principal->expires_s == 0 || now_s < principal->expires_s + JWT_TOKEN_SKEW_S));
}

bool auth_require(struct exchange *exchange, enum permission permission, const char *what)
{
    if (auth_allows(exchange, permission)) {
        return true;
    }
    tally_series_add(exchange->auth->forbidden, 1);
    log_refused(exchange, "the role is too low");
    if (!exchange->auth->asks) {
        problem_answer(exchange, PROBLEM_FORBIDDEN, "operations are answered on loopback only");
        return false;
    }
    response_header(&exchange->response, "WWW-Authenticate",
            REALM ", error=\"insufficient_scope\"");
    problem_answer(exchange, PROBLEM_FORBIDDEN, "%s needs the role %s or one above it, not %s",
            what, role_name((enum role)permission), role_name(exchange->principal.role));
    return false;
}

bool auth_admit(struct exchange *exchange, enum permission permission)
{
    exchange->principal = (struct principal){.by = ""};
    if (permission == PERMISSION_PUBLIC) {
        return true;
    }
    if (!exchange->auth->asks) {
        exchange->principal.role = is_local(&exchange->request) ? ROLE_ADMIN : ROLE_WRITER;
    } else if (!identify(exchange)) {
        return false;
    }
    return auth_require(exchange, permission, "the route");
}
