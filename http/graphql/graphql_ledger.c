/* http/graphql/graphql_ledger.c - StockLevel.ledger, newest first, read backwards from the last
 * entry or from the cursor. With kinds, a page looks at SCANNED_MAX entries at most; one that found
 * too few among them still has a next page. */
#include "http/graphql/graphql_fields.h"
#include "schemas/stock_records.h"

enum { KINDS_MAX = 32, SCANNED_MAX = 2000, FILTER_BYTES_MAX = 4096, SEQ_BYTES = 8 };

struct ledger {
    struct graphql_call *call;
    struct tally_slice sku, warehouse;
    bool kinds[KINDS_MAX], has_kinds;
    size_t first;
    struct tally_slice filter, after; /* of the cursor */
};

/* How a level's data begins. */
struct level_names {
    struct tally_slice sku, warehouse;
};

static bool read_kinds(struct ledger *ledger)
{
    const struct graphql_input *kinds = graphql_call_argument(ledger->call, "kinds");

    ledger->has_kinds = kinds != NULL;
    for (const struct graphql_input *name = kinds ? kinds->first : NULL; name; name = name->next) {
        size_t kind = 0;

        while (stock_kind_names[kind] &&
                !tally_slice_equal(name->text, tally_slice_string(stock_kind_names[kind]))) {
            kind++;
        }
        if (!stock_kind_names[kind]) {
            (void)graphql_call_fail(ledger->call, "INVALID_PARAMETER",
                    "kinds: \"%.*s\" is no kind of ledger entry",
                    name->text.len < 64 ? (int)name->text.len : 64, (const char *)name->text.data);
            return false;
        }
        tally_assert(kind < KINDS_MAX);
        ledger->kinds[kind] = true;
    }
    return true;
}

static void make_filter(struct ledger *ledger)
{
    struct tally_buf filter;

    tally_buf_init(&filter, FILTER_BYTES_MAX);
    tally_buf_string(&filter, "graphql.ledger");
    tally_buf_byte(&filter, 0);
    tally_buf_slice(&filter, ledger->sku);
    tally_buf_byte(&filter, 0);
    tally_buf_slice(&filter, ledger->warehouse);
    tally_buf_byte(&filter, 0);
    for (size_t i = 0; ledger->has_kinds && i < KINDS_MAX; i++) {
        tally_buf_byte(&filter, ledger->kinds[i] ? '1' : '0');
    }
    ledger->filter = tally_arena_copy(ledger->call->arena, tally_buf_bytes(&filter));
    tally_buf_deinit(&filter);
}

static void entry_key(struct tally_key *key, const struct ledger *ledger, uint64_t seq)
{
    tally_key_begin(key, TALLY_STORE_LEDGER);
    tally_key_string(key, ledger->sku);
    tally_key_string(key, ledger->warehouse);
    tally_key_u64(key, seq);
}

static struct tally_slice or_null(struct tally_slice text)
{
    return text.len > 0 ? text : TALLY_NONE;
}

static struct graphql_out entry_out(struct graphql_call *call, uint64_t seq,
        const struct stock_ledger_row *row, const struct tally_read_info *info)
{
    struct graphql_object *object = graphql_object_create(call->arena, "LedgerEntry", NULL, 12);
    int64_t deltas[STOCK_NUMBERS] = {0}, after[STOCK_NUMBERS] = {0};
    struct stock_level_row level = {.version = 0};

    memcpy(deltas, row->deltas, sizeof row->deltas);
    memcpy(after, row->after, sizeof row->after);
    memcpy(level.n, row->after, sizeof level.n);
    after[STOCK_AVAILABLE] = stock_level_available(&level);
    after[STOCK_BACKORDERED] = stock_level_backordered(&level);
    graphql_object_int(object, "seq", (int64_t)seq);
    graphql_object_text(object, "type", tally_slice_string(stock_event_schemas[row->type]->name));
    graphql_object_text(object, "kind", tally_slice_string(stock_kind_names[row->kind]));
    graphql_object_set(object, "deltas", graphql_quantities(call->arena, deltas, NULL, false));
    graphql_object_set(object, "after", graphql_quantities(call->arena, after, NULL, true));
    graphql_object_text(object, "reason", or_null(stock_ledger_reason(row)));
    graphql_object_text(object, "note", or_null(row->note));
    graphql_object_text(object, "reference", or_null(row->reference));
    graphql_object_text(object, "commandId", row->command_id);
    graphql_object_text(object, "reservationId", or_null(row->reservation_id));
    graphql_object_time(object, call->arena, "recordedAt", row->recorded_at);
    graphql_object_text(object, "position", graphql_reads_position(call->arena, info, row->offset));
    return graphql_out_object(object);
}

static enum graphql_step page_out(const struct ledger *ledger, const struct graphql_load *rows,
        struct graphql_out *out)
{
    struct graphql_call *call = ledger->call;
    struct tally_slice place = TALLY_NONE;
    struct graphql_out nodes, *items;
    size_t count = 0, at = 0;

    nodes = graphql_out_list(call->arena, ledger->first, &items);
    for (; at < rows->count && count < ledger->first; at++) {
        struct tally_slice key = rows->rows[at].key;
        struct stock_ledger_row row;

        if (key.len < SEQ_BYTES || !stock_ledger_unpack(rows->rows[at].value, &row)) {
            return graphql_call_fail(call, "STORE_ERROR", "an entry of the ledger is damaged");
        }
        if (!ledger->has_kinds || ledger->kinds[row.kind]) {
            items[count++] = entry_out(call, tally_read_u64(key.data + key.len - SEQ_BYTES), &row,
                    rows->info);
        }
    }
    if (at > 0 && (at < rows->count || rows->more)) {
        struct tally_slice last = rows->rows[at - 1].key;

        place = tally_slice_of(last.data + last.len - SEQ_BYTES, SEQ_BYTES);
    }
    nodes.count = count;
    *out = graphql_connection(call, "LedgerConnection", nodes, ledger->filter, place);
    return GRAPHQL_DONE;
}

static enum graphql_step level_ledger(struct graphql_call *call, struct graphql_out *out)
{
    struct graphql_world *world = call->context;
    const struct level_names *level = call->source->data;
    struct ledger ledger = {.call = call, .sku = level->sku, .warehouse = level->warehouse};
    const struct graphql_input *first = graphql_call_argument(call, "first");
    const struct tally_config *config = tally_runtime_config(world->exchange->runtime);
    const struct graphql_load *rows;
    struct tally_key lower, upper;

    if (!config->stock_ledger) {
        return graphql_call_fail(call, "NOT_KEPT", "no ledger is kept: stock.ledger is false here");
    }
    ledger.first = first ? (size_t)first->integer : GRAPHQL_DEFAULT_FIRST;
    if (!read_kinds(&ledger)) {
        return GRAPHQL_DONE;
    }
    make_filter(&ledger);
    if (!graphql_connection_after(call, ledger.filter, &ledger.after)) {
        return GRAPHQL_DONE;
    }
    entry_key(&lower, &ledger, 0);
    entry_key(&upper, &ledger,
            ledger.after.len == SEQ_BYTES ? tally_read_u64(ledger.after.data) : UINT64_MAX);
    rows = graphql_reads_rows(&world->reads,
            graphql_reads_owner(&world->reads, "stock", level->sku), &lower, &upper, true,
            ledger.has_kinds ? SCANNED_MAX : ledger.first);
    if (!rows) {
        return GRAPHQL_AGAIN;
    }
    return rows->code ? graphql_reads_fail(call, rows) : page_out(&ledger, rows, out);
}

void graphql_ledger_bind(struct graphql_schema *schema)
{
    graphql_schema_bind(schema, "StockLevel.ledger", level_ledger);
}
