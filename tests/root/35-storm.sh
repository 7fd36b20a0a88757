#!/bin/bash
# 200,000 lines a second, with one failure in the middle: from a console log nothing is lost; the kernel's ring may be
# overrun, and then what is lost is counted and shown, and the failure is known all the same.
source "$(dirname "$0")/lib.sh"
need_root
[ -w /dev/kmsg ] || skip "/dev/kmsg cannot be written"
# shellcheck source=tests/root/oom.sh
source "$(dirname "$0")/oom.sh"
make_oom_group

RATE=${RATE:-200000} FOR=${FOR:-4}
mkdir "$T/consoles"
config "[incident]
coalesce = \"0s\"
cooldown = \"0s\"
max_per_hour = 1000
[capture]
disk_benchmark = false
[[console]]
path = \"$T/consoles/*.log\"
"
start_watch

# --- a console log

touch "$T/consoles/node1.log"
python3 "$ROOT/tests/root/write_storm.py" "$T/consoles/node1.log" "$RATE" "$FOR" "$ROOT/fixtures/detect/page_fault.hit.log" >"$T/console.json"
lines=$(jq .lines "$T/console.json")
await 60 "[ \"\$(status .console_records)\" = $lines ]" "all $lines lines read"
await 20 'archives | grep -q "/node1-.*-oops-"' "a snapshot of the oops in the console log"
snapshot=$(archives | grep '/node1-.*-oops-')
is "snapshots of the oops" "$(wc -l <<<"$snapshot")" 1
sound "$snapshot"
is "function" "$(manifest "$snapshot" .incident.trigger.event.function)" session_read
is "losses of the console log" "$(status '.losses.counts | with_entries(select(.key | startswith("kmsg") | not)) | del(.history_lines) | tojson')" '{}'
say "console log: $(jq .rate "$T/console.json") lines a second, none of $lines lost, snapshot ordered $(($(manifest "$snapshot" .incident.opened_at) / 1000 - $(jq .middle_ms "$T/console.json"))) ms after the oops was written"

# --- the kernel log

# User space is let write as much as it likes, for as long as this takes.
devkmsg=$(cat /proc/sys/kernel/printk_devkmsg)
restore() { echo "$devkmsg" >/proc/sys/kernel/printk_devkmsg; }
UNDO+=(restore)
echo on 2>/dev/null >/proc/sys/kernel/printk_devkmsg || skip "printk_devkmsg cannot be set: user space may not flood the kernel log here"
python3 "$ROOT/tests/root/write_storm.py" /dev/kmsg "$RATE" "$FOR" "" "$T/middle" >"$T/kmsg.json" &
writer=$!
PIDS+=("$writer")
await 60 '[ -e "$T/middle" ]' "the middle of the storm"
run_out_of_memory
wait "$writer" || fail "the writer"
restore
# By its text, or by the kernel's count of it.
await 30 'archives | grep -q -- "-oom-"' "a snapshot of the OOM kill"
snapshot=$(archives | grep -- '-oom-' | head -n 1)
sound "$snapshot"
lost=$(status '.losses.counts.kmsg_overrun_records // 0')
rule=$(manifest "$snapshot" .incident.trigger.event.rule)
if [ "$rule" = counter ]; then
    [ "$lost" -gt 0 ] || fail "the text of the OOM kill was missed although nothing was lost"
else
    is "rule" "$rule" oom
fi
if [ "$lost" -gt 0 ]; then
    has "losses are told" "$(status '.log[].text')" 'lost: [0-9]+ kmsg_overrun_records'
    [ "$(status '[.log[].text | select(startswith("lost: "))] | length')" -le 12 ] || fail "losses are told too often"
fi
say "kernel log: $(jq .rate "$T/kmsg.json") records a second written, $lost of $(jq .lines "$T/kmsg.json") overrun before they were read, OOM kill found by its $([ "$rule" = counter ] && echo count || echo text)"
stop_watch
