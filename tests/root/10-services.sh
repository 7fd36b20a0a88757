#!/bin/bash
# A real web server goes down in three ways, and then flaps: each failure is one incident with the
# class of its cause, and the snapshot shows what the processes were doing.
source "$(dirname "$0")/lib.sh"
need nginx curl

PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir -p "$T/nginx/logs"
cat >"$T/nginx/nginx.conf" <<CONF
worker_processes 2;
pid $T/nginx/nginx.pid;
error_log $T/nginx/logs/error.log;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path $T/nginx/t1; proxy_temp_path $T/nginx/t2; fastcgi_temp_path $T/nginx/t3;
    uwsgi_temp_path $T/nginx/t4; scgi_temp_path $T/nginx/t5;
    server { listen 127.0.0.1:$PORT; location / { return 200 "alive\n"; } }
}
CONF

# All processes of this nginx and no other: the master by its pid file, the workers by their parent.
nginx_pids() {
    cat "$T/nginx/nginx.pid"
    pgrep -P "$(cat "$T/nginx/nginx.pid")"
}
answers() { curl -s -m 1 -o /dev/null "http://127.0.0.1:$PORT/"; }
nginx_start() {
    nginx -p "$T/nginx" -c "$T/nginx/nginx.conf" 2>>"$T/nginx/start.log" || fail "nginx: $(cat "$T/nginx/start.log")"
    await 10 answers "an answer of nginx"
    await 10 '[ "$(nginx_pids | wc -l)" = 3 ]' "a master and two workers"
    mapfile -t PIDS < <(nginx_pids)
}
nginx_quit() {
    local pids=("${PIDS[@]}")
    nginx -p "$T/nginx" -c "$T/nginx/nginx.conf" -s quit 2>>"$T/nginx/start.log" || fail "nginx -s quit"
    await 10 "gone ${pids[0]}" "the end of nginx"
    PIDS=()
}
probe() { status ".probes[0].$1"; }

# --- three failures of three kinds. Each is to be captured, so there is no cool-down here.

config "[kmsg]
enabled = false
[incident]
coalesce = \"0s\"
cooldown = \"0s\"
max_per_hour = 100
[capture]
disk_benchmark = false
[[probe]]
name = \"web\"
target = \"http://127.0.0.1:$PORT/\"
interval = \"300ms\"
timeout = \"290ms\"
failures = 3
recoveries = 1
"
nginx_start
start_watch
await 20 '[ "$(probe state)" = up ]' "the probe's first success"

# down WHAT CAUSE FUNCTION: FUNCTION takes the service down; its snapshot is left in $SNAPSHOT.
down() {
    local before began
    before=$(archive_count) began=$(now_ms)
    "$3"
    await 30 '[ "$(probe state)" = down ]' "$1: the probe's notice"
    local seen=$(($(now_ms) - began))
    is "$1: cause in the status" "$(probe cause)" "$2"
    await 60 "[ \$(archive_count) -gt $before ]" "$1: a snapshot"
    say "$1: noticed after $seen ms, snapshot published after $(($(now_ms) - began)) ms"
    is "$1: snapshots" "$(archive_count)" $((before + 1))
    SNAPSHOT=$(newest)
    sound "$SNAPSHOT"
    is "$1: kind" "$(manifest "$SNAPSHOT" .incident.kind)" service_down
    is "$1: severity" "$(manifest "$SNAPSHOT" .incident.trigger.event.severity)" error
    is "$1: cause" "$(manifest "$SNAPSHOT" .incident.trigger.event.details.cause)" "$2"
    has "$1: title" "$(manifest "$SNAPSHOT" .incident.title)" "web"
    has "$1: kind in the name" "$SNAPSHOT" "-service_down-"
    say "$1: $(manifest "$SNAPSHOT" .incident.title)"
}
recoveries() { status '[.log[].text | select(test("service web up again"))] | length'; }
# recovered N: the Nth recovery is told. Three changes within 12 s are flapping, where that takes a while.
recovered() {
    await 30 '[ "$(probe state)" = up ]' "the probe's notice of the recovery"
    await 30 "[ \$(recoveries) = $1 ]" "recovery $1 in the log of the status"
}

down "stopped in good order" refused nginx_quit
nginx_start
recovered 1

freeze() { kill -STOP "${PIDS[@]}"; }
down "frozen" timed_out freeze
tasks=$(entry "$SNAPSHOT" lastgasp/tasks.txt)
lines=$(entry "$SNAPSHOT" lastgasp/tasks.jsonl)
ps=$(entry "$SNAPSHOT" 'sos_commands/process/ps_*')
for pid in "${PIDS[@]}"; do
    has "tasks.txt: the frozen pid $pid" "$tasks" "^ *$pid .* T .*nginx"
    one=$(jq -c "select(.pid == $pid)" <<<"$lines")
    is "tasks.jsonl: state of pid $pid" "$(jq -r .state <<<"$one")" T
    has "tasks.jsonl: wchan of pid $pid" "$(jq -r .wchan <<<"$one")" 'do_signal_stop'
    has "ps: the frozen pid $pid" "$ps" "^\S+ +$pid .* T\S* .*nginx"
done
# The port is open all the time: what hangs is the accept queue behind it.
has "listener in the snapshot" "$(entry "$SNAPSHOT" 'sos_commands/networking/ss_*')" "127.0.0.1:$PORT"
kill -CONT "${PIDS[@]}"
recovered 2

slay() { kill -KILL "${PIDS[@]}" && PIDS=(); }
down "killed" refused slay
rm -f "$T/nginx/nginx.pid"
nginx_start
recovered 3
is "snapshots of three failures" "$(status .snapshots)" 3
is "events of three failures" "$(status .events.service_down)" 3
stop_watch

# --- twenty stops and starts, a second each: one incident, with the default cool-down.

rm -rf "$STORE"
config "[kmsg]
enabled = false
[capture]
disk_benchmark = false
[[probe]]
name = \"web\"
target = \"http://127.0.0.1:$PORT/\"
interval = \"200ms\"
timeout = \"190ms\"
failures = 2
recoveries = 2
"
start_watch
await 20 '[ "$(probe state)" = up ]' "the probe's first success"
downs=0
for round in $(seq 20); do
    nginx_quit
    # Down long enough to be noticed, then up long enough: events of the probe, not a time.
    await 10 '[ "$(probe state)" = down ]' "round $round: down"
    nginx_start
    await 10 '[ "$(probe state)" = up ]' "round $round: up"
    [ "$(probe flapping)" != true ] || downs=$((downs + 1))
done
await 60 '[ "$(status ".capturing | length")" = 0 ]' "the end of all captures"
is "snapshots while flapping" "$(archive_count)" 1
[ "$downs" -ge 10 ] || fail "only $downs of 20 rounds were seen as flapping"
await 60 '[ "$(probe flapping)" = false ]' "the end of the flapping"
await 10 '[ "$(recoveries)" -ge 1 ]' "the recovery in the end"
sound "$(newest)"
say "20 stops and starts: 1 snapshot, $(status .events.service_down) event(s), $downs rounds seen as flapping"
stop_watch
