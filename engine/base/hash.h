/* engine/base/hash.h - the hashes that other programs must agree with. */
#pragma once
#include "engine/base/bytes.h"

/* CRC32C (RFC 3720 polynomial), continued from `crc`; start with 0. SSE4.2 where the CPU has it. */
uint32_t tally_crc32c(uint32_t crc, struct tally_slice bytes);
/* Kafka's murmur2 (org.apache.kafka.common.utils.Utils.murmur2), seed 0x9747b28c. */
uint32_t tally_murmur2(struct tally_slice key);
/* The partition that Kafka's Java default partitioner and librdkafka's murmur2 give a key. */
int32_t tally_partition_of(struct tally_slice key, int32_t partitions);
