# Meson and ninja.

ASAN_BUILD=${TIDEGATE_ASAN_BUILD:-build-asan}

# What decides the shape of the build besides meson's own files: which rooms and folders exist.
build_shape() {
    printf '%s\n' "$1"
    ls -d src/*/meson.build src/main.c tests/unit/*/meson.build tests/{cases,sim,fault}/meson.build fuzz/*.c \
        2>/dev/null || true
    cksum fuzz/targets
}

# configure_tree FOLDER [MESON OPTION...]: sets up or, when the shape has changed, configures again.
configure_tree() {
    local folder=$1 shape
    shift
    local rooms=${TIDEGATE_ROOMS:-}
    set -- "$@" "-Drooms=${rooms// /,}"
    shape=$(build_shape "$*")
    if [ ! -f "$folder/build.ninja" ]; then
        rm -rf "$folder/meson-private" "$folder/meson-info"
        meson setup "$folder" "$@" >&2 || return 1
    elif [ "$shape" != "$(cat "$folder/shape" 2>/dev/null)" ]; then
        meson setup --reconfigure "$folder" "$@" >&2 || return 1
    fi
    printf '%s\n' "$shape" >"$folder/shape"
}

# build_tree FOLDER [TARGET...]
build_tree() {
    local folder=$1
    shift
    configure_tree "$folder" && ninja -C "$folder" "$@" >&2
}

# The programs that threads meet in, alone: the rest has nothing to tell ThreadSanitizer.
TSAN_BUILD=${TIDEGATE_TSAN_BUILD:-build-tsan}
TSAN_ROOMS="engine net log store"

build_tsan_tree() {
    local room programs=(tidegate)
    configure_tree "$TSAN_BUILD" -Db_sanitize=thread -Db_lundef=false -Doptimization=2 || return 1
    for room in $TSAN_ROOMS; do
        mapfile -t -O ${#programs[@]} programs < <(ninja -C "$TSAN_BUILD" -t targets all |
            sed -n "s#^\(tests/unit/$room/[a-z_]*_test\): .*#\1#p")
    done
    ninja -C "$TSAN_BUILD" "${programs[@]}" >&2
}

build_asan_tree() {
    configure_tree "$ASAN_BUILD" -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=2 \
        && ninja -C "$ASAN_BUILD" "$@" >&2
}
