/* http/exchange.h - one request and its answer on their way through the handlers. A worker has one
 * exchange for all its requests, so a warm worker allocates nothing. @thread http */
#pragma once
#include "engine/forward.h"
#include "engine/read_model.h"
#include "engine/runtime.h"
#include "http/cursor.h"
#include "http/request.h"
#include "http/response.h"
#include "http/role.h"

struct mg_connection; /* civetweb's */
struct graphql_schema;
struct route;
struct waiting;
struct api_documents;
struct auth;
struct limits;
struct websocket_gateway;

struct audit_note;
struct audit { /* see audit.h */
    struct audit_note *first, *last, *cursor;
};

struct exchange {
    struct tally_runtime *runtime;
    struct tally_read_cache *cache;   /* NULL: none is configured */
    struct tally_read_search *search; /* likewise */
    struct tally_forward *forward;    /* likewise: other instances */
    struct tally_client *client;      /* Kafka, of the runtime */
    const struct api_documents *documents;
    const struct limits *limits;
    struct auth *auth;
    struct principal principal; /* who asks; set by auth_admit */
    struct audit audit;         /* what it has written */
    const struct cursor_key *cursor_key;
    const struct graphql_schema *graphql;
    struct websocket_gateway *gateway;
    struct waiting *waiting;   /* how many requests wait for an outcome */
    struct waiting *searching; /* how many look for events in their topic */
    struct mg_connection *connection;
    const struct route *route; /* NULL: none matched */
    const char *problem;       /* code of the problem that is answered; NULL: none */
    struct request request;
    struct response response;
    struct tally_arena arena;     /* reset after each request */
    struct tally_reads_kept kept; /* of a lane: until its round ends */
    int64_t started_us;           /* of the server, mono; for /startupz */
    int64_t now_ms;               /* wall; 0: whoever needs it asks the clock */
    char date[RESPONSE_DATE_LEN + 1];
    bool keep_alive;
    bool hurried; /* of a lane: whatever would wait for somebody sets late instead */
    bool late;    /* and then the answer is made again by a worker */
};
