/* tests/unit/test_limiter.c - buckets of a process without the shared log, and what is asked first.
 * Invariants: limiter.h (2) (3). */
#include "engine/limiter.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"

static const struct tally_limit search = {.policy = "search", .quota = 10, .window_ms = 1000};
static const struct tally_limit write_limit = {.policy = "write", .quota = 1, .window_ms = 60000};
static struct tally_fake_clock fake;

static void setup(void)
{
    tally_fake_clock_init(&fake, 1000000);
}

static bool take(struct tally_limiter *limiter, const struct tally_limit *limit, const char *client,
        struct tally_limit_answer *answer)
{
    tally_limiter_take(limiter, limit, tally_slice_string(client), answer);
    return answer->allowed;
}

START_TEST(share_and_refill)
{
    struct tally_limiter *limiter = tally_limiter_create(NULL, 2, &fake.clock);
    struct tally_limit_answer answer;

    for (int i = 0; i < 5; i++) { /* 10 among 2 */
        ck_assert(take(limiter, &search, "10.0.0.1", &answer));
        ck_assert_int_eq(answer.remaining, 4 - i);
        ck_assert_int_gt(answer.reset_ms, 0);
    }
    ck_assert(!take(limiter, &search, "10.0.0.1", &answer));
    ck_assert_int_eq(answer.remaining, 0);
    ck_assert_int_eq(answer.reset_ms, 201);
    ck_assert(take(limiter, &search, "10.0.0.2", &answer));      /* another client */
    ck_assert(take(limiter, &write_limit, "10.0.0.1", &answer)); /* another policy */
    tally_fake_clock_advance(&fake, 199);
    ck_assert(!take(limiter, &search, "10.0.0.1", &answer));
    tally_fake_clock_advance(&fake, 2);
    ck_assert(take(limiter, &search, "10.0.0.1", &answer));
    ck_assert(!take(limiter, &search, "10.0.0.1", &answer));
    tally_fake_clock_advance(&fake, 3600000); /* never more than the share at once */
    for (int i = 0; i < 5; i++) {
        ck_assert(take(limiter, &search, "10.0.0.1", &answer));
    }
    ck_assert(!take(limiter, &search, "10.0.0.1", &answer));
    tally_limiter_destroy(limiter);
}
END_TEST

/* A quota smaller than the number of instances still lets one through. */
START_TEST(at_least_one)
{
    struct tally_limiter *limiter = tally_limiter_create(NULL, 5, &fake.clock);
    struct tally_limit_answer answer;

    ck_assert(take(limiter, &write_limit, "a", &answer));
    ck_assert(!take(limiter, &write_limit, "a", &answer));
    ck_assert_int_eq(answer.reset_ms, 60001);
    tally_limiter_destroy(limiter);
}
END_TEST

/* More clients than there is room for: each is answered, and the latest ones are remembered. */
START_TEST(many_clients)
{
    struct tally_limiter *limiter = tally_limiter_create(NULL, 1, &fake.clock);
    struct tally_limit_answer answer;
    char client[200];

    for (int i = 0; i < 100000; i++) {
        (void)snprintf(client, sizeof client, "192.168.%d.%d:%d", i / 256, i % 256, i);
        tally_fake_clock_advance(&fake, 1);
        ck_assert(take(limiter, &write_limit, client, &answer));
        ck_assert(!take(limiter, &write_limit, client, &answer));
    }
    memset(client, 'x', sizeof client - 1); /* longer than what is kept of a name */
    client[sizeof client - 1] = '\0';
    ck_assert(take(limiter, &write_limit, client, &answer));
    ck_assert(!take(limiter, &write_limit, client, &answer));
    client[sizeof client - 2] = 'y';
    ck_assert(take(limiter, &write_limit, client, &answer));
    tally_limiter_destroy(limiter);
}
END_TEST

/* --- with a log ------------------------------------------------------------------------------- */

static struct {
    struct tally_limit_log log;
    bool away, destroyed;
    int calls;
} shared;

static enum tally_code shared_take(struct tally_limit_log *log, const struct tally_limit *limit,
        struct tally_slice client, struct tally_limit_answer *answer, struct tally_error *err)
{
    (void)log;
    (void)client;
    shared.calls++;
    if (shared.away) {
        return tally_error_set(err, TALLY_UNAVAILABLE, "away");
    }
    *answer = (struct tally_limit_answer){true, limit->quota - shared.calls, 7};
    return TALLY_OK;
}

static void shared_destroy(struct tally_limit_log *log)
{
    (void)log;
    shared.destroyed = true;
}

static const struct tally_limit_log_ops shared_ops = {shared_take, shared_destroy};

START_TEST(log_first)
{
    struct tally_limiter *limiter;
    struct tally_limit_answer answer;

    shared.log.ops = &shared_ops;
    limiter = tally_limiter_create(&shared.log, 10, &fake.clock);
    ck_assert(take(limiter, &search, "a", &answer));
    ck_assert_int_eq(answer.remaining, 9);
    ck_assert_int_eq(answer.reset_ms, 7);
    shared.away = true;
    ck_assert(take(limiter, &search, "a", &answer)); /* this instance's share is one */
    ck_assert(!take(limiter, &search, "a", &answer));
    shared.away = false;
    ck_assert(take(limiter, &search, "a", &answer));
    ck_assert_int_eq(shared.calls, 4);
    tally_limiter_destroy(limiter);
    ck_assert(shared.destroyed);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("limiter");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, share_and_refill);
    tcase_add_test(tcase, at_least_one);
    tcase_add_test(tcase, many_clients);
    tcase_add_test(tcase, log_first);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
