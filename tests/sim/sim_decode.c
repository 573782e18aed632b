/* tests/sim/sim_decode.c - see sim_decode.h. */
#include "tests/sim/sim_decode.h"

#include <stdlib.h>
#include <string.h>

static uint64_t big_endian(const uint8_t *from, size_t len)
{
    uint64_t value = 0;

    for (size_t i = 0; i < len; i++) {
        value = value << 8 | from[i];
    }
    return value;
}

/* The head of a value: bytes of head, bytes of its text, members that follow. */
struct head {
    size_t head, text, items;
};

static struct head sized(const uint8_t *at, size_t len_bytes, size_t per_item, bool items)
{
    size_t count = (size_t)big_endian(at + 1, len_bytes);

    return items ? (struct head){1 + len_bytes, 0, count * per_item}
                 : (struct head){1 + len_bytes, count, 0};
}

static struct head head_of(const uint8_t *at)
{
    uint8_t byte = at[0];

    if (byte <= 0x7f || byte >= 0xe0 || byte == 0xc0 || byte == 0xc2 || byte == 0xc3) {
        return (struct head){1, 0, 0};
    }
    if (byte <= 0x8f) {
        return (struct head){1, 0, 2 * (size_t)(byte & 15)};
    }
    if (byte <= 0x9f) {
        return (struct head){1, 0, byte & 15};
    }
    if (byte <= 0xbf) {
        return (struct head){1, byte & 31, 0};
    }
    switch (byte) {
    case 0xc4:
    case 0xd9:
        return sized(at, 1, 1, false);
    case 0xc5:
    case 0xda:
        return sized(at, 2, 1, false);
    case 0xc6:
    case 0xdb:
        return sized(at, 4, 1, false);
    case 0xcc:
    case 0xd0:
        return (struct head){2, 0, 0};
    case 0xcd:
    case 0xd1:
        return (struct head){3, 0, 0};
    case 0xca:
    case 0xce:
    case 0xd2:
        return (struct head){5, 0, 0};
    case 0xdc:
        return sized(at, 2, 1, true);
    case 0xdd:
        return sized(at, 4, 1, true);
    case 0xde:
        return sized(at, 2, 2, true);
    case 0xdf:
        return sized(at, 4, 2, true);
    default: /* 64-bit numbers */
        return (struct head){9, 0, 0};
    }
}

static const uint8_t *skip(const uint8_t *at)
{
    for (size_t left = 1; left > 0; left--) {
        struct head head = head_of(at);

        at += head.head + head.text;
        left += head.items;
    }
    return at;
}

static bool is_map(struct tally_slice value)
{
    return value.len > 0 && ((value.data[0] & 0xf0) == 0x80 || (value.data[0] & 0xfe) == 0xde);
}

struct tally_slice sim_text(struct tally_slice value)
{
    struct head head;

    if (value.len == 0) {
        return TALLY_NONE;
    }
    head = head_of(value.data);
    return tally_slice_of(value.data + head.head, head.text);
}

struct tally_slice sim_member(struct tally_slice map, const char *name)
{
    const uint8_t *at = map.data;
    struct head head;

    if (!is_map(map)) {
        return TALLY_NONE;
    }
    head = head_of(at);
    at += head.head;
    for (size_t i = 0; i < head.items; i += 2) {
        struct tally_slice key = sim_text(tally_slice_of(at, 1));
        const uint8_t *value = skip(at), *end = skip(value);

        if (key.len == strlen(name) && memcmp(key.data, name, key.len) == 0) {
            return tally_slice_of(value, (size_t)(end - value));
        }
        at = end;
    }
    return TALLY_NONE;
}

int64_t sim_integer(struct tally_slice value)
{
    uint8_t byte = value.len > 0 ? value.data[0] : 0xc0;

    if (byte <= 0x7f) {
        return byte;
    }
    if (byte >= 0xe0) {
        return (int8_t)byte;
    }
    switch (byte) {
    case 0xcc:
        return value.data[1];
    case 0xcd:
        return (int64_t)big_endian(value.data + 1, 2);
    case 0xce:
        return (int64_t)big_endian(value.data + 1, 4);
    case 0xcf:
    case 0xd3:
        return (int64_t)big_endian(value.data + 1, 8);
    case 0xd0:
        return (int8_t)value.data[1];
    case 0xd1:
        return (int16_t)big_endian(value.data + 1, 2);
    case 0xd2:
        return (int32_t)big_endian(value.data + 1, 4);
    default:
        return 0;
    }
}

/* "stock/0@12" */
static bool split_id(struct tally_slice id, struct sim_event *event)
{
    char text[64];
    char *slash, *at;

    if (id.len == 0 || id.len >= sizeof text) {
        return false;
    }
    memcpy(text, id.data, id.len);
    text[id.len] = 0;
    slash = strchr(text, '/');
    at = strchr(text, '@');
    if (!slash || !at || at < slash) {
        return false;
    }
    event->topology = tally_slice_of(id.data, (size_t)(slash - text));
    event->partition = (int32_t)strtol(slash + 1, NULL, 10);
    event->command_offset = strtoll(at + 1, NULL, 10);
    return true;
}

bool sim_event_decode(struct tally_slice value, struct sim_event *event)
{
    struct tally_slice payload = sim_member(value, "payload");

    *event = (struct sim_event){.type = sim_text(sim_member(value, "type"))};
    if (!split_id(sim_text(sim_member(value, "id")), event) || payload.len == 0) {
        return false;
    }
    event->command_id = sim_text(sim_member(value, "causation_id"));
    event->status = sim_text(sim_member(sim_member(payload, "outcome"), "status"));
    event->code = sim_text(sim_member(payload, "code"));
    event->sku = sim_text(sim_member(payload, "sku"));
    event->warehouse = sim_text(sim_member(payload, "warehouse"));
    event->seq = sim_integer(sim_member(payload, "seq"));
    event->completes_id = sim_text(sim_member(sim_member(payload, "completes"), "command_id"));
    event->completes_status = sim_text(sim_member(sim_member(payload, "completes"), "status"));
    event->on_hand = sim_integer(sim_member(sim_member(payload, "after"), "on_hand"));
    return true;
}

int32_t sim_partition_of(struct tally_slice key, int32_t partitions)
{
    const uint32_t m = 0x5bd1e995;
    uint32_t h = 0x9747b28c ^ (uint32_t)key.len;
    size_t i = 0;

    for (; i + 4 <= key.len; i += 4) {
        uint32_t k = (uint32_t)key.data[i] | (uint32_t)key.data[i + 1] << 8 |
                     (uint32_t)key.data[i + 2] << 16 | (uint32_t)key.data[i + 3] << 24;

        k *= m;
        k ^= k >> 24;
        h = (h * m) ^ (k * m);
    }
    for (size_t left = key.len - i; left > 0; left--) {
        h ^= (uint32_t)key.data[i + left - 1] << (8 * (left - 1));
        if (left == 1) {
            h *= m;
        }
    }
    h ^= h >> 13;
    h *= m;
    h ^= h >> 15;
    return (int32_t)(h & 0x7fffffff) % partitions;
}

struct tally_slice sim_json_member(struct tally_slice json, const char *name)
{
    char pattern[48];
    size_t len = strlen(name) + 3;
    const uint8_t *at, *end, *limit = json.data + json.len;

    if (json.len == 0 || len + 1 > sizeof pattern) {
        return TALLY_NONE;
    }
    pattern[0] = '"';
    memcpy(pattern + 1, name, len - 3);
    memcpy(pattern + len - 2, "\":", 3);
    at = memmem(json.data, json.len, pattern, len);
    if (!at) {
        return TALLY_NONE;
    }
    at += len;
    if (at < limit && *at == '"') {
        at++;
        end = memchr(at, '"', (size_t)(limit - at));
    } else {
        end = at;
        while (end < limit && *end != ',' && *end != '}') {
            end++;
        }
    }
    return end ? tally_slice_of(at, (size_t)(end - at)) : TALLY_NONE;
}
