/* engine/memory_broker.c - the log, the transactions and the group offsets of Kafka in memory.
 * Memory: keys, values and headers of a record stay where they are until the broker is destroyed,
 * so records handed out borrow from it; the arrays around them may move.
 * Leaves out: replication, leader epochs, compaction, quotas. Groups: memory_group.c.
 * What arrives late: memory_late.c. */
#include "engine/memory_broker_internal.h"

#include "engine/base/hash.h"
#include "engine/base/mem.h"

#define ARENA_BLOCK_SIZE 65536

enum entry_kind { ENTRY_DATA, ENTRY_CONTROL };

struct entry {
    enum entry_kind kind;
    int64_t timestamp_ms;
    struct memory_txn *txn; /* NULL: written outside any */
    struct tally_slice key, value;
    struct tally_header *headers;
    size_t header_count;
};

struct memory_partition {
    struct entry *entries; /* by offset */
    size_t count, capacity;
    int64_t low;
    size_t message_bytes_max;
};

struct topic {
    struct topic *next;
    char *name;
    struct memory_partition *partitions;
    int32_t partition_count;
};

struct group_offset {
    struct group_offset *next;
    char *group, *topic;
    int32_t partition;
    int64_t offset;
};

struct touched {
    struct touched *next;
    struct memory_partition *partition;
    int64_t first;
    bool ended;     /* its marker is written */
    int64_t due_ms; /* when it will be */
};

struct memory_txn {
    struct memory_txn *next; /* all of the broker */
    enum memory_txn_state state;
    int64_t started_ms;
    struct touched *touched; /* newest first */
    struct group_offset *offsets;
    bool offsets_ended; /* they are the group's, or forgotten */
    int64_t offsets_due_ms;
};

struct tally_memory_broker {
    struct tally_clock *clock;
    int64_t transaction_timeout_ms;
    struct tally_arena arena; /* keys, values, headers */
    struct topic *topics;
    struct memory_id *ids;
    struct memory_group *groups;
    struct memory_times times;
    struct memory_late *late; /* in order of arrival */
    struct tally_memory_hooks hooks;
    bool simulated; /* hooks were set */
    struct memory_txn *txns;
    struct group_offset *offsets;
    struct tally_memory_fault faults[TALLY_MEMORY_FAULTS_MAX];
    size_t fault_count;
    uint64_t calls[TALLY_MEMORY_OPS];
    uint64_t hits;
};

struct tally_memory_broker *tally_memory_broker_create(struct tally_clock *clock,
        int64_t transaction_timeout_ms)
{
    struct tally_memory_broker *broker = tally_alloc_zero(1, sizeof *broker);

    broker->clock = clock;
    broker->transaction_timeout_ms = transaction_timeout_ms;
    tally_arena_init(&broker->arena, ARENA_BLOCK_SIZE);
    return broker;
}

static void free_offsets(struct group_offset *offsets)
{
    while (offsets) {
        struct group_offset *next = offsets->next;

        tally_free(offsets->group);
        tally_free(offsets->topic);
        tally_free(offsets);
        offsets = next;
    }
}

static void free_txn(struct memory_txn *txn)
{
    while (txn->touched) {
        struct touched *next = txn->touched->next;

        tally_free(txn->touched);
        txn->touched = next;
    }
    free_offsets(txn->offsets);
    tally_free(txn);
}

static void free_topics(struct topic *topic)
{
    while (topic) {
        struct topic *next = topic->next;

        for (int32_t i = 0; i < topic->partition_count; i++) {
            tally_free(topic->partitions[i].entries);
        }
        tally_free(topic->partitions);
        tally_free(topic->name);
        tally_free(topic);
        topic = next;
    }
}

void tally_memory_broker_destroy(struct tally_memory_broker *broker)
{
    if (!broker) {
        return;
    }
    free_topics(broker->topics);
    free_offsets(broker->offsets);
    while (broker->txns) {
        struct memory_txn *next = broker->txns->next;

        free_txn(broker->txns);
        broker->txns = next;
    }
    while (broker->ids) {
        struct memory_id *next = broker->ids->next;

        tally_free(broker->ids->name);
        tally_free(broker->ids);
        broker->ids = next;
    }
    memory_group_free(broker->groups);
    memory_late_free(broker->late);
    tally_arena_deinit(&broker->arena);
    tally_free(broker);
}

/* --- topics ----------------------------------------------------------------------------------- */

static struct topic *find_topic(struct tally_memory_broker *broker, const char *name)
{
    struct topic *topic = broker->topics;

    while (topic && strcmp(topic->name, name)) {
        topic = topic->next;
    }
    return topic;
}

void tally_memory_broker_topic(struct tally_memory_broker *broker, const char *name,
        int32_t partitions, size_t message_bytes_max)
{
    struct topic *topic;

    if (find_topic(broker, name)) {
        return;
    }
    topic = tally_alloc_zero(1, sizeof *topic);
    topic->name = tally_copy_string(name);
    topic->partitions = tally_alloc_zero((size_t)partitions, sizeof *topic->partitions);
    topic->partition_count = partitions;
    for (int32_t i = 0; i < partitions; i++) {
        topic->partitions[i].message_bytes_max = message_bytes_max;
    }
    topic->next = broker->topics;
    broker->topics = topic;
}

void tally_memory_broker_limit(struct tally_memory_broker *broker, const char *name,
        size_t message_bytes_max)
{
    struct topic *topic = find_topic(broker, name);

    for (int32_t i = 0; i < topic->partition_count; i++) {
        topic->partitions[i].message_bytes_max = message_bytes_max;
    }
}

struct memory_partition *memory_broker_find(struct tally_memory_broker *broker, const char *topic,
        int32_t partition)
{
    struct topic *found = find_topic(broker, topic);

    return found && partition >= 0 && partition < found->partition_count
                   ? &found->partitions[partition]
                   : NULL;
}

const char *memory_broker_topic_name(struct tally_memory_broker *broker, const char *topic,
        int32_t *partitions)
{
    struct topic *found = find_topic(broker, topic);

    *partitions = found ? found->partition_count : -1;
    return found ? found->name : NULL;
}

/* --- log -------------------------------------------------------------------------------------- */

static struct entry *add_entry(struct tally_memory_broker *broker,
        struct memory_partition *partition, enum entry_kind kind, struct memory_txn *txn)
{
    struct entry *entry;

    if (partition->count == partition->capacity) {
        partition->capacity = partition->capacity ? partition->capacity * 2 : 64;
        partition->entries =
                tally_realloc(partition->entries, partition->capacity * sizeof *partition->entries);
    }
    entry = &partition->entries[partition->count++];
    *entry = (struct entry){.kind = kind, .timestamp_ms = tally_wall_ms(broker->clock), .txn = txn};
    return entry;
}

static void touch_partition(struct memory_txn *txn, struct memory_partition *partition)
{
    struct touched *touched = txn->touched;

    while (touched && touched->partition != partition) {
        touched = touched->next;
    }
    if (!touched) {
        touched = tally_alloc_zero(1, sizeof *touched);
        *touched = (struct touched){
                .next = txn->touched, .partition = partition, .first = (int64_t)partition->count};
        txn->touched = touched;
    }
}

struct tally_slice memory_broker_copy(struct tally_memory_broker *broker, struct tally_slice bytes)
{
    if (!bytes.data) {
        return TALLY_NONE;
    }
    if (bytes.len == 0) { /* empty, but not null */
        return TALLY_SLICE("");
    }
    return tally_arena_copy(&broker->arena, bytes);
}

struct tally_header *memory_broker_headers(struct tally_memory_broker *broker, size_t count)
{
    return tally_arena_alloc(&broker->arena, (count + 1) * sizeof(struct tally_header));
}

int64_t memory_broker_append(struct tally_memory_broker *broker, struct memory_partition *partition,
        struct memory_txn *txn, struct tally_slice key, struct tally_slice value,
        const struct tally_header *headers, size_t header_count)
{
    struct entry *entry;

    if (txn) {
        touch_partition(txn, partition);
    }
    entry = add_entry(broker, partition, ENTRY_DATA, txn);
    entry->key = memory_broker_copy(broker, key);
    entry->value = memory_broker_copy(broker, value);
    entry->header_count = header_count;
    if (header_count > 0) {
        entry->headers = memory_broker_headers(broker, header_count);
    }
    for (size_t i = 0; i < header_count; i++) {
        entry->headers[i].name = memory_broker_copy(broker, headers[i].name);
        entry->headers[i].value = memory_broker_copy(broker, headers[i].value);
    }
    return (int64_t)partition->count - 1;
}

size_t memory_broker_max(const struct memory_partition *partition)
{
    return partition->message_bytes_max;
}

bool memory_broker_fits(const struct memory_partition *partition, struct tally_slice key,
        struct tally_slice value)
{
    return key.len + value.len <= partition->message_bytes_max;
}

void memory_broker_watermarks(const struct memory_partition *partition, int64_t *low, int64_t *high)
{
    *low = partition->low;
    *high = (int64_t)partition->count;
}

static int64_t first_unended(const struct memory_txn *txn, const struct memory_partition *partition,
        int64_t stable)
{
    for (struct touched *touched = txn ? txn->touched : NULL; touched; touched = touched->next) {
        if (touched->partition == partition && !touched->ended && touched->first < stable) {
            stable = touched->first;
        }
    }
    return stable;
}

/* Last stable offset: where the first transaction without a marker begins. */
static int64_t stable_offset(struct tally_memory_broker *broker,
        const struct memory_partition *partition)
{
    int64_t stable = (int64_t)partition->count;

    for (struct memory_id *id = broker->ids; id; id = id->next) {
        stable = first_unended(id->open, partition, stable);
        stable = first_unended(id->ending, partition, stable);
    }
    return stable;
}

bool memory_broker_next(struct tally_memory_broker *broker,
        const struct memory_partition *partition, int64_t *offset,
        struct tally_memory_record *record)
{
    int64_t stable = stable_offset(broker, partition);

    for (; *offset < stable; (*offset)++) {
        const struct entry *entry = &partition->entries[*offset];

        if (entry->kind == ENTRY_DATA &&
                (!entry->txn || entry->txn->state == MEMORY_TXN_COMMITTED)) {
            *record = (struct tally_memory_record){*offset, entry->timestamp_ms, entry->key,
                    entry->value, entry->headers, entry->header_count};
            return true;
        }
    }
    return false;
}

int64_t tally_memory_broker_append(struct tally_memory_broker *broker, const char *topic,
        int32_t partition, struct tally_slice key, struct tally_slice value,
        const struct tally_header *headers, size_t header_count)
{
    struct topic *found = find_topic(broker, topic);

    if (!found || partition >= found->partition_count) {
        return TALLY_OFFSET_NONE;
    }
    if (partition < 0) {
        partition = tally_partition_of(key, found->partition_count);
    }
    if (!memory_broker_fits(&found->partitions[partition], key, value)) {
        return TALLY_OFFSET_NONE;
    }
    return memory_broker_append(broker, &found->partitions[partition], NULL, key, value, headers,
            header_count);
}

void tally_memory_broker_truncate(struct tally_memory_broker *broker, const char *topic,
        int32_t partition, int64_t low)
{
    struct memory_partition *found = memory_broker_find(broker, topic, partition);

    tally_assert(found && low <= (int64_t)found->count);
    found->low = low;
}

void tally_memory_broker_recreate(struct tally_memory_broker *broker, const char *topic,
        int32_t partition)
{
    struct memory_partition *found = memory_broker_find(broker, topic, partition);

    tally_assert(found && tally_memory_broker_open_transactions(broker) == 0);
    found->count = 0;
    found->low = 0;
}

bool tally_memory_broker_read(struct tally_memory_broker *broker, const char *topic,
        int32_t partition, int64_t from, struct tally_memory_record *record)
{
    struct memory_partition *found = memory_broker_find(broker, topic, partition);

    if (!found) {
        return false;
    }
    from = from < found->low ? found->low : from;
    return memory_broker_next(broker, found, &from, record);
}

int64_t tally_memory_broker_end(struct tally_memory_broker *broker, const char *topic,
        int32_t partition)
{
    struct memory_partition *found = memory_broker_find(broker, topic, partition);

    return found ? (int64_t)found->count : TALLY_OFFSET_NONE;
}

/* --- group offsets ---------------------------------------------------------------------------- */

static struct group_offset *find_offset(struct group_offset *offsets, const char *group,
        const char *topic, int32_t partition)
{
    while (offsets && (strcmp(offsets->group, group) || strcmp(offsets->topic, topic) ||
                              offsets->partition != partition)) {
        offsets = offsets->next;
    }
    return offsets;
}

static void set_offset(struct group_offset **offsets, const char *group, const char *topic,
        int32_t partition, int64_t offset)
{
    struct group_offset *found = find_offset(*offsets, group, topic, partition);

    if (!found) {
        found = tally_alloc_zero(1, sizeof *found);
        found->group = tally_copy_string(group);
        found->topic = tally_copy_string(topic);
        found->partition = partition;
        found->next = *offsets;
        *offsets = found;
    }
    found->offset = offset;
}

int64_t tally_memory_broker_committed(struct tally_memory_broker *broker, const char *group,
        const char *topic, int32_t partition)
{
    struct group_offset *found = find_offset(broker->offsets, group, topic, partition);

    return found ? found->offset : TALLY_OFFSET_NONE;
}

void tally_memory_broker_set_committed(struct tally_memory_broker *broker, const char *group,
        const char *topic, int32_t partition, int64_t offset)
{
    set_offset(&broker->offsets, group, topic, partition, offset);
}

/* --- transactions ----------------------------------------------------------------------------- */

struct memory_id *memory_broker_id(struct tally_memory_broker *broker, const char *name)
{
    struct memory_id *id = broker->ids;

    while (id && strcmp(id->name, name)) {
        id = id->next;
    }
    if (!id) {
        id = tally_alloc_zero(1, sizeof *id);
        id->name = tally_copy_string(name);
        id->next = broker->ids;
        broker->ids = id;
    }
    return id;
}

struct memory_txn *memory_broker_begin(struct tally_memory_broker *broker, struct memory_id *id)
{
    struct memory_txn *txn = tally_alloc_zero(1, sizeof *txn);

    tally_assert(!id->open);
    memory_broker_settle(broker, id);
    txn->started_ms = memory_broker_now(broker);
    txn->next = broker->txns;
    broker->txns = txn;
    id->open = txn;
    return txn;
}

enum memory_txn_state memory_broker_txn_state(const struct memory_txn *txn)
{
    return txn->state;
}

void memory_broker_stage_offset(struct memory_txn *txn, const char *group, const char *topic,
        int32_t partition, int64_t offset)
{
    set_offset(&txn->offsets, group, topic, partition, offset);
}

/* Whether nothing is left to do. */
static bool write_markers(struct tally_memory_broker *broker, struct memory_txn *txn,
        int64_t now_ms)
{
    bool all = true;

    for (struct touched *touched = txn->touched; touched; touched = touched->next) {
        if (!touched->ended && touched->due_ms <= now_ms) {
            touched->ended = true;
            add_entry(broker, touched->partition, ENTRY_CONTROL, txn);
        }
        all = all && touched->ended;
    }
    if (!txn->offsets_ended && txn->offsets_due_ms <= now_ms) {
        bool commit = txn->state == MEMORY_TXN_COMMITTED;

        txn->offsets_ended = true;
        for (struct group_offset *sent = commit ? txn->offsets : NULL; sent; sent = sent->next) {
            set_offset(&broker->offsets, sent->group, sent->topic, sent->partition, sent->offset);
        }
    }
    return all && txn->offsets_ended;
}

static int64_t marker_due(struct tally_memory_broker *broker)
{
    int64_t delay_ms = broker->hooks.marker_delay_ms
                               ? broker->hooks.marker_delay_ms(broker->hooks.context)
                               : 0;

    return memory_broker_now(broker) + delay_ms;
}

void memory_broker_end_txn(struct tally_memory_broker *broker, struct memory_id *id, bool commit)
{
    struct memory_txn *txn = id->open;

    if (!txn) {
        return;
    }
    txn->state = commit ? MEMORY_TXN_COMMITTED : MEMORY_TXN_ABORTED;
    for (struct touched *touched = txn->touched; touched; touched = touched->next) {
        touched->due_ms = marker_due(broker);
    }
    txn->offsets_due_ms = marker_due(broker);
    id->open = NULL;
    id->ending = write_markers(broker, txn, memory_broker_now(broker)) ? NULL : txn;
}

void memory_broker_settle(struct tally_memory_broker *broker, struct memory_id *id)
{
    if (id->ending) {
        (void)write_markers(broker, id->ending, INT64_MAX);
        id->ending = NULL;
    }
}

static bool carries(const struct memory_txn *txn, const char *group, const char *topic,
        int32_t partition)
{
    return txn && !txn->offsets_ended && find_offset(txn->offsets, group, topic, partition);
}

bool memory_broker_pending(struct tally_memory_broker *broker, const char *group, const char *topic,
        int32_t partition)
{
    for (struct memory_id *id = broker->ids; id; id = id->next) {
        if (carries(id->open, group, topic, partition) ||
                carries(id->ending, group, topic, partition)) {
            return true;
        }
    }
    return false;
}

enum tally_memory_fate tally_memory_broker_fate(struct tally_memory_broker *broker,
        const char *topic, int32_t partition, int64_t offset, struct tally_memory_record *record)
{
    struct memory_partition *found = memory_broker_find(broker, topic, partition);
    const struct entry *entry;

    tally_assert(found && offset >= 0 && offset < (int64_t)found->count);
    entry = &found->entries[offset];
    if (entry->kind == ENTRY_CONTROL) {
        return TALLY_FATE_CONTROL;
    }
    *record = (struct tally_memory_record){offset, entry->timestamp_ms, entry->key, entry->value,
            entry->headers, entry->header_count};
    if (entry->txn && entry->txn->state != MEMORY_TXN_COMMITTED) {
        return entry->txn->state == MEMORY_TXN_OPEN ? TALLY_FATE_OPEN : TALLY_FATE_ABORTED;
    }
    return TALLY_FATE_COMMITTED;
}

size_t tally_memory_broker_open_transactions(const struct tally_memory_broker *broker)
{
    size_t count = 0;

    for (const struct memory_id *id = broker->ids; id; id = id->next) {
        count += (id->open ? 1u : 0u) + (id->ending ? 1u : 0u);
    }
    return count;
}

bool memory_broker_in_txn(const struct memory_txn *txn, const struct memory_partition *partition)
{
    const struct touched *touched = txn->touched;

    while (touched && touched->partition != partition) {
        touched = touched->next;
    }
    return touched != NULL;
}

/* --- time ------------------------------------------------------------------------------------- */

void memory_broker_delay(struct tally_memory_broker *broker, const struct memory_late *late,
        int64_t delay_ms)
{
    memory_late_add(broker, &broker->late, late, memory_broker_now(broker) + delay_ms);
}

void tally_memory_broker_sweep(struct tally_memory_broker *broker)
{
    int64_t now_ms = memory_broker_now(broker);
    int64_t oldest = now_ms - broker->transaction_timeout_ms;

    memory_late_sweep(broker, &broker->late);
    for (struct memory_id *id = broker->ids; id; id = id->next) {
        if (id->ending && write_markers(broker, id->ending, now_ms)) {
            id->ending = NULL;
        }
        if (id->open && id->open->started_ms < oldest) {
            memory_broker_end_txn(broker, id, false);
            id->epoch++;
            memory_broker_happened(broker, NULL, TALLY_MEMORY_TXN_TIMED_OUT);
        }
    }
    for (struct memory_group *group = broker->groups; group; group = group->next) {
        memory_group_sweep(broker, group);
    }
}

/* --- members, faults -------------------------------------------------------------------------- */

int64_t memory_broker_now(const struct tally_memory_broker *broker)
{
    return tally_mono_ms(broker->clock);
}

const struct memory_times *memory_broker_times(const struct tally_memory_broker *broker)
{
    return &broker->times;
}

struct memory_member *memory_broker_member(struct tally_memory_broker *broker, const char *group,
        const char *instance)
{
    return memory_group_member(broker, &broker->groups, group, instance);
}

void tally_memory_broker_group_times(struct tally_memory_broker *broker, int64_t session_ms,
        int64_t max_poll_ms, int64_t heartbeat_ms)
{
    broker->times = (struct memory_times){session_ms, max_poll_ms, heartbeat_ms};
}

void tally_memory_broker_rebalance(struct tally_memory_broker *broker, bool lost)
{
    for (struct memory_group *group = broker->groups; group; group = group->next) {
        memory_group_rebalance(broker, group, lost);
    }
}

void tally_memory_broker_set_hooks(struct tally_memory_broker *broker,
        const struct tally_memory_hooks *hooks)
{
    broker->hooks = *hooks;
    broker->simulated = true;
}

bool memory_broker_simulated(const struct tally_memory_broker *broker)
{
    return broker->simulated;
}

const char *tally_memory_op_name(enum tally_memory_op op)
{
    static const char *const names[TALLY_MEMORY_OPS] = {"any", "init", "begin", "produce", "serve",
            "send_offsets", "commit", "abort", "poll", "seek", "committed", "watermarks", "reply",
            "publish"};

    return names[op];
}

void tally_memory_broker_fault(struct tally_memory_broker *broker,
        const struct tally_memory_fault *fault)
{
    tally_assert(broker->fault_count < TALLY_MEMORY_FAULTS_MAX && fault->nth > 0);
    broker->faults[broker->fault_count++] = *fault;
}

void tally_memory_broker_heal(struct tally_memory_broker *broker)
{
    broker->fault_count = 0;
}

uint64_t tally_memory_broker_calls(const struct tally_memory_broker *broker,
        enum tally_memory_op op)
{
    return broker->calls[op];
}

uint64_t tally_memory_broker_hits(const struct tally_memory_broker *broker)
{
    return broker->hits;
}

bool memory_broker_call(struct tally_memory_broker *broker, struct tally_client *client,
        enum tally_memory_op op, struct tally_memory_fault *fault)
{
    bool hit = false;

    tally_memory_broker_sweep(broker);
    broker->calls[op]++;
    broker->calls[TALLY_MEMORY_ANY]++;
    for (size_t i = 0; i < broker->fault_count; i++) {
        struct tally_memory_fault *planned = &broker->faults[i];

        if ((planned->op != op && planned->op != TALLY_MEMORY_ANY) || --planned->nth > 0) {
            continue;
        }
        if (!hit) {
            *fault = *planned;
            hit = true;
            broker->hits++;
        }
        broker->faults[i--] = broker->faults[--broker->fault_count];
    }
    if (!hit && broker->hooks.before) {
        hit = broker->hooks.before(broker->hooks.context, client, op, fault);
        broker->hits += hit;
        tally_memory_broker_sweep(broker);
    }
    return hit;
}

void memory_broker_called(struct tally_memory_broker *broker, struct tally_client *client,
        enum tally_memory_op op, enum tally_code code)
{
    if (broker->hooks.after) {
        broker->hooks.after(broker->hooks.context, client, op, code);
    }
}

void memory_broker_happened(struct tally_memory_broker *broker, struct tally_client *client,
        enum tally_memory_event event)
{
    if (broker->hooks.happened) {
        broker->hooks.happened(broker->hooks.context, client, event);
    }
}
