/* engine/base/mem.h - the only caller of malloc; arenas for memory that dies together.
 * Invariants
 *  (1) Nothing here returns NULL: without memory the process aborts, because restart and restore
 *      is the tested path.
 *  (2) An arena's blocks are kept over tally_arena_reset, so a warm loop does not allocate. */
#pragma once
#include <stddef.h>

#include "engine/base/bytes.h"

void *tally_alloc(size_t size);
void *tally_alloc_zero(size_t count, size_t size);
void *tally_realloc(void *memory, size_t size);
void tally_free(void *memory); /* free(NULL) is fine */
char *tally_copy_string(const char *text);
char *tally_copy_format(const char *format, ...) TALLY_PRINTF(1, 2);

struct tally_arena_block;
struct tally_arena {
    struct tally_arena_block *first, *current;
    size_t block_size; /* of new blocks */
    size_t used;       /* bytes handed out since the last reset */
    size_t size;       /* of all blocks */
};

void tally_arena_init(struct tally_arena *arena, size_t block_size);
void tally_arena_deinit(struct tally_arena *arena);
/* Aligned to 16 bytes; uninitialised. Lives until reset or deinit. @thread owner */
void *tally_arena_alloc(struct tally_arena *arena, size_t size);
struct tally_slice tally_arena_copy(struct tally_arena *arena, struct tally_slice bytes);
/* Forgets all allocations; keeps at most keep_max bytes of blocks for reuse. */
void tally_arena_reset(struct tally_arena *arena, size_t keep_max);
/* Moves every block from `from` into `to`; what was allocated from `from` stays valid. */
void tally_arena_absorb(struct tally_arena *to, struct tally_arena *from);
size_t tally_arena_size(const struct tally_arena *arena); /* bytes of all blocks */
