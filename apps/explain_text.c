/* apps/explain_text.c - see explain_text.h. */
#include "apps/explain_text.h"

#include <stdio.h>

#include "schemas/stock_records.h"

#define WHY_MAX 8192

static const struct tally_token *member(const struct tally_token *map, const char *name)
{
    const struct tally_token *token = map ? tally_token_member(map, name) : NULL;

    return token && token->type != TALLY_NULL ? token : NULL;
}

static struct tally_slice text_of(const struct tally_token *map, const char *name)
{
    const struct tally_token *token = member(map, name);

    return token && token->type == TALLY_STRING ? token->string : TALLY_SLICE("");
}

static int64_t int_of(const struct tally_token *map, const char *name)
{
    const struct tally_token *token = member(map, name);

    return token && token->type == TALLY_INT ? token->integer : 0;
}

void explain_text_merge(struct explain_text_check *check, const struct tally_token *page)
{
    const struct tally_token *told = member(page, "check"), *broken = member(told, "break");
    const struct tally_token *whole = member(told, "whole");
    struct tally_slice bucket = text_of(broken, "bucket");

    if (broken && !check->broken) {
        check->broken = true;
        check->seq = int_of(broken, "seq");
        check->expected = int_of(broken, "expected");
        check->found = int_of(broken, "found");
        (void)snprintf(check->bucket, sizeof check->bucket, "%.*s", (int)bucket.len,
                (const char *)bucket.data);
    }
    check->whole = check->whole || (whole && whole->type == TALLY_BOOL && whole->integer);
    check->newest = check->newest ? check->newest : int_of(told, "newest");
    if (int_of(told, "oldest") > 0 &&
            (check->oldest == 0 || int_of(told, "oldest") < check->oldest)) {
        check->oldest = int_of(told, "oldest");
    }
}

static void put_slice(struct tally_buf *out, const char *before, struct tally_slice text,
        const char *behind)
{
    if (text.len > 0) {
        tally_buf_format(out, "%s%.*s%s", before, (int)text.len, (const char *)text.data, behind);
    }
}

void explain_text_level(const struct tally_token *page, struct tally_buf *out)
{
    const struct tally_token *level = member(page, "level");

    put_slice(out, "", text_of(page, "sku"), "");
    put_slice(out, " in ", text_of(page, "warehouse"), "");
    tally_buf_format(out, ": version %lld", (long long)int_of(level, "version"));
    put_slice(out, " of ", text_of(level, "updated_at"), "");
    put_slice(out, ", policy ", text_of(level, "policy"), "");
    tally_buf_byte(out, '\n');
    for (size_t i = 0; i < STOCK_NUMBERS; i++) {
        tally_buf_format(out, "%s%-15s %12lld", i % 2 ? "    " : "  ", stock_number_names[i],
                (long long)int_of(level, stock_number_names[i]));
        tally_buf_string(out, i % 2 || i + 1 == STOCK_NUMBERS ? "\n" : "");
    }
}

/* "on_hand -2 = 38, committed -2 = 8; available 24" */
static void put_change(const struct tally_token *item, struct tally_buf *out)
{
    const struct tally_token *deltas = member(item, "deltas"), *after = member(item, "after");
    bool first = true;

    for (size_t i = 0; i < STOCK_BUCKETS; i++) {
        const char *name = stock_number_names[i];
        int64_t delta = int_of(deltas, name);

        if (delta != 0) {
            tally_buf_format(out, "%s%s %+lld = %lld", first ? "" : ", ", name, (long long)delta,
                    (long long)int_of(after, name));
            first = false;
        }
    }
    tally_buf_format(out, "%savailable %lld\n", first ? "" : "; ",
            (long long)int_of(after, "available"));
}

static void put_origin(const struct tally_token *item, struct tally_buf *out)
{
    struct tally_slice command = text_of(item, "command"), at = text_of(item, "event_position");

    tally_buf_string(out, "        ");
    put_slice(out, "", command, " ");
    put_slice(out, "", text_of(item, "command_id"), "");
    put_slice(out, " at ", text_of(item, "position"), "");
    put_slice(out, ", event ", at, "");
    put_slice(out, at.len ? "" : ", event id ", at.len ? TALLY_NONE : text_of(item, "event_id"),
            " (its position is not known)");
    put_slice(out, ", by ", text_of(item, "actor"), "");
    put_slice(out, ", begun by ", text_of(item, "correlation_id"), "");
    tally_buf_byte(out, '\n');
}

static void put_why(const struct tally_token *item, struct tally_buf *out)
{
    static const struct {
        const char *name, *shown;
    } causes[] = {{"reservation_id", ", reservation "}, {"order_id", ", order "},
            {"shipment_id", ", shipment "}, {"return_id", ", return "},
            {"transfer_id", ", transfer "}};
    const struct tally_token *cause = member(item, "cause");
    struct tally_buf why;

    tally_buf_init(&why, WHY_MAX);
    put_slice(&why, ", reason ", text_of(item, "reason"), "");
    put_slice(&why, ", reference ", text_of(item, "reference"), "");
    put_slice(&why, ", note \"", text_of(item, "note"), "\"");
    for (size_t i = 0; i < sizeof causes / sizeof *causes; i++) {
        put_slice(&why, causes[i].shown, text_of(cause, causes[i].name), "");
        if (i == 0 && int_of(cause, "line") > 0) {
            tally_buf_format(&why, " line %lld", (long long)int_of(cause, "line"));
        }
    }
    if (why.len > 2) {
        put_slice(out, "        ", tally_slice_of(why.data + 2, why.len - 2), "\n");
    }
    tally_buf_deinit(&why);
}

/* What people wrote must not command their terminals. */
static void defuse(struct tally_buf *out, size_t from)
{
    for (size_t i = from; i < out->len; i++) {
        if ((out->data[i] < ' ' && out->data[i] != '\n') || out->data[i] == 0x7f) {
            out->data[i] = '?';
        }
    }
}

void explain_text_items(const struct tally_token *page, struct tally_buf *out)
{
    const struct tally_token *items = member(page, "items");
    const struct tally_token *item = items ? items + 1 : NULL;
    size_t from = out->len;

    for (uint32_t i = 0; items && i < items->count; i++, item = tally_token_next(item)) {
        struct tally_slice kind = text_of(item, "kind"), time = text_of(item, "recorded_at");

        tally_buf_format(out, "%6lld  %.*s  %-15.*s ", (long long)int_of(item, "seq"),
                (int)time.len, (const char *)time.data, (int)kind.len, (const char *)kind.data);
        put_change(item, out);
        put_origin(item, out);
        put_why(item, out);
    }
    defuse(out, from);
}

void explain_text_verdict(const struct explain_text_check *check, struct tally_buf *out)
{
    if (check->broken && !check->bucket[0]) {
        tally_buf_format(out, "broken: entry %lld is missing%s\n", (long long)check->seq,
                check->found ? "" : ", and so are all before it");
    } else if (check->broken) {
        tally_buf_format(out,
                "broken at entry %lld: %s is %lld behind it, where what follows begins with "
                "%lld\n",
                (long long)check->seq, check->bucket, (long long)check->found,
                (long long)check->expected);
    } else if (check->whole && check->newest == 0) {
        tally_buf_string(out, "consistent: nothing has moved it\n");
    } else if (check->whole) {
        tally_buf_format(out, "consistent: the deltas of entries 1 to %lld add up to it\n",
                (long long)check->newest);
    } else if (check->newest > 0) {
        tally_buf_format(out, "consistent so far: entries %lld to %lld, those before not checked\n",
                (long long)check->oldest, (long long)check->newest);
    } else {
        tally_buf_string(out, "not checked: no entry was found\n");
    }
}
