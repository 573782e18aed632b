/* engine/task_timers.c - see task_timers.h. */
#include "engine/task_timers.h"

#include "engine/base/failpoint.h"
#include "engine/base/mem.h"

enum { DUE_BYTES = 8, LATE_FIRST = 16 };

/* One call of task_timers_fire. */
struct firing {
    struct task_timers *timers;
    struct tally_store *store;
    int64_t now_ms;
    size_t left; /* calls that may still be made */
    size_t count;
    task_timers_fire_fn fire;
    void *context;
    struct tally_error *err;
};

static int64_t due_of(struct tally_slice key)
{
    tally_assert(key.len >= 1 + DUE_BYTES);
    return (int64_t)tally_read_u64(key.data + 1);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void copy_key(struct tally_key *key, struct tally_slice bytes)
{
    key->len = (uint16_t)bytes.len;
    memcpy(key->bytes, bytes.data, bytes.len);
}

void task_timers_init(struct task_timers *timers, enum tally_store_id store)
{
    *timers = (struct task_timers){.store = store, .byte = tally_store_byte(store)};
    task_timers_begin(timers);
}

void task_timers_deinit(struct task_timers *timers)
{
    tally_free(timers->late);
}

void task_timers_begin(struct task_timers *timers)
{
    timers->next_ms = INT64_MIN; /* the first look finds out */
    timers->written_ms = INT64_MAX;
    timers->fired.len = timers->fired_committed.len = 0;
    timers->late_fired = timers->late_committed = timers->late_count = 0;
}

void task_timers_put(struct task_timers *timers, const struct tally_key *key)
{
    struct tally_slice bytes = tally_key_bytes(key);

    if (bytes.data[0] != timers->byte) {
        return;
    }
    if (timers->fired.len == 0 || tally_slice_compare(bytes, tally_key_bytes(&timers->fired)) > 0) {
        timers->written_ms = least(timers->written_ms, due_of(bytes));
        return;
    }
    if (timers->late_count == timers->late_capacity) {
        timers->late_capacity = timers->late_capacity ? 2 * timers->late_capacity : LATE_FIRST;
        timers->late = tally_realloc(timers->late, timers->late_capacity * sizeof timers->late[0]);
    }
    copy_key(&timers->late[timers->late_count++], bytes);
}

void task_timers_commit(struct task_timers *timers)
{
    size_t left = timers->late_count - timers->late_fired;

    if (left > 0 && timers->late_fired > 0) {
        memmove(timers->late, timers->late + timers->late_fired, left * sizeof timers->late[0]);
    }
    timers->late_count = timers->late_committed = left;
    timers->late_fired = 0;
    copy_key(&timers->fired_committed, tally_key_bytes(&timers->fired));
    timers->next_ms = least(timers->next_ms, timers->written_ms);
    timers->written_ms = INT64_MAX;
}

void task_timers_rollback(struct task_timers *timers)
{
    timers->late_count = timers->late_committed;
    timers->late_fired = 0;
    copy_key(&timers->fired, tally_key_bytes(&timers->fired_committed));
    timers->next_ms = INT64_MIN;
    timers->written_ms = INT64_MAX;
}

int64_t task_timers_next_ms(const struct task_timers *timers)
{
    return timers->late_fired < timers->late_committed ? INT64_MIN : timers->next_ms;
}

/* A committed row, unless the open transaction has deleted it. */
static enum tally_code fire_row(struct firing *firing, struct tally_slice key)
{
    struct tally_slice row;
    enum tally_code code = tally_store_get(firing->store, key, &row, firing->err);

    if (code == TALLY_OK) {
        firing->fire(firing->context, key, due_of(key), row);
        firing->count++;
        firing->left--;
    }
    return code == TALLY_NOT_FOUND ? TALLY_OK : code;
}

static enum tally_code fire_late(struct firing *firing)
{
    struct task_timers *timers = firing->timers;
    enum tally_code code = TALLY_OK;

    while (timers->late_fired < timers->late_committed && firing->left > 0 && !code) {
        code = fire_row(firing, tally_key_bytes(&timers->late[timers->late_fired]));
        timers->late_fired += !code;
    }
    return code;
}

/* Leaves next_ms at the first row that does not fire. */
static enum tally_code fire_rows(struct firing *firing, struct tally_iterator *rows)
{
    struct task_timers *timers = firing->timers;
    struct tally_slice key, row;
    enum tally_code code = TALLY_OK;

    while (tally_iterator_next(rows, &key, &row, &code, firing->err)) {
        int64_t due_ms = due_of(key);

        if (due_ms > firing->now_ms || due_ms >= timers->written_ms || firing->left == 0) {
            timers->next_ms = due_ms;
            return TALLY_OK;
        }
        code = fire_row(firing, key);
        if (code) {
            return code;
        }
        copy_key(&timers->fired, key);
    }
    if (!code) {
        timers->next_ms = INT64_MAX;
    }
    return code;
}

static enum tally_code fire_due(struct firing *firing)
{
    struct task_timers *timers = firing->timers;
    struct tally_key lower, prefix;
    uint8_t space[TALLY_KEY_MAX];
    struct tally_view *view = tally_store_view(firing->store);
    struct tally_iterator *rows;
    enum tally_code code;

    tally_key_begin(&prefix, timers->store);
    copy_key(&lower, tally_key_bytes(timers->fired.len > 0 ? &timers->fired : &prefix));
    if (timers->fired.len > 0) {
        tally_key_u8(&lower, 0); /* behind it */
    }
    rows = tally_view_iterate(view, tally_key_bytes(&lower),
            tally_prefix_end(tally_key_bytes(&prefix), space), false);
    code = fire_rows(firing, rows);
    tally_iterator_destroy(rows);
    tally_view_unref(view);
    return code;
}

enum tally_code task_timers_fire(struct task_timers *timers, struct tally_store *store,
        int64_t now_ms, size_t max, task_timers_fire_fn fire, void *context, size_t *count,
        struct tally_error *err)
{
    struct firing firing = {
            .timers = timers,
            .store = store,
            .now_ms = now_ms,
            .left = max,
            .fire = fire,
            .context = context,
            .err = err,
    };
    enum tally_code code = TALLY_FAILPOINT_CODE(TIMER_READ_BEFORE, TALLY_STORE_ERROR, err);

    code = code ? code : fire_late(&firing);
    if (!code && timers->next_ms <= now_ms) {
        code = fire_due(&firing);
    }
    *count = firing.count;
    return code;
}
