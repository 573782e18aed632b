/* schemas/event_internal.h - what the two readers of events share. */
#pragma once
#include "schemas/envelope_internal.h"
#include "schemas/serde_internal.h"

#define EVENT_VERSION "1.0"

/* Reads an event as tally_event_encode writes it: members in its order, none of them unknown. Such
 * an event is read without tokens, ten times as fast, into what event_read_tree makes of it. false:
 * anything else, right or wrong, and *event means nothing. topology, partition and key of *event
 * are set. */
bool event_scan(struct tally_slice value, const struct tally_schema *const *types,
        struct tally_arena *arena, struct tally_event *event);

/* Reads any event, by way of tokens; all of tally_event_decode. */
TALLY_MUST_CHECK enum tally_code event_read_tree(struct tally_slice value,
        const struct tally_schema *const *types, struct tally_arena *arena,
        struct tally_event *event, struct tally_error *err);

/* The number that eight lower-case hexadecimal digits give; without branches, because digits of a
 * hash cannot be predicted. */
static inline bool event_read_hex(const uint8_t *text, uint64_t *value)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t digits = tally_read_u64(text);
    uint64_t letters = digits >> 6 & ones;
    uint64_t nibbles = (digits & ones * 15) + 9 * letters;
    uint64_t above9 = (nibbles + ones * 6) >> 4 & ones;
    bool fine = ((nibbles | digits) & ones * 0x80) == 0 && (nibbles & ones * 0x70) == 0 &&
                nibbles + ones * '0' + ('a' - '0' - 10) * above9 == digits;

    nibbles = (nibbles | nibbles >> 4) & UINT64_C(0x00ff00ff00ff00ff);
    nibbles = (nibbles | nibbles >> 8) & UINT64_C(0x0000ffff0000ffff);
    *value = (nibbles | nibbles >> 16) & UINT32_MAX;
    return fine;
}

static inline bool event_read_fingerprint(struct tally_slice text, uint64_t *fingerprint)
{
    uint64_t high, low;

    if (text.len != 16 || !event_read_hex(text.data, &high) ||
            !event_read_hex(text.data + 8, &low)) {
        return false;
    }
    *fingerprint = high << 32 | low;
    return true;
}

static inline bool event_read_status(struct tally_slice text, enum tally_status *status)
{
    for (int i = TALLY_ACCEPTED; i <= TALLY_PENDING; i++) {
        if (serde_name_is(text, tally_status_name((enum tally_status)i))) {
            *status = (enum tally_status)i;
            return true;
        }
    }
    return false;
}
