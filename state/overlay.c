/* state/overlay.c - dirty and clean entries in one flat hash table over a log of chunks.
 * Entries are allocated one behind the other in chunks. Eviction takes the oldest chunk: entries
 * that were prefetched again since they were written or last passed get a second chance and are
 * copied to the newest chunk, dirty ones are always copied, the others go; then the whole chunk is
 * free. That is CLOCK without a free list and without fragmentation, and every pass frees at least
 * half a chunk of clean entries, so its cost is bounded by what it frees. */
#include "state/overlay_internal.h"

#include <sys/mman.h>

#include "engine/base/mem.h"
#include "state/key_schema.h"

enum entry_state { ENTRY_DEAD, ENTRY_CLEAN, ENTRY_DIRTY };

enum {
    CHUNK_SIZE = 256 * 1024,
    HUGE_PAGE = 2 * 1024 * 1024,
    TABLE_SLOTS_MIN = 1024,
    SPARE_CHUNKS = 16,
    VALUE_ROOM_MAX = 512, /* an absent key's entry keeps at most so much for its value */
    ROW_COST = 32         /* of a dirty entry beside its bytes, in overlay->dirty_bytes */
};

struct overlay_chunk {
    struct overlay_chunk *next;
    size_t size, used; /* of bytes */
    _Alignas(struct overlay_entry) uint8_t bytes[];
};

static void account_add(struct overlay *overlay, long long by)
{
    overlay->size = (size_t)((long long)overlay->size + by);
    if (overlay->account)
        atomic_fetch_add_explicit(overlay->account, by, memory_order_relaxed);
}

void overlay_init(struct overlay *overlay, atomic_llong *account)
{
    *overlay = (struct overlay){.account = account, .mask = TABLE_SLOTS_MIN - 1};
    overlay->slots = tally_alloc_zero(TABLE_SLOTS_MIN, sizeof *overlay->slots);
    account_add(overlay, (long long)(TABLE_SLOTS_MIN * sizeof *overlay->slots));
}

static void free_chunks(struct overlay_chunk *chunk)
{
    while (chunk) {
        struct overlay_chunk *next = chunk->next;

        tally_free(chunk);
        chunk = next;
    }
}

void overlay_deinit(struct overlay *overlay)
{
    free_chunks(overlay->oldest);
    free_chunks(overlay->spare);
    tally_free(overlay->slots);
    tally_free(overlay->dirty);
    account_add(overlay, -(long long)overlay->size);
    *overlay = (struct overlay){0};
}

/* --- table ------------------------------------------------------------------------------------ */

static struct tally_slice entry_key(const struct overlay_entry *entry)
{
    return (struct tally_slice){entry->bytes, entry->key_len};
}

static struct overlay_slot *slot_of(const struct overlay *overlay, struct tally_slice key,
        uint64_t hash)
{
    uint64_t at = hash & overlay->mask;

    for (; overlay->slots[at].entry; at = (at + 1) & overlay->mask) {
        if (overlay->slots[at].hash == hash &&
                tally_slice_equal(entry_key(overlay->slots[at].entry), key)) {
            break;
        }
    }
    return &overlay->slots[at];
}

/* The slot that points to this very entry. */
static struct overlay_slot *slot_of_entry(const struct overlay *overlay,
        const struct overlay_entry *entry)
{
    uint64_t at = row_hash(entry_key(entry)) & overlay->mask;

    while (overlay->slots[at].entry != entry) {
        tally_assert(overlay->slots[at].entry != NULL);
        at = (at + 1) & overlay->mask;
    }
    return &overlay->slots[at];
}

/* A large table is read at random: with huge pages a look-up misses the TLB less often. */
static struct overlay_slot *allocate_slots(size_t count)
{
    struct overlay_slot *slots = tally_alloc(count * sizeof *slots);
    uintptr_t begin = ((uintptr_t)slots + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1);
    uintptr_t end = (uintptr_t)(slots + count) & ~(uintptr_t)(HUGE_PAGE - 1);

    if (begin < end)
        (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE); /* advice: refused is fine */
    /* Written at once: a page that is read before it is written is mapped twice, and the second
     * time interrupts every other core. */
    memset(slots, 0, count * sizeof *slots);
    return slots;
}

static void resize(struct overlay *overlay, size_t count)
{
    size_t old_count = overlay->mask + 1;
    struct overlay_slot *old = overlay->slots;

    overlay->slots = allocate_slots(count);
    overlay->mask = count - 1;
    for (size_t i = 0; i < old_count; i++) {
        uint64_t at = old[i].hash & overlay->mask;

        if (!old[i].entry)
            continue;
        while (overlay->slots[at].entry) {
            at = (at + 1) & overlay->mask;
        }
        overlay->slots[at] = old[i];
    }
    tally_free(old);
    account_add(overlay,
            ((long long)count - (long long)old_count) * (long long)sizeof *overlay->slots);
}

static void insert(struct overlay *overlay, uint64_t hash, struct overlay_entry *entry)
{
    uint64_t at;

    if (2 * (overlay->entries + 1) > overlay->mask + 1)
        resize(overlay, 2 * (overlay->mask + 1));
    at = hash & overlay->mask;
    while (overlay->slots[at].entry) {
        at = (at + 1) & overlay->mask;
    }
    overlay->slots[at] = (struct overlay_slot){.hash = hash, .entry = entry};
    overlay->entries++;
    overlay->stores[entry->bytes[0]].tabled++;
}

/* Takes an entry out of the table; later slots of its cluster move up, so no markers are left. */
static void remove_entry(struct overlay *overlay, struct overlay_entry *entry)
{
    uint64_t hole = (uint64_t)(slot_of_entry(overlay, entry) - overlay->slots), at = hole;

    for (;;) {
        uint64_t home;

        at = (at + 1) & overlay->mask;
        if (!overlay->slots[at].entry)
            break;
        home = overlay->slots[at].hash & overlay->mask;
        if (((at - home) & overlay->mask) >= ((at - hole) & overlay->mask)) {
            overlay->slots[hole] = overlay->slots[at];
            hole = at;
        }
    }
    overlay->slots[hole] = (struct overlay_slot){0};
    overlay->entries--;
    overlay->stores[entry->bytes[0]].tabled--;
    entry->state = ENTRY_DEAD;
}

/* --- entries ---------------------------------------------------------------------------------- */

static size_t entry_size(const struct overlay_entry *entry)
{
    return sizeof *entry + entry->room;
}

static struct overlay_chunk *add_chunk(struct overlay *overlay, size_t entry_bytes)
{
    size_t size = entry_bytes > CHUNK_SIZE ? entry_bytes : CHUNK_SIZE;
    struct overlay_chunk *chunk = overlay->spare;

    if (chunk && size == CHUNK_SIZE) {
        overlay->spare = chunk->next;
    } else {
        chunk = tally_alloc(sizeof *chunk + size);
        account_add(overlay, (long long)(sizeof *chunk + size));
    }
    *chunk = (struct overlay_chunk){.size = size};
    if (overlay->newest) {
        overlay->newest->next = chunk;
    } else {
        overlay->oldest = chunk;
    }
    overlay->newest = chunk;
    return chunk;
}

static struct overlay_entry *allocate(struct overlay *overlay, struct tally_slice key,
        size_t value_room)
{
    const size_t align = _Alignof(struct overlay_entry) - 1;
    size_t size = (sizeof(struct overlay_entry) + key.len + value_room + align) & ~align;
    struct overlay_chunk *chunk = overlay->newest;
    struct overlay_entry *entry;

    tally_assert(key.len > 0 && key.len <= TALLY_KEY_MAX && size < UINT32_MAX);
    if (!chunk || chunk->size - chunk->used < size)
        chunk = add_chunk(overlay, size);
    entry = (struct overlay_entry *)(void *)(chunk->bytes + chunk->used);
    chunk->used += size;
    *entry = (struct overlay_entry){.room = (uint32_t)(size - sizeof *entry),
            .key_len = (uint16_t)key.len,
            .state = ENTRY_CLEAN,
            .absent = true};
    memcpy(entry->bytes, key.data, key.len);
    return entry;
}

static void set_value(struct overlay_entry *entry, struct tally_slice value, bool absent)
{
    entry->absent = absent;
    entry->value_len = absent ? 0 : (uint32_t)value.len;
    if (entry->value_len > 0)
        memmove(entry->bytes + entry->key_len, value.data, value.len);
}

struct overlay_entry *overlay_load(struct overlay *overlay, struct tally_slice key, uint64_t hash,
        struct tally_slice value, bool absent)
{
    size_t room = absent ? overlay->stores[key.data[0]].value_room : value.len;
    struct overlay_entry *entry;

    tally_assert(overlay->stores[key.data[0]].logged == 0); /* it was looked for */
    entry = allocate(overlay, key, room);
    set_value(entry, value, absent);
    entry->read = true;
    insert(overlay, hash, entry);
    return entry;
}

static size_t dirty_cost(const struct overlay_entry *entry)
{
    return ROW_COST + entry->key_len + entry->value_len;
}

static void make_dirty(struct overlay *overlay, struct overlay_entry *entry)
{
    if (overlay->dirty_count == overlay->dirty_capacity) {
        overlay->dirty_capacity = overlay->dirty_capacity ? 2 * overlay->dirty_capacity : 256;
        overlay->dirty =
                tally_realloc(overlay->dirty, overlay->dirty_capacity * sizeof *overlay->dirty);
    }
    entry->state = ENTRY_DIRTY;
    entry->dirty_index = (uint32_t)overlay->dirty_count;
    overlay->dirty[overlay->dirty_count++] = entry;
    overlay->dirty_bytes += dirty_cost(entry);
}

static void forget_dirty(struct overlay *overlay, struct overlay_entry *entry)
{
    overlay->dirty[entry->dirty_index] = NULL;
    overlay->dirty_bytes -= dirty_cost(entry);
    entry->state = ENTRY_DEAD;
}

/* Puts what was logged of a store into the table, the last version of each key. */
static void table_store(struct overlay *overlay, uint8_t store)
{
    for (size_t i = 0; overlay->stores[store].logged > 0; i++) {
        struct overlay_entry *entry = overlay->dirty[i];
        struct overlay_slot *slot;
        uint64_t hash;

        if (!entry || !entry->logged || entry->bytes[0] != store)
            continue;
        hash = row_hash(entry_key(entry));
        slot = slot_of(overlay, entry_key(entry), hash);
        entry->logged = false;
        overlay->stores[store].logged--;
        if (slot->entry) {
            forget_dirty(overlay, slot->entry);
            slot->entry = entry;
        } else {
            insert(overlay, hash, entry);
        }
    }
}

struct overlay_entry *overlay_find(struct overlay *overlay, struct tally_slice key, uint64_t hash)
{
    overlay->stores[key.data[0]].read = true;
    if (overlay->stores[key.data[0]].logged > 0)
        table_store(overlay, key.data[0]);
    return slot_of(overlay, key, hash)->entry;
}

/* Puts a copy with more room in the place of an entry. */
static struct overlay_entry *replace(struct overlay *overlay, struct overlay_entry *old,
        size_t value_room)
{
    struct overlay_entry *entry = allocate(overlay, entry_key(old), value_room);

    if (!old->logged)
        slot_of_entry(overlay, old)->entry = entry;
    entry->logged = old->logged;
    entry->fresh = old->fresh;
    entry->state = old->state;
    entry->absent = old->absent;
    entry->read = old->read;
    entry->referenced = old->referenced;
    entry->dirty_index = old->dirty_index;
    entry->value_len = old->value_len;
    memcpy(entry->bytes + entry->key_len, old->bytes + old->key_len, old->value_len);
    if (entry->state == ENTRY_DIRTY)
        overlay->dirty[entry->dirty_index] = entry;
    old->state = ENTRY_DEAD;
    return entry;
}

/* What the next absent key of the store keeps for its value. */
static void note_room(struct overlay *overlay, uint8_t store, size_t len)
{
    overlay->stores[store].value_room = (uint16_t)(len < VALUE_ROOM_MAX ? len : VALUE_ROOM_MAX);
}

static void log_write(struct overlay *overlay, struct tally_slice key, struct tally_slice value,
        bool absent)
{
    struct overlay_entry *entry = allocate(overlay, key, absent ? 0 : value.len);

    set_value(entry, value, absent);
    entry->logged = true;
    entry->fresh = true;
    overlay->stores[key.data[0]].logged++;
    make_dirty(overlay, entry);
}

static void table_write(struct overlay *overlay, struct tally_slice key, struct tally_slice value,
        bool absent)
{
    uint64_t hash = row_hash(key);
    struct overlay_entry *entry = slot_of(overlay, key, hash)->entry;
    size_t len = absent ? 0 : value.len;

    if (!entry) {
        entry = allocate(overlay, key, len); /* as if known to be absent */
        insert(overlay, hash, entry);
    } else if (entry->room - entry->key_len < len) {
        entry = replace(overlay, entry, len); /* value may borrow from the old one: it stays */
    }
    if (entry->state == ENTRY_DIRTY) {
        overlay->dirty_bytes -= entry->value_len;
        set_value(entry, value, absent);
        overlay->dirty_bytes += entry->value_len;
    } else {
        entry->fresh = entry->absent;
        set_value(entry, value, absent);
        make_dirty(overlay, entry);
    }
}

void overlay_put(struct overlay *overlay, struct tally_slice key, struct tally_slice value,
        bool absent)
{
    uint8_t store = key.data[0];

    if (!absent)
        note_room(overlay, store, value.len);
    if (overlay->stores[store].read || overlay->stores[store].tabled > 0) {
        tally_assert(overlay->stores[store].logged == 0);
        table_write(overlay, key, value, absent);
    } else {
        log_write(overlay, key, value, absent);
    }
}

static bool in_range(struct tally_slice key, struct tally_slice lower, struct tally_slice upper)
{
    return tally_slice_compare(key, lower) >= 0 &&
           (upper.len == 0 || tally_slice_compare(key, upper) < 0);
}

size_t overlay_rows(const struct overlay *overlay, struct tally_slice lower,
        struct tally_slice upper, struct row *rows)
{
    size_t count = 0;

    for (size_t i = 0; i < overlay->dirty_count; i++) {
        const struct overlay_entry *entry = overlay->dirty[i];

        if (!entry)
            continue;
        if ((lower.len > 0 || upper.len > 0) && !in_range(entry_key(entry), lower, upper))
            continue;
        rows[count++] = (struct row){.key = entry->bytes,
                .value_len = entry->value_len,
                .key_len = entry->key_len,
                .deleted = entry->absent};
    }
    return count;
}

/* After commit, rollback and clear: nothing is dirty, nothing was read. */
static void begin(struct overlay *overlay)
{
    overlay->dirty_count = 0;
    overlay->dirty_bytes = 0;
    for (size_t i = 0; i < sizeof overlay->stores / sizeof overlay->stores[0]; i++) {
        overlay->stores[i].logged = 0;
        overlay->stores[i].read = false;
    }
}

void overlay_commit(struct overlay *overlay)
{
    for (size_t i = 0; i < overlay->dirty_count; i++) {
        struct overlay_entry *entry = overlay->dirty[i];

        if (!entry)
            continue;
        if (entry->logged) {
            entry->state = ENTRY_DEAD;
        } else if (entry->read) {
            entry->state = ENTRY_CLEAN;
        } else {
            remove_entry(overlay, entry);
        }
    }
    begin(overlay);
}

void overlay_rollback(struct overlay *overlay)
{
    for (size_t i = 0; i < overlay->dirty_count; i++) {
        struct overlay_entry *entry = overlay->dirty[i];

        if (entry && entry->logged) {
            entry->state = ENTRY_DEAD;
        } else if (entry) {
            remove_entry(overlay, entry);
        }
    }
    begin(overlay);
}

/* --- eviction --------------------------------------------------------------------------------- */

static void free_oldest(struct overlay *overlay)
{
    struct overlay_chunk *chunk = overlay->oldest;

    overlay->oldest = chunk->next;
    if (!overlay->oldest)
        overlay->newest = NULL;
    account_add(overlay, -(long long)(sizeof *chunk + chunk->size));
    tally_free(chunk);
}

static void evict_oldest(struct overlay *overlay)
{
    struct overlay_chunk *chunk = overlay->oldest;
    size_t chances = chunk->used / 2;

    if (chunk == overlay->newest)
        add_chunk(overlay, 0); /* what is kept must go elsewhere */
    for (size_t at = 0; at < chunk->used;) {
        struct overlay_entry *entry = (struct overlay_entry *)(void *)(chunk->bytes + at);
        size_t size = entry_size(entry);

        at += size;
        if (entry->state == ENTRY_DIRTY) {
            replace(overlay, entry, entry->room - entry->key_len);
        } else if (entry->state == ENTRY_CLEAN && entry->referenced && size <= chances) {
            chances -= size;
            replace(overlay, entry, entry->value_len)->referenced = false;
        } else if (entry->state == ENTRY_CLEAN) {
            remove_entry(overlay, entry);
        }
    }
    free_oldest(overlay);
}

/* A burst of writes leaves a large table behind, which counts against the limit. */
static void shrink_table(struct overlay *overlay)
{
    size_t slots = overlay->mask + 1;

    while (slots > TABLE_SLOTS_MIN && 8 * overlay->entries < slots) {
        slots /= 2;
    }
    if (slots < overlay->mask + 1)
        resize(overlay, slots);
}

void overlay_clear(struct overlay *overlay)
{
    size_t spare = 0;

    for (struct overlay_chunk *chunk = overlay->spare; chunk; chunk = chunk->next) {
        spare++;
    }
    while (overlay->oldest) {
        struct overlay_chunk *chunk = overlay->oldest;

        if (chunk->size != CHUNK_SIZE || spare == SPARE_CHUNKS) {
            free_oldest(overlay);
            continue;
        }
        overlay->oldest = chunk->next;
        chunk->next = overlay->spare;
        overlay->spare = chunk;
        spare++;
    }
    overlay->newest = NULL;
    for (size_t i = 0; i < sizeof overlay->stores / sizeof overlay->stores[0]; i++) {
        overlay->stores[i].tabled = 0;
    }
    begin(overlay);
    memset(overlay->slots, 0, (overlay->mask + 1) * sizeof *overlay->slots);
    shrink_table(overlay);
    overlay->entries = 0;
}

void overlay_evict(struct overlay *overlay, size_t limit)
{
    size_t passes = 0;

    for (struct overlay_chunk *chunk = overlay->oldest; chunk; chunk = chunk->next) {
        passes++;
    }
    for (; passes > 0 && overlay->size > limit + overlay->dirty_bytes; passes--) {
        evict_oldest(overlay);
        shrink_table(overlay);
    }
}
