/* apps/supervisor.c - see the header.
 *  (1) A message is sent whole or not at all, and never waited for.
 *  (2) No sign of life is given for an instance whose threads have given up. */
#include "apps/supervisor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/base/log.h"

#define MESSAGE_MAX 512
#define TELL_MS     1000
#define EXTEND_MS   30000 /* asked for once a second while starting, so that it never runs out */
#define LINES_MAX   (64 * 1024)
#define LATE_MS     5000 /* on top of the limit of a drain: the exit itself */

static void tell(const struct supervisor *supervisor, const char *format, ...) TALLY_PRINTF(2, 3);
static void tell(const struct supervisor *supervisor, const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list args;
    int len;

    if (supervisor->socket < 0) {
        return;
    }
    va_start(args, format);
    len = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (len > 0 && (size_t)len < sizeof message) {
        (void)send(supervisor->socket, message, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

/* The socket, connected; -1: the name is none that can be reached, which is logged. */
static int connect_to(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    int fd = -1;

    if ((name[0] == '/' || name[0] == '@') && len > 1 && len < sizeof address.sun_path) {
        memcpy(address.sun_path, name, len);
        if (name[0] == '@') { /* in the abstract namespace */
            address.sun_path[0] = '\0';
        }
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    }
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, size) != 0) {
        close(fd);
        fd = -1;
    }
    if (fd < 0) {
        tally_log(TALLY_LOG_WARN, "nobody listens on NOTIFY_SOCKET", TALLY_LOG_STR("name", name));
    }
    return fd;
}

/* Signs of life are for this process if it is named, or nobody is. */
static int64_t watchdog_of_environment(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    int64_t number, owner;

    if (!usec || !tally_parse_int(tally_slice_string(usec), &number) || number < 2000) {
        return 0;
    }
    if (pid && (!tally_parse_int(tally_slice_string(pid), &owner) || owner != getpid())) {
        return 0;
    }
    return number / 2000;
}

void supervisor_init(struct supervisor *supervisor, struct tally_clock *clock)
{
    const char *name = getenv("NOTIFY_SOCKET");

    *supervisor = (struct supervisor){.socket = -1, .clock = clock};
    if (name && name[0]) {
        supervisor->socket = connect_to(name);
        supervisor->watchdog_ms = watchdog_of_environment();
    }
}

void supervisor_deinit(struct supervisor *supervisor)
{
    if (supervisor->socket >= 0) {
        close(supervisor->socket);
        supervisor->socket = -1;
    }
}

bool supervisor_waits(const struct supervisor *supervisor)
{
    return supervisor->socket >= 0 && !supervisor->ready;
}

void supervisor_status(struct supervisor *supervisor, const char *format, ...)
{
    int64_t now_ms = tally_mono_ms(supervisor->clock);
    char status[sizeof supervisor->status];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(status, sizeof status, format, args);
    va_end(args);
    for (char *at = status; *at; at++) { /* a line ends an assignment */
        *at = *at == '\n' ? ' ' : *at;
    }
    if (!supervisor->ready && now_ms - supervisor->extended_ms >= TELL_MS) {
        supervisor->extended_ms = now_ms;
        tell(supervisor, "EXTEND_TIMEOUT_USEC=%d", EXTEND_MS * 1000);
    }
    if (strcmp(status, supervisor->status) != 0) {
        memcpy(supervisor->status, status, sizeof status);
        tell(supervisor, "STATUS=%s", status);
    }
}

/* The first line that says what is wrong. */
static struct tally_slice first_failure(struct tally_slice lines)
{
    while (lines.len > 0) {
        const uint8_t *end = memchr(lines.data, '\n', lines.len);
        size_t len = end ? (size_t)(end - lines.data) : lines.len;

        if (len > 3 && memcmp(lines.data, "[-]", 3) == 0) {
            return tally_slice_of(lines.data + 3, len - 3);
        }
        lines = end ? tally_slice_of(end + 1, lines.len - len - 1) : TALLY_NONE;
    }
    return TALLY_NONE;
}

static void tell_status(struct supervisor *supervisor, struct tally_runtime *runtime)
{
    struct tally_buf lines;
    struct tally_slice text;

    tally_buf_init(&lines, LINES_MAX);
    if (!tally_runtime_health(runtime, TALLY_HEALTH_STARTED, &lines)) {
        text = tally_buf_bytes(&lines);
        text.len -= text.len > 0 && text.data[text.len - 1] == '\n';
        supervisor_status(supervisor, "%.*s", (int)text.len, (const char *)text.data);
    } else {
        if (!supervisor->ready) {
            supervisor->ready = true;
            tell(supervisor, "READY=1");
        }
        (void)tally_runtime_health(runtime, TALLY_HEALTH_READY, &lines);
        text = first_failure(tally_buf_bytes(&lines));
        supervisor_status(supervisor, "%s%.*s", text.len > 0 ? "not well: " : "running",
                (int)text.len, text.len > 0 ? (const char *)text.data : "");
    }
    tally_buf_deinit(&lines);
}

void supervisor_watch(struct supervisor *supervisor, struct tally_runtime *runtime)
{
    int64_t now_ms;

    if (supervisor->socket < 0) {
        return;
    }
    now_ms = tally_mono_ms(supervisor->clock);
    if (!supervisor->ready || now_ms - supervisor->told_ms >= TELL_MS) {
        supervisor->told_ms = now_ms;
        tell_status(supervisor, runtime);
    }
    if (supervisor->watchdog_ms > 0 && now_ms - supervisor->alive_ms >= supervisor->watchdog_ms &&
            tally_runtime_health(runtime, TALLY_HEALTH_LIVE, NULL)) {
        supervisor->alive_ms = now_ms;
        tell(supervisor, "WATCHDOG=1");
    }
}

void supervisor_stopping(struct supervisor *supervisor, int64_t limit_ms)
{
    tell(supervisor, "STOPPING=1\nSTATUS=committing and closing\nEXTEND_TIMEOUT_USEC=%lld",
            (long long)(limit_ms + LATE_MS) * 1000);
}
