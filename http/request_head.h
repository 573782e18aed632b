/* http/request_head.h - the head of an ordinary read, taken apart in place. What is not ordinary is
 * for the library, so there is one judge of it. */
#pragma once
#include "http/request.h"

/* Takes apart a head that begins with the first of `len` bytes and leaves there what the library
 * would have left, which is what guard.c looks at. The request borrows from text. Returns the bytes
 * of the head; 0: it does not end within them, or is not of
 *   GET or HEAD of HTTP/1.1, lines that end in CR LF, names that are tokens and have their colon
 *   behind them, values of printable ASCII, one Host, and no header that asks for more than an
 *   answer: a body, another protocol, a wait, an early answer, an end of the connection.
 * What is taken passes guard_check, and its connection goes on.
 * Then text may have been changed as well. @thread any */
size_t request_head_read(char *text, size_t len, struct request *request);
