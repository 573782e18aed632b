/* tests/unit/test_command_shape.c - commands that look like an earlier one. Invariants:
 * command_shape.c (1)-(3): whatever came before, a command is what tally_command_decode makes of
 * it; and ordinary ones are read by a shape, or nothing of this would be tested. */
#include <check.h>
#include <stdlib.h>

#include "schemas/catalogue_records.h"
#include "schemas/serde_internal.h"
#include "schemas/stock_records.h"

#define ID "00000000-0000-7000-8000-000000000001"

static struct tally_arena arena;
static struct tally_command_shapes *shapes;

static void setup(void)
{
    tally_arena_init(&arena, 4096);
    shapes = tally_command_shapes_create();
}

static void teardown(void)
{
    tally_command_shapes_destroy(shapes);
    tally_arena_deinit(&arena);
}

static void check_text(struct tally_slice a, struct tally_slice b)
{
    ck_assert_uint_eq(a.len, b.len);
    ck_assert(a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static void check_tokens(const struct tally_token *a, const struct tally_token *b)
{
    ck_assert_uint_eq(a->skip, b->skip);
    for (uint32_t i = 0; i < a->skip; i++) {
        ck_assert_uint_eq(a[i].type, b[i].type);
        ck_assert_uint_eq(a[i].count, b[i].count);
        ck_assert_uint_eq(a[i].skip, b[i].skip);
        if (a[i].type == TALLY_STRING) {
            check_text(a[i].string, b[i].string);
        } else if (a[i].type == TALLY_INT || a[i].type == TALLY_BOOL) {
            ck_assert_int_eq(a[i].integer, b[i].integer);
        }
    }
}

static void check_fields(const struct tally_schema *schema, const void *a, const void *b)
{
    struct tally_buf texts[2];

    for (size_t i = 0; i < 2; i++) {
        tally_buf_init(&texts[i], 1u << 16);
        tally_encode(schema, i == 0 ? a : b, TALLY_FORMAT_MSGPACK, &texts[i]);
    }
    check_text(tally_buf_bytes(&texts[0]), tally_buf_bytes(&texts[1]));
    tally_buf_deinit(&texts[0]);
    tally_buf_deinit(&texts[1]);
}

static void check_same(const struct tally_command *a, const struct tally_command *b)
{
    check_text(a->id, b->id);
    check_text(a->type, b->type);
    check_text(a->source, b->source);
    check_text(a->actor, b->actor);
    ck_assert_int_eq(a->flat, b->flat);
    ck_assert_int_eq(a->format, b->format);
    ck_assert_uint_eq(a->fingerprint, b->fingerprint);
    ck_assert_ptr_eq(a->schema, b->schema);
    ck_assert_int_eq(a->offset, b->offset);
    ck_assert_int_eq(a->violations == NULL, b->violations == NULL);
    check_tokens(a->payload, b->payload);
    if (a->schema && !a->violations) {
        check_fields(a->schema, a->fields, b->fields);
    }
}

/* Decodes both ways, with the shapes that there are by now. */
static void decode(struct tally_slice bytes)
{
    struct tally_command by, alone;
    enum tally_refusal by_refusal, alone_refusal;
    struct tally_error by_err = {.code = TALLY_OK}, alone_err = {.code = TALLY_OK};
    enum tally_code code = tally_command_decode(bytes, stock_command_schemas, &arena, &alone,
            &alone_refusal, &alone_err);

    ck_assert_int_eq(tally_command_decode_by(shapes, bytes, stock_command_schemas, &arena, &by,
                             &by_refusal, &by_err),
            code);
    ck_assert_int_eq(by_refusal, alone_refusal);
    ck_assert_str_eq(by_err.message, alone_err.message);
    if (code == TALLY_OK) {
        check_same(&by, &alone);
    }
}

static void decode_text(const char *text)
{
    /* Of its own, so that a byte too far is seen. */
    size_t len = strlen(text);
    uint8_t *bytes = malloc(len);

    ck_assert_ptr_nonnull(bytes);
    memcpy(bytes, text, len);
    decode(tally_slice_of(bytes, len));
    tally_arena_reset(&arena, 4096);
    free(bytes);
}

static const char *const first[] = {
        "{\"type\":\"ReceiveStock\",\"command_id\":\"" ID "\",\"sku\":\"SKU-00000001\","
        "\"warehouse\":\"W1\",\"quantity\":9}",
        "{\"quantity\": 12, \"sku\": \"a\", \"id\": \"c-1\", \"type\": \"ReceiveStock\", "
        "\"warehouse\": \"W1\"}\n",
        "{\"type\":\"ReceiveStock\",\"command_id\":\"c\",\"sku\":\"a\",\"warehouse\":\"W1\","
        "\"quantity\":9,\"note\":\"\",\"expected_version\":3,\"deadline\":"
        "\"2026-01-15T10:00:00.000Z\"}",
        "{\"type\":\"ShipStock\",\"command_id\":\"c\",\"sku\":\"a\",\"warehouse\":\"W1\","
        "\"quantity\":1}",
        "{\"type\":\"Unknown\",\"command_id\":\"c\",\"sku\":\"a\"}",
        "{\"type\":\"ReceiveStock\",\"id\":\"c\",\"command_id\":\"c\",\"sku\":\"a\","
        "\"warehouse\":\"W1\",\"quantity\":9}",
        "{\"type\":\"ReceiveStock\",\"command_id\":\"c\",\"sku\":\"a\",\"warehouse\":\"W1\","
        "\"quantity\":9,\"source\":\"shop\"}",
        "{\"type\":\"ReceiveStock\",\"id\":\"c\",\"payload\":{\"sku\":\"a\",\"warehouse\":\"W1\","
        "\"quantity\":9}}",
};
enum { FIRST = sizeof first / sizeof first[0] };

#define LIKE(id, sku, quantity)                                                     \
    "{\"type\":\"ReceiveStock\",\"command_id\":\"" id "\",\"sku\":\"" sku "\",\"wa" \
    "rehouse\":\"W1\",\"quantity\":" quantity "}"
static const char *const odd[] = {
        LIKE("", "a", "1"),
        LIKE("~x", "a", "1"),
        LIKE("c d", "a", "1"),
        LIKE("c", "", "1"),
        LIKE("c", "a b", "1"),
        LIKE("c", "\\u0061", "1"),
        LIKE("c", "\xc3\xa4", "1"),
        LIKE("c", "a\x01", "1"),
        LIKE("c", "a\x7f", "1"),
        LIKE("c", "a\",\"note\":\"b", "1"),
        LIKE("c", "a", ""),
        LIKE("c", "a", "-1"),
        LIKE("c", "a", "-0"),
        LIKE("c", "a", "01"),
        LIKE("c", "a", "1.0"),
        LIKE("c", "a", "1e3"),
        LIKE("c", "a", "\"1\""),
        LIKE("c", "a", "null"),
        LIKE("c", "a", "0"),
        LIKE("c", "a", "999999999999999999"),
        LIKE("c", "a", "9999999999999999999"),
        LIKE("c", "a", "1,\"quantity\":1"),
        LIKE("c", "a", "1 "),
        LIKE("c", "a", "1}"),
        LIKE("c", "a", "1,"),
        LIKE("ccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc", "a", "1"),
        "{\"type\":\"ReceiveStock\",\"command_id\":\"c\",\"sku\":9,\"warehouse\":\"W1\","
        "\"quantity\":9}",
        "{\"type\":\"ReceiveStock\",\"command_id\":\"c\",\"sku\":\"a\",\"warehouse\":\"w1\","
        "\"quantity\":9}",
};
enum { ODD = sizeof odd / sizeof odd[0] };

/* The first of each kind makes a shape, or none; then each of the others meets all of them. */
START_TEST(reads_what_decode_reads)
{
    for (unsigned round = 0; round < 40; round++) {
        decode_text(first[(round + (unsigned)_i) % FIRST]);
        for (unsigned i = 0; i < FIRST; i++) {
            decode_text(first[i]);
        }
        for (unsigned i = 0; i < ODD; i++) {
            decode_text(odd[i]);
        }
    }
}
END_TEST

/* Every byte of a command in turn is another, or the last. */
START_TEST(reads_what_is_damaged_as_decode_does)
{
    static const uint8_t others[] = {0, 1, ' ', '"', '\\', ',', ':', '{', '}', '0', 'a', 0x80};
    size_t len = strlen(first[_i]);
    uint8_t *bytes = malloc(len);

    ck_assert_ptr_nonnull(bytes);
    decode_text(first[_i]);
    for (size_t at = 0; at < len; at++) {
        memcpy(bytes, first[_i], len);
        for (size_t i = 0; i < sizeof others; i++) {
            bytes[at] = others[i];
            decode(tally_slice_of(bytes, len));
        }
        decode_text(first[_i]); /* so that what was learned meanwhile does not push it out */
        memcpy(bytes, first[_i], len);
        decode(tally_slice_of(bytes, at));
        tally_arena_reset(&arena, 4096);
    }
    free(bytes);
}
END_TEST

/* No more of the arena than the tokens and the fields: the parser takes more. */
START_TEST(ordinary_commands_are_read_by_a_shape)
{
    struct tally_command command;
    enum tally_refusal refusal;
    struct tally_slice bytes = tally_slice_string("{\"type\":\"ReceiveStock\",\"command_id\":"
                                                  "\"other\",\"sku\":\"B-2\","
                                                  "\"warehouse\":\"W20\",\"quantity\":-70}");
    const struct tally_token *type;

    decode_text(first[0]);
    ck_assert_int_eq(tally_command_decode_by(shapes, bytes, stock_command_schemas, &arena, &command,
                             &refusal, NULL),
            TALLY_OK);
    ck_assert_ptr_nonnull(command.violations); /* -70: left to tally_command_decode */
    bytes = tally_slice_string("{\"type\":\"ReceiveStock\",\"command_id\":\"other\",\"sku\":\"B-"
                               "2\","
                               "\"warehouse\":\"W20\",\"quantity\":70}");
    ck_assert_int_eq(tally_command_decode_by(shapes, bytes, catalogue_command_schemas, &arena,
                             &command, &refusal, NULL),
            TALLY_OK);
    ck_assert_ptr_null(command.schema); /* a shape is of one family */
    ck_assert_uint_eq(tally_command_shapes_hits(shapes), 0);
    ck_assert_int_eq(tally_command_decode_by(shapes, bytes, stock_command_schemas, &arena, &command,
                             &refusal, NULL),
            TALLY_OK);
    ck_assert_uint_eq(tally_command_shapes_hits(shapes), 1);
    type = tally_token_member(command.payload, "type");
    ck_assert(type && tally_slice_equal(type->string, TALLY_SLICE("ReceiveStock")));
    ck_assert_int_eq(((const struct stock_command *)command.fields)->quantity, 70);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("command_shape");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, reads_what_decode_reads, 0, FIRST);
    tcase_add_loop_test(tcase, reads_what_is_damaged_as_decode_does, 0, FIRST);
    tcase_add_test(tcase, ordinary_commands_are_read_by_a_shape);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
