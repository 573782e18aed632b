/* http/api_documents.h - what describes the API: OpenAPI of HTTP, AsyncAPI of the topics. Both are
 * made once, of the tables that the program itself uses. @thread http, but for what says init */
#pragma once
#include "http/exchange.h"

struct api_documents {
    struct tally_buf openapi, asyncapi;
};
void api_documents_init(struct api_documents *documents, struct tally_runtime *runtime); /* init */
void api_documents_deinit(struct api_documents *documents);                              /* init */
void api_documents_openapi(struct exchange *exchange);  /* GET /openapi.json */
void api_documents_asyncapi(struct exchange *exchange); /* GET /asyncapi.yaml */

/* --- openapi.c, asyncapi.c -------------------------------------------------------------------- */

void openapi_write(struct tally_runtime *runtime, struct tally_buf *out);
void asyncapi_write(struct tally_runtime *runtime, struct tally_buf *out);
