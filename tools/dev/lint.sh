# Checks of the text: rooms, format, cppcheck, clang-tidy.

# The C files to check: those named, else all that git knows or could know.
c_files() {
    if [ $# -gt 0 ]; then
        printf '%s\n' "$@"
    else
        git ls-files --cached --others --exclude-standard -- 'src/*.[ch]' 'tests/*.[ch]' 'fuzz/*.[ch]' |
            while read -r file; do [ ! -f "$file" ] || printf '%s\n' "$file"; done
    fi
}

lint_step() { # NAME COMMAND...: keeps going, remembers
    local name=$1
    shift
    if "$@"; then say "lint: $name: clean"; else say "lint: $name: see above"; LINT_FAILED=1; fi
}

# Each fuzz target names functions that exist.
lint_fuzz() {
    local target name failed=0
    while read -r target; do
        for name in $(sed -n '1s#^/\* reaches: \(.*\) \*/.*#\1#p' "fuzz/$target.c"); do
            grep -rqw --include='*.[ch]' -- "$name" src || { echo "fuzz/$target.c:1: there is no $name"; failed=1; }
        done
        head -1 "fuzz/$target.c" | grep -q '^/\* reaches: ' || {
            echo "fuzz/$target.c:1: begins with /* reaches: function ... */"
            failed=1
        }
    done < <(fuzz_targets)
    return "$failed"
}

# Tables in headers and tests are aligned by hand; the code of src/ and fuzz/ is as the formatter writes it.
lint_format() {
    local files
    mapfile -t files < <(c_files "$@" | grep -E '^(\./)?(src|fuzz)/.*\.c$')
    [ ${#files[@]} -eq 0 ] || clang-format --dry-run --Werror "${files[@]}"
}

lint_cppcheck() {
    local files
    mapfile -t files < <(c_files "$@" | grep -E '^(\./)?src/.*\.c$')
    [ ${#files[@]} -eq 0 ] || timeout 600 cppcheck --quiet --std=c11 --language=c -j "$(nproc)" -I src -D_GNU_SOURCE \
        --enable=warning,performance,portability --inline-suppr --error-exitcode=1 --suppress=missingIncludeSystem \
        --suppress=normalCheckLevelMaxBranches --suppress=unknownMacro --suppress=preprocessorErrorDirective \
        --library=posix "${files[@]}"
}

lint_tidy() {
    local files build=build-tidy
    CC=clang configure_tree "$build" -Dtests=false >/dev/null 2>&1 || { say "the tree does not configure with clang"; return 1; }
    mapfile -t files < <(c_files "$@" | grep -E '^(\./)?src/.*\.c$' |
        while read -r file; do ! grep -q "\"file\": \"[^\"]*$file\"" "$build/compile_commands.json" || echo "$file"; done)
    [ ${#files[@]} -eq 0 ] || printf '%s\n' "${files[@]}" |
        timeout 1200 xargs -P "$(nproc)" -n 4 clang-tidy -p "$build" --quiet 2>/dev/null
}

run_lint() {
    local quick=0
    LINT_FAILED=0
    [ "${1:-}" != --quick ] || { quick=1; shift; }
    local file
    for file in "$@"; do [ -f "$file" ] || die "lint knows --quick and files, not '$file'"; done
    install_deps --checks
    lint_step rooms tools/rooms
    lint_step cases tools/cases
    lint_step fuzz lint_fuzz
    lint_step format lint_format "$@"
    if [ "$quick" = 0 ]; then
        lint_step cppcheck lint_cppcheck "$@"
        lint_step clang-tidy lint_tidy "$@"
    fi
    return "$LINT_FAILED"
}
