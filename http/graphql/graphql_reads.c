/* http/graphql/graphql_reads.c - see graphql_reads.h. */
#include "http/graphql/graphql_reads.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/hash.h"
#include "engine/base/log.h"
#include "http/elsewhere_cached.h"
#include "http/forwarding.h"
#include "http/problem.h"

enum {
    OUTCOME_BYTES_MAX = 4 * 1024 * 1024,
    POSITION_BYTES_MAX = 512,
    SCANNED_BYTES_MAX = 8 * 1024 * 1024
};

struct graphql_owner {
    const char *topology;
    int32_t partition;
    bool opened;
    struct tally_read *read;
    bool away;                   /* it runs elsewhere: its owner is asked, each time anew */
    bool cached;                 /* Redis has answered for it */
    struct tally_read_info info; /* of the last answer; topic NULL: none */
    enum tally_code code;        /* why it is not open */
    const char *message;
    struct graphql_owner *next;
};

bool graphql_reads_begin(struct graphql_reads *reads, struct exchange *exchange, int64_t end_ms)
{
    *reads = (struct graphql_reads){.exchange = exchange, .end_ms = end_ms};
    return reading_positions_read(exchange, &reads->positions);
}

void graphql_reads_end(struct graphql_reads *reads)
{
    for (struct graphql_owner *owner = reads->owners; owner; owner = owner->next) {
        tally_read_close(owner->read);
    }
    reads->owners = NULL;
}

struct graphql_owner *graphql_reads_task(struct graphql_reads *reads, const char *topology,
        int32_t partition)
{
    struct graphql_owner *owner = reads->owners;

    while (owner && (owner->partition != partition || strcmp(owner->topology, topology) != 0)) {
        owner = owner->next;
    }
    if (!owner) {
        owner = tally_arena_alloc(&reads->exchange->arena, sizeof *owner);
        *owner = (struct graphql_owner){
                .topology = topology, .partition = partition, .next = reads->owners};
        reads->owners = owner;
    }
    return owner;
}

struct graphql_owner *graphql_reads_owner(struct graphql_reads *reads, const char *topology,
        struct tally_slice key)
{
    int32_t partitions = tally_runtime_partitions(reads->exchange->runtime);

    return graphql_reads_task(reads, topology, tally_partition_of(key, partitions));
}

/* --- asking ----------------------------------------------------------------------------------- */

static size_t chain_of(struct tally_slice key)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < key.len; i++) {
        hash = (hash ^ key.data[i]) * 16777619u;
    }
    return (hash ^ hash >> 16) % GRAPHQL_LOAD_CHAINS;
}

static bool is_same(const struct graphql_load *a, const struct graphql_load *b)
{
    return a->owner == b->owner && a->kind == b->kind && tally_slice_equal(a->key, b->key) &&
           tally_slice_equal(a->upper, b->upper) && a->backwards == b->backwards &&
           a->limit == b->limit;
}

/* The load that is like this one, if it is done. */
static const struct graphql_load *ask(struct graphql_reads *reads, const struct graphql_load *like)
{
    struct graphql_load **chain = &reads->chains[chain_of(like->key)];
    struct graphql_load *load = *chain;

    while (load && !is_same(load, like)) {
        load = load->chain;
    }
    if (!load) {
        struct tally_arena *arena = &reads->exchange->arena;

        load = tally_arena_alloc(arena, sizeof *load);
        *load = *like;
        load->key = tally_arena_copy(arena, like->key);
        load->upper = tally_arena_copy(arena, like->upper);
        load->chain = *chain;
        *chain = load;
        *(reads->last ? &reads->last->next : &reads->first) = load;
        reads->last = load;
        reads->next = reads->next ? reads->next : load;
    }
    return load->done ? load : NULL;
}

const struct graphql_load *graphql_reads_row(struct graphql_reads *reads,
        struct graphql_owner *owner, const struct tally_key *key)
{
    return ask(reads,
            &(struct graphql_load){
                    .kind = GRAPHQL_LOAD_ROW, .owner = owner, .key = tally_key_bytes(key)});
}

const struct graphql_load *graphql_reads_rows(struct graphql_reads *reads,
        struct graphql_owner *owner, const struct tally_key *lower, const struct tally_key *upper,
        bool backwards, size_t limit)
{
    return ask(reads, &(struct graphql_load){.kind = GRAPHQL_LOAD_ROWS,
                              .owner = owner,
                              .key = tally_key_bytes(lower),
                              .upper = tally_key_bytes(upper),
                              .backwards = backwards,
                              .limit = limit});
}

const struct graphql_load *graphql_reads_outcome(struct graphql_reads *reads,
        struct graphql_owner *owner, struct tally_slice command_id)
{
    return ask(reads, &(struct graphql_load){
                              .kind = GRAPHQL_LOAD_OUTCOME, .owner = owner, .key = command_id});
}

/* --- reading ---------------------------------------------------------------------------------- */

static const char *keep_message(struct graphql_reads *reads, enum tally_code code,
        const struct tally_error *err)
{
    const char *text = err->message[0] ? err->message : tally_code_text(code);

    return (const char *)tally_arena_copy(&reads->exchange->arena,
            tally_slice_of(text, strlen(text) + 1))
            .data;
}

static void open_as(struct graphql_reads *reads, struct graphql_owner *owner, enum tally_read_of of)
{
    struct tally_error err = {0};

    reads->positions.options.of = of;
    owner->code = tally_read_open(reads->exchange->runtime, owner->topology, TALLY_NONE,
            owner->partition, &reads->positions.options, &owner->read, &err);
    if (owner->code) {
        owner->message = keep_message(reads, owner->code, &err);
    }
}

static void open_owner(struct graphql_reads *reads, struct graphql_owner *owner)
{
    if (owner->opened) {
        return;
    }
    owner->opened = true;
    open_as(reads, owner, TALLY_READ_RUNNING);
    owner->away = owner->code == TALLY_FENCED && reads->exchange->forward &&
                  !forwarding_is_forwarded(reads->exchange);
    if (owner->code == TALLY_FENCED && !owner->away) {
        open_as(reads, owner, reading_of(reads->exchange));
    }
}

static void set_done(struct graphql_reads *reads, struct graphql_load *load, enum tally_code code,
        const struct tally_error *err)
{
    load->done = true;
    load->code = code;
    load->info = load->owner->read ? tally_read_info(load->owner->read) : NULL;
    if (code && code != TALLY_NOT_FOUND) {
        load->message = keep_message(reads, code, err);
    }
}

struct gathered {
    struct graphql_reads *reads;
    struct graphql_load **loads; /* sorted by key */
};

static void take_value(void *context, size_t index, struct tally_slice value)
{
    struct gathered *gathered = context;
    struct graphql_load *load = gathered->loads[index];

    load->value = tally_arena_copy(&gathered->reads->exchange->arena, value);
    load->code = TALLY_OK;
}

static int compare_keys(const void *a, const void *b)
{
    const struct graphql_load *const *left = a, *const *right = b;

    return tally_slice_compare((*left)->key, (*right)->key);
}

/* All rows that are asked of one task; their keys differ, or it would be one load. */
static void get_rows(struct graphql_reads *reads, struct graphql_owner *owner)
{
    struct tally_arena *arena = &reads->exchange->arena;
    struct gathered gathered = {.reads = reads};
    struct tally_slice *keys;
    struct tally_error err = {0};
    enum tally_code code;
    size_t count = 0;

    for (struct graphql_load *load = reads->next; load; load = load->next) {
        count += load->owner == owner && load->kind == GRAPHQL_LOAD_ROW && !load->done;
    }
    if (count == 0) {
        return;
    }
    gathered.loads = tally_arena_alloc(arena, count * sizeof(struct graphql_load *));
    keys = tally_arena_alloc(arena, count * sizeof *keys);
    count = 0;
    for (struct graphql_load *load = reads->next; load; load = load->next) {
        if (load->owner == owner && load->kind == GRAPHQL_LOAD_ROW && !load->done) {
            load->code = TALLY_NOT_FOUND;
            gathered.loads[count++] = load;
        }
    }
    qsort(gathered.loads, count, sizeof(struct graphql_load *), compare_keys);
    for (size_t i = 0; i < count; i++) {
        keys[i] = gathered.loads[i]->key;
    }
    reads->multi_gets++;
    code = tally_read_get_many(owner->read, keys, count, take_value, &gathered, &err);
    for (size_t i = 0; i < count; i++) {
        set_done(reads, gathered.loads[i], code ? code : gathered.loads[i]->code, &err);
    }
}

struct scan {
    struct graphql_load *load;
    struct tally_arena *arena;
    size_t capacity, bytes;
};

static bool take_row(void *context, struct tally_slice key, struct tally_slice value)
{
    struct scan *scan = context;
    struct graphql_load *load = scan->load;

    if (load->count == load->limit || scan->bytes > SCANNED_BYTES_MAX) {
        load->more = true;
        return false;
    }
    if (load->count == scan->capacity) {
        struct graphql_row *rows = load->rows;

        scan->capacity = scan->capacity ? 2 * scan->capacity : 16;
        load->rows = tally_arena_alloc(scan->arena, scan->capacity * sizeof *rows);
        if (load->count > 0) {
            memcpy(load->rows, rows, load->count * sizeof *rows);
        }
    }
    load->rows[load->count++] = (struct graphql_row){
            tally_arena_copy(scan->arena, key), tally_arena_copy(scan->arena, value)};
    scan->bytes += key.len + value.len;
    return true;
}

static void read_one(struct graphql_reads *reads, struct graphql_load *load)
{
    struct scan scan = {.load = load, .arena = &reads->exchange->arena};
    struct tally_outcome_info info;
    struct tally_error err = {0};
    struct tally_buf record;
    enum tally_code code;

    if (load->kind == GRAPHQL_LOAD_ROWS) {
        reads->scans++;
        code = tally_read_scan(load->owner->read, load->key, load->upper, load->backwards, take_row,
                &scan, &err);
        set_done(reads, load, code, &err);
        return;
    }
    tally_buf_init(&record, OUTCOME_BYTES_MAX);
    code = tally_read_outcome(load->owner->read, load->key, TALLY_NONE, 0, false, TALLY_FORMAT_JSON,
            &record, &info, &err);
    load->value = tally_arena_copy(scan.arena, tally_buf_bytes(&record));
    tally_buf_deinit(&record);
    set_done(reads, load, code, &err);
}

/* --- elsewhere -------------------------------------------------------------------------------- */

static struct elsewhere_item item_of(const struct graphql_load *load)
{
    static const enum elsewhere_kind kinds[] = {
            [GRAPHQL_LOAD_ROW] = ELSEWHERE_ROW,
            [GRAPHQL_LOAD_ROWS] = ELSEWHERE_ROWS,
            [GRAPHQL_LOAD_OUTCOME] = ELSEWHERE_OUTCOME,
    };

    return (struct elsewhere_item){.kind = kinds[load->kind],
            .topology = load->owner->topology,
            .partition = load->owner->partition,
            .key = load->key,
            .upper = load->upper,
            .backwards = load->backwards,
            .limit = load->limit};
}

static void take_item(struct graphql_reads *reads, struct graphql_load *load,
        const struct elsewhere_item *item)
{
    struct graphql_owner *owner = load->owner;

    load->rows = tally_arena_alloc(&reads->exchange->arena, (item->count + 1) * sizeof *load->rows);
    for (size_t i = 0; i < item->count; i++) {
        load->rows[i] = (struct graphql_row){item->rows[i].key, item->rows[i].value};
    }
    load->count = item->count;
    load->more = item->more;
    load->value = item->value;
    load->done = true;
    load->code = item->code;
    owner->cached = owner->cached || item->cached;
    load->message = item->message && item->message[0] ? item->message : tally_code_text(item->code);
    if (item->info.topic) {
        owner->info = item->info;
        load->info = &item->info;
    }
}

/* By task, rows before others, by rising keys. */
static int compare_places(const void *a, const void *b)
{
    const struct graphql_load *left = *(struct graphql_load *const *)a;
    const struct graphql_load *right = *(struct graphql_load *const *)b;
    int order = strcmp(left->owner->topology, right->owner->topology);

    order = order ? order
                  : (left->owner->partition > right->owner->partition) -
                            (left->owner->partition < right->owner->partition);
    order = order ? order : (left->kind > right->kind) - (left->kind < right->kind);
    return order ? order : tally_slice_compare(left->key, right->key);
}

/* What neither the owner nor Redis has answered: it is read of what this instance had last, or not
 * at all. Others may still be answered by them. */
static void take_last(struct graphql_reads *reads, struct graphql_load *load)
{
    struct graphql_owner *owner = load->owner;

    if (!owner->read) {
        open_as(reads, owner, reading_of(reads->exchange));
    }
    if (!owner->read) {
        load->done = true;
        load->code = owner->code;
        load->message = owner->message;
        owner->code = TALLY_OK;
    }
}

/* What is asked of tasks that run elsewhere: one request for each instance. */
static void ask_elsewhere(struct graphql_reads *reads)
{
    struct tally_arena *arena = &reads->exchange->arena;
    struct graphql_load **loads;
    struct elsewhere_item *items;
    size_t count = 0;

    for (struct graphql_load *load = reads->next; load; load = load->next) {
        count += load->owner->away;
    }
    if (count == 0) {
        return;
    }
    loads = tally_arena_alloc(arena, count * sizeof(struct graphql_load *));
    items = tally_arena_alloc(arena, count * sizeof *items);
    count = 0;
    for (struct graphql_load *load = reads->next; load; load = load->next) {
        if (load->owner->away) {
            loads[count++] = load;
        }
    }
    qsort(loads, count, sizeof(struct graphql_load *), compare_places);
    for (size_t i = 0; i < count; i++) {
        items[i] = item_of(loads[i]);
        reads->multi_gets += items[i].kind == ELSEWHERE_ROW &&
                             (i == 0 || loads[i - 1]->owner != loads[i]->owner);
        reads->scans += items[i].kind == ELSEWHERE_ROWS;
    }
    elsewhere_ask(reads->exchange, items, count, 0);
    elsewhere_cached(reads->exchange, items, count);
    for (size_t i = 0; i < count; i++) {
        if (items[i].code != TALLY_FENCED && items[i].code != TALLY_UNAVAILABLE) {
            take_item(reads, loads[i], &items[i]);
        } else {
            take_last(reads, loads[i]);
        }
    }
}

static bool is_late(const struct graphql_reads *reads)
{
    return reads->end_ms > 0 &&
           tally_mono_ms(tally_runtime_clock(reads->exchange->runtime)) > reads->end_ms;
}

void graphql_reads_run(struct graphql_reads *reads)
{
    reads->rounds++;
    for (struct graphql_load *load = reads->next; load; load = load->next) {
        open_owner(reads, load->owner);
    }
    ask_elsewhere(reads);
    for (struct graphql_load *load = reads->next; load; load = load->next) {
        if (load->owner->code && !load->done) {
            load->done = true;
            load->code = load->owner->code;
            load->message = load->owner->message;
        }
    }
    for (struct graphql_owner *owner = reads->owners; owner; owner = owner->next) {
        if (owner->read) {
            get_rows(reads, owner);
        }
    }
    for (struct graphql_load *load = reads->next; load; load = load->next) {
        if (!load->done && is_late(reads)) {
            set_done(reads, load, TALLY_TIMEOUT, &(struct tally_error){.message = "out of time"});
        } else if (!load->done) {
            read_one(reads, load);
        }
    }
    reads->next = NULL;
}

/* --- what they mean --------------------------------------------------------------------------- */

enum graphql_step graphql_reads_fail(struct graphql_call *call, const struct graphql_load *load)
{
    static struct tally_log_limit limit;
    enum problem_code problem = problem_of_error(load->code);

    if (problem != PROBLEM_INTERNAL && problem != PROBLEM_STORE_ERROR) {
        return graphql_call_fail(call, problem_name(problem), "%s", load->message);
    }
    if (tally_log_allowed(&limit, 1000)) {
        tally_log(TALLY_LOG_ERROR, "request failed", TALLY_LOG_STR("reason", load->message));
    }
    return graphql_call_fail(call, problem_name(problem), "the store cannot be read");
}

struct tally_slice graphql_reads_position(struct tally_arena *arena,
        const struct tally_read_info *info, int64_t offset)
{
    char text[POSITION_BYTES_MAX];
    int len = snprintf(text, sizeof text, "%s/%d@%lld", info->topic, (int)info->partition,
            (long long)offset);

    return tally_arena_copy(arena,
            tally_slice_of(text, len < POSITION_BYTES_MAX ? (size_t)len : sizeof text - 1));
}

void graphql_reads_headers(const struct graphql_reads *reads)
{
    struct tally_read_info oldest = {.as_of_ms = 0};
    struct tally_buf positions;
    bool cached = false;

    tally_buf_init(&positions, READING_POSITIONS_BYTES_MAX);
    for (const struct graphql_owner *owner = reads->owners; owner; owner = owner->next) {
        const struct tally_read_info *info = &owner->info;

        if (owner->read &&
                (!info->topic || tally_read_info(owner->read)->as_of_ms < info->as_of_ms)) {
            info = tally_read_info(owner->read);
        }
        if (!info->topic) {
            continue;
        }
        reading_positions_add(&positions, info);
        cached = cached || owner->cached;
        if (oldest.as_of_ms == 0 || info->as_of_ms < oldest.as_of_ms) {
            oldest = *info;
        }
    }
    reading_positions_header(reads->exchange, &positions);
    if (oldest.as_of_ms > 0) {
        reading_source_headers(reads->exchange, oldest.as_of_ms, cached ? "redis" : "rocksdb");
    }
    tally_buf_deinit(&positions);
}
