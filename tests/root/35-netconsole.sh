#!/bin/bash
# Kernel messages of two other hosts by UDP on loopback: one sends the extended format, in fragments out of order and
# with a record missing, the other the basic one. Each oops is one snapshot with its host's name, what a program
# wrote is none, and what is missing is counted. Needs no root.
source "$(dirname "$0")/lib.sh"

FIXTURE=$ROOT/fixtures/detect/oops_code.hit.log
PORT=$(python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

config "[kmsg]
enabled = false
[netconsole]
listen = \"127.0.0.1:$PORT\"
[[netconsole.host]]
address = \"127.0.0.2\"
name = \"db1\"
[capture]
disk_benchmark = false
"
start_watch
is "where it listens" "$(status .netconsole)" "127.0.0.1:$PORT"

python3 - "$PORT" "$FIXTURE" <<'PYTHON'
import re, socket, sys

port, lines = int(sys.argv[1]), [l.rstrip("\n") for l in open(sys.argv[2]) if not l.startswith("#")]
def sender(address):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((address, 0))
    return lambda b: s.sendto(b, ("127.0.0.1", port))

db1, other = sender("127.0.0.2"), sender("127.0.0.3")
# A program on the sending host may write what it likes.
db1(b"12,40,1,-;Kernel panic - not syncing: not really\n")
# Number 41 never comes.
for n, line in enumerate(lines, 42):
    stamp, text = re.match(r"\[ *([0-9.]+)\] (.*)", line).groups()
    head, body = "6.6.30,4,%d,%s,-,caller=T1" % (n, stamp.replace(".", "")), text + "\n"
    at = len(body) // 2
    second = ("%s,ncfrag=%d/%d;%s" % (head, at, len(body), body[at:])).encode()
    db1(second)
    db1(("%s,ncfrag=0/%d;%s" % (head, len(body), body[:at])).encode())
    db1(second)
    other((line + "\n").encode())
PYTHON

await 30 '[ "$(status .snapshots)" = 2 ]' "a snapshot for each host"
is "oopses" "$(status .events.oops)" 2
is "kinds of events" "$(status '.events | keys | join(" ")')" oops
is "senders" "$(status .netconsole_senders)" 2
# It is a loss only when nothing came for a while.
await 10 '[ "$(status .losses.counts.netconsole_missing_records)" = 1 ]' "the missing record in the status"
is "losses" "$(status '.losses.counts | keys | join(" ")')" netconsole_missing_records
hosts=
for archive in $(archives); do
    sound "$archive"
    is "local" "$(manifest "$archive" .incident.local)" false
    hosts="$hosts $(manifest "$archive" .incident.host) $(manifest "$archive" '.incident.trigger.event.origin.netconsole')"
done
is "hosts" "$(tr ' ' '\n' <<<"$hosts" | sort | tr '\n' ' ')" " 127.0.0.2 127.0.0.3 127.0.0.3 db1 "
has "the status" "$("$LASTGASP" --config "$T/lastgasp.toml" status)" "netconsole +127.0.0.1:$PORT \([0-9]+ lines, 2 sender"
say "two oopses by UDP, one in fragments out of order; the record that is missing is counted"

# Text of all kinds at full speed: it lives, answers, and its memory has an end.
pid=$WATCH
python3 - "$PORT" <<'PYTHON'
import os, random, socket, sys

s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
random.seed(1)
for n in range(200000):
    kind = n % 4
    if kind == 0:
        b = os.urandom(random.randrange(1, 1200))
    elif kind == 1:
        b = b"6,%d,1,-,ncfrag=%d/16384;%s" % (n, random.randrange(16000), b"x" * random.randrange(300))
    elif kind == 2:
        b = b"x" * 1000
    else:
        b = b"\n" * 1000
    s.sendto(b, ("127.0.0.1", int(sys.argv[1])))
PYTHON
# Either all were read (each thousand of line ends gives 128 lines), or the kernel's queue was full and that is counted.
# The kernel tells it with the next datagram that it takes.
all_told() {
    printf 'x\n' >"/dev/udp/127.0.0.1/$PORT"
    [ "$(status '.losses.counts | .netconsole_dropped_lines == 50000 * 872 or .netconsole_overflow_datagrams > 0')" = true ]
}
await 60 all_told "a count of what was read or dropped of the flood"
is "senders after the flood" "$(status .netconsole_senders)" 3
rss=$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")
[ "$rss" -lt 65536 ] || fail "the core has $rss KiB after the flood"
say "200000 datagrams of nonsense: $(status '.losses.counts | tojson'), the core has $rss KiB"

# The port is taken: said, and everything else goes on.
sed "s|$CONTROL|$T/second.sock|; s|$STORE|$T/second|" "$T/lastgasp.toml" >"$T/second.toml"
"$LASTGASP" --config "$T/second.toml" watch 2>"$T/second.log" &
PIDS+=($!)
await 20 'grep -q "listen for netconsole at 127.0.0.1:$PORT: .*in use" "$T/second.log"' "a word on the port that is taken"
has "the second status" "$("$LASTGASP" --config "$T/second.toml" status)" "netconsole +listen for netconsole"
stop_watch
