/* test_websocket_graphql.c - graphql-transport-ws: which messages there are, and what a session
 * makes of them. The session is a real one, on a gateway of its own; its operations are taken by
 * threads only in the tests that say so. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/auth.h"
#include "http/graphql/graphql_route.h"
#include "http/websocket/websocket.h"
#include "http/websocket/websocket_graphql.h"
#include "http/websocket/websocket_graphql_message.h"

enum { BYTES_MAX = 4096 };

/* --- messages --------------------------------------------------------------------------------- */

static const struct {
    const char *text;
    int kind; /* -1: none */
} messages[] = {
        {"{\"type\":\"connection_init\"}", WEBSOCKET_GRAPHQL_INIT},
        {" \r\n\t{\"type\":\"connection_init\",\"payload\":{\"a\":1}} \n", WEBSOCKET_GRAPHQL_INIT},
        {"{\"type\":\"connection_init\",\"payload\":null}", WEBSOCKET_GRAPHQL_INIT},
        {"{\"type\":\"ping\"}", WEBSOCKET_GRAPHQL_PING},
        {"{\"type\":\"pong\",\"payload\":{}}", WEBSOCKET_GRAPHQL_PONG},
        {"{\"type\":\"complete\",\"id\":\"a\"}", WEBSOCKET_GRAPHQL_COMPLETE},
        {"{\"type\":\"subscribe\",\"id\":\"a\",\"payload\":{\"query\":\"{a}\"}}",
                WEBSOCKET_GRAPHQL_SUBSCRIBE},
        {"{\"type\":\"subscribe\",\"id\":\"a\",\"payload\":{\"query\":\"{a}\",\"operationName\":"
         "null,"
         "\"variables\":null,\"extensions\":null}}",
                WEBSOCKET_GRAPHQL_SUBSCRIBE},
        {"", -1},
        {"   ", -1},
        {"[]", -1},
        {"{", -1},
        {"{}", -1},
        {"{\"type\":null}", -1},
        {"{\"type\":\"Ping\"}", -1},
        {"{\"type\":\"next\",\"id\":\"a\",\"payload\":{}}", -1},
        {"{\"type\":\"error\",\"id\":\"a\",\"payload\":[]}", -1},
        {"{\"type\":\"connection_ack\"}", -1},
        {"{\"type\":\"ping\",\"payload\":[]}", -1},
        {"{\"type\":\"ping\",\"payload\":{\"a\":1.5}}", -1},
        {"{\"type\":\"ping\"}{\"type\":\"ping\"}", -1},
        {"{\"type\":\"complete\"}", -1},
        {"{\"type\":\"complete\",\"id\":\"\"}", -1},
        {"{\"type\":\"subscribe\",\"id\":\"a\"}", -1},
        {"{\"type\":\"subscribe\",\"id\":\"a\",\"payload\":{\"query\":null}}", -1},
        {"{\"type\":\"subscribe\",\"id\":\"a\",\"payload\":{\"query\":\"{a}\",\"variables\":\"\"}}",
                -1},
};

START_TEST(understands_what_the_protocol_has)
{
    struct websocket_graphql_message message;
    struct tally_arena arena;
    const char *wrong;

    tally_arena_init(&arena, BYTES_MAX);
    wrong = websocket_graphql_message_read(tally_slice_string(messages[_i].text), &arena, &message);
    ck_assert_msg((wrong == NULL) == (messages[_i].kind >= 0), "%s: %s", messages[_i].text,
            wrong ? wrong : "taken");
    if (!wrong) {
        ck_assert_int_eq(message.kind, messages[_i].kind);
    }
    tally_arena_deinit(&arena);
}
END_TEST

/* --- a session -------------------------------------------------------------------------------- */

static struct websocket websocket;
static struct exchange prototype;
static struct limits limits;
static struct tally_config config;
static struct auth *auth;
static struct graphql_schema *schema;
static int client;

static void wake(void *context)
{
    (void)context;
    websocket_gateway_wake(websocket.gateway);
}

static void work(void *context)
{
    websocket_graphql_work(context);
}

static void connect_client(bool acceptable)
{
    struct websocket_visitor visitor = {.client = "127.0.0.1", .unacceptable = !acceptable};
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    client = pair[0];
    ck_assert(websocket_gateway_reserve(websocket.gateway));
    websocket_gateway_add(websocket.gateway, pair[1], WEBSOCKET_GRAPHQL, TALLY_NONE, &visitor);
}

static void begin(void)
{
    const struct websocket_gateway_options options = {.max = 4,
            .ping_ms = 60000,
            .protocols = {[WEBSOCKET_GRAPHQL] = &websocket_graphql_ops},
            .context = &websocket,
            .work = work};
    struct tally_error err;

    config.http_auth = (char *)(uintptr_t) "none";
    schema = graphql_route_schema();
    ck_assert_int_eq(auth_create(&config, &auth, &err), TALLY_OK);
    websocket.auth = auth;
    prototype = (struct exchange){.graphql = schema, .limits = &limits, .auth = auth};
    websocket.gateway = websocket_gateway_create(&options);
    websocket.operations = websocket_operations_create(&prototype, wake, NULL);
    websocket_gateway_start(websocket.gateway);
}

static void end(void)
{
    websocket_gateway_stop(websocket.gateway);
    websocket_operations_stop(websocket.operations);
    websocket_operations_destroy(websocket.operations);
    websocket_gateway_destroy(websocket.gateway);
    graphql_route_schema_destroy(schema);
    auth_destroy(auth);
    close(client);
}

static void say(const char *text)
{
    uint8_t frame[BYTES_MAX];
    size_t len = strlen(text), head = websocket_frame_head(WEBSOCKET_TEXT, len, frame);

    frame[1] |= 0x80;
    memset(frame + head, 0, 4); /* a mask that changes nothing */
    memcpy(frame + head + 4, text, len);
    ck_assert_int_eq(send(client, frame, head + 4 + len, 0), (ssize_t)(head + 4 + len));
}

static void take(uint8_t *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t count = recv(client, bytes + at, len - at, 0);

        ck_assert_int_gt(count, 0);
        at += (size_t)count;
    }
}

/* The next frame; of a close frame its status as text. */
static const char *hear(void)
{
    static char text[BYTES_MAX];
    uint8_t head[4];
    size_t len;

    take(head, 2);
    len = head[1];
    if (len == 126) {
        take(head + 2, 2);
        len = tally_read_u16(head + 2);
    }
    ck_assert_uint_lt(len, sizeof text);
    take((uint8_t *)text, len);
    text[len] = '\0';
    if ((head[0] & 15) == WEBSOCKET_CLOSE) {
        snprintf(text, sizeof text, "%u", tally_read_u16((uint8_t *)text));
    }
    return text;
}

static void acknowledged(void)
{
    connect_client(true);
    say("{\"type\":\"connection_init\"}");
    ck_assert_str_eq(hear(), "{\"type\":\"connection_ack\"}");
}

static void subscribe(int number)
{
    char text[200];

    snprintf(text, sizeof text,
            "{\"type\":\"subscribe\",\"id\":\"n%d\",\"payload\":{\"query\":\"{ nothing }\"}}",
            number);
    say(text);
}

static const struct {
    const char *texts[3];
    const char *status;
    bool before_init;
} ends[] = {
        {{"x"}, "4400", false},
        {{"{\"type\":\"hello\"}"}, "4400", true},
        {{"{\"type\":\"connection_init\"}"}, "4429", false},
        {{"{\"type\":\"subscribe\",\"id\":\"a\",\"payload\":{\"query\":\"{a}\"}}"}, "4401", true},
        {{"{\"type\":\"subscribe\",\"id\":\"a\",\"payload\":{\"query\":\"{a}\"}}",
                 "{\"type\":\"subscribe\",\"id\":\"a\",\"payload\":{\"query\":\"{b}\"}}"},
                "4409", false},
        {{"{\"type\":\"subscribe\",\"id\":\"a\\u0062\",\"payload\":{\"query\":\"{a}\"}}",
                 "{\"type\":\"subscribe\",\"id\":\"ab\",\"payload\":{\"query\":\"{b}\"}}"},
                "4409", false},
};

START_TEST(what_breaks_the_protocol_ends_the_socket)
{
    if (ends[_i].before_init) {
        connect_client(true);
    } else {
        acknowledged();
    }
    for (size_t i = 0; i < 3 && ends[_i].texts[i]; i++) {
        say(ends[_i].texts[i]);
    }
    ck_assert_str_eq(hear(), ends[_i].status);
}
END_TEST

START_TEST(another_subprotocol_is_not_acceptable)
{
    connect_client(false);
    ck_assert_str_eq(hear(), "4406");
}
END_TEST

START_TEST(pings_are_answered_at_any_time)
{
    connect_client(true);
    say("{\"type\":\"ping\"}");
    ck_assert_str_eq(hear(), "{\"type\":\"pong\"}");
    say("{\"type\":\"pong\"}");
    say("{\"type\":\"ping\",\"payload\":{\"a\":[null,\"\\u00e9\"]}}");
    ck_assert_str_eq(hear(), "{\"type\":\"pong\",\"payload\":{\"a\":[null,\"\xc3\xa9\"]}}");
}
END_TEST

/* Invariant 1: an id is free again once the client has completed it, also while its operation is
 * with the threads. */
START_TEST(an_id_is_free_once_it_is_completed)
{
    acknowledged();
    for (int i = 0; i < 5; i++) {
        subscribe(1);
        say("{\"type\":\"complete\",\"id\":\"n1\"}");
    }
    say("{\"type\":\"complete\",\"id\":\"nobody\"}");
    say("{\"type\":\"ping\"}");
    ck_assert_str_eq(hear(), "{\"type\":\"pong\"}");
}
END_TEST

START_TEST(a_socket_has_twenty_operations)
{
    acknowledged();
    for (int i = 0; i < 21; i++) {
        subscribe(i);
    }
    ck_assert_str_eq(hear(),
            "{\"id\":\"n20\",\"type\":\"error\",\"payload\":[{\"message\":\"a socket has at most "
            "20 "
            "operations\",\"extensions\":{\"code\":\"TOO_MANY_SUBSCRIPTIONS\"}}]}");
}
END_TEST

START_TEST(what_is_refused_is_told_and_its_id_is_free)
{
    websocket_operations_start(websocket.operations);
    acknowledged();
    for (int i = 0; i < 3; i++) {
        subscribe(7);
        ck_assert_str_eq(hear(),
                "{\"id\":\"n7\",\"type\":\"error\",\"payload\":[{\"message\":\"Cannot query field "
                "\\\"nothing\\\" on type "
                "\\\"Query\\\".\",\"locations\":[{\"line\":1,\"column\":3}],"
                "\"extensions\":{\"code\":\"INVALID_PARAMETER\"}}]}");
    }
    say("{\"type\":\"subscribe\",\"id\":\"s\",\"payload\":{\"query\":\"subscription ($s: [ID!]!) { "
        "stockChanged(skus: $s) { sku } }\",\"variables\":{\"s\":[]}}}");
    ck_assert_str_eq(hear(),
            "{\"id\":\"s\",\"type\":\"error\",\"payload\":[{\"message\":\"sku: expected one or "
            "more, "
            "each of 1 to 128 bytes\",\"locations\":[{\"line\":1,\"column\":29}],\"extensions\":{"
            "\"code\":\"INVALID_PARAMETER\"}}]}");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("websocket_graphql");
    TCase *tcase = tcase_create("messages");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(tcase, understands_what_the_protocol_has, 0,
            (int)(sizeof messages / sizeof *messages));
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("session");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, begin, end);
    tcase_add_loop_test(tcase, what_breaks_the_protocol_ends_the_socket, 0,
            (int)(sizeof ends / sizeof *ends));
    tcase_add_test(tcase, another_subprotocol_is_not_acceptable);
    tcase_add_test(tcase, pings_are_answered_at_any_time);
    tcase_add_test(tcase, an_id_is_free_once_it_is_completed);
    tcase_add_test(tcase, a_socket_has_twenty_operations);
    tcase_add_test(tcase, what_is_refused_is_told_and_its_id_is_free);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
