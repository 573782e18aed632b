/* tests/topology/saga_fixture.c - see saga_fixture.h. */
#include "tests/topology/saga_fixture.h"

#include <check.h>
#include <stdio.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "schemas/serde_table.h"

#define TEXT_MAX            (64 * 1024 * 1024)
#define SMALL_BATCH_RECORDS 3
#define COUNTED_MAX         4096

/* --- records ---------------------------------------------------------------------------------- */

enum { BEGIN, STEP, TIME_OUT, NOTE, CLEAR, COUNT };
enum way { WAY_GRANT, WAY_REFUSE, WAY_WAIT, WAY_STAY };
static const char *const way_names[] = {"GRANT", "REFUSE", "WAIT", "STAY", NULL};

enum { HAS_ID = TALLY_HAS_FAMILY, HAS_WAY, HAS_TTL, HAS_GRANTED, HAS_DUE, HAS_PREFIX };
struct saga_command {
    struct tally_command_fields head;
    struct tally_slice reservation_id, prefix;
    int64_t ttl_ms, due_ms;
    uint8_t way;
    bool granted;
};

enum { OP_WAY = TALLY_OPERATION_FAMILY, OP_DUE };
struct saga_operation {
    struct tally_operation head;
    uint8_t way;
    int64_t due_ms;
};

enum { BEGUN, ENDED, NOTED, COUNTED };
enum { EVENT_ID, EVENT_OP, EVENT_STATE, EVENT_CLEAR, EVENT_IDS };
static const char *const state_names[] = {"DONE", "FAILED", NULL};
struct saga_event {
    struct tally_presence presence;
    struct tally_slice reservation_id, ids;
    struct saga_operation op;
    uint8_t state;
    int64_t clear_ms;
};

#define SCHEMA(struct_, id_, name_, fields_, internal_)                               \
    {                                                                                 \
        .name = (name_), .id = (id_), .fields = (fields_),                            \
        .field_count = sizeof(fields_) / sizeof(fields_)[0], .size = sizeof(struct_), \
        .key_field = "reservation_id", .key_prefix = "", .internal = (internal_)      \
    }
#define ROW(bit, member, name, type, presence) \
    FIELD_ROW(struct saga_command, bit, member, name, type, presence, "")
#define ID_ROW       ROW(HAS_ID, reservation_id, "reservation_id", TEXT(1, 128), REQUIRED)
#define DEADLINE_ROW ROW(TALLY_HAS_DEADLINE, head.deadline, "deadline", TIME, OPTIONAL)

static const struct tally_field begin_fields[] = {ID_ROW                 //
                ROW(HAS_WAY, way, "way", ENUM(way_names), REQUIRED)      //
        ROW(HAS_TTL, ttl_ms, "ttl_ms", INT(-1000000, 1000000), REQUIRED) //
        DEADLINE_ROW};
static const struct tally_field step_fields[] = {
        ID_ROW ROW(HAS_GRANTED, granted, "granted", BOOL, REQUIRED) DEADLINE_ROW};
static const struct tally_field time_out_fields[] = {
        ID_ROW ROW(HAS_DUE, due_ms, "due_ms", ANY_INT, REQUIRED)};
static const struct tally_field id_fields[] = {ID_ROW};
static const struct tally_field count_fields[] = {
        ID_ROW ROW(HAS_PREFIX, prefix, "prefix", TEXT(0, 64), REQUIRED)};
static const struct tally_schema begin_schema =
        SCHEMA(struct saga_command, BEGIN, "Begin", begin_fields, false);
static const struct tally_schema step_schema =
        SCHEMA(struct saga_command, STEP, "Step", step_fields, true);
static const struct tally_schema time_out_schema =
        SCHEMA(struct saga_command, TIME_OUT, "TimeOut", time_out_fields, true);
static const struct tally_schema note_schema =
        SCHEMA(struct saga_command, NOTE, "Note", id_fields, true);
static const struct tally_schema clear_schema =
        SCHEMA(struct saga_command, CLEAR, "Clear", id_fields, false);
static const struct tally_schema count_schema =
        SCHEMA(struct saga_command, COUNT, "Count", count_fields, false);
static const struct tally_schema *const command_types[] = {&begin_schema, &step_schema,
        &time_out_schema, &note_schema, &clear_schema, &count_schema, NULL};

static const struct tally_field op_fields[] = {OPERATION_ROWS(struct saga_operation, head)  //
        FIELD_ROW(struct saga_operation, OP_WAY, way, "way", ENUM(way_names), REQUIRED, "") //
        FIELD_ROW(struct saga_operation, OP_DUE, due_ms, "due", TIME, REQUIRED, "")};
static const struct tally_schema op_schema = {.name = "op",
        .fields = op_fields,
        .field_count = sizeof op_fields / sizeof op_fields[0],
        .size = sizeof(struct saga_operation)};
#define EVENT_ROW(bit, member, name, type, presence) \
    FIELD_ROW(struct saga_event, bit, member, name, type, presence, "")
#define EVENT_ID_ROW EVENT_ROW(EVENT_ID, reservation_id, "reservation_id", TEXT(1, 128), REQUIRED)
static const struct tally_field begun_fields[] = {
        EVENT_ID_ROW EVENT_ROW(EVENT_OP, op, "op", OBJECT(op_schema), REQUIRED)};
static const struct tally_field ended_fields[] = {
        EVENT_ID_ROW EVENT_ROW(EVENT_STATE, state, "state", ENUM(state_names), REQUIRED)
                EVENT_ROW(EVENT_CLEAR, clear_ms, "clear", TIME, REQUIRED)};
static const struct tally_field noted_fields[] = {EVENT_ID_ROW};
static const struct tally_field counted_fields[] = {
        EVENT_ID_ROW EVENT_ROW(EVENT_IDS, ids, "ids", TEXT(0, COUNTED_MAX), REQUIRED)};
static const struct tally_schema begun_schema =
        SCHEMA(struct saga_event, BEGUN, "Begun", begun_fields, false);
static const struct tally_schema ended_schema =
        SCHEMA(struct saga_event, ENDED, "Ended", ended_fields, false);
static const struct tally_schema noted_schema =
        SCHEMA(struct saga_event, NOTED, "Noted", noted_fields, false);
static const struct tally_schema counted_schema =
        SCHEMA(struct saga_event, COUNTED, "Counted", counted_fields, false);
static const struct tally_schema *const event_types[] = {
        &begun_schema, &ended_schema, &noted_schema, &counted_schema, NULL};

/* --- the aggregate ---------------------------------------------------------------------------- */

static void key_of(enum tally_store_id store, struct tally_slice id, struct tally_key *key)
{
    tally_key_begin(key, store);
    tally_key_tail(key, id);
}

static void timer_key(int64_t due_ms, struct tally_slice id, struct tally_key *key)
{
    tally_key_begin(key, TALLY_STORE_RESERVATION_TIMER);
    tally_key_u64(key, (uint64_t)due_ms);
    tally_key_tail(key, id);
}

static const struct saga_command *fields_of(const struct tally_command *command)
{
    return (const struct saga_command *)command->fields;
}

static void touch(struct tally_touch *touching, const struct tally_command *command)
{
    struct tally_key key;

    key_of(TALLY_STORE_RESERVATION_OPERATION, fields_of(command)->reservation_id, &key);
    tally_touch_key(touching, &key);
}

/* The operation is kept as the event has it. */
static bool read_operation(struct tally_context *ctx, struct tally_slice id,
        struct saga_operation *operation)
{
    struct tally_key key;
    struct tally_slice row;
    const struct tally_token *root;
    struct tally_violations violations = {0};
    enum tally_refusal refusal;

    key_of(TALLY_STORE_RESERVATION_OPERATION, id, &key);
    if (!tally_get(ctx, &key, &row)) {
        return false;
    }
    ck_assert_int_eq(tally_document_parse(row, tally_scratch(ctx), &root, &refusal, NULL),
            TALLY_OK);
    tally_bind(root, &op_schema, true, NULL, tally_scratch(ctx), operation, &violations);
    ck_assert_uint_eq(violations.count, 0);
    return true;
}

static struct tally_slice print_id(struct tally_context *ctx, const char *type,
        struct tally_slice id, int64_t number)
{
    size_t size = strlen(type) + id.len + 32;
    char *text = tally_arena_alloc(tally_scratch(ctx), size);
    int len = snprintf(text, size, "~%s:%.*s:%lld", type, (int)id.len, (const char *)id.data,
            (long long)number);

    return tally_slice_of(text, (size_t)len);
}

static void send(struct tally_context *ctx, const struct tally_schema *schema,
        struct tally_slice message_id, const struct saga_command *fields)
{
    tally_send(ctx, &(struct tally_message){
                            .topic = "reservation.commands",
                            .partition = -1,
                            .key = fields->reservation_id,
                            .id = message_id,
                            .schema = schema,
                            .fields = fields,
                    });
}

static void begin(struct tally_context *ctx, const struct saga_command *fields)
{
    struct saga_event event = {
            .presence.present = TALLY_BIT(EVENT_ID) | TALLY_BIT(EVENT_OP),
            .reservation_id = fields->reservation_id,
            .op = {.head.presence.present = TALLY_BIT(OP_WAY) | TALLY_BIT(OP_DUE),
                    .way = fields->way,
                    .due_ms = tally_time(ctx) + fields->ttl_ms},
    };
    struct saga_command step = {
            .head.presence.present = TALLY_BIT(HAS_ID) | TALLY_BIT(HAS_GRANTED),
            .reservation_id = fields->reservation_id,
            .granted = fields->way == WAY_GRANT,
    };

    tally_operation_begin(ctx, &event.op.head);
    if (fields->way == WAY_GRANT || fields->way == WAY_REFUSE) {
        send(ctx, &step_schema, print_id(ctx, "Step", fields->reservation_id, 1), &step);
    }
    tally_emit_pending(ctx, BEGUN, &event);
}

static void end(struct tally_context *ctx, const struct saga_operation *operation,
        const struct saga_command *fields, bool granted, enum tally_reject code)
{
    struct saga_event event = {
            .presence.present =
                    TALLY_BIT(EVENT_ID) | TALLY_BIT(EVENT_STATE) | TALLY_BIT(EVENT_CLEAR),
            .reservation_id = fields->reservation_id,
            .state = !granted,
            .clear_ms = operation->due_ms,
    };

    if (granted) {
        tally_complete(ctx, &operation->head);
    } else {
        tally_complete_rejected(ctx, &operation->head, code, "/way", &TALLY_META_I("line", 1), 1,
                "no luck with %.*s", (int)fields->reservation_id.len,
                (const char *)fields->reservation_id.data);
    }
    tally_emit(ctx, ENDED, &event);
}

struct listing {
    char text[COUNTED_MAX];
    size_t len;
};

static bool list(void *context, struct tally_slice key, struct tally_slice value)
{
    struct listing *listing = context;
    int len = snprintf(listing->text + listing->len, sizeof listing->text - listing->len,
            "%.*s=%.*s ", (int)key.len - 1, (const char *)key.data + 1, (int)value.len,
            (const char *)value.data);

    ck_assert_int_lt(len, (int)(sizeof listing->text - listing->len));
    listing->len += (size_t)len;
    return key.data[key.len - 1] != '_'; /* such an id ends the scan */
}

static void count(struct tally_context *ctx, const struct saga_command *fields)
{
    struct listing listing = {.len = 0};
    struct saga_event event = {
            .presence.present = TALLY_BIT(EVENT_ID) | TALLY_BIT(EVENT_IDS),
            .reservation_id = fields->reservation_id,
    };
    struct tally_key prefix;

    key_of(TALLY_STORE_RESERVATION, fields->prefix, &prefix);
    tally_scan(ctx, &prefix, list, &listing);
    event.ids = tally_slice_of(listing.text, listing.len);
    tally_emit(ctx, COUNTED, &event);
}

static void decide(struct tally_context *ctx, const struct tally_command *command)
{
    const struct saga_command *fields = fields_of(command);
    struct saga_operation operation;
    struct saga_event noted = {
            .presence.present = TALLY_BIT(EVENT_ID), .reservation_id = fields->reservation_id};
    bool open = read_operation(ctx, fields->reservation_id, &operation);

    switch (command->schema->id) {
    case BEGIN:
        if (open) {
            tally_reject(ctx, TALLY_REJECT_OPERATION_IN_PROGRESS, NULL, NULL, 0, "since %.*s",
                    (int)operation.head.op_id.len, (const char *)operation.head.op_id.data);
        } else {
            begin(ctx, fields);
        }
        break;
    case STEP:
    case CLEAR:
    case TIME_OUT:
        if (!open || (command->schema->id == TIME_OUT &&
                             (operation.way == WAY_STAY || operation.due_ms != fields->due_ms))) {
            tally_accept(ctx);
        } else {
            end(ctx, &operation, fields, fields->granted || command->schema->id == CLEAR,
                    command->schema->id == STEP ? TALLY_REJECT_INSUFFICIENT_STOCK
                                                : TALLY_REJECT_OPERATION_TIMED_OUT);
        }
        break;
    case NOTE:
        tally_emit(ctx, NOTED, &noted);
        break;
    default:
        count(ctx, fields);
        break;
    }
}

static void evolve(struct tally_context *ctx, const struct tally_event *event)
{
    const struct saga_event *body = event->body;
    struct tally_buf row;
    struct tally_key key;

    switch (event->schema->id) {
    case BEGUN:
        tally_buf_init(&row, 65536);
        tally_encode(&op_schema, &body->op, TALLY_FORMAT_MSGPACK, &row);
        key_of(TALLY_STORE_RESERVATION_OPERATION, body->reservation_id, &key);
        tally_put(ctx, &key, tally_buf_bytes(&row));
        timer_key(body->op.due_ms, body->reservation_id, &key);
        tally_put(ctx, &key, TALLY_SLICE("timer"));
        key_of(TALLY_STORE_RESERVATION, body->reservation_id, &key);
        tally_put(ctx, &key, TALLY_SLICE("OPEN"));
        tally_buf_deinit(&row);
        break;
    case ENDED:
        key_of(TALLY_STORE_RESERVATION_OPERATION, body->reservation_id, &key);
        tally_delete(ctx, &key);
        timer_key(body->clear_ms, body->reservation_id, &key);
        tally_delete(ctx, &key);
        key_of(TALLY_STORE_RESERVATION, body->reservation_id, &key);
        if (body->state == 0) {
            tally_put(ctx, &key, TALLY_SLICE("DONE"));
        } else {
            tally_delete(ctx, &key);
        }
        break;
    default:
        break;
    }
}

static void remember(const struct tally_event *event, struct tally_buf *memo)
{
    tally_buf_string(memo, event->schema->name);
}

static void result(struct tally_context *ctx, struct tally_slice key,
        const struct tally_outcome *outcome, struct tally_writer *writer, int64_t *version)
{
    (void)ctx;
    (void)key;
    *version = 7;
    tally_write_string(writer, outcome->memo);
}

static void refused(struct tally_context *ctx, const struct tally_command *command,
        enum tally_reject code)
{
    struct saga_command note = {
            .head.presence.present = TALLY_BIT(HAS_ID), .reservation_id = command->key};

    ck_assert(code == TALLY_REJECT_DEADLINE_EXCEEDED || code == TALLY_REJECT_VALIDATION_FAILED);
    if (command->schema->id == STEP) {
        send(ctx, &note_schema, print_id(ctx, "Note", command->key, command->offset), &note);
    }
}

static void due(struct tally_context *ctx, int64_t due_ms, struct tally_slice rest,
        struct tally_slice row)
{
    struct saga_command fields = {
            .head.presence.present = TALLY_BIT(HAS_ID) | TALLY_BIT(HAS_DUE),
            .reservation_id = rest,
            .due_ms = due_ms,
    };

    ck_assert(tally_slice_equal(row, TALLY_SLICE("timer")));
    send(ctx, &time_out_schema, print_id(ctx, "TimeOut", rest, due_ms), &fields);
}

const struct tally_aggregate saga_aggregate = {
        .name = "reservation",
        .commands = "reservation.commands",
        .events = "reservation.events",
        .command_types = command_types,
        .event_types = event_types,
        .evolve_version = 1,
        .touch = touch,
        .decide = decide,
        .evolve = evolve,
        .remember = remember,
        .result = result,
        .refused = refused,
        .has_timers = true,
        .timers = TALLY_STORE_RESERVATION_TIMER,
        .due = due,
};

/* --- the driver ------------------------------------------------------------------------------- */

static void load_config(struct tally_config *config, const struct saga_fixture_options *options)
{
    char *argv[] = {(char[]){"test"}, NULL};
    int argc = 1;
    struct tally_buf mistakes;
    struct tally_error err = {.code = TALLY_OK};

    tally_buf_init(&mistakes, TEXT_MAX);
    ck_assert_int_eq(tally_config_load(config, &argc, argv, &mistakes, &err), TALLY_OK);
    tally_buf_deinit(&mistakes);
    if (options->small_transactions) {
        config->batch_records = SMALL_BATCH_RECORDS;
        config->uncommitted_bytes = 1; /* commits after every batch */
        config->state_flush_bytes = 1;
    }
    if (options->json_events) {
        tally_free(config->events_format);
        config->events_format = tally_copy_string("json");
    }
}

void saga_fixture_open(struct saga_fixture *fixture, const struct saga_fixture_options *options)
{
    static const enum tally_store_id stores[] = {TALLY_STORE_DEDUP, TALLY_STORE_RESERVATION,
            TALLY_STORE_RESERVATION_OPERATION, TALLY_STORE_RESERVATION_TIMER};
    struct tally_error err = {.code = TALLY_OK};

    tally_log_init(TALLY_LOG_ERROR, TALLY_LOG_LOGFMT);
    load_config(&fixture->config, options);
    fixture->topology = tally_topology_create("reservation", fixture->config.topics_prefix);
    for (size_t i = 0; i < sizeof stores / sizeof stores[0]; i++) {
        tally_store(fixture->topology, stores[i], TALLY_EVENT_SOURCED);
    }
    tally_aggregate(fixture->topology, &saga_aggregate);
    tally_sends_to(fixture->topology, "reservation.commands");
    ck_assert_msg(tally_topology_validate(fixture->topology, &err) == TALLY_OK, "%s", err.message);
    ck_assert_msg(tally_topology_driver_create(
                          &(struct tally_topology_driver_options){
                                  .topologies = &fixture->topology,
                                  .topology_count = 1,
                                  .config = &fixture->config,
                                  .partitions = SAGA_PARTITIONS,
                                  .state_dir = options->state_dir,
                                  .now_ms = SAGA_NOW_MS,
                          },
                          &fixture->driver, &err) == TALLY_OK,
            "%s", err.message);
}

void saga_fixture_close(struct saga_fixture *fixture)
{
    tally_topology_driver_destroy(fixture->driver);
    tally_topology_destroy(fixture->topology);
    tally_config_deinit(&fixture->config);
}

void saga_fixture_run(struct saga_fixture *fixture)
{
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code = tally_topology_driver_run(fixture->driver, &err);

    ck_assert_msg(code == TALLY_OK, "%s: %s", tally_code_name(code), err.message);
}

void saga_fixture_restart(struct saga_fixture *fixture)
{
    struct tally_error err = {.code = TALLY_OK};

    tally_topology_driver_crash(fixture->driver);
    ck_assert_msg(tally_topology_driver_start(fixture->driver, &err) == TALLY_OK, "%s",
            err.message);
}

void saga_fixture_ask(struct saga_fixture *fixture, const char *json,
        struct tally_slice correlation)
{
    struct tally_header headers[] = {
            {.name = TALLY_SLICE("reply-topic"), .value = TALLY_SLICE(TALLY_DRIVER_REPLY_TOPIC)},
            {.name = TALLY_SLICE("correlation-id"), .value = correlation},
    };
    struct tally_arena arena;
    struct tally_command command;
    struct tally_slice key;
    enum tally_refusal refusal;

    tally_arena_init(&arena, 65536);
    ck_assert_int_eq(tally_command_decode(tally_slice_string(json), command_types, &arena, &command,
                             &refusal, NULL),
            TALLY_OK);
    ck_assert(tally_command_key(&command, &arena, &key));
    ck_assert_int_ge(tally_topology_driver_pipe(fixture->driver, "reservation.commands", -1, key,
                             tally_slice_string(json), headers, correlation.data ? 2 : 1),
            0);
    tally_arena_deinit(&arena);
}

void saga_fixture_begin(struct saga_fixture *fixture, const char *id, const char *way, int ttl_ms)
{
    char json[512];

    snprintf(json, sizeof json,
            "{\"type\":\"Begin\",\"command_id\":\"b-%.60s\",\"reservation_id\":\"%s\","
            "\"way\":\"%s\",\"ttl_ms\":%d}",
            id, id, way, ttl_ms);
    saga_fixture_ask(fixture, json, TALLY_NONE);
}

static char *text_of(struct tally_buf *buf)
{
    char *text;

    tally_buf_byte(buf, 0);
    ck_assert(!buf->failed);
    text = tally_copy_string((const char *)buf->data);
    tally_buf_deinit(buf);
    return text;
}

char *saga_fixture_records(struct saga_fixture *fixture, const char *topic)
{
    struct tally_buf buf;

    tally_buf_init(&buf, TEXT_MAX);
    tally_topology_driver_print(fixture->driver, topic, -1, &buf);
    return text_of(&buf);
}

char *saga_fixture_dump(struct saga_fixture *fixture)
{
    struct tally_buf buf;

    tally_buf_init(&buf, TEXT_MAX);
    tally_topology_driver_dump(fixture->driver, &buf);
    return text_of(&buf);
}

size_t saga_fixture_count(struct saga_fixture *fixture, const char *topic, const char *text)
{
    char *records = saga_fixture_records(fixture, topic);
    size_t count = 0;

    for (const char *at = strstr(records, text); at; at = strstr(at + 1, text)) {
        count++;
    }
    tally_free(records);
    return count;
}
