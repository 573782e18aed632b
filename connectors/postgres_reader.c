/* connectors/postgres_reader.c - searches over products, and lists: a few connections that threads
 * share.
 * Invariants
 *  (1) A connection is one thread's until its answer is complete; nobody waits for one for longer
 *      than for an answer.
 *  (2) A server that went away is asked once more on a new connection, then not for a while: a
 *      search that cannot be answered fails at once.
 *  (3) How complete an answer is, is read before it.
 * Statements are planned for their values each time (no name), since what is common decides whether
 * an index by word or the order of ids is the way. */
#include "connectors/postgres_reader.h"

#include <inttypes.h>
#include <stdio.h>

#include "connectors/postgres_internal.h"
#include "engine/base/clock.h"
#include "engine/base/thread.h"
#include "schemas/catalogue_records.h"

enum {
    CONNECTIONS = 4,
    ANSWER_MS = 5000,    /* a search is a question of somebody who waits */
    REST_MS = 1000,      /* after a failure to connect */
    SUBSTRING_MIN = 3,   /* bytes; a trigram needs as many */
    TEXT_BYTES_MAX = 512 /* of a pattern; longer ones are searched by words alone */
};

struct reader_slot {
    struct postgres_connection connection;
    bool taken;
};
struct postgres_reader {
    struct tally_read_search search;
    struct postgres_options options;
    const char *prefix; /* of topics */
    struct tally_mutex mutex;
    struct tally_cond freed;
    struct reader_slot slots[CONNECTIONS];
    int64_t rest_until_ms; /* no new connection before */
};

#define CHOSEN                                                                               \
    " p.version > 0 AND ($1::text IS NULL OR p.search @@ websearch_to_tsquery('simple', $1)" \
    " OR p.name ILIKE $2) AND ($3::text IS NULL OR p.status = $3)"
static const char SEARCH[] = "SELECT p.product_id, p.document::text FROM product AS p WHERE" CHOSEN
                             " AND p.product_id > $4 ORDER BY p.product_id LIMIT $5::bigint";
static const char SEARCH_CATEGORY[] =
        "SELECT p.product_id, p.document::text FROM product_category AS c"
        " JOIN product AS p ON p.product_id = c.product_id WHERE" CHOSEN
        " AND c.category_id = $6 AND c.product_id > $4 ORDER BY c.product_id LIMIT $5::bigint";
static const char AS_OF[] = "SELECT CASE WHEN bool_and(as_of IS NOT NULL)"
                            " THEN floor(extract(epoch FROM min(as_of)) * 1000)::bigint END"
                            " FROM sink_position WHERE topic = ANY($1::text[])";

static struct postgres_reader *self(struct tally_read_search *search)
{
    return (struct postgres_reader *)(void *)search;
}

/* --- connections ------------------------------------------------------------------------------ */

/* One that is connected, else any; NULL: all are taken. */
static struct reader_slot *pick(struct postgres_reader *reader)
{
    struct reader_slot *found = NULL;

    for (int i = 0; i < CONNECTIONS; i++) {
        struct reader_slot *slot = &reader->slots[i];

        if (!slot->taken && (!found || postgres_connection_is_open(&slot->connection))) {
            found = slot;
        }
    }
    return found;
}

static enum tally_code take_slot(struct postgres_reader *reader, struct reader_slot **slot,
        struct tally_error *err)
{
    int64_t until_ms = tally_mono_ms(tally_clock_real()) + ANSWER_MS;

    tally_mutex_lock(&reader->mutex);
    while (!(*slot = pick(reader))) {
        int64_t left = until_ms - tally_mono_ms(tally_clock_real());

        if (left <= 0) {
            break;
        }
        (void)tally_cond_wait(&reader->freed, &reader->mutex, left);
    }
    if (*slot) {
        (*slot)->taken = true;
    }
    tally_mutex_unlock(&reader->mutex);
    return *slot ? TALLY_OK
                 : tally_error_set(err, TALLY_TIMEOUT, "all connections for searches are busy");
}

static void give_slot(struct postgres_reader *reader, struct reader_slot *slot)
{
    tally_mutex_lock(&reader->mutex);
    slot->taken = false;
    tally_cond_signal(&reader->freed);
    tally_mutex_unlock(&reader->mutex);
}

static bool rests(struct postgres_reader *reader, int64_t now_ms)
{
    bool resting;

    tally_mutex_lock(&reader->mutex);
    resting = now_ms < reader->rest_until_ms;
    tally_mutex_unlock(&reader->mutex);
    return resting;
}

static enum tally_code connect_slot(struct postgres_reader *reader, struct reader_slot *slot,
        struct tally_error *err)
{
    enum tally_code code;

    if (rests(reader, tally_mono_ms(tally_clock_real()))) {
        return tally_error_set(err, TALLY_UNAVAILABLE, "PostgreSQL could not be reached just now");
    }
    code = postgres_connection_open(&slot->connection, &reader->options, err);
    if (code) {
        tally_mutex_lock(&reader->mutex);
        reader->rest_until_ms = tally_mono_ms(tally_clock_real()) + REST_MS;
        tally_mutex_unlock(&reader->mutex);
    }
    return code;
}

/* --- a search --------------------------------------------------------------------------------- */

struct asked {
    char limit[24];
    char pattern[2 * TEXT_BYTES_MAX + 3];
    const char *values[2 + POSTGRES_FILTERS_MAX + 1];
    const char *what; /* could not be done */
    const char *statement;
    const char *topics; /* whose positions say how complete the content is, as an array */
    int count;
};

/* {a.events,b.events} of the topologies "a b". */
static const char *topics_of(const struct postgres_reader *reader, struct tally_arena *arena,
        const char *topologies)
{
    struct tally_buf text;
    char *copy;

    tally_buf_init(&text, TEXT_BYTES_MAX);
    while (*topologies) {
        int len = (int)strcspn(topologies, " ");

        tally_buf_format(&text, "%c%s%.*s.events", text.len > 0 ? ',' : '{', reader->prefix, len,
                topologies);
        topologies += len;
        topologies += strspn(topologies, " ");
    }
    tally_buf_format(&text, "}");
    copy = tally_arena_alloc(arena, text.len + 1);
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    tally_buf_deinit(&text);
    return copy;
}

/* What stands for itself in a pattern has a backslash in front. */
static const char *pattern_of(struct tally_slice text, char pattern[static 2 * TEXT_BYTES_MAX + 3])
{
    size_t len = 0;

    if (text.len < SUBSTRING_MIN || text.len > TEXT_BYTES_MAX) {
        return NULL;
    }
    pattern[len++] = '%';
    for (size_t i = 0; i < text.len; i++) {
        if (strchr("%_\\", text.data[i])) {
            pattern[len++] = '\\';
        }
        pattern[len++] = (char)text.data[i];
    }
    pattern[len++] = '%';
    pattern[len] = '\0';
    return pattern;
}

static const char *string_of(struct tally_arena *arena, struct tally_slice text)
{
    char *copy;

    if (!text.data) {
        return NULL;
    }
    copy = tally_arena_alloc(arena, text.len + 1);
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return copy;
}

/* false: no row can have that. */
static bool ask(const struct postgres_reader *reader, const struct tally_product_query *query,
        struct tally_arena *arena, struct asked *asked)
{
    const struct tally_slice texts[] = {query->text, query->category, query->after};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i].len && !tally_utf8_valid(texts[i])) {
            return false;
        }
    }
    (void)snprintf(asked->limit, sizeof asked->limit, "%zu", query->limit + 1);
    asked->values[0] = string_of(arena, query->text);
    asked->values[1] = query->text.data ? pattern_of(query->text, asked->pattern) : NULL;
    asked->values[2] = query->status < 0 ? NULL : catalogue_status_names[query->status];
    asked->values[3] = query->after.len ? string_of(arena, query->after) : "";
    asked->values[4] = asked->limit;
    asked->values[5] = string_of(arena, query->category);
    asked->statement = query->category.data ? SEARCH_CATEGORY : SEARCH;
    asked->count = query->category.data ? 6 : 5;
    asked->what = "could not search products";
    asked->topics = topics_of(reader, arena, "catalogue");
    return true;
}

/* false: no row can have that. */
static bool ask_list(const struct postgres_reader *reader, const struct tally_list_query *query,
        struct tally_arena *arena, struct asked *asked)
{
    const struct postgres_list *list = postgres_lists_get(query->list);
    bool of_sku = list->of_sku && query->filters[TALLY_FILTER_SKU].data;

    for (size_t i = 0; i < TALLY_FILTERS; i++) {
        if (query->filters[i].len && !tally_utf8_valid(query->filters[i])) {
            return false;
        }
    }
    (void)snprintf(asked->limit, sizeof asked->limit, "%zu", query->limit + 1);
    asked->values[0] = query->after.len ? string_of(arena, query->after) : "";
    asked->values[1] = asked->limit;
    asked->count = 2;
    for (int i = 0; i < list->filter_count; i++) {
        asked->values[asked->count++] = string_of(arena, query->filters[list->filters[i]]);
    }
    if (of_sku) {
        asked->values[asked->count++] = string_of(arena, query->filters[TALLY_FILTER_SKU]);
    }
    asked->statement = of_sku ? list->of_sku : list->statement;
    asked->what = list->what;
    asked->topics = topics_of(reader, arena, list->topologies);
    return true;
}

static enum tally_code read_info(struct postgres_connection *connection, const char *topics,
        struct tally_read_model_info *info, struct tally_error *err)
{
    PGresult *result;
    enum tally_code code = postgres_connection_query(connection, "could not read positions", AS_OF,
            1, &topics, &result, err);

    *info = (struct tally_read_model_info){.position = -1};
    if (!code && !PQgetisnull(result, 0, 0)) {
        tally_assert(tally_parse_int(tally_slice_string(PQgetvalue(result, 0, 0)),
                &info->as_of_ms));
    }
    PQclear(result);
    return code;
}

static struct tally_slice value_at(const PGresult *result, int row, int column)
{
    return tally_slice_of(PQgetvalue(result, row, column),
            (size_t)PQgetlength(result, row, column));
}

static void give_rows(const PGresult *result, size_t limit, tally_document_fn row, void *context,
        struct tally_buf *next)
{
    size_t rows = (size_t)PQntuples(result), last = rows < limit ? rows : limit;

    for (size_t i = 0; i < last; i++) {
        if (!row(context, value_at(result, (int)i, 0), value_at(result, (int)i, 1))) {
            last = i + 1;
        }
    }
    if (last < rows) {
        tally_buf_slice(next, value_at(result, (int)last - 1, 0));
    }
}

/* The rows of one answer; *result is to be cleared. */
static enum tally_code answer(struct postgres_reader *reader, struct reader_slot *slot,
        const struct asked *asked, PGresult **result, struct tally_read_model_info *info,
        struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    *result = NULL;
    if (!postgres_connection_is_open(&slot->connection)) {
        code = connect_slot(reader, slot, err);
    }
    if (!code) {
        code = read_info(&slot->connection, asked->topics, info, err);
    }
    if (!code) {
        code = postgres_connection_query(&slot->connection, asked->what, asked->statement,
                asked->count, asked->values, result, err);
    }
    if (code && postgres_connection_is_open(&slot->connection) &&
            (slot->connection.broken || PQstatus(slot->connection.handle) == CONNECTION_BAD)) {
        postgres_connection_close(&slot->connection);
    }
    return code;
}

/* The same, on a connection that is then given back. */
static enum tally_code run(struct postgres_reader *reader, const struct asked *asked,
        PGresult **result, struct tally_read_model_info *info, struct tally_error *err)
{
    struct reader_slot *slot = NULL;
    enum tally_code code = take_slot(reader, &slot, err);
    bool reused;

    if (code) {
        return code;
    }
    reused = postgres_connection_is_open(&slot->connection);
    code = answer(reader, slot, asked, result, info, err);
    if (code == TALLY_UNAVAILABLE && reused && !postgres_connection_is_open(&slot->connection)) {
        code = answer(reader, slot, asked, result, info, err);
    }
    give_slot(reader, slot);
    return code;
}

static enum tally_code rows_of(struct postgres_reader *reader, const struct asked *asked,
        size_t limit, tally_document_fn row, void *context, struct tally_buf *next,
        struct tally_read_model_info *info, struct tally_error *err)
{
    PGresult *result = NULL;
    enum tally_code code = run(reader, asked, &result, info, err);

    if (!code) {
        give_rows(result, limit, row, context, next);
    }
    PQclear(result);
    return code;
}

static enum tally_code products(struct tally_read_search *search,
        const struct tally_product_query *query, tally_document_fn row, void *context,
        struct tally_buf *next, struct tally_read_model_info *info, struct tally_error *err)
{
    struct tally_arena arena;
    struct asked asked;
    enum tally_code code = TALLY_OK;

    *info = (struct tally_read_model_info){.position = -1};
    tally_arena_init(&arena, 4096);
    if (ask(self(search), query, &arena, &asked)) {
        code = rows_of(self(search), &asked, query->limit, row, context, next, info, err);
    }
    tally_arena_deinit(&arena);
    return code;
}

static enum tally_code list(struct tally_read_search *search, const struct tally_list_query *query,
        tally_document_fn row, void *context, struct tally_buf *next,
        struct tally_read_model_info *info, struct tally_error *err)
{
    struct tally_arena arena;
    struct asked asked;
    enum tally_code code = TALLY_OK;

    *info = (struct tally_read_model_info){.position = -1};
    tally_arena_init(&arena, 4096);
    if (ask_list(self(search), query, &arena, &asked)) {
        code = rows_of(self(search), &asked, query->limit, row, context, next, info, err);
    }
    tally_arena_deinit(&arena);
    return code;
}

static void destroy(struct tally_read_search *search)
{
    struct postgres_reader *reader = self(search);

    for (int i = 0; i < CONNECTIONS; i++) {
        postgres_connection_close(&reader->slots[i].connection);
    }
    tally_cond_deinit(&reader->freed);
    tally_mutex_deinit(&reader->mutex);
    tally_free(reader);
}

static const struct tally_read_search_ops ops = {
        .products = products, .list = list, .destroy = destroy};

enum tally_code tally_postgres_reader_create(const struct tally_config *config,
        struct tally_read_search **search, struct tally_error *err)
{
    struct postgres_reader *reader;

    *search = NULL;
    if (!config->postgres_url || !*config->postgres_url) {
        return tally_error_set(err, TALLY_CONFIG, "postgres.url is empty: nothing can be searched");
    }
    reader = tally_alloc_zero(1, sizeof *reader);
    reader->search.ops = &ops;
    reader->options = (struct postgres_options){.name = "tally-reader",
            .url = config->postgres_url,
            .password = config->postgres_password,
            .statement_ms = config->postgres_statement_timeout < ANSWER_MS
                                    ? config->postgres_statement_timeout
                                    : ANSWER_MS,
            .read_only = true,
            .search_path = "tally"};
    reader->prefix = config->topics_prefix ? config->topics_prefix : "";
    tally_mutex_init(&reader->mutex, TALLY_LOCK_CONNECTOR);
    tally_cond_init(&reader->freed);
    *search = &reader->search;
    return TALLY_OK;
}
