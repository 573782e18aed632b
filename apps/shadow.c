/* apps/shadow.c - see the header. The file is replaced as a whole, so it is never half written. */
#include "apps/shadow.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/mem.h"

#define HEAD "tally replay 1"

enum { WORDS = 4 };

/* --- where it is ------------------------------------------------------------------------------ */

/* The path without links and dots, of which the last parts need not exist; tally_free. */
static char *resolve(const char *path)
{
    char *copy = tally_copy_string(path), *result = NULL, *slash;
    char found[PATH_MAX];

    while (strlen(copy) > 1 && copy[strlen(copy) - 1] == '/') {
        copy[strlen(copy) - 1] = '\0';
    }
    slash = strrchr(copy, '/');
    if (realpath(copy, found)) {
        result = tally_copy_string(found);
    } else if (!slash) {
        result = realpath(".", found) ? tally_copy_format("%s/%s", found, copy)
                                      : tally_copy_string(copy);
    } else {
        char *parent;

        *slash = '\0';
        parent = resolve(slash == copy ? "/" : copy);
        result =
                tally_copy_format("%s%s%s", parent, strcmp(parent, "/") == 0 ? "" : "/", slash + 1);
        tally_free(parent);
    }
    tally_free(copy);
    return result;
}

/* Whether it is that folder, or in it. */
static bool lies_in(const char *path, const char *folder)
{
    size_t len = strlen(folder);

    return strncmp(path, folder, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static enum tally_code check_place(const char *dir, const char *state_dir, struct tally_error *err)
{
    char *shadow = resolve(dir), *state = resolve(state_dir);
    enum tally_code code = TALLY_OK;

    if (lies_in(shadow, state)) {
        code = tally_error_set(err, TALLY_CONFIG,
                "--into: \"%.120s\" is in state.dir, \"%.120s\", which belongs to the instance: "
                "name a directory outside, as in --into /tmp/shadow",
                dir, state_dir);
    } else if (lies_in(state, shadow)) {
        code = tally_error_set(err, TALLY_CONFIG,
                "--into: state.dir, \"%.120s\", is in \"%.120s\": name a directory apart from it, "
                "as in --into /tmp/shadow",
                state_dir, dir);
    }
    tally_free(shadow);
    tally_free(state);
    return code;
}

/* --- the file --------------------------------------------------------------------------------- */

static char *file_of(const struct shadow *shadow, const char *suffix)
{
    return tally_copy_format("%s/%s%s", shadow->dir, SHADOW_FILE, suffix);
}

static bool read_offset(struct tally_slice word, const char *none, int64_t *offset)
{
    if (tally_slice_equal(word, tally_slice_string(none))) {
        *offset = -1;
        return true;
    }
    return tally_parse_int(word, offset) && *offset >= 0;
}

/* false: not such a line. */
static bool read_line(struct shadow *shadow, struct tally_slice line)
{
    struct tally_slice words[WORDS];
    struct shadow_part *part;
    int64_t partition, from, next;
    size_t count = 0;
    char topology[sizeof part->topology];

    while (count < WORDS) {
        const uint8_t *end = line.len > 0 ? memchr(line.data, ' ', line.len) : NULL;
        size_t len = end ? (size_t)(end - line.data) : line.len;

        words[count++] = tally_slice_of(line.data, len);
        line = tally_slice_of(line.data + len + (end != NULL), line.len - len - (end != NULL));
    }
    if (line.len > 0 || words[0].len == 0 || words[0].len >= sizeof topology ||
            !tally_parse_int(words[1], &partition) || partition < 0 || partition > INT32_MAX ||
            !read_offset(words[2], "start", &from) || !read_offset(words[3], "-", &next)) {
        return false;
    }
    (void)snprintf(topology, sizeof topology, "%.*s", (int)words[0].len,
            (const char *)words[0].data);
    part = shadow_add(shadow, topology, (int32_t)partition, from);
    part->next = next;
    return true;
}

static enum tally_code read_lines(struct shadow *shadow, FILE *file, struct tally_error *err)
{
    char *line = NULL;
    size_t size = 0;
    int number = 0;
    bool fine = true;
    ssize_t len;

    while (fine && (len = getline(&line, &size, file)) > 0) {
        struct tally_slice text =
                tally_slice_of(line, (size_t)len - (line[len - 1] == '\n' ? 1 : 0));

        fine = number++ ? read_line(shadow, text) : tally_slice_equal(text, TALLY_SLICE(HEAD));
    }
    free(line); /* getline's */
    return fine && number > 0 ? TALLY_OK
                              : tally_error_set(err, TALLY_CONFIG,
                                        "--into: \"%.120s/%s\":%d is not what tally replay writes: "
                                        "give another directory",
                                        shadow->dir, SHADOW_FILE, number);
}

static enum tally_code check_empty(const struct shadow *shadow, struct tally_error *err)
{
    DIR *stream = opendir(shadow->dir);
    const struct dirent *entry;
    bool empty = true;

    if (!stream) {
        return tally_error_set(err, TALLY_CONFIG, "--into: \"%.120s\": %s", shadow->dir,
                strerror(errno));
    }
    while ((entry = readdir(stream)) != NULL) {
        empty = empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    }
    closedir(stream);
    return empty ? TALLY_OK
                 : tally_error_set(err, TALLY_CONFIG,
                           "--into: \"%.120s\" is not empty, and no replay to go on with: name a "
                           "new directory, as in --into %.100s-1",
                           shadow->dir, shadow->dir);
}

enum tally_code shadow_open(struct shadow *shadow, const char *dir, const char *state_dir,
        struct tally_error *err)
{
    struct stat stat_buf;
    enum tally_code code;
    char *path;
    FILE *file;

    *shadow = (struct shadow){.dir = tally_copy_string(dir)};
    code = check_place(dir, state_dir, err);
    if (code) {
        return code;
    }
    if (stat(dir, &stat_buf) && errno == ENOENT) {
        shadow->absent = true;
        return TALLY_OK;
    }
    path = file_of(shadow, "");
    file = fopen(path, "r");
    tally_free(path);
    if (!file) {
        return check_empty(shadow, err);
    }
    code = read_lines(shadow, file, err);
    fclose(file);
    return code;
}

void shadow_deinit(struct shadow *shadow)
{
    tally_free(shadow->dir);
    tally_free(shadow->parts);
}

struct shadow_part *shadow_find(const struct shadow *shadow, const char *topology,
        int32_t partition)
{
    for (size_t i = 0; i < shadow->count; i++) {
        if (shadow->parts[i].partition == partition &&
                strcmp(shadow->parts[i].topology, topology) == 0) {
            return &shadow->parts[i];
        }
    }
    return NULL;
}

struct shadow_part *shadow_add(struct shadow *shadow, const char *topology, int32_t partition,
        int64_t from)
{
    struct shadow_part *part;

    shadow->parts = tally_realloc(shadow->parts, (shadow->count + 1) * sizeof *shadow->parts);
    part = &shadow->parts[shadow->count++];
    *part = (struct shadow_part){.partition = partition, .from = from, .next = -1};
    (void)snprintf(part->topology, sizeof part->topology, "%s", topology);
    return part;
}

static bool write_file(const struct shadow *shadow, const char *path)
{
    FILE *file = fopen(path, "w");
    bool fine = file != NULL;

    if (!file) {
        return false;
    }
    (void)fprintf(file, "%s\n", HEAD);
    for (size_t i = 0; i < shadow->count; i++) {
        const struct shadow_part *part = &shadow->parts[i];
        char from[24] = "start", next[24] = "-";

        if (part->from >= 0) {
            (void)snprintf(from, sizeof from, "%lld", (long long)part->from);
        }
        if (part->next >= 0) {
            (void)snprintf(next, sizeof next, "%lld", (long long)part->next);
        }
        (void)fprintf(file, "%s %d %s %s\n", part->topology, (int)part->partition, from, next);
    }
    fine = fflush(file) == 0 && !ferror(file) && fsync(fileno(file)) == 0;
    return fclose(file) == 0 && fine;
}

enum tally_code shadow_save(struct shadow *shadow, struct tally_error *err)
{
    char *path = file_of(shadow, ""), *part = file_of(shadow, ".part");
    enum tally_code code = TALLY_OK;

    if (shadow->absent && mkdir(shadow->dir, 0755) && errno != EEXIST) {
        code = tally_error_set(err, TALLY_SYSTEM, "--into: could not make \"%.120s\": %s",
                shadow->dir, strerror(errno));
    } else if (!write_file(shadow, part) || rename(part, path)) {
        code = tally_error_set(err, TALLY_SYSTEM, "could not write \"%.120s\": %s", path,
                strerror(errno));
    }
    shadow->absent = shadow->absent && code;
    tally_free(path);
    tally_free(part);
    return code;
}
