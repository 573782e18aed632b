/* schemas/operation.h - what a saga remembers of the command that began it: whose outcome it ends
 * with, and who waits for that. Stands in the aggregate's operation row and in events, as `op`.
 * A family's own struct begins with struct tally_operation and its table lists the four fields
 * with OPERATION(member) or OPERATION_ROWS(struct, member) of serde_table.h; its own bits start at
 * TALLY_OPERATION_FAMILY. @thread any */
#pragma once
#include "schemas/envelope.h"

/* A correlation id over this is not kept, and neither is the wish for a reply: an answer that
 * nobody can assign is none. The sender may still ask, with the same command again. */
#define TALLY_CORRELATION_MAX 1024

enum {
    TALLY_REPLY_TOPIC,
    TALLY_REPLY_PARTITION,
    TALLY_REPLY_TEXT,
    TALLY_REPLY_HEX,
    TALLY_REPLY_FORMAT
};
/* Where the sender of a command wants its outcome. Of correlation_id and correlation_hex one is
 * there at most: an id that is not text is kept in hexadecimal digits. */
struct tally_reply_to {
    struct tally_presence presence;
    struct tally_slice topic;
    struct tally_slice correlation_id, correlation_hex;
    int64_t partition;
    uint8_t format; /* enum tally_format */
};
extern const char *const tally_reply_formats[];
extern const struct tally_schema tally_reply_schema;

/* correlation.data NULL: there is none. Borrows; digits are made in the arena. */
void tally_reply_set_correlation(struct tally_reply_to *reply, struct tally_slice correlation,
        struct tally_arena *arena);
/* data NULL: none. Borrows from the reply or the arena. */
struct tally_slice tally_reply_correlation(const struct tally_reply_to *reply,
        struct tally_arena *arena);

enum {
    TALLY_OPERATION_ID,
    TALLY_OPERATION_COMMAND,
    TALLY_OPERATION_FINGERPRINT,
    TALLY_OPERATION_REPLY,
    TALLY_OPERATION_FAMILY
};
struct tally_operation {
    struct tally_presence presence;
    struct tally_slice op_id;       /* id of the command that began it */
    struct tally_slice command;     /* its type */
    struct tally_slice fingerprint; /* of its fields: 16 hexadecimal digits */
    struct tally_reply_to reply;    /* only with TALLY_OPERATION_REPLY */
};

/* Of a command, without a reply. Borrows; digits are made in the arena. */
void tally_operation_of(const struct tally_command *command, struct tally_arena *arena,
        struct tally_operation *operation);
/* What an event that ends it says; false: the fingerprint is none. */
bool tally_operation_completes(const struct tally_operation *operation, enum tally_status status,
        struct tally_completes *completes);
