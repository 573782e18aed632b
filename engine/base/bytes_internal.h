/* engine/base/bytes_internal.h - what bytes.c shares with log.c. */
#pragma once
#include "engine/base/bytes.h"

/* Length (1-4) and code point of the UTF-8 sequence that `text` starts with; 0: not valid.
 * NUL is a sequence here. @thread any  @locks none */
size_t bytes_utf8_step(struct tally_slice text, uint32_t *code_point);
