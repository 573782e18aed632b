/* http/websocket/websocket.c - see websocket.h. Threads end in the order in which they tell each
 * other things: the gateway first, then those who would tell it. */
#include "http/websocket/websocket.h"

#include "http/websocket/websocket_graphql.h"
#include "http/websocket/websocket_stream.h"

static void wake(void *context)
{
    struct websocket *websocket = context;

    websocket_gateway_wake(websocket->gateway);
}

static void work(void *context)
{
    struct websocket *websocket = context;

    websocket_hub_work(websocket->hub);
    websocket_graphql_work(websocket);
}

void websocket_start(struct websocket *websocket, const struct websocket_options *options)
{
    struct websocket_gateway_options gateway = {.max = (size_t)options->config->http_websocket_max,
            .ping_ms = options->config->http_websocket_ping,
            .protocols = {[WEBSOCKET_TALLY] = &websocket_stream_ops,
                    [WEBSOCKET_GRAPHQL] = &websocket_graphql_ops},
            .context = websocket,
            .work = work};

    websocket->auth = options->prototype->auth;
    websocket->gateway = websocket_gateway_create(&gateway);
    websocket->inbox = websocket_inbox_create(wake, websocket);
    websocket->feed = websocket_feed_create(&(struct websocket_feed_options){
            .client = options->client, .prototype = options->prototype, .inbox = websocket->inbox});
    websocket->catchups = websocket_catchups_create(&(struct websocket_catchups_options){
            .client = options->client,
            .prototype = options->prototype,
            .feed = websocket->feed,
            .inbox = websocket->inbox});
    websocket->snapshots =
            websocket_snapshots_create(options->prototype, websocket->feed, websocket->inbox);
    websocket->hub = websocket_hub_create(&(struct websocket_hub_options){.feed = websocket->feed,
            .snapshots = websocket->snapshots,
            .catchups = websocket->catchups,
            .inbox = websocket->inbox});
    websocket->operations = websocket_operations_create(options->prototype, wake, websocket);
    websocket->metrics = websocket_metrics_create();
    websocket_feed_start(websocket->feed);
    websocket_snapshots_start(websocket->snapshots);
    websocket_catchups_start(websocket->catchups);
    websocket_operations_start(websocket->operations);
    websocket_metrics_start(websocket->metrics);
    websocket_gateway_start(websocket->gateway);
}

void websocket_close(struct websocket *websocket)
{
    websocket_gateway_close(websocket->gateway);
}

void websocket_stop(struct websocket *websocket)
{
    websocket_gateway_stop(websocket->gateway);
    websocket_metrics_stop(websocket->metrics); /* collectors may be removed from now on */
}

void websocket_destroy(struct websocket *websocket)
{
    if (!websocket->gateway) {
        return;
    }
    websocket_stop(websocket);
    websocket_operations_stop(websocket->operations);
    websocket_inbox_close(websocket->inbox);
    websocket_snapshots_stop(websocket->snapshots);
    websocket_catchups_stop(websocket->catchups);
    websocket_feed_stop(websocket->feed);
    websocket_operations_destroy(websocket->operations);
    websocket_metrics_destroy(websocket->metrics);
    websocket_hub_destroy(websocket->hub);
    websocket_feed_destroy(websocket->feed);
    websocket_snapshots_destroy(websocket->snapshots);
    websocket_catchups_destroy(websocket->catchups);
    websocket_inbox_destroy(websocket->inbox);
    websocket_gateway_destroy(websocket->gateway);
}
