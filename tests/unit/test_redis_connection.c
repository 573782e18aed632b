/* tests/unit/test_redis_connection.c - redis.url, names of keys, commands, and what error replies
 * mean; no server. Invariant: redis_connection.h (2). */
#include "connectors/redis_connection.h"

#include <check.h>
#include <stdlib.h>

static struct redis_place place;

static enum tally_code parse(const char *url, const char *password)
{
    struct tally_config config = {.redis_url = (char *)(uintptr_t)url,
            .redis_password = (char *)(uintptr_t)password,
            .redis_timeout = 1000};
    struct tally_error err = {0};
    enum tally_code code = redis_connection_place(&config, &place, &err);

    ck_assert(!code || strstr(err.message, "redis.url: "));
    return code;
}

static void is(const char *user, const char *host, int port, int database)
{
    ck_assert_str_eq(place.user, user);
    ck_assert_str_eq(place.host, host);
    ck_assert_int_eq(place.port, port);
    ck_assert_int_eq(place.database, database);
}

START_TEST(good_urls)
{
    ck_assert_int_eq(parse("redis://127.0.0.1:6380", ""), TALLY_OK);
    is("", "127.0.0.1", 6380, 0);
    ck_assert_int_eq(parse("redis://localhost", ""), TALLY_OK);
    is("", "localhost", 6379, 0);
    ck_assert_int_eq(parse("redis://tally@redis.example:1/15", "secret"), TALLY_OK);
    is("tally", "redis.example", 1, 15);
    ck_assert_str_eq(place.password, "secret");
    ck_assert_int_eq(parse("redis://[::1]:6379/", ""), TALLY_OK);
    is("", "::1", 6379, 0);
    ck_assert_int_eq(parse("redis://[::1]", ""), TALLY_OK);
    is("", "::1", 6379, 0);
}
END_TEST

START_TEST(bad_urls)
{
    static const char *const urls[] = {"", "localhost:6379", "http://localhost", "redis://",
            "redis://:6379", "redis://host:", "redis://host:0", "redis://host:65536",
            "redis://host:6379x", "redis://host:-1", "redis://host/x", "redis://host/-1",
            "redis://host/1024", "redis://host/1/2", "redis://@host", "redis://[::1",
            "redis://[::1]x:1", "redis://[]:1", "rediss://host", "redis://u:p@host"};

    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        ck_assert_msg(parse(urls[i], "x") == TALLY_CONFIG, "\"%s\" is taken", urls[i]);
    }
    ck_assert_int_eq(parse("redis://user@host", ""), TALLY_CONFIG); /* a user has a password */
}
END_TEST

static void base_is(const char *prefix, const char *app_id, const char *expected)
{
    struct tally_config config = {
            .topics_prefix = (char *)(uintptr_t)prefix, .app_id = (char *)(uintptr_t)app_id};
    struct tally_buf base;

    tally_buf_init(&base, 1024);
    redis_connection_base(&config, &base);
    ck_assert_msg(tally_slice_equal(tally_buf_bytes(&base), tally_slice_string(expected)), "%.*s",
            (int)base.len, (const char *)base.data);
    tally_buf_deinit(&base);
}

START_TEST(bases)
{
    base_is("", "tally", "tally:");
    base_is("", "shop", "tally:@shop:");
    base_is("eu.", "tally", "tally:@eu.tally:");
}
END_TEST

START_TEST(commands)
{
    struct tally_buf command;

    tally_buf_init(&command, 1024);
    redis_connection_begin(&command, 3);
    redis_connection_text(&command, "SET");
    redis_connection_bytes(&command, tally_slice_of("a\r\n\0b", 5));
    redis_connection_int(&command, INT64_MIN);
    ck_assert(tally_slice_equal(tally_buf_bytes(&command),
            TALLY_SLICE("*3\r\n$3\r\nSET\r\n$5\r\na\r\n\0b\r\n$20\r\n-9223372036854775808\r\n")));
    tally_buf_clear(&command);
    redis_connection_begin(&command, 1234567890);
    redis_connection_text(&command, "");
    ck_assert(tally_slice_equal(tally_buf_bytes(&command),
            TALLY_SLICE("*1234567890\r\n$0\r\n\r\n")));
    tally_buf_deinit(&command);
}
END_TEST

/* Words of Redis 7.0.15. */
START_TEST(error_replies)
{
    static const struct {
        const char *reply;
        enum tally_code code;
    } rows[] = {
            {"NOAUTH Authentication required.", TALLY_SINK_DENIED},
            {"WRONGPASS invalid username-password pair or user is disabled.", TALLY_SINK_DENIED},
            {"NOPERM this user has no permissions to run the 'get' command", TALLY_SINK_DENIED},
            {"ERR The user executing the script can't run this command or subcommand script: x",
                    TALLY_SINK_DENIED},
            {"ERR AUTH <password> called without any password configured for the default user. "
             "Are you sure your configuration is correct?",
                    TALLY_SINK_DENIED},
            {"OOM command not allowed when used memory > 'maxmemory'.", TALLY_SINK_FULL},
            {"READONLY You can't write against a read only replica.", TALLY_SINK_FULL},
            {"MISCONF Redis is configured to save RDB snapshots, but ...", TALLY_SINK_FULL},
            {"NOREPLICAS Not enough good replicas to write.", TALLY_SINK_FULL},
            {"LOADING Redis is loading the dataset in memory", TALLY_UNAVAILABLE},
            {"BUSY Redis is busy running a script.", TALLY_UNAVAILABLE},
            {"MASTERDOWN Link with MASTER is down", TALLY_UNAVAILABLE},
            {"ERR max number of clients reached", TALLY_UNAVAILABLE},
            {"MOVED 3999 127.0.0.1:6381", TALLY_SINK_SCHEMA},
            {"WRONGTYPE Operation against a key holding the wrong kind of value",
                    TALLY_SINK_SCHEMA},
            {"ERR DB index is out of range", TALLY_SINK_SCHEMA},
            {"ERR something new", TALLY_SINK_SCHEMA},
            {"NOSCRIPT No matching script. Please use EVAL.", TALLY_AGAIN},
            {"TALLYFENCED tally:sink:stock.events/0", TALLY_FENCED},
            {"TALLYLOST tally:sink:stock.events/0", TALLY_UNAVAILABLE},
            {"TALLYSTEP tally:sink:stock.events/0", TALLY_UNAVAILABLE},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *advice = NULL;
        enum tally_code code = redis_connection_code(rows[i].reply, &advice);

        ck_assert_msg(code == rows[i].code, "%s: %s", rows[i].reply, tally_code_name(code));
        ck_assert(code == TALLY_AGAIN || advice);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("redis_connection");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, good_urls);
    tcase_add_test(tcase, bad_urls);
    tcase_add_test(tcase, bases);
    tcase_add_test(tcase, commands);
    tcase_add_test(tcase, error_replies);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
