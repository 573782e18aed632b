/* apps/reset_projection.c - see reset_projection.h. */
#include "apps/reset_projection.h"

#include <stdio.h>

#include "engine/base/clock.h"
#include "engine/restore_check.h"
#include "engine/stream_task.h"

#define ANEW                                                                                \
    "delete the changelog topic and run: tally topics create, then tally reset again; the " \
    "projection "                                                                           \
    "is then built anew from the events that are retained"

/* --- what is found ---------------------------------------------------------------------------- */

struct changelog {
    struct reset_facts *facts;
    uint32_t version; /* of the projection */
    struct tally_positions positions;
};

static bool visit(void *context, struct tally_reader *reader, const struct tally_record *record)
{
    struct changelog *changelog = context;
    struct reset_facts *facts = changelog->facts;
    uint32_t version;

    (void)reader;
    if (facts->state == TALLY_OK && record->offset == facts->positions.out_last) {
        facts->event_proof = tally_stream_task_crc(record) == facts->positions.out_crc
                                     ? RESET_SAME
                                     : RESET_OTHER;
    }
    if (!tally_stream_task_position(record, &changelog->positions, &version)) {
        facts->rows = true;
        return true;
    }
    facts->events_next = changelog->positions.in_next;
    facts->event = version == changelog->version ? TALLY_OK : TALLY_CHANGELOG_OUTDATED;
    if (facts->event) {
        (void)snprintf(facts->reason, sizeof facts->reason,
                "the changelog has rows of version %u, this release makes version %u", version,
                changelog->version);
    }
    return true;
}

/* All of it, as a restore would: a changelog is compacted. */
static enum tally_code read_changelog(const struct reset_scope *scope, void *context, int64_t *end,
        struct tally_error *err)
{
    struct changelog *changelog = context;
    struct reset_facts *facts = changelog->facts;

    facts->rows = false;
    return reset_read(scope, facts->events, facts->partition, facts->events_low, visit, changelog,
            NULL, end, err);
}

struct first {
    struct reset_facts *facts;
    uint32_t crc;
};

static bool visit_first(void *context, struct tally_reader *reader,
        const struct tally_record *record)
{
    struct first *first = context;

    (void)reader;
    first->facts->input_proof =
            tally_stream_task_crc(record) == first->crc ? RESET_SAME : RESET_OTHER;
    return false;
}

/* Whether the last event that was consumed is still the one that it was. */
static enum tally_code prove_input(const struct reset_scope *scope,
        const struct changelog *changelog, struct tally_error *err)
{
    struct reset_facts *facts = changelog->facts;
    struct first first = {.facts = facts, .crc = changelog->positions.in_crc};
    int64_t last = changelog->positions.in_last;

    if (facts->events_next < 0 || last < facts->input_low || last >= facts->input_high) {
        return TALLY_OK;
    }
    return reset_read(scope, facts->input, facts->partition, last, visit_first, &first, NULL, NULL,
            err);
}

enum tally_code reset_projection_gather(const struct reset_scope *scope,
        const struct tally_topology *topology, int32_t partition, int64_t group_offset,
        struct reset_facts *facts, struct tally_error *err)
{
    struct changelog changelog = {.facts = facts,
            .version = tally_topology_version(topology),
            .positions = {.in_last = -1}};
    enum tally_code code;

    *facts = reset_facts_none(scope, topology, partition, group_offset);
    facts->input = tally_topology_input(topology);
    facts->events = tally_topology_output(topology);
    code = reset_facts_state(scope, topology, facts, err); /* first: it is never ahead of topics */
    code = code ? code
                : tally_group_range(scope->group, facts->input, partition, &facts->input_low,
                          &facts->input_high, err);
    code = code ? code : reset_read_closed(scope, facts, read_changelog, &changelog, err);
    return code ? code : prove_input(scope, &changelog, err);
}

/* --- what would be done ----------------------------------------------------------------------- */

static void halt(struct reset_plan *plan, enum tally_code code, const char *why)
{
    plan->halt = code;
    (void)snprintf(plan->why, sizeof plan->why, "%s", why);
}

/* The halt of a start, in the order in which the restore finds it. */
static void judge(const struct reset_facts *facts, struct reset_plan *plan)
{
    struct tally_error err = {.code = TALLY_OK};

    if (facts->state == TALLY_FOREIGN_STATE || facts->event) {
        halt(plan, facts->event ? facts->event : facts->state, facts->reason);
    } else if (facts->open) {
        halt(plan, TALLY_HANGING_TRANSACTION, "a transaction on the changelog does not end");
    } else if (facts->group < 0 && facts->events_next < 0) {
        return; /* a first start */
    } else if (tally_check_projection(facts->input, facts->partition, facts->group,
                       facts->events_next, facts->events_next >= 0, facts->input_low,
                       facts->input_high, &err)) {
        halt(plan, err.code, err.message);
    } else if (facts->input_proof == RESET_OTHER) {
        halt(plan, TALLY_TOPIC_RECREATED,
                "the events topic has other records than those that were consumed");
    }
}

/* Nothing was ever written, or the changelog was deleted: the next start is the first one. */
static void begin_anew(const struct reset_facts *facts, struct reset_plan *plan)
{
    if (facts->rows) {
        plan->impossible = ANEW;
        return;
    }
    plan->forget = facts->group >= 0;
    plan->aside = facts->state != TALLY_NOT_FOUND;
    if (facts->input_low > 0) {
        (void)snprintf(plan->loses, sizeof plan->loses,
                "what the events of %s/%d before %lld said, which are no longer retained",
                facts->input, (int)facts->partition, (long long)facts->input_low);
    }
}

void reset_projection_plan(const struct reset_facts *facts, struct reset_plan *plan)
{
    *plan = (struct reset_plan){.fill_to = -1,
            .copy_from = -1,
            .copy_to = -1,
            .mark = -1,
            .offset = -1,
            .lost_from = -1,
            .lost_to = -1};
    judge(facts, plan);
    switch (plan->halt) {
    case TALLY_OK:
        break;
    case TALLY_FOREIGN_STATE:
        plan->aside = true;
        break;
    case TALLY_CHANGELOG_EMPTY:
        begin_anew(facts, plan);
        break;
    case TALLY_HANGING_TRANSACTION:
        plan->impossible = "end the transaction: kafka-transactions.sh find-hanging, then abort";
        break;
    default: /* an offset that is not where the changelog is */
        if (facts->event || facts->input_proof == RESET_OTHER ||
                facts->events_next < facts->input_low || facts->events_next > facts->input_high) {
            plan->impossible = ANEW;
            break;
        }
        plan->offset = facts->events_next;
        plan->aside = facts->state == TALLY_OK && facts->positions.in_next > facts->events_next;
        break;
    }
}
