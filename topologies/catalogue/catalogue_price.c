/* topologies/catalogue/catalogue_price.c - prices: a BASE that always holds, and SALEs, each for a
 * time. Which one holds at a moment is found when it is read (catalogue_price_at).
 * Invariants
 *  (1) Of a SKU, list and currency there is one BASE at most.
 *  (2) The windows of its SALEs do not overlap. */
#include "topologies/catalogue/catalogue_internal.h"

static bool has(const struct catalogue_price *price, unsigned bit)
{
    return price->presence.present & TALLY_BIT(bit);
}

/* An absent bound is open. */
static int64_t from_of(const struct catalogue_price *price)
{
    return has(price, CATALOGUE_PRICE_VALID_FROM) ? price->valid_from : INT64_MIN;
}

static int64_t until_of(const struct catalogue_price *price)
{
    return has(price, CATALOGUE_PRICE_VALID_UNTIL) ? price->valid_until : INT64_MAX;
}

static bool same_series(const struct catalogue_price *a, const struct catalogue_price *b)
{
    return a->kind == b->kind && tally_slice_equal(a->list, b->list) &&
           tally_slice_equal(a->currency, b->currency);
}

static struct catalogue_price price_of(const struct catalogue_call *call,
        struct tally_slice command_id)
{
    const struct catalogue_command *cmd = call->cmd;
    struct catalogue_price price = {
            .presence.present = TALLY_BIT(CATALOGUE_PRICE_ID) | TALLY_BIT(CATALOGUE_PRICE_KIND) |
                                TALLY_BIT(CATALOGUE_PRICE_LIST) |
                                TALLY_BIT(CATALOGUE_PRICE_CURRENCY) |
                                TALLY_BIT(CATALOGUE_PRICE_AMOUNT_MINOR),
            .price_id = command_id,
            .list = cmd->list.data ? cmd->list : TALLY_SLICE("default"),
            .currency = tally_slice_string(catalogue_currencies[cmd->currency]),
            .amount_minor = cmd->amount_minor,
            .compare_at_minor = cmd->compare_at_minor,
            .valid_from = cmd->valid_from,
            .valid_until = cmd->valid_until,
    };
    static const struct {
        unsigned command, price;
    } optional[] = {{CATALOGUE_HAS_COMPARE_AT_MINOR, CATALOGUE_PRICE_COMPARE_AT_MINOR},
            {CATALOGUE_HAS_VALID_FROM, CATALOGUE_PRICE_VALID_FROM},
            {CATALOGUE_HAS_VALID_UNTIL, CATALOGUE_PRICE_VALID_UNTIL}};

    for (size_t i = 0; i < sizeof optional / sizeof optional[0]; i++) {
        if (catalogue_has(call, optional[i].command)) {
            price.presence.present |= TALLY_BIT(optional[i].price);
        }
    }
    price.kind = has(&price, CATALOGUE_PRICE_VALID_FROM) || has(&price, CATALOGUE_PRICE_VALID_UNTIL)
                         ? CATALOGUE_SALE
                         : CATALOGUE_BASE;
    return price;
}

static bool window_is_free(struct catalogue_call *call, const struct catalogue_variant *variant,
        const struct catalogue_price *price)
{
    const struct catalogue_price *prices = variant->prices.items;

    for (size_t i = 0; i < variant->prices.count; i++) {
        if (same_series(&prices[i], price) && from_of(&prices[i]) < until_of(price) &&
                from_of(price) < until_of(&prices[i])) {
            tally_reject(call->ctx, TALLY_REJECT_PRICE_WINDOW_OVERLAP,
                    catalogue_has(call, CATALOGUE_HAS_VALID_FROM) ? "/valid_from" : "/valid_until",
                    (struct tally_meta[]){TALLY_META_S("price_id", prices[i].price_id)}, 1,
                    "price %.*s holds at that time", (int)prices[i].price_id.len,
                    (const char *)prices[i].price_id.data);
            return false;
        }
    }
    return true;
}

/* A BASE takes the place of the one before it. */
static void set_price(struct catalogue_call *call, const struct catalogue_price *price,
        struct catalogue_variant *variant)
{
    size_t count = variant->prices.count, at = count;
    struct catalogue_price *prices = tally_arena_alloc(call->arena, (count + 1) * sizeof *prices);

    for (size_t i = 0; i < count; i++) {
        prices[i] = ((const struct catalogue_price *)variant->prices.items)[i];
        if (price->kind == CATALOGUE_BASE && same_series(&prices[i], price)) {
            at = i;
        }
    }
    prices[at] = *price;
    variant->prices.items = prices;
    variant->prices.count = at == count ? count + 1 : count;
}

void catalogue_change_price(struct catalogue_call *call, struct tally_slice command_id)
{
    const struct catalogue_command *cmd = call->cmd;
    struct tally_slice changed = TALLY_SLICE("prices");
    struct catalogue_price price = price_of(call, command_id);
    struct catalogue_variant *variant;
    struct catalogue_product product;

    if (!catalogue_open_product(call, &product)) {
        return;
    }
    variant = catalogue_product_variant(&product, cmd->sku);
    if (!variant) {
        tally_reject(call->ctx, TALLY_REJECT_UNKNOWN_SKU, "/sku",
                (struct tally_meta[]){TALLY_META_S("sku", cmd->sku)}, 1,
                "SKU %.*s is no variant of the product", (int)cmd->sku.len,
                (const char *)cmd->sku.data);
        return;
    }
    if (until_of(&price) <= tally_time(call->ctx)) {
        tally_reject(call->ctx, TALLY_REJECT_PRICE_IN_PAST, "/valid_until", NULL, 0,
                "the price would have ended already");
        return;
    }
    if (price.kind == CATALOGUE_SALE && !window_is_free(call, variant, &price)) {
        return;
    }
    set_price(call, &price, variant);
    if (catalogue_product_fits(call, &product)) {
        catalogue_product_emit(call,
                price.kind == CATALOGUE_BASE ? CATALOGUE_PRICE_CHANGED : CATALOGUE_PRICE_SCHEDULED,
                &product, &changed, 1, 0);
    }
}
