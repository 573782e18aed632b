/* tests/sim/sim_world.c - instances that live and die over one broker, and what happens next.
 *
 *   DOWN --[start]--> UP --[stop]--> DOWN
 *                      +--[kill]--> DEAD (unwinding, off the list) --[off the stack]--> gone
 *
 * A call of an instance may wait (sim_faults.c): then sim_tick runs inside it, with that instance
 * not to be stepped. So requests of several instances interleave at every call, without threads. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "tests/sim/sim.h"

enum {
    START_MS = 1000000000, /* where the monotonic clock stands */
    MESSAGE_BYTES_MAX = 1024 * 1024,
    EVENT_BYTES_MAX = 1080, /* less what the engine keeps free: only a long note does not fit */
    SAGA_EVENT_BYTES_MAX = 8192, /* an event tells of all lines */
    WAITERS_MAX = 4,
    TICKS_MAX = 6000,
    REST_TURNS_MAX = 6000, /* far more than healing needs: then it is stuck */
    REST_IDLE_MS = 40,
    DEPTH_MAX = 4,
    LONG_RETENTION_MS = 7 * 24 * 3600 * 1000,
    SHORT_RETENTION_MS = 20 * 60 * 1000 /* clocks jump over it */
};
#define WALL_OFFSET_MS INT64_C(1767000000000) /* about 2026 */

static int64_t clock_wall_ms(struct tally_clock *clock)
{
    struct sim_clock *self = (struct sim_clock *)clock;

    return self->mono_us / 1000 + self->wall_offset_ms;
}

static int64_t clock_mono_us(struct tally_clock *clock)
{
    return ((struct sim_clock *)clock)->mono_us;
}

int64_t sim_now_ms(const struct sim *sim)
{
    return sim->clock.mono_us / 1000;
}

void sim_advance(struct sim *sim, int64_t by_ms)
{
    sim->clock.mono_us += by_ms * 1000;
    tally_memory_broker_sweep(sim->broker);
}

bool sim_rolls(struct sim *sim, enum sim_rate rate)
{
    return !sim->healing && sim_random_chance(&sim->random, sim->plan.rates[rate]);
}

/* --- trace ------------------------------------------------------------------------------------ */

static uint64_t mixed(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x100000001b3);
    return hash ^ (hash >> 29);
}

void sim_trace(struct sim *sim, int who, const char *what, int64_t a, int64_t b)
{
    uint64_t hash = mixed(sim->trace_hash, (uint64_t)sim->clock.mono_us);

    hash = mixed(hash, (uint64_t)who);
    for (const char *at = what; *at; at++) {
        hash = mixed(hash, (uint64_t)*at);
    }
    sim->trace_hash = mixed(mixed(hash, (uint64_t)a), (uint64_t)b);
    if (sim->verbose) {
        printf("%10.3f %*s%c %s %lld %lld\n", (double)(sim->clock.mono_us / 1000 - START_MS) / 1000,
                2 * sim->depth, "", who < 0 ? '-' : 'a' + who, what, (long long)a, (long long)b);
    }
}

const char *sim_count_name(enum sim_count count)
{
    static const char *const names[] = {
#define X(id, text) text,
        SIM_COUNTS(X)
#undef X
    };

    return names[count];
}

void sim_violation(const struct sim *sim, const char *invariant, const char *what, ...)
{
    va_list arguments;

    printf("seed %llu: %s: ", (unsigned long long)sim->seed, invariant);
    va_start(arguments, what);
    vprintf(what, arguments);
    va_end(arguments);
    printf("\n");
    (void)fflush(stdout);
    _Exit(EXIT_FAILURE);
}

/* --- life ------------------------------------------------------------------------------------- */

bool sim_life_stepping(const struct sim_life *life)
{
    for (int i = 0; i < SIM_LIFE_THREADS; i++) {
        if (life->threads[i].stepping) {
            return true;
        }
    }
    return false;
}

/* An older copy of the disk is put back, or it is gone. */
static void maybe_spoil_disk(struct sim *sim, struct sim_instance *instance)
{
    if (instance->old && sim_rolls(sim, SIM_RATE_OLD_DISK)) {
        tally_memory_disk_destroy(instance->disk);
        instance->disk = instance->old;
        instance->old = NULL;
        sim->counts[SIM_OLD_DISK]++;
        sim_trace(sim, instance->index, "older disk", 0, 0);
    } else if (sim_rolls(sim, SIM_RATE_LOST_DISK)) {
        tally_memory_disk_destroy(instance->disk);
        instance->disk = tally_memory_disk_create();
        sim->counts[SIM_LOST_DISK]++;
        sim_trace(sim, instance->index, "lost disk", 0, 0);
    }
    if (!instance->old && sim_random_below(&sim->random, 4) == 0) {
        instance->old = tally_memory_disk_copy(instance->disk);
    }
}

static void open_state(struct sim *sim, struct sim_life *life)
{
    const struct tally_config *config = &life->config;
    struct tally_error err = {.code = TALLY_OK};

    if (tally_state_open(
                &(struct tally_state_options){
                        .disk = life->disk,
                        .memory_bytes = config->state_memory,
                        .flush_interval_ms = config->state_flush_interval,
                        .flush_bytes = config->state_flush_bytes,
                        .dedup_retention_ms = config->dedup_retention,
                        .clock = &sim->clock.clock,
                        .flush_inline = true,
                },
                &life->state, &err)) {
        sim_violation(sim, "start", "%s", err.message);
    }
}

void sim_start(struct sim *sim, struct sim_instance *instance)
{
    struct sim_life *life = tally_alloc_zero(1, sizeof *life);

    tally_assert(!instance->life && instance->disk);
    maybe_spoil_disk(sim, instance);
    life->sim = sim;
    life->instance = instance;
    life->config = *sim->config;
    life->name[0] = instance->name;
    life->thread_count = sim->plan.threads;
    if (!sim->healing && sim_random_below(&sim->random, 10) == 0) {
        life->thread_count = 1 + (int)sim_random_below(&sim->random, SIM_THREADS);
    }
    life->thread_count += sim->plan.projects;
    life->config.instance_id = life->name;
    life->disk = instance->disk;
    instance->disk = NULL;
    tally_memory_disk_set_fault(life->disk, sim_disk_fault, life);
    open_state(sim, life);
    life->client =
            tally_memory_client_create(sim->broker, life->config.app_id, life->config.instance_id);
    tally_memory_client_set_guard(life->client, !sim->unguarded);
    life->registry = tally_task_registry_create(sim->topologies, sim->topology_count,
            sim->plan.partitions, WAITERS_MAX);
    for (int i = 0; i < life->thread_count; i++) {
        bool projects = sim->plan.projects && i == life->thread_count - 1;

        life->threads[i].life = life;
        life->threads[i].thread = tally_stream_thread_create(&(struct tally_stream_thread_options){
                .index = i,
                .group = projects ? SIM_LOW_STOCK : NULL,
                .member = projects ? 0 : i,
                .config = &life->config,
                .client = life->client,
                .clock = &sim->clock.clock,
                .state = life->state,
                .registry = life->registry,
                .partitions = sim->plan.partitions,
        });
    }
    instance->life = life;
    sim_trace(sim, instance->index, "start", 0, 0);
}

/* The stream threads are closed or crashed already. */
static void end_life(struct sim_life *life)
{
    for (int i = 0; i < SIM_LIFE_THREADS; i++) {
        tally_stream_thread_destroy(life->threads[i].thread);
    }
    tally_task_registry_destroy(life->registry);
    tally_state_close(life->state);
    tally_assert(tally_memory_client_unreleased(life->client) == 0);
    life->client->ops->destroy(life->client);
}

static void bury(struct sim_life *life)
{
    for (int i = 0; i < SIM_LIFE_THREADS; i++) {
        if (life->threads[i].thread && !life->threads[i].closed) {
            tally_stream_thread_crash(life->threads[i].thread);
        }
    }
    end_life(life);
    tally_memory_disk_destroy(life->disk);
    tally_free(life);
}

static void bury_dead(struct sim *sim)
{
    struct sim_life **at = &sim->dead;

    while (*at) {
        struct sim_life *life = *at;

        if (sim_life_stepping(life) || life->flushing) {
            at = &life->next;
            continue;
        }
        *at = life->next;
        bury(life);
    }
}

void sim_kill(struct sim *sim, struct sim_life *life)
{
    struct sim_instance *instance = life->instance;

    if (life->dead) {
        return;
    }
    sim_saga_died(sim, life);
    life->dead = true;
    tally_memory_client_kill(life->client);
    instance->disk = tally_memory_disk_copy(life->disk);
    instance->life = NULL;
    instance->start_at_ms = sim_now_ms(sim) + sim_random_below(&sim->random, 4) *
                                                      sim_random_below(&sim->random, 15000);
    life->next = sim->dead;
    sim->dead = life;
    sim->counts[SIM_CRASHED]++;
    sim_trace(sim, instance->index, "killed", 0, 0);
}

static void close_thread(struct sim *sim, struct sim_thread *thread)
{
    struct sim_life *outer = sim->current;
    struct sim_thread *outer_thread = sim->thread;

    sim->current = thread->life;
    sim->thread = thread;
    thread->stepping = true;
    tally_stream_thread_close(thread->thread);
    thread->stepping = false;
    thread->closed = true;
    sim->current = outer;
    sim->thread = outer_thread;
}

void sim_stop(struct sim *sim, struct sim_life *life)
{
    struct sim_instance *instance = life->instance;

    sim_trace(sim, instance->index, "stops", 0, 0);
    for (int i = 0; i < life->thread_count && !life->dead; i++) {
        close_thread(sim, &life->threads[i]);
    }
    if (life->dead) {
        return; /* on the way: its stores are parked, and buried with it */
    }
    tally_task_registry_destroy(life->registry);
    life->registry = NULL;
    sim->counts[SIM_STOPPED]++;
    instance->life = NULL;
    instance->disk = life->disk;
    instance->start_at_ms = sim_now_ms(sim) + sim_random_below(&sim->random, 10000);
    end_life(life);
    tally_memory_disk_set_fault(instance->disk, NULL, NULL);
    tally_free(life);
    sim_trace(sim, instance->index, "stopped", 0, 0);
}

/* --- steps ------------------------------------------------------------------------------------ */

/* What passes by itself: a transaction that takes long to end, a disk that refuses a new store,
 * access that is refused for a moment. */
static bool may_halt(enum tally_code code)
{
    return code == TALLY_HANGING_TRANSACTION || code == TALLY_STORE_ERROR ||
           code == TALLY_STORE_CORRUPT || code == TALLY_NOT_AUTHORIZED;
}

/* A zombie may find an offset that others have moved since, or not moved yet. */
static void check_halted(struct sim *sim, struct sim_life *life)
{
    if (!tally_memory_client_current(life->client)) {
        return;
    }
    for (size_t i = 0; i < tally_task_registry_count(life->registry); i++) {
        struct tally_task_slot *slot = tally_task_registry_at(life->registry, i);

        if (atomic_load(&slot->state) == TALLY_TASK_HALTED && !may_halt(slot->code)) {
            sim_violation(sim, "no halt", "instance %c: %s: %s", 'a' + life->instance->index,
                    tally_code_name(slot->code), slot->message);
        }
    }
}

static void step(struct sim *sim, struct sim_thread *thread, bool *busy)
{
    struct sim_life *life = thread->life, *outer = sim->current;
    struct sim_thread *outer_thread = sim->thread;
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code;

    sim->current = life;
    sim->thread = thread;
    thread->stepping = true;
    code = tally_stream_thread_step(thread->thread, 0, busy, &err);
    thread->stepping = false;
    sim->current = outer;
    sim->thread = outer_thread;
    sim_trace(sim, life->instance->index, tally_stream_thread_state_name(thread->thread), code,
            (thread - life->threads) * 2 + *busy);
    if (life->dead) {
        return;
    }
    check_halted(sim, life);
    if (code) { /* the process ends; its supervisor starts it again */
        sim_trace(sim, life->instance->index, tally_code_name(code), 0, 0);
        sim->counts[SIM_TWINS_FENCED] += code == TALLY_INSTANCE_FENCED;
        sim_kill(sim, life);
    }
}

/* The flush thread has its turn; the stream threads may have turns while it waits for the disk. */
static void flush(struct sim *sim, struct sim_life *life)
{
    struct sim_life *outer = sim->current;
    struct sim_thread *outer_thread = sim->thread;

    if (life->flushing) {
        return;
    }
    sim->current = life;
    sim->thread = NULL;
    life->flushing = true;
    tally_state_flush_due(life->state);
    life->flushing = false;
    sim->current = outer;
    sim->thread = outer_thread;
}

static struct sim_thread *pick_thread(struct sim *sim)
{
    struct sim_thread *free[SIM_INSTANCES * SIM_LIFE_THREADS];
    uint32_t count = 0;

    for (int i = 0; i < sim->plan.instances; i++) {
        struct sim_life *life = sim->instances[i].life;

        for (int j = 0; life && !life->stopped && j < life->thread_count; j++) {
            if (!life->threads[j].stepping && !life->threads[j].closed) {
                free[count++] = &life->threads[j];
            }
        }
    }
    return count > 0 ? free[sim_random_below(&sim->random, count)] : NULL;
}

static void start_due(struct sim *sim)
{
    for (int i = 0; i < sim->plan.instances; i++) {
        struct sim_instance *instance = &sim->instances[i];

        if (!instance->life && instance->start_at_ms <= sim_now_ms(sim)) {
            sim_start(sim, instance);
        }
    }
}

static void jump_clock(struct sim *sim)
{
    int64_t by_ms = (int64_t)sim_random_below(&sim->random, 7200000) - 3600000;

    sim->clock.wall_offset_ms += by_ms;
    sim->counts[SIM_CLOCK_JUMPS]++;
    sim_trace(sim, -1, "clock jumps", by_ms, 0);
}

static void outside_event(struct sim *sim)
{
    struct sim_thread *thread;

    if (sim_rolls(sim, SIM_RATE_JUMP)) {
        jump_clock(sim);
    }
    if (sim_rolls(sim, SIM_RATE_REBALANCE)) {
        bool lost = sim_random_below(&sim->random, 2);

        sim_trace(sim, -1, "rebalance", lost, 0);
        tally_memory_broker_rebalance(sim->broker, lost);
    }
    if (sim_rolls(sim, SIM_RATE_STOP)) {
        thread = pick_thread(sim);
        if (thread && !thread->life->flushing && !sim_life_stepping(thread->life)) {
            sim_stop(sim, thread->life);
        }
    }
    if (sim_rolls(sim, SIM_RATE_DOWN)) {
        sim->broker_down_until_ms = sim_now_ms(sim) + sim_random_below(&sim->random, 8000);
        sim->counts[SIM_BROKER_DOWN]++;
        sim_trace(sim, -1, "broker down", sim->broker_down_until_ms - sim_now_ms(sim), 0);
    }
}

/* One of the free threads has its turn. */
static void turn(struct sim *sim)
{
    struct sim_thread *thread = sim->depth <= DEPTH_MAX ? pick_thread(sim) : NULL;
    bool busy;

    if (!thread) {
        return;
    }
    if (sim_saga_cuts(sim, thread->life)) {
        sim_kill(sim, thread->life);
        return;
    }
    flush(sim, thread->life);
    /* the flush may have taken long: it may be dead now, or on its way */
    if (!thread->life->dead && !thread->stepping && !thread->closed && !thread->life->stopped) {
        step(sim, thread, &busy);
    }
}

void sim_tick(struct sim *sim, int64_t at_least_ms)
{
    sim->depth++;
    sim_advance(sim, at_least_ms + sim_random_below(&sim->random, 20));
    start_due(sim);
    outside_event(sim);
    if (sim->sent < sim->plan.commands && sim_random_below(&sim->random, 3) == 0) {
        for (uint32_t i = sim_random_below(&sim->random, 6);
                i > 0 && sim->sent < sim->plan.commands && !sim_saga_waits(sim); i--) {
            sim_workload_send(sim);
        }
    }
    if (sim->plan.foreign && sim->sent < sim->plan.commands &&
            sim_random_below(&sim->random, 8) == 0) {
        sim_workload_foreign(sim, false);
    }
    turn(sim);
    sim_log_follow(sim);
    sim->depth--;
    if (sim->depth == 0) {
        bury_dead(sim);
    }
}

/* --- a seed ----------------------------------------------------------------------------------- */

static void make_topics(struct sim *sim)
{
    for (size_t i = 0; i < sim->topology_count; i++) {
        const struct tally_topology *topology = sim->topologies[i];
        const char *letters = tally_topology_dead_letters(topology);

        tally_memory_broker_topic(sim->broker, tally_topology_input(topology), sim->plan.partitions,
                MESSAGE_BYTES_MAX);
        tally_memory_broker_topic(sim->broker, tally_topology_output(topology),
                sim->plan.partitions, sim->plan.sagas ? SAGA_EVENT_BYTES_MAX : EVENT_BYTES_MAX);
        if (letters) {
            tally_memory_broker_topic(sim->broker, letters, sim->plan.partitions,
                    2 * MESSAGE_BYTES_MAX);
        }
    }
    tally_memory_broker_topic(sim->broker, SIM_REPLY_TOPIC, 1, MESSAGE_BYTES_MAX);
}

static void draw_config(struct sim *sim)
{
    struct tally_config *config = sim->config;
    static const int batches[] = {1, 2, 3, 5, 20};
    static const int flush_ms[] = {1, 10, 50, 300, 3000};

    config->batch_records = batches[sim_random_below(&sim->random, 5)];
    config->commit_interval = 1 + sim_random_below(&sim->random, 200);
    config->state_flush_interval = flush_ms[sim_random_below(&sim->random, 5)];
    config->state_flush_bytes = sim_random_below(&sim->random, 2) ? 1 : 65536;
    config->dedup_retention =
            sim_random_below(&sim->random, 5) ? LONG_RETENTION_MS : SHORT_RETENTION_MS;
}

void sim_open(struct sim *sim, uint64_t seed, const struct sim_options *options,
        struct tally_config *config, struct tally_topology *const *topologies)
{
    *sim = (struct sim){.seed = seed,
            .verbose = options->verbose,
            .unguarded = options->unguarded,
            .random = {seed},
            .trace_hash = UINT64_C(0xcbf29ce484222325),
            .clock = {.clock = {clock_wall_ms, clock_mono_us},
                    .mono_us = (int64_t)START_MS * 1000,
                    .wall_offset_ms = WALL_OFFSET_MS},
            .config = config};
    sim_plan_draw(sim);
    draw_config(sim);
    sim->topologies[sim->topology_count++] = topologies[0];
    if (sim->plan.catalogue) {
        sim->topologies[sim->topology_count++] = topologies[1];
    }
    if (sim->plan.sagas) {
        sim->topologies[sim->topology_count++] = topologies[2];
    }
    if (sim->plan.projects) { /* last: the events that it reads have their topic */
        sim->topologies[sim->topology_count++] = topologies[3];
    }
    sim->broker = tally_memory_broker_create(&sim->clock.clock, config->transaction_timeout);
    make_topics(sim);
    for (int i = 0; i < sim->plan.instances; i++) {
        bool twin = sim->plan.twin && i == sim->plan.instances - 1;

        sim->instances[i] = (struct sim_instance){.index = i,
                .name = twin ? 'a' : (char)('a' + i),
                .disk = tally_memory_disk_create(),
                .start_at_ms = sim_now_ms(sim) + sim_random_below(&sim->random, 200)};
    }
    sim_faults_install(sim);
    sim->foreign = tally_memory_client_create(sim->broker, "foreign", "f");
    sim_log_open(sim);
    sim_workload_prepare(sim);
}

void sim_close(struct sim *sim)
{
    for (int i = 0; i < sim->plan.instances; i++) {
        if (sim->instances[i].life) {
            sim_kill(sim, sim->instances[i].life);
        }
    }
    bury_dead(sim);
    for (int i = 0; i < sim->plan.instances; i++) {
        tally_memory_disk_destroy(sim->instances[i].disk);
        tally_memory_disk_destroy(sim->instances[i].old);
    }
    sim_log_close(sim);
    sim->foreign->ops->destroy(sim->foreign);
    tally_memory_broker_destroy(sim->broker);
}

/* Whether a task runs in one place, with nothing left to decide. */
static bool task_at_rest(struct sim *sim, size_t task)
{
    int running = 0;

    for (int i = 0; i < sim->plan.instances; i++) {
        struct sim_life *life = sim->instances[i].life;
        struct tally_task_slot *slot = life ? tally_task_registry_at(life->registry, task) : NULL;
        struct tally_memory_record record;
        int64_t next;

        if (!slot || atomic_load(&slot->state) != TALLY_TASK_RUNNING) {
            continue;
        }
        running++;
        next = atomic_load(&slot->in_next);
        if (tally_task_slot_store_health(slot, NULL)) {
            return false; /* its base is being reopened */
        }
        if (tally_memory_broker_read(sim->broker, tally_topology_input(slot->topology),
                    slot->partition, next < 0 ? 0 : next, &record)) {
            return false;
        }
    }
    return running == 1;
}

static bool at_rest(struct sim *sim)
{
    size_t tasks = sim->topology_count * (size_t)sim->plan.partitions;

    for (size_t i = 0; i < tasks; i++) {
        if (!task_at_rest(sim, i)) {
            return false;
        }
    }
    return tally_memory_broker_open_transactions(sim->broker) == 0;
}

/* Two processes with one instance.id drive each other out: one of them has to go. */
static void end_twin(struct sim *sim)
{
    struct sim_instance *twin = &sim->instances[sim->plan.instances - 1];

    if (!sim->plan.twin) {
        return;
    }
    if (twin->life) {
        sim_kill(sim, twin->life);
    }
    twin->start_at_ms = INT64_MAX;
}

static bool step_all(struct sim *sim, struct sim_life *life /* NULL: down */)
{
    bool any = false;

    if (life) {
        flush(sim, life);
    }
    for (int i = 0; life && i < life->thread_count && !life->dead; i++) {
        bool busy = false;

        step(sim, &life->threads[i], &busy);
        any = any || busy;
    }
    return any;
}

void sim_come_to_rest(struct sim *sim)
{
    sim->healing = true;
    sim->broker_down_until_ms = 0;
    sim_trace(sim, -1, "healing", 0, 0);
    end_twin(sim);
    sim_workload_foreign(sim, true);
    for (int turn = 0; turn < REST_TURNS_MAX; turn++) {
        bool any = false;

        while (sim->sent < sim->plan.commands && !sim_saga_waits(sim)) {
            sim_workload_send(sim);
        }
        start_due(sim);
        for (int i = 0; i < sim->plan.instances; i++) {
            any = step_all(sim, sim->instances[i].life) || any;
        }
        bury_dead(sim);
        sim_log_follow(sim);
        if (!any && sim->sent == sim->plan.commands && at_rest(sim)) {
            return;
        }
        /* a restore is busy while it waits for a transaction to end */
        sim_advance(sim, any ? 1 + turn / 10 : REST_IDLE_MS);
    }
    sim_violation(sim, "comes to rest", "not after %d turns without faults", REST_TURNS_MAX);
}

void sim_run(struct sim *sim)
{
    for (int i = 0; i < sim->plan.ticks || (sim_saga_goes_on(sim) && i < TICKS_MAX); i++) {
        sim_tick(sim, 0);
    }
    sim_come_to_rest(sim);
    sim_saga_settle(sim);
    sim_check(sim);
}
