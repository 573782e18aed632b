/* connectors/http_forward.h - engine/forward.h on libcurl, with owners as the consumer groups tell
 * them. */
#pragma once
#include "engine/base/config.h"
#include "engine/forward.h"

struct tally_forward_task {
    const char *topology;
    const char *topic; /* that its tasks consume, with prefix */
    const char *group; /* behind app.id; NULL: that of the aggregates */
};
struct tally_forward_options {
    const struct tally_config *config;
    const char *address; /* that this instance publishes; "": none */
    const struct tally_forward_task *tasks;
    size_t task_count;
    int32_t partitions;
};
/* options are borrowed for the call, config and the strings of tasks until destroy. Needs neither
 * broker nor instances. @thread main */
struct tally_forward *tally_http_forward_create(const struct tally_forward_options *options);
/* What an instance publishes as its address: http.advertise, else where it listens, with the name
 * of the host if that is 0.0.0.0. "": none, because there is no HTTP, or its port is chosen by the
 * system. @thread main */
void tally_http_forward_address(const struct tally_config *config,
        char address[static TALLY_ADDRESS_BYTES_MAX]);
