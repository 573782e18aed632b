/* tests/sim/sim.h - one simulated system: a broker, up to three instances of tally in one group,
 * their disks, clients that send commands, and all that goes wrong, from one seed.
 * Invariants
 *  (1) The same seed gives the same steps: all choices come from sim.random, all time from
 *      sim.clock. The hash of the steps is the trace hash.
 *  (2) One thread. An instance that waits inside a call (paused, or its request is on the way) is
 *      on the C stack while the others run: see sim_tick.
 *  (3) A dead instance has no effect any more: its clients are dead, its disk was copied when it
 *      died, and it is unwound when it is off the stack. */
#pragma once
#include "engine/base/config.h"
#include "engine/memory_client.h"
#include "engine/stream_thread.h"
#include "engine/topology.h"
#include "state/memory_disk.h"
#include "tests/sim/sim_random.h"

enum {
    SIM_INSTANCES = 4, /* the last may be a twin of the first, with the same instance.id */
    SIM_THREADS = 2,   /* of an instance, for its aggregates */
    SIM_LIFE_THREADS = SIM_THREADS + 1, /* and one of a projection */
    SIM_PARTITIONS = 4,
    SIM_SKUS = 6,
    SIM_WAREHOUSES = 2,
    SIM_LEVELS = SIM_SKUS * SIM_WAREHOUSES,
    SIM_COMMANDS = 256,
    SIM_RESERVATIONS = 8,
    SIM_TOPOLOGIES = 4,
    SIM_ID_MAX = 32,
    SIM_VALUE_MAX = 896
};
#define SIM_STOCK       "stock"
#define SIM_CATALOGUE   "catalogue"
#define SIM_RESERVATION "reservation"
#define SIM_LOW_STOCK   "low_stock"
#define SIM_REPLY_TOPIC "sim.replies"
#define SIM_MILLION     1000000

/* --- what may happen -------------------------------------------------------------------------- */

/* Rare paths that a run of many seeds must have taken, and some that are only counted. */
#define SIM_COUNTS(X)                                         \
    X(COMMITTED, "committed")                                 \
    X(ABORTED, "aborted")                                     \
    X(FENCED, "fenced")                                       \
    X(UNKNOWN, "unknown commits")                             \
    X(LATE, "late requests")                                  \
    X(LATE_TAKEN, "late requests taken")                      \
    X(LATE_REFUSED, "late requests refused")                  \
    X(EXPIRED, "members expired")                             \
    X(CRASHED, "crashes")                                     \
    X(FAILPOINT_KILLED, "killed at a failpoint")              \
    X(FAILPOINT_FAILED, "failed at a failpoint")              \
    X(TWINS_FENCED, "twins fenced")                           \
    X(EXPIRED_IDS, "ids decided again after their retention") \
    X(STOPPED, "clean stops")                                 \
    X(PAUSED, "pauses")                                       \
    X(ZOMBIE, "zombies refused")                              \
    X(REVOKED, "revoked")                                     \
    X(LOST, "assignments lost")                               \
    X(IN_TXN, "rebalances in a transaction")                  \
    X(TIMED_OUT, "transaction timeouts")                      \
    X(RESTORED, "events restored")                            \
    X(REBUILT, "stores rebuilt")                              \
    X(FLUSH_FAILED, "flushes failed")                         \
    X(SLOW_FLUSH, "slow flushes")                             \
    X(OLD_DISK, "older disks")                                \
    X(LOST_DISK, "lost disks")                                \
    X(TOO_LARGE, "events too large")                          \
    X(DEAD_LETTERS, "dead letters")                           \
    X(FORWARDED, "forwards")                                  \
    X(FOREIGN, "transactions of clients")                     \
    X(REPEATED, "repeats")                                    \
    X(REJECTED, "refusals")                                   \
    X(READS, "reads checked")                                 \
    X(REPLIES, "replies checked")                             \
    X(COMPLETED, "replies of sagas that ended")               \
    X(BROKER_DOWN, "broker outages")                          \
    X(CLOCK_JUMPS, "clock jumps")                             \
    X(CONFIRMED, "reservations confirmed")                    \
    X(FAILED, "reservations failed")                          \
    X(RETRIED, "reservations retried")                        \
    X(PROMISED, "reservations committed")                     \
    X(RELEASED, "reservations released")                      \
    X(EXPIRED_TTL, "reservations expired")                    \
    X(FULFILLED, "reservations fulfilled")                    \
    X(DIED_RESERVE, "deaths before a ReserveStock")           \
    X(DIED_HOLD, "deaths before a HoldStock")                 \
    X(DIED_REPLY, "deaths before a HoldReply")                \
    X(DIED_CONFIRM, "deaths before a ConfirmHold")            \
    X(DIED_COMMIT, "deaths before a CommitHold")              \
    X(DIED_RELEASE, "deaths before a ReleaseHold")            \
    X(DIED_SHIPPED, "deaths before a HoldShipped")

enum sim_count {
#define X(id, text) SIM_##id,
    SIM_COUNTS(X)
#undef X
            SIM_COUNT_KINDS
};
const char *sim_count_name(enum sim_count count);

/* What a seed turns on, drawn first; rates are per million calls or ticks. */
enum sim_rate {
    SIM_RATE_ERROR, /* a bad answer */
    SIM_RATE_LATE,  /* done later, or again later */
    SIM_RATE_KILL,  /* at a call */
    SIM_RATE_PAUSE, /* at a call */
    SIM_RATE_STALL, /* as a pause, but the client's heartbeats go on */
    SIM_RATE_FAILPOINT_KILL,
    SIM_RATE_FAILPOINT_ERROR,
    SIM_RATE_STOP, /* an instance is stopped properly, at a tick */
    SIM_RATE_REBALANCE,
    SIM_RATE_DOWN,       /* the broker is gone for a while */
    SIM_RATE_JUMP,       /* of the wall clock */
    SIM_RATE_SLOW_FLUSH, /* while it lasts the instance goes on */
    SIM_RATE_READ_FAULT,
    SIM_RATE_FLUSH_FAULT,
    SIM_RATE_OLD_DISK,  /* at a start */
    SIM_RATE_LOST_DISK, /* at a start */
    SIM_RATE_MARKERS,   /* a marker that takes its time */
    SIM_RATES
};

struct sim_plan {
    int instances, threads;
    bool twin, foreign;
    bool projects; /* low_stock runs too */
    int32_t partitions;
    bool catalogue, sagas;
    int commands, ticks;
    uint32_t rates[SIM_RATES];
};

/* --- the system ------------------------------------------------------------------------------- */

struct sim_clock {
    struct tally_clock clock;
    int64_t mono_us, wall_offset_ms;
};

enum sim_kind {
    SIM_RECEIVE,
    SIM_SHIP,
    SIM_ADJUST,
    SIM_UNKNOWN_TYPE, /* refused */
    SIM_REGISTER,     /* of catalogue */
    SIM_POISON,       /* dead letter */
    SIM_RESERVE,      /* of reservation, these three */
    SIM_COMMIT,
    SIM_RELEASE,
    SIM_SHIP_HELD, /* of stock, for a reservation */
    SIM_KINDS
};
/* A command as the clients know it; records may repeat it. */
struct sim_command {
    enum sim_kind kind;
    int sku, warehouse;
    int64_t quantity, expected_version; /* -1: none */
    bool large;                         /* its fact is larger than the events topic takes */
    int reservation;
    char id[SIM_ID_MAX], key[SIM_ID_MAX], value[SIM_VALUE_MAX];
};

struct sim;
struct sim_thread {
    struct sim_life *life;
    struct tally_stream_thread *thread;
    bool stepping; /* on the stack */
    bool closed;
    bool in_txn;
    bool injected; /* the call that runs has a fault */
};

/* One run of the process. */
struct sim_life {
    struct sim_life *next; /* dead ones that are still on the stack */
    struct sim *sim;
    struct sim_instance *instance;
    struct tally_memory_disk *disk;
    struct tally_client *client;
    struct tally_state *state;
    struct tally_task_registry *registry;
    struct sim_thread threads[SIM_LIFE_THREADS];
    int thread_count;
    struct tally_config config; /* as that of the system, with its own instance.id */
    char name[2];
    bool flushing; /* on the stack */
    bool dead;
    int stopped; /* the process stands still, by SIGSTOP */
};

struct sim_instance {
    int index;
    char name;                      /* instance.id */
    struct tally_memory_disk *disk; /* of the next life; NULL while one has it */
    struct tally_memory_disk *old;  /* an older copy; NULL: none */
    struct sim_life *life;          /* NULL: down */
    int64_t start_at_ms;
};

struct sim_log; /* sim_log.c */
struct sim {
    uint64_t seed;
    bool verbose, healing;
    bool unguarded; /* producers in doubt say that they are not: a negative control */
    struct sim_random random;
    struct sim_plan plan;
    struct sim_clock clock;
    uint64_t trace_hash;
    int64_t counts[SIM_COUNT_KINDS];
    uint64_t calls;

    struct tally_config *config; /* of all lives, but for the instance's id */
    struct tally_topology *topologies[SIM_TOPOLOGIES];
    size_t topology_count;
    struct tally_memory_broker *broker;
    struct sim_instance instances[SIM_INSTANCES];
    struct sim_life *dead;
    struct sim_life *current;  /* whose code runs; NULL: nobody's */
    struct sim_thread *thread; /* its thread; NULL: the one that flushes */
    int64_t broker_down_until_ms;
    int depth; /* of ticks inside calls */

    struct tally_client *foreign; /* of others, without faults */
    struct tally_producer *foreign_producer;
    struct sim_command commands[SIM_COMMANDS];
    int command_count, sent;
    struct sim_log *log;
};

/* What does not end well: prints "seed S: <invariant>: <what>" and ends the program. */
_Noreturn void sim_violation(const struct sim *sim, const char *invariant, const char *what, ...)
        TALLY_PRINTF(3, 4);
/* One step of the trace: who (-1: nobody), what, two numbers. */
void sim_trace(struct sim *sim, int who, const char *what, int64_t a, int64_t b);
int64_t sim_now_ms(const struct sim *sim);
void sim_advance(struct sim *sim, int64_t by_ms);
bool sim_rolls(struct sim *sim, enum sim_rate rate); /* never while healing */

/* sim_world.c */
struct sim_options {
    bool verbose, unguarded;
};
void sim_open(struct sim *sim, uint64_t seed, const struct sim_options *options,
        struct tally_config *config, struct tally_topology *const *topologies);
void sim_close(struct sim *sim);
void sim_start(struct sim *sim, struct sim_instance *instance);
void sim_kill(struct sim *sim, struct sim_life *life); /* from anywhere */
void sim_stop(struct sim *sim, struct sim_life *life); /* as by SIGTERM */
/* Something happens: an instance takes a turn, clients send, time passes. Whatever is on the stack
 * stays where it is. */
void sim_tick(struct sim *sim, int64_t at_least_ms);
void sim_run(struct sim *sim);                       /* all of a seed */
void sim_come_to_rest(struct sim *sim);              /* without faults from here on */
bool sim_life_stepping(const struct sim_life *life); /* one of its threads is on the stack */

/* sim_faults.c */
void sim_plan_draw(struct sim *sim);
void sim_faults_install(struct sim *sim);
bool sim_disk_fault(void *context, enum tally_disk_op op, struct tally_disk_fault *fault);

/* sim_workload.c */
void sim_workload_prepare(struct sim *sim);
void sim_workload_send(struct sim *sim); /* one record */
void sim_workload_foreign(struct sim *sim, bool end);

/* sim_log.c: what has become visible on the events topics, and what readers may see of it. */
void sim_log_open(struct sim *sim);
void sim_log_close(struct sim *sim);
void sim_log_follow(struct sim *sim);
void sim_log_check_reads(struct sim *sim); /* the views of one task of one instance */
void sim_log_check_replies(struct sim *sim);

/* sim_check.c: after the system has come to rest. */
void sim_check(struct sim *sim);
/* sim_view.c: at rest, the projection's rows are what the levels of stock say. */
void sim_view_check(struct sim *sim);
struct tally_task_slot *sim_running_slot(struct sim *sim, const char *topology, int32_t partition);

/* sim_saga.c: reservations over several SKUs, which no model here decides. */
bool sim_is_reservation(const struct sim_command *command);
void sim_saga_make(struct sim *sim, struct sim_command *command, int number);
/* The next command is for a reservation that had better been made before. */
bool sim_saga_waits(struct sim *sim);
bool sim_saga_goes_on(const struct sim *sim); /* there are commands left to send */
void sim_saga_died(struct sim *sim, const struct sim_life *life); /* counts what it died before */
/* Whether it dies now, because a hop is before it that deaths by chance seldom hit. */
bool sim_saga_cuts(struct sim *sim, const struct sim_life *life);
void sim_saga_settle(struct sim *sim); /* from rest to rest, until no short timer is left */
void sim_saga_check(struct sim *sim);  /* at rest: stock and reservations agree, nothing hangs */
