/* topologies/catalogue/catalogue_evolve.c - what each event leaves behind, what is remembered of
 * it, and its result told again. Evolve puts only; it reads nothing. */
#include "schemas/stock_records.h"
#include "topologies/catalogue/catalogue_internal.h"

#define ROW_MAX       1024 /* a warehouse: its name and state */
#define FIRST_VERSION 1    /* no command changes a warehouse after its registration */

static void evolve_warehouse_registered(struct tally_context *ctx,
        const struct catalogue_event *event)
{
    struct stock_warehouse_row warehouse = {.state = event->state, .name = event->name};
    struct tally_key key = catalogue_warehouse_key(event->warehouse);
    uint8_t space[ROW_MAX]; /* on the stack: no allocation for each event */
    struct tally_buf row = {.data = space, .capacity = sizeof space, .max = sizeof space};

    stock_warehouse_pack(&warehouse, &row);
    tally_assert(!row.failed);
    tally_put(ctx, &key, tally_buf_bytes(&row));
}

typedef void (*evolve_fn)(struct tally_context *ctx, const struct catalogue_event *event);

static const evolve_fn evolve_of[CATALOGUE_EVENT_TYPES] = {
        [CATALOGUE_WAREHOUSE_REGISTERED] = evolve_warehouse_registered,
};

void catalogue_evolve(struct tally_context *ctx, const struct tally_event *event)
{
    evolve_of[event->schema->id](ctx, event->body);
}

/* The memo of a warehouse: its state, then its name in topics. */
void catalogue_remember(const struct tally_event *event, struct tally_buf *memo)
{
    const struct catalogue_event *body = event->body;

    tally_buf_byte(memo, body->state);
    tally_buf_slice(memo, body->warehouse);
}

void catalogue_result(struct tally_context *ctx, struct tally_slice key,
        const struct tally_outcome *outcome, struct tally_writer *writer, int64_t *version)
{
    struct tally_slice memo = outcome->memo;

    (void)ctx;
    (void)key;
    *version = FIRST_VERSION;
    tally_write_map(writer, 2);
    tally_write_name(writer, "warehouse");
    tally_write_string(writer, tally_slice_of(memo.data + 1, memo.len - 1));
    tally_write_name(writer, "state");
    tally_write_string(writer, tally_slice_string(stock_warehouse_states[memo.data[0]]));
}
