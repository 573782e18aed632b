/* http/search_page.h - one page of what PostgreSQL answers: its limit and cursor, its items, its
 * headers, and what is said when it cannot be asked. @thread http */
#pragma once
#include "http/exchange.h"

struct search_hit;
struct search_page {
    struct exchange *exchange;
    size_t limit;
    struct tally_buf filter; /* what a cursor is bound to */
    struct tally_buf after;  /* where the page before ended; empty: this is the first */
    struct tally_buf next;
    struct search_hit *first, *last;
    uint32_t count;
};
void search_page_init(struct search_page *page, struct exchange *exchange);
void search_page_deinit(struct search_page *page);
/* limit, cursor, and that positions are not asked for; the filters have been checked. After it
 * exchange->search is there. false: the problem is answered. */
bool search_page_read(struct search_page *page);
/* A tally_document_fn; context: the page. */
bool search_page_add(void *context, struct tally_slice name, struct tally_slice document);
/* The page, or what the code means. */
void search_page_answer(struct search_page *page, enum tally_code code,
        const struct tally_read_model_info *info, const struct tally_error *err);
