#!/bin/bash
# A FUSE mount whose server answers nothing at all any more: df and stat hang. A capture lists it as not answering, with
# the tasks that wait there, and is not held up.
source "$(dirname "$0")/lib.sh"
need_root
need df stat
source "$(dirname "$0")/stuck.sh"

dead_fuse
# One that was at work there when the server died, and has the file open; one that only came by.
hold lock "$FUSE/file" 1 --password=hush at work
sick_config "[capture]
disk_benchmark = false"
start_sick_watch
baseline
fuse_dies
strike lock
must_hang 2 df "$FUSE"
must_hang 1 stat "$FUSE/other"
setsid stat "$FUSE/another" >/dev/null 2>&1 &
passer=$!
disown $passer
PIDS+=($passer)
await 10 "grep -qs '^fuse_\|^request_wait_answer' /proc/$passer/wchan" "a stat that hangs"

trigger 60
sound "$SNAP"
entry_text lastgasp/mounts_not_answering.txt >"$T/silent"
sed 's/^/   /' "$T/silent"
has "the mount" "$(cat "$T/silent")" "^$FUSE type fuse.stuck from stuck: no answer in [0-9]+ ms, held at wchan="
has "who has a file open there" "$(cat "$T/silent")" "task stuck tid [0-9]+ of pid ${HELD[0]} state [DS] wchan=.*fd 3 $FUSE/file"
has "who only waits there" "$(cat "$T/silent")" "task stat tid $passer of pid $passer state [DS] .*functions of fuse"
is "its answer in mounts.json" "$(entry_text lastgasp/mounts.json | jq -r ".[] | select(.at == \"$FUSE\") | .answer | keys[0]")" not_answering
has "its line of df" "$(entry_text sos_commands/filesys/df_-al_-x_autofs)" "^stuck +- +- +- +- +$FUSE\$"
has "another line of df" "$(entry_text sos_commands/filesys/df_-al_-x_autofs)" "[0-9]+% /\$"
has "the manifest" "$(missing "$FUSE")" "tasks hang on it"
is "how mounts_df ended" "$(outcome mounts_df)" complete
in_time "a dead FUSE mount"
row "dead FUSE mount" "df, stat hang" "not answering, with the place; its $(sed -n 's/^ *\([0-9]*\) tasks wait there/\1/p' "$T/silent") tasks named" "$SNAP_MS"
