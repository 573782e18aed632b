/* http/problem_page.h - GET /problems/{code}: where the type of a problem leads. @thread http */
#pragma once
#include "http/exchange.h"

void problem_page(struct exchange *exchange);
