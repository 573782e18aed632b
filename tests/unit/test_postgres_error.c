/* tests/unit/test_postgres_error.c - which code each answer of PostgreSQL leads to
 * (connectors/postgres_error.c). */
#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connectors/postgres_internal.h"
#include "engine/base/thread.h"

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

/* A server that says one thing to whoever connects. */
struct server {
    int socket;
    struct tally_slice says;
};

static void serve(void *context)
{
    struct server *server = context;
    int client = accept(server->socket, NULL, NULL);
    uint8_t asked[1024];

    ck_assert_int_ge(client, 0);
    ck_assert_int_gt(read(client, asked, sizeof asked), 8);
    ck_assert_int_eq(write(client, server->says.data, server->says.len), (ssize_t)server->says.len);
    (void)!read(client, asked, sizeof asked); /* until it leaves */
    (void)close(client);
}

static enum tally_code connect_to(struct tally_slice says, struct tally_error *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct server server = {.socket = socket(AF_INET, SOCK_STREAM, 0), .says = says};
    socklen_t size = sizeof address;
    struct postgres_connection connection;
    struct tally_thread thread;
    enum tally_code code;
    char url[96];

    ck_assert_int_eq(bind(server.socket, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(server.socket, 1), 0);
    ck_assert_int_eq(getsockname(server.socket, (struct sockaddr *)&address, &size), 0);
    (void)snprintf(url, sizeof url, "host=127.0.0.1 port=%d dbname=d user=u sslmode=disable",
            ntohs(address.sin_port));
    tally_thread_start(&thread, "server", serve, &server);
    code = postgres_connection_open(&connection,
            &(struct postgres_options){.name = "test",
                    .url = url,
                    .password = "s3cret",
                    .statement_ms = 1000,
                    .search_path = "tally"},
            err);
    tally_thread_join(&thread);
    (void)close(server.socket);
    return code;
}

START_TEST(a_wrong_password)
{
    static const char says[] = "E\0\0\0\x44SFATAL\0VFATAL\0C28P01\0"
                               "Mpassword authentication failed for u\0\0";
    uint8_t message[sizeof says - 1];
    struct tally_error err = {.code = TALLY_OK};

    memcpy(message, says, sizeof message);
    tally_put_u32(message + 1, sizeof message - 1);
    ck_assert_int_eq(connect_to(tally_slice_of(message, sizeof message), &err), TALLY_SINK_DENIED);
    ck_assert_ptr_nonnull(strstr(err.message, "password authentication failed"));
    ck_assert_ptr_nonnull(strstr(err.message, "postgres.password"));
    ck_assert_ptr_null(strstr(err.message, "s3cret"));
}
END_TEST

START_TEST(an_old_server)
{
    static const char says[] = "R\0\0\0\x08\0\0\0\0"
                               "S\0\0\0\x18server_version\00014.9\0"
                               "K\0\0\0\x0c\0\0\0\1\0\0\0\2"
                               "Z\0\0\0\x05I";
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_int_eq(connect_to(tally_slice_of(says, sizeof says - 1), &err), TALLY_SINK_SCHEMA);
    ck_assert_ptr_nonnull(strstr(err.message, "140009"));
    ck_assert_ptr_nonnull(strstr(err.message, "upgrade"));
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
    tcase_add_test(tcase, a_wrong_password);
    tcase_add_test(tcase, an_old_server);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
