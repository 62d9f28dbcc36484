#!/usr/bin/env bash
# Calls decided and settled by the engine alone, on SQLite and, beside it in the same run, on PostgreSQL.
#
#     bench/decisions.sh [--store URL|postgresql] [--quick] [--write] [--blocks N] [--large] BUILD-FOLDER
#
# One hot account and 10,000 of them, so many calls outstanding at each gateway, under five limits. A store of
# its own for each window; a block is one window of each row, and what is shown is the median of the blocks.
# `postgresql` is a private server (tools/postgres) that syncs its log; with a URL, databases are made and dropped
# beside the one that it names. --large adds the rows of a store with 1,000,000 accounts and 10,000,000 rows of the
# ledger: minutes, and gigabytes. Everything measured is kept in BUILD-FOLDER/decisions/measurements.jsonl.
set -euo pipefail
cd "$(dirname "$0")/.."

BLOCKS=3 WINDOW_MS=3000 WARM_MS=500 MANY=10000 OUTSTANDING='256 32 1' STORE='' WRITE=0 LARGE=0 QUICK=0 BIN=''
GATEWAYS=3 TRIPS_BAR=3
ASKED=$*
while [ $# -gt 0 ]; do
    case $1 in
        --store) STORE=${2:?--store wants a URL, or postgresql}; shift ;;
        --quick) QUICK=1 BLOCKS=1 WINDOW_MS=1000 OUTSTANDING='256 32' ;;
        --write) WRITE=1 ;;
        --blocks) BLOCKS=$2; shift ;;
        --large) LARGE=1 ;;
        -*) echo "bench: decisions knows --store URL|postgresql, --quick, --write, --blocks N and --large, not '$1'" >&2; exit 2 ;;
        *) BIN=$1 ;;
    esac
    shift
done
case $STORE in
    ''|sqlite|postgresql|postgresql://*|postgres://*) ;;
    *) echo "bench: decisions measures SQLite always, and postgresql or a URL of it beside, not '$STORE'" >&2; exit 2 ;;
esac
# shellcheck source=bench/subjects.sh
. bench/subjects.sh
enter_build decisions
MEASURED=$RUN/measurements.jsonl
VALUES=$RUN/values.tsv # row, what, number
: >"$MEASURED"
: >"$VALUES"
FAULTS=0
# Rows in the order of the tables: key, engine, durability, gateways, who calls ("hot", "many", "any", "new"), outstanding
ROWS=$RUN/rows.tsv
: >"$ROWS"

# --- The private server, or the one that was named.

PG_URL='' PG_FOLDER='' SERVER_PID=0

start_postgres() {
    if [ "$STORE" != postgresql ]; then
        PG_URL=$STORE
        return 0
    fi
    PG_FOLDER=${TMPDIR:-/tmp}/tidegate-bench-$$
    PG_URL=$(tools/postgres start --dir "$PG_FOLDER" --owner $$ --set shared_buffers=128MB --set max_wal_size=4GB) \
        || give_up "no PostgreSQL to measure"
    SERVER_PID=$(head -1 "$PG_FOLDER/data/postmaster.pid")
}

stop_postgres() {
    [ -z "$PG_FOLDER" ] || tools/postgres stop --dir "$PG_FOLDER" || true
    PG_FOLDER=''
}

pg_url() { sed -E "s|^([a-z]+://[^/]*)/?[^/?]*|\1/$1|" <<<"$PG_URL"; }
pg_ask() { tools/postgres as psql -X -q -t -A -v ON_ERROR_STOP=1 -c "$1" "$(pg_url "${2:-$PG_BASE}")"; }

# A database with all accounts, that each window has a copy of.
make_template() {
    PG_BASE=$(sed -E 's|^[a-z]+://[^/]*/?([^/?]*).*|\1|' <<<"$PG_URL")
    PG_BASE=${PG_BASE:-tidegate}
    pg_ask 'DROP DATABASE IF EXISTS tidegate_bench' 2>/dev/null
    pg_ask 'DROP DATABASE IF EXISTS tidegate_bench_accounts' 2>/dev/null
    pg_ask "CREATE DATABASE tidegate_bench_accounts TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'" \
        || give_up "no database for the accounts"
    "$BIN/bench/engine_bench" --store "$(pg_url tidegate_bench_accounts)" --accounts "$MANY" --outstanding 1 \
        --warm 0 --window 1 >"$RUN/template.json" || give_up "no accounts are made on PostgreSQL"
}

# --- One window.

all_ticks() { awk '$1 == "cpu" { print $2 + $3 + $4 + $5 + $6 + $7 + $8 + $9, $9 }' /proc/stat; }

fresh_store() { # ENGINE: sets URL
    if [ "$1" = sqlite ]; then
        rm -rf "$RUN/store"
        mkdir -p "$RUN/store"
        URL=sqlite:$RUN/store/bench.db
    else
        pg_ask 'DROP DATABASE IF EXISTS tidegate_bench' 2>/dev/null
        pg_ask 'CREATE DATABASE tidegate_bench TEMPLATE tidegate_bench_accounts'
        pg_ask CHECKPOINT 2>/dev/null || true # where this role may: what was written before is not this window's
        URL=$(pg_url tidegate_bench)
    fi
}

# window ENGINE OPTION...: sets LINE and STOLEN, the share of the processors that the machine's host gave to
# somebody else meanwhile. With more than 3 % it is taken again.
window() {
    local engine=$1 before after try
    shift
    for try in 1 2 3 4; do
        fresh_store "$engine"
        before=$(all_ticks)
        LINE=$("$BIN/bench/engine_bench" --store "$URL" --server "$SERVER_PID" --warm "$WARM_MS" --window "$WINDOW_MS" "$@") || return 1
        after=$(all_ticks)
        STOLEN=$(awk -v b="$before" -v a="$after" 'BEGIN { split(b, x); split(a, y)
            printf "%.3f", (y[2] - x[2]) / (y[1] - x[1]) }')
        if [ "$QUICK" = 1 ] || awk -v s="$STOLEN" 'BEGIN { exit !(s <= 0.03) }'; then
            return 0
        fi
        note "the host took $STOLEN of the processors; $([ "$try" = 4 ] && echo kept || echo again)"
    done
}

keep() { # KEY WHAT NUMBER
    printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$VALUES"
}

# take KEY: what LINE says.
take() {
    local what
    printf '{"row":"%s","load_average":%s,"stolen":%s,%s\n' "$1" "$(cut -d' ' -f1 /proc/loadavg)" "$STOLEN" "${LINE#\{}" >>"$MEASURED"
    for what in calls_per_s events_per_s p50_us p99_us p999_us engine_us_each process_us_each events_a_batch \
        commits_per_s batches retried round_trips_a_batch round_trips_most server_us_each; do
        keep "$1" "$what" "$(field "$what" "$LINE")"
    done
    printf '  %-40s %8s calls/s, p50 %s us\n' "$1" "$(field calls_per_s "$LINE")" "$(field p50_us "$LINE")" >&2
}

value_of() { awk -F'\t' -v row="$1" -v what="$2" '$1 == row && $2 == what { print $3 }' "$VALUES" | median; }
sum_of() { awk -F'\t' -v row="$1" -v what="$2" '$1 == row && $2 == what { sum += $3 } END { printf "%d", sum }' "$VALUES"; }
most_of() { awk -F'\t' -v row="$1" -v what="$2" '$1 == row && $2 == what && $3 > most { most = $3 } END { printf "%d", most }' "$VALUES"; }

# measure ENGINE DURABILITY GATEWAYS WHICH OUTSTANDING
measure() {
    local key=$1-$2-$3-$4-$5 options=(--durability "$2" --gateways "$3" --outstanding "$5" --accounts "$MANY")
    case $4 in
        hot) options+=(--active 1) ;;
        any) options+=(--anywhere) ;;
        new) options+=(--cold --warm 0 --window 1000) ;;
    esac
    grep -q "^$key	" "$ROWS" || printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$key" "$1" "$2" "$3" "$4" "$5" >>"$ROWS"
    window "$1" "${options[@]}" || give_up "$key: nothing was measured"
    take "$key"
    if [ "$1" = postgresql ]; then
        keep "$key" deadlocks "$(pg_ask "SELECT deadlocks FROM pg_stat_database WHERE datname = 'tidegate_bench'")"
    fi
}

one_block() {
    local durability which outstanding
    for durability in disk os; do
        for which in hot many; do
            for outstanding in $OUTSTANDING; do
                measure sqlite "$durability" 1 "$which" "$outstanding"
                [ -z "$PG_URL" ] || measure postgresql "$durability" 1 "$which" "$outstanding"
            done
        done
    done
    [ -n "$PG_URL" ] || return 0
    measure postgresql disk 1 new 256
    for which in hot many any; do
        for outstanding in $OUTSTANDING; do
            measure postgresql disk "$GATEWAYS" "$which" "$outstanding"
        done
    done
}

# --- A store that has been used for long.

LARGE_ACCOUNTS=${BENCH_LARGE_ACCOUNTS:-1000000} LARGE_ROWS=${BENCH_LARGE_ROWS:-10000000}
LARGE_STORE=$RUN/large/bench.db

# An account and its key are a row of the ledger each, and so is the first call of each.
make_large() {
    local calls=$((LARGE_ROWS - 3 * LARGE_ACCOUNTS))
    note "a store of $LARGE_ACCOUNTS accounts and $LARGE_ROWS rows of the ledger is made; this takes minutes"
    rm -rf "$RUN/large"
    mkdir -p "$RUN/large"
    "$BIN/bench/engine_bench" --store "sqlite:$LARGE_STORE" --durability os --accounts "$LARGE_ACCOUNTS" --outstanding 256 \
        --fill "$((calls > 0 ? calls : 0))" --warm 0 --window 1 >"$RUN/large.json" || give_up "the large store is not made"
    note "it has $(($(stat -c %s "$LARGE_STORE") / 1048576)) MB"
}

# large KEY OPTION...: a window on that store, which it goes on being. The system has read it before: what is cold are
# the gateway's own caches, and what is measured is the gateway, not the disk.
large() {
    local key=$1
    shift
    STOLEN=0
    cat "$LARGE_STORE" >/dev/null
    LINE=$("$BIN/bench/engine_bench" --store "sqlite:$LARGE_STORE" --accounts "$LARGE_ACCOUNTS" --outstanding 256 \
        --window "$WINDOW_MS" "$@") || give_up "$key: nothing was measured"
    take "$key"
}

large_block() {
    window sqlite --accounts "$MANY" --outstanding 256 || give_up "the empty store: nothing was measured"
    take large-empty
    large large-active --active "$MANY" --warm "$WARM_MS"
    large large-all --anywhere --cold --warm 2000 --kill
    LINE=$("$BIN/bench/engine_bench" --store "sqlite:$LARGE_STORE" --start) || give_up "the large store is not opened"
    printf '{"row":"large-start",%s\n' "${LINE#\{}" >>"$MEASURED"
    keep large-start start_us "$(field start_us "$LINE")"
    keep large-start orphans "$(field orphans "$LINE")"
    note "start after a kill: $(field start_us "$LINE") us, $(field orphans "$LINE") calls were open"
}

print_large() {
    local key
    echo "| SQLite \`disk\`, $LARGE_ACCOUNTS accounts, $LARGE_ROWS rows of the ledger, 256 outstanding | engine's CPU a call: that store, an empty one | cost | bar | goal | reached | calls/s: that store, an empty one |"
    echo '|---|---|---|---|---|---|---|'
    for key in active all; do
        awk -v us="$(value_of "large-$key" engine_us_each)" -v empty_us="$(value_of large-empty engine_us_each)" \
            -v calls="$(value_of "large-$key" calls_per_s)" -v empty_calls="$(value_of large-empty calls_per_s)" \
            -v many="$MANY" -v all="$([ $key = all ] && echo 1 || echo 0)" 'BEGIN {
            cost = empty_us > 0 ? us / empty_us : 0
            bar = all ? 3 : 1.3
            goal = all ? 2 : 1.1
            printf "| %s | %.1f µs, %.1f µs | %.2f× | ≤ %.1f× | ≤ %.1f× | %s | %.0f, %.0f: %.2f× |\n", all ? "all accounts uniformly" : many " active accounts",
                us, empty_us, cost, bar, goal, (cost <= goal ? "goal" : cost <= bar ? "bar" : "MISSED"),
                calls, empty_calls, (calls > 0 ? empty_calls / calls : 0) }'
    done
    awk -v us="$(value_of large-start start_us)" -v open="$(value_of large-start orphans)" 'BEGIN {
        printf "| start after `kill -9` under load (store, engine, %d open calls booked) | %.3f s | – | < 0.5 s | < 0.2 s | %s | – |\n", open, us / 1e6,
            (us < 200000 ? "goal" : us < 500000 ? "bar" : "MISSED") }'
}

# --- The tables.

# DESIGN's rows: bar and goal of calls a second, on SQLite with durability disk.
bar_of() {
    case $1 in
        sqlite-disk-1-hot-256) echo 60000 150000 ;;
        sqlite-disk-1-hot-32) echo 12000 28000 ;;
        sqlite-disk-1-many-256) echo 20000 55000 ;;
        sqlite-disk-1-many-32) echo 10000 25000 ;;
    esac
}

reached() { # VALUE BAR GOAL
    awk -v v="$1" -v bar="$2" -v goal="$3" 'BEGIN { print (v >= goal ? "goal" : v >= bar ? "bar" : "MISSED") }'
}

engine_name() { if [ "$1" = sqlite ]; then echo SQLite; else echo PostgreSQL; fi; }
who_asks() { # GATEWAYS WHICH
    local accounts="$MANY accounts"
    case $2-$1 in
        hot-*) accounts="one hot account" ;;
        many-1) ;;
        many-*) accounts+=", each at one gateway" ;;
        any-*) accounts+=", each at any gateway" ;;
        new-*) accounts+=", first calls at this gateway" ;;
    esac
    echo "$accounts"
}
milliseconds() { awk -v us="$1" 'BEGIN { printf((us < 10000 ? "%.2f" : "%.1f"), us / 1000) }'; }
number() { awk -v v="$1" 'BEGIN { printf((v >= 100 ? "%.0f" : "%.1f"), v) }'; }

print_speeds() {
    local key engine durability gateways which outstanding calls base bar goal
    echo '| store | gateways | who calls | outstanding at each | calls/s | to SQLite | bar | goal | reached | verdict after, ms: p50, p99, p99.9 | CPU a call, µs: engine, gateway | events a batch | commits/s |'
    echo '|---|---|---|---|---|---|---|---|---|---|---|---|---|'
    while IFS=$'\t' read -r key engine durability gateways which outstanding; do
        calls=$(value_of "$key" calls_per_s)
        base=$(value_of "sqlite-$durability-1-${which/#any/many}-$outstanding" calls_per_s)
        read -r bar goal <<<"$(bar_of "$key")" || true
        printf '| %s `%s` | %s | %s | %s | %s | %s | %s | %s | %s | %s, %s, %s | %s, %s | %s | %s |\n' \
            "$(engine_name "$engine")" "$durability" "$gateways" "$(who_asks "$gateways" "$which")" "$outstanding" \
            "$(number "$calls")" "$([ "$engine" = sqlite ] || [ -z "$base" ] && echo – || awk -v a="$calls" -v b="$base" 'BEGIN { printf "%.2f×", a / b }')" \
            "${bar:+≥ $bar}" "${goal:+≥ $goal}" "$([ -z "$bar" ] || reached "$calls" "$bar" "$goal")" \
            "$(milliseconds "$(value_of "$key" p50_us)")" "$(milliseconds "$(value_of "$key" p99_us)")" "$(milliseconds "$(value_of "$key" p999_us)")" \
            "$(number "$(value_of "$key" engine_us_each)")" "$(number "$(value_of "$key" process_us_each)")" \
            "$(number "$(value_of "$key" events_a_batch)")" "$(number "$(value_of "$key" commits_per_s)")"
    done < <(sort -t $'\t' -k2,2r -k4,4n -k3,3 -s "$ROWS")
}

# What a batch costs on the way to the database. More than three round trips are allowed to one that is run again.
print_trips() {
    local key engine durability gateways which outstanding mean most again deadlocks verdict
    echo '| gateways | who calls | outstanding at each | durability | events/s in sum | round trips a batch: mean, most | CPU a call of the server, µs | batches | run again | deadlocks | at most '"$TRIPS_BAR"' a batch, no deadlock |'
    echo '|---|---|---|---|---|---|---|---|---|---|---|'
    while IFS=$'\t' read -r key engine durability gateways which outstanding; do
        mean=$(value_of "$key" round_trips_a_batch)
        most=$(most_of "$key" round_trips_most)
        again=$(sum_of "$key" retried)
        deadlocks=$(sum_of "$key" deadlocks)
        verdict=bar
        if [ "$deadlocks" != 0 ] || awk -v mean="$mean" -v most="$most" -v again="$again" -v bar="$TRIPS_BAR" \
            'BEGIN { exit !(mean > bar || (most > bar && again == 0)) }'; then
            verdict=MISSED
        fi
        printf '| %s | %s | %s | `%s` | %s | %.2f, %s | %s | %s | %s | %s | %s |\n' "$gateways" "$(who_asks "$gateways" "$which")" "$outstanding" \
            "$durability" "$(number "$(value_of "$key" events_per_s)")" "$mean" "$most" "$([ -n "$PG_FOLDER_TYPE" ] && number "$(value_of "$key" server_us_each)" || echo –)" \
            "$(sum_of "$key" batches)" "$again" "$deadlocks" "$verdict"
    done < <(sort -t $'\t' -k4,4n -k3,3 -s "$ROWS" | grep '^postgresql')
}

print_tables() {
    print_speeds
    if [ "$LARGE" = 1 ]; then
        echo
        print_large
    fi
    [ -n "$PG_VERSION" ] || return 0
    echo
    echo 'On PostgreSQL, over all blocks:'
    echo
    print_trips
}

versions() {
    printf 'tidegate %s (%s%s), SQLite %s%s, %s' \
        "$("$BIN/tidegate" version 2>/dev/null | head -1 | sed 's/^tidegate //')" "$(git rev-parse --short HEAD)" \
        "$(git diff --quiet HEAD -- src bench || echo ', changed')" "$(pkg-config --modversion sqlite3)" \
        "${PG_VERSION:+, PostgreSQL $PG_VERSION}" "$(gcc --version | head -1)"
}

file_system() { df --output=fstype "$1" 2>/dev/null | tail -1; }

# Bars are absolute here.
tell_load() {
    awk -v before="${LOAD_BEFORE%% *}" -v cores="$(nproc)" 'BEGIN { exit !(before > cores / 2) }' || return 0
    echo "The machine was busy with other work: what missed a bar in this run may reach it on one that is not. Counts and ratios can be trusted more."
}

write_results() {
    {
        echo "Measured on $(date -u +%Y-%m-%d) with \`./dev bench decisions${ASKED:+ $(sed 's| *[^ ]*$||' <<<"$ASKED")}\`, blocks: $BLOCKS, windows of $WINDOW_MS ms."
        echo "Machine: $(machine). Load average before: $LOAD_BEFORE, after: $(cut -d' ' -f1-3 /proc/loadavg). Stores on $(file_system "$RUN")${PG_FOLDER_TYPE:+, of PostgreSQL on $PG_FOLDER_TYPE}, on the same machine as gateways and callers."
        echo "Versions: $(versions)."
        tell_load
        echo
        print_tables
    } | write_chapter "Decisions${STORE:+ on PostgreSQL, beside SQLite}"
}

# ---

LOAD_BEFORE=$(cut -d' ' -f1-3 /proc/loadavg)
PG_VERSION='' PG_FOLDER_TYPE=''
exec 8>"${TMPDIR:-/tmp}/tidegate-bench.lock"
flock -n 8 || { note "another benchmark runs on this machine; waiting for its end"; flock 8; }
trap stop_postgres EXIT
trap 'exit 130' INT TERM
case $STORE in
    postgres*)
        start_postgres
        make_template
        PG_VERSION=$(pg_ask 'SHOW server_version')
        [ -z "$PG_FOLDER" ] || PG_FOLDER_TYPE=$(file_system "$PG_FOLDER")
        ;;
esac
note "load average $LOAD_BEFORE; $(machine)"
note "$(versions)"
[ "$LARGE" = 0 ] || make_large
for block in $(seq 1 "$BLOCKS"); do
    note "block $block of $BLOCKS"
    one_block
    [ "$LARGE" = 0 ] || large_block
done
rm -rf "$RUN/store" "$RUN/large"
echo
print_tables
echo
echo "load average before $LOAD_BEFORE, after $(cut -d' ' -f1-3 /proc/loadavg)"
tell_load
[ "$WRITE" = 0 ] || write_results
