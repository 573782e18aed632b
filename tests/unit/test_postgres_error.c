/* tests/unit/test_postgres_error.c - which code each answer of PostgreSQL leads to
 * (connectors/postgres_error.c). */
#include <check.h>
#include <stdlib.h>

#include "connectors/postgres_internal.h"

static const struct {
    const char *state;
    enum tally_code code;
} expected[] = {{"", TALLY_UNAVAILABLE}, {"08006", TALLY_UNAVAILABLE}, {"57P01", TALLY_UNAVAILABLE},
        {"57P03", TALLY_UNAVAILABLE}, {"53300", TALLY_UNAVAILABLE}, {"XX000", TALLY_UNAVAILABLE},
        {"42P01", TALLY_SINK_SCHEMA}, {"42703", TALLY_SINK_SCHEMA}, {"3F000", TALLY_SINK_SCHEMA},
        {"42883", TALLY_SINK_SCHEMA}, {"3D000", TALLY_SINK_SCHEMA}, {"28P01", TALLY_SINK_DENIED},
        {"28000", TALLY_SINK_DENIED}, {"42501", TALLY_SINK_DENIED}, {"53100", TALLY_SINK_FULL},
        {"25006", TALLY_SINK_FULL}, {"22021", TALLY_SINK_REFUSED}, {"22P05", TALLY_SINK_REFUSED},
        {"23503", TALLY_SINK_REFUSED}, {"23514", TALLY_SINK_REFUSED}, {"54000", TALLY_SINK_REFUSED},
        {"40001", TALLY_TIMEOUT}, {"40P01", TALLY_TIMEOUT}, {"55P03", TALLY_TIMEOUT},
        {"57014", TALLY_TIMEOUT}};

START_TEST(the_longest_row_decides)
{
    ck_assert_int_eq(postgres_error_classify(NULL), TALLY_UNAVAILABLE);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        ck_assert_msg(postgres_error_classify(expected[i].state) == expected[i].code, "%s: %s",
                expected[i].state, tally_code_name(postgres_error_classify(expected[i].state)));
    }
}
END_TEST

/* No attempt may skip an offset: only what the record itself is to blame for is SKIP. */
START_TEST(nothing_is_skipped_for_troubles_of_the_server)
{
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const char *state = expected[i].state;
        bool data = strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0 ||
                    strncmp(state, "54", 2) == 0;

        ck_assert_int_eq(tally_code_reaction(postgres_error_classify(state)) == TALLY_REACT_SKIP,
                data);
    }
}
END_TEST

START_TEST(a_server_that_is_not_there)
{
    struct postgres_options options = {.name = "test",
            .url = "host=127.0.0.1 port=1 dbname=tally",
            .statement_ms = 1000,
            .search_path = "tally"};
    struct postgres_connection connection;
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_int_eq(postgres_connection_open(&connection, &options, &err), TALLY_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(err.message, "could not connect"));
    ck_assert(!postgres_connection_is_open(&connection));
    options.url = "host=127.0.0.1 prot=1";
    ck_assert_int_ne(postgres_connection_open(&connection, &options, &err), TALLY_OK);
    ck_assert_ptr_nonnull(strstr(err.message, "prot"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("postgres_error");
    TCase *tcase = tcase_create("codes");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, the_longest_row_decides);
    tcase_add_test(tcase, nothing_is_skipped_for_troubles_of_the_server);
    tcase_add_test(tcase, a_server_that_is_not_there);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
