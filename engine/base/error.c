/* engine/base/error.c - errors in the caller's memory, and the end of a process that has a bug.
 * Invariants
 *  (1) No function here allocates or takes a lock, so that the error path works without memory
 *      and under any lock.
 *  (2) A message is always terminated; what does not fit is cut at its end. */
#include "engine/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"

static const struct {
    const char *name, *text;
    enum tally_reaction reaction;
    int http;
} codes[TALLY_CODES] = {
        [TALLY_OK] = {"OK", "no error", TALLY_REACT_NONE, 200},
#define X(code, react, status, words) [TALLY_##code] = {#code, words, TALLY_REACT_##react, status},
#include "engine/base/error.def"
#undef X
};

static const struct {
    const char *options, *text;
} remedies[TALLY_CODES] = {
#define X(code, options, words) [TALLY_##code] = {options, words},
#include "engine/base/remedy.def"
#undef X
};

enum tally_code tally_error_fill(struct tally_error *err, enum tally_code code, const char *file,
        int line, const char *format, ...)
{
    va_list arguments;

    if (!err) {
        return code;
    }
    err->code = code;
    err->file = file;
    err->line = line;
    va_start(arguments, format);
    (void)vsnprintf(err->message, sizeof err->message, format, arguments);
    va_end(arguments);
    return code;
}

void tally_error_context(struct tally_error *err, const char *format, ...)
{
    char context[sizeof err->message];
    va_list arguments;
    size_t len, kept;

    if (!err) {
        return;
    }
    va_start(arguments, format);
    (void)vsnprintf(context, sizeof context - 2, format, arguments);
    va_end(arguments);
    len = strlen(context);
    memcpy(context + len, ": ", 3);
    len += 2;
    kept = strnlen(err->message, sizeof err->message - 1 - len);
    memmove(err->message + len, err->message, kept);
    memcpy(err->message, context, len);
    err->message[len + kept] = '\0';
}

const char *tally_code_name(enum tally_code code)
{
    return (unsigned)code < TALLY_CODES ? codes[code].name : "UNKNOWN";
}

const char *tally_code_text(enum tally_code code)
{
    return (unsigned)code < TALLY_CODES ? codes[code].text : "unknown error";
}

int tally_code_http(enum tally_code code)
{
    return (unsigned)code < TALLY_CODES ? codes[code].http : 500;
}

enum tally_reaction tally_code_reaction(enum tally_code code)
{
    return (unsigned)code < TALLY_CODES ? codes[code].reaction : TALLY_REACT_EXIT;
}

const char *tally_reaction_text(enum tally_reaction reaction)
{
    static const char *const texts[] = {
            [TALLY_REACT_NONE] = "the caller's matter",
            [TALLY_REACT_RETRY] = "the same call again, bounded",
            [TALLY_REACT_SKIP] = "the record goes to the dead letters",
            [TALLY_REACT_ABORT] = "the transaction is aborted and its input read again",
            [TALLY_REACT_REBUILD] = "the directory is set aside and built again from events",
            [TALLY_REACT_RELEASE] = "nothing is written any more; restored from events",
            [TALLY_REACT_HALT] = "the task is paused and checked again; the others go on",
            [TALLY_REACT_EXIT] = "the process ends",
    };

    return texts[reaction];
}

const char *tally_code_remedy(enum tally_code code, const char **options)
{
    *options = (unsigned)code < TALLY_CODES ? remedies[code].options : NULL;
    return (unsigned)code < TALLY_CODES ? remedies[code].text : NULL;
}

static void print_line(const char *line)
{
    char text[512];
    int len = snprintf(text, sizeof text, "%s\n", line);

    if (len >= (int)sizeof text) {
        len = (int)sizeof text - 1;
        text[len - 1] = '\n';
    }
    if (len > 0 && write(STDERR_FILENO, text, (size_t)len) < 0) {
        return; /* nobody listens: the abort that follows says enough */
    }
}

_Noreturn void tally_assert_failed(const char *expression, const char *file, int line)
{
    char text[480];

    (void)snprintf(text, sizeof text, "assertion failed: %s at %s:%d", expression, file, line);
    print_line(text);
    tally_log_context_print(print_line);
    abort();
}
