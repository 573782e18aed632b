/* engine/runtime_metrics.h - gauges of a runtime that are computed when they are looked at. */
#pragma once

/* A tally_collect_fn; context: the runtime. @thread any */
void tally_runtime_collect(void *context);
