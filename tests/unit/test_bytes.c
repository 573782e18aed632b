/* tests/unit/test_bytes.c - buffers, varints, UTF-8, numbers and times. */
#include "engine/base/bytes.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

START_TEST(a_buffer_never_passes_its_maximum)
{
    struct tally_buf buf;

    tally_buf_init(&buf, 10);
    tally_buf_string(&buf, "12345");
    tally_buf_byte(&buf, '6');
    tally_buf_format(&buf, "%d", 7890);
    ck_assert(!buf.failed);
    ck_assert(tally_slice_equal(tally_buf_bytes(&buf), TALLY_SLICE("1234567890")));
    ck_assert_uint_le(buf.capacity, 10);
    tally_buf_slice(&buf, TALLY_SLICE("x"));
    ck_assert(buf.failed);
    tally_buf_slice(&buf, TALLY_NONE);
    ck_assert_uint_eq(buf.len, 10);
    ck_assert_ptr_null(tally_buf_reserve(&buf, 0));
    tally_buf_clear(&buf);
    tally_buf_format(&buf, "%s", "12345678901");
    ck_assert(buf.failed);
    ck_assert_uint_eq(buf.len, 0);
    tally_buf_deinit(&buf);
}
END_TEST

START_TEST(a_buffer_grows)
{
    struct tally_buf buf;

    tally_buf_init(&buf, 1 << 20);
    for (int i = 0; i < 100000; i++) {
        tally_buf_format(&buf, "%d,", i % 10);
    }
    ck_assert_uint_eq(buf.len, 200000);
    ck_assert_int_eq(memcmp(buf.data + 199990, "5,6,7,8,9,", 10), 0);
    ck_assert_uint_ge(buf.capacity, buf.len);
    ck_assert_ptr_nonnull(tally_buf_reserve(&buf, (1 << 20) - 200000));
    ck_assert_ptr_null(tally_buf_reserve(&buf, SIZE_MAX));
    tally_buf_deinit(&buf);
    ck_assert_ptr_null(buf.data);
}
END_TEST

START_TEST(slices_compare_as_bytes)
{
    ck_assert_int_lt(tally_slice_compare(TALLY_SLICE("a"), TALLY_SLICE("ab")), 0);
    ck_assert_int_gt(tally_slice_compare(TALLY_SLICE("\xff"), TALLY_SLICE("a")), 0);
    ck_assert_int_eq(tally_slice_compare(TALLY_NONE, TALLY_SLICE("")), 0);
    ck_assert(tally_slice_starts(TALLY_SLICE("abc"), TALLY_NONE));
    ck_assert(!tally_slice_starts(TALLY_SLICE("ab"), TALLY_SLICE("abc")));
}
END_TEST

START_TEST(varints_survive)
{
    static const uint64_t values[] = {
            0, 1, 127, 128, 300, 16383, 16384, UINT32_MAX, UINT64_C(1) << 63, UINT64_MAX};
    static const int64_t signed_values[] = {0, -1, 1, -64, 64, INT64_MIN, INT64_MAX};
    uint8_t bytes[10];

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct tally_slice at = tally_slice_of(bytes, tally_put_varint(bytes, values[i]));
        struct tally_slice shorter = tally_slice_of(bytes, at.len - 1);
        uint64_t value;

        ck_assert(!tally_read_varint(&shorter, &value));
        ck_assert_uint_eq(shorter.len, at.len - 1);
        ck_assert(tally_read_varint(&at, &value));
        ck_assert_uint_eq(value, values[i]);
        ck_assert_uint_eq(at.len, 0);
    }
    for (size_t i = 0; i < sizeof signed_values / sizeof signed_values[0]; i++) {
        ck_assert_int_eq(tally_unzigzag(tally_zigzag(signed_values[i])), signed_values[i]);
    }
    ck_assert_uint_eq(tally_zigzag(-1), 1);
}
END_TEST

START_TEST(a_varint_over_64_bits_is_refused)
{
    struct tally_slice over = TALLY_SLICE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02");
    struct tally_slice endless = TALLY_SLICE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    uint64_t value;

    ck_assert(!tally_read_varint(&over, &value));
    ck_assert(!tally_read_varint(&endless, &value));
}
END_TEST

START_TEST(integers_are_big_endian)
{
    uint8_t bytes[8];

    tally_put_u64(bytes, UINT64_C(0x0102030405060708));
    ck_assert_int_eq(memcmp(bytes, "\1\2\3\4\5\6\7\10", 8), 0);
    ck_assert_uint_eq(tally_read_u64(bytes), UINT64_C(0x0102030405060708));
    tally_put_u32(bytes, 0x0a0b0c0d);
    ck_assert_uint_eq(bytes[0], 0x0a);
    ck_assert_uint_eq(tally_read_u32(bytes), 0x0a0b0c0d);
    tally_put_u16(bytes, 0x0102);
    ck_assert_uint_eq(tally_read_u16(bytes), 0x0102);
}
END_TEST

START_TEST(utf8_is_strict)
{
    static const char *const good[] = {"", "a", "plain ascii that is longer than eight bytes",
            "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
            "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "12345678\xc3\xa4 12345678",
            "1234567\xe2\x82\xac"};
    static const char *const bad[] = {"\x80", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41",
            "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf", "\xef\xbf", "\xf0\x8f\xbf\xbf",
            "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "12345678\xff", "1234567\xc3",
            "\xe2\x82\xc3", "\xf0\x90\x80\xff"};

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        ck_assert_msg(tally_utf8_valid(tally_slice_string(good[i])), "good %zu", i);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(!tally_utf8_valid(tally_slice_string(bad[i])), "bad %zu", i);
    }
    ck_assert(tally_utf8_valid(TALLY_NONE));
    ck_assert(!tally_utf8_valid(tally_slice_of("\0", 1)));
    ck_assert(!tally_utf8_valid(tally_slice_of("12345678123\0 5678", 16)));
}
END_TEST

/* Every position of a wrong byte in a word is seen. */
START_TEST(utf8_words_hide_nothing)
{
    for (size_t at = 0; at < 24; at++) {
        uint8_t text[24];

        memset(text, 'a', sizeof text);
        ck_assert(tally_utf8_valid(tally_slice_of(text, sizeof text)));
        text[at] = 0;
        ck_assert(!tally_utf8_valid(tally_slice_of(text, sizeof text)));
        text[at] = 0x80;
        ck_assert(!tally_utf8_valid(tally_slice_of(text, sizeof text)));
        text[at] = 0x01;
        ck_assert(tally_utf8_valid(tally_slice_of(text, sizeof text)));
    }
}
END_TEST

START_TEST(integers_fill_their_text)
{
    static const struct {
        const char *text;
        bool good;
        int64_t value;
    } cases[] = {{"0", true, 0}, {"-1", true, -1}, {"9223372036854775807", true, INT64_MAX},
            {"-9223372036854775808", true, INT64_MIN}, {"9223372036854775808", false, 0},
            {"-9223372036854775809", false, 0}, {"99999999999999999999", false, 0}, {"", false, 0},
            {"-", false, 0}, {"+1", false, 0}, {" 1", false, 0}, {"1 ", false, 0},
            {"1.0", false, 0}, {"0x1", false, 0}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t value = 77;

        ck_assert_msg(tally_parse_int(tally_slice_string(cases[i].text), &value) == cases[i].good,
                "\"%s\"", cases[i].text);
        ck_assert_int_eq(value, cases[i].good ? cases[i].value : 77);
    }
}
END_TEST

START_TEST(times_are_strict)
{
    static const struct {
        const char *text;
        int64_t time_ms; /* -1: refused */
    } cases[] = {{"1970-01-01T00:00:00Z", 0}, {"1970-01-01T00:00:00.1Z", 100},
            {"1970-01-01T00:00:00.12Z", 120}, {"1970-01-01T00:00:00.123456789Z", 123},
            {"2000-02-29T12:34:56.789Z", 951827696789}, {"2026-01-15T10:00:00.004Z", 1768471200004},
            {"9999-12-31T23:59:59.999Z", 253402300799999}, {"2100-02-28T00:00:00Z", 4107456000000},
            {"2100-02-29T00:00:00Z", -1}, {"2023-02-29T00:00:00Z", -1},
            {"2023-04-31T00:00:00Z", -1}, {"1969-12-31T23:59:59Z", -1},
            {"2023-00-01T00:00:00Z", -1}, {"2023-13-01T00:00:00Z", -1},
            {"2023-01-00T00:00:00Z", -1}, {"2023-01-01T24:00:00Z", -1},
            {"2023-01-01T00:60:00Z", -1}, {"2023-01-01T00:00:60Z", -1}, {"2023-01-01T00:00:00", -1},
            {"2023-01-01 00:00:00Z", -1}, {"2023-01-01t00:00:00z", -1},
            {"2023-01-01T00:00:00.Z", -1}, {"2023-1-01T00:00:00Z", -1},
            {"2023-01-01T00:00:00.1234567890Z", -1}, {"2023-01-01T00:00:00+00:00", -1}, {"", -1},
            {"2023-01-01T00:00:00,1Z", -1}, {"2023-01-01T00:00:0aZ", -1}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t time_ms = -1;
        bool good = tally_parse_time(tally_slice_string(cases[i].text), &time_ms);

        ck_assert_msg(good == (cases[i].time_ms >= 0), "%s", cases[i].text);
        ck_assert_int_eq(time_ms, cases[i].time_ms);
    }
}
END_TEST

START_TEST(times_survive_writing)
{
    const int64_t last = INT64_C(253402300799999);
    char text[TALLY_TIME_LEN + 1];

    for (int64_t time_ms = 0; time_ms <= last; time_ms += INT64_C(9876543211)) {
        int64_t again;

        tally_format_time(time_ms, text);
        ck_assert(tally_parse_time(tally_slice_string(text), &again));
        ck_assert_int_eq(again, time_ms);
    }
    tally_format_time(last, text);
    ck_assert_str_eq(text, "9999-12-31T23:59:59.999Z");
    tally_format_time(1768471200004, text);
    ck_assert_str_eq(text, "2026-01-15T10:00:00.004Z");
    tally_format_time(-1, text);
    ck_assert_str_eq(text, "1970-01-01T00:00:00.000Z");
    tally_format_time(INT64_MAX, text);
    ck_assert_str_eq(text, "9999-12-31T23:59:59.999Z");
}
END_TEST

static void check_decimal(int64_t value)
{
    struct tally_buf buf;
    char text[32];

    snprintf(text, sizeof text, "%lld", (long long)value);
    tally_buf_init(&buf, strlen(text)); /* no more room than it needs */
    tally_buf_int(&buf, value);
    ck_assert(tally_slice_equal(tally_buf_bytes(&buf), tally_slice_string(text)));
    tally_buf_deinit(&buf);
}

START_TEST(decimals_of_each_length)
{
    check_decimal(0);
    check_decimal(INT64_MIN);
    check_decimal(INT64_MAX);
    for (int64_t power = 1; power <= INT64_MAX / 10; power *= 10) {
        for (int64_t value = power - 1; value <= power + 1; value++) {
            check_decimal(value);
            check_decimal(-value);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bytes");
    TCase *tests = tcase_create("bytes");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_add_test(tests, decimals_of_each_length);
    tcase_add_test(tests, a_buffer_never_passes_its_maximum);
    tcase_add_test(tests, a_buffer_grows);
    tcase_add_test(tests, slices_compare_as_bytes);
    tcase_add_test(tests, varints_survive);
    tcase_add_test(tests, a_varint_over_64_bits_is_refused);
    tcase_add_test(tests, integers_are_big_endian);
    tcase_add_test(tests, utf8_is_strict);
    tcase_add_test(tests, utf8_words_hide_nothing);
    tcase_add_test(tests, integers_fill_their_text);
    tcase_add_test(tests, times_are_strict);
    tcase_add_test(tests, times_survive_writing);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
