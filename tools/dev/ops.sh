# shellcheck shell=bash
# ./dev package, image, release-check, ops-test: what is shipped, and the slow checks of it. They need the network, and root for
# chroot; `./dev test packages` has what is fast.
source tools/dev/test.sh

# Both .deb files, in build/package.
verb_package() {
    verb_deps
    build_package
    ls build/package/*.deb
}

build_package() {
    build_preset package
    rm -f build/package/*.deb
    if ! (cd build/package && cpack >cpack.log 2>&1); then
        cat build/package/cpack.log >&2
        fail 'cpack failed'
    fi
}

version() {
    sed -nE 's/^project\(tally VERSION ([0-9.]+) .*/\1/p' CMakeLists.txt
}

# Whether a tag may be released: it is the version, and the changelog tells of it.
verb_release-check() {
    local tag=${1:-}
    [[ $tag == "v$(version)" ]] || fail "the tag \"$tag\" is not v$(version), the version in CMakeLists.txt"
    grep -q "^## $(version)\b" CHANGELOG.md || fail "CHANGELOG.md has no section \"## $(version)\""
    say "$tag can be released"
}

# The image, with whichever of the two is there; another name as the argument.
verb_image() {
    local engine name=${1:-tally:dev}
    for engine in docker podman; do
        if command -v $engine >/dev/null; then
            exec $engine build -f k8s/Dockerfile --build-arg "VERSION=$(version)" \
                --build-arg "COMMIT=$(git describe --always --dirty --abbrev=12 --exclude '*')" -t "$name" .
        fi
    done
    fail 'neither docker nor podman is here'
}

ops_tests() {
    find tests/ops -name 'test_*.py' -printf '%f\n' | sed 's/^test_//; s/\.py$//' | sort
}

verb_ops-test() {
    local chosen name output result
    chosen=${1:-$(ops_tests)}
    [[ -f tests/ops/test_$chosen.py || -z ${1:-} ]] ||
        fail_usage "no test \"$1\": one of $(ops_tests | tr '\n' ' ')"
    ((EUID == 0)) || fail 'ops-test runs programs in a tree of its own with chroot: run it as root'
    install_packages ops
    verb_deps
    case " ${chosen//$'\n'/ } " in *' unit '* | *' observability '* | *' rolling '*) with_servers ;; esac
    build_package
    case " ${chosen//$'\n'/ } " in *' unit '* | *' observability '* | *' rolling '*) servers_wait ;; esac
    mkdir -p .run
    TEST_TALLY=$(built package)
    export TEST_TALLY DEV_CACHE=$cache
    for name in $chosen; do
        kind_began=$SECONDS result=0
        local before_passed=$passed before_failed=$failed
        output=.run/ops-$name.log
        python3 "tests/ops/test_$name.py" 2>&1 | tee -i "$output" | sed -u '/^[0-9]*%: Checks: /d' || result=$?
        # shellcheck disable=SC2046
        count $(awk '/^[0-9]+%: Checks: / { ok = $3 - $5 - $7; bad = $5 + $7 } END { print ok + 0, bad + 0 }' "$output")
        ((result == 0 || failed > before_failed)) || count 0 1
        tell_kind "$name" "$before_passed" "$before_failed"
    done
    finish
}
