/* engine/limiter.c - the shared log, or a bucket for each client; see limiter.h.
 * A bucket is found in one row of ways, by its client's hash: no growth, no deletion. */
#include "engine/limiter.h"

#include "engine/base/hash.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/thread.h"

enum {
    ROWS = 1024, /* with WAYS: how many clients of all policies are told apart */
    WAYS = 8,
    NAME_MAX_BYTES = 80, /* policy and an IPv6 address with its port; longer names share by hash */
    COMPLAIN_MS = 10000
};

struct bucket {
    uint8_t len; /* 0: free */
    char name[NAME_MAX_BYTES];
    int64_t since_us; /* when `tokens` was right */
    double tokens;
};

struct tally_limiter {
    struct tally_limit_log *log;
    int64_t instances;
    struct tally_clock *clock;
    struct tally_mutex mutex; /* guards all below */
    struct tally_log_limit complaint;
    struct bucket *buckets; /* ROWS * WAYS */
};

struct tally_limiter *tally_limiter_create(struct tally_limit_log *log, int64_t instances,
        struct tally_clock *clock)
{
    struct tally_limiter *limiter = tally_alloc_zero(1, sizeof *limiter);

    limiter->log = log;
    limiter->instances = instances > 0 ? instances : 1;
    limiter->clock = clock;
    limiter->buckets = tally_alloc_zero(ROWS * WAYS, sizeof *limiter->buckets);
    tally_mutex_init(&limiter->mutex, TALLY_LOCK_CONNECTOR);
    return limiter;
}

void tally_limiter_destroy(struct tally_limiter *limiter)
{
    if (!limiter) {
        return;
    }
    if (limiter->log) {
        limiter->log->ops->destroy(limiter->log);
    }
    tally_mutex_deinit(&limiter->mutex);
    tally_free(limiter->buckets);
    tally_free(limiter);
}

static struct bucket *find_bucket(struct tally_limiter *limiter, const char *name, uint8_t len)
{
    uint32_t row = tally_crc32c(0, tally_slice_of(name, len)) % ROWS;
    struct bucket *ways = &limiter->buckets[row * WAYS], *oldest = ways;

    for (size_t i = 0; i < WAYS; i++) {
        if (ways[i].len == len && memcmp(ways[i].name, name, len) == 0) {
            return &ways[i];
        }
        if (ways[i].len == 0 || (oldest->len != 0 && ways[i].since_us < oldest->since_us)) {
            oldest = &ways[i];
        }
    }
    *oldest = (struct bucket){.len = len, .since_us = INT64_MIN};
    memcpy(oldest->name, name, len);
    return oldest;
}

/* policy NUL client; of a long client its hash is in the place of its end. */
static uint8_t name_of(const struct tally_limit *limit, struct tally_slice client, char *name)
{
    struct tally_slice policy = tally_slice_string(limit->policy);
    size_t len = policy.len < NAME_MAX_BYTES / 2 ? policy.len : NAME_MAX_BYTES / 2;
    uint32_t hash = tally_crc32c(0, client);

    memcpy(name, policy.data, len);
    name[len++] = '\0';
    if (client.len <= NAME_MAX_BYTES - len) {
        memcpy(name + len, client.data, client.len);
        return (uint8_t)(len + client.len);
    }
    memcpy(name + len, client.data, NAME_MAX_BYTES - len);
    memcpy(name + NAME_MAX_BYTES - sizeof hash, &hash, sizeof hash);
    return NAME_MAX_BYTES;
}

static void take_local(struct tally_limiter *limiter, const struct tally_limit *limit,
        struct tally_slice client, struct tally_limit_answer *answer)
{
    int64_t share = limit->quota / limiter->instances;
    double capacity = share > 0 ? (double)share : 1;
    double us_per_token = (double)limit->window_ms * 1000 / capacity;
    int64_t now_us = tally_mono_us(limiter->clock);
    char name[NAME_MAX_BYTES];
    uint8_t len = name_of(limit, client, name);
    struct bucket *bucket;

    tally_mutex_lock(&limiter->mutex);
    bucket = find_bucket(limiter, name, len);
    if (bucket->since_us == INT64_MIN) {
        bucket->tokens = capacity;
    } else if (now_us > bucket->since_us) {
        bucket->tokens += (double)(now_us - bucket->since_us) / us_per_token;
    }
    bucket->tokens = bucket->tokens < capacity ? bucket->tokens : capacity;
    bucket->since_us = now_us;
    answer->allowed = bucket->tokens >= 1;
    bucket->tokens -= answer->allowed ? 1 : 0;
    answer->remaining = (int64_t)bucket->tokens;
    answer->reset_ms =
            (int64_t)(((double)answer->remaining + 1 - bucket->tokens) * us_per_token / 1000) + 1;
    tally_mutex_unlock(&limiter->mutex);
}

void tally_limiter_take(struct tally_limiter *limiter, const struct tally_limit *limit,
        struct tally_slice client, struct tally_limit_answer *answer)
{
    struct tally_error err = {0};
    bool complain;

    if (limiter->log &&
            limiter->log->ops->take(limiter->log, limit, client, answer, &err) == TALLY_OK) {
        return;
    }
    take_local(limiter, limit, client, answer);
    if (!limiter->log) {
        return;
    }
    tally_mutex_lock(&limiter->mutex);
    complain = tally_log_allowed(&limiter->complaint, COMPLAIN_MS);
    tally_mutex_unlock(&limiter->mutex);
    if (complain) {
        tally_log_error(TALLY_LOG_WARN, "requests are limited by this instance alone", &err);
    }
}
