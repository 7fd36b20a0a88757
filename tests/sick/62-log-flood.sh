#!/bin/bash
# 1 GB of console log within a minute, with one failure in the middle: it is found, no line is lost, the watch does not
# grow, and the snapshot has the end of that log within its cap.
source "$(dirname "$0")/lib.sh"
need_root

status_of() { awk -v key="^$2" '$0 ~ key { print $2 }' "/proc/$1/status"; }
all_rss() { # of the watch and its children
    local pid sum=0
    for pid in "$1" $(cat "/proc/$1/task/$1/children"); do
        sum=$((sum + $(status_of "$pid" VmRSS || echo 0)))
    done
    echo "$sum"
}

mkdir "$T/ram"
mount -t tmpfs -o size=1200m sick "$T/ram" || skip "no tmpfs can be mounted"
MOUNTS+=("$T/ram")
touch "$T/ram/node2.log"
config "[kmsg]
enabled = false
[capture]
disk_benchmark = false
logs = [\"$T/ram/node2.log\"]
[[console]]
path = \"$T/ram/*.log\"
"
rm -rf "$STORE"
start_watch
await 20 "[ \"\$(status '.consoles | length')\" = 1 ]" "the console log"
core=$(status .pid)
before=$(all_rss "$core")
began=$(now_ms)
python3 - "$T/ram/node2.log" "$ROOT/fixtures/detect/page_fault.hit.log" >"$T/written" <<'PY'
import sys, time
oops = open(sys.argv[2], "rb").read()
line = b"[ 1234.567890] eth0: %06d: some device says what it does, and then says it again\n"
block = b"".join(line % n for n in range(13000))[: 1 << 20].rpartition(b"\n")[0] + b"\n"
began, written, lines = time.monotonic(), 0, 0
with open(sys.argv[1], "ab", buffering=0) as out:
    while written < 1 << 30:
        # 32 MB a second: 1 GB in 32 s.
        time.sleep(max(0, began + written / (32 << 20) - time.monotonic()))
        out.write(block)
        written += len(block)
        lines += block.count(b"\n")
        if oops and written > 1 << 29:
            out.write(oops)
            lines += oops.count(b"\n")
            oops = b""
print(lines, written, round(time.monotonic() - began, 1))
PY
read -r lines bytes seconds <"$T/written"
await 30 'archives | grep -q "/node2-.*-oops-"' "a snapshot of the oops in the flood"
await 60 "[ \"\$(status .console_records)\" -ge $lines ]" "all $lines lines read"
took=$(($(now_ms) - began))
after=$(all_rss "$core")
SNAP=$(archives | grep '/node2-')
sound "$SNAP"
kept=$(entry "$SNAP" "$(cut -c2- <<<"$T")/ram/node2.log" | wc -c)
[ "$kept" -gt 0 ] && [ "$kept" -le $((1 << 20)) ] || fail "$kept bytes of the flood are in the snapshot"
[ "$after" -le $((before + 16384)) ] || fail "the watch grew from $before to $after KiB"
is "lost" "$(status '.losses.counts | del(.history_lines) | tojson')" '{}'
row "1 GB of log in $seconds s" "$bytes bytes, $lines lines written" "oops found, no line lost, last $kept bytes kept; watch $before -> $after KiB" "$took"
stop_watch
