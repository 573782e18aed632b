/* engine/base/config.h - settings from defaults < YAML file < environment < flags.
 * config.def is the one table: it makes the struct, parsing, checks, `tally config docs` and the
 * "did you mean" of unknown names. A load reports every mistake at once, each as
 *   tally.yaml:4:32: state.memory: expected a size of at least 64M, got "12M"
 * `${VAR}` and `${VAR:default}` in file values come from the environment; NAME_FILE in the
 * environment names a file that holds the value (refused when others can read it). */
#pragma once
#include <stdbool.h>

#include "engine/base/bytes.h"

struct tally_config_list {
    char **items;
    size_t count;
};

#define TALLY_CONFIG_STRING   char *
#define TALLY_CONFIG_INT      int64_t
#define TALLY_CONFIG_BOOL     bool
#define TALLY_CONFIG_DURATION int64_t
#define TALLY_CONFIG_SIZE     int64_t
#define TALLY_CONFIG_LIST     struct tally_config_list

struct tally_config_origin; /* per option: where its value came from */
struct tally_config {
#define X(field, name, kind, default_, low, high, help) TALLY_CONFIG_##kind field;
#include "engine/base/config.def"
#undef X
    struct tally_config_origin *origins;
};

/* Removes --option value, --option=value, -c FILE and --config FILE and -X name=value
 * (kafka.properties) from argv (argc is lowered) and loads the settings. All mistakes go to
 * `mistakes`, one a line; then TALLY_CONFIG. Without -c, ./tally.yaml is read if it exists.
 * Arguments it does not know stay for the caller, and so does all from "--" on. A switch such as
 * --kafka.insecure may stand without "true". *config is to be deinitialised in any case.
 * @thread init */
TALLY_MUST_CHECK enum tally_code tally_config_load(struct tally_config *config, int *argc,
        char **argv, struct tally_buf *mistakes, struct tally_error *err);
void tally_config_deinit(struct tally_config *config);

/* `tally config show`: name, value, origin ("default", "tally.yaml:4", "TALLY_STATE_DIR",
 * "--state.dir"), secrets as "***"; `tally config docs`: docs/configuration.md from the table. */
void tally_config_show(const struct tally_config *config, struct tally_buf *out);
void tally_config_docs(struct tally_buf *out);
/* The name in `names` nearest to `name` (edit distance at most a third of its length), or NULL. */
const char *tally_config_nearest(const char *name, const char *const *names, size_t count);
