/* engine/restore_check.c - see restore_check.h. Every message names topic, partition and offsets;
 * the command that gets out of the halt is put behind it where the task is known (remedy.def). */
#include "engine/restore_check.h"

enum tally_code tally_check_events(const char *topic, int32_t partition, int64_t last, int64_t low,
        int64_t high, struct tally_error *err)
{
    if (last + 1 > high) {
        return tally_error_set(err, TALLY_EVENTS_TRUNCATED,
                "%s/%d ends at %lld but the state has applied %lld: the topic lost committed "
                "events",
                topic, partition, (long long)high, (long long)last);
    }
    if (last < 0 && low > 0) {
        return tally_error_set(err, TALLY_EVENTS_INCOMPLETE,
                "%s/%d starts at %lld but there is no state: events before it are needed", topic,
                partition, (long long)low);
    }
    if (last >= 0 && last < low) {
        return tally_error_set(err, TALLY_EVENTS_INCOMPLETE,
                "%s/%d starts at %lld but the state has applied only up to %lld", topic, partition,
                (long long)low, (long long)last);
    }
    return TALLY_OK;
}

enum tally_code tally_check_input(const char *topic, int32_t partition, int64_t group,
        int64_t state, int64_t low, int64_t high, struct tally_error *err)
{
    if (group < 0 && state > high) {
        return tally_error_set(err, TALLY_INPUT_LOST,
                "%s/%d ends at %lld but the state has consumed up to %lld, and the group has no "
                "offset: the topic was deleted and made anew, or cut",
                topic, partition, (long long)high, (long long)state - 1);
    }
    if (group < 0) {
        return tally_error_set(err, TALLY_OFFSETS_LOST,
                "%s/%d: the group has no offset but the state has consumed up to %lld", topic,
                partition, (long long)state - 1);
    }
    if (group < state) {
        return tally_error_set(err, TALLY_OFFSETS_BEHIND,
                "%s/%d: the group's offset is %lld but the state has consumed up to %lld", topic,
                partition, (long long)group, (long long)state - 1);
    }
    if (group > high) {
        return tally_error_set(err, TALLY_INPUT_LOST,
                "%s/%d: the group's offset is %lld but the topic ends at %lld: it lost records",
                topic, partition, (long long)group, (long long)high);
    }
    if (group < low) {
        return tally_error_set(err, TALLY_INPUT_TRUNCATED,
                "%s/%d: the group's offset is %lld but the topic starts at %lld: commands were "
                "deleted before they were decided",
                topic, partition, (long long)group, (long long)low);
    }
    return TALLY_OK;
}

enum tally_code tally_check_changelog(const char *topic, int32_t partition, int64_t last,
        int64_t age_ms, int64_t low, int64_t high, struct tally_error *err)
{
    if (last < 0) {
        return TALLY_OK;
    }
    if (last + 1 > high || last < low) {
        return tally_error_set(err, TALLY_STORE_OUTDATED,
                "%s/%d goes from %lld to %lld but the state has applied %lld: it was cut or made "
                "anew",
                topic, partition, (long long)low, (long long)high, (long long)last);
    }
    if (age_ms > TALLY_TOMBSTONE_RETENTION_MS) {
        return tally_error_set(err, TALLY_STORE_OUTDATED,
                "%s/%d keeps deletions for %lld h at least, and the state is %lld h old", topic,
                partition, (long long)(TALLY_TOMBSTONE_RETENTION_MS / 3600000),
                (long long)(age_ms / 3600000));
    }
    return TALLY_OK;
}

enum tally_code tally_check_projection(const char *topic, int32_t partition, int64_t group,
        int64_t state, bool written, int64_t low, int64_t high, struct tally_error *err)
{
    if (group >= 0 && !written) {
        return tally_error_set(err, TALLY_CHANGELOG_EMPTY,
                "%s/%d: the group's offset is %lld but the changelog has no position", topic,
                partition, (long long)group);
    }
    if (group > state) {
        return tally_error_set(err, TALLY_CHANGELOG_BEHIND,
                "%s/%d: the group's offset is %lld but the changelog ends with %lld: it lost "
                "records",
                topic, partition, (long long)group, (long long)state);
    }
    return tally_check_input(topic, partition, group, state, low, high, err);
}
