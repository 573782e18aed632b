# shellcheck shell=bash
# ./dev up, down, status, logs, clean: a whole tally on loopback, everything of it under .run/.
source tools/dev/deps.sh
source tools/dev/build.sh
source tools/dev/servers.sh

# --- tally -------------------------------------------------------------------------------------------

tally_get() { # path; prints the status
    curl -s -o /dev/null -w '%{http_code}' --max-time 5 "http://127.0.0.1:$tally_port$1" || true
}

tally_answers() { # path
    [[ $(tally_get "$1") == 200 ]]
}

tally_configure() {
    cat >"$home/tally.yaml" <<YAML
kafka:
  bootstrap.servers: 127.0.0.1:$kafka_port
state: { dir: "$home/state" }
http: { listen: "127.0.0.1:$tally_port" }
postgres.url: postgresql://tally@127.0.0.1:$postgres_port/tally
redis.url: redis://127.0.0.1:$redis_port
YAML
}

tally_ready_or_died() {
    tally_answers /health/ready || ! pid_of tally >/dev/null
}

# Starts tally, or starts it again when the program or its settings have changed.
tally_start() {
    local program wanted
    program=$(built release)
    tally_configure
    wanted=$(sha256sum "$program" "$home/tally.yaml")
    if pid_of tally >/dev/null && [[ $(cat "$home/tally.started" 2>/dev/null) == "$wanted" ]]; then
        return 0
    fi
    tally_stop
    port_must_be_free "$tally_port" "$tally_setting"
    say 'starting tally'
    "$program" topics create --config "$home/tally.yaml" >"$home/log/topics.log" 2>&1 ||
        { cat "$home/log/topics.log" >&2; fail 'could not create the topics'; }
    "$program" sink migrate --config "$home/tally.yaml" >"$home/log/migrate.log" 2>&1 ||
        { cat "$home/log/migrate.log" >&2; fail 'could not make the tables in PostgreSQL'; }
    spawn tally "$program" run --config "$home/tally.yaml"
    echo "$wanted" >"$home/tally.started"
}

tally_wait() {
    if ! wait_for 60 tally_ready_or_died || ! pid_of tally >/dev/null; then
        tail -n 20 "$home/log/tally.log" >&2
        fail "tally is not ready: see $home/log/tally.log"
    fi
}

tally_stop() {
    stop tally TERM
}

# --- samples -----------------------------------------------------------------------------------------

sample_registered() { # the partition of each SKU knows it and its warehouse
    local path
    for path in $sample_paths; do
        tally_answers "/v1/stock/$path" || return 1
    done
}

sample_stocked() { # the last command of the file has had its effect
    [[ $(curl -s --max-time 5 "http://127.0.0.1:$tally_port/v1/stock/TS-RED-M" |
        jq -r '.totals.on_hand // 0' 2>/dev/null) -gt 0 ]] 2>/dev/null
}

send_samples() { # file
    "$(built release)" send --config "$home/tally.yaml" "samples/$1" >"$home/log/samples.log" 2>&1 ||
        { cat "$home/log/samples.log" >&2; fail "could not send samples/$1"; }
}

# See samples/README.md for why this takes two steps.
load_samples() {
    local sample_paths
    ! sample_stocked || return 0
    say 'loading samples'
    sample_paths=$(jq -r '"\(.sku)/\(.warehouse)"' samples/stock.ndjson | sort -u)
    send_samples catalogue.ndjson
    wait_for 30 sample_registered || fail "the sample SKUs do not appear: see $home/log/tally.log"
    send_samples stock.ndjson
    wait_for 30 sample_stocked || fail "the sample stock does not appear: see $home/log/tally.log"
}

# --- sinks -------------------------------------------------------------------------------------------

tally_psql() { # statement
    "$postgres_bin/psql" -tA -F ' ' -h 127.0.0.1 -p "$postgres_port" -U tally -d tally -c "$1"
}

sinks_caught_up() { # the samples are in both targets
    [[ $(tally_psql "$sample_row" 2>/dev/null) && $(redis-cli -p "$redis_port" "${sample_key[@]}" 2>/dev/null) ]]
}

show_sinks() {
    local sample_row="select sku, warehouse, on_hand, available from tally.stock_level
        where sku = 'TS-RED-M' order by warehouse limit 1"
    local sample_key=(hget tally:level:TS-RED-M AMS1)
    wait_for 30 sinks_caught_up || fail "the samples do not reach PostgreSQL and Redis: see ./dev logs, and
$("$(built release)" sink list --config "$home/tally.yaml" 2>&1)"
    printf '\nPostgreSQL: %s\nRedis:      %s\n' "$(tally_psql "$sample_row")" \
        "$(redis-cli -p "$redis_port" "${sample_key[@]}")"
}

# --- verbs -------------------------------------------------------------------------------------------

verb_up() {
    servers_of up
    verb_deps
    servers_start # Kafka starts while the compiler runs
    build_preset release
    servers_wait
    tally_start
    tally_wait
    load_samples
    verb_status
    show_sinks
    cat <<TEXT

Settings: .run/tally.yaml. Logs: ./dev logs [kafka|postgres|redis|tally] [-f]. Try:
  curl -s http://127.0.0.1:$tally_port/v1/stock/TS-RED-M | jq .levels
  curl -s -X POST http://127.0.0.1:$tally_port/v1/commands/ReceiveStock -H 'Idempotency-Key: first-try' \\
    -H 'Content-Type: application/json' -H 'Prefer: wait=5' \\
    -d '{"sku":"TS-RED-M","warehouse":"AMS1","quantity":5}' | jq
  build/release/tally sink list --config .run/tally.yaml
  psql -h 127.0.0.1 -p $postgres_port -U tally tally -c 'select * from tally.stock_level'
  build/release/tally tail --config .run/tally.yaml -t stock.events -o beginning -e
TEXT
}

verb_down() {
    servers_of up
    tally_stop
    servers_stop
}

verb_status() {
    local name port pid state
    servers_of up
    printf '%-10s %-8s %-6s %s\n' NAME PID PORT STATE
    for name in "${servers[@]}" tally; do
        port=${name}_port
        port=${!port}
        if pid=$(pid_of "$name"); then
            state=starting
            ! port_open "$port" || state=running
        else
            pid=-
            state=stopped
            ! port_open "$port" || state='stopped (the port is taken by another program)'
        fi
        printf '%-10s %-8s %-6s %s\n' "$name" "$pid" "$port" "$state"
    done
}

verb_logs() {
    local name=tally follow=() argument
    servers_of up
    for argument in "$@"; do
        case $argument in
            -f) follow=(-f) ;;
            kafka | postgres | redis | tally) name=$argument ;;
            *) fail_usage "no log \"$argument\": one of kafka, postgres, redis, tally" ;;
        esac
    done
    [[ -f $home/log/$name.log ]] || fail "$name has not been started: ./dev up"
    tail -n 100 "${follow[@]}" "$home/log/$name.log"
}

verb_clean() {
    if [[ -d .run/test ]]; then
        servers_of test
        servers_stop
    fi
    verb_down
    rm -rf .run build compile_commands.json
}
