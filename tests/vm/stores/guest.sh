# shellcheck shell=sh
# What each scenario of stores.py does in its guest: sourced by the guest's init in place of the rest of it. /first is the
# first store's file system, on a device that the scenario makes sick; /store/snapshots is the next store.

cat >/tmp/stores.toml <<TOML
[general]
host = "guest"
[store]
dirs = ["/first/store", "/store/snapshots"]
min_free = "1MiB"
[incident]
coalesce = "0s"
cooldown = "0s"
[capture]
disk_benchmark = false
TOML
mkdir /first
LOG=/tmp/watch.log

seen() { grep -q "$1" $LOG; }
# begin DEVICE: its file system becomes the first store, and a watch is ready for it.
begin() {
    mkdir -p /first && mount -t ext4 -o errors=continue "$1" /first || say "failed: mount $1"
    : >$LOG
    setsid lastgasp --config /tmp/stores.toml watch >>$LOG 2>&1 &
    tail -f $LOG >&3 &
    within 60 seen "snapshots go to /first/store" || say "failed: no watch on the first store"
    usleep 500000
}
# linear, or another kind of table, under /dev/dm-0.
size() { blockdev --getsz /dev/vdc; }
switch() {
    dmsetup suspend --nolockfs --noflush first && dmsetup reload first --table "$1" && dmsetup resume first ||
        say "failed: dmsetup $1"
}
state_of() { sed 's/.*) \(.\) .*/\1/' "/proc/$1/stat"; }
# writes SECONDS: whether a write to the first store's disk takes longer than that. It goes on.
hangs() {
    dd if=/dev/urandom of=/first/proof bs=64k count=4 conv=fsync 2>/tmp/dd &
    proof=$!
    sleep "$1"
    [ "$(state_of $proof)" = D ]
}
diverted() {
    fault warn
    within 60 seen "is in /store/snapshots/[^ ]*-warning-" || say "failed: no snapshot in the next store"
}
home() { within 150 seen "moved home\|was late and is whole" || say "failed: not moved home"; }
end() {
    say "done"
    sync &
    usleep 500000
    poweroff -f
}
