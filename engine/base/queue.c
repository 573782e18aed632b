/* engine/base/queue.c - a ring of pointers under one lock.
 * Invariants
 *  (1) count <= capacity; the oldest item is at head, items come out in the order they went in.
 *  (2) After close no push succeeds, and pop still hands out what is left.
 * States: OPEN --[close]--> CLOSED. Batching is the callers' business: an item is a batch. */
#include "engine/base/queue.h"

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/mem.h"
#include "engine/base/thread.h"

struct tally_queue {
    struct tally_mutex lock;
    struct tally_cond changed;
    size_t capacity, head, count;
    bool closed;
    void *items[];
};

struct tally_queue *tally_queue_create(size_t capacity)
{
    struct tally_queue *queue;

    tally_assert(capacity > 0 && capacity < SIZE_MAX / sizeof(void *) / 2);
    queue = tally_alloc_zero(1, sizeof *queue + capacity * sizeof(void *));
    tally_mutex_init(&queue->lock, TALLY_LOCK_QUEUE);
    tally_cond_init(&queue->changed);
    queue->capacity = capacity;
    return queue;
}

void tally_queue_destroy(struct tally_queue *queue)
{
    if (!queue) {
        return;
    }
    tally_cond_deinit(&queue->changed);
    tally_mutex_deinit(&queue->lock);
    tally_free(queue);
}

bool tally_queue_push(struct tally_queue *queue, void *item)
{
    bool taken = false;

    tally_assert(item);
    tally_mutex_lock(&queue->lock);
    if (!queue->closed && queue->count < queue->capacity) {
        queue->items[(queue->head + queue->count) % queue->capacity] = item;
        queue->count++;
        taken = true;
        tally_cond_signal(&queue->changed);
    }
    tally_mutex_unlock(&queue->lock);
    return taken;
}

/* A wake-up proves nothing: another popper may have been faster, so the time left is measured. */
static void wait_for_item(struct tally_queue *queue, int64_t timeout_ms)
{
    int64_t until_ms = tally_mono_ms(tally_clock_real()) + timeout_ms;
    int64_t left_ms = timeout_ms;

    while (queue->count == 0 && !queue->closed && (timeout_ms < 0 || left_ms > 0)) {
        (void)tally_cond_wait(&queue->changed, &queue->lock, timeout_ms < 0 ? -1 : left_ms);
        left_ms = timeout_ms < 0 ? -1 : until_ms - tally_mono_ms(tally_clock_real());
    }
}

void *tally_queue_pop(struct tally_queue *queue, int64_t timeout_ms)
{
    void *item = NULL;

    tally_mutex_lock(&queue->lock);
    wait_for_item(queue, timeout_ms);
    if (queue->count) {
        item = queue->items[queue->head];
        queue->head = (queue->head + 1) % queue->capacity;
        queue->count--;
    }
    tally_mutex_unlock(&queue->lock);
    return item;
}

void tally_queue_close(struct tally_queue *queue)
{
    tally_mutex_lock(&queue->lock);
    queue->closed = true;
    tally_cond_broadcast(&queue->changed);
    tally_mutex_unlock(&queue->lock);
}

size_t tally_queue_count(struct tally_queue *queue)
{
    size_t count;

    tally_mutex_lock(&queue->lock);
    count = queue->count;
    tally_mutex_unlock(&queue->lock);
    return count;
}
