/* http/response.c - see response.h. */
#include "http/response.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

enum { HEADERS_BYTES_MAX = 16 * 1024, HEADER_BYTES_MAX = 1024, KEEP_BYTES = 256 * 1024 };

void response_init(struct response *response)
{
    *response = (struct response){0};
    tally_buf_init(&response->headers, HEADERS_BYTES_MAX);
    tally_buf_init(&response->body, RESPONSE_BODY_BYTES_MAX);
    tally_buf_init(&response->scratch, RESPONSE_BODY_BYTES_MAX);
}

void response_deinit(struct response *response)
{
    tally_buf_deinit(&response->headers);
    tally_buf_deinit(&response->body);
    tally_buf_deinit(&response->scratch);
}

static void clear(struct tally_buf *buf)
{
    tally_buf_clear(buf);
    if (buf->capacity > KEEP_BYTES) {
        tally_buf_deinit(buf);
    }
}

void response_reset(struct response *response)
{
    tally_buf_clear(&response->headers);
    clear(&response->body);
    clear(&response->scratch);
    response->status = 0;
    response->content_type = NULL;
    response->cache_control = "no-cache";
    response->close = false;
    response->streamed = false;
}

void response_header(struct response *response, const char *name, const char *format, ...)
{
    char value[HEADER_BYTES_MAX];
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(value, sizeof value, format, args);
    va_end(args);
    tally_assert(len >= 0 && (size_t)len < sizeof value);
    tally_assert(!strpbrk(value, "\r\n"));
    tally_buf_format(&response->headers, "%s: %s\r\n", name, value);
}

void response_begin(struct response *response, int status, const char *content_type)
{
    tally_buf_clear(&response->body);
    response->status = status;
    response->content_type = content_type;
}

void response_json(struct response *response, int status, struct tally_writer *writer)
{
    response_begin(response, status, RESPONSE_JSON);
    tally_write_begin(writer, &response->body, TALLY_FORMAT_JSON);
}

void response_empty(struct response *response, int status)
{
    response_begin(response, status, NULL);
}

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
            {200, "OK"},
            {202, "Accepted"},
            {204, "No Content"},
            {301, "Moved Permanently"},
            {304, "Not Modified"},
            {400, "Bad Request"},
            {401, "Unauthorized"},
            {403, "Forbidden"},
            {404, "Not Found"},
            {405, "Method Not Allowed"},
            {406, "Not Acceptable"},
            {408, "Request Timeout"},
            {409, "Conflict"},
            {410, "Gone"},
            {411, "Length Required"},
            {412, "Precondition Failed"},
            {413, "Content Too Large"},
            {414, "URI Too Long"},
            {415, "Unsupported Media Type"},
            {421, "Misdirected Request"},
            {422, "Unprocessable Content"},
            {426, "Upgrade Required"},
            {429, "Too Many Requests"},
            {431, "Request Header Fields Too Large"},
            {500, "Internal Server Error"},
            {503, "Service Unavailable"},
            {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (reasons[i].status == status) {
            return reasons[i].text;
        }
    }
    return "";
}

static inline void put_line(struct tally_buf *out, const char *name, const char *value)
{
    tally_buf_string(out, name);
    tally_buf_string(out, value);
    tally_buf_string(out, "\r\n");
}

/* 204 and 304 have no body by what they are; any other answer without a length lasts until the
 * connection ends, as a stream to an old client does. */
void response_head(const struct response *response, const char *date, bool keep_alive, bool chunked,
        struct tally_buf *out)
{
    tally_buf_string(out, "HTTP/1.1 ");
    tally_buf_int(out, response->status);
    tally_buf_byte(out, ' ');
    tally_buf_string(out, reason(response->status));
    put_line(out, "\r\nDate: ", date);
    if (response->content_type) {
        put_line(out, "Content-Type: ", response->content_type);
    }
    if (chunked) {
        put_line(out, "Transfer-Encoding: ", "chunked");
    } else if (!response->streamed && response->status != 204 && response->status != 304) {
        tally_buf_string(out, "Content-Length: ");
        tally_buf_int(out, (int64_t)response->body.len);
        tally_buf_string(out, "\r\n");
    }
    put_line(out, "Cache-Control: ", response->cache_control);
    put_line(out,
            "X-Content-Type-Options: nosniff\r\nConnection: ", keep_alive ? "keep-alive" : "close");
    tally_buf_slice(out, tally_buf_bytes(&response->headers));
    tally_buf_string(out, "\r\n");
}

void response_compose(const struct response *response, enum request_method method, const char *date,
        bool keep_alive, struct tally_buf *out)
{
    tally_assert(!response->body.failed && !response->headers.failed);
    response_head(response, date, keep_alive, false, out);
    if (method != REQUEST_HEAD && response->content_type) {
        tally_buf_slice(out, tally_buf_bytes(&response->body));
    }
}

void response_date(int64_t wall_ms, char text[static RESPONSE_DATE_LEN + 1])
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm = {0};
    char line[64];

    gmtime_r(&seconds, &tm);
    snprintf(line, sizeof line, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday % 7],
            tm.tm_mday, months[tm.tm_mon % 12], (tm.tm_year + 1900) % 10000, tm.tm_hour, tm.tm_min,
            tm.tm_sec);
    memcpy(text, line, RESPONSE_DATE_LEN);
    text[RESPONSE_DATE_LEN] = '\0';
}
