#!/usr/bin/env bash
# Tidegate beside other LLM gateways: the same fake provider, generator, machine and run.
#
#     bench/compare.sh [--quick] [--write] [--blocks N] [--only NAME,...] BUILD-FOLDER
#
# One gateway at a time on one core, the generator and the fake provider on another, in turns: what is shown
# is the median of the blocks. Ours decides and books every call (five limits in force, books on disk); the
# others run as they come, without keys, budgets or logs, each as one process. One that cannot be had or does
# not start stands in the table with the reason. COMPARE_NPM and COMPARE_PYTHON are the folders they are
# installed in (./dev bench compare sees to that).
set -euo pipefail
cd "$(dirname "$0")/.."

BLOCKS=3 WINDOW_MS=4000 WARM_MS=2000 STREAMS=20 MANY=400 MARK=100 WRITE=0 BIN='' ONLY=
NAMES="tidegate portkey claude-code-router litellm"
while [ $# -gt 0 ]; do
    case $1 in
        --quick) BLOCKS=1 WINDOW_MS=2000 ;;
        --write) WRITE=1 ;;
        --blocks) BLOCKS=$2; shift ;;
        --only) ONLY=$2; shift ;;
        -*) echo "bench: compare knows --quick, --write, --blocks N and --only NAME,..., not '$1'" >&2; exit 2 ;;
        *) BIN=$1 ;;
    esac
    shift
done
BENCH_PORT=${BENCH_PORT:-18500}
# shellcheck source=bench/subjects.sh
. bench/subjects.sh
enter_build compare
VALUES=$RUN/values.tsv # name, what, number
: >"$VALUES"
OTHER_PID='' TARGET=()
declare -A REASON=() VERSION=()

COMPARE_NPM=${COMPARE_NPM:-}
COMPARE_PYTHON=${COMPARE_PYTHON:-}
PACKAGES=$COMPARE_NPM/node_modules

value_of() { awk -F'\t' -v name="$1" -v what="$2" '$1 == name && $2 == what { print $3 }' "$VALUES" | median; }
package_version() { sed -n 's/^ *"version": "\(.*\)",*$/\1/p' "$PACKAGES/$1/package.json" 2>/dev/null | head -1; }

# --- The gateways. find_NAME sets VERSION or REASON, start_NAME starts it as OTHER_PID on PORT, aim_NAME
# MODEL sets TARGET for the generator; MODEL is whole, stream or idle.

PORT=$((BASE_PORT + 12))

in_background() { # LOG COMMAND...
    local log=$1
    shift
    env -u http_proxy -u https_proxy -u HTTP_PROXY -u HTTPS_PROXY taskset -c "$SUBJECT_CPU" "$@" >"$log" 2>&1 </dev/null &
    OTHER_PID=$!
}

find_tidegate() { VERSION[tidegate]=$("$BIN/tidegate" version | head -1 | sed 's/^tidegate //'); }
start_tidegate_alone() { start_tidegate; OTHER_PID=$TIDEGATE_PID; }
aim_tidegate() {
    TARGET=(--url "http://127.0.0.1:$TIDEGATE/v1/chat/completions" --keys "$RUN/keys" --threads yes --model "$1")
}

find_portkey() {
    VERSION[portkey]=$(package_version @portkey-ai/gateway)
    [ -n "${VERSION[portkey]}" ] || REASON[portkey]="its npm package cannot be installed here"
}
start_portkey() {
    in_background "$RUN/portkey.log" node "$PACKAGES/@portkey-ai/gateway/build/start-server.js" "--port=$PORT" --headless
}
aim_portkey() {
    local -A ports=([whole]=$WHOLE [stream]=$STREAM [idle]=$IDLE)
    TARGET=(--url "http://127.0.0.1:$PORT/v1/chat/completions" --model bench
        --header "x-portkey-provider: openai" --header "Authorization: Bearer none"
        --header "x-portkey-custom-host: http://127.0.0.1:${ports[$1]}/v1")
}

find_claude-code-router() {
    VERSION[claude-code-router]=$(package_version @musistudio/claude-code-router)
    [ -n "${VERSION[claude-code-router]}" ] || REASON[claude-code-router]="its npm package cannot be installed here"
}
start_claude-code-router() {
    local home=$RUN/claude-code-router name providers=''
    local -A ports=([whole]=$WHOLE [stream]=$STREAM [idle]=$IDLE)
    mkdir -p "$home/.claude-code-router"
    for name in whole stream idle; do
        providers+="${providers:+,}{\"name\":\"$name\",\"api_base_url\":\"http://127.0.0.1:${ports[$name]}/v1/chat/completions\",\"api_key\":\"none\",\"models\":[\"bench\"]}"
    done
    printf '{"PORT":%s,"HOST":"127.0.0.1","LOG":false,"NON_INTERACTIVE_MODE":true,"API_TIMEOUT_MS":3600000,"Providers":[%s],"Router":{"default":"whole,bench"}}\n' \
        "$PORT" "$providers" >"$home/.claude-code-router/config.json"
    HOME=$home in_background "$RUN/claude-code-router.log" node \
        "$PACKAGES/@musistudio/claude-code-router/dist/cli.js" start
}
aim_claude-code-router() { # it speaks Anthropic's dialect to clients, and translates
    TARGET=(--url "http://127.0.0.1:$PORT/v1/messages" --model "$1,bench")
}

find_litellm() {
    [ -x "$COMPARE_PYTHON/bin/litellm" ] && VERSION[litellm]=$("$COMPARE_PYTHON/bin/pip" show litellm 2>/dev/null | sed -n 's/^Version: //p')
    [ -n "${VERSION[litellm]:-}" ] || REASON[litellm]="its Python packages cannot be installed here"
}
start_litellm() {
    local name
    local -A ports=([whole]=$WHOLE [stream]=$STREAM [idle]=$IDLE)
    {
        echo 'model_list:'
        for name in whole stream idle; do
            echo "  - {model_name: $name, litellm_params: {model: openai/bench, api_base: \"http://127.0.0.1:${ports[$name]}/v1\", api_key: none}}"
        done
        echo 'litellm_settings: {num_retries: 0, request_timeout: 3600}'
    } >"$RUN/litellm.yaml"
    LITELLM_MASTER_KEY=sk-bench-0123456789abcdef0123456789abcdef LITELLM_LOCAL_MODEL_COST_MAP=True LITELLM_LOG=ERROR \
        LITELLM_MODE=PRODUCTION in_background "$RUN/litellm.log" "$COMPARE_PYTHON/bin/litellm" \
        --config "$RUN/litellm.yaml" --host 127.0.0.1 --port "$PORT" --num_workers 1 --telemetry False
}
aim_litellm() {
    TARGET=(--url "http://127.0.0.1:$PORT/v1/chat/completions" --model "$1"
        --header "Authorization: Bearer sk-bench-0123456789abcdef0123456789abcdef")
}

# --- One block of one gateway.

start_other() { # NAME: whether it answers a call
    local name=$1 port=$PORT
    if [ "$name" = tidegate ]; then
        start_tidegate_alone
        port=$TIDEGATE
    else
        "start_$name"
    fi
    until_true 120 answers_or_gone "$port" && ! gone "$OTHER_PID"
}
answers_or_gone() { gone "$OTHER_PID" || listens "$1"; }

stop_other() {
    stop_process "$OTHER_PID"
    OTHER_PID='' TIDEGATE_PID=''
}

keep() { printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$VALUES"; }

# load NAME WHAT MODE [OPTION VALUE]...: sets LINE; false, with REASON, where calls failed.
load() {
    local name=$1 what=$2 errors
    shift 2
    LINE=$(timeout 120 taskset -c "$LOAD_CPU" "$BIN/bench/load" "$@" "${TARGET[@]}" --pid "subject:$OTHER_PID" \
        2>"$RUN/load.log") || { REASON[$name]="$what: $(tail -1 "$RUN/load.log")"; return 1; }
    printf '%s %s %s\n' "$name" "$what" "$LINE" >>"$RUN/measurements.txt"
    MEMORY_LINE=$(head -1 <<<"$LINE") # idle tells twice: when all stand, and at its end
    LINE=$(tail -1 <<<"$LINE")
    errors=$(field errors "$LINE")
    [ "$errors" = 0 ] || { REASON[$name]="$what: $errors calls failed, the last with status $(field odd_status "$LINE")"; return 1; }
}

# The first calls of some load half of their code.
warm_up() {
    local try
    "aim_$1" whole
    for try in $(seq 1 30); do
        LINE=$("$BIN/bench/load" short --connections 1 --warm 0 --window 2000 "${TARGET[@]}" 2>"$RUN/load.log") || continue
        [ "$(field errors "$LINE")" != 0 ] || return 0
    done
    REASON[$1]="no call is answered: $(tail -c 300 "$RUN/$1.log" 2>/dev/null | tr -s '\n\t ' ' ')"
    return 1
}

measure_short() {
    "aim_$1" whole
    load "$1" "short calls" short --connections 16 --warm "$WARM_MS" --window "$WINDOW_MS" || return 1
    keep "$1" calls "$(field calls_per_s "$LINE")"
    keep "$1" call_us "$(field subject_us_each "$LINE")"
    keep "$1" p50_ms "$(awk -v us="$(field latency_p50_us "$LINE")" 'BEGIN { print us / 1000 }')"
}

measure_chunks() {
    "aim_$1" stream
    load "$1" streams sse --connections "$STREAMS" --ramp 20 --warm "$WARM_MS" --window "$WINDOW_MS" || return 1
    keep "$1" chunk_us "$(field subject_us_each "$LINE")"
    keep "$1" chunks "$(field chunks_per_s "$LINE")"
}

# Streams that have had one chunk and are silent: what each takes beyond the first hundred.
measure_memory() {
    "aim_$1" idle
    load "$1" "open streams" idle --connections "$MANY" --mark "$MARK" --ramp 50 --window 500 || return 1
    keep "$1" stream_kb "$(awk -v full="$(field subject_resident_full_kb "$MEMORY_LINE")" -v marked="$(field subject_resident_marked_kb "$MEMORY_LINE")" \
        -v more=$((MANY - MARK)) 'BEGIN { print (full - marked) / more }')"
}

block_of() { # NAME
    [ -z "${REASON[$1]:-}" ] || return 0
    note "$1"
    if ! start_other "$1"; then
        REASON[$1]="it does not start: $(tail -c 300 "$RUN/$1.log" 2>/dev/null | tr -s '\n\t ' ' ')"
    else
        keep "$1" idle_mb "$(awk '/VmRSS/ { print $2 / 1024 }' "/proc/$OTHER_PID/status")"
        warm_up "$1" && measure_short "$1" && measure_chunks "$1" && measure_memory "$1" || note "$1: ${REASON[$1]}"
    fi
    stop_other
}

# --- The table.

ratio() { awk -v ours="$1" -v theirs="$2" 'BEGIN { if (theirs > 0) printf "%.1f×", ours / theirs; else print "–" }'; }
shown() { awk -v v="$1" -v unit="$2" 'BEGIN { if (v == "") print "–"; else printf (v >= 1000 ? "%.0f%s" : v >= 10 ? "%.1f%s" : "%.2f%s"), v, unit }'; }

print_table() {
    local name calls ours
    ours=$(value_of tidegate calls)
    echo '| gateway | short calls/s, 16 connections | ours against it | median latency | CPU a call | CPU an SSE chunk | memory a stream | memory at rest |'
    echo '|---|---|---|---|---|---|---|---|'
    for name in $WANTED; do
        calls=$(value_of "$name" calls)
        echo "| $name ${VERSION[$name]:-} | $(shown "$calls" '') | $(ratio "$ours" "${calls:-0}") | $(shown "$(value_of "$name" p50_ms)" ' ms') | $(shown "$(value_of "$name" call_us)" ' µs') | $(shown "$(value_of "$name" chunk_us)" ' µs') | $(shown "$(value_of "$name" stream_kb)" ' KB') | $(shown "$(value_of "$name" idle_mb)" ' MB') |${REASON[$name]:+ <!-- -->}"
    done | sed 's/ <!-- -->$//'
    for name in $WANTED; do
        [ -z "${REASON[$name]:-}" ] || echo "
$name is not measured, or not in full: ${REASON[$name]}."
    done
}

write_results() {
    {
        echo "Measured on $(date -u +%Y-%m-%d) with \`./dev bench compare\`, blocks: $BLOCKS, load average before: $LOAD_BEFORE, after: $(cut -d' ' -f1-3 /proc/loadavg)."
        echo "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), one core for the gateway, one for generator and provider; Node $(node --version 2>/dev/null | sed 's/^v//'), Python $("$COMPARE_PYTHON/bin/python" --version 2>/dev/null | sed 's/^Python //')."
        echo "Ours with five limits in force and its books on disk; the others without keys, budgets or logs. claude-code-router is asked in Anthropic's dialect, and translates. A stream has 50 chunks a second; $STREAMS of them at once."
        echo
        print_table
    } | write_chapter 'Beside other gateways'
}

stop_everything() {
    stop_other
    stop_all
}

LOAD_BEFORE=$(cut -d' ' -f1-3 /proc/loadavg)
WANTED=${ONLY:-$NAMES}
WANTED=${WANTED//,/ }
[ "$(nproc)" -ge 2 ] || give_up "two cores are wanted: one for what is measured, one for the load"
: >"$RUN/measurements.txt"
make_certificate
fill_in bench/tidegate.yaml.in "$RUN/tidegate.yaml"
trap stop_everything EXIT
trap 'exit 130' INT TERM
for name in $WANTED; do
    declare -F "find_$name" >/dev/null || give_up "there is no gateway '$name'; there are: $NAMES"
    "find_$name"
    [ -z "${REASON[$name]:-}" ] || note "$name: ${REASON[$name]}"
done
start_upstream
for block in $(seq 1 "$BLOCKS"); do
    note "block $block of $BLOCKS"
    for name in $WANTED; do
        block_of "$name"
    done
done
stop_everything
echo
print_table
[ "$WRITE" = 0 ] || write_results
