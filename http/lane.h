/* http/lane.h - connections between two requests. The library has a thread for each connection, and
 * waking it costs more than a read does. So whoever has answered a read waits in a lane: one of a
 * few threads that watch many connections, and answer by themselves what waits for nobody.
 *
 *   worker --[lane_wait]--> WAITING --[a read]--> answered --> WAITING
 *                           WAITING --[anything else, end, idle, stop]--> worker
 *
 * Invariants
 *  (1) A lane takes from a socket just the requests that it answers; the library finds all others
 *      there, as if nobody had looked.
 *  (2) A connection is its worker's or its lane's, never of both.
 *  (3) A lane waits in epoll only: what a socket does not take at once is its worker's to write. */
#pragma once
#include "engine/base/bytes.h"
#include "engine/base/thread.h"
#include "http/request.h"

enum lane_event {
    LANE_REQUEST, /* a request that is the worker's, or the end of the connection */
    LANE_REST,    /* an answer that has not gone out wholly */
    LANE_END      /* idle for too long, or the lanes stop */
};

/* One connection while it is in a lane; in its worker's memory. */
struct lane_place {
    struct lane_place *next, *prev; /* these and what follows belong to lane.c */
    int socket;
    int64_t last_ms;
    enum lane_event event; /* once it does not wait */
    bool waits;
    bool peeks_on;          /* each look at the socket begins behind the one before: SO_PEEK_OFF */
    size_t untaken;         /* bytes of requests that are answered, still in the socket */
    struct tally_cond left; /* that it does not wait any more */
    struct tally_buf rest;  /* LANE_REST: of an answer, not sent yet */
    size_t answered;        /* requests, and their bytes, since lane_wait */
    uint64_t taken;
    void *connection; /* from here on the caller's */
    const char *peer;
};
struct lane_ops {
    void *(*open)(void *context); /* for each lane a desk, at which one request at a time is done */
    void (*close)(void *desk);
    /* The next one begins: where its head goes. round_us: mono, the begin of its round. */
    struct request *(*begin)(void *desk, struct lane_place *place, int64_t round_us);
    /* Answers it, without waiting for anybody, into *out. false: it is the worker's. */
    bool (*answer)(void *desk, struct tally_buf *out);
    void (*end)(void *desk); /* the answers of the round are sent */
    void *context;
};

struct lanes;
struct lanes *lane_start(const struct lane_ops *ops, int64_t idle_ms); /* @thread init */
/* All places are given back, with LANE_END if nothing is there. @thread main */
void lane_stop(struct lanes *lanes);
void lane_destroy(struct lanes *lanes); /* after the last lane_wait has returned */

/* Whether a connection has nothing in the library's buffer: of all that ever came so many bytes
 * were taken, and the rest is still in the socket. */
bool lane_has_all(int socket, uint64_t taken);

void lane_place_init(struct lane_place *place);
void lane_place_deinit(struct lane_place *place);
/* Waits until the connection is the worker's again. `worker`: any number, it chooses the lane.
 * @thread http */
enum lane_event lane_wait(struct lanes *lanes, size_t worker, struct lane_place *place);
