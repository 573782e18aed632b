/* apps/task_rows.c - see the header. */
#include "apps/task_rows.h"

#include <errno.h>
#include <string.h>

#include "apps/cli.h"
#include "apps/work_list.h"
#include "http/row_line.h"

#define LINE_MAX_BYTES (16 * 1024 * 1024)

static const uint8_t first_store[] = {1}; /* byte 0 is the store's own */

struct reading {
    const char *dir;
    const struct state_task *tasks;
    FILE *dump;
    struct task_rows *rows;
};

struct sum {
    struct reading *reading;
    struct work_list *list;
    struct task_rows *rows;
    struct tally_digest *digest;
    struct tally_buf line;
};

static bool take_row(void *context, const struct state_task *task, struct tally_slice key,
        struct tally_slice value)
{
    struct sum *sum = context;
    FILE *dump = sum->reading->dump;

    tally_buf_clear(&sum->line);
    sum->rows->damaged +=
            !tally_row_line_write(task->topology, task->partition, key, value, &sum->line);
    sum->rows->rows++;
    tally_digest_add(sum->digest, tally_buf_bytes(&sum->line));
    if (dump && fwrite(sum->line.data, sum->line.len, 1, dump) != 1) {
        sum->rows->code = tally_error_set(&sum->rows->err, TALLY_SYSTEM,
                "the dump cannot be written: %s", strerror(errno));
    }
    return sum->rows->code == TALLY_OK && !work_list_stopped(sum->list);
}

static void read_tasks(void *context, int thread, struct work_list *list)
{
    struct reading *reading = context;
    struct sum sum = {.reading = reading, .list = list};
    size_t index;

    (void)thread;
    tally_buf_init(&sum.line, LINE_MAX_BYTES);
    while (work_list_take(list, &index)) {
        struct task_rows *rows = &reading->rows[index];
        enum tally_code code;

        *rows = (struct task_rows){.rows = 0};
        sum.rows = rows;
        sum.digest = tally_digest_create();
        code = state_reader_scan(reading->dir, &reading->tasks[index],
                tally_slice_of(first_store, 1), TALLY_NONE, take_row, &sum, &rows->err);
        rows->code = code ? code : rows->code;
        tally_digest_read(sum.digest, rows->hash);
        tally_digest_destroy(sum.digest);
    }
    tally_buf_deinit(&sum.line);
}

static bool tick(void *context)
{
    (void)context;
    return !cli_interrupted();
}

bool task_rows_read(const char *dir, const struct state_task *tasks, size_t count,
        long long threads, FILE *dump, struct task_rows *rows)
{
    struct reading reading = {.dir = dir, .tasks = tasks, .dump = dump, .rows = rows};

    work_list_run(count, dump ? 1 : work_list_threads(threads, count), read_tasks, tick, &reading);
    return !cli_interrupted();
}
