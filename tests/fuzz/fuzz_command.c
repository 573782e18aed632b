/* tests/fuzz/fuzz_command.c - any bytes as a command. What is accepted means the same in both
 * formats: the same fingerprint, the same key, the same fields. */
#include <stdlib.h>

#include "schemas/catalogue_records.h"
#include "schemas/reservation_records.h"
#include "schemas/serde_internal.h"
#include "schemas/stock_records.h"
#include "schemas/transfer_records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tally_arena arena;
static struct tally_command_shapes *shapes; /* of what came before; builds with checks compare */

static bool decode(struct tally_slice bytes, const struct tally_schema *const *types,
        struct tally_command *command)
{
    enum tally_refusal refusal;
    struct tally_error err;
    enum tally_code code =
            tally_command_decode_by(shapes, bytes, types, &arena, command, &refusal, &err);

    tally_assert((code == TALLY_OK) == (refusal == TALLY_REFUSAL_NONE));
    tally_assert(code == TALLY_OK || code == TALLY_BAD_RECORD);
    tally_assert(code == TALLY_OK || err.message[0]);
    return code == TALLY_OK;
}

static struct tally_slice encoded_fields(const struct tally_command *command)
{
    struct tally_buf out;
    struct tally_slice bytes;

    tally_buf_init(&out, 8 * TALLY_DOCUMENT_BYTES_MAX);
    tally_encode(command->schema, command->fields, TALLY_FORMAT_MSGPACK, &out);
    tally_assert(!out.failed);
    bytes = tally_arena_copy(&arena, tally_buf_bytes(&out));
    tally_buf_deinit(&out);
    return bytes;
}

/* The whole document again in the other format. */
static void check_other_format(struct tally_slice bytes, const struct tally_schema *const *types,
        const struct tally_command *command)
{
    const struct tally_token *root;
    enum tally_refusal refusal;
    struct tally_command other;
    struct tally_slice key, other_key;
    struct tally_buf out;
    bool keyed;

    tally_assert(tally_document_parse(bytes, &arena, &root, &refusal, NULL) == TALLY_OK);
    tally_buf_init(&out, 8 * TALLY_DOCUMENT_BYTES_MAX);
    tally_token_write(root,
            command->format == TALLY_FORMAT_JSON ? TALLY_FORMAT_MSGPACK : TALLY_FORMAT_JSON, &out);
    if (out.len <= TALLY_DOCUMENT_BYTES_MAX) {
        tally_assert(decode(tally_buf_bytes(&out), types, &other));
        tally_assert(other.format != command->format && other.flat == command->flat);
        tally_assert(other.fingerprint == command->fingerprint);
        tally_assert(tally_slice_equal(other.id, command->id));
        tally_assert((other.violations == NULL) == (command->violations == NULL));
        keyed = tally_command_key(command, &arena, &key);
        tally_assert(keyed == tally_command_key(&other, &arena, &other_key));
        tally_assert(!keyed || tally_slice_equal(key, other_key));
        if (command->schema && !command->violations) {
            tally_assert(tally_slice_equal(encoded_fields(command), encoded_fields(&other)));
        }
    }
    tally_buf_deinit(&out);
}

/* What the short way reads, the long one reads too, and the same. */
static void check_plain(struct tally_slice bytes)
{
    const struct tally_token *plain, *other;
    enum tally_refusal refusal;
    struct tally_buf texts[2];

    if (!serde_json_plain(bytes, &arena, &plain)) {
        return;
    }
    tally_assert(serde_json_parse(bytes, &arena, &other, &refusal, NULL) == TALLY_OK);
    tally_assert(plain->skip == other->skip);
    tally_buf_init(&texts[0], 8 * TALLY_DOCUMENT_BYTES_MAX);
    tally_buf_init(&texts[1], 8 * TALLY_DOCUMENT_BYTES_MAX);
    tally_token_write(plain, TALLY_FORMAT_JSON, &texts[0]);
    tally_token_write(other, TALLY_FORMAT_JSON, &texts[1]);
    tally_assert(tally_slice_equal(tally_buf_bytes(&texts[0]), tally_buf_bytes(&texts[1])));
    tally_buf_deinit(&texts[0]);
    tally_buf_deinit(&texts[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tally_schema *const *const families[] = {stock_command_schemas,
            catalogue_command_schemas, reservation_command_schemas, transfer_command_schemas};
    struct tally_slice bytes = tally_slice_of(size ? data : NULL, size);
    struct tally_command command;

    if (!arena.block_size) {
        tally_arena_init(&arena, 1u << 16);
        shapes = tally_command_shapes_create();
    }
    check_plain(bytes);
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        if (decode(bytes, families[i], &command)) {
            check_other_format(bytes, families[i], &command);
        }
    }
    tally_arena_reset(&arena, 1u << 20);
    return 0;
}
