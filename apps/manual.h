/* apps/manual.h - pages of the manual, in man(7), made of what `tally help` prints. @thread main */
#pragma once
#include "apps/verbs.h"

void manual_overview(struct tally_buf *out);                      /* tally(1) */
void manual_verb(const struct verb *verb, struct tally_buf *out); /* tally-VERB(1) */
void manual_settings(struct tally_buf *out);                      /* tally.yaml(5) */
