/* apps/cmd_run.c - one running instance: builds the parts in their order, watches them, ends them.
 *
 *   STARTING --[ready]--> RUNNING --[SIGTERM, SIGINT]--> DRAINING --[drained]--> exit 0
 *   STARTING --[SIGTERM, SIGINT]--> exit 0
 *   STARTING, RUNNING --[failure]--> exit 1       DRAINING --[second signal]--> exit 130
 *   SIGUSR1 is SIGTERM of an instance that does not come back: it leaves its groups (--leave).
 *   SIGHUP has the files of keys read again, and nothing else: settings are read at the start.
 *
 *  (1) Signals are blocked before the first thread starts, so only this thread ever sees one.
 *  (2) Parts end in the opposite order: HTTP before the runtime that it reads, the runtime before
 *      the client that it uses. But sinks stop once the runtime has drained, and are gone after
 *      HTTP.
 *  (3) A part that cannot start, or a stream thread that gave up, ends the process with a named
 *      error: restart and restore is the tested way back. */
#include "apps/cmd.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "apps/instance.h"
#include "apps/sinks.h"
#include "apps/supervisor.h"
#include "connectors/http_forward.h"
#include "connectors/kafka_admin.h"
#include "connectors/kafka_client.h"
#include "connectors/postgres_reader.h"
#include "connectors/redis_limiter.h"
#include "connectors/redis_reader.h"
#include "engine/base/failpoint.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/mem_idle.h"
#include "engine/base/metrics.h"
#include "engine/base/stillness.h"
#include "engine/base/version.h"
#include "engine/runtime.h"
#include "http/server.h"

#define WATCH_MS          200
#define STARTING_MS       20 /* while a supervisor waits for READY */
#define TOPICS_TIMEOUT_MS 5000
#define TOPICS_ATTEMPTS   12   /* a broker may start after us; then the supervisor decides */
#define SINKS_MS          1000 /* that sinks have at least, however long the runtime took to end */
#define REST_MS           10000
#define MISTAKES_MAX      (64 * 1024)
#define EVERYTHING_MAX    (1024 * 1024)

struct run {
    struct cli *cli;
    const struct tally_config *config;
    struct instance instance;
    struct tally_client *client;
    struct tally_runtime *runtime;
    struct sinks *sinks;
    struct tally_http *http;
    struct tally_http_readers readers;
    struct supervisor supervisor;
    char address[TALLY_ADDRESS_BYTES_MAX]; /* of HTTP, for other instances */
    int32_t partitions;
    bool interrupted;                 /* by a signal, before it had started */
    struct tally_stillness stillness; /* of commits */
    bool rests;
    bool leaves; /* its groups, when it ends, so that others have its partitions at once */
};

static void block_signals(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGHUP);
    sigaddset(signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void on_second_signal(int signal_number)
{
    (void)signal_number;
    _exit(CLI_INTERRUPTED);
}

/* From here on a signal ends the process at once. */
static void arm_second_signal(const sigset_t *signals)
{
    struct sigaction action = {.sa_handler = on_second_signal};

    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    pthread_sigmask(SIG_UNBLOCK, signals, NULL);
}

static void reload(struct run *run)
{
    struct tally_error err;

    if (!run->http || strcmp(run->config->http_auth, "none") == 0) {
        tally_log(TALLY_LOG_WARN, "SIGHUP changes nothing: restart to have settings read again");
    } else if (tally_http_reload(run->http, &err)) {
        tally_log_error(TALLY_LOG_ERROR, "http keys not read, those from before are good", &err);
    }
}

/* Waits for a signal that ends the process; 0: none within wait_ms. */
static int next_signal(struct run *run, const sigset_t *signals, int64_t wait_ms)
{
    struct timespec limit = {.tv_sec = wait_ms / 1000, .tv_nsec = (wait_ms % 1000) * 1000000};
    int number = sigtimedwait(signals, NULL, &limit);

    if (number == SIGHUP) {
        reload(run);
        return 0;
    }
    return number > 0 ? number : 0;
}

/* RocksDB and sockets need more files than the usual soft limit. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Passwords and keys are in memory: no core dump and no other process of the user gets them. */
static void keep_memory_private(const struct tally_config *config)
{
    if (!config->core_dumps) {
        (void)prctl(PR_SET_DUMPABLE, 0);
    }
}

static void start_log(const struct tally_config *config)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    enum tally_log_level lowest = TALLY_LOG_INFO;

    for (int i = 0; i < 4; i++) {
        if (strcmp(config->log_level, levels[i]) == 0) {
            lowest = (enum tally_log_level)i;
        }
    }
    tally_log_init(lowest,
            strcmp(config->log_format, "json") == 0 ? TALLY_LOG_JSON : TALLY_LOG_LOGFMT);
    tally_log_thread("main");
}

/* Every mismatch on a line of its own; the caller ends the process. */
static void log_mistakes(const struct tally_buf *mistakes)
{
    struct tally_slice left = tally_buf_bytes(mistakes);

    while (left.len > 0) {
        const uint8_t *end = memchr(left.data, '\n', left.len);
        size_t len = end ? (size_t)(end - left.data) : left.len;

        tally_log(TALLY_LOG_ERROR, "topic does not fit",
                TALLY_LOG_BYTES("reason", tally_slice_of(left.data, len)));
        left = end ? tally_slice_of(end + 1, left.len - len - 1) : TALLY_NONE;
    }
}

static enum tally_code check_topics(struct run *run, const sigset_t *signals,
        struct tally_error *err)
{
    struct tally_topic_spec *specs = NULL;
    struct tally_buf mistakes;
    size_t count = 0;
    enum tally_code code = tally_topics_of(run->config, run->instance.owners,
            run->instance.topology_count, &specs, &count, err);

    tally_buf_init(&mistakes, MISTAKES_MAX);
    for (int attempt = 1; code == TALLY_OK; attempt++) {
        code = tally_topics_check(run->config, specs, count, TOPICS_TIMEOUT_MS, &run->partitions,
                &mistakes, err);
        if (code == TALLY_OK || tally_code_reaction(code) != TALLY_REACT_RETRY ||
                attempt == TOPICS_ATTEMPTS) {
            break;
        }
        tally_log_error(TALLY_LOG_WARN, "waiting for kafka", err);
        supervisor_status(&run->supervisor, "waiting for Kafka: %s", err->message);
        if (next_signal(run, signals, 1000)) {
            run->interrupted = true;
            break;
        }
        code = TALLY_OK;
    }
    for (size_t i = 0; i < count && code == TALLY_OK; i++) {
        if (specs[i].max_message_bytes > 0) {
            tally_kafka_client_limit(run->client, specs[i].name,
                    (size_t)specs[i].max_message_bytes);
        }
    }
    log_mistakes(&mistakes);
    tally_buf_deinit(&mistakes);
    tally_free(specs);
    return code;
}

/* What other instances and the ready line say; empty without HTTP. */
static const char *http_address(const struct run *run)
{
    return run->http ? tally_http_address(run->http) : run->config->http_listen;
}

/* What HTTP reads besides its own tasks, and what counts its clients. */
static enum tally_code open_readers(struct run *run, struct tally_error *err)
{
    const struct tally_config *config = run->config;
    struct tally_limit_log *log = NULL;
    enum tally_code code = TALLY_OK;

    if (config->redis_url[0]) {
        code = tally_redis_reader_create(config, run->partitions, &run->readers.cache, err);
        if (!code) {
            code = tally_redis_limiter_create(config, &log, err);
        }
    }
    if (!code && config->postgres_url[0]) {
        code = tally_postgres_reader_create(config, &run->readers.search, err);
    }
    if (!code) {
        run->readers.limiter =
                tally_limiter_create(log, config->http_limit_instances, tally_clock_real());
    }
    return code;
}

/* The other instances of the group; each topology has tasks with them. */
static void open_forward(struct run *run)
{
    size_t count = run->instance.topology_count;
    struct tally_forward_task *tasks = tally_alloc_zero(count, sizeof *tasks);

    for (size_t i = 0; i < count; i++) {
        const struct tally_topology *topology = run->instance.topologies[i];

        tasks[i] = (struct tally_forward_task){tally_topology_name(topology),
                tally_topology_input(topology), tally_topology_group(topology)};
    }
    run->readers.forward = tally_http_forward_create(&(struct tally_forward_options){
            .config = run->config,
            .address = run->address,
            .tasks = tasks,
            .task_count = count,
            .partitions = run->partitions,
    });
    tally_free(tasks);
}

static void close_readers(struct run *run)
{
    if (run->readers.forward) {
        run->readers.forward->ops->destroy(run->readers.forward);
    }
    if (run->readers.cache) {
        run->readers.cache->ops->destroy(run->readers.cache);
    }
    if (run->readers.search) {
        run->readers.search->ops->destroy(run->readers.search);
    }
    tally_limiter_destroy(run->readers.limiter);
}

static enum tally_code start(struct run *run, const sigset_t *signals, struct tally_error *err)
{
    enum tally_code code =
            run->config->http_listen[0] ? tally_http_check(run->config, err) : TALLY_OK;

    if (code)
        goto out;
    code = instance_build(&run->instance, run->config, err);
    if (code)
        goto out;
    tally_http_forward_address(run->config, run->address);
    code = tally_kafka_client_create(run->config, run->address, &run->client, err);
    if (code)
        goto out;
    code = check_topics(run, signals, err);
    if (code)
        goto out;
    code = tally_runtime_create(&(struct tally_runtime_options){.config = run->config,
                                        .client = run->client,
                                        .clock = tally_clock_real(),
                                        .topologies = run->instance.topologies,
                                        .topology_count = run->instance.topology_count,
                                        .partitions = run->partitions},
            &run->runtime, err);
    if (code)
        goto out;
    code = tally_runtime_start(run->runtime, err);
    if (code)
        goto out;
    code = sinks_create(run->config, &run->instance, run->client, run->partitions, &run->sinks,
            err);
    if (code)
        goto out;
    tally_runtime_set_sinks(run->runtime, sinks_control(run->sinks));
    sinks_start(run->sinks);
    if (run->config->http_listen[0]) {
        run->readers.client = run->client;
        code = open_readers(run, err);
        if (code)
            goto out;
        open_forward(run);
        code = tally_http_start(run->runtime, &run->readers, &run->http, err);
    }
out:
    return code;
}

static void log_ready(const struct run *run)
{
    struct tally_buf names;

    tally_buf_init(&names, EVERYTHING_MAX);
    for (size_t i = 0; i < run->instance.topology_count; i++) {
        tally_buf_format(&names, "%s%s", i ? "," : "", run->instance.names[i]);
    }
    tally_log(TALLY_LOG_INFO, "tally ready", TALLY_LOG_STR("version", tally_version()),
            TALLY_LOG_STR("http", http_address(run)),
            TALLY_LOG_BYTES("topologies", tally_buf_bytes(&names)),
            TALLY_LOG_INT("partitions", run->partitions));
    tally_buf_deinit(&names);
}

/* What only work needs is given back once there was none for a while. */
static void rest(struct run *run)
{
    int64_t commits = tally_series_read(tally_series_of(TALLY_METRIC_TRANSACTIONS, "committed"));
    bool rests = tally_stillness_look(&run->stillness, commits,
                         tally_mono_ms(tally_clock_real())) >= REST_MS;

    if (rests && !run->rests) {
        tally_mem_idle_trim();
    }
    run->rests = rests;
}

/* Until a signal (TALLY_OK) or a failure of the runtime. */
static enum tally_code watch(struct run *run, const sigset_t *signals, struct tally_error *err)
{
    for (;;) {
        enum tally_code code = tally_runtime_failure(run->runtime, err);
        int number;

        if (code) {
            return code;
        }
        supervisor_watch(&run->supervisor, run->runtime);
        rest(run);
        number = next_signal(run, signals,
                supervisor_waits(&run->supervisor) ? STARTING_MS : WATCH_MS);
        if (number) {
            run->leaves = run->leaves || number == SIGUSR1;
            tally_log(TALLY_LOG_INFO, run->leaves ? "stopping, leaving the groups" : "stopping",
                    TALLY_LOG_STR("signal", number == SIGUSR1  ? "SIGUSR1"
                                            : number == SIGINT ? "SIGINT"
                                                               : "SIGTERM"));
            if (run->leaves) { /* after a failure it comes back */
                tally_kafka_client_leave(run->client);
            }
            return TALLY_OK;
        }
    }
}

static void finish(struct run *run)
{
    int64_t start_ms = tally_mono_ms(tally_clock_real());
    struct tally_error late;
    enum tally_code drained = TALLY_OK;

    supervisor_stopping(&run->supervisor, run->config->shutdown_timeout);
    if (run->runtime) {
        tally_runtime_shutting_down(run->runtime);
        if (run->http) {
            tally_http_close(run->http);
        }
        drained = tally_runtime_drain(run->runtime, &late);
    }
    if (!drained && run->sinks) {
        int64_t left_ms =
                start_ms + run->config->shutdown_timeout - tally_mono_ms(tally_clock_real());

        drained = sinks_stop(run->sinks, left_ms > SINKS_MS ? left_ms : SINKS_MS, &late);
    }
    if (drained) {
        /* Threads still run: nothing may be freed under them. What is committed is safe. */
        tally_log_error(TALLY_LOG_ERROR, "did not stop in time", &late);
        _exit(CLI_FAILED);
    }
    if (run->http) {
        tally_http_stop(run->http);
    }
    close_readers(run);
    sinks_destroy(run->sinks);
    if (run->runtime) {
        tally_runtime_destroy(run->runtime);
    }
    if (run->client) {
        run->client->ops->destroy(run->client);
    }
    instance_deinit(&run->instance);
    TALLY_FAILPOINT(EDGES_DRAIN_END);
}

static int run_instance(struct run *run)
{
    struct tally_error err;
    sigset_t signals;
    enum tally_code code;

    block_signals(&signals);
    raise_file_limit();
    keep_memory_private(run->config);
    start_log(run->config);
    supervisor_init(&run->supervisor, tally_clock_real());
    tally_series_set(tally_series_of(TALLY_METRIC_BUILD_INFO, tally_version(), tally_commit()), 1);
    code = start(run, &signals, &err);
    if (code == TALLY_OK) {
        log_ready(run);
        code = watch(run, &signals, &err);
    } else if (run->interrupted) {
        tally_log(TALLY_LOG_INFO, "stopping before it had started");
        code = TALLY_OK;
    }
    if (code) {
        tally_log_error(TALLY_LOG_ERROR, run->runtime ? "tally failed" : "tally could not start",
                &err);
    }
    arm_second_signal(&signals);
    finish(run);
    supervisor_deinit(&run->supervisor);
    tally_log(TALLY_LOG_INFO, "tally stopped",
            TALLY_LOG_STR("code", code ? tally_code_name(code) : "OK"));
    return code ? CLI_FAILED : CLI_OK;
}

int cmd_run(int argc, char **argv)
{
    struct run run = {.leaves = false};
    const struct cli_option options[] = {CLI_OPT_BROKERS,
            CLI_OPT_FLAG(0, "leave", &run.leaves,
                    "when it ends, others take its partitions at once: it does not come back"),
            CLI_OPT_END};
    struct cli cli = {.verb = "run",
            .usage = "run [options]",
            .options = options,
            .about = "Processes the commands of the configured topologies, exactly once, and "
                     "answers HTTP.\n"
                     "SIGTERM or SIGINT commits, closes the state and ends with 0 within "
                     "shutdown.timeout; a\n"
                     "second one ends at once with 130. Its partitions wait for it for "
                     "engine.session.timeout, so\n"
                     "that a restart moves nothing. SIGUSR1 is SIGTERM of an instance that does "
                     "not come back:\n"
                     "others have its partitions at once. What cannot start or go on ends with 1, "
                     "and a\n"
                     "supervisor starts it again. SIGHUP reads the files of http.api_keys and "
                     "http.jwt.keys again.\n"
                     "With NOTIFY_SOCKET it tells systemd when it is ready, how far a restore is, "
                     "and that it lives.",
            .examples = "  tally run\n"
                        "  tally run --config tally.yaml --state.dir /var/lib/tally "
                        "--engine.threads 2\n"
                        "  kill -USR1 $(pidof tally)\n"};
    int status = cli_begin(&cli, argc, argv);

    run.cli = &cli;
    if (status == CLI_CONTINUE) {
        run.config = &cli.config;
        status = run_instance(&run);
    }
    cli_end(&cli);
    return status;
}
