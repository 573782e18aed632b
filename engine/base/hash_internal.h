/* engine/base/hash_internal.h - the two ways to a CRC32C, so that a test can compare them. */
#pragma once
#include "engine/base/hash.h"

/* @thread any  @locks none */
uint32_t hash_crc32c_table(uint32_t crc, struct tally_slice bytes);
#if defined(__x86_64__)
uint32_t hash_crc32c_sse42(uint32_t crc, struct tally_slice bytes); /* only on a CPU with SSE4.2 */
#endif
