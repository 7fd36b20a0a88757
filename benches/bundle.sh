#!/bin/bash
# What an operator's script would collect, into $OUT/bundle.tar.zst: the yardstick of snapshot.sh. Every
# command one after the other, as such scripts do.
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
ps auxww >ps_auxww
ps -eLf >ps_eLf
lsof -nP >lsof 2>/dev/null
ss -tanp >ss
netstat -an >netstat
for file in meminfo stat loadavg uptime vmstat pressure/cpu pressure/memory pressure/io diskstats swaps buddyinfo \
    zoneinfo pagetypeinfo slabinfo interrupts softirqs locks cmdline version cpuinfo filesystems partitions devices \
    modules mounts self/mountinfo net/dev net/netstat net/snmp net/sockstat net/softnet_stat; do
    cat "/proc/$file" >"proc_${file//\//_}" 2>/dev/null
done
dmesg >dmesg
tar -cf - . | zstd -q -3 -o "$OUT/bundle.tar.zst"
