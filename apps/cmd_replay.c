/* apps/cmd_replay.c - a part of the log once more, into a directory of its own: what a number was
 * at a time, what a release makes of old events, what a state should be.
 *  (1) Nothing but that directory is written: no topic, no group, nothing of an instance.
 *  (2) Without --execute nothing is written at all. A value that is wrong for one task refuses all.
 *  (3) Interrupted or killed anywhere it is run again, and goes on. */
#include "apps/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "apps/instance.h"
#include "apps/replay_range.h"
#include "apps/replay_run.h"
#include "apps/shadow.h"
#include "apps/task_rows.h"
#include "connectors/kafka_client.h"
#include "connectors/kafka_log_ends.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "schemas/serde.h"

#define LINE_MAX_BYTES (64 * 1024)
#define BROKERS_MS     10000
#define PARTITIONS_MAX 256 /* that -p names */

enum { FORM_TEXT, FORM_JSON };

struct replay_task {
    const struct tally_topology *topology;
    int32_t partition;
    struct replay_log log;
    struct replay_have have;
    struct replay_range range;
};

struct replay {
    struct cli *cli;
    const char *into, *dump, *topology; /* NULL: not said */
    const char *partitions_text, *from_text, *to_text;
    bool execute, hash, no_hash;
    int form;
    int32_t partitions[PARTITIONS_MAX];
    size_t partition_count; /* 0: all */
    struct replay_point from, to;
    struct shadow shadow;
    struct instance instance;
    struct tally_client *client;
    struct tally_log_ends *ends;
    struct tally_replay_place *place;
    struct replay_task *tasks;
    size_t count, left_out;
    struct tally_buf line;
};

/* --- the command line ------------------------------------------------------------------------- */

static int parse_partitions(struct replay *replay)
{
    const char *text = replay->partitions_text;

    while (text && *text) {
        size_t len = strcspn(text, ",");
        int64_t value;

        if (!tally_parse_int(tally_slice_of(text, len), &value) || value < 0 || value > INT32_MAX ||
                replay->partition_count == PARTITIONS_MAX) {
            return cli_usage(replay->cli,
                    "--partition: expected numbers joined by commas, got \"%s\"; for example -p 0 "
                    "or -p 0,3",
                    replay->partitions_text);
        }
        replay->partitions[replay->partition_count++] = (int32_t)value;
        text += len + (text[len] == ',');
    }
    return CLI_CONTINUE;
}

static bool is_offset(const struct replay_point *point)
{
    return point->kind == REPLAY_OFFSET;
}

static int parse(struct replay *replay)
{
    struct tally_error err;
    enum tally_code code = replay_range_parse_from(replay->from_text, &replay->from, &err);

    code = code ? code : replay_range_parse_to(replay->to_text, &replay->to, &err);
    code = code ? code
                : replay_range_check(&replay->from, &replay->to, tally_wall_ms(tally_clock_real()),
                          &err);
    if (code) {
        return cli_usage(replay->cli, "%s", err.message);
    }
    if (parse_partitions(replay) != CLI_CONTINUE) {
        return CLI_USAGE;
    }
    if ((is_offset(&replay->from) || is_offset(&replay->to)) &&
            (!replay->topology || replay->partition_count != 1)) {
        return cli_usage(replay->cli,
                "%s %s: an offset is of one partition's log: name it, as in --topology stock "
                "--partition 2, or give a time",
                is_offset(&replay->to) ? "--to" : "--from",
                is_offset(&replay->to) ? replay->to_text : replay->from_text);
    }
    if (!replay->into && (replay->execute || replay->hash)) {
        return cli_usage(replay->cli, "%s needs a directory, as in --into ./shadow",
                replay->execute ? "--execute" : "--hash");
    }
    if (replay->hash && (replay->execute || replay->no_hash)) {
        return cli_usage(replay->cli, "--hash reads the directory as it is: leave --%s out",
                replay->execute ? "execute" : "no-hash");
    }
    if (replay->dump && !replay->execute && !replay->hash) {
        return cli_usage(replay->cli, "--dump needs --execute, or --hash for a directory as it is");
    }
    return CLI_CONTINUE;
}

static bool wanted(const struct replay *replay, const char *topology, int32_t partition)
{
    bool found = replay->partition_count == 0;

    for (size_t i = 0; i < replay->partition_count; i++) {
        found = found || replay->partitions[i] == partition;
    }
    return found && (!replay->topology || strcmp(replay->topology, topology) == 0);
}

/* --- what there is ---------------------------------------------------------------------------- */

static enum tally_code ask_log(struct replay *replay, struct replay_task *task,
        struct tally_error *err)
{
    struct replay_log *log = &task->log;
    enum tally_code code;

    *log = (struct replay_log){.topic = tally_topology_output(task->topology),
            .partition = task->partition,
            .compacted = tally_topology_projection(task->topology) != NULL,
            .from_at = -1,
            .to_at = -1};
    code = tally_log_ends_read(replay->ends, log->topic, log->partition, &log->low, &log->end, err);
    if (!code && replay->from.kind == REPLAY_TIME) {
        code = tally_log_ends_at(replay->ends, log->topic, log->partition, replay->from.value,
                &log->from_at, err);
    }
    if (!code && replay->to.kind == REPLAY_TIME) {
        code = tally_log_ends_at(replay->ends, log->topic, log->partition, replay->to.value,
                &log->to_at, err);
    }
    return code;
}

/* A directory of which the file says that it is there may not have been made yet. */
static enum tally_code ask_shadow(const struct replay *replay, struct replay_task *task,
        struct tally_error *err)
{
    const char *topology = tally_topology_name(task->topology);
    const struct shadow_part *part =
            replay->into ? shadow_find(&replay->shadow, topology, task->partition) : NULL;
    struct tally_positions positions = {.out_last = -1};
    enum tally_code code;

    task->have = (struct replay_have){.dir = replay->into, .from = -1, .last = -1, .next = -1};
    if (!part) {
        return TALLY_OK;
    }
    code = tally_replay_positions(replay->place, replay->into, topology, task->partition,
            part->from, &positions, err);
    if (code && code != TALLY_NOT_FOUND) {
        return code;
    }
    task->have.present = true;
    task->have.from = part->from;
    task->have.last = code ? -1 : positions.out_last;
    task->have.next = code ? -1 : part->next;
    return TALLY_OK;
}

static enum tally_code find_tasks(struct replay *replay, int32_t partitions,
        struct tally_error *err)
{
    bool whole = replay->from.kind <= REPLAY_END && replay->to.kind <= REPLAY_END;

    replay->tasks = tally_alloc_zero(replay->instance.topology_count * (size_t)partitions + 1,
            sizeof *replay->tasks);
    for (size_t i = 0; i < replay->instance.topology_count; i++) {
        const struct tally_topology *topology = replay->instance.topologies[i];
        bool part_only = tally_topology_projection(topology) && !whole && !replay->topology;

        for (int32_t p = 0; p < partitions; p++) {
            if (!wanted(replay, tally_topology_name(topology), p)) {
                continue;
            }
            if (part_only) {
                replay->left_out++;
                continue;
            }
            replay->tasks[replay->count++] =
                    (struct replay_task){.topology = topology, .partition = p};
        }
    }
    for (size_t i = 0; i < replay->partition_count; i++) {
        if (replay->partitions[i] >= partitions) {
            return tally_error_set(err, TALLY_CONFIG,
                    "--partition %d: the topics have %d partitions, 0 to %d; for example -p %d",
                    (int)replay->partitions[i], (int)partitions, (int)partitions - 1,
                    (int)partitions - 1);
        }
    }
    return replay->count > 0
                   ? TALLY_OK
                   : tally_error_set(err, TALLY_CONFIG,
                             "--topology %.60s: the settings have no such topology; for example "
                             "--topology %s",
                             replay->topology ? replay->topology : "", replay->instance.names[0]);
}

static int by_name(const void *left, const void *right)
{
    const struct replay_task *a = left, *b = right;
    int order = strcmp(tally_topology_name(a->topology), tally_topology_name(b->topology));

    return order ? order : (a->partition > b->partition) - (a->partition < b->partition);
}

static enum tally_code open_log(struct replay *replay, struct tally_error *err)
{
    const struct tally_config *config = &replay->cli->config;
    int32_t partitions = 0;
    enum tally_code code = instance_build(&replay->instance, config, err);

    code = code ? code : tally_kafka_client_create(config, NULL, &replay->client, err);
    code = code ? code
                : replay->client->ops->partitions(replay->client,
                          tally_topology_output(replay->instance.topologies[0]), BROKERS_MS,
                          &partitions, err);
    if (code && tally_code_reaction(code) == TALLY_REACT_RETRY) {
        tally_error_context(err, "kafka.bootstrap.servers %s", config->kafka_servers);
    }
    code = code ? code : tally_log_ends_open(config, &replay->ends, err);
    code = code ? code : find_tasks(replay, partitions, err);
    if (code) {
        return code;
    }
    qsort(replay->tasks, replay->count, sizeof *replay->tasks, by_name);
    replay->place = tally_replay_place_create(&(struct tally_replay_options){
            .topologies = replay->instance.topologies,
            .topology_count = replay->instance.topology_count,
            .config = config,
            .client = replay->client,
            .clock = tally_clock_real(),
            .partitions = partitions,
            .dir = replay->into,
            .strict = true,
    });
    return TALLY_OK;
}

/* A time that no log reaches is a mistake; that one log does not is none. */
static enum tally_code check_times(const struct replay *replay, struct tally_error *err)
{
    bool from_found = false, to_found = false;

    for (size_t i = 0; i < replay->count; i++) {
        const struct replay_log *log = &replay->tasks[i].log;

        from_found = from_found || log->from_at >= 0;
        to_found = to_found || log->to_at < 0 || log->to_at > log->low;
    }
    if (replay->from.kind == REPLAY_TIME && !from_found) {
        return tally_error_set(err, TALLY_CONFIG,
                "--from %.40s: no log has a record of that time or later; give an earlier time, or "
                "--from start",
                replay->from_text);
    }
    if (replay->to.kind == REPLAY_TIME && !to_found) {
        return tally_error_set(err, TALLY_CONFIG,
                "--to %.40s: no log has a record from before that time; give a later one, or "
                "--to end",
                replay->to_text);
    }
    return TALLY_OK;
}

/* An exit status; every task that is refused is named. */
static int find_ranges(struct replay *replay)
{
    struct tally_error err;
    int status = CLI_CONTINUE;

    for (size_t i = 0; i < replay->count; i++) {
        struct replay_task *task = &replay->tasks[i];
        enum tally_code code = ask_log(replay, task, &err);

        code = code ? code : ask_shadow(replay, task, &err);
        code = code ? code
                    : replay_range_find(&replay->from, &replay->to, &task->log, &task->have,
                              &task->range, &err);
        if (code) {
            int refused =
                    cli_failed(replay->cli, "%s/%d: %s: %s", tally_topology_name(task->topology),
                            (int)task->partition, tally_code_name(code), err.message);

            status = status == CLI_FAILED || code != TALLY_CONFIG ? refused : CLI_USAGE;
        }
    }
    if (status == CLI_CONTINUE && check_times(replay, &err)) {
        (void)cli_error(replay->cli, &err);
        status = CLI_USAGE;
    }
    return status;
}

/* --- what is printed -------------------------------------------------------------------------- */

static const char *into_word(const struct replay_task *task)
{
    return task->range.complete ? "complete" : task->have.last >= 0 ? "goes on" : "new";
}

static void put_plan_json(const struct replay_task *task, struct tally_buf *out)
{
    int64_t from = task->range.part.from;
    struct tally_writer writer;

    tally_write_begin(&writer, out, TALLY_FORMAT_JSON);
    tally_write_map(&writer, 10);
    cli_write_text(&writer, "topology", tally_topology_name(task->topology));
    cli_write_number(&writer, "partition", task->partition);
    cli_write_text(&writer, "topic", task->log.topic);
    cli_write_number(&writer, "log_low", task->log.low);
    cli_write_number(&writer, "log_end", task->log.end);
    cli_write_number(&writer, "from", from >= 0 ? from : task->log.low);
    cli_write_number(&writer, "to", task->range.part.last);
    cli_write_number(&writer, "offsets",
            replay_range_offsets(&task->range, &task->log, &task->have));
    cli_write_number(&writer, "at", task->have.last);
    cli_write_text(&writer, "into", into_word(task));
    tally_buf_byte(out, '\n');
}

static void put_plan(const struct replay_task *task, struct tally_buf *out)
{
    const struct replay_log *log = &task->log;
    int64_t from = task->range.part.from >= 0 ? task->range.part.from : log->low;

    tally_buf_format(out, "%s/%d %s: log %lld to %lld, ", tally_topology_name(task->topology),
            (int)task->partition, log->topic, (long long)log->low, (long long)log->end - 1);
    if (task->range.part.last >= from) {
        tally_buf_format(out, "replay %lld to %lld", (long long)from,
                (long long)task->range.part.last);
    } else {
        tally_buf_string(out, "replay nothing");
    }
    if (task->range.part.from >= 0) {
        tally_buf_string(out, " alone");
    }
    if (task->range.complete) {
        tally_buf_string(out, ", which is there already");
    } else if (task->have.last >= 0) {
        tally_buf_format(out, ", of which the directory has those up to %lld",
                (long long)task->have.last);
    }
    tally_buf_byte(out, '\n');
}

static int print_plan(struct replay *replay)
{
    int64_t offsets = 0;

    for (size_t i = 0; i < replay->count; i++) {
        const struct replay_task *task = &replay->tasks[i];

        tally_buf_clear(&replay->line);
        (replay->form == FORM_JSON ? put_plan_json : put_plan)(task, &replay->line);
        offsets += replay_range_offsets(&task->range, &task->log, &task->have);
        if (!cli_write(replay->cli, tally_buf_bytes(&replay->line))) {
            return CLI_FAILED;
        }
    }
    fprintf(stderr,
            "%zu tasks, %lld offsets to read%s%s; nothing is done yet, --execute does it%s\n",
            replay->count, (long long)offsets, replay->into ? " into " : "",
            replay->into ? replay->into : "", replay->into ? "" : " with --into DIR");
    return CLI_OK;
}

/* rows NULL: they were not read. */
static void put_result(struct replay *replay, const struct state_task *task, const char *topic,
        int64_t from, int64_t last, const struct task_rows *rows)
{
    struct tally_buf *out = &replay->line;
    struct tally_writer writer;
    char position[300] = "";

    if (last >= 0) {
        (void)snprintf(position, sizeof position, "%s/%d@%lld", topic, (int)task->partition,
                (long long)last);
    }
    tally_buf_clear(out);
    if (replay->form == FORM_JSON) {
        tally_write_begin(&writer, out, TALLY_FORMAT_JSON);
        tally_write_map(&writer, rows ? 6 : 4);
        cli_write_text(&writer, "topology", task->topology);
        cli_write_number(&writer, "partition", task->partition);
        cli_write_number(&writer, "from", from);
        cli_write_text(&writer, "position", position);
        if (rows) {
            cli_write_number(&writer, "rows", (int64_t)rows->rows);
            cli_write_text(&writer, "hash", rows->hash);
        }
        tally_buf_byte(out, '\n');
        return;
    }
    tally_buf_format(out, "%s/%d at %s", task->topology, (int)task->partition,
            last >= 0 ? position : "nothing");
    if (from >= 0) {
        tally_buf_format(out, ", from %lld alone", (long long)from);
    }
    if (rows) {
        tally_buf_format(out, ", %llu rows, %s", (unsigned long long)rows->rows, rows->hash);
    }
    tally_buf_byte(out, '\n');
}

/* --- what the directory has ------------------------------------------------------------------- */

static const char *topic_of(const struct replay *replay, const char *topology)
{
    for (size_t i = 0; i < replay->instance.topology_count; i++) {
        if (strcmp(tally_topology_name(replay->instance.topologies[i]), topology) == 0) {
            return tally_topology_output(replay->instance.topologies[i]);
        }
    }
    return topology;
}

/* One task's line; its exit status. */
static int report_task(struct replay *replay, const struct state_task *task,
        const struct task_rows *rows)
{
    const struct shadow_part *part = shadow_find(&replay->shadow, task->topology, task->partition);
    struct tally_positions positions;
    struct tally_error err;
    enum tally_code code = state_reader_positions(replay->into, task, &positions, &err);

    if (!code && rows && rows->code) {
        code = rows->code;
        err = rows->err;
    }
    if (code) {
        return cli_failed(replay->cli, "%s/%d: %s: %s", task->topology, (int)task->partition,
                tally_code_name(code), err.message);
    }
    put_result(replay, task, topic_of(replay, task->topology), part ? part->from : -1,
            positions.out_last, rows);
    if (!cli_write(replay->cli, tally_buf_bytes(&replay->line))) {
        return CLI_FAILED;
    }
    return rows && rows->damaged > 0
                   ? cli_failed(replay->cli, "%s/%d: %llu rows are damaged", task->topology,
                             (int)task->partition, (unsigned long long)rows->damaged)
                   : CLI_OK;
}

static int read_rows(struct replay *replay, const struct state_task *tasks, size_t count,
        struct task_rows *rows)
{
    FILE *dump = replay->dump ? fopen(replay->dump, "w") : NULL;
    bool whole;

    if (replay->dump && !dump) {
        return cli_failed(replay->cli, "--dump: \"%s\": %s", replay->dump, strerror(errno));
    }
    whole = task_rows_read(replay->into, tasks, count, replay->cli->config.engine_threads, dump,
            rows);
    if (dump && fclose(dump)) {
        return cli_failed(replay->cli, "--dump: \"%s\" cannot be written: %s", replay->dump,
                strerror(errno));
    }
    return whole ? CLI_OK : CLI_INTERRUPTED;
}

static int report(struct replay *replay, const struct state_task *tasks, size_t count)
{
    bool reads = !replay->no_hash || replay->dump;
    struct task_rows *rows = tally_alloc_zero(count + 1, sizeof *rows);
    int status = reads ? read_rows(replay, tasks, count, rows) : CLI_OK;

    for (size_t i = 0; i < count && status != CLI_INTERRUPTED; i++) {
        int told = report_task(replay, &tasks[i], reads ? &rows[i] : NULL);

        status = status ? status : told;
    }
    tally_free(rows);
    return status;
}

/* --hash: no log is asked. */
static int report_directory(struct replay *replay)
{
    struct state_task *tasks = NULL;
    struct tally_error err;
    size_t count = 0, kept = 0;
    int status;

    if (instance_build(&replay->instance, &replay->cli->config, &err) ||
            state_reader_tasks(replay->into, &tasks, &count, &err)) {
        return cli_error(replay->cli, &err);
    }
    for (size_t i = 0; i < count; i++) {
        if (wanted(replay, tasks[i].topology, tasks[i].partition)) {
            tasks[kept++] = tasks[i];
        }
    }
    status = kept > 0 ? report(replay, tasks, kept)
                      : cli_failed(replay->cli,
                                "\"%s\" has nothing of what --topology and "
                                "--partition name",
                                replay->into);
    tally_free(tasks);
    return status;
}

/* --- carried out ------------------------------------------------------------------------------ */

static int64_t records_read(const struct replay *replay)
{
    int64_t sum = 0;

    for (size_t i = 0; i < replay->instance.topology_count; i++) {
        sum += tally_series_read(tally_series_of(TALLY_METRIC_RESTORED,
                tally_topology_name(replay->instance.topologies[i])));
    }
    return sum;
}

static size_t make_jobs(struct replay *replay, struct replay_job *jobs)
{
    size_t count = 0;

    for (size_t i = 0; i < replay->count; i++) {
        const struct replay_task *task = &replay->tasks[i];
        const char *topology = tally_topology_name(task->topology);

        if (!task->range.complete) {
            jobs[count].topology = topology;
            jobs[count].partition = task->partition;
            jobs[count].part = task->range.part;
            jobs[count].offsets = replay_range_offsets(&task->range, &task->log, &task->have);
            count++;
        }
        if (!shadow_find(&replay->shadow, topology, task->partition)) {
            (void)shadow_add(&replay->shadow, topology, task->partition, task->range.part.from);
        }
    }
    return count;
}

/* How many tasks did not get to their end; each is named. */
static size_t note_results(struct replay *replay, const struct replay_job *jobs, size_t count)
{
    size_t unfinished = 0;

    for (size_t i = 0; i < count; i++) {
        const struct replay_job *job = &jobs[i];

        if (job->finished) {
            shadow_find(&replay->shadow, job->topology, job->partition)->next = job->part.last + 1;
            continue;
        }
        unfinished++;
        if (job->code) {
            (void)cli_failed(replay->cli, "%s/%d: %s: %s", job->topology, (int)job->partition,
                    tally_code_name(job->code), job->err.message);
        }
    }
    return unfinished;
}

static void summarize(const struct replay *replay, const struct replay_job *jobs, size_t count,
        double seconds, double settled)
{
    size_t finished = 0;

    for (size_t i = 0; i < count; i++) {
        finished += jobs[i].finished;
    }
    fprintf(stderr,
            "replayed %lld records of %zu tasks in %.3f s, %lld records/s; on the disk after %.3f "
            "s\n",
            (long long)records_read(replay), finished, seconds,
            (long long)((double)records_read(replay) / seconds), settled);
}

static int run_jobs(struct replay *replay, struct replay_job *jobs, size_t count,
        size_t *unfinished)
{
    struct progress progress;
    struct replay_run run = {.place = replay->place,
            .jobs = jobs,
            .count = count,
            .threads = replay->cli->config.engine_threads,
            .progress = &progress};
    struct tally_error err;
    double seconds;
    bool whole;

    if (shadow_save(&replay->shadow, &err) || tally_replay_place_open(replay->place, &err)) {
        return cli_error(replay->cli, &err);
    }
    progress_begin(&progress, tally_clock_real(), true);
    whole = replay_run(&run);
    seconds = progress_seconds(&progress);
    progress_end(&progress);
    replay_run_settle(&run);
    *unfinished = note_results(replay, jobs, count);
    summarize(replay, jobs, count, seconds, progress_seconds(&progress));
    tally_replay_place_destroy(replay->place); /* the directory is read by itself from here on */
    replay->place = NULL;
    if (shadow_save(&replay->shadow, &err)) {
        return cli_error(replay->cli, &err);
    }
    if (!whole) {
        fprintf(stderr, "interrupted: the same command goes on where it is\n");
        return CLI_INTERRUPTED;
    }
    return CLI_OK;
}

static int execute(struct replay *replay)
{
    struct replay_job *jobs = tally_alloc_zero(replay->count + 1, sizeof *jobs);
    struct state_task *tasks = tally_alloc_zero(replay->count + 1, sizeof *tasks);
    size_t count = make_jobs(replay, jobs), unfinished = 0, shown = 0;
    int status = CLI_OK, told;

    if (count > 0) {
        status = run_jobs(replay, jobs, count, &unfinished);
    }
    for (size_t i = 0; i < replay->count; i++) {
        const struct replay_task *task = &replay->tasks[i];
        const char *topology = tally_topology_name(task->topology);
        const struct shadow_part *part = shadow_find(&replay->shadow, topology, task->partition);

        if (part->next > task->range.part.last || task->range.complete) {
            (void)snprintf(tasks[shown].topology, sizeof tasks[shown].topology, "%s", topology);
            tasks[shown++].partition = task->partition;
        }
    }
    if (status == CLI_OK) {
        told = report(replay, tasks, shown);
        status = told ? told : unfinished > 0 ? shown > 0 ? CLI_PARTIAL : CLI_FAILED : CLI_OK;
    }
    tally_free(jobs);
    tally_free(tasks);
    return status;
}

static int act(struct replay *replay)
{
    struct tally_error err;
    int status;

    if (replay->into) {
        enum tally_code code =
                shadow_open(&replay->shadow, replay->into, replay->cli->config.state_dir, &err);

        if (code) {
            (void)cli_error(replay->cli, &err);
            return code == TALLY_CONFIG ? CLI_USAGE : CLI_FAILED;
        }
        if (replay->hash) {
            return report_directory(replay);
        }
    }
    if (open_log(replay, &err)) {
        (void)cli_error(replay->cli, &err);
        return err.code == TALLY_CONFIG ? CLI_USAGE : CLI_FAILED;
    }
    status = find_ranges(replay);
    if (status != CLI_CONTINUE) {
        return status;
    }
    if (replay->left_out > 0) {
        fprintf(stderr,
                "%zu tasks of projections are left out: their logs have the newest rows "
                "only, so they are replayed whole or not at all\n",
                replay->left_out);
    }
    return replay->execute ? execute(replay) : print_plan(replay);
}

static void deinit(struct replay *replay)
{
    tally_replay_place_destroy(replay->place);
    tally_log_ends_close(replay->ends);
    if (replay->client) {
        replay->client->ops->destroy(replay->client);
    }
    shadow_deinit(&replay->shadow);
    tally_free(replay->tasks);
    instance_deinit(&replay->instance);
    tally_buf_deinit(&replay->line);
}

int cmd_replay(int argc, char **argv)
{
    static const char *const forms[] = {[FORM_TEXT] = "text", [FORM_JSON] = "json", NULL};
    struct replay replay = {.form = FORM_TEXT};
    const struct cli_option options[] = {
            CLI_OPT_TEXT(0, "into", &replay.into, "DIR",
                    "directory to fill: a new one, or a replay to go on with"),
            CLI_OPT_TEXT('t', "topology", &replay.topology, "NAME", "only this topology"),
            CLI_OPT_TEXT('p', "partition", &replay.partitions_text, "N,...",
                    "only these partitions"),
            CLI_OPT_TEXT(0, "from", &replay.from_text, "WHERE",
                    "start (default), an offset or a time; later than the start: of these events "
                    "alone"),
            CLI_OPT_TEXT(0, "to", &replay.to_text, "WHERE",
                    "end (default), an offset, which is the last one, or a time, which is not in "
                    "it"),
            CLI_OPT_FLAG(0, "execute", &replay.execute, "carry the plan out"),
            CLI_OPT_TEXT(0, "dump", &replay.dump, "FILE", "write all rows, as tally fsck --dump"),
            CLI_OPT_FLAG(0, "hash", &replay.hash, "hash the directory as it is, and read no log"),
            CLI_OPT_FLAG(0, "no-hash", &replay.no_hash, "do not count and hash the rows"),
            CLI_OPT_CHOICE('o', "output", &replay.form, forms, "FORM", "text (default) or json"),
            CLI_OPT_BROKERS, CLI_OPT_END};
    struct cli cli = {.verb = "replay",
            .usage = "replay --into DIR [options]",
            .options = options,
            .about =
                    "Builds state once more from the events, or a part of them, in a directory of "
                    "its own: by\n"
                    "the restore that a start does, and with nothing written to a topic or a "
                    "group. Prints a\n"
                    "plan; with --execute it is carried out, and prints for each task its "
                    "position, "
                    "the\n"
                    "number of rows and the XXH3-128 of their dump. Times are those of the records "
                    "in the\n"
                    "log, in UTC. A replay that was interrupted, or ends at an earlier offset, is "
                    "gone on\n"
                    "with by naming its directory again. From an offset or time behind the start "
                    "the state is\n"
                    "the fold of those events alone, and no instance takes it for its own. It "
                    "stops where a\n"
                    "record is not tally's, or the log lacks some, and says where. Projections "
                    "are replayed\n"
                    "whole. Other tools read the directory with --state DIR.",
            .examples = "  tally replay --into ./shadow\n"
                        "  tally replay --into ./shadow --execute\n"
                        "  tally replay --into ./noon --to 2026-01-15T12:00:00Z --execute --dump "
                        "noon.ndjson\n"
                        "  tally replay --into ./p2 -t stock -p 2 --to 991 --execute -o json\n"
                        "  tally diff ./shadow http://127.0.0.1:8080\n"};
    int status = cli_begin(&cli, argc, argv);

    replay.cli = &cli;
    tally_buf_init(&replay.line, LINE_MAX_BYTES);
    status = status == CLI_CONTINUE ? parse(&replay) : status;
    if (status == CLI_CONTINUE) {
        cli_catch_interrupts();
        tally_log_init(TALLY_LOG_WARN, TALLY_LOG_LOGFMT);
        status = cli_finish(&cli, act(&replay));
    }
    deinit(&replay);
    cli_end(&cli);
    return status;
}
