/* connectors/kafka_log.c - librdkafka's log lines in ours.
 * Errors that matter also reach the engine as codes and are logged where they are handled, so
 * nothing here is above warn; broken connections are normal (idle brokers close them) and debug.
 * Called from librdkafka's threads: atomics only. */
#include "connectors/kafka_internal.h"

#include <string.h>

#include "engine/base/log.h"

enum { LIMITS = 64, EVERY_MS = 1000 };

static enum tally_log_level level_of(int level, const char *facility)
{
    static const char *const normal[] = {
            "FAIL", "REQTMOUT", "CONFWARN", "TERMINATE", "CLOSETIMEOUT"};

    for (size_t i = 0; i < sizeof normal / sizeof *normal; i++) {
        if (strcmp(facility, normal[i]) == 0) {
            return TALLY_LOG_DEBUG;
        }
    }
    if (level <= 3) { /* syslog's emerg, alert, crit, err */
        return TALLY_LOG_WARN;
    }
    return level == 4 ? TALLY_LOG_INFO : TALLY_LOG_DEBUG;
}

void kafka_log(const rd_kafka_t *rk, int level, const char *facility, const char *line)
{
    static struct tally_log_limit
            limits[LIMITS]; /* by facility; two that share one share its rate */
    unsigned hash = (unsigned)level;

    for (const char *at = facility; *at; at++) {
        hash = hash * 31u + (unsigned char)*at;
    }
    if (!tally_log_allowed(&limits[hash % LIMITS], EVERY_MS)) {
        return;
    }
    tally_log(level_of(level, facility), "librdkafka", TALLY_LOG_STR("client", rd_kafka_name(rk)),
            TALLY_LOG_STR("facility", facility), TALLY_LOG_STR("text", line));
}
