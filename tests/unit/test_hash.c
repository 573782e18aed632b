/* tests/unit/test_hash.c - vectors of RFC 3720 B.4 and of Kafka's Java client. */
#include <check.h>
#include <stdlib.h>

#include "engine/base/hash_internal.h"

static void assert_crc(struct tally_slice bytes, uint32_t expected)
{
    ck_assert_uint_eq(tally_crc32c(0, bytes), expected);
    ck_assert_uint_eq(hash_crc32c_table(0, bytes), expected);
}

START_TEST(crc32c_has_the_values_of_rfc_3720)
{
    uint8_t bytes[32];

    memset(bytes, 0, sizeof bytes);
    assert_crc(tally_slice_of(bytes, sizeof bytes), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    assert_crc(tally_slice_of(bytes, sizeof bytes), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++) {
        bytes[i] = i;
    }
    assert_crc(tally_slice_of(bytes, sizeof bytes), 0x46dd794e);
    for (uint8_t i = 0; i < 32; i++) {
        bytes[i] = (uint8_t)(31 - i);
    }
    assert_crc(tally_slice_of(bytes, sizeof bytes), 0x113fdb5c);
    assert_crc(TALLY_SLICE("123456789"), 0xe3069283);
    assert_crc(TALLY_NONE, 0);
}
END_TEST

/* Invariant (1) of hash.c, over all lengths and alignments of a word. */
START_TEST(both_ways_agree_and_continue)
{
    uint8_t bytes[64];

    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 37 + 11);
    }
    for (size_t start = 0; start < 8; start++) {
        for (size_t len = 0; len + start <= sizeof bytes; len++) {
            struct tally_slice all = tally_slice_of(bytes + start, len);
            struct tally_slice left = tally_slice_of(all.data, len / 3);
            struct tally_slice right = tally_slice_of(all.data + left.len, len - left.len);
            uint32_t expected = hash_crc32c_table(0, all);

            ck_assert_uint_eq(tally_crc32c(0, all), expected);
            ck_assert_uint_eq(tally_crc32c(tally_crc32c(0, left), right), expected);
#if defined(__x86_64__)
            if (__builtin_cpu_supports("sse4.2")) {
                ck_assert_uint_eq(hash_crc32c_sse42(0, all), expected);
            }
#endif
        }
    }
}
END_TEST

START_TEST(murmur2_is_javas)
{
    static const struct {
        const char *key;
        int32_t hash;
    } cases[] = {{"21", -973932308}, {"foobar", -790332482},
            {"a-little-bit-long-string", -985981536}, {"a-little-bit-longer-string", -1486304829},
            {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971}, {"abc", 479470107}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tally_slice key = tally_slice_string(cases[i].key);

        ck_assert_int_eq((int32_t)tally_murmur2(key), cases[i].hash);
        ck_assert_int_eq(tally_partition_of(key, 10), (cases[i].hash & 0x7fffffff) % 10);
    }
    ck_assert_int_eq(tally_partition_of(TALLY_SLICE("21"), 1), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hash");
    TCase *tests = tcase_create("hash");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_add_test(tests, crc32c_has_the_values_of_rfc_3720);
    tcase_add_test(tests, both_ways_agree_and_continue);
    tcase_add_test(tests, murmur2_is_javas);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
