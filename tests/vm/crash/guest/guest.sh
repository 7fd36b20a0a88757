# shellcheck shell=sh
# Words for the scenarios, sourced by the guest's init and by nothing else.

# Commits a fault of the module in a process of its own: the guest's init must not be the one that dies.
fault() { sh -c 'echo "$0" >/proc/lastgasp_fault' "$1" 2>/dev/null; }

# Has the host run a command of QEMU's monitor, and waits until it did.
monitor() {
    say "monitor $*"
    read -r _ <&3
}

within() {
    left=$(($1 * 5))
    shift
    until "$@"; do
        left=$((left - 1))
        [ $left -gt 0 ] || return 1
        usleep 200000
    done
}

spare_ready() { lastgasp --config /payload/guest.toml --format json status 2>/dev/null | grep -q '"spare_ready":true'; }

happened() { grep -q "\"what\":\"$1\"" /store/snapshots/history.jsonl 2>/dev/null; }
happened_times() { [ "$(grep -c "\"what\":\"$1\"" /store/snapshots/history.jsonl 2>/dev/null)" -ge "$2" ]; }

# Waits for a snapshot; for one more than there are when a number is given.
captured() { within 90 happened_times captured "${1:-1}" || say "no snapshot"; }

# Waits for an event that raises no alarm.
noted() { within 60 happened noted || say "nothing noted"; }

# Loads the drivers of all devices that are there, as udev would.
coldplug() {
    find /sys/devices -name modalias -exec cat {} + | sort -u | while read -r alias; do
        modprobe -q "$alias" 2>/dev/null
    done
    usleep 500000
}

# The end of a scenario that must stay quiet: one real WARN, so that its being the only incident proves that the
# watch was at work all the time.
sentinel() {
    fault warn
    captured
}

# Everything that the host wants to know, then off.
finish() {
    lastgasp --config /payload/guest.toml --format json status >/store/status.json 2>/dev/null
    program clocks >/store/clocks.txt
    dmesg >/store/dmesg.txt
    program kmsg >/store/kmsg.txt
    kill "$WATCH"
    within 20 happened stopped
    say "done"
    sync
    umount /store
    # Without ACPI a machine cannot switch itself off; QEMU ends with a reboot too.
    [ ! -d /sys/firmware/acpi ] || poweroff -f
    reboot -f
}
