/* engine/base/queue.h - a bounded queue of pointers between threads. @thread any  @locks QUEUE */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tally_queue;
struct tally_queue *tally_queue_create(size_t capacity);
void tally_queue_destroy(struct tally_queue *queue); /* items that are left are the caller's */
bool tally_queue_push(struct tally_queue *queue, void *item); /* false: full or closed */
/* NULL: nothing came within timeout_ms, or the queue is closed and empty. */
void *tally_queue_pop(struct tally_queue *queue, int64_t timeout_ms);
void tally_queue_close(struct tally_queue *queue); /* wakes every popper */
size_t tally_queue_count(struct tally_queue *queue);
