/* apps/cli.h - what every verb shares: exit codes, the option table, settings, interruption.
 * A verb describes its options in one table and calls cli_begin, which parses, answers --help,
 * loads the settings and leaves the positional arguments. Data goes to stdout, all else to stderr.
 * @thread main */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/config.h"
#include "schemas/serde.h"

enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_PARTIAL = 3, CLI_INTERRUPTED = 130 };
#define CLI_CONTINUE (-1) /* of cli_begin: go on */

enum cli_kind {
    CLI_END,
    CLI_FLAG,   /* bool * */
    CLI_TEXT,   /* const char **; borrows from argv */
    CLI_LIST,   /* struct cli_list *: may be given several times */
    CLI_INT,    /* int64_t *; low..high */
    CLI_CHOICE, /* int *: index in choices */
    CLI_SETTING /* another spelling of the setting `setting` */
};

#define CLI_LIST_MAX 16
struct cli_list {
    const char *items[CLI_LIST_MAX];
    size_t count;
};

struct cli_option {
    char letter; /* 0: none */
    const char *name;
    enum cli_kind kind;
    void *target;
    const char *value; /* what the help calls the argument */
    const char *help;
    const char *const *choices; /* ends with NULL */
    int64_t low, high;
    const char *setting;
};

/* Rows of an option table. */
#define CLI_OPT_FLAG(l, n, t, h)                                                 \
    {                                                                            \
        .letter = (l), .name = (n), .kind = CLI_FLAG, .target = (t), .help = (h) \
    }
#define CLI_OPT_TEXT(l, n, t, v, h)                                                            \
    {                                                                                          \
        .letter = (l), .name = (n), .kind = CLI_TEXT, .target = (t), .value = (v), .help = (h) \
    }
#define CLI_OPT_LIST(l, n, t, v, h)                                                            \
    {                                                                                          \
        .letter = (l), .name = (n), .kind = CLI_LIST, .target = (t), .value = (v), .help = (h) \
    }
#define CLI_OPT_INT(l, n, t, lo, hi, v, h)                                                     \
    {                                                                                          \
        .letter = (l), .name = (n), .kind = CLI_INT, .target = (t), .value = (v), .help = (h), \
        .low = (lo), .high = (hi)                                                              \
    }
#define CLI_OPT_CHOICE(l, n, t, c, v, h)                                                          \
    {                                                                                             \
        .letter = (l), .name = (n), .kind = CLI_CHOICE, .target = (t), .value = (v), .help = (h), \
        .choices = (c)                                                                            \
    }
#define CLI_OPT_SETTING(l, n, s, v, h)                                                             \
    {                                                                                              \
        .letter = (l), .name = (n), .kind = CLI_SETTING, .value = (v), .help = (h), .setting = (s) \
    }
#define CLI_OPT_BROKERS \
    CLI_OPT_SETTING('b', "brokers", "kafka.bootstrap.servers", "LIST", "brokers to start from")
#define CLI_OPT_TOKEN                                  \
    CLI_OPT_SETTING(0, "token", "http.token", "TOKEN", \
            "token or key for the instance; better TALLY_HTTP_TOKEN or TALLY_HTTP_TOKEN_FILE")
#define CLI_OPT_END     \
    {                   \
        .kind = CLI_END \
    }

struct cli {
    const char *verb;
    const char *usage; /* behind "tally ", one line */
    const char *about; /* sentences for the help */
    const char *examples;
    const struct cli_option *options; /* ends with CLI_END; NULL: none */
    int args_min, args_max;
    bool no_settings;   /* do not load settings */
    bool keep_mistakes; /* `config check` wants to report them itself */
    /* filled by cli_begin */
    struct tally_config config;
    bool config_loaded;
    struct tally_buf mistakes; /* of the settings, one a line; only with keep_mistakes */
    char **args;
    int arg_count;
};

/* Who is given a verb's description instead of --help printing it, for other forms of the same
 * text; NULL: nobody. Lasts until the next call. */
typedef void (*cli_describe_fn)(void *context, const struct cli *cli);
void cli_describe_with(cli_describe_fn describe, void *context);
/* Names of the settings, which are options of every verb but those with no_settings; NULL: no more.
 * is_switch: it may stand without a value. */
const char *cli_setting(size_t index, bool *is_switch);

/* CLI_CONTINUE, or the exit status: help was printed, the usage or the settings are wrong. Call
 * cli_end in every case. argv[0] is the verb. */
TALLY_MUST_CHECK int cli_begin(struct cli *cli, int argc, char **argv);
void cli_end(struct cli *cli);

/* "tally <verb>: <message>" on stderr; returns CLI_FAILED, CLI_USAGE. */
int cli_failed(const struct cli *cli, const char *format, ...) TALLY_PRINTF(2, 3);
int cli_usage(const struct cli *cli, const char *format, ...) TALLY_PRINTF(2, 3);
int cli_error(const struct cli *cli, const struct tally_error *err); /* CLI_FAILED */
/* Writes to stdout; false: it is closed or full, already reported. */
bool cli_write(const struct cli *cli, struct tally_slice bytes);
/* Flushes stdout; `status`, or CLI_FAILED when the output could not be written. */
int cli_finish(const struct cli *cli, int status);

/* From now on SIGINT and SIGTERM only set a mark, which loops ask for. */
void cli_catch_interrupts(void);
bool cli_interrupted(void);

/* Members of what is printed with -o json: null for a number below 0, and for no text or an empty
 * one. */
void cli_write_number(struct tally_writer *writer, const char *name, int64_t number);
void cli_write_text(struct tally_writer *writer, const char *name, const char *text);
