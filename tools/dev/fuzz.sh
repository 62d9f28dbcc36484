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

# fuzz_one TARGET SECONDS: new inputs go to a scratch corpus; a finding is kept under <build>/findings. Fails too
# when a function that the target names was not reached.
fuzz_one() {
    local target=$1 seconds=$2 found=$FUZZ_BUILD/findings/$1 fresh=$FUZZ_BUILD/corpus/$1 extra=() code=0
    local told=$FUZZ_BUILD/told-$target
    mkdir -p "$found" "$fresh" "$ROOT/fuzz/corpus/$target"
    [ -f "$ROOT/fuzz/$target.dict" ] && extra+=("-dict=$ROOT/fuzz/$target.dict")
    timeout -k 10 $((seconds + 120)) "$FUZZ_BUILD/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 -print_coverage=1 -artifact_prefix="$found/" \
        "${extra[@]}" "$fresh" "$ROOT/fuzz/corpus/$target" </dev/null >"$told" 2>&1 || code=$?
    grep -v '^ *UNCOVERED_\|^COVERED_FUNC' "$told" || true
    [ "$code" = 0 ] || return "$code"
    fuzz_reaches "$target" "$told"
}

# Functions that clang has put into their callers are not told apart: a target names those of other files.
fuzz_reaches() {
    local target=$1 told=$2 name missing=''
    for name in $(sed -n '1s#^/\* reaches: \(.*\) \*/.*#\1#p' "$ROOT/fuzz/$target.c"); do
        grep -q "^COVERED_FUNC: .* $name " "$told" || missing+=" $name"
    done
    [ -z "$missing" ] || { echo "$target did not reach$missing"; return 1; }
}

run_fuzz() {
    local wanted='' seconds=60 target failed=0
    while [ $# -gt 0 ]; do
        case $1 in
            --all) wanted='' ;;
            --seconds) seconds=${2-}; shift ;;
            -*) die "fuzz knows --all and --seconds N, not '$1'" ;;
            *) wanted=$1 ;;
        esac
        shift
    done
    case $seconds in ''|*[!0-9]*) die "--seconds wants a number" ;; esac
    install_deps --checks
    [ -n "$(fuzz_targets)" ] || die "fuzz/targets lists no target whose source is there"
    [ -z "$wanted" ] || fuzz_targets | grep -qxF -- "$wanted" ||
        die "no target '$wanted'; there are: $(fuzz_targets | tr '\n' ' ')"
    fuzz_build || die "the fuzz targets do not build"
    while read -r target; do
        [ -z "$wanted" ] || [ "$target" = "$wanted" ] || continue
        say "fuzzing $target for $seconds s"
        fuzz_one "$target" "$seconds" || { failed=1; say "$target: see above, and $FUZZ_BUILD/findings/$target"; }
    done < <(fuzz_targets)
    return "$failed"
}
