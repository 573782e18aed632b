/* apps/completion.h - completion for bash, zsh and fish, made of the verbs' option tables.
 * @thread main */
#pragma once
#include "apps/verbs.h"

extern const char *const completion_shells[]; /* ends with NULL */
/* The script for the shell of this index. */
void completion_script(int shell, struct tally_buf *out);
