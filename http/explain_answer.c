/* http/explain_answer.c - the answer of explain_query.c as JSON. */
#include "http/explain_page.h"
#include "http/ledger_query.h"
#include "http/problem.h"
#include "http/reading.h"

static void write_int(struct tally_writer *writer, const char *name, int64_t value)
{
    tally_write_name(writer, name);
    tally_write_int(writer, value);
}

static void write_text(struct tally_writer *writer, const char *name, struct tally_slice text)
{
    tally_write_name(writer, name);
    tally_write_string(writer, text);
}

static void write_buckets(struct tally_writer *writer, const char *name,
        const int64_t n[STOCK_BUCKETS])
{
    tally_write_name(writer, name);
    tally_write_map(writer, STOCK_BUCKETS);
    for (size_t i = 0; i < STOCK_BUCKETS; i++) {
        write_int(writer, stock_number_names[i], n[i]);
    }
}

static void write_level(struct tally_writer *writer, const struct explain *explain)
{
    tally_write_name(writer, "level");
    if (explain->has_as_of) {
        stock_level_json(writer, explain->sku, explain->warehouse, &explain->top, NULL);
    } else {
        stock_level_json(writer, explain->sku, explain->warehouse, &explain->level.row,
                &explain->level.setting);
    }
}

static void write_break(struct tally_writer *writer, const struct explain_break *broken)
{
    tally_write_name(writer, "break");
    if (broken->seq == 0) {
        tally_write_null(writer);
        return;
    }
    tally_write_map(writer, 4);
    write_int(writer, "seq", broken->seq);
    tally_write_name(writer, "bucket");
    if (broken->bucket < 0) {
        tally_write_null(writer);
    } else {
        tally_write_string(writer, tally_slice_string(stock_number_names[broken->bucket]));
    }
    write_int(writer, "expected", broken->expected);
    write_int(writer, "found", broken->found);
}

static void write_check(struct tally_writer *writer, const struct explain_check *check)
{
    tally_write_name(writer, "check");
    tally_write_map(writer, 7);
    write_text(writer, "result",
            check->broken.seq ? TALLY_SLICE("broken") : TALLY_SLICE("consistent"));
    tally_write_name(writer, "whole");
    tally_write_bool(writer, explain_check_is_whole(check));
    write_int(writer, "newest", check->newest);
    write_int(writer, "oldest", check->oldest);
    write_buckets(writer, "sum", check->sum);
    write_buckets(writer, "before", check->n);
    write_break(writer, &check->broken);
}

static void write_items(struct tally_writer *writer, const struct explain *explain)
{
    tally_write_name(writer, "items");
    tally_write_array(writer, (uint32_t)explain->count);
    for (const struct explain_entry *entry = explain->newest; entry; entry = entry->older) {
        const struct ledger_query_origin origin = {.topology = explain->info.topology,
                .topic = explain->info.log,
                .offset = entry->event_offset,
                .command = entry->command,
                .correlation_id = entry->correlation_id};

        ledger_query_explained_json(writer, explain->sku, explain->warehouse, entry->seq,
                &entry->row, explain->info.topic, explain->info.partition, &origin);
    }
}

static void write_next(struct tally_writer *writer, const struct explain *explain)
{
    uint8_t place[8 * (2 + STOCK_BUCKETS)];

    tally_put_u64(place, (uint64_t)explain->next.seq);
    tally_put_u64(place + 8, (uint64_t)explain->next.below);
    for (size_t i = 0; i < STOCK_BUCKETS; i++) {
        tally_put_u64(place + 16 + 8 * i, (uint64_t)explain->next.n[i]);
    }
    reading_cursor_write(explain->exchange, writer, tally_buf_bytes(&explain->filter),
            tally_slice_of(place, explain->has_next ? sizeof place : 0));
}

static const char *source(const struct explain *explain)
{
    if (explain->from_events) {
        return explain->from_ledger ? "ledger,events" : "events";
    }
    return explain->from_ledger ? "ledger" : "none";
}

void explain_answer(struct explain *explain)
{
    struct exchange *exchange = explain->exchange;
    bool has_level = explain->has_as_of ? explain->has_top : !explain->has_place;
    struct tally_writer writer;

    if (explain->has_as_of && !has_level && !explain->has_place && !explain->has_next) {
        struct tally_slice as_of = request_query(&exchange->request, "as_of");

        problem_answer(exchange, PROBLEM_NOT_FOUND,
                "nothing had moved SKU \"%.*s\" in warehouse \"%.*s\" by %.*s",
                (int)explain->sku.len, (const char *)explain->sku.data, (int)explain->warehouse.len,
                (const char *)explain->warehouse.data, (int)as_of.len, (const char *)as_of.data);
        return;
    }
    response_json(&exchange->response, 200, &writer);
    tally_write_map(&writer, 7 + (uint32_t)has_level);
    write_text(&writer, "sku", explain->sku);
    write_text(&writer, "warehouse", explain->warehouse);
    if (has_level) {
        write_level(&writer, explain);
    }
    write_text(&writer, "source", tally_slice_string(source(explain)));
    write_items(&writer, explain);
    write_check(&writer, &explain->check);
    tally_write_name(&writer, "notes");
    tally_write_array(&writer, (uint32_t)explain->note_count);
    for (size_t i = 0; i < explain->note_count; i++) {
        tally_write_string(&writer, tally_slice_string(explain->notes[i]));
    }
    write_next(&writer, explain);
}
