/* apps/explain_text.h - answers of GET /v1/stock/{sku}/{warehouse}/explain for people: a level, two
 * or three lines for each entry, and what the check says. @thread main */
#pragma once
#include "schemas/serde.h"

/* What the pages of one level say together. */
struct explain_text_check {
    bool broken, whole;
    int64_t newest, oldest; /* entries that were looked at; 0: none */
    int64_t seq, expected, found;
    char bucket[32]; /* "": the entry is missing */
};
/* Adds what a page's `check` says; pages come newest first. */
void explain_text_merge(struct explain_text_check *check, const struct tally_token *page);

void explain_text_level(const struct tally_token *page, struct tally_buf *out);
void explain_text_items(const struct tally_token *page, struct tally_buf *out);
void explain_text_verdict(const struct explain_text_check *check, struct tally_buf *out);
