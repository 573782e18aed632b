/* http/forwarding_mark.c - see forwarding_mark.h. No cursor that a client is given begins as the
 * filter does, so none is a mark. */
#include "http/forwarding_mark.h"

enum { BYTES_MAX = 16 * 1024, TEXT_BYTES_MAX = 256 };

/* query: data NULL: none, or it is behind the path already. */
static void bind(struct tally_buf *filter, const char *method, struct tally_slice path,
        struct tally_slice query, struct tally_slice hops)
{
    tally_buf_init(filter, BYTES_MAX);
    tally_buf_string(filter, "forwarded");
    tally_buf_byte(filter, 0);
    tally_buf_string(filter, method);
    tally_buf_byte(filter, 0);
    tally_buf_slice(filter, path);
    if (query.data) {
        tally_buf_byte(filter, '?');
        tally_buf_slice(filter, query);
    }
    tally_buf_byte(filter, 0);
    tally_buf_slice(filter, hops);
}

struct tally_slice forwarding_mark_make(struct exchange *exchange, const char *method,
        struct tally_slice target, struct tally_slice hops)
{
    struct tally_buf filter, text;
    struct tally_slice mark;

    bind(&filter, method, target, TALLY_NONE, hops);
    tally_buf_init(&text, TEXT_BYTES_MAX);
    cursor_seal(exchange->cursor_key, tally_buf_bytes(&filter), TALLY_SLICE("1"), &text);
    mark = tally_arena_copy(&exchange->arena, tally_buf_bytes(&text));
    tally_buf_deinit(&text);
    tally_buf_deinit(&filter);
    return mark;
}

bool forwarding_mark_is_good(const struct exchange *exchange)
{
    const struct request *request = &exchange->request;
    struct tally_slice text = request_header(request, FORWARDING_MARK);
    struct tally_buf filter, place;
    bool good;

    if (!text.data || !request->method_name) {
        return false;
    }
    bind(&filter, request->method_name, request->path, request->query,
            request_header(request, "X-Forwarded-For"));
    tally_buf_init(&place, TEXT_BYTES_MAX);
    good = !filter.failed &&
           cursor_unseal(exchange->cursor_key, tally_buf_bytes(&filter), text, &place);
    tally_buf_deinit(&place);
    tally_buf_deinit(&filter);
    return good;
}
