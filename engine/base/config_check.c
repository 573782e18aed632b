/* engine/base/config_check.c - what an option's value means: choices, addresses, expressions, the
 * librdkafka properties that are not the user's, and limits that tie options to each other.
 * Invariants
 *  (1) Nothing is sent in clear to, or listened for on, another machine unless an option says so.
 *  (2) A property that the exactly-once protocol fixes cannot be changed through kafka.properties.
 *  (3) Options are compared only when no source has a mistake in one of them. */
#include <arpa/inet.h>
#include <regex.h>
#include <stdio.h>
#include <strings.h>

#include "engine/base/config_internal.h"
#include "engine/base/mem.h"

#define SESSION_MARGIN_MS 15000 /* for the broker's sweep of a dead owner's transaction */

static const struct {
    enum config_index index;
    const char *values[5];
    const char *text;
} choices[] = {
        {CONFIG_start_offset, {"earliest", "latest"}, "earliest or latest"},
        {CONFIG_events_format, {"msgpack", "json"}, "msgpack or json"},
        {CONFIG_http_auth, {"none", "bearer"}, "none or bearer"},
        {CONFIG_log_level, {"debug", "info", "warn", "error"}, "debug, info, warn or error"},
        {CONFIG_log_format, {"logfmt", "json"}, "logfmt or json"},
        {CONFIG_metrics_compat, {"", "kafka_exporter"}, "kafka_exporter or nothing"},
};
#define CHOICES (sizeof choices / sizeof choices[0])

#define PROTOCOL "it belongs to the exactly-once protocol"
static const struct {
    const char *name; /* "*" stands for any text in front or behind */
    const char *why;
} refused[] = {
        {"bootstrap.servers", "use kafka.bootstrap.servers"},
        {"metadata.broker.list", "use kafka.bootstrap.servers"},
        {"group.id", "use app.id"},
        {"group.instance.id", "use instance.id"},
        {"client.id", "it carries the address of this instance"},
        {"transactional.id", "use app.id and instance.id"},
        {"session.timeout.ms", "use engine.session.timeout"},
        {"max.poll.interval.ms", "use engine.max.poll.interval"},
        {"transaction.timeout.ms", "use engine.transaction.timeout"},
        {"enable.auto.commit", PROTOCOL},
        {"auto.commit.enable", PROTOCOL},
        {"enable.auto.offset.store", PROTOCOL},
        {"isolation.level", PROTOCOL},
        {"partition.assignment.strategy", PROTOCOL},
        {"auto.offset.reset", PROTOCOL ": see start.offset"},
        {"acks", PROTOCOL},
        {"request.required.acks", PROTOCOL},
        {"enable.idempotence", PROTOCOL},
        {"partitioner", "keys must go where every other client puts them"},
        {"socket.max.fails", "a request without an answer must end its connection (KIP-890)"},
        {"plugin.library.paths", "no foreign code is loaded"},
        {"test.mock.*", "a mock cluster keeps nothing"},
        {"*.callback", "a function cannot be given as text"},
        {"*_cb", "a function cannot be given as text"},
};
#define REFUSED (sizeof refused / sizeof refused[0])

bool config_refused_property(size_t n, const char **name, const char **why)
{
    if (n >= REFUSED) {
        return false;
    }
    *name = refused[n].name;
    *why = refused[n].why;
    return true;
}

const char *config_choices(enum config_index index)
{
    for (size_t i = 0; i < CHOICES; i++) {
        if (choices[i].index == index) {
            return choices[i].text;
        }
    }
    return NULL;
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);

    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static void property_name(const char *item, char name[static CONFIG_NAME_MAX])
{
    (void)snprintf(name, CONFIG_NAME_MAX, "%.*s", (int)strcspn(item, "="), item);
}

/* Of kafka.properties a text says itself what it is; a text that is no property may be anything. */
bool config_secret(enum config_index index, const char *text)
{
    char name[CONFIG_NAME_MAX];

    if (index != CONFIG_kafka_properties) {
        return index == CONFIG_http_cursor_key || index == CONFIG_http_token ||
               index == CONFIG_postgres_password || index == CONFIG_redis_password;
    }
    if (!text || !strchr(text, '=')) {
        return true;
    }
    property_name(text, name);
    return strncmp(name, "sasl.", 5) == 0 || ends_with(name, "password") ||
           ends_with(name, "secret") || ends_with(name, "key.pem");
}

static bool matches(const char *name, const char *pattern)
{
    size_t len = strlen(pattern);

    if (pattern[0] == '*') {
        return ends_with(name, pattern + 1);
    }
    if (pattern[len - 1] == '*') {
        return strncmp(name, pattern, len - 1) == 0;
    }
    return strcmp(name, pattern) == 0;
}

static bool check_property(const char *item, char why[static CONFIG_WHY_MAX])
{
    char name[CONFIG_NAME_MAX];

    property_name(item, name);
    if (!name[0] || !strchr(item, '=') || strpbrk(name, " \t\"'")) {
        (void)snprintf(why, CONFIG_WHY_MAX, "expected name=value");
        return false;
    }
    for (size_t i = 0; i < REFUSED; i++) {
        if (matches(name, refused[i].name)) {
            (void)snprintf(why, CONFIG_WHY_MAX, "property \"%.60s\" cannot be set here: %s", name,
                    refused[i].why);
            return false;
        }
    }
    return true;
}

static bool check_choice(size_t i, const char *text, char why[static CONFIG_WHY_MAX])
{
    for (size_t value = 0; choices[i].values[value]; value++) {
        if (strcmp(text, choices[i].values[value]) == 0) {
            return true;
        }
    }
    (void)snprintf(why, CONFIG_WHY_MAX, "expected %s, got \"%.60s\"", choices[i].text, text);
    return false;
}

/* Names end up in topic names, transactional ids and directories. */
static bool check_name(const char *text, char why[static CONFIG_WHY_MAX])
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    if (text[len]) {
        (void)snprintf(why, CONFIG_WHY_MAX,
                "expected letters, digits, '.', '_' and '-' only, got \"%.60s\"", text);
        return false;
    }
    return true;
}

static bool check_expression(const char *text, char why[static CONFIG_WHY_MAX])
{
    char reason[60];
    regex_t expression;
    int status = regcomp(&expression, text, REG_EXTENDED | REG_NOSUB);

    if (status) {
        (void)regerror(status, &expression, reason, sizeof reason);
        (void)snprintf(why, CONFIG_WHY_MAX,
                "expected an extended regular expression, got \"%.60s\": %s", text, reason);
        return false;
    }
    regfree(&expression);
    return true;
}

static bool port_valid(const char *text)
{
    int64_t port = 0;

    return text[strspn(text, "0123456789")] == '\0' &&
           tally_parse_int(tally_slice_string(text), &port) && port <= 65535;
}

static bool check_listen(const char *text, char why[static CONFIG_WHY_MAX])
{
    const char *colon = strrchr(text, ':');
    char host[64] = "";
    struct in_addr address;

    if (!text[0]) {
        return true; /* no HTTP */
    }
    if (colon && colon[1] && ends_with(colon, "s")) {
        (void)snprintf(why, CONFIG_WHY_MAX,
                "\"%.60s\" asks for TLS, which is not served: let a "
                "proxy in front end it, as in k8s/nginx.conf, and leave the 's' out",
                text);
        return false;
    }
    if (colon) {
        (void)snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    }
    if (!colon || !colon[1] || inet_pton(AF_INET, host, &address) != 1 || !port_valid(colon + 1)) {
        (void)snprintf(why, CONFIG_WHY_MAX,
                "expected an IPv4 address and a port such as 127.0.0.1:8080, got \"%.60s\"", text);
        return false;
    }
    return true;
}

/* Copies the next host:port of a list; false at its end. */
static bool next_server(const char **at, char server[static 300])
{
    size_t len = strcspn(*at, ",");

    if (!**at) {
        return false;
    }
    (void)snprintf(server, 300, "%.*s", (int)len, *at);
    *at += len;
    if (**at == ',' && (*at)[1]) {
        (*at)++; /* a comma at the end stays and makes an empty server */
    }
    return true;
}

static bool check_servers(const char *text, char why[static CONFIG_WHY_MAX])
{
    char server[300];
    const char *at = text;

    while (next_server(&at, server)) {
        char *colon = strrchr(server, ':');
        bool plain = !strpbrk(server, " /\"");

        if (!plain || !colon || colon == server || !colon[1] || !port_valid(colon + 1)) {
            (void)snprintf(why, CONFIG_WHY_MAX,
                    "expected host:port joined by commas, got \"%.60s\"", server);
            return false;
        }
        if (strcmp(at, ",") == 0) {
            (void)snprintf(why, CONFIG_WHY_MAX, "expected host:port behind the last comma");
            return false;
        }
    }
    return true;
}

/* Of this instance, for others: nothing that an URL could take for something else. */
static bool check_advertise(const char *text, char why[static CONFIG_WHY_MAX])
{
    const char *colon = strrchr(text, ':');
    size_t plain = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-");

    if (!text[0] || (colon && colon > text && plain == (size_t)(colon - text) && colon[1] &&
                            strcmp(colon, ":0") != 0 && port_valid(colon + 1))) {
        return true;
    }
    (void)snprintf(why, CONFIG_WHY_MAX,
            "expected the name or IPv4 address and the port of this instance, such as "
            "tally-0.tally:8080, got \"%.60s\"",
            text);
    return false;
}

static bool check_address(const char *text, char why[static CONFIG_WHY_MAX])
{
    struct in_addr address;

    if (inet_pton(AF_INET, text, &address) == 1) {
        return true;
    }
    (void)snprintf(why, CONFIG_WHY_MAX, "expected an IPv4 address, got \"%.60s\"", text);
    return false;
}

/* What may stand behind "Bearer" in a header. */
static bool check_token(const char *text, char why[static CONFIG_WHY_MAX])
{
    for (; *text; text++) {
        if (*text <= ' ' || *text > '~') {
            (void)snprintf(why, CONFIG_WHY_MAX, "expected a token or a key, without spaces");
            return false;
        }
    }
    return true;
}

/* As browsers write it into the header Origin: no path, no final slash. */
static bool check_origin(const char *text, char why[static CONFIG_WHY_MAX])
{
    const char *host = strstr(text, "://");
    bool scheme = host && (strncmp(text, "https://", 8) == 0 || strncmp(text, "http://", 7) == 0);

    if (scheme && host[3] &&
            strspn(host + 3, "abcdefghijklmnopqrstuvwxyz0123456789.-:[]") == strlen(host + 3)) {
        return true;
    }
    (void)snprintf(why, CONFIG_WHY_MAX,
            "expected an origin like https://shop.example, in lower case, got \"%.60s\"", text);
    return false;
}

bool config_check_value(enum config_index index, const char *text, char why[static CONFIG_WHY_MAX])
{
    for (size_t i = 0; i < CHOICES; i++) {
        if (choices[i].index == index) {
            return check_choice(i, text, why);
        }
    }
    switch ((unsigned)index) {
    case CONFIG_app_id:
    case CONFIG_instance_id:
    case CONFIG_topics_prefix:
    case CONFIG_topologies:
        return check_name(text, why);
    case CONFIG_kafka_servers:
        return check_servers(text, why);
    case CONFIG_kafka_properties:
        return check_property(text, why);
    case CONFIG_reply_topics:
        return check_expression(text, why);
    case CONFIG_http_listen:
        return check_listen(text, why);
    case CONFIG_http_advertise:
        return check_advertise(text, why);
    case CONFIG_http_trusted_proxies:
        return check_address(text, why);
    case CONFIG_http_token:
        return check_token(text, why);
    case CONFIG_http_cors_origins:
        return check_origin(text, why);
    case CONFIG_postgres_url:
        return config_url_postgres(text, why);
    case CONFIG_redis_url:
        return config_url_redis(text, why);
    default:
        return true;
    }
}

static bool loopback(const char *host)
{
    struct in_addr address;

    if (inet_pton(AF_INET, host, &address) == 1) {
        return ntohl(address.s_addr) >> 24 == 127;
    }
    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 || strcmp(host, "[::1]") == 0;
}

/* The first server that is not on this machine, without its port. */
static bool remote_server(const char *servers, char host[static 300])
{
    while (next_server(&servers, host)) {
        char *colon = strrchr(host, ':');

        if (colon) {
            *colon = '\0';
        }
        if (!loopback(host)) {
            return true;
        }
    }
    return false;
}

static bool encrypted(const struct tally_config_list *properties)
{
    static const char name[] = "security.protocol=";

    for (size_t i = 0; i < properties->count; i++) {
        const char *item = properties->items[i];

        if (strncmp(item, name, sizeof name - 1) == 0) {
            return strcasecmp(item + sizeof name - 1, "ssl") == 0 ||
                   strcasecmp(item + sizeof name - 1, "sasl_ssl") == 0;
        }
    }
    return false;
}

static bool good(const struct config_load *load, enum config_index a, enum config_index b)
{
    return !load->config->origins[a].wrong && !load->config->origins[b].wrong;
}

/* Reports at the option that was set last; a default cannot be at fault. */
static void mistake_between(struct config_load *load, enum config_index index,
        enum config_index other, const char *label, const char *text)
{
    const struct tally_config_origin *origin = &load->config->origins[index];
    struct config_place place;

    if (strcmp(origin->source, "default") == 0) {
        origin = &load->config->origins[other];
    }
    place = (struct config_place){
            .source = origin->source, .line = origin->line, .column = origin->column};
    config_mistake(load, &place, label, "%s", text);
}

static void check_network(struct config_load *load)
{
    const struct tally_config *config = load->config;
    char host[300], text[400];

    if (good(load, CONFIG_http_listen, CONFIG_http_insecure) && config->http_listen[0] &&
            !config->http_insecure && strcmp(config->http_auth, "none") == 0) {
        (void)snprintf(host, sizeof host, "%.*s", (int)strcspn(config->http_listen, ":"),
                config->http_listen);
        if (!loopback(host)) {
            mistake_between(load, CONFIG_http_listen, CONFIG_http_insecure, "http.listen",
                    "other machines could use HTTP without credentials: set http.auth to bearer, "
                    "listen on 127.0.0.1 behind a proxy, or set http.insecure to true");
        }
    }
    if (good(load, CONFIG_kafka_servers, CONFIG_kafka_insecure) &&
            !config->origins[CONFIG_kafka_properties].wrong && !config->kafka_insecure &&
            remote_server(config->kafka_servers, host) && !encrypted(&config->kafka_properties)) {
        (void)snprintf(text, sizeof text,
                "\"%.60s\" would be reached without encryption: add "
                "security.protocol=ssl or sasl_ssl to kafka.properties, or set kafka.insecure to "
                "true",
                host);
        mistake_between(load, CONFIG_kafka_servers, CONFIG_kafka_insecure,
                "kafka.bootstrap.servers", text);
    }
}

static void require(struct config_load *load, enum config_index index, enum config_index other,
        bool holds, const char *what, int64_t limit)
{
    char text[200], number[32];

    if (!good(load, index, other) || holds) {
        return;
    }
    config_format_number(config_options[index].kind, limit, number);
    (void)snprintf(text, sizeof text, "%s %s %s (%s)", config_options[index].name, what,
            config_options[other].name, number);
    mistake_between(load, index, other, NULL, text);
}

/* Whoever asks for credentials needs something to check them with, and a token that is not bound to
 * an issuer and to tally would be good for any other service of that issuer. */
static void check_credentials(struct config_load *load)
{
    const struct tally_config *config = load->config;
    bool tokens = config->http_jwt_keys.count > 0;

    if (good(load, CONFIG_http_auth, CONFIG_http_api_keys) &&
            good(load, CONFIG_http_auth, CONFIG_http_jwt_keys) &&
            strcmp(config->http_auth, "bearer") == 0 && !tokens && !config->http_api_keys[0]) {
        mistake_between(load, CONFIG_http_auth, CONFIG_http_api_keys, "http.auth",
                "nobody could come in: set http.api_keys, or http.jwt.keys, to files of keys");
    }
    if (good(load, CONFIG_http_jwt_keys, CONFIG_http_jwt_issuer) && tokens &&
            !config->http_jwt_issuer[0]) {
        mistake_between(load, CONFIG_http_jwt_keys, CONFIG_http_jwt_issuer, "http.jwt.keys",
                "tokens of any issuer would be taken: set http.jwt.issuer");
    }
    if (good(load, CONFIG_http_jwt_keys, CONFIG_http_jwt_audience) && tokens &&
            !config->http_jwt_audience[0]) {
        mistake_between(load, CONFIG_http_jwt_keys, CONFIG_http_jwt_audience, "http.jwt.keys",
                "tokens for any service would be taken: set http.jwt.audience");
    }
}

void config_check_together(struct config_load *load)
{
    const struct tally_config *config = load->config;

    check_credentials(load);
    require(load, CONFIG_http_wait_max, CONFIG_http_threads,
            config->http_wait_max < config->http_threads, "must be below", config->http_threads);
    require(load, CONFIG_session_timeout, CONFIG_transaction_timeout,
            config->session_timeout >= config->transaction_timeout + SESSION_MARGIN_MS,
            "must be at least 15s above", config->transaction_timeout);
    require(load, CONFIG_max_poll_interval, CONFIG_session_timeout,
            config->max_poll_interval >= config->session_timeout, "must be at least",
            config->session_timeout);
    require(load, CONFIG_commit_interval, CONFIG_transaction_timeout,
            config->commit_interval < config->transaction_timeout, "must be below",
            config->transaction_timeout);
    check_network(load);
}
