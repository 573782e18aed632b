/* http/server.h - HTTP of one instance, on civetweb's threads. @thread main */
#pragma once
#include "engine/forward.h"
#include "engine/limiter.h"
#include "engine/read_model.h"
#include "engine/runtime.h"

/* What answers besides the tasks of this instance; NULL: none is configured. The caller's; they
 * outlive the server. */
struct tally_http_readers {
    struct tally_read_cache *cache;
    struct tally_read_search *search;
    struct tally_limiter *limiter;
    struct tally_client *client; /* of the runtime */
    struct tally_forward *forward;
};
struct tally_http;
/* What can be said about the settings before anything else is there: whether the files of keys are
 * good. CONFIG. */
TALLY_MUST_CHECK enum tally_code tally_http_check(const struct tally_config *config,
        struct tally_error *err);
/* Listens on http.listen, which is not empty. CONFIG: no address, or it is taken. The runtime
 * outlives the server. */
TALLY_MUST_CHECK enum tally_code tally_http_start(struct tally_runtime *runtime,
        const struct tally_http_readers *readers, struct tally_http **http,
        struct tally_error *err);
/* From now on new requests get 503 SHUTTING_DOWN, but those for health and metrics, and those that
 * other instances forward while tasks are here; sockets are closed with 1001. Waits for nothing.
 * Twice is fine. */
void tally_http_close(struct tally_http *http);
/* The same, and open requests finish, for a bounded time; then no one listens. */
void tally_http_stop(struct tally_http *http);
/* Reads the files of keys again; after an error those from before are good. */
TALLY_MUST_CHECK enum tally_code tally_http_reload(struct tally_http *http,
        struct tally_error *err);
/* host:port that is listened on, with the real port if http.listen says 0. */
const char *tally_http_address(const struct tally_http *http);
