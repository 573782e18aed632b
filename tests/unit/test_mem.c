/* tests/unit/test_mem.c - arenas keep what was allocated, reuse blocks and count them. */
#include "engine/base/mem.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>

START_TEST(allocations_are_aligned_and_apart)
{
    struct tally_arena arena;
    uint8_t *memory[500];

    tally_arena_init(&arena, 4096);
    for (size_t i = 0; i < 500; i++) {
        memory[i] = tally_arena_alloc(&arena, i % 77 + 1);
        ck_assert_uint_eq((uintptr_t)memory[i] % 16, 0);
        memset(memory[i], (int)(i % 251), i % 77 + 1);
    }
    for (size_t i = 0; i < 500; i++) {
        for (size_t j = 0; j < i % 77 + 1; j++) {
            ck_assert_uint_eq(memory[i][j], i % 251);
        }
    }
    ck_assert_uint_ge(tally_arena_size(&arena), arena.used);
    tally_arena_deinit(&arena);
    ck_assert_uint_eq(tally_arena_size(&arena), 0);
}
END_TEST

/* Invariant (2) of mem.h. */
START_TEST(a_warm_loop_does_not_allocate)
{
    struct tally_arena arena;
    size_t size;
    void *first, *big;

    tally_arena_init(&arena, 4096);
    first = tally_arena_alloc(&arena, 100);
    big = tally_arena_alloc(&arena, 100000);
    for (int i = 0; i < 100; i++) {
        (void)tally_arena_alloc(&arena, 100);
    }
    size = tally_arena_size(&arena);
    for (int round = 0; round < 5; round++) {
        tally_arena_reset(&arena, 1 << 20);
        ck_assert_uint_eq(arena.used, 0);
        ck_assert_ptr_eq(tally_arena_alloc(&arena, 100), first);
        ck_assert_ptr_eq(tally_arena_alloc(&arena, 100000), big);
        for (int i = 0; i < 100; i++) {
            (void)tally_arena_alloc(&arena, 100);
        }
        ck_assert_uint_eq(tally_arena_size(&arena), size);
    }
    tally_arena_reset(&arena, 5000);
    ck_assert_uint_le(tally_arena_size(&arena), 5000);
    tally_arena_reset(&arena, 0);
    ck_assert_uint_eq(tally_arena_size(&arena), 0);
    ck_assert_ptr_nonnull(tally_arena_alloc(&arena, 1));
    tally_arena_deinit(&arena);
}
END_TEST

START_TEST(a_big_allocation_leaves_the_current_block)
{
    struct tally_arena arena;
    uint8_t *small, *next;

    tally_arena_init(&arena, 4096);
    small = tally_arena_alloc(&arena, 16);
    memset(tally_arena_alloc(&arena, 5000), 1, 5000);
    next = tally_arena_alloc(&arena, 16);
    ck_assert_ptr_eq(next, small + 16);
    tally_arena_deinit(&arena);
}
END_TEST

START_TEST(huge_blocks_are_usable)
{
    struct tally_arena arena;
    uint8_t *memory;

    tally_arena_init(&arena, 2 << 20);
    memory = tally_arena_alloc(&arena, 1000);
    memset(memory, 1, 1000);
    ck_assert_uint_eq(tally_arena_size(&arena), 2 << 20);
    memory = tally_arena_alloc(&arena, 5 << 20);
    memset(memory, 1, 5 << 20);
    ck_assert_uint_eq(tally_arena_size(&arena), 8 << 20);
    tally_arena_deinit(&arena);
}
END_TEST

START_TEST(absorbed_memory_stays)
{
    struct tally_arena to, from;
    struct tally_slice a, b;

    tally_arena_init(&to, 1024);
    tally_arena_init(&from, 1024);
    tally_arena_absorb(&to, &from);
    a = tally_arena_copy(&from, TALLY_SLICE("first"));
    tally_arena_absorb(&to, &from);
    ck_assert_ptr_null(from.first);
    b = tally_arena_copy(&from, TALLY_SLICE("second"));
    memset(tally_arena_alloc(&from, 3000), 1, 3000);
    tally_arena_absorb(&to, &from);
    tally_arena_deinit(&from);
    ck_assert_uint_eq(to.used, 16 + 16 + 3008);
    for (int i = 0; i < 300; i++) {
        memset(tally_arena_alloc(&to, 40), 0xee, 40);
    }
    ck_assert(tally_slice_equal(a, TALLY_SLICE("first")));
    ck_assert(tally_slice_equal(b, TALLY_SLICE("second")));
    tally_arena_reset(&to, SIZE_MAX);
    ck_assert_uint_eq(to.used, 0);
    tally_arena_deinit(&to);
}
END_TEST

START_TEST(copies)
{
    struct tally_arena arena;
    struct tally_slice empty;
    char *text = tally_copy_format("%s-%d", "task", 12);

    ck_assert_str_eq(text, "task-12");
    tally_free(text);
    text = tally_copy_string("");
    ck_assert_str_eq(text, "");
    tally_free(text);
    tally_arena_init(&arena, 0);
    ck_assert_ptr_null(tally_arena_copy(&arena, TALLY_NONE).data);
    empty = tally_arena_copy(&arena, TALLY_SLICE(""));
    ck_assert_ptr_nonnull(empty.data);
    ck_assert_uint_eq(empty.len, 0);
    tally_arena_deinit(&arena);
    tally_free(NULL);
}
END_TEST

/* Invariant (1) of mem.h. */
START_TEST(without_memory_it_aborts)
{
    struct tally_arena arena;

    tally_arena_init(&arena, 4096);
    (void)tally_arena_alloc(&arena, SIZE_MAX - 100);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mem");
    TCase *tests = tcase_create("mem");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_add_test(tests, allocations_are_aligned_and_apart);
    tcase_add_test(tests, a_warm_loop_does_not_allocate);
    tcase_add_test(tests, a_big_allocation_leaves_the_current_block);
    tcase_add_test(tests, huge_blocks_are_usable);
    tcase_add_test(tests, absorbed_memory_stays);
    tcase_add_test(tests, copies);
    tcase_add_test_raise_signal(tests, without_memory_it_aborts, SIGABRT);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
