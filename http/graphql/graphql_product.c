/* http/graphql/graphql_product.c - Product and Variant.
 *   slug --whose is it?--> product_id --the product's row--> Product
 * A slug that a product once had leads to it too; one that an operation has claimed and not yet got
 * leads nowhere. */
#include "http/graphql/graphql_fields.h"
#include "http/problem.h"
#include "schemas/catalogue_records.h"

enum { TEXT_BYTES_MAX = 256, JSON_BYTES_MAX = 512 * 1024, FILTER_BYTES_MAX = 4096 };

struct variant_data {
    const struct graphql_object *product;
    const struct catalogue_variant *variant;
};

/* --- objects ---------------------------------------------------------------------------------- */

static struct graphql_out json_out(struct graphql_call *call, const struct tally_token *token)
{
    struct graphql_out out = {.kind = GRAPHQL_OUT_JSON, .text = TALLY_SLICE("{}")};
    struct tally_buf text;

    if (token) {
        tally_buf_init(&text, JSON_BYTES_MAX);
        tally_token_write(token, TALLY_FORMAT_JSON, &text);
        out.text = tally_arena_copy(call->arena, tally_buf_bytes(&text));
        tally_buf_deinit(&text);
    }
    return out;
}

static struct graphql_out texts_out(struct graphql_call *call, const struct tally_array *texts)
{
    const struct tally_slice *text = texts->items;
    struct graphql_out list, *items;

    list = graphql_out_list(call->arena, texts->count, &items);
    for (size_t i = 0; i < texts->count; i++) {
        items[i] = graphql_out_text(text[i]);
    }
    return list;
}

static struct graphql_out variants_out(struct graphql_call *call,
        const struct graphql_object *product, const struct tally_array *variants)
{
    const struct catalogue_variant *variant = variants->items;
    struct graphql_out list, *items;

    list = graphql_out_list(call->arena, variants->count, &items);
    for (size_t i = 0; i < variants->count; i++) {
        struct variant_data *data = tally_arena_alloc(call->arena, sizeof *data);
        struct graphql_object *object = graphql_object_create(call->arena, "Variant", data, 2);

        *data = (struct variant_data){product, &variant[i]};
        graphql_object_text(object, "sku", variant[i].sku);
        graphql_object_set(object, "options", json_out(call, variant[i].options));
        items[i] = graphql_out_object(object);
    }
    return list;
}

static struct tally_slice text_of(struct tally_slice text)
{
    return text.data ? text : tally_slice_of("", 0);
}

/* document: JSON or MessagePack, which lives as long as the call. */
static enum graphql_step product_out(struct graphql_call *call, struct tally_slice document,
        struct graphql_out *out)
{
    struct catalogue_product *product = tally_arena_alloc(call->arena, sizeof *product);
    struct graphql_object *object = graphql_object_create(call->arena, "Product", product, 11);
    struct tally_buf id;

    if (!catalogue_product_unpack(document, call->arena, product)) {
        return graphql_call_fail(call, "STORE_ERROR", "a product is damaged");
    }
    tally_buf_init(&id, TEXT_BYTES_MAX);
    tally_buf_format(&id, "Product:%.*s", (int)product->product_id.len,
            (const char *)product->product_id.data);
    graphql_object_text(object, "id", tally_arena_copy(call->arena, tally_buf_bytes(&id)));
    tally_buf_deinit(&id);
    graphql_object_text(object, "slug", text_of(product->slug));
    graphql_object_text(object, "name", text_of(product->name));
    graphql_object_text(object, "description", text_of(product->description));
    graphql_object_text(object, "status",
            tally_slice_string(catalogue_status_names[product->status]));
    graphql_object_set(object, "categoryIds", texts_out(call, &product->category_ids));
    graphql_object_set(object, "attributes", json_out(call, product->attributes));
    graphql_object_set(object, "media", texts_out(call, &product->media));
    graphql_object_set(object, "variants", variants_out(call, object, &product->variants));
    graphql_object_int(object, "version", product->version);
    graphql_object_time(object, call->arena, "updatedAt", product->updated_at);
    *out = graphql_out_object(object);
    return GRAPHQL_DONE;
}

/* --- by key ----------------------------------------------------------------------------------- */

static const struct graphql_load *load(struct graphql_call *call, struct tally_slice owner,
        enum tally_store_id store, struct tally_slice name)
{
    struct graphql_reads *reads = &((struct graphql_world *)call->context)->reads;
    struct tally_key key;

    tally_key_begin(&key, store);
    tally_key_tail(&key, name);
    return graphql_reads_row(reads, graphql_reads_owner(reads, "catalogue", owner), &key);
}

enum graphql_step graphql_product_find(struct graphql_call *call, struct tally_slice product_id,
        struct graphql_out *out)
{
    const struct graphql_load *row;

    if (!tally_text_is(product_id, TALLY_TEXT_ID)) {
        return GRAPHQL_DONE;
    }
    row = load(call, product_id, TALLY_STORE_PRODUCT, product_id);
    if (!row) {
        return GRAPHQL_AGAIN;
    }
    if (row->code == TALLY_NOT_FOUND) {
        return GRAPHQL_DONE;
    }
    return row->code ? graphql_reads_fail(call, row) : product_out(call, row->value, out);
}

/* Whether the operation that claimed a slug has not ended yet. */
static enum graphql_step is_claimed(struct graphql_call *call,
        const struct catalogue_slug_row *slug, bool *claimed)
{
    const struct graphql_load *row =
            load(call, slug->product_id, TALLY_STORE_CATALOGUE_OPERATION, slug->product_id);
    struct catalogue_operation operation;
    int64_t due_ms;

    if (!row) {
        return GRAPHQL_AGAIN;
    }
    if (row->code && row->code != TALLY_NOT_FOUND) {
        return graphql_reads_fail(call, row);
    }
    *claimed = !row->code &&
               catalogue_operation_unpack(row->value, call->arena, &operation, &due_ms) &&
               tally_slice_equal(operation.base.op_id, slug->op_id);
    return GRAPHQL_DONE;
}

static enum graphql_step find_slug(struct graphql_call *call, struct tally_slice slug,
        struct graphql_out *out)
{
    struct catalogue_slug_row found;
    const struct catalogue_product *product;
    const struct graphql_load *row;
    struct tally_buf owner;
    bool claimed = false;
    enum graphql_step step;

    if (!tally_text_is(slug, TALLY_TEXT_SLUG)) {
        return GRAPHQL_DONE;
    }
    tally_buf_init(&owner, TEXT_BYTES_MAX);
    tally_buf_string(&owner, "slug:");
    tally_buf_slice(&owner, slug);
    row = load(call, tally_buf_bytes(&owner), TALLY_STORE_SLUG, slug);
    tally_buf_deinit(&owner);
    if (!row) {
        return GRAPHQL_AGAIN;
    }
    if (row->code) {
        return row->code == TALLY_NOT_FOUND ? GRAPHQL_DONE : graphql_reads_fail(call, row);
    }
    if (!catalogue_slug_unpack(row->value, &found)) {
        return graphql_call_fail(call, "STORE_ERROR", "a slug is damaged");
    }
    step = graphql_product_find(call, found.product_id, out);
    product = out->kind == GRAPHQL_OUT_OBJECT ? out->object->data : NULL;
    if (step == GRAPHQL_AGAIN || !product || tally_slice_equal(product->slug, slug)) {
        return step;
    }
    step = is_claimed(call, &found, &claimed);
    if (claimed) {
        *out = (struct graphql_out){.kind = GRAPHQL_OUT_NULL};
    }
    return step;
}

static enum graphql_step query_product(struct graphql_call *call, struct graphql_out *out)
{
    struct tally_slice slug = graphql_call_text(call, "slug"), id = graphql_call_text(call, "id");

    if ((slug.data != NULL) == (id.data != NULL)) {
        return graphql_call_fail(call, "INVALID_PARAMETER",
                "product: expected exactly one of slug and id");
    }
    return slug.data ? find_slug(call, slug, out) : graphql_product_find(call, id, out);
}

/* --- variants --------------------------------------------------------------------------------- */

static enum graphql_step variant_product(struct graphql_call *call, struct graphql_out *out)
{
    const struct variant_data *data = call->source->data;

    *out = graphql_out_object(data->product);
    return GRAPHQL_DONE;
}

static enum graphql_step variant_stock(struct graphql_call *call, struct graphql_out *out)
{
    const struct variant_data *data = call->source->data;

    return graphql_stock_find(call, data->variant->sku, graphql_call_argument(call, "warehouses"),
            out);
}

static enum graphql_step variant_price(struct graphql_call *call, struct graphql_out *out)
{
    const struct graphql_world *world = call->context;
    const struct variant_data *data = call->source->data;
    const struct graphql_input *at = graphql_call_argument(call, "at");
    struct tally_slice list = graphql_call_text(call, "list");
    const struct catalogue_price *price = catalogue_price_at(data->variant,
            list.data ? list : TALLY_SLICE("default"), graphql_call_text(call, "currency"),
            at ? at->integer : tally_wall_ms(tally_runtime_clock(world->exchange->runtime)));
    uint64_t there = price ? price->presence.present & ~price->presence.nulls : 0;
    struct graphql_object *object;

    if (!price) {
        return GRAPHQL_DONE;
    }
    object = graphql_object_create(call->arena, "Price", NULL, 4);
    graphql_object_int(object, "amountMinor", price->amount_minor);
    graphql_object_text(object, "currency", price->currency);
    if (there & TALLY_BIT(CATALOGUE_PRICE_COMPARE_AT_MINOR)) {
        graphql_object_int(object, "compareAtMinor", price->compare_at_minor);
    }
    if (there & TALLY_BIT(CATALOGUE_PRICE_VALID_UNTIL)) {
        graphql_object_time(object, call->arena, "validUntil", price->valid_until);
    }
    *out = graphql_out_object(object);
    return GRAPHQL_DONE;
}

/* --- search ----------------------------------------------------------------------------------- */

struct hits {
    struct graphql_call *call;
    struct graphql_out *items;
    size_t count, max;
};

static bool add_hit(void *context, struct tally_slice name, struct tally_slice document)
{
    struct hits *hits = context;

    (void)name;
    return hits->count < hits->max &&
           product_out(hits->call, tally_arena_copy(hits->call->arena, document),
                   &hits->items[hits->count++]) == GRAPHQL_DONE &&
           !hits->call->code;
}

static bool read_search(struct graphql_call *call, struct tally_product_query *query,
        struct tally_slice *filter)
{
    static const char *const names[] = {"query", "category", "status"};
    struct tally_slice status = graphql_call_text(call, "status");
    struct tally_buf text;

    query->text = graphql_call_text(call, "query");
    query->category = graphql_call_text(call, "category");
    query->limit = (size_t)graphql_call_argument(call, "first")->integer;
    query->status = -1;
    for (int i = 0; status.data && catalogue_status_names[i]; i++) {
        if (tally_slice_equal(status, tally_slice_string(catalogue_status_names[i]))) {
            query->status = i;
        }
    }
    if (query->text.data && (query->text.len == 0 || query->text.len > TEXT_BYTES_MAX)) {
        (void)graphql_call_fail(call, "INVALID_PARAMETER", "query: expected 1 to %d bytes",
                TEXT_BYTES_MAX);
        return false;
    }
    if (query->category.data && !tally_text_is(query->category, TALLY_TEXT_ID)) {
        (void)graphql_call_fail(call, "INVALID_PARAMETER", "category: expected the id of one");
        return false;
    }
    tally_buf_init(&text, FILTER_BYTES_MAX);
    tally_buf_string(&text, "graphql.products");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tally_buf_byte(&text, 0);
        tally_buf_slice(&text, graphql_call_text(call, names[i]));
    }
    *filter = tally_arena_copy(call->arena, tally_buf_bytes(&text));
    tally_buf_deinit(&text);
    return graphql_connection_after(call, *filter, &query->after);
}

static enum graphql_step query_products(struct graphql_call *call, struct graphql_out *out)
{
    struct exchange *exchange = ((struct graphql_world *)call->context)->exchange;
    struct tally_product_query query = {.limit = 0};
    struct tally_read_model_info info = {.position = -1};
    struct hits hits = {.call = call};
    struct tally_slice filter, place;
    struct graphql_out nodes;
    struct tally_error err = {0};
    struct tally_buf next;
    enum tally_code code;

    if (!read_search(call, &query, &filter)) {
        return GRAPHQL_DONE;
    }
    if (!exchange->search) {
        return graphql_call_fail(call, "POSTGRES_UNAVAILABLE",
                "the search needs PostgreSQL: postgres.url is not set here");
    }
    nodes = graphql_out_list(call->arena, query.limit, &hits.items);
    hits.max = query.limit;
    tally_buf_init(&next, TALLY_PLACE_BYTES_MAX);
    code = exchange->search->ops->products(exchange->search, &query, add_hit, &hits, &next, &info,
            &err);
    place = tally_arena_copy(call->arena, tally_buf_bytes(&next));
    tally_buf_deinit(&next);
    if (code == TALLY_UNAVAILABLE || code == TALLY_TIMEOUT) {
        return graphql_call_fail(call, "POSTGRES_UNAVAILABLE", "PostgreSQL cannot be asked now");
    }
    if (code) {
        return graphql_call_fail(call, problem_name(problem_of_error(code)),
                "the search has failed");
    }
    if (!call->code) {
        nodes.count = hits.count;
        *out = graphql_connection(call, "ProductConnection", nodes, filter, place);
    }
    return GRAPHQL_DONE;
}

void graphql_product_bind(struct graphql_schema *schema)
{
    graphql_schema_bind(schema, "Query.product", query_product);
    graphql_schema_bind(schema, "Query.products", query_products);
    graphql_schema_bind(schema, "Variant.product", variant_product);
    graphql_schema_bind(schema, "Variant.stock", variant_stock);
    graphql_schema_bind(schema, "Variant.price", variant_price);
}
