#!/bin/bash
# Shared by the tests of this folder: own directory, own watch, awaited events, independent checks.
#
# A test sources this first. It gets an empty directory $T, which goes when it ends, together with
# every process noted in PIDS and every mount noted in MOUNTS. Commands noted in FREE run before those
# are ended (what lets processes go that hang), commands noted in UNDO after them; the last noted first. Nothing here waits for a time: `await`
# waits for a condition, with a deadline.
#
# Exit codes of a test: 0 passed, 77 cannot run here (and says why), anything else failed.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LASTGASP=${LASTGASP:-$ROOT/target/release/lastgasp}
NAME=$(basename "$0" .sh)
T=$(mktemp -d "${TMPDIR:-/tmp}/lastgasp-$NAME.XXXXXX")
STORE=$T/store
CONTROL=$T/control.sock
PIDS=()
MOUNTS=()
FREE=()
UNDO=()
WATCH=

say() { printf '   %s\n' "$*"; }

# The first failure ends the test; what the watch logged is the first thing one wants to see then.
fail() {
    printf '   FAILED: %s\n' "$*" >&2
    if [ -s "$T/watch.log" ]; then
        printf '   -- the last lines of the watch:\n' >&2
        tail -n 15 "$T/watch.log" >&2
    fi
    exit 1
}

skip() {
    printf '   CANNOT RUN: %s\n' "$*"
    exit 77
}

# need COMMAND...: without one of them the test cannot run.
need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || skip "there is no $tool here"
    done
}

need_root() { [ "$(id -u)" = 0 ] || skip "it needs root"; }

# await SECONDS CONDITION [WHAT]: evaluates CONDITION until it holds. The only place that sleeps.
await() {
    local until=$((SECONDS + $1))
    until eval "$2" >/dev/null 2>&1; do
        [ $SECONDS -lt $until ] || fail "${3:-"$2"} did not come true within $1 s"
        sleep 0.05
    done
}

# holds SECONDS CONDITION [WHAT]: CONDITION is true all that time.
holds() {
    local until=$((SECONDS + $1))
    while [ $SECONDS -lt $until ]; do
        eval "$2" >/dev/null 2>&1 || fail "${3:-"$2"} did not stay true for $1 s"
        sleep 0.1
    done
}

# is WHAT GOT WANTED
is() { [ "$2" = "$3" ] || fail "$1: got '$2', want '$3'"; }

# has WHAT TEXT PATTERN: an extended regular expression is found in the text.
has() { grep -qE -- "$3" <<<"$2" || fail "$1: no /$3/ in: ${2:0:600}"; }

# lacks WHAT TEXT PATTERN
lacks() { ! grep -qE -- "$3" <<<"$2" || fail "$1: /$3/ is in: ${2:0:600}"; }

gone() { ! kill -0 "$1" 2>/dev/null; }

cleanup() {
    local code=$? pid n
    set +e
    # The shell's word on each job that was killed is no news.
    exec 3>&2 2>/dev/null
    for ((n = ${#FREE[@]} - 1; n >= 0; n--)); do
        eval "${FREE[n]}"
    done
    for pid in "${PIDS[@]}" $WATCH; do
        kill -CONT "$pid"
        kill -KILL "$pid"
    done
    # Children of this shell only: whatever else there is was not started here.
    wait
    exec 2>&3 3>&-
    # Last mounted, first unmounted.
    for ((n = ${#MOUNTS[@]} - 1; n >= 0; n--)); do
        umount "${MOUNTS[n]}" || umount -l "${MOUNTS[n]}"
    done 2>/dev/null
    for ((n = ${#UNDO[@]} - 1; n >= 0; n--)); do
        eval "${UNDO[n]}"
    done
    if [ -n "${KEEP:-}" ]; then
        say "kept: $T"
    else
        rm -rf "$T"
    fi
    exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

[ -x "$LASTGASP" ] || skip "there is no $LASTGASP; build it, or set LASTGASP"
need jq tar zstd python3

# config [TOML]: writes $T/lastgasp.toml with our own store and control socket, and TOML after that.
# shellcheck disable=SC2120 # its callers are in other files
config() {
    cat >"$T/lastgasp.toml" <<TOML
[general]
control = "$CONTROL"
[store]
dirs = ["$STORE"]
min_free = "0B"
max_count = 10000
${1:-}
TOML
}

# start_watch [FLAG...]: a watch with $T/lastgasp.toml, whose spare worker is ready.
start_watch() {
    launch_watch "$@"
    await 60 '[ "$(status .spare_ready)" = true ]' "a watch with a spare worker"
}

# launch_watch [FLAG...]: the same without waiting for anything.
launch_watch() {
    [ -e "$T/lastgasp.toml" ] || config
    "$LASTGASP" --config "$T/lastgasp.toml" watch "$@" 2>>"$T/watch.log" &
    WATCH=$!
}

# Ends it as an operator would.
stop_watch() {
    kill -TERM "$WATCH"
    await 30 'gone $WATCH' "the end of the watch after SIGTERM"
    wait "$WATCH" || fail "the watch ended with code $? after SIGTERM"
    WATCH=
}

# Ends it as the OOM killer would.
kill_watch() {
    kill -KILL "$WATCH"
    { wait "$WATCH" || true; } 2>/dev/null
    WATCH=
}

# status JQ: of the running watch.
status() { "$LASTGASP" --config "$T/lastgasp.toml" --format json status 2>/dev/null | jq -r "$1"; }

# Files of the store.
archives() { find "${1:-$STORE}" -maxdepth 1 -name '*.tar.zst' 2>/dev/null | sort; }
archive_count() { archives "$@" | wc -l; }
newest() { ls -t "${1:-$STORE}"/*.tar.zst 2>/dev/null | head -n 1; }
archive_of() { find "${2:-$STORE}" -maxdepth 1 -name "*-$1.tar.zst" | head -n 1; }

# entry ARCHIVE GLOB: the content of the entries whose path below the top directory matches, read
# with tar and zstd, not with our own reader.
entry() { tar --zstd -xOf "$1" --wildcards "*/$2"; }
manifest() { entry "$1" manifest.json | jq -r "$2"; }

# sound ARCHIVE...: our own verify and an independent reading both say that it is whole.
sound() {
    local a
    for a in "$@"; do
        tar --zstd -tf "$a" >"$T/list" || fail "tar does not list $a"
        python3 "$ROOT/tests/root/check_archive.py" "$a" >"$T/check" || fail "$a: $(cat "$T/check")"
        "$LASTGASP" verify "$a" >"$T/verify" 2>&1 || fail "verify $a: $(cat "$T/verify")"
    done
}

now_ms() { date +%s%3N; }
