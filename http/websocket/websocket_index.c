/* http/websocket/websocket_index.c - see websocket_index.h.
 * Chained, and as large as what is in it. */
#include "http/websocket/websocket_index.h"

#include "engine/base/hash.h"

enum { BUCKETS_LEAST = 256 };

struct entry {
    struct entry *next;
    uint32_t hash;
    enum websocket_topic topic;
    struct websocket_followers followers;
    size_t len;
    uint8_t id[];
};
struct websocket_index {
    struct websocket_followers all[WEBSOCKET_TOPICS];
    struct entry **buckets;
    size_t capacity, count;
};

struct websocket_index *websocket_index_create(void)
{
    struct websocket_index *index = tally_alloc_zero(1, sizeof *index);

    index->capacity = BUCKETS_LEAST;
    index->buckets = tally_alloc_zero(index->capacity, sizeof(struct entry *));
    return index;
}

void websocket_index_destroy(struct websocket_index *index)
{
    tally_assert(index->count == 0);
    for (size_t i = 0; i < WEBSOCKET_TOPICS; i++) {
        tally_free(index->all[i].items);
    }
    tally_free(index->buckets);
    tally_free(index);
}

static uint32_t hash_of(enum websocket_topic topic, struct tally_slice id)
{
    return tally_crc32c((uint32_t)topic + 1, id);
}

/* Where the entry hangs, or would. */
static struct entry **find(const struct websocket_index *index, enum websocket_topic topic,
        struct tally_slice id)
{
    uint32_t hash = hash_of(topic, id);
    struct entry **at = &index->buckets[hash & (index->capacity - 1)];

    while (*at && !((*at)->hash == hash && (*at)->topic == topic &&
                          tally_slice_equal(tally_slice_of((*at)->id, (*at)->len), id))) {
        at = &(*at)->next;
    }
    return at;
}

static void grow(struct websocket_index *index)
{
    size_t capacity = 2 * index->capacity;
    struct entry **buckets = tally_alloc_zero(capacity, sizeof(struct entry *));

    for (size_t i = 0; i < index->capacity; i++) {
        for (struct entry *entry = index->buckets[i], *next; entry; entry = next) {
            struct entry **at = &buckets[entry->hash & (capacity - 1)];

            next = entry->next;
            entry->next = *at;
            *at = entry;
        }
    }
    tally_free(index->buckets);
    index->buckets = buckets;
    index->capacity = capacity;
}

static void add(struct websocket_followers *followers, struct websocket_subscription *subscription)
{
    if (followers->count == followers->capacity) {
        followers->capacity = followers->capacity ? 2 * followers->capacity : 1;
        followers->items = tally_realloc(followers->items,
                followers->capacity * sizeof(struct websocket_subscription *));
    }
    followers->items[followers->count++] = subscription;
}

static void take_out(struct websocket_followers *followers,
        const struct websocket_subscription *subscription)
{
    for (size_t i = 0; i < followers->count; i++) {
        if (followers->items[i] == subscription) {
            followers->items[i] = followers->items[--followers->count];
            break;
        }
    }
}

void websocket_index_add(struct websocket_index *index, const struct websocket_spec *spec,
        struct websocket_subscription *subscription)
{
    if (!spec->ids.given) {
        add(&index->all[spec->topic], subscription);
    }
    for (size_t i = 0; i < spec->ids.count; i++) {
        struct tally_slice id = spec->ids.items[i];
        struct entry **at = find(index, spec->topic, id);

        if (!*at) {
            *at = tally_alloc_zero(1, sizeof **at + id.len);
            (*at)->hash = hash_of(spec->topic, id);
            (*at)->topic = spec->topic;
            (*at)->len = id.len;
            memcpy((*at)->id, id.data, id.len);
            index->count++;
        }
        add(&(*at)->followers, subscription);
        if (index->count > index->capacity) {
            grow(index);
        }
    }
}

void websocket_index_remove(struct websocket_index *index, const struct websocket_spec *spec,
        struct websocket_subscription *subscription)
{
    if (!spec->ids.given) {
        take_out(&index->all[spec->topic], subscription);
    }
    for (size_t i = 0; i < spec->ids.count; i++) {
        struct entry **at = find(index, spec->topic, spec->ids.items[i]), *entry = *at;

        if (entry) {
            take_out(&entry->followers, subscription);
        }
        if (entry && entry->followers.count == 0) {
            *at = entry->next;
            tally_free(entry->followers.items);
            tally_free(entry);
            index->count--;
        }
    }
}

const struct websocket_followers *websocket_index_named(const struct websocket_index *index,
        enum websocket_topic topic, struct tally_slice id)
{
    const struct entry *entry = *find(index, topic, id);

    return entry ? &entry->followers : NULL;
}

const struct websocket_followers *websocket_index_all(const struct websocket_index *index,
        enum websocket_topic topic)
{
    return &index->all[topic];
}

unsigned websocket_index_wanted(const struct websocket_index *index, unsigned topics,
        struct tally_slice id)
{
    unsigned wanted = 0;

    for (unsigned topic = 0; topic < WEBSOCKET_TOPICS; topic++) {
        if (topics & 1u << topic &&
                (index->all[topic].count > 0 || *find(index, (enum websocket_topic)topic, id))) {
            wanted |= 1u << topic;
        }
    }
    return wanted;
}
