/* http/product_query.h - products: one, or those that match. @thread http */
#pragma once
#include "http/exchange.h"

void product_query_slug(struct exchange *exchange);     /* GET /v1/products/{slug} */
void product_query_id(struct exchange *exchange);       /* GET /v1/products/by-id/{product_id} */
void product_query_search(struct exchange *exchange);   /* GET /v1/products */
void product_query_category(struct exchange *exchange); /* GET /v1/categories/{slug}/products */
