/* test_reading.c - headers of answers that several tasks gave. */
#include "http/reading.h"

#include <check.h>
#include <stdlib.h>

static struct exchange exchange;
static struct tally_buf positions;

static void begin(void)
{
    exchange = (struct exchange){.runtime = NULL};
    response_init(&exchange.response);
    response_reset(&exchange.response);
    tally_buf_init(&positions, READING_POSITIONS_BYTES_MAX);
}

static void end(void)
{
    response_deinit(&exchange.response);
    tally_buf_deinit(&positions);
}

static void add(int count)
{
    for (int i = 0; i < count; i++) {
        reading_positions_add(&positions,
                &(struct tally_read_info){
                        .topic = "shop.stock.events", .partition = i, .position = 1000000 + i});
    }
}

static void headers_are(const char *text)
{
    ck_assert_msg(tally_slice_equal(tally_buf_bytes(&exchange.response.headers),
                          tally_slice_string(text)),
            "are %.*s", (int)exchange.response.headers.len,
            (const char *)exchange.response.headers.data);
}

START_TEST(positions_are_joined)
{
    add(2);
    reading_positions_add(&positions,
            &(struct tally_read_info){.topic = "stock.events", .partition = 7, .position = -1});
    reading_positions_header(&exchange, &positions);
    headers_are("Tally-Position: shop.stock.events/0@1000000,shop.stock.events/1@1000001\r\n");
}
END_TEST

START_TEST(no_position_is_no_header)
{
    reading_positions_header(&exchange, &positions);
    headers_are("");
}
END_TEST

/* A header of more than 1 KiB once ended the process. */
START_TEST(many_positions_fit)
{
    add(100);
    reading_positions_header(&exchange, &positions);
    ck_assert_uint_gt(exchange.response.headers.len, 2500);
    ck_assert(!exchange.response.headers.failed);
}
END_TEST

START_TEST(too_many_positions_are_left_out)
{
    add(1024);
    reading_positions_header(&exchange, &positions);
    headers_are("");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reading");
    TCase *tests = tcase_create("reading");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, positions_are_joined);
    tcase_add_test(tests, no_position_is_no_header);
    tcase_add_test(tests, many_positions_fit);
    tcase_add_test(tests, too_many_positions_are_left_out);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
