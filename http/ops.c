/* http/ops.c - see ops.h.
 * Invariants
 *  (1) A dump is one view: every row of a task at one position, in the order of its keys, so that
 * two dumps of the same state are the same bytes; Tally-Log-Position says what they were built
 * from. (2) A page of a store reads at most SCANNED_MAX
 * rows; one that found too few still has a cursor. */
#include "http/ops.h"

#include "http/problem.h"
#include "http/reading.h"
#include "http/row_line.h"
#include "http/stream.h"

enum {
    TASKS_MAX = 16 * 1024,
    SCANNED_MAX = 20000,
    FILTER_BYTES_MAX = 4096,
    PARTITION_BYTES = 4,
    KEY_TEXT_BYTES_MAX = 1024
};

static void write_text(struct tally_writer *writer, const char *name, struct tally_slice text)
{
    tally_write_name(writer, name);
    if (text.data) {
        tally_write_string(writer, text);
    } else {
        tally_write_null(writer);
    }
}

static void write_task(struct tally_writer *writer, const struct tally_task_info *task)
{
    bool halted = task->code != TALLY_OK;
    struct tally_buf position;

    tally_buf_init(&position, 512);
    if (task->position >= 0) {
        tally_buf_format(&position, "%s/%d@%lld", task->topic, (int)task->partition,
                (long long)task->position);
    }
    tally_write_map(writer, halted ? 8 : 6);
    write_text(writer, "topology", tally_slice_string(task->topology));
    tally_write_name(writer, "partition");
    tally_write_int(writer, task->partition);
    write_text(writer, "state", tally_slice_string(tally_task_state_name(task->state)));
    write_text(writer, "position", task->position >= 0 ? tally_buf_bytes(&position) : TALLY_NONE);
    tally_write_name(writer, "lag");
    if (task->lag >= 0) {
        tally_write_int(writer, task->lag);
    } else {
        tally_write_null(writer);
    }
    tally_write_name(writer, "as_of");
    if (task->as_of_ms > 0) {
        tally_write_time(writer, task->as_of_ms);
    } else {
        tally_write_null(writer);
    }
    if (halted) {
        write_text(writer, "code", tally_slice_string(tally_code_name(task->code)));
        write_text(writer, "detail", tally_slice_string(task->message));
    }
    tally_buf_deinit(&position);
}

void ops_tasks(struct exchange *exchange)
{
    size_t max = tally_runtime_tasks(exchange->runtime, NULL, 0), count;
    struct tally_task_info *tasks;
    struct tally_writer writer;

    max = max < TASKS_MAX ? max : TASKS_MAX;
    tasks = tally_arena_alloc(&exchange->arena, (max + 1) * sizeof *tasks);
    count = tally_runtime_tasks(exchange->runtime, tasks, max);
    count = count < max ? count : max;
    response_json(&exchange->response, 200, &writer);
    tally_write_map(&writer, 1);
    tally_write_name(&writer, "items");
    tally_write_array(&writer, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        write_task(&writer, &tasks[i]);
    }
}

/* --- one store -------------------------------------------------------------------------------- */

struct store_row {
    int32_t partition;
    struct tally_slice key, value;
    struct store_row *next;
};

struct store_page {
    struct tally_arena *arena;
    const char *topology;
    enum tally_store_id store;
    struct tally_slice prefix; /* of the printed key; data NULL: all rows */
    size_t limit;
    struct tally_buf filter;

    int32_t partition;      /* being read */
    struct tally_key start; /* len 0: the beginning of the partition */
    struct store_row *first, *last;
    size_t count, scanned;
    bool full; /* the next page starts at partition, start */
    struct tally_buf positions;
};

static void add_filter(struct tally_buf *filter, struct tally_slice part)
{
    tally_buf_slice(filter, part);
    tally_buf_byte(filter, 0);
}

static bool read_cursor(struct exchange *exchange, struct store_page *page)
{
    struct tally_slice text = request_query(&exchange->request, "cursor");
    struct tally_buf place;
    bool good;

    add_filter(&page->filter, TALLY_SLICE("store"));
    add_filter(&page->filter, tally_slice_string(page->topology));
    add_filter(&page->filter, tally_slice_string(tally_store_name(page->store)));
    add_filter(&page->filter, page->prefix);
    if (!text.data) {
        return true;
    }
    tally_buf_init(&place, CURSOR_PLACE_BYTES_MAX);
    good = cursor_unseal(exchange->cursor_key, tally_buf_bytes(&page->filter), text, &place) &&
           place.len >= PARTITION_BYTES && place.len - PARTITION_BYTES <= TALLY_KEY_MAX;
    if (good) {
        page->partition = (int32_t)tally_read_u32(place.data);
        page->start.len = (uint16_t)(place.len - PARTITION_BYTES);
        memcpy(page->start.bytes, place.data + PARTITION_BYTES, page->start.len);
    } else {
        problem_answer(exchange, PROBLEM_INVALID_CURSOR, "the cursor is not of this query");
    }
    tally_buf_deinit(&place);
    return good;
}

static bool read_page(struct exchange *exchange, struct store_page *page)
{
    struct tally_topology *topology = reading_topology(exchange, exchange->request.params[0]);
    struct tally_slice store = exchange->request.params[1];
    struct tally_slice name =
            tally_arena_copy(&exchange->arena, tally_slice_of(store.data, store.len + 1));

    ((uint8_t *)(uintptr_t)name.data)[store.len] = '\0';
    page->topology = topology ? tally_topology_name(topology) : "";
    if (!topology || !tally_store_find(page->topology, (const char *)name.data, &page->store)) {
        problem_answer(exchange, PROBLEM_NOT_FOUND, "there is no such store");
        return false;
    }
    page->prefix = request_query(&exchange->request, "prefix");
    if (page->prefix.len > TALLY_KEY_MAX / 2) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER, "prefix: at most %d bytes",
                TALLY_KEY_MAX / 2);
        return false;
    }
    return reading_limit(exchange, &page->limit) && read_cursor(exchange, page);
}

static bool has_prefix(const struct store_page *page, struct tally_slice key)
{
    struct tally_buf text;
    bool has;

    if (page->prefix.len == 0) {
        return true;
    }
    tally_buf_init(&text, KEY_TEXT_BYTES_MAX);
    tally_key_print(page->topology, key, &text);
    has = tally_slice_starts(tally_buf_bytes(&text), page->prefix);
    tally_buf_deinit(&text);
    return has;
}

static bool add_row(void *context, struct tally_slice key, struct tally_slice value)
{
    struct store_page *page = context;
    struct store_row *row;

    if (page->count == page->limit || page->scanned == SCANNED_MAX) {
        page->full = true;
        page->start.len = (uint16_t)key.len;
        memcpy(page->start.bytes, key.data, key.len);
        return false;
    }
    page->scanned++;
    if (!has_prefix(page, key)) {
        return true;
    }
    row = tally_arena_alloc(page->arena, sizeof *row);
    *row = (struct store_row){
            .partition = page->partition,
            .key = tally_arena_copy(page->arena, key),
            .value = tally_arena_copy(page->arena, value),
    };
    *(page->last ? &page->last->next : &page->first) = row;
    page->last = row;
    page->count++;
    return true;
}

/* The key that all rows with the prefix begin with: what stands before its first '.' is the first
 * part. Of a number only all of it says how a key begins. */
static void begin_key(const struct store_page *page, struct tally_key *key)
{
    const uint8_t *dot =
            page->prefix.len > 0 ? memchr(page->prefix.data, '.', page->prefix.len) : NULL;
    size_t len = dot ? (size_t)(dot - page->prefix.data) : page->prefix.len;
    char part = tally_store_parts(page->store)[0];
    int64_t number = 0;

    tally_key_begin(key, page->store);
    if (part == 'S' || part == 'T') {
        memcpy(key->bytes + key->len,
                page->prefix.len > 0 ? page->prefix.data : (const uint8_t *)"", len);
        key->len = (uint16_t)(key->len + len);
    } else if (dot && tally_parse_int(tally_slice_of(page->prefix.data, len), &number)) {
        if (part == 'q') {
            tally_key_u64(key, (uint64_t)number);
        } else if (part == 'b' && number >= 0 && number <= UINT8_MAX) {
            tally_key_u8(key, (uint8_t)number);
        }
    }
}

/* The rows of one task. */
static enum tally_code scan_task(struct tally_read *read, struct store_page *page,
        struct tally_error *err)
{
    struct tally_key lower, upper;

    begin_key(page, &lower);
    upper = lower;
    while (upper.len > 0 && upper.bytes[upper.len - 1] == 0xff) {
        upper.len--;
    }
    tally_assert(upper.len > 0); /* a store's byte is below 0xff */
    upper.bytes[upper.len - 1]++;
    if (page->start.len > 0) {
        lower = page->start;
        page->start.len = 0;
    }
    return tally_read_scan(read, tally_key_bytes(&lower), tally_key_bytes(&upper), false, add_row,
            page, err);
}

static void add_position(struct store_page *page, const struct tally_read_info *info)
{
    reading_positions_add(&page->positions, info);
}

static enum tally_code scan_tasks(struct exchange *exchange, struct store_page *page,
        struct tally_error *err)
{
    static const struct tally_read_options options = {0};
    int32_t partitions = tally_runtime_partitions(exchange->runtime);
    enum tally_code code = TALLY_OK;

    for (; page->partition < partitions && !code && !page->full; page->partition += !page->full) {
        struct tally_read *read = NULL;

        if (tally_read_open(exchange->runtime, page->topology, TALLY_NONE, page->partition,
                    &options, &read, err)) {
            page->start.len = 0;
            continue; /* not on this instance */
        }
        add_position(page, tally_read_info(read));
        code = scan_task(read, page, err);
        tally_read_close(read);
    }
    return code;
}

static void write_row(struct tally_writer *writer, const struct store_page *page,
        const struct store_row *row)
{
    struct tally_buf text, value;

    tally_buf_init(&text, KEY_TEXT_BYTES_MAX);
    tally_buf_init(&value, RESPONSE_BODY_BYTES_MAX);
    tally_key_print(page->topology, row->key, &text);
    tally_write_map(writer, 3);
    tally_write_name(writer, "partition");
    tally_write_int(writer, row->partition);
    write_text(writer, "key", tally_buf_bytes(&text));
    tally_write_name(writer, "value");
    if (tally_row_line_value(page->topology, row->key, row->value, &value)) {
        tally_write_raw(writer, tally_buf_bytes(&value));
    } else {
        tally_write_null(writer); /* damaged */
    }
    tally_buf_deinit(&text);
    tally_buf_deinit(&value);
}

static void write_cursor(struct exchange *exchange, struct tally_writer *writer,
        const struct store_page *page)
{
    uint8_t place[PARTITION_BYTES + TALLY_KEY_MAX];

    tally_put_u32(place, (uint32_t)page->partition);
    memcpy(place + PARTITION_BYTES, page->start.bytes, page->start.len);
    reading_cursor_write(exchange, writer, tally_buf_bytes(&page->filter),
            tally_slice_of(place, page->full ? PARTITION_BYTES + page->start.len : 0));
}

static void query_store(struct exchange *exchange, struct store_page *page)
{
    struct tally_error err = {0};
    struct tally_writer writer;
    enum tally_code code;

    if (!read_page(exchange, page)) {
        return;
    }
    code = scan_tasks(exchange, page, &err);
    if (code) {
        problem_error(exchange, code, &err);
        return;
    }
    reading_positions_header(exchange, &page->positions);
    response_header(&exchange->response, "Tally-Source", "rocksdb");
    response_json(&exchange->response, 200, &writer);
    tally_write_map(&writer, 2);
    tally_write_name(&writer, "items");
    tally_write_array(&writer, (uint32_t)page->count);
    for (const struct store_row *row = page->first; row; row = row->next) {
        write_row(&writer, page, row);
    }
    write_cursor(exchange, &writer, page);
}

void ops_store(struct exchange *exchange)
{
    struct store_page page = {.arena = &exchange->arena};

    tally_buf_init(&page.filter, FILTER_BYTES_MAX);
    tally_buf_init(&page.positions, READING_POSITIONS_BYTES_MAX);
    query_store(exchange, &page);
    tally_buf_deinit(&page.filter);
    tally_buf_deinit(&page.positions);
}

/* --- dump ------------------------------------------------------------------------------------- */

struct dump {
    struct stream stream;
    const char *topology;
    int32_t partition;
};

static bool dump_row(void *context, struct tally_slice key, struct tally_slice value)
{
    struct dump *dump = context;

    (void)tally_row_line_write(dump->topology, dump->partition, key, value, &dump->stream.pending);
    return stream_flush_if_full(&dump->stream);
}

void ops_dump(struct exchange *exchange)
{
    static const uint8_t first_store[] = {1}; /* byte 0 is the store's own */
    struct tally_topology *topology =
            reading_topology(exchange, request_query(&exchange->request, "topology"));
    struct tally_slice text = request_query(&exchange->request, "partition");
    struct dump dump;
    struct tally_read *read;
    struct tally_error err = {0};
    int64_t partition;
    enum tally_code code;

    if (!request_query(&exchange->request, "topology").data || !text.data ||
            !tally_parse_int(text, &partition)) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
                "topology and partition are required: a name and a number");
        return;
    }
    if (!topology || partition < 0 || partition >= tally_runtime_partitions(exchange->runtime)) {
        problem_answer(exchange, PROBLEM_NOT_FOUND, "there is no such task: see GET /v1/ops/tasks");
        return;
    }
    dump.topology = tally_topology_name(topology);
    dump.partition = (int32_t)partition;
    read = reading_open(exchange, dump.topology, TALLY_NONE, dump.partition);
    if (!read) {
        return;
    }
    response_header(&exchange->response, "Tally-Log-Position", "%s/%d@%lld",
            tally_read_info(read)->log, (int)dump.partition,
            (long long)tally_read_info(read)->log_last);
    stream_begin(&dump.stream, exchange, RESPONSE_NDJSON);
    code = dump.stream.failed
                   ? TALLY_OK
                   : tally_read_scan(read, tally_slice_of(first_store, sizeof first_store),
                             TALLY_NONE, false, dump_row, &dump, &err);
    stream_end(&dump.stream, code == TALLY_OK);
    tally_read_close(read);
}
