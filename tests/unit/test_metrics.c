/* tests/unit/test_metrics.c - series, quantiles, and the text that Prometheus reads. */
#include "engine/base/metrics.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/thread.h"

static struct tally_buf out;

static const char *print(void)
{
    tally_buf_init(&out, 1 << 20);
    tally_metrics_print(&out);
    ck_assert(!out.failed);
    tally_buf_byte(&out, 0);
    return (const char *)out.data;
}

static void assert_shows(const char *text, const char *line)
{
    ck_assert_msg(strstr(text, line) != NULL, "missing \"%s\" in:\n%s", line, text);
}

START_TEST(plain_metrics_are_zero_from_the_start)
{
    const char *text = print();

    assert_shows(text, "# HELP tally_producers_recreated_total Transactional producers replaced");
    assert_shows(text, "# TYPE tally_producers_recreated_total counter\n"
                       "tally_producers_recreated_total 0\n");
    assert_shows(text, "# TYPE tally_commit_seconds histogram\n"
                       "tally_commit_seconds_bucket{le=\"0.001\"} 0\n");
    assert_shows(text, "tally_commit_seconds_bucket{le=\"+Inf\"} 0\n"
                       "tally_commit_seconds_sum 0.000000\ntally_commit_seconds_count 0\n");
    ck_assert_ptr_null(strstr(text, "tally_commands_total"));
    tally_buf_deinit(&out);
}
END_TEST

START_TEST(a_series_is_found_again)
{
    struct tally_series *accepted = tally_series_of(TALLY_METRIC_COMMANDS, "stock", "accepted");
    struct tally_series *rejected = tally_series_of(TALLY_METRIC_COMMANDS, "stock", "rejected");
    struct tally_series *lag = tally_series_of(TALLY_METRIC_LAG_RECORDS, "stock", "0");
    struct tally_series *producers = tally_series_of(TALLY_METRIC_PRODUCERS);

    ck_assert_ptr_ne(accepted, rejected);
    ck_assert_ptr_eq(tally_series_of(TALLY_METRIC_COMMANDS, "stock", "accepted"), accepted);
    ck_assert_ptr_eq(tally_series_get(TALLY_METRIC_PRODUCERS, NULL), producers);
    tally_series_add(accepted, 2);
    tally_series_add(accepted, 3);
    tally_series_set(lag, -7);
    ck_assert_int_eq(tally_series_read(accepted), 5);
    ck_assert_int_eq(tally_series_read(lag), -7);
    assert_shows(print(), "# TYPE tally_commands_total counter\n"
                          "tally_commands_total{topology=\"stock\",outcome=\"accepted\"} 5\n"
                          "tally_commands_total{topology=\"stock\",outcome=\"rejected\"} 0\n#");
    assert_shows((const char *)out.data,
            "tally_consumer_lag_records{topology=\"stock\",partition=\"0\"} -7\n");
    tally_buf_deinit(&out);
}
END_TEST

START_TEST(label_values_are_escaped)
{
    tally_series_add(tally_series_of(TALLY_METRIC_REPLIES, "a\"b\\c\nd"), 1);
    assert_shows(print(), "tally_replies_total{result=\"a\\\"b\\\\c\\nd\"} 1\n");
    tally_buf_deinit(&out);
}
END_TEST

START_TEST(buckets_are_cumulative_and_exact)
{
    struct tally_series *series = tally_series_of(TALLY_METRIC_HTTP_TIME, "/v1/stock");
    const char *text;

    tally_series_observe_us(series, 1000);     /* at the bound */
    tally_series_observe_us(series, 1001);     /* above it */
    tally_series_observe_us(series, 60000001); /* above the last */
    tally_series_observe_us(series, -5);       /* a clock that went back */
    text = print();
    assert_shows(text, "tally_http_request_seconds_bucket{route=\"/v1/stock\",le=\"0.001\"} 2\n"
                       "tally_http_request_seconds_bucket{route=\"/v1/stock\",le=\"0.0025\"} 3\n");
    assert_shows(text, "{route=\"/v1/stock\",le=\"60\"} 3\n"
                       "tally_http_request_seconds_bucket{route=\"/v1/stock\",le=\"+Inf\"} 4\n"
                       "tally_http_request_seconds_sum{route=\"/v1/stock\"} 60.002002\n"
                       "tally_http_request_seconds_count{route=\"/v1/stock\"} 4\n");
    tally_buf_deinit(&out);
}
END_TEST

START_TEST(quantiles_are_close_from_above)
{
    struct tally_series *series = tally_series_of(TALLY_METRIC_COMMIT_TIME);

    ck_assert_int_eq(tally_series_quantile_us(series, 0.5), 0);
    for (int64_t us = 1; us <= 100000; us++) {
        tally_series_observe_us(series, us);
    }
    for (int percent = 1; percent <= 100; percent++) {
        int64_t exact = 1000 * percent;
        int64_t found = tally_series_quantile_us(series, percent / 100.0);

        ck_assert_int_ge(found, exact);
        ck_assert_int_le(found, exact + exact / 16 + 1);
    }
    ck_assert_int_eq(tally_series_quantile_us(series, 0), 1);
    ck_assert_int_eq(tally_series_read(series), 100000);
}
END_TEST

START_TEST(the_largest_values_have_a_bucket)
{
    struct tally_series *series = tally_series_of(TALLY_METRIC_FLUSH_TIME);

    tally_series_observe_us(series, INT64_C(1) << 40);
    tally_series_observe_us(series, INT64_MAX / 4);
    ck_assert_int_eq(tally_series_quantile_us(series, 1), (INT64_C(1) << 40) - 1);
}
END_TEST

/* Invariant (2) of metrics.c. */
START_TEST(too_many_series_share_one)
{
    struct tally_series *last = NULL, *refused = tally_series_of(TALLY_METRIC_SERIES_REFUSED);
    char value[2000];

    for (int i = 0; i < 4100; i++) {
        (void)snprintf(value, sizeof value, "%d", i);
        last = tally_series_of(TALLY_METRIC_RESTORED, value);
        tally_series_add(last, 1);
    }
    ck_assert_int_gt(tally_series_read(refused), 100);
    ck_assert_ptr_eq(tally_series_of(TALLY_METRIC_LATENCY, "new"), last);
    tally_series_observe_us(last, 5);
    ck_assert_ptr_null(strstr(print(), "topology=\"4099\""));
    tally_buf_deinit(&out);
    ck_assert_ptr_ne(tally_series_of(TALLY_METRIC_RESTORED, "0"), last);
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    ck_assert_ptr_eq(tally_series_of(TALLY_METRIC_RESTORED, value), last);
}
END_TEST

START_TEST(a_hidden_gauge_is_not_shown)
{
    struct tally_series *lag = tally_series_of(TALLY_METRIC_LAG_SECONDS, "stock");

    tally_series_set(lag, TALLY_SERIES_HIDDEN);
    ck_assert_ptr_null(strstr(print(), "tally_consumer_lag_seconds"));
    tally_buf_deinit(&out);
    tally_series_set(lag, 3);
    assert_shows(print(), "# TYPE tally_consumer_lag_seconds gauge\n"
                          "tally_consumer_lag_seconds{topology=\"stock\"} 3\n");
    tally_buf_deinit(&out);
}
END_TEST

START_TEST(seconds_are_counted_in_microseconds)
{
    tally_series_set(tally_series_of(TALLY_METRIC_CPU_TIME), 12000345);
    assert_shows(print(), "# TYPE process_cpu_seconds_total counter\n"
                          "process_cpu_seconds_total 12.000345\n");
    tally_buf_deinit(&out);
}
END_TEST

static void set_build_info(void *context)
{
    tally_series_set(tally_series_of(TALLY_METRIC_BUILD_INFO, "1.0", "abc"), *(int *)context);
}

START_TEST(collectors_run_before_printing)
{
    int value = 1;

    tally_metrics_collector(set_build_info, &value);
    assert_shows(print(), "tally_build_info{version=\"1.0\",commit=\"abc\"} 1\n");
    tally_buf_deinit(&out);
    tally_metrics_collector_remove(set_build_info, &value);
    value = 2;
    assert_shows(print(), "tally_build_info{version=\"1.0\",commit=\"abc\"} 1\n");
    tally_buf_deinit(&out);
}
END_TEST

static void add(void *argument)
{
    (void)argument;
    for (int i = 0; i < 10000; i++) {
        tally_series_add(tally_series_of(TALLY_METRIC_FLUSHES, "ok"), 1);
        tally_series_observe_us(tally_series_of(TALLY_METRIC_FLUSH_TIME), i);
    }
}

START_TEST(no_update_is_lost)
{
    struct tally_thread threads[3];

    for (int i = 0; i < 3; i++) {
        tally_thread_start(&threads[i], "add", add, NULL);
    }
    for (int i = 0; i < 3; i++) {
        tally_thread_join(&threads[i]);
    }
    ck_assert_int_eq(tally_series_read(tally_series_of(TALLY_METRIC_FLUSHES, "ok")), 30000);
    ck_assert_int_eq(tally_series_read(tally_series_of(TALLY_METRIC_FLUSH_TIME)), 30000);
}
END_TEST

/* What promtool would refuse: a name whose HELP or TYPE comes twice or after its samples. */
START_TEST(series_of_a_name_stand_together)
{
    char *line, *next;
    char current[128] = "";
    int types = 0;

    tally_series_add(tally_series_of(TALLY_METRIC_RECORDS_POLLED, "stock"), 1);
    tally_series_add(tally_series_of(TALLY_METRIC_RECORDS_POLLED, "catalogue"), 1);
    (void)print();
    for (line = (char *)out.data; *line; line = next) {
        next = strchr(line, '\n');
        ck_assert_ptr_nonnull(next);
        *next++ = '\0';
        if (strncmp(line, "# HELP ", 7) == 0) {
            ck_assert_int_eq(sscanf(line + 7, "%127s", current), 1);
            ck_assert_int_eq(strncmp(next, "# TYPE ", 7), 0);
            ck_assert_int_eq(strncmp(next + 7, current, strlen(current)), 0);
            types++;
        } else if (line[0] != '#') {
            ck_assert_int_eq(strncmp(line, current, strlen(current)), 0);
        }
    }
    ck_assert_int_gt(types, 5);
    tally_buf_deinit(&out);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("metrics");
    TCase *tests = tcase_create("metrics");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_add_test(tests, plain_metrics_are_zero_from_the_start);
    tcase_add_test(tests, a_series_is_found_again);
    tcase_add_test(tests, label_values_are_escaped);
    tcase_add_test(tests, buckets_are_cumulative_and_exact);
    tcase_add_test(tests, quantiles_are_close_from_above);
    tcase_add_test(tests, the_largest_values_have_a_bucket);
    tcase_add_test(tests, too_many_series_share_one);
    tcase_add_test(tests, a_hidden_gauge_is_not_shown);
    tcase_add_test(tests, seconds_are_counted_in_microseconds);
    tcase_add_test(tests, collectors_run_before_printing);
    tcase_add_test(tests, no_update_is_lost);
    tcase_add_test(tests, series_of_a_name_stand_together);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
