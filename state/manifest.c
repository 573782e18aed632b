/* state/manifest.c - see manifest_internal.h.
 * RocksDB reads its MANIFEST like a write-ahead log: a record that seems to reach beyond the end of
 * the file ends it silently, and a record header of zeros hides the rest of its block, while the
 * next block counts again. So a few damaged bytes can take files away from a database that opens
 * without a word, and rows would be absent that are not.
 * The format: blocks of 32 KiB; in them records of a masked CRC32C (4 bytes), a length (2), a type
 * (1: whole, 2: first, 3: middle, 4: last part) and as many bytes, none across a block's end; less
 * than a header's length at the end of a block is filled up with zeros.
 * Invariants
 *  (1) Every record up to the end of the file is whole.
 *  (2) Or what follows the last whole record holds no record any more: a write that was cut off. */
#include "state/manifest_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/hash.h"
#include "engine/base/mem.h"

enum {
    BLOCK_BYTES = 32768,
    HEADER_BYTES = 7,
    TYPE_MAX = 4,
    NAME_BYTES_MAX = 64,
    FILE_BYTES_MAX = 256 << 20 /* sixteen times the size at which RocksDB begins a new one */
};

static uint32_t read_u32_le(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint32_t unmask(uint32_t crc)
{
    uint32_t rotated = crc - 0xa282ead8u;

    return rotated >> 17 | rotated << 15;
}

/* Length of the record at `at` with its header; 0: there is no whole one. */
static size_t record_len(struct tally_slice file, size_t at)
{
    size_t block_end = (at / BLOCK_BYTES + 1) * BLOCK_BYTES;
    size_t end = block_end < file.len ? block_end : file.len;
    const uint8_t *header = file.data + at;
    size_t len;

    if (end - at < HEADER_BYTES)
        return 0;
    len = HEADER_BYTES + (size_t)(header[4] | header[5] << 8);
    if (header[6] == 0 || header[6] > TYPE_MAX || len > end - at)
        return 0;
    /* type and bytes */
    if (tally_crc32c(0, tally_slice_of(header + 6, len - 6)) != unmask(read_u32_le(header)))
        return 0;
    return len;
}

static bool is_zero(struct tally_slice file, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (file.data[i] != 0)
            return false;
    }
    return true;
}

/* Where the whole records end. */
static size_t whole_len(struct tally_slice file)
{
    size_t at = 0, len;

    while (at < file.len) {
        size_t block_end = (at / BLOCK_BYTES + 1) * BLOCK_BYTES;

        if (block_end - at < HEADER_BYTES && block_end <= file.len &&
                is_zero(file, at, block_end)) {
            at = block_end;
            continue;
        }
        len = record_len(file, at);
        if (len == 0)
            break;
        at += len;
    }
    return at;
}

/* Whether a whole record begins behind `from`: anywhere in its block, or at a later block. */
static bool has_record_behind(struct tally_slice file, size_t from)
{
    size_t block_end = (from / BLOCK_BYTES + 1) * BLOCK_BYTES;

    for (size_t at = from + 1; at < file.len && at < block_end; at++) {
        if (record_len(file, at) > 0)
            return true;
    }
    for (size_t at = block_end; at < file.len; at += BLOCK_BYTES) {
        if (record_len(file, at) > 0)
            return true;
    }
    return false;
}

static enum tally_code check(const char *path, struct tally_slice file, bool torn_end,
        struct tally_error *err)
{
    size_t whole = whole_len(file);

    if (whole == file.len || (torn_end && !has_record_behind(file, whole)))
        return TALLY_OK;
    return tally_error_set(err, TALLY_STORE_CORRUPT, "\"%s\" is damaged at byte %zu of %zu", path,
            whole, file.len);
}

/* *size: bytes read; -1: there is no such file. */
static enum tally_code read_file(const char *path, size_t max, uint8_t **bytes, ssize_t *size,
        struct tally_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat stat_buf;
    ssize_t got = 1;
    bool ok = true;

    *size = -1;
    *bytes = NULL;
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return TALLY_OK;
    ok = fd >= 0 && fstat(fd, &stat_buf) == 0;
    if (ok && (size_t)stat_buf.st_size > max) {
        close(fd);
        return tally_error_set(err, TALLY_STORE_CORRUPT, "\"%s\" has %lld bytes, more than %zu",
                path, (long long)stat_buf.st_size, max);
    }
    if (ok) {
        *bytes = tally_alloc((size_t)stat_buf.st_size + 1);
        for (*size = 0; got > 0 && *size < stat_buf.st_size; *size += got) {
            got = pread(fd, *bytes + *size, (size_t)(stat_buf.st_size - *size), *size);
            ok = got >= 0;
            if (!ok)
                break;
        }
    }
    if (!ok)
        (void)tally_error_set(err, TALLY_STORE_ERROR, "could not read \"%s\": %s", path,
                strerror(errno));
    if (fd >= 0)
        close(fd);
    return ok ? TALLY_OK : TALLY_STORE_ERROR;
}

/* The name that CURRENT gives; empty when it names no manifest, which RocksDB tells. */
static void take_name(const uint8_t *bytes, ssize_t size, char name[static NAME_BYTES_MAX])
{
    static const char prefix[] = "MANIFEST-";
    struct tally_slice text = tally_slice_of(bytes, size > 0 ? (size_t)size : 0);

    name[0] = '\0';
    if (text.len < 2 || text.len >= NAME_BYTES_MAX || text.data[text.len - 1] != '\n' ||
            !tally_slice_starts(text, tally_slice_string(prefix)) ||
            memchr(text.data, '/', text.len) || memchr(text.data, '\0', text.len)) {
        return;
    }
    memcpy(name, text.data, text.len - 1);
    name[text.len - 1] = '\0';
}

enum tally_code manifest_check(const char *path, bool torn_end, struct tally_error *err)
{
    char *file = tally_copy_format("%s/CURRENT", path);
    char name[NAME_BYTES_MAX] = "";
    uint8_t *bytes = NULL;
    ssize_t size = -1;
    enum tally_code code = read_file(file, FILE_BYTES_MAX, &bytes, &size, err);

    if (code == TALLY_OK && size >= 0)
        take_name(bytes, size, name);
    if (name[0] != '\0') {
        tally_free(bytes);
        tally_free(file);
        file = tally_copy_format("%s/%s", path, name);
        code = read_file(file, FILE_BYTES_MAX, &bytes, &size, err);
        if (code == TALLY_OK && size >= 0)
            code = check(file, tally_slice_of(bytes, (size_t)size), torn_end, err);
    }
    tally_free(bytes);
    tally_free(file);
    return code;
}
