/* test_router.c - which path leads where, and what the table promises. */
#include "http/router.h"

#include <check.h>
#include <stdlib.h>

static struct request request;
static char allowed[ROUTER_ALLOW_LEN];

static const struct route *find(const char *method, const char *path)
{
    request = (struct request){
            .method_name = method,
            .method = request_method_of(method),
            .path = tally_slice_string(path),
    };
    return router_find(&request, allowed);
}

static void leads_to(const char *path, enum route_id id, const char *first, const char *second)
{
    const struct route *route = find("GET", path);

    ck_assert_msg(route != NULL, "%s leads nowhere", path);
    ck_assert_int_eq(route->id, id);
    ck_assert(!first || tally_slice_equal(request.params[0], tally_slice_string(first)));
    ck_assert(!second || tally_slice_equal(request.params[1], tally_slice_string(second)));
}

START_TEST(finds_routes)
{
    leads_to("/v1/stock/TS-RED-M", ROUTE_STOCK_SKU, "TS-RED-M", NULL);
    leads_to("/v1/stock/TS-RED-M/AMS1", ROUTE_STOCK_LEVEL, "TS-RED-M", "AMS1");
    leads_to("/v1/stock/TS-RED-M/ledger", ROUTE_STOCK_LEDGER, "TS-RED-M", NULL);
    leads_to("/v1/commands/a:b.c_d~e", ROUTE_COMMAND_READ, "a:b.c_d~e", NULL);
    leads_to("/v1/ops/stores/stock/level", ROUTE_OPS_STORE, "stock", "level");
    leads_to("/livez", ROUTE_LIVEZ, NULL, NULL);
    ck_assert_int_eq(find("POST", "/v1/commands/ReceiveStock")->id, ROUTE_COMMAND_SEND);
    ck_assert_int_eq(find("HEAD", "/v1/warehouses")->id, ROUTE_WAREHOUSES);
}
END_TEST

START_TEST(finds_nothing_else)
{
    static const char *const paths[] = {"/", "/v1", "/v1/", "/v1/stock", "/v1/stock/",
            "/v1/stock//A", "/v1/stock/A/B/C", "/livez/", "//livez", "/LIVEZ", "/v1/stock/A%42",
            "/v1/stock/A B", "/v1/stock/\xc3\xa4", "/v1/stock/A;B", "/v1/stock/{sku}x{",
            "/v1/commands/", "/livezz", "/live"};

    ck_assert_ptr_null(find("GET", paths[_i]));
    ck_assert_str_eq(allowed, "");
    ck_assert_ptr_null(find("POST", paths[_i]));
    ck_assert_str_eq(allowed, "");
}
END_TEST

START_TEST(tells_what_is_allowed)
{
    ck_assert_ptr_null(find("DELETE", "/v1/commands/c-1"));
    ck_assert_str_eq(allowed, "POST, GET, HEAD");
    ck_assert_ptr_null(find("POST", "/v1/stock/A"));
    ck_assert_str_eq(allowed, "GET, HEAD");
    ck_assert_ptr_null(find("OPTIONS", "/metrics"));
    ck_assert_str_eq(allowed, "GET, HEAD");
}
END_TEST

START_TEST(every_row_is_whole)
{
    const struct route *route = router_route((enum route_id)_i);

    ck_assert_int_eq(route->id, _i);
    ck_assert_int_eq(route->pattern[0], '/');
    ck_assert(route->handler && route->help[0] && route->answers[0]);
    ck_assert(strcmp(route->by, "K") == 0 || strcmp(route->by, "S") == 0 ||
              strcmp(route->by, "R") == 0 || strcmp(route->by, "P") == 0 ||
              strcmp(route->by, "process") == 0);
    ck_assert(route->permission != PERMISSION_WRITER || route->method == REQUEST_POST);
    ck_assert_int_eq(strncmp(route->pattern, "/v1/ops/", 8) == 0,
            route->permission == PERMISSION_OPERATOR);
    ck_assert_int_eq(strncmp(route->pattern, "/health/", 8) == 0 ||
                             strcmp(route->pattern, "/livez") == 0 ||
                             strcmp(route->pattern, "/readyz") == 0 ||
                             strcmp(route->pattern, "/startupz") == 0,
            route->permission == PERMISSION_PUBLIC);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("router");
    TCase *tests = tcase_create("router");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tests, finds_routes);
    tcase_add_loop_test(tests, finds_nothing_else, 0, 18);
    tcase_add_test(tests, tells_what_is_allowed);
    tcase_add_loop_test(tests, every_row_is_whole, 0, ROUTES);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
