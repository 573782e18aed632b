/* http/saga_query.c - see saga_query.h.
 * Invariants
 *  (1) An answer has the members of the aggregate's events, written by their table: whoever follows
 *      the events topic and whoever asks here read the same names.
 *  (2) The version, and so the entity tag, is known before lines are read. */
#include "http/saga_query.h"

#include "http/problem.h"
#include "http/reading.h"
#include "schemas/reservation_records.h"
#include "schemas/transfer_records.h"

#define TOMBSTONE_KEPT_MS (INT64_C(7) * 24 * 3600 * 1000) /* as topologies/reservation/ keeps it */

static void not_found(struct exchange *exchange, enum tally_reject code, const char *what)
{
    struct tally_slice id = exchange->request.params[0];

    problem_reject(exchange, code, NULL, "no %s \"%.*s\" is known", what, (int)id.len,
            (const char *)id.data);
}

/* The row of the id in the path. NULL: answered. */
static struct tally_read *open_row(struct exchange *exchange, const char *topology,
        enum tally_store_id store, enum tally_reject unknown, struct tally_slice *row)
{
    struct tally_slice id = exchange->request.params[0];
    struct tally_read *read;
    struct tally_key key;
    struct tally_error err = {0};
    enum tally_code code;

    if (!tally_text_is(id, TALLY_TEXT_ID)) {
        not_found(exchange, unknown, topology); /* nobody can have used it */
        return NULL;
    }
    read = reading_open(exchange, topology, id, -1);
    if (!read) {
        return NULL;
    }
    tally_key_begin(&key, store);
    tally_key_tail(&key, id);
    code = reading_row(exchange, read, &key, row, &err);
    if (!code) {
        return read;
    }
    if (code == TALLY_NOT_FOUND) {
        not_found(exchange, unknown, topology);
    } else {
        problem_error(exchange, code, &err);
    }
    tally_read_close(read);
    return NULL;
}

static void damaged(struct exchange *exchange, const char *what)
{
    struct tally_slice id = exchange->request.params[0];
    struct tally_error err = {0};

    problem_error(exchange,
            tally_error_set(&err, TALLY_STORE_CORRUPT, "%s \"%.*s\" is damaged", what, (int)id.len,
                    (const char *)id.data),
            &err);
}

/* --- reservations ----------------------------------------------------------------------------- */

struct line_list {
    struct tally_arena *arena;
    struct reservation_line *items;
    size_t count;
    bool damaged;
};

static bool add_line(void *context, struct tally_slice key, struct tally_slice value)
{
    struct line_list *list = context;

    (void)key;
    list->damaged = list->count == RESERVATION_LINES_MAX ||
                    !reservation_line_unpack(tally_arena_copy(list->arena, value), list->arena,
                            &list->items[list->count]);
    list->count++;
    return !list->damaged;
}

static enum tally_code read_lines(struct exchange *exchange, struct tally_read *read,
        struct line_list *list, struct tally_error *err)
{
    struct tally_key lower, upper;

    list->arena = &exchange->arena;
    list->items = tally_arena_alloc(list->arena, RESERVATION_LINES_MAX * sizeof *list->items);
    tally_key_begin(&lower, TALLY_STORE_RESERVATION_LINE);
    tally_key_string(&lower, exchange->request.params[0]);
    upper = tally_key_behind(lower);
    return tally_read_scan(read, tally_key_bytes(&lower), tally_key_bytes(&upper), false, add_line,
            list, err);
}

static void answer_reservation(struct exchange *exchange, const struct reservation_row *row,
        const struct line_list *lines)
{
    struct reservation_event event = {
            .presence.present =
                    TALLY_BIT(RESERVATION_EVENT_RESERVATION_ID) |
                    TALLY_BIT(RESERVATION_EVENT_VERSION) | TALLY_BIT(RESERVATION_EVENT_STATE) |
                    TALLY_BIT(RESERVATION_EVENT_TTL_S) | TALLY_BIT(RESERVATION_EVENT_ATTEMPT) |
                    TALLY_BIT(RESERVATION_EVENT_PENDING) | TALLY_BIT(RESERVATION_EVENT_LINES),
            .reservation_id = exchange->request.params[0],
            .version = row->version,
            .state = row->state,
            .owner = row->owner,
            .order_id = row->order_id,
            .ttl_s = row->ttl_s,
            .attempt = row->attempt,
            .pending = row->pending,
            .expires_at = row->expires_at,
            .lines = {.items = lines->items, .count = lines->count},
    };

    if (row->owner.len > 0) {
        event.presence.present |= TALLY_BIT(RESERVATION_EVENT_OWNER);
    }
    if (row->order_id.len > 0) {
        event.presence.present |= TALLY_BIT(RESERVATION_EVENT_ORDER_ID);
    }
    if (row->expires_at > 0) {
        event.presence.present |= TALLY_BIT(RESERVATION_EVENT_EXPIRES_AT);
    }
    response_begin(&exchange->response, 200, RESPONSE_JSON);
    tally_encode(reservation_event_schemas[RESERVATION_WAS_CONFIRMED], &event, TALLY_FORMAT_JSON,
            &exchange->response.body);
}

static bool is_forgotten(const struct reservation_row *row, const struct tally_read_info *info)
{
    return row->attempt == 0 && row->updated_at + TOMBSTONE_KEPT_MS <= info->as_of_ms;
}

void saga_query_reservation(struct exchange *exchange)
{
    struct reservation_row reservation;
    struct line_list lines = {.count = 0};
    struct tally_slice row;
    struct tally_error err = {0};
    enum tally_code code = TALLY_OK;
    struct tally_read *read = open_row(exchange, "reservation", TALLY_STORE_RESERVATION,
            TALLY_REJECT_RESERVATION_NOT_FOUND, &row);

    if (!read) {
        return;
    }
    if (!reservation_unpack(row, &reservation)) {
        damaged(exchange, "reservation");
    } else if (is_forgotten(&reservation, tally_read_info(read))) {
        not_found(exchange, TALLY_REJECT_RESERVATION_NOT_FOUND, "reservation");
    } else if (!reading_not_modified(exchange, tally_read_info(read)->partition,
                       reservation.version)) {
        code = read_lines(exchange, read, &lines, &err);
        if (code) {
            problem_error(exchange, code, &err);
        } else if (lines.damaged) {
            damaged(exchange, "reservation");
        } else {
            answer_reservation(exchange, &reservation, &lines);
        }
    }
    tally_read_close(read);
}

/* --- transfers -------------------------------------------------------------------------------- */

static void answer_transfer(struct exchange *exchange, const struct transfer_row *row)
{
    const struct transfer_event event = {
            .presence.present =
                    TALLY_BIT(TRANSFER_EVENT_TRANSFER_ID) | TALLY_BIT(TRANSFER_EVENT_VERSION) |
                    TALLY_BIT(TRANSFER_EVENT_STATE) | TALLY_BIT(TRANSFER_EVENT_SKU) |
                    TALLY_BIT(TRANSFER_EVENT_QUANTITY) | TALLY_BIT(TRANSFER_EVENT_FROM) |
                    TALLY_BIT(TRANSFER_EVENT_TO) | TALLY_BIT(TRANSFER_EVENT_RECEIVED) |
                    TALLY_BIT(TRANSFER_EVENT_RETURNED) | TALLY_BIT(TRANSFER_EVENT_LOST),
            .transfer_id = exchange->request.params[0],
            .version = row->version,
            .state = row->state,
            .sku = row->sku,
            .quantity = row->quantity,
            .from = row->from,
            .to = row->to,
            .received = row->received,
            .returned = row->returned,
            .lost = row->lost,
    };

    response_begin(&exchange->response, 200, RESPONSE_JSON);
    tally_encode(transfer_event_schemas[TRANSFER_WAS_DISPATCHED], &event, TALLY_FORMAT_JSON,
            &exchange->response.body);
}

void saga_query_transfer(struct exchange *exchange)
{
    struct transfer_row transfer;
    struct tally_slice row;
    struct tally_read *read = open_row(exchange, "transfer", TALLY_STORE_TRANSFER,
            TALLY_REJECT_TRANSFER_NOT_FOUND, &row);

    if (!read) {
        return;
    }
    if (!transfer_unpack(row, &transfer)) {
        damaged(exchange, "transfer");
    } else if (!reading_not_modified(exchange, tally_read_info(read)->partition,
                       transfer.version)) {
        answer_transfer(exchange, &transfer);
    }
    tally_read_close(read);
}
