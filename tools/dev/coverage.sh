# What the unit tests of the deciding rooms reach: lines and branches, by file, with gcc's own counters.

COVERAGE_BUILD=${TIDEGATE_COVERAGE_BUILD:-build-coverage}
COVERAGE_ROOMS="core price wire"
COVERAGE_NEEDS="base tbl rows policy" # what those are built with

coverage_build() {
    TIDEGATE_ROOMS="$COVERAGE_NEEDS $COVERAGE_ROOMS" configure_tree "$COVERAGE_BUILD" -Db_coverage=true -Doptimization=0 \
        && ninja -C "$COVERAGE_BUILD" >&2
}

# coverage_table: after the tests ran; one line a file, one a room.
coverage_table() {
    local room
    printf '%-28s %8s %8s %9s %9s\n' file lines reached branches reached
    for room in $COVERAGE_ROOMS; do
        # shellcheck disable=SC2046 # names without spaces
        gcov -b -n $(find "$COVERAGE_BUILD/src/$room" -name '*.gcda') 2>/dev/null | awk -v room="$room" '
            function of(text) { sub(/.* of /, "", text); return text + 0 }
            function share(text) { sub(/.*:/, "", text); return text / 100 }
            /^File / { file = $0; sub(/.*src\//, "", file); sub(/.$/, "", file); if (index(file, room "/") != 1 || file !~ /\.c$/) file = ""; next }
            file != "" && file in lines && /^Lines executed/ { file = "" } # the sum over all, which has no name
            file != "" && /^Lines executed/ { lines[file] = of($0); hit[file] = share($0) * lines[file] }
            file != "" && /^Taken at least once/ { branches[file] = of($0); taken[file] = share($0) * branches[file] }
            function told(name, l, h, b, t) {
                printf "%-28s %8d %7.1f%% %9d %8.1f%%\n", name, l, l ? 100 * h / l : 100, b, b ? 100 * t / b : 100
            }
            END {
                for (file in lines) {
                    told(file, lines[file], hit[file], branches[file], taken[file])
                    l += lines[file]; h += hit[file]; b += branches[file]; t += taken[file]
                }
                told(room "/", l, h, b, t)
            }' | sort
    done
}

coverage_run() {
    local rooms=() room
    for room in $COVERAGE_ROOMS; do rooms+=(--suite "$room"); done
    find "$COVERAGE_BUILD" -name '*.gcda' -delete
    meson test -C "$COVERAGE_BUILD" --no-rebuild --num-processes "$(nproc)" --timeout-multiplier 4 "${rooms[@]}" </dev/null >&2
}

run_coverage() {
    [ $# = 0 ] || die "coverage takes no arguments, not '$1'"
    install_deps
    coverage_build || die "the tree does not build with coverage"
    coverage_run || die "a unit test fails: see $COVERAGE_BUILD/meson-logs/testlog.txt"
    coverage_table
}
