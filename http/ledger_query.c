/* http/ledger_query.c - see ledger_query.h.
 * Invariants
 *  (1) Newest first: the ledger is read backwards from the last entry, or from the cursor.
 *  (2) Recorded time never falls as seq grows, so `from` ends the page and `to` is found by
 *      bisection (ledger_time.h).
 *  (3) A page reads at most SCANNED_MAX rows; one that found too few then still has a cursor. */
#include "http/ledger_query.h"

#include "http/ledger_time.h"
#include "http/problem.h"
#include "http/reading.h"
#include "http/stock_query.h"
#include "schemas/stock_records.h"

enum { KINDS_MAX = 32, SCANNED_MAX = 20000, FILTER_BYTES_MAX = 4096, SEQ_BYTES = 8 };

struct entry {
    uint64_t seq;
    struct stock_ledger_row row;
    struct entry *next;
};

/* One request: what it asks for, and what was found. */
struct ledger {
    struct tally_arena *arena;
    struct tally_slice sku, warehouse;
    bool kinds[KINDS_MAX], has_kinds;
    bool has_from, has_to;
    int64_t from_ms, to_ms;
    size_t limit;
    uint64_t below;          /* only entries with a lower seq */
    struct tally_buf filter; /* what a cursor is bound to */

    struct entry *first, *last;
    size_t count, scanned;
    uint64_t next_below; /* where the next page starts; 0: this is the last one */
    bool damaged;
};

static bool read_kinds(struct exchange *exchange, struct ledger *ledger)
{
    struct tally_slice rest = request_query(&exchange->request, "kind"), name;

    while (request_list_next(&rest, ',', &name)) {
        size_t kind = 0;

        while (stock_kind_names[kind] &&
                !tally_slice_equal(name, tally_slice_string(stock_kind_names[kind]))) {
            kind++;
        }
        if (!stock_kind_names[kind]) {
            problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
                    "kind: \"%.*s\" is no kind of ledger entry", (int)name.len,
                    (const char *)name.data);
            return false;
        }
        tally_assert(kind < KINDS_MAX);
        ledger->kinds[kind] = true;
        ledger->has_kinds = true;
    }
    return true;
}

static void add_filter(struct tally_buf *filter, struct tally_slice part)
{
    tally_buf_slice(filter, part);
    tally_buf_byte(filter, 0);
}

static bool read_cursor(struct exchange *exchange, struct ledger *ledger)
{
    static const char *const names[] = {"kind", "from", "to"};
    struct tally_slice text = request_query(&exchange->request, "cursor");
    struct tally_buf place;
    bool good;

    add_filter(&ledger->filter, TALLY_SLICE("ledger"));
    add_filter(&ledger->filter, ledger->sku);
    add_filter(&ledger->filter, ledger->warehouse);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        add_filter(&ledger->filter, request_query(&exchange->request, names[i]));
    }
    if (!text.data) {
        return true;
    }
    tally_buf_init(&place, CURSOR_PLACE_BYTES_MAX);
    good = cursor_unseal(exchange->cursor_key, tally_buf_bytes(&ledger->filter), text, &place) &&
           place.len == SEQ_BYTES;
    if (good) {
        ledger->below = tally_read_u64(place.data);
    } else {
        problem_answer(exchange, PROBLEM_INVALID_CURSOR, "the cursor is not of this query");
    }
    tally_buf_deinit(&place);
    return good;
}

static bool read_query(struct exchange *exchange, struct ledger *ledger)
{
    ledger->sku = exchange->request.params[0];
    ledger->warehouse = request_query(&exchange->request, "warehouse");
    ledger->below = UINT64_MAX;
    if (!ledger->warehouse.data || !stock_query_is_warehouse(ledger->warehouse)) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
                "warehouse: the name of one warehouse is required");
        return false;
    }
    return reading_limit(exchange, &ledger->limit) && read_kinds(exchange, ledger) &&
           reading_time(exchange, "from", &ledger->has_from, &ledger->from_ms) &&
           reading_time(exchange, "to", &ledger->has_to, &ledger->to_ms) &&
           read_cursor(exchange, ledger);
}

static enum tally_code scan(const struct ledger_place *place, uint64_t below, tally_row_fn row,
        void *context, struct tally_error *err)
{
    struct tally_key lower, upper;

    ledger_time_key(&lower, place, 0);
    ledger_time_key(&upper, place, below);
    return tally_read_scan(place->read, tally_key_bytes(&lower), tally_key_bytes(&upper), true, row,
            context, err);
}

/* Lowers `below` to the first entry recorded at or after `to`. */
static enum tally_code bisect(const struct ledger_place *place, struct ledger *ledger,
        struct tally_error *err)
{
    uint64_t newest;
    enum tally_code code = ledger_time_newest(place, ledger->below, &newest, err);

    return code ? code : ledger_time_find(place, newest, ledger->to_ms, &ledger->below, err);
}

/* The row's strings borrow from a copy in the arena. */
static bool add_entry(void *context, struct tally_slice key, struct tally_slice value)
{
    struct ledger *ledger = context;
    uint64_t seq = tally_read_u64(key.data + key.len - SEQ_BYTES);
    struct stock_ledger_row row;
    struct entry *entry;

    if (!stock_ledger_unpack(value, &row)) {
        ledger->damaged = true;
        return false;
    }
    if (ledger->has_from && row.recorded_at < ledger->from_ms) {
        return false;
    }
    if (ledger->count == ledger->limit || ledger->scanned == SCANNED_MAX) {
        ledger->next_below = seq + 1;
        return false;
    }
    ledger->scanned++;
    if (ledger->has_kinds && (row.kind >= KINDS_MAX || !ledger->kinds[row.kind])) {
        return true;
    }
    entry = tally_arena_alloc(ledger->arena, sizeof *entry);
    *entry = (struct entry){.seq = seq};
    tally_assert(stock_ledger_unpack(tally_arena_copy(ledger->arena, value), &entry->row));
    *(ledger->last ? &ledger->last->next : &ledger->first) = entry;
    ledger->last = entry;
    ledger->count++;
    return true;
}

static enum tally_code read_ledger(struct tally_read *read, struct ledger *ledger, bool *exists,
        struct tally_error *err)
{
    struct ledger_place place = {.read = read, .sku = ledger->sku, .warehouse = ledger->warehouse};
    enum tally_code code = TALLY_OK;

    if (ledger->has_to) {
        code = bisect(&place, ledger, err);
    }
    if (!code) {
        code = scan(&place, ledger->below, add_entry, ledger, err);
    }
    if (!code && ledger->damaged) {
        code = tally_error_set(err, TALLY_STORE_CORRUPT, "a ledger entry is damaged");
    }
    *exists = ledger->count > 0;
    return code || *exists ? code : stock_query_sku_exists(read, ledger->sku, exists, err);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void write_string(struct tally_writer *writer, const char *name, struct tally_slice value)
{
    tally_write_name(writer, name);
    tally_write_string(writer, value);
}

static void write_int(struct tally_writer *writer, const char *name, int64_t value)
{
    tally_write_name(writer, name);
    tally_write_int(writer, value);
}

static void write_deltas(struct tally_writer *writer, const struct stock_ledger_row *row)
{
    uint32_t count = 0;

    for (size_t i = 0; i < STOCK_BUCKETS; i++) {
        count += row->deltas[i] != 0;
    }
    tally_write_name(writer, "deltas");
    tally_write_map(writer, count);
    for (size_t i = 0; i < STOCK_BUCKETS; i++) {
        if (row->deltas[i] != 0) {
            write_int(writer, stock_number_names[i], row->deltas[i]);
        }
    }
}

static void write_after(struct tally_writer *writer, const struct stock_ledger_row *row)
{
    struct stock_level_row level = {0};

    memcpy(level.n, row->after, sizeof level.n);
    tally_write_name(writer, "after");
    tally_write_map(writer, STOCK_NUMBERS);
    for (size_t i = 0; i < STOCK_BUCKETS; i++) {
        write_int(writer, stock_number_names[i], level.n[i]);
    }
    write_int(writer, stock_number_names[STOCK_AVAILABLE], stock_level_available(&level));
    write_int(writer, stock_number_names[STOCK_BACKORDERED], stock_level_backordered(&level));
}

struct cause_field {
    const char *name;
    struct tally_slice value;
};

static void write_cause(struct tally_writer *writer, const struct stock_ledger_row *row)
{
    const struct cause_field fields[] = {
            {"reservation_id", row->reservation_id},
            {"order_id", row->order_id},
            {"shipment_id", row->shipment_id},
            {"return_id", row->return_id},
            {"transfer_id", row->transfer_id},
    };
    uint32_t count = row->line != 0;

    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        count += fields[i].value.len > 0;
    }
    tally_write_name(writer, "cause");
    tally_write_map(writer, count);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (fields[i].value.len > 0) {
            write_string(writer, fields[i].name, fields[i].value);
        }
        if (i == 0 && row->line != 0) {
            write_int(writer, "line", row->line);
        }
    }
}

static void write_signals(struct tally_writer *writer, uint32_t signals)
{
    tally_write_name(writer, "signals");
    tally_write_array(writer, (uint32_t)__builtin_popcount(signals));
    for (size_t i = 0; i < 32; i++) {
        if (signals & (UINT32_C(1) << i)) {
            tally_write_string(writer, tally_slice_string(stock_signal_names[i]));
        }
    }
}

static bool has_cause(const struct stock_ledger_row *row)
{
    return row->reservation_id.len > 0 || row->order_id.len > 0 || row->shipment_id.len > 0 ||
           row->return_id.len > 0 || row->transfer_id.len > 0 || row->line != 0;
}

static void write_position(struct tally_writer *writer, const char *name, const char *topic,
        int32_t partition, int64_t offset)
{
    struct tally_buf text;

    tally_buf_init(&text, 512);
    tally_buf_format(&text, "%s/%d@%lld", topic, (int)partition, (long long)offset);
    write_string(writer, name, tally_buf_bytes(&text));
    tally_buf_deinit(&text);
}

static void write_event_id(struct tally_writer *writer, const char *topology, int32_t partition,
        int64_t offset)
{
    struct tally_buf text;

    tally_buf_init(&text, 256);
    tally_buf_format(&text, "%s/%d@%lld", topology, (int)partition, (long long)offset);
    write_string(writer, "event_id", tally_buf_bytes(&text));
    tally_buf_deinit(&text);
}

static void write_origin(struct tally_writer *writer, const struct stock_ledger_row *row,
        int32_t partition, const struct ledger_query_origin *origin)
{
    if (origin->command.len > 0) {
        write_string(writer, "command", origin->command);
    }
    if (origin->correlation_id.len > 0) {
        write_string(writer, "correlation_id", origin->correlation_id);
    }
    write_event_id(writer, origin->topology, partition, row->offset);
    if (origin->offset >= 0) {
        write_position(writer, "event_position", origin->topic, partition, origin->offset);
    } else {
        tally_write_name(writer, "event_position");
        tally_write_null(writer);
    }
}

void ledger_query_explained_json(struct tally_writer *writer, struct tally_slice sku,
        struct tally_slice warehouse, int64_t seq, const struct stock_ledger_row *row,
        const char *topic, int32_t partition, const struct ledger_query_origin *origin)
{
    const struct cause_field optional[] = {
            {"reason", stock_ledger_reason(row)},
            {"note", row->note},
            {"reference", row->reference},
            {"actor", row->actor},
    };
    uint32_t count = 10;

    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++) {
        count += optional[i].value.len > 0;
    }
    count += (uint32_t)has_cause(row) + (uint32_t)(row->signals != 0);
    if (origin) {
        count += 2 + (uint32_t)(origin->command.len > 0) +
                 (uint32_t)(origin->correlation_id.len > 0);
    }
    tally_write_map(writer, count);
    write_string(writer, "sku", sku);
    write_string(writer, "warehouse", warehouse);
    write_int(writer, "seq", seq);
    write_string(writer, "type", tally_slice_string(stock_event_schemas[row->type]->name));
    write_string(writer, "kind", tally_slice_string(stock_kind_names[row->kind]));
    write_deltas(writer, row);
    write_after(writer, row);
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++) {
        if (optional[i].value.len > 0) {
            write_string(writer, optional[i].name, optional[i].value);
        }
    }
    if (has_cause(row)) {
        write_cause(writer, row);
    }
    if (row->signals != 0) {
        write_signals(writer, row->signals);
    }
    write_string(writer, "command_id", row->command_id);
    tally_write_name(writer, "recorded_at");
    tally_write_time(writer, row->recorded_at);
    write_position(writer, "position", topic, partition, row->offset);
    if (origin) {
        write_origin(writer, row, partition, origin);
    }
}

void ledger_query_entry_json(struct tally_writer *writer, struct tally_slice sku,
        struct tally_slice warehouse, int64_t seq, const struct stock_ledger_row *row,
        const char *topic, int32_t partition)
{
    ledger_query_explained_json(writer, sku, warehouse, seq, row, topic, partition, NULL);
}

void ledger_query_of_event(const struct tally_event *event, struct stock_ledger_row *row)
{
    const struct stock_event *stock = event->body;

    *row = (struct stock_ledger_row){.type = (uint8_t)event->schema->id,
            .kind = stock->kind,
            .has_reason = stock->presence.present & TALLY_BIT(STOCK_EVENT_REASON),
            .reason = stock->reason,
            .signals = stock_event_signals(stock),
            .note = stock->note,
            .reference = stock->reference,
            .actor = event->actor,
            .command_id = event->command_id,
            .reservation_id = stock->cause.reservation_id,
            .order_id = stock->cause.order_id,
            .shipment_id = stock->cause.shipment_id,
            .return_id = stock->cause.return_id,
            .transfer_id = stock->cause.transfer_id,
            .line = stock->cause.line,
            .recorded_at = event->time_ms,
            .offset = event->command_offset};
    memcpy(row->deltas, stock->deltas.n, sizeof row->deltas);
    memcpy(row->after, stock->after.n, sizeof row->after);
}

static void answer(struct exchange *exchange, const struct ledger *ledger,
        const struct tally_read_info *info)
{
    uint8_t place[SEQ_BYTES];
    struct tally_writer writer;

    response_json(&exchange->response, 200, &writer);
    tally_write_map(&writer, 2);
    tally_write_name(&writer, "items");
    tally_write_array(&writer, (uint32_t)ledger->count);
    for (const struct entry *entry = ledger->first; entry; entry = entry->next) {
        ledger_query_entry_json(&writer, ledger->sku, ledger->warehouse, (int64_t)entry->seq,
                &entry->row, info->topic, info->partition);
    }
    tally_put_u64(place, ledger->next_below);
    reading_cursor_write(exchange, &writer, tally_buf_bytes(&ledger->filter),
            tally_slice_of(place, ledger->next_below > 0 ? sizeof place : 0));
}

/* An empty page would say that nothing has happened. */
bool ledger_query_is_kept(struct exchange *exchange)
{
    struct tally_topology *topology = reading_topology(exchange, TALLY_SLICE("stock"));

    if (!topology || tally_topology_keeps(topology, TALLY_STORE_LEDGER)) {
        return true;
    }
    problem_answer(exchange, PROBLEM_NOT_KEPT,
            "the ledger is in %s alone: stock.ledger is false here",
            tally_topology_events(topology));
    return false;
}

static void query(struct exchange *exchange, struct ledger *ledger)
{
    struct tally_read *read;
    struct tally_error err = {0};
    bool exists = false;
    enum tally_code code;

    if (!read_query(exchange, ledger) || !ledger_query_is_kept(exchange)) {
        return;
    }
    if (!stock_query_is_sku(ledger->sku)) {
        stock_query_unknown_sku(exchange, ledger->sku);
        return;
    }
    read = reading_open(exchange, "stock", ledger->sku, -1);
    if (!read) {
        return;
    }
    code = read_ledger(read, ledger, &exists, &err);
    if (code) {
        problem_error(exchange, code, &err);
    } else if (!exists) {
        stock_query_unknown_sku(exchange, ledger->sku);
    } else {
        answer(exchange, ledger, tally_read_info(read));
    }
    tally_read_close(read);
}

void ledger_query(struct exchange *exchange)
{
    struct ledger ledger = {.arena = &exchange->arena};

    tally_buf_init(&ledger.filter, FILTER_BYTES_MAX);
    query(exchange, &ledger);
    tally_buf_deinit(&ledger.filter);
}
