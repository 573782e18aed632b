/* connectors/http_forward.c - see http_forward.h.
 *   owner() --owner_map--> address --take a handle--> request --> answer --give it back
 * A handle of libcurl keeps the connection of the request before; one is taken that has asked the
 * same address if there is one.
 * Invariants
 *  (1) At most http.forward.max requests are on their way; who finds no free handle within BUSY_MS
 *      is told so, and nothing was sent.
 *  (2) An address that could not be reached is left alone for DOWN_MS.
 *  (3) No redirect is followed, no proxy asked, no other protocol spoken, whatever the environment
 *      says; answers are bounded by the caller's buffers.
 * Threads: callers' own; a handle belongs to the one that took it. */
#include "connectors/http_forward.h"

#include <curl/curl.h>
#include <stdio.h>
#include <unistd.h>

#include "connectors/owner_map.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "engine/base/thread.h"

enum {
    CONNECT_MS = 500,
    BUSY_MS = 250,
    DOWN_MS = 1000,
    IDLE_S = 3, /* below the 5 s after which tally ends a connection that is not used */
    DOWN_MAX = 64,
    LINE_BYTES_MAX = 17 * 1024,
    TARGET_BYTES_MAX = 4096
};

struct handle {
    CURL *curl;
    char address[TALLY_ADDRESS_BYTES_MAX]; /* that it asked last */
};
struct down {
    char address[TALLY_ADDRESS_BYTES_MAX];
    int64_t until_ms;
};

struct http_forward {
    struct tally_forward base;
    struct owner_map *map;
    size_t handles_max;
    struct tally_mutex mutex; /* guards all below */
    struct tally_cond given_back;
    struct handle **idle; /* the one used last at the end */
    size_t idle_count, made_count;
    struct down down[DOWN_MAX];
};

static struct http_forward *own(struct tally_forward *forward)
{
    return (struct http_forward *)forward;
}

static int64_t now_ms(void)
{
    return tally_mono_ms(tally_clock_real());
}

static void count(const char *result)
{
    tally_series_add(tally_series_of(TALLY_METRIC_FORWARDS, result), 1);
}

/* --- who cannot be asked ---------------------------------------------------------------------- */

static bool is_down(struct http_forward *forward, const char *address)
{
    int64_t now = now_ms();
    bool down = false;

    tally_mutex_lock(&forward->mutex);
    for (size_t i = 0; i < DOWN_MAX && !down; i++) {
        down = forward->down[i].until_ms > now && strcmp(forward->down[i].address, address) == 0;
    }
    tally_mutex_unlock(&forward->mutex);
    return down;
}

static void set_down(struct http_forward *forward, const char *address)
{
    int64_t now = now_ms();
    size_t at = 0;

    tally_mutex_lock(&forward->mutex);
    while (at < DOWN_MAX - 1 && forward->down[at].until_ms > now &&
            strcmp(forward->down[at].address, address) != 0) {
        at++;
    }
    (void)snprintf(forward->down[at].address, sizeof forward->down[at].address, "%s", address);
    forward->down[at].until_ms = now + DOWN_MS;
    tally_mutex_unlock(&forward->mutex);
}

/* --- handles ---------------------------------------------------------------------------------- */

static struct handle *create_handle(void)
{
    struct handle *handle = tally_alloc_zero(1, sizeof *handle);

    handle->curl = curl_easy_init();
    tally_assert(handle->curl); /* out of memory */
    return handle;
}

static void destroy_handle(struct handle *handle)
{
    curl_easy_cleanup(handle->curl);
    tally_free(handle);
}

/* Index of an idle handle: of that address if there is one, else the one that was not used for the
 * longest time. */
static size_t best_idle(const struct http_forward *forward, const char *address)
{
    for (size_t i = forward->idle_count; i > 0; i--) {
        if (strcmp(forward->idle[i - 1]->address, address) == 0) {
            return i - 1;
        }
    }
    return 0;
}

/* NULL: all are in use, and stayed so for BUSY_MS. */
static struct handle *take_handle(struct http_forward *forward, const char *address)
{
    int64_t end_ms = now_ms() + BUSY_MS, left_ms = BUSY_MS;
    struct handle *handle = NULL;
    bool makes = false;

    tally_mutex_lock(&forward->mutex);
    while (!handle && !makes && left_ms > 0) {
        size_t at = best_idle(forward, address);
        bool same = at < forward->idle_count && strcmp(forward->idle[at]->address, address) == 0;

        if (same || (forward->idle_count > 0 && forward->made_count == forward->handles_max)) {
            handle = forward->idle[at];
            forward->idle_count--;
            memmove(forward->idle + at, forward->idle + at + 1,
                    (forward->idle_count - at) * sizeof(struct handle *));
        } else if (forward->made_count < forward->handles_max) {
            forward->made_count++;
            makes = true;
        } else {
            (void)tally_cond_wait(&forward->given_back, &forward->mutex, left_ms);
            left_ms = end_ms - now_ms();
        }
    }
    tally_mutex_unlock(&forward->mutex);
    if (makes) {
        handle = create_handle();
    }
    if (handle) {
        (void)snprintf(handle->address, sizeof handle->address, "%s", address);
    }
    return handle;
}

static void give_back(struct http_forward *forward, struct handle *handle)
{
    tally_mutex_lock(&forward->mutex);
    forward->idle[forward->idle_count++] = handle;
    tally_cond_signal(&forward->given_back);
    tally_mutex_unlock(&forward->mutex);
}

/* --- one request ------------------------------------------------------------------------------ */

static size_t take_body(char *data, size_t size, size_t items, void *context)
{
    struct tally_forward_answer *answer = context;

    tally_buf_append(&answer->body, data, size * items);
    return answer->body.failed ? 0 : size * items;
}

/* Of the last answer alone: before it there may be a 100. */
static size_t take_header(char *data, size_t size, size_t items, void *context)
{
    struct tally_forward_answer *answer = context;
    size_t all = size * items, len = all;

    if (len >= 5 && memcmp(data, "HTTP/", 5) == 0) {
        tally_buf_clear(&answer->headers);
        return all;
    }
    while (len > 0 && (data[len - 1] == '\r' || data[len - 1] == '\n')) {
        len--;
    }
    if (len > 0) {
        tally_buf_append(&answer->headers, data, len);
        tally_buf_byte(&answer->headers, '\n');
    }
    return answer->headers.failed ? 0 : all;
}

static struct curl_slist *make_headers(const struct tally_forward_request *request)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:"); /* no 100 is waited for */

    for (size_t i = 0; i < request->header_count; i++) {
        const struct tally_forward_header *header = &request->headers[i];
        char line[LINE_BYTES_MAX];

        /* An empty value is written with ';', or libcurl would leave the header out. */
        (void)snprintf(line, sizeof line, header->value.len > 0 ? "%s: %.*s" : "%s;%.*s",
                header->name, (int)header->value.len, (const char *)header->value.data);
        list = curl_slist_append(list, line);
    }
    tally_assert(list);
    return list;
}

#define SET(option, value) tally_assert(curl_easy_setopt(curl, option, value) == CURLE_OK)

static void set_up(CURL *curl, const struct tally_forward_request *request, const char *url,
        const char *target, struct curl_slist *headers, struct tally_forward_answer *answer)
{
    curl_easy_reset(curl); /* connections stay */
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http");
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_MAXCONNECTS, 1L);
    SET(CURLOPT_MAXAGE_CONN, (long)IDLE_S);
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    SET(CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    SET(CURLOPT_URL, url);
    SET(CURLOPT_REQUEST_TARGET, target);
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, answer);
    SET(CURLOPT_HEADERFUNCTION, take_header);
    SET(CURLOPT_HEADERDATA, answer);
    if (strcmp(request->method, "POST") == 0) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        SET(CURLOPT_POSTFIELDS, request->body.len > 0 ? (const char *)request->body.data : "");
    }
}

static enum tally_code perform(struct http_forward *forward, CURL *curl,
        const struct tally_forward_request *request, struct tally_forward_answer *answer,
        struct tally_error *err)
{
    CURLcode result = curl_easy_perform(curl);
    long status = 0;

    if (result == CURLE_OK) {
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        answer->status = (int)status;
        return TALLY_OK;
    }
    if (answer->body.failed || answer->headers.failed) {
        return tally_error_set(err, TALLY_TOO_LARGE, "the answer of %s is too large",
                request->address);
    }
    set_down(forward, request->address);
    return tally_error_set(err,
            result == CURLE_OPERATION_TIMEDOUT ? TALLY_TIMEOUT : TALLY_UNAVAILABLE,
            "the instance at %s did not answer: %s", request->address, curl_easy_strerror(result));
}

static enum tally_code send_with(struct http_forward *forward, struct handle *handle,
        const struct tally_forward_request *request, struct tally_forward_answer *answer,
        struct tally_error *err)
{
    struct curl_slist *headers = make_headers(request);
    char url[TALLY_ADDRESS_BYTES_MAX + 16], target[TARGET_BYTES_MAX];
    int64_t begun_us = tally_mono_us(tally_clock_real());
    enum tally_code code;

    (void)snprintf(url, sizeof url, "http://%s/", request->address);
    (void)snprintf(target, sizeof target, "%.*s", (int)request->target.len,
            (const char *)request->target.data);
    set_up(handle->curl, request, url, target, headers, answer);
    code = perform(forward, handle->curl, request, answer, err);
    curl_slist_free_all(headers);
    tally_series_observe_us(tally_series_of(TALLY_METRIC_FORWARD_TIME, NULL),
            tally_mono_us(tally_clock_real()) - begun_us);
    return code;
}

static enum tally_code forward_send(struct tally_forward *base,
        const struct tally_forward_request *request, struct tally_forward_answer *answer,
        struct tally_error *err)
{
    static struct tally_log_limit limit;
    struct http_forward *forward = own(base);
    struct handle *handle = take_handle(forward, request->address);
    enum tally_code code;

    tally_assert(request->target.len < TARGET_BYTES_MAX);
    if (!handle) {
        count("busy");
        return tally_error_set(err, TALLY_QUEUE_FULL,
                "too many requests are on their way to other instances: try again, or raise "
                "http.forward.max");
    }
    code = send_with(forward, handle, request, answer, err);
    give_back(forward, handle);
    count(code ? "failed" : answer->status == 421 ? "refused" : "answered");
    if (code && tally_log_allowed(&limit, 1000)) {
        tally_log_error(TALLY_LOG_WARN, "request not forwarded", err);
    }
    return code;
}

/* --- the interface ---------------------------------------------------------------------------- */

static enum tally_code forward_owner(struct tally_forward *base, const char *topology,
        int32_t partition, char address[static TALLY_ADDRESS_BYTES_MAX], struct tally_error *err)
{
    struct http_forward *forward = own(base);
    enum tally_code code = owner_map_find(forward->map, topology, partition, address, err);

    if (!code && is_down(forward, address)) {
        code = tally_error_set(err, TALLY_UNAVAILABLE,
                "%s/%d is at %s, which did not answer just now", topology, (int)partition, address);
    }
    if (code) {
        count("unknown");
    }
    return code;
}

static void forward_doubt(struct tally_forward *base)
{
    owner_map_doubt(own(base)->map);
}

static void forward_destroy(struct tally_forward *base)
{
    struct http_forward *forward = own(base);

    owner_map_destroy(forward->map);
    tally_assert(forward->idle_count == forward->made_count);
    for (size_t i = 0; i < forward->idle_count; i++) {
        destroy_handle(forward->idle[i]);
    }
    tally_cond_deinit(&forward->given_back);
    tally_mutex_deinit(&forward->mutex);
    tally_free(forward->idle);
    tally_free(forward);
    curl_global_cleanup();
}

struct tally_forward *tally_http_forward_create(const struct tally_forward_options *options)
{
    static const struct tally_forward_ops ops = {
            .owner = forward_owner,
            .doubt = forward_doubt,
            .send = forward_send,
            .destroy = forward_destroy,
    };
    struct http_forward *forward = tally_alloc_zero(1, sizeof *forward);

    tally_assert(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    forward->base.ops = &ops;
    forward->handles_max = (size_t)options->config->http_forward_max;
    forward->idle = tally_alloc_zero(forward->handles_max, sizeof(struct handle *));
    tally_mutex_init(&forward->mutex, TALLY_LOCK_CONNECTOR);
    tally_cond_init(&forward->given_back);
    forward->map = owner_map_create(options);
    return &forward->base;
}

void tally_http_forward_address(const struct tally_config *config,
        char address[static TALLY_ADDRESS_BYTES_MAX])
{
    const char *listen = config->http_listen, *colon = strrchr(listen, ':');
    char host[64] = "";

    address[0] = '\0';
    if (!colon) {
        return; /* no HTTP */
    }
    if (config->http_advertise[0]) {
        (void)snprintf(address, TALLY_ADDRESS_BYTES_MAX, "%s", config->http_advertise);
    } else if (strcmp(colon, ":0") != 0 && strncmp(listen, "0.0.0.0:", 8) == 0) {
        (void)gethostname(host, sizeof host - 1);
        (void)snprintf(address, TALLY_ADDRESS_BYTES_MAX, "%s%s", host, colon);
    } else if (strcmp(colon, ":0") != 0) {
        (void)snprintf(address, TALLY_ADDRESS_BYTES_MAX, "%s", listen);
    }
}
