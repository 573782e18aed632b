/* test_websocket_frame.c - frames: the limits, what breaks RFC 6455, lengths at their edges, and
 * the answer to the handshake of its example. */
#include "http/websocket/websocket_frame.h"

#include <check.h>
#include <stdlib.h>

#include "http/websocket/websocket_handshake.h"

static struct websocket_reader reader;
static struct tally_buf bytes;
static struct websocket_message message;
static enum websocket_status status;

static void begin(void)
{
    websocket_reader_init(&reader);
    tally_buf_init(&bytes, 1024 * 1024);
    status = WEBSOCKET_OPEN;
}

static void end(void)
{
    websocket_reader_deinit(&reader);
    tally_buf_deinit(&bytes);
}

/* As a client sends it: masked. */
static void add(unsigned first, const char *text, size_t len)
{
    static const uint8_t mask[4] = {1, 2, 3, 4};
    uint8_t head[WEBSOCKET_HEAD_BYTES_MAX];
    size_t head_len = websocket_frame_head(WEBSOCKET_TEXT, len, head);

    head[0] = (uint8_t)first;
    head[1] |= 0x80;
    tally_buf_append(&bytes, head, head_len);
    tally_buf_append(&bytes, mask, sizeof mask);
    for (size_t i = 0; i < len; i++) {
        tally_buf_byte(&bytes, (uint8_t)((text ? text[i] : ' ') ^ mask[i % 4]));
    }
}

static bool next(void)
{
    struct tally_slice left = tally_buf_bytes(&bytes);
    bool whole = websocket_reader_next(&reader, &left, &message, &status);
    size_t taken = bytes.len - left.len;

    memmove(bytes.data, bytes.data + taken, left.len);
    bytes.len = left.len;
    return whole;
}

START_TEST(lengths_at_their_edges)
{
    static const size_t lengths[] = {0, 1, 125, 126, 127, 65535, 65536};

    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        add(0x81, NULL, lengths[i]);
        ck_assert(next());
        ck_assert_int_eq(message.opcode, WEBSOCKET_TEXT);
        ck_assert_uint_eq(message.payload.len, lengths[i]);
        for (size_t j = 0; j < lengths[i]; j++) {
            ck_assert_int_eq(message.payload.data[j], ' ');
        }
    }
    add(0x81, NULL, 65537);
    ck_assert(!next());
    ck_assert_int_eq(status, WEBSOCKET_TOO_BIG);
}
END_TEST

/* What is sent on before the close has arrived; a length over the limit once ended the process. */
START_TEST(nothing_is_read_after_an_error)
{
    add(0x81, NULL, 65537);
    add(0x81, "{}", 2);
    ck_assert(!next());
    ck_assert_int_eq(status, WEBSOCKET_TOO_BIG);
    ck_assert_uint_eq(bytes.len, 0);
    status = WEBSOCKET_OPEN;
    for (int i = 0; i < 10; i++) {
        add(0x01, NULL, 60000);
        ck_assert(!next());
        ck_assert_int_eq(status, WEBSOCKET_OPEN);
        ck_assert_uint_eq(bytes.len, 0);
    }
}
END_TEST

START_TEST(fragments_with_a_ping_between)
{
    add(0x01, "one ", 4);
    add(0x89, "?", 1);
    add(0x00, "two ", 4);
    add(0x80, "three", 5);
    ck_assert(next());
    ck_assert_int_eq(message.opcode, WEBSOCKET_PING);
    ck_assert(tally_slice_equal(message.payload, TALLY_SLICE("?")));
    ck_assert(next());
    ck_assert_int_eq(message.opcode, WEBSOCKET_TEXT);
    ck_assert(tally_slice_equal(message.payload, TALLY_SLICE("one two three")));
    ck_assert(!next());
    ck_assert_int_eq(status, WEBSOCKET_OPEN);
}
END_TEST

START_TEST(a_message_has_a_limit)
{
    add(0x01, NULL, 65536);
    add(0x00, NULL, 65536);
    add(0x00, NULL, 65536);
    add(0x00, NULL, 65536);
    ck_assert(!next());
    ck_assert_int_eq(status, WEBSOCKET_OPEN);
    add(0x80, NULL, 1);
    ck_assert(!next());
    ck_assert_int_eq(status, WEBSOCKET_TOO_BIG);
}
END_TEST

static const struct {
    const char *bytes;
    size_t len;
    enum websocket_status status;
} wrong[] = {
        {"\x81\x00", 2, WEBSOCKET_PROTOCOL_ERROR}, /* no mask */
        {"\xc1\x80", 2, WEBSOCKET_PROTOCOL_ERROR}, {"\x83\x80", 2, WEBSOCKET_PROTOCOL_ERROR},
        {"\x8b\x80", 2, WEBSOCKET_PROTOCOL_ERROR},
        {"\x80\x80", 2, WEBSOCKET_PROTOCOL_ERROR}, /* continues nothing */
        {"\x09\x80", 2, WEBSOCKET_PROTOCOL_ERROR}, /* a control frame in parts */
        {"\x89\xfe", 2, WEBSOCKET_PROTOCOL_ERROR}, /* a long one */
        {"\x82\x80", 2, WEBSOCKET_UNSUPPORTED},
        {"\x81\xfe\x00\x7d\x01\x02\x03\x04", 8, WEBSOCKET_PROTOCOL_ERROR}, /* not the shortest */
        {"\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff\x01\x02\x03\x04", 14, WEBSOCKET_PROTOCOL_ERROR},
        {"\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00\x01\x02\x03\x04", 14, WEBSOCKET_PROTOCOL_ERROR},
        {"\x81\xff\x00\x00\x00\x00\x80\x00\x00\x00\x01\x02\x03\x04", 14, WEBSOCKET_TOO_BIG},
        {"\x88\x81\x01\x02\x03\x04\x02", 7, WEBSOCKET_PROTOCOL_ERROR},     /* half a status */
        {"\x88\x82\x00\x00\x00\x00\x03\xed", 8, WEBSOCKET_PROTOCOL_ERROR}, /* 1005 */
        {"\x88\x83\x00\x00\x00\x00\x03\xe8\xff", 9, WEBSOCKET_INVALID_DATA},
        {"\x81\x81\x00\x00\x00\x00\xff", 7, WEBSOCKET_INVALID_DATA},
        {"\x81\x81\x00\x00\x00\x00\x00", 7, WEBSOCKET_INVALID_DATA}, /* a NUL */
};

START_TEST(what_breaks_the_protocol)
{
    tally_buf_append(&bytes, wrong[_i].bytes, wrong[_i].len);
    ck_assert(!next());
    ck_assert_int_eq(status, wrong[_i].status);
}
END_TEST

START_TEST(a_close_says_why)
{
    add(0x88, "\x0f\xa0why", 5);
    ck_assert(next());
    ck_assert_int_eq(message.opcode, WEBSOCKET_CLOSE);
    ck_assert_int_eq(message.status, 4000);
    add(0x88, NULL, 0);
    ck_assert(next());
    ck_assert_int_eq(message.status, WEBSOCKET_NO_STATUS);
    bytes.len = 0;
    websocket_frame_close(WEBSOCKET_SLOW, "slow", &bytes);
    ck_assert(tally_slice_equal(tally_buf_bytes(&bytes), TALLY_SLICE("\x88\x06\x03\xf5slow")));
}
END_TEST

START_TEST(accept_of_the_example)
{
    char accept[WEBSOCKET_ACCEPT_LEN + 1];

    websocket_handshake_accept(TALLY_SLICE("dGhlIHNhbXBsZSBub25jZQ=="), accept);
    ck_assert_str_eq(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("websocket_frame");
    TCase *tcase = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, begin, end);
    tcase_add_test(tcase, lengths_at_their_edges);
    tcase_add_test(tcase, fragments_with_a_ping_between);
    tcase_add_test(tcase, a_message_has_a_limit);
    tcase_add_loop_test(tcase, what_breaks_the_protocol, 0, sizeof wrong / sizeof *wrong);
    tcase_add_test(tcase, a_close_says_why);
    tcase_add_test(tcase, accept_of_the_example);
    tcase_add_test(tcase, nothing_is_read_after_an_error);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
