/* tests/integration/test_postgres_reader.c - searches over products on a real server
 * (connectors/postgres_reader.c). Numbers in brackets are invariants of that file. */
#include <stdio.h>
#include <stdlib.h>

#include "connectors/postgres_reader.h"
#include "connectors/postgres_sink.h"
#include "engine/base/thread.h"
#include "schemas/catalogue_records.h"
#include "tests/integration/postgres_fixture.h"
#include "tests/integration/sink_fixture.h"

static struct postgres_fixture db;
static struct sink_fixture events;
static struct tally_error err;
static struct tally_sink *sink;
static struct tally_read_search *search;

static void add_product(int number, const char *name, const char *description, const char *status,
        const char *category)
{
    char payload[1024], key[8];

    (void)snprintf(key, sizeof key, "P-%02d", number);
    (void)snprintf(payload, sizeof payload,
            "'product_id':'%s','version':1,'changed':[],'product':{'product_id':'%s',"
            "'slug':'slug-of-%d','name':'%s','description':'%s','status':'%s',"
            "'category_ids':['%s'],'attributes':{},'media':[],'variants':[],'version':1,"
            "'created_at':'2026-01-15T09:00:00.230Z','updated_at':'2026-01-15T09:00:01.500Z'}",
            key, key, number, name, description, status, category);
    sink_fixture_event(&events, "catalogue", 0, number, "ProductCreated", key, payload);
}

static void set_up(void)
{
    postgres_fixture_open(&db, true);
    sink_fixture_init(&events);
    postgres_ok(tally_postgres_sink_create(&db.config, &sink, &err));
    postgres_ok(sink->ops->start(sink, &err));
    postgres_ok(sink_fixture_open(sink, "catalogue", 0, NULL, &err));
    add_product(1, "Red shirt", "of cotton", "ACTIVE", "c-1");
    add_product(2, "Blue shirt", "of silk", "ACTIVE", "c-2");
    add_product(3, "Red trousers 100%", "of cotton", "DRAFT", "c-1");
    add_product(4, "Green_hat", "für den Kopf", "ARCHIVED", "c-2");
    sink_fixture_event(&events, "catalogue", 0, 5, "SlugClaimed", "slug:later",
            "'slug':'later','product_id':'P-05','op_id':'c-5'"); /* no product yet */
    postgres_ok(sink_fixture_flush(&events, sink, &err));
    postgres_ok(tally_postgres_reader_create(&db.config, &search, &err));
}

static void tear_down(void)
{
    search->ops->destroy(search);
    sink->ops->destroy(sink);
    sink_fixture_deinit(&events);
    postgres_fixture_close(&db);
}

static bool note(void *context, struct tally_slice name, struct tally_slice document)
{
    struct tally_buf *found = context;

    ck_assert_int_eq(document.data[0], '{');
    tally_buf_string(found, found->len ? " " : "");
    tally_buf_slice(found, name);
    return true;
}

static bool document_of(void *context, struct tally_slice name, struct tally_slice document)
{
    (void)name;
    tally_buf_slice(context, document);
    return false; /* enough */
}

static void expect(const char *text, const char *category, int status, const char *expected)
{
    struct tally_product_query query = {.text = tally_slice_string(text),
            .category = tally_slice_string(category),
            .status = status,
            .limit = 200};
    struct tally_read_model_info info;
    struct tally_buf found, next;

    tally_buf_init(&found, 4096);
    tally_buf_init(&next, TALLY_PLACE_BYTES_MAX);
    postgres_ok(search->ops->products(search, &query, note, &found, &next, &info, &err));
    tally_buf_byte(&found, 0);
    ck_assert_msg(strcmp((const char *)found.data, expected) == 0, "\"%s\" in %s: %s", text,
            category ? category : "any", found.data);
    ck_assert_uint_eq(next.len, 0);
    ck_assert_int_eq(info.position, -1);
    if (tally_utf8_valid(query.text)) {                          /* else nobody was asked */
        ck_assert_int_eq(info.as_of_ms, INT64_C(1768471205000)); /* 2026-01-15T10:00:05Z */
    }
    tally_buf_deinit(&found);
    tally_buf_deinit(&next);
}

START_TEST(what_is_found)
{
    expect(NULL, NULL, -1, "P-01 P-02 P-03 P-04");
    expect("shirt", NULL, -1, "P-01 P-02");
    expect("SHIRT red", NULL, -1, "P-01");
    expect("cotton", NULL, -1, "P-01 P-03");   /* of the description */
    expect("\"slug of 4\"", NULL, -1, "P-04"); /* of the slug */
    expect("rous", NULL, -1, "P-03");          /* a part of the name */
    expect("0%", NULL, -1, "");                /* too short for that */
    expect("00%", NULL, -1, "P-03");           /* and nothing but itself */
    expect("n_h", NULL, -1, "P-04");
    expect("n_s", NULL, -1, "");
    expect("für", NULL, -1, "P-04");
    expect("\\", NULL, -1, "");
    expect("", NULL, -1, "");
    expect("shirt -blue", NULL, -1, "P-01");
    expect("'; DROP TABLE product; --", NULL, -1, "");
    expect(NULL, "c-1", -1, "P-01 P-03");
    expect(NULL, NULL, CATALOGUE_ACTIVE, "P-01 P-02");
    expect("red", "c-1", CATALOGUE_DRAFT, "P-03");
    expect(NULL, "c-3", -1, "");
    expect("\xff\xfe", NULL, -1, "");
}
END_TEST

START_TEST(the_document_is_the_one_of_the_event)
{
    struct tally_product_query query = {.text = TALLY_SLICE("silk"), .status = -1, .limit = 1};
    struct tally_read_model_info info;
    struct tally_buf found, next, expected;

    /* as catalogue_product_json has it, member by member */
    tally_buf_init(&expected, 4096);
    add_product(2, "Blue shirt", "of silk", "ACTIVE", "c-2");
    catalogue_product_json(&((const struct catalogue_event *)events.records[0].event->body)
                                    ->product,
            &expected);
    tally_buf_init(&found, 4096);
    tally_buf_init(&next, TALLY_PLACE_BYTES_MAX);
    postgres_ok(search->ops->products(search, &query, document_of, &found, &next, &info, &err));
    ck_assert(tally_slice_equal(tally_buf_bytes(&found), tally_buf_bytes(&expected)));
    tally_buf_deinit(&found);
    tally_buf_deinit(&next);
    tally_buf_deinit(&expected);
}
END_TEST

START_TEST(pages)
{
    for (size_t limit = 1; limit <= 5; limit++) {
        struct tally_product_query query = {.status = -1, .limit = limit};
        struct tally_read_model_info info;
        struct tally_buf found, next, after;
        size_t calls = 0;

        tally_buf_init(&found, 4096);
        tally_buf_init(&after, TALLY_PLACE_BYTES_MAX);
        do {
            tally_buf_init(&next, TALLY_PLACE_BYTES_MAX);
            query.after = tally_buf_bytes(&after);
            postgres_ok(search->ops->products(search, &query, note, &found, &next, &info, &err));
            tally_buf_deinit(&after);
            after = next;
            calls++;
        } while (after.len);
        ck_assert_uint_eq(calls, (4 + limit - 1) / limit);
        tally_buf_byte(&found, 0);
        ck_assert_str_eq((const char *)found.data, "P-01 P-02 P-03 P-04");
        tally_buf_deinit(&found);
        tally_buf_deinit(&after);
    }
}
END_TEST

static void ask_often(void *context)
{
    (void)context;
    for (int i = 0; i < 50; i++) {
        struct tally_product_query query = {
                .text = TALLY_SLICE("shirt"), .status = -1, .limit = 200};
        struct tally_error mine = {.code = TALLY_OK};
        struct tally_read_model_info info;
        struct tally_buf found, next;

        tally_buf_init(&found, 4096);
        tally_buf_init(&next, TALLY_PLACE_BYTES_MAX);
        ck_assert_int_eq(search->ops->products(search, &query, note, &found, &next, &info, &mine),
                TALLY_OK);
        ck_assert(tally_slice_equal(tally_buf_bytes(&found), TALLY_SLICE("P-01 P-02")));
        tally_buf_deinit(&found);
        tally_buf_deinit(&next);
    }
}

START_TEST(many_threads_share_few_connections) /* (1) */
{
    struct tally_thread threads[12];

    for (int i = 0; i < 12; i++) {
        tally_thread_start(&threads[i], "reader", ask_often, NULL);
    }
    for (int i = 0; i < 12; i++) {
        tally_thread_join(&threads[i]);
    }
    postgres_fixture_expect(&db,
            "SELECT count(*) <= 4 FROM pg_stat_activity WHERE application_name = 'tally-reader'"
            " AND datname = current_database()",
            "t");
}
END_TEST

static enum tally_code ask_once(void)
{
    struct tally_product_query query = {.status = -1, .limit = 1};
    struct tally_read_model_info info;
    struct tally_buf found, next;
    enum tally_code code;

    tally_buf_init(&found, 4096);
    tally_buf_init(&next, TALLY_PLACE_BYTES_MAX);
    code = search->ops->products(search, &query, note, &found, &next, &info, &err);
    tally_buf_deinit(&found);
    tally_buf_deinit(&next);
    return code;
}

START_TEST(a_connection_that_went_away) /* (2) */
{
    postgres_ok(ask_once());
    postgres_fixture_run(&db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                              " WHERE application_name = 'tally-reader'"
                              " AND datname = current_database()");
    postgres_ok(ask_once());
}
END_TEST

START_TEST(a_server_that_is_not_there) /* (2) */
{
    struct tally_config config = {.postgres_url = tally_copy_string("host=127.0.0.1 port=1"),
            .postgres_statement_timeout = 1000};

    search->ops->destroy(search);
    postgres_ok(tally_postgres_reader_create(&config, &search, &err));
    postgres_fails(TALLY_UNAVAILABLE, "could not connect", ask_once());
    postgres_fails(TALLY_UNAVAILABLE, "just now", ask_once());
    tally_free(config.postgres_url);
}
END_TEST

START_TEST(tables_that_are_not_there)
{
    postgres_ok(ask_once());
    postgres_fixture_run(&db, "ALTER TABLE tally.product RENAME TO elsewhere");
    postgres_fails(TALLY_SINK_SCHEMA, "tally sink migrate", ask_once());
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, what_is_found);
    tcase_add_test(tcase, the_document_is_the_one_of_the_event);
    tcase_add_test(tcase, pages);
    tcase_add_test(tcase, many_threads_share_few_connections);
    tcase_add_test(tcase, a_connection_that_went_away);
    tcase_add_test(tcase, a_server_that_is_not_there);
    tcase_add_test(tcase, tables_that_are_not_there);
}

int main(void)
{
    return postgres_fixture_main("postgres_reader", add);
}
