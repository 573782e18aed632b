/* http/search_page.c - see search_page.h. A cursor is bound to the path and to every parameter but
 * limit and itself. */
#include "http/search_page.h"

#include "http/problem.h"
#include "http/reading.h"
#include "http/router.h"

enum { FILTER_BYTES_MAX = 4096 };

struct search_hit {
    struct tally_slice document;
    struct search_hit *next;
};

void search_page_init(struct search_page *page, struct exchange *exchange)
{
    *page = (struct search_page){.exchange = exchange};
    tally_buf_init(&page->filter, FILTER_BYTES_MAX);
    tally_buf_init(&page->after, CURSOR_PLACE_BYTES_MAX);
    tally_buf_init(&page->next, TALLY_PLACE_BYTES_MAX);
}

void search_page_deinit(struct search_page *page)
{
    tally_buf_deinit(&page->filter);
    tally_buf_deinit(&page->after);
    tally_buf_deinit(&page->next);
}

static void bind(struct search_page *page)
{
    const struct request *request = &page->exchange->request;
    struct tally_slice rest = tally_slice_string(page->exchange->route->queries), name;

    tally_buf_slice(&page->filter, request->path);
    while (request_list_next(&rest, ',', &name)) {
        char text[32];
        struct tally_slice value;

        tally_assert(name.len < sizeof text);
        memcpy(text, name.data, name.len);
        text[name.len] = '\0';
        value = request_query(request, text);
        if (value.data && strcmp(text, "limit") != 0 && strcmp(text, "cursor") != 0) {
            tally_buf_byte(&page->filter, 0);
            tally_buf_slice(&page->filter, name);
            tally_buf_byte(&page->filter, 0);
            tally_buf_slice(&page->filter, value);
        }
    }
}

bool search_page_read(struct search_page *page)
{
    struct exchange *exchange = page->exchange;

    bind(page);
    if (!reading_limit(exchange, &page->limit) ||
            !reading_cursor(exchange, tally_buf_bytes(&page->filter), &page->after)) {
        return false;
    }
    if (request_header(&exchange->request, "Tally-Min-Position").data) {
        problem_answer(exchange, PROBLEM_MIN_POSITION_UNSUPPORTED,
                "PostgreSQL answers here, which knows no positions of commands");
        return false;
    }
    if (!exchange->search) {
        problem_answer(exchange, PROBLEM_POSTGRES_UNAVAILABLE,
                "this needs PostgreSQL: postgres.url is not set here");
        return false;
    }
    return true;
}

bool search_page_add(void *context, struct tally_slice name, struct tally_slice document)
{
    struct search_page *page = context;
    struct tally_arena *arena = &page->exchange->arena;
    struct search_hit *hit = tally_arena_alloc(arena, sizeof *hit);

    (void)name;
    *hit = (struct search_hit){.document = tally_arena_copy(arena, document)};
    *(page->last ? &page->last->next : &page->first) = hit;
    page->last = hit;
    page->count++;
    return true;
}

static void write_page(struct search_page *page, const struct tally_read_model_info *info)
{
    struct exchange *exchange = page->exchange;
    struct tally_writer writer;

    reading_source_headers(exchange, info->as_of_ms, "postgres");
    response_json(&exchange->response, 200, &writer);
    tally_write_map(&writer, 2);
    tally_write_name(&writer, "items");
    tally_write_array(&writer, page->count);
    for (const struct search_hit *hit = page->first; hit; hit = hit->next) {
        tally_write_raw(&writer, hit->document);
    }
    reading_cursor_write(exchange, &writer, tally_buf_bytes(&page->filter),
            tally_buf_bytes(&page->next));
}

void search_page_answer(struct search_page *page, enum tally_code code,
        const struct tally_read_model_info *info, const struct tally_error *err)
{
    switch (code) {
    case TALLY_OK:
        write_page(page, info);
        break;
    case TALLY_UNAVAILABLE:
    case TALLY_TIMEOUT:
        problem_answer(page->exchange, PROBLEM_POSTGRES_UNAVAILABLE,
                "PostgreSQL cannot be asked now");
        break;
    case TALLY_SINK_SCHEMA:
    case TALLY_SINK_DENIED:
    case TALLY_SINK_FULL:
        problem_answer(page->exchange, PROBLEM_POSTGRES_UNAVAILABLE, "%s", err->message);
        break;
    default:
        problem_error(page->exchange, code, err);
    }
}
