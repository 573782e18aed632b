/* http/api_documents.c - see api_documents.h. */
#include "http/api_documents.h"

#include "engine/base/hash.h"
#include "http/header_field.h"

enum { DOCUMENT_BYTES_MAX = 4 * 1024 * 1024, TAG_BYTES_MAX = 64 };

void api_documents_init(struct api_documents *documents, struct tally_runtime *runtime)
{
    tally_buf_init(&documents->openapi, DOCUMENT_BYTES_MAX);
    tally_buf_init(&documents->asyncapi, DOCUMENT_BYTES_MAX);
    openapi_write(runtime, &documents->openapi);
    asyncapi_write(runtime, &documents->asyncapi);
    tally_assert(!documents->openapi.failed && !documents->asyncapi.failed);
}

void api_documents_deinit(struct api_documents *documents)
{
    tally_buf_deinit(&documents->openapi);
    tally_buf_deinit(&documents->asyncapi);
}

static void answer(struct exchange *exchange, const struct tally_buf *document, const char *type)
{
    struct tally_slice if_none_match = request_header(&exchange->request, "If-None-Match");
    struct tally_buf tag;

    tally_buf_init(&tag, TAG_BYTES_MAX);
    tally_buf_format(&tag, "\"%08x-%zx\"", tally_crc32c(0, tally_buf_bytes(document)),
            document->len);
    response_header(&exchange->response, "ETag", "%.*s", (int)tag.len, (const char *)tag.data);
    if (if_none_match.data && header_field_none_match(if_none_match, tally_buf_bytes(&tag))) {
        response_empty(&exchange->response, 304);
    } else {
        response_begin(&exchange->response, 200, type);
        tally_buf_slice(&exchange->response.body, tally_buf_bytes(document));
    }
    tally_buf_deinit(&tag);
}

void api_documents_openapi(struct exchange *exchange)
{
    answer(exchange, &exchange->documents->openapi, RESPONSE_JSON);
}

void api_documents_asyncapi(struct exchange *exchange)
{
    answer(exchange, &exchange->documents->asyncapi, RESPONSE_YAML);
}
