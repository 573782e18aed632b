/* connectors/kafka_error.c - what each error of librdkafka asks the engine to do.
 * Invariants
 *  (1) Fencing wins over every flag: librdkafka 2.0.2 calls PRODUCER_FENCED of AddOffsets,
 *      TxnOffsetCommit and Produce, and FENCED_INSTANCE_ID, merely abortable.
 *  (2) What is not known is final for a transaction (release, restore) and transient for a consumer
 *      (poll again): neither can lose a record.
 *  (3) A fenced instance id ends the process only when the consumer says so. A producer's call may
 *      say it about a member id that the same consumer has just replaced: release, then poll.
 * A rd_kafka_error_t is converted and destroyed here, in the frame that received it. */
#include "connectors/kafka_internal.h"

#include <stdarg.h>
#include <stdio.h>

#define E(name)   RD_KAFKA_RESP_ERR_##name
#define ASK_FLAGS TALLY_OK /* nothing special: fatal, abortable, retriable decide */

static const struct {
    rd_kafka_resp_err_t error;
    enum tally_code codes[KAFKA_ROLES]; /* consumer, transaction, delivery, query */
} table[] = {
        {E(_FENCED), {ASK_FLAGS, TALLY_FENCED, TALLY_FENCED, ASK_FLAGS}},
        {E(PRODUCER_FENCED), {ASK_FLAGS, TALLY_FENCED, TALLY_FENCED, ASK_FLAGS}},
        {E(INVALID_PRODUCER_EPOCH), {ASK_FLAGS, TALLY_FENCED, TALLY_FENCED, ASK_FLAGS}},
        {E(FENCED_INSTANCE_ID), {TALLY_INSTANCE_FENCED, TALLY_FENCED, TALLY_FENCED, ASK_FLAGS}},
        {E(INVALID_TXN_STATE), {ASK_FLAGS, TALLY_PRODUCER_FATAL, TALLY_PRODUCER_FATAL, ASK_FLAGS}},
        /* librdkafka#4438: fatal although the report of the record does not say so. */
        {E(OUT_OF_ORDER_SEQUENCE_NUMBER),
                {ASK_FLAGS, TALLY_PRODUCER_FATAL, TALLY_PRODUCER_FATAL, ASK_FLAGS}},
        {E(_FATAL), {TALLY_CONSUMER_FATAL, TALLY_PRODUCER_FATAL, TALLY_PRODUCER_FATAL, ASK_FLAGS}},
        /* A produce call in a state that takes no records: the transaction has failed before. */
        {E(_STATE), {ASK_FLAGS, ASK_FLAGS, TALLY_TXN_ABORTED, ASK_FLAGS}},
        {E(TOPIC_AUTHORIZATION_FAILED), {TALLY_NOT_AUTHORIZED, TALLY_NOT_AUTHORIZED,
                                                TALLY_NOT_AUTHORIZED, TALLY_NOT_AUTHORIZED}},
        {E(GROUP_AUTHORIZATION_FAILED), {TALLY_NOT_AUTHORIZED, TALLY_NOT_AUTHORIZED,
                                                TALLY_NOT_AUTHORIZED, TALLY_NOT_AUTHORIZED}},
        {E(CLUSTER_AUTHORIZATION_FAILED),
                {TALLY_NOT_AUTHORIZED, ASK_FLAGS, ASK_FLAGS, TALLY_NOT_AUTHORIZED}},
        {E(_MAX_POLL_EXCEEDED), {TALLY_ASSIGNMENT_LOST, ASK_FLAGS, ASK_FLAGS, ASK_FLAGS}},
        {E(_ASSIGNMENT_LOST), {TALLY_ASSIGNMENT_LOST, ASK_FLAGS, ASK_FLAGS, ASK_FLAGS}},
        {E(_AUTO_OFFSET_RESET), {TALLY_INPUT_LOST, ASK_FLAGS, ASK_FLAGS, TALLY_INPUT_LOST}},
        {E(OFFSET_OUT_OF_RANGE), {TALLY_INPUT_LOST, ASK_FLAGS, ASK_FLAGS, TALLY_INPUT_LOST}},
        /* check.crcs: librdkafka reports the batch once and then goes past it. */
        {E(_BAD_MSG), {TALLY_INPUT_CORRUPT, ASK_FLAGS, ASK_FLAGS, TALLY_INPUT_CORRUPT}},
        {E(_BAD_COMPRESSION), {TALLY_INPUT_CORRUPT, ASK_FLAGS, ASK_FLAGS, TALLY_INPUT_CORRUPT}},
        {E(MSG_SIZE_TOO_LARGE), {ASK_FLAGS, ASK_FLAGS, TALLY_TOO_LARGE, TALLY_TOO_LARGE}},
        {E(UNKNOWN_TOPIC_OR_PART), {ASK_FLAGS, ASK_FLAGS, ASK_FLAGS, TALLY_NOT_FOUND}},
        {E(_UNKNOWN_TOPIC), {ASK_FLAGS, ASK_FLAGS, ASK_FLAGS, TALLY_NOT_FOUND}},
        {E(_UNKNOWN_PARTITION), {ASK_FLAGS, ASK_FLAGS, ASK_FLAGS, TALLY_NOT_FOUND}},
        {E(_TIMED_OUT), {TALLY_TIMEOUT, ASK_FLAGS, ASK_FLAGS, TALLY_TIMEOUT}},
};

static enum tally_code classify_flags(enum kafka_role role, rd_kafka_resp_err_t error,
        unsigned flags)
{
    switch (role) {
    case KAFKA_ROLE_CONSUMER:
        return flags & KAFKA_FATAL ? TALLY_CONSUMER_FATAL : TALLY_UNAVAILABLE;
    case KAFKA_ROLE_TRANSACTION:
        if (flags & KAFKA_FATAL) {
            return TALLY_PRODUCER_FATAL;
        }
        if (flags & KAFKA_ABORTABLE) {
            return TALLY_TXN_ABORTED;
        }
        if (flags & KAFKA_RETRIABLE) {
            return error == E(_TIMED_OUT) ? TALLY_TIMEOUT : TALLY_UNAVAILABLE;
        }
        return TALLY_PRODUCER_FATAL;
    case KAFKA_ROLE_DELIVERY:
        return TALLY_DELIVERY_FAILED;
    case KAFKA_ROLE_QUERY:
    default:
        return TALLY_UNAVAILABLE;
    }
}

enum tally_code kafka_error_classify(enum kafka_role role, rd_kafka_resp_err_t error,
        unsigned flags)
{
    tally_assert(role < KAFKA_ROLES);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].error == error && table[i].codes[role] != ASK_FLAGS) {
            bool fencing = table[i].codes[role] == TALLY_FENCED;

            /* Authorization that is fatal to the producer needs a new one, not a pause. */
            if (role == KAFKA_ROLE_TRANSACTION && flags & KAFKA_FATAL && !fencing) {
                return TALLY_PRODUCER_FATAL;
            }
            return table[i].codes[role];
        }
    }
    return classify_flags(role, error, flags);
}

enum tally_code kafka_error_take(enum kafka_role role, rd_kafka_error_t *error,
        struct tally_error *err, const char *text, ...)
{
    char what[128];
    unsigned flags = 0;
    enum tally_code code = TALLY_OK;
    va_list arguments;

    if (!error) {
        return TALLY_OK;
    }
    va_start(arguments, text);
    (void)vsnprintf(what, sizeof what, text, arguments);
    va_end(arguments);
    flags |= rd_kafka_error_is_fatal(error) ? KAFKA_FATAL : 0u;
    flags |= rd_kafka_error_txn_requires_abort(error) ? KAFKA_ABORTABLE : 0u;
    flags |= rd_kafka_error_is_retriable(error) ? KAFKA_RETRIABLE : 0u;
    code = kafka_error_classify(role, rd_kafka_error_code(error), flags);
    code = tally_error_set(err, code, "%s: %s (%s)", what, rd_kafka_error_string(error),
            rd_kafka_error_name(error));
    rd_kafka_error_destroy(error);
    return code;
}

enum tally_code kafka_error_set(enum kafka_role role, rd_kafka_t *rk, rd_kafka_resp_err_t error,
        struct tally_error *err, const char *text, ...)
{
    char what[128], cause[160] = "";
    va_list arguments;

    va_start(arguments, text);
    (void)vsnprintf(what, sizeof what, text, arguments);
    va_end(arguments);
    if (error == E(_FATAL) && rk) {
        rd_kafka_resp_err_t original = rd_kafka_fatal_error(rk, cause, sizeof cause);

        if (original) {
            return tally_error_set(err, kafka_error_classify(role, original, KAFKA_FATAL),
                    "%s: %s (%s)", what, cause, rd_kafka_err2name(original));
        }
    }
    return tally_error_set(err, kafka_error_classify(role, error, 0), "%s: %s (%s)", what,
            rd_kafka_err2str(error), rd_kafka_err2name(error));
}
