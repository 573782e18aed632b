/* engine/base/config_value.c - one value: its kind, its unit, its range, its place in the struct.
 * Invariants
 *  (1) An option changes only after every check of the new value has passed.
 *  (2) A message shows at most SHOWN_MAX bytes of a value, and nothing of a secret.
 * Durations need a unit, because a bare number of a time has been misread too often; sizes may be
 * bytes. Units are exact: no fractions, no lower-case sizes. */
#include <stdio.h>

#include "engine/base/config_internal.h"
#include "engine/base/mem.h"

#define SHOWN_MAX 60

static const struct unit {
    enum config_kind kind;
    const char *suffix;
    int64_t factor;
} units[] = {
        {CONFIG_KIND_DURATION, "d", 86400000},
        {CONFIG_KIND_DURATION, "h", 3600000},
        {CONFIG_KIND_DURATION, "m", 60000},
        {CONFIG_KIND_DURATION, "s", 1000},
        {CONFIG_KIND_DURATION, "ms", 1},
        {CONFIG_KIND_SIZE, "T", INT64_C(1) << 40},
        {CONFIG_KIND_SIZE, "G", INT64_C(1) << 30},
        {CONFIG_KIND_SIZE, "M", INT64_C(1) << 20},
        {CONFIG_KIND_SIZE, "K", INT64_C(1) << 10},
        {CONFIG_KIND_SIZE, "", 1},
};
#define UNITS (sizeof units / sizeof units[0])

static bool parse_number(enum config_kind kind, const char *text, int64_t *value)
{
    size_t digits = strspn(text, "0123456789");

    if (kind == CONFIG_KIND_INT) {
        return tally_parse_int(tally_slice_string(text), value);
    }
    if (strcmp(text, "0") == 0) {
        *value = 0; /* of whatever unit */
        return true;
    }
    for (size_t i = 0; i < UNITS; i++) {
        if (units[i].kind == kind && strcmp(units[i].suffix, text + digits) == 0) {
            if (!tally_parse_int(tally_slice_of(text, digits), value) ||
                    *value > INT64_MAX / units[i].factor) {
                return false;
            }
            *value *= units[i].factor;
            return true;
        }
    }
    return false;
}

void config_format_number(enum config_kind kind, int64_t value, char text[static 32])
{
    const struct unit *unit = NULL;

    for (size_t i = 0; i < UNITS; i++) {
        if (units[i].kind == kind && (!unit || unit->factor > value || value % unit->factor)) {
            unit = &units[i]; /* the largest that divides the value; the smallest divides all */
        }
    }
    (void)snprintf(text, 32, "%lld%s", (long long)(unit ? value / unit->factor : value),
            unit ? unit->suffix : "");
}

static const char *shown(enum config_index index, const char *text)
{
    return config_secret(index, text) ? "***" : text;
}

static void *field_of(struct config_load *load, enum config_index index)
{
    return (char *)load->config + config_options[index].at;
}

static void set_origin(struct config_load *load, enum config_index index,
        const struct config_place *place)
{
    struct tally_config_origin *origin = &load->config->origins[index];
    char *source = tally_copy_string(place->source); /* before the free: it may be the same text */

    tally_free(origin->source);
    origin->source = source;
    origin->line = place->line;
    origin->column = place->column;
}

const char *config_expected(enum config_kind kind)
{
    switch (kind) {
    case CONFIG_KIND_INT:
        return "an integer";
    case CONFIG_KIND_DURATION:
        return "a duration with a unit, such as 100ms, 5s, 10m, 2h or 7d";
    case CONFIG_KIND_SIZE:
        return "a size such as 64K, 512M or 2G";
    case CONFIG_KIND_BOOL:
        return "true or false";
    case CONFIG_KIND_LIST:
        return "a list";
    case CONFIG_KIND_STRING:
        break;
    }
    return "text";
}

static void set_number(struct config_load *load, enum config_index index,
        const struct config_place *place, const char *text)
{
    const struct config_option *option = &config_options[index];
    const char *noun = option->kind == CONFIG_KIND_INT    ? "an integer"
                       : option->kind == CONFIG_KIND_SIZE ? "a size"
                                                          : "a duration";
    int64_t value = 0;
    char limit[32];

    if (!parse_number(option->kind, text, &value)) {
        config_mistake_in(load, index, place, option->name, "expected %s, got \"%.*s\"",
                config_expected(option->kind), SHOWN_MAX, text);
    } else if (value < option->low || value > option->high) {
        config_format_number(option->kind, value < option->low ? option->low : option->high, limit);
        config_mistake_in(load, index, place, option->name, "expected %s of at %s %s, got \"%.*s\"",
                noun, value < option->low ? "least" : "most", limit, SHOWN_MAX, text);
    } else {
        *(int64_t *)field_of(load, index) = value;
        set_origin(load, index, place);
    }
}

static void set_bool(struct config_load *load, enum config_index index,
        const struct config_place *place, const char *text)
{
    bool is_true = strcmp(text, "true") == 0;

    if (!is_true && strcmp(text, "false") != 0) {
        config_mistake_in(load, index, place, config_options[index].name,
                "expected true or false, got \"%.*s\"", SHOWN_MAX, text);
        return;
    }
    *(bool *)field_of(load, index) = is_true;
    set_origin(load, index, place);
}

static bool printable(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            return false;
        }
    }
    return true;
}

/* Checks of a text or of one item of a list. */
static bool check_text(struct config_load *load, enum config_index index,
        const struct config_place *place, const char *label, const char *text)
{
    char why[CONFIG_WHY_MAX];

    if (!printable(text) || !tally_utf8_valid(tally_slice_string(text))) {
        config_mistake_in(load, index, place, label,
                "expected UTF-8 text without control characters");
        return false;
    }
    if (!config_check_value(index, text, why)) {
        config_mistake_in(load, index, place, label, "%s", why);
        return false;
    }
    return true;
}

static void set_string(struct config_load *load, enum config_index index,
        const struct config_place *place, const char *text)
{
    const struct config_option *option = &config_options[index];
    char **field = field_of(load, index);
    int64_t len = (int64_t)strlen(text);
    bool choice = config_choices(index) != NULL; /* says more than a length */

    if (!choice && (len < option->low || len > option->high)) {
        config_mistake_in(load, index, place, option->name,
                "expected text of at %s %lld byte%s, got \"%.*s\"",
                len < option->low ? "least" : "most",
                (long long)(len < option->low ? option->low : option->high),
                len < option->low && option->low == 1 ? "" : "s", SHOWN_MAX, shown(index, text));
        return;
    }
    if (!check_text(load, index, place, option->name, text)) {
        return;
    }
    tally_free(*field);
    *field = tally_copy_string(text);
    set_origin(load, index, place);
}

void config_set_text(struct config_load *load, enum config_index index,
        const struct config_place *place, const char *text)
{
    switch (config_options[index].kind) {
    case CONFIG_KIND_STRING:
        set_string(load, index, place, text);
        break;
    case CONFIG_KIND_BOOL:
        set_bool(load, index, place, text);
        break;
    case CONFIG_KIND_INT:
    case CONFIG_KIND_DURATION:
    case CONFIG_KIND_SIZE:
        set_number(load, index, place, text);
        break;
    case CONFIG_KIND_LIST:
        config_mistake_in(load, index, place, config_options[index].name,
                "expected a list, got \"%.*s\"", SHOWN_MAX, shown(index, text));
        break;
    }
}

void config_list_deinit(struct tally_config_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        tally_free(list->items[i]);
    }
    tally_free(list->items);
    *list = (struct tally_config_list){0};
}

static void push(struct tally_config_list *list, const char *item)
{
    list->items = tally_realloc(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] = tally_copy_string(item);
}

/* Items of kafka.properties are the same when their names are; others when they are equal. */
static size_t find_item(enum config_index index, const struct tally_config_list *list,
        const char *item)
{
    size_t len = index == CONFIG_kafka_properties ? strcspn(item, "=") + 1 : strlen(item) + 1;
    size_t i = 0;

    while (i < list->count && strncmp(list->items[i], item, len) != 0) {
        i++;
    }
    return i;
}

bool config_list_add(struct config_load *load, enum config_index index,
        const struct config_place *place, const char *label, const char *item,
        struct tally_config_list *list)
{
    int len = (int)strcspn(item, "=");

    if (!item[0]) {
        config_mistake_in(load, index, place, label, "expected text, got an empty item");
        return false;
    }
    if (!check_text(load, index, place, label, item)) {
        return false;
    }
    if (find_item(index, list, item) < list->count) {
        config_mistake_in(load, index, place, label, "\"%.*s\" is listed twice",
                len < SHOWN_MAX ? len : SHOWN_MAX, item);
        return false;
    }
    push(list, item);
    return true;
}

void config_set_list(struct config_load *load, enum config_index index,
        const struct config_place *place, struct tally_config_list *list)
{
    const struct config_option *option = &config_options[index];
    struct tally_config_list *field = field_of(load, index);
    int64_t count = (int64_t)list->count;

    if (count < option->low || count > option->high) {
        config_mistake_in(load, index, place, option->name,
                "expected a list of at %s %lld item%s, got %lld",
                count < option->low ? "least" : "most",
                (long long)(count < option->low ? option->low : option->high),
                count < option->low && option->low == 1 ? "" : "s", (long long)count);
        config_list_deinit(list);
        return;
    }
    config_list_deinit(field);
    *field = *list;
    *list = (struct tally_config_list){0};
    set_origin(load, index, place);
}

/* Blanks around an item belong to nobody. */
static char *copy_item(const char *from, size_t len)
{
    char *item;

    while (len && *from == ' ') {
        from++;
        len--;
    }
    while (len && from[len - 1] == ' ') {
        len--;
    }
    item = tally_alloc(len + 1);
    memcpy(item, from, len);
    item[len] = '\0';
    return item;
}

static void set_joined(struct config_load *load, enum config_index index,
        const struct config_place *place, const char *text)
{
    const char *name = config_options[index].name;
    struct tally_config_list list = {0};
    bool good = true;

    while (*text) {
        size_t len = strcspn(text, ",");
        char *item = copy_item(text, len);

        good = config_list_add(load, index, place, name, item, &list) && good;
        tally_free(item);
        text += len;
        if (*text == ',' && !*++text) {
            good = config_list_add(load, index, place, name, "", &list);
        }
    }
    if (good) {
        config_set_list(load, index, place, &list);
    }
    config_list_deinit(&list);
}

void config_set_plain(struct config_load *load, enum config_index index,
        const struct config_place *place, const char *text)
{
    if (config_options[index].kind == CONFIG_KIND_LIST) {
        set_joined(load, index, place, text);
    } else {
        config_set_text(load, index, place, text);
    }
}

/* "tally.yaml:3 and -X" */
static void add_origin(struct config_load *load, enum config_index index,
        const struct config_place *place)
{
    const struct tally_config_origin *before = &load->config->origins[index];
    struct config_place both = {0};
    char source[2 * CONFIG_NAME_MAX];

    if (strcmp(before->source, "default") == 0 || strcmp(before->source, place->source) == 0) {
        set_origin(load, index, place);
        return;
    }
    if (strstr(before->source, " and ")) {
        return;
    }
    if (before->line) {
        (void)snprintf(source, sizeof source, "%s:%zu and %s", before->source, before->line,
                place->source);
    } else {
        (void)snprintf(source, sizeof source, "%s and %s", before->source, place->source);
    }
    both.source = source;
    set_origin(load, index, &both);
}

/* A later -X of the same name replaces what the file or an earlier one says. */
void config_append(struct config_load *load, enum config_index index,
        const struct config_place *place, const char *item)
{
    const struct config_option *option = &config_options[index];
    struct tally_config_list *field = field_of(load, index);
    size_t at;

    if (!check_text(load, index, place, option->name, item)) {
        return;
    }
    at = find_item(index, field, item);
    if (at < field->count) {
        tally_free(field->items[at]);
        field->items[at] = tally_copy_string(item);
    } else if ((int64_t)field->count == option->high) {
        config_mistake_in(load, index, place, option->name, "expected at most %lld items",
                (long long)option->high);
        return;
    } else {
        push(field, item);
    }
    add_origin(load, index, place);
}
