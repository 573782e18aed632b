/* schemas/operation.c - see operation.h. */
#include "schemas/operation.h"

#include "schemas/event_internal.h"
#include "schemas/serde_table.h"

const char *const tally_reply_formats[] = {"JSON", "MSGPACK", NULL};

static const struct tally_field reply_fields[] = {
        FIELD_ROW(struct tally_reply_to, TALLY_REPLY_TOPIC, topic, "topic", TEXT(1, 249), REQUIRED,
                "topic that takes the reply") //
        FIELD_ROW(struct tally_reply_to, TALLY_REPLY_PARTITION, partition, "partition",
                INT(0, INT32_MAX), OPTIONAL, "its partition; absent: by key") //
        FIELD_ROW(struct tally_reply_to, TALLY_REPLY_TEXT, correlation_id, "correlation_id",
                TEXT(0, TALLY_CORRELATION_MAX), OPTIONAL, "correlation id, where it is text") //
        FIELD_ROW(struct tally_reply_to, TALLY_REPLY_HEX, correlation_hex, "correlation_hex",
                TEXT(2, 2 * TALLY_CORRELATION_MAX), OPTIONAL,
                "correlation id in hexadecimal digits, where it is not") //
        FIELD_ROW(struct tally_reply_to, TALLY_REPLY_FORMAT, format, "format",
                ENUM(tally_reply_formats), REQUIRED, "format of the command, and of its reply") //
};
const struct tally_schema tally_reply_schema = {
        .name = "ReplyTo",
        .fields = reply_fields,
        .field_count = sizeof reply_fields / sizeof reply_fields[0],
        .size = sizeof(struct tally_reply_to),
        .help = "where the outcome of a saga goes",
};

static struct tally_slice print_hex(struct tally_slice bytes, struct tally_arena *arena)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t *text = tally_arena_alloc(arena, 2 * bytes.len + 1);

    for (size_t i = 0; i < bytes.len; i++) {
        text[2 * i] = (uint8_t)digits[bytes.data[i] >> 4];
        text[2 * i + 1] = (uint8_t)digits[bytes.data[i] & 15];
    }
    return tally_slice_of(text, 2 * bytes.len);
}

static uint8_t nibble(uint8_t digit)
{
    return (uint8_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

static bool is_text(struct tally_slice bytes)
{
    return tally_utf8_valid(bytes) && (bytes.len == 0 || !memchr(bytes.data, 0, bytes.len));
}

void tally_reply_set_correlation(struct tally_reply_to *reply, struct tally_slice correlation,
        struct tally_arena *arena)
{
    if (!correlation.data) {
        return;
    }
    if (is_text(correlation)) {
        reply->correlation_id = correlation;
        reply->presence.present |= TALLY_BIT(TALLY_REPLY_TEXT);
    } else {
        reply->correlation_hex = print_hex(correlation, arena);
        reply->presence.present |= TALLY_BIT(TALLY_REPLY_HEX);
    }
}

struct tally_slice tally_reply_correlation(const struct tally_reply_to *reply,
        struct tally_arena *arena)
{
    struct tally_slice digits = reply->correlation_hex;
    uint8_t *bytes;

    if (reply->presence.present & TALLY_BIT(TALLY_REPLY_TEXT)) {
        return reply->correlation_id;
    }
    if (!(reply->presence.present & TALLY_BIT(TALLY_REPLY_HEX))) {
        return TALLY_NONE;
    }
    bytes = tally_arena_alloc(arena, digits.len / 2 + 1);
    for (size_t i = 0; i + 1 < digits.len; i += 2) {
        bytes[i / 2] = (uint8_t)(nibble(digits.data[i]) << 4 | nibble(digits.data[i + 1]));
    }
    return tally_slice_of(bytes, digits.len / 2);
}

void tally_operation_of(const struct tally_command *command, struct tally_arena *arena,
        struct tally_operation *operation)
{
    uint8_t fingerprint[8];

    tally_put_u64(fingerprint, command->fingerprint);
    operation->presence.present |= TALLY_BIT(TALLY_OPERATION_ID) |
                                   TALLY_BIT(TALLY_OPERATION_COMMAND) |
                                   TALLY_BIT(TALLY_OPERATION_FINGERPRINT);
    operation->op_id = command->id;
    operation->command = command->type;
    operation->fingerprint = print_hex(tally_slice_of(fingerprint, sizeof fingerprint), arena);
}

bool tally_operation_completes(const struct tally_operation *operation, enum tally_status status,
        struct tally_completes *completes)
{
    *completes = (struct tally_completes){
            .command_id = operation->op_id,
            .stamp = {.command = operation->command, .status = status},
    };
    return event_read_fingerprint(operation->fingerprint, &completes->stamp.fingerprint);
}
