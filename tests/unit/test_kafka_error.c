/* tests/unit/test_kafka_error.c - which reaction each error of librdkafka leads to
 * (connectors/kafka_error.c). Numbers in brackets are invariants of that file. */
#include <check.h>
#include <stdlib.h>

#include "connectors/kafka_internal.h"

#define E(name) RD_KAFKA_RESP_ERR_##name

static void ck_reacts(enum kafka_role role, rd_kafka_resp_err_t error, unsigned flags,
        enum tally_reaction expected)
{
    enum tally_code code = kafka_error_classify(role, error, flags);

    ck_assert_int_ne(code, TALLY_OK);
    ck_assert_msg(tally_code_reaction(code) == expected, "%s with flags %u as %d: %s",
            rd_kafka_err2name(error), flags, (int)role, tally_code_name(code));
}

START_TEST(fencing_wins_over_flags) /* (1) */
{
    static const rd_kafka_resp_err_t fenced[] = {E(_FENCED), E(PRODUCER_FENCED),
            E(INVALID_PRODUCER_EPOCH), E(FENCED_INSTANCE_ID), E(INVALID_TXN_STATE)};

    for (size_t i = 0; i < sizeof fenced / sizeof *fenced; i++) {
        for (unsigned flags = 0; flags < 8; flags++) {
            ck_reacts(KAFKA_ROLE_TRANSACTION, fenced[i], flags, TALLY_REACT_RELEASE);
        }
        ck_reacts(KAFKA_ROLE_DELIVERY, fenced[i], 0, TALLY_REACT_RELEASE);
    }
}
END_TEST

START_TEST(flags_decide_the_rest)
{
    enum kafka_role role = KAFKA_ROLE_TRANSACTION;

    ck_reacts(role, E(_TIMED_OUT), KAFKA_RETRIABLE, TALLY_REACT_RETRY);
    ck_assert_int_eq(kafka_error_classify(role, E(_TIMED_OUT), KAFKA_RETRIABLE), TALLY_TIMEOUT);
    ck_reacts(role, E(CONCURRENT_TRANSACTIONS), KAFKA_RETRIABLE, TALLY_REACT_RETRY);
    ck_reacts(role, E(_TIMED_OUT), KAFKA_ABORTABLE, TALLY_REACT_ABORT);
    ck_reacts(role, E(_TIMED_OUT), KAFKA_ABORTABLE | KAFKA_RETRIABLE, TALLY_REACT_ABORT);
    ck_reacts(role, E(_TIMED_OUT), KAFKA_FATAL | KAFKA_ABORTABLE, TALLY_REACT_RELEASE);
    ck_reacts(role, E(ILLEGAL_GENERATION), KAFKA_ABORTABLE, TALLY_REACT_ABORT);
    ck_reacts(role, E(_INCONSISTENT), KAFKA_ABORTABLE, TALLY_REACT_ABORT);
    ck_reacts(role, E(INVALID_PRODUCER_ID_MAPPING), KAFKA_ABORTABLE, TALLY_REACT_ABORT);
    ck_reacts(role, E(OUT_OF_ORDER_SEQUENCE_NUMBER), KAFKA_FATAL, TALLY_REACT_RELEASE);
}
END_TEST

START_TEST(the_unknown_is_final_for_transactions_transient_for_consumers) /* (2) */
{
    ck_reacts(KAFKA_ROLE_TRANSACTION, E(_STATE), 0, TALLY_REACT_RELEASE);
    ck_reacts(KAFKA_ROLE_TRANSACTION, E(_FAIL), 0, TALLY_REACT_RELEASE);
    ck_reacts(KAFKA_ROLE_CONSUMER, E(_FAIL), 0, TALLY_REACT_RETRY);
    ck_reacts(KAFKA_ROLE_CONSUMER, E(UNKNOWN_TOPIC_OR_PART), 0, TALLY_REACT_RETRY);
    ck_reacts(KAFKA_ROLE_CONSUMER, E(_ALL_BROKERS_DOWN), 0, TALLY_REACT_RETRY);
    ck_reacts(KAFKA_ROLE_DELIVERY, E(_MSG_TIMED_OUT), 0, TALLY_REACT_ABORT);
    ck_reacts(KAFKA_ROLE_DELIVERY, E(MSG_SIZE_TOO_LARGE), 0, TALLY_REACT_SKIP);
    ck_reacts(KAFKA_ROLE_DELIVERY, E(_STATE), 0, TALLY_REACT_ABORT);
}
END_TEST

START_TEST(only_the_consumer_ends_the_process) /* (3) */
{
    ck_assert_int_eq(kafka_error_classify(KAFKA_ROLE_CONSUMER, E(FENCED_INSTANCE_ID), KAFKA_FATAL),
            TALLY_INSTANCE_FENCED);
    ck_reacts(KAFKA_ROLE_CONSUMER, E(FENCED_INSTANCE_ID), 0, TALLY_REACT_EXIT);
    ck_reacts(KAFKA_ROLE_CONSUMER, E(_FATAL), 0, TALLY_REACT_EXIT);
    ck_reacts(KAFKA_ROLE_CONSUMER, E(UNSUPPORTED_VERSION), KAFKA_FATAL, TALLY_REACT_EXIT);
    ck_reacts(KAFKA_ROLE_CONSUMER, E(_MAX_POLL_EXCEEDED), 0, TALLY_REACT_RELEASE);
}
END_TEST

START_TEST(halts_what_cannot_be_proved)
{
    ck_assert_int_eq(kafka_error_classify(KAFKA_ROLE_CONSUMER, E(_AUTO_OFFSET_RESET), 0),
            TALLY_INPUT_LOST);
    ck_assert_int_eq(kafka_error_classify(KAFKA_ROLE_CONSUMER, E(_BAD_MSG), 0),
            TALLY_INPUT_CORRUPT);
    /* It will not decompress tomorrow either. */
    ck_assert_int_eq(kafka_error_classify(KAFKA_ROLE_CONSUMER, E(_BAD_COMPRESSION), 0),
            TALLY_INPUT_CORRUPT);
    for (enum kafka_role role = KAFKA_ROLE_CONSUMER; role < KAFKA_ROLES; role++) {
        ck_reacts(role, E(TOPIC_AUTHORIZATION_FAILED), 0, TALLY_REACT_HALT);
        ck_reacts(role, E(GROUP_AUTHORIZATION_FAILED), 0, TALLY_REACT_HALT);
    }
    ck_reacts(KAFKA_ROLE_TRANSACTION, E(TOPIC_AUTHORIZATION_FAILED), KAFKA_ABORTABLE,
            TALLY_REACT_HALT);
    /* Fatal to the producer: a new one may be let in, a paused task would never get one. */
    ck_reacts(KAFKA_ROLE_TRANSACTION, E(TOPIC_AUTHORIZATION_FAILED), KAFKA_FATAL,
            TALLY_REACT_RELEASE);
    ck_reacts(KAFKA_ROLE_TRANSACTION, E(TRANSACTIONAL_ID_AUTHORIZATION_FAILED), KAFKA_FATAL,
            TALLY_REACT_RELEASE);
}
END_TEST

START_TEST(tells_what_failed_and_why)
{
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_int_eq(kafka_error_take(KAFKA_ROLE_QUERY, NULL, &err, "not used"), TALLY_OK);
    ck_assert_int_eq(kafka_error_set(KAFKA_ROLE_QUERY, NULL, E(MSG_SIZE_TOO_LARGE), &err,
                             "could not send %d", 7),
            TALLY_TOO_LARGE);
    ck_assert_int_eq(err.code, TALLY_TOO_LARGE);
    ck_assert_str_eq(err.message,
            "could not send 7: Broker: Message size too large (MSG_SIZE_TOO_LARGE)");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kafka error");
    TCase *tcase = tcase_create("classes");
    SRunner *runner = NULL;
    int failed = 0;

    tcase_add_test(tcase, fencing_wins_over_flags);
    tcase_add_test(tcase, flags_decide_the_rest);
    tcase_add_test(tcase, the_unknown_is_final_for_transactions_transient_for_consumers);
    tcase_add_test(tcase, only_the_consumer_ends_the_process);
    tcase_add_test(tcase, halts_what_cannot_be_proved);
    tcase_add_test(tcase, tells_what_failed_and_why);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
