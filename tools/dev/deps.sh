# Debian packages and Node. Each step looks first and is quick when nothing is missing.

BUILD_PACKAGES="gcc libc6-dev meson ninja-build pkg-config libuv1-dev libssl-dev libnghttp2-dev
    libwslay-dev libcurl4-openssl-dev libjson-c-dev libyaml-dev libsqlite3-dev libpq-dev
    libsodium-dev libsmartcols-dev libcmocka-dev ca-certificates"
TEST_PACKAGES="nodejs npm tmux sqlite3 curl procps openssl util-linux postgresql nginx-light haproxy"
CHECK_PACKAGES="clang clang-tidy clang-format cppcheck libclang-rt-14-dev"
BENCH_PACKAGES="chromium"

# A command that comes with another package than Debian's counts as well (npm inside nodejs).
package_present() {
    case $1 in
        npm) have npm && return 0 ;;
        nodejs) have node && return 0 ;;
        nginx-light) [ -x /usr/sbin/nginx ] && return 0 ;;
        postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && return 0 ;;
    esac
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Runs COMMAND while Debian's packages are told not to start their services: ours run from configurations of
# their own, and ports like 80 and 5432 are not for us to take.
without_services() {
    local policy=/usr/sbin/policy-rc.d as_root=() status=0
    if [ -e "$policy" ] || ! have apt-get; then
        "$@"
        return
    fi
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    "$@" || status=$?
    "${as_root[@]}" rm -f "$policy"
    return "$status"
}

# install_packages NAME...: those that are missing, after one `apt-get update` a run.
install_packages() {
    local package missing=()
    for package in "$@"; do
        package_present "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    have apt-get || { say "missing: ${missing[*]}; this script installs with apt-get only"; return 1; }

    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        have sudo || { say "missing: ${missing[*]}; install them as root"; return 1; }
        as_root=(sudo)
    fi
    say "installing ${missing[*]}"
    mkdir -p "$CACHE"
    if [ -z "${APT_UPDATED:-}" ]; then
        "${as_root[@]}" apt-get -qq update </dev/null >"$CACHE/apt.log" 2>&1 || tail -5 "$CACHE/apt.log" >&2
        APT_UPDATED=1
    fi
    without_services "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y install --no-install-recommends "${missing[@]}" </dev/null >>"$CACHE/apt.log" 2>&1 || {
        tail -20 "$CACHE/apt.log" >&2
        return 1
    }
}

install_deps() {
    local wanted=$BUILD_PACKAGES word
    for word in "$@"; do
        case $word in
            --tests) wanted+=" $TEST_PACKAGES" ;;
            --checks) wanted+=" $CHECK_PACKAGES" ;;
            --bench) wanted+=" $TEST_PACKAGES $BENCH_PACKAGES" ;;
            *) die "install-deps knows --tests, --checks and --bench, not '$word'" ;;
        esac
    done
    # shellcheck disable=SC2086 # a list of names
    install_packages $wanted
}
