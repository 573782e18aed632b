/* apps/dlq_letter.c - see the header. */
#include "apps/dlq_letter.h"

#include <stdio.h>

#include "apps/tail_format.h"
#include "schemas/serde.h"

enum { KEY_SHOWN = 40, NAME_SHOWN = 24, ID_SHOWN = 40 };

const char *const dlq_state_names[] = {"open", "retried", "dropped"};

/* In the order in which the engine adds them; the last one only to a letter that was cut. */
enum added {
    EXCEPTION,
    MESSAGE,
    STAGE,
    TOPIC,
    PARTITION,
    OFFSET,
    ATTEMPT,
    FAILED_AT,
    TASK,
    CUT,
    ADDED
};
static const char *const added_names[ADDED] = {"__streams.errors.exception",
        "__streams.errors.message", "__streams.errors.stacktrace", "__streams.errors.topic",
        "__streams.errors.partition", "__streams.errors.offset", "tally.attempt",
        "tally.first-failed-at", "tally.task", "tally.cut"};

static bool is_added(const struct tally_header *header, enum added which)
{
    return tally_slice_equal(header->name, tally_slice_string(added_names[which]));
}

/* Whether the `length` headers at the end are those that the engine adds. */
static bool ends_with_added(const struct tally_header *headers, size_t count, size_t length)
{
    for (size_t i = 0; count >= length && i < length; i++) {
        if (!is_added(&headers[count - length + i], (enum added)i)) {
            return false;
        }
    }
    return count >= length;
}

static bool parse_number(struct tally_slice text, int64_t most, int64_t *number)
{
    return tally_parse_int(text, number) && *number >= 0 && *number <= most;
}

bool dlq_place_parse(struct tally_slice text, struct dlq_place *place)
{
    const uint8_t *at = text.len ? memchr(text.data, '@', text.len) : NULL;
    size_t len = at ? (size_t)(at - text.data) : 0;
    int64_t partition;

    if (!at || !parse_number(tally_slice_of(text.data, len), INT32_MAX, &partition) ||
            !parse_number(tally_slice_of(at + 1, text.len - len - 1), INT64_MAX, &place->offset)) {
        return false;
    }
    place->partition = (int32_t)partition;
    return true;
}

/* Type and id of what can be read as a document; nothing else is checked. */
static void peek(struct tally_slice value, struct tally_arena *arena, struct dlq_letter *letter)
{
    static const char *const ids[] = {"id", "command_id"};
    const struct tally_token *root = NULL, *token;
    enum tally_refusal refusal;

    if (tally_document_parse(value, arena, &root, &refusal, NULL) || root->type != TALLY_MAP) {
        return;
    }
    token = tally_token_member(root, "type");
    letter->type = token && token->type == TALLY_STRING ? token->string : TALLY_NONE;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0] && letter->id.len == 0; i++) {
        token = tally_token_member(root, ids[i]);
        letter->id = token && token->type == TALLY_STRING ? token->string : TALLY_NONE;
    }
}

static enum dlq_kind read_mark(const struct tally_record *record,
        const struct tally_header *headers, size_t count, struct dlq_letter *letter)
{
    for (size_t i = 0; i < count && !record->value.data; i++) {
        struct tally_slice text = headers[i].value;

        if (!tally_slice_equal(headers[i].name, TALLY_SLICE(DLQ_MARK_HEADER))) {
            continue;
        }
        for (int state = DLQ_RETRIED; state <= DLQ_DROPPED; state++) {
            size_t len = strlen(dlq_state_names[state]);

            if (tally_slice_starts(text, tally_slice_string(dlq_state_names[state])) &&
                    text.len > len && text.data[len] == ' ' &&
                    dlq_place_parse(tally_slice_of(text.data + len + 1, text.len - len - 1),
                            &letter->place)) {
                letter->state = (enum dlq_state)state;
                return DLQ_MARK;
            }
        }
    }
    return DLQ_FOREIGN;
}

enum dlq_kind dlq_letter_read(const struct tally_record *record, const struct tally_header *headers,
        size_t count, struct tally_arena *arena, struct dlq_letter *letter)
{
    bool cut = ends_with_added(headers, count, ADDED);
    int64_t partition;

    *letter = (struct dlq_letter){.place = {record->partition, record->offset},
            .key = record->key,
            .time_ms = record->timestamp_ms,
            .value_bytes = record->value.len};
    if (!cut && !ends_with_added(headers, count, CUT)) {
        return read_mark(record, headers, count, letter);
    }
    letter->own_headers = count - (cut ? ADDED : CUT);
    headers += letter->own_headers;
    letter->reason = headers[EXCEPTION].value;
    letter->detail = headers[MESSAGE].value;
    letter->stage = headers[STAGE].value;
    letter->origin_topic = headers[TOPIC].value;
    letter->cut = cut ? headers[CUT].value : TALLY_NONE;
    if (!parse_number(headers[PARTITION].value, INT32_MAX, &partition) ||
            !parse_number(headers[OFFSET].value, INT64_MAX, &letter->origin.offset)) {
        return DLQ_FOREIGN;
    }
    letter->origin.partition = (int32_t)partition;
    peek(record->value, arena, letter);
    return DLQ_LETTER;
}

void dlq_mark_format(const struct dlq_letter *letter, enum dlq_state state, char *text, size_t size)
{
    (void)snprintf(text, size, "%s %d@%lld", dlq_state_names[state], (int)letter->place.partition,
            (long long)letter->place.offset);
}

/* --- printing --------------------------------------------------------------------------------- */

void dlq_put_text(struct tally_slice bytes, size_t max, struct tally_buf *out)
{
    size_t begin = out->len;

    if (bytes.len == 0) {
        tally_buf_string(out, bytes.data ? "\"\"" : "-");
    }
    for (size_t i = 0; i < bytes.len; i++) {
        if (out->len - begin >= max) {
            tally_buf_string(out, "...");
            break;
        }
        if (bytes.data[i] > ' ' && bytes.data[i] < 0x7f && bytes.data[i] != '\\') {
            tally_buf_byte(out, bytes.data[i]);
        } else {
            tally_buf_format(out, "\\x%02x", bytes.data[i]);
        }
    }
}

static void put_age(int64_t age_ms, struct tally_buf *out)
{
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}};

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (age_ms >= units[i].ms) {
            tally_buf_format(out, "%lld%s", (long long)(age_ms / units[i].ms), units[i].unit);
            return;
        }
    }
    tally_buf_string(out, "0s");
}

void dlq_letter_line(const struct dlq_letter *letter, const char *topic, bool of_sink,
        int64_t now_ms, struct tally_buf *out)
{
    tally_buf_format(out, "%s/%d@%lld\t", topic, (int)letter->place.partition,
            (long long)letter->place.offset);
    if (letter->state != DLQ_OPEN) {
        tally_buf_format(out, "%s\t", dlq_state_names[letter->state]);
    }
    dlq_put_text(letter->reason, NAME_SHOWN, out);
    tally_buf_byte(out, '\t');
    put_age(now_ms - letter->time_ms, out);
    tally_buf_byte(out, '\t');
    dlq_put_text(letter->type, NAME_SHOWN, out);
    tally_buf_byte(out, '\t');
    dlq_put_text(letter->id, ID_SHOWN, out);
    tally_buf_string(out, "\tkey ");
    dlq_put_text(letter->key, KEY_SHOWN, out);
    tally_buf_string(out, "\tfrom ");
    if (of_sink) {
        dlq_put_text(letter->origin_topic, KEY_SHOWN, out);
        tally_buf_byte(out, '/');
    }
    tally_buf_format(out, "%d@%lld%s\n", (int)letter->origin.partition,
            (long long)letter->origin.offset, letter->cut.len ? "\tcut" : "");
}

static void write_text(struct tally_writer *writer, const char *name, struct tally_slice text,
        struct tally_arena *arena)
{
    tally_write_name(writer, name);
    if (text.data) {
        tally_write_string(writer, tail_format_text(text, arena));
    } else {
        tally_write_null(writer);
    }
}

static void write_place(struct tally_writer *writer, struct tally_slice topic,
        const struct dlq_place *place, struct tally_arena *arena)
{
    write_text(writer, "topic", topic, arena);
    tally_write_name(writer, "partition");
    tally_write_int(writer, place->partition);
    tally_write_name(writer, "offset");
    tally_write_int(writer, place->offset);
}

void dlq_letter_json(const struct dlq_letter *letter, const char *topic, bool of_sink,
        struct tally_arena *arena, struct tally_buf *out)
{
    struct tally_writer writer;

    tally_write_begin(&writer, out, TALLY_FORMAT_JSON);
    tally_write_map(&writer, 13);
    write_place(&writer, tally_slice_string(topic), &letter->place, arena);
    tally_write_name(&writer, "state");
    tally_write_string(&writer, tally_slice_string(dlq_state_names[letter->state]));
    write_text(&writer, "reason", letter->reason, arena);
    write_text(&writer, "detail", letter->detail, arena);
    tally_write_name(&writer, "time");
    tally_write_time(&writer, letter->time_ms > 0 ? letter->time_ms : 0);
    write_text(&writer, "type", letter->type, arena);
    write_text(&writer, of_sink ? "event_id" : "command_id", letter->id, arena);
    write_text(&writer, "key", letter->key, arena);
    tally_write_name(&writer, "bytes");
    tally_write_int(&writer, (int64_t)letter->value_bytes);
    write_text(&writer, "cut", letter->cut, arena);
    tally_write_name(&writer, "origin");
    tally_write_map(&writer, 3);
    write_place(&writer, letter->origin_topic, &letter->origin, arena);
    tally_buf_byte(out, '\n');
}
