/* engine/base/error.h - error codes with the reaction each asks for, and assertions.
 * Invariants
 *  (1) An error is made once, where it is detected, and carried up; it is logged once, where it is
 *      handled. NOT_FOUND and AGAIN carry no message and are never logged.
 *  (2) No allocation on the error path: the message lives in the caller's struct. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define TALLY_MUST_CHECK          __attribute__((warn_unused_result))
#define TALLY_PRINTF(text, first) __attribute__((format(printf, text, first)))
/* Locals are zeroed by the compiler (-ftrivial-auto-var-init); not these large ones, which are
 * written before they are read. */
#define TALLY_UNINITIALIZED       __attribute__((uninitialized))

enum tally_code {
    TALLY_OK = 0,
#define X(code, reaction, http, text) TALLY_##code,
#include "engine/base/error.def"
#undef X
    TALLY_CODES
};

enum {
    TALLY_HALT_TEXT_MAX = 704, /* an error's message and the way out of it */
    TALLY_WAY_OUT_MAX = 432    /* the latter alone */
};

/* What the thread that handles an error does about it; see exactly-once in ARCHITECTURE.md. */
enum tally_reaction {
    TALLY_REACT_NONE,
    TALLY_REACT_RETRY,
    TALLY_REACT_SKIP,
    TALLY_REACT_ABORT,
    TALLY_REACT_REBUILD,
    TALLY_REACT_RELEASE,
    TALLY_REACT_HALT,
    TALLY_REACT_EXIT
};

struct tally_error {
    enum tally_code code;
    const char *file;
    int line;
    char message[256];
};

/* Fills *err (err may be NULL) and returns code, so that `return tally_error_set(err, ...)` works.
 * The text is lower case, without a full stop, and ends with what to do where that is known. */
#define tally_error_set(err, code, ...) \
    tally_error_fill((err), (code), __FILE__, __LINE__, __VA_ARGS__)
enum tally_code tally_error_fill(struct tally_error *err, enum tally_code code, const char *file,
        int line, const char *format, ...) TALLY_PRINTF(5, 6);

/* Puts "<context>: " in front of the message. @thread any  @locks none */
void tally_error_context(struct tally_error *err, const char *format, ...) TALLY_PRINTF(2, 3);

/* Constant strings and facts of error.def: "OFFSETS_LOST", its text, its HTTP status. */
const char *tally_code_name(enum tally_code code);
const char *tally_code_text(enum tally_code code);
int tally_code_http(enum tally_code code);
enum tally_reaction tally_code_reaction(enum tally_code code);
/* What is done about it: "the task is paused and checked again; the others go on". */
const char *tally_reaction_text(enum tally_reaction reaction);
/* How a task that halted with the code runs again (remedy.def); NULL: no row. *options: those of
 * `tally reset` that do it, NULL when no reset helps. */
const char *tally_code_remedy(enum tally_code code, const char **options);

/* For bugs only, never for expected failures; stays on in production. Prints the expression with
 * the thread's log context (task, topic/partition@offset) and aborts. */
#define tally_assert(expression) \
    ((expression) ? (void)0 : tally_assert_failed(#expression, __FILE__, __LINE__))
_Noreturn void tally_assert_failed(const char *expression, const char *file, int line);
