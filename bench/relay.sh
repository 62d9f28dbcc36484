#!/usr/bin/env bash
# Every relay row of the design's table of numbers, beside nginx in the same run.
#
#     bench/relay.sh [--quick] [--write] [--blocks N] [--rows WORD,...] BUILD-FOLDER
#
# The gateway (five limits in force, books on disk) and nginx take turns on one core, the generator and the
# fake provider share another. A row is measured in blocks, each of three pairs of windows, one window of each;
# idle streams and memory take one pair a block. What is shown is the median of the windows, and of the pairs'
# ratios: machines drift within seconds, so the two windows of a pair are short and follow each other.
# All measurements are kept in BUILD-FOLDER/relay/measurements.jsonl.
set -euo pipefail
cd "$(dirname "$0")/.."

BLOCKS=5 WINDOWS=3 WINDOW_MS=1500 WARM_MS=500 STREAMS=200 IDLE_STREAMS=9000 TLS_STREAMS=4000 WRITE=0 QUICK=0
ALL_ROWS=calls,paced,chunks,bodies,idle,memory,latency,refusals
ROWS=$ALL_ROWS BIN=''
ASKED=$*

while [ $# -gt 0 ]; do
    case $1 in
        --quick) QUICK=1 BLOCKS=1 WINDOWS=1 ;;
        --write) WRITE=1 ;;
        --blocks) BLOCKS=$2; shift ;;
        --rows) ROWS=$2; shift ;;
        -*) echo "bench: relay knows --quick, --write, --blocks N and --rows ${ALL_ROWS}, not '$1'" >&2; exit 2 ;;
        *) BIN=$1 ;;
    esac
    shift
done
# shellcheck source=bench/subjects.sh
. bench/subjects.sh
enter_build relay
MEASURED=$RUN/measurements.jsonl
RESULTS=$RUN/results.tsv
: >"$MEASURED"
: >"$RESULTS"

wants_row() { case ",$ROWS," in *",$1,"*) return 0 ;; *) return 1 ;; esac; }

# --- One measurement.

keep() { # NOTE SUBJECT JSON: into the file of measurements
    printf '{"row":"%s","subject":"%s","load_average":%s,"stolen":%s,%s\n' "$1" "$2" "$(cut -d' ' -f1 /proc/loadavg)" "${STOLEN:-0}" \
        "${3#\{}" >>"$MEASURED"
}

# What --url and the like are for SUBJECT and MODEL: into the array TARGET.
aim() {
    local keys=$RUN/keys nginx=http://127.0.0.1:$NGINX tidegate=http://127.0.0.1:$TIDEGATE
    if [ "${CLIENT_TLS:-0}" = 1 ]; then
        nginx=https://127.0.0.1:$NGINX_TLS tidegate=https://127.0.0.1:$TIDEGATE_TLS
    fi
    if [ "$1" = nginx ]; then
        TARGET=(--url "$nginx/$2/v1/chat/completions" --pid "subject:$NGINX_WORKER")
    else
        [ "$2" = refused ] && keys=$RUN/keys-spent
        TARGET=(--url "$tidegate/v1/chat/completions" --keys "$keys" --threads yes
            --model "$2" --pid "subject:$TIDEGATE_PID")
    fi
    TARGET+=(--pid "upstream:$UPSTREAM_PID" --ca "$RUN/cert.pem")
}

# ticks of the subject's core: all, and those that the machine's host gave to somebody else
core_ticks() { awk -v core="cpu$SUBJECT_CPU" '$1 == core { print $2 + $3 + $4 + $5 + $6 + $7 + $8 + $9, $9 }' /proc/stat; }

# measure SUBJECT MODE [OPTION VALUE]...: sets LINE and STOLEN, the share of the subject's core that was
# somebody else's: such time is counted as the threads' own, so a window with more than 3 % is taken again.
measure() {
    local subject=$1 mode=$2 before after try
    shift 2
    for try in 1 2 3 4; do
        before=$(core_ticks)
        LINE=$(taskset -c "$LOAD_CPU" "$BIN/bench/load" "$mode" --warm "$WARM_MS" --window "$WINDOW_MS" \
            "${TARGET[@]}" "$@") || return 1
        after=$(core_ticks)
        STOLEN=$(awk -v b="$before" -v a="$after" 'BEGIN { split(b, x); split(a, y)
            printf "%.3f", (y[2] - x[2]) / (y[1] - x[1]) }')
        if [ "$QUICK" = 1 ] || awk -v s="$STOLEN" 'BEGIN { exit !(s <= 0.03) }'; then
            return 0
        fi
        note "$subject: the host took $STOLEN of the core; $([ "$try" = 4 ] && echo kept || echo again)"
    done
}

# load NOTE SUBJECT MODEL MODE [OPTION VALUE]...: sets LINE. A window in which calls failed is no measurement.
load() {
    local note=$1 subject=$2 mode=$4 errors
    aim "$subject" "$3"
    shift 4
    measure "$subject" "$mode" "$@" || give_up "$note: nothing was measured of $subject; see $RUN/$subject.log"
    keep "$note" "$subject" "$LINE"
    errors=$(field errors "$LINE")
    [ "$errors" -eq 0 ] || { note "$note: $errors calls to $subject failed: $LINE"; FAULTS=$((FAULTS + 1)); }
    busy=$(awk -v a="$(field generator_busy "$LINE")" -v b="$(field upstream_cpu_us "$LINE")" \
        -v w="$(field window_us "$LINE")" 'BEGIN { printf "%.2f", a + b / w }')
    if [ "$mode" = short ] && awk -v busy="$busy" 'BEGIN { exit !(busy > 0.95) }'; then
        note "$note: the generator's core was $busy busy beside $subject: it was the bottleneck"
        FAULTS=$((FAULTS + 1))
    fi
}
FAULTS=0

values() { tr ' ' '\n' <<<"$*" | sed '/^$/d'; }

# row NAME UNIT KIND BAR GOAL "GATEWAY VALUES" "NGINX VALUES"
# KIND: at_most, at_least (of the ratio), below (of the gateway's value alone), more (difference, in UNIT).
row() {
    local name=$1 unit=$2 kind=$3 bar=$4 goal=$5 ours theirs compared
    ours=$(values "$6" | median)
    theirs=$(values "$7" | median)
    case $kind in
        below) compared=$ours ;;
        more) compared=$(paste <(values "$6") <(values "$7") | awk '{ print $1 - $2 }' | median) ;;
        *) compared=$(paste <(values "$6") <(values "$7") | awk '$2 > 0 { print $1 / $2 }' | median) ;;
    esac
    awk -v OFS='\t' -v name="$name" -v unit="$unit" -v kind="$kind" -v bar="$bar" -v goal="$goal" \
        -v ours="$ours" -v theirs="$theirs" -v compared="$compared" '
        function sign() { return kind == "at_least" ? "≥" : "≤" }
        function holds(limit) { return kind == "at_least" ? compared >= limit : compared <= limit }
        function shown(value) { return kind == "below" ? value : kind == "more" ? "+" value : value "×" }
        function text(value) { return value == "" ? "–" : sprintf(value >= 1000 ? "%.0f" : value >= 100 ? "%.1f" : "%.2f", value) }
        BEGIN {
            print name, text(ours) " " unit, theirs == "" ? "–" : text(theirs) " " unit,
                kind == "below" ? "–" : kind == "more" ? sprintf("%+.2f %s", compared, unit) : sprintf("%.2f×", compared),
                sign() " " shown(bar), sign() " " shown(goal),
                holds(goal) ? "goal" : holds(bar) ? "bar" : "MISSED"
        }' >>"$RESULTS"
    tail -1 "$RESULTS" | tr '\t' '|' | sed 's/^/  /; s/|/ | /g' >&2
}

blocks() { seq 1 "$BLOCKS"; }
pairs() { seq 1 $((BLOCKS * WINDOWS)); }

# --- The rows.

measure_calls() {
    local block count subject
    local -A loops=() whole=()
    for count in 64 16; do
        for block in $(pairs); do
            for subject in tidegate nginx; do
                load "calls-$count" "$subject" whole short --connections "$count"
                loops[$subject-$count]+=" $(field subject_loops_us_each "$LINE")"
                whole[$subject-$count]+=" $(field subject_us_each "$LINE")"
            done
        done
    done
    row "CPU of the loops a 1 KB call, 64 connections" µs at_most 1.3 0.9 "${loops[tidegate-64]}" "${whole[nginx-64]}"
    row "CPU of the process a 1 KB call, 64 connections" µs at_most 2.5 1.4 "${whole[tidegate-64]}" "${whole[nginx-64]}"
    row "CPU of the process a 1 KB call, 16 connections" µs at_most 3.5 1.8 "${whole[tidegate-16]}" "${whole[nginx-16]}"
}

# No row of the design: with as many calls as there are connections the faster of the two finds its peers
# awake more often, and waking them is a good part of a call. At an equal rate both pay for it alike.
measure_paced() {
    local block subject
    local -A loops=() whole=()
    for block in $(pairs); do
        for subject in tidegate nginx; do
            load paced "$subject" whole short --connections 64 --rate 3000
            loops[$subject]+=" $(field subject_loops_us_each "$LINE")"
            whole[$subject]+=" $(field subject_us_each "$LINE")"
        done
    done
    row "extra: CPU of the loops a 1 KB call, both at 3,000/s" µs at_most 1.3 0.9 "${loops[tidegate]}" "${whole[nginx]}"
    row "extra: CPU of the process a 1 KB call, both at 3,000/s" µs at_most 3.5 1.8 "${whole[tidegate]}" "${whole[nginx]}"
}

measure_chunks() {
    local block model subject
    local -A cost=()
    for model in stream tls_stream; do
        for block in $(pairs); do
            for subject in tidegate nginx; do
                load "chunks-$model" "$subject" "$model" sse --connections "$STREAMS" --ramp 200
                cost[$subject-$model]+=" $(field subject_us_each "$LINE")"
                sleep 0.5 # the streams that were cut off are booked
            done
        done
    done
    row "CPU an SSE chunk, plain" µs at_most 1.0 0.85 "${cost[tidegate-stream]}" "${cost[nginx-stream]}"
    row "CPU an SSE chunk, TLS to the provider" µs at_most 1.0 0.85 "${cost[tidegate-tls_stream]}" \
        "${cost[nginx-tls_stream]}"
}

measure_bodies() {
    local block count subject
    local -A rate=()
    for count in 16 64; do
        for block in $(pairs); do
            for subject in tidegate nginx; do
                load "bodies-$count" "$subject" whole short --connections "$count" --body 262144
                rate[$subject-$count]+=" $(field calls_per_s "$LINE")"
            done
        done
    done
    row "256 KB bodies, 16 connections" /s at_least 1.0 1.5 "${rate[tidegate-16]}" "${rate[nginx-16]}"
    row "256 KB bodies, 64 connections" /s at_least 0.8 1.2 "${rate[tidegate-64]}" "${rate[nginx-64]}"
}

# hold SUBJECT MODEL STREAMS MARK: opens silent streams and keeps them; sets LINE to what they took.
hold() {
    local fifo=$RUN/held
    aim "$1" "$2"
    rm -f "$fifo"
    mkfifo "$fifo"
    taskset -c "$LOAD_CPU" "$BIN/bench/load" idle --window 3600000 --ramp 1000 --connections "$3" --mark "$4" \
        "${TARGET[@]}" >"$fifo" 2>"$RUN/holder.log" &
    HOLDER_PID=$!
    exec 8<"$fifo"
    IFS= read -r LINE <&8 || give_up "$3 streams do not stand at $1: $(cat "$RUN/holder.log")"
    keep "held-$2" "$1" "$LINE"
}

let_go() {
    stop_process "$HOLDER_PID"
    HOLDER_PID=''
    exec 8<&-
    sleep 1 # for what is closed and booked behind them
}

measure_idle() {
    local block subject
    local -A alone=() beside=()
    for block in $(blocks); do
        for subject in tidegate nginx; do
            load idle-none "$subject" whole short --connections 64
            alone[$subject]+=" $(field calls_per_s "$LINE")"
            hold "$subject" idle "$IDLE_STREAMS" 0
            load "idle-$IDLE_STREAMS" "$subject" whole short --connections 64
            beside[$subject]+=" $(field calls_per_s "$LINE")"
            let_go
        done
    done
    row "short calls beside $IDLE_STREAMS idle streams, against none (gateway's own)" /s at_least 0.8 0.95 \
        "${beside[tidegate]}" "${alone[tidegate]}"
    note "  nginx beside $IDLE_STREAMS idle streams: $(values "${beside[nginx]}" | median) /s, alone $(values "${alone[nginx]}" | median) /s"
}

# Each in a process of its own, so that no earlier row's memory is there to be used again.
measure_memory() {
    local block subject way model streams blocks=$((BLOCKS > 3 ? 3 : BLOCKS))
    local -A each=()
    for block in $(seq 1 "$blocks"); do
        for way in idle tls_idle both_sides; do
            model=${way/both_sides/tls_idle}
            streams=$([ "$model" = idle ] && echo "$IDLE_STREAMS" || echo "$TLS_STREAMS")
            stop_tidegate
            stop_nginx
            start_nginx
            start_tidegate
            for subject in tidegate nginx; do
                CLIENT_TLS=$([ "$way" = both_sides ] && echo 1 || echo 0)
                hold "$subject" "$model" "$streams" 1000
                CLIENT_TLS=0
                each[$subject-$way]+=" $(field subject_kb_each "$LINE")"
                let_go
            done
        done
    done
    row "memory a plain stream" KB below 6 4 "${each[tidegate-idle]}" "${each[nginx-idle]}"
    row "memory a TLS stream to the provider" KB below 35 28 "${each[tidegate-tls_idle]}" "${each[nginx-tls_idle]}"
    row "memory a stream, TLS on both sides" KB below 60 48 "${each[tidegate-both_sides]}" "${each[nginx-both_sides]}"
}

measure_latency() {
    local block subject part
    local -A ms=()
    for block in $(pairs); do
        for subject in tidegate nginx; do
            load latency "$subject" whole short --connections 16 --rate 1000
            for part in p50 p99; do
                ms[$subject-$part]+=" $(awk -v us="$(field "latency_${part}_us" "$LINE")" 'BEGIN { print us / 1000 }')"
            done
        done
    done
    row "latency at 1,000 calls/s, p50, against nginx" ms more 1 0.4 "${ms[tidegate-p50]}" "${ms[nginx-p50]}"
    row "latency at 1,000 calls/s, p99, against nginx (a goal alone)" ms more 1.5 1.5 "${ms[tidegate-p99]}" "${ms[nginx-p99]}"
}

measure_refusals() {
    local block subject
    local -A cost=()
    for block in $(pairs); do
        for subject in tidegate nginx; do
            load refusals "$subject" refused short --connections 64 --expect 402
            cost[$subject]+=" $(field subject_us_each "$LINE")"
        done
    done
    row "CPU a refusal that repeats, against nginx's return 402" µs at_most 1.5 1.0 "${cost[tidegate]}" "${cost[nginx]}"
}

# --- The table.

print_table() {
    echo '| row | tidegate | nginx | compared | bar | goal | reached |'
    echo '|---|---|---|---|---|---|---|'
    sed 's/\t/ | /g; s/^/| /; s/$/ |/' "$RESULTS"
}

versions() {
    printf 'tidegate %s (%s%s), %s, %s, libuv %s, SQLite %s, %s' \
        "$("$BIN/tidegate" version 2>/dev/null | head -1 | sed 's/^tidegate //')" "$(git rev-parse --short HEAD)" \
        "$(git diff --quiet HEAD -- src || echo ', changed')" \
        "$(nginx -v 2>&1 | sed 's|.*version: ||')" "$(openssl version | cut -d' ' -f1,2)" \
        "$(pkg-config --modversion libuv)" "$(pkg-config --modversion sqlite3)" "$(gcc --version | head -1)"
}

write_results() {
    {
        echo "Measured on $(date -u +%Y-%m-%d) with \`./dev bench relay${ASKED:+ $(sed 's| *[^ ]*$||' <<<"$ASKED")}\`."
        echo "Machine: $(machine). Load average before: $LOAD_BEFORE, after: $(cut -d' ' -f1-3 /proc/loadavg)."
        echo "Versions: $(versions)."
        echo
        print_table
    } | write_chapter 'The relay, beside nginx'
}

LOAD_BEFORE=$(cut -d' ' -f1-3 /proc/loadavg)
[ "$(nproc)" -ge 2 ] || give_up "two cores are wanted: one for what is measured, one for the load"
note "load average $LOAD_BEFORE; $(machine)"
note "$(versions)"
start_all
for group in $(tr ',' ' ' <<<"$ALL_ROWS"); do
    if wants_row "$group"; then
        note "$group"
        "measure_$group"
    fi
done
stop_all
echo
print_table
echo
echo "load average before $LOAD_BEFORE, after $(cut -d' ' -f1-3 /proc/loadavg); faults: $FAULTS"
[ "$WRITE" = 0 ] || write_results
[ "$FAULTS" -eq 0 ] || { note "$FAULTS measurements are not to be trusted: see above"; exit 1; }
