/* apps/cli.c - option tables over getopt_long, help texts, settings of a verb.
 *  (1) Every setting of config.def is a long option of every verb; a verb's own letters win over
 *      -c FILE (as in `tail -c 5`), where --config FILE still works.
 *  (2) Nothing is read from files or the network before the whole command line is understood. */
#include "apps/cli.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/failpoint.h"
#include "engine/base/mem.h"

#define OPTION_MAX   128
#define MISTAKES_MAX (64 * 1024)
enum { CODE_HELP = 1000, CODE_CONFIG, CODE_PROPERTY, CODE_SETTING, CODE_OWN = 2000 };

#define KIND_STRING   false
#define KIND_INT      false
#define KIND_BOOL     true
#define KIND_DURATION false
#define KIND_SIZE     false
#define KIND_LIST     false
static const struct {
    const char *name;
    bool is_switch; /* may stand without a value */
} settings[] = {
#define X(field, name, kind, default_, low, high, help) {name, KIND_##kind},
#include "engine/base/config.def"
#undef X
};
#define SETTING_COUNT (sizeof settings / sizeof settings[0])

struct parse {
    struct cli *cli;
    struct option longs[OPTION_MAX + 1];
    char letters[2 * OPTION_MAX];
    size_t count;
    struct tally_arena arena; /* of the settings' texts */
    char **settings;          /* --name=value for tally_config_load, made as they come */
    int setting_count;
};

static volatile sig_atomic_t interrupted;
static cli_describe_fn describe_with;
static void *describe_context;

void cli_describe_with(cli_describe_fn describe, void *context)
{
    describe_with = describe;
    describe_context = context;
}

const char *cli_setting(size_t index, bool *is_switch)
{
    *is_switch = index < SETTING_COUNT && settings[index].is_switch;
    return index < SETTING_COUNT ? settings[index].name : NULL;
}

static void say(const struct cli *cli, const char *format, va_list args) TALLY_PRINTF(2, 0);
static void say(const struct cli *cli, const char *format, va_list args)
{
    fflush(stdout);
    fprintf(stderr, "tally %s: ", cli->verb);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

int cli_failed(const struct cli *cli, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(cli, format, args);
    va_end(args);
    return CLI_FAILED;
}

int cli_usage(const struct cli *cli, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(cli, format, args);
    va_end(args);
    fprintf(stderr, "usage: tally %s\ntry \"tally %s --help\"\n", cli->usage, cli->verb);
    return CLI_USAGE;
}

int cli_error(const struct cli *cli, const struct tally_error *err)
{
    return cli_failed(cli, "%s: %s", tally_code_name(err->code), err->message);
}

bool cli_write(const struct cli *cli, struct tally_slice bytes)
{
    if (bytes.len == 0 || fwrite(bytes.data, bytes.len, 1, stdout) == 1) {
        return true;
    }
    if (errno != EPIPE) {
        cli_failed(cli, "could not write to standard output: %m");
    }
    return false;
}

int cli_finish(const struct cli *cli, int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return status;
    }
    return status ? status : cli_failed(cli, "could not write to standard output: %m");
}

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

void cli_catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool cli_interrupted(void)
{
    return interrupted != 0;
}

static size_t own_options(const struct cli *cli)
{
    size_t count = 0;

    while (cli->options && cli->options[count].kind != CLI_END) {
        count++;
    }
    return count;
}

static void print_help(const struct cli *cli)
{
    printf("usage: tally %s\n\n%s\n", cli->usage, cli->about);
    if (own_options(cli) > 0) {
        printf("\noptions\n");
    }
    for (size_t i = 0; i < own_options(cli); i++) {
        const struct cli_option *option = &cli->options[i];
        char letter[] = {option->letter ? '-' : ' ', option->letter ? option->letter : ' ', '\0'};
        char name[64];

        snprintf(name, sizeof name, "--%s%s%s", option->name, option->value ? " " : "",
                option->value ? option->value : "");
        printf("  %s%c %-24s %s\n", letter, option->letter ? ',' : ' ', name, option->help);
    }
    if (!cli->no_settings) {
        printf("\nEvery setting is an option too, as in --%s VALUE; \"tally config docs\" lists "
               "them.\n"
               "Settings are also read from --config FILE (default: ./tally.yaml, if it exists) "
               "and from\n"
               "TALLY_... in the environment. -X NAME=VALUE passes a property to librdkafka.\n",
                settings[0].name);
    }
    printf("\nexamples\n%s", cli->examples);
}

static void add_long(struct parse *parse, const char *name, int has_arg, int code)
{
    for (size_t i = 0; i < parse->count; i++) {
        if (strcmp(parse->longs[i].name, name) == 0) {
            return; /* the verb's own comes first */
        }
    }
    tally_assert(parse->count < OPTION_MAX);
    parse->longs[parse->count++] = (struct option){.name = name, .has_arg = has_arg, .val = code};
}

static void add_letter(struct parse *parse, char letter, bool has_value)
{
    size_t len = strlen(parse->letters);

    if (letter && !strchr(parse->letters, letter)) {
        tally_assert(len + 3 < sizeof parse->letters);
        parse->letters[len++] = letter;
        parse->letters[len++] = has_value ? ':' : '\0';
        parse->letters[len] = '\0';
    }
}

static void build_tables(struct parse *parse)
{
    const struct cli *cli = parse->cli;

    parse->letters[0] = ':'; /* tell a missing argument from an unknown option */
    for (size_t i = 0; i < own_options(cli); i++) {
        bool has_value = cli->options[i].kind != CLI_FLAG;

        add_long(parse, cli->options[i].name, has_value ? required_argument : no_argument,
                CODE_OWN + (int)i);
        add_letter(parse, cli->options[i].letter, has_value);
    }
    add_long(parse, "help", no_argument, CODE_HELP);
    add_letter(parse, 'h', false);
    if (cli->no_settings) {
        return;
    }
    add_long(parse, "config", required_argument, CODE_CONFIG);
    add_letter(parse, 'c', true);
    add_letter(parse, 'X', true);
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        add_long(parse, settings[i].name,
                settings[i].is_switch ? optional_argument : required_argument, CODE_SETTING);
    }
}

/* Keeps name and value as one argument, or name alone when there is no value. */
static void keep_setting(struct parse *parse, const char *dashes, const char *name,
        const char *value)
{
    size_t size = strlen(dashes) + strlen(name) + (value ? strlen(value) + 1 : 0) + 1;
    char *argument = tally_arena_alloc(&parse->arena, size);

    snprintf(argument, size, "%s%s%s%s", dashes, name, value ? "=" : "", value ? value : "");
    parse->settings =
            tally_realloc(parse->settings, sizeof(char *) * ((size_t)parse->setting_count + 2));
    parse->settings[parse->setting_count++] = argument;
    parse->settings[parse->setting_count] = NULL;
}

static int store_int(const struct cli *cli, const struct cli_option *option, const char *text)
{
    int64_t value;

    if (!tally_parse_int(tally_slice_string(text), &value) || value < option->low ||
            value > option->high) {
        return cli_usage(cli, "--%s: expected a number from %lld to %lld, got \"%s\"", option->name,
                (long long)option->low, (long long)option->high, text);
    }
    *(int64_t *)option->target = value;
    return CLI_CONTINUE;
}

static int store_choice(const struct cli *cli, const struct cli_option *option, const char *text)
{
    char names[128] = "";
    size_t len = 0;

    for (int i = 0; option->choices[i]; i++) {
        if (strcmp(option->choices[i], text) == 0) {
            *(int *)option->target = i;
            return CLI_CONTINUE;
        }
        if (len < sizeof names) {
            len += (size_t)snprintf(names + len, sizeof names - len, "%s%s", i ? ", " : "",
                    option->choices[i]);
        }
    }
    return cli_usage(cli, "--%s: expected one of %s, got \"%s\"", option->name, names, text);
}

static int store_item(const struct cli *cli, const struct cli_option *option, const char *text)
{
    struct cli_list *list = option->target;

    if (list->count == CLI_LIST_MAX) {
        return cli_usage(cli, "--%s: at most %d times", option->name, CLI_LIST_MAX);
    }
    list->items[list->count++] = text;
    return CLI_CONTINUE;
}

static int store_option(struct parse *parse, const struct cli_option *option, char *text)
{
    switch (option->kind) {
    case CLI_FLAG:
        *(bool *)option->target = true;
        break;
    case CLI_TEXT:
        *(const char **)option->target = text;
        break;
    case CLI_LIST:
        return store_item(parse->cli, option, text);
    case CLI_INT:
        return store_int(parse->cli, option, text);
    case CLI_CHOICE:
        return store_choice(parse->cli, option, text);
    case CLI_SETTING:
        keep_setting(parse, "--", option->setting, text);
        break;
    case CLI_END:
        break;
    }
    return CLI_CONTINUE;
}

static const struct cli_option *option_of_code(const struct cli *cli, int code)
{
    if (code >= CODE_OWN) {
        return &cli->options[code - CODE_OWN];
    }
    for (size_t i = 0; i < own_options(cli); i++) {
        if (cli->options[i].letter == code) {
            return &cli->options[i];
        }
    }
    return NULL;
}

static int unknown_option(const struct parse *parse, const char *argument, char letter)
{
    const char *names[OPTION_MAX];
    const char *nearest;
    char name[96];

    if (argument[0] != '-' || argument[1] != '-') {
        return cli_usage(parse->cli, "unknown option \"-%c\"", letter);
    }
    snprintf(name, sizeof name, "%.*s", (int)strcspn(argument + 2, "="), argument + 2);
    for (size_t i = 0; i < parse->count; i++) {
        names[i] = parse->longs[i].name;
    }
    nearest = tally_config_nearest(name, names, parse->count);
    if (nearest) {
        return cli_usage(parse->cli, "unknown option \"--%s\", did you mean \"--%s\"?", name,
                nearest);
    }
    return cli_usage(parse->cli, "unknown option \"--%s\"", name);
}

/* getopt_long leaves "--kafka.insecure false" apart, because the value may be missing. */
static void take_switch(struct parse *parse, const char *name, int argc, char **argv)
{
    const char *value = optarg;

    if (!value && optind < argc &&
            (strcmp(argv[optind], "true") == 0 || strcmp(argv[optind], "false") == 0)) {
        value = argv[optind++];
    }
    keep_setting(parse, "--", name, value ? value : "true");
}

/* One option that getopt_long found; `at` is the argument that it came from. */
static int take_option(struct parse *parse, int code, int long_index, int argc, char **argv)
{
    const char *at = argv[optind - 1];
    const struct cli_option *own = option_of_code(parse->cli, code);

    if (code == '?') {
        return unknown_option(parse, at, (char)optopt);
    }
    if (code == ':') {
        return cli_usage(parse->cli, "option \"%s\" needs a value", at);
    }
    if (own) {
        return store_option(parse, own, optarg);
    }
    switch (code) {
    case CODE_HELP:
    case 'h':
        if (describe_with) {
            describe_with(describe_context, parse->cli);
            return CLI_OK;
        }
        print_help(parse->cli);
        return cli_finish(parse->cli, CLI_OK);
    case CODE_CONFIG:
    case 'c':
        keep_setting(parse, "--", "config", optarg);
        return CLI_CONTINUE;
    case 'X':
        keep_setting(parse, "-X", "", NULL);
        keep_setting(parse, optarg, "", NULL);
        return CLI_CONTINUE;
    default:
        if (parse->longs[long_index].has_arg == optional_argument) {
            take_switch(parse, parse->longs[long_index].name, argc, argv);
        } else {
            keep_setting(parse, "--", parse->longs[long_index].name, optarg);
        }
        return CLI_CONTINUE;
    }
}

static int load_settings(struct parse *parse)
{
    struct cli *cli = parse->cli;
    struct tally_error err;
    int argc = parse->setting_count;
    enum tally_code code;

    if (cli->no_settings) {
        return CLI_CONTINUE;
    }
    tally_buf_init(&cli->mistakes, MISTAKES_MAX);
    code = tally_config_load(&cli->config, &argc, parse->settings, &cli->mistakes, &err);
    cli->config_loaded = true;
#if TALLY_HAS_FAILPOINTS
    if (code == TALLY_OK) {
        code = tally_failpoint_arm(getenv(TALLY_FAIL_VARIABLE), &err);
    }
#endif
    if (code == TALLY_OK || cli->keep_mistakes) {
        return CLI_CONTINUE;
    }
    if (cli->mistakes.len > 0) {
        fwrite(cli->mistakes.data, cli->mistakes.len, 1, stderr);
        return cli_failed(cli, "the settings are wrong: see the lines above");
    }
    return cli_error(cli, &err);
}

int cli_begin(struct cli *cli, int argc, char **argv)
{
    struct parse parse = {.cli = cli};
    int status = CLI_CONTINUE;
    int code, long_index = 0;

    build_tables(&parse);
    tally_arena_init(&parse.arena, 4096);
    keep_setting(&parse, "tally", "", NULL);
    opterr = 0;
    optind = 1;
    while (status == CLI_CONTINUE) {
        code = getopt_long(argc, argv, parse.letters, parse.longs, &long_index);
        if (code == -1) {
            break;
        }
        status = take_option(&parse, code, long_index, argc, argv);
    }
    cli->args = argv + optind;
    cli->arg_count = argc - optind;
    if (status == CLI_CONTINUE && cli->arg_count < cli->args_min) {
        status = cli_usage(cli, "an argument is missing");
    } else if (status == CLI_CONTINUE && cli->arg_count > cli->args_max) {
        status = cli_usage(cli, "unexpected argument \"%s\"", cli->args[cli->args_max]);
    }
    if (status == CLI_CONTINUE) {
        status = load_settings(&parse);
    }
    tally_free(parse.settings);
    tally_arena_deinit(&parse.arena);
    return status;
}

void cli_end(struct cli *cli)
{
    if (cli->config_loaded) {
        tally_config_deinit(&cli->config);
        tally_buf_deinit(&cli->mistakes);
    }
}

/* --- JSON ------------------------------------------------------------------------------------- */

void cli_write_number(struct tally_writer *writer, const char *name, int64_t number)
{
    tally_write_name(writer, name);
    if (number >= 0) {
        tally_write_int(writer, number);
    } else {
        tally_write_null(writer);
    }
}

void cli_write_text(struct tally_writer *writer, const char *name, const char *text)
{
    tally_write_name(writer, name);
    if (text && text[0]) {
        tally_write_string(writer, tally_slice_string(text));
    } else {
        tally_write_null(writer);
    }
}
