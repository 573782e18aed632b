/* engine/runtime_metrics.c - numbers that are only worth computing when somebody looks: sizes of
 * state, lags in seconds, what the operating system knows of the process, and the same positions by
 * the names of kafka_exporter.
 * Invariants
 *  (1) A partition that belongs to another instance has no lag here: the sum over instances counts
 *      it once.
 *  (2) What cannot be read is not shown; nothing here fails. */
#include "engine/runtime_metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "engine/base/metrics.h"
#include "engine/runtime_internal.h"

static void collect_memory(struct tally_runtime *runtime)
{
    int64_t overlays, runs, cache;

    (void)tally_state_memory(runtime->state, &overlays, &runs, &cache);
    tally_series_set(tally_series_of(TALLY_METRIC_STATE_MEMORY, "overlay"), overlays);
    tally_series_set(tally_series_of(TALLY_METRIC_STATE_MEMORY, "runs"), runs);
    tally_series_set(tally_series_of(TALLY_METRIC_STATE_MEMORY, "cache"), cache);
}

static void collect_disk(struct tally_runtime *runtime)
{
    struct statvfs disk;
    bool known = statvfs(runtime->options.config->state_dir, &disk) == 0;

    tally_series_set(tally_series_of(TALLY_METRIC_STATE_FREE),
            known ? (int64_t)(disk.f_bavail * disk.f_frsize) : TALLY_SERIES_HIDDEN);
}

/* --- lags ------------------------------------------------------------------------------------- */

static void show_group(struct tally_runtime *runtime, struct tally_task_slot *slot, bool owned)
{
    const char *projection = tally_topology_group(slot->topology);
    const char *topic = tally_topology_input(slot->topology);
    int64_t position = atomic_load(&slot->in_next), lag = atomic_load(&slot->lag);
    bool known = owned && lag >= 0;
    char group[160], partition[16];

    (void)snprintf(group, sizeof group, "%s%s%s", runtime->options.config->app_id,
            projection ? "-" : "", projection ? projection : "");
    (void)snprintf(partition, sizeof partition, "%d", slot->partition);
    tally_series_set(tally_series_of(TALLY_METRIC_GROUP_LAG, group, topic, partition),
            known ? lag : TALLY_SERIES_HIDDEN);
    tally_series_set(tally_series_of(TALLY_METRIC_GROUP_OFFSET, group, topic, partition),
            known ? position : TALLY_SERIES_HIDDEN);
    if (known) {
        tally_series_set(tally_series_of(TALLY_METRIC_TOPIC_END, topic, partition), position + lag);
    }
    tally_series_set(tally_series_of(TALLY_METRIC_TOPIC_PARTITIONS, topic),
            runtime->options.partitions);
}

static int64_t age_seconds(struct tally_task_slot *slot, int64_t now_ms)
{
    int64_t as_of_ms = atomic_load(&slot->as_of_ms);

    if (atomic_load(&slot->lag) == 0 || as_of_ms == 0 || as_of_ms >= now_ms) {
        return 0;
    }
    return (now_ms - as_of_ms) / 1000;
}

/* Slots of a topology stand together. */
static void collect_lags(struct tally_runtime *runtime)
{
    bool compat = strcmp(runtime->options.config->metrics_compat, "kafka_exporter") == 0;
    int64_t now_ms = tally_wall_ms(runtime->options.clock), oldest_s = TALLY_SERIES_HIDDEN;
    size_t count = tally_task_registry_count(runtime->registry);

    for (size_t i = 0; i < count; i++) {
        struct tally_task_slot *slot = tally_task_registry_at(runtime->registry, i);
        bool owned = tally_task_slot_is_owned(slot);
        int64_t age_s = owned ? age_seconds(slot, now_ms) : TALLY_SERIES_HIDDEN;

        oldest_s = age_s > oldest_s ? age_s : oldest_s;
        if (compat) {
            show_group(runtime, slot, owned);
        }
        if (i + 1 == count ||
                tally_task_registry_at(runtime->registry, i + 1)->topology != slot->topology) {
            tally_series_set(tally_series_of(TALLY_METRIC_LAG_SECONDS,
                                     tally_topology_name(slot->topology)),
                    oldest_s);
            oldest_s = TALLY_SERIES_HIDDEN;
        }
    }
}

/* --- the process ------------------------------------------------------------------------------ */

static int64_t open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int64_t count = -1; /* the one that reads them */

    if (!dir) {
        return TALLY_SERIES_HIDDEN;
    }
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        count += entry->d_name[0] != '.';
    }
    (void)closedir(dir);
    return count;
}

static bool read_file(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, size - 1);

    if (fd >= 0) {
        (void)close(fd);
    }
    text[len > 0 ? len : 0] = 0;
    return len > 0;
}

/* Field 22 of proc(5) stat: ticks since boot; the second one may hold spaces. */
static int64_t start_seconds(int64_t now_s)
{
    char text[1024], up[64];
    char *at;

    if (!read_file("/proc/self/stat", text, sizeof text) ||
            !read_file("/proc/uptime", up, sizeof up)) {
        return TALLY_SERIES_HIDDEN;
    }
    at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    if (!at) {
        return TALLY_SERIES_HIDDEN;
    }
    return now_s - strtoll(up, NULL, 10) + strtoll(at, NULL, 10) / sysconf(_SC_CLK_TCK);
}

static int64_t resident_bytes(void)
{
    char text[128];
    char *pages;

    if (!read_file("/proc/self/statm", text, sizeof text)) {
        return TALLY_SERIES_HIDDEN;
    }
    (void)strtoll(text, &pages, 10);
    return strtoll(pages, NULL, 10) * sysconf(_SC_PAGESIZE);
}

static void collect_process(struct tally_runtime *runtime)
{
    struct tally_series *cpu = tally_series_of(TALLY_METRIC_CPU_TIME);
    struct tally_series *start = tally_series_of(TALLY_METRIC_START_TIME);
    struct rusage usage = {0};
    struct rlimit files = {0};

    (void)getrusage(RUSAGE_SELF, &usage);
    (void)getrlimit(RLIMIT_NOFILE, &files);
    tally_series_set(cpu, (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000) +
                                  usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    if (tally_series_read(start) <= 0) { /* fixed: it must not tremble by the second */
        tally_series_set(start, start_seconds(tally_wall_ms(runtime->options.clock) / 1000));
    }
    tally_series_set(tally_series_of(TALLY_METRIC_RESIDENT_MEMORY), resident_bytes());
    tally_series_set(tally_series_of(TALLY_METRIC_OPEN_FDS), open_files());
    tally_series_set(tally_series_of(TALLY_METRIC_MAX_FDS), (int64_t)files.rlim_cur);
}

void tally_runtime_collect(void *context)
{
    struct tally_runtime *runtime = context;

    collect_memory(runtime);
    collect_disk(runtime);
    tally_task_registry_show_sizes(runtime->registry);
    collect_lags(runtime);
    collect_process(runtime);
}
