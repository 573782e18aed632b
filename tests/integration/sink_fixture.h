/* tests/integration/sink_fixture.h - committed events as a sink gets them, made of JSON, and a sink
 * driven the way its runtime does. */
#pragma once
#include <check.h>

#include "engine/base/mem.h"
#include "engine/sink.h"

enum { SINK_FIXTURE_RECORDS = 65536, SINK_FIXTURE_PARTITIONS = 8 };
struct sink_fixture {
    struct tally_arena arena;
    struct tally_sink_record *records; /* not flushed yet */
    size_t count;
};
void sink_fixture_init(struct sink_fixture *fixture);
void sink_fixture_deinit(struct sink_fixture *fixture);

/* Adds an event of "<topology>.events" at an offset, decided at 2026-01-15T10:00:00Z and as many
 * seconds as the offset says; its command is c-<offset>. payload: its members without the outcome,
 * with ' for ". */
void sink_fixture_event(struct sink_fixture *fixture, const char *topology, int32_t partition,
        int64_t offset, const char *type, const char *key, const char *payload);
/* Those of sink_events.def: all, or of one topology. */
void sink_fixture_all(struct sink_fixture *fixture);
void sink_fixture_topic(struct sink_fixture *fixture, const char *topology);
/* One partition of each topic; *offset: what open said. */
enum tally_code sink_fixture_open(struct tally_sink *sink, const char *topology, int32_t partition,
        int64_t *offset, struct tally_error *err);
/* Puts and flushes all that was added, in this order; positions are one behind the last ones. */
enum tally_code sink_fixture_flush(struct sink_fixture *fixture, struct tally_sink *sink,
        struct tally_error *err);
