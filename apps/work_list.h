/* apps/work_list.h - items that several threads take in turn, while the caller waits and may stop
 * them. @thread main, but for take and stopped */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct work_list;
/* A thread's work: takes items until there is none. thread: 0.. */
typedef void (*work_list_fn)(void *context, int thread, struct work_list *list);
/* Called about five times a second by the thread that waits; false: no more items are given out. */
typedef bool (*work_list_tick_fn)(void *context);

/* Returns when all threads have ended. */
void work_list_run(size_t count, int threads, work_list_fn work, work_list_tick_fn tick,
        void *context);
/* false: none is left, or it was stopped. @thread any */
bool work_list_take(struct work_list *list, size_t *index);
bool work_list_stopped(const struct work_list *list); /* @thread any */
/* Of engine.threads, where 0 are as many as there are cores; never more than items, or none. */
int work_list_threads(long long wanted, size_t items);
