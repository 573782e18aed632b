/* engine/memory_producer.c - the transactional producer on the broker in memory.
 *
 *   NEW --[init]--> READY --[begin]--> OPEN --[commit]--> READY
 *                            OPEN --[error that asks for abort]--> ABORTABLE --[abort]--> READY
 *   any --[a newer producer of the id, or an unknown commit]--> FATAL
 *
 * Records reach the log when they are produced; their deliveries are reported by poll and commit,
 * as late as librdkafka may do it. */
#include "engine/base/mem.h"
#include "engine/memory_client_internal.h"

enum state { STATE_NEW, STATE_READY, STATE_OPEN, STATE_ABORTABLE, STATE_FATAL };

struct report {
    struct tally_delivery *delivery;
    int64_t offset;
};

struct memory_producer {
    struct tally_producer base;
    struct memory_client *client;
    struct memory_id *id;
    uint64_t epoch;
    enum state state;
    struct memory_txn *txn; /* NULL: nothing was written or sent yet */
    bool records_first;     /* the last send_offsets handed over its records first */
    bool tainted;
    struct report *reports;
    size_t report_count, report_capacity;
};

static struct memory_producer *producer_of(struct tally_producer *producer)
{
    return (struct memory_producer *)producer;
}

/* Whether the producer may go on in its transaction. */
static enum tally_code check_state(struct memory_producer *producer, struct tally_error *err)
{
    if (producer->state != STATE_NEW && producer->epoch != producer->id->epoch) {
        producer->state = STATE_FATAL;
    }
    switch (producer->state) {
    case STATE_NEW:
    case STATE_READY:
    case STATE_OPEN:
        return TALLY_OK;
    case STATE_ABORTABLE:
        return tally_error_set(err, TALLY_TXN_ABORTED, "transaction of \"%s\" must be aborted",
                producer->id->name);
    case STATE_FATAL:
        break;
    }
    return tally_error_set(err, TALLY_FENCED, "producer of \"%s\" is fenced", producer->id->name);
}

/* As check_state, for what goes into the transaction: a late request may have ended it. */
static enum tally_code check_open(struct memory_producer *producer, struct tally_error *err)
{
    enum tally_code code = check_state(producer, err);

    if (!code && producer->txn && memory_broker_txn_state(producer->txn) != MEMORY_TXN_OPEN) {
        code = tally_error_set(err, TALLY_PRODUCER_FATAL, "the transaction of \"%s\" is not open",
                producer->id->name);
    }
    return code;
}

/* Ends a call; what it answers decides what the producer may do next. */
static enum tally_code answer(struct memory_producer *producer, const struct memory_call *call,
        enum tally_memory_op op, enum tally_code code, struct tally_error *err)
{
    code = memory_client_end(producer->client, call, op, code, err);
    switch (tally_code_reaction(code)) {
    case TALLY_REACT_NONE:
    case TALLY_REACT_SKIP:
        break;
    case TALLY_REACT_RETRY:
        producer->tainted |= producer->state == STATE_OPEN;
        break;
    case TALLY_REACT_ABORT:
        producer->tainted = true;
        if (producer->state == STATE_OPEN) {
            producer->state = STATE_ABORTABLE;
        }
        break;
    case TALLY_REACT_REBUILD:
    case TALLY_REACT_RELEASE:
    case TALLY_REACT_HALT:
    case TALLY_REACT_EXIT:
        producer->tainted = true;
        producer->state = STATE_FATAL;
        break;
    }
    return code;
}

/* The request is on its way although its client is told something else now. */
static void delay(struct memory_producer *producer, const struct memory_call *call,
        struct memory_late late)
{
    if (call->hit && call->fault.late_ms > 0) {
        late.id = producer->id;
        late.epoch = producer->epoch;
        memory_broker_delay(producer->client->broker, &late, call->fault.late_ms);
    }
}

static enum tally_code init_transactions(struct tally_producer *base, int timeout_ms,
        struct tally_error *err)
{
    struct memory_producer *producer = producer_of(base);
    struct memory_call call = memory_client_begin(producer->client, TALLY_MEMORY_INIT);

    (void)timeout_ms;
    tally_assert(producer->state == STATE_NEW);
    if (call.effect) {
        memory_broker_end_txn(producer->client->broker, producer->id, false);
        memory_broker_settle(producer->client->broker, producer->id);
        producer->epoch = ++producer->id->epoch;
    }
    if (call.effect && !call.hit) {
        producer->state = STATE_READY;
    }
    return answer(producer, &call, TALLY_MEMORY_INIT, TALLY_OK, err);
}

static enum tally_code begin(struct tally_producer *base, struct tally_error *err)
{
    struct memory_producer *producer = producer_of(base);
    struct memory_call call = memory_client_begin(producer->client, TALLY_MEMORY_BEGIN);
    enum tally_code code = check_state(producer, err);

    if (!code && call.effect) {
        tally_assert(producer->state == STATE_READY);
        /* a simulation shows what comes of it */
        tally_assert(!producer->tainted || memory_broker_simulated(producer->client->broker));
        producer->state = STATE_OPEN;
        producer->txn = NULL;
        producer->report_count = 0;
    }
    return answer(producer, &call, TALLY_MEMORY_BEGIN, code, err);
}

/* The broker's transaction begins with its first write. */
static struct memory_txn *open_txn(struct memory_producer *producer)
{
    if (!producer->txn) {
        producer->txn = memory_broker_begin(producer->client->broker, producer->id);
    }
    return producer->txn;
}

static void add_report(struct memory_producer *producer, struct tally_delivery *delivery,
        int64_t offset)
{
    if (producer->report_count == producer->report_capacity) {
        producer->report_capacity = producer->report_capacity ? producer->report_capacity * 2 : 64;
        producer->reports = tally_realloc(producer->reports,
                producer->report_capacity * sizeof *producer->reports);
    }
    producer->reports[producer->report_count++] = (struct report){delivery, offset};
}

static void write_record(struct memory_producer *producer, struct memory_partition *partition,
        const struct tally_produce *record)
{
    int64_t offset = memory_broker_append(producer->client->broker, partition, open_txn(producer),
            record->key, record->value, record->headers, record->header_count);

    if (record->delivery) {
        record->delivery->produced++;
        add_report(producer, record->delivery, offset);
    }
}

static enum tally_code produce(struct tally_producer *base, const char *topic, int32_t partition,
        const struct tally_produce *records, size_t count, size_t *done, struct tally_error *err)
{
    struct memory_producer *producer = producer_of(base);
    struct memory_call call = memory_client_begin(producer->client, TALLY_MEMORY_PRODUCE);
    struct memory_partition *found = memory_broker_find(producer->client->broker, topic, partition);
    enum tally_code code = check_open(producer, err);

    *done = 0;
    if (!code && !found) {
        code = tally_error_set(err, TALLY_TOPIC_CONFIG, "topic \"%s\" has no partition %d", topic,
                (int)partition);
    }
    tally_assert(code || producer->state == STATE_OPEN);
    if (!code) {
        delay(producer, &call,
                (struct memory_late){.op = TALLY_MEMORY_PRODUCE,
                        .partition = found,
                        .records = records,
                        .count = count});
    }
    while (!code && call.effect && *done < count) {
        if (!memory_broker_fits(found, records[*done].key, records[*done].value)) {
            code = tally_error_set(err, TALLY_TOO_LARGE, "record is too large for topic \"%s\"",
                    topic);
            break;
        }
        write_record(producer, found, &records[(*done)++]);
    }
    return answer(producer, &call, TALLY_MEMORY_PRODUCE, code, err);
}

static void report_deliveries(struct memory_producer *producer)
{
    for (size_t i = 0; i < producer->report_count; i++) {
        struct report *report = &producer->reports[i];

        report->delivery->delivered++;
        if (report->offset > report->delivery->last_offset) {
            report->delivery->last_offset = report->offset;
        }
    }
    producer->report_count = 0;
}

static enum tally_code serve(struct tally_producer *base, int timeout_ms, struct tally_error *err)
{
    struct memory_producer *producer = producer_of(base);
    struct memory_call call = memory_client_begin(producer->client, TALLY_MEMORY_SERVE);
    enum tally_code code = TALLY_OK;

    (void)timeout_ms;
    if (producer->state == STATE_OPEN || producer->state == STATE_ABORTABLE) {
        code = check_state(producer, err);
    }
    if (!code && call.effect) {
        report_deliveries(producer);
    }
    return answer(producer, &call, TALLY_MEMORY_SERVE, code, err);
}

static enum tally_code stage_offsets(struct tally_producer *base, struct tally_consumer *consumer,
        const struct tally_topic_partition *offsets, size_t count, struct tally_error *err)
{
    struct memory_producer *producer = producer_of(base);
    struct memory_call call = memory_client_begin(producer->client, TALLY_MEMORY_SEND_OFFSETS);
    enum tally_code code = check_open(producer, err);
    bool current = false;
    struct memory_member *member = memory_consumer_member(consumer, &current);

    tally_assert(code || producer->state == STATE_OPEN);
    if (!code && (!member || !current)) {
        /* as librdkafka has it: FENCED_INSTANCE_ID; ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID */
        code = memory_consumer_fenced(consumer)
                       ? tally_error_set(err, TALLY_FENCED, "another consumer has the instance id")
                       : tally_error_set(err, TALLY_TXN_ABORTED, "the group went on without it");
    }
    if (!code) {
        struct memory_late late = {
                .op = TALLY_MEMORY_SEND_OFFSETS, .offsets = offsets, .count = count};

        memory_consumer_offer(consumer, &late);
        delay(producer, &call, late);
    }
    for (size_t i = 0; !code && call.effect && i < count; i++) {
        tally_assert(offsets[i].offset >= 0);
        memory_broker_stage_offset(open_txn(producer), member->group->name, offsets[i].topic,
                offsets[i].partition, offsets[i].offset);
    }
    return answer(producer, &call, TALLY_MEMORY_SEND_OFFSETS, code, err);
}

/* Which of the two a broker sees first is not known; here they take turns. */
static enum tally_code send_offsets(struct tally_producer *base, struct tally_consumer *consumer,
        const struct tally_topic_partition *offsets, size_t count, int timeout_ms,
        const struct tally_meanwhile *meanwhile, struct tally_error *err)
{
    struct memory_producer *producer = producer_of(base);
    struct tally_error handed_err = {.code = TALLY_OK};
    enum tally_code code = TALLY_OK, handed = TALLY_OK;

    (void)timeout_ms;
    producer->records_first = !producer->records_first;
    if (meanwhile && producer->records_first) {
        handed = meanwhile->call(meanwhile->context, &handed_err);
    }
    code = stage_offsets(base, consumer, offsets, count, err);
    if (meanwhile && !producer->records_first) {
        handed = meanwhile->call(meanwhile->context, &handed_err);
    }
    if (handed && (!code || tally_code_reaction(code) == TALLY_REACT_RETRY)) {
        if (err) {
            *err = handed_err;
        }
        return handed;
    }
    return code;
}

/* EndTxn; again after TIMEOUT: what has happened already is an answer too. */
static enum tally_code end(struct memory_producer *producer, bool commit, struct tally_error *err)
{
    enum memory_txn_state wanted = commit ? MEMORY_TXN_COMMITTED : MEMORY_TXN_ABORTED;

    if (!producer->txn) {
        return TALLY_OK; /* nothing was written: no EndTxn is sent */
    }
    if (memory_broker_txn_state(producer->txn) == MEMORY_TXN_OPEN) {
        memory_broker_end_txn(producer->client->broker, producer->id, commit);
    }
    if (memory_broker_txn_state(producer->txn) != wanted) {
        return tally_error_set(err, TALLY_FENCED, "the broker has ended the transaction");
    }
    return TALLY_OK;
}

static enum tally_code commit(struct tally_producer *base, int timeout_ms, struct tally_error *err)
{
    struct memory_producer *producer = producer_of(base);
    struct memory_call call = memory_client_begin(producer->client, TALLY_MEMORY_COMMIT);
    enum tally_code code = check_state(producer, err);

    (void)timeout_ms;
    tally_assert(code || producer->state == STATE_OPEN);
    if (!code && producer->txn) {
        delay(producer, &call, (struct memory_late){.op = TALLY_MEMORY_COMMIT});
    }
    if (!code && call.effect) {
        report_deliveries(producer);
        code = end(producer, true, err);
    }
    code = answer(producer, &call, TALLY_MEMORY_COMMIT, code, err);
    if (!code) {
        producer->state = STATE_READY;
        producer->txn = NULL;
    }
    return code;
}

static enum tally_code abort_txn(struct tally_producer *base, int timeout_ms,
        struct tally_error *err)
{
    struct memory_producer *producer = producer_of(base);
    struct memory_call call = memory_client_begin(producer->client, TALLY_MEMORY_ABORT);
    enum tally_code code = check_state(producer, NULL);

    (void)timeout_ms;
    if (code == TALLY_TXN_ABORTED) {
        code = TALLY_OK; /* that is what is being done */
    } else if (code) {
        code = check_state(producer, err);
    }
    producer->tainted = true;
    if (!code && producer->txn) {
        delay(producer, &call, (struct memory_late){.op = TALLY_MEMORY_ABORT});
    }
    if (!code && call.effect) {
        report_deliveries(producer); /* of what was written before it, as librdkafka does */
        code = end(producer, false, err);
    }
    code = answer(producer, &call, TALLY_MEMORY_ABORT, code, err);
    if (!code) {
        producer->state = STATE_READY;
        producer->txn = NULL;
    }
    return code;
}

static bool tainted(struct tally_producer *producer)
{
    return producer_of(producer)->tainted && producer_of(producer)->client->guard;
}

static int32_t partitions(struct tally_producer *producer, const char *topic, int timeout_ms)
{
    int32_t count;

    (void)timeout_ms;
    memory_broker_topic_name(producer_of(producer)->client->broker, topic, &count);
    return count;
}

/* An open transaction stays open: the broker is told nothing, as by rd_kafka_destroy. */
static void destroy(struct tally_producer *base)
{
    struct memory_producer *producer = producer_of(base);

    tally_free(producer->reports);
    tally_free(producer);
}

/* Records are in the log as soon as they are produced. */
static void flush(struct tally_producer *base, int timeout_ms)
{
    (void)base;
    (void)timeout_ms;
}

static const struct tally_producer_ops producer_ops = {
        .init_transactions = init_transactions,
        .begin = begin,
        .produce = produce,
        .poll = serve,
        .flush = flush,
        .send_offsets = send_offsets,
        .commit = commit,
        .abort = abort_txn,
        .tainted = tainted,
        .partitions = partitions,
        .destroy = destroy,
};

struct tally_producer *memory_producer_create(struct memory_client *client, const char *group,
        int thread)
{
    struct memory_producer *producer = tally_alloc_zero(1, sizeof *producer);
    char *app = memory_client_group(client, group);
    char *name = tally_copy_format("%s-%s-%d", app, client->instance_id, thread);

    producer->base.ops = &producer_ops;
    producer->client = client;
    producer->id = memory_broker_id(client->broker, name);
    tally_free(app);
    tally_free(name);
    return &producer->base;
}
