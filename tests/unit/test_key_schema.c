/* tests/unit/test_key_schema.c - keys sort as their parts, and survive the way to text and back. */
#include <check.h>
#include <stdlib.h>

#include "state/key_schema.h"

static struct tally_buf out;

static void setup(void)
{
    tally_buf_init(&out, 4096);
}

static void teardown(void)
{
    tally_buf_deinit(&out);
}

static const char *print(const char *topology, struct tally_slice key)
{
    tally_buf_clear(&out);
    tally_key_print(topology, key, &out);
    tally_buf_byte(&out, 0);
    return (const char *)out.data;
}

static struct tally_key ledger(const char *sku, const char *warehouse, uint64_t seq)
{
    struct tally_key key;

    tally_key_begin(&key, TALLY_STORE_LEDGER);
    tally_key_string(&key, tally_slice_string(sku));
    tally_key_string(&key, tally_slice_string(warehouse));
    tally_key_u64(&key, seq);
    return key;
}

static struct tally_key two(enum tally_store_id store, const char *first, const char *last)
{
    struct tally_key key;

    tally_key_begin(&key, store);
    tally_key_string(&key, tally_slice_string(first));
    tally_key_tail(&key, tally_slice_string(last));
    return key;
}

START_TEST(test_bytes_of_a_key)
{
    struct tally_key key = ledger("A", "W1", 258);

    ck_assert(tally_slice_equal(tally_key_bytes(&key), TALLY_SLICE("GA\0W1\0\0\0\0\0\0\0\1\2")));
    key = two(TALLY_STORE_LEVEL, "A", "W1");
    ck_assert(tally_slice_equal(tally_key_bytes(&key), TALLY_SLICE("LA\0W1")));
    tally_key_move(&key, TALLY_STORE_SETTING);
    ck_assert(tally_slice_equal(tally_key_bytes(&key), TALLY_SLICE("SA\0W1")));
    tally_key_begin(&key, TALLY_STORE_SKU);
    tally_key_u8(&key, 7);
    tally_key_u16(&key, 258);
    ck_assert(tally_slice_equal(tally_key_bytes(&key), TALLY_SLICE("K\7\1\2")));
}
END_TEST

START_TEST(test_keys_sort_as_their_parts)
{
    const struct tally_key keys[] = {ledger("A", "W1", 1), ledger("A", "W1", 255),
            ledger("A", "W1", 256), ledger("A", "W2", 0), ledger("A-1", "W1", 0),
            ledger("AB", "A", 0), ledger("B", "A", 0)};

    for (size_t i = 1; i < sizeof keys / sizeof *keys; i++) {
        ck_assert_int_lt(tally_slice_compare(tally_key_bytes(&keys[i - 1]),
                                 tally_key_bytes(&keys[i])),
                0);
    }
}
END_TEST

START_TEST(test_prints_for_people)
{
    struct tally_key key = ledger("TS-RED-M", "AMS1", 911);

    ck_assert_str_eq(print("stock", tally_key_bytes(&key)), "TS-RED-M.AMS1.911");
    key = two(TALLY_STORE_LEVEL, "TS-RED-M", "AMS1");
    ck_assert_str_eq(print("stock", tally_key_bytes(&key)), "TS-RED-M.AMS1");
    key = two(TALLY_STORE_DEDUP, "order.1%", "warehouse:W.1");
    ck_assert_str_eq(print("stock", tally_key_bytes(&key)), "order%2E1%25.warehouse:W%2E1");
    tally_key_begin(&key, TALLY_STORE_SKU);
    tally_key_tail(&key, TALLY_SLICE("A.B\n"));
    ck_assert_str_eq(print("stock", tally_key_bytes(&key)), "A.B%0A");
}
END_TEST

START_TEST(test_prints_damaged_and_unknown_keys)
{
    ck_assert_str_eq(print("stock", TALLY_SLICE("\0id")), "%00%69%64");
    ck_assert_str_eq(print("catalogue", TALLY_SLICE("LA")), "%4C%41");
    ck_assert_str_eq(print("stock", TALLY_SLICE("GA\0W\0\1")), "A.W.%01");
    ck_assert_str_eq(print("stock", TALLY_SLICE("LA")), "%41");
    ck_assert_str_eq(print("stock", TALLY_NONE), "");
}
END_TEST

static void round_trip(enum tally_store_id store, struct tally_key key)
{
    struct tally_key back;
    struct tally_error err;

    tally_buf_clear(&out);
    tally_key_print(store == TALLY_STORE_CATALOGUE_WAREHOUSE ? "catalogue" : "stock",
            tally_key_bytes(&key), &out);
    ck_assert_int_eq(tally_key_parse(store, tally_buf_bytes(&out), &back, &err), TALLY_OK);
    ck_assert(tally_slice_equal(tally_key_bytes(&key), tally_key_bytes(&back)));
}

START_TEST(test_survives_the_way_to_text)
{
    static const char *const texts[] = {"A", "A.B", ".", "..", "%", "%2E", "50%OFF", "a b\x01\x7f",
            "", "%%41", "\xc3\xa4.\xc3\xb6"};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct tally_key key;

        round_trip(TALLY_STORE_LEDGER, ledger(texts[i], "AMS1", INT64_MAX));
        for (size_t j = 0; j < sizeof texts / sizeof *texts; j++) {
            round_trip(TALLY_STORE_DEDUP, two(TALLY_STORE_DEDUP, texts[i], texts[j]));
        }
        tally_key_begin(&key, TALLY_STORE_CATALOGUE_WAREHOUSE);
        tally_key_tail(&key, tally_slice_string(texts[i]));
        round_trip(TALLY_STORE_CATALOGUE_WAREHOUSE, key);
    }
}
END_TEST

static enum tally_code parse(enum tally_store_id store, const char *text, struct tally_key *key)
{
    struct tally_error err;

    return tally_key_parse(store, tally_slice_string(text), key, &err);
}

START_TEST(test_dots_may_be_typed_in_the_first_part)
{
    struct tally_key key, expected = two(TALLY_STORE_LEVEL, "SHIRT.V2.RED", "AMS1");

    ck_assert_int_eq(parse(TALLY_STORE_LEVEL, "SHIRT.V2.RED.AMS1", &key), TALLY_OK);
    ck_assert(tally_slice_equal(tally_key_bytes(&key), tally_key_bytes(&expected)));
    expected = ledger("A.B", "AMS1", 7);
    ck_assert_int_eq(parse(TALLY_STORE_LEDGER, "A.B.AMS1.7", &key), TALLY_OK);
    ck_assert(tally_slice_equal(tally_key_bytes(&key), tally_key_bytes(&expected)));
}
END_TEST

START_TEST(test_refuses_what_is_no_key)
{
    char text[TALLY_KEY_MAX + 1];
    struct tally_key key;

    ck_assert_int_eq(parse(TALLY_STORE_LEVEL, "A", &key), TALLY_BAD_RECORD);
    ck_assert_int_eq(parse(TALLY_STORE_LEVEL, "", &key), TALLY_BAD_RECORD);
    ck_assert_int_eq(parse(TALLY_STORE_LEDGER, "A.7", &key), TALLY_BAD_RECORD);
    ck_assert_int_eq(parse(TALLY_STORE_LEDGER, "A.W.x", &key), TALLY_BAD_RECORD);
    ck_assert_int_eq(parse(TALLY_STORE_LEDGER, "A.W.-1", &key), TALLY_BAD_RECORD);
    ck_assert_int_eq(parse(TALLY_STORE_LEDGER, "A.W.", &key), TALLY_BAD_RECORD);
    ck_assert_int_eq(parse(TALLY_STORE_SKU, "A%00", &key), TALLY_BAD_RECORD);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ck_assert_int_eq(parse(TALLY_STORE_SKU, text, &key), TALLY_BAD_RECORD);
    ck_assert_int_eq(parse(TALLY_STORE_LEVEL, "A.W", &key), TALLY_OK);
}
END_TEST

START_TEST(test_finds_stores)
{
    enum tally_store_id store = TALLY_STORES;

    ck_assert(tally_store_find("stock", "level", &store));
    ck_assert_int_eq(store, TALLY_STORE_LEVEL);
    ck_assert(tally_store_find("catalogue", "dedup", &store));
    ck_assert_int_eq(store, TALLY_STORE_DEDUP);
    ck_assert(tally_store_find("catalogue", "warehouse", &store));
    ck_assert_int_eq(store, TALLY_STORE_CATALOGUE_WAREHOUSE);
    ck_assert(!tally_store_find("catalogue", "level", &store));
    ck_assert(tally_store_of_key("stock", TALLY_SLICE("Wx"), &store));
    ck_assert_int_eq(store, TALLY_STORE_WAREHOUSE);
    ck_assert(!tally_store_of_key("stock", TALLY_SLICE("\0positions"), &store));
    ck_assert(!tally_store_of_key("stock", TALLY_NONE, &store));
    ck_assert_str_eq(tally_store_name(TALLY_STORE_LEVEL), "level");
    ck_assert_int_eq(tally_store_byte(TALLY_STORE_LEVEL), 'L');
}
END_TEST

/* Bytes are unique within a topology and never 0, which is meta's. */
START_TEST(test_store_bytes_are_unique)
{
    static const char *const topologies[] = {"stock", "catalogue"};

    for (size_t i = 0; i < 2; i++) {
        for (enum tally_store_id store = 0; store < TALLY_STORES; store++) {
            enum tally_store_id found, by_byte;
            uint8_t byte;

            if (!tally_store_find(topologies[i], tally_store_name(store), &found) || found != store)
                continue;
            byte = tally_store_byte(store);
            ck_assert_int_ne(byte, 0);
            ck_assert(tally_store_of_key(topologies[i], tally_slice_of(&byte, 1), &by_byte));
            ck_assert_int_eq(by_byte, store);
        }
    }
}
END_TEST

/* Number, then start: windows of one size follow each other in time. */
START_TEST(test_windows)
{
    static const uint8_t expected[] = {'M', 1, 0, 0, 1, 0x9b, 0xbf, 0xc5, 0xd4, 0};
    struct tally_key key, earlier;
    int64_t hour = 3600000;

    ck_assert_int_eq(tally_window_start(7 * hour, hour), 7 * hour);
    ck_assert_int_eq(tally_window_start(8 * hour - 1, hour), 7 * hour);
    ck_assert_int_eq(tally_window_start(0, hour), 0);
    ck_assert_int_eq(tally_window_start(-1, hour), -hour);
    ck_assert_int_eq(tally_window_start(-hour, hour), -hour);
    tally_key_window(&key, TALLY_STORE_MOVEMENT, 1, INT64_C(0x19bbfc5d400));
    ck_assert(tally_slice_equal(tally_key_bytes(&key), tally_slice_of(expected, sizeof expected)));
    tally_key_window(&earlier, TALLY_STORE_MOVEMENT, 1, INT64_C(0x19bbfc5d400) - hour);
    ck_assert_int_lt(memcmp(earlier.bytes, key.bytes, key.len), 0);
    tally_key_window(&earlier, TALLY_STORE_MOVEMENT, 1, -hour);
    ck_assert_int_lt(memcmp(earlier.bytes, key.bytes, key.len), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("key_schema");
    TCase *tests = tcase_create("key_schema");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_windows);
    tcase_add_test(tests, test_bytes_of_a_key);
    tcase_add_test(tests, test_keys_sort_as_their_parts);
    tcase_add_test(tests, test_prints_for_people);
    tcase_add_test(tests, test_prints_damaged_and_unknown_keys);
    tcase_add_test(tests, test_survives_the_way_to_text);
    tcase_add_test(tests, test_dots_may_be_typed_in_the_first_part);
    tcase_add_test(tests, test_refuses_what_is_no_key);
    tcase_add_test(tests, test_finds_stores);
    tcase_add_test(tests, test_store_bytes_are_unique);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
