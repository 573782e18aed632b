/* apps/state_reader.c - walks <dir>/<topology>/<partition>/, read only. */
#include "apps/state_reader.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"

static bool parse_partition(const char *name, int32_t *partition)
{
    int64_t value;

    if (!tally_parse_int(tally_slice_string(name), &value) || value < 0 || value > INT32_MAX) {
        return false;
    }
    *partition = (int32_t)value;
    return true;
}

static void add_topology(const char *dir, const char *topology, struct state_task **tasks,
        size_t *count)
{
    char *path = tally_copy_format("%s/%s", dir, topology);
    DIR *stream = opendir(path);
    const struct dirent *entry;
    int32_t partition;

    while (stream && (entry = readdir(stream)) != NULL) {
        if (parse_partition(entry->d_name, &partition)) {
            struct state_task *task;

            *tasks = tally_realloc(*tasks, (*count + 1) * sizeof **tasks);
            task = &(*tasks)[(*count)++];
            snprintf(task->topology, sizeof task->topology, "%s", topology);
            task->partition = partition;
        }
    }
    if (stream) {
        closedir(stream);
    }
    tally_free(path);
}

static int by_name(const void *left, const void *right)
{
    const struct state_task *a = left, *b = right;
    int order = strcmp(a->topology, b->topology);

    return order ? order : (a->partition > b->partition) - (a->partition < b->partition);
}

enum tally_code state_reader_tasks(const char *dir, struct state_task **tasks, size_t *count,
        struct tally_error *err)
{
    DIR *stream = opendir(dir);
    const struct dirent *entry;

    *tasks = NULL;
    *count = 0;
    if (!stream) {
        return tally_error_set(err, TALLY_NOT_FOUND, "could not read state directory \"%s\": %s",
                dir, strerror(errno));
    }
    while ((entry = readdir(stream)) != NULL) {
        if (entry->d_name[0] != '.' && strlen(entry->d_name) < sizeof(*tasks)->topology) {
            add_topology(dir, entry->d_name, tasks, count);
        }
    }
    closedir(stream);
    if (*count == 0) {
        return tally_error_set(err, TALLY_NOT_FOUND, "state directory \"%s\" holds no tasks", dir);
    }
    qsort(*tasks, *count, sizeof **tasks, by_name);
    return TALLY_OK;
}

enum tally_code state_reader_positions(const char *dir, const struct state_task *task,
        struct tally_positions *positions, struct tally_error *err)
{
    struct tally_store *store;
    struct tally_view *view;
    enum tally_code code =
            tally_store_open_read_only(dir, task->topology, task->partition, &store, err);

    if (code) {
        return code;
    }
    view = tally_store_view(store);
    *positions = *tally_view_positions(view);
    tally_view_unref(view);
    tally_store_close(store, false);
    return TALLY_OK;
}

enum tally_code state_reader_scan(const char *dir, const struct state_task *task,
        struct tally_slice lower, struct tally_slice upper, state_row_fn row, void *context,
        struct tally_error *err)
{
    struct tally_iterator *iterator = NULL;
    struct tally_view *view = NULL;
    struct tally_store *store = NULL;
    struct tally_slice key, value;
    enum tally_code code =
            tally_store_open_read_only(dir, task->topology, task->partition, &store, err);

    if (code)
        goto out;
    view = tally_store_view(store);
    iterator = tally_view_iterate(view, lower, upper, false);
    while (tally_iterator_next(iterator, &key, &value, &code, err)) {
        if (!row(context, task, key, value)) {
            break;
        }
    }
out:
    if (iterator) {
        tally_iterator_destroy(iterator);
        tally_view_unref(view);
    }
    if (store) {
        tally_store_close(store, false);
    }
    return code;
}
