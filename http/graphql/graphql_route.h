/* http/graphql/graphql_route.h - GET and POST /graphql (GraphQL over HTTP). @thread http */
#pragma once
#include "http/exchange.h"

struct graphql_schema;
/* tally's schema with its functions; the server's, for all of its workers. @thread main */
struct graphql_schema *graphql_route_schema(void);
void graphql_route_schema_destroy(struct graphql_schema *schema);

void graphql_route_get(struct exchange *exchange);
void graphql_route_post(struct exchange *exchange);
