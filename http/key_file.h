/* http/key_file.h - reads a file that says who may do what. Whoever can write it can be anybody, so
 * one that others may write is refused; one that holds what others must not read, too.
 * @thread any */
#pragma once
#include "engine/base/bytes.h"

#define KEY_FILE_BYTES_MAX (1024 * 1024)

enum key_file_kind {
    KEY_FILE_PUBLIC, /* may be read by everybody */
    KEY_FILE_SECRET  /* by its owner and group alone */
};
/* Appends the content. CONFIG, and the message names the file: not there, no file, open to others,
 * empty, over KEY_FILE_BYTES_MAX, or with a NUL. */
TALLY_MUST_CHECK enum tally_code key_file_read(const char *path, enum key_file_kind kind,
        struct tally_buf *content, struct tally_error *err);
