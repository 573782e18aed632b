/* http/graphql/graphql_error.c - see graphql_error.h. */
#include "http/graphql/graphql_error.h"

#include <stdarg.h>
#include <stdio.h>

enum { MESSAGE_BYTES_MAX = 512, PATH_DEPTH_MAX = 128 };

void graphql_errors_init(struct graphql_errors *errors, struct tally_arena *arena)
{
    *errors = (struct graphql_errors){.arena = arena};
}

struct graphql_error *graphql_errors_add(struct graphql_errors *errors, const char *code,
        struct graphql_location at, const char *format, ...)
{
    char text[MESSAGE_BYTES_MAX];
    struct graphql_error *error;
    va_list args;
    int len;

    errors->count++;
    if (errors->count > GRAPHQL_ERRORS_MAX) {
        return NULL;
    }
    va_start(args, format);
    len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    len = len < 0 ? 0 : len >= MESSAGE_BYTES_MAX ? MESSAGE_BYTES_MAX - 1 : len;
    while (len > 0 && !tally_utf8_valid(tally_slice_of(text, (size_t)len))) {
        len--; /* cut inside a character */
    }
    error = tally_arena_alloc(errors->arena, sizeof *error);
    *error = (struct graphql_error){
            .message = tally_arena_copy(errors->arena, tally_slice_of(text, (size_t)len)),
            .code = code,
            .at = {at},
    };
    *(errors->last ? &errors->last->next : &errors->first) = error;
    errors->last = error;
    return error;
}

void graphql_write_string(struct tally_buf *out, struct tally_slice text)
{
    struct tally_writer writer;

    tally_write_begin(&writer, out, TALLY_FORMAT_JSON);
    tally_write_string(&writer, text);
}

static void write_path(const struct graphql_path *path, struct tally_buf *out)
{
    const struct graphql_path *steps[PATH_DEPTH_MAX];
    size_t count = 0;

    for (; path && count < PATH_DEPTH_MAX; path = path->before) {
        steps[count++] = path;
    }
    tally_buf_string(out, ",\"path\":[");
    for (size_t i = count; i-- > 0;) {
        if (steps[i]->key.data) {
            graphql_write_string(out, steps[i]->key);
        } else {
            tally_buf_format(out, "%zu", steps[i]->index);
        }
        tally_buf_string(out, i > 0 ? "," : "");
    }
    tally_buf_byte(out, ']');
}

static void write_error(const struct graphql_error *error, struct tally_buf *out)
{
    tally_buf_string(out, "{\"message\":");
    graphql_write_string(out, error->message);
    if (error->at[0].line > 0) {
        tally_buf_string(out, ",\"locations\":[");
        for (size_t i = 0; i < GRAPHQL_LOCATIONS_MAX && error->at[i].line > 0; i++) {
            tally_buf_format(out, "%s{\"line\":%u,\"column\":%u}", i > 0 ? "," : "",
                    error->at[i].line, error->at[i].column);
        }
        tally_buf_byte(out, ']');
    }
    if (error->path) {
        write_path(error->path, out);
    }
    tally_buf_format(out, ",\"extensions\":{\"code\":\"%s\"}}", error->code);
}

void graphql_errors_write(const struct graphql_errors *errors, struct tally_buf *out)
{
    tally_buf_string(out, "\"errors\":[");
    for (const struct graphql_error *error = errors->first; error; error = error->next) {
        write_error(error, out);
        tally_buf_string(out, error->next ? "," : "");
    }
    tally_buf_byte(out, ']');
}
