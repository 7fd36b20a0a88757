"""Measures commands side by side, interleaved, and prints a table with medians and ratios.

    measure.py RUNS NAME[@N] COMMAND [NAME[@N] COMMAND]...

One that takes long may run in the first N rounds only. Each COMMAND is run by bash in a new directory that is given as $OUT; what it leaves there is counted as
its output, what it prints on standard output as JSON is reported (numbers only, medians).

wall      until the command itself ends
cpu       user and system time of everything it started, also of what outlived it: this process adopts
          orphans (PR_SET_CHILD_SUBREAPER) and waits for all of them
rss       the largest single process
output    bytes of the files in $OUT
GB/s      where the environment says MEASURE_BYTES, that many bytes by the CPU time
"""

import ctypes
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

PR_SET_CHILD_SUBREAPER = 36


# The kernel counts as a process's peak what its parent had when it forked, and this process is larger than
# most of what it measures: so a small shell starts the command, tells its pid, and ends.
LAUNCHER = 'bash -c "$1" & echo $! >"$2"'


def run(command, directory):
    out = tempfile.mkdtemp(dir=directory)
    printed, pid_file = os.path.join(directory, "stdout"), os.path.join(directory, "pid")
    began = time.monotonic()
    with open(printed, "wb") as stdout:
        argv = ["sh", "-c", LAUNCHER, "sh", command, pid_file]
        launcher = subprocess.Popen(argv, stdout=stdout, env={**os.environ, "OUT": out})
    ended, codes, cpu, rss = {}, {}, 0.0, 0
    while True:
        try:
            pid, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        if pid == launcher.pid:
            continue
        ended[pid], codes[pid] = time.monotonic(), os.waitstatus_to_exitcode(status)
        cpu += usage.ru_utime + usage.ru_stime
        rss = max(rss, usage.ru_maxrss)
    launcher.returncode = 0
    main = int(open(pid_file).read())
    wall, code = ended[main] - began, codes[main]
    if code != 0:
        sys.exit(f"exit code {code}: {command}")
    size = sum(os.path.getsize(os.path.join(base, f)) for base, _, files in os.walk(out) for f in files if f != "reserve")
    result = {"wall ms": wall * 1000, "cpu ms": cpu * 1000, "rss MiB": rss / 1024, "output KiB": size / 1024}
    if os.environ.get("MEASURE_BYTES"):
        result["GB/s of cpu"] = int(os.environ["MEASURE_BYTES"]) / cpu / 1e9
    try:
        said = json.loads(open(printed, "rb").read() or "{}")
        result |= {k: v for k, v in said.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    except ValueError:
        pass
    shutil.rmtree(out)
    return result


def main():
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    runs, pairs, rounds = int(sys.argv[1]), [], {}
    for name, command in zip(sys.argv[2::2], sys.argv[3::2]):
        name, _, most = name.partition("@")
        pairs.append((name, command))
        rounds[name] = min(int(most or runs), runs)
    results = {name: [] for name, _ in pairs}
    with tempfile.TemporaryDirectory(prefix="lastgasp-bench.", dir=os.environ.get("BENCH_DIR")) as directory:
        for n in range(runs):
            for name, command in pairs:
                if n < rounds[name]:
                    results[name].append(run(command, directory))
    first = pairs[0][0]
    names = list(dict.fromkeys(k for rows in results.values() for row in rows for k in row))
    fewer = "".join(f", {n} of {name}" for name, n in rounds.items() if n < runs)
    print(f"medians (least - most) of {runs} interleaved runs{fewer}; ratio: against {first}")
    print(f"load average at the end {open('/proc/loadavg').read().rsplit(' ', 2)[0]}")
    for key in names:
        for name, rows in results.items():
            values = [r[key] for r in rows if key in r]
            if not values:
                continue
            middle = statistics.median(values)
            base = [r[key] for r in results[first] if key in r]
            ratio = f"{middle / statistics.median(base):8.2f} x" if base and statistics.median(base) else ""
            digits = 2 if "GB/s" in key else 1
            spread = f"({min(values):.{digits}f} - {max(values):.{digits}f})"
            print(f"{key:14} {name:22} {middle:12.{digits}f} {spread:24} {ratio}")


main()
