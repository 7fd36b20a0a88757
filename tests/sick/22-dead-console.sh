#!/bin/bash
# A console log on a FUSE mount whose server does not answer: whoever reads it hangs. The same behind a symbolic link, and on
# one that is mounted over a log while it is followed. The console logs elsewhere are followed all the same, it is said which
# are not, and neither the end of the watch nor its next start is held up.
source "$(dirname "$0")/lib.sh"
need_root
need cat pgrep
source "$(dirname "$0")/stuck.sh"

dead_fuse
must_hang 2 cat "$FUSE/file"
ln -s "$FUSE" "$T/link"
mkdir "$T/later"
: >"$T/later/file"
sick_config "[[console]]
path = \"$FUSE/file\"
[[console]]
path = \"$T/link/file\"
[[console]]
path = \"$T/later/file\"
[capture]
disk_benchmark = false"
start_watch
await 20 'grep -q "console files under $FUSE: no answer for 5 s" "$T/watch.log"' "word of the console that is not followed"
await 20 'grep -q "console files under $T/link/file: no answer for 5 s" "$T/watch.log"' "word of the console behind a link"
mount --bind "$FUSE" "$T/later"
MOUNTS+=("$T/later")
await 20 'grep -q "was mounted or unmounted; they are taken up where" "$T/watch.log"' "word of the mount"
await 20 'grep -q "console files under $T/later: no answer for 5 s" "$T/watch.log"' "word of the console below the mount"
tail_role=$(pgrep -P "$WATCH" -f "role tail")
is "threads of the tail role that wait for the mount" "$(grep -ls folio /proc/"$tail_role"/task/*/wchan | wc -l)" 3

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
row "console logs on a dead FUSE mount, behind a link to it, and below one mounted later" "cat hangs" "other consoles followed, said after 5 s; stop in $stopped ms" "$first"
