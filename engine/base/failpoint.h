/* engine/base/failpoint.h - places at which a test build (TALLY_CHECKS) does what the plan in
 * TALLY_FAIL says. failpoint.def has the table; `tally failpoints` prints it.
 *   TALLY_FAIL=commit.before:3:error,recover.abort.before:1:kill
 * Each entry is site:n:action: at the n-th hit of the site the process kills itself (kill), stops
 * itself (stop), the call there fails (error), or the thread sleeps (delay=ms).
 * Invariants
 *  (1) A build without TALLY_CHECKS has nothing of it: no code, no symbol, no string.
 *  (2) With nothing armed a site costs one relaxed load.
 *  (3) Whatever a site does is logged before it is done.
 *  (4) A plan that is not understood in full is refused in full. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>

#include "engine/base/error.h"

#define TALLY_FAIL_VARIABLE "TALLY_FAIL"

#ifdef TALLY_CHECKS
#define TALLY_HAS_FAILPOINTS 1

enum tally_failpoint {
#define X(site, name, fails, file, about) TALLY_FAILPOINT_##site,
#include "engine/base/failpoint.def"
#undef X
    TALLY_FAILPOINTS
};

enum tally_failpoint_action {
    TALLY_FAILPOINT_PASS,
    TALLY_FAILPOINT_KILL,
    TALLY_FAILPOINT_STOP,
    TALLY_FAILPOINT_ERROR,
    TALLY_FAILPOINT_DELAY
};

struct tally_failpoint_row {
    const char *name, *file, *about;
    bool can_fail;
};
extern const struct tally_failpoint_row tally_failpoint_rows[TALLY_FAILPOINTS];

/* Replaces the plan and counts from zero; NULL or "": none. CONFIG: nothing was changed, and *err
 * names the nearest site where that is the mistake. check only says whether arm would take it.
 * @thread init */
TALLY_MUST_CHECK enum tally_code tally_failpoint_arm(const char *plan, struct tally_error *err);
TALLY_MUST_CHECK enum tally_code tally_failpoint_check(const char *plan, struct tally_error *err);

/* For tests in one process: asked at every hit instead of the plan, what shall happen there. The
 * answer is PASS or ERROR (passed over where no call can fail); to die there, it may leave by
 * other means and never return. NULL: the plan again. Counts start from zero. @thread init */
typedef enum tally_failpoint_action (*tally_failpoint_fn)(void *context, enum tally_failpoint site,
        uint64_t hit /* 1: the first of this site */);
void tally_failpoint_set_handler(tally_failpoint_fn handler, void *context);

/* Since the plan or the handler was set; without either nothing is counted. @thread any: atomic */
uint64_t tally_failpoint_hits(enum tally_failpoint site);

/* What the macros below call. @thread any: atomic */
extern _Atomic bool tally_failpoint_on;
bool tally_failpoint_hit(enum tally_failpoint site); /* true: the call fails */
bool tally_failpoint_planned(enum tally_failpoint site);
enum tally_code tally_failpoint_fail(enum tally_failpoint site, enum tally_code code,
        const char *file, int line, struct tally_error *err); /* code, or OK */

#define TALLY_FAILPOINT_IS_ON atomic_load_explicit(&tally_failpoint_on, memory_order_relaxed)

/* A site where no call can fail. */
#define TALLY_FAILPOINT(site) \
    ((void)(TALLY_FAILPOINT_IS_ON && tally_failpoint_hit(TALLY_FAILPOINT_##site)))
/* A site where one can: whether it shall. */
#define TALLY_FAILPOINT_FAILS(site) \
    (TALLY_FAILPOINT_IS_ON && tally_failpoint_hit(TALLY_FAILPOINT_##site))
/* The same: `code` with *err filled, or TALLY_OK. */
#define TALLY_FAILPOINT_CODE(site, code, err)                                               \
    (TALLY_FAILPOINT_IS_ON ? tally_failpoint_fail(TALLY_FAILPOINT_##site, (code), __FILE__, \
                                     __LINE__, (err))                                       \
                           : TALLY_OK)
/* Whether TALLY_FAIL names the site: for what is done only so that it can be hit. No hit. */
#define TALLY_FAILPOINT_PLANNED(site) \
    (TALLY_FAILPOINT_IS_ON && tally_failpoint_planned(TALLY_FAILPOINT_##site))

#else
#define TALLY_HAS_FAILPOINTS                  0
#define TALLY_FAILPOINT(site)                 ((void)0)
#define TALLY_FAILPOINT_FAILS(site)           false
#define TALLY_FAILPOINT_CODE(site, code, err) TALLY_OK
#define TALLY_FAILPOINT_PLANNED(site)         false
#endif
