/* apps/cmd_watch.c - follows GET /v1/stream of a running instance: a line for each change, with the
 * positions to go on from. A lost connection is made again, and goes on where it was: every change
 * once.
 *
 *   CONNECT --[101]--> SUBSCRIBE --[subscribed]--> FOLLOW --[lost, try later]--> CONNECT
 *   the first CONNECT --[refused, nobody there]--> end     any --[SIGINT]--> 130 */
#include "apps/cmd.h"

#include <poll.h>
#include <stdio.h>

#include "apps/stream_client.h"
#include "apps/watch_line.h"
#include "engine/base/mem.h"

enum {
    TIMEOUT_MS = 10000,
    WAIT_MS = 500,
    BACK_OFF_MIN_MS = 200,
    BACK_OFF_MAX_MS = 5000,
    LINE_MAX_BYTES = 32 * 1024 * 1024,
    REQUEST_MAX = 16 * 1024,
    CREDIT = 1000000000 /* pushed back by the socket, not by numbers */
};

struct topic {
    const char *name, *store; /* store: another name that it goes by; NULL: none */
    const char *id;           /* what a key is; its option is the first word */
    bool warehouses, kinds, snapshot;
};
static const struct topic topics[] = {
        {"stock", "level", "sku", true, false, true}, {"ledger", NULL, "sku", true, true, false},
        {"low_stock", NULL, "sku", true, false, false},
        {"catalogue", "product", "product_id", false, false, true},
        {"reservations", "reservation", "reservation_id", false, false, true},
        {"transfers", "transfer", "transfer_id", false, false, true},
        {"metrics", NULL, "name", false, false, true}, /* no events: without positions */
};
enum { TOPICS = sizeof topics / sizeof *topics };

/* Filters, by the member of the message. */
enum { SKU, PRODUCT, RESERVATION, TRANSFER, NAME, WAREHOUSE, KIND, FILTERS };
static const struct {
    const char *member, *option;
} filters[FILTERS] = {{"sku", "--sku"}, {"product_id", "--product"},
        {"reservation_id", "--reservation"}, {"transfer_id", "--transfer"}, {"name", "--name"},
        {"warehouse", "--warehouse"}, {"kind", "--kind"}};

struct watch {
    struct cli *cli;
    const struct topic *topic;
    struct cli_list filters[FILTERS];
    char sku[160]; /* of a key with a warehouse */
    const char *from;
    int64_t left; /* changes to print; 0: no end */
    struct watch_places places;
    bool placed; /* places say where to go on */
    int64_t back_off_ms;
    struct stream_client *client;
    struct tally_arena arena;
    struct tally_buf line, request;
};

/* --- the command line ------------------------------------------------------------------------- */

static int find_topic(struct watch *watch, const char *name)
{
    const char *names[TOPICS];
    const char *nearest;

    for (size_t i = 0; i < TOPICS; i++) {
        names[i] = topics[i].name;
        if (strcmp(topics[i].name, name) == 0 ||
                (topics[i].store && strcmp(topics[i].store, name) == 0)) {
            watch->topic = &topics[i];
            return CLI_CONTINUE;
        }
    }
    nearest = tally_config_nearest(name, names, TOPICS);
    return cli_usage(watch->cli,
            "there is no topic \"%s\"%s%s%s: stock, ledger, low_stock, catalogue, reservations, "
            "transfers, metrics",
            name, nearest ? ", did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
}

/* Without a topic the filters say which. */
static void guess_topic(struct watch *watch)
{
    watch->topic = &topics[0];
    for (size_t i = 0; i < TOPICS; i++) {
        for (int filter = PRODUCT; filter <= NAME; filter++) {
            if (watch->filters[filter].count > 0 &&
                    strcmp(topics[i].id, filters[filter].member) == 0) {
                watch->topic = &topics[i];
            }
        }
    }
    if (watch->filters[KIND].count > 0) {
        watch->topic = &topics[1];
    }
}

static bool has_filter(const struct topic *topic, int filter)
{
    return (filter == WAREHOUSE && topic->warehouses) || (filter == KIND && topic->kinds) ||
           strcmp(topic->id, filters[filter].member) == 0;
}

static int filter_of(const struct topic *topic)
{
    int filter = 0;

    while (strcmp(topic->id, filters[filter].member) != 0) {
        filter++;
    }
    return filter;
}

static int add(struct watch *watch, int filter, const char *value)
{
    struct cli_list *list = &watch->filters[filter];

    if (list->count == CLI_LIST_MAX) {
        return cli_usage(watch->cli, "%s: at most %d values", filters[filter].option, CLI_LIST_MAX);
    }
    list->items[list->count++] = value;
    return CLI_CONTINUE;
}

/* SKU.WAREHOUSE, as in the keys of stores; a SKU may have dots of its own. */
static int add_key(struct watch *watch, const char *key)
{
    const char *dot = watch->topic->warehouses ? strrchr(key, '.') : NULL;
    int status;

    if (!dot || dot == key || (size_t)(dot - key) >= sizeof watch->sku ||
            !tally_text_is(tally_slice_string(dot + 1), TALLY_TEXT_WAREHOUSE)) {
        return add(watch, filter_of(watch->topic), key);
    }
    snprintf(watch->sku, sizeof watch->sku, "%.*s", (int)(dot - key), key);
    status = add(watch, SKU, watch->sku);
    return status == CLI_CONTINUE ? add(watch, WAREHOUSE, dot + 1) : status;
}

static int check_filters(struct watch *watch)
{
    for (int filter = 0; filter < FILTERS; filter++) {
        if (watch->filters[filter].count > 0 && !has_filter(watch->topic, filter)) {
            return cli_usage(watch->cli, "%s: topic %s has no %s, but %s%s%s",
                    filters[filter].option, watch->topic->name, filters[filter].member,
                    filters[filter_of(watch->topic)].option,
                    watch->topic->warehouses ? " and --warehouse" : "",
                    watch->topic->kinds ? " and --kind" : "");
        }
    }
    return CLI_CONTINUE;
}

static bool has_positions(const struct watch *watch)
{
    return strcmp(watch->topic->name, "metrics") != 0;
}

static int check_from(struct watch *watch)
{
    if (strcmp(watch->from, "latest") == 0) {
        return CLI_CONTINUE;
    }
    if (strcmp(watch->from, "snapshot") != 0) {
        if (!has_positions(watch)) {
            return cli_usage(watch->cli, "--from: topic %s has no positions: latest or snapshot",
                    watch->topic->name);
        }
        watch->placed = *watch->from != '\0' &&
                        watch_places_take(&watch->places, tally_slice_string(watch->from));
        return watch->placed ? CLI_CONTINUE
                             : cli_usage(watch->cli,
                                       "--from: expected latest, snapshot, or positions like "
                                       "stock.events/0@12,stock.events/1@7, got \"%s\"",
                                       watch->from);
    }
    if (!watch->topic->snapshot) {
        return cli_usage(watch->cli, "--from: topic %s has no snapshot: latest or positions",
                watch->topic->name);
    }
    if (has_positions(watch) && watch->filters[filter_of(watch->topic)].count == 0) {
        return cli_usage(watch->cli, "--from: a snapshot needs a key, or %s",
                filters[filter_of(watch->topic)].option);
    }
    return CLI_CONTINUE;
}

static int understand(struct watch *watch)
{
    struct cli *cli = watch->cli;
    int status = CLI_CONTINUE;

    if (cli->arg_count > 0) {
        status = find_topic(watch, cli->args[0]);
    } else {
        guess_topic(watch);
    }
    if (status == CLI_CONTINUE && cli->arg_count > 1) {
        status = add_key(watch, cli->args[1]);
    }
    if (status == CLI_CONTINUE) {
        status = check_filters(watch);
    }
    return status == CLI_CONTINUE ? check_from(watch) : status;
}

/* --- what is asked for ------------------------------------------------------------------------ */

static void put_filter(struct watch *watch, struct tally_writer *writer)
{
    uint32_t count = 0;

    for (int filter = 0; filter < FILTERS; filter++) {
        count += watch->filters[filter].count > 0;
    }
    tally_write_name(writer, "filter");
    tally_write_map(writer, count);
    for (int filter = 0; filter < FILTERS; filter++) {
        const struct cli_list *list = &watch->filters[filter];

        if (list->count > 0) {
            tally_write_name(writer, filters[filter].member);
            tally_write_array(writer, (uint32_t)list->count);
            for (size_t i = 0; i < list->count; i++) {
                tally_write_string(writer, tally_slice_string(list->items[i]));
            }
        }
    }
}

static void put_text(struct tally_writer *writer, const char *name, struct tally_slice text)
{
    tally_write_name(writer, name);
    tally_write_string(writer, text);
}

static enum tally_code subscribe(struct watch *watch, struct tally_error *err)
{
    struct tally_writer writer;

    tally_buf_clear(&watch->line);
    watch_places_write(&watch->places, &watch->line);
    tally_buf_clear(&watch->request);
    tally_write_begin(&writer, &watch->request, TALLY_FORMAT_JSON);
    tally_write_map(&writer, 6);
    put_text(&writer, "op", TALLY_SLICE("subscribe"));
    put_text(&writer, "id", TALLY_SLICE("watch"));
    put_text(&writer, "topic", tally_slice_string(watch->topic->name));
    put_filter(watch, &writer);
    put_text(&writer, "from",
            watch->placed ? tally_buf_bytes(&watch->line) : tally_slice_string(watch->from));
    tally_write_name(&writer, "credit");
    tally_write_int(&writer, CREDIT);
    return stream_client_send(watch->client, tally_buf_bytes(&watch->request), err);
}

/* --- what comes ------------------------------------------------------------------------------- */

enum step { GO_ON, TRY_LATER, END_OK, END_FAILED };

static void say(const char *text)
{
    fflush(stdout);
    fprintf(stderr, "tally watch: %s\n", text);
}

static enum step print(struct watch *watch, const char *change, struct tally_slice position,
        bool conflated, struct tally_slice data)
{
    const struct watch_line line = {.topic = watch->topic->name,
            .change = change,
            .position = position,
            .conflated = conflated,
            .data = data};

    tally_buf_clear(&watch->line);
    watch_line_write(&line, &watch->places, &watch->line);
    if (!cli_write(watch->cli, tally_buf_bytes(&watch->line)) || fflush(stdout) != 0) {
        return END_FAILED;
    }
    return watch->left > 0 && --watch->left == 0 ? END_OK : GO_ON;
}

static enum step take_snapshot(struct watch *watch, const struct watch_message *message)
{
    struct tally_slice data = message->data, item;
    enum step step = GO_ON;

    while (step == GO_ON && watch_line_item(&data, &item)) {
        step = print(watch, "snapshot", TALLY_NONE, false, item);
    }
    watch->placed = (message->last && has_positions(watch)) || watch->placed;
    return step;
}

/* A subscription was refused, or has ended. */
static enum step take_error(struct watch *watch, const struct watch_message *message)
{
    static const char *const final[] = {
            "BAD_REQUEST", "UNKNOWN_TOPIC", "SNAPSHOT_TOO_LARGE", "RESYNC_REQUIRED"};
    bool resync = tally_slice_equal(message->code, TALLY_SLICE("RESYNC_REQUIRED"));

    fflush(stdout);
    fprintf(stderr, "tally watch: %.*s: %.*s\n", (int)message->code.len,
            (const char *)message->code.data, (int)message->detail.len,
            (const char *)message->detail.data);
    if (resync && strcmp(watch->from, "snapshot") == 0) {
        say("beginning again with a snapshot");
        watch->placed = false;
        watch->places.count = 0;
        return TRY_LATER;
    }
    for (size_t i = 0; i < sizeof final / sizeof *final; i++) {
        if (tally_slice_equal(message->code, tally_slice_string(final[i]))) {
            return END_FAILED;
        }
    }
    return TRY_LATER;
}

static enum step take(struct watch *watch, struct tally_slice text)
{
    struct watch_message message;

    tally_arena_reset(&watch->arena, LINE_MAX_BYTES);
    message = watch_line_parse(text, &watch->arena);
    switch (message.op) {
    case WATCH_SUBSCRIBED:
        watch->back_off_ms = 0;
        if (!watch_places_take(&watch->places, message.position)) {
            break;
        }
        watch->placed =
                watch->placed || (has_positions(watch) && strcmp(watch->from, "snapshot") != 0);
        return GO_ON;
    case WATCH_SNAPSHOT:
        return take_snapshot(watch, &message);
    case WATCH_DELTA:
        if (!watch_places_take(&watch->places, message.position)) {
            break;
        }
        return print(watch, "delta", message.position, message.conflated, message.data);
    case WATCH_ERROR:
        return take_error(watch, &message);
    case WATCH_NOTHING:
        return GO_ON;
    case WATCH_STRANGE:
        break;
    }
    say("the instance sent what is not understood: is it of another version?");
    return END_FAILED;
}

static enum step follow(struct watch *watch)
{
    struct tally_slice message = TALLY_NONE;
    struct tally_error err;
    enum tally_code code = subscribe(watch, &err);
    enum step step = GO_ON;

    while (step == GO_ON && (code == TALLY_OK || code == TALLY_AGAIN)) {
        if (cli_interrupted()) {
            return GO_ON;
        }
        code = stream_client_next(watch->client, WAIT_MS, &message, &err);
        if (code == TALLY_OK) {
            step = take(watch, message);
        }
    }
    if (step == GO_ON) {
        say(err.message);
        step = code == TALLY_UNAVAILABLE ? TRY_LATER : END_FAILED;
    }
    return step;
}

/* --- connections ------------------------------------------------------------------------------ */

static void wait_a_little(struct watch *watch)
{
    watch->back_off_ms = watch->back_off_ms == 0 ? BACK_OFF_MIN_MS : watch->back_off_ms * 2;
    if (watch->back_off_ms > BACK_OFF_MAX_MS) {
        watch->back_off_ms = BACK_OFF_MAX_MS;
    }
    fprintf(stderr, "tally watch: trying again in %lld ms\n", (long long)watch->back_off_ms);
    (void)poll(NULL, 0, (int)watch->back_off_ms); /* a signal ends it */
}

/* first: nobody is waited for who was never there. */
static enum step connect_and_follow(struct watch *watch, bool first)
{
    struct tally_error err;
    enum step step;
    int status;
    enum tally_code code = stream_client_open(OPS_TARGET(&watch->cli->config), "/v1/stream",
            TIMEOUT_MS, &watch->client, &status, &err);

    if (code) {
        say(err.message);
        return first || (status >= 400 && status < 500) ? END_FAILED : TRY_LATER;
    }
    if (!first) {
        tally_buf_clear(&watch->line);
        watch_places_write(&watch->places, &watch->line);
        fprintf(stderr, "tally watch: connected again, from %.*s\n",
                watch->placed ? (int)watch->line.len : (int)strlen(watch->from),
                watch->placed ? (const char *)watch->line.data : watch->from);
    }
    step = follow(watch);
    stream_client_close(watch->client);
    watch->client = NULL;
    return step;
}

static int run(struct watch *watch)
{
    enum step step = GO_ON;

    cli_catch_interrupts();
    for (bool first = true; !cli_interrupted(); first = false) {
        step = connect_and_follow(watch, first);
        if (step == END_OK || step == END_FAILED) {
            return step == END_OK ? CLI_OK : CLI_FAILED;
        }
        if (!cli_interrupted()) {
            wait_a_little(watch);
        }
    }
    return CLI_INTERRUPTED;
}

int cmd_watch(int argc, char **argv)
{
    struct watch watch = {.from = "latest"};
    const struct cli_option options[] = {
            CLI_OPT_TEXT(0, "from", &watch.from, "WHERE",
                    "latest (default), snapshot, or positions: the \"resume\" of a line"),
            CLI_OPT_LIST(0, "sku", &watch.filters[SKU], "SKU", "only these SKUs"),
            CLI_OPT_LIST(0, "warehouse", &watch.filters[WAREHOUSE], "WAREHOUSE",
                    "only these warehouses"),
            CLI_OPT_LIST(0, "kind", &watch.filters[KIND], "KIND", "only these ledger entries"),
            CLI_OPT_LIST(0, "product", &watch.filters[PRODUCT], "ID", "only these products"),
            CLI_OPT_LIST(0, "reservation", &watch.filters[RESERVATION], "ID",
                    "only these reservations"),
            CLI_OPT_LIST(0, "transfer", &watch.filters[TRANSFER], "ID", "only these transfers"),
            CLI_OPT_LIST(0, "name", &watch.filters[NAME], "NAME", "only these metrics"),
            CLI_OPT_INT('c', "count", &watch.left, 1, INT64_MAX, "N", "stop after N lines"),
            CLI_OPT_TOKEN, CLI_OPT_END};
    struct cli cli = {.verb = "watch",
            .usage = "watch [TOPIC [KEY]] [options]",
            .options = options,
            .args_max = 2,
            .about = "Prints what changes in stock (or level), ledger, low_stock, catalogue,\n"
                     "reservations or transfers, or the metrics of the instance: one JSON line\n"
                     "each, as GET /v1/stream tells it.\n"
                     "Asks the instance on http.listen. A lost connection is made again and goes\n"
                     "on where it was, so that every change comes once; after an end of your own,\n"
                     "give --from the \"resume\" of the last line. A slow reader of levels,\n"
                     "products, reservations or transfers is told the latest of each key alone\n"
                     "(\"conflated\"), of the ledger everything.",
            .examples = "  tally watch stock TS-RED-M.AMS1 --from snapshot\n"
                        "  tally watch ledger --sku TS-RED-M --kind SHIP | jq -c .data.deltas\n"
                        "  tally watch --reservation R-77\n"};
    int status = cli_begin(&cli, argc, argv);

    watch.cli = &cli;
    tally_arena_init(&watch.arena, 64 * 1024);
    tally_buf_init(&watch.line, LINE_MAX_BYTES);
    tally_buf_init(&watch.request, REQUEST_MAX);
    if (status == CLI_CONTINUE) {
        status = understand(&watch);
        status = cli_finish(&cli, status == CLI_CONTINUE ? run(&watch) : status);
    }
    tally_buf_deinit(&watch.request);
    tally_buf_deinit(&watch.line);
    tally_arena_deinit(&watch.arena);
    cli_end(&cli);
    return status;
}
