/* tests/unit/test_serde.c - documents as tokens: formats, limits, double names, fingerprints. */
#include "schemas/serde.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

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

/* Memory that hostile input must not pass, where no sanitizer needs its own. */
static void limit_memory(void)
{
#ifndef SANITIZED
    struct rlimit limit = {.rlim_cur = 128u << 20, .rlim_max = 128u << 20};

    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
#endif
}

static enum tally_refusal refusal_of(struct tally_slice bytes)
{
    const struct tally_token *root;
    enum tally_refusal refusal;
    enum tally_code code = tally_document_parse(bytes, &arena, &root, &refusal, &err);

    ck_assert_int_eq(code, refusal ? TALLY_BAD_RECORD : TALLY_OK);
    ck_assert((root == NULL) == (code != TALLY_OK));
    return refusal;
}

/* A copy of its own size, so that a read beyond it is seen by the sanitizer. */
static enum tally_refusal refusal_of_copy(const void *data, size_t len)
{
    uint8_t *copy = tally_alloc(len + 1);
    enum tally_refusal refusal;

    memcpy(copy + 1, data, len);
    refusal = refusal_of(tally_slice_of(copy + 1, len));
    tally_free(copy);
    return refusal;
}

#define CHECK_REFUSED(literal, reason) \
    ck_assert_str_eq(tally_refusal_name(refusal_of_copy(literal, sizeof(literal) - 1)), reason)

START_TEST(the_first_byte_tells_the_format)
{
    CHECK_REFUSED("", "EMPTY_VALUE");
    ck_assert_int_eq(refusal_of(TALLY_NONE), TALLY_REFUSAL_EMPTY_VALUE);
    CHECK_REFUSED("{}", "NONE");
    CHECK_REFUSED("\x80", "NONE");
    CHECK_REFUSED("\xde\0\0", "NONE");
    CHECK_REFUSED("\xdf\0\0\0\0", "NONE");
    CHECK_REFUSED(" {}", "UNSUPPORTED_FORMAT");
    CHECK_REFUSED("\n{}", "UNSUPPORTED_FORMAT");
    CHECK_REFUSED("\xef\xbb\xbf{}", "UNSUPPORTED_FORMAT");
    CHECK_REFUSED("[]", "UNSUPPORTED_FORMAT");
    CHECK_REFUSED("\x90", "UNSUPPORTED_FORMAT");
    CHECK_REFUSED("1", "UNSUPPORTED_FORMAT");
    CHECK_REFUSED("\xc0", "UNSUPPORTED_FORMAT");
    CHECK_REFUSED("\0", "UNSUPPORTED_FORMAT");
}
END_TEST

/* yajl waits for more of a token that ends with the text, and says nothing. */
START_TEST(no_token_begins_behind_the_document)
{
    CHECK_REFUSED("{\"a\":1}1", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":1} 12", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":1}-", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":1}1.", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":1}tru", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":1}nul", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":1}\"", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":1}\"b", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":1}/", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":{}}\\", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":1}\0", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":{}} \t\r\n", "NONE");
}
END_TEST

START_TEST(json_is_strict)
{
    CHECK_REFUSED("{\"a\":1} \n", "NONE");
    CHECK_REFUSED("{", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\"", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":1", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":\"x", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":tru", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":1}}", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":1} x", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":1}{}", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":1,}", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":[1,]}", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":NaN}", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":Infinity}", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":01}", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":+1}", "MALFORMED_JSON");
    CHECK_REFUSED("{a:1}", "MALFORMED_JSON");
    CHECK_REFUSED("{'a':1}", "MALFORMED_JSON");
    CHECK_REFUSED("{1:1}", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":\"\n\"}", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":\"\0\"}", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":\"\\x\"}", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":\"\\u12g4\"}", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":1/*x*/}", "MALFORMED_JSON");
    CHECK_REFUSED("{\"a\":1}\0", "MALFORMED_JSON");
}
END_TEST

START_TEST(numbers_are_int64)
{
    const struct tally_token *root;
    enum tally_refusal refusal;

    CHECK_REFUSED("{\"a\":1.0}", "BAD_NUMBER");
    CHECK_REFUSED("{\"a\":1e3}", "BAD_NUMBER");
    CHECK_REFUSED("{\"a\":1E3}", "BAD_NUMBER");
    CHECK_REFUSED("{\"a\":9223372036854775808}", "BAD_NUMBER");
    CHECK_REFUSED("{\"a\":-9223372036854775809}", "BAD_NUMBER");
    CHECK_REFUSED("{\"a\":123456789012345678901234567890}", "BAD_NUMBER");
    CHECK_REFUSED("\x81\xa1"
                  "a\xcf\x80\0\0\0\0\0\0\0",
            "BAD_NUMBER");
    CHECK_REFUSED("\x81\xa1"
                  "a\xcb\0\0\0\0\0\0\0\0",
            "BAD_NUMBER");
    CHECK_REFUSED("\x81\xa1"
                  "a\xca\0\0\0\0",
            "BAD_NUMBER");
    ck_assert_int_eq(tally_document_parse(TALLY_SLICE("{\"a\":[9223372036854775807,"
                                                      "-9223372036854775808,0,-0]}"),
                             &arena, &root, &refusal, &err),
            TALLY_OK);
    ck_assert_int_eq(root[3].integer, INT64_MAX);
    ck_assert_int_eq(root[4].integer, INT64_MIN);
    ck_assert_int_eq(root[5].integer, 0);
    ck_assert_int_eq(root[6].integer, 0);
}
END_TEST

START_TEST(strings_are_utf8_without_nul)
{
    CHECK_REFUSED("{\"a\":\"\xc3\xa9\"}", "NONE");
    CHECK_REFUSED("{\"a\":\"\xc3\"}", "INVALID_UTF8");
    CHECK_REFUSED("{\"\xff\":1}", "INVALID_UTF8");
    CHECK_REFUSED("{\"a\":\"\xc0\x80\"}", "INVALID_UTF8");
    CHECK_REFUSED("{\"a\":\"\xed\xa0\x80\"}", "INVALID_UTF8");
    CHECK_REFUSED("{\"a\":\"\\n\xff\"}", "INVALID_UTF8");
    CHECK_REFUSED("{\"a\":\"\\u0000\"}", "INVALID_UTF8");
    CHECK_REFUSED("{\"a\\u0000\":1}", "INVALID_UTF8");
    CHECK_REFUSED("\x81\xa1"
                  "a\xa1\xff",
            "INVALID_UTF8");
    CHECK_REFUSED("\x81\xa1"
                  "a\xa1\0",
            "INVALID_UTF8");
    CHECK_REFUSED("\x81\xa9"
                  "a234567\0"
                  "9\xc0",
            "INVALID_UTF8");
    CHECK_REFUSED("\x81\xa1\xff\xc0", "INVALID_UTF8");
}
END_TEST

/* Text is looked at eight bytes at a time: each byte at each place of each length. */
START_TEST(bytes_are_escaped_wherever_they_stand)
{
    for (size_t len = 1; len <= 20; len++) {
        for (size_t at = 0; at < len; at++) {
            for (unsigned byte = 1; byte < 256; byte++) {
                bool escaped = byte < 0x20 || byte == '"' || byte == '\\';
                struct tally_writer writer;
                struct tally_buf buf;
                char text[21];

                memset(text, 'a', len);
                text[at] = (char)byte;
                tally_buf_init(&buf, 64);
                tally_write_begin(&writer, &buf, TALLY_FORMAT_JSON);
                tally_write_string(&writer, tally_slice_of(text, len));
                ck_assert(!buf.failed);
                ck_assert_uint_eq(buf.data[0], '"');
                ck_assert_uint_eq(buf.data[buf.len - 1], '"');
                ck_assert_uint_eq(buf.data[1 + at], escaped ? '\\' : byte);
                ck_assert_int_eq(memcmp(buf.data + 1, text, at), 0);
                ck_assert_int_eq(memcmp(buf.data + buf.len - (len - at), text + at + 1,
                                         len - at - 1),
                        0);
                ck_assert(escaped ? buf.len > len + 2 : buf.len == len + 2);
                tally_buf_deinit(&buf);
            }
        }
    }
}
END_TEST

START_TEST(surrogate_escapes_come_in_pairs)
{
    const struct tally_token *root;
    enum tally_refusal refusal;

    CHECK_REFUSED("{\"a\":\"\\ud83d\"}", "INVALID_UTF8");
    CHECK_REFUSED("{\"a\":\"\\ude00\"}", "INVALID_UTF8");
    CHECK_REFUSED("{\"a\":\"\\ude00\\ud83d\"}", "INVALID_UTF8");
    CHECK_REFUSED("{\"a\":\"\\ud83dx\"}", "INVALID_UTF8");
    CHECK_REFUSED("{\"a\":\"\\ud83d\\u0041\"}", "INVALID_UTF8");
    CHECK_REFUSED("{\"a\":\"\\ud83d\\n\"}", "INVALID_UTF8");
    CHECK_REFUSED("{\"a\":\"\\ud83d\\\\ude00\"}", "INVALID_UTF8");
    CHECK_REFUSED("{\"\\uD83D\":1}", "INVALID_UTF8");
    CHECK_REFUSED("{\"a\":\"\\\\ud83d\"}", "NONE");
    ck_assert_int_eq(tally_document_parse(TALLY_SLICE("{\"\\\"k\\\\\":\"\\uD83D\\ude00\\u00e9\\/"
                                                      "\\b\"}"),
                             &arena, &root, &refusal, &err),
            TALLY_OK);
    ck_assert(tally_slice_equal(root[1].string, TALLY_SLICE("\"k\\")));
    ck_assert(tally_slice_equal(root[2].string, TALLY_SLICE("\xf0\x9f\x98\x80\xc3\xa9/\b")));
}
END_TEST

START_TEST(msgpack_is_bounded)
{
    CHECK_REFUSED("\x81", "MALFORMED_MSGPACK");
    CHECK_REFUSED("\x81\xa1", "MALFORMED_MSGPACK");
    CHECK_REFUSED("\x81\xa1"
                  "a",
            "MALFORMED_MSGPACK");
    CHECK_REFUSED("\x80\x80", "MALFORMED_MSGPACK");
    CHECK_REFUSED("\x81\x01\x01", "MALFORMED_MSGPACK");
    CHECK_REFUSED("\x81\x80\x01", "MALFORMED_MSGPACK");
    CHECK_REFUSED("\x81\xc0\x01", "MALFORMED_MSGPACK");
    CHECK_REFUSED("\xde\xff\xff\xa1"
                  "a\x01",
            "MALFORMED_MSGPACK");
    CHECK_REFUSED("\xdf\xff\xff\xff\xff\xa1"
                  "a\x01",
            "MALFORMED_MSGPACK");
    CHECK_REFUSED("\xdf\x80\0\0\0\xa1"
                  "a\x01",
            "MALFORMED_MSGPACK");
    CHECK_REFUSED("\x81\xa1"
                  "a\xdd\xff\xff\xff\xff",
            "MALFORMED_MSGPACK");
    CHECK_REFUSED("\x81\xa1"
                  "a\xdb\xff\xff\xff\xff",
            "MALFORMED_MSGPACK");
    CHECK_REFUSED("\x81\xa1"
                  "a\xc4\x01x",
            "MALFORMED_MSGPACK");
    CHECK_REFUSED("\x81\xa1"
                  "a\xd4\x01x",
            "MALFORMED_MSGPACK");
    CHECK_REFUSED("\x81\xa1"
                  "a\xc7\x01\x01x",
            "MALFORMED_MSGPACK");
    CHECK_REFUSED("\x81\xa1"
                  "a\xc1",
            "MALFORMED_MSGPACK");
    CHECK_REFUSED("\x81\xa1"
                  "a\xd3\0\0\0",
            "MALFORMED_MSGPACK");
    CHECK_REFUSED("\x81\xa1"
                  "a\xd9",
            "MALFORMED_MSGPACK");
}
END_TEST

START_TEST(every_cut_is_refused)
{
    static const char json[] = "{\"a\":[1,{\"b\":\"\\u00e9\"},null,true],\"c\":-12}";
    struct tally_buf buf;
    const struct tally_token *root;
    enum tally_refusal refusal;

    tally_buf_init(&buf, 4096);
    ck_assert_int_eq(tally_document_parse(tally_slice_string(json), &arena, &root, &refusal, &err),
            TALLY_OK);
    tally_token_write(root, TALLY_FORMAT_MSGPACK, &buf);
    for (size_t len = 0; len < sizeof json - 1; len++) {
        ck_assert_int_ne(refusal_of_copy(json, len), TALLY_REFUSAL_NONE);
    }
    for (size_t len = 0; len < buf.len; len++) {
        ck_assert_int_ne(refusal_of_copy(buf.data, len), TALLY_REFUSAL_NONE);
    }
    tally_buf_deinit(&buf);
}
END_TEST

START_TEST(names_stand_once)
{
    CHECK_REFUSED("{\"a\":1,\"a\":1}", "DUPLICATE_FIELD");
    CHECK_REFUSED("{\"a\":1,\"b\":{},\"\\u0061\":1}", "DUPLICATE_FIELD");
    CHECK_REFUSED("{\"x\":[{\"a\":1,\"a\":1}]}", "DUPLICATE_FIELD");
    CHECK_REFUSED("{\"a\":{\"a\":{\"a\":1}}}", "NONE");
    CHECK_REFUSED("{\"\":1,\"\":1}", "DUPLICATE_FIELD");
    CHECK_REFUSED("\x82\xa1"
                  "a\x01\xa1"
                  "a\x01",
            "DUPLICATE_FIELD");
    CHECK_REFUSED("\x82\xa1"
                  "a\x01\xd9\x01"
                  "a\x01",
            "DUPLICATE_FIELD");
    ck_assert_ptr_nonnull(strstr(err.message, "\"a\""));
    ck_assert_ptr_nonnull(strstr(err.message, "byte 8"));
}
END_TEST

/* A map of `count` members whose names begin alike, in MessagePack; the last name repeats
 * `twice`. */
static void write_members(struct tally_buf *buf, uint32_t count, uint32_t twice)
{
    struct tally_writer writer;
    char name[32];

    tally_write_begin(&writer, buf, TALLY_FORMAT_MSGPACK);
    tally_write_map(&writer, count);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "name %05" PRIu32, i == count - 1 ? twice : i * 7919 % 65536);
        tally_write_name(&writer, name);
        tally_write_null(&writer);
    }
}

START_TEST(a_double_name_is_found_among_many)
{
    static const uint32_t counts[] = {2, 3, 24, 25, 32, 33, 48, 49, 100, 1000, 65000};
    struct tally_buf buf;

    limit_memory();
    tally_buf_init(&buf, TALLY_DOCUMENT_BYTES_MAX);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        for (uint32_t at = 0; at < counts[i] - 1; at += 1 + counts[i] / 5) {
            tally_buf_clear(&buf);
            write_members(&buf, counts[i], at * 7919 % 65536);
            ck_assert_int_eq(refusal_of(tally_buf_bytes(&buf)), TALLY_REFUSAL_DUPLICATE_FIELD);
            tally_arena_reset(&arena, 1u << 20);
        }
        tally_buf_clear(&buf);
        write_members(&buf, counts[i], 99999);
        ck_assert_int_eq(refusal_of(tally_buf_bytes(&buf)), TALLY_REFUSAL_NONE);
        tally_arena_reset(&arena, 1u << 20);
    }
    tally_buf_deinit(&buf);
}
END_TEST

/* `depth` containers, the document included. */
static enum tally_refusal refusal_of_depth(int depth)
{
    char json[256] = "{\"a\":", msgpack[64] = "\x81\xa1"
                                              "a";
    enum tally_refusal refusal;

    memset(json + 5, '[', (size_t)depth - 1);
    memset(json + 5 + depth - 1, ']', (size_t)depth - 1);
    strncat(json, "}", 2);
    memset(msgpack + 3, 0x91, (size_t)depth - 2);
    msgpack[3 + depth - 2] = (char)0x90;
    refusal = refusal_of(tally_slice_string(json));
    ck_assert_int_eq(refusal_of(tally_slice_of(msgpack, (size_t)depth + 2)), refusal);
    return refusal;
}

START_TEST(depth_is_limited)
{
    char deep[100000];

    ck_assert_int_eq(refusal_of_depth(16), TALLY_REFUSAL_NONE);
    ck_assert_int_eq(refusal_of_depth(17), TALLY_REFUSAL_OVER_LIMIT);
    memset(deep, '[', sizeof deep);
    memcpy(deep, "{\"a\":", 5);
    ck_assert_int_eq(refusal_of(tally_slice_of(deep, sizeof deep)), TALLY_REFUSAL_OVER_LIMIT);
    memset(deep, 0x91, sizeof deep);
    memcpy(deep,
            "\x81\xa1"
            "a",
            3);
    ck_assert_int_eq(refusal_of(tally_slice_of(deep, sizeof deep)), TALLY_REFUSAL_OVER_LIMIT);
}
END_TEST

/* One member that holds an array of `items` zeros. */
static enum tally_refusal refusal_of_items(uint32_t items)
{
    struct tally_buf buf;
    struct tally_writer writer;
    enum tally_refusal refusal[2];

    for (int format = TALLY_FORMAT_JSON; format <= TALLY_FORMAT_MSGPACK; format++) {
        tally_buf_init(&buf, TALLY_DOCUMENT_BYTES_MAX);
        tally_write_begin(&writer, &buf, (enum tally_format)format);
        tally_write_map(&writer, 1);
        tally_write_name(&writer, "a");
        tally_write_array(&writer, items);
        for (uint32_t i = 0; i < items; i++) {
            tally_write_int(&writer, 0);
        }
        refusal[format] = refusal_of(tally_buf_bytes(&buf));
        tally_buf_deinit(&buf);
    }
    ck_assert_int_eq(refusal[0], refusal[1]);
    return refusal[0];
}

START_TEST(elements_are_limited)
{
    limit_memory();
    ck_assert_int_eq(refusal_of_items(65535), TALLY_REFUSAL_NONE);
    ck_assert_int_eq(refusal_of_items(65536), TALLY_REFUSAL_OVER_LIMIT);
    ck_assert_int_eq(refusal_of_items(500000), TALLY_REFUSAL_OVER_LIMIT);
}
END_TEST

START_TEST(bytes_are_limited)
{
    size_t size = TALLY_DOCUMENT_BYTES_MAX;
    uint8_t *bytes = tally_alloc(size + 1);

    limit_memory();
    memset(bytes, 'x', size + 1);
    memcpy(bytes, "{\"a\":\"", 6);
    memcpy(bytes + size - 2, "\"}", 2);
    ck_assert_int_eq(refusal_of(tally_slice_of(bytes, size)), TALLY_REFUSAL_NONE);
    ck_assert_int_eq(refusal_of(tally_slice_of(bytes, size + 1)), TALLY_REFUSAL_OVER_LIMIT);
    memset(bytes + 6, '\\', size - 8);
    ck_assert_int_eq(refusal_of(tally_slice_of(bytes, size)), TALLY_REFUSAL_NONE);
    ck_assert_int_eq(refusal_of(tally_slice_of(bytes, size - 1)), TALLY_REFUSAL_MALFORMED_JSON);
    tally_free(bytes);
}
END_TEST

/* The fewest bytes that ask for the most: the limits stop all of them early. */
START_TEST(hostile_counts_take_no_memory)
{
    uint8_t bytes[150];

    limit_memory();
    for (unsigned type = 0; type < 256; type++) {
        memset(bytes, 0xff, sizeof bytes);
        memcpy(bytes,
                "\x81\xa1"
                "a",
                3);
        bytes[3] = (uint8_t)type;
        (void)refusal_of(tally_slice_of(bytes, sizeof bytes));
        bytes[0] = (uint8_t)type;
        (void)refusal_of(tally_slice_of(bytes, sizeof bytes));
    }
    for (size_t i = 3; i + 5 < sizeof bytes; i += 5) {
        memcpy(bytes + i, "\xdd\x7f\xff\xff\xff", 5);
    }
    memcpy(bytes,
            "\x81\xa1"
            "a",
            3);
    ck_assert_int_ne(refusal_of(tally_slice_of(bytes, sizeof bytes)), TALLY_REFUSAL_NONE);
    ck_assert_uint_lt(tally_arena_size(&arena), 1u << 20);
}
END_TEST

START_TEST(a_tree_is_flat_with_skips)
{
    const struct tally_token *root, *b;
    enum tally_refusal refusal;

    ck_assert_int_eq(tally_document_parse(TALLY_SLICE("{\"a\":[1,[2,3],{}],\"b\":{\"c\":true},"
                                                      "\"d\":null}"),
                             &arena, &root, &refusal, &err),
            TALLY_OK);
    ck_assert_uint_eq(root->count, 3);
    ck_assert_uint_eq(root->skip, 14);
    ck_assert_uint_eq(root[2].count, 3);
    ck_assert_uint_eq(root[2].skip, 6);
    b = tally_token_member(root, "b");
    ck_assert_ptr_eq(b, tally_token_next(&root[2]) + 1);
    ck_assert_int_eq(tally_token_member(b, "c")->integer, 1);
    ck_assert_int_eq(tally_token_member(root, "d")->type, TALLY_NULL);
    ck_assert_ptr_null(tally_token_member(root, "c"));
    ck_assert_ptr_null(tally_token_member(root, ""));
    ck_assert_ptr_null(tally_token_member(b + 1, "c"));
}
END_TEST

/* --- fingerprints ------------------------------------------------------------------------------
 */

static bool skip_envelope(struct tally_slice name)
{
    return tally_slice_equal(name, TALLY_SLICE("type")) ||
           tally_slice_equal(name, TALLY_SLICE("command_id"));
}

static uint64_t fingerprint_of(const char *type, struct tally_slice bytes)
{
    const struct tally_token *root;
    enum tally_refusal refusal;

    ck_assert_int_eq(tally_document_parse(bytes, &arena, &root, &refusal, &err), TALLY_OK);
    return tally_fingerprint(tally_slice_string(type), root, skip_envelope, &arena);
}
#define JSON_FINGERPRINT(type, json) fingerprint_of(type, TALLY_SLICE(json))

START_TEST(a_fingerprint_is_the_published_one)
{
    const uint64_t published = UINT64_C(0x39697258b434eb87);

    ck_assert_uint_eq(JSON_FINGERPRINT("ReceiveStock", "{\"type\":\"ReceiveStock\",\"command_id\":"
                                                       "\"c-1\",\"sku\":\"TS-RED-M\","
                                                       "\"warehouse\":\"AMS1\",\"quantity\":5}"),
            published);
    ck_assert_uint_eq(JSON_FINGERPRINT("ReceiveStock",
                              "{ \"quantity\" : 5, "
                              "\"warehouse\":\"\\u0041MS1\",\"sku\":\"TS-RED-M\"}"),
            published);
    ck_assert_uint_eq(fingerprint_of("ReceiveStock",
                              TALLY_SLICE("\xde\0\x03\xda\0\x03sku\xd9\x08TS-RED-M\xa9warehouse\xa4"
                                          "AMS1\xa8quantity\xd3\0\0\0\0\0\0\0\x05")),
            published);
    ck_assert_uint_ne(JSON_FINGERPRINT("ReceiveStock",
                              "{\"sku\":\"TS-RED-M\",\"warehouse\":\"AMS1\",\"quantity\":6}"),
            published);
    ck_assert_uint_ne(JSON_FINGERPRINT("ReturnStock",
                              "{\"sku\":\"TS-RED-M\",\"warehouse\":\"AMS1\",\"quantity\":5}"),
            published);
}
END_TEST

START_TEST(a_fingerprint_sees_values_not_order)
{
    ck_assert_uint_eq(JSON_FINGERPRINT("T", "{\"a\":{\"x\":1,\"y\":[1,2]},\"b\":null}"),
            JSON_FINGERPRINT("T", "{\"b\":null,\"a\":{\"y\":[1,2],\"x\":1}}"));
    ck_assert_uint_ne(JSON_FINGERPRINT("T", "{\"a\":[1,2]}"),
            JSON_FINGERPRINT("T", "{\"a\":[2,1]}"));
    ck_assert_uint_ne(JSON_FINGERPRINT("T", "{\"a\":null}"), JSON_FINGERPRINT("T", "{}"));
    ck_assert_uint_ne(JSON_FINGERPRINT("T", "{\"a\":\"1\"}"), JSON_FINGERPRINT("T", "{\"a\":1}"));
    ck_assert_uint_ne(JSON_FINGERPRINT("T", "{\"a\":\"bc\"}"),
            JSON_FINGERPRINT("T", "{\"ab\":\"c\"}"));
    ck_assert_uint_eq(JSON_FINGERPRINT("T",
                              "{\"u\":1,\"sku_long_name_1\":2,\"sku_long_name_0\":3}"),
            JSON_FINGERPRINT("T", "{\"sku_long_name_0\":3,\"u\":1,\"sku_long_name_1\":2}"));
}
END_TEST

START_TEST(a_fingerprint_of_many_members_sees_no_order)
{
    struct tally_buf forth, back;
    struct tally_writer writer;
    char name[32];

    tally_buf_init(&forth, TALLY_DOCUMENT_BYTES_MAX);
    tally_buf_init(&back, TALLY_DOCUMENT_BYTES_MAX);
    for (int pass = 0; pass < 2; pass++) {
        tally_write_begin(&writer, pass ? &back : &forth,
                pass ? TALLY_FORMAT_JSON : TALLY_FORMAT_MSGPACK);
        tally_write_map(&writer, 1000);
        for (int i = 0; i < 1000; i++) {
            snprintf(name, sizeof name, "n%d", pass ? 999 - i : i);
            tally_write_name(&writer, name);
            tally_write_string(&writer, tally_slice_string(name));
        }
    }
    ck_assert_uint_eq(fingerprint_of("T", tally_buf_bytes(&forth)),
            fingerprint_of("T", tally_buf_bytes(&back)));
    tally_buf_deinit(&forth);
    tally_buf_deinit(&back);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("serde");
    TCase *tests = tcase_create("serde");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 30);
    tcase_add_test(tests, the_first_byte_tells_the_format);
    tcase_add_test(tests, no_token_begins_behind_the_document);
    tcase_add_test(tests, json_is_strict);
    tcase_add_test(tests, numbers_are_int64);
    tcase_add_test(tests, strings_are_utf8_without_nul);
    tcase_add_test(tests, bytes_are_escaped_wherever_they_stand);
    tcase_add_test(tests, surrogate_escapes_come_in_pairs);
    tcase_add_test(tests, msgpack_is_bounded);
    tcase_add_test(tests, every_cut_is_refused);
    tcase_add_test(tests, names_stand_once);
    tcase_add_test(tests, a_double_name_is_found_among_many);
    tcase_add_test(tests, depth_is_limited);
    tcase_add_test(tests, elements_are_limited);
    tcase_add_test(tests, bytes_are_limited);
    tcase_add_test(tests, hostile_counts_take_no_memory);
    tcase_add_test(tests, a_tree_is_flat_with_skips);
    tcase_add_test(tests, a_fingerprint_is_the_published_one);
    tcase_add_test(tests, a_fingerprint_sees_values_not_order);
    tcase_add_test(tests, a_fingerprint_of_many_members_sees_no_order);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
