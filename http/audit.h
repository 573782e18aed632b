/* http/audit.h - who has written or operated what: a record on the topic `tally.audit` for each
 * command that a request wrote or tried to, and for each operation, when http.audit is on.
 * Invariants
 *  (1) No answer waits for it: a bounded queue takes a record, or it is dropped and counted.
 *  (2) The command and its record are two writes: after a crash either may be there alone. What was
 *      done is in the events topic, with its actor; this topic says who tried what.
 * @thread http */
#pragma once
#include "http/exchange.h"

#define AUDIT_TOPIC "tally.audit" /* behind topics.prefix */

/* A command that was given to Kafka; offset -1: it was not acknowledged. Everything borrows until
 * the request ends; topic is constant. */
void audit_command(struct exchange *exchange, struct tally_slice id, struct tally_slice type,
        const char *topic, int32_t partition, int64_t offset);
/* Its outcome, if that became known. outcome: "ACCEPTED"; code: why it was rejected, or NULL. */
void audit_outcome(struct exchange *exchange, const char *topic, int32_t partition, int64_t offset,
        const char *outcome, const char *code);
/* The request is answered: its records are sent. */
void audit_end(struct exchange *exchange);
