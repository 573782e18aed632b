/* apps/manual.c - see the header. A page has no date: it says the version, and two builds of one
 * commit are alike. */
#include "apps/manual.h"

#include "engine/base/version.h"

static const char exit_statuses[] = ".SH EXIT STATUS\n"
                                    ".TP\n.B 0\nDone.\n"
                                    ".TP\n.B 1\nFailed; standard error says why.\n"
                                    ".TP\n.B 2\nThe command line is wrong.\n"
                                    ".TP\n.B 3\nPartly done; each part that is not is named.\n"
                                    ".TP\n.B 130\nInterrupted.\n";

static const char files[] =
        ".SH FILES\n"
        ".TP\n.I /etc/tally/tally.yaml\nThe settings of the service; see\n.BR tally.yaml (5).\n"
        ".TP\n.I ./tally.yaml\nRead where no \\-\\-config is given, if it exists.\n"
        ".TP\n.I /var/lib/tally\nState of the service. It is built again from Kafka if it is "
        "lost.\n"
        ".SH ENVIRONMENT\n"
        "Every setting has a variable: TALLY_ and its name in upper case, with _ for dots and "
        "dashes.\nWith _FILE behind the name, the variable names a file that holds the value, for "
        "secrets.\n"
        ".TP\n.BR NOTIFY_SOCKET \", \" WATCHDOG_USEC\nOf systemd, for\n.BR \"tally run\" .\n";

/* Text of a line; a dot or a quote that begins one would be a request. */
static void put_text(struct tally_buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        switch (text[i]) {
        case '\\':
            tally_buf_string(out, "\\e");
            break;
        case '-':
            tally_buf_string(out, "\\-");
            break;
        case '\'':
            tally_buf_string(out, "\\(aq");
            break;
        case '`':
            tally_buf_string(out, "\\(ga");
            break;
        case '^':
            tally_buf_string(out, "\\(ha");
            break;
        case '~':
            tally_buf_string(out, "\\(ti");
            break;
        case '.':
            tally_buf_string(out, i == 0 ? "\\&." : ".");
            break;
        default:
            tally_buf_byte(out, (uint8_t)text[i]);
        }
    }
}

static void put_string(struct tally_buf *out, const char *text)
{
    put_text(out, text, strlen(text));
}

static void put_title(struct tally_buf *out, const char *name, const char *verb, int section)
{
    tally_buf_format(out, ".TH \"");
    for (const char *part = name; part; part = part == name ? verb : NULL) {
        tally_buf_string(out, part == verb ? "\\-" : "");
        for (const char *at = part; *at; at++) {
            tally_buf_byte(out, (uint8_t)(*at >= 'a' && *at <= 'z' ? *at - 'a' + 'A' : *at));
        }
    }
    tally_buf_format(out, "\" %d \"\" \"tally %s\" \"tally\"\n", section, tally_version());
}

/* The length of a word that a column of text follows, as in "list   the dead letters"; 0: none. */
static size_t entry_word(const char *line, size_t len)
{
    size_t word = 0;

    while (word < len && line[word] >= 'a' && line[word] <= 'z') {
        word++;
    }
    return word > 0 && word + 2 < len && line[word] == ' ' && line[word + 1] == ' ' ? word : 0;
}

/* Lines of a help text: filled, but for those that make a list; an empty one ends a paragraph. */
static void put_paragraphs(struct tally_buf *out, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        size_t word = entry_word(text, len), gap = word + strspn(text + word, " ");

        if (word > 0) {
            tally_buf_format(out, ".TP\n.B %.*s\n", (int)word, text);
            put_text(out, text + gap, len - gap);
        } else if (len == 0) {
            tally_buf_string(out, ".PP");
        } else {
            put_text(out, text, len);
        }
        tally_buf_byte(out, '\n');
        text += len + (text[len] == '\n');
    }
}

static void put_option(struct tally_buf *out, const struct cli_option *option)
{
    tally_buf_string(out, ".TP\n");
    if (option->letter) {
        tally_buf_format(out, "\\fB\\-%c\\fR, ", option->letter);
    }
    tally_buf_string(out, "\\fB\\-\\-");
    put_string(out, option->name);
    tally_buf_string(out, "\\fR");
    if (option->value) {
        tally_buf_format(out, " \\fI%s\\fR", option->value);
    }
    tally_buf_byte(out, '\n');
    put_string(out, option->help);
    tally_buf_byte(out, '\n');
}

static void put_examples(struct tally_buf *out, const char *text)
{
    tally_buf_string(out, ".SH EXAMPLES\n.nf\n");
    while (*text) {
        size_t len = strcspn(text, "\n"), indent = strspn(text, " ");

        indent = indent < len ? indent : len;
        put_text(out, text + indent, len - indent);
        tally_buf_byte(out, '\n');
        text += len + (text[len] == '\n');
    }
    tally_buf_string(out, ".fi\n");
}

struct page {
    const struct verb *verb;
    struct tally_buf *out;
};

static void put_page(void *context, const struct cli *cli)
{
    const struct page *page = context;
    struct tally_buf *out = page->out;

    put_title(out, "tally", page->verb->name, 1);
    tally_buf_format(out, ".SH NAME\ntally\\-%s \\- ", page->verb->name);
    put_string(out, page->verb->about);
    tally_buf_string(out, "\n.SH SYNOPSIS\n.nf\ntally ");
    put_string(out, cli->usage);
    tally_buf_string(out, "\n.fi\n.SH DESCRIPTION\n");
    put_paragraphs(out, cli->about);
    tally_buf_string(out, ".SH OPTIONS\n");
    for (const struct cli_option *option = cli->options; option && option->kind != CLI_END;
            option++) {
        put_option(out, option);
    }
    tally_buf_string(out, ".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nprint all this\n");
    if (!cli->no_settings) {
        tally_buf_string(out,
                ".TP\n\\fB\\-\\-config\\fR \\fIFILE\\fR\nread settings from there (default: "
                "./tally.yaml, if it exists)\n"
                ".TP\n\\fB\\-\\-\\fINAME\\fR \\fIVALUE\\fR\na setting of\n.BR tally.yaml (5)\n"
                ".TP\n\\fB\\-X\\fR \\fINAME\\fB=\\fIVALUE\\fR\na property of librdkafka\n");
    }
    put_examples(out, cli->examples);
    tally_buf_string(out, exit_statuses);
    tally_buf_string(out, ".SH SEE ALSO\n.BR tally (1),\n.BR tally.yaml (5)\n");
}

void manual_verb(const struct verb *verb, struct tally_buf *out)
{
    verbs_describe(verb, put_page, &(struct page){.verb = verb, .out = out});
}

void manual_overview(struct tally_buf *out)
{
    put_title(out, "tally", NULL, 1);
    tally_buf_string(out,
            ".SH NAME\ntally \\- stock and catalogue service that is its own stream processor\n"
            ".SH SYNOPSIS\n.nf\ntally VERB [options]\n.fi\n"
            ".SH DESCRIPTION\n"
            "Commands come from Kafka, are decided one by one for each key, and every one has "
            "its event,\nwritten back exactly once. What the events say is kept beside the "
            "process and answered over HTTP;\nthe same program is the tool of operators.\n"
            ".SH VERBS\n");
    for (size_t i = 0; i < VERB_COUNT; i++) {
        tally_buf_format(out, ".TP\n.B %s\n", verbs[i].name);
        put_string(out, verbs[i].about);
        tally_buf_byte(out, '\n');
    }
    tally_buf_string(out, ".PP\nEach has a page of its own, as\n.BR tally\\-run (1).\n");
    tally_buf_string(out, files);
    tally_buf_string(out, exit_statuses);
    tally_buf_string(out, ".SH SEE ALSO\n.BR tally\\-run (1),\n.BR tally.yaml (5)\n");
}

static void put_setting(struct tally_buf *out, const char *name, const char *kind,
        const char *initial, const char *help)
{
    tally_buf_format(out, ".TP\n\\fB");
    put_string(out, name);
    tally_buf_format(out, "\\fR, %s", kind);
    if (initial[0]) {
        tally_buf_string(out, " (");
        put_string(out, initial);
        tally_buf_string(out, ")");
    }
    tally_buf_byte(out, '\n');
    put_string(out, help);
    tally_buf_byte(out, '\n');
}

#define KIND_STRING   "text"
#define KIND_INT      "integer"
#define KIND_BOOL     "true or false"
#define KIND_DURATION "duration"
#define KIND_SIZE     "size"
#define KIND_LIST     "list"
void manual_settings(struct tally_buf *out)
{
    put_title(out, "tally.yaml", NULL, 5);
    tally_buf_string(out,
            ".SH NAME\ntally.yaml \\- settings of tally\n"
            ".SH DESCRIPTION\n"
            "A setting comes from, the later winning: its default, this file, the environment, "
            "the command line.\nNames may be nested or dotted: state: {dir: /var/lib/tally} is "
            "state.dir: /var/lib/tally.\n${NAME} and ${NAME:default} are replaced from the "
            "environment.\nDurations carry a unit (100ms, 5s, 10m, 2h, 7d), sizes may (64K, 512M, "
            "2G).\n.PP\n"
            "\"tally config check\" reports every mistake with its line and column, \"tally config "
            "show\" what is in\nforce and where each value comes from.\n"
            ".SH SETTINGS\n");
#define X(field, name, kind, initial, low, high, help) \
    put_setting(out, name, KIND_##kind, initial, help);
#include "engine/base/config.def"
#undef X
    tally_buf_string(out, ".SH SEE ALSO\n.BR tally (1),\n.BR tally\\-config (1)\n");
}
