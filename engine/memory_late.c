/* engine/memory_late.c - requests that reach the broker in memory after their client has given them
 * up: a produce, offsets, the end of a transaction.
 * Invariant: what comes late is judged by the producer's epoch (and the group's generation) alone,
 * not by the transaction that it was meant for: that is the hole which KIP-890 closes, and why a
 * producer in doubt is replaced. */
#include "engine/base/mem.h"
#include "engine/memory_broker_internal.h"

static void free_one(struct memory_late *late)
{
    tally_free((void *)late->records);
    tally_free((void *)late->offsets);
    tally_free(late);
}

void memory_late_free(struct memory_late *late)
{
    while (late) {
        struct memory_late *next = late->next;

        free_one(late);
        late = next;
    }
}

static void copy_records(struct tally_memory_broker *broker, struct memory_late *late)
{
    const struct tally_produce *from = late->records;

    struct tally_produce *records = tally_alloc_zero(late->count + 1, sizeof records[0]);

    late->records = records;
    for (size_t i = 0; i < late->count; i++) {
        struct tally_header *headers = memory_broker_headers(broker, from[i].header_count);

        for (size_t j = 0; j < from[i].header_count; j++) {
            headers[j].name = memory_broker_copy(broker, from[i].headers[j].name);
            headers[j].value = memory_broker_copy(broker, from[i].headers[j].value);
        }
        records[i] = (struct tally_produce){.key = memory_broker_copy(broker, from[i].key),
                .value = memory_broker_copy(broker, from[i].value),
                .headers = headers,
                .header_count = from[i].header_count};
    }
}

static void copy_offsets(struct tally_memory_broker *broker, struct memory_late *late)
{
    const struct tally_topic_partition *from = late->offsets;

    struct tally_topic_partition *offsets = tally_alloc_zero(late->count + 1, sizeof offsets[0]);

    late->offsets = offsets;
    for (size_t i = 0; i < late->count; i++) {
        int32_t partitions;

        offsets[i] = from[i];
        offsets[i].topic = memory_broker_topic_name(broker, from[i].topic, &partitions);
    }
}

void memory_late_add(struct tally_memory_broker *broker, struct memory_late **list,
        const struct memory_late *late, int64_t due_ms)
{
    struct memory_late *kept = tally_alloc_zero(1, sizeof *kept);

    *kept = *late;
    kept->next = NULL;
    kept->due_ms = due_ms;
    if (late->records) {
        copy_records(broker, kept);
    }
    if (late->offsets) {
        copy_offsets(broker, kept);
    }
    while (*list) {
        list = &(*list)->next;
    }
    *list = kept;
}

/* Returns whether it had an effect. Records are taken where their partition belongs to the open
 * transaction (transaction.partition.verification.enable). */
static bool carry_out(struct tally_memory_broker *broker, const struct memory_late *late)
{
    struct memory_id *id = late->id;
    bool effect = false;

    if (id->epoch != late->epoch || !id->open) {
        return false;
    }
    switch (late->op) {
    case TALLY_MEMORY_COMMIT:
    case TALLY_MEMORY_ABORT:
        memory_broker_end_txn(broker, id, late->op == TALLY_MEMORY_COMMIT);
        effect = true;
        break;
    case TALLY_MEMORY_SEND_OFFSETS:
        effect = memory_group_current(late->member, late->holder, late->generation);
        for (size_t i = 0; effect && i < late->count; i++) {
            memory_broker_stage_offset(id->open, late->member->group->name, late->offsets[i].topic,
                    late->offsets[i].partition, late->offsets[i].offset);
        }
        break;
    default:
        effect = memory_broker_in_txn(id->open, late->partition);
        for (size_t i = 0; effect && i < late->count; i++) {
            const struct tally_produce *record = &late->records[i];

            (void)memory_broker_append(broker, late->partition, id->open, record->key,
                    record->value, record->headers, record->header_count);
        }
        break;
    }
    return effect;
}

void memory_late_sweep(struct tally_memory_broker *broker, struct memory_late **list)
{
    int64_t now_ms = memory_broker_now(broker);

    while (*list) {
        struct memory_late *late = *list;
        bool effect;

        if (late->due_ms > now_ms) {
            list = &late->next;
            continue;
        }
        *list = late->next;
        effect = carry_out(broker, late);
        memory_broker_happened(broker, NULL,
                effect ? TALLY_MEMORY_LATE_TAKEN : TALLY_MEMORY_LATE_REFUSED);
        free_one(late);
    }
}
