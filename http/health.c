/* http/health.c - see health.h. Answers are text for people and probes: `ok`, or what failed. */
#include "http/health.h"

#include "engine/base/clock.h"

enum { LINES_BYTES_MAX = 64 * 1024, TASKS_MAX = 4096 };

static void answer_text(struct exchange *exchange, int status)
{
    response_begin(&exchange->response, status, RESPONSE_TEXT);
    exchange->response.cache_control = "no-store";
}

/* Lines of failed checks that are required: enough to act on, and short. */
static void add_failures(struct tally_slice lines, struct tally_buf *out)
{
    static const char not_required[] = " (not required)\n";

    while (lines.len > 0) {
        const uint8_t *end = memchr(lines.data, '\n', lines.len);
        size_t len = end ? (size_t)(end - lines.data) + 1 : lines.len;

        if (tally_slice_starts(lines, TALLY_SLICE("[-]")) &&
                !memmem(lines.data, len, not_required, sizeof not_required - 1)) {
            tally_buf_append(out, lines.data, len);
        }
        lines = tally_slice_of(lines.data + len, lines.len - len);
    }
}

static void check(struct exchange *exchange, enum tally_health health, const char *name)
{
    bool verbose = request_query(&exchange->request, "verbose").data != NULL;
    struct tally_buf lines;
    bool passes;

    tally_buf_init(&lines, LINES_BYTES_MAX);
    passes = tally_runtime_health(exchange->runtime, health, &lines);
    answer_text(exchange, passes ? 200 : 503);
    if (passes && !verbose) {
        tally_buf_string(&exchange->response.body, "ok");
    } else {
        if (verbose) {
            tally_buf_slice(&exchange->response.body, tally_buf_bytes(&lines));
        } else {
            add_failures(tally_buf_bytes(&lines), &exchange->response.body);
        }
        tally_buf_format(&exchange->response.body, "%s check %s\n", name,
                passes ? "passed" : "failed");
    }
    tally_buf_deinit(&lines);
}

void health_live(struct exchange *exchange)
{
    check(exchange, TALLY_HEALTH_LIVE, "livez");
}

void health_ready(struct exchange *exchange)
{
    check(exchange, TALLY_HEALTH_READY, "readyz");
}

/* `restoring 42 %, 120000 records left, 3 s`: the time by the rate since the server started. */
static void add_progress(struct exchange *exchange, struct tally_buf *out)
{
    size_t count = tally_runtime_tasks(exchange->runtime, NULL, 0);
    struct tally_task_info *tasks;
    int64_t left = 0, total = 0, done, elapsed_ms, seconds;

    count = count < TASKS_MAX ? count : TASKS_MAX;
    tasks = tally_arena_alloc(&exchange->arena, (count + 1) * sizeof *tasks);
    (void)tally_runtime_tasks(exchange->runtime, tasks, count);
    for (size_t i = 0; i < count; i++) {
        left += tasks[i].restore_left;
        total += tasks[i].restore_total;
    }
    done = total - left;
    elapsed_ms = (tally_mono_us(tally_clock_real()) - exchange->started_us) / 1000;
    seconds = done > 0 ? left * elapsed_ms / done / 1000 + 1 : 0;
    tally_buf_format(out, "restoring %lld %%, %lld records left, %lld s",
            (long long)(total > 0 ? done * 100 / total : 0), (long long)left, (long long)seconds);
}

void health_startup(struct exchange *exchange)
{
    bool verbose = request_query(&exchange->request, "verbose").data != NULL;
    bool passes = tally_runtime_health(exchange->runtime, TALLY_HEALTH_STARTED, NULL);

    answer_text(exchange, passes ? 200 : 503);
    if (!passes) {
        add_progress(exchange, &exchange->response.body);
        tally_buf_string(&exchange->response.body, verbose ? "\n" : "");
    } else if (!verbose) {
        tally_buf_string(&exchange->response.body, "ok");
    }
    if (verbose) {
        tally_buf_format(&exchange->response.body, "startupz check %s\n",
                passes ? "passed" : "failed");
    }
}
