/* http/websocket/websocket_inbox.h - what other threads tell the gateway's, in order and bounded:
 * who has too much to tell waits, so that the events topic is read no faster than it is told.
 * @thread any  @locks QUEUE */
#pragma once
#include "http/websocket/websocket_spec.h"

enum websocket_note_kind {
    WEBSOCKET_NOTE_EVENT,    /* event; with spec: for it alone */
    WEBSOCKET_NOTE_READY,    /* the feed stands at the end of a source */
    WEBSOCKET_NOTE_BROKEN,   /* the feed has lost its place in a source */
    WEBSOCKET_NOTE_LOST,     /* of topic and id something cannot be told */
    WEBSOCKET_NOTE_SNAPSHOT, /* spec, items */
    WEBSOCKET_NOTE_BEGUN,    /* spec: its positions are in the log */
    WEBSOCKET_NOTE_CAUGHT,   /* spec: from places on the feed tells it everything */
    WEBSOCKET_NOTE_FAILED    /* spec, refusal */
};
struct websocket_note {
    struct websocket_note *next;
    enum websocket_note_kind kind;
    size_t bytes;
    struct websocket_event *event;
    struct websocket_spec *spec;
    size_t source;
    enum websocket_topic topic;
    struct websocket_event **items;
    size_t count;
    struct websocket_place *places; /* of CAUGHT */
    struct websocket_refusal refusal;
};
struct websocket_note *websocket_note_create(enum websocket_note_kind kind,
        struct websocket_spec *spec);                     /* with a reference of its own */
void websocket_note_destroy(struct websocket_note *note); /* releases what is in it */

struct websocket_inbox;
struct websocket_inbox *websocket_inbox_create(void (*wake)(void *context), void *context);
void websocket_inbox_destroy(struct websocket_inbox *inbox);
void websocket_inbox_close(struct websocket_inbox
                *inbox); /* whoever waits goes on; notes are dropped */
/* Takes the note. Waits for room, unless it is urgent. */
void websocket_inbox_push(struct websocket_inbox *inbox, struct websocket_note *note, bool urgent);
/* All that has come, linked in order; NULL: nothing. @thread owner */
struct websocket_note *websocket_inbox_take(struct websocket_inbox *inbox);
