/* apps/verbs.c - the table of verbs, and `tally help`. */
#include "apps/verbs.h"

#include <assert.h>

const struct verb verbs[] = {
#define X(verb, about) {#verb, about, cmd_##verb},
        CMD_VERBS(X)
#undef X
};
static_assert(sizeof verbs / sizeof verbs[0] == VERB_COUNT, "verbs.h counts them");

const struct verb *verbs_find(const char *name)
{
    for (size_t i = 0; i < VERB_COUNT; i++) {
        if (strcmp(verbs[i].name, name) == 0) {
            return &verbs[i];
        }
    }
    return NULL;
}

void verbs_print(FILE *out)
{
    fprintf(out, "usage: tally VERB [options]\n\nverbs\n");
    for (size_t i = 0; i < VERB_COUNT; i++) {
        fprintf(out, "  %-9s %s\n", verbs[i].name, verbs[i].about);
    }
    fprintf(out, "\n\"tally help VERB\" or \"tally VERB --help\" explains one, with examples.\n");
}

int verbs_unknown(const char *name)
{
    const char *names[VERB_COUNT];
    const char *nearest;

    for (size_t i = 0; i < VERB_COUNT; i++) {
        names[i] = verbs[i].name;
    }
    nearest = tally_config_nearest(name, names, VERB_COUNT);
    fprintf(stderr, "tally: unknown verb \"%s\"", name);
    if (nearest) {
        fprintf(stderr, ", did you mean \"%s\"?", nearest);
    }
    fprintf(stderr, "\ntry \"tally help\"\n");
    return CLI_USAGE;
}

int cmd_help(int argc, char **argv)
{
    char help[] = "--help";
    const struct verb *verb;

    if (argc < 2 || strcmp(argv[1], "--help") == 0) {
        verbs_print(stdout);
        return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
    }
    verb = verbs_find(argv[1]);
    if (!verb) {
        return verbs_unknown(argv[1]);
    }
    return verb->run == cmd_help ? cmd_help(1, argv)
                                 : verb->run(2, (char *[]){argv[1], help, NULL});
}

void verbs_describe(const struct verb *verb, cli_describe_fn take, void *context)
{
    char name[32], help[] = "--help";

    tally_assert(verb->run != cmd_help);
    (void)snprintf(name, sizeof name, "%s", verb->name);
    cli_describe_with(take, context);
    (void)verb->run(2, (char *[]){name, help, NULL});
    cli_describe_with(NULL, NULL);
}
