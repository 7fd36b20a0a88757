"""The measuring part of latency.sh: latency.py RUNS"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

OOPS = """\
[  100.000001] BUG: kernel NULL pointer dereference, address: 0000000000000010
[  100.000002] #PF: supervisor read access in kernel mode
[  100.000005] Oops: 0000 [#1] PREEMPT SMP NOPTI
[  100.000006] CPU: 0 PID: 1 Comm: bench Not tainted 6.1.0 #1
[  100.000007] RIP: 0010:bench_function_{n}_end+0x10/0x20 [bench]
[  100.000008] Call Trace:
[  100.000009]  <TASK>
[  100.000010]  bench_caller_{n}_end+0x10/0x20 [bench]
[  100.000012]  </TASK>
[  100.000013] ---[ end trace 0000000000000000 ]---
"""


def status(config):
    got = subprocess.run([os.environ["LASTGASP"], "--config", config, "--format", "json", "status"], capture_output=True)
    return json.loads(got.stdout) if got.returncode == 0 else {}


def await_status(config, watch, condition):
    until = time.monotonic() + 90
    while not condition(now := status(config)):
        if time.monotonic() > until or watch.poll() is not None:
            sys.exit("the watch did not get there")
        time.sleep(0.05)
    return now


def opened_at(path):
    """Microseconds since 1970, from the first entry."""
    entry = subprocess.run(f"tar --zstd -xOf '{path}' --wildcards '*/incident.json'", shell=True, capture_output=True)
    return json.loads(entry.stdout)["opened_at"]


def main():
    runs = int(sys.argv[1])
    rows = []
    with tempfile.TemporaryDirectory(prefix="lastgasp-latency.", dir=os.environ.get("BENCH_DIR")) as directory:
        config = f"{directory}/lastgasp.toml"
        with open(config, "w") as file:
            file.write(
                f'[general]\ncontrol = "{directory}/control.sock"\n[store]\ndirs = ["{directory}/store"]\n'
                '[kmsg]\nenabled = false\n[capture]\ndisk_benchmark = false\n'
                '[incident]\ncoalesce = "0s"\ncooldown = "0s"\nmax_per_hour = 3600\n'
                f'[[console]]\npath = "{directory}/console.log"\n'
            )
        console = open(f"{directory}/console.log", "ab", buffering=0)
        with open(f"{directory}/watch.err", "w") as log:
            watch = subprocess.Popen([os.environ["LASTGASP"], "--config", config, "watch"], stderr=log)
        try:
            for n in range(runs):
                await_status(config, watch, lambda s: s.get("spare_ready") and not s["capturing"])
                written = time.time()
                console.write(OOPS.format(n=n).encode())
                done = await_status(config, watch, lambda s: s.get("snapshots", 0) > n)["last_snapshots"][-1]
                detected = opened_at(done["path"]) / 1000 - written * 1000
                rows.append((detected, done["t0_durable_ms"], done["total_ms"], detected + done["t0_durable_ms"]))
        finally:
            watch.terminate()
            watch.wait(30)
    print(f"ms, median (least - most) of {runs}; load average {' '.join(open('/proc/loadavg').read().split()[:3])}")
    names = ("line to decision", "order to tier 0 on the disk", "order to published", "line to tier 0 on the disk")
    for name, values in zip(names, zip(*rows)):
        print(f"{name:28} {statistics.median(values):8.1f}  ({min(values):.1f} - {max(values):.1f})")


main()
