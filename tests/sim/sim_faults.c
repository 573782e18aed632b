/* tests/sim/sim_faults.c - what goes wrong, and where: at the calls of the clients, the disk, the
 * markers. Each seed turns on some kinds only, at rates of its own: faults that exclude each other
 * are so both met, and a rare combination is not drowned by frequent ones. */
#include "engine/base/failpoint.h"
#include "tests/sim/sim.h"

enum { CALLS_MAX = 400000, PAUSE_TICKS = 40, KINDS_ON_OF = 2, DEPTH_MAX = 4 };

void sim_plan_draw(struct sim *sim)
{
    static const uint32_t rates[] = {500, 2000, 7000, 20000};
    static const uint32_t often[] = {50000, 200000, 500000};
    struct sim_plan *plan = &sim->plan;

    plan->instances = 1 + (int)sim_random_below(&sim->random, SIM_INSTANCES - 1);
    plan->twin = sim_random_below(&sim->random, 6) == 0;
    plan->instances += plan->twin;
    plan->foreign = sim_random_below(&sim->random, 4) == 0;
    plan->threads = 1 + (int)sim_random_below(&sim->random, SIM_THREADS);
    plan->partitions = 2 + (int32_t)sim_random_below(&sim->random, SIM_PARTITIONS - 1);
    plan->catalogue = sim_random_below(&sim->random, 4) == 0;
    plan->sagas = sim_random_below(&sim->random, 4) == 0;
    plan->commands = 30 + (int)sim_random_below(&sim->random, 90);
    plan->ticks = 80 + (int)sim_random_below(&sim->random, 170);
    for (int i = 0; i < SIM_RATES; i++) {
        bool on = sim_random_below(&sim->random, KINDS_ON_OF) == 0;
        bool frequent = i == SIM_RATE_OLD_DISK || i == SIM_RATE_LOST_DISK ||
                        i == SIM_RATE_MARKERS || i == SIM_RATE_SLOW_FLUSH || i == SIM_RATE_LATE;
        uint32_t rate = frequent ? often[sim_random_below(&sim->random, 3)]
                                 : rates[sim_random_below(&sim->random, 4)];

        plan->rates[i] = on ? rate : 0;
    }
    if (plan->sagas && plan->rates[SIM_RATE_KILL] == 0) { /* they are there to be cut off */
        plan->rates[SIM_RATE_KILL] = rates[sim_random_below(&sim->random, 4)];
    }
    plan->projects = sim_random_below(&sim->random, 4) == 0;
    plan->rates[SIM_RATE_READ_FAULT] *= 4;
    plan->rates[SIM_RATE_FLUSH_FAULT] *= 4;
}

/* --- bad answers ------------------------------------------------------------------------------ */

struct answer {
    enum tally_memory_op op;
    enum tally_code code;
    bool happened;
};
static const struct answer answers[] = {
        {TALLY_MEMORY_INIT, TALLY_TIMEOUT, false},
        {TALLY_MEMORY_INIT, TALLY_TIMEOUT, true},
        {TALLY_MEMORY_INIT, TALLY_PRODUCER_FATAL, false},
        {TALLY_MEMORY_PRODUCE, TALLY_TXN_ABORTED, false},
        {TALLY_MEMORY_PRODUCE, TALLY_DELIVERY_FAILED, false},
        {TALLY_MEMORY_PRODUCE, TALLY_DELIVERY_FAILED, true},
        {TALLY_MEMORY_PRODUCE, TALLY_FENCED, true},
        {TALLY_MEMORY_SERVE, TALLY_DELIVERY_FAILED, false},
        {TALLY_MEMORY_SERVE, TALLY_PRODUCER_FATAL, false},
        {TALLY_MEMORY_SEND_OFFSETS, TALLY_TIMEOUT, false},
        {TALLY_MEMORY_SEND_OFFSETS, TALLY_TIMEOUT, true},
        {TALLY_MEMORY_SEND_OFFSETS, TALLY_UNAVAILABLE, false},
        {TALLY_MEMORY_SEND_OFFSETS, TALLY_TXN_ABORTED, false},
        {TALLY_MEMORY_SEND_OFFSETS, TALLY_FENCED, true},
        {TALLY_MEMORY_COMMIT, TALLY_TIMEOUT, false},
        {TALLY_MEMORY_COMMIT, TALLY_TIMEOUT, true},
        {TALLY_MEMORY_COMMIT, TALLY_TXN_ABORTED, false},
        {TALLY_MEMORY_COMMIT, TALLY_TXN_ABORTED, true},
        {TALLY_MEMORY_COMMIT, TALLY_PRODUCER_FATAL, false},
        {TALLY_MEMORY_COMMIT, TALLY_PRODUCER_FATAL, true},
        {TALLY_MEMORY_COMMIT, TALLY_FENCED, false},
        {TALLY_MEMORY_ABORT, TALLY_TIMEOUT, false},
        {TALLY_MEMORY_ABORT, TALLY_TIMEOUT, true},
        {TALLY_MEMORY_ABORT, TALLY_PRODUCER_FATAL, false},
        {TALLY_MEMORY_POLL, TALLY_UNAVAILABLE, false},
        {TALLY_MEMORY_POLL, TALLY_NOT_AUTHORIZED, false},
        {TALLY_MEMORY_SEEK, TALLY_TIMEOUT, false},
        {TALLY_MEMORY_COMMITTED, TALLY_TIMEOUT, false},
        {TALLY_MEMORY_COMMITTED, TALLY_UNAVAILABLE, false},
        {TALLY_MEMORY_WATERMARKS, TALLY_TIMEOUT, false},
        {TALLY_MEMORY_WATERMARKS, TALLY_UNAVAILABLE, false},
        {TALLY_MEMORY_REPLY, TALLY_UNAVAILABLE, false},
};
enum { ANSWERS = sizeof answers / sizeof answers[0] };

static bool bad_answer(struct sim *sim, enum tally_memory_op op, struct tally_memory_fault *fault)
{
    const struct answer *fitting[ANSWERS];
    uint32_t count = 0;

    for (size_t i = 0; i < ANSWERS; i++) {
        if (answers[i].op == op) {
            fitting[count++] = &answers[i];
        }
    }
    if (count > 0) {
        const struct answer *answer = fitting[sim_random_below(&sim->random, count)];

        fault->code = answer->code;
        fault->happened = answer->happened;
    }
    return count > 0;
}

static bool late_answer(struct sim *sim, enum tally_memory_op op, struct tally_memory_fault *fault)
{
    bool is_produce = op == TALLY_MEMORY_PRODUCE;

    bool can = is_produce || op == TALLY_MEMORY_SEND_OFFSETS || op == TALLY_MEMORY_COMMIT ||
               op == TALLY_MEMORY_ABORT;

    if (!can || !sim_rolls(sim, SIM_RATE_LATE)) {
        return false;
    }
    fault->code = is_produce ? TALLY_DELIVERY_FAILED : TALLY_TIMEOUT;
    fault->happened = !is_produce && sim_random_below(&sim->random, 3) == 0;
    fault->late_ms = 1 + sim_random_below(&sim->random, 2) * sim_random_below(&sim->random, 9000) +
                     sim_random_below(&sim->random, 200);
    sim->counts[SIM_LATE]++;
    return true;
}

/* While no broker answers. Calls that need none go on. */
static bool no_answer(enum tally_memory_op op, struct tally_memory_fault *fault)
{
    switch (op) {
    case TALLY_MEMORY_BEGIN:
    case TALLY_MEMORY_SERVE:
        return false;
    case TALLY_MEMORY_POLL:
    case TALLY_MEMORY_REPLY:
        fault->code = TALLY_UNAVAILABLE;
        return true;
    case TALLY_MEMORY_PRODUCE:
        fault->code = TALLY_DELIVERY_FAILED;
        return true;
    default:
        fault->code = TALLY_TIMEOUT;
        return true;
    }
}

/* --- calls ------------------------------------------------------------------------------------ */

/* The process (with heartbeats: its stream thread) stands still; the world does not. */
static void wait_inside(struct sim *sim, struct sim_life *life, bool heartbeats)
{
    int64_t ms = 1 + sim_random_below(&sim->random, 10) * sim_random_below(&sim->random, 9000);
    int64_t until_ms = sim_now_ms(sim) + ms;

    sim->counts[SIM_PAUSED]++;
    sim_trace(sim, life->instance->index, heartbeats ? "stalls" : "pauses", ms,
            sim->thread->in_txn);
    life->stopped += !heartbeats;
    while (sim_now_ms(sim) < until_ms && !life->dead) {
        sim_tick(sim, ms / PAUSE_TICKS);
        if (heartbeats && !life->dead) {
            tally_memory_client_heartbeat(life->client);
        }
    }
    life->stopped -= !heartbeats;
    sim_trace(sim, life->instance->index, "goes on", life->dead, 0);
}

static void maybe_wait(struct sim *sim, struct sim_life *life)
{
    if (sim->depth >= DEPTH_MAX) {
        return;
    }
    if (sim_rolls(sim, SIM_RATE_PAUSE)) {
        wait_inside(sim, life, false);
    } else if (sim_rolls(sim, SIM_RATE_STALL)) {
        wait_inside(sim, life, true);
    }
}

static bool draw_fault(struct sim *sim, enum tally_memory_op op, struct tally_memory_fault *fault)
{
    if (sim_now_ms(sim) < sim->broker_down_until_ms) {
        return no_answer(op, fault);
    }
    if (late_answer(sim, op, fault)) {
        return true;
    }
    return sim_rolls(sim, SIM_RATE_ERROR) && bad_answer(sim, op, fault);
}

static bool before_call(void *context, struct tally_client *client, enum tally_memory_op op,
        struct tally_memory_fault *fault)
{
    struct sim *sim = context;
    struct sim_life *life = sim->current;
    bool hit;

    if (client == sim->foreign) {
        return false;
    }
    tally_assert(life && life->client == client && sim->thread);
    if (++sim->calls > CALLS_MAX) {
        sim_violation(sim, "comes to rest", "%d calls to the broker", CALLS_MAX);
    }
    if (op == TALLY_MEMORY_COMMIT || sim_random_below(&sim->random, 16) == 0) {
        sim_log_check_reads(sim);
    }
    if (sim_rolls(sim, SIM_RATE_KILL)) {
        sim_kill(sim, life);
        return false;
    }
    maybe_wait(sim, life);
    if (life->dead) {
        return false;
    }
    hit = draw_fault(sim, op, fault);
    sim->thread->injected = hit;
    if (hit) {
        sim_trace(sim, life->instance->index, tally_memory_op_name(op), fault->code,
                fault->late_ms ? fault->late_ms : fault->happened);
        if (fault->code == TALLY_TIMEOUT) { /* that is what the call has waited for */
            sim_advance(sim, 200 + sim_random_below(&sim->random, 3000));
        }
    }
    return hit;
}

static void note(struct sim *sim, struct sim_thread *thread, enum tally_memory_op op,
        enum tally_code code)
{
    if (op == TALLY_MEMORY_BEGIN && !code) {
        thread->in_txn = true;
    } else if (op == TALLY_MEMORY_COMMIT || op == TALLY_MEMORY_ABORT || op == TALLY_MEMORY_INIT) {
        thread->in_txn = false;
    }
    if (op == TALLY_MEMORY_COMMIT) {
        sim->counts[code ? SIM_UNKNOWN : SIM_COMMITTED]++;
    } else if (op == TALLY_MEMORY_ABORT && !code) {
        sim->counts[SIM_ABORTED]++;
    } else if (op == TALLY_MEMORY_SEND_OFFSETS && code && !thread->injected) {
        sim->counts[SIM_ZOMBIE]++;
    }
    if (tally_code_reaction(code) == TALLY_REACT_RELEASE) {
        sim->counts[SIM_FENCED]++;
    }
}

static void after_call(void *context, struct tally_client *client, enum tally_memory_op op,
        enum tally_code code)
{
    struct sim *sim = context;
    struct sim_life *life = sim->current;

    if (client == sim->foreign) {
        return;
    }
    tally_assert(life && life->client == client && sim->thread);
    sim_trace(sim, life->instance->index, tally_memory_op_name(op), code, sim->thread->in_txn);
    note(sim, sim->thread, op, code);
    if (op == TALLY_MEMORY_REPLY) {
        sim_log_check_replies(sim);
    }
    if (sim_rolls(sim, SIM_RATE_KILL)) {
        sim_kill(sim, life);
        return;
    }
    maybe_wait(sim, life);
}

static int64_t marker_delay_ms(void *context)
{
    struct sim *sim = context;

    return sim_rolls(sim, SIM_RATE_MARKERS) ? sim_random_below(&sim->random, 3000) : 0;
}

static void happened(void *context, struct tally_client *client, enum tally_memory_event event)
{
    static const enum sim_count counts[] = {
            [TALLY_MEMORY_REVOKED] = SIM_REVOKED,
            [TALLY_MEMORY_LOST] = SIM_LOST,
            [TALLY_MEMORY_EXPIRED] = SIM_EXPIRED,
            [TALLY_MEMORY_TXN_TIMED_OUT] = SIM_TIMED_OUT,
            [TALLY_MEMORY_LATE_TAKEN] = SIM_LATE_TAKEN,
            [TALLY_MEMORY_LATE_REFUSED] = SIM_LATE_REFUSED,
    };
    struct sim *sim = context;
    bool in_txn = client && sim->thread && sim->thread->in_txn;

    sim->counts[counts[event]]++;
    if ((event == TALLY_MEMORY_REVOKED || event == TALLY_MEMORY_LOST) && in_txn) {
        sim->counts[SIM_IN_TXN]++;
    }
    sim_trace(sim, client ? sim->current->instance->index : -1, sim_count_name(counts[event]), 0,
            in_txn);
}

/* --- failpoints ------------------------------------------------------------------------------- */

#if TALLY_HAS_FAILPOINTS
/* Killed there: whatever the code does on its way out is not seen by anyone. */
static enum tally_failpoint_action at_failpoint(void *context, enum tally_failpoint site,
        uint64_t hit)
{
    struct sim *sim = context;
    struct sim_life *life = sim->current;

    (void)hit;
    if (!life || life->dead) {
        return TALLY_FAILPOINT_PASS;
    }
    if (sim_rolls(sim, SIM_RATE_FAILPOINT_KILL)) {
        sim->counts[SIM_FAILPOINT_KILLED]++;
        sim_trace(sim, life->instance->index, tally_failpoint_rows[site].name, 0, 0);
        sim_kill(sim, life);
    } else if (tally_failpoint_rows[site].can_fail && sim_rolls(sim, SIM_RATE_FAILPOINT_ERROR)) {
        sim->counts[SIM_FAILPOINT_FAILED]++;
        sim_trace(sim, life->instance->index, tally_failpoint_rows[site].name, 1, 0);
        return TALLY_FAILPOINT_ERROR;
    }
    return TALLY_FAILPOINT_PASS;
}
#endif

/* --- installation ----------------------------------------------------------------------------- */

void sim_faults_install(struct sim *sim)
{
    struct tally_memory_hooks hooks = {.context = sim,
            .before = before_call,
            .after = after_call,
            .marker_delay_ms = marker_delay_ms,
            .happened = happened};
    int64_t heartbeat_ms =
            sim_random_below(&sim->random, 2) ? 1 + sim_random_below(&sim->random, 3000) : 0;

    tally_memory_broker_group_times(sim->broker, sim->config->session_timeout,
            sim->config->max_poll_interval, heartbeat_ms);
    tally_memory_broker_set_hooks(sim->broker, &hooks);
#if TALLY_HAS_FAILPOINTS
    tally_failpoint_set_handler(at_failpoint, sim);
#endif
}

/* --- disk ------------------------------------------------------------------------------------- */

static void write_slowly(struct sim *sim, struct sim_life *life)
{
    uint32_t ticks = 1 + sim_random_below(&sim->random, 12);

    sim->counts[SIM_SLOW_FLUSH]++;
    sim_trace(sim, life->instance->index, "flush waits", ticks, 0);
    for (uint32_t i = 0; i < ticks && !life->dead; i++) {
        sim_tick(sim, 0);
    }
    sim_trace(sim, life->instance->index, "flush goes on", life->dead, 0);
}

bool sim_disk_fault(void *context, enum tally_disk_op op, struct tally_disk_fault *fault)
{
    struct sim_life *life = context;
    struct sim *sim = life->sim;

    if (life->dead) {
        return false; /* whatever it does now is not seen by anyone */
    }
    if (op == TALLY_DISK_READ && life->flushing) {
        return false; /* a store that is found damaged is closed: that would wait for the flush */
    }
    if (op == TALLY_DISK_INGEST && life->flushing && !sim->thread && sim->depth < DEPTH_MAX &&
            sim_rolls(sim, SIM_RATE_SLOW_FLUSH)) {
        write_slowly(sim, life);
        if (life->dead) {
            return false;
        }
    }
    if (op == TALLY_DISK_INGEST && sim_rolls(sim, SIM_RATE_FLUSH_FAULT)) {
        fault->code = TALLY_STORE_ERROR;
        fault->happened = sim_random_below(&sim->random, 3) == 0;
        fault->lost = sim_random_below(&sim->random, 2);
        sim->counts[SIM_FLUSH_FAILED]++;
    } else if (op == TALLY_DISK_READ && sim_rolls(sim, SIM_RATE_READ_FAULT)) {
        bool corrupt = sim_random_below(&sim->random, 2);

        fault->code = corrupt ? TALLY_STORE_CORRUPT : TALLY_STORE_ERROR;
        sim->counts[SIM_REBUILT] += corrupt;
    } else {
        return false;
    }
    sim_trace(sim, life->instance->index, op == TALLY_DISK_READ ? "disk read" : "disk write",
            fault->code, fault->happened);
    return true;
}
