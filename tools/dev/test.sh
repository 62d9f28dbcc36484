# ./dev test: every suite writes lines of `status, suite, file, name, detail` to one file, and the summary
# is made from it alone. What a suite prints is kept under <build>/test-logs/<suite>/.

FUZZ_SECONDS=20
SUITES="rooms lint unit live clients tsan coverage fuzz"
NODE_FOLDERS="live fault browser"
TSAN_WORDS="exitcode=99:second_deadlock_stack=1:suppressions=$ROOT/tools/dev/tsan.supp"

# note STATUS SUITE FILE NAME [DETAIL]: one result that comes from this script itself.
note() { printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "${5:-}" >>"$RESULTS"; }

# suites_known LIST: whether each of the list is a suite; says which is not.
suites_known() {
    local suite
    for suite in ${1//,/ }; do
        case " $SUITES " in
            *" $suite "*) ;;
            *) say "test has no suite '$suite'; there are: $SUITES"; return 1 ;;
        esac
    done
    [ -n "${1//,/}" ] || { say "--only wants suites: $SUITES"; return 1; }
}

store_known() {
    case $1 in
        sqlite|postgresql) ;;
        *) say "test has no store '$1'; there are: sqlite, postgresql"; return 1 ;;
    esac
}

suite_wanted() { [ -z "$ONLY" ] || case ",$ONLY," in *",$1,"*) ;; *) return 1 ;; esac; }

# suite_told SUITE: one line for whoever watches.
suite_told() {
    awk -F'\t' -v suite="$1" '$2 == suite { n[$1]++ } END {
        printf "dev: %-12s %d passed, %d failed%s\n", suite, n["pass"], n["fail"],
            n["skip"] ? ", " n["skip"] " skipped" : "" }' "$RESULTS" >&2
}

# unit_source PROGRAM: its source; that of tests/unit/core/core_call_test is tests/unit/core/call_test.c.
unit_source() {
    local folder=${1%/*} name=${1##*/}
    if [ -f "$1.c" ]; then
        echo "$1.c"
    elif [ -f "$folder/${name#"${folder##*/}"_}.c" ]; then
        echo "$folder/${name#"${folder##*/}"_}.c"
    else
        echo "$1"
    fi
}

# unit_suite SUITE FOLDER [ROOM...]: the programs that meson knows, or those of some rooms, run by `meson test`.
unit_suite() {
    local suite=$1 folder=$2 logs=$LOGS/$1 slower=1 names=() code=0 program file tap exit_code room
    shift 2
    mkdir -p "$logs"
    [ "$suite" = unit ] || slower=4
    [ -z "$LONG" ] || slower=$((slower * 20))
    if [ -n "$FILTER" ]; then
        mapfile -t names < <(meson test -C "$folder" --list 2>/dev/null | grep -F -- "$FILTER" | sed 's/.* \/ //')
        [ ${#names[@]} -gt 0 ] || return 0
    elif [ -z "$(meson test -C "$folder" --list 2>/dev/null)" ]; then
        return 0
    else
        for room in "$@"; do names+=(--suite "$room"); done
    fi
    TIDEGATE_BIN=$ROOT/$folder/tidegate TIDEGATE_RECORD=$ROOT/$logs TSAN_OPTIONS="$TSAN_WORDS" \
        timeout -k 20 $((900 * slower)) meson test -C "$folder" --no-rebuild --timeout-multiplier "$slower" \
        --wrapper "$ROOT/tools/dev/record" --num-processes "$(nproc)" "${names[@]}" \
        </dev/null >"$logs/meson.log" 2>&1 || code=$?
    for program in "$logs"/*.program; do
        [ -f "$program" ] || continue
        tap=${program%.program}
        exit_code=$(cat "$tap.code" 2>/dev/null || true)
        file=$(cat "$program")
        file=${file#"$ROOT/$folder/"}
        file=$(unit_source "$file")
        awk -v suite="$suite" -v file="$file" -v code="$exit_code" -f tools/dev/tap.awk "$tap.tap" >"$tap.results"
        cat "$tap.results" >>"$RESULTS"
        if grep -q '^fail' "$tap.results"; then
            { echo "=== $suite: $file"; grep -v '^ok ' "$tap.tap"; tail -200 "$tap.err"; } >>"$FAILURES"
        fi
    done
    if [ "$code" != 0 ] && ! awk -F'\t' -v suite="$suite" '$1 == "fail" && $2 == suite { found = 1 }
            END { exit !found }' "$RESULTS"; then
        note fail "$suite" "$folder" "meson test ends well" "exit code $code; see $logs/meson.log"
        tail -40 "$logs/meson.log" >>"$FAILURES"
    fi
    suite_told "$suite"
}

# node_suite SUITE BINARY FILE...: each file in a process of its own, as many at once as there are cores (most
# of them wait most of the time); sanitizers write to files that must stay empty.
node_suite() {
    local suite=$1 binary=$2 logs=$LOGS/$1 file limit=420 ended running=()
    shift 2
    mkdir -p "$logs"
    case $suite in *-asan|*-tsan) limit=900 ;; esac
    [ -z "$LONG" ] || limit=7200
    for file in "$@"; do
        case $file in *"$FILTER"*) ;; *) continue ;; esac
        node_file "$suite" "$binary" "$limit" "$file" &
        running+=("$!")
        if [ ${#running[@]} -ge "$(nproc)" ]; then
            wait -n -p ended "${running[@]}"
            mapfile -t running < <(printf '%s\n' "${running[@]}" | grep -vx "$ended")
        fi
    done
    [ ${#running[@]} -eq 0 ] || wait "${running[@]}"
    for file in "$@"; do
        case $file in *"$FILTER"*) ;; *) continue ;; esac
        node_told "$suite" "$limit" "$file"
    done
    suite_told "$suite"
}

# node_file SUITE BINARY LIMIT FILE: runs it, with all that it says kept beside its name in the logs.
node_file() {
    local suite=$1 binary=$2 limit=$3 file=$4 out code=0
    out=$LOGS/$suite/$(basename "$file" .test.mjs)
    TIDEGATE_BIN=$ROOT/$binary TIDEGATE_SUITE=$suite TIDEGATE_SOURCE_ROOT=$ROOT \
        TIDEGATE_LOGS=$ROOT/$out.d \
        ASAN_OPTIONS="log_path=$ROOT/$out.sanitizer:detect_leaks=1:exitcode=99" \
        UBSAN_OPTIONS="log_path=$ROOT/$out.sanitizer:halt_on_error=1:print_stacktrace=1" \
        TSAN_OPTIONS="log_path=$ROOT/$out.sanitizer:$TSAN_WORDS" \
        timeout -k 15 "$limit" node --test --test-concurrency=1 \
        --test-reporter="$ROOT/tools/dev/reporter.mjs" --test-reporter-destination="$out.results" \
        --test-reporter=tap --test-reporter-destination="$out.tap" \
        "$file" </dev/null >"$out.out" 2>"$out.err" || code=$?
    echo "$code" >"$out.code"
}

# node_told SUITE LIMIT FILE: what came of a file that ran.
node_told() {
    local suite=$1 limit=$2 file=$3 out code lines=0 report
    out=$LOGS/$suite/$(basename "$file" .test.mjs)
    code=$(cat "$out.code" 2>/dev/null || echo 1)
    if [ -f "$out.results" ]; then
        cat "$out.results" >>"$RESULTS"
        lines=$(wc -l <"$out.results")
    fi
    if [ "$code" = 124 ] || [ "$code" = 137 ]; then
        note fail "$suite" "$file" "$file ends in time" "stopped after $limit s"
    elif [ "$code" != 0 ] && ! grep -q '^fail' "$out.results" 2>/dev/null; then
        note fail "$suite" "$file" "$file ends well" "exit code $code"
    elif [ "$lines" = 0 ]; then
        note fail "$suite" "$file" "$file runs a test" "none was told"
    fi
    for report in "$out".sanitizer.*; do
        [ -s "$report" ] || continue
        note fail "$suite" "$file" "$file is clean under sanitizers" "$report"
        { echo "=== $suite: $report"; head -80 "$report"; } >>"$FAILURES"
    done
    if [ "$code" != 0 ]; then
        { echo "=== $suite: $file (exit code $code)"; tail -400 "$out.err"; } >>"$FAILURES"
    fi
}

node_files() {
    local folder
    for folder in "$@"; do ls "tests/$folder"/*.test.mjs 2>/dev/null || true; done
}

# Engine, loops, log and store under ThreadSanitizer: their units, and one gateway under everything at once.
tsan_suite() {
    mkdir -p "$LOGS/tsan"
    if ! build_tsan_tree >"$LOGS/tsan/build.log" 2>&1; then
        note fail tsan "$TSAN_BUILD" "the tree builds with ThreadSanitizer" "see $LOGS/tsan/build.log"
        { echo "=== tsan: build"; tail -60 "$LOGS/tsan/build.log"; } >>"$FAILURES"
        suite_told tsan
        return 0
    fi
    # shellcheck disable=SC2086 # a list of rooms
    unit_suite unit-tsan "$TSAN_BUILD" $TSAN_ROOMS
    if use_node; then
        TIDEGATE_ASAN=1 node_suite live-tsan "$TSAN_BUILD/tidegate" tests/race/*.test.mjs
    else
        note fail live-tsan tests/race "Node can be installed" "see above"
    fi
}

# A table, and no bar: a fall is for people to see.
coverage_suite() {
    mkdir -p "$LOGS/coverage"
    if coverage_build >"$LOGS/coverage/build.log" 2>&1 && coverage_run >"$LOGS/coverage/run.log" 2>&1; then
        coverage_table >"$LOGS/coverage/table.txt"
        cat "$LOGS/coverage/table.txt" >&2
        note pass coverage src "the coverage of $COVERAGE_ROOMS is told"
    else
        note fail coverage src "the coverage of $COVERAGE_ROOMS is told" "see $LOGS/coverage"
        { echo "=== coverage"; tail -40 "$LOGS"/coverage/*.log; } >>"$FAILURES"
    fi
    suite_told coverage
}

fuzz_suite() {
    local target log code running=()
    mkdir -p "$LOGS/fuzz"
    [ -n "$(fuzz_targets)" ] || return 0
    if ! have clang; then
        note skip fuzz fuzz/targets "fuzz targets" "clang is not installed (./dev install-deps --checks)"
        suite_told fuzz
        return 0
    fi
    if ! fuzz_build >"$LOGS/fuzz/build.log" 2>&1; then
        note fail fuzz fuzz/targets "the fuzz targets build" "see $LOGS/fuzz/build.log"
        { echo "=== fuzz: build"; tail -60 "$LOGS/fuzz/build.log"; } >>"$FAILURES"
        suite_told fuzz
        return 0
    fi
    while read -r target; do
        case $target in *"$FILTER"*) ;; *) continue ;; esac
        { fuzz_one "$target" "$FUZZ_SECONDS" >"$LOGS/fuzz/$target.log" 2>&1; echo $? >"$LOGS/fuzz/$target.code"; } &
        running+=("$!")
        if [ ${#running[@]} -ge 2 ]; then # two at a time
            wait "${running[0]}"
            running=("${running[@]:1}")
        fi
    done < <(fuzz_targets)
    [ ${#running[@]} -eq 0 ] || wait "${running[@]}"
    while read -r target; do
        log=$LOGS/fuzz/$target.log
        [ -f "$LOGS/fuzz/$target.code" ] || continue
        code=$(cat "$LOGS/fuzz/$target.code")
        if [ "$code" = 0 ]; then
            note pass fuzz "fuzz/$target.c" "$target holds for $FUZZ_SECONDS s and reaches what it names"
        else
            note fail fuzz "fuzz/$target.c" "$target holds for $FUZZ_SECONDS s and reaches what it names" "exit code $code; see $log"
            { echo "=== fuzz: $target"; tail -60 "$log"; } >>"$FAILURES"
        fi
    done < <(fuzz_targets)
    suite_told fuzz
}

# The one PostgreSQL that units and live tests share, each in a database of its own. Tests that kill or stop a
# server start their own.
postgres_start() {
    [ -z "${TIDEGATE_TEST_PG:-}" ] || return 0
    POSTGRES=$(mktemp -u "${TMPDIR:-/tmp}/tidegate-postgres-XXXXXXXX")
    TIDEGATE_TEST_PG=$(tools/postgres start --dir "$POSTGRES" --owner $$ --no-fsync) || return 1
    export TIDEGATE_TEST_PG
}

postgres_stop() {
    [ -z "$POSTGRES" ] || tools/postgres stop --dir "$POSTGRES" || true
    POSTGRES=
}

# postgres_files short|long: live files for gateways on PostgreSQL, in the order of tests/live/postgresql.list.
postgres_files() {
    local file name
    awk '$1 == "short" { print "tests/live/" $2 ".test.mjs" }' tests/live/postgresql.list
    [ "$1" = long ] || return 0
    for file in tests/live/*.test.mjs; do
        name=$(basename "$file" .test.mjs)
        awk -v name="$name" '$2 == name { found = 1 } END { exit found }' tests/live/postgresql.list && echo "$file"
    done
}

# postgres_suite SUITE BINARY FILE...: the same live tests, with gateways that keep their books there.
postgres_suite() {
    local list=tests/live/postgresql.list name reason
    if [ "$STORE" = postgresql ]; then
        while read -r name reason; do
            case $name in *"$FILTER"*) note skip "$1" "tests/live/$name.test.mjs" "$name" "$reason" ;; esac
        done < <(sed -n 's/^no *//p' "$list")
    fi
    TIDEGATE_STORE=postgresql node_suite "$@"
}

# list_suite NAME: tests/NAME.txt against what ran, by tools/NAME.
list_suite() {
    if "tools/$1" "$RESULTS" >"$LOGS/$1.log" 2>&1; then
        note pass "$1" "tests/$1.txt" "tests/$1.txt agrees with what ran"
    else
        note fail "$1" "tests/$1.txt" "tests/$1.txt agrees with what ran"
        { echo "=== $1"; cat "$LOGS/$1.log"; } >>"$FAILURES"
    fi
    suite_told "$1"
}

# A run that is cut short says so and still ends with the counts.
summary_at_exit() {
    postgres_stop
    [ -z "$SUMMARY_TOLD" ] || return
    note fail house dev "the run comes to its end" "stopped before; see above"
    summary
    exit 1
}

summary() {
    local passed failed skipped
    SUMMARY_TOLD=1
    passed=$(grep -c '^pass' "$RESULTS" || true)
    failed=$(grep -c '^fail' "$RESULTS" || true)
    skipped=$(grep -c '^skip' "$RESULTS" || true)
    exec 1>&3
    if [ "$failed" != 0 ]; then
        [ ! -s "$FAILURES" ] || cat "$FAILURES"
        echo
        echo "Failed:"
        awk -F'\t' '$1 == "fail" { printf "  %s: %s: %s%s\n", $2, $3, $4, $5 == "" ? "" : " (" $5 ")" }' "$RESULTS"
    fi
    if [ "$skipped" != 0 ]; then
        echo "Skipped:"
        awk -F'\t' '$1 == "skip" { printf "  %s: %s: %s%s\n", $2, $3, $4, $5 == "" ? "" : " (" $5 ")" }' "$RESULTS"
    fi
    [ "$passed$failed$skipped" != 000 ] || echo "No test matches${FILTER:+ '$FILTER'}${ONLY:+ in $ONLY}."
    printf '%s passed, %s failed' "$passed" "$failed"
    [ "$skipped" = 0 ] || printf ', %s skipped' "$skipped"
    echo
    [ "$failed" = 0 ] && [ "$passed$skipped" != 00 ]
}

run_tests() {
    local plain=1 asan=1 install=1 node_ready=0 files=()
    ONLY= FILTER= STORE= POSTGRES= SUMMARY_TOLD= LONG=${TIDEGATE_LONG:-}
    while [ $# -gt 0 ]; do
        case $1 in
            --long) LONG=1 ;;
            --asan) plain=0 ;;
            --no-asan) asan=0 ;;
            --no-install) install=0 ;;
            --only) ONLY=${2-}; suites_known "$ONLY" || exit 2; shift ;;
            --only=*) ONLY=${1#*=}; suites_known "$ONLY" || exit 2 ;;
            --store) STORE=${2-}; store_known "$STORE" || exit 2; shift ;;
            --store=*) STORE=${1#*=}; store_known "$STORE" || exit 2 ;;
            -*) die "test does not know $1" ;;
            *) FILTER=$1 ;;
        esac
        shift
    done
    [ -z "$LONG" ] || { export TIDEGATE_LONG=1; FUZZ_SECONDS=300; }
    LOGS=$BUILD/test-logs RESULTS=$BUILD/test-logs/results.tsv FAILURES=$BUILD/test-logs/failures.txt
    rm -rf "$LOGS"
    mkdir -p "$LOGS"
    : >"$RESULTS"
    : >"$FAILURES"
    exec 3>&1 1>&2 # standard output is for the summary alone
    set +e         # a failure is noted, never the end of the run
    trap summary_at_exit EXIT

    local broken=0
    if [ "$install" = 1 ] && ! install_deps --tests; then
        note fail house dev "the packages can be installed" "see above"
        broken=1
    fi
    if [ "$plain" = 1 ] && [ "$broken" = 0 ] && ! build_tree "$BUILD"; then
        note fail house "$BUILD" "the tree builds" "see above"
        broken=1
    fi
    if [ "$asan" = 1 ] && [ "$broken" = 0 ] && ! build_asan_tree; then
        note fail house "$ASAN_BUILD" "the tree builds with sanitizers" "see above"
        broken=1
    fi
    if [ "$broken" = 1 ]; then
        summary
        return 1
    fi

    if suite_wanted rooms || suite_wanted lint; then
        if tools/rooms >"$LOGS/rooms.log" 2>&1; then
            note pass house src/ROOMS "every include and call is allowed in its room"
        else
            note fail house src/ROOMS "every include and call is allowed in its room"
            { echo "=== house: rooms"; cat "$LOGS/rooms.log"; } >>"$FAILURES"
        fi
        suite_told house
    fi
    if { suite_wanted unit || suite_wanted live; } && ! postgres_start; then
        note fail house tools/postgres "a private PostgreSQL starts" "see above"
    fi
    if suite_wanted unit; then
        [ "$plain" = 0 ] || unit_suite unit "$BUILD"
        [ "$asan" = 0 ] || unit_suite unit-asan "$ASAN_BUILD"
    fi

    local any
    any=$(node_files $NODE_FOLDERS clients)
    if [ -n "$any" ] && { suite_wanted live || suite_wanted clients; }; then
        if use_node && use_sdks; then
            node_ready=1
        else
            note fail live tests/live "Node and the SDKs can be installed" "see above"
        fi
    fi
    if [ "$node_ready" = 1 ] && suite_wanted live; then
        if [ "$STORE" != postgresql ]; then
            mapfile -t files < <(node_files $NODE_FOLDERS)
            [ "$plain" = 0 ] || node_suite live "$BUILD/tidegate" "${files[@]}"
            [ "$asan" = 0 ] || TIDEGATE_ASAN=1 node_suite live-asan "$ASAN_BUILD/tidegate" "${files[@]}"
        fi
        if [ "$STORE" != sqlite ]; then
            mapfile -t files < <(postgres_files "$([ -z "$STORE$LONG" ] && echo short || echo long)")
            [ "$plain" = 0 ] || postgres_suite live-postgresql "$BUILD/tidegate" "${files[@]}"
            [ "$asan" = 0 ] || [ -z "$STORE$LONG" ] ||
                TIDEGATE_ASAN=1 postgres_suite live-postgresql-asan "$ASAN_BUILD/tidegate" "${files[@]}"
        fi
    fi
    if [ "$node_ready" = 1 ] && suite_wanted clients && [ "$plain" = 1 ]; then
        mapfile -t files < <(node_files clients)
        if [ ${#files[@]} -gt 0 ]; then
            use_clients
            [ -z "${TIDEGATE_CLIENTS_SKIP:-}" ] || say "clients: ${TIDEGATE_CLIENTS_SKIP}"
            node_suite clients "$BUILD/tidegate" "${files[@]}"
        fi
    fi
    if suite_wanted tsan && [ "$plain" = 1 ]; then
        tsan_suite
    fi
    if suite_wanted coverage && [ "$plain" = 1 ] && [ -z "$FILTER" ]; then
        coverage_suite
    fi
    if suite_wanted fuzz && [ "$plain" = 1 ]; then
        fuzz_suite
    fi
    if [ -n "$ONLY$FILTER$STORE" ] || [ "$plain" = 0 ]; then
        say "a part was run: tests/cases.txt and tests/failures.txt are checked by a whole ./dev test alone"
    else
        list_suite cases
        list_suite failures
    fi
    summary
}
