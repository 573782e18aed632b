/* tests/integration/redis_fixture.c - see redis_fixture.h. */
#include "tests/integration/redis_fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/clock.h"

enum { FIRST_PORT = 21200, PORTS = 100, STARTED_WITHIN_MS = 30000 };

const char *const redis_fixture_acl =
        "resetchannels ~tally:* &tally:* -@all +auth +select +info|server +info|memory "
        "+eval +evalsha +scan +time +get +set +del +unlink +exists +rename +hget +hset +hmget "
        "+hdel +hexists +hgetall +sadd +smembers +publish +zadd +zcard +zrange "
        "+zremrangebyscore +pexpire";

/* --- the server ------------------------------------------------------------------------------- */

static int free_port(void)
{
    for (int i = 0; i < PORTS; i++) {
        int port = FIRST_PORT + (getpid() + i) % PORTS;
        struct sockaddr_in address = {.sin_family = AF_INET,
                .sin_port = htons((uint16_t)port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        int failed = bind(fd, (struct sockaddr *)&address, sizeof address);

        close(fd);
        if (!failed) {
            return port;
        }
    }
    ck_abort_msg("no free port");
    return 0;
}

static void spawn(struct redis_fixture *fixture)
{
    char port[16];

    (void)snprintf(port, sizeof port, "%d", fixture->port);
    fixture->pid = fork();
    ck_assert_int_ge(fixture->pid, 0);
    if (fixture->pid == 0) {
        int null = open("/dev/null", O_RDWR);

        dup2(null, 0);
        dup2(null, 1);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nothing behind */
        execlp("redis-server", "redis-server", "--bind", "127.0.0.1", "--port", port, "--dir",
                fixture->directory, "--save", "", "--appendonly", "no", "--logfile", "redis.log",
                (char *)NULL);
        _exit(127);
    }
}

static void connect_client(struct redis_fixture *fixture)
{
    int64_t end_ms = tally_mono_ms(tally_clock_real()) + STARTED_WITHIN_MS;

    for (;;) {
        redisReply *reply;

        fixture->client = redisConnect("127.0.0.1", fixture->port);
        reply = fixture->client->err ? NULL : redisCommand(fixture->client, "PING");
        if (reply && reply->type == REDIS_REPLY_STATUS) {
            freeReplyObject(reply);
            break;
        }
        freeReplyObject(reply);
        redisFree(fixture->client);
        ck_assert_int_eq(waitpid(fixture->pid, NULL, WNOHANG), 0);
        ck_assert_int_lt(tally_mono_ms(tally_clock_real()), end_ms);
        (void)poll(NULL, 0, 20);
    }
}

static void set_user(struct redis_fixture *fixture)
{
    const char *words[64] = {
            "ACL", "SETUSER", "tally", "reset", "on", (">" REDIS_FIXTURE_PASSWORD)};
    char rules[1024];
    int count = 6;
    redisReply *reply;

    (void)snprintf(rules, sizeof rules, "%s", redis_fixture_acl);
    for (char *at = rules; *at;) {
        size_t len = strcspn(at, " ");

        words[count++] = at;
        at += len + (at[len] == ' ');
        at[-1] = at[-1] == ' ' ? '\0' : at[-1];
    }
    reply = redisCommandArgv(fixture->client, count, words, NULL);
    ck_assert_msg(reply->type == REDIS_REPLY_STATUS, "%s", reply->str);
    freeReplyObject(reply);
}

void redis_fixture_restart(struct redis_fixture *fixture)
{
    spawn(fixture);
    connect_client(fixture);
    set_user(fixture);
}

void redis_fixture_start(struct redis_fixture *fixture)
{
    memset(fixture, 0, sizeof *fixture);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)snprintf(fixture->directory, sizeof fixture->directory, "/tmp/redis_fixture.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(fixture->directory));
    fixture->port = free_port();
    (void)snprintf(fixture->url, sizeof fixture->url, "redis://tally@127.0.0.1:%d", fixture->port);
    fixture->config = (struct tally_config){.redis_url = fixture->url, .redis_timeout = 5000};
    fixture->config.app_id = tally_copy_string("tally");
    fixture->config.topics_prefix = tally_copy_string("");
    fixture->config.redis_password = tally_copy_string(REDIS_FIXTURE_PASSWORD);
    redis_fixture_restart(fixture);
}

void redis_fixture_kill(struct redis_fixture *fixture)
{
    redisFree(fixture->client);
    kill(fixture->pid, SIGKILL);
    waitpid(fixture->pid, NULL, 0);
}

void redis_fixture_stop(struct redis_fixture *fixture)
{
    char command[160];

    redis_fixture_kill(fixture);
    tally_free(fixture->config.app_id);
    tally_free(fixture->config.topics_prefix);
    tally_free(fixture->config.redis_password);
    (void)snprintf(command, sizeof command, "rm -r %s", fixture->directory);
    ck_assert_int_eq(system(command), 0);
}

static void show(const redisReply *reply, char *text, size_t size)
{
    size_t len = strlen(text);

    switch (reply->type) {
    case REDIS_REPLY_ARRAY:
        for (size_t i = 0; i < reply->elements; i++) {
            len = strlen(text);
            (void)snprintf(text + len, size - len, "%s", i > 0 ? "|" : "");
            show(reply->element[i], text, size);
        }
        break;
    case REDIS_REPLY_INTEGER:
        (void)snprintf(text + len, size - len, "%lld", reply->integer);
        break;
    case REDIS_REPLY_NIL:
        (void)snprintf(text + len, size - len, "-");
        break;
    default:
        (void)snprintf(text + len, size - len, "%s", reply->str);
    }
}

const char *redis_fixture_ask(struct redis_fixture *fixture, const char *format, ...)
{
    static char text[65536];
    redisReply *reply;
    va_list arguments;

    va_start(arguments, format);
    reply = redisvCommand(fixture->client, format, arguments);
    va_end(arguments);
    ck_assert_msg(reply != NULL, "%s: %s", format, fixture->client->errstr);
    text[0] = '\0';
    show(reply, text, sizeof text);
    freeReplyObject(reply);
    return text;
}

/* --- records ---------------------------------------------------------------------------------- */

struct made {
    struct tally_event event;
    struct stock_event stock;
    struct catalogue_event catalogue;
    struct made *next;
};
static struct made *all;

static struct made *make(void)
{
    struct made *made = tally_alloc_zero(1, sizeof *made);

    made->next = all;
    all = made;
    return made;
}

void redis_fixture_forget(void)
{
    while (all) {
        struct made *next = all->next;

        tally_free(all);
        all = next;
    }
}

static struct tally_sink_record record_of(struct made *made, const char *topology, int64_t offset,
        const struct tally_schema *schema, void *body)
{
    made->event.schema = schema;
    made->event.body = body;
    made->event.time_ms = INT64_C(1768471320012);
    made->event.command_offset = offset + 1000;
    return (struct tally_sink_record){.topology = topology,
            .topic = strcmp(topology, "stock") == 0 ? STOCK_TOPIC : CATALOGUE_TOPIC,
            .partition = 0,
            .offset = offset,
            .timestamp_ms = INT64_C(1768471320000) + offset,
            .event = &made->event};
}

struct tally_sink_record redis_fixture_level(enum stock_event_type type, int64_t offset,
        const char *sku, const char *warehouse, int64_t version, int64_t on_hand)
{
    struct made *made = make();

    made->stock.sku = tally_slice_string(sku);
    made->stock.warehouse = tally_slice_string(warehouse);
    made->stock.version = made->stock.seq = version;
    made->stock.presence.present = TALLY_BIT(STOCK_EVENT_SEQ);
    made->stock.after.n[STOCK_ON_HAND] = on_hand;
    made->stock.after.n[STOCK_RESERVED] = 4;
    return record_of(made, "stock", offset, stock_event_schemas[type], &made->stock);
}

struct tally_sink_record redis_fixture_setting(int64_t offset, const char *sku,
        const char *warehouse, int64_t version, int64_t on_hand)
{
    struct tally_sink_record record =
            redis_fixture_level(STOCK_CONFIGURED, offset, sku, warehouse, version, on_hand);
    struct stock_setting *setting = &((struct stock_event *)record.event->body)->setting;

    setting->policy = STOCK_BACKORDER;
    setting->low_stock_threshold = 10;
    setting->presence.present = TALLY_BIT(STOCK_SETTING_POLICY) |
                                TALLY_BIT(STOCK_SETTING_BACKORDER_LIMIT) |
                                TALLY_BIT(STOCK_SETTING_LOW_STOCK_THRESHOLD);
    setting->presence.nulls = TALLY_BIT(STOCK_SETTING_BACKORDER_LIMIT);
    return record;
}

struct tally_sink_record redis_fixture_sku(enum stock_event_type type, int64_t offset,
        const char *sku, int64_t version, const char *product_id)
{
    struct made *made = make();

    made->stock.sku = tally_slice_string(sku);
    made->stock.version = version;
    made->stock.state = type == STOCK_SKU_FROZEN ? STOCK_SKU_ARCHIVED : STOCK_SKU_ACTIVE;
    made->stock.presence.present = TALLY_BIT(STOCK_EVENT_PRODUCT_ID);
    made->stock.presence.nulls = product_id ? 0 : TALLY_BIT(STOCK_EVENT_PRODUCT_ID);
    made->stock.product_id = tally_slice_string(product_id);
    return record_of(made, "stock", offset, stock_event_schemas[type], &made->stock);
}

struct tally_sink_record redis_fixture_product(enum catalogue_event_type type, int64_t offset,
        const char *product_id, const char *slug, int64_t version)
{
    struct made *made = make();
    struct catalogue_product *product = &made->catalogue.product;

    made->catalogue.product_id = product->product_id = tally_slice_string(product_id);
    made->catalogue.version = product->version = version;
    product->slug = tally_slice_string(slug);
    product->name = tally_slice_string("A \"version\":9999 of it"); /* is no version */
    product->created_at = product->updated_at = INT64_C(1768471320012);
    product->presence.present =
            TALLY_BIT(CATALOGUE_PRODUCT_ID) | TALLY_BIT(CATALOGUE_PRODUCT_SLUG) |
            TALLY_BIT(CATALOGUE_PRODUCT_NAME) | TALLY_BIT(CATALOGUE_PRODUCT_STATUS) |
            TALLY_BIT(CATALOGUE_PRODUCT_VERSION) | TALLY_BIT(CATALOGUE_PRODUCT_CREATED_AT) |
            TALLY_BIT(CATALOGUE_PRODUCT_UPDATED_AT);
    return record_of(made, "catalogue", offset, catalogue_event_schemas[type], &made->catalogue);
}

struct tally_sink_record redis_fixture_slug(enum catalogue_event_type type, int64_t offset,
        const char *slug, const char *product_id)
{
    struct made *made = make();

    made->catalogue.slug = tally_slice_string(slug);
    made->catalogue.product_id = tally_slice_string(product_id);
    return record_of(made, "catalogue", offset, catalogue_event_schemas[type], &made->catalogue);
}

struct tally_sink_record redis_fixture_outcome(int64_t offset)
{
    return record_of(make(), "stock", offset, NULL, NULL);
}
