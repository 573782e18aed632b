/* http/websocket/websocket_handshake.c - see websocket_handshake.h.
 * Invariants
 *  (1) Until 101 is answered the request is one of HTTP: refused with a problem, counted, logged.
 *  (2) The gateway writes the 101, and the client may send nothing before it has that (RFC 6455
 *      4.1): no frame is left in the library's buffer. */
#include "http/websocket/websocket_handshake.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/body.h"
#include "http/cors.h"
#include "http/graphql/graphql_run.h"
#include "http/header_field.h"
#include "http/problem.h"
#include "http/websocket/websocket_gateway.h"

enum { KEY_LEN = 24, SHA1_BYTES = 20, GREETING_BYTES_MAX = 1024 };

static const char *const subprotocols[WEBSOCKET_PROTOCOLS] = {
        [WEBSOCKET_TALLY] = "tally.v1", [WEBSOCKET_GRAPHQL] = "graphql-transport-ws"};

void websocket_handshake_accept(struct tally_slice key,
        char accept[static WEBSOCKET_ACCEPT_LEN + 1])
{
    static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t digest[EVP_MAX_MD_SIZE], text[KEY_LEN + sizeof magic];
    unsigned len = 0;

    tally_assert(key.len == KEY_LEN);
    memcpy(text, key.data, KEY_LEN);
    memcpy(text + KEY_LEN, magic, sizeof magic - 1);
    tally_assert(EVP_Digest(text, KEY_LEN + sizeof magic - 1, digest, &len, EVP_sha1(), NULL) ==
                         1 &&
                 len == SHA1_BYTES);
    (void)EVP_EncodeBlock((uint8_t *)accept, digest, SHA1_BYTES);
}

static bool list_has(struct tally_slice list, const char *wanted)
{
    struct tally_slice item;

    while (request_list_next(&list, ',', &item)) {
        if (request_equals(item, wanted)) {
            return true;
        }
    }
    return false;
}

bool websocket_handshake_wanted(const struct request *request)
{
    return request->method == REQUEST_GET &&
           list_has(request_header(request, "Upgrade"), "websocket") &&
           list_has(request_header(request, "Connection"), "upgrade");
}

/* Sixteen bytes in base64. */
static bool is_key(struct tally_slice key)
{
    uint8_t bytes[KEY_LEN];

    return key.len == KEY_LEN && key.data[KEY_LEN - 1] == '=' && key.data[KEY_LEN - 2] == '=' &&
           EVP_DecodeBlock(bytes, key.data, KEY_LEN) == 18;
}

/* A page of the same host, or of a listed origin; what is no browser says none. */
static bool origin_allowed(const struct exchange *exchange)
{
    struct tally_slice origin = request_header(&exchange->request, "Origin");
    struct tally_slice host = request_header(&exchange->request, "Host");
    static const char *const schemes[] = {"http://", "https://"};

    if (!origin.data) {
        return true;
    }
    if (request_header_count(&exchange->request, "Origin") != 1) {
        return false;
    }
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        struct tally_slice scheme = tally_slice_string(schemes[i]);

        if (tally_slice_starts(origin, scheme) &&
                tally_slice_equal(tally_slice_of(origin.data + scheme.len, origin.len - scheme.len),
                        host)) {
            return true;
        }
    }
    return cors_is_listed(exchange, origin);
}

static void refuse_version(struct exchange *exchange, const char *what)
{
    response_header(&exchange->response, "Upgrade", "websocket");
    response_header(&exchange->response, "Sec-WebSocket-Version", "13");
    problem_answer(exchange, PROBLEM_UPGRADE_REQUIRED, "%s", what);
}

/* In the order of what a client has to put right first. */
static bool check(struct exchange *exchange, enum websocket_protocol protocol)
{
    const struct request *request = &exchange->request;
    struct tally_slice offered = request_header(request, "Sec-WebSocket-Protocol");

    if (!websocket_handshake_wanted(request)) {
        refuse_version(exchange,
                "expected a WebSocket: GET with Upgrade: websocket and Connection: Upgrade");
    } else if (!request_equals(request_header(request, "Sec-WebSocket-Version"), "13")) {
        refuse_version(exchange, "Sec-WebSocket-Version: expected 13");
    } else if (!is_key(request_header(request, "Sec-WebSocket-Key"))) {
        problem_answer(exchange, PROBLEM_MALFORMED_REQUEST,
                "Sec-WebSocket-Key: expected 16 bytes in base64");
    } else if (protocol == WEBSOCKET_TALLY && offered.data &&
               !list_has(offered, subprotocols[protocol])) {
        problem_answer(exchange, PROBLEM_MALFORMED_REQUEST, "Sec-WebSocket-Protocol: expected %s",
                subprotocols[protocol]);
    } else if (!origin_allowed(exchange)) {
        problem_answer(exchange, PROBLEM_ORIGIN_REFUSED,
                "pages of this origin are not listed in http.cors.origins");
    } else {
        return true;
    }
    return false;
}

/* Puts a socket that has no other end in the library's place. -1: it cannot be done. */
static int take_socket(struct mg_connection *connection)
{
    int descriptor = body_socket(connection), taken, pair[2];

    if (descriptor < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return -1;
    }
    close(pair[1]);
    taken = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    if (taken >= 0 && dup3(pair[0], descriptor, O_CLOEXEC) < 0) {
        close(taken);
        taken = -1;
    }
    close(pair[0]);
    return taken;
}

static void write_101(const struct exchange *exchange, enum websocket_protocol protocol,
        struct tally_buf *text)
{
    char accept[WEBSOCKET_ACCEPT_LEN + 1];
    bool offered = list_has(request_header(&exchange->request, "Sec-WebSocket-Protocol"),
            subprotocols[protocol]);

    websocket_handshake_accept(request_header(&exchange->request, "Sec-WebSocket-Key"), accept);
    tally_buf_format(text,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
            "Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s%s%s\r\n",
            accept, offered ? "Sec-WebSocket-Protocol: " : "",
            offered ? subprotocols[protocol] : "", offered ? "\r\n" : "");
}

/* What the protocol of GraphQL wants to know later; it closes by itself what did not offer it. */
static void describe(const struct exchange *exchange, struct websocket_visitor *visitor)
{
    struct tally_slice client = limits_client(exchange->limits, &exchange->request);
    struct tally_slice actor = request_header(&exchange->request, "X-Actor");

    *visitor = (struct websocket_visitor){.principal = exchange->principal,
            .hides_schema = graphql_run_hides_schema(exchange),
            .unacceptable = !list_has(request_header(&exchange->request, "Sec-WebSocket-Protocol"),
                    subprotocols[WEBSOCKET_GRAPHQL])};
    snprintf(visitor->client, sizeof visitor->client, "%.*s", (int)client.len,
            (const char *)client.data);
    if (actor.len <= PRINCIPAL_NAME_BYTES_MAX && actor.len > 0) {
        snprintf(visitor->actor, sizeof visitor->actor, "%.*s", (int)actor.len,
                (const char *)actor.data);
    }
}

static void hand_over(struct exchange *exchange, enum websocket_protocol protocol)
{
    int descriptor = take_socket(exchange->connection);
    struct websocket_visitor visitor;
    struct tally_buf text;

    if (descriptor < 0) {
        websocket_gateway_unreserve(exchange->gateway);
        problem_answer(exchange, PROBLEM_INTERNAL, "the socket cannot be handed over");
        return;
    }
    tally_buf_init(&text, GREETING_BYTES_MAX);
    write_101(exchange, protocol, &text);
    if (protocol == WEBSOCKET_GRAPHQL) {
        describe(exchange, &visitor);
    }
    websocket_gateway_add(exchange->gateway, descriptor, protocol, tally_buf_bytes(&text),
            protocol == WEBSOCKET_GRAPHQL ? &visitor : NULL);
    tally_buf_deinit(&text);
    exchange->response.status = 101;
    exchange->response.streamed = true;
    exchange->keep_alive = false;
}

void websocket_handshake(struct exchange *exchange, enum websocket_protocol protocol)
{
    if (!check(exchange, protocol)) {
        return;
    }
    if (!websocket_gateway_reserve(exchange->gateway)) {
        problem_answer(exchange, PROBLEM_OVERLOADED, "http.websocket.max sockets are open: %lld",
                (long long)tally_runtime_config(exchange->runtime)->http_websocket_max);
        return;
    }
    hand_over(exchange, protocol);
}
