/* topologies/catalogue/catalogue_internal.h - the functions of the catalogue aggregate, and what
 * its files share. */
#pragma once
#include "engine/tally.h"
#include "schemas/catalogue_records.h"

#define CATALOGUE_COMMANDS       "catalogue.commands"
#define CATALOGUE_STOCK_COMMANDS "stock.commands"

void catalogue_touch(struct tally_touch *touch, const struct tally_command *command);
void catalogue_decide(struct tally_context *ctx, const struct tally_command *command);
void catalogue_evolve(struct tally_context *ctx, const struct tally_event *event);
void catalogue_remember(const struct tally_event *event, struct tally_buf *memo);
void catalogue_result(struct tally_context *ctx, struct tally_slice key,
        const struct tally_outcome *outcome, struct tally_writer *writer, int64_t *version);
void catalogue_refused(struct tally_context *ctx, const struct tally_command *command,
        enum tally_reject code);
void catalogue_due(struct tally_context *ctx, int64_t due_ms, struct tally_slice rest,
        struct tally_slice row);

/* --- keys: catalogue_keys.c ------------------------------------------------------------------- */

struct tally_key catalogue_key(enum tally_store_id store, struct tally_slice name);
struct tally_key catalogue_timer_key(int64_t due_ms, struct tally_slice product_id);

/* --- decide ----------------------------------------------------------------------------------- */

/* A command being decided. What is read for it lives in an arena of its own: a batch may hold many
 * commands about large products. */
struct catalogue_call {
    struct tally_context *ctx;
    const struct catalogue_command *cmd;
    struct tally_arena *arena;
};
static inline bool catalogue_has(const struct catalogue_call *call, unsigned bit)
{
    return call->cmd->head.presence.present & TALLY_BIT(bit);
}
/* The product of a command that changes one, which is not archived. false: rejected. */
bool catalogue_open_product(struct catalogue_call *call, struct catalogue_product *product);

/* --- products: catalogue_product.c ------------------------------------------------------------ */

/* false: there is none. */
bool catalogue_product_read(struct catalogue_call *call, struct catalogue_product *product);
/* An empty one, a draft, as of now. */
void catalogue_product_init(struct catalogue_call *call, struct catalogue_product *product);
/* What CreateProduct, UpdateProduct or AddVariant says of its product; borrows from cmd. */
struct catalogue_draft catalogue_draft_of(const struct catalogue_command *cmd);
void catalogue_product_apply(struct catalogue_call *call, const struct catalogue_draft *draft,
        struct catalogue_product *product);
/* NULL: none of its variants has it. */
struct catalogue_variant *catalogue_product_variant(const struct catalogue_product *product,
        struct tally_slice sku);
/* Fields that differ; names has room for CATALOGUE_DRAFT_FIELDS. */
size_t catalogue_product_changes(struct catalogue_call *call,
        const struct catalogue_product *before, const struct catalogue_product *after,
        struct tally_slice *names);
bool catalogue_product_fits(struct catalogue_call *call,
        const struct catalogue_product *product); /* false: rejected */
/* The product as it is from now on, with the next version. due_ms: of the operation that ends with
 * it, 0: none. */
void catalogue_product_emit(struct catalogue_call *call, enum catalogue_event_type type,
        struct catalogue_product *product, struct tally_slice *changed, size_t changed_count,
        int64_t due_ms);

/* --- prices: catalogue_price.c ---------------------------------------------------------------- */

void catalogue_change_price(struct catalogue_call *call, struct tally_slice command_id);

/* --- claims: catalogue_operation.c ------------------------------------------------------------ */

/* Claims the slug that the command names, if it does, and the SKUs of its variants. */
void catalogue_operation_start(struct catalogue_call *call, enum catalogue_operation_kind kind);
void catalogue_claim_reply(struct catalogue_call *call);
void catalogue_time_out(struct catalogue_call *call);
void catalogue_claim_slug(struct catalogue_call *call);
void catalogue_release_slug(struct catalogue_call *call);
