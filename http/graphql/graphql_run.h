/* http/graphql/graphql_run.h - what GraphQL over HTTP and over a WebSocket have in common: from the
 * members of a request to what its answer holds. @thread http */
#pragma once
#include "http/graphql/graphql.h"
#include "http/exchange.h"

/* query, operationName, variables and extensions of an object. Returns what is wrong; NULL:
 * nothing. */
const char *graphql_run_read(const struct tally_token *body, struct graphql_request *request);
/* Whether introspection is refused to this client. */
bool graphql_run_hides_schema(const struct exchange *exchange);

struct graphql_ran {
    size_t reads; /* look-ups and scans */
};
/* Executes it and appends `"errors":[...],"data":...` without braces around it. event: what a
 * subscription is told; NULL: it is none. false: Tally-Min-Position is bad, and the problem is
 * answered. */
bool graphql_run(struct exchange *exchange, const struct graphql_prepared *prepared,
        const struct tally_token *event, struct graphql_errors *errors, struct tally_buf *out,
        struct graphql_ran *ran);
/* `,"extensions":{...}` */
void graphql_run_cost(const struct graphql_prepared *prepared, const struct graphql_ran *ran,
        struct tally_buf *out);
