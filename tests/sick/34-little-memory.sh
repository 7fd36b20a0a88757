#!/bin/bash
# The service's memory cgroup has 32 MiB, page cache included, on a machine with two thousand processes.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/cgroup.sh"
need_root
make_cgroup memory memory
limit=$((32 << 20))
case $CG_VERSION in
    1) echo $limit >"$CG/memory.limit_in_bytes"; failures="$CG/memory.failcnt"; peak="$CG/memory.max_usage_in_bytes" ;;
    2) echo $limit >"$CG/memory.max"; failures=; peak="$CG/memory.peak" ;;
esac

# It ends when its standard input does.
mkfifo "$T/hold"
python3 "$ROOT/benches/load.py" <>"$T/hold" >"$T/load" &
LOAD=$!
PIDS+=("$LOAD")
# It ends its children, when it may.
FREE+=('kill "$LOAD"; wait "$LOAD"')
await 120 'grep -q . "$T/load"' "the load"
say "load: $(head -n 1 "$T/load")"

# In the group from its first page on.
sick_config
cat >"$T/in-group" <<SH
#!/bin/bash
echo \$\$ >"$CG/cgroup.procs"
exec "$LASTGASP" "\$@"
SH
chmod +x "$T/in-group"
outside=$LASTGASP LASTGASP=$T/in-group
start_sick_watch
LASTGASP=$outside
trigger 60
sound "$SNAP"
for collector in kernel_log tasks sockets memory descriptors processes; do
    is "$collector" "$(outcome $collector)" complete
done
processes=$(entry_text lastgasp/tasks.jsonl | wc -l)
[ "$processes" -ge 2000 ] || fail "only $processes processes are in the snapshot"
used=$(($(cat "$peak" 2>/dev/null || echo 0) >> 20))
say "peak $used MiB of 32${failures:+, limit met $(cat "$failures") times}"
row "32 MiB for the whole service, $processes processes" "memory limit of the cgroup" "whole snapshot, peak $used MiB" "$SNAP_MS"
