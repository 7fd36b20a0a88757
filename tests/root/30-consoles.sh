#!/bin/bash
# 100 MB through three console logs that are rotated while they are written: every marked oops is
# found once, and no line is lost or read twice.
source "$(dirname "$0")/lib.sh"

CONSOLES=3 OOPSES=20
BYTES=${BYTES:-100000000}
mkdir "$T/consoles"

# The rate limit lets one snapshot through and has the log name every further failure with its
# function, so that each can be counted; taking sixty snapshots is not what is tested here.
config "[kmsg]
enabled = false
[incident]
coalesce = \"0s\"
cooldown = \"30d\"
max_per_hour = 1
[[console]]
path = \"$T/consoles/*.log\"
"
start_watch

# The status keeps the last 50 lines of the log: they are gathered while the writer writes.
gather() {
    local stop=
    while [ -z "$stop" ]; do
        [ ! -e "$T/written" ] || stop=1
        status '.log[] | "\(.at) \(.text)"' >>"$T/seen.raw" || true
        sleep 0.2
    done
}
cat >"$T/consumed" <<CONSUMED
#!/bin/bash
# Waits until the watch has read as many lines as were written.
until=\$((SECONDS + 120))
while [ "\$("$LASTGASP" --config "$T/lastgasp.toml" --format json status | jq .console_records)" -lt "\$1" ]; do
    [ \$SECONDS -lt \$until ] || { echo "not all of \$1 lines were read within 120 s" >&2; exit 1; }
    sleep 0.1
done
CONSUMED
chmod +x "$T/consumed"

gather &
gatherer=$!
PIDS+=("$gatherer")
python3 "$ROOT/tests/root/write_consoles.py" "$T/consoles" $CONSOLES "$BYTES" $OOPSES "$T/consumed" >"$T/written.json" ||
    fail "the writer"
lines=$(jq .lines "$T/written.json")
"$T/consumed" "$lines" || fail "the last lines"
# A report is complete a second after its last line.
await 20 "[ \$(status .events.oops) -ge $((CONSOLES * OOPSES)) ]" "all oopses in the status"
touch "$T/written"
wait $gatherer
PIDS=()

is "lines read" "$(status .console_records)" "$lines"
is "oopses" "$(status .events.oops)" $((CONSOLES * OOPSES))
is "kinds of events" "$(status '.events | keys | join(" ")')" oops
is "snapshots by the rate limit" "$(status .snapshots)" 1
# The history has a line for each suppressed failure, and a rate of its own, which this may exceed.
is "losses but by the rate limits" "$(status '.losses.counts | del(.rate_limit, .history_lines) | tojson')" '{}'
sort -u "$T/seen.raw" >"$T/seen"
jq -r '.functions[]' "$T/written.json" | while read -r function; do
    n=$(grep -c "oops on node.*$function.*rate_limit" "$T/seen" || true)
    # The one that was captured is in its snapshot.
    if [ "$n" = 0 ]; then
        manifest "$(newest)" .incident.trigger.event.function | grep -qx "$function" || fail "$function was not found"
        echo 1 >>"$T/captured"
    elif [ "$n" != 1 ]; then
        fail "$function was found $n times"
    fi
done
is "oopses captured" "$(wc -l <"$T/captured")" 1
sound "$(newest)"
jq -r '"\(.bytes) bytes in \(.lines) lines, \(.rotations) rotations, written in \(.took_s) s, of which \(.waited_s) s waiting for the reader"' \
    "$T/written.json" | while read -r line; do say "$line"; done
say "$((CONSOLES * OOPSES)) oopses found, none lost, none twice"
stop_watch
