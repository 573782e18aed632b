/* tests/topology/case_runner.h - runs a case file and gives the text that it should have been.
 * A case file is a transcript: lines at the margin are done, indented lines are what came out.
 *   # text                         a remark
 *   == title                       a new case: a new broker, new state
 *   @ partitions 4                 for the cases that follow (default 1)
 *   @ registration optional        stock.require_registration: false for the cases that follow
 *   <topology> <json>              a command; then its events are shown
 *   <topology>... <json>           the same, kept back until the next line that runs
 *   raw <topology> <partition> <key> <value>   any record; \xhh are bytes, - is null; partition
 *                                  -1: of the key
 *   advance <ms>                   the clock
 *   state                          every row of every store
 *   replies, dead-letters          what is new there
 *   messages                       what topologies have sent to each other: key, id, payload
 *   event                          the last event shown, all of it
 * Events are shown as type and payload without `outcome`. */
#pragma once
#include "engine/base/bytes.h"

/* Appends the transcript of the case file's instructions to *out. Fails the test on a line that it
 * does not understand. */
void case_runner_transcribe(struct tally_slice script, struct tally_buf *out);
