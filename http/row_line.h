/* http/row_line.h - a row of a task's store as one line of JSON, the same wherever a store is
 * dumped: GET /v1/ops/dump of a running instance, `tally fsck` on the files of a stopped one.
 *   {"topology":"stock","partition":2,"store":"level","key":"TS-RED-M.AMS1","value":{...}}
 * @thread any */
#pragma once
#include "engine/base/bytes.h"

/* Appends the line with its newline. false: the key is of no store of the topology, or the row is
 * damaged; the line then has "damaged" with the bytes in hex instead of "value". */
bool tally_row_line_write(const char *topology, int32_t partition, struct tally_slice key,
        struct tally_slice row, struct tally_buf *out);
/* Appends the row alone as a JSON object; false: damaged, nothing is appended. */
bool tally_row_line_value(const char *topology, struct tally_slice key, struct tally_slice row,
        struct tally_buf *out);
