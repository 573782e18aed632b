/* engine/base/log.h - one line per fact: logfmt (default) or JSON, on stderr.
 *   2026-01-15T10:00:00.004Z level=warn thread=stream-0 task=stock/2 msg="task halted" offset=7
 * Every value is typed and quoted here, so no caller can break a line. @thread any */
#pragma once
#include "engine/base/bytes.h"

enum tally_log_level { TALLY_LOG_DEBUG, TALLY_LOG_INFO, TALLY_LOG_WARN, TALLY_LOG_ERROR };
enum tally_log_format { TALLY_LOG_LOGFMT, TALLY_LOG_JSON };

struct tally_log_field {
    const char *name;
    enum { TALLY_FIELD_TEXT, TALLY_FIELD_INT, TALLY_FIELD_BYTES } kind;
    const char *text;
    int64_t integer;
    struct tally_slice bytes;
};
#define TALLY_LOG_STR(n, v) \
    ((struct tally_log_field){.name = (n), .kind = TALLY_FIELD_TEXT, .text = (v)})
#define TALLY_LOG_INT(n, v) \
    ((struct tally_log_field){.name = (n), .kind = TALLY_FIELD_INT, .integer = (int64_t)(v)})
#define TALLY_LOG_BYTES(n, v) \
    ((struct tally_log_field){.name = (n), .kind = TALLY_FIELD_BYTES, .bytes = (v)})

/* tally_log(TALLY_LOG_WARN, "task halted", TALLY_LOG_STR("task", id), TALLY_LOG_INT("offset", o));
 * A field of the same name as one of the thread's context replaces it. */
#define tally_log(level, message, ...)  \
    tally_log_write((level), (message), \
            (const struct tally_log_field[]){__VA_ARGS__ __VA_OPT__(, ){.name = NULL}})
void tally_log_write(enum tally_log_level level, const char *message,
        const struct tally_log_field *fields /* ends with name NULL */);
/* As tally_log with the error's code and message added. */
void tally_log_error(enum tally_log_level level, const char *message,
        const struct tally_error *err);

/* At most one line per `every_ms` from this place; the next line says how many were left out. */
struct tally_log_limit {
    int64_t next_ms;
    int64_t left_out;
};
bool tally_log_allowed(struct tally_log_limit *limit, int64_t every_ms);

void tally_log_init(enum tally_log_level lowest, enum tally_log_format format); /* @thread init */
/* Context that every later line of this thread carries; copied. NULL clears. */
void tally_log_thread(const char *name);
void tally_log_task(const char *task);
/* For assertions only, so it costs three stores; topic is borrowed. */
void tally_log_position(const char *topic, int32_t partition, int64_t offset);
void tally_log_context_print(void (*print)(const char *line)); /* for tally_assert_failed */
