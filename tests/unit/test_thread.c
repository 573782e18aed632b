/* tests/unit/test_thread.c - lock order, waiting, names and signals of threads. */
#include "engine/base/thread.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>

static struct tally_mutex mutex;
static struct tally_cond cond;
static struct tally_rwlock rwlock;
static int turn;
static int64_t counter;

static void setup(void)
{
    tally_mutex_init(&mutex, TALLY_LOCK_TASKS);
    tally_cond_init(&cond);
    tally_rwlock_init(&rwlock, TALLY_LOCK_VIEW);
}

static void teardown(void)
{
    tally_rwlock_deinit(&rwlock);
    tally_cond_deinit(&cond);
    tally_mutex_deinit(&mutex);
}

static void count(void *argument)
{
    (void)argument;
    for (int i = 0; i < 10000; i++) {
        tally_mutex_lock(&mutex);
        tally_rwlock_write(&rwlock);
        counter++;
        tally_rwlock_unlock(&rwlock);
        tally_mutex_unlock(&mutex);
    }
}

START_TEST(locks_exclude)
{
    struct tally_thread threads[3] = {0};

    for (int i = 0; i < 3; i++) {
        tally_thread_start(&threads[i], "count", count, NULL);
    }
    for (int i = 0; i < 3; i++) {
        tally_thread_join(&threads[i]);
        ck_assert(!threads[i].started);
    }
    tally_rwlock_read(&rwlock);
    ck_assert_int_eq(counter, 30000);
    tally_rwlock_unlock(&rwlock);
    tally_thread_join(&threads[0]); /* a second join does nothing */
}
END_TEST

static void answer(void *argument)
{
    int *last = argument;

    tally_mutex_lock(&mutex);
    while (turn < *last) {
        while (turn % 2 == 0) {
            (void)tally_cond_wait(&cond, &mutex, -1);
        }
        turn++;
        tally_cond_broadcast(&cond);
    }
    tally_mutex_unlock(&mutex);
}

START_TEST(waiters_wake)
{
    struct tally_thread thread;
    int last = 100;

    tally_thread_start(&thread, "answer", answer, &last);
    tally_mutex_lock(&mutex);
    while (turn < last) {
        turn++;
        tally_cond_signal(&cond);
        while (turn % 2 == 1) {
            (void)tally_cond_wait(&cond, &mutex, 60000);
        }
    }
    tally_mutex_unlock(&mutex);
    ck_assert(tally_thread_join_within(&thread, 60000));
    ck_assert_int_eq(turn, 100);
}
END_TEST

START_TEST(a_wait_ends_without_a_signal)
{
    tally_mutex_lock(&mutex);
    ck_assert(!tally_cond_wait(&cond, &mutex, 0));
    ck_assert(!tally_cond_wait(&cond, &mutex, 1));
    tally_mutex_unlock(&mutex);
}
END_TEST

static void wait_for_turn(void *argument)
{
    (void)argument;
    tally_mutex_lock(&mutex);
    while (turn == 0) {
        (void)tally_cond_wait(&cond, &mutex, -1);
    }
    turn = 2;
    tally_cond_broadcast(&cond);
    tally_mutex_unlock(&mutex);
}

START_TEST(a_join_may_give_up)
{
    struct tally_thread thread;

    tally_thread_start(&thread, "late", wait_for_turn, NULL);
    ck_assert(!tally_thread_join_within(&thread, 1));
    ck_assert(!thread.started);
    tally_mutex_lock(&mutex);
    turn = 1;
    tally_cond_broadcast(&cond);
    while (turn != 2) {
        (void)tally_cond_wait(&cond, &mutex, -1);
    }
    tally_mutex_unlock(&mutex);
}
END_TEST

struct seen {
    char name[16];
    int term_blocked, fault_blocked;
};

static void look(void *argument)
{
    struct seen *seen = argument;
    sigset_t blocked;

    (void)pthread_getname_np(pthread_self(), seen->name, sizeof seen->name);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    seen->term_blocked = sigismember(&blocked, SIGTERM);
    seen->fault_blocked = sigismember(&blocked, SIGSEGV);
}

/* Invariant (3) of thread.c. */
START_TEST(a_thread_has_a_name_and_no_signals)
{
    struct tally_thread thread;
    struct seen seen;
    sigset_t blocked;

    tally_thread_start(&thread, "fifteen-letters", look, &seen);
    tally_thread_join(&thread);
    ck_assert_str_eq(seen.name, "fifteen-letters");
    ck_assert_int_eq(seen.term_blocked, 1);
    ck_assert_int_eq(seen.fault_blocked, 0);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    ck_assert_int_eq(sigismember(&blocked, SIGTERM), 0);
}
END_TEST

START_TEST(rising_ranks_are_fine)
{
    tally_mutex_lock(&mutex);
    tally_rwlock_read(&rwlock);
    tally_mutex_unlock(&mutex); /* the order of release is free */
    tally_rwlock_unlock(&rwlock);
    tally_rwlock_write(&rwlock);
    tally_rwlock_unlock(&rwlock);
}
END_TEST

#ifdef TALLY_CHECKS
/* Invariant (1) of thread.c. */
START_TEST(falling_ranks_abort)
{
    tally_rwlock_read(&rwlock);
    tally_mutex_lock(&mutex);
}
END_TEST

START_TEST(a_second_read_lock_aborts)
{
    tally_rwlock_read(&rwlock);
    tally_rwlock_read(&rwlock);
}
END_TEST

START_TEST(unlocking_what_is_not_held_aborts)
{
    tally_mutex_unlock(&mutex);
}
END_TEST

START_TEST(waiting_below_a_held_lock_aborts)
{
    tally_mutex_lock(&mutex);
    tally_rwlock_read(&rwlock);
    (void)tally_cond_wait(&cond, &mutex, 0);
}
END_TEST
#endif

int main(void)
{
    Suite *suite = suite_create("thread");
    TCase *tests = tcase_create("thread");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, locks_exclude);
    tcase_add_test(tests, waiters_wake);
    tcase_add_test(tests, a_wait_ends_without_a_signal);
    tcase_add_test(tests, a_join_may_give_up);
    tcase_add_test(tests, a_thread_has_a_name_and_no_signals);
    tcase_add_test(tests, rising_ranks_are_fine);
#ifdef TALLY_CHECKS
    tcase_add_test_raise_signal(tests, falling_ranks_abort, SIGABRT);
    tcase_add_test_raise_signal(tests, a_second_read_lock_aborts, SIGABRT);
    tcase_add_test_raise_signal(tests, unlocking_what_is_not_held_aborts, SIGABRT);
    tcase_add_test_raise_signal(tests, waiting_below_a_held_lock_aborts, SIGABRT);
#endif
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
