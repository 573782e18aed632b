/* http/api_text.c - see api_text.h. In YAML every string is in double quotes, as JSON writes it,
 * and an empty map or list is in flow style; both are YAML. */
#include "http/api_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "schemas/serde.h"

enum { STRING_BYTES_MAX = 1024 };

static void write_string(struct api_text *text, struct tally_slice value)
{
    struct tally_writer writer;

    tally_write_begin(&writer, text->out, TALLY_FORMAT_JSON);
    tally_write_string(&writer, value);
}

static void indent(struct api_text *text)
{
    if (text->out->len > 0) {
        tally_buf_byte(text->out, '\n');
    }
    for (unsigned i = 1; i < text->depth; i++) {
        tally_buf_string(text->out, "  ");
    }
}

/* What stands before a value, or a map or list: a comma, the name. */
static void lead(struct api_text *text, const char *name, bool value)
{
    unsigned at = text->depth - 1;

    if (text->form == API_JSON && !text->level[at].empty) {
        tally_buf_byte(text->out, ',');
    } else if (text->form == API_YAML && text->depth > 0) {
        indent(text);
    }
    text->level[at].empty = false;
    if (text->level[at].list) {
        tally_assert(!name);
        tally_buf_string(text->out, text->form == API_YAML ? "-" : "");
    } else {
        tally_assert(name);
        write_string(text, tally_slice_string(name));
        tally_buf_byte(text->out, ':');
    }
    if (value && text->form == API_YAML) {
        tally_buf_byte(text->out, ' ');
    }
}

static void open_level(struct api_text *text, bool list)
{
    tally_assert(text->depth < API_TEXT_DEPTH_MAX);
    text->level[text->depth].list = list;
    text->level[text->depth].empty = true;
    text->depth++;
    if (text->form == API_JSON) {
        tally_buf_byte(text->out, list ? '[' : '{');
    }
}

void api_text_begin(struct api_text *text, struct tally_buf *out, enum api_form form)
{
    *text = (struct api_text){.out = out, .form = form};
    open_level(text, false);
}

void api_text_close(struct api_text *text)
{
    tally_assert(text->depth > 0);
    text->depth--;
    if (text->form == API_JSON) {
        tally_buf_byte(text->out, text->level[text->depth].list ? ']' : '}');
    } else if (text->level[text->depth].empty) {
        tally_buf_string(text->out, text->level[text->depth].list ? " []" : " {}");
    }
}

void api_text_end(struct api_text *text)
{
    api_text_close(text);
    tally_assert(text->depth == 0);
    tally_buf_byte(text->out, '\n');
}

void api_text_map(struct api_text *text, const char *name)
{
    lead(text, name, false);
    open_level(text, false);
}

void api_text_list(struct api_text *text, const char *name)
{
    lead(text, name, false);
    open_level(text, true);
}

void api_text_slice(struct api_text *text, const char *name, struct tally_slice value)
{
    lead(text, name, true);
    write_string(text, value);
}

void api_text_string(struct api_text *text, const char *name, const char *value)
{
    api_text_slice(text, name, tally_slice_string(value));
}

void api_text_format(struct api_text *text, const char *name, const char *format, ...)
{
    char space[STRING_BYTES_MAX];
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(space, sizeof space, format, args);
    va_end(args);
    tally_assert(len >= 0 && (size_t)len < sizeof space);
    api_text_slice(text, name, tally_slice_of(space, (size_t)len));
}

void api_text_int(struct api_text *text, const char *name, int64_t value)
{
    lead(text, name, true);
    tally_buf_format(text->out, "%" PRId64, value);
}

void api_text_bool(struct api_text *text, const char *name, bool value)
{
    lead(text, name, true);
    tally_buf_string(text->out, value ? "true" : "false");
}

void api_text_json(struct api_text *text, const char *name, const char *json)
{
    lead(text, name, true);
    tally_buf_string(text->out, json);
}
