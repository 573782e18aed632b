/* http/document.h - a request's body as a document: JSON or MessagePack. @thread http */
#pragma once
#include "http/exchange.h"

/* Content-Type, and that nothing encodes the body. false: the problem is answered. */
bool document_media_type(struct exchange *exchange, enum tally_format *format);
/* The body as one map, in the arena; bytes: the body without white space around it. false: the
 * problem is answered. */
bool document_parse(struct exchange *exchange, enum tally_format format,
        const struct tally_token **root, struct tally_slice *bytes);
/* What the decoder refuses, answered: 422 for a number that is no int64, else 400. */
void document_refuse(struct exchange *exchange, enum tally_refusal refusal,
        const struct tally_error *err);
