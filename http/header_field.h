/* http/header_field.h - what the values of request headers mean: RFC 9110 (Accept, entity tags),
 * RFC 7240 (Prefer), the Idempotency-Key draft. Pure functions. @thread any */
#pragma once
#include "http/request.h"

#define HEADER_FIELD_WAIT_MAX_S 30

/* Prefer: wait=n with n = 1..30. false: not asked for, or not understood, which is the same. */
bool header_field_prefer_wait(const struct request *request, int64_t *seconds);
/* Whether Accept (data NULL: no header) allows this type, "application/json". */
bool header_field_accepts(struct tally_slice accept, const char *type);
/* Whether Content-Type is this type, whatever its case; a charset other than UTF-8 is not. */
bool header_field_is_type(struct tally_slice content_type, const char *type);
/* Whether If-None-Match (a list, or `*`) names this tag, by weak comparison. */
bool header_field_none_match(struct tally_slice if_none_match, struct tally_slice etag);
/* If-Match of a command: `*` gives *any, "p2-v911" gives *version 911. false: neither. */
bool header_field_match_version(struct tally_slice if_match, bool *any, int64_t *version);
/* Idempotency-Key, bare or in double quotes, that a client may use as its command id. */
bool header_field_command_id(struct tally_slice value, struct tally_slice *id);
bool header_field_is_command_id(struct tally_slice text); /* [A-Za-z0-9._:-]{1,64} */
