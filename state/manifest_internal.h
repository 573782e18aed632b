/* state/manifest_internal.h - RocksDB's list of live files, checked more strictly than by RocksDB.
 */
#pragma once
#include "engine/base/bytes.h"
#include "engine/base/error.h"

/* Checks the manifest that CURRENT of this task directory names. A torn end, as a loss of power
 * leaves it, is an older prefix: allowed when `torn_end` is, else STORE_CORRUPT like everything
 * else that is not whole. STORE_ERROR: it could not be read. A directory without CURRENT or without
 * the file is left to RocksDB, which tells. */
TALLY_MUST_CHECK enum tally_code manifest_check(const char *path, bool torn_end,
        struct tally_error *err);
