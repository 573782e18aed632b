/* http/guard.c - see guard.h.
 * civetweb 1.15 reads leniently: it stops at a line that begins with a space and forgets the rest
 * of the header block, takes a bare newline as the end of a line, spaces before a colon, a
 * Content-Length of "3x" as 3, two of them as the first, and drops everything from the 65th header
 * on. A proxy in front may read all of these otherwise, and what one of both takes for a body the
 * other takes for the next request. It also skips any white space before a request, even past the
 * bytes that this client sent and into what another one left in the buffer. So
 *  (1) the header block must be seamless: each header starts two bytes (CR LF) behind the value of
 *      the one before, and an empty line follows the last;
 *  (2) the length of the body has exactly one reading;
 *  (3) at most one empty line (RFC 9112 2.2) comes before the method. */
#include "http/guard.h"

enum { EMPTY_LINE_BYTES = 2 };

struct refusal {
    enum problem_code code;
    const char *detail;
};

/* The library put a NUL over every CR and LF that it took for an end of line, and one over the last
 * byte of the block. */
static bool is_seamless(const struct request *request)
{
    const char *expected = request->version + strlen(request->version) + 2;
    const char *end = expected;

    if (expected[-1] != '\0') {
        return false;
    }
    for (size_t i = 0; i < request->header_count; i++) {
        const struct request_header *header = &request->headers[i];
        size_t len = strlen(header->name);

        if (header->name != expected || len == 0) {
            return false;
        }
        if (header->name[len + 1] == '\0' && header->name + len + 1 < header->value) {
            return false; /* space before the colon */
        }
        end = header->value + strlen(header->value);
        if (end[1] != '\0') {
            return false; /* ended by a bare LF */
        }
        expected = end + 2;
    }
    return request->header_count > 0 && expected[0] == '\r' && expected[1] == '\0';
}

static bool is_digits(struct tally_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
    }
    return text.len > 0;
}

static struct refusal check_framing(const struct request *request)
{
    size_t lengths = request_header_count(request, "Content-Length");
    size_t encodings = request_header_count(request, "Transfer-Encoding");

    if (request_header_count(request, "Host") != 1) {
        return (struct refusal){PROBLEM_MALFORMED_REQUEST, "exactly one Host header is required"};
    }
    if (lengths > 1 || (lengths > 0 && encodings > 0)) {
        return (struct refusal){PROBLEM_MALFORMED_REQUEST, "the length of the body is given twice"};
    }
    if (lengths > 0 && !is_digits(request_header(request, "Content-Length"))) {
        return (struct refusal){
                PROBLEM_MALFORMED_REQUEST, "Content-Length is not a number of bytes"};
    }
    if (encodings > 1 || (encodings > 0 && !guard_is_chunked(request))) {
        return (struct refusal){
                PROBLEM_MALFORMED_REQUEST, "the only Transfer-Encoding known is chunked"};
    }
    if (encodings > 0 && strcmp(request->version, "1.1") != 0) {
        return (struct refusal){PROBLEM_MALFORMED_REQUEST, "HTTP/1.0 knows no Transfer-Encoding"};
    }
    if (request->method == REQUEST_POST && lengths + encodings == 0) {
        return (struct refusal){
                PROBLEM_LENGTH_REQUIRED, "the body needs a Content-Length, or to be chunked"};
    }
    if (guard_content_length(request) > GUARD_BODY_BYTES_MAX) {
        return (struct refusal){PROBLEM_BODY_TOO_LARGE, "the body is over 1 MiB"};
    }
    return (struct refusal){PROBLEM_NONE, NULL};
}

static struct refusal check(const struct request *request)
{
    if (request->header_count >= REQUEST_HEADERS_MAX) {
        return (struct refusal){PROBLEM_TOO_MANY_HEADERS, "at most 63 header fields are read"};
    }
    if (request->skipped > EMPTY_LINE_BYTES || !is_seamless(request)) {
        return (struct refusal){PROBLEM_MALFORMED_REQUEST, "the header block is not well-formed"};
    }
    if (strcmp(request->method_name, "CONNECT") == 0) {
        return (struct refusal){PROBLEM_MALFORMED_REQUEST, "this is not a proxy"};
    }
    if (request->path.len + (request->query.data ? 1 + request->query.len : 0) >
            GUARD_URI_BYTES_MAX) {
        return (struct refusal){PROBLEM_URI_TOO_LONG, "the URI is over 2048 bytes"};
    }
    return check_framing(request);
}

enum guard_verdict guard_check(const struct request *request, enum problem_code *code,
        const char **detail)
{
    struct refusal refusal;

    if (request->path.len == 0 || request->path.data[0] != '/') {
        return GUARD_SILENT;
    }
    refusal = check(request);
    *code = refusal.code;
    *detail = refusal.detail;
    return refusal.code == PROBLEM_NONE ? GUARD_PASS : GUARD_REFUSE;
}

bool guard_is_chunked(const struct request *request)
{
    return request_equals(request_header(request, "Transfer-Encoding"), "chunked");
}

int64_t guard_content_length(const struct request *request)
{
    struct tally_slice text = request_header(request, "Content-Length");
    int64_t length = 0;

    if (!text.data) {
        return 0;
    }
    return tally_parse_int(text, &length) ? length : INT64_MAX; /* digits, but too many */
}

bool guard_has_body(const struct request *request)
{
    return guard_is_chunked(request) || guard_content_length(request) > 0;
}
