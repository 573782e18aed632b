# shellcheck shell=bash
# ./dev test, asan, tsan, sim, property, bugs, crash, fuzz, bench, profile. Tests that need servers get their own under
# .run/test, emptied before and stopped after, and find them in the environment:
#   TEST_KAFKA      127.0.0.1:29192
#   TEST_KAFKA_PID  of that broker, for tests that stop and continue it
#   TEST_POSTGRES   host=127.0.0.1 port=25432 user=tally dbname=tally
#   TEST_REDIS      127.0.0.1:26379
#   TEST_TALLY      the program under test
# Crash tests start brokers of their own, from TEST_KAFKA_LIBS, a folder of jars, and TEST_KAFKA_CONFIG, a
# server.properties.
source tools/dev/deps.sh
source tools/dev/build.sh
source tools/dev/servers.sh

passed=0 failed=0

count() { # passed, failed
    passed=$((passed + $1)) failed=$((failed + $2))
}

# The sum of all tests is the only line of its form.
without_sum() {
    sed -u '/^[0-9]* passed, [0-9]* failed/d'
}

kind_began=0 # seconds since ./dev began

# One line about a kind of tests; the time is what CONTRIBUTING.md's table is made from.
tell_kind() { # kind, passed before, failed before
    say "$1: $((passed - $2)) passed, $((failed - $3)) failed in $((SECONDS - kind_began)) s"
}

# Adds up the lines "90%: Checks: 10, Failures: 1, Errors: 0" of check programs. A program without
# one counts as one test; one that fails although its line is good (a leak found at exit) fails once.
count_log() { # ctest's log
    # shellcheck disable=SC2046
    count $(awk '
        /^Output:$/ { told = bad = 0 }
        /^[0-9]+%: Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+$/ {
            told = 1; bad += $5 + $7; passed += $3 - $5 - $7
        }
        /^Test (Passed|Failed)\.$/ {
            good = $2 == "Passed."
            if (good && !told) passed++
            if (!good && bad == 0) bad = 1
            failed += bad
        }
        END { print passed + 0, failed + 0 }' "$1")
}

# Runs the tests of one kind that a preset has built.
run_kind() { # preset, kind
    local log=build/$1/Testing/Temporary/LastTest.log before_passed=$passed before_failed=$failed
    local parallel=$build_jobs result=0
    kind_began=$SECONDS
    [[ $2 != integration ]] || parallel=1
    rm -f "$log"
    ctest --test-dir "build/$1" -L "^$2\$" -j "$parallel" --output-on-failure --no-tests=ignore \
        >"build/$1/$2.log" 2>&1 || result=$?
    [[ ! -f $log ]] || count_log "$log"
    if ((result != 0)); then
        cat "build/$1/$2.log"
        ((failed > before_failed)) || count 0 1
    fi
    tell_kind "$2" "$before_passed" "$before_failed"
}

run_lint() { # preset
    local output
    say 'lint'
    output=$(tests/lint/lint.py "build/$1/libtally.a") || sed '$d' <<<"$output"
    # shellcheck disable=SC2046
    count $(tail -n 1 <<<"$output" | awk '{ print $3 - $5 - $7, $5 + $7 }')
}

# Makes trouble for tally and asks the oracle, with a Kafka of its own; a fault counts as one test.
run_crash() { # preset, argument ...
    local log=.run/crash/crash.log preset=$1 before_passed=$passed before_failed=$failed result=0
    kind_began=$SECONDS
    shift
    [[ -x tests/crash/crash ]] || return 0
    (servers_of crash && kafka_configure)
    export TEST_KAFKA_LIBS=$kafka_libs TEST_KAFKA_CONFIG=$root/.run/crash/kafka/server.properties
    TEST_TALLY=$(built "$preset") tests/crash/crash "$@" 2>&1 | tee -i "$log" | without_sum || result=$?
    # shellcheck disable=SC2046
    count $(tail -n 1 "$log" | awk '$2 == "passed," { print $1, $3; exit } { print 0, 0 }')
    ((result == 0 || failed > before_failed)) || count 0 1
    tell_kind crash "$before_passed" "$before_failed"
}

# Plants bugs, each of which the simulator must find; a bug counts as one test.
run_bugs() { # preset, argument ...
    local log=.run/bugs.log before_passed=$passed before_failed=$failed
    kind_began=$SECONDS
    mkdir -p .run
    tests/bugs/run --build "build/$1" "${@:2}" 2>&1 | tee "$log" | without_sum || true
    # shellcheck disable=SC2046
    count $(tail -n 1 "$log" | awk '$2 == "passed," { print $1, $3; exit } { print 0, 1 }')
    tell_kind bugs "$before_passed" "$before_failed"
}

# Compares instructions per command with the stored figure; a part counts as one test. It is the release
# build that is counted.
run_instructions() {
    local output line before_passed=$passed before_failed=$failed
    kind_began=$SECONDS
    if ! (build_preset release bench_instructions); then
        count 0 1
        return
    fi
    output=$(tests/bench/instructions.py --check 2>&1) || sed '/^[0-9]*%: Checks: /d' <<<"$output"
    line=$(grep '^[0-9]*%: Checks: ' <<<"$output") || line='0%: Checks: 1, Failures: 1, Errors: 0'
    # shellcheck disable=SC2046
    count $(awk '{ print $3 - $5 - $7, $5 + $7 }' <<<"$line")
    tell_kind instructions "$before_passed" "$before_failed"
}

# Servers start now and are waited for by servers_wait; they stop when ./dev ends, whatever happens.
with_servers() {
    servers_of test
    exec 9>.run/test.lock
    flock -n 9 || fail 'tests of this clone already run: wait for them'
    servers_stop # what a killed run left behind
    rm -rf "$home"
    servers_of test
    trap servers_stop EXIT
    servers_start
    TEST_KAFKA_PID=$(pid_of kafka)
    export TEST_KAFKA_PID TEST_KAFKA=127.0.0.1:$kafka_port TEST_REDIS=127.0.0.1:$redis_port
    export TEST_POSTGRES="host=127.0.0.1 port=$postgres_port user=tally dbname=tally"
}

finish() {
    say "$passed passed, $failed failed"
    ((failed == 0))
}

# The kinds of tests under one preset; the last line is "N passed, N failed".
run_tests() { # preset, kind ...
    local preset=$1 kind
    shift
    verb_deps
    case " $* " in *' integration '*) with_servers ;; esac
    if ! (build_preset "$preset"); then
        count 0 1
        finish
        return
    fi
    TEST_TALLY=$(built "$preset")
    export TEST_TALLY
    for kind in "$@"; do
        case $kind in
            lint) run_lint "$preset" ;;
            unit | topology | property | sim | packages) run_kind "$preset" "$kind" ;;
            integration)
                servers_wait
                run_kind "$preset" integration
                ;;
            bugs) run_bugs "$preset" ;;
            instructions) run_instructions ;;
            crash) run_crash "$preset" --ci ;;
        esac
    done
    finish
}

kinds() { # allowed kinds, default kinds, given
    [[ -n ${3:-} ]] || { echo "$2"; return; }
    case " $1 " in
        *" $3 "*) echo "$3" ;;
        *) fail_usage "no kind of tests \"$3\": one of $1" ;;
    esac
}

verb_test() {
    local chosen all='lint unit topology property sim bugs instructions packages integration crash'
    chosen=$(kinds "$all" "$all" "${1:-}")
    # shellcheck disable=SC2086
    run_tests dev $chosen
}

verb_asan() {
    local chosen
    chosen=$(kinds 'unit topology property sim integration crash' 'unit topology property sim integration crash' "${1:-}")
    export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
    export UBSAN_OPTIONS=print_stacktrace=1
    export LSAN_OPTIONS=suppressions=$root/tests/sanitize/leak.supp:print_suppressions=0
    # shellcheck disable=SC2086
    run_tests asan $chosen
}

verb_tsan() {
    local chosen
    chosen=$(kinds 'unit topology integration crash' 'unit topology integration crash' "${1:-}")
    # A report ends the process, so that a tally whose output nobody looks at fails its test too.
    export TSAN_OPTIONS=suppressions=$root/tests/sanitize/thread.supp:second_deadlock_stack=1:halt_on_error=1
    # shellcheck disable=SC2086
    run_tests tsan $chosen
}

verb_sim() {
    verb_deps
    build_preset dev
    build/dev/tests/sim "${@:-1}"
}

verb_property() {
    verb_deps
    build_preset dev
    tests/property/run.py "${@:---seeds=50}"
}

verb_sagas() {
    case " $* " in *' --help '*) exec tests/integration/test_contention.py "$@" ;; esac
    verb_deps
    with_servers
    build_preset dev
    servers_wait
    TEST_TALLY=$(built dev) tests/integration/test_contention.py "${@:---full}"
}

verb_plans() {
    local variants=1000000
    if [[ $# -gt 0 ]]; then
        [[ $# -eq 2 && $1 == --variants && $2 =~ ^[1-9][0-9]{3,7}$ ]] ||
            fail_usage "plans [--variants N], N from 1000 to 99999999"
        variants=$2
    fi
    verb_deps
    with_servers
    build_preset dev
    servers_wait
    echo "$variants variants; a million takes about four minutes and 3 GB"
    TEST_TALLY=$(built dev) TEST_PLANS_VARIANTS=$variants tests/integration/test_postgres_plans.py
}

verb_bugs() {
    verb_deps
    build_preset dev
    (servers_of crash && kafka_configure)
    export TEST_KAFKA_LIBS=$kafka_libs TEST_KAFKA_CONFIG=$root/.run/crash/kafka/server.properties
    tests/bugs/run --build build/dev "$@"
}

verb_crash() {
    case " $* " in *' --list '* | *' --help '*) exec tests/crash/crash "$@" ;; esac
    verb_deps
    build_preset dev
    run_crash dev "$@"
    finish
}

verb_fuzz() {
    local target=${1:-} seconds=${2:-60} known corpus
    known=$(find tests/fuzz -name 'fuzz_*.c' | sed 's/.*fuzz_//; s/\.c$//' | sort | tr '\n' ' ')
    [[ -n $target ]] || fail_usage "which fuzz target: one of $known"
    [[ " $known" == *" $target "* ]] || fail_usage "no fuzz target \"$target\": one of $known"
    [[ $seconds =~ ^[0-9]+$ ]] || fail_usage "seconds are a number, not \"$seconds\""
    verb_deps
    build_preset fuzz
    corpus=tests/fuzz/corpus/$target
    mkdir -p ".run/fuzz/$target"
    [[ -d $corpus ]] || corpus=
    # What it finds first lands in .run/fuzz; what is worth keeping is copied into the corpus by hand.
    "build/fuzz/tests/fuzz_$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix=".run/fuzz/$target-" ".run/fuzz/$target" ${corpus:+"$corpus"}
}

verb_bench() {
    case " $* " in *' report '* | *' --help '*) exec tests/bench/bench "$@" ;; esac
    verb_deps
    if [[ ${1:-} == instructions ]]; then # needs no servers
        build_preset release bench_instructions >&2
        tests/bench/instructions.py "${@:2}"
        return
    fi
    with_servers
    build_preset release
    servers_wait
    TEST_TALLY=$(built release) TALLY_CACHE=$cache tests/bench/bench "${@:-all}"
}

perf_works() {
    local data lines=0
    command -v perf >/dev/null || return 1
    data=$(mktemp)
    # shellcheck disable=SC2016
    if perf record -q -o "$data" --call-graph dwarf bash -c 'for ((i = 0; i < 300000; i++)); do :; done' \
        >/dev/null 2>&1; then
        lines=$(perf script -i "$data" 2>/dev/null | wc -l)
    fi
    rm -f "$data"
    ((lines > 0))
}

# perf samples the real thing; where it may not run, callgrind counts the same work without Kafka.
verb_profile() {
    local way=perf
    [[ ${1:-stream} == stream ]] || fail_usage "no profile of \"$1\": stream"
    case " ${*:2} " in *' --help '*) exec tests/bench/profile_stream.py --help ;; esac
    verb_deps
    if [[ ${2:-} == --callgrind ]]; then
        way=callgrind
        set -- stream "${@:3}"
    elif ! perf_works; then
        say 'perf may not sample here: callgrind counts instead'
        way=callgrind
    fi
    if [[ $way == callgrind ]]; then
        build_preset release bench_instructions
        tests/bench/profile_stream.py callgrind "${@:2}"
        return
    fi
    with_servers
    build_preset release
    servers_wait
    TALLY_CACHE=$cache tests/bench/profile_stream.py perf "${@:2}"
}
