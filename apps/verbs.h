/* apps/verbs.h - the verbs of cmd.h as a table. @thread main */
#pragma once
#include <stdio.h>

#include "apps/cmd.h"

struct verb {
    const char *name, *about;
    int (*run)(int argc, char **argv);
};

#define X(verb, about) +1
enum { VERB_COUNT = 0 CMD_VERBS(X) };
#undef X
extern const struct verb verbs[VERB_COUNT];

const struct verb *verbs_find(const char *name); /* NULL: there is none */
/* Says so, with the nearest verb that there is; CLI_USAGE. */
int verbs_unknown(const char *name);
void verbs_print(FILE *out);
/* Calls the verb for its help, which `take` gets instead of standard output; the options' targets
 * are not to be looked at. Not for `help`, which has none. */
void verbs_describe(const struct verb *verb, cli_describe_fn take, void *context);
