/* engine/base/config_file.c - options from a YAML file, with the place of every mistake.
 * Invariants
 *  (1) One pass over libyaml's events reads the whole file; only what is not YAML at all ends it.
 *  (2) A name is the path of keys joined by dots, so `state: {dir: x}` and `state.dir: x` are the
 *      same option; an option stands once in a file.
 *  (3) Each read_ and skip_ function starts at its node's first event and ends at its last.
 * Left out: anchors and aliases, several documents, files over FILE_MAX_BYTES. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#include "engine/base/config_internal.h"
#include "engine/base/mem.h"

#define FILE_MAX_BYTES  ((size_t)1 << 20)
#define VALUE_MAX_BYTES ((size_t)1 << 16)
#define SECTIONS_MAX    64u

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* type YAML_NO_EVENT: none, or the file is broken */
    struct config_load *load;
    const char *path;
    struct tally_slice text;
    size_t first_line[CONFIG_OPTIONS]; /* where an option was set; 0: not yet */
};

static void find_offset(struct tally_slice text, size_t offset, struct config_place *place)
{
    place->line = place->column = 1;
    for (size_t i = 0; i < offset && i < text.len; i++) {
        place->column = text.data[i] == '\n' ? 1 : place->column + 1;
        place->line += text.data[i] == '\n';
    }
}

static void next(struct reader *reader)
{
    struct config_place place = {.source = reader->path};

    yaml_event_delete(&reader->event); /* leaves type YAML_NO_EVENT */
    if (yaml_parser_parse(&reader->parser, &reader->event)) {
        return;
    }
    reader->event.type = YAML_NO_EVENT;
    place.line = reader->parser.problem_mark.line + 1;
    place.column = reader->parser.problem_mark.column + 1;
    if (reader->parser.error == YAML_READER_ERROR) { /* bad UTF-8; it tells an offset only */
        find_offset(reader->text, reader->parser.problem_offset, &place);
    }
    config_mistake(reader->load, &place, NULL, "not valid YAML: %s",
            reader->parser.problem ? reader->parser.problem : "the parser stopped");
}

static struct config_place place_here(const struct reader *reader)
{
    return (struct config_place){.source = reader->path,
            .line = reader->event.start_mark.line + 1,
            .column = reader->event.start_mark.column + 1};
}

static void skip_node(struct reader *reader)
{
    size_t depth = 0;

    while (reader->event.type != YAML_NO_EVENT) {
        yaml_event_type_t type = reader->event.type;

        if (type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT) {
            depth++;
        } else if (type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT) {
            depth--;
        }
        if (depth == 0) {
            return;
        }
        next(reader);
    }
}

/* "a list": what stands where something else was expected. */
static const char *found(const struct reader *reader)
{
    switch (reader->event.type) {
    case YAML_MAPPING_START_EVENT:
        return "a map";
    case YAML_SEQUENCE_START_EVENT:
        return "a list";
    case YAML_ALIAS_EVENT:
        return "an alias, which is not supported";
    default:
        return "a value";
    }
}

static bool is_null(const struct reader *reader)
{
    const char *text = (const char *)reader->event.data.scalar.value;

    return reader->event.type == YAML_SCALAR_EVENT &&
           reader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!text[0] || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

/* Appends the value of "${NAME}" or "${NAME:default}" at *text and moves behind it. */
static bool expand_one(struct reader *reader, enum config_index index,
        const struct config_place *place, const char *label, const char **text,
        struct tally_buf *out)
{
    const char *start = *text + 2, *end = strchr(start, '}');
    size_t len = strspn(start, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    char name[CONFIG_NAME_MAX];
    const char *value;

    if (!end || len == 0 || len >= sizeof name || (start[len] != ':' && start[len] != '}')) {
        config_mistake_in(reader->load, index, place, label,
                "expected ${NAME} or ${NAME:default}; write $${ for a plain ${");
        return false;
    }
    memcpy(name, start, len);
    name[len] = '\0';
    value = getenv(name);
    if (value) {
        tally_buf_string(out, value);
    } else if (start[len] == ':') {
        tally_buf_append(out, start + len + 1, (size_t)(end - start) - len - 1);
    } else {
        config_mistake_in(reader->load, index, place, label,
                "variable %s is not set: set it or write ${%s:default}", name, name);
        return false;
    }
    *text = end + 1;
    return true;
}

/* The scalar at the current event with its variables replaced, NUL-terminated in `out`. */
static bool expand(struct reader *reader, enum config_index index, const struct config_place *place,
        const char *label, struct tally_buf *out)
{
    const char *text = (const char *)reader->event.data.scalar.value;
    size_t len = reader->event.data.scalar.length;

    if (strlen(text) != len) {
        config_mistake_in(reader->load, index, place, label, "expected text without NUL");
        return false;
    }
    while (*text) {
        if (strncmp(text, "$${", 3) == 0) {
            tally_buf_string(out, "${");
            text += 3;
        } else if (strncmp(text, "${", 2) == 0) {
            if (!expand_one(reader, index, place, label, &text, out)) {
                return false;
            }
        } else {
            tally_buf_byte(out, (uint8_t)*text++);
        }
    }
    tally_buf_byte(out, 0);
    if (out->failed) {
        config_mistake_in(reader->load, index, place, label, "expected text below 64K");
        return false;
    }
    return true;
}

static void read_scalar(struct reader *reader, enum config_index index)
{
    const struct config_option *option = &config_options[index];
    struct config_place place = place_here(reader);
    struct tally_buf text;

    tally_buf_init(&text, VALUE_MAX_BYTES);
    if (is_null(reader)) {
        config_mistake_in(reader->load, index, &place, option->name, "expected %s, got nothing%s",
                config_expected(option->kind),
                option->kind == CONFIG_KIND_STRING ? "; write \"\" for an empty text" : "");
    } else if (expand(reader, index, &place, option->name, &text)) {
        config_set_text(reader->load, index, &place, (const char *)text.data);
    }
    tally_buf_deinit(&text);
}

static bool read_item(struct reader *reader, enum config_index index, const char *label,
        struct tally_config_list *list)
{
    struct config_place place = place_here(reader);
    struct tally_buf text;
    bool good = false;

    tally_buf_init(&text, VALUE_MAX_BYTES);
    if (reader->event.type != YAML_SCALAR_EVENT) {
        config_mistake_in(reader->load, index, &place, label, "expected text, got %s",
                found(reader));
        skip_node(reader);
    } else if (is_null(reader)) {
        config_mistake_in(reader->load, index, &place, label, "expected text, got nothing");
    } else if (expand(reader, index, &place, label, &text)) {
        good = config_list_add(reader->load, index, &place, label, (const char *)text.data, list);
    }
    tally_buf_deinit(&text);
    return good;
}

static void read_list(struct reader *reader, enum config_index index)
{
    struct config_place place = place_here(reader);
    struct tally_config_list list = {0};
    char label[CONFIG_NAME_MAX];
    bool good = true;

    next(reader);
    for (size_t i = 0; reader->event.type != YAML_SEQUENCE_END_EVENT; i++) {
        if (reader->event.type == YAML_NO_EVENT) {
            good = false;
            break;
        }
        (void)snprintf(label, sizeof label, "%s[%zu]", config_options[index].name, i);
        good = read_item(reader, index, label, &list) && good;
        next(reader);
    }
    if (good) {
        config_set_list(reader->load, index, &place, &list);
    }
    config_list_deinit(&list);
}

static void read_option(struct reader *reader, enum config_index index,
        const struct config_place *key)
{
    const struct config_option *option = &config_options[index];
    struct config_place place = place_here(reader);
    bool list = option->kind == CONFIG_KIND_LIST;

    if (reader->first_line[index]) {
        config_mistake_in(reader->load, index, key, option->name, "set twice, first in line %zu",
                reader->first_line[index]);
        skip_node(reader);
        return;
    }
    reader->first_line[index] = key->line;
    if (reader->event.type == YAML_SCALAR_EVENT && (!list || !is_null(reader))) {
        read_scalar(reader, index);
    } else if (reader->event.type == YAML_SEQUENCE_START_EVENT && list) {
        read_list(reader, index);
    } else {
        config_mistake_in(reader->load, index, &place, option->name, "expected %s, got %s",
                config_expected(option->kind), is_null(reader) ? "nothing" : found(reader));
        skip_node(reader);
    }
}

/* All proper prefixes of option names that end at a dot: "kafka", "kafka.bootstrap", ... */
static size_t list_sections(char sections[SECTIONS_MAX][CONFIG_NAME_MAX])
{
    size_t count = 0;

    for (size_t index = 0; index < CONFIG_OPTIONS; index++) {
        const char *name = config_options[index].name;

        for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.')) {
            int len = (int)(dot - name);
            size_t i = 0;

            tally_assert(count < SECTIONS_MAX);
            (void)snprintf(sections[count], CONFIG_NAME_MAX, "%.*s", len, name);
            while (strcmp(sections[i], sections[count]) != 0) {
                i++;
            }
            count += i == count ? 1 : 0; /* else it is there already */
        }
    }
    return count;
}

static bool is_section(const char *name)
{
    size_t len = strlen(name);

    for (size_t index = 0; index < CONFIG_OPTIONS; index++) {
        const char *option = config_options[index].name;

        if (strncmp(option, name, len) == 0 && option[len] == '.') {
            return true;
        }
    }
    return false;
}

static void unknown_section(struct reader *reader, const struct config_place *key, const char *name)
{
    char sections[SECTIONS_MAX][CONFIG_NAME_MAX], hint[CONFIG_NAME_MAX];
    const char *names[SECTIONS_MAX];
    size_t count = list_sections(sections);

    for (size_t i = 0; i < count; i++) {
        names[i] = sections[i];
    }
    config_hint(name, names, count, hint);
    config_mistake(reader->load, key, name, "unknown section%s", hint);
    skip_node(reader);
}

static void unknown_option(struct reader *reader, const struct config_place *key, const char *name)
{
    char hint[CONFIG_NAME_MAX];
    const char *names[CONFIG_OPTIONS];

    for (size_t i = 0; i < CONFIG_OPTIONS; i++) {
        names[i] = config_options[i].name;
    }
    config_hint(name, names, CONFIG_OPTIONS, hint);
    config_mistake(reader->load, key, name, "unknown option%s", hint);
    skip_node(reader);
}

static void read_map(struct reader *reader, const char *prefix);

/* Recursion is bounded by the dots of the longest section, as unknown ones are skipped. */
static void read_value(struct reader *reader, const char *name, const struct config_place *key)
{
    enum config_index index = config_find(name);

    if (index < CONFIG_OPTIONS) {
        read_option(reader, index, key);
    } else if (is_section(name)) {
        struct config_place place = place_here(reader);

        if (reader->event.type == YAML_MAPPING_START_EVENT) {
            read_map(reader, name);
        } else if (!is_null(reader)) { /* a section whose lines are all comments is fine */
            config_mistake(reader->load, &place, name, "expected a map of options, got %s",
                    found(reader));
            skip_node(reader);
        }
    } else if (reader->event.type == YAML_MAPPING_START_EVENT) {
        unknown_section(reader, key, name);
    } else {
        unknown_option(reader, key, name);
    }
}

static void read_map(struct reader *reader, const char *prefix)
{
    next(reader);
    while (reader->event.type != YAML_MAPPING_END_EVENT && reader->event.type != YAML_NO_EVENT) {
        struct config_place key = place_here(reader);
        char name[CONFIG_NAME_MAX];

        if (reader->event.type == YAML_SCALAR_EVENT) {
            (void)snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] ? "." : "",
                    (const char *)reader->event.data.scalar.value);
            next(reader);
            if (reader->event.type != YAML_NO_EVENT) {
                read_value(reader, name, &key);
            }
        } else {
            config_mistake(reader->load, &key, NULL, "expected the name of an option, got %s",
                    found(reader));
            skip_node(reader);
            next(reader);
            skip_node(reader);
        }
        next(reader);
    }
}

static void read_document(struct reader *reader)
{
    struct config_place place;

    next(reader); /* the start of the stream */
    next(reader);
    if (reader->event.type != YAML_DOCUMENT_START_EVENT) {
        return; /* an empty file, or a broken one */
    }
    next(reader);
    place = place_here(reader);
    if (reader->event.type == YAML_MAPPING_START_EVENT) {
        read_map(reader, "");
    } else if (reader->event.type != YAML_NO_EVENT && !is_null(reader)) {
        config_mistake(reader->load, &place, NULL, "expected a map of options, got %s",
                found(reader));
        skip_node(reader);
    }
    next(reader); /* the end of the document */
    next(reader);
    if (reader->event.type == YAML_DOCUMENT_START_EVENT) {
        place = place_here(reader);
        config_mistake(reader->load, &place, NULL, "expected one document");
    }
}

static void read_text(struct config_load *load, const char *path, struct tally_slice text)
{
    struct reader reader = {.load = load, .path = path, .text = text};

    tally_assert(yaml_parser_initialize(&reader.parser));
    yaml_parser_set_input_string(&reader.parser, text.data, text.len);
    read_document(&reader);
    yaml_event_delete(&reader.event);
    yaml_parser_delete(&reader.parser);
}

void config_load_file(struct config_load *load, const char *path, bool must_exist)
{
    struct config_place place = {.source = path};
    FILE *file = fopen(path, "re");
    struct tally_buf text;
    size_t got = 1;

    if (!file) {
        if (must_exist || errno != ENOENT) {
            config_mistake(load, &place, NULL, "could not open the file: %s",
                    strerrordesc_np(errno));
        }
        return;
    }
    tally_buf_init(&text, FILE_MAX_BYTES);
    while (got) {
        uint8_t *to = tally_buf_reserve(&text, 4096);

        got = to ? fread(to, 1, 4096, file) : 0;
        text.len += got;
    }
    if (ferror(file)) {
        config_mistake(load, &place, NULL, "could not read the file");
    } else if (text.failed) {
        config_mistake(load, &place, NULL, "the file is larger than 1M");
    } else {
        read_text(load, path, tally_buf_bytes(&text));
    }
    (void)fclose(file);
    tally_buf_deinit(&text);
}
