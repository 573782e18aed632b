# shellcheck shell=bash
# ./dev check, fmt, docs: what a change must pass before it is pushed.
source tools/dev/test.sh

clang_format=clang-format-14

c_files() {
    git ls-files -co --exclude-standard -- '*.c' '*.h' | while read -r file; do
        [[ ! -f $file ]] || echo "$file"
    done
}

changed_c_files() {
    { git diff --name-only --diff-filter=d HEAD -- '*.c' '*.h'; git ls-files -o --exclude-standard -- '*.c' '*.h'; } |
        sort -u
}

verb_fmt() {
    case ${1:-} in
        --all) c_files ;;
        '') changed_c_files ;;
        *) fail_usage "no option \"$1\": --all formats every file" ;;
    esac | xargs -r "$clang_format" -i
}

# The documents that the program writes from its tables: file, arguments.
documents() {
    cat <<'TABLE'
docs/configuration.md config docs
docs/records.md docs records
docs/metrics.md docs metrics
docs/errors.md docs errors
docs/failpoints.md docs failpoints
TABLE
}

# docs/domain.md with the tables that the program prints between its marks.
fill_domain() { # program
    local tables
    tables=$("$1" docs domain) || return 1
    [[ -n $tables ]] || return 1
    awk 'NR == FNR { if (/^<!-- tally docs domain: /) name = $0
                     else if (/^<!-- end -->/) name = ""
                     else if (name) table[name] = table[name] $0 "\n"
                     next }
         /^<!-- tally docs domain: / { print; print ""; printf "%s", table[$0]; hidden = 1 }
         /^<!-- end -->/ { hidden = 0 }
         !hidden' <(echo "$tables") docs/domain.md
}

write_documents() { # folder
    local file arguments program filled
    program=$(built dev)
    filled=$(fill_domain "$program") || fail "tally docs domain failed"
    mkdir -p "$1/docs"
    printf '%s\n' "$filled" >"$1/docs/domain.md"
    filled=$(tools/postgres_schema.py docs/postgres.md) || fail "tools/postgres_schema.py failed"
    printf '%s\n' "$filled" >"$1/docs/postgres.md"
    while read -r file arguments; do
        mkdir -p "$1/${file%/*}"
        # shellcheck disable=SC2086
        "$program" $arguments >"$1/$file" || fail "tally $arguments failed"
    done < <(documents)
}

verb_docs() {
    verb_deps
    build_preset dev
    write_documents .
}

check_format() {
    local wrong
    wrong=$(c_files | xargs -r -P "$build_jobs" -n 16 "$clang_format" --dry-run 2>&1 |
        sed -nE 's/^([^:]+):[0-9]+:.*-Wclang-format-violations.*/\1/p' | sort -u)
    if [[ -z $wrong ]]; then
        count 1 0
        return
    fi
    say "not formatted, ./dev fmt --all does it:" "$wrong"
    count 0 1
}

check_documents() {
    local file arguments fresh
    fresh=$(mktemp -d)
    write_documents "$fresh"
    while read -r file arguments; do
        if cmp -s "$fresh/$file" "$file"; then
            count 1 0
        else
            say "$file is not what \`tally $arguments\` prints: ./dev docs"
            count 0 1
        fi
    done < <(documents; echo docs/domain.md docs domain; echo docs/postgres.md docs)
    rm -rf "$fresh"
}

verb_check() {
    local preset
    verb_deps
    say format
    check_format
    for preset in dev clang release; do
        if ! (build_preset "$preset"); then
            count 0 1
            finish
            return
        fi
        count 1 0
    done
    [[ ! -x $(built dev) ]] || check_documents
    run_lint dev
    run_kind dev unit
    run_kind dev topology
    finish
}
