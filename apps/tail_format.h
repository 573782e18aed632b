/* apps/tail_format.h - how `tally tail` prints one record: kcat's tokens, or its JSON envelope.
 * @thread any */
#pragma once
#include "engine/base/mem.h"
#include "engine/client.h"

struct tail_format {
    const char *format;           /* of -f; NULL: key_delimiter and record_delimiter decide */
    const char *key_delimiter;    /* of -K; NULL: no key */
    const char *record_delimiter; /* of -D */
    bool json;                    /* -J */
    bool nulls;                   /* -Z: NULL instead of nothing */
    bool raw;                     /* MessagePack stays as it is */
};

/* One record with what is not in struct tally_record. */
struct tail_record {
    const struct tally_record *record;
    const char *timestamp_type; /* "create", "logappend", "unknown" */
    int32_t broker;
    const struct tally_header *headers;
    size_t header_count;
};

/* The first token of a format or delimiter that does not exist; 0: all do. */
char tail_format_unknown(const char *text);
/* Appends the record to *out. A MessagePack value is shown as the JSON of the same document (also
 * inside the envelope, whose payload is always a string) unless raw; %S is the size of what %s
 * shows. arena is reset. */
void tail_format_record(const struct tail_format *format, const struct tail_record *record,
        struct tally_arena *arena, struct tally_buf *out);
/* The bytes as UTF-8; what is not becomes U+FFFD. Borrows from bytes or the arena. */
struct tally_slice tail_format_text(struct tally_slice bytes, struct tally_arena *arena);
