/* http/graphql/graphql_fields.c - see graphql_fields.h: node, reservation, and what lists share. */
#include "http/graphql/graphql_fields.h"

#include "http/graphql/graphql_execute.h"
#include "schemas/reservation_records.h"

#define TOMBSTONE_KEPT_MS (INT64_C(7) * 24 * 3600 * 1000) /* as topologies/reservation/ keeps it */

/* --- lists ------------------------------------------------------------------------------------ */

struct graphql_out graphql_connection(struct graphql_call *call, const char *type,
        struct graphql_out nodes, struct tally_slice filter, struct tally_slice place)
{
    struct graphql_world *world = call->context;
    struct graphql_object *page = graphql_object_create(call->arena, "PageInfo", NULL, 2);
    struct graphql_object *connection = graphql_object_create(call->arena, type, NULL, 2);
    struct tally_buf cursor;

    graphql_object_bool(page, "hasNextPage", place.len > 0);
    if (place.len > 0) {
        tally_buf_init(&cursor, 2 * CURSOR_PLACE_BYTES_MAX);
        cursor_seal(world->exchange->cursor_key, filter, place, &cursor);
        graphql_object_text(page, "endCursor",
                tally_arena_copy(call->arena, tally_buf_bytes(&cursor)));
        tally_buf_deinit(&cursor);
    }
    graphql_object_set(connection, "nodes", nodes);
    graphql_object_set(connection, "pageInfo", graphql_out_object(page));
    return graphql_out_object(connection);
}

bool graphql_connection_after(struct graphql_call *call, struct tally_slice filter,
        struct tally_slice *place)
{
    struct graphql_world *world = call->context;
    struct tally_slice text = graphql_call_text(call, "after");
    struct tally_buf bytes;
    bool good;

    *place = TALLY_NONE;
    if (!text.data) {
        return true;
    }
    tally_buf_init(&bytes, CURSOR_PLACE_BYTES_MAX);
    good = cursor_unseal(world->exchange->cursor_key, filter, text, &bytes) && bytes.len > 0;
    *place = tally_arena_copy(call->arena, tally_buf_bytes(&bytes));
    tally_buf_deinit(&bytes);
    if (!good) {
        (void)graphql_call_fail(call, "INVALID_CURSOR", "after: the cursor is not of this query");
    }
    return good;
}

struct tally_slice graphql_member_text(const struct tally_token *map, const char *name)
{
    const struct tally_token *token = tally_token_member(map, name);

    return token && token->type == TALLY_STRING ? token->string : TALLY_NONE;
}

/* --- reservation ------------------------------------------------------------------------------ */

static struct graphql_out line_out(struct graphql_call *call, const struct reservation_line *line)
{
    struct graphql_object *object = graphql_object_create(call->arena, "ReservationLine", NULL, 6);

    graphql_object_int(object, "line", line->line);
    graphql_object_text(object, "sku", line->sku);
    graphql_object_int(object, "quantity", line->quantity);
    graphql_object_text(object, "warehouse",
            line->warehouse.len > 0 ? line->warehouse : TALLY_NONE);
    graphql_object_text(object, "state",
            tally_slice_string(reservation_line_state_names[line->state]));
    graphql_object_int(object, "shipped", line->shipped);
    return graphql_out_object(object);
}

static enum graphql_step damaged(struct graphql_call *call)
{
    return graphql_call_fail(call, "STORE_ERROR", "the reservation is damaged");
}

static enum graphql_step reservation_out(struct graphql_call *call, struct tally_slice id,
        const struct graphql_load *header, const struct graphql_load *lines,
        struct graphql_out *out)
{
    struct reservation_row row;
    struct graphql_object *object;
    struct graphql_out list, *items;

    if (!reservation_unpack(header->value, &row)) {
        return damaged(call);
    }
    if (row.attempt == 0 && row.updated_at + TOMBSTONE_KEPT_MS <= header->info->as_of_ms) {
        return GRAPHQL_DONE;
    }
    list = graphql_out_list(call->arena, lines->count, &items);
    for (size_t i = 0; i < lines->count; i++) {
        struct reservation_line line;

        if (!reservation_line_unpack(lines->rows[i].value, call->arena, &line)) {
            return damaged(call);
        }
        items[i] = line_out(call, &line);
    }
    object = graphql_object_create(call->arena, "Reservation", NULL, 7);
    graphql_object_text(object, "id", id);
    graphql_object_text(object, "state", tally_slice_string(reservation_state_names[row.state]));
    graphql_object_text(object, "owner", row.owner.len > 0 ? row.owner : TALLY_NONE);
    graphql_object_text(object, "orderId", row.order_id.len > 0 ? row.order_id : TALLY_NONE);
    if (row.expires_at > 0) {
        graphql_object_time(object, call->arena, "expiresAt", row.expires_at);
    }
    graphql_object_int(object, "version", row.version);
    graphql_object_set(object, "lines", list);
    *out = graphql_out_object(object);
    return GRAPHQL_DONE;
}

static enum graphql_step find_reservation(struct graphql_call *call, struct tally_slice id,
        struct graphql_out *out)
{
    struct graphql_reads *reads = &((struct graphql_world *)call->context)->reads;
    struct graphql_owner *owner;
    const struct graphql_load *header, *lines;
    struct tally_key key, lower, upper;
    struct tally_slice node;
    struct tally_buf text;

    if (!tally_text_is(id, TALLY_TEXT_ID)) {
        return GRAPHQL_DONE;
    }
    owner = graphql_reads_owner(reads, "reservation", id);
    tally_key_begin(&key, TALLY_STORE_RESERVATION);
    tally_key_tail(&key, id);
    tally_key_begin(&lower, TALLY_STORE_RESERVATION_LINE);
    tally_key_string(&lower, id);
    upper = tally_key_behind(lower);
    header = graphql_reads_row(reads, owner, &key);
    lines = graphql_reads_rows(reads, owner, &lower, &upper, false, RESERVATION_LINES_MAX);
    if (!header || !lines) {
        return GRAPHQL_AGAIN;
    }
    if (header->code == TALLY_NOT_FOUND) {
        return GRAPHQL_DONE;
    }
    if (header->code || lines->code) {
        return graphql_reads_fail(call, header->code ? header : lines);
    }
    tally_buf_init(&text, 256);
    tally_buf_format(&text, "Reservation:%.*s", (int)id.len, (const char *)id.data);
    node = tally_arena_copy(call->arena, tally_buf_bytes(&text));
    tally_buf_deinit(&text);
    return reservation_out(call, node, header, lines, out);
}

static enum graphql_step reservation(struct graphql_call *call, struct graphql_out *out)
{
    return find_reservation(call, graphql_call_text(call, "id"), out);
}

/* --- node ------------------------------------------------------------------------------------- */

static bool cut_prefix(struct tally_slice id, const char *prefix, struct tally_slice *key)
{
    size_t len = strlen(prefix);

    if (!tally_slice_starts(id, tally_slice_string(prefix))) {
        return false;
    }
    *key = tally_slice_of(id.data + len, id.len - len);
    return true;
}

static enum graphql_step node(struct graphql_call *call, struct graphql_out *out)
{
    struct tally_slice id = graphql_call_text(call, "id"), key;

    if (cut_prefix(id, "Product:", &key)) {
        return graphql_product_find(call, key, out);
    }
    if (cut_prefix(id, "Stock:", &key)) {
        return graphql_stock_find(call, key, NULL, out);
    }
    if (cut_prefix(id, "Reservation:", &key)) {
        return find_reservation(call, key, out);
    }
    return GRAPHQL_DONE;
}

void graphql_fields_bind(struct graphql_schema *schema)
{
    graphql_introspection_bind(schema);
    graphql_schema_bind(schema, "Query.node", node);
    graphql_schema_bind(schema, "Query.reservation", reservation);
    graphql_stock_bind(schema);
    graphql_ledger_bind(schema);
    graphql_product_bind(schema);
    graphql_low_stock_bind(schema);
    graphql_command_bind(schema);
    graphql_subscription_bind(schema);
}
