/* engine/base/config.c - the option table, and loading it from all sources.
 * Invariants
 *  (1) Sources are read in rising order of precedence (default, file, environment, flags), and a
 *      value that a later source replaces is checked all the same.
 *  (2) A load goes on after a mistake; what was wrong keeps its earlier value.
 *  (3) The defaults of config.def pass their own checks; asserted at every load.
 *
 * Threads: loaded before others start, never changed after.
 * Left out: reloading. A changed setting takes a restart, which is the tested path. */
#include "engine/base/config.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#include "engine/base/config_internal.h"
#include "engine/base/mem.h"

#define DEFAULT_FILE     "tally.yaml"
#define NEAREST_NAME_MAX 64u

const struct config_option config_options[CONFIG_OPTIONS] = {
#define X(field, name, kind, default_, low, high, help) \
    {name, default_, help, CONFIG_KIND_##kind, offsetof(struct tally_config, field), low, high},
#include "engine/base/config.def"
#undef X
};

/* What argv holds, kept until the sources below it are read. index CONFIG_OPTIONS is -X. */
struct flag {
    enum config_index index;
    const char *value; /* NULL: missing */
};

struct flags {
    struct flag *items;
    size_t count;
    const char *file; /* of -c; NULL: none */
    const char *file_flag;
    bool file_missing, file_twice;
};

enum config_index config_find(const char *name)
{
    size_t index = 0;

    while (index < CONFIG_OPTIONS && strcmp(config_options[index].name, name) != 0) {
        index++;
    }
    return (enum config_index)index;
}

void config_env_name(enum config_index index, char name[static CONFIG_NAME_MAX])
{
    (void)snprintf(name, CONFIG_NAME_MAX, "TALLY_%s", config_options[index].name);
    for (char *at = name; *at; at++) {
        *at = *at == '.' || *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    }
}

/* A line of what outsiders wrote stays one line. */
static void add_line(struct config_load *load, const char *text)
{
    load->mistake_count++;
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;

        tally_buf_byte(load->mistakes, byte < 0x20 || byte == 0x7f ? '?' : byte);
    }
    tally_buf_byte(load->mistakes, '\n');
}

static void add_mistake(struct config_load *load, const struct config_place *place,
        const char *label, const char *format, va_list arguments)
{
    char text[400], line[900];

    (void)vsnprintf(text, sizeof text, format, arguments);
    if (place->line) {
        (void)snprintf(line, sizeof line, "%s:%zu:%zu: %s%s%s", place->source, place->line,
                place->column, label ? label : "", label ? ": " : "", text);
    } else {
        (void)snprintf(line, sizeof line, "%s: %s", place->source, text);
    }
    add_line(load, line);
}

void config_mistake(struct config_load *load, const struct config_place *place, const char *label,
        const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    add_mistake(load, place, label, format, arguments);
    va_end(arguments);
}

void config_mistake_in(struct config_load *load, enum config_index index,
        const struct config_place *place, const char *label, const char *format, ...)
{
    va_list arguments;

    load->config->origins[index].wrong = true;
    va_start(arguments, format);
    add_mistake(load, place, label, format, arguments);
    va_end(arguments);
}

/* Edit distance in which two swapped neighbours count as one edit. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][NEAREST_NAME_MAX + 1];
    size_t a_len = strlen(a), b_len = strlen(b);

    for (size_t j = 0; j <= b_len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);

            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                    two_above[j - 2] + 1 < best) {
                best = two_above[j - 2] + 1;
            }
            row[j] = best;
        }
    }
    return rows[a_len % 3][b_len];
}

const char *tally_config_nearest(const char *name, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    size_t len = strlen(name), closest = len / 3 + 1;

    if (len > NEAREST_NAME_MAX) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        size_t edits = strlen(names[i]) > NEAREST_NAME_MAX ? SIZE_MAX : distance(name, names[i]);

        if (edits < closest) {
            closest = edits;
            nearest = names[i];
        }
    }
    return nearest;
}

/* Also finds the option whose section was forgotten: "threads" is "engine.threads". */
void config_hint(const char *name, const char *const *names, size_t count,
        char hint[static CONFIG_NAME_MAX])
{
    const char *nearest = tally_config_nearest(name, names, count);
    size_t len = strlen(name);

    for (size_t i = 0; i < count && !nearest; i++) {
        size_t whole = strlen(names[i]);

        if (len > 2 && whole > len + 1 && names[i][whole - len - 1] == '.' &&
                strcmp(names[i] + whole - len, name) == 0) {
            nearest = names[i];
        }
    }
    hint[0] = '\0';
    if (nearest) {
        (void)snprintf(hint, CONFIG_NAME_MAX, ", did you mean \"%s\"?", nearest);
    }
}

static void set_defaults(struct config_load *load)
{
    static const struct config_place place = {.source = "default"};

    for (int index = 0; index < CONFIG_OPTIONS; index++) {
        const struct config_option *option = &config_options[index];

        config_set_plain(load, (enum config_index)index, &place, option->initial);
    }
    tally_assert(load->mistake_count == 0); /* (3) */
}

/* A switch takes the next argument only if that says true or false. */
static bool takes_next(enum config_index index, const char *next)
{
    if (index < CONFIG_OPTIONS && config_options[index].kind == CONFIG_KIND_BOOL) {
        return next && (strcmp(next, "true") == 0 || strcmp(next, "false") == 0);
    }
    return true;
}

/* Reads the argument at argv[at]; returns how many arguments it takes, 0 when it is not ours. */
static int take_file(struct flags *flags, char **argv, int at)
{
    const char *argument = argv[at], *value = argv[at + 1];
    int taken = 2;

    if (strncmp(argument, "--config=", 9) == 0) {
        value = argument + 9;
        taken = 1;
    } else if (strcmp(argument, "-c") != 0 && strcmp(argument, "--config") != 0) {
        return 0;
    }
    flags->file_twice = flags->file_flag != NULL;
    flags->file_flag = taken == 2 ? argument : "--config";
    flags->file = value;
    flags->file_missing = !value;
    return value ? taken : 1;
}

static int take_option(struct flags *flags, char **argv, int at)
{
    const char *argument = argv[at], *next = argv[at + 1];
    struct flag *flag = &flags->items[flags->count];
    char name[CONFIG_NAME_MAX];
    size_t len;

    if (strncmp(argument, "-X", 2) == 0) {
        flag->index = CONFIG_OPTIONS;
        flag->value = argument[2] ? argument + 2 : next;
        flags->count++;
        return argument[2] || !next ? 1 : 2;
    }
    len = strcspn(argument, "=");
    if (strncmp(argument, "--", 2) != 0 || len - 2 >= sizeof name) {
        return 0;
    }
    memcpy(name, argument + 2, len - 2);
    name[len - 2] = '\0';
    flag->index = config_find(name);
    if (flag->index == CONFIG_OPTIONS) {
        return 0;
    }
    flags->count++;
    if (argument[len]) {
        flag->value = argument + len + 1;
        return 1;
    }
    if (!takes_next(flag->index, next)) {
        flag->value = "true";
        return 1;
    }
    flag->value = next;
    return next ? 2 : 1;
}

static void take_flags(struct flags *flags, int *argc, char **argv)
{
    int kept = *argc > 0 ? 1 : 0;
    int at = kept;

    *flags = (struct flags){.items = tally_alloc_zero((size_t)*argc + 1, sizeof *flags->items)};
    while (at < *argc && strcmp(argv[at], "--") != 0) {
        int taken = take_file(flags, argv, at);

        taken = taken ? taken : take_option(flags, argv, at);
        if (!taken) {
            argv[kept++] = argv[at];
        }
        at += taken ? taken : 1;
    }
    while (at < *argc) {
        argv[kept++] = argv[at++];
    }
    argv[kept] = NULL;
    *argc = kept;
}

static void load_file(struct config_load *load, const struct flags *flags)
{
    struct config_place place = {.source = flags->file_flag};

    if (flags->file_missing) {
        config_mistake(load, &place, NULL, "expected the name of a file");
    } else if (flags->file_twice) {
        config_mistake(load, &place, NULL, "given twice; there is one configuration file");
    } else {
        config_load_file(load, flags->file ? flags->file : DEFAULT_FILE, flags->file != NULL);
    }
}

static void load_flags(struct config_load *load, const struct flags *flags)
{
    char source[CONFIG_NAME_MAX];
    struct config_place place = {.source = source};

    for (size_t i = 0; i < flags->count; i++) {
        const struct flag *flag = &flags->items[i];
        bool property = flag->index == CONFIG_OPTIONS;
        enum config_index index = property ? CONFIG_kafka_properties : flag->index;

        (void)snprintf(source, sizeof source, property ? "-X" : "--%s", config_options[index].name);
        if (!flag->value) {
            config_mistake_in(load, index, &place, NULL, "expected a value");
        } else if (property) {
            config_append(load, index, &place, flag->value);
        } else {
            config_set_plain(load, index, &place, flag->value);
        }
    }
}

enum tally_code tally_config_load(struct tally_config *config, int *argc, char **argv,
        struct tally_buf *mistakes, struct tally_error *err)
{
    struct config_load load = {.config = config, .mistakes = mistakes};
    struct flags flags;

    *config = (struct tally_config){
            .origins = tally_alloc_zero(CONFIG_OPTIONS, sizeof *config->origins)};
    set_defaults(&load);
    take_flags(&flags, argc, argv);
    load_file(&load, &flags);
    config_load_environment(&load);
    load_flags(&load, &flags);
    tally_free(flags.items);
    config_check_together(&load);
    if (load.mistake_count) {
        return tally_error_set(err, TALLY_CONFIG, "configuration has %zu mistake%s",
                load.mistake_count, load.mistake_count == 1 ? "" : "s");
    }
    return TALLY_OK;
}

void tally_config_deinit(struct tally_config *config)
{
    for (size_t index = 0; index < CONFIG_OPTIONS; index++) {
        char *field = (char *)config + config_options[index].at;

        if (config_options[index].kind == CONFIG_KIND_STRING) {
            tally_free(*(char **)field);
        } else if (config_options[index].kind == CONFIG_KIND_LIST) {
            config_list_deinit((struct tally_config_list *)field);
        }
        if (config->origins) {
            tally_free(config->origins[index].source);
        }
    }
    tally_free(config->origins);
    *config = (struct tally_config){0};
}
