/* tests/fuzz/fuzz_event.c - any bytes as a record of an events topic. What is read as an event is
 * written, read and written again to the same bytes, in both formats; and what event_scan reads,
 * event_read_tree reads alike. */
#include <stdlib.h>

#include "schemas/event_internal.h"
#include "schemas/reservation_records.h"
#include "schemas/stock_records.h"
#include "schemas/transfer_records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct family {
    const char *topology;
    const struct tally_schema *const *types;
};

static struct tally_arena arena;
static const struct family *family;

static enum tally_code decode(struct tally_slice bytes, struct tally_event *event)
{
    struct tally_error err;

    return tally_event_decode(bytes, TALLY_SLICE("key"), family->topology, 2, family->types, &arena,
            event, &err);
}

static struct tally_slice encode(const struct tally_event *event, enum tally_format format)
{
    struct tally_buf out;
    struct tally_slice bytes;

    tally_buf_init(&out, 8 * TALLY_DOCUMENT_BYTES_MAX);
    tally_event_encode(event, format, &out);
    tally_assert(!out.failed);
    bytes = tally_arena_copy(&arena, tally_buf_bytes(&out));
    tally_buf_deinit(&out);
    return bytes;
}

static void compare_readers(struct tally_slice bytes)
{
    const struct tally_event empty = {.topology = tally_slice_string(family->topology),
            .partition = 2,
            .key = TALLY_SLICE("key")};
    struct tally_event scanned = empty, read = empty;
    struct tally_error err;

    if (event_scan(bytes, family->types, &arena, &scanned)) {
        tally_assert(event_read_tree(bytes, family->types, &arena, &read, &err) == TALLY_OK);
        tally_assert(tally_slice_equal(encode(&scanned, TALLY_FORMAT_MSGPACK),
                encode(&read, TALLY_FORMAT_MSGPACK)));
    }
}

static void check_family(struct tally_slice bytes)
{
    struct tally_event event, again;
    struct tally_slice first, second;

    compare_readers(bytes);
    if (decode(bytes, &event) == TALLY_OK) {
        for (int format = TALLY_FORMAT_JSON; format <= TALLY_FORMAT_MSGPACK; format++) {
            first = encode(&event, (enum tally_format)format);
            if (first.len > TALLY_DOCUMENT_BYTES_MAX) {
                continue; /* escapes may make JSON longer than it was */
            }
            tally_assert(decode(first, &again) == TALLY_OK);
            second = encode(&again, (enum tally_format)format);
            tally_assert(tally_slice_equal(first, second));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct family families[] = {{"stock", stock_event_schemas},
            {"reservation", reservation_event_schemas}, {"transfer", transfer_event_schemas}};

    if (!arena.block_size) {
        tally_arena_init(&arena, 1u << 16);
    }
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        family = &families[i];
        check_family(tally_slice_of(size ? data : NULL, size));
    }
    tally_arena_reset(&arena, 1u << 20);
    return 0;
}
