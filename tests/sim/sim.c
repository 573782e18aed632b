/* tests/sim/sim.c - the command line.
 *   sim SEED                    one run, its steps on stdout, its trace hash at the end
 *   sim --seeds N [--from S]    many; stops at the first that does not hold. From REQUIRED_SEEDS
 *                               on, every rare path must have been taken.
 *   sim --same SEED [N]         N seeds, each twice: the trace hashes must be equal
 *   sim --no-guard N            must find within N seeds what comes of it when a producer in doubt
 *                               is not replaced (KIP-890), or says that it was not found */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/metrics.h"
#include "tests/sim/sim.h"
#include "topologies/registry.h"

enum {
    REQUIRED_SEEDS = 500,
    WATCHDOG_S = 120,
    PROGRESS_SEEDS = 1000,
    KEEP_BYTES = 32 * 1024 * 1024
};

struct program {
    struct tally_config config;
    struct tally_topology *topologies[SIM_TOPOLOGIES];
    int64_t counts[SIM_COUNT_KINDS];
    int64_t simulated_ms;
    struct sim_options options;
};

static volatile sig_atomic_t running_seed_high, running_seed_low;

/* An assertion, a crash or an endless loop of the engine is a finding as any other. */
static void on_signal(int number)
{
    const char *what = number == SIGABRT   ? ": no assertion fails: the program has aborted\n"
                       : number == SIGALRM ? ": comes to rest: no end in sight\n"
                                           : ": no crash: invalid memory access\n";
    uint64_t seed = (uint64_t)(uint32_t)running_seed_high << 32 | (uint32_t)running_seed_low;
    char text[32] = "seed ";
    size_t at = sizeof text;
    char digits[24];
    size_t count = 0;

    do {
        digits[count++] = (char)('0' + seed % 10);
        seed /= 10;
    } while (seed > 0);
    at = strlen(text);
    while (count > 0) {
        text[at++] = digits[--count];
    }
    (void)!write(STDOUT_FILENO, text, at);
    (void)!write(STDOUT_FILENO, what, strlen(what));
    _Exit(EXIT_FAILURE);
}

static void catch_signals(void)
{
#ifdef __SANITIZE_ADDRESS__ /* it tells more of the others */
    static const int numbers[] = {SIGABRT, SIGALRM};
#else
    static const int numbers[] = {SIGABRT, SIGALRM, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
#endif

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction action = {.sa_handler = on_signal};

        (void)sigemptyset(&action.sa_mask);
        (void)sigaction(numbers[i], &action, NULL);
    }
}

static void load_config(struct tally_config *config)
{
    char *argv[] = {(char[]){"sim"}, NULL};
    int argc = 1;
    struct tally_buf mistakes;
    struct tally_error err = {.code = TALLY_OK};

    tally_buf_init(&mistakes, 65536);
    if (tally_config_load(config, &argc, argv, &mistakes, &err)) {
        fprintf(stderr, "sim: %.*s\n", (int)mistakes.len, (const char *)mistakes.data);
        exit(EXIT_FAILURE);
    }
    tally_buf_deinit(&mistakes);
    config->stock_require_registration = false;
}

static void open_program(struct program *program)
{
    static const char *const names[SIM_TOPOLOGIES] = {
            SIM_STOCK, SIM_CATALOGUE, SIM_RESERVATION, SIM_LOW_STOCK};
    struct tally_error err = {.code = TALLY_OK};

    load_config(&program->config);
    for (size_t i = 0; i < SIM_TOPOLOGIES; i++) {
        if (tally_registry_create(names[i], &program->config, &program->topologies[i], &err)) {
            fprintf(stderr, "sim: %s\n", err.message);
            exit(EXIT_FAILURE);
        }
    }
}

static void close_program(struct program *program)
{
    for (size_t i = 0; i < SIM_TOPOLOGIES; i++) {
        tally_topology_destroy(program->topologies[i]);
    }
    tally_config_deinit(&program->config);
}

/* The trace hash. */
static uint64_t run_seed(struct program *program, uint64_t seed)
{
    static struct sim sim;
    int64_t before = tally_series_read(tally_series_of(TALLY_METRIC_RESTORED, SIM_STOCK));
    int64_t begun_ms;

    running_seed_high = (sig_atomic_t)(uint32_t)(seed >> 32);
    running_seed_low = (sig_atomic_t)(uint32_t)seed;
    (void)alarm(WATCHDOG_S);
    sim_open(&sim, seed, &program->options, &program->config, program->topologies);
    begun_ms = sim_now_ms(&sim);
    sim_run(&sim);
    sim.counts[SIM_RESTORED] +=
            tally_series_read(tally_series_of(TALLY_METRIC_RESTORED, SIM_STOCK)) - before;
    program->simulated_ms += sim_now_ms(&sim) - begun_ms;
    for (int i = 0; i < SIM_COUNT_KINDS; i++) {
        program->counts[i] += sim.counts[i];
    }
    sim_close(&sim);
    return sim.trace_hash;
}

static int one_seed(struct program *program, uint64_t seed)
{
    uint64_t hash;

    tally_log_init(TALLY_LOG_WARN, TALLY_LOG_LOGFMT);
    program->options.verbose = true;
    hash = run_seed(program, seed);
    for (int i = 0; i < SIM_COUNT_KINDS; i++) {
        if (program->counts[i] > 0) {
            printf("%s %lld, ", sim_count_name((enum sim_count)i), (long long)program->counts[i]);
        }
    }
    printf("%lld simulated seconds\nseed %llu: trace hash %016llx\n",
            (long long)program->simulated_ms / 1000, (unsigned long long)seed,
            (unsigned long long)hash);
    return EXIT_SUCCESS;
}

static int report(const struct program *program, uint64_t seeds, int64_t took_us)
{
    double seconds = (double)(took_us > 0 ? took_us : 1) / 1e6;
    int missing = 0;

    for (int i = 0; i < SIM_COUNT_KINDS; i++) {
        printf("%12lld %s\n", (long long)program->counts[i], sim_count_name((enum sim_count)i));
        /* what is missing is no finding of a run that must find something */
        if (program->counts[i] == 0 && seeds >= REQUIRED_SEEDS && !program->options.unguarded) {
            missing++;
            printf("rare paths are taken: \"%s\" never happened\n",
                    sim_count_name((enum sim_count)i));
        }
    }
    printf("%llu seeds hold: %.0f seeds a minute, %.0f simulated seconds a second\n",
            (unsigned long long)seeds, (double)seeds * 60 / seconds,
            (double)program->simulated_ms / 1000 / seconds);
    return missing > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int many_seeds(struct program *program, uint64_t from, uint64_t seeds)
{
    int64_t begun_us = tally_mono_us(tally_clock_real());

    for (uint64_t i = 0; i < seeds; i++) {
        (void)run_seed(program, from + i);
        if ((i + 1) % PROGRESS_SEEDS == 0) {
            int64_t took_us = tally_mono_us(tally_clock_real()) - begun_us;

            printf("%llu seeds, %.0f a minute\n", (unsigned long long)i + 1,
                    (double)(i + 1) * 60e6 / (double)took_us);
            (void)fflush(stdout);
        }
    }
    return report(program, seeds, tally_mono_us(tally_clock_real()) - begun_us);
}

static int same_hashes(struct program *program, uint64_t from, uint64_t seeds)
{
    for (uint64_t seed = from; seed < from + seeds; seed++) {
        uint64_t first = run_seed(program, seed), second = run_seed(program, seed);

        if (first != second) {
            printf("seed %llu: the same seed gives the same steps: trace hashes %016llx, %016llx\n",
                    (unsigned long long)seed, (unsigned long long)first,
                    (unsigned long long)second);
            return EXIT_FAILURE;
        }
    }
    printf("%llu seeds give the same trace hash twice\n", (unsigned long long)seeds);
    return EXIT_SUCCESS;
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);

    if (*text < '0' || *text > '9' || *end) {
        fprintf(stderr, "sim: \"%s\" is no number\n", text);
        exit(2);
    }
    return value;
}

static int run(struct program *program, int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : "";

    if (!strcmp(first, "--seeds") && (argc == 3 || (argc == 5 && !strcmp(argv[3], "--from")))) {
        return many_seeds(program, argc == 5 ? number(argv[4]) : 1, number(argv[2]));
    }
    if (!strcmp(first, "--no-guard") && argc == 3) {
        program->options.unguarded = true;
        return many_seeds(program, 1, number(argv[2]));
    }
    if (!strcmp(first, "--same") && (argc == 3 || argc == 4)) {
        return same_hashes(program, number(argv[2]), argc == 4 ? number(argv[3]) : 1);
    }
    if (argc == 2 && first[0] != '-') {
        return one_seed(program, number(first));
    }
    fprintf(stderr, "usage: sim SEED | sim --seeds N [--from S] | sim --same SEED [N] | "
                    "sim --no-guard N\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct program program = {.counts = {0}};
    int status;

    /* what a seed frees the next one takes: not worth giving back */
    (void)mallopt(M_MMAP_THRESHOLD, KEEP_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, KEEP_BYTES);
    tally_log_init((enum tally_log_level)(TALLY_LOG_ERROR + 1), TALLY_LOG_LOGFMT);
    catch_signals();
    open_program(&program);
    status = run(&program, argc, argv);
    close_program(&program);
    return status;
}
