# shellcheck shell=bash
# Small disks for the scenarios of the store: ext4 on loop devices whose images lie in memory. Sourced after lib.sh.

need mkfs.ext4 losetup fsfreeze

# disk NAME MEGABYTES [MKFS-OPTION...]: a file system of its own, mounted at $T/NAME; the image is $T/images/NAME. DEV_NAME is
# its loop device.
disk() {
    local name=$1 size=$2 dev
    shift 2
    if ! mountpoint -q "$T/images"; then
        mkdir "$T/images"
        mount -t tmpfs -o mode=0700 tmpfs "$T/images" || skip "no file system can be mounted here"
        MOUNTS+=("$T/images")
    fi
    truncate -s "${size}M" "$T/images/$name"
    mkfs.ext4 -q "$@" "$T/images/$name" || fail "mkfs.ext4 $*"
    dev=$(losetup -f --show "$T/images/$name") || skip "there is no loop device here"
    UNDO+=("losetup -d $dev")
    printf -v "DEV_$name" %s "$dev"
    mkdir "$T/$name"
    mount "$dev" "$T/$name" || fail "mount $dev"
    MOUNTS+=("$T/$name")
}

# fill DIR: nothing more fits there, not even for root.
fill() {
    dd if=/dev/zero of="$1/ballast" bs=64k 2>/dev/null || true
    dd if=/dev/zero of="$1/ballast2" bs=4k 2>/dev/null || true
    sync -f "$1"
    # What delayed allocation held back.
    dd if=/dev/zero of="$1/ballast3" bs=4k 2>/dev/null || true
}
unfill() { rm -f "$1"/ballast*; }

# stores DIR...: the stores of the next watch, in order.
stores() {
    local dirs=
    sick_config
    for dir in "$@"; do dirs="$dirs\"$dir\", "; done
    sed -i "s|^dirs = .*|dirs = [${dirs%, }]|" "$T/lastgasp.toml"
}

# went DIR: the last snapshot is in DIR and whole.
went() {
    [ "$(dirname "$SNAP")" = "$1" ] || fail "the snapshot is in $SNAP, not in $1: $(status '.log[].text' | tail -n 5)"
    sound "$SNAP"
}

# tried DIR PATTERN: the manifest of the last snapshot says that DIR was tried before, and why it was no good.
tried() {
    has "stores in the manifest" "$(manifest "$SNAP" ".stores[] | select(.dir == \"$1\") | .error")" "$2"
    is "store in the manifest" "$(manifest "$SNAP" '.stores[-1] | "\(.dir) \(.error)"')" "$(dirname "$SNAP") null"
}
took() { manifest "$SNAP" ".stores[] | select(.dir == \"$1\") | .took_ms"; }

said() { status '.log[].text' | grep -E -- "$1"; }

# came_home DIR NAME [SECONDS]: the snapshot of that file name is in DIR, whole, in no other store, and the history tells.
came_home() {
    local name=$2
    await "${3:-60}" "[ -e '$1/$name' ] && [ \"\$(find '$T' -name '$name' | wc -l)\" = 1 ]" "$name in $1 and nowhere else"
    sound "$1/$name"
    await 5 "grep -q '\"what\":\"moved\".*$name' $T/*/history.jsonl $T/*/*/history.jsonl" "the move in the history"
    is "path in the status" "$(status ".last_snapshots[].path" | grep -c "^$1/$name\$")" 1
}
