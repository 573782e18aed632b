/* http/elsewhere.c - see elsewhere.h.
 *   items --by owner--> body --POST--> read at the owner --> body --> the same items */
#include "http/elsewhere.h"

#include "engine/base/hash.h"
#include "http/commands.h"
#include "http/forwarding.h"
#include "http/guard.h"
#include "http/header_field.h"
#include "http/problem.h"
#include "http/reading.h"

enum {
    VERSION = 1,
    ITEMS_MAX = 8192,
    HEADERS_BYTES_MAX = 32 * 1024,
    ATTEMPTS = 2,
    WAIT_MAX_MS = 30000,
    OUTCOME_BYTES_MAX = 4 * 1024 * 1024,
    ANSWER_BYTES_MAX = 12 * 1024 * 1024, /* of values; the rest is for what stands around them */
    NAME_BYTES_MAX = 256
};

/* --- bytes ------------------------------------------------------------------------------------ */

static void put_text(struct tally_buf *out, struct tally_slice text)
{
    tally_buf_varint(out, text.len);
    tally_buf_slice(out, text);
}

static void put_int(struct tally_buf *out, int64_t value)
{
    tally_buf_varint(out, tally_zigzag(value));
}

/* What is read from a body that ended early is nothing, and `bad` stays set. */
struct reader {
    struct tally_slice left;
    bool bad;
};

static uint64_t take_number(struct reader *reader)
{
    uint64_t value = 0;

    reader->bad = reader->bad || !tally_read_varint(&reader->left, &value);
    return reader->bad ? 0 : value;
}

static int64_t take_int(struct reader *reader)
{
    return tally_unzigzag(take_number(reader));
}

static struct tally_slice take_text(struct reader *reader)
{
    uint64_t len = take_number(reader);
    struct tally_slice text;

    reader->bad = reader->bad || len > reader->left.len;
    if (reader->bad) {
        return TALLY_NONE;
    }
    text = tally_slice_of(reader->left.data, (size_t)len);
    reader->left = tally_slice_of(reader->left.data + len, reader->left.len - (size_t)len);
    return text;
}

static const char *text_copy(struct exchange *exchange, struct tally_slice text)
{
    char *copy = tally_arena_alloc(&exchange->arena, text.len + 1);

    if (text.len > 0) {
        memcpy(copy, text.data, text.len);
    }
    copy[text.len] = '\0';
    return copy;
}

/* --- what is asked ---------------------------------------------------------------------------- */

static void put_item(struct tally_buf *out, const struct elsewhere_item *item)
{
    tally_buf_varint(out, item->kind);
    put_text(out, tally_slice_string(item->topology));
    put_int(out, item->partition);
    put_text(out, item->key);
    put_text(out, item->upper);
    tally_buf_varint(out, item->backwards);
    tally_buf_varint(out, item->limit);
    tally_buf_varint(out, item->fingerprint);
    put_int(out, item->offset);
}

/* Nothing that a key of a store cannot be: it may come from anybody who may read. */
static bool is_sound(const struct elsewhere_item *item)
{
    if (item->key.len == 0 || item->key.len >= TALLY_KEY_MAX || item->upper.len >= TALLY_KEY_MAX) {
        return false;
    }
    switch (item->kind) {
    case ELSEWHERE_ROW:
        return item->key.data[0] != 0;
    case ELSEWHERE_ROWS:
        return item->key.data[0] != 0 && tally_slice_compare(item->key, item->upper) < 0;
    default:
        return header_field_is_command_id(item->key) && item->upper.len <= NAME_BYTES_MAX &&
               (item->upper.len == 0 || !memchr(item->upper.data, 0, item->upper.len));
    }
}

static void take_item(struct exchange *exchange, struct reader *reader, struct elsewhere_item *item)
{
    uint64_t kind = take_number(reader);

    reader->bad = reader->bad || kind >= ELSEWHERE_KINDS;
    *item = (struct elsewhere_item){
            .kind = reader->bad ? ELSEWHERE_ROW : (enum elsewhere_kind)kind};
    item->topology = text_copy(exchange, take_text(reader));
    item->partition = (int32_t)take_int(reader);
    item->key = take_text(reader);
    item->upper = take_text(reader);
    item->backwards = take_number(reader) != 0;
    item->limit = take_number(reader);
    item->fingerprint = take_number(reader);
    item->offset = take_int(reader);
    reader->bad = reader->bad || item->partition < 0 || !is_sound(item);
}

static void put_answer(struct tally_buf *out, const struct elsewhere_item *item)
{
    tally_buf_varint(out, item->code);
    put_text(out, tally_slice_string(item->message));
    put_text(out, item->value);
    tally_buf_varint(out, item->count);
    for (size_t i = 0; i < item->count; i++) {
        put_text(out, item->rows[i].key);
        put_text(out, item->rows[i].value);
    }
    tally_buf_varint(out, item->more);
    tally_buf_varint(out, item->outcome.status);
    tally_buf_varint(out, item->outcome.code);
    put_int(out, item->outcome.offset);
    tally_buf_varint(out, item->repeated);
    put_text(out, tally_slice_string(item->info.topic));
    tally_buf_varint(out, item->info.state);
    put_int(out, item->info.position);
    put_int(out, item->info.as_of_ms);
}

static void take_answer(struct exchange *exchange, struct reader *reader,
        struct elsewhere_item *item)
{
    struct tally_slice topic;

    item->code = (enum tally_code)take_number(reader);
    item->message = text_copy(exchange, take_text(reader));
    item->value = tally_arena_copy(&exchange->arena, take_text(reader));
    item->count = take_number(reader);
    reader->bad = reader->bad || item->count > reader->left.len;
    item->count = reader->bad ? 0 : item->count;
    item->rows = tally_arena_alloc(&exchange->arena, (item->count + 1) * sizeof *item->rows);
    for (size_t i = 0; i < item->count; i++) {
        item->rows[i].key = tally_arena_copy(&exchange->arena, take_text(reader));
        item->rows[i].value = tally_arena_copy(&exchange->arena, take_text(reader));
    }
    item->more = take_number(reader) != 0;
    item->outcome.status = (enum tally_status)take_number(reader);
    item->outcome.code = (enum tally_reject)take_number(reader);
    item->outcome.offset = take_int(reader);
    item->repeated = take_number(reader) != 0;
    topic = take_text(reader);
    item->info = (struct tally_read_info){.topology = item->topology,
            .partition = item->partition,
            .topic = topic.len > 0 ? text_copy(exchange, topic) : NULL};
    item->info.state = (enum tally_task_state)take_number(reader);
    item->info.position = take_int(reader);
    item->info.as_of_ms = take_int(reader);
    reader->bad = reader->bad || item->code >= TALLY_CODES;
}

static void fail(struct elsewhere_item *item, enum tally_code code, const char *message)
{
    item->code = code;
    item->message = message;
    item->value = TALLY_NONE;
    item->count = 0;
    item->info.topic = NULL;
}

/* --- asking ----------------------------------------------------------------------------------- */

struct place {
    const char *address; /* NULL: nobody */
    bool done;
};

/* All items at one address, and the others that are at the same. */
static void ask_one(struct exchange *exchange, struct elsewhere_item *items, struct place *places,
        size_t count, size_t first, int64_t wait_ms)
{
    struct tally_buf body;
    struct tally_forward_answer answer = {.status = 0};
    struct reader reader;
    const char *address = places[first].address;
    uint64_t sent = 0;

    tally_buf_init(&body, GUARD_BODY_BYTES_MAX);
    for (size_t i = first; i < count; i++) {
        sent += !places[i].done && places[i].address == address;
    }
    tally_buf_varint(&body, VERSION);
    put_int(&body, wait_ms);
    tally_buf_varint(&body, sent);
    for (size_t i = first; i < count; i++) {
        if (!places[i].done && places[i].address == address) {
            put_item(&body, &items[i]);
        }
    }
    tally_buf_init(&answer.headers, HEADERS_BYTES_MAX);
    tally_buf_init(&answer.body, RESPONSE_BODY_BYTES_MAX);
    if (body.failed || !forwarding_post(exchange, address, "/v1/internal/reads",
                               tally_buf_bytes(&body), wait_ms, &answer)) {
        answer.status = 0;
    }
    reader = (struct reader){tally_buf_bytes(&answer.body), answer.status != 200};
    reader.bad = reader.bad || take_number(&reader) != sent;
    for (size_t i = first; i < count; i++) {
        if (places[i].done || places[i].address != address) {
            continue;
        }
        if (!reader.bad) {
            take_answer(exchange, &reader, &items[i]);
        }
        if (reader.bad) {
            fail(&items[i], TALLY_FENCED, "the instance that owns it did not answer");
        }
        places[i].done = true;
    }
    tally_buf_deinit(&answer.headers);
    tally_buf_deinit(&answer.body);
    tally_buf_deinit(&body);
}

/* Each address once, so that pointers can be compared. */
static const char *one_of(struct exchange *exchange, const struct place *places, size_t count,
        const char *address)
{
    for (size_t i = 0; i < count; i++) {
        if (places[i].address && strcmp(places[i].address, address) == 0) {
            return places[i].address;
        }
    }
    return text_copy(exchange, tally_slice_string(address));
}

static void find_places(struct exchange *exchange, struct elsewhere_item *items,
        struct place *places, size_t count)
{
    struct tally_forward *forward = exchange->forward;

    for (size_t i = 0; i < count; i++) {
        const struct elsewhere_item *before = i > 0 ? &items[i - 1] : NULL;
        char address[TALLY_ADDRESS_BYTES_MAX];
        struct tally_error err = {0};

        if (places[i].done) {
            continue;
        }
        if (before && before->partition == items[i].partition && !places[i - 1].done &&
                strcmp(before->topology, items[i].topology) == 0) {
            places[i].address = places[i - 1].address;
        } else if (!forward->ops->owner(forward, items[i].topology, items[i].partition, address,
                           &err)) {
            places[i].address = one_of(exchange, places, i, address);
        } else {
            places[i].address = NULL;
        }
    }
}

void elsewhere_ask(struct exchange *exchange, struct elsewhere_item *items, size_t count,
        int64_t wait_ms)
{
    int64_t end_ms = tally_mono_ms(tally_clock_real()) + wait_ms;
    struct place *places = tally_arena_alloc(&exchange->arena, (count + 1) * sizeof *places);
    size_t missing = count;

    for (size_t i = 0; i < count; i++) {
        places[i] = (struct place){.address = NULL};
        fail(&items[i], TALLY_FENCED, "the task is not on this instance");
    }
    if (!exchange->forward || forwarding_is_forwarded(exchange)) {
        return;
    }
    for (int attempt = 0; attempt < ATTEMPTS && missing > 0; attempt++) {
        if (attempt > 0) {
            exchange->forward->ops->doubt(exchange->forward);
        }
        find_places(exchange, items, places, count);
        for (size_t i = 0; i < count; i++) {
            if (!places[i].done && places[i].address) {
                int64_t left_ms = end_ms - tally_mono_ms(tally_clock_real());

                ask_one(exchange, items, places, count, i, left_ms > 0 ? left_ms : 0);
            }
        }
        missing = 0;
        for (size_t i = 0; i < count; i++) {
            places[i].done = places[i].done && items[i].code != TALLY_FENCED;
            missing += !places[i].done;
        }
    }
}

/* --- answering -------------------------------------------------------------------------------- */

struct desk {
    struct exchange *exchange;
    struct elsewhere_item *items;
    size_t count;
    struct reading_positions positions;
    int64_t end_ms; /* of waits */
    size_t bytes;   /* of values so far */
};

static const char *message_of(struct desk *desk, enum tally_code code,
        const struct tally_error *err)
{
    return text_copy(desk->exchange,
            tally_slice_string(err->message[0] ? err->message : tally_code_text(code)));
}

static bool is_same_task(const struct elsewhere_item *a, const struct elsewhere_item *b)
{
    return a->partition == b->partition && strcmp(a->topology, b->topology) == 0;
}

static void take_value(void *context, size_t index, struct tally_slice value)
{
    struct desk *desk = ((struct desk **)context)[0];
    struct elsewhere_item *first = ((struct elsewhere_item **)context)[1];

    first[index].code = TALLY_TOO_LARGE;
    if (desk->bytes + value.len <= ANSWER_BYTES_MAX) {
        first[index].value = tally_arena_copy(&desk->exchange->arena, value);
        first[index].code = TALLY_OK;
        desk->bytes += value.len;
    }
}

/* Neighbours of one task with rising keys. Returns how many they are. */
static size_t read_rows(struct desk *desk, struct tally_read *read, struct elsewhere_item *items,
        size_t left)
{
    void *context[] = {desk, items};
    struct tally_slice *keys;
    struct tally_error err = {0};
    enum tally_code code;
    size_t count = 1;

    while (count < left && items[count].kind == ELSEWHERE_ROW &&
            is_same_task(&items[0], &items[count]) &&
            tally_slice_compare(items[count - 1].key, items[count].key) < 0) {
        count++;
    }
    keys = tally_arena_alloc(&desk->exchange->arena, count * sizeof *keys);
    for (size_t i = 0; i < count; i++) {
        keys[i] = items[i].key;
        items[i].code = TALLY_NOT_FOUND;
    }
    code = tally_read_get_many(read, keys, count, take_value, context, &err);
    for (size_t i = 0; i < count; i++) {
        items[i].code = code ? code : items[i].code;
        items[i].message = code ? message_of(desk, code, &err) : NULL;
        items[i].info = *tally_read_info(read);
    }
    return count;
}

struct scan {
    struct desk *desk;
    struct elsewhere_item *item;
    struct tally_arena *arena;
    size_t capacity;
};

static bool take_row(void *context, struct tally_slice key, struct tally_slice value)
{
    struct scan *scan = context;
    struct elsewhere_item *item = scan->item;

    if (item->count == item->limit || scan->desk->bytes > ANSWER_BYTES_MAX) {
        item->more = true;
        return false;
    }
    if (item->count == scan->capacity) {
        struct elsewhere_row *rows = item->rows;

        scan->capacity = scan->capacity ? 2 * scan->capacity : 16;
        item->rows = tally_arena_alloc(scan->arena, scan->capacity * sizeof *rows);
        if (item->count > 0) {
            memcpy(item->rows, rows, item->count * sizeof *rows);
        }
    }
    item->rows[item->count++] = (struct elsewhere_row){
            tally_arena_copy(scan->arena, key), tally_arena_copy(scan->arena, value)};
    scan->desk->bytes += key.len + value.len;
    return true;
}

static void read_one(struct desk *desk, struct tally_read *read, struct elsewhere_item *item)
{
    struct scan scan = {.desk = desk, .item = item, .arena = &desk->exchange->arena};
    struct tally_error err = {0};
    struct tally_buf record;

    if (item->kind == ELSEWHERE_ROWS) {
        item->code = tally_read_scan(read, item->key, item->upper, item->backwards, take_row, &scan,
                &err);
    } else {
        tally_buf_init(&record, OUTCOME_BYTES_MAX);
        item->code = tally_read_outcome(read, item->key, TALLY_NONE, 0, false, TALLY_FORMAT_JSON,
                &record, &item->outcome, &err);
        if (desk->bytes + record.len <= ANSWER_BYTES_MAX) {
            item->value = tally_arena_copy(scan.arena, tally_buf_bytes(&record));
            desk->bytes += record.len;
        } else {
            item->code = TALLY_TOO_LARGE;
        }
        tally_buf_deinit(&record);
    }
    item->message = item->code ? message_of(desk, item->code, &err) : NULL;
    item->info = *tally_read_info(read);
}

static void await_one(struct desk *desk, struct elsewhere_item *item)
{
    struct tally_topology *topology =
            reading_topology(desk->exchange, tally_slice_string(item->topology));
    const struct submission submission = {.topology = topology,
            .id = item->key,
            .key = item->upper,
            .fingerprint = item->fingerprint};
    struct commands_position at = {NULL, item->partition, item->offset};
    struct commands_outcome outcome;

    item->code = TALLY_FENCED;
    if (!topology || !tally_topology_commands(topology) ||
            !tally_read_is_here(desk->exchange->runtime, item->topology, item->partition)) {
        return;
    }
    at.topic = tally_topology_commands(topology);
    commands_outcome_init(&outcome);
    item->code = TALLY_TIMEOUT;
    if (commands_await_here(desk->exchange, &submission, &at, desk->end_ms, &outcome)) {
        item->code = TALLY_OK;
        item->value = tally_arena_copy(&desk->exchange->arena, tally_buf_bytes(&outcome.record));
        item->outcome = outcome.info;
        item->repeated = outcome.repeated;
        item->info = outcome.read;
    }
    commands_outcome_deinit(&outcome);
}

/* Those of one task, which is opened once. Returns how many they are. */
static size_t serve_task(struct desk *desk, size_t first)
{
    struct elsewhere_item *items = desk->items + first;
    struct tally_read *read = NULL;
    struct tally_error err = {0};
    size_t count = 1, at = 0;
    enum tally_code code = TALLY_OK;

    while (first + count < desk->count && is_same_task(&items[0], &items[count])) {
        count++;
    }
    if (items[0].kind != ELSEWHERE_AWAIT) {
        code = tally_read_open(desk->exchange->runtime, items[0].topology, TALLY_NONE,
                items[0].partition, &desk->positions.options, &read, &err);
    }
    while (at < count) {
        if (items[at].kind == ELSEWHERE_AWAIT) {
            await_one(desk, &items[at++]);
        } else if (!read) {
            items[at].code = code ? code : TALLY_FENCED;
            items[at].message = message_of(desk, items[at].code, &err);
            at++;
        } else if (items[at].kind == ELSEWHERE_ROW) {
            at += read_rows(desk, read, items + at, count - at);
        } else {
            read_one(desk, read, &items[at++]);
        }
    }
    tally_read_close(read);
    return count;
}

static bool take_request(struct desk *desk)
{
    struct exchange *exchange = desk->exchange;
    struct reader reader = {exchange->request.body, false};
    int64_t wait_ms;

    if (take_number(&reader) != VERSION) {
        return false;
    }
    wait_ms = take_int(&reader);
    desk->count = take_number(&reader);
    if (reader.bad || desk->count > ITEMS_MAX || wait_ms < 0 || wait_ms > WAIT_MAX_MS) {
        return false;
    }
    desk->end_ms = tally_mono_ms(tally_clock_real()) + wait_ms;
    desk->items = tally_arena_alloc(&exchange->arena, (desk->count + 1) * sizeof *desk->items);
    for (size_t i = 0; i < desk->count; i++) {
        take_item(exchange, &reader, &desk->items[i]);
    }
    return !reader.bad && reader.left.len == 0;
}

void elsewhere_reads(struct exchange *exchange)
{
    struct desk desk = {.exchange = exchange};
    bool waits;

    if (!request_equals(request_header(&exchange->request, "Content-Type"), RESPONSE_BYTES)) {
        problem_answer(exchange, PROBLEM_UNSUPPORTED_MEDIA_TYPE, "expected " RESPONSE_BYTES);
        return;
    }
    if (!take_request(&desk)) {
        problem_answer(exchange, PROBLEM_MALFORMED_BODY,
                "these are not the reads of an instance of this version");
        return;
    }
    if (!reading_positions_wanted(exchange, &desk.positions)) {
        return;
    }
    waits = desk.count > 0 && desk.items[0].kind == ELSEWHERE_AWAIT;
    if (waits && !reading_wait_begin(exchange->waiting)) {
        problem_answer(exchange, PROBLEM_OVERLOADED, "too many requests wait");
        return;
    }
    desk.positions.options.of = TALLY_READ_OURS;
    for (size_t at = 0; at < desk.count;) {
        at += serve_task(&desk, at);
    }
    if (waits) {
        reading_wait_end(exchange->waiting);
    }
    response_begin(&exchange->response, 200, RESPONSE_BYTES);
    tally_buf_varint(&exchange->response.body, desk.count);
    for (size_t i = 0; i < desk.count; i++) {
        put_answer(&exchange->response.body, &desk.items[i]);
    }
}

/* --- rows of one task ------------------------------------------------------------------------- */

static enum tally_code rows_here(struct exchange *exchange, struct tally_read *read,
        const struct tally_key *keys, size_t count, struct tally_slice *rows,
        struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; i < count && !code; i++) {
        code = reading_row(exchange, read, &keys[i], &rows[i], err);
        code = code == TALLY_NOT_FOUND ? TALLY_OK : code;
    }
    return code;
}

static enum tally_code rows_elsewhere(struct exchange *exchange, const char *topology,
        int32_t partition, const struct tally_key *keys, size_t count, struct tally_slice *rows,
        struct tally_read_info *info, struct tally_error *err)
{
    struct elsewhere_item *items =
            tally_arena_alloc(&exchange->arena, count * sizeof(struct elsewhere_item));

    for (size_t i = 0; i < count; i++) {
        items[i] = (struct elsewhere_item){.kind = ELSEWHERE_ROW,
                .topology = topology,
                .partition = partition,
                .key = tally_key_bytes(&keys[i])};
    }
    elsewhere_ask(exchange, items, count, 0);
    for (size_t i = 0; i < count; i++) {
        if (items[i].code && items[i].code != TALLY_NOT_FOUND) {
            return tally_error_set(err, items[i].code, "%s", items[i].message);
        }
        rows[i] = items[i].code ? TALLY_NONE : items[i].value;
    }
    *info = items[0].info;
    return TALLY_OK;
}

enum tally_code elsewhere_rows(struct exchange *exchange, const char *topology,
        struct tally_slice key, const struct tally_key *keys, size_t count,
        struct tally_slice *rows, struct tally_read_info *info, struct tally_error *err)
{
    int32_t partition = tally_partition_of(key, tally_runtime_partitions(exchange->runtime));
    struct reading_positions positions;
    struct tally_read *read = NULL;
    enum tally_code code;

    if (!reading_positions_wanted(exchange, &positions)) {
        return TALLY_BAD_RECORD; /* answered */
    }
    positions.options.of = TALLY_READ_RUNNING;
    code = tally_read_open(exchange->runtime, topology, TALLY_NONE, partition, &positions.options,
            &read, err);
    if (code == TALLY_FENCED && exchange->hurried) {
        exchange->late = true;
        return code;
    }
    if (code == TALLY_FENCED) {
        code = rows_elsewhere(exchange, topology, partition, keys, count, rows, info, err);
        if (code != TALLY_FENCED && code != TALLY_UNAVAILABLE) {
            return code;
        }
        positions.options.of = reading_of(exchange);
        code = tally_read_open(exchange->runtime, topology, TALLY_NONE, partition,
                &positions.options, &read, err);
    }
    if (!code) {
        *info = *tally_read_info(read);
        code = rows_here(exchange, read, keys, count, rows, err);
    }
    tally_read_close(read);
    return code;
}
