/* schemas/catalogue_glance.c - a product's slug and version, without reading what is between them:
 * who only wants to know whether a large product has changed pays for a few bytes of it.
 *   product_id slug ... version created_at updated_at
 * Invariants
 *  (1) What is told here, parsing the document would have told too, if this program has written it:
 *      members have one order, and a time has one length.
 *  (2) Everything else gives false; nothing outside of the document is read. */
#include "schemas/catalogue_records.h"

enum { DIGITS_MAX = 18 }; /* more may be no int64 */

/* The bytes before an id, a slug, a version and the dates, and behind the last of them. */
struct form {
    struct tally_slice id, slug, version, created, updated, end;
};
#define TEXT(literal)                                   \
    {                                                   \
        (const uint8_t *)(literal), sizeof(literal) - 1 \
    }
static const struct form json = {TEXT("{\"product_id\":\""), TEXT("\",\"slug\":\""),
        TEXT(",\"version\":"), TEXT(",\"created_at\":\""), TEXT("\",\"updated_at\":\""),
        TEXT("\"}")};
static const struct form msgpack = {TEXT("\x8c\xaaproduct_id"), TEXT("\xa4slug"),
        TEXT("\xa7version"),
        TEXT("\xaa"
             "created_at\xb8"),
        TEXT("\xaaupdated_at\xb8"), TEXT("")};

static bool take_front(struct tally_slice *left, struct tally_slice bytes)
{
    if (!tally_slice_starts(*left, bytes)) {
        return false;
    }
    *left = tally_slice_of(left->data + bytes.len, left->len - bytes.len);
    return true;
}

static bool take_back(struct tally_slice *left, struct tally_slice bytes)
{
    if (left->len < bytes.len || (bytes.len > 0 && memcmp(left->data + left->len - bytes.len,
                                                           bytes.data, bytes.len) != 0)) {
        return false;
    }
    left->len -= bytes.len;
    return true;
}

static bool drop_time(struct tally_slice *left)
{
    bool enough = left->len >= TALLY_TIME_LEN;

    left->len -= enough ? TALLY_TIME_LEN : 0;
    return enough;
}

/* --- MessagePack ------------------------------------------------------------------------------ */

/* A string of at most 255 bytes: more is no id and no slug. */
static bool take_string(struct tally_slice *left, struct tally_slice *text)
{
    size_t head = left->len > 0 && left->data[0] == 0xd9 ? 2 : 1, len;

    if (left->len < head || (head == 1 && (left->data[0] & 0xe0) != 0xa0)) {
        return false;
    }
    len = head == 2 ? left->data[1] : left->data[0] & 0x1f;
    if (left->len < head + len) {
        return false;
    }
    *text = tally_slice_of(left->data + head, len);
    *left = tally_slice_of(left->data + head + len, left->len - head - len);
    return true;
}

/* The number that ends the bytes, of which all before it is the name. Only one width fits: the
 * name's first byte is the head of none. */
static bool take_number(struct tally_slice *left, int64_t *number)
{
    static const uint8_t heads[] = {0xcc, 0xcd, 0xce, 0xcf};
    const uint8_t *end = left->data + left->len;
    struct tally_slice before = {left->data, left->len - (left->len > 0)};

    if (left->len > 0 && end[-1] <= 0x7f && take_back(&before, msgpack.version)) {
        *number = end[-1];
        return true;
    }
    for (size_t i = 0; i < sizeof heads; i++) {
        size_t width = (size_t)1 << i;
        uint64_t value = 0;

        if (left->len <= width || end[-(ptrdiff_t)width - 1] != heads[i]) {
            continue;
        }
        before = tally_slice_of(left->data, left->len - width - 1);
        if (!take_back(&before, msgpack.version)) {
            continue;
        }
        for (const uint8_t *at = end - width; at < end; at++) {
            value = value << 8 | *at;
        }
        *number = (int64_t)value;
        return value <= INT64_MAX;
    }
    return false;
}

/* --- JSON ------------------------------------------------------------------------------------- */

/* An id or a slug: neither has anything that would be escaped. */
static bool take_quoted(struct tally_slice *left, struct tally_slice *text)
{
    const uint8_t *end = memchr(left->data, '"', left->len);

    if (!end || memchr(left->data, '\\', (size_t)(end - left->data))) {
        return false;
    }
    *text = tally_slice_of(left->data, (size_t)(end - left->data));
    *left = tally_slice_of(end, left->len - text->len);
    return true;
}

static bool take_digits(struct tally_slice *left, int64_t *number)
{
    size_t len = 0;

    while (len < left->len && len < DIGITS_MAX && left->data[left->len - len - 1] >= '0' &&
            left->data[left->len - len - 1] <= '9') {
        len++;
    }
    left->len -= len;
    return len > 0 && tally_parse_int(tally_slice_of(left->data + left->len, len), number) &&
           take_back(left, json.version);
}

bool catalogue_product_glance(struct tally_slice document, struct tally_slice *slug,
        int64_t *version)
{
    struct tally_slice left = document, id;
    const struct form *form = tally_slice_starts(left, json.id) ? &json : &msgpack;
    bool (*const take_text)(struct tally_slice *, struct tally_slice *) =
            form == &json ? take_quoted : take_string;
    bool (*const take_version)(struct tally_slice *, int64_t *) =
            form == &json ? take_digits : take_number;

    return take_front(&left, form->id) && take_text(&left, &id) && take_front(&left, form->slug) &&
           take_text(&left, slug) && take_back(&left, form->end) && drop_time(&left) &&
           take_back(&left, form->updated) && drop_time(&left) && take_back(&left, form->created) &&
           take_version(&left, version);
}
