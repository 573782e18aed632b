/* http/websocket/websocket_inbox.c - see websocket_inbox.h. */
#include "http/websocket/websocket_inbox.h"

#include "engine/base/thread.h"

enum { BYTES_MAX = 4 * 1024 * 1024 };

struct websocket_inbox {
    struct tally_mutex mutex;
    struct tally_cond room;
    struct websocket_note *first, *last;
    size_t bytes;
    bool closed;
    void (*wake)(void *context);
    void *context;
};

struct websocket_note *websocket_note_create(enum websocket_note_kind kind,
        struct websocket_spec *spec)
{
    struct websocket_note *note = tally_alloc_zero(1, sizeof *note);

    note->kind = kind;
    note->spec = spec ? websocket_spec_share(spec) : NULL;
    return note;
}

void websocket_note_destroy(struct websocket_note *note)
{
    if (note->event) {
        websocket_event_release(note->event);
    }
    for (size_t i = 0; i < note->count; i++) {
        websocket_event_release(note->items[i]);
    }
    tally_free(note->items);
    tally_free(note->places);
    websocket_spec_release(note->spec);
    tally_free(note);
}

struct websocket_inbox *websocket_inbox_create(void (*wake)(void *context), void *context)
{
    struct websocket_inbox *inbox = tally_alloc_zero(1, sizeof *inbox);

    tally_mutex_init(&inbox->mutex, TALLY_LOCK_QUEUE);
    tally_cond_init(&inbox->room);
    inbox->wake = wake;
    inbox->context = context;
    return inbox;
}

void websocket_inbox_destroy(struct websocket_inbox *inbox)
{
    tally_assert(!inbox->first);
    tally_cond_deinit(&inbox->room);
    tally_mutex_deinit(&inbox->mutex);
    tally_free(inbox);
}

void websocket_inbox_close(struct websocket_inbox *inbox)
{
    struct websocket_note *note;

    tally_mutex_lock(&inbox->mutex);
    inbox->closed = true;
    tally_cond_broadcast(&inbox->room);
    note = inbox->first;
    inbox->first = inbox->last = NULL;
    tally_mutex_unlock(&inbox->mutex);
    while (note) {
        struct websocket_note *next = note->next;

        websocket_note_destroy(note);
        note = next;
    }
}

static size_t bytes_of(const struct websocket_note *note)
{
    size_t bytes = sizeof *note;

    if (note->event) {
        bytes += sizeof *note->event + note->event->data.len;
    }
    for (size_t i = 0; i < note->count; i++) {
        bytes += sizeof *note->items[i] + note->items[i]->data.len;
    }
    return bytes;
}

void websocket_inbox_push(struct websocket_inbox *inbox, struct websocket_note *note, bool urgent)
{
    bool taken, wakes = false;

    note->bytes = bytes_of(note);
    tally_mutex_lock(&inbox->mutex);
    while (!urgent && !inbox->closed && inbox->bytes > BYTES_MAX) {
        (void)tally_cond_wait(&inbox->room, &inbox->mutex, -1);
    }
    taken = !inbox->closed;
    if (taken) {
        wakes = !inbox->first;
        *(inbox->last ? &inbox->last->next : &inbox->first) = note;
        inbox->last = note;
        inbox->bytes += note->bytes;
    }
    tally_mutex_unlock(&inbox->mutex);
    if (!taken) {
        websocket_note_destroy(note);
    } else if (wakes) {
        inbox->wake(inbox->context);
    }
}

struct websocket_note *websocket_inbox_take(struct websocket_inbox *inbox)
{
    struct websocket_note *first;

    tally_mutex_lock(&inbox->mutex);
    first = inbox->first;
    inbox->first = inbox->last = NULL;
    inbox->bytes = 0;
    tally_cond_broadcast(&inbox->room);
    tally_mutex_unlock(&inbox->mutex);
    return first;
}
