# shellcheck shell=bash
# ./dev deps: Debian packages from tools/packages.txt, Kafka's jars through Maven. Takes a fraction of
# a second when nothing is missing.

java_works() {
    local version
    version=$(java -version 2>&1 | sed -nE '1s/.*"([0-9]+).*/\1/p') || return 1
    [[ -n $version ]] && ((version >= 17))
}

# Prints the packages of the list that are neither installed nor stood in for; those of the section
# [ops] only when they are asked for.
missing_packages() { # ops: with them
    local name bar command installed section=
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p')
    while read -r name bar command; do
        case $name in
            '' | '#'*) continue ;;
            '['*) section=$name && continue ;;
        esac
        [[ $section != '[ops]' || ${1:-} == ops ]] || continue
        grep -qxF "$name" <<<"$installed" && continue
        if [[ $bar == '|' ]] && command -v "$command" >/dev/null; then
            [[ $command != java ]] || java_works || { echo "$name"; continue; }
            continue
        fi
        echo "$name"
    done <tools/packages.txt
}

install_packages() { # ops: also those of ops-test
    local missing as_root=()
    command -v dpkg-query >/dev/null || fail 'this is no Debian: install what tools/packages.txt lists'
    missing=$(missing_packages "$@" | tr '\n' ' ')
    missing=${missing% }
    [[ -n $missing ]] || return 0
    if ((EUID != 0)); then
        if ! sudo -n true 2>/dev/null; then
            fail "packages are missing and this user may not install them; run as root:
apt-get update && tools/dev/install_quietly.sh $missing"
        fi
        as_root=(sudo -n)
    fi
    say "installing $missing"
    "${as_root[@]}" apt-get -qq -o Acquire::Retries=3 update
    # shellcheck disable=SC2086
    "${as_root[@]}" tools/dev/install_quietly.sh $missing
}

# The folder appears under its name only when it is complete, so a fetch that was cut short repeats.
fetch_kafka() {
    local attempt fetched=$cache/kafka-$kafka_version.part
    [[ ! -d $kafka_libs ]] || return 0
    mkdir -p "$cache"
    exec 8>"$cache/fetch.lock"
    flock 8
    if [[ -d $kafka_libs ]]; then # another clone was faster
        exec 8>&-
        return 0
    fi
    say "fetching Kafka $kafka_version through Maven"
    for attempt in 1 2 3; do
        rm -rf "$fetched"
        if mvn -B -q -f tools/kafka.xml dependency:copy-dependencies -DincludeScope=runtime \
            -DoutputDirectory="$fetched/libs" >"$cache/fetch.log" 2>&1; then
            rm -rf "$cache/kafka-$kafka_version"
            mv "$fetched" "$cache/kafka-$kafka_version"
            exec 8>&-
            return 0
        fi
        say "attempt $attempt of 3 failed"
        sleep "$attempt"
    done
    tail -n 20 "$cache/fetch.log" >&2
    fail "could not fetch Kafka's jars: mvn must reach a Maven repository (a mirror: ~/.m2/settings.xml)"
}

verb_deps() {
    install_packages
    fetch_kafka
}
