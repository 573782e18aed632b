/* topologies/catalogue/catalogue_operation.c - commands that need a slug or SKUs that no other
 * product has. The owner of the claimed value decides; here the answers are collected.
 *
 *   none --[start: claims sent]--> WAITING --[last one granted]--> none, the fact
 *                                  WAITING --[refused | timed out]--> none, claims given up
 *
 * Invariants
 *  (1) A product has one operation at most; meanwhile its other commands are refused.
 *  (2) A claim is in `waiting`, then in `granted`; an answer that is not awaited changes nothing.
 *  (3) However an operation fails, it gives up every claim but the refused one. An answer that is
 *      still under way was asked for before, so the owner of the value hears of the claim first.
 *  (4) An operation ends: a timer of its own ends it when answers do not come. */
#include <inttypes.h>
#include <stdio.h>

#include "schemas/stock_records.h"
#include "topologies/catalogue/catalogue_internal.h"

#define OPERATION_MS INT64_C(30000) /* answers take milliseconds unless stock stands still */
#define ID_TEXT_MAX  256
#define SLUG_CLAIM   "slug:"
#define SKU_CLAIM    "sku:"

struct operation {
    struct catalogue_operation kept;
    int64_t due_ms;
};

static bool read_operation(struct catalogue_call *call, struct operation *operation)
{
    struct tally_key key = catalogue_key(TALLY_STORE_CATALOGUE_OPERATION, call->cmd->product_id);
    struct tally_slice row;

    if (!tally_get(call->ctx, &key, &row)) {
        return false;
    }
    row = tally_arena_copy(call->arena, row);
    tally_assert(catalogue_operation_unpack(row, call->arena, &operation->kept,
            &operation->due_ms));
    return true;
}

/* --- messages --------------------------------------------------------------------------------- */

/* "~<Type>:<id>:<rest>" */
static struct tally_slice message_id(const struct tally_schema *schema, struct tally_slice id,
        struct tally_slice rest, char text[static ID_TEXT_MAX])
{
    int len = snprintf(text, ID_TEXT_MAX, "~%s:%.*s:%.*s", schema->name, (int)id.len,
            (const char *)id.data, (int)rest.len, (const char *)rest.data);

    tally_assert(len > 0 && len < ID_TEXT_MAX);
    return tally_slice_of(text, (size_t)len);
}

static struct tally_slice value_of(struct tally_slice claim, const char *kind)
{
    size_t len = strlen(kind);

    return tally_slice_of(claim.data + len, claim.len - len);
}

static bool is_slug(struct tally_slice claim)
{
    return tally_slice_starts(claim, TALLY_SLICE(SLUG_CLAIM));
}

static void send_to_slug(struct catalogue_call *call, enum catalogue_command_type type,
        struct tally_slice op_id, struct tally_slice claim)
{
    const struct tally_schema *schema = catalogue_command_schemas[type];
    struct catalogue_command fields = {
            .head.presence.present = TALLY_BIT(CATALOGUE_HAS_SLUG) |
                                     TALLY_BIT(CATALOGUE_HAS_PRODUCT_ID) |
                                     TALLY_BIT(CATALOGUE_HAS_OP_ID),
            .slug = value_of(claim, SLUG_CLAIM),
            .product_id = call->cmd->product_id,
            .op_id = op_id,
    };
    char id[ID_TEXT_MAX];

    tally_send(call->ctx, &(struct tally_message){.topic = CATALOGUE_COMMANDS,
                                  .partition = -1,
                                  .key = claim, /* slug: and the slug, as the claim */
                                  .id = message_id(schema, op_id, claim, id),
                                  .schema = schema,
                                  .fields = &fields});
}

static void send_to_sku(struct catalogue_call *call, enum stock_command_type type,
        struct tally_slice op_id, struct tally_slice claim)
{
    const struct tally_schema *schema = stock_command_schemas[type];
    struct stock_command fields = {
            .head.presence.present = TALLY_BIT(STOCK_HAS_SKU) | TALLY_BIT(STOCK_HAS_PRODUCT_ID) |
                                     TALLY_BIT(STOCK_HAS_OP_ID),
            .sku = value_of(claim, SKU_CLAIM),
            .product_id = call->cmd->product_id,
            .op_id = op_id,
    };
    char id[ID_TEXT_MAX];

    tally_send(call->ctx, &(struct tally_message){.topic = CATALOGUE_STOCK_COMMANDS,
                                  .partition = -1,
                                  .key = fields.sku,
                                  .id = message_id(schema, op_id, claim, id),
                                  .schema = schema,
                                  .fields = &fields});
}

static void claim(struct catalogue_call *call, struct tally_slice op_id, struct tally_slice claim)
{
    if (is_slug(claim)) {
        send_to_slug(call, CATALOGUE_CLAIM_SLUG, op_id, claim);
    } else {
        send_to_sku(call, STOCK_CLAIM_SKU, op_id, claim);
    }
}

/* All but the refused one. */
static void release(struct catalogue_call *call, struct tally_slice op_id,
        const struct tally_array *claims, struct tally_slice refused)
{
    const struct tally_slice *names = claims->items;

    for (size_t i = 0; i < claims->count; i++) {
        if (tally_slice_equal(names[i], refused)) {
            continue;
        }
        if (is_slug(names[i])) {
            send_to_slug(call, CATALOGUE_RELEASE_SLUG, op_id, names[i]);
        } else {
            send_to_sku(call, STOCK_RELEASE_SKU, op_id, names[i]);
        }
    }
}

/* --- begin ------------------------------------------------------------------------------------ */

static void emit_operation(struct catalogue_call *call, enum catalogue_event_type type,
        const struct operation *operation)
{
    struct catalogue_event event = {
            .presence.present = TALLY_BIT(CATALOGUE_EVENT_PRODUCT_ID) |
                                TALLY_BIT(CATALOGUE_EVENT_OP) | TALLY_BIT(CATALOGUE_EVENT_TIMER),
            .product_id = call->cmd->product_id,
            .op = operation->kept,
            .timer = {.presence.present = TALLY_BIT(CATALOGUE_TIMER_SET), .set = operation->due_ms},
    };

    if (type == CATALOGUE_OPERATION_STARTED) {
        tally_emit_pending(call->ctx, type, &event);
    } else {
        tally_emit(call->ctx, type, &event);
    }
}

static struct tally_slice claim_of(struct catalogue_call *call, const char *kind,
        struct tally_slice value)
{
    size_t len = strlen(kind);
    uint8_t *text = tally_arena_alloc(call->arena, len + value.len);

    memcpy(text, kind, len);
    memcpy(text + len, value.data, value.len);
    return tally_slice_of(text, len + value.len);
}

static struct tally_array claims_of(struct catalogue_call *call)
{
    struct catalogue_draft draft = catalogue_draft_of(call->cmd);
    const struct catalogue_variant *variants = draft.variants.items;
    struct tally_slice *claims =
            tally_arena_alloc(call->arena, (draft.variants.count + 1) * sizeof *claims);
    size_t count = 0;

    if (draft.presence.present & TALLY_BIT(CATALOGUE_DRAFT_SLUG)) {
        claims[count++] = claim_of(call, SLUG_CLAIM, draft.slug);
    }
    for (size_t i = 0; i < draft.variants.count; i++) {
        claims[count++] = claim_of(call, SKU_CLAIM, variants[i].sku);
    }
    return (struct tally_array){.items = claims, .count = count};
}

void catalogue_operation_start(struct catalogue_call *call, enum catalogue_operation_kind kind)
{
    struct operation operation = {
            .kept = {.kind = (uint8_t)kind, .request = *call->cmd, .waiting = claims_of(call)},
            .due_ms = tally_time(call->ctx) + OPERATION_MS,
    };
    const struct tally_slice *claims = operation.kept.waiting.items;

    tally_operation_begin(call->ctx, &operation.kept.base);
    operation.kept.base.presence.present |=
            TALLY_BIT(CATALOGUE_OPERATION_KIND) | TALLY_BIT(CATALOGUE_OPERATION_REQUEST) |
            TALLY_BIT(CATALOGUE_OPERATION_WAITING) | TALLY_BIT(CATALOGUE_OPERATION_GRANTED);
    for (size_t i = 0; i < operation.kept.waiting.count; i++) {
        claim(call, operation.kept.base.op_id, claims[i]);
    }
    emit_operation(call, CATALOGUE_OPERATION_STARTED, &operation);
}

/* --- end -------------------------------------------------------------------------------------- */

/* All is the product's own now. */
static void finish(struct catalogue_call *call, const struct operation *operation)
{
    struct tally_slice changed[CATALOGUE_DRAFT_FIELDS];
    struct catalogue_draft draft = catalogue_draft_of(&operation->kept.request);
    struct catalogue_product product, before;
    enum catalogue_event_type type = CATALOGUE_PRODUCT_CREATED;
    size_t count = 1;

    if (operation->kept.kind == CATALOGUE_CREATE) {
        catalogue_product_init(call, &product);
        changed[0] = TALLY_SLICE("product");
    } else if (!catalogue_product_read(call, &product)) {
        tally_accept(call->ctx); /* the read failed, which the context has latched: nothing of
                                    this is kept */
        return;
    }
    before = product;
    catalogue_product_apply(call, &draft, &product);
    if (operation->kept.kind == CATALOGUE_UPDATE) {
        type = CATALOGUE_PRODUCT_UPDATED;
        count = catalogue_product_changes(call, &before, &product, changed);
    } else if (operation->kept.kind == CATALOGUE_ADD) {
        type = CATALOGUE_VARIANT_ADDED;
        changed[0] = TALLY_SLICE("variants");
    }
    tally_complete(call->ctx, &operation->kept.base);
    catalogue_product_emit(call, type, &product, changed, count, operation->due_ms);
}

/* The caller has said why, with tally_complete_rejected. */
static void emit_failed(struct catalogue_call *call, const struct operation *operation,
        struct tally_slice refused)
{
    struct tally_slice op_id = operation->kept.base.op_id;
    struct catalogue_event event = {
            .presence.present =
                    TALLY_BIT(CATALOGUE_EVENT_PRODUCT_ID) | TALLY_BIT(CATALOGUE_EVENT_TIMER),
            .product_id = call->cmd->product_id,
            .timer = {.presence.present = TALLY_BIT(CATALOGUE_TIMER_CLEAR),
                    .clear = operation->due_ms},
    };

    release(call, op_id, &operation->kept.granted, refused);
    release(call, op_id, &operation->kept.waiting, refused);
    tally_emit(call->ctx, CATALOGUE_OPERATION_FAILED, &event);
}

/* Where in the command the claimed value stood. */
static const char *pointer_of(const struct operation *operation, struct tally_slice refused,
        char text[static ID_TEXT_MAX])
{
    const struct tally_array *all = &operation->kept.request.variants;
    const struct catalogue_variant *variants = all->items;

    if (is_slug(refused)) {
        return operation->kept.kind == CATALOGUE_UPDATE ? "/patch/slug" : "/slug";
    }
    if (operation->kept.kind == CATALOGUE_ADD) {
        return "/variant/sku";
    }
    for (size_t i = 0; i < all->count; i++) {
        if (tally_slice_equal(variants[i].sku, value_of(refused, SKU_CLAIM))) {
            (void)snprintf(text, ID_TEXT_MAX, "/variants/%zu/sku", i);
            return text;
        }
    }
    return NULL;
}

static void fail(struct catalogue_call *call, const struct operation *operation,
        struct tally_slice refused, struct tally_slice code)
{
    bool slug = is_slug(refused);
    struct tally_slice value = value_of(refused, slug ? SLUG_CLAIM : SKU_CLAIM);
    enum tally_reject reject = tally_reject_find(code);
    char pointer[ID_TEXT_MAX];

    if (reject == TALLY_REJECT_NONE) { /* a code of a newer release */
        reject = slug ? TALLY_REJECT_SLUG_TAKEN : TALLY_REJECT_SKU_TAKEN;
    }
    tally_complete_rejected(call->ctx, &operation->kept.base, reject,
            pointer_of(operation, refused, pointer),
            (struct tally_meta[]){TALLY_META_S(slug ? "slug" : "sku", value)}, 1,
            reject == TALLY_REJECT_SLUG_TAKEN || reject == TALLY_REJECT_SKU_TAKEN
                    ? "%s %.*s belongs to another product"
                    : "%s %.*s was refused",
            slug ? "slug" : "SKU", (int)value.len, (const char *)value.data);
    emit_failed(call, operation, refused);
}

/* Moves the claim from waiting to granted. */
static void grant(struct catalogue_call *call, struct catalogue_operation *operation,
        size_t waiting)
{
    struct tally_slice *left = operation->waiting.items, *granted;
    size_t count = operation->granted.count;

    granted = tally_arena_alloc(call->arena, (count + 1) * sizeof *granted);
    if (count) {
        memcpy(granted, operation->granted.items, count * sizeof *granted);
    }
    granted[count] = left[waiting];
    operation->granted = (struct tally_array){.items = granted, .count = count + 1};
    operation->waiting.count--;
    memmove(left + waiting, left + waiting + 1,
            (operation->waiting.count - waiting) * sizeof *left);
}

void catalogue_claim_reply(struct catalogue_call *call)
{
    const struct catalogue_command *cmd = call->cmd;
    struct operation operation;
    const struct tally_slice *claims;
    size_t at = 0;

    if (!read_operation(call, &operation) ||
            !tally_slice_equal(operation.kept.base.op_id, cmd->op_id)) {
        tally_accept(call->ctx); /* it has ended, and what was granted is given up already */
        return;
    }
    claims = operation.kept.waiting.items;
    while (at < operation.kept.waiting.count && !tally_slice_equal(claims[at], cmd->claim)) {
        at++;
    }
    if (at == operation.kept.waiting.count) {
        tally_accept(call->ctx);
    } else if (!cmd->granted) {
        fail(call, &operation, cmd->claim, cmd->code);
    } else {
        grant(call, &operation.kept, at);
        if (operation.kept.waiting.count > 0) {
            emit_operation(call, CATALOGUE_OPERATION_PROGRESSED, &operation);
        } else {
            finish(call, &operation);
        }
    }
}

/* --- time ------------------------------------------------------------------------------------- */

void catalogue_due(struct tally_context *ctx, int64_t due_ms, struct tally_slice rest,
        struct tally_slice row)
{
    const struct tally_schema *schema = catalogue_command_schemas[CATALOGUE_TIME_OUT];
    struct catalogue_timer_row timer;
    struct catalogue_command fields = {
            .head.presence.present = TALLY_BIT(CATALOGUE_HAS_PRODUCT_ID) |
                                     TALLY_BIT(CATALOGUE_HAS_OP_ID) |
                                     TALLY_BIT(CATALOGUE_HAS_DUE_AT),
            .product_id = rest,
            .due_at = due_ms,
    };
    char id[ID_TEXT_MAX], parts[ID_TEXT_MAX];
    int len;

    tally_assert(catalogue_timer_unpack(row, &timer));
    fields.op_id = timer.op_id;
    len = snprintf(parts, sizeof parts, "%.*s:%" PRId64, (int)timer.op_id.len,
            (const char *)timer.op_id.data, due_ms);
    tally_send(ctx, &(struct tally_message){.topic = CATALOGUE_COMMANDS,
                            .partition = -1,
                            .key = rest,
                            .id = message_id(schema, rest, tally_slice_of(parts, (size_t)len), id),
                            .schema = schema,
                            .fields = &fields});
}

void catalogue_time_out(struct catalogue_call *call)
{
    struct operation operation;

    if (!read_operation(call, &operation) || operation.due_ms != call->cmd->due_at ||
            !tally_slice_equal(operation.kept.base.op_id, call->cmd->op_id)) {
        tally_accept(call->ctx);
        return;
    }
    tally_complete_rejected(call->ctx, &operation.kept.base, TALLY_REJECT_OPERATION_TIMED_OUT, NULL,
            (struct tally_meta[]){TALLY_META_I("waiting", (int64_t)operation.kept.waiting.count)},
            1, "no answer to %zu of its claims in time", operation.kept.waiting.count);
    emit_failed(call, &operation, TALLY_NONE);
}

/* --- the owner of a slug ---------------------------------------------------------------------- */

static void reply(struct tally_context *ctx, const struct catalogue_command *cmd,
        enum tally_reject code)
{
    const struct tally_schema *schema = catalogue_command_schemas[CATALOGUE_CLAIM_REPLY];
    struct catalogue_command fields = {
            .head.presence.present =
                    TALLY_BIT(CATALOGUE_HAS_PRODUCT_ID) | TALLY_BIT(CATALOGUE_HAS_OP_ID) |
                    TALLY_BIT(CATALOGUE_HAS_CLAIM) | TALLY_BIT(CATALOGUE_HAS_GRANTED),
            .product_id = cmd->product_id,
            .op_id = cmd->op_id,
            .granted = code == TALLY_REJECT_NONE,
    };
    char id[ID_TEXT_MAX], text[ID_TEXT_MAX];
    int len = snprintf(text, sizeof text, SLUG_CLAIM "%.*s", (int)cmd->slug.len,
            (const char *)cmd->slug.data);

    fields.claim = tally_slice_of(text, (size_t)len);
    if (code) {
        fields.head.presence.present |= TALLY_BIT(CATALOGUE_HAS_CODE);
        fields.code = tally_slice_string(tally_reject_name(code));
    }
    tally_send(ctx, &(struct tally_message){.topic = CATALOGUE_COMMANDS,
                            .partition = -1,
                            .key = cmd->product_id,
                            .id = message_id(schema, cmd->op_id, fields.claim, id),
                            .schema = schema,
                            .fields = &fields});
}

/* A claim is answered, whatever refuses it. */
void catalogue_refused(struct tally_context *ctx, const struct tally_command *command,
        enum tally_reject code)
{
    const struct catalogue_command *cmd = (const struct catalogue_command *)command->fields;
    uint64_t needed = TALLY_BIT(CATALOGUE_HAS_SLUG) | TALLY_BIT(CATALOGUE_HAS_PRODUCT_ID) |
                      TALLY_BIT(CATALOGUE_HAS_OP_ID);

    if (command->schema && command->schema->id == CATALOGUE_CLAIM_SLUG &&
            (cmd->head.presence.present & needed) == needed) {
        reply(ctx, cmd, code);
    }
}

static bool read_slug(struct catalogue_call *call, struct catalogue_slug_row *slug)
{
    struct tally_key key = catalogue_key(TALLY_STORE_SLUG, call->cmd->slug);
    struct tally_slice row;

    if (!tally_get(call->ctx, &key, &row)) {
        return false;
    }
    tally_assert(catalogue_slug_unpack(tally_arena_copy(call->arena, row), slug));
    return true;
}

static void emit_slug(struct catalogue_call *call, enum catalogue_event_type type)
{
    struct catalogue_event event = {
            .presence.present = TALLY_BIT(CATALOGUE_EVENT_SLUG) |
                                TALLY_BIT(CATALOGUE_EVENT_PRODUCT_ID) |
                                TALLY_BIT(CATALOGUE_EVENT_OP_ID),
            .slug = call->cmd->slug,
            .product_id = call->cmd->product_id,
            .op_id = call->cmd->op_id,
    };

    tally_emit(call->ctx, type, &event);
}

void catalogue_claim_slug(struct catalogue_call *call)
{
    const struct catalogue_command *cmd = call->cmd;
    struct catalogue_slug_row slug;

    if (!read_slug(call, &slug)) {
        reply(call->ctx, cmd, TALLY_REJECT_NONE);
        emit_slug(call, CATALOGUE_SLUG_CLAIMED);
    } else if (tally_slice_equal(slug.product_id, cmd->product_id)) {
        reply(call->ctx, cmd, TALLY_REJECT_NONE);
        tally_accept(call->ctx);
    } else {
        reply(call->ctx, cmd, TALLY_REJECT_SLUG_TAKEN);
        tally_reject(call->ctx, TALLY_REJECT_SLUG_TAKEN, "/slug",
                (struct tally_meta[]){TALLY_META_S("slug", cmd->slug)}, 1,
                "slug %.*s belongs to another product", (int)cmd->slug.len,
                (const char *)cmd->slug.data);
    }
}

/* Only what this operation has claimed: it may have been the product's before. */
void catalogue_release_slug(struct catalogue_call *call)
{
    const struct catalogue_command *cmd = call->cmd;
    struct catalogue_slug_row slug;

    if (read_slug(call, &slug) && tally_slice_equal(slug.op_id, cmd->op_id) &&
            tally_slice_equal(slug.product_id, cmd->product_id)) {
        emit_slug(call, CATALOGUE_SLUG_RELEASED);
    } else {
        tally_accept(call->ctx);
    }
}
