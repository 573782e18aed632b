/* http/problem_page.c - see problem_page.h. Every code of problem.def, reject.def and error.def has
 * a page, made of its row; a code that several tables have is that of the first. */
#include "http/problem_page.h"

#include <stdio.h>

#include "http/header_field.h"
#include "http/problem.h"
#include "schemas/serde.h"

enum { CODE_LEN_MAX = 64, HELP_BYTES_MAX = 512 };

/* `insufficient-stock` as the tables have it; false: no code looks like that. */
static bool name_of(struct tally_slice text, char name[static CODE_LEN_MAX + 1])
{
    if (text.len > CODE_LEN_MAX) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = (char)text.data[i];

        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-') {
            return false;
        }
        name[i] = c;
        if (c == '-') {
            name[i] = '_';
        } else if (c >= 'a') {
            name[i] = (char)(c - 'a' + 'A');
        }
    }
    name[text.len] = '\0';
    return true;
}

static bool find_own(const char *name, struct problem_account *account)
{
    for (int i = PROBLEM_NONE + 1; i < PROBLEM_CODES; i++) {
        *account = problem_account((enum problem_code)i);
        if (strcmp(account->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool find_reject(const char *name, struct problem_account *account)
{
    enum tally_reject code = tally_reject_find(tally_slice_string(name));

    *account = (struct problem_account){.name = tally_reject_name(code),
            .title = tally_reject_title(code),
            .help = tally_reject_help(code),
            .status = tally_reject_http(code),
            .retryable = tally_reject_retryable(code)};
    return code != TALLY_REJECT_NONE;
}

/* A failure is told by tally's log, /readyz and /v1/ops; it ends by itself, or by a command. */
static bool find_failure(const char *name, char help[static HELP_BYTES_MAX],
        struct problem_account *account)
{
    enum tally_code code = (enum tally_code)(TALLY_OK + 1);
    const char *options, *remedy;

    while (code < TALLY_CODES && strcmp(tally_code_name(code), name) != 0) {
        code = (enum tally_code)(code + 1);
    }
    if (code == TALLY_CODES) {
        return false;
    }
    remedy = tally_code_remedy(code, &options);
    (void)snprintf(help, HELP_BYTES_MAX, "Of tally itself: %s.%s%s%s%s%s",
            tally_reaction_text(tally_code_reaction(code)), remedy ? " " : "",
            remedy && options ? "tally reset" : "", remedy && options ? options : "",
            remedy && options ? " --execute: " : "", remedy ? remedy : "");
    *account = (struct problem_account){.name = tally_code_name(code),
            .title = tally_code_text(code),
            .help = help,
            .status = tally_code_http(code),
            .retryable = tally_code_http(code) == 503};
    return true;
}

static bool find(const char *name, char help[static HELP_BYTES_MAX],
        struct problem_account *account)
{
    return find_own(name, account) || find_reject(name, account) ||
           find_failure(name, help, account);
}

const char *tally_problem_page_code(size_t index)
{
    const size_t own = PROBLEM_CODES - 1, rejects = TALLY_REJECTS - 1, failures = TALLY_CODES - 1;

    if (index < own) {
        return problem_name((enum problem_code)(index + 1));
    }
    if (index < own + rejects) {
        return tally_reject_name((enum tally_reject)(index - own + 1));
    }
    return index < own + rejects + failures
                   ? tally_code_name((enum tally_code)(index - own - rejects + 1))
                   : NULL;
}

/* --- its forms -------------------------------------------------------------------------------- */

static void put_html(struct tally_buf *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<':
            tally_buf_string(out, "&lt;");
            break;
        case '>':
            tally_buf_string(out, "&gt;");
            break;
        case '&':
            tally_buf_string(out, "&amp;");
            break;
        default:
            tally_buf_byte(out, (uint8_t)*text);
        }
    }
}

static const char *advice(const struct problem_account *account)
{
    return account->retryable ? "The same may succeed later." : "The same will not succeed later.";
}

static void answer_html(struct exchange *exchange, const struct problem_account *account)
{
    struct tally_buf *out = &exchange->response.body;

    response_begin(&exchange->response, 200, RESPONSE_HTML);
    response_header(&exchange->response, "Content-Security-Policy", "default-src 'none'");
    tally_buf_format(out,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%s</title>"
            "</head>\n<body>\n<h1>",
            account->name);
    put_html(out, account->title);
    tally_buf_format(out, "</h1>\n<p><code>%s</code>, HTTP status %d. %s</p>\n<p>", account->name,
            account->status, advice(account));
    put_html(out, account->help);
    tally_buf_string(out, "</p>\n</body></html>\n");
}

static void put_text(struct tally_buf *out, const struct problem_account *account)
{
    tally_buf_format(out, "%s\n%s, HTTP status %d. %s\n\n%s\n", account->title, account->name,
            account->status, advice(account), account->help);
}

static void put_json(struct tally_writer *writer, const struct problem_account *account)
{
    tally_write_map(writer, 5);
    tally_write_name(writer, "code");
    tally_write_string(writer, tally_slice_string(account->name));
    tally_write_name(writer, "title");
    tally_write_string(writer, tally_slice_string(account->title));
    tally_write_name(writer, "status");
    tally_write_int(writer, account->status);
    tally_write_name(writer, "retryable");
    tally_write_bool(writer, account->retryable);
    tally_write_name(writer, "help");
    tally_write_string(writer, tally_slice_string(account->help));
}

bool tally_problem_page_write(const char *code, bool json, struct tally_buf *out)
{
    struct problem_account account;
    char help[HELP_BYTES_MAX];
    struct tally_writer writer;

    if (!find(code, help, &account)) {
        return false;
    }
    if (!json) {
        put_text(out, &account);
        return true;
    }
    tally_write_begin(&writer, out, TALLY_FORMAT_JSON);
    put_json(&writer, &account);
    tally_buf_byte(out, '\n');
    return true;
}

static void answer_text(struct exchange *exchange, const struct problem_account *account)
{
    response_begin(&exchange->response, 200, RESPONSE_TEXT);
    put_text(&exchange->response.body, account);
}

static void answer_json(struct exchange *exchange, const struct problem_account *account)
{
    struct tally_writer writer;

    response_json(&exchange->response, 200, &writer);
    put_json(&writer, account);
}

/* A browser names HTML itself; who takes anything gets JSON. */
static bool wants_html(struct tally_slice accept)
{
    struct tally_slice rest = accept, item, range;

    while (request_list_next(&rest, ',', &item)) {
        if (request_list_next(&item, ';', &range) && request_equals(range, "text/html")) {
            return header_field_accepts(accept, RESPONSE_HTML);
        }
    }
    return false;
}

void problem_page(struct exchange *exchange)
{
    struct tally_slice accept = request_header(&exchange->request, "Accept");
    struct problem_account account;
    char name[CODE_LEN_MAX + 1], help[HELP_BYTES_MAX];

    response_header(&exchange->response, "Vary", "Accept");
    if (!name_of(exchange->request.params[0], name) || !find(name, help, &account)) {
        problem_answer(exchange, PROBLEM_NOT_FOUND, "no answer of tally has this code");
    } else if (wants_html(accept)) {
        answer_html(exchange, &account);
    } else if (header_field_accepts(accept, RESPONSE_JSON)) {
        answer_json(exchange, &account);
    } else if (header_field_accepts(accept, RESPONSE_TEXT)) {
        answer_text(exchange, &account);
    } else {
        answer_html(exchange, &account);
    }
}
