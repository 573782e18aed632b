/* apps/cmd_version.c - the version, and with -v the shared libraries that are really loaded. What
 * makes a build slower than the shipped one is named behind the commit: tests/bench refuses it. */
#include "apps/cmd.h"

#include <link.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "connectors/kafka_client.h"
#include "engine/base/version.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif

static const char *const slowing[] = {
#ifdef TALLY_CHECKS
        "checks", "failpoints",
#endif
#ifdef HAS_SANITIZER
        "sanitizers",
#endif
#ifndef __OPTIMIZE__
        "no optimisation",
#endif
#ifdef TALLY_NO_PROFILE
        "no profile",
#endif
        NULL};

static void print_version(void)
{
    printf("tally %s (%s)", tally_version(), tally_commit());
    for (size_t i = 0; slowing[i]; i++) {
        printf("%s%s", i ? ", " : ", built with ", slowing[i]);
    }
    printf("\n");
}

/* A library's file behind its links carries the full version: librocksdb.so.7.8.3. */
static int print_library(struct dl_phdr_info *info, size_t size, void *context)
{
    char path[PATH_MAX];
    const char *name;

    (void)size;
    (void)context;
    if (!info->dlpi_name || !strchr(info->dlpi_name, '/') || !realpath(info->dlpi_name, path)) {
        return 0;
    }
    name = strrchr(path, '/') + 1;
    printf("  %s\n", name);
    return 0;
}

int cmd_version(int argc, char **argv)
{
    bool verbose = false;
    const struct cli_option options[] = {
            CLI_OPT_FLAG('v', "verbose", &verbose,
                    "also librdkafka's version and all loaded libraries"),
            CLI_OPT_END};
    struct cli cli = {.verb = "version",
            .usage = "version [-v]",
            .options = options,
            .no_settings = true,
            .about = "Prints the version, the commit it was built from, and what makes this build "
                     "slow.",
            .examples = "  tally version -v\n"};
    int status = cli_begin(&cli, argc, argv);

    if (status == CLI_CONTINUE) {
        print_version();
        if (verbose) {
            printf("librdkafka %s\nlibraries\n", tally_kafka_version());
            dl_iterate_phdr(print_library, NULL);
        }
        status = cli_finish(&cli, CLI_OK);
    }
    cli_end(&cli);
    return status;
}
