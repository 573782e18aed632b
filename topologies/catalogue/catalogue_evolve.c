/* topologies/catalogue/catalogue_evolve.c - what each event leaves behind. Puts and deletes only;
 * it reads nothing. */
#include "schemas/stock_records.h"
#include "topologies/catalogue/catalogue_internal.h"

#define ROW_INLINE_BYTES 4096 /* most products: no allocation for them */
/* A document, with the room that is reserved for its largest part before that is written. */
#define ROW_BYTES_MAX    (4 * TALLY_DOCUMENT_BYTES_MAX)

typedef void (*pack_fn)(const struct catalogue_event *event, struct tally_buf *row);

static void put(struct tally_context *ctx, struct tally_key key,
        const struct catalogue_event *event, pack_fn pack)
{
    TALLY_UNINITIALIZED uint8_t space[ROW_INLINE_BYTES];
    struct tally_buf row = {.data = space, .capacity = sizeof space, .max = sizeof space};
    struct tally_buf large;

    pack(event, &row);
    if (!row.failed) {
        tally_put(ctx, &key, tally_buf_bytes(&row));
        return;
    }
    tally_buf_init(&large, ROW_BYTES_MAX);
    pack(event, &large);
    tally_assert(!large.failed);
    tally_put(ctx, &key, tally_buf_bytes(&large));
    tally_buf_deinit(&large);
}

static void pack_warehouse(const struct catalogue_event *event, struct tally_buf *row)
{
    stock_warehouse_pack(&(struct stock_warehouse_row){.state = event->state, .name = event->name},
            row);
}

static void pack_product(const struct catalogue_event *event, struct tally_buf *row)
{
    catalogue_product_pack(&event->product, row);
}

static void pack_operation(const struct catalogue_event *event, struct tally_buf *row)
{
    catalogue_operation_pack(&event->op, event->timer.set, row);
}

static void pack_slug(const struct catalogue_event *event, struct tally_buf *row)
{
    catalogue_slug_pack(&(struct catalogue_slug_row){.product_id = event->product_id,
                                .op_id = event->op_id},
            row);
}

static void pack_timer(const struct catalogue_event *event, struct tally_buf *row)
{
    catalogue_timer_pack(&(struct catalogue_timer_row){.op_id = event->op.base.op_id}, row);
}

/* With the operation its timer goes. */
static void end_operation(struct tally_context *ctx, const struct tally_event *envelope,
        const struct catalogue_event *event)
{
    struct tally_key key;

    if (envelope->has_completes) {
        key = catalogue_key(TALLY_STORE_CATALOGUE_OPERATION, event->product_id);
        tally_delete(ctx, &key);
    }
    if (event->timer.presence.present & TALLY_BIT(CATALOGUE_TIMER_CLEAR)) {
        key = catalogue_timer_key(event->timer.clear, event->product_id);
        tally_delete(ctx, &key);
    }
}

void catalogue_evolve(struct tally_context *ctx, const struct tally_event *envelope)
{
    const struct catalogue_event *event = envelope->body;
    struct tally_key key;

    switch ((enum catalogue_event_type)envelope->schema->id) {
    case CATALOGUE_WAREHOUSE_REGISTERED:
        put(ctx, catalogue_key(TALLY_STORE_CATALOGUE_WAREHOUSE, event->warehouse), event,
                pack_warehouse);
        break;
    case CATALOGUE_OPERATION_STARTED:
        put(ctx, catalogue_timer_key(event->timer.set, event->product_id), event, pack_timer);
        put(ctx, catalogue_key(TALLY_STORE_CATALOGUE_OPERATION, event->product_id), event,
                pack_operation);
        break;
    case CATALOGUE_OPERATION_PROGRESSED:
        put(ctx, catalogue_key(TALLY_STORE_CATALOGUE_OPERATION, event->product_id), event,
                pack_operation);
        break;
    case CATALOGUE_OPERATION_FAILED:
        end_operation(ctx, envelope, event);
        break;
    case CATALOGUE_PRODUCT_CREATED:
    case CATALOGUE_PRODUCT_UPDATED:
    case CATALOGUE_VARIANT_ADDED:
    case CATALOGUE_PRODUCT_PUBLISHED:
    case CATALOGUE_PRODUCT_ARCHIVED:
    case CATALOGUE_PRICE_CHANGED:
    case CATALOGUE_PRICE_SCHEDULED:
        put(ctx, catalogue_key(TALLY_STORE_PRODUCT, event->product_id), event, pack_product);
        end_operation(ctx, envelope, event);
        break;
    case CATALOGUE_SLUG_CLAIMED:
        put(ctx, catalogue_key(TALLY_STORE_SLUG, event->slug), event, pack_slug);
        break;
    case CATALOGUE_SLUG_RELEASED:
        key = catalogue_key(TALLY_STORE_SLUG, event->slug);
        tally_delete(ctx, &key);
        break;
    case CATALOGUE_EVENT_TYPES:
        break;
    }
}
