/* tests/unit/test_registry.c - every topology of the product builds, under its name only. */
#include <check.h>
#include <stdlib.h>

#include "topologies/registry.h"

static struct tally_config config;

static void setup(void)
{
    config = (struct tally_config){.topics_prefix = "acme.", .stock_require_registration = true};
}

START_TEST(every_name_builds)
{
    const char *const *names = tally_registry_names();
    size_t count = 0;

    for (; names[count]; count++) {
        struct tally_topology *topology;
        struct tally_error err = {.code = TALLY_OK};

        ck_assert(count == 0 || strcmp(names[count - 1], names[count]) < 0);
        ck_assert_msg(tally_registry_create(names[count], &config, &topology, &err) == TALLY_OK,
                "%s", err.message);
        ck_assert_str_eq(tally_topology_name(topology), names[count]);
        tally_topology_destroy(topology);
    }
    ck_assert_uint_eq(count, 7);
}
END_TEST

START_TEST(stock_depends_on_its_setting)
{
    struct tally_topology *topology;

    ck_assert_int_eq(tally_registry_create("stock", &config, &topology, NULL), TALLY_OK);
    ck_assert_str_eq(tally_topology_commands(topology), "acme.stock.commands");
    ck_assert_str_eq(tally_topology_settings(topology), "stock.require_registration=true");
    tally_topology_destroy(topology);
    config.stock_require_registration = false;
    ck_assert_int_eq(tally_registry_create("stock", &config, &topology, NULL), TALLY_OK);
    ck_assert_str_eq(tally_topology_settings(topology), "stock.require_registration=false");
    tally_topology_destroy(topology);
}
END_TEST

START_TEST(catalogue_sends_to_stock)
{
    struct tally_topology *topology;

    ck_assert_int_eq(tally_registry_create("catalogue", &config, &topology, NULL), TALLY_OK);
    ck_assert_str_eq(tally_topology_target(topology, "stock.commands"), "acme.stock.commands");
    tally_topology_destroy(topology);
}
END_TEST

START_TEST(sagas_send_to_stock_and_to_themselves)
{
    static const char *const names[] = {"reservation", "transfer"};

    for (size_t i = 0; i < 2; i++) {
        struct tally_topology *topology;
        const struct tally_aggregate *aggregate;

        ck_assert_int_eq(tally_registry_create(names[i], &config, &topology, NULL), TALLY_OK);
        aggregate = tally_topology_aggregate(topology);
        ck_assert_str_eq(tally_topology_target(topology, "stock.commands"), "acme.stock.commands");
        ck_assert_str_eq(tally_topology_target(topology, aggregate->commands),
                tally_topology_commands(topology));
        ck_assert(aggregate->has_timers);
        tally_topology_destroy(topology);
    }
}
END_TEST

START_TEST(an_unknown_name_is_refused_with_the_nearest)
{
    struct tally_topology *topology;
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_int_eq(tally_registry_create("stok", &config, &topology, &err), TALLY_CONFIG);
    ck_assert_str_eq(err.message, "topology \"stok\" is not known: did you mean \"stock\"?");
    ck_assert_ptr_null(topology);
    ck_assert_int_eq(tally_registry_create("analytics", &config, &topology, &err), TALLY_CONFIG);
    ck_assert_str_eq(err.message, "topology \"analytics\" is not known: see `tally describe`");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("registry");
    TCase *tcase = tcase_create("names");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, every_name_builds);
    tcase_add_test(tcase, stock_depends_on_its_setting);
    tcase_add_test(tcase, catalogue_sends_to_stock);
    tcase_add_test(tcase, sagas_send_to_stock_and_to_themselves);
    tcase_add_test(tcase, an_unknown_name_is_refused_with_the_nearest);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
