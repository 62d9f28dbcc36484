# Node and the npm packages of the tests, kept under .cache/ (sets: tools/npm/<set>/package.json).

NODE_AT_LEAST=22

# npm_set NAME PROOF...: installs tools/npm/NAME into .cache/npm/NAME unless that very set is there. Each PROOF is
# a pattern under node_modules that must match: npm passes by an optional package that it cannot fetch.
npm_set() {
    local set=$1 from=$ROOT/tools/npm/$1 to=$CACHE/npm/$1 want
    shift
    want=$(cat "$from/package.json" "$from/package-lock.json" | cksum)
    [ "$want" = "$(cat "$to/installed" 2>/dev/null)" ] && return 0
    have npm || { say "npm is missing"; return 1; }
    say "installing the npm packages of tools/npm/$set"
    rm -rf "$to"
    mkdir -p "$to"
    cp "$from/package.json" "$from/package-lock.json" "$to/"
    local try
    for try in 1 2; do
        if (cd "$to" && timeout 900 npm ci --omit-lockfile-registry-resolved --prefer-offline \
            --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null >"$to/npm.log" 2>&1) &&
            npm_proven "$to/node_modules" "$@"; then
            printf '%s\n' "$want" >"$to/installed"
            return 0
        fi
    done
    say "npm did not install it: see .cache/npm/$set/npm.log"
    return 1
}

npm_proven() {
    local at=$1 proof
    shift
    for proof in "$@"; do
        compgen -G "$at/$proof" >/dev/null || return 1
    done
}

# Puts a Node of at least NODE_AT_LEAST first in PATH.
use_node() {
    local major=0 node
    have node && major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
    [ "$major" -ge "$NODE_AT_LEAST" ] && return 0
    npm_set node 'node-linux-*/bin/node' || return 1
    for node in "$CACHE"/npm/node/node_modules/node-linux-*/bin/node; do
        [ -x "$node" ] || continue
        PATH=$(dirname "$node"):$PATH
        export PATH
        return 0
    done
    say "no Node $NODE_AT_LEAST for $(uname -m)"
    return 1
}

# The SDKs, found by `import` from anywhere under tests/.
use_sdks() {
    npm_set sdk openai/package.json @anthropic-ai/sdk/package.json || return 1
    ln -sfn ../.cache/npm/sdk/node_modules "$ROOT/tests/node_modules"
    export TIDEGATE_NODE_MODULES=$CACHE/npm/sdk/node_modules
}

# The real clients: sets CLAUDE_BIN and CODEX_BIN, or TIDEGATE_CLIENTS_SKIP with the reason.
use_clients() {
    local at=$CACHE/npm/clients/node_modules found
    if [ -z "${CLAUDE_BIN:-}" ] || [ -z "${CODEX_BIN:-}" ]; then
        if ! npm_set clients '@anthropic-ai/claude-code-linux-*/claude' '@openai/codex-linux-*/vendor/*/bin/codex'; then
            export TIDEGATE_CLIENTS_SKIP="the clients' npm packages cannot be installed here"
            return 0
        fi
    fi
    if [ -z "${CLAUDE_BIN:-}" ]; then
        found=$(ls "$at"/@anthropic-ai/claude-code-linux-*/claude 2>/dev/null | head -1)
        export CLAUDE_BIN=$found
    fi
    if [ -z "${CODEX_BIN:-}" ]; then
        found=$(ls "$at"/@openai/codex-linux-*/vendor/*/bin/codex 2>/dev/null | head -1)
        export CODEX_BIN=$found
    fi
    local bin missing=
    for bin in CLAUDE_BIN CODEX_BIN; do
        if [ ! -x "${!bin}" ] || ! timeout 60 "${!bin}" --version </dev/null >/dev/null 2>&1; then
            missing+="${missing:+ and }$bin"
            unset "$bin"
        fi
    done
    if [ -n "$missing" ]; then
        export TIDEGATE_CLIENTS_SKIP="$missing: no program for $(uname -m) that starts here"
    fi
}
