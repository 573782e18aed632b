/* tests/unit/test_serde_bind.c - a schema of its own with every kind of field: binding, each broken
 * rule with its pointer, and encoding back. */
#include "schemas/serde.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const colours[] = {"RED", "GREEN", NULL};

struct part {
    struct tally_presence presence;
    struct tally_slice sku;
    int64_t count;
};
static const struct tally_field part_fields[] = {
        {TALLY_FIELD_NAME("sku"), .bit = 0, .kind = TALLY_KIND_STRING, .flags = TALLY_REQUIRED,
                .text = TALLY_TEXT_ID, .offset = offsetof(struct part, sku), .low = 1, .high = 8},
        {TALLY_FIELD_NAME("count"), .bit = 1, .kind = TALLY_KIND_INT, .flags = TALLY_OMIT_ZERO,
                .offset = offsetof(struct part, count), .low = -5, .high = 5},
};
static const struct tally_schema part_schema = {
        .name = "Part", .fields = part_fields, .field_count = 2, .size = sizeof(struct part)};

struct thing {
    struct tally_presence presence;
    struct tally_slice name, slug;
    int64_t number, nonzero, at;
    bool flag;
    uint8_t colour;
    struct part part;
    struct tally_array parts, words, ids;
    const struct tally_token *extra, *map;
};
enum { NAME, SLUG, NUMBER, NONZERO, AT, FLAG, COLOUR, PART, PARTS, WORDS, EXTRA, IDS, MAP };
#define AT_OF(member) .offset = offsetof(struct thing, member)
static const struct tally_field thing_fields[] = {
        {TALLY_FIELD_NAME("name"), .bit = NAME, .kind = TALLY_KIND_STRING, .flags = TALLY_REQUIRED,
                AT_OF(name), .low = 1, .high = 10},
        {TALLY_FIELD_NAME("slug"), .bit = SLUG, .kind = TALLY_KIND_STRING, .flags = 0,
                .text = TALLY_TEXT_SLUG, AT_OF(slug), .low = 1, .high = 96},
        {TALLY_FIELD_NAME("number"), .bit = NUMBER, .kind = TALLY_KIND_INT, .flags = TALLY_NULLABLE,
                AT_OF(number), .low = 0, .high = 100},
        {TALLY_FIELD_NAME("nonzero"), .bit = NONZERO, .kind = TALLY_KIND_INT,
                .flags = TALLY_NONZERO, AT_OF(nonzero), .low = -9, .high = 9},
        {TALLY_FIELD_NAME("at"), .bit = AT, .kind = TALLY_KIND_TIME, .flags = 0, AT_OF(at)},
        {TALLY_FIELD_NAME("flag"), .bit = FLAG, .kind = TALLY_KIND_BOOL, .flags = TALLY_DEFAULTED,
                AT_OF(flag), .default_value = true},
        {TALLY_FIELD_NAME("colour"), .bit = COLOUR, .kind = TALLY_KIND_ENUM,
                .flags = TALLY_DEFAULTED, AT_OF(colour), .default_value = 1, .names = colours},
        {TALLY_FIELD_NAME("part"), .bit = PART, .kind = TALLY_KIND_OBJECT, .flags = 0, AT_OF(part),
                .schema = &part_schema},
        {TALLY_FIELD_NAME("parts"), .bit = PARTS, .kind = TALLY_KIND_ARRAY, .flags = 0,
                AT_OF(parts), .low = 1, .high = 3, .schema = &part_schema},
        {TALLY_FIELD_NAME("words"), .bit = WORDS, .kind = TALLY_KIND_ARRAY, .flags = 0,
                AT_OF(words), .high = 3},
        {TALLY_FIELD_NAME("extra"), .bit = EXTRA, .kind = TALLY_KIND_ANY, .flags = 0, AT_OF(extra)},
        {TALLY_FIELD_NAME("ids"), .bit = IDS, .kind = TALLY_KIND_ARRAY, .text = TALLY_TEXT_ID,
                AT_OF(ids), .high = 3},
        {TALLY_FIELD_NAME("map"), .bit = MAP, .kind = TALLY_KIND_MAP, AT_OF(map)},
};

static void check_thing(const void *record, struct tally_violations *violations)
{
    const struct thing *thing = record;

    if (tally_slice_equal(thing->name, TALLY_SLICE("refused"))) {
        tally_violate(violations, "/name", "NOT_ALLOWED", "refused by rule %d", 7);
    }
}
static const struct tally_schema thing_schema = {.name = "Thing",
        .fields = thing_fields,
        .field_count = sizeof thing_fields / sizeof thing_fields[0],
        .size = sizeof(struct thing),
        .check = check_thing};

static struct tally_arena arena;
static struct tally_violations violations;
static struct thing thing;

static void setup(void)
{
    tally_arena_init(&arena, 4096);
}

static void teardown(void)
{
    tally_arena_deinit(&arena);
}

static const struct tally_token *parse(struct tally_slice bytes)
{
    const struct tally_token *root;
    enum tally_refusal refusal;
    struct tally_error err;

    ck_assert_int_eq(tally_document_parse(bytes, &arena, &root, &refusal, &err), TALLY_OK);
    return root;
}

static bool skip_type(struct tally_slice name)
{
    return tally_slice_equal(name, TALLY_SLICE("type"));
}

static void bind(const char *json, bool strict)
{
    memset(&thing, 0xa5, sizeof thing);
    tally_bind(parse(tally_slice_string(json)), &thing_schema, strict, skip_type, &arena, &thing,
            &violations);
}

/* The violations as one line, "pointer code; pointer code". */
static const char *broken_by(const char *json)
{
    static char text[4096];
    size_t len = 0;

    bind(json, true);
    text[0] = 0;
    for (size_t i = 0; i < violations.count; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s %s", i ? "; " : "",
                violations.items[i].pointer, violations.items[i].code);
    }
    return text;
}

START_TEST(every_kind_binds)
{
    bind("{\"name\":\"n\",\"slug\":\"a-b\",\"number\":7,\"nonzero\":-3,"
         "\"at\":\"2026-01-15T10:00:00.004Z\",\"flag\":false,\"colour\":\"RED\","
         "\"part\":{\"sku\":\"S\",\"count\":2},\"parts\":[{\"sku\":\"A\"},{\"sku\":\"B\"}],"
         "\"words\":[\"x\",\"\"],\"extra\":{\"any\":[1]},\"type\":\"Thing\"}",
            true);
    ck_assert_uint_eq(violations.count, 0);
    ck_assert_uint_eq(thing.presence.present, 0x7ff);
    ck_assert_uint_eq(thing.presence.nulls, 0);
    ck_assert(tally_slice_equal(thing.name, TALLY_SLICE("n")));
    ck_assert(tally_slice_equal(thing.slug, TALLY_SLICE("a-b")));
    ck_assert_int_eq(thing.number, 7);
    ck_assert_int_eq(thing.nonzero, -3);
    ck_assert_int_eq(thing.at, 1768471200004);
    ck_assert(!thing.flag);
    ck_assert_uint_eq(thing.colour, 0);
    ck_assert_int_eq(thing.part.count, 2);
    ck_assert_uint_eq(thing.parts.count, 2);
    ck_assert(tally_slice_equal(((struct part *)thing.parts.items)[1].sku, TALLY_SLICE("B")));
    ck_assert_uint_eq(thing.words.count, 2);
    ck_assert(tally_slice_equal(((struct tally_slice *)thing.words.items)[0], TALLY_SLICE("x")));
    ck_assert_int_eq(tally_token_member(thing.extra, "any")->count, 1);
}
END_TEST

START_TEST(absent_fields_take_defaults_unmarked)
{
    bind("{\"name\":\"n\"}", true);
    ck_assert_uint_eq(violations.count, 0);
    ck_assert_uint_eq(thing.presence.present, TALLY_BIT(NAME));
    ck_assert(thing.flag);
    ck_assert_uint_eq(thing.colour, 1);
    ck_assert_int_eq(thing.number, 0);
    ck_assert_uint_eq(thing.parts.count, 0);
    ck_assert_ptr_null(thing.extra);
}
END_TEST

START_TEST(null_is_a_value_only_where_allowed)
{
    bind("{\"name\":\"n\",\"number\":null}", true);
    ck_assert_uint_eq(violations.count, 0);
    ck_assert_uint_eq(thing.presence.present, TALLY_BIT(NAME) | TALLY_BIT(NUMBER));
    ck_assert_uint_eq(thing.presence.nulls, TALLY_BIT(NUMBER));
    ck_assert_str_eq(broken_by("{\"name\":null}"), "/name WRONG_TYPE");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"flag\":null,\"colour\":null,\"part\":null}"),
            "/flag WRONG_TYPE; /colour WRONG_TYPE; /part WRONG_TYPE");
    ck_assert_uint_eq(thing.presence.present, TALLY_BIT(NAME));
    ck_assert(thing.flag);
}
END_TEST

START_TEST(each_rule_has_its_code)
{
    ck_assert_str_eq(broken_by("{}"), "/name REQUIRED");
    ck_assert_str_eq(broken_by("{\"name\":1}"), "/name WRONG_TYPE");
    ck_assert_str_eq(broken_by("{\"name\":\"\"}"), "/name BAD_LENGTH");
    ck_assert_str_eq(broken_by("{\"name\":\"12345678901\"}"), "/name BAD_LENGTH");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"slug\":\"a--b\"}"), "/slug BAD_FORMAT");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"number\":101}"), "/number OUT_OF_RANGE");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"number\":-1}"), "/number OUT_OF_RANGE");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"number\":\"1\"}"), "/number WRONG_TYPE");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"number\":true}"), "/number WRONG_TYPE");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"nonzero\":0}"), "/nonzero OUT_OF_RANGE");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"at\":\"2026-01-15\"}"), "/at BAD_FORMAT");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"at\":1768471200004}"), "/at WRONG_TYPE");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"flag\":1}"), "/flag WRONG_TYPE");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"colour\":\"BLUE\"}"), "/colour NOT_ALLOWED");
    ck_assert_ptr_nonnull(strstr(violations.items[0].detail, "RED, GREEN"));
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"colour\":\"red\"}"), "/colour NOT_ALLOWED");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"part\":[]}"), "/part WRONG_TYPE");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"parts\":{}}"), "/parts WRONG_TYPE");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"parts\":[]}"), "/parts BAD_LENGTH");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"words\":[\"\",\"\",\"\",\"\"]}"),
            "/words BAD_LENGTH");
    ck_assert_str_eq(broken_by("{\"name\":\"refused\"}"), "/name NOT_ALLOWED");
    ck_assert_str_eq(violations.items[0].detail, "refused by rule 7");
    ck_assert_str_eq(broken_by("{\"name\":\"refused\",\"flag\":1}"), "/flag WRONG_TYPE");
}
END_TEST

START_TEST(text_of_an_array_has_its_form_and_length)
{
    char json[200], id[66];

    memset(id, 'x', sizeof id);
    id[65] = 0;
    snprintf(json, sizeof json, "{\"name\":\"n\",\"ids\":[\"A\",\"%s\"]}", id);
    ck_assert_str_eq(broken_by(json), "/ids/1 BAD_LENGTH");
    id[64] = 0;
    snprintf(json, sizeof json, "{\"name\":\"n\",\"ids\":[\"A\",\"%s\"]}", id);
    ck_assert_str_eq(broken_by(json), "");
    ck_assert_uint_eq(thing.ids.count, 2);
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"ids\":[\"\",\"a b\",1]}"),
            "/ids/0 BAD_FORMAT; /ids/1 BAD_FORMAT; /ids/2 WRONG_TYPE");
    ck_assert_uint_eq(thing.ids.count, 0);
}
END_TEST

START_TEST(a_map_holds_any_values)
{
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"map\":{\"a\":[1,{\"b\":null}]}}"), "");
    ck_assert_uint_eq(thing.map->count, 1);
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"map\":[]}"), "/map WRONG_TYPE");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"map\":null}"), "/map WRONG_TYPE");
    ck_assert_ptr_null(thing.map);
}
END_TEST

START_TEST(pointers_lead_into_the_document)
{
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"part\":{\"count\":6}}"),
            "/part/count OUT_OF_RANGE; /part/sku REQUIRED");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"parts\":[{\"sku\":\"ok\"},7,{\"sku\":\"-\"}]}"),
            "/parts/1 WRONG_TYPE; /parts/2/sku BAD_FORMAT");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"words\":[\"x\",null]}"), "/words/1 WRONG_TYPE");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"a/b~c\":1,\"\":2}"),
            "/a~1b~0c UNKNOWN_FIELD; / UNKNOWN_FIELD");
    ck_assert_str_eq(broken_by("{\"name\":\"n\",\"part\":{\"sku\":\"S\",\"x\":1}}"),
            "/part/x UNKNOWN_FIELD");
}
END_TEST

/* 93 bytes, a two-byte character that does not fit, and no escape cut in half. */
START_TEST(a_long_pointer_is_cut_between_characters)
{
    char json[600] = "{\"name\":\"n\",\"";

    memset(json + 13, 'x', 93);
    strncat(json, "\xc3\xa9\xc3\xa9\":1}", 16);
    (void)broken_by(json);
    ck_assert_uint_eq(strlen(violations.items[0].pointer), 94);
    ck_assert_int_eq(violations.items[0].pointer[93], 'x');
    json[13 + 93] = 0;
    strncat(json, "//\":1}", 16);
    (void)broken_by(json);
    ck_assert_uint_eq(strlen(violations.items[0].pointer), 94);
}
END_TEST

START_TEST(unknown_members_pass_when_not_strict)
{
    bind("{\"name\":\"n\",\"later\":{\"x\":[1,2]},\"part\":{\"sku\":\"S\",\"newer\":1}}", false);
    ck_assert_uint_eq(violations.count, 0);
    ck_assert_uint_eq(thing.presence.present, TALLY_BIT(NAME) | TALLY_BIT(PART));
    ck_assert(tally_slice_equal(thing.part.sku, TALLY_SLICE("S")));
}
END_TEST

START_TEST(only_twenty_violations_are_kept)
{
    char json[1024] = "{\"name\":\"n\"";
    size_t len = strlen(json);

    for (int i = 0; i < 30; i++) {
        len += (size_t)snprintf(json + len, sizeof json - len, ",\"u%d\":1", i);
    }
    snprintf(json + len, sizeof json - len, "}");
    bind(json, true);
    ck_assert_uint_eq(violations.count, TALLY_VIOLATIONS_MAX);
    ck_assert_str_eq(violations.items[19].pointer, "/u19");
}
END_TEST

START_TEST(identifiers_have_their_forms)
{
    static const struct {
        uint8_t kind;
        const char *text;
        bool fine;
    } cases[] = {
            {TALLY_TEXT_ID, "a", true},
            {TALLY_TEXT_ID, "9._-Z", true},
            {TALLY_TEXT_ID, ".a", false},
            {TALLY_TEXT_ID, "-a", false},
            {TALLY_TEXT_ID, "a b", false},
            {TALLY_TEXT_ID, "a:b", false},
            {TALLY_TEXT_ID, "\xc3\xa9", false},
            {TALLY_TEXT_WAREHOUSE, "AMS1", true},
            {TALLY_TEXT_WAREHOUSE, "1_-", true},
            {TALLY_TEXT_WAREHOUSE, "ams1", false},
            {TALLY_TEXT_WAREHOUSE, "_A", false},
            {TALLY_TEXT_SLUG, "red-shirt-2", true},
            {TALLY_TEXT_SLUG, "-red", false},
            {TALLY_TEXT_SLUG, "red-", false},
            {TALLY_TEXT_SLUG, "red--shirt", false},
            {TALLY_TEXT_SLUG, "Red", false},
            {TALLY_TEXT_COMMAND_ID, ":a.b_c-", true},
            {TALLY_TEXT_COMMAND_ID, "a/b", false},
            {TALLY_TEXT_COMMAND_ID, "~a", false},
            {TALLY_TEXT_ANY, "~ \xc3\xa9", true},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tally_field field = {TALLY_FIELD_NAME("f"), .kind = TALLY_KIND_STRING,
                .text = cases[i].kind, .offset = offsetof(struct part, sku), .low = 1, .high = 64};
        struct tally_schema schema = {
                .name = "One", .fields = &field, .field_count = 1, .size = sizeof(struct part)};
        struct part part;
        char json[100];

        snprintf(json, sizeof json, "{\"f\":\"%s\"}", cases[i].text);
        tally_bind(parse(tally_slice_string(json)), &schema, true, NULL, &arena, &part,
                &violations);
        ck_assert_msg((violations.count == 0) == cases[i].fine, "%s", cases[i].text);
    }
}
END_TEST

/* --- encoding ----------------------------------------------------------------------------------
 */

START_TEST(encoding_is_in_table_order)
{
    struct tally_buf buf;

    tally_buf_init(&buf, 4096);
    bind("{\"extra\":[{\"z\":1,\"a\":\"\\u0001\\\"\\\\\\n\\r\\t/\"},-5,false],\"words\":[\"w\"],"
         "\"number\":null,\"part\":{\"count\":0,\"sku\":\"S\"},\"at\":\"2026-01-15T10:00:00Z\","
         "\"colour\":\"GREEN\",\"name\":\"n\"}",
            true);
    ck_assert_uint_eq(violations.count, 0);
    tally_encode(&thing_schema, &thing, TALLY_FORMAT_JSON, &buf);
    ck_assert(tally_slice_equal(tally_buf_bytes(&buf),
            TALLY_SLICE("{\"name\":\"n\",\"number\":null,\"at\":\"2026-01-15T10:00:00.000Z\","
                        "\"colour\":\"GREEN\",\"part\":{\"sku\":\"S\"},\"words\":[\"w\"],"
                        "\"extra\":[{\"z\":1,\"a\":\"\\u0001\\\"\\\\\\n\\r\\t/\"},-5,false]}")));
    tally_buf_deinit(&buf);
}
END_TEST

START_TEST(what_was_bound_comes_back)
{
    struct tally_buf first[2], second; /* the struct borrows from the document it was bound from */

    tally_buf_init(&first[0], 4096);
    tally_buf_init(&first[1], 4096);
    tally_buf_init(&second, 4096);
    bind("{\"name\":\"n\\u00e9\",\"slug\":\"s\",\"number\":null,\"nonzero\":9,\"flag\":true,"
         "\"colour\":\"RED\",\"parts\":[{\"sku\":\"A\",\"count\":-5}],\"words\":[],\"extra\":null}",
            true);
    ck_assert_uint_eq(violations.count, 0);
    for (int format = TALLY_FORMAT_JSON; format <= TALLY_FORMAT_MSGPACK; format++) {
        tally_encode(&thing_schema, &thing, (enum tally_format)format, &first[format]);
        tally_bind(parse(tally_buf_bytes(&first[format])), &thing_schema, true, NULL, &arena,
                &thing, &violations);
        ck_assert_uint_eq(violations.count, 0);
        tally_buf_clear(&second);
        tally_encode(&thing_schema, &thing, (enum tally_format)format, &second);
        ck_assert(tally_slice_equal(tally_buf_bytes(&first[format]), tally_buf_bytes(&second)));
    }
    ck_assert_uint_eq(thing.presence.nulls, TALLY_BIT(NUMBER));
    ck_assert_int_eq(thing.extra->type, TALLY_NULL);
    tally_buf_deinit(&first[0]);
    tally_buf_deinit(&first[1]);
    tally_buf_deinit(&second);
}
END_TEST

START_TEST(msgpack_takes_the_shortest_form)
{
    static const struct {
        int64_t value;
        const char *bytes;
        size_t len;
    } cases[] = {{0, "\0", 1}, {127, "\x7f", 1}, {128, "\xcc\x80", 2}, {255, "\xcc\xff", 2},
            {256, "\xcd\1\0", 3}, {65535, "\xcd\xff\xff", 3}, {65536, "\xce\0\1\0\0", 5},
            {4294967295, "\xce\xff\xff\xff\xff", 5}, {4294967296, "\xcf\0\0\0\1\0\0\0\0", 9},
            {INT64_MAX, "\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", 9}, {-1, "\xff", 1},
            {-32, "\xe0", 1}, {-33, "\xd0\xdf", 2}, {-128, "\xd0\x80", 2},
            {-129, "\xd1\xff\x7f", 3}, {-32768, "\xd1\x80\0", 3},
            {-32769, "\xd2\xff\xff\x7f\xff", 5}, {INT32_MIN, "\xd2\x80\0\0\0", 5},
            {-2147483649, "\xd3\xff\xff\xff\xff\x7f\xff\xff\xff", 9},
            {INT64_MIN, "\xd3\x80\0\0\0\0\0\0\0", 9}};
    static const size_t lengths[] = {0, 31, 32, 255, 256, 65535, 65536};
    static const size_t heads[] = {1, 1, 2, 2, 3, 3, 5};
    static const uint32_t counts[] = {0, 15, 16, 65535, 65536};
    static const size_t count_heads[] = {1, 1, 3, 3, 5};
    struct tally_writer writer;
    struct tally_buf buf;
    uint8_t *text = tally_alloc_zero(65536, 1);

    memset(text, 'x', 65536);
    tally_buf_init(&buf, 1u << 20);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct tally_token *root;

        tally_buf_clear(&buf);
        tally_write_begin(&writer, &buf, TALLY_FORMAT_MSGPACK);
        tally_write_map(&writer, 1);
        tally_write_name(&writer, "n");
        tally_write_int(&writer, cases[i].value);
        ck_assert_uint_eq(buf.len, 3 + cases[i].len);
        ck_assert_mem_eq(buf.data + 3, cases[i].bytes, cases[i].len);
        root = parse(tally_buf_bytes(&buf));
        ck_assert_int_eq(root[2].integer, cases[i].value);
    }
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        tally_buf_clear(&buf);
        tally_write_begin(&writer, &buf, TALLY_FORMAT_MSGPACK);
        tally_write_string(&writer, tally_slice_of(text, lengths[i]));
        ck_assert_uint_eq(buf.len, heads[i] + lengths[i]);
    }
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        tally_buf_clear(&buf);
        tally_write_begin(&writer, &buf, TALLY_FORMAT_MSGPACK);
        tally_write_map(&writer, counts[i]);
        ck_assert_uint_eq(buf.len, count_heads[i]);
        tally_write_array(&writer, counts[i]);
        ck_assert_uint_eq(buf.len, 2 * count_heads[i]);
    }
    tally_buf_deinit(&buf);
    tally_free(text);
}
END_TEST

START_TEST(json_keeps_its_separators)
{
    struct tally_writer writer;
    struct tally_buf buf;

    tally_buf_init(&buf, 4096);
    tally_write_begin(&writer, &buf, TALLY_FORMAT_JSON);
    tally_write_map(&writer, 4);
    tally_write_name(&writer, "a");
    tally_write_array(&writer, 3);
    tally_write_map(&writer, 0);
    tally_write_raw(&writer, TALLY_SLICE("{\"raw\":1}"));
    tally_write_array(&writer, 1);
    tally_write_array(&writer, 0);
    tally_write_name(&writer, "b");
    tally_write_bool(&writer, true);
    tally_write_name(&writer, "c");
    tally_write_token(&writer,
            parse(TALLY_SLICE("{\"k\":{\"v\":[\"k\",{\"k\":\"v\"}]},\"l\":\"m\"}")));
    tally_write_name(&writer, "d");
    tally_write_int(&writer, INT64_MIN);
    ck_assert(tally_slice_equal(tally_buf_bytes(&buf),
            TALLY_SLICE("{\"a\":[{},{\"raw\":1},[[]]],\"b\":true,\"c\":{\"k\":{\"v\":[\"k\","
                        "{\"k\":\"v\"}]},\"l\":\"m\"},\"d\":-9223372036854775808}")));
    ck_assert_uint_eq(writer.depth, 0);
    tally_buf_deinit(&buf);
}
END_TEST

START_TEST(writing_stops_at_the_maximum)
{
    struct tally_buf buf;

    for (size_t max = 0; max < 200; max++) {
        tally_buf_init(&buf, max);
        bind("{\"name\":\"n\",\"parts\":[{\"sku\":\"A\"}],\"words\":[\"aa\",\"bb\"]}", true);
        for (int format = TALLY_FORMAT_JSON; format <= TALLY_FORMAT_MSGPACK; format++) {
            tally_buf_clear(&buf);
            tally_encode(&thing_schema, &thing, (enum tally_format)format, &buf);
            ck_assert_uint_le(buf.len, max);
        }
        tally_buf_deinit(&buf);
    }
    ck_assert(!buf.failed);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("serde_bind");
    TCase *tests = tcase_create("serde_bind");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, every_kind_binds);
    tcase_add_test(tests, absent_fields_take_defaults_unmarked);
    tcase_add_test(tests, null_is_a_value_only_where_allowed);
    tcase_add_test(tests, each_rule_has_its_code);
    tcase_add_test(tests, text_of_an_array_has_its_form_and_length);
    tcase_add_test(tests, a_map_holds_any_values);
    tcase_add_test(tests, pointers_lead_into_the_document);
    tcase_add_test(tests, a_long_pointer_is_cut_between_characters);
    tcase_add_test(tests, unknown_members_pass_when_not_strict);
    tcase_add_test(tests, only_twenty_violations_are_kept);
    tcase_add_test(tests, identifiers_have_their_forms);
    tcase_add_test(tests, encoding_is_in_table_order);
    tcase_add_test(tests, what_was_bound_comes_back);
    tcase_add_test(tests, msgpack_takes_the_shortest_form);
    tcase_add_test(tests, json_keeps_its_separators);
    tcase_add_test(tests, writing_stops_at_the_maximum);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
