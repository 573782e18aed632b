/* test_graphql_execute.c - a schema of its own, executed: what is asked, in which rounds, and what
 * becomes of nulls and errors. Numbers in parentheses are the invariants of graphql_execute.h. */
#include <check.h>
#include <stdlib.h>

#include "engine/base/clock.h"
#include "http/graphql/graphql_execute.h"

static const char sdl[] =
        "scalar Int64 scalar JSON interface Named { name: String! } "
        "type Cat implements Named { name: String! lives: Int! friend: Named } "
        "type Dog implements Named { name: String! barks: Boolean big: Int64! friends(first: Int = "
        "2): [Named!]! parent: Dog sure: Dog! } "
        "union Pet = Cat | Dog "
        "type Query { pet(name: ID!, kind: [String!] = [\"dog\"]): Named pets: [Pet] must: Dog! "
        "bad: "
        "Int! list: [Int!] fails: [Dog] json(value: JSON): JSON id: ID late: String } "
        "type Mutation { add(n: Int! = 1): Int! none: Dog! }";

/* The world: animals come in rounds, as rows come from a store. */
static struct {
    int asked, rounds, sum, order;
    bool loaded;
} world;
static int64_t end_ms;      /* of the next run */
static size_t dogs_max = 2; /* friends of a dog */

static struct graphql_schema *schema;
static struct tally_arena arena;
static struct graphql_errors errors;
static struct tally_buf out;

static void load(void *context)
{
    ck_assert_ptr_eq(context, &world);
    world.rounds++;
    world.loaded = true;
}

static struct graphql_out dog(struct graphql_call *call, const char *name)
{
    struct graphql_object *object = graphql_object_create(call->arena, "Dog", NULL, 3);

    graphql_object_text(object, "name", tally_slice_string(name));
    graphql_object_bool(object, "barks", true);
    graphql_object_int(object, "big", INT64_C(9007199254740993));
    return graphql_out_object(object);
}

static struct graphql_out cat(struct graphql_call *call, bool lives)
{
    struct graphql_object *object = graphql_object_create(call->arena, "Cat", NULL, 2);

    graphql_object_text(object, "name", TALLY_SLICE("Tom \"T\""));
    if (lives) {
        graphql_object_int(object, "lives", 7);
    }
    return graphql_out_object(object);
}

static enum graphql_step pet(struct graphql_call *call, struct graphql_out *value)
{
    struct tally_slice name = graphql_call_text(call, "name");
    const struct graphql_input *kind = graphql_call_argument(call, "kind");

    if (tally_slice_equal(name, TALLY_SLICE("none"))) {
        return graphql_call_fail(call, "NOT_FOUND", "no pet \"%.*s\"", (int)name.len,
                (const char *)name.data);
    }
    *value = kind && tally_slice_equal(kind->first->text, TALLY_SLICE("cat")) ? cat(call, true)
                                                                              : dog(call, "Rex");
    return GRAPHQL_DONE;
}

static enum graphql_step pets(struct graphql_call *call, struct graphql_out *value)
{
    struct graphql_out *items;

    *value = graphql_out_list(call->arena, 4, &items);
    items[0] = dog(call, "Rex");
    items[1] = cat(call, false);
    items[3] = cat(call, true);
    return GRAPHQL_DONE;
}

/* After a read. */
static enum graphql_step friends(struct graphql_call *call, struct graphql_out *value)
{
    struct graphql_out *items;

    world.asked++;
    if (!world.loaded) {
        return GRAPHQL_AGAIN;
    }
    *value = graphql_out_list(call->arena, dogs_max, &items);
    for (size_t i = 0; i < dogs_max; i++) {
        items[i] = dog(call, i % 2 ? "Bello" : "Fido");
    }
    return GRAPHQL_DONE;
}

static enum graphql_step parent(struct graphql_call *call, struct graphql_out *value)
{
    *value = dog(call, "Old");
    return GRAPHQL_DONE;
}

static enum graphql_step list(struct graphql_call *call, struct graphql_out *value)
{
    struct graphql_out *items;

    *value = graphql_out_list(call->arena, 2, &items);
    items[0] = (struct graphql_out){.kind = GRAPHQL_OUT_INT, .integer = 1};
    return GRAPHQL_DONE;
}

static enum graphql_step fails(struct graphql_call *call, struct graphql_out *value)
{
    struct graphql_out *items;

    *value = graphql_out_list(call->arena, 2, &items);
    (void)graphql_call_fail(call, "NOT_OWNER", "gone");
    items[0] = graphql_call_take_error(call);
    items[1] = dog(call, "Rex");
    return GRAPHQL_DONE;
}

static enum graphql_step json(struct graphql_call *call, struct graphql_out *value)
{
    const struct graphql_input *input = graphql_call_argument(call, "value");
    struct tally_buf text;

    if (!input) {
        return GRAPHQL_DONE;
    }
    tally_buf_init(&text, 4096);
    graphql_input_write(input, &text);
    *value = (struct graphql_out){.kind = GRAPHQL_OUT_JSON,
            .text = tally_arena_copy(call->arena, tally_buf_bytes(&text))};
    tally_buf_deinit(&text);
    return GRAPHQL_DONE;
}

static enum graphql_step add(struct graphql_call *call, struct graphql_out *value)
{
    int64_t n = graphql_call_argument(call, "n")->integer;

    world.order = world.order * 10 + (int)n;
    *value = (struct graphql_out){.kind = GRAPHQL_OUT_INT, .integer = world.order};
    return GRAPHQL_DONE;
}

static enum graphql_step late(struct graphql_call *call, struct graphql_out *value)
{
    (void)call;
    (void)value;
    return GRAPHQL_AGAIN;
}

static void begin(void)
{
    schema = graphql_schema_create(sdl);
    graphql_introspection_bind(schema);
    graphql_schema_bind(schema, "Query.pet", pet);
    graphql_schema_bind(schema, "Query.pets", pets);
    graphql_schema_bind(schema, "Query.list", list);
    graphql_schema_bind(schema, "Query.fails", fails);
    graphql_schema_bind(schema, "Query.json", json);
    graphql_schema_bind(schema, "Query.late", late);
    graphql_schema_bind(schema, "Dog.friends", friends);
    graphql_schema_bind(schema, "Dog.parent", parent);
    graphql_schema_bind(schema, "Mutation.add", add);
    tally_arena_init(&arena, 1 << 16);
    tally_buf_init(&out, 1 << 20);
}

static void end(void)
{
    tally_buf_deinit(&out);
    tally_arena_deinit(&arena);
    graphql_schema_destroy(schema);
}

/* The answer to a request: errors, if there are any, then data. */
static const char *run(const char *query, const char *variables)
{
    struct graphql_request request = {.query = tally_slice_string(query)};
    struct graphql_execution execution = {
            .context = &world, .load = load, .clock = tally_clock_real(), .end_ms = end_ms};
    struct graphql_prepared prepared;
    enum tally_refusal refusal;
    struct tally_buf data;

    memset(&world, 0, sizeof world);
    tally_arena_reset(&arena, 1 << 20);
    graphql_errors_init(&errors, &arena);
    if (variables) {
        ck_assert_int_eq(tally_document_parse(tally_slice_string(variables), &arena,
                                 &request.variables, &refusal, NULL),
                TALLY_OK);
    }
    tally_buf_init(&data, 1 << 20);
    tally_buf_clear(&out);
    if (graphql_prepare(schema, &request, &errors, &prepared)) {
        graphql_execute(&prepared, &execution, &errors, &data);
    }
    if (errors.count > 0) {
        graphql_errors_write(&errors, &out);
        tally_buf_string(&out, data.len > 0 ? "," : "");
    }
    tally_buf_slice(&out, tally_buf_bytes(&data));
    tally_buf_byte(&out, 0);
    tally_buf_deinit(&data);
    return (const char *)out.data;
}

START_TEST(answers_in_the_order_asked)
{
    ck_assert_str_eq(run("{ b: pet(name: 1) { name __typename } a: __typename pet(name: \"x\", "
                         "kind: "
                         "\"cat\") { name ... on Cat { lives } ... on Dog { barks } } id }",
                             NULL),
            "\"data\":{\"b\":{\"name\":\"Rex\",\"__typename\":\"Dog\"},\"a\":\"Query\",\"pet\":{"
            "\"name\":\"Tom \\\"T\\\"\",\"lives\":7},\"id\":null}");
}
END_TEST

START_TEST(merges_fields)
{
    ck_assert_str_eq(
            run("{ pet(name: 1) { name } ...F pet(name: 1) { ... on Dog { parent { barks } "
                "} } } fragment F on Query { pet(name: 1) { ... on Dog { parent { name } } "
                "name } }",
                    NULL),
            "\"data\":{\"pet\":{\"name\":\"Rex\",\"parent\":{\"name\":\"Old\",\"barks\":true}}}");
}
END_TEST

START_TEST(skips_and_includes)
{
    ck_assert_str_eq(run("query ($yes: Boolean!, $no: Boolean = false) { a: __typename @skip(if: "
                         "$yes) b: __typename @include(if: $yes) ... @include(if: $no) { c: "
                         "__typename } ...F @skip(if: $no) d: __typename @include(if: true) "
                         "@skip(if: true) } fragment F on Query { e: __typename }",
                             "{\"yes\":true}"),
            "\"data\":{\"b\":\"Query\",\"e\":\"Query\"}");
}
END_TEST

START_TEST(writes_large_numbers_as_strings)
{
    ck_assert_str_eq(run("{ pet(name: 1) { ... on Dog { big } } }", NULL),
            "\"data\":{\"pet\":{\"big\":\"9007199254740993\"}}");
}
END_TEST

START_TEST(passes_json_through)
{
    ck_assert_str_eq(run("query ($v: JSON, $n: Int) { json(value: {a: [1, \"x\", null, true, $v], "
                         "b: "
                         "$n, c: E}) }",
                             "{\"v\":{\"k\":[-5]}}"),
            "\"errors\":[{\"message\":\"JSON cannot represent E: numbers are whole and have 64 "
            "bits\",\"locations\":[{\"line\":1,\"column\":78}],\"extensions\":{\"code\":\"INVALID_"
            "PARAMETER\"}}]");
    ck_assert_str_eq(run("query ($v: JSON, $n: Int) { json(value: {a: [1, \"x\", null, true, $v], "
                         "b: "
                         "$n}) }",
                             "{\"v\":{\"k\":[-5]}}"),
            "\"data\":{\"json\":{\"a\":[1,\"x\",null,true,{\"k\":[-5]}],\"b\":null}}");
}
END_TEST

/* (1) The dogs of a level are asked together: rounds grow with the depth alone. */
START_TEST(reads_level_by_level)
{
    (void)run("{ a: pet(name: 1) { ...F } b: pet(name: 2) { ...F } } fragment F on Dog { friends { "
              "... on Dog { friends { ... on Dog { friends { name } } } } } }",
            NULL);
    ck_assert_uint_eq(errors.count, 0);
    ck_assert_int_eq(world.rounds, 1); /* what was loaded stays */
    ck_assert_int_eq(world.asked, 2 + 2 + 4 + 8);
}
END_TEST

/* (2) */
START_TEST(moves_nulls_up)
{
    ck_assert_str_eq(run("{ id must { name } }", NULL),
            "\"errors\":[{\"message\":\"Cannot return null for non-nullable field Query.must.\","
            "\"locations\":[{\"line\":1,\"column\":6}],\"path\":[\"must\"],\"extensions\":{"
            "\"code\":\"INTERNAL\"}}],\"data\":null");
    ck_assert_str_eq(run("{ pets { ... on Cat { lives } ... on Dog { barks } } list }", NULL),
            "\"errors\":[{\"message\":\"Cannot return null for non-nullable field Query.list.\","
            "\"locations\":[{\"line\":1,\"column\":54}],\"path\":[\"list\",1],\"extensions\":{"
            "\"code\":\"INTERNAL\"}},{\"message\":\"Cannot return null for non-nullable field "
            "Cat.lives.\",\"locations\":[{\"line\":1,\"column\":23}],\"path\":[\"pets\",1,"
            "\"lives\"],\"extensions\":{\"code\":\"INTERNAL\"}}],\"data\":{\"pets\":[{\"barks\":"
            "true},null,null,{\"lives\":7}],\"list\":null}");
    ck_assert_str_eq(run("{ pet(name: 1) { ... on Dog { parent { sure { name } barks } } name } }",
                             NULL),
            "\"errors\":[{\"message\":\"Cannot return null for non-nullable field Dog.sure.\","
            "\"locations\":[{\"line\":1,\"column\":40}],\"path\":[\"pet\",\"parent\",\"sure\"],"
            "\"extensions\":{\"code\":\"INTERNAL\"}}],\"data\":{\"pet\":{\"parent\":null,\"name\":"
            "\"Rex\"}}");
}
END_TEST

START_TEST(tells_errors_with_their_path)
{
    ck_assert_str_eq(run("{ x: pet(name: \"none\") { name } fails { name } }", NULL),
            "\"errors\":[{\"message\":\"no pet \\\"none\\\"\",\"locations\":[{\"line\":1,"
            "\"column\":3}],\"path\":[\"x\"],\"extensions\":{\"code\":\"NOT_FOUND\"}},{"
            "\"message\":\"gone\",\"locations\":[{\"line\":1,\"column\":33}],\"path\":[\"fails\",0]"
            ",\"extensions\":{\"code\":\"NOT_OWNER\"}}],\"data\":{\"x\":null,\"fails\":[null,{"
            "\"name\":\"Rex\"}]}");
}
END_TEST

/* (3) */
START_TEST(mutates_in_order)
{
    ck_assert_str_eq(run("mutation { a: add(n: 1) b: add(n: 2) c: add }", NULL),
            "\"data\":{\"a\":1,\"b\":12,\"c\":121}");
}
END_TEST

START_TEST(ends_when_it_is_late)
{
    end_ms = 1;
    ck_assert_str_eq(run("{ late id }", NULL),
            "\"errors\":[{\"message\":\"The request took over 2 s: ask for less at a time.\","
            "\"extensions\":{\"code\":\"OVERLOADED\"}}],\"data\":null");
}
END_TEST

START_TEST(stops_at_too_many_objects)
{
    static const char query[] =
            "{ pet(name: 1) { ... on Dog { friends { ... on Dog { friends { name "
            "} } } } } }";

    dogs_max = 100;
    ck_assert_uint_gt(strlen(run(query, NULL)), 100 * 100 * strlen("Fido"));
    ck_assert_uint_eq(errors.count, 0);
    dogs_max = 200;
    ck_assert_str_eq(run(query, NULL),
            "\"errors\":[{\"message\":\"The answer has too many objects: ask for fewer at a "
            "time.\","
            "\"extensions\":{\"code\":\"BODY_TOO_LARGE\"}}],\"data\":null");
}
END_TEST

START_TEST(tells_about_itself)
{
    ck_assert_str_eq(
            run("{ __type(name: \"Dog\") { kind name interfaces { name } possibleTypes { name } "
                "enumValues { name } fields { name args { name defaultValue type { kind name } } "
                "type { kind name ofType { kind ofType { kind ofType { kind name } } } } } } none: "
                "__type(name: \"X\") { name } u: __type(name: \"Pet\") { kind fields { name } "
                "possibleTypes { name } } }",
                    NULL),
            "\"data\":{\"__type\":{\"kind\":\"OBJECT\",\"name\":\"Dog\",\"interfaces\":[{\"name\":"
            "\"Named\"}],\"possibleTypes\":null,\"enumValues\":null,\"fields\":[{\"name\":\"name\","
            "\"args\":[],\"type\":{\"kind\":\"NON_NULL\",\"name\":null,\"ofType\":{\"kind\":"
            "\"SCALAR\",\"ofType\":null}}},{\"name\":\"barks\",\"args\":[],\"type\":{\"kind\":"
            "\"SCALAR\",\"name\":\"Boolean\",\"ofType\":null}},{\"name\":\"big\",\"args\":[],"
            "\"type\":{\"kind\":\"NON_NULL\",\"name\":null,\"ofType\":{\"kind\":\"SCALAR\","
            "\"ofType\":null}}},{\"name\":\"friends\",\"args\":[{\"name\":\"first\","
            "\"defaultValue\":\"2\",\"type\":{\"kind\":\"SCALAR\",\"name\":\"Int\"}}],\"type\":{"
            "\"kind\":\"NON_NULL\",\"name\":null,\"ofType\":{\"kind\":\"LIST\",\"ofType\":{"
            "\"kind\":\"NON_NULL\",\"ofType\":{\"kind\":\"INTERFACE\",\"name\":\"Named\"}}}}},{"
            "\"name\":\"parent\",\"args\":[],\"type\":{\"kind\":\"OBJECT\",\"name\":\"Dog\","
            "\"ofType\":null}},{\"name\":\"sure\",\"args\":[],\"type\":{\"kind\":\"NON_NULL\","
            "\"name\":null,\"ofType\":{\"kind\":\"OBJECT\",\"ofType\":null}}}]},\"none\":null,"
            "\"u\":{\"kind\":\"UNION\",\"fields\":null,\"possibleTypes\":[{\"name\":\"Cat\"},{"
            "\"name\":\"Dog\"}]}}");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("graphql_execute");
    TCase *tests = tcase_create("execute");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, answers_in_the_order_asked);
    tcase_add_test(tests, merges_fields);
    tcase_add_test(tests, skips_and_includes);
    tcase_add_test(tests, writes_large_numbers_as_strings);
    tcase_add_test(tests, passes_json_through);
    tcase_add_test(tests, reads_level_by_level);
    tcase_add_test(tests, moves_nulls_up);
    tcase_add_test(tests, tells_errors_with_their_path);
    tcase_add_test(tests, mutates_in_order);
    tcase_add_test(tests, ends_when_it_is_late);
    tcase_add_test(tests, stops_at_too_many_objects);
    tcase_add_test(tests, tells_about_itself);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
