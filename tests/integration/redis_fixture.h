/* tests/integration/redis_fixture.h - a redis-server of the test's own, and records for a sink. The
 * sink's user has the rights of docs/redis.md and no others; the fixture is the default user.
 * Everything asserts: a broken fixture is a failed test. */
#pragma once
#include <check.h>
#include <hiredis/hiredis.h>
#include <sys/types.h>

#include "connectors/redis_sink.h"
#include "schemas/catalogue_records.h"
#include "schemas/stock_records.h"

struct redis_fixture {
    struct tally_config config; /* of the user with the password below */
    int port;
    pid_t pid;
    char directory[64], url[96];
    redisContext *client; /* the default user */
};
#define REDIS_FIXTURE_PASSWORD "a secret"
extern const char *const redis_fixture_acl; /* the rule of docs/redis.md */

void redis_fixture_start(struct redis_fixture *fixture);
void redis_fixture_stop(struct redis_fixture *fixture);
void redis_fixture_kill(struct redis_fixture *fixture); /* -9; the directory stays */
void redis_fixture_restart(struct redis_fixture *fixture);
/* What the default user is answered, as text: strings as they are, arrays joined by '|', nil "-";
 * valid until the next call. */
const char *redis_fixture_ask(struct redis_fixture *fixture, const char *format, ...);

/* --- records; they live until redis_fixture_forget -------------------------------------------- */

#define STOCK_TOPIC     "stock.events"
#define CATALOGUE_TOPIC "catalogue.events"

struct tally_sink_record redis_fixture_level(enum stock_event_type type, int64_t offset,
        const char *sku, const char *warehouse, int64_t version, int64_t on_hand);
/* StockConfigured: BACKORDER, no limit, a threshold of 10. */
struct tally_sink_record redis_fixture_setting(int64_t offset, const char *sku,
        const char *warehouse, int64_t version, int64_t on_hand);
struct tally_sink_record redis_fixture_sku(enum stock_event_type type, int64_t offset,
        const char *sku, int64_t version, const char *product_id);
struct tally_sink_record redis_fixture_product(enum catalogue_event_type type, int64_t offset,
        const char *product_id, const char *slug, int64_t version);
struct tally_sink_record redis_fixture_slug(enum catalogue_event_type type, int64_t offset,
        const char *slug, const char *product_id);
struct tally_sink_record redis_fixture_outcome(int64_t offset); /* CommandAccepted */
void redis_fixture_forget(void);

#define redis_ok(expression)                                                                \
    do {                                                                                    \
        enum tally_code code_ = (expression);                                               \
        ck_assert_msg(code_ == TALLY_OK, "%s: %s: %s", #expression, tally_code_name(code_), \
                err.message);                                                               \
    } while (0)
