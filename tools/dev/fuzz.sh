# Fuzz targets: fuzz/targets lists them, fuzz/<target>.c is the program, fuzz/corpus/<target>/ its seeds.

FUZZ_BUILD=${TIDEGATE_FUZZ_BUILD:-build-fuzz}

fuzz_targets() {
    [ -f "$ROOT/fuzz/targets" ] || return 0
    local target rest
    while read -r target rest; do
        case $target in ''|'#'*) continue ;; esac
        [ -f "$ROOT/fuzz/$target.c" ] && printf '%s\n' "$target"
    done <"$ROOT/fuzz/targets"
    return 0
}

fuzz_build() {
    CC=clang configure_tree "$FUZZ_BUILD" -Dfuzz=true -Dtests=false \
        -Db_sanitize=address,undefined -Db_lundef=false || return 1
    local target programs=()
    while read -r target; do programs+=("fuzz/fuzz_$target"); done < <(fuzz_targets)
    ninja -C "$FUZZ_BUILD" "${programs[@]}" >&2
}

# fuzz_one TARGET SECONDS: new inputs go to a scratch corpus; a finding is kept under <build>/findings.
fuzz_one() {
    local target=$1 seconds=$2 found=$FUZZ_BUILD/findings/$1 fresh=$FUZZ_BUILD/corpus/$1 extra=()
    mkdir -p "$found" "$fresh" "$ROOT/fuzz/corpus/$target"
    [ -f "$ROOT/fuzz/$target.dict" ] && extra+=("-dict=$ROOT/fuzz/$target.dict")
    timeout -k 10 $((seconds + 120)) "$FUZZ_BUILD/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 -artifact_prefix="$found/" "${extra[@]}" \
        "$fresh" "$ROOT/fuzz/corpus/$target" </dev/null
}

run_fuzz() {
    local wanted=${1:-} seconds=${2:-60} target failed=0 none=1
    case $wanted in ''|*[!0-9]*) ;; *) seconds=$wanted; wanted= ;; esac
    install_deps --checks
    [ -n "$(fuzz_targets)" ] || die "fuzz/targets lists no target whose source is there"
    fuzz_build || die "the fuzz targets do not build"
    while read -r target; do
        [ -z "$wanted" ] || [ "$target" = "$wanted" ] || continue
        none=0
        say "fuzzing $target for $seconds s"
        fuzz_one "$target" "$seconds" || { failed=1; say "$target: see $FUZZ_BUILD/findings/$target"; }
    done < <(fuzz_targets)
    [ "$none" = 0 ] || die "no target '$wanted'; there are: $(fuzz_targets | tr '\n' ' ')"
    return "$failed"
}
