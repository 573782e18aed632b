/* tests/unit/test_catalogue_records.c - records and rows of the catalogue, and the price at a
 * moment. */
#include "schemas/catalogue_records.h"
#include "schemas/row_json.h"

#include <check.h>
#include <stdlib.h>

#include "schemas/stock_records.h"

static struct tally_arena arena;
static struct tally_error err;

static void setup(void)
{
    tally_arena_init(&arena, 4096);
}

static void teardown(void)
{
    tally_arena_deinit(&arena);
}

START_TEST(a_warehouse_is_registered)
{
    struct tally_command command;
    enum tally_refusal refusal;
    struct tally_slice key;
    const struct catalogue_command *fields;

    ck_assert_int_eq(
            tally_command_decode(TALLY_SLICE("{\"type\":\"RegisterWarehouse\",\"command_id\":\"c\","
                                             "\"warehouse\":\"AMS1\",\"name\":\"Amsterdam\"}"),
                    catalogue_command_schemas, &arena, &command, &refusal, &err),
            TALLY_OK);
    fields = (const struct catalogue_command *)command.fields;
    ck_assert_ptr_null(command.violations);
    ck_assert_uint_eq(command.schema->id, CATALOGUE_REGISTER_WAREHOUSE);
    ck_assert(tally_slice_equal(fields->warehouse, TALLY_SLICE("AMS1")));
    ck_assert(tally_slice_equal(fields->name, TALLY_SLICE("Amsterdam")));
    ck_assert(tally_command_key(&command, &arena, &key));
    ck_assert(tally_slice_equal(key, TALLY_SLICE("warehouse:AMS1")));
}
END_TEST

START_TEST(a_name_has_at_most_200_bytes)
{
    struct tally_command command;
    enum tally_refusal refusal;
    struct tally_buf json;

    tally_buf_init(&json, 4096);
    for (int len = 199; len <= 201; len++) {
        tally_buf_clear(&json);
        tally_buf_format(&json,
                "{\"type\":\"RegisterWarehouse\",\"id\":\"c\",\"warehouse\":\"A\",\"name\":\"%0*"
                "d\"}",
                len, 1);
        ck_assert_int_eq(tally_command_decode(tally_buf_bytes(&json), catalogue_command_schemas,
                                 &arena, &command, &refusal, &err),
                TALLY_OK);
        ck_assert((command.violations != NULL) == (len > 200));
    }
    tally_buf_deinit(&json);
}
END_TEST

START_TEST(a_registered_warehouse_comes_back)
{
    struct catalogue_event body = {.presence.present = TALLY_BIT(CATALOGUE_EVENT_WAREHOUSE) |
                                                       TALLY_BIT(CATALOGUE_EVENT_NAME) |
                                                       TALLY_BIT(CATALOGUE_EVENT_STATE),
            .warehouse = TALLY_SLICE("AMS1"),
            .name = TALLY_SLICE("Amsterdam"),
            .state = STOCK_WAREHOUSE_OPEN};
    struct tally_event decoded,
            event = {.type = TALLY_SLICE("WarehouseRegistered"),
                    .topology = TALLY_SLICE("catalogue"),
                    .command_id = TALLY_SLICE("c"),
                    .outcome.command = TALLY_SLICE("RegisterWarehouse"),
                    .schema = catalogue_event_schemas[CATALOGUE_WAREHOUSE_REGISTERED],
                    .body = &body};
    const struct catalogue_event *back;
    struct tally_buf bytes;

    tally_buf_init(&bytes, 4096);
    tally_event_encode(&event, TALLY_FORMAT_MSGPACK, &bytes);
    ck_assert_int_eq(tally_event_decode(tally_buf_bytes(&bytes), TALLY_SLICE("warehouse:AMS1"),
                             "catalogue", 0, catalogue_event_schemas, &arena, &decoded, &err),
            TALLY_OK);
    back = decoded.body;
    ck_assert_uint_eq(back->presence.present, body.presence.present);
    ck_assert(tally_slice_equal(back->warehouse, body.warehouse));
    ck_assert(tally_slice_equal(back->name, body.name));
    ck_assert_uint_eq(back->state, STOCK_WAREHOUSE_OPEN);
    tally_buf_deinit(&bytes);
}
END_TEST

/* --- commands ----------------------------------------------------------------------------------
 */

static const struct tally_command *decode(struct tally_slice json)
{
    static struct tally_command command;
    enum tally_refusal refusal;

    ck_assert_int_eq(tally_command_decode(json, catalogue_command_schemas, &arena, &command,
                             &refusal, &err),
            TALLY_OK);
    return &command;
}

START_TEST(a_sku_stands_for_one_variant_however_many_there_are)
{
    struct tally_buf json;

    tally_buf_init(&json, TALLY_DOCUMENT_BYTES_MAX);
    for (int twice = 0; twice < 2; twice++) {
        const struct tally_command *command;

        tally_buf_clear(&json);
        tally_buf_string(&json,
                "{\"type\":\"CreateProduct\",\"id\":\"c\",\"product_id\":\"P\",\"slug\":\"s\","
                "\"name\":\"n\",\"variants\":[{\"sku\":\"S0\"}");
        for (int i = 1; i < 8192 - twice; i++) {
            tally_buf_format(&json, ",{\"sku\":\"S%d\"}", i);
        }
        tally_buf_string(&json, twice ? ",{\"sku\":\"S4096\"}]}" : "]}");
        command = decode(tally_buf_bytes(&json));
        ck_assert_int_eq(command->violations != NULL, twice);
        if (twice) {
            ck_assert_uint_eq(command->violations->count, 1);
            ck_assert_str_eq(command->violations->items[0].pointer, "/variants/8191/sku");
        }
    }
    tally_buf_deinit(&json);
}
END_TEST

START_TEST(currencies_are_codes_in_order)
{
    size_t count = 0;

    for (; catalogue_currencies[count]; count++) {
        ck_assert_uint_eq(strlen(catalogue_currencies[count]), 3);
        ck_assert(count == 0 ||
                  strcmp(catalogue_currencies[count - 1], catalogue_currencies[count]) < 0);
    }
    ck_assert_uint_lt(count, UINT8_MAX); /* an index is one byte */
}
END_TEST

/* --- documents ---------------------------------------------------------------------------------
 */

#define PRODUCT_JSON                                                                            \
    "{\"product_id\":\"P-1\",\"slug\":\"chair\",\"name\":\"Ch\xc3\xa9r\",\"description\":\"\"," \
    "\"status\":\"ACTIVE\",\"category_ids\":[\"c.1\"],\"attributes\":{\"z\":[1,-5,null,true,"   \
    "{\"a\":\"\"}],\"b\":9223372036854775807},\"media\":[\"\",\"m\"],\"variants\":["            \
    "{\"sku\":\"A\",\"options\":{},\"uom\":\"pcs\",\"scale\":0,\"status\":\"ACTIVE\","          \
    "\"prices\":[]},{\"sku\":\"B\",\"barcode\":\"1\",\"options\":{\"o\":\"x\"},\"uom\":\"kg\"," \
    "\"scale\":5,\"status\":\"ACTIVE\",\"prices\":[{\"price_id\":\"c-1\",\"kind\":\"BASE\","    \
    "\"list\":\"default\",\"currency\":\"EUR\",\"amount_minor\":0},{\"price_id\":\"c-2\","      \
    "\"kind\":\"SALE\",\"list\":\"default\",\"currency\":\"EUR\",\"amount_minor\":7,"           \
    "\"compare_at_minor\":9,\"valid_from\":\"2026-02-01T00:00:00.000Z\","                       \
    "\"valid_until\":\"2026-03-01T00:00:00.000Z\"}]}],\"version\":3,"                           \
    "\"created_at\":\"2026-01-15T09:00:00.230Z\",\"updated_at\":\"2026-01-15T10:00:00.000Z\"}"
#define OPERATION_JSON                                                                         \
    "{\"kind\":\"CREATE\",\"op_id\":\"c-1\",\"command\":\"CreateProduct\",\"fingerprint\":"    \
    "\"8894f60a34c72fc8\",\"reply\":{\"topic\":\"tally.replies\",\"format\":\"JSON\"},"        \
    "\"request\":{\"slug\":\"red\",\"name\":\"n\",\"attributes\":{\"a\":1},\"variants\":["     \
    "{\"sku\":\"A\",\"options\":{\"size\":\"M\"}}],\"patch\":{\"name\":\"n\",\"description\":" \
    "null,"                                                                                    \
    "\"attributes\":null}},\"waiting\":[\"sku:A\"],\"granted\":[\"slug:red\"]}"

/* An event of this type whose payload is json, as decoded. */
static struct tally_event *event_of(const char *type, const char *json)
{
    static struct tally_event event;
    struct tally_buf text;

    tally_buf_init(&text, 1u << 20);
    tally_buf_format(&text,
            "{\"id\":\"catalogue/0@7\",\"type\":\"%s\",\"version\":\"1.0\",\"source\":\"t\","
            "\"time\":\"2026-01-15T10:00:00.000Z\",\"causation_id\":\"c\",\"payload\":{%s,"
            "\"outcome\":{\"command\":\"C\",\"fingerprint\":\"8894f60a34c72fc8\","
            "\"status\":\"ACCEPTED\"}}}",
            type, json);
    ck_assert_msg(tally_event_decode(tally_arena_copy(&arena, tally_buf_bytes(&text)),
                          TALLY_SLICE("P-1"), "catalogue", 0, catalogue_event_schemas, &arena,
                          &event, &err) == TALLY_OK,
            "%s", err.message);
    tally_buf_deinit(&text);
    return &event;
}

/* In either format and back, the payload is the same. */
static void comes_back(const char *type, const char *json)
{
    struct tally_event *event = event_of(type, json);
    struct tally_buf first, second;

    tally_buf_init(&first, 1u << 20);
    tally_buf_init(&second, 1u << 20);
    for (int format = TALLY_FORMAT_JSON; format <= TALLY_FORMAT_MSGPACK; format++) {
        struct tally_event back;

        tally_buf_clear(&first);
        tally_event_encode(event, (enum tally_format)format, &first);
        ck_assert_int_eq(tally_event_decode(tally_buf_bytes(&first), TALLY_SLICE("P-1"),
                                 "catalogue", 0, catalogue_event_schemas, &arena, &back, &err),
                TALLY_OK);
        tally_buf_clear(&second);
        tally_event_encode(&back, TALLY_FORMAT_JSON, &second);
        tally_buf_byte(&second, 0);
        ck_assert_msg(strstr((char *)second.data, json) != NULL, "%s", (char *)second.data);
    }
    tally_buf_deinit(&first);
    tally_buf_deinit(&second);
}

START_TEST(a_product_and_an_operation_come_back_from_an_event)
{
    comes_back("ProductCreated", "\"product_id\":\"P-1\",\"version\":3,\"changed\":[\"product\"],"
                                 "\"product\":" PRODUCT_JSON);
    comes_back("ProductOperationStarted", "\"product_id\":\"P-1\",\"op\":" OPERATION_JSON
                                          ",\"timer\":{\"set\":\"2026-01-15T10:00:30.000Z\"}");
}
END_TEST

static struct tally_slice row_of(struct tally_buf *row)
{
    return tally_arena_copy(&arena, tally_buf_bytes(row));
}

/* The row as JSON; a row that is cut short anywhere, or has a byte too many, is damaged. */
static void row_is(const char *store, struct tally_slice row, const char *json)
{
    uint8_t *longer = tally_arena_alloc(&arena, row.len + 1);
    struct tally_buf out;

    tally_buf_init(&out, 1u << 20);
    ck_assert(tally_row_json("catalogue", store, row, &out));
    ck_assert_msg(tally_slice_equal(tally_buf_bytes(&out), tally_slice_string(json)), "%.*s",
            (int)out.len, (char *)out.data);
    for (size_t len = 0; len < row.len; len++) {
        tally_buf_clear(&out);
        ck_assert_msg(!tally_row_json("catalogue", store, tally_slice_of(row.data, len), &out),
                "%zu", len);
    }
    memcpy(longer, row.data, row.len);
    longer[row.len] = 0;
    ck_assert(!tally_row_json("catalogue", store, tally_slice_of(longer, row.len + 1), &out));
    ck_assert(!tally_row_json("catalogue", "another", row, &out));
    tally_buf_deinit(&out);
}

START_TEST(rows_of_documents_are_the_documents)
{
    const struct catalogue_event *event;
    struct catalogue_operation operation;
    struct catalogue_product product;
    struct tally_slice bytes;
    struct tally_buf row;
    int64_t due_ms;

    tally_buf_init(&row, 1u << 20);
    event = event_of("ProductCreated", "\"product_id\":\"P-1\",\"version\":3,\"changed\":[],"
                                       "\"product\":" PRODUCT_JSON)
                    ->body;
    catalogue_product_pack(&event->product, &row);
    bytes = row_of(&row);
    row_is("product", bytes, PRODUCT_JSON);
    ck_assert(catalogue_product_unpack(bytes, &arena, &product));
    tally_buf_clear(&row);
    catalogue_product_json(&product, &row);
    ck_assert(tally_slice_equal(tally_buf_bytes(&row), TALLY_SLICE(PRODUCT_JSON)));

    event = event_of("ProductOperationStarted",
            "\"product_id\":\"P-1\",\"op\":" OPERATION_JSON ",\"timer\":{}")
                    ->body;
    tally_buf_clear(&row);
    catalogue_operation_pack(&event->op, 1768471230000, &row);
    bytes = row_of(&row);
    row_is("operation", bytes,
            "{\"due_at\":\"2026-01-15T10:00:30.000Z\",\"op\":" OPERATION_JSON "}");
    ck_assert(catalogue_operation_unpack(bytes, &arena, &operation, &due_ms));
    ck_assert_int_eq(due_ms, 1768471230000);
    tally_buf_deinit(&row);
}
END_TEST

/* What a glance tells of a document, and of everything shorter or with another byte than it. */
static void glance_is(struct tally_slice document, struct tally_slice slug, int64_t version)
{
    struct tally_slice seen = TALLY_NONE;
    uint8_t *copy = tally_arena_alloc(&arena, document.len);
    int64_t number = 0;

    ck_assert_msg(catalogue_product_glance(document, &seen, &number), "%.*s", (int)document.len,
            (const char *)document.data);
    ck_assert(tally_slice_equal(seen, slug));
    ck_assert_int_eq(number, version);
    for (size_t len = 0; len < document.len; len++) {
        uint8_t *shorter = malloc(len + 1);

        memcpy(shorter, document.data, len);
        ck_assert(!catalogue_product_glance(tally_slice_of(shorter, len), &seen, &number));
        free(shorter);
    }
    memcpy(copy, document.data, document.len);
    for (size_t i = 0; i < document.len; i++) {
        copy[i] ^= 0xff; /* no member's name or head becomes another one's */
        if (catalogue_product_glance(tally_slice_of(copy, document.len), &seen, &number)) {
            ck_assert(number >= 0 && seen.data >= copy &&
                      seen.data + seen.len <= copy + document.len);
        }
        copy[i] ^= 0xff;
    }
}

START_TEST(a_glance_at_a_product_tells_its_slug_and_version)
{
    static const int64_t versions[] = {1, 9, 127, 128, 255, 256, 65535, 65536, UINT32_MAX,
            (int64_t)UINT32_MAX + 1, 999999999999999999};
    const struct catalogue_event *event;
    struct catalogue_product product;
    struct tally_buf document;

    tally_buf_init(&document, 1u << 20);
    event = event_of("ProductCreated", "\"product_id\":\"P-1\",\"version\":3,\"changed\":[],"
                                       "\"product\":" PRODUCT_JSON)
                    ->body;
    product = event->product;
    product.description = TALLY_SLICE("\"version\":7,\xa7version\x07,\"slug\":\"other\"");
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        for (size_t len = 1; len <= 100; len += 33) { /* on both sides of a longer head */
            product.slug = tally_slice_of("a234567890123456789012345678901234567890"
                                          "123456789012345678901234567890123456789012345678901234"
                                          "567890",
                    len);
            product.version = versions[i];
            tally_buf_clear(&document);
            catalogue_product_pack(&product, &document);
            glance_is(tally_buf_bytes(&document), product.slug, versions[i]);
            tally_buf_clear(&document);
            catalogue_product_json(&product, &document);
            glance_is(tally_buf_bytes(&document), product.slug, versions[i]);
        }
    }
    tally_buf_deinit(&document);
}
END_TEST

/* Whoever asks parses what has another form, and finds the same. */
START_TEST(a_glance_at_another_form_tells_nothing)
{
    static const char *const others[] = {"", "{}", "{\"slug\":\"s\",\"version\":3}",
            "{\"product_id\":\"P-1\",\"slug\":\"s\\u0031\",\"version\":3,\"created_at\":"
            "\"2026-01-15T10:00:00.000Z\",\"updated_at\":\"2026-01-15T10:00:00.000Z\"}",
            "{\"product_id\":\"P-1\",\"slug\":\"s\",\"version\":-3,\"created_at\":"
            "\"2026-01-15T10:00:00.000Z\",\"updated_at\":\"2026-01-15T10:00:00.000Z\"}",
            "{\"product_id\":\"P-1\",\"slug\":\"s\",\"version\":1234567890123456789,"
            "\"created_at\":\"2026-01-15T10:00:00.000Z\",\"updated_at\":"
            "\"2026-01-15T10:00:00.000Z\"}",
            "{\"product_id\":\"P-1\",\"slug\":\"s\",\"version\":3, \"created_at\":"
            "\"2026-01-15T10:00:00.000Z\",\"updated_at\":\"2026-01-15T10:00:00.000Z\"}"};
    struct tally_slice slug;
    int64_t version;

    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        ck_assert_msg(!catalogue_product_glance(tally_slice_string(others[i]), &slug, &version),
                "%s", others[i]);
    }
}
END_TEST

START_TEST(small_rows_come_back)
{
    struct catalogue_slug_row slug = {TALLY_SLICE("P-1"), TALLY_SLICE("c-1")}, slug_back;
    struct catalogue_timer_row timer = {TALLY_SLICE("c-1")}, timer_back;
    struct tally_buf row;

    tally_buf_init(&row, 4096);
    catalogue_slug_pack(&slug, &row);
    ck_assert(catalogue_slug_unpack(tally_buf_bytes(&row), &slug_back));
    ck_assert(tally_slice_equal(slug_back.product_id, slug.product_id));
    ck_assert(tally_slice_equal(slug_back.op_id, slug.op_id));
    row_is("slug", row_of(&row), "{\"product_id\":\"P-1\",\"op_id\":\"c-1\"}");
    tally_buf_clear(&row);
    catalogue_timer_pack(&timer, &row);
    ck_assert(catalogue_timer_unpack(tally_buf_bytes(&row), &timer_back));
    ck_assert(tally_slice_equal(timer_back.op_id, timer.op_id));
    row_is("timer", row_of(&row), "{\"op_id\":\"c-1\"}");
    tally_buf_deinit(&row);
}
END_TEST

/* --- prices ------------------------------------------------------------------------------------
 */

static struct catalogue_price price(const char *id, const char *list, int64_t from, int64_t until)
{
    struct catalogue_price made = {.price_id = tally_slice_string(id),
            .list = tally_slice_string(list),
            .currency = TALLY_SLICE("EUR"),
            .kind = from || until ? CATALOGUE_SALE : CATALOGUE_BASE,
            .valid_from = from,
            .valid_until = until};

    made.presence.present |= from ? TALLY_BIT(CATALOGUE_PRICE_VALID_FROM) : 0;
    made.presence.present |= until ? TALLY_BIT(CATALOGUE_PRICE_VALID_UNTIL) : 0;
    return made;
}

START_TEST(the_price_at_a_moment_is_the_sale_s_or_else_the_base)
{
    struct catalogue_price prices[] = {price("open-end", "default", 900, 0),
            price("base", "default", 0, 0), price("middle", "default", 200, 300),
            price("next", "default", 300, 400), price("open-begin", "default", 0, 100),
            price("trade", "trade", 250, 260)};
    const struct catalogue_variant variant = {.prices = {prices, sizeof prices / sizeof prices[0]}};
    static const struct {
        int64_t time;
        const char *list, *currency, *expected; /* NULL: none */
    } cases[] = {{INT64_MIN, "default", "EUR", "open-begin"}, {99, "default", "EUR", "open-begin"},
            {100, "default", "EUR", "base"}, {199, "default", "EUR", "base"},
            {200, "default", "EUR", "middle"}, {299, "default", "EUR", "middle"},
            {300, "default", "EUR", "next"}, {399, "default", "EUR", "next"},
            {400, "default", "EUR", "base"}, {899, "default", "EUR", "base"},
            {900, "default", "EUR", "open-end"}, {INT64_MAX, "default", "EUR", "open-end"},
            {250, "default", "USD", NULL}, {250, "other", "EUR", NULL},
            {250, "trade", "EUR", "trade"}, {249, "trade", "EUR", NULL},
            {260, "trade", "EUR", NULL}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct catalogue_price *found =
                catalogue_price_at(&variant, tally_slice_string(cases[i].list),
                        tally_slice_string(cases[i].currency), cases[i].time);

        ck_assert_msg(found ? cases[i].expected && tally_slice_equal(found->price_id,
                                                           tally_slice_string(cases[i].expected))
                            : !cases[i].expected,
                "case %zu", i);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("catalogue_records");
    TCase *tests = tcase_create("catalogue_records");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_warehouse_is_registered);
    tcase_add_test(tests, a_name_has_at_most_200_bytes);
    tcase_add_test(tests, a_registered_warehouse_comes_back);
    tcase_add_test(tests, a_sku_stands_for_one_variant_however_many_there_are);
    tcase_add_test(tests, currencies_are_codes_in_order);
    tcase_add_test(tests, a_product_and_an_operation_come_back_from_an_event);
    tcase_add_test(tests, rows_of_documents_are_the_documents);
    tcase_add_test(tests, a_glance_at_a_product_tells_its_slug_and_version);
    tcase_add_test(tests, a_glance_at_another_form_tells_nothing);
    tcase_add_test(tests, small_rows_come_back);
    tcase_add_test(tests, the_price_at_a_moment_is_the_sale_s_or_else_the_base);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
