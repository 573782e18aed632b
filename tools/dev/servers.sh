# shellcheck shell=bash
# Kafka, PostgreSQL and Redis in a folder and on ports of our own: `servers_of up` under .run/,
# `servers_of test` under .run/test; `servers_of crash` has only Kafka's settings, under .run/crash. A server is stopped by the pid that its pid file holds, and only
# while that process started when the file says, so a recycled pid is never touched.

servers=(kafka postgres redis)
home=

servers_of() { # up | test | crash
    case $1 in
        up)
            home=$root/.run
            kafka_port=${DEV_KAFKA_PORT:-19092} kafka_setting=DEV_KAFKA_PORT
            controller_port=${DEV_CONTROLLER_PORT:-19093} controller_setting=DEV_CONTROLLER_PORT
            postgres_port=${DEV_POSTGRES_PORT:-15432} postgres_setting=DEV_POSTGRES_PORT
            redis_port=${DEV_REDIS_PORT:-16379} redis_setting=DEV_REDIS_PORT
            ;;
        test | crash)
            home=$root/.run/$1
            kafka_port=${DEV_TEST_KAFKA_PORT:-29192} kafka_setting=DEV_TEST_KAFKA_PORT
            controller_port=${DEV_TEST_CONTROLLER_PORT:-29193} controller_setting=DEV_TEST_CONTROLLER_PORT
            postgres_port=${DEV_TEST_POSTGRES_PORT:-25432} postgres_setting=DEV_TEST_POSTGRES_PORT
            redis_port=${DEV_TEST_REDIS_PORT:-26379} redis_setting=DEV_TEST_REDIS_PORT
            ;;
    esac
    tally_port=${DEV_HTTP_PORT:-8080} tally_setting=DEV_HTTP_PORT
    mkdir -p "$home/log" "$home/pid"
}

# --- processes ---------------------------------------------------------------------------------------

# What tells this process from any later one with its pid: boot, and ticks since boot at its start.
birth_of() { # pid
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    stat=${stat##*) } # the name before may hold spaces
    read -ra stat <<<"$stat"
    [[ ${stat[0]} != Z ]] || return 1
    echo "$(cat /proc/sys/kernel/random/boot_id) ${stat[19]}"
}

# Prints the pid of a running server.
pid_of() { # name
    local pid birth
    read -r pid birth 2>/dev/null <"$home/pid/$1" || return 1
    [[ $(birth_of "$pid") == "$birth" ]] || return 1
    echo "$pid"
}

spawn() { # name, command ...
    local name=$1 pid
    shift
    # 9 is the lock of the test folder; a server must not hold it.
    setsid "$@" >"$home/log/$name.log" 2>&1 </dev/null 9>&- &
    pid=$!
    echo "$pid $(birth_of "$pid")" >"$home/pid/$name"
}

port_open() { # port
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

port_must_be_free() { # port, setting
    if port_open "$1"; then
        fail "port $1 is taken by another program: stop it, or choose another port with $2=PORT"
    fi
}

answers_or_died() { # name, port
    port_open "$2" || ! pid_of "$1" >/dev/null
}

# Returns when the server takes connections; fails with the end of its log when it died.
wait_ready() { # name, port
    if ! wait_for "${DEV_START_SECONDS:-90}" answers_or_died "$1" "$2" || ! pid_of "$1" >/dev/null; then
        tail -n 20 "$home/log/$1.log" >&2
        fail "$1 did not start: see $home/log/$1.log"
    fi
}

gone() { # name
    ! pid_of "$1" >/dev/null
}

stop() { # name, signal
    local pid
    if pid=$(pid_of "$1"); then
        kill "-$2" "$pid" 2>/dev/null || true
        if ! wait_for 30 gone "$1"; then
            kill -KILL "$pid" 2>/dev/null || true
            wait_for 10 gone "$1" || fail "$1 (pid $pid) cannot be stopped"
        fi
    fi
    rm -f "$home/pid/$1"
}

# --- Kafka: one KRaft node ---------------------------------------------------------------------------

kafka_java() { # heap; sets java
    java=(java "-Xmx$1" "-Dlog4j2.configurationFile=file:$home/kafka/log4j2.properties" -cp "$kafka_libs/*")
}

kafka_configure() {
    mkdir -p "$home/kafka"
    cat >"$home/kafka/log4j2.properties" <<PROPERTIES
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = WARN
rootLogger.appenderRef.console.ref = console
logger.kafka.name = kafka
logger.kafka.level = INFO
PROPERTIES
    cat >"$home/kafka/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
listeners=PLAINTEXT://127.0.0.1:$kafka_port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$kafka_port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$home/kafka/data
auto.create.topics.enable=false
num.partitions=4
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.partition.verification.enable=true
group.initial.rebalance.delay.ms=0
PROPERTIES
}

kafka_start() {
    local java
    port_must_be_free "$kafka_port" "$kafka_setting"
    port_must_be_free "$controller_port" "$controller_setting"
    kafka_configure
    if [[ ! -f $home/kafka/data/meta.properties ]]; then
        kafka_java 256m
        "${java[@]}" kafka.tools.StorageTool format -t dGFsbHktZGV2LWNsdXN0ZQ -c "$home/kafka/server.properties" \
            >"$home/log/kafka-format.log" 2>&1 ||
            { cat "$home/log/kafka-format.log" >&2; fail 'could not format the data folder of Kafka'; }
    fi
    kafka_java 512m
    spawn kafka "${java[@]}" kafka.Kafka "$home/kafka/server.properties"
}

kafka_stop() {
    stop kafka TERM
}

# --- PostgreSQL ------------------------------------------------------------------------------------

postgres_bin=/usr/lib/postgresql/15/bin

# PostgreSQL refuses root, so root runs it as the user postgres, with the one capability that lets
# that user into the folder of the clone.
as_postgres=()
if ((EUID == 0)); then
    as_postgres=(setpriv --reuid=postgres --regid=postgres --init-groups
        --inh-caps=+dac_override --ambient-caps=+dac_override --)
fi

postgres_start() {
    local settings=(-p "$postgres_port" -c listen_addresses=127.0.0.1 -c unix_socket_directories='')
    port_must_be_free "$postgres_port" "$postgres_setting"
    [[ $home != */test ]] || settings+=(-c fsync=off) # tests kill processes, never the machine
    if [[ ! -f $home/postgres/PG_VERSION ]]; then
        rm -rf "$home/postgres"
        mkdir -m 700 "$home/postgres"
        ((EUID != 0)) || chown postgres: "$home/postgres"
        "${as_postgres[@]}" "$postgres_bin/initdb" -D "$home/postgres" -U tally --auth=trust \
            -E UTF8 --locale=C.UTF-8 --no-sync >"$home/log/postgres-initdb.log" 2>&1 ||
            { cat "$home/log/postgres-initdb.log" >&2; fail 'could not make the data folder of PostgreSQL'; }
    fi
    spawn postgres "${as_postgres[@]}" "$postgres_bin/postgres" -D "$home/postgres" "${settings[@]}"
}

# It listens before it has recovered; the database of tally is there when this succeeds.
postgres_database() {
    local psql=("$postgres_bin/psql" -qtAX -h 127.0.0.1 -p "$postgres_port" -U tally -d postgres)
    [[ $("${psql[@]}" -c "select count(*) from pg_database where datname = 'tally'" 2>/dev/null) == 1 ]] ||
        "${psql[@]}" -c 'create database tally' 2>/dev/null
}

postgres_stop() {
    stop postgres INT # fast shutdown
}

# --- Redis -------------------------------------------------------------------------------------------

redis_start() {
    port_must_be_free "$redis_port" "$redis_setting"
    mkdir -p "$home/redis"
    spawn redis redis-server --bind 127.0.0.1 --port "$redis_port" --dir "$home/redis" \
        --appendonly yes --daemonize no
}

redis_stop() {
    stop redis TERM
}

# --- all three ---------------------------------------------------------------------------------------

# Starts what does not run; servers_wait returns when they answer.
servers_start() {
    local name
    for name in "${servers[@]}"; do
        pid_of "$name" >/dev/null || "${name}_start"
    done
}

servers_wait() {
    local name port
    for name in "${servers[@]}"; do
        port=${name}_port
        wait_ready "$name" "${!port}"
    done
    wait_for 60 postgres_database || fail "PostgreSQL takes no statements: see $home/log/postgres.log"
}

servers_stop() {
    local name
    for name in "${servers[@]}"; do
        "${name}_stop"
    done
}
