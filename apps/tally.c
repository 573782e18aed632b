/* apps/tally.c - the program: finds the verb and calls it. What verbs there are: cmd.h. */
#include <stdio.h>

#include "apps/verbs.h"

/* jemalloc reads this at start (MALLOC_CONF in the environment goes above it). Threads that work
 * are few, while HTTP has many that idle: few arenas and small caches of threads, and what runs
 * and batches have freed goes back after seconds, keep peak memory near what is used. */
extern const char *malloc_conf;
__attribute__((visibility("default"))) const char *malloc_conf =
        "narenas:2,lg_tcache_max:13,dirty_decay_ms:2000,muzzy_decay_ms:0";

int main(int argc, char **argv)
{
    const struct verb *verb;

    if (argc < 2) {
        verbs_print(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        return cmd_help(1, argv);
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        char *version[] = {argv[1], NULL};

        return cmd_version(1, version);
    }
    verb = verbs_find(argv[1]);
    return verb ? verb->run(argc - 1, argv + 1) : verbs_unknown(argv[1]);
}
