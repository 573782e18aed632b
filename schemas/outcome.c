/* schemas/outcome.c - outcomes: the errors of a rejection, the stored row, the record for replies.
 * Invariants
 *  (1) A row begins with the decision time, eight bytes big-endian: the store's age rule reads it.
 *  (2) Types and codes are stored by name, so a row outlives a change of the enums.
 *  (3) Unpacking a damaged row is an error, never a wrong answer beyond the row's bytes. */
#include <inttypes.h>
#include <stdio.h>

#include "schemas/envelope_internal.h"
#include "schemas/row_internal.h"

#define ROW_VERSION  1
#define POSITION_MAX 300 /* a topic has at most 249 bytes */

/* --- errors of a rejection
 * --------------------------------------------------------------------------- */

void tally_rejection_error(struct tally_buf *errors, const char *pointer, const char *code,
        const struct tally_meta *meta, size_t meta_count)
{
    struct tally_writer writer;

    tally_write_begin(&writer, errors, TALLY_FORMAT_MSGPACK);
    tally_write_array(&writer, 1);
    tally_write_map(&writer, 1u + (pointer != NULL) + (meta_count > 0));
    if (pointer) {
        tally_write_name(&writer, "pointer");
        tally_write_string(&writer, tally_slice_string(pointer));
    }
    tally_write_name(&writer, "code");
    tally_write_string(&writer, tally_slice_string(code));
    if (meta_count == 0) {
        return;
    }
    tally_write_name(&writer, "meta");
    tally_write_map(&writer, (uint32_t)meta_count);
    for (size_t i = 0; i < meta_count; i++) {
        tally_write_name(&writer, meta[i].name);
        if (meta[i].kind == TALLY_META_INT) {
            tally_write_int(&writer, meta[i].integer);
        } else {
            tally_write_string(&writer, meta[i].text);
        }
    }
}

void tally_rejection_violations(struct tally_buf *errors, const struct tally_violations *violations)
{
    struct tally_writer writer;

    tally_write_begin(&writer, errors, TALLY_FORMAT_MSGPACK);
    tally_write_array(&writer, (uint32_t)violations->count);
    for (size_t i = 0; i < violations->count; i++) {
        const struct tally_violation *violation = &violations->items[i];

        tally_write_map(&writer, 3);
        tally_write_name(&writer, "pointer");
        tally_write_string(&writer, tally_slice_string(violation->pointer));
        tally_write_name(&writer, "code");
        tally_write_string(&writer, tally_slice_string(violation->code));
        tally_write_name(&writer, "meta");
        tally_write_map(&writer, 1);
        tally_write_name(&writer, "detail");
        tally_write_string(&writer, tally_slice_string(violation->detail));
    }
}

/* --- rows
 * ------------------------------------------------------------------------------------------- */

void tally_outcome_pack(const struct tally_outcome *outcome, struct tally_buf *row)
{
    const struct tally_rejection *rejection = &outcome->rejection;
    struct tally_slice code =
            rejection->code ? tally_slice_string(tally_reject_name(rejection->code)) : TALLY_NONE;
    struct row_writer writer;

    row_begin(&writer, row,
            32 + 5 * ROW_VARINT_MAX + outcome->stamp.command.len + code.len +
                    rejection->detail.len + rejection->errors.len + outcome->memo.len);
    row_put_u64(&writer, (uint64_t)outcome->time_ms);
    row_put_u8(&writer, ROW_VERSION);
    row_put_u8(&writer, (uint8_t)outcome->stamp.status);
    row_put_u64(&writer, outcome->stamp.fingerprint);
    row_put_int(&writer, outcome->offset);
    row_put_text(&writer, outcome->stamp.command);
    row_put_text(&writer, code);
    row_put_text(&writer, rejection->detail);
    row_put_text(&writer, rejection->errors);
    row_put_text(&writer, outcome->memo);
    row_end(&writer);
}

enum tally_code tally_outcome_unpack(struct tally_slice row, struct tally_outcome *outcome,
        struct tally_error *err)
{
    struct row_reader reader = {.left = row, .fine = true};
    struct tally_slice code;
    uint8_t version, status;

    *outcome = (struct tally_outcome){0};
    outcome->time_ms = (int64_t)row_u64(&reader);
    version = row_u8(&reader);
    if (reader.fine && version != ROW_VERSION) {
        return tally_error_set(err, TALLY_STORE_OUTDATED, "outcome row has version %u, expected %d",
                version, ROW_VERSION);
    }
    status = row_u8(&reader);
    outcome->stamp.fingerprint = row_u64(&reader);
    outcome->offset = row_int(&reader);
    outcome->stamp.command = row_text(&reader);
    code = row_text(&reader);
    outcome->rejection.detail = row_text(&reader);
    outcome->rejection.errors = row_text(&reader);
    outcome->memo = row_text(&reader);
    outcome->rejection.code = code.len ? tally_reject_find(code) : TALLY_REJECT_NONE;
    if (!row_done(&reader) || status > TALLY_PENDING ||
            (code.len && outcome->rejection.code == TALLY_REJECT_NONE)) {
        return tally_error_set(err, TALLY_STORE_CORRUPT, "outcome row of %zu bytes is damaged",
                row.len);
    }
    outcome->stamp.status = (enum tally_status)status;
    return TALLY_OK;
}

/* --- the outcome record
 * ------------------------------------------------------------------------------ */

static void write_text(struct tally_writer *writer, const char *name, struct tally_slice text)
{
    tally_write_name(writer, name);
    tally_write_string(writer, text);
}

static void write_rejection(struct tally_writer *writer, const struct tally_rejection *rejection)
{
    tally_write_name(writer, "code");
    if (rejection->code) {
        tally_write_string(writer, tally_slice_string(tally_reject_name(rejection->code)));
    } else {
        tally_write_null(writer);
    }
    tally_write_name(writer, "retryable");
    tally_write_bool(writer, tally_reject_retryable(rejection->code));
    tally_write_name(writer, "detail");
    if (rejection->detail.len) {
        tally_write_string(writer, rejection->detail);
    } else {
        tally_write_null(writer);
    }
    tally_write_name(writer, "errors");
    envelope_write_errors(writer, rejection->errors);
}

/* That of the deciding command, then the further ones. */
static void write_position(struct tally_writer *writer, const struct tally_outcome_record *record)
{
    char first[POSITION_MAX];
    int len = snprintf(first, sizeof first, "%.*s/%" PRId32 "@%" PRId64, (int)record->topic.len,
            (const char *)record->topic.data, record->partition, record->outcome->offset);
    struct tally_buf all;

    tally_assert(len < (int)sizeof first);
    if (record->positions.len == 0) {
        write_text(writer, "position", tally_slice_of(first, (size_t)len));
        return;
    }
    tally_buf_init(&all, sizeof first + record->positions.len);
    tally_buf_append(&all, first, (size_t)len);
    tally_buf_slice(&all, record->positions);
    write_text(writer, "position", tally_buf_bytes(&all));
    tally_buf_deinit(&all);
}

void tally_outcome_write(const struct tally_outcome_record *record, enum tally_format format,
        struct tally_buf *out)
{
    const struct tally_outcome *outcome = record->outcome;
    struct tally_writer writer;

    tally_write_begin(&writer, out, format);
    tally_write_map(&writer, 13);
    write_text(&writer, "command_id", record->command_id);
    write_text(&writer, "type", outcome->stamp.command);
    write_text(&writer, "key", record->key);
    write_text(&writer, "status", tally_slice_string(tally_status_name(outcome->stamp.status)));
    write_rejection(&writer, &outcome->rejection);
    tally_write_name(&writer, "version");
    if (record->has_version) {
        tally_write_int(&writer, record->version);
    } else {
        tally_write_null(&writer);
    }
    write_position(&writer, record);
    tally_write_name(&writer, "time");
    tally_write_time(&writer, outcome->time_ms);
    tally_write_name(&writer, "result");
    if (record->result.len) {
        tally_write_raw(&writer, record->result);
    } else {
        tally_write_null(&writer);
    }
    tally_write_name(&writer, "duplicate");
    tally_write_bool(&writer, record->duplicate);
}
