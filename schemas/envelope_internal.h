/* schemas/envelope_internal.h - what events and outcomes write alike, and shapes ask. */
#pragma once
#include "schemas/envelope.h"

/* The errors of a rejection (a MessagePack array, or empty) as one value. */
void envelope_write_errors(struct tally_writer *writer, struct tally_slice errors);
/* Whether a flat command has no field of this name, whatever its schema is. */
bool envelope_is_member(struct tally_slice name);
