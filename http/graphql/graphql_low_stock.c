/* http/graphql/graphql_low_stock.c - Query.lowStock: rows of every task, merged by key, which is
 * severity, sku, warehouse. Where a task had more rows than were read, the page ends with the last
 * of them, so that none is left out. */
#include <stdlib.h>

#include "http/graphql/graphql_fields.h"
#include "schemas/analytics_rows.h"

enum { SCANNED_MAX = 5000, FILTER_BYTES_MAX = 256 };

static const char *const severities[] = {
        [LOW_STOCK_OVERSOLD] = "OVERSOLD", [LOW_STOCK_OUT] = "OUT", [LOW_STOCK_LOW] = "LOW"};

struct list {
    struct graphql_call *call;
    struct tally_slice warehouse, filter, after;
    size_t first;
    const struct graphql_load **loads; /* of each task */
    const struct graphql_row **rows;   /* of all */
    size_t count;
    struct tally_slice cut; /* rows up to this key were read in every task; data NULL: all were */
};

static void make_filter(struct list *list)
{
    struct tally_buf filter;

    tally_buf_init(&filter, FILTER_BYTES_MAX);
    tally_buf_string(&filter, "graphql.low");
    tally_buf_byte(&filter, 0);
    tally_buf_slice(&filter, list->warehouse);
    list->filter = tally_arena_copy(list->call->arena, tally_buf_bytes(&filter));
    tally_buf_deinit(&filter);
}

static enum graphql_step load_tasks(struct list *list, int32_t partitions)
{
    struct graphql_reads *reads = &((struct graphql_world *)list->call->context)->reads;
    enum graphql_step step = GRAPHQL_DONE;
    struct tally_key lower, upper;

    tally_key_begin(&lower, TALLY_STORE_LOW_STOCK);
    upper = lower;
    tally_key_u8(&upper, LOW_STOCK_FINE);
    if (list->after.len > 0 && list->after.len < TALLY_KEY_MAX) {
        memcpy(lower.bytes, list->after.data, list->after.len); /* signed: it was a key */
        lower.bytes[list->after.len] = 0;                       /* the first key behind it */
        lower.len = (uint16_t)(list->after.len + 1);
    }
    for (int32_t i = 0; i < partitions; i++) {
        list->loads[i] = graphql_reads_rows(reads, graphql_reads_task(reads, "low_stock", i),
                &lower, &upper, false, list->warehouse.data ? SCANNED_MAX : list->first);
        step = list->loads[i] ? step : GRAPHQL_AGAIN;
    }
    return step;
}

static int compare_rows(const void *a, const void *b)
{
    const struct graphql_row *const *left = a, *const *right = b;

    return tally_slice_compare((*left)->key, (*right)->key);
}

static void merge(struct list *list, int32_t partitions)
{
    size_t count = 0;

    for (int32_t i = 0; i < partitions; i++) {
        const struct graphql_load *load = list->loads[i];

        count += load->count;
        if (load->more) {
            struct tally_slice last = load->rows[load->count - 1].key;

            if (!list->cut.data || tally_slice_compare(last, list->cut) < 0) {
                list->cut = last;
            }
        }
    }
    list->rows = tally_arena_alloc(list->call->arena, (count + 1) * sizeof *list->rows);
    for (int32_t i = 0; i < partitions; i++) {
        for (size_t j = 0; j < list->loads[i]->count; j++) {
            list->rows[list->count++] = &list->loads[i]->rows[j];
        }
    }
    qsort(list->rows, list->count, sizeof *list->rows, compare_rows);
}

/* false: damaged. */
static bool row_out(struct list *list, const struct graphql_row *row, struct graphql_out *out,
        bool *wanted)
{
    const uint8_t *end = row->key.len > 2 ? memchr(row->key.data + 2, 0, row->key.len - 2) : NULL;
    struct graphql_object *object;
    struct tally_slice warehouse;
    struct low_stock_row low;

    if (!end || row->key.data[1] >= LOW_STOCK_FINE ||
            !analytics_low_stock_unpack(row->value, &low)) {
        return false;
    }
    warehouse = tally_slice_of(end + 1, (size_t)(row->key.data + row->key.len - end) - 1);
    *wanted = !list->warehouse.data || tally_slice_equal(warehouse, list->warehouse);
    if (!*wanted) {
        return true;
    }
    object = graphql_object_create(list->call->arena, "LowStock", NULL, 5);
    graphql_object_text(object, "sku",
            tally_slice_of(row->key.data + 2, (size_t)(end - row->key.data) - 2));
    graphql_object_text(object, "warehouse", warehouse);
    graphql_object_text(object, "severity", tally_slice_string(severities[row->key.data[1]]));
    graphql_object_int(object, "available", low.available);
    if (low.has_threshold) {
        graphql_object_int(object, "lowStockThreshold", low.threshold);
    }
    *out = graphql_out_object(object);
    return true;
}

static enum graphql_step page_out(struct list *list, struct graphql_out *out)
{
    struct graphql_call *call = list->call;
    struct tally_slice place = TALLY_NONE;
    struct graphql_out nodes, *items;
    size_t count = 0, at = 0;

    nodes = graphql_out_list(call->arena, list->first, &items);
    for (; at < list->count && count < list->first; at++) {
        bool wanted = false;

        if (list->cut.data && tally_slice_compare(list->rows[at]->key, list->cut) > 0) {
            break;
        }
        if (!row_out(list, list->rows[at], &items[count], &wanted)) {
            return graphql_call_fail(call, "STORE_ERROR", "a row of low_stock is damaged");
        }
        count += wanted;
    }
    if (count == list->first && (at < list->count || list->cut.data)) {
        place = list->rows[at - 1]->key;
    } else if (list->cut.data) {
        place = list->cut;
    }
    nodes.count = count;
    *out = graphql_connection(call, "LowStockConnection", nodes, list->filter, place);
    return GRAPHQL_DONE;
}

static enum graphql_step low_stock(struct graphql_call *call, struct graphql_out *out)
{
    struct graphql_world *world = call->context;
    int32_t partitions = tally_runtime_partitions(world->exchange->runtime);
    struct list list = {
            .call = call,
            .warehouse = graphql_call_text(call, "warehouse"),
            .first = (size_t)graphql_call_argument(call, "first")->integer,
            .loads = tally_arena_alloc(call->arena,
                    (size_t)partitions * sizeof(const struct graphql_load *)),
    };

    if (list.warehouse.data && !tally_text_is(list.warehouse, TALLY_TEXT_WAREHOUSE)) {
        return graphql_call_fail(call, "INVALID_PARAMETER",
                "warehouse: expected the name of a warehouse");
    }
    make_filter(&list);
    if (!graphql_connection_after(call, list.filter, &list.after)) {
        return GRAPHQL_DONE;
    }
    if (load_tasks(&list, partitions) == GRAPHQL_AGAIN) {
        return GRAPHQL_AGAIN;
    }
    for (int32_t i = 0; i < partitions; i++) {
        if (list.loads[i]->code) {
            return graphql_reads_fail(call, list.loads[i]);
        }
    }
    merge(&list, partitions);
    return page_out(&list, out);
}

void graphql_low_stock_bind(struct graphql_schema *schema)
{
    graphql_schema_bind(schema, "Query.lowStock", low_stock);
}
