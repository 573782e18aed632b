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
    MS_US = 1000,
    LANES_MAX = 16,
    EVENTS_MAX = 64,
    HEAD_BYTES_MAX = 4 * 1024, /* longer heads are read by workers */
    TURN_MAX = 16,             /* requests of one connection before the others have their turn */
    OUT_BYTES_MAX = 1024 * 1024,
    OUT_KEEP_BYTES = 256 * 1024,
    ROUND_BYTES = 64 * 1024, /* of answers that wait to be sent */
    UNTAKEN_BYTES = 2048,    /* what a socket may hold of requests that are answered */
    NICE_LESS = 10,
    SLICE_US = 100 /* others wait for a lane, so it waits for nobody's turn to end */
};

/* What a place has in this round. Answers are sent when all are known: who waits for them is woken
 * once for many, and not for each. */
struct turn {
    struct lane_place *place;
    size_t from, to; /* its answers, in lane->out */
    size_t answered, taken;
    bool more; /* requests that are not looked at yet */
    bool back; /* behind them is something that is the worker's */
};

struct lane {
    struct lanes *lanes;
    struct tally_thread thread;
    int epoll, wake;
    struct tally_mutex mutex; /* guards places, and `waits` of each */
    struct lane_place *places;
    int64_t round_us; /* mono */
    int64_t check_ms; /* when one of them may be idle for too long */
    void *desk;
    struct tally_buf out;
    char head[HEAD_BYTES_MAX];
    struct turn turns[EVENTS_MAX];
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
    return tally_mono_us(tally_clock_real()) / MS_US;
}

static struct epoll_event event_of(struct lane_place *place)
{
    return (struct epoll_event){.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = place};
}

/* --- giving back ------------------------------------------------------------------------------ */

/* Takes from the socket what is answered. A connection of which not all is taken must not be read
 * again: it ends. */
static void take(struct lane_place *place)
{
    ssize_t taken = 0;

    if (place->untaken > 0) {
        taken = recv(place->socket, NULL, place->untaken, MSG_TRUNC | MSG_DONTWAIT);
    }
    if (taken != (ssize_t)place->untaken) {
        (void)shutdown(place->socket, SHUT_RDWR);
    }
    place->untaken = 0;
}

/* Where the next look at the socket begins; -1: at its first byte, as ever. Before Linux 6.9 there
 * is no such thing for TCP. */
static bool set_peek_offset(int socket, int offset)
{
    return setsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) == 0;
}

static void give_back_locked(struct lane *lane, struct lane_place *place, enum lane_event event)
{
    take(place);
    if (place->peeks_on) {
        (void)set_peek_offset(place->socket, -1);
    }
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

static bool is_full(const struct lane *lane)
{
    return lane->out.len >= ROUND_BYTES;
}

/* Answers what begins with this byte of a head. 0: it is the worker's. */
static size_t answer_one(struct lane *lane, struct lane_place *place, char *head, size_t len)
{
    const struct lane_ops *ops = &lane->lanes->ops;
    size_t from = lane->out.len;
    size_t taken = request_head_read(head, len, ops->begin(lane->desk, place, lane->round_us));

    if (taken > 0 && ops->answer(lane->desk, &lane->out) && !lane->out.failed) {
        return taken;
    }
    lane->out.len = from;
    lane->out.failed = false;
    return 0;
}

/* Answers all that is in a socket, as far as it is the lane's. */
static void answer_all(struct lane *lane, struct turn *turn)
{
    ssize_t got = recv(turn->place->socket, lane->head, sizeof lane->head, MSG_PEEK | MSG_DONTWAIT);
    size_t len = got > 0 ? (size_t)got : 0, taken = 1;

    turn->back = got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
    while (turn->taken < len && taken > 0 && turn->answered < TURN_MAX && !is_full(lane)) {
        taken = answer_one(lane, turn->place, lane->head + turn->taken, len - turn->taken);
        turn->taken += taken;
        turn->answered += taken > 0;
    }
    turn->to = lane->out.len;
    turn->back |= taken == 0 || turn->answered == TURN_MAX;
    turn->more = turn->taken < len || len == sizeof lane->head;
}

/* True: all of it is sent. Else the place was given back. */
static bool send_out(struct lane *lane, struct lane_place *place, const uint8_t *out, size_t len)
{
    ssize_t sent = len > 0 ? send(place->socket, out, len, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;

    if (sent == (ssize_t)len) {
        return true;
    }
    if (sent >= 0 || errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
        size_t from = sent > 0 ? (size_t)sent : 0;

        tally_buf_clear(&place->rest);
        tally_buf_append(&place->rest, out + from, len - from);
        give_back(lane, place, LANE_REST);
    } else {
        give_back(lane, place, LANE_REQUEST); /* the library meets the same error */
    }
    return false;
}

/* The set tells of new bytes only; what is there already is told of again when it is asked. */
static void look_again(struct lane *lane, struct lane_place *place)
{
    struct epoll_event event = event_of(place);

    if (epoll_ctl(lane->epoll, EPOLL_CTL_MOD, place->socket, &event)) {
        give_back(lane, place, LANE_REQUEST);
    }
}

static void end_turn(struct lane *lane, const struct turn *turn)
{
    struct lane_place *place = turn->place;

    place->answered += turn->answered;
    place->taken += turn->taken;
    place->untaken += turn->taken;
    if (!place->peeks_on || turn->more || place->untaken >= UNTAKEN_BYTES) {
        take(place);
    }
    if (place->peeks_on && turn->more) {
        (void)set_peek_offset(place->socket, 0);
    }
    if (!send_out(lane, place, lane->out.data + turn->from, turn->to - turn->from)) {
        return;
    }
    if (turn->back) {
        give_back(lane, place, LANE_REQUEST);
    } else if (turn->more) {
        look_again(lane, place);
    }
}

static void end_round(struct lane *lane, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        end_turn(lane, &lane->turns[i]);
    }
    if (count > 0) {
        lane->lanes->ops.end(lane->desk);
    }
    tally_buf_clear(&lane->out);
    if (lane->out.capacity > OUT_KEEP_BYTES) {
        tally_buf_deinit(&lane->out);
        tally_buf_init(&lane->out, OUT_BYTES_MAX);
    }
}

static void serve(struct lane *lane, const struct epoll_event *events, size_t count)
{
    size_t turns = 0;

    lane->round_us = tally_mono_us(tally_clock_real());
    for (size_t i = 0; i < count; i++) {
        struct lane_place *place = events[i].data.ptr;
        uint64_t pokes;

        if (!place) {
            (void)!read(lane->wake, &pokes, sizeof pokes);
            lane->check_ms = 0; /* the first place has come */
            continue;
        }
        place->last_ms = lane->round_us / MS_US;
        lane->turns[turns] = (struct turn){.place = place, .from = lane->out.len};
        answer_all(lane, &lane->turns[turns++]);
        if (is_full(lane)) {
            end_round(lane, turns);
            turns = 0;
        }
    }
    end_round(lane, turns);
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

    tally_thread_prompt(SLICE_US, NICE_LESS);
    while (!atomic_load(&lane->lanes->stop)) {
        int count = epoll_wait(lane->epoll, events, EVENTS_MAX, timeout_of(lane));

        serve(lane, events, count > 0 ? (size_t)count : 0);
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
    struct epoll_event event = event_of(place);

    tally_mutex_lock(&lane->mutex);
    place->last_ms = now_ms();
    place->answered = 0;
    place->taken = 0;
    place->untaken = 0;
    place->peeks_on = set_peek_offset(place->socket, 0);
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

/* One for two cores: the more a lane finds each time it looks, the less a read costs, and who asks
 * needs cores as well. Measured on two cores: 95 k reads/s with two lanes, 120 k with one. */
struct lanes *lane_start(const struct lane_ops *ops, int64_t idle_ms)
{
    struct lanes *lanes = tally_alloc_zero(1, sizeof *lanes);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    lanes->ops = *ops;
    lanes->idle_ms = idle_ms;
    lanes->count = cores > 2 * LANES_MAX ? LANES_MAX : cores > 2 ? (size_t)cores / 2 : 1;
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
