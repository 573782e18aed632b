/* http/explain_events.c - what explain_query.c asks the events topic: entries that the ledger does
 * not have, and where the events of the others are. */
#include "http/explain_page.h"
#include "http/ledger_query.h"

static enum tally_code open_search(const struct explain *explain, struct event_search **search,
        struct tally_error *err)
{
    return event_search_open(&(struct event_search_options){.client = explain->client,
                                     .topology = explain->info.topology,
                                     .topic = explain->info.log,
                                     .partition = explain->info.partition,
                                     .last = explain->info.log_last,
                                     .last_command = explain->info.position,
                                     .end_ms = explain->end_ms,
                                     .types = stock_event_schemas},
            search, err);
}

/* What the event says besides the entry. */
static void take_origin(struct explain_entry *entry, const struct event_search_found *found)
{
    const struct tally_event *event = found->event;

    entry->event_offset = found->offset;
    entry->command = event->outcome.command;
    entry->correlation_id = tally_slice_equal(event->correlation_id, event->command_id)
                                    ? TALLY_NONE
                                    : event->correlation_id;
}

static bool take_event(void *context, const struct event_search_found *found)
{
    struct explain *explain = context;
    const struct stock_event *stock = found->event->body;
    struct explain_entry entry = {.event_offset = found->offset};

    if (!found->event->schema || !stock_event_has_level(stock) ||
            !tally_slice_equal(stock->warehouse, explain->warehouse)) {
        return true;
    }
    entry.seq = stock->seq;
    ledger_query_of_event(found->event, &entry.row);
    take_origin(&entry, found);
    explain->from_events = true;
    return explain_page_take(explain, &entry);
}

/* Below which event the entries that are wanted begin. */
static enum tally_code find_below(const struct explain *explain, struct event_search *search,
        int64_t *below, struct tally_error *err)
{
    struct event_search_found found;
    enum tally_code code = TALLY_OK;

    *below = explain->info.log_last + 1;
    if (explain->has_place && explain->place.below >= 0) {
        *below = explain->place.below;
    } else if (explain->last_command >= 0) {
        code = event_search_command(search, explain->last_command, &found, err);
        *below = code ? *below : found.offset;
    } else if (explain->has_as_of) {
        code = event_search_time(search, explain->as_of_ms + 1, below, err);
    }
    return code == TALLY_NOT_FOUND ? TALLY_OK : code;
}

/* The page ends before the entries do. */
static void go_on_later(struct explain *explain, int64_t below)
{
    if (explain->has_next) {
        return;
    }
    explain->has_next = true;
    explain->next = explain->place; /* nothing was found yet */
    if (explain->checking) {
        explain->next.seq = explain->check.seq;
        memcpy(explain->next.n, explain->check.n, sizeof explain->next.n);
    }
    explain->next.below = below;
}

/* The partition was read to its beginning. */
static void end(struct explain *explain, int64_t begin)
{
    if (begin > 0) {
        explain_page_note(explain, "%s/%d begins at %lld: what was before is not known any more",
                explain->info.log, (int)explain->info.partition, (long long)begin);
    } else if (explain->checking) {
        explain_check_end(&explain->check);
    }
}

enum tally_code explain_events_read(struct explain *explain, struct tally_error *err)
{
    struct event_search *search = NULL;
    int64_t below = 0;
    enum tally_code code = open_search(explain, &search, err);

    if (!code) {
        code = find_below(explain, search, &below, err);
    }
    if (!code) {
        code = event_search_back(search, explain->sku, &below, take_event, explain, err);
    }
    if (code == TALLY_AGAIN) {
        go_on_later(explain, below);
        code = TALLY_OK;
    } else if (!code && !explain->ended) {
        end(explain, event_search_begin(search));
    }
    event_search_close(search);
    return code;
}

/* From the oldest on: the next one is looked for behind the last. */
void explain_events_find(struct explain *explain)
{
    struct event_search *search = NULL;
    struct tally_error err = {0};
    enum tally_code code = TALLY_OK;

    for (struct explain_entry *entry = explain->oldest; entry && !code; entry = entry->newer) {
        struct event_search_found found;

        if (entry->event_offset >= 0) {
            continue;
        }
        code = search ? TALLY_OK : open_search(explain, &search, &err);
        if (!code) {
            code = event_search_command(search, entry->row.offset, &found, &err);
        }
        if (!code) {
            take_origin(entry, &found);
            entry->command = tally_arena_copy(explain->arena, entry->command);
            entry->correlation_id = tally_arena_copy(explain->arena, entry->correlation_id);
        } else if (code == TALLY_NOT_FOUND) {
            code = TALLY_OK;
        }
    }
    if (code) {
        explain_page_note(explain, "not every event's position is known: %s", err.message);
    }
    event_search_close(search);
}
