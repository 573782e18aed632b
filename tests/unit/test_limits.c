/* test_limits.c - which policy a route is under, and whom a request is counted for. */
#include "http/limits.h"

#include <check.h>
#include <stdlib.h>

#include "http/router.h"

START_TEST(routes_have_policies)
{
    ck_assert_int_eq(limits_policy_of(router_route(ROUTE_PRODUCTS)), LIMITS_SEARCH);
    ck_assert_int_eq(limits_policy_of(router_route(ROUTE_PRODUCT_SLUG)), LIMITS_READ);
    ck_assert_int_eq(limits_policy_of(router_route(ROUTE_AVAILABILITY)), LIMITS_READ);
    ck_assert_int_eq(limits_policy_of(router_route(ROUTE_COMMAND_READ)), LIMITS_READ);
    ck_assert_int_eq(limits_policy_of(router_route(ROUTE_COMMAND_SEND)), LIMITS_WRITE);
    ck_assert_int_eq(limits_policy_of(router_route(ROUTE_COMMAND_BATCH)), LIMITS_WRITE);
    ck_assert_int_eq(limits_policy_of(router_route(ROUTE_READYZ)), LIMITS_NONE);
    ck_assert_int_eq(limits_policy_of(router_route(ROUTE_METRICS)), LIMITS_NONE);
    ck_assert_int_eq(limits_policy_of(router_route(ROUTE_OPS_TASKS)), LIMITS_NONE);
}
END_TEST

static struct tally_slice client(const char *peer, const char *first, const char *second)
{
    static char *proxies[] = {"10.0.0.1", "10.0.0.2"};
    static struct tally_config config;
    static struct request request;
    struct limits limits;

    config = (struct tally_config){.http_trusted_proxies = {proxies, 2}};
    request = (struct request){.peer = peer};
    if (first) {
        request.headers[request.header_count++] = (struct request_header){"X-Forwarded-For", first};
    }
    if (second) {
        request.headers[request.header_count++] =
                (struct request_header){"x-forwarded-for", second};
    }
    limits_init(&limits, &config, NULL);
    return limits_client(&limits, &request);
}

static const struct {
    const char *peer, *first, *second, *client;
} clients[] = {
        {"1.2.3.4", NULL, NULL, "1.2.3.4"},
        {"1.2.3.4", "5.6.7.8", NULL, "1.2.3.4"}, /* anybody may write that */
        {"10.0.0.1", NULL, NULL, "10.0.0.1"},
        {"10.0.0.1", "5.6.7.8", NULL, "5.6.7.8"},
        {"10.0.0.2", "9.9.9.9, 5.6.7.8", NULL, "5.6.7.8"},
        {"10.0.0.2", "9.9.9.9", "7.7.7.7,5.6.7.8", "5.6.7.8"},
        {"10.0.0.1", "", NULL, "10.0.0.1"},
        {"10.0.0.1", "5.6.7.8,", NULL, "10.0.0.1"},
        {"10.0.0.11", "5.6.7.8", NULL, "10.0.0.11"},
        {"10.0.0.1",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                NULL, "10.0.0.1"},
};

START_TEST(finds_the_client)
{
    struct tally_slice found = client(clients[_i].peer, clients[_i].first, clients[_i].second);

    ck_assert_msg(tally_slice_equal(found, tally_slice_string(clients[_i].client)), "%.*s",
            (int)found.len, (const char *)found.data);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("limits");
    TCase *tests = tcase_create("limits");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tests, routes_have_policies);
    tcase_add_loop_test(tests, finds_the_client, 0, sizeof clients / sizeof *clients);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
