/* apps/cmd_dlq.c - dead letters: which are open, what is in one, sending them again, giving up.
 *  (1) Works beside running instances: it reads, and writes commands and marks as any producer.
 *  (2) Nothing is changed for many letters at once without --yes.
 *  (3) An event is never sent again: what a sink could not write, a rebuild of it writes. */
#include "apps/cmd.h"

#include <errno.h>
#include <stdio.h>

#include "apps/dlq_act.h"
#include "apps/instance.h"
#include "apps/tail_format.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "schemas/serde.h"

#define VALUE_MAX (64 * 1024 * 1024)
#define TEXT_MAX  (256 * 1024 * 1024)
#define HEX_LINE  16

enum action { LIST, SHOW, RETRY, DROP, ACTIONS };
static const char *const actions[ACTIONS] = {"list", "show", "retry", "drop"};

struct dlq {
    struct cli *cli;
    enum action action;
    /* options */
    const char *topic, *reason, *key, *since, *value_file;
    int64_t limit;
    bool json, handled, all, yes, again, rekey, force, raw;
    int64_t since_ms, now_ms;
    struct instance instance;
    struct tally_topic_spec *topics; /* that the sources name */
    struct dlq_source *sources;
    size_t source_count;
    struct tally_buf out, value;
    /* over all topics */
    size_t open, closed, matched, shown, done, refused, failed, old;
};

/* --- which letters ---------------------------------------------------------------------------- */

#define SINK_LETTERS "tally.sink-"
#define LETTERS      "-dlt"

/* Topologies first, then the sinks that are configured. */
static int find_sources(struct dlq *dlq)
{
    const struct tally_config *config = &dlq->cli->config;
    size_t prefix = strlen(config->topics_prefix), count = 0;
    struct tally_error err = {.code = TALLY_OK};

    if (instance_build(&dlq->instance, config, &err) ||
            tally_topics_of(config, dlq->instance.owners, dlq->instance.topology_count,
                    &dlq->topics, &count, &err)) {
        return cli_error(dlq->cli, &err);
    }
    dlq->sources = tally_alloc_zero(dlq->instance.topology_count + count + 1, sizeof *dlq->sources);
    for (size_t i = 0; i < dlq->instance.topology_count; i++) {
        struct tally_topology *topology = dlq->instance.topologies[i];
        struct dlq_source *source = &dlq->sources[dlq->source_count];

        if (tally_topology_dead_letters(topology)) {
            source->topic = tally_topology_dead_letters(topology);
            source->topology = topology;
            (void)snprintf(source->name, sizeof source->name, "%s", tally_topology_name(topology));
            dlq->source_count++;
        }
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = dlq->topics[i].name + prefix;

        if (strncmp(name, SINK_LETTERS, strlen(SINK_LETTERS)) == 0) {
            struct dlq_source *source = &dlq->sources[dlq->source_count++];

            source->topic = dlq->topics[i].name;
            (void)snprintf(source->name, sizeof source->name, "%.*s",
                    (int)(strlen(name) - strlen(SINK_LETTERS) - strlen(LETTERS)),
                    name + strlen(SINK_LETTERS));
        }
    }
    return CLI_CONTINUE;
}

static bool names_topic(const struct dlq *dlq, const char *name, const struct dlq_source *source)
{
    size_t prefix = strlen(dlq->cli->config.topics_prefix);
    const char *commands = source->topology ? tally_topology_commands(source->topology) : NULL;

    return strcmp(name, source->name) == 0 || strcmp(name, source->topic) == 0 ||
           strcmp(name, source->topic + prefix) == 0 ||
           (commands && (strcmp(name, commands) == 0 || strcmp(name, commands + prefix) == 0));
}

static int no_retry(struct dlq *dlq, const struct dlq_source *source)
{
    return cli_failed(dlq->cli,
            "an event is not sent again: once what its letter says is gone, `tally sink rebuild "
            "%s` writes it; then drop the letter",
            source->name);
}

static bool matches(const struct dlq *dlq, const struct dlq_letter *letter)
{
    return (letter->state == DLQ_OPEN || (dlq->handled && dlq->action == LIST)) &&
           (!dlq->reason || tally_slice_equal(letter->reason, tally_slice_string(dlq->reason))) &&
           (!dlq->key || tally_slice_equal(letter->key, tally_slice_string(dlq->key))) &&
           letter->time_ms >= dlq->since_ms;
}

/* "90s", "15m", "2h", "7d" before now, or a time. */
static int parse_since(struct dlq *dlq)
{
    static const struct {
        char unit;
        int64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    size_t len = dlq->since ? strlen(dlq->since) : 0;
    int64_t number;

    if (!dlq->since || tally_parse_time(tally_slice_string(dlq->since), &dlq->since_ms)) {
        return CLI_CONTINUE;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0] && len > 1; i++) {
        if (dlq->since[len - 1] == units[i].unit &&
                tally_parse_int(tally_slice_of(dlq->since, len - 1), &number) && number >= 0 &&
                number < INT32_MAX) {
            dlq->since_ms = dlq->now_ms - number * units[i].ms;
            return CLI_CONTINUE;
        }
    }
    return cli_usage(dlq->cli,
            "--since: expected 90s, 15m, 2h, 7d or a time like 2026-01-15T10:00:00Z, got \"%s\"",
            dlq->since);
}

/* "<topic>/<partition>@<offset>"; the source's number, or -1 after a report. */
static int parse_address(struct dlq *dlq, const char *text, struct dlq_place *place)
{
    const char *slash = strrchr(text, '/');
    char name[256];

    if (slash && dlq_place_parse(tally_slice_string(slash + 1), place)) {
        (void)snprintf(name, sizeof name, "%.*s", (int)(slash - text), text);
        for (size_t i = 0; i < dlq->source_count; i++) {
            if (names_topic(dlq, name, &dlq->sources[i])) {
                return (int)i;
            }
        }
    }
    (void)cli_usage(dlq->cli,
            "\"%s\" names no letter: expected TOPIC/PARTITION@OFFSET, as \"tally dlq list\" "
            "prints it",
            text);
    return -1;
}

/* Marks the letters that the command line names. CLI_CONTINUE, or an exit status. */
static int choose_named(struct dlq *dlq, struct dlq_box *box, size_t source)
{
    for (int i = 1; i < dlq->cli->arg_count; i++) {
        struct dlq_place place;
        int found = parse_address(dlq, dlq->cli->args[i], &place);
        struct dlq_letter *letter = NULL;

        if (found < 0) {
            return CLI_USAGE;
        }
        if ((size_t)found != source) {
            continue;
        }
        letter = dlq_box_find(box, &place);
        if (!letter) {
            return cli_failed(dlq->cli, "there is no dead letter at \"%s\"", dlq->cli->args[i]);
        }
        if (dlq->action == RETRY && !box->source->topology) {
            return no_retry(dlq, box->source);
        }
        if (dlq->action != SHOW && letter->state != DLQ_OPEN && !dlq->again) {
            fprintf(stderr, "%s is already %s\n", dlq->cli->args[i],
                    dlq_state_names[letter->state]);
            continue;
        }
        letter->chosen = true;
        dlq->matched++;
    }
    return CLI_CONTINUE;
}

static void choose_matching(struct dlq *dlq, struct dlq_box *box)
{
    for (size_t i = 0; i < box->count; i++) {
        struct dlq_letter *letter = &box->letters[i];

        dlq->open += letter->state == DLQ_OPEN;
        dlq->closed += letter->state != DLQ_OPEN;
        if (matches(dlq, letter)) {
            letter->chosen = dlq->limit == 0 || (int64_t)dlq->matched < dlq->limit;
            dlq->matched++;
        }
    }
}

/* --- list, show ------------------------------------------------------------------------------- */

static int print_list(struct dlq *dlq, struct dlq_box *box)
{
    struct tally_arena arena;
    bool written = true;

    tally_arena_init(&arena, 64 * 1024);
    for (size_t i = 0; i < box->count && written; i++) {
        if (!box->letters[i].chosen) {
            continue;
        }
        dlq->shown++;
        tally_buf_clear(&dlq->out);
        tally_arena_reset(&arena, 64 * 1024);
        if (dlq->json) {
            dlq_letter_json(&box->letters[i], box->source->topic, !box->source->topology, &arena,
                    &dlq->out);
        } else {
            dlq_letter_line(&box->letters[i], box->source->topic, !box->source->topology,
                    dlq->now_ms, &dlq->out);
        }
        written = cli_write(dlq->cli, tally_buf_bytes(&dlq->out));
    }
    tally_arena_deinit(&arena);
    return written ? CLI_CONTINUE : CLI_FAILED;
}

static void put_hex(struct tally_slice bytes, struct tally_buf *out)
{
    for (size_t at = 0; at < bytes.len; at += HEX_LINE) {
        size_t len = bytes.len - at < HEX_LINE ? bytes.len - at : HEX_LINE;

        tally_buf_format(out, "%08zx ", at);
        for (size_t i = 0; i < HEX_LINE; i++) {
            if (i < len) {
                tally_buf_format(out, " %02x", bytes.data[at + i]);
            } else {
                tally_buf_string(out, "   ");
            }
        }
        tally_buf_string(out, "  ");
        for (size_t i = 0; i < len; i++) {
            uint8_t byte = bytes.data[at + i];

            tally_buf_byte(out, byte >= ' ' && byte < 0x7f ? byte : '.');
        }
        tally_buf_byte(out, '\n');
    }
}

/* Text as it is; MessagePack as JSON where it can be read; all else as hex. */
static void put_value(struct tally_slice value, struct tally_buf *out)
{
    const struct tally_token *root;
    enum tally_refusal refusal;
    struct tally_arena arena;
    bool text = tally_utf8_valid(value);

    tally_arena_init(&arena, 64 * 1024);
    for (size_t i = 0; i < value.len && text; i++) {
        text = value.data[i] >= ' ' || value.data[i] == '\n' || value.data[i] == '\t' ||
               value.data[i] == '\r';
    }
    if (!value.data) {
        tally_buf_string(out, "value: null\n");
    } else if (text) {
        tally_buf_format(out, "value, %zu bytes:\n", value.len);
        tally_buf_slice(out, value);
        tally_buf_byte(out, '\n');
    } else if (!tally_document_parse(value, &arena, &root, &refusal, NULL)) {
        tally_buf_format(out, "value, %zu bytes of MessagePack, as JSON:\n", value.len);
        tally_token_write(root, TALLY_FORMAT_JSON, out);
        tally_buf_byte(out, '\n');
    } else {
        tally_buf_format(out, "value, %zu bytes:\n", value.len);
        put_hex(value, out);
    }
    tally_arena_deinit(&arena);
}

struct showing {
    struct dlq *dlq;
    struct dlq_box *box;
};

static enum tally_code on_shown(void *context, struct dlq_letter *letter,
        const struct tally_record *record, const struct tally_header *headers,
        struct tally_error *err)
{
    struct showing *showing = context;
    struct tally_buf *out = &showing->dlq->out;

    tally_buf_clear(out);
    if (showing->dlq->raw) {
        tally_buf_slice(out, record->value);
    } else {
        dlq_letter_line(letter, showing->box->source->topic, !showing->box->source->topology,
                showing->dlq->now_ms, out);
        tally_buf_string(out, "detail: ");
        tally_buf_slice(out, letter->detail);
        tally_buf_format(out, "\nstate: %s\nkey: ", dlq_state_names[letter->state]);
        dlq_put_text(record->key, record->key.len * 4 + 8, out);
        tally_buf_byte(out, '\n');
        for (size_t i = 0; i < letter->own_headers; i++) {
            tally_buf_string(out, "header ");
            dlq_put_text(headers[i].name, 512, out);
            tally_buf_string(out, ": ");
            dlq_put_text(headers[i].value, 512, out);
            tally_buf_byte(out, '\n');
        }
        if (letter->cut.len) {
            tally_buf_string(out, "cut: ");
            tally_buf_slice(out, letter->cut);
            tally_buf_string(out, "; the whole record stood at ");
            dlq_put_text(letter->origin_topic, 512, out);
            tally_buf_format(out, "/%d@%lld\n", (int)letter->origin.partition,
                    (long long)letter->origin.offset);
        }
        put_value(record->value, out);
    }
    showing->dlq->shown++;
    return cli_write(showing->dlq->cli, tally_buf_bytes(out))
                   ? TALLY_OK
                   : tally_error_set(err, TALLY_SYSTEM, "could not write");
}

static int show(struct dlq *dlq, struct dlq_box *box)
{
    struct showing showing = {.dlq = dlq, .box = box};
    struct tally_error err = {.code = TALLY_OK};

    return dlq_box_each(box, &dlq->cli->config, on_shown, &showing, &err)
                   ? cli_error(dlq->cli, &err)
                   : CLI_CONTINUE;
}

/* --- retry, drop ------------------------------------------------------------------------------ */

static int act(struct dlq *dlq, struct dlq_box *box)
{
    struct tally_error err = {.code = TALLY_OK};
    struct dlq_act act = {.cli = dlq->cli,
            .box = box,
            .value = dlq->value_file ? tally_buf_bytes(&dlq->value) : TALLY_NONE,
            .rekey = dlq->rekey,
            .force = dlq->force,
            .now_ms = dlq->now_ms,
            .drop = dlq->action == DROP};
    enum tally_code code;

    if (dlq->all && !dlq->yes) {
        return CLI_CONTINUE; /* the plan is in the summary */
    }
    code = dlq_act_run(&act, &err);
    dlq->done += act.done;
    dlq->refused += act.refused;
    dlq->failed += act.failed;
    dlq->old += act.old;
    if (code == TALLY_AGAIN) {
        return CLI_INTERRUPTED;
    }
    return code ? cli_error(dlq->cli, &err) : CLI_CONTINUE;
}

static int read_value(struct dlq *dlq)
{
    FILE *file = strcmp(dlq->value_file, "-") == 0 ? stdin : fopen(dlq->value_file, "re");
    uint8_t bytes[65536];
    size_t len;
    bool fine;

    if (!file) {
        return cli_failed(dlq->cli, "could not open \"%s\": %s", dlq->value_file, strerror(errno));
    }
    while ((len = fread(bytes, 1, sizeof bytes, file)) > 0) {
        tally_buf_append(&dlq->value, bytes, len);
    }
    fine = !ferror(file) && !dlq->value.failed && dlq->value.len > 0;
    if (file != stdin) {
        fclose(file);
    }
    return fine ? CLI_CONTINUE
                : cli_failed(dlq->cli, "could not read a value from \"%s\"", dlq->value_file);
}

/* --- all of it -------------------------------------------------------------------------------- */

static int one_topic(struct dlq *dlq, size_t source)
{
    struct dlq_box box;
    struct tally_error err = {.code = TALLY_OK};
    bool by_name = dlq->cli->arg_count > 1;
    struct dlq_place place;
    struct dlq_range range = {.since_ms = by_name ? 0 : dlq->since_ms};
    enum tally_code code;
    int status = CLI_CONTINUE;

    if (dlq->cli->arg_count == 2) { /* one letter: the others need not be read */
        int found = parse_address(dlq, dlq->cli->args[1], &place);

        if (found < 0 || (size_t)found != source) {
            return found < 0 ? CLI_USAGE : CLI_CONTINUE;
        }
        range.from = &place;
    }
    if (!by_name && dlq->action == RETRY && !dlq->sources[source].topology) {
        return no_retry(dlq, &dlq->sources[source]);
    }
    code = dlq_box_read(&box, &dlq->cli->config, &dlq->sources[source], &range, &err);
    if (code == TALLY_AGAIN) {
        status = CLI_INTERRUPTED;
    } else if (code) {
        status = cli_error(dlq->cli, &err);
    } else if (by_name) {
        status = choose_named(dlq, &box, source);
    } else {
        choose_matching(dlq, &box);
    }
    if (status == CLI_CONTINUE) {
        status = dlq->action == LIST   ? print_list(dlq, &box)
                 : dlq->action == SHOW ? show(dlq, &box)
                                       : act(dlq, &box);
    }
    dlq_box_deinit(&box);
    return status;
}

/* What is sent again without being named is commands alone. */
static bool wanted(const struct dlq *dlq, const struct dlq_source *source)
{
    return dlq->topic ? names_topic(dlq, dlq->topic, source)
                      : source->topology || dlq->action != RETRY || dlq->cli->arg_count > 1;
}

static int summary(struct dlq *dlq, int status)
{
    size_t wrong = dlq->refused + dlq->failed;

    fflush(stdout);
    if (status != CLI_CONTINUE && dlq->done + wrong == 0) {
        return status;
    }
    if (dlq->action == LIST) {
        fprintf(stderr, "%zu of %zu shown; %zu open, %zu retried or dropped\n", dlq->shown,
                dlq->matched, dlq->open, dlq->closed);
        return CLI_OK;
    }
    if (dlq->action == SHOW) {
        return CLI_OK;
    }
    if (dlq->all && !dlq->yes) {
        fprintf(stderr, "%zu letters would be %s; nothing was done: add --yes\n",
                dlq->limit && dlq->matched > (size_t)dlq->limit ? (size_t)dlq->limit : dlq->matched,
                dlq->action == DROP ? "dropped" : "retried");
        return CLI_OK;
    }
    fprintf(stderr, "%zu %s, %zu not sent, %zu failed\n", dlq->done,
            dlq->action == DROP ? "dropped" : "retried", dlq->refused, dlq->failed);
    if (dlq->old > 0) {
        fprintf(stderr,
                "%zu of them are older than dedup.retention: a command that was sent before "
                "counts again\n",
                dlq->old);
    }
    if (status == CLI_INTERRUPTED) {
        return status;
    }
    if (status != CLI_CONTINUE || wrong > 0) {
        return dlq->done > 0 ? CLI_PARTIAL : CLI_FAILED;
    }
    return CLI_OK;
}

static int run(struct dlq *dlq)
{
    size_t topics = 0;
    int status = parse_since(dlq);

    if (status == CLI_CONTINUE && dlq->value_file) {
        status = read_value(dlq);
    }
    if (status == CLI_CONTINUE) {
        status = find_sources(dlq);
    }
    for (size_t i = 0; i < dlq->source_count && status == CLI_CONTINUE; i++) {
        if (wanted(dlq, &dlq->sources[i])) {
            topics++;
            status = one_topic(dlq, i);
        }
    }
    if (status == CLI_CONTINUE && topics == 0) {
        return cli_usage(dlq->cli,
                "--topic: \"%s\" is no topic of the configured topologies and sinks", dlq->topic);
    }
    return cli_finish(dlq->cli, summary(dlq, status));
}

/* What the action may not do without. */
static int check_usage(const struct dlq *dlq)
{
    int letters = dlq->cli->arg_count - 1;

    if (dlq->action == LIST && letters > 0) {
        return cli_usage(dlq->cli, "list takes no letter: show does");
    }
    if (dlq->action == SHOW && letters != 1) {
        return cli_usage(dlq->cli, "show takes one letter");
    }
    if ((dlq->action == RETRY || dlq->action == DROP) && (letters == 0) != dlq->all) {
        return cli_usage(dlq->cli, "%s takes letters, or --all with filters", actions[dlq->action]);
    }
    if (dlq->value_file && (dlq->action != RETRY || letters != 1)) {
        return cli_usage(dlq->cli, "--value-file is for the retry of one letter");
    }
    return CLI_CONTINUE;
}

static int parse_action(struct dlq *dlq)
{
    for (int i = 0; i < ACTIONS; i++) {
        if (strcmp(dlq->cli->args[0], actions[i]) == 0) {
            dlq->action = (enum action)i;
            return check_usage(dlq);
        }
    }
    return cli_usage(dlq->cli, "unknown action \"%s\"", dlq->cli->args[0]);
}

int cmd_dlq(int argc, char **argv)
{
    struct dlq dlq = {.limit = 0};
    const struct cli_option options[] = {CLI_OPT_BROKERS,
            CLI_OPT_TEXT('t', "topic", &dlq.topic, "TOPIC", "only of this topology, sink or topic"),
            CLI_OPT_TEXT(0, "reason", &dlq.reason, "REASON", "only for this reason"),
            CLI_OPT_TEXT('k', "key", &dlq.key, "KEY", "only with this key"),
            CLI_OPT_TEXT(0, "since", &dlq.since, "TIME", "only since then: 90s, 15m, 2h, 7d, time"),
            CLI_OPT_INT(0, "limit", &dlq.limit, 1, INT64_MAX, "N", "the first N that fit"),
            CLI_OPT_FLAG(0, "json", &dlq.json, "list: one JSON object a line"),
            CLI_OPT_FLAG(0, "handled", &dlq.handled, "list: also what was retried or dropped"),
            CLI_OPT_FLAG(0, "raw", &dlq.raw, "show: the bytes of the value alone"),
            CLI_OPT_FLAG(0, "all", &dlq.all, "retry, drop: every open letter that fits"),
            CLI_OPT_FLAG(0, "yes", &dlq.yes, "with --all: do it, instead of counting"),
            CLI_OPT_FLAG(0, "again", &dlq.again, "also a letter that was retried or dropped"),
            CLI_OPT_TEXT(0, "value-file", &dlq.value_file, "FILE",
                    "retry: send this value instead, - is standard input"),
            CLI_OPT_FLAG(0, "rekey", &dlq.rekey, "retry: under the key that the fields ask for"),
            CLI_OPT_FLAG(0, "force", &dlq.force, "retry: even what will be refused again"),
            CLI_OPT_END};
    struct cli cli = {.verb = "dlq",
            .usage = "dlq list|show|retry|drop [LETTER ...] [options]",
            .options = options,
            .args_min = 1,
            .args_max = 1000,
            .about = "list   the dead letters that nobody has dealt with: letter, reason, age, "
                     "type, "
                     "id, key, origin\n"
                     "show   one letter: headers, reason, value as text or hex\n"
                     "retry  sends the record to its commands topic again, as it was or with a "
                     "repaired value\n"
                     "drop   gives a letter up\n\n"
                     "Events that a sink could not write are listed, shown and dropped too; `tally "
                     "sink rebuild`\nwrites them once the reason is gone.\n"
                     "A retry keeps key, headers and command id, so a command counts once however "
                     "often it is\nsent within dedup.retention. What was done is noted on the "
                     "dead-letter topic itself.\n"
                     "Exit status 3: some were not sent.",
            .examples = "  tally dlq list --topic stock --since 1h\n"
                        "  tally dlq show stock.commands-dlt/2@17\n"
                        "  tally dlq show stock.commands-dlt/2@17 --raw >value.json\n"
                        "  tally dlq retry stock.commands-dlt/2@17 --value-file value.json\n"
                        "  tally dlq drop --all --reason EMPTY_VALUE --yes\n"};
    int status = cli_begin(&cli, argc, argv);

    dlq.cli = &cli;
    dlq.now_ms = tally_wall_ms(tally_clock_real());
    tally_buf_init(&dlq.out, TEXT_MAX);
    tally_buf_init(&dlq.value, VALUE_MAX);
    if (status == CLI_CONTINUE) {
        status = parse_action(&dlq);
    }
    if (status == CLI_CONTINUE) {
        cli_catch_interrupts();
        status = run(&dlq);
    }
    tally_free(dlq.sources);
    tally_free(dlq.topics);
    instance_deinit(&dlq.instance);
    tally_buf_deinit(&dlq.out);
    tally_buf_deinit(&dlq.value);
    cli_end(&cli);
    return status;
}
