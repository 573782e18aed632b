/* apps/task_rows.h - all rows of tasks of a directory, as a dump prints them: counted, hashed,
 * written down. The hash is that of the lines of one task, as `xxh128sum` has it of a dump of that
 * task alone. */
#pragma once
#include <stdio.h>

#include "apps/state_reader.h"
#include "schemas/digest.h"

struct task_rows {
    uint64_t rows, damaged;
    char hash[TALLY_DIGEST_LEN + 1];
    enum tally_code code; /* err has the message */
    struct tally_error err;
};

/* Each of the tasks by itself, several threads at once; with a dump in their order by one. dump
 * NULL: none. false: interrupted. @thread main */
bool task_rows_read(const char *dir, const struct state_task *tasks, size_t count,
        long long threads, FILE *dump, struct task_rows *rows);
