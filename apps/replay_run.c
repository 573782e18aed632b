/* apps/replay_run.c - see the header. */
#include "apps/replay_run.h"

#include "apps/cli.h"
#include "apps/work_list.h"

enum { STEP_MS = 200 };

static enum tally_code read_log(struct tally_replay *replay, struct replay_job *job,
        const struct work_list *list, struct tally_error *err)
{
    enum tally_code code;
    int64_t done, total;

    do {
        code = tally_replay_step(replay, STEP_MS, err);
        if (code == TALLY_AGAIN) {
            tally_replay_progress(replay, &done, &total);
            atomic_store(&job->done, done < job->offsets ? done : job->offsets);
        }
    } while (code == TALLY_AGAIN && !work_list_stopped(list));
    return code;
}

/* TALLY_AGAIN: it was stopped. */
static enum tally_code replay_task(struct tally_replay *replay, struct replay_job *job,
        const struct work_list *list, struct tally_error *err)
{
    enum tally_code code =
            tally_replay_begin(replay, job->topology, job->partition, &job->part, err);

    if (code) {
        tally_replay_end(replay);
        return code;
    }
    code = read_log(replay, job, list, err);
    tally_replay_keep(replay);
    return code;
}

static void work(void *context, int thread, struct work_list *list)
{
    struct replay_run *run = context;
    struct tally_replay *replay = NULL;
    struct tally_error failure;
    enum tally_code failed = tally_replay_create(run->place, thread, &replay, &failure);
    size_t index;

    while (work_list_take(list, &index)) {
        struct replay_job *job = &run->jobs[index];

        job->err = failure;
        job->code = failed ? failed : replay_task(replay, job, list, &job->err);
        job->finished = job->code == TALLY_OK;
        if (job->finished) {
            atomic_store(&job->done, job->offsets);
        } else if (job->code == TALLY_AGAIN) {
            job->code = TALLY_OK;
        }
    }
    tally_replay_destroy(replay);
}

static bool tick(void *context)
{
    struct replay_run *run = context;
    int64_t done = 0, total = 0;
    double seconds, rate;

    if (cli_interrupted()) {
        return false;
    }
    if (!progress_due(run->progress)) {
        return true;
    }
    for (size_t i = 0; i < run->count; i++) {
        done += atomic_load(&run->jobs[i].done);
        total += run->jobs[i].offsets;
    }
    seconds = progress_seconds(run->progress);
    rate = (double)done / seconds;
    if (done > 0) {
        progress_print(run->progress,
                "replaying %zu tasks: %lld of %lld offsets, %lld %%; %lld offsets/s, about %.0f s "
                "left",
                run->count, (long long)done, (long long)total,
                (long long)(total > 0 ? done * 100 / total : 100), (long long)rate,
                (double)(total - done) / rate);
    } else {
        progress_print(run->progress, "replaying %zu tasks: %lld offsets, beginning", run->count,
                (long long)total);
    }
    return true;
}

bool replay_run(struct replay_run *run)
{
    work_list_run(run->count, work_list_threads(run->threads, run->count), work, tick, run);
    return !cli_interrupted();
}

void replay_run_settle(struct replay_run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        struct replay_job *job = &run->jobs[i];
        struct tally_error err;
        enum tally_code code =
                tally_replay_place_settle(run->place, job->topology, job->partition, &err);

        if (code && !job->code) {
            job->finished = false;
            job->code = code;
            job->err = err;
        }
    }
}
