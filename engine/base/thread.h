/* engine/base/thread.h - pthreads with names, and locks whose order is checked in debug builds.
 * Every lock's rank stands in locks.def; taking a lock of a lower or equal rank than one already
 * held is a bug and asserts. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum tally_lock_rank {
#define X(name, what) TALLY_LOCK_##name,
#include "engine/base/locks.def"
#undef X
    TALLY_LOCKS
};

struct tally_mutex {
    pthread_mutex_t mutex;
    enum tally_lock_rank rank;
};
#define TALLY_MUTEX_INITIALIZER(lock_rank)                      \
    {                                                           \
        .mutex = PTHREAD_MUTEX_INITIALIZER, .rank = (lock_rank) \
    }
void tally_mutex_init(struct tally_mutex *mutex, enum tally_lock_rank rank);
void tally_mutex_deinit(struct tally_mutex *mutex);
void tally_mutex_lock(struct tally_mutex *mutex);
void tally_mutex_unlock(struct tally_mutex *mutex);

struct tally_cond {
    pthread_cond_t cond; /* CLOCK_MONOTONIC */
};
void tally_cond_init(struct tally_cond *cond);
void tally_cond_deinit(struct tally_cond *cond);
void tally_cond_signal(struct tally_cond *cond);
void tally_cond_broadcast(struct tally_cond *cond);
/* false: timeout_ms passed without a signal; negative waits for ever. */
bool tally_cond_wait(struct tally_cond *cond, struct tally_mutex *mutex, int64_t timeout_ms);

struct tally_rwlock {
    pthread_rwlock_t lock;
    enum tally_lock_rank rank;
};
void tally_rwlock_init(struct tally_rwlock *lock, enum tally_lock_rank rank);
void tally_rwlock_deinit(struct tally_rwlock *lock);
void tally_rwlock_read(struct tally_rwlock *lock);
void tally_rwlock_write(struct tally_rwlock *lock);
void tally_rwlock_unlock(struct tally_rwlock *lock);

typedef void (*tally_thread_fn)(void *argument);
struct tally_thread {
    pthread_t id;
    bool started;
};
/* All signals are blocked in the new thread. name: at most 15 characters, also its log name. */
void tally_thread_start(struct tally_thread *thread, const char *name, tally_thread_fn run,
        void *argument);
void tally_thread_join(struct tally_thread *thread);
/* Waits at most timeout_ms; false: still running, and the thread is then detached for ever. */
bool tally_thread_join_within(struct tally_thread *thread, int64_t timeout_ms);
/* This thread works for moments and others wait for it: once it is woken, the kernel lets it run
 * before those that have longer turns, and with a nice value that is less by so much, where the
 * process may (CAP_SYS_NICE, RLIMIT_NICE). Nothing happens where the kernel knows no such thing. */
void tally_thread_prompt(int64_t slice_us, int nice_less);
