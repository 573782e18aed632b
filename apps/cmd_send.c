/* apps/cmd_send.c - publishes commands from NDJSON.
 *  (1) Lines of one key keep their order.
 *  (2) A bad line is reported with its number and reason and skipped; the others are sent, and the
 *      exit status says that some failed (3).
 *  (3) Sent means acknowledged by all replicas. */
#include "apps/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "apps/instance.h"
#include "apps/progress.h"
#include "apps/send_command.h"
#include "connectors/kafka_writer.h"

#define ARENA_KEEP     (1024 * 1024)
#define FLUSH_SLICE_MS 200
#define FLUSH_LIMIT_MS (2 * 60 * 1000)
#define REPORTED_MAX   100 /* bad lines that are shown one by one */

struct send {
    struct cli *cli;
    const char *name; /* of the input, for messages */
    FILE *input;
    bool require_id, dry_run, show_progress;
    struct instance instance;
    struct uuid_v7 ids;
    struct tally_writer *writer;
    struct progress progress;
    struct tally_arena arena;
    uint64_t lines, sent, bad, acknowledged, failed;
};

static void report_line(struct send *send, uint64_t number, const char *reason)
{
    if (++send->bad <= REPORTED_MAX) {
        fprintf(stderr, "%s:%llu: %s\n", send->name, (unsigned long long)number, reason);
    } else if (send->bad == REPORTED_MAX + 1) {
        fprintf(stderr, "more bad lines follow; they are only counted\n");
    }
}

/* tag: the line's number. */
static void on_delivered(void *context, void *tag, enum tally_code code, int32_t partition,
        int64_t offset)
{
    struct send *send = context;

    (void)partition;
    (void)offset;
    if (code == TALLY_OK) {
        send->acknowledged++;
        return;
    }
    if (++send->failed <= REPORTED_MAX) {
        fprintf(stderr, "%s:%llu: not acknowledged: %s\n", send->name,
                (unsigned long long)(uintptr_t)tag, tally_code_text(code));
    }
}

static void show(struct send *send)
{
    double seconds = progress_seconds(&send->progress);

    progress_print(&send->progress, "%llu lines, %llu acknowledged, %llu bad, %.0f/s",
            (unsigned long long)send->lines, (unsigned long long)send->acknowledged,
            (unsigned long long)send->bad, (double)send->acknowledged / seconds);
}

static enum tally_code publish(struct send *send, const struct send_command *command,
        struct tally_error *err)
{
    if (send->dry_run) {
        printf("%s\t%.*s\t%.*s\n", command->topic, (int)command->key.len,
                (const char *)command->key.data, (int)command->value.len,
                (const char *)command->value.data);
        return TALLY_OK;
    }
    return tally_writer_produce(send->writer, command->topic, -1, command->key, command->value,
            NULL, 0, (void *)(uintptr_t)send->lines, err);
}

/* TALLY_OK also for a bad line; another code ends the work. */
static enum tally_code send_line(struct send *send, struct tally_slice line,
        struct tally_error *err)
{
    struct send_rules rules = {.topologies = send->instance.topologies,
            .topology_count = send->instance.topology_count,
            .require_id = send->require_id,
            .ids = &send->ids,
            .now_ms = tally_wall_ms(send->progress.clock)};
    struct send_command command;
    enum tally_code code;

    tally_arena_reset(&send->arena, ARENA_KEEP);
    if (send_command_prepare(&rules, line, &send->arena, &command, err)) {
        report_line(send, send->lines, err->message);
        return TALLY_OK;
    }
    code = publish(send, &command, err);
    if (code == TALLY_TOO_LARGE) {
        report_line(send, send->lines, err->message);
        return TALLY_OK;
    }
    send->sent += code == TALLY_OK;
    return code;
}

static enum tally_code send_lines(struct send *send, struct tally_error *err)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t len;
    enum tally_code code = TALLY_OK;

    while (code == TALLY_OK && !cli_interrupted() &&
            (len = getline(&line, &capacity, send->input)) > 0) {
        len -= line[len - 1] == '\n';
        len -= len > 0 && line[len - 1] == '\r';
        send->lines++;
        if (len > 0) {
            code = send_line(send, tally_slice_of(line, (size_t)len), err);
        }
        if (send->writer && send->lines % 64 == 0) {
            tally_writer_poll(send->writer, 0);
        }
        if (progress_due(&send->progress)) {
            show(send);
        }
    }
    if (code == TALLY_OK && ferror(send->input) && !cli_interrupted()) {
        code = tally_error_set(err, TALLY_SYSTEM, "could not read %s: %m", send->name);
    }
    free(line);
    return code;
}

/* Waits for what is on its way, also after an interrupt, which a second one cuts short. */
static enum tally_code flush(struct send *send, struct tally_error *err)
{
    struct tally_writer_counts counts;
    int waited_ms = 0;
    enum tally_code code;

    for (;;) {
        code = tally_writer_flush(send->writer, FLUSH_SLICE_MS, &counts, err);
        waited_ms += FLUSH_SLICE_MS;
        if (code != TALLY_TIMEOUT || waited_ms >= FLUSH_LIMIT_MS) {
            return code;
        }
        if (progress_due(&send->progress)) {
            show(send);
        }
    }
}

static int summary(struct send *send, enum tally_code code, const struct tally_error *err)
{
    double seconds = progress_seconds(&send->progress);
    uint64_t done = send->dry_run ? send->sent : send->acknowledged;

    progress_end(&send->progress);
    if (code) {
        cli_error(send->cli, err);
    }
    if (send->sent > done && !send->dry_run) {
        fprintf(stderr,
                "%llu commands were not acknowledged: send their lines again, the ids make it "
                "safe\n",
                (unsigned long long)(send->sent - done));
    }
    fprintf(stderr, "%llu commands %s, %llu bad lines, %.1f s, %.0f/s\n", (unsigned long long)done,
            send->dry_run ? "checked" : "sent", (unsigned long long)send->bad, seconds,
            (double)done / seconds);
    if (cli_interrupted()) {
        return CLI_INTERRUPTED;
    }
    if (code || send->bad > 0 || send->sent > done) {
        return done > 0 ? CLI_PARTIAL : CLI_FAILED;
    }
    return CLI_OK;
}

static int send_input(struct send *send)
{
    struct tally_error err;
    enum tally_code code = TALLY_OK;
    int status;

    progress_begin(&send->progress, tally_clock_real(), send->show_progress);
    tally_arena_init(&send->arena, 64 * 1024);
    if (!send->dry_run) {
        code = tally_writer_create(&send->cli->config, on_delivered, send, &send->writer, &err);
    }
    if (code == TALLY_OK) {
        code = send_lines(send, &err);
    }
    if (send->writer) {
        struct tally_error late;
        enum tally_code flushed = flush(send, &late);

        if (code == TALLY_OK && flushed) {
            code = flushed;
            err = late;
        }
    }
    tally_writer_destroy(send->writer);
    status = summary(send, code, &err);
    tally_arena_deinit(&send->arena);
    return cli_finish(send->cli, status);
}

static int open_input(struct send *send)
{
    const char *name = send->cli->arg_count > 0 ? send->cli->args[0] : "-";

    if (strcmp(name, "-") == 0) {
        send->name = "stdin";
        send->input = stdin;
        return CLI_CONTINUE;
    }
    send->name = name;
    send->input = fopen(name, "re");
    return send->input ? CLI_CONTINUE
                       : cli_failed(send->cli, "could not open \"%s\": %s", name, strerror(errno));
}

int cmd_send(int argc, char **argv)
{
    struct send send = {.input = NULL};
    const struct cli_option options[] = {CLI_OPT_BROKERS,
            CLI_OPT_FLAG('n', "dry-run", &send.dry_run,
                    "check only; print topic, key and record of each line"),
            CLI_OPT_FLAG(0, "require-id", &send.require_id, "refuse lines without a command id"),
            CLI_OPT_FLAG(0, "progress", &send.show_progress,
                    "report once a second, also when stderr is no terminal"),
            CLI_OPT_END};
    struct cli cli = {.verb = "send",
            .usage = "send [FILE|-] [options]",
            .options = options,
            .args_max = 1,
            .about = "Publishes commands, one JSON object a line. The type decides the topic, the "
                     "fields the\n"
                     "key. A line without a command id gets a new one; with one, sending it again "
                     "is safe.\n"
                     "Exit status 3: some lines were not sent; each is reported with its number.",
            .examples = "  tally send commands.ndjson\n"
                        "  echo "
                        "'{\"type\":\"ReceiveStock\",\"sku\":\"TS-RED-M\",\"warehouse\":\"AMS1\","
                        "\"quantity\":5}' |"
                        " tally send\n"
                        "  tally send --dry-run --require-id commands.ndjson >/dev/null\n"};
    struct tally_error err;
    int status = cli_begin(&cli, argc, argv);

    send.cli = &cli;
    if (status == CLI_CONTINUE) {
        status = open_input(&send);
    }
    if (status == CLI_CONTINUE && instance_build(&send.instance, &cli.config, &err)) {
        status = cli_error(&cli, &err);
    }
    if (status == CLI_CONTINUE) {
        cli_catch_interrupts();
        status = send_input(&send);
    }
    instance_deinit(&send.instance);
    if (send.input && send.input != stdin) {
        fclose(send.input);
    }
    cli_end(&cli);
    return status;
}
