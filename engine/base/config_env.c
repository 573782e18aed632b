/* engine/base/config_env.c - options from TALLY_ variables and from the files they name.
 * Invariants
 *  (1) A TALLY_ variable that is neither an option nor known otherwise is a mistake: a misspelt
 *      name must not silently leave the default in force.
 *  (2) A value from a NAME_FILE comes from a regular file that only its owner can open.
 * Left out: changing the environment; a secret in it stays visible to the process's owner. */
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/config_internal.h"
#include "engine/base/failpoint.h"
#include "engine/base/mem.h"

#define SECRET_MAX_BYTES 65536u
#define PREFIX           "TALLY_"
#define FILE_SUFFIX      "_FILE"

/* Variables of the command ./dev, of test builds and of the tests. */
static const char *const others[] = {"TALLY_CACHE", TALLY_FAIL_VARIABLE, "TALLY_VERBOSE"};
#define TESTS_PREFIX "TALLY_TEST_"
/* Kubernetes gives every pod the address of each service, so a service that is named tally or
 * tally-something makes such variables. */
static const char service_pattern[] =
        "^TALLY_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?"
        "|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$";

static char *read_open_file(struct config_load *load, enum config_index index,
        const struct config_place *place, const char *path, int fd)
{
    char *text = NULL;
    struct stat facts;
    size_t len = 0;
    ssize_t got = 1;

    if (fstat(fd, &facts) || !S_ISREG(facts.st_mode)) {
        config_mistake_in(load, index, place, NULL, "\"%.200s\" is not a file", path);
        return NULL;
    }
    if (facts.st_mode & 077) {
        config_mistake_in(load, index, place, NULL,
                "file \"%.200s\" is open to others (mode %04o): make it 0600 or 0400", path,
                (unsigned)facts.st_mode & 07777);
        return NULL;
    }
    text = tally_alloc(SECRET_MAX_BYTES + 1);
    while (got > 0 && len < SECRET_MAX_BYTES) {
        got = read(fd, text + len, SECRET_MAX_BYTES - len);
        len += got > 0 ? (size_t)got : 0;
    }
    text[len] = '\0';
    if (got < 0 || len == SECRET_MAX_BYTES || strlen(text) != len) {
        config_mistake_in(load, index, place, NULL, "file \"%.200s\" %s", path,
                got < 0                   ? "cannot be read"
                : len == SECRET_MAX_BYTES ? "is 64K or larger"
                                          : "holds a NUL");
        tally_free(text);
        return NULL;
    }
    if (len && text[len - 1] == '\n') { /* editors end a file with one */
        text[len - 1] = '\0';
    }
    return text;
}

static char *read_file(struct config_load *load, enum config_index index,
        const struct config_place *place, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not stop the start */
    char *text;

    if (fd < 0) {
        config_mistake_in(load, index, place, NULL, "could not open file \"%.200s\": %s", path,
                strerrordesc_np(errno));
        return NULL;
    }
    text = read_open_file(load, index, place, path, fd);
    (void)close(fd);
    return text;
}

static void load_variable(struct config_load *load, enum config_index index)
{
    char name[CONFIG_NAME_MAX], file_name[CONFIG_NAME_MAX + sizeof FILE_SUFFIX];
    struct config_place place = {.source = name}, file_place = {.source = file_name};
    const char *value, *path;
    char *text;

    config_env_name(index, name);
    (void)snprintf(file_name, sizeof file_name, "%s" FILE_SUFFIX, name);
    value = getenv(name);
    path = getenv(file_name);
    if (value && path) {
        config_mistake_in(load, index, &file_place, NULL, "%s is set too: keep one of them", name);
    } else if (value) {
        config_set_plain(load, index, &place, value);
    } else if (path) {
        text = read_file(load, index, &file_place, path);
        if (text) {
            config_set_plain(load, index, &file_place, text);
        }
        tally_free(text);
    }
}

static bool known(const char *name, const char *const *names)
{
    for (size_t i = 0; i < CONFIG_OPTIONS; i++) {
        size_t len = strlen(names[i]);

        if (strncmp(name, names[i], len) == 0 &&
                (!name[len] || strcmp(name + len, FILE_SUFFIX) == 0)) {
            return true;
        }
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strcmp(name, others[i]) == 0) {
            return true;
        }
    }
    return strncmp(name, TESTS_PREFIX, sizeof TESTS_PREFIX - 1) == 0;
}

static void report_unknown(struct config_load *load)
{
    char env_names[CONFIG_OPTIONS][CONFIG_NAME_MAX], name[CONFIG_NAME_MAX], hint[CONFIG_NAME_MAX];
    const char *names[CONFIG_OPTIONS];
    struct config_place place = {.source = name};
    regex_t service;

    tally_assert(regcomp(&service, service_pattern, REG_EXTENDED | REG_NOSUB) == 0);
    for (int index = 0; index < CONFIG_OPTIONS; index++) {
        config_env_name((enum config_index)index, env_names[index]);
        names[index] = env_names[index];
    }
    for (char **variable = environ; variable && *variable; variable++) { /* NULL: none at all */
        (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(*variable, "="), *variable);
        if (strncmp(name, PREFIX, sizeof PREFIX - 1) == 0 && !known(name, names) &&
                regexec(&service, name, 0, NULL, 0) != 0) {
            config_hint(name, names, CONFIG_OPTIONS, hint);
            config_mistake(load, &place, NULL, "unknown variable%s", hint);
        }
    }
    regfree(&service);
}

/* A plan that does nothing must not look like one that did. */
static void check_failpoints(struct config_load *load)
{
    const struct config_place place = {.source = TALLY_FAIL_VARIABLE};
    const char *plan = getenv(TALLY_FAIL_VARIABLE);

#if TALLY_HAS_FAILPOINTS
    struct tally_error err = {.code = TALLY_OK};

    if (tally_failpoint_check(plan, &err)) {
        config_mistake(load, &place, NULL, "%s", err.message);
    }
#else
    if (plan && plan[0]) {
        config_mistake(load, &place, NULL, "this build has no failpoints");
    }
#endif
}

void config_load_environment(struct config_load *load)
{
    for (int index = 0; index < CONFIG_OPTIONS; index++) {
        load_variable(load, (enum config_index)index);
    }
    report_unknown(load);
    check_failpoints(load);
}
