/* engine/base/failpoint.c - see failpoint.h. The plan is written while one thread runs; counters
 * are atomic, so exactly one hit of a site is its n-th whatever threads there are. */
#include "engine/base/failpoint.h"

#ifdef TALLY_CHECKS
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/config.h"
#include "engine/base/log.h"

enum { ENTRIES_MAX = 64, NAME_MAX_LEN = 64, NTH_MAX = 1000000000, DELAY_MAX_MS = 600000 };

struct entry {
    enum tally_failpoint site;
    enum tally_failpoint_action action;
    uint64_t nth;
    int64_t delay_ms;
};

struct plan {
    struct entry entries[ENTRIES_MAX];
    size_t count;
};

#define CAN_FAIL_FAILS true
#define CAN_FAIL_NEVER false
const struct tally_failpoint_row tally_failpoint_rows[TALLY_FAILPOINTS] = {
#define X(site, name_, fails, file_, about_) \
    [TALLY_FAILPOINT_##site] = {             \
            .name = (name_), .file = (file_), .about = (about_), .can_fail = CAN_FAIL_##fails},
#include "engine/base/failpoint.def"
#undef X
};

_Atomic bool tally_failpoint_on;
static struct plan plan;
static tally_failpoint_fn handler;
static void *handler_context;
static _Atomic uint64_t hits[TALLY_FAILPOINTS];

/* --- reading a plan --------------------------------------------------------------------------- */

static bool slice_is(struct tally_slice text, const char *word)
{
    return tally_slice_equal(text, tally_slice_string(word));
}

static enum tally_code unknown_site(struct tally_slice name, struct tally_error *err)
{
    const char *names[TALLY_FAILPOINTS], *nearest;
    char text[NAME_MAX_LEN];

    for (int i = 0; i < TALLY_FAILPOINTS; i++) {
        names[i] = tally_failpoint_rows[i].name;
    }
    (void)snprintf(text, sizeof text, "%.*s", (int)name.len, (const char *)name.data);
    nearest = tally_config_nearest(text, names, TALLY_FAILPOINTS);
    return tally_error_set(err, TALLY_CONFIG,
            "no failpoint \"%s\"%s%s%s: `tally failpoints` lists them", text,
            nearest ? ", did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
}

static enum tally_code read_site(struct tally_slice name, struct entry *entry,
        struct tally_error *err)
{
    for (int i = 0; i < TALLY_FAILPOINTS; i++) {
        if (slice_is(name, tally_failpoint_rows[i].name)) {
            entry->site = (enum tally_failpoint)i;
            return TALLY_OK;
        }
    }
    return unknown_site(name, err);
}

static enum tally_code read_action(struct tally_slice text, struct entry *entry,
        struct tally_error *err)
{
    static const char delay[] = "delay=";
    const struct tally_failpoint_row *row = &tally_failpoint_rows[entry->site];
    size_t skip = sizeof delay - 1;

    if (slice_is(text, "kill")) {
        entry->action = TALLY_FAILPOINT_KILL;
    } else if (slice_is(text, "stop")) {
        entry->action = TALLY_FAILPOINT_STOP;
    } else if (slice_is(text, "error") && row->can_fail) {
        entry->action = TALLY_FAILPOINT_ERROR;
    } else if (slice_is(text, "error")) {
        return tally_error_set(err, TALLY_CONFIG,
                "%s: no call can fail there: expected kill, stop or delay=MS", row->name);
    } else if (text.len > skip && memcmp(text.data, delay, skip) == 0 &&
               tally_parse_int(tally_slice_of(text.data + skip, text.len - skip),
                       &entry->delay_ms) &&
               entry->delay_ms > 0 && entry->delay_ms <= DELAY_MAX_MS) {
        entry->action = TALLY_FAILPOINT_DELAY;
    } else {
        return tally_error_set(err, TALLY_CONFIG,
                "%s: expected kill, stop,%s or delay=1 to delay=%d, got \"%.*s\"", row->name,
                row->can_fail ? " error" : "", DELAY_MAX_MS,
                (int)(text.len < NAME_MAX_LEN ? text.len : NAME_MAX_LEN), (const char *)text.data);
    }
    return TALLY_OK;
}

/* Up to the separator or the end; *rest is what follows it, without data when there was none. */
static struct tally_slice cut(struct tally_slice text, char separator, struct tally_slice *rest)
{
    const uint8_t *end = text.len ? memchr(text.data, separator, text.len) : NULL;
    size_t len = end ? (size_t)(end - text.data) : text.len;

    *rest = end ? tally_slice_of(end + 1, text.len - len - 1) : TALLY_NONE;
    return tally_slice_of(text.data, len);
}

static enum tally_code read_entry(struct tally_slice text, struct entry *entry,
        struct tally_error *err)
{
    struct tally_slice nth, action, name = cut(text, ':', &nth), number = cut(nth, ':', &action);
    int64_t n = 0;
    enum tally_code code;

    if (!nth.data || !action.data) {
        return tally_error_set(err, TALLY_CONFIG, "expected site:n:action, got \"%.*s\"",
                (int)(text.len < NAME_MAX_LEN ? text.len : NAME_MAX_LEN), (const char *)text.data);
    }
    code = read_site(name, entry, err);
    if (code) {
        return code;
    }
    if (!tally_parse_int(number, &n) || n < 1 || n > NTH_MAX) {
        return tally_error_set(err, TALLY_CONFIG, "%s: expected which hit, 1 to %d, got \"%.*s\"",
                tally_failpoint_rows[entry->site].name, NTH_MAX,
                (int)(number.len < NAME_MAX_LEN ? number.len : NAME_MAX_LEN),
                (const char *)number.data);
    }
    entry->nth = (uint64_t)n;
    return read_action(action, entry, err);
}

static enum tally_code read_plan(const char *text, struct plan *read, struct tally_error *err)
{
    struct tally_slice rest = text && text[0] ? tally_slice_string(text) : TALLY_NONE;
    enum tally_code code = TALLY_OK;

    read->count = 0;
    while (rest.data && code == TALLY_OK) {
        struct tally_slice entry = cut(rest, ',', &rest);

        if (read->count == ENTRIES_MAX) {
            return tally_error_set(err, TALLY_CONFIG, "over %d failpoints", ENTRIES_MAX);
        }
        code = read_entry(entry, &read->entries[read->count++], err);
    }
    return code;
}

static void count_from_zero(void)
{
    for (int i = 0; i < TALLY_FAILPOINTS; i++) {
        atomic_store(&hits[i], 0);
    }
    atomic_store(&tally_failpoint_on, handler || plan.count > 0);
}

enum tally_code tally_failpoint_check(const char *text, struct tally_error *err)
{
    struct plan read;

    return read_plan(text, &read, err);
}

enum tally_code tally_failpoint_arm(const char *text, struct tally_error *err)
{
    struct plan read;
    enum tally_code code = read_plan(text, &read, err);

    if (code == TALLY_OK) {
        plan = read;
        count_from_zero();
    }
    return code;
}

void tally_failpoint_set_handler(tally_failpoint_fn function, void *context)
{
    handler = function;
    handler_context = context;
    count_from_zero();
}

/* --- a hit ------------------------------------------------------------------------------------ */

uint64_t tally_failpoint_hits(enum tally_failpoint site)
{
    return atomic_load(&hits[site]);
}

bool tally_failpoint_planned(enum tally_failpoint site)
{
    for (size_t i = 0; i < plan.count && !handler; i++) {
        if (plan.entries[i].site == site) {
            return true;
        }
    }
    return false;
}

static void sleep_ms(int64_t ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};

    while (nanosleep(&left, &left) != 0) {
    }
}

/* raise: the signal has arrived in this very thread before the call returns. */
static bool act(const struct entry *entry)
{
    static const char *const names[] = {[TALLY_FAILPOINT_KILL] = "kill",
            [TALLY_FAILPOINT_STOP] = "stop",
            [TALLY_FAILPOINT_ERROR] = "error",
            [TALLY_FAILPOINT_DELAY] = "delay"};

    /* ERROR, so that no log.level hides it; log.c writes the line before it returns. */
    tally_log(TALLY_LOG_ERROR, "failpoint",
            TALLY_LOG_STR("site", tally_failpoint_rows[entry->site].name),
            TALLY_LOG_INT("hit", entry->nth), TALLY_LOG_STR("action", names[entry->action]));
    switch (entry->action) {
    case TALLY_FAILPOINT_KILL:
        (void)raise(SIGKILL);
        break;
    case TALLY_FAILPOINT_STOP:
        (void)raise(SIGSTOP);
        break;
    case TALLY_FAILPOINT_DELAY:
        sleep_ms(entry->delay_ms);
        break;
    case TALLY_FAILPOINT_PASS:
    case TALLY_FAILPOINT_ERROR:
        break;
    }
    return entry->action == TALLY_FAILPOINT_ERROR;
}

bool tally_failpoint_hit(enum tally_failpoint site)
{
    uint64_t hit = atomic_fetch_add(&hits[site], 1) + 1;
    bool fails = false;

    if (handler) {
        fails = handler(handler_context, site, hit) == TALLY_FAILPOINT_ERROR;
        return fails && tally_failpoint_rows[site].can_fail;
    }
    for (size_t i = 0; i < plan.count; i++) {
        if (plan.entries[i].site == site && plan.entries[i].nth == hit) {
            fails = act(&plan.entries[i]) || fails;
        }
    }
    return fails;
}

enum tally_code tally_failpoint_fail(enum tally_failpoint site, enum tally_code code,
        const char *file, int line, struct tally_error *err)
{
    if (!tally_failpoint_hit(site)) {
        return TALLY_OK;
    }
    return tally_error_fill(err, code, file, line, "failpoint %s", tally_failpoint_rows[site].name);
}
#endif
