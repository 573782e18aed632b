/* apps/cmd_failpoints.c - lists the failpoints of a test build; see engine/base/failpoint.h. */
#include "apps/cmd.h"

#include <stdio.h>

#include "engine/base/failpoint.h"

static void print_failpoints(void)
{
#if TALLY_HAS_FAILPOINTS
    for (int site = 0; site < TALLY_FAILPOINTS; site++) {
        const struct tally_failpoint_row *row = &tally_failpoint_rows[site];

        printf("%-26s %-21s %-33s %s\n", row->name,
                row->can_fail ? "kill,stop,delay,error" : "kill,stop,delay", row->file, row->about);
    }
#else
    puts("this build has no failpoints");
#endif
}

int cmd_failpoints(int argc, char **argv)
{
    struct cli cli = {.verb = "failpoints",
            .usage = "failpoints",
            .no_settings = true,
            .about = "Lists the places at which a test build does what TALLY_FAIL says: name, what "
                     "it can do\n"
                     "there, file, and what it is between. TALLY_FAIL is site:n:action[,...]: at "
                     "the n-th hit\n"
                     "of the site the process kills or stops itself, the thread sleeps "
                     "(delay=MS), or the call\n"
                     "there fails (error). A release has no failpoints and refuses TALLY_FAIL.",
            .examples =
                    "  tally failpoints\n"
                    "  TALLY_FAIL=commit.before:3:error,recover.init.before:1:kill tally run\n"};
    int status = cli_begin(&cli, argc, argv);

    if (status == CLI_CONTINUE) {
        print_failpoints();
        status = cli_finish(&cli, CLI_OK);
    }
    cli_end(&cli);
    return status;
}
