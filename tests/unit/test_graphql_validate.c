/* test_graphql_validate.c - what is refused before anything is executed, and with which words; and
 * that nothing else is. */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/graphql/graphql.h"

static struct graphql_schema *schema;
static struct tally_arena arena;
static struct graphql_errors errors;
static struct graphql_prepared prepared;

static void begin(void)
{
    schema = graphql_schema_create(graphql_sdl);
    tally_arena_init(&arena, 1 << 16);
}

static void end(void)
{
    tally_arena_deinit(&arena);
    graphql_schema_destroy(schema);
}

static bool prepare(const char *text, const char *variables)
{
    struct graphql_request request = {.query = tally_slice_string(text)};
    enum tally_refusal refusal;

    tally_arena_reset(&arena, 1 << 20);
    graphql_errors_init(&errors, &arena);
    if (variables) {
        ck_assert_int_eq(tally_document_parse(tally_slice_string(variables), &arena,
                                 &request.variables, &refusal, NULL),
                TALLY_OK);
    }
    return graphql_prepare(schema, &request, &errors, &prepared);
}

static const char *first_message(void)
{
    static char text[600];

    snprintf(text, sizeof text, "%.*s", errors.first ? (int)errors.first->message.len : 0,
            errors.first ? (const char *)errors.first->message.data : "");
    return text;
}

/* --- refused ---------------------------------------------------------------------------------- */

struct refused {
    const char *text, *message, *variables;
};

#define PENDING "commandId position"
static const struct refused refused[] = {
        /* syntax */
        {"", "Syntax Error: Unexpected <EOF>.", NULL},
        {"{", "Syntax Error: Expected Name, found <EOF>.", NULL},
        {"{ stock(sku: \"a) { id } }", "Syntax Error: Unterminated string.", NULL},
        {"type Query { a: Int }", "Syntax Error: Unexpected Name \"type\".", NULL},
        {"extend type Query { a: Int }", "Syntax Error: Unexpected Name \"extend\".", NULL},
        {"{ a } \xff", "Syntax Error: the document is not UTF-8, or holds a NUL.", NULL},
        /* operations */
        {"{ a: __typename } { b: __typename }",
                "This anonymous operation must be the only defined operation.", NULL},
        {"query A { __typename } query A { __typename }",
                "There can be only one operation named \"A\".", NULL},
        {"query A { __typename } query B { __typename }",
                "Must provide operation name if query contains multiple operations.", NULL},
        {"fragment F on Query { __typename }", "Fragment \"F\" is never used.", NULL},
        {"subscription { stockChanged(skus: [\"A\"]) { sku } reservationChanged(id: \"R\") { id } "
         "}",
                "Anonymous Subscription must select only one top level field.", NULL},
        {"subscription S { ...F } fragment F on Subscription { a: stockChanged(skus: [\"A\"]) { "
         "sku "
         "} ... { b: stockChanged(skus: [\"A\"]) { sku } } }",
                "Subscription \"S\" must select only one top level field.", NULL},
        {"subscription { __typename }",
                "Anonymous Subscription must not select an introspection top level field.", NULL},
        {"subscription S { ...F } fragment F on Subscription { ...F }",
                "Cannot spread fragment \"F\" within itself.", NULL},
        {"subscription { stockChanged { sku } }",
                "Field \"stockChanged\" argument \"skus\" of type \"[ID!]!\" is required, but "
                "it was not provided.",
                NULL},
        {"subscription { stockChanged(skus: [\"A\"]) }",
                "Field \"stockChanged\" of type \"StockLevel!\" must have a selection of "
                "subfields. Did you mean \"stockChanged { ... }\"?",
                NULL},
        /* fields */
        {"{ nothing }", "Cannot query field \"nothing\" on type \"Query\".", NULL},
        {"{ stock(sku: \"A\") { nothing } }", "Cannot query field \"nothing\" on type \"Stock\".",
                NULL},
        {"{ stock(sku: \"A\") { id { a } } }",
                "Field \"id\" must not have a selection since type \"ID!\" has no subfields.",
                NULL},
        {"{ stock(sku: \"A\") }",
                "Field \"stock\" of type \"Stock\" must have a selection of subfields. Did you "
                "mean \"stock { ... }\"?",
                NULL},
        {"{ stock(sku: \"A\") { __schema { types { name } } } }",
                "Cannot query field \"__schema\" on type \"Stock\".", NULL},
        {"{ command(id: \"c\") { commandId } }",
                "Cannot query field \"commandId\" on type \"CommandOutcome\".", NULL},
        {"{ node(id: \"a\") { sku } }", "Cannot query field \"sku\" on type \"Node\".", NULL},
        /* arguments and values */
        {"{ stock { id } }",
                "Field \"stock\" argument \"sku\" of type \"ID!\" is required, but it was not "
                "provided.",
                NULL},
        {"{ stock(sku: \"A\", a: 1) { id } }", "Unknown argument \"a\" on field \"Query.stock\".",
                NULL},
        {"{ stock(sku: \"A\", sku: \"B\") { id } }",
                "There can be only one argument named \"sku\".", NULL},
        {"{ stock(sku: true) { id } }",
                "ID cannot represent a non-string and non-integer value: true", NULL},
        {"{ stock(sku: null) { id } }", "Expected value of type \"ID!\", found null.", NULL},
        {"{ stock(sku: 1.5) { id } }",
                "ID cannot represent a non-string and non-integer value: 1.5", NULL},
        {"{ stocks(skus: [\"A\", null]) { id } }", "Expected value of type \"ID!\", found null.",
                NULL},
        {"{ lowStock(first: \"1\") { nodes { sku } } }",
                "Int cannot represent non-integer value: \"1\"", NULL},
        {"{ lowStock(first: 2147483648) { nodes { sku } } }",
                "Int cannot represent non 32-bit signed integer value: 2147483648", NULL},
        {"{ lowStock(first: 99999999999999999999) { nodes { sku } } }",
                "Int cannot represent non 32-bit signed integer value: 99999999999999999999", NULL},
        {"{ products(first: 1, query: 5) { nodes { id } } }",
                "String cannot represent a non string value: 5", NULL},
        {"{ products(first: 1, status: SOLD) { nodes { id } } }",
                "Value \"SOLD\" does not exist in \"ProductStatus\" enum.", NULL},
        {"{ products(first: 1, status: \"ACTIVE\") { nodes { id } } }",
                "Enum \"ProductStatus\" cannot represent non-enum value: \"ACTIVE\".", NULL},
        {"{ product(id: \"P\") { variants { price(currency: \"EUR\", at: \"noon\") { currency } } "
         "} }",
                "DateTime cannot represent \"noon\": expected a time like "
                "\"2026-01-15T10:00:00.000Z\"",
                NULL},
        {"mutation { submit(type: \"T\", commandId: \"c\", fields: {a: 1.5}) { __typename } }",
                "JSON cannot represent 1.5: numbers are whole and have 64 bits", NULL},
        {"mutation { submit(type: \"T\", commandId: \"c\", fields: {a: 1, a: 2}) { __typename } }",
                "There can be only one input field named \"a\".", NULL},
        /* directives */
        {"{ __typename @skip }",
                "Directive \"@skip\" argument \"if\" of type \"Boolean!\" is required, but it was "
                "not provided.",
                NULL},
        {"{ __typename @skip(if: 1) }", "Boolean cannot represent a non boolean value: 1", NULL},
        {"{ __typename @nothing }", "Unknown directive \"@nothing\".", NULL},
        {"query @skip(if: true) { __typename }", "Directive \"@skip\" may not be used on QUERY.",
                NULL},
        {"{ __typename @skip(if: true) @skip(if: true) }",
                "The directive \"@skip\" can only be used once at this location.", NULL},
        {"{ __typename @deprecated }", "Directive \"@deprecated\" may not be used on FIELD.", NULL},
        /* fragments */
        {"{ ...F }", "Unknown fragment \"F\".", NULL},
        {"{ __typename } fragment F on Query { __typename }", "Fragment \"F\" is never used.",
                NULL},
        {"{ ...F } fragment F on Query { __typename } fragment F on Query { __typename }",
                "There can be only one fragment named \"F\".", NULL},
        {"{ ...F } fragment F on Nothing { a }", "Unknown type \"Nothing\".", NULL},
        {"{ ...F } fragment F on ID { a }",
                "Fragment \"F\" cannot condition on non composite type \"ID\".", NULL},
        {"{ ... on Severity { a } }",
                "Fragment cannot condition on non composite type \"Severity\".", NULL},
        {"{ ... on Stock { id } }",
                "Fragment cannot be spread here as objects of type \"Query\" can never be of type "
                "\"Stock\".",
                NULL},
        {"{ stock(sku: \"A\") { ...F } } fragment F on Product { id }",
                "Fragment \"F\" cannot be spread here as objects of type \"Stock\" can never be of "
                "type \"Product\".",
                NULL},
        {"{ ...F } fragment F on Query { ...F }", "Cannot spread fragment \"F\" within itself.",
                NULL},
        {"{ ...F } fragment F on Query { ...G } fragment G on Query { a: __typename ...F }",
                "Cannot spread fragment \"F\" within itself.", NULL},
        {"{ __typename } fragment F on Query { ... { ...G } } fragment G on Query { ...F }",
                "Fragment \"F\" is never used.", NULL},
        /* variables */
        {"{ stock(sku: $a) { id } }", "Variable \"$a\" is not defined.", NULL},
        {"query Q { ...F } fragment F on Query { stock(sku: $a) { id } }",
                "Variable \"$a\" is not defined by operation \"Q\".", NULL},
        {"query ($a: ID!) { __typename }", "Variable \"$a\" is never used.", NULL},
        {"query ($a: ID!, $a: ID!) { stock(sku: $a) { id } }",
                "There can be only one variable named \"$a\".", NULL},
        {"query ($a: Nothing) { stock(sku: $a) { id } }", "Unknown type \"Nothing\".", NULL},
        {"query ($a: Stock) { stock(sku: $a) { id } }",
                "Variable \"$a\" of type \"Stock\" used in position expecting type \"ID!\".", NULL},
        {"query ($a: ID) { stock(sku: $a) { id } }",
                "Variable \"$a\" of type \"ID\" used in position expecting type \"ID!\".", NULL},
        {"query ($a: String!) { stock(sku: $a) { id } }",
                "Variable \"$a\" of type \"String!\" used in position expecting type \"ID!\".",
                NULL},
        {"query ($a: [ID!]) { stocks(skus: [$a]) { id } }",
                "Variable \"$a\" of type \"[ID!]\" used in position expecting type \"ID!\".", NULL},
        {"query ($a: ID! = 1.5) { stock(sku: $a) { id } }",
                "ID cannot represent a non-string and non-integer value: 1.5", NULL},
        {"query ($a: ID!) { stock(sku: $a) { id } }",
                "Variable \"$a\" of required type \"ID!\" was not provided.", NULL},
        {"query ($a: ID!) { stock(sku: $a) { id } }",
                "Variable \"$a\" of non-null type \"ID!\" must not be null.", "{\"a\":null}"},
        {"query ($a: ID!) { stock(sku: $a) { id } }",
                "Variable \"$a\" got invalid value true; ID cannot represent value: true",
                "{\"a\":true}"},
        {"query ($a: ProductStatus) { products(first: 1, status: $a) { nodes { id } } }",
                "Variable \"$a\" got invalid value \"SOLD\"; Value \"SOLD\" does not exist in "
                "\"ProductStatus\" enum.",
                "{\"a\":\"SOLD\"}"},
        {"query ($a: Boolean!) { __typename @skip(if: $a) }",
                "Variable \"$a\" got invalid value \"no\"; Boolean cannot represent a non boolean "
                "value: \"no\"",
                "{\"a\":\"no\"}"},
        /* merging */
        {"{ a: stock(sku: \"A\") { id } a: stock(sku: \"B\") { id } }",
                "Fields \"a\" conflict because they have differing arguments. Use different "
                "aliases on the fields to fetch both if this was intentional.",
                NULL},
        {"{ stock(sku: \"A\") { id: sku id } }",
                "Fields \"id\" conflict because \"sku\" and \"id\" are different fields. Use "
                "different aliases on the fields to fetch both if this was intentional.",
                NULL},
        {"{ node(id: \"A\") { ... on Stock { a: sku } ... on Product { a: version } } }",
                "Fields \"a\" conflict because they return conflicting types \"ID!\" and "
                "\"Int64!\". Use different aliases on the fields to fetch both if this was "
                "intentional.",
                NULL},
        {"{ ...F ...G } fragment F on Query { stock(sku: \"A\") { a: id } } fragment G on Query { "
         "stock(sku: \"A\") { a: sku } }",
                "Fields \"a\" conflict because \"id\" and \"sku\" are different fields. Use "
                "different aliases on the fields to fetch both if this was intentional.",
                NULL},
        /* limits */
        {"{ stock(sku: \"A\") { product { variants { stock { product { variants { stock { product "
         "{ id } } } } } } } } }",
                "The operation has 9 levels of fields, at most 8 are allowed.", NULL},
        {"{ a: __typename b: __typename c: __typename d: __typename e: __typename f: __typename "
         "g: __typename h: __typename i: __typename j: __typename k: __typename }",
                "The operation has 11 root fields, at most 10 are allowed.", NULL},
        {"{ stock(sku: \"A\") { ...F ...F ...F ...F } } fragment F on Stock { a: id b: id c: id d: "
         "id }",
                "The operation has 16 aliases, at most 15 are allowed.", NULL},
        {"{ __typename @skip(if: false) ...A } fragment A on Query { ...B ...B ...B } fragment B "
         "on Query { ... @skip(if: false) { ...C } ...C ...C } fragment C on Query { x: "
         "__typename @include(if: true) }",
                "The operation has 13 directives, at most 10 are allowed.", NULL},
        {"{ lowStock(first: 201) { nodes { sku } } }",
                "lowStock: expected first to be 1 to 200, got 201", NULL},
        {"{ lowStock(first: 0) { nodes { sku } } }",
                "lowStock: expected first to be 1 to 200, got 0", NULL},
        {"query ($n: Int!) { lowStock(first: $n) { nodes { sku } } }",
                "lowStock: expected first to be 1 to 200, got -5", "{\"n\":-5}"},
        {"{ products(first: 200) { nodes { variants { stock { levels { ledger { nodes { seq } } } "
         "} } } } }",
                "The operation has 11001 points of cost, at most 1000 are allowed.", NULL},
        {"{ __schema { types { fields { type { fields { name } } } } } }",
                "The operation has 3 lists of introspection within each other, at most 2 are "
                "allowed.",
                NULL},
};

START_TEST(refuses)
{
    const struct refused *one = &refused[_i];

    ck_assert_msg(!prepare(one->text, one->variables), "accepted: %s", one->text);
    ck_assert_uint_gt(errors.count, 0);
    ck_assert_str_eq(first_message(), one->message);
    ck_assert(errors.first->code && errors.first->code[0]);
}
END_TEST

/* Few bytes that mean much: refused all the same, with little memory. */
static void check_refused(const char *text)
{
    ck_assert_msg(!prepare(text, NULL), "accepted %zu bytes", strlen(text));
    ck_assert_uint_gt(errors.count, 0);
    ck_assert_uint_lt(tally_arena_size(&arena), 64 << 20);
}

static char bomb[40000];
static size_t bomb_len;

static void put(const char *format, ...) TALLY_PRINTF(1, 2);
static void put(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    bomb_len += (size_t)vsnprintf(bomb + bomb_len, sizeof bomb - bomb_len, format, args);
    va_end(args);
    ck_assert_uint_lt(bomb_len, sizeof bomb);
}

START_TEST(refuses_fragments_that_double)
{
    bomb_len = 0;
    put("{ ...F0 }");
    for (int i = 0; i < 60; i++) {
        put(" fragment F%d on Query { a%d: __typename ...F%d ...F%d }", i, i, i + 1, i + 1);
    }
    put(" fragment F60 on Query { __typename }");
    check_refused(bomb);
    ck_assert_str_eq(first_message(), "The operation has over 1000000 aliases, at most 15 are "
                                      "allowed.");
}
END_TEST

START_TEST(refuses_pairs_that_double)
{
    bomb_len = 0;
    put("{ stock(sku: \"A\") { product { ...F0 } } }");
    for (int i = 0; i < 40; i++) {
        put(" fragment F%d on Product { variants { product { ...F%d } } variants { product { "
            "...F%d "
            "} } }",
                i, i + 1, i + 1);
    }
    put(" fragment F40 on Product { id }");
    check_refused(bomb);
    ck_assert_str_eq(first_message(), "The document selects too many fields that may be the same: "
                                      "use fewer fragments.");
}
END_TEST

START_TEST(refuses_many_equal_fields)
{
    bomb_len = 0;
    put("{ stock(sku: \"A\") {");
    for (int i = 0; i < 1900; i++) {
        put(" id");
    }
    put(" } }");
    check_refused(bomb);
}
END_TEST

START_TEST(refuses_long_documents)
{
    bomb_len = 0;
    put("{ __typename #");
    while (bomb_len < 17000) {
        put("comment");
    }
    put("\n}");
    check_refused(bomb);
    ck_assert_str_eq(first_message(), "The document has 17005 bytes, at most 16384 are allowed.");
    bomb_len = 0;
    put("query (");
    for (int i = 0; i < 600; i++) {
        put("$a%d:Int ", i);
    }
    put(") { __typename }");
    check_refused(bomb);
    ck_assert_str_eq(first_message(),
            "Syntax Error: Document contains too many tokens. Parsing aborted.");
}
END_TEST

/* --- accepted --------------------------------------------------------------------------------- */

static const struct refused accepted[] = {
        {"{ __typename }", NULL, NULL},
        {"query Q($s: ID!) { stock(sku: $s) { id ...F } } fragment F on Stock { levels { ledger "
         "(first: 3) { nodes { seq } pageInfo { hasNextPage } } } }",
                NULL, "{\"s\":\"A\"}"},
        {"query ($s: [ID!]!) { stocks(skus: $s) { id } }", NULL, "{\"s\":\"A\"}"},
        {"query ($s: ID!) { stocks(skus: [$s, \"B\", 3]) { id } }", NULL, "{\"s\":7}"},
        {"query ($n: Int! = 5) { lowStock(first: $n) { nodes { sku severity } } }", NULL, NULL},
        {"query ($c: String = \"EUR\") { product(id: 1) { variants { price(currency: $c) { "
         "amountMinor } } } }",
                NULL, NULL},
        {"query ($w: ID) { lowStock(first: 1, warehouse: $w) { nodes { sku } } }", NULL, NULL},
        {"{ node(id: \"A\") { id ... on Stock { sku } ... on Product { slug } } }", NULL, NULL},
        {"{ node(id: \"A\") { ... on Stock { a: version } ... on Product { a: version } } }", NULL,
                NULL},
        {"{ node(id: \"A\") { ... on Stock { x: sku } ... on Reservation { x: id } } }", NULL,
                NULL},
        {"{ stock(sku: \"A\") { id id } stock(sku: \"A\") { sku } }", NULL, NULL},
        {"mutation ($f: JSON!) { submit(type: \"T\", commandId: \"c\", fields: $f) { ... on "
         "Pending "
         "{ " PENDING " } ... on Rejected { code } } }",
                NULL, "{\"f\":{\"a\":[1,\"b\",null,true,{}]}}"},
        {"mutation ($n: Int64) { submit(type: \"T\", commandId: \"c\", fields: {a: $n}) { "
         "__typename } }",
                NULL, "{\"n\":\"9223372036854775807\"}"},
        {"{ ...F @include(if: true) } fragment F on Query { __typename ...G } fragment G on Query "
         "{ "
         "stock(sku: \"A\") { id } }",
                NULL, NULL},
        {"query IntrospectionQuery { __schema { queryType { name } mutationType { name } types { "
         "...FullType } directives { name description locations args { ...InputValue } } } } "
         "fragment FullType on __Type { kind name description fields(includeDeprecated: true) { "
         "name description args { ...InputValue } type { ...TypeRef } isDeprecated "
         "deprecationReason } inputFields { ...InputValue } interfaces { ...TypeRef } "
         "enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason } "
         "possibleTypes { ...TypeRef } } fragment InputValue on __InputValue { name description "
         "type { ...TypeRef } defaultValue } fragment TypeRef on __Type { kind name ofType { kind "
         "name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType "
         "{ kind name ofType { kind name } } } } } } } }",
                NULL, NULL},
};

START_TEST(accepts)
{
    const struct refused *one = &accepted[_i];

    ck_assert_msg(prepare(one->text, one->variables), "%s: %s", one->text, first_message());
    ck_assert_uint_eq(errors.count, 0);
}
END_TEST

START_TEST(measures_cost)
{
    ck_assert(prepare("{ lowStock(first: 100) { nodes { sku } pageInfo { hasNextPage } } }", NULL));
    ck_assert_int_eq(prepared.cost.cost, 1 + 100 * 2);
    ck_assert_int_eq(prepared.cost.depth, 3);
    ck_assert(prepare("{ stocks(skus: [\"A\", \"B\"]) { product { id } } a: __typename }", NULL));
    ck_assert_int_eq(prepared.cost.cost, 1 + 2 * 1);
    ck_assert_int_eq(prepared.cost.aliases, 1);
    ck_assert_int_eq(prepared.cost.root_fields, 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("graphql_validate");
    TCase *tests = tcase_create("validate");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_loop_test(tests, refuses, 0, sizeof refused / sizeof *refused);
    tcase_add_loop_test(tests, accepts, 0, sizeof accepted / sizeof *accepted);
    tcase_add_test(tests, refuses_fragments_that_double);
    tcase_add_test(tests, refuses_pairs_that_double);
    tcase_add_test(tests, refuses_many_equal_fields);
    tcase_add_test(tests, refuses_long_documents);
    tcase_add_test(tests, measures_cost);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
