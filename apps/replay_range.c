/* apps/replay_range.c - see the header. Every message names the option, what it was given, the
 * topic/partition@offset that it fails at, and a value that would do. */
#include "apps/replay_range.h"

#include <string.h>

static enum tally_code parse(const char *name, const char *word, enum replay_point_kind of_word,
        const char *text, struct replay_point *point, struct tally_error *err)
{
    *point = (struct replay_point){.kind = REPLAY_UNSAID, .text = text};
    if (!text) {
        return TALLY_OK;
    }
    if (strcmp(text, word) == 0) {
        point->kind = of_word;
        return TALLY_OK;
    }
    if (tally_parse_int(tally_slice_string(text), &point->value) && point->value >= 0) {
        point->kind = REPLAY_OFFSET;
        return TALLY_OK;
    }
    if (tally_parse_time(tally_slice_string(text), &point->value)) {
        point->kind = REPLAY_TIME;
        return TALLY_OK;
    }
    return tally_error_set(err, TALLY_CONFIG,
            "%s: expected %s, an offset or a time in UTC, got \"%.40s\"; for example %s 1200, or "
            "%s 2026-01-15T10:00:00Z",
            name, word, text, name, name);
}

enum tally_code replay_range_parse_from(const char *text, struct replay_point *point,
        struct tally_error *err)
{
    enum tally_code code = parse("--from", "start", REPLAY_START, text, point, err);

    if (!code && point->kind == REPLAY_OFFSET && point->value == 0) {
        point->kind = REPLAY_START;
    }
    return code;
}

enum tally_code replay_range_parse_to(const char *text, struct replay_point *point,
        struct tally_error *err)
{
    return parse("--to", "end", REPLAY_END, text, point, err);
}

enum tally_code replay_range_check(const struct replay_point *from, const struct replay_point *to,
        int64_t now_ms, struct tally_error *err)
{
    const struct replay_point *const points[] = {from, to};

    for (size_t i = 0; i < 2; i++) {
        if (points[i]->kind == REPLAY_TIME && points[i]->value > now_ms) {
            char now[TALLY_TIME_LEN + 1];

            tally_format_time(now_ms, now);
            return tally_error_set(err, TALLY_CONFIG,
                    "%s: \"%.40s\" is in the future: expected a time that has passed, as in %s %s",
                    i ? "--to" : "--from", points[i]->text, i ? "--to" : "--from", now);
        }
    }
    if (from->kind == to->kind && from->kind == REPLAY_TIME && from->value >= to->value) {
        return tally_error_set(err, TALLY_CONFIG,
                "--from \"%.40s\" is not before --to \"%.40s\": give the earlier time to --from",
                from->text, to->text);
    }
    if (from->kind == to->kind && from->kind == REPLAY_OFFSET && from->value > to->value) {
        return tally_error_set(err, TALLY_CONFIG,
                "--from %.20s is behind --to %.20s: give the smaller offset to --from", from->text,
                to->text);
    }
    return TALLY_OK;
}

static enum tally_code wrong_offset(const char *name, const struct replay_point *point,
        const struct replay_log *log, int64_t high, struct tally_error *err)
{
    if (log->end <= log->low) {
        return tally_error_set(err, TALLY_CONFIG, "%s %.20s: %s/%d has no records", name,
                point->text, log->topic, (int)log->partition);
    }
    return tally_error_set(err, TALLY_CONFIG,
            "%s %.20s: %s/%d has the offsets %lld to %lld; for example %s %lld", name, point->text,
            log->topic, (int)log->partition, (long long)log->low, (long long)log->end - 1, name,
            (long long)high);
}

static enum tally_code gone(const struct replay_log *log, struct tally_error *err)
{
    return tally_error_set(err, TALLY_EVENTS_INCOMPLETE,
            "%s/%d begins at %lld: the records before it are gone, and with them the state; "
            "--from %lld folds what is left",
            log->topic, (int)log->partition, (long long)log->low, (long long)log->low);
}

/* *from: -1 is the start. */
static enum tally_code find_from(const struct replay_point *point, const struct replay_log *log,
        int64_t *from, struct tally_error *err)
{
    *from = -1;
    switch (point->kind) {
    case REPLAY_OFFSET:
        if (point->value < log->low || point->value > log->end) {
            return wrong_offset("--from", point, log, log->low, err);
        }
        *from = point->value;
        break;
    case REPLAY_TIME:
        *from = log->from_at >= 0 ? log->from_at : log->end;
        break;
    case REPLAY_UNSAID:
    case REPLAY_START:
    case REPLAY_END:
        break;
    }
    if (*from == 0) {
        *from = -1;
    }
    return TALLY_OK;
}

static enum tally_code find_last(const struct replay_point *point, const struct replay_log *log,
        int64_t *last, struct tally_error *err)
{
    *last = log->end - 1;
    switch (point->kind) {
    case REPLAY_OFFSET:
        if (point->value < log->low || point->value >= log->end) {
            return wrong_offset("--to", point, log, log->end - 1, err);
        }
        *last = point->value;
        break;
    case REPLAY_TIME:
        *last = log->to_at >= 0 ? log->to_at - 1 : log->end - 1;
        break;
    case REPLAY_UNSAID:
    case REPLAY_START:
    case REPLAY_END:
        break;
    }
    return TALLY_OK;
}

/* A fold goes on where it ended, or is asked for once more as it was. */
static enum tally_code join(const struct replay_point *from, const struct replay_point *to,
        const struct replay_log *log, const struct replay_have *have, struct replay_range *range,
        struct tally_error *err)
{
    int64_t wanted = range->part.from;
    bool same = from->kind == REPLAY_UNSAID || wanted == have->from;

    if (!same && !(wanted > have->last && (wanted == have->last + 1 || wanted <= have->next))) {
        int64_t next = have->next > have->last             ? have->next
                       : have->last < 0 && have->from >= 0 ? have->from
                                                           : have->last + 1;

        return tally_error_set(err, TALLY_CONFIG,
                "--from %.40s: \"%.80s\" ends at %s/%d@%lld, so it goes on from %lld, as in --from "
                "%lld; for anything else give --into another directory",
                from->text, have->dir, log->topic, (int)log->partition, (long long)have->last,
                (long long)next, (long long)next);
    }
    if (range->part.last < have->last) {
        return tally_error_set(err, TALLY_CONFIG,
                "--to %.40s: \"%.80s\" is at %s/%d@%lld already, and nothing goes back: give "
                "--into another directory, or --to %lld",
                to->text ? to->text : "end", have->dir, log->topic, (int)log->partition,
                (long long)have->last, (long long)have->last);
    }
    range->part.from = have->from;
    range->complete = range->part.last == have->last || have->next > range->part.last;
    return TALLY_OK;
}

enum tally_code replay_range_find(const struct replay_point *from, const struct replay_point *to,
        const struct replay_log *log, const struct replay_have *have, struct replay_range *range,
        struct tally_error *err)
{
    bool by_time = from->kind == REPLAY_TIME || to->kind == REPLAY_TIME;
    enum tally_code code;

    *range = (struct replay_range){.complete = false};
    if (log->compacted && (from->kind > REPLAY_END || to->kind > REPLAY_END)) {
        return tally_error_set(err, TALLY_CONFIG,
                "%s %.40s: of %s/%d each key has the newest record only, so it is replayed from "
                "the start to the end: leave %s out",
                from->kind > REPLAY_END ? "--from" : "--to",
                from->kind > REPLAY_END ? from->text : to->text, log->topic, (int)log->partition,
                from->kind > REPLAY_END ? "--from" : "--to");
    }
    code = find_from(from, log, &range->part.from, err);
    code = code ? code : find_last(to, log, &range->part.last, err);
    if (code) {
        return code;
    }
    if (range->part.from > range->part.last + 1 && by_time) {
        range->part.last = range->part.from - 1; /* nothing of this partition is in it */
    } else if (range->part.from > range->part.last + 1) {
        return tally_error_set(err, TALLY_CONFIG,
                "--from %.20s is behind --to %.20s in %s/%d: give the smaller offset to --from",
                from->text, to->text, log->topic, (int)log->partition);
    }
    if (have->present) {
        return join(from, to, log, have, range, err);
    }
    return range->part.from < 0 && log->low > 0 && !log->compacted ? gone(log, err) : TALLY_OK;
}

int64_t replay_range_offsets(const struct replay_range *range, const struct replay_log *log,
        const struct replay_have *have)
{
    int64_t from = range->part.from > log->low ? range->part.from : log->low;

    if (have->present && have->last >= from) {
        from = have->last + 1;
    }
    return !range->complete && range->part.last >= from ? range->part.last - from + 1 : 0;
}
