#!/bin/bash
# Stores that cannot be used: each says why and what to do, and the snapshot goes to the next one. A second
# watch is refused. Without root, watch and snap work and say what they cannot see.
source "$(dirname "$0")/lib.sh"
need_root
need mount setpriv

# snap NAME DIR...: a snapshot by hand into the first usable one of these directories; leaves the JSON in
# $T/NAME.json and what was said in $T/NAME.err.
snap() {
    local name=$1 dirs=
    shift
    for dir in "$@"; do dirs="$dirs\"$dir\", "; done
    cat >"$T/$name.toml" <<TOML
[store]
dirs = [${dirs%, }]
min_free = "0B"
[capture]
disk_benchmark = false
TOML
    "$LASTGASP" --config "$T/$name.toml" --format json snap --reason "$name" >"$T/$name.json" 2>"$T/$name.err"
}
path_of() { jq -r .path "$T/$1.json"; }
# went NAME DIR PATTERN: the snapshot is in DIR, whole, and its manifest says why not elsewhere.
went() {
    is "$1: directory" "$(dirname "$(path_of "$1")")" "$2"
    sound "$(path_of "$1")"
    [ -z "${3:-}" ] || has "$1: notes of the manifest" "$(manifest "$(path_of "$1")" '.notes[]')" "$3"
    local note
    note=$(manifest "$(path_of "$1")" '.notes[]' | head -n 1 | cut -c1-150)
    say "$1: ${note:-nothing to note}"
}
GOOD=$T/good

# --- a full disk

truncate -s 64M "$T/small.img"
mkdir "$T/small"
ON_DISK=
if mkfs.ext4 -q -O ^has_journal "$T/small.img" 2>/dev/null && mount -o loop "$T/small.img" "$T/small" 2>/dev/null; then
    ON_DISK=1
elif mount -t tmpfs -o size=24m,mode=0700 tmpfs "$T/small" 2>/dev/null; then
    say "CANNOT CHECK the reserve: no ext4 on a loop device here; a small tmpfs stands in"
else
    skip "nothing can be mounted"
fi
MOUNTS+=("$T/small")
FULL=$T/small/store
mkdir -m 0700 "$FULL"
# The ballast takes everything but the last few blocks.
dd if=/dev/zero of="$T/small/ballast" bs=64k 2>/dev/null || true
dd if=/dev/zero of="$T/small/ballast2" bs=4k 2>/dev/null || true
snap full "$FULL" "$GOOD" || fail "snap with a full first store: $(cat "$T/full.err")"
went full "$GOOD" "$FULL.*No space left on device.*(free some space|\\[store\\] dirs).*snapshots go to $GOOD"
is "full: left in the full store" "$(find "$FULL" -mindepth 1 -not -name reserve)" ""

# The reserve, made while there was space, becomes the snapshot when there is none.
rm "$T/small/ballast" "$T/small/ballast2"
snap roomy "$FULL" "$GOOD" || fail "snap: $(cat "$T/roomy.err")"
went roomy "$FULL"
if [ -z "$ON_DISK" ]; then
    # A store in memory has no reserve.
    [ ! -e "$FULL/reserve" ] || fail "a reserve in memory"
elif [ -e "$FULL/reserve" ]; then
    dd if=/dev/zero of="$T/small/ballast" bs=64k 2>/dev/null || true
    dd if=/dev/zero of="$T/small/ballast2" bs=4k 2>/dev/null || true
    snap reserve "$FULL" "$GOOD" || fail "snap into the reserve: $(cat "$T/reserve.err")"
    went reserve "$FULL" "$FULL is full: the snapshot took the place of its reserve"
    [ ! -e "$FULL/reserve" ] || fail "the reserve is still there"
    rm -f "$T/small/ballast" "$T/small/ballast2"
else
    fail "no reserve was made with $(df --output=avail -BM "$T/small" | tail -n 1) free"
fi

# --- a read-only disk

mount -o remount,ro "$T/small"
snap readonly "$FULL" "$GOOD" || fail "snap with a read-only first store: $(cat "$T/readonly.err")"
went readonly "$GOOD" "$FULL.*Read-only file system.*remount it writable"
# With nothing else, but the last resort in memory; which is left as it was.
[ -d /run/lastgasp/store ] || had_no_store=1
snap alone "$FULL" || fail "snap with a read-only store alone: $(cat "$T/alone.err")"
went alone /run/lastgasp/store "Read-only file system"
case $(stat -f -c %T /run/lastgasp/store) in
    tmpfs | ramfs) has "the last resort" "$(manifest "$(path_of alone)" '.notes[]')" "in memory.*lost at a reboot" ;;
    *) say "CANNOT CHECK what is said of /run: it is not in memory here" ;;
esac
rm -f "$(path_of alone)"
if [ -n "${had_no_store:-}" ]; then
    rm -f /run/lastgasp/store/reserve
    rmdir /run/lastgasp/store /run/lastgasp 2>/dev/null || true
fi

# --- a store in memory, one that others can write to, one that is a file

mkdir "$T/memory"
mount -t tmpfs -o size=16m,mode=0700 tmpfs "$T/memory"
MOUNTS+=("$T/memory")
snap memory "$T/memory" || fail "snap into memory: $(cat "$T/memory.err")"
went memory "$T/memory" "$T/memory is in memory \\(tmpfs\\): its snapshots are lost at a reboot"
mkdir -m 0777 "$T/open"
chmod 0777 "$T/open"
snap open "$T/open" "$GOOD" || fail "snap: $(cat "$T/open.err")"
went open "$GOOD" "$T/open.*written to by everyone.*chmod 0700"
touch "$T/file"
snap file "$T/file" "$GOOD" || fail "snap: $(cat "$T/file.err")"
went file "$GOOD" "$T/file.*Not a directory"

# --- a disk that fills up in the middle of a snapshot

mkdir "$T/tiny"
# Enough to open the store (64 KiB are tried), not enough for a snapshot.
mount -t tmpfs -o size=72k,mode=0700 tmpfs "$T/tiny"
MOUNTS+=("$T/tiny")
snap tiny "$T/tiny" "$GOOD" || fail "snap: $(cat "$T/tiny.err")"
went tiny "$GOOD" "write $T/tiny/.*No space left on device.*goes to the next store"

# --- the watch says it too, once

config "[kmsg]
enabled = false"
sed -i "s|^dirs = .*|dirs = [\"$FULL\", \"$GOOD\"]|" "$T/lastgasp.toml"
start_watch
is "store of the watch" "$(status .store)" "$GOOD"
has "log of the watch" "$(status '.log[].text')" "$FULL.*Read-only file system.*snapshots go to $GOOD"

# --- a second watch

if "$LASTGASP" --config "$T/lastgasp.toml" watch 2>"$T/second.err"; then
    fail "a second watch ran on the same control socket"
else
    is "exit code of the second watch" $? 2
fi
has "the second watch" "$(cat "$T/second.err")" "another watch answers on $CONTROL; stop it, or give this one its own general.control"
is "the first watch goes on" "$(status .pid)" "$WATCH"
stop_watch
umount "$T/small" && MOUNTS=("$T/memory" "$T/tiny")

# --- without root

chmod 0711 "$T"
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs env -i "PATH=$PATH")
install -m 0755 "$LASTGASP" "$T/lastgasp"
mkdir "$T/theirs"
chown 65534:65534 "$T/theirs"
"${nobody[@]}" true || skip "nobody cannot run a program here"
cat >"$T/nobody.toml" <<TOML
[general]
control = "$T/theirs/control.sock"
[store]
dirs = ["$T/theirs/store"]
min_free = "0B"
TOML
chmod 0644 "$T/nobody.toml"
"${nobody[@]}" "$T/lastgasp" --config "$T/nobody.toml" --format json snap --no-disk-benchmark >"$T/nobody.json" 2>"$T/nobody.err" ||
    fail "snap as nobody: $(cat "$T/nobody.err")"
went nobody "$T/theirs/store"
snapshot=$(path_of nobody)
is "owner and mode of the snapshot" "$(stat -c '%u %a' "$snapshot")" "65534 600"
has "limits in the manifest" "$(manifest "$snapshot" '.incident.limits[]')" "runs without .*CAP_"
has "privilege that collectors lacked" \
    "$(manifest "$snapshot" '.collectors[] | .name as $n | .missing[] | select(.what == "privilege") | "\($n): \(.why)"')" \
    "CAP_SYS_PTRACE"
say "nobody: $(manifest "$snapshot" '[.collectors[].outcome] | group_by(.) | map("\(length) \(.[0])") | join(", ")')"
manifest "$snapshot" '.collectors[] | select(.outcome == "failed") | "nobody: \(.name) failed: \(.why)"' | while read -r line; do
    say "$line"
done

"${nobody[@]}" "$T/lastgasp" --config "$T/nobody.toml" watch 2>"$T/watch.log" &
WATCH=$!
theirs() { "$LASTGASP" --format json status --control "$T/theirs/control.sock" | jq -r "$1"; }
await 60 '[ "$(theirs .spare_ready)" = true ]' "a watch of nobody with a spare worker"
has "limits in the status" "$(theirs '.limits[]')" "runs without .*CAP_"
is "limits said" "$(grep -c 'runs without' "$T/watch.log")" 1
kmsg=$(theirs .kernel_log)
say "nobody: $kmsg"
stop_watch
