/* http/document.c - see document.h. */
#include "http/document.h"

#include "http/document_pointer.h"
#include "http/header_field.h"
#include "http/problem.h"

bool document_media_type(struct exchange *exchange, enum tally_format *format)
{
    struct tally_slice type = request_header(&exchange->request, "Content-Type");
    struct tally_slice encoding = request_header(&exchange->request, "Content-Encoding");

    if (encoding.data && !request_equals(encoding, "identity")) {
        problem_answer(exchange, PROBLEM_UNSUPPORTED_MEDIA_TYPE,
                "no Content-Encoding is understood");
        return false;
    }
    if (header_field_is_type(type, "application/json")) {
        *format = TALLY_FORMAT_JSON;
        return true;
    }
    if (header_field_is_type(type, "application/msgpack")) {
        *format = TALLY_FORMAT_MSGPACK;
        return true;
    }
    problem_answer(exchange, PROBLEM_UNSUPPORTED_MEDIA_TYPE,
            "Content-Type: expected application/json or application/msgpack");
    return false;
}

static bool is_white(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

void document_refuse(struct exchange *exchange, enum tally_refusal refusal,
        const struct tally_error *err)
{
    struct tally_violations violations = {0};
    struct tally_slice body = exchange->request.body;
    char pointer[DOCUMENT_POINTER_LEN_MAX + 1] = "";

    if (refusal != TALLY_REFUSAL_BAD_NUMBER) {
        problem_answer(exchange, PROBLEM_MALFORMED_BODY, "%s", err->message);
        return;
    }
    if (body.len > 0 && (body.data[0] == '{' || is_white(body.data[0]))) {
        document_pointer_of_number(body, pointer);
    }
    tally_violate(&violations, pointer, "WRONG_TYPE", "%s", err->message);
    problem_reject(exchange, TALLY_REJECT_VALIDATION_FAILED, &violations, "%s", err->message);
}

bool document_parse(struct exchange *exchange, enum tally_format format,
        const struct tally_token **root, struct tally_slice *bytes)
{
    enum tally_refusal refusal = TALLY_REFUSAL_NONE;
    struct tally_slice body = exchange->request.body;
    struct tally_error err = {0};
    enum tally_code code;

    while (format == TALLY_FORMAT_JSON && body.len > 0 && is_white(body.data[0])) {
        body.data++;
        body.len--;
    }
    while (format == TALLY_FORMAT_JSON && body.len > 0 && is_white(body.data[body.len - 1])) {
        body.len--;
    }
    if (body.len == 0) {
        problem_answer(exchange, PROBLEM_MALFORMED_BODY,
                "the body is empty: expected an object of fields");
        return false;
    }
    if ((format == TALLY_FORMAT_JSON) != (body.data[0] == '{')) {
        problem_answer(exchange, PROBLEM_MALFORMED_BODY, "byte 0: expected %s",
                format == TALLY_FORMAT_JSON ? "a JSON object" : "a MessagePack map");
        return false;
    }
    code = tally_document_parse(body, &exchange->arena, root, &refusal, &err);
    if (code) {
        document_refuse(exchange, refusal, &err);
        return false;
    }
    *bytes = body;
    return true;
}
