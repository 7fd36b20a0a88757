#!/bin/bash
# Names that would break a line, a terminal or a file name: a host name of 64 bytes, tasks and removed files with line
# ends, escape sequences and four-byte characters, a log that tries to steer the terminal. The archive stays well-formed
# and nothing that lastgasp prints has a control character. Runs in a UTS namespace of its own.
source "$(dirname "$0")/lib.sh"
need_root
need gcc unshare hostname
if [ "${IN_UTS:-}" != 1 ]; then
    # This shell's directory goes with it; the inner one has its own.
    code=0
    IN_UTS=1 unshare --uts bash "$0" || code=$?
    exit $code
fi
gcc -O1 -pthread -o "$T/crowd" "$ROOT/tests/sick/crowd.c" || fail "the helper does not build"
host=h$(printf 'x%.0s' {1..62})9
is "length of the host name" "${#host}" 64
hostname "$host" || skip "the host name cannot be set"

# printable FILE WHAT: line ends are all that a terminal is told to do; U+0080 to U+009F and marks that reorder count too.
printable() {
    python3 - "$1" <<'PY' || fail "$2 steers the terminal: $(head -c 300 "$1" | cat -v)"
import sys, unicodedata
data = open(sys.argv[1], "rb").read()
text = data.decode("utf-8")  # and it is UTF-8
bad = [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")]
sys.exit(f"{len(bad)}: {bad[:5]}" if bad else 0)
PY
}

start() {
    (exec -a "$1" "$T/crowd" "${@:2}") >"$T/out.$RANDOM" 2>&1 &
    PIDS+=($!)
    CROWD=$!
}
# A name of 15 bytes: line end, escape, 🦀, C1 and a cut character.
start $'\e]0;owned\a\nROOT 1 2 3 \xf0\x9f\xa6\x80\xff' named "0a1b5b324af09fa6800ac29b29205220e2"
odd=$CROWD
mkdir "$T/files"
start plain files 50 "$T/files"
files=$CROWD
await 20 "grep -lq ready $T/out.* && grep -q '^Name:' /proc/$odd/status && [ \$(ls /proc/$files/fd | wc -l) -ge 50 ]" "both"
await 5 "tr -d 'a-z' </proc/$odd/comm | LC_ALL=C grep -q \$'\\xf0\\x9f'" "the odd name"
say "proven: comm of $odd is $(python3 -c "print(open('/proc/$odd/comm','rb').read())"); $(readlink "/proc/$files/fd/10" | python3 -c "import sys; print(ascii(sys.stdin.read()))")"

mkdir "$T/consoles"
log=$'node\xc2\x9b1.log'
: >"$T/consoles/$log"
config "[kmsg]
enabled = false
[capture]
disk_benchmark = false
[[console]]
path = \"$T/consoles/*.log\"
"
export TZ=$'Pacific/Kiritimati'
start_watch
await 20 "[ \"\$(status '.consoles | length')\" = 1 ]" "the console log"
printf '[    5.000000] BUG: unable to handle page fault for address: 0\e[2J\xc2\x9b31m\xe2\x80\xae\n[    5.000001] Oops: 0000 [#1] SMP\n[    5.000002] CPU: 0 PID: 7 Comm: a\e[31mb\xf0\x9f\xa6\x80 Not tainted 6.1 #1\n[    5.000003] RIP: 0010:odd_name_fn+0x1/0x2\n[    5.000004] Call Trace:\n[    5.000005]  odd_caller+0x1/0x2\n[    5.000006] ---[ end trace 0 ]---\n' >>"$T/consoles/$log"
began=$(now_ms)
await 60 '[ "$(archive_count)" -ge 1 ]' "a snapshot of the console log's oops"
took=$(($(now_ms) - began))
OOPS=$(newest)
must_end 60 "$LASTGASP" --config "$T/lastgasp.toml" snap --reason $'by\e[2J hand\xc2\x9b\n'
OWN=$(archives | grep "/$host-" | sed -n 1p)
[ -n "$OWN" ] || fail "no archive of host $host: $(archives)"
printable "$T/end.out" snap
sound "$OOPS" "$OWN"

# --- every line of JSON is JSON, every text is one without controls

for a in "$OOPS" "$OWN"; do
    rm -rf "$T/x" && mkdir "$T/x"
    tar --zstd -C "$T/x" -xf "$a" || fail "tar does not unpack $a"
    find "$T/x" -name '*.jsonl' -print0 | while IFS= read -r -d '' f; do
        jq -es 'length > 0' "$f" >/dev/null || fail "$f is not JSON"
        python3 -c 'import json, sys; [json.loads(l) for l in open(sys.argv[1], encoding="utf-8")]' "$f" || fail "a line of $f"
    done
    find "$T/x" -name '*.json' -print0 | while IFS= read -r -d '' f; do jq -e . "$f" >/dev/null || fail "$f is not JSON"; done
    for f in lastgasp/tasks.txt lastgasp/task_rates.txt lastgasp/queue_rates.txt lastgasp/descriptors_summary.txt \
        sos_commands/process/ps_auxww sos_commands/process/lsof_-b_M_-n_-l lastgasp/sockets_summary.txt; do
        printable "$(echo "$T"/x/*/$f)" "$f"
    done
done
has "the task's line" "$(cat "$T"/x/*/lastgasp/tasks.txt)" '\\x0a\\x1b\[2J'
is "the task's name in JSON" "$(jq -r "select(.pid == $odd) | .comm" "$T"/x/*/lastgasp/tasks.jsonl | head -c 9 | od -An -tx1 | tr -d ' \n')" 0a1b5b324af09fa680
has "the removed files" "$(cat "$T"/x/*/sos_commands/process/lsof_-b_M_-n_-l)" 'odd\\x0a\\x1b\[2J.*\\x7f[0-9]+ \(deleted\)'
is "lines of lsof for the removed files" "$(grep -c "odd.x0a" "$T"/x/*/sos_commands/process/lsof_-b_M_-n_-l)" 50

# --- what is printed

n=0
say_to() { # FILE COMMAND...
    "${@:2}" >"$1" 2>&1 </dev/null || true
    n=$((n + 1))
    printable "$1" "${*:2}"
}
id=$(manifest "$OOPS" .incident.id)
for format in text json; do
    for command in status list "show $id" "show $OWN" "verify $OOPS" "show $id --entries" "prune --dry-run" "config check"; do
        # shellcheck disable=SC2086
        say_to "$T/said" "$LASTGASP" --config "$T/lastgasp.toml" --format $format $command
    done
    say_to "$T/said" "$LASTGASP" --format $format scan "$T/consoles/$log"
done
say_to "$T/said" "$LASTGASP" --config "$T/lastgasp.toml" show $'nosuch\e[2J\xc2\x9b'
say_to "$T/said" "$LASTGASP" --config "$T/lastgasp.toml" extract "$id" $'no\e[2Jentry\xc2\x9b' -C "$T/y"
say_to "$T/said" "$LASTGASP" --config $'/no\e[2J/such\xc2\x9b' list
say_to "$T/said" "$LASTGASP" scan $'/no\e[2J\xc2\x9bsuch'
stop_watch
printable "$T/watch.log" "the watch's log"
printable "$STORE/history.jsonl" "the history" 
row "odd names: 64-byte host, \\n, ESC, 🦀, C1, RLO" "in /proc/PID/comm, fd links, a log" "2 archives sound, every JSON line parses, $n commands print no control" "$took"
