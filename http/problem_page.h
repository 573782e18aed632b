/* http/problem_page.h - GET /problems/{code}: where the type of a problem leads; and the same pages
 * for the command line. */
#pragma once
#include "http/exchange.h"

void problem_page(struct exchange *exchange); /* @thread http */

/* Appends the page of a code as the tables have it (INSUFFICIENT_STOCK): text, or a line of JSON
 * as the route answers. false: no table has it, nothing is appended. @thread any */
bool tally_problem_page_write(const char *code, bool json, struct tally_buf *out);
/* Every code that has a page, some twice; NULL: no more. @thread any */
const char *tally_problem_page_code(size_t index);
