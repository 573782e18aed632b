/* http/low_stock_metrics.h - how many levels need attention, as a metric. */
#pragma once

/* A tally_collect_fn; context: the runtime. @thread any */
void low_stock_metrics_collect(void *runtime);
