/* engine/runtime_internal.h - the runtime's struct, for runtime.c and query.c. */
#pragma once
#include <stdatomic.h>

#include "engine/base/stillness.h"
#include "engine/base/thread.h"
#include "engine/position_watch.h"
#include "engine/runtime.h"
#include "engine/stream_thread.h"
#include "engine/task_registry.h"

struct runtime_worker {
    struct tally_runtime *runtime;
    struct tally_stream_thread *stream;
    struct tally_thread thread;
    struct tally_stillness stillness; /* of its beat; under the runtime's lock */
};

struct tally_runtime {
    struct tally_runtime_options options;
    struct tally_state *state;
    struct tally_sinks *sinks; /* NULL: none */
    struct tally_task_registry *registry;
    struct runtime_worker *workers;
    size_t worker_count;
    _Atomic bool stopping;      /* workers end */
    _Atomic bool shutting_down; /* ready says no */
    bool started;
    struct tally_thread watch_thread;
    struct tally_cond watch_cond; /* stopping */
    struct tally_mutex lock;      /* failure, stillness */
    struct tally_error failure;
};
