# shellcheck shell=bash
# Sourced by scripts that run inside a guest: one line per check, `ok NAME` or `FAIL NAME: WHY`.
export DEBIAN_FRONTEND=noninteractive PAGER=cat SYSTEMD_COLORS=0
failures=0

# check NAME COMMAND...: the command must succeed; what it printed is shown when it does not.
check() {
    local name=$1 out
    shift
    if out=$("$@" 2>&1); then
        echo "ok $name"
    else
        failures=$((failures + 1))
        echo "FAIL $name: $*"
        printf '%s\n' "$out" | tail -n 40 | sed 's/^/   /'
    fi
}

equal() { [ "$1" = "$2" ] || { echo "is $1, should be $2"; return 1; }; }

# Tries a command for at most $1 seconds: for what there is no event to wait on.
within() {
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $until ] || return 1
        sleep 0.5
    done
}

install_deb() { apt-get install -y -o Dpkg::Use-Pty=0 "$1"; }
