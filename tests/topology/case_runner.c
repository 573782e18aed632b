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

/* In the order in which they are shown. */
enum { CATALOGUE, STOCK, RESERVATION, TRANSFER, TOPOLOGIES };
static const char *const topology_names[TOPOLOGIES + 1] = {
        "catalogue", "stock", "reservation", "transfer", NULL};
enum { PROJECTIONS = 3 };
static const char *const projection_names[PROJECTIONS] = {"expiring", "low_stock", "movements"};
static const char *const usual_topologies[] = {"catalogue", "stock", NULL};
enum watched { WATCH_EVENTS, WATCH_COMMANDS, WATCH_DEAD_LETTERS, WATCHED };
static const char *const suffixes[WATCHED] = {".events", ".commands", ".commands-dlt"};

struct runner {
    struct driver_fixture fixture;
    struct driver_fixture_options options;
    const char *chosen[TOPOLOGIES + PROJECTIONS + 1]; /* by @ topologies */
    bool open, messages;
    int64_t seen[TOPOLOGIES][WATCHED][PARTITIONS_MAX]; /* next offset to show */
    int64_t replies_seen;
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

/* Where a record stands, in a list that has those of several topics. */
struct place {
    const char *topology;
    int32_t partition;
};

static void show_event(struct runner *runner, const struct place *place,
        const struct tally_memory_record *record)
{
    const struct tally_token *root = parse(runner, record->value);

    runner->last_event = record->value;
    tally_buf_string(runner->out, "  ");
    if (runner->messages) {
        tally_buf_format(runner->out, "%s/%d ", place->topology, (int)place->partition);
    }
    tally_buf_slice(runner->out, tally_token_member(root, "type")->string);
    tally_buf_byte(runner->out, ' ');
    show_without(tally_token_member(root, "payload"), "outcome", runner->out);
    tally_buf_byte(runner->out, '\n');
}

static void show_message(struct runner *runner, const struct place *place,
        const struct tally_memory_record *record)
{
    const struct tally_token *root, *id;
    enum tally_refusal refusal;

    if (tally_document_parse(record->value, &runner->arena, &root, &refusal, NULL) ||
            !tally_token_member(root, "source")) {
        return; /* no message of a topology: those have a source */
    }
    id = tally_token_member(root, "id");
    if (runner->messages) {
        tally_buf_format(runner->out, "    -> %s/%d ", place->topology, (int)place->partition);
    } else {
        tally_buf_string(runner->out, "  ");
        show_text(record->key, runner->out);
        tally_buf_byte(runner->out, ' ');
    }
    tally_buf_slice(runner->out, id->string);
    tally_buf_byte(runner->out, ' ');
    tally_token_write(tally_token_member(root, "payload"), TALLY_FORMAT_JSON, runner->out);
    tally_buf_byte(runner->out, '\n');
}

static void show_document(struct runner *runner, const struct tally_memory_record *record)
{
    tally_buf_string(runner->out, "  ");
    tally_token_write(parse(runner, record->value), TALLY_FORMAT_JSON, runner->out);
    tally_buf_byte(runner->out, '\n');
}

static void show_dead_letter(struct runner *runner, const struct place *place,
        const struct tally_memory_record *record)
{
    (void)place;
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

typedef void (*show_fn)(struct runner *runner, const struct place *place,
        const struct tally_memory_record *record);

/* show NULL: as if it had been shown. */
static void show_new(struct runner *runner, enum watched watched, show_fn show)
{
    struct tally_memory_broker *broker = tally_topology_driver_broker(runner->fixture.driver);
    struct tally_memory_record record;

    for (int i = 0; i < TOPOLOGIES; i++) {
        char topic[64];

        snprintf(topic, sizeof topic, "%s%s", topology_names[i], suffixes[watched]);
        for (int32_t partition = 0; partition < PARTITIONS_MAX; partition++) {
            struct place place = {topology_names[i], partition};
            int64_t *seen = &runner->seen[i][watched][partition];

            while (tally_memory_broker_read(broker, topic, partition, *seen, &record)) {
                if (show) {
                    show(runner, &place, &record);
                }
                *seen = record.offset + 1;
            }
        }
    }
}

static void show_replies(struct runner *runner)
{
    struct tally_memory_broker *broker = tally_topology_driver_broker(runner->fixture.driver);
    struct tally_memory_record record;

    while (tally_memory_broker_read(broker, TALLY_DRIVER_REPLY_TOPIC, 0, runner->replies_seen,
            &record)) {
        show_document(runner, &record);
        runner->replies_seen = record.offset + 1;
    }
}

/* After every call of a client. */
static void show_committed(void *context, struct tally_client *client, enum tally_memory_op op,
        enum tally_code code)
{
    struct runner *runner = context;

    (void)client;
    if (op == TALLY_MEMORY_COMMIT && code == TALLY_OK && runner->messages) {
        show_new(runner, WATCH_EVENTS, show_event);
        show_new(runner, WATCH_COMMANDS, show_message);
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

static bool is_projection(const char *topology)
{
    for (int i = 0; i < PROJECTIONS; i++) {
        if (!strcmp(projection_names[i], topology)) {
            return true;
        }
    }
    return false;
}

/* Rows of the aggregates, or of the projections. */
static void show_state(struct runner *runner, bool projections)
{
    for (size_t i = 0; runner->options.topologies[i]; i++) {
        const char *topology = runner->options.topologies[i];

        for (int32_t partition = 0; partition < runner->options.partitions; partition++) {
            struct rows rows = {runner, topology, partition};

            if (is_projection(topology) == projections) {
                ck_assert(tally_topology_driver_scan(runner->fixture.driver, topology, partition,
                        show_row, &rows));
            }
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
    struct tally_memory_broker *broker;

    close_case(runner);
    driver_fixture_open(&runner->fixture, &runner->options);
    broker = tally_topology_driver_broker(runner->fixture.driver);
    for (int i = 0; i < TOPOLOGIES; i++) {
        char topic[64];

        snprintf(topic, sizeof topic, "%s.commands", topology_names[i]);
        tally_memory_broker_topic(broker, topic, runner->options.partitions, LINE_MAX_BYTES);
    }
    tally_memory_broker_set_hooks(broker,
            &(struct tally_memory_hooks){.context = runner, .after = show_committed});
    driver_fixture_run(&runner->fixture);
    memset(runner->seen, 0, sizeof runner->seen);
    runner->replies_seen = 0;
    runner->open = true;
}

static void run(struct runner *runner)
{
    if (runner->messages) {
        show_new(runner, WATCH_COMMANDS, NULL);
    }
    driver_fixture_run(&runner->fixture);
    show_new(runner, WATCH_EVENTS, show_event);
}

/* "all", or names with spaces between them; "projections" are all of those. */
static void choose(struct runner *runner, char *names)
{
    bool all = strstr(names, "all") != NULL;
    size_t count = 0;

    for (int i = 0; i < TOPOLOGIES; i++) {
        if (all || strstr(names, topology_names[i])) {
            runner->chosen[count++] = topology_names[i];
        }
    }
    ck_assert_msg(count > 0, "topologies \"%s\"", names);
    for (int i = 0; i < PROJECTIONS && strstr(names, "projections"); i++) {
        runner->chosen[count++] = projection_names[i];
    }
    runner->chosen[count] = NULL;
    runner->options.topologies = runner->chosen;
}

static void set_option(struct runner *runner, char *text)
{
    if (!strncmp(text, "partitions ", 11)) {
        runner->options.partitions = (int32_t)strtol(text + 11, NULL, 10);
        ck_assert_int_le(runner->options.partitions, PARTITIONS_MAX);
    } else if (!strncmp(text, "topologies ", 11)) {
        choose(runner, text + 11);
    } else if (!strncmp(text, "show ", 5)) {
        runner->messages = !strcmp(text, "show messages");
        ck_assert_msg(runner->messages || !strcmp(text, "show events"), "option \"%s\"", text);
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
    } else if (!strcmp(line, "run")) {
        run(runner);
    } else if (!strcmp(line, "state") || !strcmp(line, "views")) {
        show_state(runner, line[0] == 'v');
    } else if (!strcmp(line, "replies")) {
        show_replies(runner);
    } else if (!strcmp(line, "dead-letters")) {
        show_new(runner, WATCH_DEAD_LETTERS, show_dead_letter);
    } else if (!strcmp(line, "messages")) {
        show_new(runner, WATCH_COMMANDS, show_message);
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
    struct runner runner = {
            .options = {.partitions = 1, .topologies = usual_topologies}, .out = out};
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
