/* topologies/catalogue/catalogue_internal.h - the functions of the catalogue aggregate. */
#pragma once
#include "engine/tally.h"
#include "schemas/catalogue_records.h"

#define CATALOGUE_STOCK_COMMANDS "stock.commands"

void catalogue_touch(struct tally_touch *touch, const struct tally_command *command);
void catalogue_decide(struct tally_context *ctx, const struct tally_command *command);
void catalogue_evolve(struct tally_context *ctx, const struct tally_event *event);
void catalogue_remember(const struct tally_event *event, struct tally_buf *memo);
void catalogue_result(struct tally_context *ctx, struct tally_slice key,
        const struct tally_outcome *outcome, struct tally_writer *writer, int64_t *version);

struct tally_key catalogue_warehouse_key(struct tally_slice warehouse);
