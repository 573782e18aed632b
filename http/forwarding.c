/* http/forwarding.c - see forwarding.h. */
#include "http/forwarding.h"

#include <stdio.h>
#include <strings.h>

#include "http/auth.h"
#include "http/forwarding_mark.h"
#include "http/header_field.h"

#define FORWARDED "Tally-Forwarded"

enum {
    HEADERS_BYTES_MAX = 32 * 1024,
    WAIT_DEFAULT_MS = 1000, /* as reading.c waits for positions */
    ATTEMPTS = 2,
    HOPS_BYTES_MAX = 1024,
    TOKEN_BYTES_MAX = 16 * 1024
};

/* What the owner has to know of a request, and what an answer says of itself. */
static const char *const asked[] = {"Accept", "Authorization", "Content-Type", "If-None-Match",
        "Prefer", "Tally-Min-Position", NULL};
static const char *const asked_beside[] = {"Authorization", "Prefer", "Tally-Min-Position", NULL};
static const char *const told[] = {"ETag", "Location", "Retry-After", "Preference-Applied",
        "Idempotent-Replayed", "Allow", "WWW-Authenticate", NULL};

bool forwarding_is_forwarded(const struct exchange *exchange)
{
    return request_header(&exchange->request, FORWARDED).data != NULL;
}

static bool is_among(const char *const *names, struct tally_slice name)
{
    while (*names && !request_equals(name, *names)) {
        names++;
    }
    return *names != NULL;
}

/* --- the request ------------------------------------------------------------------------------ */

/* The client's address behind those that it came with. */
static struct tally_slice hops(struct exchange *exchange)
{
    const struct request *request = &exchange->request;
    struct tally_buf text;
    struct tally_slice copy;

    tally_buf_init(&text, HOPS_BYTES_MAX);
    for (size_t i = 0; i < request->header_count; i++) {
        if (strcasecmp(request->headers[i].name, "X-Forwarded-For") == 0) {
            tally_buf_format(&text, "%s, ", request->headers[i].value);
        }
    }
    if (text.failed) {
        tally_buf_clear(&text); /* a client's fancy: nobody believes so many */
    }
    tally_buf_string(&text, request->peer);
    copy = tally_arena_copy(&exchange->arena, tally_buf_bytes(&text));
    tally_buf_deinit(&text);
    return copy;
}

/* What a socket that was opened with credentials reads later comes without them: the owner is shown
 * this instance's own. Nothing else gets here without any. */
static void add_token(struct exchange *exchange, struct tally_forward_header *headers,
        struct tally_forward_request *forward)
{
    const char *token = tally_runtime_config(exchange->runtime)->http_token;
    struct tally_buf text;

    if (!token[0] || !auth_asks(exchange->auth)) {
        return;
    }
    tally_buf_init(&text, TOKEN_BYTES_MAX);
    tally_buf_format(&text, "Bearer %s", token);
    headers[forward->header_count++] = (struct tally_forward_header){
            "Authorization", tally_arena_copy(&exchange->arena, tally_buf_bytes(&text))};
    tally_buf_deinit(&text);
}

/* Headers of the request that have one of the names, and those that say who asks for whom. */
static void make_headers(struct exchange *exchange, const char *const *names,
        struct tally_forward_request *forward)
{
    const struct request *request = &exchange->request;
    struct tally_forward_header *headers = tally_arena_alloc(&exchange->arena,
            (REQUEST_HEADERS_MAX + 6) * sizeof(struct tally_forward_header));
    struct tally_slice shown = hops(exchange);

    for (size_t i = 0; i < request->header_count; i++) {
        if (is_among(names, tally_slice_string(request->headers[i].name))) {
            headers[forward->header_count++] = (struct tally_forward_header){
                    request->headers[i].name, tally_slice_string(request->headers[i].value)};
        }
    }
    if (!request_header(request, "Authorization").data) {
        add_token(exchange, headers, forward);
    }
    headers[forward->header_count++] = (struct tally_forward_header){"X-Forwarded-For", shown};
    headers[forward->header_count++] = (struct tally_forward_header){FORWARDING_MARK,
            forwarding_mark_make(exchange, forward->method, forward->target, shown)};
    headers[forward->header_count++] = (struct tally_forward_header){FORWARDED, TALLY_SLICE("1")};
    if (names == asked_beside) {
        headers[forward->header_count++] =
                (struct tally_forward_header){"Content-Type", TALLY_SLICE(RESPONSE_BYTES)};
        headers[forward->header_count++] =
                (struct tally_forward_header){"Accept", TALLY_SLICE(RESPONSE_BYTES)};
    }
    forward->headers = headers;
}

/* How long the other instance may take: what the client waits comes on top. */
static int64_t timeout_of(const struct exchange *exchange)
{
    int64_t timeout_ms = tally_runtime_config(exchange->runtime)->http_forward_timeout, seconds;

    if (header_field_prefer_wait(&exchange->request, &seconds)) {
        return timeout_ms + seconds * 1000;
    }
    return request_header(&exchange->request, "Tally-Min-Position").data
                   ? timeout_ms + WAIT_DEFAULT_MS
                   : timeout_ms;
}

static void make_request(struct exchange *exchange, struct tally_forward_request *forward)
{
    const struct request *request = &exchange->request;

    forward->method = request->method == REQUEST_POST ? "POST" : "GET";
    forward->target = request->path;
    if (request->query.data) {
        struct tally_buf target;

        tally_buf_init(&target, request->path.len + request->query.len + 1);
        tally_buf_slice(&target, request->path);
        tally_buf_byte(&target, '?');
        tally_buf_slice(&target, request->query);
        forward->target = tally_arena_copy(&exchange->arena, tally_buf_bytes(&target));
        tally_buf_deinit(&target);
    }
    make_headers(exchange, asked, forward);
    forward->body = request->body;
    forward->timeout_ms = timeout_of(exchange);
}

/* --- the answer ------------------------------------------------------------------------------- */

static const char *text_copy(struct exchange *exchange, struct tally_slice text)
{
    char *copy = tally_arena_alloc(&exchange->arena, text.len + 1);

    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return copy;
}

static void take_header(struct exchange *exchange, struct tally_slice name,
        struct tally_slice value)
{
    struct response *response = &exchange->response;

    if (memchr(value.data, '\r', value.len) || memchr(value.data, '\0', value.len)) {
        return;
    }
    if (request_equals(name, "Content-Type")) {
        response->content_type = text_copy(exchange, value);
    } else if (request_equals(name, "Cache-Control")) {
        response->cache_control = text_copy(exchange, value);
    } else if (is_among(told, name) ||
               (name.len > 6 && strncasecmp((const char *)name.data, "Tally-", 6) == 0)) {
        tally_buf_slice(&response->headers, name);
        tally_buf_string(&response->headers, ": ");
        tally_buf_slice(&response->headers, value);
        tally_buf_string(&response->headers, "\r\n");
    }
}

static void take_answer(struct exchange *exchange, const struct tally_forward_answer *answer)
{
    struct tally_slice rest = tally_buf_bytes(&answer->headers);

    response_begin(&exchange->response, answer->status, NULL);
    while (rest.len > 0) {
        const uint8_t *end = memchr(rest.data, '\n', rest.len);
        struct tally_slice line = tally_slice_of(rest.data, (size_t)(end - rest.data));
        const uint8_t *colon = memchr(line.data, ':', line.len);

        rest = tally_slice_of(end + 1, rest.len - line.len - 1);
        if (colon) {
            struct tally_slice name = tally_slice_of(line.data, (size_t)(colon - line.data));

            take_header(exchange, name,
                    request_trim(tally_slice_of(colon + 1, line.len - name.len - 1)));
        }
    }
    tally_buf_slice(&exchange->response.body, tally_buf_bytes(&answer->body));
}

/* An instance that stops does not answer for its tasks any more. */
static bool is_stopping(const struct tally_forward_answer *answer)
{
    static const char code[] = "\"code\":\"SHUTTING_DOWN\"";

    return answer->status == 503 &&
           memmem(answer->body.data, answer->body.len, code, sizeof code - 1);
}

/* Asks the owner; a second one, if the first says that it is none and the group names another. */
static bool send_to_owner(struct exchange *exchange, const char *topology, int32_t partition,
        struct tally_forward_request *request, struct tally_forward_answer *answer)
{
    struct tally_forward *forward = exchange->forward;
    char address[ATTEMPTS][TALLY_ADDRESS_BYTES_MAX];
    struct tally_error err = {0};

    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        enum tally_code code =
                forward->ops->owner(forward, topology, partition, address[attempt], &err);

        if (code || (attempt > 0 && strcmp(address[attempt], address[attempt - 1]) == 0)) {
            return false;
        }
        request->address = address[attempt];
        tally_buf_clear(&answer->headers);
        tally_buf_clear(&answer->body);
        code = forward->ops->send(forward, request, answer, &err);
        if (code == TALLY_QUEUE_FULL) {
            return false;
        }
        if (!code && answer->status != 421 && !is_stopping(answer)) {
            return true;
        }
        forward->ops->doubt(forward);
    }
    return false;
}

bool forwarding_answer(struct exchange *exchange, const char *topology, int32_t partition)
{
    struct tally_forward_request request = {.address = NULL};
    struct tally_forward_answer answer = {.status = 0};
    bool answered;

    if (!exchange->forward || forwarding_is_forwarded(exchange)) {
        return false;
    }
    tally_buf_init(&answer.headers, HEADERS_BYTES_MAX);
    tally_buf_init(&answer.body, RESPONSE_BODY_BYTES_MAX);
    make_request(exchange, &request);
    answered = send_to_owner(exchange, topology, partition, &request, &answer);
    if (answered) {
        take_answer(exchange, &answer);
    }
    tally_buf_deinit(&answer.headers);
    tally_buf_deinit(&answer.body);
    return answered;
}

bool forwarding_post(struct exchange *exchange, const char *address, const char *path,
        struct tally_slice body, int64_t wait_ms, struct tally_forward_answer *answer)
{
    struct tally_forward *forward = exchange->forward;
    struct tally_forward_request request = {.address = address,
            .method = "POST",
            .target = tally_slice_string(path),
            .body = body,
            .timeout_ms = timeout_of(exchange) + wait_ms};
    struct tally_error err = {0};

    make_headers(exchange, asked_beside, &request);
    return forward->ops->send(forward, &request, answer, &err) == TALLY_OK;
}
