/* http/lane.c - see lane.h. */
#include "http/lane.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/thread.h"
#include "http/request_head.h"

enum {
    LANES_MAX = 16,
    EVENTS_MAX = 64,
    HEAD_BYTES_MAX = 4 * 1024, /* longer heads are read by workers */
    TURN_MAX = 16,             /* requests of one connection before the others have their turn */
    OUT_BYTES_MAX = 1024 * 1024,
    OUT_KEEP_BYTES = 64 * 1024,
    SLICE_US = 100 /* others wait for a lane, so it waits for nobody's turn to end */
};

struct lane {
    struct lanes *lanes;
    struct tally_thread thread;
    int epoll, wake;
    struct tally_mutex mutex; /* guards places, and `waits` of each */
    struct lane_place *places;
    int64_t check_ms; /* when one of them may be idle for too long */
    void *desk;
    struct tally_buf out;
    char head[HEAD_BYTES_MAX];
};

struct lanes {
    struct lane_ops ops;
    int64_t idle_ms;
    _Atomic bool stop;
    size_t count;
    struct lane lanes[LANES_MAX];
};

static int64_t now_ms(void)
{
    return tally_mono_ms(tally_clock_real());
}

/* --- giving back ------------------------------------------------------------------------------ */

static void give_back_locked(struct lane *lane, struct lane_place *place, enum lane_event event)
{
    (void)epoll_ctl(lane->epoll, EPOLL_CTL_DEL, place->socket, NULL);
    *(place->prev ? &place->prev->next : &lane->places) = place->next;
    if (place->next) {
        place->next->prev = place->prev;
    }
    place->event = event;
    place->waits = false;
    tally_cond_signal(&place->left);
}

static void give_back(struct lane *lane, struct lane_place *place, enum lane_event event)
{
    tally_mutex_lock(&lane->mutex);
    give_back_locked(lane, place, event);
    tally_mutex_unlock(&lane->mutex);
}

/* Those that were idle for too long; when stopping all. */
static void sweep(struct lane *lane, bool all)
{
    int64_t now = now_ms(), next_ms = INT64_MAX;
    struct lane_place *next;

    if (!all && now < lane->check_ms) {
        return;
    }
    tally_mutex_lock(&lane->mutex);
    for (struct lane_place *place = lane->places; place; place = next) {
        int64_t end_ms = place->last_ms + lane->lanes->idle_ms;

        next = place->next;
        if (all || end_ms <= now) {
            give_back_locked(lane, place, LANE_END);
        } else if (end_ms < next_ms) {
            next_ms = end_ms;
        }
    }
    lane->check_ms = next_ms;
    tally_mutex_unlock(&lane->mutex);
}

/* --- answering -------------------------------------------------------------------------------- */

/* false: the place was given back. */
static bool send_out(struct lane *lane, struct lane_place *place)
{
    struct tally_slice out = tally_buf_bytes(&lane->out);
    ssize_t sent = send(place->socket, out.data, out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent == (ssize_t)out.len) {
        return true;
    }
    if (sent >= 0 || errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
        size_t from = sent > 0 ? (size_t)sent : 0;

        tally_buf_clear(&place->rest);
        tally_buf_append(&place->rest, out.data + from, out.len - from);
        give_back(lane, place, LANE_REST);
    } else {
        give_back(lane, place, LANE_REQUEST); /* the library meets the same error */
    }
    return false;
}

/* Answers what begins with the next byte of a socket. false: the place was given back, or there is
 * nothing more for now. */
static bool answer_next(struct lane *lane, struct lane_place *place)
{
    const struct lane_ops *ops = &lane->lanes->ops;
    ssize_t got = recv(place->socket, lane->head, sizeof lane->head, MSG_PEEK | MSG_DONTWAIT);
    size_t len;

    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return false;
    }
    len = got > 0 ? request_head_read(lane->head, (size_t)got, ops->begin(lane->desk, place)) : 0;
    tally_buf_clear(&lane->out);
    if (len == 0 || !ops->answer(lane->desk, &lane->out) || lane->out.failed ||
            recv(place->socket, NULL, len, MSG_TRUNC | MSG_DONTWAIT) != (ssize_t)len) {
        give_back(lane, place, LANE_REQUEST);
        return false;
    }
    place->answered++;
    place->taken += len;
    return send_out(lane, place) && (size_t)got > len;
}

/* The set tells of new bytes only, so all that are there have to be looked at now. */
static void serve(struct lane *lane, struct lane_place *place, int64_t now)
{
    size_t turns = 0;

    place->last_ms = now;
    while (answer_next(lane, place)) {
        if (++turns == TURN_MAX) {
            give_back(lane, place, LANE_REQUEST);
            return;
        }
    }
    if (lane->out.capacity > OUT_KEEP_BYTES) {
        tally_buf_deinit(&lane->out);
        tally_buf_init(&lane->out, OUT_BYTES_MAX);
    }
}

static int timeout_of(struct lane *lane)
{
    int64_t left_ms = lane->check_ms - now_ms();

    return lane->check_ms == INT64_MAX ? -1 : left_ms > 0 ? (int)left_ms + 1 : 0;
}

static void run(void *argument)
{
    struct lane *lane = argument;
    struct epoll_event events[EVENTS_MAX];

    tally_thread_prompt(SLICE_US);
    while (!atomic_load(&lane->lanes->stop)) {
        int count = epoll_wait(lane->epoll, events, EVENTS_MAX, timeout_of(lane));
        int64_t now = now_ms();

        for (int i = 0; i < count; i++) {
            uint64_t pokes;

            if (events[i].data.ptr) {
                serve(lane, events[i].data.ptr, now);
            } else {
                (void)!read(lane->wake, &pokes, sizeof pokes);
                lane->check_ms = 0; /* the first place has come */
            }
        }
        sweep(lane, false);
    }
    sweep(lane, true);
}

/* What comes between the two questions makes it false. */
bool lane_has_all(int socket, uint64_t taken)
{
    struct tcp_info info = {.tcpi_bytes_received = 0};
    socklen_t len = sizeof info;
    int unread = 0;

    return getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
           len >= offsetof(struct tcp_info, tcpi_bytes_received) + 8 &&
           ioctl(socket, FIONREAD, &unread) == 0 &&
           info.tcpi_bytes_received == taken + (uint64_t)unread;
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void poke(struct lane *lane)
{
    uint64_t one = 1;

    (void)!write(lane->wake, &one, sizeof one);
}

void lane_place_init(struct lane_place *place)
{
    *place = (struct lane_place){.socket = -1};
    tally_cond_init(&place->left);
    tally_buf_init(&place->rest, OUT_BYTES_MAX);
}

void lane_place_deinit(struct lane_place *place)
{
    tally_buf_deinit(&place->rest);
    tally_cond_deinit(&place->left);
}

enum lane_event lane_wait(struct lanes *lanes, size_t worker, struct lane_place *place)
{
    struct lane *lane = &lanes->lanes[worker % lanes->count];
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = place};

    tally_mutex_lock(&lane->mutex);
    place->last_ms = now_ms();
    place->answered = 0;
    place->taken = 0;
    place->event = atomic_load(&lanes->stop) ? LANE_END : LANE_REQUEST;
    place->waits = place->event == LANE_REQUEST &&
                   epoll_ctl(lane->epoll, EPOLL_CTL_ADD, place->socket, &event) == 0;
    if (place->waits) {
        place->prev = NULL;
        place->next = lane->places;
        if (place->next) {
            place->next->prev = place;
        } else {
            poke(lane); /* from now on time counts */
        }
        lane->places = place;
    }
    while (place->waits) {
        (void)tally_cond_wait(&place->left, &lane->mutex, -1);
    }
    tally_mutex_unlock(&lane->mutex);
    return place->event;
}

/* --- life ------------------------------------------------------------------------------------- */

static void start_one(struct lanes *lanes, struct lane *lane)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

    lane->lanes = lanes;
    lane->epoll = epoll_create1(EPOLL_CLOEXEC);
    lane->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    tally_assert(lane->epoll >= 0 && lane->wake >= 0 &&
                 epoll_ctl(lane->epoll, EPOLL_CTL_ADD, lane->wake, &event) == 0);
    lane->check_ms = INT64_MAX;
    tally_mutex_init(&lane->mutex, TALLY_LOCK_HTTP);
    tally_buf_init(&lane->out, OUT_BYTES_MAX);
    lane->desk = lanes->ops.open(lanes->ops.context);
    tally_thread_start(&lane->thread, "http-lane", run, lane);
}

/* One for each core: where cores are busy each thread gets its share, and one may be too little. */
struct lanes *lane_start(const struct lane_ops *ops, int64_t idle_ms)
{
    struct lanes *lanes = tally_alloc_zero(1, sizeof *lanes);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    lanes->ops = *ops;
    lanes->idle_ms = idle_ms;
    lanes->count = cores > LANES_MAX ? LANES_MAX : cores > 1 ? (size_t)cores : 1;
    for (size_t i = 0; i < lanes->count; i++) {
        start_one(lanes, &lanes->lanes[i]);
    }
    return lanes;
}

void lane_stop(struct lanes *lanes)
{
    if (atomic_exchange(&lanes->stop, true)) {
        return;
    }
    for (size_t i = 0; i < lanes->count; i++) {
        poke(&lanes->lanes[i]);
        tally_thread_join(&lanes->lanes[i].thread);
    }
}

void lane_destroy(struct lanes *lanes)
{
    if (!lanes) {
        return;
    }
    lane_stop(lanes);
    for (size_t i = 0; i < lanes->count; i++) {
        struct lane *lane = &lanes->lanes[i];

        lanes->ops.close(lane->desk);
        tally_buf_deinit(&lane->out);
        tally_mutex_deinit(&lane->mutex);
        close(lane->wake);
        close(lane->epoll);
    }
    tally_free(lanes);
}
