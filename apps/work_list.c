/* apps/work_list.c - see the header. */
#include "apps/work_list.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/base/thread.h"

enum { TICK_MS = 200, THREADS_MAX = 256 };

struct work_list {
    size_t count;
    atomic_size_t next;
    atomic_bool stopped;
    struct tally_mutex mutex; /* of `working` */
    struct tally_cond ended;
    int working;
};

struct worker {
    struct work_list *list;
    work_list_fn work;
    void *context;
    int number;
    struct tally_thread thread;
};

static void run(void *argument)
{
    struct worker *worker = argument;
    struct work_list *list = worker->list;

    worker->work(worker->context, worker->number, list);
    tally_mutex_lock(&list->mutex);
    list->working--;
    tally_cond_signal(&list->ended);
    tally_mutex_unlock(&list->mutex);
}

/* Whether threads are still at work when a tick is due. */
static bool wait_tick(struct work_list *list)
{
    bool working;

    tally_mutex_lock(&list->mutex);
    if (list->working > 0) {
        (void)tally_cond_wait(&list->ended, &list->mutex, TICK_MS);
    }
    working = list->working > 0;
    tally_mutex_unlock(&list->mutex);
    return working;
}

void work_list_run(size_t count, int threads, work_list_fn work, work_list_tick_fn tick,
        void *context)
{
    struct work_list list = {.count = count, .working = threads};
    struct worker *workers = tally_alloc_zero((size_t)threads, sizeof *workers);

    tally_mutex_init(&list.mutex, TALLY_LOCK_RUNTIME);
    tally_cond_init(&list.ended);
    for (int i = 0; i < threads; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "work-%d", i);
        workers[i] = (struct worker){.list = &list, .work = work, .context = context, .number = i};
        tally_thread_start(&workers[i].thread, name, run, &workers[i]);
    }
    while (wait_tick(&list)) {
        if (!tick(context)) {
            atomic_store(&list.stopped, true);
        }
    }
    for (int i = 0; i < threads; i++) {
        tally_thread_join(&workers[i].thread);
    }
    tally_cond_deinit(&list.ended);
    tally_mutex_deinit(&list.mutex);
    tally_free(workers);
}

bool work_list_take(struct work_list *list, size_t *index)
{
    if (atomic_load(&list->stopped)) {
        return false;
    }
    *index = atomic_fetch_add(&list->next, 1);
    return *index < list->count;
}

bool work_list_stopped(const struct work_list *list)
{
    return atomic_load(&list->stopped);
}

int work_list_threads(long long wanted, size_t items)
{
    long long threads = wanted > 0 ? wanted : sysconf(_SC_NPROCESSORS_ONLN);

    threads = threads > THREADS_MAX ? THREADS_MAX : threads;
    threads = threads > (long long)items ? (long long)items : threads;
    return threads > 0 ? (int)threads : 1;
}
