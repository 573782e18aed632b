/* tests/sanitize/c11_threads.c - C11 threads on pthreads, for programs under the thread sanitizer.
 * librdkafka uses <threads.h>, whose functions the sanitizer of clang 14 does not know: a thread
 * that it has not seen start crashes in it, and locks that it has not seen look like races. These
 * definitions win over libc's. Only what librdkafka calls; glibc's types have the same layout. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

#define EXPORT __attribute__((visibility("default")))

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "mtx_t is a pthread_mutex_t");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "cnd_t is a pthread_cond_t");
_Static_assert(sizeof(thrd_t) == sizeof(pthread_t), "thrd_t is a pthread_t");

struct start {
    thrd_start_t run;
    void *argument;
};

static void *run(void *argument)
{
    struct start start = *(struct start *)argument;

    free(argument);
    return (void *)(intptr_t)start.run(start.argument);
}

static int result_of(int error)
{
    switch (error) {
    case 0:
        return thrd_success;
    case EBUSY:
        return thrd_busy;
    case ETIMEDOUT:
        return thrd_timedout;
    case ENOMEM:
        return thrd_nomem;
    default:
        return thrd_error;
    }
}

EXPORT int thrd_create(thrd_t *thread, thrd_start_t function, void *argument)
{
    struct start *start = malloc(sizeof *start);
    int error;

    if (!start)
        return thrd_nomem;
    *start = (struct start){function, argument};
    error = pthread_create((pthread_t *)thread, NULL, run, start);
    if (error)
        free(start);
    return result_of(error);
}

EXPORT int thrd_join(thrd_t thread, int *result)
{
    void *returned;
    int error = pthread_join((pthread_t)thread, &returned);

    if (!error && result)
        *result = (int)(intptr_t)returned;
    return result_of(error);
}

EXPORT int thrd_detach(thrd_t thread)
{
    return result_of(pthread_detach((pthread_t)thread));
}

EXPORT int mtx_init(mtx_t *mutex, int kind)
{
    pthread_mutexattr_t attributes;
    int error = pthread_mutexattr_init(&attributes);

    if (!error && (kind & mtx_recursive))
        error = pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    if (!error)
        error = pthread_mutex_init((pthread_mutex_t *)mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return result_of(error);
}

EXPORT void mtx_destroy(mtx_t *mutex)
{
    pthread_mutex_destroy((pthread_mutex_t *)mutex);
}

EXPORT int mtx_lock(mtx_t *mutex)
{
    return result_of(pthread_mutex_lock((pthread_mutex_t *)mutex));
}

EXPORT int mtx_trylock(mtx_t *mutex)
{
    return result_of(pthread_mutex_trylock((pthread_mutex_t *)mutex));
}

EXPORT int mtx_unlock(mtx_t *mutex)
{
    return result_of(pthread_mutex_unlock((pthread_mutex_t *)mutex));
}

EXPORT int cnd_init(cnd_t *cond)
{
    return result_of(pthread_cond_init((pthread_cond_t *)cond, NULL));
}

EXPORT void cnd_destroy(cnd_t *cond)
{
    pthread_cond_destroy((pthread_cond_t *)cond);
}

EXPORT int cnd_signal(cnd_t *cond)
{
    return result_of(pthread_cond_signal((pthread_cond_t *)cond));
}

EXPORT int cnd_broadcast(cnd_t *cond)
{
    return result_of(pthread_cond_broadcast((pthread_cond_t *)cond));
}

EXPORT int cnd_wait(cnd_t *cond, mtx_t *mutex)
{
    return result_of(pthread_cond_wait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex));
}

EXPORT int cnd_timedwait(cnd_t *cond, mtx_t *mutex, const struct timespec *until)
{
    return result_of(pthread_cond_timedwait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex,
            until));
}
