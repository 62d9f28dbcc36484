# Benchmarks. Built apart from everything else: optimised, with symbols, checks left in.

BENCH_BUILD=${TIDEGATE_BENCH_BUILD:-build-bench}

bench_build() {
    configure_tree "$BENCH_BUILD" -Dbench=true -Dtests=false -Db_ndebug=false \
        && ninja -C "$BENCH_BUILD" tidegate bench/load bench/upstream bench/engine_bench >&2
}

# run_soak [OPTION...]
run_soak() {
    install_deps --tests
    use_node || return 1
    bench_build || die "the gateway and the generator do not build"
    node bench/soak.mjs "$@" "$BENCH_BUILD"
}

# What cannot be had is left out, and the table says so.
run_compare() {
    install_deps
    have curl && have openssl && have taskset || install_packages curl openssl util-linux || return 1
    bench_build || die "the gateway and the generator do not build"
    if use_node && npm_set gateways @portkey-ai/gateway/build/start-server.js @musistudio/claude-code-router/dist/cli.js; then
        export COMPARE_NPM=$CACHE/npm/gateways
    fi
    if python_set litellm litellm; then
        export COMPARE_PYTHON=$CACHE/python/litellm
    fi
    bench/compare.sh "$@" "$BENCH_BUILD"
}

run_decisions() {
    install_deps --tests
    bench_build || die "the engine's benchmark does not build"
    bench/decisions.sh "$@" "$BENCH_BUILD"
}

run_bench() {
    local kind=${1:-}
    [ $# -gt 0 ] && shift
    case $kind in
        relay)
            install_deps
            package_present nginx-light && have curl && have openssl && have taskset && have pgrep \
                || install_packages nginx-light curl openssl util-linux procps || return 1
            bench_build || die "the gateway and the generator do not build"
            bench/relay.sh "$@" "$BENCH_BUILD"
            ;;
        compare) run_compare "$@" ;;
        decisions) run_decisions "$@" ;;
        *) die "bench knows relay, compare and decisions, not '$kind'" ;;
    esac
}
