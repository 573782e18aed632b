/* engine/base/log.c - lines on stderr.
 * Invariants
 *  (1) A line is one write(2) of at most LINE_MAX_BYTES and ends in the only newline it has,
 *      whatever the values hold: a field that does not fit is left out and the line says
 *      truncated=true.
 *  (2) What is written is printable UTF-8: other bytes, control and direction characters are
 *      escaped, so that a value from outside can forge neither a line nor a terminal.
 *  (3) Nothing here allocates; logging works when memory is short.
 *
 * Threads: context lives in the thread; level and format are set once before the others start.
 * Left out: files and rotation, which are the supervisor's. */
#include "engine/base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/base/bytes_internal.h"
#include "engine/base/clock.h"
#include "engine/base/metrics.h"
#include "engine/base/thread.h"

#define LINE_MAX_BYTES  8192
#define END_RESERVED    32 /* truncated=true and the end of the line */
#define VALUE_MAX_BYTES 2048

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
    bool full; /* the field being written does not fit */
    bool truncated;
    enum tally_log_format format;
};

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static enum tally_log_level lowest_level = TALLY_LOG_INFO;
static enum tally_log_format line_format = TALLY_LOG_LOGFMT;
static struct tally_mutex write_lock = TALLY_MUTEX_INITIALIZER(TALLY_LOCK_LOG);

static _Thread_local struct {
    char thread[16];
    char task[80];
    const char *topic;
    int64_t offset;
    int32_t partition;
    int64_t left_out; /* by the last tally_log_allowed, for the next line */
} context;

static void put(struct line *line, const char *text, size_t len)
{
    if (line->full || len > sizeof line->text - END_RESERVED - line->len) {
        line->full = true;
        return;
    }
    memcpy(line->text + line->len, text, len);
    line->len += len;
}

static void put_string(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

TALLY_PRINTF(2, 3) static void put_format(struct line *line, const char *format, ...)
{
    char text[64];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    put_string(line, text);
}

/* Not control characters, and none of those that reorder or break a shown line. */
static bool printable(uint32_t code_point)
{
    return code_point >= 0x20 && !(code_point >= 0x7f && code_point < 0xa0) &&
           !(code_point >= 0x200e && code_point <= 0x200f) &&
           !(code_point >= 0x2028 && code_point <= 0x202e) &&
           !(code_point >= 0x2066 && code_point <= 0x2069) && code_point != 0xfeff;
}

static void put_escaped(struct line *line, uint32_t code_point)
{
    switch (code_point) {
    case '"':
        put_string(line, "\\\"");
        break;
    case '\\':
        put_string(line, "\\\\");
        break;
    case '\n':
        put_string(line, "\\n");
        break;
    case '\r':
        put_string(line, "\\r");
        break;
    case '\t':
        put_string(line, "\\t");
        break;
    default:
        put_format(line, "\\u%04x", code_point);
    }
}

/* Inside quotes. A byte that is not UTF-8 becomes \xHH; JSON has no such escape, so there the
 * backslash is itself escaped and the reader sees the same four characters. */
static void put_quoted(struct line *line, struct tally_slice value)
{
    put_string(line, "\"");
    while (value.len) {
        uint32_t code_point = 0;
        size_t step = bytes_utf8_step(value, &code_point);

        if (step == 0) {
            put_string(line, line->format == TALLY_LOG_JSON ? "\\" : "");
            put_format(line, "\\x%02x", value.data[0]);
            step = 1;
        } else if (!printable(code_point) || code_point == '"' || code_point == '\\') {
            put_escaped(line, code_point);
        } else {
            put(line, (const char *)value.data, step);
        }
        value.data += step;
        value.len -= step;
    }
    put_string(line, "\"");
}

static bool bare(struct tally_slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        uint8_t byte = value.data[i];

        if (byte <= ' ' || byte >= 0x7f || byte == '"' || byte == '=' || byte == '\\') {
            return false;
        }
    }
    return value.len > 0;
}

static size_t field_begin(struct line *line, const char *name)
{
    size_t start = line->len;

    line->full = false;
    if (line->format == TALLY_LOG_JSON) {
        put_string(line, line->len > 1 ? ",\"" : "\"");
        put_string(line, name);
        put_string(line, "\":");
    } else {
        put_string(line, " ");
        put_string(line, name);
        put_string(line, "=");
    }
    return start;
}

static void field_end(struct line *line, size_t start)
{
    if (line->full) {
        line->len = start;
        line->truncated = true;
        line->full = false;
    }
}

static void field_bytes(struct line *line, const char *name, struct tally_slice value)
{
    size_t start = field_begin(line, name);

    if (value.len > VALUE_MAX_BYTES) {
        value.len = VALUE_MAX_BYTES;
        line->truncated = true;
    }
    if (line->format == TALLY_LOG_LOGFMT && bare(value)) {
        put(line, (const char *)value.data, value.len);
    } else {
        put_quoted(line, value);
    }
    field_end(line, start);
}

static void field_text(struct line *line, const char *name, const char *value)
{
    field_bytes(line, name, tally_slice_string(value));
}

static void field_int(struct line *line, const char *name, int64_t value)
{
    size_t start = field_begin(line, name);

    put_format(line, "%" PRId64, value);
    field_end(line, start);
}

static void line_begin(struct line *line, enum tally_log_level level)
{
    char now[TALLY_TIME_LEN + 1];

    line->len = 0;
    line->full = line->truncated = false;
    line->format = line_format;
    tally_format_time(tally_wall_ms(tally_clock_real()), now);
    if (line->format == TALLY_LOG_JSON) {
        put_string(line, "{");
        field_text(line, "time", now);
    } else {
        put_string(line, now);
    }
    field_text(line, "level", level_names[level]);
}

static bool has_field(const struct tally_log_field *fields, const char *name)
{
    for (; fields->name; fields++) {
        if (strcmp(fields->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* What the caller gives under the same name wins, as a name may stand only once in JSON. */
static void line_context(struct line *line, const struct tally_log_field *fields)
{
    if (context.thread[0] && !has_field(fields, "thread")) {
        field_text(line, "thread", context.thread);
    }
    if (context.task[0] && !has_field(fields, "task")) {
        field_text(line, "task", context.task);
    }
}

static void line_end(struct line *line)
{
    const char *end = "\n";
    size_t len;

    if (line->format == TALLY_LOG_JSON) {
        end = line->truncated ? ",\"truncated\":true}\n" : "}\n";
    } else if (line->truncated) {
        end = " truncated=true\n";
    }
    len = strlen(end); /* END_RESERVED holds it */
    memcpy(line->text + line->len, end, len);
    line->len += len;
}

static void write_line(const struct line *line)
{
    size_t at = 0;

    tally_mutex_lock(&write_lock);
    while (at < line->len) { /* more than one round only on a pipe that takes a part */
        ssize_t written = write(STDERR_FILENO, line->text + at, line->len - at);

        if (written <= 0) {
            break; /* nobody can be told that the log cannot be written */
        }
        at += (size_t)written;
    }
    tally_mutex_unlock(&write_lock);
}

static void count_line(enum tally_log_level level)
{
    static struct tally_series *_Atomic counters[TALLY_LOG_ERROR + 1];
    struct tally_series *counter = counters[level];

    if (!counter) {
        counter = tally_series_of(TALLY_METRIC_LOG_LINES, level_names[level]);
        counters[level] = counter; /* two threads would store the same */
    }
    tally_series_add(counter, 1);
}

void tally_log_write(enum tally_log_level level, const char *message,
        const struct tally_log_field *fields)
{
    struct line line;
    int64_t left_out = context.left_out;

    context.left_out = 0;
    if (level < lowest_level) {
        return;
    }
    line_begin(&line, level);
    line_context(&line, fields);
    field_text(&line, "msg", message);
    for (; fields->name; fields++) {
        if (fields->kind == TALLY_FIELD_INT) {
            field_int(&line, fields->name, fields->integer);
        } else {
            field_bytes(&line, fields->name,
                    fields->kind == TALLY_FIELD_TEXT ? tally_slice_string(fields->text)
                                                     : fields->bytes);
        }
    }
    if (left_out) {
        field_int(&line, "left_out", left_out);
    }
    line_end(&line);
    write_line(&line);
    count_line(level);
}

void tally_log_error(enum tally_log_level level, const char *message, const struct tally_error *err)
{
    if (!err) {
        tally_log(level, message);
        return;
    }
    tally_log(level, message, TALLY_LOG_STR("code", tally_code_name(err->code)),
            TALLY_LOG_STR("error", err->message[0] ? err->message : tally_code_text(err->code)));
}

bool tally_log_allowed(struct tally_log_limit *limit, int64_t every_ms)
{
    int64_t now_ms = tally_mono_ms(tally_clock_real());
    int64_t next_ms = __atomic_load_n(&limit->next_ms, __ATOMIC_RELAXED);

    if (now_ms < next_ms || !__atomic_compare_exchange_n(&limit->next_ms, &next_ms,
                                    now_ms + every_ms, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        (void)__atomic_add_fetch(&limit->left_out, 1, __ATOMIC_RELAXED);
        return false;
    }
    context.left_out = __atomic_exchange_n(&limit->left_out, 0, __ATOMIC_RELAXED);
    return true;
}

void tally_log_init(enum tally_log_level lowest, enum tally_log_format format)
{
    lowest_level = lowest;
    line_format = format;
}

void tally_log_thread(const char *name)
{
    (void)snprintf(context.thread, sizeof context.thread, "%s", name ? name : "");
}

void tally_log_task(const char *task)
{
    (void)snprintf(context.task, sizeof context.task, "%s", task ? task : "");
}

void tally_log_position(const char *topic, int32_t partition, int64_t offset)
{
    context.topic = topic;
    context.partition = partition;
    context.offset = offset;
}

void tally_log_context_print(void (*print)(const char *line))
{
    char line[400];

    if (context.thread[0]) {
        (void)snprintf(line, sizeof line, "  thread %s", context.thread);
        print(line);
    }
    if (context.task[0]) {
        (void)snprintf(line, sizeof line, "  task %s", context.task);
        print(line);
    }
    if (context.topic) {
        (void)snprintf(line, sizeof line, "  record %s/%" PRId32 "@%" PRId64, context.topic,
                context.partition, context.offset);
        print(line);
    }
}
