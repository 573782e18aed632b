/* http/graphql/graphql_subscription.h - the fields of Subscription: what they follow, and what the
 * topics of /v1/stream tell (websocket_maker.c) as objects of the schema. @thread any */
#pragma once
#include "http/graphql/graphql.h"

/* Of topic stock the levels of these SKUs, or of topic reservations these reservations. */
struct graphql_following {
    bool stock;
    struct tally_slice *ids;
    size_t count;
    struct tally_slice from; /* data NULL: latest */
    struct graphql_location at;
};
/* Of a prepared subscription; in the arena of errors. false: an error is added. */
bool graphql_subscription_read(const struct graphql_prepared *prepared,
        struct graphql_errors *errors, struct graphql_following *following);
