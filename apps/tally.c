/* apps/tally.c - the program: finds the verb and calls it. What verbs there are: cmd.h. */
#include <stdio.h>

#include "apps/cmd.h"

/* jemalloc reads this at start (MALLOC_CONF in the environment goes above it). Threads that work
 * are few, while HTTP has many that idle: few arenas and small caches of threads, and what runs
 * and batches have freed goes back after seconds, keep peak memory near what is used. */
extern const char *malloc_conf;
__attribute__((visibility("default"))) const char *malloc_conf =
        "narenas:2,lg_tcache_max:13,dirty_decay_ms:2000,muzzy_decay_ms:0";

struct verb {
    const char *name, *about;
    int (*run)(int argc, char **argv);
};

static const struct verb verbs[] = {
#define X(verb, about) {#verb, about, cmd_##verb},
        CMD_VERBS(X)
#undef X
};
#define VERB_COUNT (sizeof verbs / sizeof verbs[0])

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < VERB_COUNT; i++) {
        if (strcmp(verbs[i].name, name) == 0) {
            return &verbs[i];
        }
    }
    return NULL;
}

static void print_verbs(FILE *out)
{
    fprintf(out, "usage: tally VERB [options]\n\nverbs\n");
    for (size_t i = 0; i < VERB_COUNT; i++) {
        fprintf(out, "  %-9s %s\n", verbs[i].name, verbs[i].about);
    }
    fprintf(out, "\n\"tally help VERB\" or \"tally VERB --help\" explains one, with examples.\n");
}

static int unknown_verb(const char *name)
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
        print_verbs(stdout);
        return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
    }
    verb = find_verb(argv[1]);
    if (!verb) {
        return unknown_verb(argv[1]);
    }
    return verb->run == cmd_help ? cmd_help(1, argv)
                                 : verb->run(2, (char *[]){argv[1], help, NULL});
}

int main(int argc, char **argv)
{
    const struct verb *verb;

    if (argc < 2) {
        print_verbs(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        return cmd_help(1, argv);
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        char *version[] = {argv[1], NULL};

        return cmd_version(1, version);
    }
    verb = find_verb(argv[1]);
    return verb ? verb->run(argc - 1, argv + 1) : unknown_verb(argv[1]);
}
