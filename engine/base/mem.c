/* engine/base/mem.c - the heap and arenas.
 * Invariants
 *  (1) and (2) of mem.h.
 *  (3) Blocks before `current` are full or nearly so; an allocation never looks at them again.
 *  (4) `used` of a block never passes its size; a block after `current` is empty, unless it was
 *      made for one big allocation or came in by tally_arena_absorb.
 *
 *   first -> [full] -> [current, filling] -> [big, full] -> [empty, kept] -> NULL
 *
 * Left out: freeing a single allocation, and any lock; an arena belongs to one thread. */
#include "engine/base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define POISONING 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISONING 1
#endif
#endif
#ifdef POISONING /* makes a use after tally_arena_reset as visible as a use after free */
#include <sanitizer/asan_interface.h>
#define POISON(address, size)   ASAN_POISON_MEMORY_REGION((address), (size))
#define UNPOISON(address, size) ASAN_UNPOISON_MEMORY_REGION((address), (size))
#else
#define POISON(address, size)   ((void)(address), (void)(size))
#define UNPOISON(address, size) ((void)(address), (void)(size))
#endif

#define ALIGNMENT      16u
#define HUGE_PAGE      ((size_t)2 << 20)
#define BLOCK_SIZE_MIN ((size_t)1024)

struct tally_arena_block {
    struct tally_arena_block *next;
    size_t size; /* of `bytes` */
    size_t used;
    size_t total; /* with this head, as allocated */
    uint8_t bytes[];
};
_Static_assert(sizeof(struct tally_arena_block) % ALIGNMENT == 0, "bytes must stay aligned");

static _Noreturn void out_of_memory(size_t size)
{
    char text[80];
    int len = snprintf(text, sizeof text, "out of memory: could not allocate %zu bytes\n", size);

    if (write(STDERR_FILENO, text, (size_t)len) < 0) {
        abort();
    }
    abort();
}

void *tally_alloc(size_t size)
{
    void *memory = malloc(size ? size : 1);

    if (!memory) {
        out_of_memory(size);
    }
    return memory;
}

void *tally_alloc_zero(size_t count, size_t size)
{
    void *memory = NULL;

    if (count <= PTRDIFF_MAX) { /* more is a negative count */
        memory = count && size ? calloc(count, size) : calloc(1, 1);
    }
    if (!memory) {
        out_of_memory(count > SIZE_MAX / (size ? size : 1) ? SIZE_MAX : count * size);
    }
    return memory;
}

void *tally_realloc(void *memory, size_t size)
{
    void *moved = realloc(memory, size ? size : 1);

    if (!moved) {
        out_of_memory(size);
    }
    return moved;
}

void tally_free(void *memory)
{
    free(memory);
}

char *tally_copy_string(const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(tally_alloc(size), text, size);
}

char *tally_copy_format(const char *format, ...)
{
    va_list arguments;
    char *text;
    int len;

    va_start(arguments, format);
    len = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    tally_assert(len >= 0);
    text = tally_alloc((size_t)len + 1);
    va_start(arguments, format);
    (void)vsnprintf(text, (size_t)len + 1, format, arguments);
    va_end(arguments);
    return text;
}

/* size is of the whole block. From 2 MiB on it is made of huge pages, which halves the cost of
 * a random load in a large overlay. */
static struct tally_arena_block *create_block(size_t total)
{
    struct tally_arena_block *block;

    if (total >= HUGE_PAGE) {
        total = (total + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
        block = aligned_alloc(HUGE_PAGE, total);
        if (!block) {
            out_of_memory(total);
        }
        (void)madvise(block, total, MADV_HUGEPAGE); /* advice: a kernel without it is fine */
    } else {
        block = tally_alloc(total);
    }
    block->next = NULL;
    block->total = total;
    block->size = (total - sizeof *block) / ALIGNMENT * ALIGNMENT;
    block->used = 0;
    POISON(block->bytes, block->size);
    return block;
}

static void destroy_block(struct tally_arena_block *block)
{
    UNPOISON(block->bytes, block->size);
    free(block);
}

void tally_arena_init(struct tally_arena *arena, size_t block_size)
{
    *arena = (struct tally_arena){
            .block_size = block_size < BLOCK_SIZE_MIN ? BLOCK_SIZE_MIN : block_size};
}

void tally_arena_deinit(struct tally_arena *arena)
{
    tally_arena_reset(arena, 0);
}

static void *take(struct tally_arena *arena, struct tally_arena_block *block, size_t size)
{
    uint8_t *memory = block->bytes + block->used;

    block->used += size;
    arena->used += size;
    return memory;
}

static struct tally_arena_block *insert_block(struct tally_arena *arena, size_t total)
{
    struct tally_arena_block *block = create_block(total);

    if (arena->current) {
        block->next = arena->current->next;
        arena->current->next = block;
    } else {
        block->next = arena->first;
        arena->first = arena->current = block;
    }
    arena->size += block->total;
    return block;
}

/* What does not fit into a new block of the usual size gets a block of its own, so that the room
 * left in `current` is not lost. */
static struct tally_arena_block *block_for_big(struct tally_arena *arena, size_t size)
{
    struct tally_arena_block *block = arena->current;

    for (; block; block = block->next) {
        if (block->used == 0 && block->size >= size) {
            return block;
        }
    }
    return insert_block(arena, sizeof *block + size);
}

static struct tally_arena_block *block_for_small(struct tally_arena *arena, size_t size)
{
    struct tally_arena_block *block = arena->current;

    while (block && block->next) {
        block = arena->current = block->next;
        if (block->size - block->used >= size) {
            return block;
        }
    }
    return arena->current = insert_block(arena, arena->block_size);
}

void *tally_arena_alloc(struct tally_arena *arena, size_t size)
{
    struct tally_arena_block *block = arena->current;
    size_t rounded = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    void *memory;

    if (rounded < size || rounded > SIZE_MAX / 2) {
        out_of_memory(size);
    }
    if (!block || block->size - block->used < rounded) {
        block = rounded > arena->block_size - sizeof *block - ALIGNMENT
                        ? block_for_big(arena, rounded)
                        : block_for_small(arena, rounded);
    }
    memory = take(arena, block, rounded);
    UNPOISON(memory, size);
    return memory;
}

struct tally_slice tally_arena_copy(struct tally_arena *arena, struct tally_slice bytes)
{
    void *memory;

    if (!bytes.data) {
        return TALLY_NONE;
    }
    memory = tally_arena_alloc(arena, bytes.len);
    tally_copy_short(memory, bytes.data, bytes.len);
    return tally_slice_of(memory, bytes.len);
}

void tally_arena_reset(struct tally_arena *arena, size_t keep_max)
{
    struct tally_arena_block **link = &arena->first;
    size_t kept = 0;

    while (*link) {
        struct tally_arena_block *block = *link;

        if (kept + block->total <= keep_max) {
            kept += block->total;
            block->used = 0;
            POISON(block->bytes, block->size);
            link = &block->next;
        } else {
            *link = block->next;
            destroy_block(block);
        }
    }
    arena->current = arena->first;
    arena->size = kept;
    arena->used = 0;
}

void tally_arena_absorb(struct tally_arena *to, struct tally_arena *from)
{
    struct tally_arena_block *last = from->first;

    if (!last) {
        return;
    }
    while (last->next) {
        last = last->next;
    }
    if (to->current) {
        last->next = to->current->next;
        to->current->next = from->first;
    } else {
        to->first = from->first;
        to->current = from->current;
    }
    to->used += from->used;
    to->size += from->size;
    tally_arena_init(from, from->block_size);
}

size_t tally_arena_size(const struct tally_arena *arena)
{
    return arena->size;
}
