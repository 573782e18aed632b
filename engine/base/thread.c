/* engine/base/thread.c - locks, condition variables and threads.
 * Invariants
 *  (1) A thread holds locks of strictly rising rank, so no cycle of waiters can form; checked where
 *      TALLY_CHECKS is defined (debug and sanitizer builds).
 *  (2) Time limits run on the monotonic clock: setting the wall clock wakes or delays nobody.
 *  (3) Only the main thread handles signals.
 * A failing pthread call means a bug or a system without resources: both end the process. */
#include "engine/base/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"

#define NAME_MAX_LEN 15u /* of pthread_setname_np */

static void check(int status, const char *call)
{
    char text[96];

    if (status) {
        (void)snprintf(text, sizeof text, "%s: %s", call, strerrordesc_np(status));
        tally_assert_failed(text, __FILE__, __LINE__);
    }
}

#ifdef TALLY_CHECKS
static _Thread_local uint32_t held_ranks;
_Static_assert(TALLY_LOCKS <= 32, "one bit a rank");

static void rank_take(enum tally_lock_rank rank)
{
    tally_assert(held_ranks >> rank == 0); /* (1) */
    held_ranks |= UINT32_C(1) << rank;
}

static void rank_give(enum tally_lock_rank rank)
{
    tally_assert(held_ranks >> rank & 1); /* held by this thread */
    held_ranks &= ~(UINT32_C(1) << rank);
}
#else
static void rank_take(enum tally_lock_rank rank)
{
    (void)rank;
}

static void rank_give(enum tally_lock_rank rank)
{
    (void)rank;
}
#endif

void tally_mutex_init(struct tally_mutex *mutex, enum tally_lock_rank rank)
{
    check(pthread_mutex_init(&mutex->mutex, NULL), "pthread_mutex_init");
    mutex->rank = rank;
}

void tally_mutex_deinit(struct tally_mutex *mutex)
{
    check(pthread_mutex_destroy(&mutex->mutex), "pthread_mutex_destroy");
}

void tally_mutex_lock(struct tally_mutex *mutex)
{
    rank_take(mutex->rank);
    check(pthread_mutex_lock(&mutex->mutex), "pthread_mutex_lock");
}

void tally_mutex_unlock(struct tally_mutex *mutex)
{
    rank_give(mutex->rank);
    check(pthread_mutex_unlock(&mutex->mutex), "pthread_mutex_unlock");
}

void tally_cond_init(struct tally_cond *cond)
{
    pthread_condattr_t attributes;

    check(pthread_condattr_init(&attributes), "pthread_condattr_init");
    check(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC), "pthread_condattr_setclock");
    check(pthread_cond_init(&cond->cond, &attributes), "pthread_cond_init");
    check(pthread_condattr_destroy(&attributes), "pthread_condattr_destroy");
}

void tally_cond_deinit(struct tally_cond *cond)
{
    check(pthread_cond_destroy(&cond->cond), "pthread_cond_destroy");
}

void tally_cond_signal(struct tally_cond *cond)
{
    check(pthread_cond_signal(&cond->cond), "pthread_cond_signal");
}

void tally_cond_broadcast(struct tally_cond *cond)
{
    check(pthread_cond_broadcast(&cond->cond), "pthread_cond_broadcast");
}

static struct timespec after(clockid_t clock, int64_t timeout_ms)
{
    struct timespec at;

    check(clock_gettime(clock, &at), "clock_gettime");
    at.tv_sec += timeout_ms / 1000;
    at.tv_nsec += timeout_ms % 1000 * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    return at;
}

bool tally_cond_wait(struct tally_cond *cond, struct tally_mutex *mutex, int64_t timeout_ms)
{
    struct timespec until;
    int status;

    rank_give(mutex->rank);
    rank_take(mutex->rank); /* asserts: no wait while a lock of higher rank is held */
    if (timeout_ms < 0) {
        status = pthread_cond_wait(&cond->cond, &mutex->mutex);
    } else {
        until = after(CLOCK_MONOTONIC, timeout_ms);
        status = pthread_cond_timedwait(&cond->cond, &mutex->mutex, &until);
    }
    if (status == ETIMEDOUT) {
        return false;
    }
    check(status, "pthread_cond_wait");
    return true;
}

/* glibc prefers readers by default, who could then keep a writer out for ever. */
void tally_rwlock_init(struct tally_rwlock *lock, enum tally_lock_rank rank)
{
    pthread_rwlockattr_t attributes;

    check(pthread_rwlockattr_init(&attributes), "pthread_rwlockattr_init");
    check(pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP),
            "pthread_rwlockattr_setkind_np");
    check(pthread_rwlock_init(&lock->lock, &attributes), "pthread_rwlock_init");
    check(pthread_rwlockattr_destroy(&attributes), "pthread_rwlockattr_destroy");
    lock->rank = rank;
}

void tally_rwlock_deinit(struct tally_rwlock *lock)
{
    check(pthread_rwlock_destroy(&lock->lock), "pthread_rwlock_destroy");
}

void tally_rwlock_read(struct tally_rwlock *lock)
{
    rank_take(lock->rank);
    check(pthread_rwlock_rdlock(&lock->lock), "pthread_rwlock_rdlock");
}

void tally_rwlock_write(struct tally_rwlock *lock)
{
    rank_take(lock->rank);
    check(pthread_rwlock_wrlock(&lock->lock), "pthread_rwlock_wrlock");
}

void tally_rwlock_unlock(struct tally_rwlock *lock)
{
    rank_give(lock->rank);
    check(pthread_rwlock_unlock(&lock->lock), "pthread_rwlock_unlock");
}

struct thread_start {
    tally_thread_fn run;
    void *argument;
    char name[NAME_MAX_LEN + 1];
};

static void *thread_main(void *argument)
{
    struct thread_start start = *(struct thread_start *)argument;

    tally_free(argument);
    (void)pthread_setname_np(pthread_self(), start.name); /* for top and gdb only */
    tally_log_thread(start.name);
    start.run(start.argument);
    return NULL;
}

/* Signals that a fault raises in its own thread stay: blocked, they would kill without a report. */
static void block_signals(sigset_t *before)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t all;

    (void)sigfillset(&all);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        (void)sigdelset(&all, faults[i]);
    }
    check(pthread_sigmask(SIG_BLOCK, &all, before), "pthread_sigmask");
}

void tally_thread_start(struct tally_thread *thread, const char *name, tally_thread_fn run,
        void *argument)
{
    struct thread_start *start = tally_alloc(sizeof *start);
    sigset_t before;

    tally_assert(strlen(name) <= NAME_MAX_LEN);
    start->run = run;
    start->argument = argument;
    memcpy(start->name, name, strlen(name) + 1);
    block_signals(&before); /* the new thread inherits the mask, so it has no moment without it */
    check(pthread_create(&thread->id, NULL, thread_main, start), "pthread_create");
    check(pthread_sigmask(SIG_SETMASK, &before, NULL), "pthread_sigmask");
    thread->started = true;
}

void tally_thread_join(struct tally_thread *thread)
{
    if (thread->started) {
        check(pthread_join(thread->id, NULL), "pthread_join");
        thread->started = false;
    }
}

#if defined(__SANITIZE_THREAD__)
#define WATCHED_JOIN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WATCHED_JOIN 1
#endif
#endif
#ifdef WATCHED_JOIN /* ThreadSanitizer does not know pthread_clockjoin_np and would see a leak */
static int join_within(pthread_t id, int64_t timeout_ms)
{
    struct timespec until = after(CLOCK_REALTIME, timeout_ms);

    return pthread_timedjoin_np(id, NULL, &until);
}
#else
static int join_within(pthread_t id, int64_t timeout_ms)
{
    struct timespec until = after(CLOCK_MONOTONIC, timeout_ms);

    return pthread_clockjoin_np(id, NULL, CLOCK_MONOTONIC, &until);
}
#endif

bool tally_thread_join_within(struct tally_thread *thread, int64_t timeout_ms)
{
    int status;

    if (!thread->started) {
        return true;
    }
    thread->started = false;
    status = join_within(thread->id, timeout_ms < 0 ? 0 : timeout_ms);
    if (status == ETIMEDOUT) {
        check(pthread_detach(thread->id), "pthread_detach");
        return false;
    }
    check(status, "pthread_clockjoin_np");
    return true;
}

/* As linux/sched/types.h has it; Debian 12's libc does not. */
struct turn {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline, period;
};

/* Since Linux 6.12 that of an ordinary thread is the length of its turns, and whoever has the
 * shorter one need not wait for the end of another's. Older kernels ignore it. */
void tally_thread_prompt(int64_t slice_us, int nice_less)
{
    int nice = getpriority(PRIO_PROCESS, 0);
    struct turn turn = {.size = sizeof turn,
            .policy = SCHED_OTHER,
            .nice = nice - nice_less,
            .runtime_ns = (uint64_t)slice_us * 1000};

    if (syscall(SYS_sched_setattr, 0, &turn, 0)) {
        turn.nice = nice;
        (void)syscall(SYS_sched_setattr, 0, &turn, 0);
    }
}
