/* engine/base/config_internal.h - what the config_*.c files share: the option table, places for
 * messages, and setting one value. A value goes file or variable or flag -> config_value.c (kind
 * and range) -> config_check.c (what the option means) -> struct tally_config. */
#pragma once
#include "engine/base/config.h"

enum config_kind {
    CONFIG_KIND_STRING,
    CONFIG_KIND_INT,
    CONFIG_KIND_BOOL,
    CONFIG_KIND_DURATION,
    CONFIG_KIND_SIZE,
    CONFIG_KIND_LIST
};

enum config_index {
#define X(field, name, kind, default_, low, high, help) CONFIG_##field,
#include "engine/base/config.def"
#undef X
    CONFIG_OPTIONS
};

struct config_option {
    const char *name, *initial, *help;
    enum config_kind kind;
    size_t at; /* of the field in struct tally_config */
    int64_t low, high;
};
extern const struct config_option config_options[CONFIG_OPTIONS];

/* Where a value stands: "tally.yaml" with line and column from 1, or "TALLY_STATE_DIR",
 * "--state.dir", "default" with 0. */
struct config_place {
    const char *source;
    size_t line, column;
};

struct tally_config_origin {
    char *source;
    size_t line, column;
    bool wrong; /* some source has a mistake in this option: no cross checks with it */
};

struct config_load {
    struct tally_config *config;
    struct tally_buf *mistakes;
    size_t mistake_count;
};

#define CONFIG_NAME_MAX 128u
#define CONFIG_WHY_MAX  200u

/* config.c */
enum config_index config_find(const char *name); /* CONFIG_OPTIONS: no such option */
void config_env_name(enum config_index index, char name[static CONFIG_NAME_MAX]);
/* Adds "<place>: <label>: <text>" as one line; the label only where the place does not name it. */
void config_mistake(struct config_load *load, const struct config_place *place, const char *label,
        const char *format, ...) TALLY_PRINTF(4, 5);
/* As config_mistake, and marks the option. */
void config_mistake_in(struct config_load *load, enum config_index index,
        const struct config_place *place, const char *label, const char *format, ...)
        TALLY_PRINTF(5, 6);
/* ", did you mean ...?" for an unknown name, or "". */
void config_hint(const char *name, const char *const *names, size_t count,
        char hint[static CONFIG_NAME_MAX]);

/* config_value.c: on a mistake it is reported and the option keeps its value. */
void config_set_text(struct config_load *load, enum config_index index,
        const struct config_place *place, const char *text);
/* One item behind those that are there already. label is "kafka.properties[0]" or the name. */
bool config_list_add(struct config_load *load, enum config_index index,
        const struct config_place *place, const char *label, const char *item,
        struct tally_config_list *list);
/* Takes the list over, or frees it when its count is out of range. */
void config_set_list(struct config_load *load, enum config_index index,
        const struct config_place *place, struct tally_config_list *list);
/* As config_set_text, where a list is items joined by commas: a default, a variable, a flag. */
void config_set_plain(struct config_load *load, enum config_index index,
        const struct config_place *place, const char *text);
/* One -X. */
void config_append(struct config_load *load, enum config_index index,
        const struct config_place *place, const char *item);
const char *config_expected(enum config_kind kind); /* "a size such as 64K, 512M or 2G" */
void config_list_deinit(struct tally_config_list *list);
void config_format_number(enum config_kind kind, int64_t value, char text[static 32]);

/* config_check.c: false, and the reason in `why`. */
bool config_check_value(enum config_index index, const char *text, char why[static CONFIG_WHY_MAX]);
void config_check_together(struct config_load *load);
const char *config_choices(enum config_index index); /* "a, b", or NULL when any text is fine */
bool config_secret(enum config_index index, const char *text); /* text may be NULL: any value */
/* The n-th librdkafka property that kafka.properties refuses, with the reason; false: no more. */
bool config_refused_property(size_t n, const char **name, const char **why);

/* config_file.c, config_env.c */
void config_load_file(struct config_load *load, const char *path, bool must_exist);
void config_load_environment(struct config_load *load);

/* --- config_url.c: false: why not --- */

bool config_url_postgres(const char *text, char why[static CONFIG_WHY_MAX]);
bool config_url_redis(const char *text, char why[static CONFIG_WHY_MAX]);
