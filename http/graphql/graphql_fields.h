/* http/graphql/graphql_fields.h - the functions of tally's fields. Their context is struct
 * graphql_world. @thread http */
#pragma once
#include "http/graphql/graphql_reads.h"

struct graphql_world {
    struct exchange *exchange;
    struct graphql_reads reads;
    int64_t wait_end_ms;             /* mono: mutations wait for outcomes until then at most */
    const struct tally_token *event; /* of a subscription: the document that it is told */
};

void graphql_fields_bind(struct graphql_schema *schema); /* @thread init */

/* Objects by key, for several fields; null where there is none. */
enum graphql_step graphql_stock_find(struct graphql_call *call, struct tally_slice sku,
        const struct graphql_input *warehouses, struct graphql_out *out);
enum graphql_step graphql_product_find(struct graphql_call *call, struct tally_slice product_id,
        struct graphql_out *out);

/* A string of a document; data NULL: it is not there. */
struct tally_slice graphql_member_text(const struct tally_token *map, const char *name);
/* A level as GET /v1/stock/{sku}/{warehouse} has it. */
struct graphql_out graphql_stock_level(struct tally_arena *arena, const struct tally_token *level);

void graphql_stock_bind(struct graphql_schema *schema);
void graphql_ledger_bind(struct graphql_schema *schema);
void graphql_product_bind(struct graphql_schema *schema);
void graphql_low_stock_bind(struct graphql_schema *schema);
void graphql_command_bind(struct graphql_schema *schema);
void graphql_subscription_bind(struct graphql_schema *schema);

/* Ten numbers as [Quantity!]!; zeros too, or only what is not. names NULL: all. */
struct graphql_out graphql_quantities(struct tally_arena *arena, const int64_t n[],
        const struct graphql_input *names, bool zeros);
/* `nodes` and `pageInfo`; place.len 0: the last page. */
struct graphql_out graphql_connection(struct graphql_call *call, const char *type,
        struct graphql_out nodes, struct tally_slice filter, struct tally_slice place);
/* What `after` says; false: it is none of this list, and the call has failed. */
bool graphql_connection_after(struct graphql_call *call, struct tally_slice filter,
        struct tally_slice *place);
