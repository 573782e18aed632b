/* http/commands.c - see commands.h.
 *   request --submission_make--> record --publish--> position --wait for it--> outcome
 * Invariants
 *  (1) Nothing is written on a 4xx of HTTP itself, nor when there is no room to wait.
 *  (2) Once Kafka has acknowledged the record the answer is 202 or its outcome, whatever else
 *      fails.
 *  (3) A saga's outcome is that of the record which ended it. Whoever waits for it looks again when
 *      its task has gone on. */
#include "http/commands.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "http/audit.h"
#include "http/elsewhere.h"
#include "http/header_field.h"
#include "http/problem.h"
#include "http/reading.h"
#include "http/submission.h"

enum { PUBLISH_TIMEOUT_MS = 5000, OUTCOME_BYTES_MAX = 4 * 1024 * 1024, QUERY_BYTES_MAX = 512 };

void commands_outcome_init(struct commands_outcome *outcome)
{
    *outcome = (struct commands_outcome){.repeated = false};
    tally_buf_init(&outcome->record, OUTCOME_BYTES_MAX);
}

void commands_outcome_deinit(struct commands_outcome *outcome)
{
    tally_buf_deinit(&outcome->record);
}

static void write_text(struct tally_writer *writer, const char *name, struct tally_slice value)
{
    tally_write_name(writer, name);
    if (value.data) {
        tally_write_string(writer, value);
    } else {
        tally_write_null(writer);
    }
}

/* Else nobody will ever be told an outcome: nothing to wait for, and no resource to name. */
bool commands_outcomes_kept(const struct exchange *exchange)
{
    return tally_runtime_config(exchange->runtime)->dedup_retention > 0;
}

void commands_pending_write(struct tally_writer *writer, struct tally_slice id,
        struct tally_slice type, struct tally_slice key, const struct commands_position *at,
        bool located)
{
    struct tally_buf position, location;

    tally_buf_init(&position, COMMANDS_LOCATION_BYTES_MAX);
    tally_buf_format(&position, "%s/%d@%lld", at->topic, (int)at->partition, (long long)at->offset);
    tally_write_map(writer, located ? 6 : 5);
    write_text(writer, "command_id", id);
    write_text(writer, "type", type);
    write_text(writer, "key", key);
    write_text(writer, "status", tally_slice_string(tally_status_name(TALLY_PENDING)));
    write_text(writer, "position", tally_buf_bytes(&position));
    if (located) {
        tally_buf_init(&location, COMMANDS_LOCATION_BYTES_MAX);
        tally_buf_format(&location, "/v1/commands/%.*s?at=%.*s", (int)id.len, (const char *)id.data,
                (int)position.len, (const char *)position.data);
        write_text(writer, "location", tally_buf_bytes(&location));
        tally_buf_deinit(&location);
    }
    tally_buf_deinit(&position);
}

/* The body of a command whose outcome is not known yet. */
static void answer_pending(struct exchange *exchange, int status, struct tally_slice id,
        struct tally_slice type, struct tally_slice key, const struct commands_position *at)
{
    struct tally_writer writer;

    response_json(&exchange->response, status, &writer);
    commands_pending_write(&writer, id, type, key, at, false);
}

static void answer_accepted_for_later(struct exchange *exchange,
        const struct submission *submission, const struct commands_position *at)
{
    if (commands_outcomes_kept(exchange)) {
        response_header(&exchange->response, "Location", "/v1/commands/%.*s?at=%s/%d@%lld",
                (int)submission->id.len, (const char *)submission->id.data, at->topic,
                (int)at->partition, (long long)at->offset);
    }
    reading_position_header(exchange, at->topic, at->partition, at->offset);
    answer_pending(exchange, 202, submission->id, submission->type, submission->key, at);
}

bool commands_publish(struct exchange *exchange, const struct submission *submission,
        struct commands_position *at)
{
    static struct tally_log_limit limit;
    struct tally_error err = {0};
    enum tally_code code;

    at->topic = tally_topology_commands(submission->topology);
    code = tally_runtime_publish(exchange->runtime, at->topic, submission->key, submission->record,
            PUBLISH_TIMEOUT_MS, &at->partition, &at->offset, &err);
    if (code == TALLY_OK) {
        audit_command(exchange, submission->id, submission->type, at->topic, at->partition,
                at->offset);
        return true;
    }
    if (code == TALLY_TOO_LARGE) {
        problem_answer(exchange, PROBLEM_BODY_TOO_LARGE, "the topic takes no record of this size");
    } else {
        if (tally_log_allowed(&limit, 1000)) {
            tally_log_error(TALLY_LOG_WARN, "command not written", &err);
        }
        problem_answer(exchange, PROBLEM_KAFKA_UNAVAILABLE,
                "Kafka did not acknowledge the command: repeat it with the same Idempotency-Key");
    }
    audit_command(exchange, submission->id, submission->type, at->topic, -1, -1);
    return false;
}

/* REJECTED, as a problem. outcome: the outcome record. */
static void answer_rejected(struct exchange *exchange, enum tally_reject reject,
        struct tally_slice outcome)
{
    const struct tally_token *members = NULL;
    enum tally_refusal refusal;
    struct tally_error err = {0};
    enum tally_code code =
            tally_document_parse(outcome, &exchange->arena, &members, &refusal, &err);

    if (code) {
        problem_error(exchange, code, &err);
    } else {
        problem_outcome(exchange, reject, members);
    }
}

static int64_t now_ms(void)
{
    return tally_mono_ms(tally_clock_real());
}

enum found { FOUND, NOT_YET, NOT_KNOWN };

/* Reads the outcome of what was written at `at`. What was decided before that is of an earlier use
 * of the id. */
static enum found find_outcome(const struct submission *submission,
        const struct commands_position *at, struct tally_read *read,
        struct commands_outcome *outcome)
{
    struct tally_outcome_info *info = &outcome->info;
    struct tally_error err = {0};
    bool known;

    tally_buf_clear(&outcome->record);
    outcome->repeated = false;
    known = tally_read_outcome(read, submission->id, submission->key, submission->fingerprint,
                    false, TALLY_FORMAT_JSON, &outcome->record, info, &err) == TALLY_OK;
    if (known && info->offset < at->offset && info->code != TALLY_REJECT_IDEMPOTENCY_KEY_REUSED) {
        outcome->repeated = true;
        tally_buf_clear(&outcome->record);
        known = tally_read_outcome(read, submission->id, submission->key, submission->fingerprint,
                        true, TALLY_FORMAT_JSON, &outcome->record, info, &err) == TALLY_OK;
    }
    outcome->read = *tally_read_info(read);
    if (!known) {
        return NOT_KNOWN;
    }
    return info->status == TALLY_PENDING && !outcome->repeated ? NOT_YET : FOUND;
}

bool commands_await_here(struct exchange *exchange, const struct submission *submission,
        const struct commands_position *at, int64_t end_ms, struct commands_outcome *outcome)
{
    struct tally_min_position position = {tally_slice_string(at->topic), at->partition, at->offset};
    struct tally_read_options options = {
            .of = TALLY_READ_RUNNING, .positions = &position, .position_count = 1};
    enum found found = NOT_YET;

    while (found == NOT_YET) {
        struct tally_read *read = NULL;
        struct tally_error err = {0};
        int64_t left_ms = end_ms - now_ms();

        options.wait_ms = left_ms > 0 ? left_ms : 0;
        if (tally_read_open(exchange->runtime, tally_topology_name(submission->topology),
                    submission->key, at->partition, &options, &read, &err)) {
            return false;
        }
        found = find_outcome(submission, at, read, outcome);
        position.offset = tally_read_info(read)->position + 1;
        tally_read_close(read);
    }
    if (found == FOUND) {
        const struct tally_outcome_info *info = &outcome->info;

        audit_outcome(exchange, at->topic, at->partition, at->offset,
                tally_status_name(info->status),
                info->status == TALLY_REJECTED ? tally_reject_name(info->code) : NULL);
    }
    return found == FOUND;
}

static void take_outcome(struct commands_waiting *waiting, const struct elsewhere_item *item)
{
    waiting->known = item->code == TALLY_OK;
    if (waiting->known) {
        tally_buf_clear(&waiting->outcome->record);
        tally_buf_slice(&waiting->outcome->record, item->value);
        waiting->outcome->info = item->outcome;
        waiting->outcome->read = item->info;
        waiting->outcome->repeated = item->repeated;
    }
}

/* Those whose tasks run elsewhere, in the order of instances and tasks that elsewhere.c makes. */
static void await_elsewhere(struct exchange *exchange, struct commands_waiting *waiting,
        size_t count, int64_t end_ms)
{
    struct elsewhere_item *items = tally_arena_alloc(&exchange->arena, (count + 1) * sizeof *items);
    struct commands_waiting **of =
            tally_arena_alloc(&exchange->arena, (count + 1) * sizeof(struct commands_waiting *));
    int64_t left_ms = end_ms - now_ms();
    size_t asked = 0;

    for (size_t i = 0; i < count; i++) {
        const struct submission *submission = waiting[i].submission;
        const char *topology = tally_topology_name(submission->topology);

        if (waiting[i].known ||
                tally_read_is_here(exchange->runtime, topology, waiting[i].at->partition)) {
            continue;
        }
        items[asked] = (struct elsewhere_item){.kind = ELSEWHERE_AWAIT,
                .topology = topology,
                .partition = waiting[i].at->partition,
                .key = submission->id,
                .upper = submission->key,
                .fingerprint = submission->fingerprint,
                .offset = waiting[i].at->offset};
        of[asked++] = &waiting[i];
    }
    elsewhere_ask(exchange, items, asked, left_ms > 0 ? left_ms : 0);
    for (size_t i = 0; i < asked; i++) {
        take_outcome(of[i], &items[i]);
    }
}

/* Whoever waits for the last has waited for all: what is asked for then is there, or late. */
void commands_await(struct exchange *exchange, struct commands_waiting *items, size_t count,
        int64_t end_ms)
{
    for (size_t i = 0; i < count; i++) {
        items[i].known = commands_await_here(exchange, items[i].submission, items[i].at, end_ms,
                items[i].outcome);
    }
    await_elsewhere(exchange, items, count, end_ms);
}

static void answer_outcome(struct exchange *exchange, const struct commands_position *at,
        const struct commands_outcome *outcome)
{
    reading_age_headers(exchange, &outcome->read);
    reading_position_header(exchange, at->topic, at->partition, outcome->info.offset);
    if (outcome->info.status == TALLY_PENDING) {
        problem_answer(exchange, PROBLEM_REQUEST_IN_PROGRESS,
                "the first use of this id is not finished");
        return;
    }
    if (outcome->repeated) {
        response_header(&exchange->response, "Idempotent-Replayed", "true");
    }
    if (outcome->info.status == TALLY_REJECTED) {
        answer_rejected(exchange, outcome->info.code, tally_buf_bytes(&outcome->record));
    } else {
        response_begin(&exchange->response, 200, RESPONSE_JSON);
        tally_buf_slice(&exchange->response.body, tally_buf_bytes(&outcome->record));
    }
}

/* false: no outcome in time, or not here. */
static bool wait_and_answer(struct exchange *exchange, const struct submission *submission,
        const struct commands_position *at, int64_t wait_ms)
{
    struct commands_outcome outcome;
    struct commands_waiting waiting = {submission, at, &outcome, false};

    commands_outcome_init(&outcome);
    commands_await(exchange, &waiting, 1, now_ms() + wait_ms);
    if (waiting.known) {
        answer_outcome(exchange, at, &outcome);
    }
    commands_outcome_deinit(&outcome);
    return waiting.known;
}

void commands_send(struct exchange *exchange)
{
    struct submission submission;
    struct commands_position at = {0};
    int64_t seconds = 0;
    bool waits;

    if (tally_runtime_is_shutting_down(exchange->runtime)) {
        problem_answer(exchange, PROBLEM_SHUTTING_DOWN, "this instance takes no more commands");
        return;
    }
    if (!submission_make(exchange, &submission)) {
        return;
    }
    waits = commands_outcomes_kept(exchange) &&
            header_field_prefer_wait(&exchange->request, &seconds);
    if (waits && !reading_wait_begin(exchange->waiting)) {
        problem_answer(exchange, PROBLEM_OVERLOADED, "too many requests wait; nothing was written");
        return;
    }
    if (commands_publish(exchange, &submission, &at)) {
        if (waits) {
            response_header(&exchange->response, "Preference-Applied", "wait=%lld",
                    (long long)seconds);
        }
        if (!waits || !wait_and_answer(exchange, &submission, &at, seconds * 1000)) {
            answer_accepted_for_later(exchange, &submission, &at);
        }
    }
    if (waits) {
        reading_wait_end(exchange->waiting);
    }
}

/* --- GET -------------------------------------------------------------------------------------- */

/* Answers from one task; NOT_FOUND and errors are returned. */
static enum tally_code answer_stored(struct exchange *exchange, struct tally_read *read,
        struct tally_slice id, struct tally_error *err)
{
    const struct tally_read_info *read_info = tally_read_info(read);
    struct tally_outcome_info info = {0};
    enum tally_code code;

    response_begin(&exchange->response, 200, RESPONSE_JSON);
    code = tally_read_outcome(read, id, TALLY_NONE, 0, false, TALLY_FORMAT_JSON,
            &exchange->response.body, &info, err);
    if (!code) {
        reading_age_headers(exchange, read_info);
        reading_position_header(exchange, read_info->topic, read_info->partition, info.offset);
    }
    return code;
}

static void answer_not_found(struct exchange *exchange, struct tally_slice id)
{
    problem_answer(exchange, PROBLEM_COMMAND_NOT_FOUND, "no outcome of command \"%.*s\" is known",
            (int)id.len, (const char *)id.data);
}

static bool parse_at(struct exchange *exchange, struct tally_slice text,
        struct tally_topology **topology, struct commands_position *at)
{
    struct tally_min_position positions[TALLY_MIN_POSITIONS_MAX];
    size_t count = 0;

    if (tally_positions_parse(text, positions, &count) && count == 1) {
        *topology = reading_topology_of_topic(exchange, positions[0].topic);
        if (*topology && positions[0].partition >= 0 &&
                positions[0].partition < tally_runtime_partitions(exchange->runtime)) {
            *at = (struct commands_position){tally_topology_commands(*topology),
                    positions[0].partition, positions[0].offset};
            return true;
        }
    }
    problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
            "at: expected one position of a commands topic, like stock.commands/2@990");
    return false;
}

/* Opens a read at the owner of the position. With Prefer: wait, waits for it; not reached in time,
 * the read is of before. */
static enum tally_code open_at(struct exchange *exchange, const char *topology,
        const struct commands_position *at, struct reading_positions *positions,
        struct tally_read **read, struct tally_error *err)
{
    size_t asked = positions->options.position_count;
    int64_t seconds;
    enum tally_code code;

    if (header_field_prefer_wait(&exchange->request, &seconds)) {
        positions->items[positions->options.position_count++] = (struct tally_min_position){
                tally_slice_string(at->topic), at->partition, at->offset};
        positions->options.wait_ms = seconds * 1000;
        if (asked == 0) {
            response_header(&exchange->response, "Preference-Applied", "wait=%lld",
                    (long long)seconds);
        }
    }
    code = tally_read_open(exchange->runtime, topology, TALLY_NONE, at->partition,
            &positions->options, read, err);
    if (code == TALLY_TIMEOUT && asked == 0) {
        positions->options = (struct tally_read_options){.of = positions->options.of};
        code = tally_read_open(exchange->runtime, topology, TALLY_NONE, at->partition,
                &positions->options, read, err);
    }
    return code;
}

/* Whether the id has begun a saga that has not ended; *offset: of its command. */
static bool goes_on(struct tally_read *read, struct tally_slice id, int64_t *offset)
{
    struct tally_outcome_info info = {0};
    struct tally_buf outcome;
    struct tally_error err = {0};
    bool known;

    tally_buf_init(&outcome, OUTCOME_BYTES_MAX);
    known = tally_read_outcome(read, id, TALLY_NONE, 0, false, TALLY_FORMAT_JSON, &outcome, &info,
                    &err) == TALLY_OK;
    tally_buf_deinit(&outcome);
    *offset = info.offset;
    return known && info.status == TALLY_PENDING;
}

/* With Prefer: wait, what a saga has come to when that time is over: *read is then a later one. */
static void await_end(struct exchange *exchange, struct tally_slice id, const char *topology,
        const struct commands_position *at, int64_t end_ms, struct tally_read **read)
{
    int64_t offset;

    while (tally_read_info(*read)->position >= at->offset && goes_on(*read, id, &offset)) {
        struct tally_min_position next = {
                tally_slice_string(at->topic), at->partition, tally_read_info(*read)->position + 1};
        struct tally_read_options options = {
                .positions = &next, .position_count = 1, .wait_ms = end_ms - now_ms()};
        struct tally_read *later = NULL;
        struct tally_error err = {0};

        if (options.wait_ms <= 0 || tally_read_open(exchange->runtime, topology, TALLY_NONE,
                                            at->partition, &options, &later, &err)) {
            return;
        }
        tally_read_close(*read);
        *read = later;
    }
}

static void read_at(struct exchange *exchange, struct tally_slice id, struct tally_slice text)
{
    struct tally_topology *topology = NULL;
    struct tally_read *read = NULL;
    struct reading_positions positions;
    struct tally_error err = {0};
    struct commands_position at;
    int64_t begin_ms = now_ms(), seconds;
    enum tally_code code;

    if (!parse_at(exchange, text, &topology, &at) ||
            reading_elsewhere(exchange, tally_topology_name(topology), at.partition) ||
            !reading_positions_read(exchange, &positions)) {
        return;
    }
    positions.options.of = reading_of(exchange);
    code = open_at(exchange, tally_topology_name(topology), &at, &positions, &read, &err);
    if (code) {
        problem_error(exchange, code, &err);
        return;
    }
    if (header_field_prefer_wait(&exchange->request, &seconds)) {
        await_end(exchange, id, tally_topology_name(topology), &at, begin_ms + seconds * 1000,
                &read);
    }
    if (tally_read_info(read)->position < at.offset) {
        reading_headers(exchange, tally_read_info(read));
        answer_pending(exchange, 200, id, TALLY_NONE, TALLY_NONE, &at);
    } else {
        code = answer_stored(exchange, read, id, &err);
        if (code == TALLY_NOT_FOUND) {
            reading_headers(exchange, tally_read_info(read));
            answer_not_found(exchange, id);
        } else if (code) {
            problem_error(exchange, code, &err);
        }
    }
    tally_read_close(read);
}

/* One task that may know the outcome. */
struct asked_task {
    const char *topology;
    int32_t partition;
    bool away; /* it runs elsewhere: items[item] is the question */
    size_t item;
};

static size_t list_tasks(struct exchange *exchange, struct tally_slice id, struct asked_task *tasks,
        struct elsewhere_item *items, size_t *item_count)
{
    static const char *const order[] = {"catalogue", "stock", "reservation", "transfer"};
    int32_t partitions = tally_runtime_partitions(exchange->runtime);
    size_t count = 0;

    *item_count = 0;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        bool runs = reading_topology(exchange, tally_slice_string(order[i])) != NULL;

        for (int32_t partition = 0; runs && partition < partitions; partition++) {
            struct asked_task *task = &tasks[count++];

            *task = (struct asked_task){order[i], partition,
                    !tally_read_is_here(exchange->runtime, order[i], partition), *item_count};
            if (task->away) {
                items[(*item_count)++] = (struct elsewhere_item){.kind = ELSEWHERE_OUTCOME,
                        .topology = order[i],
                        .partition = partition,
                        .key = id};
            }
        }
    }
    return count;
}

/* What one task knows: OK: answered, or *pending is the offset of a command that is not through and
 * that is waited for. */
static enum tally_code ask_task(struct exchange *exchange, struct tally_slice id,
        const struct asked_task *task, const struct elsewhere_item *items,
        const struct reading_positions *positions, int64_t *pending)
{
    const struct elsewhere_item *item = &items[task->item];
    int64_t seconds;
    bool waits = header_field_prefer_wait(&exchange->request, &seconds);
    struct tally_read *read = NULL;
    struct tally_error err = {0};
    enum tally_code code;

    if (task->away && item->code == TALLY_OK && waits && item->outcome.status == TALLY_PENDING) {
        *pending = item->outcome.offset;
        return TALLY_OK;
    }
    if (task->away && item->code == TALLY_OK) {
        response_begin(&exchange->response, 200, RESPONSE_JSON);
        tally_buf_slice(&exchange->response.body, item->value);
        reading_age_headers(exchange, &item->info);
        reading_position_header(exchange, item->info.topic, item->info.partition,
                item->outcome.offset);
    }
    if (task->away) {
        return item->code;
    }
    code = tally_read_open(exchange->runtime, task->topology, TALLY_NONE, task->partition,
            &positions->options, &read, &err);
    if (!code && waits && goes_on(read, id, pending)) {
        tally_read_close(read);
        return TALLY_OK;
    }
    *pending = -1;
    code = code ? code : answer_stored(exchange, read, id, &err);
    tally_read_close(read);
    return code;
}

/* The same request with the position that was found. */
static void wait_at(struct exchange *exchange, struct tally_slice id, const struct asked_task *task,
        int64_t offset)
{
    const char *topic =
            tally_topology_commands(reading_topology(exchange, tally_slice_string(task->topology)));
    struct tally_buf text;
    struct tally_slice query;

    tally_buf_init(&text, QUERY_BYTES_MAX);
    tally_buf_format(&text, "at=%s/%d@%lld", topic, (int)task->partition, (long long)offset);
    query = tally_arena_copy(&exchange->arena, tally_buf_bytes(&text));
    tally_buf_deinit(&text);
    exchange->request.query = query;
    read_at(exchange, id, tally_slice_of(query.data + 3, query.len - 3));
}

static void tell_preference(struct exchange *exchange)
{
    int64_t seconds;

    if (header_field_prefer_wait(&exchange->request, &seconds)) {
        response_header(&exchange->response, "Preference-Applied", "wait=%lld", (long long)seconds);
    }
}

static void read_everywhere(struct exchange *exchange, struct tally_slice id)
{
    enum { TOPOLOGIES_MAX = 4 };
    size_t max = TOPOLOGIES_MAX * (size_t)tally_runtime_partitions(exchange->runtime);
    struct asked_task *tasks = tally_arena_alloc(&exchange->arena, max * sizeof *tasks);
    struct elsewhere_item *items = tally_arena_alloc(&exchange->arena, max * sizeof *items);
    struct reading_positions positions;
    size_t count, item_count;
    int64_t pending = -1;
    bool missed = false;

    if (!reading_positions_wanted(exchange, &positions)) {
        return;
    }
    positions.options.of = TALLY_READ_RUNNING;
    count = list_tasks(exchange, id, tasks, items, &item_count);
    elsewhere_ask(exchange, items, item_count, 0);
    for (size_t i = 0; i < count; i++) {
        enum tally_code code = ask_task(exchange, id, &tasks[i], items, &positions, &pending);

        if (code == TALLY_OK && pending >= 0) {
            wait_at(exchange, id, &tasks[i], pending);
            return;
        }
        if (code == TALLY_OK) {
            tell_preference(exchange);
            return;
        }
        missed = missed || code != TALLY_NOT_FOUND;
    }
    tell_preference(exchange);
    if (missed) {
        problem_answer(exchange, PROBLEM_NOT_OWNER, "not every task can be asked now; give ?at=");
    } else {
        answer_not_found(exchange, id);
    }
}

void commands_read(struct exchange *exchange)
{
    struct tally_slice id = exchange->request.params[0];
    struct tally_slice at = request_query(&exchange->request, "at");

    if (!header_field_is_command_id(id)) {
        answer_not_found(exchange, id); /* no client can have used it */
    } else if (!commands_outcomes_kept(exchange)) {
        problem_answer(exchange, PROBLEM_NOT_KEPT,
                "no outcomes are kept: dedup.retention is 0 here; Tally-Min-Position waits for a "
                "command");
    } else if (at.data) {
        read_at(exchange, id, at);
    } else {
        read_everywhere(exchange, id);
    }
}
