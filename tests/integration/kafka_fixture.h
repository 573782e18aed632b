/* tests/integration/kafka_fixture.h - a client on the broker of TEST_KAFKA (or TALLY_TEST_KAFKA),
 * with names that no other test uses. Everything asserts: a broken fixture is a failed test. */
#pragma once
#include <check.h>

#include "connectors/kafka_client.h"

enum { KAFKA_FIXTURE_WAIT_MS = 30000 }; /* gives up on what never comes */

struct kafka_fixture {
    struct tally_config config;
    struct tally_client *client;
    char name[48]; /* app.id and prefix of all topics */
};
const char *kafka_fixture_servers(void); /* NULL: no broker given */
/* Stops and continues the broker of TEST_KAFKA_PID (or TALLY_TEST_KAFKA_PID). Cases that do so are
 * only added when there is one. */
bool kafka_fixture_may_pause(void);
void kafka_fixture_pause(void);
void kafka_fixture_unpause(void);
/* Fills config and name, makes no client. instance: instance.id */
void kafka_fixture_init(struct kafka_fixture *fixture, const char *instance);
void kafka_fixture_open(struct kafka_fixture *fixture, const char *instance);
/* Another process of the same application: same name, own client. */
void kafka_fixture_open_second(struct kafka_fixture *second, const struct kafka_fixture *first,
        const char *instance);
void kafka_fixture_close(struct kafka_fixture *fixture);
/* Makes "<name>.<suffix>"; the returned name lives as long as the process. */
const char *kafka_fixture_topic(struct kafka_fixture *fixture, const char *suffix, int partitions);
bool kafka_fixture_exists(struct kafka_fixture *fixture, const char *topic);

/* Publishes value 0, 1, 2 ... under keys that all fall into partition. */
void kafka_fixture_fill(struct kafka_fixture *fixture, const char *topic, int count);
struct tally_producer *kafka_fixture_producer(struct kafka_fixture *fixture, int thread);
/* Sends one value, asserting success. */
void kafka_fixture_produce(struct tally_producer *producer, const char *topic, int32_t partition,
        const char *value, struct tally_delivery *delivery);
enum tally_code kafka_fixture_commit(struct tally_producer *producer);

/* A member of the group that starts at its committed offsets, or at 0. */
struct kafka_member {
    struct tally_consumer *consumer;
    int assigned, revoked, lost; /* calls */
    struct tally_topic_partition partitions[16];
    size_t count;
};
void kafka_member_join(struct kafka_member *member, struct kafka_fixture *fixture, int thread,
        const char *topic);
void kafka_member_await(struct kafka_member *member, size_t partitions); /* polls until assigned */
void kafka_member_leave(struct kafka_member *member);
/* Next record, waiting at most KAFKA_FIXTURE_WAIT_MS; the value as text into value. */
void kafka_member_next(struct tally_consumer *consumer, struct tally_record *record);
/* All committed values of a partition up to its end, joined by ','; the caller's to free. */
char *kafka_fixture_read(struct kafka_fixture *fixture, const char *topic, int32_t partition);

#define kafka_ok(expression)                                                                \
    do {                                                                                    \
        enum tally_code code_ = (expression);                                               \
        ck_assert_msg(code_ == TALLY_OK, "%s: %s: %s", #expression, tally_code_name(code_), \
                err.message);                                                               \
    } while (0)
/* Runs a suite's cases, or says what is missing and fails. */
int kafka_fixture_main(const char *name, void (*add)(TCase *tcase));
