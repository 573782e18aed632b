/* http/key_file.c - see key_file.h. */
#include "http/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE_BYTES = 4096, WRITABLE_BY_OTHERS = 022, OPEN_TO_OTHERS = 027 };

static enum tally_code check_mode(const char *path, enum key_file_kind kind, int fd,
        struct tally_error *err)
{
    struct stat facts;

    if (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) {
        return tally_error_set(err, TALLY_CONFIG, "\"%.120s\" is not a file", path);
    }
    if (facts.st_mode & (mode_t)(kind == KEY_FILE_SECRET ? OPEN_TO_OTHERS : WRITABLE_BY_OTHERS)) {
        return tally_error_set(err, TALLY_CONFIG,
                "file \"%.120s\" is open to others (mode %04o): make it %s", path,
                (unsigned)facts.st_mode & 07777,
                kind == KEY_FILE_SECRET ? "0600, 0400 or 0440" : "0644 or less");
    }
    return TALLY_OK;
}

static enum tally_code read_open_file(const char *path, int fd, struct tally_buf *content,
        struct tally_error *err)
{
    size_t begin = content->len;
    ssize_t got = 1;

    while (got > 0 && content->len - begin <= KEY_FILE_BYTES_MAX) {
        uint8_t *room = tally_buf_reserve(content, PIECE_BYTES);

        got = room ? read(fd, room, PIECE_BYTES) : -1;
        content->len += got > 0 ? (size_t)got : 0;
    }
    if (got < 0) {
        return tally_error_set(err, TALLY_CONFIG, "file \"%.120s\" cannot be read", path);
    }
    if (content->len == begin || content->len - begin > KEY_FILE_BYTES_MAX ||
            memchr(content->data + begin, 0, content->len - begin)) {
        return tally_error_set(err, TALLY_CONFIG, "file \"%.120s\" %s", path,
                content->len == begin                       ? "is empty"
                : content->len - begin > KEY_FILE_BYTES_MAX ? "is over 1 MiB"
                                                            : "holds a NUL");
    }
    return TALLY_OK;
}

enum tally_code key_file_read(const char *path, enum key_file_kind kind, struct tally_buf *content,
        struct tally_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not stop the start */
    enum tally_code code;

    if (fd < 0) {
        return tally_error_set(err, TALLY_CONFIG, "could not open file \"%.120s\": %s", path,
                strerrordesc_np(errno));
    }
    code = check_mode(path, kind, fd, err);
    if (!code) {
        code = read_open_file(path, fd, content, err);
    }
    (void)close(fd);
    return code;
}
