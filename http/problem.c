/* http/problem.c - see problem.h. */
#include "http/problem.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#include "engine/base/log.h"

#define QUOTA_EXCEEDED "https://iana.org/assignments/http-problem-types#quota-exceeded"

enum { DETAIL_BYTES_MAX = 512, TYPE_BYTES_MAX = 96 };

struct problem_account problem_account(enum problem_code code)
{
    static const struct problem_account accounts[PROBLEM_CODES] = {
#define X(code, status, retryable, title, help) \
    [PROBLEM_##code] = {#code, title, help, status, retryable},
#include "http/problem.def"
#undef X
    };

    tally_assert(code > PROBLEM_NONE && code < PROBLEM_CODES);
    return accounts[code];
}

int problem_status(enum problem_code code)
{
    return problem_account(code).status;
}

const char *problem_name(enum problem_code code)
{
    return problem_account(code).name;
}

static struct problem_account reject_account(enum tally_reject code)
{
    return (struct problem_account){.name = tally_reject_name(code),
            .title = tally_reject_title(code),
            .status = tally_reject_http(code),
            .retryable = tally_reject_retryable(code)};
}

/* `/problems/insufficient-stock`, or what IANA has registered. */
static void write_type(struct tally_writer *writer, const char *name)
{
    char type[TYPE_BYTES_MAX] = "/problems/";
    size_t len = strlen(type);

    if (strcmp(name, problem_name(PROBLEM_RATE_LIMITED)) == 0) {
        tally_write_name(writer, "type");
        tally_write_string(writer, TALLY_SLICE(QUOTA_EXCEEDED));
        return;
    }
    for (; *name && len < sizeof type - 1; name++) {
        type[len++] = *name == '_' ? '-' : (char)tolower((unsigned char)*name);
    }
    tally_write_name(writer, "type");
    tally_write_string(writer, tally_slice_of(type, len));
}

static void write_text(struct tally_writer *writer, const char *name, const char *text)
{
    tally_write_name(writer, name);
    if (text) {
        tally_write_string(writer, tally_slice_string(text));
    } else {
        tally_write_null(writer);
    }
}

/* Starts the answer and writes the members that all problems have, up to `retryable`. instance is
 * what the problem is about: the request's path, or the command's resource. */
static void begin(struct exchange *exchange, const struct problem_account *account,
        struct tally_slice detail, struct tally_slice instance, uint32_t more_members,
        struct tally_writer *writer)
{
    exchange->problem = account->name;
    response_json(&exchange->response, account->status, writer);
    exchange->response.content_type = RESPONSE_PROBLEM;
    exchange->response.cache_control = "no-store";
    tally_write_map(writer, 7 + more_members);
    write_type(writer, account->name);
    write_text(writer, "title", account->title);
    tally_write_name(writer, "status");
    tally_write_int(writer, account->status);
    tally_write_name(writer, "detail");
    if (detail.data) {
        tally_write_string(writer, detail);
    } else {
        tally_write_null(writer);
    }
    tally_write_name(writer, "instance");
    if (instance.data && tally_utf8_valid(instance)) {
        tally_write_string(writer, instance);
    } else {
        tally_write_null(writer);
    }
    write_text(writer, "code", account->name);
    tally_write_name(writer, "retryable");
    tally_write_bool(writer, account->retryable);
}

static struct tally_slice format_detail(char space[static DETAIL_BYTES_MAX], const char *format,
        va_list args)
{
    int len;

    if (!format) {
        return TALLY_NONE;
    }
    len = vsnprintf(space, DETAIL_BYTES_MAX, format, args);
    len = len < 0 ? 0 : len >= DETAIL_BYTES_MAX ? DETAIL_BYTES_MAX - 1 : len;
    while (len > 0 && !tally_utf8_valid(tally_slice_of(space, (size_t)len))) {
        len--; /* cut inside a character, or what it quotes is no UTF-8 */
    }
    return tally_slice_of(space, (size_t)len);
}

void problem_answer(struct exchange *exchange, enum problem_code code, const char *detail, ...)
{
    struct problem_account account = problem_account(code);
    char space[DETAIL_BYTES_MAX];
    struct tally_writer writer;
    struct tally_slice text;
    va_list args;

    va_start(args, detail);
    text = format_detail(space, detail, args);
    va_end(args);
    if (code == PROBLEM_NOT_OWNER && request_header(&exchange->request, "Tally-Forwarded").data) {
        account.status = 421; /* to an instance that believed this one to be the owner */
    }
    if (account.retryable) {
        response_header(&exchange->response, "Retry-After", "1");
    }
    begin(exchange, &account, text, exchange->request.path, 1, &writer);
    tally_write_name(&writer, "errors");
    tally_write_array(&writer, 0);
}

void problem_limited(struct exchange *exchange, const char *policy, int64_t wait_s)
{
    struct problem_account account = problem_account(PROBLEM_RATE_LIMITED);
    struct tally_writer writer;

    response_header(&exchange->response, "Retry-After", "%lld", (long long)wait_s);
    begin(exchange, &account, TALLY_SLICE("this client has made too many requests: wait"),
            exchange->request.path, 2, &writer);
    tally_write_name(&writer, "errors");
    tally_write_array(&writer, 0);
    tally_write_name(&writer, "violated-policies");
    tally_write_array(&writer, 1);
    tally_write_string(&writer, tally_slice_string(policy));
}

/* As outcomes have it. */
static void write_violation(struct tally_writer *writer, const struct tally_violation *violation)
{
    tally_write_map(writer, 3);
    write_text(writer, "pointer", violation->pointer);
    write_text(writer, "code", violation->code);
    tally_write_name(writer, "meta");
    tally_write_map(writer, 1);
    write_text(writer, "detail", violation->detail);
}

void problem_reject(struct exchange *exchange, enum tally_reject code,
        const struct tally_violations *errors, const char *detail, ...)
{
    struct problem_account account = reject_account(code);
    char space[DETAIL_BYTES_MAX];
    struct tally_writer writer;
    struct tally_slice text;
    va_list args;

    va_start(args, detail);
    text = format_detail(space, detail, args);
    va_end(args);
    begin(exchange, &account, text, exchange->request.path, 1, &writer);
    tally_write_name(&writer, "errors");
    tally_write_array(&writer, errors ? (uint32_t)errors->count : 0);
    for (size_t i = 0; errors && i < errors->count; i++) {
        write_violation(&writer, &errors->items[i]);
    }
}

void problem_outcome(struct exchange *exchange, enum tally_reject code,
        const struct tally_token *outcome)
{
    static const char *const members[] = {"command_id", "position", "errors", "duplicate"};
    enum { MEMBERS = sizeof members / sizeof *members };
    struct problem_account account = reject_account(code);
    const struct tally_token *detail = tally_token_member(outcome, "detail");
    const struct tally_token *id = tally_token_member(outcome, "command_id");
    char instance[256]; /* ids have at most 128 characters */
    struct tally_writer writer;
    int len = snprintf(instance, sizeof instance, "/v1/commands/%.*s", id ? (int)id->string.len : 0,
            id ? (const char *)id->string.data : "");

    begin(exchange, &account, detail && detail->type == TALLY_STRING ? detail->string : TALLY_NONE,
            tally_slice_of(instance, (size_t)len), MEMBERS, &writer);
    for (size_t i = 0; i < MEMBERS; i++) {
        const struct tally_token *value = tally_token_member(outcome, members[i]);

        tally_write_name(&writer, members[i]);
        if (value) {
            tally_write_token(&writer, value);
        } else {
            tally_write_null(&writer);
        }
    }
}

enum problem_code problem_of_error(enum tally_code code)
{
    switch (code) {
    case TALLY_FENCED:
    case TALLY_ASSIGNMENT_LOST:
    case TALLY_UNAVAILABLE:
        return PROBLEM_NOT_OWNER;
    case TALLY_TIMEOUT:
        return PROBLEM_POSITION_NOT_REACHED;
    case TALLY_QUEUE_FULL:
        return PROBLEM_OVERLOADED;
    case TALLY_STORE_ERROR:
    case TALLY_STORE_CORRUPT:
    case TALLY_STORE_OUTDATED:
        return PROBLEM_STORE_ERROR;
    default:
        return tally_code_reaction(code) == TALLY_REACT_HALT ? PROBLEM_NOT_OWNER : PROBLEM_INTERNAL;
    }
}

void problem_error(struct exchange *exchange, enum tally_code code, const struct tally_error *err)
{
    static struct tally_log_limit limit;
    enum problem_code problem = problem_of_error(code);

    if (exchange->late) { /* nobody gets this answer */
        response_empty(&exchange->response, 503);
        return;
    }
    if ((problem == PROBLEM_INTERNAL || problem == PROBLEM_STORE_ERROR) &&
            tally_log_allowed(&limit, 1000)) {
        tally_log_error(TALLY_LOG_ERROR, "request failed", err);
    }
    if (problem == PROBLEM_INTERNAL) {
        problem_answer(exchange, problem, NULL); /* what broke is for the log, not for the client */
    } else {
        problem_answer(exchange, problem, "%s",
                err && err->message[0] ? err->message : tally_code_text(code));
    }
}
