/* engine/topology_driver.c - see topology_driver.h.
 *
 *   STARTED --[stop | crash]--> STOPPED --[start]--> STARTED
 *
 * Time passes only where the thread waits for it: turns that find nothing to do while a task is not
 * running advance the clock by IDLE_MS each (back-offs, rechecks of halted tasks). */
#include "engine/topology_driver.h"

#include "engine/base/mem.h"
#include "engine/position_watch.h"
#include "engine/stream_thread.h"

#define TRANSACTION_TIMEOUT_MS 10000
#define COMMAND_BYTES_MAX      (1024 * 1024)
#define EVENT_BYTES_MAX        (4 * 1024 * 1024)
#define WAITERS_MAX            4
#define TURNS_MAX              20000 /* far more than any test needs: then it is stuck */
#define DRIVER_THREADS_MAX     17    /* as many topologies as an instance may run, and one */
#define IDLE_TURNS             4     /* turns that may find nothing to do before time passes */
#define HALTED_TURNS           20    /* idle turns after which halted tasks count as at rest */
#define IDLE_MS                50

struct tally_topology_driver {
    struct tally_topology_driver_options options;
    char *state_dir;
    struct tally_fake_clock clock;
    struct tally_memory_broker *broker;
    /* of one life; NULL when stopped */
    struct tally_client *client;
    struct tally_state *state;
    struct tally_task_registry *registry;
    struct tally_stream_thread *threads[DRIVER_THREADS_MAX]; /* of aggregates, of each projection */
    size_t thread_count;
    struct tally_position_watch *watch; /* NULL: not asked for yet */
};

static char *with_prefix(const struct tally_topology_driver *driver, const char *topic)
{
    return tally_copy_format("%s%s", driver->options.config->topics_prefix, topic);
}

static void make_topics(struct tally_topology_driver *driver)
{
    char *replies = with_prefix(driver, TALLY_DRIVER_REPLY_TOPIC);
    int32_t partitions = driver->options.partitions;

    for (size_t i = 0; i < driver->options.topology_count; i++) {
        const struct tally_topology *topology = driver->options.topologies[i];

        const char *letters = tally_topology_dead_letters(topology);

        tally_memory_broker_topic(driver->broker, tally_topology_output(topology), partitions,
                EVENT_BYTES_MAX);
        tally_memory_broker_topic(driver->broker, tally_topology_input(topology), partitions,
                letters ? COMMAND_BYTES_MAX : EVENT_BYTES_MAX);
        if (letters) {
            tally_memory_broker_topic(driver->broker, letters, partitions,
                    COMMAND_BYTES_MAX + 65536);
        }
    }
    tally_memory_broker_topic(driver->broker, replies, 1, EVENT_BYTES_MAX);
    tally_free(replies);
}

enum tally_code tally_topology_driver_create(const struct tally_topology_driver_options *options,
        struct tally_topology_driver **created, struct tally_error *err)
{
    struct tally_topology_driver *driver = tally_alloc_zero(1, sizeof *driver);
    enum tally_code code;

    driver->options = *options;
    driver->state_dir = options->state_dir ? tally_copy_string(options->state_dir) : NULL;
    tally_fake_clock_init(&driver->clock, options->now_ms);
    driver->broker = tally_memory_broker_create(&driver->clock.clock, TRANSACTION_TIMEOUT_MS);
    make_topics(driver);
    code = tally_topology_driver_start(driver, err);
    if (code) {
        tally_topology_driver_destroy(driver);
        driver = NULL;
    }
    *created = driver;
    return code;
}

void tally_topology_driver_destroy(struct tally_topology_driver *driver)
{
    if (!driver) {
        return;
    }
    tally_topology_driver_stop(driver);
    tally_memory_broker_destroy(driver->broker);
    tally_free(driver->state_dir);
    tally_free(driver);
}

/* --- life ------------------------------------------------------------------------------------- */

static void make_thread(struct tally_topology_driver *driver, const char *group)
{
    tally_assert(driver->thread_count < DRIVER_THREADS_MAX);
    driver->threads[driver->thread_count] =
            tally_stream_thread_create(&(struct tally_stream_thread_options){
                    .index = (int)driver->thread_count,
                    .group = group,
                    .config = driver->options.config,
                    .client = driver->client,
                    .clock = &driver->clock.clock,
                    .state = driver->state,
                    .registry = driver->registry,
                    .partitions = driver->options.partitions,
            });
    driver->thread_count++;
}

/* As the runtime does: one for all aggregates, one for each projection. */
static void make_threads(struct tally_topology_driver *driver)
{
    bool any = false;

    for (size_t i = 0; i < driver->options.topology_count && !any; i++) {
        any = tally_topology_group(driver->options.topologies[i]) == NULL;
    }
    if (any) {
        make_thread(driver, NULL);
    }
    for (size_t i = 0; i < driver->options.topology_count; i++) {
        const char *group = tally_topology_group(driver->options.topologies[i]);

        if (group) {
            make_thread(driver, group);
        }
    }
}

enum tally_code tally_topology_driver_start(struct tally_topology_driver *driver,
        struct tally_error *err)
{
    const struct tally_config *config = driver->options.config;
    enum tally_code code;

    tally_assert(driver->thread_count == 0);
    code = tally_state_open(
            &(struct tally_state_options){
                    .dir = driver->state_dir,
                    .memory_bytes = config->state_memory,
                    .flush_interval_ms = config->state_flush_interval,
                    .flush_bytes = config->state_flush_bytes,
                    .dedup_retention_ms = config->dedup_retention,
                    .clock = &driver->clock.clock,
                    .flush_inline = true,
            },
            &driver->state, err);
    if (code) {
        return code;
    }
    driver->client =
            tally_memory_client_create(driver->broker, config->app_id, config->instance_id);
    driver->registry = tally_task_registry_create(driver->options.topologies,
            driver->options.topology_count, driver->options.partitions, WAITERS_MAX);
    make_threads(driver);
    return TALLY_OK;
}

static void end_life(struct tally_topology_driver *driver)
{
    tally_position_watch_destroy(driver->watch);
    driver->watch = NULL;
    for (size_t i = 0; i < driver->thread_count; i++) {
        tally_stream_thread_destroy(driver->threads[i]);
    }
    tally_task_registry_destroy(driver->registry);
    tally_state_close(driver->state);
    tally_assert(tally_memory_client_unreleased(driver->client) == 0);
    driver->client->ops->destroy(driver->client);
    driver->thread_count = 0;
    driver->registry = NULL;
    driver->state = NULL;
    driver->client = NULL;
}

void tally_topology_driver_stop(struct tally_topology_driver *driver)
{
    for (size_t i = 0; i < driver->thread_count; i++) {
        tally_stream_thread_close(driver->threads[i]);
    }
    if (driver->thread_count > 0) {
        end_life(driver);
    }
}

void tally_topology_driver_crash(struct tally_topology_driver *driver)
{
    if (driver->thread_count > 0) {
        tally_memory_client_kill(driver->client);
        for (size_t i = 0; i < driver->thread_count; i++) {
            tally_stream_thread_crash(driver->threads[i]);
        }
        end_life(driver);
    }
}

/* --- input ------------------------------------------------------------------------------------ */

int64_t tally_topology_driver_pipe(struct tally_topology_driver *driver, const char *topic,
        int32_t partition, struct tally_slice key, struct tally_slice value,
        const struct tally_header *headers, size_t header_count)
{
    char *name = with_prefix(driver, topic);
    int64_t offset = tally_memory_broker_append(driver->broker, name, partition, key, value,
            headers, header_count);

    tally_free(name);
    return offset;
}

static const struct tally_schema *const *types_of(const struct tally_topology_driver *driver,
        const char *topic)
{
    static const struct tally_schema *const none[] = {NULL};

    for (size_t i = 0; i < driver->options.topology_count; i++) {
        const struct tally_aggregate *aggregate =
                tally_topology_aggregate(driver->options.topologies[i]);

        if (aggregate && !strcmp(aggregate->commands, topic)) {
            return aggregate->command_types;
        }
    }
    return none;
}

int64_t tally_topology_driver_command(struct tally_topology_driver *driver, const char *topic,
        struct tally_slice value)
{
    char *replies = with_prefix(driver, TALLY_DRIVER_REPLY_TOPIC);
    struct tally_header header = {
            .name = TALLY_SLICE("reply-topic"), .value = tally_slice_string(replies)};
    struct tally_slice key = TALLY_SLICE("-");
    struct tally_command command;
    struct tally_arena arena;
    enum tally_refusal refusal;
    int64_t offset;

    tally_arena_init(&arena, COMMAND_BYTES_MAX);
    if (tally_command_decode(value, types_of(driver, topic), &arena, &command, &refusal, NULL) ||
            !tally_command_key(&command, &arena, &key)) {
        key = TALLY_SLICE("-");
    }
    offset = tally_topology_driver_pipe(driver, topic, -1, key, value, &header, 1);
    tally_arena_deinit(&arena);
    tally_free(replies);
    return offset;
}

/* --- turns ------------------------------------------------------------------------------------ */

enum rest { REST_NOT, REST_HALTED, REST_ALL };

/* Whether every task runs and has decided all that is visible on its input. */
static enum rest at_rest(struct tally_topology_driver *driver)
{
    enum rest rest = REST_ALL;

    for (size_t i = 0; i < tally_task_registry_count(driver->registry); i++) {
        struct tally_task_slot *slot = tally_task_registry_at(driver->registry, i);
        int state = atomic_load(&slot->state);
        int64_t next = atomic_load(&slot->in_next);
        struct tally_memory_record record;

        if (state == TALLY_TASK_HALTED) {
            rest = REST_HALTED;
        } else if (state != TALLY_TASK_RUNNING ||
                   tally_memory_broker_read(driver->broker, tally_topology_input(slot->topology),
                           slot->partition, next < 0 ? 0 : next, &record)) {
            return REST_NOT;
        }
    }
    return rest;
}

/* What the flush thread does elsewhere: tries again what failed, and opens a lost store again. */
static void flush_again(struct tally_topology_driver *driver)
{
    for (size_t i = 0; i < tally_task_registry_count(driver->registry); i++) {
        struct tally_store *store = tally_task_registry_at(driver->registry, i)->store;
        struct tally_error err;

        if (store && tally_store_health(store, &err) == TALLY_STORE_ERROR &&
                tally_store_flush(store, true, 0, &err)) {
            continue; /* and again at the next turn */
        }
    }
}

/* One turn of every thread. */
static enum tally_code step(struct tally_topology_driver *driver, bool *busy,
        struct tally_error *err)
{
    *busy = false;
    for (size_t i = 0; i < driver->thread_count; i++) {
        bool thread_busy = false;
        enum tally_code code = tally_stream_thread_step(driver->threads[i], 0, &thread_busy, err);

        if (tally_memory_client_killed(driver->client)) {
            return tally_error_set(err, TALLY_FENCED, "killed");
        }
        if (code) {
            return code;
        }
        *busy = *busy || thread_busy;
    }
    return TALLY_OK;
}

static enum tally_code stuck(const struct tally_topology_driver *driver, struct tally_error *err)
{
    tally_error_set(err, TALLY_STUCK, "no rest after %d turns", TURNS_MAX);
    for (size_t i = driver->thread_count; i-- > 0;) {
        tally_error_context(err, "thread %zu is %s", i,
                tally_stream_thread_state_name(driver->threads[i]));
    }
    return TALLY_STUCK;
}

enum tally_code tally_topology_driver_run(struct tally_topology_driver *driver,
        struct tally_error *err)
{
    int idle_turns = 0, halted_turns = 0;

    tally_assert(driver->thread_count > 0);
    for (int turn = 0; turn < TURNS_MAX; turn++) {
        bool busy;
        enum tally_code code = step(driver, &busy, err);
        enum rest rest;

        if (code) {
            return code;
        }
        flush_again(driver);
        if (busy) {
            idle_turns = 0;
            continue;
        }
        rest = at_rest(driver);
        if (rest == REST_ALL || (rest == REST_HALTED && ++halted_turns >= HALTED_TURNS)) {
            return TALLY_OK;
        }
        if (++idle_turns > IDLE_TURNS) {
            tally_fake_clock_advance(&driver->clock, IDLE_MS);
        }
    }
    return stuck(driver, err);
}

void tally_topology_driver_advance(struct tally_topology_driver *driver, int64_t by_ms)
{
    tally_fake_clock_advance(&driver->clock, by_ms);
}

int64_t tally_topology_driver_now(const struct tally_topology_driver *driver)
{
    return driver->clock.now_us / 1000;
}

enum tally_code tally_topology_driver_watch(struct tally_topology_driver *driver,
        struct tally_error *err)
{
    tally_assert(driver->thread_count > 0);
    if (!driver->watch) {
        driver->watch = tally_position_watch_create(&(struct tally_position_watch_options){
                .client = driver->client,
                .clock = &driver->clock.clock,
                .registry = driver->registry,
                .topologies = driver->options.topologies,
                .topology_count = driver->options.topology_count,
                .partitions = driver->options.partitions,
        });
    }
    return tally_position_watch_look(driver->watch, err);
}

struct tally_memory_broker *tally_topology_driver_broker(struct tally_topology_driver *driver)
{
    return driver->broker;
}

/* --- output ----------------------------------------------------------------------------------- */

static void print_hex(struct tally_slice bytes, struct tally_buf *out)
{
    for (size_t i = 0; i < bytes.len; i++) {
        tally_buf_format(out, "%02x", bytes.data[i]);
    }
}

static void print_value(struct tally_slice value, struct tally_buf *out)
{
    const struct tally_token *root;
    struct tally_arena arena;
    enum tally_refusal refusal;

    tally_arena_init(&arena, 65536);
    if (tally_document_parse(value, &arena, &root, &refusal, NULL) == TALLY_OK) {
        tally_token_write(root, TALLY_FORMAT_JSON, out);
    } else {
        tally_buf_byte(out, '?');
        print_hex(value, out);
    }
    tally_buf_byte(out, '\n');
    tally_arena_deinit(&arena);
}

void tally_topology_driver_print(struct tally_topology_driver *driver, const char *topic,
        int32_t partition, struct tally_buf *out)
{
    char *name = with_prefix(driver, topic);
    int32_t first = partition < 0 ? 0 : partition;
    struct tally_memory_record record;

    for (int32_t at = first; tally_memory_broker_end(driver->broker, name, at) >= 0 &&
                             (partition < 0 || at == first);
            at++) {
        int64_t from = 0;

        while (tally_memory_broker_read(driver->broker, name, at, from, &record)) {
            print_value(record.value, out);
            from = record.offset + 1;
        }
    }
    tally_free(name);
}

bool tally_topology_driver_scan(struct tally_topology_driver *driver, const char *topology,
        int32_t partition, tally_driver_row_fn row, void *context)
{
    struct tally_task_slot *slot =
            driver->registry ? tally_task_registry_find(driver->registry, topology, partition)
                             : NULL;
    struct tally_view *view = slot ? tally_task_slot_view(slot) : NULL;
    struct tally_slice key, value;
    struct tally_iterator *iterator;
    enum tally_code code = TALLY_OK;

    if (!view) {
        return false;
    }
    iterator = tally_view_iterate(view, TALLY_NONE, TALLY_NONE, false);
    while (tally_iterator_next(iterator, &key, &value, &code, NULL)) {
        row(context, key, value);
    }
    tally_assert(code == TALLY_OK);
    tally_iterator_destroy(iterator);
    tally_view_unref(view);
    return true;
}

struct dump {
    const struct tally_task_slot *slot;
    struct tally_buf *out;
};

static void dump_row(void *context, struct tally_slice key, struct tally_slice row)
{
    struct dump *dump = context;
    const char *topology = tally_topology_name(dump->slot->topology);
    enum tally_store_id store;

    tally_assert(tally_store_of_key(topology, key, &store));
    tally_buf_format(dump->out, "%s/%d %s ", topology, (int)dump->slot->partition,
            tally_store_name(store));
    tally_key_print(topology, key, dump->out);
    tally_buf_byte(dump->out, ' ');
    print_hex(row, dump->out);
    tally_buf_byte(dump->out, '\n');
}

void tally_topology_driver_dump(struct tally_topology_driver *driver, struct tally_buf *out)
{
    for (size_t i = 0; i < tally_task_registry_count(driver->registry); i++) {
        struct tally_task_slot *slot = tally_task_registry_at(driver->registry, i);
        struct dump dump = {slot, out};

        (void)tally_topology_driver_scan(driver, tally_topology_name(slot->topology),
                slot->partition, dump_row, &dump);
    }
}

const char *tally_topology_driver_state(struct tally_topology_driver *driver, const char *topology,
        int32_t partition)
{
    struct tally_task_slot *slot = tally_task_registry_find(driver->registry, topology, partition);
    int state = atomic_load(&slot->state);

    return state == TALLY_TASK_HALTED ? tally_code_name(slot->code)
                                      : tally_task_state_name((enum tally_task_state)state);
}
