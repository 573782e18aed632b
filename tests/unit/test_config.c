/* tests/unit/test_config.c - sources and their order, and the message of every mistake. */
#include "engine/base/config.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/failpoint.h"

#define ARGUMENTS_MAX 32

static char directory[] = "/tmp/tally-config-XXXXXX";
static struct tally_config config;
static struct tally_buf mistakes;
static struct tally_error err;
static char *arguments[ARGUMENTS_MAX + 1];
static int argument_count;

/* Every test runs in a directory of its own without any TALLY_ variable. */
static void setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chdir(directory), 0);
    ck_assert_int_eq(clearenv(), 0);
}

static void write_file(const char *name, const char *text, mode_t mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    ck_assert_int_eq(fchmod(fd, mode), 0);
    (void)close(fd);
}

static void teardown(void)
{
    (void)unlink("tally.yaml");
    (void)unlink("other.yaml");
    (void)unlink("secret");
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(rmdir(directory), 0);
}

/* words: "--state.dir x run", split at blanks in place. */
static void split(char *program, char *words)
{
    argument_count = 0;
    arguments[argument_count++] = program;
    while (*words) {
        ck_assert_int_lt(argument_count, ARGUMENTS_MAX);
        arguments[argument_count++] = words;
        words += strcspn(words, " ");
        if (*words) {
            *words++ = '\0';
        }
    }
    arguments[argument_count] = NULL;
}

static enum tally_code load(const char *yaml, const char *words)
{
    static char text[1024];
    enum tally_code code;
    static char name[] = "tally";

    (void)snprintf(text, sizeof text, "%s", words);
    split(name, text);
    if (yaml) {
        write_file("tally.yaml", yaml, 0644);
    }
    tally_buf_init(&mistakes, 65536);
    code = tally_config_load(&config, &argument_count, arguments, &mistakes, &err);
    tally_buf_byte(&mistakes, 0);
    return code;
}

static void unload(void)
{
    tally_config_deinit(&config);
    tally_buf_deinit(&mistakes);
}

static void assert_loads(const char *yaml, const char *words)
{
    ck_assert_msg(load(yaml, words) == TALLY_OK, "%s", (char *)mistakes.data);
    ck_assert_str_eq((char *)mistakes.data, "");
}

START_TEST(defaults)
{
    assert_loads(NULL, "");
    ck_assert_str_eq(config.app_id, "tally");
    ck_assert_int_eq(config.state_memory, 112 << 20);
    ck_assert_int_eq(config.commit_interval, 100);
    ck_assert_int_eq(config.dedup_retention, INT64_C(604800000));
    ck_assert(config.kafka_guard);
    ck_assert(!config.http_insecure);
    ck_assert_uint_eq(config.topologies.count, 7);
    ck_assert_str_eq(config.topologies.items[1], "stock");
    ck_assert_uint_eq(config.kafka_properties.count, 0);
    ck_assert_str_eq(config.reply_topics, "(.*\\.)?replies");
    unload();
}
END_TEST

START_TEST(a_file_nested_and_dotted)
{
    ck_assert_int_eq(setenv("PORT_OF_HTTP", "9000", 1), 0);
    assert_loads("# settings\n"
                 "kafka:\n"
                 "  bootstrap.servers: localhost:9092\n"
                 "  properties: [\"fetch.wait.max.ms=20\", \"ssl.ca.location=${CA_FILE:ca.pem}\"]\n"
                 "state: { dir: './$${other', memory: 512M }\n"
                 "app.id: shop\n"
                 "topics.prefix: \"\"\n"
                 "engine: { threads: 2, commit.interval: 50ms, transaction: {timeout: 5s} }\n"
                 "state.flush.interval: 2s\n"
                 "http:\n  listen: 127.0.0.1:${PORT_OF_HTTP}\n"
                 "log:\n"
                 "instance.id: ${NOT_SET:}b\n"
                 "topologies:\n- stock\n",
            "");
    ck_assert_str_eq(config.kafka_servers, "localhost:9092");
    ck_assert_uint_eq(config.kafka_properties.count, 2);
    ck_assert_str_eq(config.kafka_properties.items[1], "ssl.ca.location=ca.pem");
    ck_assert_str_eq(config.state_dir, "./${other");
    ck_assert_int_eq(config.state_memory, 512 << 20);
    ck_assert_int_eq(config.state_flush_interval, 2000);
    ck_assert_int_eq(config.engine_threads, 2);
    ck_assert_int_eq(config.commit_interval, 50);
    ck_assert_int_eq(config.transaction_timeout, 5000);
    ck_assert_str_eq(config.http_listen, "127.0.0.1:9000");
    ck_assert_str_eq(config.instance_id, "b");
    ck_assert_uint_eq(config.topologies.count, 1);
    unload();
}
END_TEST

START_TEST(empty_files_are_fine)
{
    static const char *const files[] = {"", "# nothing\n", "---\n", "~\n", "{}\n", "kafka:\n"};

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        assert_loads(files[i], "");
        unload();
    }
}
END_TEST

/* Invariant (1) of config.c. */
START_TEST(later_sources_win)
{
    const char *yaml = "state.dir: file\napp.id: file\nlog.level: warn\n";

    ck_assert_int_eq(setenv("TALLY_APP_ID", "variable", 1), 0);
    ck_assert_int_eq(setenv("TALLY_LOG_LEVEL", "error", 1), 0);
    assert_loads(yaml, "--log.level debug");
    ck_assert_str_eq(config.state_dir, "file");
    ck_assert_str_eq(config.app_id, "variable");
    ck_assert_str_eq(config.log_level, "debug");
    unload();
    ck_assert_int_eq(load("state.dir: file\nlog.level: loud\n", "--log.level debug"), TALLY_CONFIG);
    ck_assert_str_eq((char *)mistakes.data, "tally.yaml:2:12: log.level: expected debug, info, "
                                            "warn or error, got \"loud\"\n");
    unload();
}
END_TEST

START_TEST(variables_and_the_files_they_name)
{
    ck_assert_int_eq(setenv("TALLY_TOPOLOGIES", "stock, catalogue", 1), 0);
    ck_assert_int_eq(setenv("TALLY_STOCK_REQUIRE_REGISTRATION", "false", 1), 0);
    ck_assert_int_eq(setenv("TALLY_HTTP_CURSOR_KEY_FILE", "secret", 1), 0);
    ck_assert_int_eq(setenv("TALLY_CACHE", "x", 1), 0);
    ck_assert_int_eq(setenv("TALLY_TEST_BROKER", "x", 1), 0);
    ck_assert_int_eq(setenv("TALLY_PORT", "tcp://10.0.0.1:80", 1), 0);
    ck_assert_int_eq(setenv("TALLY_PORT_8080_TCP_ADDR", "10.0.0.1", 1), 0);
    ck_assert_int_eq(setenv("TALLY_HEADLESS_SERVICE_PORT_HTTP", "80", 1), 0);
    write_file("secret", "s3cret\n", 0600);
    assert_loads(NULL, "");
    ck_assert_uint_eq(config.topologies.count, 2);
    ck_assert_str_eq(config.topologies.items[1], "catalogue");
    ck_assert(!config.stock_require_registration);
    ck_assert_str_eq(config.http_cursor_key, "s3cret");
    unload();
}
END_TEST

static void assert_arguments(const char *expected)
{
    char joined[512] = "";

    for (int i = 1; i < argument_count; i++) {
        (void)snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%s",
                i > 1 ? " " : "", arguments[i]);
    }
    ck_assert_str_eq(joined, expected);
    ck_assert_ptr_null(arguments[argument_count]);
}

START_TEST(flags_are_taken_from_the_arguments)
{
    write_file("other.yaml", "app.id: other\n", 0644);
    assert_loads("app.id: not-read\n",
            "run --state.dir=/data --engine.threads 3 --kafka.insecure "
            "--follow --kafka.guard false -c other.yaml stock --topologies stock -- --app.id x");
    assert_arguments("run --follow stock -- --app.id x");
    ck_assert_str_eq(config.app_id, "other");
    ck_assert_str_eq(config.state_dir, "/data");
    ck_assert_int_eq(config.engine_threads, 3);
    ck_assert(config.kafka_insecure);
    ck_assert(!config.kafka_guard);
    ck_assert_uint_eq(config.topologies.count, 1);
    unload();
    assert_loads(NULL, "get --config=other.yaml -o json - --unknown.flag=1 KEY");
    assert_arguments("get -o json - --unknown.flag=1 KEY");
    ck_assert_str_eq(config.app_id, "other");
    unload();
}
END_TEST

START_TEST(properties_are_appended)
{
    assert_loads("kafka.properties: [a=1, b=2]\n", "-X b=3 tail -Xc=4,5 -X d= -X d=x=y");
    assert_arguments("tail");
    ck_assert_uint_eq(config.kafka_properties.count, 4);
    ck_assert_str_eq(config.kafka_properties.items[0], "a=1");
    ck_assert_str_eq(config.kafka_properties.items[1], "b=3");
    ck_assert_str_eq(config.kafka_properties.items[2], "c=4,5");
    ck_assert_str_eq(config.kafka_properties.items[3], "d=x=y");
    unload();
}
END_TEST

START_TEST(other_machines_need_a_word)
{
    assert_loads("kafka: {bootstrap.servers: 'b1:9092,b2:9092', insecure: true}\n", "");
    unload();
    assert_loads("kafka: {bootstrap.servers: 'b1:9092', "
                 "properties: [security.protocol=SASL_SSL]}\n",
            "");
    unload();
    assert_loads("http: {listen: '0.0.0.0:80', insecure: true}\n", "");
    assert_loads("http: {listen: '0.0.0.0:80', auth: bearer, api_keys: keys.txt}\n", "");
    assert_loads("http: {auth: bearer, jwt: {keys: [a.pem, b.json], issuer: i, audience: a}}\n",
            "");
    unload();
    assert_loads("kafka.bootstrap.servers: '127.0.0.1:1,localhost:2,[::1]:3,127.9.9.9:4'\n",
            "--http.listen 127.0.0.2:0");
    unload();
    assert_loads("http.listen: ''\n", "");
    unload();
    assert_loads("postgres.url: postgresql://tally@127.0.0.1:5432/tally?sslmode=verify-full\n"
                 "redis.url: redis://tally@127.0.0.1:6379/2\n",
            "");
    unload();
    assert_loads("postgres.url: host=127.0.0.1 options='-c a=b' dbname=tally\n"
                 "redis.url: redis://cache:6379/\n",
            "");
    unload();
}
END_TEST

/* One file with one mistake or several, and the whole text that a user reads. */
static const struct {
    const char *yaml, *mistakes;
} broken_files[] = {
        {"state: {dir: x,\n  memory: 12M}\n",
                "tally.yaml:2:11: state.memory: expected a size of at least 64M, got \"12M\"\n"},
        {"state: { dir: ./state, memory: 2048T }\n",
                "tally.yaml:1:32: state.memory: expected a size of at most 1T, got \"2048T\"\n"},
        {"state.memory: lots\n", "tally.yaml:1:15: state.memory: expected a size such as 64K, 512M "
                                 "or 2G, got \"lots\"\n"},
        {"state.memory: 512m\n", "tally.yaml:1:15: state.memory: expected a size such as 64K, 512M "
                                 "or 2G, got \"512m\"\n"},
        {"state.memory: 9999999999999999T\n",
                "tally.yaml:1:15: state.memory: expected a size such as 64K, 512M or 2G, got "
                "\"9999999999999999T\"\n"},
        {"state.memory: -1G\n", "tally.yaml:1:15: state.memory: expected a size such as 64K, 512M "
                                "or 2G, got \"-1G\"\n"},
        {"engine.commit.interval: 100\n",
                "tally.yaml:1:25: engine.commit.interval: expected a duration with a unit, such as "
                "100ms, 5s, 10m, 2h or 7d, got \"100\"\n"},
        {"engine.commit.interval: 0ms\n",
                "tally.yaml:1:25: engine.commit.interval: expected a duration of at least 1ms, got "
                "\"0ms\"\n"},
        {"engine.commit.interval: 0\n",
                "tally.yaml:1:25: engine.commit.interval: expected a duration of at least 1ms, got "
                "\"0\"\n"},
        {"engine.commit.interval: 2m\n",
                "tally.yaml:1:25: engine.commit.interval: expected a duration of at most 1m, got "
                "\"2m\"\n"},
        {"engine: {commit.interval: 1.5s}\n",
                "tally.yaml:1:27: engine.commit.interval: expected a duration with a unit, such as "
                "100ms, 5s, 10m, 2h or 7d, got \"1.5s\"\n"},
        {"engine.threads: many\n",
                "tally.yaml:1:17: engine.threads: expected an integer, got \"many\"\n"},
        {"engine.threads: 257\n", "tally.yaml:1:17: engine.threads: expected an integer of at most "
                                  "256, got \"257\"\n"},
        {"http.threads: 3\n",
                "tally.yaml:1:15: http.threads: expected an integer of at least 4, got \"3\"\n"},
        {"engine.threads: 1e2\n",
                "tally.yaml:1:17: engine.threads: expected an integer, got \"1e2\"\n"},
        {"engine.threads:\n",
                "tally.yaml:1:16: engine.threads: expected an integer, got nothing\n"},
        {"app.id: ~\n", "tally.yaml:1:9: app.id: expected text, got nothing; write \"\" for an "
                        "empty text\n"},
        {"app.id: ''\n", "tally.yaml:1:9: app.id: expected text of at least 1 byte, got \"\"\n"},
        {"app.id: 0123456789012345678901234567890123456789012345678901234567890123x\n",
                "tally.yaml:1:9: app.id: expected text of at most 64 bytes, got "
                "\"012345678901234567890123456789012345678901234567890123456789\"\n"},
        {"app.id: a/b\n", "tally.yaml:1:9: app.id: expected letters, digits, '.', '_' and '-' "
                          "only, got \"a/b\"\n"},
        {"state.dir: \"a\\nb\"\n",
                "tally.yaml:1:12: state.dir: expected UTF-8 text without control characters\n"},
        {"state.dir: \"a\\0b\"\n", "tally.yaml:1:12: state.dir: expected text without NUL\n"},
        {"kafka.guard: yes\n",
                "tally.yaml:1:14: kafka.guard: expected true or false, got \"yes\"\n"},
        {"kafka.guard: [true]\n",
                "tally.yaml:1:14: kafka.guard: expected true or false, got a list\n"},
        {"state.dir: {a: b}\n", "tally.yaml:1:12: state.dir: expected text, got a map\n"},
        {"topologies: stock\n", "tally.yaml:1:13: topologies: expected a list, got \"stock\"\n"},
        {"topologies: []\n",
                "tally.yaml:1:13: topologies: expected a list of at least 1 item, got 0\n"},
        {"topologies:\n- stock\n- stock\n",
                "tally.yaml:3:3: topologies[1]: \"stock\" is listed twice\n"},
        {"topologies:\n  - stock\n  - {a: b}\n  -\n",
                "tally.yaml:3:5: topologies[1]: expected text, got a map\n"
                "tally.yaml:4:4: topologies[2]: expected text, got nothing\n"},
        {"topologies:\n", "tally.yaml:1:12: topologies: expected a list, got nothing\n"},
        {"state.dri: x\n",
                "tally.yaml:1:1: state.dri: unknown option, did you mean \"state.dir\"?\n"},
        {"state: {dir: x, memroy: 64M}\n",
                "tally.yaml:1:17: state.memroy: unknown option, did you mean \"state.memory\"?\n"},
        {"threads: 4\n",
                "tally.yaml:1:1: threads: unknown option, did you mean \"engine.threads\"?\n"},
        {"colour: red\n", "tally.yaml:1:1: colour: unknown option\n"},
        {"kafak: {bootstrap.servers: 'x:1'}\nstate.dri: x\n",
                "tally.yaml:1:1: kafak: unknown section, did you mean \"kafka\"?\n"
                "tally.yaml:2:1: state.dri: unknown option, did you mean \"state.dir\"?\n"},
        {"http: 8080\n", "tally.yaml:1:7: http: expected a map of options, got a value\n"},
        {"state.dir: x\nstate:\n  dir: y\n",
                "tally.yaml:3:3: state.dir: set twice, first in line 1\n"},
        {"state.dir: ${NOT_SET}/x\n",
                "tally.yaml:1:12: state.dir: variable NOT_SET is not set: set it or write "
                "${NOT_SET:default}\n"},
        {"state.dir: ${NOT\n", "tally.yaml:1:12: state.dir: expected ${NAME} or ${NAME:default}; "
                               "write $${ for a plain "
                               "${\n"},
        {"state.dir: ${}\n", "tally.yaml:1:12: state.dir: expected ${NAME} or ${NAME:default}; "
                             "write $${ for a plain "
                             "${\n"},
        {"a: &x 1\nstate.dir: *x\n", "tally.yaml:1:1: a: unknown option\n"
                                     "tally.yaml:2:12: state.dir: expected text, got an alias, "
                                     "which is not supported\n"},
        {"? [a, b]\n: c\n", "tally.yaml:1:3: expected the name of an option, got a list\n"},
        {"- a\n- b\n", "tally.yaml:1:1: expected a map of options, got a list\n"},
        {"just text\n", "tally.yaml:1:1: expected a map of options, got a value\n"},
        {"app.id: a\n---\napp.id: b\n", "tally.yaml:2:1: expected one document\n"},
        {"app.id: a\nstate: {dir: x\nlog.level: loud\n",
                "tally.yaml:3:10: not valid YAML: did not find expected ',' or '}'\n"},
        {"state.dri: x\napp.id: \"open\n",
                "tally.yaml:1:1: state.dri: unknown option, did you mean \"state.dir\"?\n"
                "tally.yaml:3:1: not valid YAML: found unexpected end of stream\n"},
        {"app.id: a\n\tb: c\n", "tally.yaml:2:1: not valid YAML: found a tab character that "
                                "violates indentation\n"},
        {"app.id: a\nstate.dir: \xff\n",
                "tally.yaml:2:12: not valid YAML: invalid leading UTF-8 octet\n"},
        {"start.offset: newest\n",
                "tally.yaml:1:15: start.offset: expected earliest or latest, got \"newest\"\n"},
        {"log: {level: trace, format: xml}\n",
                "tally.yaml:1:14: log.level: expected debug, info, warn or error, got \"trace\"\n"
                "tally.yaml:1:29: log.format: expected logfmt or json, got \"xml\"\n"},
        {"events.format: avro\n",
                "tally.yaml:1:16: events.format: expected msgpack or json, got \"avro\"\n"},
        {"http.listen: 127.0.0.1:8443s\n",
                "tally.yaml:1:14: http.listen: \"127.0.0.1:8443s\" asks "
                "for TLS, which is not served: "
                "let a proxy in front end it, as in k8s/nginx.conf, and leave the 's' out\n"},
        {"http.listen: localhost:80\n",
                "tally.yaml:1:14: http.listen: expected an IPv4 address and a port such as "
                "127.0.0.1:8080, got \"localhost:80\"\n"},
        {"http.listen: '8080'\n",
                "tally.yaml:1:14: http.listen: expected an IPv4 address and a port such as "
                "127.0.0.1:8080, got \"8080\"\n"},
        {"http.listen: 127.0.0.1:65536\n",
                "tally.yaml:1:14: http.listen: expected an IPv4 address and a port such as "
                "127.0.0.1:8080, got \"127.0.0.1:65536\"\n"},
        {"redis.url: rediss://127.0.0.1:6380\n",
                "tally.yaml:1:12: redis.url: TLS to Redis is not spoken: run stunnel beside tally, "
                "and name it as redis://127.0.0.1:PORT\n"},
        {"redis.url: 127.0.0.1:6379\n",
                "tally.yaml:1:12: redis.url: expected redis://[user@]host[:port][/database]\n"},
        {"redis.url: redis://\n",
                "tally.yaml:1:12: redis.url: expected redis://[user@]host[:port][/database]\n"},
        {"redis.url: redis://127.0.0.1:0\n",
                "tally.yaml:1:12: redis.url: expected redis://[user@]host[:port][/database]\n"},
        {"redis.url: redis://@127.0.0.1:1\n",
                "tally.yaml:1:12: redis.url: expected redis://[user@]host[:port][/database]\n"},
        {"redis.url: redis://me:secret@127.0.0.1:6379\n",
                "tally.yaml:1:12: redis.url: a password does not belong here: set "
                "redis.password\n"},
        {"redis.url: redis://127.0.0.1:6379/x\n", "tally.yaml:1:12: redis.url: expected a number "
                                                  "behind the last '/', the database\n"},
        {"postgres.url: mysql://127.0.0.1/tally\n",
                "tally.yaml:1:15: postgres.url: expected postgresql://user@host:port/database, or "
                "keywords such as host=127.0.0.1 dbname=tally\n"},
        {"postgres.url: postgresql://127.0.0.1:5432\n",
                "tally.yaml:1:15: postgres.url: expected postgresql://user@host:port/database\n"},
        {"postgres.url: postgresql://me:secret@127.0.0.1/tally\n",
                "tally.yaml:1:15: postgres.url: a password does not belong here: set "
                "postgres.password\n"},
        {"postgres.url: postgresql://127.0.0.1/tally?password=secret\n",
                "tally.yaml:1:15: postgres.url: a password does not belong here: set "
                "postgres.password\n"},
        {"postgres.url: host=127.0.0.1 password=secret\n",
                "tally.yaml:1:15: postgres.url: a password does not belong here: set "
                "postgres.password\n"},
        {"postgres.url: host=127.0.0.1 tally\n",
                "tally.yaml:1:15: postgres.url: expected postgresql://user@host:port/database, or "
                "keywords such as host=127.0.0.1 dbname=tally\n"},
        {"http.listen: 0.0.0.0:8080\n",
                "tally.yaml:1:14: http.listen: other machines could use HTTP without credentials: "
                "set http.auth to bearer, listen on 127.0.0.1 behind a proxy, or set "
                "http.insecure to true\n"},
        {"http: {auth: basic}\n",
                "tally.yaml:1:14: http.auth: expected none or bearer, got \"basic\"\n"},
        {"http: {auth: bearer}\n", "tally.yaml:1:14: http.auth: nobody could come in: set "
                                   "http.api_keys, or http.jwt.keys, to files of keys\n"},
        {"http: {jwt: {keys: [a.pem]}}\n",
                "tally.yaml:1:20: http.jwt.keys: tokens of any issuer would be taken: set "
                "http.jwt.issuer\n"
                "tally.yaml:1:20: http.jwt.keys: tokens for any service would be taken: set "
                "http.jwt.audience\n"},
        {"http.token: 'a b'\n",
                "tally.yaml:1:13: http.token: expected a token or a key, without spaces\n"},
        {"kafka.bootstrap.servers: b1\n", "tally.yaml:1:26: kafka.bootstrap.servers: expected "
                                          "host:port joined by commas, got "
                                          "\"b1\"\n"},
        {"kafka.bootstrap.servers: 'localhost:1,'\n", "tally.yaml:1:26: kafka.bootstrap.servers: "
                                                      "expected host:port behind the last comma\n"},
        {"kafka.bootstrap.servers: 'localhost:1,,localhost:2'\n",
                "tally.yaml:1:26: kafka.bootstrap.servers: expected host:port joined by commas, "
                "got "
                "\"\"\n"},
        {"kafka.bootstrap.servers: 'ssl://b1:9092'\n", "tally.yaml:1:26: kafka.bootstrap.servers: "
                                                       "expected host:port joined by commas, got "
                                                       "\"ssl://b1:9092\"\n"},
        {"kafka.bootstrap.servers: 'localhost:1,b1:9092'\n",
                "tally.yaml:1:26: kafka.bootstrap.servers: \"b1\" would be reached without "
                "encryption: "
                "add security.protocol=ssl or sasl_ssl to kafka.properties, or set kafka.insecure "
                "to "
                "true\n"},
        {"kafka:\n  bootstrap.servers: b1:9092\n  properties: [security.protocol=plaintext]\n",
                "tally.yaml:2:22: kafka.bootstrap.servers: \"b1\" would be reached without "
                "encryption: "
                "add security.protocol=ssl or sasl_ssl to kafka.properties, or set kafka.insecure "
                "to "
                "true\n"},
        {"kafka.properties: [x]\n", "tally.yaml:1:20: kafka.properties[0]: expected name=value\n"},
        {"kafka.properties: ['=x', 'a b=c', '']\n",
                "tally.yaml:1:20: kafka.properties[0]: expected name=value\n"
                "tally.yaml:1:26: kafka.properties[1]: expected name=value\n"
                "tally.yaml:1:35: kafka.properties[2]: expected text, got an empty item\n"},
        {"kafka.properties: [a=1, group.id=x, a=2]\n",
                "tally.yaml:1:25: kafka.properties[1]: property \"group.id\" cannot be set here: "
                "use "
                "app.id\n"
                "tally.yaml:1:37: kafka.properties[2]: \"a\" is listed twice\n"},
        {"kafka.properties: [plugin.library.paths=evil.so, test.mock.num.brokers=3]\n",
                "tally.yaml:1:20: kafka.properties[0]: property \"plugin.library.paths\" cannot be "
                "set "
                "here: no foreign code is loaded\n"
                "tally.yaml:1:50: kafka.properties[1]: property \"test.mock.num.brokers\" cannot "
                "be set "
                "here: a mock cluster keeps nothing\n"},
        {"kafka.properties: [x.callback=1, stats_cb=1]\n",
                "tally.yaml:1:20: kafka.properties[0]: property \"x.callback\" cannot be set here: "
                "a "
                "function cannot be given as text\n"
                "tally.yaml:1:34: kafka.properties[1]: property \"stats_cb\" cannot be set here: a "
                "function cannot be given as text\n"},
        {"reply.topics: '(open'\n", "tally.yaml:1:15: reply.topics: expected an extended regular "
                                    "expression, got \"(open\": "
                                    "Unmatched ( or \\(\n"},
        {"http: {wait.max: 64}\n",
                "tally.yaml:1:18: http.wait.max must be below http.threads (64)\n"},
        {"http: {threads: 16}\n",
                "tally.yaml:1:17: http.wait.max must be below http.threads (16)\n"},
        {"engine: {session.timeout: 24s}\n",
                "tally.yaml:1:27: engine.session.timeout must be at least 15s above "
                "engine.transaction.timeout (10s)\n"},
        {"engine: {session.timeout: 90s, max.poll.interval: 45s}\n",
                "tally.yaml:1:51: engine.max.poll.interval must be at least engine.session.timeout "
                "(90s)\n"},
        {"engine: {transaction.timeout: 1s, commit.interval: 1s}\n",
                "tally.yaml:1:52: engine.commit.interval must be below engine.transaction.timeout "
                "(1s)\n"},
};

START_TEST(a_broken_file_tells_where_and_what)
{
    ck_assert_int_eq(load(broken_files[_i].yaml, ""), TALLY_CONFIG);
    ck_assert_str_eq((char *)mistakes.data, broken_files[_i].mistakes);
    ck_assert_int_eq(strncmp(err.message, "configuration has ", 18), 0);
    unload();
}
END_TEST

static const struct {
    const char *variable, *value, *words, *mistakes;
} broken_others[] = {
        {"TALLY_STATE_MEMORY", "12M", "",
                "TALLY_STATE_MEMORY: expected a size of at least 64M, got \"12M\"\n"},
        {"TALLY_STATE_MEMROY", "64M", "",
                "TALLY_STATE_MEMROY: unknown variable, did you mean \"TALLY_STATE_MEMORY\"?\n"},
        {"TALLY_XYZ", "1", "", "TALLY_XYZ: unknown variable\n"},
#if TALLY_HAS_FAILPOINTS
        {"TALLY_FAIL", "comit.before:1:kill", "",
                "TALLY_FAIL: no failpoint \"comit.before\", did you mean \"commit.before\"?: "
                "`tally "
                "failpoints` lists them\n"},
#else
        {"TALLY_FAIL", "commit.before:1:kill", "", "TALLY_FAIL: this build has no failpoints\n"},
#endif
        {"TALLY_TOPOLOGIES", "a,,b", "", "TALLY_TOPOLOGIES: expected text, got an empty item\n"},
        {"TALLY_TOPOLOGIES", "a,", "", "TALLY_TOPOLOGIES: expected text, got an empty item\n"},
        {"TALLY_APP_ID", "\x1b[31m\xff", "",
                "TALLY_APP_ID: expected UTF-8 text without control characters\n"},
        {"TALLY_ENGINE_THREADS", "1\n2", "",
                "TALLY_ENGINE_THREADS: expected an integer, got \"1?2\"\n"},
        {"TALLY_HTTP_CURSOR_KEY_FILE", "missing", "",
                "TALLY_HTTP_CURSOR_KEY_FILE: could not open file \"missing\": No such file or "
                "directory\n"},
        {"TALLY_HTTP_CURSOR_KEY_FILE", ".", "",
                "TALLY_HTTP_CURSOR_KEY_FILE: \".\" is not a file\n"},
        {"TALLY_HTTP_CURSOR_KEY_FILE", "open", "",
                "TALLY_HTTP_CURSOR_KEY_FILE: file \"open\" is open to others (mode 0640): make it "
                "0600 "
                "or 0400\n"},
        {"X", "", "--state.memory 12M",
                "--state.memory: expected a size of at least 64M, got \"12M\"\n"},
        {"X", "", "--state.dir", "--state.dir: expected a value\n"},
        {"X", "", "--state.dir=", "--state.dir: expected text of at least 1 byte, got \"\"\n"},
        {"X", "", "--kafka.guard=maybe", "--kafka.guard: expected true or false, got \"maybe\"\n"},
        {"X", "", "-X", "-X: expected a value\n"},
        {"X", "", "-X acks=1 -X nothing",
                "-X: property \"acks\" cannot be set here: it belongs to the exactly-once "
                "protocol\n"
                "-X: expected name=value\n"},
        {"X", "", "-c", "-c: expected the name of a file\n"},
        {"X", "", "-c missing.yaml",
                "missing.yaml: could not open the file: No such file or directory\n"},
        {"X", "", "-c a --config b", "--config: given twice; there is one configuration file\n"},
        {"X", "", "-c .", ".: could not read the file\n"},
        {"X", "", "--http.wait.max 100",
                "--http.wait.max: http.wait.max must be below http.threads (64)\n"},
        {"TALLY_LOG_LEVEL", "x", "--log.format y",
                "TALLY_LOG_LEVEL: expected debug, info, warn or error, got \"x\"\n"
                "--log.format: expected logfmt or json, got \"y\"\n"},
};

START_TEST(a_broken_variable_or_flag_tells_its_name)
{
    write_file("open", "x", 0640);
    ck_assert_int_eq(setenv(broken_others[_i].variable, broken_others[_i].value, 1), 0);
    ck_assert_int_eq(load(NULL, broken_others[_i].words), TALLY_CONFIG);
    ck_assert_str_eq((char *)mistakes.data, broken_others[_i].mistakes);
    unload();
    ck_assert_int_eq(unlink("open"), 0);
}
END_TEST

START_TEST(a_value_and_its_file_exclude_each_other)
{
    ck_assert_int_eq(setenv("TALLY_HTTP_CURSOR_KEY", "a", 1), 0);
    ck_assert_int_eq(setenv("TALLY_HTTP_CURSOR_KEY_FILE", "secret", 1), 0);
    ck_assert_int_eq(load(NULL, ""), TALLY_CONFIG);
    ck_assert_str_eq((char *)mistakes.data, "TALLY_HTTP_CURSOR_KEY_FILE: TALLY_HTTP_CURSOR_KEY "
                                            "is set too: keep one of them\n");
    unload();
}
END_TEST

/* All sources in one run, and what is wrong keeps its earlier value: invariant (2) of config.c. */
START_TEST(every_mistake_in_one_run)
{
    ck_assert_int_eq(setenv("TALLY_STATE_DIR", "variable", 1), 0);
    ck_assert_int_eq(setenv("TALLY_TOPICS_PREFIX", "a b", 1), 0);
    ck_assert_int_eq(load("app.id: ''\nstate.dir: file\nhttp.threads: x\n", "--state.memory 1"),
            TALLY_CONFIG);
    ck_assert_str_eq((char *)mistakes.data,
            "tally.yaml:1:9: app.id: expected text of at least 1 byte, got \"\"\n"
            "tally.yaml:3:15: http.threads: expected an integer, got \"x\"\n"
            "TALLY_TOPICS_PREFIX: expected letters, digits, '.', '_' and '-' only, got \"a b\"\n"
            "--state.memory: expected a size of at least 64M, got \"1\"\n");
    ck_assert_str_eq(err.message, "configuration has 4 mistakes");
    ck_assert_str_eq(config.app_id, "tally");
    ck_assert_str_eq(config.state_dir, "variable");
    ck_assert_int_eq(config.state_memory, 112 << 20);
    unload();
}
END_TEST

START_TEST(no_mistake_shows_a_secret)
{
    char yaml[400];
    char key[300];

    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    (void)snprintf(yaml, sizeof yaml, "http.cursor.key: %s\nkafka.properties: kkkk\n", key);
    ck_assert_int_eq(load(yaml, "-X kkkk"), TALLY_CONFIG);
    ck_assert_ptr_null(strstr((char *)mistakes.data, "kkk"));
    ck_assert_ptr_nonnull(strstr((char *)mistakes.data, "got \"***\""));
    unload();
}
END_TEST

START_TEST(show_tells_origins_and_hides_secrets)
{
    struct tally_buf out;
    const char *text;

    ck_assert_int_eq(setenv("TALLY_HTTP_CURSOR_KEY", "hidden", 1), 0);
    assert_loads("kafka.properties: [sasl.password=hidden, ssl.key.password=hidden, a=b]\n"
                 "state:\n  memory: 1024M\n",
            "--log.level warn -X c=d");
    tally_buf_init(&out, 65536);
    tally_config_show(&config, &out);
    ck_assert(!out.failed);
    tally_buf_byte(&out, 0);
    text = (const char *)out.data;
    ck_assert_ptr_null(strstr(text, "hidden"));
    ck_assert_ptr_nonnull(strstr(text, " = sasl.password=***,ssl.key.password=***,a=b,c=d  # "
                                       "tally.yaml:1 and -X\n"));
    ck_assert_ptr_nonnull(strstr(text, "# tally.yaml:3\n"));
    ck_assert_ptr_nonnull(strstr(text, "= 1G "));
    ck_assert_ptr_nonnull(strstr(text, "# TALLY_HTTP_CURSOR_KEY\n"));
    ck_assert_ptr_nonnull(strstr(text, "# --log.level\n"));
    ck_assert_int_eq(strncmp(text, "app.id                       = tally  ", 38), 0);
    ck_assert_ptr_nonnull(strstr(text, "topics.prefix                = \"\"  "));
    tally_buf_deinit(&out);
    unload();
}
END_TEST

START_TEST(docs_list_every_option)
{
    struct tally_buf out;
    const char *text;

    tally_buf_init(&out, 65536);
    tally_config_docs(&out);
    ck_assert(!out.failed);
    tally_buf_byte(&out, 0);
    text = (const char *)out.data;
#define X(field, name, kind, default_, low, high, help) \
    ck_assert_ptr_nonnull(strstr(text, "\n| `" name "` | `TALLY_"));
#include "engine/base/config.def"
#undef X
    ck_assert_ptr_nonnull(strstr(text, "| `state.memory` | `TALLY_STATE_MEMORY` | size | `112M` "
                                       "| 64M to 1T | memory of"));
    ck_assert_ptr_nonnull(strstr(text, "| `group.id` | use app.id |\n"));
    tally_buf_deinit(&out);
}
END_TEST

START_TEST(nearest_names)
{
    static const char *const names[] = {"state.dir", "state.memory", "log.level"};

    ck_assert_str_eq(tally_config_nearest("state.dri", names, 3), "state.dir");
    ck_assert_str_eq(tally_config_nearest("state.memory", names, 3), "state.memory");
    ck_assert_str_eq(tally_config_nearest("stat.mem0ry", names, 3), "state.memory");
    ck_assert_str_eq(tally_config_nearest("loglevel", names, 3), "log.level");
    ck_assert_ptr_null(tally_config_nearest("http.listen", names, 3));
    ck_assert_ptr_null(tally_config_nearest("", names, 3));
    ck_assert_ptr_null(tally_config_nearest("x", names, 0));
    ck_assert_ptr_null(tally_config_nearest("state.dir.that.is.longer.than.any.name.of.an.option."
                                            "could.be.and.so.is.not.compared",
            names, 3));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *tests = tcase_create("config");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, defaults);
    tcase_add_test(tests, a_file_nested_and_dotted);
    tcase_add_test(tests, empty_files_are_fine);
    tcase_add_test(tests, later_sources_win);
    tcase_add_test(tests, variables_and_the_files_they_name);
    tcase_add_test(tests, flags_are_taken_from_the_arguments);
    tcase_add_test(tests, properties_are_appended);
    tcase_add_test(tests, other_machines_need_a_word);
    tcase_add_loop_test(tests, a_broken_file_tells_where_and_what, 0,
            (int)(sizeof broken_files / sizeof broken_files[0]));
    tcase_add_loop_test(tests, a_broken_variable_or_flag_tells_its_name, 0,
            (int)(sizeof broken_others / sizeof broken_others[0]));
    tcase_add_test(tests, a_value_and_its_file_exclude_each_other);
    tcase_add_test(tests, every_mistake_in_one_run);
    tcase_add_test(tests, no_mistake_shows_a_secret);
    tcase_add_test(tests, show_tells_origins_and_hides_secrets);
    tcase_add_test(tests, docs_list_every_option);
    tcase_add_test(tests, nearest_names);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
