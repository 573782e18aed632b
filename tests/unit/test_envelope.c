/* tests/unit/test_envelope.c - commands in both forms, events there and back, outcome rows and
 * records. Invariants: envelope.c (1)-(3), event.c (1) (2), outcome.c (1)-(3). */
#include "schemas/envelope.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "schemas/catalogue_records.h"
#include "schemas/stock_records.h"

static struct tally_arena arena;
static struct tally_buf buf;
static struct tally_error err;
static struct tally_command command;
static enum tally_refusal refusal;

static void setup(void)
{
    tally_arena_init(&arena, 4096);
    tally_buf_init(&buf, 1u << 20);
}

static void teardown(void)
{
    tally_arena_deinit(&arena);
    tally_buf_deinit(&buf);
}

static const struct stock_command *decode(struct tally_slice bytes)
{
    enum tally_code code =
            tally_command_decode(bytes, stock_command_schemas, &arena, &command, &refusal, &err);

    ck_assert_msg(code == TALLY_OK, "%s", err.message);
    ck_assert_int_eq(refusal, TALLY_REFUSAL_NONE);
    return (const struct stock_command *)command.fields;
}

static const char *refused_as(const char *json)
{
    ck_assert_int_eq(tally_command_decode(tally_slice_string(json), stock_command_schemas, &arena,
                             &command, &refusal, &err),
            TALLY_BAD_RECORD);
    return tally_refusal_name(refusal);
}

/* The violations of a command as "pointer code; ...", or "". */
static const char *broken_by(const char *json)
{
    static char text[4096];
    size_t len = 0;

    (void)decode(tally_slice_string(json));
    text[0] = 0;
    for (size_t i = 0; command.violations && i < command.violations->count; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s %s", i ? "; " : "",
                command.violations->items[i].pointer, command.violations->items[i].code);
    }
    return text;
}

static bool written(const char *text)
{
    return memmem(buf.data, buf.len, text, strlen(text)) != NULL;
}

#define FLAT                                                                                \
    "{\"type\":\"ReceiveStock\",\"command_id\":\"c-1\",\"sku\":\"TS-RED-M\",\"warehouse\":" \
    "\"AMS1\",\"quantity\":5}"

/* --- commands ----------------------------------------------------------------------------------
 */

START_TEST(both_forms_and_formats_are_one_command)
{
    static const char *const forms[] = {FLAT,
            "{\"id\":\"c-1\",\"type\":\"ReceiveStock\",\"version\":\"1.0\",\"headers\":{\"a\":1},"
            "\"time\":\"x\",\"actor\":\"me\",\"payload\":{\"quantity\":5,\"sku\":\"TS-RED-M\","
            "\"warehouse\":\"AMS1\"}}",
            "{\"quantity\":5,\"id\":\"c-1\",\"warehouse\":\"AMS1\",\"version\":\"1.7\","
            "\"sku\":\"TS-RED-M\",\"type\":\"ReceiveStock\",\"headers\":null}",
            "{\"command_id\":\"c-1\",\"id\":\"c-1\",\"type\":\"ReceiveStock\",\"sku\":\"TS-RED-M\","
            "\"warehouse\":\"AMS1\",\"quantity\":5,\"source\":\"s\"}"};
    const struct stock_command *fields;
    const struct tally_token *root;

    for (size_t i = 0; i < 2 * sizeof forms / sizeof forms[0]; i++) {
        struct tally_slice bytes = tally_slice_string(forms[i / 2]);

        if (i % 2) {
            tally_buf_clear(&buf);
            ck_assert_int_eq(tally_document_parse(bytes, &arena, &root, &refusal, &err), TALLY_OK);
            tally_token_write(root, TALLY_FORMAT_MSGPACK, &buf);
            bytes = tally_buf_bytes(&buf);
        }
        fields = decode(bytes);
        ck_assert_int_eq(command.format, i % 2 ? TALLY_FORMAT_MSGPACK : TALLY_FORMAT_JSON);
        ck_assert(command.flat == (i / 2 != 1));
        ck_assert_ptr_null(command.violations);
        ck_assert_uint_eq(command.fingerprint, UINT64_C(0x39697258b434eb87));
        ck_assert(tally_slice_equal(command.id, TALLY_SLICE("c-1")));
        ck_assert_ptr_eq(command.schema, stock_command_schemas[STOCK_RECEIVE]);
        ck_assert_uint_eq(command.schema->id, STOCK_RECEIVE);
        ck_assert(tally_slice_equal(fields->sku, TALLY_SLICE("TS-RED-M")));
        ck_assert_int_eq(fields->quantity, 5);
        ck_assert_uint_eq(fields->bucket, STOCK_SELLABLE);
        ck_assert_uint_eq(fields->head.presence.present, TALLY_BIT(STOCK_HAS_SKU) |
                                                                 TALLY_BIT(STOCK_HAS_WAREHOUSE) |
                                                                 TALLY_BIT(STOCK_HAS_QUANTITY));
    }
}
END_TEST

START_TEST(the_envelope_is_read)
{
    const struct stock_command *fields =
            decode(TALLY_SLICE("{\"type\":\"ReceiveStock\",\"id\":\"c-1\",\"source\":\"shop\","
                               "\"actor\":\"a\",\"correlation_id\":\"co\",\"causation_id\":\"ca\","
                               "\"sku\":\"S\",\"warehouse\":\"W\",\"quantity\":1,"
                               "\"expected_version\":3,\"deadline\":\"2026-01-15T10:00:00Z\","
                               "\"reference\":\"r\",\"note\":\"n\"}"));

    ck_assert(tally_slice_equal(command.source, TALLY_SLICE("shop")));
    ck_assert(tally_slice_equal(command.actor, TALLY_SLICE("a")));
    ck_assert(tally_slice_equal(command.correlation_id, TALLY_SLICE("co")));
    ck_assert(tally_slice_equal(command.causation_id, TALLY_SLICE("ca")));
    ck_assert_ptr_null(command.violations);
    ck_assert_uint_eq(fields->head.presence.present & 15, 15);
    ck_assert_int_eq(fields->head.expected_version, 3);
    ck_assert_int_eq(fields->head.deadline, 1768471200000);
    ck_assert(tally_slice_equal(fields->head.reference, TALLY_SLICE("r")));
    ck_assert(tally_slice_equal(fields->head.note, TALLY_SLICE("n")));
    ck_assert_ptr_eq(command.fields, &fields->head);
}
END_TEST

START_TEST(a_record_without_type_or_id_is_dead)
{
    ck_assert_str_eq(refused_as("{}"), "MISSING_FIELD");
    ck_assert_str_eq(refused_as("{\"type\":\"T\"}"), "MISSING_FIELD");
    ck_assert_ptr_nonnull(strstr(err.message, "command_id"));
    ck_assert_str_eq(refused_as("{\"id\":\"c\"}"), "MISSING_FIELD");
    ck_assert_str_eq(refused_as("{\"type\":\"T\",\"command_id\":\"c\",\"payload\":{}}"),
            "MISSING_FIELD");
    ck_assert_str_eq(refused_as("{\"type\":1,\"id\":\"c\"}"), "MISSING_FIELD");
    ck_assert_str_eq(refused_as("{\"type\":\"\",\"id\":\"c\"}"), "MISSING_FIELD");
    ck_assert_str_eq(refused_as("{\"type\":\"T\",\"id\":7}"), "MISSING_FIELD");
    ck_assert_str_eq(refused_as("{\"type\":\"T\",\"id\":null}"), "MISSING_FIELD");
    ck_assert_str_eq(refused_as("{\"type\":\"T\",\"id\":\"\"}"), "MISSING_FIELD");
    ck_assert_str_eq(refused_as("{\"type\":\"T\",\"id\":\"a b\"}"), "MISSING_FIELD");
    ck_assert_str_eq(refused_as("{\"type\":\"T\",\"id\":\"~\"}"), "MISSING_FIELD");
    ck_assert_str_eq(refused_as("{\"type\":\"T\",\"id\":\"~a~\"}"), "MISSING_FIELD");
    ck_assert_str_eq(refused_as("{\"type\":\"T\",\"id\":\"c\",\"command_id\":\"d\"}"),
            "MISSING_FIELD");
    ck_assert_str_eq(refused_as("{\"type\":\"T\",\"id\":\"c\",\"payload\":[]}"), "MISSING_FIELD");
    ck_assert_str_eq(refused_as("{\"type\":\"T\",\"id\":\"c\",\"actor\":5}"), "MISSING_FIELD");
    ck_assert_ptr_nonnull(strstr(err.message, "actor"));
    ck_assert_str_eq(refused_as("{\"type\":\"T\",\"id\":\"c\",\"version\":1}"), "MISSING_FIELD");
    ck_assert_str_eq(refused_as("{\"type\":\"T\",\"id\":\"c\",\"version\":\"2.0\"}"),
            "UNSUPPORTED_VERSION");
    ck_assert_str_eq(refused_as("{\"type\":\"T\",\"id\":\"c\",\"version\":\"10.0\"}"),
            "UNSUPPORTED_VERSION");
    ck_assert_str_eq(refused_as("{\"v\":1,\"version\":\"2.0\"}"), "UNSUPPORTED_VERSION");
}
END_TEST

START_TEST(ids_have_their_lengths)
{
    char json[512];

    for (int len = 62; len <= 196; len++) {
        for (int internal = 0; internal <= 1; internal++) {
            enum tally_code code;

            snprintf(json, sizeof json, "{\"type\":\"T\",\"id\":\"%s%0*d\"}", internal ? "~" : "",
                    len - internal, 7);
            code = tally_command_decode(tally_slice_string(json), stock_command_schemas, &arena,
                    &command, &refusal, &err);
            ck_assert_int_eq(code, len <= (internal ? 192 : 64) ? TALLY_OK : TALLY_BAD_RECORD);
        }
    }
}
END_TEST

START_TEST(an_unknown_type_is_a_command)
{
    (void)decode(TALLY_SLICE("{\"type\":\"Nope\",\"id\":\"c\",\"x\":1}"));
    ck_assert_ptr_null(command.schema);
    ck_assert_ptr_null(command.fields);
    ck_assert_ptr_null(command.violations);
    ck_assert(tally_slice_equal(command.type, TALLY_SLICE("Nope")));
    ck_assert_uint_ne(command.fingerprint, 0);
    (void)decode(TALLY_SLICE("{\"type\":\"receivestock\",\"id\":\"c\"}"));
    ck_assert_ptr_null(command.schema);
}
END_TEST

START_TEST(broken_rules_are_violations)
{
    char json[700];

    ck_assert_str_eq(broken_by("{\"type\":\"ReceiveStock\",\"id\":\"c\",\"sku\":\"-\","
                               "\"warehouse\":\"AMS1\","
                               "\"quantity\":0,\"colour\":1}"),
            "/sku BAD_FORMAT; /quantity OUT_OF_RANGE; /colour UNKNOWN_FIELD");
    ck_assert_str_eq(broken_by("{\"type\":\"ReceiveStock\",\"id\":\"c\",\"sku\":\"S\",\"payload\":{"
                               "\"type\":1,"
                               "\"sku\":\"S\",\"warehouse\":\"W\",\"quantity\":1},\"command_id\":"
                               "\"c\"}"),
            "/sku UNKNOWN_FIELD; /command_id UNKNOWN_FIELD; /type UNKNOWN_FIELD");
    snprintf(json, sizeof json,
            "{\"type\":\"RegisterSku\",\"id\":\"c\",\"sku\":\"S\",\"actor\":\"%0129d\","
            "\"correlation_id\":\"%0129d\"}",
            1, 2);
    ck_assert_str_eq(broken_by(json), "/actor BAD_LENGTH; /correlation_id BAD_LENGTH");
    ck_assert_uint_eq(command.actor.len, 0);
    snprintf(json, sizeof json,
            "{\"type\":\"RegisterSku\",\"id\":\"c\",\"sku\":\"S\",\"actor\":\"%0128d\"}", 1);
    ck_assert_str_eq(broken_by(json), "");
    ck_assert_uint_eq(command.actor.len, 128);
    ck_assert_str_eq(broken_by("{\"type\":\"RegisterSku\",\"id\":\"c\",\"sku\":\"S\",\"expected_"
                               "version\":-1,"
                               "\"deadline\":\"soon\"}"),
            "/expected_version OUT_OF_RANGE; /deadline BAD_FORMAT");
}
END_TEST

START_TEST(tildes_are_tallys_own)
{
    ck_assert_str_eq(broken_by("{\"type\":\"RegisterSku\",\"id\":\"~RegisterSku:S\",\"sku\":"
                               "\"S\"}"),
            "/command_id NOT_ALLOWED");
    ck_assert_str_eq(broken_by("{\"type\":\"ApplyWarehouse\",\"id\":\"c\",\"warehouse\":\"W\","
                               "\"name\":\"n\","
                               "\"state\":\"OPEN\"}"),
            "/command_id NOT_ALLOWED");
    ck_assert_str_eq(broken_by("{\"type\":\"ApplyWarehouse\",\"id\":\"~ApplyWarehouse:W:OPEN:0\","
                               "\"warehouse\":\"W\",\"name\":\"n\",\"state\":\"OPEN\"}"),
            "");
    ck_assert(command.schema->broadcast);
}
END_TEST

START_TEST(keys_come_from_fields)
{
    struct tally_slice key;
    char json[300];

    (void)decode(TALLY_SLICE(FLAT));
    ck_assert(tally_command_key(&command, &arena, &key));
    ck_assert(tally_slice_equal(key, TALLY_SLICE("TS-RED-M")));
    (void)decode(TALLY_SLICE("{\"id\":\"~a\",\"type\":\"ApplyWarehouse\",\"payload\":{"
                             "\"warehouse\":\"AMS1\"}}"));
    ck_assert(tally_command_key(&command, &arena, &key));
    ck_assert(tally_slice_equal(key, TALLY_SLICE("warehouse:AMS1")));
    (void)decode(TALLY_SLICE("{\"id\":\"a\",\"type\":\"ReceiveStock\"}"));
    ck_assert(!tally_command_key(&command, &arena, &key));
    (void)decode(TALLY_SLICE("{\"id\":\"a\",\"type\":\"ReceiveStock\",\"sku\":5}"));
    ck_assert(!tally_command_key(&command, &arena, &key));
    (void)decode(TALLY_SLICE("{\"id\":\"a\",\"type\":\"ReceiveStock\",\"sku\":\"\"}"));
    ck_assert(!tally_command_key(&command, &arena, &key));
    (void)decode(TALLY_SLICE("{\"id\":\"a\",\"type\":\"Nope\",\"sku\":\"S\"}"));
    ck_assert(!tally_command_key(&command, &arena, &key));
    snprintf(json, sizeof json, "{\"id\":\"a\",\"type\":\"RegisterSku\",\"sku\":\"%0128d\"}", 1);
    (void)decode(tally_slice_string(json));
    ck_assert(tally_command_key(&command, &arena, &key));
    snprintf(json, sizeof json, "{\"id\":\"a\",\"type\":\"RegisterSku\",\"sku\":\"%0129d\"}", 1);
    (void)decode(tally_slice_string(json));
    ck_assert(!tally_command_key(&command, &arena, &key));
}
END_TEST

START_TEST(messages_of_tally_come_back)
{
    struct stock_command fields = {.head.presence.present = TALLY_BIT(STOCK_HAS_WAREHOUSE) |
                                                            TALLY_BIT(STOCK_HAS_NAME) |
                                                            TALLY_BIT(STOCK_HAS_STATE),
            .warehouse = TALLY_SLICE("AMS1"),
            .name = TALLY_SLICE("Amsterdam"),
            .state = STOCK_WAREHOUSE_CLOSED};
    struct tally_command_head head = {.id = TALLY_SLICE("~ApplyWarehouse:AMS1:CLOSED:3"),
            .type = TALLY_SLICE("ApplyWarehouse"),
            .source = TALLY_SLICE("tally/catalogue"),
            .correlation_id = TALLY_SLICE("c-1"),
            .causation_id = TALLY_SLICE("c-1")};

    for (int format = TALLY_FORMAT_JSON; format <= TALLY_FORMAT_MSGPACK; format++) {
        const struct stock_command *decoded;

        tally_buf_clear(&buf);
        tally_command_encode(&head, stock_command_schemas[STOCK_APPLY_WAREHOUSE], &fields,
                (enum tally_format)format, &buf);
        decoded = decode(tally_buf_bytes(&buf));
        ck_assert_ptr_null(command.violations);
        ck_assert(tally_slice_equal(command.id, head.id));
        ck_assert(tally_slice_equal(command.source, head.source));
        ck_assert(tally_slice_equal(command.correlation_id, head.correlation_id));
        ck_assert(tally_slice_equal(command.causation_id, head.causation_id));
        ck_assert_uint_eq(command.actor.len, 0);
        ck_assert_uint_eq(decoded->head.presence.present, fields.head.presence.present);
        ck_assert(tally_slice_equal(decoded->name, fields.name));
        ck_assert_uint_eq(decoded->state, STOCK_WAREHOUSE_CLOSED);
    }
}
END_TEST

/* --- events ------------------------------------------------------------------------------------
 */

static struct stock_event shipped_body(void)
{
    struct stock_event body = {
            .presence.present = TALLY_BIT(STOCK_EVENT_SKU) | TALLY_BIT(STOCK_EVENT_WAREHOUSE) |
                                TALLY_BIT(STOCK_EVENT_SEQ) | TALLY_BIT(STOCK_EVENT_VERSION) |
                                TALLY_BIT(STOCK_EVENT_KIND) | TALLY_BIT(STOCK_EVENT_DELTAS) |
                                TALLY_BIT(STOCK_EVENT_AFTER) | TALLY_BIT(STOCK_EVENT_CAUSE),
            .sku = TALLY_SLICE("TS-RED-M"),
            .warehouse = TALLY_SLICE("AMS1"),
            .seq = 915,
            .version = 915,
            .kind = STOCK_KIND_SHIP};

    body.deltas.presence.present = TALLY_BIT(STOCK_ON_HAND) | TALLY_BIT(STOCK_COMMITTED);
    body.deltas.n[STOCK_ON_HAND] = body.deltas.n[STOCK_COMMITTED] = -2;
    body.after.presence.present = TALLY_BIT(STOCK_ON_HAND) | TALLY_BIT(STOCK_RESERVED) |
                                  TALLY_BIT(STOCK_COMMITTED) | TALLY_BIT(STOCK_SAFETY_STOCK) |
                                  TALLY_BIT(STOCK_AVAILABLE);
    body.after.n[STOCK_ON_HAND] = 38;
    body.after.n[STOCK_RESERVED] = 4;
    body.after.n[STOCK_COMMITTED] = 8;
    body.after.n[STOCK_SAFETY_STOCK] = 2;
    body.after.n[STOCK_AVAILABLE] = 24;
    body.cause.presence.present = TALLY_BIT(STOCK_CAUSE_RESERVATION_ID) |
                                  TALLY_BIT(STOCK_CAUSE_LINE) | TALLY_BIT(STOCK_CAUSE_SHIPMENT_ID);
    body.cause.reservation_id = TALLY_SLICE("R-77");
    body.cause.line = 1;
    body.cause.shipment_id = TALLY_SLICE("S-9");
    return body;
}

static struct tally_event shipped_event(struct stock_event *body)
{
    return (struct tally_event){.type = TALLY_SLICE("StockShipped"),
            .topology = TALLY_SLICE("stock"),
            .partition = 2,
            .command_offset = 1007,
            .time_ms = 1768471320012,
            .correlation_id = TALLY_SLICE("c-9"),
            .command_id = TALLY_SLICE("c-9"),
            .key = TALLY_SLICE("TS-RED-M"),
            .outcome = {TALLY_SLICE("ShipStock"), UINT64_C(0xb2f82488424d7f5c), TALLY_ACCEPTED},
            .schema = stock_event_schemas[STOCK_SHIPPED],
            .body = body};
}

static enum tally_code decode_event(struct tally_slice bytes, struct tally_event *event)
{
    return tally_event_decode(bytes, TALLY_SLICE("TS-RED-M"), "stock", 2, stock_event_schemas,
            &arena, event, &err);
}

START_TEST(an_event_is_the_published_one)
{
    struct stock_event body = shipped_body();
    struct tally_event event = shipped_event(&body);

    tally_event_encode(&event, TALLY_FORMAT_JSON, &buf);
    tally_buf_byte(&buf, 0);
    ck_assert_str_eq((const char *)buf.data,
            "{\"id\":\"stock/"
            "2@1007\",\"type\":\"StockShipped\",\"version\":\"1.0\",\"source\":\"tally/stock\","
            "\"time\":\"2026-01-15T10:02:00.012Z\",\"correlation_id\":\"c-9\",\"causation_id\":\"c-"
            "9\","
            "\"payload\":{\"sku\":\"TS-RED-M\",\"warehouse\":\"AMS1\",\"seq\":915,\"version\":915,"
            "\"kind\":\"SHIP\","
            "\"deltas\":{\"on_hand\":-2,\"committed\":-2},\"after\":{\"on_hand\":38,\"reserved\":4,"
            "\"committed\":8,\"safety_stock\":2,\"available\":24},\"cause\":{\"reservation_id\":"
            "\"R-77\","
            "\"line\":1,\"shipment_id\":\"S-9\"},\"outcome\":{\"command\":\"ShipStock\","
            "\"fingerprint\":\"b2f82488424d7f5c\",\"status\":\"ACCEPTED\"}}}");
}
END_TEST

/* Encodes, decodes and encodes again; the bytes are the same. Returns the decoded event. */
static struct tally_event there_and_back(const struct tally_event *event, enum tally_format format)
{
    struct tally_buf again;
    struct tally_event decoded;
    struct tally_slice kept;
    enum tally_code code;

    tally_buf_clear(&buf);
    tally_event_encode(event, format, &buf);
    ck_assert(!buf.failed);
    kept = tally_arena_copy(&arena, tally_buf_bytes(&buf));
    code = decode_event(kept, &decoded);
    ck_assert_msg(code == TALLY_OK, "%s", err.message);
    tally_buf_init(&again, 1u << 20);
    tally_event_encode(&decoded, format, &again);
    ck_assert(tally_slice_equal(kept, tally_buf_bytes(&again)));
    tally_buf_deinit(&again);
    return decoded;
}

START_TEST(a_fact_comes_back)
{
    struct stock_event body = shipped_body();
    struct tally_event event = shipped_event(&body), decoded;
    struct tally_slice signals[] = {TALLY_SLICE("OUT_OF_STOCK"), TALLY_SLICE("LOW_STOCK_REACHED")};

    body.presence.present |= TALLY_BIT(STOCK_EVENT_SIGNALS) | TALLY_BIT(STOCK_EVENT_NOTE);
    body.signals = (struct tally_array){signals, 2};
    body.note = TALLY_SLICE("caf\xc3\xa9 \"1\"\n");
    event.actor = TALLY_SLICE("me");
    for (int format = TALLY_FORMAT_JSON; format <= TALLY_FORMAT_MSGPACK; format++) {
        const struct stock_event *back;

        decoded = there_and_back(&event, (enum tally_format)format);
        back = decoded.body;
        ck_assert_ptr_eq(decoded.schema, event.schema);
        ck_assert_int_eq(decoded.command_offset, 1007);
        ck_assert_int_eq(decoded.time_ms, event.time_ms);
        ck_assert(tally_slice_equal(decoded.actor, event.actor));
        ck_assert(tally_slice_equal(decoded.command_id, event.command_id));
        ck_assert_uint_eq(decoded.outcome.fingerprint, event.outcome.fingerprint);
        ck_assert(tally_slice_equal(decoded.outcome.command, event.outcome.command));
        ck_assert_uint_eq(back->presence.present, body.presence.present);
        ck_assert_mem_eq(&back->after, &body.after, sizeof body.after);
        ck_assert_mem_eq(&back->deltas, &body.deltas, sizeof body.deltas);
        ck_assert_uint_eq(back->signals.count, 2);
        ck_assert(tally_slice_equal(back->note, body.note));
        ck_assert_uint_eq(decoded.rejection.code, TALLY_REJECT_NONE);
    }
}
END_TEST

START_TEST(an_acceptance_comes_back)
{
    struct tally_event event = shipped_event(NULL), decoded;

    event.schema = NULL;
    event.type = TALLY_SLICE(TALLY_EVENT_ACCEPTED);
    decoded = there_and_back(&event, TALLY_FORMAT_JSON);
    ck_assert_ptr_null(decoded.schema);
    ck_assert(written("\"payload\":{\"key\":\"TS-RED-M\",\"outcome\":{"));
    decoded = there_and_back(&event, TALLY_FORMAT_MSGPACK);
    ck_assert(tally_slice_equal(decoded.key, TALLY_SLICE("TS-RED-M")));
}
END_TEST

START_TEST(a_rejection_comes_back)
{
    struct tally_event event = shipped_event(NULL), decoded;
    struct tally_buf errors;
    const struct tally_meta meta[] = {
            TALLY_META_S("sku", TALLY_SLICE("TS-RED-M")), TALLY_META_I("available", -3)};

    tally_buf_init(&errors, 4096);
    tally_rejection_error(&errors, "/quantity", "INSUFFICIENT_STOCK", meta, 2);
    event.schema = NULL;
    event.type = TALLY_SLICE(TALLY_EVENT_REJECTED);
    event.outcome.status = TALLY_REJECTED;
    event.rejection = (struct tally_rejection){
            TALLY_REJECT_INSUFFICIENT_STOCK, TALLY_SLICE("no"), tally_buf_bytes(&errors)};
    for (int format = TALLY_FORMAT_JSON; format <= TALLY_FORMAT_MSGPACK; format++) {
        decoded = there_and_back(&event, (enum tally_format)format);
        ck_assert_int_eq(decoded.outcome.status, TALLY_REJECTED);
        ck_assert_int_eq(decoded.rejection.code, TALLY_REJECT_INSUFFICIENT_STOCK);
        ck_assert(tally_slice_equal(decoded.rejection.detail, TALLY_SLICE("no")));
        ck_assert(tally_slice_equal(decoded.rejection.errors, tally_buf_bytes(&errors)));
    }
    event.rejection.detail = event.rejection.errors = TALLY_NONE;
    decoded = there_and_back(&event, TALLY_FORMAT_JSON);
    ck_assert(written("\"code\":\"INSUFFICIENT_STOCK\",\"retryable\":false,\"detail\":\"\","
                      "\"errors\":[],\"outcome\""));
    ck_assert_uint_eq(decoded.rejection.errors.len, 0);
    tally_buf_deinit(&errors);
}
END_TEST

START_TEST(the_end_of_a_saga_comes_back)
{
    struct stock_event body = shipped_body();
    struct tally_event event = shipped_event(&body), decoded;

    event.has_completes = true;
    event.completes = (struct tally_completes){
            TALLY_SLICE("c-7"), {TALLY_SLICE("ReserveStock"), UINT64_MAX, TALLY_REJECTED}};
    event.rejection.code = TALLY_REJECT_OPERATION_IN_PROGRESS;
    for (int format = TALLY_FORMAT_JSON; format <= TALLY_FORMAT_MSGPACK; format++) {
        decoded = there_and_back(&event, (enum tally_format)format);
        ck_assert(decoded.has_completes);
        ck_assert(tally_slice_equal(decoded.completes.command_id, TALLY_SLICE("c-7")));
        ck_assert_uint_eq(decoded.completes.stamp.fingerprint, UINT64_MAX);
        ck_assert_int_eq(decoded.completes.stamp.status, TALLY_REJECTED);
        ck_assert_int_eq(decoded.rejection.code, TALLY_REJECT_OPERATION_IN_PROGRESS);
    }
}
END_TEST

#define HEAD(id)    \
    "{\"id\":\"" id \
    "\",\"version\":\"1.0\",\"time\":\"2026-01-15T10:02:00.012Z\",\"causation_id\":\"c\","
#define OUTCOME \
    "\"outcome\":{\"command\":\"X\",\"fingerprint\":\"0000000000000001\",\"status\":\"ACCEPTED\"}"
#define OURS(type, payload) HEAD("stock/2@7") "\"type\":\"" type "\",\"payload\":{" payload "}}"

static enum tally_code code_of(const char *json)
{
    struct tally_event event;

    return decode_event(tally_slice_string(json), &event);
}

START_TEST(foreign_records_are_told_from_ours)
{
    ck_assert_int_eq(code_of(OURS("CommandAccepted", "\"key\":\"k\"," OUTCOME)), TALLY_OK);
    ck_assert_int_eq(code_of("{}"), TALLY_NOT_FOUND);
    ck_assert_int_eq(code_of("{\"id\":5}"), TALLY_NOT_FOUND);
    ck_assert_int_eq(code_of("{\"id\":\"stock\"}"), TALLY_NOT_FOUND);
    ck_assert_int_eq(code_of("{\"id\":\"stock/\"}"), TALLY_NOT_FOUND);
    ck_assert_int_eq(code_of("{\"id\":\"stock/2@\"}"), TALLY_NOT_FOUND);
    ck_assert_int_eq(code_of("{\"id\":\"stock/3@7\"}"), TALLY_NOT_FOUND);
    ck_assert_int_eq(code_of("{\"id\":\"stocks/2@7\"}"), TALLY_NOT_FOUND);
    ck_assert_int_eq(code_of("{\"id\":\"stoc/2@7\"}"), TALLY_NOT_FOUND);
    ck_assert_int_eq(code_of("{\"id\":\"stock/2@-7\"}"), TALLY_NOT_FOUND);
    ck_assert_int_eq(code_of("{\"id\":\"stock/2@7x\"}"), TALLY_NOT_FOUND);
    ck_assert_int_eq(code_of("{\"id\""), TALLY_BAD_RECORD);
    ck_assert_int_eq(code_of(""), TALLY_BAD_RECORD);
}
END_TEST

START_TEST(ours_must_be_understood)
{
    ck_assert_int_eq(code_of(OURS("StockTeleported", OUTCOME)), TALLY_EVENT_UNKNOWN);
    ck_assert_int_eq(code_of("{\"id\":\"stock/2@7\",\"version\":\"2.0\"}"), TALLY_EVENT_UNKNOWN);
    ck_assert_int_eq(code_of("{\"id\":\"stock/2@7\"}"), TALLY_EVENT_UNKNOWN);
    ck_assert_int_eq(code_of("{\"id\":\"stock/2@7\",\"version\":\"1.0\"}"), TALLY_BAD_RECORD);
    ck_assert_int_eq(code_of(OURS("CommandRejected", "\"code\":\"FROM_THE_FUTURE\"," OUTCOME)),
            TALLY_EVENT_UNKNOWN);
    ck_assert_int_eq(code_of(OURS("CommandRejected", "\"key\":\"k\"," OUTCOME)), TALLY_BAD_RECORD);
    ck_assert_int_eq(code_of(OURS("CommandAccepted", "\"key\":\"k\"")), TALLY_BAD_RECORD);
    ck_assert_int_eq(code_of(OURS("CommandAccepted", "\"outcome\":{}")), TALLY_BAD_RECORD);
    ck_assert_int_eq(code_of(OURS("CommandAccepted", "\"outcome\":7")), TALLY_BAD_RECORD);
    ck_assert_int_eq(code_of(OURS("CommandAccepted",
                             "\"outcome\":{\"command\":\"X\",\"fingerprint\":\"000000000000000G\","
                             "\"status\":\"ACCEPTED\"}")),
            TALLY_BAD_RECORD);
    ck_assert_int_eq(code_of(OURS("CommandAccepted",
                             "\"outcome\":{\"command\":\"X\",\"fingerprint\":\"00000000000000001\","
                             "\"status\":\"ACCEPTED\"}")),
            TALLY_BAD_RECORD);
    ck_assert_int_eq(code_of(OURS("CommandAccepted",
                             "\"outcome\":{\"command\":\"X\",\"fingerprint\":\"0000000000000001\","
                             "\"status\":\"MAYBE\"}")),
            TALLY_BAD_RECORD);
    ck_assert_int_eq(code_of(OURS("CommandAccepted", OUTCOME ",\"completes\":{}")),
            TALLY_BAD_RECORD);
    ck_assert_int_eq(code_of(OURS("WarehouseApplied",
                             "\"warehouse\":\"AMS1\",\"state\":\"OPEN\"," OUTCOME)),
            TALLY_BAD_RECORD);
    ck_assert_ptr_nonnull(strstr(err.message, "/name REQUIRED"));
    ck_assert_int_eq(code_of(OURS("WarehouseApplied",
                             "\"warehouse\":\"AMS1\",\"name\":\"A\",\"state\":\"OPEN\","
                             "\"later\":{\"x\":1}," OUTCOME)),
            TALLY_OK);
}
END_TEST

/* --- outcomes ----------------------------------------------------------------------------------
 */

START_TEST(errors_are_arrays)
{
    struct tally_violations violations = {.count = 0};
    const struct tally_token *root;
    struct tally_slice kept;

    tally_violate(&violations, "/sku", "BAD_FORMAT", "expected %s", "x");
    tally_violate(&violations, "/quantity", "REQUIRED", "missing");
    tally_buf_byte(&buf, 0x81);
    tally_buf_string(&buf, "\xa1"
                           "e");
    tally_rejection_violations(&buf, &violations);
    kept = tally_arena_copy(&arena, tally_buf_bytes(&buf));
    ck_assert_int_eq(tally_document_parse(kept, &arena, &root, &refusal, &err), TALLY_OK);
    tally_buf_clear(&buf);
    tally_token_write(root, TALLY_FORMAT_JSON, &buf);
    ck_assert(tally_slice_equal(tally_buf_bytes(&buf),
            TALLY_SLICE("{\"e\":[{\"pointer\":\"/"
                        "sku\",\"code\":\"BAD_FORMAT\",\"meta\":{\"detail\":\"expected x\"}},"
                        "{\"pointer\":\"/"
                        "quantity\",\"code\":\"REQUIRED\",\"meta\":{\"detail\":\"missing\"}}]}")));
    tally_buf_clear(&buf);
    tally_rejection_error(&buf, NULL, "UNKNOWN_SKU", NULL, 0);
    ck_assert(tally_slice_equal(tally_buf_bytes(&buf), TALLY_SLICE("\x91\x81\xa4"
                                                                   "code\xabUNKNOWN_SKU")));
}
END_TEST

static struct tally_outcome some_outcome(void)
{
    return (struct tally_outcome){
            .stamp = {TALLY_SLICE("ShipStock"), UINT64_C(0xb2f82488424d7f5c), TALLY_REJECTED},
            .offset = INT64_C(1) << 40,
            .time_ms = 1768471320012,
            .rejection = {TALLY_REJECT_VALIDATION_FAILED, TALLY_SLICE("detail"),
                    TALLY_SLICE("\x90")},
            .memo = TALLY_SLICE("memo")};
}

START_TEST(outcome_rows_come_back)
{
    struct tally_outcome outcome = some_outcome(), back;

    tally_outcome_pack(&outcome, &buf);
    ck_assert_uint_eq(tally_read_u64(buf.data), 1768471320012);
    ck_assert_int_eq(tally_outcome_unpack(tally_buf_bytes(&buf), &back, &err), TALLY_OK);
    ck_assert_int_eq(back.time_ms, outcome.time_ms);
    ck_assert_int_eq(back.offset, outcome.offset);
    ck_assert_int_eq(back.stamp.status, TALLY_REJECTED);
    ck_assert_uint_eq(back.stamp.fingerprint, outcome.stamp.fingerprint);
    ck_assert(tally_slice_equal(back.stamp.command, outcome.stamp.command));
    ck_assert_int_eq(back.rejection.code, TALLY_REJECT_VALIDATION_FAILED);
    ck_assert(tally_slice_equal(back.rejection.detail, outcome.rejection.detail));
    ck_assert(tally_slice_equal(back.rejection.errors, outcome.rejection.errors));
    ck_assert(tally_slice_equal(back.memo, outcome.memo));
    outcome = (struct tally_outcome){.stamp.command = TALLY_SLICE("X"), .offset = 0};
    tally_buf_clear(&buf);
    tally_outcome_pack(&outcome, &buf);
    ck_assert_int_eq(tally_outcome_unpack(tally_buf_bytes(&buf), &back, &err), TALLY_OK);
    ck_assert_int_eq(back.rejection.code, TALLY_REJECT_NONE);
    ck_assert_uint_eq(back.memo.len, 0);
}
END_TEST

START_TEST(damaged_outcome_rows_are_told)
{
    struct tally_outcome outcome = some_outcome(), back;

    tally_outcome_pack(&outcome, &buf);
    for (size_t len = 0; len < buf.len; len++) {
        uint8_t *cut = tally_alloc(len + 1);

        memcpy(cut, buf.data, len);
        ck_assert_int_eq(tally_outcome_unpack(tally_slice_of(cut, len), &back, &err),
                TALLY_STORE_CORRUPT);
        tally_free(cut);
    }
    tally_buf_byte(&buf, 0);
    ck_assert_int_eq(tally_outcome_unpack(tally_buf_bytes(&buf), &back, &err), TALLY_STORE_CORRUPT);
    buf.data[8] = 2;
    ck_assert_int_eq(tally_outcome_unpack(tally_buf_bytes(&buf), &back, &err),
            TALLY_STORE_OUTDATED);
    buf.data[8] = 1;
    buf.data[9] = 3;
    buf.len--;
    ck_assert_int_eq(tally_outcome_unpack(tally_buf_bytes(&buf), &back, &err), TALLY_STORE_CORRUPT);
}
END_TEST

START_TEST(an_outcome_record_is_the_published_one)
{
    struct tally_outcome outcome = {.stamp = {TALLY_SLICE("ReceiveStock"), 1, TALLY_ACCEPTED},
            .offset = 990,
            .time_ms = 1768471200004};
    struct tally_outcome_record record = {.command_id = TALLY_SLICE("c-1"),
            .key = TALLY_SLICE("TS-RED-M"),
            .topic = TALLY_SLICE("stock.commands"),
            .partition = 2,
            .outcome = &outcome,
            .has_version = true,
            .version = 911,
            .result = TALLY_SLICE("{\"seq\":911}")};
    const struct tally_token *root;

    tally_outcome_write(&record, TALLY_FORMAT_JSON, &buf);
    tally_buf_byte(&buf, 0);
    ck_assert_str_eq((const char *)buf.data,
            "{\"command_id\":\"c-1\",\"type\":\"ReceiveStock\",\"key\":\"TS-RED-M\",\"status\":"
            "\"ACCEPTED\",\"code\":null,"
            "\"retryable\":false,\"detail\":null,\"errors\":[],\"version\":911,\"position\":"
            "\"stock.commands/2@990\","
            "\"time\":\"2026-01-15T10:00:00.004Z\",\"result\":{\"seq\":911},\"duplicate\":false}");
    outcome = some_outcome();
    record.has_version = false;
    record.result = TALLY_NONE;
    record.duplicate = true;
    for (int format = TALLY_FORMAT_JSON; format <= TALLY_FORMAT_MSGPACK; format++) {
        tally_buf_clear(&buf);
        tally_outcome_write(&record, (enum tally_format)format, &buf);
        ck_assert_int_eq(tally_document_parse(tally_buf_bytes(&buf), &arena, &root, &refusal, &err),
                TALLY_OK);
        ck_assert_uint_eq(root->count, 13);
        ck_assert(tally_slice_equal(tally_token_member(root, "code")->string,
                TALLY_SLICE("VALIDATION_FAILED")));
        ck_assert_int_eq(tally_token_member(root, "errors")->type, TALLY_ARRAY);
        ck_assert_int_eq(tally_token_member(root, "version")->type, TALLY_NULL);
        ck_assert_int_eq(tally_token_member(root, "result")->type, TALLY_NULL);
        ck_assert_int_eq(tally_token_member(root, "duplicate")->integer, 1);
    }
}
END_TEST

START_TEST(codes_are_found_by_name)
{
    for (unsigned i = TALLY_REJECT_NONE + 1; i < TALLY_REJECTS; i++) {
        enum tally_reject reject = (enum tally_reject)i;

        ck_assert_int_eq(tally_reject_find(tally_slice_string(tally_reject_name(reject))), reject);
        ck_assert_int_ge(tally_reject_http(reject), 404);
        ck_assert_int_le(tally_reject_http(reject), 422);
        ck_assert_uint_gt(strlen(tally_reject_title(reject)), 0);
    }
    ck_assert_int_eq(tally_reject_find(TALLY_SLICE("NONE")), TALLY_REJECT_NONE);
    ck_assert_int_eq(tally_reject_find(TALLY_SLICE("UNKNOWN_SK")), TALLY_REJECT_NONE);
    ck_assert_int_eq(tally_reject_find(TALLY_NONE), TALLY_REJECT_NONE);
    ck_assert(tally_reject_retryable(TALLY_REJECT_UNKNOWN_SKU));
    ck_assert(!tally_reject_retryable(TALLY_REJECT_NONE));
    ck_assert_str_eq(tally_refusal_name(TALLY_REFUSAL_WRONG_PARTITION), "WRONG_PARTITION");
    ck_assert_str_eq(tally_status_name(TALLY_PENDING), "PENDING");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("envelope");
    TCase *tests = tcase_create("envelope");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, both_forms_and_formats_are_one_command);
    tcase_add_test(tests, the_envelope_is_read);
    tcase_add_test(tests, a_record_without_type_or_id_is_dead);
    tcase_add_test(tests, ids_have_their_lengths);
    tcase_add_test(tests, an_unknown_type_is_a_command);
    tcase_add_test(tests, broken_rules_are_violations);
    tcase_add_test(tests, tildes_are_tallys_own);
    tcase_add_test(tests, keys_come_from_fields);
    tcase_add_test(tests, messages_of_tally_come_back);
    tcase_add_test(tests, an_event_is_the_published_one);
    tcase_add_test(tests, a_fact_comes_back);
    tcase_add_test(tests, an_acceptance_comes_back);
    tcase_add_test(tests, a_rejection_comes_back);
    tcase_add_test(tests, the_end_of_a_saga_comes_back);
    tcase_add_test(tests, foreign_records_are_told_from_ours);
    tcase_add_test(tests, ours_must_be_understood);
    tcase_add_test(tests, errors_are_arrays);
    tcase_add_test(tests, outcome_rows_come_back);
    tcase_add_test(tests, damaged_outcome_rows_are_told);
    tcase_add_test(tests, an_outcome_record_is_the_published_one);
    tcase_add_test(tests, codes_are_found_by_name);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
