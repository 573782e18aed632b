/* schemas/text.c - the forms that identifiers may have (domain: id, warehouse, slug, command id).
 */
#include "schemas/serde_internal.h"

enum { UPPER = 1, LOWER = 2, DIGIT = 4, DOT = 8, UNDERSCORE = 16, HYPHEN = 32, COLON = 64 };

#define FIVE(at, class)                                                               \
    [at] = (class), [(at) + 1] = (class), [(at) + 2] = (class), [(at) + 3] = (class), \
    [(at) + 4] = (class)
#define LETTERS(at, class)                                                                  \
    FIVE(at, class), FIVE((at) + 5, class), FIVE((at) + 10, class), FIVE((at) + 15, class), \
            FIVE((at) + 20, class), [(at) + 25] = (class)
static const uint8_t class_of[256] = {LETTERS('A', UPPER), LETTERS('a', LOWER), FIVE('0', DIGIT),
        FIVE('5', DIGIT), ['.'] = DOT, ['_'] = UNDERSCORE, ['-'] = HYPHEN, [':'] = COLON};

static inline bool all_of(struct tally_slice text, unsigned first, unsigned rest)
{
    if (text.len == 0 || !(class_of[text.data[0]] & first)) {
        return false;
    }
    for (size_t i = 1; i < text.len; i++) {
        if (!(class_of[text.data[i]] & rest)) {
            return false;
        }
    }
    return true;
}

/* Words of lower-case letters and digits, joined by single hyphens. */
static bool is_slug(struct tally_slice text)
{
    if (!all_of(text, LOWER | DIGIT, LOWER | DIGIT | HYPHEN) || text.data[text.len - 1] == '-') {
        return false;
    }
    for (size_t i = 1; i < text.len; i++) {
        if (text.data[i] == '-' && text.data[i - 1] == '-') {
            return false;
        }
    }
    return true;
}

size_t serde_text_max(enum tally_text kind)
{
    switch (kind) {
    case TALLY_TEXT_ANY:
        break;
    case TALLY_TEXT_ID:
    case TALLY_TEXT_COMMAND_ID:
        return 64;
    case TALLY_TEXT_WAREHOUSE:
        return 32;
    case TALLY_TEXT_SLUG:
        return 96;
    }
    return TALLY_DOCUMENT_BYTES_MAX;
}

const char *serde_text_check(struct tally_slice text, enum tally_text kind)
{
    switch (kind) {
    case TALLY_TEXT_ANY:
        return NULL;
    case TALLY_TEXT_ID:
        return all_of(text, UPPER | LOWER | DIGIT,
                       UPPER | LOWER | DIGIT | DOT | UNDERSCORE | HYPHEN)
                       ? NULL
                       : "letters, digits, '.', '_', '-', a letter or digit first";
    case TALLY_TEXT_WAREHOUSE:
        return all_of(text, UPPER | DIGIT, UPPER | DIGIT | UNDERSCORE | HYPHEN)
                       ? NULL
                       : "capital letters, digits, '_', '-', a letter or digit first";
    case TALLY_TEXT_SLUG:
        return is_slug(text) ? NULL : "words of lower-case letters and digits joined by '-'";
    case TALLY_TEXT_COMMAND_ID:
        return all_of(text, UPPER | LOWER | DIGIT | DOT | UNDERSCORE | HYPHEN | COLON,
                       UPPER | LOWER | DIGIT | DOT | UNDERSCORE | HYPHEN | COLON)
                       ? NULL
                       : "letters, digits, '.', '_', ':', '-'";
    }
    return NULL;
}

bool tally_text_is(struct tally_slice text, enum tally_text form)
{
    return text.len > 0 && text.len <= serde_text_max(form) && !serde_text_check(text, form);
}
