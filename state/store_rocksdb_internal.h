/* state/store_rocksdb_internal.h - the base tier on RocksDB. */
#pragma once
#include "state/base_internal.h"

struct store_rocksdb_shared; /* the block cache of a process */
struct store_rocksdb_shared *store_rocksdb_shared_create(int64_t cache_bytes);
void store_rocksdb_shared_destroy(struct store_rocksdb_shared *shared);        /* NULL is fine */
int64_t store_rocksdb_shared_bytes(const struct store_rocksdb_shared *shared); /* NULL: 0 */

enum store_rocksdb_mode { STORE_ROCKSDB_CREATE, STORE_ROCKSDB_EXISTING, STORE_ROCKSDB_READ_ONLY };
TALLY_MUST_CHECK enum tally_code store_rocksdb_open(struct tally_state *state, const char *path,
        enum store_rocksdb_mode mode, struct base **base, struct tally_error *err);
