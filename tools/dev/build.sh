# shellcheck shell=bash
# ./dev build, and what other verbs build with.

# Output of a step that went well is noise; of one that did not, everything.
build_preset() { # preset, target ...
    local log=build/$1/dev.log
    case $1 in
        dev | clang | release | package | asan | tsan | fuzz) ;;
        *) fail_usage "no preset \"$1\": one of dev, clang, release, package, asan, tsan, fuzz" ;;
    esac
    mkdir -p "build/$1"
    # A preset that has changed since holds for a folder that is there too.
    if [[ ! -f build/$1/build.ninja || CMakePresets.json -nt build/$1/build.ninja ]]; then
        if ! cmake --preset "$1" >"$log" 2>&1; then
            cat "$log" >&2
            fail "preset $1 does not configure"
        fi
        touch "build/$1/build.ninja"
    fi
    say "building build/$1"
    if ! ninja -C "build/$1" -j "$build_jobs" "${@:2}" >"$log" 2>&1; then
        sed '/^\[[0-9]*\/[0-9]*\]/d' "$log" >&2
        fail "preset $1 does not build"
    fi
}

verb_build() {
    build_preset "${1:-dev}"
    [[ $# -gt 0 ]] || ln -sfn build/dev/compile_commands.json compile_commands.json
}
