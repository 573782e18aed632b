/* http/request_head.c - see request_head.h.
 * Invariants
 *  (1) What is taken here, the library would have taken in the same way.
 *  (2) No byte from `len` on is read or written.
 *  (3) What is taken here, guard.c would let pass: lanes do not ask it again. */
#include "http/request_head.h"

#include "http/guard.h"

/* In what is read one after the other. */
struct head {
    char *at, *end;
};

/* Headers that ask for more than an answer, and the bits of request->letters that are theirs. */
static const char *const others[] = {"Content-Length", "Transfer-Encoding", "Expect", "Upgrade",
        "Prefer", "Tally-Min-Position", "Tally-Forwarded", "Trailer", "TE", NULL};
#define LETTER(letter) (UINT32_C(1) << ((letter)&31))
static const uint32_t others_letters =
        LETTER('C') | LETTER('T') | LETTER('E') | LETTER('U') | LETTER('P');

static bool take(struct head *head, const char *text, size_t len)
{
    if ((size_t)(head->end - head->at) < len || memcmp(head->at, text, len) != 0) {
        return false;
    }
    head->at += len;
    return true;
}

static bool is_graph(char c)
{
    return c > ' ' && c < 0x7f;
}

/* tchar of RFC 9110 5.6.2. */
static bool is_token(char c)
{
    static const bool token[256] = {['0' ... '9'] = true,
            ['A' ... 'Z'] = true,
            ['a' ... 'z'] = true,
            ['!'] = true,
            ['#' ... '\''] = true,
            ['*'] = true,
            ['+'] = true,
            ['-'] = true,
            ['.'] = true,
            ['^' ... '`'] = true,
            ['|'] = true,
            ['~'] = true};

    return token[(uint8_t)c];
}

/* The target up to a space, which becomes its end. */
static bool take_target(struct head *head, struct request *request)
{
    char *begin = head->at, *query;
    size_t len;

    while (head->at < head->end && is_graph(*head->at)) {
        head->at++;
    }
    len = (size_t)(head->at - begin);
    if (len == 0 || len > GUARD_URI_BYTES_MAX || begin[0] != '/' || memchr(begin, '#', len) ||
            !take(head, " ", 1)) {
        return false;
    }
    begin[len] = '\0';
    query = memchr(begin, '?', len);
    if (query) {
        *query++ = '\0';
    }
    request->path = tally_slice_string(begin);
    request->query = tally_slice_string(query);
    return true;
}

static bool take_line_end(struct head *head)
{
    if (head->end - head->at < 2 || head->at[0] != '\r' || head->at[1] != '\n') {
        return false;
    }
    head->at[0] = head->at[1] = '\0';
    head->at += 2;
    return true;
}

static bool asks_for_more(const struct request_header *header)
{
    struct tally_slice name = tally_slice_string(header->name);

    for (size_t i = 0; others[i]; i++) {
        if ((others[i][0] | 0x20) == (header->name[0] | 0x20) && request_equals(name, others[i])) {
            return true;
        }
    }
    return request_equals(name, "Connection") &&
           !request_equals(request_trim(tally_slice_string(header->value)), "keep-alive");
}

static bool any_asks_for_more(const struct request *request)
{
    size_t count = request->letters & others_letters ? request->header_count : 0;

    for (size_t i = 0; i < count; i++) {
        if (asks_for_more(&request->headers[i])) {
            return true;
        }
    }
    return false;
}

static bool take_header(struct head *head, struct request *request)
{
    struct request_header *header = &request->headers[request->header_count];

    if (request->header_count == REQUEST_HEADERS_MAX - 1) {
        return false;
    }
    header->name = head->at;
    while (head->at < head->end && is_token(*head->at)) {
        head->at++;
    }
    if (head->at == header->name || head->at == head->end || *head->at != ':') {
        return false;
    }
    *head->at++ = '\0';
    request->letters |= LETTER(header->name[0]);
    while (head->at < head->end && *head->at == ' ') {
        head->at++;
    }
    header->value = head->at;
    while (head->at < head->end && (is_graph(*head->at) || *head->at == ' ')) {
        head->at++;
    }
    request->header_count++;
    return take_line_end(head);
}

size_t request_head_read(char *text, size_t len, struct request *request)
{
    struct head head = {text, text + len};

    request->skipped = 0;
    request->header_count = 0;
    request->letters = 1;
    if (take(&head, "GET ", 4)) {
        request->method = REQUEST_GET;
    } else if (take(&head, "HEAD ", 5)) {
        request->method = REQUEST_HEAD;
    } else {
        return 0;
    }
    head.at[-1] = '\0';
    request->method_name = text;
    if (!take_target(&head, request) || !take(&head, "HTTP/1.1", 8)) {
        return 0;
    }
    request->version = head.at - strlen("1.1");
    if (!take_line_end(&head)) {
        return 0;
    }
    while (head.at < head.end && *head.at != '\r') {
        if (!take_header(&head, request)) {
            return 0;
        }
    }
    if (!take(&head, "\r\n", 2)) {
        return 0;
    }
    head.at[-1] = '\0'; /* as the library ends a head */
    if (any_asks_for_more(request) || request_header_count(request, "Host") != 1) {
        return 0;
    }
    return (size_t)(head.at - text);
}
