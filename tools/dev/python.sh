# Python packages of comparisons, kept under .cache/python/ (sets: tools/python/<set>.txt, every version pinned).

# python_set NAME PROOF: installs tools/python/NAME.txt into .cache/python/NAME unless that very set is there.
# PROOF is a program that must be there in the end.
python_set() {
    local from=$ROOT/tools/python/$1.txt to=$CACHE/python/$1 want
    want=$(cksum <"$from")
    [ "$want" = "$(cat "$to/installed" 2>/dev/null)" ] && return 0
    have python3 || { say "python3 is missing"; return 1; }
    say "installing the Python packages of tools/python/$1.txt"
    rm -rf "$to"
    mkdir -p "$CACHE/python"
    if ! python3 -m venv "$to" >"$CACHE/python/$1.log" 2>&1 \
        || ! timeout 1800 "$to/bin/pip" install --disable-pip-version-check --no-deps -r "$from" >>"$CACHE/python/$1.log" 2>&1 \
        || [ ! -x "$to/bin/$2" ]; then
        say "pip did not install it: see .cache/python/$1.log"
        return 1
    fi
    printf '%s\n' "$want" >"$to/installed"
}
