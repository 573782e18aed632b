/* http/product_query.c - see product_query.h.
 *   slug --whose is it?--> product_id --document--> as it is, or each variant with its price
 * Both steps are asked of the cache where there is one, and of the owners when it does not know or
 * cannot be asked.
 * Invariants
 *  (1) An answer is one version of one product, whoever it comes from. Prices depend on the time of
 *      the question, so an answer with prices has no entity tag.
 *  (2) A slug that a product once had leads to the one that it has now. A slug that an operation
 *      has claimed and not yet got leads nowhere.
 *  (3) With Tally-Min-Position the owners answer: nobody else knows what they have applied. */
#include "http/product_query.h"

#include "engine/base/hash.h"
#include "http/elsewhere.h"
#include "http/problem.h"
#include "http/reading.h"
#include "http/search_page.h"
#include "schemas/catalogue_records.h"

enum { PRODUCT_BYTES_MAX = 512 * 1024, TEXT_BYTES_MAX = 256 };

/* What is asked of the prices; currency NULL: nothing. */
struct pricing {
    struct tally_slice currency, list;
    int64_t at_ms;
    bool has_at;
};

/* That the cache misses a product, and this request is the one that fills it in. */
struct claim {
    struct tally_read_claim claim;
    bool held;
};

/* A product as a reader gave it; in the arena. */
struct found {
    struct tally_slice document;    /* JSON or MessagePack; data NULL: there is none */
    const struct tally_token *root; /* NULL: not parsed, see parse */
    struct tally_slice slug;
    int64_t version;
};

static void unknown_product(struct exchange *exchange, const char *what, struct tally_slice name)
{
    problem_reject(exchange, TALLY_REJECT_UNKNOWN_PRODUCT, NULL, "no product has the %s \"%.*s\"",
            what, (int)name.len, (const char *)name.data);
}

static bool is_currency(struct tally_slice text)
{
    for (size_t i = 0; catalogue_currencies[i]; i++) {
        if (tally_slice_equal(text, tally_slice_string(catalogue_currencies[i]))) {
            return true;
        }
    }
    return false;
}

static bool read_pricing(struct exchange *exchange, struct pricing *pricing)
{
    struct tally_slice list = request_query(&exchange->request, "list");

    pricing->currency = request_query(&exchange->request, "currency");
    pricing->list = list.data ? list : TALLY_SLICE("default");
    pricing->at_ms = tally_wall_ms(tally_runtime_clock(exchange->runtime));
    if (!reading_time(exchange, "at", &pricing->has_at, &pricing->at_ms)) {
        return false;
    }
    if (pricing->currency.data && !is_currency(pricing->currency)) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
                "currency: expected a code of ISO 4217, like EUR");
    } else if (!tally_text_is(pricing->list, TALLY_TEXT_ID)) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
                "list: expected letters, digits, '.', '_', '-', at most 64");
    } else if (!pricing->currency.data && (list.data || pricing->has_at)) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER, "currency: required with list and at");
    } else {
        return true;
    }
    return false;
}

/* Fills root, which answers that are sent as they are need not have. false: damaged. */
static bool parse(struct exchange *exchange, struct found *found)
{
    enum tally_refusal refusal;

    return found->root || tally_document_parse(found->document, &exchange->arena, &found->root,
                                  &refusal, NULL) == TALLY_OK;
}

/* Slug and version, for which a document has to be parsed only if its form is of another release.
 * false: damaged. */
static bool take(struct exchange *exchange, struct tally_slice document, struct found *found)
{
    const struct tally_token *slug, *version;

    *found = (struct found){.document = document};
    if (catalogue_product_glance(document, &found->slug, &found->version)) {
        return true;
    }
    if (!parse(exchange, found)) {
        return false;
    }
    slug = tally_token_member(found->root, "slug");
    version = tally_token_member(found->root, "version");
    if (!slug || slug->type != TALLY_STRING || !version || version->type != TALLY_INT) {
        return false;
    }
    found->slug = slug->string;
    found->version = version->integer;
    return true;
}

static void damaged(struct exchange *exchange)
{
    struct tally_error err = {0};

    problem_error(exchange, tally_error_set(&err, TALLY_STORE_CORRUPT, "a product is damaged"),
            &err);
}

/* --- the answer ------------------------------------------------------------------------------- */

static void write_price(struct tally_writer *writer, const struct catalogue_price *price)
{
    uint64_t there = price ? price->presence.present & ~price->presence.nulls : 0;

    tally_write_name(writer, "price");
    if (!price) {
        tally_write_null(writer);
        return;
    }
    tally_write_map(writer, 4);
    tally_write_name(writer, "amount_minor");
    tally_write_int(writer, price->amount_minor);
    tally_write_name(writer, "currency");
    tally_write_string(writer, price->currency);
    tally_write_name(writer, "compare_at_minor");
    if (there & TALLY_BIT(CATALOGUE_PRICE_COMPARE_AT_MINOR)) {
        tally_write_int(writer, price->compare_at_minor);
    } else {
        tally_write_null(writer);
    }
    tally_write_name(writer, "valid_until");
    if (there & TALLY_BIT(CATALOGUE_PRICE_VALID_UNTIL)) {
        tally_write_time(writer, price->valid_until);
    } else {
        tally_write_null(writer);
    }
}

/* A string of a document without its end; names hold no NUL, or it would not have been parsed. */
static const char *name_of(struct exchange *exchange, const struct tally_token *name)
{
    char *text = tally_arena_alloc(&exchange->arena, name->string.len + 1);

    memcpy(text, name->string.data, name->string.len);
    text[name->string.len] = '\0';
    return text;
}

static void write_variants(struct exchange *exchange, struct tally_writer *writer,
        const struct tally_token *tokens, const struct catalogue_product *product,
        const struct pricing *pricing)
{
    const struct catalogue_variant *variants = product->variants.items;
    const struct tally_token *variant = tokens + 1;

    tally_write_array(writer, tokens->count);
    for (uint32_t i = 0; i < tokens->count; i++, variant = tally_token_next(variant)) {
        const struct tally_token *name = variant + 1;

        tally_write_map(writer, variant->count + 1);
        for (uint32_t j = 0; j < variant->count; j++) {
            tally_write_name(writer, name_of(exchange, name));
            tally_write_token(writer, tally_token_next(name));
            name = tally_token_next(tally_token_next(name));
        }
        write_price(writer,
                catalogue_price_at(&variants[i], pricing->list, pricing->currency, pricing->at_ms));
    }
}

/* The document with a price in each variant. */
static void answer_priced(struct exchange *exchange, struct found *found,
        const struct pricing *pricing)
{
    const struct tally_token *name;
    struct catalogue_product product;
    struct tally_writer writer;

    if (!parse(exchange, found) ||
            !catalogue_product_unpack(found->document, &exchange->arena, &product)) {
        damaged(exchange);
        return;
    }
    name = found->root + 1;
    response_json(&exchange->response, 200, &writer);
    tally_write_map(&writer, found->root->count);
    for (uint32_t i = 0; i < found->root->count; i++) {
        const struct tally_token *value = tally_token_next(name);

        tally_write_name(&writer, name_of(exchange, name));
        if (tally_slice_equal(name->string, TALLY_SLICE("variants"))) {
            write_variants(exchange, &writer, value, &product, pricing);
        } else {
            tally_write_token(&writer, value);
        }
        name = tally_token_next(value);
    }
}

static void answer(struct exchange *exchange, struct tally_slice product_id, struct found *found,
        const struct pricing *pricing)
{
    int32_t partition = tally_partition_of(product_id, tally_runtime_partitions(exchange->runtime));
    struct tally_writer writer;

    if (pricing->currency.data) {
        answer_priced(exchange, found, pricing);
    } else if (reading_not_modified(exchange, partition, found->version)) {
        return;
    } else if (found->document.data[0] == '{') {
        response_begin(&exchange->response, 200, RESPONSE_JSON);
        tally_buf_slice(&exchange->response.body, found->document);
    } else if (!parse(exchange, found)) {
        damaged(exchange);
    } else {
        response_json(&exchange->response, 200, &writer);
        tally_write_token(&writer, found->root);
    }
}

/* 301 to the slug that the product has now, with the same question. What comes from the client is
 * of a known alphabet. */
static void redirect(struct exchange *exchange, struct tally_slice slug,
        const struct pricing *pricing)
{
    struct tally_buf query;
    char at[TALLY_TIME_LEN + 1];

    tally_buf_init(&query, TEXT_BYTES_MAX);
    if (pricing->currency.data) {
        tally_buf_string(&query, "?currency=");
        tally_buf_slice(&query, pricing->currency);
        tally_buf_string(&query, "&list=");
        tally_buf_slice(&query, pricing->list);
    }
    if (pricing->has_at) {
        tally_format_time(pricing->at_ms, at);
        tally_buf_format(&query, "&at=%s", at);
    }
    response_header(&exchange->response, "Location", "/v1/products/%.*s%.*s", (int)slug.len,
            (const char *)slug.data, (int)query.len, query.len > 0 ? (const char *)query.data : "");
    tally_buf_deinit(&query);
    response_empty(&exchange->response, 301);
}

/* --- from the cache --------------------------------------------------------------------------- */

static void cache_headers(struct exchange *exchange, struct tally_slice product_id,
        const struct tally_read_model_info *info)
{
    struct tally_topology *catalogue = reading_topology(exchange, TALLY_SLICE("catalogue"));

    if (catalogue) {
        reading_position_header(exchange, tally_topology_commands(catalogue),
                tally_partition_of(product_id, tally_runtime_partitions(exchange->runtime)),
                info->position);
    }
    reading_source_headers(exchange, info->as_of_ms, "redis");
}

/* false: ask the owner. The claim is made before that. */
static bool cached_product(struct exchange *exchange, struct tally_slice product_id,
        struct found *found, struct tally_read_model_info *info, struct claim *claim)
{
    struct tally_read_cache *cache = exchange->cache;
    struct tally_buf document;
    struct tally_error err = {0};
    enum tally_code code;
    bool good;

    tally_buf_init(&document, PRODUCT_BYTES_MAX);
    code = cache->ops->product(cache, product_id, &document, info, &err);
    good = !code &&
           take(exchange, tally_arena_copy(&exchange->arena, tally_buf_bytes(&document)), found);
    claim->held = code == TALLY_NOT_FOUND && cache->ops->claim(cache, product_id, &claim->claim);
    tally_buf_deinit(&document);
    return good;
}

/* slug: data NULL where the product is asked for by its id, which is then known. */
static bool answer_cached(struct exchange *exchange, struct tally_slice slug,
        struct tally_slice product_id, const struct pricing *pricing, struct claim *claim)
{
    struct tally_read_model_info info = {.position = -1};
    struct tally_error err = {0};
    struct found found;
    struct tally_buf id;
    bool known = true;

    if (!exchange->cache || request_header(&exchange->request, "Tally-Min-Position").data) {
        return false;
    }
    if (slug.data) {
        tally_buf_init(&id, TEXT_BYTES_MAX);
        known = exchange->cache->ops->slug(exchange->cache, slug, &id, &info, &err) == TALLY_OK;
        product_id = tally_arena_copy(&exchange->arena, tally_buf_bytes(&id));
        tally_buf_deinit(&id);
    }
    /* Of a slug that is not the product's only the owners know whether it was. */
    if (!known || !cached_product(exchange, product_id, &found, &info, claim) ||
            (slug.data && !tally_slice_equal(slug, found.slug))) {
        return false;
    }
    cache_headers(exchange, product_id, &info);
    answer(exchange, product_id, &found, pricing);
    return true;
}

/* --- from the owners -------------------------------------------------------------------------- */

static void product_key(struct tally_key *key, enum tally_store_id store, struct tally_slice name)
{
    tally_key_begin(key, store);
    tally_key_tail(key, name);
}

/* Whether an operation of the product (its row; data NULL: none) has claimed the slug and has not
 * ended. */
static bool is_claimed(struct exchange *exchange, struct tally_slice row, struct tally_slice op_id)
{
    struct catalogue_operation operation;
    int64_t due_ms;

    return row.data && catalogue_operation_unpack(row, &exchange->arena, &operation, &due_ms) &&
           tally_slice_equal(operation.base.op_id, op_id);
}

/* Puts what the owner has, or that it has nothing, where the cache missed it. */
static void fill_cache(struct exchange *exchange, struct tally_slice product_id,
        struct found *found, const struct claim *claim)
{
    struct tally_read_cache *cache = exchange->cache;
    struct tally_writer writer;
    struct tally_buf document;

    if (!claim->held) {
        return;
    }
    tally_buf_init(&document, PRODUCT_BYTES_MAX);
    if (found->document.data && parse(exchange, found)) {
        tally_write_begin(&writer, &document, TALLY_FORMAT_JSON);
        tally_write_token(&writer, found->root);
    }
    cache->ops->fill(cache, product_id, &claim->claim, tally_buf_bytes(&document));
    tally_buf_deinit(&document);
}

/* Rows by rising keys of the task that owns `key`. false: answered. */
static bool read_rows(struct exchange *exchange, struct tally_slice key,
        const struct tally_key *keys, size_t count, struct tally_slice *rows,
        struct tally_read_info *info)
{
    struct tally_error err = {0};
    enum tally_code code;

    code = elsewhere_rows(exchange, "catalogue", key, keys, count, rows, info, &err);
    if (code && exchange->response.status == 0) {
        problem_error(exchange, code, &err);
    }
    return code == TALLY_OK;
}

/* Tally-Min-Position was waited for, and what is told is of this task. */
static void owner_headers(struct exchange *exchange, const struct tally_read_info *info)
{
    struct reading_positions positions;

    (void)reading_positions_read(exchange, &positions); /* Preference-Applied */
    reading_headers(exchange, info);
}

enum { OPERATION, PRODUCT, ROWS };

/* slug: of the row that led here; NULL: the product was asked for by its id. */
static void answer_owned(struct exchange *exchange, struct tally_slice product_id,
        const struct catalogue_slug_row *slug, const struct claim *claim,
        const struct pricing *pricing)
{
    struct tally_slice name = slug ? exchange->request.params[0] : product_id, rows[ROWS];
    struct found found = {.version = 0};
    struct tally_read_info info;
    struct tally_key keys[ROWS];
    bool is_other;

    product_key(&keys[PRODUCT], TALLY_STORE_PRODUCT, product_id);
    product_key(&keys[OPERATION], TALLY_STORE_CATALOGUE_OPERATION, product_id);
    if (!read_rows(exchange, product_id, keys, ROWS, rows, &info)) {
        return;
    }
    owner_headers(exchange, &info);
    if (rows[PRODUCT].data && !take(exchange, rows[PRODUCT], &found)) {
        damaged(exchange);
        return;
    }
    fill_cache(exchange, product_id, &found, claim);
    is_other = slug && found.document.data && !tally_slice_equal(name, found.slug);
    if (!found.document.data || (is_other && is_claimed(exchange, rows[OPERATION], slug->op_id))) {
        unknown_product(exchange, slug ? "slug" : "id", name);
    } else if (is_other) {
        redirect(exchange, found.slug, pricing);
    } else {
        answer(exchange, product_id, &found, pricing);
    }
}

/* The product that a slug was claimed for. The headers of a found one are those of its product's
 * owner, so they are added here only where the answer ends here. false: answered. */
static bool find_owner(struct exchange *exchange, struct tally_slice slug,
        struct catalogue_slug_row *found)
{
    struct tally_slice row = TALLY_NONE;
    struct tally_read_info info;
    struct tally_buf name;
    struct tally_key key;
    bool read;

    tally_buf_init(&name, TEXT_BYTES_MAX);
    tally_buf_string(&name, "slug:");
    tally_buf_slice(&name, slug);
    product_key(&key, TALLY_STORE_SLUG, slug);
    read = read_rows(exchange, tally_buf_bytes(&name), &key, 1, &row, &info);
    tally_buf_deinit(&name);
    if (!read) {
        return false;
    }
    if (!row.data) {
        reading_headers(exchange, &info);
        unknown_product(exchange, "slug", slug);
        return false;
    }
    if (!catalogue_slug_unpack(row, found)) {
        struct tally_error err = {0};

        problem_error(exchange, tally_error_set(&err, TALLY_STORE_CORRUPT, "a slug is damaged"),
                &err);
        return false;
    }
    return true;
}

void product_query_slug(struct exchange *exchange)
{
    struct tally_slice slug = exchange->request.params[0];
    struct catalogue_slug_row found;
    struct claim claim = {.held = false};
    struct pricing pricing;

    if (!read_pricing(exchange, &pricing)) {
        return;
    }
    if (!tally_text_is(slug, TALLY_TEXT_SLUG)) {
        unknown_product(exchange, "slug", slug); /* none can have it */
    } else if (!answer_cached(exchange, slug, TALLY_NONE, &pricing, &claim) &&
               find_owner(exchange, slug, &found)) {
        answer_owned(exchange, found.product_id, &found, &claim, &pricing);
    }
}

void product_query_id(struct exchange *exchange)
{
    struct tally_slice id = exchange->request.params[0];
    struct claim claim = {.held = false};
    struct pricing pricing;

    if (!read_pricing(exchange, &pricing)) {
        return;
    }
    if (!tally_text_is(id, TALLY_TEXT_ID)) {
        unknown_product(exchange, "id", id);
    } else if (!answer_cached(exchange, TALLY_NONE, id, &pricing, &claim)) {
        answer_owned(exchange, id, NULL, &claim, &pricing);
    }
}

/* --- search ----------------------------------------------------------------------------------- */

static bool read_status(struct exchange *exchange, int *status)
{
    struct tally_slice text = request_query(&exchange->request, "status");

    *status = -1;
    for (int i = 0; text.data && catalogue_status_names[i]; i++) {
        if (tally_slice_equal(text, tally_slice_string(catalogue_status_names[i]))) {
            *status = i;
        }
    }
    if (text.data && *status < 0) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
                "status: expected DRAFT, ACTIVE or ARCHIVED");
        return false;
    }
    return true;
}

/* category: data NULL: that of the query. */
static bool read_search(struct exchange *exchange, struct tally_slice category,
        struct tally_product_query *query)
{
    query->text = request_query(&exchange->request, "q");
    query->category = category.data ? category : request_query(&exchange->request, "category");
    if (query->text.data && (query->text.len == 0 || query->text.len > TEXT_BYTES_MAX ||
                                    !tally_utf8_valid(query->text))) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER, "q: expected 1 to %d bytes of UTF-8",
                TEXT_BYTES_MAX);
        return false;
    }
    if (!category.data && query->category.data && !tally_text_is(query->category, TALLY_TEXT_ID)) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER, "category: expected the id of one");
        return false;
    }
    return read_status(exchange, &query->status);
}

static void search(struct exchange *exchange, struct tally_slice category)
{
    struct tally_product_query query = {.limit = 0};
    struct tally_read_model_info info = {.position = -1};
    struct tally_error err = {0};
    struct search_page page;
    enum tally_code code;

    search_page_init(&page, exchange);
    if (read_search(exchange, category, &query) && search_page_read(&page)) {
        query.limit = page.limit;
        query.after = tally_buf_bytes(&page.after);
        code = exchange->search->ops->products(exchange->search, &query, search_page_add, &page,
                &page.next, &info, &err);
        search_page_answer(&page, code, &info, &err);
    }
    search_page_deinit(&page);
}

void product_query_search(struct exchange *exchange)
{
    search(exchange, TALLY_NONE);
}

void product_query_category(struct exchange *exchange)
{
    search(exchange, exchange->request.params[0]);
}
