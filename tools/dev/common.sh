# shellcheck shell=bash
# What every verb of ./dev shares: messages, settings, places. Sourced by ./dev, which is in $root.
export LC_ALL=C

# tally takes an unknown TALLY_ variable for a mistake, so these two are ours alone.
cache=${TALLY_CACHE:-$HOME/.cache/tally}
unset TALLY_CACHE
kafka_version=4.1.0
kafka_libs=$cache/kafka-$kafka_version/libs
build_jobs=${DEV_JOBS:-$(nproc)}

say() {
    printf '%s\n' "$*"
}

fail() {
    printf 'dev: %s\n' "$*" >&2
    exit 1
}

fail_usage() {
    printf 'dev: %s\n' "$*" >&2
    exit 2
}

# The word of a list that is fewest edits away from the given one.
nearest() { # word, words
    awk -v word="$1" '
        function least(a, b, c) { return a < b ? (a < c ? a : c) : (b < c ? b : c) }
        function distance(s, t,    i, j, cost, d) {
            for (i = 0; i <= length(s); i++) d[i, 0] = i
            for (j = 0; j <= length(t); j++) d[0, j] = j
            for (i = 1; i <= length(s); i++)
                for (j = 1; j <= length(t); j++) {
                    cost = substr(s, i, 1) == substr(t, j, 1) ? 0 : 1
                    d[i, j] = least(d[i-1, j] + 1, d[i, j-1] + 1, d[i-1, j-1] + cost)
                }
            return d[length(s), length(t)]
        }
        { far = distance(word, $1); if (NR == 1 || far < best) { best = far; name = $1 } }
        END { print name }' <<<"$2"
}

# Asks until it is so, at most that many seconds.
wait_for() { # seconds, command ...
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}

built() { # preset
    echo "$root/build/$1/tally"
}
