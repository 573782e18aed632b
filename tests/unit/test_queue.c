/* tests/unit/test_queue.c - order, bound, closing, and nothing lost between threads. */
#include "engine/base/queue.h"

#include <check.h>
#include <stdlib.h>

#include "engine/base/thread.h"

START_TEST(first_in_first_out)
{
    struct tally_queue *queue = tally_queue_create(3);
    int items[5];

    for (int round = 0; round < 4; round++) {
        ck_assert(tally_queue_push(queue, &items[0]));
        ck_assert(tally_queue_push(queue, &items[1]));
        ck_assert_ptr_eq(tally_queue_pop(queue, 0), &items[0]);
        ck_assert(tally_queue_push(queue, &items[2]));
        ck_assert(tally_queue_push(queue, &items[3]));
        ck_assert(!tally_queue_push(queue, &items[4]));
        ck_assert_uint_eq(tally_queue_count(queue), 3);
        ck_assert_ptr_eq(tally_queue_pop(queue, -1), &items[1]);
        ck_assert_ptr_eq(tally_queue_pop(queue, 60000), &items[2]);
        ck_assert_ptr_eq(tally_queue_pop(queue, 0), &items[3]);
        ck_assert_ptr_null(tally_queue_pop(queue, 0));
        ck_assert_ptr_null(tally_queue_pop(queue, 1));
    }
    tally_queue_destroy(queue);
    tally_queue_destroy(NULL);
}
END_TEST

/* Invariant (2) of queue.c. */
START_TEST(a_closed_queue_gives_what_is_left)
{
    struct tally_queue *queue = tally_queue_create(2);
    int item;

    ck_assert(tally_queue_push(queue, &item));
    tally_queue_close(queue);
    ck_assert(!tally_queue_push(queue, &item));
    ck_assert_ptr_eq(tally_queue_pop(queue, -1), &item);
    ck_assert_ptr_null(tally_queue_pop(queue, -1));
    tally_queue_destroy(queue);
}
END_TEST

#define ITEMS 20000
static char items[ITEMS];

static void pop_all(void *argument)
{
    struct tally_queue *queue = argument;
    char *item;

    while ((item = tally_queue_pop(queue, -1)) != NULL) {
        (*item)++; /* no two poppers get the same item */
    }
}

START_TEST(every_item_arrives_once)
{
    struct tally_queue *queue = tally_queue_create(64);
    struct tally_thread threads[2];

    tally_thread_start(&threads[0], "pop-0", pop_all, queue);
    tally_thread_start(&threads[1], "pop-1", pop_all, queue);
    for (int i = 0; i < ITEMS;) {
        if (tally_queue_push(queue, &items[i])) {
            i++;
        }
    }
    tally_queue_close(queue);
    tally_thread_join(&threads[0]);
    tally_thread_join(&threads[1]);
    for (int i = 0; i < ITEMS; i++) {
        ck_assert_int_eq(items[i], 1);
    }
    tally_queue_destroy(queue);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue");
    TCase *tests = tcase_create("queue");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_add_test(tests, first_in_first_out);
    tcase_add_test(tests, a_closed_queue_gives_what_is_left);
    tcase_add_test(tests, every_item_arrives_once);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
