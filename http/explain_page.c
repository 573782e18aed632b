/* http/explain_page.c - entries of a page as they come, newest first, each of them checked. */
#include "http/explain_page.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/base/mem.h"

enum { SCANNED_MAX = 20000, NOTE_BYTES = 400, ROW_BYTES_MAX = 64 * 1024 };

void explain_page_note(struct explain *explain, const char *text, ...)
{
    char *note = tally_arena_alloc(explain->arena, NOTE_BYTES);
    va_list arguments;

    tally_assert(explain->note_count < EXPLAIN_NOTES_MAX);
    va_start(arguments, text);
    (void)vsnprintf(note, NOTE_BYTES, text, arguments);
    va_end(arguments);
    explain->notes[explain->note_count++] = note;
}

static int64_t number(const int64_t n[STOCK_BUCKETS], int bucket)
{
    struct stock_level_row level = {0};

    memcpy(level.n, n, sizeof level.n);
    return bucket == STOCK_AVAILABLE     ? stock_level_available(&level)
           : bucket == STOCK_BACKORDERED ? stock_level_backordered(&level)
                                         : n[bucket];
}

static bool is_wanted(const struct explain *explain, const struct stock_ledger_row *row)
{
    int64_t before[STOCK_BUCKETS];

    if (explain->bucket < 0) {
        return true;
    }
    for (size_t i = 0; i < STOCK_BUCKETS; i++) {
        before[i] = row->after[i] - row->deltas[i];
    }
    return number(before, explain->bucket) != number(row->after, explain->bucket);
}

static void keep(struct explain *explain, const struct explain_entry *entry)
{
    struct explain_entry *kept = tally_arena_alloc(explain->arena, sizeof *kept);
    struct tally_buf bytes;

    *kept = *entry;
    tally_buf_init(&bytes, ROW_BYTES_MAX);
    stock_ledger_pack(&entry->row, &bytes);
    tally_assert(stock_ledger_unpack(tally_arena_copy(explain->arena, tally_buf_bytes(&bytes)),
            &kept->row));
    tally_buf_deinit(&bytes);
    kept->command = tally_arena_copy(explain->arena, entry->command);
    kept->correlation_id = tally_arena_copy(explain->arena, entry->correlation_id);
    kept->newer = explain->oldest;
    kept->older = NULL;
    *(explain->oldest ? &explain->oldest->older : &explain->newest) = kept;
    explain->oldest = kept;
    explain->count++;
}

void explain_page_begin(struct explain *explain)
{
    bool knows = explain->has_place ? explain->place.seq > 0 : !explain->has_as_of;

    if (knows && explain->has_place) {
        explain_check_begin(&explain->check, explain->place.seq, explain->place.n);
    } else if (knows) {
        explain_check_begin(&explain->check, explain->level.row.version, explain->level.row.n);
    }
    explain->checking = knows;
}

static void begin_check_as_of(struct explain *explain, const struct explain_entry *entry)
{
    explain_check_begin(&explain->check, entry->seq, entry->row.after);
    explain->checking = true;
    explain->has_top = !explain->has_place;
    explain->top.version = entry->seq;
    explain->top.updated_at = entry->row.recorded_at;
    memcpy(explain->top.n, entry->row.after, sizeof explain->top.n);
}

static void set_next(struct explain *explain, const struct explain_entry *entry)
{
    explain->has_next = true;
    explain->next.seq = entry->seq;
    explain->next.below = entry->event_offset < 0 ? TALLY_OFFSET_NONE : entry->event_offset + 1;
    memcpy(explain->next.n, explain->check.n, sizeof explain->next.n);
}

bool explain_page_take(struct explain *explain, const struct explain_entry *entry)
{
    if (!explain->checking) {
        begin_check_as_of(explain, entry);
    }
    if (!explain->has_next &&
            (explain->count == explain->limit || explain->scanned == SCANNED_MAX)) {
        set_next(explain, entry);
    }
    /* The first page of a ledger goes on for the check alone. */
    if (explain->has_next &&
            (explain->has_place || explain->scanned == SCANNED_MAX || entry->event_offset >= 0)) {
        explain->ended = true;
        return false;
    }
    explain->scanned++;
    explain->last_command = entry->row.offset;
    explain_check_entry(&explain->check, entry->seq, &entry->row);
    if (!explain->has_next && is_wanted(explain, &entry->row)) {
        keep(explain, entry);
    }
    explain->ended = entry->seq == 1;
    return !explain->ended;
}
