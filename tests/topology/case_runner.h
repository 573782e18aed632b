/* tests/topology/case_runner.h - runs a case file and gives the text that it should have been.
 * A case file is a transcript: lines at the margin are done, indented lines are what came out.
 *   # text                         a remark
 *   == title                       a new case: a new broker, new state
 *   @ partitions 4                 for the cases that follow (default 1)
 *   @ registration optional        stock.require_registration: false for the cases that follow
 *   @ topologies <names>           these run in the cases that follow, or all; of the others there
 *                                  are the topics. At first: catalogue stock. With the word
 *                                  projections those run too
 *   @ show messages                from here on what a transaction brings is shown when it commits:
 *                                  events with their topology and partition, and behind an arrow
 *                                  commands that tally itself sends. @ show events: as at first
 *   <topology> <json>              a command; then its events are shown
 *   <topology>... <json>           the same, kept back until the next line that runs
 *   raw <topology> <partition> <key> <value>   any record; \xhh are bytes, - is null; partition
 *                                  -1: of the key
 *   advance <ms>                   the clock
 *   run                            what is left to do, timers that are due among it
 *   state                          every row of every store
 *   views                          every row of the projections
 *   replies, dead-letters          what is new there
 *   messages                       what topologies have sent to each other: key, id, payload
 *   event                          the last event shown, all of it
 * Events are shown as type and payload without `outcome`; at first those of one topology after the
 * other. */
#pragma once
#include "engine/base/bytes.h"

/* Appends the transcript of the case file's instructions to *out. Fails the test on a line that it
 * does not understand. */
void case_runner_transcribe(struct tally_slice script, struct tally_buf *out);
