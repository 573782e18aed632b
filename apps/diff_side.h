/* apps/diff_side.h - one of two states that `tally diff` compares: a dump, a directory, a running
 * instance, or a list of hashes. Rows come task by task, in the order of their keys.
 *  (1) An instance is read whole before anything is compared, each task at one position.
 *  (2) What is none of these, and rows out of order, are refused with file and line.
 * @thread main */
#pragma once
#include <stdio.h>

#include "apps/ops_client.h"
#include "apps/state_reader.h"
#include "schemas/digest.h"
#include "schemas/serde.h"
#include "state/key_schema.h"

enum diff_kind { DIFF_DUMP, DIFF_HASHES, DIFF_DIRECTORY, DIFF_INSTANCE };

struct diff_task {
    struct state_task task;
    char position[300]; /* "stock.events/2@990"; "": not known, or nothing yet */
    uint64_t rows;      /* of hashes, or after diff_side_hash */
    char hash[TALLY_DIGEST_LEN + 1];
    long begin, end; /* in file */
    long line;       /* of `begin` */
};

struct diff_row {
    struct tally_slice line; /* without its newline; until the next row */
    struct tally_slice key;  /* after diff_side_key */
};

struct diff_side {
    const char *name; /* as it was given */
    enum diff_kind kind;
    struct diff_task *tasks; /* by topology and partition */
    size_t count;
    FILE *file; /* of lines; NULL: a directory */
    char *text; /* getline's */
    size_t text_size;
    struct tally_store *store; /* of the task that is read */
    struct tally_view *view;
    struct tally_iterator *rows;
    const struct diff_task *reading;
    long at, line;
    struct tally_slice key_bytes;
    struct tally_buf buf, last_key;
    struct tally_key key;
    struct tally_arena arena;
};

/* Which tasks are wanted of it. */
struct diff_filter {
    const char *topology; /* NULL: all */
    int64_t partition;    /* -1: all */
};
/* name: a file, "-", a directory, or http://host:port; token: for that. diff_side_close in every
 * case. CONFIG: it is none of these; NOT_FOUND; UNAVAILABLE, ...; STATE_LOCKED. */
TALLY_MUST_CHECK enum tally_code diff_side_open(struct diff_side *side, const char *name,
        const char *token, const struct diff_filter *filter, struct tally_error *err);
void diff_side_close(struct diff_side *side);
struct diff_task *diff_side_find(const struct diff_side *side, const struct state_task *task);

/* Not of hashes. NOT_FOUND: no more rows of the task. */
TALLY_MUST_CHECK enum tally_code diff_side_begin(struct diff_side *side,
        const struct diff_task *task, struct tally_error *err);
TALLY_MUST_CHECK enum tally_code diff_side_next(struct diff_side *side, struct diff_row *row,
        struct tally_error *err);
/* Fills row->key, which lives as long as the line. BAD_RECORD: it is no row, or out of order. */
TALLY_MUST_CHECK enum tally_code diff_side_key(struct diff_side *side, struct diff_row *row,
        struct tally_error *err);
void diff_side_end(struct diff_side *side);
/* Fills rows and hash of every task. */
TALLY_MUST_CHECK enum tally_code diff_side_hash(struct diff_side *side, struct tally_error *err);
