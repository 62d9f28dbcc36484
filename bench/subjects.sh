# What is measured and what it is measured with: certificates, configurations, and the life of the fake
# provider, nginx and the gateway. Sourced; enter_build sets RUN (a folder of this run) from BIN (the build's).

SUBJECT_CPU=${BENCH_SUBJECT_CPU:-0} # the gateway, or nginx
LOAD_CPU=${BENCH_LOAD_CPU:-1}       # the generator and the fake provider
BASE_PORT=${BENCH_PORT:-18400}
ACCOUNTS=${BENCH_ACCOUNTS:-16}      # connections take their keys in turn
INTERVAL_MS=20                      # between the chunks of a stream

WHOLE=$BASE_PORT
STREAM=$((BASE_PORT + 1))
IDLE=$((BASE_PORT + 2))
TLS_STREAM=$((BASE_PORT + 4))
TLS_IDLE=$((BASE_PORT + 5))
NGINX=$((BASE_PORT + 10))
TIDEGATE=$((BASE_PORT + 11))
TIDEGATE_TLS=$((BASE_PORT + 12))
NGINX_TLS=$((BASE_PORT + 13))

UPSTREAM_PID='' NGINX_PID='' NGINX_WORKER='' TIDEGATE_PID='' HOLDER_PID=''

note() { printf '%s\n' "bench: $*" >&2; }
give_up() { note "$*"; exit 1; }

# enter_build NAME: the build folder BIN was named well; RUN is its folder for this benchmark.
enter_build() {
    [ -n "$BIN" ] && [ -x "$BIN/tidegate" ] && [ -x "$BIN/bench/load" ] \
        || { echo "bench: name the folder of a build with -Dbench=true" >&2; exit 2; }
    BIN=$(cd "$BIN" && pwd)
    RUN=$BIN/$1
    mkdir -p "$RUN"
}

field() { # NAME JSON: the number, or nothing
    sed -n "s/.*\"$1\":\(-\{0,1\}[0-9.]*\).*/\1/p" <<<"$2"
}

median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

machine() {
    printf '%s, %s cores, %s, Linux %s' "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" "$(nproc)" \
        "$(awk '/MemTotal/ { printf "%.0f GB", $2 / 1048576 }' /proc/meminfo)" "$(uname -r)"
}

fill_in() { # TEMPLATE FILE
    local name script=''
    for name in RUN WHOLE STREAM IDLE TLS_STREAM TLS_IDLE NGINX NGINX_TLS TIDEGATE TIDEGATE_TLS; do
        script+="s|@$name@|${!name}|g;"
    done
    sed "$script" "$1" >"$2"
}

make_certificate() {
    [ -s "$RUN/cert.pem" ] && [ -s "$RUN/key.pem" ] && return 0
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=localhost \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -keyout "$RUN/key.pem" -out "$RUN/cert.pem" \
        2>"$RUN/openssl.log" || give_up "no certificate; see $RUN/openssl.log"
}

# until_true SECONDS COMMAND...
until_true() {
    local tries=$(($1 * 50))
    shift
    while ! "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.02
    done
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
gone() { ! kill -0 "$1" 2>/dev/null; }

# stop_process PID: asks, waits, then insists.
stop_process() {
    [ -n "$1" ] || return 0
    kill -TERM "$1" 2>/dev/null || return 0
    until_true 10 gone "$1" || kill -KILL "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

start_upstream() {
    taskset -c "$LOAD_CPU" "$BIN/bench/upstream" --port "$BASE_PORT" --cert "$RUN/cert.pem" \
        --key "$RUN/key.pem" --interval-ms "$INTERVAL_MS" --chunks 5000 >"$RUN/upstream.log" 2>&1 8>&- &
    UPSTREAM_PID=$!
    until_true 5 listens "$TLS_IDLE" || give_up "the fake provider does not start; see $RUN/upstream.log"
}

start_nginx() {
    mkdir -p "$RUN"/nginx-{body,proxy,fastcgi,uwsgi,scgi}
    taskset -c "$SUBJECT_CPU" nginx -p "$RUN" -c "$RUN/nginx.conf" >"$RUN/nginx.log" 2>&1 8>&- &
    NGINX_PID=$!
    until_true 5 listens "$NGINX" || give_up "nginx does not start; see $RUN/nginx.log"
    NGINX_WORKER=$(pgrep -P "$NGINX_PID" | head -1)
    [ -n "$NGINX_WORKER" ] || give_up "nginx has no worker"
}

ready() { curl -fsS -o /dev/null "http://127.0.0.1:$TIDEGATE/readyz" 2>/dev/null; }
ask_gateway() { "$BIN/tidegate" "$@" --control "$RUN/tidegate.sock"; }

# A store of its own each time; the keys of ACCOUNTS accounts, and one whose money is spent.
start_tidegate() {
    local account
    rm -rf "$RUN/store"
    mkdir -p "$RUN/store"
    taskset -c "$SUBJECT_CPU" "$BIN/tidegate" serve --config "$RUN/tidegate.yaml" --log-level warn \
        >"$RUN/tidegate.log" 2>&1 8>&- &
    TIDEGATE_PID=$!
    until_true 10 ready || give_up "the gateway does not start; see $RUN/tidegate.log"
    : >"$RUN/keys"
    for account in $(seq 1 "$ACCOUNTS"); do
        ask_gateway account add "bench-$account" --plan bench >"$RUN/cli.log" 2>&1 \
            || give_up "no account: $(cat "$RUN/cli.log")"
        ask_gateway key add "bench-$account" 2>"$RUN/cli.log" >>"$RUN/keys" \
            || give_up "no key: $(cat "$RUN/cli.log")"
    done
    if ! ask_gateway account add spent --plan spent >"$RUN/cli.log" 2>&1 \
        || ! ask_gateway key add spent 2>"$RUN/cli.log" >"$RUN/keys-spent"; then
        give_up "no account without money: $(cat "$RUN/cli.log")"
    fi
}

stop_tidegate() { stop_process "$TIDEGATE_PID"; TIDEGATE_PID=''; }
stop_nginx() { stop_process "$NGINX_PID"; NGINX_PID=''; NGINX_WORKER=''; }

stop_all() {
    stop_process "$HOLDER_PID"
    stop_tidegate
    stop_nginx
    stop_process "$UPSTREAM_PID"
    HOLDER_PID='' UPSTREAM_PID=''
}

start_all() {
    mkdir -p "$RUN"
    exec 8>"${TMPDIR:-/tmp}/tidegate-bench.lock"
    flock -n 8 || { note "another benchmark runs on this machine; waiting for its end"; flock 8; }
    make_certificate
    fill_in bench/nginx.conf.in "$RUN/nginx.conf"
    fill_in bench/tidegate.yaml.in "$RUN/tidegate.yaml"
    trap stop_all EXIT
    trap 'exit 130' INT TERM
    start_upstream
    start_nginx
    start_tidegate
}

# write_chapter TITLE: standard input becomes that chapter of bench/RESULTS.md, in the place of an older one.
write_chapter() {
    local file=bench/RESULTS.md text
    text=$(cat)
    [ -f "$file" ] || printf '# Numbers\n\nWhat each row is and how it is measured: [README.md](README.md).\n' >"$file"
    awk -v title="## $1" '/^## / { skip = $0 == title } !skip' "$file" >"$RUN/results.md"
    { cat "$RUN/results.md"; printf '\n## %s\n\n%s\n' "$1" "$text"; } | cat -s >"$file"
    note "$file is written"
}
