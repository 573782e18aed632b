/* tests/property/property.c - all topologies over the broker in memory, told by lines on stdin what
 * to do; what they wrote comes out as lines on stdout. run.py writes the lines and judges.
 *   world <partitions> <required|optional> <state directory|->   a new broker, nothing in it; then
 *                     "<topic> <type>" for every type of command, and "done"
 *   put <topic> <partition> <key> <value> [<header name> <header value>]   in hex, - is null;
 *                     partition -1: the key's
 *   advance <ms>      the clock
 *   run               until nothing is left to do; then every record that is new, one a line,
 *                     "<topic> <partition> <offset> <time> <key> <value> [<name> <value>]...",
 *                     and "done"
 *   dump              every row of every task, a JSON object a line, and "done"
 *   stop, crash, start   as by SIGTERM, by SIGKILL; again on what is left
 * A line that cannot be done ends the program with status 1 and its reason on stderr. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/topology_driver.h"
#include "http/row_line.h"
#include "topologies/registry.h"

enum {
    TOPOLOGIES_MAX = 16,
    PARTITIONS_MAX = 16,
    WORDS_MAX = 8,
    DUMP_BYTES_MAX = 256 * 1024 * 1024
};
#define NOW_MS INT64_C(1768471200000) /* 2026-01-15T10:00:00.000Z */

static const char *const aggregates[] = {"catalogue", "stock", "reservation", "transfer"};
static const char *const suffixes[] = {"commands", "events", "commands-dlt"};
enum {
    AGGREGATES = sizeof aggregates / sizeof aggregates[0],
    SUFFIXES = sizeof suffixes / sizeof suffixes[0],
    TOPICS = AGGREGATES * SUFFIXES + 1
};

struct program {
    struct tally_config config;
    struct tally_topology *topologies[TOPOLOGIES_MAX];
    size_t topology_count;
    struct tally_topology_driver *driver;
    int32_t partitions;
    int64_t seen[TOPICS][PARTITIONS_MAX]; /* next offset to print */
};

static _Noreturn void die(const char *what, const char *detail)
{
    fprintf(stderr, "%s: %s\n", what, detail);
    exit(EXIT_FAILURE);
}

static void check(enum tally_code code, const char *what, const struct tally_error *err)
{
    if (code) {
        die(what, err->message);
    }
}

/* --- bytes ------------------------------------------------------------------------------------ */

static void print_hex(struct tally_slice bytes)
{
    if (!bytes.data) {
        putchar('-');
    }
    for (size_t i = 0; i < bytes.len; i++) {
        printf("%02x", bytes.data[i]);
    }
    if (bytes.data && bytes.len == 0) {
        putchar('.');
    }
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place. "-": null, ".": empty. */
static struct tally_slice bytes_of(char *word)
{
    size_t len = strlen(word) / 2;
    uint8_t *bytes = (uint8_t *)word;

    if (!strcmp(word, "-")) {
        return TALLY_NONE;
    }
    for (size_t i = 0; i < len; i++) {
        int high = digit(word[2 * i]), low = digit(word[2 * i + 1]);

        if (high < 0 || low < 0) {
            die("no hex", word);
        }
        bytes[i] = (uint8_t)(high * 16 + low);
    }
    return tally_slice_of(word, len);
}

/* --- life ------------------------------------------------------------------------------------- */

static void leave_world(struct program *program)
{
    if (!program->driver) {
        return;
    }
    tally_topology_driver_destroy(program->driver);
    for (size_t i = 0; i < program->topology_count; i++) {
        tally_topology_destroy(program->topologies[i]);
    }
    tally_config_deinit(&program->config);
    *program = (struct program){.driver = NULL};
}

static void load_config(struct tally_config *config, bool registration_required)
{
    char *argv[] = {(char[]){"property"}, NULL};
    int argc = 1;
    struct tally_buf mistakes;
    struct tally_error err = {.code = TALLY_OK};

    tally_buf_init(&mistakes, 65536);
    check(tally_config_load(config, &argc, argv, &mistakes, &err), "settings", &err);
    tally_buf_deinit(&mistakes);
    config->stock_require_registration = registration_required;
}

/* What it knows, so that nobody asks a model about other types. */
static void print_types(const struct program *program)
{
    for (size_t i = 0; i < program->topology_count; i++) {
        const struct tally_aggregate *aggregate = tally_topology_aggregate(program->topologies[i]);
        const struct tally_schema *const *type = aggregate ? aggregate->command_types : NULL;

        for (; type && *type; type++) {
            printf("%s %s\n", aggregate->commands, (*type)->name);
        }
    }
    puts("done");
}

static void enter_world(struct program *program, char **words)
{
    const char *const *names = tally_registry_names();
    struct tally_error err = {.code = TALLY_OK};

    leave_world(program);
    program->partitions = (int32_t)strtol(words[1], NULL, 10);
    if (program->partitions < 1 || program->partitions > PARTITIONS_MAX) {
        die("partitions", words[1]);
    }
    load_config(&program->config, !strcmp(words[2], "required"));
    for (; names[program->topology_count]; program->topology_count++) {
        size_t at = program->topology_count;

        tally_assert(at < TOPOLOGIES_MAX);
        check(tally_registry_create(names[at], &program->config, &program->topologies[at], &err),
                names[at], &err);
    }
    check(tally_topology_driver_create(
                  &(struct tally_topology_driver_options){
                          .topologies = program->topologies,
                          .topology_count = program->topology_count,
                          .config = &program->config,
                          .partitions = program->partitions,
                          .state_dir = strcmp(words[3], "-") != 0 ? words[3] : NULL,
                          .now_ms = NOW_MS,
                  },
                  &program->driver, &err),
            "driver", &err);
    print_types(program);
}

/* --- records ---------------------------------------------------------------------------------- */

static void put(struct program *program, char **words)
{
    struct tally_header header = {.name = TALLY_NONE};
    struct tally_slice key = bytes_of(words[3]), value = bytes_of(words[4]);
    size_t headers = 0;

    if (words[5] && words[6]) {
        header.name = bytes_of(words[5]);
        header.value = bytes_of(words[6]);
        headers = 1;
    }
    if (tally_topology_driver_pipe(program->driver, words[1], (int32_t)strtol(words[2], NULL, 10),
                key, value, &header, headers) < 0) {
        die("not taken", words[1]);
    }
}

static void print_record(const char *topic, int32_t partition,
        const struct tally_memory_record *record)
{
    printf("%s %d %lld %lld ", topic, (int)partition, (long long)record->offset,
            (long long)record->timestamp_ms);
    print_hex(record->key);
    putchar(' ');
    print_hex(record->value);
    for (size_t i = 0; i < record->header_count; i++) {
        putchar(' ');
        print_hex(record->headers[i].name);
        putchar(' ');
        print_hex(record->headers[i].value);
    }
    putchar('\n');
}

static void print_topic(struct program *program, size_t index, const char *topic)
{
    struct tally_memory_broker *broker = tally_topology_driver_broker(program->driver);
    struct tally_memory_record record;

    for (int32_t partition = 0; partition < program->partitions; partition++) {
        int64_t *seen = &program->seen[index][partition];

        while (tally_memory_broker_read(broker, topic, partition, *seen, &record)) {
            print_record(topic, partition, &record);
            *seen = record.offset + 1;
        }
    }
}

static void run(struct program *program)
{
    struct tally_error err = {.code = TALLY_OK};
    char topic[64];

    check(tally_topology_driver_run(program->driver, &err), "run", &err);
    for (size_t i = 0; i < AGGREGATES * SUFFIXES; i++) {
        snprintf(topic, sizeof topic, "%s.%s", aggregates[i / SUFFIXES], suffixes[i % SUFFIXES]);
        print_topic(program, i, topic);
    }
    print_topic(program, TOPICS - 1, TALLY_DRIVER_REPLY_TOPIC);
    puts("done");
}

/* --- state ------------------------------------------------------------------------------------ */

struct rows {
    const char *topology;
    int32_t partition;
    struct tally_buf text;
};

static void append_row(void *context, struct tally_slice key, struct tally_slice row)
{
    struct rows *rows = context;

    if (!tally_row_line_write(rows->topology, rows->partition, key, row, &rows->text)) {
        die("damaged row", rows->topology);
    }
}

static void dump(struct program *program)
{
    struct rows rows = {.partition = 0};

    tally_buf_init(&rows.text, DUMP_BYTES_MAX);
    for (size_t i = 0; i < program->topology_count; i++) {
        rows.topology = tally_topology_name(program->topologies[i]);
        for (rows.partition = 0; rows.partition < program->partitions; rows.partition++) {
            if (!tally_topology_driver_scan(program->driver, rows.topology, rows.partition,
                        append_row, &rows)) {
                die("no state", rows.topology);
            }
        }
    }
    if (rows.text.failed) {
        die("dump", "it is too large");
    }
    (void)fwrite(rows.text.data, 1, rows.text.len, stdout);
    puts("done");
    tally_buf_deinit(&rows.text);
}

/* --- lines ------------------------------------------------------------------------------------ */

static void split(char *line, char **words)
{
    size_t count = 0;

    for (char *rest = line; *rest && count < WORDS_MAX; count++) {
        words[count] = rest;
        rest += strcspn(rest, " \n");
        if (*rest) {
            *rest++ = 0;
        }
    }
}

static void do_line(struct program *program, char **words)
{
    struct tally_error err = {.code = TALLY_OK};

    if (!strcmp(words[0], "world") && words[3]) {
        enter_world(program, words);
    } else if (!program->driver) {
        die("no world", words[0]);
    } else if (!strcmp(words[0], "put") && words[4]) {
        put(program, words);
    } else if (!strcmp(words[0], "advance") && words[1]) {
        tally_topology_driver_advance(program->driver, strtoll(words[1], NULL, 10));
    } else if (!strcmp(words[0], "run")) {
        run(program);
    } else if (!strcmp(words[0], "dump")) {
        dump(program);
    } else if (!strcmp(words[0], "stop")) {
        tally_topology_driver_stop(program->driver);
    } else if (!strcmp(words[0], "crash")) {
        tally_topology_driver_crash(program->driver);
    } else if (!strcmp(words[0], "start")) {
        check(tally_topology_driver_start(program->driver, &err), "start", &err);
    } else {
        die("cannot do", words[0]);
    }
}

int main(void)
{
    struct program program = {.driver = NULL};
    char *line = NULL;
    size_t size = 0;

    tally_log_init(TALLY_LOG_ERROR, TALLY_LOG_LOGFMT);
    while (getline(&line, &size, stdin) > 0) {
        char *words[WORDS_MAX] = {NULL};

        split(line, words);
        if (words[0]) {
            do_line(&program, words);
            (void)fflush(stdout);
        }
    }
    leave_world(&program);
    free(line);
    return EXIT_SUCCESS;
}
