/* tests/topology/case_runner.c - see case_runner.h. */
#include "tests/topology/case_runner.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "schemas/row_json.h"
#include "state/key_schema.h"
#include "tests/topology/driver_fixture.h"

#define LINE_MAX_BYTES 65536
#define PARTITIONS_MAX 8
#define DEDUP          "dedup"

enum watched {
    WATCH_CATALOGUE,
    WATCH_STOCK,
    WATCH_CATALOGUE_DLT,
    WATCH_STOCK_DLT,
    WATCH_REPLIES,
    WATCH_MESSAGES, /* and the topics after it */
    WATCHED = WATCH_MESSAGES + 4
};
static const char *const watched_topics[WATCHED] = {"catalogue.events", "stock.events",
        "catalogue.commands-dlt", "stock.commands-dlt", TALLY_DRIVER_REPLY_TOPIC,
        "catalogue.commands", "stock.commands", "reservation.commands", "transfer.commands"};

struct runner {
    struct driver_fixture fixture;
    struct driver_fixture_options options;
    bool open;
    int64_t seen[WATCHED][PARTITIONS_MAX]; /* next offset to show */
    struct tally_slice last_event;
    struct tally_arena arena;
    struct tally_buf *out;
};

/* --- showing ---------------------------------------------------------------------------------- */

static const struct tally_token *parse(struct runner *runner, struct tally_slice value)
{
    const struct tally_token *root = NULL;
    enum tally_refusal refusal;

    ck_assert_int_eq(tally_document_parse(value, &runner->arena, &root, &refusal, NULL), TALLY_OK);
    return root;
}

/* A map without one of its members. */
static void show_without(const struct tally_token *map, const char *left_out, struct tally_buf *out)
{
    const struct tally_token *name = map + 1;
    bool first = true;

    tally_buf_byte(out, '{');
    for (uint32_t i = 0; i < map->count; i++) {
        const struct tally_token *value = tally_token_next(name);

        if (!tally_slice_equal(name->string, tally_slice_string(left_out))) {
            tally_buf_string(out, first ? "" : ",");
            tally_token_write(name, TALLY_FORMAT_JSON, out);
            tally_buf_byte(out, ':');
            tally_token_write(value, TALLY_FORMAT_JSON, out);
            first = false;
        }
        name = tally_token_next(value);
    }
    tally_buf_byte(out, '}');
}

static void show_event(struct runner *runner, const struct tally_memory_record *record)
{
    const struct tally_token *root = parse(runner, record->value);

    runner->last_event = record->value;
    tally_buf_string(runner->out, "  ");
    tally_buf_slice(runner->out, tally_token_member(root, "type")->string);
    tally_buf_byte(runner->out, ' ');
    show_without(tally_token_member(root, "payload"), "outcome", runner->out);
    tally_buf_byte(runner->out, '\n');
}

static void show_document(struct runner *runner, const struct tally_memory_record *record)
{
    tally_buf_string(runner->out, "  ");
    tally_token_write(parse(runner, record->value), TALLY_FORMAT_JSON, runner->out);
    tally_buf_byte(runner->out, '\n');
}

static void show_text(struct tally_slice bytes, struct tally_buf *out)
{
    if (!bytes.data) {
        tally_buf_byte(out, '-');
    }
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.data[i] >= 0x20 && bytes.data[i] < 0x7f) {
            tally_buf_byte(out, bytes.data[i]);
        } else {
            tally_buf_format(out, "\\x%02x", bytes.data[i]);
        }
    }
}

static void show_dead_letter(struct runner *runner, const struct tally_memory_record *record)
{
    tally_buf_string(runner->out, "  ");
    show_text(record->key, runner->out);
    tally_buf_byte(runner->out, ' ');
    show_text(record->value.len > 64 ? tally_slice_of(record->value.data, 64) : record->value,
            runner->out);
    for (size_t i = 0; i < record->header_count; i++) {
        tally_buf_string(runner->out, "\n    ");
        show_text(record->headers[i].name, runner->out);
        tally_buf_string(runner->out, ": ");
        show_text(record->headers[i].value, runner->out);
    }
    tally_buf_byte(runner->out, '\n');
}

static void show_new(struct runner *runner, enum watched watched,
        void (*show)(struct runner *runner, const struct tally_memory_record *record))
{
    struct tally_memory_broker *broker = tally_topology_driver_broker(runner->fixture.driver);
    struct tally_memory_record record;

    for (int32_t partition = 0; partition < PARTITIONS_MAX; partition++) {
        int64_t *seen = &runner->seen[watched][partition];

        while (tally_memory_broker_read(broker, watched_topics[watched], partition, *seen,
                &record)) {
            show(runner, &record);
            *seen = record.offset + 1;
        }
    }
}

/* A message of a topology: other commands have no cause. */
static void show_message(struct runner *runner, const struct tally_memory_record *record)
{
    const struct tally_token *root = parse(runner, record->value);

    if (tally_token_member(root, "causation_id")) {
        tally_buf_string(runner->out, "  ");
        show_text(record->key, runner->out);
        tally_buf_byte(runner->out, ' ');
        tally_buf_slice(runner->out, tally_token_member(root, "id")->string);
        tally_buf_byte(runner->out, ' ');
        tally_token_write(tally_token_member(root, "payload"), TALLY_FORMAT_JSON, runner->out);
        tally_buf_byte(runner->out, '\n');
    }
}

/* --- state ------------------------------------------------------------------------------------ */

struct rows {
    struct runner *runner;
    const char *topology;
    int32_t partition;
};

static void show_row(void *context, struct tally_slice key, struct tally_slice row)
{
    struct rows *rows = context;
    struct tally_buf *out = rows->runner->out;
    enum tally_store_id store;

    ck_assert(tally_store_of_key(rows->topology, key, &store));
    tally_buf_format(out, "  %s/%d %s ", rows->topology, (int)rows->partition,
            tally_store_name(store));
    tally_key_print(rows->topology, key, out);
    tally_buf_byte(out, ' ');
    if (!strcmp(tally_store_name(store), DEDUP)) {
        struct tally_outcome outcome;

        ck_assert_int_eq(tally_outcome_unpack(row, &outcome, NULL), TALLY_OK);
        tally_buf_slice(out, outcome.stamp.command);
        tally_buf_format(out, " %s %s", tally_status_name(outcome.stamp.status),
                outcome.rejection.code ? tally_reject_name(outcome.rejection.code) : "");
    } else {
        ck_assert(tally_row_json(rows->topology, tally_store_name(store), row, out));
    }
    tally_buf_byte(out, '\n');
}

static void show_state(struct runner *runner)
{
    static const char *const topologies[FIXTURE_TOPOLOGIES] = {"catalogue", "stock"};

    for (size_t i = 0; i < FIXTURE_TOPOLOGIES; i++) {
        for (int32_t partition = 0; partition < runner->options.partitions; partition++) {
            struct rows rows = {runner, topologies[i], partition};

            ck_assert(tally_topology_driver_scan(runner->fixture.driver, topologies[i], partition,
                    show_row, &rows));
        }
    }
}

/* --- doing ------------------------------------------------------------------------------------ */

static void close_case(struct runner *runner)
{
    if (runner->open) {
        driver_fixture_close(&runner->fixture);
        runner->open = false;
    }
}

static void open_case(struct runner *runner)
{
    close_case(runner);
    driver_fixture_open(&runner->fixture, &runner->options);
    driver_fixture_run(&runner->fixture);
    memset(runner->seen, 0, sizeof runner->seen);
    runner->open = true;
}

static void run(struct runner *runner)
{
    driver_fixture_run(&runner->fixture);
    show_new(runner, WATCH_CATALOGUE, show_event);
    show_new(runner, WATCH_STOCK, show_event);
}

static void set_option(struct runner *runner, const char *text)
{
    if (!strncmp(text, "partitions ", 11)) {
        runner->options.partitions = (int32_t)strtol(text + 11, NULL, 10);
        ck_assert_int_le(runner->options.partitions, PARTITIONS_MAX);
    } else if (!strcmp(text, "registration optional")) {
        runner->options.registration_optional = true;
    } else {
        ck_assert_msg(!strcmp(text, "registration required"), "option \"%s\"", text);
        runner->options.registration_optional = false;
    }
}

/* Text with \xhh escapes; "-": null. In place. */
static struct tally_slice bytes_of(char *text)
{
    uint8_t *to = (uint8_t *)text;
    size_t len = 0;

    if (!strcmp(text, "-")) {
        return TALLY_NONE;
    }
    for (const char *from = text; *from; from++) {
        if (from[0] == '\\' && from[1] == 'x') {
            char digits[3] = {from[2], from[3], 0};

            to[len++] = (uint8_t)strtoul(digits, NULL, 16);
            from += 3;
        } else {
            to[len++] = (uint8_t)*from;
        }
    }
    return tally_slice_of(text, len);
}

static char *next_word(char **text)
{
    char *word = *text;
    char *end = strchr(word, ' ');

    ck_assert_ptr_nonnull(end);
    *end = 0;
    *text = end + 1;
    return word;
}

static void pipe_raw(struct runner *runner, char *text)
{
    char *topology = next_word(&text);
    char *partition = next_word(&text);
    struct tally_slice key = bytes_of(next_word(&text));
    char topic[64];

    snprintf(topic, sizeof topic, "%s.commands", topology);
    ck_assert_int_ge(tally_topology_driver_pipe(runner->fixture.driver, topic,
                             (int32_t)strtol(partition, NULL, 10), key, bytes_of(text), NULL, 0),
            0);
    run(runner);
}

static void pipe_command(struct runner *runner, char *text)
{
    char *topology = next_word(&text);
    size_t len = strlen(topology);
    bool later = len > 3 && !strcmp(topology + len - 3, "...");
    char topic[64];

    snprintf(topic, sizeof topic, "%.*s.commands", (int)(later ? len - 3 : len), topology);
    driver_fixture_pipe(&runner->fixture, topic, text);
    if (!later) {
        run(runner);
    }
}

static void do_line(struct runner *runner, char *line)
{
    if (line[0] == '#' || line[0] == 0) {
        return;
    }
    if (!strncmp(line, "@ ", 2)) {
        set_option(runner, line + 2);
    } else if (!strncmp(line, "== ", 3)) {
        open_case(runner);
    } else if (!strncmp(line, "advance ", 8)) {
        tally_topology_driver_advance(runner->fixture.driver, strtoll(line + 8, NULL, 10));
    } else if (!strcmp(line, "state")) {
        show_state(runner);
    } else if (!strcmp(line, "replies")) {
        show_new(runner, WATCH_REPLIES, show_document);
    } else if (!strcmp(line, "dead-letters")) {
        show_new(runner, WATCH_CATALOGUE_DLT, show_dead_letter);
        show_new(runner, WATCH_STOCK_DLT, show_dead_letter);
    } else if (!strcmp(line, "messages")) {
        for (int watched = WATCH_MESSAGES; watched < WATCHED; watched++) {
            show_new(runner, (enum watched)watched, show_message);
        }
    } else if (!strcmp(line, "event")) {
        struct tally_memory_record record = {.value = runner->last_event};

        show_document(runner, &record);
    } else if (!strncmp(line, "raw ", 4)) {
        pipe_raw(runner, line + 4);
    } else {
        pipe_command(runner, line);
    }
}

void case_runner_transcribe(struct tally_slice script, struct tally_buf *out)
{
    struct runner runner = {.options = {.partitions = 1}, .out = out};
    const uint8_t *at = script.data, *end = script.data + script.len;

    tally_arena_init(&runner.arena, LINE_MAX_BYTES);
    while (at < end) {
        const uint8_t *eol = memchr(at, '\n', (size_t)(end - at));
        size_t len = eol ? (size_t)(eol - at) : (size_t)(end - at);
        char line[LINE_MAX_BYTES];

        ck_assert_uint_lt(len, sizeof line);
        if (len < 2 || memcmp(at, "  ", 2)) { /* an instruction: what came out is made anew */
            memcpy(line, at, len);
            line[len] = 0;
            tally_buf_string(out, line);
            tally_buf_byte(out, '\n');
            do_line(&runner, line);
        }
        at += len + 1;
    }
    close_case(&runner);
    tally_arena_deinit(&runner.arena);
}
