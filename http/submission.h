/* http/submission.h - from a request to the record of a command: everything that is checked and
 * made before Kafka is asked. @thread http */
#pragma once
#include "http/exchange.h"

struct submission {
    struct tally_topology *topology;
    const struct tally_schema *schema;
    struct tally_slice type, id, actor; /* actor: data NULL without one */
    enum tally_format format;
    struct tally_slice fields;         /* the body, as it came */
    const struct tally_token *members; /* the same, parsed */
    bool expects_version;              /* by If-Match */
    int64_t expected_version;
    struct tally_slice record, key; /* what goes to Kafka; in the arena */
    uint64_t fingerprint;
};

/* false: the request is refused, nothing may be written, and the problem is answered. */
bool submission_make(struct exchange *exchange, struct submission *submission);
/* The same of an item of a batch, in the flat form. Its id is set if it has a good one. */
bool submission_make_item(struct exchange *exchange, const struct tally_token *item,
        enum tally_format format, struct submission *submission);
