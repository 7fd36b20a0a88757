#!/bin/bash
# A console log on a FUSE mount whose server does not answer: whoever reads it hangs. The console logs elsewhere are followed
# all the same, it is said which are not, and neither the end of the watch nor its next start is held up.
source "$(dirname "$0")/lib.sh"
need_root
need cat pgrep
source "$(dirname "$0")/stuck.sh"

dead_fuse
must_hang 2 cat "$FUSE/file"
sick_config "[[console]]
path = \"$FUSE/file\"
[capture]
disk_benchmark = false"
start_watch
await 20 'grep -q "console files under $FUSE: no answer for 5 s" "$T/watch.log"' "word of the console that is not followed"
tail_role=$(pgrep -P "$WATCH" -f "role tail")
is "threads of the tail role that wait for the mount" "$(grep -ls folio /proc/"$tail_role"/task/*/wchan | wc -l)" 1

trigger 60
sound "$SNAP"
first=$SNAP_MS
began=$(now_ms)
stop_watch
stopped=$(($(now_ms) - began))
[ $stopped -le 8000 ] || fail "the watch took $stopped ms to end"
say "ended in $stopped ms"

start_watch
trigger 60
sound "$SNAP"
row "console log on a dead FUSE mount" "cat hangs" "other consoles followed, said after 5 s; stop in $stopped ms" "$first"
