/* test_graphql_parser.c - documents as the specification writes them: names, numbers, strings,
 * block strings, and everything that is none. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/graphql/graphql_input.h"
#include "http/graphql/graphql_parser.h"

static struct tally_arena arena;
static struct graphql_errors errors;

static void begin(void)
{
    tally_arena_init(&arena, 1 << 16);
    graphql_errors_init(&errors, &arena);
}

static void end(void)
{
    tally_arena_deinit(&arena);
}

static struct graphql_document *parse(const char *text)
{
    graphql_errors_init(&errors, &arena);
    return graphql_parse(tally_slice_string(text), 2000, &errors);
}

static void check_refused(const char *text, const char *message, uint32_t line, uint32_t column)
{
    ck_assert_msg(!parse(text), "parsed: %s", text);
    ck_assert_uint_eq(errors.count, 1);
    ck_assert_msg(tally_slice_equal(errors.first->message, tally_slice_string(message)),
            "%s: got: %.*s", text, (int)errors.first->message.len,
            (const char *)errors.first->message.data);
    ck_assert_uint_eq(errors.first->at[0].line, line);
    ck_assert_uint_eq(errors.first->at[0].column, column);
}

/* The value of the first argument of the first field. */
static const struct graphql_value *value_of(const char *literal)
{
    char text[512];
    struct graphql_document *document;

    snprintf(text, sizeof text, "{ a(b: %s) }", literal);
    document = parse(text);
    ck_assert_msg(document != NULL, "%s: %.*s", literal, (int)errors.first->message.len,
            (const char *)errors.first->message.data);
    return document->operations->selections->arguments->value;
}

static void check_text(const char *literal, enum graphql_value_kind kind, const char *text)
{
    const struct graphql_value *value = value_of(literal);

    ck_assert_int_eq(value->kind, kind);
    ck_assert_msg(tally_slice_equal(value->text, tally_slice_string(text)), "%s: got \"%.*s\"",
            literal, (int)value->text.len, (const char *)value->text.data);
}

START_TEST(reads_operations)
{
    struct graphql_document *document = parse("query Q($a: [Int!]! = [1, 2] @x) @skip(if: true) {\n"
                                              "  one: two(three: {four: $a}) @five { ...F ... on "
                                              "T { a } ... @y { b } }\n"
                                              "}\n"
                                              "mutation { c } subscription S { d }\n"
                                              "fragment F on T @z { e }");
    const struct graphql_operation *query;
    const struct graphql_selection *field, *spread;

    ck_assert(document != NULL);
    ck_assert_uint_eq(document->operation_count, 3);
    ck_assert_uint_eq(document->fragment_count, 1);
    query = document->operations;
    ck_assert(tally_slice_equal(query->name, TALLY_SLICE("Q")));
    ck_assert_int_eq(query->next->kind, GRAPHQL_MUTATION);
    ck_assert_uint_eq(query->next->name.len, 0);
    ck_assert_int_eq(query->next->next->kind, GRAPHQL_SUBSCRIPTION);
    ck_assert_int_eq(query->variables->type->wrap, GRAPHQL_NON_NULL);
    ck_assert_int_eq(query->variables->type->of->wrap, GRAPHQL_LIST_OF);
    ck_assert_int_eq(query->variables->default_value->kind, GRAPHQL_VALUE_LIST);
    field = query->selections;
    ck_assert(field->has_alias && tally_slice_equal(field->key, TALLY_SLICE("one")));
    ck_assert(tally_slice_equal(field->name, TALLY_SLICE("two")));
    ck_assert_uint_eq(field->at.line, 2);
    ck_assert_uint_eq(field->at.column, 3);
    spread = field->selections;
    ck_assert_int_eq(spread->kind, GRAPHQL_SPREAD);
    ck_assert_int_eq(spread->next->kind, GRAPHQL_INLINE);
    ck_assert(tally_slice_equal(spread->next->name, TALLY_SLICE("T")));
    ck_assert_uint_eq(spread->next->next->name.len, 0);
    ck_assert(tally_slice_equal(document->fragments->type_name, TALLY_SLICE("T")));
}
END_TEST

START_TEST(reads_words_as_names)
{
    ck_assert(parse("{ query mutation subscription fragment on true false null type }") != NULL);
    ck_assert(parse("query query { fragment: on }") != NULL);
    ck_assert(parse("fragment query on on { on } { ...query }") != NULL);
}
END_TEST

START_TEST(ignores_what_means_nothing)
{
    ck_assert(parse("\xef\xbb\xbf#c\r\n,,{,a,#x } \n\tb\r}\n# end") != NULL);
    check_refused("{\r\n a\r ?", "Syntax Error: Unexpected character: \"?\".", 3, 2);
    check_refused("{ \"\xc3\xa9\xf0\x9f\x98\x80\" ",
            "Syntax Error: Expected Name, found String "
            "\"\xc3\xa9\xf0\x9f\x98\x80\".",
            1, 3);
    check_refused("# \xc3\xa9\n{ a(b: \"\xc3\xa9\" ?", "Syntax Error: Unexpected character: \"?\".",
            2, 12);
}
END_TEST

START_TEST(reads_numbers)
{
    check_text("0", GRAPHQL_VALUE_INT, "0");
    check_text("-0", GRAPHQL_VALUE_INT, "-0");
    check_text("-19007199254740993", GRAPHQL_VALUE_INT, "-19007199254740993");
    check_text("0.5", GRAPHQL_VALUE_FLOAT, "0.5");
    check_text("1e9", GRAPHQL_VALUE_FLOAT, "1e9");
    check_text("-1.0E-3", GRAPHQL_VALUE_FLOAT, "-1.0E-3");
    check_text("true", GRAPHQL_VALUE_BOOLEAN, "true");
    check_text("TRUE", GRAPHQL_VALUE_ENUM, "TRUE");
    ck_assert_int_eq(value_of("null")->kind, GRAPHQL_VALUE_NULL);
}
END_TEST

START_TEST(refuses_bad_numbers)
{
    static const char *const bad[] = {"00", "01", "-", "+1", ".5", "1.", "1.e5", "1e", "1e+", "1a",
            "1_", "0x1F", "1.5.", "1.2.3", "0b1", "--1"};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[64];

        snprintf(text, sizeof text, "{ a(b: %s) }", bad[i]);
        ck_assert_msg(!parse(text), "parsed: %s", bad[i]);
        ck_assert_uint_eq(errors.count, 1);
    }
}
END_TEST

START_TEST(reads_strings)
{
    check_text("\"\"", GRAPHQL_VALUE_STRING, "");
    check_text("\"a # , b\"", GRAPHQL_VALUE_STRING, "a # , b");
    check_text("\"\\\" \\\\ \\/ \\b \\f \\n \\r \\t\"", GRAPHQL_VALUE_STRING,
            "\" \\ / \b \f \n \r \t");
    check_text("\"\\u0041\\u00e9\\u20AC\"", GRAPHQL_VALUE_STRING, "A\xc3\xa9\xe2\x82\xac");
    check_text("\"\\uD83D\\uDE00\"", GRAPHQL_VALUE_STRING, "\xf0\x9f\x98\x80");
    check_text("\"\\u{1F600}\\u{41}\\u{000041}\"", GRAPHQL_VALUE_STRING,
            "\xf0\x9f\x98\x80"
            "AA");
}
END_TEST

START_TEST(refuses_bad_strings)
{
    static const char *const bad[] = {"\"", "\"a", "\"a\n\"", "\"\\x\"", "\"\\u12\"", "\"\\u{}\"",
            "\"\\u{110000}\"", "\"\\uD83D\"", "\"\\uDE00\"", "\"\\uD83D\\u0041\"",
            "\"\\u{D83D}\\u{DE00}\"", "\"\\u{41\"", "\"\\u0000\"", "\"\\u{FFFFFFFFFFFF}\"",
            "\"\"\"", "\"\"\"a\"\"", "\"\"\"\\\"\"\"", "\"\\", "\"\"\"\\"};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[64];

        snprintf(text, sizeof text, "{ a(b: %s", bad[i]);
        ck_assert_msg(!parse(text), "parsed: %s", bad[i]);
        ck_assert_uint_eq(errors.count, 1);
    }
}
END_TEST

START_TEST(reads_block_strings)
{
    check_text("\"\"\"\"\"\"", GRAPHQL_VALUE_STRING, "");
    check_text("\"\"\"a\"\"\"", GRAPHQL_VALUE_STRING, "a");
    check_text("\"\"\"\n    Hello,\n      World!\n\n    Yours,\n      GraphQL.\n  \"\"\"",
            GRAPHQL_VALUE_STRING, "Hello,\n  World!\n\nYours,\n  GraphQL.");
    check_text("\"\"\" a\n  b\n\tc\r\n   d\"\"\"", GRAPHQL_VALUE_STRING, " a\n b\nc\n  d");
    check_text("\"\"\"\n\n  a\n     \n  b\n \n\"\"\"", GRAPHQL_VALUE_STRING, "a\n   \nb");
    check_text("\"\"\"q \" \"\" \\\"\"\" \\n \\u0041\"\"\"", GRAPHQL_VALUE_STRING,
            "q \" \"\" \"\"\" \\n \\u0041");
    check_text("\"\"\"  \n \n\"\"\"", GRAPHQL_VALUE_STRING, "");
}
END_TEST

START_TEST(says_what_it_expected)
{
    check_refused("", "Syntax Error: Unexpected <EOF>.", 1, 1);
    check_refused("{", "Syntax Error: Expected Name, found <EOF>.", 1, 2);
    check_refused("{}", "Syntax Error: Expected Name, found \"}\".", 1, 2);
    check_refused("{ a(", "Syntax Error: Expected Name, found <EOF>.", 1, 5);
    check_refused("{ a() }", "Syntax Error: Expected Name, found \")\".", 1, 5);
    check_refused("{ a { } }", "Syntax Error: Expected Name, found \"}\".", 1, 7);
    check_refused("{ ...on }", "Syntax Error: Expected Name, found \"}\".", 1, 9);
    check_refused("fragment on on on { on }", "Syntax Error: Unexpected Name \"on\".", 1, 10);
    check_refused("fragment F { a }", "Syntax Error: Expected \"on\", found \"{\".", 1, 12);
    check_refused("query ($a: Int = $b) { a }", "Syntax Error: Unexpected \"$\".", 1, 18);
    check_refused("type T { a: Int }", "Syntax Error: Unexpected Name \"type\".", 1, 1);
    check_refused("{ a }}", "Syntax Error: Unexpected \"}\".", 1, 6);
    check_refused("{ a(b: ]) }", "Syntax Error: Unexpected \"]\".", 1, 8);
    check_refused("{ a \x01 }", "Syntax Error: Unexpected character: U+0001.", 1, 5);
    check_refused("query Q(a: Int) { a }", "Syntax Error: Expected \"$\", found Name \"a\".", 1, 9);
    check_refused("{ a: }", "Syntax Error: Expected Name, found \"}\".", 1, 6);
    check_refused("{ .. a }", "Syntax Error: Unexpected character: \".\".", 1, 3);
}
END_TEST

START_TEST(refuses_too_much)
{
    char text[16384];
    size_t len = 0;

    for (int i = 0; i < 3000; i++) {
        text[len++] = '{';
    }
    text[len] = '\0';
    ck_assert(!parse(text));
    memset(text, '[', 1000);
    memcpy(text, "{a(b:", 5);
    text[1000] = '\0';
    check_refused(text, "Syntax Error: Document is nested too deeply.", 1, 69);
    memset(text, '[', 1000);
    memcpy(text, "query($a:", 9);
    check_refused(text, "Syntax Error: Document is nested too deeply.", 1, 74);
    for (len = 1, text[0] = '{'; len < 4000; len += 2) {
        memcpy(text + len, "a ", 2);
    }
    text[len] = '\0';
    check_refused(text, "Syntax Error: Document contains too many tokens. Parsing aborted.", 1,
            4000);
}
END_TEST

START_TEST(keeps_memory_small)
{
    char text[16384];
    size_t len = 5;

    memcpy(text, "{a(b:", 5);
    for (; len < 16000; len += 8) {
        memcpy(text + len, "\"\\\"\"\"\"a\"", 8);
    }
    memcpy(text + len, ")}", 3);
    (void)parse(text);
    ck_assert_uint_lt(tally_arena_size(&arena), 1 << 20);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("graphql_parser");
    TCase *tests = tcase_create("parser");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, reads_operations);
    tcase_add_test(tests, reads_words_as_names);
    tcase_add_test(tests, ignores_what_means_nothing);
    tcase_add_test(tests, reads_numbers);
    tcase_add_test(tests, refuses_bad_numbers);
    tcase_add_test(tests, reads_strings);
    tcase_add_test(tests, refuses_bad_strings);
    tcase_add_test(tests, reads_block_strings);
    tcase_add_test(tests, says_what_it_expected);
    tcase_add_test(tests, refuses_too_much);
    tcase_add_test(tests, keeps_memory_small);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
