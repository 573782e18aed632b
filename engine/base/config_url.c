/* engine/base/config_url.c - whether postgres.url and redis.url can be what they say. A text that
 * may hold a password is never repeated. */
#include <stdio.h>
#include <string.h>

#include "engine/base/config_internal.h"

static bool say(char why[static CONFIG_WHY_MAX], const char *text)
{
    (void)snprintf(why, CONFIG_WHY_MAX, "%s", text);
    return false;
}

/* host=127.0.0.1 dbname=tally; libpq knows the names. */
static bool check_keywords(const char *text, char why[static CONFIG_WHY_MAX])
{
    for (const char *at = text + strspn(text, " "); *at; at += strspn(at, " ")) {
        size_t name = strcspn(at, "= ");

        if (at[name] != '=' || name == 0) {
            return say(why, "expected postgresql://user@host:port/database, or keywords such as "
                            "host=127.0.0.1 dbname=tally");
        }
        if (name == 8 && strncmp(at, "password", 8) == 0) {
            return say(why, "a password does not belong here: set postgres.password");
        }
        at += name + 1;
        if (*at == '\'') {
            for (at++; *at && *at != '\''; at++) {
                at += *at == '\\' && at[1];
            }
            at += *at == '\'';
        } else {
            at += strcspn(at, " ");
        }
    }
    return true;
}

bool config_url_postgres(const char *text, char why[static CONFIG_WHY_MAX])
{
    const char *rest = NULL;
    size_t authority, user;

    if (*text == '\0') {
        return true; /* no Postgres */
    }
    if (strncmp(text, "postgresql://", 13) == 0) {
        rest = text + 13;
    } else if (strncmp(text, "postgres://", 11) == 0) {
        rest = text + 11;
    } else {
        return check_keywords(text, why);
    }
    authority = strcspn(rest, "/?");
    user = strcspn(rest, "@/?");
    if (rest[user] == '@' && memchr(rest, ':', user)) {
        return say(why, "a password does not belong here: set postgres.password");
    }
    if (strstr(rest + authority, "password=")) {
        return say(why, "a password does not belong here: set postgres.password");
    }
    if (strpbrk(rest, " \"<>") || rest[authority] != '/' || !rest[authority + 1] ||
            rest[authority + 1] == '?') {
        return say(why, "expected postgresql://user@host:port/database");
    }
    return true;
}

bool config_url_redis(const char *text, char why[static CONFIG_WHY_MAX])
{
    const char *rest = text + 8, *colon, *slash, *at;
    int64_t port = 0, database = 0;

    if (*text == '\0') {
        return true; /* no Redis */
    }
    if (strncmp(text, "rediss://", 9) == 0) {
        return say(why, "TLS to Redis is not spoken: run stunnel beside tally, and name it as "
                        "redis://127.0.0.1:PORT");
    }
    if (strncmp(text, "redis://", 8) != 0) {
        return say(why, "expected redis://[user@]host[:port][/database]");
    }
    at = strchr(rest, '@');
    if (at && memchr(rest, ':', (size_t)(at - rest))) {
        return say(why, "a password does not belong here: set redis.password");
    }
    rest = at ? at + 1 : rest;
    slash = strchr(rest, '/');
    slash = slash ? slash : rest + strlen(rest);
    colon = memrchr(rest, ':', (size_t)(slash - rest));
    if (slash == rest || colon == rest || strpbrk(rest, " \"?") || (at && at == text + 8) ||
            (colon && (!tally_parse_int(tally_slice_of(colon + 1, (size_t)(slash - colon - 1)),
                               &port) ||
                              port < 1 || port > 65535))) {
        return say(why, "expected redis://[user@]host[:port][/database]");
    }
    if (*slash && slash[1] &&
            (!tally_parse_int(tally_slice_string(slash + 1), &database) || database < 0)) {
        return say(why, "expected a number behind the last '/', the database");
    }
    return true;
}
