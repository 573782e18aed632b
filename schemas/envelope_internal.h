/* schemas/envelope_internal.h - what events and outcomes write alike. */
#pragma once
#include "schemas/envelope.h"

/* The errors of a rejection (a MessagePack array, or empty) as one value. */
void envelope_write_errors(struct tally_writer *writer, struct tally_slice errors);
