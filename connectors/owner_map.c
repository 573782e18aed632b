/* connectors/owner_map.c - see owner_map.h.
 * Threads: "owners" asks Kafka; everybody else looks under the lock, and may wait for it. */
#include "connectors/owner_map.h"

#include <stdio.h>

#include "connectors/kafka_owners.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/thread.h"

enum {
    OLD_MS = 5000,    /* then it is asked for anew, while it is used */
    RECENT_MS = 200,  /* a task that had no owner then has none now */
    PAUSE_MS = 100,   /* between two questions */
    RETRY_MS = 1000,  /* after a question without an answer, before anybody waits for one again */
    ASK_MS = 2000,    /* that an answer may take */
    PLACES_MAX = 256, /* instances */
    GROUPS_MAX = 17   /* the aggregates' and one for each projection */
};

struct place {
    char address[TALLY_ADDRESS_BYTES_MAX];
};
struct table {
    struct place places[PLACES_MAX];
    size_t place_count;
    int16_t *owners;  /* of task x partition; -1: nobody */
    int64_t begun_ms; /* when it was asked for; 0: never */
};

struct task {
    const char *topology, *topic, *group; /* all of its group's name */
};

struct owner_map {
    struct task *tasks;
    size_t task_count;
    int32_t partitions;
    char address[TALLY_ADDRESS_BYTES_MAX]; /* of this instance */
    char *groups[GROUPS_MAX];
    size_t group_count;
    struct kafka_options kafka; /* @thread owners, as the two that follow */
    struct kafka_owners *kafka_owners;
    struct table *next;
    bool keyless; /* http.cursor.key is not set, and nobody was told what that means */
    struct tally_thread thread;

    struct tally_mutex mutex; /* guards all below */
    struct tally_cond wanted, told;
    struct table *table;
    int64_t doubted_ms, failed_ms; /* mono; 0: never */
    bool asks, stops;
};

static int64_t now_ms(void)
{
    return tally_mono_ms(tally_clock_real());
}

/* --- asking ----------------------------------------------------------------------------------- */

/* host:port, and nothing that an URL could take for something else: it comes from whoever is in the
 * group. */
static bool is_address(struct tally_slice text)
{
    static const char *const plain =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-";
    size_t at = 0, digits = 0;

    while (at < text.len && text.data[at] && strchr(plain, text.data[at])) {
        at++;
    }
    if (at == 0 || at == text.len || text.data[at] != ':') {
        return false;
    }
    for (at++; at < text.len && text.data[at] >= '0' && text.data[at] <= '9'; at++) {
        digits++;
    }
    return at == text.len && digits > 0 && digits <= 5;
}

/* -1: too many, or none was published. */
static int16_t place_of(struct table *table, struct tally_slice address)
{
    struct place *place;

    if (address.len >= sizeof place->address || !is_address(address)) {
        return -1;
    }
    for (size_t i = 0; i < table->place_count; i++) {
        if (tally_slice_equal(address, tally_slice_string(table->places[i].address))) {
            return (int16_t)i;
        }
    }
    if (table->place_count == PLACES_MAX) {
        return -1;
    }
    place = &table->places[table->place_count];
    (void)snprintf(place->address, sizeof place->address, "%.*s", (int)address.len,
            (const char *)address.data);
    return (int16_t)table->place_count++;
}

/* A topic may be read by two groups. */
static void take_owned(void *context, const struct kafka_owned *owned)
{
    struct owner_map *map = context;

    for (size_t i = 0; i < map->task_count; i++) {
        const struct task *task = &map->tasks[i];

        if (strcmp(task->topic, owned->topic) == 0 && strcmp(task->group, owned->group) == 0 &&
                owned->partition >= 0 && owned->partition < map->partitions) {
            map->next->owners[(int64_t)i * map->partitions + owned->partition] =
                    place_of(map->next, owned->address);
        }
    }
}

static void clear(struct owner_map *map, struct table *table)
{
    table->place_count = 0;
    table->begun_ms = now_ms();
    for (int64_t i = 0; i < (int64_t)map->task_count * map->partitions; i++) {
        table->owners[i] = -1;
    }
}

/* Each instance has made a key of its own, which is fine while it is alone. */
static void warn_of_keys(struct owner_map *map, const struct table *told)
{
    for (size_t i = 0; map->keyless && i < told->place_count; i++) {
        if (strcmp(told->places[i].address, map->address) != 0) {
            map->keyless = false;
            tally_log(TALLY_LOG_WARN,
                    "http.cursor.key is not set, and this is not the only instance: a cursor of "
                    "one "
                    "is refused by others, and a forwarded request counts twice against limits; "
                    "give all the same key",
                    TALLY_LOG_STR("other", told->places[i].address));
        }
    }
}

static void ask(struct owner_map *map)
{
    static struct tally_log_limit limit;
    struct tally_error err = {0};
    struct table *told = map->next;
    enum tally_code code;

    clear(map, told);
    code = kafka_owners_ask(map->kafka_owners, (const char **)map->groups, map->group_count, ASK_MS,
            take_owned, map, &err);
    if (!code) {
        warn_of_keys(map, told);
    }
    tally_mutex_lock(&map->mutex);
    if (code) {
        map->failed_ms = now_ms();
    } else {
        map->failed_ms = 0;
        map->next = map->table;
        map->table = told;
    }
    tally_cond_broadcast(&map->told);
    tally_mutex_unlock(&map->mutex);
    if (code && tally_log_allowed(&limit, 10000)) {
        tally_log_error(TALLY_LOG_WARN, "owners of partitions not known", &err);
    }
}

static void run(void *argument)
{
    struct owner_map *map = argument;
    int64_t next_ms = 0;

    tally_mutex_lock(&map->mutex);
    while (!map->stops) {
        int64_t left_ms = next_ms - now_ms();

        if (!map->asks || left_ms > 0) {
            (void)tally_cond_wait(&map->wanted, &map->mutex, map->asks ? left_ms : -1);
            continue;
        }
        map->asks = false;
        tally_mutex_unlock(&map->mutex);
        ask(map);
        next_ms = now_ms() + PAUSE_MS;
        tally_mutex_lock(&map->mutex);
    }
    tally_mutex_unlock(&map->mutex);
}

/* --- looking ---------------------------------------------------------------------------------- */

static void want(struct owner_map *map)
{
    if (!map->asks) {
        map->asks = true;
        tally_cond_signal(&map->wanted);
    }
}

/* Index of a task; -1: not of this program. */
static int64_t index_of(const struct owner_map *map, const char *topology, int32_t partition)
{
    for (size_t i = 0; i < map->task_count; i++) {
        if (strcmp(map->tasks[i].topology, topology) == 0 && partition >= 0 &&
                partition < map->partitions) {
            return (int64_t)i * map->partitions + partition;
        }
    }
    return -1;
}

/* Waits until the table can be used: *place is of it, NULL: nobody has the task. */
static enum tally_code look(struct owner_map *map, int64_t index, const struct place **place,
        struct tally_error *err)
{
    int64_t end_ms = now_ms() + TALLY_OWNER_WAIT_MS;

    for (;;) {
        int64_t now = now_ms();
        const struct table *table = map->table;
        bool usable = table->begun_ms > 0 && table->begun_ms > map->doubted_ms;
        int16_t owner = table->owners[index];

        if (now - table->begun_ms > OLD_MS) {
            want(map);
        }
        *place = usable && owner >= 0 ? &table->places[owner] : NULL;
        if (*place || (usable && now - table->begun_ms < RECENT_MS)) {
            return TALLY_OK;
        }
        if (now >= end_ms || (map->failed_ms && now - map->failed_ms < RETRY_MS)) {
            return usable ? TALLY_OK
                          : tally_error_set(err, TALLY_UNAVAILABLE,
                                    "Kafka does not tell who owns the partition");
        }
        want(map);
        (void)tally_cond_wait(&map->told, &map->mutex, end_ms - now);
    }
}

enum tally_code owner_map_find(struct owner_map *map, const char *topology, int32_t partition,
        char address[static TALLY_ADDRESS_BYTES_MAX], struct tally_error *err)
{
    int64_t index = index_of(map, topology, partition);
    const struct place *place = NULL;
    enum tally_code code = TALLY_OK;

    if (index >= 0) {
        tally_mutex_lock(&map->mutex);
        code = look(map, index, &place, err);
        if (place) {
            memcpy(address, place->address, sizeof place->address);
        }
        tally_mutex_unlock(&map->mutex);
    }
    if (!code && !place) {
        code = tally_error_set(err, TALLY_UNAVAILABLE,
                "%s/%d has no owner now that can be asked: its partition moves, or http.advertise "
                "of its owner is not set",
                topology, (int)partition);
    } else if (!code && strcmp(address, map->address) == 0) {
        code = tally_error_set(err, TALLY_UNAVAILABLE,
                "%s/%d is this instance's, and not ready here", topology, (int)partition);
    }
    return code;
}

void owner_map_doubt(struct owner_map *map)
{
    tally_mutex_lock(&map->mutex);
    map->doubted_ms = now_ms();
    want(map);
    tally_mutex_unlock(&map->mutex);
}

/* --- life ------------------------------------------------------------------------------------- */

static struct table *create_table(struct owner_map *map)
{
    struct table *table = tally_alloc_zero(1, sizeof *table);

    table->owners =
            tally_alloc_zero(map->task_count * (size_t)map->partitions, sizeof *table->owners);
    clear(map, table);
    table->begun_ms = 0;
    return table;
}

static void destroy_table(struct table *table)
{
    tally_free(table->owners);
    tally_free(table);
}

static void add_task(struct owner_map *map, const struct tally_forward_task *task,
        const char *app_id)
{
    char *group = task->group ? tally_copy_format("%s-%s", app_id, task->group)
                              : tally_copy_string(app_id);
    size_t i = 0;

    while (i < map->group_count && strcmp(map->groups[i], group) != 0) {
        i++;
    }
    if (i == map->group_count) {
        tally_assert(map->group_count < GROUPS_MAX);
        map->groups[map->group_count++] = group;
    } else {
        tally_free(group);
    }
    map->tasks[map->task_count++] = (struct task){task->topology, task->topic, map->groups[i]};
}

struct owner_map *owner_map_create(const struct tally_forward_options *options)
{
    struct owner_map *map = tally_alloc_zero(1, sizeof *map);

    map->tasks = tally_alloc_zero(options->task_count, sizeof *map->tasks);
    for (size_t i = 0; i < options->task_count; i++) {
        add_task(map, &options->tasks[i], options->config->app_id);
    }
    map->partitions = options->partitions;
    map->keyless = options->config->http_cursor_key[0] == '\0';
    map->asks = map->keyless; /* once at start, to warn */
    (void)snprintf(map->address, sizeof map->address, "%s", options->address);
    map->kafka = (struct kafka_options){.config = options->config};
    map->kafka_owners = kafka_owners_create(&map->kafka);
    map->table = create_table(map);
    map->next = create_table(map);
    tally_mutex_init(&map->mutex, TALLY_LOCK_CONNECTOR);
    tally_cond_init(&map->wanted);
    tally_cond_init(&map->told);
    tally_thread_start(&map->thread, "owners", run, map);
    return map;
}

void owner_map_destroy(struct owner_map *map)
{
    if (!map) {
        return;
    }
    tally_mutex_lock(&map->mutex);
    map->stops = true;
    tally_cond_signal(&map->wanted);
    tally_mutex_unlock(&map->mutex);
    tally_thread_join(&map->thread);
    kafka_owners_destroy(map->kafka_owners);
    destroy_table(map->table);
    destroy_table(map->next);
    for (size_t i = 0; i < map->group_count; i++) {
        tally_free(map->groups[i]);
    }
    tally_cond_deinit(&map->told);
    tally_cond_deinit(&map->wanted);
    tally_mutex_deinit(&map->mutex);
    tally_free(map->tasks);
    tally_free(map);
}
