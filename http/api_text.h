/* http/api_text.h - writes a document of any depth as JSON, or as YAML in blocks, without knowing
 * how many members there will be. @thread any */
#pragma once
#include "engine/base/bytes.h"

#define API_TEXT_DEPTH_MAX 24

enum api_form { API_JSON, API_YAML };
struct api_text {
    struct tally_buf *out;
    enum api_form form;
    unsigned depth;
    struct {
        bool list, empty;
    } level[API_TEXT_DEPTH_MAX];
};
void api_text_begin(struct api_text *text, struct tally_buf *out, enum api_form form);
void api_text_end(struct api_text *text);

/* A member of the map that is open, or with name NULL an item of the list: a map or list that is
 * then open itself, or a value. */
void api_text_map(struct api_text *text, const char *name);
void api_text_list(struct api_text *text, const char *name);
void api_text_close(struct api_text *text);
void api_text_string(struct api_text *text, const char *name, const char *value);
void api_text_slice(struct api_text *text, const char *name, struct tally_slice value);
void api_text_format(struct api_text *text, const char *name, const char *format, ...)
        TALLY_PRINTF(3, 4);
void api_text_int(struct api_text *text, const char *name, int64_t value);
void api_text_bool(struct api_text *text, const char *name, bool value);
void api_text_json(struct api_text *text, const char *name, const char *json); /* as it is */
