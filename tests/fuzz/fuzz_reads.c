/* tests/fuzz/fuzz_reads.c - any bytes as what instances send each other: the first byte says
 * whether the rest is a request to POST /v1/internal/reads of one that has a task with some rows,
 * or another instance's answer to one. A request is answered, with 200 or a problem; what is taken
 * of an answer is no more than what came. */
#include <stdlib.h>

#include "engine/base/config.h"
#include "engine/runtime_internal.h"
#include "http/elsewhere.h"
#include "http/reading.h"
#include "http/router.h"
#include "topologies/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PARTITIONS = 2, ITEMS = 5, ARENA_BYTES = 1 << 16 };

static struct tally_config config;
static struct tally_topology *topology;
static struct tally_runtime runtime;
static struct exchange exchange;
static struct cursor_key cursor_key;
static struct waiting waiting = {.max = 1};
static struct tally_slice told; /* what the other instance answers */

/* --- an instance with a task ------------------------------------------------------------------ */

static void load_config(void)
{
    char *argv[] = {"fuzz", NULL};
    int argc = 1;
    struct tally_buf mistakes;
    struct tally_error err = {0};

    tally_buf_init(&mistakes, 4096);
    tally_assert(tally_config_load(&config, &argc, argv, &mistakes, &err) == TALLY_OK);
    tally_buf_deinit(&mistakes);
}

/* It does not run, so that nothing is waited for; it is this instance's, so that it is read. */
static void fill_task(void)
{
    const struct tally_store_identity identity = {.topology = "stock",
            .partitions = PARTITIONS,
            .cluster_id = "c",
            .group = "g",
            .commands_topic = "stock.commands",
            .events_topic = "stock.events",
            .evolve_version = 1,
            .settings = "",
            .omitted = ""};
    const struct tally_positions positions = {.in_next = 10, .in_last = 9, .out_last = 9};
    struct tally_task_slot *slot = tally_task_registry_find(runtime.registry, "stock", 0);
    struct tally_store *store = NULL;
    struct tally_error err = {0};

    tally_assert(tally_store_open(runtime.state, &identity, &store, &err) == TALLY_OK);
    for (char sku = 'A'; sku < 'E'; sku++) {
        struct tally_key key;

        tally_key_begin(&key, TALLY_STORE_LEVEL);
        tally_key_string(&key, tally_slice_of(&sku, 1));
        tally_key_tail(&key, TALLY_SLICE("W"));
        tally_store_put(store, tally_key_bytes(&key), TALLY_SLICE("row"));
    }
    tally_store_commit(store, &positions);
    tally_task_slot_set_store(slot, store);
    tally_task_slot_set_state(slot, TALLY_TASK_HALTED);
}

static enum tally_code owner(struct tally_forward *forward, const char *name, int32_t partition,
        char address[static TALLY_ADDRESS_BYTES_MAX], struct tally_error *err)
{
    (void)forward;
    (void)name;
    (void)partition;
    (void)err;
    memcpy(address, "b:1", 4);
    return TALLY_OK;
}

static void doubt(struct tally_forward *forward)
{
    (void)forward;
}

static enum tally_code send_told(struct tally_forward *forward,
        const struct tally_forward_request *request, struct tally_forward_answer *answer,
        struct tally_error *err)
{
    (void)forward;
    (void)request;
    (void)err;
    answer->status = 200;
    tally_buf_slice(&answer->body, told);
    return TALLY_OK;
}

static void set_up(void)
{
    static const struct tally_forward_ops ops = {.owner = owner, .doubt = doubt, .send = send_told};
    static struct tally_forward forward = {&ops};
    struct tally_state_options options = {.memory_bytes = 8 << 20,
            .flush_interval_ms = 1000,
            .flush_bytes = 1 << 20,
            .clock = tally_clock_real(),
            .flush_inline = true};
    struct tally_error err = {0};

    load_config();
    tally_assert(tally_registry_create("stock", &config, &topology, &err) == TALLY_OK);
    tally_assert(tally_state_open(&options, &runtime.state, &err) == TALLY_OK);
    tally_assert(cursor_key_make("k", &cursor_key, &err) == TALLY_OK);
    runtime.options = (struct tally_runtime_options){.config = &config,
            .clock = tally_clock_real(),
            .topologies = &topology,
            .topology_count = 1,
            .partitions = PARTITIONS};
    runtime.registry = tally_task_registry_create(&topology, 1, PARTITIONS, 1);
    fill_task();
    exchange.runtime = &runtime;
    exchange.forward = &forward;
    exchange.waiting = &waiting;
    exchange.cursor_key = &cursor_key;
    exchange.route = router_route(ROUTE_INTERNAL_READS);
    response_init(&exchange.response);
    tally_arena_init(&exchange.arena, ARENA_BYTES);
}

/* --- what comes ------------------------------------------------------------------------------- */

static void answer(struct tally_slice body)
{
    exchange.request = (struct request){.method = REQUEST_POST,
            .method_name = "POST",
            .path = TALLY_SLICE("/v1/internal/reads"),
            .peer = "127.0.0.1",
            .headers = {{"Content-Type", RESPONSE_BYTES}, {"Tally-Forwarded", "1"}},
            .header_count = 2,
            .body = body};
    elsewhere_reads(&exchange);
    tally_assert(exchange.response.status == 200 || exchange.response.status == 400 ||
                 exchange.response.status == 503);
    tally_assert(exchange.response.body.len > 0 && !exchange.response.body.failed);
}

static void take(struct tally_slice body)
{
    struct elsewhere_item items[ITEMS];

    exchange.request = (struct request){.method = REQUEST_GET,
            .method_name = "GET",
            .path = TALLY_SLICE("/v1/stock/A"),
            .peer = "127.0.0.1"};
    told = body;
    for (size_t i = 0; i < ITEMS; i++) {
        items[i] = (struct elsewhere_item){.kind = (enum elsewhere_kind)(i % ELSEWHERE_KINDS),
                .topology = "stock",
                .partition = 1,
                .key = TALLY_SLICE("LA"),
                .upper = TALLY_SLICE("LB"),
                .limit = 10};
    }
    elsewhere_ask(&exchange, items, ITEMS, 0);
    for (size_t i = 0; i < ITEMS; i++) {
        tally_assert((unsigned)items[i].code < TALLY_CODES);
        for (size_t j = 0; j < items[i].count; j++) {
            tally_assert(items[i].rows[j].value.len <= body.len);
        }
        tally_assert(items[i].value.len <= body.len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!topology) {
        set_up();
    }
    if (size == 0) {
        return 0;
    }
    if (data[0] == 'a') {
        take(tally_slice_of(data + 1, size - 1));
    } else {
        answer(tally_slice_of(data + 1, size - 1));
    }
    response_reset(&exchange.response);
    tally_arena_reset(&exchange.arena, ARENA_BYTES);
    return 0;
}
