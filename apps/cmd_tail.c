/* apps/cmd_tail.c - prints the records of a topic as kcat does. */
#include "apps/cmd.h"

#include <stdio.h>

#include "apps/tail_format.h"
#include "connectors/kafka_reader.h"
#include "engine/base/mem.h"

#define PARTITIONS_MAX 1024
#define HEADERS_MAX    64
#define RECORD_MAX     (64 * 1024 * 1024)
#define WAIT_MS        100

struct tail {
    struct cli *cli;
    const char *topic;
    struct tally_reader_options options;
    int32_t partitions[PARTITIONS_MAX];
    struct tail_format format;
    bool quiet;
    struct tally_reader *reader;
    struct tally_arena arena;
    struct tally_buf out;
};

/* "2", "0,3"; "-1" are all, as for kcat. */
static int parse_partitions(struct tail *tail, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, ",");
        int64_t value;

        if (!tally_parse_int(tally_slice_of(text, len), &value) || value < -1 ||
                value > INT32_MAX || tail->options.partition_count == PARTITIONS_MAX) {
            return cli_usage(tail->cli,
                    "-p: expected partition numbers joined by commas, got \"%s\"", text);
        }
        if (value < 0) {
            tail->options.partition_count = 0;
            return CLI_CONTINUE;
        }
        tail->partitions[tail->options.partition_count++] = (int32_t)value;
        text += len + (text[len] == ',');
    }
    return CLI_CONTINUE;
}

static int parse_offsets(struct tail *tail, const struct cli_list *offsets)
{
    struct tally_error err;

    for (size_t i = 0; i < offsets->count; i++) {
        if (tally_reader_range_parse(offsets->items[i], &tail->options.range, &err)) {
            return cli_usage(tail->cli, "-o: %s", err.message);
        }
    }
    return CLI_CONTINUE;
}

static int check_formats(struct tail *tail)
{
    const char *const texts[] = {
            tail->format.format, tail->format.key_delimiter, tail->format.record_delimiter};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char unknown = tail_format_unknown(texts[i]);

        if (unknown) {
            return cli_usage(tail->cli, "unknown token \"%%%c\" in \"%s\"", unknown, texts[i]);
        }
    }
    return CLI_CONTINUE;
}

static void on_ended(void *context, int32_t partition, int64_t offset)
{
    const struct tail *tail = context;

    if (!tail->quiet) {
        fflush(stdout);
        fprintf(stderr, "%% Reached end of topic %s [%d] at offset %lld\n", tail->topic,
                (int)partition, (long long)offset);
    }
}

/* Formats and writes one record; false: standard output is gone. */
static bool print_record(struct tail *tail, const struct tally_record *record)
{
    struct tally_header headers[HEADERS_MAX];
    struct tail_record shown = {.record = record,
            .headers = headers,
            .timestamp_type = tally_reader_timestamp_type(record),
            .broker = tally_reader_broker(record)};
    size_t count = tally_reader_headers(tail->reader, record, headers, HEADERS_MAX);

    shown.header_count = count < HEADERS_MAX ? count : HEADERS_MAX;
    tally_buf_clear(&tail->out);
    tail_format_record(&tail->format, &shown, &tail->arena, &tail->out);
    return cli_write(tail->cli, tally_buf_bytes(&tail->out));
}

static int read_all(struct tail *tail)
{
    struct tally_record record;
    struct tally_error err;
    bool written = true;

    while (written && !cli_interrupted()) {
        enum tally_code code = tally_reader_next(tail->reader, WAIT_MS, &record, &err);

        if (code == TALLY_NOT_FOUND) {
            return CLI_OK;
        }
        if (code == TALLY_AGAIN) {
            fflush(stdout);
            continue;
        }
        if (code && tally_code_reaction(code) == TALLY_REACT_RETRY) {
            cli_error(tail->cli, &err); /* the reader goes on by itself */
            continue;
        }
        if (code) {
            return cli_error(tail->cli, &err);
        }
        written = print_record(tail, &record);
        tally_reader_release(tail->reader, &record);
    }
    return written ? CLI_INTERRUPTED : CLI_FAILED;
}

static int tail_topic(struct tail *tail)
{
    struct tally_error err;
    int status;

    tail->options.config = &tail->cli->config;
    tail->options.topic = tail->topic;
    tail->options.partitions = tail->partitions;
    tail->options.ended = on_ended;
    tail->options.context = tail;
    if (tally_reader_create(&tail->options, &tail->reader, &err)) {
        return cli_error(tail->cli, &err);
    }
    tally_arena_init(&tail->arena, 64 * 1024);
    tally_buf_init(&tail->out, RECORD_MAX);
    status = read_all(tail);
    tally_reader_destroy(tail->reader);
    tally_arena_deinit(&tail->arena);
    tally_buf_deinit(&tail->out);
    return cli_finish(tail->cli, status);
}

int cmd_tail(int argc, char **argv)
{
    struct tail tail = {.format = {.record_delimiter = "\\n"}};
    struct cli_list offsets = {.count = 0};
    const char *partitions = "";
    bool unbuffered = false;
    const struct cli_option options[] = {CLI_OPT_BROKERS,
            CLI_OPT_TEXT('t', "topic", &tail.topic, "TOPIC", "topic to read, with its prefix"),
            CLI_OPT_TEXT('p', "partition", &partitions, "N,...", "only these partitions"),
            CLI_OPT_LIST('o', "offset", &offsets, "OFFSET",
                    "beginning, end, stored, N, -N (from the end), s@MS (since), e@MS (until)"),
            CLI_OPT_INT('c', "count", &tail.options.count, 1, INT64_MAX, "N",
                    "stop after N records"),
            CLI_OPT_FLAG('e', "exit", &tail.options.stop_at_end,
                    "stop at the end of the partitions"),
            CLI_OPT_TEXT('f', "format", &tail.format.format, "FORMAT",
                    "tokens %t %p %o %k %K %s %S %T %h, escapes \\n \\t \\xNN"),
            CLI_OPT_FLAG('J', "json", &tail.format.json, "one JSON envelope a line"),
            CLI_OPT_TEXT('K', "key-delimiter", &tail.format.key_delimiter, "TEXT",
                    "print keys, then TEXT"),
            CLI_OPT_TEXT('D', "delimiter", &tail.format.record_delimiter, "TEXT",
                    "after each record (\\n)"),
            CLI_OPT_FLAG('Z', "null", &tail.format.nulls, "show null keys and values as NULL"),
            CLI_OPT_FLAG('q', "quiet", &tail.quiet, "no notice at the end of a partition"),
            CLI_OPT_FLAG('u', "unbuffered", &unbuffered, "write every record at once"),
            CLI_OPT_FLAG(0, "raw", &tail.format.raw, "leave MessagePack values as they are"),
            CLI_OPT_FLAG(0, "uncommitted", &tail.options.read_uncommitted,
                    "also records of open and aborted transactions"),
            CLI_OPT_TEXT(0, "group", &tail.options.group, "GROUP",
                    "whose offsets \"stored\" means (app.id)"),
            CLI_OPT_END};
    struct cli cli = {.verb = "tail",
            .usage = "tail -t TOPIC [options]",
            .options = options,
            .about = "Prints the records of a topic with kcat's letters, offsets and tokens.\n"
                     "MessagePack records are shown as JSON. Joins no group and commits nothing.",
            .examples = "  tally tail -t stock.events -o end\n"
                        "  tally tail -t stock.commands -p 2 -o -5 -c 5 -f '%o %k %s\\n'\n"
                        "  tally tail -t stock.events -o beginning -e -J | jq -r '.payload | "
                        "fromjson | .type'\n"};
    int status = CLI_CONTINUE;

    tail.cli = &cli;
    status = cli_begin(&cli, argc, argv);
    if (status == CLI_CONTINUE && !tail.topic) {
        status = cli_usage(&cli, "-t TOPIC is missing");
    }
    if (status == CLI_CONTINUE) {
        status = parse_partitions(&tail, partitions);
    }
    if (status == CLI_CONTINUE) {
        status = parse_offsets(&tail, &offsets);
    }
    if (status == CLI_CONTINUE) {
        status = check_formats(&tail);
    }
    if (status == CLI_CONTINUE) {
        if (unbuffered) {
            setvbuf(stdout, NULL, _IONBF, 0);
        }
        cli_catch_interrupts();
        status = tail_topic(&tail);
    }
    cli_end(&cli);
    return status;
}
