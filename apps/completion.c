/* apps/completion.c - see the header. All three know verbs, actions of verbs, stores, options with
 * their choices, and settings; whatever else an argument may be is a file. */
#include "apps/completion.h"

#include "state/key_schema.h"

const char *const completion_shells[] = {"bash", "zsh", "fish", NULL};

#define ACTIONS_MAX 32
struct action {
    const char *name;
    int len;
};

/* Names of stores, each once: several topologies may have one of a name. */
static size_t stores(struct action *actions)
{
    size_t count = 0;

    for (int id = 0; id < TALLY_STORES; id++) {
        const char *name = tally_store_name((enum tally_store_id)id);
        bool known = false;

        for (size_t i = 0; i < count; i++) {
            known = known || strcmp(actions[i].name, name) == 0;
        }
        if (!known) {
            tally_assert(count < ACTIONS_MAX);
            actions[count++] = (struct action){name, (int)strlen(name)};
        }
    }
    return count;
}

/* What a verb's first argument may be: stores, or the words of "dlq list|show NAME|retry [LETTER]";
 * 0: anything. */
static size_t actions_of(const struct cli *cli, struct action *actions)
{
    const char *at = strchr(cli->usage, ' ');
    size_t count = 0;

    if (strcmp(cli->verb, "get") == 0) {
        return stores(actions);
    }
    if (!at || !strchr(at, '|') || at[1] == '[') {
        return 0;
    }
    while (count < ACTIONS_MAX) {
        at++;
        actions[count++] = (struct action){at, (int)strspn(at, "abcdefghijklmnopqrstuvwxyz-_")};
        at += strcspn(at, "|[");
        if (*at != '|') {
            break;
        }
    }
    return count;
}

/* Words of `choices` with blanks between them. */
static void put_choices(struct tally_buf *out, const char *const *choices)
{
    for (size_t i = 0; choices[i]; i++) {
        tally_buf_format(out, "%s%s", i ? " " : "", choices[i]);
    }
}

/* Text that stands between single quotes. */
static void put_quoted(struct tally_buf *out, const char *text, const char *escaped)
{
    for (; *text; text++) {
        if (*text == '\'') {
            tally_buf_string(out, "'\\''");
        } else {
            tally_buf_string(out, strchr(escaped, *text) ? "\\" : "");
            tally_buf_byte(out, (uint8_t)*text);
        }
    }
}

static void put_settings(struct tally_buf *out, const char *prefix)
{
    bool is_switch;

    for (size_t i = 0; cli_setting(i, &is_switch); i++) {
        tally_buf_format(out, " %s%s", prefix, cli_setting(i, &is_switch));
    }
}

static void put_verbs(struct tally_buf *out)
{
    for (size_t i = 0; i < VERB_COUNT; i++) {
        tally_buf_format(out, "%s%s", i ? " " : "", verbs[i].name);
    }
}

/* --- bash ------------------------------------------------------------------------------------- */

static void bash_verb(void *context, const struct cli *cli)
{
    struct tally_buf *out = context;
    struct action actions[ACTIONS_MAX];
    size_t count = actions_of(cli, actions);

    tally_buf_format(out, "        %s)\n            words='", cli->verb);
    for (size_t i = 0; i < count; i++) {
        tally_buf_format(out, "%s%.*s", i ? " " : "", actions[i].len, actions[i].name);
    }
    tally_buf_string(out, "'\n            options='--help");
    for (const struct cli_option *at = cli->options; at && at->kind != CLI_END; at++) {
        tally_buf_format(out, " --%s", at->name);
    }
    tally_buf_string(out, cli->no_settings ? "'\n" : " --config'\" $settings\"\n");
    for (const struct cli_option *at = cli->options; at && at->kind != CLI_END; at++) {
        if (at->choices) {
            tally_buf_format(out, "            [[ $before != --%s ", at->name);
            if (at->letter) {
                tally_buf_format(out, "&& $before != -%c ", at->letter);
            }
            tally_buf_string(out, "]] || choices='");
            put_choices(out, at->choices);
            tally_buf_string(out, "'\n");
        }
    }
    tally_buf_string(out, "            ;;\n");
}

static void bash(struct tally_buf *out)
{
    tally_buf_string(out,
            "# bash completion of tally, written by `tally completion bash`\n"
            "_tally() {\n"
            "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
            "    local words='' options='' choices='' settings='");
    put_settings(out, "--");
    tally_buf_string(out, "'\n    local verbs='");
    put_verbs(out);
    tally_buf_string(out,
            "'\n    COMPREPLY=()\n"
            "    if ((COMP_CWORD == 1)) || [[ $COMP_CWORD == 2 && $before == help ]]; then\n"
            "        mapfile -t COMPREPLY < <(compgen -W \"$verbs --help --version\" -- "
            "\"$word\")\n"
            "        return\n"
            "    fi\n"
            "    case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; i < VERB_COUNT; i++) {
        if (verbs[i].run != cmd_help) {
            verbs_describe(&verbs[i], bash_verb, out);
        }
    }
    tally_buf_string(out, "    esac\n"
                          "    if [[ $choices ]]; then\n"
                          "        mapfile -t COMPREPLY < <(compgen -W \"$choices\" -- \"$word\")\n"
                          "    elif [[ $word == -* ]]; then\n"
                          "        mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$word\")\n"
                          "    elif ((COMP_CWORD == 2)) && [[ $words ]]; then\n"
                          "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
                          "    else\n"
                          "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
                          "    fi\n"
                          "}\n"
                          "complete -o filenames -F _tally tally\n");
}

/* --- zsh -------------------------------------------------------------------------------------- */

static void zsh_option(struct tally_buf *out, const struct cli_option *option)
{
    if (option->letter) {
        tally_buf_format(out, " \\\n                '(-%c --%s)'{-%c,--%s}'", option->letter,
                option->name, option->letter, option->name);
    } else {
        tally_buf_format(out, " \\\n                '--%s", option->name);
    }
    tally_buf_byte(out, '[');
    put_quoted(out, option->help, "[]:\\");
    tally_buf_byte(out, ']');
    if (option->value) {
        tally_buf_format(out, ":%s:", option->value);
    }
    if (option->choices) {
        tally_buf_byte(out, '(');
        put_choices(out, option->choices);
        tally_buf_byte(out, ')');
    } else if (option->value) {
        tally_buf_string(out, "_files");
    }
    tally_buf_byte(out, '\'');
}

static void zsh_verb(void *context, const struct cli *cli)
{
    struct tally_buf *out = context;
    struct action actions[ACTIONS_MAX];
    size_t count = actions_of(cli, actions);

    tally_buf_format(out, "        %s)\n            _arguments -s -S", cli->verb);
    for (const struct cli_option *at = cli->options; at && at->kind != CLI_END; at++) {
        zsh_option(out, at);
    }
    if (!cli->no_settings) {
        tally_buf_string(out,
                " \\\n                '--config[read settings from there]:FILE:_files' "
                "\"${settings[@]}\"");
    }
    tally_buf_string(out, " \\\n                '(-h --help)'{-h,--help}'[explain the verb]'");
    if (count > 0) {
        tally_buf_string(out, " \\\n                '1:action:(");
        for (size_t i = 0; i < count; i++) {
            tally_buf_format(out, "%s%.*s", i ? " " : "", actions[i].len, actions[i].name);
        }
        tally_buf_string(out, ")'");
    }
    tally_buf_string(out, " \\\n                '*:file:_files'\n            ;;\n");
}

#define SETTING(name, help)                        \
    tally_buf_string(out, "        '--" name "["); \
    put_quoted(out, help, "[]:\\");                \
    tally_buf_string(out, "]:value:'\n");
static void zsh_settings(struct tally_buf *out)
{
#define X(field, name, kind, default_, low, high, help) SETTING(name, help)
#include "engine/base/config.def"
#undef X
}

static void zsh(struct tally_buf *out)
{
    tally_buf_string(out, "#compdef tally\n"
                          "# zsh completion of tally, written by `tally completion zsh`\n"
                          "_tally() {\n"
                          "    local -a verbs settings\n"
                          "    verbs=(\n");
    for (size_t i = 0; i < VERB_COUNT; i++) {
        tally_buf_format(out, "        '%s:", verbs[i].name);
        put_quoted(out, verbs[i].about, ":\\");
        tally_buf_string(out, "'\n");
    }
    tally_buf_string(out, "    )\n    settings=(\n");
    zsh_settings(out);
    tally_buf_string(out,
            "    )\n"
            "    if ((CURRENT == 2)) || [[ $CURRENT == 3 && ${words[2]} == help ]]; then\n"
            "        _describe verb verbs\n"
            "        return\n"
            "    fi\n"
            "    local verb=${words[2]}\n"
            "    shift words\n"
            "    ((CURRENT--))\n"
            "    case $verb in\n");
    for (size_t i = 0; i < VERB_COUNT; i++) {
        if (verbs[i].run != cmd_help) {
            verbs_describe(&verbs[i], zsh_verb, out);
        }
    }
    tally_buf_string(out, "    esac\n"
                          "}\n"
                          "if [[ $funcstack[1] == _tally ]]; then\n"
                          "    _tally \"$@\"\n"
                          "else\n"
                          "    compdef _tally tally\n"
                          "fi\n");
}

/* --- fish ------------------------------------------------------------------------------------- */

static void fish_line(struct tally_buf *out, const char *verb)
{
    tally_buf_format(out, "complete -c tally -n '__fish_seen_subcommand_from %s'", verb);
}

static void fish_verb(void *context, const struct cli *cli)
{
    struct tally_buf *out = context;
    struct action actions[ACTIONS_MAX];
    size_t count = actions_of(cli, actions);

    for (size_t i = 0; i < count; i++) {
        fish_line(out, cli->verb);
        tally_buf_format(out, " -f -a %.*s\n", actions[i].len, actions[i].name);
    }
    for (const struct cli_option *at = cli->options; at && at->kind != CLI_END; at++) {
        fish_line(out, cli->verb);
        tally_buf_format(out, " -l %s", at->name);
        if (at->letter) {
            tally_buf_format(out, " -s %c", at->letter);
        }
        tally_buf_string(out, at->choices ? " -x -a '" : at->kind != CLI_FLAG ? " -r" : "");
        if (at->choices) {
            put_choices(out, at->choices);
            tally_buf_byte(out, '\'');
        }
        tally_buf_string(out, " -d '");
        put_quoted(out, at->help, "\\");
        tally_buf_string(out, "'\n");
    }
    if (!cli->no_settings) {
        fish_line(out, cli->verb);
        tally_buf_string(out, " -l config -r -d 'read settings from there'\n");
    }
}

static void fish_setting(struct tally_buf *out, const char *name, const char *help)
{
    tally_buf_format(out, "complete -c tally -n $settings -l %s -r -d '", name);
    put_quoted(out, help, "\\");
    tally_buf_string(out, "'\n");
}

/* Of verbs that load settings. */
static void fish_loads(void *context, const struct cli *cli)
{
    if (!cli->no_settings) {
        tally_buf_format(context, " %s", cli->verb);
    }
}

static void fish(struct tally_buf *out)
{
    tally_buf_string(out, "# fish completion of tally, written by `tally completion fish`\n");
    for (size_t i = 0; i < VERB_COUNT; i++) {
        tally_buf_format(out, "complete -c tally -n '__fish_use_subcommand' -f -a %s -d '",
                verbs[i].name);
        put_quoted(out, verbs[i].about, "\\");
        tally_buf_string(out, "'\n");
    }
    fish_line(out, "help");
    tally_buf_string(out, " -f -a '");
    put_verbs(out);
    tally_buf_string(out, "'\n");
    tally_buf_string(out, "set -l settings '__fish_seen_subcommand_from");
    for (size_t i = 0; i < VERB_COUNT; i++) {
        if (verbs[i].run != cmd_help) {
            verbs_describe(&verbs[i], fish_loads, out);
        }
    }
    tally_buf_string(out, "'\n");
    for (size_t i = 0; i < VERB_COUNT; i++) {
        if (verbs[i].run != cmd_help) {
            verbs_describe(&verbs[i], fish_verb, out);
        }
    }
#define X(field, name, kind, default_, low, high, help) fish_setting(out, name, help);
#include "engine/base/config.def"
#undef X
}

void completion_script(int shell, struct tally_buf *out)
{
    void (*const scripts[])(struct tally_buf *) = {bash, zsh, fish};

    scripts[shell](out);
}
