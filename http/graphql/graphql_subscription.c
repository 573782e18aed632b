/* http/graphql/graphql_subscription.c - see graphql_subscription.h. */
#include "http/graphql/graphql_subscription.h"

#include "http/graphql/graphql_collect.h"
#include "http/graphql/graphql_fields.h"

enum { ID_BYTES_MAX = 512 };

static const struct tally_token *event_of(const struct graphql_call *call)
{
    return ((const struct graphql_world *)call->context)->event;
}

static void copy_text(struct graphql_object *object, const char *name,
        const struct tally_token *map, const char *member)
{
    struct tally_slice text = graphql_member_text(map, member);

    graphql_object_text(object, name, text.len > 0 ? text : TALLY_NONE);
}

/* Events leave out some numbers that are 0. */
static void copy_int(struct graphql_object *object, const char *name, const struct tally_token *map,
        const char *member)
{
    const struct tally_token *token = tally_token_member(map, member);

    graphql_object_int(object, name, token && token->type == TALLY_INT ? token->integer : 0);
}

static enum graphql_step stock_changed(struct graphql_call *call, struct graphql_out *out)
{
    if (event_of(call)) {
        *out = graphql_stock_level(call->arena, event_of(call));
    }
    return GRAPHQL_DONE;
}

static struct graphql_out line_out(struct graphql_call *call, const struct tally_token *line)
{
    struct graphql_object *object = graphql_object_create(call->arena, "ReservationLine", NULL, 6);

    copy_int(object, "line", line, "line");
    copy_text(object, "sku", line, "sku");
    copy_int(object, "quantity", line, "quantity");
    copy_text(object, "warehouse", line, "warehouse");
    copy_text(object, "state", line, "state");
    copy_int(object, "shipped", line, "shipped");
    return graphql_out_object(object);
}

static struct graphql_out lines_out(struct graphql_call *call, const struct tally_token *lines)
{
    bool there = lines && lines->type == TALLY_ARRAY;
    const struct tally_token *line = lines + 1;
    struct graphql_out list, *items;

    list = graphql_out_list(call->arena, there ? lines->count : 0, &items);
    for (uint32_t i = 0; there && i < lines->count; i++, line = tally_token_next(line)) {
        items[i] = line_out(call, line);
    }
    return list;
}

static struct tally_slice node_id(struct graphql_call *call, struct tally_slice key)
{
    struct tally_slice id;
    struct tally_buf text;

    tally_buf_init(&text, ID_BYTES_MAX);
    tally_buf_format(&text, "Reservation:%.*s", (int)key.len, (const char *)key.data);
    id = tally_arena_copy(call->arena, tally_buf_bytes(&text));
    tally_buf_deinit(&text);
    return id;
}

static enum graphql_step reservation_changed(struct graphql_call *call, struct graphql_out *out)
{
    const struct tally_token *event = event_of(call);
    struct graphql_object *object;

    if (!event) {
        return GRAPHQL_DONE;
    }
    object = graphql_object_create(call->arena, "Reservation", NULL, 7);
    graphql_object_text(object, "id", node_id(call, graphql_member_text(event, "reservation_id")));
    copy_text(object, "state", event, "state");
    copy_text(object, "owner", event, "owner");
    copy_text(object, "orderId", event, "order_id");
    copy_text(object, "expiresAt", event, "expires_at");
    copy_int(object, "version", event, "version");
    graphql_object_set(object, "lines", lines_out(call, tally_token_member(event, "lines")));
    *out = graphql_out_object(object);
    return GRAPHQL_DONE;
}

/* --- what is followed ------------------------------------------------------------------------- */

static struct tally_slice text_of(const struct graphql_planned *field, const char *name)
{
    const struct graphql_parameter *parameter =
            graphql_schema_parameter(field->field->parameters, tally_slice_string(name));
    const struct graphql_input *input = parameter ? field->arguments[parameter->index] : NULL;

    return input && input->kind != GRAPHQL_INPUT_NULL ? input->text : TALLY_NONE;
}

static void take_ids(const struct graphql_planned *field, struct tally_arena *arena,
        struct graphql_following *following)
{
    const struct graphql_parameter *parameter =
            graphql_schema_parameter(field->field->parameters, TALLY_SLICE("skus"));
    const struct graphql_input *list = parameter ? field->arguments[parameter->index] : NULL;
    size_t count = list ? list->count : 1;

    following->stock = parameter != NULL;
    following->ids = tally_arena_alloc(arena, (count + 1) * sizeof *following->ids);
    following->count = 0;
    if (!parameter) {
        following->ids[following->count++] = text_of(field, "id");
    }
    for (const struct graphql_input *sku = list ? list->first : NULL; sku; sku = sku->next) {
        following->ids[following->count++] = sku->text;
    }
}

bool graphql_subscription_read(const struct graphql_prepared *prepared,
        struct graphql_errors *errors, struct graphql_following *following)
{
    struct graphql_collector collector = {prepared->schema, prepared->bindings,
            prepared->document->fragment_count, errors->arena};
    const struct graphql_plan *plan = graphql_collect_root(&collector,
            prepared->schema->subscription, prepared->operation->selections);
    const struct graphql_planned *field = plan->fields;

    if (!field || field->problem) {
        graphql_errors_add(errors, GRAPHQL_INVALID, field ? field->at : prepared->operation->at,
                "%s", field ? field->problem : "The subscription selects nothing.");
        return false;
    }
    take_ids(field, errors->arena, following);
    following->from = text_of(field, "from");
    following->at = field->at;
    return true;
}

void graphql_subscription_bind(struct graphql_schema *schema)
{
    graphql_schema_bind(schema, "Subscription.stockChanged", stock_changed);
    graphql_schema_bind(schema, "Subscription.reservationChanged", reservation_changed);
}
