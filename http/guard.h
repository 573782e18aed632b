/* http/guard.h - refuses requests that two programs could read in two ways, before anything else
 * looks at them. Whatever is refused here ends its connection. @thread http */
#pragma once
#include "http/problem.h"
#include "http/request.h"

#define GUARD_URI_BYTES_MAX  2048
#define GUARD_BODY_BYTES_MAX (1024 * 1024)

enum guard_verdict {
    GUARD_PASS,
    GUARD_REFUSE, /* answer *code and close */
    GUARD_SILENT  /* close without an answer */
};
/* *detail: what is wrong, in words. */
enum guard_verdict guard_check(const struct request *request, enum problem_code *code,
        const char **detail);
/* Whether the request brings a body, by its headers; only after guard_check passed. */
bool guard_has_body(const struct request *request);
bool guard_is_chunked(const struct request *request);
int64_t guard_content_length(const struct request *request); /* 0 without the header */
