run_tests() { install_deps; build_tree "$BUILD"; meson test -C "$BUILD" "$@"; }
